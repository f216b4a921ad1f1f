"""What whoever waits for a grid or for measurements is told, and what a call tells of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Advance:
    """What has just happened.

    Attributes:
        computed, found: how many cells (or measurements) are finished now: computed, and found in
            the store.
        lacking: how many were looked for in the store now, and are not there.
        jobs: computing begins, so many calls at a time; 0: it doesn't.
        under_way: returns, from then on, how much is done of what is under way, as a number of
            cells; None: that is not known.
    """

    computed: int = 0
    found: int = 0
    lacking: int = 0
    jobs: int = 0
    under_way: Callable[[], float] | None = field(default=None, compare=False)


OnProgress: TypeAlias = Callable[[Advance], None]


def nobody(step: Advance) -> None:
    """Tell nobody."""


_told: list[Callable[[float], None]] = []


def tell(done: float) -> None:
    """Say, in a call that an engine makes, how much of it is done, as a number of cells.

    It is cheap: a call of a function that keeps the number.
    """
    if _told:
        _told[-1](done)


def told_to(keep: Callable[[float], None] | None) -> None:
    """Let a function be told by the calls that this process makes; None: as before."""
    if keep is None:
        _told.pop()
    else:
        _told.append(keep)
