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
_BEFORE = {"pre_rule": "rule", "heterogeneity_attack": "attack"}


def registry(field: str) -> Registry[Any]:
    """Return the registry of a scenario's field: ``registry("rule")``.

    What stands before the thing of a field is no field, but has a registry: ``"pre_rule"``.
    """
    behind = _BEFORE.get(field, field)
    found: Registry[Any] = import_module(_HOMES[behind]).registry
    if behind != field:
        assert found.prefixes is not None
        return found.prefixes
    return found
