"""Top-k: workers send their largest coordinates, and keep the rest for later."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from hgobench.lazy import Tensor, torch
from hgobench.parameters import boolean, share

from .base import Lengths, Work
from .places import Order
from .sgd import Sgd


class TopK(Sgd):
    """SGD with top-k sparsification and error feedback: fewer bytes for a gradient.

    p_i = g_i + e_i; worker i sends the k = max(⌊fraction·d⌋, 1) entries of p_i that are largest in
    size (of equal ones the first), each with its index, and keeps e_i <- p_i - what it sent. An
    answer is 2k numbers, d at most; it costs a whole gradient to compute. A worker that does not
    answer keeps its e_i.

    On ragged answers: there are none. As in its sources what a worker does not send counts as 0,
    and the rule gets whole vectors. So a coordinate-wise rule that drops extremes answers 0 where
    most send nothing. Attackers choose their own k: of what an attack would send, its k largest
    entries arrive.

    Source: Stich, Cordonnier, Jaggi, "Sparsified SGD with Memory", NeurIPS 2018; Karimireddy,
    Rebjock, Stich, Jaggi, "Error Feedback Fixes SignSGD and other Gradient Compression Schemes",
    ICML 2019.

    Departs from its sources: e_i is in units of the gradient, not of the step, which is the same
    as long as γ_k does not change.

    Args:
        fraction: of the d coordinates, in (0, 1].
        memory: whether what is not sent is kept; without it is lost.

    Raises:
        ValueError: a parameter is out of its range.

    Example:
        >>> TopK(fraction=0.5).fitted(torch.tensor([[3.0, -4.0, 1.0, -3.0]]))
        tensor([[ 3., -4.,  0.,  0.]])
    """

    paper: ClassVar[str] = "Stich et al., NeurIPS 2018"
    validity: ClassVar[str] = "0 < fraction <= 1; heard workers >= what the rule needs"

    def __init__(self, fraction: float = 0.1, memory: bool = True) -> None:
        super().__init__()
        if share("fraction", fraction) == 0:
            raise ValueError(f"fraction: {fraction!r}; expected a number in (0, 1]")
        self.fraction, self.memory = float(fraction), boolean("memory", memory)
        self.remembers = True
        self._kept: dict[int, Tensor] = {}  # worker -> e_i, (d,)

    def entries(self, dimension: int) -> int:
        """Return k."""
        return max(math.floor(self.fraction * dimension + 1e-9), 1)

    def numbers(self, lengths: Lengths, order: Order) -> Lengths:
        """Count the values and their indices, (q,), or all d values if that is less."""
        sent = min(2 * self.entries(order.dimension), order.dimension)
        return np.where(lengths > 0, sent, 0)

    def fitted(self, values: Tensor) -> Tensor:
        """Return the k largest entries of each row, 0 elsewhere, (m, d)."""
        k = self.entries(values.shape[1])
        size = values.abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
        least = size.topk(k, dim=1).values[:, -1:]
        larger, equal = size > least, size == least
        room = k - larger.sum(dim=1, keepdim=True)
        return torch.where(larger | (equal & (equal.cumsum(dim=1) <= room)), values, 0.0)

    def moves(self, work: Work) -> Tensor:
        """Return what each worker sends, (q, d), and keep the rest of those that answer."""
        if not self.memory:
            return self.fitted(work.gradients)
        nothing = work.gradients.new_zeros(work.gradients.shape[1])
        kept = [self._kept.get(int(worker), nothing) for worker in work.workers]
        total = work.gradients + torch.stack(kept)
        sent = self.fitted(total)
        rest = total - sent
        for i in np.flatnonzero(work.lengths).tolist():
            self._kept[int(work.workers[i])] = rest[i].clone()
        return sent
