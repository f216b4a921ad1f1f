"""Cells in this process, or in local processes, one thread each."""

from __future__ import annotations

import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from hgobench.errors import InputError
from hgobench.results import Result, Store
from hgobench.results.store import result_key
from hgobench.scenario import Scenario
from hgobench.simulation import device_name, simulate, usable
from hgobench.suite import cohorts
from hgobench.world import World

T = TypeVar("T")


@dataclass
class Outcome:
    """How the execution of a grid went.

    Attributes:
        keys: the addresses of all its cells.
        computed, reused: how many cells were computed now, and found in the store.
        failed: those that failed, with the reason.
        interrupted: whether Ctrl-C or a dead process ended it early.
    """

    keys: set[str]
    computed: int = 0
    reused: int = 0
    failed: list[Result] = field(default_factory=list)
    interrupted: str = ""


def execute(
    scenarios: Sequence[Scenario],
    store: Store,
    ruleset: str,
    *,
    width: int = 8,
    time_limit: float = 60.0,
    jobs: int = 1,
    device: str = "cpu",
    on_progress: Callable[[int], None] = lambda finished: None,
) -> Outcome:
    """Compute what the store does not have yet; keep each cell as soon as it is finished.

    Args:
        scenarios: the grid.
        store: where results are looked up and kept.
        ruleset: the name under which they compare.
        width: cells per cohort.
        time_limit: seconds that a cell's rule and attack may take.
        jobs: local processes.
        device: where tensors are, as torch names it.
        on_progress: called with the number of cells that were just finished or found.

    Raises:
        InputError: some world can't be made, or there is no such device; nothing is computed then.
    """
    usable(device)
    name = device_name(device)
    # An address is worked out once: running a plug-in may import more of it.
    key_of = {scenario: result_key(scenario, ruleset, width, name) for scenario in scenarios}
    outcome = Outcome(set(key_of.values()))
    known = store.keys(outcome.keys)
    outcome.reused = len(known)
    if known:
        on_progress(len(known))
    missing = [scenario for scenario, key in key_of.items() if key not in known]
    batches = cohorts(missing, width)
    # Every world is made once here: what can't be made is refused before anything is computed.
    problems: list[str] = []
    for first in {batch[0].world_key: batch[0] for batch in batches}.values():
        try:
            World.of(first, device)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(dict.fromkeys(problems))
    results = _compute(batches, width, time_limit, jobs, device)
    try:
        for finished in results:
            for result in finished:
                store.add(result, ruleset, key=key_of[result.scenario])
                outcome.computed += 1
                if result.status == "failed":
                    outcome.failed.append(result)
            on_progress(len(finished))
    except KeyboardInterrupt:
        outcome.interrupted = "interrupted"
    except sqlite3.OperationalError as error:
        outcome.interrupted = f"the store can't be written: {error}"
    except TerminatedWorkerError:
        outcome.interrupted = "a worker process died (out of memory, or a crash in a plug-in)"
    finally:
        results.close()
    return outcome


def _compute(
    batches: Sequence[Sequence[Scenario]], width: int, time_limit: float, jobs: int, device: str
) -> Generator[list[Result]]:
    return spread(
        [
            partial(simulate, batch, width=width, time_limit=time_limit, device=device)
            for batch in batches
        ],
        jobs,
    )


def spread(calls: Sequence[Callable[[], T]], jobs: int) -> Generator[T]:
    """Yield what some calls return, in the order in which they end.

    Args:
        calls: what can be pickled: partial functions of a module.
        jobs: local processes, one thread each; 1: this one.
    """
    if jobs == 1 or len(calls) <= 1:
        for call in calls:
            yield call()
        return
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
        with _interrupts_ignored():
            results = parallel(joblib.delayed(_call)(call, sys.path) for call in calls)
        yield from results


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Let the processes that start in the body ignore Ctrl-C: ending them is the parent's part."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _call(call: Callable[[], T], path: Sequence[str]) -> T:
    """Run in a worker process; plug-ins are imported from where the parent finds them."""
    sys.path[:] = path
    return call()
