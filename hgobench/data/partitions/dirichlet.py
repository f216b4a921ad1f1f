"""Each class dealt out in random shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hgobench.data.base import Split
from hgobench.determinism import stream
from hgobench.parameters import positive

from .base import ATTEMPTS, Partition, ShardIndices, cut


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

    Example:
        >>> from hgobench.data.datasets import load
        >>> train = load("digits").train
        >>> sizes = [len(shard) for shard in Dirichlet(alpha=0.3)(train, workers=5, seed=0)]
        >>> sum(sizes) == len(train), max(sizes) > 2 * min(sizes)
        (True, True)

    Source: Yurochkin, Agarwal, Ghosh, Greenewald, Hoang, Khazaeni, "Bayesian Nonparametric
    Federated Learning of Neural Networks", ICML 2019; Li, Diao, Chen, He, "Federated Learning on
    Non-IID Data Silos: An Experimental Study", ICDE 2022 (NIID-Bench).
    """

    paper = "Yurochkin et al., ICML 2019; Li et al., ICDE 2022 (NIID-Bench)"
    formula = "each class in shares from Dir(α, .., α) over workers; unequal sizes"
    validity = "some draw leaves no worker empty"

    def __init__(self, alpha: float = 0.5) -> None:
        self.alpha = positive("alpha", alpha)

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Draw shares per class until every worker has examples."""
        shards: ShardIndices = []
        for attempt in range(ATTEMPTS):
            rng = stream(seed, "partition", attempt)
            pieces: list[list[NDArray[np.int64]]] = [[] for _ in range(workers)]
            for label in np.unique(train.labels):
                rows = rng.permutation(np.flatnonzero(train.labels == label))
                shares = rng.dirichlet(np.full(workers, self.alpha))
                for owner, piece in enumerate(cut(rows, shares)):
                    pieces[owner].append(piece)
            shards = [np.concatenate(p) for p in pieces]
            if all(len(shard) for shard in shards):
                break
        return shards
