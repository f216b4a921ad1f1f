"""Step 13 of Algorithm 1: what the server does with the aggregate."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from hgobench.registry import Registry


class GradientDescent:
    """w <- w - γ_k · AG on the block's coordinates.

    With the schedule ``"constant"`` γ_k = γ; with ``"inverse_sqrt_block"`` γ_k = γ · √(d/|B_k|),
    which is γ on a full block and grows as the block shrinks.
    """

    paper: ClassVar[str] = "HGO, Algorithm 1, step 13"
    validity: ClassVar[str] = "γ > 0"

    def __init__(self, learning_rate: float = 0.1, schedule: str = "constant") -> None:
        self.learning_rate = learning_rate
        self.schedule = schedule

    def rate(self, block: int, dimension: int) -> float:
        """Return γ_k for a block of `block` coordinates out of `dimension`."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * math.sqrt(dimension / block)

    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        """Update (d,) `params` in place.

        Args:
            params: the cell's parameters.
            block: (b,) int64, the block's coordinates; None: all of them.
            aggregate: (b,) the rule's answer on them.
        """
        scaled = aggregate * -self.rate(len(aggregate), len(params))
        if block is None:
            params += scaled
        else:
            params.index_add_(0, block, scaled)


registry: Registry[GradientDescent] = Registry(
    "solver",
    "solvers",
    {"gradient_descent": GradientDescent},
    context=frozenset({"learning_rate", "schedule"}),
)
