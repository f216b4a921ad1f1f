from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgobench import Scenario, run
from hgobench.errors import InputError
from hgobench.leaderboard import LIVE, Score, boards
from hgobench.report.boards import render
from hgobench.results import open_store
from hgobench.statistics import Estimate, Outcomes, estimates

# accuracy by (rule, attack) for seeds 0, 1, 2
TABLE = {
    ("median", "none"): [0.9, 0.9, 0.9],
    ("median", "foe"): [0.6, 0.8, 0.7],
    ("median", "alie"): [0.75, 0.5, 0.9],
    ("krum", "none"): [0.8, 0.8, 0.8],
    ("krum", "foe"): [0.7, 0.7, 0.7],
    ("krum", "alie"): [0.65, 0.66, 0.67],
}
MANY = 8  # seeds, with which rows can be told apart


def scores(**fields: Any) -> list[Score]:
    return [
        Score(
            Scenario(workers=20, f=4, rule=rule, attack=attack, seed=seed, **fields), "done", value
        )
        for (rule, attack), values in TABLE.items()
        for seed, value in enumerate(values)
    ]


def many(
    rules: dict[str, float], attacks: tuple[str, ...] = ("none", "foe"), **more: Any
) -> list[Score]:
    """Scores of some rules under attack, nearly the same in every seed; 0.9 without attack."""
    return [
        Score(
            Scenario(workers=20, f=4, rule=rule, attack=attack, seed=seed),
            "done",
            (0.9 if attack == "none" else accuracy) + (seed + i) % 3 / 1000,
            **more,
        )
        for i, (rule, accuracy) in enumerate(rules.items())
        for attack in attacks
        for seed in range(MANY)
    ]


def worst(*attacks: list[float]) -> Estimate:
    return estimates(Outcomes(np.array(attacks)))[1]


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
    assert [(row.rule, str(row.rank)) for row in board.rows] == [
        ("fltrust", "1-3"), ("median", "1-3"), ("krum", "1-3"), ("oracle", "None"),
    ]  # fmt: skip
    assert by_rule["krum"].gap == pytest.approx(0.9 - by_rule["krum"].worst.mean)
    assert by_rule["fltrust"].gap == pytest.approx(-0.05)
    text = render("mine-1", [board])
    assert "hgo fltrust staircase v=9 ^" in text
    assert "hgo oracle v=9 =" in text
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


def test_the_worst_case_is_the_lowest_mean_and_ranks_by_it() -> None:
    (board,) = boards(scores())
    median, krum = board.rows
    assert (median.rule, krum.rule) == ("median", "krum")
    assert median.worst.mean == pytest.approx(0.7)
    assert median.worst == worst([0.75, 0.5, 0.9], [0.6, 0.8, 0.7])
    assert median.known_seed.mean == pytest.approx((0.6 + 0.5 + 0.7) / 3)
    assert krum.worst == worst([0.65, 0.66, 0.67], [0.7, 0.7, 0.7])
    assert (median.worst_attack, krum.worst_attack) == ("foe", "alie")
    assert median.clean == worst([0.9] * 3)
    assert list(board.columns) == ["none", "alie", "foe"]
    assert median.cells["foe"] == worst([0.6, 0.8, 0.7])
    assert [str(row.rank) for row in board.rows] == ["1-2", "1-2"]  # three seeds tell nothing
    assert (board.seeds, board.examples) == (3, 0)
    text = render("r", [board])
    assert "too few seeds" in text
    assert "Too few seeds: with fewer than 6 intervals say little" in text


