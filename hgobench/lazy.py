"""torch, imported when it is first asked for something.

Naming, listing and checking rules, attacks, models and scenarios takes their modules, but no
tensor, and importing torch takes a second and 200 MB. So modules of hgobench write::

    from hgobench.lazy import Tensor, torch

`Tensor` is for annotations alone; an object's kind is asked by ``isinstance(x, torch.Tensor)``.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch as torch
    from torch import Tensor as Tensor
else:
    Tensor = "torch.Tensor"

    class _Later(ModuleType):
        """Stands for torch until somebody asks it for something, then gives way to it."""

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__") and name != "__version__":  # who looks at modules uses none
                raise AttributeError(name)
            real = importlib.import_module(self.__name__)
            for module in list(sys.modules.values()):  # from now on nobody asks this one
                if getattr(module, "__dict__", {}).get("torch") is self:
                    module.torch = real
            return getattr(real, name)

    torch = sys.modules.get("torch") or _Later("torch")
