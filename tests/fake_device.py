"""A device that is none: what would fail on an accelerator fails here, on any machine.

Within `FakeDevice` a tensor made on, or moved to, ``cuda`` is a tagged tensor on the CPU. Mixing it
with one that is not there, reading it as an array, or building on the wrong side raises, as it
would with a real device; what is copied back to the host is counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda", 0)
# Where an index on the host is allowed beside values on a device.
INDEXING = {Tensor.__getitem__, Tensor.__setitem__}
TO_HOST = {Tensor.item, Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.tolist}


class There(Tensor):
    """A tensor that says it is on the device."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


def there(x: Tensor) -> There:
    return x.as_subclass(There)


def here(x: Any) -> Any:
    return x.as_subclass(Tensor) if type(x) is There else x


class FakeDevice(TorchFunctionMode):
    """Within it, ``cuda`` is a device.

    Attributes:
        largest: the most numbers that were copied to the host at once.
        largest_real: of those that are not whole numbers or True and False.
        copies: how often something was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.largest = self.largest_real = self.copies = 0

    def _copied(self, x: Tensor) -> None:
        self.copies += 1
        self.largest = max(self.largest, x.numel())
        if x.is_floating_point():
            self.largest_real = max(self.largest_real, x.numel())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        on = [x for x in leaves if type(x) is There]
        name = getattr(func, "__name__", "")
        if func == Tensor.device.__get__:
            return CUDA if on else torch.device("cpu")
        if on and func in TO_HOST:
            self._copied(on[0])
            return func(here(args[0]))
        if on and func is Tensor.numpy:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if on and func is Tensor.__array__:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        target = self._target(func, args, kwargs)
        if func is Tensor.cpu:
            if on:
                self._copied(on[0])
            return here(args[0]).clone() if on else args[0]
        if func is Tensor.to:
            wanted = target if target is not None else (CUDA if on else torch.device("cpu"))
            rest = tuple(
                here(a) for a in args[1:] if not self._device(a) and not isinstance(a, Tensor)
            )
            like = [a for a in args[1:] if isinstance(a, Tensor)]
            if like:
                wanted = CUDA if type(like[0]) is There else torch.device("cpu")
                rest = (like[0].dtype,)
            options = {key: value for key, value in kwargs.items() if key != "device"}
            moved = here(args[0]).to(*rest, **options) if rest or options else here(args[0])
            if wanted.type == "cpu":
                if on and type(args[0]) is There:
                    self._copied(args[0])
                return moved
            return there(moved)
        if on:
            off = [x for x in leaves if type(x) is not There and x.dim() > 0]
            if func in INDEXING:
                value = args[0]
                if type(value) is not There:
                    raise RuntimeError(f"{name}: indices on the device, values on the host")
                if func is Tensor.__setitem__ and isinstance(args[2], Tensor):
                    new = args[2]
                    if type(new) is not There and new.dim() > 0:
                        raise RuntimeError(f"{name}: expected all tensors to be on the device")
            elif off and func is not Tensor.copy_:
                raise RuntimeError(
                    f"{resolve_name(func) or name}: expected all tensors to be on the same device; "
                    f"{len(on)} are on cuda:0, {len(off)} on the CPU"
                )
            if target is not None and target.type == "cpu":
                on = []
        elif target is not None and target.type == "cuda":
            on = [there(torch.empty(0))]
        if "device" in kwargs:
            kwargs["device"] = "cpu"
        made = func(*tree_map(here, args), **tree_map(here, kwargs))
        if not on or func in (Tensor.__setitem__,):
            return made
        return tree_map(lambda x: there(x) if isinstance(x, Tensor) else x, made)

    @staticmethod
    def _device(x: Any) -> bool:
        return isinstance(x, torch.device) or (
            isinstance(x, str) and x in ("cpu", "cuda", "cuda:0")
        )

    def _target(self, func: Any, args: Any, kwargs: Any) -> torch.device | None:
        named = kwargs.get("device")
        if named is None and func is Tensor.to:
            named = next((a for a in args[1:] if self._device(a)), None)
        if named is None:
            return None
        return torch.device(named) if isinstance(named, str) else named


def array(x: Tensor) -> np.ndarray:
    return here(x).numpy()  # type: ignore[no-any-return]
