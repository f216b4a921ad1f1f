"""Breakdown: how many attackers a rule tolerates, by trying every number of them."""

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

from .base import Options, Work, merge_settings, reject_unused_options, require_classes

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
POINTS = 0.05  # loss of accuracy that is no breakdown
GRID = 12  # numbers of attackers in the first pass


@dataclass
class Series:
    """A rule under an attack with growing numbers of attackers.

    Attributes:
        rule, attack: their names.
        place: the other fields of the scenario: data, partition, hardware, ...
        clean: the mean accuracy without attackers.
        learns: whether that is better than chance.
        costs: f -> (seeds,) loss of accuracy with f attackers, for every f that was tried.
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
        """The f's that were tried, ascending."""
        return sorted(self.costs)

    def breaks(self, f: int) -> bool:
        """Return whether f attackers cost more than `POINTS`, in the mean over seeds."""
        return float(self.costs[f].mean()) > POINTS

    @property
    def broken(self) -> int | None:
        """The least f that was tried and breaks the rule; None: none does."""
        if not self.learns:
            return 0
        return next((f for f in self.tried if self.breaks(f)), None)

    @property
    def tolerated(self) -> int:
        """The largest f up to which every f that was tried is tolerated."""
        broken = self.broken
        return max((f for f in self.tried if broken is None or f < broken), default=0)

    @property
    def recovered(self) -> list[int]:
        """The f's above the first that breaks the rule that are tolerated again."""
        broken = self.broken
        if broken is None or not self.learns:
            return []
        return [f for f in self.tried if f > broken and not self.breaks(f)]

    @property
    def recoveries(self) -> dict[int, float]:
        """p-values of each recovered f costing less than the first that breaks (paired t test)."""
        if self.broken is None:
            return {}
        breaking = self.costs.get(self.broken, np.zeros(1))
        return {f: exceeds(breaking - self.costs[f], 0.0) for f in self.recovered}

    @property
    def stop_reason(self) -> str:
        """Why no larger f is tolerated."""
        if self.failed and self.broken in (0, *self.failed):
            return "failed"
        if not self.learns:
            return "learns nothing"
        if self.broken is not None:
            return "broken"
        return "refused" if self.refused else "n/2"

    def cells(self, f: int, seeds: int) -> list[Scenario] | None:
        """Return the cells with f attackers, one per seed; None: they are refused."""
        attack = self.attack if f else "none"
        fields = {**self.place, "rule": self.rule, "attack": attack, "byzantine": f}
        try:
            return [Scenario(**fields, seed=seed) for seed in range(seeds)]
        except InputError:
            return None


def sweep(series: Sequence[Series], most: int, seeds: int, work: Work) -> None:
    """Try every f from 1 to `most`; of many a grid first, then all below the first that breaks.

    Larger f are tried too, as a rule may break at some f and tolerate a larger one.
    """
    clean = work.execute([cell for line in series for cell in line.cells(0, seeds) or ()])
    for line in series:
        clean_cells = line.cells(0, seeds) or []
        chance = 1.0 / max(datasets.load(clean_cells[0].data).classes, 1)
        line.clean = float(np.mean([accuracy(clean[cell]) for cell in clean_cells]))
        line.learns = line.clean >= chance + 2 * POINTS
        if any(clean[cell].status == "failed" for cell in clean_cells):
            line.failed.add(0)
    learning = [line for line in series if line.learns]
    step = math.ceil(most / GRID)
    coarse = range(step, most + 1, step)
    _try([(line, f) for line in learning for f in coarse], clean, seeds, work)
    _try(
        [
            (line, f)
            for line in learning
            # If nothing breaks: the f's above the last that was tried.
            for f in range(line.tolerated + 1, min(line.broken or most + 1, line.tolerated + step))
        ],
        clean, seeds, work,
    )  # fmt: skip


def _try(
    pairs: Sequence[tuple[Series, int]],
    clean: Mapping[Scenario, Result],
    seeds: int,
    work: Work,
) -> None:
    """Run the cells of some f's, and add the results to their series."""
    cells = {(number, f): line.cells(f, seeds) for number, (line, f) in enumerate(pairs)}
    results = work.execute([cell for cells_of in cells.values() for cell in cells_of or ()])
    for (line, f), cells_of in zip(pairs, cells.values(), strict=True):
        if cells_of is None:
            line.refused.add(f)
            continue
        clean_cells = line.cells(0, seeds) or []
        line.costs[f] = np.array(
            [
                accuracy(clean[c]) - accuracy(results[a])
                for c, a in zip(clean_cells, cells_of, strict=True)
            ]
        )
        if any(results[cell].status == "failed" for cell in cells_of):
            line.failed.add(f)


