"""Independent and identically distributed shards."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Split
from hgobench.determinism import stream

from .base import Partition, ShardIndices


class Iid(Partition):
    """Random shards of equal size (sizes differ by at most one).

    Example:
        >>> train = Split(np.zeros((6, 1), np.float32), np.array([0, 0, 0, 1, 1, 1]))
        >>> [len(shard) for shard in Iid()(train, workers=4, seed=0)]
        [2, 2, 1, 1]
    """

    paper = "homogeneous split of the HGO paper"
    formula = "N/n random examples each"

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Cut a permutation."""
        return np.array_split(stream(seed, "partition").permutation(len(train)), workers)
