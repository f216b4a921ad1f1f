"""What every aggregation rule is, and the columns that coordinate-wise rules read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from hgobench.masks import blank, keep

Scope = Literal["block", "coordinate"]
LARGE = 1e30  # below this, sums of finite float32 values are finite


class RuleError(ValueError):
    """A rule was given input on which it has no answer."""


class NonFiniteError(RuleError):
    """More non-finite values arrived than the rule stands, so its answer would not be finite."""


class Rule:
    """An aggregation rule: from what m workers sent to one vector.

    A rule is a pure function. Called as ``rule(values, present)`` it checks its input, decides
    which values count, and hands them to one of two methods:

    - `of_rows` sees complete vectors, (m, b) -> (b,);
    - `of_columns` sees each coordinate by itself, sent by its own set Q_j of workers.

    A coordinate-wise rule writes `of_columns` alone. A geometric rule (Krum, Aksel) writes
    `of_rows`, and `of_columns` too if it has a one-dimensional form.

    Args:
        f: how many Byzantine workers the rule is told to stand.
        scope: ``"coordinate"``: coordinate j is the rule applied to the values that Q_j sent, by
            themselves (Definition 1 of the HGO paper). ``"block"``: the rule is applied to the
            vectors of those workers that sent every coordinate which anybody sent. For
            coordinate-wise rules the two differ on ragged input only.

    Raises:
        ValueError: f is not an integer >= 0, or the scope is unknown or without a meaning here.
    """

    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    validity: ClassVar[str] = "n >= 2f + 1"

    def __init__(self, *, f: int = 0, scope: Scope = "block") -> None:
        if isinstance(f, bool) or not isinstance(f, int | np.integer) or f < 0:
            raise ValueError(f"f: {f!r}; expected an integer >= 0")
        if scope not in ("block", "coordinate"):
            raise ValueError(f"scope: {scope!r}; expected 'block' or 'coordinate'")
        if scope == "coordinate" and not self.has_columns():
            raise ValueError(
                f"scope: 'coordinate'; expected 'block', as {type(self).__name__} has no "
                "coordinate-wise form"
            )
        self.f = int(f)
        self.scope = scope

    @classmethod
    def has_columns(cls) -> bool:
        """Say whether the rule can aggregate each coordinate by itself."""
        return cls.of_columns is not Rule.of_columns

    @property
    def name(self) -> str:
        """What messages call the rule."""
        return type(self).__name__

    @property
    def minimum(self) -> int:
        """The fewest answers among which the rule stands f Byzantine ones."""
        return 2 * self.f + 1

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({parameters})"

    def __call__(self, values: Tensor, present: Tensor | None = None) -> Tensor:
        """Aggregate.

        Args:
            values: (m, d) floating-point tensor, a row per worker; it is not changed.
            present: (m, d) bool, which entries were sent; None: all. Absent entries may hold
                anything.

        Returns:
            (d,) tensor of the same dtype and device; 0 where nobody sent anything.

        Raises:
            RuleError: wrong shape or dtype, or fewer than `minimum` answers where some arrived.
            NonFiniteError: so many values are NaN or infinite that no finite answer exists.
        """
        _check(values, present)
        if values.shape[1] == 0:
            return values.new_zeros(0)
        if not values.dtype.itemsize >= 4:
            return self(values.float(), present).to(values.dtype)
        if present is None:
            return self._dense(values)
        counts = present.sum(dim=0)
        heard = counts > 0
        if not heard.any():
            return torch.zeros_like(values[0])
        if heard.all():
            return self._ragged(values, present, counts)
        out = torch.zeros_like(values[0])
        out[heard] = self._ragged(values[:, heard], present[:, heard], counts[heard])
        return out

    def _ragged(self, values: Tensor, present: Tensor, counts: Tensor) -> Tensor:
        """Aggregate where each coordinate was sent by somebody, `counts` (b,) by how many."""
        fewest = int(counts.min())
        if fewest == len(values):
            return self._dense(values)
        if self.scope == "block":
            return self._dense(values[present.all(dim=1)])
        self._enough(fewest)
        return self._checked(self.of_columns(Columns.sort(values, present, counts)), values)

    def _dense(self, values: Tensor) -> Tensor:
        self._enough(len(values))
        if self.scope == "coordinate" or not self._has_rows():
            return self._checked(self.of_columns(Columns.sort(values)), values)
        return self._checked(self.of_rows(values), values)

    def _enough(self, answers: int) -> None:
        if answers < self.minimum:
            raise RuleError(
                f"{self.name}: {answers} answers; f={self.f} needs at least {self.minimum}"
            )

    def _checked(self, result: object, values: Tensor) -> Tensor:
        """Return the answer to `values` in their dtype, if it is one."""
        if isinstance(result, np.ndarray):
            result = torch.from_numpy(np.ascontiguousarray(result))
        wanted = isinstance(result, Tensor) and not result.is_complex()
        if not isinstance(result, Tensor) or not wanted or result.shape != values.shape[1:]:
            tensor = isinstance(result, Tensor)
            shape = f"{result.dtype} {tuple(result.shape)}" if tensor else repr(result)  # type: ignore[attr-defined]
            raise RuleError(
                f"{self.name}: returned {shape}; expected a real tensor of shape "
                f"{tuple(values.shape[1:])}"
            )
        result = result.to(values)
        if not torch.isfinite(result).all():
            bad = int((~torch.isfinite(values)).any(dim=1).sum())
            if not bad and float(values.abs().max()) < LARGE:
                raise RuleError(f"{self.name}: returned NaN or infinite values for finite input")
            raise NonFiniteError(
                f"{self.name}: no finite answer; {bad} of {len(values)} workers sent "
                f"NaN or infinite values, or values too large to add, and f={self.f}"
            )
        return result

    @classmethod
    def _has_rows(cls) -> bool:
        return cls.of_rows is not Rule.of_rows

    def of_rows(self, rows: Tensor) -> Tensor:
        """Aggregate m complete vectors, (m, b) -> (b,); m >= `minimum`, entries may be NaN."""
        return self.of_columns(Columns.sort(rows))

    def of_columns(self, columns: Columns) -> Tensor:
        """Aggregate each coordinate by itself, -> (b,); every count is >= `minimum`."""
        raise NotImplementedError(f"{type(self).__name__} has no coordinate-wise form")


class Function(Rule):
    """A user's own callable as a rule.

    ``function(values)`` sees the complete vectors only, (m, d) -> (d,), scope "block". If it names
    a parameter `present`, ``function(values, present=present)`` sees everything that was sent, as
    `Rule` does, and 0 is expected where nobody sent anything.
    """

    def __init__(self, function: Callable[..., object], *, f: int = 0) -> None:
        super().__init__(f=f, scope="block")
        self.function = function
        try:
            self.ragged = "present" in inspect.signature(function).parameters
        except (TypeError, ValueError):  # some builtins have no signature
            self.ragged = False

    @property
    def name(self) -> str:
        """What messages call the rule."""
        inner = self.function
        return getattr(inner, "__name__", type(inner).__name__)

    def __call__(self, values: Tensor, present: Tensor | None = None) -> Tensor:
        """Aggregate; the function gets copies, so that it can't change what others see."""
        if not self.ragged:
            return super().__call__(values, present)
        _check(values, present)
        sent = torch.ones_like(values, dtype=torch.bool) if present is None else present.clone()
        return self._checked(self.function(values.clone(), present=sent), values)

    def of_rows(self, rows: Tensor) -> Tensor:
        """Call the function on complete vectors."""
        return self.function(rows.clone())  # type: ignore[return-value]  # checked afterwards


