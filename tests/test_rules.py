from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hgobench import aggregators
from hgobench.aggregators import (
    NonFiniteError,
    RuleError,
    Scope,
    ServerView,
    flame,
    sign_guard,
)
from hgobench.errors import InputError
from hgobench.report import listing
from hgobench.report.render import markdown
from hgobench.testing import check
from hgobench.testing.rules import RULE_LAWS, cases, laws_of, rule_maker, try_law
from tests import oracles, plugins
from tests.oracles import Vector, coordinate_rule, krum_scores, vector_rule

PLAIN: tuple[Scope, ...] = ("block", "coordinate")
RULES = list(aggregators.registry.builtins)
PRE_RULES = list(aggregators.pre_rules.builtins)
CHAINS = [
    *(f"{pre}+krum".replace("gas+", "gas[parts=2]+") for pre in PRE_RULES),
    *(f"{pre}+geometric_median" for pre in ("nnm", "bucketing", "clipping", "arc")),
    "nnm+caf",
    "arc+centered_clipping",
    "bucketing[s=3]+cge",
    "arc+nnm+trimmed_mean",
    "clipping+bucketing+caf",
    "ctma+median",
    "rlr+average",
]


# Without what they draw, where that would hide what is looked at.
QUIET = {"flame": "flame[noise=0.0]", "weak_dp": "weak_dp[sigma=0.0]"}


def scopes(rule: str) -> tuple[Scope, ...]:
    return aggregators.build(rule).scopes()


