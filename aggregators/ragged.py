"""Vectors of workers that sent different coordinates: scopes "staircase" and "masked"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hgobench.kernels.arrays import count_columns, zero_where_false
from hgobench.kernels.inner_products import inner_products
from hgobench.kernels.tiles import map_tiles, tiles
from hgobench.lazy import Tensor, torch

from .columns import Columns
from .errors import RuleError
from .vectors import ROUNDING, Vectors
from .view import ServerView

INDEFINITE = 1e-10  # of the largest eigenvalue; what is below 0 by less is rounding

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Stair:
    """A step of the staircase: coordinates that the same workers sent.

    Attributes:
        columns: (k,) int64, which columns of the input it answers for.
        served: where they are among the columns of `vectors`.
        vectors: those workers' vectors on all columns that all of them sent.
    """

    columns: Tensor
    served: slice
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
        yield from (staircase.stair(k) for k in reversed(range(len(staircase.segments))))
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
        yield _stair(values, who, shared, own, view, None)


def _stair(
    values: Tensor,
    who: Tensor,
    shared: Tensor,
    own: int,
    view: ServerView,
    make: Callable[[ServerView], Vectors] | None,
) -> Stair:
    """Return a step of some workers, (m,) bool, on `shared` columns, of which the last are its own.

    Args:
        make: makes its vectors; None: from the values.
    """
    before = len(shared) - own
    served = torch.arange(len(shared), device=values.device) >= before
    mine = view.of_workers(who).of_coordinates(shared, values.shape[1])
    mine = replace(mine, served=served)
    vectors = make(mine) if make else Vectors(values[who].index_select(1, shared), mine)
    return Stair(shared[before:], slice(before, len(shared)), vectors)


class _Staircase:
    """Nested steps: segment k is sent by S_k, and S_1 ⊃ S_2 ⊃ ...

    Args:
        values: (m, b).
        order: (m,) the workers, those that sent the most first.
        counts: (b,) how many sent each column.
        view: what the server knows of the round.

    Attributes:
        segments: the vectors of S_k on segment k.
        rows: which rows are S_k, ascending.
        columns: (b_k,) int64, which columns are segment k.
    """

    def __init__(self, values: Tensor, order: Ints, counts: Tensor, view: ServerView) -> None:
        self.values, self.view = values, view
        sizes = torch.unique(counts).tolist()[::-1]
        self.rows: list[Ints] = [np.sort(order[:size]) for size in sizes]
        self.columns: list[Tensor] = [(counts == size).nonzero()[:, 0] for size in sizes]
        self.segments = [
            Vectors(values[torch.from_numpy(rows)].index_select(1, columns))
            for rows, columns in zip(self.rows, self.columns, strict=True)
        ]
        self.ends = np.cumsum([len(columns) for columns in self.columns]).tolist()

    def stair(self, k: int) -> Stair:
        """Return a step."""
        who = np.zeros(len(self.values), dtype=bool)
        who[self.rows[k]] = True
        there = torch.from_numpy(who).to(self.values.device)
        shared = torch.cat(self.columns[: k + 1])
        return _stair(
            self.values, there, shared, len(self.columns[k]), self.view, lambda v: Step(self, k, v)
        )

    def running(self, parts: list[Tensor], add: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
        """Return sums over the first segments of what segment k says of S_k, (m_k,) or (m_k, m_k).

        A matrix that is larger than m_k has a row and a column for the centre before the others.
        """
        total = parts[0]
        sums = [total]
        for k, part in enumerate(parts[1:], 1):
            kept = torch.from_numpy(np.searchsorted(self.rows[k - 1], self.rows[k]))
            if len(part) > len(kept):
                kept = torch.cat((torch.zeros_like(kept[:1]), kept + 1))
            inside = total[kept] if part.ndim == 1 else total[kept][:, kept]
            total = add(inside, part)
            sums.append(total)
        return sums

    @cached_property
    def finite(self) -> list[Tensor]:
        """Return which vectors of each step are finite."""
        return self.running([part.finite for part in self.segments], torch.logical_and)

    @cached_property
    def products(self) -> list[Tensor] | None:
        """Return the inner products of each step from float32 ones; None if they are not."""
        parts = [part._products() for part in self.segments]
        known = [part for part in parts if part is not None]
        return self.running(known, torch.add) if len(known) == len(parts) else None

    @cached_property
    def float64_grams(self) -> list[Tensor]:
        """Return the inner products of each step."""
        return self.running([part._float64_gram for part in self.segments], torch.add)

    @cached_property
    def centred_grams(self) -> list[Tensor]:
        """Return the inner products of each step's centre and of the vectors about it.

        A segment's centre is the median of all that sent it, also of those that a later step lacks.
        """
        return self.running([part._centred_gram[1] for part in self.segments], torch.add)

    @cached_property
    def squared_lengths(self) -> list[Tensor]:
        """Return ‖x_i‖² of each step."""
        return self.running([part._squared_lengths for part in self.segments], torch.add)


class Step(Vectors):
    """The vectors of a nested step, from what its segments say; see `Vectors`.

    The vectors themselves are put together only if a rule asks for them.
    """

    def __init__(self, staircase: _Staircase, k: int, view: ServerView) -> None:
        self.staircase, self.k, self.view = staircase, k, view
        self._mixing, self._source = None, self
        ends = staircase.ends
        self.served = slice(ends[k] - len(staircase.columns[k]), ends[k])

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
        staircase, k = self.staircase, self.k
        parts = []
        for at in range(k + 1):
            kept = np.searchsorted(staircase.rows[at], staircase.rows[k])
            part = staircase.segments[at].sent
            parts.append(part[torch.from_numpy(kept).to(part.device)])
        return torch.cat(parts, dim=1)

    @property
    def width(self) -> int:
        """Return b."""
        return int(self._step.served.stop)

    def __len__(self) -> int:
        return len(
            self._step.staircase.rows[self._step.k] if self._mixing is None else self._mixing
        )

    @cached_property
    def finite(self) -> Tensor:
        """Return which vectors count as finite, (m,) bool."""
        if vars(self).get("_float32_gram") is not None:
            return torch.ones(len(self), dtype=torch.bool)
        return self.staircase.finite[self.k]

    def _products(self) -> Tensor | None:
        products = self.staircase.products
        return None if products is None else products[self.k]

    def _is_zero(self, row: int) -> bool:
        return all(segment._is_zero(at) for segment, at in self._parts_of(row))

    def _are_equal(self, row: int, other: int) -> bool:
        pairs = zip(self._parts_of(row), self._parts_of(other), strict=True)
        return all(segment._are_equal(at, twin) for (segment, at), (_, twin) in pairs)

    def _parts_of(self, row: int) -> Iterator[tuple[Vectors, int]]:
        """Yield the segments and which row of each is some row of the step."""
        staircase = self.staircase
        who = staircase.rows[self.k][row]
        for k in range(self.k + 1):
            yield staircase.segments[k], int(np.searchsorted(staircase.rows[k], who))

    @cached_property
    def _centred_gram(self) -> tuple[Tensor, Tensor]:
        segments = self.staircase.segments[: self.k + 1]
        centre = torch.cat([segment._centred_gram[0] for segment in segments])
        return centre, self.staircase.centred_grams[self.k]

    @cached_property
    def _float64_gram(self) -> Tensor:
        apart = ~(self.finite & self.finite[:, None])
        return self.staircase.float64_grams[self.k].masked_fill(apart, 0.0)

    @cached_property
    def _squared_lengths(self) -> Tensor:
        return self.staircase.squared_lengths[self.k]

    def squared_distances_from(self, k: int) -> Tensor:
        """Return all ‖x_i - x_k‖², (m,) float64; inf from and to what is not finite."""
        return self.squared_distances[k]

    def _read(self, part: slice) -> Tensor:
        if part == self.served:
            return self.staircase.segments[self.k].sent
        return self.sent[:, part]

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
