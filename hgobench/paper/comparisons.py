"""Comparisons of means over seeds with bounds, and families of them.

A comparison is decided if its mean is significantly on one side of a stated bound, at 5 % over all
claims. Equality can be decided, too: as no difference as large as the bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import t

from hgobench.statistics import LEVEL, Floats, exceeds, interval

SMALLEST = 0.005  # a smaller difference of accuracies is no effect
NEAR = 0.02  # accuracies that differ by less count as equal
FASTER = 1.1  # a smaller ratio of times or bytes is no effect


@dataclass(frozen=True)
class Comparison:
    """A condition on the mean over seeds, μ.

    Attributes:
        name: of the measured quantity, in words.
        values: (seeds,) one number per seed; for two curves the paired differences.
        bound: δ.
        kind: ``"above"``: μ > δ; ``"within"``: -δ < μ < δ (two one-sided tests).
        otherwise: the meaning of the opposite, if that is shown; empty: no special one.
        premise: whether the claim is not tested unless it holds.
        ratio: whether the values are logarithms of ratios.
        most: (seeds,) upper bounds of the values, if `values` are lower bounds; None: the values
            are known.

    Example:
        >>> gain = Comparison("A minus B", np.array([0.02, 0.03, 0.02, 0.03]), SMALLEST)
        >>> gain.holds < 0.01 < 0.99 < gain.fails
        True
    """

    name: str
    values: Floats
    bound: float
    kind: Literal["above", "within"] = "above"
    otherwise: str = ""
    premise: bool = False
    ratio: bool = False
    most: Floats | None = None

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(self.values.mean())

    @property
    def deviation(self) -> float:
        """The standard deviation over seeds; 0 for one seed."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else 0.0

    @property
    def holds(self) -> float:
        """The p-value for the condition: small if it is shown to hold."""
        if self.kind == "above":
            return exceeds(self.values, self.bound)
        return max(exceeds(self.values, -self.bound), exceeds(-self.values, -self.bound))

    @property
    def fails(self) -> float:
        """The p-value for the opposite: small if the condition is shown to fail."""
        if self.kind == "above":
            return exceeds(-(self.values if self.most is None else self.most), -self.bound)
        outside = min(exceeds(self.values, self.bound), exceeds(-self.values, self.bound))
        return min(1.0, 2.0 * outside)

    @property
    def met(self) -> int:
        """Number of seeds whose own value meets the condition."""
        if self.kind == "above":
            return int((self.values > self.bound).sum())
        return int((abs(self.values) < self.bound).sum())

    @property
    def row(self) -> list[str]:
        """A table's row: name, mean, 95 % interval, condition, seeds, p."""
        sign = {"above": "> ", "within": "within ±"}[self.kind]

        def text(value: float) -> str:
            return f"{math.exp(value):.3g}" if self.ratio else f"{value:.4f}"

        finite = self.values[np.isfinite(self.values)]
        if len(finite) == len(self.values):
            low, high = (float(end) for end in interval(finite))
            numbers = [text(self.mean), f"{text(low)} to {text(high)}"]
        else:
            median = text(float(np.median(self.values)))
            numbers = [
                f"median {median}",
                f"{len(self.values) - len(finite)} seeds never get there",
            ]
        title = f"premise: {self.name}" if self.premise else self.name
        seeds = f"{self.met} of {len(self.values)}"
        return [title, *numbers, f"{sign}{text(self.bound)}", seeds, f"{self.holds:.2g}"]


COLUMNS = ["comparison", "mean", "95 % interval", "demanded", "seeds", "p"]


def more(
    name: str, better: Floats, worse: Floats, margin: float = SMALLEST, otherwise: str = "",
    premise: bool = False,
) -> Comparison:  # fmt: skip
    """Demand that one curve exceeds another by more than a margin."""
    return Comparison(name, better - worse, margin, otherwise=otherwise, premise=premise)


def no_less(name: str, one: Floats, other: Floats, margin: float = NEAR) -> Comparison:
    """Demand that one curve is less than a margin below another."""
    return Comparison(name, one - other, -margin)


