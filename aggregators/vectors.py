"""What every geometric rule sees: vectors that are known by their inner products."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from .columns import Columns
from .errors import NonFiniteError
from .view import ServerView

LARGEST = 1e100  # squares, their sums and products stay finite in float64
ROUNDING = 1e-12  # sums of weights that differ by less are equal
TINY = 1e-30  # weights below it are not for float32
CHUNK = 8192  # columns whose float64 copy stays in a core's cache


class Vectors:
    """m vectors, each one of those that were sent or a combination of them.

    A geometric rule needs inner products alone: it turns them into weights, and the weighted sum
    of what was sent is the only other time that it is read. Combinations (averages of neighbours,
    of buckets, shortened vectors) are coefficients, so their inner products cost no new pass.

    What was sent is centred on its coordinate-wise median c, which outliers can't choose, before
    inner products are taken in float64: a tight cluster far from the origin keeps its distances,
    whatever the outliers send.

    A vector with an entry that is NaN, infinite, or of 1e100 and more counts as infinitely far from
    everything. (In float64, squares of what is below 1e-150 vanish: such vectors are all alike.)

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
        self._mixing: Tensor | None = None  # (m, n): each vector as a combination of the sent ones
        self._source = self

    def __len__(self) -> int:
        return len(self.finite)

    def require(self, f: int, name: str) -> None:
        """Raise NonFiniteError if more than f vectors, or all, are not finite."""
        if (bad := int((~self.finite).sum())) > f or bad == len(self):
            raise NonFiniteError(
                f"{name}: no finite answer; {bad} of {len(self)} vectors are NaN, infinite or too "
                f"large to square, and f={f}"
            )

    @cached_property
    def _centred(self) -> tuple[Tensor, Tensor]:
        """Return c, (b,), and the (1 + n, 1 + n) inner products of c and all x_i - c."""
        n, bad = len(self), ~self.finite
        any_bad = bool(bad.any())
        products = torch.zeros(1 + n, 1 + n, dtype=torch.float64, device=self.sent.device)
        centres = []
        for part in torch.split(self.sent, CHUNK, dim=1):
            centre = Columns.sort(part).median()
            if any_bad:
                # Where most are not finite the median may not be either; any centre will do.
                centre = centre.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            rows = torch.cat((centre[None], part.double() - centre))
            if any_bad:
                rows[1:][bad] = 0.0
            products += rows @ rows.T
            centres.append(centre)
        return torch.cat(centres), products

    @cached_property
    def _plain(self) -> Tensor:
        """Return the inner products of what was sent, (n, n), 0 for what is not finite."""
        n, bad = len(self), ~self.finite
        any_bad = bool(bad.any())
        products = torch.zeros(n, n, dtype=torch.float64, device=self.sent.device)
        for part in torch.split(self.sent, CHUNK, dim=1):
            rows = part.double()
            if any_bad:
                rows = rows.masked_fill(bad[:, None], 0.0)
            products += rows @ rows.T
        return products

    @cached_property
    def _origin(self) -> float:
        """Return t: t·c is a point among the vectors, from which `gram` looks at them."""
        return 1.0 if self._mixing is None else float(self._mixing.sum(dim=1).median())

    @cached_property
    def gram(self) -> Tensor:
        """Return (m, m) float64: ⟨x_i - o, x_j - o⟩, the origin o a point among the vectors.

        It is 0 for what is not finite.
        """
        products = self._source._centred[1]
        gram = products[1:, 1:]
        if self._mixing is not None:
            of_centre = self._mixing.sum(dim=1, keepdim=True) - self._origin
            of_centre[of_centre.abs() < ROUNDING] = 0.0
            relative = torch.cat((of_centre, self._mixing), dim=1)
            gram = relative @ products @ relative.T
        gram = gram.masked_fill(~(self.finite & self.finite[:, None]), 0.0)
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
        """Return (m, m) float64: ⟨x_i, x_j⟩, 0 for what is not finite.

        They are taken from the origin, not from a centre that a majority of attackers may choose.
        """
        plain = self._source._plain
        return plain if self._mixing is None else self._mixing @ plain @ self._mixing.T

    @cached_property
    def norms(self) -> Tensor:
        """Return ‖x_i‖, (m,) float64; inf for what is not finite."""
        return self.inner.diagonal().clamp_min(0.0).sqrt().masked_fill(~self.finite, torch.inf)

    def shortening(self, length: float | Tensor) -> Tensor:
        """Return min(1, length / ‖x_i‖), (m,): the factors that cut the vectors to a length."""
        return torch.where(self.norms > length, length / self.norms, 1.0)

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
        if self._mixing is None:
            return self.sent
        rows = self._sums(self._mixing)
        rows[~self.finite] = torch.nan
        return rows

    def combine(self, weights: Tensor, rest: float = 0.0) -> Tensor:
        """Return Σ w_i x_i + rest · o, (b,); vectors of weight 0 are not touched.

        Args:
            weights: (m,) float64, 0 for what is not finite.
            rest: the weight of the origin that `gram` looks from.
        """
        if self._mixing is not None:
            used = weights != 0
            weights = weights[used] @ self._mixing[used]
        total = self._sums(weights[None])[0]
        if abs(rest) > ROUNDING:
            total += (rest * self._origin * self._source._centred[0]).to(total)
        return total

    def mean(self, chosen: Tensor) -> Tensor:
        """Return the mean of some vectors, by (k,) indices or (m,) bool."""
        weights = torch.zeros(len(self), dtype=torch.float64, device=self.sent.device)
        weights[chosen] = 1.0
        return self.combine(weights / weights.sum())

    def _sums(self, weights: Tensor) -> Tensor:
        """Return combinations of what was sent, (k, n) -> (k, b), in its dtype."""
        used = (weights != 0).any(dim=0)
        rows = self.sent if bool(used.all()) else self.sent[used]
        weights = weights[:, used]
        # The weight of a huge vector may be too small for float32, though their product is not.
        tiny = ((weights.abs() < TINY) & (weights != 0)).any(dim=0)
        if not tiny.any():
            return weights.to(rows) @ rows
        sums = weights[:, ~tiny].to(rows) @ rows[~tiny]
        return (sums.double() + weights[:, tiny] @ rows[tiny].double()).to(rows)

    def mixed(self, matrix: Tensor, *, same_workers: bool = True) -> Vectors:
        """Return k combinations of the vectors; one of a vector that is not finite is neither.

        Args:
            matrix: (k, m) float64, row i weighs the vectors.
            same_workers: whether each still is its worker's, then k = m; else they are nobody's.
        """
        new = Vectors.__new__(Vectors)
        new.sent, new._source = self.sent, self._source
        new.view = self.view.next_step(same_workers=same_workers)
        new.finite = ~((matrix != 0) & ~self.finite).any(dim=1)
        usable = matrix.masked_fill(~self.finite, 0.0).masked_fill(~new.finite[:, None], 0.0)
        new._mixing = usable if self._mixing is None else usable @ self._mixing
        return new

    def scaled(self, factors: Tensor) -> Vectors:
        """Return each vector times a factor, (m,) float64."""
        return self.mixed(torch.diag(factors.masked_fill(~self.finite, 1.0)))


def about_mean(gram: Tensor, share: Tensor | None = None) -> Tensor:
    """Return ⟨x_i - μ, x_j - μ⟩ from the inner products of m vectors, (..., m, m).

    Args:
        gram: (..., m, m).
        share: (m,) the weights of μ = Σ share_i x_i, which sum to 1; None: 1/m each.
    """
    share = torch.full_like(gram[..., 0, :], 1.0 / gram.shape[-1]) if share is None else share
    product = (gram * share[..., None, :]).sum(dim=-1)
    centre = (product * share).sum(dim=-1)
    return gram - product[..., :, None] - product[..., None, :] + centre[..., None, None]
