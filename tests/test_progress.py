"""Progress: what is shown at once, and estimates that a clock of ours holds to."""

from __future__ import annotations

import io
import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from hgobench import Scenario
from hgobench.cli import app
from hgobench.engines.local import Inline
from hgobench.engines.progress import Advance, tell
from hgobench.report.objects import Objects
from hgobench.report.progress import Pace, Progress, Watch, duration, progress
from hgobench.simulation import simulate
from tests.test_cli import hgobench


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def paced(total: int, jobs: int = 1) -> tuple[Pace, Clock]:
    clock = Clock()
    pace = Pace(total, clock)
    pace.advance(Advance(jobs=jobs))
    return pace, clock


def finish(pace: Pace, clock: Clock, seconds: float, cells: int = 8) -> Progress:
    """Let some cells finish after some seconds."""
    clock.now += seconds
    pace.advance(Advance(computed=cells))
    return pace.progress()


def test_what_was_found_counts_for_nothing() -> None:
    """2,370 of 2,460 found at once, the rest at a cell in twenty seconds: half an hour is left."""
    pace, clock = paced(2460)
    clock.now += 3.0
    pace.advance(Advance(reused=2370))
    now = pace.progress()
    assert (now.done, now.rate, now.left) == (2370, None, None)
    pace.advance(Advance(jobs=1))
    for _ in range(3):
        now = finish(pace, clock, 20.0, cells=1)
    assert now.rate == pytest.approx(1 / 20)
    assert now.left == pytest.approx(87 * 20.0)


def test_what_is_not_looked_for_yet_lacks_as_often_as_what_was() -> None:
    """A tenth of the first thousand cells lacks: of ten thousand a thousand is to compute."""
    pace, clock = paced(10_000)
    pace.advance(Advance(reused=900, lacking=100))
    for _ in range(3):
        now = finish(pace, clock, 2.0, cells=1)
    assert now.left == pytest.approx(2.0 * (1000 - 3))
    pace.advance(Advance(reused=9000))
    assert pace.progress().left == pytest.approx(2.0 * (100 - 3))


def test_the_start_counts_for_nothing() -> None:
    """Half a minute before the first cell leaves no trace in the rate."""
    pace, clock = paced(800)
    clock.now += 20.0
    pace.advance(Advance(jobs=1))
    finish(pace, clock, 10.0)
    now = finish(pace, clock, 1.0)
    assert now.rate == pytest.approx(8.0)
    assert now.left == pytest.approx(784 / 8.0)
    assert now.seconds == pytest.approx(31.0)


def test_the_rate_is_that_of_the_last_minute() -> None:
    """Ten minutes at 8 cells a second, then slow ones: after a minute nothing else counts."""
    pace, clock = paced(100_000)
    for _ in range(600):
        finish(pace, clock, 1.0)
    for _ in range(7):
        now = finish(pace, clock, 10.0)
    assert now.rate == pytest.approx(0.8)


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_bursts_of_several_processes_do_not_count_as_speed(jobs: int) -> None:
    """J processes that end their cohorts at once, every 400 s, are J cohorts in 400 s."""
    pace, clock = paced(8000, jobs)
    true = 8 * jobs / 400.0
    for burst in range(5):
        for place in range(jobs):
            now = finish(pace, clock, 400.0 - (jobs - 1) * 0.1 if place == 0 else 0.1)
            assert now.rate is not None
            assert now.rate == pytest.approx(true, rel=0.01), (burst, place)


def test_what_stalls_slows_down() -> None:
    pace, clock = paced(800)
    for _ in range(10):
        now = finish(pace, clock, 1.0)
    assert now.rate == pytest.approx(8.0)
    assert now.left is not None
    clock.now += 0.5
    soon = pace.progress()
    assert soon.left == pytest.approx(now.left - 0.5)  # it counts down
    clock.now += 999.5
    stalled = pace.progress()
    assert stalled.rate is not None
    assert stalled.rate < 0.1
    assert stalled.left is not None
    assert stalled.left > 6000


@given(
    arrivals=st.lists(
        st.tuples(st.floats(0.0, 500.0), st.integers(1, 8), st.booleans()), max_size=40
    ),
    jobs=st.integers(1, 5),
)
def test_an_estimate_is_a_number_that_makes_sense(
    arrivals: list[tuple[float, int, bool]], jobs: int
) -> None:
    """Counts add up, no rate is below 0, nothing is left exactly when all is done."""
    total = sum(cells for _, cells, _ in arrivals) + 3
    pace, clock = paced(total, jobs)
    for seconds, cells, found in arrivals:
        clock.now += seconds
        pace.advance(Advance(reused=cells) if found else Advance(computed=cells))
        now = pace.progress()
        assert now.done <= total
        assert (now.rate is None) == (now.computed == 0)
        assert now.left is None or now.left >= 0.0
        assert now.left is None or now.left > 0.0 or now.rate is not None
    finish(pace, clock, 1.0, cells=3)
    assert (pace.progress().done, pace.progress().left) == (total, 0.0)


