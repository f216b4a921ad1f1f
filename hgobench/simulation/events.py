"""Answers that come at different times: what a server that goes by events has asked, and hears."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

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
        length: how many places it says it sends, as it begins.
        examples: how many it holds.
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
    examples: int = 1

    def __lt__(self, other: Asked) -> bool:
        return (self.ends, self.number) < (other.ends, other.number)

    @property
    def worker(self) -> int:
        """Who it is."""
        return int(self.row.workers[0])


CLAIMS = "lengths", "updates", "examples"
HONEST = tuple(f"honest_{claim}" for claim in CLAIMS)


class Inbox:
    """Turns of workers, in order, and what the server hears of each in arrays, a row for each.

    The arrays grow with what comes: a server may wait for thousands of answers, and decides anew
    whenever one more comes. `_row_type` says which columns there are.

    Args:
        turns: the turns.
    """

    def __init__(self, turns: Iterable[Asked] = ()) -> None:
        self.turns: list[Asked] = []
        self._table: NDArray[np.void] = np.empty(0, dtype=_row_type(0))
        for turn in turns:
            self.append(turn)

    def __len__(self) -> int:
        return len(self.turns)

    def __iter__(self) -> Iterator[Asked]:
        return iter(self.turns)

    def append(self, turn: Asked) -> None:
        """Add a turn, with the claims of one that follows the protocol."""
        row, m = turn.row, len(self.turns)
        length, updates = int(turn.plan.lengths[0]), int(turn.plan.updates[0])
        if not m:
            self._table = np.empty(8, dtype=_row_type(row.batch.shape[1]))
        elif m == len(self._table):
            more = np.empty(m + 8, dtype=self._table.dtype)
            self._table = np.concatenate([self._table, more])
        self._table[m] = (
            *(row.workers[0], row.batch[0], row.size[0], row.coordinate_limit[0], row.available[0]),
            *(turn.turn, turn.version, turn.hostile),
            *(length, updates, turn.examples),
            *(turn.length, updates, turn.examples),
        )
        self.turns.append(turn)

    @property
    def order(self) -> Order:
        """Return the order of places of the first turn, which all that wait share."""
        return self.turns[0].order

    def column(self, name: str) -> NDArray[Any]:
        """Return a copy of a column, (m,)."""
        return self._table[name][: len(self.turns)].copy()

    def claim(self, whose: NDArray[np.bool_], *claims: NDArray[np.int64]) -> None:
        """Write down what some say: lengths, updates and examples, (m,) each, of all turns."""
        rows = np.flatnonzero(whose)
        for name, values in zip(CLAIMS, claims, strict=True):
            self._table[name][rows] = values[rows]

    def __add__(self, other: Inbox) -> Inbox:
        both = Inbox()
        both.turns = self.turns + other.turns
        filled = [inbox._table[: len(inbox)] for inbox in (self, other) if inbox]
        both._table = np.concatenate(filled) if filled else both._table
        return both

    def those(self, there: NDArray[np.int64]) -> Inbox:
        """Return some of the turns, as an inbox of their own."""
        some = Inbox()
        some.turns = [self.turns[i] for i in there.tolist()]
        some._table = self._table[there]
        return some

    def plan(self) -> Plan:
        """Return how far each comes if it is honest."""
        return Plan(*map(np.concatenate, zip(*(turn.plan for turn in self.turns), strict=True)))

    def draw(self, k: int) -> Draw:
        """Return the turns as a draw of round k, a row for each."""
        return Draw(
            workers=self.column("workers"),
            batch=self.column("batch"),
            size=self.column("size"),
            coordinate_limit=self.column("coordinate_limit"),
            available=self.column("available"),
            round=k,
            turns=self.column("turns"),
        )


def _row_type(batch_size: int) -> np.dtype[np.void]:
    """Return what is known of each turn: the draw, the server's versions, and what is claimed."""
    return np.dtype(
        [
            ("workers", np.int64),
            ("batch", np.int64, (batch_size,)),
            ("size", np.int64),
            ("coordinate_limit", np.float64),
            ("available", np.bool_),
            ("turns", np.int64),
            ("versions", np.int64),
            ("hostile", np.bool_),
            ("honest_lengths", np.int64),  # 0: it has nothing to send but an attack
            ("honest_updates", np.int64),
            ("honest_examples", np.int64),
            ("lengths", np.int64),
            ("updates", np.int64),
            ("examples", np.int64),
        ]
    )


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
        self.waiting = Inbox()
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

    def withdraw(self, silent: NDArray[np.bool_]) -> None:
        """Take out answers that were to come and did not, (m,) of those that wait."""
        if silent.any():
            self.waiting = self.waiting.those(np.flatnonzero(~silent))

    def clear(self) -> None:
        """Let go of all answers that wait: the server took them, or dropped them."""
        self._spent[1] += NUMBER_BYTES * sum(turn.numbers for turn in self.waiting if turn.hostile)
        self.waiting = Inbox()

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
