"""How many seeds are needed to tell two rows apart, by what a pilot says of their differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.statistics.means import LEVEL
from hgobench.statistics.ranks import Paired
from hgobench.statistics.worst_case import FEWEST

MOST = 10**6  # seeds; more are never
PILOT = 4  # fewer seeds say nothing of a spread
CAUTION = 0.8  # confidence of the upper limit of a spread


def power(
    seeds: int, difference: float, by_seed: float, by_examples: float = 0.0, level: float = LEVEL
) -> float:
    """Return the probability that two rows which differ are told apart.

    With d the difference, s² the variance of a seed's difference and e² that by test examples,
    which more seeds do not lower, it is P(|T| > t_{1-α/2, S-1}) for T of the noncentral Student's
    distribution with S - 1 degrees of freedom and the noncentrality d / √(s²/S + e²). p-values of
    sign flips are multiples of 2/2^S: α is rounded down to one.

    Args:
        seeds: S; fewer than `FEWEST` tell nothing apart.
        difference: d.
        by_seed: s².
        by_examples: e².
        level: α of this comparison.

    >>> round(power(37, 0.03, by_seed=0.064**2), 2)
    0.79
    """
    from scipy.stats import nct, norm, t

    if seeds < FEWEST:
        return 0.0
    error = math.sqrt(by_seed / seeds + by_examples)
    if error == 0:
        return 1.0
    if seeds < 50:
        level = math.floor(level * 2 ** (seeds - 1)) / 2 ** (seeds - 1)
    if level == 0:
        return 0.0
    beyond = float(t.isf(level / 2, seeds - 1))
    away = difference / error
    if away > 30 + beyond or seeds > 1000:  # where scipy's series gives up, the normal is as good
        return float(norm.sf(beyond - away) + norm.sf(beyond + away))
    return float(nct.sf(beyond, seeds - 1, away) + nct.cdf(-beyond, seeds - 1, away))


def needed(
    difference: float,
    by_seed: float,
    by_examples: float = 0.0,
    *,
    wanted: float = 0.8,
    level: float = LEVEL,
) -> int | None:
    """Return with how many seeds the power is as wanted; None: with no number, for the examples.

    Args:
        difference, by_seed, by_examples, level: as for `power`.
        wanted: the power.

    Raises:
        InputError: a difference not in (0, 1], or a power not in (level, 1).

    >>> needed(0.03, by_seed=0.064**2), needed(0.03, by_seed=0.064**2, by_examples=0.02**2)
    (38, None)
    """
    if not 0 < difference <= 1:
        raise InputError(f"difference: {difference}; expected more than 0 and at most 1")
    _expect_power(wanted, level)

    def enough(seeds: int) -> bool:
        return power(seeds, difference, by_seed, by_examples, level) >= wanted

    most = FEWEST
    while not enough(most):
        most *= 2
        if most > MOST:
            return None
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if enough(middle) else (middle, most)
    return max(most, FEWEST)


def detectable(
    seeds: int,
    by_seed: float,
    by_examples: float = 0.0,
    *,
    wanted: float = 0.8,
    level: float = LEVEL,
) -> float | None:
    """Return the least difference that is told with a power; None: none is, with so few seeds.

    Args:
        seeds, by_seed, by_examples, level: as for `power`.
        wanted: the power.

    Raises:
        InputError: a power not in (level, 1).

    >>> round(detectable(20, by_seed=0.02**2), 4), detectable(20, by_seed=0.0), detectable(5, 0.01)
    (0.0132, 0.0, None)
    """
    _expect_power(wanted, level)
    error = math.sqrt(by_seed / max(seeds, 1) + by_examples)
    if seeds < FEWEST or error == 0:
        return None if seeds < FEWEST else 0.0
    low, high = 0.0, error
    while power(seeds, high, by_seed, by_examples, level) < wanted:
        low, high = high, 2 * high
    for _ in range(50):  # halves of an interval: far below any accuracy's last digit
        middle = (low + high) / 2
        if power(seeds, middle, by_seed, by_examples, level) < wanted:
            low = middle
        else:
            high = middle
    return high


def found_by_chance(cells: int, sample: int, *, wanted: float = 0.8) -> int:
    """Return the least number of changed cells of which a sample holds one with a probability.

    Of N cells, k changed, a sample of n holds none with the probability C(N - k, n) / C(N, n).

    Args:
        cells: N, 1 or more.
        sample: n, from 1 to N.
        wanted: the probability.

    >>> found_by_chance(600, 20), found_by_chance(30, 20), found_by_chance(20, 20)
    (46, 2, 1)
    """
    missed, changed = 1.0, 0
    while 1 - missed < wanted:
        missed *= max(cells - sample - changed, 0) / (cells - changed)
        changed += 1
    return changed


def cautious(variance: float, count: int) -> float:
    """Return the upper 80 % limit of a variance that a few values show: (n - 1) s² / χ²_{0.2, n-1}.

    Args:
        variance: s², of the values.
        count: n, 2 or more.

    >>> round(cautious(1.0, 6), 2), round(cautious(1.0, 60), 2)
    (2.13, 1.19)
    """
    from scipy.stats import chi2

    return variance * (count - 1) / float(chi2.ppf(1 - CAUTION, count - 1))


def level_of_many(rows: Paired) -> float:
    """Return the level of a single comparison at which that of all pairs of rows is 5 %.

    The differences of pairs are correlated, so that it is higher than 5 % over their number. It is
    the tail of a normal deviate beyond the 95 % quantile of the largest |z| of all pairs, with
    normal weights on the seeds (a multiplier bootstrap) and test examples drawn again.
    """
    from scipy.stats import norm

    count, S = rows.seeds.shape
    if count < 2:
        return LEVEL
    centred = rows.seeds - rows.seeds.mean(axis=1, keepdims=True)
    weights = stream(0, "power").standard_normal((S, rows.redrawn.shape[1]))
    moved = rows.redrawn[rows.worst]
    for s in range(S):  # in turn: the last bits follow from the order
        moved += centred[:, s, None] * weights[s] / math.sqrt(S * (S - 1))
    largest = np.zeros(moved.shape[1])
    for j in range(count - 1):
        others = np.arange(j + 1, count)
        errors = rows.errors(rows.worst[[j]], rows.worst[others])[0]
        apart = abs(moved[others] - moved[j])[errors > 0] / errors[errors > 0, None]
        largest = np.maximum(largest, apart.max(axis=0, initial=0.0))
    beyond = float(np.quantile(largest, 1 - LEVEL))
    return min(LEVEL, 2 * float(norm.sf(beyond)))


@dataclass(frozen=True)
class Need:
    """How many seeds tell two rows apart, for a pair whose spread is of some rank among the pairs.

    Attributes:
        share: of the pairs that need no more: 0.5 is the median pair.
        deviation: the standard deviation of a seed's difference.
        by_examples: that of the difference by test examples.
        alone: seeds for one comparison at 5 %; None: no number is enough, for the test examples.
        among: seeds for this pair among all pairs of the board.
        cautious: the same if the deviation is at its upper 80 % limit, as a pilot knows it poorly.
        least: the least difference that any number of seeds can tell among all pairs, with these
            test examples: (z_{1-α/2} + z_power)·e.
    """

    share: float
    deviation: float
    by_examples: float
    alone: int | None
    among: int | None
    cautious: int | None
    least: float


def needs(
    rows: Paired, difference: float, *, wanted: float = 0.8, shares: Sequence[float] = (0.5, 0.9)
) -> list[Need]:
    """Return how many seeds tell two rows apart that differ, from a pilot of some seeds.

    Args:
        rows: of the pilot: two or more.
        difference: how far two rows' worst cases are apart.
        wanted: the power.
        shares: of which pairs; 0.9: nine of ten pairs need no more.

    Raises:
        InputError: the pilot has fewer than 2 rows or 4 seeds, or the difference or power is wrong.
    """
    from scipy.stats import norm

    count, S = rows.seeds.shape
    if count < 2 or S < PILOT:
        raise InputError(
            f"pilot: {count} rows on {S} seeds; expected 2 or more rows on {PILOT} or more seeds"
        )
    level = level_of_many(rows)
    upper = np.triu_indices(count, 1)
    seeds, examples = (spread[upper] for spread in rows.variances(rows.worst, rows.worst))
    rising = np.argsort(seeds / S + examples, kind="stable")
    found = []
    for share in shares:
        at = rising[math.ceil(share * len(rising)) - 1]
        by_seed, by_examples = float(seeds[at]), float(examples[at])
        numbers = (
            needed(difference, by_seed, by_examples, wanted=wanted),
            needed(difference, by_seed, by_examples, wanted=wanted, level=level),
            needed(difference, cautious(by_seed, S), by_examples, wanted=wanted, level=level),
        )
        least = float(norm.isf(level / 2) + norm.ppf(wanted)) * math.sqrt(by_examples)
        found.append(Need(share, math.sqrt(by_seed), math.sqrt(by_examples), *numbers, least))
    return found


def _expect_power(wanted: float, level: float) -> None:
    if not level < wanted < 1:
        raise InputError(f"power: {wanted}; expected more than {level:.3g} and less than 1")
