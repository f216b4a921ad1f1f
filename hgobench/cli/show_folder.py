"""``hgobench show FOLDER``: the cells of a folder of results, and its damaged rows."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer

from hgobench.cli.options import DataForm
from hgobench.cli.output import shown
from hgobench.errors import InputError


def show_results(folder: Path, where: list[str], form: DataForm, wide: bool) -> None:
    """Print the cells of a folder that match `where`; if that is one cell, its rounds."""
    from hgobench.report import cells as report
    from hgobench.results import open_store
    from hgobench.results.choice import choice, none_met, parse_choice
    from hgobench.results.result import data_notes
    from hgobench.results.store import as_data

    settings = [parse_choice(text, "show") for text in where]
    with open_store(folder, create=False) as store:
        kept = list(store.results())
    if not kept:
        raise InputError(f"store: {str(folder)!r}: holds no results")
    meant = choice(settings, ((name, result.scenario) for name, result in kept), "show")
    cells = [as_data(name, result) for name, result in kept if meant(name, result.scenario)]
    if not cells:
        known = ((name, result.scenario) for name, result in kept)
        raise none_met("show", str(folder), settings, known)
    if form is DataForm.JSON:
        typer.echo(json.dumps(cells, indent=1, allow_nan=False))
    else:
        page = report.overview(cells) if len(cells) > 1 else report.rounds(cells[0])
        typer.echo(shown(page, wide=wide))
    for note in data_notes((cell["scenario"]["data"], cell["provenance"]) for cell in cells):
        typer.echo(f"note: {note}", err=True)


def show_damaged(folder: Path, form: DataForm, wide: bool) -> None:
    """Print the rows of a folder that can't be read, and why."""
    from hgobench.report.cells import damaged
    from hgobench.results import open_store

    with open_store(folder, create=False) as store:
        damages, total = store.damaged(), len(store)
    if form is DataForm.JSON:
        typer.echo(json.dumps([asdict(damage) for damage in damages], indent=1))
        return
    if damages:
        rows = [(damage.key, damage.ruleset, damage.problem) for damage in damages]
        typer.echo(shown(damaged(rows), wide=wide))
    typer.echo(f"{len(damages)} of {total} rows are damaged", err=True)
