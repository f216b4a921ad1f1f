"""``hgobench show FOLDER``: what varies comes first, and text stays what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hgobench import Scenario
from hgobench.report import cells as report
from hgobench.report.render import terminal
from hgobench.report.writers import Layout
from hgobench.results import Result, open_store
from hgobench.results.address import result_key
from hgobench.results.result import COLUMNS
from tests.test_cli import hgobench
from tests.test_roles import TWO, pair


def cell(scenario: Scenario, ruleset: str = "mine-1", **summary: Any) -> dict[str, Any]:
    numbers = {"test_accuracy": 0.5, "stalled": 0, "mean_block_size": 12.25}
    return {
        "ruleset": ruleset,
        "scenario": scenario.to_dict(),
        "summary": {"status": "done", "reason": "", **numbers, **summary},
    }


def overview(cells: list[dict[str, Any]]) -> str:
    return terminal(report.overview(cells), title=False)


def table(text: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table that a text ends with."""
    header, _, *rows = text.rpartition("\n\n")[2].splitlines()
    return header.split(), [row.split() for row in rows]


@pytest.mark.parametrize("name", TWO)
def test_any_field_that_varies_is_a_column_and_all_others_are_said_once(name: str) -> None:
    first, second = pair(name)
    text = overview([cell(first), cell(second)])
    header, rows = table(text)
    stated = [(str(first.to_dict()[f]), str(second.to_dict()[f])) for f in first.to_dict()]
    varying = [f for f, (a, b) in zip(first.to_dict(), stated, strict=True) if a != b]
    assert sorted(header) == sorted([*varying, "test_accuracy", "stalled", "mean_block_size"])
    assert header.index(name) < header.index("test_accuracy")
    assert {row[header.index(name)] for row in rows} == {
        str(s.to_dict()[name]) for s in (first, second)
    }
    about = " ".join(text.partition("\n\n")[0].split())
    assert about == "in all cells: " + " ".join(
        ["ruleset=mine-1"]
        + [f"{f}={first.to_dict()[f]}" for f in first.to_dict() if f not in varying]
    )


@pytest.mark.parametrize("where", [[], ["rule=krum"], ["ruleset=mine-1"]])
def test_a_folder_without_results_is_said_to_hold_none(where: list[str], tmp_path: Path) -> None:
    with open_store(tmp_path / "out"):
        pass
    said = hgobench("show", "out", *where, cwd=tmp_path)
    board = hgobench("leaderboard", "out", cwd=tmp_path)
    assert said.stderr == board.stderr
    assert (said.returncode, "store: 'out': holds no results" in said.stderr) == (2, True)


def test_cells_are_in_the_order_of_what_varies_numbers_by_size() -> None:
    made = [Scenario(rounds=r, rule=rule) for r in (10, 9, 100) for rule in ("median", "krum")]
    header, rows = table(overview([cell(s) for s in made]))
    places = [header.index("rule"), header.index("rounds")]
    assert [[row[place] for place in places] for row in rows] == [
        [rule, rounds] for rule in ("krum", "median") for rounds in ("9", "10", "100")
    ]


def test_text_that_looks_like_a_number_stays_text() -> None:
    cells = [cell(Scenario(), ruleset) for ruleset in ("2024.10", "2024.1", "1e3", "007")]
    header, rows = table(overview(cells))
    assert header[0] == "ruleset"
    assert [row[0] for row in rows] == ["007", "1e3", "2024.1", "2024.10"]


def test_long_rulesets_are_named_once_above() -> None:
    long = [f"mine-1 with {'x' * 150}={i}" for i in (1, 2)]
    text = overview([cell(Scenario(seed=s), ruleset) for ruleset in long for s in (0, 1)])
    assert all(text.count(ruleset) == 1 for ruleset in long)
    assert f"ruleset [1]: {long[0]}\nruleset [2]: {long[1]}\n" in text
    _, rows = table(text)
    assert [row[:2] for row in rows] == [["[1]", "0"], ["[1]", "1"], ["[2]", "0"], ["[2]", "1"]]
    once = overview([cell(Scenario(seed=s), long[0]) for s in (0, 1)])
    assert once.count(long[0]) == 1
    assert "ruleset" not in table(once)[0]


def test_how_cells_ended_is_shown_where_some_did_not_end_well() -> None:
    broken = cell(Scenario(seed=1), status="failed", reason="round 1:\n  no")
    header, rows = table(overview([cell(Scenario()), broken]))
    assert header == ["seed", "test_accuracy", "status", "reason", "stalled", "mean_block_size"]
    assert rows[0] == ["0", "0.500", "done", "0", "12.2"]
    assert rows[1] == ["1", "0.500", "failed", "round", "1:", "no", "0", "12.2"]


def test_at_80_columns_a_cell_is_a_line_and_what_others_say_is_left_out_first() -> None:
    """The scope follows from the algorithm here: it comes after the accuracy."""
    made = [
        Scenario(algorithm=algorithm, rule=rule, attack=attack, seed=seed, byzantine=5)
        for algorithm in ("hgo", "sgd")
        for rule in ("trimmed_mean", "centered_clipping")
        for attack in ("alie", "sign_flip")
        for seed in (0, 1)
    ]
    text = terminal(report.overview([cell(one) for one in made]), Layout(80), title=False)
    body, note = text.rpartition("\n\n")[2].rsplit("\n", 1)
    header, *rows = body.splitlines()
    assert header.split() == ["algorithm", "rule", "attack", "seed", "test_accuracy", "scope"]
    assert len(rows) == 1 + len(made)
    assert max(map(len, rows)) <= 80
    assert note == "2 columns left out (stalled, mean_block_size); --wide shows all"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results under rulesets that look like numbers, and two numbers of Byzantine workers."""
    out = tmp_path_factory.mktemp("show")
    with open_store(out) as store:
        for ruleset in ("2024.10", "2024.1 with byzantine=4,8"):
            for f in (4, 8):
                scenario = Scenario(workers=20, byzantine=f, rounds=2)
                rounds = {name: [1, 2] for name in COLUMNS}
                made = {"width": 8, "device": "cpu", "code": "c", "needs": []}
                result = Result(scenario, rounds, "done", "", made, 0.1)
                store.add(result, ruleset, result_key(scenario, ruleset))
    return out


def test_a_folder_is_shown_by_what_varies_in_it(folder: Path) -> None:
    done = hgobench("show", str(folder))
    assert done.returncode == 0, done.stderr
    header, rows = table(done.stdout.rstrip("\n"))
    assert header[:5] == ["ruleset", "byzantine", "test_accuracy", "tolerated", "quorum"]
    assert rows[-1][:2] + rows[-1][3:5] == ["2024.10", "8", "8", "17"]
    assert "rule=trimmed_mean" in done.stdout
    assert len(json.loads(hgobench("show", str(folder), "--format", "json").stdout)) == 4


def test_a_ruleset_chooses_cells(folder: Path) -> None:
    for named in ("ruleset=2024.10", 'ruleset="2024.10"'):
        done = hgobench("show", str(folder), named, "f=4")
        assert "ruleset: 2024.10\n" in done.stdout
        assert done.stdout.rstrip().splitlines()[-1].split()[0] == "2"  # its rounds
    done = hgobench("show", str(folder), "ruleset=2024.1 with byzantine=4,8")
    assert "in all cells:  ruleset=2024.1 with byzantine=4,8  data=digits" in done.stdout
    refused = hgobench("show", str(folder), "ruleset=2024.11")
    assert "show: ruleset: unknown '2024.11'; did you mean '2024.10'?" in refused.stderr
