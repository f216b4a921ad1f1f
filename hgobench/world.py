"""A world: all that the cells of one comparison share, with every random draw of every round."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hgobench import catalogue, hardware, models
from hgobench.algorithms import workloads
from hgobench.data import datasets, partitions
from hgobench.errors import InputError
from hgobench.hardware import Population
from hgobench.scenario import Scenario
from hgobench.streams import stream


@dataclass(frozen=True)
class Draw:
    """What a round draws.

    Attributes:
        workers: (q,) who is asked.
        batch: (q, s) rows of the training set; beyond a worker's size they are padding.
        size: (q,) s_i, how many of them count: min(s, |S_i|), unless the workload says otherwise.
        allotted: (q,) the most coordinates that the workload lets each compute; inf: all that it
            has time for.
        available: (q,) who is there to answer.
    """

    workers: NDArray[np.int64]
    batch: NDArray[np.int64]
    size: NDArray[np.int64]
    allotted: NDArray[np.float64]
    available: NDArray[np.bool_]

    @property
    def weights(self) -> NDArray[np.float32] | None:
        """(q, s) of each example in its worker's mean; None if all have s examples."""
        s = self.batch.shape[1]
        if (self.size == s).all():
            return None
        inside = np.arange(s) < self.size[:, None]
        return (inside / self.size[:, None]).astype(np.float32)


