"""Inner products of rows: a compiled loop for float32, BLAS elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

from . import compiled
from .arrays import ignore_float_warnings
from .compiled import ir

TERMS = 256  # summed in float32 by each lane of a register, before sums go on in float64
BLOCK = 1000  # terms summed in float32 where nothing is compiled
PRODUCTS = 2**25  # kept at once on another device


def inner_products(rows: Tensor) -> Tensor:
    """Return the inner products of (m, b) rows, (m, m), in their dtype; j·i is exactly i·j."""
    if rows.device.type != "cpu":
        products = rows @ rows.T
        return (products + products.T) / 2.0
    values = rows.numpy()
    with ignore_float_warnings():
        return torch.from_numpy(values @ values.T)  # BLAS computes one half, and copies it


def summed(rows: Tensor) -> Tensor:
    """Return the inner products of (m, b) float32 rows, (m, m) float64, from sums of few terms.

    Compiled, it takes half the time of BLAS or less: it computes one half, and copies nothing
    before. Each product then depends on its two rows alone.
    """
    m = len(rows)
    if rows.device.type != "cpu":
        return _on_device(rows)
    if fits(rows.numpy()):
        return torch.from_numpy(_compiled(rows.numpy()))
    total = rows.new_zeros((m, m), dtype=torch.float64)
    for block in torch.split(rows, BLOCK, dim=1):
        total += inner_products(block)
    return total


def _on_device(rows: Tensor) -> Tensor:
    """Return the same of rows on another device, where many small products are one call."""
    m, count = len(rows), rows.shape[1] // BLOCK
    blocks = rows[:, : count * BLOCK].view(m, count, BLOCK).transpose(0, 1)
    rest = rows[:, count * BLOCK :].double()
    total = rest @ rest.T
    for some in torch.split(blocks, max(PRODUCTS // m**2, 1)):
        total += (some @ some.transpose(1, 2)).sum(dim=0, dtype=torch.float64)
    return (total + total.T) / 2.0


def fits(rows: NDArray[np.generic]) -> bool:
    """Say whether the loop can be used on (m, b) values."""
    return (
        compiled.available()
        and rows.dtype == np.float32
        and len(rows) >= _side()
        and rows.strides[1] == rows.itemsize
        and rows.strides[0] % rows.itemsize == 0
    )


def _compiled(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the inner products of rows that `fits`, (m, m)."""
    (m, b), lanes = rows.shape, compiled.register_bytes() // rows.itemsize
    whole = b - b % lanes
    rest = rows[:, whole:]
    with ignore_float_warnings():
        total: NDArray[np.float64] = (rest @ rest.T).astype(np.float64)
        part = np.empty_like(total)
        first, products = rows.ctypes.data, part.ctypes.data
        stride = rows.strides[0] // rows.itemsize
        for start in range(0, whole, TERMS * lanes):
            terms = min(TERMS * lanes, whole - start)
            _kernel()(first + start * rows.itemsize, stride, m, terms, products)
            total += part
    return total


def _side() -> int:
    """Return how many rows a block has: its products and the rows stay in registers."""
    return 5 if compiled.register_count() == 32 else 3


@cache
def _kernel() -> Callable[..., None]:
    """Return the loop: (rows, row stride, m, columns, products); columns fill registers."""
    return compiled.function(_module(_side(), compiled.register_bytes() // 4), "products")


def _module(side: int, lanes: int) -> ir.Module:
    """Write the loop out: blocks (i, j) of rows, j <= i, and in each all columns by registers.

    The last block ends where the rows end, whatever it then computes a second time.
    """
    size, single, double = ir.IntType(64), ir.FloatType(), ir.DoubleType()
    vector, wide = ir.VectorType(single, lanes), ir.VectorType(double, lanes)
    module = ir.Module()
    multiply_add = ir.Function(
        module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{lanes}f32"
    )
    add_up = ir.Function(
        module, ir.FunctionType(double, [double, wide]), f"llvm.vector.reduce.fadd.v{lanes}f64"
    )
    signature = [single.as_pointer(), size, size, size, double.as_pointer()]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), signature), "products")
    rows, stride, m, columns, products = function.args
    before, down, along, across, after, below, end = (
        function.append_basic_block() for _ in range(7)
    )
    code = ir.IRBuilder(before)
    last = code.sub(m, size(side))
    code.branch(down)

    def counter(block: ir.Block, origin: ir.Block) -> ir.Value:
        code.position_at_end(block)
        value = code.phi(size)
        value.add_incoming(size(0), origin)
        return value

    def step(value: ir.Value, by: int, bound: ir.Value, back: ir.Block, on: ir.Block) -> None:
        following = code.add(value, size(by))
        value.add_incoming(following, code.block)
        code.cbranch(code.icmp_signed("<", following, bound), back, on)

    def block_at(value: ir.Value) -> tuple[ir.Value, list[ir.Value]]:
        """Return a block's first row, and the addresses of all of them."""
        first = code.select(code.icmp_signed("<", value, last), value, last)
        return first, [
            code.gep(rows, [code.mul(code.add(first, size(k)), stride)]) for k in range(side)
        ]

    i = counter(down, before)
    top, upper = block_at(i)
    code.branch(along)
    j = counter(along, down)
    left, lower = block_at(j)
    code.branch(across)
    column = counter(across, along)
    sums = [[code.phi(vector) for _ in range(side)] for _ in range(side)]

    def load(row: ir.Value) -> ir.Value:
        return code.load(code.bitcast(code.gep(row, [column]), vector.as_pointer()), align=4)

    ours, theirs = [load(row) for row in upper], [load(row) for row in lower]
    more = [
        [code.call(multiply_add, [ours[a], theirs[b], sums[a][b]]) for b in range(side)]
        for a in range(side)
    ]
    for line, filled in zip(sums, more, strict=True):
        for sum_, product in zip(line, filled, strict=True):
            sum_.add_incoming(ir.Constant(vector, [0.0] * lanes), along)
            sum_.add_incoming(product, across)
    step(column, lanes, columns, across, after)

    code.position_at_end(after)
    for a in range(side):
        for b in range(side):
            total = code.call(
                add_up, [double(0.0), code.fpext(more[a][b], wide)], fastmath=("reassoc",)
            )
            row, other = code.add(top, size(a)), code.add(left, size(b))
            for place in (code.add(code.mul(row, m), other), code.add(code.mul(other, m), row)):
                code.store(total, code.gep(products, [place]))
    step(j, side, code.add(i, size(1)), along, below)
    code.position_at_end(below)
    step(i, side, m, down, end)
    code.position_at_end(end)
    code.ret_void()
    return module
