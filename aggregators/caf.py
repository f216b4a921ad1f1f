"""Covariance-bound agnostic filter."""

from __future__ import annotations

from collections.abc import Iterator

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
        return vectors.combine(min(filtered(vectors, self.f), key=lambda one: one[0])[1])

    def of_columns(self, columns: Columns) -> Tensor:
        """Filter every column at once."""
        best = torch.full_like(columns.values[0], torch.inf, dtype=torch.float64)
        answer = torch.zeros_like(best)
        for variance, mean, going in filtered_columns(columns, self.f, self.name):
            better = going & (variance < best)
            best, answer = torch.where(better, variance, best), torch.where(better, mean, answer)
        return answer + columns.median()


def filtered(vectors: Vectors, f: int) -> Iterator[tuple[float, Tensor]]:
    """Yield λ and the weights c_i/Σ c of each step, as long as λ > 0 and Σ c > m - 2f.

    Those of the first step are always there.
    """
    least = len(vectors) - 2 * f
    c = vectors.finite.double()
    for _ in range(len(vectors)):
        share = c / c.sum()
        centred = about_mean(vectors.gram, share)
        root = share.sqrt()
        values, eigenvectors = torch.linalg.eigh(root[:, None] * centred * root)
        largest = float(values[-1])
        yield largest, share
        # ⟨x_i - μ, v⟩ up to a factor, v = Σ √c_j a_j (x_j - μ)
        along = (centred @ (root * eigenvectors[:, -1])).abs()
        top = float(along[c > 0].amax())
        if largest <= 0 or top == 0:
            break
        c = c * _lowered((along / top).square())
        if float(c.sum()) <= least:
            break


def filtered_columns(
    columns: Columns, f: int, name: str
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield variance, mean less the median, and whether it still goes on, of each column's steps.

    Raises:
        NonFiniteError: more than f values of a column are not finite.
    """
    x = columns.centred(columns.median())
    finite = x.abs() < LARGEST
    x = torch.where(finite, x, 0.0)
    columns.require(finite, f, name)
    c = finite.double()
    least = columns.count - 2 * f
    going = torch.ones_like(columns.count, dtype=torch.bool)
    while bool(going.any()):
        total = sum_rows(c)
        mean = sum_rows(c * x) / total
        along = (x - mean).square()
        variance = sum_rows(c * along) / total
        yield variance, mean, going
        top = along.masked_fill(c == 0, 0.0).amax(dim=0)
        going = going & (variance > 0) & (top > 0)
        c = torch.where(going, c * _lowered(along / top), c)
        going = going & (sum_rows(c) > least)


def _lowered(share: Tensor) -> Tensor:
    """Return 1 - τ_i / max τ; exactly 0 also for what ties with the largest but for rounding."""
    factor = 1.0 - share
    return torch.where(factor < NOTHING, 0.0, factor)
