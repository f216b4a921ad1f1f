"""The coordinate order of a round: what shares a place in it, and what a place costs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

if TYPE_CHECKING:
    from hgobench.models import Model


class Places:
    """The places that a round's permutation orders.

    Args:
        model: whose coordinates they hold.
        granularity: ``"scalar"``: each coordinate has its own place (Algorithm 1); ``"feature"``:
            all weights that leave one unit share a place (the HGO authors' code);
            ``"subnetwork"``: a place is a unit, and a coordinate has the later position of the two
            units that it joins: the first places are a sub-network (the extended paper).
        cost: ``"scalar"``: a place costs a worker as many units of its budget as it has
            coordinates; ``"unit"``: it costs one (the authors' code).

    Attributes:
        ends: (1 or 2, d) the places that decide each coordinate's position; -1: the first place.
        cost: how places cost.

    Example:
        >>> from hgobench.models import Softmax
        >>> model = Softmax(features=64, classes=10)  # d = 650
        >>> len(Places(model, "scalar", "scalar")), len(Places(model, "feature", "unit"))
        (650, 65)
    """

    def __init__(self, model: Model, granularity: str, cost: str) -> None:
        if granularity == "scalar":
            ends = np.arange(model.dimension)[None]
        else:
            ends = model.place_of[None] if granularity == "feature" else model.units
        self.ends, self.cost = ends, cost
        self._count = int(ends.max()) + 1

    def __len__(self) -> int:
        return self._count


class Order:
    """C_k: the places of a round in the order of its permutation (P,).

    Attributes:
        dimension: d.
        position: (d,) the position of each coordinate's place in the order, from 0.
        full_cost: the budget that all places together take.

    Example:
        >>> from hgobench.models import Softmax
        >>> places = Places(Softmax(features=64, classes=10), "feature", "scalar")
        >>> order = Order(places, np.arange(65))
        >>> order.affordable(np.array([25.0, 1e9]))  # places of 10 coordinates each
        array([ 2, 65])
    """

    def __init__(self, places: Places, permutation: NDArray[np.int64]) -> None:
        rank = np.zeros(len(permutation) + 1, dtype=np.int64)  # the last: of what is always there
        rank[permutation] = np.arange(len(permutation))
        position = rank[places.ends[0]]
        for other in places.ends[1:]:
            np.maximum(position, rank[other], out=position)
        position.setflags(write=False)  # shared by all cells of a cohort
        self.position, self.dimension = position, len(position)
        size = np.bincount(position, minlength=len(permutation))
        self._coordinates = np.concatenate(([0], np.cumsum(size)))
        unit = np.arange(1, len(size) + 1)
        self._cost = self._coordinates[1:] if places.cost == "scalar" else unit
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
            (self._cost + price * sent).searchsorted(limit, side="right")
            for limit, price in zip(budget, upload, strict=True)
        ]
        return np.array(paid, dtype=np.int64)

    def sendable(
        self, budget: NDArray[np.float64], upload: NDArray[np.float64] | None
    ) -> NDArray[np.int64]:
        """Count the first places that each budget pays to send, (q,): of those below 0 none."""
        if upload is None:
            return np.where(budget >= 0, len(self), 0)
        sent = self._coordinates[1:]
        paid = [
            (price * sent).searchsorted(limit, side="right")
            for limit, price in zip(budget, upload, strict=True)
        ]
        return np.where(budget >= 0, np.array(paid, dtype=np.int64), 0)

    def cost_of(self, length: int) -> int:
        """Return the budget that the first `length` places take."""
        return int(self._cost[min(length, len(self)) - 1])

    def coordinates(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the coordinates in the first `lengths` places, (q,) -> (q,)."""
        return self._coordinates[lengths]
