"""What a learning algorithm is: what workers send by the deadline, and what a server takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor

from .places import Order

Lengths = NDArray[np.int64]
Budgets = NDArray[np.float64]


class Algorithm(ABC):
    """A distributed learning algorithm, of which each run has an instance of its own.

    It speaks of answers as prefixes of a round's order of places, and knows neither a clock nor a
    world: who drives it works out what each worker has time for (the budget), takes the workers'
    gradients, and carries messages. So the same algorithm runs in the simulation and over a
    network, round by round or whenever an answer arrives.

    Attributes:
        paper, validity: what tables say of it.
        partial: whether a part of a gradient is an answer; rules then have scope "coordinate" by
            default.
        step: how far the order of places moves from round to round; 0: it is drawn every round.
        remembers: whether workers send something else than the gradients that they are given
            (`messages`): momentum, or what they reach by steps of their own.

    >>> from hgobench.algorithms import registry
    >>> [registry.build(name).partial for name in ("hgo", "sgd")]
    [True, False]
    """

    paper: ClassVar[str] = ""
    validity: ClassVar[str] = ""
    partial: ClassVar[bool] = True
    step: int = 0
    remembers: bool = False

    @abstractmethod
    def lengths(self, budget: Budgets, order: Order, upload: Budgets | None = None) -> Lengths:
        """Return how many places of the order each worker sends by the deadline, (q,).

        Args:
            budget: (q,) τ·λ_i/s_i, in coordinates of the minibatch gradient.
            order: the round's order of places.
            upload: (q,) what it costs of the budget to send a coordinate; None: nothing.
        """

    @abstractmethod
    def accepted(self, lengths: Lengths, order: Order) -> Lengths:
        """Return the lengths as the server takes them, (q,); 0: no answer."""

    @abstractmethod
    def computed(self, budget: Budgets, lengths: Lengths, order: Order) -> int:
        """Count the gradient coordinates that the workers computed, sent or not."""

    @abstractmethod
    def full_cost(self, order: Order) -> int:
        """Return the budget that all takes that a worker may send."""

    @abstractmethod
    def quorum(self, tolerated: int, minimum: int) -> int:
        """Return the default v.

        Args:
            tolerated: f̂.
            minimum: how many answers the rule needs to tolerate f̂ Byzantine workers.
        """

    def messages(
        self, workers: NDArray[np.int64], gradients: Tensor, lengths: Lengths, order: Order
    ) -> Tensor:
        """Return what each worker sends, (q, d), of which the first places arrive.

        Args:
            workers: (q,) who they are.
            gradients: (q, d) on this round's minibatches.
            lengths: (q,) how many places of the order each computes and sends.
            order: the round's order of places.
        """
        return gradients
