"""Which attacks and parameters are chosen for a row, and that test examples choose nothing."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgobench import Scenario, Session, run_suite, theory
from hgobench.audits import kappa
from hgobench.engines.cells import OnResult, Outcome
from hgobench.errors import InputError
from hgobench.evaluation import members
from hgobench.evaluation.agenda import PROOFS, REPORT, Agenda
from hgobench.evaluation.evaluate import selected
from hgobench.evaluation.members import AUTO_1, Member
from hgobench.evaluation.plan import CHOICES, Plan
from hgobench.evaluation.proof import Proof, held_against_proof, proofs
from hgobench.evaluation.selection import (
    PARAMETERS,
    REPORTED,
    At,
    Played,
    Selection,
    Worst,
    select,
)
from hgobench.evaluation.verdict import Verdict, flags, ranked
from hgobench.leaderboard import Reach, Score
from hgobench.report.boards import render
from hgobench.report.progress import Progress
from hgobench.results import Result, open_store
from hgobench.session import Interrupted
from hgobench.suite import Suite
from tests.test_cli import hgobench

Run = Callable[[list[Scenario], At], dict[Scenario, Played]]
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
    monkeypatch.setitem(members.ENSEMBLES, "small", SMALL)
    monkeypatch.setitem(members.ENSEMBLES, "two", SMALL[:1] + SMALL[2:3])
    timed = Member("schedule", "adaptive", ("*",), scheduled=True)
    monkeypatch.setitem(members.ENSEMBLES, "timed", (*SMALL, timed))


def accuracy_of(
    table: Callable[[Scenario], float], trace: Callable[[Scenario], float] | None = None
) -> tuple[Run, list[tuple[str, list[Scenario]]]]:
    """Return a `run` that answers from a table of attacks' accuracies, and a list of its calls.

    Runs are the same where `trace` is; without it, where accuracies are.
    """
    calls: list[tuple[str, list[Scenario]]] = []

    def run(cells: list[Scenario], at: At) -> dict[Scenario, Played]:
        calls.append((" and ".join(dict.fromkeys(stage for stage, _ in at.values())), cells))
        return {cell: Played(table(cell), ((trace or table)(cell),)) for cell in cells}

    return run, calls


def flat(**accuracies: float) -> Callable[[Scenario], float]:
    """Return a table by the name of the attack, the same for every seed."""
    return lambda cell: accuracies.get(cell.attack, 0.9)


def test_each_member_is_its_worst_variant_and_the_worst_three_are_reported() -> None:
    run, _ = accuracy_of(flat(**{"foe[epsilon=0.5]": 0.4, "fang": 0.5, "min_max": 0.6}))
    (chosen,) = select([ROW], Plan("small"), run)
    assert chosen.members["foe"].fields == {"attack": "foe[epsilon=0.5]"}
    assert chosen.members["foe"].accuracy == pytest.approx(0.4)
    assert chosen.members["foe"].tried == 2
    assert chosen.reported == ("foe", "fang", "min_max")
    assert chosen.clean == pytest.approx(0.9)
    cells = chosen.under("foe", (5, 6))
    assert [(cell.attack, cell.seed) for cell in cells] == [("foe[epsilon=0.5]", s) for s in (5, 6)]
    assert [cell.attack for cell in chosen.under("none", (5,))] == ["none"]


def test_lies_about_speed_go_before_the_strongest_value_attacks_not_before_faults() -> None:
    table = flat(**{"crash": 0.1, "fang": 0.5, "min_max": 0.6, "starve+min_max": 0.2})
    run, calls = accuracy_of(table)
    (chosen,) = select([ROW], Plan("small"), run)
    asked = {cell.attack for _, cells in calls for cell in cells if "+" in cell.attack}
    assert asked == {"tail+fang", "starve+fang", "starve+min_max"}
    assert chosen.reported == ("crash", "two", "fang")
    assert chosen.members["two"].fields == {"attack": "starve+min_max"}


def test_members_that_come_to_the_same_are_reported_once() -> None:
    table = {"fang": 0.5, "tail+fang": 0.5, "starve+fang": 0.51, "min_max": 0.6}
    run, _ = accuracy_of(flat(**table))
    (chosen,) = select([ROW], Plan("small"), run)
    assert chosen.reported == ("fang", "two", "min_max")
    assert chosen.same == {"tail": "fang"}
    assert Selection.restore(json.loads(json.dumps(chosen.to_dict()))) == chosen


@pytest.mark.parametrize("lost", [0.1, math.nan, math.inf])
def test_attacks_that_leave_a_model_at_chance_are_not_taken_for_one(lost: float) -> None:
    """Their accuracies are equal; their losses tell them apart, or nothing does."""
    losses = {"crash": lost, "sign_flip": lost + 1, "fang": lost + 2, "min_max": lost + 2}
    run, _ = accuracy_of(
        flat(**dict.fromkeys(losses, 0.1)), lambda cell: losses.get(cell.attack, 9.0)
    )
    (chosen,) = select([ROW], Plan("small"), run)
    if math.isfinite(lost):
        assert chosen.reported == ("crash", "sign_flip", "fang")
        assert chosen.same == {"min_max": "fang"}
    else:
        assert chosen.reported == ("crash", "sign_flip", "fang")
        assert chosen.same == {}


@pytest.mark.parametrize("rounds", [1, 2, 3, 5])
def test_a_short_run_has_fewer_rounds_to_choose_from(rounds: int) -> None:
    run, calls = accuracy_of(flat())
    row = ROW.replace(rounds=rounds)
    plan = Plan("timed")
    (chosen,) = select([row], plan, run)
    starts = {cell.attack_start for _, cells in calls for cell in cells}
    assert starts <= set(range(rounds))
    assert "schedule" in chosen.members


def test_a_cell_that_can_t_be_says_which_attack_wants_it() -> None:
    run, _ = accuracy_of(flat())
    with pytest.raises(InputError) as caught:
        select([ROW.replace(byzantine=0)], Plan("small"), run)
    assert caught.value.problems == [
        "evaluation: hgo median can't be tried with attack=crash: attack: 'crash'; expected "
        "byzantine >= 1, or it attacks nobody"
    ]


def test_a_member_on_fewer_seeds_is_compared_and_never_reported() -> None:
    table = {"random_noise": 0.0, "crash": 0.8, "fang": 0.7}
    run, calls = accuracy_of(flat(**table))
    (chosen,) = select([ROW], Plan("small", selection_seeds=(3, 4)), run)
    assert chosen.members["noise"].accuracy == 0.0
    assert "noise" not in chosen.reported
    seeds = [c.seed for _, cells in calls for c in cells if c.attack == "random_noise"]
    assert seeds == [3]


def test_means_are_over_the_selection_seeds_and_no_cell_has_another_seed() -> None:
    run, calls = accuracy_of(lambda cell: {3: 0.2, 4: 0.8}[cell.seed])
    (chosen,) = select([ROW], Plan("small", selection_seeds=(3, 4)), run)
    assert chosen.clean == 0.5
    every = [cell for _, cells in calls for cell in cells]
    assert {cell.seed for cell in every} == {3, 4}
    assert len(every) == len(set(every)) == chosen.cells


def test_a_row_is_tuned_against_what_is_worst_for_it_by_default() -> None:
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
    parameters = [cells for stage, cells in calls if stage == PARAMETERS]
    assert {c.attack for cells in parameters for c in cells} == {"fang", "sign_flip", "min_max"}
    assert {round(worst.accuracy, 9) for worst in chosen.members.values()} == {0.6, 0.7}


@pytest.mark.parametrize("rules", [(), ("median", "trimmed_mean"), ("median",) * 1])
def test_every_row_has_as_many_choices(rules: tuple[str, ...]) -> None:
    plan = Plan("small", learning_rates=RATES, alternatives={"median": rules} if rules else {})
    choices = plan.choices(ROW)
    assert len(choices) == len(set(choices)) == CHOICES
    assert {choice.rule for choice in choices} == {*(rules or ("median",))}
    assert {min(RATES), max(RATES)} <= {choice.learning_rate for choice in choices}


def test_without_choices_a_row_keeps_its_parameters() -> None:
    run, calls = accuracy_of(flat())
    (chosen,) = select([ROW], Plan("small"), run)
    assert chosen.row.learning_rate == ROW.learning_rate
    assert math.isnan(chosen.choices[chosen.row])
    assert PARAMETERS not in [stage for stage, _ in calls]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_rows_that_are_searched_together_are_chosen_for_as_if_alone(seed: int) -> None:
    def table(cell: Scenario) -> float:
        return hash((seed, cell.attack, cell.rule, cell.learning_rate, cell.seed)) % 1000 / 1000

    run, _ = accuracy_of(table)
    rows = [ROW.replace(rule=rule) for rule in ("median", "trimmed_mean", "average")]
    plan = Plan("small", learning_rates=RATES)
    assert select(rows, plan, run) == [select([row], plan, run)[0] for row in rows]


def test_rows_are_asked_for_together() -> None:
    run, calls = accuracy_of(flat())
    rows = [ROW.replace(rule=rule) for rule in ("median", "trimmed_mean", "average")]
    select(rows, Plan("small"), run)
    assert all({cell.rule for cell in cells} == {row.rule for row in rows} for _, cells in calls)
    assert [stage for stage, _ in calls] == [
        "fault attacks", "fixed attacks", "optimised attacks", "heterogeneity attacks",
        "black box attacks", "no attack",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"selection_seeds": (0, 1), "fresh_seeds": (1, 2)},
            "evaluation: fresh_seeds: [1] are selection_seeds too; expected others, or what was "
            "chosen on a seed would be reported on it",
        ),
        (
            {"alternatives": {"median": ("median",) * 5}},
            "evaluation: alternatives: median: 5; expected at most 4, so that each meets two "
            "learning rates or more",
        ),
        ({"fresh_seeds": ()}, "evaluation: fresh_seeds: []; expected different seeds"),
        (
            {"selection_seeds": (0, 0)},
            "evaluation: selection_seeds: [0, 0]; expected different seeds",
        ),
    ],
)
def test_a_plan_says_what_is_wrong_with_it(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Plan("small", **fields)
    assert caught.value.problems == [message]


def test_an_unknown_ensemble_is_refused() -> None:
    with pytest.raises(
        InputError, match="evaluation: ensemble: unknown 'auto-0'; did you mean 'auto-1'"
    ):
        Plan("auto-0")


def test_auto_1_names_every_member_once_and_attacks_that_there_are() -> None:
    names = [member.name for member in AUTO_1]
    assert len(names) == len(set(names))
    for member in AUTO_1:
        for attack in member.variants(["foe"]):
            assert ROW.replace(attack=attack).attack
    assert {member.name for member in Plan().members} == set(names)


# What a reader must know

BASELINE = {"foe": 0.7, "fang": 0.6, "noise": 0.6}


def verdict_of(
    clean: float = 0.9,
    row: Scenario = ROW,
    score: dict[str, Any] | None = None,
    rates: tuple[float, ...] = (),
    **lows: float,
) -> Verdict:
    """Return a verdict with some members' accuracies, on selection and on fresh seeds."""
    names = {"foe": "foe[epsilon=1.0]", "fang": "fang", "noise": "random_noise"}
    lows = BASELINE | lows
    worst = {name: Worst({"attack": names[name]}, (low,) * 3) for name, low in lows.items()}
    choices = {row: math.nan} | {row.replace(learning_rate=rate): 0.5 for rate in rates}
    chosen = Selection(Plan("small"), row, row, choices, clean, worst, ("fang", "foe"), 30)
    scores = {
        name: [Score(cell, "done", low, **(score or {})) for cell in chosen.fresh[name]]
        for name, low in {"none": clean, "foe": lows["foe"], "fang": lows["fang"]}.items()
    }
    return Verdict(chosen, scores)


