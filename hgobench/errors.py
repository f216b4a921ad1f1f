"""The one error that a user's input can raise, and the one warning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


class SamplingRisk(UserWarning):
    """A run in which a round may well sample more Byzantine workers than its quorum stands."""


def unknown(field: str, name: str, known: Iterable[str], hint: str = "") -> str:
    """Word the message for an unknown name: ``attack: unknown 'fo'; did you mean 'foe'?``."""
    candidates = sorted(known)
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    tail = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(candidates)}"
    return f"{field}: unknown {name!r}; {tail}" + (f" ({hint})" if hint else "")
