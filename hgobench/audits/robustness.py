"""Δ(q, f) of every rule, on single coordinates and on vectors: the worst that a search finds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hgobench import aggregators, theory
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.report.page import Chart, Finding, Line, Page, Table, study
from hgobench.theory.robustness import UNBOUNDED, exact_coefficient

from .base import Options, Work, uses

CHAINS = ("nnm+krum", "nnm+trimmed_mean", "bucketing[s=2]+median")
ATTACKERS = 2  # in the curve over q
VALUES = (6, 7, 8, 9, 12, 16, 17, 24, 40)
ALL = 20  # in the curve over f
BYZANTINE = (0, 1, 2, 4, 6, 8, 9)
DRAWN = 1000.0  # a rule with a larger ratio somewhere is left to the table
DIMENSION = 8  # of the vectors
VECTORS = ((ALL, 2), (ALL, 4))
NONE = "none"
ONE_DIMENSION = "in one dimension: the ratio grows with what attackers send"


def largest(rule: str, q: int, f: int, seed: int, dimension: int = 1) -> dict[str, Any]:
    """Return the largest ratio that a search finds, and where; ``reason``: why there is none."""
    try:
        found = theory.search(rule, q, f, seed=seed, dimension=dimension)
    except InputError as error:
        return {"reason": "; ".join(error.problems)}
    return {
        "ratio": found.ratio,
        "honest": found.honest.tolist(),
        "byzantine": found.byzantine.tolist(),
        "aim": found.aim.tolist(),
        "deviation": found.deviation,
        "exact": found.exact,
        "tried": found.tried,
    }


def form(rule: str) -> str:
    """Return what a rule is on vectors of which it can be asked.

    Returns:
        ``"coordinate"``: itself on each coordinate; ``"both"``: another rule, which has a
        coordinate-wise form too; ``"vector"``: a rule without that form.
    """
    made = aggregators.build(rule, f=1)
    if made.by_columns():
        return "coordinate"
    return "both" if made.has_columns() else "vector"


def check(options: Options) -> None:
    """Refuse what can't be heeded."""
    uses(options, *options.settings, rules=math.inf)
    needed = {name: aggregators.build(name, f=1).needs for name in options.rules}
    if problems := {name: needs for name, needs in needed.items() if needs}:
        raise InputError(
            f"rule: {name!r} needs {', '.join(needs)}; Definition 1 knows values alone"
            for name, needs in problems.items()
        )


def run(options: Options, work: Work) -> Page:
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
    forms = {rule: form(rule) for rule in rules}
    on_vectors = {
        (rule, q, f, seed): Task(
            largest,
            {"rule": rule, "q": q, "f": f, "seed": seed, "dimension": DIMENSION},
            [{"rule": rule}],
        )
        for rule in rules
        if forms[rule] != "coordinate"
        for q, f in VECTORS
        for seed in seeds
    }
    done = work.measure([*tasks.values(), *on_vectors.values()])
    found = dict(zip(tasks, done[: len(tasks)], strict=True))
    searched = dict(zip(on_vectors, done[len(tasks) :], strict=True))

    silent = [rule for rule in rules if all("reason" in found[rule, *at, 0] for at in places)]
    if silent:
        raise InputError(found[rule, *places[0], 0]["reason"] for rule in silent)

    def worst(rule: str, q: int, f: int) -> float | None:
        ratios = [found[rule, q, f, seed].get("ratio") for seed in seeds]
        there = [ratio for ratio in ratios if ratio is not None]
        return max(there) if there else None

    verdicts = {
        (rule, q, f): verdict(
            forms[rule],
            worst(rule, q, f),
            [searched[rule, q, f, seed] for seed in seeds if (rule, q, f, seed) in searched],
        )
        for rule in rules
        for q, f in VECTORS
    }

    return study(
        "robustness",
        "Robustness coefficients: how wrong attackers can make a rule",
        [
            "Definition 1 asks for E(AR - g)² <= Δ(q, f)·1/c Σ E(x_i - g)² in each coordinate by "
            "itself, c = q - f the number of correct workers that sent it. Every number below is "
            "the largest ratio that a search over honest samples and attacks has found: a lower "
            "bound of the rule's Δ. Where the least Δ is known in closed form, the search is held "
            "against it. 'inf' is more than 10⁶, growing with what attackers send; '-' is a rule "
            "that takes no q values at that f.",
            "Coordinate-wise: applied to the values of each coordinate by themselves (scope "
            "coordinate, HGO's default where a rule has that form), a rule is one of q numbers, "
            "and the largest ratio in one dimension is that of all coordinates. "
            + _without_form(forms),
            "As a vector rule: applied to whole vectors (scope block: SGD, and HGO with rules that "
            f"have no other form), here in d = {DIMENSION}. What attackers send in the other "
            "coordinates may decide whom such a rule believes. 'none': all honest vectors are "
            "right in a coordinate and differ in others, attackers send what the rule likes in "
            "those, and the answer is wrong where nobody honest is: no Δ holds. 'bounded': on "
            "vectors the rule is itself on each coordinate, so that its Δ is the coordinate-wise "
            "one. 'not refuted': the search found no such input; in brackets the largest ratio. "
            "Theorems 1 and 2 promise nothing for a rule that has no Δ.",
            "The paper's Δ of the trimmed mean, 2c(f + c)/(c - f)², is valid but not least: that "
            "is c/(c - f), 2(c + f)/(c - f) times smaller. Both are in the charts.",
        ],
        options.command("audit robustness"),
        _findings(rules, places, worst, forms, verdicts),
        _charts(rules, worst),
        [_forms_table(rules, worst, forms, verdicts), _table(rules, places, worst)],
    )


