"""``hgobench verify``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import DataForm, DataFormOption, Jobs, Quiet, Wide
from hgobench.cli.output import say, shown
from hgobench.cli.watching import ProgressOption, Watching, counts, shows, watched


def verify(
    results: Annotated[Path, typer.Argument(metavar="DIR|CARD", help="Results, or a card.")],
    sample: Annotated[int, typer.Option(min=1, help="How many cells are run again.")] = 20,
    draw: Annotated[
        int | None,
        typer.Option(min=0, help="The seed by which cells are drawn [default: another each time]."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Which cells: field=value,value or ruleset=name."),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="The suite, if it does not come with hgobench.")
    ] = None,
    jobs: Jobs = 0,
    progress: ProgressOption = Watching.TEXT,
    quiet: Quiet = False,
    form: DataFormOption = DataForm.TABLE,
    wide: Wide = False,
) -> None:
    """Check somebody's results, and run a sample of them again.

    First what needs no run: damaged rows, addresses, data, sources of plug-ins, the suite's cells;
    of a card all numbers that its cells determine. Then cells drawn at random: on the same kind of
    processor they must be the same to the last bit; elsewhere their mean difference is tested, and
    the smallest forgery that this finds is said.

    Exit status: 0 confirmed; 1 something is wrong; 2 refused, such as a plug-in that is not here.
    """
    from hgobench.cards.rules import read_suite
    from hgobench.engines.cells import Outcome
    from hgobench.report.verification import page
    from hgobench.results import StoreError
    from hgobench.results.choice import parse_choice
    from hgobench.session import Incomplete, Interrupted
    from hgobench.verification import verified

    with watched(progress) as told:
        settings = [parse_choice(text, "--where") for text in where or ()]
        how, started = shows(progress, quiet), time.monotonic()
        try:
            found = verified(
                results, sample, draw, settings, read_suite(suite), jobs=jobs, progress=how
            )
        except Interrupted as error:
            say(f"verify: {error}", quiet=False)
            raise typer.Exit(error.outcome.status) from None
        except (Incomplete, StoreError) as error:
            say(f"verify: {error}", quiet=False)
            raise typer.Exit(1) from None
        outcome = Outcome(set(), computed=len(found.again))
        told |= counts(results, outcome, 0, time.monotonic() - started)
        typer.echo(shown(page(found), form.value, wide))
        if not found.confirmed:
            raise typer.Exit(1)
