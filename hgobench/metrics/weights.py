"""Who is heard: how much of whose values the rule used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .base import End, Floats, Metric, averages, thirds
from .influence import unlike

UNUSED = 0.01  # of the weight that the average gives: a rule that gives less has dropped a worker
RARITY = ("common", "middle", "rare")


class Weights(Metric):
    """How far the last answer of the rule followed each worker's values (see `influences`).

    ``used``: m·w_i, the mean over the values that honest workers sent: 1 is as much as the average
    of the m that answered. ``weight``: of the update, q·w_i·b_i/b, where i sent b_i of
    the block's b coordinates, 0 if it did not answer, over the honest workers that were asked: 1 is
    as much as the average if all q had sent everything. By class of device; ``used_by_labels``
    by thirds of the honest workers, by how unlike all examples their labels are.

    A rule that selects or weighs whole vectors gives each worker one weight. Of such a rule
    ``caught`` is the share of the Byzantine workers that answered, and ``dropped`` that of the
    honest ones, of whose values it used less than 1 % of what the average does. Workers of whom
    that is not known, as all sent the same, are left out everywhere.

    Example:
        >>> from hgobench import Scenario, run
        >>> attacked = Scenario(workers=20, byzantine=2, rounds=3, rule="krum", attack="sign_flip",
        ...                     algorithm="sgd", deadline="inf")
        >>> measures = run(attacked).measures
        >>> measures["caught"], round(measures["dropped"], 2)
        (1.0, 0.94)
    """

    paper = "hgobench"
    formula = "w_i = mean over what i sent of ∂AR/∂x_i"
    validity = "up to 2²⁴ values in the last round"
    measures: Mapping[str, str] = {
        "used": "how far the rule follows what honest workers sent, by class of device; 1: as far "
        "as the average does",
        "used_by_labels": "the same by how rare their labels are",
        "weight": "their part in the update, by class of device; 1: as much as if all sent all and "
        "were averaged",
        "caught": "the share of the Byzantine workers that answered, of whose values the rule used "
        "nothing",
        "dropped": "the share of the honest workers that answered, of whose values it used nothing",
    }

    def __call__(self, end: End) -> Mapping[str, float]:
        """Return ``used``, ``weight`` and ``used_by_labels`` by group, and who was left out."""
        influence, known = end.influence, followed(end)
        if influence is None or known is None:
            return {}
        used, sent, answered = known
        asked = np.zeros(len(used), dtype=bool)
        asked[influence.asked] = np.isfinite(used)[influence.asked]
        heard = answered & ~end.byzantine
        told = end.by_device("used", used, heard, sent)
        weight = used * sent * (len(influence.asked) / len(influence.workers))
        told |= end.by_device("weight", weight, asked & ~end.byzantine)
        if end.classes and len(who := np.flatnonzero(heard)) >= len(RARITY):
            order = who[np.argsort(unlike(end.held)[who], kind="stable")]
            rare = thirds(len(order))
            told |= averages("used_by_labels", RARITY, rare, used[order], sent[order])
        if influence.linear:
            left_out = np.abs(used) < UNUSED
            if (hostile := answered & end.byzantine).any():
                told["caught"] = float(left_out[hostile].mean())
            if heard.any():
                told["dropped"] = float(left_out[heard].mean())
        return told


class Followed(NamedTuple):
    """How far a rule's last answer follows each worker.

    Attributes:
        used: (n,) m·w_i; 0 of who did not answer, NaN where it is not known.
        sent: (n,) the share of the block that each sent.
        answered: (n,) who answered, and is known.
    """

    used: Floats
    sent: Floats
    answered: NDArray[np.bool_]


def followed(end: End) -> Followed | None:
    """Return how far the last answer follows each worker; None: nothing is known."""
    if (influence := end.influence) is None:
        return None
    n, workers = len(end.byzantine), influence.workers
    used, sent, answered = np.zeros(n), np.zeros(n), np.zeros(n, dtype=bool)
    used[workers], sent[workers] = influence.used * len(workers), influence.sent
    answered[workers] = np.isfinite(used[workers])
    return Followed(used, sent, answered)
