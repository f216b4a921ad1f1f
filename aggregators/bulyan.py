"""Bulyan: Krum again and again, then the middle of what it chose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hgobench.kernels.tiles import map_tiles, tiles
from hgobench.lazy import Tensor, torch

from .base import Rule
from .columns import Columns
from .vectors import Vectors


class Bulyan(Rule):
    """Selection by repeated Krum, then a mean around the median of each coordinate.

    1. θ = m - 2f times: choose the best vector by Krum among those that are left, with f as it
       was, and take it out. Among r vectors Krum counts max(r - f - 2, 1) neighbours.
    2. Each coordinate is the mean of its β = θ - 2f values nearest to the median of the θ chosen.

    Some implementations take the θ best scores of a single pass, which is another set nearly
    always. Ties in 1: the one whose next neighbour is nearer, then the worker that comes first;
    in 2: of two values equally far, the smaller.

    Validity: m >= 4f + 3; breakdown point 1/4; removes Krum's leeway of √d.
    On ragged input: Bulyan on the vectors of those that sent the whole block. It has no
    coordinate-wise form: its second stage is one already.

    Source: El Mhamdi, Guerraoui, Rouault, "The Hidden Vulnerability of Distributed Learning in
    Byzantium", ICML 2018.
    """

    paper = "El Mhamdi et al., ICML 2018"
    formula = "mean of the m - 4f values nearest to the median of m - 2f vectors chosen by Krum"
    validity = "n >= 4f + 3"
    breakdown = "1/4"
    cost = "m²·d + m³"
    ragged = "on complete vectors"

    @property
    def minimum(self) -> int:
        """Bulyan's condition, 4f + 3."""
        return 4 * self.f + 3

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Select, then average around the median."""
        distances = vectors.squared_distances.numpy()
        vectors.require(self.f, self.name)
        chosen = _select_repeatedly(distances, self.f, len(vectors) - 2 * self.f)
        rows = vectors.rows
        selected = torch.from_numpy(np.sort(chosen)).to(rows.device)
        answer = torch.empty_like(rows[0])

        def middle(part: slice) -> None:
            columns = Columns.sort(rows[:, part].index_select(0, selected))
            answer[part] = columns.mean_around(columns.median(), 2 * self.f)

        map_tiles(middle, tiles(rows, copies=2))
        return answer


def _select_repeatedly(distances: NDArray[np.float64], f: int, times: int) -> NDArray[np.int64]:
    """Choose so many vectors, one after the other, from their (m, m) squared distances.

    When a vector is taken out and Krum counts one neighbour less, each score loses one term: the
    vector's if it counted, else the largest. Terms are set to 0 and added up anew, never
    subtracted: one of 1e60 would take all others with it.
    """
    m = len(distances)
    nearest = np.argsort(distances + np.diag(np.full(m, -np.inf)), axis=1)[:, 1:]  # not itself
    ordered = np.take_along_axis(distances, nearest, axis=1)
    everyone = np.arange(m)
    place = np.zeros((m, m), dtype=np.int64)  # of each vector among the neighbours of each
    np.put_along_axis(place, nearest, np.arange(m - 1)[None], axis=1)
    present = np.ones((m, m - 1), dtype=bool)  # neighbours that are left
    remaining = np.ones(m, dtype=bool)
    chosen = np.empty(times, dtype=np.int64)
    counted, terms, last = 0, ordered, everyone
    for step in range(times):
        neighbours = max(m - step - f - 2, 1)
        if step == 0 or neighbours == counted:
            inside = present & (present.cumsum(axis=1, dtype=np.int32) <= neighbours)
            terms = np.where(inside, ordered, 0.0)
            last = m - 2 - inside[:, ::-1].argmax(axis=1)
        counted = neighbours
        scores = terms.sum(axis=1)
        scores[~remaining] = np.inf
        tied = np.flatnonzero(remaining & (scores == scores.min()))
        if len(tied) > 1:
            more = present & (present.cumsum(axis=1, dtype=np.int32) <= neighbours + 1)
            tied = tied[[np.where(more, ordered, 0.0).sum(axis=1)[tied].argmin()]]
        best = chosen[step] = tied[0]
        remaining[best] = False
        removed = place[:, best]
        present[everyone, removed] = False
        terms[everyone, np.minimum(removed, last)] = 0.0  # its term, or the largest that counted
        last = last - (removed >= last)
        while (skipped := ~present[everyone, last] & (last > 0)).any():
            last = last - skipped
    return chosen
