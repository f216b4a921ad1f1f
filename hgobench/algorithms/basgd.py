"""BASGD: the server averages answers in buffers, and aggregates the buffers robustly."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.parameters import REPEATED, whole

from .base import Waiting
from .sgd import Sgd


class Basgd(Sgd):
    """Buffered asynchronous SGD: the rule aggregates the means of B buffers, once none is empty.

    What worker i sends goes into buffer i mod B. When all B have something, the server steps by
    -γ·AR(h_1, .., h_B), with h_b the mean of what came into buffer b since the last step, and
    empties them. So however often a worker answers, it changes one of B vectors: f Byzantine
    workers change f of them at most, whatever their share of the answers.

    A worker computes a whole gradient, or sends its momentum of them (BASGDm), and goes on from the
    parameters of now. A buffer all of whose workers keep silent stalls the server.

    On ragged answers: there are none, an answer is whole.

    Source: Yang, Li, "Buffered Asynchronous SGD for Byzantine Learning", JMLR 24, 2023; first
    "BASGD", 2020.

    Departs from its source: workers are not moved to other buffers when one gets nothing for long.

    Args:
        buffers: B >= 1.
        momentum: as for `Sgd`.

    Example:
        >>> came = np.array([7, 2, 5]), np.array([3, 0, 1]), np.array([10, 10, 10])
        >>> Basgd(buffers=3).weights(Waiting(*came, outstanding=4)) is None  # buffer 0 is empty
        True
        >>> Basgd(buffers=2).weights(Waiting(*came, outstanding=4))
        array([1., 1., 1.])
    """

    paper: ClassVar[str] = "Yang & Li, JMLR 2023"
    validity: ClassVar[str] = "2f < buffers <= q, and buffers >= what the rule needs"
    continuous: ClassVar[bool] = True

    def __init__(self, buffers: int = 5, momentum: float = 0.0) -> None:
        super().__init__(momentum)
        self.answers = whole("buffers", buffers, least=1, most=REPEATED)

    def buffers(self, workers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return i mod B, (m,)."""
        assert self.answers is not None
        return workers % self.answers

    def weights(self, waiting: Waiting) -> NDArray[np.float64] | None:
        """Return 1 for each answer, once no buffer is empty."""
        there = waiting.workers[waiting.lengths > 0]
        full = len(np.unique(self.buffers(there))) == self.answers
        return np.ones(len(waiting.workers)) if full else None
