"""What every coordinate-wise rule sees: each column sorted by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hgobench.kernels import windows
from hgobench.kernels.arrays import (
    as_numpy,
    count_columns,
    ignore_float_warnings,
    nan_where_true,
    select,
    sum_rows,
    zero_where_false,
)
from hgobench.kernels.sorting import sort_columns
from hgobench.kernels.windows import TIED
from hgobench.lazy import Tensor, torch

from .errors import NonFiniteError, RuleError
from .trace import of_windows
from .view import ServerView

Window = Callable[[], tuple[Tensor, Tensor]]  # at which row it starts, and its length
Mean = tuple[Tensor, Window]
ROUNDING = 1e-12  # shares of weight that differ by less are equal
HALF = 0.5 - ROUNDING  # of the weight; what f may have must be less


@dataclass(frozen=True)
class Sent:
    """Who sent which coordinate: what is asked again and again is counted once.

    Attributes:
        present: (m, b) bool, contiguous.
        count: (b,) int64, how many sent each.
        fewest, most: the smallest and the largest count.
    """

    present: Tensor
    count: Tensor
    fewest: int
    most: int
    _beside: dict[int, Sent] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, present: Tensor, count: Tensor | None = None) -> Sent:
        """Count who sent what, unless that is known."""
        count = count_columns(present) if count is None else count
        return cls(present.contiguous(), count, int(count.min()), int(count.max()))

    def part(self, part: slice) -> Sent:
        """Return that of some columns."""
        whole = (part.start, part.stop) == (0, len(self.count))
        return self if whole else Sent.of(self.present[:, part], self.count[part])

    def beside(self, runs: int) -> Sent:
        """Return that of several runs side by side in which the same was sent."""
        if runs not in self._beside:
            repeated = self.present.repeat(1, runs), self.count.repeat(runs)
            self._beside[runs] = Sent(*repeated, self.fewest, self.most) if runs > 1 else self
        return self._beside[runs]


@dataclass(frozen=True)
class Columns:
    """Every column sorted by itself, the sent values first, what was not sent behind them.

    Attributes:
        values: (m, b), ascending down each column; NaN counts as larger than everything. Row k of
            column j is meaningful for k < count[j].
        count: (b,) int64, how many workers sent each coordinate.
        fewest, most: the smallest and the largest count.
        view: what the server knows of the round; its workers are not those of the rows.
        weights: (m, b) float64, how much each value counts, 0 for what was not sent; None: all
            alike. Then `median`, `trimmed_mean` and `mean_around` go by weights.
        traced: the values as they were sent, and which were, if the view's trace wants to know of
            which of them an answer is the mean.

    >>> columns = Columns.sort(torch.tensor([[3.0], [1.0], [2.0], [9.0]]))
    >>> columns.median(), columns.trimmed_mean(1)
    (tensor([2.5000], dtype=torch.float64), tensor([2.5000]))
    """

    values: Tensor
    count: Tensor
    fewest: int
    most: int
    view: ServerView = field(default_factory=ServerView)
    weights: Tensor | None = None
    traced: tuple[Tensor, Tensor | None] | None = None
    _sums: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    _means: list[Mean] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def sort(
        cls,
        values: Tensor,
        sent: Tensor | Sent | None = None,
        view: ServerView | None = None,
        out: Tensor | None = None,
    ) -> Columns:
        """Sort (m, b) values; absent entries become NaN, which sorts to the end.

        Args:
            values: (m, b).
            sent: (m, b) bool, who sent what, or `Sent`; None: all.
            view: what the server knows of the round.
            out: (m, b) contiguous memory that the sorted values may be written to.
        """
        m, b = values.shape
        view = view or ServerView()
        if isinstance(sent, torch.Tensor):
            sent = Sent.of(sent)
        present = None if sent is None else sent.present
        if view.weights is not None:
            return cls._weighted(values, present, view, view.weights)
        traced = None
        if view.trace is not None:  # which may look at sorted columns when others are sorted
            traced, out = (values, present), None
        ordered = sort_columns(values, present, out)
        if sent is None:
            everyone = torch.full((b,), m, dtype=torch.int64, device=values.device)
            return cls(ordered, everyone, m, m, view, traced=traced)
        return cls(ordered, sent.count, sent.fewest, sent.most, view, traced=traced)

    @classmethod
    def _weighted(
        cls,
        values: Tensor,
        present: Tensor | None,
        view: ServerView,
        weights: NDArray[np.float64],
    ) -> Columns:
        """Sort values together with their weights."""
        there = torch.ones_like(values, dtype=torch.bool) if present is None else present
        order = values.masked_fill(~there, torch.nan).argsort(dim=0, stable=True)
        # What is NaN but was sent comes before what was not.
        order = order.gather(
            0, (~there).gather(0, order).to(torch.uint8).argsort(dim=0, stable=True)
        )
        mass = torch.from_numpy(weights).to(values.device)[:, None] * there
        count = there.sum(dim=0)
        sent = values.masked_fill(~there, torch.nan).gather(0, order)
        fewest, most = int(count.min()), int(count.max())
        return cls(sent, count, fewest, most, view, mass.gather(0, order))

    def part(self, part: slice) -> Columns:
        """Return some of the columns, which share memory with these, with a trace of their own."""
        weights = None if self.weights is None else self.weights[:, part]
        values, count, view, traced = self.values[:, part], self.count[part], self.view, None
        if self.traced is not None:
            sent, present = self.traced
            traced = sent[:, part], None if present is None else present[:, part]
            view = view.traced(traced[0])
        return Columns(values, count, self.fewest, self.most, view, weights, traced)

    def outweighed(self, f: int) -> Tensor:
        """Return T, (b,): what the f largest weights of each column add up to.

        Raises:
            RuleError: f workers may have half of a column's weight or more.
        """
        assert self.weights is not None
        most = self.weights.sort(dim=0, descending=True).values[:f].sum(dim=0)
        share = float((most / self.weights.sum(dim=0)).amax())
        if share >= HALF:
            raise outweighed(f, share)
        return most

    def with_values(self, values: Tensor, count: Tensor | None = None) -> Columns:
        """Return new columns with other values, sorted again; rows beyond the count are absent.

        Args:
            values: (m', b), in any order down to the count.
            count: (b,) how many values each column has now; None: as many as before.
        """
        count = self.count if count is None else count
        fewest, most = int(count.min()), int(count.max())
        values = values[:most].to(self.values)
        if fewest < most:
            rows = torch.arange(most, device=values.device)[:, None]
            values = nan_where_true(values, rows >= count)
        return Columns(
            sort_columns(values), count, fewest, most, self.view.next_step(same_workers=True)
        )

    def scalar(self, length: float) -> float:
        """Return length/√d, d the model's coordinates: the share of a vector's length per scalar.

        A bound of vectors' lengths so becomes one of single values.
        """
        return length / math.sqrt(self.view.dimension or self.values.shape[1])

    @property
    def compiled(self) -> bool:
        """Whether there are compiled loops for them (see `hgobench.kernels.windows`)."""
        return self.weights is None and windows.fits(self.values, self.fewest)

    def require(self, finite: Tensor, f: int, name: str) -> None:
        """Raise NonFiniteError if more than f values sent of a column are not `finite` (m, b)."""
        if bool((finite.sum(dim=0) < self.count - f).any()):
            raise NonFiniteError(
                f"{name}: no finite answer; more than f={f} workers sent NaN or infinite values of "
                "a coordinate"
            )

    def centred(self, centre: Tensor) -> Tensor:
        """Return the columns minus `centre` (b,) in float64, NaN and absent entries as +inf."""
        x = as_numpy(self.values.to(torch.float64, copy=True))
        with ignore_float_warnings():
            x -= as_numpy(centre)
        x = torch.as_tensor(x)
        return torch.fmin(x, x.new_full((), torch.inf), out=x)  # fmin ignores NaN

    def windows(self, x: Tensor, left_out: int) -> tuple[Tensor, Tensor]:
        """Return mean and scatter of each window of count - left_out neighbours.

        Args:
            x: (m, b) `centred` values, ascending.
            left_out: how many values of a column a window lacks; it starts at row 0..left_out.

        Returns:
            (left_out + 1, b) means μ and sums of squares Σ (x - μ)², not finite where x is not.
        """
        w, k = left_out, self.count - left_out
        moments = []
        with ignore_float_warnings():
            for power in (x, x * x):
                # Rows w .. k-1 belong to every window; each adds some on the left and the right.
                core = _sum_below(power, w, k, self.fewest - w, self.most - w)
                total = as_numpy(torch.zeros((w + 1, x.shape[1]), dtype=x.dtype, device=x.device))
                before, behind = as_numpy(power), as_numpy(self.beyond(power, w))
                for row in reversed(range(w)):
                    total[row] = total[row + 1] + before[row]
                right = as_numpy(torch.zeros_like(core))
                for row in range(w):
                    right += behind[row]
                    total[row + 1] += right
                total += as_numpy(core)
                moments.append(total)
            mean = moments[0] / as_numpy(k)
            scatter = torch.as_tensor(moments[1] - moments[0] * mean).clamp_min_(0.0)
        return torch.as_tensor(mean), scatter

    def beyond(self, x: Tensor, left_out: int) -> Tensor:
        """Return the last `left_out` rows of each column, (left_out, b), of x (m, b)."""
        if self.fewest == self.most:
            return x[self.most - left_out : self.most]
        rows = torch.arange(left_out, device=x.device)[:, None]
        return x.gather(0, self.count - left_out + rows)

    def take_rows(self, row: Tensor) -> Tensor:
        """Read one row index per column, (b,) -> (b,), or several, (r, b) -> (r, b)."""
        values = self.values
        if values.device.type == "cpu" and values.is_contiguous():
            width = values.shape[1]
            place = row.numpy() * width + np.arange(width)
            return torch.from_numpy(values.numpy().reshape(-1).take(place))
        picked = values.gather(0, row if row.ndim == 2 else row[None])
        return picked if row.ndim == 2 else picked[0]

    def count_below(self, bounds: Tensor) -> Tensor:
        """Count the values of each column below each of its bounds, (r, b) -> (r, b) int64."""
        values, bounds = as_numpy(self.values), as_numpy(bounds.to(self.values))
        return torch.stack([count_columns(torch.as_tensor(values < bound)) for bound in bounds])

    def median(self) -> Tensor:
        """Return each column's median in float64: the midpoint of the two middle values if even.

        In float64 the midpoint of two float32 values is exact, so that the two stay equally far.
        With weights: the first value up to which there is more than half of the weight; if there is
        exactly half up to some value, the midpoint of it and the next.
        """
        if self.weights is not None:
            low, high = (self._at_share(self.weights, self.values, end) for end in (False, True))
            return 0.5 * low + 0.5 * high
        if self.compiled:
            median = windows.medians(self.values, self.count)
        else:
            if self.fewest == self.most:
                middle = self.values[(self.most - 1) // 2], self.values[self.most // 2]
            else:
                middle = self.take_rows((self.count - 1) // 2), self.take_rows(self.count // 2)
            median = 0.5 * middle[0].double() + 0.5 * middle[1].double()
        return self._noted(median, lambda: ((self.count - 1) // 2, 2 - self.count % 2))

    def _at_share(self, weights: Tensor, values: Tensor, beyond: bool) -> Tensor:
        """Return the first value up to which there is half of the weight, or, `beyond`, more."""
        below = weights.cumsum(dim=0)
        half, slack = below[-1] / 2.0, ROUNDING * below[-1]
        short = below <= half + slack if beyond else below < half - slack
        return self.take_rows(short.sum(dim=0).clamp_max(len(values) - 1)).double()

    def trimmed_mean(self, f: int) -> Tensor:
        """Average each column without its f smallest and f largest values, -> (b,).

        With weights, the least and the largest values go that weigh as much as any f of the column
        can, T; a value at the border counts with the rest of its weight.

        Only what is inside is ever added: subtracting extremes from a total would let one value of
        1e30 erase all the others.
        """
        if self.weights is not None:
            cut = self.outweighed(f)
            below = self.weights.cumsum(dim=0)
            left = below.clamp(min=cut, max=below[-1] - cut)
            kept = left.diff(dim=0, prepend=cut[None])
            return _mean_by(kept, self.values)
        size = self.count - 2 * f
        return self._noted(self._inside(f) / size, lambda: (torch.full_like(size, f), size))

    def _inside(self, f: int) -> Tensor:
        """Sum each column without its f smallest and f largest values, once, -> (b,)."""
        if f not in self._sums:
            if self.compiled:
                sums = windows.sums(self.values, self.count, f, self.fewest, self.most)
            else:
                stop = self.count - f
                sums = _sum_below(self.values, f, stop, self.fewest - f, self.most - f)
            self._sums[f] = sums
        return self._sums[f]

    def window_mean(self, start: Tensor, left_out: int) -> Tensor:
        """Average the count - left_out rows of each column from row `start` on, -> (b,)."""
        rows = torch.arange(left_out, device=start.device)[:, None]
        mean = self._mean_of_window(rows < start, self.beyond(self.values, left_out))
        return self._noted(mean, lambda: (start, self.count - left_out))

    def mean_around(self, centre: Tensor, left_out: int) -> Tensor:
        """Average the count - left_out values of each column that are nearest to `centre` (b,).

        Of two values equally far the smaller counts as nearer. With weights, those that weigh what
        is left without any `left_out` of the column; the last counts with a part of its own.
        """
        if self.weights is not None:
            away = (self.values.double() - centre).abs().nan_to_num(nan=torch.inf)
            order = away.argsort(dim=0, stable=True)
            weights = self.weights.gather(0, order)
            below = weights.cumsum(dim=0)
            left = torch.minimum(below, below[-1] - self.outweighed(left_out))
            kept = left.diff(dim=0, prepend=torch.zeros_like(left[:1]))
            return _mean_by(kept, self.values.gather(0, order))
        centre = centre.double()
        if self.compiled and self.fewest >= 2 * left_out:
            inside = self._inside(left_out)
            mean = windows.means_around(self.values, self.count, centre, inside, left_out)
        elif self.compiled and self.fewest > left_out:
            mean = windows.means_of_nearest(self.values, self.count, centre, left_out)
        else:
            c, low = as_numpy(centre), as_numpy(self.values[:left_out])
            high = self.beyond(self.values, left_out)
            with ignore_float_warnings():
                later = torch.as_tensor(as_numpy(high) - c < c - low)
            mean = self._mean_of_window(later, high)
        size = self.count - left_out
        return self._noted(mean, lambda: (self.nearest(centre, size), size))

    def mean_of_nearer_half(self, centre: Tensor) -> Tensor:
        """Average the ⌈k/2⌉ of a column's k values that are nearest to `centre` (b,), -> (b,).

        Those tied at the largest of these distances are all averaged.
        """
        if self.compiled:
            mean = windows.means_of_nearer_half(self.values, self.count, centre)
        else:
            start, length = self._nearer_half(centre)
            rows = torch.arange(self.most, device=start.device)[:, None]
            near = (rows >= start) & (rows < start + length)
            mean = sum_rows(zero_where_false(self.values[: self.most], near)) / length
        return self._noted(mean, lambda: self._nearer_half(centre))

    def _nearer_half(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Return where the values of `mean_of_nearer_half` start, and how many they are, (b,)."""
        half = (self.count + 1) // 2
        start = self.nearest(centre, half)
        edges = self.take_rows(torch.stack((start, start + half - 1))).double()
        radius = (edges - centre).abs().amax(dim=0) * TIED
        away = self.values.double() - centre
        return count_columns(away < -radius), count_columns(away.abs() <= radius)

    def _mean_of_window(self, later: Tensor, high: Tensor) -> Tensor:
        """Average the window of k = count - left_out rows that starts behind the `later` rows.

        Of rows i and i + k, i < left_out, a window has one: the later one if it starts behind i.

        Args:
            later: (left_out, b) bool, True down to where the window starts.
            high: (left_out, b) the last rows of each column, as many as the window lacks.
        """
        left_out = len(high)
        k, fewest = self.count - left_out, self.fewest - left_out
        if fewest < left_out:  # no row is in all windows
            start = count_columns(later)
            rows = torch.arange(self.most - left_out, device=k.device)[:, None]
            if self.fewest == self.most:
                return sum_rows(self.take_rows(start + rows)) / k
            picked = self.take_rows((start + rows).clamp_max(self.most - 1))
            return sum_rows(zero_where_false(picked, rows < k)) / k
        outer = sum_rows(select(later, high, self.values[:left_out]))
        return (self._inside(left_out) + outer) / k  # these rows are in every window

    def choice(self, values: Tensor) -> Tensor:
        """Return an answer that is one of the values of each column, (b,), as such."""
        one = torch.ones_like(self.count)
        return self._noted(values, lambda: (self.count_below(values[None])[0], one))

    def _noted(self, mean: Tensor, window: Window) -> Tensor:
        """Return a mean, (b,), and note of which window of each column it is, if a trace asks."""
        if self.traced:
            self._means.append((mean, window))
        return mean

    def tell(self, answer: object) -> None:
        """Tell the trace of whose values an answer is the mean, if it is one of the means above.

        One that only led to it, as a centre, says nothing of it, even where the two are equal.
        """
        for mean, window in self._means:
            if mean is answer:
                self.view.tell(partial(self._follow, window))

    def _follow(self, window: Window) -> NDArray[np.float64]:
        """Return how far the mean of a window follows what was sent, (m, b)."""
        assert self.traced is not None
        places = (part.cpu().numpy() for part in window())
        return of_windows(*self.traced, self.values, *places)

    def nearest(self, centre: Tensor, length: Tensor) -> Tensor:
        """Find the `length` values of each column nearest to `centre`.

        They are neighbours in the sorted column. Of two values equally far the smaller is taken.

        Args:
            centre: (b,), or (r, b) for several in each column.
            length: (b,) at most the count.

        Returns:
            Of the shape of `centre`: the row at which that window starts.
        """
        centre = centre.double()
        if centre.ndim == 1:  # a search takes longer than to compare all
            rows = torch.arange(self.most - int(length.min()), device=length.device)[:, None]
            ends = self.take_rows((rows + length).clamp_max(len(self.values) - 1)).double()
            later = ends - centre < centre - self.values[: len(rows)].double()
            return count_columns(later & (rows < self.count - length))
        low = torch.zeros_like(centre, dtype=torch.int64)
        high = low + (self.count - length)
        while bool((low < high).any()):
            middle = (low + high) // 2
            below = centre - self.take_rows(middle).double()
            above = (
                self.take_rows((middle + length).clamp_max(len(self.values) - 1)).double() - centre
            )
            right = (above < below) & (low < high)
            low, high = torch.where(right, middle + 1, low), torch.where(right, high, middle)
        return low


def outweighed(f: int, share: float) -> RuleError:
    """Return what is wrong with weights of which any f may have a share."""
    return RuleError(
        f"view.weights: f={f} workers may have {share:.0%} of the weight; expected less than half"
    )


def _mean_by(kept: Tensor, values: Tensor) -> Tensor:
    """Return each column's mean by weights, (m, b) and (m, b) -> (b,) float64.

    Values of weight 0 are not read, nor those whose weight is the rounding of a difference.
    """
    total = kept.sum(dim=0)
    kept = torch.where(kept > ROUNDING * total, kept, 0.0)
    terms = torch.where(kept > 0, values.double() * kept, 0.0)
    return terms.sum(dim=0) / kept.sum(dim=0)


def first_least(scores: Tensor) -> Tensor:
    """Return the first row that holds each column's smallest number, (r, b) -> (b,) int64.

    NaN is ignored; a column of NaN gives row 0.

    >>> first_least(torch.tensor([[3.0, torch.nan], [1.0, 2.0], [1.0, 5.0]]))
    tensor([1, 1])
    """
    # Row by row: an argmin down the columns is ten times slower on a CPU.
    first_row = torch.zeros(scores.shape[1], dtype=torch.int64, device=scores.device)
    least = torch.full_like(scores[0], torch.inf)
    for row, score in enumerate(scores):
        better = score < least
        least, first_row = torch.where(better, score, least), torch.where(better, row, first_row)
    return first_row


def _sum_below(values: Tensor, first: int, stop: Tensor, fewest: int, most: int) -> Tensor:
    """Sum the rows first <= i < stop_j of each column j, (m, b) -> (b,).

    Args:
        values: (m, b); what is outside may be anything.
        first: the first row.
        stop: (b,) where each column ends.
        fewest, most: the least and the largest of `stop`.
    """
    fewest = max(fewest, first)
    total = sum_rows(values[first:fewest])
    if fewest < most:
        rows = torch.arange(fewest, most, device=stop.device, dtype=torch.int32)[:, None]
        total += sum_rows(zero_where_false(values[fewest:most], rows < stop.int()))
    return total
