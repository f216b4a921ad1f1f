"""Comparative gradient elimination."""

from __future__ import annotations

import math

from hgobench.lazy import Tensor, torch

from .base import Rule
from .columns import Columns
from .vectors import Vectors


class Cge(Rule):
    """Mean of the m - f vectors with the smallest norms.

    AR(x) = mean {x_i : ‖x_i‖ among the m - f smallest}. Ties: the worker that comes first.

    Validity: m >= 2f + 1; the guarantee needs (f/m)·(1 + 2L/μ) < 1 with smoothness L and strong
    convexity μ, hence f/m < 1/3. Attackers with short vectors are never left out.
    On ragged input: scope "coordinate" takes the m - f smallest magnitudes of those that sent the
    coordinate (of two equal ones the negative); scope "block" is the rule on the vectors of those
    that sent the whole block.

    Departs from its source: the paper sums; the mean keeps the step's size comparable with that of
    other rules. In scope "coordinate" it is another rule: the magnitudes of single coordinates
    are compared instead of norms, and the paper's guarantee says nothing of it.

    Source: Gupta, Vaidya, "Fault-Tolerance in Distributed Optimization: The Case of Redundancy",
    PODC 2020; Gupta, Liu, Vaidya, "Byzantine Fault-Tolerant Distributed Machine Learning Using
    Stochastic Gradient Descent (SGD) and Norm-Based Comparative Gradient Elimination (CGE)", 2020
    (arXiv:2008.04699).
    """

    paper = "Gupta, Vaidya, PODC 2020"
    formula = "mean of the m - f vectors with the least ‖x_i‖"
    breakdown = "< 1/3"
    averaging = "0 if f = 0, else none"
    cost = "m²·d"
    by_weights = True
    ragged = "block: on complete vectors; coordinate: the m - f least magnitudes of Q_j"
    exempt = {"translation_equivariant": "compares norms, lengths from the origin"}

    def proven_kappa(self, n: int) -> float | None:
        """Return 0 if f = 0; else there is none: honest vectors all alike lose to shorter ones."""
        return math.inf if self.f else 0.0

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Average the shortest vectors."""
        vectors.require(self.f, self.name)
        return vectors.mean(vectors.norms.argsort(stable=True)[: len(vectors) - self.f])

    def of_columns(self, columns: Columns) -> Tensor:
        """Average the values of each column nearest to 0."""
        return columns.mean_around(torch.zeros_like(columns.values[0]), self.f)
