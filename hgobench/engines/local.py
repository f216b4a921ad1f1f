"""Calls in supervised processes of this machine, one thread each.

A process computes one call at a time and is reused for the next. What a call may take is measured
from outside, so that C code is bounded too, and the process is ended that takes more.
"""

from __future__ import annotations

import atexit
import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

from hgobench import catalogue
from hgobench.boundary import told

from . import child as protocol
from .base import UNLIMITED, EngineError, Failure, Limits
from .meter import Meter
from .progress import told_to

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Arrivals: TypeAlias = "queue.SimpleQueue[tuple[Child, bytes]]"

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
LOOK = 0.1  # seconds between two looks at what a call takes
GRACE = 1.0  # CPU seconds beyond a part's limit, within which its own clock should have stopped it
COMPUTING = 0.02  # of a period's seconds; a process that computes less than that is waiting
USABLE = 0.9  # of this machine's memory
STARTS = 3  # processes in a row that may die before they begin a call
MARK = "HGOBENCH_PROCESS"  # in the environment of a process and of all that it starts
SWEEPS = 5  # while processes that are ended start others


class Here:
    """Calls in this process: for hgobench's own code, with a single job."""

    jobs, elsewhere = 1, False

    def __init__(self) -> None:
        self._done = 0.0

    def _keep(self, done: float) -> None:
        self._done = done

    def under_way(self) -> float:
        """Return how much of the call that is made is done."""
        return self._done

    def map(
        self,
        function: Callable[[Item], Answer],
        items: Iterable[Item],
        *,
        limits: Limits = UNLIMITED,
        alone: bool = False,
    ) -> Generator[tuple[Item, Answer | Failure]]:
        """Yield each item with what the function returns of it; what it raises comes out."""
        for item in items:
            told_to(self._keep)
            try:
                answer = function(item)
            finally:
                told_to(None)
                self._done = 0.0
            yield item, answer

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Place:
    """Where calls are made.

    Attributes:
        path: the import path.
        folder: the working directory.
    """

    path: tuple[str, ...]
    folder: str

    @classmethod
    def here(cls) -> Place:
        """Return where this process is."""
        folder = ""
        with suppress(OSError):
            folder = os.getcwd()
        return cls(tuple(sys.path), folder)


