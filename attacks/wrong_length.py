"""Wrong lengths: claims that no worker could make."""

from __future__ import annotations

import numpy as np

from hgobench.parameters import one_of

from .base import View
from .heterogeneity import HeterogeneityAttack


class WrongLength(HeterogeneityAttack):
    """Claim a length that does not exist, as a device with a broken counter would.

    The server bounds it (see `hgobench.protocol.deliver`) and counts the answer as malformed: what
    is too long arrives as a whole gradient, or as long as attackers may claim; what is negative
    does not arrive.

    Args:
        claim: ``"long"``: one place more than there are; ``"negative"``: -1; ``"both"``: by
            workers with even and with odd numbers.

    Raises:
        ValueError: no such word.

    What the attacker needs: nothing.
    """

    columnwise = True
    colludes = False
    formula = "length P + 1, or -1"
    exempt = {"message_fits_the_round": "claims lengths that no worker could have sent"}

    def __init__(self, claim: str = "long") -> None:
        self.claim = one_of("claim", claim, "long", "negative", "both")

    def lengths(self, view: View, lengths: np.ndarray) -> np.ndarray:
        """Claim what there is not."""
        negative = {"long": False, "negative": True, "both": view.workers % 2 == 1}[self.claim]
        chosen = np.where(negative, -1, view.places + 1)
        return np.full(view.byzantine, chosen, dtype=np.int64)
