"""Breakdown: the attackers that a rule tolerates, every number of them tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from hgobench import aggregators, attacks, theory
from hgobench.data import datasets
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.notation import format_value
from hgobench.report.page import Cell, Chart, Finding, Line, Page, Table, study
from hgobench.results import Result
from hgobench.scenario import Scenario
from hgobench.simulation import Step, simulate
from hgobench.simulation.world import World
from hgobench.statistics import LEVEL, Floats, exceeds, holm
from hgobench.theory import Objective

from .base import Options, Work, classified, settled, uses

BASE: dict[str, Any] = {
    "data": "digits",
    "model": "softmax",
    "workers": 20,
    "rounds": 60,
    "learning_rate": 2.0,
    "evaluation_interval": 60,
}
RULES = (
    "average", "median", "trimmed_mean", "meamed", "phocas", "krum", "multi_krum", "aksel",
    "geometric_median", "centered_clipping", "bulyan", "cge", "nnm+trimmed_mean", "nnm+krum",
)  # fmt: skip
ATTACKS = ("sign_flip", "alie", "foe", "min_max", "mimic", "label_flip")
PARTITIONS = ("iid", "dirichlet[alpha=0.3]")
HARDWARE = ("powerful", "standard")
SEEDS = 3
POINTS = 0.05  # of accuracy, that may be lost
GRID = 12  # numbers of attackers that are tried at first, or all


@dataclass
class Series:
    """One rule under one attack in one place, against growing numbers of attackers.

    Attributes:
        rule, attack: who against whom.
        place: the fields of where.
        clean: the mean accuracy without attackers.
        learns: whether that is better than chance.
        costs: f -> (seeds,) the accuracy that f attackers cost, of every f that was tried.
        failed: the f's at which a cell raised or ran out of time.
        refused: the f's that the rule or its quorum refuses.
    """

    rule: str
    attack: str
    place: Mapping[str, Any]
    clean: float = 0.0
    learns: bool = True
    costs: dict[int, Floats] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)

    @property
    def tried(self) -> list[int]:
        """Return the f's that were tried, ascending."""
        return sorted(self.costs)

    def breaks(self, f: int) -> bool:
        """Whether f attackers cost more than may be lost, in the mean over seeds."""
        return float(self.costs[f].mean()) > POINTS

    @property
    def broken(self) -> int | None:
        """Return the least f that was tried and costs more than may be lost; None: none does."""
        if not self.learns:
            return 0
        return next((f for f in self.tried if self.breaks(f)), None)

    @property
    def tolerated(self) -> int:
        """Return the largest f up to which every f that was tried is tolerated."""
        broken = self.broken
        return max((f for f in self.tried if broken is None or f < broken), default=0)

    @property
    def again(self) -> list[int]:
        """Return the larger f's that are tolerated again beyond the first that is not."""
        broken = self.broken
        if broken is None or not self.learns:
            return []
        return [f for f in self.tried if f > broken and not self.breaks(f)]

    @property
    def turns(self) -> dict[int, float]:
        """The p-values that those f's cost less than the first that breaks (paired t tests)."""
        if self.broken is None:
            return {}
        most = self.costs.get(self.broken, np.zeros(1))
        return {f: exceeds(most - self.costs[f], 0.0) for f in self.again}

    @property
    def end(self) -> str:
        """Say why it is not more."""
        if self.failed and self.broken in (0, *self.failed):
            return "failed"
        if not self.learns:
            return "learns nothing"
        if self.broken is not None:
            return "broken"
        return "refused" if self.refused else "n/2"

    def cells(self, f: int, seeds: int) -> list[Scenario] | None:
        """Return the cells with f attackers; None: they are refused."""
        attack = self.attack if f else "none"
        fields = {**self.place, "rule": self.rule, "attack": attack, "byzantine": f}
        try:
            return [Scenario(**fields, seed=seed) for seed in range(seeds)]
        except InputError:
            return None


