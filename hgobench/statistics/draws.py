"""What is drawn again in a two-way bootstrap: seeds and test examples, once for a whole board."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hgobench.determinism import one_blas_thread, stream
from hgobench.errors import InputError
from hgobench.statistics.means import Floats

REPLICATES = 2000
GROUPS = 512  # more examples than this are drawn in as many groups of equal size, or nearly


@dataclass(frozen=True, eq=False)
class Draws:
    """Random weights of S seeds and N examples in B replicates, the same for all rows and attacks.

    What is compared is thereby paired: a seed that counts twice does so for every row.

    Attributes:
        seeds: (S + 1, B) independent exponential weights; divided by their sum they are uniform on
            the simplex. The last is that of a seed that nobody has seen.
        signs: (S, B) of -1 and 1.
        examples: (G, B) how often each example, or group of examples, is drawn: multinomial. In
            float32, in which sums of such numbers are exact in any order.
        group: (N,) the group of each example.
    """

    seeds: Floats
    signs: Floats
    examples: NDArray[np.float32]
    group: NDArray[np.intp]

    @property
    def replicates(self) -> int:
        """B."""
        return int(self.signs.shape[1])

    def __post_init__(self) -> None:
        for drawn in (self.seeds, self.signs, self.examples, self.group):
            drawn.setflags(write=False)  # they are shared

    def deviations(self, counts: NDArray[np.int64], total: NDArray[np.int64]) -> Floats:
        """Return by how much means change when the examples are drawn again, (A, B).

        Args:
            counts: (A, N) in how many cells each example was right.
            total: (A,) of how many cells.
        """
        if not counts.shape[1]:
            return np.zeros((len(counts), self.replicates))
        groups = len(self.examples)
        right = np.array([np.bincount(self.group, row, groups) for row in counts], dtype=np.float32)
        sizes = np.bincount(self.group, minlength=groups).astype(np.float32)
        with one_blas_thread():  # the matrices are small
            drawn = (right @ self.examples).astype(np.float64)
            size = (sizes @ self.examples).astype(np.float64)
        changed = drawn - counts.sum(axis=1)[:, None] / counts.shape[1] * size
        return np.asarray(changed / (counts.shape[1] * total[:, None]))


@lru_cache(maxsize=8)
def draw(seeds: int, examples: int = 0, replicates: int = REPLICATES) -> Draws:
    """Return the draws for S seeds and N test examples; they are the same bits every time.

    Args:
        seeds: S >= 1.
        examples: N; 0: no examples are drawn.
        replicates: B >= 100.

    Raises:
        InputError: a number is too small.

    >>> draws = draw(seeds=5, examples=10)
    >>> draws.seeds.shape, draws.signs.shape, draws.examples.shape, draws.examples[:, 0].sum()
    ((6, 2000), (5, 2000), (10, 2000), np.float32(10.0))
    """
    for name, value, least in (
        ("seeds", seeds, 1), ("examples", examples, 0), ("replicates", replicates, 100),
    ):  # fmt: skip
        if value < least:
            raise InputError(f"{name}: {value}; expected {least} or more")
    weights = stream(0, "bootstrap seeds").exponential(size=(seeds + 1, replicates))
    signs = stream(0, "bootstrap signs").choice([-1.0, 1.0], size=(seeds, replicates))
    rng = stream(0, "bootstrap examples", examples)
    groups = min(examples, GROUPS)
    group = rng.permutation(examples) % groups if groups < examples else np.arange(examples)
    chance = np.full(groups, 1 / max(groups, 1))
    counts = rng.multinomial(groups, chance, replicates).T if groups else np.zeros((0, replicates))
    return Draws(weights, signs, np.ascontiguousarray(counts, dtype=np.float32), group)
