"""HGO: slow workers send the first coordinates of their gradients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.parameters import one_of, whole

from .momentum import WithMomentum
from .places import Order


class Hgo(WithMomentum):
    """Heterogeneous Gradient-based Optimization (Algorithm 1).

    Within the deadline τ worker i computes the first b_i = min(⌊τ·λ_i/s_i⌋, d) coordinates of the
    round's order (with places that cost more than one: as many as its budget τ·λ_i/s_i pays for)
    and sends them. The server updates the block that at least v workers sent.

    Its settings are the family of Remark 4: one worker with all its examples in every minibatch
    and an infinite deadline is gradient descent; with ``block=1`` random coordinate descent, with
    ``order=cyclic`` besides cyclic coordinate descent, with a minibatch of one example stochastic
    coordinate descent; with a larger block block coordinate descent.

    Args:
        momentum: β of the workers' momentum, 0 <= β < 1 (see `WorkerMomentum`); 0: they send their
            gradients.
        block: the most places of a round's block, and no worker computes more; None: all.
        order: ``"random"``: a permutation drawn every round; ``"cyclic"``: the places one after the
            other, block by block, from the first again after the last. That needs a `block`.

    Example:
        >>> from hgobench.algorithms import Places
        >>> from hgobench.models import Quadratic
        >>> places = Places(Quadratic(features=4, classes=0), "scalar", "scalar")
        >>> order = Order(places, np.arange(4))
        >>> Hgo().lengths(np.array([2.5, 9.0]), order)  # by their budgets
        array([2, 4])
    """

    paper: ClassVar[str] = "HGO, Algorithm 1"
    validity: ClassVar[str] = "quorum v >= 2f̂ + 1 and >= what the rule needs"
    partial: ClassVar[bool] = True

    def __init__(
        self, momentum: float = 0.0, block: int | None = None, order: str = "random"
    ) -> None:
        super().__init__(momentum)
        self.block = None if block is None else whole("block", block, least=1)
        self.order = one_of("order", order, "random", "cyclic")
        if self.order == "cyclic" and self.block is None:
            raise ValueError("order: 'cyclic'; expected a block to go on by: hgo[block=1,...]")
        self.step = int(self.block or 0) if self.order == "cyclic" else 0

    def _cut(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        return lengths if self.block is None else np.minimum(lengths, self.block)

    def lengths(
        self,
        budget: NDArray[np.float64],
        order: Order,
        upload: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:
        """Return how many places of `order` each worker sends by the deadline, (q,).

        Args:
            budget: (q,) τ·λ_i/s_i, in coordinates of the minibatch gradient.
            order: the round's order of places.
            upload: (q,) what it costs of the budget to send a coordinate; None: nothing.
        """
        return self._cut(order.affordable(budget, upload))

    def accepted(self, lengths: NDArray[np.int64], order: Order) -> NDArray[np.int64]:
        """Return the lengths as the server takes them: any part of the block is welcome."""
        return self._cut(lengths)

    def computed(
        self, budget: NDArray[np.float64], lengths: NDArray[np.int64], order: Order
    ) -> int:
        """Count the gradient coordinates that the sampled workers computed, sent or not."""
        return int(order.coordinates(lengths).sum())

    def full_cost(self, order: Order) -> int:
        """Return the budget that all takes that a worker may send."""
        return order.full_cost if self.block is None else order.cost_of(self.block)

    def quorum(self, tolerated: int, minimum: int) -> int:
        """Return the default v: 2f̂ + 1, or what the rule needs to tolerate f̂ if that is more."""
        return max(2 * tolerated + 1, minimum)
