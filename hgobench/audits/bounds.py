"""The paper's bounds against what runs do: Lemma 1, Theorem 1, Theorem 2, at every k."""

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
from .base import Options, Work, settled, uses

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
# The same in one dimension, with whole shards for minibatches: all of it in closed form.
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
# Only two fast workers answer, whose data is unlike all other's; nobody is Byzantine.
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
SHARES = (0.0, 0.25, 0.5, 0.75)  # of the largest Q_w with ΔB < 1: each gives a bound that holds
CHANCE = 0.01  # that a bound which holds counts as violated somewhere along a run
DIGITS = 7


def coefficients(scenario: Scenario, work: Work) -> dict[str, float]:
    """Return Δ(v, f) as the paper has it, and the least that is known, by variant.

    It is that of any v or more of the q workers: the least Δ for m values need not fall with m. Of
    rules for which neither is known both are the largest ratio that a search finds, a lower bound:
    of single coordinates, or of vectors if that is what the rule is applied to.
    """
    f, rule = scenario.tolerated, scenario.rule
    answers = range(scenario.quorum, scenario.sampled + 1)
    known = [exact_coefficient(rule, m - f, f) for m in answers]
    # Of vectors the same rule may have no Δ, where it has one of single coordinates.
    on_vectors = scenario.scope == "block" and robustness.form(rule) != "coordinate"
    if known[0] is None:
        needed = ", ".join(aggregators.build(rule, f=f).needs)
        if needed:
            raise InputError(f"rule: {rule!r} needs {needed}; Definition 1 knows values alone")
        asked = [
            robustness.task(rule, m, f, 0, dimension)
            for m in answers
            for dimension in ((1, robustness.DIMENSION) if on_vectors else (1,))
        ]
        found = [robustness.Largest(**one) for one in work.measure(asked)]
        if reasons := [one.reason for one in found if one.ratio is None]:
            raise InputError(reasons[0])
        known = [one.ratio for one in found]
    least = max(one for one in known if one is not None)
    published = least
    if rule == "trimmed_mean":
        published = theory.trimmed_mean_coefficient(answers[0] - f, f)
    return {"published": published, "corrected": least}


@dataclass(frozen=True)
class Sides:
    """Both sides of every bound along one run, for k = 1 .. K.

    Of what diverged the left sides are infinite.

    Attributes:
        attack: the run's.
        status: how it ended.
        learning_rate: the run's.
        allowed: whether either paper allows that rate; None: it is not known.
        excess: L(w_k) - L*; NaN: not known.
        gradient: ‖∇L(w_k)‖².
        theorem_1, theorem_2: the right-hand sides by variant; without Theorem 1: none.
        lemma: by how much Lemma 1's inner product exceeds its bound, by variant.
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
        step: which learning rate: a key of `STEPS`, or ``"given"``.
        deltas: Δ by variant.
    """
    cells = [Scenario(**fields) for fields in scenarios]
    world = World.of(cells[0])
    problem = Objective(cells[0], world)
    if step != "given":
        known = problem.curvature
        rate = 0.99 * (known.block_step if step == "block" else known.dimension_step)
        cells = [cell.replace(learning_rate=rate) for cell in cells]
    traces = {cell: Trace(cell, problem, deltas) for cell in cells}
    results = simulate(cells, observe=lambda step: traces[step.scenario].add(step))
    failed = [result for result in results if result.status == "failed"]
    if failed:
        raise RuntimeError(f"{failed[0].scenario}: {failed[0].reason}")
    return [traces[cell].sides(result.status) for cell, result in zip(cells, results, strict=True)]


def kept(**arguments: Any) -> list[dict[str, Any]]:
    """Return what `trace` does, as JSON knows it."""
    return [asdict(sides) for sides in trace(**arguments)]


