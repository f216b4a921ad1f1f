"""Claim steps: lie about how many local updates were taken."""

from __future__ import annotations

import numpy as np

from hgobench.parameters import whole

from .base import View
from .heterogeneity import HeterogeneityAttack


class ClaimSteps(HeterogeneityAttack):
    """Claim another number of local updates than were taken.

    Under `hgobench.algorithms.FedNova` the server divides an answer by the number that it claims:
    whoever says 1 counts up to K times as much. The server bounds claims by 1 and K. Where answers
    do not say how many updates they are of, it changes nothing.

    Args:
        steps: the claim, >= 1, or as near to it as each worker may come.

    Raises:
        ValueError: not such a number.

    What the attacker needs: nothing.
    """

    columnwise = True
    colludes = False
    formula = "says that it took `steps` updates"
    control = "claimed updates"

    def __init__(self, steps: int = 1) -> None:
        self.steps = whole("steps", steps, least=1)

    def updates(self, view: View, updates: np.ndarray | None) -> np.ndarray | None:
        """Claim them."""
        return None if view.update_limits is None else np.minimum(self.steps, view.update_limits)
