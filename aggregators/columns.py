"""What every coordinate-wise rule sees: each column sorted by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hgobench.masks import blank, keep

from .errors import NonFiniteError
from .view import ServerView


@dataclass(frozen=True)
class Columns:
    """Every column sorted by itself, the sent values first, what was not sent behind them.

    Attributes:
        values: (m, b), ascending down each column; NaN counts as larger than everything. Row k of
            column j is meaningful for k < count[j].
        count: (b,) int64, how many workers sent each coordinate.
        fewest, most: the smallest and the largest count.
        view: what the server knows of the round; its workers are not those of the rows.
    """

    values: Tensor
    count: Tensor
    fewest: int
    most: int
    view: ServerView = field(default_factory=ServerView)

    @classmethod
    def sort(
        cls,
        values: Tensor,
        present: Tensor | None = None,
        count: Tensor | None = None,
        view: ServerView | None = None,
    ) -> Columns:
        """Sort (m, b) values; absent entries become NaN, which sorts to the end.

        Args:
            values: (m, b).
            present: (m, b) bool; None: all.
            count: (b,) the column sums of `present`, if they are known.
            view: what the server knows of the round.
        """
        m, b = values.shape
        view = view or ServerView()
        if present is None:
            everyone = torch.full((b,), m, dtype=torch.int64, device=values.device)
            return cls(_sort(values.detach()), everyone, m, m, view)
        if count is None:
            count = present.sum(dim=0)
        columns = _sort(blank(values.detach(), ~present))
        return cls(columns, count, int(count.min()), int(count.max()), view)

    def replaced(self, values: Tensor, count: Tensor | None = None) -> Columns:
        """Return columns of other values, sorted anew; what stands beyond the count is absent.

        Args:
            values: (m', b), in any order down to the count.
            count: (b,) how many values each column has now; None: as many as before.
        """
        count = self.count if count is None else count
        fewest, most = int(count.min()), int(count.max())
        values = values[:most].to(self.values)
        if fewest < most:
            rows = torch.arange(most, device=values.device)[:, None]
            values = blank(values, rows >= count)
        return Columns(_sort(values), count, fewest, most, self.view.next_step(same_workers=True))

    def require(self, finite: Tensor, f: int, name: str) -> None:
        """Raise NonFiniteError if in a column more than f of those sent are not `finite` (m, b)."""
        if bool((finite.sum(dim=0) < self.count - f).any()):
            raise NonFiniteError(
                f"{name}: no finite answer; more than f={f} workers sent NaN or infinite values of "
                "a coordinate"
            )

    def centred(self, centre: Tensor) -> Tensor:
        """Return the columns minus `centre` (b,) in float64, NaN and what is absent as +inf."""
        return (self.values.double() - centre).nan_to_num(torch.inf, torch.inf, -torch.inf)

    def windows(self, x: Tensor, left_out: int) -> tuple[Tensor, Tensor]:
        """Return mean and scatter of each window of count - left_out neighbours.

        Args:
            x: (m, b) `centred` values, ascending.
            left_out: how many values of a column a window lacks; it starts at row 0..left_out.

        Returns:
            (left_out + 1, b) means μ and sums of squares Σ (x - μ)², not finite where x is not.
        """
        k, w = self.count - left_out, left_out
        rows = torch.arange(len(x), device=x.device)[:, None]
        moments = []
        for power in (x, x * x):
            # Rows w .. k-1 belong to every window; each adds some on the left and on the right.
            core = keep(power[w:], rows[w:] < k).sum(dim=0)
            zero = torch.zeros_like(core)[None]
            left = power[:w].flip(0).cumsum(0).flip(0)
            right = power.gather(0, k + rows[:w]).cumsum(0)
            moments.append(core + torch.cat((left, zero)) + torch.cat((zero, right)))
        mean = moments[0] / k
        return mean, (moments[1] - moments[0] * mean).clamp_min(0.0)

    def at(self, row: Tensor) -> Tensor:
        """Read one row index per column, (b,) -> (b,), or several, (r, b) -> (r, b)."""
        picked = self.values.gather(0, row if row.ndim == 2 else row[None])
        return picked if row.ndim == 2 else picked[0]

    def median(self) -> Tensor:
        """Return each column's median in float64: the midpoint of the two middle values if even.

        In float64 the midpoint of two float32 values is exact, so that the two stay equally far.
        """
        lower, upper = (self.count - 1) // 2, self.count // 2
        if self.fewest == self.most:
            middle = self.values[int(lower[0])], self.values[int(upper[0])]
        else:
            middle = self.at(lower), self.at(upper)
        return 0.5 * middle[0].double() + 0.5 * middle[1].double()

    def window_sum(self, start: Tensor, stop: Tensor) -> Tensor:
        """Sum rows start <= k < stop of each column, (b,) bounds -> (b,).

        Only what is inside is ever added: subtracting extremes from a total would let one value
        of 1e30 erase all the others.
        """
        first, low, high, last = (
            int(bound) for bound in (start.min(), start.max(), stop.min(), stop.max())
        )
        if low >= high:
            low = high = last
        total = self.values[low:high].sum(dim=0)
        for begin, end in ((first, low), (high, last)):
            if begin < end:
                rows = torch.arange(begin, end, device=start.device)[:, None]
                inside = (rows >= start) & (rows < stop)
                total = total + keep(self.values[begin:end], inside).sum(dim=0)
        return total

    def window_mean(self, start: Tensor, length: Tensor) -> Tensor:
        """Average `length` rows of each column from row `start` on."""
        return self.window_sum(start, start + length) / length

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
        low = torch.zeros_like(centre, dtype=torch.int64)
        high = low + (self.count - length)
        while bool((low < high).any()):
            middle = (low + high) // 2
            below = centre - self.at(middle).double()
            above = self.at((middle + length).clamp_max(len(self.values) - 1)).double() - centre
            right = (above < below) & (low < high)
            low, high = torch.where(right, middle + 1, low), torch.where(right, high, middle)
        return low


def _sort(values: Tensor) -> Tensor:
    # NumPy sorts with SIMD, many times faster than torch on the CPU.
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=0))
    return values.sort(dim=0).values
