"""Sign flip: ascent instead of descent."""

from __future__ import annotations

from hgobench.lazy import Tensor
from hgobench.parameters import finite, one_of

from .base import Attack, Knowledge, View


class SignFlip(Attack):
    """Each Byzantine worker sends -scale · g.

    Args:
        of: ``"own"``: g is its own honest gradient, computed in full whatever its device;
            ``"mean"``: g is μ, the mean of what honest workers send.
        scale: how much larger, >= 0 (no unit).

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: its own data; with ``"mean"`` all honest messages. For larger ε and
    the analysis see `Foe`.

    Source: Li, Xu, Chen, Giannakis, Ling, "RSA: Byzantine-Robust Stochastic Aggregation Methods
    for Distributed Learning from Heterogeneous Datasets", AAAI 2019.
    """

    sees: Knowledge = "honest"
    columnwise = True
    colludes = False
    paper = "Li et al., AAAI 2019"
    formula = "-scale · g_own, or -scale · μ"

    def __init__(self, of: str = "own", scale: float = 1.0) -> None:
        self.of = one_of("of", of, "own", "mean")
        if of == "own":
            self.sees = "own"
        self.scale = finite("scale", scale, least=0.0)

    def values(self, view: View) -> Tensor:
        """Flip the chosen gradient."""
        return -self.scale * (view.require_own() if self.of == "own" else view.mean())
