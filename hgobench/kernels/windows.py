"""What coordinate-wise rules read off sorted columns, in compiled loops.

Every function has the answer of NumPy and torch, to the last bit: a column's terms are added in the
same order. They take (m, b) columns as `Columns` holds them: the values that were sent first, in
ascending order, and whatever is behind them; `count` says how many were sent of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from hgobench.lazy import Tensor, torch

from . import compiled
from .compiled import ir

TIED = 1.0 + 1e-12  # distances that differ by rounding are equal


def fits(values: Tensor, fewest: int) -> bool:
    """Say whether there is a loop for these columns, (m, b), of which the shortest has `fewest`."""
    return (
        compiled.available()
        and values.device.type == "cpu"
        and values.dtype in (torch.float32, torch.float64)
        and values.shape[1] >= _lanes(values.element_size())
        and values.stride(1) == 1
        and fewest > 0
    )


def medians(values: Tensor, count: Tensor) -> Tensor:
    """Return the midpoint of the two middle values of each column, (b,) float64."""
    return _called(_medians, values, count, torch.float64)


def sums(values: Tensor, count: Tensor, cut: int, fewest: int, most: int) -> Tensor:
    """Sum each column without the first and the last `cut` values that were sent, (b,).

    Rows that lie inside of every column are added up first, then the rest.

    Args:
        values, count: the columns.
        cut: how many at each end.
        fewest, most: the least and the largest of the counts.
    """
    numbers = cut, max(fewest - cut, cut), most - cut
    return _called(_sums, values, count, values.dtype, (), numbers)


def means_around(
    values: Tensor, count: Tensor, centre: Tensor, inside: Tensor, left_out: int
) -> Tensor:
    """Average the values of each column that are nearest to a centre, (b,).

    Args:
        values, count: the columns.
        centre: (b,) float64.
        inside: (b,) the sum without the first and the last `left_out` values: the window has them.
        left_out: how many it lacks, less than half of any column.
    """
    return _called(_means_around, values, count, values.dtype, (centre, inside), (left_out,))


def means_of_nearest(values: Tensor, count: Tensor, centre: Tensor, left_out: int) -> Tensor:
    """Average the values of each column that are nearest to a centre, from the least on, (b,).

    Args:
        values, count: the columns.
        centre: (b,) float64.
        left_out: how many it lacks, less than the shortest column has.
    """
    numbers = len(values), left_out, left_out.bit_length()
    return _called(_means_of_nearest, values, count, values.dtype, (centre,), numbers)


def krum_choices(
    values: Tensor, count: Tensor, centre: Tensor, left_out: int, fewest: int, most: int
) -> Tensor:
    """Return the value of each column that Krum takes, (b,) (see `Krum.of_columns`).

    Args:
        values, count: the columns.
        centre: (b,) float64, about which squares are taken.
        left_out: how many values a window of neighbours lacks.
        fewest, most: the least and the largest of the counts.
    """
    inside = max(fewest - left_out, left_out), most - left_out
    numbers = len(values), left_out, *inside
    return _called(_krum_choices, values, count, values.dtype, (centre,), numbers)


def means_of_nearer_half(values: Tensor, count: Tensor, centre: Tensor) -> Tensor:
    """Average the values of each column whose distance to a centre is at most their median, (b,).

    Args:
        values, count: the columns.
        centre: (b,) float64.
    """
    return _called(_means_of_nearer_half, values, count, values.dtype, (centre,), (len(values),))


def _called(
    write: Callable[..., None],
    values: Tensor,
    count: Tensor,
    kind: torch.dtype,
    given: Sequence[Tensor] = (),
    numbers: Sequence[int] = (),
) -> Tensor:
    """Call a loop, and return what it writes, (b,) of a dtype."""
    out = values.new_empty(values.shape[1], dtype=kind)
    held = [one.contiguous() for one in (count, *given)]  # copies live until the loop has read them
    _kernel(write, values.element_size(), len(given), len(numbers))(
        values.data_ptr(),
        values.stride(0),
        values.shape[1],
        out.data_ptr(),
        *(one.data_ptr() for one in held),
        *numbers,
    )
    return out


def _lanes(itemsize: int) -> int:
    return compiled.register_bytes() // itemsize


@cache
def _kernel(
    write: Callable[..., None], itemsize: int, given: int, numbers: int
) -> Callable[..., None]:
    """Return a loop: (values, row stride, columns, out, counts, what is given, numbers)."""
    module = _Block(itemsize).module(write, given, numbers)
    return compiled.function(module, "columns", level=compiled.QUICKEST)


class _Block:
    """As many columns as fit into a register, while code for them is written out.

    Args:
        itemsize: of a value.

    Attributes:
        code: the builder.
        count: how many values were sent of each column.
    """

    def __init__(self, itemsize: int) -> None:
        self.lanes, self.itemsize = _lanes(itemsize), itemsize
        self.number, self.size = ir.IntType(32), ir.IntType(64)
        self.double = ir.DoubleType()
        self.real = ir.FloatType() if itemsize == 4 else self.double
        self.reals, self.doubles, self.numbers, self.sizes = (
            ir.VectorType(kind, self.lanes)
            for kind in (self.real, self.double, self.number, self.size)
        )

    def module(self, write: Callable[..., None], given: int, numbers: int) -> ir.Module:
        """Write a loop over all columns, whose last ones end where the columns end."""
        module = ir.Module()
        pointers = [self.double.as_pointer()] * given
        signature = [
            self.real.as_pointer(), self.size, self.size, self.size.as_pointer(),
            self.size.as_pointer(), *pointers, *[self.size] * numbers,
        ]  # fmt: skip
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), signature), "columns")
        self.values, self.stride, columns, self.out, counts, *rest = function.args
        before, across, after = (function.append_basic_block() for _ in range(3))
        self.code = code = ir.IRBuilder(before)
        last = code.sub(columns, self.size(self.lanes))
        code.branch(across)
        code.position_at_end(across)
        self.column = code.phi(self.size)
        self.column.add_incoming(self.size(0), before)
        self.count = code.trunc(self.at(counts, self.sizes), self.numbers)
        write(self, *rest[:given], *(code.trunc(one, self.number) for one in rest[given:]))
        next_ = code.add(self.column, self.size(self.lanes))
        next_ = code.select(code.icmp_signed("<", next_, last), next_, last)
        self.column.add_incoming(next_, code.block)
        code.cbranch(code.icmp_signed("<", self.column, last), across, after)
        code.position_at_end(after)
        code.ret_void()
        return module

    def at(self, pointer: ir.Value, kind: ir.VectorType, row: ir.Value | None = None) -> ir.Value:
        """Read what an array holds of the columns, in a row of the values or in its only one."""
        return self.code.load(self._place(pointer, kind, row), align=self.itemsize)

    def _place(self, pointer: ir.Value, kind: ir.VectorType, row: ir.Value | None) -> ir.Value:
        code, offset = self.code, self.column
        if row is not None:
            offset = code.add(code.mul(code.sext(row, self.size), self.stride), offset)
        typed = code.bitcast(pointer, kind.element.as_pointer())
        return code.bitcast(code.gep(typed, [offset]), kind.as_pointer())

    def row(self, row: ir.Value) -> ir.Value:
        """Read a row of the values."""
        return self.at(self.values, self.reals, row)

    def rows(self, rows: ir.Value) -> ir.Value:
        """Read a row of its own of each column."""
        code, found = self.code, ir.Constant(self.reals, ir.Undefined)
        for lane in range(self.lanes):
            row = code.sext(code.extract_element(rows, self.number(lane)), self.size)
            column = code.add(self.column, self.size(lane))
            place = code.gep(self.values, [code.add(code.mul(row, self.stride), column)])
            found = code.insert_element(found, code.load(place), self.number(lane))
        return found

    def write(self, value: ir.Value) -> None:
        """Write the answer."""
        place = self._place(self.out, value.type, None)
        self.code.store(value, place, align=self.itemsize)

    def wide(self, value: ir.Value) -> ir.Value:
        """Return reals in float64."""
        return value if self.real == self.double else self.code.fpext(value, self.doubles)

    def narrow(self, value: ir.Value) -> ir.Value:
        """Return float64 numbers as reals."""
        return value if self.real == self.double else self.code.fptrunc(value, self.reals)

    def all(self, kind: ir.VectorType, value: float | ir.Value) -> ir.Value:
        """Return the same number for every column."""
        if not isinstance(value, ir.Value):
            return ir.Constant(kind, [value] * self.lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.code.insert_element(undefined, value, self.number(0))
        nowhere = ir.Constant(ir.VectorType(self.number, self.lanes), [0] * self.lanes)
        return self.code.shuffle_vector(first, undefined, nowhere)

    def whole(self, value: int | ir.Value) -> ir.Value:
        """Return the same whole number for every column."""
        return self.all(self.numbers, value)

    def less(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """Compare; NaN is not less than anything."""
        return self.code.fcmp_ordered("<", left, right)

    def smaller(self, left: ir.Value, right: ir.Value) -> ir.Value:
        """Return the smaller of whole numbers."""
        return self.code.select(self.code.icmp_signed("<", left, right), left, right)

    def loop(
        self,
        start: int | ir.Value,
        stop: int | ir.Value,
        carried: Sequence[ir.Value],
        body: Callable[..., Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """Write a loop from `start` to below `stop`: (i, *carried) -> carried, in the end too."""
        code, function = self.code, self.code.function
        head, inside, after = (function.append_basic_block() for _ in range(3))
        before = code.block
        code.branch(head)
        code.position_at_end(head)
        i = code.phi(self.number)
        values = [code.phi(value.type) for value in carried]
        starts = start if isinstance(start, ir.Value) else self.number(start)
        stops = stop if isinstance(stop, ir.Value) else self.number(stop)
        code.cbranch(code.icmp_signed("<", i, stops), inside, after)
        code.position_at_end(inside)
        more = body(i, *values)
        following = code.add(i, self.number(1))
        for value, first, next_ in zip(
            (i, *values), (starts, *carried), (following, *more), strict=True
        ):
            value.add_incoming(first, before)
            value.add_incoming(next_, code.block)
        code.branch(head)
        code.position_at_end(after)
        return values

    def sum(
        self,
        kind: ir.VectorType,
        terms: int,
        start: int | ir.Value,
        stop: ir.Value,
        term: Callable[[ir.Value], Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """Write sums of so many terms over i from `start` to below `stop`, from the first on."""

        def more(i: ir.Value, *totals: ir.Value) -> list[ir.Value]:
            return [self.code.fadd(a, b) for a, b in zip(totals, term(i), strict=True)]

        # Nothing is added to the first term: also -0.0 stays as it is.
        totals = self.loop(start, stop, [self.all(kind, -0.0)] * terms, more)
        first = start if isinstance(start, ir.Value) else self.number(start)
        some = self.code.icmp_signed("<", first, stop)
        return [self.code.select(some, total, self.all(kind, 0.0)) for total in totals]

    def sum_below(
        self,
        kind: ir.VectorType,
        terms: int,
        bounds: tuple[ir.Value, ir.Value, ir.Value],
        ends: ir.Value,
        term: Callable[[ir.Value], Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """Write sums over i from the first bound to below a column's end.

        Args:
            kind, terms, term: as for `sum`.
            bounds: the first; the least of all ends; the largest.
            ends: of each column.
        """
        code = self.code
        first, fewest, most = bounds

        def inside(i: ir.Value) -> list[ir.Value]:
            there = code.icmp_signed("<", self.whole(i), ends)
            return [code.select(there, value, self.all(kind, 0.0)) for value in term(i)]

        common = self.sum(kind, terms, first, fewest, term)
        rest = self.sum(kind, terms, fewest, most, inside)
        ragged = code.icmp_signed("<", fewest, most)
        return [
            code.select(ragged, code.fadd(some, more), some)
            for some, more in zip(common, rest, strict=True)
        ]


def _medians(of: _Block) -> None:
    """Write what `medians` does."""
    code, one, half = of.code, of.whole(1), of.all(of.doubles, 0.5)
    rows = code.ashr(code.sub(of.count, one), one), code.ashr(of.count, one)
    low, high = (code.fmul(half, of.wide(of.rows(row))) for row in rows)
    of.write(code.fadd(low, high))


def _sums(of: _Block, cut: ir.Value, fewest: ir.Value, most: ir.Value) -> None:
    """Write what `sums` does."""
    ends = of.code.sub(of.count, of.whole(cut))
    (total,) = of.sum_below(of.reals, 1, (cut, fewest, most), ends, lambda i: [of.row(i)])
    of.write(total)


def _means_around(of: _Block, centre: ir.Value, inside: ir.Value, left_out: ir.Value) -> None:
    """Write what `means_around` does: of rows i and i + k one belongs to the window."""
    code, c = of.code, of.at(centre, of.doubles)
    length = code.sub(of.count, of.whole(left_out))

    def outer(i: ir.Value) -> list[ir.Value]:
        low, high = of.row(i), of.rows(code.add(length, of.whole(i)))
        later = of.less(code.fsub(of.wide(high), c), code.fsub(c, of.wide(low)))
        return [code.select(later, high, low)]

    (ends,) = of.sum(of.reals, 1, 0, left_out, outer)
    total = code.fadd(of.at(inside, of.reals), ends)
    of.write(code.fdiv(total, code.sitofp(length, of.reals)))


def _means_of_nearest(
    of: _Block, centre: ir.Value, m: ir.Value, left_out: ir.Value, halvings: ir.Value
) -> None:
    """Write what `means_of_nearest` does: a search for the first row, then one pass over all."""
    code, c, one = of.code, of.at(centre, of.doubles), of.whole(1)
    length = code.sub(of.count, of.whole(left_out))
    last = code.sub(of.whole(m), one)

    def halve(_: ir.Value, least: ir.Value, most: ir.Value) -> list[ir.Value]:
        middle = code.ashr(code.add(least, most), one)
        low, high = of.rows(middle), of.rows(of.smaller(code.add(middle, length), last))
        later = of.less(code.fsub(of.wide(high), c), code.fsub(c, of.wide(low)))
        later = code.and_(later, code.icmp_signed("<", middle, most))
        return [
            code.select(later, code.add(middle, one), least),
            code.select(later, most, middle),
        ]

    start, _ = of.loop(0, halvings, [of.whole(0), of.whole(left_out)], halve)

    def more(i: ir.Value, total: ir.Value) -> list[ir.Value]:
        within = code.icmp_unsigned("<", code.sub(of.whole(i), start), length)
        return [code.fadd(total, code.select(within, of.row(i), of.all(of.reals, -0.0)))]

    (total,) = of.loop(0, m, [of.all(of.reals, -0.0)], more)
    of.write(code.fdiv(total, code.sitofp(length, of.reals)))


def _krum_choices(
    of: _Block, centre: ir.Value, m: ir.Value, w: ir.Value, fewest: ir.Value, most: ir.Value
) -> None:
    """Write what `krum_choices` does: of each window the member nearest to its mean may be best."""
    code, c = of.code, of.at(centre, of.doubles)
    length = code.sub(of.count, of.whole(w))
    size, infinite = code.sitofp(length, of.doubles), of.all(of.doubles, float("inf"))
    one = of.whole(1)

    def about(values: ir.Value) -> ir.Value:
        x = code.fsub(of.wide(values), c)
        return code.select(code.fcmp_unordered("uno", x, x), infinite, x)

    def powers(x: ir.Value) -> list[ir.Value]:
        return [x, code.fmul(x, x)]

    def added(sums: Sequence[ir.Value], x: ir.Value) -> list[ir.Value]:
        return [code.fadd(total, power) for total, power in zip(sums, powers(x), strict=True)]

    nothing = [of.all(of.doubles, 0.0)] * 2
    core = of.sum_below(
        of.doubles, 2, (w, fewest, most), length, lambda i: powers(about(of.row(i)))
    )

    def window(
        s: ir.Value, right0: ir.Value, right1: ir.Value, least: ir.Value, row: ir.Value
    ) -> list[ir.Value]:
        # As `Columns.windows` adds: from row w - 1 up to s, what is behind the middle, the middle.
        start, back = of.whole(s), code.sub(w, of.number(1))
        left = of.loop(s, w, nothing, lambda i, *sums: added(
            sums, about(of.row(code.sub(code.add(back, s), i)))
        ))  # fmt: skip
        total, squares = (
            code.fadd(code.fadd(a, b), middle)
            for a, b, middle in zip(left, (right0, right1), core, strict=True)
        )
        mean = code.fdiv(total, size)
        scatter = code.fsub(squares, code.fmul(total, mean))
        scatter = code.select(of.less(scatter, nothing[0]), nothing[0], scatter)
        bound = of.narrow(code.fadd(mean, c))
        (below,) = of.loop(0, m, [of.whole(0)], lambda i, n: [
            code.add(n, code.zext(of.less(of.row(i), bound), of.numbers))
        ])  # fmt: skip
        first = code.add(start, one)
        below = code.select(code.icmp_signed("<", below, first), first, below)
        upper = of.smaller(below, code.sub(code.add(start, length), one))
        lower = code.sub(upper, one)
        x_lower, x_upper = about(of.rows(lower)), about(of.rows(upper))
        nearer = code.fcmp_ordered("<=", code.fsub(mean, x_lower), code.fsub(x_upper, mean))
        nearest = code.select(nearer, lower, upper)
        apart = code.fsub(code.select(nearer, x_lower, x_upper), mean)
        score = code.fadd(scatter, code.fmul(size, code.fmul(apart, apart)))
        better = of.less(score, least)
        least = code.select(better, score, least)
        begun = code.icmp_signed(">", s, of.number(0))
        row = code.select(code.and_(of.all(better.type, begun), code.not_(better)), row, nearest)
        following = of.rows(of.smaller(code.add(length, start), code.sub(of.count, one)))
        return [*added((right0, right1), about(following)), least, row]

    windows = code.add(w, of.number(1))
    *_, row = of.loop(0, windows, [*nothing, infinite, of.whole(0)], window)
    of.write(of.rows(row))


def _means_of_nearer_half(of: _Block, centre: ir.Value, m: ir.Value) -> None:
    """Write what `means_of_nearer_half` does: its radius is that of a window of half the values."""
    code, c, one = of.code, of.at(centre, of.doubles), of.whole(1)
    half = code.ashr(code.add(of.count, one), one)
    last = code.sub(of.whole(m), one)
    rest = code.sub(of.count, half)

    def later(i: ir.Value, start: ir.Value) -> list[ir.Value]:
        at = of.whole(i)
        low, high = of.row(i), of.rows(of.smaller(code.add(at, half), last))
        after = of.less(code.fsub(of.wide(high), c), code.fsub(c, of.wide(low)))
        after = code.and_(after, code.icmp_signed("<", at, rest))
        return [code.add(start, code.zext(after, of.numbers))]

    (start,) = of.loop(0, code.ashr(m, of.number(1)), [of.whole(0)], later)
    kind = ir.FunctionType(of.doubles, [of.doubles])
    absolute = ir.Function(code.module, kind, f"llvm.fabs.v{of.lanes}f64")

    def away(values: ir.Value) -> ir.Value:
        return code.call(absolute, [code.fsub(of.wide(values), c)])

    near, far = away(of.rows(start)), away(of.rows(code.sub(code.add(start, half), one)))
    far_is = code.or_(of.less(near, far), code.fcmp_unordered("uno", far, far))
    radius = code.fmul(code.select(far_is, far, near), of.all(of.doubles, TIED))

    def more(i: ir.Value, total: ir.Value, number: ir.Value) -> list[ir.Value]:
        values = of.row(i)
        counts = code.fcmp_ordered("<=", away(values), radius)
        term = code.select(counts, values, of.all(of.reals, 0.0))
        return [code.fadd(total, term), code.add(number, code.zext(counts, of.numbers))]

    total, number = of.loop(0, m, [of.all(of.reals, -0.0), of.whole(0)], more)
    of.write(code.fdiv(total, code.sitofp(number, of.reals)))