class Trace:
    """What the bounds speak of, along one run.

    Assumption 4 holds with many pairs (M_w, Q_w), and each gives bounds that hold. For the theorems
    that one is taken which gives the least error at w_1, before the run; for Lemma 1 the best.

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
            self.known: Curvature | None = problem.curvature
        except InputError:
            self.known = None
        self.closed = self.known is not None and self.known.hessian is not None

    def add(self, step: Step) -> None:
        """Look at a step before it is taken."""
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
        scenario, seen = self.scenario, len(self.block)
        after = scenario.rounds - seen
        allowed = None
        if self.known is not None:
            allowed = scenario.learning_rate < max(self.known.block_step, self.known.dimension_step)
        first, second, lemma = {}, {}, {}
        for name in VARIANTS:
            if seen:
                second[name], lemma[name] = self._second(name), self._lemma(name)
            else:  # it diverged before the first step
                second[name] = lemma[name] = [math.inf] * scenario.rounds
            if self.closed:
                first[name] = self._first(name) if seen else [math.inf] * scenario.rounds
        return Sides(
            scenario.attack,
            status,
            scenario.learning_rate,
            allowed,
            _short([*self.excess, *[math.inf] * after]),
            _short([*self.gradient, *[math.inf] * after]),
            first,
            second,
            lemma,
        )

    def _shared(self, name: str) -> dict[str, Any]:
        """Return what the theorems' right-hand sides are made of, in one variant."""
        after = self.scenario.rounds - len(self.block)
        error = np.array([*self.error[name], *self.error[name][-1:] * after])
        with np.errstate(invalid="ignore"):
            pair = int(np.argmin(error[0] / (1.0 - np.array(SHARES))))
        return {
            "block": np.minimum.accumulate([*self.block, *self.block[-1:] * after]),
            "dimension": self.problem.dimension,
            "learning_rate": self.scenario.learning_rate,
            "delta": self.deltas[name],
            "error": np.maximum.accumulate(error[:, pair]),
            "growth": self.growth[name][pair],
        }

    def _first(self, name: str) -> list[float]:
        assert self.known is not None
        convexity = self.known.strong_convexity
        steps, shared = np.arange(self.scenario.rounds), self._shared(name)
        return _short(theory.theorem_1(steps, self.excess[0], strong_convexity=convexity, **shared))

    def _second(self, name: str) -> list[float]:
        initial = self.excess[0] if self.closed else self.problem.loss(self.problem.initial())
        steps = np.arange(self.scenario.rounds) + 1
        return _short(theory.theorem_2(steps, initial, **self._shared(name)))

    def _lemma(self, name: str) -> list[float]:
        norm, error = np.array(self.norm)[:, None], np.array(self.error[name])
        promised = theory.lemma_1(norm, self.deltas[name], error, self.growth[name]).max(axis=1)
        after = self.scenario.rounds - len(self.block)
        return _short([*(np.array(self.inner) - promised), *[math.inf] * after])


def _short(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def check(options: Options) -> None:
    """Refuse what can't be heeded."""
    own = ("seed", "rule", "attack", "schedule", "solver", "algorithm", "granularity", "cost")
    uses(options, *own, rules=1, attacks=math.inf)


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
                {**settled(BASE, fields), "rule": rule}, names, step, range(seeds), work
            )
    if not options.settings and not options.rules:
        groups["points", "block"] = tasks(  # of one coordinate both steps are 0.99/L
            {**BASE, **POINTS}, ("none",), "block", range(seeds), work
        )
        for step in STEPS:
            groups["outsiders", step] = tasks(
                {**BASE, **OUTSIDERS}, ("none",), step, range(seeds), work
            )
    done = iter(work.measure([task for group in groups.values() for task in group]))
    traced = {
        key: [[Sides(**sides) for sides in next(done)] for _ in group]
        for key, group in groups.items()
    }
    deltas = next(iter(groups.values()))[0].arguments["deltas"]
    return _told(Audited(rule, deltas, seeds, traced), options)


def tasks(
    fields: Mapping[str, Any], names: Sequence[str], step: str, seeds: Iterable[int], work: Work
) -> list[Task]:
    """Return what traces a problem under some attacks, a task per seed."""
    made = []
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
        made.append(Task(kept, arguments, values))
    return made


