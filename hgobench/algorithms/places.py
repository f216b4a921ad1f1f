"""The coordinate order of a round: what shares a place in it, and what a place costs."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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


class Order:
    """C_k: the places of a round in the order of its permutation (P,).

    Attributes:
        dimension: d.
        position: (d,) where in the order each coordinate's place stands, from 0.
        full_cost: the budget that all places together take.
    """

    def __init__(self, places: Places, permutation: NDArray[np.int64]) -> None:
        rank = np.empty_like(permutation)
        rank[permutation] = np.arange(len(permutation))
        self.position = rank[places.of]
        self.position.setflags(write=False)  # shared by all cells of a cohort
        self.dimension = len(places.of)
        self._coordinates = np.concatenate(([0], np.cumsum(places.size[permutation])))
        self._cost = np.cumsum(places.cost[permutation])
        self.full_cost = int(self._cost[-1])

        self._moved: dict[torch.device, Tensor] = {}

    def __len__(self) -> int:
        return len(self._cost)

    def position_on(self, device: torch.device) -> Tensor:
        """Return `position` on a device, (d,) int64; not to be changed."""
        if device not in self._moved:
            with warnings.catch_warnings(action="ignore"):  # that it can't be written to
                self._moved[device] = torch.from_numpy(self.position).to(device)
        return self._moved[device]

    def affordable(
        self, budget: NDArray[np.float64], upload: NDArray[np.float64] | None = None
    ) -> NDArray[np.int64]:
        """Count the first places that each budget pays for, (q,) -> (q,).

        Args:
            budget: (q,) in coordinates of the minibatch gradient.
            upload: (q,) what it costs to send a coordinate, in the same unit; None: nothing.
        """
        if upload is None:
            return self._cost.searchsorted(budget, side="right")
        sent = self._coordinates[1:]
        paid = [
            (self._cost + each * sent).searchsorted(most, side="right")
            for most, each in zip(budget, upload, strict=True)
        ]
        return np.array(paid, dtype=np.int64)

    def coordinates(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the coordinates in the first `lengths` places, (q,) -> (q,)."""
        return self._coordinates[lengths]
