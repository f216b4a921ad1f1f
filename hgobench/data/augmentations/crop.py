"""Images cut out of larger ones."""

from __future__ import annotations

import numpy as np

from hgobench.data.base import Dataset
from hgobench.errors import InputError
from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .base import Augmentation, expect_images


class Crop(Augmentation):
    """Each image gets a border of zeros, and a random window of the former size is cut out of it.

    This is a shift by up to `pad` pixels in each direction, all alike probable.

    Args:
        pad: the border's width in pixels, >= 1, and at most the images' smaller side.

    Example:
        >>> x = torch.ones(1, 1, 2, 2)
        >>> Crop(pad=1)(x, np.random.default_rng(1)).shape
        torch.Size([1, 1, 2, 2])

    Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016 (4 pixels
    on CIFAR-10).
    """

    paper = "He et al., CVPR 2016"
    formula = "shifted by (a, b) from {-pad, .., pad}², zeros beyond the edge"
    validity = "images; 1 <= pad <= their side"

    def __init__(self, pad: int = 4) -> None:
        self.pad = whole("pad", pad, least=1)

    def fits(self, data: Dataset) -> None:
        """Refuse what are no images, and those that are smaller than the border is wide."""
        expect_images("crop", data)
        assert data.train.image is not None
        height, width = data.train.image[-2:]
        if self.pad > min(height, width):
            raise InputError(
                f"augment: crop: pad: {self.pad}; expected at most {min(height, width)}, as the "
                f"images are {height} x {width}"
            )

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Cut a window out of each image with its border."""
        (count, channels, height, width), pad = x.shape, self.pad
        start = rng.integers(0, 2 * pad + 1, (count, 2))
        padded = torch.nn.functional.pad(x, (pad, pad, pad, pad))
        rows = torch.from_numpy(start[:, :1] + np.arange(height)).to(x.device)
        columns = torch.from_numpy(start[:, 1:] + np.arange(width)).to(x.device)
        which = torch.arange(count, device=x.device)[:, None, None, None]
        channel = torch.arange(channels, device=x.device)[:, None, None]
        return padded[which, channel, rows[:, None, :, None], columns[:, None, None, :]]
