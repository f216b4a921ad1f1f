"""κ of (f, κ)-robust averaging, without training: proven, of any inputs, of recorded gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hgobench import aggregators, theory
from hgobench.aggregators import Scope
from hgobench.aggregators.averaging import lower_bound
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.evaluation.evaluate import chooses, reported
from hgobench.leaderboard import BOARD, Score
from hgobench.report.page import Cell, Finding, Page, Table, study
from hgobench.results import open_store
from hgobench.scenario import Scenario
from hgobench.statistics import Correlation, Floats, rank_correlation
from hgobench.theory.kappa import PUBLISHED

from .base import Options, Work, merge_settings, reject_unused_options

BASE: dict[str, Any] = {
    "data": "digits",
    "model": "softmax",
    "workers": 11,
    "byzantine": 2,
    "hardware": "powerful",
    "algorithm": "sgd",
    "rounds": 30,
    "learning_rate": 0.5,
}
CHAINS = (
    "nnm+trimmed_mean", "nnm+krum", "nnm+geometric_median", "arc+trimmed_mean",
    "bucketing[s=2]+trimmed_mean", "clipping+trimmed_mean", "ctma+median", "ctma+geometric_median",
)  # fmt: skip
SCOPES: tuple[Scope, ...] = ("block", "coordinate")
RECORDED = 4  # rounds of a run
LEAST = ("trimmed_mean", "median", "geometric_median")  # rules of which the least κ is proven
REACHED = 0.99
UNDEFINED = "undefined"


def searched(rule: str, scope: Scope, n: int, f: int, seed: int) -> dict[str, Any]:
    """Search the worst of any inputs; JSON knows all that it returns."""
    worst = theory.search_kappa(rule, n, f, scope=scope, seed=seed)
    return {
        "ratio": worst.ratio,
        "honest": worst.honest.tolist(),
        "byzantine": worst.byzantine.tolist(),
        "answer": worst.answer.tolist(),
        "how": worst.how,
        "tried": worst.tried,
    }


def of_run(rule: str, scope: Scope, scenario: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Search the worst beside the gradients of some rounds of an honest run."""
    cell = Scenario(**scenario)
    worst = theory.recorded_kappa(
        rule, _gradients(cell), cell.tolerated, scope=scope, seed=cell.seed
    )
    return [{"ratio": one.ratio, "how": one.how, "tried": one.tried} for one in worst]


@lru_cache(maxsize=4)
def _gradients(cell: Scenario) -> Floats:
    rounds = np.linspace(1, cell.rounds, min(RECORDED, cell.rounds)).round().astype(int)
    return theory.record(cell, tuple(dict.fromkeys(rounds.tolist())))


@dataclass(frozen=True)
class Kappa:
    """What is known of a rule in one scope.

    Attributes:
        rule, scope: which; scope ``"any"``: all, of a rule that treats each coordinate by itself.
        randomised: whether it draws.
        reason: why κ is undefined; empty: it is not, and:
        proven: κ; inf: there is none; None: nothing is proven.
        of_any: κ̂_any, the largest ratio of any inputs.
        of_data: κ̂_data, the mean over rounds of the largest ratios of recorded gradients.
        largest: of these rounds.
        how: where the search for κ̂_any began.
    """

    rule: str
    scope: str
    randomised: bool = False
    reason: str = ""
    proven: float | None = None
    of_any: float = math.nan
    of_data: float = math.nan
    largest: float = math.nan
    how: str = ""

    @property
    def share(self) -> float | None:
        """κ̂_any over the proven κ; None: there is no such finite number."""
        if not self.proven or math.isinf(self.proven):
            return None
        return self.of_any / self.proven

    @property
    def exceeds(self) -> bool:
        """Whether an input has a larger ratio than was proven."""
        if self.proven is None or self.reason:
            return False
        return theory.contradicts(max(self.of_any, self.largest), self.proven)


