"""Where a number is kept: the address that its scenario, code and data determine.

Whoever computes a cell again looks here first: two cells have one address if and only if nothing
that their numbers depend on differs.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from hgobench import catalogue
from hgobench.scenario import Scenario

# The code that numbers depend on; a change of anything else keeps results valid.
SOURCES = (
    "aggregators",
    "algorithms",
    "attacks",
    "boundary.py",
    "csv_file.py",
    "data",
    "hardware",
    "kernels",
    "models",
    "parameters.py",
    "reading.py",
    "protocol",
    "simulation",
    "determinism.py",
)


@cache
def code_digest(*more: str) -> str:
    """Return a hash of the sources that determine results, and of more folders of hgobench."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for name in SOURCES + more:
        home = package / name if (package / name).exists() else package.parent / name
        for path in sorted(home.glob("**/*.py")) if home.is_dir() else [home]:
            digest.update(f"{name}/{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _plugin_sources(named: Mapping[str, Any]) -> list[str]:
    """Return a hash of every source file that plug-ins are made of, named by a scenario's field."""
    return [digest for _, digest in sorted(_plugin_modules(named).items())]


def _plugin_modules(named: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each module's source that plug-ins are made of."""
    modules: dict[str, Path] = {}
    for field in named.keys() & set(catalogue.FIELDS):
        for registry, name in catalogue.registry(field).named(named[field]):
            if name in registry.builtins:
                continue
            home = registry.entry(name).factory.__module__
            for start in filter(None, (name.partition(":")[0] if ":" in name else "", home)):
                _reach(start, start.partition(".")[0], modules)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in modules.items()}


def _reach(name: str, package: str, found: dict[str, Path]) -> None:
    """Add a module and those that it has things from.

    Of modules outside the plug-in's own top-level package only those count that are neither
    installed nor hgobench's: they are not likely to change, or in `SOURCES`. The paper's parts
    are plug-ins.
    """
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    own = name.partition(".")[0] == "hgobench" and not name.startswith("hgobench.paper.")
    if module is None or file is None or name in found or own:
        return
    path = Path(file).resolve()
    library = path.is_relative_to(Path(sysconfig.get_path("stdlib")).resolve())
    installed = library or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    if installed and name.partition(".")[0] != package:
        return
    found[name] = path
    for value in list(vars(module).values()):
        other = value.__name__ if isinstance(value, ModuleType) else _module_of(value)
        _reach(other, package, found)


def _module_of(value: object) -> str:
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""


class Addresses:
    """The addresses of a grid's results.

    What is behind a name, the source of a plug-in or a file, is read once: when a cell that names
    it is first asked for, or beforehand (`read`).

    Args:
        ruleset: the name under which the results compare.
        device: where they are computed. A cell's last bits depend on it.
        data: the digest of each data set (`hgobench.data.base.Dataset`); None: they are loaded in
            this process.
    """

    def __init__(
        self, ruleset: str, device: str = "cpu", data: Mapping[str, str] | None = None
    ) -> None:
        where = [] if device == "cpu" else [f"device {device}"]
        self._shared = [ruleset, *where]
        self._data = data
        self._behind: dict[tuple[str, str], tuple[dict[str, str], tuple[str, ...]]] = {}

    def read(self, field: str, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """Return the hashes of the modules and of the files that are behind a name."""
        if (field, name) not in self._behind:
            named = {field: name}
            self._behind[field, name] = _plugin_modules(named), catalogue.contents(named)
        return self._behind[field, name]

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
        parts = [scenario.digest, *self._shared, f"data {data}", code_digest()]
        parts += [digest for _, digest in sorted(modules.items())]
        return hashlib.sha256("\n".join([*parts, *contents]).encode()).hexdigest()


def result_key(
    scenario: Scenario, ruleset: str, device: str = "cpu", data: str | None = None
) -> str:
    """Return the address of one result; see `Addresses`.

    Args:
        scenario, ruleset: what is computed, and under which name it compares.
        device: where it is computed.
        data: the digest of the scenario's data; None: it is loaded in this process.
    """
    known = None if data is None else {scenario.data: data}
    return Addresses(ruleset, device, known).of(scenario)


def measurement_key(
    what: str,
    source: Path,
    named: Sequence[Mapping[str, Any]],
    data: Mapping[str, str] | None = None,
) -> str:
    """Return the address of a measurement: what it is, and the code behind it.

    Args:
        what: the function that measures, and its arguments.
        source: the file of that function.
        named: fields of scenarios that are behind it, whose plug-ins' sources, files and data
            count.
        data: the digest of each data set that is among them; None: they are loaded in this process.
    """
    parts = [what, code_digest("theory"), hashlib.sha256(source.read_bytes()).hexdigest()]
    for fields in named:
        parts += [*_plugin_sources(fields), *catalogue.contents(fields)]
        if (name := fields.get("data")) is not None:
            parts.append(f"data {_data_digest(name) if data is None else data[name]}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _data_digest(specification: str) -> str:
    from hgobench.data import datasets  # imports scikit-learn

    return datasets.load(specification).digest
