"""An attack on rules that cluster gradients by their directions."""

from __future__ import annotations

import math

from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive

from .base import Attack, View

MARGIN = 0.1  # radians by which the chain stays within the honest clusters' distance
SLACK = 1e-4


class ClusteringAware(Attack):
    """The Byzantine workers hang on to the honest cluster in a chain that turns away from it.

    Let θ_c be the angle between the two clusters into which single linkage by cosine distance
    parts the honest vectors, less 0.1 rad. From μ towards the honest vector at the largest angle θ
    from it, in their plane, the k-th Byzantine worker (k = 1..b) sends a vector at the angle
    θ + k·(θ_c - 1e-4): each is nearer to the one before than the honest clusters are to each
    other, so that the chain belongs to the honest. Where the angle reaches π it sends -scale·μ.

    On ragged input an absent entry counts as 0.

    Args:
        scale: the vectors' length, in ‖μ‖, > 0.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: all honest messages, two at least; else it sends -scale·μ.

    Source: Li, Ngai, Voigt, "An Experimental Study of Byzantine-Robust Aggregation Schemes in
    Federated Learning", IEEE Transactions on Big Data 2023.
    """

    sees = "honest"
    paper = "Li et al., IEEE TBD 2023"
    formula = "scale·‖μ‖ at angles θ + k·(θ_c - 1e-4) from μ towards the outermost honest vector"
    validity = "two honest answers"

    def __init__(self, scale: float = 10.0) -> None:
        self.scale = positive("scale", scale)

    def values(self, view: View) -> Tensor:
        """Turn away, link by link."""
        honest, mean = view.require_honest().double(), view.centre()
        honest = honest[torch.isfinite(honest).all(dim=1)]
        lengths = honest.norm(dim=1)
        units = honest[lengths > 0] / lengths[lengths > 0, None]
        size = float(mean.norm())
        if len(units) < 2 or not 0.0 < size < math.inf:
            return (-self.scale * mean).to(view.mean())
        ahead = mean / size
        outermost = units[int((units @ ahead).argmin())]
        theta = math.acos(min(max(float(outermost @ ahead), -1.0), 1.0))
        aside = outermost - (outermost @ ahead) * ahead
        if float(aside.norm()) < 1e-12:
            return (-self.scale * mean).to(view.mean())
        aside = aside / aside.norm()
        link = max(self._cross(units) - MARGIN - SLACK, 0.0)
        sent = []
        for k in range(1, view.byzantine + 1):
            angle = theta + k * link
            turned = math.cos(angle) * ahead + math.sin(angle) * aside
            sent.append(-ahead if angle >= math.pi else turned)
        return (self.scale * size * torch.stack(sent)).to(view.mean())

    @staticmethod
    def _cross(units: Tensor) -> float:
        """Return the angle between the two single-linkage clusters, the last merge's height."""
        distance = (1.0 - units @ units.T).clamp(0.0, 2.0)
        distance.fill_diagonal_(0.0)
        distance = (distance + distance.T) / 2.0
        height = float(linkage(squareform(distance.cpu().numpy(), checks=False), "single")[-1, 2])
        return math.acos(1.0 - height)
