"""Attacks tailored to one aggregation rule (AGR)."""

from __future__ import annotations

from collections.abc import Callable

from hgobench.aggregators import TrimmedMean
from hgobench.lazy import Tensor, torch
from hgobench.parameters import one_of

from .base import View
from .krum_choice import DENSER, STEPS, KrumChoice
from .perturbation import Perturbed, direction
from .search import log_grid, maximise


class AgrTailored(Perturbed):
    """All Byzantine workers send μ + γ·p with the γ that is best against a rule that they know.

    Against ``"krum"``: the largest γ with which Krum, told f = b, selects a copy. Against
    ``"multi_krum"``: with which all b copies are among the n - b - 2 best. Against
    ``"trimmed_mean"``: the γ that maximises ‖trimmed mean - μ‖₂, looked for over all decades.

    The attackers work the rule out by themselves; whether the server uses it is another matter.
    On ragged input an absent entry counts as μ.

    Args:
        rule: ``"krum"``, ``"multi_krum"`` or ``"trimmed_mean"`` (for the median too).
        perturbation: p: ``"unit"``: -μ/‖μ‖; ``"std"``: -σ; ``"sign"``: -sign(μ).

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages, and which rule the server uses. With b honest
    workers or fewer to look at nothing is tailored: it sends μ.

    Departs from its source: the paper reports, for each rule and data set, that of the three
    directions which does most harm; here the direction is stated, "unit" by default.

    Source: Shejwalkar, Houmansadr, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks
    and Defenses for Federated Learning", NDSS 2021. Its code starts the search for Krum at γ = 3
    and stops that for the trimmed mean at the first local maximum.
    """

    paper = "Shejwalkar, Houmansadr, NDSS 2021"
    formula = "μ + γ·p, the largest γ that Krum selects, or argmax_γ ‖trimmed mean - μ‖"
    validity = "h > f + 1 honest answers"

    def __init__(self, rule: str = "krum", perturbation: str = "unit") -> None:
        self.rule = one_of("rule", rule, "krum", "multi_krum", "trimmed_mean")
        super().__init__(perturbation)

    def gamma(self, p: Tensor, view: View) -> float:
        """Go as far as the rule lets."""
        apart, byzantine = view.deviations(), view.byzantine
        if len(apart) <= byzantine + 1 or not bool(p.any()):
            return 0.0
        if self.rule == "trimmed_mean":
            least, most = _range(p, apart)
            return maximise(_moved(p, apart, byzantine), least, most, signs="plus").argument
        return self._selected(p, apart, byzantine)

    def _selected(self, p: Tensor, apart: Tensor, byzantine: int, steps: int = STEPS) -> float:
        """Return the largest γ that is selected, as far as so many steps show."""
        # Of Multi-Krum's n - b - 2 best all but b may be honest ones.
        honest = 0 if self.rule == "krum" else max(len(apart) - 2 - byzantine, 0)
        choice = KrumChoice(apart, byzantine, torch.zeros_like(p), p)
        return choice.largest(len(apart) - honest, steps)

    def fraction(self, view: View, per_decade: int = 500) -> float:
        """Return γ, or what the trimmed mean is moved by, over the largest of a dense grid's."""
        p, apart, b = direction(self.perturbation, view), view.deviations(), view.byzantine
        gamma = self.gamma(p, view)
        if gamma == 0.0:
            return 1.0
        if self.rule != "trimmed_mean":
            return gamma / (self._selected(p, apart, b, DENSER * per_decade) or gamma)
        moved, (least, most) = _moved(p, apart, b), _range(p, apart)
        grid = log_grid(least, most, per_decade)
        return moved(gamma) / (max(moved(float(x)) for x in grid[grid > 0]) or 1.0)


def _range(p: Tensor, apart: Tensor) -> tuple[float, float]:
    """Return between which γ the trimmed mean moves."""
    widest = float(apart.abs().max()) or 1.0
    least = 1e-3 * widest / float(p.abs().max())
    return least, min(10.0 * widest / float(p.abs()[p != 0].min()), 1e9 * least)


def _moved(p: Tensor, apart: Tensor, byzantine: int) -> Callable[[float], float]:
    """Return how far b copies of γ·p move the trimmed mean from μ, as a function of γ."""
    rule = TrimmedMean(f=byzantine)

    def moved(gamma: float) -> float:
        copies = (gamma * p).expand(byzantine, -1)
        return float(rule(torch.cat((apart, copies))).norm())

    return moved
