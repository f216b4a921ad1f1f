"""Classes in random shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hgobench.data.base import Split
from hgobench.determinism import stream
from hgobench.parameters import positive

from .base import ATTEMPTS, Partition, Shards, cut


class Dirichlet(Partition):
    """Each class is dealt out in shares drawn from a symmetric Dirichlet distribution.

    Small α: a class is held by few workers; α → ∞: equal shares. Workers hold unequally many
    examples, too: of thirty workers of ``digits`` at α = 0.3 the one with fewest has some 8, the
    one with most some 100 (means over seeds), where forty each would be equal. A draw that leaves a
    worker without examples is repeated, up to 100 times, which makes very unequal sizes rarer than
    they are by the formula.

    `label_dirichlet` draws each worker's shares over classes instead, at equal sizes.

    Args:
        alpha: the concentration α > 0.

    Source: Yurochkin, Agarwal, Ghosh, Greenewald, Hoang, Khazaeni, "Bayesian Nonparametric
    Federated Learning of Neural Networks", ICML 2019; Li, Diao, Chen, He, "Federated Learning on
    Non-IID Data Silos: An Experimental Study", ICDE 2022 (NIID-Bench).
    """

    paper = "Yurochkin et al., ICML 2019; Li et al., ICDE 2022 (NIID-Bench)"
    formula = "each class in shares from Dir(α, .., α) over workers; unequal sizes"
    validity = "some draw leaves no worker empty"

    def __init__(self, alpha: float = 0.5) -> None:
        self.alpha = positive("alpha", alpha)

    def deal(self, train: Split, workers: int, seed: int) -> Shards:
        """Draw shares per class until every worker has examples."""
        shards: Shards = []
        for attempt in range(ATTEMPTS):
            rng = stream(seed, "partition", attempt)
            parts: list[list[NDArray[np.int64]]] = [[] for _ in range(workers)]
            for label in np.unique(train.labels):
                mine = rng.permutation(np.flatnonzero(train.labels == label))
                shares = rng.dirichlet(np.full(workers, self.alpha))
                for owner, part in enumerate(cut(mine, shares)):
                    parts[owner].append(part)
            shards = [np.concatenate(p) for p in parts]
            if all(len(shard) for shard in shards):
                break
        return shards
