"""Vector rules on ragged answers, against their definitions and as servers use them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hgobench import Scenario, aggregators, run
from hgobench.aggregators import MaskedVectors, Rule, RuleError, Scope, ServerView
from hgobench.aggregators.ragged import positive_semidefinite, steps
from hgobench.algorithms import Order, Places
from hgobench.kernels import tiles
from hgobench.models import Quadratic
from hgobench.protocol import Reception, receive, receive_sets
from tests import oracles
from tests.oracles import PRE_RULES, Vector, configuration, masked_weights, weighted
from tests.test_rules import (
    CHAINS,
    DRAWN,
    QUIET,
    RULES,
    QuadraticRoot,
    defined,
    parameters,
    sees_answers,
)

FEW = settings(DRAWN, max_examples=20)
FLOATS = np.float32, np.float64
Sent = tuple[np.ndarray, np.ndarray]


def having(scope: Scope) -> list[str]:
    return [r for r in (*RULES, *CHAINS) if scope in aggregators.build(r).scopes()]


# A coordinate's noise is that of its name, which the definition on a step is not told.
PURE = [QUIET.get(r, r) for r in having("staircase") if not aggregators.build(r).stateful]


def prefixes(n: int, d: int, whole: int, rng: np.random.Generator, dtype: Any = float) -> Sent:
    """Return values, and which of them workers sent: prefixes of one order, some of them all."""
    values = rng.standard_normal((n, d)).astype(dtype)
    lengths = rng.integers(1, d + 1, n)
    lengths[rng.permutation(n)[:whole]] = d
    return values, rng.permutation(d) < lengths[:, None]


def scattered(n: int, d: int, least: int, rng: np.random.Generator, dtype: Any = float) -> Sent:
    """Return values, and which of them workers sent: each coordinate by anybody."""
    present = np.zeros((n, d), dtype=bool)
    for j in range(d):
        present[rng.permutation(n)[: rng.integers(least, n + 1)], j] = True
    return rng.standard_normal((n, d)).astype(dtype), present


def least(rule: str, f: int) -> int:
    return max(aggregators.build(rule, f=f).minimum, 2 * f + 1) + (f == 0 and "krum" in rule)


INPUTS: dict[str, st.SearchStrategy[Any]] = {
    "f": st.integers(0, 2),
    "more": st.integers(0, 4),
    "d": st.integers(2, 8),
    "seed": st.integers(0, 2**32 - 1),
    "nested": st.booleans(),
}


def junk(values: np.ndarray, present: np.ndarray) -> Tensor:
    """Put anything where nothing was sent."""
    noise = np.resize([np.nan, np.inf, 1e30, 0.0], values.shape).astype(values.dtype)
    return torch.from_numpy(np.where(present, values, noise))


# -- staircase -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [r for r in PURE if r not in ("fltrust", "zeno")])
@FEW
@given(**INPUTS, dtype=st.sampled_from(FLOATS))
def test_a_staircase_is_the_rule_on_each_step(
    rule: str, f: int, more: int, d: int, seed: int, nested: bool, dtype: Any
) -> None:
    rng = np.random.default_rng(seed)
    enough = least(rule, f)
    drawn = (prefixes if nested else scattered)(enough + more, d, enough, rng, dtype)
    values, present = drawn
    made = aggregators.build(rule, f=f, scope="staircase")
    view = ServerView(honest=np.arange(len(values)) >= f)
    found = made(junk(*drawn), torch.from_numpy(present), view)
    assert found.dtype == torch.from_numpy(values).dtype
    rtol, atol = (1e-6, 1e-9) if dtype == np.float64 else (1e-4, 1e-5)
    for senders, columns, own in oracles.steps(present):
        vectors = [values[i, columns].astype(np.float64) for i in senders]
        if rule.endswith("geometric_median"):  # of what the step serves the definition tells alone
            continue
        expected = defined(rule, vectors, f)[-len(own) :]
        if "+" in rule and rule.endswith("krum"):
            continue  # mixed vectors tie: see below
        np.testing.assert_allclose(found[own], expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("rule", [*PURE, "geometric_median", "dnc[share=0.4]", "sign_guard"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_nested_steps_are_steps(rule: str, dtype: Any) -> None:
    """What is read once for all steps is for each what the rule says of it alone."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        f = 1 if rule == "bulyan" else 2
        values, present = prefixes(16, 40, least(rule, f), rng, dtype)
        values[:f] *= 50.0
        root = QuadraticRoot(40)
        made = aggregators.build(rule, f=f, scope="staircase")
        told = ServerView(honest=np.arange(16) >= f, root=root)
        found = made(torch.from_numpy(values), torch.from_numpy(present), told)
        for senders, columns, own in oracles.steps(present):
            who, on = torch.tensor(senders), torch.tensor(columns)
            view = ServerView(honest=np.array(senders) >= f, root=QuadraticRoot(len(columns)))
            alone = aggregators.build(rule, f=f)(torch.from_numpy(values)[who][:, on], None, view)
            close = 1e-9 if dtype == np.float64 else 2e-5
            if rule.endswith("geometric_median"):
                close = max(close, 1e-6)
            torch.testing.assert_close(found[own], alone[-len(own) :], rtol=close, atol=close)


