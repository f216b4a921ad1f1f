"""SGD in the standard distributed scheme: whole gradients or nothing."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .memory import WithMemory
from .places import Order


class Sgd(WithMemory):
    """Distributed SGD: only workers that finish all d coordinates by the deadline are heard.

    At a finite τ that takes τ·λ_i/s_i >= d, each coordinate costing one unit whatever the
    scenario's `cost`; the others' work is lost. At τ = inf all are heard and the round lasts as
    long as the slowest. There is no block; a round in which fewer workers are heard than the rule
    needs to tolerate f̂ is stalled.

    With ``memory=last`` the server aggregates the last answer of every worker that has ever been
    heard. With `momentum` besides, and fewer workers asked than there are, that is D-Byz-SGDM.

    Args:
        momentum, memory, age: as for `Hgo`.

    Example:
        >>> from hgobench.algorithms import Places
        >>> from hgobench.models import Quadratic
        >>> places = Places(Quadratic(features=4, classes=0), "scalar", "scalar")
        >>> order = Order(places, np.arange(4))
        >>> Sgd().lengths(np.array([2.5, 9.0]), order)  # by their budgets
        array([0, 4])
    """

    paper: ClassVar[str] = "HGO, section II-A"
    validity: ClassVar[str] = "heard workers >= what the rule needs"
    partial: ClassVar[bool] = False

    def lengths(
        self,
        budget: NDArray[np.float64],
        order: Order,
        upload: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:
        """Return all places for the workers that finish, 0 for the others."""
        price: float | NDArray[np.float64] = 1.0
        if upload is not None:
            (sent,) = self.numbers(np.array([len(order)]), order)
            price = 1.0 + upload * (int(sent) / order.dimension)
        return np.where(budget >= order.dimension * price, len(order), 0)

    def accepted(self, lengths: NDArray[np.int64], order: Order) -> NDArray[np.int64]:
        """Return the lengths as the server takes them: a part of a gradient is no answer."""
        return np.where(lengths >= len(order), lengths, 0)

    def computed(
        self, budget: NDArray[np.float64], lengths: NDArray[np.int64], order: Order
    ) -> int:
        """Count also what the workers that were cut off had computed."""
        return int(np.minimum(budget, order.dimension).astype(np.int64).sum())

    def full_cost(self, order: Order) -> int:
        """Return d."""
        return order.dimension

    def quorum(self, tolerated: int, minimum: int) -> int:
        """Return what the rule needs to tolerate f̂."""
        return minimum
