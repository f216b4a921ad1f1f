"""The simulated clock: what a worker has time for, and how long a round lasts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate, count, repeat

import numpy as np
from numpy.typing import NDArray

from hgobench import algorithms
from hgobench.errors import InputError
from hgobench.hardware import Fleet
from hgobench.protocol import NUMBER_BYTES, block_length
from hgobench.scenario import Scenario

from .cell import Cell, Last
from .world import Draw, World


def budget(
    world: World, draw: Draw, deadline: float, models: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return what each worker may compute by the deadline, (q,), and what sending costs of it.

    Both in coordinates of a gradient of s_i examples: τ·λ_i/s_i, and 0 for a worker that is away.
    Sending costs None if transfer is free or does not count against the deadline. The server sends
    so many `models` to each worker (see `Cell.models`).
    """
    fleet, workers, examples = world.fleet, draw.workers, draw.size
    upload = None
    if fleet.transfer_counts_towards_deadline:
        rates = fleet.rates[workers] / examples
        download = 2.0 * fleet.latency[workers]
        download += NUMBER_BYTES * models * world.model.dimension / fleet.downlink[workers]
        paid = np.maximum(deadline - download, 0.0) * rates
        upload = NUMBER_BYTES / fleet.uplink[workers] * rates
    else:
        paid = deadline * fleet.rates[workers] / examples
    return np.where(draw.available, paid, 0.0), upload


def duration(
    world: World,
    draw: Draw,
    lengths: NDArray[np.int64],
    numbers: NDArray[np.int64],
    deadline: float,
    full_cost: int,
    updates: NDArray[np.int64],
    models: int = 1,
) -> float:
    """Return a round's simulated time: τ, or until the last answer if τ is infinite.

    Transfer that does not count against τ comes on top.

    Args:
        world, draw: the devices, and who is asked.
        lengths: (q,) how many places each sent; 0: it is not waited for.
        numbers: (q,) how many numbers its answer is.
        deadline: τ.
        full_cost: the budget that all takes that a worker may send.
        updates: (q,) how many gradients each takes for its answer.
        models: how many the server sends to each.
    """
    fleet, heard = world.fleet, lengths > 0
    transfer = transferred(world, draw, numbers, models)
    if math.isfinite(deadline):
        slowest = (
            0.0
            if fleet.transfer_counts_towards_deadline
            else float(transfer[heard].max(initial=0.0))
        )
        return deadline + slowest
    needed = computing(world, draw, full_cost, updates) + transfer
    return float(needed[heard].max(initial=0.0))


def computing(
    world: World, draw: Draw, full_cost: int, updates: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return how long each worker computes for all that it may send, (q,)."""
    coordinates = np.minimum(full_cost, draw.coordinate_limit)
    return draw.size * updates * coordinates / world.fleet.rates[draw.workers]


def transferred(
    world: World, draw: Draw, numbers: NDArray[np.int64], models: int = 1
) -> NDArray[np.float64]:
    """Return how long what each worker is sent and its answer of so many numbers travel, (q,)."""
    fleet, workers = world.fleet, draw.workers
    down = NUMBER_BYTES * models * world.model.dimension / fleet.downlink[workers]
    up = NUMBER_BYTES * numbers / fleet.uplink[workers]
    return 2.0 * fleet.latency[workers] + down + up


def spent(
    fleet: Fleet,
    workers: NDArray[np.int64],
    computed: NDArray[np.int64],
    down: NDArray[np.int64],
    up: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the joules that workers spend in a round, (q,): W_i·t_i + ε_i·(bytes down and up).

    They are inf where that is beyond all numbers: such energies are not measured.

    >>> from dataclasses import replace
    >>> phones = replace(Fleet.of(np.array([5.0, 10.0])), watts=np.array([2.0, 4.0]))
    >>> spent(phones, np.array([1, 0]), np.array([30, 30]), np.zeros(2), np.zeros(2))
    array([12., 12.])

    Args:
        fleet: whose devices; what it does not say is taken for 0.
        workers: (q,) which.
        computed: (q,) coordinates of one example's gradient that each computes.
        down, up: (q,) bytes that each receives and sends.
    """
    joules = np.zeros(len(workers))
    with np.errstate(over="ignore"):
        if fleet.watts is not None:
            joules += fleet.watts[workers] * computed / fleet.rates[workers]
        if fleet.joules_per_byte is not None:
            joules += fleet.joules_per_byte[workers] * (down + up)
    return joules


def clock(scenario: Scenario) -> Iterator[float]:
    """Return when each round ends at the earliest, in simulated time, without training.

    Without an attack that is the column ``time`` of the run's table, to the last bit. Attackers
    can only delay the server, so that with one no round ends earlier. The rounds have no end:
    `scenario.rounds` does not count.

    >>> [time for time, _ in zip(clock(Scenario(workers=5, tau=2)), range(3))]
    [2.0, 4.0, 6.0]

    Raises:
        InputError: the world can't be made, or the algorithm's server steps whenever answers come.
    """
    if not algorithms.registry.build(scenario.algorithm).by_rounds:
        raise InputError(
            f"algorithm: {scenario.algorithm!r} steps whenever answers come; when, only a run "
            "shows: expected one that goes by rounds"
        )
    world = World.of(scenario)
    fleet, tau = world.fleet, scenario.deadline
    free = not fleet.latency.any() and np.isinf([fleet.uplink, fleet.downlink]).all()
    if math.isfinite(tau) and (free or fleet.transfer_counts_towards_deadline):
        return accumulate(repeat(tau))  # every round lasts τ
    cell = Cell(scenario, world)
    if cell.status != "done":
        raise InputError(cell.reason)
    return accumulate(_least(cell, k) for k in count(1))


def _least(cell: Cell, k: int) -> float:
    """Return the least time that round k can take.

    The attackers keep silent: the server waits for honest workers whatever they do. Where it
    depends on them whether the server has an aggregate yet, and so of which kind the round is, it
    is the shorter kind.
    """
    kinds: list[bool | None] = [None]
    threatened = cell.scenario.attack != "none" and k > 1
    if cell.differences and cell.last is None and threatened and not cell.tossed(k):
        kinds = [True, False]
    return min(_lasts(cell, k, kind) for kind in kinds)


def _lasts(cell: Cell, k: int, kind: bool | None) -> float:
    """Return how long round k lasts if attackers keep silent, and note what the server then has.

    Args:
        cell, k: which.
        kind: whether it is a whole round; None: as it comes (see `Cell.begin`).
    """
    scenario, world = cell.scenario, cell.world
    asked, tau = cell.begin(k, kind), scenario.deadline
    draw = world.draw(k) if asked is None else world.whole(k, asked)
    with cell.algorithms("lengths", k):
        order = cell.order(k)
        plan = cell.plan(*budget(world, draw, tau, cell.models), draw, order)
        lengths = plan.lengths
    if scenario.attack != "none" and scenario.attacked(k):
        lengths = np.where(cell.byzantine[draw.workers], 0, lengths)
    lengths = cell.accepted(k, lengths, order)
    with cell.algorithms("full_cost", k):
        full_cost = cell.algorithm.full_cost(order)
        numbers = cell.server.numbers(lengths, order)
    whole = cell.differences and not cell.differs
    if whole and block_length(lengths, cell.server.quorum):
        nothing = world.initial()
        cell.last = Last(nothing, nothing)
    return duration(world, draw, lengths, numbers, tau, full_cost, plan.updates, cell.models)
