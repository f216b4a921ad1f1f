"""Asynchronous SGD: the server steps on every answer as it comes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .base import Budgets, Lengths, Waiting
from .places import Order
from .sgd import Sgd
from .staleness import Damping


class AsyncSgd(Sgd):
    """Every worker computes whole gradients one after the other, and the server steps on each.

    w <- w - γ·Λ(τ)·g_i(w_old): worker i was sent w_old, and the server has taken τ steps since. It
    then goes on from the parameters of now. Nobody waits, so that a deadline has no meaning, and a
    fast worker is heard as often as it is faster. The rule gets one answer at a time: it can't
    compare answers, and tolerates nobody.

    On ragged answers: there are none, an answer is whole.

    Source: Tsitsiklis, Bertsekas, Athans, "Distributed Asynchronous Deterministic and Stochastic
    Gradient Optimization Algorithms", IEEE TAC 1986; Recht, Re, Wright, Niu, "Hogwild!", NeurIPS
    2011; damped in Zhang et al., IJCAI 2016.

    Args:
        damping: Λ, ``"none"``, ``"sqrt"``, ``"inverse"`` or ``"exponential"`` (see `Damping`).
        max_staleness: the most steps ago that an answer may have started; older ones are dropped.
            None: none is.

    Example:
        >>> waiting = Waiting(np.array([7]), np.array([3]), np.array([10]), outstanding=4)
        >>> AsyncSgd(damping="sqrt").weights(waiting)
        array([0.5])
    """

    paper: ClassVar[str] = "Tsitsiklis et al., IEEE TAC 1986"
    validity: ClassVar[str] = "f̂ = 0: the rule gets one answer at a time"
    continuous: ClassVar[bool] = True
    answers: int | None = 1

    def __init__(self, damping: str = "none", max_staleness: int | None = None) -> None:
        super().__init__()
        self.damping = Damping(damping, max_staleness)

    def weights(self, waiting: Waiting) -> NDArray[np.float64] | None:
        """Return Λ(τ)."""
        return self.damping(waiting.staleness)

    def updates(self, budget: Budgets, order: Order, upload: Budgets | None = None) -> Lengths:
        """Return 1 for every worker, (q,)."""
        return np.ones(len(budget), dtype=np.int64)
