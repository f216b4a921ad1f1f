"""Adaptive robust clipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hgobench.lazy import torch

from .columns import Columns
from .pre_rule import PreRule
from .vectors import Vectors


class Arc(PreRule):
    """Shorten the k longest vectors to the length of the (k+1)-th longest.

    k = ⌊2·(f/m)·(m - f)⌋ and y_i = x_i · min(1, C / ‖x_i‖), C the (k + 1)-th largest ‖x_i‖. It
    keeps the guarantee of the rule behind it: κ becomes at most κ + 2f/(m - 2f).

    Validity: m >= 2f + 1.
    On ragged input: scope "block" shortens the vectors of those that sent the whole block; scope
    "coordinate" the largest magnitudes of those that sent the coordinate.

    Source: Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan, "Adaptive Gradient Clipping for
    Robust Federated Learning", ICLR 2025 (arXiv:2405.14432).
    """

    paper = "Allouah et al., ICLR 2025"
    formula = "the ⌊2(f/m)(m - f)⌋ longest x_i cut to the next length"
    breakdown = "the rule's"
    averaging = "κ + k/(h - k), k = ⌊2fh/n⌋"
    published = "κ + 2f/(n - 2f)"
    cost = "m²·d"
    ragged = "block: complete vectors; coordinate: values of Q_j"
    exempt = {
        "finite_within_honest_range": "shortened vectors may leave the range of the honest",
        "translation_equivariant": "compares lengths from the origin",
    }

    def proven_kappa(self, n: int, after: Callable[[int], float | None]) -> float | None:
        """Return κ + k/(h - k), which is at most κ + 2f/(n - 2f); h = n - f.

        Of S at most k vectors are shortened, by δ_i. That moves the mean by β = 1/h Σ δ_i, and as
        ⟨y_i - ȳ, δ_i⟩ >= 0, V >= V_y + V_δ >= V_y + (h - k)/k·‖β‖². So the error, at most
        √(κV_y) + ‖β‖, is √((κ + k/(h - k))·V) or less.
        """
        kappa, k = after(n), self._cut(n)
        if kappa is None or math.isinf(kappa):
            return None
        return float(kappa + k / (n - self.f - k))

    def _cut(self, m: Any) -> Any:
        """Return k for m vectors, one number or (b,) of them."""
        # In whole numbers: a product of floats may fall short of an integer.
        return 2 * self.f * (m - self.f) // m

    def of_vectors(self, vectors: Vectors) -> Vectors:
        """Shorten the longest vectors."""
        lengths = vectors.norms.sort(descending=True).values
        return vectors.scaled(vectors.shortening(lengths[self._cut(len(vectors))]))

    def of_columns(self, columns: Columns) -> Columns:
        """Cut the largest magnitudes of each column."""
        x, count = columns.values, columns.count
        magnitude = x.abs().nan_to_num(nan=torch.inf)
        rows = torch.arange(len(x), device=x.device)[:, None]
        ascending = magnitude.masked_fill(rows >= count, torch.inf).sort(dim=0).values
        limit = ascending.gather(0, (count - 1 - self._cut(count))[None])[0]
        return columns.with_values(
            torch.where(torch.isfinite(x), torch.minimum(torch.maximum(x, -limit), limit), x)
        )
