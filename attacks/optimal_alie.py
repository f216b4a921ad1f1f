"""ALIE with the most harmful z."""

from __future__ import annotations

from hgobench.lazy import Tensor

from .base import View
from .optimal import Optimal


class OptimalAlie(Optimal):
    """All Byzantine workers send μ - z·s·σ with the z that moves the server's answer most.

    z = argmax ‖AG(z) - μ‖₂ over both signs (see `Optimal`); up to 114 calls of the rule per
    round with the default range.

    Args:
        smallest, largest: the range of |z|, both > 0.
        signs: s: ``"free"``: the same for all coordinates, plus or minus as z has it;
            ``"random"``: drawn once, the same in every round of a run (see `Alie`).
        calls: how often the rule may be called in a round, >= 4; None: as often as pays.
        start: where a round's search starts: ``"grid"``, or ``"last"``, the last round's best.

    Raises:
        ValueError: a parameter is out of its range, or no such word, or start="last" without calls.

    What the attacker needs: all honest messages, the server's rule, its state and its coins.

    Source: the line search of Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, "Fixing by
    Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity", AISTATS 2023; the attack is that
    of Baruch et al., NeurIPS 2019. One-sided searches that halve their step reach 0.44 to 0.78 of
    what there is to reach on some rules.
    """

    paper = "Allouah et al., AISTATS 2023"
    formula = "μ - z·s·σ, s = ±1, z = argmax ‖AG - μ‖"

    def crafted(self, view: View, x: float) -> Tensor:
        """Deviate by x standard deviations."""
        return view.mean() - x * self.signed(view, view.std())
