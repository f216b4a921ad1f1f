"""What a rule tells of its answer on the way: of whose values it is a mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hgobench.kernels.arrays import count_columns
from hgobench.lazy import Tensor, torch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class AnswerTrace:
    """How far an answer follows each of the values that a rule is given, (m, d).

    Where an answer is Σ_i w_ij x_ij with weights that no small change of the values changes, as a
    mean of values that were chosen, w_ij is ∂AR_j/∂x_ij. `Columns` and `Vectors` tell it to the
    trace of their view; of a mean of columns that is only a centre, on the way to the answer, they
    tell nothing. What is told last of a coordinate counts. What a rule makes of a mean of vectors
    is not seen; whoever asks must check that Σ_i w_ij x_ij is the answer.

    >>> from hgobench import aggregators
    >>> values = torch.tensor([[1.0], [2.0], [9.0]])
    >>> view = aggregators.ServerView().traced(values)
    >>> aggregators.build("median")(values, view=view), view.trace.weights(3, 1).T
    (tensor([2.]), array([[0., 1., 0.]]))
    """

    def __init__(self) -> None:
        self._told: list[tuple[Ints, Ints, Callable[[], Floats]]] = []

    def tell(self, rows: Ints | None, columns: Ints, weights: Callable[[], Floats]) -> None:
        """Take down what the answer is in some coordinates.

        Args:
            rows: (k,) the rows whose values it may be a mean of; None: combinations, all of them.
            columns: (b,) the coordinates.
            weights: works out w, (k, b).
        """
        assert rows is not None
        self._told.append((rows, columns, weights))

    def mixed(self, rows: Ints | None, matrix: Floats) -> AnswerTrace:
        """Return a trace of combinations of rows, which tells this one.

        Args:
            rows: (m,) which; None: combinations, all of them.
            matrix: (k, m) the combinations, which no small change of the values changes.
        """
        return _Mixed(self, rows, matrix)

    def weights(self, m: int, d: int) -> Floats:
        """Return w, (m, d); NaN in coordinates of which nothing was told."""
        if self._told:
            rows, columns, weights = self._told[-1]
            if np.array_equal(columns, np.arange(d)) and np.array_equal(rows, np.arange(m)):
                return weights()  # nearly always
        found = np.full((m, d), np.nan)
        unknown = np.ones(d, dtype=bool)
        for rows, columns, weights in reversed(self._told):
            if not (new := unknown[columns]).any():
                continue
            found[:, columns[new]] = 0.0
            found[rows[:, None], columns[new]] = weights()[:, new]
            unknown[columns] = False
        return found


class _Mixed(AnswerTrace):
    def __init__(self, trace: AnswerTrace, rows: Ints | None, matrix: Floats) -> None:
        self.trace, self.rows, self.matrix = trace, rows, matrix

    def tell(self, rows: Ints | None, columns: Ints, weights: Callable[[], Floats]) -> None:
        self.trace.tell(self.rows, columns, lambda: self.matrix.T @ weights())


def of_windows(
    values: Tensor, present: Tensor | None, ordered: Tensor, start: Ints, length: Ints
) -> Floats:
    """Return how far the mean of a window of each sorted column follows its values, (m, b).

    Each of the k values in the window has 1/k, all others 0. Values that are equal to the window's
    least or largest share what falls on them, inside or not: it is the mean over all orders in
    which equal values can be sorted.

    Args:
        values: (m, b), as they were sent.
        present: (m, b) bool, which were; None: all.
        ordered: (m, b) the sorted columns.
        start, length: (b,) where the window starts in each, and k.

    >>> column, one = torch.tensor([[5.0], [2.0], [5.0], [7.0]]), np.array([1])
    >>> of_windows(column, None, column.sort(dim=0).values, one, one).T
    array([[0.5, 0. , 0.5, 0. ]])
    """
    x, rows = values.cpu().numpy(), ordered.cpu().numpy()
    columns = np.arange(x.shape[1])
    least, most = rows[start, columns], rows[start + length - 1, columns]
    within = (x >= least) & (x <= most)
    there = np.ones_like(within) if present is None else present.cpu().numpy()
    within &= there
    number = count_columns(torch.from_numpy(within)).numpy()
    weights: Floats = within * (1.0 / np.maximum(number, 1))
    if len(tied := np.flatnonzero((number > length) & (least < most))):
        x, within, there = (part[:, tied] for part in (x, within, there))
        least, most, first, k = (part[tied] for part in (least, most, start, length))
        at_least, at_most = within & (x == least), within & (x == most)
        between = within & ~at_least & ~at_most
        before, low_ones, high_ones, others = (
            part.sum(axis=0) for part in (there & (x < least), at_least, at_most, between)
        )
        low_inside = before + low_ones - first
        high_inside = k - others - low_inside
        shares = between + at_least * (low_inside / low_ones) + at_most * (high_inside / high_ones)
        weights[:, tied] = shares / k
    return weights
