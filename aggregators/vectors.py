"""What every geometric rule sees: vectors that are known by their inner products."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from .columns import Columns
from .errors import NonFiniteError
from .view import ServerView

LARGEST = 1e150  # squares and their sums stay finite in float64
CHUNK = 8192  # columns whose float64 copy stays in a core's cache


class Vectors:
    """m vectors, each one of those that were sent or a combination of them.

    A geometric rule needs inner products alone: it turns them into weights, and the weighted sum
    of what was sent is the only other time that it is read. Combinations (averages of neighbours,
    of buckets, shortened vectors) are coefficients, so their inner products cost no new pass.

    What was sent is centred on its coordinate-wise median c, which outliers can't choose, before
    inner products are taken in float64: a tight cluster far from the origin keeps its distances,
    whatever the outliers send.

    A vector with an entry that is NaN, infinite, or too large to square (1e150) counts as
    infinitely far from everything.

    Args:
        sent: (n, b), a row per worker.
        view: what the server knows of the round; its workers are those of `sent`.

    Attributes:
        sent, view: as given.
        finite: (m,) bool, which vectors count as finite.
    """

    def __init__(self, sent: Tensor, view: ServerView | None = None) -> None:
        self.sent = sent
        self.view = view or ServerView()
        self.finite = sent.abs().amax(dim=1) < LARGEST
        self._coefficients: Tensor | None = None  # (m, 1 + n): of c and of each x_i - c
        self._source = self

    def __len__(self) -> int:
        return len(self.finite)

    def require(self, f: int, name: str) -> None:
        """Raise NonFiniteError if more than f vectors are not finite."""
        if (bad := int((~self.finite).sum())) > f:
            raise NonFiniteError(
                f"{name}: no finite answer; {bad} of {len(self)} vectors are NaN, infinite or too "
                f"large to square, and f={f}"
            )

    @cached_property
    def centre(self) -> Tensor:
        """Return c, (b,) float64, the coordinate-wise median of what was sent."""
        return self._source._centre_and_products[0]

    @cached_property
    def _centre_and_products(self) -> tuple[Tensor, Tensor]:
        """Return c, and the (1 + n, 1 + n) inner products of c and all x_i - c."""
        n, b = self.sent.shape
        bad = None if bool(self.finite.all()) else ~self.finite
        products = torch.zeros(1 + n, 1 + n, dtype=torch.float64, device=self.sent.device)
        centres = []
        for start in range(0, b, CHUNK):
            part = self.sent[:, start : start + CHUNK]
            centre = Columns.sort(part).median()
            if bad is not None:
                # Where most are not finite the median may not be either; any centre will do.
                centre = centre.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            rows = torch.cat((centre[None], part.double() - centre))
            if bad is not None:
                rows[1:][bad] = 0.0
            products += rows @ rows.T
            centres.append(centre)
        return torch.cat(centres), products

    @cached_property
    def coefficients(self) -> Tensor:
        """Return (m, 1 + n) float64: vector i is coefficient 0 times c, and j times x_j - c."""
        if self._coefficients is not None:
            return self._coefficients
        n = len(self.sent)
        eye = torch.eye(n, dtype=torch.float64, device=self.sent.device)
        return torch.cat((eye.new_ones(n, 1), eye), dim=1)

    @cached_property
    def _origin(self) -> float:
        """Return t: t·c is a point among the vectors, from which `gram` looks at them."""
        return 1.0 if self._coefficients is None else float(self._coefficients[:, 0].median())

    @cached_property
    def gram(self) -> Tensor:
        """Return (m, m) float64: ⟨x_i - o, x_j - o⟩, the origin o a point among the vectors.

        Rows and columns of vectors that are not finite mean nothing.
        """
        products = self._source._centre_and_products[1]
        gram = products[1:, 1:]
        if self._coefficients is not None:
            relative = self._coefficients.clone()
            relative[:, 0] -= self._origin
            gram = relative @ products @ relative.T
        return (gram + gram.T) / 2.0  # so that i is exactly as far from j as j from i

    @cached_property
    def squared_distances(self) -> Tensor:
        """Return all ‖x_i - x_j‖², (m, m) float64; inf from and to what is not finite."""
        norms = self.gram.diagonal()
        distances = (norms[:, None] + norms[None, :] - 2.0 * self.gram).clamp_min(0.0)
        distances[~self.finite] = torch.inf
        distances[:, ~self.finite] = torch.inf
        return distances.fill_diagonal_(0.0)

    @cached_property
    def inner(self) -> Tensor:
        """Return (m, m) float64: ⟨x_i, x_j⟩, 0 for what is not finite."""
        products = self._source._centre_and_products[1]
        inner = self.coefficients @ products @ self.coefficients.T
        inner[~self.finite] = 0.0
        inner[:, ~self.finite] = 0.0
        return inner

    @cached_property
    def norms(self) -> Tensor:
        """Return ‖x_i‖, (m,) float64; inf for what is not finite."""
        return self.inner.diagonal().clamp_min(0.0).sqrt().masked_fill(~self.finite, torch.inf)

    @cached_property
    def cosines(self) -> Tensor:
        """Return cos(x_i, x_j), (m, m) in [-1, 1]; 0 for a zero vector and what is not finite.

        They are rounded to 12 decimals, so that parallel vectors are parallel.
        """
        norms = self.norms.masked_fill(~self.finite, 0.0)
        scale = torch.where(norms > 0, 1.0 / norms, 0.0)
        return (self.inner * scale[:, None] * scale).clamp(-1.0, 1.0).round(decimals=12)

    @cached_property
    def rows(self) -> Tensor:
        """Return the vectors themselves, (m, b), NaN where they are not finite."""
        if self._coefficients is None:
            return self.sent
        rows = self._sums(self._coefficients)
        rows[~self.finite] = torch.nan
        return rows

    def combine(self, weights: Tensor, rest: float = 0.0) -> Tensor:
        """Return Σ w_i x_i + rest · o, (b,); vectors of weight 0 are not touched.

        Args:
            weights: (m,) float64, 0 for what is not finite.
            rest: the weight of the origin that `gram` looks from.
        """
        used = weights != 0
        coefficients = weights[used] @ self.coefficients[used]
        coefficients[0] += rest * self._origin
        return self._sums(coefficients[None])[0]

    def mean(self, chosen: Tensor) -> Tensor:
        """Return the mean of some vectors, by (k,) indices or (m,) bool."""
        weights = torch.zeros(len(self), dtype=torch.float64, device=self.sent.device)
        weights[chosen] = 1.0
        return self.combine(weights / weights.sum())

    def _sums(self, coefficients: Tensor) -> Tensor:
        """Return (k, b) combinations of c and the x_j - c, in the dtype of what was sent."""
        of_rows = coefficients[:, 1:]
        of_centre = coefficients[:, 0] - of_rows.sum(dim=1)
        # Affine combinations have no part of c but for rounding.
        of_centre[of_centre.abs() <= 1e-12 * coefficients.abs().sum(dim=1)] = 0.0
        used = (of_rows != 0).any(dim=0)
        rows = self.sent if bool(used.all()) else self.sent[used]
        sums = of_rows[:, used].to(rows) @ rows
        if of_centre.any():
            sums += torch.outer(of_centre, self.centre).to(sums)
        return sums

    def mixed(self, matrix: Tensor) -> Vectors:
        """Return k combinations of the vectors: row i of `matrix` (k, m) float64 weighs them.

        If there are as many as before, each still is its worker's. One that gives weight to a
        vector that is not finite is not finite either.
        """
        new = Vectors.__new__(Vectors)
        new.sent, new._source = self.sent, self._source
        new.view = self.view
        if len(matrix) != len(self):
            new.view = replace(self.view, workers=None, honest=None)
        new.finite = ~((matrix != 0) & ~self.finite).any(dim=1)
        usable = matrix.masked_fill(~self.finite, 0.0).masked_fill(~new.finite[:, None], 0.0)
        new._coefficients = usable @ self.coefficients
        return new

    def scaled(self, factors: Tensor) -> Vectors:
        """Return each vector times a factor, (m,) float64."""
        return self.mixed(torch.diag(factors.masked_fill(~self.finite, 1.0)))
