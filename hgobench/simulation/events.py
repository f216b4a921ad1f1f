"""Answers that come at different times: what a server that goes by events has asked, and hears."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench.algorithms import Order
from hgobench.algorithms.base import wrong_numbers
from hgobench.determinism import stream
from hgobench.lazy import Tensor
from hgobench.protocol import NUMBER_BYTES, SEED_BYTES

from .cell import Cell, Plan
from .clock import budget, computing, spent, transferred
from .world import Draw, World


@dataclass(eq=False, slots=True)
class Asked:
    """A worker's turn: it is sent parameters, and answers or lets the turn pass.

    Attributes:
        number: how many turns of all workers were before it.
        turn: how many of the worker's turns there are with it: the minibatch is that of this round.
        version: how many steps the server had taken when it asked.
        row: the draw of this worker alone.
        plan: how far it comes if it is honest.
        order: of places.
        ends: when the answer is at the server, or would be.
        hostile: whether the worker is Byzantine.
        answers: whether there is to be an answer.
        computed: how many coordinates it computes.
        numbers: how many numbers its answer is.
        joules: what it spends if it follows the protocol.
        started: (d,) the parameters that it was sent, where the server looks at them.
        message: (d,) what it sends if it is honest; None: that is not computed yet.
        sent: (d,) what it sends.
        length, updates, examples: what it says of that, as the server hears it.
    """

    number: int
    turn: int
    version: int
    row: Draw
    plan: Plan
    order: Order
    ends: float
    hostile: bool
    answers: bool
    computed: int
    numbers: int
    joules: float
    started: Tensor | None = None
    message: Tensor | None = None
    sent: Tensor | None = None
    length: int = 0
    updates: int = 1
    examples: int = 1

    def __lt__(self, other: Asked) -> bool:
        return (self.ends, self.number) < (other.ends, other.number)

    @property
    def worker(self) -> int:
        """Who it is."""
        return int(self.row.workers[0])


def draw_of(asked: Sequence[Asked], k: int) -> Draw:
    """Return several turns as a draw of round k, a row for each."""
    rows = [turn.row for turn in asked]
    return Draw(
        workers=np.concatenate([row.workers for row in rows]),
        batch=np.concatenate([row.batch for row in rows]),
        size=np.concatenate([row.size for row in rows]),
        coordinate_limit=np.concatenate([row.coordinate_limit for row in rows]),
        available=np.concatenate([row.available for row in rows]),
        round=k,
        turns=np.array([turn.turn for turn in asked]),
    )


def plan_of(asked: Sequence[Asked]) -> Plan:
    """Return the plans of several turns as one."""
    return Plan(*(np.concatenate(parts) for parts in zip(*(t.plan for t in asked), strict=True)))


class Spent(NamedTuple):
    """What workers have spent since it was last asked for.

    Attributes:
        coordinates: computed for turns that have ended.
        bytes_up, bytes_down: of answers that have come, and of parameters that were sent.
    """

    coordinates: int
    bytes_up: int
    bytes_down: int


class Queue:
    """Whom the server of a cell has asked, in the order in which their turns end.

    Turns that end at the same time do so in the order in which they began, and the first q workers
    begin in the order of the world's first draw. A worker's n-th turn is on its minibatch of round
    n, whatever others do. If q < n, who begins when another ends is drawn from those that are idle.

    Args:
        cell: whose.
        world: its world.

    Attributes:
        now: simulated time.
        version: how many steps the server has taken.
        waiting: answers that have come and that the server has not stepped on, as they came.
        under_way: turns that have not ended, a heap.
        fresh: those of them, and of the answers that wait, whose message is not computed yet: all
            on the server's parameters of now.
    """

    def __init__(self, cell: Cell, world: World) -> None:
        self.cell, self.world = cell, world
        self.now, self.version = 0.0, 0
        self.waiting: list[Asked] = []
        self.under_way: list[Asked] = []
        self.fresh: list[Asked] = []
        self._idle: set[int] = set(range(world.workers))
        self._free = world.sampled  # how many may begin
        self._turns = np.zeros(world.workers, dtype=np.int64)
        self._begun = 0
        self._order: tuple[int, Order] | None = None
        self._spent = [0, 0, 0]

    def ask(self, k: int, params: Tensor) -> None:
        """Send the server's parameters, (d,), to those whose turn it is; k is the next step."""
        cell = self.cell
        if not cell.continuous:
            if not self.under_way:
                self.clear()
                self._ask_all(k, params)
            return
        while self._free:
            self._free -= 1
            self._begin(k, self._next_worker(), params)

    def _ask_all(self, k: int, params: Tensor) -> None:
        """Ask those that round k samples, as a server that goes by rounds does."""
        workers = self.world.draw(k).workers.tolist()
        for worker in workers:
            self._turns[worker] = k - 1
            self._begin(k, worker, params)

    def _next_worker(self) -> int:
        """Choose who begins: first the world's first sample, then any that is idle."""
        if self._begun < self.world.sampled:
            return int(self.world.draw(1).workers[self._begun])
        idle = sorted(self._idle)
        if len(idle) == 1:
            return idle[0]
        rng = stream(self.world.seed, "next", self._begun)
        return idle[int(rng.integers(len(idle)))]

    def _begin(self, k: int, worker: int, params: Tensor) -> None:
        cell, world = self.cell, self.world
        self._turns[worker] += 1
        self._idle.discard(worker)
        turn = int(self._turns[worker])
        row = self._row(turn, worker)
        order = self.order(k)
        plan = self._plan(k, row, order)
        hostile = bool(cell.byzantine[worker])
        acts = hostile and not cell.harmless and cell.scenario.attacked(k)
        lies = cell.scenario.lies_about_speed == "yes"
        with cell.algorithms("full_cost", k):
            full_cost = cell.algorithm.full_cost(order)
            length = np.array([len(order)]) if acts and lies else plan.lengths
            numbers = int(cell.server.numbers(length, order)[0])
            computed = cell.computed(plan, order)
        answers = bool(length[0] > 0)
        seconds = self._seconds(k, row, plan, full_cost, numbers, acts, lies)
        if not cell.continuous:
            seconds = self._by_deadline(seconds, answers)
        dimension = world.model.dimension
        down = NUMBER_BYTES * dimension + SEED_BYTES
        self._spent[2] += down
        joules = 0.0
        if cell.joules is not None:
            heard = np.where(row.available, down, 0)
            size = np.array([computed]) * row.size
            joules = float(
                spent(world.fleet, row.workers, size, heard, np.array([NUMBER_BYTES * numbers]))[0]
            )
        asked = Asked(
            number=self._begun,
            turn=turn,
            version=self.version,
            row=row,
            plan=plan,
            order=order,
            ends=self.now + seconds,
            hostile=hostile,
            answers=answers,
            computed=computed,
            numbers=numbers,
            joules=joules,
            started=params if cell.judges else None,
            length=int(length[0]),
            updates=int(plan.updates[0]),
            examples=int(world.sizes[worker]),
        )
        self._begun += 1
        heapq.heappush(self.under_way, asked)
        if answers:
            self.fresh.append(asked)

    def order(self, k: int) -> Order:
        """Return the order of places for what is asked before step k: of whole answers any."""
        k = 1 if self.cell.continuous else k
        if self._order is None or self._order[0] != k:
            self._order = k, self.cell.order(k)
        return self._order[1]

    def _row(self, turn: int, worker: int) -> Draw:
        """Return the draw of one worker's turn."""
        draw = self.world.turn(turn)
        i = int(np.flatnonzero(draw.workers == worker)[0])
        one = slice(i, i + 1)
        shared = draw.batch[one], draw.size[one], draw.coordinate_limit[one], draw.available[one]
        return Draw(draw.workers[one], *shared, round=turn, turns=np.array([turn]))

    def _plan(self, k: int, row: Draw, order: Order) -> Plan:
        """Return how far a worker comes: one for which nobody waits comes to the end."""
        cell = self.cell
        paid, upload = budget(self.world, row, cell.scenario.deadline)
        with cell.algorithms("lengths", k):
            if not cell.continuous:
                return cell.plan(paid, upload, row, order)
            updates = cell.algorithm.updates(paid, order, upload)
            if cell.algorithms.foreign and (
                problem := wrong_numbers("updates", updates, 1, 1, cell.gradients)
            ):
                raise cell.algorithms.error(problem)
            endless = np.where(row.available, math.inf, 0.0)
            whole = cell.plan(endless, None, row, order)
        return whole._replace(updates=updates)

    def _seconds(
        self, k: int, row: Draw, plan: Plan, full_cost: int, numbers: int, acts: bool, lies: bool
    ) -> float:
        """Return how long a turn lasts."""
        work = computing(self.world, row, full_cost, plan.updates)
        if not work > 0:  # it has no time for a whole answer: as if it had
            work = row.size * plan.updates * full_cost / self.world.fleet.rates[row.workers]
        if acts:
            work = self._paced(k, work, lies)
        return float(work[0] + transferred(self.world, row, np.array([numbers]))[0])

    def _paced(self, k: int, work: NDArray[np.float64], lies: bool) -> NDArray[np.float64]:
        """Return how long an attacker takes that chooses when it answers."""
        cell = self.cell
        with cell.attacks("pace", k):
            chosen: object = cell.attack.pace(work.copy())
        paced = np.asarray(chosen)
        if paced.shape != work.shape or paced.dtype.kind not in "fi" or not (paced > 0).all():
            raise cell.attacks.error(f"its pace: {chosen}; expected numbers > 0, (1,)")
        if not np.isfinite(paced).all():
            raise cell.attacks.error(f"its pace: {chosen}; expected finite numbers, (1,)")
        return paced if lies else np.maximum(paced, work)

    def _by_deadline(self, seconds: float, answers: bool) -> float:
        """Return when a turn ends that the server gives up at the deadline."""
        deadline = self.cell.scenario.deadline
        if not answers:
            return deadline if math.isfinite(deadline) else 0.0
        return min(seconds, deadline)

    def pop(self) -> Asked:
        """End the turn that ends first; its answer waits from now on."""
        ended = heapq.heappop(self.under_way)
        self.now = max(self.now, ended.ends)
        self._spent[0] += ended.computed
        worker = ended.worker
        if self.cell.joules is not None:
            self.cell.joules[worker] += ended.joules
        if self.cell.continuous:
            self._idle.add(worker)
            self._free += 1
        if ended.answers:
            if not ended.hostile:  # else it may turn out that it kept silent
                self._spent[1] += NUMBER_BYTES * ended.numbers
            self.waiting.append(ended)
        return ended

    def withdraw(self, silent: Sequence[Asked]) -> None:
        """Take out answers that were to come and did not."""
        for turn in silent:
            self.waiting.remove(turn)

    def clear(self) -> None:
        """Let go of all answers that wait: the server took them, or dropped them."""
        self._spent[1] += NUMBER_BYTES * sum(turn.numbers for turn in self.waiting if turn.hostile)
        self.waiting = []

    def stepped(self) -> None:
        """Count a step of the server: what waited has been taken."""
        self.version += 1
        self.clear()
        if not self.cell.continuous:  # who has not answered by now is not waited for
            self.under_way, self.fresh = [], []

    def spent(self) -> Spent:
        """Return what has been spent since the last call."""
        total, self._spent = Spent(*self._spent), [0, 0, 0]
        return total