def test_rounds_of_long_cells_count_before_any_is_finished() -> None:
    """Two stacks of 8 cells that take 400 s: after a minute it is known how long they take."""
    clock, done = Clock(), 0.0
    pace = Pace(160, clock)
    pace.advance(Advance(lacking=160, jobs=2, under_way=lambda: done))
    clock.now += 3.0  # processes start
    assert pace.progress().left is None
    for _ in range(60):
        clock.now += 1.0
        done += 16 / 400
        now = pace.progress()
    assert now.rate == pytest.approx(16 / 400)
    assert now.left == pytest.approx((160 - done) * 400 / 16)
    assert str(now) == "0/160, 2.4 more under way, 2.4 cells/min, 1 h 5 min left"
    clock.now += 340.0
    done = 8.0
    pace.advance(Advance(computed=8))
    now = pace.progress()
    assert now.left == pytest.approx((152 - done) / (16 / 400), rel=1e-6)


def test_a_process_that_has_not_started_is_not_counted() -> None:
    """Of two stacks one is done after 2 s, the other's process still starts: 8 s for its cells."""
    clock, done = Clock(), 0.0
    pace = Pace(40, clock)
    pace.advance(Advance(lacking=40, jobs=2, under_way=lambda: done))
    while done < 8.0:
        clock.now += 0.5
        done += 2.0
        pace.progress()
    done = 0.0
    assert pace.progress().left == pytest.approx(32 / 4)  # it does not shrink for a moment
    pace.advance(Advance(computed=8))
    assert pace.progress().left == pytest.approx(32 / 4)


def test_rounds_that_come_to_a_standstill_slow_down() -> None:
    clock, done = Clock(), 0.0
    pace = Pace(40, clock)
    pace.advance(Advance(lacking=40, jobs=1, under_way=lambda: done))
    while done < 4.0:
        clock.now += 1.0
        done += 1.0
        now = pace.progress()
    assert now.rate == pytest.approx(1.0)
    for _ in range(3):
        clock.now += 100.0
        now = pace.progress()
    assert now.rate == pytest.approx(1 / 301)
    assert now.left == pytest.approx(36 * 301)


