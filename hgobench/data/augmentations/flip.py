"""Images turned left to right."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Dataset
from hgobench.lazy import Tensor, torch
from hgobench.parameters import share

from .base import Augmentation, expect_images


class Flip(Augmentation):
    """Each image is mirrored, left to right, with probability p.

    Not for digits and letters, which then mean something else.

    Args:
        p: the probability, 0..1.

    Example:
        >>> x = torch.tensor([[[[1.0, 2.0]]]])
        >>> Flip(p=1.0)(x, np.random.default_rng(0)).tolist()
        [[[[2.0, 1.0]]]]

    Source: Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
    Networks", NeurIPS 2012.
    """

    paper = "Krizhevsky et al., NeurIPS 2012"
    formula = "mirrored, left to right, with probability p"
    validity = "images; 0 <= p <= 1"

    def __init__(self, p: float = 0.5) -> None:
        self.p = share("p", p)

    def fits(self, data: Dataset) -> None:
        """Refuse what are no images."""
        expect_images("flip", data)

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Mirror some of the images."""
        turned = torch.from_numpy(rng.random(len(x)) < self.p).to(x.device)
        return torch.where(turned[:, None, None, None], x.flip(-1), x)
