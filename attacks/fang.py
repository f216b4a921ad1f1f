"""Fang's local model poisoning."""

from __future__ import annotations

import math

import numpy as np

from hgobench.lazy import Tensor, torch
from hgobench.parameters import finite, one_of

from .base import Attack, Knowledge, View
from .krum_choice import DENSER, KrumChoice


class Fang(Attack):
    """Directed deviation: against the sign of the honest mean, as far as the rule lets it.

    With s = sign(μ), in terms of gradients (a model that was poisoned by +λ has a gradient of -λ).

    Against ``"trimmed_mean"`` (and the median) each Byzantine worker draws, coordinate by
    coordinate, from beyond the honest values on the wrong side, factor β:
    s < 0: U[max, β·max] if max > 0, else U[max, max/β];
    s >= 0: U[min/β, min] if min > 0, else U[β·min, min].

    Against ``"krum"`` all send -λ·s, λ halved until Krum, told f = b, selects a copy or λ < 1e-5:

        λ_0 = min_i Σ_{n-b-2 nearest honest j} ‖x_i - x_j‖ / ((n-2b-1)·√d) + max_i ‖x_i‖ / √d.

    With partial knowledge the values are drawn from μ and σ of the Byzantine workers' own honest
    gradients: s < 0: U[μ + 3σ, μ + 4σ]; else U[μ - 4σ, μ - 3σ].

    On ragged input max and min are over those that sent the coordinate; for Krum an absent entry
    counts as μ.

    Args:
        rule: ``"trimmed_mean"`` (for the median too) or ``"krum"``.
        knowledge: ``"full"``, or ``"partial"`` (against the trimmed mean).
        factor: β > 1.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages, or, partially, its own gradients; which rule it
    is. With b + 1 honest answers or fewer λ against Krum is max_i ‖x_i‖ / √d.

    Source: Fang, Cao, Jia, Gong, "Local Model Poisoning Attacks to Byzantine-Robust Federated
    Learning", USENIX Security 2020.
    """

    sees: Knowledge = "honest"
    paper = "Fang et al., USENIX Security 2020"
    formula = "U beyond the honest extreme against sign(μ), or -λ·sign(μ) that Krum selects"
    validity = "h > f + 1 honest answers against Krum"

    def __init__(
        self, rule: str = "trimmed_mean", knowledge: str = "full", factor: float = 2.0
    ) -> None:
        self.rule = one_of("rule", rule, "trimmed_mean", "krum")
        self.knowledge = one_of("knowledge", knowledge, "full", "partial")
        self.factor = finite("factor", factor)
        self.colludes = (rule, knowledge) != ("trimmed_mean", "full")
        if rule == "krum":
            self.exempt = {"search_reaches_the_dense_grid": "halves λ, as its source does"}
        if self.factor <= 1:
            raise ValueError(f"factor: {factor!r}; expected a number > 1")
        if knowledge == "partial":
            if rule == "krum":
                raise ValueError("knowledge: 'partial'; expected 'full' against krum")
            self.sees = "own"

    def values(self, view: View) -> Tensor:
        """Deviate."""
        if self.rule == "krum":
            mean = view.mean()
            return self.lam(view) * -mean.sign()
        low, high = self._partial(view) if self.knowledge == "partial" else self._full(view)
        drawn = view.rng.random((view.byzantine, view.dimension), dtype=np.float32)
        return low + torch.from_numpy(drawn).to(low) * (high - low)

    def _partial(self, view: View) -> tuple[Tensor, Tensor]:
        own = view.require_own()
        mean, std = own.mean(dim=0), own.std(dim=0, correction=0)
        near = torch.where(mean < 0, 3.0, -4.0)
        return mean + near * std, mean + (near + 1.0) * std

    def _full(self, view: View) -> tuple[Tensor, Tensor]:
        honest, beta = view.require_honest(), self.factor
        if len(honest) == 0:
            return honest.new_zeros(view.dimension), honest.new_zeros(view.dimension)
        sent = torch.ones_like(honest, dtype=torch.bool) if view.sent is None else view.sent
        most = torch.where(sent, honest, -torch.inf).amax(dim=0)
        least = torch.where(sent, honest, torch.inf).amin(dim=0)
        above = most, torch.where(most > 0, beta * most, most / beta)
        below = torch.where(least > 0, least / beta, beta * least), least
        up = view.mean() < 0
        low, high = torch.where(up, above[0], below[0]), torch.where(up, above[1], below[1])
        unheard = ~sent.any(dim=0)
        return low.masked_fill(unheard, 0.0), high.masked_fill(unheard, 0.0)

    def lam(self, view: View) -> float:
        """Return λ against Krum."""
        apart, b = view.deviations(), view.byzantine
        h, root = len(apart), math.sqrt(view.dimension)
        if h == 0:
            return 0.0
        longest = float((view.centre() + apart).norm(dim=1).max())
        if h <= b + 1:
            return longest / root
        choice = self._choice(view)
        near = choice.sorted[:, : h - 2].sqrt().sum(dim=1)
        lam = float(near.min()) / ((h - b - 1) * root) + longest / root
        while lam >= 1e-5:
            if bool(choice.selects(torch.tensor([lam], dtype=torch.float64), at_least=h)[0]):
                break
            lam /= 2.0
        return lam

    @staticmethod
    def _choice(view: View) -> KrumChoice:
        """Return whether Krum selects -λ·s, as a function of λ."""
        mean = view.centre()
        return KrumChoice(view.deviations(), view.byzantine, -mean, -mean.sign())

    def fraction(self, view: View, per_decade: int = 500) -> float | None:
        """Return λ over the largest of a dense grid that Krum selects; None: there is no search.

        Halving ends anywhere between that and half of it.
        """
        if self.rule != "krum":
            return None
        honest = len(view.deviations())
        if honest <= view.byzantine + 1:
            return 1.0
        most = self._choice(view).largest(honest, DENSER * per_decade)
        return self.lam(view) / most if most > 0 else 1.0
