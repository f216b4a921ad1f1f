"""The worst case over attacks, its interval, and the share of seeds that collapsed.

The estimand is θ = min over attacks of the mean accuracy over seeds and test examples: the attacker
chooses the attack and does not know the seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import InputError
from hgobench.statistics.draws import Draws, draw
from hgobench.statistics.means import LEVEL, Floats

# With fewer, no test that is exact at 5 % tells two rows apart, though all agree: 2/2⁵ > 0.05.
FEWEST = 6


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval, within [0, 1]."""

    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class Share:
    """How many of some seeds collapsed, with the exact 95 % interval of their share."""

    count: int
    of: int
    low: float
    high: float


def share(count: int, of: int) -> Share:
    """Return a share of seeds with Clopper and Pearson's interval: quantiles of beta distributions.

    >>> one = share(0, 20)
    >>> one.low, round(one.high, 3)
    (0.0, 0.168)
    """
    from scipy.special import betaincinv  # scipy.stats takes half a second to import

    low = betaincinv(count, of - count + 1, LEVEL / 2) if count else 0.0
    high = betaincinv(count + 1, of - count, 1 - LEVEL / 2) if count < of else 1.0
    return Share(count, of, float(low), float(high))


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one row did: an accuracy per attack and seed, and which test examples were right.

    Attributes:
        accuracy: (A, S) in [0, 1]; NaN: there is no such cell. Every attack has one or more.
        right: (A, S, ⌈N/8⌉) uint8, as ``numpy.packbits`` writes (A, S, N) bool; zeros for a cell
            that did not end well, or does not exist. None: it is not known.
        examples: N; 0 if it is not known which were right.

    Raises:
        InputError: shapes do not agree, an attack has no cell, an accuracy is not in [0, 1], or is
            not the share of the examples that were right.

    Example:
        >>> row = Outcomes(np.array([[0.9, 0.8, 0.7], [0.6, 0.9, 0.8]]))
        >>> round(row.value, 2), row.worst, round(row.known_seed().value, 2)
        (0.77, 1, 0.7)
    """

    accuracy: Floats
    right: NDArray[np.uint8] | None = None
    examples: int = 0

    def __post_init__(self) -> None:
        if self.accuracy.ndim != 2 or not self.accuracy.size:
            raise InputError(f"accuracy: shape {self.accuracy.shape}; expected (attacks, seeds)")
        if not self.there.any(axis=1).all():
            raise InputError("accuracy: an attack without cells; expected one or more of each")
        values = self.accuracy[self.there]
        if len(strange := values[(values < 0) | (values > 1)]):
            raise InputError(f"accuracy: {strange[0]}; expected a number in [0, 1]")
        if self.right is None:
            if self.examples:
                raise InputError(f"examples: {self.examples}; expected 0, as right is None")
            return
        expected = (*self.accuracy.shape, -(-self.examples // 8))
        if not self.examples or self.right.shape != expected:
            raise InputError(f"right: shape {self.right.shape}; expected {expected}, of 1 or more")
        shares = self.marks.sum(axis=2, dtype=np.int64)[self.there] / self.examples
        if len(off := np.flatnonzero(abs(shares - values) > 0.5 / self.examples)):
            raise InputError(
                f"right: {shares[off[0]]:g} of {self.examples} examples, where the accuracy is "
                f"{values[off[0]]:g}; expected the same"
            )

    @cached_property
    def there(self) -> NDArray[np.bool_]:
        """(A, S) whether there is such a cell."""
        return ~np.isnan(self.accuracy)

    @property
    def marks(self) -> NDArray[np.uint8]:
        """(A, S, N) 1 where an example was right; N is 0 if that is not known."""
        if self.right is None:
            return np.zeros((*self.accuracy.shape, 0), dtype=np.uint8)
        return np.unpackbits(self.right, axis=2, count=self.examples)

    @cached_property
    def means(self) -> Floats:
        """(A,) the mean over seeds."""
        sums = np.where(self.there, self.accuracy, 0.0).sum(axis=1)
        return np.asarray(sums / self.there.sum(axis=1))

    @property
    def worst(self) -> int:
        """The attack with the lowest mean; of several the first."""
        return int(self.means.argmin())

    @property
    def value(self) -> float:
        """The estimate of θ: the minimum over attacks of the mean over seeds."""
        return float(self.means.min())

    @property
    def seeds(self) -> int:
        """How many seeds there are of any attack."""
        return int(self.there.any(axis=0).sum())

    def draws(self) -> Draws:
        """Return the draws that suit it."""
        return draw(self.accuracy.shape[1], self.examples)

    def known_seed(self) -> Outcomes:
        """Return each seed's own worst case, as one attack: that of an attacker who knows the seed.

        The mean over seeds of each seed's minimum is its `value`.
        """
        at = np.where(self.there, self.accuracy, math.inf).argmin(axis=0)
        seeds = np.arange(len(at))
        right = None if self.right is None else self.right[at, seeds][None]
        return Outcomes(self.accuracy[at, seeds][None], right, self.examples)

    def of_seeds(self, kept: NDArray[np.bool_]) -> Outcomes:
        """Return what it did with some of the seeds, (S,)."""
        right = None if self.right is None else self.right[:, kept]
        return Outcomes(self.accuracy[:, kept], right, self.examples)

    def deviations(self, draws: Draws, unseen: Literal[0, 1] | None = None) -> Floats:
        """Return by how much the means change when the test examples are drawn again, (A, B).

        Args:
            draws: those that suit it.
            unseen: whether an example that nobody has seen is right in all cells; None: there is
                none.
        """
        counts = np.where(self.there[:, :, None], self.marks, 0).sum(axis=1, dtype=np.int64)
        return draws.deviations(counts, self.there.sum(axis=1), unseen)


def estimates(outcomes: Outcomes, draws: Draws | None = None) -> tuple[list[Estimate], Estimate]:
    """Return the mean under each attack and the worst case θ, with 95 % intervals.

    In a replicate the seeds' weights (w_1, .., w_S, w_0) are uniform on the simplex, and so are,
    independently, those of test examples (v_1, .., v_N, v_0); what the examples change is added.
    w_0 belongs to a seed and v_0 to an example that nobody has seen: each is wrong for the lower
    end and right for the upper one. The ends are the 2.5 % and 97.5 % quantiles. Without examples
    this is, but for the error of so many replicates, Clopper and Pearson's interval of accuracies
    that are 0 or 1, and Gaffke's (2005) of others: for any distribution on [0, 1] no undercoverage
    of it is known (Learned-Miller and Thomas, arXiv:1905.06208). With examples it is a two-way
    Bayesian bootstrap (Owen and Eckles, 2012, arXiv:1106.2125). It allows for collapses that so few
    seeds, and for kinds of examples that so few examples, may not have shown.

    Of the minimum over attacks, the lower end is the lowest of the attacks': under the attack that
    is the worst in truth it is too high with a probability of 2.5 %, however many others there are.
    The upper end is the lowest of theirs at the level at which they hold together (Beran, 1988,
    *Balanced simultaneous confidence sets*): it counts A looks.

    Args:
        outcomes: what a row did.
        draws: None: those that suit it.

    Returns:
        An estimate per attack, and that of the minimum.

    Example:
        >>> accuracy = np.array([[0.9, 0.9, 0.9, 0.9, 0.9, 0.9], [0.8, 0.1, 0.8, 0.8, 0.8, 0.8]])
        >>> _, worst = estimates(Outcomes(accuracy))
        >>> round(worst.mean, 2), round(worst.low, 1), round(worst.high, 1)
        (0.68, 0.3, 0.9)
    """
    draws = outcomes.draws() if draws is None else draws
    there = outcomes.there
    total = np.zeros((len(there), draws.replicates))
    weight = np.zeros_like(total)
    for s in range(there.shape[1]):  # one after another: the last bits follow from the order
        total += np.where(there[:, s], outcomes.accuracy[:, s], 0.0)[:, None] * draws.seeds[s]
        weight += there[:, s, None] * draws.seeds[s]
    unseen = draws.seeds[-1]
    low = np.sort(total / (weight + unseen) + outcomes.deviations(draws, 0), axis=1)
    high = (total + unseen) / (weight + unseen) + outcomes.deviations(draws, 1)
    ordered = np.sort(high, axis=1)
    B = draws.replicates
    below, above = math.floor(LEVEL / 2 * B), math.ceil((1 - LEVEL / 2) * B) - 1
    # the rank that none of the attacks' exceeds in 97.5 % of the replicates
    ranks = np.argsort(np.argsort(high, axis=1, kind="stable"), axis=1, kind="stable")
    together = int(np.sort(ranks.max(axis=0))[above])
    lows, highs = low[:, below].clip(0, 1), ordered[:, above].clip(0, 1)
    each = [
        Estimate(float(mean), float(min(one, mean)), float(max(other, mean)), int(count))
        for mean, one, other, count in zip(
            outcomes.means, lows, highs, there.sum(axis=1), strict=True
        )
    ]
    upper = max(float(ordered[:, together].min()), outcomes.value)
    low_end = min(one.low for one in each)
    return each, Estimate(outcomes.value, low_end, min(upper, 1.0), outcomes.seeds)


def estimate(values: Floats) -> Estimate:
    """Return the mean of some seeds' accuracies with its interval, from the accuracies alone.

    >>> one = estimate(np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]))
    >>> round(one.low, 1), round(one.high, 2)  # 7 of 8; Clopper and Pearson: 0.473 to 0.997
    (0.5, 1.0)
    """
    return estimates(Outcomes(np.asarray(values, dtype=np.float64)[None]))[1]