class Comparison:
    """One bound on one problem under one attack: both sides at every k, (seeds, K).

    Attributes:
        violated: the k's (from 1) at which the mean over seeds of left - right is above 0 beyond
            chance: by a one-sided t-test with Bonferroni's correction for the K tests.
        decided: whether there are seeds enough to tell.
        closest: the largest mean(left)/mean(right) in the second half of the run: at first both
            sides are L(w_1) - L*.
        promises: whether the bound is finite, at the end.
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
        runs: by seed what `trace` returned.
        cell: which of the traced cells.
    """
    each = [cells[cell] for cells in runs]
    gradient = np.array([one.gradient for one in each])
    mean = gradient.mean(axis=0)
    smallest = [int(mean[: k + 1].argmin()) for k in range(len(mean))]
    found = {}
    for variant in VARIANTS:
        if each[0].theorem_1:
            found[f"Theorem 1, {variant}"] = Comparison(
                np.array([one.excess for one in each]),
                np.array([one.theorem_1[variant] for one in each]),
            )
        found[f"Theorem 2, {variant}"] = Comparison(
            gradient[:, smallest], np.array([one.theorem_2[variant] for one in each])
        )
        margin = np.array([one.lemma[variant] for one in each])
        promised = np.where(np.isposinf(margin), np.inf, 0.0)
        found[f"Lemma 1, {variant}"] = Comparison(
            -np.where(np.isposinf(margin), 0.0, margin), promised
        )
    return found


@dataclass(frozen=True)
class Trial:
    """One bound on one problem with one step size, under every attack.

    Attributes:
        problem, step: where.
        bound: ``"Theorem 1, published"``.
        attacks: the bound under each.
    """

    problem: str
    step: str
    bound: str
    attacks: Mapping[str, Comparison]

    @property
    def where(self) -> str:
        """The problem and the step size, in words."""
        return f"{self.problem}, {STEPS.get(self.step, 'your learning rate')}"

    @property
    def lemma(self) -> bool:
        """Whether it is Lemma 1, of which there is no ratio."""
        return self.bound.startswith("Lemma")

    @property
    def violated(self) -> dict[str, Comparison]:
        """The attacks under which the bound is violated."""
        return {name: one for name, one in self.attacks.items() if len(one.violated)}

    @property
    def silent(self) -> int:
        """Under how many attacks the bound promises nothing."""
        return sum(not one.promises for one in self.attacks.values())

    @property
    def worst(self) -> str:
        """The attack that comes closest to the bound."""
        return max(self.attacks, key=lambda name: self.attacks[name].closest)

    @property
    def ratio(self) -> float:
        """How close that comes: the largest left/right."""
        return self.attacks[self.worst].closest


@dataclass(frozen=True)
class Audited:
    """What was measured.

    Attributes:
        rule: that the server applies.
        deltas: its Δ by variant.
        seeds: how many.
        traced: by problem and step size, for each seed both sides under every attack.
    """

    rule: str
    deltas: Mapping[str, float]
    seeds: int
    traced: Mapping[tuple[str, str], Sequence[Sequence[Sides]]]

    @cached_property
    def groups(self) -> dict[tuple[str, str], list[Trial]]:
        """The trials of every bound, by problem and step size."""
        found = {}
        for (problem, step), runs in self.traced.items():
            names = [cell.attack for cell in runs[0]]
            bounds = [compared(runs, number) for number in range(len(names))]
            found[problem, step] = [
                Trial(
                    problem, step, bound,
                    {name: under[bound] for name, under in zip(names, bounds, strict=True)},
                )
                for bound in bounds[0]
            ]  # fmt: skip
        return found

    @property
    def trials(self) -> list[Trial]:
        """All of them."""
        return [trial for group in self.groups.values() for trial in group]

    @property
    def rates(self) -> list[bool | None]:
        """Of every run, whether the theorems allow its learning rate; None: it is not known."""
        return [cell.allowed for runs in self.traced.values() for cells in runs for cell in cells]

    @property
    def sure(self) -> bool:
        """Whether all rates are allowed and Δ is known, not only the largest that was found."""
        known = self.rule == "trimmed_mean" or exact_coefficient(self.rule, 1, 0) is not None
        return all(self.rates) and known


