"""Independent and identically distributed shards."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Split
from hgobench.determinism import stream

from .base import Partition, Shards


class Iid(Partition):
    """A random permutation, cut into n equal parts (sizes differ by at most one)."""

    paper = "homogeneous split of the HGO paper"
    formula = "N/n random examples each"

    def deal(self, train: Split, workers: int, seed: int) -> Shards:
        """Cut a permutation."""
        return np.array_split(stream(seed, "partition").permutation(len(train)), workers)