def test_lines_go_on_while_rounds_are_played(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every few seconds, though no cell is finished; nothing new says nothing."""
    monkeypatch.setattr("hgobench.report.progress.SECONDS_BETWEEN_LINES", 0.02)
    out, done = io.StringIO(), 0.0
    with progress(8, out=out) as advance:
        advance(Advance(jobs=1, under_way=lambda: done))
        for done in (0.5, 1.5):
            begun = time.monotonic()
            while f"{done} more under way" not in out.getvalue():
                assert time.monotonic() - begun < 30
                time.sleep(0.01)
        time.sleep(0.1)
    assert [line.partition(" more")[0] for line in out.getvalue().splitlines()] == [
        "cells 0/8", "cells 0/8", "cells 0/8, 0.5", "cells 0/8, 1.5",
    ]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_come_at_once_then_every_five_seconds_then_at_the_end() -> None:
    out, clock = io.StringIO(), Clock()
    with progress(40, out=out, clock=clock) as advance:
        assert out.getvalue() == "cells 0/40\n"
        advance(Advance(reused=8))
        advance(Advance(jobs=2))
        for _ in range(4):
            clock.now += 3.0
            advance(Advance(computed=8))
    assert out.getvalue().splitlines() == [
        "cells 0/40",
        "cells 8/40 (8 found)",
        "cells 24/40 (8 found), 2.7 cells/s, 6 s left",
        "cells 40/40 (8 found)",
    ]


def test_a_bar_is_there_at_once() -> None:
    out = Terminal()
    with progress(90, what="measurements", out=out) as advance:
        assert "measurements" in out.getvalue()
        assert "0/90" in out.getvalue()
        advance(Advance(computed=90))
    assert "90/90" in out.getvalue()


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
@pytest.mark.parametrize("quiet", [False, True])
def test_a_function_of_one_s_own_is_told(kind: type[io.StringIO], quiet: bool) -> None:
    out = kind()
    told: list[Progress] = []
    with progress(9, quiet=quiet, out=out, on_progress=told.append) as advance:
        for step in itertools.repeat(Advance(computed=3), 3):
            advance(step)
    assert [now.done for now in told] == [3, 6, 9]
    assert (out.getvalue() == "") == quiet


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.2, "1 s"),
        (59.9, "1 min 0 s"),
        (3599.5, "1 h 0 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_grid_tells_of_its_rounds() -> None:
    """In this process: after each round, what is done of a stack; 0 when it is over."""
    seen: list[float] = []
    simulate([Scenario(workers=6, rounds=4)] * 2, on_round=seen.append)
    assert seen == [0.5, 1.0, 1.5, 2.0]
    engine = Inline()

    def call(done: float) -> float:
        tell(done)
        return engine.under_way()

    assert list(engine.map(call, [0.75])) == [(0.75, 0.75)]
    assert engine.under_way() == 0.0


def staged(watch: Watch, clock: Clock) -> None:
    """Three stages: 40 cells that are all there, 20 of which 10 lack, and 5 that all lack."""
    watch.stage("fault attacks", 1, 90)
    watch(Advance(reused=40))
    watch.stage("fixed attacks", 2, 80)
    watch(Advance(reused=10, lacking=10))
    watch(Advance(jobs=2))
    for _ in range(2):
        clock.now += 6.0
        watch(Advance(computed=5, failed=1))
    watch.stage("report", 3, 65)
    watch(Advance(lacking=5))
    watch(Advance(jobs=2))
    clock.now += 6.0
    watch(Advance(computed=5))


def test_a_stage_that_is_all_there_says_one_line_and_others_which_of_how_many() -> None:
    out, clock = io.StringIO(), Clock()
    with progress(0, stages=3, out=out, clock=clock) as watch:
        staged(watch, clock)
    assert out.getvalue().splitlines() == [
        "stage 1 of 3, fault attacks: 40 cells, all found",
        "stage 2 of 3, fixed attacks: cells 50 of about 80 (50 found)",
        "stage 2 of 3, fixed attacks: cells 55 of about 80 (50 found), 1 failed, 1.7 cells/s, about "
        "9 s left",
        "stage 2 of 3, fixed attacks: cells 60 of about 80 (50 found), 2 failed, 50.0 cells/min, about "
        "12 s left",
        "stage 3 of 3, report: cells 60 of about 65 (50 found), 2 failed",
        "stage 3 of 3, report: cells 65/65 (50 found), 2 failed",
    ]


def test_a_bar_says_the_stage_and_nothing_is_left_of_those_before() -> None:
    out, clock = Terminal(), Clock()
    with progress(0, stages=3, out=out, clock=clock) as watch:
        staged(watch, clock)
    assert "stage 3 of 3, report" in out.getvalue()
    assert "65/65 (50 found), 2 failed" in out.getvalue()
    assert "all found" not in out.getvalue()


def test_each_change_is_an_object() -> None:
    out, clock = io.StringIO(), Clock()
    with progress(0, stages=3, rounds=4, form="json", out=out, clock=clock) as watch:
        staged(watch, clock)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    keys = {"event", "what", "stage", "total", "done", "computed", "reused", "failed", "under_way",
            "rounds", "seconds", "rate", "left"}  # fmt: skip
    assert {frozenset(line) for line in lines} == {frozenset(keys)}
    told = [
        (line["stage"]["number"], line["done"], line["total"], line["failed"]) for line in lines
    ]
    assert told == [
        (1, 0, 90, 0), (1, 40, 90, 0), (2, 40, 80, 0), (2, 50, 80, 0), (2, 50, 80, 0),
        (2, 55, 80, 1), (2, 60, 80, 2), (3, 60, 65, 2), (3, 60, 65, 2), (3, 60, 65, 2),
        (3, 65, 65, 2),
    ]  # fmt: skip
    assert lines[-1]["stage"] == {"name": "report", "number": 3, "of": 3}
    assert lines[-1]["rounds"] == {"done": 260, "of": 260}
    assert lines[-1]["left"] == 0.0


def test_what_is_found_in_earlier_stages_does_not_shorten_the_estimate() -> None:
    """900 cells of earlier stages were there; of this stage all lack, and so will later ones."""
    pace, clock = paced(0)
    pace.stage("first", 1, 1000)
    pace.advance(Advance(reused=900))
    pace.stage("second", 2, 1000)
    pace.advance(Advance(lacking=20))
    for _ in range(3):
        now = finish(pace, clock, 2.0, cells=1)
    assert now.left == pytest.approx(2.0 * (100 - 3))


def test_text_that_is_printed_becomes_an_object_per_line() -> None:
    out = io.StringIO()
    stream = Objects(out)
    print("one\ntwo", file=stream)
    print("\n\nthree", end="", file=stream)
    stream.emit({"event": "x"})
    stream.end()
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"event": "message", "text": "one"},
        {"event": "message", "text": "two"},
        {"event": "x"},
        {"event": "message", "text": "three"},
    ]


SLOW = """
ruleset = "slow-1"
[scenario]
workers = 12
f = 2
rounds = 4000
evaluation_interval = 4000
attack = "foe"
[grid]
rule = ["median", "average"]
"""


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "slow.toml").write_text(SLOW)
    command = [sys.executable, "-m", "hgobench", "run", "slow.toml", "--progress", "json"]
    return subprocess.Popen(
        [*command, *arguments], cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.long
def test_a_run_tells_programs_of_every_change_and_how_it_ended(tmp_path: Path) -> None:
    run = started(tmp_path, "--set", "rounds=4", "--jobs", "1", "--out", "out")
    board, error = run.communicate(timeout=120)
    lines = objects(error)
    assert run.returncode == 0
    assert "hgo median" in board
    assert lines[0]["event"] == "progress"
    assert lines[0]["rounds"] == {"done": 0, "of": 8}
    done = [line["done"] for line in lines if line["event"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == 2
    ended = lines[-1]
    assert ended.pop("seconds") > 0
    assert ended == {
        "event": "end", "status": "done", "exit": 0, "problems": [],
        "folder": str(tmp_path / "out"), "computed": 2, "reused": 0, "failed": 0, "missing": 0,
        "unit": "cells",
    }  # fmt: skip
    refused = started(tmp_path, "--set", "rounds=0")
    _, error = refused.communicate(timeout=120)
    assert refused.returncode == 2
    assert objects(error)[-1] == {
        "event": "end", "status": "refused", "exit": 2,
        "problems": ["rounds: 0; expected an integer >= 1"],
    }  # fmt: skip
    both = started(tmp_path, "--quiet")
    _, error = both.communicate(timeout=120)
    assert objects(error)[-1]["problems"] == ["--progress: json, and --quiet; expected one of them"]


@pytest.mark.long
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_interrupted_says_so_in_its_last_object(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    run = started(tmp_path, "--jobs", "2", "--out", "out")
    assert run.stderr is not None
    for line in run.stderr:
        now = json.loads(line)
        if now["event"] == "progress" and now["under_way"] > 0:
            break
    run.send_signal(sent)
    _, error = run.communicate(timeout=120)
    ended = objects(error)[-1]
    assert run.returncode == code
    assert (ended["event"], ended["status"], ended["exit"]) == ("end", "interrupted", code)
    assert (ended["computed"], ended["missing"]) == (0, 2)


def test_programs_are_told_how_a_run_ended_whatever_it_printed(tmp_path: Path) -> None:
    (tmp_path / "slow.toml").write_text(SLOW)
    command = ("run", "slow.toml", "--set", "rounds=2", "--jobs", "1", "--progress", "json")
    lines = objects(hgobench(*command, cwd=tmp_path).stderr)
    assert lines[0]["event"] == "progress"
    assert lines[-2]["event"] == "message"
    assert lines[-2]["text"].startswith("2 cells computed, 0 reused, in ")
    assert (lines[-1]["event"], lines[-1]["status"], lines[-1]["computed"]) == ("end", "done", 2)


def test_every_verb_that_runs_cells_tells_programs_of_it() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    options = {
        name: {option for one in verb.params for option in one.opts}
        for name, verb in group.commands.items()
    }
    computing = {name for name, some in options.items() if "--jobs" in some}
    assert {"run", "reproduce", "audit", "plan", "verify"} <= computing
    assert computing == {name for name, some in options.items() if "--progress" in some}


AUDITED = ("audit", "constants", "--set", "model=quadratic[condition=4.0]", "--set", "byzantine=0",
           "--set", "rounds=5", "--seeds", "2", "--jobs", "1")  # fmt: skip


def test_programs_are_told_of_an_audit(tmp_path: Path) -> None:
    done = hgobench(*AUDITED, "--out", "out", "--progress", "json", cwd=tmp_path)
    lines = objects(done.stderr)
    progresses = [line for line in lines if line["event"] == "progress"]
    assert {line["what"] for line in progresses} == {"measurements"}
    assert progresses[-1]["done"] == progresses[-1]["total"] > 0
    page = str(Path("out", "pages", "constants.html"))
    assert lines[-1] == {
        "event": "end", "status": "done", "exit": 0, "problems": [], "folder": "out",
        "pages": [page], "failed": 0,
    }  # fmt: skip
    assert (tmp_path / page).exists()
    assert "The constants of a problem" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((*AUDITED, "--quiet"), "--progress: json, and --quiet; expected one of them"),
        (("audit", "bonds"), "audit: unknown 'bonds'; did you mean 'bounds'"),
        (("reproduce", "fig4d"), "figure: unknown 'fig4d'; did you mean 'fig14d'"),
        (
            ("plan", "--target", "0.5", "--budget", "60s"),
            "--budget: '60s'; how long a time unit lasts",
        ),
    ],
)
def test_programs_are_told_what_was_refused(
    arguments: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    refused = hgobench(*arguments, "--progress", "json", cwd=tmp_path)
    (line,) = objects(refused.stderr)
    assert (refused.returncode, line["event"], line["status"]) == (2, "end", "refused")
    assert any(said.startswith(problem) for said in line["problems"]), line["problems"]
