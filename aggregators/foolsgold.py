"""FoolsGold: workers that always agree are one adversary."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive

from .base import Rule, Scope
from .vectors import Vectors
from .view import Memory


class FoolsGold(Rule):
    """Workers weighed down by how much their histories resemble another's.

    H_i is the sum of all that worker i has sent, this round's included, and cs_ij = cos(H_i, H_j).
    With cs_ii = 0 and v_i = max_j cs_ij a worker is pardoned against a more suspicious one:
    cs_ij <- cs_ij · v_i / v_j where v_j > v_i. Then α_i = 1 - max_j cs_ij, divided by the largest;
    α_i = 1 becomes 0.99; the logit κ·(ln(α_i / (1 - α_i)) + 1/2) is cut to [0, 1].
    AR(x) = Σ α_i x_i / Σ α_i. If no weight is left, the answer is 0. A vector with NaN or infinite
    entries weighs nothing and leaves its worker's history as it was. Histories grow by what is
    aggregated: in HGO the block.

    Args:
        confidence: κ > 0.

    Validity: m >= 2, at least one honest; tolerates any number of Sybils that look alike, and no
    attackers that differ; honest workers with like data count as Sybils.
    On ragged input: the vectors of those that sent the whole block; in scope "staircase" of those
    that sent as far as each step.

    Departs from its source: the paper sums; the mean keeps the step's size comparable. The
    importance weights of features are left out. κ is the paper's to tune; with 1, the default, it
    is the plain logit that other implementations have.

    Source: Fung, Yoon, Beschastnikh, "The Limitations of Federated Learning in Sybil Settings",
    RAID 2020.
    """

    paper = "Fung et al., RAID 2020"
    formula = "Σ α_i x_i / Σ α_i, α_i = logit(1 - max_j pardoned cos(H_i, H_j))"
    validity = "n >= 2, attackers look alike and the honest do not"
    breakdown = "any f of Sybils that look alike; 0 if they differ"
    cost = "m²·d, memory n·d"
    ragged = "on complete vectors"
    stateful = True
    by_worker = True
    exempt = {
        "finite_within_honest_range": "trusts an attacker that resembles no other worker",
        "poisoned_rounds_stay_bounded": "trusts an attacker that resembles no other worker",
        "translation_equivariant": "compares directions from the origin",
    }

    def __init__(self, confidence: float = 1.0, *, f: int = 0, scope: Scope = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.confidence = positive("confidence", confidence)
        self._history = Memory()

    @property
    def minimum(self) -> int:
        """Two, of which one may be honest."""
        return 2

    def of_vectors(self, vectors: Vectors) -> Tensor:
        """Weigh by the histories' cosines."""
        vectors.require(self.f, self.name)
        rows = vectors.rows.double().clone()
        rows[~vectors.finite] = 0.0
        history = self._history.read(vectors.view, rows) + rows
        self._history.write(vectors.view, history)
        finite = vectors.finite
        weights = torch.zeros_like(history[:, 0])
        weights[finite] = trust(Vectors(history[finite]).cosines, self.confidence).to(weights)
        total = float(weights.sum())
        return weights @ rows / total if total > 0 else torch.zeros_like(rows[0])


def trust(cosines: Tensor, confidence: float) -> Tensor:
    """Return the α_i of m workers from their histories' cosines, (m, m) -> (m,)."""
    similarity = cosines.clone().fill_diagonal_(0.0)
    most = similarity.amax(dim=1)  # not negative, as the diagonal is 0
    ratio = torch.where(most > most[:, None], most[:, None] / most, 1.0)
    alpha = (1.0 - (similarity * ratio).amax(dim=1)).clamp(0.0, 1.0)
    if not float(alpha.max()) > 0:
        return alpha
    alpha = alpha / alpha.max()
    alpha = torch.where(alpha == 1, 0.99, alpha)
    return (confidence * (torch.logit(alpha) + 0.5)).clamp(0.0, 1.0)