# What fails is drawn by seed and would not get smaller by shrinking.
DRAWN = settings(
    max_examples=50, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
EVERY = [(rule, scope) for rule in (*RULES, *CHAINS) for scope in scopes(rule)]


# Chains are tried with the long tests, but in one scope a pre-rule's before Krum.
AT_ONCE = [(rule, scopes(rule)[0]) for rule in CHAINS if rule.endswith("+krum")]
HELD = [
    pytest.param(
        rule,
        scope,
        law,
        marks=[pytest.mark.long] * (rule in CHAINS and (rule, scope) not in AT_ONCE),
    )
    for rule, scope in EVERY
    for law in laws_of(scope)
]


@pytest.mark.parametrize(("rule", "scope", "law"), HELD)
def test_every_rule_obeys_every_law(rule: str, scope: Scope, law: str) -> None:
    verdict = try_law(law, rule_maker(rule, scope))
    if law in aggregators.build(rule).exempt:
        assert verdict.outcome == "not applicable"
        assert verdict.detail
    else:
        assert verdict.outcome == "pass", verdict.detail


@pytest.mark.parametrize(
    ("rule", "law"), [(rule, law) for rule in RULES for law in aggregators.build(rule).exempt]
)
def test_an_exemption_is_needed(rule: str, law: str) -> None:
    """In some scope some case breaks the law that the rule says it can't obey."""
    found = []
    for scope in set(scopes(rule)) & set(PLAIN):
        for case in cases(rule_maker(rule, scope), (0, 1, 4)):
            try:
                RULE_LAWS[law](case)
            except (AssertionError, RuleError) as error:
                found.append(str(error))
    assert found


@pytest.mark.parametrize("law", RULE_LAWS)
def test_every_law_can_fail(law: str) -> None:
    broken = getattr(plugins.LawBreakers, law)
    verdict = try_law(law, lambda f: broken(f=f))
    assert verdict.outcome == "fail"
    assert "with f=" in verdict.detail
    assert "workers" in verdict.detail


def test_the_smallest_failing_example_comes_first() -> None:
    verdict = try_law("finite_within_honest_range", rule_maker("tests.plugins:MyMedian"))
    assert "with f=1, 3 workers, 1 coordinates, values\n" in verdict.detail


def test_a_chain_counts_what_reaches_the_rule() -> None:
    rule = aggregators.build("tests.plugins:Dropping+krum", f=1)
    with pytest.raises(RuleError, match="Krum: 4 answers; f=1 needs at least 5"):
        rule(torch.ones(8, 2))
    wrong = aggregators.build("tests.plugins:WrongKind+krum", f=1)
    with pytest.raises(RuleError, match="WrongKind: returned Tensor; expected hgobench"):
        wrong(torch.ones(8, 2))
    assert aggregators.build("nnm+smea", f=5, scope="coordinate").maximum == np.inf
    assert aggregators.build("bucketing+smea", f=5).maximum == 48
    assert aggregators.build("bucketing[s=3]+krum", f=2).minimum == 19


def test_half_precision_that_overflows_is_an_error() -> None:
    values = torch.full((3, 2), 6e4, dtype=torch.float16)
    view = ServerView(root=HugeRoot(2))
    with pytest.raises(RuleError, match="FlTrust: returned NaN or infinite values"):
        aggregators.build("fltrust")(values, None, view)
    nan_root = ServerView(root=HugeRoot(2, torch.nan))
    with pytest.raises(NonFiniteError, match="the server's own gradient is not finite"):
        aggregators.build("fltrust")(torch.ones(3, 2), None, nan_root)


class HugeRoot:
    rate = 0.1

    def __init__(self, size: int, value: float = 1e6) -> None:
        self.size, self.value = size, value

    def gradient(self, examples: int) -> Tensor:
        return torch.full((self.size,), self.value)

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        raise NotImplementedError


def test_sybils_in_the_majority_do_not_blur_the_honest() -> None:
    """What FoolsGold and Zeno compare is measured from the origin, not from a centre of Sybils."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((10, 20))
    values[:6] = 1e9
    found = aggregators.build("foolsgold", f=3)(torch.from_numpy(values))
    np.testing.assert_allclose(found, oracles.FoolsGold(3)(list(values)), rtol=1e-9)
    steps = torch.tensor(
        [[0.1] * 3] * 3 + [[0.11, 0.1, 0.1]] + [[50.0] * 3] * 3 + [[-1e12] * 3] * 4
    )
    view = ServerView(root=Summing())
    chosen = aggregators.build("zeno[rho_ratio=0.5]", f=10)(steps.double(), None, view)
    np.testing.assert_allclose(chosen, [0.11, 0.1, 0.1], rtol=1e-6)


class Summing:
    rate = 0.5

    def gradient(self, examples: int) -> Tensor:
        raise NotImplementedError

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        return updates.sum(dim=1)


def test_a_huge_attacker_still_pulls_the_geometric_median() -> None:
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-4, 1e-6):
        values = (scale * rng.standard_normal((11, 100))).astype(np.float32)
        values[:4] = 3e38
        found = aggregators.build("geometric_median", f=4)(torch.from_numpy(values))
        vectors = [row.astype(np.float64) for row in values]
        assert oracles.pull(found.double().numpy(), vectors) < 1e-5


@pytest.mark.parametrize("size", [1e78, 1e99, 1e120, 1e200])
@pytest.mark.parametrize(("rule", "scope"), [at for at in EVERY if at[1] in PLAIN])
def test_attackers_near_the_end_of_float64(rule: str, scope: Scope, size: float) -> None:
    if rule in ("average", "monna", "foolsgold", "rlr+average"):
        return
    rng = np.random.default_rng(0)
    n = aggregators.build(rule, f=2).minimum + 2
    values = torch.from_numpy(rng.standard_normal((n, 5)))
    values[0], values[1] = size, -size / 2
    view = ServerView(honest=np.arange(n) >= 2, root=QuadraticRoot(5))
    found = aggregators.build(rule, f=2, scope=scope)(values, None, view)
    assert float(found.abs().max()) < 10


def test_clustering_makes_two_whatever_ties() -> None:
    rng = np.random.default_rng(0)
    values = torch.ones(7, 3) + 0.05 * torch.from_numpy(rng.standard_normal((7, 3))).float()
    values[5:] = 0.0  # at distance 1 from everything
    found = aggregators.build("clipped_clustering", f=2)(values)
    assert float(found.min()) > 0.75  # not halved by the two zeros


def test_mda_finds_the_narrowest_of_all_subsets() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        f = int(rng.integers(0, 4))
        n = int(rng.integers(2 * f + 1, 11))
        vectors = list(rng.standard_normal((n, 3)))
        found = aggregators.build("mda", f=f)(torch.from_numpy(np.array(vectors)))
        np.testing.assert_allclose(found, oracles.mda(vectors, f), rtol=1e-9, atol=1e-12)


def test_a_view_s_random_numbers_are_those_of_its_round_and_step() -> None:
    values = torch.arange(8.0)[:, None]
    view = ServerView()
    rule = aggregators.build("bucketing[s=3]+median")
    assert torch.equal(rule(values, None, view), rule(values, None, view))
    first, second = view.rng.random(), view.next_step(same_workers=True).rng.random()
    assert first == view.rng.random() != second
    assert ServerView(2).rng.random() != first


def test_nobody_s_vectors_can_t_be_remembered() -> None:
    rule = aggregators.build("bucketing+tests.plugins:Remembering")
    with pytest.raises(RuleError, match="vectors after bucketing have no single sender"):
        rule(torch.ones(6, 2))


def test_a_view_must_say_how_many_coordinates_there_are() -> None:
    view = ServerView(coordinates=torch.tensor([5, 6]))
    with pytest.raises(RuleError, match=r"view.coordinates: up to 6; view.dimension must say how"):
        aggregators.build("centered_clipping")(torch.ones(3, 2), None, view)


def ragged(max_workers: int, max_columns: int) -> st.SearchStrategy[tuple[int, list[list[float]]]]:
    """Draw f, and for each coordinate the values of those that sent it: at least 2f + 3.

    Whole numbers keep ties exact, in float32 as in the oracle's float64.
    """
    value = st.integers(-50, 50).map(float)

    def columns(f: int) -> st.SearchStrategy[list[list[float]]]:
        column = st.lists(value, min_size=2 * f + 3, max_size=max_workers)
        return st.lists(column, min_size=1, max_size=max_columns)

    return st.integers(0, 3).flatmap(lambda f: st.tuples(st.just(f), columns(f)))


def matrix(columns: list[list[float]], seed: int) -> tuple[Tensor, Tensor]:
    """Place each column's values at random workers; fill the absent entries with junk."""
    rng = np.random.default_rng(seed)
    q = max(map(len, columns))
    values = rng.choice([np.nan, np.inf, 1e30, 0.0], (q, len(columns))).astype(np.float32)
    present = np.zeros(values.shape, dtype=bool)
    for j, column in enumerate(columns):
        rows = rng.permutation(q)[: len(column)]
        values[rows, j] = column
        present[rows, j] = True
    return torch.from_numpy(values), torch.from_numpy(present)


# Rules whose choices tie on whole numbers are compared on continuous values only.
TIES = [
    "average",
    "median",
    "trimmed_mean",
    "meamed",
    "phocas",
    "krum",
    "aksel",
    "sign_sgd_majority",
]


@pytest.mark.parametrize("rule", TIES)
@DRAWN
@given(case=ragged(12, 6), seed=st.integers(0, 99))
def test_coordinate_scope_agrees_with_the_definition_whatever_ties(
    rule: str, case: tuple[int, list[list[float]]], seed: int
) -> None:
    f, columns = case
    values, present = matrix(columns, seed)
    found = aggregators.build(rule, f=f, scope="coordinate")(values, present)
    for j, column in enumerate(columns):
        got, expected = float(found[j]), coordinate_rule(rule, column, f)
        if rule == "krum":
            # Rounding may break a tie another way: the chosen value's score must be the least.
            scores = krum_scores([np.array([x]) for x in column], f)
            assert scores[column.index(got)] == min(scores)
        else:
            assert got == pytest.approx(expected, rel=1e-5, abs=1e-5)


ROOT = 0.5  # every entry of the server's own gradient
RATE = 0.3


class QuadraticRoot:
    """A server whose clean loss is ‖w - γ·root‖²/2 around its root gradient, at w = 0."""

    rate = RATE

    def __init__(self, size: int) -> None:
        self.size = size

    def gradient(self, examples: int) -> Tensor:
        return torch.full((self.size,), ROOT)

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        return torch.tensor([descent(row.double().numpy()) for row in updates])


def descent(update: Vector) -> float:
    aim = np.full_like(update, ROOT)
    return float((aim**2).sum() - ((update - aim) ** 2).sum()) / 2


def information(rule: str, d: int) -> dict[str, Any]:
    """Return what the definition of a rule must be told."""
    if rule == "fltrust":
        return {"root": np.full(d, ROOT)}
    return {"descent": descent, "rate": RATE} if rule == "zeno" else {}


def mixed(steps: list[str], vectors: list[Vector], f: int) -> list[Vector]:
    """Apply pre-rules by their definitions."""
    for position, step in enumerate(steps):
        name, more = parameters(step)
        if name == "bucketing":
            more["seed"] = position
        vectors = oracles.PRE_RULES[name](vectors, f, **more)
    return vectors


def sees_answers(rule: str) -> bool:
    """Say whether a pre-rule of the chain looks at what follows it."""
    return any(parameters(step)[0] in oracles.AROUND for step in aggregators.registry.split(rule))


def defined(rule: str, vectors: list[Vector], f: int, position: int = 0) -> Vector:
    """Work a rule out by its definition, pre-rules and parameters included.

    Args:
        rule: what is left of a chain.
        vectors: what arrives there.
        f: as told.
        position: how many pre-rules there were before.
    """
    first, *rest = aggregators.registry.split(rule)
    name, more = parameters(first)
    if not rest:
        return defined_rule(name, more, vectors, f)
    if name in ("bucketing", "gas"):
        more["seed"] = position

    again = position + (name not in ("ctma", "rlr"))  # these leave the vectors as they are

    def after(some: list[Vector]) -> Vector:
        return defined("+".join(rest), some, f, again)

    if name in oracles.AROUND:
        return oracles.AROUND[name](vectors, f, after, **more)
    return after(oracles.PRE_RULES[name](vectors, f, **more))


def defined_rule(name: str, more: dict[str, Any], vectors: list[Vector], f: int) -> Vector:
    if name == "oracle":
        return oracles.mean(vectors[f:])
    if name == "geometric_median":  # its definition tells it when it sees it
        found: Vector = aggregators.build(name, f=f)(torch.from_numpy(np.stack(vectors))).numpy()
        assert oracles.pull(found, vectors) < 1e-6
        return found
    if name in ("fltrust", "zeno"):
        more |= information(name, len(vectors[0]))
        answer: Vector = getattr(oracles, name)(vectors, f, **more)
        return answer
    return vector_rule(name, vectors, f, **more)


def defined_by_column(
    rule: str, values: np.ndarray, f: int, present: np.ndarray | None = None
) -> Vector:
    """Work a rule out by its definition, each coordinate by itself."""
    sent = np.ones(values.shape, dtype=bool) if present is None else present
    *before, last = aggregators.registry.split(rule)
    name, more = parameters(last)
    answer = []
    for j in range(values.shape[1]):
        who = np.flatnonzero(sent[:, j])
        column = [np.array([x]) for x in values[who, j]]
        if name == "oracle":
            honest = [float(x) for i, (x,) in zip(who, column, strict=True) if i >= f]
            answer.append(sum(honest) / len(honest) if honest else 0.0)
            continue
        _, told = by_scalar(name, more, values.shape[1])
        if name == "weak_dp":
            told = {**told, "place": (j, values.shape[1])}

        after: oracles.After = partial(_scalar, name, f, told)
        for step in reversed(before):
            after = _before(step, after, f, values.shape[1])
        answer.append(float(after(column)[0]))
    return np.array(answer)


def _scalar(name: str, f: int, told: dict[str, Any], column: list[Vector]) -> Vector:
    return np.array([coordinate_rule(name, [float(x) for (x,) in column], f, **told)])


def _before(step: str, after: oracles.After, f: int, d: int) -> oracles.After:
    """Put a pre-rule before what follows it, in one dimension."""
    name, more = by_scalar(*parameters(step), d)
    if name in ("ctma", "gas"):  # of one coordinate there is one part
        return lambda column: oracles.ctma(column, f, after)
    if name in oracles.AROUND:
        return lambda column: oracles.AROUND[name](column, f, after, **more)
    return lambda column: after(oracles.PRE_RULES[name](column, f, **more))


LENGTHS = {"clipping": ("c", 2.0), "centered_clipping": ("tau", 1.0), "weak_dp": ("c", 2.0)}


def by_scalar(name: str, more: dict[str, Any], d: int) -> tuple[str, dict[str, Any]]:
    """Give a rule that has a bound of vectors' lengths what falls to one of d coordinates."""
    if name not in LENGTHS:
        return name, more
    bound, default = LENGTHS[name]
    return name, {**more, bound: more.get(bound, default) / d**0.5}


def parameters(specification: str) -> tuple[str, dict[str, Any]]:
    name, _, text = specification.rstrip("]").partition("[")
    pairs = (item.split("=") for item in text.split(",") if item)
    return name, {key: float(x) if "." in x else int(x) for key, x in pairs}


VARIED = [
    *RULES,
    *CHAINS,
    "multi_krum[m=2]",
    "centered_clipping[tau=0.3,iterations=4]",
    "dnc[coordinates=2,iterations=3,c=0.5]",
    "dnc[iterations=2,c=0.5,share=0.6]",
    "zeno[rho_ratio=0.7]",
    "sign_guard[share=0.9]",
    "clipping[c=0.7]+multi_krum",
    "foolsgold[confidence=0.3]",
    "filter_l2[sigma=0.1]",
    "filter_l2[sigma=0.2,expansion=9.0]",
    "flame[noise=0.3]",
    "weak_dp[c=0.7,sigma=0.0]",
    "rlr[threshold=4]+median",
    "foundation_fl+trimmed_mean",
    "foundation_fl[copies=3]+median",
    "ctma+geometric_median",
    "gas[parts=3]+median",
    "arc+gas[parts=2]+trimmed_mean",
    "ctma+gas[parts=2]+multi_krum",
]


def agree(
    rule: str,
    found: Tensor,
    vectors: list[Vector],
    f: int,
    *,
    rtol: float = 1e-6,
    atol: float | None = None,
) -> None:
    got = found.double().numpy()
    if rule.endswith("geometric_median") and not sees_answers(rule):
        vectors = mixed(aggregators.registry.split(rule)[:-1], vectors, f)
        assert oracles.pull(got, vectors) < 1e-6
        return
    scale = max(oracles.length(v) for v in vectors if oracles.finite(v))
    atol = 1e-9 * (scale + 1) if atol is None else atol
    *before, last = aggregators.registry.split(rule)
    if before and last == "krum" and not sees_answers(rule):
        # Mixed vectors may tie by definition; rounding then says which comes first.
        made = mixed(before, vectors, f)
        scores = krum_scores(made, f)
        tied = [
            v for v, s in zip(made, scores, strict=True) if s <= min(scores) * (1 + 1e-9) + 1e-20
        ]
        assert any(np.allclose(got, v, rtol=rtol, atol=atol) for v in tied)
        return
    expected = defined(rule, vectors, f)
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("rule", VARIED)
@DRAWN
@given(
    f=st.integers(0, 2),
    more=st.integers(0, 4),
    d=st.integers(2, 6),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1.0, 1e-4, 1e4]),
    shift=st.sampled_from([0.0, 3.0]),
    outliers=st.booleans(),
    incomplete=st.integers(0, 2),
)
def test_block_scope_agrees_with_the_definition(
    rule: str, f: int, more: int, d: int, seed: int, scale: float, shift: float,
    outliers: bool, incomplete: int,
) -> None:  # fmt: skip
    """Dense and ragged, tight or wide, at the origin or off it, with far outliers or none."""
    made = aggregators.build(rule, f=f)
    rng = np.random.default_rng(seed)
    n = max(made.minimum, 2 * f + 1) + more
    values = (rng.standard_normal((n, d)) + shift) * scale
    if outliers:
        values[:f] *= 1e3
    sent = np.concatenate((values, rng.standard_normal((incomplete, d))))
    present = np.ones(sent.shape, dtype=bool)
    present[n:, rng.integers(0, d)] = False
    view = ServerView(honest=np.arange(len(sent)) >= f, root=QuadraticRoot(d))
    dense = torch.from_numpy(sent), torch.from_numpy(present)
    if "krum" in rule and f == 0:
        return  # with one neighbour to count, the nearest two always tie
    agree(rule, made(*dense, view), list(values), f)