def scopes(rule: str, f: int) -> tuple[Scope, ...]:
    """Return the scopes of a rule that differ on complete vectors.

    Example:
        >>> scopes("median", 2), scopes("krum", 2), scopes("bulyan", 2)
        (('block',), ('block', 'coordinate'), ('block',))
    """
    built = aggregators.build(rule, f=f)
    if built.by_columns() or built.needs or built.stateful:
        return SCOPES[:1]
    return tuple(scope for scope in SCOPES if scope in built.scopes())


def check(options: Options) -> None:
    """Refuse what can't be heeded."""
    own = ("seed", "rule", "attack", "scope", "tolerated", "quorum")
    reject_unused_options(options, *own, rules=math.inf, against=True)
    _cell(options, 0)
    if options.against is not None:
        worst_cases_of(options.against)


def _cell(options: Options, seed: int) -> Scenario:
    fields = merge_settings(BASE, options.settings)
    return Scenario(**fields, rule="average", attack="none", seed=seed)


def measured(rules: Sequence[str], cells: Sequence[Scenario], work: Work) -> list[Kappa]:
    """Return what is known of every rule in every scope.

    Args:
        rules: their names.
        cells: honest runs, of the same n and f, that differ in their seeds.
        work: where it is computed and kept.
    """
    n, f = cells[0].sampled, cells[0].tolerated
    rows = [(rule, scope) for rule in rules for scope in scopes(rule, f)]
    reasons = {row: _refusal(*row, n, f) for row in rows}
    defined = [row for row in rows if not reasons[row]]
    tasks = []
    for rule, scope in defined:
        of = {"rule": rule, "scope": scope}
        for cell in cells:
            values = cell.to_dict()
            place = {**of, "n": n, "f": f, "seed": cell.seed}
            tasks.append(Task(searched, place, [{"rule": rule}]))
            tasks.append(Task(of_run, {**of, "scenario": values}, [values, {"rule": rule}]))
    answers = iter(work.measure(tasks))
    searches = {row: [(next(answers), next(answers)) for _ in cells] for row in defined}
    return [_kappa(*row, n, f, reasons[row], searches.get(row, [])) for row in rows]


def _refusal(rule: str, scope: Scope, n: int, f: int) -> str:
    try:
        theory.proven_kappa(rule, n, f, scope)
    except InputError as error:
        return "; ".join(problem.removeprefix("rule: ") for problem in error.problems)
    return ""


def _kappa(
    rule: str, scope: Scope, n: int, f: int, reason: str, searches: Sequence[tuple[Any, Any]]
) -> Kappa:
    """Return what is known of a rule in one scope, given its searches on each seed."""
    built = aggregators.build(rule, f=f, scope=scope)
    named = "any" if built.by_columns() else scope
    if reason:
        return Kappa(rule, named, bool(built.randomised), reason)
    best = max((one for one, _ in searches), key=lambda one: float(one["ratio"]))
    rounds = [float(worst["ratio"]) for _, run in searches for worst in run]
    parts = getattr(built, "made_of", (built,))
    return Kappa(
        rule,
        named,
        any(bool(getattr(part, "randomised", "")) for part in parts),
        "",
        theory.proven_kappa(rule, n, f, scope),
        float(best["ratio"]),
        sum(rounds) / len(rounds),
        max(rounds),
        str(best["how"]),
    )


# Against a board


Row = tuple[str, str]  # a rule and its scope
Worst = Mapping[str, Sequence[tuple[Row, float]]]  # of each board, by its title


