"""Starve: shrink the block."""

from __future__ import annotations

import numpy as np

from hgobench.parameters import whole

from .base import View
from .heterogeneity import HeterogeneityAttack


class Starve(HeterogeneityAttack):
    """Answer, but send next to nothing.

    The block is what v workers sent. b workers that send less take the place of b that send more:
    it ends where the v-th longest of the honest answers alone does, and where fewer than v honest
    workers are fast enough, it shrinks to what the Byzantine ones send, or the round stalls.

    Args:
        places: how many places of the order they send, >= 0; with 0 they are not heard at all.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: nothing. It counts as an answer, so that a server that waits for a
    number of answers is content.
    """

    colludes = False
    columnwise = True
    formula = "length `places`"

    def __init__(self, places: int = 1) -> None:
        self.places = whole("places", places, least=0)

    def lengths(self, view: View, lengths: np.ndarray) -> np.ndarray:
        """Claim next to nothing."""
        return view.claim(self.places)
