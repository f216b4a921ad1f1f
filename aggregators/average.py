"""The arithmetic mean."""

from __future__ import annotations

import math

from hgobench.kernels.arrays import sum_rows
from hgobench.kernels.tiles import map_tiles, tiles
from hgobench.lazy import Tensor, torch

from .base import Rule, Scope
from .columns import Columns
from .vectors import Vectors


class Average(Rule):
    """Mean of all values: AR(x_1..x_m) = Σ x_i / m; with weights s_i, Σ s_i x_i / Σ s_i.

    Tolerates no Byzantine worker, whatever f it is told: one value of 1e30 moves it anywhere. It
    is the baseline that every attack must break. NaN or infinite input is refused.

    Validity: any m >= 1; breakdown point 0.
    On ragged input: the mean over those that sent the coordinate.
    """

    paper = "baseline"
    formula = "Σ x_i / m"
    validity = "n >= 1; tolerates no Byzantine worker"
    breakdown = "0"
    averaging = "0 if f = 0, else none"
    cost = "m·d"
    weighted = True
    ragged = "mean over Q_j"
    exempt = {
        "finite_within_honest_range": "tolerates no Byzantine worker",
        "poisoned_rounds_stay_bounded": "tolerates no Byzantine worker",
    }

    @property
    def columnwise(self) -> bool:
        """A mean of vectors is one of each coordinate, unless somebody says whose count."""
        return not self.needs

    def lacks(self, scope: Scope) -> str:
        """Say why the rule lacks a scope: a mean of vectors is one of each coordinate."""
        if scope in ("staircase", "masked"):
            return f"is coordinate-wise: scope {scope!r} would be scope 'coordinate'"
        return super().lacks(scope)

    @property
    def minimum(self) -> int:
        """One answer is enough."""
        return 1

    def proven_kappa(self, n: int) -> float | None:
        """Return 0 if f = 0; else there is none: one attacker moves the mean anywhere."""
        return math.inf if self.f else 0.0

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Average the vectors, by weights if there are any."""
        if (weights := vectors.view.weights) is None:
            if vectors.view.trace is not None:
                m = len(vectors)
                vectors.tell(torch.full((m,), 1.0 / m, dtype=torch.float64))
            return super().of_vectors(vectors)
        share = torch.from_numpy(weights / weights.sum())
        vectors.tell(share)
        return vectors.combine(share)

    def of_rows(self, rows: Tensor) -> Tensor:
        """Average the rows."""
        sums = map_tiles(lambda part: sum_rows(rows[:, part]), tiles(rows))
        return torch.cat(sums) / len(rows)

    def of_columns(self, columns: Columns) -> Tensor:
        """Average what was sent of each coordinate."""
        return columns.trimmed_mean(0)