def test_a_staircase_forms_inner_products_of_every_pair_once() -> None:
    """The steps of nested senders add up segments; none is put together unless a rule asks."""
    rng = np.random.default_rng(0)
    values, present = (torch.from_numpy(x) for x in prefixes(12, 60, 5, rng, np.float32))
    climbed = list(steps(values, present, ServerView()))
    assert len(climbed) > 4
    for stair in climbed:
        assert stair.vectors.squared_distances.shape == (len(stair.vectors),) * 2
        assert stair.vectors.combine(torch.ones(len(stair.vectors)).double()).any()
        assert "_whole" not in vars(stair.vectors)
    served = torch.cat([stair.columns for stair in climbed])
    assert sorted(served.tolist()) == list(range(60))


def test_tight_clusters_far_from_the_origin_are_told_apart_on_every_step() -> None:
    rng = np.random.default_rng(1)
    values, present = prefixes(20, 200, 9, rng)
    values = (rng.standard_normal(200) + 1e-5 * values).astype(np.float32)
    values[:3] = 1e6
    made = aggregators.build("krum", f=3, scope="staircase")
    found = made(torch.from_numpy(values), torch.from_numpy(present))
    for senders, columns, own in oracles.steps(present):
        vectors = [values[i, columns].astype(np.float64) for i in senders]
        scores = oracles.krum_scores(vectors, 3)
        assert torch.equal(
            found[own], torch.from_numpy(vectors[int(np.argmin(scores))]).float()[-len(own) :]
        )


def test_a_step_that_too_few_or_too_many_sent_has_no_answer() -> None:
    values = torch.arange(12.0).view(6, 2).T.reshape(2, 6).T.contiguous()
    present = torch.ones(6, 2, dtype=torch.bool)
    present[:2, 1] = False  # four senders; Krum needs five at f = 1
    answer = aggregators.build("krum", f=1, scope="staircase").answer(values, present)
    assert answer.served is not None
    assert answer.served.tolist() == [True, False]
    assert float(answer.values[1]) == 0.0
    smea = aggregators.build("smea[subsets=4]", f=1, scope="staircase")
    assert smea.maximum == 4
    served = smea.answer(values, present).served
    assert served is not None
    assert served.tolist() == [False, True]


@pytest.mark.parametrize("scope", ["staircase", "masked"])
def test_where_nothing_can_be_answered_the_rule_refuses(scope: Scope) -> None:
    made = aggregators.build("krum", f=1, scope=scope)
    present = torch.ones(6, 2, dtype=torch.bool)
    present[:2, 0] = present[3:5, 1] = False
    with pytest.raises(RuleError, match="Krum: 4 answers; f=1 needs at least 5"):
        made(torch.ones(6, 2), present)


