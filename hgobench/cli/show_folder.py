"""``hgobench show FOLDER``: the cells of a folder of results, and its damaged rows."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from hgobench.cli.options import DataForm
from hgobench.cli.output import shown
from hgobench.errors import InputError, unknown


def show_results(folder: Path, where: list[str], form: DataForm, wide: bool) -> None:
    """Print the cells of a folder that match `where`; if that is one cell, its rounds."""
    from hgobench.report import cells as report
    from hgobench.results import export, open_store
    from hgobench.results.result import data_notes

    with open_store(folder, create=False) as store:
        cells = export(store)
    for text in where:
        cells = _matching(cells, text)
    if not cells:
        raise InputError(f"show: no cell of {str(folder)!r} is {' '.join(where)}")
    if form is DataForm.JSON:
        typer.echo(json.dumps(cells, indent=1, allow_nan=False))
    else:
        page = report.overview(cells) if len(cells) > 1 else report.rounds(cells[0])
        typer.echo(shown(page, wide=wide))
    for note in data_notes((cell["scenario"]["data"], cell["provenance"]) for cell in cells):
        typer.echo(f"note: {note}", err=True)


def _matching(cells: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Return the cells that match ``field=value,value`` or ``ruleset=name``."""
    from hgobench.scenario import check_field
    from hgobench.settings import parse_names, parse_setting

    name, equals, value = text.partition("=")
    if name.strip() == "ruleset" and equals:
        rulesets = {cell["ruleset"] for cell in cells}
        chosen = {value.strip()} & rulesets or set(parse_names([value], "show: ruleset"))
        if strange := sorted(chosen - rulesets):
            raise InputError(unknown("show: ruleset", stranger, rulesets) for stranger in strange)
        return [cell for cell in cells if cell["ruleset"] in chosen]
    field, values = parse_setting(text, "show")
    stored = {cell["scenario"][field] for cell in cells if field in cell["scenario"]}
    accepted = [value if value in stored else check_field(field, value) for value in values]
    return [cell for cell in cells if cell["scenario"][field] in accepted]


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
