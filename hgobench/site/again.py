"""The commands that run cells again, from the fields of their scenarios alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from hgobench import catalogue
from hgobench.errors import InputError
from hgobench.resolution import Resolved
from hgobench.scenario import Scenario
from hgobench.settings import parse_setting, write_setting
from hgobench.suite import Suite, names

NONE: Mapping[str, Suite] = MappingProxyType({})
BASE = "smoke"  # the suite whose fields are all set otherwise
VARYING = ("attack", "seed")


def commands(cells: Iterable[Scenario]) -> dict[str, tuple[Scenario, ...]]:
    """Return the commands that run cells again, each with those that it is for.

    The cells of a command differ in attack and seed alone.

    >>> cells = [Scenario(workers=20, rule="krum", seed=seed) for seed in (0, 1)]
    >>> (command,) = commands(cells)
    >>> command.startswith("hgobench run smoke --set "), command.endswith("--set seed=0,1")
    (True, True)
    """
    groups: dict[tuple[Any, ...], list[Scenario]] = {}
    for cell in cells:
        key = tuple(value for name, value in cell.to_dict().items() if name not in VARYING)
        groups.setdefault(key, []).append(cell)
    return {_command(group): tuple(group) for group in groups.values()}


def _command(cells: Sequence[Scenario]) -> str:
    fields = cells[0].to_dict()
    usual = _usual()
    settings = [
        write_setting(name, value)
        for name, value in fields.items()
        if name not in VARYING and (name in Resolved._fields or usual.get(name) != value)
    ]
    settings += [
        write_setting(name, *dict.fromkeys(getattr(cell, name) for cell in cells))
        for name in VARYING
    ]
    return shlex.join(["hgobench", "run", BASE, *(w for s in settings for w in ("--set", s))])


@cache
def _usual() -> dict[str, Any]:
    """Return the fields that have one value in all cells of the suite, which need not be set."""
    every = [cell.to_dict() for cell in Suite.load(BASE).expand()[0]]
    values = {name: {cell[name] for cell in every} for name in every[0]}
    return {name: some.pop() for name, some in values.items() if len(some) == 1}


def suite_of(ruleset: str, own: Mapping[str, Suite] = NONE) -> tuple[Suite, str] | None:
    """Return the suite that a ruleset is of, and the command that runs it; None: it is not known.

    Nothing that a ruleset names is imported.

    Args:
        ruleset: the ruleset, with what was changed.
        own: suites beside hgobench's, by what the command calls each.

    >>> suite, command = suite_of("quick-3 with rounds=50")
    >>> suite.ruleset, command
    ('quick-3 with rounds=50', 'hgobench run quick --set rounds=50')
    >>> suite_of("mine-1")
    """
    for name, suite in {**_suites(), **own}.items():
        base, _, changes = ruleset.partition(" with ")
        if suite.ruleset != base:
            continue
        settings = changes.split(" ") if changes else []
        try:
            parsed = [parse_setting(setting) for setting in settings]
            if any(field not in Scenario.declarations() for field, _ in parsed):
                return None
            stated = [{field: str(value)} for field, values in parsed for value in values]
            if any(map(catalogue.foreign, stated)):  # it would be imported to be checked
                return None
            changed = suite.changed(parsed)
        except InputError:
            return None
        if changed.ruleset != ruleset:
            return None
        return changed, shlex.join(
            ["hgobench", "run", name, *(w for s in settings for w in ("--set", s))]
        )
    return None


@cache
def _suites() -> dict[str, Suite]:
    return {name: Suite.load(name) for name in names()}
