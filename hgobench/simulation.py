"""The round loop, over a cohort of cells that share a world."""

from __future__ import annotations

import math
import platform
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import accumulate, count, repeat
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import hgobench
from hgobench import aggregators, algorithms, attacks
from hgobench.aggregators import Chain, NonFiniteError, Rule, ServerView
from hgobench.aggregators.tiles import one_blas_thread
from hgobench.algorithms import Order, Places, solvers
from hgobench.arrays import all_finite, keep
from hgobench.attacks import Message, View
from hgobench.errors import InputError, SamplingRisk
from hgobench.results.result import COLUMNS, Result, Status
from hgobench.scenario import Scenario
from hgobench.streams import stream
from hgobench.world import Draw, World

T = TypeVar("T")
NUMBER_BYTES = 4
OVER = "the rule and the attack ran past the cell's time_limit"
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
        time_limit: seconds that the rule and the attack may take together.
        device: where, as torch names it: ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Returns:
        The `Result`; one that diverged or failed says so in its status.

    Raises:
        InputError: the world can't be made, or there is no such device.

    Warns:
        SamplingRisk: with more than 1 % a round samples more Byzantine workers than v stands.
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
        time_limit: seconds that each cell's rule and attack may take together.
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
    return _clock(Cell(scenario, world))


def _clock(cell: Cell) -> Iterator[float]:
    for k in count(1):
        cell.pass_time(k, cell.world.draw(k))
        yield cell.time


def _simulate(cells: Sequence[Cell], world: World, width: int) -> list[Result]:
    started = time.process_time()
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
        gradients = world.model.gradients(params, x, y, weights, gradients)
        orders: dict[tuple[str, str, int], Order] = {}
        for r, cell in live:
            cell.advance(k, draw, gradients[r], params[r], orders)
        if k % interval == 0 or k == rounds:
            _evaluate(world, params, cells)
        for r, cell in enumerate(cells):
            if cell.status != "done":
                params[r] = 0.0
    seconds = (time.process_time() - started) / len(cells)
    made = _provenance(width, world.device) | world.data.provenance
    return [cell.result(seconds, made) for cell in cells]


def _evaluate(world: World, params: Tensor, cells: Sequence[Cell]) -> None:
    measured = world.model.evaluate(params, *world.test)
    loss, accuracy = (numbers.cpu() for numbers in measured)
    held = torch.full_like(accuracy, torch.nan)
    if len(world.data.validation):
        held = world.model.evaluate(params, *world.validation)[1].cpu()
    for r, cell in enumerate(cells):
        if cell.status == "done":
            cell.record(
                test_loss=float(loss[r]),
                test_accuracy=float(accuracy[r]),
                validation_accuracy=float(held[r]),
            )


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
        self.algorithm = algorithms.registry.build(scenario.algorithm)
        self.rule = aggregators.build(
            scenario.rule,
            f=scenario.tolerated or 0,
            scope=scenario.scope,  # type: ignore[arg-type]
        )
        self.attack = attacks.build(scenario.attack)
        self.solver = solvers.registry.build(
            scenario.solver, learning_rate=scenario.learning_rate, schedule=scenario.schedule
        )
        self.places = Places(world.model, scenario.granularity, scenario.cost)
        self.byzantine = world.byzantine(scenario.byzantine)
        self.quorum = scenario.quorum or 1
        self.rounds: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        self.time = 0.0
        self.seconds_left = time_limit
        self.status: Status = "done"
        self.reason = ""

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
        key = (self.scenario.granularity, self.scenario.cost, self.algorithm.step)
        if key not in orders:
            orders[key] = Order(self.places, self._permutation(k))
        order = orders[key]
        budget, lengths = self._lengths(draw, order)
        computed = self.algorithm.computed(np.minimum(budget, draw.allotted), lengths, order)
        hostile = self.byzantine[draw.workers]
        attacked = hostile.any() and k > self.scenario.attack_start
        updated, delay, malformed = 0, 0.0, 0
        try:
            if attacked and self.attack.poisons:
                gradients = self._poisoned(draw, gradients, params, hostile)
            gradients = self.algorithm.messages(draw.workers, gradients, lengths, order)
            values = gradients
            if attacked:
                answers = self._attacked(k, draw, gradients, lengths, hostile, params, order)
                values, lengths, delay, malformed = answers
            lengths = self.algorithm.accepted(lengths, order)
            block, aggregate = self._limited(
                k,
                self.rule,
                lambda: self._aggregate(k, draw, params, values, lengths, order, self.rule),
            )
            if self.observe is not None:
                self.observe(Step(self.scenario, k, params, block, aggregate))
            if len(aggregate):
                self.solver.step(params, block, aggregate)
            updated = len(aggregate)
            if not all_finite(params):
                self._end("diverged", f"round {k}: the parameters are not finite")
        except NonFiniteError as error:
            self._end("diverged", f"round {k}: {error}")
        except (Exception, SystemExit, OutOfTime) as error:
            self._end("failed", f"round {k}: {type(error).__name__}: {error}")

        heard = lengths > 0
        self.time += self._duration(heard, draw, lengths, order) + delay
        sent = int(order.coordinates(lengths).sum())
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
        order = Order(self.places, self._permutation(k))
        _, lengths = self._lengths(draw, order)
        if self.scenario.attack != "none" and k > self.scenario.attack_start:
            lengths = np.where(self.byzantine[draw.workers], 0, lengths)
        lengths = self.algorithm.accepted(lengths, order)
        self.time += self._duration(lengths > 0, draw, lengths, order)

    def _permutation(self, k: int) -> NDArray[np.int64]:
        """Return the round's order of places: drawn, or the next ones of a cycle."""
        places = len(self.places)
        if not self.algorithm.step:
            return self.world.order(k, places)
        return np.roll(np.arange(places), -(k - 1) * self.algorithm.step)

    def _poisoned(
        self, draw: Draw, gradients: Tensor, params: Tensor, hostile: NDArray[np.bool_]
    ) -> Tensor:
        """Return the gradients (q, d), those of the Byzantine workers on data that they changed."""
        rows = np.flatnonzero(hostile)
        put = self.world.put
        batch, weights = put(draw.batch[rows]), None
        if draw.weights is not None:
            weights = put(draw.weights[rows])
        x, y = self.attack.poison(
            self.world.features[batch], self.world.labels[batch], self.world.data.classes
        )
        gradients = gradients.clone()
        gradients[put(rows)] = self.world.model.gradients(params[None], x, y, weights)[0]
        return gradients

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
        sees, sent = self.attack.sees, None
        omniscient = sees in ("honest", "server")
        if omniscient and (lengths[honest] < len(order)).any():
            sent = order.position_on(self.world.device) < put(lengths[honest, None])

        def place(message: Message) -> tuple[Tensor, NDArray[np.int64], float, int]:
            return self._placed(message, gradients, lengths, hostile, order)

        def try_on_server(message: Message) -> Tensor:
            values, claimed, *_ = place(message)
            claimed = self.algorithm.accepted(claimed, order)
            rule = deepcopy(self.rule) if self.rule.stateful else self.rule
            with seeded(rule, self.world.seed, k):
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
        return place(self._limited(k, self.attack, lambda: self.attack(view)))

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
            root=ServerData(self, params, block) if "root" in needs else None,
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

    def _limited(self, k: int, plugin: object, call: Callable[[], T]) -> T:
        """Call the rule or the attack within what is left of the cell's time."""
        started = time.perf_counter()
        with _alarm(self.seconds_left), seeded(plugin, self.world.seed, k):
            answer = call()
        self.seconds_left -= time.perf_counter() - started
        if self.seconds_left < 0:
            raise OutOfTime(OVER)
        return answer

    def _end(self, status: Status, reason: str) -> None:
        self.status, self.reason = status, reason

    def _row(self, **row: Any) -> None:
        for name in COLUMNS:
            self.rounds[name].append(row[name])

    def record(self, **values: float) -> None:
        """Fill columns of the last row."""
        for name, value in values.items():
            self.rounds[name][-1] = value

    def result(self, seconds: float, provenance: dict[str, Any]) -> Result:
        """Close the books."""
        provenance = {**provenance, "needs": sorted(self.rule.needs)}
        return Result(
            self.scenario, self.rounds, self.status, self.reason, provenance, seconds=seconds
        )


