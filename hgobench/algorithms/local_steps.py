"""Local steps: what workers that update parameters of their own send."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

from .base import Algorithm, Budgets, Lengths, Work
from .places import Order


def most_updates(
    algorithm: Algorithm, budget: Budgets, order: Order, upload: Budgets | None, sent: int
) -> Lengths:
    """Return the most updates after which each worker sends so many places in time, (q,).

    At least 1: whether there is time for that, its length says.

    Args:
        algorithm: whose `lengths` says how far a worker comes, with at most its `gradients`.
        budget, order, upload: as for `Algorithm.updates`.
        sent: how many places.
    """
    most = np.ones(len(budget), dtype=np.int64)
    for updates in range(2, algorithm.gradients + 1):
        each = None if upload is None else upload / updates
        # As it is asked later, so that both round alike.
        most[algorithm.lengths(budget / updates, order, each) >= sent] = updates
    return most


def local_moves(
    work: Work,
    rate: float,
    pull: float = 0.0,
    inside: Tensor | None = None,
    narrow: bool = False,
) -> Tensor:
    """Return how far each worker has come after its updates, over its learning rate, (q, d).

    That is (v - w_i) / rate after w_i <- w_i - rate · (g_i(w_i) + pull · (w_i - v)), from w_i = v,
    with a minibatch of its own for each update: the k-th of the round for the k-th update. v is w,
    or, `narrow`, w inside and 0 elsewhere.

    Args:
        work: who is asked. A worker takes `Work.updates`.
        rate: the local learning rate.
        pull: μ of FedProx.
        inside: (q, d) bool, the coordinates that each worker updates; None: all. What is returned
            of the others is the first gradient.
        narrow: whether the rest is 0 to it.

    Example:
        >>> here = torch.zeros(1)
        >>> ask = np.arange(2), here, torch.tensor([[1.0], [1.0]]), np.ones(2), None, np.ones(2)
        >>> def at(params, minibatch, workers):  # of (w + 1)²/2 for both
        ...     return torch.where(torch.from_numpy(workers)[:, None], params + 1.0, 0.0)
        >>> work = Work(*ask, updates=np.array([3, 2]), learning_rate=0.5, further=at)
        >>> local_moves(work, rate=0.5)  # 1 + 1/2 + 1/4, 1 + 1/2
        tensor([[1.7500],
                [1.5000]])
    """
    start, away = work.params, work.gradients
    if narrow and inside is not None:
        start = torch.where(inside, start, 0.0)
        parts = (work.lengths > 0) & (work.lengths < len(work.order))
        own = work.gradients_at(start, minibatch=0, workers=parts)
        away = torch.where(torch.from_numpy(parts[:, None]).to(own.device), own, away)
    for update in range(1, int(work.updates.max(initial=1))):
        busy: NDArray[np.bool_] = work.updates > update
        moved = away if inside is None else torch.where(inside, away, 0.0)
        local = start - rate * moved
        gradient = work.gradients_at(local, minibatch=update, workers=busy)
        if pull:
            going = torch.from_numpy(busy[:, None]).to(local.device)
            gradient = gradient + torch.where(going, pull * (local - start), 0.0)
        if inside is not None:
            gradient = torch.where(inside, gradient, 0.0)
        away = away + gradient
    return away
