"""Multi-Krum: the mean of the vectors that Krum likes best."""

from __future__ import annotations

from hgobench.kernels.arrays import sum_rows, zero_where_false
from hgobench.kernels.sorting import argsort_columns
from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .averaging import of_best_scores
from .base import Rule, Scope
from .columns import Columns
from .krum import column_scores, krum_scores, krum_scores_of_runs
from .vectors import Vectors


class MultiKrum(Rule):
    """Mean of the m vectors with the best Krum scores, among n that arrived.

    AR(x) = mean {x_i : i among the m smallest scores}, with Krum's score
    s_i = Σ_{j ∈ N_i} ‖x_i - x_j‖² over the n - f - 2 vectors nearest to x_i. With m = 1 it is
    Krum.

    Ties: the worker that comes first; coordinate-wise, the smallest value.

    Args:
        m: how many are averaged, 1 <= m <= n - f - 2; None: n - f - 2, the most.

    Validity: n >= 2f + 3 and n >= m + f + 2; breakdown point 1/2.
    On ragged input: scope "coordinate" is one-dimensional Multi-Krum on those that sent the
    coordinate; scope "block" is Multi-Krum on those that sent the whole block.

    Departs from its source: the paper leaves m open up to its bound n - f - 2; here it is the bound
    by default. Other packages select n - f (ByzFL), which is beyond it, or 1 (Flower, Blades).

    Source: Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent", NeurIPS 2017.
    """

    paper = "Blanchard et al., NeurIPS 2017"
    formula = "mean of the m x_i with the least Σ ‖x_i - x_j‖² over their n - f - 2 nearest"
    validity = "n >= 2f + 3, m <= n - f - 2"
    breakdown = "1/2"
    averaging = "at most that of Krum"
    cost = "n²·d"
    by_weights = True
    on_parts = "masked"
    ragged = "block: on complete vectors; coordinate: in one dimension on Q_j"

    def __init__(self, m: int | None = None, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.m = None if m is None else whole("m", m, least=1)

    @property
    def minimum(self) -> int:
        """Krum's 2f + 3, and so many that m <= n - f - 2, as is usually asked for."""
        return max(2 * self.f + 3, (self.m or 1) + self.f + 2)

    def proven_kappa(self, n: int) -> float | None:
        """Return what `averaging.of_best_scores` says of m vectors."""
        return of_best_scores(n, self.f, self.m or n - self.f - 2)

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Average the best vectors."""
        distances = vectors.squared_distances
        vectors.require(self.f, self.name)
        most = len(vectors) - self.f - 2
        scores = krum_scores(distances, most)
        return vectors.mean(scores.argsort(stable=True)[: self.m or most])

    def of_stack(self, stack: Tensor) -> list[Tensor | None]:
        """Average the best vectors of each run."""
        most = stack.shape[1] - self.f - 2
        scores = krum_scores_of_runs(stack, most)
        return [
            None
            if of_run is None
            else Vectors(run).mean(of_run.argsort(stable=True)[: self.m or most])
            for run, of_run in zip(stack, scores, strict=True)
        ]

    def of_columns(self, columns: Columns) -> Tensor:
        """Average the best values of each column."""
        scores = column_scores(columns, self.f)
        order = argsort_columns(scores)
        if self.m is not None:
            return sum_rows(columns.take_rows(order[: self.m])) / self.m
        size = columns.count - self.f - 2
        rows = torch.arange(int(size.max()), device=scores.device)[:, None]
        best = columns.take_rows(order[: len(rows)])
        return sum_rows(zero_where_false(best, rows < size)) / size