@dataclass(frozen=True)
class Verdict:
    """Whether a rule on vectors has a Δ.

    Attributes:
        text: ``"none"``, ``"bounded"``, ``"not refuted (ratio)"``, or ``"-"``: it can't be asked.
        witness: of what has none, the input that shows it.
    """

    text: str
    witness: str = ""


def verdict(kind: str, single: float | None, searched: Sequence[dict[str, Any]]) -> Verdict:
    """Judge a rule by its form, its ratio in one dimension and what was found for vectors."""
    if single is None:
        return Verdict("-")
    if kind == "coordinate":
        return Verdict("bounded") if math.isfinite(single) else Verdict(NONE, ONE_DIMENSION)
    there = [one for one in searched if "ratio" in one]
    witness = next((one for one in there if math.isinf(one["ratio"]) and one["exact"]), None)
    if witness is not None:
        sent = max(abs(row[0] - witness["aim"][0]) for row in witness["byzantine"])
        return Verdict(
            NONE, f"honest vectors right, attackers wrong by {sent:.3g}, "
            f"the answer by {witness['deviation']:.3g}"
        )  # fmt: skip
    if math.isinf(single) or any(math.isinf(one["ratio"]) for one in there):
        return Verdict(NONE, ONE_DIMENSION)
    if not there:
        return Verdict("-")
    return Verdict(f"not refuted ({max(single, *(one['ratio'] for one in there)):.3g})")


def _without_form(forms: Mapping[str, str]) -> str:
    """Say which rules are on vectors of length one in tables of one dimension."""
    names = [rule for rule, kind in forms.items() if kind == "vector"]
    if not names:
        return ""
    return (
        f"Rules without that form ({', '.join(names)}) are applied to vectors of length one, a "
        "special case of what they are used for."
    )


def _findings(
    rules: Sequence[str],
    places: Sequence[tuple[int, int]],
    worst: Any,
    forms: Mapping[str, str],
    verdicts: Mapping[tuple[str, int, int], Verdict],
) -> list[Finding]:
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
            f"Remark 1: Δ(q, f) falls with q, in one dimension, at f = {ATTACKERS}",
            not rising if falls else None,
            f"of {len(falls)} rules with a bounded ratio it does not for {', '.join(rising)}"
            if rising else f"for all of {len(falls)} rules with a bounded ratio",
        )
    )  # fmt: skip
    asked = [r for r in rules if worst(r, ALL, 2) is not None and forms[r] != "vector"]
    unbounded = [rule for rule in asked if worst(rule, ALL, 2) == math.inf]
    findings.append(
        Finding(
            f"coordinate-wise, every rule is Δ-robust against f = 2 of {ALL}",
            not unbounded if asked else None,
            f"of {len(asked)} rules with a coordinate-wise form above {UNBOUNDED:g}: "
            f"{', '.join(unbounded) or 'none'}",
        )
    )
    on_vectors = {rule: verdicts[rule, ALL, 2].text for rule in rules}
    judged = [rule for rule, text in on_vectors.items() if text != "-"]
    refuted = [rule for rule in judged if on_vectors[rule] == NONE]
    bounded = [rule for rule in judged if on_vectors[rule] == "bounded"]
    left = [rule for rule in judged if rule not in (*refuted, *bounded)]
    findings.append(
        Finding(
            f"as a vector rule, every rule is Δ-robust against f = 2 of {ALL}",
            False if refuted else None if left or not judged else True,
            f"of {len(judged)} rules {len(refuted)} have no Δ: {', '.join(refuted) or '-'}; "
            f"bounded: {', '.join(bounded) or '-'}; not refuted: {', '.join(left) or '-'}",
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
            Chart(f"found-{name}", f"Largest ratio in one dimension: {title}", axis,
                  "lower bound of Δ", lines, "y")
        )  # fmt: skip
    return charts


def _forms_table(
    rules: Sequence[str],
    worst: Any,
    forms: Mapping[str, str],
    verdicts: Mapping[tuple[str, int, int], Verdict],
) -> Table:
    rows: list[list[str | float | int]] = []
    for rule in rules:
        row: list[str | float | int] = [rule]
        for q, f in VECTORS:
            single = worst(rule, q, f)
            row += [
                "no such form" if forms[rule] == "vector" else "-" if single is None else single,
                verdicts[rule, q, f].text,
            ]
        rows.append([*row, verdicts[rule, *VECTORS[0]].witness])
    header = ["rule"]
    for q, f in VECTORS:
        header += [f"coordinate-wise Δ({q}, {f})", f"as a vector rule, f = {f}"]
    first = VECTORS[0][1]
    return Table(
        "forms", f"Coordinate-wise and as a vector rule, {ALL} workers",
        [*header, f"what shows it, f = {first}"], rows,
    )  # fmt: skip


def _table(rules: Sequence[str], places: Sequence[tuple[int, int]], worst: Any) -> Table:
    rows: list[list[str | float | int]] = []
    for rule in rules:
        each = [worst(rule, q, f) for q, f in places]
        rows.append([rule, *("-" if ratio is None else ratio for ratio in each)])
    header = ["rule", *(f"Δ({q}, {f})" for q, f in places)]
    return Table("found", "Largest ratio found in one dimension (a lower bound of Δ)", header, rows)
