"""How much the correct workers' gradients differ, and how many attackers that allows at most."""

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

    Example:
        >>> Dissimilarity(constant=0.5, growth=2.0).growth
        2.0
    """

    constant: float
    growth: float


def spread(at: Moments) -> tuple[float, float]:
    """Return ‖∇L(w)‖² and 1/c Σ_i ‖∇L_i(w) - ∇L(w)‖², where all correct workers weigh the same.

    >>> mean = np.array([[1.0, 0.0], [3.0, 0.0]])  # two workers' gradients
    >>> spread(Moments(mean, np.zeros((2, 2)), np.array([2.0, 0.0])))
    (4.0, 1.0)
    """
    mean = at.mean.mean(axis=0)
    return float(np.square(mean).sum()), float(np.square(at.mean - mean).sum(axis=1).mean())


def dissimilarity(trajectory: Sequence[tuple[float, float]]) -> Dissimilarity:
    """Return the least (G, B) that hold along a run.

    G² is the dissimilarity where ‖∇L(w)‖ is least: no smaller G² holds near an optimum. B² is
    then the smallest that holds at all other points of the run. Another run may need more.

    Args:
        trajectory: the values of `spread` along the run, which should end near a stationary point.

    Example:
        >>> dissimilarity([(4.0, 3.0), (0.0, 1.0)])
        Dissimilarity(constant=1.0, growth=0.5)
    """
    norm, differences = (np.array(values) for values in zip(*trajectory, strict=True))
    flattest = int(norm.argmin())
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (differences - differences[flattest]) / norm
    ratios[flattest] = 0.0
    return Dissimilarity(float(differences[flattest]), max(float(np.nan_to_num(ratios).max()), 0.0))


def breakdown_limit(growth: float) -> float:
    """Return 1/(2 + B²): if f/n is at least that, no algorithm is resilient.

    Allouah, Guerraoui, Gupta, Pinot, Rizk, "Robust Distributed Learning: Tight Error Bounds and
    Breakdown Point under Data Heterogeneity", NeurIPS 2023.

    Args:
        growth: B².

    >>> breakdown_limit(0.0)
    0.5
    """
    return 1.0 / (2.0 + growth)
