"""The paper's bounds against what runs do: Lemma 1, Theorem 1, Theorem 2, at every k."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import attacks, theory
from hgobench.errors import InputError
from hgobench.execution.measured import Task
from hgobench.scenario import Scenario
from hgobench.simulation import Step, simulate
from hgobench.theory import Objective
from hgobench.theory.robustness import exact_coefficient
from hgobench.world import World

from .base import Options, Work, fixed
from .robustness import largest
from .study import Chart, Finding, Line, Study, Table

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
# Only two fast workers answer, whose data is unlike all other's; nobody is Byzantine.
OUTSIDERS: dict[str, Any] = {
    "data": "digits",
    "model": "quadratic[condition=1.0]",
    "partition": "hgobench.audits.outsiders:Outsiders",
    "hardware": "rare_labels+mix[weak=0.9,average=0.0,powerful=0.1,weak_mean=0.1,weak_std=0.0]",
    "byzantine": 0,
    "quorum": 2,
    "batch_size": 1000,
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
ERRORS = 3.0  # standard errors beyond which a bound counts as violated
DIGITS = 7


def coefficients(scenario: Scenario, work: Work) -> dict[str, float]:
    """Return Δ(v, f) as the paper has it, and the least that is known, by variant.

    Of rules for which neither is known both are the largest ratio that a search finds, a lower
    bound.
    """
    v, f = int(scenario.quorum or 1), int(scenario.tolerated or 0)
    least = exact_coefficient(scenario.rule, v - f, f)
    if least is None:
        asked = {"rule": scenario.rule, "q": v, "f": f, "seed": 0}
        (found,) = work.measure([Task(largest, asked, [{"rule": scenario.rule}])])
        if "reason" in found:
            raise InputError(found["reason"])
        least = float(found["ratio"])
    published = least
    if scenario.rule == "trimmed_mean":
        published = theory.trimmed_mean_coefficient(v - f, f)
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
        Of each cell its ``status`` and ``learning_rate``, and for k = 1 .. K: ``excess``
        L(w_k) - L* (NaN: not known), ``gradient`` ‖∇L(w_k)‖², and by variant the right-hand sides
        ``theorem_1``, ``theorem_2`` and ``lemma``: by how much Lemma 1's inner product exceeds
        its bound.
    """
    cells = [Scenario(**fields) for fields in scenarios]
    world = World.of(cells[0])
    problem = Objective(cells[0], world)
    if step != "given":
        known = problem.curvature
        rate = 0.99 * (known.block_step if step == "block" else known.dimension_step)
        cells = [cell.replace(learning_rate=rate) for cell in cells]
    traces = {cell: _Trace(cell, problem, deltas) for cell in cells}
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


