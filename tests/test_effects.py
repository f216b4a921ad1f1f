"""Attacks do what their papers say: each on one small training run, beside the same run without.

Thirty workers, three Byzantine (unless it says otherwise), 40 rounds on digits. An entry says what
the attack breaks and, where its paper claims to slip past a defence, what stops a cruder one.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from hgobench import Scenario
from hgobench.results import Result
from hgobench.simulation import simulate

BASE: dict[str, Any] = {
    "workers": 30,
    "byzantine": 3,
    "sampled": 24,
    "rounds": 40,
    "learning_rate": 2.0,
    "evaluation_interval": 40,
    "algorithm": "sgd",
    "hardware": "powerful",
}


@cache
def result(attack: str, seed: int, fields: tuple[tuple[str, Any], ...]) -> Result:
    scenario = Scenario(**{**BASE, **dict(fields)}, attack=attack, seed=seed)
    return simulate([scenario], width=1)[0]


def accuracy(attack: str, seeds: int = 2, **fields: Any) -> float:
    """Return the mean final accuracy over seeds; a run that diverged counts as 0."""
    key = tuple(sorted(fields.items()))
    return float(
        np.mean([result(attack, seed, key).summary["test_accuracy"] for seed in range(seeds)])
    )
