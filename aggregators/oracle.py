"""The oracle: a rule that is told who is honest, which no real server knows."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch

from .average import Average
from .base import Answer
from .vectors import Vectors
from .view import ServerView


class Oracle(Average):
    """Mean of what the honest workers sent: AR(x) = Σ_{i honest} x_i / |honest|.

    It is told who is honest and is no rule that anybody could use: the baseline that says what an
    attack costs a rule. Boards list it without a rank and measure the gap to it.

    Validity: at least one honest answer.
    On ragged input: scope "coordinate" is the mean over the honest that sent the coordinate, scope
    "block" over the honest that sent the whole block; 0 where there is none.

    Raises:
        RuleError: the view does not say who is honest.
    """

    paper = "baseline"
    formula = "mean of the honest x_i"
    validity = "knows who is honest"
    breakdown = "any f: it is told"
    cost = "m·d"
    ragged = "mean over the honest of Q_j"
    needs = frozenset({"honest"})
    weighted = False
    exempt = {}

    def _answered(self, values: Tensor, present: Tensor | None, view: ServerView | None) -> Answer:
        """Aggregate what the honest sent; the view must say who they are."""
        view = view or ServerView()
        honest = view.require_honest(self.name)
        fits = isinstance(values, torch.Tensor) and values.ndim == 2 and len(values) == len(honest)
        fits &= present is None or (present.dtype == torch.bool and present.shape == values.shape)
        if self.scope == "coordinate" and fits:
            # Ignore what Byzantine workers sent; `Rule` refuses input of a wrong shape.
            by_honest = honest[:, None].to(values.device)
            present = by_honest.expand_as(values) if present is None else present & by_honest
        return Answer(super()._answered(values, present, view).values)

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Average the honest vectors."""
        honest = vectors.view.require_honest(self.name)
        if not honest.any():
            return torch.zeros_like(vectors.sent[0])
        vectors.tell(honest.double() / honest.sum())
        return vectors.rows[honest].mean(dim=0)
