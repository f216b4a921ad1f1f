"""``hgobench list``: all components, with parameters, validity and source."""

from __future__ import annotations

import inspect
from typing import Any

from hgobench import catalogue
from hgobench.errors import InputError

from .page import Cell, Page, Table, Text

KINDS = {
    "attacks": "attack",
    "heterogeneity_attacks": "heterogeneity_attack",
    "rules": "rule",
    "pre_rules": "pre_rule",
    "algorithms": "algorithm",
    "solvers": "solver",
    "datasets": "data",
    "partitions": "partition",
    "augmentations": "augment",
    "hardware": "hardware",
    "conditions": "condition",
    "workloads": "workload",
    "models": "model",
    "metrics": "metric",
}
# header -> how wide it may be in a terminal
_SHORT = {
    "name": None,
    "parameters": 30,
    "valid if": 30,
    "source": 34,
    "what it is": 60,
    "file": None,
}
_KNOWS = {
    "nothing": "nothing",
    "model": "the model",
    "own": "own data and gradients",
    "honest": "all honest messages",
    "server": "all honest messages and the server's rule",
}
_COLLUDES = {"True": "yes", "False": "no"}
_NOTES = {"root": "needs clean data at the server", "honest": "is told who is honest"}


def page(kind: str, full: bool = False) -> Page:
    """Return the table of all components of a kind; for plug-ins that do not load, the reason.

    Args:
        kind: a key of `KINDS`.
        full: with all that is known of each: formula, breakdown point, cost, what it means on
            ragged input; of an attack what it must know and control.
    """
    rows, broken, weighted = [], [], []
    first: dict[Any, tuple[str, list[str]]] = {}  # class to its first name and parameters
    # The sets of metrics, standard and none, are written where a metric is.
    registries = [KINDS[kind], "metrics"] if kind == "metrics" else [KINDS[kind]]
    every = [(made, name) for made in map(catalogue.registry, registries) for name in made.names()]
    for registry, name in every:
        try:
            entry = registry.entry(name)
        except InputError as error:
            broken += error.problems
            continue
        parameters = registry.parameters(name)
        made = getattr(entry.factory, "func", entry.factory)
        like, theirs = first.setdefault(made, (name, parameters))
        if like != name:  # the same class with other defaults
            others = [parameter for parameter in parameters if parameter not in theirs]
            parameters = [*others, f"{'otherwise ' * bool(others)}as {like}"]
        default = _default(made)
        notes = [
            note for need, note in _NOTES.items() if need in (getattr(made, "needs", None) or ())
        ]
        if getattr(made, "weighted", False):
            notes.append("takes weights")
            weighted.append(name)
        notes += ["remembers earlier rounds"] if getattr(made, "stateful", False) else []
        notes += [f"draws {draws}"] if (draws := getattr(made, "randomised", "")) else []
        rows.append(
            {
                "name": name + ("" if entry.origin == "hgobench" else f" ({entry.origin})"),
                "parameters": ", ".join(parameters),
                "formula": getattr(made, "formula", ""),
                "knows": _KNOWS.get(getattr(default, "sees", ""), ""),
                "colludes": _COLLUDES.get(str(getattr(default, "colludes", "")), ""),
                "controls": getattr(made, "control", ""),
                "valid if": getattr(made, "validity", ""),
                "breakdown": getattr(made, "breakdown", ""),
                "cost": getattr(made, "cost", ""),
                "ragged input": getattr(made, "ragged", ""),
                "scopes": _scopes(kind, name),
                "notes": "; ".join(notes),
                "source": getattr(made, "paper", ""),
                "file": ", ".join(registry.sources(name)),
                "what it is": inspect.cleandoc(made.__doc__ or "").partition("\n")[0],
            }
        )
    headers = [h for h in rows[0] if h != "what it is"] if full else list(_SHORT)
    filled = [header for header in headers if any(row[header] for row in rows)]
    cells = [[row[header] for header in filled] for row in rows]
    most = {i: wide for i, header in enumerate(filled) if (wide := _SHORT.get(header))}
    table = Table(kind, "", filled, cells, most=most)
    told = []
    if weighted and not full:  # else a column says so
        told = [f"Take weights (docs/weights.md): {', '.join(weighted)}"]
    return Page("list", kind, [table, *(Text(line, "note") for line in [*told, *broken])])


def _scopes(kind: str, name: str) -> str:
    """Return the scopes that a rule can have; nothing of what is none, or can't be made so."""
    if kind != "rules":
        return ""
    from hgobench import aggregators

    try:
        return ", ".join(aggregators.build(name).scopes())
    except InputError:
        return ""


def _default(made: Any) -> Any:
    """Return an attack with its default parameters; its class, if it needs some; else None."""
    if not hasattr(made, "sees"):
        return None
    try:
        return made()
    except TypeError:
        return made


def threat_models() -> Page:
    """Return the table of the threat models, with how many of the built-in attacks each permits."""
    from hgobench.attacks import THREAT_MODELS, registry

    rows: list[list[Cell]] = [
        [
            name,
            _KNOWS[model.knows],
            "yes" if model.colludes else "no",
            "yes" if model.lies_about_speed else "no",
            len(model.permitted(registry.builtins)),
        ]
        for name, model in THREAT_MODELS.items()
    ]
    header = ["name", "knows", "colludes", "lies about speed", "permitted attacks"]
    return Page(
        "list", "threat_models", [Table("threat_models", "", header, rows, right={4}, most={1: 40})]
    )


def ensembles() -> Page:
    """Return the members of each ensemble of attacks, in the order in which they run."""
    from hgobench.evaluation.members import ENSEMBLES

    blocks = []
    for name, members in ENSEMBLES.items():
        rows: list[list[Cell]] = [
            [
                member.stage.replace("_", " "),
                member.name,
                ", ".join(member.attacks)
                + (f" (the {member.strongest} strongest)" if member.strongest > 1 else "")
                + (", and when to attack" if member.scheduled else ""),
            ]
            for member in members
        ]
        blocks.append(Table(name, "", ["stage", "member", "variants"], rows, most={2: 60}))
    return Page("list", "ensembles", blocks)


def suites() -> Page:
    """Return the table of the suites that come with hgobench."""
    from hgobench.suite import Suite, names

    rows = []
    for name in names():
        suite = Suite.load(name)
        grid = " x ".join(f"{len(values)} {axis}" for axis, values in suite.grid.items())
        rows.append([name, suite.ruleset, grid, suite.description])
    header = ["name", "ruleset", "grid", "what it is"]
    return Page("list", "suites", [Table("suites", "", header, rows, most={2: 40, 3: 50})])


def figures() -> Page:
    """Return a table of the paper's figures: data, cells per seed, what each shows."""
    from hgobench.paper import figures as paper

    rows: list[list[Cell]] = []
    for name in paper.names():
        figure = paper.load(name)
        cells = len(figure.curves) * len(figure.variants)
        published = "published" if figure.published else ""
        first = figure.cell(figure.curves[0], "specified", 0)
        data = first.data.partition("[")[0]
        rows.append([name, data, cells, first.rounds, published, figure.caption])
    header = ["figure", "data", "cells per seed", "rounds", "values", "what it shows"]
    table = Table("figures", "", header, rows, right={2, 3}, most={5: 70})
    return Page("list", "figures", [table])