def verdict(audited: Audited, bound: str) -> bool | None:
    """Say whether a bound holds on all problems, under all attacks; None: it can't be told."""
    trials = [trial for trial in audited.trials if trial.bound == bound]
    violated = any(trial.violated for trial in trials)
    nothing = sum(trial.silent for trial in trials) == sum(len(t.attacks) for t in trials)
    if nothing or audited.seeds < 2 or False in audited.rates or (violated and not audited.sure):
        return None
    return not violated


def _told(audited: Audited, options: Options) -> Page:
    """Tell what was found."""
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
    """Say of one bound where it holds and where it is violated."""
    trials = [trial for trial in audited.trials if trial.bound == bound]
    held = [trial for trial in trials if not trial.violated]
    said = f"on {len(held)} of {len(trials)} problems and step sizes, under all attacks"
    if any(trial.ratio > 0 for trial in held):
        closest = max(held, key=lambda trial: trial.ratio)
        said += (
            f"; there the closest has {closest.ratio:.2g} of the bound ({closest.where} under "
            f"{closest.worst})"
        )
    places = [place for trial in trials for place in _violations(trial)]
    said = f"violated: {'; '.join(places)}. It holds {said}" if places else f"it holds {said}"
    silent, total = sum(t.silent for t in trials), sum(len(t.attacks) for t in trials)
    if silent:
        said += f"; {silent} of {total} runs have no finite bound"
    holds = verdict(audited, bound)
    if holds is None:
        beyond = False in audited.rates
        said += "; that tells nothing" if silent == total else ""
        said += "; one seed can't tell" if audited.seeds < 2 else ""
        said += "; the learning rate is larger than the theorems allow" if beyond else ""
        if places and not audited.sure and not beyond:
            said += (
                "; Δ is only the largest that was found"
                if all(audited.rates)
                else "; how large a learning rate the theorems allow is not known"
            )
    theorem, variant = bound.split(", ")
    how = "as published" if variant == "published" else "corrected"
    return Finding(f"{theorem}, {how}, holds at every k", holds, said)


def _violations(trial: Trial) -> list[str]:
    """Say of every attack that violates a bound, from when on and how far."""
    said = []
    for name, one in trial.violated.items():
        times = "" if trial.lemma else f", {one.closest:.3g} times the bound"
        attack = "" if name == "none" else f" under {name}"
        said.append(f"{trial.where}{attack} from k = {one.violated[0]}{times}")
    return said


def _summary(trials: Sequence[Trial]) -> Table:
    header = (
        "problem", "step", "bound", "attacks", "violated", "no promise", "largest left/right", "by",
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [
            one.problem, one.step, one.bound, len(one.attacks), len(one.violated), one.silent,
            "" if one.lemma else f"{one.ratio:.3g}", "" if one.lemma else one.worst,
        ]
        for one in trials
    ]  # fmt: skip
    return Table("summary", "Every bound on every problem", header, rows)


def _counterexamples() -> list[str]:
    """Say what the problems `points` and `outsiders` are."""
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
    """Draw the measured side under every attack, the closest in colour, and the least bounds."""
    titles = {"Theorem 1": "L(w_k) - L*", "Theorem 2": "least mean ‖∇L‖² so far"}
    of = {trial.bound: trial for trial in trials}
    charts = []
    for theorem, title in titles.items():
        trial = of.get(f"{theorem}, published")
        if trial is None:
            continue
        left = {name: one.left.mean(axis=0).tolist() for name, one in trial.attacks.items()}
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
                of[f"{theorem}, {variant}"].attacks[trial.worst].right.mean(axis=0).tolist(),
                style="dashed",
            )
            for variant in VARIANTS
        ]
        file = f"{trial.problem}-{trial.step}-{theorem.lower().replace(' ', '-')}"
        charts.append(Chart(file, f"{theorem}: {trial.where}", "k", title, lines, "y"))
    return charts
