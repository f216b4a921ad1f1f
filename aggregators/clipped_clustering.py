"""Clipped clustering: shorten, split in two, keep the larger half."""

from __future__ import annotations

import math

import numpy as np

from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive

from .base import Rule, Scope
from .vectors import Vectors


class ClippedClustering(Rule):
    """Mean of the larger of two clusters of clipped vectors.

    τ is the median length of all vectors of all rounds so far, this one's included, and at most
    `largest`. (Lengths of blocks of b coordinates are compared as ‖x‖/√b.) Vectors are clipped to
    τ, and agglomerative clustering with average linkage splits them in two by their cosine distance
    1 - cos(x_i, x_j); a zero vector is at distance 1 from all. AR(x) is the mean of the clipped
    vectors of the larger cluster; of two equally large ones that with the smaller mean distance
    inside, then that with the first worker. Vectors with NaN or infinite entries are in neither
    cluster and do not count for τ; two vectors are one cluster.

    Args:
        largest: the bound of τ, in units of the gradients.

    Validity: m >= 2f + 1; heuristic, no guarantee.
    On ragged input: the vectors of those that sent the whole block, and their lengths on it; in
    scope "staircase" of those that sent as far as each step.

    Source: Li, Ngai, Voigt, "An Experimental Study of Byzantine-Robust Aggregation Schemes in
    Federated Learning", IEEE Transactions on Big Data 2023.
    """

    paper = "Li et al., IEEE TBD 2023"
    formula = "mean of clip(x_i, τ) over the larger of two clusters by cosine, τ a historic median"
    breakdown = "1/2 (no guarantee)"
    cost = "m²·d + m²·log m, memory a length per vector and round"
    ragged = "on complete vectors"
    stateful = True
    by_weights = True
    exempt = {
        "finite_within_honest_range": "shortened vectors may leave the range of the honest",
        "translation_equivariant": "looks at lengths and directions",
    }

    def __init__(self, largest: float = 1e5, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.largest = positive("largest", largest)
        self._lengths: list[float] = []

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Clip, cluster, average."""
        vectors.require(self.f, self.name)
        lengths = vectors.norms
        root = math.sqrt(vectors.width)
        self._lengths += (lengths[vectors.finite] / root).tolist()
        self._lengths.sort()  # most are sorted already
        middle = (
            self._lengths[(len(self._lengths) - 1) // 2],
            self._lengths[len(self._lengths) // 2],
        )
        radius = min((middle[0] + middle[1]) / 2.0 * root, self.largest)
        chosen = vectors.finite.nonzero()[:, 0]
        distances = 1.0 - vectors.cosines
        if len(chosen) < len(vectors):
            distances = distances[chosen][:, chosen]
        distances.fill_diagonal_(0.0)
        cluster = chosen[torch.from_numpy(_larger_half(distances.numpy()))]
        weights = torch.zeros_like(lengths)
        weights[cluster] = vectors.shortening(radius)[cluster] / len(cluster)
        return vectors.combine(weights)


def _larger_half(distances: np.ndarray) -> np.ndarray:
    """Split m points in two by average linkage; return the (m,) bool members of the larger."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    m = len(distances)
    if m < 3:
        return np.ones(m, dtype=bool)
    distances = np.maximum((distances + distances.T) / 2.0, 0.0)
    tree = linkage(squareform(distances, checks=False), "average")
    merges = tree[:, :2].astype(np.int64)  # row k joins two clusters to cluster m + k

    def rank(cluster: int) -> tuple[int, float, list[int]]:
        members = _points(cluster, merges)
        return -len(members), float(distances[np.ix_(members, members)].mean()), members

    larger = np.zeros(m, dtype=bool)
    larger[min(map(rank, merges[-1]))[2]] = True
    return larger


def _points(cluster: int, merges: np.ndarray) -> list[int]:
    """Return the points of a cluster, ascending, from the (m - 1, 2) pairs that were merged."""
    points, waiting, m = [], [cluster], len(merges) + 1
    pairs = merges.tolist()
    while waiting:
        one = waiting.pop()
        if one < m:
            points.append(one)
        else:
            waiting += pairs[one - m]
    return sorted(points)
