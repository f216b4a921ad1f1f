"""Krum again and again on the same distances, in a compiled loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from . import compiled
from .compiled import ir

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def select_repeatedly(distances: Floats, f: int, times: int) -> Integers:
    """Choose so many vectors, one after the other, by Krum among those that are left.

    Among r vectors a score is the sum of the max(r - f - 2, 1) least squared distances to others,
    from the least on. Ties: the one whose next neighbour is nearer, then the vector that comes
    first.

    Args:
        distances: (m, m) squared distances, 0 on the diagonal.
        f: as Krum is told.
        times: how many are chosen, at most m.

    >>> apart = np.array([0.0, 1.0, 2.0, 3.5, 50.0])
    >>> select_repeatedly((apart[:, None] - apart) ** 2, f=0, times=3)
    array([2, 1, 3])
    """
    m = len(distances)
    if m == 1:
        return np.zeros(times, dtype=np.int64)
    nearest = np.argsort(distances + np.diag(np.full(m, -np.inf)), axis=1)[:, 1:]  # not itself
    ordered = np.take_along_axis(distances, nearest, axis=1)
    chosen = np.empty(times, dtype=np.int64)
    if compiled.available():
        left = np.ones(m, dtype=np.uint8)
        nearest = np.ascontiguousarray(nearest)
        arrays = [array.ctypes.data for array in (ordered, nearest, left, chosen)]
        _kernel()(*arrays, m, f, times)
    else:
        _choose(ordered, nearest, f, chosen)
    return chosen


def _choose(ordered: Floats, nearest: Integers, f: int, chosen: Integers) -> None:
    """Fill `chosen` as the compiled loop does: terms are added in the same order."""
    m = len(ordered)
    left = np.ones(m, dtype=bool)
    for step in range(len(chosen)):
        present = left[nearest]
        rank = present.cumsum(axis=1)
        neighbours = max(m - step - f - 2, 1)
        score, more = (
            np.where(present & (rank <= count), ordered, 0.0).cumsum(axis=1)[:, -1]
            for count in (neighbours, neighbours + 1)
        )
        score[~left] = np.inf
        tied = np.flatnonzero(left & (score == score.min()))
        chosen[step] = tied[more[tied].argmin()]
        left[chosen[step]] = False


@cache
def _kernel() -> Callable[..., None]:
    """Return the loop: (ordered, nearest, left, chosen, m, f, times)."""
    return compiled.function(_module(), "choose")


def _module() -> ir.Module:
    """Write the loop out: for each choice all vectors that are left, and of each its neighbours."""
    size, byte, real = ir.IntType(64), ir.IntType(8), ir.DoubleType()
    module = ir.Module()
    pointers = [real.as_pointer(), size.as_pointer(), byte.as_pointer(), size.as_pointer()]
    signature = ir.FunctionType(ir.VoidType(), [*pointers, size, size, size])
    function = ir.Function(module, signature, "choose")
    ordered, nearest, left, chosen, m, f, times = function.args
    before, choice, row, walk, judge, following, take, end = (
        function.append_basic_block() for _ in range(8)
    )
    none, zero, one = size(-1), size(0), size(1)
    code = ir.IRBuilder(before)
    others = code.sub(m, one)
    code.cbranch(code.icmp_signed("<", zero, times), choice, end)

    code.position_at_end(choice)
    step = code.phi(size)
    step.add_incoming(zero, before)
    counted = code.sub(code.sub(m, step), code.add(f, size(2)))
    counted = code.select(code.icmp_signed(">", counted, one), counted, one)
    code.branch(row)

    code.position_at_end(row)
    i, best = code.phi(size), code.phi(size)
    least, least_more = code.phi(real), code.phi(real)
    for value, start in ((i, zero), (best, none), (least, real(0.0)), (least_more, real(0.0))):
        value.add_incoming(start, choice)
    first = code.mul(i, others)
    is_left = code.icmp_unsigned("!=", code.load(code.gep(left, [i])), byte(0))
    code.cbranch(is_left, walk, following)

    code.position_at_end(walk)
    k, count = code.phi(size), code.phi(size)
    score, more = code.phi(real), code.phi(real)
    for value, start in ((k, zero), (count, zero), (score, real(0.0)), (more, real(0.0))):
        value.add_incoming(start, row)
    place = code.add(first, k)
    neighbour = code.load(code.gep(nearest, [place]))
    there = code.icmp_unsigned("!=", code.load(code.gep(left, [neighbour])), byte(0))
    longer = code.fadd(more, code.load(code.gep(ordered, [place])))
    next_more = code.select(there, longer, more)
    next_count = code.add(count, code.zext(there, size))
    within = code.icmp_signed("<=", next_count, counted)
    next_score = code.select(within, next_more, score)
    next_k = code.add(k, one)
    updated = ((k, next_k), (count, next_count), (score, next_score), (more, next_more))
    for value, new in updated:
        value.add_incoming(new, walk)
    on = code.and_(within, code.icmp_signed("<", next_k, others))
    code.cbranch(on, walk, judge)

    code.position_at_end(judge)
    less = code.fcmp_ordered("<", next_score, least)
    tied = code.and_(
        code.fcmp_ordered("==", next_score, least), code.fcmp_ordered("<", next_more, least_more)
    )
    better = code.or_(code.icmp_signed("==", best, none), code.or_(less, tied))
    judged = [
        code.select(better, new, old)
        for new, old in ((i, best), (next_score, least), (next_more, least_more))
    ]
    code.branch(following)

    code.position_at_end(following)
    kept = []
    for value, new in zip((best, least, least_more), judged, strict=True):
        merged = code.phi(value.type)
        merged.add_incoming(value, row)
        merged.add_incoming(new, judge)
        value.add_incoming(merged, following)
        kept.append(merged)
    next_i = code.add(i, one)
    i.add_incoming(next_i, following)
    code.cbranch(code.icmp_signed("<", next_i, m), row, take)

    code.position_at_end(take)
    code.store(kept[0], code.gep(chosen, [step]))
    code.store(byte(0), code.gep(left, [kept[0]]))
    next_step = code.add(step, one)
    step.add_incoming(next_step, take)
    code.cbranch(code.icmp_signed("<", next_step, times), choice, end)
    code.position_at_end(end)
    code.ret_void()
    return module
