from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from hgobench import Scenario, run
from hgobench.errors import InputError
from hgobench.leaderboard import Score, boards, estimate
from hgobench.report.boards import render

# accuracy by (rule, attack) for seeds 0, 1, 2
TABLE = {
    ("median", "none"): [0.9, 0.9, 0.9],
    ("median", "foe"): [0.6, 0.8, 0.7],
    ("median", "alie"): [0.75, 0.5, 0.9],
    ("krum", "none"): [0.8, 0.8, 0.8],
    ("krum", "foe"): [0.7, 0.7, 0.7],
    ("krum", "alie"): [0.65, 0.66, 0.67],
}


def scores(**fields: Any) -> list[Score]:
    return [
        Score(
            Scenario(workers=20, f=4, rule=rule, attack=attack, seed=seed, **fields), "done", value
        )
        for (rule, attack), values in TABLE.items()
        for seed, value in enumerate(values)
    ]


def test_the_oracle_has_no_rank_and_others_the_gap_to_it() -> None:
    told = [
        Score(s.scenario.replace(rule="oracle"), "done", 0.9, needs=("honest",))
        for s in scores()
        if s.scenario.rule == "median"
    ]
    rooted = [
        Score(s.scenario.replace(rule="fltrust"), "done", 0.95, needs=("root",))
        for s in scores()
        if s.scenario.rule == "median"
    ]
    (board,) = boards([*told, *rooted, *scores()])
    by_rule = {row.rule: row for row in board.rows}
    assert [(row.rule, row.rank) for row in board.rows] == [
        ("fltrust", 1), ("krum", 2), ("median", 3), ("oracle", None),
    ]  # fmt: skip
    assert by_rule["krum"].gap == pytest.approx(0.9 - by_rule["krum"].worst.mean)
    assert by_rule["fltrust"].gap == pytest.approx(-0.05)
    text = render("mine-1", [board])
    assert "hgo fltrust ^" in text
    assert "hgo oracle =" in text
    assert "^ the server has clean training examples of its own" in text
    assert "= not ranked: is told who is honest; gap: how far worst is below its worst" in text
    (data,) = json.loads(render("mine-1", [board], "json"))["boards"]
    assert {row["rule"]: row["needs"] for row in data["rows"]}["fltrust"] == ["root"]
    table = list(csv.DictReader(io.StringIO(render("mine-1", [board], "csv"))))
    assert {(line["rule"], line["needs"]) for line in table} == {
        ("oracle", "honest"), ("fltrust", "root"), ("krum", ""), ("median", ""),
    }  # fmt: skip
    (partly,) = boards([*told[1:], *scores()])
    assert {row.gap for row in partly.rows} == {None}  # the oracle lacks a cell
    (alone,) = boards(scores())
    assert {row.gap for row in alone.rows} == {None}
    assert "gap" not in render("mine-1", [alone])