def worst_cases(scores: Sequence[Score]) -> dict[str, list[tuple[Row, float]]]:
    """Return the worst case of every row of every board: the least mean accuracy of an attack.

    What is compared are rules: of a board with several algorithms, each has its own.

    Args:
        scores: of cells of one ruleset; those without attack count only where there is no other.

    Returns:
        By board and algorithm, pairs of rule and scope with the worst case.
    """
    boards: dict[tuple[Any, ...], dict[tuple[Any, ...], dict[str, list[float]]]] = {}
    makes = [name for name in (*Scenario.of_role(*BOARD), "algorithm") if name != "attack"]
    for score in scores:
        cell = score.row
        board = tuple(getattr(cell, name) for name in makes)
        row = (cell.rule, cell.scope, *(getattr(cell, name) for name in cell.of_role("defence")))
        by_attack = boards.setdefault(board, {}).setdefault(row, {})
        by_attack.setdefault(score.attack, []).append(score.accuracy)
    shown = [
        k for k, name in enumerate(makes)
        if name in ("data", "algorithm") or len({board[k] for board in boards}) > 1
    ]  # fmt: skip
    by_board: dict[str, list[tuple[Row, float]]] = {}
    for board, rows in boards.items():
        cases = []
        for row, by_attack in rows.items():
            attacked = {name: v for name, v in by_attack.items() if name != "none"} or by_attack
            cases.append(((row[0], row[1]), min(float(np.mean(v)) for v in attacked.values())))
        by_board[", ".join(f"{makes[k]} {board[k]}" for k in shown)] = cases
    return by_board


def worst_cases_of(folder: Path) -> Worst:
    """Return the worst cases of the boards of a folder of results, as `worst_cases` does.

    Of rows whose attacks were chosen it is that of the reported attacks on fresh seeds.

    Raises:
        InputError: it holds none, or results of several rulesets.
    """
    with open_store(folder, create=False) as store:
        stored = list(store.results())
        rulesets = sorted({name for name, _ in stored if not chooses(name)})
        if len(rulesets) != 1:
            raise InputError(
                f"--against: {str(folder)!r} holds {len(rulesets)} rulesets; expected one"
            )
        results = (result for name, result in stored if name == rulesets[0])
        return worst_cases(reported(store, rulesets[0], results).scores)


def correlations(known: Sequence[Kappa], worst: Worst) -> dict[str, dict[str, Correlation]]:
    """Return how κ̂_data and κ̂_any order rows in comparison with worst cases.

    A robust rule has a small κ and a high worst case: agreement is a τ near -1. On complete
    vectors "staircase" and "masked" are the rule on vectors, and have its κ.

    Args:
        known: of rules and scopes.
        worst: of boards; rows whose κ is not known, or undefined, are left out.

    Returns:
        By board, that of ``"κ̂_data"`` and ``"κ̂_any"``; boards of fewer than two rows are left out.
    """
    by_row: dict[Row, Kappa] = {}
    for one in known:
        for scope in aggregators.SCOPES:
            same = one.scope in ("any", scope) or (one.scope == "block" != scope != "coordinate")
            if same and not one.reason:
                by_row[one.rule, scope] = one
    by_board = {}
    for board, cases in worst.items():
        pairs = [(by_row[row], accuracy) for row, accuracy in cases if row in by_row]
        if len(pairs) < 2:
            continue
        accuracies = [accuracy for _, accuracy in pairs]
        by_board[board] = {
            "κ̂_data": rank_correlation([one.of_data for one, _ in pairs], accuracies),
            "κ̂_any": rank_correlation([one.of_any for one, _ in pairs], accuracies),
        }
    return by_board


# The page


def run(options: Options, work: Work) -> Page:
    """Search κ of every rule in every scope, and hold it against what is proven."""
    check(options)
    cells = [_cell(options, seed) for seed in range(options.seeds or 1)]
    names = list(options.rules) or [*aggregators.registry.names(), *CHAINS]
    known = measured(names, cells, work)
    worst = None if options.against is None else worst_cases_of(options.against)
    return page(known, cells[0], options, worst)


