"""The memory that a world and its cells take, known before a round is played."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hgobench import aggregators, algorithms, attacks
from hgobench.attacks import NoAttack
from hgobench.boundary import PluginError
from hgobench.catalogue import foreign
from hgobench.errors import InputError
from hgobench.lazy import torch
from hgobench.machine import memory, written
from hgobench.metrics import VALUES
from hgobench.scenario import Scenario

from .world import World

STACK_BYTES = 64 << 20  # of the gradients that a stack's cells have at a time
NUMBER = 4  # bytes of a float32
FOLLOWED = 64  # bytes for each value, in float64 and several times, while a rule is asked again
USABLE = 0.9  # of this machine's memory
FASTEST = 1e11  # floating-point operations per second: as many as a fast thread does
LONGEST = 30  # days of a run at that speed


def at_once(q: int, d: int) -> int:
    """Return how many cells are computed side by side at most, by their gradients' size.

    >>> at_once(q=80, d=7850), at_once(q=100, d=1_000_000)
    (26, 1)
    """
    return max(STACK_BYTES // (NUMBER * q * d), 1)


@dataclass(frozen=True)
class Footprint:
    """Bytes that a world and the cells of a stack hold.

    Attributes:
        data: training, validation and test examples.
        loading: what is held besides while they are loaded: the examples before they are divided.
        minibatches: the features of a round's examples, (q, s, p), once for all cells.
        model: what its gradients take besides; None: unknown, as of a model that does not say it.
        gradients: (q, d), of each cell.
        parameters: (d,), now, before and at the start, of each cell.
        round: what the cell whose turn it is takes besides: what attackers look at, (h, d), and
            what the server selects of what was sent.
        cells: how many are computed side by side at most.
        ending: what a cell whose run has ended takes besides while metrics find out whose values
            its rule followed.
        held: what the server of each cell holds of workers: n·d values and the rounds in which they
            came; of one that takes differences, what it aggregated last and a whole round's
            gradients.

    Example:
        >>> of = Footprint(data=100, loading=50, minibatches=10, model=None, gradients=20,
        ...                parameters=2, round=30, cells=3)
        >>> of.cell, of.stack(2), of.least
        (162, 184, 132)
    """

    data: int
    loading: int
    minibatches: int
    model: int | None
    gradients: int
    parameters: int
    round: int
    cells: int
    ending: int = 0
    held: int = 0

    @property
    def cell(self) -> int:
        """The bytes of one cell by itself, its world's included."""
        return self.stack(1)

    def stack(self, cells: int) -> int:
        """Return the bytes of so many cells side by side, their world's included."""
        own = self.minibatches + (self.model or 0) + max(self.round, self.ending)
        return self.data + max(
            own + cells * (self.gradients + self.parameters + self.held), self.loading
        )

    @property
    def least(self) -> int:
        """What one cell can't do without, whatever its rule and its attack."""
        return self.data + self.minibatches + self.gradients + self.parameters


def footprint(scenario: Scenario, world: World) -> Footprint:
    """Return the memory of a scenario's cell, and of the stack that it may stand in.

    Args:
        scenario: the cell.
        world: its world.
    """
    shared = _shared(world)
    with world.models("working_bytes"):
        model = world.model.working_bytes(world.sampled, _most_examples(world))
    turn = int(max(_attackers(scenario), _server(scenario)) * shared.gradients)
    ending, held = FOLLOWED * followed(scenario, world), 0
    if algorithms.registry.build(scenario.algorithm).keeps:
        held = 2 * NUMBER * scenario.pool * world.model.dimension
        turn += held  # what is held before a round, and after it
    if algorithms.registry.build(scenario.algorithm).differences:
        pool, d = scenario.pool, world.model.dimension
        turn = int(turn * pool / scenario.sampled)
        held = NUMBER * (pool + 2) * d  # a whole round's gradients, and what was aggregated last
        examples = max(map(len, world.shards))
        whole = (1 + world.models.foreign) * NUMBER * pool * examples * world.data.features
        shared = replace(shared, minibatches=shared.minibatches + whole)
    return replace(shared, model=model, round=turn, ending=ending, held=held)


def followed(scenario: Scenario, world: World) -> int:
    """Return of how many values metrics find out how far the rule followed them; 0: of none."""
    values = scenario.pool * world.model.dimension
    return values if scenario.metrics != "none" and values <= VALUES else 0


def _most_examples(world: World) -> int:
    """Return s, or how many examples a worker has if they are fewer."""
    return min(world.batch_size, max(map(len, world.shards)))


