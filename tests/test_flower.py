"""`RobustStrategy` beside Flower's own strategies, and in whole runs. Needs Flower."""

from __future__ import annotations

import importlib
import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from hgobench.errors import InputError
from hgobench.flower.processes import Fleet, fleet
from tests import oracles
from tests.conftest import ROOT

pytest.importorskip("flwr", reason="needs hgobench[flower]: CONTRIBUTING.md says how")

from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid, strategy
from flwr.supercore.task_identity import TaskIdentity

from hgobench.determinism import stream
from hgobench.flower import HgoStrategy, RobustStrategy
from hgobench.flower.device import Task, order_of
from hgobench.flower.grid import UNREADABLE, OneByOne, held_bytes

PAGE = (ROOT / "docs" / "flower.md").read_text(encoding="utf-8")
WRITTEN_WITH = "1.42.0"  # the Flower of the page's table
Reply = Callable[[Message], Message | list[Message]]


class Local(Grid):
    """Nodes in this process: what each replies to a message is a function's."""

    run: Any = None

    def __init__(self, *nodes: Reply) -> None:
        self.nodes = {1000 + place: node for place, node in enumerate(nodes)}
        self.waiting: dict[str, Message] = {}

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    def create_message(self, *arguments: Any, **keywords: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def get_nodes(self) -> Any:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        names = []
        for message in messages:
            name = uuid4().hex
            message.metadata.__dict__["_message_id"] = name
            self.waiting[name] = message
            names.append(name)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        came: list[Message] = []
        for name in message_ids:
            message = self.waiting.pop(name, None)
            if message is not None:
                replies = self.nodes[message.metadata.dst_node_id](message)
                came += replies if isinstance(replies, list) else [replies]
        return came

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))


def record(w: NDArray[Any], **others: Any) -> ArrayRecord:
    return ArrayRecord({"w": Array(w), **others})


def replying(arrays: ArrayRecord | None = None, examples: float = 10, **metrics: float) -> Reply:
    """Return a node that sends arrays and metrics, whatever it is asked."""

    def reply(message: Message) -> Message:
        content: dict[str, Any] = {"metrics": MetricRecord({"num-examples": examples, **metrics})}
        if arrays is not None:
            content["arrays"] = ArrayRecord(dict(arrays))
        return Message(RecordDict(content), reply_to=message)

    return reply


def filled(value: float) -> NDArray[np.float32]:
    return np.full((2, 2), value, np.float32)


def changed(reply: Reply, **fields: Any) -> Reply:
    """Return a node whose reply's metadata say something else."""

    def answer(message: Message) -> Message:
        made = reply(message)
        assert not isinstance(made, list)
        for name, value in fields.items():
            made.metadata.__dict__[f"_{name}"] = value
        return made

    return answer


def ten_times(reply: Reply) -> Reply:
    """Return a node that says the same again and again."""

    def answer(message: Message) -> list[Message]:
        made: list[Any] = [reply(message) for _ in range(10)]
        return made

    return answer


def raw(data: bytes, stype: str = "numpy.ndarray") -> ArrayRecord:
    return ArrayRecord({"w": Array("float32", (2, 2), stype, data)})


ZERO = filled(0)
HONEST = [replying(record(filled(x))) for x in (0.8, 0.9, 1.0, 1.0, 1.1, 1.2)]
HOSTILE: dict[str, Reply] = {
    "NaN": replying(record(filled(np.nan))),
    "infinite": replying(record(filled(-np.inf))),
    "99, and 10⁹ examples": replying(record(filled(99)), 1e9),
    "99, and NaN examples": replying(record(filled(99)), np.nan),
    "99, ten times": ten_times(replying(record(filled(99)))),
    "99, of another round": changed(replying(record(filled(99))), reply_to_message_id="f" * 32),
    "another name": replying(ArrayRecord({"x": Array(filled(1))})),
    "another shape": replying(record(np.ones(3, np.float32))),
    "another type": replying(record(filled(99).astype(np.int64) * 2**50)),
    "no arrays": replying(),
    "bytes that are no array": replying(raw(b"\x00\xff" * 40)),
    "another serialisation": replying(raw(b"", "torch")),
}
STRATEGIES: dict[str, Callable[[], Any]] = {
    "FedAvg": strategy.FedAvg,
    "FedMedian": strategy.FedMedian,
    "FedTrimmedAvg": strategy.FedTrimmedAvg,
    "Krum": lambda: strategy.Krum(num_malicious_nodes=1),
    "Bulyan": lambda: strategy.Bulyan(num_malicious_nodes=1),
    "RobustStrategy": lambda: RobustStrategy("nnm+trimmed_mean", f=1),
}


