"""Classes, functions and instances of torch modules, taken as models by name."""

from __future__ import annotations

import copy
import hashlib
import inspect
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hgobench.errors import InputError
from hgobench.lazy import torch

from .base import Model
from .module import Module

if TYPE_CHECKING:
    from hgobench.data.base import Split

# What a constructor is told if its signature names it, and no other value is given.
FEATURES = ("features", "in_features", "n_features", "input_dim")
CLASSES = ("classes", "num_classes", "n_classes", "out_features", "output_dim")
IMAGE = ("image_shape", "in_channels")
VOCABULARY = ("vocabulary", "vocab_size", "num_embeddings")
TOLD = (*FEATURES, *CLASSES, *IMAGE, "input_shape", *VOCABULARY)
_CONTEXT = (
    "features",
    "classes",
    "image",
    "vocabulary",
)  # what the registry's caller knows of the data
_OPTIONS = ("loss", "inputs", "output", "freeze")  # `Module`'s, if the constructor has no such own


def adapted(factory: Any) -> Any:
    """Return what makes a `Model`: the factory itself if it does, else one that wraps its module.

    Args:
        factory: a subclass of `Model`; a class, an instance or a function of a torch module.
    """
    if not _makes_modules(factory):
        return factory
    own = _parameters(factory)
    told = [name for name in own if name in TOLD]

    def make(**given: Any) -> Model:
        known = {name: given.pop(name) for name in _CONTEXT if name in given and name not in own}
        known |= {name: given[name] for name in _CONTEXT if name in given}
        options = {name: given.pop(name) for name in _OPTIONS if name in given and name not in own}
        values = {name: value for name, value in given.items() if name in own}
        features, classes = known.get("features", 1), known.get("classes", 0)
        image, vocabulary = known.get("image"), known.get("vocabulary")
        values.pop("vocabulary", None)
        for name in told:
            if name not in values or name in ("features", "classes"):
                values |= _told(name, features, classes, image, vocabulary)
        _check_given(factory, own, values)

        def build() -> Any:
            if isinstance(factory, torch.nn.Module):
                return copy.deepcopy(factory)  # lazy layers and types are settled in the copy
            return factory(**values)

        data = {"features": features, "classes": classes, "image": image, "vocabulary": vocabulary}
        wrapped = Module(build, **data, **options)
        if "image" not in known:  # the data are not known yet
            return wrapped
        if isinstance(wrapped.first, Model):
            return wrapped.first
        wrapped.check()
        return wrapped

    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in own.values()]
    options = inspect.signature(Module.__init__).parameters
    parameters += [options[name] for name in _OPTIONS if name not in own]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in _CONTEXT
        if name not in own
    ]
    make.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    owner = factory if hasattr(factory, "__name__") else type(factory)
    make.__module__, make.__name__ = owner.__module__, owner.__name__
    make.__qualname__, make.__doc__ = owner.__qualname__, owner.__doc__
    make.module = factory  # type: ignore[attr-defined]
    make.mentions = [] if "loss" in own else ["loss"]  # type: ignore[attr-defined]
    return make


def state(factory: object) -> str:
    """Return the hash of an instance's numbers, which its source may not determine; else "".

    Args:
        factory: what `adapted` returned.
    """
    module = getattr(factory, "module", None)
    if "torch" not in sys.modules or not isinstance(module, torch.nn.Module):
        return ""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        array = value.detach().cpu().contiguous().view(torch.uint8) if value.dim() else value
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(array.numpy().tobytes())
    return digest.hexdigest()


def _makes_modules(factory: Any) -> bool:
    """Say whether a factory is a torch module, its class, or a function, which may make one."""
    if isinstance(factory, type):
        if issubclass(factory, Model) or "torch" not in sys.modules:
            return False
        return issubclass(factory, torch.nn.Module)
    return inspect.isroutine(factory) or (
        "torch" in sys.modules and isinstance(factory, torch.nn.Module)
    )


def _parameters(factory: Any) -> dict[str, inspect.Parameter]:
    if "torch" in sys.modules and isinstance(factory, torch.nn.Module):
        return {}
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return {}
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {p.name: p for p in named}


def _told(
    name: str,
    features: int,
    classes: int,
    image: tuple[int, int, int] | None,
    vocabulary: int | None,
) -> dict[str, Any]:
    """Return the value of a parameter that is told something of the data; none if it has none."""
    if name in FEATURES:
        return {name: features}
    if name in CLASSES:
        return {name: classes or 1}
    if name == "input_shape":
        return {name: image or (features,)}
    if name in VOCABULARY:
        return {} if vocabulary is None else {name: vocabulary}
    if image is None:
        return {}
    return {name: image if name == "image_shape" else image[0]}


def _check_given(
    factory: Any, own: Mapping[str, inspect.Parameter], values: Mapping[str, Any]
) -> None:
    """Raise InputError if a parameter has neither a default nor a value."""
    missing = [
        name
        for name, parameter in own.items()
        if parameter.default is parameter.empty and name not in (*values, *IMAGE, *VOCABULARY)
    ]
    if missing:
        example = ",".join(f"{name}=.." for name in missing)
        name = getattr(factory, "__name__", "..")
        raise InputError(
            f"{' and '.join(missing)} missing; write {name}[{example}] (what a constructor calls "
            f"{', '.join(TOLD)} it is told)"
        )


def image_of(split: Split) -> tuple[int, int, int] | None:
    """Return channels, height and width of the images whose pixels the features are; else None.

    Where the data do not say it, features are taken for a square image of three channels, 8 x 8
    pixels or larger, or of one channel, if they are as many as its pixels.
    """
    p = split.features.shape[1]
    if split.image is not None:
        height, width = split.image[-2:]
        return p // (height * width), height, width
    for channels in (3, 1):
        side = math.isqrt(p // channels)
        if channels * side * side == p and side >= 8:
            return channels, side, side
    return None
