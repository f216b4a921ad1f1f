"""A scenario as a Flower app: its two halves in this process, and by processes. Needs Flower."""

from __future__ import annotations

import logging
import re
import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from hgobench import Scenario, World, open_store
from hgobench.devices.byzantine import sampled
from hgobench.devices.folder import new
from hgobench.devices.log import Log
from hgobench.devices.replay import replayed
from hgobench.devices.server import Run
from hgobench.errors import InputError
from hgobench.flower.processes import Fleet, fleet, free_port, listens
from hgobench.results.result import Result

pytest.importorskip("flwr", reason="needs hgobench[flower]: CONTRIBUTING.md says how")

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from hgobench.flower import client_app, server_app
from hgobench.flower.client_app import ASK, FIRST, PARAMS, TOLD
from hgobench.flower.keys import make as make_keys
from hgobench.flower.server_app import Settings, drive, settings_of
from tests.test_flower import Local, Reply

FIELDS: dict[str, Any] = {
    "hardware": "real", "workers": 4, "rule": "median", "rounds": 3, "learning_rate": 0.5,
    "deadline": 30.0, "evaluation_interval": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_an_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be the process of an app, as far as messages ask; without waiting."""
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    monkeypatch.setattr(server_app, "LOOK", 0.0)
    monkeypatch.setattr("hgobench.flower.grid.POLL", 0.0)
    monkeypatch.setattr("hgobench.devices.worker.calibrate", lambda *_: 1e6)
    monkeypatch.setattr(client_app, "calibrate", lambda *_: 1e6)


class Nodes:
    """Nodes of a scenario, each with a state of its own."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self.scenario, self.results = scenario, folder / "results"
        self.settings = new(folder / "app", scenario, "real-1", self.results, folder / "group")

    def node(self, worker: int, **more: Any) -> Reply:
        found = re.findall(r'(\w+)=(?:"([^"]*)"|(\d+))', self.settings[worker])
        config = {name: text or int(number) for name, text, number in found}
        context = Context(7, 0, {**config, **more}, RecordDict(), {})
        return lambda message: client_app.app(message, context)

    def all(self) -> list[Reply]:
        return [self.node(worker) for worker in range(self.scenario.workers)]

    def run(self, *nodes: Reply, wait: float = 0.5) -> tuple[Result, Run]:
        run = Run.resumed(self.scenario, self.results, "real-1")
        asked = Settings(self.scenario, self.results, "real-1", wait)
        drive(Local(*nodes), run, asked)
        with open_store(self.results, create=False) as store:
            ((_, result),) = store.results()
        return result, run


def test_an_app_s_halves_make_what_the_simulation_does(tmp_path: Path) -> None:
    """All are fast: whole gradients, the model of the simulation, a result in the store."""
    nodes = Nodes(tmp_path, Scenario(**FIELDS))
    result, run = nodes.run(*nodes.all())
    assert (result.status, result.rounds["heard"]) == ("done", [4, 4, 4])
    assert result.rounds["block_size"] == [650] * 3
    from hgobench import run as simulated

    other = simulated(Scenario(**{**FIELDS, "hardware": "powerful", "deadline": 1e6}))
    assert result.rounds["test_accuracy"] == pytest.approx(other.rounds["test_accuracy"], abs=1e-9)
    assert str(result.provenance["engine"]).startswith("flower 1.")
    facts = result.provenance["fleet"]["2"]
    assert (facts["rate"], facts["examples"]) == (1e6, 305)
    assert 10 < facts["left"] < 30 > facts["way"] >= 0  # half a minute, and what messages take
    assert replayed(nodes.results)[0].same
    assert run.over


def test_declared_rates_attacks_and_a_node_of_another_s_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hgobench.devices.worker.time.sleep", lambda _: None)
    scenario = Scenario(**{**FIELDS, "workers": 5, "byzantine": 1, "attack": "sign_flip"})
    nodes = Nodes(tmp_path, scenario)
    hostile = int(np.flatnonzero(World(scenario, real=True).byzantine(1))[0])
    one, other = sorted({*range(5)} - {hostile})[:2]
    assert 'attack="sign_flip"' in nodes.settings[hostile]
    all_ = nodes.all()
    all_[one] = nodes.node(one, rate=500.0, watts=2.0)
    impostor = nodes.node(other)
    honestly = nodes.node(one)  # is refused: its number is taken

    with caplog.at_level(logging.INFO, "flwr"):
        result, _ = nodes.run(*all_, impostor, honestly)
    assert result.rounds["heard"] == [5] * 3
    assert result.rounds["byzantine_heard"] == [1] * 3
    assert sum(result.rounds["bytes_up"]) < 3 * 5 * 2600
    assert caplog.text.count("says that it is worker") >= 2
    assert "energy" not in result.measures  # the others say nothing
    assert result.provenance["fleet"][str(one)]["joules"] > 0
    assert "joules" not in result.provenance["fleet"][str(other)]


def test_a_byzantine_worker_can_t_pass_for_honest_by_mistake(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scenario = Scenario(**{**FIELDS, "byzantine": 1, "attack": "sign_flip", "rounds": 1})
    nodes = Nodes(tmp_path, scenario)
    hostile = int(np.flatnonzero(World(scenario, real=True).byzantine(1))[0])
    config = re.sub(r' attack="[^"]*"', "", nodes.settings[hostile])
    nodes.settings[hostile] = config
    with caplog.at_level(logging.WARNING, "flwr"):
        result, _ = nodes.run(*nodes.all())
    assert result.rounds["heard"] == [3]
    assert f"worker {hostile} is Byzantine in this scenario; its node-config has no" in caplog.text


def hostile(make: Any) -> Reply:
    """Return a node that says who it is, and then anything."""

    def reply(message: Message) -> Any:
        if message.metadata.message_type == "query":
            told: dict[str, Any] = {"worker": 3, "rate": 9.0, "examples": 5}
            return Message(RecordDict({TOLD: ConfigRecord(told)}), reply_to=message)
        return make(message)

    return reply


def sends(array: NDArray[Any], **records: Any) -> Reply:
    content = {FIRST: ArrayRecord({FIRST: Array(array)}), **records}
    return hostile(lambda message: Message(RecordDict(content), reply_to=message))


HOSTILE: dict[str, tuple[Reply, str]] = {
    "too long": (sends(np.zeros(651, np.float32)), r"shape (651,); expected (650,)"),
    "nothing": (sends(np.zeros(0, np.float32)), r"shape (0,); expected (650,)"),
    "float64": (sends(np.zeros(9)), "type 'float64'; expected float32"),
    "two records": (
        sends(np.zeros(9, np.float32), more=ArrayRecord({})),
        "expected one ArrayRecord, with the array 'first' alone",
    ),
    "no record": (
        hostile(lambda message: Message(RecordDict({}), reply_to=message)),
        "expected one ArrayRecord, with the array 'first' alone",
    ),
    "garbage": (
        hostile(
            lambda message: Message(
                RecordDict({FIRST: ArrayRecord({FIRST: Array("float32", (9,), "numpy.ndarray", b"\x80")})}),
                reply_to=message,
            )
        ),
        "bytes that are no array of NumPy's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_rubbish_is_dropped_counted_and_told(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    node, reason = HOSTILE[what]
    nodes = Nodes(tmp_path, Scenario(**{**FIELDS, "byzantine": 1}))
    with caplog.at_level(logging.INFO, "flwr"):
        result, _ = nodes.run(*nodes.all()[:3], node)
    assert result.rounds["malformed"] == [1, 1, 1]
    assert result.rounds["heard"] == [3, 3, 3]
    assert caplog.text.count("a reply of worker 3 is dropped: ") == 3
    assert reason in caplog.text
    assert "replies of worker 3 that were dropped: 3" in caplog.text


def test_replies_of_others_and_second_ones_are_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = ArrayRecord({FIRST: Array(np.ones(650, np.float32))})

    def twice(message: Message) -> Any:
        both = [Message(RecordDict({FIRST: first}), reply_to=message) for _ in range(3)]
        both[2].metadata.__dict__["_src_node_id"] = 1000
        return both

    nodes = Nodes(tmp_path, Scenario(**{**FIELDS, "byzantine": 1, "rounds": 1}))
    with caplog.at_level(logging.WARNING, "flwr"):
        result, _ = nodes.run(*nodes.all()[:3], hostile(twice))
    assert (result.rounds["heard"], result.rounds["malformed"]) == ([4], [2])
    assert "is the second of its worker" in caplog.text
    assert "claims to be of node 1000" in caplog.text


@pytest.mark.parametrize(
    "told",
    [
        {"worker": 4, "rate": 1.0, "examples": 1},
        {"worker": "0", "rate": 1.0, "examples": 1},
        {"worker": 0, "rate": -1.0, "examples": 1},
        {"worker": 0},
    ],
)
def test_who_says_nonsense_of_itself_is_not_taken(
    tmp_path: Path, told: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    nodes = Nodes(tmp_path, Scenario(**{**FIELDS, "rounds": 1}))

    def stranger(message: Message) -> Message:
        return Message(RecordDict({TOLD: ConfigRecord(told)}), reply_to=message)

    with caplog.at_level(logging.WARNING, "flwr"):
        result, _ = nodes.run(*nodes.all()[1:], stranger)
    assert result.rounds["heard"] == [3]
    assert "node 1003 is not taken: " in caplog.text


def test_too_few_nodes_are_refused_before_the_first_round(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, Scenario(**{**FIELDS, "byzantine": 1}))
    with pytest.raises(InputError, match=r"2 of 4 workers have come in 0.5 s; the quorum is 3"):
        nodes.run(*nodes.all()[:2])


class Leaving(Local):
    """Nodes of which the last leaves after the first round, and returns for the third."""

    asked = 0

    def push_messages(self, messages: Any) -> Any:
        sent = list(messages)
        self.asked += any(message.metadata.message_type == "train" for message in sent)
        return super().push_messages(sent)

    def get_node_ids(self) -> Any:
        return [node for node in self.nodes if node != 1003 or self.asked != 1]


def test_nodes_that_leave_and_return_change_their_own_part_alone(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, Scenario(**{**FIELDS, "rounds": 4, "byzantine": 1}))
    run = Run.resumed(nodes.scenario, nodes.results, "real-1")
    drive(Leaving(*nodes.all()), run, Settings(nodes.scenario, nodes.results, "real-1", 0.5))
    # As the third round begins it is asked who it is.
    assert run.result().rounds["heard"] == [4, 3, 3, 4]
    assert run.result().rounds["stalled"] == [False] * 4


class Late(Local):
    """Nodes of which the last answers each order only once the next one is out."""

    def pull_messages(self, message_ids: Any) -> Any:
        names = list(message_ids)
        orders = [name for name in self.waiting if self.waiting[name].metadata.ttl < 100]
        late = [name for name in orders if self.waiting[name].metadata.dst_node_id == 1003]
        return super().pull_messages([name for name in names if name not in late[-1:]])


def test_late_replies_are_not_heard_and_the_device_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hgobench.devices.worker.UNKNOWN", 0.0)
    monkeypatch.setattr("hgobench.devices.worker.MARGIN", 0.0)
    nodes = Nodes(tmp_path, Scenario(**{**FIELDS, "byzantine": 1, "deadline": 0.5}))
    missed = []

    def late(message: Message) -> Message:
        raise AssertionError("it is asked for what is over")

    def listening(message: Message) -> Any:
        return nodes.node(3)(message) if message.metadata.message_type == "query" else late(message)

    run = Run.resumed(nodes.scenario, nodes.results, "real-1")
    ask = run.ask

    def noted(worker: int, *told: Any) -> Any:
        missed.extend([told[2]] if worker == 3 and told else [])
        return ask(worker, *told)

    monkeypatch.setattr(run, "ask", noted)
    drive(
        Late(*nodes.all()[:3], listening), run, Settings(nodes.scenario, nodes.results, "real-1", 2)
    )
    rounds = run.result().rounds
    assert (rounds["heard"], rounds["stalled"]) == ([3] * 3, [False] * 3)
    assert missed == [0, 1, 2]
    assert all(
        0.5 <= later - sooner < 5
        for sooner, later in zip([0.0, *rounds["time"]], rounds["time"], strict=False)
    )


def test_a_node_refuses_what_it_can_t_do(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, Scenario(**FIELDS))
    run = Run.resumed(nodes.scenario, nodes.results, "real-1")

    def said(node: Reply, worker: int = 0, **fields: Any) -> str:
        ask = run.ask(worker).told() | fields
        params = ArrayRecord({PARAMS: Array(run.params)})
        message = Message(
            RecordDict({ASK: ConfigRecord(ask), PARAMS: params}),
            dst_node_id=5,
            message_type="train",
        )
        reply: Any = node(message)
        return str(reply.error.reason) if reply.has_error() else ""

    node = nodes.node(0)
    assert said(node) == ""
    assert said(node) == "round 1 is over, or asked for again"
    assert said(node, round=2) == ""
    assert said(node, 1, round=3) == "worker 1 is asked; this is worker 0"
    assert "in another version's words" in said(node, tau=3.0)
    assert "data: " in said(nodes.node(0, data="/nowhere.npz"))
    assert "node-config: energy: /nowhere: " in said(nodes.node(0, energy="/nowhere"))
    assert said(nodes.node(0, speed=3)) == "node-config: speed: no such setting"
    assert said(nodes.node(0, rate="fast")) == "node-config: rate: 'fast'; expected float"
    assert said(nodes.node(0), deadline=1.0) == ""


def test_who_has_no_time_says_so_and_a_run_that_is_over_stays_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = Nodes(tmp_path, Scenario(**{**FIELDS, "byzantine": 1}))
    slow = nodes.node(3, rate=0.1)
    with caplog.at_level(logging.INFO, "flwr"):
        result, _ = nodes.run(*nodes.all()[:3], slow)
    assert caplog.text.count("worker 3 had no time for a coordinate") == 3
    assert (result.rounds["heard"], result.rounds["malformed"]) == ([3] * 3, [0] * 3)
    assert result.provenance["fleet"]["3"]["left"] < 30
    assert 0 <= result.provenance["fleet"]["3"]["way"] < 5  # measured of its answers, too
    again, _ = nodes.run()
    assert again == result
    assert "the run is over: its result is kept in" in caplog.text


def test_a_node_learns_how_long_messages_take(tmp_path: Path) -> None:
    """From the server's clock alone: seconds until its answer was there, without its own work."""
    nodes = Nodes(tmp_path, Scenario(**FIELDS))
    context = Context(7, 0, {"worker": 0, "data": f"{tmp_path}/app/data/worker-0.npz"},
                      RecordDict(), {})  # fmt: skip
    run = Run.resumed(nodes.scenario, nodes.results, "real-1")
    for k, trip in ((1, 0.0), (2, 5.0), (3, 7.0)):
        ask = run.ask(0, trip, k - 1).told() | {"round": k}
        content: dict[str, Any] = {
            ASK: ConfigRecord(ask),
            PARAMS: ArrayRecord({PARAMS: Array(run.params)}),
        }
        client_app.app(Message(RecordDict(content), dst_node_id=5, message_type="train"), context)
    kept: Any = context.state.config_records["hgobench"]
    assert len(kept["overheads"]) == 2
    assert kept["overheads"] == pytest.approx([5.0, 7.0], abs=0.9)
    other = Context(8, 0, context.node_config, context.state, {})
    assert client_app._Node(other).kept["last"] == 0  # another run begins anew


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "results: expected the folder of results"),
        ({"results": "a", "speed": 3}, "speed: no such setting"),
        ({"results": "a", "wait": "long"}, "wait: 'long'; expected seconds"),
        ({"results": "a", "scenario.rule": "kru"}, "did you mean 'krum'"),
        ({"results": "a", "ruleset": ""}, "ruleset: ''; expected a name"),
    ],
)
def test_an_app_s_settings_are_checked(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        settings_of(config)


# -- by processes ----------------------------------------------------------------------------------


def rounds_of(it: Fleet, name: str = "run") -> dict[int, tuple[int, int]]:
    """Return how many were heard and how long the block was in each round that a log tells."""
    found = re.findall(r"round (\d+): heard (\d+) of \d+, block (\d+)", it.log(name))
    return {int(k): (int(heard), int(block)) for k, heard, block in found}


def ended(it: Fleet, name: str = "run") -> bool:
    return "kept in" in it.log(name).replace("are kept in", "") or (
        it.processes[name].poll() is not None
    )


def result_of(folder: Path) -> Result:
    with open_store(folder / "results", create=False) as store:
        ((_, result),) = store.results()
    return result


def start(it: Fleet, folder: Path, *workers: int, name: str = "run") -> None:
    if name in it.processes:
        raise ValueError(name)
    it.start(name, "flwr", "run", str(folder / "app"), "here", "--stream")


@pytest.mark.long
def test_short_run_with_a_node_killed_and_one_byzantine(tmp_path: Path) -> None:
    """A SuperLink and four nodes: sign flip, and a kill -9 in mid-run; a board at the end."""
    scenario = Scenario(**{**FIELDS, "workers": 5, "byzantine": 1, "attack": "sign_flip",
                           "rounds": 4, "deadline": 40.0})  # fmt: skip
    nodes = Nodes(tmp_path, scenario)
    hostile = next(w for w, text in enumerate(nodes.settings) if "attack=" in text)
    victim = next(w for w in range(5) if w != hostile)
    (tmp_path / "fleet").mkdir()
    with fleet(tmp_path / "fleet") as it:
        for worker, text in enumerate(nodes.settings):
            it.node(f"node{worker}", text)
        start(it, tmp_path)
        it.wait(lambda: 1 in rounds_of(it) or ended(it), 240)
        kill(it, f"node{victim}")
        it.wait(lambda: ended(it), 240)
        log = it.log("run")
    result = result_of(tmp_path)
    assert result.status == "done", log
    assert result.rounds["heard"][0] >= 3, log
    assert result.rounds["heard"][-1] == 4, log
    assert max(result.rounds["byzantine_heard"]) == 1
    assert result.rounds["test_accuracy"][-1] > result.rounds["test_accuracy"][0]
    assert replayed(tmp_path / "results")[0].same
    assert not it.left()


def kill(it: Fleet, name: str) -> None:
    """Kill a node and all that it has started, as a device that loses its power."""
    root = psutil.Process(it.processes[name].pid)
    for process in [root, *root.children(recursive=True)]:
        process.send_signal(signal.SIGKILL)
    it.processes[name].wait()


def others(it: Fleet, word: str) -> list[psutil.Process]:
    """Return what runs of a fleet whose command has a word."""
    found = []
    for process in it.left():
        with suppress(psutil.Error):
            found += [process] if word in " ".join(process.cmdline()) else []
    return found


@pytest.mark.long
def test_long_a_server_is_killed_and_goes_on_and_a_node_sleeps(tmp_path: Path) -> None:
    """A Byzantine node breaks in the first round; the server in the second, and is started again.

    Then a node is stopped for a round, and continues.
    """
    scenario = Scenario(**{**FIELDS, "workers": 5, "byzantine": 1, "attack": "crash", "rounds": 6,
                           "deadline": 30.0, "rule": "centered_clipping", "solver": "momentum",
                           "learning_rate": 0.1})  # fmt: skip
    nodes = Nodes(tmp_path, scenario)
    hostile = next(w for w, text in enumerate(nodes.settings) if "attack=" in text)
    sleeper = f"node{next(w for w in range(5) if w != hostile)}"
    (tmp_path / "fleet").mkdir()
    with fleet(tmp_path / "fleet") as it:
        for worker, text in enumerate(nodes.settings):
            it.node(f"node{worker}", text)
        start(it, tmp_path)
        it.wait(lambda: 2 in rounds_of(it) or ended(it), 240)
        for process in others(it, "flwr-serverapp"):
            process.kill()
        before = len(rounds_of(it))
        start(it, tmp_path, name="again")
        it.wait(lambda: rounds_of(it, "again") or ended(it, "again"), 240)
        first = min(rounds_of(it, "again"))
        it.signal(sleeper, signal.SIGSTOP)
        it.wait(lambda: len(rounds_of(it, "again")) > 1 or ended(it, "again"), 240)
        it.signal(sleeper, signal.SIGCONT)
        it.wait(lambda: ended(it, "again"), 300)
        log = it.log("again")
    assert f"rounds 1 to {first - 1} are kept in" in log
    assert first > before >= 2
    result = result_of(tmp_path)
    assert (result.status, len(result.rounds["round"])) == ("done", 6), log
    assert sum(result.rounds["byzantine_heard"]) == 0
    assert result.rounds["heard"][first] == 3, log  # one broke, one sleeps
    assert 4 in result.rounds["heard"], log
    assert replayed(tmp_path / "results")[0].same
    assert not it.left()


def heard(kept: Log, scenario: Scenario, after: int = 0) -> list[set[int]]:
    """Return which workers were heard in each round that is kept, of those after some round."""
    return [
        {int(worker) for worker in sampled(scenario, k)[one.rows]}
        for k, one, _ in kept.rounds()
        if k > after
    ]


class Gate:
    """A way to a port that lets bytes through until a word goes by, if it is set to stop there."""

    def __init__(self, port: int) -> None:
        self.port, self.word = port, b""
        self.stopped = threading.Event()
        self.open = threading.Event()
        self._at = socket.create_server(("127.0.0.1", 0))
        self.at = int(self._at.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):  # until it is closed
            while True:
                here, _ = self._at.accept()
                try:
                    there = socket.create_connection(("127.0.0.1", self.port))
                except OSError:
                    here.close()
                    continue
                for ends in ((here, there, True), (there, here, False)):
                    thread = threading.Thread(target=self._pass, args=ends)
                    thread.start()
                    self._threads.append(thread)

    def _pass(self, source: socket.socket, target: socket.socket, watched: bool) -> None:
        with source, suppress(OSError):
            while piece := source.recv(65536):
                if watched and self.word and self.word in piece:
                    half, piece = piece[: len(piece) // 2], piece[len(piece) // 2 :]
                    target.sendall(half)
                    self.stopped.set()
                    self.open.wait()
                target.sendall(piece)
            for end in (source, target):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let all go on, accept nothing more, and wait until both sides of all ways have ended."""
        self.open.set()
        self._at.shutdown(socket.SHUT_RDWR)
        self._at.close()
        for thread in self._threads:
            thread.join(30)


HEAD = b"POST /v1/fleet/%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/protobuf\r\n"
RUBBISH = {
    "no HTTP": b"\x80\x04\x95rubbish\x00\xff" * 99,
    "no protobuf": HEAD + b"Content-Length: 9\r\n\r\n" + b"\xff" * 9,
    "another protobuf": HEAD + b"Content-Length: 6\r\n\r\n\x0a\x04\x08\x01\x10\x02",
    "cut off": HEAD + b"Content-Length: 99999999999\r\n\r\n\x0a",
    "no length": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a long header": HEAD + b"X: " + b"a" * 200_000,
}  # fmt: skip
CALLS = (b"register-node", b"activate-node", b"pull-messages", b"push-messages", b"push-object",
         b"pull-object", b"get-run", b"get-fab", b"nothing")  # fmt: skip


def rubbish(port: int) -> list[bytes]:
    """Send all rubbish to a SuperLink; return how its answers begin, empty where there is none."""
    answers = []
    for text in RUBBISH.values():
        for call in CALLS:
            answers.append(b"")
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as link:
                link.sendall(text.replace(b"%s", call))
                link.settimeout(0.3)
                answers[-1] = link.recv(12)
    return answers


PULLED, SENDS, SENT = "Receiving: train", "Sending: train", "Sent successfully"  # in nodes' logs
# Each of four nodes is stopped, and later killed, in a phase of its own: what its log has since the
# round began, what it has not, and how many seconds later.
PHASES: dict[int, tuple[str, str, tuple[str, ...], tuple[str, ...], float]] = {
    0: ("before it pulls its order", "", (), (PULLED,), 0.0),
    1: ("while it computes", "", (PULLED,), (SENDS,), 4.0),
    2: ("while it sends", "gate", (PULLED, SENDS), (SENT,), 0.0),
    3: ("when it has sent its answer", "", (PULLED, SENDS, SENT), (), 0.0),
}


@pytest.mark.long
def test_long_nodes_stop_and_are_killed_in_every_phase_of_a_round(tmp_path: Path) -> None:
    """Who had sent its answer is heard, who stopped is heard again, and who is left goes on."""
    scenario = Scenario(**{**FIELDS, "workers": 5, "rounds": 20, "rule": "average",
                           "batch_size": 8, "deadline": 60.0})  # fmt: skip
    nodes = Nodes(tmp_path, scenario)
    kept = Log.of(nodes.results, "real-1", scenario)

    def all_heard(it: Fleet) -> tuple[int, dict[int, int]]:
        """Wait for a round in which all are heard; return it, and how long nodes' logs are at its end."""
        k, ends = kept.count(), time.monotonic() + 300
        while time.monotonic() < ends:
            if kept.count() > k:
                began = {node: len(it.log(f"node{node}")) for node in PHASES}
                k = kept.count()
                if heard(kept, scenario, k - 1) == [{*range(5)}]:
                    return k, began
            time.sleep(0.005)
        raise TimeoutError(it.log("run"))

    def hit(it: Fleet, gate: Gate, number: int, k: int, began: dict[int, int]) -> None:
        """Send each node a signal in its phase of the round after k, which begins."""

        def said(it: Fleet, node: int, words: tuple[str, ...]) -> str | None:
            """Return what a node's log has after some words, in their order; None: not all."""
            text = it.log(f"node{node}")[began[node] :]
            for word in words:
                _, found, text = text.partition(word)
                if not found:
                    return None
            return text

        gate.word = b"/push-object"
        since: dict[int, float] = {}
        while len(since) < len(PHASES) and kept.count() == k:
            for node in PHASES.keys() - since.keys():
                phase, gated, there, not_there, seconds = PHASES[node]
                if said(it, node, there) is None or (gated and not gate.stopped.is_set()):
                    continue
                time.sleep(seconds)
                it.signal(f"node{node}", number)
                since[node] = time.monotonic()
                further = said(it, node, there)
                assert further is not None
                assert not any(word in further for word in not_there), (phase, further)
            time.sleep(0.02)
        assert len(since) == len(PHASES), since
        assert kept.count() == k, "too slow a machine: the round was over before"

    (tmp_path / "fleet").mkdir()
    with ExitStack() as after, fleet(tmp_path / "fleet") as it:
        gate, port = Gate(it.port), it.port
        after.callback(gate.close)
        for worker, text in enumerate(nodes.settings):
            it.port = gate.at if worker == 2 else port
            slow = " rate=4.0" if worker == 1 else ""  # it computes as long as there is time
            it.node(f"node{worker}", text + slow)
        it.port = port
        start(it, tmp_path)
        for number in (signal.SIGSTOP, signal.SIGKILL):
            k, began = all_heard(it)
            hit(it, gate, number, k, began)
            assert any(answer.startswith(b"HTTP/1.1 4") for answer in rubbish(port))
            it.wait(lambda k=k: kept.count() > k, 120)  # type: ignore[misc]
            assert heard(kept, scenario, k)[0] in ({3}, {3, 4}), it.log("run")
            gate.word = b""
            gate.open.set()
            if number == signal.SIGSTOP:
                for node in PHASES:
                    it.signal(f"node{node}", signal.SIGCONT)
                gate.stopped.clear()
                gate.open.clear()
        it.wait(lambda: {4} in heard(kept, scenario, k + 1), 240)
        assert it.processes["superlink"].poll() is None
        told = rounds_of(it)
    assert max(told) <= kept.count()
    (run,) = replayed(nodes.results)
    assert (run.rounds, run.same) == (kept.count(), True)
    assert not it.left()


@pytest.mark.long
def test_long_a_superlink_is_killed_and_the_run_goes_on(tmp_path: Path) -> None:
    """With ``--database``: Flower ends the run, nodes come back under their ids, and started again
    it goes on after the last round that was kept."""
    scenario = Scenario(**{**FIELDS, "workers": 3, "rounds": 4})
    nodes = Nodes(tmp_path, scenario)
    (tmp_path / "fleet").mkdir()
    database = ("--database", str(tmp_path / "state.db"))
    it = Fleet(tmp_path / "fleet")
    try:
        it.superlink(*database)
        for worker, text in enumerate(nodes.settings):
            it.node(f"node{worker}", text)
        start(it, tmp_path)
        it.wait(lambda: 2 in rounds_of(it) or ended(it), 240)
        it.processes["superlink"].kill()
        it.processes["superlink"].wait()
        before = max(rounds_of(it))
        it.superlink(*database)
        it.wait(lambda: not others(it, "flwr-serverapp"), 120)
        start(it, tmp_path, name="again")
        it.wait(lambda: ended(it, "again"), 300)
        logs = it.log("run"), it.log("again")
    finally:
        it.end()
    result = result_of(tmp_path)
    first = min(rounds_of(it, "again"))
    assert first > before >= 2
    assert f"rounds 1 to {first - 1} are kept in" in logs[1]
    assert (result.status, result.rounds["round"]) == ("done", [1, 2, 3, 4]), logs
    ids = [dict(re.findall(r"worker (\d) is here: node (\d+)", log)) for log in logs]
    assert ids[0] == ids[1]
    assert replayed(tmp_path / "results")[0].same
    assert not it.left()


# Flower's clock of the day and Python's, moved by what a file says.
MOVED = """
import datetime, os, time
if "HGOBENCH_CLOCK" in os.environ:
    import flwr.supercore.date as date
    here, now = time.time, date.now
    def moved():
        with open(os.environ["HGOBENCH_CLOCK"]) as file:
            return float(file.read())
    time.time = lambda: here() + moved()
    date.now = lambda: now() + datetime.timedelta(seconds=moved())
"""


@pytest.mark.long
@pytest.mark.parametrize("whose", ["nodes", "server"])
def test_long_a_clock_jumps(tmp_path: Path, whose: str) -> None:
    """One node's is behind by minutes, another's jumps ahead by an hour: Flower ends that node, and
    started again it is heard. Or the server's does: Flower ends the run and its nodes; started again,
    it goes on. Rounds last as long as ever.
    """
    scenario = Scenario(**{**FIELDS, "workers": 3, "rounds": 60})
    nodes = Nodes(tmp_path, scenario)
    kept = Log.of(nodes.results, "real-1", scenario)
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / "sitecustomize.py").write_text(MOVED)
    (tmp_path / "fleet").mkdir()
    it = Fleet(tmp_path / "fleet")

    def clock(name: str, seconds: int) -> dict[str, str]:
        (tmp_path / f"{name}.clock").write_text(str(seconds))
        path = f"{tmp_path / 'shim'}:{it.environment['PYTHONPATH']}"
        return {"HGOBENCH_CLOCK": str(tmp_path / f"{name}.clock"), "PYTHONPATH": path}

    def come(which: set[int], after: int, name: str = "run") -> bool:
        return which in heard(kept, scenario, after) or ended(it, name)

    def started(name: str) -> None:
        for worker, text in enumerate(nodes.settings):
            behind = -100 if (whose, worker) == ("nodes", 0) else 0
            it.node(f"{name}-node{worker}", text, **clock(f"{name}-node{worker}", behind))
        start(it, tmp_path, name=name)

    try:
        it.superlink(**clock("server", 0))
        started("run")
        it.wait(lambda: come({0, 1, 2}, 0), 240)
        now = kept.count()
        if whose == "nodes":
            clock("run-node1", 3600)
            it.wait(lambda: come({0, 2}, now + 1), 240)
            assert "SuperNode terminated" in it.log("run-node1")
            now = kept.count()
            kill(it, "run-node1")
            it.node("again-node1", nodes.settings[1])
            it.wait(lambda: come({0, 1, 2}, now), 300)
            assert not ended(it), it.log("run")
        else:
            clock("server", 3600)
            it.wait(lambda: ended(it) and not others(it, "flwr-serverapp"), 240)
            now = kept.count()
            clock("server", 0)
            for worker in range(3):
                if it.processes[f"run-node{worker}"].poll() is None:
                    kill(it, f"run-node{worker}")
            started("again")
            it.wait(lambda: come({0, 1, 2}, now, "again"), 240)
            assert f"rounds 1 to {now} are kept in" in it.log("again")
            it.wait(lambda: bool(rounds_of(it, "again")) or ended(it, "again"), 120)
            assert not ended(it, "again"), it.log("again")
    finally:
        it.end()
    # Of a run that Flower ends its log may not have come that far.
    told = {**rounds_of(it), **(rounds_of(it, "again") if whose == "server" else {})}
    assert max(told) <= kept.count()
    assert all(0 < one.seconds < 3000 for _, one, _ in kept.rounds())  # not the hour
    assert replayed(nodes.results)[0].same
    assert not it.left()


@pytest.mark.long
def test_long_with_certificates_and_keys_strangers_get_nothing(tmp_path: Path) -> None:
    """TLS and node authentication: an unregistered key, no key and another authority are refused."""
    make_keys(tmp_path / "keys", 4, ["localhost", "127.0.0.1"])
    make_keys(tmp_path / "other", 1, ["localhost", "127.0.0.1"])
    scenario = Scenario(**{**FIELDS, "workers": 3, "rounds": 2, "deadline": 40.0})
    nodes = Nodes(tmp_path, scenario)
    (tmp_path / "fleet").mkdir()
    keys, it = tmp_path / "keys", Fleet(tmp_path / "fleet")
    config = tmp_path / "fleet" / "home" / "config.toml"
    config.write_text(
        config.read_text().replace("insecure = true", f'root-certificates = "{keys}/ca.pem"')
    )

    def node(name: str, text: str, key: Path | None, authority: Path = keys / "ca.pem") -> None:
        signs = [] if key is None else ["--auth-supernode-private-key", str(key)]
        it.start(
            name, "flower-supernode", "--root-certificates", str(authority), *signs,
            "--superlink", f"127.0.0.1:{it.port}", "--port", str(free_port()),
            "--node-config", text, "--max-retries", "1",
        )  # fmt: skip

    try:
        it.start(
            "superlink", "flower-superlink", "--port", str(it.port), "--enable-supernode-auth",
            "--disable-runtime-dependency-installation", "--ssl-ca-certfile", f"{keys}/ca.pem",
            "--ssl-certfile", f"{keys}/server.pem", "--ssl-keyfile", f"{keys}/server.key",
        )  # fmt: skip
        it.wait(lambda: listens(it.port), 60)
        for i in range(3):
            it.start(
                f"register{i}", "flwr", "supernode", "register", f"{keys}/node-{i}.pub", "here"
            )
            it.wait(lambda i=i: it.processes[f"register{i}"].poll() is not None, 60)  # type: ignore[misc]
        for i, text in enumerate(nodes.settings):
            node(f"node{i}", text, keys / f"node-{i}")
        strangers = {
            "unregistered": (keys / "node-3", keys / "ca.pem"),
            "nobody": (None, keys / "ca.pem"),
            "elsewhere": (keys / "node-0", tmp_path / "other" / "ca.pem"),
        }
        for name, (key, authority) in strangers.items():
            node(name, nodes.settings[0], key, authority)
        start(it, tmp_path)
        it.wait(lambda: ended(it), 300)
        for name in strangers:
            it.wait(lambda name=name: it.processes[name].poll() is not None, 60)  # type: ignore[misc]
            assert it.processes[name].poll() != 0
        log = it.log("run")
    finally:
        it.end()
    result = result_of(tmp_path)
    assert (result.status, result.rounds["heard"]) == ("done", [3, 3]), log
    assert sorted(result.provenance["fleet"]) == ["0", "1", "2"]
    assert not it.left()
