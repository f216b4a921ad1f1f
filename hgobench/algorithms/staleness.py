"""Staleness: how much an answer counts that started from parameters of some steps ago."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from hgobench.parameters import one_of, whole

_DAMPINGS: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "none": np.ones_like,
    "sqrt": lambda age: 1.0 / np.sqrt(1.0 + age),
    "inverse": lambda age: 1.0 / (1.0 + age),
    "exponential": lambda age: np.exp(-age / 10.0),
}


class Damping:
    """Λ(τ): what an answer of staleness τ counts.

    Args:
        how: ``"none"``: 1; ``"sqrt"``: 1/√(1 + τ) (FedBuff); ``"inverse"``: 1/(1 + τ) (Zhang,
            Gupta, Lian, Liu, "Staleness-aware Async-SGD for Distributed Deep Learning", IJCAI 2016,
            where it is 1/τ from τ = 1 on); ``"exponential"``: exp(-τ/10).
        most: the staleness beyond which an answer is dropped; None: none is.

    Raises:
        ValueError: no such word or number.

    >>> Damping("inverse", most=2)(np.array([0, 1, 2, 3])).tolist()
    [1.0, 0.5, 0.3333333333333333, 0.0]
    """

    def __init__(self, how: str, most: int | None = None) -> None:
        self.how = one_of("damping", how, *_DAMPINGS)
        self.most = math.inf if most is None else whole("max_staleness", most, least=0)

    def __call__(self, staleness: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what each answer counts, (m,)."""
        age = staleness.astype(np.float64)
        return np.where(age <= self.most, _DAMPINGS[self.how](age), 0.0)
