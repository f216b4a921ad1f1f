"""The attackers of a round: what they look at, and how what they send arrives."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench.algorithms import Order
from hgobench.attacks import Batch, Message, Outcome, View
from hgobench.determinism import stream
from hgobench.kernels.arrays import zero_where_false
from hgobench.kernels.moments import moments
from hgobench.lazy import Tensor, torch
from hgobench.protocol import Delivery, Reception, Updates, deliver

from .answers import Answers, index_of
from .cell import Cell
from .world import Draw, World


class Taking(NamedTuple):
    """What a server is about to take of the answers that attackers look at.

    Attributes:
        arrived: (q,) which of them are there; the others are under way.
        received: returns what it aggregates of values (q, d), given lengths, updates and examples
            as they are claimed, (q,): the values as it takes them, and whose they are; None: it
            takes no step.
    """

    arrived: NDArray[np.bool_]
    received: Callable[
        [Tensor, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
        tuple[Tensor, Reception, Draw] | None,
    ]


class Acted(NamedTuple):
    """What the server hears of a round after its attackers have acted.

    Attributes:
        lengths: (q,) how many places each worker sent.
        updates: (q,) how many updates each says that it took.
        examples: (q,) how many examples each says that it has.
        delay: by how much the latest answer that the server waits for is late.
        malformed: how many messages no worker could have sent.
    """

    lengths: NDArray[np.int64]
    updates: NDArray[np.int64]
    examples: NDArray[np.int64]
    delay: float
    malformed: int


class Adversary:
    """The attackers of a round in some cells: several only if their attack acts for all at once.

    Args:
        k: the round.
        world: the cells' world.
        draw: the round's workers.
        order: C_k.
        lengths: (q,) how many places each worker sends if it is honest.
        updates: (q,) how many updates each then takes.
        hostile: (q,) who is Byzantine.
        answers: of all cells, with honest ones in the attackers' place; they are overwritten.
        before: (R, d) the parameters of all cells in the round before; None: there was none.
        taking: where answers come at different times, which of them the server is about to take;
            attackers send those of theirs. None: all.
    """

    def __init__(
        self,
        k: int,
        world: World,
        draw: Draw,
        order: Order,
        lengths: NDArray[np.int64],
        updates: NDArray[np.int64],
        hostile: NDArray[np.bool_],
        answers: Answers,
        before: Tensor | None = None,
        taking: Taking | None = None,
    ) -> None:
        self.k, self.world, self.draw, self.order = k, world, draw, order
        self.lengths, self.updates, self.hostile = lengths, updates, hostile
        self.answers, self.before = answers, before
        self.byzantine = world.to_device(np.flatnonzero(hostile))
        self.taking = taking
        self.sending = hostile if taking is None else hostile & taking.arrived
        self.held = world.sizes[draw.workers]

    def poison(self, cells: Sequence[tuple[int, Cell]], params: Tensor) -> None:
        """Answer by the gradients of data that the attack changed.

        Args:
            cells: with their rows among the answers.
            params: (R, d) of all cells.
        """
        weights = None
        if self.draw.weights is not None:
            weights = self.world.to_device(self.draw.weights[self.hostile])
        x, y = self.poisoned(cells[0][1], self.draw)
        places = [r for r, _ in cells]
        gradients = self.world.gradients(self.k, params[places], x, y, weights)
        rows_first = gradients.transpose(0, 1).reshape(len(x), -1)
        self.answers.put(places, self.byzantine, rows_first)

    def poisoned(self, cell: Cell, draw: Draw, minibatch: int = 0) -> tuple[Tensor, Tensor]:
        """Return what a cell's attack makes of the Byzantine workers' examples, (b, s, p), (b, s).

        Args:
            cell: whose attack.
            draw: the examples.
            minibatch: which of the round's minibatches they are.
        """
        x, y = self.world.minibatches(draw, of=self.hostile)
        number = np.cumsum(cell.byzantine) - 1  # of each Byzantine worker among the run's
        batch = Batch(
            features=x,
            labels=y,
            workers=number[draw.workers[self.hostile]],
            facts=cell.facts,
            stream=lambda: stream(self.world.seed, "poison", self.k, minibatch),
        )
        with cell.attacks(f"poison {minibatch}" if minibatch else "poison", self.k):
            poisoned = cell.attack.poisoned(batch)
            if cell.attacks.foreign:
                _check_poison(cell, poisoned, x, y)
        return poisoned

    def act(self, cells: Sequence[tuple[int, Cell]], params: Tensor) -> Acted:
        """Put the attackers' answers in the place of their honest ones.

        Args:
            cells: with their rows among the answers.
            params: (R, d) of all cells.
        """
        places, cell = [r for r, _ in cells], cells[0][1]
        beside = 1 if cell.sees == "nothing" else len(cells)  # what sees nothing sends all the same
        view = self._view(places, cell, beside, params)
        with cell.attacks("call", self.k):
            message = cell.attack(view)
            if cell.attacks.foreign and not isinstance(message, Message):
                raise cell.attacks.error(
                    f"returned {type(message).__name__}; expected a hgobench.attacks.Message"
                )
            delivery = self._deliver(message, cell, beside)
            self._put(places, cell, delivery)
        claims = self._lengths(delivery), self._claimed(delivery), self._examples(delivery)
        return Acted(*claims, delivery.delay, delivery.malformed)

    def _deliver(self, message: Message, cell: Cell, beside: int) -> Delivery:
        dimension, deadline = beside * self.order.dimension, cell.scenario.deadline
        if self.taking is not None:  # when it comes was chosen when it was asked for
            message, deadline = self._of_those_that_send(message), math.inf
        workers, updates = int(self.sending.sum()), self._updates(cell, self.sending)
        limits, held = self._limits(cell, self.sending), self._held(cell, self.sending)
        return deliver(message, workers, dimension, limits, deadline, updates, held)

    def _of_those_that_send(self, message: Message) -> Message:
        """Return what a message says of the attackers whose answers the server takes."""
        rows, b = self.sending[self.hostile], len(self.byzantine)

        def of(part: Any) -> Any:
            if part is None or np.shape(part)[:1] != (b,):
                return part  # what could not be read stays so
            if isinstance(part, torch.Tensor):
                return part[torch.from_numpy(rows).to(part.device)]
            return np.asarray(part)[rows]

        return Message(*map(of, message))

    def _updates(self, cell: Cell, whose: NDArray[np.bool_]) -> Updates | None:
        """Return how many updates each attacker takes and may claim; None: answers do not say."""
        if not cell.by_updates:
            return None
        own = self.updates[whose]
        lies = cell.scenario.lies_about_speed == "yes"
        return Updates(own, np.full_like(own, cell.gradients) if lies else own)

    def _held(self, cell: Cell, whose: NDArray[np.bool_]) -> NDArray[np.int64] | None:
        """Return how many examples each attacker has, (b,); None: answers do not say."""
        return None if cell.scenario.weights == "none" else self.held[whose]

    def _limits(self, cell: Cell, whose: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the longest length that each attacker may claim, (b,)."""
        if cell.scenario.lies_about_speed == "no":
            return self.lengths[whose]
        return np.full(int(whose.sum()), len(self.order))

    def _put(self, places: Sequence[int], cell: Cell, delivery: Delivery) -> None:
        if delivery.values is None:
            return
        rows = self.byzantine
        if self.taking is not None:
            rows = self.world.to_device(np.flatnonzero(self.sending))
        self.answers.put(places, rows, delivery.values)  # what was there is in the view
        if cell.fits:
            with cell.algorithms("fitted", self.k):
                for r in places:
                    mine = self.answers.values[r]
                    mine[rows] = cell.algorithm.fitted(mine[rows])

    def _lengths(self, delivery: Delivery) -> NDArray[np.int64]:
        lengths = self.lengths.copy()
        lengths[self.sending] = delivery.lengths
        return lengths

    def _claimed(self, delivery: Delivery) -> NDArray[np.int64]:
        if delivery.updates is None:
            return self.updates
        updates = self.updates.copy()
        updates[self.sending] = delivery.updates
        return updates

    def _examples(self, delivery: Delivery) -> NDArray[np.int64]:
        if delivery.examples is None:
            return self.held
        held = self.held.copy()
        held[self.sending] = delivery.examples
        return held

    def _view(self, places: Sequence[int], cell: Cell, beside: int, params: Tensor) -> View:
        """Return what the attackers look at, the coordinates of the cells side by side."""
        world, order, lengths, hostile = self.world, self.order, self.lengths, self.hostile
        workers = self.draw.workers
        honest = np.flatnonzero(~hostile & (lengths > 0))
        sees, sent = cell.sees, None
        omniscient = sees in ("honest", "server")
        if omniscient and (lengths[honest] < len(order)).any():
            sent = order.position_on(world.device) < world.to_device(lengths[honest, None])
            sent = sent if beside == 1 else sent.repeat(1, beside)
        updates = self._updates(cell, hostile)
        seen: Tensor | None = None
        if omniscient:
            seen = self._copied(places, world.to_device(honest))
            seen = seen if sent is None else zero_where_false(seen, sent)

        def tried(message: Message) -> Outcome:
            view = known()  # no circle, which would stay in memory until garbage is collected
            if view is None:
                raise RuntimeError("a view's server is asked after the call that it was made for")
            return self._tried(message, cell, places, params, view)

        view = View(
            round=self.k,
            rounds=cell.scenario.rounds,
            sampled=len(hostile),
            byzantine=len(self.byzantine),
            dimension=beside * order.dimension,
            places=len(order),
            quorum=cell.server.quorum,
            position=order.position_beside(beside),
            longest=int(lengths[honest].max(initial=0)),
            own_lengths=lengths[hostile],
            limits=self._limits(cell, hostile),
            workers=workers[hostile],
            stream=lambda k: stream(world.seed, "attack", k),
            cells=beside,
            learning_rate=cell.scenario.learning_rate,
            own=None if sees in ("nothing", "model") else self._copied(places, self.byzantine),
            model=None if sees == "nothing" else _side_by_side(params, places),
            last_step=None if sees == "nothing" else self._last_step(places, params),
            honest=seen,
            sent=sent,
            honest_workers=workers[honest] if omniscient else None,
            honest_lengths=lengths[honest] if omniscient else None,
            own_updates=None if updates is None else updates.own,
            update_limits=None if updates is None else updates.limits,
            own_examples=self._held(cell, hostile),
            server=tried if sees == "server" else None,
            losses=partial(cell.attackers_loss, self.k) if sees == "server" else None,
        )
        known = weakref.ref(view)
        return view

    def _last_step(self, places: Sequence[int], params: Tensor) -> Tensor:
        """Return the servers' last steps, side by side, (G·d,)."""
        now = _side_by_side(params, places)
        if self.before is None:
            return torch.zeros_like(now)
        return now - _side_by_side(self.before, places)

    def _copied(self, places: Sequence[int], workers: Tensor) -> Tensor:
        """Return some workers' answers in memory of their own: the answers are overwritten."""
        rows = self.answers.beside(places, workers)
        whole = len(places) == 1 and len(workers) == len(self.hostile)
        return rows.clone() if whole else rows

    def _tried(
        self, message: Message, cell: Cell, places: Sequence[int], params: Tensor, view: View
    ) -> Outcome:
        """Return what a message would bring about."""
        (r,) = places
        delivery = self._deliver(message, cell, 1)
        self._put(places, cell, delivery)
        values, mean, draw = self.answers.values[r], view.centre(), self.draw
        lengths, updates = self._lengths(delivery), self._claimed(delivery)
        examples = self._examples(delivery)
        reception: Reception | None
        if self.taking is not None:
            taken = self.taking.received(values, lengths, updates, examples)
            if taken is None:
                return Outcome(mean[:0], params[r].clone)
            values, reception, draw = taken
        else:
            claimed = cell.accepted(self.k, lengths, self.order)
            if cell.by_updates:
                values = cell.scaled(self.k, values, claimed, updates)
            if cell.differs:
                values = cell.clipped(self.k, values, params[r])
            if cell.by_updates or cell.differs:
                honest = self.world.to_device(np.flatnonzero(~self.hostile & (self.lengths > 0)))
                mean = moments(values[honest], view.sent)[0]
            if cell.keeps:
                asked = draw.workers
                reception = cell.recall(self.k, asked, values, claimed, self.order, examples)
            else:
                reception = cell.server.receive(claimed, self.order, self.world.device, examples)
            if reception is None:
                return Outcome(mean[:0], params[r].clone)
        with cell.trials("call", self.k):
            server = cell.server
            if cell.stateful:
                server = replace(server, rule=deepcopy(cell.rule))
            elif cell.rules.foreign:  # it may remember without saying so
                with suppress(Exception):  # it can't be copied
                    server = replace(server, rule=deepcopy(cell.rule))
            known = cell.view(self.k, draw, params[r], reception)
            answer = server.aggregate(values, reception, known)
        kept, found = reception.answered(answer)
        if kept is None:
            return Outcome(mean[:0], params[r].clone)

        def stepped() -> Tensor:
            model = params[r].clone()
            with cell.steps_tried("step", self.k):
                solver = cell.solver  # which may remember
                step = cell.since(found.clone(), kept.block)
                replace(server, solver=deepcopy(solver)).step(model, kept, step)
            return model

        block = kept.block
        return Outcome(found.double() - (mean if block is None else mean[block]), stepped)


def _side_by_side(params: Tensor, places: Sequence[int]) -> Tensor:
    """Return a copy of some rows, one behind the other."""
    return params.index_select(0, index_of(places, params.device)).view(-1)


def _check_poison(cell: Cell, poisoned: object, x: Tensor, y: Tensor) -> None:
    """Raise PluginError unless a plug-in attack returns a minibatch."""
    pair = poisoned if isinstance(poisoned, tuple) and len(poisoned) == 2 else (None, None)
    for name, found, like in (("features", pair[0], x), ("labels", pair[1], y)):
        tensor = isinstance(found, torch.Tensor)
        if not tensor or (found.shape, found.dtype) != (like.shape, like.dtype):  # type: ignore[union-attr]
            raise cell.attacks.error(
                f"poison returned other {name} than {like.dtype} {tuple(like.shape)}"
            )
    labels, classes = torch.as_tensor(pair[1]), cell.world.data.classes
    if classes and not ((labels >= 0) & (labels < classes)).all():
        raise cell.attacks.error(f"poison returned labels outside 0 .. {classes - 1}")