@pytest.mark.parametrize(
    ("fields", "oracle", "expected"),
    [
        ({}, 0.95, {}),
        ({"noise": 0.59}, None, {}),
        ({"noise": 0.5}, None, {"black box is stronger":
            "0.500 under a search that knows no attack, 0.600 under the worst member, on the same "
            "seeds"}),
        ({"fang": 0.8, "noise": 0.7}, None, {"optimised is weaker than fixed":
            "0.800 under the worst optimised attack, 0.700 under a fixed one"}),
        ({"foe": 0.95, "fang": 0.5}, None, {"fixed is weaker than none":
            "0.950 under the worst fixed attack, 0.900 without"}),
        ({"foe": 0.91, "fang": 0.5}, None, {}),
        ({"clean": 0.9, "foe": 0.95, "fang": 0.93, "noise": 0.93}, None, {
            "fixed is weaker than none": "0.950 under the worst fixed attack, 0.900 without",
            "no member hurts it":
                "0.930 under the worst attack, 0.900 without, on the same 20 seeds"}),
        ({"clean": 0.4, "foe": 0.3, "fang": 0.2, "noise": 0.2}, 0.9, {"weak without attack":
            "0.400 without attack; the oracle has 0.900"}),
        ({"score": {"needs": ("root",)}}, None, {"root data":
            "the server has clean training examples of its own"}),
        ({"score": {"exceeded": 0.25, "outvoted": 0.01}}, None, {"more attackers than f̂":
            "more than 3 Byzantine workers answered in 25.00% of rounds, a majority of all that "
            "did in 1.00%"}),
        ({"rates": (0.1, 1.0)}, None, {}),
        ({"rates": (0.1, 0.2)}, None, {"learning rate at an end":
            "0.32; the choices go from 0.1 to 0.32"}),
        ({"score": {"late": True}}, None, {"out of time": "60 of 60 cells; each counts as 0"}),
        ({"row": ROW.replace(rule="bucketing+median")}, None, {"randomised":
            "draws at random: buckets"}),
        ({"row": ROW.replace(rule="median", weights="examples")}, None, {"claims not searched":
            "answers count by the examples that workers claim, and no member lies about that: run "
            "claim_examples+.. against it"}),
        ({"row": ROW.replace(algorithm="fednova", rule="median", weights="examples")}, None, {
            "claims not searched":
                "answers count by the updates and examples that workers claim, and no member lies "
                "about that: run claim_steps+.., claim_examples+.. against it"}),
    ],
)  # fmt: skip
def test_flags(fields: dict[str, Any], oracle: float | None, expected: dict[str, str]) -> None:
    assert flags(verdict_of(**fields), oracle) == expected


