"""The largest value of a function of one number, whatever its shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PER_DECADE = 8
CANDIDATES = 3
POINTS = 6
LEVELS = 4


class Found(NamedTuple):
    """Where a function was largest, how large, and how often it was asked."""

    argument: float
    value: float
    evaluations: int


def log_grid(smallest: float, largest: float, per_decade: int) -> NDArray[np.float64]:
    """Return ± so many numbers per decade from `smallest` to `largest`, ascending."""
    count = max(math.ceil(math.log10(largest / smallest) * per_decade), 1) + 1
    half = np.geomspace(smallest, largest, count)
    return np.concatenate((-half[::-1], half))


def maximise(
    function: Callable[[float], float], smallest: float, largest: float, signs: str = "both"
) -> Found:
    """Look everywhere, then closer.

    A robust rule's answer is no tame function of what attackers send: it has several hills, and
    cliffs where a rule stops believing. So a grid over all decades and both signs comes first; then
    the intervals around the best few points are divided again and again, which finds the edge of
    a cliff as well as a hilltop.

    Args:
        function: to maximise; NaN counts as the least.
        smallest, largest: the decades of |x|.
        signs: ``"both"``, or ``"plus"`` alone.
    """
    grid = log_grid(smallest, largest, PER_DECADE)
    if signs == "plus":
        grid = grid[grid > 0]
    known: dict[float, float] = {}

    def ask(x: float) -> float:
        if x not in known:
            value = function(x)
            known[x] = -math.inf if math.isnan(value) else value
        return known[x]

    values = np.array([ask(float(x)) for x in grid])
    padded = np.concatenate(([-math.inf], values, [-math.inf]))
    hills = np.flatnonzero((values >= padded[:-2]) & (values >= padded[2:]))
    for peak in hills[np.argsort(-values[hills], kind="stable")][:CANDIDATES]:
        x = float(grid[peak])
        low, high = float(grid[max(peak - 1, 0)]), float(grid[min(peak + 1, len(grid) - 1)])
        for _ in range(LEVELS):
            inner = [float(p) for p in np.linspace(low, high, POINTS + 2)]
            x = max([x, *inner], key=ask)
            after = [p for p in (*inner, high) if p > x]
            before = [p for p in (low, *inner) if p < x]
            low, high = max(before, default=x), min(after, default=x)
    best = max(known, key=known.__getitem__)
    return Found(best, known[best], len(known))
