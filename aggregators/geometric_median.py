"""The geometric median."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive

from .averaging import of_median
from .base import Rule, Scope
from .columns import Columns
from .vectors import Vectors

Array = NDArray[np.float64]
SLOW = 0.4  # a step of Weiszfeld's that leaves more of the gradient is worse than one of Newton's
HALVINGS = 12  # Newton's step is too long where vectors lie nearly on a line
STEPS = 200  # Newton's method needs a dozen; so many only where float64 sees no decrease any more


class GeometricMedian(Rule):
    """The point with the smallest sum of distances to the vectors.

    AR(x) = argmin_z Σ ‖z - x_i‖; with weights s_i, argmin_z Σ s_i ‖z - x_i‖.

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
    averaging = "h/⌈(n - 2f)/2⌉ - 1"
    cost = "m²·d + a dozen times m³"
    weighted = True
    by_weights = True
    on_parts = "masked"
    ragged = "block: on complete vectors; coordinate: the median of Q_j"
    exempt = {"finite_within_honest_range": "stays near the honest, not in their range"}

    def __init__(self, tolerance: float = 1e-8, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.tolerance = positive("tolerance", tolerance)

    def proven_kappa(self, n: int) -> float | None:
        """Return h/⌈(n - 2f)/2⌉ - 1; coordinate-wise it is the median, with the median's κ.

        Let r be the answer's distance from a point g, and c_i the cosine at the answer between the
        ways to x_i and to g. The unit pulls cancel, so that Σ_S c_i <= f. An honest x_i is at least
        r·√(1 - c_i²) from g, or r if c_i < 0: what Σ_S ‖x_i - g‖² must be is concave in the c_i,
        and least where all but one are 1 or -1. So it is at least ⌈(h - f)/2⌉·r², for every g. In
        two dimensions or more it is approached: n/2 or more vectors near g, the others and the
        attackers' beyond.
        """
        if self.scope == "coordinate":
            return of_median(n, self.f)
        return (n - self.f) / -(-(n - 2 * self.f) // 2) - 1.0

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Minimise over the span of the vectors."""
        gram, distances = vectors.gram, vectors.squared_distances.sqrt()
        vectors.require(self.f, self.name)
        finite, mass = vectors.finite, vectors.view.mass(len(vectors))
        if not finite.all():
            gram, distances = gram[finite][:, finite], distances[finite][:, finite]
            mass = mass[finite.numpy()]
        found, rest = minimiser(gram.numpy(), distances.numpy(), mass, self.tolerance)
        if vectors.masked:  # of all weights that make the point, those that are not negative
            pull = mass / Point(gram.numpy(), found, mass).away
            found, rest = pull / pull.sum(), 0.0
        weights = torch.zeros(len(vectors), dtype=torch.float64)
        weights[finite] = torch.from_numpy(found)
        return vectors.combine(weights, rest)

    def of_columns(self, columns: Columns) -> Tensor:
        """Return the median of each column."""
        return columns.median()


def minimiser(gram: Array, distances: Array, mass: Array, tolerance: float) -> tuple[Array, float]:
    """Find the geometric median as weights of the vectors, and of the origin.

    Args:
        gram: (m, m) inner products about an origin among the vectors.
        distances: (m, m).
        mass: (m,) how much each vector counts.
        tolerance: the length of the mean unit pull at which to stop.
    """
    m = len(gram)
    pulls, strengths = _pulls(gram, distances, mass)
    room = (distances == 0) @ mass - strengths
    best = int(room.argmax())
    if (
        room[best] > 1e-9 * mass.mean()
    ):  # at 0 others may be as good: between two middle values, all
        return np.eye(m)[best], 0.0
    here = Point(gram, np.zeros(m), mass)  # the origin, as o + Σ z_i (x_i - o)
    nearest = int(here.away.argmin())
    if here.away[nearest] <= 1e-7 * np.median(here.away):
        here = _leave(gram, pulls[nearest], nearest, mass)
    before, quadratic = np.inf, False
    for _ in range(STEPS):
        pull = mass / here.away
        total = pull.sum()
        weiszfeld = Point(gram, pull / total, mass)
        # The gradient of the sum is Σ (z - x_i) / r_i, the way from there times the total pull.
        step, product = here.z - weiszfeld.z, here.product - weiszfeld.product
        gradient = total * np.sqrt(max(float(step @ product), 0.0))
        if gradient <= tolerance * mass.sum():
            break
        # In high dimension Weiszfeld's steps, which cost next to nothing, converge fast.
        quadratic = quadratic or gradient > SLOW * before
        before = gradient
        newton = _newton(gram, here, pull, total) if quadratic else None
        if newton is not None:
            here = newton
        elif weiszfeld.above(here) < 0:
            here = weiszfeld
        elif quadratic:
            break
        else:
            quadratic = True
    return here.z, 1.0 - float(here.z.sum())


class Point:
    """A combination z of the vectors, G z, and its distances from them.

    Attributes:
        z: (m,) coefficients of the x_i - o.
        product: (m,) G z.
        mass: (m,) how much each counts.
        away: (m,) all ‖z - x_i‖, never less than what float64 can tell from 0.
    """

    def __init__(self, gram: Array, z: Array, mass: Array) -> None:
        self.mass = mass
        self.z, self.product, norms = z, gram @ z, gram.diagonal()
        own = z @ self.product
        noise = 1e-16 * (abs(own) + np.abs(norms)) + 1e-300
        self.away = np.sqrt(np.maximum(own - 2.0 * self.product + norms, noise))

    def above(self, other: Point) -> float:
        """Return by how much its sum of distances is larger, however long some of them are."""
        product = self.product - other.product
        squares = product @ (self.z + other.z) - 2.0 * product
        return float((self.mass * squares / (self.away + other.away)).sum())


def _pulls(gram: Array, distances: Array, mass: Array) -> tuple[Array, Array]:
    """Return each x_k's unit pulls from the others as coefficients, (m, m), and their length."""
    pulls = np.divide(mass, distances, where=distances > 0, out=np.zeros_like(distances))
    pulls -= np.diag(pulls.sum(axis=1))
    return pulls, np.sqrt(((pulls @ gram) * pulls).sum(axis=1).clip(0.0))


def _leave(gram: Array, pulls: Array, k: int, mass: Array) -> Point:
    """Step from x_k, which is not the median, along the others' pull until the sum is lower."""
    at = Point(gram, np.eye(len(gram))[k], mass)
    return _lower(gram, at, pulls / -pulls[k], 60) or at


def _newton(gram: Array, here: Point, pull: Array, total: np.float64) -> Point | None:
    """Return a lower point in Newton's direction, if there is one."""
    # Hessian: Σ 1/r_i I - Σ (z - x_i)(z - x_i)ᵀ / r_i³, on combinations of the x_i - o.
    z, eye = here.z, np.eye(len(here.z))
    shifted = z[:, None] - eye  # column i: z - x_i
    hessian = total * eye - (shifted * (pull**3 / here.mass**2)) @ (shifted.T @ gram)
    try:
        step = np.linalg.solve(hessian, total * z - pull)
    except np.linalg.LinAlgError:
        return None
    return _lower(gram, here, -step, HALVINGS) if np.isfinite(step).all() else None


def _lower(gram: Array, at: Point, step: NDArray[Any], halvings: int) -> Point | None:
    """Return a lower point along a step that is halved until there is one."""
    for _ in range(halvings):
        point = Point(gram, at.z + step, at.mass)
        if point.above(at) < 0:
            return point
        step = step / 2.0
    return None
