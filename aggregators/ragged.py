"""Vectors of workers that sent different coordinates: scopes "staircase" and "masked"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hgobench.kernels.arrays import count_columns, zero_where_false
from hgobench.kernels.inner_products import inner_products, summed
from hgobench.kernels.tiles import map_tiles, tiles
from hgobench.lazy import Tensor, torch

from .columns import Columns, Sent
from .errors import RuleError
from .vectors import LARGEST, ROUNDING, Vectors
from .view import ServerView

MANY = 2**17  # numbers; of fewer, float32 products save nothing
INDEFINITE = 1e-10  # of the largest eigenvalue; what is below 0 by less is rounding

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Stair:
    """A step of the staircase: coordinates that the same workers sent.

    Attributes:
        columns: (k,) int64, which columns of the input it answers for.
        served: where they are among the columns of `vectors`.
        senders: how many workers.
        vectors: those workers' vectors on all columns that all of them sent.
    """

    columns: Tensor
    served: slice
    senders: int
    vectors: Vectors


def steps(values: Tensor, present: Tensor, view: ServerView) -> Iterator[Stair]:
    """Yield the steps of a vector rule in scope "staircase", those of the fewest workers first.

    For each set S of workers that are the senders of some coordinate: the vectors of S on all
    coordinates that all of S sent, those with the most senders first, the ones whose senders are
    exactly S last. If the rule answers on these vectors, the last ones count. A rule that remembers
    keeps only what belongs to them (see `ServerView.served`); what it remembers of other kinds, it
    remembers of every step, as if each were a round.

    Where workers sent prefixes of one order, the sets are nested. Inner products of a step are then
    sums over the segments between two lengths, and all steps together read the values about once.

    Args:
        values, present: (m, b); every column has a sender.
        view: what the server knows of the round.
    """
    counts = count_columns(present)
    order = present.sum(dim=1).argsort(descending=True, stable=True)
    rank = torch.arange(len(present), device=present.device)[:, None]
    if bool((present[order] == (rank < counts)).all()):
        staircase = _Staircase(values, order.cpu().numpy(), counts, view)
        yield from (staircase.stair(k) for k in reversed(range(len(staircase))))
        return
    sets, group = torch.unique(present.to(torch.uint8), dim=1, return_inverse=True)
    place = torch.arange(len(group), device=group.device)
    first = torch.full_like(place[: sets.shape[1]], len(group))
    first.scatter_reduce_(0, group, place, "amin")
    senders = sets.sum(dim=0).tolist()
    for _, start in sorted(zip(senders, first.tolist(), strict=True)):
        who = present[:, start]
        shared = present[who].all(dim=0).nonzero()[:, 0]
        shared = shared[(-counts[shared]).argsort(stable=True)]  # its own have the fewest senders
        own = int((counts[shared] == counts[start]).sum())
        before = len(shared) - own
        served = torch.arange(len(shared), device=values.device) >= before
        mine = view.of_part(who.nonzero()[:, 0].cpu().numpy(), shared, values.shape[1], served)
        vectors = Vectors(values[who].index_select(1, shared), mine)
        yield Stair(shared[before:], slice(before, len(shared)), len(vectors), vectors)


class _Staircase:
    """Nested steps: segment k of the columns is sent by S_k, and S_1 ⊃ S_2 ⊃ ...

    What a rule asks of a step is a sum over its segments. All steps' are computed at once, of all
    workers: what a worker did not send counts as 0 there, and no step looks at it.

    Args:
        values: (m, b).
        order: (m,) the workers, those that sent the most first.
        counts: (b,) how many sent each column.
        view: what the server knows of the round.

    Attributes:
        rows: which rows are S_k, ascending.
        columns: (b,) int64, which column of the input stands where: segment by segment.
        starts: where each segment starts, and b.
        ordered: (m, b) the values in this order, 0 for what was not sent.
    """

    def __init__(self, values: Tensor, order: Ints, counts: Tensor, view: ServerView) -> None:
        self.view = view
        sizes, lengths = (found.tolist() for found in torch.unique(counts, return_counts=True))
        self.rows: list[Ints] = [np.sort(order[:size]) for size in reversed(sizes)]
        self.starts: list[int] = [0, *np.cumsum(lengths[::-1]).tolist()]
        self.columns = counts.argsort(descending=True, stable=True)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        self._counts = counts[self.columns]
        self._present = torch.from_numpy(rank).to(counts.device)[:, None] < self._counts
        self.ordered = zero_where_false(values.index_select(1, self.columns), self._present)

    def __len__(self) -> int:
        return len(self.rows)

    def stair(self, k: int) -> Stair:
        """Return a step."""
        start, end = self.starts[k : k + 2]
        return Stair(self.columns[start:end], slice(start, end), len(self.rows[k]), Step(self, k))

    @cached_property
    def finite(self) -> NDArray[np.bool_]:
        """Return which vectors of each step are finite, (K, m)."""
        parts = Vectors(self.ordered)
        if parts._all_finite():
            return np.ones((len(self), len(self.ordered)), dtype=bool)
        most = self._summed(lambda part: self.ordered[:, part].abs(), _largest)
        return np.logical_and.accumulate(most < LARGEST, axis=0)

    @cached_property
    def centre(self) -> Tensor:
        """Return the coordinate-wise median of what was sent, (b,) float64."""

        def median(part: slice) -> Tensor:
            tile, there = self.ordered[:, part], self._present[:, part]
            return Columns.sort(tile, Sent.of(there, self._counts[part])).median()

        centre = torch.cat(map_tiles(median, tiles(self.ordered)))
        if self.finite.all():
            return centre
        # Where most are not finite the median may not be either; any centre will do.
        return centre.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

    @cached_property
    def products(self) -> NDArray[np.float64] | None:
        """Return the inner products of each step from float32 ones, (K, m, m).

        None where they are not float32, or so few that float64 costs no more.
        """
        if self.ordered.dtype != torch.float32 or self.ordered.numel() < MANY:
            return None
        return self._running(lambda part: self.ordered[:, part], summed)

    @cached_property
    def float64_grams(self) -> NDArray[np.float64]:
        """Return the inner products of each step, (K, m, m)."""
        return self._running(lambda part: self._wide(part, self.ordered[:, part]), inner_products)

    @cached_property
    def centred_grams(self) -> NDArray[np.float64]:
        """Return those of each step's centre and of the vectors about it, (K, 1 + m, 1 + m).

        The centre is the median of all that sent a coordinate, also of those that a step lacks.
        """

        def about(part: slice) -> Tensor:
            centre = self.centre[part]
            apart = zero_where_false(self.ordered[:, part] - centre, self._present[:, part])
            return torch.cat((centre[None], self._wide(part, apart)))

        return self._running(about, inner_products)

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """Return ‖x_i - x_j‖² of each step from `centred_grams`, (K, m, m)."""
        grams = self.centred_grams[:, 1:, 1:]
        norms = grams.diagonal(axis1=1, axis2=2)
        distances = np.maximum(norms[:, :, None] + norms[:, None] - 2.0 * grams, 0.0)
        distances[:, np.arange(len(self.ordered)), np.arange(len(self.ordered))] = 0.0
        return distances

    @cached_property
    def squared_lengths(self) -> NDArray[np.float64]:
        """Return ‖x_i‖² of each step, (K, m)."""
        return self._running(
            lambda part: self._wide(part, self.ordered[:, part]).square(), lambda x: x.sum(dim=1)
        )

    def _wide(self, part: slice, rows: Tensor) -> Tensor:
        """Return columns in float64, 0 where a vector is not finite."""
        rows = rows.double()
        if self.finite.all():
            return rows
        steps = np.searchsorted(self.starts, np.arange(part.start, part.stop), side="right") - 1
        return zero_where_false(rows, torch.from_numpy(self.finite[steps].T).to(rows.device))

    def _running(
        self, rows: Callable[[slice], Tensor], total: Callable[[Tensor], Tensor]
    ) -> NDArray[np.float64]:
        """Return, for each step, the sum over its segments of what `total` says of their columns.

        Args:
            rows: given columns, what is known of them, (r, b').
            total: given some of those, (r, b'), their sum.
        """
        return self._summed(rows, total).cumsum(axis=0)

    def _summed(
        self, rows: Callable[[slice], Tensor], total: Callable[[Tensor], Tensor]
    ) -> NDArray[np.float64]:
        """Return, for each segment, what `total` says of its columns; over tiles it is added up."""

        def of_tile(part: slice) -> list[tuple[int, NDArray[np.float64]]]:
            tile = rows(part)
            return [
                (k, total(tile[:, start - part.start : end - part.start]).cpu().numpy())
                for k, (first, last) in enumerate(pairwise(self.starts))
                if (start := max(first, part.start)) < (end := min(last, part.stop))
            ]

        pieces = [piece for tile in map_tiles(of_tile, tiles(self.ordered)) for piece in tile]
        sums = np.zeros((len(self), *pieces[0][1].shape))
        for k, piece in pieces:
            sums[k] += piece
        return sums


class Step(Vectors):
    """The vectors of a nested step, from what its segments say; see `Vectors`.

    The vectors themselves are put together only if a rule asks for them.
    """

    def __init__(self, staircase: _Staircase, k: int) -> None:
        self.staircase, self.k = staircase, k
        self._mixing, self._source = None, self
        self._rows = staircase.rows[k]
        self.served = slice(*staircase.starts[k : k + 2])

    @cached_property
    def view(self) -> ServerView:
        """Return what the server knows of the round and of these coordinates."""
        every = self.staircase.columns
        shared = every[: self.width]
        served = torch.arange(self.width, device=shared.device) >= self.served.start
        return self.staircase.view.of_part(self._rows, shared, len(every), served)

    @property
    def _step(self) -> Step:
        assert isinstance(self._source, Step)
        return self._source

    @property
    def sent(self) -> Tensor:
        """Return what was sent, (n, b)."""
        return self._step._whole

    @cached_property
    def _whole(self) -> Tensor:
        return self._rows_of(slice(0, self.served.stop))

    def _rows_of(self, part: slice) -> Tensor:
        """Return some columns of the step's workers."""
        ordered, rows = self.staircase.ordered[:, part], self._rows
        if len(rows) == len(ordered):
            return ordered
        return ordered.index_select(0, torch.from_numpy(rows).to(ordered.device))

    @property
    def width(self) -> int:
        """Return b."""
        return int(self._step.served.stop)

    def __len__(self) -> int:
        return len(self._step._rows if self._mixing is None else self._mixing)

    @cached_property
    def finite(self) -> Tensor:
        """Return which vectors count as finite, (m,) bool."""
        return torch.from_numpy(self.staircase.finite[self.k, self._rows])

    def _of(self, every: NDArray[np.float64]) -> Tensor:
        """Return what all steps' matrices, (K, m, m), hold of this one's vectors."""
        return torch.from_numpy(every[self.k][self._rows[:, None], self._rows])

    def _products(self) -> Tensor | None:
        products = self.staircase.products
        return None if products is None else self._of(products)

    def _is_zero(self, row: int) -> bool:
        return not bool(self.staircase.ordered[self._rows[row], : self.width].any())

    def _are_equal(self, row: int, other: int) -> bool:
        ordered = self.staircase.ordered[:, : self.width]
        return torch.equal(ordered[self._rows[row]], ordered[self._rows[other]])

    @cached_property
    def _centred_gram(self) -> tuple[Tensor, Tensor]:
        kept = np.concatenate(([0], self._rows + 1))
        gram = self.staircase.centred_grams[self.k][kept[:, None], kept]
        return self.staircase.centre[: self.width], torch.from_numpy(gram)

    @cached_property
    def _float64_gram(self) -> Tensor:
        apart = ~(self.finite & self.finite[:, None])
        return self._of(self.staircase.float64_grams).masked_fill(apart, 0.0)

    @cached_property
    def _squared_lengths(self) -> Tensor:
        return torch.from_numpy(self.staircase.squared_lengths[self.k, self._rows])

    @cached_property
    def squared_distances(self) -> Tensor:
        """Return all ‖x_i - x_j‖², (m, m) float64; inf from and to what is not finite."""
        plain = self._mixing is None and self.staircase.products is None
        if plain and self.staircase.finite.all():
            return self._of(self.staircase.distances)
        return super().squared_distances

    def squared_distances_from(self, k: int) -> Tensor:
        """Return all ‖x_i - x_k‖², (m,) float64; inf from and to what is not finite."""
        return self.squared_distances[k]

    def _read(self, part: slice) -> Tensor:
        return self._rows_of(part) if part == self.served else self.sent[:, part]

    def whole(self) -> Step:
        """Return the same vectors with all their coordinates asked for, not only the step's own."""
        source = copy(self._step)
        source._source, source.view = source, self._step.view
        source.served = slice(0, self.width)
        if self._mixing is None:
            return source
        same = copy(self)
        same._source = source
        return same

    def on_served(self, aggregate: Callable[[Vectors], Tensor]) -> Tensor:
        """Aggregate the columns that the step answers for; 0 elsewhere."""
        served = self._step.served
        some = Vectors(self._step._read(served))
        some._mixing, some.finite = self._mixing, self.finite
        some.view = self.view.of_coordinates(
            torch.arange(served.start, served.stop, device=some.sent.device), self.width
        )
        answer = aggregate(some)
        whole = answer.new_zeros(self.width)
        whole[served] = answer
        return whole


def _largest(rows: Tensor) -> Tensor:
    """Return the largest of each row, (r,); NaN: one of them is."""
    return rows.amax(dim=1)


class MaskedVectors(Vectors):
    """Vectors that are known on what each worker sent; see `Vectors`.

    Let c be the coordinate-wise median of what was sent, which is defined everywhere, and B the
    number of coordinates. Inner products about c are taken on what two workers both sent, |C_ij|
    coordinates of it, and scaled to all: g_ij = B/|C_ij| · Σ_{k ∈ C_ij} (x_ik - c_k)(x_jk - c_k).
    Where prefixes of a random order are sent, each is without bias what it would be if all were
    sent. Two workers with nothing in common count as orthogonal about c. The matrix of cosines
    g_ij/√(g_ii g_jj) may be indefinite; its negative eigenvalues are then set to 0 and its diagonal
    back to 1. Distances are those of the points that have these inner products. Where the origin
    matters (lengths, cosines, vectors that were shortened), c itself, which has everything, is one
    of the points whose inner products are estimated and projected.

    A combination Σ w_i x_i, w_i >= 0, is at coordinate k the mean of what was sent, by weight,
    times the total weight, Σ_i w_i · (Σ_{i ∈ Q_k} w_i x_ik) / (Σ_{i ∈ Q_k} w_i). It stalls where
    nobody who sent the coordinate has weight.

    Args:
        sent: (n, b); what is not `present` may be anything.
        present: (n, b) bool, which entries were sent; every row and every column has one.
        view: what the server knows of the round.

    Attributes:
        stalled: (b,) bool, where a combination that was asked for had no weight.

    >>> sent = torch.tensor([[0.0, 1.0, 9.0], [2.0, 1.0, 5.0], [1.0, 1.0, 7.0]])
    >>> present = torch.tensor([[True, True, False], [True, True, True], [True, True, True]])
    >>> vectors = MaskedVectors(sent, present)
    >>> vectors.combine(torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64))
    tensor([1., 1., 5.])
    >>> vectors.combine(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)), vectors.stalled
    (tensor([0., 1., 0.]), tensor([False, False,  True]))
    """

    masked = True

    def __init__(self, sent: Tensor, present: Tensor, view: ServerView | None = None) -> None:
        super().__init__(zero_where_false(sent, present), view)
        self._present = present
        self._stalled = torch.zeros_like(present[0])

    @property
    def _mask(self) -> MaskedVectors:
        assert isinstance(self._source, MaskedVectors)
        return self._source

    @property
    def stalled(self) -> Tensor:
        """Return where a combination had no weight, (b,) bool."""
        return self._mask._stalled

    def _products(self) -> Tensor | None:
        return None

    @cached_property
    def _centre(self) -> Tensor:
        """Return c, (b,) float64."""
        sent, present = self.sent, self._present

        def median(part: slice) -> Tensor:
            return Columns.sort(sent[:, part], present[:, part]).median()

        # Where most are not finite the median may not be either; any centre will do.
        centre = torch.cat(map_tiles(median, tiles(sent)))
        return centre.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

    def _estimates(self, *others: Tensor) -> Tensor:
        """Return estimated inner products about c.

        Args:
            others: (b,) float64, further points that are known everywhere.

        Returns:
            (1 + k + n, 1 + k + n): those of c, of the k others minus c and of all x_i - c.
        """
        sent, present, bad = self.sent, self._present, ~self.finite
        whole = torch.stack((self._centre, *(other - self._centre for other in others)))

        def summed(part: slice) -> tuple[Tensor, Tensor]:
            there = present[:, part]
            apart = zero_where_false(sent[:, part].double() - self._centre[part], there)
            apart[bad] = 0.0
            has = torch.cat((torch.ones_like(whole[:, part]), there.double()))
            return inner_products(torch.cat((whole[:, part], apart))), inner_products(has)

        products, common = (
            torch.stack(parts).sum(dim=0).cpu()
            for parts in zip(*map_tiles(summed, tiles(sent, copies=4)), strict=True)
        )
        return products * (sent.shape[1] / common.clamp_min(1.0))

    @cached_property
    def _centred_gram(self) -> tuple[Tensor, Tensor]:
        return self._centre, positive_semidefinite(self._estimates())

    @cached_property
    def _about_centre(self) -> Tensor:
        """Return the inner products of all x_i - c, (n, n): wherever the origin is the same."""
        return positive_semidefinite(self._estimates()[1:, 1:])

    @cached_property
    def gram(self) -> Tensor:
        """Return (m, m) float64: ⟨x_i - t·c, x_j - t·c⟩, 0 for what is not finite."""
        mixing = self._coefficients
        of_centre = mixing.sum(dim=1, keepdim=True) - self._origin_weight
        if bool((of_centre.abs() < ROUNDING).all()):
            gram = mixing @ self._mask._about_centre @ mixing.T
        else:
            relative = torch.cat((of_centre, mixing), dim=1)
            gram = relative @ self._mask._centred_gram[1] @ relative.T
        gram = gram.masked_fill(~(self.finite & self.finite[:, None]), 0.0)
        return (gram + gram.T) / 2.0

    @property
    def _coefficients(self) -> Tensor:
        """Return the vectors as combinations of what was sent, (m, n)."""
        if self._mixing is None:
            return torch.eye(len(self), dtype=torch.float64)
        return self._mixing

    @cached_property
    def inner(self) -> Tensor:
        """Return (m, m) float64: ⟨x_i, x_j⟩ in the configuration, 0 for what is not finite."""
        mixing = self._coefficients
        about = torch.cat((mixing.sum(dim=1, keepdim=True), mixing), dim=1)
        gram = about @ self._source._centred_gram[1] @ about.T
        return gram.masked_fill(~(self.finite & self.finite[:, None]), 0.0)

    @cached_property
    def _squared_lengths(self) -> Tensor:
        return self.inner.diagonal().clamp_min(0.0)

    def squared_distances_from(self, k: int) -> Tensor:
        """Return all ‖x_i - x_k‖², (m,) float64; inf from and to what is not finite."""
        return self.squared_distances[k]

    def distances_to(self, point: Tensor) -> Tensor:
        """Return all ‖x_i - z‖ for a point z that is known everywhere, (b,) -> (m,) float64."""
        gram = positive_semidefinite(self._mask._estimates(point.double()))
        mixing = self._coefficients
        # x_i - z = (Σ m_k - 1)·c - (z - c) + Σ m_k (x_k - c)
        of_centre = mixing.sum(dim=1, keepdim=True) - 1.0
        apart = torch.cat((of_centre, torch.full_like(of_centre, -1.0), mixing), dim=1)
        squares = ((apart @ gram) * apart).sum(dim=1).clamp_min(0.0)
        return squares.sqrt().masked_fill(~self.finite, torch.inf)

    def settled(self, answer: Tensor) -> Tensor:
        """Return an answer that is not the last one, as a point: the centre where it stalled."""
        mask = self._mask
        point = torch.where(mask._stalled, mask._centre, answer.double())
        mask._stalled = torch.zeros_like(mask._stalled)
        return point

    @cached_property
    def rows(self) -> Tensor:
        """Refuse: nobody has all of a vector."""
        return self.columns(slice(None))

    def columns(self, part: slice) -> Tensor:
        """Refuse: nobody has all of a vector."""
        raise RuleError(
            "scope 'masked': no vector is known whole; a rule needs their inner products"
        )

    def sampled(self, chosen: Tensor) -> Vectors:
        """Return the vectors on some coordinates alone; who sent none of them is at the centre."""
        mask = self._mask
        chosen = chosen.to(self.sent.device)
        some: Vectors = MaskedVectors(self.sent[:, chosen], mask._present[:, chosen])
        if self._mixing is not None:
            some = some.mixed(self._mixing)
        some.finite = some.finite & self.finite
        return some

    def tell(self, weights: Tensor) -> None:
        """Tell the trace that an answer is Σ w_i x_i: the mean of what was sent, by weight."""
        if self.view.trace is None:
            return
        share = weights if self._mixing is None else weights @ self._mixing
        present = self._mask._present.cpu()

        def follow() -> NDArray[np.float64]:
            heard = share @ present.double()
            parts = share[:, None] * present * (share.sum() / heard.masked_fill(heard <= 0, 1.0))
            return parts.numpy()

        self._mask.view.tell(follow)

    def combine(self, weights: Tensor, rest: float = 0.0) -> Tensor:
        """Return Σ w_i x_i + rest · o, (b,): means of what was sent, by weight; 0 where it stalls.

        Raises:
            RuleError: a weight is negative.
        """
        if self._mixing is not None:
            used = weights != 0
            weights = weights[used] @ self._mixing[used]
        if float(weights.min()) < -ROUNDING * float(weights.abs().sum()):
            raise RuleError("scope 'masked': a negative weight; a mean by weight has none")
        used = weights > 0
        kept = used.to(self.sent.device)
        some = weights[used].to(kept.device)
        total = some @ self.sent[kept].double()
        heard = some @ self._mask._present[kept].double()
        every = some.sum()
        of_centre = rest * self._origin_weight
        if abs(of_centre) > ROUNDING:
            total, heard = total + of_centre * self._mask._centre, heard + of_centre
            every = every + of_centre
        silent = heard <= 0
        self._mask._stalled |= silent
        mean = torch.where(silent, 0.0, total / heard.masked_fill(silent, 1.0))
        return (mean * every).to(self.sent)


def positive_semidefinite(gram: Tensor) -> Tensor:
    """Return the inner products of points, given estimates of them, (n, n) float64.

    The matrix of cosines is projected to the cone of positive semidefinite ones, and its diagonal
    set back to 1: lengths stay what they are, and one that is huge does not drown the others.
    Without negative eigenvalues the estimates are returned as they are.

    >>> estimates = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64)
    >>> positive_semidefinite(estimates).round(decimals=9)
    tensor([[1., 1.],
            [1., 1.]], dtype=torch.float64)
    """
    lengths = gram.diagonal().clamp_min(0.0).sqrt()
    inverse = torch.where(lengths > 0, 1.0 / lengths, 0.0)
    cosines = gram * inverse[:, None] * inverse
    values, vectors = torch.linalg.eigh(cosines)
    if float(values[0]) >= -INDEFINITE * float(values[-1].clamp_min(1.0)):
        return gram
    projected = (vectors * values.clamp_min(0.0)) @ vectors.T
    size = projected.diagonal().clamp_min(0.0).sqrt()
    scale = torch.where((size > 0) & (lengths > 0), lengths / size, 0.0)
    result: Tensor = projected * scale[:, None] * scale
    return (result + result.T) / 2.0
