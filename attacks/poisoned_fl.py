"""PoisonedFL: fake workers that pull in one direction for the whole run."""

from __future__ import annotations

import math

from hgobench.lazy import Tensor
from hgobench.parameters import positive, share, whole

from .base import Attack, View

ALIGNED = 2.326  # standard deviations of a fair coin's count: passed by chance in 1 % of cases


class PoisonedFl(Attack):
    """Fake workers agree on random signs s once, and pull the model along them in every round.

    Their update in round k is u_k = c·‖Δ‖·v ⊙ s, with Δ = w_k - w_{k-1} the server's last step and

        v = |Δ - ‖Δ‖/‖u_{k-1}‖·u_{k-1}|, normalised:

    large where the server moved otherwise than they had pulled. They send -u_k/γ, a gradient; in
    the first round nothing is known, and they send 0. Small enough to pass, these updates add up,
    as they never cancel. Every `every` rounds they look whether it works: if no more coordinates
    of the model's move since the last look have the sign s_j than d fair coins would in 99 % of
    cases, they pull more gently, c ← shrink·c, while that is 0.5 or more.

    On ragged input Δ is 0 outside the last block, and they claim the longest honest length.

    Args:
        scale: c at first, > 0.
        every: rounds between two looks, >= 1.
        shrink: in [0, 1].

    Raises:
        ValueError: a parameter is out of its range.

    What the attacker needs: the model that the server sends, and its learning rate γ.

    Source: Xie, Fang, Gong, "Model Poisoning Attacks to Federated Learning via Multi-Round
    Consistency", CVPR 2025.

    Departs from its source: attackers look every 10 rounds instead of every 50, as runs here are
    shorter, and leave out coordinates that have not moved.
    """

    sees = "model"
    colludes = False
    stateful = True
    paper = "Xie et al., CVPR 2025"
    formula = "-c·‖Δ‖·v ⊙ s/γ, v ∝ |Δ - ‖Δ‖/‖u‖·u|, u the last; s = ±1 once"

    def __init__(self, scale: float = 8.0, every: int = 10, shrink: float = 0.7) -> None:
        self.scale, self.every = positive("scale", scale), whole("every", every, least=1)
        self.shrink = share("shrink", shrink)
        self._scale = self.scale
        self._round = 0
        self._last: Tensor | None = None  # u of this round, or of the last in which it was sent
        self._before: Tensor | None = None  # u of the round before that
        self._looked: tuple[int, Tensor] | None = None  # when, and at which model

    def values(self, view: View) -> Tensor:
        """Pull along the signs."""
        model, step = view.require_model(), view.require_last_step().double()
        signs = view.random_signs().to(step)
        self._look(view.round, model, signs)
        if view.round != self._round:  # a server that judges answers one by one asks for several
            self._round, self._before = view.round, self._last
        pulled = step.new_zeros(len(step)) if self._before is None else self._before
        length, before = float(step.norm()), float(pulled.norm())
        apart = (step - pulled * (length / before if before else 0.0)).abs()
        norm = float(apart.norm())
        update = signs * apart * (self._scale * length / norm if norm else 0.0)
        self._last = update
        return (update / -view.learning_rate).to(model)

    def _look(self, k: int, model: Tensor, signs: Tensor) -> None:
        """See whether the model goes along the signs, when it is time."""
        if self._looked is None:
            self._looked = k, model.clone()
            return
        when, then = self._looked
        if k - when < self.every:
            return
        moved = (model - then).double()
        aligned, of = int((moved * signs > 0).sum()), int((moved != 0).sum())
        chance = 0.5 * of + ALIGNED * 0.5 * math.sqrt(of)
        if aligned < chance and self.shrink * self._scale >= 0.5:
            self._scale *= self.shrink
        self._looked = k, model.clone()
