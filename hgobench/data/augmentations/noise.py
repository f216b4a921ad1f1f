"""Features with noise."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Dataset
from hgobench.errors import InputError
from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive

from .base import Augmentation


class Noise(Augmentation):
    """N(0, σ²) is added to each feature, anew whenever an example is drawn.

    Args:
        sigma: σ in the features' units, > 0.

    Example:
        >>> x = Noise(sigma=2.0)(torch.zeros(1, 10_000), np.random.default_rng(0))
        >>> round(float(x.std()), 1)
        2.0

    Source: Bishop, "Training with Noise is Equivalent to Tikhonov Regularization", Neural
    Computation 7(1), 1995.
    """

    paper = "Bishop, Neural Computation 1995"
    formula = "x + N(0, σ²)"
    validity = "data that are no sequences; sigma > 0"

    def __init__(self, sigma: float = 0.1) -> None:
        self.sigma = positive("sigma", sigma)

    def fits(self, data: Dataset) -> None:
        """Refuse sequences of integers."""
        if data.vocabulary is not None:
            raise InputError(
                f"augment: noise: the data are sequences of integers below {data.vocabulary:,}, "
                "of which noise makes others; use a function of your own"
            )

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Add the noise."""
        noise = rng.standard_normal(tuple(x.shape), np.float32)
        return x + torch.from_numpy(noise).to(x.device) * self.sigma
