"""Functions and torch data sets of one's own as sources: ``data=mypkg:make[param=..]``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from . import arrays
from .base import Dataset, Source


class Made(Source):
    """What a function returns, as a source of data; it is called when the data is loaded.

    A fifth of the examples is the test set, unless it returns a pair (train, test); 15 % of the
    training examples are for validation. A function that is to decide that itself returns a
    `Dataset`.

    Args:
        make: the function, or a torch Dataset's class.
        arguments: its parameters by name.

    Example:
        >>> import numpy as np
        >>> def make(examples=100):
        ...     x = np.linspace(-1, 1, examples, dtype=np.float32)[:, None]
        ...     return x, (x[:, 0] > 0).astype(int)
        >>> data = Made(make, {"examples": 200}).load()
        >>> len(data.train), len(data.validation), len(data.test), data.classes
        (136, 24, 40, 2)
    """

    def __init__(self, make: Callable[..., object], arguments: Mapping[str, Any]) -> None:
        super().__init__()
        self.make, self.arguments = make, dict(arguments)
        self.made_of = (make,)

    def load(self) -> Dataset:
        """Call the function, and make a data set of what it returns."""
        value = self.make(**self.arguments)
        return value.load() if isinstance(value, Source) else arrays.dataset(value, self)


def adapted(factory: Any) -> Any:
    """Return what makes a `Source`: the factory itself if it does, else one that calls it later.

    Args:
        factory: a subclass of `Source`; a function, a torch Dataset or its class; or what a
            function may return: a pair of arrays.
    """
    if is_held(factory):
        return _held(factory)
    return _later(factory) if makes_examples(factory) else factory


def is_held(value: object) -> bool:
    """Say whether a value is itself data: a `Dataset`, a tuple of arrays, or a torch Dataset.

    >>> is_held(([[0.0]], [1])), is_held(dict), is_held([[0.0]])
    (True, False, False)
    """
    if isinstance(value, type | list | dict | str | bytes) or callable(value):
        return False
    return isinstance(value, Dataset) or _holds_examples(type(value))


def makes_examples(factory: object) -> bool:
    """Say whether something is a function, or a class with a length and items, as torch Datasets.

    >>> makes_examples(lambda: ([[0.0]], [1])), makes_examples(dict), makes_examples(float)
    (True, True, False)
    """
    if isinstance(factory, type):
        return _holds_examples(factory) and not issubclass(factory, Source)
    return inspect.isroutine(factory)


def _holds_examples(kind: type) -> bool:
    """Say whether a class has a length and items, as torch Datasets."""
    return hasattr(kind, "__getitem__") and hasattr(kind, "__len__")


def _held(value: object) -> Callable[..., Source]:
    """Return what constructs the source of data that a module holds."""

    def source() -> Source:
        return Made(lambda: value, {})

    return source


def _later(make: Callable[..., object]) -> Callable[..., Source]:
    """Return what constructs the source of a function: it is not called yet, but bound."""

    @wraps(make, updated=())
    def source(**arguments: Any) -> Source:
        inspect.signature(make).bind(**arguments)
        return Made(make, arguments)

    return source
