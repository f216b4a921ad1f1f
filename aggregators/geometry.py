"""Distances between workers' vectors, from one matrix of inner products."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Columns


def squared_distances(rows: Tensor) -> Tensor:
    """Return all ‖x_i - x_j‖², (m, b) -> (m, m) float64.

    The rows are centred on their coordinate-wise median, which outliers can't choose, before the
    inner products are taken in float64: a tight cluster far from the origin keeps its distances,
    whatever the outliers send. A row with NaN or infinite entries is infinitely far from all.
    """
    finite = torch.isfinite(rows).all(dim=1)
    centred = rows.double() - Columns.sort(rows).median()
    centred[~finite] = 0.0
    if not finite.all():
        centred = centred.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    gram = centred @ centred.T
    norms = gram.diagonal()
    distances = (norms[:, None] + norms[None, :] - 2.0 * gram).clamp_min(0.0)
    distances = distances.nan_to_num(nan=torch.inf, posinf=torch.inf)
    distances[~finite] = distances[:, ~finite] = torch.inf
    return distances.fill_diagonal_(0.0)
