"""Δ(q, f) of every rule: the largest ratio of Definition 1 that a search finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hgobench import aggregators, theory
from hgobench.errors import InputError
from hgobench.execution.measured import Task
from hgobench.theory.robustness import UNBOUNDED, exact_coefficient

from .base import Options, Work, uses
from .study import Chart, Finding, Line, Study, Table

CHAINS = ("nnm+krum", "nnm+trimmed_mean", "bucketing[s=2]+median")
ATTACKERS = 2  # in the curve over q
VALUES = (6, 7, 8, 9, 12, 16, 17, 24, 40)
ALL = 20  # in the curve over f
BYZANTINE = (0, 1, 2, 4, 6, 8, 9)
DRAWN = 1000.0  # a rule with a larger ratio somewhere is left to the table


def largest(rule: str, q: int, f: int, seed: int) -> dict[str, Any]:
    """Return the largest ratio that a search finds, and where; ``reason``: why there is none."""
    try:
        found = theory.search(rule, q, f, seed=seed)
    except InputError as error:
        return {"reason": "; ".join(error.problems)}
    return {
        "ratio": found.ratio,
        "honest": found.honest.tolist(),
        "byzantine": found.byzantine.tolist(),
        "aim": found.aim,
        "tried": found.tried,
    }


def check(options: Options) -> None:
    """Refuse what can't be heeded."""
    uses(options, *options.settings, rules=math.inf)
    needed = {name: aggregators.build(name, f=1).needs for name in options.rules}
    if problems := {name: needs for name, needs in needed.items() if needs}:
        raise InputError(
            f"rule: {name!r} needs {', '.join(needs)}; Definition 1 knows values alone"
            for name, needs in problems.items()
        )


def run(options: Options, work: Work) -> Study:
    """Search the worst case of every rule, over q and over f."""
    check(options)
    known = aggregators.registry
    rules = list(options.rules) or [
        name for name in (*known.names(), *CHAINS) if not aggregators.build(name, f=1).needs
    ]
    places = [(q, ATTACKERS) for q in VALUES] + [(ALL, f) for f in BYZANTINE]
    places = list(dict.fromkeys(places))
    seeds = range(options.seeds or 1)
    tasks = {
        (rule, q, f, seed): Task(
            largest, {"rule": rule, "q": q, "f": f, "seed": seed}, [{"rule": rule}]
        )
        for rule in rules
        for q, f in places
        for seed in seeds
    }
    found = dict(zip(tasks, work.measure(list(tasks.values())), strict=True))

    silent = [rule for rule in rules if all("reason" in found[rule, *at, 0] for at in places)]
    if silent:
        raise InputError(found[rule, *places[0], 0]["reason"] for rule in silent)

    def worst(rule: str, q: int, f: int) -> float | None:
        ratios = [found[rule, q, f, seed].get("ratio") for seed in seeds]
        there = [ratio for ratio in ratios if ratio is not None]
        return max(there) if there else None

    return Study(
        "robustness",
        "Robustness coefficients: how wrong attackers can make a rule",
        [
            "Definition 1 asks for E(AR - g)² <= Δ(q, f)·1/c Σ E(x_i - g)², c = q - f correct "
            "values. Every number below is the largest ratio that a search over honest samples "
            "and attacks has found: a lower bound of the rule's Δ. Where the least Δ is known in "
            "closed form, the search is held against it. 'inf' is more than 10⁶, growing with "
            "what attackers send; '-' is a rule that takes no q values at that f.",
            "The paper's Δ of the trimmed mean, 2c(f + c)/(c - f)², is valid but not least: that "
            "is c/(c - f), 2(c + f)/(c - f) times smaller. Both are in the charts.",
        ],
        options.command("audit robustness"),
        _findings(rules, places, worst),
        _charts(rules, worst),
        [_table(rules, places, worst)],
    )


