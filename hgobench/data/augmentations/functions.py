"""Functions of one's own as augmentations: ``augment=mypkg:turned[degrees=5]``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hgobench.errors import InputError
from hgobench.lazy import Tensor

from .base import Augmentation


class Function(Augmentation):
    """What a function makes of a worker's examples.

    Args:
        function: called with x, with ``rng`` if it has a parameter of that name, and with its other
            parameters by name.
        arguments: these.

    Example:
        >>> def brighter(x, rng, by=0.1):
        ...     return x + by * rng.random()
        >>> make = adapted(brighter)
        >>> list(inspect.signature(make).parameters), make(by=0.0)(1.0, np.random.default_rng(0))
        (['by'], 1.0)
    """

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        self.function, self.arguments = function, dict(arguments)
        self.made_of = (function,)
        self._draws = "rng" in inspect.signature(function).parameters

    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        """Call the function."""
        drawing = {"rng": rng} if self._draws else {}
        changed: Tensor = self.function(x, **drawing, **self.arguments)
        return changed


def adapted(factory: Any) -> Any:
    """Return what makes an `Augmentation`: the factory itself if it is a class, else one around it.

    Raises:
        InputError: a function takes no examples.
    """
    if isinstance(factory, type) or not inspect.isroutine(factory):
        return factory
    parameters = list(inspect.signature(factory).parameters.values())
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    if not named or named[0].name == "rng" or named[0].kind is named[0].KEYWORD_ONLY:
        raise InputError(
            f"augment: {getattr(factory, '__name__', '..')}{inspect.signature(factory)} takes no "
            "examples; expected a function of x, and perhaps of rng and parameters"
        )
    own = [
        p.replace(kind=p.KEYWORD_ONLY)
        for p in named[1:]
        if p.name != "rng" and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    signature = inspect.Signature(own)

    def make(**arguments: Any) -> Augmentation:
        signature.bind(**arguments)
        return Function(factory, arguments)

    make.__signature__ = signature  # type: ignore[attr-defined]
    make.__module__, make.__doc__ = factory.__module__, factory.__doc__
    make.__name__ = make.__qualname__ = factory.__name__
    return make
