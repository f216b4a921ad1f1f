"""Mimic: over-represent one honest worker."""

from __future__ import annotations

import numpy as np

from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .base import Attack, View


class Mimic(Attack):
    """All Byzantine workers copy one honest worker, message and length.

    On heterogeneous data this starves the others of influence without sending a single wrong
    gradient. Whom to copy is learnt first: for `warmup` rounds the direction z in which honest
    workers differ most is followed by Oja's rule,

        m ← t/(t+1)·m + 1/(t+1)·mean_i x_i,
        z ← normalised t/(t+1)·z + 1/(t+1)·normalised Σ_i ⟨x_i - m, z⟩ (x_i - m),

    from a random z, t the rounds seen before in which somebody differed, and each round copies
    argmax_i |⟨x_i, z⟩| of that round. From then on the target is the worker with the largest
    Σ_k |⟨x_i, z⟩| of the warm-up per round in which it was asked, or, where it is not among those
    asked, the best of them.

    On ragged input an absent entry counts as μ.

    Args:
        warmup: rounds of observation, >= 0; with 0 the first honest worker is copied.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages and who sent them. Worthwhile where data differ.

    Departs from its source: the authors' code copies argmax_i ⟨x_i, z⟩ in the warm-up and keeps the
    last round's target. Here the sign of z, which is arbitrary, doesn't matter, and the target is
    that of the whole warm-up, as not every worker is asked in every round.

    Source: Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via
    Bucketing", ICLR 2022.
    """

    sees = "honest"
    colludes = False
    paper = "Karimireddy et al., ICLR 2022"
    formula = "x_i*, i* the honest worker that sticks out most along z, the top direction"
    control = "values, lengths"
    stateful = True

    def __init__(self, warmup: int = 20) -> None:
        self.warmup = whole("warmup", warmup, least=0)
        self._seen = 0
        self._mean: Tensor  # both from the first round on
        self._direction: Tensor
        self._scores: dict[int, tuple[float, int]] = {}  # worker -> Σ |⟨x, z⟩|, times
        self._target = 0

    def values(self, view: View) -> Tensor:
        """Copy; `lengths` then copies the same worker's."""
        honest = view.require_honest()
        if len(honest) == 0:
            self._target = -1
            return torch.zeros(view.dimension)
        complete = view.centre() + view.deviations()
        assert view.honest_workers is not None
        workers = view.honest_workers.tolist()
        if self._seen < self.warmup:
            along = self._observe(complete, view)
            for worker, size in zip(workers, along.abs().tolist(), strict=True):
                total, times = self._scores.get(worker, (0.0, 0))
                self._scores[worker] = (total + size, times + 1)
            self._target = int(along.abs().argmax())
        else:
            scores = [self._scores.get(worker, (0.0, 1)) for worker in workers]
            self._target = int(np.argmax([total / times for total, times in scores]))
        return honest[self._target]

    def _observe(self, rows: Tensor, view: View) -> Tensor:
        """Follow the direction z by a step; return ⟨x_i, z⟩, (h,)."""
        if self._seen == 0:
            start = torch.from_numpy(view.rng.standard_normal(view.dimension)).to(rows)
            self._direction = _normalised(start)
            self._mean = torch.zeros_like(rows[0])
        old, new = self._seen / (self._seen + 1), 1 / (self._seen + 1)
        mean = old * self._mean + new * rows.mean(dim=0)
        apart = rows - mean
        step = apart.T @ (apart @ self._direction)
        if bool(step.any()):  # where nobody differs there is nothing to learn
            self._mean = mean
            self._direction = _normalised(old * self._direction + new * _normalised(step))
            self._seen += 1
        along: Tensor = rows @ self._direction
        return along

    def lengths(self, view: View) -> np.ndarray:
        """Return the length of the worker that is copied."""
        assert view.honest_lengths is not None
        length = view.honest_lengths[self._target] if self._target >= 0 else 0
        return view.claim(int(length))


def _normalised(vector: Tensor) -> Tensor:
    unit: Tensor = vector / vector.norm().clamp_min(torch.finfo(vector.dtype).tiny)
    return unit
