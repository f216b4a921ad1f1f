"""Breakdown: the largest share of attackers that a rule stands, by bisection."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hgobench import aggregators, theory
from hgobench.data import datasets
from hgobench.errors import InputError
from hgobench.execution.measured import Task
from hgobench.results import Result
from hgobench.scenario import Scenario
from hgobench.simulation import Step, simulate
from hgobench.theory import Objective
from hgobench.world import World

from .base import Options, Work, classified, settled, uses
from .study import Chart, Finding, Line, Study, Table

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


@dataclass
class Search:
    """The bisection of one rule under one attack in one place.

    Attributes:
        rule, attack: who against whom.
        place: the fields of where.
        stood: the largest f that is known to be stood; 0: none.
        broken: the least f that is known not to be.
        refused: the least f that the rule or its quorum refuses; None: none so far.
        asked: the f's that were tried.
        clean: the mean accuracy without attackers.
        learns: whether that is better than chance.
        failed: whether a cell with more attackers raised or ran out of time.
    """

    rule: str
    attack: str
    place: Mapping[str, Any]
    stood: int
    broken: int
    refused: int | None = None
    asked: list[int] = field(default_factory=list)
    clean: float = 0.0
    learns: bool = True
    failed: bool = False

    @property
    def end(self) -> str:
        """Say why it is not more."""
        if self.failed:
            return "failed"
        if not self.learns:
            return "learns nothing"
        if self.refused == self.broken:
            return "refused"
        return "broken" if self.broken in self.asked else "n/2"

    @property
    def next(self) -> int | None:
        """The f to try; None: it is found."""
        return (self.stood + self.broken) // 2 if self.broken - self.stood > 1 else None

    def cells(self, f: int, seeds: int) -> list[Scenario] | None:
        """Return the cells with f attackers; None: they are refused."""
        attack = self.attack if f else "none"
        fields = {**self.place, "rule": self.rule, "attack": attack, "byzantine": f}
        try:
            return [Scenario(**fields, seed=seed) for seed in range(seeds)]
        except InputError:
            return None


def bisect(searches: Sequence[Search], seeds: int, work: Work) -> None:
    """Find the largest f of all searches, side by side, in place.

    That a rule which stands f attackers stands fewer is taken for granted.
    """
    clean = work.execute([cell for search in searches for cell in search.cells(0, seeds) or ()])
    for search in searches:
        calm = search.cells(0, seeds) or []
        chance = 1.0 / max(datasets.load(calm[0].data).classes, 1)
        search.clean = float(np.mean([accuracy(clean[cell]) for cell in calm]))
        search.failed = any(clean[cell].status == "failed" for cell in calm)
        if search.clean < chance + 2 * POINTS:
            search.learns, search.broken = False, 0
    while any(search.next is not None for search in searches):
        asked: list[tuple[Search, int, list[Scenario]]] = []
        for search in searches:
            # What is refused costs nothing to ask.
            while (f := search.next) is not None:
                cells = search.cells(f, seeds)
                if cells is not None:
                    asked.append((search, f, cells))
                    break
                search.broken, search.refused = f, f
        found = work.execute([cell for _, _, cells in asked for cell in cells])
        for search, f, cells in asked:
            before = search.cells(0, seeds) or []
            lost = np.mean(
                [
                    accuracy(clean[c]) - accuracy(found[a])
                    for c, a in zip(before, cells, strict=True)
                ]
            )
            search.asked.append(f)
            if lost <= POINTS:
                search.stood = f
            else:
                search.broken = f
                search.failed = any(found[cell].status == "failed" for cell in cells)


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

    simulate([cell], width=1, observe=observe)
    return theory.dissimilarity(trajectory).growth


def check(options: Options) -> None:
    """Refuse what can't be heeded."""
    own = ("seed", "rule", "attack", "byzantine", "tolerated", "quorum")
    uses(options, *own, rules=math.inf, attacks=math.inf)
    classified(options.settings)
    if "none" in options.attacks:
        raise InputError("--attack: 'none' is no attack")
    # What is wrong in every cell is an error, not a breakdown.
    settings = settled(BASE, options.settings)
    for attack in options.attacks or ATTACKS:
        Scenario(**{**settings, "rule": "average", "attack": attack, "byzantine": 1})
    for rule in options.rules:
        Scenario(**{**settings, "rule": rule})


def run(options: Options, work: Work) -> Study:
    """Bisect over f for every rule, attack, partition and profile."""
    check(options)
    settings = settled(BASE, options.settings)
    most = (int(settings["workers"]) + 1) // 2
    partitions = [settings["partition"]] if "partition" in options.settings else PARTITIONS
    profiles = [settings["hardware"]] if "hardware" in options.settings else HARDWARE
    seeds = options.seeds or SEEDS
    rules, names = options.rules or RULES, options.attacks or ATTACKS
    places = [{**settings, "partition": p, "hardware": h} for p in partitions for h in profiles]
    searches = [
        Search(rule, attack, place, 0, most)
        for place in places
        for rule in rules
        for attack in names
    ]
    calm = [Scenario(**{**place, "rule": "average", "seed": 0}).to_dict() for place in places]
    grown = work.measure([Task(growth, {"scenario": fields}, [fields]) for fields in calm])
    bisect(searches, seeds, work)
    labels = [f"{place['partition']}, {place['hardware']}" for place in places]
    return _study(searches, places, labels, grown, options, seeds)


