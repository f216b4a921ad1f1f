"""Workers that hold unequal numbers of examples."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Split
from hgobench.determinism import stream
from hgobench.parameters import one_of, positive

from .base import ATTEMPTS, Partition, ShardIndices, cut


class QuantitySkew(Partition):
    """Random examples in shares of very different sizes; labels are distributed alike.

    Args:
        distribution: of the shares p: ``"dirichlet"``: p from Dir(α, .., α), drawn again, up to
            100 times, while a worker is left empty; ``"power_law"``: p_i ∝ rank_i^-α, the ranks at
            random.
        alpha: α > 0: the concentration (small: unequal), or the exponent (large: unequal).

    Example:
        >>> from hgobench.data.datasets import load
        >>> train = load("digits").train
        >>> partition = QuantitySkew("power_law", alpha=2.0)
        >>> sorted(len(shard) for shard in partition(train, workers=4, seed=0))
        [53, 95, 215, 858]

    Source: Li, Diao, Chen, He, "Federated Learning on Non-IID Data Silos: An Experimental Study",
    ICDE 2022.
    """

    paper = "Li et al., ICDE 2022"
    formula = "random examples in shares from Dir(α, .., α), or rank^-α"
    validity = "no worker is left empty"

    def __init__(self, distribution: str = "dirichlet", alpha: float = 0.5) -> None:
        self.distribution = one_of("distribution", distribution, "dirichlet", "power_law")
        self.alpha = positive("alpha", alpha)

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Cut a permutation unequally."""
        shards: ShardIndices = []
        for attempt in range(ATTEMPTS if self.distribution == "dirichlet" else 1):
            rng = stream(seed, "partition", attempt)
            rows = rng.permutation(len(train))
            if self.distribution == "dirichlet":
                shares = rng.dirichlet(np.full(workers, self.alpha))
            else:
                weights = (1.0 + rng.permutation(workers)) ** -self.alpha
                shares = weights / weights.sum()
            shards = cut(rows, shares)
            if all(len(shard) for shard in shards):
                break
        return shards
