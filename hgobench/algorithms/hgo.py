"""HGO: slow workers send the first coordinates of their gradients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .momentum import WorkerMomentum
from .places import Order


class Hgo:
    """Heterogeneous Gradient-based Optimization (Algorithm 1).

    Within the deadline τ worker i computes the first b_i = min(⌊τ·λ_i/s_i⌋, d) coordinates of the
    round's order (with places that cost more than one: as many as its budget τ·λ_i/s_i pays for)
    and sends them. The server updates the block that at least v workers sent.

    Args:
        momentum: β of the workers' momentum, 0 <= β < 1 (see `WorkerMomentum`); 0: they send their
            gradients.
    """

    paper: ClassVar[str] = "HGO, Algorithm 1"
    validity: ClassVar[str] = "quorum v >= 2f̂ + 1 and >= what the rule needs"
    partial: ClassVar[bool] = True

    def __init__(self, momentum: float = 0.0) -> None:
        number = isinstance(momentum, int | float) and not isinstance(momentum, bool)
        if not number or not 0 <= momentum < 1:
            raise ValueError(f"momentum: {momentum!r}; expected a number in [0, 1)")
        self.momentum = float(momentum)
        self._kept = WorkerMomentum(self.momentum)

    def messages(
        self,
        workers: NDArray[np.int64],
        gradients: Tensor,
        lengths: NDArray[np.int64],
        order: Order,
    ) -> Tensor:
        """Return what each worker sends of its gradient or momentum, (q, d).

        Args:
            workers: (q,) who they are.
            gradients: (q, d).
            lengths: (q,) how many places of `order` each computes and sends.
            order: the round's order of places.
        """
        if not self.momentum:
            return gradients
        computed = None
        if (lengths < len(order)).any():
            device = gradients.device
            computed = order.position_on(device) < torch.from_numpy(lengths[:, None]).to(device)
        return self._kept(workers, gradients, computed)

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
        return order.affordable(budget, upload)

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
