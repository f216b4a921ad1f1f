"""The centred trimmed meta-aggregator: the mean of those nearest to what a rule answers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

from .averaging import around
from .columns import ROUNDING, Columns
from .pre_rule import PreRule, seen
from .vectors import Vectors

Floats = NDArray[np.float64]


class Ctma(PreRule):
    """Replace the answer z of what follows by the mean of the m - f vectors nearest to z.

    AR(x) = mean of the m - f vectors with the least ‖x_i - z‖, z the answer of what follows on the
    same vectors. Of two equally far the worker that comes first; coordinate-wise, the smaller
    value. A median or Krum, which has the variance of few vectors, gets that of m - f.

    With weights s_i it is Σ s_i·x_i / Σ s_i over the nearest that weigh (1 - λ)·Σ s_i together, the
    last with the part of s_i that is left; λ is the share of the f largest weights. The source is
    told λ, the most of the weight that Byzantine workers have.

    Validity: m >= 2f + 1.
    On ragged input: scope "coordinate" takes the values of those that sent the coordinate; scope
    "block" the vectors of those that sent the whole block; in scope "masked" distances to z are
    estimated from what was sent, and where z stalls, the coordinate-wise median takes its place.

    Source: Dahan, Levy, "Weight for Robustness: A Comprehensive Approach towards Optimal
    Fault-Tolerant Asynchronous ML", NeurIPS 2024; without weights in "Fault Tolerant ML: Efficient
    Meta-Aggregation and Synchronous Training", ICML 2024.
    """

    paper = "Dahan, Levy, NeurIPS 2024"
    formula = "mean of the m - f vectors nearest to the answer of what follows"
    breakdown = "the rule's"
    averaging = "around the answer: min(4f/h·(1 + √(f·κ/h))², (√(1 + κ) + √κ)²)"
    cost = "m·d and the rule's"
    weighted = True
    ragged = "block: on complete vectors; coordinate: values of Q_j"

    def proven_kappa(self, n: int, after: Callable[[int], float | None]) -> float | None:
        """Return that of a mean around a centre (see `averaging.around`), which holds of vectors.

        With h = n - f: of b <= f attackers' z that are taken each is as near to the centre c as an
        honest e that is not, so that ‖Σ (z - e)/h‖ <= 2/h Σ ‖e - c‖; and those taken are as near to
        c in the square mean as the honest.
        """
        kappa = after(n)
        return None if kappa is None or math.isinf(kappa) else around(n, self.f, kappa)

    def around(self, vectors: Vectors, after: Callable[[Vectors], Tensor]) -> Tensor:
        """Average the vectors nearest to the answer."""
        vectors.require(self.f, self.name)
        point = vectors.settled(seen(after(vectors.whole()), vectors.width, self.name))
        away = vectors.distances_to(point)
        if (mass := vectors.view.weights) is not None:
            return vectors.combine(torch.from_numpy(lightest(away.numpy(), mass, self.f)))
        return vectors.mean(nearest(away, len(vectors) - self.f))

    def around_columns(self, columns: Columns, after: Callable[[Columns], Tensor]) -> Tensor:
        """Average the values of each column that are nearest to its answer."""
        answer = seen(after(columns), len(columns.count), self.name)
        return columns.mean_around(answer, self.f)


def nearest(distances: Tensor, count: int) -> Tensor:
    """Return the rows of the `count` least distances, (m,) -> (count,); of equal ones the first."""
    return torch.argsort(distances, stable=True)[:count]


def lightest(distances: Floats, mass: Floats, f: int) -> Floats:
    """Return the weights of the mean of those nearest that weigh all but what f can, (m,).

    >>> lightest(np.array([0.0, 3.0, 1.0]), np.array([2.0, 1.0, 1.0]), 0)
    array([0.5 , 0.25, 0.25])
    """
    order = np.argsort(distances, kind="stable")
    room = mass.sum() - np.sort(mass)[::-1][:f].sum()
    before = np.concatenate(([0.0], np.cumsum(mass[order])[:-1]))
    kept = np.zeros_like(mass)
    kept[order] = np.clip(room - before, 0.0, mass[order])
    kept[kept <= ROUNDING * room] = 0.0
    share: Floats = kept / kept.sum()
    return share