def page(
    known: Sequence[Kappa], cell: Scenario, options: Options, worst: Worst | None = None
) -> Page:
    """Return the page of what is known."""
    n, f = cell.sampled, cell.tolerated
    chains = [one for one in known if "+" in one.rule]
    alone = [one for one in known if "+" not in one.rule]
    about = f"κ̂ of n = {n} vectors at f = {f}"
    tables = [_table("kappa", about, alone, n, f)] if alone else []
    tables += [_table("chains", f"{about}, with pre-rules", chains, n, f)] if chains else []
    tables.append(_proven_table(known, n, f))
    findings = [_within(known), _reached(known), _unbounded(known), _published(known, n, f)]
    if worst is not None:
        compared = correlations(known, worst)
        findings.append(_ordered(compared))
        tables.append(_against_table(compared))
    return study(
        "kappa",
        "κ of robust averaging, without training",
        [
            "A rule F is (f, κ)-robust averaging (Allouah et al., AISTATS 2023) if for every n "
            "vectors and every S of n - f of them ‖F(x) - x̄_S‖² <= κ·1/|S| Σ_S ‖x_i - x̄_S‖². "
            f"Here n = {n} and f = {f}; no κ is below f/(n - 2f) = {lower_bound(n, f):.4g}.",
            "κ̂_any is the largest ratio of the two sides that a search over honest vectors and "
            "attacks has reached, a lower bound of the least κ. κ̂_data is the same where the "
            f"vectors of S are minibatch gradients of {min(RECORDED, cell.rounds)} rounds of an "
            f"honest run ({cell.data}, {cell.partition}): the mean over rounds of the largest "
            "ratio in each, and not a high quantile, as a run adds up what goes wrong in each "
            "round; the largest round is beside it. 'inf' is more than 10⁶.",
            "'any': the rule treats each coordinate by itself, so that all its scopes are one. "
            "'block' is the rule on complete vectors, and so are staircase and masked "
            "where all vectors are complete; 'coordinate' the rule on each coordinate by itself. "
            "Applied to each coordinate, a rule has in every dimension the κ that it has in one, "
            "as both sides are sums over coordinates. On ragged input what is proven holds of each "
            "coordinate ('coordinate'), or, of a staircase, of each step among the workers that "
            "reach it: the error on its places is at most κ times the variance on all places up to "
            "its end. Of 'masked' nothing is proven there.",
            "Rules that remember earlier rounds, or are told more than vectors, have no κ: "
            "'undefined'. Of a rule that draws at random it is that of one draw, which attackers "
            "know.",
        ],
        options.command("audit kappa"),
        findings,
        [],
        tables,
    )


def _within(known: Sequence[Kappa]) -> Finding:
    judged = [one for one in known if one.proven is not None and math.isfinite(one.proven)]
    above = [one for one in judged if one.exceeds]
    most = max((one for one in judged if one.share), key=lambda one: one.share or 0.0, default=None)
    return Finding(
        "no input exceeds a proven κ",
        not above if judged else None,
        "; ".join(f"{one.rule}, {one.scope}: {one.of_any:.4g} > {one.proven:.4g}" for one in above)
        or f"{len(judged)} rules and scopes"
        + (f"; nearest {most.rule}, {most.scope}: {most.share:.4f} of it" if most else ""),
    )


def _reached(known: Sequence[Kappa]) -> Finding:
    shares = {f"{one.rule}, {one.scope}": one.share for one in known
              if one.rule in LEAST and one.share is not None}  # fmt: skip
    return Finding(
        "the search reaches the least κ where that is known",
        min(shares.values()) > REACHED if shares else None,
        "; ".join(f"{name}: {share:.4f} of it" for name, share in shares.items())
        or f"none of {', '.join(LEAST)} was asked",
    )


def _unbounded(known: Sequence[Kappa]) -> Finding:
    none = [one for one in known if one.proven == math.inf]
    missed = [f"{one.rule}, {one.scope}" for one in none if math.isfinite(one.of_any)]
    also = [
        f"{one.rule}, {one.scope}" for one in known if one.proven is None and one.of_any == math.inf
    ]
    return Finding(
        "rules that have no κ are found out",
        not missed if none else None,
        (
            "none was asked"
            if not none
            else f"missed: {'; '.join(missed)}"
            if missed
            else f"all of {len(none)} rules and scopes"
        )
        + (f"; without a proof either way: {'; '.join(also)}" if also else ""),
    )


