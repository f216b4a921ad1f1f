"""What a call costs: CPU seconds on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from .determinism import one_thread

LONG_ENOUGH = 0.03  # CPU seconds of a run of many calls
REPEATS = 7

Call = Callable[[], object]


def cpu_seconds(call: Call) -> float:
    """Return the median time of a call in seconds, over several runs of many calls.

    >>> cpu_seconds(lambda: None) < 1e-3
    True
    """
    return median(cpu_times(call, REPEATS))


def cpu_times(call: Call, runs: int, clock: Callable[[], float] = time.process_time) -> list[float]:
    """Return the time of a call in seconds, one per run of many calls.

    Args:
        call: the function that is timed; it is called once before.
        runs: number of runs, each of at least `LONG_ENOUGH` seconds.
        clock: returns seconds.
    """
    with one_thread():
        call()
        count = 1
        while (duration := _timed(call, count, clock)) < LONG_ENOUGH:
            count = max(2 * count, int(1.2 * count * LONG_ENOUGH / max(duration, 1e-4)))
        return [_timed(call, count, clock) / count for _ in range(runs)]


def least_seconds(call: Call, calls: int) -> float:
    """Return the time of the fastest of a few calls, in seconds: for what takes long.

    The fastest, as the first may compile, and a busy machine slows others.
    """
    with one_thread():
        return min(_timed(call, 1, time.process_time) for _ in range(calls))


def _timed(call: Call, count: int, clock: Callable[[], float]) -> float:
    started = clock()
    for _ in range(count):
        call()
    return clock() - started
