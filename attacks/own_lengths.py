"""Own lengths: answer as far as the Byzantine devices get."""

from __future__ import annotations

import numpy as np

from .base import View
from .heterogeneity import HeterogeneityAttack


class OwnLengths(HeterogeneityAttack):
    """Do not lie about speed: claim what the device would have finished if it were honest.

    A value attack by itself makes every Byzantine device as fast as the fastest honest one. That
    adds answers where few are heard, and may help the server more than the values harm it; behind
    this step a slow device stays slow: ``own_lengths+fang``.

    What the attacker needs: how far its own devices get.
    """

    columnwise = True
    colludes = False
    formula = "what its own device finishes"

    def lengths(self, view: View, lengths: np.ndarray) -> np.ndarray:
        """Claim what each device finishes."""
        return view.own_lengths
