"""How unlike the correct workers' gradients are, and the attackers that this leaves room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .objective import Moments


@dataclass(frozen=True)
class Dissimilarity:
    """(G, B): 1/c Σ_i ‖∇L_i(w) - ∇L(w)‖² <= G² + B²·‖∇L(w)‖².

    Attributes:
        constant: G².
        growth: B².
    """

    constant: float
    growth: float


def dissimilarity(trajectory: Sequence[Moments]) -> Dissimilarity:
    """Return (G, B) as they show along a run.

    G² is the dissimilarity where ‖∇L(w)‖ is least: no smaller G² stands near an optimum. B² is
    then the smallest that stands everywhere else on the run. Another run may need more.

    Args:
        trajectory: the moments at some w's, a stationary one among them if possible.
    """
    norm = np.array([np.square(at.gradient).sum() for at in trajectory])
    spread = np.array([np.square(at.bias).sum(axis=1).mean() for at in trajectory])
    least = int(norm.argmin())
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = (spread - spread[least]) / norm
    needed[least] = 0.0
    return Dissimilarity(float(spread[least]), max(float(np.nan_to_num(needed).max()), 0.0))


def breakdown_limit(growth: float) -> float:
    """Return 1/(2 + B²): with f/n at or above it no algorithm is resilient.

    Allouah, Guerraoui, Gupta, Pinot, Rizk, "Robust Distributed Learning: Tight Error Bounds and
    Breakdown Point under Data Heterogeneity", NeurIPS 2023.

    Args:
        growth: B².
    """
    return 1.0 / (2.0 + growth)