def _published(known: Sequence[Kappa], n: int, f: int) -> Finding:
    judged = [one for one in known if one.rule in PUBLISHED and not one.reason]
    above = [
        one for one in judged if theory.contradicts(one.of_any, PUBLISHED[one.rule].kappa(n, f))
    ]
    return Finding(
        "published κ hold",
        not above if judged else None,
        "exceeded: "
        + "; ".join(
            f"{one.rule}, {one.scope}: {one.of_any:.4g} > {PUBLISHED[one.rule].kappa(n, f):.4g}"
            + (f" (of {PUBLISHED[one.rule].of})" if PUBLISHED[one.rule].of else "")
            for one in above
        )
        if above
        else "; ".join(
            f"{one.rule}, {one.scope}: {one.of_any:.4g} of {PUBLISHED[one.rule].kappa(n, f):.4g}"
            for one in judged
        )
        or "none was asked",
    )


def _ordered(compared: Mapping[str, Mapping[str, Correlation]]) -> Finding:
    orders = [both["κ̂_data"] for both in compared.values()]
    return Finding(
        "the lower κ̂_data, the higher the worst case of a trained board",
        all(one.high < 0 for one in orders) if orders else None,
        "Kendall's τ with a 95 % interval: " + "; ".join(map(str, orders))
        if orders else "no board has two rows whose κ̂ is known",
    )  # fmt: skip


def _table(name: str, title: str, known: Sequence[Kappa], n: int, f: int) -> Table:
    rows: list[list[Cell]] = []
    least = lower_bound(n, f)
    for one in known:
        if one.reason:
            rows.append([one.rule, one.scope, *[UNDEFINED] * 3, "-", "-", "-", one.reason])
            continue
        flags = [
            "above what is proven" if one.exceeds else "",
            "randomised" if one.randomised else "",
        ]
        proven = "not proven" if one.proven is None else one.proven
        rows.append([
            one.rule, one.scope, one.of_any, one.of_data, one.largest, proven,
            "-" if one.share is None else one.share, one.of_any / least if least else "-",
            ", ".join(filter(None, flags)),
        ])  # fmt: skip
    return Table(
        name, title,
        ["rule", "scope", "κ̂_any", "κ̂_data", "largest round", "proven κ", "κ̂_any/proven",
         "κ̂_any/least of all rules", "flags"],
        rows,
    )  # fmt: skip


def _proven_table(known: Sequence[Kappa], n: int, f: int) -> Table:
    rows: list[list[Cell]] = []
    for rule in dict.fromkeys(one.rule for one in known if "+" not in one.rule and not one.reason):
        built = aggregators.build(rule, f=f)
        if not built.averaging:
            continue
        said = PUBLISHED.get(rule)
        rows.append([
            rule, built.averaging,
            f"{said.formula}{f' ({said.of})' if said.of else ''}" if said else "-",
            said.kappa(n, f) if said else "-",
        ])  # fmt: skip
    for name, registered in aggregators.pre_rules.builtins.items():
        factory: Any = registered.factory
        if factory.averaging:
            rows.append([f"{name}+", factory.averaging, factory.published or "-", "-"])
    return Table(
        "proven",
        "Proven κ of complete vectors, h = n - f (the proofs are in the docstrings of the rules)",
        ["rule", "proven κ", "published", f"at n = {n}, f = {f}"], rows,
    )  # fmt: skip


def _against_table(compared: Mapping[str, Mapping[str, Correlation]]) -> Table:
    return Table(
        "against", "Rank correlation with worst cases of trained boards (Kendall's τ)",
        ["board", "rows", "κ̂_data", "κ̂_any"],
        [
            [board, both["κ̂_data"].rows, str(both["κ̂_data"]), str(both["κ̂_any"])]
            for board, both in compared.items()
        ],
    )  # fmt: skip
