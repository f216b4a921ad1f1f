"""The paper's bounds against what runs do: Lemma 1, Theorem 1, Theorem 2, at every k."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import aggregators, attacks, theory
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.report.page import Chart, Finding, Line, Page, Table, study
from hgobench.scenario import Scenario
from hgobench.simulation import Step, simulate
from hgobench.simulation.world import World
from hgobench.theory import Curvature, Objective
from hgobench.theory.robustness import exact_coefficient

from .base import Options, Work, settled, uses
from .robustness import DIMENSION, form, largest

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
    on_vectors = scenario.scope == "block" and form(rule) != "coordinate"
    if known[0] is None:
        needed = ", ".join(aggregators.build(rule, f=f).needs)
        if needed:
            raise InputError(f"rule: {rule!r} needs {needed}; Definition 1 knows values alone")
        asked: list[dict[str, Any]] = [
            {"rule": rule, "q": m, "f": f, "seed": 0, **dimension}
            for m in answers
            for dimension in ({}, *([{"dimension": DIMENSION}] if on_vectors else []))
        ]
        found = work.measure([Task(largest, one, [{"rule": rule}]) for one in asked])
        if reasons := [one["reason"] for one in found if "reason" in one]:
            raise InputError(reasons[0])
        known = [float(one["ratio"]) for one in found]
    least = max(one for one in known if one is not None)
    published = least
    if rule == "trimmed_mean":
        published = theory.trimmed_mean_coefficient(answers[0] - f, f)
    return {"published": published, "corrected": least}


def trace(
    scenarios: Sequence[Mapping[str, Any]], step: str, deltas: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Run cells of one world, and return both sides of every bound at every round.

    Args:
        scenarios: the cells' fields.
        step: which learning rate: a key of `STEPS`, or ``"given"``.
        deltas: Δ by variant.

    Returns:
        Of each cell its ``status``, ``learning_rate`` and whether that is ``allowed`` by either
        paper (None: not known), and for k = 1 .. K: ``excess`` L(w_k) - L* (NaN: not known),
        ``gradient`` ‖∇L(w_k)‖², and by variant the right-hand sides ``theorem_1``, ``theorem_2``
        and ``lemma``: by how much Lemma 1's inner product exceeds its bound. Of what diverged the
        former two are infinite.
    """
    cells = [Scenario(**fields) for fields in scenarios]
    world = World.of(cells[0])
    problem = Objective(cells[0], world)
    if step != "given":
        known = problem.curvature
        rate = 0.99 * (known.block_step if step == "block" else known.dimension_step)
        cells = [cell.replace(learning_rate=rate) for cell in cells]
    traces = {cell: Trace(cell, problem, deltas) for cell in cells}
    results = simulate(
        cells, width=len(cells), observe=lambda step: traces[step.scenario].add(step)
    )
    failed = [result for result in results if result.status == "failed"]
    if failed:
        raise RuntimeError(f"{failed[0].scenario}: {failed[0].reason}")
    return [
        {"attack": cell.attack, "status": result.status, **traces[cell].sides()}
        for cell, result in zip(cells, results, strict=True)
    ]


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

    def sides(self) -> dict[str, Any]:
        """Return both sides of all bounds, for k = 1 .. K."""
        scenario, seen = self.scenario, len(self.block)
        rate = scenario.learning_rate
        steps, after = np.arange(scenario.rounds), scenario.rounds - seen
        allowed = None
        if self.known is not None:
            allowed = rate < max(self.known.block_step, self.known.dimension_step)
        found: dict[str, Any] = {
            "learning_rate": rate,
            "allowed": allowed,
            "excess": _short([*self.excess, *[math.inf] * after]),
            "gradient": _short([*self.gradient, *[math.inf] * after]),
            "theorem_1": {},
            "theorem_2": {},
            "lemma": {},
        }
        if not seen:  # it diverged before the first step
            nothing = [math.inf] * scenario.rounds
            sides = ("theorem_2", "lemma", *(["theorem_1"] if self.closed else []))
            return found | {side: dict.fromkeys(VARIANTS, nothing) for side in sides}
        initial = self.excess[0] if self.closed else self.problem.loss(self.problem.initial())
        block = np.minimum.accumulate([*self.block, *self.block[-1:] * after])
        for name in VARIANTS:
            delta, growth = self.deltas[name], self.growth[name]
            error = np.array([*self.error[name], *self.error[name][-1:] * after])
            with np.errstate(invalid="ignore"):
                pair = int(np.argmin(error[0] / (1.0 - np.array(SHARES))))
            shared: dict[str, Any] = {
                "block": block,
                "dimension": self.problem.dimension,
                "learning_rate": rate,
                "delta": delta,
                "error": np.maximum.accumulate(error[:, pair]),
                "growth": growth[pair],
            }
            found["theorem_2"][name] = _short(theory.theorem_2(steps + 1, initial, **shared))
            if self.closed and self.known is not None:
                convexity = self.known.strong_convexity
                first = theory.theorem_1(steps, initial, strong_convexity=convexity, **shared)
                found["theorem_1"][name] = _short(first)
            norm = np.array(self.norm)[:, None]
            promised = theory.lemma_1(norm, delta, error[:seen], growth).max(axis=1)
            margin = np.array(self.inner) - promised
            found["lemma"][name] = _short([*margin, *[math.inf] * after])
        return found


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
    traced = {key: [next(done) for _ in group] for key, group in groups.items()}
    deltas = next(iter(groups.values()))[0].arguments["deltas"]
    return _study(traced, options, seeds, rule, deltas)


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
        made.append(Task(trace, arguments, values))
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