def test_ranks_are_ranges() -> None:
    made = boards(many({"median": 0.8, "krum": 0.5, "phocas": 0.8005, "average": 0.1}))
    rows = {row.rule: str(row.rank) for row in made[0].rows}
    assert rows == {"phocas": "1-2", "median": "1-2", "krum": "3", "average": "4"}
    assert [row.rule for row in made[0].rows] == ["phocas", "median", "krum", "average"]
    text = render("r", made)
    assert "1-2  hgo phocas" in text
    assert "#: the places that a row may have" in text
    (data,) = json.loads(render("r", made, "json"))["boards"]
    assert [row["rank"] for row in data["rows"]] == [[1, 2], [1, 2], [3, 3], [4, 4]]
    lines = list(csv.DictReader(io.StringIO(render("r", made, "csv"))))
    places = {line["rule"]: (line["rank_first"], line["rank_last"]) for line in lines}
    assert places["phocas"] == ("1", "2")


def test_boards_say_what_ranks_assume_and_how_much_is_certain() -> None:
    made = boards(many({"median": 0.95, "krum": 0.6, "average": 0.01}))
    (board,) = made
    (data,) = json.loads(render("r", made, "json"))["boards"]
    assert (board.told, board.certain) == (data["told"], data["certain"])
    assert (board.told, board.certain) == (3, 1)
    text = " ".join(render("r", made).split())
    missed = f"{0.95**board.seeds:.0%}"
    assert (
        "if no row collapses more often than its seeds show. Told apart: 3 of 3 pairs, "
        f"1 of them whatever seeds have not shown: {board.seeds} miss a collapse in "
        f"1 run of 20 with a probability of {missed} (docs/statistics.md)."
    ) in text


def test_a_row_is_not_above_another_for_the_lower_end_of_its_interval() -> None:
    """A rule that is at chance in every seed is below one that works in most."""
    chance = many({"average": 0.1, "median": 0.8})
    collapsed = [
        replace(s, accuracy=0.05) if (s.scenario.rule, s.scenario.seed) == ("median", 0) else s
        for s in chance
    ]
    (board,) = boards(collapsed)
    assert [row.rule for row in board.rows] == ["median", "average"]


def test_collapsed_seeds_are_counted_under_the_worst_attack() -> None:
    some = [
        replace(s, accuracy=0.2) if s.scenario.attack == "foe" and s.scenario.seed < 3 else s
        for s in many({"median": 0.8, "krum": 0.7}, ("none", "foe", "alie"))
    ]
    (board,) = boards(some)
    assert board.collapse == pytest.approx(0.4505, abs=1e-3)  # half of the best without attack
    for row in board.rows:
        assert row.worst_attack == "foe"
        assert (row.collapsed.count, row.collapsed.of) == (3, MANY)
    assert "3/8 (0.09-0.76)" in render("r", [board])
    without = [s for s in some if s.scenario.attack != "none"]
    assert boards(without)[0].collapse == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize("live", [LIVE - 0.01, LIVE])
def test_a_row_that_seldom_updates_though_nobody_attacks_has_no_rank(live: float) -> None:
    some = [
        replace(s, live=live if s.scenario.attack == "none" else 1.0)
        if s.scenario.rule == "krum"
        else replace(s, live=1.0 if s.scenario.attack == "none" else 0.2)  # attackers' doing
        for s in many({"krum": 0.85, "median": 0.8, "average": 0.1})
    ]
    (board,) = boards(some)
    ranks = [(row.rule, str(row.rank)) for row in board.rows]
    text = render("r", [board])
    if live < LIVE:
        assert ranks == [("median", "1"), ("average", "2"), ("krum", "None")]
        assert "hgo krum staircase v=11 (not live here)" in text
        assert "(not live here): not ranked: updates the model in fewer than half" in text
        assert " 0.49 " in text
    else:
        assert ranks == [("krum", "1"), ("median", "2"), ("average", "3")]
        assert "not live here" not in text
    assert "1.00 (0.20)" in text
    (data,) = json.loads(render("r", [board], "json"))["boards"]
    assert {row["rule"]: row["live"] for row in data["rows"]}["krum"] == live
    assert {row["rule"]: row["live_attacked"] for row in data["rows"]}["median"] == 0.2


