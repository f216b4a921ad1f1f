"""The interval of a mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def interval(values: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % confidence interval of the mean over the first axis (Student's t).

    Args:
        values: (n, ...); of one value the interval is the value.
    """
    mean = np.asarray(values.mean(axis=0))
    n = len(values)
    if n < 2:
        return mean, mean
    from scipy.stats import t

    half = t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return mean - half, mean + half