# -- masked ----------------------------------------------------------------------------------------

# Of chains with clipping and caf rounding says when a weight is 0, and of cosines what ties.
WEIGHED = ["clipping[c=0.7]+multi_krum"]
WEIGHED += [
    QUIET.get(r, r)
    for r in having("masked")
    if not any(x in r for x in ("clustering", "centered", "clipping", "weak_dp", "flame"))
    and not sees_answers(r)
]


@pytest.mark.parametrize("rule", [r for r in WEIGHED if not r.endswith("geometric_median")])
@FEW
@given(**INPUTS)
def test_masked_weighs_points_of_the_configuration(
    rule: str, f: int, more: int, d: int, seed: int, nested: bool
) -> None:
    rng = np.random.default_rng(seed)
    enough = least(rule, f)
    drawn = (prefixes if nested else scattered)(enough + more, d, enough, rng)
    values, present = drawn
    if present.all():
        return
    answer = aggregators.build(rule, f=f, scope="masked").answer(
        junk(*drawn), torch.from_numpy(present)
    )
    heard = present.any(axis=1)
    values, present = values[heard], present[heard]
    *before, last = aggregators.registry.split(rule)
    if before and last == "krum":
        return  # mixed points tie
    name, more_ = parameters(last)

    def defined_weights(points: list[Vector]) -> Vector:
        for position, step in enumerate(before):
            step_name, told = parameters(step)
            if step_name == "bucketing":
                told["seed"] = position
            points = PRE_RULES[step_name](points, f, **told)
        return oracles.vector_rule(name, points, f, **more_)

    # Where nothing is shortened the origin does not matter.
    points = oracles.placed(configuration(values, present)[1])
    longest = np.linalg.norm(points[1:] + points[0], axis=1).max()
    origin = name == "cge" or (bool(before) and "clipping" in before[0] and longest > 0.7)
    weights = masked_weights(values, present, defined_weights, origin)
    weights[np.abs(weights) < 1e-6] = 0.0
    expected, stalled = weighted(weights, values, present)
    served = np.ones(d, dtype=bool) if answer.served is None else answer.served.numpy()
    few = present.sum(axis=0) < aggregators.build(rule, f=f).minimum
    np.testing.assert_array_equal(served, ~(stalled | few))
    np.testing.assert_allclose(
        answer.values.numpy()[served], expected[served], rtol=1e-4, atol=1e-6
    )


@FEW
@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 2), nested=st.booleans())
def test_the_masked_geometric_median_is_one_of_the_configuration(
    seed: int, f: int, nested: bool
) -> None:
    rng = np.random.default_rng(seed)
    drawn = (prefixes if nested else scattered)(2 * f + 4, 6, 2 * f + 1, rng)
    values, present = drawn
    if present.all():
        return
    vectors = MaskedVectors(junk(*drawn), torch.from_numpy(present))
    used: list[Tensor] = []
    combine = vectors.combine
    vectors.combine = lambda w, rest=0.0: used.append(w) or combine(w, rest)  # type: ignore
    aggregators.build("geometric_median", f=f).of_vectors(vectors)
    points = oracles.placed(configuration(values, present, origin=False)[1])
    weights = used[0].numpy()
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0)
    at = weights @ points if weights.max() < 1 - 1e-6 else points[weights.argmax()]
    assert oracles.pull(at, list(points)) < 1e-5


