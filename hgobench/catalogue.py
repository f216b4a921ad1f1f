"""Which registry knows the names that a scenario's field takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from hgobench.boundary import own
from hgobench.registry import Registry

# field -> where its registry lives; imported when asked for, as most of them import torch
_HOMES = {
    "attack": "hgobench.attacks",
    "rule": "hgobench.aggregators",
    "algorithm": "hgobench.algorithms",
    "workload": "hgobench.algorithms.workloads",
    "solver": "hgobench.algorithms.solvers",
    "data": "hgobench.data.datasets",
    "partition": "hgobench.data.partitions",
    "augment": "hgobench.data.augmentations",
    "hardware": "hgobench.hardware",
    "model": "hgobench.models",
    "metrics": "hgobench.metrics",
}
FIELDS = tuple(_HOMES)
_BEFORE = {
    "pre_rule": "rule",
    "heterogeneity_attack": "attack",
    "condition": "hardware",
    "metric": "metrics",
}


def registry(field: str) -> Registry[Any]:
    """Return the registry of a scenario's field: ``registry("rule")``.

    What is written before the value of a field is no field, but has a registry: ``"pre_rule"``.
    """
    behind = _BEFORE.get(field, field)
    found: Registry[Any] = import_module(_HOMES[behind]).registry
    if behind != field:
        assert found.prefixes is not None
        return found.prefixes
    return found


def foreign(values: Mapping[str, Any]) -> list[str]:
    """Return which of a scenario's fields name code that is not hgobench's: ``"rule 'm:Rule'"``.

    Nothing is imported for it.
    """
    return [
        f"{field} {values[field]!r}"
        for field in FIELDS
        if field in values
        and any(
            name not in known.builtins and not own(name.partition(":")[0])
            for known, name in registry(field).named(values[field])
        )
    ]


def contents(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a hash of every file that a scenario's fields name (``devices[path=..]``).

    Args:
        values: fields by name; only those that take names are looked at.
    """
    return tuple(map(digest, _files(values)))


def digests(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the same by file."""
    return {file: digest(file) for file in _files(values)}


def _files(values: Mapping[str, Any]) -> list[str]:
    return [
        file
        for field in FIELDS
        if "[" in str(values.get(field)) or "(" in str(values.get(field))
        for file in registry(field).files(values[field])
    ]


def digest(file: str) -> str:
    """Return the hash of a file; empty if it can't be read, which its reader will say."""
    try:
        path = Path(file).expanduser()
        if not path.is_file():  # a device never ends
            return ""
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, RuntimeError, ValueError):
        return ""
