"""Δ(q, f) of every rule, on single coordinates and on vectors: lower bounds by a search."""

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

from .base import Options, Work, reject_unused_options

CHAINS = ("nnm+krum", "nnm+trimmed_mean", "bucketing[s=2]+median")
ATTACKERS = 2  # in the curve over q
VALUES = (6, 7, 8, 9, 12, 16, 17, 24, 40)
ALL = 20  # in the curve over f
BYZANTINE = (0, 1, 2, 4, 6, 8, 9)
CHART_LIMIT = 1000.0  # rules with a larger ratio are in the table only
DIMENSION = 8  # of the vectors
VECTORS = ((ALL, 2), (ALL, 4))
NONE = "none"
Place = tuple[str, int, int]  # a rule, q and f
ONE_DIMENSION = "in one dimension: the ratio grows with what attackers send"


@dataclass(frozen=True)
class Largest:
    """The largest ratio that a search found, and its input, as data for JSON.

    Attributes:
        ratio: a lower bound of Δ(q, f); None: the rule takes no q values at that f.
        reason: why there is none.
        honest, byzantine: the values, (c,) and (f,), or vectors, (c, d) and (f, d).
        aim: the true value, () or (d,).
        deviation: distance of the answer from it, for vectors in their first coordinate.
        exact: whether all honest values are right, for vectors in their first coordinate.
        tried: number of inputs that were tried.
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
    """Search the largest ratio of a rule; a rule that refuses q values has a reason instead."""
    try:
        worst = theory.search(rule, q, f, seed=seed, dimension=dimension)
    except InputError as error:
        return Largest(reason="; ".join(error.problems))
    return Largest(
        worst.ratio,
        "",
        worst.honest.tolist(),
        worst.byzantine.tolist(),
        worst.aim.tolist(),
        worst.deviation,
        worst.exact,
        worst.tried,
    )


def as_json(**arguments: Any) -> dict[str, Any]:
    """Return the value of `largest` as data for JSON."""
    return asdict(largest(**arguments))


def task(rule: str, q: int, f: int, seed: int, dimension: int = 1) -> Task:
    """Return the task of a search; ``Largest(**value)`` reads its value."""
    arguments = {"rule": rule, "q": q, "f": f, "seed": seed}
    extra = {"dimension": dimension} if dimension > 1 else {}
    return Task(as_json, {**arguments, **extra}, [{"rule": rule}])


def defined_on(rule: str) -> str:
    """Return what a rule is defined on.

    Returns:
        ``"coordinate"``: on vectors it is applied to each coordinate; ``"both"``: it is one rule on
        vectors and another on single coordinates; ``"vector"``: it is defined on vectors only.
    """
    built = aggregators.build(rule, f=1)
    if built.by_columns():
        return "coordinate"
    return "both" if built.has_columns() else "vector"


def check(options: Options) -> None:
    """Raise InputError for options that this audit does not use."""
    reject_unused_options(options, *options.settings, rules=math.inf)
    needs_of = {name: aggregators.build(name, f=1).needs for name in options.rules}
    if problems := {name: needs for name, needs in needs_of.items() if needs}:
        raise InputError(
            f"rule: {name!r} needs {', '.join(needs)}; Definition 1 knows values alone"
            for name, needs in problems.items()
        )


@dataclass(frozen=True)
class Searched:
    """The results of all searches.

    Attributes:
        rules: the rules.
        places: the (q, f) of one dimension.
        kinds: what each rule is defined on (see `defined_on`).
        single: by rule, q and f the searches in one dimension, one per seed.
        vectors: the same of vectors, of rules that are not coordinate-wise.
    """

    rules: Sequence[str]
    places: Sequence[tuple[int, int]]
    kinds: Mapping[str, str]
    single: Mapping[Place, Sequence[Largest]]
    vectors: Mapping[Place, Sequence[Largest]]

    def worst(self, rule: str, q: int, f: int) -> float | None:
        """Return the largest ratio in one dimension; None: the rule takes no q values at f."""
        ratios = (result.ratio for result in self.single[rule, q, f])
        return max((ratio for ratio in ratios if ratio is not None), default=None)

    def verdict(self, rule: str, q: int, f: int) -> Verdict:
        """Return whether a rule on vectors has a Δ."""
        searched = self.vectors.get((rule, q, f), ())
        return verdict(self.kinds[rule], self.worst(rule, q, f), searched)


def searched(rules: Sequence[str], seeds: int, work: Work) -> Searched:
    """Search the worst case of every rule, over q and over f, and of vectors.

    Raises:
        InputError: a rule refuses every (q, f).
    """
    places = [(q, ATTACKERS) for q in VALUES] + [(ALL, f) for f in BYZANTINE]
    places = list(dict.fromkeys(places))
    kinds = {rule: defined_on(rule) for rule in rules}
    single = [(rule, q, f) for rule in rules for q, f in places]
    vectors = [(rule, q, f) for rule in rules if kinds[rule] != "coordinate" for q, f in VECTORS]
    tasks = [task(*place, seed) for place in single for seed in range(seeds)]
    tasks += [task(*place, seed, DIMENSION) for place in vectors for seed in range(seeds)]
    results = iter([Largest(**value) for value in work.measure(tasks)])

    def by_place(keys: Sequence[Place]) -> dict[Place, list[Largest]]:
        return {place: [next(results) for _ in range(seeds)] for place in keys}

    single_results = by_place(single)
    silent = [r for r in rules if all(single_results[r, *key][0].ratio is None for key in places)]
    if silent:
        raise InputError(single_results[rule, *places[0]][0].reason for rule in silent)
    return Searched(rules, places, kinds, single_results, by_place(vectors))


def run(options: Options, work: Work) -> Page:
    """Search the worst case of every rule, over q and over f, and return the page."""
    check(options)
    rules = list(options.rules) or [
        name
        for name in (*aggregators.registry.names(), *CHAINS)
        if not aggregators.build(name, f=1).needs
    ]
    results = searched(rules, options.seeds or 1, work)
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
            "coordinate), a rule is one of q numbers, and the largest ratio in one dimension is "
            "that of all coordinates. " + _vectors_only(results.kinds),
            "As a vector rule: applied to whole vectors (scope block, SGD's default), here in "
            f"d = {DIMENSION}. What attackers send in the other "
            "coordinates may decide whom such a rule believes. 'none': all honest vectors are "
            "right in a coordinate and differ in others, attackers send what the rule likes in "
            "those, and the answer is wrong where nobody honest is: no Δ holds. 'bounded': on "
            "vectors the rule is itself on each coordinate, so that its Δ is the coordinate-wise "
            "one. 'not refuted': the search found no such input; in brackets the largest ratio. "
            "Theorems 1 and 2 promise nothing for a rule that has no Δ. In scopes staircase and "
            "masked a rule on vectors is itself where all sent the same: 'none' holds there too.",
            "The paper's Δ of the trimmed mean, 2c(f + c)/(c - f)², is valid but not least: that "
            "is c/(c - f), 2(c + f)/(c - f) times smaller. Both are in the charts.",
        ],
        options.command("audit robustness"),
        [
            *_least_reached(results),
            *_published_holds(results),
            _falls_with_q(results),
            _robust_by_coordinates(results),
            _robust_on_vectors(results),
        ],
        _charts(results),
        [_scopes_table(results), _table(results)],
    )


@dataclass(frozen=True)
class Verdict:
    """Whether a rule on vectors has a Δ.

    Attributes:
        text: ``"none"``, ``"bounded"``, ``"not refuted (ratio)"``, or ``"-"``: it refuses q values.
        witness: the input that shows that there is none; else empty.
    """

    text: str
    witness: str = ""


def verdict(kind: str, single: float | None, searched: Sequence[Largest]) -> Verdict:
    """Return whether a rule has a Δ, by what it is defined on and by the ratios of searches."""
    if single is None:
        return Verdict("-")
    if kind == "coordinate":
        return Verdict("bounded") if math.isfinite(single) else Verdict(NONE, ONE_DIMENSION)
    ratios = {i: result.ratio for i, result in enumerate(searched) if result.ratio is not None}
    for i, ratio in ratios.items():
        witness = searched[i]
        if math.isinf(ratio) and witness.exact:
            error = max(abs(row[0] - witness.aim[0]) for row in witness.byzantine)
            return Verdict(
                NONE, f"honest vectors right, attackers wrong by {error:.3g}, "
                f"the answer by {witness.deviation:.3g}"
            )  # fmt: skip
    if math.isinf(single) or any(map(math.isinf, ratios.values())):
        return Verdict(NONE, ONE_DIMENSION)
    if not ratios:
        return Verdict("-")
    return Verdict(f"not refuted ({max(single, *ratios.values()):.3g})")


def _vectors_only(kinds: Mapping[str, str]) -> str:
    """Return a note on rules that are applied to vectors of length one."""
    names = [rule for rule, kind in kinds.items() if kind == "vector"]
    if not names:
        return ""
    return (
        f"Rules that are not defined on single coordinates ({', '.join(names)}) are applied to "
        "vectors of length one, a special case of what they are used for."
    )


def _least_reached(results: Searched) -> list[Finding]:
    """Compare the ratios with the least Δ of rules for which that is known in closed form."""
    findings = []
    for rule in results.rules:
        pairs = [
            (results.worst(rule, q, f), least)
            for q, f in results.places
            if (least := exact_coefficient(rule, q - f, f)) is not None and math.isfinite(least)
        ]
        shares = [ratio / least for ratio, least in pairs if ratio is not None]
        if shares:
            findings.append(
                Finding(
                    f"no ratio of {rule} exceeds its least Δ, and the search reaches it",
                    max(shares) < 1 + 1e-6 and min(shares) > 0.99,
                    f"largest ratios of {min(shares):.4f} to {max(shares):.4f} of it",
                )
            )
    return findings


def _published_holds(results: Searched) -> list[Finding]:
    """Compare the ratios of the trimmed mean with the paper's Δ."""
    if "trimmed_mean" not in results.rules:
        return []
    shares = [
        ratio / theory.trimmed_mean_coefficient(q - f, f)
        for q, f in results.places
        if (ratio := results.worst("trimmed_mean", q, f)) is not None
    ]
    return [
        Finding(
            "the paper's Δ of the trimmed mean holds",
            max(shares) <= 1,
            f"the worst case reaches from {min(shares):.3f} to {max(shares):.3f} of it",
        )
    ]