# In one dimension mixed and clipped values are often equal, so that what chooses among them ties;
# and groups are drawn by rank.
COLUMN_RULES = [
    rule
    for rule in VARIED
    if aggregators.build(rule).has_columns()
    and not ("+" in rule and "krum" in rule)
    and "bucketing" not in rule
]


@pytest.mark.parametrize("rule", COLUMN_RULES)
@DRAWN
@given(
    f=st.integers(0, 2),
    more=st.integers(0, 4),
    d=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1.0, 1e-4, 1e4]),
    outliers=st.booleans(),
)
def test_coordinate_scope_agrees_with_the_definition(
    rule: str, f: int, more: int, d: int, seed: int, scale: float, outliers: bool
) -> None:
    made = aggregators.build(rule, f=f, scope="coordinate")
    rng = np.random.default_rng(seed)
    least = max(made.minimum, 2 * f + 1) + ("krum" in rule and f == 0)
    n = least + more
    values = rng.standard_normal((n, d)) * scale
    if outliers:
        values[:f] *= 1e3
    present = np.zeros((n, d), dtype=bool)
    for j in range(d):
        present[rng.permutation(n)[: rng.integers(least, n + 1)], j] = True
    junk = np.where(present, values, rng.choice([np.nan, np.inf, 1e30, 0.0], values.shape))
    view = ServerView(honest=np.arange(n) >= f)
    found = made(torch.from_numpy(junk), torch.from_numpy(present), view)
    expected = defined_by_column(rule, values, f, present)
    # A tight column's variance is known to so many digits of its largest value.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9 * scale)


