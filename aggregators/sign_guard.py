"""SignGuard: lengths and sign statistics."""

from __future__ import annotations

import math
from functools import cache
from types import ModuleType

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from hgobench.parameters import positive

from .base import Rule, Scope
from .vectors import Vectors


class SignGuard(Rule):
    """Mean of the clipped vectors whose length and whose shares of signs are those of the crowd.

    M is the median of the lengths. S_1 = {i : L·M <= ‖x_i‖ <= R·M}. On a random share of the
    coordinates each vector has three features, the fractions of positive, of negative and of zero
    entries; S_2 is the largest cluster of them by mean shift. AR(x) is the mean over S_1 ∩ S_2 of
    x_i · min(1, M / ‖x_i‖); if that is empty, 0. Clipping comes last: done first it would switch
    off the upper bound of the lengths. Mean shift is scikit-learn's, with its estimate of the
    bandwidth at the quantile 1/2; of clusters of equal size the one with the first worker is taken.

    Args:
        lower: L, the least length in medians.
        upper: R, the largest.
        share: of the coordinates that is looked at, 0 < share <= 1.

    Validity: m >= 2f + 1; heuristic, no guarantee.
    On ragged input: the vectors of those that sent the whole block.

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
        b = vectors.sent.shape[1]
        chosen = vectors.view.rng.permutation(b)[: max(math.ceil(self.share * b), 1)]
        rows = vectors.rows[:, torch.from_numpy(chosen).to(vectors.sent.device)]
        signs = torch.stack(((rows > 0), (rows < 0), (rows == 0)))
        features = signs.double().mean(dim=2).T.cpu().numpy()
        finite = vectors.finite.numpy()
        crowd = finite.copy()
        # Features a rounding apart are one point; a bandwidth of 0 would be refused.
        cluster, threads = _clustering()
        # Of so few points, threads would spend all time waiting for each other.
        with threads.limit(limits=1, user_api="openmp"):
            bandwidth = cluster.estimate_bandwidth(features[finite], quantile=0.5)
            if bandwidth > 1e-9:
                labels = cluster.MeanShift(bandwidth=bandwidth).fit(features[finite]).labels_
                sizes = np.bincount(labels)
                first = next(label for label in labels if sizes[label] == sizes.max())
                crowd[finite] = labels == first
        return torch.from_numpy(crowd)


@cache
def _clustering() -> tuple[ModuleType, ThreadpoolController]:
    """Import scikit-learn's clustering, and find the threads that it has brought along."""
    from sklearn import cluster

    return cluster, ThreadpoolController()
