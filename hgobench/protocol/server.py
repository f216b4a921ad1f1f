"""What a server decides in a round: whose answers count, the block, the rule's answer, the step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hgobench.aggregators import Answer, Rule, ServerView
from hgobench.aggregators.columns import Sent
from hgobench.algorithms import Algorithm, GradientDescent, Held, Order
from hgobench.kernels.arrays import count_columns
from hgobench.lazy import Tensor, torch

from .weights import Weighting, bounded


@dataclass(frozen=True)
class Reception:
    """The answers of a round that a server aggregates, once a quorum has answered.

    Attributes:
        rows: (m,) int64, which of the q asked workers answered.
        block: (b,) int64, the coordinates that at least v workers sent; None: all d.
        present: (m, b) bool, who sent which coordinate of the block; None: all did.
        size: b.
        weights: (m,) > 0, how much each answer counts; None: all alike.
        held: what the server holds of workers, if that is what it aggregates: `rows` are of it.
    """

    rows: NDArray[np.int64]
    block: Tensor | None
    present: Tensor | None
    size: int
    weights: NDArray[np.float64] | None = None
    held: Held | None = None

    @cached_property
    def sent(self) -> Sent | None:
        """Return what is counted of who sent which coordinate; None: all did."""
        return None if self.present is None else Sent.of(self.present)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Return the share of the block that each sent, (m,); not to be changed."""
        shares = np.ones(len(self.rows))
        if self.present is not None:
            shares = self.present.sum(dim=1).cpu().numpy() / self.size
        shares.setflags(write=False)
        return shares

    @property
    def unweighted_vectors(self) -> bool:
        """Whether each answer holds the whole block, and all count alike."""
        return self.present is None and self.weights is None and self.held is None

    @cached_property
    def whole(self) -> Reception:
        """Return the answers of those that sent the whole block."""
        if self.present is None:
            return self
        rows = self.rows[self.present.all(dim=1).cpu().numpy()]
        return replace(self, rows=rows, present=None)

    def answered(self, answer: Answer) -> tuple[Reception | None, Tensor]:
        """Return what remains of the block where the rule has an answer, and the answer there.

        None: it has one nowhere, and the round stalls.
        """
        served = answer.served
        if served is None or bool(served.all()):
            return self, answer.values
        if not bool(served.any()):
            return None, answer.values[:0]
        there = served.nonzero()[:, 0]
        block = there if self.block is None else self.block[there]
        present = None if self.present is None else self.present[:, there]
        rest = replace(self, block=block, present=present, size=len(there))
        return rest, answer.values[there]

    def who(self, asked: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return whose rows are aggregated, (m,), given who was asked, (q,)."""
        return (asked if self.held is None else self.held.workers)[self.rows]

    def of(self, values: Tensor) -> Tensor:
        """Return what is aggregated on the block, of what arrived (q, d), -> (m, b)."""
        values = values if self.held is None else self.held.values
        if len(self.rows) < len(values):
            values = values.index_select(0, torch.from_numpy(self.rows).to(values.device))
        # An index in brackets takes five times as long.
        return values if self.block is None else values.index_select(1, self.block)


def block_length(lengths: NDArray[np.int64], quorum: int) -> int:
    """Return how many places at least v of the workers sent: the v-th largest length; 0: none.

    >>> block_length(np.array([5, 0, 3, 9]), quorum=2)
    5
    """
    return int(np.sort(lengths)[-quorum]) if quorum <= len(lengths) else 0


def receive(
    lengths: NDArray[np.int64], quorum: int, order: Order, device: torch.device
) -> Reception | None:
    """Return what the server aggregates, given how many places each worker sent; None: it stalls.

    Args:
        lengths: (q,) in places of the order; 0: no answer.
        quorum: v.
        order: C_k.
        device: where its tensors are to be.
    """
    longest = block_length(lengths, quorum)
    if longest == 0:
        return None
    block, position = None, order.position_on(device)
    if longest < len(order):
        block = torch.from_numpy(np.flatnonzero(order.position < longest)).to(device)
        position = position[block]
    rows = np.flatnonzero(lengths > 0)
    sent = lengths[rows]
    present = None
    if (sent < longest).any():
        present = position < torch.from_numpy(sent[:, None]).to(device)
    return Reception(rows, block, present, len(position))


def receive_held(held: Held, quorum: int) -> Reception | None:
    """Return what the server aggregates of what it holds; None: it stalls.

    >>> held = Held(np.array([4, 7]), torch.ones(2, 3), torch.tensor([[True, True, False]] * 2))
    >>> receive_held(held, quorum=2).block
    tensor([0, 1])
    """
    present, (m, d) = held.present, held.values.shape
    if present is None:
        rows = np.arange(m)
        return Reception(rows, None, None, d, held=held) if m >= quorum else None
    received = receive_sets(present, quorum)
    return None if received is None else replace(received, held=held)


def receive_sets(sent: Tensor, quorum: int) -> Reception | None:
    """Return what the server aggregates where each worker chose its coordinates; None: it stalls.

    The block is what at least v workers sent; of prefixes of one order it is what `receive` says.

    Args:
        sent: (q, d) bool, which coordinates each worker sent.
        quorum: v.

    >>> sent = torch.tensor([[True, True, False], [False, True, False], [False, False, True]])
    >>> reception = receive_sets(sent, quorum=2)
    >>> reception.rows, reception.block
    (array([0, 1]), tensor([1]))
    """
    answered = count_columns(sent) >= quorum
    if not bool(answered.any()):
        return None
    block, on_block = None, sent
    if not bool(answered.all()):
        block = answered.nonzero()[:, 0]
        on_block = sent.index_select(1, block)
    heard = on_block.any(dim=1)
    present = on_block[heard]
    rows = np.flatnonzero(heard.cpu().numpy())
    return Reception(rows, block, None if bool(present.all()) else present, present.shape[1])


@dataclass(frozen=True)
class Server:
    """The server of one run: an algorithm, a rule, a solver and a quorum.

    Attributes:
        algorithm: whose lengths it accepts.
        rule: what it aggregates with.
        solver: what it does with the aggregate.
        quorum: v.
        weighting: what an answer counts: ``"none"``: all the same; ``"examples"``: as many examples
            as its worker claims, bounded (`weights.bounded`); ``"claimed"``: as many as it claims.
    """

    algorithm: Algorithm
    rule: Rule
    solver: GradientDescent
    quorum: int
    weighting: Weighting = "none"

    def numbers(self, lengths: NDArray[np.int64], order: Order) -> NDArray[np.int64]:
        """Count the numbers that each answer is, (q,): one more where it says of what it is."""
        numbers = self.algorithm.numbers(lengths, order)
        return numbers if self.weighting == "none" else numbers + (lengths > 0)

    def accepted(self, lengths: NDArray[np.int64], order: Order) -> NDArray[np.int64]:
        """Return the lengths as the server takes them, (q,): SGD takes whole gradients only."""
        return self.algorithm.accepted(lengths, order)

    def scaled(
        self, values: Tensor, lengths: NDArray[np.int64], updates: NDArray[np.int64]
    ) -> Tensor:
        """Return answers as the server aggregates them, (q, d), given what they say of updates.

        Args:
            values: (q, d) as they arrived.
            lengths: (q,) accepted; 0: no answer.
            updates: (q,) as claimed, in 1 .. K.
        """
        heard = lengths > 0
        factors = self.algorithm.scales(updates[heard]) if heard.any() else None
        if factors is None:
            return values
        by_row = np.ones(len(values))
        by_row[heard] = factors
        return values * torch.from_numpy(by_row)[:, None].to(values)

    @staticmethod
    def clipped(values: Tensor, longest: float) -> Tensor:
        """Return differences, (m, d), none longer than so much but those that are not finite.

        >>> Server.clipped(torch.tensor([[3.0, 4.0], [0.3, 0.4], [torch.inf, 0.0]]), 1.0)
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000],
                [   inf, 0.0000]])
        """
        lengths = values.double().square().sum(dim=1).sqrt()
        long = (lengths > longest) & torch.isfinite(lengths)
        factors = torch.where(long, longest / lengths, 1.0)
        return torch.where(long[:, None], values * factors[:, None], values).to(values)

    @staticmethod
    def weighed(values: Tensor, weights: NDArray[np.float64]) -> Tensor:
        """Return answers times what each counts, (m, d) and (m,); of those that count 0 all is 0.

        >>> Server.weighed(torch.tensor([[2.0], [torch.nan]]), np.array([0.5, 0.0]))
        tensor([[1.],
                [0.]])
        """
        if (weights == 1.0).all():
            return values
        by_row = torch.from_numpy(weights)[:, None].to(values)
        return torch.where(by_row > 0, values * by_row, 0.0)

    @staticmethod
    def merged(
        values: Tensor, counted: NDArray[np.bool_], buffers: NDArray[np.int64], of: int
    ) -> tuple[Tensor, NDArray[np.bool_]]:
        """Return the mean of what counts in each buffer, (B, d), and which are not empty, (B,).

        Args:
            values: (m, d) answers.
            counted: (m,) which of them count.
            buffers: (m,) in 0 .. B - 1, in which each is.
            of: B.

        >>> rows, full = torch.tensor([[1.0], [5.0], [3.0]]), np.array([True, True, True])
        >>> Server.merged(rows, full, np.array([0, 1, 0]), of=3)
        (tensor([[2.],
                [5.],
                [0.]]), array([ True,  True, False]))
        """
        means, full = values.new_zeros(of, values.shape[1]), np.zeros(of, dtype=bool)
        rows = np.flatnonzero(counted)
        rows = rows[np.argsort(buffers[rows], kind="stable")]
        by_buffer = values[torch.from_numpy(rows).to(values.device)]
        ends = np.cumsum(np.bincount(buffers[rows], minlength=of))
        for buffer, (start, end) in enumerate(pairwise([0, *ends.tolist()])):
            if start < end:
                means[buffer] = by_buffer[start:end].mean(dim=0)
                full[buffer] = True
        return means, full

    def receive(
        self,
        lengths: NDArray[np.int64],
        order: Order,
        device: torch.device,
        examples: NDArray[np.int64] | None = None,
    ) -> Reception | None:
        """Return what the server aggregates, given accepted lengths; None: the round stalls.

        Of a rule that takes no others, the answers are those that hold the whole block.

        Args:
            lengths: (q,) accepted; 0: no answer.
            order: C_k.
            device: where its tensors are to be.
            examples: (q,) > 0, how many each worker claims to have, where they count.
        """
        return self._taken(receive(lengths, self.quorum, order, device), examples)

    def recall(self, held: Held, examples: NDArray[np.int64] | None = None) -> Reception | None:
        """Return what the server aggregates of what it holds; None: the round stalls.

        Args:
            held: that.
            examples: (m,) > 0, how many each of its workers last claimed to have.
        """
        return self._taken(receive_held(held, self.quorum), examples)

    def receive_sets(
        self, sent: Tensor, examples: NDArray[np.int64] | None = None
    ) -> Reception | None:
        """Return what the server aggregates, given who sent which coordinate, (q, d) bool.

        None: the round stalls. A rule that takes no others gets the answers that hold the whole
        block. Numbers of examples are as for `receive`.
        """
        return self._taken(receive_sets(sent, self.quorum), examples)

    def _taken(
        self, reception: Reception | None, examples: NDArray[np.int64] | None
    ) -> Reception | None:
        if reception and self.rule.takes_whole_answers:
            reception = reception.whole
        if reception is None or self.weighting == "none":
            return reception
        assert examples is not None
        weights = examples[reception.rows].astype(float)
        if self.weighting == "examples":
            weights = bounded(weights, self.rule.f, reception.present)
        return replace(reception, weights=weights)

    def aggregate(self, values: Tensor, reception: Reception, view: ServerView) -> Answer:
        """Return the rule's answer on the block, of (q, d) values."""
        return self.rule.answer(reception.of(values), reception.present, view)

    def step(self, params: Tensor, reception: Reception, aggregate: Tensor) -> None:
        """Update (d,) `params` in place on the block."""
        self.solver.step(params, reception.block, aggregate)