def falling(results: Searched) -> dict[str, bool]:
    """Return for each rule with bounded ratios whether they fall with q."""
    falls = {}
    for rule in results.rules:
        curve = [x for q in VALUES if (x := results.worst(rule, q, ATTACKERS)) is not None]
        if curve and math.isfinite(max(curve)):
            steady = all(b <= a * (1 + 1e-3) for a, b in pairwise(curve))
            falls[rule] = steady and curve[-1] < curve[0] * (1 - 1e-3)
    return falls


def _falls_with_q(results: Searched) -> Finding:
    falls = falling(results)
    rising = [rule for rule, fell in falls.items() if not fell]
    return Finding(
        f"Remark 1: Δ(q, f) falls with q, in one dimension, at f = {ATTACKERS}",
        not rising if falls else None,
        f"{len(falls) - len(rising)} of {len(falls)} rules with a bounded ratio"
        + (f"; not {', '.join(rising)}" if rising else ""),
    )  # fmt: skip


def _robust_by_coordinates(results: Searched) -> Finding:
    ratios = {r: results.worst(r, ALL, 2) for r in results.rules if results.kinds[r] != "vector"}
    known = {rule: ratio for rule, ratio in ratios.items() if ratio is not None}
    unbounded = [rule for rule, ratio in known.items() if ratio == math.inf]
    return Finding(
        f"coordinate-wise, every rule is Δ-robust against f = 2 of {ALL}",
        not unbounded if known else None,
        f"ratios above {UNBOUNDED:g}: {len(unbounded)} of {len(known)} rules defined on single "
        f"coordinates{_listed(unbounded)}",
    )


