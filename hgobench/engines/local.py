"""Calls in supervised processes of this machine, each with one thread.

A process makes one call at a time and is reused for the next. Its time and memory are measured from
outside, so that C code is limited too; a process that exceeds a limit is ended.
"""

from __future__ import annotations

import atexit
import math
import os
import pickle
import queue
import shutil
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
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

from hgobench import catalogue
from hgobench.boundary import error_text
from hgobench.data.shared import FOLDER as SHARED
from hgobench.machine import memory

from . import child as protocol
from .base import UNLIMITED, EngineError, Failure, Limits
from .meter import Meter
from .progress import listen

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Arrivals: TypeAlias = "queue.SimpleQueue[tuple[Child, bytes]]"

# Limits each library that a process may load to one thread.
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
LOOK = 0.1  # seconds between two measurements of a call
GRACE = 1.0  # CPU seconds beyond a component's limit, in which its own clock should stop it
COMPUTING = 0.02  # share of a period; a process that computes less is waiting
USABLE = 0.9  # of this machine's memory
STARTS = 3  # dead processes in a row, before they begin a call, that end the run
MARK = "HGOBENCH_PROCESS"  # a variable in the environment of a process and of all that it starts
NO_MEMORY = Failure("memory", "no memory was left to it")
SWEEPS = 5  # while processes that are ended start others


class Inline:
    """Calls in this process (`hgobench.engines.Engine`): for hgobench's own code, with one job.

    Nothing is pickled, and nobody looks on from outside: there are no limits but those that a call
    sets itself, and what ends the process ends the run. Ctrl-C passes through.

    >>> list(Inline().map(abs, [-1, -2]))
    [(-1, 1), (-2, 2)]
    """

    jobs, elsewhere = 1, False

    def __init__(self) -> None:
        self._done = 0.0

    def _keep(self, done: float) -> None:
        self._done = done

    def under_way(self) -> float:
        """Return how much of the current call is done."""
        return self._done

    def map(
        self,
        function: Callable[[Item], Answer],
        items: Iterable[Item],
        *,
        limits: Limits = UNLIMITED,
        alone: bool = False,
    ) -> Generator[tuple[Item, Answer | Failure]]:
        """Yield each item with the function's value or a `Failure`, in their order."""
        for item in items:
            answer: Answer | Failure
            listen(self._keep)
            try:
                answer = function(item)
            except KeyboardInterrupt:
                raise
            except MemoryError:
                answer = NO_MEMORY
            except BaseException as error:
                answer = Failure("raised", error_text(error), error=error)
            finally:
                listen(None)
                self._done = 0.0
            yield item, answer

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Place:
    """Import path and working directory of calls.

    Attributes:
        path: the import path.
        folder: the working directory.
    """

    path: tuple[str, ...]
    folder: str

    @classmethod
    def current(cls) -> Place:
        """Return this process's."""
        folder = ""
        with suppress(OSError):
            folder = os.getcwd()
        return cls(tuple(sys.path), folder)


