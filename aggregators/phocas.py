"""The mean around the trimmed mean."""

from __future__ import annotations

from hgobench.lazy import Tensor

from .averaging import around, lower_bound
from .base import Rule
from .columns import Columns


class Phocas(Rule):
    """Mean of the m - f values of each coordinate that are nearest to its trimmed mean.

    Of two values equally far from the trimmed mean the smaller counts as nearer.

    Validity: m >= 2f + 1; breakdown point 1/2.
    On ragged input: m is the number of those that sent the coordinate.

    Source: Xie, Koyejo, Gupta, "Phocas: dimensional Byzantine-resilient stochastic gradient
    descent", 2018 (arXiv:1805.09682).
    """

    paper = "Xie et al., 2018"
    formula = "mean of the m - f values nearest to the trimmed mean"
    breakdown = "1/2"
    averaging = "around the trimmed mean: min(4f/h·(1 + √(f·κ/h))², (√(1 + κ) + √κ)²)"
    cost = "m·d·log m"
    ragged = "m = |Q_j|"

    def proven_kappa(self, n: int) -> float | None:
        """Return that of a mean around the trimmed mean (see `averaging.around`)."""
        return around(n, self.f, lower_bound(n, self.f))

    def of_columns(self, columns: Columns) -> Tensor:
        """Average the window of m - f rows around each column's trimmed mean."""
        return columns.mean_around(columns.trimmed_mean(self.f), self.f)