@pytest.mark.parametrize("rule", ["multi_krum", "nnm+caf", "geometric_median"])
@pytest.mark.parametrize("nested", [False, True])
def test_masked_ctma_takes_those_nearest_to_the_answer(rule: str, nested: bool) -> None:
    for seed in range(5):
        drawn = (prefixes if nested else scattered)(9, 8, 7, np.random.default_rng(seed))
        values, present = drawn
        sent = junk(*drawn), torch.from_numpy(present)
        answer = aggregators.build(rule, f=2, scope="masked").answer(*sent)
        centre = configuration(values, present)[0]
        point = answer.values.numpy()
        if answer.served is not None:
            point = np.where(answer.served.numpy(), point, centre)
        points = oracles.placed(configuration(values, present, point)[1])
        away = np.linalg.norm(points[2:] - points[1], axis=1)
        weights = np.zeros(9)
        weights[np.argsort(away)[:7]] = 1 / 7
        expected, stalled = weighted(weights, values, present)
        found = aggregators.build(f"ctma+{rule}", f=2, scope="masked").answer(*sent)
        served = np.ones(8, dtype=bool) if found.served is None else found.served.numpy()
        np.testing.assert_array_equal(served, ~stalled)
        np.testing.assert_allclose(found.values.numpy()[served], expected[served], rtol=1e-6)


@pytest.mark.parametrize("scope", ["block", "coordinate", "staircase", "masked"])
def test_gas_with_one_part_is_ctma(scope: Scope) -> None:
    for seed in range(5):
        drawn = prefixes(12, 30, 7, np.random.default_rng(seed))
        for rule in ("krum", "geometric_median"):
            one, other = (
                aggregators.build(f"{step}+{rule}", f=2, scope=scope)(
                    junk(*drawn), torch.from_numpy(drawn[1])
                )
                for step in ("gas[parts=1]", "ctma")
            )
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("rule", ["flame[noise=0.5]", "weak_dp[sigma=0.5]"])
def test_a_coordinate_s_noise_is_the_same_in_every_scope_and_block(rule: str) -> None:
    drawn = prefixes(9, 12, 5, np.random.default_rng(0))
    sent, present = junk(*drawn), torch.from_numpy(drawn[1])
    numbers = torch.from_numpy(np.random.default_rng([4, 0]).standard_normal(20))
    block = torch.arange(3, 15)
    view = ServerView(4, coordinates=block, dimension=20)
    for scope in aggregators.build(rule).scopes():
        loud, quiet = (
            aggregators.build(f"{name}]", f=1, scope=scope)(sent, present, view)
            for name in (rule[:-1], f"{rule[:-4]}0.0")
        )
        size = (loud - quiet) / numbers[block]
        if rule.startswith("weak_dp"):
            torch.testing.assert_close(size, torch.full_like(size, 0.5))
        elif scope != "staircase":  # there each step has its own median length
            torch.testing.assert_close(size, size[0].expand(12))
        assert bool((size > 0).all())
    without = ServerView(4, coordinates=block)
    with pytest.raises(RuleError, match=r"view.coordinates: up to 14; view.dimension must say how"):
        aggregators.build(rule, f=1)(torch.from_numpy(drawn[0]), None, without)


@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_masked_centered_clipping_steps_by_estimated_lengths(tau: float) -> None:
    rng = np.random.default_rng(2)
    rule = aggregators.build(f"centered_clipping[tau={tau},iterations=2]", f=1, scope="masked")
    v = np.zeros(9)
    for k in range(1, 4):
        values, present = prefixes(7, 9, 4, rng)
        found = rule(torch.from_numpy(values), torch.from_numpy(present), ServerView(k)).numpy()
        for _ in range(2):
            gram = configuration(values, present, v)[1]
            points = oracles.placed(gram)
            away = np.linalg.norm(points[2:] - points[1], axis=1)
            weights = np.minimum(1.0, tau / away) / 7
            v = v + weighted(weights, values, present)[0] - weights.sum() * v
        np.testing.assert_allclose(found, v, rtol=1e-6)


