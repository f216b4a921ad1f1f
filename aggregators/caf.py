"""Covariance-bound agnostic filter."""

from __future__ import annotations

import math

from hgobench.kernels.arrays import sum_rows
from hgobench.lazy import Tensor, torch

from .base import Rule
from .columns import Columns
from .vectors import LARGEST, Vectors, about_mean

NOTHING = 1e-12  # a factor below it is 0


class Caf(Rule):
    """Mean under weights that go down along the direction in which the vectors spread most.

    Start with weights c_i = 1. While Σ c_i > m - 2f:

    - μ = Σ c_i x_i / Σ c_i and the covariance C = Σ c_i (x_i - μ)(x_i - μ)ᵀ / Σ c_i;
    - λ and v are the largest eigenvalue of C and its eigenvector, τ_i = ⟨x_i - μ, v⟩²;
    - c_i <- c_i · (1 - τ_i / max_{c_j > 0} τ_j).

    AR(x) is the μ with the smallest λ met. Every step brings at least one weight to 0 (a factor
    below 1e-12 is 0), so there are at most m; with λ = 0 it ends at once. Vectors with NaN or
    infinite entries start at 0.

    Validity: m >= 2f + 1; breakdown point 1/2. It need not know the variance of the honest.
    On ragged input: scope "coordinate" is the rule in one dimension on those that sent the
    coordinate; scope "block" is the rule on those that sent the whole block.

    Source: Allouah, Guerraoui, Stephan, "Towards Trustworthy Federated Learning with Untrusted
    Participants", ICML 2025.
    """

    paper = "Allouah et al., ICML 2025"
    formula = "the weighted mean of least λ_max while weights c_i ·= 1 - τ_i/max τ"
    breakdown = "1/2"
    cost = "m²·d + up to m times m³"
    by_weights = True
    on_parts = "masked"
    ragged = "block: on complete vectors; coordinate: in one dimension on Q_j"

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Filter with spectra from the inner products."""
        vectors.require(self.f, self.name)
        least = len(vectors) - 2 * self.f
        c = vectors.finite.double()
        best, answer = math.inf, c / c.sum()
        for _ in range(len(vectors)):
            share = c / c.sum()
            centred = about_mean(vectors.gram, share)
            root = share.sqrt()
            values, eigenvectors = torch.linalg.eigh(root[:, None] * centred * root)
            largest = float(values[-1])
            if largest < best:
                best, answer = largest, share
            # ⟨x_i - μ, v⟩ up to a factor, v = Σ √c_j a_j (x_j - μ)
            along = (centred @ (root * eigenvectors[:, -1])).abs()
            top = float(along[c > 0].amax())
            if largest <= 0 or top == 0:
                break
            c = c * _lowered((along / top).square())
            if float(c.sum()) <= least:
                break
        return vectors.combine(answer)

    def of_columns(self, columns: Columns) -> Tensor:
        """Filter every column at once."""
        x = columns.centred(columns.median())
        finite = x.abs() < LARGEST
        x = torch.where(finite, x, 0.0)
        columns.require(finite, self.f, self.name)
        c = finite.double()
        least = columns.count - 2 * self.f
        best = torch.full_like(x[0], torch.inf)
        answer = torch.zeros_like(x[0])
        going = torch.ones_like(columns.count, dtype=torch.bool)
        while bool(going.any()):
            total = sum_rows(c)
            mean = sum_rows(c * x) / total
            along = (x - mean).square()
            variance = sum_rows(c * along) / total
            better = going & (variance < best)
            best, answer = torch.where(better, variance, best), torch.where(better, mean, answer)
            top = along.masked_fill(c == 0, 0.0).amax(dim=0)
            going &= (variance > 0) & (top > 0)
            c = torch.where(going, c * _lowered(along / top), c)
            going &= sum_rows(c) > least
        return answer + columns.median()


def _lowered(share: Tensor) -> Tensor:
    """Return 1 - τ_i / max τ; exactly 0 also for what ties with the largest but for rounding."""
    factor = 1.0 - share
    return torch.where(factor < NOTHING, 0.0, factor)
