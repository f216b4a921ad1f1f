"""Hasty: answer faster than the device could."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hgobench.parameters import finite

from .heterogeneity import HeterogeneityAttack


class Hasty(HeterogeneityAttack):
    """Answer `factor` times as fast as the device would compute, and so as often.

    Where the server steps on answers whenever they come, who answers fast is heard often: an
    attacker that need not compute takes a larger share of the answers than its share of the
    workers. Where attackers can't lie about their speed, and where the server goes by rounds, it
    changes nothing.

    Args:
        factor: >= 1.

    Raises:
        ValueError: not such a number.

    What the attacker needs: nothing. The model still has to reach it, and its answer the server.
    """

    columnwise = True
    colludes = False
    formula = "answers after 1/`factor` of the device's time"
    control = "timing"

    def __init__(self, factor: float = 10.0) -> None:
        self.factor = finite("factor", factor, least=1.0)

    def pace(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Divide by the factor."""
        return seconds / self.factor
