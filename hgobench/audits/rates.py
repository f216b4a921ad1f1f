"""A machine's calibration: the rates by which `hgobench.costs` tells how long a cell takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import numpy as np

from hgobench import aggregators, attacks, models
from hgobench.aggregators import RuleError, Scope, ServerView
from hgobench.attacks import Attack, Message, View
from hgobench.determinism import one_thread, stream
from hgobench.lazy import Tensor, torch
from hgobench.machine import Line, Rates
from hgobench.provenance import processor
from hgobench.scenario import Scenario
from hgobench.testing import view

SHAPES = (24, 650), (40, 20_000)  # m x d, of the calls of rules and attacks
BYZANTINE = 2  # of m; few, as the cost of some rules grows with them beyond all bounds
PLAIN_RULE, PLAIN = "average", "sign_flip"  # what stands behind others while they are timed
CALLS = 3
ROUNDS = 20
WORKERS, EXAMPLES, FEATURES = 40, 32, 784  # q, s and p of the gradients
LARGE = Scenario(
    workers=30, byzantine=3, batch_size=8, deadline=8.0, rule="trimmed_mean", attack="foe",
    model="feed_forward[hidden=1500]", rounds=1000,
)  # fmt: skip
SMALL = LARGE.replace(model="softmax")


def measure(clock: Callable[[], float] = time.process_time) -> Rates:
    """Measure this machine's rates, on one thread: some ten seconds.

    Args:
        clock: seconds.
    """
    with one_thread():
        closed = _closed(clock)
        rules, others = _rules(clock, ragged=False), _attacks(clock)
        ragged = _rules(clock, ragged=True)
        values, besides, endings = [], [], []
        for scenario in (LARGE, SMALL):
            seconds, evaluation, ending = _round(scenario, clock)
            size, flops = _size(scenario)
            known = ragged[scenario.rule], others[scenario.attack], (0.0, flops / closed / size)
            values.append(size)
            endings.append(ending)
            besides.append(seconds - sum(fixed + slope * size for fixed, slope in known))
        fixed, value = _line(values, besides)
        return Rates(
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            processor=processor(),
            torch=str(torch.__version__),
            numpy=np.__version__,
            round=fixed,
            evaluation=evaluation,
            closed=closed,
            value=value,
            ending=_line(values, endings),
            rules=rules,
            ragged=ragged,
            attacks=others,
        )


def _seconds(call: Callable[[], object], clock: Callable[[], float], calls: int = CALLS) -> float:
    """Return the median time of a call, once memory and libraries are warm."""
    call()
    times = []
    for _ in range(calls):
        started = clock()
        call()
        times.append(clock() - started)
    return float(np.median(times))


def _line(values: list[int], seconds: list[float]) -> Line:
    """Return the line through two times: seconds at no values, and for each value more.

    >>> _line([10, 30], [2.0, 4.0]), _line([10, 30], [2.0, 1.0])
    ((1.0, 0.1), (2.0, 0.0))
    """
    (fewer, less), (more, longer) = sorted(zip(values, seconds, strict=True))
    slope = max((longer - less) / (more - fewer), 0.0)
    return max(less - slope * fewer, 0.0), slope


def _size(scenario: Scenario) -> tuple[int, float]:
    """Return q·d, and the operations of a round's gradients on digits."""
    model = models.registry.build(scenario.model, features=64, classes=10)
    flops = scenario.sampled * (model.flops(scenario.batch_size) or 0.0)
    return scenario.sampled * model.dimension, flops


def _closed(clock: Callable[[], float]) -> float:
    """Return the operations per second of gradients in closed form, of 784-30-10."""
    model, rng = models.FeedForward(FEATURES, 10), stream(0, "calibrate")
    shape = WORKERS, EXAMPLES, FEATURES
    x = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    y = torch.from_numpy(rng.integers(0, 10, shape[:2]))
    params, out = model.initial(rng)[None], torch.empty(1, WORKERS, model.dimension)
    seconds = _seconds(lambda: model.gradients(params, x, y, None, out), clock)
    return WORKERS * model.flops(EXAMPLES) / seconds


