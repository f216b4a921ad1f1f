"""Krum: the vector closest to its neighbours."""

from __future__ import annotations

from hgobench.kernels import windows
from hgobench.kernels.sorting import sort_rows
from hgobench.lazy import Tensor, torch

from .averaging import of_best_scores
from .base import Rule
from .columns import Columns, first_least
from .vectors import Vectors, distances_of_runs


def krum_scores(squared_distances: Tensor, neighbours: int) -> Tensor:
    """Sum each vector's smallest squared distances to others, (m, m) -> (m,)."""
    # After the sort the zero distance of a vector to itself comes first.
    return sort_rows(squared_distances)[:, 1 : neighbours + 1].sum(dim=1)


def krum_scores_of_runs(stack: Tensor, neighbours: int) -> list[Tensor | None]:
    """Return the scores of several runs' vectors, (G, m, b) -> G times (m,); see `stacked`."""
    distances, known = distances_of_runs(stack)
    runs, m, _ = distances.shape
    scores = krum_scores(distances.view(runs * m, m), neighbours).view(runs, m)
    return [row if told else None for row, told in zip(scores, known, strict=True)]


def column_scores(columns: Columns, f: int) -> Tensor:
    """Return the one-dimensional Krum score of every value, (m, b); inf for what is absent.

    In a sorted column a value with its nearest neighbours fills one of the f + 2 windows of
    k = m - f - 1 rows. Around a member x of a window with mean μ the squared distances sum to
    Σ (x_j - μ)² + k (x - μ)², and the window that holds the neighbours is the one with the least.
    """
    k = columns.count - f - 1
    x = columns.centred(columns.median())
    mean, scatter = columns.windows(x, f + 1)
    rows = torch.arange(len(x), device=x.device)[:, None]
    scores = torch.full_like(x, torch.inf)
    for start in range(f + 2):
        around = scatter[start] + k * (x - mean[start]).square()
        outside = (rows < start) | (rows >= start + k)
        around = around.masked_fill_(outside, torch.inf).nan_to_num_(torch.inf, torch.inf)
        torch.minimum(scores, around, out=scores)
    return scores


class Krum(Rule):
    """The vector with the smallest sum of squared distances to its m - f - 2 nearest others.

    AR(x) = x_i*, i* = argmin_i Σ_{j ∈ N_i} ‖x_i - x_j‖², N_i the m - f - 2 vectors nearest to x_i,
    itself not among them. Many implementations count m - f - 1 of them, or do not square.

    Ties: the worker that comes first; coordinate-wise, the smallest value.

    Validity: m >= 2f + 3; breakdown point 1/2 (in high dimension an attacker has a leeway of √d).
    On ragged input: scope "coordinate" is one-dimensional Krum on those that sent the coordinate;
    scope "block" is Krum on the vectors of those that sent the whole block.

    Source: Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent", NeurIPS 2017.
    """

    paper = "Blanchard et al., NeurIPS 2017"
    formula = "x_i with the least Σ ‖x_i - x_j‖² over its m - f - 2 nearest x_j"
    validity = "n >= 2f + 3"
    breakdown = "1/2"
    averaging = "(√(2h(h - 2)/(h - 1)) + √(f + 1))²/(h - f - 1)"
    cost = "m²·d"
    by_weights = True
    ragged = "block: Krum on complete vectors; coordinate: in one dimension on Q_j"

    @property
    def minimum(self) -> int:
        """Krum's condition for its guarantee, 2f + 3."""
        return 2 * self.f + 3

    def proven_kappa(self, n: int) -> float | None:
        """Return (√(2h(h-2)/(h-1)) + √(f+1))²/(h-f-1) (see `averaging.of_best_scores`)."""
        return of_best_scores(n, self.f, 1)

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Return the best vector."""
        distances = vectors.squared_distances
        vectors.require(self.f, self.name)
        scores = krum_scores(distances, len(vectors) - self.f - 2)
        return vectors.mean(scores.argmin()[None])

    def of_stack(self, stack: Tensor) -> list[Tensor | None]:
        """Return the best vector of each run."""
        scores = krum_scores_of_runs(stack, stack.shape[1] - self.f - 2)
        return [
            None if of_run is None else run[of_run.argmin()] + 0.0  # as a sum, never -0.0
            for run, of_run in zip(stack, scores, strict=True)
        ]

    def of_columns(self, columns: Columns) -> Tensor:
        """Return the best value of each column.

        Only the member of a window that is nearest to the window's mean can be best, so that one
        candidate of each window is enough (see `column_scores`).
        """
        f, centre = self.f, columns.median()
        if columns.compiled:
            ends = columns.fewest, columns.most
            best = windows.krum_choices(columns.values, columns.count, centre, f + 1, *ends)
            return columns.choice(best)
        k = columns.count - f - 1
        x = columns.centred(centre)
        mean, scatter = columns.windows(x, f + 1)
        start = torch.arange(f + 2, device=x.device)[:, None]
        below_mean = columns.count_below(mean + centre)
        upper = torch.minimum(torch.maximum(below_mean, start + 1), start + k - 1)
        nearer_below = mean - x.gather(0, upper - 1) <= x.gather(0, upper) - mean
        nearest = torch.where(nearer_below, upper - 1, upper)
        score = scatter + k * (x.gather(0, nearest) - mean).square_()
        best = nearest.gather(0, first_least(score)[None])[0]
        return columns.choice(columns.take_rows(best))
