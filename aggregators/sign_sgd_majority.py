"""signSGD with majority vote."""

from __future__ import annotations

import math

from hgobench.lazy import Tensor, torch

from .base import Rule
from .columns import Columns


class SignSgdMajority(Rule):
    """The sign that most workers' values have, coordinate by coordinate.

    AR(x)_j = sign(Σ_i sign(x_ij)), with sign(0) = 0: every entry is -1, 0 or 1, so that the
    learning rate is the size of the step itself, and needs to be chosen anew. NaN and infinite
    values abstain.

    Validity: m >= 2f + 1; it converges with f/m < 1/2 if noise is unimodal and symmetric; shards of
    different classes break it without any attacker.
    On ragged input: the vote of those that sent the coordinate.

    Source: Bernstein, Zhao, Azizzadenesheli, Anandkumar, "signSGD with Majority Vote is
    Communication Efficient and Fault Tolerant", ICLR 2019.
    """

    paper = "Bernstein et al., ICLR 2019"
    formula = "sign(Σ sign(x_i))"
    breakdown = "1/2"
    averaging = "none"
    cost = "m·d"
    ragged = "vote of Q_j"
    exempt = {
        "finite_within_honest_range": "answers are signs",
        "translation_equivariant": "a shift changes signs",
        "scaling_equivariant": "a factor leaves signs as they are",
    }

    def proven_kappa(self, n: int) -> float | None:
        """Return inf: of vectors all alike it returns the signs."""
        return math.inf

    def of_columns(self, columns: Columns) -> Tensor:
        """Count the signs of each column."""
        values = columns.values
        finite = torch.isfinite(values)
        columns.require(finite, self.f, self.name)
        votes = ((values > 0) & finite).sum(dim=0) - ((values < 0) & finite).sum(dim=0)
        return votes.sign().to(values)
