from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from hgobench import Scenario, catalogue, open_store
from hgobench.engines import EngineError
from hgobench.engines.cells import _cohort, execute
from hgobench.engines.progress import Advance
from hgobench.errors import InputError
from hgobench.grid import stack_size
from hgobench.models import Softmax
from hgobench.suite import Suite
from tests.conftest import ROOT
from tests.plugins import without_lines

FIELDS: dict[str, Any] = {"workers": 10, "byzantine": 2, "rounds": 5, "evaluation_interval": 2}


def grid(rules: tuple[str, ...] = ("median", "krum", "aksel"), **more: Any) -> list[Scenario]:
    return [
        Scenario(**{**FIELDS, **more}, rule=rule, attack=attack, seed=seed)
        for rule in rules
        for attack in ("none", "foe", "random_noise")
        for seed in (0, 1)
    ]


def content(folder: Path) -> list[tuple[Any, ...]]:
    """Return all rows but for the timing columns."""
    with closing(sqlite3.connect(folder / "results.sqlite")) as connection:
        query = """SELECT key, ruleset, digest, scenario, status, reason, rounds, right, provenance
                   FROM results ORDER BY key"""
        rows: list[tuple[Any, ...]] = connection.execute(query).fetchall()
        return rows


def fill(folder: Path, scenarios: list[Scenario], **options: Any) -> Any:
    with open_store(folder) as store:
        return execute(scenarios, store, "r-1", **options)


def test_jobs_order_and_resume_give_identical_stores(tmp_path: Path) -> None:
    scenarios = grid()
    fill(tmp_path / "one", scenarios)
    fill(tmp_path / "two", scenarios, jobs=2)
    fill(tmp_path / "backwards", scenarios[::-1])
    fill(tmp_path / "resumed", scenarios[5:9])
    outcome = fill(tmp_path / "resumed", scenarios)
    assert (outcome.computed, outcome.reused) == (14, 4)
    expected = content(tmp_path / "one")
    assert len(expected) == 18
    for name in ("two", "backwards", "resumed"):
        assert content(tmp_path / name) == expected


def test_running_again_computes_nothing(tmp_path: Path) -> None:
    seen: list[Advance] = []
    fill(tmp_path, grid(), on_progress=seen.append)
    again: list[Advance] = []
    outcome = fill(tmp_path, grid(), on_progress=again.append)
    assert seen[:2] == [Advance(lacking=18), Advance(jobs=1)]  # then computing begins
    assert (sum(step.computed for step in seen), again) == (
        18,
        [Advance(reused=18), Advance(jobs=1)],
    )
    assert (outcome.computed, outcome.reused) == (0, 18)


def test_failures_are_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    outcome = fill(tmp_path, grid(("median", "tests.plugins:Raising")), jobs=2)
    assert outcome.computed == 12
    assert {without_lines(result.reason) for result in outcome.failed} == {
        "round 1: rule 'tests.plugins:Raising': RuntimeError: out of ideas"
    }
    assert len(outcome.failed) == 6


def test_a_plugin_that_imports_late_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "latepkg").mkdir()
    (tmp_path / "latepkg" / "__init__.py").write_text(
        "class R:\n"
        "    def __call__(self, values):\n"
        "        from . import helper\n"
        "        return helper.agg(values)\n"
    )
    (tmp_path / "latepkg" / "helper.py").write_text("def agg(values):\n    return values[0]\n")
    scenarios = [Scenario(**FIELDS, rule="latepkg:R")]
    outcome = fill(tmp_path / "out", scenarios)
    with open_store(tmp_path / "out") as store:
        assert store.keys() == outcome.keys


def test_failed_cells_are_tried_again(tmp_path: Path) -> None:
    slow = [Scenario(**FIELDS, rule="tests.plugins:Hanging")]
    assert "time_limit" in fill(tmp_path, slow, time_limit=0.1).failed[0].reason
    again = fill(tmp_path, slow, time_limit=0.1)
    assert (again.computed, again.reused) == (1, 0)
    assert len(content(tmp_path)) == 1


