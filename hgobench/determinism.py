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
