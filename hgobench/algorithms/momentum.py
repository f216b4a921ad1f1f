"""Workers' momentum, which lets robust rules tell noise from attacks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

from .base import Algorithm, Work


class WorkerMomentum:
    """m_i <- β·m_i + (1 - β)·g_i, on the coordinates that worker i computes in a round.

    Where it has not computed before, m_i = g_i. In HGO a slow worker's momentum of a coordinate is
    as old as the last round in which it computed that coordinate; a worker that is not sampled
    keeps its momentum.

    Source: Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML
    2021; El Mhamdi, Guerraoui, Rouault, "Distributed Momentum for Byzantine-resilient Stochastic
    Gradient Descent", ICLR 2021.

    Args:
        beta: β, 0 <= β < 1.

    Example:
        >>> momentum, workers = WorkerMomentum(beta=0.5), np.array([7])
        >>> momentum(workers, torch.tensor([[4.0, 2.0]]), None)
        tensor([[4., 2.]])
        >>> momentum(workers, torch.tensor([[0.0, 0.0]]), torch.tensor([[True, False]]))
        tensor([[2., 1.]])
        >>> momentum(workers, torch.tensor([[0.0, 0.0]]), None)  # the second was not kept
        tensor([[1., 1.]])
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta
        self._row: dict[int, int] = {}  # worker -> its row in the table
        self._table: Tensor | None = None  # (workers sampled so far, d); NaN: never computed

    def __call__(
        self, workers: NDArray[np.int64], gradients: Tensor, computed: Tensor | None
    ) -> Tensor:
        """Return each worker's momentum after this round, (q, d), and keep it.

        Args:
            workers: (q,) their indices.
            gradients: (q, d).
            computed: (q, d) bool, the coordinates that each computes this round; None: all. The
                momentum of the others is returned as if they were, and is not kept.
        """
        rows = torch.tensor([self._row.setdefault(int(w), len(self._row)) for w in workers])
        rows = rows.to(gradients.device)
        table = gradients[:0] if self._table is None else self._table
        if (missing := len(self._row) - len(table)) > 0:
            size = (max(missing, len(table)), gradients.shape[1])
            added = gradients.new_full(size, torch.nan)
            table = self._table = torch.cat((table.to(added), added)) if len(table) else added
        previous = table[rows]
        momentum = self.beta * previous + (1.0 - self.beta) * gradients
        momentum = torch.where(torch.isnan(previous), gradients, momentum)
        table[rows] = momentum if computed is None else torch.where(computed, momentum, previous)
        return momentum


def checked(momentum: float) -> float:
    """Return β, if it is in [0, 1).

    Raises:
        ValueError: it is not.

    >>> checked(1)
    Traceback (most recent call last):
    ValueError: momentum: 1; expected a number in [0, 1)
    """
    number = isinstance(momentum, int | float) and not isinstance(momentum, bool)
    if not number or not 0 <= momentum < 1:
        raise ValueError(f"momentum: {momentum!r}; expected a number in [0, 1)")
    return float(momentum)


class WithMomentum(Algorithm):
    """An algorithm whose workers send their momentum if β > 0, else their gradients.

    Args:
        momentum: β of the workers' momentum, 0 <= β < 1 (see `WorkerMomentum`); 0: they send their
            gradients.

    Raises:
        ValueError: β is not in [0, 1).
    """

    def __init__(self, momentum: float = 0.0) -> None:
        self.momentum = checked(momentum)
        self.remembers = self.momentum > 0
        self._momentum = WorkerMomentum(self.momentum)

    def moves(self, work: Work) -> Tensor:
        """Return what each worker sends without momentum, (q, d): its gradient."""
        return work.gradients

    def messages(self, work: Work) -> Tensor:
        """Return each worker's move or momentum, (q, d), of which the first places arrive."""
        moves = self.moves(work)
        if not self.momentum:
            return moves
        return self._momentum(work.workers, moves, work.inside)
