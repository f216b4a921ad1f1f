"""Server steps: a cell whose server steps on answers that come at different times."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hgobench.algorithms import Algorithm, Judged, Waiting
from hgobench.algorithms.base import wrong_numbers
from hgobench.lazy import Tensor, torch
from hgobench.protocol import Reception

from .adversary import Taking
from .answers import Answers
from .cell import Attempt, Cell, ServerData
from .events import HONEST, Inbox, Queue
from .rounds import Round, Stack
from .servers import Step
from .turns import Books, Turn
from .world import Draw, World

DROPS = 100  # of answers for each worker, in a round in which the server takes no step


class EventStack(Stack):
    """A cell whose server goes by events: round k is its k-th step.

    Workers' turns end one after the other (see `Queue`), and after each the algorithm says whether
    the server steps. Messages are computed when they are first looked at, together: all that was
    asked since the last step was so with the same parameters. Attackers act when the server is
    about to step, or, if it judges what answers say, when they arrive; what they send of answers
    that are still under way does not count. The server stalls in a round in which every turn that
    was under way at its beginning ends without a step, or in which it drops `DROPS` answers for
    each worker: who answers fast may be dropped as fast, while others are still at work.
    """

    def __init__(
        self, cell: Cell, world: World, observe: Callable[[Step], None] | None = None
    ) -> None:
        super().__init__([cell], world, observe)
        self._queue: Queue | None = None
        self._malformed = self._drops = 0  # in the round

    def play(self, k: int) -> bool:
        """Play until the server has taken its k-th step, or stalled; say whether the cell runs."""
        self.cells = [cell for cell in self.cells if cell.status == "done" and not cell.over]
        if not self.cells:
            return False
        (cell,), now = self.cells, self.params.clone()
        self._malformed = 0
        with Attempt(k, cell):
            self._played = [(self._until_a_step(k, cell), 0)]
        self._before = now
        if cell.status != "done":
            cell.ledger.fail(k, cell.time)
        return True

    def _until_a_step(self, k: int, cell: Cell) -> Round:
        if self._queue is None:
            self._queue = Queue(cell, self.world)
        queue = self._queue
        queue.ask(k, self._sent(cell))
        open_ = {turn.number for turn in queue.under_way}
        self._drops = 0
        while open_ and self._drops < DROPS * self.world.workers:
            ended = queue.pop()
            open_.discard(ended.number)
            if ended.answers or not queue.under_way:
                round_ = self._decide(k, cell, queue)
                if round_ is not None:
                    return round_
            if cell.continuous:
                queue.ask(k, self._sent(cell))
        return self._take(k, cell, queue, Inbox(), np.zeros(0))

    def _sent(self, cell: Cell) -> Tensor:
        """Return the parameters that workers are sent, (d,), in memory of their own if kept."""
        return self.params[0].clone() if cell.judges else self.params[0]

    def _decide(self, k: int, cell: Cell, queue: Queue) -> Round | None:
        """Step if the algorithm says so."""
        attacked = cell.scenario.attacked(k) and not cell.harmless
        attacked = attacked and bool(queue.waiting.column("hostile").any())
        if not attacked:  # who is away has nothing to send but an attack
            queue.withdraw(queue.waiting.column("honest_lengths") == 0)
        if cell.judges:
            self._compute(k, cell, queue)
            if attacked:
                self._act(k, cell, queue)
        weights = self._weights(k, cell, cell.algorithm, queue.waiting)
        if weights is None:
            return None
        if not cell.judges:
            self._compute(k, cell, queue)
            if attacked and self._act(k, cell, queue):  # it never had what they keep back
                weights = self._weights(k, cell, cell.algorithm, queue.waiting)
                if weights is None:
                    return None
        if not (weights > 0).any():
            self._drops += len(weights)
            queue.clear()
            return None
        return self._take(k, cell, queue, queue.waiting, weights)

    def _weights(
        self,
        k: int,
        cell: Cell,
        algorithm: Algorithm,
        asked: Inbox,
        values: Tensor | None = None,
    ) -> NDArray[np.float64] | None:
        """Return what each waiting answer counts, (m,), if the server steps on them.

        Args:
            k, cell: the step, of which server.
            algorithm: the cell's, or a copy that may be asked on trial.
            asked: the answers.
            values: what they are, (m, d); None: what was sent.
        """
        if not asked:
            return None
        assert self._queue is not None
        lengths = cell.accepted(k, asked.column("lengths"), asked.order)
        judged = None
        if cell.judges:
            if values is None:
                values = _stacked([turn.sent for turn in asked])
            root = ServerData(cell, k, self.params[0], None)
            started = _stacked([turn.started for turn in asked])
            judged = Judged(values, started, root if "root" in algorithm.needs else None)
        coming = self._queue.under_way
        waiting = Waiting(
            workers=asked.column("workers"),
            staleness=self._queue.version - asked.column("versions"),
            lengths=lengths,
            outstanding=len(coming),
            tolerated=cell.scenario.tolerated,
            judged=judged,
        )
        with cell.algorithms("weights", k):
            weights: object = algorithm.weights(waiting)
        if weights is None:
            return None
        numbers = np.asarray(weights)
        fits = numbers.shape == lengths.shape and numbers.dtype.kind in "fi"
        if not fits or not (np.isfinite(numbers) & (numbers >= 0)).all():
            raise cell.algorithms.error(
                f"its weights: {numbers}; expected finite numbers >= 0, ({len(asked)},)"
            )
        return np.where(lengths > 0, numbers.astype(np.float64), 0.0)

    def _compute(self, k: int, cell: Cell, queue: Queue) -> None:
        """Compute what workers send if they are honest, of those asked since the last step."""
        if not queue.fresh:
            return
        asked, queue.fresh = Inbox(queue.fresh), []
        world, draw, plan = self.world, asked.draw(k), asked.plan()
        x, y = world.minibatches(draw)
        weights = None if draw.weights is None else world.to_device(draw.weights)
        values = world.gradients(k, self.params, x, y, weights)
        round_, turn = self._round_of(k, cell, asked, draw, values)
        round_.work([turn], plan)
        for row, one in enumerate(asked):
            one.message = one.sent = values[0, row]

    def _round_of(
        self,
        k: int,
        cell: Cell,
        asked: Inbox,
        draw: Draw,
        values: Tensor,
        taking: Taking | None = None,
    ) -> tuple[Round, Turn]:
        """Return a round in which these answers, (1, q, d), are asked for."""
        answers = Answers(values)
        round_ = Round(
            k, self.world, draw, self.params, answers, self.observe, self._before, taking
        )
        hostile = asked.column("hostile")
        attacked = cell.scenario.attacked(k) and bool(hostile.any())
        assert self._queue is not None
        order = self._queue.order(k)
        lengths, updates, examples = map(asked.column, HONEST)
        claims = lengths, updates, updates, examples
        return round_, Turn(0, cell, hostile, attacked, *claims, order)

    def _act(self, k: int, cell: Cell, queue: Queue) -> bool:
        """Let the attackers whose answers wait act; say whether that changes a length.

        They look at the answers that wait and at those under way.
        """
        waiting, there = queue.waiting, slice(len(queue.waiting))
        coming = sorted(turn for turn in queue.under_way if turn.answers)
        asked = waiting + Inbox(coming)
        values = _stacked([turn.message for turn in asked])[None]
        arrived = np.arange(len(asked)) < len(waiting)

        def received(
            values: Tensor, *claims: NDArray[np.int64]
        ) -> tuple[Tensor, Reception, Draw] | None:
            claimed = (of[there] for of in claims)
            return self._on_trial(k, cell, waiting, values[there], *claimed)

        round_, turn = self._round_of(
            k, cell, asked, asked.draw(k), values, Taking(arrived, received)
        )
        acted = round_.act_alone(turn)
        self._malformed += acted.malformed
        hostile = waiting.column("hostile")
        lengths = acted.lengths[there]
        changed = hostile & (waiting.column("lengths") != lengths)
        waiting.claim(hostile, lengths, acted.updates[there], acted.examples[there])
        for row in np.flatnonzero(hostile).tolist():
            waiting.turns[row].sent = values[0, row]
        queue.withdraw(hostile & (lengths == 0))
        return bool(changed.any())

    def _on_trial(
        self,
        k: int,
        cell: Cell,
        asked: Inbox,
        values: Tensor,
        *claims: NDArray[np.int64],
    ) -> tuple[Tensor, Reception, Draw] | None:
        """Return what the server would take of answers that wait, if they were these.

        Args:
            k, cell: the step, of which server.
            asked: the answers.
            values, claims: what they are, (m, d), with their lengths, updates and examples, (m,).
        """
        algorithm = deepcopy(cell.algorithm) if cell.judges else cell.algorithm
        there = np.flatnonzero(claims[0] > 0)
        some, values = asked.those(there), values[self.world.to_device(there)]
        some.claim(np.ones(len(there), dtype=bool), *(claim[there] for claim in claims))
        weights = self._weights(k, cell, algorithm, some, values)
        if weights is None or not (weights > 0).any():
            return None
        order = some.order
        values, lengths, draw = self._intake(k, cell, some, weights, values)
        examples = some.column("examples")
        reception = cell.server.receive(lengths, order, self.world.device, examples)
        return None if reception is None else (values, reception, draw)

    def _intake(
        self,
        k: int,
        cell: Cell,
        asked: Inbox,
        weights: NDArray[np.float64],
        values: Tensor,
    ) -> tuple[Tensor, NDArray[np.int64], Draw]:
        """Return what the rule gets of answers, (m, d), how long each is, and whose they are."""
        counted = weights > 0
        places = len(asked.order)
        lengths = np.where(counted, asked.column("lengths"), 0)
        assert self._queue is not None
        staleness = self._queue.version - asked.column("versions")
        draw = replace(asked.draw(k), staleness=staleness)
        if cell.by_updates:
            values = cell.scaled(k, values, lengths, asked.column("updates"))
        values = cell.server.weighed(values, weights)
        if not cell.merges:
            return values, lengths, draw
        size = cell.algorithm.answers or 0
        with cell.algorithms("buffers", k):
            buffers: object = cell.algorithm.buffers(draw.workers.copy())
        if cell.algorithms.foreign and (
            problem := wrong_numbers("buffers", buffers, len(asked), 0, size - 1)
        ):
            raise cell.algorithms.error(problem)
        values, full = cell.server.merged(values, counted, np.asarray(buffers), size)
        return (
            values,
            np.where(full, places, 0),
            replace(draw, workers=np.arange(size), staleness=None),
        )

    def _take(
        self,
        k: int,
        cell: Cell,
        queue: Queue,
        asked: Inbox,
        weights: NDArray[np.float64],
    ) -> Round:
        """Let the server step on answers, or stall on none; write it down."""
        started = time.process_time()
        counted, hostile, examples = weights > 0, asked.column("hostile"), asked.column("examples")
        if asked:
            sent = _stacked([turn.sent for turn in asked])
            values, lengths, draw = self._intake(k, cell, asked, weights, sent)
            if values is sent:
                values = sent.clone()
        else:
            values, lengths = self.params[:0], np.zeros(0, dtype=np.int64)
            draw = replace(self.world.draw(1), workers=lengths)
        answers = Answers(values[None])
        round_ = Round(k, self.world, draw, self.params, answers, self.observe, self._before)
        order = queue.order(k)
        turn = Turn(0, cell, hostile, False, lengths, lengths, lengths, examples, order)
        turn.malformed = self._malformed
        cell.server_seconds += time.process_time() - started
        round_.servers.aggregate([turn])
        if asked:
            queue.stepped()
        heard, theirs = int(counted.sum()), int((counted & hostile).sum())
        turn.books = Books(queue.now, heard, theirs, *queue.spent())
        round_.write(turn)
        return round_


def _stacked(rows: Sequence[Tensor | None]) -> Tensor:
    """Return rows, (d,) each, as (m, d)."""
    return torch.stack([row for row in rows if row is not None])