class Local:
    """Calls in processes of this machine (`hgobench.engines.Engine`).

    Args:
        jobs: processes at a time.
        place: where calls are made; None: where this process is.
        wanted: asked now and then; once it says no, what is under way ends, and `map` with it.
    """

    elsewhere = False

    def __init__(
        self,
        jobs: int,
        place: Place | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.jobs, self.place, self.wanted = jobs, place, wanted
        self._running: Mapping[Child, object] = {}
        self.told = 0.0  # by calls that have ended, of what they had done

    def under_way(self) -> float:
        """Return how much of the calls that are made is done."""
        done = 0.0
        for child in list(self._running):
            with suppress(ValueError):  # it has just ended
                done += child.meter.done if child.begun else 0.0
        return done

    def map(
        self,
        function: Callable[[Item], Answer],
        items: Iterable[Item],
        *,
        limits: Limits = UNLIMITED,
        alone: bool = False,
    ) -> Generator[tuple[Item, Answer | Failure]]:
        """Yield each item with what the function returns of it, in the order in which calls end."""
        code = pickle.dumps(function, pickle.HIGHEST_PROTOCOL)
        pickled = ((item, pickle.dumps(item, pickle.HIGHEST_PROTOCOL)) for item in items)
        for item, answer in self.relay(code, pickled, limits, alone):
            yield item, answered(answer) if isinstance(answer, bytes) else answer

    def relay(
        self, code: bytes, items: Iterable[tuple[Item, bytes]], limits: Limits, alone: bool = False
    ) -> Generator[tuple[Item, bytes | Failure]]:
        """Do what `map` does with pickles; an answer is what `answered` reads."""
        jobs = 1 if alone else self.jobs
        most = limits.memory or int(memory() * USABLE / jobs)
        limits = Limits(limits.cpu, limits.idle, most)
        arrivals: Arrivals = queue.SimpleQueue()
        running: dict[Child, tuple[tuple[Item, bytes], _Watch]] = {}
        self._running = running
        # again: whose process ended before it began
        waiting, again = iter(items), list[tuple[Item, bytes]]()
        unstarted, looked = 0, time.monotonic()
        try:
            while True:
                while len(running) < jobs and (taken := again[:1] or list(islice(waiting, 1))):
                    del again[:1]
                    child = _take(arrivals)
                    running[child] = taken[0], _Watch(child, limits)
                    child.ask(code, taken[0][1], self.place or Place.here())
                if not running:
                    return
                for child, frame in _arrived(arrivals):
                    if child not in running:
                        continue  # it was ended
                    item, _ = running.pop(child)
                    self.told += child.meter.done
                    if frame:
                        unstarted = 0
                        answer = child.answer(frame)
                        _give_back(child)
                        yield item[0], answer
                    elif child.begun:
                        yield item[0], Failure("died", child.ended())
                    else:
                        how = child.ended()
                        unstarted += 1
                        if unstarted == STARTS:
                            raise EngineError(f"local processes die as soon as they start ({how})")
                        again.append(item)
                if time.monotonic() - looked < LOOK:
                    continue
                looked = time.monotonic()
                for child, (item, watch) in list(running.items()):
                    if (failure := watch.look(looked)) is not None:
                        del running[child]
                        child.end()
                        yield item[0], failure
                if not self.wanted():
                    return
        finally:
            for child in running:
                child.end()

    def close(self) -> None:
        """Do nothing: processes without work end by themselves, or with this one."""


def local(jobs: int, fields: Iterable[Mapping[str, Any]]) -> Here | Local:
    """Return the engine of this machine: this process, if it has one job and no code of others.

    Args:
        jobs: processes.
        fields: of all scenarios that name what is called.
    """
    return Local(jobs) if jobs > 1 or any(map(catalogue.foreign, fields)) else Here()


class Child:
    """A process that makes calls.

    Args:
        arrivals: where its replies go.
    """

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals
        self.asked = 0
        self.sources: dict[str, tuple[int, int]] = {}
        handle, name = tempfile.mkstemp(prefix="hgobench-", suffix=".page")
        os.close(handle)
        self._page = Path(name)
        self.meter = Meter(self._page, create=True)
        self.mark = uuid4().hex
        command = [sys.executable, "-P", protocol.__file__, str(os.getpid()), name]
        alone: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            alone = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        # A group of its own: Ctrl-C is for this process, and what it started ends with it.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment(),
            **alone,
        )
        import psutil

        self.state = psutil.Process(self._process.pid)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._send(pickle.dumps(sys.path))

    def _read(self) -> None:
        assert self._process.stdout is not None
        while True:
            frame = b""
            with suppress(OSError, ValueError):
                frame = protocol.read_frame(self._process.stdout)
            self.arrivals.put((self, frame))
            if not frame:
                return

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it is dead, which its reader says
            protocol.write_frame(self._process.stdin, data)

    def ask(self, function: bytes, item: bytes, place: Place) -> None:
        """Let it make a call."""
        self.asked += 1
        where = list(place.path), place.folder, self._environment()
        request = protocol.Request(*where, function, item)
        self._send(pickle.dumps(tuple(request)))

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **ONE_THREAD, MARK: self.mark}

    @property
    def begun(self) -> bool:
        """Whether it has begun the last call."""
        return self.meter.calls == self.asked

    def answer(self, frame: bytes) -> bytes:
        """Take a reply; return what `answered` reads."""
        reply = protocol.Reply(*pickle.loads(frame))
        self.sources |= reply.sources
        return frame

    @property
    def usable(self) -> bool:
        """Whether it lives, and what it has imported is as it was."""
        unchanged = all(protocol.signature(file) == was for file, was in self.sources.items())
        return unchanged and self._process.poll() is None

    def ended(self) -> str:
        """Say how it ended by itself: ``exit status 9``, ``signal SIGSEGV``."""
        with suppress(subprocess.TimeoutExpired):  # its pipe is closed a little before it is gone
            self._process.wait(5.0)
        return self.end()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to it and to what it has started, where there are process groups."""
        if hasattr(os, "killpg"):
            with suppress(OSError):
                os.killpg(self._process.pid, number)

    def end(self, sweep: bool = True) -> str:
        """End it and what it has started; say how it ended.

        Args:
            sweep: also what it has started in sessions of their own; else the caller does.
        """
        process = self._process
        if hasattr(signal, "SIGKILL"):
            self.signal(signal.SIGKILL)
        process.kill()
        code = process.wait()
        self._reader.join(1.0)  # longer, if something outside its group holds the pipe
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close() if not self._reader.is_alive() else None
        self.meter.close()
        self._page.unlink(missing_ok=True)
        if sweep:
            _sweep({self.mark})
        with _lock:
            _children.discard(self)
        if code >= 0:
            return f"exit status {code}"
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"


def answered(frame: bytes) -> Any:
    """Return what a reply holds: an answer or a `Failure`."""
    reply = protocol.Reply(*pickle.loads(frame))
    if reply.said.startswith("MemoryError"):
        return Failure("memory", "no memory was left to it")
    try:
        if reply.said:
            error = pickle.loads(reply.error) if reply.error else None
            return Failure("raised", reply.said, error=error)
        return pickle.loads(reply.answer)
    except Exception as error:  # what can't be read here
        return Failure("raised", told(error), error=error)


class _Watch:
    """What a call takes, seen from outside.

    Args:
        child: who makes it.
        limits: of the call; `memory` is given.
    """

    def __init__(self, child: Child, limits: Limits) -> None:
        self.child, self.limits = child, limits
        self.seen = time.monotonic()
        self.cpu: float | None = None  # when it began; None: it hasn't
        self.last = math.nan
        self.mark = math.inf  # the deadline of what runs, which tells one part's call from the next
        self.idle = self.part_idle = self.gone = 0.0

    def look(self, now: float) -> Failure | None:
        """Return why the call is to be ended; None: it goes on."""
        period, self.seen = min(now - self.seen, 5.0 * LOOK), now
        child, limits = self.child, self.limits
        if not child.alive:  # its pipe may be held open by what it has started
            self.gone += period
            return Failure("died", child.ended()) if self.gone > 1.0 else None
        import psutil

        try:
            with child.state.oneshot():
                times, status = child.state.cpu_times(), child.state.status()
                held = child.state.memory_info().rss
        except psutil.Error:
            return None
        cpu, meter = times.user + times.system, child.meter
        if self.cpu is None and child.begun:
            self.cpu = cpu
        computed = cpu - self.last >= COMPUTING * period or math.isnan(self.last)
        self.last = cpu
        deadline, limit, part = meter.deadline, meter.limit, meter.part
        if deadline != self.mark:
            self.mark, self.part_idle = deadline, 0.0
        # One that stands stopped was not stopped with its driver, which is looking.
        if not computed and (status in _WAITING or status == _STOPPED):
            self.idle += period
            self.part_idle += period
        waited = "stood stopped" if status == _STOPPED else "waited"
        running = math.isfinite(deadline)
        part = part if running else ""
        if held > limits.memory:
            return Failure("memory", f"held more than {limits.memory / 2**30:.2g} GiB", part)
        if running and cpu > deadline + GRACE:
            return Failure("time", f"computed longer than time_limit = {limit:g} s", part)
        if running and self.part_idle > limit + GRACE:
            return Failure("time", f"{waited} longer than time_limit = {limit:g} s", part)
        if self.cpu is not None and cpu - self.cpu > limits.cpu:
            return Failure("time", f"computed longer than {limits.cpu:g} s", part)
        if self.idle > limits.idle:
            return Failure("time", f"{waited} longer than {limits.idle:g} s", part)
        return None


_WAITING = ("sleeping", "disk-sleep", "idle")  # psutil's names, which is imported when needed
_STOPPED = "stopped"
_lock = threading.Lock()
_children: set[Child] = set()
_unused: list[Child] = []
# A child ends with the thread that started it (Linux): one that lasts as long as this process.
_nursery = ThreadPoolExecutor(1, thread_name_prefix="hgobench-nursery")


def _take(arrivals: Arrivals) -> Child:
    """Return a process without work; its replies go to `arrivals`."""
    while True:
        with _lock:
            if not _unused:
                break
            child = _unused.pop()
        if child.usable:
            child.arrivals = arrivals
            return child
        child.end()
    child = _nursery.submit(Child, arrivals).result()
    with _lock:
        _children.add(child)
    return child


def _give_back(child: Child) -> None:
    with _lock:
        _unused.append(child)


def _arrived(arrivals: Arrivals) -> Iterator[tuple[Child, bytes]]:
    """Wait a moment for replies, and yield those that are there."""
    with suppress(queue.Empty):
        yield arrivals.get(timeout=LOOK)
        while True:
            yield arrivals.get_nowait()


def signal_all(number: int) -> None:
    """Send a signal to all processes, and to what they have started, where there are groups."""
    for child in list(_children):
        child.signal(number)


def _sweep(marks: Collection[str]) -> None:
    """End what some processes, which have ended, have started and left behind.

    A session of its own takes a process out of their group, but its environment tells whose it is.
    """
    import psutil

    for _ in range(SWEEPS):
        ended = 0
        for number in psutil.pids():
            with suppress(psutil.Error, OSError):
                process = psutil.Process(number)
                if process.environ().get(MARK) in marks:
                    process.kill()
                    ended += 1
        if not ended:
            return


@atexit.register
def _end_all() -> None:
    if children := list(_children):
        for child in children:
            child.end(sweep=False)
        _sweep({child.mark for child in children})


def _forget_all() -> None:
    """Leave a parent's children to it."""
    global _nursery
    _children.clear()
    _unused.clear()
    _nursery = ThreadPoolExecutor(1, thread_name_prefix="hgobench-nursery")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def memory() -> int:
    """Return the bytes of memory that this machine, or its container, has."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            total = min(total, int((Path("/sys/fs/cgroup") / name).read_text()))
    return total
