"""No attack: the Byzantine workers follow the protocol."""

from __future__ import annotations

import numpy as np

from hgobench.lazy import Tensor

from .base import Attack, View


class NoAttack(Attack):
    """The Byzantine workers send their honest gradients, as far as their devices get.

    The server doesn't know that they are honest: the rule still tolerates f. This is the clean
    column of a leaderboard.

    What the attacker needs: its own gradients.
    """

    sees = "own"
    colludes = False
    paper = "baseline"
    formula = "g_own"
    control = "nothing"

    def values(self, view: View) -> Tensor:
        """Return their own gradients."""
        return view.require_own()

    def lengths(self, view: View) -> np.ndarray:
        """Return what their devices finish."""
        return view.own_lengths