def test_a_board_says_what_each_member_costs() -> None:
    names = ("foe", "fang", "noise", "parameters", "none")
    runs = [dict(zip(names, (3, 6, 1, 12, 3), strict=True)), {"foe": 3, "fang": 9, "none": 3}]
    told = [
        Verdict(replace(verdict.selection, runs=counts), verdict.scores)
        for verdict, counts in zip(
            (verdict_of(), verdict_of(row=ROW.replace(rule="trimmed_mean"))), runs, strict=True
        )
    ]
    assert (
        "Runs per seed: 2.5 fang; 2 parameters; 1 foe, no attack; 0.5 noise. What several ask for "
        "is counted once."
    ) in ranked(told)[0].notes
    assert not any("Runs per seed" in note for note in ranked([verdict_of()])[0].notes)


def test_a_board_says_what_reporting_three_misses() -> None:
    verdict = verdict_of()
    noise = [
        Score(cell, "done", 0.57) for cell in verdict.selection.under("noise", range(100, 120))
    ]
    whole = Verdict(verdict.selection, {**verdict.scores, "noise": noise})
    assert whole.regret == pytest.approx(0.03)
    assert ranked([whole])[0].notes[-1] == (
        "Every member ran on fresh seeds: the lowest of all is 0.030 below the lowest of the 3 "
        "reported, on average over 1 row; 0.030 for hgo median."
    )
    assert not any("Every member" in note for note in ranked([verdict])[0].notes)


