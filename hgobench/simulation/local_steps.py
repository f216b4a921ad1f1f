"""Local steps: the gradients that workers take at parameters of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor

from .adversary import Adversary
from .cell import Cell
from .world import Draw, World


class Minibatches:
    """The further minibatches of a round, drawn once for all cells.

    Args:
        k: the round.
        world: whose.
        draw: the round's workers, with the first minibatch of each.
    """

    def __init__(self, k: int, world: World, draw: Draw) -> None:
        self.k, self.world, self.draw = k, world, draw
        self._drawn = {0: draw}

    def __getitem__(self, number: int) -> Draw:
        if number not in self._drawn:
            batch = self.world.further(self.k, self.draw, number)
            self._drawn[number] = replace(self.draw, batch=batch, minibatch=number)
        return self._drawn[number]


class LocalGradients:
    """Takes a cell's workers' further gradients in a round.

    Args:
        cell: whose.
        minibatches: the round's.
        updates: (q,) how many gradients each worker takes in all.
        adversary: whose attackers poison their workers' data; None: nobody's.

    Raises:
        ValueError: a worker is to take more than that.
    """

    def __init__(
        self,
        cell: Cell,
        minibatches: Minibatches,
        updates: NDArray[np.int64],
        adversary: Adversary | None,
    ) -> None:
        self.cell, self.minibatches, self.adversary = cell, minibatches, adversary
        self._updates = updates
        at_the_servers = 0 if cell.algorithm.own_start else 1
        self._taken = np.full(len(updates), at_the_servers)

    def __call__(self, params: Tensor, minibatch: int, workers: NDArray[np.bool_] | None) -> Tensor:
        """Return some workers' gradients at parameters of their own, (q, d) -> (q, d)."""
        cell, draw = self.cell, self.minibatches[minibatch]
        busy = np.ones(len(self._taken), dtype=bool) if workers is None else workers
        over = busy & (self._taken >= self._updates)
        if over.any():
            most = int(self._updates[over][0])
            raise ValueError(f"more gradients are taken than `updates` says; expected {most}")
        self._taken = self._taken + busy
        with cell.clock.paused():  # what is computed here is no fault of the algorithm's
            world, k = cell.world, self.minibatches.k
            x, y = world.minibatches(draw)
            if self.adversary is not None:
                rows = self.adversary.byzantine
                x[rows], y[rows] = self.adversary.poisoned(cell, draw, minibatch)
            weights = None if draw.weights is None else world.to_device(draw.weights)
            return world.own_gradients(k, params.to(x), x, y, weights, minibatch, busy)
