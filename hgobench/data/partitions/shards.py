"""Pieces of the training set in the order of its labels."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Split
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.parameters import share, whole

from .base import Partition, ShardIndices


class Shards(Partition):
    """Sorted by label, the examples are cut into n·k pieces; each worker gets k at random.

    Most workers see k classes, some more (a piece may lie across two classes) and some fewer (two
    pieces of one class): n = 100 and k = 2 are the 200 pieces of the HGO paper. With a degree
    below 1 a random share 1 - degree of the examples is first dealt out equally to all, and the
    pieces are cut from the others.

    Args:
        k: pieces per worker, >= 1.
        degree: how heterogeneous, 0 (as `Iid`) .. 1.

    Example:
        >>> train = Split(np.zeros((6, 1), np.float32), np.array([0, 1, 0, 1, 0, 1]))
        >>> sorted(train.labels[shard].tolist() for shard in Shards(k=1)(train, workers=2, seed=0))
        [[0, 0, 0], [1, 1, 1]]

    Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-Efficient Learning of
    Deep Networks from Decentralized Data", AISTATS 2017. With a degree below 1 the HGO authors'
    code deals some examples twice and others never; here each is dealt once.
    """

    paper = "McMahan et al., AISTATS 2017; HGO"
    formula = "k of n·k pieces in the order of labels, a share 1 - degree equally to all"
    validity = "N >= n·k"

    def __init__(self, k: int = 2, degree: float = 1.0) -> None:
        self.k = whole("k", k, least=1)
        self.degree = share("degree", degree)

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Deal a share 1 - degree equally, and cut the other examples into pieces."""
        if len(train) < workers * self.k:
            raise InputError(
                f"partition: {len(train)} training examples for {workers} workers of {self.k} "
                f"pieces each; expected at least {workers * self.k}"
            )
        rng = stream(seed, "partition")
        rows = rng.permutation(len(train))
        equal, by_label = np.split(rows, [round((1.0 - self.degree) * len(train))])
        by_label = by_label[np.argsort(train.labels[by_label], kind="stable")]
        pieces = np.array_split(by_label, workers * self.k)
        order = rng.permutation(workers * self.k).reshape(workers, self.k)
        shards = [np.concatenate([pieces[p] for p in hand]) for hand in order]
        # Extras differ in size by one at most; the larger ones go to the smallest shards.
        fewest = np.argsort([len(shard) for shard in shards], kind="stable")
        for worker, extra in zip(fewest, np.array_split(equal, workers), strict=True):
            shards[worker] = np.concatenate([extra, shards[worker]])
        return shards
