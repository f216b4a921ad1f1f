"""Answers that count by `ServerView.weights`: what servers make them, and what rules do with them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hgobench import Scenario, World, aggregators, run
from hgobench.aggregators import RuleError, Scope, ServerView
from hgobench.attacks import Attack, Message, View
from hgobench.protocol import MOST_EXAMPLES, bounded, deliver
from hgobench.scenario import check_field, risks
from hgobench.settings import parse_setting
from hgobench.simulation import simulate
from tests import oracles
from tests.test_rules import DRAWN, RULES, agree

FEW = settings(DRAWN, max_examples=25)
WEIGHTED = ["average", "median", "trimmed_mean", "geometric_median"]
CHAINS = [*(f"ctma+{rule}" for rule in WEIGHTED), "clipping+average", "clipping+median"]
EVERY: list[tuple[str, Scope]] = [
    (rule, scope) for rule in (*WEIGHTED, *CHAINS) for scope in aggregators.build(rule).scopes()
]
INPUTS: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 2**32 - 1),
    "f": st.integers(0, 2),
    "more": st.integers(0, 4),
    "d": st.integers(1, 5),
}


def weights_of(n: int, f: int, rng: np.random.Generator) -> np.ndarray:
    """Return weights, some of them alike, of which any f have less than half."""
    drawn = rng.integers(3, 6, n).astype(float)
    return drawn if 2 * oracles.of_any(drawn.tolist(), f) < sum(drawn) else np.ones(n)


def by_column(rule: str, x: list[float], s: list[float], f: int) -> float:
    if rule == "average":
        return float(oracles.weighted_mean([np.array([v]) for v in x], s)[0])
    if rule == "trimmed_mean":
        return oracles.weighted_trimmed_mean(x, s, f)
    return oracles.weighted_median(x, s)


def test_the_listed_rules_and_no_others_take_weights() -> None:
    assert [rule for rule in RULES if aggregators.build(rule).weighted] == WEIGHTED
    assert not aggregators.build("nnm+median").weighted
    assert aggregators.build("clipping+average").weighted
    for rule in ("krum", "nnm+median", "rlr+average", "faba"):
        with pytest.raises(RuleError, match=r"takes no weights; leave view\.weights out"):
            aggregators.build(rule)(torch.ones(7, 2), None, ServerView(weights=np.ones(7)))


@pytest.mark.parametrize("rule", WEIGHTED)
@pytest.mark.parametrize("nearest", [False, True])
@FEW
@given(**INPUTS)
def test_coordinate_scope_agrees_with_the_definition(
    rule: str, nearest: bool, seed: int, f: int, more: int, d: int
) -> None:
    rng = np.random.default_rng(seed)
    n = 2 * f + 1 + more
    values, weights = rng.standard_normal((n, d)), weights_of(n, f, rng)
    present = rng.random((n, d)) < 0.8
    for j in range(d):
        there = present[:, j]
        sent = weights[there].tolist()
        if len(sent) < 2 * f + 1 or 2 * oracles.of_any(sent, f) >= sum(sent):
            present[:, j] = True
    junk = np.where(present, values, np.resize([np.nan, np.inf, 1e30], values.shape))
    name = f"ctma+{rule}" if nearest else rule
    found = aggregators.build(name, f=f, scope="coordinate")(
        torch.from_numpy(junk), torch.from_numpy(present), ServerView(weights=weights)
    )
    for j in range(d):
        x, s = values[present[:, j], j].tolist(), weights[present[:, j]].tolist()
        expected = by_column(rule, x, s, f)
        if nearest:
            column = [np.array([v]) for v in x]
            expected = float(oracles.weighted_nearest(column, s, f, np.array([expected]))[0])
        assert float(found[j]) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("rule", WEIGHTED)
@FEW
@given(**INPUTS)
def test_the_nearest_vectors_by_weight(rule: str, seed: int, f: int, more: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    n = 2 * f + 1 + more
    values, weights = rng.standard_normal((n, d)), weights_of(n, f, rng)
    view = ServerView(weights=weights)
    point = aggregators.build(rule, f=f)(torch.from_numpy(values), None, view)
    found = aggregators.build(f"ctma+{rule}", f=f)(torch.from_numpy(values), None, view)
    expected = oracles.weighted_nearest(list(values), weights.tolist(), f, point.numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@FEW
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(2, 6))
def test_whole_weights_of_the_geometric_median_are_copies(seed: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.standard_normal((7, d)), rng.integers(1, 5, 7)
    view = ServerView(weights=weights.astype(float))
    found = aggregators.build("geometric_median")(torch.from_numpy(values), None, view)
    agree("geometric_median", found, list(np.repeat(values, weights, axis=0)), 0)


@pytest.mark.parametrize(("rule", "scope"), EVERY)
@pytest.mark.parametrize("size", [1.0, 3.0, 1e-3])
def test_weights_that_are_all_alike_change_nothing(rule: str, scope: Scope, size: float) -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.standard_normal((10, 12)))
    present = torch.from_numpy(rng.permutation(12) < rng.integers(3, 13, (10, 1)))
    present[:6] = True
    values[0] = torch.nan if rule != "average" and "+average" not in rule else 0.0
    for sent in (None, present):
        made = aggregators.build(rule, f=2, scope=scope)
        alike = made(values, sent, ServerView(weights=np.full(10, size)))
        torch.testing.assert_close(alike, made(values, sent), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_weights_go_with_their_rows(rule: str, scope: Scope) -> None:
    rng = np.random.default_rng(1)
    values = torch.from_numpy(rng.standard_normal((11, 12)))
    present = torch.from_numpy(rng.permutation(12) < rng.integers(3, 13, (11, 1)))
    present[:7] = True
    weights, order = rng.uniform(1.0, 2.0, 11), rng.permutation(11)
    view, made = ServerView(weights=weights), aggregators.build(rule, f=2, scope=scope)
    turned = replace(view, weights=weights[order])
    for sent in (None, present):
        there = None if sent is None else sent[order]
        expected = made(values, sent, view)
        torch.testing.assert_close(made(values[order], there, turned), expected)
        if "clipping" not in rule:  # c is a length
            torch.testing.assert_close(made(values * 4, sent, view), expected * 4)


@pytest.mark.parametrize(
    ("rule", "scope"), [case for case in EVERY if not case[0].endswith("average")]
)
def test_a_heavy_liar_is_refused_and_a_light_one_harmless(rule: str, scope: Scope) -> None:
    rng = np.random.default_rng(2)
    values = torch.from_numpy(rng.standard_normal((9, 6)))
    values[0] = 1e9
    made, weights = aggregators.build(rule, f=1, scope=scope), np.ones(9)
    weights[0] = 7.9
    found = made(values, None, ServerView(weights=weights))
    assert float(found.abs().max()) < 10
    weights[0] = 8.0
    with pytest.raises(RuleError, match="f=1 workers may have 50% of the weight; expected less"):
        made(values, None, ServerView(weights=weights))


def test_clipped_vectors_are_averaged_by_weight() -> None:
    values = torch.tensor([[3.0, 4.0], [0.3, 0.4], [-6.0, 8.0]], dtype=torch.float64)
    view = ServerView(weights=np.array([1.0, 2.0, 5.0]))
    found = aggregators.build("clipping[c=1]+average")(values, None, view)
    torch.testing.assert_close(found * 8, values.new_tensor([0.6 + 0.6 - 3.0, 0.8 + 0.8 + 4.0]))


def test_a_step_in_which_some_weigh_half_has_no_answer() -> None:
    present = torch.ones(6, 2, dtype=torch.bool)
    present[:3, 1] = False
    view = ServerView(weights=np.array([1.0, 1, 1, 3, 1, 1]))
    rule = aggregators.build("geometric_median", f=1, scope="staircase")
    answer = rule.answer(torch.ones(6, 2), present, view)
    assert answer.served is not None
    assert answer.served.tolist() == [True, False]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"view.weights: float64 \(3,\); expected a NumPy array of floats, \(4,\)"),
        (np.ones(4, dtype=int), r"view.weights: int64 \(4,\); expected a NumPy array of floats"),
        ([1.0] * 4, r"view.weights: \[1.0, 1.0, 1.0, 1.0\]; expected a NumPy array of floats"),
        (np.array([1, 0, 1, 1.0]), "view.weights: 0.0; expected finite numbers > 0"),
        (np.array([1, np.nan, 1, 1.0]), "view.weights: nan; expected finite numbers > 0"),
        (np.array([1, np.inf, 1, 1.0]), "view.weights: inf; expected finite numbers > 0"),
    ],
)
def test_weights_that_are_none_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        aggregators.build("median")(torch.ones(4, 2), None, ServerView(weights=weights))


def test_known_answers() -> None:
    x = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    view = ServerView(weights=np.array([1.0, 1.0, 1.0, 3.0]))
    expected = {"average": 31 / 6, "median": 6.0, "geometric_median": 6.0}
    for rule, value in expected.items():
        scope: Scope = "coordinate" if rule == "geometric_median" else "block"
        assert float(aggregators.build(rule, scope=scope)(x, None, view)) == pytest.approx(value)
    # T = 2 of 6 goes at each end: 1 and half of the 2, half of the 4 and 8.
    light = ServerView(weights=np.array([1.0, 2.0, 2.0, 1.0]))
    assert float(aggregators.build("trimmed_mean", f=1)(x, None, light)) == pytest.approx(3.0)


# -- what servers make of claims -------------------------------------------------------------------

CLAIMS = st.lists(
    st.one_of(st.integers(1, 20), st.integers(1, 10**6), st.just(MOST_EXAMPLES)),
    min_size=1,
    max_size=12,
)


@DRAWN
@given(
    CLAIMS,
    st.integers(0, 6),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["all", "prefixes", "any"]),
)
@example([MOST_EXAMPLES, 11, 11, 2516, MOST_EXAMPLES, MOST_EXAMPLES], 1, 1140, "prefixes")
def test_claims_are_cut_where_the_definition_says(
    claims: list[int], f: int, seed: int, kind: str
) -> None:
    rng, m = np.random.default_rng(seed), len(claims)
    present = np.ones((m, 9), dtype=bool)
    if kind == "prefixes":
        present = rng.permutation(9) < rng.integers(0, 10, (m, 1))
    if kind == "any":
        present = rng.random((m, 9)) < 0.7
    sets = [np.flatnonzero(column).tolist() for column in present.T if column.any()]
    expected = oracles.bounded_claims(claims, f, [*sets, list(range(m))])
    asked = None if kind == "all" else torch.from_numpy(present)
    found = bounded(np.array(claims, dtype=float), f, asked)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    for who in sets:
        most = max(f / len(who), (3 * f / len(who) + 0.5) / 4) * found[who].sum()
        assert oracles.of_any(found[who].tolist(), f) <= most * (1 + 1e-9)


@DRAWN
@given(CLAIMS, st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_no_claim_gains_more_than_the_bound(claims: list[int], f: int, seed: int) -> None:
    """Whatever f workers claim, they weigh no more than their share, and no rule refuses them."""
    m = len(claims)
    if 2 * f >= m:
        return
    liars = np.random.default_rng(seed).permutation(m)[:f]
    told = np.array(claims, dtype=float)
    told[liars] = MOST_EXAMPLES
    weights = bounded(told, f)
    assert weights[liars].sum() <= (3 * f / m + 0.5) / 4 * weights.sum() * (1 + 1e-9)
    values = torch.ones(m, 2)
    values[torch.from_numpy(liars)] = 1e9
    found = aggregators.build("median", f=f)(values, None, ServerView(weights=weights))
    assert found.tolist() == [1.0, 1.0]


CELL: dict[str, Any] = {
    "data": "breast_cancer",
    "workers": 9,
    "byzantine": 2,
    "partition": "quantity_skew[distribution=power_law,alpha=1.5]",
    "batch_size": 4,
    "rounds": 3,
    "rule": "trimmed_mean",
    "deadline": 20.0,
    "hardware": "lognormal[sigma=1.0]",
}


def table(result: Any) -> str:
    assert result.status == "done", result.reason
    assert result.measures
    return repr({name: list(column) for name, column in result.rounds.items()})


@pytest.mark.long
def test_weighted_runs_do_not_depend_on_the_stack() -> None:
    """Alone, in stacks of 2 and of 64, to the last bit; the lie changes what counts alone."""
    cells = [
        Scenario(**{**CELL, "rule": rule, "weights": weights, "attack": attack, "algorithm": how})
        for rule in ("trimmed_mean", "median", "ctma+median", "geometric_median")
        for weights in ("none", "examples")
        for attack in ("alie", "claim_examples+alie", "claim_examples[factor=0.1]+foe", "foe")
        for how in ("hgo", "sgd")
    ]
    assert len(cells) == 64
    together = [table(result) for result in simulate(cells)]
    assert len(set(together)) > 40
    for i in range(0, 64, 7):
        assert table(run(cells[i])) == together[i]
        pair = simulate([cells[63 - i], cells[i]])
        assert table(pair[1]) == together[i]
    for i in (0, 1):  # without weights nobody asks
        assert together[i] == together[i + 2]
        assert together[i + 8] != together[i + 10]


def test_a_claim_is_4_bytes_of_every_answer() -> None:
    plain, weighted = (
        run(Scenario(**{**CELL, "weights": weights})).rounds for weights in ("none", "examples")
    )
    more = np.array(weighted["bytes_up"]) - np.array(plain["bytes_up"])
    assert more.tolist() == [4 * heard for heard in weighted["heard"]]


def test_claims_of_examples_are_bounded_and_counted() -> None:
    sent, whole, held = torch.ones(3, 2), np.full(3, 2), np.array([5, 6, 7])
    for said, counted, malformed in (
        (None, [5, 6, 7], 0),
        ([1, 10**9, 7], [1, 10**9, 7], 0),
        ([0, -4, 2**40], [1, 1, MOST_EXAMPLES], 3),
        ([1], [5, 6, 7], 3),  # unreadable: nothing of it arrives
    ):
        message = Message(sent, whole, examples=None if said is None else np.array(said))
        delivery = deliver(message, 3, 2, 2, np.inf, None, held)
        assert delivery.examples is not None
        assert (delivery.examples.tolist(), delivery.malformed) == (counted, malformed)
        assert delivery.lengths.tolist() == ([0, 0, 0] if said == [1] else [2, 2, 2])
        assert deliver(message, 3, 2, 2, np.inf).examples is None
    with pytest.raises(TypeError, match="claimed examples: float64; expected integers"):
        deliver(Message(sent, whole, examples=np.ones(3)), 3, 2, 2, np.inf, None, held)


class Trying(Attack):
    """Notes what the server would do with its message, then sends it."""

    sees = "server"

    def __call__(self, view: View) -> Message:
        own = view.require_own()
        claims = np.array([10**6, 1])
        message = Message(own * 2.0, view.claim(view.places), examples=claims)
        TRIED.append((view.outcome(message).stepped(), view.own_examples, view.workers))
        return message

    def values(self, view: View) -> torch.Tensor:
        return self(view).values


TRIED: list[Any] = []


def test_what_attackers_try_is_weighed_as_what_they_send() -> None:
    TRIED.clear()
    scenario = Scenario(
        **{**CELL, "weights": "examples", "algorithm": "sgd", "deadline": "inf"},
        attack="tests.test_weights:Trying",
    )
    seen: list[torch.Tensor] = []
    (result,) = simulate([scenario], observe=lambda step: seen.append(step.params.clone()))
    assert result.status == "done", result.reason
    for (stepped, _, _), after in zip(TRIED[:-1], seen[1:], strict=True):
        torch.testing.assert_close(stepped, after)
    shards = World(scenario).shards
    for _, held, workers in TRIED:
        assert held.tolist() == [len(shards[i]) for i in workers]


def test_with_weights_a_sample_of_more_than_is_tolerated_is_a_risk() -> None:
    fields: dict[str, Any] = {
        "workers": 40,
        "byzantine": 6,
        "sampled": 20,
        "tolerated": 3,
        "quorum": 15,
    }
    plain = Scenario(**fields, rule="median")
    weighted = plain.replace(weights="examples")
    assert plain.sampling_risk == 0.0
    ways = sum(math.comb(6, k) * math.comb(34, 20 - k) for k in (4, 5, 6)) / math.comb(40, 20)
    assert weighted.sampling_risk == risks(weighted)[0] == pytest.approx(ways)
    assert weighted.sampling_warning == (
        "sampling risk: of n=40 workers f=6 are Byzantine; more than 3 of q=20 sampled ones, all "
        "that weights bounded for tolerated=3 leave less than half, are so with probability 0.331 "
        "per round, 1 over 150 rounds"
    )
    assert weighted.digest != plain.digest == plain.replace(weights="none").digest


def test_a_setting_none_is_the_word() -> None:
    assert Scenario(weights=None).weights == "none"  # type: ignore[arg-type]
    assert check_field("weights", parse_setting("weights=none").values[0]) == "none"
