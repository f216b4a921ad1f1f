"""The laws of partitions.

A law is a function of a `Dealing`: a partition, with training examples to deal out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from hgobench.data import datasets
from hgobench.data.base import Features, Split
from hgobench.data.partitions import Partition
from hgobench.data.partitions.base import ShardIndices, wrong_shards
from hgobench.errors import InputError

from .laws import (
    SEEDS,
    Law,
    Trial,
    Verdict,
    equal,
    global_state_is_left_alone,
    table,
    taken,
    try_trial,
)

WORKERS = (2, 5, 8)


@dataclass(kw_only=True)
class Dealing(Trial[Partition]):
    """A partition and what it deals out.

    Attributes:
        train: the training examples.
        sizes: the numbers of workers, of `WORKERS`, that it deals them out to.
    """

    train: Split
    sizes: tuple[int, ...] = WORKERS

    def examples(self) -> Split:
        """Return the examples, in memory of their own."""
        return self.train.take(np.arange(len(self.train)))

    def deal(self, partition: Partition, workers: int, seed: int = SEEDS[0]) -> ShardIndices:
        """Deal them out."""
        with self.calling(partition, "deal", seed=seed):
            return partition(self.examples(), workers, seed)

    def shift(self, partition: Partition, shards: ShardIndices, seed: int = SEEDS[0]) -> Features:
        """Return the features as the workers see them."""
        with self.calling(partition, "shift", seed=seed):
            return partition.shift(self.examples(), shards, seed)


def every_example_goes_to_one_worker(trial: Dealing) -> None:
    """Shards are disjoint, not empty, and cover 0 .. N-1; if not `exclusive`, they lie in it."""
    for workers in trial.sizes:
        for seed in SEEDS:
            partition = trial.make()
            shards = trial.deal(partition, workers, seed)
            if problem := wrong_shards(shards, len(trial.train), workers, partition.exclusive):
                raise AssertionError(f"n = {workers}, seed {seed}: {problem}")


def seed_determines_the_shards(trial: Dealing) -> None:
    """The same seed gives the same shards, whatever was dealt out before."""
    for workers in trial.sizes:
        first, other = trial.make(), trial.make()
        shards = trial.deal(first, workers)
        trial.deal(first, workers, SEEDS[1])
        for who, again in (("the same", first), ("another", other)):
            if not equal(trial.deal(again, workers), shards):
                raise AssertionError(
                    f"n = {workers}: {who} instance deals other shards by the same seed: draw "
                    'from hgobench.determinism.stream(seed, "partition")'
                )


def shift_changes_features_alone(trial: Dealing) -> None:
    """What workers see are finite features (N, p), the same for the same seed."""
    for workers in trial.sizes:
        partition = trial.make()
        shards = trial.deal(partition, workers)
        seen = trial.shift(partition, shards)
        if np.shape(seen) != trial.train.features.shape:
            raise AssertionError(f"{np.shape(seen)}; expected {trial.train.features.shape}")
        if not np.isfinite(seen).all():
            raise AssertionError(f"n = {workers}: features that are not finite")
        if not equal(trial.shift(partition, shards), seen):
            raise AssertionError(f"n = {workers}: the same seed gave other features")


def examples_are_left_alone(trial: Dealing) -> None:
    """Neither dealing nor shifting changes the examples: other worlds share them."""
    for workers in trial.sizes:
        partition, lent = trial.make(), trial.examples()
        with trial.calling(partition, "deal"):
            shards = partition(lent, workers, SEEDS[0])
        with trial.calling(partition, "shift"):
            partition.shift(lent, shards, SEEDS[0])
        for name in ("features", "labels", "groups"):
            if not equal(getattr(lent, name), getattr(trial.train, name)):
                raise AssertionError(f"n = {workers}: it changed the {name}")


PARTITION_LAWS: dict[str, Law] = table(
    every_example_goes_to_one_worker,
    seed_determines_the_shards,
    shift_changes_features_alone,
    examples_are_left_alone,
    global_state_is_left_alone,
)


@cache
def _made() -> Split:
    """Return 240 images of 5 x 5 pixels, of four classes of unequal size, by twelve groups."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(4), (96, 72, 48, 24)))
    features = rng.standard_normal((240, 25)).astype(np.float32)
    return Split(features, labels, groups=rng.permutation(np.arange(240) % 12), image=(5, 5))


def try_partition(specification: str, data: str | None = None) -> Iterator[Verdict]:
    """Check all laws of a partition.

    Args:
        specification: a name, or ``module:Class``.
        data: whose training examples are dealt out; None: `_made` ones.

    Raises:
        InputError: there is no such partition, or it deals these examples out to none of so many
            workers.
    """
    train = _made() if data is None else datasets.load(data).train
    trial: Any = Dealing(kind="partition", name=specification, train=train)
    try:  # it may need more workers, or more examples
        trial.sizes = taken(lambda workers: trial.deal(trial.make(), workers), WORKERS)
    except InputError as refusal:
        hint = "" if data is not None else "; name the data that it is for by --data"
        raise InputError(f"{problem}{hint}" for problem in refusal.problems) from None
    trial.changed.clear()
    return try_trial(trial, PARTITION_LAWS)
