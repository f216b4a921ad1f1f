"""Light nodes: many in one process, which speak to a SuperLink as SuperNodes do.

``python -m hgobench.flower.light 127.0.0.1:8000 64 1.0`` starts 64 that answer every order of a
scenario's ServerApp with noise, as many coordinates as there are. They look for orders as often as
a SuperNode does, by Flower's own library, with a connection and keys each: what differs is that no
process is started for an order, and nothing computed. A line of JSON (`Said`) tells when all have
answered, and else ten times a second.
"""

from __future__ import annotations

import heapq
import json
import math
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_utils import (
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supernode.fleet_http_connection import http_request_response

from hgobench.boundary import error_text

from .client_app import ASK, FIRST, TOLD

REST = 3.0  # seconds that a SuperNode rests if there is no order for it
TELL = 0.1  # seconds between two lines
THREADS = 32  # that serve the nodes: one may wait for what its order holds


class Said(NamedTuple):
    """What light nodes say of themselves.

    Attributes:
        nodes: how many there are.
        round: the last one of which one of them has answered an order.
        answered: how many have answered that.
        orders: how many orders they have answered, in all.
        polls: how often there was no order, in all.
        failed: how many orders or looks for them failed.
    """

    nodes: int
    round: int
    answered: int
    orders: int
    polls: int
    failed: int


class _Node:
    """A node: looks for an order, and answers it."""

    def __init__(self, number: int, connection: Any, share: float) -> None:
        (_, self._receive, self._send, self._get_run, self._get_fab, self._pull, self._push,
         self._confirm) = connection  # fmt: skip
        self._number, self._share = number, share
        self._rng = np.random.default_rng(number)
        self._runs = set[int]()

    def order(self) -> Message | None:
        """Return an order with all that it holds; None: there is none."""
        found = self._receive()
        if found is None:
            return None
        message, tree = found
        run, name = message.metadata.run_id, message.metadata.message_id
        if run not in self._runs:
            self._get_fab(self._get_run(run).fab_hash, run)
            self._runs.add(run)
        parts = [part.object_id for part in iterate_object_tree(tree)]
        contents = pull_objects(parts, partial(self._pull, run))
        self._confirm(run, name)
        order: Any = inflate_object_from_contents(name, contents)
        order.metadata.__dict__["_message_id"] = name
        assert isinstance(order, Message)
        return order

    def answer(self, order: Message) -> None:
        """Send noise, b = ⌈share·d⌉ numbers; to the question who is there, who it is."""
        content: Any = order.content
        ask = content.config_records[ASK]
        if ask["round"]:
            length = math.ceil(self._share * ask["dimension"])
            values = self._rng.standard_normal(length, dtype=np.float32)
            said = RecordDict({TOLD: MetricRecord({"updates": 1}),
                               FIRST: ArrayRecord({FIRST: Array(values)})})  # fmt: skip
        else:
            told: Any = {"worker": self._number, "rate": 1.0, "examples": 1}
            said = RecordDict({TOLD: ConfigRecord(told)})
        reply = Message(said, reply_to=order)
        with no_object_id_recompute():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            parts = get_all_nested_objects(reply)
            wanted, session = self._send(reply, get_object_tree(reply), 0.0)
            run = reply.metadata.run_id
            push_objects(parts, partial(self._push, run, session), object_ids_to_push=wanted)


class Nodes:
    """Light nodes, and what they have done.

    Args:
        nodes: n, each with its connection.
    """

    def __init__(self, nodes: list[_Node]) -> None:
        self._lock, self._said = threading.RLock(), Said(len(nodes), -1, 0, 0, 0, 0)
        now = time.monotonic()
        self._due = [(now + REST * i / len(nodes), i, node) for i, node in enumerate(nodes)]

    def tell(self) -> None:
        """Say what they have done, in one line, whichever thread asks."""
        with self._lock:
            sys.stdout.write(json.dumps(self._said._asdict()) + "\n")
            sys.stdout.flush()

    def _answered(self, k: int) -> None:
        with self._lock:
            said = self._said
            if k > said.round:
                said = said._replace(round=k, answered=0)
            more = said.answered + (k == said.round)
            self._said = said._replace(answered=more, orders=said.orders + 1)
            if more == said.nodes:
                self.tell()

    def _in_vain(self, failed: bool) -> None:
        with self._lock:
            said = self._said
            self._said = said._replace(polls=said.polls + (not failed), failed=said.failed + failed)

    def serve(self) -> None:
        """Look for orders of whichever node's turn it is, and answer them, without end."""
        while True:
            with self._lock:
                turn = heapq.heappop(self._due) if self._due else None
            if turn is None:
                time.sleep(0.05)
                continue
            when, number, node = turn
            time.sleep(max(when - time.monotonic(), 0.0))
            rest = REST
            try:
                if (order := node.order()) is None:
                    self._in_vain(failed=False)
                else:
                    content: Any = order.content
                    node.answer(order)
                    self._answered(int(content.config_records[ASK]["round"]))
                    rest = 0.0
            except Exception as error:  # the server is busy, or the run is over
                self._in_vain(failed=True)
                print(error_text(error), file=sys.stderr, flush=True)
            with self._lock:
                heapq.heappush(self._due, (time.monotonic() + rest, number, node))


def main(superlink: str, nodes: int, share: float) -> None:
    """Start light nodes, and serve them until the process is ended."""
    with ExitStack() as stack:
        made = [
            _Node(i, stack.enter_context(http_request_response(superlink, True)), share)
            for i in range(nodes)
        ]
        them = Nodes(made)
        for _ in range(min(nodes, THREADS)):
            threading.Thread(target=them.serve, daemon=True).start()
        while True:
            them.tell()
            time.sleep(TELL)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
