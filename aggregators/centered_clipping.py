"""Centered clipping: short steps from where the server was."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch
from hgobench.parameters import REPEATED, positive, whole

from .base import Rule, Scope
from .columns import Columns
from .ragged import MaskedVectors
from .vectors import Vectors
from .view import Memory


class CenteredClipping(Rule):
    """The last aggregate, moved by the mean of the clipped differences from it.

    v <- v + 1/m Σ (x_i - v) · min(1, τ / ‖x_i - v‖), `iterations` times; AR(x) = v. It starts from
    the previous round's aggregate, coordinate by coordinate, and from 0 in the first; never from
    the mean, which a single worker can put anywhere. A vector with NaN or infinite entries adds
    nothing.

    The answer is at most iterations·τ away from the previous one, whoever sends what, and f
    attackers move it by at most τ·f/m per iteration. τ has the unit of the gradients: too small
    it slows learning down, too large it clips nobody; about the length of an honest vector is
    right. Others start from 10 (the authors; with workers' momentum β, 10 / (1 - β) for sums of
    gradients) or 100 (ByzFL), which clips nobody where gradients are averaged.

    Args:
        tau: τ > 0, the radius.
        iterations: how many steps.

    Validity: m >= 2f + 1; the guarantee holds for f/m <= 0.1 and a start near the honest mean.
    On ragged input: scope "coordinate" clips each value's difference from the coordinate's
    previous aggregate at τ/√d, d the coordinates of the model: what a vector of length τ has per
    coordinate. Scope "block" clips the vectors of those that sent the whole block. In scope
    "staircase" each coordinate remembers the aggregate of its own step; in scope "masked" lengths
    are estimated from what was sent, and where it stalls, the aggregate stays.

    Source: Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization",
    ICML 2021.
    """

    paper = "Karimireddy et al., ICML 2021"
    formula = "v + 1/m Σ (x_i - v)·min(1, τ/‖x_i - v‖), v the previous aggregate"
    breakdown = "any f moves it by τ at most; f/n <= 0.1 for the guarantee"
    cost = "m·d per iteration"
    ragged = "block: on complete vectors; coordinate: clips each value of Q_j"
    stateful = True
    by_weights = True
    exempt = {
        "finite_within_honest_range": "the answer lies near the previous one, 0 at first",
        "translation_equivariant": "clips around the previous aggregate, 0 at first",
        "scaling_equivariant": "τ is a length",
    }

    def __init__(
        self,
        tau: float = 1.0,
        iterations: int = 1,
        *,
        f: int = 0,
        scope: Scope = "block",
    ) -> None:
        super().__init__(f=f, scope=scope)
        self.tau = positive("tau", tau)
        self.iterations = whole("iterations", iterations, least=1, most=REPEATED)
        self._previous = Memory()

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Step from the previous aggregate by clipped vectors."""
        vectors.require(self.f, self.name)
        if isinstance(vectors, MaskedVectors):
            return self._of_masked(vectors)
        rows = vectors.rows.double()
        view = vectors.view.of_server()
        v = self._previous.read(view, rows[:1])[0]
        for _ in range(self.iterations):
            difference = rows - v
            difference[~vectors.finite] = 0.0
            length = difference.square().sum(dim=1).sqrt()
            v = v + self.tau / length.clamp_min(self.tau) @ difference / len(rows)
        self._previous.write(view, v[None])
        return v

    def _of_masked(self, vectors: MaskedVectors) -> Tensor:
        view = vectors.view.of_server()
        start = self._previous.read(view, vectors.sent[:1])[0]
        v = start
        for _ in range(self.iterations):
            length = vectors.distances_to(v)
            weights = self.tau / length.clamp_min(self.tau) / len(vectors)
            v = v + vectors.combine(weights).double() - float(weights.sum()) * v
        v = torch.where(vectors.stalled, start, v)
        self._previous.write(view, v[None])
        return v

    def of_columns(self, columns: Columns) -> Tensor:
        """Step from each coordinate's previous aggregate by clipped values."""
        values = columns.values.double()
        finite = torch.isfinite(values)
        columns.require(finite, self.f, self.name)
        view = columns.view.of_server()
        v = self._previous.read(view, values[:1])[0]
        tau = columns.scalar(self.tau)
        for _ in range(self.iterations):
            step = (values - v).clamp(-tau, tau)
            v = v + torch.where(finite, step, 0.0).sum(dim=0) / columns.count
        self._previous.write(view, v[None])
        return v