def test_masked_inner_products_are_without_bias() -> None:
    """Over many random orders the estimated distances of prefixes are those of whole vectors."""
    rng = np.random.default_rng(3)
    whole = rng.standard_normal((8, 400)) + rng.standard_normal(400)
    lengths = rng.integers(120, 401, 8)
    lengths[:5] = 400
    true = np.square(whole[:, None] - whole).sum(axis=2)
    sums = np.zeros_like(true)
    for _ in range(200):
        present = torch.from_numpy(rng.permutation(400) < lengths[:, None])
        sums += MaskedVectors(torch.from_numpy(whole), present).squared_distances.numpy()
    apart = ~np.eye(8, dtype=bool)
    np.testing.assert_allclose(sums[apart] / 200, true[apart], rtol=0.05)


@FEW
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12), spread=st.floats(0.0, 30.0))
def test_a_projection_is_positive_semidefinite_and_keeps_lengths(
    seed: int, n: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, n))
    true = noise @ noise.T
    sizes = 10.0 ** rng.uniform(-spread, spread, n)
    estimate = true * (1 + 0.5 * (noise + noise.T)) if seed % 2 else true
    np.fill_diagonal(estimate, np.abs(true.diagonal()))
    found = positive_semidefinite(torch.from_numpy(estimate * np.outer(sizes, sizes))).numpy()
    scaled = found / np.outer(sizes, sizes)
    np.testing.assert_allclose(scaled.diagonal(), estimate.diagonal(), rtol=1e-9)
    cosines = scaled / np.sqrt(np.outer(scaled.diagonal(), scaled.diagonal()))
    assert np.linalg.eigvalsh(cosines)[0] > -1e-9 * n
    if not seed % 2:
        np.testing.assert_allclose(scaled, true, rtol=1e-9, atol=1e-12 * np.abs(true).max())


def test_a_huge_attacker_does_not_blur_the_configuration_of_others() -> None:
    rng = np.random.default_rng(4)
    values, present = prefixes(12, 30, 7, rng)
    alone = MaskedVectors(torch.from_numpy(values), torch.from_numpy(present)).squared_distances
    for size in (1e6, 1e30, 1e90):
        loud = values.copy()
        loud[0] = np.where(present[0], size, 0.0)
        found = MaskedVectors(torch.from_numpy(loud), torch.from_numpy(present)).squared_distances
        assert float(found[0, 1]) > 1e10
        ratio = (found / alone)[1:, 1:][~torch.eye(11, dtype=torch.bool)]
        assert 0.2 < float(ratio.min()) <= float(ratio.max()) < 5