def test_interval_is_student_s() -> None:
    values = [0.2, 0.4, 0.5, 0.45]
    found = estimate(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.mean == pytest.approx(np.mean(values))
    assert found.seeds == 4


def test_interval_stays_within_the_possible() -> None:
    wide = estimate([0.0, 1.0])
    assert (wide.low, wide.high) == (0.0, 1.0)
    assert estimate([0.7]).low == estimate([0.7]).high == 0.7


def test_the_worst_case_is_taken_within_each_seed_and_ranked_by_its_lower_end() -> None:
    (board,) = boards(scores())
    krum, median = board.rows
    assert (krum.rule, krum.rank, median.rule, median.rank) == ("krum", 1, "median", 2)
    assert median.worst.mean == pytest.approx((0.6 + 0.5 + 0.7) / 3)
    assert krum.worst == estimate([0.65, 0.66, 0.67])
    assert (median.worst_attack, krum.worst_attack) == ("foe", "alie")
    assert median.clean == estimate([0.9] * 3)
    assert list(board.columns) == ["none", "alie", "foe"]
    assert median.cells["foe"] == estimate([0.6, 0.8, 0.7])


def test_the_clean_case_is_no_attack() -> None:
    flipped = [
        Score(s.scenario, "done", 0.1 if s.scenario.attack == "none" else s.accuracy)
        for s in scores()
    ]
    (board,) = boards(flipped)
    assert board.rows[0].worst.mean == pytest.approx(0.66)


def test_each_partition_and_profile_has_its_board() -> None:
    both = [*scores(hardware="weak"), *scores(hardware="c2", partition="by_class")]
    made = boards(both)
    titles = {board.title for board in made}
    assert titles == {"partition iid, hardware weak", "partition by_class, hardware c2"}


def test_other_budgets_have_their_own_board() -> None:
    made = boards([*scores(rounds=10), *scores(rounds=20)])
    assert [board.setting["rounds"] for board in made] == [10, 20]
    assert "rounds 10" in made[0].title


def test_by_partition_shows_the_worst_case_over_attacks() -> None:
    both = [*scores(), *scores(partition="by_class")]
    (board,) = boards(both, by="partition")
    assert list(board.columns) == ["by_class", "iid"]
    row = next(row for row in board.rows if row.rule == "median")
    assert row.cells["iid"] == estimate([0.6, 0.5, 0.7])
    assert row.worst == estimate([0.6, 0.5, 0.7])


def test_the_clean_case_has_one_value_per_seed_whatever_the_columns() -> None:
    both = [*scores(), *scores(partition="by_class")]
    (board,) = boards(both, by="partition")
    assert {row.clean.seeds for row in board.rows if row.clean} == {3}


def test_an_endless_deadline_is_written_as_a_word() -> None:
    content = json.loads(render("r", boards(scores(deadline=math.inf)), "json"))
    assert content["boards"][0]["deadline"] == "inf"


def test_a_split_without_examples_is_refused() -> None:
    result = run(Scenario(data="digits[validation=0]", workers=5, rounds=1))
    with pytest.raises(
        InputError, match=r"split: 'validation'; 'digits.validation=0.*' has no such"
    ):
        Score.of(result, "validation")


def test_rows_that_differ_in_more_than_the_rule_say_in_what() -> None:
    (board,) = boards([*scores(), *scores(granularity="feature")])
    labels = {row.label for row in board.rows}
    assert "hgo median granularity=scalar" in labels
    assert "hgo median granularity=feature" in labels


def test_a_row_that_lacks_cells_is_not_ranked() -> None:
    some = [s for s in scores() if not (s.scenario.rule == "krum" and s.scenario.attack == "alie")]
    (board,) = boards(some)
    assert [(row.rule, row.rank, row.missing) for row in board.rows] == [
        ("median", 1, 0),
        ("krum", None, 3),
    ]


@pytest.fixture(scope="module")
def made() -> list[Any]:
    ended = scores()
    ended[-1] = Score(ended[-1].scenario, "failed", 0.0)
    mine = Scenario(workers=20, f=4, rule="tests.plugins:MyMedian")
    return boards([*ended, Score(mine, "done", 0.5)])


def test_terminal_table(made: list[Any]) -> None:
    text = render("quick-1", made, "table")
    assert "ruleset quick-1" in text
    assert "hgo tests.plugins:MyMedian *" in text
    assert "* not part of hgobench" in text
    assert "hgo krum !" in text
    assert "! 1 cells diverged or failed; each counts as 0" in text
    assert "0.700 ±0.248" in text


def test_a_narrow_terminal_gets_the_attacks_means_only(made: list[Any]) -> None:
    text = render("quick-1", made, "table", width=80)
    assert "±" in text  # of the worst case
    assert "0.700 ±0.248" not in text
    assert "0.700" in text


def test_cells_that_never_moved_are_marked(made: list[Any]) -> None:
    idle = [Score(s.scenario, "done", s.accuracy, s.scenario.rule == "krum") for s in scores()]
    text = render("quick-1", boards(idle))
    assert "hgo krum ~" in text
    assert "~ in 9 cells too few workers answered, in every round, to aggregate" in text
    stalled = run(Scenario(workers=5, rounds=2, algorithm="sgd", hardware="weak", rule="median"))
    assert Score.of(stalled).idle


def test_the_split_is_named(made: list[Any]) -> None:
    assert "Validation accuracy, mean over" in render("r", made, split="validation")
    assert json.loads(render("r", made, "json", split="validation"))["split"] == "validation"


def test_markdown_and_latex(made: list[Any]) -> None:
    markdown = render("quick-1", made, "markdown")
    assert "### ruleset quick-1" in markdown
    assert "|   # | algorithm and rule" in markdown
    latex = render("quick-1", made, "latex")
    assert r"\begin{tabular}" in latex
    assert r"\toprule" in latex
    notes = latex.split(r"\end{tabular}")[-1].strip().splitlines()
    assert notes
    assert all(note.startswith("% ") for note in notes)


def test_csv_is_exact_and_long(made: list[Any]) -> None:
    lines = list(csv.DictReader(io.StringIO(render("quick-1", made, "csv"))))
    (line,) = [entry for entry in lines if entry["rule"] == "median" and entry["column"] == "alie"]
    assert float(line["mean"]) == pytest.approx(2.15 / 3)
    assert math.isclose(float(line["low"]), estimate([0.75, 0.5, 0.9]).low)


def test_json_has_the_form_that_scripts_rely_on(made: list[Any]) -> None:
    content = json.loads(render("quick-1", made, "json"))
    assert content["ruleset"] == "quick-1"
    (board,) = content["boards"]
    assert (board["partition"], board["hardware"]) == ("iid", "standard")
    row = board["rows"][0]
    assert {"rank", "algorithm", "rule", "clean", "worst", "worst_attack", "cells"} <= set(row)
    assert set(row["cells"]["foe"]) == {"mean", "low", "high", "seeds"}
    assert 0 <= row["worst"] <= 1


def test_a_board_says_that_its_cells_are_of_several_kinds_of_processor() -> None:
    def of(*processors: str) -> str:
        made = [
            replace(score, data={"data": "digest", "processor": processors[i % len(processors)]})
            for i, score in enumerate(scores())
        ]
        return render("r-1", boards(made))

    assert "processor" not in of("one, AVX2")
    assert "cells are of 2 kinds of processor (one, AVX2; other, AVX512)" in of(
        "one, AVX2", "other, AVX512"
    )
