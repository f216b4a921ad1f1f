"""Pieces of the training set in the order of its labels."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Split
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.parameters import share, whole

from .base import Partition
from .base import Shards as Dealt


class Shards(Partition):
    """Sorted by label, the examples are cut into n·k pieces; each worker gets k at random.

    Most workers see k classes, some more (a piece may lie across two classes) and some fewer (two
    pieces of one class): n = 100 and k = 2 are the 200 pieces of the HGO paper. With a degree
    below 1 a random share 1 - degree of the examples is first dealt out equally to all, and the
    pieces are cut from the others.

    Args:
        k: pieces per worker, >= 1.
        degree: how heterogeneous, 0 (as `Iid`) .. 1.

    Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-Efficient Learning of
    Deep Networks from Decentralized Data", AISTATS 2017. With a degree below 1 the HGO authors'
    code deals some examples twice and others never; this one deals each once.
    """

    paper = "McMahan et al., AISTATS 2017; HGO"
    formula = "k of n·k pieces in the order of labels, a share 1 - degree equally to all"
    validity = "N >= n·k"

    def __init__(self, k: int = 2, degree: float = 1.0) -> None:
        self.k = whole("k", k, least=1)
        self.degree = share("degree", degree)

    def deal(self, train: Split, workers: int, seed: int) -> Dealt:
        """Deal one part equally, cut the other into pieces."""
        if len(train) < workers * self.k:
            raise InputError(
                f"partition: {len(train)} training examples for {workers} workers of {self.k} "
                f"pieces each; expected at least {workers * self.k}"
            )
        rng = stream(seed, "partition")
        rows = rng.permutation(len(train))
        equal, rest = np.split(rows, [round((1.0 - self.degree) * len(train))])
        rest = rest[np.argsort(train.labels[rest], kind="stable")]
        pieces = np.array_split(rest, workers * self.k)
        order = rng.permutation(workers * self.k).reshape(workers, self.k)
        shards = [np.concatenate([pieces[p] for p in mine]) for mine in order]
        # Parts differ in size by one at most; the larger ones go where there is least.
        least = np.argsort([len(shard) for shard in shards], kind="stable")
        for worker, part in zip(least, np.array_split(equal, workers), strict=True):
            shards[worker] = np.concatenate([part, shards[worker]])
        return shards