def sweep(series: Sequence[Series], most: int, seeds: int, work: Work) -> None:
    """Try every f from 1 to `most`, or every so many and then all before the first that breaks.

    Nothing is taken for granted: a rule may tolerate more attackers than it fails against.
    """
    clean = work.execute([cell for one in series for cell in one.cells(0, seeds) or ()])
    for one in series:
        calm = one.cells(0, seeds) or []
        chance = 1.0 / max(datasets.load(calm[0].data).classes, 1)
        one.clean = float(np.mean([accuracy(clean[cell]) for cell in calm]))
        one.learns = one.clean >= chance + 2 * POINTS
        if any(clean[cell].status == "failed" for cell in calm):
            one.failed.add(0)
    learning = [one for one in series if one.learns]
    step = math.ceil(most / GRID)
    coarse = range(step, most + 1, step)
    _try([(one, f) for one in learning for f in coarse], clean, seeds, work)
    _try(
        [
            (one, f)
            for one in learning
            # Where nothing breaks, the f's beyond the last that is taken.
            for f in range(one.tolerated + 1, min(one.broken or most + 1, one.tolerated + step))
        ],
        clean, seeds, work,
    )  # fmt: skip


def _try(
    asked: Sequence[tuple[Series, int]],
    clean: Mapping[Scenario, Result],
    seeds: int,
    work: Work,
) -> None:
    """Run what some f's cost, and note it in their series."""
    cells = {(number, f): one.cells(f, seeds) for number, (one, f) in enumerate(asked)}
    found = work.execute([cell for each in cells.values() for cell in each or ()])
    for (one, f), each in zip(asked, cells.values(), strict=True):
        if each is None:
            one.refused.add(f)
            continue
        calm = one.cells(0, seeds) or []
        one.costs[f] = np.array(
            [accuracy(clean[c]) - accuracy(found[a]) for c, a in zip(calm, each, strict=True)]
        )
        if any(found[cell].status == "failed" for cell in each):
            one.failed.add(f)


def accuracy(result: Result) -> float:
    """Return the last accuracy, 0 of a cell that failed or diverged."""
    return float(result.summary["test_accuracy"])


def growth(scenario: Mapping[str, Any]) -> float:
    """Return B² along a run without attackers."""
    cell = Scenario(**scenario)
    problem = Objective(cell, World.of(cell))
    trajectory: list[tuple[float, float]] = []

    def observe(step: Step) -> None:
        trajectory.append(theory.spread(problem.moments(step.params)))

    simulate([cell], observe=observe)
    return theory.dissimilarity(trajectory).growth


def check(options: Options) -> None:
    """Refuse what can't be heeded."""
    own = ("seed", "rule", "attack", "byzantine", "tolerated", "quorum")
    uses(options, *own, rules=math.inf, attacks=math.inf)
    classified(options.settings)
    if "none" in options.attacks:
        raise InputError("attacks: 'none' is no attack")
    # What is wrong in every cell is an error, not a breakdown.
    settings = settled(BASE, options.settings)
    for attack in options.attacks or ATTACKS:
        Scenario(**{**settings, "rule": "average", "attack": attack, "byzantine": 1})
    for rule in options.rules:
        Scenario(**{**settings, "rule": rule})


def run(options: Options, work: Work) -> Page:
    """Try the numbers of attackers for every rule, attack, partition and profile."""
    check(options)
    settings = settled(BASE, options.settings)
    most = (int(settings["workers"]) - 1) // 2
    partitions = [settings["partition"]] if "partition" in options.settings else PARTITIONS
    profiles = [settings["hardware"]] if "hardware" in options.settings else HARDWARE
    seeds = options.seeds or SEEDS
    rules, names = options.rules or RULES, options.attacks or ATTACKS
    places = [{**settings, "partition": p, "hardware": h} for p in partitions for h in profiles]
    series = [Series(rule, attack, place) for place in places for rule in rules for attack in names]
    calm = [Scenario(**{**place, "rule": "average", "seed": 0}).to_dict() for place in places]
    grown = work.measure([Task(growth, {"scenario": fields}, [fields]) for fields in calm])
    sweep(series, most, seeds, work)
    return told(Swept(series, places, grown, seeds, most), options)


