"""Zeno: suspicion-based scores on the server's own data."""

from __future__ import annotations

import torch
from torch import Tensor

from hgobench.parameters import finite, whole

from .base import Rule, Scope
from .errors import RuleError
from .vectors import Vectors


class Zeno(Rule):
    """Mean of the m - f vectors that most lower the loss on the server's own data.

    s_i = L_r(w) - L_r(w - γ x_i) - ρ‖x_i‖², L_r the loss of clean root examples, γ the round's
    learning rate; AR(x) is the mean of the m - f vectors with the largest scores. Of equal ones
    the worker that comes first. A vector whose score is not finite is never chosen.

    Args:
        rho: ρ >= 0, the price of long vectors, per squared unit of the gradients.
        examples: how many clean training examples the server has.

    Validity: any f < m, if the root data are clean and like the workers'.
    On ragged input: the vectors of those that sent the whole block; the other parameters stay.

    Raises:
        RuleError: the server has no root data, or more than f steps have no finite loss.

    Source: Xie, Koyejo, Gupta, "Zeno: Distributed Stochastic Gradient Descent with Suspicion-based
    Fault-tolerance", ICML 2019.
    """

    paper = "Xie et al., ICML 2019"
    formula = "mean of the m - f largest L_r(w) - L_r(w - γ·x_i) - ρ‖x_i‖²"
    validity = "n >= f + 1, clean root data at the server"
    breakdown = "any f, with clean root data"
    cost = "m losses of the root data"
    ragged = "on complete vectors"
    needs = frozenset({"root"})
    exempt = {
        "translation_equivariant": "a shift changes the loss",
        "scaling_equivariant": "a factor changes the loss",
    }

    def __init__(
        self,
        rho: float = 0.0005,
        examples: int = 100,
        *,
        f: int = 0,
        scope: Scope = "block",
    ) -> None:
        super().__init__(f=f, scope=scope)
        self.rho = finite("rho", rho, least=0.0)
        self.examples = whole("examples", examples, least=1)

    @property
    def minimum(self) -> int:
        """One honest answer is enough."""
        return self.f + 1

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Score every vector as a step."""
        vectors.require(self.f, self.name)
        root = vectors.view.require_root(self.name)
        steps = vectors.rows.clone()
        steps[~vectors.finite] = 0.0
        descent = root.descent(steps, self.examples).double().cpu()
        scores = descent - self.rho * vectors.norms.square()
        scores = scores.nan_to_num(nan=-torch.inf, posinf=-torch.inf)
        best = scores.argsort(descending=True, stable=True)[: len(vectors) - self.f]
        if not torch.isfinite(scores[best]).all():
            raise RuleError(f"{self.name}: more than f={self.f} steps have no finite loss")
        return vectors.mean(best)
