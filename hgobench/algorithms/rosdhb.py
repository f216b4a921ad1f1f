"""RoSDHB: the same random coordinates of all workers, and each one's momentum at the server."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from hgobench.lazy import torch

from .base import Arrived, Held
from .hgo import Hgo
from .momentum import checked


class Rosdhb(Hgo):
    """Robust sparsified distributed heavy ball (RoSDHB), on devices of different speeds.

    All workers compute and send the same coordinates, the first of the round's order. Of each the
    server holds a momentum over all d: m_i <- β·m_i + (1 - β)·g̃_i, where g̃_i = (d/b_i)·g_i on the
    b_i coordinates that worker i sent, and 0 elsewhere, so that the mean of g̃_i over orders is g_i
    (with granularity scalar or feature). It aggregates the m_i, and updates all coordinates. At
    first m_i = 0; who does not answer keeps its m_i, and who has never answered has none.

    The common length of a round is b_v, what the v-th fastest device manages: faster ones are cut
    to it, as many as a `block` allows. A slower one sends its b_i < b_v first coordinates of the
    same order, d/b_i times each. Where all manage b_v, that is the source's algorithm, with its
    k = b_v. Of q < n asked workers the ⌈v·q/n⌉-th fastest counts, and the momentums of all n that
    have been heard are aggregated; v and the rule's f̂ are of these.

    On ragged answers: the rule sees none, momentums are whole.

    Source: Gupta, Honsell, Xu, Gupta, Neglia, "Reconciling Communication Compression and
    Byzantine-Robustness in Distributed Learning", AISTATS 2026.

    Departs from its source: slow devices, and workers that are not asked in every round.

    Args:
        momentum: β of the server's momentums, 0 <= β < 1.
        block: k, the most places of a round's order; None: all.

    Raises:
        ValueError: a parameter is out of its range.

    Example:
        >>> rosdhb = Rosdhb(momentum=0.5)
        >>> held = rosdhb.held(Arrived.whole(1, [4], torch.tensor([[8.0]])), None)
        >>> rosdhb.held(Arrived.whole(2, [7, 4], torch.tensor([[2.0], [0.0]])), held).values
        tensor([[1.],
                [2.]])
    """

    paper: ClassVar[str] = "Gupta et al., AISTATS 2026"
    validity: ClassVar[str] = "0 <= momentum < 1; quorum v >= 2f̂ + 1 and >= what the rule needs"

    def __init__(self, momentum: float = 0.9, block: int | None = None) -> None:
        super().__init__(block=block)
        self.beta = checked(momentum)
        self.keeps = True

    def held(self, arrived: Arrived, before: Held | None) -> Held:
        """Return the momentums of all that have been heard, those of this round first."""
        lengths, values, quorum = arrived.lengths, arrived.values, arrived.quorum
        common = int(np.sort(lengths)[-quorum]) if quorum <= len(lengths) else 0
        lengths = np.minimum(lengths, common)
        heard = lengths > 0
        mine, others = (before or Held.nothing(values)).of(arrived.workers[heard])
        sent = arrived.within(lengths)
        if sent is not None:
            assert arrived.order is not None
            counts = arrived.order.coordinates(lengths)
            factors = torch.from_numpy(values.shape[1] / np.maximum(counts, 1))
            values = torch.where(sent, values * factors[:, None].to(values), 0.0)
        values = values[torch.from_numpy(heard).to(values.device)]
        momentum = self.beta * mine.values + (1.0 - self.beta) * values
        workers = np.concatenate([mine.workers, others.workers])
        return Held(workers, torch.cat([momentum, others.values]))

    def pool(self, sampled: int, workers: int) -> int:
        """Return n: whoever was heard is held."""
        return workers