def alike(name: str, one: Floats, other: Floats, margin: float = NEAR) -> Comparison:
    """Demand that two curves differ by less than a margin."""
    return Comparison(name, one - other, margin, "within")


def above(
    name: str, values: Floats, level: float, otherwise: str = "", premise: bool = False
) -> Comparison:
    """Demand that a curve lies above a level."""
    return Comparison(name, values, level, otherwise=otherwise, premise=premise)


def times(
    name: str, larger: Floats, smaller: Floats, factor: float = FASTER, otherwise: str = ""
) -> Comparison:
    """Demand that a time, or number of bytes, exceeds `factor` times another."""
    values: Floats = np.log(larger) - np.log(smaller)
    return Comparison(name, values, math.log(factor), otherwise=otherwise, ratio=True)


def sooner(
    name: str, first: Floats, second: Floats, first_end: Floats, second_end: Floats
) -> Comparison:
    """Demand that a first curve reaches a level FASTER times sooner than a second.

    A level that is not reached before the end of a run may be reached at any time after it. Then
    only bounds of the ratio are known, and a verdict has to hold at the worse bound.

    Args:
        name: of the measured quantity, in words.
        first, second: (seeds,) the times at which each reaches it; inf: not before its end.
        first_end, second_end: (seeds,) the ends of the runs.
    """
    log = np.log
    least = np.where(np.isinf(first), -np.inf, log(np.minimum(second, second_end)) - log(first))
    most = np.where(np.isinf(second), np.inf, log(second) - log(np.minimum(first, first_end)))
    return Comparison(name, least, log(FASTER), ratio=True, most=most)


@dataclass(frozen=True)
class Evidence:
    """The evidence on a claim.

    The claim holds if all comparisons hold (an intersection-union test, whose p-value is their
    largest), and does not hold if any fails (Bonferroni: their number times the smallest).

    Attributes:
        comparisons: the conditions.
        text: the numbers behind it, in words.
    """

    comparisons: Sequence[Comparison]
    text: str

    @property
    def holds(self) -> float:
        """The p-value of the verdict that it holds."""
        return max(comparison.holds for comparison in self.comparisons)

    @property
    def fails(self) -> float:
        """The p-value of the verdict that it does not hold."""
        return min(1.0, len(self.comparisons) * min(c.fails for c in self.comparisons))

    @property
    def p(self) -> float:
        """The two-sided p-value: twice the smaller of the two."""
        return min(1.0, 2.0 * min(self.holds, self.fails))

    def verdict(self, adjusted: float) -> str:
        """Return the verdict, in words.

        Args:
            adjusted: the p-value, adjusted for all claims.
        """
        if adjusted > LEVEL:
            return "undecided"
        if self.holds < self.fails:
            return "holds"
        # Comparisons that fail at the same adjusted level.
        limit = LEVEL * (self.p / adjusted if adjusted else 1.0) / (2.0 * len(self.comparisons))
        failed = [c for c in self.comparisons if c.fails <= limit]
        untested = [c.otherwise for c in failed if c.premise]
        if untested:
            return f"not put to the test: {' and '.join(dict.fromkeys(untested))}"
        if any(c.premise and c.holds > limit for c in self.comparisons):
            return "undecided"
        reasons = dict.fromkeys(c.otherwise for c in failed)
        return f"does not hold{': ' if all(reasons) else ''}{' and '.join(reasons) * all(reasons)}"

    @property
    def means(self) -> dict[str, Floats]:
        """The comparisons' values by name, (seeds,) each."""
        return {comparison.name: comparison.values for comparison in self.comparisons}


def spread(mean: float, deviation: float, known: int, new: int) -> tuple[float, float]:
    """Return the 99.9 % prediction interval of the mean of new seeds (Student's t).

    Args:
        mean, deviation: of the known seeds.
        known, new: numbers of known and of new seeds.
    """
    half = t.ppf(0.9995, known - 1) * deviation * math.sqrt(1.0 / known + 1.0 / new)
    return mean - half, mean + half
