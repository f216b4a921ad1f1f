"""What whoever waits for a grid or for measurements is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Advance:
    """What has just happened.

    Attributes:
        computed, found: how many cells (or measurements) are finished now: computed, and found in
            the store.
        lacking: how many were looked for in the store now, and are not there.
        jobs: computing begins, so many calls at a time; 0: it doesn't.
        under_way: how much of others is done, as a number of cells: of each, its rounds over all
            its rounds.
    """

    computed: int = 0
    found: int = 0
    lacking: int = 0
    jobs: int = 0
    under_way: float = 0.0


OnProgress: TypeAlias = Callable[[Advance], None]


def nobody(step: Advance) -> None:
    """Tell nobody."""
