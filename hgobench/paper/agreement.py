"""Agreement of the published variant with the published values, curve by curve.

If the authors' code, run with the stated settings, does not give the published value, its own value
is listed, too; these values come from runs of that code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from hgobench.statistics import LEVEL

from .comparisons import Comparison
from .figures import Figure, published
from .runs import Series, final_pair

CODE = {
    ("fig5", "HgO, Cweak"): 0.8839,
    ("fig6b", "HgO, No Attack"): 0.8770,
    ("fig6b", "HgO, f = 10, FOE"): 0.8456,
    ("fig6b", "HgO, f = 10, LIE"): 0.8738,
    ("fig6c", "HgO, f = 0, C1"): 0.6765,
    ("fig6c", "HgO, f = 5, C1"): 0.4515,
    ("fig6c", "HgO, f = 10, C1"): 0.0089,
    ("fig6c", "HgO, f = 20, C1"): 0.0579,
    ("fig6c", "HgO, f = 30, C1"): 0.2177,
}
ACCURACY = 0.02  # tolerance of an accuracy or explained variance
LOSS = 0.05  # tolerance of a loss, relative to the published one


@dataclass(frozen=True)
class Agreement:
    """A published last value, and ours after as many updates.

    Attributes:
        figure, curve: their names.
        paper: the published value.
        ours: (seeds,) our values.
        tolerance: the largest distance of the mean.
        code: the value of the authors' code, if it is known to be another one; else NaN.
    """

    figure: str
    curve: str
    paper: float
    ours: NDArray[np.float64]
    tolerance: float
    code: float = math.nan

    @property
    def mean(self) -> float:
        """The mean over our seeds."""
        return float(self.ours.mean())

    @property
    def deviation(self) -> float:
        """The standard deviation over our seeds; 0 for one seed."""
        return float(self.ours.std(ddof=1)) if len(self.ours) > 1 else 0.0

    def near(self, value: float) -> bool:
        """Return whether our mean is significantly within the tolerance of a value.

        By two one-sided t tests; with one seed nothing is significant.
        """
        return Comparison("", self.ours - value, self.tolerance, "within").holds <= LEVEL

    @property
    def met(self) -> bool:
        """Whether the published value is met."""
        return self.near(self.paper)

    @property
    def alike(self) -> bool:
        """Whether the published value is in the 95 % prediction interval of our seeds.

        A published curve is of one partition and one initial model, as one of our seeds is.
        """
        n = len(self.ours)
        if n < 2:
            return False
        half = t.ppf(1.0 - LEVEL / 2.0, n - 1) * self.deviation * math.sqrt(1.0 + 1.0 / n)
        return abs(self.mean - self.paper) <= float(half)

    @property
    def text(self) -> str:
        """The agreement, in words."""
        if self.met:
            return "yes"
        text = "within the seeds' spread" if self.alike else "no"
        return text if math.isnan(self.code) or not self.near(self.code) else f"{text}; as the code"


def agreements(
    measured: Callable[[str, str], Series], figures: Iterable[Figure]
) -> list[Agreement]:
    """Return the agreement of every curve of some figures that has a published value."""
    results = []
    for figure in figures:
        for curve in figure.curves:
            if figure.points(curve) is None:
                continue
            paper, ours = final_pair(figure, curve, "published", measured(figure.name, curve.label))
            tolerance = LOSS * paper if figure.y == "test_loss" else ACCURACY
            code = CODE.get((figure.name, curve.label), math.nan)
            results.append(Agreement(figure.name, curve.label, paper, ours, tolerance, code))
    return results


def curves(figure: Figure) -> int:
    """Return the number of a figure's curves with published values."""
    return len(published().get(figure.published, {}))