def with_bits(some: list[Score], examples: int = 50) -> list[Score]:
    """The same scores, to the nearest example, with those examples that were right."""
    made = []
    for score in some:
        right = round(score.accuracy * examples)
        bits = np.packbits(np.arange(examples) < right).tobytes()
        made.append(replace(score, accuracy=right / examples, right=bits))
    return made


def test_intervals_are_over_test_examples_too_where_it_is_known_which_were_right() -> None:
    known = with_bits(many({"median": 0.8, "krum": 0.7}))
    without = [replace(score, right=None) for score in known]
    (board,), (alone,) = boards(known), boards(without)
    assert (board.examples, alone.examples) == (50, 0)
    for one, other in zip(board.rows, alone.rows, strict=True):
        assert one.worst.mean == other.worst.mean
        assert one.worst.high > other.worst.high
    assert "over seeds and test examples" in render("r", [board])
    told = "over seeds alone, as it is not known of all cells which test examples were right"
    assert told in render("r", [alone])
    partly = [*known[:-1], without[-1]]
    assert boards(partly)[0].examples == 0
    failed = [*known[:-1], replace(known[-1], status="failed", accuracy=0.0, right=None)]
    assert boards(failed)[0].examples == 50  # nothing was right
    blind = [*known[:-1], replace(known[-1], accuracy=0.0, right=bytes(7))]
    assert boards(blind)[0].examples == 50


def test_two_rows_that_differ_by_what_the_test_examples_allow_are_not_told_apart() -> None:
    """The same gap in every seed; but of 50 examples it is two, and they might be others."""
    known = with_bits(many({"median": 0.8, "krum": 0.76}))
    assert [str(row.rank) for row in boards(known)[0].rows] == ["1-2", "1-2"]
    without = [replace(score, right=None) for score in known]
    assert [str(row.rank) for row in boards(without)[0].rows] == ["1", "2"]


def test_ranks_are_on_the_seeds_that_no_attack_lacks() -> None:
    some = many({"median": 0.8, "krum": 0.5}, ("none", "foe", "alie"))
    fewer = [s for s in some if s.scenario.attack != "alie" or s.scenario.seed < 6]
    (board,) = boards(fewer)
    assert board.seeds == 6
    assert {row.cells["alie"].seeds for row in board.rows} == {6}
    assert {row.worst.seeds for row in board.rows} == {MANY}
    assert [str(row.rank) for row in board.rows] == ["1", "2"]
    apart = [s for s in some if s.scenario.attack != "alie" or s.scenario.seed > 3]
    apart = [s for s in apart if s.scenario.attack != "foe" or s.scenario.seed < 3]
    assert boards(apart)[0].seeds == 0
    assert [str(row.rank) for row in boards(apart)[0].rows] == ["1-2", "1-2"]


def test_an_accuracy_below_0_as_that_of_a_regression_may_be_counts_as_0() -> None:
    some = [Score(s.scenario, "done", -0.5) if s.scenario.rule == "krum" else s for s in scores()]
    (board,) = boards(some)
    assert board.rows[-1].worst.mean == 0


def test_a_label_says_scope_quorum_and_what_is_believed() -> None:
    def labels(*cells: Scenario) -> list[str]:
        return sorted(row.label for row in boards(Score(c, "done", 0.5) for c in cells)[0].rows)

    few: dict[str, Any] = {"workers": 20, "f": 4}
    krum, median = Scenario(**few, rule="krum"), Scenario(**few, rule="median")
    assert labels(median) == ["hgo median"]
    assert labels(krum, median) == ["hgo krum staircase v=11", "hgo median v=9"]
    assert labels(Scenario(**few, rule="krum", algorithm="sgd")) == [
        "sgd krum"
    ]  # as everybody has it
    assert labels(Scenario(**few, rule="median", scope="block")) == ["hgo median block"]
    assert labels(median.replace(tolerated=3, quorum=9)) == ["hgo median tolerated=3"]
    assert labels(median, median.replace(tolerated=3, quorum=9)) == [
        "hgo median tolerated=3", "hgo median tolerated=4",
    ]  # fmt: skip
    mine = Scenario(**few, rule="tests.plugins:MyMedian")
    assert labels(mine) == ["hgo tests.plugins:MyMedian staircase"]
    gone = Scenario.restore({**median.to_dict(), "rule": "gone", "scope": "block"})
    assert labels(gone) == ["hgo gone"]