def _check(values: Tensor, present: Tensor | None) -> None:
    if not isinstance(values, Tensor):
        raise RuleError(f"values: {type(values).__name__}; expected a torch.Tensor")
    if values.ndim != 2 or len(values) == 0:
        raise RuleError(f"values: shape {tuple(values.shape)}; expected (m, d) with m >= 1")
    if not values.dtype.is_floating_point:
        raise RuleError(f"values: {values.dtype}; expected a floating-point tensor")
    if present is not None and (present.shape != values.shape or present.dtype != torch.bool):
        raise RuleError(
            f"present: {present.dtype} {tuple(present.shape)}; "
            f"expected torch.bool {tuple(values.shape)}"
        )


@dataclass(frozen=True)
class Columns:
    """Every column sorted by itself, the sent values first, what was not sent behind them.

    Attributes:
        values: (m, b), ascending down each column; NaN counts as larger than everything. Row k of
            column j is meaningful for k < count[j].
        count: (b,) int64, how many workers sent each coordinate.
        fewest, most: the smallest and the largest count.
    """

    values: Tensor
    count: Tensor
    fewest: int
    most: int

    @classmethod
    def sort(
        cls, values: Tensor, present: Tensor | None = None, count: Tensor | None = None
    ) -> Columns:
        """Sort (m, b) values; absent entries become NaN, which sorts to the end.

        Args:
            values: (m, b).
            present: (m, b) bool; None: all.
            count: (b,) the column sums of `present`, if they are known.
        """
        m, b = values.shape
        if present is None:
            everyone = torch.full((b,), m, dtype=torch.int64, device=values.device)
            return cls(_sort(values.detach()), everyone, m, m)
        if count is None:
            count = present.sum(dim=0)
        columns = _sort(blank(values.detach(), ~present))
        return cls(columns, count, int(count.min()), int(count.max()))

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

        Returns:
            (b,) the row at which that window starts.
        """
        centre = centre.double()
        low, high = torch.zeros_like(length), self.count - length
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
