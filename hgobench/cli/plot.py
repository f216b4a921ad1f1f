"""``hgobench plot``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import Split, SplitOption
from hgobench.cli.output import say
from hgobench.errors import InputError, respelled
from hgobench.report.writers import visible


class Width(StrEnum):
    """How wide a picture is: as a column or a page of a paper."""

    COLUMN = "column"
    PAGE = "page"


def plot(
    folder: Annotated[Path, typer.Argument(help="Where hgobench run kept its results.")],
    kind: Annotated[
        str, typer.Argument(help="curves, sweep, heat, cost, ranks, blocks or devices: see above.")
    ],
    x: Annotated[
        str, typer.Option("--x", help="What is on the x axis [default: the kind's first].")
    ] = "",
    y: Annotated[str, typer.Option("--y", help="What is on the y axis.")] = "",
    lines: Annotated[
        str,
        typer.Option(metavar="FIELD", help="The field whose values are the lines [default: rows]."),
    ] = "",
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Which cells: field=value,value, or ruleset=name."),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many rows to draw, of curves in colour [default: 7; heat: 30; ranks: 40].",
        ),
    ] = None,
    split: SplitOption = Split.TEST,
    width: Annotated[
        Width, typer.Option(help="As wide as a column or a page of a paper.")
    ] = Width.COLUMN,
    caption: Annotated[
        bool, typer.Option("--caption/--no-caption", help="Whether to draw the caption.")
    ] = True,
    out: Annotated[
        list[Path] | None,
        typer.Option(help="Pictures to write: .png, .svg, .pdf [default: FOLDER/plots/KIND.*]."),
    ] = None,
) -> None:
    """Draw results, with the data of each picture as CSV beside it.

    curves: --y accuracy, loss, block_size, heard, byzantine_heard, attack_success over --x round,
    time, coordinates, bytes; mean and range over seeds, each row under its worst attack.

    sweep: the worst case over --x FIELD with numbers: f, tau, s, a parameter such as alpha, f/n.

    heat: rows and attacks; with --x and --y any two fields, as --x alpha --y f.

    cost: the worst case against --x bytes, coordinates, time.

    ranks: the places that rows may have.

    blocks: coordinates updated and workers heard over --x, as in curves.

    devices: --y used (how far the rule follows honest workers' values), weight, device_accuracy,
    energy by class of device; used_by_labels, class_accuracy.

    Only seeds are averaged: each setting has its own panel, each defence its own row.
    """
    from hgobench.plots import check, picture
    from hgobench.plots.asked import Asked
    from hgobench.plots.cells import Cells
    from hgobench.plots.picture import FORMATS, check_picture
    from hgobench.results.choice import parse_choice

    for path in out or ():
        check_picture(path)
    settings = [parse_choice(text, "plot") for text in where or ()]
    asked = Asked(x, y, lines, most)
    try:
        check(kind, asked, width.value, caption)
        cells = Cells.of_store(folder, split.value, settings)
        drawn = picture(cells, kind, asked, width.value, caption)
    except InputError as error:
        spelling = {name: f"--{name}" for name in ("x", "y", "lines", "where", "most", "width")}
        raise InputError(respelled(problem, spelling) for problem in error.problems) from None
    paths = out or [folder / "plots" / f"{drawn.name}.{form}" for form in FORMATS]
    for path in drawn.save(*paths):
        typer.echo(path)
    typer.echo(visible(drawn.caption))
    for note in drawn.notes:
        say(f"note: {visible(note)}", quiet=False)
