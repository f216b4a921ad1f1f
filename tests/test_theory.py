"""The paper's constants and bounds, each against its definition."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hgobench import Scenario, aggregators, models, theory
from hgobench.aggregators import ServerView
from hgobench.errors import InputError
from hgobench.models import Model
from hgobench.paper import quirks
from hgobench.simulation import Step, simulate
from hgobench.statistics import interval
from hgobench.theory import Moments, Objective, objective, robustness
from tests import oracles

SMALL: dict[str, Any] = {"workers": 8, "byzantine": 2, "quorum": 5, "batch_size": 4, "rounds": 3}


def examples(n: int = 40, p: int = 5) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(3)
    return rng.standard_normal((n, p)).astype(np.float32), rng.integers(0, 2, n)


def build(name: str, features: int = 5, classes: int = 2) -> Model:
    return models.registry.build(name, features=features, classes=classes)


def gradient(model: Model, w: torch.Tensor, x: Any, y: Any) -> NDArray[np.float64]:
    """The mean gradient over examples, (d,)."""
    found = model.gradients(w[None], torch.from_numpy(x)[None], torch.from_numpy(y)[None])
    return found[0, 0].double().numpy()


# Curvature

EXACT = ["quadratic[condition=6.0]", "linear[ridge=0.5]", "linear"]
BOUNDED = ["softmax[ridge=0.1]", "logistic[ridge=0.1]", "softmax", "logistic"]


@pytest.mark.parametrize("name", EXACT + BOUNDED)
def test_no_gradient_changes_faster_than_the_constants_say(name: str) -> None:
    model, (x, y) = build(name), examples()
    known = theory.curvature(model, x, y)
    rng = np.random.default_rng(0)
    for scale in (0.1, 1.0, 10.0):
        for _ in range(20):
            a, b = (
                torch.from_numpy(scale * rng.standard_normal(model.dimension)).float()
                for _ in range(2)
            )
            change = gradient(model, a, x, y) - gradient(model, b, x, y)
            away = float((a - b).double().norm())
            assert (np.abs(change) <= known.smoothness * away * (1 + 1e-4) + 1e-5).all()
            assert np.linalg.norm(change) <= known.lipschitz * away * (1 + 1e-4)
            along = float(change @ (a - b).double().numpy())
            assert along >= known.strong_convexity * away**2 * (1 - 1e-4)


@pytest.mark.parametrize("name", EXACT)
def test_the_constants_of_quadratic_losses_are_the_least(name: str) -> None:
    """A step along a row of the Hessian changes its partial derivative by as much as L_j says."""
    model, (x, y) = build(name), examples()
    known = theory.curvature(model, x, y)
    assert known.exact
    assert known.hessian is not None
    assert known.optimum is not None
    zero = torch.zeros(model.dimension)
    start = gradient(model, zero, x, y)
    for j, row in enumerate(known.hessian):
        step = torch.from_numpy(row / np.linalg.norm(row)).float()
        assert (gradient(model, step, x, y) - start)[j] == pytest.approx(
            known.smoothness[j], rel=1e-3
        )
    values, vectors = np.linalg.eigh(known.hessian)
    assert known.strong_convexity == pytest.approx(values[0])
    assert known.lipschitz == pytest.approx(values[-1])
    flattest = torch.from_numpy(vectors[:, 0]).float()
    change = gradient(model, flattest, x, y) - start
    assert change @ vectors[:, 0] == pytest.approx(known.strong_convexity, rel=1e-2)
    assert np.abs(gradient(model, torch.from_numpy(known.optimum).float(), x, y)).max() < 1e-5


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_of_the_curvature_are_not_far_off(name: str) -> None:
    """Within a factor 4 of the Hessian somewhere; μ is exact, where all classes shift alike."""
    model, (x, y) = build(name), examples()
    known = theory.curvature(model, x, y)
    assert not known.exact
    assert known.hessian is None

    def loss(w: torch.Tensor) -> torch.Tensor:
        scores = model.logits(w[None], torch.from_numpy(x))[0].T  # type: ignore[attr-defined]
        mean = torch.nn.functional.cross_entropy(scores, torch.from_numpy(y))
        return mean + known.strong_convexity / 2 * w.square().sum()

    found = torch.autograd.functional.hessian(loss, torch.zeros(model.dimension))  # type: ignore[no-untyped-call]
    hessian = found.numpy()
    rows = np.linalg.norm(hessian, axis=1)
    assert (rows <= known.smoothness * (1 + 1e-5)).all()
    assert (rows >= known.smoothness / 4).all()
    assert np.linalg.eigvalsh(hessian)[-1] >= known.lipschitz / 2
    if name.startswith("softmax"):
        assert np.linalg.eigvalsh(hessian)[0] == pytest.approx(known.strong_convexity, abs=1e-5)


def test_a_flat_direction_is_flat_whatever_rounding_says() -> None:
    x, y = examples()
    assert (
        theory.curvature(build("linear"), np.pad(x[:, :4], ((0, 0), (0, 1))), y).strong_convexity
        == 0
    )


def test_step_sizes_of_both_papers() -> None:
    found = theory.curvature(build("linear[ridge=0.5]"), *examples())
    assert found.block_step == pytest.approx(1 / found.smoothness.sum())
    assert found.dimension_step == pytest.approx(1 / (math.sqrt(6) * found.smoothness.max()))
    assert found.block_step <= found.dimension_step <= 1 / found.lipschitz


def test_what_has_no_known_curvature_is_refused() -> None:
    with pytest.raises(InputError, match="Svm: its curvature is not known; it is for quadratic"):
        theory.curvature(build("svm"), *examples())
    # A subclass has another loss.
    with pytest.raises(InputError, match="Logistic: its curvature"):
        theory.curvature(quirks.Logistic(5, 2), *examples())


# Moments


def test_the_factor_of_a_minibatch_is_that_of_drawing_without_replacement() -> None:
    """Against the variance of the means of all subsets."""
    values = np.random.default_rng(0).standard_normal(6)
    for s in range(1, 7):
        means = [np.mean(c) for c in itertools.combinations(values, s)]
        (factor,) = theory.minibatch_factor(np.array([s]), np.array([6]))
        assert np.var(means) == pytest.approx(values.var() / factor, abs=1e-12)
    assert np.isinf(theory.minibatch_factor(np.array([9]), np.array([6]))[0])


@pytest.mark.parametrize("model", ["softmax", "linear[ridge=0.5]", "quadratic"])
def test_moments_are_those_of_each_workers_examples(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Objective(Scenario(**SMALL, model=model, partition="dirichlet[alpha=1.0]"))
    w = problem.world.initial() + 0.1
    found = problem.moments(w)
    assert found.mean.shape == found.variance.shape == (6, problem.dimension)
    train, total = problem.world.data.train, np.zeros(problem.dimension)
    for row, worker in enumerate(problem.correct):
        shard = problem.world.shards[worker]
        each = [
            gradient(problem.world.model, w, train.features[i : i + 1], train.labels[i : i + 1])
            for i in shard
        ]
        assert found.mean[row] == pytest.approx(np.mean(each, axis=0), abs=1e-5)
        assert found.variance[row] == pytest.approx(np.var(each, axis=0), rel=1e-3, abs=1e-5)
        total += np.sum(each, axis=0)
    assert found.gradient == pytest.approx(total / problem.size.sum(), abs=1e-5)
    assert found.bias == pytest.approx(np.abs(found.mean - found.gradient))
    monkeypatch.setattr(objective, "AT_ONCE", 1)  # worker by worker
    again = problem.moments(w)
    assert again.mean == pytest.approx(found.mean, abs=1e-6)
    assert again.variance == pytest.approx(found.variance, rel=1e-5, abs=1e-6)


def test_the_objective_is_that_of_correct_workers() -> None:
    cell = Scenario(**SMALL, model="linear[ridge=0.5]")
    problem = Objective(cell)
    byzantine = problem.world.byzantine(2)
    assert problem.correct.tolist() == np.flatnonzero(~byzantine).tolist()
    best = torch.from_numpy(problem.curvature.optimum).float()
    assert problem.excess(best) == pytest.approx(0, abs=1e-9)
    w = best + 0.3
    assert problem.excess(w) == pytest.approx(problem.loss(w) - problem.loss(best), rel=1e-3)
    with pytest.raises(InputError, match="the minimum of this loss has no closed form"):
        Objective(Scenario(**SMALL)).excess(torch.zeros(650))
    with pytest.raises(InputError, match="theory knows s_i only of 'fixed'"):
        Objective(Scenario(**SMALL, workload="data_first"))


def some_moments(workers: int = 4, d: int = 3) -> Moments:
    rng = np.random.default_rng(5)
    mean = rng.standard_normal((workers, d))
    return Moments(mean, rng.random((workers, d)), mean.mean(axis=0) + 0.1)


def test_errors_by_their_definition() -> None:
    at, factor = some_moments(), np.array([2.0, 3.0, 5.0, math.inf])
    for growth in (0.0, 0.7):
        bound = max(
            at.variance[i, j] - growth * at.gradient[j] ** 2 for i in range(4) for j in range(3)
        )
        assert at.variance_bound(growth) == pytest.approx(max(bound, 0.0))
        terms = [
            [max(bound, 0.0) / factor[i] + at.bias[i, j] ** 2 for i in range(4)] for j in range(3)
        ]
        assert at.statistical_error(factor, growth) == pytest.approx(sum(map(sum, terms)) / 4)
        worst = sum(sum(sorted(column)[-2:]) / 2 for column in terms)
        assert at.statistical_error(factor, growth, among=2) == pytest.approx(worst)
        inner = [sum(growth / f for f in factor) ** 2 for _ in range(3)]
        assert at.noise_growth(factor, growth) == pytest.approx(math.sqrt(sum(inner)) / 4)
    assert at.noise_growth(factor, 1.0, among=1) == pytest.approx(math.sqrt(3) / 2.0)
    assert at.statistical_error(factor, among=4) == at.statistical_error(factor)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_the_region_is_over_all_blocks(block: int) -> None:
    at = some_moments()
    squares = np.square(at.gradient)
    for delta, error, growth in ((0.5, 0.01, 0.2), (1.0, 0.3, 0.2), (1.0, 1e-6, 1.5)):
        every = all(
            (1 - delta * growth) * squares[list(b)].sum() > delta * error
            for b in itertools.combinations(range(3), block)
        )
        assert at.in_region(delta, error, growth, block) == every


def test_dissimilarity_is_the_least_along_the_run() -> None:
    """Workers at g ± √(4 + 9·‖g‖²) in one of two coordinates: G² = 4 where g is least, B² = 9."""
    run = []
    for g in (3.0, 1.0, 1e-9):
        apart = math.sqrt(4.0 + 9.0 * 2 * g**2)
        mean = np.array([[g + apart, g], [g - apart, g]])
        weighted = mean[0]  # as if the first had nearly all examples: each counts the same
        run.append(theory.spread(Moments(mean, np.zeros((2, 2)), weighted)))
        assert list(run[-1]) == pytest.approx([2 * g**2, apart**2])
    found = theory.dissimilarity(run)
    assert found.constant == pytest.approx(4.0)
    assert found.growth == pytest.approx(9.0)
    assert theory.breakdown_limit(found.growth) == pytest.approx(1 / 11)
    assert theory.dissimilarity(run[-1:]).growth == 0.0


# Robustness


def test_coefficients_in_closed_form() -> None:
    assert theory.trimmed_mean_coefficient(12, 3) == pytest.approx(2 * 12 * 15 / 81)
    assert theory.sharp_trimmed_mean_coefficient(12, 3) == pytest.approx(12 / 9)
    assert theory.median_coefficient(8, 2) == pytest.approx(8 / 4)
    for function in (
        theory.trimmed_mean_coefficient,
        theory.sharp_trimmed_mean_coefficient,
        theory.median_coefficient,
    ):
        assert function(3, 3) == math.inf
    for function in (theory.trimmed_mean_coefficient, theory.sharp_trimmed_mean_coefficient):
        coefficients = [function(q - 2, 2) for q in range(6, 60)]
        assert all(b < a for a, b in itertools.pairwise(coefficients)), "they fall with q"
    # That of the median does not.
    assert [theory.median_coefficient(q - 2, 2) for q in (6, 7, 8, 9)] == pytest.approx(
        [2, 5 / 2, 2, 7 / 3]
    )


@pytest.mark.parametrize("rule", ["trimmed_mean", "median"])
@given(data=st.data())
def test_no_input_exceeds_the_least_coefficient(rule: str, data: st.DataObject) -> None:
    """With any attackers, as many as the rule is told or fewer, and any honest values."""
    f = data.draw(st.integers(0, 3))
    attackers = data.draw(st.integers(0, f)) if rule == "trimmed_mean" else f
    correct = data.draw(st.integers(f + 1, 9))
    numbers = st.floats(-100, 100, width=32)
    honest = data.draw(st.lists(numbers, min_size=correct, max_size=correct))
    hostile = data.draw(st.lists(numbers, min_size=attackers, max_size=attackers))
    values = torch.tensor([*honest, *hostile], dtype=torch.float64)[:, None]
    if len(values) < 2 * f + 1:
        return
    answer = float(aggregators.build(rule, f=f)(values)[0])
    least = robustness.exact_coefficient(rule, correct, f)
    assert least is not None
    assert answer**2 <= least * float(np.mean(np.square(honest))) * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("rule", ["trimmed_mean", "median", "average"])
@pytest.mark.parametrize(("q", "f"), [(7, 0), (7, 2), (9, 2), (10, 3), (24, 5)])
def test_the_search_finds_the_worst_case_where_it_is_known(rule: str, q: int, f: int) -> None:
    found = theory.search(rule, q, f)
    least = robustness.exact_coefficient(rule, q - f, f)
    assert least is not None
    assert found.ratio == pytest.approx(least, rel=1e-2)
    assert found.ratio <= least * (1 + 1e-9)
    if math.isfinite(least):
        values = torch.from_numpy(np.r_[found.byzantine, found.honest])[:, None]
        answer = float(aggregators.build(rule, f=f)(values, None, ServerView())[0])
        wrong = np.mean(np.square(found.honest - found.aim))
        assert (answer - found.aim) ** 2 / wrong == pytest.approx(found.ratio)
    assert len(found.honest) == q - f
    assert len(found.byzantine) == f


def test_the_search_is_repeatable_and_of_any_rule() -> None:
    first, again = (theory.search("krum", 9, 2, generations=5) for _ in range(2))
    assert first.ratio == again.ratio
    assert first.honest.tolist() == again.honest.tolist()
    mine = theory.search("tests.plugins:MyMedian", 9, 2, generations=3)
    assert 1.0 < mine.ratio <= theory.median_coefficient(7, 2) * (1 + 1e-9)


def test_what_the_search_can_t_ask_is_refused() -> None:
    with pytest.raises(InputError, match="'fltrust' needs root; Definition 1 knows values alone"):
        theory.search("fltrust", 9, 2)
    with pytest.raises(InputError, match="'krum' takes no q=6 values at f=2"):
        theory.search("krum", 6, 2)
    with pytest.raises(InputError, match="unknown 'medain'; did you mean 'median'"):
        theory.search("medain", 9, 2)


VECTOR_RULES = [
    "krum", "multi_krum", "aksel", "geometric_median", "mda", "caf", "dnc", "cge", "sign_guard",
    "nnm+krum", "nnm+trimmed_mean", "nnm+median",
]  # fmt: skip


@pytest.mark.parametrize("rule", VECTOR_RULES)
def test_rules_of_whole_vectors_have_no_coefficient(rule: str) -> None:
    """All honest vectors are right in the first coordinate; the rule, asked anew, is not."""
    found = theory.search(rule, 20, 4, dimension=8, generations=0)
    assert found.ratio == math.inf
    assert found.exact
    assert (found.honest[:, 0] == found.aim[0]).all()
    assert np.ptp(found.honest[:, 1:], axis=0).max() > 0.1
    assert found.honest.shape == (16, 8)
    assert found.byzantine.shape == (4, 8)
    values = np.concatenate((found.byzantine, found.honest))
    answer = aggregators.build(rule, f=4)(torch.from_numpy(values), None, ServerView())
    assert abs(float(answer[0]) - found.aim[0]) == pytest.approx(found.deviation)
    assert found.deviation > 0.05
    if rule in ("krum", "multi_krum", "aksel", "dnc", "cge"):
        known = oracles.vector_rule(rule, list(values), 4)
        assert abs(known[0] - found.aim[0]) == pytest.approx(found.deviation)


@pytest.mark.parametrize("rule", ["trimmed_mean", "median", "bulyan", "bucketing[s=2]+median"])
def test_rules_that_are_not_refuted_as_vector_rules(rule: str) -> None:
    """Their answer is right in a coordinate where all honest values are."""
    found = theory.search(rule, 12, 2, dimension=3, generations=2)
    assert found.ratio < 100
    assert not found.exact
    least = robustness.exact_coefficient(rule, 10, 2)
    if least is not None:
        assert found.ratio <= least * (1 + 1e-9)
    rng = np.random.default_rng(0)
    for _ in range(30):
        values = rng.standard_normal((12, 3))
        values[2:, 0] = 2.0
        answer = aggregators.build(rule, f=2)(torch.from_numpy(values), None, ServerView())
        assert float(answer[0]) == pytest.approx(2.0)


# Bounds

KNOWN: dict[str, Any] = {
    "block": 3, "dimension": 12, "learning_rate": 0.1, "delta": 2.0, "error": 0.5, "growth": 0.1,
}  # fmt: skip


def test_theorem_1_is_the_limit_of_its_recursion() -> None:
    """E_{k+1} = (1 - (b/d)·μ·γ·(1 - ΔB))·E_k + γ·Δ·A/2."""
    expected, found = 7.0, []
    for _ in range(30):
        found.append(expected)
        expected = (1 - 3 / 12 * 0.8 * 0.1 * (1 - 0.2)) * expected + 0.1 * 2.0 * 0.5 / 2
    bound = theory.theorem_1(np.arange(30), 7.0, strong_convexity=0.8, **KNOWN)
    assert bound == pytest.approx(found)
    assert theory.theorem_1(10**6, 7.0, strong_convexity=0.8, **KNOWN) == pytest.approx(
        12 * 2.0 * 0.5 / (2 * 3 * 0.8 * 0.8)
    )


def test_theorem_2_and_lemma_1_by_their_formulas() -> None:
    assert theory.theorem_2(5, 7.0, **KNOWN) == pytest.approx(
        2 * 12 * 7.0 / (5 * 3 * 0.1 * 0.8) + 12 * 2.0 * 0.5 / (3 * 0.8)
    )
    assert theory.lemma_1(4.0, 2.0, 0.5, 0.1) == pytest.approx((0.8 * 4.0 - 1.0) / 2)


def test_a_bound_that_promises_nothing_is_infinite() -> None:
    for changed in (
        {"growth": 0.5},
        {"growth": 0.7},
        {"block": 0},
        {"delta": math.inf, "growth": 0.0},
    ):
        known = {**KNOWN, **changed}
        assert (
            theory.theorem_1([0, 3], 7.0, strong_convexity=0.8, **known).tolist() == [math.inf] * 2
        )
        assert theory.theorem_2([1, 3], 7.0, **known).tolist() == [math.inf] * 2
    assert theory.theorem_1(3, 7.0, strong_convexity=0.0, **KNOWN) == math.inf
    assert theory.lemma_1([4.0, 1.0], math.inf, [0.0, 0.5], 0.0).tolist() == [-math.inf] * 2


# The counterexample


@pytest.mark.parametrize(("workers", "fast", "times"), [(20, 2, 9), (20, 5, 3), (1000, 2, 499)])
def test_a_few_fast_workers_break_theorem_1(workers: int, fast: int, times: int) -> None:
    """Exactly, from each worker's number: the optimum, δ_i, A_w, and the end of the run."""
    numbers = [Fraction(1)] * fast + [Fraction(0)] * (workers - fast)
    best = sum(numbers, Fraction(0)) / workers
    loss = [sum((w - x) ** 2 for x in numbers) / workers / 2 for w in (best, Fraction(1))]
    bias = [abs(best - x) for x in numbers]  # δ_i = |E_i ∇ℓ - ∇L|, the same at every w
    example = theory.FastFew(workers, fast)
    assert example.excess == loss[1] - loss[0]
    assert example.published == sum(b**2 for b in bias) / workers / 2
    assert example.corrected == sum(sorted(b**2 for b in bias)[-fast:]) / fast / 2
    assert example.excess == times * example.published
    assert example.excess == example.corrected


