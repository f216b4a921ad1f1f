"""HGO: slow workers send the first coordinates of their gradients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .places import Order


class Hgo:
    """Heterogeneous Gradient-based Optimization (Algorithm 1).

    Within the deadline τ worker i computes the first b_i = min(⌊τ·λ_i/s_i⌋, d) coordinates of the
    round's order (with places that cost more than one: as many as its budget τ·λ_i/s_i pays for)
    and sends them. The server updates the block that at least v workers sent.
    """

    paper: ClassVar[str] = "HGO, Algorithm 1"
    validity: ClassVar[str] = "quorum v >= 2f̂ + 1 and >= what the rule needs"
    partial: ClassVar[bool] = True

    def lengths(self, budget: NDArray[np.float64], order: Order) -> NDArray[np.int64]:
        """Return how many places of `order` each worker sends by the deadline, (q,).

        Args:
            budget: (q,) τ·λ_i/s_i, in coordinates of the minibatch gradient.
            order: the round's order of places.
        """
        return order.affordable(budget)

    def accepted(self, lengths: NDArray[np.int64], order: Order) -> NDArray[np.int64]:
        """Return the lengths as the server takes them: any part is welcome."""
        return lengths

    def computed(
        self, budget: NDArray[np.float64], lengths: NDArray[np.int64], order: Order
    ) -> int:
        """Count the gradient coordinates that the sampled workers computed, sent or not."""
        return int(order.coordinates(lengths).sum())

    def full_cost(self, order: Order) -> int:
        """Return the budget that a whole gradient takes."""
        return order.full_cost

    def quorum(self, tolerated: int, minimum: int) -> int:
        """Return the default v: 2f̂ + 1, or what the rule needs to stand f̂ if that is more."""
        return max(2 * tolerated + 1, minimum)
