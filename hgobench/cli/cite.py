"""``hgobench cite``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import DataForm, DataFormOption, Wide
from hgobench.cli.output import shown
from hgobench.errors import InputError


def cite(
    hash_: Annotated[
        str, typer.Argument(metavar="HASH", help="A row's hash (leaderboard --columns hash).")
    ],
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR..", help="Where to look [default: all in hgobench-results]."),
    ] = None,
    form: DataFormOption = DataForm.TABLE,
    only: Annotated[bool, typer.Option("--bibtex", help="Only the BibTeX entries.")] = False,
    wide: Wide = False,
) -> None:
    """Print BibTeX for a row of a board, and what the row means.

    Its values with intervals, its scenario, its seeds, what it was computed with, and the commands
    that run it again. The first digits of a hash are enough if no other row has them.
    """
    from hgobench.citation import cite as cited_by
    from hgobench.report.citation import bibtex, page
    from hgobench.session import RESULTS

    if only and form is DataForm.JSON:
        raise InputError("--bibtex: json has it, with all else; expected one of them")
    where = folders or sorted(path.parent for path in RESULTS.glob("*/results.sqlite"))
    if not where:
        raise InputError(f"cite: there are no results in {str(RESULTS)!r}; name a folder")
    cited = cited_by(hash_, where)
    if form is DataForm.TABLE:
        typer.echo(bibtex(cited))
    if not only:
        typer.echo(("\n" if form is DataForm.TABLE else "") + shown(page(cited), form.value, wide))
