"""Infinity instead of numbers."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch
from hgobench.parameters import one_of

from .base import Attack, View


class Inf(Attack):
    """All Byzantine workers send ±∞ in every coordinate.

    Args:
        sign: ``"plus"``: +∞; ``"minus"``: -∞; ``"both"``: one after the other, by coordinate and
            worker, so that sums of them are NaN.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: nothing; with both signs, who takes which.
    """

    sees = "nothing"
    columnwise = True
    paper = "folklore"
    formula = "±∞"
    exempt = {"values_are_finite": "sends infinite values"}

    def __init__(self, sign: str = "plus") -> None:
        self.sign = one_of("sign", sign, "plus", "minus", "both")
        self.colludes = sign == "both"

    def values(self, view: View) -> Tensor:
        """Return infinite values."""
        values = torch.full((view.byzantine, view.dimension), torch.inf)
        if self.sign == "minus":
            return -values
        if self.sign == "both":
            turns = torch.arange(view.byzantine)[:, None] + torch.arange(view.dimension)
            values[turns % 2 == 1] = -torch.inf
        return values
