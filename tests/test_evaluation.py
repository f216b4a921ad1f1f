"""Which attacks and parameters are chosen for a row, and that test examples choose nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgobench import Scenario
from hgobench.errors import InputError
from hgobench.evaluation import members
from hgobench.evaluation.members import AUTO_1, Member
from hgobench.evaluation.selection import CHOICES, Plan, select

ROW = Scenario(workers=20, byzantine=3, rule="median", rounds=40, seed=7)
RATES = tuple(0.1 * 2**i for i in range(CHOICES))
SMALL = (
    Member("crash", "fault", ("crash",)),
    Member("foe", "fixed", ("foe[epsilon=0.5]", "foe[epsilon=1.0]")),
    Member("sign_flip", "fixed", ("sign_flip",)),
    Member("fang", "optimised", ("fang",)),
    Member("min_max", "optimised", ("min_max",)),
    Member("tail", "heterogeneity", ("tail+*",)),
    Member("two", "heterogeneity", ("starve+*",), strongest=2),
    Member("noise", "black_box", ("random_noise",), seeds=1),
)


@pytest.fixture(autouse=True)
def small_ensemble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(members.ENSEMBLES, "small", SMALL)  # type: ignore[misc]


def accuracy_of(table):
    """Return a `run` that answers from a table of attacks' accuracies, and a list of its calls."""
    calls = []

    def run(cells, stage):
        calls.append((stage, cells))
        return {cell: table(cell) for cell in cells}

    return run, calls


def flat(**accuracies):
    """Return a table by the name of the attack, the same for every seed."""
    return lambda cell: accuracies.get(cell.attack, 0.9)


def test_each_member_is_its_worst_variant_and_the_worst_three_are_reported():
    run, _ = accuracy_of(flat(**{"foe[epsilon=0.5]": 0.4, "fang": 0.5, "min_max": 0.6}))
    (chosen,) = select([ROW], Plan("small"), run)
    assert chosen.members["foe"].fields == {"attack": "foe[epsilon=0.5]"}
    assert (chosen.members["foe"].accuracy, chosen.members["foe"].tried) == (pytest.approx(0.4), 2)
    assert chosen.reported == ("foe", "fang", "min_max")
    assert chosen.clean == pytest.approx(0.9)
    cells = chosen.under("foe", (5, 6))
    assert [(cell.attack, cell.seed) for cell in cells] == [("foe[epsilon=0.5]", s) for s in (5, 6)]
    assert [cell.attack for cell in chosen.under("none", (5,))] == ["none"]


def test_lies_about_speed_go_before_the_strongest_value_attacks_not_before_faults():
    table = flat(**{"crash": 0.1, "fang": 0.5, "min_max": 0.6, "starve+min_max": 0.2})
    run, calls = accuracy_of(table)
    (chosen,) = select([ROW], Plan("small"), run)
    asked = {cell.attack for _, cells in calls for cell in cells if "+" in cell.attack}
    assert asked == {"tail+fang", "starve+fang", "starve+min_max"}
    assert chosen.reported == ("crash", "two", "fang")
    assert chosen.members["two"].fields == {"attack": "starve+min_max"}


def test_a_member_on_fewer_seeds_is_compared_and_never_reported():
    run, calls = accuracy_of(flat(random_noise=0.0))
    (chosen,) = select([ROW], Plan("small", selection_seeds=(3, 4)), run)
    assert chosen.members["noise"].accuracy == 0.0
    assert "noise" not in chosen.reported
    seeds = [c.seed for _, cells in calls for c in cells if c.attack == "random_noise"]
    assert seeds == [3]


def test_means_are_over_the_selection_seeds_and_no_cell_has_another_seed():
    run, calls = accuracy_of(lambda cell: {3: 0.2, 4: 0.8}[cell.seed])
    (chosen,) = select([ROW], Plan("small", selection_seeds=(3, 4)), run)
    assert chosen.clean == 0.5
    every = [cell for _, cells in calls for cell in cells]
    assert {cell.seed for cell in every} == {3, 4}
    assert len(every) == len(set(every)) == chosen.cells


