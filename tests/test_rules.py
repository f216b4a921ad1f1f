from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hgobench import aggregators
from hgobench.aggregators import RuleError, Scope, ServerView
from hgobench.errors import InputError
from hgobench.testing import RULE_LAWS, cases, check_rule, rule_maker, try_law
from tests import oracles
from tests.oracles import Vector, coordinate_rule, krum_scores, vector_rule

RULES = list(aggregators.registry.builtins)
PRE_RULES = list(aggregators.pre_rules.builtins)
CHAINS = [
    *(f"{pre}+{rule}" for pre in PRE_RULES for rule in ("krum", "geometric_median")),
    "nnm+caf",
    "arc+centered_clipping",
    "bucketing[s=3]+cge",
    "arc+nnm+trimmed_mean",
    "clipping+bucketing+caf",
]


def scopes(rule: str) -> list[Scope]:
    return ["block", "coordinate"] if aggregators.build(rule).has_columns() else ["block"]


# What fails is drawn by seed and would not get smaller by shrinking.
DRAWN = settings(
    max_examples=50, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
EVERY = [(rule, scope) for rule in (*RULES, *CHAINS) for scope in scopes(rule)]


@pytest.mark.parametrize("law", RULE_LAWS)
@pytest.mark.parametrize(("rule", "scope"), EVERY)
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
    for scope in scopes(rule):
        for case in cases(rule_maker(rule, scope), (0, 1, 4)):
            try:
                RULE_LAWS[law](case)
            except (AssertionError, RuleError) as error:
                found.append(str(error))
    assert found


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


class QuadraticRoot:
    """A server whose clean loss is ‖w - γ·root‖²/2 around its root gradient, at w = 0."""

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
    return {"descent": descent} if rule == "zeno" else {}


def defined(rule: str, vectors: list[Vector], f: int) -> Vector:
    """Work a rule out by its definition, pre-rules and parameters included."""
    *before, last = aggregators.registry.split(rule)
    for step in before:
        name, more = parameters(step)
        vectors = oracles.PRE_RULES[name](vectors, f, **more)
    name, more = parameters(last)
    if name == "oracle":
        return oracles.mean(vectors[f:])
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
        for step in before:
            step_name, parts = parameters(step)
            column = oracles.PRE_RULES[step_name](column, f, **parts)
        answer.append(coordinate_rule(name, [float(x) for (x,) in column], f, **more))
    return np.array(answer)


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
    "sign_guard[share=0.9]",
    "clipping[c=0.7]+multi_krum",
    "foolsgold[confidence=0.3]",
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
    if rule.endswith("geometric_median"):
        for step in aggregators.registry.split(rule)[:-1]:
            vectors = oracles.PRE_RULES[step](vectors, f)
        assert oracles.pull(got, vectors) < 1e-6
        return
    expected = defined(rule, vectors, f)
    scale = max(oracles.length(v) for v in vectors if oracles.finite(v))
    atol = 1e-9 * (scale + 1) if atol is None else atol
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
    order = np.random.default_rng(0).permutation(7)
    ranked: list[list[int]] = [list(order + 1), [r + 1 for r in order if r < 2]]
    for j, column in enumerate(ranked):
        means = [np.mean(column[i : i + 3]) for i in range(0, len(column), 3)]
        assert float(found[j]) == pytest.approx(np.mean(means))


@pytest.mark.parametrize(
    "rule",
    [
        "centered_clipping",
        "centered_clipping[tau=0.2,iterations=3]",
        "foolsgold",
        "clipped_clustering",
        "clipped_clustering[largest=1.5]",
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
    assert steps == [[0.5, 0.5], [1.0, 0.5], [1.0, 1.5]]


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
        ("nnm", "unknown 'nnm'.*a pre-rule stands before a rule: nnm\\+median"),
        ("tests.plugins:Halving", "is a pre-rule; name the rule behind it: tests.plugins:Halving"),
        ("nnmm+krum", "pre_rule: unknown 'nnmm'; did you mean 'nnm'.*hgobench list pre_rules"),
        ("median+krum", "pre_rule: unknown 'median'"),
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
        ("zeno[rho=-1]", "rho: -1.0; expected a finite number >= 0"),
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
        AssertionError, match=r"^finite_within_honest_range: RuntimeError: out of ideas"
    ):
        check_rule("tests.plugins:Raising")


@pytest.mark.parametrize(("rule", "scope"), EVERY)
def test_nothing_sent_and_no_coordinates_at_all(rule: str, scope: Scope) -> None:
    made = aggregators.build(rule, f=1, scope=scope)
    view = ServerView(honest=np.array([False, True, True]))
    assert made(torch.ones(3, 0), torch.ones(3, 0, dtype=torch.bool), view).shape == (0,)
    nothing = torch.zeros(3, 2, dtype=torch.bool)
    assert made(torch.full((3, 2), torch.nan), nothing, view).tolist() == [0.0, 0.0]
