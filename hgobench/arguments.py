"""Checks of the arguments that a caller gives to a public function: all that is wrong, at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hgobench.errors import InputError, shown

Check = Callable[[str, Any], Any]


def check_arguments(**given: tuple[Check, Any]) -> dict[str, Any]:
    """Check arguments, each by a function of its name and value; return what these return.

    >>> check_arguments(out=(folder, 3), rules=(names, 3))
    Traceback (most recent call last):
    hgobench.errors.InputError: out: 3; expected a folder
    rules: 3; expected a name, or a list of names

    Raises:
        InputError: naming each argument that is wrong, its value, and what was expected.
    """
    problems: list[str] = []
    checked: dict[str, Any] = {}
    for name, (check, value) in given.items():
        try:
            checked[name] = check(name, value)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return checked


def optional(check: Check) -> Check:
    """Return the check that lets None pass too."""
    return lambda name, value: None if value is None else check(name, value)


def instance(expected: str, *kinds: type) -> Check:
    """Return the check of an instance of some classes, which messages call as `expected`."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise _wrong(name, value, expected)
        return value

    return check


def folder(name: str, value: Any) -> Any:
    """Check a folder's path, which may not be there yet."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
    if not isinstance(text, str) or not text or "\0" in text:
        raise _wrong(name, value, "a folder")
    return value


def names(name: str, value: Any) -> Any:
    """Check a name or a sequence of names."""
    several = isinstance(value, Sequence) and all(isinstance(one, str) for one in value)
    if isinstance(value, bytes) or not several:
        raise _wrong(name, value, "a name, or a list of names")
    return value


def fields(name: str, value: Any) -> Any:
    """Check a mapping of fields to their values, which are not looked at."""
    if not isinstance(value, Mapping) or not all(isinstance(field, str) for field in value):
        raise _wrong(name, value, "a mapping of fields to values")
    return value


def function(name: str, value: Any) -> Any:
    """Check what can be called."""
    if not callable(value):
        raise _wrong(name, value, "a function")
    return value


def _wrong(name: str, value: Any, expected: str) -> InputError:
    return InputError(f"{name}: {shown(value)}; expected {expected}")
