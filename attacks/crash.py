"""Crash: the Byzantine workers stop working."""

from __future__ import annotations

import numpy as np

from hgobench.lazy import Tensor, torch
from hgobench.parameters import one_of

from .base import Attack, View


class Crash(Attack):
    """The Byzantine workers send nothing, or zeros.

    Args:
        send: ``"nothing"``: they never answer, so that fewer workers reach the quorum;
            ``"zeros"``: they answer with zero vectors as long as the longest honest answer (the
            variant in the HGO authors' experiments).

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: nothing. It is also what a device does that breaks.

    Source: the fail-stop model; zeros as in the experiments of the HGO paper.
    """

    sees = "nothing"
    colludes = False
    paper = "fail-stop; HGO 2022 for the zeros"
    formula = "nothing, or 0"
    control = "whether they answer"

    def __init__(self, send: str = "nothing") -> None:
        self.send = one_of("send", send, "nothing", "zeros")

    def values(self, view: View) -> Tensor:
        """Return zeros; with `send` "nothing" no one reads them."""
        return torch.zeros(view.dimension)

    def lengths(self, view: View) -> np.ndarray:
        """Return 0 for silence, else the longest honest length."""
        if self.send == "nothing":
            return np.zeros(view.byzantine, dtype=np.int64)
        return super().lengths(view)
