"""Flood: enlarge the block beyond what honest workers can fill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hgobench.kernels.arrays import zero_where_false
from hgobench.lazy import torch

from .base import View
from .heterogeneity import HeterogeneityAttack


class Flood(HeterogeneityAttack):
    """Pretend to be powerful devices: claim the full length.

    The block then ends where the (v - b)-th longest honest answer does. With b < v it is no longer
    than the longest honest answer, and every coordinate is heard from some honest worker. With
    b >= v, that is a server that believes in fewer Byzantine workers than it sampled, it is
    everything: what no honest worker sends, the Byzantine ones alone decide. There their own
    honest gradients, computed in full, stand in for the honest ones that a value attack looks at.

    What the attacker needs: all honest messages and its own gradients.
    """

    sees = "honest"
    columnwise = True
    formula = "length P; own gradients stand in where nobody honest is heard"

    def narrow(self, view: View) -> View:
        """Use own gradients for coordinates that no honest worker sends."""
        if view.own is None or view.honest is None:
            return view
        unheard = view.heard() == 0
        if not bool(unheard.any()):
            return view
        mine = unheard.expand(view.byzantine, -1)
        sent = torch.ones_like(view.honest, dtype=torch.bool) if view.sent is None else view.sent
        lengths, workers = view.honest_lengths, view.honest_workers
        assert lengths is not None
        assert workers is not None
        return replace(
            view,
            honest=torch.cat((view.honest, zero_where_false(view.own, mine))),
            sent=torch.cat((sent, mine)),
            honest_workers=np.concatenate((workers, view.workers)),
            honest_lengths=np.concatenate((lengths, np.full(view.byzantine, view.places))),
            longest=view.places,
        )

    def lengths(self, view: View, lengths: np.ndarray) -> np.ndarray:
        """Claim everything."""
        return view.claim(view.places)
