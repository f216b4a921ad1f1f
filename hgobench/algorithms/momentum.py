"""Workers' momentum: what robust rules need to tell noise from attacks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

from .base import Algorithm, Work


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
        previous = table[rows]
        momentum = self.beta * previous + (1.0 - self.beta) * gradients
        momentum = torch.where(torch.isnan(previous), gradients, momentum)
        table[rows] = momentum if computed is None else torch.where(computed, momentum, previous)
        return momentum


class WithMomentum(Algorithm):
    """An algorithm whose workers send their momentum, if there is one.

    Args:
        momentum: β of the workers' momentum, 0 <= β < 1 (see `WorkerMomentum`); 0: they send their
            gradients.

    Raises:
        ValueError: β is no such number.
    """

    def __init__(self, momentum: float = 0.0) -> None:
        number = isinstance(momentum, int | float) and not isinstance(momentum, bool)
        if not number or not 0 <= momentum < 1:
            raise ValueError(f"momentum: {momentum!r}; expected a number in [0, 1)")
        self.momentum = float(momentum)
        self.remembers = self.momentum > 0
        self._kept = WorkerMomentum(self.momentum)

    def messages(self, work: Work) -> Tensor:
        """Return what each worker sends of its gradient or momentum, (q, d)."""
        if not self.momentum:
            return work.gradients
        lengths, order, computed = work.lengths, work.order, None
        if (lengths < len(order)).any():
            device = work.gradients.device
            computed = order.position_on(device) < torch.from_numpy(lengths[:, None]).to(device)
        return self._kept(work.workers, work.gradients, computed)