def test_two_that_have_nothing_in_common_are_orthogonal_about_the_centre() -> None:
    values = torch.tensor([[4.0, 0.0], [0.0, 3.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]).double()
    present = torch.ones(5, 2, dtype=torch.bool)
    present[0, 1] = present[1, 0] = False
    vectors = MaskedVectors(values, present)
    # scaled by 2/1: ‖x_0‖² = 2·16, ‖x_1‖² = 2·9
    assert float(vectors.squared_distances[0, 1]) == pytest.approx(32 + 18)


def test_masked_vectors_refuse_what_is_not_known_of_them() -> None:
    vectors = MaskedVectors(torch.ones(3, 2), torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(RuleError, match="no vector is known whole"):
        _ = vectors.rows
    with pytest.raises(RuleError, match="a negative weight"):
        vectors.combine(torch.tensor([1.0, -0.5, 0.5]).double())


# -- both ------------------------------------------------------------------------------------------

RAGGED = [(rule, scope) for scope in ("staircase", "masked") for rule in having(scope)]


def asked(rule: str, scope: Scope, f: int, values: np.ndarray, present: np.ndarray,
          workers: np.ndarray | None = None) -> Vector:  # fmt: skip
    ids = np.arange(len(values)) if workers is None else workers
    view = ServerView(workers=ids, honest=ids >= f, root=QuadraticRoot(values.shape[1]))
    made = aggregators.build(rule, f=f, scope=scope)
    answer = made.answer(torch.from_numpy(values), torch.from_numpy(present), view)
    return answer.values.double().numpy()


@pytest.mark.parametrize(("rule", "scope"), RAGGED)
def test_laws_hold_on_prefixes(rule: str, scope: Scope) -> None:
    """Order, shift and factor, and f poisoned workers, where workers sent prefixes."""
    f = 1
    exempt = aggregators.build(rule).exempt
    rng = np.random.default_rng(5)
    values, present = prefixes(least(rule, f) + 4, 9, least(rule, f), rng)
    values = np.round(values, 3)
    plain = asked(rule, scope, f, values, present)
    if "order_of_workers_is_irrelevant" not in exempt:
        order = rng.permutation(len(values))
        found = asked(rule, scope, f, values[order], present[order], order)
        np.testing.assert_allclose(found, plain, rtol=1e-6, atol=1e-9)
    if "scaling_equivariant" not in exempt:
        np.testing.assert_allclose(asked(rule, scope, f, 8 * values, present), 8 * plain, rtol=1e-6)
    if "translation_equivariant" not in exempt:
        shift = np.arange(9.0)
        served = plain != 0
        found = asked(rule, scope, f, values + shift, present)
        np.testing.assert_allclose(found[served], (plain + shift)[served], rtol=1e-6, atol=1e-9)
    if "finite_within_honest_range" not in exempt:
        honest = np.where(present[f:], values[f:], np.nan)
        low, high = np.nanmin(honest, axis=0), np.nanmax(honest, axis=0)
        for poison in (1e30, -1e30, np.inf, np.nan, 3e38, 1e6):
            for sends in (present[0], np.ones(9, dtype=bool)):
                poisoned, sent = values.copy(), present.copy()
                poisoned[:f], sent[:f] = poison, sends
                found = asked(rule, scope, f, poisoned, sent)
                served = found != 0
                assert (found >= low - 1e-5)[served].all()
                assert (found <= high + 1e-5)[served].all()


@pytest.mark.parametrize(("rule", "scope"), RAGGED)
def test_threads_change_nothing(rule: str, scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "TILE_BYTES", 1)
    rng = np.random.default_rng(6)
    f = 1 if rule != "smea" else 0
    drawn = prefixes(12, 4500, 10, rng, np.float32)
    answers = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        answers.append(asked(rule, scope, f, *drawn))
    torch.set_num_threads(before)
    np.testing.assert_array_equal(answers[0], answers[1])


def test_scopes_that_a_rule_lacks_say_why() -> None:
    for rule, scope, reason in (
        ("median", "staircase", "expected 'block' or 'coordinate', as Median is coordinate-wise"),
        ("average", "masked", "as Average is coordinate-wise"),
        ("bulyan", "masked", "expected 'block' or 'staircase', as Bulyan needs whole vectors"),
        ("nnm+trimmed_mean", "masked", "expected 'block', 'coordinate' or 'staircase', as Nnm"),
        ("tests.plugins:ragged_function", "staircase", "is told what was sent and decides"),
    ):
        with pytest.raises(Exception, match=reason):
            aggregators.build(rule, scope=scope)  # type: ignore[arg-type]
    assert aggregators.build("tests.plugins:plain", scope="staircase").scope == "staircase"


# -- servers ---------------------------------------------------------------------------------------


def test_a_server_updates_what_has_an_answer() -> None:
    block, rows = torch.tensor([1, 4, 6]), np.arange(2)
    reception = Reception(rows, block, torch.ones(2, 3, dtype=torch.bool), 3)
    values = torch.tensor([5.0, 0.0, 7.0])
    kept, answer = reception.answered(aggregators.Answer(values, torch.tensor([True, False, True])))
    assert kept is not None
    assert kept.block is not None
    assert (kept.block.tolist(), kept.size, answer.tolist()) == ([1, 6], 2, [5.0, 7.0])
    assert reception.answered(aggregators.Answer(values))[0] is reception
    nothing = torch.zeros(3, dtype=torch.bool)
    assert reception.answered(aggregators.Answer(values, nothing))[0] is None
    dense, answer = Reception(rows, None, None, 3).answered(
        aggregators.Answer(values, torch.tensor([False, False, True]))
    )
    assert dense is not None
    assert dense.block is not None
    assert dense.block.tolist() == [2]


@given(st.data())
def test_prefixes_of_an_order_are_received_as_the_sets_that_they_are(data: st.DataObject) -> None:
    d = data.draw(st.integers(1, 6))
    order = Order(
        Places(Quadratic(features=d, classes=0), "scalar", "scalar"),
        np.array(data.draw(st.permutations(range(d)))),
    )
    lengths = np.array(data.draw(st.lists(st.integers(0, d), min_size=1, max_size=5)))
    quorum = data.draw(st.integers(1, 5))
    prefixes = receive(lengths, quorum, order, torch.device("cpu"))
    sets = receive_sets(torch.from_numpy(order.position < lengths[:, None]), quorum)
    assert (prefixes is None) == (sets is None)
    if prefixes is None or sets is None:
        return
    assert (prefixes.rows.tolist(), prefixes.size) == (sets.rows.tolist(), sets.size)
    for one, other in ((prefixes.block, sets.block), (prefixes.present, sets.present)):
        assert (one is None) == (other is None)
        assert one is None or other is None or torch.equal(one, other)


class Halved(Rule):
    """The mean of the first half of the columns, or nowhere at all in every third round."""

    def _answered(
        self, values: Tensor, present: Tensor | None, view: ServerView | None
    ) -> aggregators.Answer:
        assert view is not None
        served = torch.arange(values.shape[1]) < values.shape[1] // 2
        served &= view.round % 3 != 0
        return aggregators.Answer(torch.where(served, 1.0, 0.0), served)

    def of_rows(self, rows: Tensor) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize("solver", ["gradient_descent", "momentum[beta=0.5]", "adam"])
def test_a_run_counts_and_updates_what_has_an_answer(solver: str) -> None:
    fields: dict[str, Any] = {
        "workers": 9, "rounds": 3, "solver": solver, "hardware": "powerful", "learning_rate": 0.1,
        "attack": "none",
    }  # fmt: skip
    found = run(Scenario(**fields, rule="tests.test_ragged:Halved"))
    assert found.status == "done", found.reason
    half = 650 // 2
    assert list(found.rounds["block_size"]) == [half, half, 0]
    assert list(found.rounds["stalled"]) == [False, False, True]
    assert found.rounds["test_loss"][1] == found.rounds["test_loss"][2]


def test_masked_krum_updates_what_the_chosen_sent() -> None:
    scenario = Scenario(
        workers=20, byzantine=2, hardware="c2", rule="krum", scope="masked", attack="foe", rounds=5
    )
    sizes = run(scenario).rounds["block_size"]
    whole = run(scenario.replace(scope="block")).rounds["block_size"]
    assert all(0 < a <= b for a, b in zip(sizes, whole, strict=True))
    assert sum(sizes) < sum(whole)


def test_the_form_is_said_where_the_name_does_not() -> None:
    fields: list[dict[str, Any]] = [
        {"rule": "median"},
        {"rule": "median", "scope": "block"},
        {"rule": "krum", "scope": "block"},
        {"rule": "krum", "scope": "masked"},
        {"rule": "krum", "algorithm": "sgd"},
        {"rule": "krum", "algorithm": "sgd", "scope": "coordinate"},
        {"rule": "bulyan", "scope": "block"},
        {"rule": "average"},
        {"rule": "nnm+median", "scope": "staircase"},
    ]
    assert [Scenario(**given).stated_scope for given in fields] == [
        "", "block", "block", "masked", "", "coordinate", "block", "", "staircase"
    ]  # fmt: skip


def test_sgd_has_no_ragged_scopes() -> None:
    with pytest.raises(Exception, match="scope: 'masked'; expected 'block', as 'sgd' takes whole"):
        Scenario(rule="krum", algorithm="sgd", scope="masked")