def _study(
    searches: Sequence[Search],
    places: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    grown: Sequence[float],
    options: Options,
    seeds: int,
) -> Study:
    workers = int(places[0]["workers"])
    rules = list(dict.fromkeys(search.rule for search in searches))
    worst: dict[tuple[str, str], Search] = {}
    for search in searches:
        key = search.rule, labels[list(places).index(search.place)]
        if key not in worst or search.stood < worst[key].stood:
            worst[key] = search
    limits = {
        label: theory.breakdown_limit(value) for label, value in zip(labels, grown, strict=True)
    }

    def told(search: Search) -> str:
        end = search.attack if search.end == "broken" else search.end
        return f"{search.stood / workers:.2f} ({end})"

    rows: list[list[str | float | int]] = [
        [rule, point(rule), *(told(worst[rule, label]) for label in labels)] for rule in rules
    ]
    rows.append(["1/(2 + B²)", "", *(f"{limits[label]:.3f}" for label in labels)])
    every: list[list[str | float | int]] = [
        [
            search.rule, search.attack, search.place["partition"], search.place["hardware"],
            search.clean, search.stood, search.stood / workers,
            search.end,
            " ".join(map(str, search.asked)),
        ]
        for search in searches
    ]  # fmt: skip
    above = sum(search.stood / workers > limits[label] for (_, label), search in worst.items())
    best = {label: max(worst[rule, label].stood for rule in rules) / workers for label in labels}
    reached = [
        rule
        for rule in rules
        if all(
            search.end in ("refused", "n/2")
            for search in searches
            if search.rule == rule and point(rule) == "1/2"
        )
        and point(rule) == "1/2"
    ]
    half = [rule for rule in rules if point(rule) == "1/2"]
    apart = 0.6 / max(len(labels), 1)  # points side by side
    lines = [
        Line(
            label,
            [x + (number - (len(labels) - 1) / 2) * apart for x in range(len(rules))],
            [worst[rule, label].stood / workers for rule in rules],
            style="points",
        )
        for number, label in enumerate(labels)
    ]
    lines += [
        Line(f"1/(2 + B²): {label}", [0, len(rules) - 1], [limits[label]] * 2, style="dashed",
             like=label)
        for label in labels
    ]  # fmt: skip
    return Study(
        "breakdown",
        "Breakdown: the attackers that a rule stands",
        [
            f"The largest f/n of {workers} workers under which the accuracy stays within "
            f"{100 * POINTS:.0f} points of that without attackers, the mean of {seeds} seeds, each "
            "compared with itself; by bisection over f, each rule told f. 'refused': the next f "
            "is more than the rule or its quorum takes. The table shows the worst attack.",
            "1/(2 + B²) is where no algorithm is resilient in the worst case over problems with "
            "(G, B)-dissimilar gradients (Allouah et al., NeurIPS 2023), and B² the least that "
            "stands along a run without attackers: the true one may be larger.",
        ],
        options.command("audit breakdown"),
        [
            Finding(
                "rules with a breakdown point of 1/2 stand every f < n/2 that they take",
                bool(half) and len(reached) == len(half),
                f"of {len(half)} such rules: {', '.join(reached) or 'none'}; losing 5 points is "
                "less than a breakdown, but it is what users see",
            ),
            Finding(
                "no rule stands more than 1/(2 + B²)",
                not above,
                f"{above} of {len(worst)} rules and places do; the best rule and the limit: "
                + "; ".join(f"{label}: {best[label]:.2f}, {limits[label]:.2f}" for label in labels)
                + ". It limits what can be promised for all problems with such a B, not every one",
            ),
        ],
        [
            Chart("largest", "Largest f/n within 5 points of clean, worst attack", "", "f/n",
                  lines, ticks=rules)
        ],
        [
            Table("worst", "Largest f/n, worst attack", ["rule", "theory", *labels], rows),
            Table("every", "Every bisection",
                  ["rule", "attack", "partition", "hardware", "clean", "f", "f/n", "at f + 1",
                   "tried"],
                  every),
        ],
    )  # fmt: skip


def point(rule: str) -> str:
    """Return the breakdown point that a rule is known to have; of a chain that of its rule."""
    last = aggregators.registry.split(rule)[-1]
    factory = aggregators.registry.entry(aggregators.registry.bare(last)).factory
    return str(getattr(factory, "breakdown", ""))
