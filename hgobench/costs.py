"""What a cell takes, before it runs: parameters, memory, operations and time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from hgobench import aggregators, algorithms, attacks, catalogue, machine
from hgobench.boundary import PluginError
from hgobench.determinism import one_thread
from hgobench.errors import InputError, Unavailable
from hgobench.lazy import torch
from hgobench.models import Module
from hgobench.provenance import processor
from hgobench.registry import Registry
from hgobench.scenario import Scenario
from hgobench.simulation.footprint import USABLE, Footprint, followed, footprint

if TYPE_CHECKING:
    from hgobench.machine import Rates
    from hgobench.simulation.world import World

LONG_ENOUGH = 1.0  # CPU seconds of rounds that are played to time them
ROUNDS = 5  # at most as many of them
DISTINCT = 2 / 3  # of m: how many different lengths a calibration's parts of gradients have
FEW, SCORED = 4, 200  # workers and examples on which a model of others is timed
FORWARD = 1 / 2  # of the operations of a gradient, at most
# Operations of a rule by its declared cost, of m vectors of d coordinates.
_LEADING: Mapping[str, Callable[[int, int], float]] = {
    "m·d·log m": lambda m, d: m * d * math.log2(max(m, 2)),
    "m²·d": lambda m, d: m * m * d,
    "n²·d": lambda m, d: m * m * d,
    "m·d": lambda m, d: m * d,
}


@dataclass(frozen=True)
class Time:
    """CPU seconds of one cell by itself; cells in a stack take less each.

    Attributes:
        source: where the numbers come from, in words.
        start: what this process took to start: Python, torch, the data and the world.
        round: of a round without evaluation.
        evaluation: of an evaluation.
        ending: of what metrics do in the end.
        total: of the run, once it has started.
        parts: of a round, by what takes them; empty: they were not told apart.
    """

    source: str
    start: float
    round: float
    evaluation: float
    ending: float
    total: float
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Costs:
    """What a cell takes.

    Attributes:
        dimension: d, the number of parameters.
        sampled: q.
        footprint: the memory of data and cells.
        process: bytes that a process holds besides, as this one did.
        memory: of this machine.
        flops: floating-point operations of the first round's gradients; None: unknown.
        rule: the declared cost of the rule and of what stands before it; empty: none is declared.
        operations: of a call of the rule on all workers' vectors, by the leading terms of that
            cost; None: they are not of a known form.
        time: of the run; None: unknown.
        why: why the time is unknown.
        module: what the model is made of, if it is a torch module.
    """

    dimension: int
    sampled: int
    footprint: Footprint
    process: int
    memory: int
    flops: float | None
    rule: str
    operations: float | None
    time: Time | None
    why: str
    module: Mapping[str, str]

    @property
    def peak(self) -> int:
        """Bytes that a process holds at its peak which computes the cell by itself."""
        return self.process + self.footprint.cell

    def as_data(self) -> dict[str, Any]:
        """Return the numbers as data for JSON, with their units."""
        memory = {f"{name}_bytes": size for name, size in vars(self.footprint).items()}
        side_by_side = memory.pop("cells_bytes")
        seconds = None
        if self.time is not None:
            seconds = {
                "source": self.time.source,
                "start_cpu_seconds": self.time.start,
                "round_cpu_seconds": self.time.round,
                "evaluation_cpu_seconds": self.time.evaluation,
                "ending_cpu_seconds": self.time.ending,
                "total_cpu_seconds": self.time.total,
                "parts_cpu_seconds": dict(self.time.parts),
            }
        return {
            "parameters": self.dimension,
            "memory": {
                **memory,
                "process_bytes": self.process,
                "peak_bytes": self.peak,
                "cells_side_by_side": side_by_side,
                "stack_bytes": self.footprint.stack(side_by_side),
                "machine_bytes": self.memory,
            },
            "gradient_flops_per_round": self.flops,
            "rule": {"cost": self.rule, "operations_per_round": self.operations},
            "time": seconds if seconds is not None else {"unknown": self.why},
        }


def costs(scenario: Scenario, *, measure: bool = False) -> Costs:
    """Return what a scenario's cell takes; its world is made, but no run is.

    Args:
        scenario: the cell.
        measure: whether to play a few of its rounds and time them, instead of working its time out
            from this machine's calibration.

    Raises:
        Unavailable: its data are not at hand.
        InputError: its world can't be made, or the calibration is damaged.

    Example:
        >>> found = costs(Scenario(workers=20, model="softmax"))
        >>> found.dimension, found.flops  # 4·s·d for each of q workers
        (650, 1664000.0)
    """
    from hgobench.engines.base import Failure
    from hgobench.engines.cells import reason
    from hgobench.engines.local import local

    engine = local(1, [vars(scenario)])
    ((_, answer),) = engine.map(partial(_costs, measure), [scenario])
    if isinstance(answer, Failure):
        who = catalogue.foreign(vars(scenario)) or ["scenario"]
        raise InputError(f"{', '.join(who)}: {reason(answer)}")
    if isinstance(answer, InputError):
        raise answer
    return answer


def _costs(measure: bool, scenario: Scenario) -> Costs | InputError:
    """Return what a scenario's cell takes, or why it can't be told."""
    from hgobench.simulation.world import World

    try:
        with one_thread():
            world = World.of(scenario)
            return _of(scenario, world, measure)
    except PluginError as error:
        return InputError(error.problem)
    except InputError as error:
        return error.with_traceback(None)


def _of(scenario: Scenario, world: World, measure: bool) -> Costs:
    model, of = world.model, footprint(scenario, world)
    process = machine.resident() - of.data
    s = min(scenario.batch_size, max(map(len, world.shards)))
    with world.models("flops"):
        one = model.flops(s)
    fits = of.least <= USABLE * machine.memory()
    gradients, lengths = _first_round(scenario, world) if fits else (world.sampled, 0)
    flops = None if one is None else one * gradients
    rule, operations = _rule(scenario, world)
    found: Time | str = "it does not fit into this machine's memory, and is refused"
    if fits and measure:
        found = _played(scenario, world)
    elif fits:
        found = _calibrated(scenario, world, flops, lengths)
    return Costs(
        dimension=model.dimension,
        sampled=world.sampled,
        footprint=of,
        process=max(process, 0),
        memory=machine.memory(),
        flops=flops,
        rule=rule,
        operations=operations,
        time=None if isinstance(found, str) else found,
        why=found if isinstance(found, str) else "",
        module=_module(model),
    )


def _module(model: object) -> dict[str, str]:
    """Return what a torch module is, in words; of another model nothing."""
    if not isinstance(model, Module):
        return {}
    return {
        "parameters": f"{model.dimension:,}",
        "gradients": model.way + (f" ({model.reason})" if model.reason else ""),
        "inputs": str(model.inputs),
        "loss": model.loss_name,
        "draws": "by seed and round" if model.random else "nothing",
    }


def _first_round(scenario: Scenario, world: World) -> tuple[int, int]:
    """Return how many gradients workers take in the first round, and how many lengths they send.

    Of lengths 0 if all that send something send as much.
    """
    from hgobench.simulation.cell import Cell
    from hgobench.simulation.clock import budget

    cell, draw = Cell(scenario, world), world.draw(1)
    if cell.status != "done":
        return world.sampled, 0
    if not cell.by_rounds:
        return (cell.algorithm.answers or world.sampled) * cell.gradients, 0
    order = cell.order(1)
    plan = cell.plan(*budget(world, draw, scenario.deadline), draw, order)
    lengths = cell.accepted(1, plan.lengths, order)
    different = len(np.unique(lengths[lengths > 0]))
    further = int(np.maximum(plan.updates - 1, 0).sum())
    return world.sampled + further, different if different > 1 else 0


def _rule(scenario: Scenario, world: World) -> tuple[str, float | None]:
    """Return the declared cost of a rule, and its operations."""
    rule = aggregators.build(scenario.rule, f=scenario.tolerated, scope=scenario.scope)
    parts = [part.cost for part in getattr(rule, "made_of", (rule,)) if hasattr(part, "cost")]
    total: float | None = 0.0
    for cost in parts:
        known = [count for form, count in _LEADING.items() if cost.startswith(form)]
        own = known[0](scenario.pool, world.model.dimension) if known else None
        total = None if own is None or total is None else total + own
    return "; ".join(filter(None, parts)), total if parts else None


def evaluations(scenario: Scenario) -> int:
    """Return how often a run is evaluated.

    >>> evaluations(Scenario(rounds=60, evaluation_interval=25))
    3
    """
    return math.ceil(scenario.rounds / scenario.evaluation_interval)


def _run(
    scenario: Scenario,
    source: str,
    start: float,
    parts: Mapping[str, float],
    one: float,
    ending: float,
) -> Time:
    each = sum(parts.values())
    total = scenario.rounds * each + evaluations(scenario) * one + ending
    return Time(source, start, each, one, ending, total, parts if len(parts) > 1 else {})


def _played(scenario: Scenario, world: World) -> Time | str:
    """Time a few rounds of a cell, those of its attack, and an evaluation."""
    from hgobench.simulation.cell import Cell
    from hgobench.simulation.runs import stacks_of

    start = time.process_time()
    cell = Cell(scenario, world)
    if cell.reason:
        return cell.reason
    (stack,) = stacks_of([cell], world, None)
    k, seconds = max(scenario.attack_start, 1), list[float]()
    stack.play(k)  # memory and libraries are warm from here on
    while sum(seconds) < LONG_ENOUGH and len(seconds) < ROUNDS and cell.status == "done":
        k += 1
        started = time.process_time()
        if not stack.play(k):
            break
        seconds.append(time.process_time() - started)
    if cell.status == "failed" or not seconds:
        return cell.reason or "a budget ends it within two rounds"
    started = time.process_time()
    stack.evaluate(k)
    one = time.process_time() - started
    started = time.process_time()
    stack.evaluate(k, last=True)
    ending = max(time.process_time() - started - one, 0.0)
    source = f"measured now, {len(seconds)} round{'s' * (len(seconds) > 1)} on {processor()}"
    return _run(scenario, source, start, {"rounds": float(np.median(seconds))}, one, ending)


def _calibrated(scenario: Scenario, world: World, flops: float | None, lengths: int) -> Time | str:
    """Work the time out from this machine's calibration."""
    start, rates = time.process_time(), machine.kept()
    if rates is None:
        return "this machine is not calibrated"
    now = (processor(), str(torch.__version__), np.__version__)
    if now != (rates.processor, rates.torch, rates.numpy):
        return (
            f"this machine's calibration is of {rates.processor}, torch {rates.torch} and NumPy "
            f"{rates.numpy}, which are not these"
        )
    try:
        parts, one = _parts(scenario, world, flops, lengths, rates)
    except KeyError as error:
        return f"the calibration does not have {error.args[0]}"
    source = f"this machine's calibration, {rates.age()} on {rates.processor}"
    if isinstance(world.model, Module) or world.models.foreign:
        source += "; the model's gradients are timed now"
    ending = _seconds(rates.ending, values) if (values := followed(scenario, world)) else 0.0
    return _run(scenario, source, start, parts, one, ending)


