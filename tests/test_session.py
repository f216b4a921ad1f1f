"""`hgobench.run_suite`: what the command does, from Python."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

import hgobench
from hgobench import Scenario, Session
from hgobench.engines import open_engine
from hgobench.errors import InputError, SamplingRisk
from hgobench.leaderboard import as_data
from hgobench.report.progress import Progress
from hgobench.results import open_store
from hgobench.session import Incomplete, Interrupted, SuiteOutcome, run_suite
from hgobench.simulation import runs
from tests.plugins import without_lines
from tests.test_cli import TINY
from tests.test_cli import hgobench as command


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[SuiteOutcome, Path]:
    folder = tmp_path_factory.mktemp("ran")
    (folder / "tiny.toml").write_text(TINY)
    return run_suite(folder / "tiny.toml", out=folder / "out", jobs=1), folder / "tiny.toml"


def test_it_is_what_the_command_does(ran: tuple[SuiteOutcome, Path]) -> None:
    """The same boards; and what one has computed, the other finds."""
    outcome, suite = ran
    done = command("run", str(suite), "--out", str(outcome.folder), "--format", "json")
    assert "0 cells computed, 8 reused" in done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(as_data("tiny-1", outcome.boards())))
    table = command("leaderboard", str(outcome.folder)).stdout
    assert str(outcome) in table


def test_an_outcome_says_what_there_is(ran: tuple[SuiteOutcome, Path]) -> None:
    outcome, suite = ran
    assert (outcome.computed, outcome.reused, outcome.missing, outcome.failed) == (8, 0, 0, [])
    assert {result.scenario for result in outcome.results()} == set(outcome.cells)
    (board,) = outcome.boards(by="partition")
    assert board.columns == [next(iter(outcome.cells)).partition]
    assert outcome._repr_markdown_().startswith("### ruleset tiny-1\n")
    assert run_suite(suite, out=outcome.folder, jobs=1).reused == 8


def test_rules_and_settings(tiny: Path, tmp_path: Path) -> None:
    outcome = run_suite(
        tiny,
        out=tmp_path / "out",
        rules="tests.plugins:Raising",
        settings={"seed": [0], "attack": "foe", "f": range(2, 4)},
        jobs=1,
    )
    assert outcome.suite.ruleset == "tiny-1 with byzantine=2,3"
    assert outcome.suite.narrowed == ("seed=0", "attack=foe")
    rules = {result.scenario.rule for result in outcome.failed}
    assert (outcome.computed, len(outcome.failed), rules) == (6, 2, {"tests.plugins:Raising"})
    assert (
        "2 cells failed: rule 'tests.plugins:Raising': RuntimeError: out of ideas (first: "
        in without_lines(str(outcome))
    )
    assert {without_lines(why): len(labels) for why, labels in outcome.ended.items()} == {
        "failed: rule 'tests.plugins:Raising': RuntimeError: out of ideas": 2
    }


def test_attacks_that_raise_are_told_from_rules_that_do(tiny: Path, tmp_path: Path) -> None:
    """Cells count as 0 either way, and only one says something of the rule."""
    how: dict[str, Any] = {"out": tmp_path / "out", "jobs": 1}
    mistaken = "tests.misbehaving:AttackStop"
    settings = {"seed": 0, "algorithm": "hgo", "attack": [mistaken, "foe"], "rule": "median"}
    outcome = run_suite(tiny, rules="tests.plugins:Raising", settings=settings, **how)
    failed = [result.scenario for result in outcome.failed]
    by_attack = sum(cell.attack == mistaken for cell in failed)
    assert (by_attack, len(failed)) == (2, 3), "under foe the rule that raises"
    assert outcome.failures() == [
        f"{len(failed)} of {len(outcome.cells)} cells failed",
        f"{by_attack} of them failed by the attack's mistake, not the rule's: worst cases that "
        "rest on them say nothing of the rule; correct the attack (hgobench test)",
    ]
    (board,) = outcome.boards()
    median = next(row for row in board.rows if row.rule == "median")
    assert median.worst_attack == mistaken
    assert median.flags == {
        "an attack failed, and not the rule": f"{mistaken} in 1 of its cells: their accuracy of 0 says "
        "nothing of the rule; correct the attack (hgobench test)"
    }
    raising = next(row for row in board.rows if row.rule != "median")
    assert (raising.ended, sum(score.mistaken for score in raising.scores)) == (2, 1)
    text = str(outcome)
    assert "\n(a) an attack failed, and not the rule\n" in text
    assert (
        "! 3 cells diverged or failed, 2 of them by the attack's mistake, which says nothing of "
        "the rule; each counts as 0" in text
    )


def test_what_is_wrong_is_refused_at_once(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="suite: unknown 'quik'; did you mean 'quick'"):
        run_suite("quik", out=out)
    with pytest.raises(InputError, match="attack: unknown 'fo'; did you mean 'foe'"):
        run_suite(tiny, out=out, settings={"attack": "fo"})
    with pytest.raises(InputError, match=r"settings: seed: \[\]; expected a value, or a list"):
        run_suite(tiny, out=out, settings={"seed": []})
    none = {"data": "digits[validation=0]"}
    with pytest.raises(InputError, match=r"split: 'validation'; 'digits\[validation=0.0\]' has no"):
        run_suite(tiny, out=out, settings=none, split="validation", jobs=1)
    assert not out.exists()


RISKY = {"byzantine": 3, "sampled": 8, "tolerated": 1, "rule": "median", "seed": 0}


def test_risks_are_warned_of_or_told(tiny: Path, tmp_path: Path) -> None:
    with pytest.warns(SamplingRisk, match="sampling risk: of n=10 workers f=3 are Byzantine"):
        run_suite(tiny, out=tmp_path / "out", settings=RISKY, jobs=1)
    told: list[str] = []
    run_suite(tiny, out=tmp_path / "out", settings=RISKY, jobs=1, say=told.append)
    assert [text.partition(":")[0] for text in told] == ["warning"]
    told.clear()
    settings = {"rule": ["median", "bulyan"], "byzantine": [1, 3], "sampled": 8, "seed": 0}
    outcome = run_suite(tiny, out=tmp_path / "out", settings=settings, jobs=1, say=told.append)
    (left,) = [f"left out {n} cells: {why}" for why, n in outcome.left_out.items()]
    assert left.startswith("left out 2 cells: rule: 'bulyan'")
    assert (told[0], left in str(outcome)) == (left, True)
    assert len(told) == 1


def test_ctrl_c_keeps_what_is_done(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first cohort is kept; the exception carries it; the same call goes on."""
    plain = runs._simulate
    calls: list[int] = []

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(runs, "_simulate", interrupted)
    with pytest.raises(KeyboardInterrupt, match="interrupted") as caught:
        run_suite(tiny, out=tmp_path / "out", jobs=1)
    assert isinstance(caught.value, Interrupted)
    outcome = caught.value.outcome
    assert (outcome.computed, outcome.missing) == (4, 4)
    assert outcome.interrupted == "interrupted"
    assert outcome.notes() == ["4 of 8 cells are missing"]
    assert str(outcome).endswith("\n4 of 8 cells are missing")
    assert repr(outcome).startswith(
        "<tiny-1: 8 cells, 4 computed, 0 reused, 0 failed, 4 missing; in"
    )
    assert sum(row.missing for board in outcome.boards() for row in board.rows) == 0
    monkeypatch.setattr(runs, "_simulate", plain)
    again = run_suite(tiny, out=tmp_path / "out", jobs=1)
    assert (again.computed, again.reused, again.missing) == (4, 4, 0)


