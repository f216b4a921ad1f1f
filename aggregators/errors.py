"""Errors that a rule raises when it has no answer."""

from __future__ import annotations


class RuleError(ValueError):
    """A rule cannot aggregate the input it was given."""


class NonFiniteError(RuleError):
    """More non-finite values arrived than the rule tolerates, so its answer would not be finite."""
