"""Step clipping: no answer is further from the last one than the model's last step allows."""

from __future__ import annotations

import math
from collections.abc import Callable

from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive

from .columns import Columns
from .pre_rule import PreRule, seen
from .vectors import Vectors
from .view import Memory, ServerView


class StepClipping(PreRule):
    """Clip differences from the last answer by the length of the step that it was.

    y_i = v + (x_i - v)·min(1, r/‖x_i - v‖), and what follows aggregates the y_i; v is the last
    answer, and r = α·‖v‖: the step was γ·‖v‖ long (the solver gradient_descent, at a rate that does
    not change), so that r = λ·‖w_k - w_{k-1}‖ with λ = α/γ. Gradients of a smooth loss change no
    faster than the model moves; whoever claims more is cut, even if all that were asked are
    Byzantine: an answer within the vectors' hull is at most r from the last, one of the median, the
    trimmed mean, MeaMed or Phocas at most √2·r. In the first round nothing is cut, and an answer of
    0 stays.

    Args:
        strength: α > 0. With α = γ·L it lets through what a smooth loss with the constant L can do
            to a worker's gradient on all its examples; minibatches and workers' own data need more.

    Validity: any m; the guarantee that the first answer has, of the rule behind.
    On ragged input: blocks differ from round to round, and v_j is of the last round t_j in which
    coordinate j was updated. The model has come p_j = Σ ‖answer of round t‖, t_j <= t < k, at most,
    since; with r² = α²·Σ_j p_j²/d over the b coordinates of the vectors, of d, it is the r above
    where all are updated every round. Coordinates that never were are not cut. Scope "block" clips
    the vectors of those that sent the whole block; scope "staircase" those of each step; scope
    "coordinate" each value's difference to α·p_j/√d.

    Source: Malinovsky, Richtárik, Horváth, Gorbunov, "Byzantine Robustness and Partial
    Participation Can Be Achieved at Once: Just Clip Gradient Differences", NeurIPS 2024, where it
    is the heuristic by which any robust method takes part in sampling. Their Byz-VR-MARINA-PP is
    the algorithm `marina`.
    """

    paper = "Malinovsky et al., NeurIPS 2024"
    formula = "v + (x_i - v)·min(1, α·‖v‖/‖x_i - v‖), v the previous answer"
    validity = "n >= 1"
    breakdown = "the rule's in the first round; then any f moves it by √2·α·‖v‖ at most"
    cost = "m·d"
    ragged = "block: complete vectors; coordinate: each value"
    stateful = True
    by_weights = False
    exempt = {
        "finite_within_honest_range": "the answer lies near the previous one",
        "translation_equivariant": "the previous answer's length is from the origin",
    }

    def __init__(self, strength: float = 1.0, *, f: int = 0) -> None:
        super().__init__(f=f)
        self.strength = positive("strength", strength)
        self._last, self._came = Memory(), Memory()  # v; 1 + the path when it came, 0: never
        self._round, self._path, self._squares = 0, 0.0, 0.0

    @property
    def minimum(self) -> int:
        """Any number of answers can be clipped."""
        return 1

    def around(self, vectors: Vectors, after: Callable[[Vectors], Tensor]) -> Tensor:
        """Clip vectors, and remember what follows makes of them."""
        rows, view = vectors.rows, vectors.view
        last, path, known = self._start(view, rows)
        apart = torch.where(known, rows.double() - last, 0.0)
        length = apart.square().sum(dim=1).sqrt()
        radius = self.strength * float((path.square().sum() / view.model_size(len(last))).sqrt())
        near = (length <= radius) | ~torch.isfinite(length)
        factor = torch.where(near, 1.0, radius / length)
        clipped = torch.where(known, last + factor[:, None] * apart, rows.double()).to(rows)
        clipped = torch.where(near[:, None], rows, clipped)
        made = Vectors(clipped, view.next_step(same_workers=True))
        return self._kept(view, seen(after(made), len(last), self.name))

    def around_columns(self, columns: Columns, after: Callable[[Columns], Tensor]) -> Tensor:
        """Clip values, and remember what follows makes of them; infinite ones stay."""
        x, view = columns.values, columns.view
        last, path, known = self._start(view, x)
        radius = self.strength * path / math.sqrt(view.model_size(len(last)))
        clipped = x.double().clamp(last - radius, last + radius).to(x)
        made = columns.with_values(torch.where(known & torch.isfinite(x), clipped, x))
        return self._kept(view, seen(after(made), len(last), self.name))

    def _start(self, view: ServerView, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return v and p, (b,) float64, and which coordinates have a v, (b,) bool."""
        if view.served is None or view.round != self._round:  # else another part of the round
            self._round, self._path = view.round, self._path + math.sqrt(self._squares)
            self._squares = 0.0
        server = view.of_server()
        last, came = (part.read(server, like[:1])[0] for part in (self._last, self._came))
        known = came > 0
        return last, torch.where(known, self._path + 1.0 - came, 0.0), known

    def _kept(self, view: ServerView, answer: Tensor) -> Tensor:
        """Remember an answer, where it is one."""
        server = view.of_server()
        self._last.write(server, answer[None])
        self._came.write(server, torch.full_like(answer, self._path + 1.0)[None])
        used = answer if view.served is None else answer[view.served]
        self._squares += float(used.square().sum())
        return answer
