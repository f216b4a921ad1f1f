"""Zeno: suspicion-based scores on the server's own data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive, whole

from .base import Rule, Scope
from .errors import RuleError
from .vectors import Vectors

if TYPE_CHECKING:
    from hgobench.data.base import Dataset


class Zeno(Rule):
    """Mean of the m - f vectors that most lower the loss on the server's own data.

    s_i = L_r(w) - L_r(w - γ x_i) - ρ‖x_i‖², L_r the loss of clean root examples, γ the round's
    learning rate, ρ = γ/rho_ratio; AR(x) is the mean of the m - f vectors with the largest scores.
    Of equal ones the worker that comes first. A vector whose score is not finite is never chosen.

    The first term of a score grows with γ, so the price of length has to grow with it: the paper's
    ρ = 0.0005 is that of its γ = 0.1, and its authors' runs set it as γ/200.

    Args:
        rho_ratio: γ/ρ > 0; inf: length costs nothing.
        examples: how many clean training examples the server has.

    Validity: any f < m, if the root data are clean and like the workers'.
    On ragged input: the vectors of those that sent the whole block, or in scope "staircase" as far
    as each step; the other parameters stay.

    Raises:
        RuleError: the server has no root data, or more than f steps have no finite loss.

    Departs from its source: the server's examples are the same in every round; the paper draws a
    fresh minibatch in each.

    Source: Xie, Koyejo, Gupta, "Zeno: Distributed Stochastic Gradient Descent with Suspicion-based
    Fault-tolerance", ICML 2019.
    """

    paper = "Xie et al., ICML 2019"
    formula = "mean of the m - f largest L_r(w) - L_r(w - γ·x_i) - γ/rho_ratio·‖x_i‖²"
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
        rho_ratio: float = 200.0,
        examples: int = 100,
        *,
        f: int = 0,
        scope: Scope = "block",
    ) -> None:
        super().__init__(f=f, scope=scope)
        self.rho_ratio = rho_ratio if rho_ratio == math.inf else positive("rho_ratio", rho_ratio)
        self.examples = whole("examples", examples, least=1)

    def fits(self, data: Dataset) -> None:
        """Refuse more root examples than the training set has."""
        whole("examples", self.examples, most=len(data.train))

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
        scores = descent - root.rate / self.rho_ratio * vectors.norms.square()
        scores = scores.nan_to_num(nan=-torch.inf, posinf=-torch.inf)
        best = scores.argsort(descending=True, stable=True)[: len(vectors) - self.f]
        if not torch.isfinite(scores[best]).all():
            raise RuleError(f"{self.name}: more than f={self.f} steps have no finite loss")
        return vectors.mean(best)
