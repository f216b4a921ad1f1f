"""Whether the source of plug-ins that results name is here: asked before any of it is imported."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from hgobench import catalogue
from hgobench.boundary import own
from hgobench.errors import InputError
from hgobench.scenario import Scenario


def check_sources(scenarios: Iterable[Scenario], digests: Mapping[str, str] | None = None) -> None:
    """Refuse plug-ins whose source is not here, or is another one.

    Nothing is imported.

    Args:
        scenarios: they name the plug-ins.
        digests: SHA-256 of the source of each module, by its name; None: it is not known.

    Raises:
        InputError: naming each.
    """
    known = digests or {}
    problems: dict[str, None] = {}
    for field, value in _named(scenarios):
        for registry, name in catalogue.registry(field).named(value):
            if name in registry.builtins or own(name.partition(":")[0]):
                continue
            module = name.partition(":")[0]
            if ":" in name and source(module) is None:
                stated = f", SHA-256 {known[module][:12]}.." if module in known else ""
                problems[
                    f"verify: {field} {value!r}: its source is not here: module {module}{stated}"
                ] = None
            elif ":" not in name and name not in registry.names():
                problems[
                    f"verify: {field} {value!r}: the package that registers {name!r} is not "
                    "installed"
                ] = None
    for module, digest in known.items():
        if own(module):
            continue  # the digest of all sources of hgobench is in the results' provenance
        path = source(module)
        here = None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
        if here is None:
            problems[f"verify: module {module}: not here; SHA-256 {digest[:12]}.."] = None
        elif here != digest:
            problems[
                f"verify: module {module}: another source than the one that computed the results: "
                f"SHA-256 {here[:12]}.. here, {digest[:12]}.. there"
            ] = None
    if problems:
        raise InputError(problems)


def modules_of(scenarios: Iterable[Scenario]) -> list[str]:
    """Return the modules that fields name as ``module:Class`` and that are not hgobench's own."""
    named = [
        name.partition(":")[0]
        for field, value in _named(scenarios)
        for _, name in catalogue.registry(field).named(value)
        if ":" in name
    ]
    return [module for module in dict.fromkeys(named) if not own(module)]


def _named(scenarios: Iterable[Scenario]) -> list[tuple[str, str]]:
    pairs = {
        (field, str(getattr(scenario, field)))
        for scenario in scenarios
        for field in catalogue.FIELDS
    }
    return sorted(pairs)


def source(module: str) -> Path | None:
    """Return the file that a module would be imported from; None: there is none.

    >>> source("hgobench.cards.plugins").name, source("no_such_module")
    ('plugins.py', None)
    """
    path: list[str] | None = None
    found: ModuleSpec | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        found = PathFinder.find_spec(name, path)
        if found is None:
            return None
        path = list(found.submodule_search_locations or ())
    if found is None or found.origin is None or not Path(found.origin).is_file():
        return None
    return Path(found.origin)
