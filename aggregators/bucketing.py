"""Bucketing: means of random groups."""

from __future__ import annotations

import math
from collections.abc import Callable

from hgobench.lazy import torch
from hgobench.parameters import whole

from .columns import Columns
from .pre_rule import PreRule
from .vectors import Vectors


class Bucketing(PreRule):
    """Replace the vectors by the means of ⌈m/s⌉ random groups of s; the last may be smaller.

    y_i = mean {x_π(j) : (i - 1)·s < j <= min(i·s, m)}, π a permutation drawn in every round. The
    rule that follows gets ⌈m/s⌉ vectors, of which up to f may still be Byzantine, and is told f.

    Args:
        s: how many make a bucket, >= 1; 1 changes nothing but the order.

    Validity: any m; the rule that follows must tolerate f of ⌈m/s⌉, so use 1 <= s <= 1/(2·f/m).
    On ragged input: scope "block" groups the vectors of those that sent the whole block; scope
    "coordinate" groups the values of those that sent the coordinate, again at random.

    Source: Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via
    Bucketing", ICLR 2022.
    """

    paper = "Karimireddy et al., ICLR 2022"
    formula = "means of random groups of s vectors"
    validity = "⌈n/s⌉ enough for the rule at f"
    breakdown = "the rule's, divided by s"
    averaging = "h/a·(κ of ⌈n/s⌉ + 1) - 1, a = (⌈n/s⌉ - f)·(size of the smallest bucket)"
    cost = "m·d"
    randomised = "buckets"
    ragged = "block: complete vectors; coordinate: values of Q_j"
    keeps_workers = False
    exempt = {
        "order_of_workers_is_irrelevant": "groups rows at random",
        "ragged_is_the_rule_on_who_sent": "groups each coordinate's values at random",
    }

    def __init__(self, s: int = 2, *, f: int = 0) -> None:
        super().__init__(f=f)
        self.s = whole("s", s, least=1)

    def proven_kappa(self, n: int, after: Callable[[int], float | None]) -> float | None:
        """Return h/a·(κ + 1) - 1, whatever is drawn; a = (⌈n/s⌉ - f)·r, r the smallest bucket.

        At least ⌈n/s⌉ - f buckets hold honest vectors alone. About any point g their mean square is
        at most 1/a Σ_S ‖x_i - g‖², and the rule that follows errs by κ + 1 times that at most.
        """
        buckets = -(-n // self.s)
        kappa = after(buckets) if buckets > 2 * self.f else None
        if kappa is None or math.isinf(kappa):
            return None
        smallest = n - (buckets - 1) * self.s
        return (n - self.f) * (kappa + 1.0) / ((buckets - self.f) * smallest) - 1.0

    @property
    def minimum(self) -> int:
        """One answer makes a bucket."""
        return 1

    def inputs_needed(self, outputs: float) -> float:
        """Return (k - 1)·s + 1, the fewest that fill k buckets."""
        return (outputs - 1) * self.s + 1

    def of_vectors(self, vectors: Vectors) -> Vectors:
        """Average random groups of vectors."""
        m = len(vectors)
        order = torch.from_numpy(vectors.view.rng.permutation(m))
        bucket = torch.arange(m) // self.s
        mixing = torch.zeros(-(-m // self.s), m, dtype=torch.float64)
        mixing[bucket, order] = 1.0
        means = mixing / mixing.sum(dim=1, keepdim=True)
        return vectors.mixed(means, same_workers=False, chosen=True)

    def of_columns(self, columns: Columns) -> Columns:
        """Average random groups of each column's values."""
        # A permutation of ranks is one of the values, in every column.
        m = len(columns.values)
        order = torch.from_numpy(columns.view.rng.permutation(m)).to(columns.values.device)
        there = order[:, None] < columns.count
        position = there.cumsum(dim=0) - 1
        buckets = -(-columns.most // self.s)
        shape = (buckets, columns.values.shape[1])
        sums = columns.values.new_zeros(shape, dtype=torch.float64)
        sizes = torch.zeros(shape, dtype=torch.float64, device=sums.device)
        index = (position // self.s).clamp_min(0)
        values = columns.values[order].double().masked_fill(~there, 0.0)
        sums.scatter_add_(0, index, values)
        sizes.scatter_add_(0, index, there.double())
        count = (columns.count + self.s - 1) // self.s
        return columns.with_values(sums / sizes, count)
