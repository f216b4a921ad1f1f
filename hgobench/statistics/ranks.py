"""Which rows differ: a step-down max-T test over paired replicates, and ranks that are ranges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import InputError
from hgobench.statistics.draws import Draws, draw
from hgobench.statistics.means import LEVEL, Floats
from hgobench.statistics.worst_case import FEWEST, Outcomes, selected

Verdict = Literal["first", "second", "not told apart", "too few seeds"]
Places = NDArray[np.intp]  # of rows
AT_ONCE = 256  # pairs, of which replicates are in memory
SAME = 1e-12  # what is smaller, relative to what it is of, is rounding


class Rank(NamedTuple):
    """The places that a row may have.

    >>> f"{Rank(1, 4)}, {Rank(5, 5)}"
    '1-4, 5'
    """

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, eq=False)
class Paired:
    """Rows that have the same seeds and test examples, each under its own worst attack.

    Attributes:
        value: (R,) the estimates of θ.
        selected: (R,) by how much they are too low, as the worst attack was chosen.
        seeds: (R, S) each seed's accuracy under the row's worst attack.
        flipped: (R, B) their means, where a replicate changes the signs of some seeds.
        redrawn: (R, B) by how much `value` changes when the test examples are drawn again.
    """

    value: Floats
    selected: Floats
    seeds: Floats
    flipped: Floats
    redrawn: Floats

    @classmethod
    def of(cls, rows: Sequence[Outcomes], draws: Draws | None = None) -> Paired:
        """Pair rows.

        Args:
            rows: what they did; no cell may be missing.
            draws: None: those that suit them.

        Raises:
            InputError: there are none, a cell is missing, or they differ in seeds or examples.
        """
        shapes = {(row.accuracy.shape[1], row.examples) for row in rows}
        if len(shapes) != 1:
            raise InputError(
                f"rows: {len(rows)} with (seeds, examples) {sorted(shapes)}; expected one or more "
                "with the same"
            )
        if not all(row.there.all() for row in rows):
            raise InputError("rows: a cell is missing; expected one of each attack and seed")
        draws = draw(*shapes.pop()) if draws is None else draws
        seeds = np.array([row.accuracy[row.worst] for row in rows])
        flipped = np.zeros((len(rows), draws.replicates))
        for s, signs in enumerate(draws.signs):  # in turn: the last bits follow from the order
            flipped += seeds[:, s, None] / len(draws.signs) * signs
        return cls(
            np.array([row.value for row in rows]),
            np.array([selected(row, draws) for row in rows]),
            seeds,
            flipped,
            np.array([row.deviations(draws)[row.worst] for row in rows]),
        )

    def variances(self, first: Places, second: Places) -> tuple[Floats, Floats]:
        """Return two variances of P pairs: of a seed's difference, and by test examples, (P,) each.

        The variance of the mean difference is the first over S plus the second.
        """
        difference = self.seeds[first] - self.seeds[second]
        by_seed = np.zeros(len(difference))
        if difference.shape[1] > 1:
            by_seed = np.asarray(difference.var(axis=1, ddof=1))
        return by_seed, np.asarray((self.redrawn[first] - self.redrawn[second]).var(axis=1))

    def errors(self, first: Places, second: Places) -> Floats:
        """Return the standard errors of the differences of P pairs of rows, (P,)."""
        by_seed, by_examples = self.variances(first, second)
        return np.asarray(np.sqrt(by_seed / self.seeds.shape[1] + by_examples))

    def observed(self, first: Places, second: Places) -> Floats:
        """Return |t| of the differences of P pairs of rows, (P,).

        t = d / √(s²/S + e²): d is the difference of the two estimates of θ, of which the lower one
        is first corrected by `selected`; s² is the sample variance of the seeds' differences and e²
        the variance of d when test examples are drawn again.
        """
        lower = np.where(self.value[first] < self.value[second], first, second)
        apart = abs(self.value[first] - self.value[second]) - self.selected[lower]
        variance = self.errors(first, second) ** 2
        return _ratio(np.maximum(apart, 0.0), variance, apart**2)

    def null(self, first: Places, second: Places) -> Floats:
        """Return |t| of P pairs of rows in B replicates in which they do not differ, (P, B).

        A wild bootstrap (Liu, 1988): every seed's difference keeps its sign or changes it, and the
        test examples are drawn again. Where the seeds' differences are symmetric about 0 and the
        examples add nothing, this is the sign-flipping test, and exact.
        """
        difference = self.seeds[first] - self.seeds[second]
        flipped = self.flipped[first] - self.flipped[second]
        changed = self.redrawn[first] - self.redrawn[second]
        square = (difference**2).mean(axis=1)[:, None]
        spread = np.where(flipped**2 > (1 - SAME) * square, 0.0, square - flipped**2)
        variance = spread / (difference.shape[1] - 1) + changed.var(axis=1)[:, None]
        return _ratio(abs(flipped + changed), variance, square)


def _ratio(value: Floats, variance: Floats, scale: Floats) -> Floats:
    """Return value / √variance; 0 over nothing is 0, else infinite. What is tiny is rounding."""
    nothing = variance <= SAME * scale
    root = np.sqrt(np.where(nothing, 1.0, variance))
    return np.where(nothing, np.where(value <= SAME, 0.0, math.inf), value / root)


def as_large(null: Floats, observed: Floats) -> Floats:
    """Return p-values: the shares of replicates that are as large, the observed one counted.

    Args:
        null: (P, B).
        observed: (P,).
    """
    larger = (null >= (observed * (1 - SAME))[:, None]).sum(axis=1)
    return np.asarray((1 + larger) / (1 + null.shape[1]))


def step_down(rows: Paired) -> Floats:
    """Return the p-values of the differences of all pairs of rows, (R, R), for all of them at once.

    The step-down max-T procedure (Westfall and Young, 1993; Romano and Wolf, 2005): pairs by
    falling |t|; the p-value of a pair is the share of replicates in which the largest |t| of it and
    of all pairs after it is as large, and no less than that of the pair before it. If all pairs
    with a p-value up to 5 % are said to differ, the probability that one of them does not is 5 %.

    With fewer than `FEWEST` seeds nothing is told apart: all p-values are 1.

    Example:
        >>> good, same, bad = [0.9, 0.92] * 4, [0.91, 0.9, 0.92, 0.93] * 2, [0.5, 0.52] * 4
        >>> p = step_down(Paired.of([Outcomes(np.array([row])) for row in (good, same, bad)]))
        >>> bool(p[0, 2] < 0.05), bool(p[0, 1] < 0.05)
        (True, False)
    """
    count, S = rows.seeds.shape
    adjusted = np.ones((count, count))
    if count < 2 or S < FEWEST:
        return adjusted
    first, second = np.triu_indices(count, 1)
    parts = np.array_split(np.arange(len(first)), -(-len(first) // AT_ONCE))
    observed = np.concatenate([rows.observed(first[part], second[part]) for part in parts])
    rising = np.argsort(observed, kind="stable")
    largest, p = np.zeros((1, rows.flipped.shape[1])), np.empty(len(first))
    for part in (rising[part] for part in parts):
        null = np.concatenate([largest, rows.null(first[part], second[part])])
        null = np.maximum.accumulate(null, axis=0)[1:]
        p[part] = as_large(null, observed[part])
        largest = null[-1:]
    p[rising[::-1]] = np.maximum.accumulate(p[rising[::-1]])
    adjusted[first, second] = adjusted[second, first] = p
    return adjusted


def ranges(rows: Paired) -> list[Rank]:
    """Return the rank of every row: a range.

    It begins at 1 + the number of rows that are significantly better, and ends at R - the number of
    those that are significantly worse, by `step_down` at 5 %.

    Example:
        >>> good, same, bad = [0.9, 0.92] * 4, [0.91, 0.9, 0.92, 0.93] * 2, [0.5, 0.52] * 4
        >>> rows = [Outcomes(np.array([row])) for row in (good, same, bad)]
        >>> [str(rank) for rank in ranges(Paired.of(rows))]
        ['1-2', '1-2', '3']
    """
    differ = step_down(rows) <= LEVEL
    above = rows.value[:, None] < rows.value
    better, worse = (differ & above).sum(axis=1), (differ & above.T).sum(axis=1)
    return [
        Rank(1 + int(before), len(rows.value) - int(after))
        for before, after in zip(better, worse, strict=True)
    ]


@dataclass(frozen=True)
class Difference:
    """How two rows differ.

    Attributes:
        difference: the first's worst case less the second's.
        low, high: its 95 % interval, within [-1, 1].
        p: of the hypothesis that they do not differ.
        verdict: which is better, or that they are not told apart.
        seeds: how many they were compared on.
    """

    difference: float
    low: float
    high: float
    p: float
    verdict: Verdict
    seeds: int


def compare(first: Outcomes, second: Outcomes, draws: Draws | None = None) -> Difference:
    """Compare the worst cases of two rows on the same seeds and test examples.

    The test is that of `step_down`, for this one pair; the interval is d ± c·√(s²/S + e²), with c
    the least |t| that the test needs. With fewer than `FEWEST` seeds there is no verdict:
    the interval is [-1, 1] and p is 1.

    Raises:
        InputError: a cell is missing, or they differ in seeds or examples.

    Example:
        >>> one, other = np.array([[0.9, 0.92] * 4]), np.array([[0.5, 0.55] * 4])
        >>> found = compare(Outcomes(one), Outcomes(other))
        >>> round(found.difference, 3), found.verdict, found.low > 0.3
        (0.385, 'first', True)
    """
    rows = Paired.of([first, second], draws)
    difference, S = float(rows.value[0] - rows.value[1]), rows.seeds.shape[1]
    if S < FEWEST:
        return Difference(difference, -1.0, 1.0, 1.0, "too few seeds", S)
    pair = np.array([0]), np.array([1])
    null, error = rows.null(*pair), float(rows.errors(*pair)[0])
    p = float(as_large(null, rows.observed(*pair))[0])
    # |t| must be above this for the verdict; an end at 0 but for rounding is one beyond it
    critical = np.sort(null[0])[-math.floor(LEVEL * (1 + len(null[0])))] * (1 + 1e-9)
    half = float(critical) * error if error else 0.0
    verdict: Verdict = "not told apart"
    if p <= LEVEL:
        verdict = "first" if difference > 0 else "second"
    low, high = max(difference - half, -1.0), min(difference + half, 1.0)
    return Difference(difference, low, high, p, verdict, S)
