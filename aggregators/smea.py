"""Smallest maximum eigenvalue averaging."""

from __future__ import annotations

import math
from itertools import combinations, islice

from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .base import Rule, Scope
from .columns import Columns, first_least
from .vectors import Vectors, about_mean

BATCH = 1024  # subsets whose spectra are computed at once


class Smea(Rule):
    """Mean of the m - f vectors whose covariance has the smallest maximum eigenvalue.

    AR(x) = mean of S*, S* = argmin_{|S| = m - f} λ_max( 1/|S| Σ_{i ∈ S} (x_i - x̄_S)(x_i - x̄_S)ᵀ ).

    All C(m, f) subsets are compared, their spectra taken from inner products. Of equal subsets the
    first in lexicographic order is taken.

    Args:
        subsets: how many subsets may be compared; RuleError for so many workers that it takes more.

    Validity: m >= 2f + 1 and C(m, f) <= subsets; breakdown point 1/2.
    On ragged input: scope "coordinate" takes the m - f values of the coordinate with the least
    variance; scope "block" is the rule on the vectors of those that sent the whole block.

    Source: Allouah, Guerraoui, Gupta, Pinot, Stephan, "On the Privacy-Robustness-Utility Trilemma
    in Distributed Learning", ICML 2023.
    """

    paper = "Allouah et al., ICML 2023"
    formula = "mean of the m - f vectors whose covariance has the least λ_max"
    validity = "n >= 2f + 1, C(n, f) <= subsets"
    breakdown = "1/2"
    averaging = "4f/(n - 2f)"
    cost = "m²·d + C(m, f)·m³"
    by_weights = True
    on_parts = "block"  # a staircase compares the subsets of every step
    ragged = "block: on complete vectors; coordinate: the m - f values of Q_j of least variance"

    def __init__(self, subsets: int = 50_000, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.subsets = whole("subsets", subsets, least=1)

    @property
    def maximum(self) -> float:
        """The most answers with at most `subsets` subsets; coordinate-wise there is no bound."""
        if self.f == 0 or self.scope == "coordinate":
            return math.inf
        most = 2 * self.f + 1
        while math.comb(most, self.f) <= self.subsets:
            most += 1
        return most - 1

    def proven_kappa(self, n: int) -> float | None:
        """Return 4f/(n - 2f), even with λ_max of the honest covariance in the place of V.

        S* shares at least h - f vectors with S. Their mean is √(f/(h - f)·λ_max) or less from
        that of S, and from that of S*, of which the λ_max is no larger.
        """
        return 4.0 * self.f / (n - 2 * self.f)

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Average the subset of least λ_max."""
        vectors.require(self.f, self.name)
        best, chosen = math.inf, None
        subsets = combinations(vectors.finite.nonzero()[:, 0].tolist(), len(vectors) - self.f)
        while batch := list(islice(subsets, BATCH)):
            members = torch.tensor(batch)
            largest = _largest_eigenvalues(vectors.gram, members)
            at = int(largest.argmin())
            if chosen is None or float(largest[at]) < best:
                best, chosen = float(largest[at]), members[at]
        assert chosen is not None
        return vectors.mean(chosen)

    def of_columns(self, columns: Columns) -> Tensor:
        """Average the window of least variance in each column."""
        x = columns.centred(columns.median())
        return columns.window_mean(first_least(columns.windows(x, self.f)[1]), self.f)


def _largest_eigenvalues(gram: Tensor, members: Tensor) -> Tensor:
    """Return λ_max of the covariance of each subset: (m, m) products, (k, s) members -> (k,)."""
    subset_grams = gram[members[:, :, None], members[:, None, :]]
    spectra: Tensor = torch.linalg.eigvalsh(about_mean(subset_grams) / members.shape[1])
    return spectra[:, -1]