def test_flags_hold_a_rule_against_its_proof() -> None:
    raised = []
    for proof in (Proof(9, 0.5, 0.5), Proof(9, 0.5, 0.51), Proof(9, 0.5, unsearched="it is slow")):
        verdict = verdict_of()
        raised.append(flags(Verdict(replace(verdict.selection, kappa=proof), verdict.scores)))
    assert raised == [
        {},
        {"κ̂ above what is proven": "0.51 of 9 vectors, f̂ = 3; κ = 0.5 is proven"},
        {"κ̂ not searched": "it is slow"},
    ]


@pytest.mark.long
def test_rules_are_held_against_their_proofs(tmp_path: Path) -> None:
    rules = (
        "trimmed_mean",
        "caf",
        "average",
        "tests.plugins:Overproven",
        "tests.plugins:Unprovable",
    )
    rows = [ROW.replace(rule=rule) for rule in rules]
    with open_store(tmp_path) as store:
        known = proofs([*rows, rows[0].replace(seed=7)], Session(store, jobs=1))
        again = proofs([*rows, rows[0].replace(seed=7)], Session(store, jobs=1))
    # By their texts: from Python 3.13 on, what holds a NaN equals nothing, itself included.
    assert list(map(repr, again)) == list(map(repr, known))
    trimmed, caf, average, over, failing, twin = known
    assert trimmed == twin
    assert trimmed is not None
    assert not trimmed.exceeded
    assert (
        trimmed.reached
        == pytest.approx(trimmed.proven)
        == ROW.tolerated / (ROW.quorum - 2 * ROW.tolerated)
    )
    assert caf is None  # nothing is proven
    assert average is None  # that there is no κ
    assert over is not None
    assert over.exceeded
    assert over.proven == 0.001
    assert failing is not None
    assert "out of ideas" in failing.unsearched


@pytest.mark.long
def test_a_rule_on_steps_is_held_against_what_is_proven_on_vectors(tmp_path: Path) -> None:
    row = ROW.replace(algorithm="hgo", rule="krum", quorum=10)
    with open_store(tmp_path) as store:
        (known,) = proofs([row], Session(store, jobs=1))
    assert row.scope == "staircase"
    assert known is not None
    assert known.reached < known.proven == theory.proven_kappa("krum", 10, 3, "block")


def test_a_rule_that_is_slow_is_not_searched() -> None:
    answer = held_against_proof("smea", "block", 15, 4)
    assert answer is not None
    assert re.fullmatch(r"a call takes \d+ ms", answer["unsearched"])