@pytest.fixture(autouse=True)
def in_a_server_app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be the process of a ServerApp, as far as messages ask."""
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def one_round(
    made: Any, nodes: Iterable[Reply], arrays: ArrayRecord | None = None, k: int = 1
) -> tuple[Any, Any]:
    """Play a round; replies come in the order of the nodes."""
    grid = Local(*nodes)
    start = record(ZERO) if arrays is None else arrays
    asked = sorted(made.configure_train(k, start, ConfigRecord(), grid), key=_node)
    found: tuple[Any, Any] = made.aggregate_train(k, grid.send_and_receive(asked))
    return found


def _node(message: Message) -> Any:
    return message.metadata.dst_node_id


def outcome(make: Callable[[], Any], nodes: list[Reply]) -> str:
    """Return what a strategy makes of honest replies of 0.8 to 1.2 and a hostile one."""
    try:
        arrays, _ = one_round(make(), nodes)
    except Exception:
        return "**raises**"
    if arrays is None or not arrays:
        return "**no model**"
    values = arrays["w"].numpy()
    if values.dtype != np.float32 or values.shape != (2, 2):
        return f"**{values.dtype}**"
    within = bool(((values >= 0.8) & (values <= 1.2)).all())
    shown = f"{np.abs(values).max():.3g}"
    return shown if within else f"**{shown}**"


def worst(make: Callable[[], Any], hostile: Reply) -> str:
    """Return the outcome, a bad one if the hostile reply's coming first or last makes it bad."""
    found = [outcome(make, nodes) for nodes in ([hostile, *HONEST], [*HONEST, hostile])]
    return min(found, key=lambda one: not one.startswith("**"))


def table() -> str:
    """Return the page's table of hostile replies."""
    with np.errstate(all="ignore"):
        rows = [
            [what, *(worst(make, hostile) for make in STRATEGIES.values())]
            for what, hostile in HOSTILE.items()
        ]
    head = ["one of 7 sends", *STRATEGIES]
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


# A mean of integers overflows, and NumPy says so, in a strategy of Flower's.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_page_says_what_strategies_make_of_hostile_replies() -> None:
    if metadata.version("flwr") != WRITTEN_WITH:
        pytest.skip(f"the table is of Flower {WRITTEN_WITH}")
    found = table()
    assert found in PAGE, f"docs/flower.md: the table is\n{found}"


# -- one round -------------------------------------------------------------------------------------


DROPPED = {
    "NaN": "array 'w': NaN in 4 entries",
    "infinite": "array 'w': infinite in 4 entries",
    "99, of another round": "answers no message of this round",
    "another name": "array 'x' is none of the server's",
    "another shape": "array 'w': shape (3,); expected (2, 2)",
    "another type": "array 'w': type 'int64'; expected float32",
    "no arrays": "0 ArrayRecords; expected one",
    "bytes that are no array": "array 'w': bytes that are no array of NumPy's",
    "another serialisation": "array 'w': serialised as 'torch'; expected 'numpy.ndarray'",
}
MORE: dict[str, tuple[Reply, str]] = {
    "a missing name": (replying(ArrayRecord({})), "array 'w' is missing"),
    "one name more": (
        replying(record(filled(1), x=Array(filled(1)))), "array 'x' is none of the server's",
    ),
    "two records": (
        lambda m: Message(RecordDict({"a": record(filled(1)), "b": record(filled(1))}), reply_to=m),
        "2 ArrayRecords; expected one",
    ),
    "another's name": (changed(HONEST[0], src_node_id=1000), "claims to be of node 1000"),
}  # fmt: skip


