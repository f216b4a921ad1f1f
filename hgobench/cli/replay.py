"""``hgobench replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import DataForm, DataFormOption, Wide
from hgobench.cli.output import shown


def replay(
    results: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of results of real devices.")
    ],
    form: DataFormOption = DataForm.TABLE,
    wide: Wide = False,
) -> None:
    """Recompute the models of real runs from kept replies.

    Puts the replies of every round through the server again, from the first round on. Compares each
    model with the one that was kept, bit by bit, and the table of rounds with the result in the
    store.

    Exit status: 0 all are the same; 1 one differs; 2 refused: there are no replies, or they can't
    be read.
    """
    from hgobench.devices.replay import replayed
    from hgobench.report.devices import page

    runs = replayed(results)
    typer.echo(shown(page(runs), form.value, wide))
    if not all(run.same for run in runs):
        raise typer.Exit(1)
