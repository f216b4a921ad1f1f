"""The centred trimmed meta-aggregator: the mean of those nearest to what a rule answers."""

from __future__ import annotations

import math
from collections.abc import Callable

from hgobench.lazy import Tensor, torch

from .averaging import around
from .columns import Columns
from .pre_rule import PreRule, seen
from .vectors import Vectors


class Ctma(PreRule):
    """Replace the answer z of what follows by the mean of the m - f vectors nearest to z.

    AR(x) = mean of the m - f vectors with the least ‖x_i - z‖, z the answer of what follows on the
    same vectors. Of two equally far the worker that comes first; coordinate-wise, the smaller
    value. A median or Krum, which has the variance of few vectors, gets that of m - f.

    Validity: m >= 2f + 1.
    On ragged input: scope "coordinate" takes the values of those that sent the coordinate; scope
    "block" the vectors of those that sent the whole block; in scope "masked" distances to z are
    estimated from what was sent, and where z stalls, the coordinate-wise median takes its place.

    Source: Dahan, Levy, "Weight for Robustness: A Comprehensive Approach towards Optimal
    Fault-Tolerant Asynchronous ML", NeurIPS 2024, with weights that are all alike; before, without
    weights, in "Fault Tolerant ML: Efficient Meta-Aggregation and Synchronous Training", ICML 2024.
    """

    paper = "Dahan, Levy, NeurIPS 2024"
    formula = "mean of the m - f vectors nearest to the answer of what follows"
    breakdown = "the rule's"
    averaging = "around the answer: min(4f/h·(1 + √(f·κ/h))², (√(1 + κ) + √κ)²)"
    cost = "m·d and the rule's"
    ragged = "block: on complete vectors; coordinate: values of Q_j"

    def proven_kappa(self, n: int, after: Callable[[int], float | None]) -> float | None:
        """Return that of a mean around a centre (see `averaging.around`), which holds of vectors.

        With h = n - f: of b <= f attackers' z that are taken each is as near to the centre c as an
        honest e that is not, so that ‖Σ (z - e)/h‖ <= 2/h Σ ‖e - c‖; and those taken are as near to
        c in the square mean as the honest.
        """
        kappa = after(n)
        return None if kappa is None or math.isinf(kappa) else around(n, self.f, kappa)

    def around(self, vectors: Vectors, after: Callable[[Vectors], Tensor]) -> Tensor:
        """Average the vectors nearest to the answer."""
        vectors.require(self.f, self.name)
        point = vectors.settled(seen(after(vectors.whole()), vectors.width, self.name))
        return vectors.mean(nearest(vectors.distances_to(point), len(vectors) - self.f))

    def around_columns(self, columns: Columns, after: Callable[[Columns], Tensor]) -> Tensor:
        """Average the values of each column that are nearest to its answer."""
        answer = seen(after(columns), len(columns.count), self.name)
        return columns.mean_around(answer, self.f)


def nearest(distances: Tensor, count: int) -> Tensor:
    """Return the rows of the `count` least distances, (m,) -> (count,); of equal ones the first."""
    return torch.argsort(distances, stable=True)[:count]
