"""The rounds: a stack of cells that share a world, side by side.

A cell's numbers, to the last bit, depend on nothing but its scenario: what is computed for several
cells at once treats each of them, or each column of theirs, by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from hgobench.algorithms import Order, Work
from hgobench.kernels.arrays import pack_bits
from hgobench.lazy import Tensor, torch
from hgobench.metrics.influence import Used
from hgobench.protocol import NUMBER_BYTES, SEED_BYTES

from .adversary import Acted, Adversary, Taking
from .answers import Answers
from .cell import Attempt, Cell, Plan
from .clock import budget, duration, spent
from .ending import measure
from .local_steps import LocalGradients, Minibatches
from .servers import Servers, Step
from .turns import Books, JointCall, Turn, groups
from .world import Draw, World


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
        for rows in groups(range(len(asked)), lambda r: asked[r]):
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
        which = [r for r, cell in enumerate(self.cells) if ended[r] and cell.status == "done"]
        followed = cache(partial(self._influences, which))
        for r in which:
            if bits is not None:
                self.cells[r].right = bits[r].tobytes()
            self._measure(k, r, followed)

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

    def _influences(self, which: Sequence[int]) -> dict[int, Used]:
        """Return whose values rules followed in cells that have ended, where several tell it."""
        places: dict[Round, dict[int, int]] = {}
        for r in which:
            round_, place = self._played[r]
            places.setdefault(round_, {})[place] = r
        return {
            of[place]: influence
            for round_, of in places.items()
            for place, influence in round_.servers.influences(of).items()
        }

    def _measure(self, k: int, r: int, followed: Callable[[], dict[int, Used]]) -> None:
        """Let the metrics of a cell that has ended measure.

        Args:
            k: the last round.
            r: which cell.
            followed: whose values rules followed, of cells that were asked together.
        """
        cell, (last, place) = self.cells[r], self._played[r]
        assert self._before is not None
        with Attempt(k, cell):
            reception = last.servers.receptions.get(place)
            values = last.answers.values[place]
            before = self._before[r]

            def known() -> Used | None:
                return followed().get(r)

            measure(cell, k, self.params[r], last.draw, reception, values, before, known)


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
        self.params, self.answers = params, answers
        self.before, self.taking = before, taking
        self._minibatches = Minibatches(k, world, draw)
        self._orders: dict[tuple[str, str, int], Order] = {}
        self._same: dict[bytes, NDArray[np.int64]] = {}
        self._accepted: dict[Hashable, NDArray[np.int64]] = {}
        self._spending: dict[Hashable, tuple[int, float]] = {}
        self._counted: dict[Hashable, tuple[int, int]] = {}
        self.servers = Servers(k, world, draw, params, answers, observe)
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
        for group in groups(turns, lambda turn: turn.cell.answering):
            self._answer(group)
        threatened = [t for t in turns if t.attacked and t.under_way and not t.cell.harmless]
        for group in groups(threatened, self._threat):
            self._attack(group)
        self.decide(turns)

    def decide(self, turns: Sequence[Turn]) -> None:
        """Let servers take what has come, aggregate and step, and write it down."""
        for turn in turns:
            if turn.under_way:
                with Attempt(self.k, turn.cell):
                    self._accept(turn)
        self.servers.aggregate([turn for turn in turns if turn.under_way])
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
        for some in groups(poisoning, self._threat):
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
            with JointCall(group) as call:
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


def _computed_by_worker(cell: Cell, plan: Plan, order: Order) -> NDArray[np.int64]:
    """Count the coordinates that each worker computes by a plan, (q,)."""
    rows = (slice(i, i + 1) for i in range(len(plan.lengths)))
    return np.array([cell.computed(plan.of(one), order) for one in rows], dtype=np.int64)
