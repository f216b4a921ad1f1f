"""The ServerApp of a scenario on real devices: it drives rounds, and keeps what comes of them.

Its settings are in the app's ``pyproject.toml`` under ``[tool.flwr.app.config]``: ``results``, the
folder of results, ``ruleset``, under which the result is kept, ``wait``, how many seconds it waits
for nodes, and the scenario's fields under ``scenario``.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.serverapp import Grid, ServerApp

from hgobench.boundary import error_text, plain
from hgobench.devices.server import Reply, Run, everyone
from hgobench.errors import InputError
from hgobench.results import open_store
from hgobench.scenario import Scenario

from .arrays import ReplyError, decoded
from .client_app import ASK, FIRST, PARAMS, TOLD
from .grid import UNREADABLE, OneByOne
from .strategy import BESIDE

log = logging.getLogger("flwr").log

LIFETIME = 3600.0  # seconds that an order lives if there is no deadline
GREETING = 600.0  # seconds that a question who is there lives
LOOK = 1.0  # seconds between two looks for nodes
SETTINGS = {"results", "ruleset", "wait"}

app = ServerApp()


class Settings(NamedTuple):
    """What an app's configuration says.

    Attributes:
        scenario: what runs.
        results: the folder of results.
        ruleset: under which the result is kept.
        wait: seconds for nodes to come.
    """

    scenario: Scenario
    results: Path
    ruleset: str
    wait: float


def settings_of(config: Mapping[str, Any]) -> Settings:
    """Read an app's configuration.

    >>> config = {"results": "out", "scenario.workers": 5, "scenario.rule": "median"}
    >>> settings_of(config).scenario.hardware
    'real'

    Raises:
        InputError: all that is wrong with it.
    """
    fields: dict[str, Any] = {"hardware": "real"}
    problems = []
    for name, value in config.items():
        if name.startswith("scenario."):
            fields[name.removeprefix("scenario.")] = value
        elif name not in SETTINGS:
            problems.append(f"{name}: no such setting; expected {', '.join(sorted(SETTINGS))}, "
                            "or a scenario's field as scenario.rule")  # fmt: skip
    results, ruleset = config.get("results", ""), config.get("ruleset", "real-1")
    wait = config.get("wait", 120)
    if not isinstance(results, str) or not results:
        problems.append("results: expected the folder of results")
    if not isinstance(ruleset, str) or not ruleset:
        problems.append(f"ruleset: {ruleset!r}; expected a name")
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not wait >= 0:
        problems.append(f"wait: {wait!r}; expected seconds")
    if problems:
        raise InputError(problems)
    return Settings(Scenario(**fields), Path(results), ruleset, float(wait))


class _Timed(OneByOne):
    """A grid that knows when each reply came."""

    def __init__(self, grid: Grid, largest: int, aside: int) -> None:
        super().__init__(grid, largest, aside)
        self.arrived: dict[str, float] = {}

    def fetched(self, message: Message) -> list[Message]:
        """Return what has come in reply to a message, and note when."""
        came = super().fetched(message)
        if came:
            self.arrived.setdefault(message.metadata.message_id, time.monotonic())
        return came


class Trip(NamedTuple):
    """How the last orders of a worker went: see `hgobench.devices.worker.Ask`."""

    seconds: float = 0.0
    answered: int = 0
    missed: int = 0


class Fleet:
    """The nodes that are there, and which worker each is.

    A worker is the first node that says so, for as long as Flower lists it: a node that claims
    another's number is refused, and asked again later.

    Args:
        grid: Flower's.
        run: the run.
        aside: how many nodes may keep their replies coming without end.

    Attributes:
        node: by worker, of those that are there.
        trips: by worker.
        facts: what each worker said of itself.
        dropped: by worker or node, how many replies were dropped.
        said: by worker, what it said in each round of the seconds that it had to compute (left) and
            that its last answer took on its way and back (way).
    """

    def __init__(self, grid: Grid, run: Run, aside: int) -> None:
        size = 4 * run.world.model.dimension
        self.grid, self.run = _Timed(grid, size + BESIDE, aside), run
        self.node: dict[int, int] = {}
        self.trips: dict[int, Trip] = {}
        self.facts: dict[int, dict[str, Any]] = {}
        self.dropped: Counter[str] = Counter()
        self.said: dict[tuple[int, str], list[float]] = {}
        self._asked: dict[int, tuple[Message, float]] = {}  # by node: who are you?
        self._refused: dict[int, float] = {}  # by node, until when it is not asked again

    def greet(self, at_once: bool = False) -> None:
        """Ask nodes that have come who they are, take what others have said, forget who is gone.

        Args:
            at_once: whether that is asked again and again, so that it is known when answers come.
        """
        listed, now = set(self.grid.get_node_ids()), time.monotonic()
        for worker, node in list(self.node.items()):
            if node not in listed:
                log(logging.WARNING, "worker %d is gone (node %d)", worker, node)
                del self.node[worker]
        for node, (message, sent) in list(self._asked.items()):
            came = self.grid.fetched(message)
            if came:
                del self._asked[node]
                self._take(node, came[0], sent if at_once else None)
            elif node not in listed or now - sent > GREETING:
                del self._asked[node]
        known = {*self.node.values(), *self._asked}
        known |= {node for node, until in self._refused.items() if now < until}
        for node in sorted(listed - known):
            ask = ConfigRecord(self.run.ask(-1).told())
            message = Message(
                RecordDict({ASK: ask}), dst_node_id=node, message_type=MessageType.QUERY,
                ttl=GREETING,
            )  # fmt: skip
            self.grid.push_messages([message])
            self._asked[node] = (message, time.monotonic())

    def _take(self, node: int, reply: Message, sent: float | None) -> None:
        """Take what a node says of itself; `sent`: when it was asked, if it is known."""
        try:
            if reply.has_error():
                raise ReplyError(plain(str(reply.error.reason)))
            if reply.metadata.src_node_id != node:
                raise ReplyError(f"claims to be of node {reply.metadata.src_node_id}")
            told = dict(reply.content.config_records[TOLD])
            worker, rate = told["worker"], told["rate"]
            if type(worker) is not int or not 0 <= worker < self.run.scenario.workers:
                raise ReplyError(f"says that it is worker {plain(str(worker))}")
            if type(rate) is not float or not rate > 0 or type(told["examples"]) is not int:
                raise ReplyError("says nonsense of its rate or its examples")
            if worker in self.node:
                raise ReplyError(
                    f"says that it is worker {worker}, which node {self.node[worker]} is"
                )
        except Exception as error:  # of anybody's message
            reason = str(error) if isinstance(error, ReplyError) else error_text(error)
            log(logging.WARNING, "node %d is not taken: %s", node, reason)
            self._refused[node] = time.monotonic() + 10.0
            return
        self.node[worker] = node
        self._refused.pop(node, None)
        self.trips[worker] = Trip() if sent is None else Trip(time.monotonic() - sent)
        self.facts[worker] = {"rate": rate, "examples": told["examples"]}
        log(logging.INFO, "worker %d is here: node %d, λ = %.4g", worker, node, rate)

    def wait(self, seconds: float) -> None:
        """Wait until all workers are there, or the time is over.

        Raises:
            InputError: fewer than the quorum have come.
        """
        end, everybody = time.monotonic() + seconds, self.run.scenario.workers
        while True:
            self.greet(at_once=True)
            if len(self.node) == everybody or time.monotonic() >= end:
                break
            time.sleep(LOOK)
        log(logging.INFO, "workers that are here: %s", everyone(self.node))
        quorum = self.run.scenario.quorum
        if len(self.node) < quorum:
            raise InputError(
                f"{len(self.node)} of {everybody} workers have come in {seconds:g} s; the quorum "
                f"is {quorum}"
            )

    def play(self) -> dict[str, Any]:
        """Play a round, and return its row."""
        self.greet()
        run, began = self.run, time.monotonic()
        deadline = run.scenario.deadline
        params = ArrayRecord({PARAMS: Array(run.params)})
        order: dict[int, Message] = {}
        for worker in run.workers:
            if worker in self.node:
                trip = self.trips[worker]
                told = run.ask(worker, trip.seconds, trip.answered, trip.missed).told()
                order[worker] = Message(
                    RecordDict({PARAMS: params, ASK: ConfigRecord(told)}),
                    dst_node_id=self.node[worker], message_type=MessageType.TRAIN,
                    ttl=deadline if math.isfinite(deadline) else LIFETIME,
                )  # fmt: skip
        timeout = deadline if math.isfinite(deadline) else None
        came = list(self.grid.send_and_receive(order.values(), timeout=timeout)) if order else []
        if not order and timeout:
            time.sleep(timeout)  # nobody is there: perhaps somebody comes
        replies, idle, malformed = self._read(order, came)
        k = run.k + 1
        for worker, message in order.items():
            trip = self.trips[worker]
            if worker in replies or worker in idle:
                at = self.grid.arrived[message.metadata.message_id]
                self.trips[worker] = Trip(at - began, k)
            else:
                self.trips[worker] = trip._replace(missed=trip.missed + 1)
        seconds = time.monotonic() - began
        return run.hear(replies, asked=len(order), malformed=malformed, seconds=seconds)

    def _read(
        self, order: Mapping[int, Message], came: Iterable[Message]
    ) -> tuple[dict[int, Reply], set[int], int]:
        """Return the answers by worker, who had no time, and how many replies can't be used."""
        asked = {message.metadata.message_id: worker for worker, message in order.items()}
        replies: dict[int, Reply] = {}
        idle: set[int] = set()
        malformed = 0
        for reply in came:
            worker = asked.get(reply.metadata.reply_to_message_id)
            try:
                if worker is None:
                    raise ReplyError("answers no message of this round")
                if reply.has_error():
                    reason = plain(str(reply.error.reason))
                    if reply.error.code == UNREADABLE:
                        raise ReplyError(reason)
                    log(logging.WARNING, "round %d: worker %d: %s", self.run.k + 1, worker, reason)
                    continue
                if reply.metadata.src_node_id != self.node[worker]:
                    raise ReplyError(f"claims to be of node {reply.metadata.src_node_id}")
                if worker in replies or worker in idle:
                    raise ReplyError("is the second of its worker")
                told: Mapping[str, Any] = reply.content.metric_records.get(TOLD, {})
                self._note(worker, told)
                if told and not reply.content.array_records:
                    line = "round %d: worker %d had no time for a coordinate"
                    log(logging.INFO, line, self.run.k + 1, worker)
                    idle.add(worker)
                    continue
                replies[worker] = self._answer(reply, told)
            except Exception as error:  # of anybody's message
                reason = str(error) if isinstance(error, ReplyError) else error_text(error)
                who = "a stranger" if worker is None else f"worker {worker}"
                malformed += 1
                self.dropped[who] += 1
                line = "round %d: a reply of %s is dropped: %s"
                log(logging.WARNING, line, self.run.k + 1, who, plain(reason))
        return replies, idle, malformed

    def _note(self, worker: int, told: Mapping[str, Any]) -> None:
        """Note what a device says of a round: for the record, and for predictions."""
        for name in ("left", "way"):
            value = told.get(name)
            if type(value) is float and math.isfinite(value):
                self.said.setdefault((worker, name), []).append(value)

    def _answer(self, reply: Message, told: Mapping[str, Any]) -> Reply:
        records = list(reply.content.array_records.values())
        if len(records) != 1 or list(records[0]) != [FIRST]:
            raise ReplyError(f"expected one ArrayRecord, with the array {FIRST!r} alone")
        like = np.empty(self.run.world.model.dimension, np.float32)
        values = decoded(f"array {FIRST!r}", records[0][FIRST], like, shorter=True)
        updates, joules = told.get("updates"), told.get("joules")
        return Reply(
            values,
            updates if type(updates) is int else 1,
            joules if type(joules) is float and 0 <= joules < math.inf else math.nan,
        )


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run a scenario from its first round, or go on after the last that was kept."""
    try:
        asked = settings_of(context.run_config)
        run = Run.resumed(asked.scenario, asked.results, asked.ruleset)
        if run.k:
            log(logging.INFO, "rounds 1 to %d are kept in %s", run.k, run.log.folder)
        drive(grid, run, asked)
    except InputError as error:
        for problem in error.problems:
            log(logging.ERROR, "hgobench: refused: %s", problem)
        raise


def drive(grid: Grid, run: Run, asked: Settings) -> None:
    """Play a run's rounds, and keep its result in the store."""
    scenario = run.scenario
    # Even if none is taken to be Byzantine, one may break while it sends.
    fleet = Fleet(grid, run, aside=max(scenario.tolerated, 1))
    if run.over:
        with open_store(asked.results) as store:
            kept = {(ruleset, result.scenario) for ruleset, result in store.results()}
        if (asked.ruleset, scenario) in kept:
            log(logging.INFO, "the run is over: its result is kept in %s", asked.results)
            return
    else:
        fleet.wait(asked.wait)
    while not run.over:
        row = fleet.play()
        accuracy = row["test_accuracy"]
        line = "round %d: heard %d of %d, block %d of %d, %.1f s%s%s"
        log(
            logging.INFO, line, row["round"], row["heard"], len(run.workers), row["block_size"],
            run.world.model.dimension, row["time"],
            "" if math.isnan(accuracy) else f", accuracy {accuracy:.3f}",
            ": stalled" if row["stalled"] else "",
        )  # fmt: skip
    for (worker, name), values in fleet.said.items():
        fleet.facts[worker][name] = float(np.median(values))
    for worker, joules in enumerate(run.joules.tolist()):
        if joules:
            fleet.facts.setdefault(worker, {})["joules"] = joules
    result = run.result(
        engine=f"flower {metadata.version('flwr')}",
        fleet={str(worker): facts for worker, facts in sorted(fleet.facts.items())},
    )
    with open_store(asked.results) as store:
        store.add(result, asked.ruleset)
    log(logging.INFO, "%s: %d rounds, %d stalled, accuracy %.3f; kept in %s", result.status,
        result.summary["rounds"], result.summary["stalled"], result.summary["test_accuracy"],
        asked.results)  # fmt: skip
    for who, count in sorted(fleet.dropped.items()):
        log(logging.INFO, "replies of %s that were dropped: %d", who, count)