class Local:
    """Calls in processes of this machine (`hgobench.engines.Engine`).

    Args:
        jobs: number of processes.
        place: import path and working directory of calls; None: this process's.
        wanted: called now and then; once it returns False, the calls under way and `map` end.

    Example:
        >>> engine = Local(jobs=1)
        >>> list(engine.map(abs, [-1]))
        [(-1, 1)]
        >>> engine.close()
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
        self.finished = 0.0  # progress of the calls that have ended

    def under_way(self) -> float:
        """Return how much of the calls under way is done."""
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
        """Yield each item with the function's value or a `Failure`, as the calls end."""
        code = pickle.dumps(function, pickle.HIGHEST_PROTOCOL)
        pickled = ((item, pickle.dumps(item, pickle.HIGHEST_PROTOCOL)) for item in items)
        for item, answer in self.relay(code, pickled, limits, alone):
            yield item, decode(answer) if isinstance(answer, bytes) else answer

    def relay(
        self, code: bytes, items: Iterable[tuple[Item, bytes]], limits: Limits, alone: bool = False
    ) -> Generator[tuple[Item, bytes | Failure]]:
        """Map over pickled items; values are frames that `decode` reads."""
        jobs = 1 if alone else self.jobs
        memory_limit = limits.memory or int(memory() * USABLE / jobs)
        limits = Limits(limits.cpu, limits.idle, memory_limit)
        arrivals: Arrivals = queue.SimpleQueue()
        running: dict[Child, tuple[tuple[Item, bytes], _Watch]] = {}
        self._running = running
        # items whose process ended before the call began are queued again
        pending, requeued = iter(items), list[tuple[Item, bytes]]()
        unstarted, last_look = 0, time.monotonic()
        try:
            while True:
                while len(running) < jobs and (
                    next_item := requeued[:1] or list(islice(pending, 1))
                ):
                    del requeued[:1]
                    child = _take(arrivals)
                    running[child] = next_item[0], _Watch(child, limits)
                    place = self.place or Place.current()
                    child.ask(
                        code,
                        next_item[0][1],
                        place,
                        _shared_folder(os.getpid()) if jobs > 1 else "",
                    )
                if not running:
                    return
                for child, frame in _arrived(arrivals):
                    if child not in running:
                        continue  # it was ended
                    item, _ = running.pop(child)
                    self.finished += child.meter.done
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
                        requeued.append(item)
                if time.monotonic() - last_look < LOOK:
                    continue
                last_look = time.monotonic()
                for child, (item, watch) in list(running.items()):
                    if (failure := watch.look(last_look)) is not None:
                        del running[child]
                        child.end()
                        yield item[0], failure
                if not self.wanted():
                    return
        finally:
            for child in running:
                child.end()

    def close(self) -> None:
        """Do nothing: processes without calls end by themselves, or with this one."""


def local(jobs: int, fields: Iterable[Mapping[str, Any]]) -> Inline | Local:
    """Return the engine of this machine: this process, if it has one job and no plug-in code.

    Args:
        jobs: number of processes.
        fields: the scenarios' fields that name the components that are called.
    """
    return Local(jobs) if jobs > 1 or any(map(catalogue.foreign, fields)) else Inline()


class Child:
    """A process that makes calls.

    Args:
        arrivals: the queue that its replies are put into.
    """

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals
        self.requested = 0
        self.crowded = False  # threads that were left behind compute in it
        self.started: dict[int, Any] = {}  # processes below it, by number, when it was looked at
        self.sources: dict[str, tuple[int, int]] = {}
        handle, name = tempfile.mkstemp(prefix="hgobench-", suffix=".page")
        os.close(handle)
        self._page = Path(name)
        self.meter = Meter(self._page, create=True)
        self.mark = uuid4().hex
        command = [sys.executable, "-P", protocol.__file__, str(os.getpid()), name]
        own_group: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        # A process group of its own, so that Ctrl-C does not reach it and its children end with it.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment(),
            **own_group,
        )
        import psutil

        self.state = psutil.Process(self._process.pid)
        self._reader = threading.Thread(target=self._receive, daemon=True)
        self._reader.start()
        self._send(pickle.dumps(sys.path))

    def _receive(self) -> None:
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
        with suppress(OSError):  # it has ended, which its reader reports
            protocol.write_frame(self._process.stdin, data)

    def ask(self, function: bytes, item: bytes, place: Place, shared: str = "") -> None:
        """Send it a call to make.

        Args:
            function, item: the call, pickled.
            place: where it is made.
            shared: the folder in which processes keep data that they share; empty: none.
        """
        self.requested += 1
        environment = self._environment() | ({SHARED: shared} if shared else {})
        place_fields = list(place.path), place.folder, environment
        request = protocol.Request(*place_fields, function, item)
        self._send(pickle.dumps(tuple(request)))

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **ONE_THREAD, MARK: self.mark}

    @property
    def begun(self) -> bool:
        """Whether it has begun the last call."""
        return self.meter.calls == self.requested

    def answer(self, frame: bytes) -> bytes:
        """Note the files that a reply names and whether the process is crowded; return it."""
        reply = protocol.Reply(*pickle.loads(frame))
        self.crowded = reply.crowded
        self.sources |= reply.sources
        return frame

    @property
    def usable(self) -> bool:
        """Whether it is alive and the files that it has imported are unchanged."""
        unchanged = all(protocol.signature(file) == was for file, was in self.sources.items())
        return unchanged and self._process.poll() is None

    def ended(self) -> str:
        """Return how it ended by itself: ``exit status 9``, ``signal SIGSEGV``."""
        with suppress(subprocess.TimeoutExpired):  # its pipe is closed a little before it ends
            self._process.wait(5.0)
        return self.end()

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def look_below(self) -> dict[int, Any]:
        """Note the processes below it, which may outlive it; return them by number."""
        import psutil

        below = {}
        for number in _below(self._process.pid):
            with suppress(psutil.Error):
                below[number] = self.started.get(number) or psutil.Process(number)
        self.started = below
        return below

    def signal(self, number: int) -> None:
        """Send a signal to it and its children, where there are process groups."""
        if hasattr(os, "killpg"):
            with suppress(OSError):
                os.killpg(self._process.pid, number)

    def end(self, sweep: bool = True) -> str:
        """End it and its children; return how it ended.

        Args:
            sweep: whether to end the children in sessions of their own, too; else the caller does.
        """
        process = self._process
        if process.poll() is None:
            if hasattr(signal, "SIGSTOP"):
                process.send_signal(signal.SIGSTOP)  # so that it starts no more
            self.look_below()
        if hasattr(signal, "SIGKILL"):
            self.signal(signal.SIGKILL)
        process.kill()
        code = process.wait()
        for other in self.started.values():
            with suppress(Exception):  # it has ended
                other.kill()
        self._reader.join(1.0)  # it does not end if a process outside the group holds the pipe
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


