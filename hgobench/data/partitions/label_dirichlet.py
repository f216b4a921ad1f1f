"""Workers whose class distributions are drawn."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Split
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.parameters import positive

from .base import Partition, ShardIndices


class LabelDirichlet(Partition):
    """Each worker draws its examples by a class distribution of its own; all hold equally many.

    q_i ~ Dir(α·p), p the shares of the classes in the training set, and worker i gets ⌊N/n⌋ or
    ⌈N/n⌉ examples, one after the other: a class drawn from q_i, then one of its examples that no
    worker has yet. Once a class has run out, q_i is restricted to the remaining classes; if it
    gives them no weight, a random one of the remaining examples is drawn. Workers draw in random
    order, so that no worker is favoured with the last examples.

    Small α: nearly one class each; α → ∞: the classes as in the training set. `dirichlet` draws
    each class's shares over workers instead, which makes sizes unequal too and the classes less
    so: at α = 0.3 thirty workers of ``digits`` hold some 83 % of one class here, and 45 % there.

    Args:
        alpha: the concentration α > 0.

    Example:
        >>> from hgobench.data.datasets import load
        >>> train = load("digits").train
        >>> shards = LabelDirichlet(alpha=0.1)(train, workers=5, seed=0)
        >>> [len(shard) for shard in shards]
        [244, 244, 244, 244, 245]

    Source: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification", 2019 (arXiv:1909.06335).
    """

    paper = "Hsu et al., 2019"
    formula = "q_i ~ Dir(α·p) of each worker over classes, p the training set's; equal sizes"
    validity = "classification data; N >= n"

    def __init__(self, alpha: float = 0.5) -> None:
        self.alpha = positive("alpha", alpha)

    def deal(self, train: Split, workers: int, seed: int) -> ShardIndices:
        """Draw how many of each class every worker gets, then which."""
        if train.labels.dtype.kind == "f":
            raise InputError(
                "partition: label_dirichlet: the labels are real numbers; expected classes"
            )
        rng = stream(seed, "partition")
        labels, classes = np.unique(train.labels, return_inverse=True)
        stock = np.bincount(classes)
        order = rng.permutation(workers)
        sizes = np.full(workers, len(train) // workers)
        sizes[order[: len(train) % workers]] += 1
        concentration = self.alpha * stock / len(train)
        if not (concentration > 0).all():
            raise InputError(
                f"partition: label_dirichlet: alpha: {self.alpha:g}; expected a number whose "
                "product with each class's share is more than 0 in floating point"
            )
        weights = rng.dirichlet(concentration, size=workers)
        counts = np.zeros((workers, len(labels)), dtype=np.int64)
        for worker in order:
            missing = sizes[worker]
            while missing:
                q = np.where(stock > 0, weights[worker], 0.0)
                q = q if q.sum() > 0 else stock
                # Draws beyond the stock are repeated, which equals drawing one by one.
                draw = np.minimum(rng.multinomial(missing, q / q.sum()), stock)
                counts[worker] += draw
                stock, missing = stock - draw, missing - draw.sum()
        shards: list[list[np.ndarray]] = [[] for _ in range(workers)]
        for label, per_worker in enumerate(counts.T):
            rows = rng.permutation(np.flatnonzero(classes == label))
            for shard, piece in zip(
                shards, np.split(rows, np.cumsum(per_worker)[:-1]), strict=True
            ):
                shard.append(piece)
        return [np.concatenate(pieces) for pieces in shards]
