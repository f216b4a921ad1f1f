"""``hgobench replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import DataForm, DataFormOption, Wide
from hgobench.cli.output import shown


def replay(
    results: Annotated[Path, typer.Argument(metavar="DIR", help="Results of real devices.")],
    form: DataFormOption = DataForm.TABLE,
    wide: Wide = False,
) -> None:
    """Make the models of real runs again, from kept replies.

    Every round's replies go through the server again, from the first, and its model is held against
    the one that was kept with them, bit by bit; the table of rounds, against the result in the
    store.

    Exit status: 0 all are the same; 1 one is not; 2 refused: there are none, or they can't be read.
    """
    from hgobench.devices.replay import replayed
    from hgobench.report.devices import page

    runs = replayed(results)
    typer.echo(shown(page(runs), form.value, wide))
    if not all(run.same for run in runs):
        raise typer.Exit(1)
