"""Which registry knows the names that a scenario's field takes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hgobench.registry import Registry

# field -> where its registry lives; imported when asked for, as most of them import torch
_HOMES = {
    "attack": "hgobench.attacks",
    "rule": "hgobench.aggregators",
    "algorithm": "hgobench.algorithms",
    "solver": "hgobench.algorithms.solvers",
    "data": "hgobench.data.datasets",
    "partition": "hgobench.data.partitions",
    "hardware": "hgobench.hardware",
    "model": "hgobench.models",
}
FIELDS = tuple(_HOMES)


def registry(field: str) -> Registry[Any]:
    """Return the registry of a scenario's field: ``registry("rule")``.

    ``"pre_rule"`` is no field; pre-rules stand before a rule.
    """
    home = import_module(_HOMES["rule" if field == "pre_rule" else field])
    found: Registry[Any] = home.pre_rules if field == "pre_rule" else home.registry
    return found
