"""The server's side of a scenario on real devices: rounds that replies drive.

What a round decides is the simulation's code: `Round.decide` of `hgobench.simulation`, with what
came in the place of what its workers would have sent, and a real clock in the place of its own.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench import algorithms, attacks, catalogue
from hgobench.algorithms import FedAvg, FedProx, Hgo, Order, Sgd
from hgobench.determinism import one_thread
from hgobench.errors import InputError
from hgobench.lazy import torch
from hgobench.models import Softmax
from hgobench.provenance import environment
from hgobench.results.result import Result
from hgobench.scenario import Scenario
from hgobench.simulation.answers import Answers
from hgobench.simulation.cell import Cell
from hgobench.simulation.rounds import Round, Stack
from hgobench.simulation.turns import Turn
from hgobench.simulation.world import Draw, World

from .log import Heard, Log
from .worker import Ask


def refusals(scenario: Scenario) -> list[str]:
    """Return why devices can't run a scenario, a line each; empty: they can."""
    problems = []
    if not catalogue.registry("hardware").build(scenario.hardware).real:
        problems.append(f"hardware: {scenario.hardware!r}; expected 'real' or 'real[name]'")
    algorithm = algorithms.registry.build(scenario.algorithm)
    plain = type(algorithm) in (Sgd, Hgo, FedAvg, FedProx) and not getattr(algorithm, "momentum", 0)
    if isinstance(algorithm, Hgo):
        plain &= algorithm.block is None and not (algorithm.whole or algorithm.own_start)
    if not plain:
        problems.append(
            f"algorithm: {scenario.algorithm!r}; devices know hgo and hgo[steps=..], sgd, fedavg "
            "and fedprox, without momentum"
        )
    for name, expected in (
        ("granularity", "scalar"), ("cost", "scalar"), ("workload", "fixed"), ("augment", "none"),
        ("weights", "none"),
    ):  # fmt: skip
        if getattr(scenario, name) != expected:
            problems.append(f"{name}: {getattr(scenario, name)!r}; devices know {expected!r} alone")
    if attacks.build(scenario.attack).sees == "server":
        problems.append(
            f"attack: {scenario.attack!r} tries messages on the server, which no device can"
        )
    return problems


class Reply(NamedTuple):
    """An answer as it arrived.

    Attributes:
        values: (b,) float32, the first b coordinates of the round's order, b > 0.
        updates: how many gradients the device says that it took.
        joules: that it says it spent; NaN: it does not say.
    """

    values: NDArray[np.float32]
    updates: int = 1
    joules: float = math.nan


class _Heard(Round):
    """A round whose answers have come."""

    def __init__(
        self, k: int, world: World, draw: Draw, stack: Stack, answers: Answers, heard: Heard
    ) -> None:
        super().__init__(k, world, draw, stack.params, answers, stack.observe)
        self.asked, self.seconds = heard.asked, heard.seconds

    def spent(self, turn: Turn, order: Order) -> tuple[int, float]:
        """Return how many numbers came, and how long the round took."""
        numbers = turn.cell.algorithm.numbers(turn.lengths, order)
        return int(numbers.sum()), self.seconds


class _Stack(Stack):
    """The cell of a real run.

    Attributes:
        joules: (n,) what each worker says that it spent.
    """

    def __init__(self, cells: list[Cell], world: World) -> None:
        super().__init__(cells, world)
        self.joules, self._silent = np.zeros(world.workers), False

    def spend(self, workers: NDArray[np.int64], joules: NDArray[np.float64]) -> None:
        """Add what workers say of an answer: the run knows it if no honest one keeps silent."""
        (cell,), known = self.cells, np.isfinite(joules)
        self.joules[workers[known]] += joules[known]
        self._silent |= bool((~known & ~cell.byzantine[workers]).any())
        cell.joules = None if self._silent or not self.joules.any() else self.joules

    def hear(self, k: int, draw: Draw, heard: Heard) -> None:
        """Play round k with what was heard."""
        (cell,) = self.cells
        q, d = len(draw.workers), self.params.shape[1]
        order = cell.order(k)
        first = order.position.argsort()  # places are coordinates
        values = torch.zeros(1, q, d)
        lengths, updates = np.zeros(q, np.int64), np.ones(q, np.int64)
        start = 0
        for row, length, taken in zip(heard.rows, heard.lengths, heard.updates, strict=True):
            sent = heard.values[start : start + length]
            values[0, row, torch.from_numpy(first[:length])] = torch.from_numpy(sent.copy())
            lengths[row], updates[row] = length, taken
            start += length
        self.spend(draw.workers[heard.rows], heard.joules)
        now = self.params.clone()
        round_ = _Heard(k, self.world, draw, self, Answers(values), heard)
        hostile, held = cell.byzantine[draw.workers], self.world.sizes[draw.workers]
        turn = Turn(0, cell, hostile, False, lengths, updates, updates, held)
        turn.order, turn.malformed = order, heard.malformed
        turn.computed = int((order.coordinates(lengths) * updates).sum())
        round_.decide([turn])
        self._before, self._played = now, [(round_, 0)]


