"""A share of similar data for all, the rest sorted by label."""

from __future__ import annotations

from hgobench.parameters import share

from .shards import Shards


class GammaSimilarity(Shards):
    """A random share γ of the examples is dealt equally, the rest in the order of its labels.

    γ = 1 is `Iid`; with γ = 0 a worker sees one or two classes. It is `Shards` with one piece per
    worker and the degree 1 - γ.

    Args:
        gamma: γ, 0..1.

    Example:
        >>> GammaSimilarity(gamma=0.25).degree
        0.75

    Source: Karimireddy et al., "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
    ICML 2020 (s % similarity); the name is ByzFL's.
    """

    paper = "Karimireddy et al., ICML 2020 (SCAFFOLD); ByzFL"
    formula = "a share γ equally to all, the rest in the order of labels"
    validity = "N >= n"

    def __init__(self, gamma: float = 0.5) -> None:
        self.gamma = share("gamma", gamma)
        super().__init__(k=1, degree=1.0 - self.gamma)
