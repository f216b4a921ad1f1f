"""The round loop, over a cohort of cells that share a world."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import accumulate, count, repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hgobench import aggregators, algorithms, attacks
from hgobench.aggregators import NonFiniteError, Rule, RuleError, ServerView
from hgobench.algorithms import Order, Places, solvers
from hgobench.attacks import Message, View
from hgobench.boundary import Boundary, Clock, OutOfTime, PluginError, foreign, keyed, plain, told
from hgobench.determinism import one_thread, stream
from hgobench.errors import InputError, SamplingRisk
from hgobench.kernels.arrays import all_finite, keep
from hgobench.provenance import environment, usable
from hgobench.results.result import COLUMNS, Result, Status
from hgobench.scenario import Scenario
from hgobench.world import Draw, World

NUMBER_BYTES = 4
SEED_BYTES = 8  # the server announces a round's order by the seed of its permutation


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


def run(scenario: Scenario, *, time_limit: float = math.inf, device: str = "cpu") -> Result:
    """Train one scenario.

    Args:
        scenario: what to run.
        time_limit: CPU seconds that the rule, the attack and what else the cell alone names may
            take together; also how long they may wait without computing.
        device: where, as torch names it: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Returns:
        The `Result`; one that diverged or failed says so in its status.

    Raises:
        InputError: the world can't be made, or there is no such device.

    Warns:
        SamplingRisk: with more than 1 % a round samples more Byzantine workers than v tolerates.
    """
    if not isinstance(scenario, Scenario):
        raise InputError(f"scenario: {scenario!r}; expected a hgobench.Scenario")
    if scenario.sampling_warning:
        warnings.warn(scenario.sampling_warning, SamplingRisk, stacklevel=2)
    usable(device)
    return simulate([scenario], width=1, time_limit=time_limit, device=device)[0]


def simulate(
    scenarios: Sequence[Scenario],
    *,
    width: int,
    time_limit: float = math.inf,
    device: str = "cpu",
    observe: Callable[[Step], None] | None = None,
) -> list[Result]:
    """Train a cohort: cells that share a world, side by side.

    All matrix products have the width of `width` cells, padded where fewer are given or some have
    ended. A cell's numbers, to the last bit, then depend neither on its neighbours nor on its
    place; they may depend on the width.

    Args:
        scenarios: at most `width` cells with equal `world_key`.
        width: cells per matrix product.
        time_limit: as for `run`, of each cell.
        device: where their tensors are.
        observe: called with every `Step` before it is taken.
    """
    if len({scenario.world_key for scenario in scenarios}) != 1 or len(scenarios) > width:
        raise ValueError(f"expected 1 to {width} scenarios of one world")
    with one_thread():
        world = World.of(scenarios[0], device)
        cells = [Cell(scenario, world, time_limit, observe) for scenario in scenarios]
        return _simulate(cells, world, width)


def clock(scenario: Scenario) -> Iterator[float]:
    """Return when each round ends at the earliest, in simulated time, without training.

    Without an attack that is the column ``time`` of the run's table, to the last bit. Attackers
    can only delay the server, so that with one no round ends earlier. The rounds have no end:
    `scenario.rounds` does not count.

    >>> [time for time, _ in zip(clock(Scenario(workers=5, tau=2)), range(3))]
    [2.0, 4.0, 6.0]

    Raises:
        InputError: the world can't be made.
    """
    world = World.of(scenario)
    fleet, tau = world.fleet, scenario.deadline
    free = not fleet.latency.any() and np.isinf([fleet.uplink, fleet.downlink]).all()
    if math.isfinite(tau) and (free or fleet.counts):
        return accumulate(repeat(tau))  # every round lasts τ
    cell = Cell(scenario, world)
    if cell.status != "done":
        raise InputError(cell.reason)
    return _clock(cell)


def _clock(cell: Cell) -> Iterator[float]:
    for k in count(1):
        cell.pass_time(k, cell.world.draw(k))
        yield cell.time


def _simulate(cells: Sequence[Cell], world: World, width: int) -> list[Result]:
    started = time.process_time()
    notes = world.fresh_notes()
    k = 1
    try:
        params = world.initial().repeat(width, 1)
        x: Tensor | None = None
        gradients: Tensor | None = None
        rounds, interval = cells[0].scenario.rounds, cells[0].scenario.evaluation_interval
        for k in range(1, rounds + 1):
            live = [(r, cell) for r, cell in enumerate(cells) if cell.status == "done"]
            if not live:
                break
            draw = world.draw(k)
            x, y = world.minibatches(draw, x)
            weights = None if draw.weights is None else world.put(draw.weights)
            gradients = world.gradients(k, params, x, y, weights, gradients)
            orders: dict[tuple[str, str, int], Order] = {}
            for r, cell in live:
                cell.advance(k, draw, gradients[r], params[r], orders)
            if k % interval == 0 or k == rounds:
                _evaluate(k, world, params, cells)
            for r, cell in enumerate(cells):
                if cell.status != "done":
                    params[r] = 0.0
    except PluginError as error:  # of what they share
        for cell in cells:
            if cell.status == "done":
                cell.lose(k, str(error))
    seconds = (time.process_time() - started) / len(cells)
    made = environment(width, world.device) | world.data.provenance
    return [cell.result(seconds, made, notes) for cell in cells]


def _evaluate(k: int, world: World, params: Tensor, cells: Sequence[Cell]) -> None:
    measured = world.evaluate(k, params, *world.test)
    loss, accuracy = (numbers.cpu() for numbers in measured)
    held = torch.full_like(accuracy, torch.nan)
    if len(world.data.validation):
        held = world.evaluate(k, params, *world.validation)[1].cpu()
    for r, cell in enumerate(cells):
        if cell.status == "done":
            cell.record(
                test_loss=float(loss[r]),
                test_accuracy=float(accuracy[r]),
                validation_accuracy=float(held[r]),
            )


def lost(scenario: Scenario, reason: str, width: int, device: str) -> Result:
    """Return the result of a cell that could not be computed."""
    row = {**dict.fromkeys(COLUMNS, 0), "round": 1, "test_loss": math.nan, "stalled": False}
    rounds = {name: [row[name]] for name in COLUMNS}
    made = {**environment(width, torch.device(device)), "needs": []}
    return Result(scenario, rounds, "failed", plain(reason), made)


class Cell:
    """One scenario under way: its server, its attackers, its ledger."""

    def __init__(
        self,
        scenario: Scenario,
        world: World,
        time_limit: float = math.inf,
        observe: Callable[[Step], None] | None = None,
    ) -> None:
        self.scenario, self.world, self.observe = scenario, world, observe
        self.byzantine = world.byzantine(scenario.byzantine)
        self.quorum = scenario.quorum
        self.rounds: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        self.time = 0.0
        self.clock, self.notes = Clock(time_limit), list[str]()
        self.needs: list[str] = []
        self.status: Status = "done"
        self.reason = ""
        try:
            with keyed(scenario.seed):
                self._make()
        except (InputError, PluginError) as error:
            self.lose(1, "; ".join(str(error).splitlines()))

    def _make(self) -> None:
        """Make what the cell alone names, and the boundary of each."""
        scenario = self.scenario
        self.algorithm = algorithms.registry.build(scenario.algorithm)
        self.rule = aggregators.build(
            scenario.rule,
            f=scenario.tolerated,
            scope=scenario.scope,
        )
        self.attack = attacks.build(scenario.attack)
        self.solver = solvers.registry.build(
            scenario.solver, learning_rate=scenario.learning_rate, schedule=scenario.schedule
        )
        with self.world.models("units"):
            self.places = Places(self.world.model, scenario.granularity, scenario.cost)
        self.algorithms = self._boundary("algorithm", scenario.algorithm, self.algorithm)
        self.rules = self._boundary("rule", scenario.rule, self.rule)
        self.attacks = self._boundary("attack", scenario.attack, self.attack)
        self.solvers = self._boundary("solver", scenario.solver, self.solver)
        self.trials = self._boundary("rule", scenario.rule, self.rule, clock=None)
        with self.rules("attributes"):
            self.needs, self.stateful = sorted(self.rule.needs), bool(self.rule.stateful)
        with self.attacks("attributes"):
            self.poisons, self.sees = bool(self.attack.poisons), self.attack.sees

    def _boundary(self, kind: str, name: str, part: object, **more: Any) -> Boundary:
        # Of hgobench's own parts rules and attacks alone can take long.
        timed = kind in ("rule", "attack") or foreign(part)
        clock = self.clock if timed else None
        more = {"clock": clock, "seed": self.world.seed, "notes": self.notes, **more}
        return Boundary(kind, name, part, passes=(RuleError,), **more)

    def advance(
        self,
        k: int,
        draw: Draw,
        gradients: Tensor,
        params: Tensor,
        orders: dict[tuple[str, str, int], Order],
    ) -> None:
        """Play round k (from 1): update `params` (d,) in place and write a row of the table.

        Args:
            k: the round.
            draw: its workers and minibatches.
            gradients: (q, d) of this cell's parameters.
            params: (d,).
            orders: the round's orders so far, by granularity, cost and step; shared with other
                cells.
        """
        hostile = self.byzantine[draw.workers]
        attacked = hostile.any() and k > self.scenario.attack_start
        order: Order | None = None
        lengths = np.zeros(len(draw.workers), dtype=np.int64)
        computed, sent, updated, duration, delay, malformed = 0, 0, 0, 0.0, 0.0, 0
        try:
            with self.algorithms("lengths", k):
                key = (self.scenario.granularity, self.scenario.cost, self.algorithm.step)
                if key not in orders:
                    orders[key] = Order(self.places, self._permutation(k))
                order = orders[key]
                budget, lengths = self._lengths(draw, order)
                work = np.minimum(budget, draw.allotted)
                computed = self.algorithm.computed(work, lengths, order)
            if attacked and self.poisons:
                gradients = self._poisoned(k, draw, gradients, params, hostile)
            with self.algorithms("messages", k):
                gradients = self.algorithm.messages(draw.workers, gradients, lengths, order)
            values = gradients
            if attacked:
                answers = self._attacked(k, draw, gradients, lengths, hostile, params, order)
                values, lengths, delay, malformed = answers
            lengths = self._accepted(k, lengths, order)
            with self.rules("call", k):
                answer = self._aggregate(k, draw, params, values, lengths, order, self.rule)
            block, aggregate = answer
            if self.observe is not None:
                self.observe(Step(self.scenario, k, params, block, aggregate))
            if len(aggregate):
                with self.solvers("step", k):
                    self.solver.step(params, block, aggregate)
            updated = len(aggregate)
            if not all_finite(params):
                self._end("diverged", f"round {k}: the parameters are not finite")
        except NonFiniteError as error:
            self._end("diverged", f"round {k}: {told(error).partition(': ')[2]}")
        except (PluginError, OutOfTime) as error:
            self._end("failed", f"round {k}: {error}")
        except RuleError as error:
            who = f"{self.rules.who}: " if self.rules.foreign else ""
            self._end("failed", f"round {k}: {who}{told(error)}")
        except (Exception, SystemExit) as error:
            self._end("failed", f"round {k}: {told(error)}")

        heard = lengths > 0
        if order is not None:
            try:
                sent = int(order.coordinates(lengths).sum())
                with self.algorithms("full_cost", k):
                    duration = self._duration(heard, draw, lengths, order)
            except (PluginError, OutOfTime) as error:
                self._end("failed", f"round {k}: {error}")
        self.time += duration + delay
        self._row(
            round=k,
            time=self.time,
            test_accuracy=math.nan if self.status == "done" else 0.0,
            test_loss=math.nan,
            validation_accuracy=math.nan if self.status == "done" else 0.0,
            block_size=updated,
            heard=int(heard.sum()),
            byzantine_heard=int((heard & hostile).sum()),
            malformed=malformed,
            coordinates=computed,
            bytes_up=NUMBER_BYTES * sent,
            bytes_down=len(draw.workers) * (NUMBER_BYTES * len(params) + SEED_BYTES),
            stalled=updated == 0 and self.status == "done",
        )

    def pass_time(self, k: int, draw: Draw) -> None:
        """Let the least time pass that round k (from 1) can take, without training.

        The attackers keep silent: the server waits for honest workers whatever they do.
        """
        with self.algorithms("lengths", k):
            order = Order(self.places, self._permutation(k))
            _, lengths = self._lengths(draw, order)
        if self.scenario.attack != "none" and k > self.scenario.attack_start:
            lengths = np.where(self.byzantine[draw.workers], 0, lengths)
        lengths = self._accepted(k, lengths, order)
        with self.algorithms("full_cost", k):
            self.time += self._duration(lengths > 0, draw, lengths, order)

    def _accepted(self, k: int, lengths: NDArray[np.int64], order: Order) -> NDArray[np.int64]:
        """Return the lengths as the server takes them."""
        with self.algorithms("accepted", k):
            taken = self.algorithm.accepted(lengths, order)
            self._check_lengths(taken, lengths.shape, order)
        return taken

    def _check_lengths(self, lengths: object, shape: tuple[int, ...], order: Order) -> None:
        """Raise unless an algorithm of others says how many places each worker sends."""
        if not self.algorithms.foreign:
            return
        whole = isinstance(lengths, np.ndarray) and lengths.dtype.kind == "i"
        if not whole or lengths.shape != shape:  # type: ignore[attr-defined]
            raise self.algorithms.error(f"its lengths are no array of integers {shape}")
        if not ((np.asarray(lengths) >= 0) & (np.asarray(lengths) <= len(order))).all():
            raise self.algorithms.error(f"its lengths leave [0, {len(order)}]")

    def _permutation(self, k: int) -> NDArray[np.int64]:
        """Return the round's order of places: drawn, or the next ones of a cycle."""
        places = len(self.places)
        if not self.algorithm.step:
            return self.world.order(k, places)
        return np.roll(np.arange(places), -(k - 1) * self.algorithm.step)

    def _poisoned(
        self, k: int, draw: Draw, gradients: Tensor, params: Tensor, hostile: NDArray[np.bool_]
    ) -> Tensor:
        """Return the gradients (q, d), those of the Byzantine workers on data that they changed."""
        rows = np.flatnonzero(hostile)
        put = self.world.put
        batch, weights = put(draw.batch[rows]), None
        if draw.weights is not None:
            weights = put(draw.weights[rows])
        x, y = self.world.features[batch], self.world.labels[batch]
        with self.attacks("poison", k):
            poisoned = self.attack.poison(x, y, self.world.data.classes)
            if self.attacks.foreign:
                self._check_poison(poisoned, x, y)
        gradients = gradients.clone()
        gradients[put(rows)] = self.world.gradients(k, params[None], *poisoned, weights)[0]
        return gradients

    def _check_poison(self, poisoned: object, x: Tensor, y: Tensor) -> None:
        """Raise unless an attack of others returns a minibatch."""
        pair = poisoned if isinstance(poisoned, tuple) and len(poisoned) == 2 else (None, None)
        for name, found, like in (("features", pair[0], x), ("labels", pair[1], y)):
            tensor = isinstance(found, Tensor)
            if not tensor or (found.shape, found.dtype) != (like.shape, like.dtype):  # type: ignore[union-attr]
                raise self.attacks.error(
                    f"poison returned other {name} than {like.dtype} {tuple(like.shape)}"
                )
        labels, classes = torch.as_tensor(pair[1]), self.world.data.classes
        if classes and not ((labels >= 0) & (labels < classes)).all():
            raise self.attacks.error(f"poison returned labels outside 0 .. {classes - 1}")

    def _attacked(
        self,
        k: int,
        draw: Draw,
        gradients: Tensor,
        lengths: NDArray[np.int64],
        hostile: NDArray[np.bool_],
        params: Tensor,
        order: Order,
    ) -> tuple[Tensor, NDArray[np.int64], float, int]:
        """Put the attackers' answers in the place of their honest ones.

        Returns:
            Values (q, d) and lengths (q,); by how much the latest answer that the server waits for
            is late; how many messages no worker could have sent.
        """
        put = self.world.put
        byzantine = put(np.flatnonzero(hostile))
        honest = np.flatnonzero(~hostile & (lengths > 0))
        sees, sent = self.sees, None
        omniscient = sees in ("honest", "server")
        if omniscient and (lengths[honest] < len(order)).any():
            sent = order.position_on(self.world.device) < put(lengths[honest, None])

        def place(message: Message) -> tuple[Tensor, NDArray[np.int64], float, int]:
            return self._placed(message, gradients, lengths, hostile, order)

        def try_on_server(message: Message) -> Tensor:
            values, claimed, *_ = place(message)
            claimed = self._accepted(k, claimed, order)
            with self.trials("call", k):
                rule = deepcopy(self.rule) if self.stateful else self.rule
                block, answer = self._aggregate(k, draw, params, values, claimed, order, rule)
            mean = view.centre()
            return answer.double() - (mean if block is None else mean[block])[: len(answer)]

        view = View(
            round=k,
            sampled=len(hostile),
            byzantine=len(byzantine),
            dimension=order.dimension,
            places=len(order),
            quorum=self.quorum,
            position=order.position,
            longest=int(lengths[honest].max(initial=0)),
            own_lengths=lengths[hostile],
            workers=draw.workers[hostile],
            stream=lambda: stream(self.world.seed, "attack", k),
            own=None if sees == "nothing" else gradients.index_select(0, byzantine),
            honest=_sent(gradients.index_select(0, put(honest)), sent) if omniscient else None,
            sent=sent,
            honest_workers=draw.workers[honest] if omniscient else None,
            honest_lengths=lengths[honest] if omniscient else None,
            server=try_on_server if sees == "server" else None,
        )
        with self.attacks("call", k):
            message = self.attack(view)
            if self.attacks.foreign and not isinstance(message, Message):
                raise self.attacks.error(
                    f"returned {type(message).__name__}; expected a hgobench.attacks.Message"
                )
            return place(message)

    def _placed(
        self,
        message: Message,
        gradients: Tensor,
        lengths: NDArray[np.int64],
        hostile: NDArray[np.bool_],
        order: Order,
    ) -> tuple[Tensor, NDArray[np.int64], float, int]:
        """Take a message as it arrives; what no worker could have sent is bounded or dropped."""
        byzantine = np.flatnonzero(hostile)
        b = len(byzantine)
        values, claimed = torch.as_tensor(message.values), np.asarray(message.lengths)
        if not np.issubdtype(claimed.dtype, np.integer):
            raise TypeError(f"claimed lengths: {claimed.dtype}; expected integers")
        lengths = lengths.copy()
        delay = np.asarray(np.zeros(b) if message.delay is None else message.delay, dtype=float)
        readable = values.shape == (b, order.dimension) and not values.is_complex()
        if not readable or not claimed.shape == delay.shape == (b,):
            lengths[byzantine] = 0  # nothing that could be read
            return gradients, lengths, 0.0, b
        impossible = ~(np.isfinite(delay) & (delay >= 0))
        bounded = np.clip(claimed, 0, len(order))
        malformed = int(((bounded != claimed) | impossible).sum())
        late = impossible | (delay > 0) if math.isfinite(self.scenario.deadline) else impossible
        bounded = np.where(late, 0, bounded)  # after the deadline nobody is heard, or never
        # What was there is in the attackers' view.
        gradients.index_copy_(0, self.world.put(byzantine), values.to(gradients))
        lengths[byzantine] = bounded
        return gradients, lengths, float(delay[bounded > 0].max(initial=0.0)), malformed

    def _aggregate(
        self,
        k: int,
        draw: Draw,
        params: Tensor,
        values: Tensor,
        lengths: NDArray[np.int64],
        order: Order,
        rule: Rule,
    ) -> tuple[Tensor | None, Tensor]:
        """Return the block that a quorum sent (None: all coordinates) and the rule's answer on it.

        The answer is empty if the round stalls.
        """
        quorum_length = int(np.sort(lengths)[-self.quorum]) if self.quorum <= len(lengths) else 0
        if quorum_length == 0:
            return None, params[:0]
        put = self.world.put
        block, position = None, order.position_on(self.world.device)
        if quorum_length < len(order):
            block = put(np.flatnonzero(order.position < quorum_length))
            position = position[block]
        answered = np.flatnonzero(lengths > 0)
        if len(answered) < len(lengths):
            values, lengths = values.index_select(0, put(answered)), lengths[answered]
        if block is not None:
            values = values.index_select(1, block)  # an index in brackets takes five times as long
        present = None
        if (lengths < quorum_length).any():
            present = position < put(lengths[:, None])
        # A rule is told what it says that it needs; boards say so, too.
        needs, hostile = rule.needs, self.byzantine[draw.workers]
        view = ServerView(
            round=k,
            workers=draw.workers[answered],
            coordinates=block,
            dimension=len(params),
            honest=~hostile[answered] if "honest" in needs else None,
            root=ServerData(self, k, params, block) if "root" in needs else None,
            stream=lambda step: stream(self.world.seed, "rule", k, step),
        )
        return block, rule(values, present, view)

    def _lengths(self, draw: Draw, order: Order) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return each worker's budget and how many places it sends if it is honest, (q,) each."""
        budget, upload = self._budget(draw)
        lengths = np.minimum(
            self.algorithm.lengths(budget, order, upload),
            self.algorithm.lengths(draw.allotted, order),
        )
        self._check_lengths(lengths, draw.workers.shape, order)
        return budget, lengths

    def _budget(self, draw: Draw) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return what each worker may compute by the deadline, (q,), and what sending costs of it.

        Both in coordinates of its minibatch gradient; sending costs None if transfer is free or
        does not count.
        """
        fleet, workers = self.world.fleet, draw.workers
        time, upload = self.scenario.deadline, None
        if fleet.counts:
            rates = fleet.rates[workers] / draw.size
            before = 2.0 * fleet.latency[workers]
            before += NUMBER_BYTES * self.world.model.dimension / fleet.downlink[workers]
            budget = np.maximum(time - before, 0.0) * rates
            upload = NUMBER_BYTES / fleet.uplink[workers] * rates
        else:
            budget = time * fleet.rates[workers] / draw.size
        return np.where(draw.available, budget, 0.0), upload

    def _duration(
        self,
        heard: NDArray[np.bool_],
        draw: Draw,
        lengths: NDArray[np.int64],
        order: Order,
    ) -> float:
        """Return the round's simulated time: τ, or until the last answer if τ is infinite.

        Transfer that does not count against τ comes on top.
        """
        fleet, workers = self.world.fleet, draw.workers
        down = NUMBER_BYTES * order.dimension / fleet.downlink[workers]
        up = NUMBER_BYTES * order.coordinates(lengths) / fleet.uplink[workers]
        transfer = 2.0 * fleet.latency[workers] + down + up
        if math.isfinite(self.scenario.deadline):
            slowest = 0.0 if fleet.counts else float(transfer[heard].max(initial=0.0))
            return self.scenario.deadline + slowest
        coordinates = np.minimum(self.algorithm.full_cost(order), draw.allotted)
        needed = draw.size * coordinates / fleet.rates[workers] + transfer
        return float(needed[heard].max(initial=0.0))

    def _end(self, status: Status, reason: str) -> None:
        self.status, self.reason = status, reason

    def _row(self, **row: Any) -> None:
        for name in COLUMNS:
            self.rounds[name].append(row[name])

    def record(self, **values: float) -> None:
        """Fill columns of the last row."""
        for name, value in values.items():
            self.rounds[name][-1] = value

    def lose(self, k: int, reason: str) -> None:
        """End in round k as failed, whether or not the round has a row."""
        self._end("failed", f"round {k}: {plain(reason)}")
        if len(self.rounds["round"]) < k:
            self._row(**{**dict.fromkeys(COLUMNS, 0), "round": k, "time": self.time})
        self.record(test_accuracy=0.0, test_loss=math.nan, validation_accuracy=0.0, stalled=False)

    def result(self, seconds: float, provenance: dict[str, Any], notes: Sequence[str]) -> Result:
        """Close the books.

        Args:
            seconds: of CPU time.
            provenance: as in a `Result`.
            notes: what parts that it shares with others changed, and was put back.
        """
        provenance = {**provenance, "needs": self.needs}
        reason = "; ".join([self.reason] * bool(self.reason) + [*notes, *self.notes])
        return Result(self.scenario, self.rounds, self.status, reason, provenance, seconds=seconds)


class ServerData:
    """Clean training examples at a cell's server, for the rules that need them.

    Args:
        cell: whose.
        k: the round.
        params: (d,) its parameters w.
        block: (b,) int64, the coordinates that it updates; None: all.
    """

    def __init__(self, cell: Cell, k: int, params: Tensor, block: Tensor | None) -> None:
        self.cell, self.k, self.params, self.block = cell, k, params, block

    @property
    def rate(self) -> float:
        """Return the round's learning rate γ."""
        block = len(self.params) if self.block is None else len(self.block)
        with self.cell.solvers("rate", self.k):
            return self.cell.solver.rate(block, len(self.params))

    def gradient(self, examples: int) -> Tensor:
        """Return the mean gradient of so many examples on the block, (b,)."""
        world = self.cell.world
        x, y = world.root(examples)
        whole: Tensor = world.gradients(self.k, self.params[None], x[None], y[None])[0, 0]
        return whole if self.block is None else whole[self.block]

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        """Return L(w) - L(w - γ·u) for each update u of the block, (m, b) -> (m,)."""
        x, y = self.cell.world.root(examples)
        stepped = self.params.repeat(1 + len(updates), 1)
        block = slice(None) if self.block is None else self.block
        stepped[1:, block] -= self.rate * updates.to(stepped)
        loss, _ = self.cell.world.evaluate(self.k, stepped, x, y)
        return loss[0] - loss[1:]


def _sent(gradients: Tensor, sent: Tensor | None) -> Tensor:
    return gradients if sent is None else keep(gradients, sent)
