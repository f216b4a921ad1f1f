"""Which rows differ: a step-down max-T test over paired replicates, and ranks that are ranges.

A row's θ is the minimum over its attacks, so that to say row j is better than row k is to say that
under every attack on j it does better than k does under some attack on k. The test is built like
that: over j's attacks each must be rejected (an intersection-union test: Berger, 1982,
*Multiparameter hypothesis testing and acceptance sampling*, Technometrics), which costs no level
however many they are; over k's attacks the largest statistic counts, and the null distribution is
of that maximum. No estimate of a minimum, which is too low where several attacks tie, is compared
with another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench.determinism import one_blas_thread
from hgobench.errors import InputError
from hgobench.statistics.draws import Draws, draw
from hgobench.statistics.means import LEVEL, Floats, holm
from hgobench.statistics.worst_case import FEWEST, Outcomes

Verdict = Literal["first", "second", "not told apart", "too few seeds"]
Places = NDArray[np.intp]  # of rows or members
AT_ONCE = 64  # pairs of members, of which replicates are in memory
SAME = 1e-12  # what is smaller, relative to what it is of, is rounding
LEFT_OUT = 0.005  # the chance that a row's worst attack is left out, of the level


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
    """Rows that have the same seeds and test examples.

    A member is an attack on a row; members are in the order of their rows.

    Attributes:
        value: (R,) the estimates of θ.
        starts: (R,) the first member of each row.
        worst: (R,) the member with the lowest mean of each row.
        accuracy: (M, S) of members.
        flipped: (M, B) their means, where a replicate changes the signs of some seeds.
        redrawn: (M, B) by how much their means change when the test examples are drawn again.
        right: (M, N) on how many seeds each example was right; N is 0 if that is not known. Whole
            numbers, of which sums of products are exact in any order.
        weights: (S + 1, B) of seeds, and of one that nobody has seen (`Draws.seeds`).
    """

    value: Floats
    starts: Places
    worst: Places
    accuracy: Floats
    flipped: Floats
    redrawn: Floats
    right: Floats
    weights: Floats

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
        accuracy = np.concatenate([row.accuracy for row in rows])
        flipped = np.zeros((len(accuracy), draws.replicates))
        for s, signs in enumerate(draws.signs):  # in turn: the last bits follow from the order
            flipped += accuracy[:, s, None] / len(draws.signs) * signs
        starts = np.cumsum([0, *(len(row.accuracy) for row in rows[:-1])])
        return cls(
            np.array([row.value for row in rows]),
            starts,
            starts + [row.worst for row in rows],
            accuracy,
            flipped,
            np.concatenate([row.deviations(draws) for row in rows]),
            np.concatenate([row.marks.sum(axis=1, dtype=np.float64) for row in rows]),
            draws.seeds,
        )

    @property
    def seeds(self) -> Floats:
        """(R, S) each seed's accuracy under the row's worst attack."""
        return self.accuracy[self.worst]

    @property
    def ends(self) -> Places:
        """(R,) the first member after those of each row."""
        return np.append(self.starts[1:], len(self.accuracy))

    def variances(self, first: Places, second: Places) -> tuple[Floats, Floats]:
        """Return two variances of members' differences, s² and e², (P, Q) each.

        s² is that of a seed's difference, e² that of the mean difference when test examples are
        drawn again; the variance of the mean difference is s²/S + e². Noise that a seed and an
        example have together is in both, so that it is rather too high than too low: as in the
        pigeonhole bootstrap (Owen, 2007, *The pigeonhole bootstrap*, Annals of Applied Statistics).

        Args:
            first: (P,) members.
            second: (Q,) members.
        """
        S, N = self.accuracy.shape[1], self.right.shape[1]
        by_seed = np.zeros((len(first), len(second)))
        if S > 1:
            difference = self.accuracy[first][:, None] - self.accuracy[second]
            by_seed = np.asarray(difference.var(axis=2, ddof=1))
        if not N:
            return by_seed, np.zeros_like(by_seed)
        one, other = self.right[first], self.right[second]
        with one_blas_thread():  # the matrices are small
            product = one @ other.T
        squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * product
        apart = one.sum(axis=1)[:, None] - other.sum(axis=1)
        return by_seed, np.asarray((N * squares - apart**2) / (S**2 * N**3))

    def errors(self, first: Places, second: Places) -> Floats:
        """Return the standard errors of members' differences, (P, Q)."""
        by_seed, by_examples = self.variances(first, second)
        return np.asarray(np.sqrt(by_seed / self.accuracy.shape[1] + by_examples))

    @cached_property
    def contenders(self) -> NDArray[np.bool_]:
        """(M,) the members that may be the worst of their row.

        Those whose mean is not significantly above that of the row's worst, by one-sided t tests
        at `LEFT_OUT` over the number of members: the first of the two steps of Romano, Shaikh and
        Wolf (2014, *A practical two-step method for testing moment inequalities*, Econometrica).
        """
        from scipy.special import stdtrit  # scipy.stats takes half a second to import

        S, mean = self.accuracy.shape[1], self.accuracy.mean(axis=1)
        kept = np.ones(len(mean), dtype=bool)
        if S < FEWEST:
            return kept
        beyond = -stdtrit(S - 1, LEFT_OUT / len(mean))
        for start, end, worst in zip(self.starts, self.ends, self.worst, strict=True):
            above = mean[start:end] - mean[worst]
            error = self.errors(np.array([worst]), np.arange(start, end))[0]
            kept[start:end] = above <= beyond * error + SAME
        return kept

    @property
    def left_out(self) -> float:
        """The chance that a row's worst attack is not among the contenders."""
        return 0.0 if self.contenders.all() else LEFT_OUT

    @cached_property
    def by_examples(self) -> Floats:
        """(R, M) e² of each row's worst member and every member."""
        return self.variances(self.worst, np.arange(len(self.accuracy)))[1]

    def contenders_of(self, row: int) -> Places:
        """Return the contenders of a row."""
        start = self.starts[row]
        return np.asarray(start + np.flatnonzero(self.contenders[start : self.ends[row]]))

    def observed(self) -> Floats:
        """Return the statistics that one row is better than another, (R, R); -inf of itself.

        t_jk = min over j's attacks a of max over k's attacks b of (m_a - m_b) / √(s²/S + e²), with
        m the means of contenders, and s² and e² of their difference (`variances`).
        """
        kept = np.flatnonzero(self.contenders)
        count = np.add.reduceat(self.contenders.astype(np.intp), self.starts)
        starts = np.cumsum([0, *count[:-1]])
        mean = self.accuracy.mean(axis=1)
        found = np.full((len(self.value),) * 2, -math.inf)
        for j in range(len(found)):
            members = self.contenders_of(j)
            apart = mean[members][:, None] - mean[kept]
            t = _ratio(apart, self.errors(members, kept) ** 2, apart**2)
            found[j] = np.maximum.reduceat(t, starts, axis=1).min(axis=0)
        np.fill_diagonal(found, -math.inf)
        return found

    def null(self, first: Places, second: Places) -> Floats:
        """Return the statistics of P pairs of rows in B replicates in which they tie, (P, B).

        Of j's attacks it is the one that seems to be the worst. A wild bootstrap (Liu, 1988): every
        seed's difference keeps its sign or changes it, and the test examples are drawn again. Where
        the seeds' differences are symmetric about 0 and the examples add nothing, this is the
        sign-flipping test, and exact.
        """
        S = self.accuracy.shape[1]
        others = [self.contenders_of(row) for row in second]
        sizes = [len(members) for members in others]
        row = np.repeat(first, sizes)
        one, other = self.worst[row], np.concatenate(others)
        square = ((self.accuracy[one] - self.accuracy[other]) ** 2).mean(axis=1)[:, None]
        flipped = self.flipped[one] - self.flipped[other]
        spread = square - flipped**2
        spread *= spread >= SAME * square
        spread /= S - 1
        spread += self.by_examples[row, other][:, None]
        flipped += self.redrawn[one] - self.redrawn[other]
        starts = np.cumsum([0, *sizes[:-1]])
        return np.asarray(np.maximum.reduceat(_ratio(flipped, spread, square), starts, axis=0))

    def unproven(self, first: int, second: int) -> float:
        """Return the p-value that one row is better than another, whatever seeds have not shown.

        Formula: the largest, over the first row's attacks a, of A·P(Σ w_s·x_s < w_0) with the
        weights of `estimates`, x_s the difference of a and the second row's worst attack, and A the
        number of attacks that may be that. It is Gaffke's (2005) for means on [-1, 1], so that it
        needs no symmetry, and holds a collapse that S seeds do not show for possible.
        """
        start, end = self.starts[first], self.ends[first]
        other = self.worst[second]
        x = self.accuracy[start:end] - self.accuracy[other]
        total = np.zeros((len(x), self.weights.shape[1]))
        moved = self.redrawn[start:end] - self.redrawn[other]
        for s, weight in enumerate(self.weights[:-1]):  # in turn: the last bits
            total += (x[:, s, None] + moved) * weight
        p = np.exp(-np.maximum(total, 0.0) / (1 - moved)).mean(axis=1)  # over w_0: exponential
        return min(1.0, float(p.max()) * len(self.contenders_of(second)) + self.left_out)


