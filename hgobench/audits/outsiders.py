"""A partition for a counterexample: a few workers hold what nobody else does."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Split
from hgobench.data.partitions.base import Partition, Shards
from hgobench.errors import InputError
from hgobench.parameters import share as checked_share
from hgobench.streams import stream


class Outsiders(Partition):
    """A share of the workers hold all examples of one label, the others a mix of the rest.

    It is the most frequent label (of equals the first), so that behind ``rare_labels`` the
    outsiders have the fastest devices.

    Args:
        share: of the workers, in (0, 1); at least one of them is an outsider.
    """

    paper = "hgobench"
    formula = "⌈share·n⌉ workers: the most frequent label; the others: all else"
    validity = "classification data; 1 <= ⌈share·n⌉ < n"

    def __init__(self, share: float = 0.1) -> None:
        self.share = checked_share("share", share)

    def deal(self, train: Split, workers: int, seed: int) -> Shards:
        """Share that label out among the outsiders, all else among the others."""
        count = int(np.ceil(self.share * workers))
        if not 0 < count < workers:
            raise InputError(f"partition: outsiders: {count} of {workers} workers; expected others")
        rng = stream(seed, "partition")
        labels, counts = np.unique(train.labels, return_counts=True)
        chosen = train.labels == labels[counts.argmax()]
        mine, rest = (rng.permutation(np.flatnonzero(part)) for part in (chosen, ~chosen))
        return [*np.array_split(mine, count), *np.array_split(rest, workers - count)]
