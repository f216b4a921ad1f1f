"""Calls in local processes, one thread each."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import BrokenProcessPool

T = TypeVar("T")
# Of the libraries that a process may load, each to one thread.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMBA_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)
IDLE = 300  # seconds after which a process without work ends


@dataclass(frozen=True)
class Died:
    """What became of a call: the process that made it died.

    Attributes:
        how: by which exit status or signal.
    """

    how: str


def spread(
    calls: Sequence[Callable[[], T]], jobs: int, *, apart: bool = False
) -> Generator[tuple[int, T | Died]]:
    """Yield what some calls return, with their numbers, in the order in which they end.

    When a process dies, whoever was under way is tried again alone; so it is known who it was.

    Args:
        calls: what can be pickled: partial functions of a module.
        jobs: local processes, one thread each; 1: this one.
        apart: whether even one job has a process of its own.
    """
    if not apart and jobs == 1:
        for number, call in enumerate(calls):
            yield number, call()
        return
    waiting, suspects = list(range(len(calls))), list[int]()
    running: dict[Future[T], int] = {}
    beside: set[int] = set()  # those that had another beside them
    broken = False
    try:
        while waiting or running or suspects:
            if not running:
                broken = False
            if not running and not waiting:
                waiting.append(suspects.pop(0))
                beside.clear()
            while waiting and len(running) < jobs and not broken:
                number = waiting.pop(0)
                running[_submitted(calls[number], jobs)] = number
                beside |= set(running.values()) if len(running) > 1 else set()
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                number = running.pop(future)
                try:
                    found: T | Died = future.result()
                except BrokenProcessPool as error:
                    broken = True
                    if number in beside:
                        suspects.append(number)
                        continue
                    found = Died(_how(error))
                yield number, found
    finally:
        if running:
            _executor(jobs).shutdown(kill_workers=True)


def _executor(jobs: int) -> Any:
    """Return the local processes, those of the last call if they are as many."""
    return get_reusable_executor(jobs, timeout=IDLE, env=ONE_THREAD)


def _submitted(call: Callable[[], T], jobs: int) -> Future[T]:
    """Let a process make the call; those that died are replaced."""
    with _interrupts_ignored():
        for _ in range(2):
            executor = _executor(jobs)
            try:
                future: Future[T] = executor.submit(_call, call, sys.path)
            except BrokenProcessPool:  # of which nobody had been told yet
                continue
            return future
    raise RuntimeError("local processes die as soon as they start")


def _how(error: BaseException) -> str:
    """Say how a process died: ``exit status 9``, ``signal SIGSEGV``."""
    found = re.search(r"(\w+)\((-?\d+)\)", str(error))
    if found is None:
        return "it is not known how"
    name, number = found[1], int(found[2])
    return f"signal {name}" if number < 0 else f"exit status {number}"


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
    """Run in a worker process; plug-ins are imported from where the parent finds them.

    The process may have served another folder, whose modules may have the same names.
    """
    if gone := tuple(f"{folder}{os.sep}" for folder in set(sys.path) - set(path) if folder):
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(gone):
                del sys.modules[name]
    sys.path[:] = path
    return call()
