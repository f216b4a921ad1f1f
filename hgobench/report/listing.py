"""``hgobench list``: what can be named, with parameters, validity and source."""

from __future__ import annotations

import inspect

from tabulate import tabulate

from hgobench import catalogue
from hgobench.errors import InputError
from hgobench.registry import format_value

KINDS = {
    "attacks": "attack",
    "rules": "rule",
    "algorithms": "algorithm",
    "solvers": "solver",
    "datasets": "data",
    "partitions": "partition",
    "hardware": "hardware",
    "models": "model",
}


def listing(kind: str) -> str:
    """Return the table of everything of one kind; plug-ins that do not load say why."""
    registry = catalogue.registry(KINDS[kind])
    rows, broken = [], []
    for name in registry.names():
        try:
            entry = registry.entry(name)
        except InputError as error:
            broken += error.problems
            continue
        parameters = ", ".join(
            parameter
            if default.default is default.empty
            else f"{parameter}={format_value(default.default)}"
            for parameter, default in entry.signature.items()
            if parameter not in registry.context
        )
        made = getattr(entry.factory, "func", entry.factory)
        about = (inspect.getdoc(made) or "").partition("\n")[0]
        paper = getattr(made, "paper", "")
        own = "" if entry.origin == "hgobench" else f" ({entry.origin})"
        rows.append([name + own, parameters, getattr(made, "validity", ""), paper, about])
    headers = ["name", "parameters", "valid if", "source", "what it is"]
    widths = [None, 30, 30, 34, 60]
    filled = [i for i in range(len(headers)) if any(row[i] for row in rows)]
    table = tabulate(
        [[row[i] for i in filled] for row in rows],
        [headers[i] for i in filled],
        maxcolwidths=[widths[i] for i in filled],
        disable_numparse=True,
    )
    return "\n".join([table, *broken])


def suites() -> str:
    """Return the table of the suites that come with hgobench."""
    from hgobench.suite import Suite, names

    rows = []
    for name in names():
        suite = Suite.load(name)
        grid = " x ".join(f"{len(values)} {axis}" for axis, values in suite.grid.items())
        rows.append([name, suite.ruleset, grid, suite.description])
    table: str = tabulate(
        rows, ["name", "ruleset", "grid", "what it is"], maxcolwidths=[None, None, 40, 50]
    )
    return table
