"""Means over seeds: an interval, a test, and many tests at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEVEL = 0.05  # family-wise error: the chance that any of the verdicts is wrong


def interval(values: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % confidence interval of the mean over the first axis (Student's t).

    Args:
        values: (n, ...); the interval of a single value is that value.

    >>> low, high = interval(np.array([1.0, 2.0, 3.0]))
    >>> round(float(low), 2), round(float(high), 2)
    (-0.48, 4.48)
    """
    mean = np.asarray(values.mean(axis=0))
    n = len(values)
    if n < 2:
        return mean, mean
    from scipy.stats import t

    half = t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return mean - half, mean + half


def exceeds(values: Floats, bound: float) -> float:
    """Return the p-value of a one-sided t test that the mean exceeds a bound.

    For one value it is 1, as there is no spread; for equal values it is 0 or 1. Where a value is
    infinite (a level that a seed never reaches) it is the sign test's.

    >>> round(exceeds(np.array([1.0, 2.0, 3.0]), 0.0), 3)
    0.037
    """
    from scipy.stats import binomtest, t

    n = len(values)
    if n < 2:
        return 1.0
    if not np.isfinite(values).all():
        return float(binomtest(int((values > bound).sum()), n, alternative="greater").pvalue)
    away, deviation = float(values.mean()) - bound, float(values.std(ddof=1))
    if deviation <= 1e-12:
        return 0.0 if away > 1e-12 else 1.0
    return float(t.sf(away / (deviation / math.sqrt(n)), n - 1))


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple tests (Holm, 1979), in the order given.

    Formula: of the i-th smallest of m, max over j <= i of (m - j + 1)·p_(j), at most 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted, worst = [1.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        worst = max(worst, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = worst
    return adjusted