def _shared(world: World) -> Footprint:
    """Return what any cell of a world takes, whatever its rule and its attack."""
    data, q, d = world.data, world.sampled, world.model.dimension
    splits = (data.train, data.validation, data.test)
    held = [split.features.nbytes + split.labels.nbytes for split in splits]
    shifted = 0 if world.features.data_ptr() == data.train.features.ctypes.data else held[0]
    copied = held[2] if world.models.foreign else 0  # a model of others is given copies
    return Footprint(
        data=sum(held) + shifted + copied,
        loading=held[0] + held[1] if len(data.validation) else 0,
        minibatches=(1 + world.models.foreign) * NUMBER * q * _most_examples(world) * data.features,
        model=0,
        gradients=NUMBER * q * d,
        parameters=3 * NUMBER * d,
        round=0,
        cells=at_once(q, d),
    )


def _attackers(scenario: Scenario) -> float:
    """Return what the attack takes besides, in units of the workers' gradients."""
    attack = attacks.build(scenario.attack)
    if isinstance(attack, NoAttack) or not scenario.byzantine:
        return 0.0
    if attack.sees in ("nothing", "model", "own"):
        return min(2 * scenario.byzantine / scenario.sampled, 2.0)
    seen = 1.0
    if algorithms.registry.build(scenario.algorithm).partial:  # who sent what, and 0 elsewhere
        seen = 2.25
    return seen + (_server(scenario) if attack.sees == "server" else 0.0)


def _server(scenario: Scenario) -> float:
    """Return what the server takes besides, in units of the workers' gradients."""
    many = scenario.pool / scenario.sampled
    if not algorithms.registry.build(scenario.algorithm).partial:
        return many  # the rows of those that have come
    rule = aggregators.build(scenario.rule, f=scenario.tolerated, scope=scenario.scope)
    return many * (1.25 if rule.columnwise else 2.25)  # rows, columns, and who sent them


def check_fits(scenario: Scenario, world: World) -> None:
    """Refuse a cell whose parts the data rule out, or that `expect_room` refuses.

    Parts that are plug-in code are asked by their cell.

    Args:
        scenario: the cell.
        world: its world.

    Raises:
        InputError: with what is wrong.
    """
    for kind, part in _asked(scenario):
        world.expect_suited(kind, getattr(scenario, kind), part)
    expect_room(scenario, world)


def expect_room(scenario: Scenario, world: World) -> None:
    """Refuse a cell that memory can't hold or that would not end, whatever its rule.

    Args:
        scenario: the cell, or another of its world.
        world: its world.

    Raises:
        InputError: with what it takes.
    """
    if world.device != torch.device("cpu"):
        return
    _check_ends(scenario, world)
    of, room = _shared(world), memory()
    if of.least <= USABLE * room:
        return
    q, d = world.sampled, world.model.dimension
    raise InputError(
        f"memory: a cell of q={q:,} workers and d={d:,} parameters takes {written(of.least)} and "
        f"more: {written(of.gradients)} for gradients (q x d), {written(of.parameters)} for "
        f"parameters, {written(of.minibatches)} for minibatches, {written(of.data)} for data; this "
        f"machine has {written(room)}: take a smaller model, fewer workers (q) or smaller "
        "minibatches (s)"
    )


def _asked(scenario: Scenario) -> Iterator[tuple[str, object]]:
    """Yield hgobench's own parts of a cell that may not go with its data."""
    if not foreign({"attack": scenario.attack}):
        yield "attack", attacks.build(scenario.attack)
    if not foreign({"rule": scenario.rule}):
        yield "rule", aggregators.build(scenario.rule, f=scenario.tolerated, scope=scenario.scope)
    if not foreign({"algorithm": scenario.algorithm}):
        yield "algorithm", algorithms.registry.build(scenario.algorithm)


def _check_ends(scenario: Scenario, world: World) -> None:
    """Refuse more rounds than can be played in any reasonable time, whatever budgets don't end."""
    if scenario.budgeted:
        return
    try:
        with world.models("flops"):
            one = world.model.flops(_most_examples(world))
    except PluginError:  # what is wrong with a model its cells say, in their first round
        return
    if one is None:
        return
    q, rounds = world.sampled, scenario.rounds
    days = one * q * rounds / FASTEST / 86_400
    if days > LONGEST:
        raise InputError(
            f"rounds: {rounds:,} rounds of q={q:,} workers' gradients, {one:.3g} floating-point "
            f"operations each, take {days:,.0f} days at 10^11 operations a second, a fast "
            f"thread's; expected at most {LONGEST}: take fewer rounds, a smaller model, fewer "
            "workers (q) or smaller minibatches (s), or set a budget"
        )
