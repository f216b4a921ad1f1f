"""Augmentations: how workers change the examples of a minibatch before they learn from it.

Several are written one after the other, and applied in that order.

>>> registry.canonical("flip + crop[pad=4]")
'flip+crop'
"""

from hgobench.registry import Registry

from .base import Augmentation, Nothing, chained
from .crop import Crop
from .flip import Flip
from .functions import Function, adapted
from .noise import Noise

__all__ = ["Augmentation", "Crop", "Flip", "Function", "Noise", "Nothing", "registry"]

registry: Registry[Augmentation] = Registry(
    "augment",
    "augmentations",
    {"none": Nothing, "flip": Flip, "crop": Crop, "noise": Noise},
    assemble=chained,
    kind=Augmentation,
    adapt=adapted,
    wanted="hgobench.data.augmentations.Augmentation, or a function of x and rng",
)
registry.prefixes = registry
