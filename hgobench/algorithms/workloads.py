"""Workload policies: how a worker splits what it can do by τ between coordinates and examples.

A worker of rate λ has λτ evaluations of one coordinate on one example: b coordinates of a minibatch
of s cost b·s of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.registry import Registry

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Workload(ABC):
    """A policy. With b < 1 or s < 1 a worker is silent.

    Attributes:
        whole: whether there is a rate with which it computes a whole gradient.
    """

    paper: ClassVar[str] = "HGO authors' code"
    whole: ClassVar[bool] = True
    formula: ClassVar[str] = ""
    validity: ClassVar[str] = "any"

    @abstractmethod
    def split(
        self, work: Floats, held: Integers, dimension: int, batch_size: int
    ) -> tuple[Floats, Floats]:
        """Return b and s, (q,) each; b = inf: as many coordinates as λτ/s pays for.

        Args:
            work: (q,) λ_i·τ; may be infinite.
            held: (q,) |S_i|, how many examples each worker has.
            dimension: d.
            batch_size: the scenario's s.
        """


class Fixed(Workload):
    """A minibatch of fixed size, and as many coordinates as time is left for (Algorithm 1).

    s = min(batch_size, |S|), b = min(⌊λτ/s⌋, d).
    """

    paper = "HGO, Algorithm 1"
    formula = "s = batch_size, b = min(⌊λτ/s⌋, d)"

    def split(
        self, work: Floats, held: Integers, dimension: int, batch_size: int
    ) -> tuple[Floats, Floats]:
        """Fix s."""
        return np.full(len(held), np.inf), np.minimum(held, batch_size).astype(float)


class CoordinatesFirst(Workload):
    """All coordinates if there is time for one example of each, then more examples.

    λτ >= d: b = d, s = min(⌊λτ/d⌋, |S|); else b = ⌊λτ⌋, s = 1.
    """

    formula = "b = min(⌊λτ⌋, d), s = min(⌊λτ/d⌋, |S|), at least 1"

    def split(
        self, work: Floats, held: Integers, dimension: int, batch_size: int
    ) -> tuple[Floats, Floats]:
        """Fill up coordinates first."""
        return (
            np.minimum(np.floor(work), dimension),
            np.minimum(np.maximum(np.floor(work / dimension), 1.0), held),
        )


class DataFirst(Workload):
    """All examples if there is time for one coordinate of each, then more coordinates.

    λτ >= |S|: s = |S|, b = min(⌊λτ/|S|⌋, d); else s = ⌊λτ⌋, b = 1.
    """

    formula = "s = min(⌊λτ⌋, |S|), b = min(⌊λτ/|S|⌋, d), at least 1"

    def split(
        self, work: Floats, held: Integers, dimension: int, batch_size: int
    ) -> tuple[Floats, Floats]:
        """Fill up examples first."""
        return (
            np.minimum(np.maximum(np.floor(work / held), 1.0), dimension),
            np.minimum(np.floor(work), held),
        )


class Hybrid(Workload):
    """Between the two, by ρ: b = ⌊min(√(ρλτ/(1-ρ)), ρd)⌋, s = ⌊min(λτ/b, |S|)⌋.

    ρ is raised to min(1/(1 + λτ/|S|²), λτ/(d·|S|)), rounded up to three decimals, where it is less,
    and is 0.998 where it would be 0.999 or more. With much time it uses at most ρd coordinates, as
    the authors' code does.

    Args:
        rho: ρ in (0, 1): larger for more coordinates.
    """

    whole = False
    formula = "b = ⌊min(√(ρλτ/(1-ρ)), ρd)⌋, s = ⌊min(λτ/b, |S|)⌋"
    validity = "0 < ρ < 1, sometimes raised (see its docstring); not for SGD"

    def __init__(self, rho: float = 0.5) -> None:
        if isinstance(rho, bool) or not isinstance(rho, int | float) or not 0 < rho < 1:
            raise ValueError(f"rho: {rho!r}; expected a number in (0, 1)")
        self.rho = float(rho)

    def split(
        self, work: Floats, held: Integers, dimension: int, batch_size: int
    ) -> tuple[Floats, Floats]:
        """Balance."""
        least = np.minimum(1.0 / (1.0 + work / held**2), work / (dimension * held))
        rho = np.where(self.rho < least, np.ceil(1000.0 * least) / 1000.0, self.rho)
        rho = np.where(rho >= 0.999, 0.998, rho)
        b = np.floor(np.minimum(np.sqrt(rho * work / (1.0 - rho)), dimension * rho))
        return b, np.floor(np.minimum(work / np.maximum(b, 1.0), held))


registry: Registry[Workload] = Registry(
    "workload",
    "workloads",
    {
        "fixed": Fixed,
        "coordinates_first": CoordinatesFirst,
        "data_first": DataFirst,
        "hybrid": Hybrid,
    },
    kind=Workload,
)