def accuracy(result: Result) -> float:
    """Return the last accuracy; 0 if the cell failed or diverged."""
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
    """Raise InputError for options that this audit does not use."""
    chosen = ("seed", "rule", "attack", "byzantine", "tolerated", "quorum")
    reject_unused_options(options, *chosen, rules=math.inf, attacks=math.inf)
    require_classes(options.settings)
    if "none" in options.attacks:
        raise InputError("attacks: 'none' is no attack")
    # What is wrong in every cell is an error, not a breakdown.
    settings = merge_settings(BASE, options.settings)
    for attack in options.attacks or ATTACKS:
        Scenario(**{**settings, "rule": "average", "attack": attack, "byzantine": 1})
    for rule in options.rules:
        Scenario(**{**settings, "rule": rule})


def run(options: Options, work: Work) -> Page:
    """Find the number of attackers that each rule tolerates, per attack, partition and profile."""
    check(options)
    settings = merge_settings(BASE, options.settings)
    largest = (int(settings["workers"]) - 1) // 2
    partitions = [settings["partition"]] if "partition" in options.settings else PARTITIONS
    profiles = [settings["hardware"]] if "hardware" in options.settings else HARDWARE
    seeds = options.seeds or SEEDS
    rules, names = options.rules or RULES, options.attacks or ATTACKS
    places = [{**settings, "partition": p, "hardware": h} for p in partitions for h in profiles]
    series = [Series(rule, attack, place) for place in places for rule in rules for attack in names]
    clean = [Scenario(**{**place, "rule": "average", "seed": 0}).to_dict() for place in places]
    growths = work.measure([Task(growth, {"scenario": fields}, [fields]) for fields in clean])
    sweep(series, largest, seeds, work)
    return page(Swept(series, places, growths, seeds, largest), options)


@dataclass(frozen=True)
class Swept:
    """The results.

    Attributes:
        series: every rule under every attack in every place.
        places: the fields of the places.
        growth: B² of each place, along a run without attackers.
        seeds: number of seeds.
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
        return list(dict.fromkeys(line.rule for line in self.series))

    @property
    def limits(self) -> dict[str, float]:
        """1/(2 + B²) of every place, by its label."""
        return {
            _label(place): theory.breakdown_limit(growth)
            for place, growth in zip(self.places, self.growth, strict=True)
        }

    @cached_property
    def worst(self) -> dict[tuple[str, str], Series]:
        """The series with the fewest tolerated attackers, by rule and place."""
        worst: dict[tuple[str, str], Series] = {}
        for line in self.series:
            key = line.rule, _label(line.place)
            if key not in worst or line.tolerated < worst[key].tolerated:
                worst[key] = line
        return worst

    def share(self, rule: str, label: str) -> float:
        """Return the largest f/n that a rule tolerates in a place, under the worst attack."""
        return self.worst[rule, label].tolerated / self.workers

    @cached_property
    def recoveries(self) -> list[tuple[Series, float]]:
        """Every recovery at a larger f, with its p-value, adjusted for all tests (Holm).

        With three seeds some recover by chance: the verdict is on those that remain significant.
        """
        recoveries = [
            (line, p) for line in self.series if line.recovered for p in line.recoveries.values()
        ]
        chances = holm([p for _, p in recoveries])
        return [(line, chance) for (line, _), chance in zip(recoveries, chances, strict=True)]


def _label(place: Mapping[str, Any]) -> str:
    return f"{place['partition']}, {place['hardware']}"


def page(swept: Swept, options: Options) -> Page:
    """Return the page of the results."""
    place = swept.places[0]
    names = dict.fromkeys(line.attack for line in swept.series)
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
    """Describe the f's that are tried."""
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
        if all(line.stop_reason in ("refused", "n/2") for line in swept.series if line.rule == rule)
    ]
    return Finding(
        "rules with a breakdown point of 1/2 tolerate every f < n/2 that they take",
        bool(half) and len(reached) == len(half),
        f"{len(reached)} of {len(half)} such rules do{': ' * bool(reached)}{', '.join(reached)}; "
        "to lose 5 points is not to tolerate, though it is less than a breakdown",
    )


