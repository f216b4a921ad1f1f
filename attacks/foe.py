"""Fall of Empires, also called inner product manipulation (IPM)."""

from __future__ import annotations

from hgobench.lazy import Tensor
from hgobench.parameters import finite

from .base import Attack, View


class Foe(Attack):
    """All Byzantine workers send -ε·μ, μ the mean of what honest workers send.

    Averaging over n workers, f of them Byzantine, turns into ascent when ε > (n - f)/f. Small ε
    (below 1) is aimed at rules of the Krum and median kind instead.

    Args:
        epsilon: ε, in units of μ, >= 0; 10 is the HGO paper's.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages.

    Departs from its source: the paper chooses ε for the rule that it attacks and has no default.
    Other packages start at 1 or 2.

    Source: Xie, Koyejo, Gupta, "Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product
    Manipulation", UAI 2020.
    """

    sees = "honest"
    columnwise = True
    colludes = False
    paper = "Xie et al., UAI 2020"
    formula = "-ε·μ"
    validity = "turns an average into ascent if ε > (n-f)/f"

    def __init__(self, epsilon: float = 10.0) -> None:
        self.epsilon = finite("epsilon", epsilon, least=0.0)

    def values(self, view: View) -> Tensor:
        """Scale the honest mean by -ε."""
        return -self.epsilon * view.mean()
