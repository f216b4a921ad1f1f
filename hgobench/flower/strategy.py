"""Any rule of hgobench as a strategy for Flower's ServerApp."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result

from hgobench.aggregators import Scope
from hgobench.boundary import error_text, plain
from hgobench.errors import shown
from hgobench.protocol import Weighting

from .arrays import Layout, Reply, ReplyError
from .grid import UNREADABLE, OneByOne
from .server import CleanData, Round, RuleServer, lower_median

log = logging.getLogger("flwr").log

BESIDE = 2**20  # bytes that a reply may hold besides its arrays: names, headers, metrics
EXAMPLES = "num-examples"  # the metric in which a client says how many it has
SENT = "sent"  # the record in which a client says which entries it sent


class RobustStrategy(FedAvg):
    """A strategy for `flwr.serverapp` that aggregates replies by a rule, and survives all of them.

    Names, shapes and types of arrays are the server's. A reply with others, with NaN or infinite
    values, with bytes that are no array, to a message of another round, or the second of a node is
    dropped, counted by node and told in the log; nothing that a node sends raises. Numbers of
    examples, which a node may claim as it likes, weigh nothing unless `weights` says so. If too few
    nodes answer for the rule, or more than f of them wrongly, the model stays as it was, and the
    round counts as stalled.

    A reply holds one ArrayRecord, of any name, with all arrays of the model. With ``partial=True``
    it may leave arrays out, and say in a second ArrayRecord, ``"sent"``, by an array of bools
    under the name of an array, which of its entries count.

    Metrics of clients are reported as the lower median of those that at least 2f + 1 nodes sent.

    Args:
        rule: a rule by name, with pre-rules before it: ``"median"``, ``"nnm+trimmed_mean"``,
            ``"mypkg.mod:MyRule"``.
        f: how many Byzantine nodes among those that are asked it tolerates.
        scope: what the rule is where nodes sent different entries (`hgobench.aggregators.Rule`).
        quorum: how many answers it takes to update an entry; None: what the rule needs at f.
        partial: whether a part of a model is an answer.
        learning_rate: γ > 0: how far the server goes from its model to the aggregate of the
            replies; 1: all the way.
        seed: of what a rule draws at random.
        data: clean data at the server, for the rules that need them.
        min_train_nodes: how many nodes Flower waits for, at least; None: the quorum.
        fraction_train, fraction_evaluate: as for Flower's FedAvg.
        min_evaluate_nodes, min_available_nodes: as for Flower's FedAvg.
        arrayrecord_key, configrecord_key: as for Flower's FedAvg.
        gradients: whether replies are gradients and not models: the server then steps by -γ times
            what the rule makes of them.
        weights: what a reply counts: ``"none"``: all the same; ``"examples"``: its metric
            ``num-examples``, cut so that no f nodes have too much of the weight, whatever they
            claim (`hgobench.protocol.bounded`); ``"claimed"``: that metric, as Flower's FedAvg
            does, for the rule ``"average"`` or f = 0. A reply without such a number is dropped.

    Attributes:
        rounds: what became of each round of training, a `Round` each.
        dropped: how many replies of each node were dropped, evaluations' too.

    Raises:
        InputError: all that is wrong with the arguments, or with the arrays that it is to train.

    Example:
        >>> strategy = RobustStrategy(rule="nnm+trimmed_mean", f=1)
        >>> strategy.server.quorum
        3
    """

    def __init__(
        self,
        rule: str,
        *,
        f: int,
        scope: Scope | None = None,
        quorum: int | None = None,
        partial: bool = False,
        learning_rate: float = 1.0,
        seed: int = 0,
        data: CleanData | None = None,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 1.0,
        min_train_nodes: int | None = None,
        min_evaluate_nodes: int = 2,
        min_available_nodes: int = 2,
        arrayrecord_key: str = "arrays",
        configrecord_key: str = "config",
        gradients: bool = False,
        weights: Weighting = "none",
    ) -> None:
        self.server = RuleServer(
            rule,
            f=f,
            scope=scope,
            quorum=quorum,
            partial=partial,
            learning_rate=learning_rate,
            seed=seed,
            data=data,
            gradients=gradients,
            weights=weights,
        )
        super().__init__(
            fraction_train=fraction_train,
            fraction_evaluate=fraction_evaluate,
            min_train_nodes=self.server.quorum if min_train_nodes is None else min_train_nodes,
            min_evaluate_nodes=min_evaluate_nodes,
            min_available_nodes=min_available_nodes,
            arrayrecord_key=arrayrecord_key,
            configrecord_key=configrecord_key,
        )
        self.rounds: list[Round] = []
        self.dropped: Counter[int] = Counter()
        self._workers: dict[int, int] = {}  # by node: rules remember by worker
        self._asked: list[Message] = []
        self._evaluating: list[Message] = []
        self._arrays: ArrayRecord | None = None

    def summary(self) -> None:
        """Log what the strategy is."""
        server = self.server
        what = "a part of a model is an answer" if server.partial else "whole models alone"
        log(logging.INFO, "\t├──> Rule: %s, scope %s, f = %d", server.name, server.scope, server.f)
        log(logging.INFO, "\t├──> Quorum: %d answers; %s", server.quorum, what)
        super().summary()

    def start(
        self, grid: Grid, initial_arrays: ArrayRecord, *arguments: Any, **keywords: Any
    ) -> Result:
        """Run all rounds; arguments and result as for any of Flower's strategies."""
        self._take(initial_arrays)
        size = sum(len(array.data) for array in initial_arrays.values())
        largest = (2 if self.server.partial else 1) * size + BESIDE
        careful = OneByOne(grid, largest, aside=self.server.f)
        result = super().start(careful, initial_arrays, *arguments, **keywords)
        stalled = sum(bool(one.stalled) for one in self.rounds)
        log(logging.INFO, "Rounds: %d, stalled: %d", len(self.rounds), stalled)
        for node, count in sorted(self.dropped.items()):
            log(logging.INFO, "Replies of node %d that were dropped: %d", node, count)
        return result

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return the messages that ask nodes to train."""
        self._take(arrays)
        self._asked = list(super().configure_train(server_round, arrays, config, grid))
        return self._asked

    def _take(self, arrays: ArrayRecord) -> None:
        """Keep the arrays that nodes are sent."""
        known = {name: array.numpy() for name, array in arrays.items()}
        self._layout = Layout(known)
        self._values = self._layout.vector(known)
        self._counters = {n: array for n, array in known.items() if array.dtype.kind != "f"}
        self._arrays = arrays

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Return the new model, or the old one if the round stalls, and what became of replies."""
        if self._arrays is None:
            raise RuntimeError("aggregate_train before configure_train: no node was asked")
        if not self._asked:
            return None, None
        asked = sorted(message.metadata.dst_node_id for message in self._asked)
        what = Round(server_round, asked)
        self.rounds.append(what)
        read: dict[int, Reply] = {}
        metrics = []
        for node, reply in self._genuine(what, replies, self._asked):
            try:
                answer, said = self._read(reply), _metrics(what, node, reply)
                if self.server.server.weighting != "none":
                    answer = answer._replace(examples=_examples(reply))
                read[node] = answer
                metrics.append(said)
            except ReplyError as error:
                self._drop(what, node, str(error))
            except Exception as error:  # of records that Flower would not have made
                self._drop(what, node, f"can't be read: {error_text(error)}")
        nodes = sorted(read, key=self._workers.__getitem__)
        step = self.server.step(
            server_round,
            self._layout,
            self._values,
            self._counters,
            [read[node] for node in nodes],
            [self._workers[node] for node in nodes],
            [self._workers[node] for node in what.dropped if node in asked and node not in read],
        )
        what.stalled, what.updated = step.stalled, step.updated
        if not what.stalled:
            try:
                known = self._layout.arrays(step.values, step.counters)
                self._values, self._counters = step.values, step.counters
                self._arrays = ArrayRecord({n: Array(array) for n, array in known.items()})
                what.heard = [nodes[row] for row in step.heard]
            except OverflowError as error:
                what.stalled, what.updated = str(error), 0
        if what.stalled:
            line = "round %d is stalled, and the model stays: %s"
            log(logging.WARNING, line, server_round, what.stalled)
        counts: dict[str, Any] = {
            "heard": len(what.heard),
            "dropped": sum(map(len, what.dropped.values())),
            "failed": len(what.failed),
            "stalled": int(bool(what.stalled)),
        }
        return self._arrays, MetricRecord({**self._medians(metrics), **counts})

    def _read(self, reply: Message) -> Reply:
        records = dict(reply.content.array_records)
        masks = records.pop(SENT, None) if len(records) > 1 else None
        if len(records) != 1:
            raise ReplyError(f"{len(records)} ArrayRecords; expected one")
        (arrays,) = records.values()
        return self._layout.reply(arrays, masks, partial=self.server.partial)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return the messages that ask nodes to evaluate."""
        asked = super().configure_evaluate(server_round, arrays, config, grid)
        self._evaluating = list(asked)
        return self._evaluating

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return the lower median of each metric that at least 2f + 1 nodes sent."""
        if not self._evaluating:
            return None
        what = Round(server_round, [message.metadata.dst_node_id for message in self._evaluating])
        metrics = []
        for node, reply in self._genuine(what, replies, self._evaluating):
            try:
                metrics.append(_metrics(what, node, reply))
            except Exception as error:  # of records that Flower would not have made
                self._drop(what, node, f"can't be read: {error_text(error)}")
        medians = self._medians(metrics)
        return MetricRecord(medians) if medians else None

    def _medians(self, metrics: Iterable[dict[str, float]]) -> dict[str, Any]:
        columns: dict[str, list[float]] = {}
        for one in metrics:
            for name, value in one.items():
                columns.setdefault(name, []).append(value)
        enough = 2 * self.server.f + 1
        return {
            name: float(lower_median(np.array(values)))
            for name, values in sorted(columns.items())
            if len(values) >= enough
        }

    def _genuine(
        self, what: Round, replies: Iterable[Message], asked: list[Message]
    ) -> list[tuple[int, Message]]:
        """Return the first reply of each node to what it was asked; the others are dropped."""
        nodes = sorted(message.metadata.dst_node_id for message in asked)
        for node in nodes:
            self._workers.setdefault(node, len(self._workers))
        # A grid names messages as it sends them; of unnamed ones the node alone is known.
        node_of = {message.metadata.message_id: message.metadata.dst_node_id for message in asked}
        named = "" not in node_of
        heard: dict[int, Message] = {}
        for reply in replies:
            source, question = reply.metadata.src_node_id, reply.metadata.reply_to_message_id
            node = node_of.get(question, source) if named else source
            if named and question not in node_of:
                self._drop(what, node, "answers no message of this round")
            elif reply.has_error():
                reason = plain(str(reply.error.reason))
                if reply.error.code == UNREADABLE:
                    self._drop(what, node, reason)
                else:
                    what.failed[node] = reason
                    log(logging.WARNING, "round %d: node %d failed: %s", what.number, node, reason)
            elif node != source:
                self._drop(what, node, f"claims to be of node {source}")
            elif node not in nodes:
                self._drop(what, node, "was not asked")
            elif node in heard:
                self._drop(what, node, "is the second of its node")
            else:
                heard[node] = reply
        return list(heard.items())

    def _drop(self, what: Round, node: int, reason: str) -> None:
        reason = plain(reason)
        what.dropped.setdefault(node, []).append(reason)
        self.dropped[node] += 1
        line = "round %d: a reply of node %d is dropped: %s"
        log(logging.WARNING, line, what.number, node, reason)


def _examples(reply: Message) -> int:
    """Return of how many examples a reply claims to be.

    Raises:
        ReplyError: it does not say, or no such number.
    """
    for record in reply.content.metric_records.values():
        if EXAMPLES not in record:
            continue
        claim = record[EXAMPLES]
        if isinstance(claim, list) or not math.isfinite(claim) or claim < 1:
            raise ReplyError(f"metric {EXAMPLES}: {shown(claim)}; expected a number >= 1")
        return int(claim)
    raise ReplyError(f"no metric {EXAMPLES}, by which replies are weighed")


def _metrics(what: Round, node: int, reply: Message) -> dict[str, float]:
    """Return the metrics of a reply that are single finite numbers, but the number of examples.

    Those that are NaN or infinite are told in the log; lists are left out.
    """
    found = {}
    for record in reply.content.metric_records.values():
        for name, value in record.items():
            if isinstance(value, list) or name == EXAMPLES:
                continue
            if math.isfinite(value):
                found[name] = float(value)
                continue
            line = "round %d: node %d: metric %s is left out: %s"
            log(logging.WARNING, line, what.number, node, shown(name), value)
    return found
