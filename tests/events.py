"""A server driven by events: whenever an answer arrives, its algorithm says whether it steps.

Small, and without attackers: it shows that what an `Algorithm` says is enough to drive one that
goes by rounds and one that does not.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgobench import Scenario, World, aggregators
from hgobench.aggregators import ServerView
from hgobench.algorithms import Algorithm, GradientDescent, Order, Places, Waiting, Work
from hgobench.determinism import one_thread
from hgobench.protocol import Server


class Answer(NamedTuple):
    """An answer on its way, ordered by its arrival."""

    time: float
    number: int
    worker: int
    version: int  # how many steps the server had taken when it asked
    length: int
    updates: int
    message: Tensor


class Driver:
    """Runs one algorithm on a scenario's world, without deadline and attackers.

    Args:
        algorithm: what it runs.
        scenario: its world, rule and learning rate.
    """

    def __init__(self, algorithm: Algorithm, scenario: Scenario) -> None:
        assert (scenario.deadline, scenario.attack) == (math.inf, "none")
        self.world, self.algorithm = World(scenario), algorithm
        rule = aggregators.build(scenario.rule, f=scenario.tolerated, scope="block")
        solver = GradientDescent(scenario.learning_rate)
        self.server = Server(algorithm, rule, solver, scenario.quorum)
        self.params = self.world.initial()
        self.places = Places(self.world.model, "scalar", "scalar")
        self.time, self.version = 0.0, 0
        self.staleness: list[int] = []
        self._order = self._new_order()
        self._coming: list[Answer] = []
        self._asked = dict.fromkeys(range(scenario.workers), 0)
        self._number = 0

    def steps(self) -> Iterator[tuple[float, Tensor]]:
        """Yield the time of every step and the parameters after it, without end."""
        with one_thread():
            waiting: list[Answer] = []
            self._ask_all()
            while True:
                answer = heapq.heappop(self._coming)
                self.time = answer.time
                waiting.append(answer)
                stepped = self._stepped(waiting)
                if stepped:
                    waiting = []
                    yield self.time, self.params.clone()
                if self.algorithm.continuous:
                    self._ask_again(answer.worker)
                elif stepped:
                    self._coming = []  # who has not answered by now is not waited for
                    self._ask_all()

    def _new_order(self) -> Order:
        return Order(self.places, self.world.order(self.version + 1, len(self.places)))

    def _stepped(self, waiting: Sequence[Answer]) -> bool:
        """Step if the algorithm says so."""
        lengths = np.array([answer.length for answer in waiting])
        about = Waiting(
            workers=np.array([answer.worker for answer in waiting]),
            staleness=np.array([self.version - answer.version for answer in waiting]),
            lengths=self.server.accepted(lengths, self._order),
            outstanding=len(self._coming),
        )
        weights = self.algorithm.weights(about)
        if weights is None:
            return False
        values = torch.stack([answer.message for answer in waiting])
        updates = np.array([answer.updates for answer in waiting])
        values = self.server.scaled(values, np.where(weights > 0, about.lengths, 0), updates)
        values *= torch.from_numpy(weights)[:, None].to(values)
        counted = np.where(weights > 0, about.lengths, 0)
        reception = self.server.receive(counted, self._order, self.world.device)
        assert reception is not None
        view = ServerView(round=self.version + 1, workers=about.workers[reception.rows])
        kept, aggregate = reception.answered(self.server.aggregate(values, reception, view))
        assert kept is not None
        self.server.step(self.params, kept, aggregate)
        self.version += 1
        self.staleness += about.staleness[counted > 0].tolist()
        return True

    def _ask_all(self) -> None:
        if self.algorithm.continuous:
            for worker in self.world.draw(1).workers.tolist():
                self._ask_again(worker)
        else:
            self._order = self._new_order()
            k = self.version + 1
            self._ask(k, np.arange(len(self.world.draw(k).workers)))

    def _ask_again(self, worker: int) -> None:
        """Ask a worker for its next answer, on the minibatch that it has in that round."""
        k = self._asked[worker] = self._asked[worker] + 1
        self._ask(k, np.flatnonzero(self.world.draw(k).workers == worker))

    def _ask(self, k: int, rows: np.ndarray) -> None:
        """Ask some of the workers of round k; put their answers on the way."""
        world, algorithm, draw = self.world, self.algorithm, self.world.draw(k)
        workers, size = draw.workers[rows], draw.size[rows]
        weights = None if draw.weights is None else torch.from_numpy(draw.weights[rows])

        def further(params: Tensor, number: int, busy: np.ndarray | None) -> Tensor:
            batch = world.further(k, draw, number) if number else draw.batch
            x, y = world.minibatches(replace(draw, batch=batch, minibatch=number), of=mine)
            return world.own_gradients(k, params, x, y, weights, workers=busy)

        mine = np.isin(np.arange(len(draw.workers)), rows)
        x, y = world.minibatches(draw, of=mine)
        here = self.params.clone()
        gradients = world.gradients(k, here[None], x, y, weights)[0]
        budget = np.full(len(rows), np.inf)
        updates = algorithm.updates(budget, self._order)
        lengths = algorithm.lengths(budget, self._order)
        asked = workers, here, gradients, lengths, self._order, budget
        rate = self.server.solver.learning_rate
        work = Work(*asked, updates=updates, learning_rate=rate, further=further)
        messages = algorithm.messages(work)
        cost = size * updates * algorithm.full_cost(self._order)
        for i, seconds in enumerate(cost / world.rates[workers]):
            self._number += 1
            arrival = self.time + float(seconds)
            answer = arrival, self._number, int(workers[i]), self.version
            came = int(lengths[i]), int(updates[i]), messages[i]
            heapq.heappush(self._coming, Answer(*answer, *came))
