"""Claim examples: lie about how many examples a worker has."""

from __future__ import annotations

import numpy as np

from hgobench.parameters import positive
from hgobench.protocol.weights import MOST_EXAMPLES

from .base import View
from .heterogeneity import HeterogeneityAttack


class ClaimExamples(HeterogeneityAttack):
    """Claim a multiple of the examples that there are.

    Where the server weighs answers by examples (``weights=claimed``, ``weights=examples``), whoever
    claims more counts more: as much as claimed, or up to the server's bound
    (`hgobench.protocol.bounded`). Where answers do not say how many examples they are of, it
    changes nothing.

    Args:
        factor: the claim over the truth, > 0, rounded; what does not fit into 4 bytes ends there.

    Raises:
        ValueError: not such a number.

    What the attacker needs: nothing.
    """

    columnwise = True
    colludes = False
    formula = "says that it has `factor` times its examples"
    control = "claimed examples"

    def __init__(self, factor: float = 1000.0) -> None:
        self.factor = positive("factor", factor)

    def examples(self, view: View, examples: np.ndarray | None) -> np.ndarray | None:
        """Claim them."""
        if view.own_examples is None:
            return None
        claims = np.clip(np.rint(self.factor * view.own_examples), 1, MOST_EXAMPLES)
        return np.asarray(claims, dtype=np.int64)