def _round(scenario: Scenario, clock: Callable[[], float]) -> tuple[float, float, float]:
    """Return the seconds of a round, of an evaluation, and of what metrics do in the end."""
    from hgobench.simulation.cell import Cell
    from hgobench.simulation.rounds import Stack
    from hgobench.simulation.world import World

    world = World.of(scenario)
    stack, rounds = Stack([Cell(scenario, world)], world), iter(range(1, ROUNDS + 2))
    seconds = _seconds(lambda: stack.play(next(rounds)), clock, ROUNDS)
    evaluation = _seconds(lambda: stack.evaluate(ROUNDS), clock)
    last = _seconds(lambda: stack.evaluate(ROUNDS, last=True), clock, 1)
    return seconds, evaluation, max(last - evaluation, 0.0)


def _rules(clock: Callable[[], float], ragged: bool) -> Mapping[str, Line]:
    """Return the line of every rule and pre-rule that needs nothing but values.

    Args:
        clock: seconds.
        ragged: whether workers send different lengths (`hgobench.costs.DISTINCT`).
    """
    registry, lines = aggregators.registry, dict[str, Line]()
    names = list(registry.builtins)
    chains = {f"{name}+{PLAIN_RULE}": name for name in aggregators.pre_rules.builtins}
    for specification in [*names, *chains]:
        rule = aggregators.build(specification, f=BYZANTINE)
        if rule.needs or "C(m, f)" in getattr(rule, "cost", ""):
            continue
        scope: Scope = rule.scope_on_parts if ragged else "block"
        sizes, seconds = [], []
        with suppress(RuleError):
            for m, d in SHAPES:
                rule = aggregators.build(specification, f=BYZANTINE, scope=scope)
                values = _noise(m, d)
                present = _prefixes(m, d) if ragged else None
                known = ServerView(workers=np.arange(m), dimension=d)
                seconds.append(_seconds(partial(rule, values, present, known), clock))
                sizes.append(m * d)
            lines[chains.get(specification, specification)] = _line(sizes, seconds)
    return _without(lines, chains.values(), PLAIN_RULE)


def _noise(m: int, d: int) -> Tensor:
    return torch.from_numpy(stream(0, "calibrate", m).standard_normal((m, d), dtype=np.float32))


def _prefixes(m: int, d: int) -> Tensor:
    """Return who sent what, (m, d): a third of them all, the others from a quarter of d up."""
    lengths = np.minimum(np.linspace(d // 4, d + 3 * d // 8, m), d).astype(int)
    return torch.from_numpy(np.arange(d) < lengths[:, None])


def _attacks(clock: Callable[[], float]) -> Mapping[str, Line]:
    """Return the line of every attack that does not try the server's rule."""
    lines = {}
    chains = {f"{name}+{PLAIN}": name for name in attacks.heterogeneity_attacks.builtins}
    for specification in [*attacks.registry.builtins, *chains]:
        if attacks.build(specification).sees == "server":
            continue
        sizes, seconds = [], []
        for m, d in SHAPES:
            seen = view(honest=m - BYZANTINE, byzantine=BYZANTINE, dimension=d)
            attack = attacks.build(specification)
            seconds.append(_seconds(partial(_attacked, attack, seen), clock))
            sizes.append(m * d)
        lines[chains.get(specification, specification)] = _line(sizes, seconds)
    return _without(lines, chains.values(), PLAIN)


def _attacked(attack: Attack, seen: View) -> Message:
    return attack(replace(seen))  # what a view has worked out is not worked out again


def _without(lines: dict[str, Line], names: Iterable[str], behind: str) -> dict[str, Line]:
    """Take what stands behind some names off their lines."""
    for name in names:
        if name in lines:
            (fixed, slope), (less, flatter) = lines[name], lines[behind]
            lines[name] = max(fixed - less, 0.0), max(slope - flatter, 0.0)
    return lines
