"""``hgobench site``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import folder_option


def site(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR..", help="Folders of results, or of cards.")
    ],
    out: Annotated[Path, folder_option("Where the site goes.")] = Path("site"),
    suite: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="A suite of your own that the results are of: the site counts the cells that are "
            "missing. Repeatable; hgobench's own suites are known.",
        ),
    ] = None,
) -> None:
    """Write a website of boards that works offline, from a disk.

    It can be read without JavaScript. It holds boards, rows, cells with their curves, rules and
    attacks; every number leads to its scenario, its seeds, what it was computed with and the
    command that runs it again. Of results that are still being computed the site shows what is
    there, and says what is missing.

    The first folder is compared with each of the others. Folders of audits, plans, reproduce and
    bench gate have pages of their own, which become part of the site; asv's own are linked. A
    folder of cards has its boards.
    """
    from hgobench.site import write_site

    made = write_site(*folders, out=out, suites=suite or ())
    for line in made.missing:
        typer.echo(f"missing: {line}", err=True)
    for line in made.problems:
        typer.echo(f"not shown: {line}", err=True)
    typer.echo(f"{made.index}: {made.pages} pages")