def test_bucketing_groups_each_coordinate_s_values() -> None:
    values = torch.arange(1.0, 8.0)[:, None].repeat(1, 2)
    present = torch.ones(7, 2, dtype=torch.bool)
    present[2:, 1] = False
    found = aggregators.build("bucketing[s=3]+average", scope="coordinate")(values, present)
    order = np.random.default_rng([1, 0]).permutation(7)
    ranked: list[list[int]] = [list(order + 1), [r + 1 for r in order if r < 2]]
    for j, column in enumerate(ranked):
        means = [np.mean(column[i : i + 3]) for i in range(0, len(column), 3)]
        assert float(found[j]) == pytest.approx(np.mean(means))


@pytest.mark.parametrize(
    "rule",
    [
        "centered_clipping",
        "centered_clipping[tau=0.2,iterations=3]",
        "clipped_clustering",
        pytest.param("foolsgold", marks=pytest.mark.long),
        pytest.param("clipped_clustering[largest=1.5]", marks=pytest.mark.long),
    ],
)
@DRAWN
@given(seed=st.integers(0, 2**32 - 1), f=st.integers(0, 2))
def test_rounds_agree_with_the_definition(rule: str, seed: int, f: int) -> None:
    """Ten rounds, each of other workers and other coordinates, some of them poisoned."""
    rng = np.random.default_rng(seed)
    name, more = parameters(rule)
    made, definition = aggregators.build(rule, f=f), oracles.STATEFUL[name](f, **more)
    for k in range(1, 11):
        workers = rng.permutation(12)[: rng.integers(2 * f + 3, 13)]
        coordinates = rng.permutation(8)[: rng.integers(2, 9)]
        values = rng.standard_normal((len(workers), len(coordinates)))
        if k % 3 == 0:
            values[:f] = (np.nan, np.inf, 1e6)[k % 9 // 3]
        view = ServerView(k, workers, torch.from_numpy(coordinates), dimension=8)
        found = made(torch.from_numpy(values), None, view)
        known: dict[str, Any] = {"coordinates": coordinates, "workers": workers}
        if name == "centered_clipping":
            del known["workers"]
        expected = definition(list(values), **({} if name == "clipped_clustering" else known))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_centered_clipping_remembers_each_coordinate() -> None:
    rule = aggregators.build("centered_clipping[tau=0.5]", scope="coordinate")
    ten = torch.full((3, 2), 10.0)
    steps = [rule(ten, None, ServerView(k, dimension=4, coordinates=torch.tensor(c))).tolist()
             for k, c in enumerate(([0, 1], [1, 2], [2, 1]), 1)]  # fmt: skip
    # τ/√d = 1/4
    assert steps == [[0.25, 0.25], [0.5, 0.25], [0.5, 0.75]]


def test_known_answers() -> None:
    column = torch.tensor([[1.0], [2.0], [4.0], [8.0], [1000.0]])
    expected = {
        "average": 203.0,
        "multi_krum": 1.5,  # m = n - f - 2 = 2: the scores of 1 and 2 are 10 and 5
        "geometric_median": 4.0,
        "mda": 3.75,
        "smea": 3.75,
        "cge": 3.75,
        "monna": 3.75,
        "sign_sgd_majority": 1.0,
        "median": 4.0,
        "trimmed_mean": 14 / 3,
        "meamed": 3.75,  # without 1000
        "phocas": 3.75,
        "krum": 2.0,  # 1 + 4 to its two neighbours 1 and 4
        "aksel": 7 / 3,  # distances to 4: 3, 2, 0, 4, 996; the median one is 3
    }
    for name, value in expected.items():
        assert float(aggregators.build(name, f=1)(column)) == pytest.approx(value)


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("rule", ["krum", "multi_krum", "mda", "nnm+krum", "bulyan", "cge"])
def test_tight_clusters_far_from_the_origin(rule: str, far: bool) -> None:
    """Values of order 1 with a spread of 1e-5, alone and beside f rows of 1e6: 200 of 200."""
    rng = np.random.default_rng(7)
    times, n, f = (200, 20, 4) if rule == "krum" else (10, 11, 2)
    for _ in range(times):
        values = (rng.standard_normal(200) + 1e-5 * rng.standard_normal((n, 200))).astype(
            np.float32
        )
        if far:
            values[:f] = 1e6 * rng.standard_normal((f, 200))
        vectors = [row.astype(np.float64) for row in values]
        found = aggregators.build(rule, f=f)(torch.from_numpy(values))
        if rule == "krum":
            scores = krum_scores(vectors, f)
            assert torch.equal(found, torch.from_numpy(values[int(np.argmin(scores))]))
        else:
            # float32 itself is 1e-7 off, another choice of vectors some 1e-6.
            assert np.abs(found.numpy() - defined(rule, vectors, f)).mean() < 2e-7


def test_one_huge_value_does_not_eat_the_others() -> None:
    values = torch.tensor([[1.0], [2.0], [3.0], [1e30], [-1e30]])
    for name in ("trimmed_mean", "meamed", "phocas"):
        assert 1 <= float(aggregators.build(name, f=2)(values)) <= 3


def test_half_precision_is_computed_in_float32() -> None:
    values = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.bfloat16)
    found = aggregators.build("median", f=1)(values)
    assert found.dtype == torch.bfloat16
    assert float(found) == 2.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: aggregators.build("krum", f=2)(torch.zeros(6, 2)), "Krum: 6 answers; f=2 needs"),
        (lambda: aggregators.build("median")(torch.zeros(3)), r"values: shape \(3,\); expected"),
        (lambda: aggregators.build("median")(torch.zeros(0, 3)), r"values: shape \(0, 3\)"),
        (
            lambda: aggregators.build("median")(torch.zeros(2, 2, dtype=torch.int64)),
            "values: torch.int64; expected a floating-point tensor",
        ),
        (
            lambda: aggregators.build("median")(torch.zeros(2, 2), torch.ones(2, 2)),
            r"present: torch.float32 \(2, 2\); expected torch.bool \(2, 2\)",
        ),
        (
            lambda: aggregators.build("median")(torch.zeros(1, 2), [[True, False]]),  # type: ignore[arg-type]
            "present: list; expected a torch.Tensor",
        ),
        (
            lambda: aggregators.build("median")(
                torch.zeros(1, 2), torch.tensor([[255, 0]], dtype=torch.uint8).view(torch.bool)
            ),
            "present: holds bytes that are neither 0 nor 1, as of numbers that are viewed as bool; "
            "compare them with 0 instead",
        ),
        (
            lambda: aggregators.build("average")(torch.tensor([[torch.nan], [1.0]])),
            "Average: no finite answer; 1 of 2 workers sent NaN or infinite values, and f=0",
        ),
        (
            lambda: aggregators.build("average")(torch.full((11, 1), 3e38)),
            r"Average: no finite answer; 11 of 11 workers sent values of 1e\+30 or more, too large "
            "to add or square, and f=0",
        ),
        (
            lambda: aggregators.build("average")(torch.tensor([[torch.inf], [3e38], [3e38]])),
            r"1 of 3 workers sent NaN or infinite values and 2 of 3 workers sent values of 1e\+30",
        ),
    ],
)
def test_bad_input_says_what_is_wrong(call: object, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        call()  # type: ignore[operator]


def test_repr_states_every_parameter() -> None:
    assert repr(aggregators.build("krum", f=3)) == "Krum(f=3, scope='block')"


def test_a_callable_that_names_present_gets_what_was_sent() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [3.0, torch.nan, torch.nan]])
    present = torch.tensor([[True, True, False], [True, False, False]])
    for name in ("Ragged", "ragged_function"):
        rule = aggregators.build(f"tests.plugins:{name}")
        assert rule(values, present).tolist() == [2.0, 2.0, 0.0]
        assert rule(values[:1]).tolist() == [1.0, 2.0, 3.0]
        verdict = try_law("ragged_is_the_rule_on_who_sent", rule_maker(f"tests.plugins:{name}"))
        assert verdict.outcome == "pass"


