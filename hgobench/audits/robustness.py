"""Δ(q, f) of every rule, on single coordinates and on vectors: the worst that a search finds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
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
Place = tuple[str, int, int]  # a rule, q and f
ONE_DIMENSION = "in one dimension: the ratio grows with what attackers send"


@dataclass(frozen=True)
class Largest:
    """The largest ratio that a search found, and where; numbers as JSON knows them.

    Attributes:
        ratio: a lower bound of Δ(q, f); None: the rule takes no q values at that f.
        reason: why there is none.
        honest, byzantine: the values, (c,) and (f,), or vectors, (c, d) and (f, d).
        aim: the true value, () or (d,).
        deviation: how far the answer is from it, of vectors in their first coordinate.
        exact: whether all honest values are right, of vectors in their first coordinate.
        tried: how many inputs.
    """

    ratio: float | None = None
    reason: str = ""
    honest: Any = ()
    byzantine: Any = ()
    aim: Any = 0.0
    deviation: float = 0.0
    exact: bool = False
    tried: int = 0


def largest(rule: str, q: int, f: int, seed: int, dimension: int = 1) -> Largest:
    """Search the largest ratio of a rule."""
    try:
        found = theory.search(rule, q, f, seed=seed, dimension=dimension)
    except InputError as error:
        return Largest(reason="; ".join(error.problems))
    return Largest(
        found.ratio,
        "",
        found.honest.tolist(),
        found.byzantine.tolist(),
        found.aim.tolist(),
        found.deviation,
        found.exact,
        found.tried,
    )


def kept(**arguments: Any) -> dict[str, Any]:
    """Return what `largest` does, as JSON knows it."""
    return asdict(largest(**arguments))


def task(rule: str, q: int, f: int, seed: int, dimension: int = 1) -> Task:
    """Return a search, to be kept; `Largest` reads what it finds."""
    asked = {"rule": rule, "q": q, "f": f, "seed": seed}
    further = {"dimension": dimension} if dimension > 1 else {}
    return Task(kept, {**asked, **further}, [{"rule": rule}])


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


@dataclass(frozen=True)
class Searched:
    """What the searches found.

    Attributes:
        rules: of which.
        places: the (q, f) of one dimension.
        forms: what each rule is on vectors (see `form`).
        single: by rule, q and f the searches in one dimension, one per seed.
        vectors: the same of vectors, of rules that are not coordinate-wise.
    """

    rules: Sequence[str]
    places: Sequence[tuple[int, int]]
    forms: Mapping[str, str]
    single: Mapping[Place, Sequence[Largest]]
    vectors: Mapping[Place, Sequence[Largest]]

    def worst(self, rule: str, q: int, f: int) -> float | None:
        """Return the largest ratio in one dimension; None: the rule takes no q values at f."""
        ratios = (found.ratio for found in self.single[rule, q, f])
        return max((ratio for ratio in ratios if ratio is not None), default=None)

    def verdict(self, rule: str, q: int, f: int) -> Verdict:
        """Say whether a rule on vectors has a Δ."""
        searched = self.vectors.get((rule, q, f), ())
        return verdict(self.forms[rule], self.worst(rule, q, f), searched)


def searched(rules: Sequence[str], seeds: int, work: Work) -> Searched:
    """Search the worst case of every rule, over q and over f, and of vectors.

    Raises:
        InputError: a rule can nowhere be asked.
    """
    places = [(q, ATTACKERS) for q in VALUES] + [(ALL, f) for f in BYZANTINE]
    places = list(dict.fromkeys(places))
    forms = {rule: form(rule) for rule in rules}
    single = [(rule, q, f) for rule in rules for q, f in places]
    vectors = [(rule, q, f) for rule in rules if forms[rule] != "coordinate" for q, f in VECTORS]
    tasks = [task(*place, seed) for place in single for seed in range(seeds)]
    tasks += [task(*place, seed, DIMENSION) for place in vectors for seed in range(seeds)]
    found = iter([Largest(**one) for one in work.measure(tasks)])

    def by_place(asked: Sequence[Place]) -> dict[Place, list[Largest]]:
        return {place: [next(found) for _ in range(seeds)] for place in asked}

    found_single = by_place(single)
    silent = [r for r in rules if all(found_single[r, *at][0].ratio is None for at in places)]
    if silent:
        raise InputError(found_single[rule, *places[0]][0].reason for rule in silent)
    return Searched(rules, places, forms, found_single, by_place(vectors))


def run(options: Options, work: Work) -> Page:
    """Search the worst case of every rule, over q and over f, and tell."""
    check(options)
    rules = list(options.rules) or [
        name
        for name in (*aggregators.registry.names(), *CHAINS)
        if not aggregators.build(name, f=1).needs
    ]
    found = searched(rules, options.seeds or 1, work)
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
            + _without_form(found.forms),
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
        [
            *_least_reached(found),
            *_published_holds(found),
            _falls_with_q(found),
            _robust_by_coordinates(found),
            _robust_on_vectors(found),
        ],
        _charts(found),
        [_forms_table(found), _table(found)],
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


def verdict(kind: str, single: float | None, searched: Sequence[Largest]) -> Verdict:
    """Judge a rule by its form, its ratio in one dimension and what was found for vectors."""
    if single is None:
        return Verdict("-")
    if kind == "coordinate":
        return Verdict("bounded") if math.isfinite(single) else Verdict(NONE, ONE_DIMENSION)
    ratios = {i: one.ratio for i, one in enumerate(searched) if one.ratio is not None}
    for i, ratio in ratios.items():
        witness = searched[i]
        if math.isinf(ratio) and witness.exact:
            sent = max(abs(row[0] - witness.aim[0]) for row in witness.byzantine)
            return Verdict(
                NONE, f"honest vectors right, attackers wrong by {sent:.3g}, "
                f"the answer by {witness.deviation:.3g}"
            )  # fmt: skip
    if math.isinf(single) or any(map(math.isinf, ratios.values())):
        return Verdict(NONE, ONE_DIMENSION)
    if not ratios:
        return Verdict("-")
    return Verdict(f"not refuted ({max(single, *ratios.values()):.3g})")


def _without_form(forms: Mapping[str, str]) -> str:
    """Say which rules are on vectors of length one in tables of one dimension."""
    names = [rule for rule, kind in forms.items() if kind == "vector"]
    if not names:
        return ""
    return (
        f"Rules without that form ({', '.join(names)}) are applied to vectors of length one, a "
        "special case of what they are used for."
    )


def _least_reached(found: Searched) -> list[Finding]:
    """Hold what was found against the least Δ, of rules where that is known in closed form."""
    findings = []
    for rule in found.rules:
        pairs = [
            (found.worst(rule, q, f), least)
            for q, f in found.places
            if (least := exact_coefficient(rule, q - f, f)) is not None and math.isfinite(least)
        ]
        shares = [ratio / least for ratio, least in pairs if ratio is not None]
        if shares:
            findings.append(
                Finding(
                    f"no ratio of {rule} exceeds its least Δ, and the search reaches it",
                    max(shares) < 1 + 1e-6 and min(shares) > 0.99,
                    f"found/least Δ from {min(shares):.4f} to {max(shares):.4f}",
                )
            )
    return findings


def _published_holds(found: Searched) -> list[Finding]:
    """Hold what was found for the trimmed mean against the paper's Δ."""
    if "trimmed_mean" not in found.rules:
        return []
    shares = [
        ratio / theory.trimmed_mean_coefficient(q - f, f)
        for q, f in found.places
        if (ratio := found.worst("trimmed_mean", q, f)) is not None
    ]
    return [
        Finding(
            "the paper's Δ of the trimmed mean holds",
            max(shares) <= 1,
            f"the worst case reaches from {min(shares):.3f} to {max(shares):.3f} of it",
        )
    ]