def _monotone(swept: Swept) -> Finding:
    breaking = [line for line in swept.series if line.stop_reason == "broken"]
    recovered = [line for line in swept.series if line.recovered]
    significant = list(
        {id(line): line for line, chance in swept.recoveries if chance < LEVEL}.values()
    )
    return Finding(
        "what breaks at some f breaks at every larger one",
        False if significant else None if recovered or not breaking else True,
        f"{len(recovered)} of {len(breaking)} pairs of rule and attack that break at some f do not "
        f"in the mean at a larger one, {len(significant)} of them beyond what {swept.seeds} seeds "
        f"do by chance (paired t tests of {len(swept.recoveries)} pairs, Holm, 5 %)"
        + (": " if recovered else "")
        + "; ".join(map(_recovery, (significant or recovered)[:3]))
        + ("; .." if len(significant or recovered) > 3 else ""),
    )  # fmt: skip


def _limited(swept: Swept) -> Finding:
    limits = swept.limits
    above = sum(swept.share(rule, label) > limits[label] for rule, label in swept.worst)
    best = {label: max(swept.share(rule, label) for rule in swept.rules) for label in limits}
    return Finding(
        "no rule tolerates more than 1/(2 + B²)",
        not above,
        f"{above} of {len(swept.worst)} rules and settings do; the best rule and the limit: "
        + "; ".join(f"{label}: {best[label]:.2f}, {limit:.2f}" for label, limit in limits.items())
        + "; it limits what can be promised for all problems with such a B, not single problems",
    )


def _chart(swept: Swept) -> Chart:
    rules, limits = swept.rules, swept.limits
    gap = 0.6 / max(len(limits), 1)  # points side by side
    lines = [
        Line(
            label,
            [x + (number - (len(limits) - 1) / 2) * gap for x in range(len(rules))],
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
        line = swept.worst[rule, label]
        end = line.attack if line.stop_reason == "broken" else line.stop_reason
        return f"{swept.share(rule, label):.2f} ({end})" + " *" * bool(line.recovered)

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
            line.rule, scopes[line.rule], line.attack, line.place["partition"],
            line.place["hardware"],
            line.clean, line.tolerated, line.tolerated / swept.workers, line.stop_reason,
            "" if line.broken is None else line.broken,
            " ".join(map(str, line.recovered)), " ".join(map(str, line.tried)),
        ]
        for line in swept.series
    ]  # fmt: skip
    header = [
        "rule", "scope", "attack", "partition", "hardware", "clean", "f", "f/n", "beyond",
        "first f that breaks", "tolerated again", "tried",
    ]  # fmt: skip
    return Table("every", "Every rule and attack", header, rows)


def _recovery(series: Series) -> str:
    """Describe the recovery of a series."""
    recovered = ", ".join(map(str, series.recovered))
    return (
        f"{series.rule} under {series.attack} ({series.place['partition']}, "
        f"{series.place['hardware']}) breaks at {series.broken} and not at {recovered}"
    )


def _scope(rule: str, place: Mapping[str, Any]) -> str:
    """Return the scope in which a rule is applied."""
    return str(Scenario(**{**place, "rule": rule}).scope)


def _spelled(attack: str) -> str:
    """Return an attack's name with its default parameters."""
    names = []
    owners = attacks.registry.named(attack)
    for link, (owner, name) in zip(attacks.registry.split(attack), owners, strict=True):
        defaults = ", ".join(
            f"{key}={format_value(parameter.default)}"
            for key, parameter in owner.entry(name).signature.items()
            if parameter.default is not parameter.empty
        )
        names.append(f"{name}[{defaults}]" if defaults and link == name else link)
    return "+".join(names)


def point(rule: str) -> str:
    """Return the breakdown point known of a rule; for a chain, that of its last rule."""
    last = aggregators.registry.split(rule)[-1]
    factory = aggregators.registry.entry(aggregators.registry.bare(last)).factory
    return str(getattr(factory, "breakdown", ""))
