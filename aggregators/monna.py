"""MoNNA: the mean of the nearest neighbours of a trusted worker."""

from __future__ import annotations

import math

from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .base import Rule, Scope
from .errors import NonFiniteError
from .vectors import Vectors


class Monna(Rule):
    """Mean of the m - f vectors nearest to the pivot's, itself among them.

    AR(x) = mean of the m - f vectors with the least ‖x_i - x_p‖. Of two equally far the worker
    that comes first. In the peer-to-peer setting that it was made for, p is the worker's own
    vector, which it trusts; a server has no such worker, and follows p wherever it goes.

    Args:
        pivot: p, the row of the trusted vector among those that answered, from 0.

    Validity: m >= 2f + 1 and an honest pivot. The peer-to-peer theory asks for m >= 11f.
    On ragged input: the rule on the vectors of those that sent the whole block; in scope
    "staircase" of those that sent as far as each step. It has no scope "coordinate": the pivot need
    not have sent the coordinate.

    Source: Farhadkhani, Guerraoui, Gupta, Hoang, Pinot, Stephan, "Robust Collaborative Learning
    with Linear Gradient Overhead", ICML 2023.
    """

    paper = "Farhadkhani et al., ICML 2023"
    formula = "mean of the m - f vectors nearest to x_pivot"
    validity = "n >= 2f + 1, an honest pivot"
    breakdown = "0 at a server; 1/2 with an honest pivot"
    averaging = "0 if f = 0, else none"
    cost = "m²·d"
    ragged = "on complete vectors"
    by_worker = True
    by_weights = True
    exempt = {
        "finite_within_honest_range": "its pivot must be honest",
        "poisoned_rounds_stay_bounded": "its pivot must be honest",
        "order_of_workers_is_irrelevant": "its pivot is a row",
    }

    def __init__(self, pivot: int = 0, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.pivot = whole("pivot", pivot, least=0)

    @property
    def minimum(self) -> int:
        """So many that the pivot is there, too."""
        return max(2 * self.f + 1, self.pivot + 1)

    def proven_kappa(self, n: int) -> float | None:
        """Return 0 if f = 0; else there is none: the pivot may be an attacker's."""
        return math.inf if self.f else 0.0

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Average the pivot's neighbours."""
        vectors.require(self.f, self.name)
        if not vectors.finite[self.pivot]:
            raise NonFiniteError(f"{self.name}: no finite answer; the pivot's vector is not finite")
        distance = vectors.squared_distances_from(self.pivot)
        return vectors.mean(torch.argsort(distance, stable=True)[: len(vectors) - self.f])