def falling(found: Searched) -> dict[str, bool]:
    """Return of every rule with bounded ratios whether they fall with q."""
    falls = {}
    for rule in found.rules:
        curve = [x for q in VALUES if (x := found.worst(rule, q, ATTACKERS)) is not None]
        if curve and math.isfinite(max(curve)):
            steady = all(b <= a * (1 + 1e-3) for a, b in pairwise(curve))
            falls[rule] = steady and curve[-1] < curve[0] * (1 - 1e-3)
    return falls


def _falls_with_q(found: Searched) -> Finding:
    falls = falling(found)
    rising = [rule for rule, fell in falls.items() if not fell]
    return Finding(
        f"Remark 1: Δ(q, f) falls with q, in one dimension, at f = {ATTACKERS}",
        not rising if falls else None,
        f"of {len(falls)} rules with a bounded ratio it does not for {', '.join(rising)}"
        if rising else f"for all of {len(falls)} rules with a bounded ratio",
    )  # fmt: skip


def _robust_by_coordinates(found: Searched) -> Finding:
    ratios = {r: found.worst(r, ALL, 2) for r in found.rules if found.forms[r] != "vector"}
    asked = {rule: ratio for rule, ratio in ratios.items() if ratio is not None}
    unbounded = [rule for rule, ratio in asked.items() if ratio == math.inf]
    return Finding(
        f"coordinate-wise, every rule is Δ-robust against f = 2 of {ALL}",
        not unbounded if asked else None,
        f"of {len(asked)} rules with a coordinate-wise form above {UNBOUNDED:g}: "
        f"{', '.join(unbounded) or 'none'}",
    )


