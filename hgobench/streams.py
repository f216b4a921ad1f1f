"""Random numbers that are keyed, not consumed.

Every draw comes from a stream named by (seed, purpose, round, ...), so that nothing depends on the
order of execution, on the number of processes, or on what else is in the grid.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np


def stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return the generator of one purpose; the same key gives the same numbers, always."""
    return np.random.default_rng([seed, crc32(purpose.encode()), *index])
