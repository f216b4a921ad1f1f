"""A cell's round under way, and calls for several cells, of which each pays its share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hgobench.algorithms import Order
from hgobench.boundary import OutOfTime

from .cell import Cell

T = TypeVar("T")


class Books(NamedTuple):
    """What a round took.

    Attributes:
        time: when it ended, since the run's start.
        heard, byzantine_heard: how many answers counted, and how many of them Byzantine workers'.
        coordinates: how many the workers computed.
        bytes_up, bytes_down: how many were sent.
    """

    time: float
    heard: int
    byzantine_heard: int
    coordinates: int
    bytes_up: int
    bytes_down: int


@dataclass(slots=True)
class Turn:
    """A cell's round under way.

    Attributes:
        r: the cell's row among parameters and answers.
        cell: the cell.
        hostile: (q,) who is Byzantine.
        attacked: whether they act in this round.
        lengths: (q,) how many places of the order each worker sent, as far as the round has come.
        updates: (q,) how many gradients each takes.
        claimed: (q,) how many each says that it took.
        examples: (q,) how many examples each says that it has.
        order: C_k; None: it could not be had.
        computed: how many coordinates the workers computed.
        delay: by how much the latest answer was late.
        malformed: how many messages no worker could have sent.
        updated: how many coordinates the server updated: of the block those that have an answer.
        books: what the round took; None: that follows from the rest.
    """

    r: int
    cell: Cell
    hostile: NDArray[np.bool_]
    attacked: bool
    lengths: NDArray[np.int64]
    updates: NDArray[np.int64]
    claimed: NDArray[np.int64]
    examples: NDArray[np.int64]
    order: Order | None = None
    computed: int = 0
    delay: float = 0.0
    malformed: int = 0
    updated: int = 0
    books: Books | None = None

    @property
    def under_way(self) -> bool:
        """Whether nothing has ended its cell."""
        return self.cell.status == "done"


class JointCall:
    """A call for several cells, of which each is charged its share of the time.

    A call that raises or runs out of time is charged to nobody: made for each cell alone, it shows
    which one it is that fails.

    Attributes:
        failed: whether it did.
    """

    def __init__(self, group: Sequence[Turn]) -> None:
        self.clocks = [turn.cell.clock for turn in group]
        self.failed = False

    def __enter__(self) -> JointCall:
        self._left = self.clocks[0].left  # this one runs during the call
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        taken = self._left - self.clocks[0].left
        self.clocks[0].left = self._left
        self.failed = isinstance(error, (Exception, OutOfTime))
        if error is None and math.isfinite(taken):  # where there is no limit, nothing is charged
            for clock in self.clocks:
                clock.left -= taken / len(self.clocks)
        return self.failed


class ServerTime:
    """What servers compute for some cells, of which each is charged its share."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.cells = [turn.cell for turn in turns]

    def __enter__(self) -> None:
        self._started = time.process_time()

    def __exit__(self, *_: object) -> None:
        seconds = (time.process_time() - self._started) / len(self.cells)
        for cell in self.cells:
            cell.server_seconds += seconds


def groups(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Return items in groups that have the same key, in the order of their first."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
