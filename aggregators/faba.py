"""FABA: leave out the farthest from the mean, again and again."""

from __future__ import annotations

import numpy as np

from hgobench.lazy import Tensor, torch

from .base import Rule
from .columns import Columns
from .vectors import LARGEST, Vectors


class Faba(Rule):
    """Mean of the m - f vectors that are left when f times the farthest from the mean goes.

    f times: of the vectors that are left, the one with the largest ‖x_i - mean of those left‖ goes,
    of equal ones the last; coordinate-wise, the larger value. AR(x) = mean of those left. A vector
    with NaN or infinite entries goes first.

    The mean μ of k vectors of which b < k/2 are attackers', far from honest ones near 0, is nearer
    to 0 than to some attacker's: Σ a = kμ over b of them has an a with ⟨a, μ⟩ >= k/b·‖μ‖² > 2‖μ‖².
    So no attacker that is far enough stays; for those that are not, no bound is known.

    Validity: m >= 2f + 1; breakdown point 1/2.
    On ragged input: scope "coordinate" is the rule in one dimension on those that sent the
    coordinate; scope "block" is the rule on the vectors of those that sent the whole block.

    Source: Xia, Tao, Hao, Li, "FABA: An Algorithm for Fast Aggregation against Byzantine Attacks in
    Distributed Neural Networks", IJCAI 2019.
    """

    paper = "Xia et al., IJCAI 2019"
    formula = "mean of those left when f times the farthest from the mean goes"
    breakdown = "1/2"
    cost = "m²·d + f·m²"
    by_weights = True
    ragged = "block: on complete vectors; coordinate: in one dimension on Q_j"

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Leave out vectors by the inner products of those left."""
        vectors.require(self.f, self.name)
        gram = vectors.gram.numpy()
        left = np.flatnonzero(vectors.finite.numpy())
        while len(left) > len(vectors) - self.f:
            within = gram[np.ix_(left, left)]
            # ‖x_i - μ‖² without ‖μ‖², which all share
            away = within.diagonal() - 2.0 * within.mean(axis=1)
            last = len(left) - 1 - int(away[::-1].argmax())
            left = np.delete(left, last)
        return vectors.mean(torch.from_numpy(left))

    def of_columns(self, columns: Columns) -> Tensor:
        """Leave out the least or the largest value of each column, f times."""
        f = self.f
        x = columns.centred(columns.median())
        finite = x.abs() < LARGEST
        columns.require(finite, f, self.name)
        low, high = x[:f], columns.beyond(x, f)  # all that may go
        length = columns.count - f
        stays = torch.arange(len(x), device=x.device)[:, None]
        inside = (stays >= f) & (stays < length)
        core = torch.where(inside, x, 0.0).sum(dim=0)
        none = torch.zeros_like(x[:1])
        # Sums from the middle outwards, so that what went is never subtracted.
        below = torch.cat((low.flip(0).cumsum(dim=0).flip(0), none))
        above = torch.cat((none, high.cumsum(dim=0)))
        start = torch.zeros_like(columns.count)  # how many of the least went
        for gone in range(f):
            ends = start, columns.count - 1 - (gone - start)
            least, largest = (x.gather(0, end[None])[0] for end in ends)
            stay = (start, f - (gone - start))
            total = core + below.gather(0, stay[0][None])[0] + above.gather(0, stay[1][None])[0]
            mean = total / (columns.count - gone)
            nearer = largest - mean < mean - least
            lower = torch.where(least > -LARGEST, nearer, largest < LARGEST)
            start = start + (lower & (largest < LARGEST)).long()
        return columns.window_mean(start, f)