def test_the_bound_of_a_few_fast_workers_is_exceeded_nine_times_and_corrected_exactly_tight() -> (
    None
):
    example, k = theory.FastFew(), np.arange(60)
    run = example.run(k, 1.0, 0.3)  # it starts where it ends
    assert run == pytest.approx(0.405)
    published = example.bound(k, 1.0, 0.3, corrected=False)
    assert published[0] == pytest.approx(0.405)
    assert (run[1:] > published[1:]).all(), "violated from k = 2"
    assert run[-1] / published[-1] == pytest.approx(9, rel=1e-6)
    assert example.bound(k, 1.0, 0.3, corrected=True) == pytest.approx(run, rel=1e-12)
    for start in (-2.0, 0.0, 0.1, 5.0):
        w, found = start, []
        for _ in k:
            found.append((w - 0.1) ** 2 / 2)
            w -= 0.3 * (w - 1.0)
        assert example.run(k, start, 0.3) == pytest.approx(found)
        assert (example.bound(k, start, 0.3, corrected=True) >= np.array(found) - 1e-12).all()


# What they are computed from


def test_observed_steps_are_those_that_are_taken() -> None:
    """w_{k+1} = w_k - γ·AG on the block, in cells side by side."""
    cells = [
        Scenario(data="digits", workers=10, byzantine=2, rounds=4, attack=attack, rule="median",
                 batch_size=4, learning_rate=0.5)
        for attack in ("foe", "alie")
    ]  # fmt: skip
    seen: dict[Scenario, list[tuple[torch.Tensor, Step]]] = {cell: [] for cell in cells}
    simulate(cells, observe=lambda step: seen[step.scenario].append(
        (step.params.clone(), step)
    ))  # fmt: skip
    for steps in seen.values():
        assert [step.round for _, step in steps] == [1, 2, 3, 4]
        for (w, step), (later, _) in itertools.pairwise(steps):
            expected = w.clone()
            block = slice(None) if step.block is None else step.block
            expected[block] -= 0.5 * step.aggregate.float()
            assert torch.allclose(later, expected, atol=1e-6)
            assert not torch.equal(later, w)


def test_the_interval_of_a_mean() -> None:
    from scipy.stats import ttest_1samp

    values = np.array([[1.0, 4.0], [2.0, 4.5], [4.0, 6.0]])
    low, high = interval(values)
    for j in range(2):
        known = ttest_1samp(values[:, j], 0.0).confidence_interval(0.95)
        assert (low[j], high[j]) == pytest.approx((known.low, known.high))
    assert [part.tolist() for part in interval(values[:1])] == [[1.0, 4.0], [1.0, 4.0]]
