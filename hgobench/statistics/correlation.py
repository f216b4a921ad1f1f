"""Rank correlation of two columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.statistics.means import LEVEL

RESAMPLES = 2000
FEWEST_ROWS = 4  # fewer have too few orders to say anything


@dataclass(frozen=True)
class Correlation:
    """Kendall's τ_b of two columns, with a 95 % interval.

    Attributes:
        tau: in [-1, 1]; NaN: one of the columns is constant.
        low, high: of rows drawn again (a percentile bootstrap); NaN with fewer than 4 rows.
        rows: how many.

    Example:
        >>> correlation = rank_correlation([1, 2, 3, 4, 5], [9, 8, 7, 5, 6])
        >>> round(correlation.tau, 3), correlation.rows
        (-0.8, 5)
    """

    tau: float
    low: float
    high: float
    rows: int

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.tau:.2f} ({self.rows} rows)"
        return f"{self.tau:.2f} [{self.low:.2f}, {self.high:.2f}] ({self.rows} rows)"


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> Correlation:
    """Return Kendall's τ_b of two columns; infinite values are larger than all others.

    The rows are drawn again with replacement 2,000 times; resamples with a constant column have
    no τ and do not count. The interval says how much τ depends on which rows there are.

    Args:
        first, second: (R,), paired.

    Raises:
        InputError: they differ in length, have fewer than two rows, or hold NaN.

    Example:
        >>> rank_correlation([1.0, 2.0, float("inf")], [0.3, 0.2, 0.1]).tau
        -1.0
    """
    from scipy.stats import kendalltau, rankdata

    if len(first) != len(second) or len(first) < 2:
        raise InputError(
            f"rank correlation: {len(first)} and {len(second)} values; expected two columns of the "
            "same length, of at least two rows"
        )
    if any(math.isnan(value) for value in (*first, *second)):
        raise InputError("rank correlation: NaN has no rank")
    x, y = rankdata(first), rankdata(second)
    tau = float(kendalltau(x, y).statistic)
    low = high = math.nan
    if len(x) >= FEWEST_ROWS and not math.isnan(tau):
        drawn = stream(0, "rank correlation").integers(len(x), size=(RESAMPLES, len(x)))
        again = np.array([_tau(x[rows], y[rows]) for rows in drawn])
        low, high = np.nanpercentile(again, [50 * LEVEL, 100 - 50 * LEVEL]).tolist()
    return Correlation(tau, low, high, len(x))


def _tau(x: np.ndarray, y: np.ndarray) -> float:
    """Return τ_b by its definition: Σ a_ij b_ij / √(Σ a_ij² Σ b_ij²), a and b signs of pairs."""
    a, b = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    size = math.sqrt(float(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / size if size else math.nan