@dataclass(frozen=True)
class Swept:
    """What was found.

    Attributes:
        series: every rule under every attack in every place.
        places: the fields of where.
        growth: B² of each place, along a run without attackers.
        seeds: how many.
        most: the largest f that was tried.
    """

    series: Sequence[Series]
    places: Sequence[Mapping[str, Any]]
    growth: Sequence[float]
    seeds: int
    most: int

    @property
    def workers(self) -> int:
        """n, the same everywhere."""
        return int(self.places[0]["workers"])

    @property
    def rules(self) -> list[str]:
        """The rules, in their order."""
        return list(dict.fromkeys(one.rule for one in self.series))

    @property
    def limits(self) -> dict[str, float]:
        """1/(2 + B²) of every place, by its label."""
        return {
            _label(place): theory.breakdown_limit(growth)
            for place, growth in zip(self.places, self.growth, strict=True)
        }

    @cached_property
    def worst(self) -> dict[tuple[str, str], Series]:
        """Under the attack of which it tolerates the fewest, every rule in every place."""
        worst: dict[tuple[str, str], Series] = {}
        for one in self.series:
            key = one.rule, _label(one.place)
            if key not in worst or one.tolerated < worst[key].tolerated:
                worst[key] = one
        return worst

    def share(self, rule: str, label: str) -> float:
        """Return the largest f/n that a rule tolerates in a place, under the worst attack."""
        return self.worst[rule, label].tolerated / self.workers

    @cached_property
    def turns(self) -> list[tuple[Series, float]]:
        """Every turn to fewer lost points at more attackers, with its p-value, adjusted for all.

        Three seeds turn by chance: the verdict is on those turns that all tests together show.
        """
        turns = [(one, p) for one in self.series if one.again for p in one.turns.values()]
        chances = holm([p for _, p in turns])
        return [(one, chance) for (one, _), chance in zip(turns, chances, strict=True)]


def _label(place: Mapping[str, Any]) -> str:
    return f"{place['partition']}, {place['hardware']}"


def told(swept: Swept, options: Options) -> Page:
    """Tell what was found."""
    place = swept.places[0]
    names = dict.fromkeys(one.attack for one in swept.series)
    return study(
        "breakdown",
        "Breakdown: the attackers that a rule tolerates",
        [
            f"The largest f/n of {swept.workers} workers up to which the accuracy stays within "
            f"{100 * POINTS:.0f} points of that without attackers, the mean of {swept.seeds} "
            "seeds, each "
            f"compared with itself, each rule told f. Tried is {_grid(swept.most)}: a rule may "
            "tolerate more "
            "attackers than it fails against, and a '*' says that it does. 'refused': the next f "
            "is more than the rule or its quorum takes. The table shows the worst attack.",
            f"{place.get('algorithm', 'hgo')} applies each rule in the scope that the table "
            "says: 'coordinate' is the rule on the values of each coordinate by themselves, for "
            "some not the rule that their papers speak of. The attacks: "
            + ", ".join(map(_spelled, names)) + ".",
            "1/(2 + B²) is where no algorithm is resilient in the worst case over problems with "
            "(G, B)-dissimilar gradients (Allouah et al., NeurIPS 2023), and B² the least that "
            "holds along a run without attackers: the true one may be larger.",
        ],
        options.command("audit breakdown"),
        [_half_reached(swept), _monotone(swept), _limited(swept)],
        [_chart(swept)],
        [_worst_table(swept), _every_table(swept)],
    )  # fmt: skip


def _grid(most: int) -> str:
    """Say which f's are tried."""
    step = math.ceil(most / GRID)
    if step == 1:
        return f"every f from 1 to {most}"
    return (
        f"every {step}th f from {step} to {most}, and all between the last that is tolerated and "
        "the first that is not"
    )


def _half_reached(swept: Swept) -> Finding:
    half = [rule for rule in swept.rules if point(rule) == "1/2"]
    reached = [
        rule
        for rule in half
        if all(one.end in ("refused", "n/2") for one in swept.series if one.rule == rule)
    ]
    return Finding(
        "rules with a breakdown point of 1/2 tolerate every f < n/2 that they take",
        bool(half) and len(reached) == len(half),
        f"of {len(half)} such rules: {', '.join(reached) or 'none'}; losing 5 points is "
        "less than a breakdown, but it is what users see",
    )


def _monotone(swept: Swept) -> Finding:
    breaking = [one for one in swept.series if one.end == "broken"]
    turned = [one for one in swept.series if one.again]
    shown = list({id(one): one for one, chance in swept.turns if chance < LEVEL}.values())
    return Finding(
        "what breaks at some f breaks at every larger one",
        False if shown else None if turned or not breaking else True,
        f"of {len(breaking)} rules and attacks that break {len(turned)} don't in the mean, "
        f"{len(shown)} of them beyond what {swept.seeds} seeds do by chance (paired t tests of "
        f"{len(swept.turns)} pairs, Holm, 5 %)" + (": " if turned else "")
        + "; ".join(map(_turn, (shown or turned)[:3]))
        + ("; .." if len(shown or turned) > 3 else ""),
    )  # fmt: skip


