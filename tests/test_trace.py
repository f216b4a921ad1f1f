"""What rules tell of their answers: whose values they are means of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgobench import aggregators
from hgobench.aggregators import Rule, Scope, ServerView
from hgobench.aggregators.columns import Sent
from hgobench.lazy import Tensor, torch
from hgobench.metrics import influence
from hgobench.metrics.influence import fitted, influences, moved, used, used_beside
from tests import oracles


def sample(m: int, d: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, d, generator=generator, dtype=torch.float64)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be fitted."""
    monkeypatch.setattr(influence, "fitted", None)


# --- of rules that treat each coordinate by itself


def chosen(rule: Rule, name: str, x: list[float]) -> list[float]:
    """Return the values of one coordinate whose mean the rule answers."""
    f, m, ordered = rule.f, len(x), sorted(x)
    centre = oracles.trimmed(x, f) if name == "phocas" else oracles.median(x)
    centre = 0.0 if name == "cge" else centre
    nearest = sorted(x, key=lambda v: (abs(v - centre), v))
    if name == "average":
        return x
    if name == "median":
        return ordered[(m - 1) // 2 : m // 2 + 1]
    if name == "trimmed_mean":
        return ordered[f : m - f]
    if name == "krum":
        return [float(rule(torch.tensor(x, dtype=torch.float64)[:, None]))]
    if name == "aksel":
        radius = abs(nearest[(m + 1) // 2 - 1] - centre)
        return [v for v in x if abs(v - centre) <= radius]
    return nearest[: m - f]


WINDOWS = ["average", "median", "trimmed_mean", "meamed", "phocas", "cge", "krum", "aksel"]


@pytest.mark.parametrize("name", WINDOWS)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), d=st.sampled_from([1, 3, 20]), ragged=st.booleans())
def test_equal_values_share_what_a_mean_takes_of_them(
    name: str, seed: int, d: int, ragged: bool
) -> None:
    """By loops; small whole numbers are often equal, at the ends of a window and elsewhere."""
    rng = np.random.default_rng(seed)
    f, m = int(rng.integers(0, 3)), int(rng.integers(7, 12))
    rule = aggregators.build(name, f=f, scope="coordinate")
    values = rng.integers(-3, 4, (m, d)).astype(float)
    present = rng.random((m, d)) < (0.6 if ragged else 1.0)
    present[: rule.minimum] = True
    expected, numbers = np.zeros(m), np.zeros(m)
    for j in range(d):
        who = np.flatnonzero(present[:, j])
        x = values[who, j].tolist()
        if len(x) > 1 and len(set(x)) == 1:
            continue
        kept = chosen(rule, name, x)
        for i, v in zip(who, x, strict=True):
            numbers[i] += 1
            expected[i] += kept.count(v) / x.count(v) / len(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(influence, "fitted", None)
        weights, _ = used(rule, torch.from_numpy(values), torch.from_numpy(present))
    known = numbers > 0
    np.testing.assert_allclose(weights[known], expected[known] / numbers[known], atol=1e-9)
    assert np.isnan(weights[~known & present.any(axis=1)]).all()
    assert (weights[~present.any(axis=1)] == 0.0).all()


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("name", [*WINDOWS, "faba", "mda", "smea", "ctma+median", "gas+median"])
@pytest.mark.parametrize("case", ["dense", "ragged", "one answer", "tiles"])
def test_what_is_told_of_coordinates_is_what_moving_each_worker_shows(
    name: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, values, present = aggregators.build(name, f=2, scope="coordinate"), sample(9, 60), None
    if case == "ragged":
        lengths = torch.tensor([0, 20, 40, 50, 60, 60, 60, 60, 60])
        present = torch.arange(60) < lengths[:, None]
        if rule.minimum > 5:
            present[-4:-1] = True
            present[:4] = torch.arange(60) < torch.tensor([60, 60, 60, 40])[:, None]
    elif case == "one answer":
        values = values[: rule.minimum]
    elif case == "tiles":
        parts = [slice(0, 17), slice(17, 40), slice(40, 60)]
        monkeypatch.setattr("hgobench.aggregators.base.tiles", lambda values: parts)
    weights, _ = used(rule, values, present)
    np.testing.assert_allclose(weights, moved(rule, values, present), atol=1e-6)


@pytest.mark.parametrize("case", ["dense", "ragged", "equal values", "infinite", "unlike"])
def test_several_rules_of_several_runs_tell_what_each_tells_of_one(case: str) -> None:
    names = [*WINDOWS[case == "infinite" :], "clipping+median", "mda", "ctma+median"]
    rules = [
        (aggregators.build(name, f=1, scope="coordinate"), 1 + i % 3)
        for i, name in enumerate(names)
    ]
    runs, (m, b) = sum(count for _, count in rules), (9, 37)
    values, sent = sample(m, runs * b).float(), None
    if case in ("ragged", "infinite"):
        present = torch.rand(m, b, generator=torch.Generator().manual_seed(1)) < 0.7
        present[:6] = True
        sent = Sent.of(present).beside(runs)
    if case == "equal values":
        values = values.round()
        values[:, ::7] = 2.0
    if case == "infinite":
        values[0, ::5], values[0, ::11] = torch.inf, torch.nan
    if case == "unlike":
        values[:, ::3] *= 1e-12
    told = used_beside(rules, values, sent, ServerView(round=3, dimension=50))
    assert len(told) == runs
    each = [rule for rule, count in rules for _ in range(count)]
    for r, (rule, one) in enumerate(zip(each, told, strict=True)):
        part = slice(r * b, (r + 1) * b)
        there = None if sent is None else sent.present[:, part]
        alone = used(rule, values[:, part], there, ServerView(round=3, dimension=50))
        if one is not None:  # of a rule that tells
            np.testing.assert_array_equal(one[0], alone[0])
            assert one[1] == alone[1]
    silent = {rule.name for rule, one in zip(each, told, strict=True) if one is None}
    assert silent == {"Clipping+Median"}


# --- of rules that choose vectors


VECTORS = [
    "average", "krum", "multi_krum", "mda", "smea", "faba", "cge", "monna", "aksel", "oracle",
    "dnc", "nnm+average", "nnm+krum", "nnm+trimmed_mean", "nnm+aksel", "ctma+krum", "gas+average",
    "bucketing+average", "bucketing[s=1]+median", "foundation_fl+krum", "nnm+bucketing+average",
    "nnm+nnm+median",
]  # fmt: skip


PARTS: list[tuple[Scope, str]] = [
    ("block", "whole"),
    ("staircase", "prefixes"),
    ("staircase", "any parts"),
    ("masked", "any parts"),
]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("name", VECTORS)
@pytest.mark.parametrize(("scope", "parts"), PARTS)
def test_what_is_told_of_vectors_is_what_moving_each_worker_shows(
    name: str, scope: Scope, parts: str
) -> None:
    if scope not in aggregators.build(name).scopes():
        return
    rule, values = aggregators.build(name, f=2, scope=scope), sample(13, 40)
    present = torch.ones(13, 40, dtype=torch.bool)
    if parts != "whole":
        present[:2] = torch.arange(40) < torch.tensor([15, 30])[:, None]
    if parts == "any parts":
        present[1] = present[1].flip(0)
    view = ServerView(honest=np.arange(13) > 2)
    weights, linear = used(rule, values, present, view)
    np.testing.assert_allclose(weights, moved(rule, values, present, view), atol=1e-5)
    assert linear == fitted(rule, values, present, view)[1]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("scope", ["staircase", "masked"])
def test_coordinates_without_an_answer_do_not_count(scope: Scope) -> None:
    """Of 40 coordinates the last 10 are sent by two workers, of whom the rule takes one."""
    rule, values = aggregators.build("krum", f=1, scope=scope), sample(8, 40)
    values[0, :30] = values[1:, :30].mean(dim=0)  # the best
    present = torch.ones(8, 40, dtype=torch.bool)
    present[2:, 30:] = False
    answer = rule.answer(values, present)
    assert answer.served is not None
    assert answer.served.tolist() == [True] * 30 + [False] * 10
    weights, linear = used(rule, values, present)
    assert (weights.tolist(), linear) == ([1.0] + [0.0] * 7, True)


def test_what_a_rule_makes_of_a_mean_is_fitted() -> None:
    """Signs that are turned, values mixed or weighed before: as moving each worker shows."""
    values = sample(11, 400)
    view = ServerView(weights=np.arange(1.0, 12.0))
    for name, scope, seen in (
        ("rlr+average", "coordinate", None),
        ("nnm+median", "coordinate", None),
        ("trimmed_mean", "coordinate", view),
    ):
        rule = aggregators.build(name, f=2, scope=scope)  # type: ignore[arg-type]
        weights, _ = used(rule, values, view=seen)
        exact = moved(rule, values, view=seen)
        assert 1e-6 < np.abs(weights - exact).max() < 5 / np.sqrt(400)


@pytest.mark.usefixtures("told")
def test_numbers_too_small_for_all_their_digits_are_told_too() -> None:
    values = sample(9, 40).float() * 1e-44
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(influence, "fitted", None)
        weights, _ = used(aggregators.build("trimmed_mean", f=1), values)
    assert np.isfinite(weights[~np.isnan(weights)]).all()


def test_what_is_not_finite_is_no_part_of_a_mean() -> None:
    """The mean of the weights over the finite values that each sent."""
    values = sample(9, 40)
    values[0], values[1, ::2] = torch.nan, torch.inf
    weights, linear = used(aggregators.build("median", f=3), values)
    ranks = values.nan_to_num(nan=torch.inf).argsort(dim=0, stable=True).argsort(dim=0)
    middle = (ranks == 4).double().mean(dim=1)
    middle[1] *= 2  # of its finite half
    np.testing.assert_allclose(weights, middle, atol=1e-9)
    assert (weights[0], linear) == (0.0, False)


def test_means_of_all_are_linear_and_those_of_windows_are_not() -> None:
    values = sample(9, 60)
    present = torch.arange(60) < torch.tensor([20, *[60] * 8])[:, None]
    for name, there, expected in (
        ("average", None, True),
        ("average", present, False),
        ("median", None, False),
        ("krum", None, False),
    ):
        rule = aggregators.build(name, f=2, scope="coordinate")
        assert used(rule, values, there)[1] is expected
        assert fitted(rule, values, there)[1] is expected


@pytest.mark.parametrize("name", ["multi_krum", "caf", "filter_l2", "nnm+cge", "rlr+average"])
def test_a_centre_that_led_to_an_answer_is_not_taken_for_it(name: str) -> None:
    """In float32 all of these are nearly equal: that Σ w_i x_i is the answer shows nothing."""
    values = (1000.0 + 1e-4 * sample(9, 400)).float()
    rule = aggregators.build(name, f=1, scope="coordinate")
    weights, _ = used(rule, values)
    np.testing.assert_array_equal(weights, fitted(rule, values)[0])


@pytest.mark.parametrize("scope", ["block", "coordinate"])
def test_what_is_turned_follows_the_other_way_where_it_is_0_too(scope: Scope) -> None:
    """Of a median of 0 nothing shows that it is turned."""
    rule = aggregators.build("rlr[threshold=9]+median", f=1, scope=scope)
    values = torch.tensor([-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0]).double()[:, None]
    weights, _ = used(rule, values.repeat(1, 40))
    np.testing.assert_allclose(weights, [0.0] * 4 + [-1.0] + [0.0] * 4, atol=1e-9)


def test_an_answer_that_jumps_is_told_where_moving_is_wrong() -> None:
    """Aksel takes all within a radius: who is just inside is moved out, and another in."""
    values = torch.tensor([0.0, -1.0, 1.0 + 1e-7]).double()[:, None].repeat(1, 40)
    rule = aggregators.build("aksel", f=0, scope="coordinate")
    np.testing.assert_allclose(influences(rule, values), [0.5, 0.5, 0.0], atol=1e-12)
    assert abs(moved(rule, values)).max() > 1e5


def test_influences_of_a_rule_that_tells_nothing_are_those_of_moving() -> None:
    rule, values = aggregators.build("geometric_median", f=2), sample(9, 40)
    np.testing.assert_array_equal(influences(rule, values), moved(rule, values))