def decode(frame: bytes) -> Any:
    """Return the value in a reply, or a `Failure`."""
    reply = protocol.Reply(*pickle.loads(frame))
    if reply.message.startswith("MemoryError"):
        return NO_MEMORY
    try:
        if reply.message:
            error = pickle.loads(reply.error) if reply.error else None
            return Failure("raised", reply.message, error=error)
        return pickle.loads(reply.answer)
    except Exception as error:  # it can't be unpickled here
        return Failure("raised", error_text(error), error=error)


class _Watch:
    """Measures a call from outside its process.

    Args:
        child: the process.
        limits: of the call; `memory` is not 0.
    """

    def __init__(self, child: Child, limits: Limits) -> None:
        self.child, self.limits = child, limits
        self.measured = time.monotonic()
        self.cpu: float | None = None  # of the process when the call began; None: it has not
        self.last = math.nan
        self.mark = math.inf  # the component's deadline, which differs from call to call
        self.idle = self.component_idle = self.dead = 0.0

    def look(self, now: float) -> Failure | None:
        """Return the limit that is exceeded, or how the process died; None: the call goes on."""
        period, self.measured = min(now - self.measured, 5.0 * LOOK), now
        child, limits = self.child, self.limits
        if not child.alive:  # a child of it may hold the pipe open
            self.dead += period
            return Failure("died", child.ended()) if self.dead > 1.0 else None
        import psutil

        try:
            with child.state.oneshot():
                times, status = child.state.cpu_times(), child.state.status()
                held = _held_by_all([child.state, *child.look_below().values()], limits.memory)
        except psutil.Error:
            return None
        cpu, meter = times.user + times.system, child.meter
        if self.cpu is None and child.begun:
            self.cpu = cpu
        computed = cpu - self.last >= COMPUTING * period or math.isnan(self.last)
        self.last = cpu
        deadline, limit, component = meter.deadline, meter.limit, meter.component
        if deadline != self.mark:
            self.mark, self.component_idle = deadline, 0.0
        # A stopped process was not stopped with its driver, which runs this.
        if not computed and (status in _SLEEPING or status == _STOPPED):
            self.idle += period
            self.component_idle += period
        waited = "was stopped" if status == _STOPPED else "waited"
        running = math.isfinite(deadline)
        component = component if running else ""
        if held > limits.memory:
            return Failure("memory", f"held more than {limits.memory / 2**30:.2g} GiB", component)
        if running and cpu > deadline + GRACE:
            return Failure("time", f"computed longer than time_limit = {limit:g} s", component)
        if running and self.component_idle > limit + GRACE:
            return Failure("time", f"{waited} longer than time_limit = {limit:g} s", component)
        if self.cpu is not None and cpu - self.cpu > limits.cpu:
            return Failure("time", f"computed longer than {limits.cpu:g} s", component)
        if self.idle > limits.idle:
            return Failure("time", f"{waited} longer than {limits.idle:g} s", component)
        return None


