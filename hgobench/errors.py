"""The one error that a user's input can raise, and the one warning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


class InputError(ValueError):
    """Input that was refused before anything was computed.

    ``problems`` lists everything that is wrong, one line each: the field, its value, what was
    expected and, for an unknown name, the nearest known one.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[list[str]]]:
        return type(self), (self.problems,)


def respelled(problem: str, spelling: Mapping[str, str]) -> str:
    """Return a message that names what the caller used.

    Functions name their own arguments: first in a message, or behind who refuses, and elsewhere
    between backquotes. A command calls the same things otherwise.

    >>> spelling = {"settings": "--set", "rules": "--rule"}
    >>> respelled("audit cost: settings: rule: use `rules`", spelling)
    'audit cost: --set: rule: use --rule'
    """
    for name, option in spelling.items():
        problem = problem.replace(f"`{name}`", option)
    parts = problem.split(": ", 2)
    for place, part in enumerate(parts[:2]):
        if part in spelling:
            parts[place] = spelling[part]
            break
    return ": ".join(parts)


class Unavailable(InputError):
    """What was asked for can't be had here: data that are nowhere, and not downloaded either."""


class SamplingRisk(UserWarning):
    """A run in which a round may well sample more Byzantine workers than its quorum tolerates."""


def shown(value: object, most: int = 120) -> str:
    """Write a value of a user's for a message: its repr, cut in the middle if it is long.

    >>> shown("krumm"), shown(10**30, most=20)
    ("'krumm'", '10000000 .. 00000000')
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        text = f"{type(value).__name__} too large to write"
    except RecursionError:
        text = f"{type(value).__name__} nested too deeply to write"
    except Exception:  # of somebody's class
        text = f"{type(value).__name__} whose repr raises"
    half = (most - 4) // 2
    return text if len(text) <= most else f"{text[:half]} .. {text[-half:]}"


def unknown(field: str, name: str, known: Iterable[str], hint: str = "") -> str:
    """Word the message for an unknown name: ``attack: unknown 'fo'; did you mean 'foe'?``."""
    candidates = sorted(known)
    near = difflib.get_close_matches(name[:100], candidates, n=1, cutoff=0.6)
    tail = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(candidates)}"
    return f"{field}: unknown {shown(name)}; {tail}" + (f" ({hint})" if hint else "")