class _Trace:
    """What the bounds speak of, along one run.

    Assumption 4 holds with many pairs (M_w, Q_w). Each gives bounds that hold; the least counts.
    """

    def __init__(self, scenario: Scenario, problem: Objective, deltas: Mapping[str, float]) -> None:
        self.scenario, self.problem, self.deltas = scenario, problem, deltas
        among = int(scenario.quorum or 1) - int(scenario.tolerated or 0)
        self.among = {"published": None, "corrected": among}
        self.excess: list[float] = []
        self.gradient: list[float] = []
        self.block: list[int] = []
        self.inner: list[float] = []
        self.norm: list[float] = []
        self.error: dict[str, list[list[float]]] = {name: [] for name in VARIANTS}
        self.growth: dict[str, Floats] = {}
        self.factor = problem.factor
        self.closed = self._closed()

    def _closed(self) -> bool:
        try:
            return self.problem.curvature.hessian is not None
        except InputError:
            return False

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
            unit = moments.noise_growth(self.factor, 1.0, among)
            limit = self.deltas[name] * unit
            pairs = [share / limit if limit > 0 else 0.0 for share in SHARES]
            self.growth[name] = np.array(pairs) * unit
            self.error[name].append(
                [moments.statistical_error(self.factor, growth, among) for growth in pairs]
            )

    def sides(self) -> dict[str, Any]:
        """Return both sides of all bounds."""
        scenario = self.scenario
        steps = np.arange(len(self.block))
        block = np.minimum.accumulate(self.block)[:, None]
        initial = self.excess[0] if self.closed else self._initial_loss()
        found: dict[str, Any] = {
            "learning_rate": scenario.learning_rate,
            "blocks": [int(min(self.block)), float(np.mean(self.block))],
            "excess": _short(np.array(self.excess)),
            "gradient": _short(np.array(self.gradient)),
            "theorem_1": {},
            "theorem_2": {},
            "lemma": {},
        }
        for name in VARIANTS:
            delta, error = self.deltas[name], np.array(self.error[name])
            shared: dict[str, Any] = {
                "block": block,
                "dimension": self.problem.dimension,
                "learning_rate": scenario.learning_rate,
                "delta": delta,
                "error": np.maximum.accumulate(error, axis=0),
                "growth": self.growth[name],
            }
            second = theory.theorem_2(steps[:, None] + 1, initial, **shared)
            found["theorem_2"][name] = _short(second.min(axis=1))
            if self.closed:
                convexity = self.problem.curvature.strong_convexity
                first = theory.theorem_1(
                    steps[:, None], initial, strong_convexity=convexity, **shared
                )
                found["theorem_1"][name] = _short(first.min(axis=1))
            norm = np.array(self.norm)[:, None]
            promised = theory.lemma_1(norm, delta, error, self.growth[name]).max(axis=1)
            found["lemma"][name] = _short(np.array(self.inner) - promised)
        return found

    def _initial_loss(self) -> float:
        """Return L(w_1) >= L(w_1) - L*: no loss here is negative."""
        return self.problem.loss(self.problem.initial())


def _short(values: Floats) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def run(options: Options, work: Work) -> Study:
    """Run HGO under every attack with both step sizes, and compare both sides of every bound."""
    fixed(options, "seed", "rule", "attack", "schedule", "solver", "evaluation_interval")
    problems = {"yours": dict(options.settings)} if options.settings else PROBLEMS
    seeds = options.seeds or SEEDS
    rule = options.rules[0] if options.rules else "trimmed_mean"
    names = options.attacks or (*attacks.registry.names(), *HETEROGENEITY)
    groups: dict[tuple[str, str], list[Task]] = {}
    for problem, fields in problems.items():
        for step in ("given",) if "learning_rate" in fields else STEPS:
            groups[problem, step] = tasks(
                {**BASE, **fields, "rule": rule}, names, step, range(seeds), work
            )
    if not options.settings and not options.rules:
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
    attacked = fields["byzantine"] > 0
    for seed in seeds:
        cells = [
            Scenario(**{**fields, "seed": seed, "attack": name if attacked else "none"})
            for name in (names if attacked else names[:1])
        ]
        values = [cell.to_dict() for cell in cells]
        deltas = coefficients(cells[0], work)
        arguments = {"scenarios": values, "step": step, "deltas": deltas}
        made.append(Task(trace, arguments, values))
    return made


