"""What every geometric rule sees: vectors that are known by their inner products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform

from hgobench.kernels.inner_products import inner_products, summed
from hgobench.kernels.tiles import combinations, map_tiles, tiles
from hgobench.lazy import Tensor, torch

from .columns import Columns
from .errors import NonFiniteError
from .view import ServerView

LARGEST = 1e100  # squares, their sums and products stay finite in float64
ROUNDING = 1e-12  # sums of weights that differ by less are equal
TINY = 1e-30  # weights below it are not for float32
# ‖x - y‖² has a relative error below 1e-4, mostly 1e-6, if it exceeds this share of ‖x‖² + ‖y‖²
APART = 0.05
COLUMNS = 2000  # as many at once: their float64 copies stay in a core's cache
CANCELLED = 1e-3  # a combination that cancels its terms below this share is computed in float64
SQUARES = 1e-24, 1e30  # range of ‖x‖² in which float32 products neither vanish nor overflow


class Vectors:
    """m vectors, each either sent by a worker or a combination of sent vectors.

    A geometric rule needs inner products alone: it turns them into weights, and the weighted sum
    of what was sent is the only other time that it is read. Combinations (averages of neighbours,
    of buckets, shortened vectors) are coefficients, so their inner products cost no new pass.

    Distances between float32 vectors come from float32 products, summed over tiles in float64,
    where all vectors are equal or far enough apart for that. Elsewhere what was sent is centred on
    its coordinate-wise median c, which outliers can't choose, before inner products are taken in
    float64: a tight cluster far from the origin keeps its distances, whatever the outliers send.

    A vector with an entry that is NaN, infinite, or of 1e100 and more counts as infinitely far from
    everything. (In float64, squares of what is below 1e-150 vanish: such vectors are all alike.)

    Whatever their device, inner products and all that follows from them are on the CPU: there a
    rule decides, and only its weights go back to where the vectors are.

    Args:
        sent: (n, b), a row per worker.
        view: what the server knows of the round; its workers are those of `sent`.

    Attributes:
        view: as given.

    >>> vectors = Vectors(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    >>> vectors.squared_distances
    tensor([[ 0., 25.],
            [25.,  0.]], dtype=torch.float64)
    >>> vectors.mean(torch.tensor([0, 1]))
    tensor([1.5000, 2.0000])
    """

    served = slice(None)  # the coordinates whose combinations are asked for
    masked = False  # whether combinations are means over who sent a coordinate

    def __init__(self, sent: Tensor, view: ServerView | None = None) -> None:
        self._values = sent
        if view is not None:
            self.view = view
        self._mixing: Tensor | None = None  # (m, n): each vector as a combination of the sent ones
        self._source = self

    @cached_property
    def view(self) -> ServerView:
        """Return what the server knows of the round; nothing, if it was not given."""
        return ServerView()

    @property
    def sent(self) -> Tensor:
        """Return what was sent, (n, b)."""
        return self._source._values

    @property
    def width(self) -> int:
        """Return b."""
        return self.sent.shape[1]

    def __len__(self) -> int:
        return len(self.sent if self._mixing is None else self._mixing)

    @cached_property
    def finite(self) -> Tensor:
        """Return which vectors count as finite, (m,) bool."""
        sent = self.sent
        everything = torch.ones(len(sent), dtype=torch.bool)
        if vars(self).get("_float32_gram") is not None:  # it exists only if all vectors are finite
            return everything
        if sent.dtype == torch.float32:
            sums = map_tiles(lambda part: float(sent[:, part].sum()), tiles(sent))
            if all(map(math.isfinite, sums)):
                return everything
        most = map_tiles(lambda part: sent[:, part].abs().amax(dim=1), tiles(sent))
        return (torch.stack(most).amax(dim=0) < LARGEST).cpu()

    def _all_finite(self) -> bool:
        return bool(self.finite.numpy().all())  # of so few a third of the time of torch's

    def require(self, f: int, name: str) -> None:
        """Raise NonFiniteError if more than f vectors, or all, are not finite."""
        bad = len(self) - np.count_nonzero(self.finite.numpy())
        if bad > f or bad == len(self):
            raise NonFiniteError(
                f"{name}: no finite answer; {bad} of {len(self)} vectors are NaN, infinite or too "
                f"large to square, and f={f}"
            )

    @cached_property
    def _centred_gram(self) -> tuple[Tensor, Tensor]:
        """Return c, (b,), and the (1 + n, 1 + n) inner products of c and all x_i - c."""
        bad = ~self.finite
        any_bad = bool(bad.any())

        def centred(part: slice) -> tuple[Tensor, Tensor]:
            tile = self.sent[:, part]
            centre = Columns.sort(tile).median()
            if any_bad:
                # Where most are not finite the median may not be either; any centre will do.
                centre = centre.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            rows = torch.cat((centre[None], tile - centre))
            if any_bad:
                rows[1:][bad] = 0.0
            return centre, inner_products(rows)

        centres, parts = zip(*map_tiles(centred, tiles(self.sent)), strict=True)
        return torch.cat(centres), _total(parts)

    @cached_property
    def _float32_gram(self) -> Tensor | None:
        """Return the inner products of what was sent, (n, n) float64, from float32 ones.

        None where distances computed from them would not be accurate enough.
        """
        if (sums_of_few := self._products()) is None:
            return None
        products = sums_of_few.numpy()
        squares = products.diagonal()
        least, most = SQUARES
        if not (squares <= most).all():
            return None
        if not all(self._is_zero(int(row)) for row in np.flatnonzero(squares < least)):
            return None
        close = _close(products)
        if np.count_nonzero(close) > len(close):
            # Equal vectors have distance 0 and the same distances from others: use the first.
            first = close.argmax(axis=1)
            twins = [(row, twin) for row, twin in enumerate(first.tolist()) if row != twin]
            if not np.array_equal(close, first[:, None] == first):
                return None
            if not all(self._are_equal(row, twin) for row, twin in twins):
                return None
            products = products[first][:, first]
        return torch.from_numpy(products)

    def _products(self) -> Tensor | None:
        """Return the inner products of float32 vectors from sums of few float32 terms, (n, n)."""
        sent = self.sent
        if sent.dtype != torch.float32:
            return None
        return _total(map_tiles(lambda part: summed(sent[:, part]), tiles(sent)))

    def _is_zero(self, row: int) -> bool:
        return not bool(self.sent[row].any())

    def _are_equal(self, row: int, other: int) -> bool:
        return torch.equal(self.sent[row], self.sent[other])

    @cached_property
    def _float64_gram(self) -> Tensor:
        """Return the inner products of what was sent, (n, n) float64, 0 for what is not finite."""
        bad = ~self.finite
        any_bad = bool(bad.any())

        def plain(part: slice) -> Tensor:
            rows = self.sent[:, part].double()
            if any_bad:
                rows = rows.clone()
                rows[bad] = 0.0
            return inner_products(rows)

        return _total(map_tiles(plain, tiles(self.sent)))

    @cached_property
    def _origin_weight(self) -> float:
        """Return t; `gram` uses t·c, a point among the vectors, as origin if float32 fails."""
        return 1.0 if self._mixing is None else float(self._mixing.sum(dim=1).median())

    @cached_property
    def gram(self) -> Tensor:
        """Return (m, m) float64: ⟨x_i - o, x_j - o⟩, 0 for what is not finite.

        The origin o is 0 where float32 products tell distances, else a point among the vectors.
        """
        mixing = self._mixing
        if self._gram_from_float32 is not None:
            gram = self._gram_from_float32
        else:
            gram = self._source._centred_gram[1][1:, 1:]
            if mixing is not None:
                of_centre = mixing.sum(dim=1, keepdim=True) - self._origin_weight
                of_centre[of_centre.abs() < ROUNDING] = 0.0
                relative = torch.cat((of_centre, mixing), dim=1)
                gram = relative @ self._source._centred_gram[1] @ relative.T
        if not self._all_finite():
            gram = gram.masked_fill(~(self.finite & self.finite[:, None]), 0.0)
        return gram if mixing is None else (gram + gram.T) / 2.0

    @cached_property
    def _gram_from_float32(self) -> Tensor | None:
        """Return `gram` from float32 products; None if distances would not be accurate.

        Where the terms of a combination cancel, their rounding error remains: ‖Σ δ_k x_k‖² is
        wrong by a fraction of (Σ |δ_k| ‖x_k‖)².
        """
        quick, mixing = self._source._float32_gram, self._mixing
        if quick is None or mixing is None:
            return quick
        gram = mixing @ quick @ mixing.T
        norms = gram.diagonal()
        parts = (mixing * quick.diagonal().sqrt()).numpy()
        distances = (norms[:, None] + norms - 2.0 * gram).numpy()
        bounds = CANCELLED * squareform(pdist(parts, "cityblock")) ** 2
        return None if ((distances < bounds) & (bounds > 0)).any() else gram

    @cached_property
    def squared_distances(self) -> Tensor:
        """Return all ‖x_i - x_j‖², (m, m) float64; inf from and to what is not finite."""
        distances = torch.from_numpy(_squared_distances(self.gram.numpy()))
        if not self._all_finite():
            distances[~self.finite] = torch.inf
            distances[:, ~self.finite] = torch.inf
        return distances.fill_diagonal_(0.0)

    def squared_distances_from(self, k: int) -> Tensor:
        """Return all ‖x_i - x_k‖², (m,) float64; inf from and to what is not finite."""
        if self._mixing is not None:
            return self.squared_distances[k]
        far = _total(map_tiles(lambda part: _squares(self.sent[:, part], k), tiles(self.sent)))
        if not self._all_finite():
            far.masked_fill_(~(self.finite & self.finite[k]), torch.inf)
        return far

    def distances_to(self, point: Tensor) -> Tensor:
        """Return all ‖x_i - z‖ for a point z, (b,) -> (m,) float64; inf for what is not finite."""
        wide = point.double()

        def squares(part: slice) -> Tensor:
            return (self.columns(part).double() - wide[part]).square_().sum(dim=1)

        total = _total(map_tiles(squares, tiles(self.sent, copies=4)))
        return total.sqrt_().masked_fill_(~self.finite, torch.inf)

    def settled(self, answer: Tensor) -> Tensor:
        """Return an answer that is not the last one, as a point: (b,)."""
        return answer

    def whole(self) -> Vectors:
        """Return the vectors with all their coordinates asked for."""
        return self

    @cached_property
    def inner(self) -> Tensor:
        """Return (m, m) float64: ⟨x_i, x_j⟩, 0 for what is not finite.

        They are taken from the origin, not from a centre that a majority of attackers may choose.
        """
        plain = self._source._float64_gram
        return plain if self._mixing is None else self._mixing @ plain @ self._mixing.T

    @cached_property
    def norms(self) -> Tensor:
        """Return ‖x_i‖, (m,) float64; inf for what is not finite."""
        if self._mixing is None:
            squares = self._squared_lengths
        else:
            squares = self.inner.diagonal().clamp_min(0.0)
        return squares.sqrt().masked_fill_(~self.finite, torch.inf)

    @cached_property
    def _squared_lengths(self) -> Tensor:
        """Return ‖x_i‖² of what was sent, (n,) float64."""
        return _total(map_tiles(lambda part: _squares(self.sent[:, part]), tiles(self.sent)))

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
        return self.columns(slice(None))

    def columns(self, part: slice) -> Tensor:
        """Return some coordinates of the vectors, (m, b'), NaN where a vector is not finite."""
        if self._mixing is None:
            return self._source._read(part)
        rows = self._sums(self._mixing, part)
        if not self.finite.all():
            rows[~self.finite] = torch.nan
        return rows

    def _read(self, part: slice) -> Tensor:
        """Return some coordinates of what was sent, (n, b')."""
        return self.sent[:, part]

    def on_served(self, aggregate: Callable[[Vectors], Tensor]) -> Tensor:
        """Return what `aggregate` makes of the coordinates that are asked for, (b,)."""
        return aggregate(self)

    def sampled(self, chosen: Tensor) -> Vectors:
        """Return the vectors on some coordinates alone, (b',) int64; who is finite stays so."""
        rows = self.rows
        some = Vectors(rows[:, chosen.to(rows.device)])
        some.finite &= self.finite
        return some

    def combine(self, weights: Tensor, rest: float = 0.0) -> Tensor:
        """Return Σ w_i x_i + rest · o, (b,); vectors of weight 0 are not touched.

        Args:
            weights: (m,) float64, 0 for what is not finite.
            rest: the weight of the origin that `gram` looks from.
        """
        if self._mixing is not None:
            used = weights != 0
            weights = weights[used] @ self._mixing[used]
        served = self._source.served
        total = self._sums(weights[None], served)[0]
        if abs(rest) > ROUNDING and self._gram_from_float32 is None:  # else the origin is 0
            centre = self._source._centred_gram[0][served]
            total += (rest * self._origin_weight * centre).to(total)
        if len(total) < self.width:
            whole = total.new_zeros(self.width)
            whole[served] = total
            return whole
        return total

    def mean(self, chosen: Tensor) -> Tensor:
        """Return the mean of some vectors, by (k,) indices or (m,) bool."""
        weights = np.zeros(len(self))
        weights[np.asarray(chosen)] = 1.0
        share = torch.from_numpy(weights / weights.sum())
        self.tell(share)
        return self.combine(share)

    def tell(self, weights: Tensor) -> None:
        """Tell the view's trace that an answer is Σ w_i x_i.

        Args:
            weights: (m,) float64 that no small change of the vectors changes, as of a choice.
        """
        if self.view.trace is not None:
            served = self._source.served
            columns = len(range(*served.indices(self.width)))
            self.view.tell(lambda: np.repeat(weights.numpy()[:, None], columns, axis=1), served)

    def _sums(self, weights: Tensor, part: slice = slice(None)) -> Tensor:
        """Return combinations of what was sent, (k, n) -> (k, b), in its dtype."""
        numbers = weights.numpy()
        sizes = np.abs(numbers)
        used = (sizes > 0).any(axis=0)
        rows, count = self._source._read(part), np.count_nonzero(used)
        if count < len(used) and not (4 * count > len(used) and self._source._all_finite()):
            chosen = np.flatnonzero(used)
            rows = rows.index_select(0, torch.from_numpy(chosen).to(rows.device))
            numbers, sizes = numbers[:, chosen], sizes[:, chosen]
        # The weight of a huge vector may be too small for float32, though their product is not.
        if not (tiny := ((sizes < TINY) & (sizes > 0)).any(axis=0)).any():
            return combinations(torch.from_numpy(numbers).to(rows), rows)
        sums = torch.from_numpy(numbers[:, ~tiny]).to(rows) @ rows[torch.from_numpy(~tiny)]
        huge = rows[torch.from_numpy(tiny)].double()
        return (sums.double() + torch.from_numpy(numbers[:, tiny]).to(huge) @ huge).to(rows)

    def untraced(self) -> Vectors:
        """Return the vectors for a step whose answer is changed afterwards: it tells no trace."""
        if self.view.trace is None:
            return self
        new = copy(self)
        new.view = replace(self.view, trace=None)
        return new

    def mixed(self, matrix: Tensor, *, same_workers: bool = True, chosen: bool = False) -> Vectors:
        """Return k combinations of the vectors; a combination of a non-finite vector is non-finite.

        Args:
            matrix: (k, m) float64, row i weighs the vectors.
            same_workers: whether vector i is still worker i's; then k = m. Else they are anonymous.
            chosen: whether no small change of the vectors changes the matrix, as means of chosen
                ones.
        """
        new = type(self).__new__(type(self))
        new._source = self._source
        new.finite = ~((matrix != 0) & ~self.finite).any(dim=1)
        if not self.finite.all():
            matrix = matrix.masked_fill(~self.finite, 0.0).masked_fill(~new.finite[:, None], 0.0)
        mixing = matrix.numpy() if chosen else None
        new.view = self.view.next_step(same_workers=same_workers, mixing=mixing)
        new._mixing = matrix if self._mixing is None else matrix @ self._mixing
        return new

    def scaled(self, factors: Tensor) -> Vectors:
        """Return each vector times a factor, (m,) float64."""
        return self.mixed(torch.diag(factors.masked_fill(~self.finite, 1.0)))


def distances_of_runs(stack: Tensor) -> tuple[Tensor, NDArray[np.bool_]]:
    """Return ‖x_i - x_j‖² of several runs' float32 vectors at once.

    Args:
        stack: (G, m, b).

    Returns:
        (G, m, m) float64, the bits of `Vectors.squared_distances`; and (G,) of which runs: those
        whose vectors are all finite, none nearly 0 and no two nearly equal.
    """
    products = np.stack([np.asarray(Vectors(run)._products()) for run in stack])
    squares = products.diagonal(axis1=1, axis2=2)
    least, most = SQUARES
    known = ((squares >= least) & (squares <= most)).all(axis=1)
    products[~known] = 0.0  # there may be NaN
    known &= np.count_nonzero(_close(products), axis=(1, 2)) == products.shape[1]
    distances = _squared_distances(products)
    distances[:, np.eye(products.shape[1], dtype=bool)] = 0.0
    return torch.from_numpy(distances), known


def _close(products: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return whose float32 inner products, (.., m, m), do not tell how far apart they are."""
    squares = products.diagonal(axis1=-2, axis2=-1)
    sums = squares[..., :, None] + squares[..., None, :]
    return sums - 2.0 * products <= APART * sums


def _squared_distances(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ‖x_i - x_j‖² by their inner products, (.., m, m)."""
    norms = gram.diagonal(axis1=-2, axis2=-1)
    return np.maximum(norms[..., :, None] + norms[..., None, :] - 2.0 * gram, 0.0)


def _total(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of the tiles' results, on the CPU."""
    if len(parts) == 1:
        return parts[0].cpu()
    total = parts[0] + parts[1]
    for part in parts[2:]:  # a stack of all would be written to memory and read again
        total += part
    return total.cpu()


def _squares(rows: Tensor, k: int | None = None) -> Tensor:
    """Return all ‖x_i‖², or all ‖x_i - x_k‖², of (m, b) rows, (m,) float64."""
    width = min(rows.shape[1], COLUMNS)
    memory = rows.new_empty((len(rows), width), dtype=torch.float64)
    total: Tensor | None = None
    for some in torch.split(rows, width, dim=1) if width < rows.shape[1] else (rows,):
        x = memory[:, : some.shape[1]].copy_(some)
        if k is not None:
            x -= x[k].clone()
        squares = x.square_().sum(dim=1)
        total = squares if total is None else total + squares
    assert total is not None
    return total


def about_mean(gram: Tensor, share: Tensor | None = None) -> Tensor:
    """Return ⟨x_i - μ, x_j - μ⟩ from the inner products of m vectors, (..., m, m).

    >>> about_mean(torch.tensor([[1.0, 3.0], [3.0, 9.0]]))  # of the numbers 1 and 3
    tensor([[ 1., -1.],
            [-1.,  1.]])

    Args:
        gram: (..., m, m).
        share: (m,) the weights of μ = Σ share_i x_i, which sum to 1; None: 1/m each.
    """
    share = torch.full_like(gram[..., 0, :], 1.0 / gram.shape[-1]) if share is None else share
    product = (gram * share[..., None, :]).sum(dim=-1)
    centre = (product * share).sum(dim=-1)
    return gram - product[..., :, None] - product[..., None, :] + centre[..., None, None]
