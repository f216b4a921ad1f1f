"""κ of (f, κ)-robust averaging: no input exceeds what is proven, and the search knows the worst."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from hgobench import Scenario, Session, aggregators, open_store, theory
from hgobench.aggregators import Rule, Scope, averaging
from hgobench.audits import kappa as audit
from hgobench.audits.base import Options, Work, reject_unused_options
from hgobench.errors import InputError
from hgobench.leaderboard import Score
from hgobench.report.page import Page, Table
from hgobench.simulation import Step, simulate
from hgobench.statistics import rank_correlation
from hgobench.theory import kappa
from hgobench.theory.kappa import Floats
from tests.test_cli import hgobench

CHAINS = (
    "nnm+trimmed_mean", "nnm+krum", "nnm+geometric_median", "arc+trimmed_mean", "arc+nnm+median",
    "bucketing[s=2]+median", "bucketing[s=3]+trimmed_mean", "clipping+median", "nnm+average",
    "ctma+median", "ctma+geometric_median", "rlr[threshold=9]+median", "foundation_fl[copies=0]+median",
)  # fmt: skip
PLACES = ((11, 2), (12, 4))
SCOPES: tuple[Scope, ...] = ("block", "coordinate")


def proven(*, finite: bool) -> list[tuple[str, Scope, int, int]]:
    """Rules, scopes, n and f of which something is proven."""
    listed = []
    for rule in (*aggregators.registry.builtins, *CHAINS):
        for scope in SCOPES:
            for n, f in PLACES:
                try:
                    known = theory.proven_kappa(rule, n, f, scope)
                except InputError:
                    continue
                if known is not None and math.isfinite(known) == finite:
                    listed.append((rule, scope, n, f))
    return listed


BOUNDED = proven(finite=True)
UNBOUNDED = [case for case in proven(finite=False) if case[2:] == (11, 2)]


def by_definition(answer: Floats, honest: Floats) -> float:
    """‖F(x) - x̄_S‖² over 1/|S| Σ ‖x_i - x̄_S‖², in loops."""
    h, d = honest.shape
    mean = [math.fsum(honest[i, j] for i in range(h)) / h for j in range(d)]
    wrong = math.fsum((float(answer[j]) - mean[j]) ** 2 for j in range(d))
    spread = math.fsum((float(honest[i, j]) - mean[j]) ** 2 for i in range(h) for j in range(d))
    return float(wrong / (spread / h))


def asked(rule: Rule, sample: Floats) -> Floats:
    answer: Floats = rule(torch.from_numpy(sample)).numpy()
    return answer


@pytest.mark.parametrize(("rule", "scope", "n", "f"), BOUNDED)
def test_no_input_exceeds_what_is_proven(rule: str, scope: Scope, n: int, f: int) -> None:
    made, bound = kappa.built(rule, n, f, scope), theory.proven_kappa(rule, n, f, scope)
    rng = np.random.default_rng(n + f)
    starts = [s for d in (1, 3) for s, _ in kappa._starts(n - f, f, d, (0.0, 3.0), rng)]
    assert bound is not None
    for i in rng.permutation(len(starts))[:25]:
        honest = starts[i][f:]
        if (honest != honest[0]).any():
            # One attacker of 10⁶ costs 6 of 16 digits.
            assert by_definition(asked(made, starts[i]), honest) <= bound * (1 + 1e-6) + 1e-6


@pytest.mark.long
@pytest.mark.parametrize(
    ("rule", "scope", "n", "f"),
    [case for case in BOUNDED if "smea" not in case[0]],
)
def test_no_search_exceeds_what_is_proven(rule: str, scope: Scope, n: int, f: int) -> None:
    bound = theory.proven_kappa(rule, n, f, scope)
    found = theory.search_kappa(rule, n, f, scope=scope, generations=30)
    assert bound is not None
    assert found.ratio <= bound * (1 + 1e-6)
    # No rule has a κ below f/(n - 2f): a search that stays below it is no good.
    assert found.ratio >= 0.99 * averaging.lower_bound(n, f) or rule.startswith("bucketing")


@pytest.mark.parametrize(("rule", "scope", "n", "f"), UNBOUNDED)
def test_where_there_is_no_kappa_the_search_says_so(
    rule: str, scope: Scope, n: int, f: int
) -> None:
    assert theory.search_kappa(rule, n, f, scope=scope, generations=1).ratio == math.inf


@pytest.mark.parametrize(
    ("rule", "n", "f"),
    [("trimmed_mean", 11, 2), ("trimmed_mean", 11, 4), ("trimmed_mean", 12, 3), ("median", 11, 4),
     ("median", 11, 2), ("median", 12, 3)],
)  # fmt: skip
def test_the_search_reaches_the_least_kappa(rule: str, n: int, f: int) -> None:
    least = theory.proven_kappa(rule, n, f)
    assert theory.search_kappa(rule, n, f, generations=5).ratio == pytest.approx(least, rel=1e-3)


@pytest.mark.long
def test_the_search_reaches_what_vector_rules_have_at_most() -> None:
    for rule, n, f in (("geometric_median", 11, 2), ("smea", 9, 2)):
        found = theory.search_kappa(rule, n, f)
        assert found.ratio == pytest.approx(theory.proven_kappa(rule, n, f), rel=0.01)


def test_the_geometric_median_approaches_its_kappa_of_an_even_number() -> None:
    """In one dimension that is the median's; two clusters spread across the line show the rest."""
    n, f = 12, 3
    honest = np.zeros((9, 2))
    honest[:6, 1] = [1e-3, -1e-3, 2e-3, -2e-3, 3e-3, -3e-3]
    honest[6:, 0] = 1.0
    sample = np.r_[np.tile([9.0, 0.0], (f, 1)), honest]
    ratio = by_definition(asked(aggregators.build("geometric_median", f=f), sample), honest)
    assert theory.proven_kappa("geometric_median", n, f) == 2.0
    assert theory.proven_kappa("geometric_median", n, f, "coordinate") == 1.25
    assert 1.99 < ratio < 2.0


