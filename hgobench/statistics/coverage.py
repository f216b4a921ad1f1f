"""How well intervals and ranks keep what they promise, simulated where the truth is known.

A simulated row answers N test examples of differing difficulty under A attacks in S worlds. In a
world it collapses with some probability, under all attacks or by chance under each; its accuracy
then is that of chance. All attacks are equally bad in truth, which is the worst case for choosing
among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from hgobench.determinism import stream
from hgobench.statistics.draws import draw
from hgobench.statistics.means import LEVEL, Floats
from hgobench.statistics.ranks import Paired, certain, step_down
from hgobench.statistics.worst_case import Outcomes, estimates

EXAMPLES = 360  # as digits has
DIFFICULTY = 1.2  # standard deviation of an example's, in logits
WORLD = 0.35  # of a world's
TRAINED, COLLAPSED = 3.0, -3.0  # logits: accuracies of 0.92 and 0.08
SHARES = (0.0, 0.05, 0.15, 0.5)
SEEDS = (3, 4, 5, 6, 10, 20, 40)


@cache
def accuracy(logit: float) -> float:
    """Return the mean accuracy over worlds and examples, ∫ σ(logit + z) dN(z).

    >>> round(accuracy(TRAINED), 3), round(accuracy(COLLAPSED), 3)
    (0.918, 0.082)
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    spread = math.hypot(DIFFICULTY, WORLD)
    return float((weights / (1 + np.exp(-(logit + spread * nodes)))).sum() / weights.sum())


@cache
def trained(theta: float, collapse: float) -> float:
    """Return the logit of a row that does not collapse, at which its θ is as wanted.

    >>> round(trained(accuracy(TRAINED), 0.0), 6)
    3.0
    """
    from scipy.optimize import brentq

    wanted = (theta - collapse * accuracy(COLLAPSED)) / (1 - collapse)
    return float(brentq(lambda logit: accuracy(logit) - wanted, -20, 20))


@dataclass(frozen=True)
class Design:
    """What is simulated.

    Attributes:
        seeds: S.
        collapse: the share of worlds in which a row collapses.
        attacks: how many attacks each row meets; a row for each number.
        alike: the share of collapses that all attacks of a row have in common.
        shared: the share of a world's and of an example's variance that all rows have in common.
        examples: N.
        unlearnt: the share of examples of a kind that no row ever answers rightly.
        steady: every second row never collapses: it is no better, as it trains less well.
        gap: by how much θ of the second half of the rows is below that of the first.
    """

    seeds: int
    collapse: float
    attacks: tuple[int, ...] = (1,)
    alike: float = 0.7
    shared: float = 0.5
    examples: int = EXAMPLES
    unlearnt: float = 0.0
    steady: bool = False
    gap: float = 0.0

    @property
    def theta(self) -> Floats:
        """(R,) the truth.

        >>> Design(seeds=6, collapse=0.5, attacks=(1, 1), gap=0.1).theta.round(3).tolist()
        [0.5, 0.4]
        """
        lower = np.arange(len(self.attacks)) >= len(self.attacks) / 2
        best = (1 - self.collapse) * accuracy(TRAINED) + self.collapse * accuracy(COLLAPSED)
        return np.asarray((1 - self.unlearnt) * (best - self.gap * lower))

    def rows(self, rng: np.random.Generator) -> list[Outcomes]:
        """Return rows, all of them under attacks that tie."""
        kept, own_share = math.sqrt(self.shared), math.sqrt(1 - self.shared)
        N = self.examples
        hard = kept * rng.normal(0, DIFFICULTY, N)
        world = rng.normal(0, kept, self.seeds)
        learnt = rng.random(N) >= self.unlearnt
        rows = []
        for i, (attacks, theta) in enumerate(zip(self.attacks, self.theta, strict=True)):
            collapse = 0.0 if self.steady and i % 2 else self.collapse
            shape = (attacks, self.seeds)
            own = rng.normal(0, own_share / math.sqrt(2), (2, *shape))
            level = world + own[0, :1] + own[1]
            common = rng.random((1, self.seeds)) < collapse
            each = rng.random(shape) < collapse
            fallen = np.where(rng.random(shape) < self.alike, common, each)
            logit = trained(float(theta / (1 - self.unlearnt)), collapse)
            logits = np.where(fallen, COLLAPSED, logit) + WORLD * level
            easy = hard + own_share * rng.normal(0, DIFFICULTY, N)
            chance = learnt / (1 + np.exp(-(logits[..., None] + easy)))
            right = rng.random(chance.shape) < chance
            rows.append(Outcomes(right.mean(axis=2), np.packbits(right, axis=2), N))
        return rows

    def key(self) -> list[int]:
        """Return the key of its random numbers."""
        shares = (self.collapse, self.unlearnt, self.gap, float(self.steady))
        return [self.seeds, self.examples, *(round(1000 * x) for x in shares), *self.attacks]


Interval = tuple[float, float]


def ours(row: Outcomes, replicates: int = 1000) -> Interval:
    """Return the interval that boards have."""
    _, worst = estimates(row, draw(len(row.accuracy[0]), row.examples, replicates))
    return worst.low, worst.high


