"""The hidden coordinate: all of a norm's leeway in one place."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch
from hgobench.parameters import one_of, whole

from .base import Attack, View
from .krum_choice import KrumChoice
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
        mean, apart = view.mean(), view.deviations()
        j = self.coordinate % view.dimension
        p = torch.zeros_like(mean, dtype=torch.float64)
        p[j] = 1.0 if mean[j] < 0 else -1.0
        if self.accept == "distance":
            gamma = min_max_gamma(p, apart)
        else:
            choice = KrumChoice(apart, view.byzantine, torch.zeros_like(p), p)
            gamma = choice.largest(at_least=len(apart))
        return (view.centre() + gamma * p).to(mean)
