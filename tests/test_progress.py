"""Progress: what is shown at once, and estimates that a clock of ours holds to."""

from __future__ import annotations

import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgobench.engines.progress import Advance
from hgobench.report.progress import Pace, Progress, duration, progress


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
    pace.advance(Advance(found=2370))
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
    pace.advance(Advance(found=900, lacking=100))
    for _ in range(3):
        now = finish(pace, clock, 2.0, cells=1)
    assert now.left == pytest.approx(2.0 * (1000 - 3))
    pace.advance(Advance(found=9000))
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
        pace.advance(Advance(found=cells) if found else Advance(computed=cells))
        now = pace.progress()
        assert now.done <= total
        assert (now.rate is None) == (now.computed == 0)
        assert now.left is None or now.left >= 0.0
        assert now.left is None or now.left > 0.0 or now.rate is not None
    finish(pace, clock, 1.0, cells=3)
    assert (pace.progress().done, pace.progress().left) == (total, 0.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_come_at_once_then_every_five_seconds_then_at_the_end() -> None:
    out, clock = io.StringIO(), Clock()
    with progress(40, out=out, clock=clock) as advance:
        assert out.getvalue() == "cells 0/40\n"
        advance(Advance(found=8))
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
