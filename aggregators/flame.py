"""FLAME: cluster by direction, clip, add noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import squareform

from hgobench.lazy import Tensor, torch
from hgobench.parameters import finite

from .base import Rule, Scope
from .vectors import Vectors


class Flame(Rule):
    """Mean of the clipped vectors of the tightest majority of directions, with noise.

    With cosine distances 1 - cos(x_i, x_j), HDBSCAN with clusters of ⌊m/2⌋ + 1 or more, one
    neighbour and a single cluster allowed finds one cluster: that which a single linkage has first
    made of more than half of all m (see `majority`). S is the median of the lengths ‖x_i‖.
    AR(x) = mean of x_i · min(1, S/‖x_i‖) over the cluster, plus N(0, (λ·S)²) in each coordinate. A
    zero vector is at distance 1 from all; one with NaN or infinite entries is in no cluster.

    Args:
        noise: λ >= 0. The paper derives it from a privacy budget and uses 0.001 for images.

    Validity: m >= 2f + 1; the paper has noise blur a backdoor; for untargeted attacks no bound is
    known. A single linkage is chained through vectors in between.
    On ragged input: the vectors of those that sent the whole block; in scope "staircase" of those
    that sent as far as each step; a coordinate's noise is the same number in each scope.

    Departs from its source: the paper clusters and clips models about the last one, here gradients;
    vectors at the same distance are taken together, of which HDBSCAN takes whichever come first.

    Source: Nguyen, Rieger, Chen, Yalame, Möllering, Fereidooni, Marchal, Miettinen, Mirhoseini,
    Zeitouni, Koushanfar, Sadeghi, Schneider, "FLAME: Taming Backdoors in Federated Learning",
    USENIX Security 2022; Campello, Moulavi, Sander, "Density-Based Clustering Based on Hierarchical
    Density Estimates", PAKDD 2013, for HDBSCAN.
    """

    paper = "Nguyen et al., USENIX Security 2022"
    formula = "mean of clip(x_i, S) over the majority by cosine (HDBSCAN) + N(0, (λ·S)²)"
    breakdown = "1/2 (no guarantee)"
    averaging = "none if λ > 0"
    cost = "m²·d + m²·log m + d random numbers"
    randomised = "noise"
    ragged = "on complete vectors"
    by_weights = True
    exempt = {
        "finite_within_honest_range": "shortened vectors and noise may leave the honest range",
        "translation_equivariant": "looks at lengths and directions",
    }

    def __init__(self, noise: float = 0.001, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.noise = finite("noise", noise, least=0.0)

    def proven_kappa(self, n: int) -> float | None:
        """Return inf if there is noise: of vectors all alike it returns others."""
        return math.inf if self.noise else None

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Cluster, clip, average, and add noise."""
        vectors.require(self.f, self.name)
        m, lengths = len(vectors), vectors.norms
        typical = lengths.sort().values[[(m - 1) // 2, m // 2]].mean()
        chosen = vectors.finite.nonzero()[:, 0]
        distances = (1.0 - vectors.cosines)[chosen][:, chosen].numpy()
        cluster = chosen[torch.from_numpy(majority(distances, m // 2 + 1))]
        weights = torch.zeros_like(lengths)
        weights[cluster] = vectors.shortening(typical)[cluster] / len(cluster)
        answer = vectors.combine(weights)
        if self.noise == 0:
            return answer
        size = self.noise * float(typical)
        return answer + (size * vectors.view.noise(vectors.width)).to(answer)


def majority(distances: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    """Return the first `size` points or more that a single linkage joins, (m, m) -> (m,) bool.

    The least r at which `size` points hang together by steps of r at most, and the points that then
    do; more than half, so that there is one such set. It is the cluster of HDBSCAN with clusters of
    `size` or more, one neighbour, and a single cluster allowed: no split leaves two that are large
    enough, so that there is one cluster, which loses points as r falls until too few are left.

    >>> line = np.array([0.0, 1.0, 1.5, 2.5, 9.0])
    >>> majority(np.abs(line[:, None] - line), 3)
    array([ True,  True,  True,  True, False])
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(distances) < 2:
        return np.ones(len(distances), dtype=bool)
    symmetric = np.maximum((distances + distances.T) / 2.0, 0.0)
    tree = linkage(squareform(symmetric, checks=False), "single")
    enough = int((tree[:, 3] >= size).argmax())
    labels = fcluster(tree, tree[enough, 2], "distance")
    together: NDArray[np.bool_] = labels == np.bincount(labels).argmax()
    return together