_SLEEPING = ("sleeping", "disk-sleep", "idle")  # psutil's names; psutil is imported when needed
_STOPPED = "stopped"
_lock = threading.Lock()
_children: set[Child] = set()
_unused: list[Child] = []
# On Linux a child ends with the thread that started it: this one lasts as long as this process.
_nursery = ThreadPoolExecutor(1, thread_name_prefix="hgobench-nursery")


def _take(arrivals: Arrivals) -> Child:
    """Return a process without a call; its replies are put into `arrivals`."""
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
    if child.crowded:
        child.end()
        return
    with _lock:
        _unused.append(child)


def _arrived(arrivals: Arrivals) -> Iterator[tuple[Child, bytes]]:
    """Wait up to `LOOK` seconds for replies, and yield all that have arrived."""
    with suppress(queue.Empty):
        yield arrivals.get(timeout=LOOK)
        while True:
            yield arrivals.get_nowait()


def signal_all(number: int) -> None:
    """Send a signal to all processes and their children, where there are process groups."""
    for child in list(_children):
        child.signal(number)


def _sweep(marks: Collection[str]) -> None:
    """End the children that some processes left behind when they ended.

    A session of its own takes a process out of their group, but its environment has their mark,
    unless it was given another.
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
    """Forget the processes of the parent, after a fork."""
    global _nursery
    _children.clear()
    _unused.clear()
    _nursery = ThreadPoolExecutor(1, thread_name_prefix="hgobench-nursery")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


@cache
def _shared_folder(owner: int) -> str:
    """Return a folder for data that processes of this one share; it is removed with this one.

    The first that keeps something there creates it.
    """
    root = Path(tempfile.gettempdir())
    for old in root.glob("hgobench-data-*"):  # left behind by processes that were killed
        with suppress(OSError, IndexError, ValueError):
            import psutil

            number, day = int(old.name.split("-")[2]), 86_400.0
            if not psutil.pid_exists(number) and time.time() - old.stat().st_mtime > day:
                shutil.rmtree(old, ignore_errors=True)
    name = str(root / f"hgobench-data-{owner}-{uuid4().hex}")

    @atexit.register
    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(name, ignore_errors=True)

    return name


def _below(number: int) -> list[int]:
    """Return the processes that one has started, and those that these have; Linux alone."""
    below: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{number}/task"):
            with suppress(OSError):
                children = Path(f"/proc/{number}/task/{thread}/children").read_text()
                for child in map(int, children.split()):
                    below += [child, *_below(child)]
    return below


def _held_by_all(processes: list[Any], limit: int) -> int:
    """Return the memory that a process and those below it hold together, in bytes.

    A fork shares its memory with its parent until one of them writes to it. Shares take long to
    work out, which is done only if more than the limit seems to be held.
    """
    import psutil

    def total(held: Callable[[Any], int]) -> int:
        bytes_held = held(processes[0])
        for process in processes[1:]:
            with suppress(psutil.Error):  # it has ended
                bytes_held += held(process)
        return bytes_held

    everything = total(_held)
    return everything if len(processes) == 1 or everything <= limit else total(_share)


def _share(process: Any) -> int:
    """Return what a process holds for itself, and its share of what several hold, in bytes."""
    with suppress(OSError, ValueError, IndexError):
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        kept = [line.split() for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
        if len(kept) == 2:
            return sum(int(kilobytes) << 10 for _, kilobytes, _ in kept)
    return _held(process)


def _held(process: Any) -> int:
    """Return the memory that a process holds for itself, in bytes; elsewhere than on Linux, all.

    Files that it maps, such as data that it shares with others, the system can drop.
    """
    if sys.platform == "linux":
        with suppress(OSError, ValueError, IndexError):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            kept = [line.split() for line in lines if line.startswith(("RssAnon:", "RssShmem:"))]
            if len(kept) == 2:
                return sum(int(kilobytes) << 10 for _, kilobytes, _ in kept)
    return int(process.memory_info().rss)
