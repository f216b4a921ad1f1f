"""``hgobench compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgobench.cli.options import Form, FormOption, Split, SplitOption, Wide
from hgobench.cli.output import say, shown
from hgobench.errors import InputError, respelled

if TYPE_CHECKING:
    from hgobench.settings import Setting

Choosing = list[str] | None


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A folder of results.")],
    second: Annotated[
        Path | None, typer.Argument(metavar="B", help="A second folder [default: A itself].")
    ] = None,
    a: Annotated[
        Choosing, typer.Option("--a", help="Which cells of A: rule=krum, or ruleset=NAME.")
    ] = None,
    b: Annotated[Choosing, typer.Option("--b", help="Which cells of B: rule=median.")] = None,
    where: Annotated[
        Choosing, typer.Option("--where", help="Which cells of both: field=value,value.")
    ] = None,
    fail_above: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Exit status 1 if the mean difference of a row, in its worst case or under an "
            "attack, is larger, either way.",
        ),
    ] = None,
    identical: Annotated[
        bool,
        typer.Option(
            "--identical", help="Exit status 1 if any cell differs, even in its last bit."
        ),
    ] = False,
    split: SplitOption = Split.TEST,
    form: FormOption = Form.TABLE,
    wide: Wide = False,
) -> None:
    """Compare results: folders, rulesets, rows or settings.

    Cells are paired by their seeds and all else that is not compared. Of each row: the difference
    of the worst cases and under each attack with its interval and p-value (Holm); which cells
    changed, and by how much; and in what they were computed otherwise: versions, processor,
    sources.

    Two commits: run the suite at each into a folder of its own, and compare the folders.

    Exit status: 0 compared; 1 a limit is exceeded; 2 nothing can be compared.
    """
    from hgobench.comparison import compared
    from hgobench.report.comparison import page
    from hgobench.results.choice import parse_choice

    if fail_above is not None and not 0 <= fail_above <= 1:
        raise InputError(f"--fail-above: {fail_above}; expected a number in [0, 1]")

    def choosing(texts: Choosing, option: str) -> list[Setting]:
        return [parse_choice(text, option) for text in texts or ()]

    try:
        made = compared(
            first,
            second,
            choosing(a, "--a"),
            choosing(b, "--b"),
            choosing(where, "--where"),
            split.value,
        )
    except InputError as error:
        spelling = {name: f"--{name}" for name in ("a", "b", "where")}
        raise InputError(respelled(problem, spelling) for problem in error.problems) from None
    typer.echo(shown(page(made, fail_above), form.value, wide))
    failed = False
    if fail_above is not None:
        failed = bool(made.above(fail_above))
        how = (
            f"{len(made.above(fail_above))} mean differences exceed"
            if failed
            else ("no mean difference exceeds")
        )
        largest = f"the largest is {made.largest:.4f}"
        say(f"compare: {how} {fail_above:g}; {largest}", quiet=False)
    if identical and made.changed:
        failed = True
        say(
            f"compare: {len(made.changed)} of {len(made.pairs)} cells are not identical",
            quiet=False,
        )
    if failed:
        raise typer.Exit(1)