def _ratio(value: Floats, variance: Floats, scale: Floats) -> Floats:
    """Return value / √variance; 0 over nothing is 0, else infinite. What is tiny is rounding."""
    nothing = variance <= SAME * scale
    if not nothing.any():
        return np.asarray(value / np.sqrt(variance))
    root = np.sqrt(np.where(nothing, 1.0, variance))
    without = np.where(abs(value) <= SAME, 0.0, np.copysign(math.inf, value))
    return np.where(nothing, without, value / root)


def as_large(null: Floats, observed: Floats) -> Floats:
    """Return p-values: the shares of replicates that are as large, the observed one counted.

    Args:
        null: (P, B).
        observed: (P,).
    """
    least = observed * (1 - SAME * np.sign(observed))
    return np.asarray((1 + (null >= least[:, None]).sum(axis=1)) / (1 + null.shape[1]))


def step_down(rows: Paired) -> Floats:
    """Return the p-values of all statements "row j is better than row k", (R, R).

    The step-down max-T procedure (Westfall and Young, 1993; Romano and Wolf, 2005) over all ordered
    pairs of rows, as Mogstad, Romano, Shaikh and Wilhelm (2024, *Inference for ranks with
    applications to mobility across neighbourhoods and academic achievement across countries*) use
    it for ranks: statements by falling t; the p-value of one is the share of replicates in which
    the largest t of it and of all after it is as large, and no less than that of the one before.
    As "j is better than k" and "k is better than j" are two statements, a wrong direction counts.
    If all with a p-value up to 5 % are made, the probability that one is wrong is 5 %, provided
    that seeds' differences are symmetric where rows tie; where a row collapses seldom, and its
    seeds do not show it, it may be far higher (docs/statistics.md), and `certain` tells what holds.

    With fewer than `FEWEST` seeds nothing is told apart: all p-values are 1.

    Example:
        >>> good, same, bad = [0.9, 0.92] * 4, [0.91, 0.9, 0.92, 0.93] * 2, [0.5, 0.52] * 4
        >>> p = step_down(Paired.of([Outcomes(np.array([row])) for row in (good, same, bad)]))
        >>> bool(p[0, 2] < 0.05), bool(p[2, 0] < 0.05), bool(p[0, 1] < 0.05)
        (True, False, False)
    """
    count, S = len(rows.value), rows.accuracy.shape[1]
    adjusted = np.ones((count, count))
    if count < 2 or S < FEWEST:
        return adjusted
    first, second = np.nonzero(~np.eye(count, dtype=bool))
    observed = rows.observed()[first, second]
    rising = np.argsort(observed, kind="stable")
    largest, p = np.zeros((1, rows.flipped.shape[1])) - math.inf, np.empty(len(first))
    for part in _parts(rising, rows, second):
        null = np.concatenate([largest, rows.null(first[part], second[part])])
        null = np.maximum.accumulate(null, axis=0)[1:]
        p[part] = as_large(null, observed[part])
        largest = null[-1:]
    p[rising[::-1]] = np.maximum.accumulate(p[rising[::-1]])
    adjusted[first, second] = np.minimum(p + rows.left_out, 1.0)
    return adjusted


