"""What several seeds decide: comparisons of means with bounds, and many of them at once.

A comparison is decided only if its mean lies on one side of a stated bound whatever the seeds, at
5 % over all claims. Of no difference at all it decides that there is none as large as the bound.
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
NEAR = 0.02  # accuracies that differ by less are alike
FASTER = 1.1  # a smaller ratio of times or bytes is no effect


@dataclass(frozen=True)
class Comparison:
    """Something that is demanded of the mean over seeds.

    Attributes:
        name: what is measured, in words.
        values: (seeds,) one number per seed; of two curves the paired differences.
        bound: δ.
        kind: ``"above"``: μ > δ; ``"within"``: -δ < μ < δ (two one-sided tests).
        otherwise: what it means that the opposite is shown; empty: nothing in particular.
        premise: whether without it the claim is not put to the test.
        ratio: whether the values are logarithms of ratios.
        most: (seeds,) the largest that each value may be, where `values` is the least; None: the
            values are known.

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
        """The standard deviation over seeds; 0 of one."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else 0.0

    @property
    def holds(self) -> float:
        """The p-value against the opposite: small where what is demanded is shown."""
        if self.kind == "above":
            return exceeds(self.values, self.bound)
        return max(exceeds(self.values, -self.bound), exceeds(-self.values, -self.bound))

    @property
    def fails(self) -> float:
        """The p-value against what is demanded: small where the opposite is shown."""
        if self.kind == "above":
            return exceeds(-(self.values if self.most is None else self.most), -self.bound)
        outside = min(exceeds(self.values, self.bound), exceeds(-self.values, self.bound))
        return min(1.0, 2.0 * outside)

    @property
    def met(self) -> int:
        """In how many seeds the value itself is as demanded."""
        if self.kind == "above":
            return int((self.values > self.bound).sum())
        return int((abs(self.values) < self.bound).sum())

    @property
    def row(self) -> list[str]:
        """The comparison in a table: what, mean, 95 % interval, what is demanded, seeds, p."""
        sign = {"above": "> ", "within": "within ±"}[self.kind]

        def shown(value: float) -> str:
            return f"{math.exp(value):.3g}" if self.ratio else f"{value:.4f}"

        finite = self.values[np.isfinite(self.values)]
        if len(finite) == len(self.values):
            low, high = (float(end) for end in interval(finite))
            told = [shown(self.mean), f"{shown(low)} to {shown(high)}"]
        else:
            median = shown(float(np.median(self.values)))
            told = [f"median {median}", f"{len(self.values) - len(finite)} seeds never get there"]
        what = f"premise: {self.name}" if self.premise else self.name
        seeds = f"{self.met} of {len(self.values)}"
        return [what, *told, f"{sign}{shown(self.bound)}", seeds, f"{self.holds:.2g}"]


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
    """Demand that one time, or number of bytes, is more than so many times another."""
    values: Floats = np.log(larger) - np.log(smaller)
    return Comparison(name, values, math.log(factor), otherwise=otherwise, ratio=True)


def sooner(
    name: str, first: Floats, second: Floats, first_end: Floats, second_end: Floats
) -> Comparison:
    """Demand that something is reached FASTER times sooner than something else.

    What is not reached before the end of its run is reached at any time after it: of the ratio then
    only bounds are known, and each verdict has to hold at the bound that is worse for it.

    Args:
        name: what is measured, in words.
        first, second: (seeds,) when each is reached; inf: not before the end.
        first_end, second_end: (seeds,) when the runs end.
    """
    log = np.log
    least = np.where(np.isinf(first), -np.inf, log(np.minimum(second, second_end)) - log(first))
    most = np.where(np.isinf(second), np.inf, log(second) - log(np.minimum(first, first_end)))
    return Comparison(name, least, log(FASTER), ratio=True, most=most)


@dataclass(frozen=True)
class Evidence:
    """What the seeds say of a claim.

    The claim holds if all comparisons do (an intersection-union test: its p-value is their
    largest), and does not if any fails (Bonferroni: so many times their smallest).

    Attributes:
        comparisons: what it demands.
        text: the figures behind it, in words.
    """

    comparisons: Sequence[Comparison]
    text: str

    @property
    def holds(self) -> float:
        """The p-value of the verdict that the claim holds."""
        return max(comparison.holds for comparison in self.comparisons)

    @property
    def fails(self) -> float:
        """The p-value of the verdict that it does not."""
        return min(1.0, len(self.comparisons) * min(c.fails for c in self.comparisons))

    @property
    def p(self) -> float:
        """The p-value of whichever verdict is nearer, for both being possible."""
        return min(1.0, 2.0 * min(self.holds, self.fails))

    def verdict(self, adjusted: float) -> str:
        """Say what is decided.

        Args:
            adjusted: its p-value, adjusted for all claims.
        """
        if adjusted > LEVEL:
            return "undecided"
        if self.holds < self.fails:
            return "holds"
        # What else is shown, as surely as what decides.
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
    """Return where the mean of some new seeds lies in 999 of 1,000 cases (Student's t).

    Args:
        mean, deviation: of the known seeds.
        known, new: how many.
    """
    half = t.ppf(0.9995, known - 1) * deviation * math.sqrt(1.0 / known + 1.0 / new)
    return mean - half, mean + half