@pytest.mark.parametrize("correct", [5, 6, 9, 16])
@pytest.mark.parametrize("f", [0, 1, 2, 4])
def test_the_coefficient_of_definition_1_is_kappa_and_one(correct: int, f: int) -> None:
    """It is about any point, κ about the mean."""
    n = correct + f
    least = theory.sharp_trimmed_mean_coefficient(correct, f)
    assert least == pytest.approx(averaging.lower_bound(n, f) + 1)
    assert theory.median_coefficient(correct, f) == pytest.approx(averaging.of_median(n, f) + 1)


def test_chains_compose_what_is_proven() -> None:
    n, f = 20, 4
    mean = f / (n - 2 * f)
    mixed = 8 * f / (n - f) * (mean + 1)
    assert theory.proven_kappa("nnm+trimmed_mean", n, f) == pytest.approx(mixed)
    cut = 2 * f * (n - f) // n
    shortened = mixed + cut / (n - f - cut)
    assert theory.proven_kappa("arc+nnm+trimmed_mean", n, f) == pytest.approx(shortened)
    assert cut / (n - f - cut) <= 2 * f / (n - 2 * f)
    of_buckets = (n - f) / (n - 2 * f) * (f / (10 - 2 * f) + 1) - 1
    assert theory.proven_kappa("bucketing[s=2]+trimmed_mean", n, f) == pytest.approx(of_buckets)
    assert theory.proven_kappa("bucketing[s=1]+median", n, f) == pytest.approx(
        averaging.of_median(n, f)
    )
    assert theory.proven_kappa("nnm+average", n, f) is None
    assert theory.proven_kappa("clipping+median", n, f) == math.inf
    assert theory.proven_kappa("caf", n, f) is None


def test_published_constants_hold_where_a_lower_one_is_proven() -> None:
    for rule in ("trimmed_mean", "median", "geometric_median"):
        for n, f in PLACES:
            bound = theory.proven_kappa(rule, n, f)
            assert bound is not None
            assert bound <= kappa.PUBLISHED[rule].kappa(n, f) or f == 0


@pytest.mark.parametrize(
    "rule",
    ["krum", "multi_krum", "geometric_median", "mda", "smea", "caf", "nnm+krum", "nnm+multi_krum",
     "bucketing[s=2]+krum", "average"],
)  # fmt: skip
def test_ratios_are_those_of_the_turned_shifted_and_scaled(rule: str) -> None:
    n, f, d = 15, 2, 4
    made = aggregators.build(rule, f=f)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        sample = rng.standard_normal((n, d))
        sample[:f] += 2.0
        turn = np.linalg.qr(rng.standard_normal((d, d)))[0]
        moved = 7.0 * sample @ turn + rng.standard_normal(d)
        first = by_definition(asked(made, sample), sample[f:])
        assert by_definition(asked(made, moved), moved[f:]) == pytest.approx(first, rel=1e-5)