def test_a_board_says_which_attacks_are_reported_once() -> None:
    rows = [verdict_of(), verdict_of(row=ROW.replace(rule="trimmed_mean"))]
    kept = [{"noise": "fang", "tail": "foe"}, {"noise": "fang"}]
    told = [
        Verdict(replace(verdict.selection, same=same), verdict.scores)
        for verdict, same in zip(rows, kept, strict=True)
    ]
    said = (
        "Attacks that come to the same runs are reported once: noise as fang (2 rows); tail as foe."
    )
    assert said in ranked(told)[0].notes
    assert not any("same runs" in note for note in ranked(rows)[0].notes)


@pytest.mark.parametrize(
    ("clean", "worst", "hurt"),
    [
        ([0.90, 0.80, 0.85] * 4, [0.95, 0.86, 0.91] * 4, False),
        ([0.90, 0.80, 0.85] * 4, [0.95, 0.70, 0.95] * 4, True),  # higher, and that is noise
        ([0.90, 0.80, 0.85] * 4, [0.90, 0.80, 0.85] * 4, True),
        ([0.80] * 5, [0.90] * 5, True),  # too few seeds to tell
    ],
)
def test_that_no_member_hurts_a_row_is_said_beyond_noise(
    clean: list[float], worst: list[float], hurt: bool
) -> None:
    plan = Plan("small", fresh_seeds=tuple(range(100, 100 + len(clean))))
    one = {"fang": Worst({"attack": "fang"}, (0.5,) * 3)}
    chosen = Selection(plan, ROW, ROW, {ROW: math.nan}, 0.9, one, ("fang",), 30)
    accuracies = {"none": clean, "fang": worst}
    scores = {
        name: [
            Score(cell, "done", value)
            for cell, value in zip(chosen.fresh[name], accuracies[name], strict=True)
        ]
        for name in ("none", "fang")
    }
    assert ("no member hurts it" in flags(Verdict(chosen, scores))) is not hurt


def path(*accuracies: float) -> tuple[tuple[float, float, float], ...]:
    return tuple((10.0 * k, 1000.0 * k, value) for k, value in enumerate(accuracies, 1))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([path(0.5, 0.8, 0.9)], (1, 1, 20.0, 2000.0)),
        ([path(0.8, 0.7, 0.9)], (1, 1, 30.0, 3000.0)),  # it must stay there
        ([path(0.8, 0.9, 0.7)], (0, 1, math.inf, math.inf)),
        ([path(0.9), path(0.1), path(0.1, 0.9)], (2, 3, 20.0, 2000.0)),
        ([path(0.9), path(0.1)], (1, 2, math.inf, math.inf)),
    ],
)
def test_the_time_to_an_accuracy_is_the_median_over_seeds(
    paths: list[tuple[tuple[float, float, float], ...]],
    expected: tuple[int, int, float, float],
) -> None:
    cells = [Score(ROW.replace(seed=i), "done", 0.9, path=one) for i, one in enumerate(paths)]
    assert Reach.by(0.75, cells) == Reach(0.75, *expected)


def test_a_cell_that_did_not_end_well_never_reaches_an_accuracy() -> None:
    cell = Score(ROW, "diverged", 0.0, path=path(0.9))
    assert Reach.by(0.75, [cell]) == Reach(0.75, 0, 1, math.inf, math.inf)
    assert Reach.by(0.75, [Score(ROW, "done", 0.9)]) is None


# With a store, real cells and real data

