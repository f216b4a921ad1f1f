"""Krum: the vector closest to its neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from hgobench.masks import keep

from .base import Columns, NonFiniteError, Rule
from .geometry import squared_distances


class Krum(Rule):
    """The vector with the smallest sum of squared distances to its m - f - 2 nearest others.

    AR(x) = x_i*, i* = argmin_i Σ_{j ∈ N_i} ‖x_i - x_j‖², N_i the m - f - 2 vectors nearest to x_i,
    itself not among them. Many implementations count m - f - 1 of them, or do not square.

    Ties: the worker that comes first; coordinate-wise, the smallest value.

    Validity: m >= 2f + 3; breakdown point 1/2 (in high dimension an attacker has a leeway of √d).
    On ragged input: scope "coordinate" is one-dimensional Krum on those that sent the coordinate;
    scope "block" is Krum on the vectors of those that sent the whole block.

    Source: Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent", NeurIPS 2017.
    """

    paper = "Blanchard et al., NeurIPS 2017"
    formula = "x_i with the least Σ ‖x_i - x_j‖² over its m - f - 2 nearest x_j"
    validity = "n >= 2f + 3"

    @property
    def minimum(self) -> int:
        """Krum's condition for its guarantee, 2f + 3."""
        return 2 * self.f + 3

    def of_rows(self, rows: Tensor) -> Tensor:
        """Return the best row."""
        neighbours = len(rows) - self.f - 2
        nearest = squared_distances(rows).sort(dim=1).values[:, 1 : neighbours + 1]
        # After the sort the zero distance of a vector to itself stands first.
        scores = nearest.sum(dim=1)
        best = int(scores.argmin())
        if not torch.isfinite(scores[best]):
            raise NonFiniteError(
                f"Krum: more than f={self.f} of {len(rows)} workers sent NaN or infinite values, "
                "or values too large to square"
            )
        return rows[best].clone()

    def of_columns(self, columns: Columns) -> Tensor:
        """Return the best value of each column.

        In a sorted column a value's nearest neighbours stand beside it, so the best value with its
        neighbours fills one of the f + 2 windows of k = m - f - 1 rows. Around a member x of a
        window with mean μ the squared distances sum to Σ (x_j - μ)² + k (x - μ)²; only the member
        nearest to μ can be best.
        """
        f, count = self.f, columns.count
        k = count - f - 1
        centre = columns.median()
        # NaN and what was not sent become +inf, so that the columns stay sorted.
        x = (columns.values.double() - centre).nan_to_num(torch.inf, torch.inf, -torch.inf)
        rows = torch.arange(len(x), device=x.device)[:, None]
        moments = []
        for power in (x, x * x):
            # Rows f+1 .. k-1 belong to every window; each adds some on the left and on the right.
            core = keep(power[f + 1 :], rows[f + 1 :] < k).sum(dim=0)
            left = power[: f + 1].flip(0).cumsum(0).flip(0)
            right = power.gather(0, k + rows[: f + 1]).cumsum(0)
            zero = torch.zeros_like(core)[None]
            moments.append(core + torch.cat((left, zero)) + torch.cat((zero, right)))
        mean = moments[0] / k
        scatter = (moments[1] - moments[0] * mean).clamp_min(0.0)
        start = rows[: f + 2]
        found = torch.searchsorted(x.T.contiguous(), mean.T.contiguous()).T
        upper = torch.minimum(torch.maximum(found, start + 1), start + k - 1)
        nearer_below = mean - x.gather(0, upper - 1) <= x.gather(0, upper) - mean
        nearest = torch.where(nearer_below, upper - 1, upper)
        score = scatter + k * (x.gather(0, nearest) - mean).square()
        best = score.nan_to_num(nan=torch.inf).argmin(dim=0)
        return columns.at(nearest.gather(0, best[None])[0])
