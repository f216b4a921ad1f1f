"""What a rule says when it has no answer."""

from __future__ import annotations


class RuleError(ValueError):
    """A rule was given input on which it has no answer."""


class NonFiniteError(RuleError):
    """More non-finite values arrived than the rule stands, so its answer would not be finite."""
