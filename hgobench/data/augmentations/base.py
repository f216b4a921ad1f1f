"""The base class of augmentations, and several of them in a row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from hgobench.data.base import Dataset
from hgobench.errors import InputError
from hgobench.lazy import Tensor, torch


class Augmentation(ABC):
    """A random change of examples that keeps their labels.

    It is applied to every minibatch that a worker draws, Byzantine workers' too, and to nothing
    else: neither to what a model is evaluated on nor to the server's own examples. Its random
    numbers are keyed by the scenario's seed, the round, the minibatch and the worker.

    A subclass defines `__call__`, and `fits` if not all data will do.

    Attributes:
        paper, formula, validity: what tables say of it.
        exempt: laws of `hgobench.testing` that its definition rules out, with the reason.

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
    exempt: Mapping[str, str] = {}

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


def wrong_examples(seen: object, x: Tensor, vocabulary: int | None = None) -> str:
    """Say what is wrong with what an augmentation returned; empty: nothing.

    Args:
        seen: what it returned.
        x: the examples that it was given.
        vocabulary: of the data, if they are sequences of integers.

    >>> wrong_examples(torch.zeros(1, 2), torch.zeros(3, 2))
    'returned torch.float32 (1, 2); expected torch.float32 (3, 2)'
    """
    tensor = isinstance(seen, torch.Tensor)
    if not isinstance(seen, torch.Tensor) or (seen.shape, seen.dtype) != (x.shape, x.dtype):
        saw = f"{seen.dtype} {tuple(seen.shape)}" if tensor else type(seen).__name__  # type: ignore[attr-defined]
        return f"returned {saw}; expected {x.dtype} {tuple(x.shape)}"
    if not torch.isfinite(seen).all():
        return "returned features that are not finite"
    outside = vocabulary is not None and (seen < 0) | (seen >= vocabulary) | (seen != seen.floor())
    if vocabulary is not None and bool(torch.as_tensor(outside).any()):
        return (
            f"returned features outside the vocabulary; expected integers in 0 .. {vocabulary - 1}"
        )
    return ""


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