@pytest.mark.parametrize("what", [*DROPPED, *MORE])
def test_a_hostile_reply_is_dropped_counted_and_told(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    hostile, reason = MORE[what] if what in MORE else (HOSTILE[what], DROPPED[what])
    made, alone = RobustStrategy("median", f=1), RobustStrategy("median", f=1)
    with caplog.at_level(logging.WARNING, "flwr"):
        arrays, metrics = one_round(made, [*HONEST, hostile])
    expected, _ = one_round(alone, HONEST)
    assert arrays["w"].numpy().tolist() == expected["w"].numpy().tolist()
    (one,) = made.rounds
    assert one.dropped == {1006: [reason]}
    assert made.dropped == {1006: 1}
    assert (one.heard, one.stalled, one.updated) == ([1000, 1001, 1002, 1003, 1004, 1005], "", 4)
    assert one.asked == [*one.heard, 1006]
    assert dict(metrics) == {"dropped": 1, "failed": 0, "heard": 6, "stalled": 0}
    assert f"round 1: a reply of node 1006 is dropped: {reason}" in caplog.text


@pytest.mark.parametrize("what", [what for what in HOSTILE if what not in DROPPED])
def test_a_node_has_the_weight_of_one_whatever_it_claims(what: str) -> None:
    made = RobustStrategy("nnm+trimmed_mean", f=1)
    arrays, _ = one_round(made, [*HONEST, HOSTILE[what]])
    honestly, _ = one_round(
        RobustStrategy("nnm+trimmed_mean", f=1), [*HONEST, replying(record(filled(99)))]
    )
    assert arrays["w"].numpy().tolist() == honestly["w"].numpy().tolist()
    again = {1006: ["is the second of its node"] * 9} if what == "99, ten times" else {}
    assert (made.rounds[0].dropped, len(made.rounds[0].heard)) == (again, 7)


def test_who_was_not_asked_is_not_heard() -> None:
    made, grid = RobustStrategy("average", f=0), Local(*HONEST[:3])
    asked = list(made.configure_train(1, record(ZERO), ConfigRecord(), grid))
    asked.sort(key=_node)
    replies = list(grid.send_and_receive(asked))
    stranger: Any = changed(replying(record(filled(50))), src_node_id=7)(asked[1])
    arrays: Any
    arrays, _ = made.aggregate_train(1, [*replies, stranger])
    assert arrays["w"].numpy() == pytest.approx(filled(0.9))
    assert made.rounds[0].dropped == {1001: ["claims to be of node 7"]}
    made, grid = RobustStrategy("average", f=0), Local(*HONEST[:3])
    asked = list(made.configure_train(1, record(ZERO), ConfigRecord(), grid))  # and not sent
    three: list[Any] = [node(message) for node, message in zip(HONEST, asked, strict=False)]
    arrays, _ = made.aggregate_train(1, [*three, stranger])
    assert made.rounds[0].dropped == {7: ["was not asked"]}
    assert arrays["w"].numpy() == pytest.approx(filled(0.9))


def test_the_order_in_which_replies_come_changes_nothing() -> None:
    """Not of a rule that breaks ties by the order, nor of one that draws, nor of the last bit."""
    draw = np.random.default_rng(0)
    nodes = [replying(record(draw.normal(size=(2, 2)).astype(np.float32))) for _ in range(6)]
    found = []
    for turn in (1, -1):
        made, grid = RobustStrategy("bucketing[s=2]+average", f=0), Local(*nodes)
        asked = list(made.configure_train(1, record(ZERO), ConfigRecord(), grid))
        arrays: Any
        arrays, _ = made.aggregate_train(1, list(grid.send_and_receive(asked))[::turn])
        found.append(arrays["w"].data)
    assert found[0] == found[1]


def test_examples_weigh_where_the_strategy_says_so() -> None:
    honest = [replying(record(filled(1)), 10), replying(record(filled(2)), 30)]
    nodes = [*honest, replying(record(filled(3)), 20), replying(record(filled(9)), 1e300)]
    arrays, _ = one_round(RobustStrategy("average", f=1, weights="examples"), nodes, record(ZERO))
    cut = oracles.bounded_claims([10, 30, 20, 10**10], 1, [range(4)])
    expected = np.average([1, 2, 3, 9], weights=cut)
    assert arrays["w"].numpy() == pytest.approx(filled(expected), abs=1e-5)
    claimed = RobustStrategy("average", f=0, weights="claimed")
    arrays, _ = one_round(claimed, nodes[:3], record(ZERO))
    assert arrays["w"].numpy() == pytest.approx(filled((10 + 60 + 60) / 60), abs=1e-5)


@pytest.mark.parametrize("claim", [0, -3, float("nan"), float("inf"), 0.5])
def test_a_reply_of_no_number_of_examples_is_dropped_where_they_weigh(claim: float) -> None:
    nodes = [replying(record(filled(1)), 10)] * 3 + [replying(record(filled(9)), claim)]
    made = RobustStrategy("median", f=1, weights="examples")
    one_round(made, nodes, record(ZERO))
    ((reason,),) = made.rounds[0].dropped.values()
    assert reason.startswith("metric num-examples: ")
    assert reason.endswith("; expected a number >= 1")
    plain = RobustStrategy("median", f=1)
    one_round(plain, nodes, record(ZERO))
    assert not plain.rounds[0].dropped


def test_parts_of_models_are_answers_where_they_are_asked_for() -> None:
    old = ArrayRecord({"w": Array(ZERO), "b": Array(np.zeros(2, np.float32))})

    def part(mask: NDArray[Any]) -> Reply:
        def reply(message: Message) -> Message:
            content: dict[str, Any] = {
                "arrays": record(np.where(mask, 1, np.nan).astype(np.float32)),
                "sent": record(mask),
                "metrics": MetricRecord({"num-examples": 1}),
            }
            return Message(RecordDict(content), reply_to=message)

        return reply

    left, right = np.array([[True, False]] * 2), np.array([[False, True]] * 2)
    nodes = [
        part(left),
        part(left),
        part(left),
        part(right),
        part(right),
        part(right),
        HOSTILE["NaN"],
    ]
    made = RobustStrategy("median", f=1, partial=True)
    arrays, _ = one_round(made, nodes, old)
    assert arrays["w"].numpy().tolist() == filled(1).tolist()
    assert arrays["b"].numpy().tolist() == [0, 0]
    assert (made.rounds[0].updated, len(made.rounds[0].heard)) == (4, 6)
    whole = RobustStrategy("median", f=1)
    kept, _ = one_round(whole, nodes, old)
    assert len(whole.rounds[0].dropped) == 7
    assert kept is old


def test_too_few_answers_leave_the_model_as_it_was() -> None:
    def silent(message: Message) -> Message:
        return Message(Error(0, "out of \x1b[31m battery"), reply_to=message)

    made = RobustStrategy("nnm+trimmed_mean", f=1)
    result = made.start(Local(HONEST[0], HONEST[1], silent), record(ZERO), num_rounds=2, timeout=5)
    assert result.arrays["w"].numpy().tolist() == ZERO.tolist()
    assert [one.stalled for one in made.rounds] == ["2 answers; the quorum is 3"] * 2
    assert [one.failed for one in made.rounds] == [{1002: "out of \\x1b[31m battery"}] * 2
    assert [dict(one) for one in result.train_metrics_clientapp.values()] == [
        {"dropped": 0, "failed": 1, "heard": 0, "stalled": 1}
    ] * 2
    with_garbage = RobustStrategy("nnm+trimmed_mean", f=1)
    nodes = (HONEST[0], HONEST[1], HOSTILE["bytes that are no array"])
    result = with_garbage.start(Local(*nodes), record(ZERO), num_rounds=2, timeout=5)
    assert not any(one.stalled for one in with_garbage.rounds)
    assert result.arrays["w"].numpy() == pytest.approx(filled(0.9), abs=0.1)
    assert with_garbage.dropped == {1002: 2}


def test_types_and_counters_are_the_server_s() -> None:
    start = ArrayRecord(
        {"half": Array(np.zeros(2, np.float16)), "batches": Array(np.array(4)), "w": Array(np.zeros(1))}
    )  # fmt: skip
    nodes = [
        replying(
            ArrayRecord(
                {"half": Array(np.full(2, x, np.float16)), "batches": Array(np.array(x)),
                 "w": Array(np.array([float(x)]))}
            )
        )
        for x in (7, 8, 60000)
    ]  # fmt: skip
    arrays, _ = one_round(RobustStrategy("median", f=1), nodes, start)
    assert [(name, str(a.numpy().dtype), a.numpy().tolist()) for name, a in arrays.items()] == [
        ("half", "float16", [8, 8]), ("batches", "int64", 8), ("w", "float64", [8]),
    ]  # fmt: skip
    far = RobustStrategy("median", f=1, learning_rate=2.0)
    nodes = [replying(ArrayRecord({"h": Array(np.full(1, 60000, np.float16))})) for _ in range(3)]
    kept, _ = one_round(far, nodes, ArrayRecord({"h": Array(np.zeros(1, np.float16))}))
    assert kept["h"].numpy().tolist() == [0]
    assert far.rounds[0].stalled == "'h': too large for float16"
    assert far.rounds[0].heard == []


def test_metrics_are_lower_medians_of_enough_nodes() -> None:
    said = (
        {"loss": 1.0},
        {"loss": 3.0},
        {"loss": np.nan},
        {"loss": 2.0, "mine": 9.0},
        {"loss": 1e300},
    )
    nodes = [replying(record(filled(1)), **metrics) for metrics in said]
    made = RobustStrategy("median", f=1)
    _, metrics = one_round(made, nodes)
    assert dict(metrics) == {"loss": 2.0, "dropped": 0, "failed": 0, "heard": 5, "stalled": 0}
    grid = Local(*nodes)
    asked = list(made.configure_evaluate(1, record(ZERO), ConfigRecord(), grid))
    medians: Any = made.aggregate_evaluate(1, grid.send_and_receive(asked))
    assert dict(medians) == {"loss": 2.0}
    assert made.aggregate_evaluate(1, []) is None
    few = RobustStrategy("median", f=3)
    asked = list(few.configure_evaluate(1, record(ZERO), ConfigRecord(), grid))
    assert few.aggregate_evaluate(1, grid.send_and_receive(asked)) is None


def test_what_can_only_fail_later_is_refused() -> None:
    with pytest.raises(InputError, match="rule: unknown 'kru'; did you mean 'krum'"):
        RobustStrategy("kru", f=1)
    with pytest.raises(InputError, match="arrays: none of them has floating-point numbers"):
        RobustStrategy("krum", f=1).start(Local(), ArrayRecord({"n": Array(np.zeros(2, int))}))
    with pytest.raises(RuntimeError, match="aggregate_train before configure_train"):
        RobustStrategy("krum", f=1).aggregate_train(1, [])


def test_it_asks_as_flower_s_own_strategies_do() -> None:
    made = RobustStrategy("krum", f=1, fraction_train=0.0)
    assert made.min_train_nodes == 0
    assert one_round(made, HONEST) == (None, None)
    assert made.rounds == []
    made = RobustStrategy("krum", f=1, fraction_train=0.5)
    assert made.min_train_nodes == 5
    one_round(made, HONEST)
    assert len(made.rounds[0].asked) == 5


# -- whole runs ------------------------------------------------------------------------------------


class Rotten(Local):
    """A grid in which a node's reply can't be put together, as Flower's may raise then."""

    def __init__(self, *nodes: Reply, error: Exception) -> None:
        super().__init__(*nodes)
        self.error = error

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        for name in message_ids:
            if name in self.waiting and self.waiting[name].metadata.dst_node_id == 1002:
                raise self.error
        return super().pull_messages(message_ids)


@pytest.mark.parametrize(
    "error", [KeyError("\x1b[2J"), RecursionError("deep"), MemoryError(), UnicodeDecodeError("u", b"", 0, 1, "x")]
)  # fmt: skip
def test_a_reply_that_can_t_be_put_together_costs_no_other(error: Exception) -> None:
    grid = Rotten(*HONEST[:5], error=error)
    made = RobustStrategy("median", f=1, fraction_evaluate=0.0)
    result = made.start(grid, record(ZERO), num_rounds=1, timeout=5)
    assert len(made.rounds[0].heard) == 4
    assert made.rounds[0].dropped[1002][0].startswith("can't be read: " + type(error).__name__)
    assert result.arrays["w"].numpy() == pytest.approx(filled(1), abs=0.1)
    with pytest.raises(type(error)):
        strategy.FedMedian(fraction_evaluate=0.0).start(
            Rotten(*HONEST[:5], error=error), record(ZERO), num_rounds=1, timeout=5
        )


def test_trouble_with_the_superlink_is_no_node_s() -> None:
    import httpx

    for error in (httpx.ConnectError("refused"), ConnectionResetError("reset")):
        with pytest.raises(type(error)):
            RobustStrategy("median", f=1).start(
                Rotten(*HONEST[:5], error=error), record(ZERO), num_rounds=1, timeout=5
            )


def test_a_reply_that_is_too_large_goes_as_it_arrives() -> None:
    big = replying(ArrayRecord({"w": Array(np.zeros(2**19, np.float32))}))
    grid = OneByOne(Local(HONEST[0], big), largest=2**20)
    messages = [
        Message(RecordDict({"arrays": record(ZERO)}), dst_node_id=node, message_type="train")
        for node in grid.get_node_ids()
    ]
    small, large = sorted(grid.send_and_receive(messages), key=lambda m: m.metadata.src_node_id)
    assert small.has_content()
    assert large.error.code == UNREADABLE
    assert large.error.reason == "2,097,301 bytes; expected at most 1,048,576"
    assert large.metadata.src_node_id == 1001
    config = RecordDict({"c": ConfigRecord({"a": b"x" * 70, "l": ["y" * 10, "z"]})})
    assert held_bytes(Message(config, reply_to=messages[0])) == 70 + 11 + 2
    made = RobustStrategy("median", f=1, fraction_evaluate=0.0)
    made.start(Local(*HONEST[:4], big), record(ZERO), num_rounds=1, timeout=5)
    assert made.rounds[0].dropped == {1004: ["2,097,301 bytes; expected at most 1,048,720"]}


class Slow(Local):
    """A grid whose second node answers late, and its third never."""

    looks = 0

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        self.looks += 1
        nodes = {name: self.waiting[name].metadata.dst_node_id for name in message_ids}
        here = [n for n, node in nodes.items() if node == 1000 or (node == 1001 and self.looks > 3)]
        return super().pull_messages(here)


def test_replies_are_waited_for_until_the_time_is_over() -> None:
    grid = OneByOne(Slow(*HONEST[:3]), largest=2**20)
    messages = [
        Message(RecordDict({"arrays": record(ZERO)}), dst_node_id=node, message_type="train")
        for node in grid.get_node_ids()
    ]
    began = time.monotonic()
    replies = list(grid.send_and_receive(messages, timeout=1.2))
    assert 1.2 <= time.monotonic() - began < 10
    assert [reply.metadata.src_node_id for reply in replies] == [1000, 1001]


class Heavy(Local):
    """A grid on which replies take half a second, and that of the last node is not there at once."""

    looks = 0

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        (name,) = message_ids
        if name in self.waiting and self.waiting[name].metadata.dst_node_id == 1001:
            self.looks += 1
            if self.looks == 1:
                return []
        threading.Event().wait(0.5)
        return super().pull_messages([name])


def test_what_replies_take_is_no_reason_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks it rests three times as long as it looked in vain, not as it fetched."""
    rests = list[float]()
    monkeypatch.setattr("hgobench.flower.grid.POLL", 0.0)
    monkeypatch.setattr("hgobench.flower.grid.time.sleep", rests.append)
    grid = OneByOne(Heavy(*HONEST[:2]), largest=10**6)
    orders = [
        Message(RecordDict(), dst_node_id=node, message_type="train") for node in (1000, 1001)
    ]
    assert len(list(grid.send_and_receive(orders))) == 2
    assert len(rests) == 1
    assert 0 < rests[0] < 3 * 0.5


class Uploading(Local):
    """A grid whose first node goes on and on sending its reply."""

    def __init__(self, *nodes: Reply) -> None:
        super().__init__(*nodes)
        self.over = threading.Event()

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        if any(self.waiting[name].metadata.dst_node_id == 1000 for name in message_ids):
            self.over.wait()
        return super().pull_messages(message_ids)


def test_who_goes_on_and_on_sending_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hgobench.flower.grid.PATIENCE", 0.1)
    inner = Uploading(*HONEST)
    made = RobustStrategy("median", f=1, fraction_evaluate=0.0)
    began = time.monotonic()
    made.start(inner, record(ZERO), num_rounds=1, timeout=1.0)
    assert 1.0 <= time.monotonic() - began < 10
    assert made.rounds[0].heard == [1001, 1002, 1003, 1004, 1005]
    made = RobustStrategy("median", f=0, fraction_evaluate=0.0)  # nobody may, then the time is up
    made.start(Uploading(*HONEST), record(ZERO), num_rounds=1, timeout=1.0)
    assert len(made.rounds) == 1
    assert 1000 not in made.rounds[0].heard
    inner.over.set()


# -- HGO -------------------------------------------------------------------------------------------


def device(gradient: NDArray[Any], length: int) -> Reply:
    """Return a node that sends the first coordinates of the same gradient in every round."""

    def reply(message: Message) -> Any:
        task = Task(message)
        assert task.deadline == 9.0
        assert message.metadata.ttl == 9.0
        return task.answer(gradient[task.order[:length]], loss=1.0)

    return reply


def test_hgo_s_server_updates_the_block_that_a_quorum_sent() -> None:
    """By definition, entry by entry: the median of what was sent of it, if v nodes did."""
    draw, lengths = np.random.default_rng(0), [0, 5, 20, 40, 40, 40]
    gradients = draw.normal(size=(6, 40)).astype(np.float32)
    start = ArrayRecord({"w": Array(draw.normal(size=(6, 6)).astype(np.float32)),
                         "n": Array(np.array(3)), "b": Array(np.zeros(4, np.float32))})  # fmt: skip
    expected = np.concatenate([start[name].numpy().ravel() for name in ("w", "b")])
    made = HgoStrategy("median", f=1, deadline=9.0, learning_rate=0.5, seed=3)
    grid = Local(*(device(g, b) for g, b in zip(gradients, lengths, strict=True)))
    result = made.start(grid, start, num_rounds=3)
    blocks = []
    for k in (1, 2, 3):
        seed = int(stream(3, "order", k).integers(2**63))
        block, heard = order_of(seed, 40)[:20], (gradients[2:], gradients[1:])
        blocks.append(sorted(block.tolist()))
        for place, j in enumerate(order_of(seed, 40)):
            sent = heard[1] if place < 5 else heard[0] if place < 20 else gradients[3:]
            expected[j] -= np.float32(0.5) * np.median(sent[:, j])
    assert len({*map(tuple, blocks)}) == 3
    found = np.concatenate([result.arrays[name].numpy().ravel() for name in ("w", "b")])
    assert found == pytest.approx(expected, abs=1e-5)
    assert result.arrays["n"].numpy() == 3
    for one in made.rounds:
        assert (one.updated, one.heard) == (40, [1001, 1002, 1003, 1004, 1005])
        assert one.failed == {1000: "had no time for a coordinate"}
    few = HgoStrategy("median", f=1, quorum=4, deadline=9.0)
    few.start(grid, start, num_rounds=1)
    assert few.rounds[0].updated == 20


def test_hgo_s_server_drops_what_is_no_first_part_of_its_order() -> None:
    honest = [device(np.ones(4, np.float32), 4) for _ in range(3)]
    first = {"first": Array(np.ones(5, np.float32))}
    for hostile, reason in (
        (HONEST[0], "expected one ArrayRecord, with the array 'first' alone"),
        (replying(ArrayRecord(first)), "array 'first': shape (5,); expected (4,)"),
        (device(np.full(4, np.nan), 2), "array 'first': not finite in 2 entries"),
    ):
        made = HgoStrategy("median", f=1, deadline=9.0)
        result = made.start(Local(*honest, hostile), record(ZERO), num_rounds=1)
        assert made.rounds[0].dropped == {1003: [reason]}
        assert result.arrays["w"].numpy() == pytest.approx(filled(-0.1))


def test_hgo_s_rounds_last_for_the_deadline() -> None:
    late = Slow(*[replying(record(ZERO))] * 3)
    made = HgoStrategy("average", f=0, deadline=1.2)
    began = time.monotonic()
    made.start(late, record(ZERO), num_rounds=1)
    assert 1.2 <= time.monotonic() - began < 10
    assert set(made.rounds[0].dropped) == {1000, 1001}
    for given, problem in (
        ({"deadline": 0}, "deadline: 0; expected a finite number > 0"),
        ({"partial": False}, "partial: HGO has parts of gradients"),
        ({"quorum": 2}, "quorum: 2; expected at least 3, as f is 1"),
    ):
        with pytest.raises(InputError, match=problem):
            HgoStrategy("median", **{"f": 1, "deadline": 9.0, **given})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="timeout: HGO's rounds last for the deadline"):
        made.start(late, record(ZERO), timeout=3.0)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return a folder with the page's app, which has less than 60 lines in all."""
    folder = tmp_path / "app"
    folder.mkdir()
    (project,) = re.findall(r"```toml\n(\[project\]\n.*?)```", PAGE, re.DOTALL)
    (folder / "pyproject.toml").write_text(project)
    for name in ("robust", "hgo"):
        (source,) = re.findall(rf"```python\n(# {name}\.py\n.*?)```", PAGE, re.DOTALL)
        (folder / f"{name}.py").write_text(source)
        assert len(source.splitlines()) < 60
    return folder


@pytest.fixture
def parts(app: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the page's app as a module."""
    monkeypatch.syspath_prepend(app)
    yield importlib.import_module("robust")
    del sys.modules["robust"]


def test_the_app_of_the_page_learns_beside_a_byzantine_node(
    parts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def node(**settings: Any) -> Reply:
        context = Context(0, 0, settings, RecordDict(), {})
        return lambda message: parts.client(message, context)

    grid = Local(node(part=0), node(part=1), node(part=2, byzantine=True))
    with caplog.at_level(logging.INFO, "flwr"), np.errstate(invalid="ignore"):
        parts.server(grid, Context(0, 0, {}, RecordDict(), {"rounds": 3}))
    first, last = _accuracies(caplog.text)
    assert first < 0.2 < 0.8 < last
    assert caplog.text.count("a reply of node 1002 is dropped: array 'w': NaN in 640") == 3
    assert "stalled: 0" in caplog.text


def test_the_page_s_devices_of_three_speeds_learn_by_hgo(
    parts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    module = importlib.import_module("hgo")
    del sys.modules["hgo"]

    def node(**settings: Any) -> Reply:
        context = Context(0, 0, {"overhead": 8.0, **settings}, RecordDict(), {})
        return lambda message: module.client(message, context)

    rates = (3.0, 10.0, 100.0, 100.0)
    grid = Local(*(node(part=part % 3, rate=rate) for part, rate in enumerate(rates)))
    with caplog.at_level(logging.INFO, "flwr"):
        module.server(grid, Context(0, 0, {}, RecordDict(), {"rounds": 15}))
    first, last = _accuracies(caplog.text)
    assert first < 0.2 < 0.6 < last
    assert "Rounds: 15, stalled: 0" in caplog.text


def _accuracies(log: str) -> tuple[float, float]:
    """Return the first and the last accuracy that a log tells."""
    found = [float(x) for x in re.findall(r"\{'accuracy': ([\d.]+)", log)]
    return found[0], found[-1]


MISCHIEF = """
    if context.node_config.get("byzantine"):
        k = message.content["config"]["server-round"]
        if k == 1:
            w = w * np.nan
        if k == 2:  # what the ServerApp can't put together
            Array.deflate = lambda self: add_header_to_object_body(b'{"arraychunk_ids": 7}', self)
        if k == 3:
            w = np.zeros(2**22, np.float32)
"""


@pytest.mark.long
def test_processes_on_loopback_learn_beside_a_byzantine_node(app: Path, tmp_path: Path) -> None:
    """The page's app by Flower's own commands; a node sends NaN, rubbish, and far too much."""
    source = (app / "robust.py").read_text()
    polite = re.findall(r"    if context.node_config.get.*?\n        w = .*?\n", source)
    assert len(polite) == 1
    header = "from flwr.supercore.inflatable.inflatable_object import add_header_to_object_body\n"
    (app / "robust.py").write_text(header + source.replace(polite[0], MISCHIEF[1:]))
    folder = tmp_path / "fleet"
    folder.mkdir()
    with fleet(folder) as it:
        for part, byzantine in ((0, "false"), (1, "false"), (2, "true")):
            it.node(f"node{part}", f"part={part} byzantine={byzantine}")
        it.start("run", "flwr", "run", str(app), "here", "--stream")
        it.wait(lambda: _over(it), 240)
        log = it.log("run")
    first, last = _accuracies(log)
    assert first < 0.2 < 0.8 < last, log
    dropped = re.findall(r"round (\d): a reply of node \d+ is dropped: (.*)", log)
    assert [k for k, _ in dropped] == ["1", "2", "3"], log
    reasons = ["array 'w': NaN in 640 entries", "can't be read: ", "16,777,"]
    for (_, reason), expected in zip(dropped, reasons, strict=True):
        assert reason.startswith(expected)
    assert "Rounds: 3, stalled: 0" in log
    assert not it.left()


@pytest.mark.long
def test_processes_on_loopback_train_by_hgo_and_one_is_killed(app: Path, tmp_path: Path) -> None:
    """Devices of two speeds; after a kill the quorum is missed, and the round lasts for τ."""
    for name in ("pyproject.toml", "hgo.py"):
        text = (app / name).read_text()
        (app / name).write_text(text.replace("robust:", "hgo:").replace("=30.0", "=25.0"))
    folder = tmp_path / "fleet"
    folder.mkdir()
    with fleet(folder) as it:
        for part, rate in enumerate((20.0, 100.0, 100.0)):
            it.node(f"node{part}", f"part={part} rate={rate} overhead=8.0")
        it.start("run", "flwr", "run", str(app), "here", "--stream", "--run-config", "rounds=3")
        it.wait(lambda: "[ROUND 3/3]" in it.log("run") or it.processes["run"].poll(), 200)
        it.processes["node2"].kill()
        it.wait(lambda: _over(it), 120)
        log = it.log("run")
    first, last = _accuracies(log)
    assert first < 0.2 < 0.6 < last, log
    assert "round 3 is stalled, and the model stays: 2 answers; the quorum is 3" in log
    assert "Rounds: 3, stalled: 1" in log
    assert not it.left()


def _over(it: Fleet) -> bool:
    return "Rounds: 3" in it.log("run") or it.processes["run"].poll() is not None
