"""The robust learning rate: back where too few agree on the sign."""

from __future__ import annotations

import math
from collections.abc import Callable

from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .columns import Columns
from .pre_rule import PreRule, seen
from .vectors import Vectors


class Rlr(PreRule):
    """Turn the sign of an answer's coordinates on whose direction fewer than θ more agree.

    AR(x)_j = z_j if |Σ_i sign(x_ij)| >= θ, else -z_j; z is the answer of what follows and
    sign(0) = 0. A backdoor that few workers push is unlearned where the others are of two minds:
    ``rlr+average`` is the paper's. Vectors (in scope "coordinate" values) with NaN or infinite
    entries abstain.

    It guards directions, not lengths: one huge value goes through ``rlr+average``. Where workers
    see different classes few coordinates are agreed on, and it undoes learning.

    Args:
        threshold: θ >= 1; none: f + 1, the least that the paper admits. So many answers are needed.

    Validity: m >= max(2f + 1, θ). With m < 2f + θ, f attackers turn even what all honest agree on.
    On ragged input: scope "coordinate" counts those that sent the coordinate; scope "block" those
    that sent the whole block; scope "staircase" those of each step.

    Source: Ozdayi, Kantarcioglu, Gel, "Defending against Backdoors in Federated Learning with
    Robust Learning Rate", AAAI 2021.
    """

    paper = "Ozdayi et al., AAAI 2021"
    formula = "the answer z of what follows, -z_j where |Σ sign(x_ij)| < θ"
    validity = "n >= max(2f + 1, θ)"
    breakdown = "the rule's; from n < 2f + θ on f turn any sign"
    averaging = "none if n < 2f + θ"
    cost = "m·d and the rule's"
    ragged = "votes of Q_j"
    by_weights = False
    exempt = {
        "finite_within_honest_range": "turns an answer away from the honest",
        "translation_equivariant": "a shift changes signs",
    }

    def __init__(self, threshold: int | None = None, *, f: int = 0) -> None:
        super().__init__(f=f)
        self.threshold = None if threshold is None else whole("threshold", threshold, least=1)

    @property
    def votes(self) -> int:
        """θ."""
        return self.f + 1 if self.threshold is None else self.threshold

    @property
    def minimum(self) -> int:
        """2f + 1, and so many that θ can agree."""
        return max(2 * self.f + 1, self.votes)

    def proven_kappa(self, n: int, after: Callable[[int], float | None]) -> float | None:
        """Return inf if n < 2f + θ: of honest vectors all alike it returns the opposite."""
        return math.inf if n < 2 * self.f + self.votes else None

    def around(self, vectors: Vectors, after: Callable[[Vectors], Tensor]) -> Tensor:
        """Turn what too few vectors agree on."""
        vectors.require(self.f, self.name)
        answer = seen(after(vectors.untraced()), vectors.width, self.name)
        kept = vectors.finite.to(vectors.sent.device)

        def majority(some: Vectors) -> Tensor:
            return some.columns(slice(None))[kept].sign().sum(dim=0)

        return self._turned(answer, vectors.on_served(majority))

    def around_columns(self, columns: Columns, after: Callable[[Columns], Tensor]) -> Tensor:
        """Turn what too few values of a column agree on."""
        values = columns.values
        finite = torch.isfinite(values)
        columns.require(finite, self.f, self.name)
        answer = seen(after(columns), values.shape[1], self.name)
        return self._turned(answer, torch.where(finite, values, 0.0).sign().sum(dim=0))

    def _turned(self, answer: Tensor, majority: Tensor) -> Tensor:
        """Return the answer, against its sign where the majority is of fewer than θ."""
        return torch.where(majority.abs() >= self.votes, answer, -answer)