def compared(runs: Sequence[Sequence[Mapping[str, Any]]], cell: int) -> dict[str, Comparison]:
    """Return every bound on one cell, by ``bound, variant``.

    Args:
        runs: by seed what `trace` returned.
        cell: which of the traced cells.
    """
    each = [cells[cell] for cells in runs]
    gradient = np.array([one["gradient"] for one in each])
    mean = gradient.mean(axis=0)
    smallest = [int(mean[: k + 1].argmin()) for k in range(len(mean))]
    found = {}
    for variant in VARIANTS:
        if each[0]["theorem_1"]:
            found[f"Theorem 1, {variant}"] = Comparison(
                np.array([one["excess"] for one in each]),
                np.array([one["theorem_1"][variant] for one in each]),
            )
        found[f"Theorem 2, {variant}"] = Comparison(
            gradient[:, smallest], np.array([one["theorem_2"][variant] for one in each])
        )
        margin = np.array([one["lemma"][variant] for one in each])
        promised = np.where(np.isposinf(margin), np.inf, 0.0)
        found[f"Lemma 1, {variant}"] = Comparison(
            -np.where(np.isposinf(margin), 0.0, margin), promised
        )
    return found


def _study(
    traced: Mapping[tuple[str, str], Sequence[Sequence[Mapping[str, Any]]]],
    options: Options,
    seeds: int,
    rule: str,
    deltas: Mapping[str, float],
) -> Page:
    rows: list[list[str | float | int]] = []
    charts: list[Chart] = []
    broken: dict[str, list[str]] = {}
    closest: dict[str, tuple[float, str]] = {}
    for (problem, step), runs in traced.items():
        names = [cell["attack"] for cell in runs[0]]
        bounds = [compared(runs, number) for number in range(len(names))]
        where = f"{problem}, {STEPS.get(step, 'your learning rate')}"
        for bound in bounds[0]:
            each = {name: found[bound] for name, found in zip(names, bounds, strict=True)}
            worst = max(each, key=lambda name: each[name].closest)
            ratio = each[worst].closest
            violated = {name: one for name, one in each.items() if len(one.violated)}
            broken.setdefault(bound, [])
            for name, one in violated.items():
                times = "" if bound.startswith("Lemma") else f", {one.closest:.3g} times the bound"
                attack = "" if name == "none" else f" under {name}"
                broken[bound].append(f"{where}{attack} from k = {one.violated[0]}{times}")
            if not violated and ratio > closest.get(bound, (0.0, ""))[0]:
                closest[bound] = ratio, f"{where} under {worst}"
            silent = sum(not one.promises for one in each.values())
            lemma = bound.startswith("Lemma")
            rows.append(
                [
                    problem, step, bound, len(each), len(violated), silent,
                    "" if lemma else f"{ratio:.3g}", "" if lemma else worst,
                ]
            )  # fmt: skip
        charts += _charts(problem, step, where, names, bounds)
    rates = [cell["allowed"] for runs in traced.values() for cells in runs for cell in cells]
    beyond = False in rates
    sure = all(rates) and (rule == "trimmed_mean" or exact_coefficient(rule, 1, 0) is not None)
    findings = []
    for bound, places in broken.items():
        theorem, variant = bound.split(", ")
        mine = [row for row in rows if row[2] == bound]
        held = sum(row[4] == 0 for row in mine)
        silent = sum(int(row[5]) for row in mine)
        total = sum(int(row[3]) for row in mine)
        said = f"on {held} of {len(mine)} problems and step sizes, under all attacks"
        if bound in closest:
            ratio, where = closest[bound]
            said += f"; there the closest has {ratio:.2g} of the bound ({where})"
        said = f"violated: {'; '.join(places)}. It holds {said}" if places else f"it holds {said}"
        holds: bool | None = not places
        if silent:
            said += f"; {silent} of {total} runs have no finite bound"
        if silent == total or seeds < 2 or beyond or (places and not sure):
            holds = None
            said += "; that tells nothing" if silent == total else ""
            said += "; one seed can't tell" if seeds < 2 else ""
            said += "; the learning rate is larger than the theorems allow" if beyond else ""
            if places and not sure and not beyond:
                said += (
                    "; Δ is only the largest that was found"
                    if all(rates)
                    else ("; how large a learning rate the theorems allow is not known")
                )
        how = "as published" if variant == "published" else "corrected"
        findings.append(Finding(f"{theorem}, {how}, holds at every k", holds, said))
    header = (
        "problem", "step", "bound", "attacks", "violated", "no promise", "largest left/right", "by",
    )  # fmt: skip
    about = [
        f"HGO with {rule}, Δ(v, f) = {deltas['published']:.4g} as published and "
        f"{deltas['corrected']:.4g} at least, {seeds} seeds: each a problem of its own, with its "
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
        *(_counterexamples() if ("points", "block") in traced else []),
    ]  # fmt: skip
    return study(
        "bounds",
        "The paper's bounds against runs",
        about,
        options.command("audit bounds"),
        findings,
        charts,
        [Table("summary", "Every bound on every problem", header, rows)],
    )


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