def _robust_on_vectors(results: Searched) -> Finding:
    texts = {rule: results.verdict(rule, ALL, 2).text for rule in results.rules}
    judged = [rule for rule, text in texts.items() if text != "-"]
    refuted = [rule for rule in judged if texts[rule] == NONE]
    bounded = [rule for rule in judged if texts[rule] == "bounded"]
    open_ = [rule for rule in judged if rule not in (*refuted, *bounded)]
    return Finding(
        f"as a vector rule, every rule is Δ-robust against f = 2 of {ALL}",
        False if refuted else None if open_ or not judged else True,
        f"no Δ: {len(refuted)} of {len(judged)} rules{_listed(refuted)}; bounded: {len(bounded)}"
        f"{_listed(bounded)}; not refuted: {len(open_)}{_listed(open_)}",
    )


def _listed(rules: Sequence[str]) -> str:
    return f" ({', '.join(rules)})" if rules else ""


def _charts(results: Searched) -> list[Chart]:
    charts = []
    for name, title, axis, places in (
        ("over-q", f"f = {ATTACKERS} attackers", "q", [(q, ATTACKERS) for q in VALUES]),
        ("over-f", f"q = {ALL} values", "f", [(ALL, f) for f in BYZANTINE]),
    ):
        lines = []
        positions = [q if axis == "q" else f for q, f in places]
        for rule in results.rules:
            ratios = [results.worst(rule, q, f) for q, f in places]
            points = [(x, r) for x, r in zip(positions, ratios, strict=True) if r is not None]
            if points and max(r for _, r in points) < CHART_LIMIT:
                lines.append(Line(rule, [x for x, _ in points], [r for _, r in points]))
        if "trimmed_mean" in results.rules:
            published = [theory.trimmed_mean_coefficient(q - f, f) for q, f in places]
            lines.append(Line("trimmed mean, published Δ", positions, published, style="dashed"))
        charts.append(
            Chart(f"found-{name}", f"Largest ratio in one dimension: {title}", axis,
                  "lower bound of Δ", lines, "y")
        )  # fmt: skip
    return charts


