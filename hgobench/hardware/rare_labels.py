"""Slow devices whose workers hold rare labels."""

from __future__ import annotations

import numpy as np

from hgobench.parameters import share

from .fleet import Condition, Fleet, Population


class RareLabels(Condition):
    """The slower a device, the rarer the labels that it holds.

    A worker's rarity is the mean rank of its examples' labels, the most frequent label of all
    training examples first (equally frequent ones in their order). The devices are dealt out anew:
    with correlation 1 the slowest goes to the worker with the rarest labels; with 0 at random; in
    between the order is that of correlation · rarity + (1 - correlation) · chance, both as ranks.
    This is where discarding slow devices hurts most: their labels are seen nowhere else.

    Args:
        correlation: 0..1.

    Example:
        >>> labels = np.array([[9, 0], [0, 1], [9, 0]])  # worker 1 has the rare class
        >>> population = Population(3, 10, seed=0, labels=labels)
        >>> RareLabels()(Fleet.of(np.array([5.0, 3.0, 1.0])), population).rates
        array([3., 1., 5.])
    """

    paper = "hgobench"
    formula = "devices in the order of the rarity of their workers' labels"
    validity = "0 <= correlation <= 1; partitions whose workers differ in labels"

    def __init__(self, correlation: float = 1.0) -> None:
        self.correlation = share("correlation", correlation)

    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        """Deal the devices out anew."""
        counts = population.labels
        rank = np.empty(counts.shape[1])
        rank[np.argsort(-counts.sum(axis=0), kind="stable")] = np.arange(counts.shape[1])
        rarity = counts @ rank / counts.sum(axis=1)
        chance, _ = population.strength()  # whose device it would have been
        by_chance = -chance.astype(float)
        score = self.correlation * _ranks(rarity, by_chance) + (1.0 - self.correlation) * _ranks(
            by_chance, by_chance
        )
        slowest = np.argsort(fleet.rates, kind="stable")
        device = np.empty(len(slowest), dtype=np.int64)
        device[np.lexsort((-by_chance, -score))] = slowest
        return fleet.dealt(device)


def _ranks(values: np.ndarray, ties: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(values))
    ranks[np.lexsort((ties, values))] = np.arange(len(values))
    return ranks
