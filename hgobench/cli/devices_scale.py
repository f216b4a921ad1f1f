"""``hgobench devices scale``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.devices import numbers
from hgobench.cli.options import Quiet, Wide, folder_option
from hgobench.errors import InputError


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
        numbers("--nodes", nodes, int), split_list(models, "--models"),
        numbers("--shares", shares, float),
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