def test_a_row_is_tuned_against_what_is_worst_for_it_by_default():
    best = RATES[5]

    def table(cell: Scenario) -> float:
        if cell.attack in ("fang", "sign_flip", "min_max"):
            return 0.7 if cell.learning_rate == best else 0.5
        return 0.9 if cell.learning_rate == ROW.learning_rate else 0.6

    run, calls = accuracy_of(table)
    (chosen,) = select([ROW], Plan("small", learning_rates=RATES), run)
    assert chosen.row.learning_rate == best
    assert len(chosen.choices) == CHOICES
    assert max(chosen.choices.values()) == pytest.approx(0.7)
    parameters = [cells for stage, cells in calls if stage == "parameters"]
    assert {c.attack for cells in parameters for c in cells} == {"fang", "sign_flip", "min_max"}
    assert {round(worst.accuracy, 9) for worst in chosen.members.values()} == {0.6, 0.7}


@pytest.mark.parametrize("rules", [(), ("median", "trimmed_mean"), ("median",) * 1])
def test_every_row_has_as_many_choices(rules):
    plan = Plan("small", learning_rates=RATES, alternatives={"median": rules} if rules else {})
    choices = plan.choices(ROW)
    assert len(choices) == len(set(choices)) == CHOICES
    assert {choice.rule for choice in choices} == {*(rules or ("median",))}
    assert {min(RATES), max(RATES)} <= {choice.learning_rate for choice in choices}


def test_without_choices_a_row_keeps_its_parameters():
    run, calls = accuracy_of(flat())
    (chosen,) = select([ROW], Plan("small"), run)
    assert chosen.row.learning_rate == ROW.learning_rate
    assert math.isnan(chosen.choices[chosen.row])
    assert "parameters" not in [stage for stage, _ in calls]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_rows_that_are_searched_together_are_chosen_for_as_if_alone(seed):
    def table(cell: Scenario) -> float:
        return hash((seed, cell.attack, cell.rule, cell.learning_rate, cell.seed)) % 1000 / 1000

    run, _ = accuracy_of(table)
    rows = [ROW.replace(rule=rule) for rule in ("median", "trimmed_mean", "average")]
    plan = Plan("small", learning_rates=RATES)
    assert select(rows, plan, run) == [select([row], plan, run)[0] for row in rows]


def test_rows_are_asked_for_together():
    run, calls = accuracy_of(flat())
    rows = [ROW.replace(rule=rule) for rule in ("median", "trimmed_mean", "average")]
    select(rows, Plan("small"), run)
    assert all({cell.rule for cell in cells} == {row.rule for row in rows} for _, cells in calls)
    assert [stage for stage, _ in calls] == [
        "fault attacks", "fixed attacks", "optimised attacks", "heterogeneity attacks",
        "black_box attacks", "no attack",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"selection_seeds": (0, 1), "fresh_seeds": (1, 2)},
            "evaluation: fresh_seeds: [1] are selection_seeds too; expected others, or what was "
            "chosen on a seed would be reported on it",
        ),
        ({"fresh_seeds": ()}, "evaluation: fresh_seeds: []; expected different seeds"),
        (
            {"selection_seeds": (0, 0)},
            "evaluation: selection_seeds: [0, 0]; expected different seeds",
        ),
    ],
)
def test_a_plan_says_what_is_wrong_with_it(fields, message):
    with pytest.raises(InputError) as caught:
        Plan("small", **fields)
    assert caught.value.problems == [message]


def test_an_unknown_ensemble_is_refused():
    with pytest.raises(
        InputError, match="evaluation: ensemble: unknown 'auto-0'; did you mean 'auto-1'"
    ):
        Plan("auto-0")


def test_auto_1_names_every_member_once():
    names = [member.name for member in AUTO_1]
    assert len(names) == len(set(names))
