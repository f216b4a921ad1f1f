"""Calls on a Dask cluster: each task hands its calls to supervised processes of its worker.

So limits are those of the local engine. Dask does again what a worker had that died, and takes
workers in that join later.
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

from . import site
from .base import UNLIMITED, EngineError, Failure, Limits
from .local import USABLE, Local, Place, answered, memory

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AHEAD = 2  # tasks per thread of the cluster: one computes, one waits
SECONDS = 2.0  # that a task should take, so that the scheduler sees few
MOST = 256  # calls of a task
LOOK = 1.0  # seconds between two looks at who has joined or left
PATIENCE = 10.0  # seconds without a worker after which it is said
REPORT = 1.0  # seconds between two words of a task on how far it is
REPORTS = 200  # of all tasks, that the scheduler gets a second at most


class Dask:
    """Calls on the workers of a Dask scheduler (`hgobench.engines.Engine`).

    Args:
        address: the scheduler's: ``tcp://host:port``.
        say: what to do with a line that a user should see; None: print it on standard error.

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
        if not address:
            raise InputError(
                "engine: the scheduler's address is missing: --address tcp://host:port"
            )
        self.address, self._say = address, say or _print
        # A scheduler that goes away is told by an EngineError, not by tracebacks of its threads.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        try:
            client: Any = distributed.Client
            self._client = client(address, timeout=10, set_as_default=False)
        except (OSError, TimeoutError, ValueError, TypeError) as error:
            raise InputError(f"engine: no scheduler at {address!r}: {error}") from None
        self._threads: dict[str, int] = {}  # of the workers that are as they must be
        self._refused: dict[str, str] = {}
        self._packages, self._bundle = list[str](), b""
        self._numbers = count()
        self._topic = f"hgobench-{uuid4().hex}"
        self._far: dict[str, float] = {}  # how far tasks are, by their keys
        self._client.subscribe_topic(self._topic, self._hear)

    def _hear(self, event: tuple[float, tuple[str, float]]) -> None:
        """Take a task's word on how far it is; one that is no longer waited for says nothing."""
        _, (key, done) = event
        if key in self._far:
            self._far[key] = done

    def under_way(self) -> float:
        """Return how much of the calls that are made is done, as their workers said last."""
        return sum(list(self._far.values()))

    @property
    def jobs(self) -> int:
        """Return how many calls are under way at a time: the threads of all workers."""
        return max(sum(self._threads.values()), 1)

    def map(
        self,
        function: Callable[[Item], Answer],
        items: Iterable[Item],
        *,
        limits: Limits = UNLIMITED,
        alone: bool = False,
    ) -> Generator[tuple[Item, Answer | Failure]]:
        """Yield each item with what the function returns of it, in the order in which calls end."""
        run = _Run(self, pickle.dumps(function, pickle.HIGHEST_PROTOCOL), limits, alone)
        waiting = iter(items)
        try:
            self._prepare()
            while True:
                self._meet(run)
                while len(run.tasks) < run.room and (batch := list(islice(waiting, run.size))):
                    run.submit(batch)
                if not run.tasks and self._threads:
                    return
                yield from run.finished()
        finally:
            run.close()

    def close(self) -> None:
        """Leave the cluster, which goes on without."""
        with suppress(Exception):
            self._client.close(timeout=5)

    def _prepare(self) -> None:
        """Find out what workers must have, and pack what they are sent."""
        packages, files = site.foreign()
        bundle = site.bundle(files)
        if packages != self._packages:  # those that were met are asked again
            self._threads.clear()
            self._refused.clear()
        self._packages, self._bundle = packages, bundle

    def _meet(self, run: _Run) -> None:
        """See who has joined and who has left; refuse by name who has other sources or versions.

        Raises:
            InputError: all who are there are refused.
            EngineError: the scheduler is gone.
        """
        if time.monotonic() - run.met < LOOK:
            return
        run.met = time.monotonic()
        with self._connected():
            there: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
            for name in self._threads.keys() - there.keys():
                del self._threads[name]
            if new := [n for n in there if n not in self._threads and n not in self._refused]:
                here = site.installed(self._packages)
                answers = self._client.run(
                    site.installed, self._packages, workers=new, on_error="return"
                )
                for name in new:
                    problem = _problem(here, answers.get(name))
                    if problem:
                        self._refused[name] = problem
                        self._say(f"worker {name} is refused: {problem}")
                    else:
                        self._threads[name] = int(there[name]["nthreads"])
        if not self._threads and there and all(name in self._refused for name in there):
            raise InputError(
                f"engine: worker {name} is refused: {problem}"
                for name, problem in self._refused.items()
                if name in there
            )
        run.met_workers(self._threads)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Say that the scheduler is gone, whatever Dask raises then."""
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
    """What a worker is sent, in pickles that it only hands on.

    Attributes:
        code, items: the function, and what it is called with.
        limits, alone: as for `Engine.map`.
        bundle: the plug-ins of the driver's folder.
        folder: where the driver is.
        topic: under which it says how far it is.
        every: seconds between two such words.
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
        self.idle_since, self.said = time.monotonic(), False

    @property
    def room(self) -> int:
        """How many tasks may be under way or wait."""
        threads = sum(self.engine._threads.values())
        return min(threads, 1) if self.alone else AHEAD * threads

    @property
    def size(self) -> int:
        """How many calls make a task of a few seconds."""
        if self.alone or not self.calls:
            return 1
        return max(1, min(MOST, int(SECONDS * self.calls / max(self.seconds, 1e-3))))

    def submit(self, batch: list[Any]) -> None:
        """Send some items, to workers that may have them alone."""
        engine, limits = self.engine, self.limits
        items = [pickle.dumps(item, pickle.HIGHEST_PROTOCOL) for item in batch]
        folder = Place.here().folder
        workers = tuple(engine._threads)
        every = max(REPORT, sum(engine._threads.values()) / REPORTS)
        news = engine._topic, every
        task = _Task(self.code, items, limits, self.alone, engine._bundle, folder, *news)
        key = f"hgobench-{id(engine):x}-{time.time_ns():x}-{next(engine._numbers)}"
        engine._far[key] = 0.0
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
        """Send again what waits for workers that are gone; say that nobody is there."""
        for future, (batch, workers) in list(self.tasks.items()):
            if threads and not any(name in threads for name in workers):
                self._forget(future)
                with suppress(Exception):
                    future.cancel()
                self.submit(batch)
        now = time.monotonic()
        if threads:
            self.idle_since, self.said = now, False
        elif now - self.idle_since > PATIENCE and not self.said:
            self.said = True
            self.engine._say(f"waiting for workers at {self.engine.address} (Ctrl-C ends waiting)")

    def finished(self) -> Iterator[tuple[Any, Any]]:
        """Wait a moment, and yield what has come.

        Raises:
            EngineError: the scheduler is gone.
        """
        arrived = []
        with suppress(queue.Empty):
            arrived.append(self.arrivals.get(timeout=LOOK))
            while True:
                arrived.append(self.arrivals.get_nowait())
        for future in arrived:
            if future not in self.tasks:
                continue  # it was sent again
            batch, _ = self.tasks[future]
            answers = self._answers(future, batch)
            self._forget(future)
            yield from zip(batch, answers, strict=True)

    def _answers(self, future: Any, batch: Sequence[Any]) -> list[Any]:
        from distributed import KilledWorker

        gone = f"the scheduler at {self.engine.address} went away"
        if future.status in ("cancelled", "lost"):
            raise EngineError(gone)
        try:
            with self.engine._connected():
                frames, seconds = pickle.loads(future.result(timeout=60))
        except KilledWorker:
            return [Failure("died", "each worker that made it did")] * len(batch)
        except EngineError:
            raise
        except Exception as error:
            if self.engine._client.status != "running":
                raise EngineError(gone) from None
            raise EngineError(f"a worker can't make calls: {error}") from error
        finally:
            with suppress(Exception):
                future.release()
        self.seconds += seconds
        self.calls += len(batch)
        return [answered(one) if isinstance(one, bytes) else one for one in frames]

    def close(self) -> None:
        """Cancel what is under way."""
        if self.tasks:
            with suppress(Exception):
                self.engine._client.cancel(list(self.tasks), force=True)
        for future in list(self.tasks):
            self._forget(future)

    def _forget(self, future: Any) -> None:
        """Wait for a task no longer."""
        del self.tasks[future]
        self.engine._far.pop(future.key, None)


