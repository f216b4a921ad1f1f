"""The geometric median."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hgobench.parameters import positive

from .base import Rule, Scope
from .columns import Columns
from .vectors import Vectors

Array = NDArray[np.float64]
SLOW = 0.4  # a step of Weiszfeld's that leaves more of the gradient is worse than one of Newton's
STEPS = 200  # Newton's method needs a dozen; so many only where float64 sees no decrease any more


class GeometricMedian(Rule):
    """The point with the smallest sum of distances to the vectors.

    AR(x) = argmin_z Σ ‖z - x_i‖.

    It is found in the coordinates of inner products: a vector x_k at which the others' unit pulls
    sum to at most its own multiplicity is the median; else descent by Weiszfeld's method, and by
    Newton's as soon as that converges slowly. It stops when the mean of the unit vectors from
    z to the x_i is shorter than `tolerance`, or when float64 arithmetic sees no decrease any more.
    The result is then about `tolerance` times the vectors' typical distance from the median. There
    is no smoothing constant, and no number of iterations to choose; others stop after three
    (ByzFL) or four (RFA) of Weiszfeld's.

    Args:
        tolerance: > 0, the length of the mean unit pull at which to stop; of no unit.

    Validity: m >= 2f + 1; breakdown point 1/2.
    On ragged input: scope "coordinate" is the median of those that sent the coordinate, which sorts
    NaN behind all values; scope "block" is the rule on the vectors of those that sent the whole
    block, without those that have NaN or infinite entries.

    Source: Chen, Su, Xu, "Distributed Statistical Machine Learning in Adversarial Settings:
    Byzantine Gradient Descent", SIGMETRICS 2018; Pillutla, Kakade, Harchaoui, "Robust Aggregation
    for Federated Learning" (RFA), IEEE Transactions on Signal Processing 2022; Vardi, Zhang, "The
    multivariate L1-median and associated data depth", PNAS 2000, for the iteration at a data point.
    """

    paper = "Chen et al., SIGMETRICS 2018; Pillutla et al., IEEE TSP 2022 (RFA)"
    formula = "argmin_z Σ ‖z - x_i‖"
    breakdown = "1/2"
    cost = "m²·d + a dozen times m³"
    ragged = "block: on complete vectors; coordinate: the median of Q_j"
    exempt = {"finite_within_honest_range": "stays near the honest, not in their range"}

    def __init__(self, tolerance: float = 1e-8, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.tolerance = positive("tolerance", tolerance)

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Minimise over the span of the vectors."""
        vectors.require(self.f, self.name)
        finite = vectors.finite
        weights, rest = minimiser(
            vectors.gram[finite][:, finite].numpy(),
            vectors.squared_distances[finite][:, finite].sqrt().numpy(),
            self.tolerance,
        )
        full = vectors.gram.new_zeros(len(vectors))
        full[finite] = torch.from_numpy(weights).to(full)
        return vectors.combine(full, rest)

    def of_columns(self, columns: Columns) -> Tensor:
        """Return the median of each column."""
        return columns.median()


def minimiser(gram: Array, distances: Array, tolerance: float) -> tuple[Array, float]:
    """Find the geometric median as weights of the vectors, and of the origin.

    Args:
        gram: (m, m) inner products about an origin among the vectors.
        distances: (m, m).
        tolerance: the length of the mean unit pull at which to stop.
    """
    m = len(gram)
    pulls, strengths = _pulls(gram, distances)
    room = (distances == 0).sum(axis=1) - strengths
    best = int(room.argmax())
    if room[best] > 1e-9:  # at 0 others may be as good: between two middle values, all
        return np.eye(m)[best], 0.0
    z = np.zeros(m)  # the origin, as o + Σ z_i (x_i - o)
    away = _away(gram, z)
    nearest = int(away.argmin())
    if away[nearest] <= 1e-7 * np.median(away):
        z, away = _leave(gram, pulls[nearest], nearest)
    before, quadratic = np.inf, False
    for _ in range(STEPS):
        pull = 1.0 / away
        total = pull.sum()
        # The gradient of the sum is Σ (z - x_i) / r_i, as coefficients of the x_i - o:
        gradient = total * z - pull
        length = np.sqrt(max(gradient @ gram @ gradient, 0.0))
        if length <= tolerance * m:
            break
        # In high dimension Weiszfeld's steps, which cost next to nothing, converge fast.
        quadratic = quadratic or length > SLOW * before
        before = length
        for candidate in _candidates(gram, z, pull, total, quadratic):
            distance = _away(gram, candidate)
            if _change(gram, z, away, candidate, distance) < 0:
                z, away = candidate, distance
                break
        else:
            if quadratic:
                break
            quadratic = True
    return z, 1.0 - float(z.sum())


def _pulls(gram: Array, distances: Array) -> tuple[Array, Array]:
    """Return each x_k's unit pulls from the others as coefficients, (m, m), and their length."""
    pulls = np.divide(1.0, distances, where=distances > 0, out=np.zeros_like(distances))
    pulls -= np.diag(pulls.sum(axis=1))
    return pulls, np.sqrt(((pulls @ gram) * pulls).sum(axis=1).clip(0.0))


def _away(gram: Array, z: Array) -> Array:
    """Return all ‖z - x_i‖, (m,), never less than what float64 can tell from 0."""
    product, norms = gram @ z, gram.diagonal()
    own = z @ product
    noise = 1e-16 * (own + norms) + 1e-300
    found: Array = np.sqrt(np.maximum(own - 2.0 * product + norms, noise))
    return found


def _change(gram: Array, z: Array, away: Array, new: Array, distance: Array) -> float:
    """Return by how much the sum of distances grows, however long some of them are."""
    step = new - z
    product = gram @ step
    squares = product @ (new + z) - 2.0 * product
    return float((squares / (away + distance)).sum())


def _leave(gram: Array, pulls: Array, k: int) -> tuple[Array, Array]:
    """Step from x_k, which is not the median, along the others' pull until the sum is lower."""
    at = np.zeros_like(pulls)
    at[k] = 1.0
    away = _away(gram, at)
    step = pulls / -pulls[k]
    for _ in range(60):
        z = at + step
        distance = _away(gram, z)
        if _change(gram, at, away, z, distance) < 0:
            break
        step = step / 2.0
    return z, distance


def _candidates(
    gram: Array, z: Array, pull: Array, total: np.float64, quadratic: bool
) -> Iterator[Array]:
    """Return Newton's next point, if `quadratic`, and Weiszfeld's."""
    if quadratic:
        # Hessian: Σ 1/r_i I - Σ (z - x_i)(z - x_i)ᵀ / r_i³, on combinations of the x_i - o.
        eye = np.eye(len(z))
        shifted = z[:, None] - eye  # column i: z - x_i
        hessian = total * eye - (shifted * pull**3) @ (shifted.T @ gram)
        try:
            newton = z - np.linalg.solve(hessian, total * z - pull)
        except np.linalg.LinAlgError:
            newton = np.full_like(z, np.nan)
        if np.isfinite(newton).all():
            yield newton
    yield pull / total
