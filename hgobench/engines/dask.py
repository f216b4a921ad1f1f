"""Calls on a Dask cluster: each task hands its calls to a supervised process of its worker.

Limits therefore work as in the local engine. Dask repeats the tasks of a worker that died, and uses
workers that join later.
"""

from __future__ import annotations

import logging
import pickle
import queue
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from hgobench.errors import InputError
from hgobench.machine import memory
from hgobench.registry import path_with

from . import site
from .base import UNLIMITED, EngineError, Failure, Limits
from .local import USABLE, Local, Place, decode

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AHEAD = 2  # tasks per thread of the cluster: one that computes, one that waits
SECONDS = 2.0  # that a task should take, so that the scheduler has few of them
LARGEST = 256  # calls of a task
LOOK = 1.0  # seconds between two lists of the workers
PATIENCE = 10.0  # seconds without a worker before a message
REPORT = 1.0  # seconds between two reports of a task's progress
REPORTS = 200  # of all tasks together, that the scheduler gets per second at most


class Dask:
    """Calls on the workers of a Dask scheduler (`hgobench.engines.Engine`).

    Args:
        address: the scheduler's: ``tcp://host:port``.
        say: called with each line that a user should see; None: it is printed on standard error.

    Raises:
        InputError: Dask is not installed, or no scheduler answers there.
    """

    elsewhere = True

    def __init__(self, address: str, say: Callable[[str], None] | None = None) -> None:
        try:
            import distributed
        except ImportError:
            raise InputError(
                "engine: distributed is not installed: pip install 'hgobench[cluster]'"
            ) from None
        self.address, self._say = address, say or _print
        # A lost scheduler raises EngineError; Dask would also print tracebacks of its threads.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        try:
            client: Any = distributed.Client
            self._client = client(address, timeout=10, set_as_default=False)
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise InputError(f"engine: no scheduler at {address!r}: {error}") from None
        self._threads: dict[str, int] = {}  # of each accepted worker
        self._refused: dict[str, str] = {}
        self._packages, self._bundle = list[str](), b""
        self._numbers = count()
        self._topic = f"hgobench-{uuid4().hex}"
        self._progress: dict[str, float] = {}  # of tasks, by their keys
        self._client.subscribe_topic(self._topic, self._note)

    def _note(self, event: tuple[float, tuple[str, float]]) -> None:
        """Note a task's progress, unless it is no longer waited for."""
        _, (key, done) = event
        if key in self._progress:
            self._progress[key] = done

    def under_way(self) -> float:
        """Return how much of the calls under way is done, by their workers' last reports."""
        return sum(list(self._progress.values()))

    @property
    def jobs(self) -> int:
        """Number of calls under way at a time: the threads of all workers."""
        return max(sum(self._threads.values()), 1)

    def map(
        self,
        function: Callable[[Item], Answer],
        items: Iterable[Item],
        *,
        limits: Limits = UNLIMITED,
        alone: bool = False,
    ) -> Generator[tuple[Item, Answer | Failure]]:
        """Yield each item with the function's value or a `Failure`, as the calls end."""
        run = _Run(self, pickle.dumps(function, pickle.HIGHEST_PROTOCOL), limits, alone)
        pending = iter(items)
        try:
            self._prepare()
            while True:
                self._meet(run)
                while len(run.tasks) < run.room and (batch := list(islice(pending, run.size))):
                    run.submit(batch)
                if not run.tasks and self._threads:
                    return
                yield from run.finished()
        finally:
            run.close()

    def close(self) -> None:
        """Disconnect from the cluster, which goes on."""
        with suppress(Exception):
            self._client.close(timeout=5)

    def _prepare(self) -> None:
        """List the packages that workers must have, and bundle the other plug-ins."""
        packages, files = site.plugins()
        bundle = site.bundle(files)
        if packages != self._packages:  # workers must be checked again
            self._threads.clear()
            self._refused.clear()
        self._packages, self._bundle = packages, bundle

    def _meet(self, run: _Run) -> None:
        """Update the list of workers; refuse those with other sources or versions.

        Raises:
            InputError: there are workers, and all are refused.
            EngineError: the scheduler is lost.
        """
        if time.monotonic() - run.met < LOOK:
            return
        run.met = time.monotonic()
        with self._connected():
            present: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
            for name in self._threads.keys() - present.keys():
                del self._threads[name]
            if new := [n for n in present if n not in self._threads and n not in self._refused]:
                expected = site.installed(self._packages)
                answers = self._client.run(
                    site.installed, self._packages, workers=new, on_error="return"
                )
                for name in new:
                    problem = _problem(expected, answers.get(name))
                    if problem:
                        self._refused[name] = problem
                        self._say(f"worker {name} is refused: {problem}")
                    else:
                        self._threads[name] = int(present[name]["nthreads"])
        if not self._threads and present and all(name in self._refused for name in present):
            raise InputError(
                f"engine: worker {name} is refused: {problem}"
                for name, problem in self._refused.items()
                if name in present
            )
        run.met_workers(self._threads)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Turn what Dask raises when the scheduler is lost into an EngineError."""
        from concurrent.futures import CancelledError

        try:
            yield
        except (OSError, TimeoutError, CancelledError) as error:
            raise EngineError(f"the scheduler at {self.address} does not answer: {error}") from None
        except RuntimeError as error:
            if self._client.status == "running":
                raise
            raise EngineError(f"the scheduler at {self.address} is gone: {error}") from None


class _Task(NamedTuple):
    """A task; function and items are pickles, which a worker hands on.

    Attributes:
        code, items: the function, and its arguments.
        limits, alone: as for `Engine.map`.
        bundle: plug-ins that are not installed (`site.bundle`).
        folder: the driver's working directory.
        topic: of the events by which the task reports its progress.
        every: seconds between two reports.
    """

    code: bytes
    items: list[bytes]
    limits: Limits
    alone: bool
    bundle: bytes
    folder: str
    topic: str
    every: float


class _Run:
    """The tasks of one `map`."""

    def __init__(self, engine: Dask, code: bytes, limits: Limits, alone: bool) -> None:
        self.engine, self.code, self.limits, self.alone = engine, code, limits, alone
        self.tasks: dict[Any, tuple[list[Any], tuple[str, ...]]] = {}  # by future
        self.arrivals: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.seconds = self.calls = 0.0
        self.met = -LOOK
        self.idle_since, self.reported = time.monotonic(), False

    @property
    def room(self) -> int:
        """Number of tasks that may be under way or wait."""
        threads = sum(self.engine._threads.values())
        return min(threads, 1) if self.alone else AHEAD * threads

    @property
    def size(self) -> int:
        """Number of calls that make a task of `SECONDS`."""
        if self.alone or not self.calls:
            return 1
        return max(1, min(LARGEST, int(SECONDS * self.calls / max(self.seconds, 1e-3))))

    def submit(self, batch: list[Any]) -> None:
        """Submit items as a task, for the accepted workers only."""
        engine, limits = self.engine, self.limits
        items = [pickle.dumps(item, pickle.HIGHEST_PROTOCOL) for item in batch]
        folder = Place.current().folder
        workers = tuple(engine._threads)
        every = max(REPORT, sum(engine._threads.values()) / REPORTS)
        reports = engine._topic, every
        task = _Task(self.code, items, limits, self.alone, engine._bundle, folder, *reports)
        key = f"hgobench-{id(engine):x}-{time.time_ns():x}-{next(engine._numbers)}"
        engine._progress[key] = 0.0
        with engine._connected():
            future = engine._client.submit(
                _compute,
                tuple(task),
                key=key,
                workers=list(workers),
                pure=False,
            )
        self.tasks[future] = batch, workers
        future.add_done_callback(self.arrivals.put)

    def met_workers(self, threads: dict[str, int]) -> None:
        """Resubmit tasks that wait for workers that have left; say if there are no workers."""
        for future, (batch, workers) in list(self.tasks.items()):
            if threads and not any(name in threads for name in workers):
                self._forget(future)
                with suppress(Exception):
                    future.cancel()
                self.submit(batch)
        now = time.monotonic()
        if threads:
            self.idle_since, self.reported = now, False
        elif now - self.idle_since > PATIENCE and not self.reported:
            self.reported = True
            self.engine._say(f"waiting for workers at {self.engine.address} (Ctrl-C ends waiting)")

    def finished(self) -> Iterator[tuple[Any, Any]]:
        """Wait up to `LOOK` seconds, and yield the answers that have arrived.

        Raises:
            EngineError: the scheduler is lost.
        """
        arrived = []
        with suppress(queue.Empty):
            arrived.append(self.arrivals.get(timeout=LOOK))
            while True:
                arrived.append(self.arrivals.get_nowait())
        for future in arrived:
            if future not in self.tasks:
                continue  # it was submitted again
            batch, _ = self.tasks[future]
            answers = self._answers(future, batch)
            self._forget(future)
            yield from zip(batch, answers, strict=True)

    def _answers(self, future: Any, batch: Sequence[Any]) -> list[Any]:
        from distributed import KilledWorker

        message = f"the scheduler at {self.engine.address} went away"
        if future.status in ("cancelled", "lost"):
            raise EngineError(message)
        try:
            with self.engine._connected():
                frames, seconds = pickle.loads(future.result(timeout=60))
        except KilledWorker:
            return [Failure("died", "each worker that made it did")] * len(batch)
        except EngineError:
            raise
        except Exception as error:
            if self.engine._client.status != "running":
                raise EngineError(message) from None
            raise EngineError(f"a worker can't make calls: {error}") from error
        finally:
            with suppress(Exception):
                future.release()
        self.seconds += seconds
        self.calls += len(batch)
        return [decode(frame) if isinstance(frame, bytes) else frame for frame in frames]

    def close(self) -> None:
        """Cancel the tasks under way."""
        if self.tasks:
            with suppress(Exception):
                self.engine._client.cancel(list(self.tasks), force=True)
        for future in list(self.tasks):
            self._forget(future)

    def _forget(self, future: Any) -> None:
        """Stop waiting for a task."""
        del self.tasks[future]
        self.engine._progress.pop(future.key, None)


def _problem(expected: dict[str, str], answer: object) -> str:
    """Return why a worker is refused, given the versions it has, or what it raised; else empty."""
    if isinstance(answer, dict):
        return site.differences(expected, answer)
    if isinstance(answer, ModuleNotFoundError):
        return f"{answer.name} is not installed there"
    return f"it does not say what is installed there: {answer}"


def _compute(values: tuple[Any, ...]) -> bytes:
    """Make the calls of a task, on a worker, in a supervised process.

    Returns:
        Pickled: for each item a frame that `decode` reads or a `Failure`; the seconds they took.
    """
    from distributed import get_worker

    task = _Task(*values)
    worker: Any = get_worker()
    key = worker.get_current_task()
    started = reported = time.monotonic()

    def wanted() -> bool:
        """Report progress now and then; return whether the driver still waits for the task."""
        nonlocal reported
        if time.monotonic() - reported >= task.every:
            reported = time.monotonic()
            worker.log_event(task.topic, (key, engine.finished + engine.under_way()))
        state = worker.state.tasks.get(key)
        return state is not None and state.state not in ("cancelled", "released", "forgotten")

    home = site.unpacked(task.bundle, Path(worker.local_directory))
    folder = task.folder if Path(task.folder).is_dir() else str(home)
    total = worker.memory_manager.memory_limit or memory()
    share = int(total * USABLE / (1 if task.alone else worker.state.nthreads))
    limits = replace(task.limits, memory=task.limits.memory or share)
    engine = Local(1, Place(tuple(path_with(home)), folder), wanted)
    answers = dict(engine.relay(task.code, enumerate(task.items), limits))
    cancelled = Failure("died", "it was cancelled")
    ordered = [answers.get(number, cancelled) for number in range(len(task.items))]
    return pickle.dumps((ordered, time.monotonic() - started))


def _print(line: str) -> None:
    print(f"hgobench: {line}", file=sys.stderr)
