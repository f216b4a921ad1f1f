"""Time of the hot paths: a rule on a round's values, an attack's message, a round of training."""

from __future__ import annotations

import numpy as np
import torch

from hgobench import Scenario, aggregators, attacks
from hgobench.simulation import simulate
from hgobench.testing import view

# These need more than values, or (SMEA at f = 10 of 80) more time than there is.
NEEDY = ("fltrust", "zeno", "oracle", "smea")


class Rules:
    """One call of a rule at q = 80 and the dimension of softmax regression on MNIST."""

    params = (
        [
            *(name for name in aggregators.registry.names() if name not in NEEDY),
            "nnm+krum",
            "nnm+trimmed_mean",
            "arc+geometric_median",
        ],
        ["dense", "ragged"],
    )
    param_names = ("rule", "input")

    def setup(self, rule: str, form: str) -> None:
        """Make values, and lengths as weak and capable devices send them."""
        torch.set_num_threads(1)
        rng = np.random.default_rng(0)
        q, d = 80, 7850
        self.values = torch.from_numpy(rng.standard_normal((q, d)).astype(np.float32))
        self.present = None
        if form == "ragged":
            lengths = np.where(np.arange(q) < 45, d, rng.integers(200, d, q))
            self.present = torch.from_numpy(rng.permutation(d) < lengths[:, None])
        self.rule = aggregators.build(rule, f=10)
        if form == "ragged" and self.rule.has_columns():
            self.rule = aggregators.build(rule, f=10, scope="coordinate")

    def time_call(self, rule: str, form: str) -> None:
        """Aggregate once."""
        self.rule(self.values, self.present)


class Attacks:
    """One message of ten Byzantine workers among 80, d = 7,850; optimal ones try trimmed means."""

    params = ([name for name in attacks.registry.names() if name != "none"], ["dense", "ragged"])
    param_names = ("attack", "input")

    def setup(self, attack: str, form: str) -> None:
        """Make a round."""
        torch.set_num_threads(1)
        rule = aggregators.build("trimmed_mean", f=10, scope="coordinate")
        ragged = form == "ragged"
        self.view = view(honest=70, byzantine=10, dimension=7850, ragged=ragged, rule=rule)
        self.attack = attacks.build(attack)

    def time_call(self, attack: str, form: str) -> None:
        """Attack once."""
        self.attack(self.view)


class Rounds:
    """Ten rounds on digits, alone and in a cohort of eight."""

    params = ([1, 8],)
    param_names = ("cells",)

    def setup(self, cells: int) -> None:
        """Make the cells and warm their world up."""
        rates = [0.1 + 0.01 * i for i in range(cells)]
        self.cells = [
            Scenario(workers=30, f=3, attack="foe", rounds=10, learning_rate=rate) for rate in rates
        ]
        simulate(self.cells, width=cells)

    def time_ten_rounds(self, cells: int) -> None:
        """Train."""
        simulate(self.cells, width=cells)
