"""Neurotoxin: attack only where honest updates seldom go."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch
from hgobench.parameters import share

from .base import View
from .heterogeneity import HeterogeneityAttack


class Neurotoxin(HeterogeneityAttack):
    """Send nothing of the attack behind it in the coordinates that the server moves most.

    With m_j the size of the server's last step that moved coordinate j, the share `avoid` of all d
    coordinates with the largest m_j is sent as 0. What is written into the others lasts, as honest
    workers do not write there. A coordinate that has not moved yet is never avoided.

    On ragged input, where a step moves a block alone, m_j is that of the last block with j in it,
    so that the choice of coordinates does not go by the draw of the block; where all move in every
    round that is the last step, as in the source. Lengths are left to the attack behind it.

    Args:
        avoid: the share of coordinates, in [0, 1].

    Raises:
        ValueError: not such a number.

    What the attacker needs: the model that the server sends.

    Source: Zhang, Panda, Song, Yang, Mahoney, Mittal, Ramchandran, Gonzalez, "Neurotoxin: Durable
    Backdoors in Federated Learning", ICML 2022.

    Departs from its source: one gradient, or the move of all local steps, is projected; there each
    local step is.
    """

    sees = "model"
    colludes = False
    stateful = True
    paper = "Zhang et al., ICML 2022"
    formula = "0 in the `avoid`·d coordinates with the largest |w_k - w_{k-1}|"
    control = "values"

    def __init__(self, avoid: float = 0.05) -> None:
        self.avoid = share("avoid", avoid)
        self._moved: Tensor | None = None

    def values(self, view: View, values: Tensor) -> Tensor:
        """Send them where the server moves little."""
        step = view.require_last_step().abs()
        moved = step if self._moved is None else torch.where(step > 0, step, self._moved)
        self._moved = moved
        avoided = torch.zeros_like(moved, dtype=torch.bool)
        avoided[torch.topk(moved, round(self.avoid * len(moved))).indices] = True
        return values.masked_fill(avoided & (moved > 0), 0.0)
