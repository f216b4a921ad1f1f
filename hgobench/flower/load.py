"""What a SuperLink and its ServerApp take for a round: measured, with light nodes."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import psutil

from hgobench.devices.folder import new
from hgobench.errors import InputError
from hgobench.scenario import Scenario

from .processes import Fleet
from .relay import Relay

IDLE = 10.0  # seconds for which nodes without orders are watched
SETTLED = 2.0  # seconds after they have come
BEGIN = 2  # the round with which measuring begins: in the first, nodes fetch the app
START, EACH, PER_NODE = 600.0, 60.0, 3.0  # seconds: to start; a round, and for each node more
LOOK = 0.1  # seconds between two looks at memory
MIB = 2**20
LINK, APP = "superlink", "flwr-serverapp"


class Point(NamedTuple):
    """What is measured.

    Attributes:
        nodes: n, all of which are asked in every round.
        model: of the scenario.
        share: of the coordinates that each sends.
    """

    nodes: int
    model: str
    share: float


class Load(NamedTuple):
    """What a server did in a time.

    Attributes:
        nodes: n, how many were there.
        dimension: d, of the parameters that they were sent; 0: there was no run.
        length: b, how many coordinates each sent back.
        seconds: of the clock.
        orders: how many they answered.
        polls: how often they looked for an order in vain.
        failed: how often they failed to look, or to answer.
        link_seconds: CPU seconds of the SuperLink's process.
        app_seconds: CPU seconds of the ServerApp's process.
        up, down: bytes that nodes sent, and were sent.
        link_memory, app_memory: MiB, resident, at most so far.
    """

    nodes: int
    dimension: int
    length: int
    seconds: float
    orders: int
    polls: int
    failed: int
    link_seconds: float
    app_seconds: float
    up: int
    down: int
    link_memory: float
    app_memory: float


class Unmeasured(Exception):
    """A round does not end; the text says of how many nodes, and how many requests failed."""


class _Reading(NamedTuple):
    """What the meters say at a time."""

    clock: float
    orders: int
    polls: int
    failed: int
    link: float
    app: float
    up: int
    down: int


class _Meters:
    """Processor time and memory of the SuperLink and of its ServerApp, and what nodes say."""

    def __init__(self, it: Fleet, relay: Relay) -> None:
        self.most = {LINK: 0.0, APP: 0.0}  # MiB
        self._found = {LINK: psutil.Process(it.processes[LINK].pid)}
        self._fleet, self._relay, self._over = it, relay, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            for name, process in list(self._found.items()):
                with suppress(psutil.Error):
                    self.most[name] = max(self.most[name], process.memory_info().rss / MIB)

    def _seconds(self, name: str) -> float:
        with suppress(psutil.Error):
            if name not in self._found:
                for process in self._fleet.left():
                    if any(Path(word).name == name for word in process.cmdline()[:2]):
                        self._found[name] = process
            if name in self._found:
                times = self._found[name].cpu_times()
                return float(times.user + times.system)
        return 0.0

    def said(self) -> dict[str, int]:
        """Return what the nodes said last; empty: they are not there yet."""
        lines = [line for line in self._fleet.log("nodes").splitlines() if line.endswith("}")]
        return dict(json.loads(lines[-1])) if lines else {}

    def over(self, k: int) -> bool:
        """Say whether all nodes have answered in round k."""
        said = self.said()
        return said["round"] > k or (said["round"] == k and said["answered"] == said["nodes"])

    def read(self) -> _Reading:
        """Return what they say now."""
        said = self.said()
        return _Reading(
            time.monotonic(), said["orders"], said["polls"], said["failed"],
            self._seconds(LINK), self._seconds(APP), self._relay.up, self._relay.down,
        )  # fmt: skip


def scenario_of(point: Point, rounds: int) -> Scenario:
    """Return a scenario whose rounds ask all nodes and wait for all; its rule costs least.

    >>> scenario_of(Point(8, "softmax", 0.25), rounds=4).deadline
    inf
    """
    return Scenario(
        hardware="real", workers=point.nodes, rule="average", model=point.model, rounds=rounds,
        evaluation_interval=rounds, deadline=float("inf"), learning_rate=1e-6,
    )  # fmt: skip


def measured(folder: Path, point: Point, rounds: int) -> list[Load]:
    """Run a SuperLink, a ServerApp and light nodes, and return what the server took.

    First of a time in which nodes wait without a run, then of each round but the first and the
    last. A round goes from the moment in which all nodes have answered to that of the next.

    Args:
        folder: of the app and the logs; made anew.
        point: what runs.
        rounds: how many, 3 or more.

    Raises:
        InputError: devices can't run the scenario, or its run ends before its rounds have.
        TimeoutError: the server or the nodes don't start; with the ends of all logs.
        Unmeasured: a round does not end: Flower does not send an order again whose way was cut
            off, as by the time limit of requests to a SuperLink that is busy.
    """
    from hgobench.simulation.world import World

    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    scenario, n = scenario_of(point, rounds), point.nodes
    new(folder / "app", scenario, "scale-1", folder / "results", folder / "attackers")
    d = World(scenario, real=True).model.dimension
    b = length(point.share, d)
    with (
        _server(folder / "logs") as it,
        Relay(it.port) as relay,
        _Meters(it, relay) as meters,
    ):
        it.start(
            "nodes", Path(sys.executable).name, "-m", "hgobench.flower.light",
            f"127.0.0.1:{relay.port}", str(n), repr(point.share),
        )  # fmt: skip
        it.wait(meters.said, START + PER_NODE * n)
        time.sleep(SETTLED)
        before = meters.read()
        time.sleep(IDLE)
        loads = [_load(point, 0, 0, before, meters.read(), meters)]
        it.start("run", "flwr", "run", str(folder / "app"), "here", "--stream")
        readings = list[_Reading]()
        for k in range(BEGIN - 1, rounds):
            seconds = START + EACH + PER_NODE * n
            with suppress(TimeoutError):
                it.wait(lambda k=k: meters.over(k) or _ended(it), seconds, look=0.01)  # type: ignore[misc]
            if not meters.over(k):
                if _ended(it):
                    raise InputError(f"scale: {n} nodes, {point.model}: {it.log('run')[-500:]}")
                raise Unmeasured(
                    f"{n} nodes, {point.model}: round {k} has not ended in {seconds:g} s; "
                    f"{meters.said()['failed']} requests of nodes failed"
                )
            readings.append(meters.read())
        loads += [_load(point, d, b, *both, meters=meters) for both in pairwise(readings)]
    shutil.rmtree(folder)
    return loads


@contextmanager
def _server(folder: Path) -> Iterator[Fleet]:
    """Start a SuperLink, and end everything at the end."""
    it = Fleet(folder)
    try:
        # As Flower has it: other fleets here are quicker, at the cost of the SuperLink's time.
        it.superlink(FLWR_SUPEREXEC_TASK_POLL_INTERVAL="1.0")
        yield it
    finally:
        it.end()


def _ended(it: Fleet) -> bool:
    return it.processes["run"].poll() is not None


def length(share: float, dimension: int) -> int:
    """Return b, how many of d coordinates a node sends.

    >>> length(0.25, 650)
    163
    """
    return -int(-share * dimension // 1)


def _load(point: Point, d: int, b: int, before: _Reading, after: _Reading, meters: _Meters) -> Load:
    return Load(
        nodes=point.nodes,
        dimension=d,
        length=b,
        seconds=after.clock - before.clock,
        orders=after.orders - before.orders,
        polls=after.polls - before.polls,
        failed=after.failed - before.failed,
        link_seconds=after.link - before.link,
        app_seconds=after.app - before.app,
        up=after.up - before.up,
        down=after.down - before.down,
        link_memory=meters.most[LINK],
        app_memory=meters.most[APP],
    )
