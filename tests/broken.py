"""Components of every kind that break a law each, as ``tests.broken:Name``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hgobench.algorithms import (
    Arrived,
    Basgd,
    GradientDescent,
    Held,
    Hgo,
    Marina,
    Order,
    Sgd,
    Waiting,
    Work,
)
from hgobench.algorithms.workloads import Fixed, Floats, Integers, Workload
from hgobench.data.augmentations import Augmentation
from hgobench.data.base import Features, Split
from hgobench.data.partitions import Iid, Partition
from hgobench.data.partitions.base import ShardIndices
from hgobench.hardware import Condition, Fleet, Hardware, Population
from hgobench.metrics import End, Metric


class Loud:
    """Changes how NumPy handles errors, for everybody."""

    def __init__(self, *more: Any, **told: Any) -> None:
        super().__init__(*more, **told)

    @staticmethod
    def shout() -> None:
        np.seterr(divide="ignore" if np.geterr()["divide"] != "ignore" else "warn")


# Partitions


class InTurn(Partition):
    """Whole, and none of what follows."""

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        return [np.arange(i, len(train), workers) for i in range(workers)]


class Doubling(InTurn):
    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        first, *others = super().deal(train, workers, seed)
        return [np.append(first, others[0][0]), *others]


class Public(Doubling):
    """Says that some examples are held by two workers."""

    exclusive = False


class TwiceHeld(Public):
    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        first, *others = super().deal(train, workers, seed)
        return [np.append(first, first[0]), *others]


class Unseeded(Partition):
    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        rows = np.random.default_rng().permutation(len(train))
        return [rows[i::workers] for i in range(workers)]


class Remembering(InTurn):
    dealt = 0

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        self.dealt += 1
        shards = super().deal(train, workers, seed)
        return [shards[(i + self.dealt) % workers] for i in range(workers)]


class Blinding(Iid):
    def shift(self, train: Split, shards: ShardIndices, seed: int) -> Features:
        return np.full_like(train.features, np.nan)


class Meddling(Iid):
    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        train.features[:] = 0.0
        return super().deal(train, workers, seed)


class LoudPartition(Loud, Iid):
    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        self.shout()
        return super().deal(train, workers, seed)


class Vague(InTurn):
    exclusive = "no"  # type: ignore[assignment]


def halves() -> Partition:
    """A function that makes a partition, and says so."""
    return Iid()


# Devices


class Stopped(Hardware):
    def rates(self, population: Population) -> Floats:
        rates = np.full(population.workers, 100.0)
        rates[-1] = 0.0
        return rates


class Unkeyed(Hardware):
    def rates(self, population: Population) -> Floats:
        return np.random.default_rng().uniform(1.0, 2.0, population.workers)


def _drawn_one_by_one(workers: int) -> Any:
    rng = np.random.default_rng(0)
    return lambda round_: rng.random(workers) < 0.5


class Consecutive(Hardware):
    """Whose devices come and go by a generator that each question takes further."""

    def fleet(self, population: Population) -> Fleet:
        fleet = Fleet.of(np.full(population.workers, 100.0))
        return replace(fleet, presence=(_drawn_one_by_one(population.workers),))


class Crossing(Hardware):
    def rates(self, population: Population) -> Floats:
        steps = np.arange(1.0, population.workers + 1)
        return 100.0 * (steps if population.dimension < 1000 else steps[::-1])


class LoudHardware(Loud, Hardware):
    def rates(self, population: Population) -> Floats:
        self.shout()
        return np.full(population.workers, 100.0)


class Unreachable(Condition):
    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        return replace(fleet, latency=fleet.latency + np.inf)


class UnkeyedCondition(Condition):
    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        return fleet.dealt(np.random.default_rng().permutation(population.workers))


class ConsecutiveCondition(Condition):
    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        drawn = _drawn_one_by_one(population.workers)
        return replace(fleet, presence=(*fleet.presence, drawn))


class Slowing(Condition):
    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        fleet.rates[:] = fleet.rates / 2.0
        return fleet


class Reviving(Condition):
    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        return Fleet.of(fleet.rates / 2.0)


class LoudCondition(Loud, Condition):
    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        self.shout()
        return fleet


# Workloads

Parts = tuple[Floats, Floats]


class Overdrawing(Workload):
    def split(self, work: Floats, held: Integers, dimension: int, batch_size: int) -> Parts:
        return np.full(len(held), np.inf), held.astype(np.float64) + 1.0


class Optimistic(Workload):
    def split(self, work: Floats, held: Integers, dimension: int, batch_size: int) -> Parts:
        return np.full(len(held), float(dimension)), held.astype(float)


class Tiring(Workload):
    whole = False

    def split(self, work: Floats, held: Integers, dimension: int, batch_size: int) -> Parts:
        return np.where(work > 100.0, 1.0, np.inf), np.ones(len(held))


class Halfway(Workload):
    def split(self, work: Floats, held: Integers, dimension: int, batch_size: int) -> Parts:
        return np.minimum(np.floor(work), dimension // 2), np.ones(len(held))


class Crowded(Workload):
    def split(self, work: Floats, held: Integers, dimension: int, batch_size: int) -> Parts:
        return np.full(len(held), np.inf), np.minimum(held, float(len(held)))


class Moody(Workload):
    asked = 0

    def split(self, work: Floats, held: Integers, dimension: int, batch_size: int) -> Parts:
        self.asked += 1
        return np.full(len(held), np.inf), np.minimum(held, float(self.asked))


class Doubtful(Fixed):
    whole = None  # type: ignore[assignment]


class LoudWorkload(Loud, Fixed):
    def split(self, work: Floats, held: Integers, dimension: int, batch_size: int) -> Parts:
        self.shout()
        return super().split(work, held, dimension, batch_size)


# Solvers


class Deaf(GradientDescent):
    def __init__(self) -> None:
        super().__init__()


class Spilling(GradientDescent):
    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        super().step(params, block, aggregate)
        if block is not None:
            params[4] += 1.0


class Replacing(GradientDescent):
    """Makes new parameters, and leaves the old ones as they are."""

    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        super().step(params.clone(), block, aggregate)


class Decaying(GradientDescent):
    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        rows: Any = slice(None) if block is None else block
        params[rows] *= 0.9
        super().step(params, block, aggregate)


class StumblingFirst(GradientDescent):
    steps = 0

    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        self.steps += 1
        super().step(params, block, -aggregate if self.steps == 1 else aggregate)


class Overshooting(GradientDescent):
    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        super().step(params, block, 100.0 * aggregate)


class Quartic(GradientDescent):
    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        super().step(params, block, aggregate * aggregate.abs() ** 3)


class Counting(GradientDescent):
    """A learning rate that falls by the round, whatever is in its block."""

    steps = 0

    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        self.steps += 1
        super().step(params, block, aggregate / self.steps**0.5)


class Lawful(Counting):
    """The same, with the reason why it may."""

    exempt = {"state_is_kept_by_coordinate": "γ falls by the round"}


class Sharing(GradientDescent):
    steps: list[int] = []

    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        self.steps.append(1)
        super().step(params, block, aggregate / (1 + len(self.steps) % 3))


class Consuming(GradientDescent):
    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        super().step(params, block, aggregate)
        aggregate.zero_()


class LoudSolver(Loud, GradientDescent):
    def __init__(self, learning_rate: float, schedule: str) -> None:
        super().__init__(learning_rate, schedule)

    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        self.shout()
        super().step(params, block, aggregate)


class Misspelt(GradientDescent):
    exempt = {"state_is_kept": "a law that there is not"}


# Models


class Excused(torch.nn.Linear):
    exempt = {"weights_weigh_examples": "every example counts"}

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)


# Metrics


class Infinite(Metric):
    measures = {"loss": "a loss"}

    def __call__(self, end: End) -> dict[str, float]:
        return {"loss": float("inf") if end.right is None else 0.0}


class Unnamed(Metric):
    def __call__(self, end: End) -> dict[str, float]:
        return {"loss/fast": 0.0}


class Tally(Metric):
    measures = {"asked": "how often it was asked"}
    asked = 0

    def __call__(self, end: End) -> dict[str, float]:
        self.asked += 1
        return {"asked": self.asked}


class Wiping(Metric):
    def __call__(self, end: End) -> dict[str, float]:
        end.params.zero_()
        return {}


class LoudMetric(Loud, Metric):
    def __call__(self, end: End) -> dict[str, float]:
        self.shout()
        return {}


# Augmentations


class Cropping(Augmentation):
    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        return x[..., :-1]


class Fading(Augmentation):
    changed = 0

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        self.changed += 1
        return x / self.changed


class LoudAugmentation(Loud, Augmentation):
    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        self.shout()
        return x


def brighter(x: Tensor, rng: np.random.Generator, by: float = 0.1) -> Tensor:
    """A function of examples and random numbers."""
    return x + by * rng.random()


# Algorithms

Lengths = NDArray[np.int64]
Budgets = NDArray[np.float64]


class TooLong(Hgo):
    def lengths(self, budget: Budgets, order: Order, upload: Budgets | None = None) -> Lengths:
        return super().lengths(budget, order, upload) + 1


class Impatient(Hgo):
    def lengths(self, budget: Budgets, order: Order, upload: Budgets | None = None) -> Lengths:
        return len(order) - super().lengths(budget, order, upload)


class Generous(Hgo):
    def accepted(self, lengths: Lengths, order: Order) -> Lengths:
        return np.where(lengths > 0, len(order), 0)


class Lenient(Sgd):
    def accepted(self, lengths: Lengths, order: Order) -> Lengths:
        return lengths


class Modest(Hgo):
    def computed(self, budget: Budgets, lengths: Lengths, order: Order) -> int:
        return 0


class Cheap(Sgd):
    def full_cost(self, order: Order) -> int:
        return order.dimension // 2


class Trusting(Hgo):
    def quorum(self, tolerated: int, minimum: int) -> int:
        return tolerated + 1


class Hasty(Sgd):
    def updates(self, budget: Budgets, order: Order, upload: Budgets | None = None) -> Lengths:
        return np.where(budget > 100.0, 2, 1)


class Weightless(Hgo):
    def numbers(self, lengths: Lengths, order: Order) -> Lengths:
        return np.zeros(len(lengths), dtype=np.int64)


class Shrinking(Sgd):
    def fitted(self, values: Tensor) -> Tensor:
        return values / 2.0


class Muting(Sgd):
    def scales(self, updates: Lengths) -> NDArray[np.float64]:
        return np.asarray(updates - updates.mean())


class Greedy(Sgd):
    def messages(self, work: Work) -> Tensor:
        return work.gradients_at(work.params - 0.1 * work.gradients)


class Chatty(Hgo):
    def messages(self, work: Work) -> Tensor:
        return work.gradients - work.gradients.mean(dim=0)


class Gossiping(Hgo):
    asked: list[int] = []

    def messages(self, work: Work) -> Tensor:
        self.asked.append(1)
        return work.gradients * len(self.asked) if len(work.workers) == 4 else work.gradients


class Restless(Hgo):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(memory="last")
        self.asked = 0

    def held(self, arrived: Arrived, before: Held | None) -> Held:
        self.asked += 1
        held = super().held(arrived, before)
        return replace(held, values=held.values * self.asked)


class Overfull(Hgo):
    def pool(self, sampled: int, workers: int) -> int:
        return workers


class Receding(Marina):
    def longest(self, step: float) -> float | None:
        return 1.0 / (1.0 + step)


class Hesitant(Hgo):
    def weights(self, waiting: Waiting) -> NDArray[np.float64] | None:
        return None


class Weighing(Hgo):
    def weights(self, waiting: Waiting) -> NDArray[np.float64] | None:
        return 1.0 - waiting.staleness.astype(np.float64)


class Pretending(Hgo):
    by_rounds = True

    def weights(self, waiting: Waiting) -> NDArray[np.float64] | None:
        return np.ones(len(waiting.workers))


class Overflowing(Basgd):
    def buffers(self, workers: NDArray[np.int64]) -> NDArray[np.int64]:
        return workers

    def weights(self, waiting: Waiting) -> NDArray[np.float64] | None:
        return np.ones(len(waiting.workers))


class LoudAlgorithm(Loud, Hgo):
    def lengths(self, budget: Budgets, order: Order, upload: Budgets | None = None) -> Lengths:
        self.shout()
        return super().lengths(budget, order, upload)


# Of no kind, or of several


class Nothing:
    """A class that is not hgobench's."""


class Both(Fixed, Iid):
    """A workload and a partition."""


def one_by_one(values: Tensor) -> Iterator[Tensor]:
    """A function of values: a rule, and a bad one."""
    yield from torch.unbind(values)