class ServerData:
    """Clean training examples at a cell's server, for the rules that need them.

    Args:
        cell: whose.
        params: (d,) the round's parameters w.
        block: (b,) int64, the coordinates that the round updates; None: all.
    """

    def __init__(self, cell: Cell, params: Tensor, block: Tensor | None) -> None:
        self.cell, self.params, self.block = cell, params, block

    @property
    def rate(self) -> float:
        """Return the round's learning rate γ."""
        block = len(self.params) if self.block is None else len(self.block)
        return self.cell.solver.rate(block, len(self.params))

    def gradient(self, examples: int) -> Tensor:
        """Return the mean gradient of so many examples on the block, (b,)."""
        world = self.cell.world
        x, y = world.root(examples)
        whole: Tensor = world.model.gradients(self.params[None], x[None], y[None])[0, 0]
        return whole if self.block is None else whole[self.block]

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        """Return L(w) - L(w - γ·u) for each update u of the block, (m, b) -> (m,)."""
        x, y = self.cell.world.root(examples)
        stepped = self.params.repeat(1 + len(updates), 1)
        block = slice(None) if self.block is None else self.block
        stepped[1:, block] -= self.rate * updates.to(stepped)
        loss, _ = self.cell.world.model.evaluate(stepped, x, y)
        return loss[0] - loss[1:]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: bits must not depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with one_blas_thread(), torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)


def _sent(gradients: Tensor, sent: Tensor | None) -> Tensor:
    return gradients if sent is None else keep(gradients, sent)


class OutOfTime(BaseException):
    """The rule or the attack ran past the cell's limit; no `except Exception` in it stops this."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the body after so many seconds (where signals can be had)."""
    usable = math.isfinite(seconds) and threading.current_thread() is threading.main_thread()
    if not usable or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise OutOfTime(OVER)

    previous = signal.signal(signal.SIGALRM, ring)
    # It rings again every second, for code that catches everything.
    timer = signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
        signal.setitimer(signal.ITIMER_REAL, *timer)


@contextmanager
def seeded(plugin: object, seed: int, k: int) -> Iterator[None]:
    """Key the global generators for code of others, and leave them as they were."""
    parts = (*plugin.steps, plugin.rule) if isinstance(plugin, Chain) else (plugin,)
    made = [getattr(part, "function", part) for part in parts]
    if all(type(part).__module__.startswith("hgobench.") for part in made):
        yield
        return
    key = int(stream(seed, "plugin", k).integers(2**32))
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(key)
        np.random.seed(key)  # noqa: NPY002
        random.seed(key)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


def device_name(device: str) -> str:
    """Return what provenance calls a device: the processor's name, of whatever number."""
    kind = torch.device(device).type
    return torch.cuda.get_device_name(device) if kind == "cuda" else kind


def usable(device: str) -> None:
    """Raise InputError unless torch can compute there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"device: {device!r}; torch can't compute there: {reason}") from None


def _provenance(width: int, device: torch.device) -> dict[str, Any]:
    return {
        "hgobench": hgobench.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "device": device_name(str(device)),
        "threads": 1,
        "width": width,
    }
