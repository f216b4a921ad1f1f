"""Options that several verbs have."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hgobench.errors import InputError, respelled, unknown


class Form(StrEnum):
    """How a board is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


class ListForm(StrEnum):
    """How a list is written."""

    TABLE = "table"
    MARKDOWN = "markdown"


class DataForm(StrEnum):
    """How data with many kinds of numbers are written."""

    TABLE = "table"
    JSON = "json"


class BenchForm(StrEnum):
    """How measurements are written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


class Split(StrEnum):
    """Which examples an accuracy is on."""

    TEST = "test"
    VALIDATION = "validation"


def folder_option(what: str) -> Any:
    """Return the option ``--out``, a folder; an empty name is refused."""

    def read(text: str) -> Path:
        if not str(text):
            raise typer.BadParameter("''; expected a folder")
        return Path(text)

    return typer.Option(parser=read, metavar="PATH", help=what)


Jobs = Annotated[int, typer.Option(min=0, help="Processes on this machine; 0: one per core.")]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="Where cells are computed: local, or dask (needs hgobench[cluster]).",
    ),
]
AddressOption = Annotated[
    str, typer.Option("--address", help="Where the Dask scheduler is: tcp://host:port.")
]
Wide = Annotated[
    bool, typer.Option("--wide", help="Show all columns, even if the terminal is too narrow.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress, only the results.")]
FormOption = Annotated[Form, typer.Option("--format", help="The format of the output.")]
DataFormOption = Annotated[DataForm, typer.Option("--format", help="json: every number.")]
BenchFormOption = Annotated[BenchForm, typer.Option("--format", help="The format of the output.")]


def _column(field: str) -> str:
    from hgobench.leaderboard import columns
    from hgobench.scenario import ALIASES

    name = ALIASES.get(field, field)
    if name not in columns():
        raise InputError(unknown("--by", field, columns()))
    return name


def _columns(texts: list[str] | None) -> list[str]:
    from hgobench.columns import chosen
    from hgobench.settings import parse_names

    try:
        return list(chosen(parse_names(texts, "columns")))
    except InputError as error:
        spelling = {"columns": "--columns"}
        raise InputError(respelled(problem, spelling) for problem in error.problems) from None


ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        callback=_columns,
        metavar="NAME,NAME",
        help="Further columns: time, bytes_up, bytes_down, coordinates, stalled, sampling_risk, "
        "run_risk, exceeded, outvoted, cpu_seconds, server_ms, worst_class, slow_devices, "
        "device_accuracy, worst_worker, small_workers, size_accuracy, used, used_by_labels, "
        "used_by_size, weight, caught, dropped, attack_success, targeted_by, main_accuracy, "
        "success_before, success_at_stop, half_life, energy, device_energy, folder, hash; and "
        "measures.NAME, of a metric of one's own.",
    ),
]
ByOption = Annotated[
    str,
    typer.Option(
        callback=_column,
        metavar="FIELD",
        help="The field whose values are the columns: attack, or any other, such as partition, f, "
        "rule, learning_rate or seed; each column is then the worst case over attacks.",
    ),
]
SplitOption = Annotated[
    Split, typer.Option(help="Examples to score on. Choose parameters on validation only.")
]
