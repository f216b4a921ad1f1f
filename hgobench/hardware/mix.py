"""Devices of three categories, as in the HGO paper."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .devices import truncated_normal
from .fleet import CLASSES, REFERENCE_DIMENSION, Fleet, Floats, Hardware, Population


class Mix(Hardware):
    """Workers of three categories, with normal rates truncated to positive values in each.

    The workers' order of strength and each one's place in its category's distribution depend on
    the seed alone: a worker that is powerful where 10 % are is so where 30 % are.

    Args:
        weak, average, powerful: shares of the workers, summing to 1.
        weak_mean, weak_std, ...: the category's rate and spread, in coordinates per time unit for
            a model of 7,850 coordinates. Weak and average are those of the HGO authors' softmax
            regression; they state none for powerful, here 2.5 times average.

    Raises:
        ValueError: shares that are negative or don't sum to 1, rates <= 0, spreads < 0.

    Example:
        >>> population = Population(10, 7850, seed=0, labels=np.ones((10, 2), np.int64))
        >>> rates = Mix(weak=0.8, average=0.0, powerful=0.2).rates(population)
        >>> int((rates < 2_000).sum()), int((rates > 10_000).sum())
        (8, 2)
    """

    paper = "HGO, section V"
    formula = "λ ~ N(mean, std²) > 0 in each of three categories"
    validity = "shares sum to 1"

    def __init__(
        self,
        weak: float = 0.3,
        average: float = 0.4,
        powerful: float = 0.3,
        weak_mean: float = 500.0,
        weak_std: float = 250.0,
        average_mean: float = 10_000.0,
        average_std: float = 2_500.0,
        powerful_mean: float = 25_000.0,
        powerful_std: float = 2_500.0,
    ) -> None:
        self.shares = (weak, average, powerful)
        self.means = (weak_mean, average_mean, powerful_mean)
        self.stds = (weak_std, average_std, powerful_std)
        numbers = (*self.shares, *self.means, *self.stds)
        if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
            raise ValueError(f"shares, means, stds: {numbers}; expected finite numbers")
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares: {self.shares}; expected numbers >= 0 that sum to 1")
        if min(self.means) <= 0 or min(self.stds) < 0:
            raise ValueError(
                f"means: {self.means}, stds: {self.stds}; expected means > 0 and stds >= 0"
            )

    def fleet(self, population: Population) -> Fleet:
        """Return devices of the three categories, which are their classes."""
        strength, _ = population.strength()
        fleet = Fleet.of(self.rates(population))
        return replace(fleet, classes=self.category(strength), class_names=CLASSES)

    def rates(self, population: Population) -> Floats:
        """Draw λ, (n,)."""
        strength, quantile = population.strength()
        rates = truncated_normal(*self.categories(strength), quantile)
        return rates * population.dimension / REFERENCE_DIMENSION

    def category(self, strength: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return each worker's category, (n,) in 0 .. 2, by its rank from 0 (the weakest)."""
        edges = np.rint(np.cumsum(self.shares) * len(strength)).astype(int)
        return np.searchsorted(edges, strength, side="right").clip(max=2)

    def categories(self, strength: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return mean and spread of each worker, (n,), by its rank from 0 (the weakest)."""
        category = self.category(strength)
        return np.take(self.means, category), np.take(self.stds, category)
