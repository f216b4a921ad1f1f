"""Addresses of results in a store, determined by scenario, code and data.

Two cells have the same address if and only if all that their numbers depend on is equal, so that an
address that the store has need not be computed.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hgobench import catalogue
from hgobench.boundary import installed
from hgobench.models.factory import state as model_state
from hgobench.scenario import Scenario

# The code that numbers depend on; changes elsewhere keep results valid.
SOURCES = (
    "aggregators",
    "algorithms",
    "attacks",
    "boundary.py",
    "csv_file.py",
    "data",
    "hardware",
    "kernels",
    "metrics",
    "models",
    "parameters.py",
    "reading.py",
    "protocol",
    "simulation",
    "determinism.py",
)


@cache
def code_digest(*extra: str) -> str:
    """Return a hash of the sources that determine results, and of extra folders of hgobench."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for name in SOURCES + extra:
        home = package / name if (package / name).exists() else package.parent / name
        for path in sorted(home.glob("**/*.py")) if home.is_dir() else [home]:
            digest.update(f"{name}/{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def code_stated() -> str:
    """Return the hash of the sources as results state it in their provenance, as ``code``.

    >>> code_digest().startswith(code_stated()), len(code_stated())
    (True, 12)
    """
    return code_digest()[:12]


def _plugin_sources(fields: Mapping[str, Any]) -> list[str]:
    """Return the hashes of all source files of the plug-ins that a scenario's fields name."""
    return [digest for _, digest in sorted(_plugin_modules(fields).items())]


def _plugin_modules(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of the source of each module of the plug-ins that fields name.

    An instance of a torch module has numbers of its own: their hash is among them.
    """
    modules: dict[str, Path] = {}
    states: dict[str, str] = {}
    for field in fields.keys() & set(catalogue.FIELDS):
        for registry, name in catalogue.registry(field).named(fields[field]):
            if name in registry.builtins:
                continue
            factory = registry.entry(name).factory
            starts = [name.partition(":")[0] if ":" in name else "", factory.__module__]
            if registry is catalogue.registry(field):
                starts += registry.mentioned(fields[field])
            for start in filter(None, starts):
                _reach(start, start.partition(".")[0], modules)
            if field == "model" and (state := model_state(factory)):
                states[f"{name} state"] = state
    sources = {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in modules.items()
    }
    return sources | states


def _reach(name: str, package: str, modules: dict[str, Path]) -> None:
    """Add a module and, recursively, the modules that its names come from.

    Outside the plug-in's own top-level package, modules that are installed or hgobench's are left
    out: they rarely change, or are in `SOURCES`; so is torch, whose layers may be named as models.
    The components in `hgobench.paper` are plug-ins.
    """
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    is_core = name.partition(".")[0] == "hgobench" and not name.startswith("hgobench.paper.")
    is_core |= name.partition(".")[0] == "torch"
    if module is None or file is None or name in modules or is_core:
        return
    path = Path(file).resolve()
    if installed(path) and name.partition(".")[0] != package:
        return
    modules[name] = path
    for value in list(vars(module).values()):
        origin = value.__name__ if isinstance(value, ModuleType) else _module_of(value)
        _reach(origin, package, modules)


def _module_of(value: object) -> str:
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""


class Addresses:
    """The addresses of a grid's results.

    The sources of plug-ins and the files that a name refers to are read once: by `read`, or for the
    first cell with that name.

    Args:
        ruleset: the name under which the results compare.
        device: of the computation, on which a cell's last bits depend.
        data: the digest of each data set (`hgobench.data.base.Dataset`); None: they are loaded in
            this process.

    Example:
        >>> addresses = Addresses("mine-1")
        >>> a, b = (addresses.of(Scenario(seed=seed)) for seed in (0, 1))
        >>> len(a), a == b
        (64, False)
    """

    def __init__(
        self, ruleset: str, device: str = "cpu", data: Mapping[str, str] | None = None
    ) -> None:
        suffix = [] if device == "cpu" else [f"device {device}"]
        self._shared = [ruleset, *suffix]
        self._data = data
        self._sources: dict[tuple[str, str], tuple[dict[str, str], tuple[str, ...]]] = {}

    def read(self, field: str, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the hashes of the modules and of the files that a name refers to."""
        if (field, name) not in self._sources:
            field_value = {field: name}
            self._sources[field, name] = (
                _plugin_modules(field_value),
                catalogue.contents(field_value),
            )
        return self._sources[field, name]

    def of(self, scenario: Scenario) -> str:
        """Return the address of a result: its scenario, the ruleset and the code that computes it.

        The data's arrays and the contents of files that the scenario names are part of it.
        """
        modules: dict[str, str] = {}
        contents: list[str] = []
        for field in catalogue.FIELDS:
            sources, files = self.read(field, getattr(scenario, field))
            modules |= sources
            contents += files
        data = _data_digest(scenario.data) if self._data is None else self._data[scenario.data]
        lines = [scenario.digest, *self._shared, f"data {data}", code_digest()]
        lines += [digest for _, digest in sorted(modules.items())]
        return hashlib.sha256("\n".join([*lines, *contents]).encode()).hexdigest()


def result_key(
    scenario: Scenario, ruleset: str, device: str = "cpu", data: str | None = None
) -> str:
    """Return the address of one result; see `Addresses`.

    Args:
        scenario: the cell.
        ruleset: the name under which its score compares.
        device: of the computation.
        data: the digest of the scenario's data; None: it is loaded in this process.
    """
    digests = None if data is None else {scenario.data: data}
    return Addresses(ruleset, device, digests).of(scenario)


def measurement_key(
    what: str,
    source: Path,
    named: Sequence[Mapping[str, Any]],
    data: Mapping[str, str] | None = None,
) -> str:
    """Return the address of a measurement, which depends on its arguments, code and data.

    Args:
        what: the function that measures, and its arguments.
        source: the file of that function.
        named: fields of scenarios that name the plug-ins, files and data it uses.
        data: the digest of each data set among them; None: they are loaded in this process.
    """
    lines = [what, code_digest("theory"), hashlib.sha256(source.read_bytes()).hexdigest()]
    for fields in named:
        lines += [*_plugin_sources(fields), *catalogue.contents(fields)]
        if (name := fields.get("data")) is not None:
            lines.append(f"data {_data_digest(name) if data is None else data[name]}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _data_digest(specification: str) -> str:
    from hgobench.data import datasets  # imports scikit-learn

    return datasets.load(specification).digest
