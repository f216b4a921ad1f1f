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
    """Return the integer type as wide as a floating-point type."""
    return {torch.float32: torch.int32, torch.float64: torch.int64}[kind]


def as_numpy(values: Tensor) -> Any:
    """Return a tensor on the CPU as a NumPy array, whose loops are faster; others unchanged."""
    return values.numpy() if values.device.type == "cpu" else values


def product(left: Tensor, right: Tensor, out: Tensor) -> None:
    """Write products of (..., m, k) and (..., k, n) matrices to `out` (..., m, n).

    On the CPU they are NumPy's, whose BLAS uses all of an AVX-512 processor, not Intel's alone, and
    writes to parts of larger matrices.
    """
    if left.device.type == "cpu":
        with ignore_float_warnings():
            np.matmul(left.numpy(), right.numpy(), out=out.numpy())
    else:
        torch.matmul(left, right, out=out)


def zero_where_false(values: Tensor, mask: Tensor) -> Tensor:
    """Return the values where `mask` (of the same shape) is True, and 0.0 elsewhere.

    Unlike a product with the mask, this removes NaN and infinity too.

    >>> zero_where_false(torch.tensor([1.0, torch.nan]), torch.tensor([True, False]))
    tensor([1., 0.])
    """
    bits = _bits(values.dtype)
    masked = mask.to(bits).neg_().bitwise_and_(values.contiguous().view(bits))
    return masked.view(values.dtype)


def nan_where_true(values: Tensor, mask: Tensor) -> Tensor:
    """Return NaN where `mask` (of the same shape) is True, and the values elsewhere.

    >>> nan_where_true(torch.tensor([1.0, 2.0]), torch.tensor([True, False]))
    tensor([nan, 2.])
    """
    bits = _bits(values.dtype)
    blanked = mask.to(bits).neg_().bitwise_or_(values.contiguous().view(bits))
    return blanked.view(values.dtype)


def select(mask: Tensor, values: Tensor, others: Tensor) -> Tensor:
    """Return `values` where `mask` is True, and `others` elsewhere; all have the same shape.

    >>> select(torch.tensor([True, False]), torch.tensor([1.0, 2.0]), torch.tensor([8.0, 9.0]))
    tensor([1., 9.])
    """
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
    """Sum the rows of (m, b), -> (b,), adding each column from its first to its last number.

    A column's sum then does not depend on its position; torch adds the last few columns of a
    matrix in another order than the others.
    """
    if values.device.type != "cpu":
        return values.sum(dim=0)
    with ignore_float_warnings():
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
    """Say whether there is neither NaN nor infinity; the sum is the fastest check."""
    return math.isfinite(float(values.sum())) or bool(torch.isfinite(values).all())


def ignore_float_warnings() -> AbstractContextManager[object]:
    """Let NumPy turn infinite values into NaN without a warning, as torch does."""
    return np.errstate(invalid="ignore", over="ignore")
