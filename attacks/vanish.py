"""Vanish: answer for some rounds, and be silent from then on."""

from __future__ import annotations

import numpy as np

from hgobench.parameters import whole

from .base import View
from .heterogeneity import HeterogeneityAttack


class Vanish(HeterogeneityAttack):
    """Answer in the first rounds, and never again.

    A server that remembers workers (``hgo[memory=last]``, ``rosdhb``) aggregates for ever what was
    sent last: a few messages poison the whole run. Gradients are longest at the start, so that what
    hides among them then stands out later, or steers on if the rule does not notice. Where the
    server forgets at once, it is a crash.

    Args:
        after: the last round in which they answer, >= 1.

    Raises:
        ValueError: not such a number.

    What the attacker needs: nothing; it saves its work.
    """

    columnwise = True
    colludes = False
    formula = "no answer after round `after`"
    control = "timing"

    def __init__(self, after: int = 1) -> None:
        self.after = whole("after", after, least=1)

    def lengths(self, view: View, lengths: np.ndarray) -> np.ndarray:
        """Be silent when the time is over."""
        return lengths if view.round <= self.after else np.zeros_like(lengths)
