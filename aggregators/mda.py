"""Minimum diameter averaging."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .base import Rule, Scope
from .columns import Columns, first_least
from .errors import RuleError
from .vectors import Vectors


class Mda(Rule):
    """Mean of the m - f vectors that lie closest together.

    AR(x) = mean of S*, S* = argmin_{|S| = m - f} max_{i,j ∈ S} ‖x_i - x_j‖.

    Of the two ends of a set's diameter one must go, or the set stays as wide as it is. So fewer
    than 2^(f + 1) sets are looked at, and not all C(m, f) subsets: f = 10 of m = 80 takes hundreds.

    Ties: of subsets as narrow as S*, which have the same two ends, the one with the least
    Σ_{i ∈ S} ‖x_i - mean of S‖²; others take whichever comes first. (If several pairs of ends are
    exactly equally far, the least of the subsets that the search meets.)

    Args:
        subsets: how many sets may be looked at, some 7,000 a second; RuleError beyond.

    Validity: m >= 2f + 1; breakdown point 1/2.
    On ragged input: scope "coordinate" takes the narrowest interval of those that sent the
    coordinate; scope "block" is the rule on the vectors of those that sent the whole block.

    Source: El Mhamdi, Guerraoui, Guirguis, Rouault, "SGD: Decentralized Byzantine Resilience",
    2019 (arXiv:1905.03853), after Rousseeuw, "Multivariate Estimation with High Breakdown Point",
    1985.
    """

    paper = "Rousseeuw 1985; El Mhamdi et al., 2019"
    formula = "mean of the m - f vectors with the least diameter"
    breakdown = "1/2"
    averaging = "min(8f²/h, (f·√(2/h) + √(f/(h - f)))²)"
    cost = "m²·d + 2^f·m²"
    by_weights = True
    on_parts = "masked"
    ragged = "block: on complete vectors; coordinate: the narrowest interval of Q_j"

    def __init__(self, subsets: int = 20_000, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.subsets = whole("subsets", subsets, least=1)

    def proven_kappa(self, n: int) -> float | None:
        """Return min(8f²/h, (f·√(2/h) + √(f/(h - f)))²).

        The diameter D is at most that of S, and so D² <= 2hV. The answer is Σ (z - e)/h over b <= f
        attackers' vectors z that are taken and honest ones e that are not. With an honest vector
        that is taken in between, ‖z - e‖ <= 2D; with the mean of all those, z is at most D from it
        and the mean of the e at most √V·h/√(b(h - b)).
        """
        f, h = self.f, n - self.f
        return min(8.0 * f * f / h, (f * sqrt(2.0 / h) + sqrt(f / (h - f))) ** 2)

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Average the narrowest subset."""
        vectors.require(self.f, self.name)
        distances = vectors.squared_distances.numpy()
        return vectors.mean(torch.from_numpy(self._narrowest(distances)))

    def _narrowest(self, distances: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the members of S*, by depth-first search with the best diameter as a bound."""
        size = len(distances) - self.f
        best: tuple[float, float] = (np.inf, np.inf)
        chosen = np.arange(size)
        stack = [np.arange(len(distances))]
        seen = set[int]()  # sets as bits, so that a set reached in two orders is searched once
        while stack:
            members = stack.pop()
            within = distances[np.ix_(members, members)]
            farthest_pair = np.unravel_index(int(within.argmax()), within.shape)
            if len(members) == size:
                width = (float(within[farthest_pair]), float(within.sum()))
                if width < best:
                    best, chosen = width, members
                continue
            # A subset that keeps both ends is as wide as the whole set; none without one is wider.
            for end in farthest_pair:
                smaller = np.delete(members, end)
                key = sum(1 << int(member) for member in smaller)
                if key not in seen and self._least_width(distances, smaller, size) <= best[0]:
                    seen.add(key)
                    stack.append(smaller)
            if len(seen) > self.subsets:
                raise RuleError(
                    f"{self.name}: f={self.f} of {len(distances)} takes more than "
                    f"subsets={self.subsets} sets"
                )
        return chosen

    @staticmethod
    def _least_width(
        distances: NDArray[np.float64], members: NDArray[np.int64], size: int
    ) -> float:
        """Return a lower bound of the diameter of `size` of the members.

        Each of them has size - 1 others within it, so that the bound is the size-th smallest of
        the members' distances to their (size - 1)-th nearest.
        """
        within = np.partition(distances[np.ix_(members, members)], size - 1, axis=1)[:, size - 1]
        return float(np.partition(within, size - 1)[size - 1])

    def of_columns(self, columns: Columns) -> Tensor:
        """Average the narrowest window of each column."""
        x = columns.centred(columns.median())
        length = columns.count - self.f
        start = torch.arange(self.f + 1, device=x.device)[:, None]
        width = x.gather(0, start + length - 1) - x.gather(0, start.expand(-1, x.shape[1]))
        scatter = columns.windows(x, self.f)[1]
        narrow = width.nan_to_num(nan=torch.inf) <= width.nan_to_num(nan=torch.inf).amin(dim=0)
        best = first_least(scatter.masked_fill(~narrow, torch.inf))
        return columns.window_mean(best, self.f)
