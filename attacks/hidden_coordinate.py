"""The hidden coordinate: all of a norm's leeway in one place."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch
from hgobench.parameters import one_of, whole

from .base import Attack, View
from .krum_choice import DENSER, STEPS, KrumChoice
from .min_max import min_max_gamma


class HiddenCoordinate(Attack):
    """All Byzantine workers send μ but for one coordinate j, which is as wrong as goes unnoticed.

    Honest gradients differ by √d times the spread of a coordinate. A rule that looks at distances
    between whole vectors lets an attacker spend all of that in one coordinate: μ - γ·sign(μ_j)·e_j.

    On ragged input an absent entry counts as μ; in rounds whose block lacks j nothing happens.

    Args:
        coordinate: j, modulo d; -1: the last one (a bias, in a linear model).
        accept: what γ is the largest for: ``"krum"``: Krum, told f = b, selects a copy;
            ``"distance"``: no honest worker is farther away than the farthest two are apart
            (`MinMax`).

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages. For Krum more than b + 1 honest answers, else it
    sends μ.

    Source: El Mhamdi, Guerraoui, Rouault, "The Hidden Vulnerability of Distributed Learning in
    Byzantium", ICML 2018.
    """

    sees = "honest"
    paper = "El Mhamdi et al., ICML 2018"
    formula = "μ - γ·sign(μ_j)·e_j, the largest γ that is accepted"
    validity = "h > f + 1 honest answers for krum"

    def __init__(self, coordinate: int = -1, accept: str = "krum") -> None:
        self.coordinate = whole("coordinate", coordinate)
        self.accept = one_of("accept", accept, "krum", "distance")
        self.colludes = accept == "krum"  # copies stand up for each other

    def values(self, view: View) -> Tensor:
        """Spend everything in one coordinate."""
        p = self._along(view)
        gamma = self._gamma(view, p)
        return (view.centre() + gamma * p).to(view.mean())

    def _along(self, view: View) -> Tensor:
        """Return -sign(μ_j)·e_j, (d,) float64."""
        mean, j = view.mean(), self.coordinate % view.dimension
        p = torch.zeros_like(mean, dtype=torch.float64)
        p[j] = 1.0 if mean[j] < 0 else -1.0
        return p

    def _gamma(self, view: View, p: Tensor, steps: int = STEPS) -> float:
        if self.accept == "distance":
            return min_max_gamma(p, view)
        apart = view.deviations()
        choice = KrumChoice(apart, view.byzantine, torch.zeros_like(p), p)
        return choice.largest(len(apart), steps)

    def fraction(self, view: View, per_decade: int = 500) -> float | None:
        """Return γ over the largest of a dense grid that Krum selects; None: γ has a formula."""
        if self.accept == "distance":
            return None
        p = self._along(view)
        gamma = self._gamma(view, p)
        return gamma / (self._gamma(view, p, DENSER * per_decade) or gamma) if gamma else 1.0
