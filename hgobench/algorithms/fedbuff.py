"""FedBuff: the server steps on a buffer of answers, whenever they come."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.parameters import REPEATED, whole

from .base import Waiting
from .fedavg import FedAvg
from .staleness import Damping


class FedBuff(FedAvg):
    """FedAvg without rounds: the server steps on every K answers, and stale ones count less.

    A worker takes local steps from the parameters w that it was sent, and sends (w - w_i)/η, as in
    `FedAvg`; then it goes on from the parameters of now. With K answers Δ_i in its buffer, of
    workers that started τ_i steps ago, the server steps by γ·AR(Λ(τ_i)·Δ_i); with the average that
    is γ/K·Σ Λ(τ_i)·Δ_i. A fast worker may be in the buffer twice, and so may a Byzantine one.

    A worker takes as many local steps, at most `steps`, as it has time for by the deadline, and one
    at least: nobody waits for it.

    On ragged answers: there are none, an answer is whole.

    Source: Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba, "Federated Learning with Buffered
    Asynchronous Aggregation", AISTATS 2022.

    Args:
        buffer: K >= 1.
        steps, rate: as for `FedAvg`.
        damping: Λ, as for `AsyncSgd`.
        max_staleness: as for `AsyncSgd`; what is dropped leaves the buffer.

    Example:
        >>> two = Waiting(np.array([7, 2]), np.array([3, 0]), np.array([10, 10]), outstanding=4)
        >>> FedBuff(buffer=2).weights(two)
        array([0.5, 1. ])
        >>> FedBuff(buffer=3).weights(two) is None  # it waits for a third
        True
    """

    paper: ClassVar[str] = "Nguyen et al., AISTATS 2022"
    validity: ClassVar[str] = "buffer <= q, and >= what the rule needs"
    continuous: ClassVar[bool] = True

    def __init__(
        self,
        buffer: int = 10,
        steps: int = 1,
        rate: float | None = None,
        damping: str = "sqrt",
        max_staleness: int | None = None,
    ) -> None:
        super().__init__(steps, rate)
        self.buffer = self.answers = whole("buffer", buffer, least=1, most=REPEATED)
        self.damping = Damping(damping, max_staleness)

    def weights(self, waiting: Waiting) -> NDArray[np.float64] | None:
        """Return Λ(τ_i), once K answers wait that are not too old."""
        weights = self.damping(waiting.staleness)
        return weights if (weights > 0).sum() >= self.buffer else None
