"""Progress of a long computation: a bar, plain lines, or a JSON object for each change.

A computation may have stages, of which the later ones are not known exactly in advance: the total
is then an estimate, which each stage corrects.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from hgobench.engines.progress import Advance

from .objects import emit

Form = Literal["text", "json"]
WINDOW = 60.0  # seconds over which the rate is taken, or longer if little finishes in them
SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_OBJECTS = 1.0  # while rounds are played and no cell is finished
BETWEEN_SAMPLES = 0.5  # seconds


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        total: number of cells.
        computed, reused: numbers of finished cells: computed, and found in the store.
        under_way: how much of the cells under way is done, in cells: the share of their rounds.
        seconds: since the run began.
        rate: cells per second in the recent past; None: not known yet.
        left: seconds until the end at this rate; None: not known yet.
        failed: how many of the computed cells failed.
        rounds: of each cell; 0: they differ, or it is not known.
        stage: what is being computed, if there are several stages.
        number, stages: of this stage, from 1, and of all; 0: there is one.
    """

    total: int
    computed: int = 0
    reused: int = 0
    under_way: float = 0.0
    seconds: float = 0.0
    rate: float | None = None
    left: float | None = None
    failed: int = 0
    rounds: int = 0
    stage: str = ""
    number: int = 0
    stages: int = 0

    @property
    def done(self) -> int:
        """Number of finished cells."""
        return self.computed + self.reused

    @property
    def where(self) -> str:
        """Return which stage of how many it is, and what; empty: there is one.

        >>> Progress(total=90, stage="fixed attacks", number=2, stages=7).where
        'stage 2 of 7, fixed attacks'
        """
        return f"stage {self.number} of {self.stages}, {self.stage}" if self.stage else ""

    def as_data(self, what: str = "cells") -> dict[str, Any]:
        """Return it as plain data, for JSON (docs/results.md says what each key is).

        >>> Progress(total=90, computed=8, under_way=0.5, rounds=60).as_data()["rounds"]
        {'done': 510, 'of': 5400}
        """
        done = round((self.done + self.under_way) * self.rounds)
        stage = {"name": self.stage, "number": self.number, "of": self.stages}
        return {
            "event": "progress",
            "what": what,
            "stage": stage if self.stage else None,
            "total": self.total,
            "done": self.done,
            "computed": self.computed,
            "reused": self.reused,
            "failed": self.failed,
            "under_way": round(self.under_way, 4),
            "rounds": {"done": done, "of": self.total * self.rounds} if self.rounds else None,
            "seconds": round(self.seconds, 3),
            "rate": None if self.rate is None else round(self.rate, 6),
            "left": None if self.left is None else round(self.left, 1),
        }

    def __str__(self) -> str:
        """Return it in a line.

        >>> print(Progress(total=90, computed=8, reused=40, rate=2.0, left=21.0))
        48/90 (40 found), 2.0 cells/s, 21 s left
        >>> print(Progress(total=90, under_way=3.25))
        0/90, 3.2 more under way
        >>> print(Progress(total=90, computed=8, failed=1, under_way=0.5, rounds=60))
        8/90, 1 failed, 0.5 more under way (30 rounds)
        >>> print(Progress(total=900, computed=8, rate=2.0, left=446.0, stage="a", stages=3))
        8 of about 900, 2.0 cells/s, about 7 min 26 s left
        """
        about = "about " * bool(self.stage and self.done < self.total)
        phrases = [f"{self.done} of {about}{self.total}" if about else f"{self.done}/{self.total}"]
        if self.reused:
            phrases[0] += f" ({self.reused} found)"
        if self.failed:
            phrases.append(f"{self.failed} failed")
        if self.under_way >= 0.05:
            played = round(self.under_way * self.rounds)
            phrases.append(
                f"{self.under_way:.1f} more under way" + f" ({played} rounds)" * bool(self.rounds)
            )
        if self.rate is not None and self.done < self.total:
            phrases.append(_rate(self.rate))
        if self.left is not None and self.done < self.total:
            phrases.append(f"{about}{duration(self.left)} left")
        return ", ".join(phrases)


