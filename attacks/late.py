"""Late: answer at the last moment, or just after it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hgobench.parameters import finite

from .base import View
from .heterogeneity import HeterogeneityAttack


class Late(HeterogeneityAttack):
    """Answer some time after the deadline or, if there is none, after the slowest honest worker.

    Where answers come whenever they do, each comes by so much later than the device would.

    After a finite deadline τ the answer is not heard: the server counted on a worker that is not
    there, and the block shrinks or the round stalls. Without a deadline (τ = inf) the server waits:
    each round lasts `delay` longer, as long as the attackers like.

    Args:
        delay: in time units, >= 0; with 0 the answer comes just in time, when the attackers have
            seen all that honest workers sent.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: to know the deadline, or when the last honest answer comes.
    """

    colludes = False
    columnwise = True
    formula = "answers `delay` time units after τ, or after the slowest honest answer"
    control = "timing"

    def __init__(self, delay: float = 1.0) -> None:
        self.delay = finite("delay", delay, least=0.0)

    def pace(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Add the delay."""
        return seconds + self.delay

    def delays(self, view: View) -> np.ndarray | None:
        """Return the delay."""
        return np.full(view.byzantine, self.delay)
