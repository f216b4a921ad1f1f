"""Norm bounding and noise."""

from __future__ import annotations

import math

from hgobench.lazy import Tensor, torch
from hgobench.parameters import finite, positive

from .base import Rule, Scope
from .columns import Columns
from .vectors import LARGEST, Vectors


class WeakDp(Rule):
    """Mean of the vectors cut to length c, plus noise: a differential privacy too weak to be one.

    AR(x) = 1/m Σ x_i · min(1, c/‖x_i‖) + N(0, σ²) in each coordinate. A vector with NaN or infinite
    entries adds nothing. Whoever sends what, f attackers move the answer by 2f·c/m at most: the
    smaller c, the less, and the slower is learning.

    Args:
        c: > 0, in units of the gradients.
        sigma: σ >= 0, of each coordinate, in units of the gradients. 0 is norm bounding alone.

    Validity: m >= 2f + 1; no guarantee: attackers' shortened vectors add up.
    On ragged input: scope "coordinate" is the mean of the values that were sent, each cut to
    [-c/√d, c/√d], d the coordinates of the model: what a vector of length c has per coordinate.
    Scope "block" cuts the vectors of those that sent the whole block; scope "staircase" those of
    each step; in scope "masked" lengths are estimated from what was sent. A coordinate's noise is
    the same number in each scope.

    Source: Sun, Kairouz, Suresh, McMahan, "Can You Really Backdoor Federated Learning?", 2019
    (arXiv:1911.07963).
    """

    paper = "Sun et al., 2019"
    formula = "mean of x_i·min(1, c/‖x_i‖) + N(0, σ²)"
    breakdown = "any f moves it by 2f·c/n at most"
    averaging = "none"
    cost = "m·d + d random numbers"
    randomised = "noise"
    ragged = "block: complete vectors; coordinate: each value of Q_j"
    by_weights = True
    exempt = {
        "finite_within_honest_range": "shortened vectors and noise may leave the honest range",
        "translation_equivariant": "c is a length from the origin",
        "scaling_equivariant": "c and σ are lengths",
    }

    def __init__(
        self, c: float = 2.0, sigma: float = 0.025, *, f: int = 0, scope: Scope = "block"
    ) -> None:
        super().__init__(f=f, scope=scope)
        self.c, self.sigma = positive("c", c), finite("sigma", sigma, least=0.0)

    def proven_kappa(self, n: int) -> float | None:
        """Return inf: vectors all alike and longer than c are cut."""
        return math.inf

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Cut, average, and add noise."""
        vectors.require(self.f, self.name)
        weights = torch.where(vectors.finite, vectors.shortening(self.c) / len(vectors), 0.0)
        answer = vectors.combine(weights)
        return answer + (self.sigma * vectors.view.noise(vectors.width)).to(answer)

    def of_columns(self, columns: Columns) -> Tensor:
        """Cut the values of each column, average, and add noise."""
        values = columns.values.double()
        there = values.abs() < LARGEST
        columns.require(there, self.f, self.name)
        c = columns.scalar(self.c)
        mean = torch.where(there, values.clamp(-c, c), 0.0).sum(dim=0) / columns.count
        return mean + self.sigma * columns.view.noise(len(mean)).to(mean)
