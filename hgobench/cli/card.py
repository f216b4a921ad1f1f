"""``hgobench card``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import folder_option
from hgobench.cli.output import say
from hgobench.errors import InputError


def card(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where hgobench run kept results.")],
    rows: Annotated[
        list[str] | None,
        typer.Option("--row", metavar="HASH", help="Which rows, by hash [default: all]."),
    ] = None,
    lowers: Annotated[
        Path | None,
        typer.Option(metavar="CARD", help="The card of the row that the row's attack lowers."),
    ] = None,
    out: Annotated[Path, folder_option("Where the cards go.")] = Path("cards"),
) -> None:
    """Write a row of a board as a card: one JSON file, HASH.json.

    It holds the rule and digests of its source, the parameters and how they were chosen, the threat
    model, the values of each seed and what they come to, flags, cost, and what all of that was
    computed with. hgobench check CARD checks it, hgobench verify CARD runs cells of it again.

    An attack of your own: run the row under it, on the same seeds, and name the row's card:
    hgobench card DIR --row HASH --lowers CARD.
    """
    from hgobench.cards import checked, made
    from hgobench.citation import cite, rows_of
    from hgobench.writing import whole

    if lowers is not None and len(rows or ()) != 1:
        raise InputError("--lowers: expected one --row, the attacked one")
    if rows:
        chosen = [cite(row, [folder]) for row in rows]
    elif not (chosen := list(rows_of([folder]))):
        raise InputError(f"card: {str(folder)!r}: holds no row")
    row_card = None
    if lowers is not None:
        read = checked(lowers)
        if read.problems or read.card is None:
            raise InputError(f"--lowers: {lowers}: {problem}" for problem in read.problems)
        row_card = read.card
    written = [made(one, row_card) for one in chosen]
    with whole(out) as unfinished:
        for one in written:
            (unfinished / f"{one.hash}.json").write_text(one.text(), encoding="utf-8")
    for path in [out / f"{one.hash}.json" for one in written]:
        typer.echo(str(path))
        found = checked(path)
        told = [*found.problems, *(f"suspicious: {one}" for one in found.suspicions), *found.notes]
        for text in told:
            say(f"{path}: {text}", quiet=False)
