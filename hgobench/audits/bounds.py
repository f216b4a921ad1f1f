"""The paper's bounds, Lemma 1 and Theorems 1 and 2, against both sides measured at every k."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import aggregators, attacks, theory
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.report.page import Cell, Chart, Finding, Line, Page, Table, study
from hgobench.scenario import Scenario
from hgobench.simulation import Step, simulate
from hgobench.simulation.world import World
from hgobench.theory import Curvature, Objective
from hgobench.theory.robustness import exact_coefficient

from . import robustness
from .base import Options, Work, merge_settings, reject_unused_options

Floats = NDArray[np.float64]

BASE: dict[str, Any] = {
    "workers": 20,
    "byzantine": 3,
    "quorum": 15,
    "batch_size": 16,
    "rounds": 100,
    "evaluation_interval": 100,
    "partition": "dirichlet[alpha=1.0]",
}
# Strongly convex and smooth, with the optimum in closed form.
PROBLEMS: dict[str, dict[str, Any]] = {
    "quadratic": {"data": "digits", "model": "quadratic[condition=4.0]"},
    "ridge": {"data": "breast_cancer", "model": "linear[ridge=0.5]"},
}
# The same in one dimension, with whole shards as minibatches: everything is known in closed form.
POINTS: dict[str, Any] = {
    "data": "hgobench.audits.outsiders:Points",
    "model": "quadratic[condition=1.0]",
    "partition": "hgobench.audits.outsiders:Outsiders",
    "hardware": "rare_labels+mix[weak=0.9,average=0.0,powerful=0.1,weak_mean=0.1,weak_std=0.0]",
    "rule": "average",
    "byzantine": 0,
    "quorum": 2,
    "batch_size": 1,
    "rounds": 20,
    "evaluation_interval": 20,
}
# Only two fast workers answer, whose data is unlike that of all others; there are no attackers.
OUTSIDERS: dict[str, Any] = {
    "data": "digits",
    "model": "quadratic[condition=1.0]",
    "partition": "hgobench.audits.outsiders:Outsiders",
    "hardware": "rare_labels+mix[weak=0.9,average=0.0,powerful=0.1,weak_mean=0.1,weak_std=0.0]",
    "byzantine": 0,
    "quorum": 2,
    "batch_size": 55,
    "rounds": 1000,
    "evaluation_interval": 1000,
}
HETEROGENEITY = ("tail+foe", "starve+foe", "flood+alie", "late+none", "lookalike+alie")
SEEDS = 20
STEPS = {
    "block": "γ = 0.99/Σ L_j",
    "dimension": "γ = 0.99/(√d·max L_j)",
}
VARIANTS = ("published", "corrected")
SHARES = (0.0, 0.25, 0.5, 0.75)  # of the largest Q_w with ΔB < 1; each gives a valid bound
CHANCE = 0.01  # probability that a valid bound counts as violated somewhere along a run
DIGITS = 7


def coefficients(scenario: Scenario, work: Work) -> dict[str, float]:
    """Return Δ(v, f) as the paper has it, and the least that is known, by variant.

    Each holds for any number of answers from v to q: the least Δ need not fall with the number. If
    neither is known of a rule, both are the largest ratio that a search finds, a lower bound: on
    single coordinates, or on vectors if the rule is applied to vectors.
    """
    f, rule = scenario.tolerated, scenario.rule
    answers = range(scenario.quorum, scenario.sampled + 1)
    values = [exact_coefficient(rule, m - f, f) for m in answers]
    # A rule may have a Δ on single coordinates and none on vectors.
    on_vectors = scenario.scope != "coordinate" and robustness.defined_on(rule) != "coordinate"
    if values[0] is None:
        needs = ", ".join(aggregators.build(rule, f=f).needs)
        if needs:
            raise InputError(f"rule: {rule!r} needs {needs}; Definition 1 knows values alone")
        searches = [
            robustness.task(rule, m, f, 0, dimension)
            for m in answers
            for dimension in ((1, robustness.DIMENSION) if on_vectors else (1,))
        ]
        results = [robustness.Largest(**value) for value in work.measure(searches)]
        if reasons := [value.reason for value in results if value.ratio is None]:
            raise InputError(reasons[0])
        values = [value.ratio for value in results]
    least = max(value for value in values if value is not None)
    published = least
    if rule == "trimmed_mean":
        published = theory.trimmed_mean_coefficient(answers[0] - f, f)
    return {"published": published, "corrected": least}


@dataclass(frozen=True)
class Sides:
    """Both sides of every bound along one run, for k = 1 .. K.

    After a divergence the left sides are infinite.

    Attributes:
        attack: the run's.
        status: how it ended.
        learning_rate: the run's.
        allowed: whether one of the papers allows that rate; None: unknown.
        excess: L(w_k) - L*; NaN: unknown.
        gradient: ‖∇L(w_k)‖².
        theorem_1, theorem_2: the right-hand sides by variant; empty if the theorem does not apply.
        lemma: the excess of Lemma 1's inner product over its bound, by variant.
    """

    attack: str
    status: str
    learning_rate: float
    allowed: bool | None
    excess: list[float]
    gradient: list[float]
    theorem_1: dict[str, list[float]]
    theorem_2: dict[str, list[float]]
    lemma: dict[str, list[float]]


def trace(
    scenarios: Sequence[Mapping[str, Any]], step: str, deltas: Mapping[str, float]
) -> list[Sides]:
    """Run cells of one world, and return both sides of every bound at every round, of each.

    Args:
        scenarios: the cells' fields.
        step: the learning rate: a key of `STEPS`, or ``"given"``: the scenario's.
        deltas: Δ by variant.
    """
    cells = [Scenario(**fields) for fields in scenarios]
    world = World.of(cells[0])
    problem = Objective(cells[0], world)
    if step != "given":
        curvature = problem.curvature
        rate = 0.99 * (curvature.block_step if step == "block" else curvature.dimension_step)
        cells = [cell.replace(learning_rate=rate) for cell in cells]
    traces = {cell: Trace(cell, problem, deltas) for cell in cells}
    results = simulate(cells, observe=lambda step: traces[step.scenario].add(step))
    failed = [result for result in results if result.status == "failed"]
    if failed:
        raise RuntimeError(f"{failed[0].scenario}: {failed[0].reason}")
    return [traces[cell].sides(result.status) for cell, result in zip(cells, results, strict=True)]


def as_json(**arguments: Any) -> list[dict[str, Any]]:
    """Return the value of `trace` as data for JSON."""
    return [asdict(sides) for sides in trace(**arguments)]


class Trace:
    """Collects the quantities of the bounds along one run.

    Assumption 4 holds with many pairs (M_w, Q_w), and each gives valid bounds. The theorems use the
    pair with the least error at w_1, chosen before the run; Lemma 1 the best pair.

    Args:
        scenario: the run's.
        problem: its objective.
        deltas: Δ by variant.
    """

    def __init__(self, scenario: Scenario, problem: Objective, deltas: Mapping[str, float]) -> None:
        self.scenario, self.problem, self.deltas = scenario, problem, deltas
        among = scenario.quorum - scenario.tolerated
        self.among = {"published": None, "corrected": among}
        self.excess: list[float] = []
        self.gradient: list[float] = []
        self.block: list[int] = []
        self.inner: list[float] = []
        self.norm: list[float] = []
        self.error: dict[str, list[list[float]]] = {name: [] for name in VARIANTS}
        self.growth: dict[str, Floats] = {}
        try:
            self.curvature: Curvature | None = problem.curvature
        except InputError:
            self.curvature = None
        self.closed = self.curvature is not None and self.curvature.hessian is not None

    def add(self, step: Step) -> None:
        """Add a step, before it is taken."""
        moments = self.problem.moments(step.params)
        self.excess.append(self.problem.excess(step.params) if self.closed else math.nan)
        self.gradient.append(float(np.square(moments.gradient).sum()))
        aggregate = step.aggregate.double().numpy()
        on_block = moments.gradient[: len(aggregate)]
        if step.block is not None:
            on_block = moments.gradient[step.block.numpy()]
        self.block.append(len(aggregate))
        self.inner.append(float(aggregate @ on_block))
        self.norm.append(float(on_block @ on_block))
        for name in VARIANTS:
            among = self.among[name]
            unit = moments.noise_growth(self.problem.factor, 1.0, among)
            limit = self.deltas[name] * unit
            pairs = [share / limit if limit > 0 else 0.0 for share in SHARES]
            self.growth[name] = np.array(pairs) * unit
            self.error[name].append(
                [moments.statistical_error(self.problem.factor, growth, among) for growth in pairs]
            )

    def sides(self, status: str = "done") -> Sides:
        """Return both sides of all bounds, for k = 1 .. K.

        Args:
            status: how the run ended.
        """
        scenario, length = self.scenario, len(self.block)
        missing = scenario.rounds - length
        allowed = None
        if self.curvature is not None:
            allowed = scenario.learning_rate < max(
                self.curvature.block_step, self.curvature.dimension_step
            )
        first, second, lemma = {}, {}, {}
        for name in VARIANTS:
            if length:
                second[name], lemma[name] = self._second(name), self._lemma(name)
            else:  # it diverged before the first step
                second[name] = lemma[name] = [math.inf] * scenario.rounds
            if self.closed:
                first[name] = self._first(name) if length else [math.inf] * scenario.rounds
        return Sides(
            scenario.attack,
            status,
            scenario.learning_rate,
            allowed,
            _short([*self.excess, *[math.inf] * missing]),
            _short([*self.gradient, *[math.inf] * missing]),
            first,
            second,
            lemma,
        )

    def _shared(self, name: str) -> dict[str, Any]:
        """Return the arguments that the theorems share, in one variant."""
        missing = self.scenario.rounds - len(self.block)
        error = np.array([*self.error[name], *self.error[name][-1:] * missing])
        with np.errstate(invalid="ignore"):
            pair = int(np.argmin(error[0] / (1.0 - np.array(SHARES))))
        return {
            "block": np.minimum.accumulate([*self.block, *self.block[-1:] * missing]),
            "dimension": self.problem.dimension,
            "learning_rate": self.scenario.learning_rate,
            "delta": self.deltas[name],
            "error": np.maximum.accumulate(error[:, pair]),
            "growth": self.growth[name][pair],
        }

    def _first(self, name: str) -> list[float]:
        assert self.curvature is not None
        convexity = self.curvature.strong_convexity
        steps, shared = np.arange(self.scenario.rounds), self._shared(name)
        return _short(theory.theorem_1(steps, self.excess[0], strong_convexity=convexity, **shared))

    def _second(self, name: str) -> list[float]:
        initial = self.excess[0] if self.closed else self.problem.loss(self.problem.initial())
        steps = np.arange(self.scenario.rounds) + 1
        return _short(theory.theorem_2(steps, initial, **self._shared(name)))

    def _lemma(self, name: str) -> list[float]:
        norm, error = np.array(self.norm)[:, None], np.array(self.error[name])
        promised = theory.lemma_1(norm, self.deltas[name], error, self.growth[name]).max(axis=1)
        missing = self.scenario.rounds - len(self.block)
        return _short([*(np.array(self.inner) - promised), *[math.inf] * missing])


def _short(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def check(options: Options) -> None:
    """Raise InputError for options that this audit does not use."""
    chosen = ("seed", "rule", "attack", "schedule", "solver", "algorithm", "granularity", "cost")
    reject_unused_options(options, *chosen, rules=1, attacks=math.inf)


def run(options: Options, work: Work) -> Page:
    """Run HGO under every attack with both step sizes, and compare both sides of every bound."""
    check(options)
    problems = {"yours": dict(options.settings)} if options.settings else PROBLEMS
    seeds = options.seeds or SEEDS
    rule = options.rules[0] if options.rules else "trimmed_mean"
    names = options.attacks or (*attacks.registry.names(), *HETEROGENEITY)
    groups: dict[tuple[str, str], list[Task]] = {}
    for problem, fields in problems.items():
        for step in ("given",) if "learning_rate" in fields else STEPS:
            groups[problem, step] = tasks(
                {**merge_settings(BASE, fields), "rule": rule}, names, step, range(seeds), work
            )
    if not options.settings and not options.rules:
        groups["points", "block"] = tasks(  # of one coordinate both steps are 0.99/L
            {**BASE, **POINTS}, ("none",), "block", range(seeds), work
        )
        for step in STEPS:
            groups["outsiders", step] = tasks(
                {**BASE, **OUTSIDERS}, ("none",), step, range(seeds), work
            )
    values = iter(work.measure([task for group in groups.values() for task in group]))
    traced = {
        key: [[Sides(**sides) for sides in next(values)] for _ in group]
        for key, group in groups.items()
    }
    deltas = next(iter(groups.values()))[0].arguments["deltas"]
    return _page(Audited(rule, deltas, seeds, traced), options)


def tasks(
    fields: Mapping[str, Any], names: Sequence[str], step: str, seeds: Iterable[int], work: Work
) -> list[Task]:
    """Return the tasks that trace a problem under some attacks, one per seed."""
    tasks_ = []
    plain = Scenario(**{**fields, "attack": "none"})
    attacked = plain.byzantine > 0
    if min(plain.byzantine, plain.sampled) > plain.tolerated:
        raise InputError(
            f"byzantine: {plain.byzantine}; the bounds are for at most tolerated="
            f"{plain.tolerated}, which a quorum of {plain.quorum} tolerates"
        )
    deltas = coefficients(plain, work)
    for seed in seeds:
        cells = [
            Scenario(**{**fields, "seed": seed, "attack": name if attacked else "none"})
            for name in (names if attacked else names[:1])
        ]
        values = [cell.to_dict() for cell in cells]
        arguments = {"scenarios": values, "step": step, "deltas": deltas}
        tasks_.append(Task(as_json, arguments, values))
    return tasks_


class Comparison:
    """A bound on one problem under one attack: both sides at every k, (seeds, K).

    Attributes:
        violated: the k's (from 1) at which the mean over seeds of left - right is significantly
            above 0: one-sided t-test with Bonferroni's correction for the K tests.
        decided: whether there are enough seeds for the test.
        closest: the largest mean(left)/mean(right) in the second half of the run; in the beginning
            both sides are L(w_1) - L*.
        promises: whether the bound is finite at the end.
    """

    def __init__(self, left: Floats, right: Floats) -> None:
        self.left, self.right = left, right
        n, rounds = left.shape
        self.decided = n > 1
        self.violated = np.empty(0, dtype=np.int64)
        finite = np.asarray(np.isfinite(right).all(axis=0))
        self.promises = bool(finite[-1])
        if self.decided:
            from scipy.stats import t

            with np.errstate(invalid="ignore"):
                gap = np.where(finite, left - right, -1.0)
                spread = np.nan_to_num(gap.std(axis=0, ddof=1), nan=0.0) / math.sqrt(n)
            rounding = 1e-5 * np.abs(np.where(finite, right, 0.0)).mean(axis=0) + 1e-12
            limit = t.ppf(1.0 - CHANCE / rounds, n - 1) * spread + rounding
            self.violated = np.flatnonzero(gap.mean(axis=0) > limit) + 1
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = left.mean(axis=0) / right.mean(axis=0)
        later = ratio[rounds // 2 :]
        self.closest = float(later[np.isfinite(later)].max(initial=0.0))


def compared(runs: Sequence[Sequence[Sides]], cell: int) -> dict[str, Comparison]:
    """Return every bound on one cell, by ``bound, variant``.

    Args:
        runs: the values of `trace`, one per seed.
        cell: the position of the cell in them.
    """
    sides = [cells[cell] for cells in runs]
    gradient = np.array([run.gradient for run in sides])
    mean = gradient.mean(axis=0)
    smallest = [int(mean[: k + 1].argmin()) for k in range(len(mean))]
    bounds = {}
    for variant in VARIANTS:
        if sides[0].theorem_1:
            bounds[f"Theorem 1, {variant}"] = Comparison(
                np.array([run.excess for run in sides]),
                np.array([run.theorem_1[variant] for run in sides]),
            )
        bounds[f"Theorem 2, {variant}"] = Comparison(
            gradient[:, smallest], np.array([run.theorem_2[variant] for run in sides])
        )
        margin = np.array([run.lemma[variant] for run in sides])
        promised = np.where(np.isposinf(margin), np.inf, 0.0)
        bounds[f"Lemma 1, {variant}"] = Comparison(
            -np.where(np.isposinf(margin), 0.0, margin), promised
        )
    return bounds


@dataclass(frozen=True)
class Trial:
    """A bound on one problem with one step size, under every attack.

    Attributes:
        problem, step: their names.
        bound: ``"Theorem 1, published"``.
        attacks: the comparison under each attack.
    """

    problem: str
    step: str
    bound: str
    attacks: Mapping[str, Comparison]

    @property
    def place(self) -> str:
        """The problem and the step size, in words."""
        return f"{self.problem}, {STEPS.get(self.step, 'your learning rate')}"

    @property
    def lemma(self) -> bool:
        """Whether it is Lemma 1, whose sides have no ratio."""
        return self.bound.startswith("Lemma")

    @property
    def violated(self) -> dict[str, Comparison]:
        """The attacks under which the bound is violated."""
        return {
            name: comparison
            for name, comparison in self.attacks.items()
            if len(comparison.violated)
        }

    @property
    def silent(self) -> int:
        """Number of attacks under which the bound is infinite."""
        return sum(not comparison.promises for comparison in self.attacks.values())

    @property
    def worst(self) -> str:
        """The attack that comes closest to the bound."""
        return max(self.attacks, key=lambda name: self.attacks[name].closest)

    @property
    def ratio(self) -> float:
        """The largest share of the bound that was reached, under the worst attack."""
        return self.attacks[self.worst].closest


@dataclass(frozen=True)
class Audited:
    """The measurements.

    Attributes:
        rule: the server's.
        deltas: its Δ by variant.
        seeds: number of seeds.
        traced: by problem and step size, for each seed both sides under every attack.
    """

    rule: str
    deltas: Mapping[str, float]
    seeds: int
    traced: Mapping[tuple[str, str], Sequence[Sequence[Sides]]]

    @cached_property
    def groups(self) -> dict[tuple[str, str], list[Trial]]:
        """The trials of every bound, by problem and step size."""
        groups = {}
        for (problem, step), runs in self.traced.items():
            names = [cell.attack for cell in runs[0]]
            bounds = [compared(runs, number) for number in range(len(names))]
            groups[problem, step] = [
                Trial(
                    problem, step, bound,
                    {name: under[bound] for name, under in zip(names, bounds, strict=True)},
                )
                for bound in bounds[0]
            ]  # fmt: skip
        return groups

    @property
    def trials(self) -> list[Trial]:
        """All trials."""
        return [trial for group in self.groups.values() for trial in group]

    @property
    def rates(self) -> list[bool | None]:
        """Whether the theorems allow the learning rate of each run; None: unknown."""
        return [cell.allowed for runs in self.traced.values() for cells in runs for cell in cells]

    @property
    def sure(self) -> bool:
        """Whether all rates are allowed and Δ is known, not only a lower bound of it."""
        delta_known = self.rule == "trimmed_mean" or exact_coefficient(self.rule, 1, 0) is not None
        return all(self.rates) and delta_known


def verdict(audited: Audited, bound: str) -> bool | None:
    """Return whether a bound holds on all problems, under all attacks; None: undecided."""
    trials = [trial for trial in audited.trials if trial.bound == bound]
    violated = any(trial.violated for trial in trials)
    vacuous = sum(trial.silent for trial in trials) == sum(len(t.attacks) for t in trials)
    if vacuous or audited.seeds < 2 or False in audited.rates or (violated and not audited.sure):
        return None
    return not violated


def _page(audited: Audited, options: Options) -> Page:
    """Return the page of the results."""
    rule, deltas = audited.rule, audited.deltas
    about = [
        f"HGO with {rule}, Δ(v, f) = {deltas['published']:.4g} as published and "
        f"{deltas['corrected']:.4g} at least, {audited.seeds} seeds: each a problem of its own, "
        "with its "
        "shards, devices, attackers and constants. Both sides of every bound are averaged over "
        f"them; a bound is violated if at some k the mean of left - right is above 0 beyond chance "
        f"({CHANCE:.0%} for a whole run, t-test with Bonferroni's correction).",
        "As published: A_w and B_w are means over all correct workers"
        + (", and Δ is the paper's" if rule == "trimmed_mean" else "")
        + ". Corrected: means over those v - f correct workers where they are largest, as only v "
        "workers need to have sent a coordinate, and the fast ones are the same in every round; "
        "and the least Δ that is known.",
        "The constants are the smallest that hold along the run: A and B the largest so far, "
        "b the smallest block so far. Lemma 1 is the inequality that its proof derives and "
        "Theorem 1 uses, at every w_k; as printed it is claimed in the region W alone.",
        "The step γ = 0.99/Σ L_j is the shorter paper's for every block; 0.99/(√d·max L_j), the "
        "extended paper's, may be larger, and the proofs hold for it, too.",
        *(_counterexamples() if ("points", "block") in audited.traced else []),
    ]  # fmt: skip
    bounds = dict.fromkeys(trial.bound for trial in audited.trials)
    return study(
        "bounds",
        "The paper's bounds against runs",
        about,
        options.command("audit bounds"),
        [_finding(audited, bound) for bound in bounds],
        [chart for group in audited.groups.values() for chart in _charts(group)],
        [_summary(audited.trials)],
    )


def _finding(audited: Audited, bound: str) -> Finding:
    """Return the finding on a bound: where it holds and where it is violated."""
    trials = [trial for trial in audited.trials if trial.bound == bound]
    holding = [trial for trial in trials if not trial.violated]
    text = f"on {len(holding)} of {len(trials)} problems and step sizes, under all attacks"
    if any(trial.ratio > 0 for trial in holding):
        closest = max(holding, key=lambda trial: trial.ratio)
        text += (
            f"; the closest reaches {closest.ratio:.2g} of the bound ({closest.place} under "
            f"{closest.worst})"
        )
    places = [place for trial in trials for place in _violations(trial)]
    text = f"violated: {'; '.join(places)}. It holds {text}" if places else f"it holds {text}"
    silent, total = sum(t.silent for t in trials), sum(len(t.attacks) for t in trials)
    if silent:
        text += f"; {silent} of {total} runs have no finite bound"
    holds = verdict(audited, bound)
    if holds is None:
        too_large = False in audited.rates
        text += "; that tells nothing" if silent == total else ""
        text += "; one seed can't tell" if audited.seeds < 2 else ""
        text += "; the learning rate is larger than the theorems allow" if too_large else ""
        if places and not audited.sure and not too_large:
            text += (
                "; Δ is only the largest that was found"
                if all(audited.rates)
                else "; how large a learning rate the theorems allow is not known"
            )
    theorem, variant = bound.split(", ")
    how = "as published" if variant == "published" else "corrected"
    return Finding(f"{theorem}, {how}, holds at every k", holds, text)


def _violations(trial: Trial) -> list[str]:
    """Describe each violation of a bound: the attack, the first k and the factor."""
    lines = []
    for name, comparison in trial.violated.items():
        times = "" if trial.lemma else f", {comparison.closest:.3g} times the bound"
        attack = "" if name == "none" else f" under {name}"
        lines.append(f"{trial.place}{attack} from k = {comparison.violated[0]}{times}")
    return lines


def _summary(trials: Sequence[Trial]) -> Table:
    header = (
        "problem", "step", "bound", "attacks", "violated", "no finite bound",
        "largest share of the bound", "by",
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [
            trial.problem, trial.step, trial.bound, len(trial.attacks), len(trial.violated),
            trial.silent,
            "" if trial.lemma else f"{trial.ratio:.3g}", "" if trial.lemma else trial.worst,
        ]
        for trial in trials
    ]  # fmt: skip
    return Table("summary", "Every bound on every problem", header, rows)


def _counterexamples() -> list[str]:
    """Describe the problems `points` and `outsiders`."""
    example = theory.FastFew()
    excess, published = float(example.excess), float(example.published)
    return [
        "The problem 'points' is a counterexample to Theorem 1 as published in closed form: d = 1, "
        f"the loss ½(w - x)², {example.workers} workers, of which {example.fast} are fast and hold "
        f"the number a, {example.workers - example.fast} are too slow for any answer and hold 0; "
        "whole gradients, an average, nobody attacks (Δ = 1). HGO goes to a, where L - L* = "
        f"{excess:.3g}·a². A_w, the mean of δ² over all correct workers, is "
        f"{2 * published:.2g}·a², and the bound falls to {published:.3g}·a²: it is exceeded "
        f"{excess / published:.2g} times (with a share p of fast workers (1 - p)/p times). With "
        "the mean over the v - f workers where δ² is largest the bound is "
        f"{float(example.corrected):.3g}·a²: exactly reached.",
        "On the problem 'outsiders' nobody attacks either: two fast workers hold all images of one "
        "digit, and minibatches are smaller than shards. The others' means hide it from A_w.",
    ]


def _charts(trials: Sequence[Trial]) -> list[Chart]:
    """Return the charts of the measured side, the closest attack in colour, and the bounds."""
    titles = {"Theorem 1": "L(w_k) - L*", "Theorem 2": "least mean ‖∇L‖² so far"}
    by_bound = {trial.bound: trial for trial in trials}
    charts = []
    for theorem, title in titles.items():
        trial = by_bound.get(f"{theorem}, published")
        if trial is None:
            continue
        left = {
            name: comparison.left.mean(axis=0).tolist()
            for name, comparison in trial.attacks.items()
        }
        k = list(range(1, len(left[trial.worst]) + 1))
        lines = [
            Line(name, k, values, style="faint", group="another attack")
            for name, values in left.items()
            if name != trial.worst
        ]
        lines.append(Line(trial.worst, k, left[trial.worst]))
        lines += [
            Line(
                f"bound, {variant}",
                k,
                by_bound[f"{theorem}, {variant}"].attacks[trial.worst].right.mean(axis=0).tolist(),
                style="dashed",
            )
            for variant in VARIANTS
        ]
        file = f"{trial.problem}-{trial.step}-{theorem.lower().replace(' ', '-')}"
        charts.append(Chart(file, f"{theorem}: {trial.place}", "k", title, lines, "y"))
    return charts