def _findings(rules: Sequence[str], places: Sequence[tuple[int, int]], worst: Any) -> list[Finding]:
    findings = []
    for rule in rules:
        pairs = [
            (worst(rule, q, f), least)
            for q, f in places
            if (least := exact_coefficient(rule, q - f, f)) is not None and math.isfinite(least)
        ]
        shares = [found / least for found, least in pairs if found is not None]
        if shares:
            findings.append(
                Finding(
                    f"no ratio of {rule} exceeds its least Δ, and the search reaches it",
                    max(shares) < 1 + 1e-6 and min(shares) > 0.99,
                    f"found/least Δ from {min(shares):.4f} to {max(shares):.4f}",
                )
            )
    if "trimmed_mean" in rules:
        shares = [
            worst("trimmed_mean", q, f) / theory.trimmed_mean_coefficient(q - f, f)
            for q, f in places
        ]
        findings.append(
            Finding(
                "the paper's Δ of the trimmed mean holds",
                max(shares) <= 1,
                f"the worst case reaches from {min(shares):.3f} to {max(shares):.3f} of it",
            )
        )
    falls = {}
    for rule in rules:
        curve = [x for q in VALUES if (x := worst(rule, q, ATTACKERS)) is not None]
        if curve and math.isfinite(max(curve)):
            steady = all(b <= a * (1 + 1e-3) for a, b in pairwise(curve))
            falls[rule] = steady and curve[-1] < curve[0] * (1 - 1e-3)
    rising = [rule for rule, fell in falls.items() if not fell]
    findings.append(
        Finding(
            f"Remark 1: Δ(q, f) falls with q, at f = {ATTACKERS}",
            not rising if falls else None,
            f"of {len(falls)} rules with a bounded ratio it does not for {', '.join(rising)}"
            if rising else f"for all of {len(falls)} rules with a bounded ratio",
        )
    )  # fmt: skip
    asked = [rule for rule in rules if worst(rule, ALL, 2) is not None]
    unbounded = [rule for rule in rules if worst(rule, ALL, 2) == math.inf]
    findings.append(
        Finding(
            f"every rule is Δ-robust against f = 2 of {ALL}",
            not unbounded if asked else None,
            f"of {len(asked)} rules above {UNBOUNDED:g}: {', '.join(unbounded) or 'none'}",
        )
    )
    return findings


def _charts(rules: Sequence[str], worst: Any) -> list[Chart]:
    charts = []
    for name, title, axis, places in (
        ("over-q", f"f = {ATTACKERS} attackers", "q", [(q, ATTACKERS) for q in VALUES]),
        ("over-f", f"q = {ALL} values", "f", [(ALL, f) for f in BYZANTINE]),
    ):
        lines = []
        at = [q if axis == "q" else f for q, f in places]
        for rule in rules:
            ratios = [worst(rule, q, f) for q, f in places]
            kept = [(x, r) for x, r in zip(at, ratios, strict=True) if r is not None]
            if kept and max(r for _, r in kept) < DRAWN:
                lines.append(Line(rule, [x for x, _ in kept], [r for _, r in kept]))
        if "trimmed_mean" in rules:
            published = [theory.trimmed_mean_coefficient(q - f, f) for q, f in places]
            lines.append(Line("trimmed mean, published Δ", at, published, style="dashed"))
        charts.append(
            Chart(f"found-{name}", f"Largest ratio found: {title}", axis, "lower bound of Δ",
                  lines, "y")
        )  # fmt: skip
    return charts


def _table(rules: Sequence[str], places: Sequence[tuple[int, int]], worst: Any) -> Table:
    rows: list[list[str | float | int]] = []
    for rule in rules:
        each = [worst(rule, q, f) for q, f in places]
        rows.append([rule, *("-" if ratio is None else ratio for ratio in each)])
    header = ["rule", *(f"Δ({q}, {f})" for q, f in places)]
    return Table("found", "Largest ratio found (a lower bound of Δ)", header, rows)
