"""Recall: look at what the server remembers of honest workers, not at this round's answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hgobench.lazy import Tensor, torch

from .base import View
from .heterogeneity import HeterogeneityAttack


class Recall(HeterogeneityAttack):
    """Show the value attack the last value that each honest worker sent of each coordinate.

    That is what a server with ``memory=last`` aggregates: old values lie further apart than those
    of one round, so that an attack which hides in their spread (``recall+alie``) may go further.
    It remembers all that it has seen, in the rounds in which it acts.

    What the attacker needs: all honest messages, of all rounds.
    """

    sees = "honest"
    colludes = False
    stateful = True
    formula = "μ, σ and x_i of the last values that all honest workers sent"
    control = "values"

    def __init__(self) -> None:
        self._last: dict[int, tuple[Tensor, Tensor, int]] = {}  # values, whether sent, length

    def narrow(self, view: View) -> View:
        """Return the view with what is remembered in the place of what is sent."""
        honest, who, lengths = view.require_honest(), view.honest_workers, view.honest_lengths
        assert who is not None
        assert lengths is not None
        for i, (worker, length) in enumerate(zip(who.tolist(), lengths.tolist(), strict=True)):
            values = honest[i].clone()
            sent = torch.ones_like(values, dtype=torch.bool) if view.sent is None else view.sent[i]
            if worker in self._last:
                before, ever, longest = self._last[worker]
                values = torch.where(sent, values, before)
                sent, length = sent | ever, max(length, longest)
            self._last[worker] = values, sent.clone(), length
        if not self._last:
            return view
        held = list(self._last.values())
        present = torch.stack([ever for _, ever, _ in held])
        return replace(
            view,
            honest=torch.stack([last for last, _, _ in held]),
            sent=None if bool(present.all()) else present,
            honest_workers=np.array(list(self._last)),
            honest_lengths=np.array([longest for _, _, longest in held]),
        )
