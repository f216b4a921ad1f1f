"""Workers' momentum: what robust rules need to tell noise from attacks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch


class WorkerMomentum:
    """m_i <- β·m_i + (1 - β)·g_i, on the coordinates that worker i computes in a round.

    Where it has computed nothing before, m_i = g_i. In HGO a slow worker's momentum of a coordinate
    is as old as the last round in which it came so far; a worker that is not asked keeps what it
    has.

    Source: Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML
    2021; El Mhamdi, Guerraoui, Rouault, "Distributed Momentum for Byzantine-resilient Stochastic
    Gradient Descent", ICLR 2021.

    Args:
        beta: β, 0 <= β < 1.
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta
        self._row: dict[int, int] = {}  # worker -> its row in the table
        self._table: Tensor | None = None  # (workers that were asked, d); NaN: never computed

    def __call__(
        self, workers: NDArray[np.int64], gradients: Tensor, computed: Tensor | None
    ) -> Tensor:
        """Return what each worker sends, (q, d), and keep it.

        Args:
            workers: (q,) who they are.
            gradients: (q, d).
            computed: (q, d) bool, what they compute this round; None: all. Elsewhere the answer is
                what they would send, and nothing is kept.
        """
        rows = torch.tensor([self._row.setdefault(int(w), len(self._row)) for w in workers])
        rows = rows.to(gradients.device)
        table = gradients[:0] if self._table is None else self._table
        if (missing := len(self._row) - len(table)) > 0:
            size = (max(missing, len(table)), gradients.shape[1])
            more = gradients.new_full(size, torch.nan)
            table = self._table = torch.cat((table.to(more), more)) if len(table) else more
        before = table[rows]
        momentum = self.beta * before + (1.0 - self.beta) * gradients
        momentum = torch.where(torch.isnan(before), gradients, momentum)
        table[rows] = momentum if computed is None else torch.where(computed, momentum, before)
        return momentum