def _parts(order: Places, rows: Paired, second: Places) -> Iterator[Places]:
    """Cut pairs in some order into parts with about `AT_ONCE` pairs of members."""
    sizes = np.add.reduceat(rows.contenders.astype(np.intp), rows.starts)[second[order]]
    part = np.cumsum(sizes) // AT_ONCE
    yield from np.split(order, np.flatnonzero(np.diff(part)) + 1)


def certain(rows: Paired, p: Floats) -> NDArray[np.bool_]:
    """Return which of "row j is better than row k" hold whatever seeds have not shown, (R, R).

    Those with `Paired.unproven` up to 5 %, adjusted for all ordered pairs (Holm, 1979).

    Args:
        rows: of which each has the same seeds.
        p: of `step_down`: what that does not tell is not certain.

    Example:
        >>> good, bad = [0.9, 0.92] * 10, [0.5, 0.52] * 10
        >>> rows = Paired.of([Outcomes(np.array([row])) for row in (good, bad)])
        >>> certain(rows, step_down(rows)).tolist()
        [[False, True], [False, False]]
    """
    told = np.argwhere(p <= LEVEL)
    every = [rows.unproven(int(j), int(k)) for j, k in told]
    rest = max(len(p) * (len(p) - 1) - len(every), 0)
    adjusted = holm([*every, *[1.0] * rest])
    found = np.zeros(p.shape, dtype=bool)
    for (j, k), value in zip(told, adjusted[: len(told)], strict=True):
        found[j, k] = value <= LEVEL
    return found


