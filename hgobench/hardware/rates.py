"""Rates from a continuous distribution."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from hgobench.parameters import finite, positive

from .fleet import REFERENCE_DIMENSION, Floats, Hardware, Population


def quantiles(population: Population) -> Floats:
    """Return each worker's quantile in the distribution of rates, (n,) in (0, 1).

    Each n-th of the interval has one worker's quantile, in the workers' order of strength.
    """
    strength, uniform = population.strength()
    return np.clip((strength + uniform) / population.workers, 1e-12, 1 - 1e-12)


class Lognormal(Hardware):
    """Rates whose logarithm is normal, as those of computers and phones roughly are.

    Args:
        median: coordinates per time unit for a model of 7,850 coordinates, > 0; scaled by d/7,850.
        sigma: standard deviation of ln λ, >= 0.

    Example:
        >>> population = Population(4, 7850, seed=0, labels=np.ones((4, 2), np.int64))
        >>> Lognormal(median=5_000.0, sigma=0.0).rates(population)
        array([5000., 5000., 5000., 5000.])
    """

    paper = "common model of heterogeneous devices"
    formula = "ln λ ~ N(ln median, σ²)"
    validity = "median > 0, σ >= 0"

    def __init__(self, median: float = 5_000.0, sigma: float = 1.0) -> None:
        self.median, self.sigma = positive("median", median), finite("sigma", sigma, least=0.0)

    def rates(self, population: Population) -> Floats:
        """Draw λ, (n,)."""
        logarithm = self.sigma * ndtri(quantiles(population))
        rates: Floats = self.median * np.exp(logarithm)
        return rates * population.dimension / REFERENCE_DIMENSION


class Pareto(Hardware):
    """Rates with a heavy tail: many slow devices, and few that are faster by orders.

    Args:
        minimum: the slowest rate, in coordinates per time unit for a model of 7,850 coordinates,
            > 0; scaled by d/7,850.
        shape: a > 0; the smaller, the heavier the tail.

    Example:
        >>> population = Population(4, 7850, seed=0, labels=np.ones((4, 2), np.int64))
        >>> bool((Pareto(minimum=500.0).rates(population) >= 500.0).all())
        True
    """

    paper = "common model of heterogeneous devices"
    formula = "P(λ > x) = (minimum/x)^shape"
    validity = "minimum > 0, shape > 0"

    def __init__(self, minimum: float = 500.0, shape: float = 1.0) -> None:
        self.minimum, self.shape = positive("minimum", minimum), positive("shape", shape)

    def rates(self, population: Population) -> Floats:
        """Draw λ, (n,)."""
        tail = (1.0 - quantiles(population)) ** (-1.0 / self.shape)
        return self.minimum * tail * population.dimension / REFERENCE_DIMENSION