def _scopes_table(results: Searched) -> Table:
    rows: list[list[str | float | int]] = []
    for rule in results.rules:
        row: list[str | float | int] = [rule]
        for q, f in VECTORS:
            single = results.worst(rule, q, f)
            only_vectors = results.kinds[rule] == "vector"
            row += [
                "not defined" if only_vectors else "-" if single is None else single,
                results.verdict(rule, q, f).text,
            ]
        rows.append([*row, results.verdict(rule, *VECTORS[0]).witness])
    header = ["rule"]
    for q, f in VECTORS:
        header += [f"coordinate-wise Δ({q}, {f})", f"as a vector rule, f = {f}"]
    first = VECTORS[0][1]
    return Table(
        "scopes", f"Coordinate-wise and as a vector rule, {ALL} workers",
        [*header, f"what shows it, f = {first}"], rows,
    )  # fmt: skip


def _table(results: Searched) -> Table:
    rows: list[list[str | float | int]] = []
    for rule in results.rules:
        ratios = [results.worst(rule, q, f) for q, f in results.places]
        rows.append([rule, *("-" if ratio is None else ratio for ratio in ratios)])
    header = ["rule", *(f"Δ({q}, {f})" for q, f in results.places)]
    return Table("found", "Largest ratio found in one dimension (a lower bound of Δ)", header, rows)
