"""FOE with the most harmful ε."""

from __future__ import annotations

from hgobench.lazy import Tensor

from .base import View
from .optimal import Optimal


class OptimalFoe(Optimal):
    """All Byzantine workers send -ε·s·μ with the ε that moves the server's answer most.

    ε = argmax ‖AG(ε) - μ‖₂ over both signs (see `Optimal`); up to 114 calls of the rule per
    round with the default range.

    Args:
        smallest, largest: the range of |ε|, both > 0.
        signs: s: ``"free"``: the same for all coordinates, plus or minus as ε has it;
            ``"random"``: drawn once, the same in every round of a run.
        calls: how often the rule may be called in a round, >= 4; None: as often as pays.
        start: where a round's search starts: ``"grid"``, or ``"last"``, the last round's best.

    Raises:
        ValueError: a parameter is out of its range, or no such word, or start="last" without calls.

    What the attacker needs: all honest messages, the server's rule, its state and its coins.

    Source: the line search of Allouah et al., "Fixing by Mixing: A Recipe for Optimal Byzantine ML
    under Heterogeneity", AISTATS 2023; the attack is that of Xie et al., UAI 2020.
    """

    paper = "Allouah et al., AISTATS 2023"
    formula = "-ε·s·μ, s = ±1, ε = argmax ‖AG - μ‖"

    def crafted(self, view: View, x: float) -> Tensor:
        """Scale the honest mean by -x."""
        return -x * self.signed(view, view.mean())