def test_a_ratio_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        answer, honest = rng.standard_normal(3), rng.standard_normal((7, 3)) + 5.0
        assert kappa.ratio(answer, honest) == pytest.approx(by_definition(answer, honest))
    alike = np.full((7, 3), 0.1)
    assert kappa.ratio(alike[0], alike) == 0.0
    assert kappa.ratio(alike[0] + 1e-6, alike) == math.inf


def test_what_a_search_returns_is_what_the_rule_does() -> None:
    found = theory.search_kappa("krum", 11, 2, scope="coordinate", generations=2)
    again = theory.search_kappa("krum", 11, 2, scope="coordinate", generations=2)
    assert found.ratio == again.ratio
    assert np.array_equal(found.honest, again.honest)
    sample = np.r_[found.byzantine, found.honest]
    answer = asked(aggregators.build("krum", f=2), sample)
    assert np.array_equal(answer, found.answer)
    assert by_definition(answer, found.honest) == pytest.approx(found.ratio, rel=1e-6)


@pytest.mark.parametrize(
    ("rule", "f", "message"),
    [
        ("fltrust", 2, "rule: 'fltrust' needs root; κ is undefined"),
        ("oracle", 2, "rule: 'oracle' needs honest; κ is undefined"),
        ("centered_clipping", 2, "rule: 'centered_clipping' remembers earlier rounds; κ is undef"),
        ("krum", 5, "rule: 'krum' takes no n=11 vectors at f=5"),
    ],
)
def test_what_has_no_kappa_is_refused(rule: str, f: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        theory.search_kappa(rule, 11, f)
    with pytest.raises(InputError, match=message):
        theory.proven_kappa(rule, 11, f)
    with pytest.raises(InputError, match=message):
        theory.recorded_kappa(rule, np.zeros((1, 11, 3)), f)


# Recorded gradients

RUN = Scenario(
    workers=11, byzantine=2, rounds=3, rule="average", attack="none", algorithm="sgd",
    hardware="powerful", evaluation_interval=3,
)  # fmt: skip


def test_recorded_gradients_are_what_the_server_averages() -> None:
    steps: list[Step] = []
    simulate([RUN], observe=steps.append)
    recorded = theory.record(RUN, (1, 3))
    for gradients, step in zip(recorded, (steps[0], steps[2]), strict=True):
        assert np.allclose(gradients.mean(axis=0), step.aggregate.numpy(), atol=1e-6)
    with pytest.raises(RuntimeError, match="it ended before the last round"):
        theory.record(RUN, (1, 4))


def test_the_worst_of_recorded_gradients() -> None:
    gradients = theory.record(RUN, (3,))[..., :40]
    for rule in ("trimmed_mean", "multi_krum"):
        worst = theory.recorded_kappa(rule, gradients, 2, generations=3)
        for one, each in zip(worst, gradients, strict=True):
            assert np.array_equal(one.honest, each[:9])
            answer = asked(aggregators.build(rule, f=2), np.r_[one.byzantine, one.honest])
            assert by_definition(answer, one.honest) == pytest.approx(one.ratio, rel=1e-6)
            assert one.ratio <= theory.proven_kappa(rule, 11, 2)  # type: ignore[operator]
            # Mere outliers do less.
            far = np.r_[np.tile(each.mean(axis=0) + 1e3, (2, 1)), each[:9]]
            assert one.ratio > by_definition(asked(aggregators.build(rule, f=2), far), each[:9])
    assert theory.recorded_kappa("average", gradients, 2)[0].ratio == math.inf
    assert theory.recorded_kappa("trimmed_mean", gradients, 0)[0].ratio == 0.0


@pytest.mark.parametrize("rule", ["krum", "geometric_median", "nnm+multi_krum"])
def test_on_complete_vectors_all_scopes_of_vectors_are_one(rule: str) -> None:
    """So that what is proven of the block is proven of them, step by step of a staircase."""
    sample = torch.from_numpy(np.random.default_rng(2).standard_normal((11, 5)))
    plain = aggregators.build(rule, f=2)
    for scope in plain.scopes():
        if scope not in ("block", "coordinate"):
            made = aggregators.build(rule, f=2, scope=scope)
            assert torch.equal(made(sample), plain(sample)), scope
            assert made.proven_kappa(11) == plain.proven_kappa(11)


# The audit


class Claims(aggregators.TrimmedMean):
    """A rule that claims half of the least κ."""

    def proven_kappa(self, n: int) -> float | None:
        return averaging.lower_bound(n, self.f) / 2


def tables(page: Page) -> dict[str, Table]:
    return {block.name: block for block in page.blocks if isinstance(block, Table)}


def known(**changes: object) -> audit.Kappa:
    plain = audit.Kappa("trimmed_mean", "any", proven=2 / 7, of_any=2 / 7, of_data=0.1, largest=0.2)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_search_above_what_is_proven_is_a_flag_and_a_finding() -> None:
    cell = Scenario(**audit.BASE, rule="average", attack="none")
    rule = "tests.test_kappa:Claims"
    found = audit.searched(rule, "block", 11, 2, 0)
    claimed = theory.proven_kappa(rule, 11, 2)
    assert found["ratio"] == pytest.approx(2 * claimed, rel=1e-3)  # type: ignore[operator]
    page = audit.page([known(rule=rule, proven=claimed, of_any=found["ratio"])], cell, Options())
    (row,) = tables(page)["kappa"].rows
    assert row[-1] == "above what is proven"
    assert row[-3] == pytest.approx(2.0, rel=1e-3)
    within = page.findings[0]
    assert within.holds is False
    assert within.evidence == "tests.test_kappa:Claims, any: 0.2857 > 0.1429"


def test_findings_can_fail() -> None:
    cell = Scenario(**audit.BASE, rule="average", attack="none")
    calm = audit.page([known(), known(rule="average", proven=math.inf, of_any=math.inf)], cell,
                      Options())  # fmt: skip
    assert [finding.holds for finding in calm.findings] == [True] * 4
    weak = audit.page(
        [known(of_any=0.2), known(rule="average", proven=math.inf, of_any=3.0),
         known(rule="krum", proven=None, of_any=8.0)], cell, Options(),
    )  # fmt: skip
    assert [finding.holds for finding in weak.findings] == [True, False, False, False]
    assert weak.findings[2].evidence == "missed: average, any"
    assert "krum, any: 8 > 7.714" in weak.findings[3].evidence


def test_what_remembers_or_is_told_more_is_undefined(tmp_path: Path) -> None:
    cell = Scenario(**audit.BASE, rule="average", attack="none")
    with open_store(tmp_path) as store:
        names = ["fltrust", "oracle", "foolsgold", "nnm+centered_clipping"]
        rows = audit.measured(names, [cell], Work(Session(store)))
    made = tables(audit.page(rows, cell, Options()))
    assert list(made) == ["kappa", "chains", "proven"]
    undefined = [*made["kappa"].rows, *made["chains"].rows]
    assert [row[0] for row in undefined] == names
    for row in undefined:
        assert row[2:5] == ["undefined"] * 3
        assert "κ is undefined" in str(row[-1])


@pytest.mark.long
def test_the_audit_of_a_rule_of_ones_own_against_a_folder(tmp_path: Path) -> None:
    trained = hgobench(
        "run", "quick", "--set", "rule=average,median,trimmed_mean,krum",
        "--set", "attack=foe", "--set", "seed=0", "--set", "rounds=10", "--out",
        str(tmp_path / "trained"), "--quiet",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    found = hgobench(
        "audit", "kappa", "--rule", "tests.test_kappa:Claims,average,median,trimmed_mean",
        "--set", "rounds=2", "--against", str(tmp_path / "trained"), "--out",
        str(tmp_path / "out"), "--quiet",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    told = " ".join(found.stdout.split())
    assert "above what is proven" in told
    assert "Rank correlation with worst cases of trained boards" in told
    assert told.count("(3 rows)") >= 4  # HGO and SGD, κ̂_data and κ̂_any


def score(rule: str, attack: str, accuracy: float, seed: int = 0, rounds: int = 100) -> Score:
    cell = Scenario(
        workers=11, byzantine=2, rule=rule, attack=attack, seed=seed, rounds=rounds
    )  # fmt: skip
    return Score(cell, "done", accuracy)


def test_worst_cases_are_the_least_mean_of_an_attack() -> None:
    scores = [
        score("median", "none", 0.1), score("median", "foe", 0.9), score("median", "foe", 0.5, 1),
        score("median", "alie", 0.6), score("median", "alie", 0.7, 1), score("krum", "none", 0.8),
        score("median", "foe", 0.2, rounds=7),
    ]  # fmt: skip
    boards = audit.worst_cases(scores)
    assert list(boards) == [
        "data digits, rounds 100, algorithm hgo", "data digits, rounds 7, algorithm hgo"
    ]  # fmt: skip
    first, second = boards.values()
    assert dict(first) == {
        ("median", "coordinate"): pytest.approx(0.65), ("krum", "staircase"): 0.8
    }  # fmt: skip
    assert second == [(("median", "coordinate"), 0.2)]


def test_correlations_pair_rules_and_scopes() -> None:
    rows = [known(of_data=0.1), known(rule="krum", scope="block", of_data=2.0, of_any=3.0),
            known(rule="krum", scope="coordinate", of_data=0.5, of_any=1.0),
            known(rule="fltrust", scope="block", reason="undefined")]  # fmt: skip
    board = [
        (("trimmed_mean", "coordinate"), 0.9), (("krum", "staircase"), 0.2),
        (("krum", "coordinate"), 0.6), (("fltrust", "block"), 0.8), (("phocas", "block"), 0.8),
    ]  # fmt: skip
    told = audit.correlations(rows, {"board 1": board, "board 2": board[:1]})
    assert list(told) == ["board 1"]
    assert told["board 1"]["κ̂_data"].tau == -1.0
    assert told["board 1"]["κ̂_any"].rows == 3


def test_options_that_are_not_heeded_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this audit compares with no results"):
        reject_unused_options(Options(against=tmp_path))
    with open_store(tmp_path / "empty"):
        pass
    with pytest.raises(InputError, match="holds 0 rulesets; expected one"):
        audit.check(Options(against=tmp_path / "empty"))
    with pytest.raises(InputError, match="settings: scope: the audit chooses it"):
        audit.check(Options(settings={"scope": "block"}))
    assert Options(against=tmp_path).command("audit kappa").endswith(f"--against {tmp_path}")


def test_a_rank_correlation_is_that_of_its_definition() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.integers(5, size=12).astype(float), rng.integers(5, size=12).astype(float)
    agree, x_pairs, y_pairs = 0.0, 0, 0
    for i, j in combinations(range(12), 2):
        agree += np.sign(x[i] - x[j]) * np.sign(y[i] - y[j])
        x_pairs += x[i] != x[j]
        y_pairs += y[i] != y[j]
    found = rank_correlation(x.tolist(), y.tolist())
    assert found.tau == pytest.approx(agree / math.sqrt(x_pairs * y_pairs))
    assert found.low < found.tau < found.high
    assert rank_correlation([1.0, math.inf, 2.0, 3.0], [4.0, 1.0, 3.0, 2.0]).tau == -1.0
    assert math.isnan(rank_correlation([1.0, 1.0], [1.0, 2.0]).tau)
    assert math.isnan(rank_correlation([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).low)
    with pytest.raises(InputError, match="rank correlation: 2 and 1 values"):
        rank_correlation([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="NaN has no rank"):
        rank_correlation([1.0, math.nan], [1.0, 2.0])


@pytest.mark.parametrize("rows", [5, 8, 20])
def test_the_interval_of_a_rank_correlation_covers(rows: int) -> None:
    """Of bivariate normal columns τ is 2/π·arcsin ρ."""
    rng = np.random.default_rng(rows)
    for rho in (0.0, 0.6, 0.9):
        covered, repeats = 0, 100
        for _ in range(repeats):
            x = rng.standard_normal(rows)
            y = rho * x + math.sqrt(1 - rho**2) * rng.standard_normal(rows)
            found = rank_correlation(x.tolist(), y.tolist())
            covered += found.low <= 2 / math.pi * math.asin(rho) <= found.high
        assert covered >= 85, rho
    assert rank_correlation(range(5), range(0, -5, -1)).high > 0  # 5 rows do not show it for all
    assert rank_correlation(range(10), range(0, -10, -1)).high < -0.7
