"""A world: all that the cells of one comparison share, with every random draw of every round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import catalogue, hardware, models
from hgobench.algorithms import workloads
from hgobench.algorithms.workloads import wrong_split
from hgobench.boundary import Boundary, PluginError, keyed, message
from hgobench.data import augmentations, datasets, partitions
from hgobench.data.augmentations.base import wrong_examples
from hgobench.data.base import Dataset, Split
from hgobench.data.partitions.base import dealt
from hgobench.determinism import stream, without_replacement
from hgobench.errors import InputError
from hgobench.hardware import Population
from hgobench.hardware.fleet import wrong_fleet, wrong_presence
from hgobench.lazy import Tensor, torch
from hgobench.models import Classifier, Model, Module
from hgobench.models.base import accuracy, memory
from hgobench.models.factory import image_of
from hgobench.scenario import Scenario

TURNS = 256  # of which the draws are kept: fast and slow workers are at different ones


@dataclass(frozen=True)
class Draw:
    """What a round draws.

    Attributes:
        workers: (q,) which workers are sampled.
        batch: (q, s) rows of the training set; beyond a worker's size they are padding.
        size: (q,) s_i, how many of them count: min(s, |S_i|), unless the workload says otherwise.
        coordinate_limit: (q,) the most coordinates that the workload lets each worker compute; inf:
            as many as it has time for.
        available: (q,) which of them are available.
        round: k.
        minibatch: which of the round's minibatches `batch` is; 0: the first.
        turns: (q,) the round of which each worker's minibatch is, where workers are at different
            ones; None: all are at k.
        minibatches: (q,) |S_i|/s_i, how many minibatches the examples make, where they are all that
            each holds; None: they are one.
        staleness: (q,) how many steps the server has taken since it asked each, where it steps on
            answers whenever they come; None: it asked all for this one.
    """

    workers: NDArray[np.int64]
    batch: NDArray[np.int64]
    size: NDArray[np.int64]
    coordinate_limit: NDArray[np.float64]
    available: NDArray[np.bool_]
    round: int
    minibatch: int = 0
    turns: NDArray[np.int64] | None = None
    minibatches: NDArray[np.float64] | None = None
    staleness: NDArray[np.int64] | None = None

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
        real: whether its devices exist, and nothing is to be simulated.

    Attributes:
        data: the `Dataset`.
        shards: n index arrays into its training examples.
        held: (n, classes) how many training examples of each class each worker holds.
        sizes: (n,) how many each holds.
        fleet: the devices.
        rates: (n,) λ, coordinates of one example's gradient per time unit.
        draw_width: how many random numbers there are for each worker's minibatch.
        models: the `Boundary` of its model.
        model: the `Model`. What is asked of it during a run is asked of the world, which keeps
            models of others within bounds: `initial`, `gradients`, `evaluate`.
        notes: changes to global state that plug-ins of the world made, and that were undone.

    Raises:
        InputError: the partition can't be made, or the model does not fit the data.
    """

    def __init__(
        self,
        scenario: Scenario | None = None,
        /,
        *,
        device: str = "cpu",
        real: bool = False,
        **fields: Any,
    ) -> None:
        scenario = scenario or Scenario(**fields)
        self.notes: list[str] = []
        try:
            with keyed(scenario.seed):
                self._make(scenario, device, real)
        except PluginError as error:
            raise InputError(error.problem) from error

    def _make(self, scenario: Scenario, device: str, real: bool) -> None:
        self.device = torch.device(device)
        self.seed, self.workers = scenario.seed, scenario.workers
        self.sampled, self.batch_size = scenario.sampled, scenario.batch_size
        self.data = datasets.load(scenario.data)
        told = self.data.shape | {"image": image_of(self.data.train)}
        self.model = models.registry.build(scenario.model, **told)
        self.models = self._boundary("model", scenario.model, self.model)
        _check_model(self.models, self.model)
        train = self.data.train
        partition = partitions.registry.build(scenario.partition)
        self._partitions = self._boundary("partition", scenario.partition, partition)
        self.shards = dealt(partition, train, self.workers, self.seed, self._partitions)
        self._shift = partition.shift
        labels = train.labels if self.data.classes else np.zeros(len(train), dtype=np.int64)
        counts = [np.bincount(labels[shard], minlength=self.data.classes) for shard in self.shards]
        self.held = np.array(counts)
        population = Population(self.workers, self.model.dimension, self.seed, self.held)
        devices = hardware.registry.build(scenario.hardware)
        if isinstance(devices, hardware.Hardware) and devices.real and not real:
            raise InputError(
                f"hardware: {scenario.hardware!r}: these devices exist, and run on Flower "
                "(docs/real-devices.md); for a simulation of them: devices[path=..]"
            )
        self._devices = self._boundary("hardware", scenario.hardware, devices)
        with self._devices("fleet"):
            self.fleet = devices.fleet(population)
        _refuse(self._devices, wrong_fleet, self.fleet, self.workers)
        if self._devices.foreign:
            self.fleet = self.fleet.copy()
        self.rates = self.fleet.rates
        if not (self.rates > 0).all() or len(self.rates) != self.workers:
            raise InputError(
                f"hardware: {scenario.hardware!r}: expected a positive rate per worker"
            )
        self.workload = workloads.registry.build(scenario.workload)
        self._workloads = self._boundary("workload", scenario.workload, self.workload)
        self.deadline = scenario.deadline  # a fixed workload does not depend on it
        most = max(map(len, self.shards))  # of examples that a worker may draw
        fixed = isinstance(self.workload, workloads.Fixed)
        self.draw_width = min(self.batch_size, most) if fixed else max(self.batch_size, most)
        self._rows = np.concatenate(self.shards)
        self.sizes = np.array([len(shard) for shard in self.shards])
        self._offset = np.cumsum(self.sizes) - self.sizes
        augmentation = augmentations.registry.build(scenario.augment)
        self._augmentations = self._boundary("augment", scenario.augment, augmentation)
        with self._augmentations("fits"):
            augmentation.fits(self.data)
        nothing = isinstance(augmentation, augmentations.Nothing)
        self._augmentation = None if nothing else augmentation
        if self._partitions.foreign:
            _ = self.features  # compute them now, so that a shift that fails is refused at once
        self._turns: dict[int, Draw] = {}
        self._made = len(self.notes)

    def fresh_notes(self) -> list[str]:
        """Delete the notes of earlier runs; return the list for this run."""
        del self.notes[self._made :]
        return self.notes

    def expect_suited(self, kind: str, name: str, component: object) -> None:
        """Refuse a component that does not go with the data: an attack on a class they lack.

        Args:
            kind: ``"attack"``, ``"rule"`` or ``"algorithm"``.
            name: its specification.
            component: what is asked (`fits`), with all that it is made of.

        Raises:
            InputError: it says so.
            PluginError: it is plug-in code and raises something else.
        """
        try:
            with self._boundary(kind, name, component, ValueError)("fits"):
                _ask_whether_it_fits(component, self.data)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{kind}: {name!r}: {message(error)}") from error

    def _boundary(self, kind: str, name: str, part: object, *passes: type[Exception]) -> Boundary:
        passed: tuple[type[Exception], ...] = (InputError, *passes)
        return Boundary(kind, name, part, seed=self.seed, passes=passed, notes=self.notes)

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
        train = self.data.train
        with self._partitions("shift"):
            seen = self._shift(_lent(self._partitions, train), self.shards, self.seed)
        if self._partitions.foreign:
            if np.shape(seen) != train.features.shape:
                raise self._partitions.error(
                    f"its shift returned {np.shape(seen)}; expected features {train.features.shape}"
                )
            seen = np.array(seen, dtype=np.float32)
            if not np.isfinite(seen).all():
                raise self._partitions.error(
                    "its shift returned features that are not finite; expected finite numbers"
                )
        return self.to_device(seen)

    @cached_property
    def labels(self) -> Tensor:
        """Return the training labels, (N,): int64, or float32 in a regression."""
        return self.to_device(self.data.train.labels)

    @cached_property
    def test(self) -> tuple[Tensor, Tensor]:
        """Return the test examples: features (N, p) and labels (N,)."""
        return self.to_device(self.data.test.features), self.to_device(self.data.test.labels)

    def some_of_test(self, most: int) -> tuple[Tensor, Tensor]:
        """Return test examples in new memory: features (N, p) and labels (N,).

        Args:
            most: N, if there are more: as many are drawn, the same for all who ask for them.
        """
        order = stream(self.seed, "success").permutation(len(self.data.test))
        rows = self.to_device(np.sort(order[:most]))
        return self.test[0][rows], self.test[1][rows]

    @cached_property
    def validation(self) -> tuple[Tensor, Tensor]:
        """Return the validation examples: features (N, p) and labels (N,)."""
        return self.to_device(self.data.validation.features), self.to_device(
            self.data.validation.labels
        )

    @cached_property
    def largest(self) -> Tensor:
        """Return the largest value of each feature among the training examples, (p,)."""
        return self.to_device(self.data.train.features.max(axis=0))

    def to_device(self, array: NDArray[Any]) -> Tensor:
        """Return the array as a tensor on the world's device."""
        return torch.from_numpy(array).to(self.device)

    def examples(self, rows: NDArray[np.int64], out: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return training examples as they are: features (.., p) and labels (..), in new memory.

        Args:
            rows: (..) which.
            out: features of as many, to be overwritten: new memory would cost more.
        """
        which = self.to_device(rows)
        size = (*which.shape, self.features.shape[1])
        if out is None or out.shape != size:
            out = self.features.new_empty(size)
        torch.index_select(self.features, 0, which.reshape(-1), out=out.view(-1, size[-1]))
        return out, self.labels[which]

    def minibatches(
        self, draw: Draw, out: Tensor | None = None, of: NDArray[np.bool_] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return minibatches as their workers learn from them: features (q, s, p), labels (q, s).

        All minibatches come from here. They are augmented alike for all who ask for them.

        Args:
            draw: the round's.
            out: an earlier round's features, to be overwritten: new memory would cost more.
            of: (q,) whose; None: all workers'.

        Raises:
            PluginError: the augmentation is not hgobench's, and raises or returns something else.
        """
        whose = np.arange(len(draw.workers)) if of is None else np.flatnonzero(of)
        x, y = self.examples(draw.batch if of is None else draw.batch[whose], out)
        if self._augmentation is not None:
            for place, i in enumerate(whose.tolist()):
                mine = x[place, : draw.size[i]]
                mine.copy_(self._augmented(draw, i, mine).view(mine.shape))
        return x, y

    def _augmented(self, draw: Draw, i: int, x: Tensor) -> Tensor:
        """Return the examples of the i-th worker of a draw, (s_i, p), augmented."""
        assert self._augmentation is not None
        worker = int(draw.workers[i])
        turn = draw.round if draw.turns is None else int(draw.turns[i])
        image = self.data.train.image
        shape = (len(x), *((1, *image)[-3:] if image else x.shape[1:]))
        rng = stream(self.seed, "augment", turn, draw.minibatch, worker)
        with self._augmentations(f"augment {draw.minibatch} {worker}", draw.round):
            seen: object = self._augmentation(x.clone().view(shape), rng)
        _refuse(self._augmentations, wrong_examples, seen, x.view(shape), self.data.vocabulary)
        assert isinstance(seen, torch.Tensor)
        return seen.detach().to(x.device) if self._augmentations.foreign else seen

    def root(self, examples: int) -> tuple[Tensor, Tensor]:
        """Return the server's clean training examples: features (N, p) and labels (N,).

        They are the first of a permutation of the training set, so that smaller sets lie in larger.

        Raises:
            ValueError: the training set is smaller.
        """
        if examples > len(self.labels):
            raise ValueError(
                f"root data: {examples} examples; the training set has {len(self.labels)}"
            )
        rows = self._root_order[:examples]
        return self.to_device(self.data.train.features[rows]), self.to_device(
            self.data.train.labels[rows]
        )

    def examples_of(self, workers: NDArray[np.bool_], most: int) -> tuple[Tensor, Tensor]:
        """Return training examples that some workers hold: features (N, p) and labels (N,).

        They are for evaluation, hence not augmented.

        Args:
            workers: (n,) whose.
            most: N, if they hold more: as many are drawn, the same for all who ask for them.
        """
        held = np.concatenate([self.shards[i] for i in np.flatnonzero(workers)])
        return self.examples(stream(self.seed, "attackers").permutation(held)[:most])

    @cached_property
    def _root_order(self) -> NDArray[np.int64]:
        return stream(self.seed, "root").permutation(len(self.labels))

    def initial(self) -> Tensor:
        """Return the initial parameters, (d,)."""
        with self.models("initial"):
            params = self.model.initial(stream(self.seed, "initial"))
        self._check_tensor("initial", params, (self.model.dimension,))
        return params.to(self.device)

    def gradients(
        self,
        k: int,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
        purpose: str = "gradients",
    ) -> Tensor:
        """Return all workers' gradients in round k, (R, q, d), as `Model.gradients` does.

        Args:
            k, params, x, y, weights, out: as there.
            purpose: of the call; what a model draws is keyed by it, and by the round.

        Raises:
            PluginError: the model is not hgobench's, and raises or returns something else.
        """
        if not self.models.foreign:
            return self.model.gradients(params, x, y, weights, out)
        out = memory(out, params, len(params), len(x), self.model.dimension)
        wrapped = isinstance(self.model, Module)
        # Cell by cell: what it draws must not depend on their number.
        for row, answer in zip(torch.split(params, 1), torch.split(out, 1), strict=True):
            lent = (answer,) if wrapped else ()
            with self.models(purpose, k):
                gradients = self.model.gradients(row.clone(), x.clone(), y.clone(), weights, *lent)
            self._check_tensor("gradients", gradients, (1, len(x), self.model.dimension))
            if gradients is not answer:
                answer.copy_(gradients.detach())
        return out

    def own_gradients(
        self,
        k: int,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        minibatch: int = 0,
        workers: NDArray[np.bool_] | None = None,
    ) -> Tensor:
        """Return each worker's gradient at parameters of its own in round k, (q, d) -> (q, d).

        Args:
            k, params, x, y, weights: as for `gradients`.
            minibatch: which of the round's minibatches they are.
            workers: (q,) bool, whose gradients; None: all. Those of the others are 0.

        Raises:
            PluginError: as for `gradients`.
        """
        found = torch.zeros_like(params)
        if not self.models.foreign:
            rows: Any = slice(None) if workers is None else torch.from_numpy(workers).to(x.device)
            own = None if weights is None else weights[rows]
            found[rows] = self.model.own_gradients(params[rows], x[rows], y[rows], own)
            return found
        for i in range(len(params)) if workers is None else np.flatnonzero(workers).tolist():
            one = slice(i, i + 1)
            own = None if weights is None else weights[one]
            purpose = f"gradients {minibatch} {i}"
            mine = self.gradients(k, params[one], x[one], y[one], own, purpose=purpose)
            found[i] = mine[0, 0]
        return found

    def evaluate(self, k: int, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and accuracy after round k, (R,) each, as `Model.evaluate` does.

        Raises:
            PluginError: as for `gradients`.
        """
        if not self.models.foreign:
            return self.model.evaluate(params, x, y)
        losses, accuracies = [], []
        for row in torch.split(params, 1):
            with self.models("evaluate", k):
                loss, accuracy = self.model.evaluate(row.clone(), x.clone(), y.clone())
            for name, value in (("loss", loss), ("accuracy", accuracy)):
                self._check_tensor(f"evaluate, {name}", value, (1,))
            if not ((accuracy >= 0) & (accuracy <= 1)).all():
                raise self.models.error("evaluate returned an accuracy outside [0, 1]")
            losses.append(loss)
            accuracies.append(accuracy)
        return torch.cat(losses), torch.cat(accuracies)

    def marked(
        self, k: int, params: Tensor, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return loss and accuracy as `evaluate` does, and which examples are answered rightly.

        Returns:
            (R,), (R,), and (R, N) bool; None of a model that classes nothing, or that is neither
            hgobench's nor a torch module.
        """
        if isinstance(self.model, Module) and self.model.classes:
            parts = []
            for row in torch.split(params, 1):
                with self.models("evaluate", k):
                    parts.append(self.model.marked(row.clone(), x.clone(), y.clone()))
            loss, right = (torch.cat(values) for values in zip(*parts, strict=True))
            return loss, accuracy(right), right
        if self.models.foreign or not isinstance(self.model, Classifier):
            return (*self.evaluate(k, params, x, y), None)
        loss, right = self.model.marked(params, x, y)
        return loss, accuracy(right), right

    def _check_tensor(self, what: str, found: object, shape: tuple[int, ...]) -> None:
        if not self.models.foreign:
            return
        tensor = isinstance(found, torch.Tensor)
        if (
            not isinstance(found, torch.Tensor)
            or found.shape != shape
            or not found.is_floating_point()
        ):
            saw = f"{found.dtype} {_of_r(found.shape, shape)}" if tensor else type(found).__name__  # type: ignore[attr-defined]
            raise self.models.error(
                f"{what} returned {saw}; expected a float tensor {_of_r(shape, shape)}"
            )

    def byzantine(self, f: int) -> NDArray[np.bool_]:
        """Return who is Byzantine, (n,): the first f of one permutation, so f = 5 is in f = 10."""
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
        return self._draw(round_, self.sampled)

    def turn(self, number: int) -> Draw:
        """Draw every worker's minibatch for its turn of this number, (n, s), from 1.

        That of a worker which is among those that round `number` samples is the same there.
        """
        found = self._turns.pop(number, None) or self._draw(number, self.workers)
        self._turns[number] = found
        if len(self._turns) > TURNS:
            del self._turns[next(iter(self._turns))]
        return found

    def whole(self, round_: int, asked: int) -> Draw:
        """Draw the workers of a whole round, with all the examples that each holds.

        Args:
            round_: k.
            asked: how many; the q that `draw` samples are the first of them.
        """
        workers, available = self._asked(round_, asked)
        size = self.sizes[workers]
        place = np.minimum(np.arange(size.max()), size[:, None] - 1)  # the last is the padding
        unlimited = np.full(len(workers), np.inf)
        return Draw(
            workers,
            self._rows[self._offset[workers, None] + place],
            size,
            unlimited,
            available,
            round_,
            minibatches=size / np.minimum(size, self.batch_size),
        )

    def coin(self, round_: int) -> float:
        """Return a round's coin, uniform in [0, 1), by which it may be whole."""
        return float(stream(self.seed, "coin", round_).random())

    def _asked(self, round_: int, asked: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Draw the first workers of the round's permutation, and return which are available."""
        workers = stream(self.seed, "sample", round_).permutation(self.workers)[:asked]
        workers.setflags(write=False)  # all cells of a cohort share it
        with self._devices("presence", round_):
            present = self.fleet.available(round_)
        if present is not None:
            _refuse(self._devices, wrong_presence, present, self.workers)
        available = np.ones(len(workers), dtype=bool) if present is None else present[workers]
        available.setflags(write=False)
        return workers, available

    def _draw(self, round_: int, sampled: int) -> Draw:
        workers, available = self._asked(round_, sampled)
        with self._workloads("split", round_):
            coordinate_limit, size = self.workload.split(
                self.rates[workers] * self.deadline,
                self.sizes[workers],
                self.model.dimension,
                self.batch_size,
            )
        _refuse(self._workloads, wrong_split, coordinate_limit, size, self.sizes[workers])
        coordinate_limit = np.asarray(coordinate_limit, dtype=np.float64)
        size = np.asarray(size, dtype=np.float64)
        coordinate_limit = np.where((coordinate_limit >= 1) & (size >= 1), coordinate_limit, 0.0)
        # A worker that stays silent draws one example, and computes nothing.
        whole = np.maximum(size, 1).astype(np.int64)
        batch = self._minibatches(workers, whole, stream(self.seed, "batch", round_))
        for shared in (whole, coordinate_limit):
            shared.setflags(write=False)
        return Draw(workers, batch, whole, coordinate_limit, available, round_)

    def further(self, round_: int, draw: Draw, minibatch: int) -> NDArray[np.int64]:
        """Draw a further minibatch of each worker, (q, s), as large as its first.

        Args:
            round_: k.
            draw: the round's; its `batch` is minibatch 0.
            minibatch: its number, >= 1; workers that go on after an answer draw by it too.
        """
        if draw.turns is not None:
            return self._of_turns(draw, minibatch)
        rng = stream(self.seed, "batch", round_, minibatch)
        return self._minibatches(draw.workers, draw.size, rng)

    def _of_turns(self, draw: Draw, minibatch: int) -> NDArray[np.int64]:
        """Draw a further minibatch of workers that are at different turns, (q, s)."""
        assert draw.turns is not None
        batch = np.empty_like(draw.batch)
        for number in np.unique(draw.turns).tolist():
            turn, rows = self.turn(number), np.flatnonzero(draw.turns == number)
            all_ = self.further(number, turn, minibatch)
            place = np.argsort(turn.workers)
            batch[rows] = all_[place[draw.workers[rows]]]
        return batch

    def _minibatches(
        self, workers: NDArray[np.int64], size: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Draw s_i of |S_i| for all workers at once, (q, max s_i)."""
        uniform = rng.random((len(workers), self.draw_width))  # the same for the first workers
        chosen = without_replacement(uniform, self.sizes[workers], size)
        rows = self._rows[self._offset[workers] + chosen]
        return np.ascontiguousarray(rows.T)


def _of_r(shape: Sequence[int], expected: Sequence[int]) -> str:
    """Write a shape; the number of cells computed together must not show in a message: R."""
    sizes = [str(size) for size in shape]
    if len(expected) != 1 and sizes and shape[0] == expected[0]:
        sizes[0] = "R"
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"


def _lent(boundary: Boundary, split: Split) -> Split:
    """Return the examples; plug-ins get a copy, as other worlds share the original."""
    return split.take(np.arange(len(split))) if boundary.foreign else split


def _ask_whether_it_fits(component: object, data: Dataset) -> None:
    """Ask a component and all that it is made of; a function that it is made of is not asked."""
    if (fits := getattr(component, "fits", None)) is not None:
        fits(data)
    for part in getattr(component, "made_of", ()):
        _ask_whether_it_fits(part, data)


def _refuse(boundary: Boundary, wrong: Callable[..., str], *returned: Any) -> None:
    """Refuse what a plug-in returned, if something is wrong with it."""
    if boundary.foreign and (problem := wrong(*returned)):
        raise boundary.error(problem)


def _check_model(boundary: Boundary, model: Model) -> None:
    """Refuse a plug-in model without a valid dimension and place_of."""
    if not boundary.foreign:
        return
    dimension = getattr(model, "dimension", None)
    if not isinstance(dimension, int) or isinstance(dimension, bool) or dimension < 1:
        raise boundary.error(f"its dimension is {dimension!r}; expected a whole number >= 1")
    if isinstance(model, Module):
        return  # its places are checked when a granularity asks for them
    with boundary("place_of"):
        place_of: object = getattr(model, "place_of", None)
    shape = getattr(place_of, "shape", None)
    if not isinstance(place_of, np.ndarray) or place_of.dtype.kind != "i" or shape != (dimension,):
        raise boundary.error(
            f"its place_of is {type(place_of).__name__} {shape}; expected an integer array "
            f"({dimension},)"
        )


_CACHE: dict[tuple[Any, ...], World] = {}