def student(row: Outcomes) -> Interval:
    """Return Student's interval of the worst attack's seeds."""
    from scipy.stats import t

    values = row.accuracy[row.worst]
    half = t.isf(LEVEL / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def percentile(row: Outcomes, replicates: int = 1000) -> Interval:
    """Return a percentile bootstrap, two-way, with the minimum over attacks in each replicate."""
    seeds = row.accuracy.shape[1]
    draws = draw(seeds, row.examples, replicates)
    weights = stream(0, "percentile").multinomial(seeds, np.full(seeds, 1 / seeds), replicates)
    means = row.accuracy @ weights.T / seeds + row.deviations(draws)
    low, high = np.quantile(means.min(axis=0), [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def anderson(row: Outcomes) -> Interval:
    """Return Anderson's (1969) interval of the worst attack's mean, with Massart's constant."""
    values = np.sort(row.accuracy[row.worst])
    count = len(values)
    shift = math.sqrt(math.log(2 / LEVEL) / (2 * count))
    level = np.arange(count + 1) / count

    def lower(ordered: Floats) -> float:
        kept = np.minimum(level[1:], 1 - shift) - np.minimum(level[:-1], 1 - shift)
        return float((kept * ordered).sum())

    return lower(values), 1 - lower(np.sort(1 - values))


def bernstein(row: Outcomes) -> Interval:
    """Return Maurer and Pontil's (2009) empirical Bernstein interval of the worst attack's mean."""
    values = row.accuracy[row.worst]
    count, log = len(values), math.log(4 / LEVEL)
    half = math.sqrt(2 * values.var(ddof=1) * log / count) + 7 * log / (3 * (count - 1))
    return values.mean() - half, values.mean() + half


def betting(row: Outcomes) -> Interval:
    """Return Waudby-Smith and Ramdas' (2024) hedged betting interval of the worst attack's mean."""
    values = row.accuracy[row.worst]
    count, log = len(values), math.log(2 / LEVEL)
    mean = np.linspace(0.0005, 0.9995, 500)
    up, down = np.zeros_like(mean), np.zeros_like(mean)
    total, square = 0.5, 0.25
    for i, value in enumerate(values, 1):  # each bet follows from the values before
        bet = min(math.sqrt(2 * log / (count * square / i)), 100.0)
        up += np.log1p(np.minimum(bet, 0.5 / mean) * (value - mean))
        down += np.log1p(-np.minimum(bet, 0.5 / (1 - mean)) * (value - mean))
        total += value
        square += (value - total / (i + 1)) ** 2
    kept = mean[np.maximum(up, down) + math.log(0.5) < math.log(1 / LEVEL)]
    return (float(kept[0]), float(kept[-1])) if len(kept) else (0.0, 1.0)


KINDS: Mapping[str, Callable[[Outcomes], Interval]] = {
    "boards": ours,
    "Student": student,
    "percentile bootstrap": percentile,
    "Anderson": anderson,
    "empirical Bernstein": bernstein,
    "betting": betting,
}


def covered(
    design: Design, times: int, kinds: Any = tuple(KINDS)
) -> dict[str, tuple[float, float]]:
    """Return by kind of interval how often it covers θ of a row, and its mean width in [0, 1].

    Args:
        design: with one row.
        times: how often it is simulated.
        kinds: of `KINDS`.
    """
    rng = stream(1, "coverage", *design.key())
    hits, widths = dict.fromkeys(kinds, 0), dict.fromkeys(kinds, 0.0)
    (theta,) = design.theta
    for _ in range(times):
        (row,) = design.rows(rng)
        for kind in kinds:
            low, high = KINDS[kind](row)
            hits[kind] += low <= theta <= high
            widths[kind] += min(high, 1.0) - max(low, 0.0)
    return {kind: (hits[kind] / times, widths[kind] / times) for kind in kinds}


class Told(NamedTuple):
    """What is said of a board's rows.

    Attributes:
        wrong: how often any row is said to be better that is not: the family-wise error.
        right: of the pairs of rows that differ, the share that is told apart: the power.
    """

    wrong: float
    right: float


def told(design: Design, times: int, replicates: int = 600) -> tuple[Told, Told]:
    """Return how well ranks tell rows apart, and how well what is certain does.

    Args:
        design: with two rows or more.
        times: how often it is simulated.
        replicates: of the test.
    """
    rng = stream(2, "coverage", *design.key())
    draws = draw(design.seeds, design.examples, replicates)
    better = design.theta[:, None] > design.theta + 1e-9
    wrong, right = np.zeros(2), np.zeros(2)
    for _ in range(times):
        rows = Paired.of(design.rows(rng), draws)
        p = step_down(rows)
        for i, said in enumerate((p <= LEVEL, certain(rows, p))):
            wrong[i] += (said & ~better).any()
            right[i] += (said & better).sum() / max(better.sum(), 1)
    ranks, surely = zip((wrong / times).tolist(), (right / times).tolist(), strict=True)
    return Told(*ranks), Told(*surely)