def _rate(rate: float) -> str:
    """Write a rate, per minute if it is small.

    >>> _rate(12.345), _rate(0.05)
    ('12.3 cells/s', '3.0 cells/min')
    """
    return f"{rate:.1f} cells/s" if rate >= 0.95 else f"{60 * rate:.1f} cells/min"


def duration(seconds: float) -> str:
    """Write a duration with its two largest units.

    >>> duration(41.2), duration(125), duration(7_260)
    ('42 s', '2 min 5 s', '2 h 1 min')
    """
    rounded = math.ceil(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"


class _Arrivals:
    """The rate of finished cohorts, if the progress of those under way is unknown.

    With J processes cohorts finish in bursts, so the rate is taken over a multiple of J arrivals,
    as many as the last minute holds: the cells of the last m·J arrivals over the time since the
    arrival before them, which is as long as any of them took. As long as there are no more than J
    arrivals, all processes are assumed to be as fast as those that have finished a cohort. If no
    more cohorts arrive, the rate falls.

    Args:
        jobs: J.
        begun: the time at which computing began.
    """

    def __init__(self, jobs: int, begun: float) -> None:
        self.jobs, self.begun = jobs, begun
        self.times: list[tuple[float, int]] = []

    def add(self, now: float, cells: int) -> None:
        """Add an arrival; drop old ones, J at a time, but never the last J + 1."""
        self.times.append((now, cells))
        while len(self.times) > 2 * self.jobs and self.times[self.jobs][0] < now - WINDOW:
            del self.times[: self.jobs]

    def rate(self, now: float) -> float | None:
        """Return cells per second; None: not known yet."""
        times, jobs = self.times, self.jobs
        if not times:
            return None
        count = (len(times) - 1) // jobs * jobs
        if not count:
            cells = jobs * sum(cells for _, cells in times) / len(times)
            return cells / max(times[-1][0] - self.begun, now - times[-1][0], 1e-9)
        cells = sum(cells for _, cells in times[-count:])
        # If the next arrived now, the window would begin an arrival later.
        return cells / max(times[-1][0] - times[-count - 1][0], now - times[-count][0], 1e-9)


class _Samples:
    """The rate at which the amount done grows, including rounds of cells under way."""

    def __init__(self) -> None:
        self.done = 0.0
        self.samples: list[tuple[float, float]] = []  # (time, amount done), the oldest first

    def add(self, now: float, done: float) -> None:
        """Add a sample; never less, as cells that have just ended are not counted for a moment."""
        self.done = max(self.done, done)
        last, previous = self.samples[-1] if self.samples else (-math.inf, 0.0)
        if self.done > previous and now - last >= BETWEEN_SAMPLES:
            self.samples.append((now, self.done))
        while len(self.samples) > 2 and self.samples[1][0] < now - WINDOW:
            del self.samples[0]

    def rate(self, now: float) -> float | None:
        """Return cells per second; None: not known yet."""
        if not self.samples or now - self.samples[0][0] < 2 * BETWEEN_SAMPLES:
            return None
        since, previous = self.samples[0]
        return (self.done - previous) / (now - since) or None


class Pace:
    """Estimates the time left from the cells computed in the last minute.

    The rate includes neither cells found in the store nor the time before the first progress. Cells
    that were not looked up yet are assumed to be missing as often as those that were.

    Args:
        total: number of cells.
        clock: returns seconds, monotonically.
        rounds: of each cell; 0: not known.
        stages: how many there are; 0: one.
    """

    def __init__(
        self,
        total: int,
        clock: Callable[[], float] = time.monotonic,
        rounds: int = 0,
        stages: int = 0,
    ) -> None:
        self.total, self.clock = total, clock
        self._rounds, self._stages = rounds, stages
        self._stage, self._number = "", 0
        self._begun = clock()
        self._computed = self._found = self._lacking = self._failed = 0
        self._here = [0, 0]  # found and lacking of this stage
        self._arrivals = _Arrivals(1, self._begun)
        self._samples = _Samples()
        self._under_way: Callable[[], float] | None = None
        self._lock = threading.Lock()

    def advance(self, step: Advance) -> None:
        """Add a step of progress."""
        with self._lock:
            now = self.clock()
            self._found += step.reused
            self._lacking += step.lacking
            self._computed += step.computed
            self._failed += step.failed
            self._here[0] += step.reused
            self._here[1] += step.lacking
            if step.computed:
                self._arrivals.add(now, step.computed)
            if step.jobs:
                self._arrivals = _Arrivals(step.jobs, now)
                self._under_way = step.under_way

    def stage(self, name: str, number: int, total: int) -> None:
        """Begin a stage.

        Args:
            name: what is computed in it.
            number: of the stage, from 1.
            total: how many cells all stages have, as far as is known now.
        """
        with self._lock:
            self._stage, self._number = name, number
            self.total = max(total, self._computed + self._found)
            self._here = [0, 0]

    def progress(self) -> Progress:
        """Return the progress; any thread may call it."""
        with self._lock:
            now, under_way, left = self.clock(), 0.0, None
            remaining = self._remaining()
            if self._under_way is None:
                rate = self._arrivals.rate(now)
                if rate is not None:
                    left = max(remaining / rate - (now - self._arrivals.times[-1][0]), 0.0)
            else:
                under_way = self._under_way()
                self._samples.add(now, self._computed + under_way)
                rate = self._samples.rate(now)
                if rate is not None:
                    left = max(remaining - (self._samples.done - self._computed), 0.0) / rate
            if self._computed + self._found == self.total:
                left = 0.0
            seconds = now - self._begun
            return Progress(
                self.total, self._computed, self._found, under_way, seconds, rate, left,
                self._failed, self._rounds, self._stage, self._number, self._stages,
            )  # fmt: skip

    def _remaining(self) -> float:
        """Return the estimated number of cells left to compute."""
        looked_for = self._found + self._lacking
        if not self._lacking:
            return self.total - self._computed - self._found
        found, lacking = self._here if self._here[1] else (self._found, self._lacking)
        unknown = max(self.total - looked_for, 0) * lacking / (found + lacking)
        return self._lacking - self._computed + unknown


class _Display:
    """What shows progress: a context, which is told of each step and of each stage."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def step(self, step: Advance) -> None:
        """Show a step."""

    def stage(self) -> None:
        """Show that the stage is over; the next has not begun."""

    def begin(self) -> None:
        """Show that a stage has begun."""


class _Bar(_Display):
    """A bar on a terminal, drawn several times a second whether anything finishes or not."""

    def __init__(self, pace: Pace, what: str, out: TextIO) -> None:
        self.pace, self.what = pace, what
        self._longest = 0.0  # cells that have just ended are not counted for a moment
        console = Console(file=getattr(out, "raw", out))
        self._live = Live(self, console=console, refresh_per_second=4)

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *_: Any) -> None:
        self._live.__exit__(*_)

    def __rich__(self) -> Table:
        now = self.pace.progress()
        line = Table.grid(padding=(0, 1))
        self._longest = max(self._longest, now.done + now.under_way)
        bar = ProgressBar(total=now.total, completed=self._longest, width=30)
        line.add_row(now.where or self.what, bar, str(now))
        return line


class _Repeated(_Display):
    """Something that is said at once, and every few seconds while it changes.

    Args:
        pace: the progress.
        every: seconds.
    """

    def __init__(self, pace: Pace, every: float) -> None:
        self.pace, self.every = pace, every
        self._said, self._last = -math.inf, ""
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._over.wait(self.every):
            self.say()

    def say(self, at_once: bool = False) -> None:
        """Say the progress if it has changed, and not too soon after the last time."""
        with self._lock:
            now = self.pace.clock()
            if not at_once and now - self._said < self.every:
                return
            progress = self.pace.progress()
            state = f"{progress.done} {progress.under_way:.1f}"
            if at_once or state != self._last:
                self._said, self._last = now, state
                self.write(progress)

    def write(self, progress: Progress) -> None:
        """Write the progress."""
        raise NotImplementedError


class _Lines(_Repeated):
    """Plain lines, one every few seconds while something changes.

    Of a stage that finds all its cells, one line when it is over.
    """

    def __init__(self, pace: Pace, what: str, out: TextIO) -> None:
        super().__init__(pace, SECONDS_BETWEEN_LINES)
        self.what, self.out = what, out
        self._staged = bool(pace.progress().stages)
        self._before = Progress(0)  # when the stage began
        self._lacking = self._computing = False

    def __enter__(self) -> None:
        if not self._staged:
            self.say(at_once=True)
        super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__(*_)
        if self._staged:
            self.stage()

    def say(self, at_once: bool = False) -> None:
        """Say the progress; of a stage only if it computes."""
        if self._computing or not self._staged:
            super().say(at_once)

    def step(self, step: Advance) -> None:
        now = self.pace.progress()
        done = now.done == now.total
        self._lacking = self._lacking or bool(step.lacking)
        begins = step.jobs and self._lacking
        self._computing = self._computing or bool(begins or step.computed)
        ends = done and (step.reused or step.computed)
        self.say(at_once=bool(ends or (step.jobs and not done)))

    def stage(self) -> None:
        now = self.pace.progress()
        found = now.reused - self._before.reused
        if now.stage and found and not self._computing:
            print(f"{now.where}: {found} {self.what}, all found", file=self.out, flush=True)
        self._before, self._lacking, self._computing = now, False, False

    def write(self, progress: Progress) -> None:
        where = f"{progress.where}: " * bool(progress.where)
        print(f"{where}{self.what} {progress}", file=self.out, flush=True)


class _Objects(_Repeated):
    """A JSON object for every change."""

    def __init__(self, pace: Pace, what: str, out: TextIO) -> None:
        super().__init__(pace, SECONDS_BETWEEN_OBJECTS)
        self.what, self.out = what, out

    def __enter__(self) -> None:
        if not self.pace.progress().stages:
            self.say(at_once=True)
        super().__enter__()

    def step(self, step: Advance) -> None:
        self.say(at_once=True)

    def begin(self) -> None:
        self.say(at_once=True)

    def write(self, progress: Progress) -> None:
        emit(self.out, progress.as_data(self.what))


class Watch:
    """A progress that is watched; it is called with every `Advance`.

    Args:
        pace: the progress.
        display: what shows it.
        on_progress: called with the progress after every step; None: nobody is.
    """

    def __init__(
        self,
        pace: Pace,
        display: _Display,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.pace, self.display, self.on_progress = pace, display, on_progress

    def __call__(self, step: Advance) -> None:
        """Take a step."""
        self.pace.advance(step)
        if self.on_progress is not None:
            self.on_progress(self.pace.progress())
        self.display.step(step)

    def stage(self, name: str, number: int, total: int) -> None:
        """Begin a stage; see `Pace.stage`."""
        if name != self.pace.progress().stage:
            self.display.stage()
        self.pace.stage(name, number, total)
        self.display.begin()

    def aside(self, total: int) -> Watch:
        """Return what takes the steps of something else that a stage needs, with its own counts.

        What is shown is that of this one, which says that something is computed.

        Args:
            total: number of what is computed.
        """
        return Watch(Pace(total, self.pace.clock), _Aside(self), self.on_progress)


class _Aside(_Display):
    """What shows that a stage computes something else than cells."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def step(self, step: Advance) -> None:
        if step.lacking or step.computed:
            self.watch.display.step(Advance(lacking=1, jobs=int(step.lacking > 0)))


@contextmanager
def progress(
    total: int,
    *,
    what: str = "cells",
    rounds: int = 0,
    stages: int = 0,
    quiet: bool = False,
    form: Form = "text",
    on_progress: Callable[[Progress], None] | None = None,
    out: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Watch]:
    """Show how many of `total` cells are done, the rate, and the time left.

    On a terminal as a bar; elsewhere as a line at the start, one when computing begins, one every
    few seconds in which something changes, and one at the end. Of a stage whose cells are all
    found: one line.

    Args:
        total: number of cells.
        what: the word for them.
        rounds: of each cell; 0: they differ, or it is not known.
        stages: how many there are (`Watch.stage`); 0: one.
        quiet: whether to show nothing.
        form: ``"json"``: an object in a line for each change.
        on_progress: called with the progress after every `Advance`.
        out: the stream; None: standard error.
        clock: returns seconds, monotonically.

    Yields:
        A function to call with every `Advance`.
    """
    out = sys.stderr if out is None else out
    pace = Pace(total, clock, rounds, stages)
    display = _Display()
    if not quiet and (total or stages):
        shown = _Objects if form == "json" else _Bar if out.isatty() else _Lines
        display = shown(pace, what, out)
    with display:
        yield Watch(pace, display, on_progress)
