"""``hgobench bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import BenchForm, BenchFormOption, Wide
from hgobench.cli.output import say, shown
from hgobench.errors import InputError

bench = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Time rules against other libraries and earlier commits.",
)


@bench.command("peers")
def bench_peers(
    rule: Annotated[
        list[str] | None, typer.Option(help="Rules or attacks, separated by commas [default: all].")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(help="Vectors x coordinates, repeatable [default: 80x7850 and 80x23860]."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="1: CPU time; more: wall time.")] = 1,
    form: BenchFormOption = BenchForm.TABLE,
    wide: Wide = False,
) -> None:
    """Compare the speed of rules with other libraries'.

    On identical tensors, call by call. Milliseconds, medians; the ratio is the fastest peer's time
    over ours. A library that is not installed (pip install 'hgobench[peers]') is left out, and
    named.
    """
    from hgobench.report.bench import page
    from hgobench.suite import benchmarks

    peers = benchmarks("peers")
    names = [name for text in rule or () for name in text.split(",")] or list(peers.NAMES)
    if strange := [name for name in names if name not in peers.NAMES]:
        raise InputError(
            [f"--rule: {name!r}; expected one of {', '.join(peers.NAMES)}" for name in strange]
        )
    shapes = [peers.parsed(text) for text in shape or ("80x7850", "80x23860")]
    rows, interrupted = [], False
    try:
        for row in peers.contest(names, shapes, threads=threads):
            rows.append(row)
            say(f"{row.name} at {row.shape[0]} x {row.shape[1]:,}: done", False)
    except KeyboardInterrupt:
        interrupted = True
    if rows:
        cells = [peers.cells(row) for row in rows]
        typer.echo(shown(page(cells, peers.HEADERS), form.value, wide))
    for library, how in peers.missing().items():
        say(f"left out {library}, which can't be imported here: {how}", False)
    if interrupted:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130)


@bench.command("rule")
def bench_rule(
    name: Annotated[str, typer.Argument(help="A rule of your own: pkg.mod:Class; or any other.")],
    shape: Annotated[
        list[str] | None,
        typer.Option(help="Vectors x coordinates, repeatable [default: 80x7850 and 80x23860]."),
    ] = None,
    yardstick: Annotated[str, typer.Option(help="The rule that is timed beside it.")] = "median",
    save: Annotated[Path | None, typer.Option(help="A file to write the ratios to.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="A file that --save wrote: has the ratio grown?")
    ] = None,
    allow: Annotated[
        float, typer.Option(help="By which factor a ratio may grow; more is exit status 1.")
    ] = 1.5,
    form: BenchFormOption = BenchForm.TABLE,
    wide: Wide = False,
) -> None:
    """Time a rule, as a ratio to another that is timed with it.

    Milliseconds of CPU time on one thread, medians; a fifth of the vectors are Byzantine. A ratio
    that seems to have grown is measured again. Exit status: 0 no ratio has grown beyond what is
    allowed; 1 one has; 2 refused.
    """
    from hgobench.report.bench import page
    from hgobench.suite import benchmarks

    if not 1 <= allow < float("inf"):
        raise InputError(f"--allow: {allow:g}; expected a finite number >= 1")
    peers, own = benchmarks("peers"), benchmarks("own_rule")
    shapes = [peers.parsed(text) for text in shape or own.SHAPES]
    saved_ratios = {} if against is None else own.saved(against, name, yardstick, shapes)
    rows = []
    for shape_ in dict.fromkeys(shapes):
        ratio = saved_ratios.get("{}x{}".format(*shape_))
        rows.append(own.compared(name, yardstick, shape_, ratio, allow))
    cells = [own.cells(name, yardstick, row) for row in rows]
    typer.echo(shown(page(cells, own.HEADERS), form.value, wide))
    if save is not None:
        own.save(save, name, yardstick, rows)
        say(f"saved: {save}", False)
    slower = [row for row in rows if row.growth is not None and row.growth > allow]
    for row in slower:
        typer.echo(
            f"slower: {name} at {row.label}: {row.ratio:.2f} times {yardstick}, was "
            f"{row.saved:.2f}: grown by a factor of {row.growth:.2f}; allowed: {allow:g}",
            err=True,
        )
    if slower:
        raise typer.Exit(1)
