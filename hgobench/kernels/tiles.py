"""Columns in tiles that fit in a core's cache, processed by as many threads as torch has."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from hgobench.determinism import one_blas_thread
from hgobench.lazy import Tensor, torch

from .arrays import product

FEW = 4  # tiles per thread; with fewer, starting a thread takes longer than the work

T = TypeVar("T")
_own = threading.local()
TILE_BYTES = 4 << 20  # fits in a core's cache, yet outweighs the calls per tile


def tiles(values: Tensor, copies: int = 1) -> list[slice]:
    """Cut the columns of (m, b) into tiles, whatever the number of threads.

    Code that holds several `copies` of a tile at a time gets smaller tiles. A width that is a power
    of two would map all rows to the same few cache sets; it is odd in units of 16 columns.
    """
    m, b = values.shape
    most = max(TILE_BYTES // (copies * max(m, 1) * values.element_size()), 1024)
    if b <= 2 * most or values.device.type != "cpu":
        return [slice(0, b)]
    units = -(-b // (16 * -(-b // most)))  # so that all tiles have about the same width
    width = 16 * (units | 1)
    return [slice(start, min(start + width, b)) for start in range(0, b, width)]


@contextmanager
def scratch(tile: Tensor) -> Iterator[Tensor]:
    """Lend memory like the tile's, which this thread's next tile overwrites.

    A second caller while it is lent (a rule that calls a rule) gets new memory.
    """
    wanted = tile.numel()
    kept: Tensor | None = vars(_own).pop("scratch", None)
    like = kept is not None and (kept.dtype, kept.device) == (tile.dtype, tile.device)
    if kept is None or not like or len(kept) < wanted:
        kept = tile.new_empty(wanted)
    try:
        yield kept[:wanted].view(tile.shape)
    finally:
        _own.scratch = kept


def map_tiles(function: Callable[[slice], T], parts: list[slice]) -> list[T]:
    """Return the function's result for each tile, in their order.

    Many tiles are shared among as many threads as torch has; each call runs on one thread.

    >>> map_tiles(lambda tile: tile.stop - tile.start, [slice(0, 3), slice(3, 5)])
    [3, 2]
    """
    threads = min(_threads(), len(parts) // FEW) if len(parts) > 1 else 1
    if threads <= 1:
        return [function(part) for part in parts]
    left, answers, failures = deque(enumerate(parts)), dict[int, T](), dict[int, Exception]()

    def work() -> None:
        while left:
            try:
                place, part = left.popleft()
            except IndexError:  # another thread took the last
                return
            try:
                answers[place] = function(part)
            except Exception as error:
                left.clear()
                failures[place] = error

    mine = torch.get_num_threads()
    # The caller works, too: if it waited, it would wake up at every answer and stop who works.
    with one_blas_thread():
        others = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
        try:
            torch.set_num_threads(1)
            work()
        finally:
            left.clear()
            begun = [other for other in others if not other.cancel()]
            wait(begun)
            torch.set_num_threads(mine)
    for other in begun:
        other.result()
    if failures:  # tiles are begun in order, so that the first to fail is always among them
        raise failures[min(failures)]
    return [answers[place] for place in range(len(parts))]


@contextmanager
def threads_for_tiles() -> Iterator[None]:
    """Give tiles as many threads as torch has; what else is computed here is computed on one.

    Threads that wait for the next product or sum would compete with those that work on tiles.
    """
    threads = torch.get_num_threads()
    with one_blas_thread():
        if threads == 1:
            yield
            return
        _own.threads = threads
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            del _own.threads


def _threads() -> int:
    return vars(_own).get("threads") or torch.get_num_threads()


def combinations(weights: Tensor, rows: Tensor) -> Tensor:
    """Return combinations of rows, (k, m) and (m, b) -> (k, b), tile by tile."""
    out = rows.new_empty(len(weights), rows.shape[1])

    def combine(part: slice) -> None:
        product(weights, rows[:, part], out[:, part])

    map_tiles(combine, tiles(rows))
    return out


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    def one_thread() -> None:
        torch.get_num_threads()  # a thread's first question resets its number to the default
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)

    return ThreadPoolExecutor(threads, thread_name_prefix="hgobench", initializer=one_thread)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # its threads stayed with the parent
