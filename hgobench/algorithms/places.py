"""The coordinate order of a round: what shares a place in it, and what a place costs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Granularity = ("scalar", "feature")
Cost = ("scalar", "unit")


class Places:
    """The places that a round's permutation orders.

    Args:
        place_of: (d,) the model's places of granularity ``"feature"``.
        granularity: ``"scalar"``: each coordinate has its own place (Algorithm 1); ``"feature"``:
            all weights that leave one unit share a place (the HGO authors' code).
        cost: ``"scalar"``: a place costs a worker as many units of its budget as it has
            coordinates; ``"unit"``: it costs one (the authors' code).

    Attributes:
        of: (d,) the place of each coordinate.
        size: (P,) how many coordinates each place has.
        cost: (P,) what each costs.
    """

    def __init__(self, place_of: NDArray[np.int64], granularity: str, cost: str) -> None:
        self.of = np.arange(len(place_of)) if granularity == "scalar" else place_of
        self.size = np.bincount(self.of)
        self.cost = self.size if cost == "scalar" else np.ones_like(self.size)

    def __len__(self) -> int:
        return len(self.size)

    def affordable(
        self, budget: NDArray[np.float64], order: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Count the first places of `order` that each budget pays for, (q,) -> (q,)."""
        return np.searchsorted(np.cumsum(self.cost[order]), budget, side="right")

    def coordinates(
        self, lengths: NDArray[np.int64], order: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Count the coordinates in the first `lengths` places of `order`."""
        total: NDArray[np.int64] = np.concatenate(([0], np.cumsum(self.size[order])))[lengths]
        return total

    def positions(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return, for each coordinate, where in `order` its place stands, (d,)."""
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        return position[self.of]