def _parts(
    scenario: Scenario, world: World, flops: float | None, lengths: int, rates: Rates
) -> tuple[dict[str, float], float]:
    """Return the seconds of a round by what takes them, and of an evaluation.

    Raises:
        KeyError: with what the calibration lacks.
    """
    model = world.model
    values = world.sampled * model.dimension
    examples = len(world.data.test) + len(world.data.validation)
    if ":" in scenario.metrics:
        raise KeyError(f"the metrics {scenario.metrics}")
    algorithm = algorithms.registry.build(scenario.algorithm)
    if not algorithm.by_rounds:
        raise KeyError(f"the algorithm {scenario.algorithm}, whose server goes by events")
    if algorithm.gradients > 1:
        raise KeyError(f"the algorithm {scenario.algorithm}, whose workers take several gradients")
    if isinstance(model, Module) or world.models.foreign or flops is None:
        gradients, one = _timed(world, examples)
    else:
        gradients = flops / rates.closed
        one = FORWARD * float(model.flops(examples) or 0.0) / rates.closed
    parts = {
        "gradients": gradients,
        "rule": _rule_seconds(scenario, world, lengths, rates),
        "attack": _attack_seconds(scenario, values, gradients, rates),
        "the rest": rates.round + rates.value * values,
    }
    return parts, rates.evaluation + one


