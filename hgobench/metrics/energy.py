"""What a run costs the devices' batteries."""

from __future__ import annotations

from collections.abc import Mapping

from .base import End, Metric


class Energy(Metric):
    """Joules that honest workers spent on computing and on the radio, in all rounds.

    A worker that computes for t time units, of watts W, and sends and receives B bytes, of ε joules
    each, spends W·t + ε·B in a round; a time unit is taken for a second. Fleets say W and ε
    (``watts`` and ``joules_per_byte`` in the file of ``devices``).

    Example:
        >>> Energy().measures["energy"]
        'joules of all honest workers, and the mean of one by class of device'
    """

    paper = "hgobench"
    formula = "E_i = Σ_k W_i·t_ik + ε_i·B_ik"
    validity = "fleets that say watts or joules_per_byte"
    measures: Mapping[str, str] = {
        "energy": "joules of all honest workers, and the mean of one by class of device",
    }

    def __call__(self, end: End) -> Mapping[str, float]:
        """Return ``energy`` and ``energy/DEVICE``."""
        if end.joules is None:
            return {}
        honest = ~end.byzantine
        total = {"energy": float(end.joules[honest].sum())}
        return total | end.by_device("energy", end.joules, honest)
