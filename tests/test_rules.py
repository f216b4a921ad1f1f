from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hgobench import aggregators
from hgobench.aggregators import NonFiniteError, RuleError, Scope
from hgobench.errors import InputError
from hgobench.testing import RULE_LAWS, check_rule, rule_maker
from tests.oracles import COORDINATE, krum_scores, vector_rule

RULES = list(aggregators.registry.builtins)
SCOPES: list[Scope] = ["block", "coordinate"]


@pytest.mark.parametrize("law", RULE_LAWS)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_obeys_every_law(rule: str, scope: Scope, law: str) -> None:
    if rule == "average" and law == "finite_within_honest_range":
        with pytest.raises((AssertionError, NonFiniteError)):
            RULE_LAWS[law](rule_maker(rule, scope))
    else:
        RULE_LAWS[law](rule_maker(rule, scope))


class Lawless:
    """Rules that each break one law, to show that the laws can fail."""

    @staticmethod
    def first(values: Tensor) -> Tensor:
        return values[0]

    @staticmethod
    def greedy(values: Tensor) -> Tensor:
        return values.amax(dim=0).nan_to_num()

    @staticmethod
    def squared(values: Tensor) -> Tensor:
        return values.sort(dim=0).values[len(values) // 2].square()


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("first", "finite_within_honest_range|order_of_workers_is_irrelevant"),
        ("greedy", "finite_within_honest_range"),
        ("squared", "finite_within_honest_range|translation_equivariant"),
    ],
)
def test_laws_catch_broken_rules(name: str, law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.test_rules as here

    monkeypatch.setattr(here, "broken", lambda: getattr(Lawless, name), raising=False)
    with pytest.raises(AssertionError, match=law):
        check_rule("tests.test_rules:broken")


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


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=300, deadline=None)
@given(case=ragged(12, 6), seed=st.integers(0, 99))
def test_coordinate_scope_agrees_with_the_definition(
    rule: str, case: tuple[int, list[list[float]]], seed: int
) -> None:
    f, columns = case
    values, present = matrix(columns, seed)
    found = aggregators.build(rule, f=f, scope="coordinate")(values, present)
    for j, column in enumerate(columns):
        got, expected = float(found[j]), COORDINATE[rule](column, f)
        if rule == "krum":
            # Rounding may break a tie another way: the chosen value's score must be the least.
            scores = krum_scores([np.array([x]) for x in column], f)
            assert scores[column.index(got)] == min(scores)
        else:
            assert got == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_thousands_of_ragged_instances_agree_with_the_definition(rule: str) -> None:
    """Continuous values have no ties: here agreement is exact up to rounding."""
    rng = np.random.default_rng(5)
    for instance in range(400):
        f = int(rng.integers(0, 4))
        columns = [
            list(map(float, rng.standard_normal(rng.integers(2 * f + 3, 15)).astype(np.float32)))
            for _ in range(5)
        ]
        values, present = matrix(columns, instance)
        found = aggregators.build(rule, f=f, scope="coordinate")(values, present)
        expected = [COORDINATE[rule](column, f) for column in columns]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_block_scope_agrees_with_the_definition(rule: str) -> None:
    rng = np.random.default_rng(6)
    for _ in range(300):
        f = int(rng.integers(0, 4))
        n = int(rng.integers(2 * f + 3, 15))
        values = torch.from_numpy(rng.standard_normal((n + 2, 4)).astype(np.float32))
        present = torch.ones(n + 2, 4, dtype=torch.bool)
        present[rng.permutation(n + 2)[:2], rng.integers(0, 4)] = False
        vectors = [row.numpy().astype(np.float64) for row in values[present.all(dim=1)]]
        found = aggregators.build(rule, f=f)(values, present)
        np.testing.assert_allclose(found, vector_rule(rule, vectors, f), rtol=1e-4, atol=1e-5)


def test_known_answers() -> None:
    column = torch.tensor([[1.0], [2.0], [4.0], [8.0], [1000.0]])
    expected = {
        "average": 203.0,
        "median": 4.0,
        "trimmed_mean": 14 / 3,
        "meamed": 3.75,  # without 1000
        "phocas": 3.75,
        "krum": 2.0,  # 1 + 4 to its two neighbours 1 and 4
        "aksel": 7 / 3,  # distances to 4: 3, 2, 0, 4, 996; the median one is 3
    }
    for name, value in expected.items():
        assert float(aggregators.build(name, f=1)(column)) == pytest.approx(value)


def test_krum_far_from_the_origin_selects_what_float64_selects() -> None:
    """Values of order 1 with a spread of 1e-5, alone and beside f rows of 1e6."""
    rng = np.random.default_rng(7)
    for case in range(60):
        values = (rng.standard_normal(200) + 1e-5 * rng.standard_normal((20, 200))).astype(
            np.float32
        )
        if case % 2:
            values[:4] = 1e6 * rng.standard_normal((4, 200))
        scores = krum_scores([row.astype(np.float64) for row in values], f=4)
        found = aggregators.build("krum", f=4)(torch.from_numpy(values))
        assert torch.equal(found, torch.from_numpy(values[int(np.argmin(scores))]))


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
            lambda: aggregators.build("average")(torch.tensor([[torch.nan], [1.0]])),
            "Average: no finite answer; 1 of 2 workers sent NaN or infinite",
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
        RULE_LAWS["ragged_is_the_rule_on_who_sent"](rule_maker(f"tests.plugins:{name}"))


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
        AssertionError, match=r"^finite_within_honest_range: RuntimeError: out of ideas"
    ):
        check_rule("tests.plugins:Raising")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("rule", RULES)
def test_nothing_sent_and_no_coordinates_at_all(rule: str, scope: Scope) -> None:
    made = aggregators.build(rule, f=1, scope=scope)
    assert made(torch.ones(3, 0), torch.ones(3, 0, dtype=torch.bool)).shape == (0,)
    nothing = torch.zeros(3, 2, dtype=torch.bool)
    assert made(torch.full((3, 2), torch.nan), nothing).tolist() == [0.0, 0.0]