def ranges(p: Floats) -> list[Rank]:
    """Return the rank of every row: a range.

    It begins at 1 + the number of rows that are significantly better, and ends at R - the number of
    those that are significantly worse. Where no statement is wrong every row's place is within its
    range (Mogstad, Romano, Shaikh and Wilhelm, 2024).

    Args:
        p: (R, R) of `step_down`.

    Example:
        >>> good, same, bad = [0.9, 0.92] * 4, [0.91, 0.9, 0.92, 0.93] * 2, [0.5, 0.52] * 4
        >>> rows = [Outcomes(np.array([row])) for row in (good, same, bad)]
        >>> [str(rank) for rank in ranges(step_down(Paired.of(rows)))]
        ['1-2', '1-2', '3']
    """
    better = p <= LEVEL
    return [
        Rank(1 + int(before), len(p) - int(after))
        for before, after in zip(better.sum(axis=0), better.sum(axis=1), strict=True)
    ]


@dataclass(frozen=True)
class Difference:
    """How two rows differ.

    Attributes:
        difference: the first's worst case less the second's.
        low, high: its 95 % interval, within [-1, 1], if no collapse is hidden.
        p: of the hypothesis that they do not differ.
        verdict: which is better, or that they are not told apart.
        certain: whether that holds whatever seeds have not shown.
        seeds: how many they were compared on.
    """

    difference: float
    low: float
    high: float
    p: float
    verdict: Verdict
    certain: bool
    seeds: int


def compare(first: Outcomes, second: Outcomes, draws: Draws | None = None) -> Difference:
    """Compare the worst cases of two rows on the same seeds and test examples.

    The test is that of `step_down`, for this one pair. The interval is of the differences at which
    it would not reject: from min over a of max over b of (m_a - m_b - c·√(s²/S + e²)), with c the
    least t that the test needs, to max over b of min over a of the same with +c. With fewer than
    `FEWEST` seeds there is no verdict: the interval is [-1, 1] and p is 1.

    Raises:
        InputError: a cell is missing, or they differ in seeds or examples.

    Example:
        >>> one, other = np.array([[0.9, 0.92] * 4]), np.array([[0.5, 0.55] * 4])
        >>> found = compare(Outcomes(one), Outcomes(other))
        >>> round(found.difference, 3), found.verdict, found.low > 0.3, found.certain
        (0.385, 'first', True, False)
    """
    rows = Paired.of([first, second], draws)
    difference, S = float(rows.value[0] - rows.value[1]), rows.accuracy.shape[1]
    if S < FEWEST:
        return Difference(difference, -1.0, 1.0, 1.0, "too few seeds", False, S)
    told = step_down(rows)
    p = float(told.min())
    null = rows.null(np.array([0, 1]), np.array([1, 0])).max(axis=0)
    needs = max(math.floor((LEVEL - rows.left_out) * (1 + len(null)) + SAME), 1)
    # t must be above this for the verdict; an end at 0 but for rounding is one beyond it
    critical = float(np.sort(null)[-needs]) * (1 + 1e-9)
    one, other = rows.contenders_of(0), rows.contenders_of(1)
    mean, error = rows.accuracy.mean(axis=1), rows.errors(one, other)
    apart = mean[one][:, None] - mean[other]
    half = np.where(error > 0, critical, 0.0) * error
    low, high = (apart - half).max(axis=1).min(), (apart + half).min(axis=0).max()
    verdict: Verdict = "not told apart"
    if p <= LEVEL:
        verdict = "first" if told[0, 1] <= LEVEL else "second"
    return Difference(
        difference,
        float(min(max(low, -1.0), difference)),
        float(max(min(high, 1.0), difference)),
        p,
        verdict,
        bool(certain(rows, told).any()),
        S,
    )
