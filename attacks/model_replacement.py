"""Model replacement: what is sent, boosted until an average becomes the attackers' model."""

from __future__ import annotations

from hgobench.lazy import Tensor
from hgobench.parameters import positive

from .base import View
from .heterogeneity import HeterogeneityAttack


class ModelReplacement(HeterogeneityAttack):
    """Send c times what the attack behind it sends, so that the average of all answers is that.

    Of q answers under an average the b attackers' count b/q. With c = q/b and honest answers that
    nearly cancel, as they do near convergence, the server's step w - γ·AG leads to the attackers'
    model X = w - γ·g, g what they would send unboosted: with local steps
    (`hgobench.algorithms.FedAvg`) X is the model that they trained on poisoned data.
    ``model_replacement+badnets`` is the source's attack.

    On ragged input each coordinate is boosted alike: one that fewer than q send is overshot.

    Args:
        boost: c > 0; None: q/b of the round.

    Raises:
        ValueError: not such a number.

    What the attacker needs: how many workers are asked, and how many of them are attackers.

    Source: Bagdasaryan, Veit, Hua, Estrin, Shmatikov, "How To Backdoor Federated Learning", AISTATS
    2020, where one attacker sends n/η·(X - w) + w.
    """

    columnwise = True
    paper = "Bagdasaryan et al., AISTATS 2020"
    formula = "c times what is sent, c = q/b"
    control = "values"
    validity = "an average, or a rule that follows large values"

    def __init__(self, boost: float | None = None) -> None:
        self.boost = None if boost is None else positive("boost", boost)
        self.colludes = boost is None  # as it needs to know how many they are

    def values(self, view: View, values: Tensor) -> Tensor:
        """Boost them."""
        return values * (self.boost or view.sampled / view.byzantine)
