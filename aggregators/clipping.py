"""Static clipping."""

from __future__ import annotations

import math
from collections.abc import Callable

from hgobench.lazy import torch
from hgobench.parameters import positive

from .columns import Columns
from .pre_rule import PreRule
from .vectors import Vectors


class Clipping(PreRule):
    """Shorten every vector to length c at most: y_i = x_i · min(1, c / ‖x_i‖).

    Args:
        c: > 0, in units of the gradients. Too small a c biases the answer and takes the guarantees
            of the rule behind it; see `Arc` for a c that adapts.

    Validity: any m.
    On ragged input: scope "block" clips the vectors of those that sent the whole block; scope
    "coordinate" clips each value to [-c/√d, c/√d], d the coordinates of the model: what a vector of
    length c has per coordinate; scope "masked" clips by lengths estimated from what was sent.

    Source: folklore; its limits in Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan, "Adaptive
    Gradient Clipping for Robust Federated Learning", ICLR 2025.
    """

    paper = "folklore"
    formula = "x_i <- x_i·min(1, c/‖x_i‖)"
    validity = "n >= 1"
    breakdown = "the rule's"
    averaging = "none"
    cost = "m²·d"
    weighted = True  # it counts no rows
    ragged = "block: complete vectors; coordinate: each value"
    exempt = {
        "finite_within_honest_range": "shortened vectors may leave the range of the honest",
        "translation_equivariant": "c is a length from the origin",
        "scaling_equivariant": "c is a length",
    }

    def __init__(self, c: float = 2.0, *, f: int = 0) -> None:
        super().__init__(f=f)
        self.c = positive("c", c)

    @property
    def minimum(self) -> int:
        """Any number of answers can be clipped."""
        return 1

    def proven_kappa(self, n: int, after: Callable[[int], float | None]) -> float | None:
        """Return inf where what follows has a κ: vectors all alike and longer than c are cut."""
        kappa = after(n)
        return None if kappa is None or math.isinf(kappa) else math.inf

    def of_vectors(self, vectors: Vectors) -> Vectors:
        """Shorten the vectors."""
        return vectors.scaled(vectors.shortening(self.c))

    def of_columns(self, columns: Columns) -> Columns:
        """Clip the values; infinite ones stay what they are."""
        x, c = columns.values, columns.scalar(self.c)
        return columns.with_values(torch.where(torch.isfinite(x), x.clamp(-c, c), x))
