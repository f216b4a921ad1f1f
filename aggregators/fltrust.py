"""FLTrust: trust bootstrapped from the server's own data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .base import Rule, Scope
from .errors import NonFiniteError
from .vectors import Vectors

if TYPE_CHECKING:
    from hgobench.data.base import Dataset


class FlTrust(Rule):
    """Vectors weighed by how much they point where the server's own gradient points.

    g_0 is the gradient of the server's clean root examples at the current parameters.
    TS_i = max(cos(x_i, g_0), 0), and AR(x) = Σ TS_i · ‖g_0‖ x_i / ‖x_i‖ / Σ TS_i. If no worker is
    trusted, or g_0 = 0, the answer is 0: the server takes no step. A vector that is 0, NaN or
    infinite has no trust.

    Args:
        examples: how many clean training examples the server has.

    Validity: any f, if the root data are clean and like the workers'.
    On ragged input: g_0 and the vectors of those that sent the whole block, on the block; in scope
    "staircase" of those that sent as far as each step, on its coordinates.

    Raises:
        RuleError: the server has no root data.
        NonFiniteError: its own gradient is not finite.

    Source: Cao, Fang, Liu, Gong, "FLTrust: Byzantine-robust Federated Learning via Trust
    Bootstrapping", NDSS 2021.
    """

    paper = "Cao et al., NDSS 2021"
    formula = "Σ TS_i·(‖g_0‖/‖x_i‖)·x_i / Σ TS_i, TS_i = max(cos(x_i, g_0), 0)"
    validity = "clean root data at the server"
    breakdown = "any f, with clean root data"
    cost = "m·d + a root gradient"
    ragged = "on complete vectors"
    needs = frozenset({"root"})
    exempt = {
        "finite_within_honest_range": "as long as the server's own gradient",
        "translation_equivariant": "compares directions from the origin",
        "scaling_equivariant": "as long as the server's own gradient",
    }

    def __init__(self, examples: int = 100, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.examples = whole("examples", examples, least=1)

    def fits(self, data: Dataset) -> None:
        """Refuse more root examples than the training set has."""
        whole("examples", self.examples, most=len(data.train))

    @property
    def minimum(self) -> int:
        """One answer is enough: the server trusts its own data."""
        return 1

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Weigh by cosine and rescale."""
        vectors.require(self.f, self.name)
        root = vectors.view.require_root(self.name).gradient(self.examples).double()
        if not torch.isfinite(root).all():
            raise NonFiniteError(f"{self.name}: the server's own gradient is not finite")
        rows = vectors.rows.double().clone()
        rows[~vectors.finite] = 0.0
        lengths, own = rows.norm(dim=1), root.norm()
        comparable = (lengths > 0) & (own > 0)
        cosine = torch.where(comparable, rows @ root / (lengths * own), 0.0)
        trust = cosine.clamp(0.0, 1.0)
        if not float(trust.sum()) > 0:
            return torch.zeros_like(root)
        weights = torch.where(comparable, trust / trust.sum() * own / lengths, 0.0)
        return weights @ rows
