"""The base class of partitions: which worker holds which training examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.boundary import Boundary
from hgobench.data.base import Features, Split
from hgobench.errors import InputError

ShardIndices = list[NDArray[np.int64]]
ATTEMPTS = 100


class Partition(ABC):
    """A way to deal N training examples out to n workers, each example to one of them.

    A subclass defines `deal`, and `shift` if workers see their examples differently.

    Attributes:
        paper, formula, validity: what tables say of it.
        exclusive: whether every example is dealt, and to one worker. Of a partition that says no,
            some may be left out, and some held by several workers.
        exempt: laws of `hgobench.testing` that its definition rules out, with the reason.

    Example:
        >>> class InTurn(Partition):
        ...     def deal(self, train, workers, seed):
        ...         return [np.arange(i, len(train), workers) for i in range(workers)]
        >>> train = Split(np.zeros((5, 1), np.float32), np.array([0, 0, 1, 1, 1]))
        >>> [shard.tolist() for shard in InTurn()(train, workers=2, seed=0)]
        [[0, 2, 4], [1, 3]]
    """

    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    validity: ClassVar[str] = "N >= n"
    exclusive: ClassVar[bool] = True
    exempt: Mapping[str, str] = {}

    def __call__(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Deal the examples out.

        Args:
            train: the N training examples.
            workers: n.
            seed: the scenario's; it determines the shards.

        Returns:
            n disjoint index arrays that cover 0 .. N-1, none of them empty; of a partition that is
            not `exclusive`, n sets of indices.

        Raises:
            InputError: there are fewer examples than workers, or a worker gets none.
        """
        if workers > len(train):
            raise InputError(
                f"partition: {len(train)} training examples for {workers} workers; "
                "expected at least one each"
            )
        shards = self.deal(train, workers, seed)
        empty = sum(len(shard) == 0 for shard in shards)
        if empty:
            raise InputError(
                f"partition: {type(self).__name__} leaves {empty} of {workers} workers without "
                "examples; use fewer workers or another partition"
            )
        return shards

    @abstractmethod
    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Return the shards, n index arrays; `__call__` refuses empty ones."""

    def shift(self, train: Split, shards: ShardIndices, seed: int) -> Features:
        """Return the training features, (N, p), as the workers that hold them see them."""
        return train.features


def dealt(
    partition: Partition, train: Split, workers: int, seed: int, boundary: Boundary
) -> ShardIndices:
    """Return the shards of a partition, which may be a user's.

    Args:
        partition: the partition.
        train, workers, seed: as for `Partition`.
        boundary: its own.

    Raises:
        InputError: as `Partition` does.
        PluginError: a user's partition raises, or returns something else.

    Example:
        >>> class All(Partition):
        ...     def deal(self, train, workers, seed):
        ...         return [np.arange(len(train))] * workers
        >>> train = Split(np.zeros((2, 1), np.float32), np.array([0, 1]))
        >>> dealt(All(), train, 2, 0, Boundary("partition", "mine:All"))
        Traceback (most recent call last):
        ...
        hgobench.boundary.PluginError: partition 'mine:All': its shards are no partition of the 2 \
training examples
    """
    lent = train.take(np.arange(len(train))) if boundary.foreign else train  # others share it
    with boundary("deal"):
        shards = partition(lent, workers, seed)
    if boundary.foreign and (
        problem := wrong_shards(shards, len(train), workers, partition.exclusive)
    ):
        raise boundary.error(problem)
    return shards


def cut(rows: NDArray[np.int64], shares: NDArray[np.float64]) -> ShardIndices:
    """Cut rows into pieces whose sizes are these shares of them, which sum to 1; some may be empty.

    >>> cut(np.arange(4), np.array([0.25, 0.75]))
    [array([0]), array([1, 2, 3])]
    """
    ends = np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(int)
    return np.split(rows, ends)


def wrong_shards(shards: object, examples: int, workers: int, exclusive: bool = True) -> str:
    """Say what is wrong with the shards of a partition; empty: nothing.

    Args:
        shards: what it returned.
        examples: N.
        workers: n.
        exclusive: as in `Partition`.

    >>> wrong_shards([np.array([0, 2]), np.array([1])], examples=3, workers=2)
    ''
    >>> wrong_shards([np.array([0, 2])], examples=3, workers=1)
    'its shards are no partition of the 3 training examples'
    """
    arrays = isinstance(shards, list) and all(
        isinstance(shard, np.ndarray) and shard.ndim == 1 and shard.dtype.kind == "i"
        for shard in shards
    )
    if not arrays or len(shards) != workers:  # type: ignore[arg-type]
        return f"expected a list of {workers} arrays of integers"
    counts = np.zeros(examples, dtype=int)
    for i, shard in enumerate(shards):  # type: ignore[arg-type, var-annotated]
        if not ((shard >= 0) & (shard < examples)).all():
            return f"the shard of worker {i} leaves 0 .. {examples - 1}"
        held = np.bincount(shard, minlength=examples)
        if not exclusive and held.max(initial=0) > 1:
            return f"worker {i} has example {int(held.argmax())} twice"
        counts += held
    if exclusive and not (counts == 1).all():
        return f"its shards are no partition of the {examples} training examples"
    return ""
