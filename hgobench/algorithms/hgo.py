"""HGO: slow workers send the first coordinates of their gradients."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench import parameters
from hgobench.lazy import Tensor
from hgobench.parameters import boolean, one_of, positive

from .base import Budgets, Lengths, Work
from .local_steps import local_moves, most_updates
from .memory import WithMemory
from .places import Order


class Hgo(WithMemory):
    """Heterogeneous Gradient-based Optimization (Algorithm 1).

    Within the deadline τ worker i computes the first b_i = min(⌊τ·λ_i/s_i⌋, d) coordinates of the
    round's order (with places that cost more than one: as many as its budget τ·λ_i/s_i pays for)
    and sends them. The server updates the block that at least v workers sent.

    Its settings are the family of Remark 4: one worker with all its examples in every minibatch
    and an infinite deadline is gradient descent; with ``block=1`` random coordinate descent, with
    ``order=cyclic`` besides cyclic coordinate descent, with a minibatch of one example stochastic
    coordinate descent; with a larger block block coordinate descent.

    With `steps` K > 1 a worker updates parameters of its own before it answers, on a minibatch of
    its own each time, w_i <- w_i - η·g_i(w_i), and sends (w - w_i)/η as `FedAvg` does. The K
    updates stay inside its block: it computes and changes its first b_i coordinates alone, with
    K·s_i·b_i <= λ_i·τ. With ``whole=true`` updates are whole, all that they compute is counted,
    and the first coordinates are sent. A worker takes as many updates, at most K, as leave time to
    send them all (or the `block`), k_i·s_i·d <= λ_i·τ; where there is time for one update, but not
    to send all, it sends as many coordinates as arrive.

    With ``narrow=true`` a worker sees none of the coordinates that it does not send: it computes at
    parameters that are 0 there. With granularity nested that trains the narrow network itself, as
    HeteroFL and FjORD do, with subnetwork a drawn one (Caldas et al., "Federated Dropout", 2018);
    else the gradient is the whole network's, of which a part is sent.

    Args:
        momentum: β of the workers' momentum, 0 <= β < 1 (see `WorkerMomentum`); 0: they send their
            gradients.
        block: the most places of a round's block, and no worker computes more; None: all.
        order: ``"random"``: a permutation drawn every round; ``"cyclic"``: the places one after the
            other, block by block, from the first again after the last. That needs a `block`.
        steps: K >= 1, the updates of a worker; 1: it sends the gradient.
        rate: η > 0, the local learning rate; None: γ, the server's.
        whole: whether updates are of all coordinates, of which the first are sent.
        narrow: whether a worker computes with what it sends alone; not with `whole`.
        memory: ``"last"``: the server aggregates the last value of every coordinate that each
            worker sent, and updates all that v workers or more have sent (see `LastValues`).
        age: the most rounds that it uses one after it came, >= 0; None: any.

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
        self,
        momentum: float = 0.0,
        block: int | None = None,
        order: str = "random",
        steps: int = 1,
        rate: float | None = None,
        whole: bool = False,
        narrow: bool = False,
        memory: str = "none",
        age: int | None = None,
    ) -> None:
        super().__init__(momentum, memory, age)
        self.block = None if block is None else parameters.whole("block", block, least=1)
        self.order = one_of("order", order, "random", "cyclic")
        if self.order == "cyclic" and self.block is None:
            raise ValueError("order: 'cyclic'; expected a block to go on by: hgo[block=1,...]")
        self.step = int(self.block or 0) if self.order == "cyclic" else 0
        self.gradients = parameters.whole("steps", steps, least=1, most=parameters.REPEATED)
        self.rate = None if rate is None else positive("rate", rate)
        self.whole = boolean("whole", whole)
        self.own_start = boolean("narrow", narrow)
        if whole and narrow:
            raise ValueError("narrow: True; expected False with whole=true, which computes all")
        self.remembers = self.remembers or self.gradients > 1 or narrow

    def _cut(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        return lengths if self.block is None else np.minimum(lengths, self.block)

    def updates(self, budget: Budgets, order: Order, upload: Budgets | None = None) -> Lengths:
        """Return how many updates each worker takes, (q,): K, or of whole ones those in time."""
        if not self.whole:
            return super().updates(budget, order, upload)
        most = int(self._cut(np.array([len(order)]))[0])
        return most_updates(self, budget, order, upload, sent=most)

    def lengths(
        self,
        budget: NDArray[np.float64],
        order: Order,
        upload: NDArray[np.float64] | None = None,
    ) -> NDArray[np.int64]:
        """Return how many places of `order` each worker sends by the deadline, (q,).

        Args:
            budget: (q,) in coordinates of each of its minibatch gradients.
            order: the round's order of places.
            upload: (q,) what it costs of the budget to send a coordinate; None: nothing.
        """
        if self.whole:
            return self._cut(order.sendable(budget - order.dimension, upload))
        return self._cut(order.affordable(budget, upload))

    def accepted(self, lengths: NDArray[np.int64], order: Order) -> NDArray[np.int64]:
        """Return the lengths as the server takes them: any part of the block is welcome."""
        return self._cut(lengths)

    def computed(
        self, budget: NDArray[np.float64], lengths: NDArray[np.int64], order: Order
    ) -> int:
        """Count the gradient coordinates that the sampled workers computed, sent or not."""
        if self.whole:
            return int(np.minimum(budget, order.dimension).astype(np.int64).sum())
        return int(order.coordinates(lengths).sum())

    def full_cost(self, order: Order) -> int:
        """Return the budget that all takes that a worker may send."""
        if self.whole:
            return order.dimension
        return order.full_cost if self.block is None else order.cost_of(self.block)

    def quorum(self, tolerated: int, minimum: int) -> int:
        """Return the default v: 2f̂ + 1, or what the rule needs to tolerate f̂ if that is more."""
        return max(2 * tolerated + 1, minimum)

    def moves(self, work: Work) -> Tensor:
        """Return each worker's gradient or (w - w_i)/η, (q, d)."""
        if self.gradients == 1 and not self.own_start:
            return work.gradients
        inside = None if self.whole else work.inside
        rate = self.rate or work.learning_rate
        return local_moves(work, rate, inside=inside, narrow=self.own_start)
