"""Calls timed in turn, in one process, so that a slow moment of the machine hits all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

MOST = 31  # timings of a call


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Compute on so many threads in the body."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads), torch.no_grad():
            yield
    finally:
        torch.set_num_threads(before)


def timed(
    calls: Mapping[str, Callable[[], object]],
    *,
    threads: int,
    seconds: float,
    least: int = 3,
    shortest: float = 0.0,
) -> dict[str, list[float]]:
    """Time calls in turn: CPU time of one thread, wall time of more.

    Args:
        calls: by name.
        threads: that they may use.
        seconds: spent on each, unless the least number of timings takes more.
        least: timings of each.
        shortest: seconds that one timing lasts; a call that is quicker is repeated within it.

    Returns:
        Seconds per call, of each timing.
    """
    clock = time.process_time if threads == 1 else time.perf_counter

    def once(who: str, repeats: int) -> float:
        started = clock()
        for _ in range(repeats):
            calls[who]()
        return (clock() - started) / repeats

    taken: dict[str, list[float]] = {who: [] for who in calls}
    with limited(threads):
        repeats = {}
        for who, call in calls.items():
            call()
            quick = once(who, 1) if shortest else shortest
            repeats[who] = max(1, round(shortest / max(quick, 1e-6)))
        while open_ := [
            who
            for who, t in taken.items()
            if len(t) < least or (sum(t) * repeats[who] < seconds and len(t) < MOST)
        ]:
            for who in open_:
                calls[who]()  # so that none finds its caches full of another's numbers
                taken[who].append(once(who, repeats[who]))
    return taken
