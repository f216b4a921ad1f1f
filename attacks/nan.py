"""NaN instead of numbers."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch

from .base import Attack, View


class Nan(Attack):
    """All Byzantine workers send NaN in every coordinate.

    One NaN is enough to make an average NaN for ever; comparisons with it are false, so that it can
    slip through tests and spoil sorts.

    What the attacker needs: nothing.
    """

    sees = "nothing"
    columnwise = True
    colludes = False
    paper = "folklore"
    formula = "NaN"
    exempt = {"values_are_finite": "sends NaN"}

    def values(self, view: View) -> Tensor:
        """Return NaN."""
        return torch.full((view.dimension,), torch.nan)
