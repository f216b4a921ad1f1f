"""``hgobench devices``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from hgobench.cli.options import Quiet, Wide, folder_option
from hgobench.errors import InputError

Number = TypeVar("Number", int, float)

devices = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Run a scenario on real devices, with Flower.",
)


@devices.command("new")
def devices_new(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="For the app; empty, or made if missing.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value sets a field of the scenario; repeatable."),
    ] = None,
    ruleset: Annotated[
        str, typer.Option(help="The name under which the result is kept.")
    ] = "real-1",
    out: Annotated[Path, folder_option("Where results go.")] = Path("hgobench-results/devices"),
) -> None:
    """Write an app for Flower that runs a scenario.

    A time unit is a second: a deadline of 30 is half a minute. The folder gets pyproject.toml and
    each device's examples (data/worker-0.npz and so on); a device needs only its own. Prints the
    commands that run it on one machine.
    """
    from hgobench.devices.folder import commands, new
    from hgobench.scenario import Scenario
    from hgobench.settings import one_value_each, parse_setting

    fields = one_value_each([parse_setting(text, "--set") for text in set_ or ()], "--set")
    scenario = Scenario(**{"hardware": "real", "workers": 4, "rounds": 10, **fields})
    if not ruleset or not ruleset.isprintable():
        raise InputError(f"--ruleset: {ruleset!r}; expected a name")
    group = out.resolve() / "attackers"
    for line in commands(folder, new(folder, scenario, ruleset, out, group)):
        typer.echo(line)


@devices.command("study")
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
        declared = _numbers("--rates", rates, float)
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


@devices.command("scale")
def devices_scale(
    nodes: Annotated[
        str, typer.Option(help="Numbers of nodes, separated by commas; three or more, ascending.")
    ] = "2,4,8,16",
    models: Annotated[
        str, typer.Option(help="Models, for their d, separated by commas; two or more.")
    ] = "softmax,feed_forward[hidden=105],feed_forward[hidden=1060]",
    shares: Annotated[
        str,
        typer.Option(help="Shares of the coordinates that nodes send, separated by commas."),
    ] = "1,0.25",
    rounds: Annotated[
        int, typer.Option(min=3, help="Rounds of each run; the first and the last don't count.")
    ] = 4,
    rules: Annotated[
        str, typer.Option(help="Rules to time by themselves, separated by commas.")
    ] = "average,median,nnm+trimmed_mean",
    population: Annotated[
        int, typer.Option("--workers", "-n", min=1, help="Of the calculation: how many nodes.")
    ] = 1_000_000,
    sampled: Annotated[
        int, typer.Option("--sampled", "-q", min=1, help="Of the calculation: q, asked in a round.")
    ] = 1_000,
    deadline: Annotated[
        float, typer.Option("--deadline", help="Of the calculation: τ, seconds between two rounds.")
    ] = 60.0,
    out: Annotated[Path, folder_option("Where measurements and the page go.")] = Path(
        "hgobench-results/devices-scale"
    ),
    quiet: Quiet = False,
    wide: Wide = False,
) -> None:
    """Measure how many nodes a server holds.

    Runs a SuperLink and a ServerApp on this machine, with nodes that answer at once without
    computing, and measures CPU time, bytes and memory of the server over numbers of nodes and
    parameters; fits what an order, a byte and a waiting node cost, tries that on points that the
    fit has not seen, and works out where one server ends. Takes a minute or two for each of about
    a dozen points. If interrupted, the same command goes on where it was.
    """
    import shlex
    from importlib.metadata import version
    from importlib.util import find_spec

    from hgobench import aggregators
    from hgobench.cli.output import say, shown
    from hgobench.flower.scale import (
        Kept,
        Scale,
        collected,
        design,
        dimensions,
        page,
        rules_timed,
        server_of,
    )
    from hgobench.notation import split_list
    from hgobench.provenance import processor
    from hgobench.report import charts, files

    names = [aggregators.registry.canonical(rule) for rule in split_list(rules, "--rules")]
    fit, held_out = design(
        _numbers("--nodes", nodes, int), split_list(models, "--models"),
        _numbers("--shares", shares, float),
    )  # fmt: skip
    if not 0 < deadline < float("inf"):
        raise InputError(f"--deadline: {deadline:g}; expected seconds > 0")
    if not sampled <= population:
        raise InputError(f"--sampled: {sampled}; expected at most {population}, --workers")
    if find_spec("flwr") is None:
        raise InputError("devices: Flower is not installed: pip install 'hgobench[flower]'")
    out = out.resolve()
    said: dict[str, str | int] = {
        "rounds": rounds,
        "flower": version("flwr"),
        "processor": processor(),
    }
    loads = collected(
        out / "work", Kept(out / "loads.jsonl", said), [*fit, *held_out], rounds,
        lambda line: say(line, quiet),
    )  # fmt: skip
    seen = {point: loads[point] for point in fit if point in loads}
    scale = Scale(
        loads=seen,
        held_out={point: loads[point] for point in held_out if point in loads},
        server=server_of([load for them in seen.values() for load in them]),
        population=population,
        sampled=sampled,
        deadline=deadline,
        rules=rules_timed(names, sampled, dimensions(seen), lambda line: say(line, quiet)),
    )
    words = [
        "--nodes", nodes, "--models", models, "--shares", shares, "--rounds", str(rounds),
        "--rules", rules, "--workers", str(population), "--sampled", str(sampled),
        "--deadline", f"{deadline:g}",
    ]  # fmt: skip
    made = page(scale, shlex.join(["hgobench", "devices", "scale", *words]))
    typer.echo(shown(made, wide=wide, title=True))
    say(f"page: {files.write(out / 'pages', made)}", quiet)
    charts.save(made.charts[0], out / "pages" / "scale.svg")


def _numbers(option: str, text: str, kind: Callable[[str], Number]) -> list[Number]:
    try:
        return [kind(word) for word in text.split(",")]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise InputError(f"{option}: {text!r}; expected {what} separated by commas") from None
