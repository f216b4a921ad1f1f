"""The base class of augmentations, and several of them in a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from hgobench.data.base import Dataset
from hgobench.errors import InputError
from hgobench.lazy import Tensor


class Augmentation(ABC):
    """A random change of examples that keeps their labels.

    It is applied to every minibatch that a worker draws, Byzantine workers' too, and to nothing
    else: neither to what a model is evaluated on nor to the server's own examples. Its random
    numbers are keyed by the scenario's seed, the round, the minibatch and the worker.

    A subclass defines `__call__`, and `fits` if not all data will do.

    Example:
        >>> class Negative(Augmentation):
        ...     def __call__(self, x, rng):
        ...         return -x
        >>> import torch
        >>> Negative()(torch.ones(1, 2), np.random.default_rng(0))
        tensor([[-1., -1.]])
    """

    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    validity: ClassVar[str] = "any data"

    def fits(self, data: Dataset) -> None:
        """Raise InputError if the data are not of the kind that it can change."""
        return

    @abstractmethod
    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Return a worker's examples, changed.

        Args:
            x: the features of s examples: (s, channels, height, width) if they are images, else
                (s, p); float32. It may be overwritten.
            rng: for all random numbers.

        Returns:
            As many of the same shape and type, finite.
        """


class Nothing(Augmentation):
    """No augmentation: workers learn from their examples as they are.

    Example:
        >>> Nothing()("x", np.random.default_rng(0))
        'x'
    """

    paper = "baseline"
    formula = "x"

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the examples."""
        return x


class Chain(Augmentation):
    """Augmentations one after the other.

    Args:
        made_of: in their order.
    """

    def __init__(self, made_of: Sequence[Augmentation]) -> None:
        self.made_of = tuple(made_of)

    def fits(self, data: Dataset) -> None:
        """Ask each of them."""
        for step in self.made_of:
            step.fits(data)

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Apply them in turn."""
        for step in self.made_of:
            x = step(x, rng)
        return x


def chained(steps: list[Augmentation], last: Augmentation) -> Augmentation:
    """Return augmentations one after the other.

    Raises:
        InputError: one of them is ``none``.
    """
    every = [*steps, last]
    if any(isinstance(step, Nothing) for step in every):
        raise InputError("augment: 'none' stands alone; expected augmentations at both sides of +")
    return Chain(every)


def expect_images(name: str, data: Dataset) -> None:
    """Refuse data that are no images.

    Raises:
        InputError: naming the augmentation.
    """
    if data.train.image is None:
        raise InputError(
            f"augment: {name}: the data are no images (they have {data.features} features without "
            "height and width); use noise, or a function of your own"
        )
