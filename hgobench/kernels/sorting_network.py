"""Sorting networks for columns, compiled for this processor.

Batcher's odd-even merge sort compares fixed pairs of rows, so that a whole register of columns is
sorted by the same minima and maxima, without a branch: three to five times faster than a sort of
one column after the other. For each number of rows the network is written out for LLVM, which keeps
as many rows in registers as there are; 80 rows take 0.3 seconds to compile.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from numpy.typing import NDArray

from . import compiled
from .compiled import ir

MOST = 128  # rows; compiling takes time with the square of it, nearly
WORTH = 50_000  # values sorted per comparator, until compiling has cost less than it saves

# (values, row stride, sent or null, row stride, sorted values, row stride, columns)
Kernel = Callable[[int, int, int, int, int, int, int], None]

_kernels: dict[tuple[int, int, bool], Kernel] = {}
_seen: Counter[tuple[int, int, bool]] = Counter()
_compiling = threading.Lock()
_asked_once = threading.local()


@cache
def comparators(rows: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs (i, j), i < j, of Batcher's network for so many rows, in order.

    Halves are sorted one after the other, so that what is compared stays in registers for long.

    Source: Batcher, "Sorting networks and their applications", AFIPS 1968.
    """

    def merged(low: int, high: int, step: int) -> Iterator[tuple[int, int]]:
        if 2 * step < high - low:
            yield from merged(low, high, 2 * step)
            yield from merged(low + step, high, 2 * step)
            yield from ((i, i + step) for i in range(low + step, high - step, 2 * step))
        else:
            yield low, low + step

    def sorted_(low: int, high: int) -> Iterator[tuple[int, int]]:
        if high - low > 1:
            middle = (low + high) // 2
            yield from sorted_(low, middle)
            yield from sorted_(middle, high)
            yield from merged(low, high, 1)

    power = 1 << max(rows - 1, 0).bit_length()
    # What lies beyond the rows is larger than all, and is never moved.
    return tuple((i, j) for i, j in sorted_(0, power) if j < rows)


def fits(values: NDArray[np.generic]) -> bool:
    """Say whether there can be a network for these values, (m, b)."""
    m, b = values.shape
    itemsize = values.itemsize
    return (
        compiled.available()
        and values.dtype in (np.float32, np.float64)
        and 2 <= m <= MOST
        and b >= compiled.register_bytes() // itemsize
        and values.strides[1] == itemsize
        and values.strides[0] % itemsize == 0
    )


@contextmanager
def not_compiled() -> Iterator[None]:
    """Sort in the body by the networks that are there: what is asked once is worth no other."""
    before = vars(_asked_once).get("so", False)
    _asked_once.so = True
    try:
        yield
    finally:
        _asked_once.so = before


def pays(values: NDArray[np.generic], masked: bool) -> bool:
    """Count these values, which `fits`, and say whether a compiled network is worth it by now."""
    key = (len(values), values.itemsize, masked)
    if key in _kernels:
        return True
    if vars(_asked_once).get("so"):
        return False
    _seen[key] += values.size
    return _seen[key] >= WORTH * len(comparators(len(values)))


def sort(
    values: NDArray[np.generic], sent: NDArray[np.bool_] | None, out: NDArray[np.generic]
) -> None:
    """Sort each column of (m, b) values into `out`; NaN and entries not `sent` come last, as NaN.

    Args:
        values: (m, b) float32 or float64 that `fits`; the columns of a row are neighbours.
        sent: (m, b) bool in the same layout; None: all.
        out: (m, b) of the same dtype and layout, no part of `values`.
    """
    m, b = values.shape
    kernel = kernel_of(m, values.itemsize, sent is not None)
    kernel(
        values.ctypes.data,
        values.strides[0] // values.itemsize,
        0 if sent is None else sent.ctypes.data,
        0 if sent is None else sent.strides[0],
        out.ctypes.data,
        out.strides[0] // values.itemsize,
        b,
    )


def prepare(rows: int, itemsize: int = 4) -> None:
    """Compile the networks for so many rows at once, before something is timed."""
    if compiled.available() and 2 <= rows <= MOST:
        for masked in (False, True):
            kernel_of(rows, itemsize, masked)


def kernel_of(rows: int, itemsize: int, masked: bool) -> Kernel:
    """Return the compiled network, compiling it at the first call."""
    key = (rows, itemsize, masked)
    if key not in _kernels:
        with _compiling:
            if key not in _kernels:
                _kernels[key] = compiled.function(_module(*key), "sort", level=compiled.QUICKEST)
    return _kernels[key]


def _module(rows: int, itemsize: int, masked: bool) -> ir.Module:
    """Write the network out: blocks of as many columns as a register holds, in a loop.

    Floats are compared as the integers that order like them: the bits, with all but the sign
    flipped where it is set; NaN and what is absent become the largest.
    """
    bits, lanes = 8 * itemsize, compiled.register_bytes() // itemsize
    word, byte, size = ir.IntType(bits), ir.IntType(8), ir.IntType(64)
    vector = ir.VectorType(word, lanes)
    floats = ir.VectorType(ir.FloatType() if bits == 32 else ir.DoubleType(), lanes)
    mask = ir.VectorType(byte, lanes)
    largest = ir.Constant(vector, [2 ** (bits - 1) - 1] * lanes)
    sign = ir.Constant(vector, [bits - 1] * lanes)

    module = ir.Module()
    pointer, bytes_ = word.as_pointer(), byte.as_pointer()
    signature = [pointer, size, bytes_, size, pointer, size, size]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), signature), "sort")
    source, source_stride, sent, sent_stride, target, target_stride, columns = function.args
    source.add_attribute("noalias")
    target.add_attribute("noalias")
    before, loop, after = (function.append_basic_block() for _ in range(3))
    code = ir.IRBuilder(before)
    code.branch(loop)
    code.position_at_end(loop)
    column = code.phi(size)
    column.add_incoming(size(0), before)

    def at(base: ir.Value, row: int, stride: ir.Value, kind: ir.Type) -> ir.Value:
        offset = code.add(code.mul(size(row), stride), column)
        return code.bitcast(code.gep(base, [offset]), kind.as_pointer())

    def flipped(value: ir.Value) -> ir.Value:
        return code.xor(value, code.and_(code.ashr(value, sign), largest))

    keys = []
    for row in range(rows):
        value = code.load(at(source, row, source_stride, vector), align=itemsize)
        number = code.bitcast(value, floats)
        key = code.select(code.fcmp_unordered("uno", number, number), largest, flipped(value))
        if masked:
            there = code.load(at(sent, row, sent_stride, mask), align=1)
            there = code.icmp_signed("!=", there, ir.Constant(mask, [0] * lanes))
            key = code.select(there, key, largest)
        keys.append(key)
    for i, j in comparators(rows):
        less = code.icmp_signed("<", keys[i], keys[j])
        keys[i], keys[j] = (
            code.select(less, keys[i], keys[j]),
            code.select(less, keys[j], keys[i]),
        )
    for row, key in enumerate(keys):
        code.store(flipped(key), at(target, row, target_stride, vector), align=itemsize)

    # The last block ends where the columns end, whatever it then sorts a second time.
    last = code.sub(columns, size(lanes))
    next_ = code.add(column, size(lanes))
    column.add_incoming(code.select(code.icmp_signed("<", next_, last), next_, last), loop)
    code.cbranch(code.icmp_signed("<", column, last), loop, after)
    code.position_at_end(after)
    code.ret_void()
    return module
