"""``hgobench merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import folder_option
from hgobench.cli.output import say
from hgobench.report.writers import visible


def merge(
    folders: Annotated[list[Path], typer.Argument(help="Two or more folders of results.")],
    out: Annotated[Path, folder_option("The new folder.")],
) -> None:
    """Merge folders of results into a new one.

    Cells are joined by ruleset and scenario: seeds or rules that were run on several machines.
    What several folders hold must have the same numbers; contradictions are listed, and nothing is
    written then. Different data, or different evaluations, under one name are contradictions too.
    """
    from hgobench.merging import merge as merge_folders
    from hgobench.results import StoreError

    try:
        merged = merge_folders(*folders, out=out)
    except StoreError as error:
        say(f"merge: {error}; nothing was written", quiet=False)
        raise typer.Exit(1) from None
    for note in merged.notes:
        say(f"note: {visible(note)}", quiet=False)
    for line in str(merged).splitlines():
        typer.echo(visible(line))
