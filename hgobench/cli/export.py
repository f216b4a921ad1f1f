"""``hgobench export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import folder_option
from hgobench.errors import InputError


class ExportForm(StrEnum):
    """How tables are written for other programs."""

    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"


def export(
    folder: Annotated[Path, typer.Argument(help="Where hgobench run kept its results.")],
    where: Annotated[
        list[str] | None,
        typer.Argument(help="Which cells: field=value or ruleset=name [default: all]."),
    ] = None,
    form: Annotated[
        ExportForm, typer.Option("--format", help="parquet needs hgobench[parquet].")
    ] = ExportForm.PARQUET,
    out: Annotated[
        Path | None, folder_option("Where the files go [default: FOLDER/export].")
    ] = None,
) -> None:
    """Write results as tidy tables: cells, rounds and provenance.

    Three files, in which the column cell is a result's address: a line per cell with all fields of
    its scenario and its summary; a line per cell and round; a line per cell with the versions, the
    processor and the data it was computed with.
    """
    from hgobench.report.export import check_format, export_tables
    from hgobench.results import open_store
    from hgobench.results.choice import choice, none_met, parse_choice

    check_format(form.value)
    settings = [parse_choice(text, "export") for text in where or ()]
    with open_store(folder, create=False) as store:
        if not len(store):
            raise InputError(f"store: {str(folder)!r}: holds no results")
        meant = None
        if settings:
            cells = [(ruleset, result.scenario) for ruleset, result in store.results()]
            meant = choice(settings, cells, "export")
            if not any(meant(*cell) for cell in cells):
                raise none_met("export", str(folder), settings, cells)
        files = export_tables(store, out or folder / "export", form.value, where=meant)
    for path, lines in files.items():
        typer.echo(f"{path}: {lines} lines")
