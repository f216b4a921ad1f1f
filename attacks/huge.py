"""Values that are finite, but too large to add."""

from __future__ import annotations

import numpy as np

from hgobench.lazy import Tensor, torch
from hgobench.parameters import finite

from .base import Attack, View


class Huge(Attack):
    """All Byzantine workers send the same large finite value in every coordinate.

    10^38 is near the largest float32, 3.4·10^38: it passes every test for NaN and infinity, but its
    square and its sum with three others are infinite.

    Args:
        value: what they send, in the gradient's units.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: nothing.
    """

    sees = "nothing"
    columnwise = True
    colludes = False
    paper = "folklore"
    formula = "value"

    def __init__(self, value: float = 1e38) -> None:
        self.value = finite("value", value)
        if abs(self.value) > float(np.finfo(np.float32).max):
            raise ValueError(f"value: {value!r}; expected a float32, at most 3.4e38 (see inf)")

    def values(self, view: View) -> Tensor:
        """Return the value."""
        return torch.full((view.dimension,), self.value)