SUITE = """
ruleset = "tiny-1"
[scenario]
data = "digits"
workers = 12
byzantine = 2
batch_size = 8
rounds = 3
evaluation_interval = 3
[grid]
rule = ["median", "average"]
[evaluation]
ensemble = "small"
selection_seeds = [0, 1]
fresh_seeds = [10, 11, 12]
learning_rates = [0.5, 1.0]
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return path


def test_a_suite_is_evaluated_kept_and_found_again(suite: Path, tmp_path: Path) -> None:
    outcome = run_suite(suite, out=tmp_path / "out", jobs=1)
    assert [v.selection.row.rule for v in outcome.verdicts] == ["median", "average"]
    assert outcome.missing == 0
    for verdict in outcome.verdicts:
        assert set(verdict.scores) == {"none", *verdict.selection.reported}
        for name, scores in verdict.scores.items():
            assert [score.scenario.seed for score in scores] == [10, 11, 12]
            assert all(score.scenario in verdict.selection.fresh[name] for score in scores)
    again = run_suite(suite, out=tmp_path / "out", jobs=1)
    assert (again.computed, again.reused) == (0, outcome.computed)
    assert again.verdicts == outcome.verdicts
    with open_store(tmp_path / "out") as store:
        assert selected(store, "tiny-1") == [verdict.selection for verdict in outcome.verdicts]
        rulesets = Counter(ruleset for ruleset, _ in store.results())
    assert rulesets.keys() == {"tiny-1", "tiny-1, choosing"}
    assert rulesets["tiny-1"] == 2 * (1 + REPORTED) * 3


@pytest.mark.long
def test_boards_of_an_evaluation_are_told_from_its_folder(suite: Path, tmp_path: Path) -> None:
    suite.write_text(SUITE.replace("11, 12]", "11, 12, 13]"))
    outcome = run_suite(suite, out=tmp_path / "out", jobs=1)
    (board,) = outcome.boards()
    verdicts = {verdict.selection.row.rule: verdict for verdict in outcome.verdicts}
    for row in board.rows:
        verdict = verdicts[row.rule]
        assert row.worst_attack == verdict.worst
        assert row.worst.mean == pytest.approx(verdict.mean(verdict.worst))
        assert row.clean is not None
        assert row.clean.mean == pytest.approx(verdict.mean("none"))
        assert row.missing == 0
        rate = verdict.selection.row.learning_rate
        assert row.chosen == {"learning_rate": rate}
        assert set(row.attacks) == {*verdict.selection.reported} == {*row.cells} - {"none"}
        for member, attack in row.attacks.items():
            assert attack.startswith(verdict.selection.members[member].fields["attack"])
            assert row.cells[member].mean == pytest.approx(verdict.mean(member))
        assert row.flags == flags(verdict)
    (cases,) = kappa.worst_cases_of(tmp_path / "out").values()
    assert {rule: worst for (rule, _), worst in cases} == {
        row.rule: pytest.approx(row.worst.mean) for row in board.rows
    }
    for form in ("table", "markdown", "latex", "html"):
        page = render("tiny-1", [board], form)
        assert "What was chosen for each row" in page
        assert all(
            name in page.replace("\\_", "_")
            for row in board.rows
            for name in ("learning_rate", *row.attacks.values())
        )
    lines = list(csv.DictReader(io.StringIO(render("tiny-1", [board], "csv"))))
    for row in board.rows:
        ran = {line["column"]: line for line in lines if line["label"] == row.label}
        for member, attack in row.attacks.items():
            assert ran[member]["attack"] == attack
            assert float(ran[member]["mean"]) == row.cells[member].mean
            assert ran[member]["chosen"] == f"learning_rate={row.chosen['learning_rate']}"
    told = render("tiny-1", [board], "json")
    shown = hgobench("leaderboard", str(tmp_path / "out"), "--format", "json")
    assert json.loads(shown.stdout) == json.loads(told)
    refused = hgobench("leaderboard", str(tmp_path / "out"), "--split", "validation")
    assert "--split: validation examples have chosen the attacks" in refused.stderr
    words = ("--difference", "0.1", "--out", str(tmp_path / "out"), "--format", "json")
    asked = json.loads(hgobench("power", str(suite), *words).stdout)
    assert [(one["rows"], one["pilot_seeds"]) for one in asked["boards"]] == [(2, 4)]
    assert asked["left_out"] == 0
    suite.write_text(
        SUITE.replace("11, 12]", "11, 12, 13]").replace('"average"]', '"trimmed_mean"]')
    )
    lone = hgobench("power", str(suite), *words)
    assert "has no board of 'tiny-1' with 2 or more ranked rows" in lone.stderr


def test_what_the_threat_model_does_not_permit_never_runs() -> None:
    run, calls = accuracy_of(flat())
    plan = Plan("small", threat_model="independent_at_own_speed")
    (chosen,) = select([ROW], plan, run)
    assert set(chosen.members) == {"crash", "sign_flip", "tail", "two", "noise"}
    every = [cell for _, cells in calls for cell in cells]
    assert {cell.lies_about_speed for cell in every} == {"no"}
    larger = Plan("small", threat_model="adaptive")
    assert {m.name for m in plan.members} < {m.name for m in larger.members}


@pytest.mark.long
def test_rows_that_are_evaluated_later_stand_beside_those_before(
    suite: Path, tmp_path: Path
) -> None:
    run_suite(suite, out=tmp_path / "out", jobs=1, settings={"rule": "median"})
    run_suite(suite, out=tmp_path / "out", jobs=1, settings={"rule": "average"})
    with open_store(tmp_path / "out") as store:
        assert [s.given.rule for s in selected(store, "tiny-1")] == ["median", "average"]
    suite.write_text(SUITE.replace("fresh_seeds = [10, 11, 12]", "fresh_seeds = [10, 11]"))
    with pytest.raises(InputError, match="holds rows of 'tiny-1' that were evaluated in another"):
        run_suite(suite, out=tmp_path / "out", jobs=1)


def test_the_selection_of_a_store_without_an_evaluation_is_empty(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        assert selected(store, "tiny-1") == []


@pytest.mark.long
def test_test_examples_choose_nothing(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = run_suite(suite, out=tmp_path / "honest", jobs=1)
    run = Session.run

    def blind(
        self: Session,
        scenarios: Collection[Scenario],
        ruleset: str,
        *,
        on_result: OnResult,
        **more: Any,
    ) -> Outcome:
        """Run cells whose test accuracies are others than they were."""

        def take(key: str, result: Result) -> None:
            # Losses say which runs are the same, and other losses of the same do so too.
            losses = [7.0 - 0.5 * loss for loss in result.rounds["test_loss"]]
            columns = {**result.rounds, "test_accuracy": [hash(key) % 97 / 97] * 3}
            columns["test_loss"] = losses
            on_result(key, replace(result, rounds=columns, right=None))

        return run(self, scenarios, ruleset, on_result=take, **more)

    monkeypatch.setattr(Session, "run", blind)
    other = run_suite(suite, out=tmp_path / "other", jobs=1)
    chosen = [verdict.selection for verdict in honest.verdicts]
    assert [verdict.selection for verdict in other.verdicts] == chosen
    assert [v.scores["none"] for v in other.verdicts] != [v.scores["none"] for v in honest.verdicts]


@pytest.mark.long
def test_everything_on_fresh_seeds_tells_what_selecting_misses(suite: Path, tmp_path: Path) -> None:
    suite.write_text(SUITE + "everything = true\n")
    outcome = run_suite(suite, out=tmp_path / "out", jobs=1, settings={"rule": "median"})
    (verdict,) = outcome.verdicts
    ran = {name for name in verdict.selection.members if name != "noise"}
    assert set(verdict.scores) == {"none", *ran}
    lowest = min(verdict.mean(name) for name in ran)
    assert verdict.regret == verdict.mean(verdict.worst) - lowest >= 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[grid]", '[grid]\nattack = ["foe"]',
         "suite: attack: the evaluation chooses it; expected none in [scenario] and [grid]"),
        ("[grid]", "[grid]\nseed = [0]",
         "suite: seed: the evaluation chooses it; expected none in [scenario] and [grid]"),
        ("[grid]", "[contract]\ntolerance = 0.2\n[grid]",
         "suite: contract: it compares cells, and an evaluation chooses its own"),
        ("fresh_seeds = [10, 11, 12]", "fresh_seeds = 3",
         "suite: evaluation: fresh_seeds: 3; expected a list of values"),
        ("fresh_seeds", "fresh_sees",
         "suite: evaluation: key: unknown 'fresh_sees'; did you mean 'fresh_seeds'?"),
        ('ensemble = "small"', "ensemble = 1", "suite: evaluation: ensemble: 1; expected a name"),
        ("learning_rates = [0.5, 1.0]", "learning_rates = [0.5, -1.0]",
         "suite: evaluation: learning_rate: -1.0; expected a number > 0"),
        ("learning_rates = [0.5, 1.0]", "everything = 1",
         "suite: evaluation: everything: 1; expected true or false"),
    ],
)  # fmt: skip
def test_a_suite_says_what_is_wrong_with_its_evaluation(
    suite: Path, old: str, new: str, message: str
) -> None:
    suite.write_text(SUITE.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        Suite.load(suite)
    assert message in caught.value.problems


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"byzantine": [0, 2]}, "byzantine: 0; expected 1 or more, as an evaluation attacks every "
         "row; leave 0 out, or run it in a suite without [evaluation]"),
        ({"data": "digits[validation=0]"}, "data: 'digits[validation=0.0]' has no validation "
         "examples, by which an evaluation chooses attacks and parameters; hold some out "
         "(validation=0.15), or run it in a suite without [evaluation]"),
        ({"data": "csv[path=gone.csv,label=y]"}, "data: 'gone.csv': No such file or "
         "directory"),
    ],
)  # fmt: skip
def test_what_can_t_be_evaluated_is_refused_before_anything_is_computed(
    suite: Path, tmp_path: Path, settings: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        run_suite(suite, out=tmp_path / "out", jobs=1, settings=settings)
    assert caught.value.problems == [problem]
    with open_store(tmp_path / "out") as store:
        assert not list(store.results())


@pytest.mark.long
def test_failures_while_choosing_are_counted_apart(suite: Path, tmp_path: Path) -> None:
    shorter = SUITE.replace('"average"]', '"tests.plugins:Raising"]').replace("small", "two")
    suite.write_text(shorter.replace("[10, 11, 12]", "[10]").replace("learning_rates", "#"))
    out = ("--out", str(tmp_path / "out"), "--jobs", "1", "--quiet")
    done = hgobench("run", str(suite), *out)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "failed" in line]
    with open_store(tmp_path / "out") as store:
        of = Counter((ruleset, result.status == "failed") for ruleset, result in store.results())
    choosing, reported = "tiny-1, choosing", "tiny-1"
    assert of[choosing, True] > of[reported, True] == 1 + 2
    every = {name: of[name, True] + of[name, False] for name in (choosing, reported)}
    assert said[-2:] == [
        f"{of[choosing, True]} of {every[choosing]} cells that choose attacks and parameters "
        "failed",
        f"{of[reported, True]} of {every[reported]} reported cells failed",
    ]
    failed = of[choosing, True] + of[reported, True]
    assert re.fullmatch(
        rf"{failed} cells failed: rule 'tests.plugins:Raising': RuntimeError: out of ideas "
        r"\(tests/plugins\.py:\d+\) \(first: tests\.plugins:Raising-\w+.*-\d+\)",
        said[0],
    )


@pytest.mark.long
def test_an_evaluation_that_is_ended_goes_on_where_it_was(suite: Path, tmp_path: Path) -> None:
    """In any stage: it comes to the same, and nothing is computed twice."""
    suite.write_text(SUITE.replace("small", "two").replace("[10, 11, 12]", "[10, 11]"))
    whole = run_suite(suite, out=tmp_path / "whole", jobs=1)
    computed, ended, searches = 0, 0, 0
    while True:
        before = computed

        def stop(progress: Progress) -> None:
            if progress.computed:
                raise KeyboardInterrupt

        try:
            last = run_suite(suite, out=tmp_path / "parts", jobs=1, on_progress=stop)
        except Interrupted as error:
            computed += error.outcome.computed
            ended += 1
            searches += computed == before  # of κ, which are no cells
        else:
            break
    assert ended >= 6  # stages, of which each has some stacks
    assert searches == len({(v.selection.row.rule, v.selection.row.scope) for v in whole.verdicts})
    assert (computed, last.computed) == (whole.computed, 0)
    assert last.verdicts == whole.verdicts
    assert last.boards() == whole.boards()


def test_what_an_evaluation_chooses_can_not_be_set(suite: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="attack: the evaluation chooses it"):
        run_suite(suite, out=tmp_path / "out", settings={"attack": "foe"})


@pytest.mark.parametrize("name", ["small", "timed"])
@pytest.mark.parametrize("rates", [(), (0.1, 0.2, 0.4)])
def test_an_agenda_says_which_stage_of_how_many_and_about_how_many_cells(
    name: str, rates: tuple[float, ...]
) -> None:
    """Stages never go back, the total never falls short of what was asked, and holds in the end."""
    rows = [ROW.replace(rule=rule) for rule in ("median", "trimmed_mean", "krum")]
    plan = Plan(name, learning_rates=rates, alternatives={"krum": ("krum", "multi_krum")})
    agenda = Agenda.of(rows, plan)
    first = agenda.total
    answer, _ = accuracy_of(flat(fang=0.3, min_max=0.4))
    numbers, totals = [], []

    def run(cells: list[Scenario], at: At) -> Any:
        agenda.begin(at, len(cells))
        numbers.append(agenda.number)
        totals.append(agenda.total)
        assert agenda.total >= agenda.asked
        return answer(cells, at)

    selections = select(rows, plan, run)
    asked = sum(selection.cells for selection in selections)
    assert agenda.asked == asked
    assert numbers == sorted(numbers)
    assert len(agenda.stages) == len({*agenda.stages})
    assert agenda.stages[-2:] == [PROOFS, REPORT]
    agenda.prove()
    assert agenda.number == len(agenda.stages) - 1
    reported = sum(len(cells) for one in selections for cells in one.fresh.values())
    agenda.report(reported)
    assert (agenda.number, agenda.total) == (len(agenda.stages), asked + reported)
    assert asked + reported <= first <= 2 * (asked + reported)
    assert totals == sorted(totals, reverse=True), "it is corrected downwards alone"


@pytest.mark.long
def test_an_evaluation_shows_one_progress_and_little_of_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(SUITE)
    command = ("run", "two.toml", "--out", "out", "--jobs", "1")
    first = hgobench(*command, cwd=tmp_path)
    stages = [line for line in first.stderr.splitlines() if line.startswith("stage ")]
    assert stages, first.stderr
    assert "cells to choose" not in first.stderr
    again = hgobench(*command, cwd=tmp_path)
    lines = [line for line in again.stderr.splitlines() if line.startswith("stage ")]
    of = int(lines[0].split()[3].rstrip(","))
    assert len(lines) <= of
    assert all(line.endswith(", all found") for line in lines)
    numbers = [int(line.split()[1]) for line in lines]
    assert numbers == sorted({*numbers}), "a line at most for each stage"
    assert lines[-1].startswith(f"stage {of} of {of}, report on fresh seeds: ")
    assert first.stdout == again.stdout
