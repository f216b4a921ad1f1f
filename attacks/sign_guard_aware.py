"""An attack on rules that look at the signs of a gradient and at its length."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch

from .base import Attack, View


class SignGuardAware(Attack):
    """All Byzantine workers send noise with the sign statistics and the length of an honest vector.

    It has as many positive, negative and zero coordinates as μ, at random places, magnitudes from
    U(0, 1), and is scaled to the median length of the honest vectors: SignGuard's clusters of sign
    fractions and its bounds on the length find nothing, and no information is left.

    On ragged input the signs are counted over the coordinates that somebody honest sends; an
    absent entry counts as 0 in a length.

    What the attacker needs: all honest messages.

    Departs from its source: that does not scale the vector.

    Source: the attack on SignGuard in the Blades suite, Li, Ngai, Voigt, "Blades: A Unified
    Benchmark Suite for Byzantine Attacks and Defenses in Federated Learning", IoTDI 2024.
    SignGuard: Xu, Huang, Song, Lan, ICDCS 2022.
    """

    sees = "honest"
    colludes = False
    paper = "Li et al., IoTDI 2024 (Blades)"
    formula = "M·v/‖v‖, v the signs of μ at random places times U(0, 1), M the median ‖x_i‖"

    def values(self, view: View) -> Tensor:
        """Shuffle the signs."""
        mean, honest = view.mean(), view.require_honest()
        if len(honest) == 0:
            return mean
        heard = (view.heard() > 0).nonzero()[:, 0]
        order = torch.from_numpy(view.rng.permutation(len(heard))).to(mean.device)
        size = torch.from_numpy(view.rng.random(len(heard))).to(mean)
        vector = torch.zeros_like(mean)
        vector[heard] = mean[heard][order].sign() * size
        length = float(vector.double().norm())
        median = float(honest.double().norm(dim=1).median())
        return vector * (median / length if length > 0 else 0.0)
