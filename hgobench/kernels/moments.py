"""Mean and standard deviation of what honest workers send, in a compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from hgobench.lazy import Tensor, torch

from . import compiled
from .arrays import count_columns, sum_rows, zero_where_false
from .compiled import ir


def moments(values: Tensor, sent: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return mean and population standard deviation of each column, (d,) float64 each.

    Args:
        values: (h, d), 0 where nothing is sent.
        sent: (h, d) bool; None: all. A column that no worker sends has mean and deviation 0.
    """
    if fits(values, sent):
        return _compiled(values, sent)
    if sent is None:
        senders: int | Tensor = max(len(values), 1)
    else:
        senders = count_columns(sent).clamp_min(1)
    mean = sum_rows(values.double()) / senders
    apart = values.double() - mean
    if sent is not None:
        apart = zero_where_false(apart, sent)
    return mean, (sum_rows(apart.square_()) / senders).sqrt()


def fits(values: Tensor, sent: Tensor | None = None) -> bool:
    """Say whether the loop can be used on these."""
    return (
        compiled.available()
        and values.device.type == "cpu"
        and values.dtype == torch.float32
        and values.shape[1] >= _lanes()
        and len(values) > 0
        and values.stride(1) == 1
        and (sent is None or sent.stride(1) == 1)
    )


def _compiled(values: Tensor, sent: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what `moments` does, of values that `fits`."""
    mean, std = values.new_empty((2, values.shape[1]), dtype=torch.float64)
    _kernel(sent is not None)(
        values.data_ptr(),
        values.stride(0),
        0 if sent is None else sent.data_ptr(),
        0 if sent is None else sent.stride(0),
        *values.shape,
        mean.data_ptr(),
        std.data_ptr(),
    )
    return mean, std


def _lanes() -> int:
    """Return the columns that are computed at once: of float64 sums two registers."""
    return compiled.register_bytes() // 4


@cache
def _kernel(masked: bool) -> Callable[..., None]:
    """Return the loop: (values, row stride, sent, row stride, rows, columns, means, deviations)."""
    return compiled.function(_module(_lanes(), masked), "moments")


def _module(lanes: int, masked: bool) -> ir.Module:
    """Write the loop out: of as many columns as there are lanes the mean, then the deviation.

    The last columns end where all end, whatever is then computed a second time.
    """
    size, byte, single, double = ir.IntType(64), ir.IntType(8), ir.FloatType(), ir.DoubleType()
    values_, mask = ir.VectorType(single, lanes), ir.VectorType(byte, lanes)
    wide = ir.VectorType(double, lanes)
    zero, one = ir.Constant(wide, [0.0] * lanes), ir.Constant(wide, [1.0] * lanes)
    absent = ir.Constant(mask, [0] * lanes)
    module = ir.Module()
    root = ir.Function(module, ir.FunctionType(wide, [wide]), f"llvm.sqrt.v{lanes}f64")
    pointer = double.as_pointer()
    signature = [single.as_pointer(), size, byte.as_pointer(), size, size, size, pointer, pointer]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), signature), "moments")
    values, stride, sent, sent_stride, rows, columns, means, deviations = function.args
    before, across, sums, middle, squares, after, end = (
        function.append_basic_block() for _ in range(7)
    )
    code = ir.IRBuilder(before)
    last = code.sub(columns, size(lanes))
    code.branch(across)
    code.position_at_end(across)
    column = code.phi(size)
    column.add_incoming(size(0), before)
    code.branch(sums)

    def at(base: ir.Value, offset: ir.Value, kind: ir.Type) -> ir.Value:
        return code.bitcast(code.gep(base, [offset]), kind.as_pointer())

    def loop(block: ir.Block, origin: ir.Block, totals: int) -> tuple[ir.Value, list[ir.Value]]:
        """Begin a loop over rows, with sums of what it adds to them."""
        code.position_at_end(block)
        row = code.phi(size)
        row.add_incoming(size(0), origin)
        sums = [code.phi(wide) for _ in range(totals)]
        for total in sums:
            total.add_incoming(zero, origin)
        return row, sums

    def repeat(row: ir.Value, sums: list[ir.Value], more: list[ir.Value], on: ir.Block) -> None:
        following = code.add(row, size(1))
        row.add_incoming(following, code.block)
        for total, new in zip(sums, more, strict=True):
            total.add_incoming(new, code.block)
        code.cbranch(code.icmp_signed("<", following, rows), code.block, on)

    def load(row: ir.Value) -> ir.Value:
        offset = code.add(code.mul(row, stride), column)
        return code.fpext(code.load(at(values, offset, values_), align=4), wide)

    def there(row: ir.Value) -> ir.Value:
        offset = code.add(code.mul(row, sent_stride), column)
        return code.icmp_signed("!=", code.load(at(sent, offset, mask), align=1), absent)

    row, running = loop(sums, across, 2 if masked else 1)
    more = [code.fadd(running[0], load(row))]
    if masked:
        more.append(code.fadd(running[1], code.select(there(row), one, zero)))
    repeat(row, running, more, middle)

    code.position_at_end(middle)
    if masked:
        senders = code.select(code.fcmp_ordered(">", more[1], one), more[1], one)
    else:
        first = code.insert_element(zero, code.sitofp(rows, double), ir.IntType(32)(0))
        nowhere = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        senders = code.shuffle_vector(first, zero, nowhere)
    mean = code.fdiv(more[0], senders)
    code.branch(squares)

    row, running = loop(squares, middle, 1)
    apart = code.fsub(load(row), mean)
    if masked:
        apart = code.select(there(row), apart, zero)
    more = [code.fadd(running[0], code.fmul(apart, apart))]
    repeat(row, running, more, after)

    code.position_at_end(after)
    code.store(mean, at(means, column, wide), align=8)
    deviation = code.call(root, [code.fdiv(more[0], senders)])
    code.store(deviation, at(deviations, column, wide), align=8)
    next_ = code.add(column, size(lanes))
    column.add_incoming(code.select(code.icmp_signed("<", next_, last), next_, last), after)
    code.cbranch(code.icmp_signed("<", column, last), across, end)
    code.position_at_end(end)
    code.ret_void()
    return module
