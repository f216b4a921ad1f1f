"""Workload policies: how a worker splits its time until τ between coordinates and examples.

By the deadline a worker of rate λ can evaluate one coordinate on one example λτ times; b
coordinates on a minibatch of s examples take b·s of these evaluations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.boundary import error_text
from hgobench.registry import FLAG, Registry, having

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Workload(ABC):
    """A policy. A worker with b < 1 or s < 1 is silent.

    Attributes:
        whole: whether a fast enough worker computes whole gradients; if not, SGD can't use it.
        paper, formula, validity: what tables say of it.
        exempt: laws of `hgobench.testing` that its definition rules out, with the reason.

    Example:
        >>> registry.build("data_first").split(np.array([50.0]), np.array([10]), 100, 32)
        (array([5.]), array([10.]))
    """

    paper: ClassVar[str] = "HGO authors' code"
    whole: ClassVar[bool] = True
    formula: ClassVar[str] = ""
    validity: ClassVar[str] = "any"
    exempt: Mapping[str, str] = {}

    @abstractmethod
    def split(
        self, work: Floats, held: Integers, dimension: int, batch_size: int
    ) -> tuple[Floats, Floats]:
        """Return b and s, (q,) each; b = inf: as many coordinates as time allows, ⌊λτ/s⌋.

        Args:
            work: (q,) λ_i·τ; may be infinite.
            held: (q,) |S_i|, the number of examples of each worker.
            dimension: d.
            batch_size: the scenario's s.
        """


class Fixed(Workload):
    """A minibatch of fixed size, and as many coordinates as time allows (Algorithm 1).

    s = min(batch_size, |S|), b = min(⌊λτ/s⌋, d).

    Example:
        >>> work, held = np.array([50.0, 950.0]), np.array([10, 10])
        >>> Fixed().split(work, held, dimension=100, batch_size=5)
        (array([inf, inf]), array([5., 5.]))
    """

    paper = "HGO, Algorithm 1"
    formula = "s = batch_size, b = min(⌊λτ/s⌋, d)"

    def split(
        self, work: Floats, held: Integers, dimension: int, batch_size: int
    ) -> tuple[Floats, Floats]:
        """Return b = inf and s = min(batch_size, |S|)."""
        return np.full(len(held), np.inf), np.minimum(held, batch_size).astype(float)


class CoordinatesFirst(Workload):
    """All coordinates if there is time for them on one example, then more examples.

    λτ >= d: b = d, s = min(⌊λτ/d⌋, |S|); else b = ⌊λτ⌋, s = 1.

    Example:
        >>> work, held = np.array([50.0, 950.0]), np.array([10, 10])
        >>> CoordinatesFirst().split(work, held, dimension=100, batch_size=5)
        (array([ 50., 100.]), array([1., 9.]))
    """

    formula = "b = min(⌊λτ⌋, d), s = min(⌊λτ/d⌋, |S|), at least 1"

    def split(
        self, work: Floats, held: Integers, dimension: int, batch_size: int
    ) -> tuple[Floats, Floats]:
        """Return b and s, coordinates first."""
        return (
            np.minimum(np.floor(work), dimension),
            np.minimum(np.maximum(np.floor(work / dimension), 1.0), held),
        )


class DataFirst(Workload):
    """All examples if there is time for one coordinate on each, then more coordinates.

    λτ >= |S|: s = |S|, b = min(⌊λτ/|S|⌋, d); else s = ⌊λτ⌋, b = 1.

    Example:
        >>> work, held = np.array([50.0, 950.0]), np.array([10, 10])
        >>> DataFirst().split(work, held, dimension=100, batch_size=5)
        (array([ 5., 95.]), array([10., 10.]))
    """

    formula = "s = min(⌊λτ⌋, |S|), b = min(⌊λτ/|S|⌋, d), at least 1"

    def split(
        self, work: Floats, held: Integers, dimension: int, batch_size: int
    ) -> tuple[Floats, Floats]:
        """Return b and s, examples first."""
        return (
            np.minimum(np.maximum(np.floor(work / held), 1.0), dimension),
            np.minimum(np.floor(work), held),
        )


class Hybrid(Workload):
    """Between the two, by ρ: b = ⌊min(√(ρλτ/(1-ρ)), ρd)⌋, s = ⌊min(λτ/b, |S|)⌋.

    A ρ below min(1/(1 + λτ/|S|²), λτ/(d·|S|)) is raised to that, rounded up to three decimals; a ρ
    of 0.999 or more becomes 0.998. However much time there is, at most ρd coordinates are computed,
    as in the authors' code.

    Args:
        rho: ρ in (0, 1): larger for more coordinates.

    Example:
        >>> work, held = np.array([50.0, 950.0]), np.array([10, 10])
        >>> Hybrid().split(work, held, dimension=100, batch_size=5)
        (array([ 7., 30.]), array([ 7., 10.]))
    """

    whole = False
    formula = "b = ⌊min(√(ρλτ/(1-ρ)), ρd)⌋, s = ⌊min(λτ/b, |S|)⌋"
    validity = "0 < ρ < 1, sometimes raised (see its docstring); not for SGD"
    exempt = {"more_time_is_no_less": "ρ is raised where time is short, and not where it is not"}

    def __init__(self, rho: float = 0.5) -> None:
        if isinstance(rho, bool) or not isinstance(rho, int | float) or not 0 < rho < 1:
            raise ValueError(f"rho: {rho!r}; expected a number in (0, 1)")
        self.rho = float(rho)

    def split(
        self, work: Floats, held: Integers, dimension: int, batch_size: int
    ) -> tuple[Floats, Floats]:
        """Return b and s, balanced by ρ."""
        least = np.minimum(1.0 / (1.0 + work / held**2), work / (dimension * held))
        rho = np.where(self.rho < least, np.ceil(1000.0 * least) / 1000.0, self.rho)
        rho = np.where(rho >= 0.999, 0.998, rho)
        b = np.floor(np.minimum(np.sqrt(rho * work / (1.0 - rho)), dimension * rho))
        return b, np.floor(np.minimum(work / np.maximum(b, 1.0), held))


def wrong_split(coordinate_limit: object, size: object, held: Integers) -> str:
    """Say what is wrong with what a policy returned; empty: nothing.

    >>> wrong_split(np.array([np.inf]), np.array([9.0]), np.array([8]))
    'split returned 9 examples; expected no more than a worker holds, 8'
    """
    try:
        b, s = np.asarray(coordinate_limit, dtype=np.float64), np.asarray(size, dtype=np.float64)
    except (TypeError, ValueError) as error:
        return f"split: {error_text(error)}"
    if np.isnan(b).any():
        return "split returned NaN; expected numbers of coordinates, or inf"
    if b.shape != held.shape or s.shape != held.shape:
        return f"split returned {b.shape} and {s.shape}; expected {held.shape} each"
    if not (s <= held).all():
        worker = int((~(s <= held)).argmax())
        return (
            f"split returned {s[worker]:g} examples; expected no more than a worker holds, "
            f"{held[worker]}"
        )
    return ""


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
    check=having("workload", whole=FLAG),
)
