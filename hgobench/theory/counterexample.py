"""A counterexample to Theorem 1 as published: two of twenty workers answer, with equal data."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bounds import theorem_1

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FastFew:
    """d = 1, the loss ½(w - x)²: few fast workers hold the number a, the others, silent, hold 0.

    There are no attackers (f = 0, Δ = 1), every worker computes its whole gradient w - x, and the
    quorum is the fast workers, a share p of all. The optimum is p·a, and

    - HGO is gradient descent towards a, where L - L* = ½(1 - p)²a²;
    - δ_i² is (1 - p)²a² for the fast workers and p²a² for the others. As published, A_w is its mean
      over all correct workers, p(1 - p)a², and Theorem 1's bound falls to ½p(1 - p)a². The run ends
      at (1 - p)/p times that, which is unbounded as p falls;
    - corrected, A_w is the mean over the v - f workers that are heard, (1 - p)²a² at worst, and the
      bound falls to ½(1 - p)²a², which is where the run ends.

    >>> example = FastFew()
    >>> example.excess, example.published, example.corrected  # in units of a²
    (Fraction(81, 200), Fraction(9, 200), Fraction(81, 200))

    Attributes:
        workers, fast: numbers of all workers, and of those that answer.
    """

    workers: int = 20
    fast: int = 2

    @property
    def share(self) -> Fraction:
        """p."""
        return Fraction(self.fast, self.workers)

    @property
    def excess(self) -> Fraction:
        """(L - L*)/a² where HGO ends."""
        return (1 - self.share) ** 2 / 2

    @property
    def published(self) -> Fraction:
        """The limit of Theorem 1's bound as published, in units of a²."""
        return self.share * (1 - self.share) / 2

    @property
    def corrected(self) -> Fraction:
        """The limit of the bound with A_w over the workers that are heard, in units of a²."""
        return (1 - self.share) ** 2 / 2

    def run(self, steps: ArrayLike, start: float, rate: float) -> Floats:
        """Return (L(w_k) - L*) of a = 1: ½((1 - γ)^(k-1)·(w_1 - 1) + 1 - p)².

        Args:
            steps: k - 1.
            start: w_1.
            rate: γ.
        """
        offset = (1.0 - rate) ** np.asarray(steps, dtype=np.float64) * (start - 1.0)
        return np.square(offset + 1.0 - float(self.share)) / 2.0

    def bound(self, steps: ArrayLike, start: float, rate: float, *, corrected: bool) -> Floats:
        """Return Theorem 1's bound of L(w_k) - L* for a = 1.

        Args:
            steps, start, rate: as for `run`.
            corrected: whether A_w is the mean over the workers that are heard.
        """
        return theorem_1(
            steps,
            (start - float(self.share)) ** 2 / 2.0,
            block=1,
            dimension=1,
            learning_rate=rate,
            strong_convexity=1.0,
            delta=1.0,
            error=2.0 * float(self.corrected if corrected else self.published),
            growth=0.0,
        )