@pytest.mark.long
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_rule_that_kills_its_process_loses_its_own_cell_alone(tmp_path: Path, jobs: int) -> None:
    """Even with status 0 and one job; its cohort's other cells are computed, and the rest."""
    killing = Scenario(**FIELDS, rule="tests.plugins:Killing", attack="foe")
    leaving = Scenario(**FIELDS, rule="tests.plugins:Exiting", attack="foe", seed=1)
    outcome = fill(tmp_path, [*grid(("median",)), killing, leaving], jobs=jobs, width=4)
    assert (outcome.computed, outcome.interrupted) == (8, "")
    assert sorted(result.reason for result in outcome.failed) == [
        "the process that computed it died (exit status 0): rule 'tests.plugins:Exiting'",
        "the process that computed it died (exit status 9): rule 'tests.plugins:Killing'",
    ]
    fill(tmp_path / "alone", grid(("median",)), width=4)
    kept = [row for row in content(tmp_path) if "done" in row]
    assert kept == content(tmp_path / "alone")
    if jobs == 1:
        again = fill(tmp_path, [*grid(("median",)), killing], width=4)
        assert (again.computed, again.reused, len(again.failed)) == (1, 6, 1)


def test_what_no_world_can_be_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    scenarios = [*grid(), Scenario(workers=2000), Scenario(model="logistic")]
    with pytest.raises(InputError) as error:
        fill(tmp_path, scenarios)
    assert error.value.problems == [
        "partition: 1221 training examples for 2000 workers; expected at least one each",
        "model: 'logistic': logistic regression has 2 classes; the data has 10",
    ]
    assert content(tmp_path) == []


ROUNDS = 50


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hgobench", "run", "smoke", "--out", str(folder), *more]
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def rows_so_far(folder: Path) -> int:
    """Return how many rows there are; 0 while the file or its table is still to be created."""
    if not (folder / "results.sqlite").exists():
        return 0
    try:
        return len(content(folder))
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return 0


def wait_for_rows(folder: Path, process: subprocess.Popen[str], least: int) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            return
        if rows_so_far(folder) >= least:
            return
        time.sleep(0.05)
    raise AssertionError("no results within a minute")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What the run would leave that nothing stops."""
    folder = tmp_path_factory.mktemp("whole")
    suite = Suite.load("smoke").changed([("rounds", [ROUNDS])])
    with open_store(folder) as store:
        execute(suite.expand()[0], store, suite.ruleset, width=suite.width)
    return content(folder)


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "jobs"),
    [
        (signal.SIGINT, "1"),
        (signal.SIGINT, "2"),
        (signal.SIGTERM, "1"),
        (signal.SIGHUP, "2"),
        (signal.SIGKILL, "2"),
    ],
)
def test_ctrl_c_and_kill_keep_what_is_done(
    tmp_path: Path, how: signal.Signals, jobs: str, whole: list[Any]
) -> None:
    more = ("--jobs", jobs, "--set", f"rounds={ROUNDS}")
    process = start(tmp_path / "stopped", *more)
    wait_for_rows(tmp_path / "stopped", process, 8)
    with suppress(ProcessLookupError):  # a slow machine may see it only when it is done
        os.killpg(process.pid, how)  # the whole group, as a terminal does
    _, errors = process.communicate(timeout=60)
    kept = len(content(tmp_path / "stopped"))
    assert 8 <= kept <= 36
    if how is not signal.SIGKILL and process.returncode != 0:
        assert process.returncode == 128 + how
        said = "interrupted" if how is signal.SIGINT else f"ended by {how.name}"
        assert said in errors
        assert "Traceback" not in errors
        assert f"goes on with the {36 - kept} missing cells" in errors
    # The same command goes on, and the result is as if nothing had happened.
    again = start(tmp_path / "stopped", *more)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert f"{36 - kept} cells computed, {kept} reused" in errors
    assert content(tmp_path / "stopped") == whole


@pytest.mark.long
@pytest.mark.parametrize("jobs", [1, 2])
def test_c_code_runs_out_of_time_too(tmp_path: Path, jobs: int) -> None:
    """Its cohort's other cells are computed, and the rest; the reason names what took too long."""
    bad = [
        Scenario(**FIELDS, rule="tests.plugins:ComputingInC", attack="foe"),
        Scenario(**FIELDS, rule="median", attack="tests.plugins:PoisoningForLong", seed=1),
        Scenario(**FIELDS, model="tests.plugins:EndlessModel", seed=2),
    ]
    outcome = fill(tmp_path, [*grid(("median",)), *bad], jobs=jobs, width=4, time_limit=1.0)
    assert (outcome.computed, outcome.interrupted) == (9, "")
    told = {result.scenario.seed: result.reason for result in outcome.failed}
    start = "ended with its process: out of time: "
    end = "computed longer than time_limit = 1 s"
    assert told == {
        0: f"{start}rule 'tests.plugins:ComputingInC' {end}",
        1: f"{start}attack 'tests.plugins:PoisoningForLong' {end}",
        2: f"{start}model 'tests.plugins:EndlessModel' {end}",
    }
    assert all(result.late for result in outcome.failed)
    fill(tmp_path / "alone", grid(("median",)), width=4)
    kept = [row for row in content(tmp_path) if "done" in row]
    assert kept == content(tmp_path / "alone")


