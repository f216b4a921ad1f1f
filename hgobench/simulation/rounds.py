"""The rounds: a stack of cells that share a world, side by side.

A cell's numbers, to the last bit, depend on nothing but its scenario: what is computed for several
cells at once treats each of them, or each column of theirs, by itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from hgobench.aggregators import Answer, ServerView
from hgobench.algorithms import Order, Work
from hgobench.boundary import OutOfTime
from hgobench.kernels.arrays import all_finite, pack_bits
from hgobench.lazy import Tensor, torch
from hgobench.protocol import NUMBER_BYTES, SEED_BYTES, Reception
from hgobench.scenario import Scenario

from .adversary import Acted, Adversary, Taking
from .answers import Answers
from .cell import Attempt, Cell, Plan
from .clock import budget, duration, spent
from .ending import measure
from .local_steps import LocalGradients, Minibatches
from .world import Draw, World

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """What the server of one cell is about to do.

    Attributes:
        scenario: the cell's.
        round: k, from 1.
        params: (d,) w_k; it changes in place afterwards.
        block: (b,) int64, the coordinates that are updated; None: all.
        aggregate: (b,) AG(w_k) on them; empty if the round stalls.
    """

    scenario: Scenario
    round: int
    params: Tensor
    block: Tensor | None
    aggregate: Tensor


class Books(NamedTuple):
    """What a round took.

    Attributes:
        time: when it ended, since the run's start.
        heard, byzantine_heard: how many answers counted, and how many of them Byzantine workers'.
        coordinates: how many the workers computed.
        bytes_up, bytes_down: how many were sent.
    """

    time: float
    heard: int
    byzantine_heard: int
    coordinates: int
    bytes_up: int
    bytes_down: int


@dataclass(slots=True)
class Turn:
    """A cell's round under way.

    Attributes:
        r: the cell's row among parameters and answers.
        cell: the cell.
        hostile: (q,) who is Byzantine.
        attacked: whether they act in this round.
        lengths: (q,) how many places of the order each worker sent, as far as the round has come.
        updates: (q,) how many gradients each takes.
        claimed: (q,) how many each says that it took.
        examples: (q,) how many examples each says that it has.
        order: C_k; None: it could not be had.
        computed: how many coordinates the workers computed.
        delay: by how much the latest answer was late.
        malformed: how many messages no worker could have sent.
        updated: how many coordinates the server updated: of the block those that have an answer.
        books: what the round took; None: that follows from the rest.
    """

    r: int
    cell: Cell
    hostile: NDArray[np.bool_]
    attacked: bool
    lengths: NDArray[np.int64]
    updates: NDArray[np.int64]
    claimed: NDArray[np.int64]
    examples: NDArray[np.int64]
    order: Order | None = None
    computed: int = 0
    delay: float = 0.0
    malformed: int = 0
    updated: int = 0
    books: Books | None = None

    @property
    def under_way(self) -> bool:
        """Whether nothing has ended its cell."""
        return self.cell.status == "done"


class Answered(NamedTuple):
    """What a cell's rule answered.

    Attributes:
        turn: the cell's.
        reception: what has an answer of what its server took; None: the round stalls.
        values: (b,) what the server steps by: the answer, or if that is of differences, what it
            makes of its last aggregate.
    """

    turn: Turn
    reception: Reception | None
    values: Tensor


class Stack:
    """Cells of one world, round by round.

    Args:
        cells: the cells.
        world: theirs.
        observe: called with every `Step` before it is taken.
    """

    def __init__(
        self, cells: Sequence[Cell], world: World, observe: Callable[[Step], None] | None = None
    ) -> None:
        self.world, self.observe = world, observe
        self.cells = [cell for cell in cells if cell.status == "done"]
        self.params = world.initial().repeat(len(self.cells), 1)
        self._x: Tensor | None = None
        self._gradients: Tensor | None = None
        self._before: Tensor | None = None  # the parameters of the round before
        self._played: list[tuple[Round, int]] = []  # of each cell its last round, and its row there
        self._goals: dict[Hashable, tuple[Tensor, Tensor] | None] = {}  # of targeted attacks

    def play(self, k: int) -> bool:
        """Play round k (from 1) of every cell that has not ended; say whether there was one."""
        running = [r for r, c in enumerate(self.cells) if c.status == "done" and not c.over]
        if len(running) < len(self.cells):
            self.params = self.params[running]
            self._before = None if self._before is None else self._before[running]
            self.cells = [self.cells[r] for r in running]
        if not self.cells:
            return False
        asked = [cell.begin(k) for cell in self.cells]
        now, played = self.params.clone(), dict[int, tuple[Round, int]]()
        for rows in _groups(range(len(asked)), lambda r: asked[r]):
            round_ = self._play(k, asked[rows[0]], rows)
            played.update((r, (round_, place)) for place, r in enumerate(rows))
        self._before, self._played = now, [played[r] for r in range(len(asked))]
        return True

    def _play(self, k: int, asked: int | None, rows: Sequence[int]) -> Round:
        """Play round k of the cells that ask the same workers for the same.

        Args:
            k: the round.
            asked: how many workers, for gradients on all their examples; None: those that are
                sampled, for their minibatches.
            rows: of which cells.
        """
        world, params, before = self.world, self.params, self._before
        x, gradients = None, None
        if asked is None:
            x, gradients = self._x, self._gradients
        draw = world.draw(k) if asked is None else world.whole(k, asked)
        apart = len(rows) < len(params)
        if apart:
            params, before = params[rows], None if before is None else before[rows]
        x, y = world.minibatches(draw, x)
        weights = None if draw.weights is None else world.to_device(draw.weights)
        gradients = world.gradients(k, params, x, y, weights, gradients)
        if asked is None:  # the next round's are as many, and whole ones are rare
            self._x, self._gradients = x, gradients
        round_ = Round(k, world, draw, params, Answers(gradients), self.observe, before)
        round_.play([self.cells[r] for r in rows])
        if apart:
            self.params[rows] = params
        return round_

    def evaluate(self, k: int, last: bool = False, due: bool = True) -> None:
        """Fill in accuracies and losses after round k; after the last also what was right.

        Args:
            k: the round.
            last: whether it is the last of all.
            due: whether all cells are evaluated; else those whose last it is.
        """
        world, params = self.world, self.params
        loss, accuracy, right = world.marked(k, params, *world.test)
        loss, accuracy = loss.cpu(), accuracy.cpu()
        ended, bits = [last or cell.over for cell in self.cells], None
        if any(ended) and right is not None:
            bits = pack_bits(right).cpu().numpy()
        held = torch.full_like(accuracy, torch.nan)
        if len(world.data.validation):
            held = world.evaluate(k, params, *world.validation)[1].cpu()
        aims: dict[Hashable, list[int]] = {}
        for r, cell in enumerate(self.cells):
            if cell.status == "done" and (due or ended[r]):
                cell.ledger.record(
                    test_loss=float(loss[r]),
                    test_accuracy=float(accuracy[r]),
                    validation_accuracy=float(held[r]),
                )
                if cell.targeted:
                    aims.setdefault(cell.aim, []).append(r)
        for some in aims.values():
            self._succeeded(k, some)
        for r, cell in enumerate(self.cells):
            if cell.status == "done" and ended[r]:
                if bits is not None:
                    cell.right = bits[r].tobytes()
                self._measure(k, r)

    def _succeeded(self, k: int, which: Sequence[int]) -> None:
        """Fill in how far attackers that want the same, in some cells, have it after round k."""
        cells = [self.cells[r] for r in which]
        with Attempt(k, *cells):
            aim = cells[0].aim
            if aim not in self._goals:
                self._goals[aim] = cells[0].goal(k)
            goal = self._goals[aim]
            if goal is not None:
                _, success = self.world.evaluate(k, self.params[which], *goal)
                for cell, share in zip(cells, success.tolist(), strict=True):
                    cell.ledger.record(attack_success=share)

    def _measure(self, k: int, r: int) -> None:
        """Let the metrics of a cell that has ended measure."""
        cell, (last, place) = self.cells[r], self._played[r]
        assert self._before is not None
        with Attempt(k, cell):
            reception = last.receptions.get(place)
            values = last.answers.values[place]
            measure(cell, k, self.params[r], last.draw, reception, values, self._before[r])


class Round:
    """Round k of a stack.

    Args:
        k: the round, from 1.
        world: the cells'.
        draw: its workers and minibatches.
        params: (R, d), a row per cell; updated in place.
        answers: the workers' gradients, overwritten by what they send.
        observe: called with every `Step`.
        before: (R, d) the parameters in the round before; None: there was none.
        taking: what the server is about to take, where it goes by events.
    """

    def __init__(
        self,
        k: int,
        world: World,
        draw: Draw,
        params: Tensor,
        answers: Answers,
        observe: Callable[[Step], None] | None,
        before: Tensor | None = None,
        taking: Taking | None = None,
    ) -> None:
        self.k, self.world, self.draw = k, world, draw
        self.params, self.answers, self.observe = params, answers, observe
        self.before, self.taking = before, taking
        self._minibatches = Minibatches(k, world, draw)
        self._orders: dict[tuple[str, str, int], Order] = {}
        self._same: dict[bytes, NDArray[np.int64]] = {}
        self._accepted: dict[Hashable, NDArray[np.int64]] = {}
        self._received: dict[Hashable, Reception | None] = {}
        self._spending: dict[Hashable, tuple[int, float]] = {}
        self._counted: dict[Hashable, tuple[int, int]] = {}
        self.receptions: dict[int, Reception | None] = {}  # what the server of row r took
        self.asked = len(draw.workers)  # how many workers were sent the parameters

    def play(self, cells: Sequence[Cell]) -> None:
        """Let workers answer, attackers attack, servers aggregate and step, and write it down."""
        byzantine = {cell.scenario.byzantine: cell.byzantine for cell in cells}
        hostile = {f: who[self.draw.workers] for f, who in byzantine.items()}
        nothing = np.zeros(len(self.draw.workers), dtype=np.int64)
        held = self._shared(self.world.sizes[self.draw.workers])
        turns = []
        for r, cell in enumerate(cells):
            mine = hostile[cell.scenario.byzantine]
            attacked = cell.scenario.attacked(self.k) and bool(mine.any())
            turns.append(Turn(r, cell, mine, attacked, nothing, nothing, nothing, held))
        for group in _groups(turns, lambda turn: turn.cell.answering):
            self._answer(group)
        threatened = [turn for turn in turns if turn.attacked and turn.under_way]
        for group in _groups(threatened, self._threat):
            self._attack(group)
        self.decide(turns)

    def decide(self, turns: Sequence[Turn]) -> None:
        """Let servers take what has come, aggregate and step, and write it down."""
        for turn in turns:
            if turn.under_way:
                with Attempt(self.k, turn.cell):
                    self._accept(turn)
        self.aggregate([turn for turn in turns if turn.under_way])
        for turn in turns:
            self.write(turn)

    # Workers

    def _answer(self, group: Sequence[Turn]) -> None:
        """Work out the order and the lengths that the cells of a group share; send."""
        cell, draw, k = group[0].cell, self.draw, self.k
        order, plan, computed = None, None, 0
        with Attempt(k, *(t.cell for t in group)), cell.algorithms("lengths", k):
            key = (cell.scenario.granularity, cell.scenario.cost, cell.algorithm.step)
            if key not in self._orders:
                self._orders[key] = cell.order(k)
            order = self._orders[key]
            paid = budget(self.world, draw, cell.scenario.deadline, cell.models)
            plan = cell.plan(*paid, draw, order)
            plan = plan._replace(lengths=self._shared(plan.lengths))
            computed = self._computed(cell, plan, order)
            if cell.joules is not None:
                self._spend(group, order, plan)
        for turn in group:
            turn.order, turn.computed = order, computed
            if plan is not None:
                turn.lengths, turn.updates, turn.claimed = plan.lengths, plan.updates, plan.updates
        self.work(group, plan)

    def work(self, group: Sequence[Turn], plan: Plan | None) -> None:
        """Let the workers of a group of cells compute what they send if they are honest."""
        # Attackers' data are poisoned before their workers send, as momentum keeps what is sent.
        poisoning = [t for t in group if t.attacked and t.under_way and t.cell.poisons]
        for some in _groups(poisoning, self._threat):
            self._jointly(some, self._poison)
        for turn in group:
            if not turn.under_way or not turn.cell.remembers:
                continue
            assert plan is not None
            with Attempt(self.k, turn.cell):
                self._send(turn, plan)

    def _computed(self, cell: Cell, plan: Plan, order: Order) -> int:
        """Count the coordinates that workers compute of a minibatch's gradient.

        Whole gradients count as often as their examples make a minibatch.
        """
        if self.draw.minibatches is None:
            return cell.computed(plan, order)
        return int((_computed_by_worker(cell, plan, order) * self.draw.minibatches).sum())

    def _spend(self, group: Sequence[Turn], order: Order, plan: Plan) -> None:
        """Add what workers spend in the round, if they follow the protocol."""
        cell, draw, fleet = group[0].cell, self.draw, self.world.fleet
        computed = _computed_by_worker(cell, plan, order)
        joules = spent(
            fleet,
            draw.workers,
            computed * draw.size,
            np.where(draw.available, self._down(cell), 0),
            NUMBER_BYTES * cell.server.numbers(plan.lengths, order),
        )
        for turn in group:
            assert turn.cell.joules is not None
            turn.cell.joules[draw.workers] += joules

    def _down(self, cell: Cell) -> int:
        """Return how many bytes the server sends to each worker."""
        return cell.models * NUMBER_BYTES * self.params.shape[1] + SEED_BYTES

    def _send(self, turn: Turn, plan: Plan) -> None:
        """Put what a cell's workers send in the place of their gradients, (q, d)."""
        cell, mine, order = turn.cell, self.answers.values[turn.r], turn.order
        assert order is not None
        poisons = turn.attacked and cell.poisons
        adversary = self._adversary(turn) if poisons else None
        work = Work(
            workers=self.draw.workers,
            params=self.params[turn.r].clone(),
            gradients=mine,
            lengths=plan.lengths,
            order=order,
            budget=plan.budget,
            updates=plan.updates,
            learning_rate=cell.scenario.learning_rate,
            further=LocalGradients(cell, self._minibatches, plan.updates, adversary),
            before=cell.last.params.clone() if cell.differs and cell.last else None,
        )
        with cell.algorithms("messages", self.k):
            sent: object = cell.algorithm.messages(work)
        expected = f"expected a float tensor {tuple(mine.shape)}"
        if not isinstance(sent, torch.Tensor):
            raise cell.algorithms.error(f"its messages are {type(sent).__name__}; {expected}")
        if sent.shape != mine.shape or not sent.is_floating_point():
            saw = f"{sent.dtype} {tuple(sent.shape)}"
            raise cell.algorithms.error(f"its messages are {saw}; {expected}")
        if sent is not mine:
            mine.copy_(sent)

    def _shared(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return an array of equal numbers that all cells share: it is known by its identity."""
        return self._same.setdefault(numbers.tobytes(), numbers)

    # Attackers

    def _adversary(self, turn: Turn) -> Adversary:
        assert turn.order is not None
        return Adversary(
            self.k,
            self.world,
            self.draw,
            turn.order,
            turn.lengths,
            turn.updates,
            turn.hostile,
            self.answers,
            self.before,
            self.taking,
        )

    def _threat(self, turn: Turn) -> Hashable:
        return turn.cell.answering, turn.cell.threat, id(turn.lengths)

    def _attack(self, group: Sequence[Turn]) -> None:
        """Let the attackers of a group of cells act: for all at once, else for each by itself."""
        if group[0].cell.harmless:
            return
        at_once = 1
        if group[0].cell.sees == "nothing":
            at_once = len(group)
        elif len(group) > 1:
            at_once = self.answers.at_once()
        for start in range(0, len(group), at_once):
            self._jointly(group[start : start + at_once], self._act)

    def _jointly(self, group: Sequence[Turn], act: Callable[[Sequence[Turn]], None]) -> None:
        """Let attackers act for all cells at once; if that fails, for each by itself.

        Each cell is charged for its share of the time only, so that none pays for its neighbours.
        """
        if len(group) > 1:
            with _JointCall(group) as call:
                act(group)
            if not call.failed:
                return
        for turn in group:
            with Attempt(self.k, turn.cell):
                act([turn])

    def _poison(self, group: Sequence[Turn]) -> None:
        self._adversary(group[0]).poison([(turn.r, turn.cell) for turn in group], self.params)

    def act_alone(self, turn: Turn) -> Acted:
        """Let the attackers of one cell act."""
        return self._adversary(turn).act([(turn.r, turn.cell)], self.params)

    def _act(self, group: Sequence[Turn]) -> None:
        cells = [(turn.r, turn.cell) for turn in group]
        acted = self._adversary(group[0]).act(cells, self.params)
        lengths, examples = self._shared(acted.lengths), self._shared(acted.examples)
        for turn in group:
            turn.lengths, turn.claimed, turn.examples = lengths, acted.updates, examples
            turn.delay, turn.malformed = acted.delay, acted.malformed

    # Servers

    def _accept(self, turn: Turn) -> None:
        """Take lengths and values as the server does."""
        key = turn.cell.answering, id(turn.lengths)
        if key not in self._accepted:
            assert turn.order is not None
            taken = turn.cell.accepted(self.k, turn.lengths, turn.order)
            self._accepted[key] = self._shared(taken)
        turn.lengths = self._accepted[key]
        if turn.cell.by_updates:
            mine = self.answers.values[turn.r]
            mine.copy_(turn.cell.scaled(self.k, mine, turn.lengths, turn.claimed))
        if turn.cell.differs:
            mine = self.answers.values[turn.r]
            mine.copy_(turn.cell.clipped(self.k, mine, self.params[turn.r]))

    def _defence(self, turn: Turn) -> Hashable:
        return turn.cell.answering, turn.cell.defence, id(turn.lengths), id(turn.examples)

    def _reception(self, turn: Turn) -> Reception | None:
        cell = turn.cell
        if cell.keeps:
            assert turn.order is not None
            values, workers = self.answers.values[turn.r], self.draw.workers
            came = workers, values, turn.lengths, turn.order, turn.examples
            return cell.recall(self.k, *came, keep=True)
        key = cell.answering, cell.receiving, id(turn.lengths), id(turn.examples)
        if key not in self._received:
            assert turn.order is not None
            self._received[key] = cell.server.receive(
                turn.lengths, turn.order, self.world.device, turn.examples
            )
        return self._received[key]

    def aggregate(self, turns: Sequence[Turn]) -> None:
        """Let servers aggregate and step; each cell is charged its share of the time."""
        answered: list[Answered] = []
        for group in _groups(turns, self._defence):
            with _ServerTime(group):
                answered += self._answers(group)
        for alike in _groups(answered, lambda one: (id(one.reception), one.turn.cell.stepping)):
            cells = [one.turn for one in alike]
            with _ServerTime(cells), Attempt(self.k, *(turn.cell for turn in cells)):
                self._step(alike)

    def _answers(self, group: Sequence[Turn]) -> list[Answered]:
        """Aggregate: for all cells of a group at once, else for each by itself."""
        reception = None
        with Attempt(self.k, *(turn.cell for turn in group)):
            reception = self._reception(group[0])
        if not group[0].under_way:
            return []
        self.receptions.update((turn.r, reception) for turn in group)
        if reception is None:  # the round stalls
            return [Answered(turn, None, self.params.new_zeros(0)) for turn in group]
        found, at_once = list[Answered](), self.answers.at_once()
        for start in range(0, len(group), at_once):
            batch = group[start : start + at_once]
            for turn, values in zip(batch, self._at_once(batch, reception), strict=True):
                if values is not None:
                    found.append(self._answered(turn, reception, values))
                    continue
                with Attempt(self.k, turn.cell):
                    answer = self._alone(turn, reception)
                    found.append(self._answered(turn, *reception.answered(answer)))
        return found

    def _answered(self, turn: Turn, reception: Reception | None, answer: Tensor) -> Answered:
        """Return what a cell's server steps by, given its rule's answer, and let it remember it."""
        cell = turn.cell
        if cell.differences and reception is not None:
            answer = cell.since(answer, reception.block)
            cell.note_aggregate(self.params[turn.r], reception.block, answer)
        return Answered(turn, reception, answer)

    def _at_once(self, group: Sequence[Turn], reception: Reception) -> Sequence[Tensor | None]:
        """Return the answers of several cells' rule; None of a cell whose rule is called alone."""
        answers: Sequence[Tensor | None] | None = None
        if group[0].cell.joins:
            answers = self._beside(group, reception)
        elif group[0].cell.stacks and len(group) > 1 and reception.unweighted_vectors:
            answers = self._stacked(group, reception)
        return [None] * len(group) if answers is None else answers

    def _stacked(
        self, group: Sequence[Turn], reception: Reception
    ) -> Sequence[Tensor | None] | None:
        """Return what several cells' rule makes of whole vectors; None: not so."""
        rows = self.world.to_device(reception.rows)
        stack = self.answers.stacked([turn.r for turn in group], rows, reception.block)
        cell, answers = group[0].cell, None
        with _JointCall(group), cell.rules("call", self.k):
            answers = cell.rule.stacked(stack)
        return answers

    def _beside(
        self, group: Sequence[Turn], reception: Reception
    ) -> Sequence[Tensor | None] | None:
        """Return what several cells' rule makes of coordinates side by side; None: not so."""
        rows = self.world.to_device(reception.rows)
        values = self.answers.beside([turn.r for turn in group], rows, reception.block)
        sent = None if reception.sent is None else reception.sent.beside(len(group))
        cell, answer = group[0].cell, None
        # All that a coordinate-wise rule may know of the model is how large it is.
        size, weights = self.params.shape[1], reception.weights
        view = ServerView(round=self.k, dimension=size, weights=weights)
        with _JointCall(group), cell.rules("call", self.k):
            answer = cell.rule.beside(values, sent, view)
        return None if answer is None else list(answer.view(len(group), -1))

    def _alone(self, turn: Turn, reception: Reception) -> Answer:
        """Return the answer of one cell's rule on the block."""
        cell, r = turn.cell, turn.r
        with cell.rules("call", self.k):
            view = cell.view(self.k, self.draw, self.params[r], reception)
            return cell.server.aggregate(self.answers.values[r], reception, view)

    def _step(self, group: Sequence[Answered]) -> None:
        """Update the parameters of cells by their answers on the same block."""
        params, k, turns = self.params, self.k, [one.turn for one in group]
        reception = group[0].reception
        block = None if reception is None else reception.block
        if self.observe is not None:
            for turn, _, answer in group:
                self.observe(Step(turn.cell.scenario, k, params[turn.r], block, answer))
        finite = [False] * len(group)
        if reception is not None and len(group) > 1:
            rows = torch.tensor([turn.r for turn in turns], device=params.device)
            answers = torch.stack([one.values for one in group])
            rate = turns[0].cell.solver.rate(answers.shape[1], params.shape[1])
            scaled = answers * -rate
            if block is None:
                params.index_add_(0, rows, scaled)
            else:
                index = (rows[:, None] * params.shape[1] + block).view(-1)
                params.view(-1).index_add_(0, index, scaled.view(-1))
            finite = np.isfinite(params.index_select(0, rows).sum(dim=1).cpu().numpy()).tolist()
        elif reception is not None:
            (turn,) = turns
            with turn.cell.solvers("step", k):
                turn.cell.server.step(params[turn.r], reception, group[0].values)
        for turn, good in zip(turns, finite, strict=True):
            turn.updated = len(group[0].values)
            if not good and not all_finite(params[turn.r]):
                turn.cell.end("diverged", f"round {k}: the parameters are not finite")

    # Books

    def write(self, turn: Turn) -> None:
        """Write the round's row in a cell's ledger."""
        cell, books = turn.cell, turn.books or self._books(turn)
        cell.time = books.time
        done = cell.status == "done"
        cell.spend(books.coordinates, books.bytes_up + books.bytes_down)
        cell.ledger.add(
            round=self.k,
            time=books.time,
            test_accuracy=math.nan if done else 0.0,
            test_loss=math.nan,
            validation_accuracy=math.nan if done else 0.0,
            block_size=turn.updated,
            heard=books.heard,
            byzantine_heard=books.byzantine_heard,
            malformed=turn.malformed,
            coordinates=books.coordinates,
            bytes_up=books.bytes_up,
            bytes_down=books.bytes_down,
            stalled=turn.updated == 0 and done,
        )

    def _books(self, turn: Turn) -> Books:
        """Return what a round took in which all were asked at once."""
        cell = turn.cell
        sent, lasted = 0, 0.0
        if turn.order is not None:
            with Attempt(self.k, cell):
                sent, lasted = self.spent(turn, turn.order)
        heard, theirs = self._heard(turn)
        return Books(
            time=cell.time + (lasted + turn.delay),
            heard=heard,
            byzantine_heard=theirs,
            coordinates=turn.computed,
            bytes_up=NUMBER_BYTES * sent,
            bytes_down=self.asked * self._down(cell),
        )

    def _heard(self, turn: Turn) -> tuple[int, int]:
        """Count the answers that are not empty, and the Byzantine ones among them."""
        key = id(turn.lengths), id(turn.hostile)
        if key not in self._counted:
            heard = turn.lengths > 0
            self._counted[key] = int(heard.sum()), int((heard & turn.hostile).sum())
        return self._counted[key]

    def spent(self, turn: Turn, order: Order) -> tuple[int, float]:
        """Return how many numbers workers sent, and the round's time.

        For cells with the same workers and lengths they are worked out once.
        """
        cell, lengths = turn.cell, turn.lengths
        key = cell.answering, id(lengths)
        if key not in self._spending:
            with cell.algorithms("full_cost", self.k):
                numbers = cell.server.numbers(lengths, order)
                full_cost = cell.algorithm.full_cost(order)
            tau, taken = cell.scenario.deadline, (full_cost, turn.updates, cell.models)
            lasted = duration(self.world, self.draw, lengths, numbers, tau, *taken)
            self._spending[key] = int(numbers.sum()), lasted
        return self._spending[key]


class _JointCall:
    """A call for several cells, of which each is charged its share of the time.

    A call that raises or runs out of time is charged to nobody: made for each cell alone, it shows
    which one it is that fails.

    Attributes:
        failed: whether it did.
    """

    def __init__(self, group: Sequence[Turn]) -> None:
        self.clocks = [turn.cell.clock for turn in group]
        self.failed = False

    def __enter__(self) -> _JointCall:
        self._left = self.clocks[0].left  # this one runs during the call
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        taken = self._left - self.clocks[0].left
        self.clocks[0].left = self._left
        self.failed = isinstance(error, (Exception, OutOfTime))
        if error is None and math.isfinite(taken):  # where there is no limit, nothing is charged
            for clock in self.clocks:
                clock.left -= taken / len(self.clocks)
        return self.failed


class _ServerTime:
    """What servers compute for some cells, of which each is charged its share."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self.cells = [turn.cell for turn in turns]

    def __enter__(self) -> None:
        self._started = time.process_time()

    def __exit__(self, *_: object) -> None:
        seconds = (time.process_time() - self._started) / len(self.cells)
        for cell in self.cells:
            cell.server_seconds += seconds


def _computed_by_worker(cell: Cell, plan: Plan, order: Order) -> NDArray[np.int64]:
    """Count the coordinates that each worker computes by a plan, (q,)."""
    rows = (slice(i, i + 1) for i in range(len(plan.lengths)))
    return np.array([cell.computed(plan.of(one), order) for one in rows], dtype=np.int64)


def _groups(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Return items in groups that have the same key, in the order of their first."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())
