"""``hgobench devices study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.devices import numbers
from hgobench.cli.options import Quiet, Wide, folder_option
from hgobench.errors import InputError


def devices_study(
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value sets a field of the scenario; repeatable."),
    ] = None,
    rates: Annotated[
        str | None,
        typer.Option(
            help="Speed λ of each device, in coordinates a second, separated by commas [default: "
            "from half a gradient to eight gradients in τ]."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from the scenario's on.")] = 3,
    out: Annotated[Path, folder_option("Where results, logs and the page go.")] = Path(
        "hgobench-results/devices-study"
    ),
    quiet: Quiet = False,
    wide: Wide = False,
) -> None:
    """Compare processes on this machine with their simulation.

    Measures at most six devices in a short run, simulates HGO, SGD with the same deadline, and SGD
    that waits for all, and then runs them. hardware=network[uplink=..,downlink=..]+real gives every
    device a link of so many bytes per second (Linux, with the right to make network namespaces);
    under trace[path=..]+ or markov+ devices leave and return. A round takes about half a minute,
    three seeds of six rounds three quarters of an hour. If interrupted, the same command goes on
    where it was.
    """
    import shlex

    from hgobench.cli.output import say, shown
    from hgobench.report import charts, files
    from hgobench.scenario import Scenario
    from hgobench.settings import one_value_each, parse_setting, write_setting

    try:
        from hgobench.flower.study import compared, page
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "flwr":
            raise
        raise InputError(
            "devices: Flower is not installed: pip install 'hgobench[flower]'"
        ) from None
    fields = one_value_each([parse_setting(text, "--set") for text in set_ or ()], "--set")
    defaults: dict[str, object] = {
        "hardware": "real", "workers": 5, "byzantine": 1, "attack": "sign_flip", "rule": "median",
        "rounds": 6, "deadline": 30.0, "learning_rate": 0.5, "evaluation_interval": 1,
    }  # fmt: skip
    scenario = Scenario(**(defaults | fields))  # type: ignore[arg-type]
    declared = None
    if rates is not None:
        declared = numbers("--rates", rates, float)
        if not all(0 < rate < float("inf") for rate in declared):
            raise InputError(f"--rates: {rates!r}; expected numbers > 0")
    words = [
        word for name, value in fields.items() for word in ("--set", write_setting(name, value))
    ]
    words += [] if rates is None else ["--rates", rates]
    words += ["--seeds", str(seeds)]
    pairs = compared(out.resolve(), scenario, declared, lambda line: say(line, quiet), seeds)
    made = page(pairs, shlex.join(["hgobench", "devices", "study", *words]))
    typer.echo(shown(made, wide=wide, title=True))
    say(f"page: {files.write(out / 'pages', made)}", quiet)
    charts.save(made.charts[0], out / "pages" / "devices.svg")