def _limited(swept: Swept) -> Finding:
    limits = swept.limits
    above = sum(swept.share(rule, label) > limits[label] for rule, label in swept.worst)
    best = {label: max(swept.share(rule, label) for rule in swept.rules) for label in limits}
    return Finding(
        "no rule tolerates more than 1/(2 + B²)",
        not above,
        f"{above} of {len(swept.worst)} rules and places do; the best rule and the limit: "
        + "; ".join(f"{label}: {best[label]:.2f}, {limit:.2f}" for label, limit in limits.items())
        + ". It limits what can be promised for all problems with such a B, not every one",
    )


def _chart(swept: Swept) -> Chart:
    rules, limits = swept.rules, swept.limits
    apart = 0.6 / max(len(limits), 1)  # points side by side
    lines = [
        Line(
            label,
            [x + (number - (len(limits) - 1) / 2) * apart for x in range(len(rules))],
            [swept.share(rule, label) for rule in rules],
            style="points",
        )
        for number, label in enumerate(limits)
    ]
    lines += [
        Line(f"1/(2 + B²): {label}", [0, len(rules) - 1], [limit] * 2, style="dashed", like=label)
        for label, limit in limits.items()
    ]
    title = "Largest f/n within 5 points of clean, worst attack"
    return Chart("largest", title, "", "f/n", lines, ticks=rules)


def _worst_table(swept: Swept) -> Table:
    limits, place = swept.limits, swept.places[0]

    def cell(rule: str, label: str) -> str:
        one = swept.worst[rule, label]
        end = one.attack if one.end == "broken" else one.end
        return f"{swept.share(rule, label):.2f} ({end})" + " *" * bool(one.again)

    rows = [
        [rule, _scope(rule, place), point(rule), *(cell(rule, label) for label in limits)]
        for rule in swept.rules
    ]
    rows.append(["1/(2 + B²)", "", "", *(f"{limit:.3f}" for limit in limits.values())])
    header = ["rule", "scope", "theory", *limits]
    return Table("worst", "Largest f/n, worst attack", header, rows)


def _every_table(swept: Swept) -> Table:
    scopes = {rule: _scope(rule, swept.places[0]) for rule in swept.rules}
    rows: list[list[Cell]] = [
        [
            one.rule, scopes[one.rule], one.attack, one.place["partition"], one.place["hardware"],
            one.clean, one.tolerated, one.tolerated / swept.workers, one.end,
            "" if one.broken is None else one.broken,
            " ".join(map(str, one.again)), " ".join(map(str, one.tried)),
        ]
        for one in swept.series
    ]  # fmt: skip
    header = [
        "rule", "scope", "attack", "partition", "hardware", "clean", "f", "f/n", "beyond",
        "first f that breaks", "tolerated again", "tried",
    ]  # fmt: skip
    return Table("every", "Every rule and attack", header, rows)


def _turn(one: Series) -> str:
    """Say how one series turns."""
    again = ", ".join(map(str, one.again))
    return (
        f"{one.rule} under {one.attack} ({one.place['partition']}, {one.place['hardware']}) breaks "
        f"at {one.broken} and not at {again}"
    )


def _scope(rule: str, place: Mapping[str, Any]) -> str:
    """Return the scope in which a rule is applied."""
    return str(Scenario(**{**place, "rule": rule}).scope)


def _spelled(attack: str) -> str:
    """Write an attack with the parameters that it has by default."""
    parts = []
    owners = attacks.registry.named(attack)
    for part, (owner, name) in zip(attacks.registry.split(attack), owners, strict=True):
        defaults = ", ".join(
            f"{key}={format_value(parameter.default)}"
            for key, parameter in owner.entry(name).signature.items()
            if parameter.default is not parameter.empty
        )
        parts.append(f"{name}[{defaults}]" if defaults and part == name else part)
    return "+".join(parts)


def point(rule: str) -> str:
    """Return the breakdown point that a rule is known to have; of a chain that of its rule."""
    last = aggregators.registry.split(rule)[-1]
    factory = aggregators.registry.entry(aggregators.registry.bare(last)).factory
    return str(getattr(factory, "breakdown", ""))
