"""What NumPy and bit operations do several times faster than torch on a CPU."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np

from hgobench.lazy import Tensor, torch


@cache
def _bits(kind: torch.dtype) -> torch.dtype:
    """Return the integers of the width of some numbers."""
    return {torch.float32: torch.int32, torch.float64: torch.int64}[kind]


def array(values: Tensor) -> Any:
    """Return the tensor; on the CPU as an array, for loops that NumPy has vectorised better."""
    return values.numpy() if values.device.type == "cpu" else values


def product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write products of (..., m, k) and (..., k, n) matrices to `out` (..., m, n).

    On the CPU they are NumPy's, whose BLAS uses all of an AVX-512 processor, not Intel's alone, and
    writes to parts of larger matrices.
    """
    if left.device.type == "cpu":
        np.matmul(left.numpy(), right.numpy(), out=out.numpy())
    else:
        torch.matmul(left, right, out=out)


def keep(values: Tensor, mask: Tensor) -> Tensor:
    """Return the values where `mask`, of their shape, holds, else 0.0, whatever stands there."""
    bits = _bits(values.dtype)
    kept = mask.to(bits).neg_().bitwise_and_(values.contiguous().view(bits))
    return kept.view(values.dtype)


def blank(values: Tensor, mask: Tensor) -> Tensor:
    """Return NaN where `mask`, of their shape, holds, else the values."""
    bits = _bits(values.dtype)
    blanked = mask.to(bits).neg_().bitwise_or_(values.contiguous().view(bits))
    return blanked.view(values.dtype)


def choose(mask: Tensor, values: Tensor, others: Tensor) -> Tensor:
    """Return `values` where `mask` holds, else `others`, all of one shape."""
    bits = _bits(values.dtype)
    other = others.contiguous().view(bits)
    differ = values.contiguous().view(bits) ^ other
    return differ.bitwise_and_(mask.to(bits).neg_()).bitwise_xor_(other).view(values.dtype)


def count_columns(present: Tensor) -> Tensor:
    """Count the True in each column of a (m, b) bool, -> (b,) int64."""
    if present.device.type != "cpu":
        return present.sum(dim=0)
    narrow = np.uint8 if len(present) < 256 else np.int64  # SIMD adds bytes 64 at a time
    counts = np.add.reduce(present.numpy().view(np.uint8), axis=0, dtype=narrow)
    return torch.from_numpy(counts.astype(np.int64))


def sum_rows(values: Tensor) -> Tensor:
    """Add the rows of (m, b) up, -> (b,), every column from its first to its last number.

    A column's sum then does not depend on where it stands; torch adds the last few columns of a
    matrix in another order than the others.
    """
    if values.device.type != "cpu":
        return values.sum(dim=0)
    with quiet():
        return torch.from_numpy(np.add.reduce(values.numpy(), axis=0))


def pack_bits(mask: Tensor) -> Tensor:
    """Return eight True or False as a byte, (R, N) bool -> (R, ⌈N/8⌉) uint8, as `numpy.packbits`.

    >>> pack_bits(torch.tensor([[True, False, True]]))
    tensor([[160]], dtype=torch.uint8)
    """
    filled = torch.nn.functional.pad(mask.to(torch.uint8), (0, -mask.shape[1] % 8))
    values = 2 ** torch.arange(7, -1, -1, dtype=torch.uint8, device=mask.device)
    return (filled.view(len(mask), -1, 8) * values).sum(dim=2, dtype=torch.uint8)


def all_finite(values: Tensor) -> bool:
    """Say whether there is neither NaN nor infinity; a sum shows that soonest."""
    return math.isfinite(float(values.sum())) or bool(torch.isfinite(values).all())


def quiet() -> AbstractContextManager[object]:
    """Let infinite values make NaN without a warning, as they do in torch."""
    return np.errstate(invalid="ignore", over="ignore")
