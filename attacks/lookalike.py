"""Lookalike: hide among the slow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hgobench.lazy import torch
from hgobench.parameters import finite

from .base import View
from .heterogeneity import HeterogeneityAttack


class Lookalike(HeterogeneityAttack):
    """Look like slow honest workers: their lengths, and the statistics of what they send.

    The model is the slowest `share` of the honest workers that answer. Each Byzantine worker
    claims the length of one of them, and the value attack behind it sees them alone: its μ and σ
    are theirs, among as many workers as they and the Byzantine ones are. The block shrinks to what
    the slow can send, the b Byzantine workers meet in its first coordinates, and no filter on speed
    tells them from devices that can't do better.

    Args:
        share: of the honest workers that answer, 0 < share <= 1; one at least.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages and their lengths.
    """

    sees = "honest"
    columnwise = True
    formula = "lengths, μ and σ of the slowest share of honest workers"
    control = "values, lengths"

    def __init__(self, share: float = 0.3) -> None:
        self.share = finite("share", share, least=0.0)
        if not 0 < self.share <= 1:
            raise ValueError(f"share: {share!r}; expected a number in (0, 1]")

    def slow(self, view: View) -> np.ndarray:
        """Return the rows of the slowest honest workers, the slowest first."""
        lengths = view.honest_lengths
        if lengths is None:
            raise PermissionError("the attack looks at honest lengths; its `sees` forbids it")
        count = max(round(self.share * len(lengths)), 1)
        return np.argsort(lengths, kind="stable")[:count]

    def narrow(self, view: View) -> View:
        """Show the value attack the slow ones alone."""
        chosen = self.slow(view)
        if len(chosen) == 0 or view.honest is None:
            return view
        assert view.honest_lengths is not None
        assert view.honest_workers is not None
        rows = torch.from_numpy(chosen)
        return replace(
            view,
            sampled=len(chosen) + view.byzantine,
            honest=view.honest[rows],
            sent=None if view.sent is None else view.sent[rows],
            honest_workers=view.honest_workers[chosen],
            honest_lengths=view.honest_lengths[chosen],
            longest=int(view.honest_lengths[chosen].max()),
        )

    def lengths(self, view: View, lengths: np.ndarray) -> np.ndarray:
        """Claim what the slow ones send, one after the other."""
        chosen = self.slow(view)
        if len(chosen) == 0:
            return np.zeros(view.byzantine, dtype=np.int64)
        assert view.honest_lengths is not None
        return view.claim(np.resize(view.honest_lengths[chosen], view.byzantine))
