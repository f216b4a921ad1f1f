"""``hgobench check``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import DataForm, DataFormOption, Wide
from hgobench.cli.output import as_json, shown
from hgobench.errors import InputError


def check(
    cards: Annotated[list[Path] | None, typer.Argument(metavar="CARD..", help="Cards.")] = None,
    suite: Annotated[
        str | None, typer.Option(help="The suite, if it does not come with hgobench.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of cards, and no more.")
    ] = False,
    form: DataFormOption = DataForm.TABLE,
    wide: Wide = False,
) -> None:
    """Check cards: what is wrong or suspicious in them, by path.

    Against the schema, against the suite, and against themselves: hash, means, intervals, worst
    case and cost are worked out again from the values of each seed. Suspicious is what is better
    than the oracle or than without attack, and a spread over seeds that is too small.

    Exit status: 0 nothing is wrong; 1 something is; 2 a file can't be read.
    """
    from hgobench.cards import card as one_card
    from hgobench.cards import checked
    from hgobench.cards.rules import read_suite
    from hgobench.report.verification import checked_page

    if schema:
        typer.echo(json.dumps(one_card.schema(), indent=1, ensure_ascii=False))
        return
    if not cards:
        raise InputError("check: no card; expected one or more files")
    known = read_suite(suite)
    found = {str(path): checked(path, known) for path in cards}
    pages = [checked_page(where, one) for where, one in found.items()]
    if form is DataForm.JSON:
        contents = [page.content for page in pages]
        typer.echo(as_json(contents[0] if len(contents) == 1 else contents))
    else:
        typer.echo("\n\n".join(shown(page, wide=wide) for page in pages))
    if any(one.problems for one in found.values()):
        raise typer.Exit(1)
