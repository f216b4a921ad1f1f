"""Progress: of a grid or of measurements, and, as a call reports it, within a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class Advance:
    """A step of progress: the changes since the last one.

    Attributes:
        computed, reused: numbers of cells (or measurements) that were computed, and that were found
            in the store.
        lacking: number of cells that were looked up in the store and are not there.
        failed: how many of the computed cells failed.
        jobs: number of calls at a time, if computing begins with this step; else 0.
        under_way: a function that returns, from now on, how much of the calls under way is done,
            in cells; None: unknown.

    Example:
        >>> Advance(computed=2) == Advance(2, under_way=lambda: 0.5)
        True
    """

    computed: int = 0
    reused: int = 0
    lacking: int = 0
    jobs: int = 0
    under_way: Callable[[], float] | None = field(default=None, compare=False)
    failed: int = 0


OnProgress: TypeAlias = Callable[[Advance], None]


def ignore(step: Advance) -> None:
    """Do nothing: the default of what is called with each step."""


_listeners: list[Callable[[float], None]] = []


def tell(done: float) -> None:
    """Report, within a call that an engine makes, how much of it is done, as a number of cells.

    It is cheap: one call of a function that keeps the number.
    """
    if _listeners:
        _listeners[-1](done)


def listen(listener: Callable[[float], None] | None) -> None:
    """Set the function that `tell` calls in this process; None: the one that was set before.

    >>> reports = []
    >>> listen(reports.append)
    >>> tell(0.5)
    >>> listen(None)
    >>> reports
    [0.5]
    """
    if listener is None:
        _listeners.pop()
    else:
        _listeners.append(listener)
