"""Partitions: which worker holds which training examples. Shards are disjoint and cover all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import InputError
from hgobench.parameters import whole
from hgobench.registry import Registry
from hgobench.streams import stream

Shards = list[NDArray[np.int64]]


class Partition(ABC):
    """A way to deal N labelled examples out to n workers."""

    paper: ClassVar[str] = ""
    validity: ClassVar[str] = ""

    def __call__(self, labels: NDArray[np.int64], workers: int, seed: int) -> Shards:
        """Deal.

        Args:
            labels: (N,) the training labels.
            workers: n.
            seed: the scenario's; the same seed deals the same shards.

        Returns:
            n disjoint index arrays that cover 0 .. N-1, none of them empty.

        Raises:
            InputError: it can't be done, and why.
        """
        if workers > len(labels):
            raise InputError(
                f"partition: {len(labels)} training examples for {workers} workers; "
                "expected at least one each"
            )
        shards = self.deal(labels, workers, seed)
        empty = sum(len(shard) == 0 for shard in shards)
        if empty:
            raise InputError(
                f"partition: {type(self).__name__} leaves {empty} of {workers} workers without "
                "examples; use fewer workers or another partition"
            )
        return shards

    @abstractmethod
    def deal(self, labels: NDArray[np.int64], workers: int, seed: int) -> Shards:
        """Return the shards; `__call__` refuses empty ones."""


class Iid(Partition):
    """A random permutation, cut into n equal parts (sizes differ by at most one)."""

    paper = "homogeneous split of the HGO paper"
    validity = "N >= n"

    def deal(self, labels: NDArray[np.int64], workers: int, seed: int) -> Shards:
        """Cut a permutation."""
        return np.array_split(stream(seed, "partition").permutation(len(labels)), workers)


class ByClass(Partition):
    """Each worker sees k classes; a class is shared equally by the workers that hold it.

    Workers take, one after the other, the k classes that fewest have taken so far, at random among
    equals: all classes are held by nearly the same number of workers.

    Args:
        k: classes per worker, 1 <= k <= classes.
    """

    paper = "heterogeneous split of the HGO paper (k = 2)"
    validity = "n·k >= classes; each class has an example for each of its workers"

    def __init__(self, k: int = 2) -> None:
        self.k = whole("k", k, least=1)

    def deal(self, labels: NDArray[np.int64], workers: int, seed: int) -> Shards:
        """Choose classes per worker, then share each class out."""
        rng = stream(seed, "partition")
        classes = np.unique(labels)
        if self.k > len(classes) or workers * self.k < len(classes):
            raise InputError(
                f"partition: by_class[k={self.k}] with {workers} workers and {len(classes)} "
                f"classes; expected k <= {len(classes)} and workers * k >= {len(classes)}"
            )
        taken = np.zeros(len(classes), dtype=int)
        holders: list[list[int]] = [[] for _ in classes]
        for worker in range(workers):
            for c in np.lexsort((rng.random(len(classes)), taken))[: self.k]:
                taken[c] += 1
                holders[c].append(worker)
        shards: list[list[NDArray[np.int64]]] = [[] for _ in range(workers)]
        for label, owners in zip(classes, holders, strict=True):
            mine = rng.permutation(np.flatnonzero(labels == label))
            if len(mine) < len(owners):
                raise InputError(
                    f"partition: by_class[k={self.k}]: class {label} has {len(mine)} examples for "
                    f"{len(owners)} workers"
                )
            for owner, part in zip(owners, np.array_split(mine, len(owners)), strict=True):
                shards[owner].append(part)
        return [np.concatenate(parts) for parts in shards]


class Dirichlet(Partition):
    """Each class is dealt out in shares drawn from a symmetric Dirichlet distribution.

    Small α: a class is held by few workers; α → ∞: equal shares. A draw that leaves a worker
    without examples is repeated, up to 100 times.

    Args:
        alpha: the concentration α > 0.

    Source: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification", 2019 (arXiv:1909.06335).
    """

    paper = "Hsu et al., 2019"
    validity = "α > 0; some draw leaves no worker empty"

    def __init__(self, alpha: float = 0.5) -> None:
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < np.inf:
            raise ValueError(f"alpha: {alpha!r}; expected a number > 0")
        self.alpha = float(alpha)

    def deal(self, labels: NDArray[np.int64], workers: int, seed: int) -> Shards:
        """Draw shares per class until nobody is left empty."""
        shards: Shards = []
        for attempt in range(100):
            rng = stream(seed, "partition", attempt)
            parts: list[list[NDArray[np.int64]]] = [[] for _ in range(workers)]
            for label in np.unique(labels):
                mine = rng.permutation(np.flatnonzero(labels == label))
                shares = rng.dirichlet(np.full(workers, self.alpha))
                cuts = np.rint(np.cumsum(shares)[:-1] * len(mine)).astype(int)
                for owner, part in enumerate(np.split(mine, cuts)):
                    parts[owner].append(part)
            shards = [np.concatenate(p) for p in parts]
            if all(len(shard) for shard in shards):
                break
        return shards


registry: Registry[Partition] = Registry(
    "partition", "partitions", {"iid": Iid, "by_class": ByClass, "dirichlet": Dirichlet}
)