def _charts(
    problem: str,
    step: str,
    where: str,
    names: Sequence[str],
    bounds: Sequence[Mapping[str, Comparison]],
) -> list[Chart]:
    """Draw the measured side under every attack, the closest in colour, and the least bounds."""
    titles = {"Theorem 1": "L(w_k) - L*", "Theorem 2": "least mean ‖∇L‖² so far"}
    charts = []
    for theorem, title in titles.items():
        if f"{theorem}, published" not in bounds[0]:
            continue
        keys = {variant: f"{theorem}, {variant}" for variant in VARIANTS}
        closeness = [found[keys["published"]].closest for found in bounds]
        worst = int(np.argmax(closeness))
        k = list(range(1, bounds[0][keys["published"]].left.shape[1] + 1))
        lines = [
            Line(name, k, found[keys["published"]].left.mean(axis=0).tolist(), style="faint")
            for number, (name, found) in enumerate(zip(names, bounds, strict=True))
            if number != worst
        ]
        closest = bounds[worst]
        left = closest[keys["published"]].left
        lines.append(Line(names[worst], k, left.mean(axis=0).tolist()))
        lines += [
            Line(f"bound, {variant}", k, closest[key].right.mean(axis=0).tolist(), style="dashed")
            for variant, key in keys.items()
        ]
        file = f"{problem}-{step}-{theorem.lower().replace(' ', '-')}"
        charts.append(Chart(file, f"{theorem}: {where}", "k", title, lines, "y"))
    return charts