def _robust_on_vectors(found: Searched) -> Finding:
    texts = {rule: found.verdict(rule, ALL, 2).text for rule in found.rules}
    judged = [rule for rule, text in texts.items() if text != "-"]
    refuted = [rule for rule in judged if texts[rule] == NONE]
    bounded = [rule for rule in judged if texts[rule] == "bounded"]
    left = [rule for rule in judged if rule not in (*refuted, *bounded)]
    return Finding(
        f"as a vector rule, every rule is Δ-robust against f = 2 of {ALL}",
        False if refuted else None if left or not judged else True,
        f"of {len(judged)} rules {len(refuted)} have no Δ: {', '.join(refuted) or '-'}; "
        f"bounded: {', '.join(bounded) or '-'}; not refuted: {', '.join(left) or '-'}",
    )


def _charts(found: Searched) -> list[Chart]:
    charts = []
    for name, title, axis, places in (
        ("over-q", f"f = {ATTACKERS} attackers", "q", [(q, ATTACKERS) for q in VALUES]),
        ("over-f", f"q = {ALL} values", "f", [(ALL, f) for f in BYZANTINE]),
    ):
        lines = []
        at = [q if axis == "q" else f for q, f in places]
        for rule in found.rules:
            ratios = [found.worst(rule, q, f) for q, f in places]
            kept = [(x, r) for x, r in zip(at, ratios, strict=True) if r is not None]
            if kept and max(r for _, r in kept) < DRAWN:
                lines.append(Line(rule, [x for x, _ in kept], [r for _, r in kept]))
        if "trimmed_mean" in found.rules:
            published = [theory.trimmed_mean_coefficient(q - f, f) for q, f in places]
            lines.append(Line("trimmed mean, published Δ", at, published, style="dashed"))
        charts.append(
            Chart(f"found-{name}", f"Largest ratio in one dimension: {title}", axis,
                  "lower bound of Δ", lines, "y")
        )  # fmt: skip
    return charts


def _forms_table(found: Searched) -> Table:
    rows: list[list[str | float | int]] = []
    for rule in found.rules:
        row: list[str | float | int] = [rule]
        for q, f in VECTORS:
            single = found.worst(rule, q, f)
            no_form = found.forms[rule] == "vector"
            row += [
                "no such form" if no_form else "-" if single is None else single,
                found.verdict(rule, q, f).text,
            ]
        rows.append([*row, found.verdict(rule, *VECTORS[0]).witness])
    header = ["rule"]
    for q, f in VECTORS:
        header += [f"coordinate-wise Δ({q}, {f})", f"as a vector rule, f = {f}"]
    first = VECTORS[0][1]
    return Table(
        "forms", f"Coordinate-wise and as a vector rule, {ALL} workers",
        [*header, f"what shows it, f = {first}"], rows,
    )  # fmt: skip


def _table(found: Searched) -> Table:
    rows: list[list[str | float | int]] = []
    for rule in found.rules:
        each = [found.worst(rule, q, f) for q, f in found.places]
        rows.append([rule, *("-" if ratio is None else ratio for ratio in each)])
    header = ["rule", *(f"Δ({q}, {f})" for q, f in found.places)]
    return Table("found", "Largest ratio found in one dimension (a lower bound of Δ)", header, rows)
