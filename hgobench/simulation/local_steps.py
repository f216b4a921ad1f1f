"""Local steps: the gradients that workers take at parameters of their own."""

from __future__ import annotations

from dataclasses import replace

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
        adversary: whose attackers poison their workers' data; None: nobody's.

    Raises:
        ValueError: more are asked for than the algorithm says that a worker takes.
    """

    def __init__(self, cell: Cell, minibatches: Minibatches, adversary: Adversary | None) -> None:
        self.cell, self.minibatches, self.adversary = cell, minibatches, adversary
        self._left = cell.gradients - 1

    def __call__(self, params: Tensor, minibatch: int) -> Tensor:
        """Return each worker's gradient at parameters of its own, (q, d) -> (q, d)."""
        cell = self.cell
        if not self._left:
            raise ValueError(f"more gradients are taken than `gradients` = {cell.gradients} says")
        self._left -= 1
        with cell.clock.paused():  # what is computed here is no fault of the algorithm's
            world, k, draw = cell.world, self.minibatches.k, self.minibatches[minibatch]
            x, y = world.minibatches(draw)
            if self.adversary is not None:
                rows = self.adversary.byzantine
                x[rows], y[rows] = self.adversary.poisoned(cell, draw, minibatch)
            weights = None if draw.weights is None else world.to_device(draw.weights)
            return world.own_gradients(k, params.to(x), x, y, weights, minibatch)
