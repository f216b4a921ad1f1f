"""How unlike the correct workers' gradients are, and the attackers that this leaves room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .objective import Moments


@dataclass(frozen=True)
class Dissimilarity:
    """(G, B): 1/c Σ_i ‖∇L_i(w) - ∇L(w)‖² <= G² + B²·‖∇L(w)‖², ∇L the mean of the c workers' ∇L_i.

    Attributes:
        constant: G².
        growth: B².
    """

    constant: float
    growth: float


def spread(at: Moments) -> tuple[float, float]:
    """Return ‖∇L(w)‖² and 1/c Σ_i ‖∇L_i(w) - ∇L(w)‖², every correct worker counting the same."""
    mean = at.mean.mean(axis=0)
    return float(np.square(mean).sum()), float(np.square(at.mean - mean).sum(axis=1).mean())


def dissimilarity(trajectory: Sequence[tuple[float, float]]) -> Dissimilarity:
    """Return (G, B) as they show along a run.

    G² is the dissimilarity where ‖∇L(w)‖ is least: no smaller G² holds near an optimum. B² is
    then the smallest that holds everywhere else on the run. Another run may need more.

    Args:
        trajectory: what `spread` returned at some w's, a stationary one among them if possible.
    """
    norm, apart = (np.array(part) for part in zip(*trajectory, strict=True))
    least = int(norm.argmin())
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = (apart - apart[least]) / norm
    needed[least] = 0.0
    return Dissimilarity(float(apart[least]), max(float(np.nan_to_num(needed).max()), 0.0))


def breakdown_limit(growth: float) -> float:
    """Return 1/(2 + B²): with f/n at or above it no algorithm is resilient.

    Allouah, Guerraoui, Gupta, Pinot, Rizk, "Robust Distributed Learning: Tight Error Bounds and
    Breakdown Point under Data Heterogeneity", NeurIPS 2023.

    Args:
        growth: B².
    """
    return 1.0 / (2.0 + growth)
