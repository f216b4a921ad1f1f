"""κ of (f, κ)-robust averaging: no input exceeds what is proven, and the search knows the worst."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hgobench import Scenario, aggregators, theory
from hgobench.aggregators import Rule, Scope, averaging
from hgobench.errors import InputError
from hgobench.simulation import Step, simulate
from hgobench.theory import kappa
from hgobench.theory.kappa import Floats

CHAINS = (
    "nnm+trimmed_mean", "nnm+krum", "nnm+geometric_median", "arc+trimmed_mean", "arc+nnm+median",
    "bucketing[s=2]+median", "bucketing[s=3]+trimmed_mean", "clipping+median", "nnm+average",
)  # fmt: skip
PLACES = ((11, 2), (12, 4))
SCOPES: tuple[Scope, ...] = ("block", "coordinate")


def proven(*, finite: bool) -> list[tuple[str, Scope, int, int]]:
    """Rules, forms, n and f of which something is proven."""
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
def test_on_complete_vectors_all_forms_of_vectors_are_one(rule: str) -> None:
    """So that what is proven of the block is proven of them, step by step of a staircase."""
    sample = torch.from_numpy(np.random.default_rng(2).standard_normal((11, 5)))
    plain = aggregators.build(rule, f=2)
    for scope in plain.scopes():
        if scope not in ("block", "coordinate"):
            made = aggregators.build(rule, f=2, scope=scope)
            assert torch.equal(made(sample), plain(sample)), scope
            assert made.proven_kappa(11) == plain.proven_kappa(11)
