"""Counts that do not depend on the machine or its mood."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts ATen calls and the bytes of the tensors that they return, within a ``with``."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let it through, and count."""
        out = func(*args, **(kwargs or {}))
        self.calls += 1
        self.bytes += sum(
            leaf.numel() * leaf.element_size()
            for leaf in tree_leaves(out)
            if isinstance(leaf, torch.Tensor)
        )
        return out