class Comparison:
    """One bound on one problem under one attack: both sides at every k, (seeds, K).

    Attributes:
        violated: the k's (from 1) at which the mean over seeds of left - right exceeds three
            standard errors.
        closest: the largest mean(left)/mean(right) in the second half of the run: at first both
            sides are L(w_1) - L*.
    """

    def __init__(self, left: Floats, right: Floats) -> None:
        self.left, self.right = left, right
        finite = np.isfinite(right).all(axis=0)
        gap = np.where(finite, left - np.where(finite, right, 0.0), -1.0)
        mean, spread = gap.mean(axis=0), np.zeros(gap.shape[1])
        if len(gap) > 1:
            spread = gap.std(axis=0, ddof=1) / math.sqrt(len(gap))
        slack = 1e-5 * np.abs(np.where(finite, right, 0.0)).mean(axis=0) + 1e-12
        self.violated = np.flatnonzero(mean > ERRORS * spread + slack) + 1
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = left.mean(axis=0) / right.mean(axis=0)
        later = ratio[len(ratio) // 2 :]
        later = later[np.isfinite(later)]
        self.closest = float(later.max(initial=0.0))
        self.promises = bool(finite.all())


def compared(runs: Sequence[Sequence[Mapping[str, Any]]], cell: int) -> dict[str, Comparison]:
    """Return every bound on one cell, by ``bound, variant``.

    Args:
        runs: by seed what `trace` returned.
        cell: which of the traced cells.
    """
    each = [cells[cell] for cells in runs]
    length = min(len(one["gradient"]) for one in each)

    def table(values: Sequence[Sequence[float]]) -> Floats:
        return np.array([row[:length] for row in values])

    found = {}
    least = np.minimum.accumulate(table([one["gradient"] for one in each]).mean(axis=0))
    for variant in VARIANTS:
        if each[0]["theorem_1"]:
            found[f"Theorem 1, {variant}"] = Comparison(
                table([one["excess"] for one in each]),
                table([one["theorem_1"][variant] for one in each]),
            )
        second = table([one["theorem_2"][variant] for one in each])
        found[f"Theorem 2, {variant}"] = Comparison(np.broadcast_to(least, second.shape), second)
        margin = table([one["lemma"][variant] for one in each])
        found[f"Lemma 1, {variant}"] = Comparison(-margin, np.zeros_like(margin))
    return found


def _study(
    traced: Mapping[tuple[str, str], Sequence[Sequence[Mapping[str, Any]]]],
    options: Options,
    seeds: int,
    rule: str,
    deltas: Mapping[str, float],
) -> Study:
    rows: list[list[str | float | int]] = []
    charts, findings = [], []
    for (problem, step), runs in traced.items():
        names = [cell["attack"] for cell in runs[0]]
        bounds = [compared(runs, number) for number in range(len(names))]
        where = f"{problem}, {STEPS.get(step, 'your learning rate')}"
        for bound in bounds[0]:
            each = {name: found[bound] for name, found in zip(names, bounds, strict=True)}
            broken = {name: one for name, one in each.items() if len(one.violated)}
            closest = max(each, key=lambda name: each[name].closest)
            silent = sum(not one.promises for one in each.values())
            lemma = bound.startswith("Lemma")
            rows.append(
                [
                    problem, step, bound, len(each), len(broken), silent,
                    "" if lemma else f"{each[closest].closest:.3g}", "" if lemma else closest,
                ]
            )  # fmt: skip
            if broken:
                name, one = max(broken.items(), key=lambda item: item[1].closest)
                said = f"under {len(broken)} of {len(each)} attacks, first under {name}"
                said += f" from k = {one.violated[0]}"
                if not lemma:
                    said += f"; at most {one.closest:.3g} times the bound"
            else:
                said = f"under all of {len(each)} attacks"
                if not lemma:
                    said += f"; the closest is {closest}, {each[closest].closest:.2g} of the bound"
                if silent:
                    said += f"; of {silent} it promises nothing (no block, or ΔB >= 1)"
            findings.append(Finding(f"{bound} holds on {where}", not broken, said))
        charts += _charts(problem, step, where, names, bounds)
    header = (
        "problem", "step", "bound", "attacks", "violated", "no promise", "largest left/right", "by",
    )  # fmt: skip
    about = [
        f"HGO with {rule}, Δ(v, f) = {deltas['published']:.4g} as published and "
        f"{deltas['corrected']:.4g} at least, {seeds} seeds: each a problem of its own, with its "
        "shards, devices, attackers and constants. Both sides of every bound are averaged over "
        "them; a bound is violated at k where the mean of left - right exceeds three standard "
        "errors.",
        "As published: A_w and B_w are means over all correct workers, and Δ is the paper's. "
        "Corrected: means over those v - f correct workers where they are largest, as only v "
        "workers need to have sent a coordinate, and the fast ones are the same in every round; "
        "and the least Δ that there is.",
        "The constants are the smallest that stand along the run: A and B the largest so far, "
        "b the smallest block so far; of the pairs (M_w, Q_w) of Assumption 4 that one counts "
        "which gives the least bound.",
        *(
            ["On the problem `outsiders` nobody attacks. Only the two fast workers answer in time, "
             "and they hold what nobody else does: the others' means hide it from A_w."]
            if ("outsiders", "block") in traced else []
        ),
    ]  # fmt: skip
    return Study(
        "bounds",
        "The paper's bounds against runs",
        about,
        options.command("audit bounds"),
        findings,
        charts,
        [Table("summary", "Every bound on every problem", header, rows)],
    )


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