def test_a_function_is_a_rule_and_may_answer_in_numpy() -> None:
    rule = aggregators.build("tests.plugins:plain", f=1)
    assert rule(torch.tensor([[1.0], [2.0], [9.0]])).tolist() == [2.0]
    assert rule.name == "plain"


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        (
            "tests.plugins:Forgetful",
            r"must take f and scope and call super\(\).__init__\(f=f, scope=scope",
        ),
        (
            "tests.plugins:Greedy",
            "missing 1 required positional argument: 'n'; hgobench supplies f, scope",
        ),
        (
            "tests.plugins:MyMedia",
            "rule: 'tests.plugins:MyMedia': tests.plugins: unknown 'MyMedia'; did you mean 'MyMedian'",
        ),
        ("tests.plugins.MyMedian", r"\(hgobench list rules, or module:Class\)"),
        ("krum,median", "rule: 'krum,median'; expected name or name"),
        ("tests.plugins:plain[k=3]", "unknown 'k'; expected one of values"),
        (
            "tests.plugins:plain[values=3]",
            "is a function and takes no parameters here; write a class",
        ),
        ("nnm", r"rule: 'nnm' is written before a rule, as in nnm\+median"),
        ("krum+nnm", r"rule: 'nnm' is written before a rule, as in nnm\+median"),
        ("tests.plugins:Halving", "is a pre-rule; name the rule behind it: tests.plugins:Halving"),
        ("nnmm+krum", "pre_rule: unknown 'nnmm'; did you mean 'nnm'.*hgobench list pre_rules"),
        ("median+krum", "pre_rule: 'median' is a rule, of which a chain has one, the last; before"),
        ("tests.plugins:plain+krum", "expected a subclass of hgobench.aggregators.PreRule"),
        ("tests.plugins:made", "is an instance; name its class"),
        ("tests.plugins:Empty", "expected one of the methods of_vectors, of_rows, of_columns"),
        ("tests.plugins:Wishful", "needs: 'honest'; expected a set of 'root' and 'honest'"),
        ("tests.plugins:Listing", r"exempt: \['x'\]; expected a mapping from laws to reasons"),
        ("tests.plugins:NoProperty", "minimum: expected a property that is a whole number"),
        ("tests.plugins:Ducking", "needs is for subclasses of hgobench.aggregators.Rule"),
        ("tests.plugins:ColumnsOnly+krum", "ColumnsOnly has no of_vectors, for scope 'block'"),
        (
            "bucketing+foolsgold",
            "FoolsGold must know who sent which vector, but a bucket has no single sender",
        ),
        ("nnm+bucketing[s=1]+monna", "Monna must know who sent which vector"),
        ("tests.plugins:MyMedian+krum", "expected a subclass of hgobench.aggregators.PreRule"),
        ("nnm+", r"rule: 'nnm\+'; expected a name at both sides of each \+"),
        ("nnm++krum", r"expected a name at both sides of each \+"),
        ("nnm+oracle", "rule: 'nnm\\+oracle': oracle takes no pre-rule"),
        ("bucketing[s=0]+krum", "'bucketing.s=0.': s: 0; expected an integer >= 1"),
        ("clipping[c=-1]+krum", "c: -1.0; expected a finite number > 0"),
        ("multi_krum[m=0]", "m: 0; expected an integer >= 1"),
        ("geometric_median[tolerance=0]", "tolerance: 0.0; expected a finite number > 0"),
        ("sign_guard[lower=4]", "lower: 4.0; expected less than upper=3.0"),
        ("sign_guard[share=2]", r"share: 2.0; expected a share in \(0, 1\]"),
        ("zeno[rho_ratio=-1]", "rho_ratio: -1.0; expected a finite number > 0"),
        ("gas[parts=0]+krum", "parts: 0; expected an integer >= 1"),
        ("rlr[threshold=0]+average", "threshold: 0; expected an integer >= 1"),
        ("foundation_fl[copies=-1]+median", "copies: -1; expected an integer >= 0"),
        ("flame[noise=-0.1]", "noise: -0.1; expected a finite number >= 0"),
        ("weak_dp[sigma=-1]", "sigma: -1.0; expected a finite number >= 0"),
        ("weak_dp[c=0]", "c: 0.0; expected a finite number > 0"),
        ("filter_l2[sigma=0]", "sigma: 0.0; expected a finite number > 0"),
        ("filter_l2[expansion=0]", "expansion: 0.0; expected a finite number > 0"),
        ("foundation_fl+foolsgold", "FoolsGold must know who sent which vector"),
        ("dnc[share=1.2]", r"share: 1.2; expected a share in \(0, 1\]"),
        ("monna[pivot=1.5]", "pivot: 1.5; expected an integer >= 0"),
        ("torch:mean", "its parameters can't be read .*; wrap it in a function"),
    ],
)
def test_rules_that_can_t_be_made_say_why(specification: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        aggregators.build(specification)


def test_a_rule_s_own_nan_is_its_fault() -> None:
    with pytest.raises(RuleError, match="NotFinite: returned NaN or infinite values for finite"):
        aggregators.build("tests.plugins:NotFinite")(torch.ones(3, 2))


def test_every_failure_under_a_law_names_the_law() -> None:
    with pytest.raises(
        AssertionError, match=r"^answers_at_all: rule 'Raising': RuntimeError: out of"
    ):
        check("tests.plugins:Raising")


@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_it_does_not_matter_where_a_mask_lies(rule: str, scope: Scope) -> None:
    rng = np.random.default_rng(0)
    view = ServerView(honest=np.arange(9) > 0, root=QuadraticRoot(33))
    values = torch.from_numpy(rng.standard_normal((9, 33)))
    for present in (rng.random((9, 33)) < 0.8, np.arange(33) < rng.integers(1, 34, (9, 1))):
        wide, flat = np.zeros((18, 99), dtype=bool), np.zeros(9 * 33 + 3, dtype=bool)
        wide[::2, ::3] = present
        flat[3:] = present.ravel()
        lying = [present, np.asfortranarray(present), wide[::2, ::3], flat[3:].reshape(9, 33)]
        answers = []
        for mask in lying:
            try:
                answer = aggregators.build(rule, f=1, scope=scope)(
                    values, torch.from_numpy(mask), view
                )
            except RuleError as error:
                answers.append(str(error))
            else:
                answers.append(str(answer.tolist()))
        assert len(set(answers)) == 1


@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_nothing_sent_and_no_coordinates_at_all(rule: str, scope: Scope) -> None:
    made = aggregators.build(rule, f=1, scope=scope)
    view = ServerView(honest=np.array([False, True, True]))
    assert made(torch.ones(3, 0), torch.ones(3, 0, dtype=torch.bool), view).shape == (0,)
    nothing = torch.zeros(3, 2, dtype=torch.bool)
    assert made(torch.full((3, 2), torch.nan), nothing, view).tolist() == [0.0, 0.0]


def test_the_geometric_median_of_vectors_nearly_on_a_line() -> None:
    """Newton's whole step is far too long there, and Weiszfeld's far too short."""
    vectors = [
        np.array([1.24526085, 1.56503208]),
        np.array([1.63598829, 1.15045309]),
        np.array([1.72302286, 1.01547635]),
        np.array([1.25212135, 1.55954869]),
    ]
    found = aggregators.build("geometric_median", f=1)(torch.from_numpy(np.stack(vectors)))
    assert oracles.pull(found.numpy(), vectors) < 1e-7


@pytest.mark.parametrize("rate", [0.01, 0.1, 2.0])
def test_zeno_s_choice_does_not_depend_on_the_learning_rate(rate: float) -> None:
    """Where the loss is linear all of a score grows with γ, the price of length too."""

    class Linear:
        def __init__(self) -> None:
            self.rate = rate

        def gradient(self, examples: int) -> Tensor:
            raise NotImplementedError

        def descent(self, updates: Tensor, examples: int) -> Tensor:
            return self.rate * updates.sum(dim=1)

    steps = torch.tensor([[10.0, 10.0], [1.0, 1.0], [0.9, 0.9], [400.0, 0.0]]).double()
    view = ServerView(root=Linear())
    # ⟨g, u⟩ - ‖u‖²/200: 19, 1.99, 1.79 and -400.
    for f, kept in ((1, [0, 1, 2]), (2, [0, 1]), (3, [0])):
        found = aggregators.build("zeno", f=f)(steps, None, view)
        assert torch.allclose(found, steps[kept].mean(dim=0))
    free = aggregators.build("zeno[rho_ratio=inf]", f=3)(steps, None, view)
    assert torch.allclose(free, steps[3])


def test_dnc_draws_coordinates_only_where_it_says_so() -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.standard_normal((15, 40)))

    def answers(specification: str) -> set[float]:
        rule = aggregators.build(specification, f=3)
        return {float(rule(values, None, ServerView(round=k)).sum()) for k in range(1, 9)}

    for all_of_them in ("dnc", "dnc[coordinates=40]", "dnc[share=0.99,coordinates=40]"):
        assert len(answers(all_of_them)) == 1
    for some in ("dnc[iterations=1,share=0.5]", "dnc[iterations=1,coordinates=20]"):
        assert len(answers(some)) > 1
    assert answers("dnc[iterations=1,share=0.5]") == answers("dnc[iterations=1,coordinates=20]")
    wide = torch.from_numpy(rng.standard_normal((15, 100)))  # 0.07 * 100 is 7.000000000000001

    def answer(specification: str) -> torch.Tensor:
        return aggregators.build(specification, f=3)(wide, None, ServerView(round=1))

    assert torch.equal(answer("dnc[share=0.07]"), answer("dnc[coordinates=7]"))
    (row,) = (
        row
        for row in markdown(listing.page("rules", full=True)).splitlines()
        if row.startswith("| dnc ")
    )
    assert "draws coordinates, where r < d: not by default up to d = 10,000" in row