class World:
    """Data, shards, devices, the initial model, and the draws of every round.

    Args:
        scenario: any cell of the world; only the fields in its `world_key` are read.
            They may be given by name instead: ``World(data="digits", workers=20)``.
        device: where its examples and parameters are; draws are made on the CPU, the same for all.

    Attributes:
        data: the `Dataset`.
        shards: n index arrays into its training examples.
        fleet: the devices.
        rates: (n,) λ, coordinates of one example's gradient per time unit.
        model: the `Model`.

    Raises:
        InputError: the partition can't be made, or the model does not fit the data.
    """

    def __init__(
        self, scenario: Scenario | None = None, /, *, device: str = "cpu", **fields: Any
    ) -> None:
        scenario = scenario or Scenario(**fields)
        self.device = torch.device(device)
        self.seed, self.workers = scenario.seed, scenario.workers
        self.sampled, self.batch_size = scenario.sampled or scenario.workers, scenario.batch_size
        self.data = datasets.load(scenario.data)
        self.model = models.registry.build(
            scenario.model, features=self.data.features, classes=self.data.classes
        )
        partition = partitions.registry.build(scenario.partition)
        self.shards = partition(self.data.train, self.workers, self.seed)
        self._shift = partition.shift
        train = self.data.train
        known = train.labels if self.data.classes else np.zeros(len(train), dtype=np.int64)
        counts = [np.bincount(known[shard], minlength=self.data.classes) for shard in self.shards]
        population = Population(self.workers, self.model.dimension, self.seed, np.array(counts))
        self.fleet = hardware.registry.build(scenario.hardware).fleet(population)
        self.rates = self.fleet.rates
        if not (self.rates > 0).all() or len(self.rates) != self.workers:
            raise InputError(
                f"hardware: {scenario.hardware!r}: expected a positive rate per worker"
            )
        self.workload = workloads.registry.build(scenario.workload)
        self.deadline = scenario.deadline  # a fixed workload does not depend on it
        most = max(map(len, self.shards))  # of examples that a worker may draw
        fixed = isinstance(self.workload, workloads.Fixed)
        self._widest = min(self.batch_size, most) if fixed else max(self.batch_size, most)
        self._rows = np.concatenate(self.shards)
        self._size = np.array([len(shard) for shard in self.shards])
        self._offset = np.cumsum(self._size) - self._size

    @classmethod
    def of(cls, scenario: Scenario, device: str = "cpu") -> World:
        """Return the scenario's world, shared with other cells of it in this process."""
        files = catalogue.contents(vars(scenario)), datasets.state(scenario.data)
        key = (scenario.world_key, files, device)
        world = _CACHE.pop(key, None) or cls(scenario, device=device)
        _CACHE[key] = world
        if len(_CACHE) > 4:
            del _CACHE[next(iter(_CACHE))]
        return world

    @cached_property
    def features(self) -> Tensor:
        """Return the training features, (N, p), as the workers that hold them see them."""
        return self.put(self._shift(self.data.train, self.shards, self.seed))

    @cached_property
    def labels(self) -> Tensor:
        """Return the training labels, (N,): int64, or float32 in a regression."""
        return self.put(self.data.train.labels)

    @cached_property
    def test(self) -> tuple[Tensor, Tensor]:
        """Return the test examples: features (N, p) and labels (N,)."""
        return self.put(self.data.test.features), self.put(self.data.test.labels)

    @cached_property
    def validation(self) -> tuple[Tensor, Tensor]:
        """Return the validation examples: features (N, p) and labels (N,)."""
        return self.put(self.data.validation.features), self.put(self.data.validation.labels)

    def put(self, array: NDArray[Any]) -> Tensor:
        """Return the array as a tensor on the world's device."""
        return torch.from_numpy(array).to(self.device)

    def minibatches(self, draw: Draw, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return a round's examples: features (q, s, p) and labels (q, s).

        Args:
            draw: the round's.
            out: an earlier round's features, to be overwritten: fresh memory costs more.
        """
        batch = self.put(draw.batch)
        size = (*batch.shape, self.features.shape[1])
        if out is None or out.shape != size:
            out = self.features.new_empty(size)
        rows = out.view(-1, size[-1])
        torch.index_select(self.features, 0, batch.reshape(-1), out=rows)
        return out, self.labels[batch]

    def root(self, examples: int) -> tuple[Tensor, Tensor]:
        """Return clean training examples that the server has: features (N, p) and labels (N,).

        They are the first of a permutation of the training set, so that smaller sets lie in larger.

        Raises:
            ValueError: there are not so many.
        """
        if examples > len(self.labels):
            raise ValueError(
                f"root data: {examples} examples; the training set has {len(self.labels)}"
            )
        rows = self._root_order[:examples]
        return self.put(self.data.train.features[rows]), self.put(self.data.train.labels[rows])

    @cached_property
    def _root_order(self) -> NDArray[np.int64]:
        return stream(self.seed, "root").permutation(len(self.labels))

    def initial(self) -> Tensor:
        """Return the initial parameters, (d,)."""
        return self.model.initial(stream(self.seed, "initial")).to(self.device)

    def byzantine(self, f: int) -> NDArray[np.bool_]:
        """Say who is Byzantine, (n,): the first f of one permutation, so f = 5 is in f = 10."""
        chosen = np.zeros(self.workers, dtype=bool)
        chosen[stream(self.seed, "byzantine").permutation(self.workers)[:f]] = True
        return chosen

    def order(self, round_: int, places: int) -> NDArray[np.int64]:
        """Return C_k, the round's permutation of `places` places."""
        return stream(self.seed, "order", round_).permutation(places)

    def draw(self, round_: int) -> Draw:
        """Draw the round's workers and their minibatches, without replacement.

        The q workers are the first of a permutation of all n, so that q = 40 is in q = 80.
        """
        workers = stream(self.seed, "sample", round_).permutation(self.workers)[: self.sampled]
        allotted, size = self.workload.split(
            self.rates[workers] * self.deadline,
            self._size[workers],
            self.model.dimension,
            self.batch_size,
        )
        present = self.fleet.available(round_)
        available = np.ones(len(workers), dtype=bool) if present is None else present[workers]
        allotted = np.where((allotted >= 1) & (size >= 1), allotted, 0.0)
        # Who is silent draws one example, and computes nothing.
        whole = np.maximum(size, 1).astype(np.int64)
        batch = self._minibatches(workers, whole, stream(self.seed, "batch", round_))
        return Draw(workers, batch, whole, allotted, available)

    def _minibatches(
        self, workers: NDArray[np.int64], size: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw s_i of |S_i| for all workers at once by Floyd's algorithm, (q, max s_i).

        Its i-th step draws from the first |S_i| - s_i + i + 1 items, and takes the last of them if
        the drawn one is chosen already. The cost does not depend on |S_i|.
        """
        held = self._size[workers]
        s = int(size.max())
        uniform = rng.random((len(workers), self._widest)).T  # the same for the first workers
        step = np.arange(s)[:, None]
        last = np.maximum(held - size + step, 0)
        chosen = (uniform[:s] * (last + 1)).astype(np.int64)
        for i in range(1, s):
            taken = (chosen[:i] == chosen[i]).any(axis=0)
            chosen[i, taken] = last[i, taken]
        chosen[step >= size] = 0
        rows = self._rows[self._offset[workers] + chosen]
        return np.ascontiguousarray(rows.T)


_CACHE: dict[tuple[Any, ...], World] = {}
