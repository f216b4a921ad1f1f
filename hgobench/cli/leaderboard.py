"""``hgobench leaderboard``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import (
    ByOption,
    ColumnsOption,
    Form,
    FormOption,
    Split,
    SplitOption,
    Wide,
)
from hgobench.cli.output import rendered_boards, say
from hgobench.errors import InputError


def leaderboard(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER..", help="Where hgobench run kept its results."),
    ],
    form: FormOption = Form.TABLE,
    by: ByOption = "attack",
    columns: ColumnsOption = None,
    split: SplitOption = Split.TEST,
    ruleset: Annotated[
        str | None, typer.Option(help="Which ruleset, if the folders hold several.")
    ] = None,
    wide: Wide = False,
) -> None:
    """Print the leaderboards of one or more folders of results.

    With several folders, the column folder says where a row's cells were found. Rows that several
    folders hold are joined; if they disagree about a cell, the row is shown as each folder has it,
    and a note names the cell.

    A folder of cards (hgobench card) is ranked too. Attacks from outside, in its folder attacks,
    count among those of the rows that they lower.
    """
    from hgobench.cards.collection import collected, holds_cards
    from hgobench.folders import read

    if len(folders) > 1 and (cards := [str(one) for one in folders if holds_cards(one)]):
        raise InputError(f"leaderboard: {', '.join(cards)}: holds cards; expected it alone")
    found = (
        collected(folders[0], ruleset, split.value)
        if len(folders) == 1 and holds_cards(folders[0])
        else read(folders, ruleset, split.value)
    )
    for note in found.notes():
        say(note, quiet=False)
    made = found.boards(by)
    typer.echo(rendered_boards(found.ruleset, made, form, split, wide, columns or ()))
