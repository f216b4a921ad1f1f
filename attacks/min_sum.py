"""Min-sum: as far away from all honest gradients together as the most remote one is."""

from __future__ import annotations

from hgobench.lazy import Tensor

from .base import View
from .perturbation import Perturbed


class MinSum(Perturbed):
    """All Byzantine workers send μ + γ·p, γ the largest that is no outlier by summed distances.

    Its squared distances to the honest x_i sum up to no more than those of the most remote x_i,

        Σ_i ‖μ + γ·p - x_i‖² <= S = max_i Σ_j ‖x_i - x_j‖².

    With a = ‖p‖² and h honest workers the largest is known in closed form,

        γ = √((S - Σ_i ‖μ - x_i‖²) / (h·a)) = max_i ‖x_i - μ‖ / ‖p‖.

    On ragged input an absent entry counts as μ.

    Args:
        perturbation: p: ``"unit"``: -μ/‖μ‖; ``"std"``: -σ; ``"sign"``: -sign(μ).

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages; not the rule.

    Departs from its source: the paper reports, for each rule and data set, that of the three
    directions which does most harm; here the direction is stated, "unit" by default.

    Source: Shejwalkar, Houmansadr, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks
    and Defenses for Federated Learning", NDSS 2021. Its code bounds by the least such sum instead.
    """

    colludes = False
    paper = "Shejwalkar, Houmansadr, NDSS 2021"
    formula = "μ + γ·p, the largest γ with Σ_i ‖μ + γp - x_i‖² <= max_i Σ_j ‖x_i - x_j‖²"

    def gamma(self, p: Tensor, view: View) -> float:
        """Go as far as the constraint lets."""
        return min_sum_gamma(p, view.deviations())


def min_sum_gamma(p: Tensor, apart: Tensor) -> float:
    """Return γ, >= 0, for the direction p (d,) and the deviations x_i - μ (h, d), in float64.

    As the deviations sum to 0, Σ_j ‖x_i - x_j‖² = h·‖x_i - μ‖² + Σ_j ‖x_j - μ‖².
    """
    square, h = float(p.square().sum()), len(apart)
    if square == 0.0 or h < 2:
        return 0.0
    return float((apart.square().sum(dim=1).max() / square).sqrt())
