"""FoundationFL: synthetic updates beside those that were sent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hgobench.kernels.tiles import map_tiles, tiles
from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .columns import Columns
from .pre_rule import PreRule
from .vectors import Vectors


class FoundationFl(PreRule):
    """Add copies of the vector that is farthest from the extremes.

    Let u and l be the largest and the least of each coordinate. The score of worker i is
    min(‖x_i - u‖, ‖x_i - l‖), and the vector with the largest is added k times, of equal ones the
    first, coordinate-wise the smaller value. What follows, in the paper the trimmed mean or the
    median, gets m + k vectors and is told f. A vector with NaN or infinite entries has no score.

    The server's own vectors are somebody's: attackers can have theirs copied (of two that leave the
    honest in different coordinates, the nearer one is far from u and from l). What follows then
    meets f + k Byzantine vectors of m + k, so that a median withstands it with k < m - 2f, and a
    trimmed mean that takes f from each end does not.

    Args:
        copies: k >= 0; none: f.

    Validity: m >= 2f + 1; no bound is known but that of what follows at f + k of m + k.
    On ragged input: scope "block" adds to the vectors of those that sent the whole block; scope
    "coordinate" adds the value farthest from both ends to those that sent the coordinate.

    Source: Fang, Nabavirazavi, Liu, Sun, Iyengar, Yang, "Do We Really Need to Design New
    Byzantine-robust Aggregation Rules?", NDSS 2025.
    """

    paper = "Fang et al., NDSS 2025"
    formula = "adds k copies of argmax_i min(‖x_i - max‖, ‖x_i - min‖)"
    breakdown = "the rule's at f + k of n + k"
    cost = "m·d"
    ragged = "block: complete vectors; coordinate: values of Q_j"
    keeps_workers = False
    by_weights = False
    exempt = {
        "finite_within_honest_range": "attackers can have theirs copied",
        "poisoned_rounds_stay_bounded": "attackers can have theirs copied",
    }

    def __init__(self, copies: int | None = None, *, f: int = 0) -> None:
        super().__init__(f=f)
        self.copies = None if copies is None else whole("copies", copies, least=0)

    @property
    def added(self) -> int:
        """k."""
        return self.f if self.copies is None else self.copies

    def inputs_needed(self, outputs: float) -> float:
        """Return how many vectors make `outputs` with the copies."""
        return outputs - self.added

    def proven_kappa(self, n: int, after: Callable[[int], float | None]) -> float | None:
        """Return what follows it without copies; else nothing is proven."""
        return None if self.added else after(n)

    def of_vectors(self, vectors: Vectors) -> Vectors:
        """Add copies of a vector."""
        vectors.require(self.f, self.name)
        finite = vectors.finite.to(vectors.sent.device)

        def squares(part: slice) -> Tensor:
            rows = vectors.columns(part).double()[finite]
            ends = rows.amax(dim=0), rows.amin(dim=0)
            return torch.stack([(rows - end).square_().sum(dim=1) for end in ends])

        parts = map_tiles(squares, tiles(vectors.sent, copies=4))
        scores = torch.stack(parts).sum(dim=0).amin(dim=0).cpu().numpy()
        farthest = np.flatnonzero(vectors.finite.numpy())[scores.argmax()]
        matrix = torch.eye(len(vectors), dtype=torch.float64)
        again = matrix[farthest].expand(self.added, -1)
        return vectors.mixed(torch.cat((matrix, again)), same_workers=False, chosen=True)

    def of_columns(self, columns: Columns) -> Columns:
        """Add copies of a value to each column."""
        values, count = columns.values, columns.count
        finite = torch.isfinite(values)
        columns.require(finite, self.f, self.name)
        low = values.masked_fill(~finite, torch.inf).amin(dim=0).double()
        high = values.masked_fill(~finite, -torch.inf).amax(dim=0).double()
        wide = values.double()
        scores = torch.minimum(high - wide, wide - low).masked_fill(~finite, -torch.inf)
        farthest = values.gather(0, first_largest(scores)[None])[0]
        rows = torch.arange(columns.most + self.added, device=values.device)[:, None]
        room = values.new_full((self.added, values.shape[1]), torch.nan)
        sent = torch.cat((values[: columns.most], room))
        return columns.with_values(torch.where(rows < count, sent, farthest), count + self.added)


def first_largest(scores: Tensor) -> Tensor:
    """Return the first row that holds each column's largest number, (m, b) -> (b,) int64."""
    rows = torch.arange(len(scores), device=scores.device)[:, None]
    return torch.where(scores == scores.amax(dim=0), rows, len(scores)).amin(dim=0)
