"""The paper's bounds: Lemma 1, Theorem 1 and Theorem 2.

They are vacuous where ΔB >= 1, no coordinate is updated (b = 0), Δ is infinite or μ = 0; there the
theorems' bounds are inf, and the lemma's is -inf.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def lemma_1(norm: ArrayLike, delta: float, error: ArrayLike, growth: ArrayLike) -> Floats:
    """Return the lower bound ((1 - ΔB_w)·‖∇L(w)‖²_B - Δ·A_w)/2 of E⟨AG(w), [∇L(w)]_B⟩.

    >>> float(lemma_1(4.0, delta=0.5, error=1.0, growth=1.0))
    0.75

    Args:
        norm: ‖∇L(w)‖²_B.
        delta, error, growth: Δ, A_w and B_w.
    """
    norm, error, growth = map(np.asarray, (norm, error, growth))
    if np.isinf(delta):
        return np.full(np.broadcast_shapes(norm.shape, error.shape, growth.shape), -np.inf)
    return np.asarray(((1.0 - delta * growth) * norm - delta * error) / 2.0)


def theorem_1(
    steps: ArrayLike,
    initial: float,
    *,
    block: ArrayLike,
    dimension: int,
    learning_rate: float,
    strong_convexity: float,
    delta: float,
    error: ArrayLike,
    growth: ArrayLike,
) -> Floats:
    """Bound E[L(w_k) - L*] on strongly convex losses: (1 - κ)^(k-1)·(L(w_1) - L* - H) + H.

    κ = (b/d)·μ·γ·(1 - ΔB), H = d·Δ·A/(2·b·μ·(1 - ΔB)).

    Args:
        steps: number of updates that led to w_k: k - 1.
        initial: L(w_1) - L*.
        block: b, the smallest block so far.
        dimension, learning_rate, strong_convexity, delta: d, γ, μ, Δ.
        error, growth: A and B, the largest A_w and B_w so far.

    >>> constants = dict(dimension=10, learning_rate=0.5, strong_convexity=1.0, delta=2.0)
    >>> theorem_1([0, 1, 100], 8.0, block=10, error=1.0, growth=0.0, **constants)
    array([8. , 4.5, 1. ])
    """
    steps, share, margin, error = _terms(steps, block, dimension, delta, error, growth)
    with np.errstate(divide="ignore", invalid="ignore"):
        contraction = share * strong_convexity * learning_rate * margin
        floor = error / (2.0 * share * strong_convexity * margin)
        progress = -np.expm1(steps * np.log1p(-contraction))  # 1 - (1 - κ)^(k-1)
        bound = (1.0 - progress) * initial + progress * floor
    holds = (margin > 0) & (share > 0) & (contraction > 0) & (contraction < 1)
    return np.where(holds, bound, np.inf)


def theorem_2(
    steps: ArrayLike,
    initial: float,
    *,
    block: ArrayLike,
    dimension: int,
    learning_rate: float,
    delta: float,
    error: ArrayLike,
    growth: ArrayLike,
) -> Floats:
    """Bound min_{k <= T} E‖∇L(w_k)‖²: 2·d·(L(w_1) - L*)/(T·b·γ·(1 - ΔB)) + d·Δ·A/(b·(1 - ΔB)).

    Args:
        steps: T >= 1.
        initial: L(w_1) - L*, or more.
        block, dimension, learning_rate, delta, error, growth: as for `theorem_1`.

    >>> constants = dict(dimension=10, learning_rate=0.5, delta=2.0)
    >>> theorem_2([1, 4], 8.0, block=10, error=1.0, growth=0.0, **constants)
    array([34., 10.])
    """
    steps, share, margin, error = _terms(steps, block, dimension, delta, error, growth)
    with np.errstate(divide="ignore", invalid="ignore"):
        decay = 2.0 * initial / (steps * share * learning_rate * margin)
        bound = decay + error / (share * margin)
    return np.where((margin > 0) & (share > 0), bound, np.inf)


def _terms(
    steps: ArrayLike,
    block: ArrayLike,
    dimension: int,
    delta: float,
    error: ArrayLike,
    growth: ArrayLike,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the steps, b/d, 1 - ΔB and ΔA as arrays; with Δ = inf the bounds are vacuous."""
    error, growth = np.asarray(error, dtype=np.float64), np.asarray(growth, dtype=np.float64)
    share = np.asarray(block, dtype=np.float64) / dimension
    steps = np.asarray(steps, dtype=np.float64)
    if np.isinf(delta):
        return steps, share, np.full(growth.shape, -np.inf), np.full(error.shape, np.inf)
    return steps, share, 1.0 - delta * growth, delta * error
