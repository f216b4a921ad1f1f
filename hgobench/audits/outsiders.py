"""Counterexamples: a few workers hold what nobody else does."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Dataset, Source, Split
from hgobench.data.partitions.base import Partition, ShardIndices
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.parameters import share as checked_share
from hgobench.parameters import whole


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

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Share that label out among the outsiders, all else among the others."""
        count = int(np.ceil(self.share * workers))
        if not 0 < count < workers:
            raise InputError(f"partition: outsiders: {count} of {workers} workers; expected others")
        rng = stream(seed, "partition")
        labels, counts = np.unique(train.labels, return_counts=True)
        chosen = train.labels == labels[counts.argmax()]
        mine, rest = (rng.permutation(np.flatnonzero(part)) for part in (chosen, ~chosen))
        return [*np.array_split(mine, count), *np.array_split(rest, workers - count)]


class Points(Source):
    """Numbers, an example for each worker of `theory.counterexample.FastFew`: a few are 1, most 0.

    Those that are 1 share a label; each of the others has one of its own, so that theirs is the
    most frequent: `Outsiders` deals them to the outsiders.

    Args:
        examples: how many numbers.
        ones: how many of them are 1, 1 < ones < examples.
        validation: 0; there are none to hold out.
    """

    paper = "hgobench"
    validity = "1 < ones < examples"

    def __init__(self, examples: int = 20, ones: int = 2, validation: float = 0.0) -> None:
        super().__init__(validation)
        self.ones = whole("ones", ones, least=2)
        self.examples = whole("examples", examples, least=ones + 1)
        if validation:
            raise ValueError(f"validation: {validation}; expected 0")

    def load(self) -> Dataset:
        """Return them; they are the test examples, too."""
        others = self.examples - self.ones
        numbers = np.r_[np.ones(self.ones), np.zeros(others)].astype(np.float32)
        labels = np.r_[np.zeros(self.ones, dtype=np.int64), 1 + np.arange(others)]
        train = Split(numbers[:, None], labels)
        return Dataset(train, train.take(np.arange(0)), train, classes=1 + others)
