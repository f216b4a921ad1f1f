"""Keyed random numbers and one thread: a number is the same wherever it is computed.

Random numbers are keyed, not consumed: every draw comes from a stream named by (seed, purpose,
round, ...), so that nothing depends on the order of execution, on the number of processes, or on
what else is in the grid.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

_asking = threading.Lock()
_asked = 0
_limits: Any = None


def stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return the generator of one purpose; the same key always gives the same numbers.

    >>> stream(0, "sample", 1).random() == stream(0, "sample", 1).random()
    True
    """
    return np.random.default_rng([seed, crc32(purpose.encode()), *index])


def without_replacement(
    uniform: NDArray[np.float64], held: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Draw s_i of |S_i| items for all workers at once by Floyd's algorithm, (max s_i, q).

    Its i-th step draws from the first |S_i| - s_i + i + 1 items, and takes the last of them if
    the drawn one is chosen already. The cost does not depend on |S_i|. A worker's column depends on
    nothing of the others but max s_i, beyond its own s_i it is 0.

    Args:
        uniform: (q, at least max s_i) in [0, 1).
        held: (q,) |S_i|.
        size: (q,) s_i, of which each is at most |S_i|.

    >>> drawn = without_replacement(np.array([[0.9, 0.9]]), np.array([3]), np.array([2]))
    >>> drawn[:, 0]
    array([1, 2])
    """
    s = int(size.max())
    step = np.arange(s)[:, None]
    last = np.maximum(held - size + step, 0)
    chosen: NDArray[np.int64] = (uniform.T[:s] * (last + 1)).astype(np.int64)
    for i in range(1, s):
        taken = (chosen[:i] == chosen[i]).any(axis=0)
        chosen[i, taken] = last[i, taken]
    chosen[step >= size] = 0
    return chosen


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, so that the last bits do not depend on the number of cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with one_blas_thread(), torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit NumPy's BLAS to one thread until the last caller that asked for it has left."""
    global _limits, _asked
    with _asking:
        if _asked == 0:
            _limits = _controller().limit(limits=1, user_api="blas")
        _asked += 1
    try:
        yield
    finally:
        with _asking:
            _asked -= 1
            if _asked == 0:
                _limits.restore_original_limits()
