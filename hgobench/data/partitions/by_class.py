"""Workers that hold a few classes each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hgobench.data.base import Split
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.parameters import whole

from .base import Partition, ShardIndices


class ByClass(Partition):
    """Each worker sees k classes; a class is shared equally by the workers that hold it.

    Workers take, one after the other, the k classes that fewest have taken so far, at random among
    equals: all classes are held by nearly the same number of workers.

    Args:
        k: classes per worker, 1 <= k <= classes.

    Example:
        >>> from hgobench.data.datasets import load
        >>> train = load("digits").train
        >>> shards = ByClass(k=2)(train, workers=5, seed=0)
        >>> [len(np.unique(train.labels[shard])) for shard in shards]
        [2, 2, 2, 2, 2]
    """

    paper = "heterogeneous split of the HGO paper (k = 2)"
    formula = "k classes each, every class shared equally"
    validity = "n·k >= classes; each class has an example for each of its workers"

    def __init__(self, k: int = 2) -> None:
        self.k = whole("k", k, least=1)

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Choose classes per worker, then share each class out."""
        rng = stream(seed, "partition")
        classes = np.unique(train.labels)
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
            rows = rng.permutation(np.flatnonzero(train.labels == label))
            if len(rows) < len(owners):
                raise InputError(
                    f"partition: by_class[k={self.k}]: class {label} has {len(rows)} examples for "
                    f"{len(owners)} workers"
                )
            for owner, piece in zip(owners, np.array_split(rows, len(owners)), strict=True):
                shards[owner].append(piece)
        return [np.concatenate(pieces) for pieces in shards]
