"""Attacks: one message of ten Byzantine workers among 80."""

from __future__ import annotations

from hgobench import aggregators, attacks
from hgobench.testing import view

from . import inputs


class Attacks:
    """One message at d = 7,850; optimal ones try it on trimmed means."""

    params = ([name for name in attacks.registry.names() if name != "none"], inputs.FORMS)
    param_names = ("attack", "input")

    def setup(self, attack: str, form: str) -> None:
        """Make a round."""
        inputs.one_thread(80)
        rule = aggregators.build("trimmed_mean", f=10, scope="coordinate")
        ragged = form == "ragged"
        self.view = view(honest=70, byzantine=10, dimension=7850, ragged=ragged, rule=rule)
        self.attack = attacks.build(attack)

    def time_call(self, attack: str, form: str) -> None:
        """Attack once."""
        self.attack(self.view)