def _problem(here: dict[str, str], there: object) -> str:
    """Say what is wrong with a worker, given what it has or raised."""
    if isinstance(there, dict):
        return site.differences(here, there)
    if isinstance(there, ModuleNotFoundError):
        return f"{there.name} is not installed there"
    return f"it does not say what is installed there: {there}"


def _compute(values: tuple[Any, ...]) -> bytes:
    """Make the calls of a task, on a worker: in a supervised process of its own.

    Returns:
        What `answered` reads, or a `Failure`, of each item; and how many seconds they took.
    """
    from distributed import get_worker

    task = _Task(*values)
    worker: Any = get_worker()
    key = worker.get_current_task()
    started = said = time.monotonic()

    def wanted() -> bool:
        """Say how far it is, now and then, and whether the driver still waits for it."""
        nonlocal said
        if time.monotonic() - said >= task.every:
            said = time.monotonic()
            worker.log_event(task.topic, (key, engine.told + engine.under_way()))
        state = worker.state.tasks.get(key)
        return state is not None and state.state not in ("cancelled", "released", "forgotten")

    home = site.unpacked(task.bundle, Path(worker.local_directory))
    folder = task.folder if Path(task.folder).is_dir() else str(home)
    total = worker.memory_manager.memory_limit or memory()
    share = int(total * USABLE / (1 if task.alone else worker.state.nthreads))
    limits = replace(task.limits, memory=task.limits.memory or share)
    engine = Local(1, Place(site.path_with(home), folder), wanted)
    answers = dict(engine.relay(task.code, enumerate(task.items), limits))
    ended = Failure("died", "it was cancelled")
    ordered = [answers.get(number, ended) for number in range(len(task.items))]
    return pickle.dumps((ordered, time.monotonic() - started))


def _print(line: str) -> None:
    print(f"hgobench: {line}", file=sys.stderr)
