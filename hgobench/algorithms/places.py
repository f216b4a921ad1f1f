"""The coordinate order of a round: what shares a place in it, and what a place costs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import InputError
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
            units that it joins: the first places are a sub-network (the extended paper);
            ``"nested"``: a place is a hidden unit, and the order is the same in every round: the
            first places are the network with narrower layers (HeteroFL, FjORD; see `nested`).
        cost: ``"scalar"``: a place costs a worker as many units of its budget as it has
            coordinates; ``"unit"``: it costs one (the authors' code).

    Attributes:
        ends: (1 or 2, d) the places that decide each coordinate's position; -1: the first place.
        cost: how places cost.
        drawn: whether their order is drawn in every round; else they stay as they are.

    Raises:
        InputError: the model has no hidden units, and is to have nested places.

    Example:
        >>> from hgobench.models import Softmax
        >>> model = Softmax(features=64, classes=10)  # d = 650
        >>> len(Places(model, "scalar", "scalar")), len(Places(model, "feature", "unit"))
        (650, 65)
    """

    def __init__(self, model: Model, granularity: str, cost: str) -> None:
        if granularity == "scalar":
            ends = np.arange(model.dimension)[None]
        elif granularity == "nested":
            ends = nested(model.units)
        else:
            ends = model.place_of[None] if granularity == "feature" else model.units
        self.ends, self.cost, self.drawn = ends, cost, granularity != "nested"
        self._count = int(ends.max()) + 1

    def __len__(self) -> int:
        return self._count


def nested(units: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of nested sub-networks that decide each coordinate's position, (2, d).

    The j-th of H units of a hidden layer, j from 0, is in all networks whose layers have more than
    j/H of their width: units are ordered by j/H, at equal ones by layer. So the first places are a
    network whose layers are narrower by the same share, rounded up; all inputs and outputs are in
    it (-1).

    Source: Diao, Ding, Tarokh, "HeteroFL", ICLR 2021; Horváth, Laskaridis, Almeida, Leontiadis,
    Venieris, Lane, "FjORD", NeurIPS 2021.

    Args:
        units: (2, d) of a model: what each coordinate goes out from, and what it enters.

    Raises:
        InputError: there are no hidden units, or they are in a circle.

    >>> nested(np.array([[0, 0, 0, 1, 2, 3], [1, 2, 3, -1, -1, -1]]))  # unit 0 is an input
    array([[-1, -1, -1,  0,  1,  2],
           [ 0,  1,  2, -1, -1, -1]])
    """
    source, target = units
    hidden = np.unique(target[target >= 0])  # an input is nobody's target
    if not len(hidden):
        raise InputError(
            "granularity: 'nested' orders the hidden units of a network; expected a model that has "
            "some, as feed_forward"
        )
    joins = (source >= 0) & (target >= 0)
    depth, before = np.zeros(int(units.max()) + 1, dtype=np.int64), None
    for _ in range(len(depth) + 1):
        before = depth.copy()
        np.maximum.at(depth, target[joins], before[source[joins]] + 1)
        if (depth == before).all():
            break
    else:
        raise InputError("granularity: 'nested' needs layers; the model's units are in a circle")
    share = np.zeros(len(depth))
    for layer in np.unique(depth[hidden]):
        members = hidden[depth[hidden] == layer]
        share[members] = np.arange(len(members)) / len(members)
    place = np.full(len(depth) + 1, -1)  # the last: of units that are always there
    place[hidden[np.lexsort((depth[hidden], share[hidden]))]] = np.arange(len(hidden))
    return place[units]


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

        self._beside: dict[int, NDArray[np.int64]] = {1: position}
        self._moved: dict[torch.device, Tensor] = {}

    def __len__(self) -> int:
        return len(self._cost)

    def position_on(self, device: torch.device) -> Tensor:
        """Return `position` on a device, (d,) int64; not to be changed."""
        if device not in self._moved:
            with warnings.catch_warnings(action="ignore"):  # that it can't be written to
                self._moved[device] = torch.from_numpy(self.position).to(device)
        return self._moved[device]

    def position_beside(self, runs: int) -> NDArray[np.int64]:
        """Return `position` of several runs side by side, (runs·d,); not to be changed."""
        if runs not in self._beside:
            tiled = np.tile(self.position, runs)
            tiled.setflags(write=False)
            self._beside[runs] = tiled
        return self._beside[runs]

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
