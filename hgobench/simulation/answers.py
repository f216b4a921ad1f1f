"""What all cells' workers answer in a round, and several cells' answers side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hgobench.lazy import Tensor, torch

BESIDE_BYTES = 4 << 20  # of several cells' answers side by side: what stays in a core's cache


def index_of(rows: Sequence[int], device: torch.device) -> Tensor:
    """Return row numbers as a tensor: `index_select` by it is faster than an index in brackets."""
    return torch.from_numpy(np.array(rows)).to(device)  # faster than from the list itself


class Answers:
    """The answers of q workers in each of R cells, d coordinates each.

    Several cells side by side are a matrix of q rows and as many times d columns: what treats every
    column by itself treats them all in one call.

    Args:
        values: (R, q, d), contiguous; it is overwritten.

    >>> answers = Answers(torch.arange(12.0).view(2, 2, 3))
    >>> answers.beside([0, 1], torch.tensor([1]))
    tensor([[ 3.,  4.,  5.,  9., 10., 11.]])
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._rows = values.view(-1, values.shape[2])

    def at_once(self) -> int:
        """Return how many cells fit side by side."""
        _, q, d = self.values.shape
        return max(BESIDE_BYTES // (q * d * self.values.element_size()), 1)

    def _index(self, cells: Sequence[int], workers: Tensor, by_cell: bool = False) -> Tensor:
        q, first = self.values.shape[1], index_of(cells, workers.device)
        pair = (workers, first.unsqueeze(1)) if by_cell else (workers.unsqueeze(1), first)
        return torch.add(*pair, alpha=q).view(-1)

    def beside(self, cells: Sequence[int], workers: Tensor, block: Tensor | None = None) -> Tensor:
        """Return some workers' answers in some cells, (m, G·b).

        Args:
            cells: G of them.
            workers: (m,) int64 rows.
            block: (b,) int64 coordinates; None: all.
        """
        if len(cells) == 1:
            rows = self.values[cells[0]]
            if len(workers) < len(rows):
                rows = rows.index_select(0, workers)
        else:
            rows = self._rows.index_select(0, self._index(cells, workers))
        if block is not None:
            rows = rows.index_select(1, block)  # an index in brackets takes five times as long
        return rows.view(len(workers), len(cells) * rows.shape[1])

    def stacked(self, cells: Sequence[int], workers: Tensor, block: Tensor | None = None) -> Tensor:
        """Return some workers' answers in some cells, (G, m, b); arguments as for `beside`."""
        rows = self._rows.index_select(0, self._index(cells, workers, by_cell=True))
        if block is not None:
            rows = rows.index_select(1, block)
        return rows.view(len(cells), len(workers), rows.shape[1])

    def put(self, cells: Sequence[int], workers: Tensor, values: Tensor) -> None:
        """Overwrite some workers' answers in some cells.

        Args:
            cells: G of them.
            workers: (m,) int64 rows.
            values: (m, G·d); (m, d): the same in all cells.
        """
        d = self.values.shape[2]
        if values.shape[1] == d:
            values = values[:, None].expand(-1, len(cells), -1)
        rows = values.reshape(-1, d).to(self._rows)
        self._rows.index_copy_(0, self._index(cells, workers), rows)
