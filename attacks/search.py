"""The largest value of a function of one number, whatever its shape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PER_DECADE = 5
REFINEMENTS = 72
ENOUGH = 1e-3  # relative; what is left to gain is not worth a further look
AROUND = 1.5  # how far on both sides of the last best `follow` looks, as a factor
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples' fractions fill [0, 1) evenly at any number


class Found(NamedTuple):
    """Where a function was largest, how large, and how often it was asked."""

    argument: float
    value: float
    evaluations: int


def log_grid(smallest: float, largest: float, per_decade: int) -> NDArray[np.float64]:
    """Return ± so many numbers per decade from `smallest` to `largest`, ascending."""
    return _both_signs(smallest, largest, _points(smallest, largest, per_decade))


def _points(smallest: float, largest: float, per_decade: int) -> int:
    return max(math.ceil(math.log10(largest / smallest) * per_decade), 1) + 1


def _both_signs(smallest: float, largest: float, points: int) -> NDArray[np.float64]:
    half = np.geomspace(smallest, largest, points)
    return np.concatenate((-half[::-1], half))


def most_calls(smallest: float, largest: float) -> int:
    """Return how often `maximise` asks at most, if nobody says how often it may."""
    return 2 * _points(smallest, largest, PER_DECADE) + REFINEMENTS


def maximise(
    function: Callable[[float], float],
    smallest: float,
    largest: float,
    signs: str = "both",
    calls: int | None = None,
) -> Found:
    """Look everywhere, then closer.

    A robust rule's answer is no tame function of what attackers send: it has several hills, and
    cliffs where a rule stops believing. So a grid over all decades and both signs comes first.
    Then, again and again, that interval is halved which promises most: whose ends, each followed
    along its slope away from the neighbour on its other side, lead highest. This closes in on
    hilltops and on the edges of cliffs alike, also of those that a plateau overlooks.

    Args:
        function: to maximise; NaN counts as the least.
        smallest, largest: the decades of |x|.
        signs: ``"both"``, or ``"plus"`` alone.
        calls: how often the function may be asked, >= 4: half of it on the grid; None: five times
            per decade and sign, then until nothing promises more, or `REFINEMENTS` times.
    """
    points = _points(smallest, largest, PER_DECADE)
    refinements = REFINEMENTS
    if calls is not None:
        ways = 2 if signs == "both" else 1
        points = min(points, max(calls // (2 * ways), 2))
        refinements = calls - ways * points
    grid = _both_signs(smallest, largest, points)
    return _closer(function, [float(x) for x in grid if signs == "both" or x > 0], refinements)


def follow(
    function: Callable[[float], float],
    smallest: float,
    largest: float,
    last: float,
    turn: int,
    calls: int,
) -> Found:
    """Look where a similar function was largest, beside that, and a little everywhere; then closer.

    From round to round what pays changes by little, most of the time. So each turn looks at the
    last best and beside it, and somewhere else, each time in the widest gap of where it has looked:
    a hill that has become higher is found some turns later.

    Args:
        function: to maximise; NaN counts as the least.
        smallest, largest: the decades of |x|.
        last: what `maximise` or `follow` returned for the function before.
        turn: how many functions were before.
        calls: how often the function may be asked, >= 4: thrice around the last best, a third of
            the rest elsewhere.
    """
    elsewhere = max((calls - 3) // 3, 1)
    x = {_at(smallest, largest, turn * elsewhere + i) for i in range(elsewhere)}
    for factor in (1.0, AROUND, 1 / AROUND):
        x.add(math.copysign(min(max(abs(last) * factor, smallest), largest), last))
    return _closer(function, sorted(x), calls - len(x))


def _at(smallest: float, largest: float, index: int) -> float:
    """Return the member of a sequence that fills ± all decades of |x| evenly."""
    place = 2 * (index * GOLDEN % 1.0) - 1  # from -1 to 1
    return math.copysign(smallest * (largest / smallest) ** abs(place), place)


def _closer(function: Callable[[float], float], x: list[float], refinements: int) -> Found:
    """Ask at ascending points, then in between, so often at most."""

    def ask(point: float) -> float:
        value = function(point)
        return -math.inf if math.isnan(value) else value

    y = [ask(point) for point in x]
    for _ in range(refinements):
        at, value = np.array(x), np.array(y)
        promise = _promise(at, value)
        best, widest = float(value.max()), int(promise.argmax())
        if not math.isfinite(best) or promise[widest] <= best + ENOUGH * abs(best):
            break
        middle = (x[widest] + x[widest + 1]) / 2.0
        x.insert(widest + 1, middle)
        y.insert(widest + 1, ask(middle))
    best_index = int(np.argmax(y))
    return Found(x[best_index], y[best_index], len(x))


def _promise(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how high each interval may lead, (m - 1,), from points x (m,) with values y."""
    finite = np.where(np.isfinite(y), y, -1e300)
    width = np.diff(x)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        slope = np.diff(finite) / width
        rising = finite[:-1] + np.maximum(np.concatenate(([0.0], slope[:-1])), 0.0) * width
        falling = finite[1:] + np.maximum(np.concatenate((-slope[1:], [0.0])), 0.0) * width
    promise = np.maximum(rising, falling)
    # What can't be told apart any more promises nothing.
    return np.where(width > 1e-9 * np.abs(x[1:]), promise, -np.inf)
