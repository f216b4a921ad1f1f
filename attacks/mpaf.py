"""MPAF: fake workers drag the model towards one that knows nothing."""

from __future__ import annotations

import numpy as np

from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive

from .base import Attack, View


class Mpaf(Attack):
    """Fake workers send λ·(w - w')/γ: steps by it lead from the model w towards a base model w'.

    w' is drawn once, w'_j ~ N(0, spread²), and is the same in every round and for all fake workers,
    so that what they do adds up. They need no data, and see nothing but the model that they are
    sent.

    On ragged input they claim the longest honest length, as all do that send values.

    Args:
        scale: λ > 0.
        spread: of the base model, > 0.

    Raises:
        ValueError: a parameter is no such number.

    What the attacker needs: the model that the server sends, and its learning rate γ.

    Source: Cao, Gong, "MPAF: Model Poisoning Attacks to Federated Learning based on Fake Clients",
    CVPR Workshops 2022, with λ = 10⁶.

    Departs from its source: the base model is Gaussian, as attackers are not shown how the model
    is initialised; the default of λ is ours, as at 10⁶ whatever has no bound fails at once.
    """

    sees = "model"
    columnwise = True
    colludes = False
    paper = "Cao, Gong, CVPRW 2022"
    formula = "λ·(w - w')/γ, w' ~ N(0, spread²) once"
    validity = "a rule without a bound; f < n/2"

    def __init__(self, scale: float = 10.0, spread: float = 1.0) -> None:
        self.scale, self.spread = positive("scale", scale), positive("spread", spread)

    def values(self, view: View) -> Tensor:
        """Send the way from the base model."""
        model = view.require_model()
        drawn = view.stream(0).standard_normal(view.dimension // view.cells)
        base = torch.from_numpy(np.tile(self.spread * drawn, view.cells)).to(model)
        return (model - base) * (self.scale / view.learning_rate)
