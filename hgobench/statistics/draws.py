"""What is drawn again in a two-way bootstrap: seeds and test examples, once for a whole board."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hgobench.determinism import one_blas_thread, stream
from hgobench.errors import InputError
from hgobench.statistics.means import Floats

REPLICATES = 2000
GROUPS = 512  # more examples than this are drawn in as many groups of equal size, or nearly
FINE = 1024  # examples' weights are multiples of 1/FINE


@dataclass(frozen=True, eq=False)
class Draws:
    """Random weights of S seeds and N examples in B replicates, the same for all rows and attacks.

    What is compared is thereby paired: a seed that counts twice does so for every row. Weights of
    both kinds are independent (the Bayesian pigeonhole bootstrap: Owen and Eckles, 2012,
    arXiv:1106.2125, after Rubin, 1981).

    Attributes:
        seeds: (S + 1, B) independent exponential weights; divided by their sum they are uniform on
            the simplex. The last is that of a seed that nobody has seen.
        signs: (S, B) of -1 and 1.
        examples: (G + 1, B) the same for examples, or groups of examples; the last is that of one
            that nobody has seen. Multiples of 1/1024, so that sums of products with whole numbers
            are exact in any order.
        group: (N,) the group of each example.
    """

    seeds: Floats
    signs: Floats
    examples: Floats
    group: NDArray[np.intp]

    @property
    def replicates(self) -> int:
        """B."""
        return int(self.signs.shape[1])

    def __post_init__(self) -> None:
        for drawn in (self.seeds, self.signs, self.examples, self.group):
            drawn.setflags(write=False)  # they are shared

    def deviations(
        self,
        counts: NDArray[np.int64],
        total: NDArray[np.int64],
        unseen: Literal[0, 1] | None = None,
    ) -> Floats:
        """Return by how much means change when the examples are drawn again, (A, B).

        Args:
            counts: (A, N) in how many cells each example was right.
            total: (A,) of how many cells.
            unseen: whether an example that nobody has seen is right in all cells; None: there is
                none.
        """
        if not counts.shape[1]:
            return np.zeros((len(counts), self.replicates))
        groups = len(self.examples) - 1
        right = np.array([np.bincount(self.group, row, groups) for row in counts])
        sizes = np.bincount(self.group, minlength=groups).astype(np.float64)
        with one_blas_thread():  # the matrices are small
            drawn = right @ self.examples[:-1] / total[:, None]
            size = sizes @ self.examples[:-1]
        if unseen is not None:
            drawn, size = drawn + unseen * self.examples[-1], size + self.examples[-1]
        return np.asarray(drawn / size - (counts.sum(axis=1) / total)[:, None] / counts.shape[1])


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
    >>> draws.seeds.shape, draws.signs.shape, draws.examples.shape
    ((6, 2000), (5, 2000), (11, 2000))
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
    drawn = np.ceil(rng.exponential(size=(groups + 1, replicates)) * FINE) / FINE
    return Draws(weights, signs, drawn, group)
