"""Tail only: honest where many are heard, poisonous where few are."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch
from hgobench.parameters import finite

from .base import Attack, View


class TailOnly(Attack):
    """All send the honest mean where many honest workers send, and its reverse where few do.

    Coordinate j of it is μ_j if at least half of the h honest workers that answer sent it,
    else -strength·μ_j. A rule that judges whole workers by the part that most of them share, finds
    nothing to blame; in the tail it has few honest workers to hold against the attackers. Where all
    honest answers are whole, nothing is attacked.

    Args:
        strength: in units of μ, >= 0.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages.
    """

    sees = "honest"
    columnwise = True
    colludes = False
    paper = "hgobench"
    formula = "μ where at least h/2 honest send, else -strength·μ"

    def __init__(self, strength: float = 3.0) -> None:
        self.strength = finite("strength", strength, least=0.0)

    def values(self, view: View) -> Tensor:
        """Reverse the honest mean in the tail."""
        mean = view.mean()
        many = 2 * view.heard() >= len(view.require_honest())
        return torch.where(many, mean, -self.strength * mean)
