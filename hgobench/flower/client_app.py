"""The ClientApp of a scenario on real devices, with NumPy alone unless the device attacks.

A node is started with ``--node-config 'worker=0 data="/.../worker-0.npz"'``. Besides:

- ``rate=2000.0``: λ, declared: the device takes as long as one of that rate; else it measures its
  own;
- ``watts=3.0``, or ``energy="/sys/class/powercap/intel-rapl:0"``: what it draws while it computes,
  or what counts that (see `hgobench.devices.meter`), so that runs say joules;
- ``attack="sign_flip"``: it is Byzantine, and sends what the attack says; ``group="/.../folder"``:
  the folder that those who attack together share.
"""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
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
from flwr.clientapp import ClientApp

from hgobench.determinism import stream
from hgobench.devices.meter import Meter
from hgobench.devices.worker import (
    REMEMBERED,
    Ask,
    Pace,
    Shard,
    answer,
    calibrate,
    gradient_of,
    shard,
)
from hgobench.errors import InputError, shown

ASK, PARAMS, FIRST, TOLD = "ask", "params", "first", "told"  # names of records, and of arrays
STATE = "hgobench"  # the record of what a node remembers
REFUSED = 8001  # the code of an error of a node that can't do what it is asked

app = ClientApp()


class _Node:
    """What a node is, and remembers of a run."""

    def __init__(self, context: Context) -> None:
        config = context.node_config
        known = {"worker": int, "data": str, "rate": float, "attack": str, "group": str,
                 "watts": float, "energy": str}  # fmt: skip
        problems = [f"{name}: no such setting" for name in config if name not in known]
        for name, kind in known.items():
            if name in config and not (
                type(config[name]) is kind or (kind is float and type(config[name]) is int)
            ):
                problems.append(f"{name}: {shown(config[name])}; expected {kind.__name__}")
        problems += [f"{name}: missing" for name in ("worker", "data") if name not in config]
        if problems:
            raise InputError([f"node-config: {problem}" for problem in problems])
        self.config: dict[str, Any] = dict(config)
        self.worker = int(self.config["worker"])
        try:
            self.meter = Meter(self.config.get("watts"), self.config.get("energy"))
        except InputError as error:
            raise InputError([f"node-config: {problem}" for problem in error.problems]) from error
        records = context.state.config_records
        kept = dict(records[STATE]) if STATE in records else {}
        if kept.get("run") != context.run_id:
            kept = {"run": context.run_id, "rate": kept.get("rate", 0.0), "last": 0,
                    "rounds": [], "works": [], "overheads": []}  # fmt: skip
        self.kept: dict[str, Any] = kept
        self._context = context

    def keep(self) -> None:
        """Remember, for the next message."""
        self._context.state.config_records[STATE] = ConfigRecord(self.kept)

    def pace(self, ask: Ask, data: Shard) -> Pace:
        """Return how fast the node is: as declared, or as it measured itself once."""
        declared = float(self.config.get("rate", 0.0))
        if declared < 0:
            raise InputError(f"node-config: rate: {declared}; expected a number > 0")
        if not declared and not self.kept["rate"]:
            take, params = gradient_of(ask, data), np.zeros(ask.dimension, np.float32)
            examples = min(ask.batch_size, len(data.x), ask.width)
            self.kept["rate"] = calibrate(lambda: take(params, 0), ask.dimension * examples)
        if ask.trip and ask.answered in self.kept["rounds"]:
            work = self.kept["works"][self.kept["rounds"].index(ask.answered)]
            self.kept["overheads"] = [*self.kept["overheads"], max(ask.trip - work, 0.0)]
            self.kept["overheads"] = self.kept["overheads"][-REMEMBERED:]
        return Pace(declared or self.kept["rate"], bool(declared), list(self.kept["overheads"]))

    def worked(self, k: int, seconds: float) -> None:
        """Remember how long an answer took, without its way."""
        self.kept["rounds"] = [*self.kept["rounds"], k][-REMEMBERED:]
        self.kept["works"] = [*self.kept["works"], seconds][-REMEMBERED:]


@app.query()
def query(message: Message, context: Context) -> Message:
    """Say who the node is, how fast, and how much it has to learn from."""
    began = time.monotonic()
    try:
        node, ask = _Node(context), _asked(message)
        data = shard(node.config["data"])
        pace = node.pace(ask, data)
        node.worked(0, time.monotonic() - began)
        node.keep()
    except InputError as error:
        return Message(Error(REFUSED, str(error)), reply_to=message)
    told: dict[str, Any] = {"worker": node.worker, "rate": pace.rate, "examples": len(data.x)}
    return Message(RecordDict({TOLD: ConfigRecord(told)}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Send the first coordinates of the gradient, or what an attack says."""
    began = time.monotonic()
    told: dict[str, float] = {}
    try:
        node, ask = _Node(context), _asked(message)
        if ask.worker != node.worker:
            raise InputError(f"worker {ask.worker} is asked; this is worker {node.worker}")
        if ask.round <= node.kept["last"]:
            raise InputError(f"round {ask.round} is over, or asked for again")
        node.kept["last"] = ask.round
        params = message.content.array_records[PARAMS][PARAMS].numpy()
        data, power = shard(node.config["data"]), node.meter.read()
        if "attack" in node.config:
            values, updates = _attack(node, ask, params, data, began)
        else:
            _honestly(node, ask)
            pace = node.pace(ask, data)
            values, updates = answer(ask, params, data, pace)
            told = {"left": pace.left(ask)} if math.isfinite(ask.deadline) else {}
            told |= {"way": pace.overheads[-1]} if pace.overheads else {}
        seconds = time.monotonic() - began
        if math.isfinite(joules := node.meter.joules(power, seconds)):
            told["joules"] = joules
        node.worked(ask.round, seconds)
        node.keep()
    except InputError as error:
        return Message(Error(REFUSED, str(error)), reply_to=message)
    content: dict[str, Any] = {TOLD: MetricRecord({"updates": updates, **told})}
    if len(values):  # else it had no time for a coordinate
        sent = Array(np.ascontiguousarray(values, np.float32))
        content[FIRST] = ArrayRecord({FIRST: sent})
    return Message(RecordDict(content), reply_to=message)


def _asked(message: Message) -> Ask:
    return Ask.of(dict(message.content.config_records[ASK]))


def _honestly(node: _Node, ask: Ask) -> None:
    """Refuse to be counted as Byzantine without an attack."""
    fields = ask.fields
    if fields["byzantine"] and fields["attack"] != "none":
        order = stream(ask.seed, "byzantine").permutation(fields["workers"])
        if ask.worker in order[: fields["byzantine"]]:
            raise InputError(
                f"worker {ask.worker} is Byzantine in this scenario; its node-config has no "
                f"attack={fields['attack']!r}"
            )


def _attack(node: _Node, ask: Ask, params: Any, data: Shard, began: float) -> tuple[Any, int]:
    from hgobench.devices.byzantine import Attacker, Group  # imports torch
    from hgobench.scenario import Scenario

    scenario = Scenario.restore(ask.fields)
    folder = node.config.get("group")
    group = Group(None if folder is None else Path(folder), f"run-{node.kept['run']}")
    attacker = Attacker(node.config["attack"], scenario, group)
    sent = attacker.sent(ask, params, data, node.pace(ask, data))
    if attacker.crashes and scenario.attacked(ask.round):
        os.kill(os.getpid(), signal.SIGKILL)
    if sent.delay:
        time.sleep(max(ask.deadline + sent.delay - (time.monotonic() - began), 0.0))
    return sent.values, sent.updates