def _timed(world: World, examples: int) -> tuple[float, float]:
    """Time gradients of a few workers, and scores of a few examples; return those of all."""
    model, q = world.model, world.sampled
    few = q
    if isinstance(model, Module):
        few = min(q, max(model.together(world.batch_size), FEW))
    draw = world.draw(1)
    x, y = world.minibatches(draw)
    weights = None if draw.weights is None else world.to_device(draw.weights)[:few]
    params = world.initial()[None]
    some = [part[:SCORED] for part in world.test]

    def gradients() -> None:
        world.gradients(1, params, x[:few], y[:few], weights)

    times = []
    for call in (gradients, lambda: world.marked(1, params, *some)):
        call()
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return times[0] * q / few, times[1] * examples / len(some[0])


def _rule_seconds(scenario: Scenario, world: World, lengths: int, rates: Rates) -> float:
    """Return the seconds of a rule: those of its parts, by how many lengths workers send."""
    values = scenario.pool * world.model.dimension
    names = [Registry.bare(name) for name in aggregators.registry.split(scenario.rule)]
    share = min(lengths / (DISTINCT * world.sampled), 1.0)
    seconds = 0.0
    for name in names:
        if name not in rates.rules or (share and name not in rates.ragged):
            raise KeyError(f"the rule {name}" + " on parts of gradients" * bool(share))
        whole = _seconds(rates.rules[name], values)
        parts = _seconds(rates.ragged[name], values) if share else 0.0
        seconds += (1.0 - share) * whole + share * parts
    return seconds


def _attack_seconds(scenario: Scenario, values: int, gradients: float, rates: Rates) -> float:
    """Return the seconds of an attack: those of its parts, and of gradients on poisoned data."""
    attack = attacks.build(scenario.attack)
    if not scenario.byzantine:
        return 0.0
    if attack.sees == "server":
        raise KeyError(f"the attack {scenario.attack}, which tries the rule")
    names = [Registry.bare(name) for name in attacks.registry.split(scenario.attack)]
    for name in names:
        if name not in rates.attacks:
            raise KeyError(f"the attack {name}")
    again = scenario.byzantine / scenario.workers if attack.poisons else 0.0
    return sum(_seconds(rates.attacks[name], values) for name in names) + again * gradients


def _seconds(line: machine.Line, values: int) -> float:
    return line[0] + line[1] * values


def known(scenario: Scenario, *, measure: bool = False) -> Costs | str:
    """Return what a cell takes; if its data are not at hand, why that is not known."""
    try:
        return costs(scenario, measure=measure)
    except Unavailable as error:
        return str(error)
