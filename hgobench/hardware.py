"""Devices: how fast each worker computes.

The rate λ_i of a worker is the number of coordinates of one example's gradient that it computes in
one time unit. The HGO paper states its rates for softmax regression on MNIST, d = 7,850; for
another model they are scaled by d / 7,850, so that "weak" keeps its meaning: the share of a
gradient that a device finishes by the deadline.
"""

from __future__ import annotations

import math
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from hgobench.registry import Registry
from hgobench.streams import stream

REFERENCE_DIMENSION = 7850


class Mix:
    """Workers of three categories, each with normal rates truncated to positive values.

    The workers' order of strength and each one's place in its category's distribution depend on
    the seed alone: a worker that is powerful where 10 % are is so where 30 % are.

    Args:
        weak, average, powerful: shares of the workers, summing to 1.
        weak_mean, weak_std, ...: the category's rate and spread, in coordinates per time unit for
            a model of 7,850 coordinates. Weak and average are those of the HGO authors' softmax
            regression; they state none for powerful, here 2.5 times average.

    Raises:
        ValueError: shares that are negative or don't sum to 1, rates <= 0, spreads < 0.
    """

    paper: ClassVar[str] = "HGO, section V"
    validity: ClassVar[str] = "shares sum to 1"

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

    def rates(self, workers: int, dimension: int, seed: int) -> NDArray[np.float64]:
        """Draw λ, (workers,), in coordinates per time unit of a model with `dimension` of them."""
        edges = np.rint(np.cumsum(self.shares) * workers).astype(int)
        rng = stream(seed, "devices")
        strength = rng.permutation(workers)  # weakest first
        quantile = rng.random(workers)
        category = np.searchsorted(edges, strength, side="right").clip(max=2)
        mean, std = np.take(self.means, category), np.take(self.stds, category)
        with np.errstate(divide="ignore"):
            below = np.where(std > 0, ndtr(-mean / np.where(std > 0, std, 1)), 0.0)
        normal = ndtri(below + quantile * (1 - below))
        rates = np.where(std > 0, mean + std * normal, mean)
        return np.maximum(rates, 1e-9) * dimension / REFERENCE_DIMENSION


registry: Registry[Mix] = Registry(
    "hardware",
    "hardware",
    {
        "standard": Mix,
        "weak": partial(Mix, weak=1.0, average=0.0, powerful=0.0),
        "min": partial(Mix, weak=0.9, average=0.0, powerful=0.1),
        "c1": partial(Mix, weak=0.9, average=0.1, powerful=0.0),
        "c2": partial(Mix, weak=0.7, average=0.3, powerful=0.0),
        "c3": partial(Mix, weak=0.5, average=0.5, powerful=0.0),
        "powerful": partial(Mix, weak=0.0, average=0.0, powerful=1.0),
        "mix": Mix,
    },
)
