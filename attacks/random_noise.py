"""Random noise instead of gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hgobench.parameters import finite

from .base import Attack, View


class RandomNoise(Attack):
    """Each Byzantine worker sends its own draw from N(0, scale²) for every coordinate.

    Args:
        scale: the standard deviation, in the gradient's units, >= 0.

    What the attacker needs: nothing.

    Source: the Gaussian attack of Blanchard et al., NeurIPS 2017.
    """

    sees = "nothing"
    paper = "Blanchard et al., NeurIPS 2017"
    formula = "N(0, scale²) per coordinate"

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = finite("scale", scale, least=0.0)

    def values(self, view: View) -> Tensor:
        """Draw."""
        shape = (view.byzantine, view.dimension)
        return torch.from_numpy(self.scale * view.rng.standard_normal(shape, dtype=np.float32))
