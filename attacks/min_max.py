"""Min-max: as far away as two honest gradients may be from each other."""

from __future__ import annotations

from hgobench.lazy import Tensor

from .base import View
from .perturbation import Perturbed


class MinMax(Perturbed):
    """All Byzantine workers send μ + γ·p, γ the largest that keeps near to all honest workers.

    No honest x_i is farther from it than the two farthest honest ones are from each other,

        max_i ‖μ + γ·p - x_i‖ <= D = max_{i,j} ‖x_i - x_j‖.

    With a = ‖p‖² and u_i = μ - x_i the largest is known in closed form,

        γ = min_i (-⟨p, u_i⟩ + √(⟨p, u_i⟩² - a·(‖u_i‖² - D²))) / a.

    On ragged input an absent entry counts as μ.

    Args:
        perturbation: p: ``"unit"``: -μ/‖μ‖; ``"std"``: -σ; ``"sign"``: -sign(μ).

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages; not the rule.

    Departs from its source: the paper reports, for each rule and data set, that of the three
    directions which does most harm; here the direction is stated, "unit" by default.

    Source: Shejwalkar, Houmansadr, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks
    and Defenses for Federated Learning", NDSS 2021. The halving search of its code can't go beyond
    twice its start (20), where the unit perturbation allows more; others return points that break
    the constraint.
    """

    colludes = False
    paper = "Shejwalkar, Houmansadr, NDSS 2021"
    formula = "μ + γ·p, the largest γ with max_i ‖μ + γp - x_i‖ <= max_ij ‖x_i - x_j‖"

    def gamma(self, p: Tensor, view: View) -> float:
        """Go as far as the constraint lets."""
        return min_max_gamma(p, view)


def min_max_gamma(p: Tensor, view: View) -> float:
    """Return γ, >= 0, for the direction p, (d,) float64."""
    square, apart = float(p.square().sum()), view.deviations()
    if square == 0.0 or len(apart) < 2:
        return 0.0
    lengths, widest = view.spread()
    along = -(apart @ p)  # ⟨p, u_i⟩
    # The mean is within D of every x_i, so that the root is real but for rounding.
    root = (along.square() - square * (lengths - widest)).clamp_min(0.0).sqrt()
    return max(float(((root - along) / square).min()), 0.0)
