"""Random noise instead of gradients."""

from __future__ import annotations

import numpy as np

from hgobench.lazy import Tensor, torch
from hgobench.parameters import finite, one_of

from .base import Attack, View


class RandomNoise(Attack):
    """Each Byzantine worker sends its own draw for every coordinate.

    Args:
        scale: in the gradient's units, >= 0.
        distribution: ``"normal"``: N(0, scale²); ``"uniform"``: U(-scale, scale).

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: nothing.

    Departs from its source: its standard deviation is 200; here it is 1 by default, a vector of
    length √d or so.

    Source: the Gaussian attack of Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with
    Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS 2017.
    """

    sees = "nothing"
    colludes = False
    paper = "Blanchard et al., NeurIPS 2017"
    formula = "N(0, scale²) or U(-scale, scale) per coordinate"

    def __init__(self, scale: float = 1.0, distribution: str = "normal") -> None:
        self.scale = finite("scale", scale, least=0.0)
        self.distribution = one_of("distribution", distribution, "normal", "uniform")

    def values(self, view: View) -> Tensor:
        """Draw."""
        shape = (view.byzantine, view.dimension)
        if self.distribution == "normal":
            drawn = view.rng.standard_normal(shape, dtype=np.float32)
        else:
            drawn = 2.0 * view.rng.random(shape, dtype=np.float32) - 1.0
        return torch.from_numpy(self.scale * drawn)
