"""The coordinate-wise median."""

from __future__ import annotations

from hgobench.lazy import Tensor

from .averaging import of_median
from .base import Rule
from .columns import Columns


class Median(Rule):
    """Coordinate-wise median; the midpoint of the two middle values if m is even.

    With weights: the first value up to which there is more than half of the weight; if there is
    exactly half up to some value, the midpoint of it and the next.

    Validity: m >= 2f + 1; breakdown point 1/2.
    On ragged input: the median of those that sent the coordinate.

    Source: Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards
    Optimal Statistical Rates", ICML 2018; with weights in Dahan, Levy,
    "Weight for Robustness", NeurIPS 2024.
    """

    paper = "Yin et al., ICML 2018"
    formula = "median of each coordinate"
    breakdown = "1/2"
    averaging = "h/(⌊n/2⌋ + 1 - f) - 1"
    cost = "m·d·log m"
    weighted = True
    ragged = "median over Q_j"

    def proven_kappa(self, n: int) -> float | None:
        """Return h/(⌊n/2⌋ + 1 - f) - 1, the least (see `averaging.of_median`)."""
        return of_median(n, self.f)

    def of_columns(self, columns: Columns) -> Tensor:
        """Take the middle of each column."""
        return columns.median()
