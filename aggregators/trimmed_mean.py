"""The coordinate-wise trimmed mean."""

from __future__ import annotations

from hgobench.lazy import Tensor

from .averaging import lower_bound
from .base import Rule
from .columns import Columns


class TrimmedMean(Rule):
    """Mean of each coordinate without its f smallest and f largest values.

    AR(x) = 1/(m - 2f) · Σ_{k=f+1..m-f} x_(k), with x_(1) <= ... <= x_(m). With weights s_i, as much
    weight goes at each end as any f workers can have, T = the sum of the f largest s_i, and a value
    at the border counts with the rest of its weight.

    Validity: m >= 2f + 1; breakdown point 1/2.
    On ragged input: f at each end of those that sent the coordinate, however few they are.

    Source: Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards
    Optimal Statistical Rates", ICML 2018.
    """

    paper = "Yin et al., ICML 2018"
    formula = "mean of x_(f+1) .. x_(m-f)"
    breakdown = "1/2"
    averaging = "f/(n - 2f)"
    cost = "m·d·log m"
    weighted = True
    ragged = "f at each end of Q_j"

    def proven_kappa(self, n: int) -> float | None:
        """Return f/(n - 2f), the least that any rule has.

        Rank by rank the kept n - 2f = h - f values lie below the h - f largest honest ones, of
        which the mean T has T² <= f/(h - f)·V, as a mean of a part.
        """
        return lower_bound(n, self.f)

    def of_columns(self, columns: Columns) -> Tensor:
        """Average the middle m - 2f rows of each sorted column."""
        return columns.trimmed_mean(self.f)
