"""Workers that see their examples rotated or with noise."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import rotate

from hgobench.data.base import Features, Split
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.parameters import one_of, positive

from .base import ShardIndices
from .iid import Iid


class FeatureShift(Iid):
    """Shards as `Iid` deals them, but each worker's features are rotated or noisy.

    Test and validation examples, and the server's own, stay as they are.

    Args:
        by: ``"rotation"``: worker i's images (square ones) are turned by its own angle;
            ``"noise"``: N(0, σ_i²) is added to its features.
        strength: the largest angle, in degrees, or σ, in the features' units, > 0. Angles are
            spread evenly over [-strength, strength] and σ_i over (0, strength], at random among
            the workers.

    Example:
        >>> FeatureShift(by="rotation", strength=30.0).levels(workers=3, seed=0)  # degrees
        array([-30.,   0.,  30.])

    Source: Li, Diao, Chen, He, "Federated Learning on Non-IID Data Silos: An Experimental Study",
    ICDE 2022 (noise); Ghosh et al., "An Efficient Framework for Clustered Federated Learning",
    NeurIPS 2020 (rotation).
    """

    paper = "Li et al., ICDE 2022; Ghosh et al., NeurIPS 2020"
    formula = "IID examples, rotated by an angle or with noise of each worker's own"
    validity = "N >= n; square images for rotation"

    def __init__(self, by: str = "rotation", strength: float | None = None) -> None:
        self.by = one_of("by", by, "rotation", "noise")
        default = 45.0 if by == "rotation" else 0.5
        self.strength = default if strength is None else positive("strength", strength)

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Deal as `Iid` does; rotation needs square images."""
        if self.by == "rotation" and (train.image is None or train.image[-2] != train.image[-1]):
            raise InputError(
                "partition: feature_shift[by=rotation]: the data are no square images; use by=noise"
            )
        return super().deal(train, workers, seed)

    def levels(self, workers: int, seed: int) -> np.ndarray:
        """Return each worker's angle in degrees, or its σ, (n,)."""
        order = stream(seed, "feature_shift").permutation(workers)
        if self.by == "noise":
            return self.strength * (1 + order) / workers
        return self.strength * (2.0 * order - (workers - 1)) / max(workers - 1, 1)

    def shift(self, train: Split, shards: ShardIndices, seed: int) -> Features:
        """Return the features, (N, p), turned or with noise added."""
        shifted = train.features.copy()
        for i, (rows, level) in enumerate(zip(shards, self.levels(len(shards), seed), strict=True)):
            original = train.features[rows]
            if self.by == "noise":
                noise = stream(seed, "feature_shift", i).standard_normal(original.shape, np.float32)
                shifted[rows] += np.float32(level) * noise
            else:
                assert train.image is not None
                images = original.reshape(-1, *train.image)
                turned = rotate(images, float(level), axes=(-2, -1), reshape=False, order=1)
                shifted[rows] = turned.reshape(original.shape)
        return shifted