def test_a_store_that_can_t_be_written_is_no_board_in_silence(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hgobench.results import StoreError
    from hgobench.results.sqlite import SqliteStore

    def full(*_: object, **__: object) -> None:
        raise StoreError("database or disk is full")

    monkeypatch.setattr(SqliteStore, "add_all", full)
    with pytest.raises(Incomplete, match="the store can't be written: database or disk is full"):
        run_suite(tiny, out=tmp_path / "out", jobs=1)


def test_progress_is_shown_if_asked_for_and_told(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Progress] = []
    run_suite(tiny, out=tmp_path / "out", jobs=1, on_progress=seen.append)
    assert capsys.readouterr() == ("", "")  # nobody watches
    assert (seen[0].total, seen[-1].done) == (8, 8)
    run_suite(tiny, out=tmp_path / "out", jobs=1, progress=True)
    assert capsys.readouterr().err == "cells 0/8\ncells 8/8 (8 found)\n"


def test_the_folder_is_the_command_s_own(tiny: Path, tmp_path: Path) -> None:
    with chdir(tmp_path):
        outcome = run_suite(tiny, settings={"seed": 0, "attack": "none"}, jobs=1)
        assert outcome.folder == tmp_path / "hgobench-results" / "tiny"
        assert command("leaderboard", "hgobench-results/tiny").returncode == 0
    assert len(list(outcome.results())) == 2  # wherever one is then


def test_a_session_runs_any_cells(tmp_path: Path) -> None:
    cells = [Scenario(workers=10, f=2, rounds=2, rule=rule) for rule in ("median", "krum")]
    with open_store(tmp_path) as store:
        session = Session(store, jobs=1)
        assert session.run(cells, "mine-1").computed == 2
        assert session.run(cells, "mine-1").reused == 2
        found = {result.scenario: result for _, result in store.results()}
    for cell in cells:
        assert found[cell].rounds["test_accuracy"] == hgobench.run(cell).rounds["test_accuracy"]


def test_naming_it_imports_no_torch() -> None:
    code = "import sys; from hgobench import Session, run_suite; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"jobs": -1}, "jobs: -1; expected an integer >= 0"),
        ({"jobs": 1.5}, "jobs: 1.5; expected an integer >= 0"),
        ({"split": "tests"}, "split: unknown 'tests'; did you mean 'test'?"),
    ],
)
def test_a_suite_is_refused_before_anything_is_computed(
    wrong: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        run_suite("smoke", out=tmp_path / "out", settings={"seed": 0}, **wrong)
    assert not (tmp_path / "out").exists()


NO_FOLDER = "expected a folder"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"engine": 3}, "engine: 3; expected an engine or its name"),
    ({"engine": "builtins:list"}, "engine: 'builtins:list': []; expected an engine"),
    ({"rules": 3}, "rules: 3; expected a name, or a list of names"),
    ({"rules": ["krum", 3]}, "rules: ['krum', 3]; expected a name, or a list of names"),
    ({"settings": 3}, "settings: 3; expected a mapping of fields to values"),
    ({"settings": {3: 1}}, "settings: {3: 1}; expected a mapping of fields to values"),
    ({"settings": {"seed": [1, 0, 1]}}, "settings: seed: 1 is given twice"),
    ({"settings": {"rule": ["krum", "krum[]"]}}, "settings: rule: 'krum' is given twice"),
    ({"settings": {"f": 2, "byzantine": 3}}, "settings: byzantine: given twice"),
    ({"out": 3}, f"out: 3; {NO_FOLDER}"),
    ({"out": ""}, f"out: ''; {NO_FOLDER}"),
    ({"out": "a\0b"}, rf"out: 'a\x00b'; {NO_FOLDER}"),
    ({"out": b"bytes"}, f"out: b'bytes'; {NO_FOLDER}"),
    ({"on_progress": 3}, "on_progress: 3; expected a function"),
    ({"say": "loudly"}, "say: 'loudly'; expected a function"),
    ({"progress": "yes"}, "progress: 'yes'; expected True, False or 'json'"),
    ({"jobs": True}, "jobs: True; expected an integer >= 0"),
    ({"address": 3}, "address: 3; expected a text"),
    ({"address": "tcp://here"}, "address: 'tcp://here'; engine 'local' has none"),
    ({"device": 3}, "device: 3; expected a device as torch names it"),
    ({"split": None}, "split: None; expected one of test, validation"),
]


