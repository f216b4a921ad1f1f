"""``hgobench calibrate``."""

from __future__ import annotations

from typing import Annotated

import typer

from hgobench.cli.options import DataForm, DataFormOption
from hgobench.cli.output import as_json, layout_for, say
from hgobench.errors import InputError


def calibrate(
    model: Annotated[str, typer.Option(help="The model whose gradients are timed.")] = "softmax",
    data: Annotated[str, typer.Option(help="The data set of the minibatches.")] = "digits",
    batch_size: Annotated[int, typer.Option(min=1, help="Examples of a minibatch, s.")] = 32,
    runs: Annotated[int, typer.Option(min=2, help="How often to measure; the median counts.")] = 15,
    time_unit: Annotated[
        float, typer.Option(help="Seconds that a time unit lasts, for the line of a devices CSV.")
    ] = 1.0,
    form: DataFormOption = DataForm.TABLE,
) -> None:
    """Measure this machine's speed: how long a time unit is.

    Its rate λ in coordinates of one example's gradient per second: how fast one thread of it
    computes a minibatch's gradient of a model, in CPU time. With it plan takes a budget in seconds.
    And the rates of rounds, rules and attacks, by which show scenario tells how long a run takes;
    they are kept in the user's cache. Some 15 seconds.
    """
    from hgobench import machine
    from hgobench.audits import calibration, rates

    unit = calibration.number(str(time_unit))
    if unit is None:
        raise InputError(f"--time-unit: {time_unit!r}; expected a number of seconds > 0")
    measured = calibration.calibrate(model, data, batch_size, runs)
    kept = machine.keep(rates.measure())
    say(f"kept: {kept}; hgobench show scenario tells by it how long a run takes", quiet=False)
    if form is DataForm.JSON:
        typer.echo(as_json(measured.as_data(unit)))
        return
    typer.echo("\n".join(map(layout_for().text, measured.text(unit).split("\n"))))
