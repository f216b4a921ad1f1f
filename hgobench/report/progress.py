"""Progress of a long computation: the time left, shown as a bar or as plain lines."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from hgobench.engines.progress import Advance

WINDOW = 60.0  # seconds over which the rate is taken, or longer if little finishes in them
SECONDS_BETWEEN_LINES = 5.0
BETWEEN_SAMPLES = 0.5  # seconds


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        total: number of cells.
        computed, found: numbers of finished cells: computed, and found in the store.
        under_way: how much of the cells under way is done, in cells: the share of their rounds.
        seconds: since the run began.
        rate: cells per second in the recent past; None: not known yet.
        left: seconds until the end at this rate; None: not known yet.
    """

    total: int
    computed: int = 0
    found: int = 0
    under_way: float = 0.0
    seconds: float = 0.0
    rate: float | None = None
    left: float | None = None

    @property
    def done(self) -> int:
        """Number of finished cells."""
        return self.computed + self.found

    def __str__(self) -> str:
        """Return it in a line.

        >>> print(Progress(total=90, computed=8, found=40, rate=2.0, left=21.0))
        48/90 (40 found), 2.0 cells/s, 21 s left
        >>> print(Progress(total=90, under_way=3.25))
        0/90, 3.2 more under way
        """
        phrases = [f"{self.done}/{self.total}"]
        if self.found:
            phrases[0] += f" ({self.found} found)"
        if self.under_way >= 0.05:
            phrases.append(f"{self.under_way:.1f} more under way")
        if self.rate is not None and self.done < self.total:
            phrases.append(_rate(self.rate))
        if self.left is not None and self.done < self.total:
            phrases.append(f"{duration(self.left)} left")
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
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.clock = total, clock
        self._begun = clock()
        self._computed = self._found = self._lacking = 0
        self._arrivals = _Arrivals(1, self._begun)
        self._samples = _Samples()
        self._under_way: Callable[[], float] | None = None
        self._lock = threading.Lock()

    def advance(self, step: Advance) -> None:
        """Add a step of progress."""
        with self._lock:
            now = self.clock()
            self._found += step.found
            self._lacking += step.lacking
            self._computed += step.computed
            if step.computed:
                self._arrivals.add(now, step.computed)
            if step.jobs:
                self._arrivals = _Arrivals(step.jobs, now)
                self._under_way = step.under_way

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
            return Progress(self.total, self._computed, self._found, under_way, seconds, rate, left)

    def _remaining(self) -> float:
        """Return the estimated number of cells left to compute."""
        looked_for = self._found + self._lacking
        if not self._lacking:
            return self.total - self._computed - self._found
        unknown = (self.total - looked_for) * self._lacking / looked_for
        return self._lacking - self._computed + unknown


class _Bar:
    """A bar on a terminal, drawn several times a second whether anything finishes or not."""

    def __init__(self, pace: Pace, what: str) -> None:
        self.pace, self.what = pace, what
        self._longest = 0.0  # cells that have just ended are not counted for a moment

    def __rich__(self) -> Table:
        now = self.pace.progress()
        line = Table.grid(padding=(0, 1))
        self._longest = max(self._longest, now.done + now.under_way)
        bar = ProgressBar(total=now.total, completed=self._longest, width=30)
        line.add_row(self.what, bar, str(now))
        return line


class _Lines:
    """Plain lines, one every few seconds while something changes."""

    def __init__(self, pace: Pace, what: str, out: TextIO) -> None:
        self.pace, self.what, self.out = pace, what, out
        self._printed, self._last = -math.inf, ""
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> None:
        self.say(at_once=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN_LINES):
            self.say()

    def say(self, at_once: bool = False) -> None:
        """Print the progress if it has changed, and not too soon after the last line."""
        with self._lock:
            now = self.pace.clock()
            if not at_once and now - self._printed < SECONDS_BETWEEN_LINES:
                return
            progress = self.pace.progress()
            state = f"{progress.done} {progress.under_way:.1f}"
            if at_once or state != self._last:
                self._printed, self._last = now, state
                print(f"{self.what} {progress}", file=self.out, flush=True)


@contextmanager
def progress(
    total: int,
    *,
    what: str = "cells",
    quiet: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    out: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[Advance], None]]:
    """Show how many of `total` cells are done, the rate, and the time left.

    On a terminal as a bar; elsewhere as a line at the start, one when computing begins, one every
    few seconds in which something changes, and one at the end.

    Args:
        total: number of cells.
        what: the word for them.
        quiet: whether to show nothing.
        on_progress: called with the progress after every `Advance`.
        out: the stream; None: standard error.
        clock: returns seconds, monotonically.

    Yields:
        A function to call with every `Advance`.
    """
    out = sys.stderr if out is None else out
    pace = Pace(total, clock)

    def take(step: Advance) -> None:
        pace.advance(step)
        if on_progress is not None:
            on_progress(pace.progress())

    if quiet or total == 0:
        yield take
    elif out.isatty():
        console = Console(file=getattr(out, "raw", out))
        with Live(_Bar(pace, what), console=console, refresh_per_second=4):
            yield take
    else:
        lines = _Lines(pace, what, out)

        def advance(step: Advance) -> None:
            take(step)
            now = pace.progress()
            done = now.done == total
            ends = done and (step.found or step.computed)
            lines.say(at_once=bool(ends or (step.jobs and not done)))

        with lines:
            yield advance
