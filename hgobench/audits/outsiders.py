"""Counterexamples, in which a few workers hold examples that no other worker has."""

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

    It is the most frequent label (the first, if several are), so that with ``rare_labels`` the
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
        """Deal the label's examples to the outsiders, all others to the other workers."""
        count = int(np.ceil(self.share * workers))
        if not 0 < count < workers:
            raise InputError(f"partition: outsiders: {count} of {workers} workers; expected others")
        rng = stream(seed, "partition")
        labels, counts = np.unique(train.labels, return_counts=True)
        of_label = train.labels == labels[counts.argmax()]
        outsiders_rows, other_rows = (
            rng.permutation(np.flatnonzero(mask)) for mask in (of_label, ~of_label)
        )
        return [
            *np.array_split(outsiders_rows, count),
            *np.array_split(other_rows, workers - count),
        ]


class Points(Source):
    """The numbers of the workers of `theory.counterexample.FastFew`: a few are 1, most are 0.

    All ones have the same label, and each zero has a label of its own, so that `Outsiders` deals
    the ones to the outsiders.

    Args:
        examples: number of examples.
        ones: number of ones, 1 < ones < examples.
        validation: 0; no examples can be held out.
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
        """Return the numbers, which are the test examples, too."""
        zeros = self.examples - self.ones
        numbers = np.r_[np.ones(self.ones), np.zeros(zeros)].astype(np.float32)
        labels = np.r_[np.zeros(self.ones, dtype=np.int64), 1 + np.arange(zeros)]
        train = Split(numbers[:, None], labels)
        return Dataset(train, train.take(np.arange(0)), train, classes=1 + zeros)
