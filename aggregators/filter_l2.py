"""Spectral filtering: until no direction spreads more than the honest do."""

from __future__ import annotations

import math

from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive

from .base import Rule, Scope
from .caf import filtered, filtered_columns
from .columns import Columns
from .vectors import Vectors


class FilterL2(Rule):
    """Mean under weights that go down along the main direction until it spreads no more than ησ².

    The weights are those of `Caf`: c_i = 1 at first, μ = Σ c_i x_i / Σ c_i, λ and v the largest
    eigenvalue of the covariance under c and its eigenvector, c_i <- c_i · (1 - τ_i / max τ) with
    τ_i = ⟨x_i - μ, v⟩². AR(x) is the first μ with λ <= η·σ². If Σ c_i falls to m - 2f before, σ is
    too small for what the honest send, and AR(x) is the μ with the smallest λ met: that is Caf.

    Args:
        sigma: σ > 0, the standard deviation of honest vectors along any direction, in units of the
            gradients. Too large it filters nobody.
        expansion: η > 0, by how much the variance may exceed σ².

    Validity: m >= 2f + 1. If λ of the honest is at most σ² and f <= m/12, the error is O(σ·√(f/m)),
    whatever the dimension.
    On ragged input: scope "coordinate" is the rule in one dimension on those that sent the
    coordinate, with the same σ; scope "block" is the rule on those that sent the whole block.

    Departs from its source: the theory knows σ and never removes as much as 2f; here that ends it.

    Source: Diakonikolas, Kamath, Kane, Li, Moitra, Stewart, "Being Robust (in High Dimensions) Can
    Be Practical", ICML 2017; with these weights in Steinhardt, "Robust Learning: Information Theory
    and Algorithms", PhD thesis, Stanford 2018.
    """

    paper = "Diakonikolas et al., ICML 2017; Steinhardt 2018"
    formula = "the first weighted mean with λ_max <= η·σ² while weights c_i ·= 1 - τ_i/max τ"
    breakdown = "1/2; f/n <= 1/12 for the guarantee"
    cost = "m²·d + up to m times m³"
    by_weights = True
    on_parts = "masked"
    ragged = "block: on complete vectors; coordinate: in one dimension on Q_j"
    exempt = {"scaling_equivariant": "σ is a length"}

    def __init__(
        self, sigma: float = 1.0, expansion: float = 20.0, *, f: int = 0, scope: Scope = "block"
    ) -> None:
        super().__init__(f=f, scope=scope)
        self.sigma, self.expansion = positive("sigma", sigma), positive("expansion", expansion)

    @property
    def _most(self) -> float:
        return self.expansion * self.sigma * self.sigma

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Filter until the spread is small enough."""
        vectors.require(self.f, self.name)
        best, answer = math.inf, torch.zeros(0)
        for spread, share in filtered(vectors, self.f):
            if spread < best:
                best, answer = spread, share
            if best <= self._most:
                break
        return vectors.combine(answer)

    def of_columns(self, columns: Columns) -> Tensor:
        """Filter every column at once."""
        best = torch.full_like(columns.values[0], torch.inf, dtype=torch.float64)
        answer = torch.zeros_like(best)
        for variance, mean, going in filtered_columns(columns, self.f, self.name):
            better = going & (best > self._most) & (variance < best)
            best, answer = torch.where(better, variance, best), torch.where(better, mean, answer)
            if not bool((going & (best > self._most)).any()):
                break
        return answer + columns.median()