@pytest.mark.long
def test_threads_that_a_rule_leaves_behind_are_no_fault_of_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their CPU seconds count for whoever runs: a cell that runs out of time is tried alone."""
    rules = ("tests.misbehaving:Leaving", "tests.misbehaving:Working")
    scenarios = [Scenario(**FIELDS, algorithm="sgd", rule=rule) for rule in rules]
    outcome = fill(tmp_path, scenarios, width=2, time_limit=0.5)
    assert outcome.computed == 2
    assert {result.scenario.rule for result in outcome.failed} <= {rules[0]}  # may be late, too
    assert (
        "computed again, each by itself: out of time: it holds threads that plug-in code left "
        "running\n"
    ) in capsys.readouterr().err


@pytest.mark.long
def test_a_rule_that_stops_its_process_runs_out_of_time(tmp_path: Path) -> None:
    stopping = Scenario(**FIELDS, rule="tests.plugins:StoppingItself", attack="foe")
    outcome = fill(tmp_path, [*grid(("median",)), stopping], width=4, time_limit=0.5)
    assert (outcome.computed, outcome.interrupted) == (7, "")
    (lost,) = outcome.failed
    assert lost.late
    assert lost.reason == (
        "ended with its process: out of time: rule 'tests.plugins:StoppingItself' was stopped "
        "longer than time_limit = 0.5 s"
    )


@pytest.mark.long
def test_a_cell_that_takes_all_memory_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hgobench.engines.local.memory", lambda: 2 * 2**30)
    growing = Scenario(**FIELDS, rule="tests.plugins:Growing", attack="foe")
    outcome = fill(tmp_path, [*grid(("median",)), growing], jobs=2, width=4)
    assert outcome.computed == 7
    assert (
        "cells are computed again, one at a time: out of memory: rule 'tests.plugins:Growing' held "
        "more than 0.9 GiB; with fewer jobs each process may hold more"
    ) in capsys.readouterr().err
    assert [result.reason for result in outcome.failed] == [
        "ended with its process: out of memory: rule 'tests.plugins:Growing' held more than 1.8 GiB"
    ]


def test_another_machine_without_the_driver_s_files_ends_the_run(tmp_path: Path) -> None:
    """It would compute another cell under the same name."""
    cell = Scenario(**FIELDS)
    named = tmp_path / "devices.csv"
    named.write_text("rate\n1\n")
    known = {str(named): catalogue.digest(str(named))}
    assert _cohort(60.0, "cpu", known, [cell]).results[0].status == "done"
    with pytest.raises(EngineError, match=r"devices.csv' is missing, or not the driver's"):
        _cohort(60.0, "cpu", {str(named): "another digest"}, [cell])


class Quick(Softmax):
    """A light model of somebody's own, as it inherits."""


class Slow(Softmax):
    light = False


@pytest.mark.parametrize(
    ("model", "side_by_side"),
    [
        ("softmax", 80),
        ("softmax[ridge=0.1]", 80),
        ("feed_forward[hidden=5]", 6),
        ("tests.test_grid:Quick", 80),
        ("tests.test_grid:Slow", 6),
    ],
)
def test_a_model_says_whether_many_cells_side_by_side_are_faster(
    model: str, side_by_side: int
) -> None:
    assert stack_size(Scenario(model=model, rounds=50)) == side_by_side
    assert stack_size(Scenario(model=model, rounds=10**6)) == 1