@pytest.mark.parametrize("seed", range(40))
def test_mean_shift_is_scikit_learn_s(seed: int) -> None:
    """On points as SignGuard has them: few, in few dimensions, some of them equal."""
    from sklearn.cluster import MeanShift, estimate_bandwidth

    rng = np.random.default_rng(seed)
    m, k = int(rng.integers(3, 40)), int(rng.integers(1, 4))
    points = rng.standard_normal((m, k)) * rng.choice([0.01, 1.0, 100.0])
    points[rng.random(m) < 0.3] += 3.0
    points[rng.random(m) < 0.2] = points[0]
    points = np.round(points, 3) if seed % 2 else points
    radius = sign_guard.bandwidth(points)
    assert radius == pytest.approx(estimate_bandwidth(points, quantile=0.5), rel=1e-12)
    if radius == 0.0:
        return  # all points are one: SignGuard asks no further
    expected = MeanShift(bandwidth=radius).fit(points).labels_
    np.testing.assert_array_equal(sign_guard.mean_shift(points, radius), expected)


def test_flame_s_majority_is_the_cluster_of_scikit_learn_s_hdbscan() -> None:
    from sklearn.cluster import HDBSCAN

    for seed in range(40):
        rng = np.random.default_rng(seed)
        m, d = int(rng.integers(3, 60)), int(rng.integers(2, 30))
        points = rng.standard_normal((m, d)) + rng.choice([0.0, 1.0, 3.0]) * rng.standard_normal(d)
        points[: m // 3] *= rng.choice([-1.0, 1.0, 0.1])
        unit = points / np.linalg.norm(points, axis=1)[:, None]
        distances = np.clip(1.0 - unit @ unit.T, 0.0, 2.0)
        np.fill_diagonal(distances, 0.0)
        distances = (distances + distances.T) / 2
        clusters = HDBSCAN(
            metric="precomputed", min_cluster_size=m // 2 + 1, min_samples=1,
            allow_single_cluster=True, copy=True,
        )  # fmt: skip
        found = flame.majority(distances, m // 2 + 1)
        np.testing.assert_array_equal(found, clusters.fit(distances).labels_ == 0)


def test_two_attackers_have_a_synthetic_update_copied() -> None:
    """Each is far from one end in the other's coordinate; a trimmed mean that is told f lets in."""
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.standard_normal((12, 5)))
    values[0], values[1] = torch.tensor([1e3, 0, 0, 0, 0.0]), torch.tensor([0, 1e6, 0, 0, 0.0])
    assert float(aggregators.build("trimmed_mean", f=2)(values).abs().max()) < 2
    moved = aggregators.build("foundation_fl+trimmed_mean", f=2)(values)
    assert float(moved[0]) > 50
    # A median of 12 + 4 still has more honest values than f + 4.
    for copies in (1, 4, 7):
        median = aggregators.build(f"foundation_fl[copies={copies}]+median", f=2)(values)
        assert float(median.abs().max()) < 3
    lost = aggregators.build("foundation_fl[copies=12]+median", f=2)(values)
    assert float(lost[0]) > 400


def test_a_filter_stops_where_the_honest_spread() -> None:
    rng = np.random.default_rng(1)
    values = torch.from_numpy(0.1 * rng.standard_normal((24, 30)))
    mean = values.mean(dim=0)
    assert torch.allclose(aggregators.build("filter_l2", f=2)(values), mean)
    values[:2] += 5.0
    found = aggregators.build("filter_l2[sigma=0.1]", f=2)(values)
    assert float((found - values[2:].mean(dim=0)).norm()) < 0.05
    # One that is too small for what the honest send is Caf.
    small = aggregators.build("filter_l2[sigma=0.000001]", f=2)(values)
    assert torch.equal(small, aggregators.build("caf", f=2)(values))
    # One that is too large lets everything through.
    large = aggregators.build("filter_l2[sigma=10]", f=2)(values)
    assert torch.allclose(large, values.mean(dim=0))


def test_rlr_steps_back_where_fewer_than_theta_more_agree() -> None:
    values = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, -2.0], [3.0, -9.0, -3.0], [4.0, 8.0, 0.0]])
    rule = aggregators.build("rlr[threshold=3]+average")  # votes: 4, 2, -1
    assert rule(values).tolist() == [2.5, -0.5, 1.0]
    with pytest.raises(RuleError, match="2 answers; f=0 needs at least 3"):
        rule(values[:2])
    all_but_two = torch.ones(5, 1)
    all_but_two[:2] = -1.0  # n < 2f + θ: two of five turn what three agree on
    assert aggregators.build("rlr+median", f=2)(all_but_two).tolist() == [-1.0]


def test_a_pre_rule_that_sees_the_answer_says_what_is_wrong_with_it() -> None:
    with pytest.raises(
        RuleError,
        match=r"Ctma: what follows returned \(1,\); expected a real tensor of shape \(4,\)",
    ):
        aggregators.build("ctma+tests.plugins:WrongShape")(torch.ones(3, 4))
