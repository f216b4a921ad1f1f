"""Nearest neighbour mixing."""

from __future__ import annotations

import math
from collections.abc import Callable

from hgobench.kernels.sorting import sort_rows
from hgobench.lazy import torch

from .columns import Columns
from .pre_rule import PreRule
from .vectors import Vectors


class Nnm(PreRule):
    """Replace each vector by the mean of the m - f nearest to it, itself among them.

    y_i = 1/(m - f) Σ_{j ∈ N_i} x_j, N_i the m - f vectors with the least ‖x_i - x_j‖. Of two
    equally far the worker that comes first; coordinate-wise, the smaller value. It makes the rule
    that follows tolerate heterogeneous data: an (f, κ)-robust rule becomes (f, κ')-robust with
    κ' <= 8f/(m - f)·(κ + 1).

    Validity: m >= 2f + 1.
    On ragged input: scope "coordinate" mixes each value with its nearest among those that sent the
    coordinate; scope "block" mixes the vectors of those that sent the whole block.

    Source: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, "Fixing by Mixing: A Recipe for
    Optimal Byzantine ML under Heterogeneity", AISTATS 2023.
    """

    paper = "Allouah et al., AISTATS 2023"
    formula = "x_i <- mean of the m - f vectors nearest to x_i"
    breakdown = "the rule's"
    averaging = "8f/h·(κ + 1)"
    published = "8f/h·(κ + 1), the same"
    cost = "m²·d"
    ragged = "block: on complete vectors; coordinate: values of Q_j"

    def proven_kappa(self, n: int, after: Callable[[int], float | None]) -> float | None:
        """Return 8f/h·(κ + 1), h = n - f.

        An honest y_i is x̄_S + Σ (z - e)/h over at most f swaps of an honest e for a z as near to
        x_i or nearer; so 1/h Σ_S ‖y_i - x̄_S‖² <= 4f/h³ Σ_i Σ_j ‖x_i - x_j‖² = 8f/h·V. About the
        point x̄_S the rule that follows errs by κ + 1 times that at most.
        """
        kappa = after(n)
        if kappa is None or math.isinf(kappa):
            return None
        return 8.0 * self.f / (n - self.f) * (kappa + 1.0)

    def of_vectors(self, vectors: Vectors) -> Vectors:
        """Mix the vectors."""
        distances = vectors.squared_distances
        size = len(vectors) - self.f
        # A vector comes before others at distance 0.
        nearer = distances.clone().fill_diagonal_(-1.0)
        last = sort_rows(nearer)[:, size - 1 : size]
        closer, tied = nearer < last, nearer == last
        first = tied.cumsum(dim=1) <= size - closer.sum(dim=1, keepdim=True)
        mixing = (closer | (tied & first)).double() / size
        return vectors.mixed(mixing, chosen=True)

    def of_columns(self, columns: Columns) -> Columns:
        """Mix the values of each column."""
        centre = columns.median()
        x = columns.centred(centre)
        length = columns.count - self.f
        start = columns.nearest(columns.values, length)
        means = columns.windows(x, self.f)[0].gather(0, start) + centre
        means[~torch.isfinite(columns.values)] = torch.nan
        return columns.with_values(means)