class Run:
    """A scenario on real devices: what its server sends, hears and keeps.

    Args:
        scenario: what runs; `hardware` is ``real``, and a time unit a second.
        log: where its replies are kept.

    Attributes:
        k: how many rounds are over.

    Raises:
        InputError: devices can't run it.
    """

    def __init__(self, scenario: Scenario, log: Log) -> None:
        if problems := refusals(scenario):
            raise InputError(problems)
        self.scenario, self.log, self._seconds = scenario, log, 0.0
        with one_thread():
            self.world = World(scenario, real=True)
            self.cell = Cell(scenario, self.world)
            if self.cell.status != "done":
                raise InputError(self.cell.reason)
            self.cell.joules = None  # what devices say, not what a scenario says of them
            self._stack = _Stack([self.cell], self.world)
        self.k = 0
        self._draw = self.world.draw(1)
        algorithm = self.cell.algorithm
        model = self.world.model
        self._said: dict[str, Any] = {
            "sampled": self.world.sampled,
            "width": self.world.draw_width,
            "dimension": model.dimension,
            "deadline": float(scenario.deadline),
            "seed": scenario.seed,
            "batch_size": scenario.batch_size,
            "steps": algorithm.gradients,
            "whole": not algorithm.partial,
            "rate": float(getattr(algorithm, "rate", None) or scenario.learning_rate),
            "pull": float(getattr(algorithm, "mu", 0.0)),
            "ridge": float(model.ridge) if type(model) is Softmax else -1.0,
            "scenario": json.dumps(scenario.to_dict()),
        }

    @classmethod
    def resumed(cls, scenario: Scenario, results: Path, ruleset: str) -> Run:
        """Return the run of a scenario in a folder of results, after the round that was kept last.

        What was heard in an earlier process is heard again, so that the rule and the solver
        remember what they did.

        Raises:
            InputError: devices can't run it, or what was kept is another's or damaged.
        """
        run = cls(scenario, Log.of(results, ruleset, scenario))
        run.log.begin(scenario, ruleset)
        for k, heard, params in run.log.rounds():
            run.play(heard)
            if not np.array_equal(run.params, params, equal_nan=True):
                raise InputError(
                    f"{run.log.folder}: the replies of rounds 1 to {k} make another model than "
                    "they did: of other versions, or on another processor (hgobench replay)"
                )
        return run

    @property
    def over(self) -> bool:
        """Whether no further round is to be played."""
        ended = self.cell.status != "done" or self.cell.over
        return ended or self.k >= self.scenario.rounds

    @property
    def params(self) -> NDArray[np.float32]:
        """Return the parameters w, (d,), in memory of their own."""
        return self._stack.params[0].numpy().copy()

    @property
    def joules(self) -> NDArray[np.float64]:
        """Return what each worker says that it has spent, (n,)."""
        return self._stack.joules.copy()

    @property
    def workers(self) -> list[int]:
        """Return who is to be asked in the next round, q of them."""
        return [int(worker) for worker in self._draw.workers]

    @property
    def accuracy(self) -> float:
        """Return the last accuracy on test examples that is known."""
        return float(self.cell.ledger.table()["test_accuracy"][-1])

    def ask(self, worker: int, trip: float = 0.0, answered: int = 0, missed: int = 0) -> Ask:
        """Return what to say to a worker in the next round.

        Args:
            worker: one of `workers`; of another, who is there is asked (round 0).
            trip, answered, missed: of its last answers (see `Ask`).
        """
        row = self.workers.index(worker) if worker in self.workers else -1
        k = self.k + 1 if row >= 0 else 0
        return Ask(
            round=k,
            worker=worker,
            row=max(row, 0),
            trip=trip,
            answered=answered,
            missed=missed,
            **self._said,
        )

    def hear(
        self, replies: Mapping[int, Reply], *, asked: int, malformed: int, seconds: float
    ) -> dict[str, Any]:
        """Play the next round with the replies by worker, keep it, and return its row.

        It is kept before anybody is told of it.

        Args:
            replies: of workers that were asked; values may be any, NaN too.
            asked: how many were sent the parameters.
            malformed: how many replies could not be used.
            seconds: that the round took.

        Raises:
            OSError: it can't be kept.
        """
        at = {worker: row for row, worker in enumerate(self.workers)}
        by_row = sorted((at[worker], reply) for worker, reply in replies.items())
        most = self.cell.gradients
        heard = Heard(
            rows=np.array([row for row, _ in by_row], np.int64),
            lengths=np.array([len(reply.values) for _, reply in by_row], np.int64),
            updates=np.array([min(max(r.updates, 1), most) for _, r in by_row], np.int64),
            values=np.concatenate([np.zeros(0, np.float32), *(r.values for _, r in by_row)]),
            joules=np.array([r.joules for _, r in by_row], np.float64),
            asked=asked,
            malformed=malformed,
            seconds=seconds,
        )
        self.play(heard)
        self.log.write(self.k, heard, self.params)
        return {name: column[-1] for name, column in self.cell.ledger.table().items()}

    def play(self, heard: Heard) -> None:
        """Play the next round with what was heard, without keeping it.

        Raises:
            InputError: it is not of this run's next round, or the run is over.
        """
        if self.over:
            raise InputError(f"{self.log.folder}: more rounds than the run has")
        if problem := heard.problem(len(self._draw.workers), self.world.model.dimension):
            raise InputError(f"{self.log.folder}: round {self.k + 1}: {problem}")
        began = time.process_time()
        with one_thread():
            self.k += 1
            k, scenario, cell = self.k, self.scenario, self.cell
            self._stack.hear(k, self._draw, heard)
            due = k % scenario.evaluation_interval == 0 or k == scenario.rounds
            if due or cell.over:
                self._stack.evaluate(k, last=k == scenario.rounds, due=due)
            self._draw = self.world.draw(k + 1)
        self._seconds += time.process_time() - began

    def result(self, **facts: Any) -> Result:
        """Return its result, with facts on where it ran as a part of its provenance."""
        made = environment(self.world.device) | self.world.data.provenance | facts
        return self.cell.result(self._seconds, made, self.world.fresh_notes())


def everyone(workers: Iterable[int]) -> str:
    """Return workers as text.

    >>> everyone([2, 0])
    '0, 2'
    """
    return ", ".join(map(str, sorted(workers))) or "nobody"
