"""Tail: attack where few honest workers are heard."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hgobench.lazy import Tensor, torch

from .base import View
from .heterogeneity import HeterogeneityAttack


class Tail(HeterogeneityAttack):
    """Claim the full length, and misbehave only on the coordinates that this adds to the block.

    With claims of the full length the block ends where the (v - b)-th longest honest answer does,
    not the v-th: its last coordinates, the tail, are heard from fewer than v honest workers and
    from all b Byzantine ones, up to nearly half of all that are heard. There the value attack
    behind it is told how few are heard (so that ALIE's z_max is that of v, not of q, workers); in
    front of the tail the Byzantine workers send their own gradients (the poisoned ones, before an
    attack that poisons data), and are no outliers. If there is no tail (v honest answers are
    whole), all coordinates count as the tail.

    What the attacker needs: the lengths of the honest answers (all honest messages), the quorum.
    """

    sees = "honest"
    columnwise = True
    formula = "length P; the value attack where fewer than v honest are heard, else g_own"
    control = "values, lengths"

    def tail(self, view: View) -> Tensor:
        """Say which coordinates belong to the tail, (d,) bool."""
        heard = view.heard()
        thin = heard < view.quorum
        if view.quorum > view.byzantine:
            thin &= heard >= view.quorum - view.byzantine
        return thin if bool(thin.any()) else torch.ones_like(thin)

    def narrow(self, view: View) -> View:
        """Tell the value attack how few are heard on the tail."""
        fewest = int(view.heard()[self.tail(view)].min())
        return replace(view, sampled=max(fewest, 1) + view.byzantine)

    def values(self, view: View, values: Tensor) -> Tensor:
        """Attack on the tail, behave elsewhere."""
        return torch.where(self.tail(view), values, view.require_own())

    def lengths(self, view: View, lengths: np.ndarray) -> np.ndarray:
        """Claim everything."""
        return view.claim(view.places)
