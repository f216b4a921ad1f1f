"""HGO's server on Flower: blocks, a quorum and a deadline, and an order by a seed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result

from hgobench.aggregators import Scope
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.parameters import positive

from .arrays import Reply, ReplyError
from .device import DEADLINE, FIRST, SEED, order_of
from .strategy import RobustStrategy


class HgoStrategy(RobustStrategy):
    """Heterogeneous Gradient-based Optimization (Algorithm 1) as a strategy for `flwr.serverapp`.

    In round k the server sends its model and the seed of an order C_k of all coordinates, and waits
    τ seconds. A device sends the first b_i coordinates of its gradient in that order
    (`hgobench.flower.device`), as many as it has time for. The block is what at least v sent; the
    rule aggregates it, and the server steps by -γ times the answer. What comes after τ is not
    heard, and Flower delivers no order that is older than τ. All else is `RobustStrategy`'s.

    Args:
        rule: as for `RobustStrategy`.
        f: how many Byzantine nodes among those that are asked it tolerates.
        deadline: τ in seconds. A message alone takes Flower five to six.
        learning_rate: γ > 0.
        scope: what the rule is where nodes sent different coordinates; None: the rule's default.
        quorum: v; None: 2f + 1, or what the rule needs at f if that is more.
        seed: of the orders, and of what a rule draws at random.
        **options: as for `RobustStrategy`: how many nodes are asked, and names of records.

    Raises:
        InputError: all that is wrong with the arguments, or with the arrays that it is to train.

    Example:
        >>> strategy = HgoStrategy(rule="trimmed_mean", f=1, deadline=30.0)
        >>> strategy.server.quorum, strategy.server.scope
        (3, 'coordinate')
    """

    def __init__(
        self,
        rule: str,
        *,
        f: int,
        deadline: float,
        learning_rate: float = 0.1,
        scope: Scope | None = None,
        quorum: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        try:
            self.deadline = positive("deadline", deadline)
        except ValueError as error:
            raise InputError(str(error)) from error
        options = {"fraction_evaluate": 0.0, **options}
        if refused := sorted(options.keys() & {"partial", "data"}):
            raise InputError(f"{refused[0]}: HGO has parts of gradients, and no data at the server")
        super().__init__(
            rule,
            f=f,
            scope=scope,
            quorum=quorum,
            partial=True,
            learning_rate=learning_rate,
            seed=seed,
            gradients=True,
            **options,
        )
        self._seed = 0

    def start(
        self, grid: Grid, initial_arrays: ArrayRecord, *arguments: Any, **keywords: Any
    ) -> Result:
        """Run all rounds, each of at most τ seconds; arguments and result as for any strategy."""
        if "timeout" in keywords or len(arguments) > 1:
            raise InputError("timeout: HGO's rounds last for the deadline")
        return super().start(grid, initial_arrays, *arguments, timeout=self.deadline, **keywords)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return the messages that ask nodes for the first coordinates of an order."""
        self._seed = int(stream(self.server.seed, "order", server_round).integers(2**63))
        config[SEED], config[DEADLINE] = self._seed, self.deadline
        messages = list(super().configure_train(server_round, arrays, config, grid))
        for message in messages:
            message.metadata.ttl = self.deadline
        return messages

    def _read(self, reply: Message) -> Reply:
        records = list(reply.content.array_records.values())
        if len(records) != 1 or list(records[0]) != [FIRST]:
            raise ReplyError(f"expected one ArrayRecord, with the array {FIRST!r} alone")
        order = order_of(self._seed, self._layout.dimension)
        return self._layout.first(records[0][FIRST], order)
