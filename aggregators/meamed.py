"""The mean around the median."""

from __future__ import annotations

from hgobench.lazy import Tensor

from .averaging import around, of_median
from .base import Rule
from .columns import Columns


class Meamed(Rule):
    """Mean around the median: the mean of the m - f values nearest to the coordinate's median.

    Of two values equally far from the median the smaller counts as nearer.

    Validity: m >= 2f + 1; breakdown point 1/2.
    On ragged input: m is the number of those that sent the coordinate.

    Source: Xie, Koyejo, Gupta, "Generalized Byzantine-tolerant SGD", 2018 (arXiv:1802.10116).
    """

    paper = "Xie et al., 2018"
    formula = "mean of the m - f values nearest to the median"
    breakdown = "1/2"
    averaging = "around the median: min(4f/h·(1 + √(f·κ/h))², (√(1 + κ) + √κ)²)"
    cost = "m·d·log m"
    ragged = "m = |Q_j|"

    def proven_kappa(self, n: int) -> float | None:
        """Return that of a mean around the median (see `averaging.around`)."""
        return around(n, self.f, of_median(n, self.f))

    def of_columns(self, columns: Columns) -> Tensor:
        """Average the window of m - f rows around each column's median."""
        return columns.mean_around(columns.median(), self.f)
