"""SignGuard: lengths and sign statistics."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive

from .base import Rule, Scope
from .vectors import Vectors

Floats = NDArray[np.float64]
STEPS = 300  # the most of a climb
CLOSE = 1e-3  # a step of so few radii ends it
TIED = 1.0 + 1e-9


class SignGuard(Rule):
    """Mean of the clipped vectors whose length and whose shares of signs are like the majority's.

    M is the median of the lengths. S_1 = {i : L·M <= ‖x_i‖ <= R·M}. On a random share of the
    coordinates each vector has three features, the fractions of positive, of negative and of zero
    entries; S_2 is the largest cluster of them by `mean_shift`. AR(x) is the mean over S_1 ∩ S_2 of
    x_i · min(1, M / ‖x_i‖); if that is empty, 0. Clipping comes last: done first it would switch
    off the upper bound of the lengths. The radius is scikit-learn's estimate of the `bandwidth` at
    the quantile 1/2; of clusters of equal size the one with the first worker is taken.

    Args:
        lower: L, the least length in medians.
        upper: R, the largest.
        share: of the coordinates that is looked at, 0 < share <= 1.

    Validity: m >= 2f + 1; heuristic, no guarantee.
    On ragged input: the vectors of those that sent the whole block; in scope "staircase" of those
    that sent as far as each step.

    Source: Xu, Huang, Song, Lan, "Byzantine-robust Federated Learning through Collaborative
    Malicious Gradient Filtering", ICDCS 2022.
    """

    paper = "Xu et al., ICDCS 2022"
    formula = "mean of clip(x_i, M), L·M <= ‖x_i‖ <= R·M, signs in the largest cluster"
    breakdown = "1/2 (no guarantee)"
    cost = "m²·d + mean shift of m points"
    ragged = "on complete vectors"
    randomised = "coordinates"
    exempt = {
        "finite_within_honest_range": "shortened vectors may leave the range of the honest",
        "translation_equivariant": "looks at lengths and signs",
    }

    def __init__(
        self,
        lower: float = 0.1,
        upper: float = 3.0,
        share: float = 0.1,
        *,
        f: int = 0,
        scope: Scope = "block",
    ) -> None:
        super().__init__(f=f, scope=scope)
        self.lower, self.upper = positive("lower", lower), positive("upper", upper)
        if self.lower >= self.upper:
            raise ValueError(f"lower: {self.lower}; expected less than upper={self.upper}")
        self.share = positive("share", share)
        if self.share > 1:
            raise ValueError(f"share: {self.share}; expected a share in (0, 1]")

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Filter, clip, average."""
        vectors.require(self.f, self.name)
        lengths = vectors.norms
        typical = lengths.sort().values[[(len(lengths) - 1) // 2, len(lengths) // 2]].mean()
        near = (lengths >= self.lower * typical) & (lengths <= self.upper * typical)
        near &= vectors.finite
        near &= self._crowd(vectors)
        if not near.any():
            return torch.zeros_like(vectors.sent[0])
        return vectors.combine(torch.where(near, vectors.shortening(typical) / near.sum(), 0.0))

    def _crowd(self, vectors: Vectors) -> Tensor:
        """Say who is in the largest cluster of sign statistics, (m,) bool."""
        b = vectors.width
        chosen = vectors.view.rng.permutation(b)[: max(math.ceil(self.share * b), 1)]
        rows = vectors.rows[:, torch.from_numpy(chosen).to(vectors.sent.device)]
        signs = torch.stack(((rows > 0), (rows < 0), (rows == 0)))
        features = signs.double().mean(dim=2).T.cpu().numpy()
        finite = vectors.finite.numpy()
        crowd = finite.copy()
        radius = bandwidth(features[finite])
        if radius > 1e-9:  # features a rounding apart are one point
            labels = mean_shift(features[finite], radius)
            sizes = np.bincount(labels)
            first = next(label for label in labels if sizes[label] == sizes.max())
            crowd[finite] = labels == first
        return torch.from_numpy(crowd)


def bandwidth(points: Floats) -> float:
    """Return the mean distance of m points to the farthest of their ⌊m/2⌋ nearest, (m, k) -> r.

    A point is the nearest to itself, as in scikit-learn's estimate at the quantile 1/2.
    """
    nearest = max(len(points) // 2, 1)
    return float(np.sort(_distances(points, points), axis=1)[:, nearest - 1].mean())


def mean_shift(points: Floats, radius: float) -> NDArray[np.int64]:
    """Return each point's cluster by mean shift with a flat kernel, (m, k) -> (m,).

    From every point one climbs: again and again to the mean of the points within the radius, until
    a step is at most a thousandth of it. Where that leads are centres, those among most points
    first; of two within the radius only the first stays. A point belongs to the nearest, to the
    first of several. Shares of signs often lie exactly as far apart as the radius: distances that
    differ by rounding are equal.

    Source: Comaniciu, Meer, "Mean shift: a robust approach toward feature space analysis", TPAMI
    2002; the rules of stopping and merging are scikit-learn's.

    >>> mean_shift(np.array([[0.0], [0.1], [5.0]]), radius=1.0)
    array([0, 0, 1])
    """
    radius *= TIED
    centres, climbing = points.copy(), np.ones(len(points), dtype=bool)
    among = np.zeros(len(points), dtype=np.int64)
    for _ in range(STEPS):
        near = _distances(centres[climbing], points) <= radius
        means = (near[:, :, None] * points).sum(axis=1) / near.sum(axis=1)[:, None]
        moved = np.sqrt(np.square(means - centres[climbing]).sum(axis=1))
        centres[climbing], among[climbing] = means, near.sum(axis=1)
        climbing[climbing] = moved > CLOSE * radius
        if not climbing.any():
            break
    best = sorted(range(len(points)), key=lambda i: (among[i], *centres[i]), reverse=True)
    kept: list[int] = []
    apart = _distances(centres, centres) > radius
    for i in best:
        if apart[i, kept].all():
            kept.append(i)
    distances = _distances(points, centres[kept])
    first: NDArray[np.int64] = (distances <= TIED * distances.min(axis=1)[:, None]).argmax(axis=1)
    return first


def _distances(some: Floats, others: Floats) -> Floats:
    """Return all distances, (a, k) and (b, k) -> (a, b)."""
    distances: Floats = np.sqrt(np.square(some[:, None] - others).sum(axis=2))
    return distances