def test_the_clean_case_is_no_attack() -> None:
    flipped = [
        Score(s.scenario, "done", 0.1 if s.scenario.attack == "none" else s.accuracy)
        for s in scores()
    ]
    (board,) = boards(flipped)
    assert board.rows[0].worst.mean == pytest.approx(0.7)


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
    lowest = worst([0.75, 0.5, 0.9], [0.6, 0.8, 0.7])
    assert row.cells["iid"] == row.worst == lowest


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
    assert "hgo median v=9 granularity=scalar" in labels
    assert "hgo median v=9 granularity=feature" in labels


def test_a_row_that_lacks_cells_is_not_ranked() -> None:
    some = [s for s in scores() if not (s.scenario.rule == "krum" and s.scenario.attack == "alie")]
    (board,) = boards(some)
    assert [(row.rule, str(row.rank), row.missing) for row in board.rows] == [
        ("median", "1", 0),
        ("krum", "None", 3),
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
    assert "hgo tests.plugins:MyMedian staircase v=9 *" in text
    assert "* not part of hgobench" in text
    assert "hgo krum staircase v=11 !" in text
    assert "! 1 cell diverged or failed; each counts as 0" in text
    assert "0.700" in text


def test_cells_that_never_moved_are_marked(made: list[Any]) -> None:
    idle = [replace(s, live=float(s.scenario.rule != "krum")) for s in scores()]
    text = render("quick-1", boards(idle))
    assert "hgo krum staircase v=11 ~" in text
    assert "~ in 9 cells too few workers answered, in every round, to aggregate" in text
    stalled = run(Scenario(workers=5, rounds=2, algorithm="sgd", hardware="weak", rule="median"))
    assert Score.of(stalled).live == 0
    moved = run(Scenario(workers=5, rounds=4, rule="median", hardware="c2", deadline=4.0))
    assert Score.of(moved).live == 1 - sum(moved.rounds["stalled"]) / 4


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
    notes = latex.split(r"\end{table*}")[-1].strip().splitlines()
    assert notes
    assert all(note.startswith("% ") for note in notes)


def test_csv_is_exact_and_long(made: list[Any]) -> None:
    lines = list(csv.DictReader(io.StringIO(render("quick-1", made, "csv"))))
    (line,) = [entry for entry in lines if entry["rule"] == "median" and entry["column"] == "alie"]
    assert float(line["mean"]) == pytest.approx(2.15 / 3)
    assert math.isclose(float(line["low"]), worst([0.75, 0.5, 0.9]).low)


def test_json_has_the_form_that_scripts_rely_on(made: list[Any]) -> None:
    content = json.loads(render("quick-1", made, "json"))
    assert content["ruleset"] == "quick-1"
    (board,) = content["boards"]
    assert (board["partition"], board["hardware"]) == ("iid", "standard")
    row = board["rows"][0]
    assert {
        "rank", "algorithm", "rule", "clean", "worst", "worst_attack", "known_seed", "collapsed",
        "live", "cells",
    } <= set(row)  # fmt: skip
    assert content["estimand"] == "the lowest, over attacks, of the mean over seeds"
    assert {"examples", "seeds", "collapse"} <= set(board)
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


def test_results_of_an_older_hgobench_still_make_boards_over_seeds_alone() -> None:
    with open_store(str(Path(__file__).parent / "schema_1"), create=False) as store:
        kept = [result for _, result in store.results()]
    assert {result.right for result in kept} == {None}
    made = boards(map(Score.of, kept))
    assert made
    assert {board.examples for board in made} == {0}
    assert "worst" in render("r", made)
