"""Aksel: the mean of the vectors nearest to the median."""

from __future__ import annotations

import math

from hgobench.kernels.windows import TIED
from hgobench.lazy import Tensor, torch

from .averaging import of_median
from .base import Rule
from .columns import Columns
from .vectors import Vectors


class Aksel(Rule):
    """Mean of the vectors whose distance to the coordinate-wise median is at most their median.

    AR(x) = mean {x_i : ‖x_i - c‖ <= r}, c the coordinate-wise median of x_1..x_m and r the h-th
    smallest of the m distances, h = ⌈m/2⌉. Vectors tied at the distance r are all kept.

    Validity: m >= 2f + 1; breakdown point 1/2.
    On ragged input: scope "coordinate" is the same in one dimension on those that sent the
    coordinate; scope "block" is Aksel on the vectors of those that sent the whole block.

    Source: Boussetta, El-Mhamdi, Guerraoui, Maurer, Rouault, "AKSEL: Fast Byzantine SGD",
    OPODIS 2020.
    """

    paper = "Boussetta et al., OPODIS 2020"
    formula = "mean of the x_i with ‖x_i - median‖ <= the median of these distances"
    breakdown = "1/2"
    averaging = "(√κ + √(h(1 + κ)/(h - ⌈n/2⌉ + 1)))², κ of the median"
    cost = "m·d·log m"
    ragged = "block: Aksel on complete vectors; coordinate: in one dimension on Q_j"

    def proven_kappa(self, n: int) -> float | None:
        """Return (√κ_c + √(h(1 + κ_c)/(h - ⌈n/2⌉ + 1)))², κ_c the median's.

        The answer is at most r from the centre c, which is √(κ_c·V) from the mean. At least
        h - ⌈n/2⌉ + 1 honest vectors are r or more from c, and Σ_S ‖x_i - c‖² <= h(1 + κ_c)V.
        """
        h, centre = n - self.f, of_median(n, self.f)
        radius = h * (1.0 + centre) / (h - (n + 1) // 2 + 1)
        return (math.sqrt(centre) + math.sqrt(radius)) ** 2

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Average the vectors near the median."""
        rows = vectors.rows
        (near,) = _near(rows[None])
        vectors.tell(near.double().cpu() / near.sum().cpu())
        return rows[near].mean(dim=0)

    def of_stack(self, stack: Tensor) -> list[Tensor | None]:
        """Average the vectors of each run near its median."""
        return [run[near].mean(dim=0) for run, near in zip(stack, _near(stack), strict=True)]

    def of_columns(self, columns: Columns) -> Tensor:
        """Average the values of each column near its median."""
        return columns.mean_of_nearer_half(columns.median())


def _near(stack: Tensor) -> Tensor:
    """Return which of several runs' vectors are near their median, (G, m, b) -> (G, m) bool."""
    runs, m, b = stack.shape
    beside = stack.transpose(0, 1).reshape(m, runs * b)
    centre = Columns.sort(beside).median().view(runs, 1, b)
    distance = (stack.double() - centre).square_().sum(dim=2).nan_to_num(nan=torch.inf)
    radius = distance.sort(dim=1).values[:, (m - 1) // 2, None]
    return distance <= radius * TIED
