"""Bulyan: Krum again and again, then the middle of what it chose."""

from __future__ import annotations

import numpy as np

from hgobench.kernels.selection import select_repeatedly
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
    On ragged input: Bulyan on the vectors of those that sent the whole block; in scope "staircase"
    of those that sent as far as each step. It has no scope "coordinate": its second stage is
    coordinate-wise already.

    Source: El Mhamdi, Guerraoui, Rouault, "The Hidden Vulnerability of Distributed Learning in
    Byzantium", ICML 2018.
    """

    paper = "El Mhamdi et al., ICML 2018"
    formula = "mean of the m - 4f values nearest to the median of m - 2f vectors chosen by Krum"
    validity = "n >= 4f + 3"
    breakdown = "1/4"
    averaging = "(2√(h/(⌊n/2⌋ + 1 - 2f)) + √(h/(n - 3f)))²"
    cost = "m²·d + m³"
    ragged = "on complete vectors"

    @property
    def minimum(self) -> int:
        """Bulyan's condition, 4f + 3."""
        return 4 * self.f + 3

    def proven_kappa(self, n: int) -> float | None:
        """Return (2√(h/t) + √(h/(n - 3f)))², t = ⌊n/2⌋ + 1 - 2f; 0 if f = 0.

        Whoever is chosen, n - 3f or more of the n - 2f are honest. In each coordinate t of these
        lie as far from the honest mean as the median c does, so that ‖c‖² <= hV/t, and the
        answer is as near to c as they are in the square mean: √(h/(n - 3f)·V) + ‖c‖.
        """
        if not self.f:
            return 0.0
        h, t = n - self.f, n // 2 + 1 - 2 * self.f
        return float((2.0 * np.sqrt(h / t) + np.sqrt(h / (n - 3 * self.f))) ** 2)

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Select, then average around the median."""
        distances = vectors.squared_distances.numpy()
        vectors.require(self.f, self.name)
        chosen = select_repeatedly(distances, self.f, len(vectors) - 2 * self.f)
        rows = vectors.rows
        selected = torch.from_numpy(np.sort(chosen)).to(rows.device)
        answer = torch.empty_like(rows[0])

        def middle(part: slice) -> None:
            columns = Columns.sort(rows[:, part].index_select(0, selected))
            answer[part] = columns.mean_around(columns.median(), 2 * self.f)

        map_tiles(middle, tiles(rows, copies=4))
        return answer