@pytest.mark.parametrize(("arguments", "problem"), WRONG, ids=lambda value: repr(value)[:40])
def test_an_argument_of_another_type_is_refused(
    arguments: dict[str, Any], problem: str, tiny: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError) as caught:
        run_suite(tiny, **arguments)
    assert caught.value.problems == [problem]
    assert sorted(tmp_path.iterdir()) == before


def test_all_arguments_that_are_wrong_are_named_at_once() -> None:
    everything: dict[str, Any] = {"suite": 3, "out": 3, "jobs": -1, "on_progress": 3}
    with pytest.raises(InputError) as caught:
        run_suite(**everything)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == list(everything)


def test_sessions_stores_and_engines_check_their_arguments_too(tmp_path: Path) -> None:
    def problems(function: Any, *arguments: Any, **named: Any) -> list[str]:
        with pytest.raises(InputError) as caught:
            function(*arguments, **named)
        return caught.value.problems

    assert problems(Session, 3, engine="local", on_progress=3) == [
        "store: 3; expected an open store (hgobench.open_store)",
        "engine: 'local'; expected an open engine",
        "on_progress: 3; expected a function",
    ]
    assert problems(open_store, "a\0b") == [r"folder: 'a\x00b'; expected a folder"]
    assert problems(open_store, "") == ["folder: ''; expected a folder"]
    assert problems(open_engine, 3, jobs=0) == [
        "engine: 3; expected an engine's name",
        "jobs: 0; expected an integer >= 1",
    ]
    assert problems(hgobench.run, Scenario(), time_limit="long") == [
        "time_limit: 'long'; expected a number > 0 or inf"
    ]
    assert problems(hgobench.run, Scenario(), device=3) == [
        "device: 3; expected a device as torch names it"
    ]
    with open_store(tmp_path / "out") as store:
        session = Session(store, jobs=1)
        assert problems(session.run, 3, 3, width=0, time_limit=0) == [
            "scenarios: 3; expected a list of scenarios",
            "ruleset: 3; expected a name",
            "width: 0; expected an integer >= 1",
            "time_limit: 0; expected a number > 0 or inf",
        ]
        several = [Scenario(), "krum"]
        assert problems(session.run, several, "mine-1") == [
            "scenarios[1]: 'krum'; expected a hgobench.Scenario"
        ]


def test_a_suite_s_values_are_there_once(tmp_path: Path) -> None:
    suite = tmp_path / "twice.toml"
    suite.write_text(
        'ruleset = "t-1"\n[grid]\nseed = [0, 1, 0]\npartition = ["by_class(2)", "by_class"]'
    )
    with pytest.raises(InputError) as caught:
        run_suite(suite, out=tmp_path / "out")
    assert caught.value.problems == [
        "suite: grid: seed: 0 is given twice",
        "suite: grid: partition: 'by_class' is given twice",
    ]


def test_the_command_names_its_options(tiny: Path, tmp_path: Path) -> None:
    for words, problem in (
        (["--set", "seed=1,1"], "--set: seed: 1 is given twice"),
        (["--rule", "krum["], "--rule: 'krum[': the [ is never closed"),
        (["--engine", "dask"], "--address: ''; expected the scheduler's: tcp://host:port"),
        (["--out", ""], "Invalid value for '--out': ''; expected a folder"),
    ):
        done = command("run", str(tiny), *words, cwd=tmp_path)
        assert (done.returncode, problem in done.stderr) == (2, True), done.stderr
