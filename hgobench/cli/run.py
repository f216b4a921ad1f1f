"""``hgobench run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import (
    AddressOption,
    ByOption,
    EngineOption,
    Form,
    FormOption,
    Jobs,
    Split,
    SplitOption,
    Wide,
    folder_option,
)
from hgobench.cli.output import rendered_boards, say
from hgobench.errors import InputError


def run(
    suite: Annotated[
        str, typer.Argument(help="A suite's name (hgobench list suites) or TOML file.")
    ],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            help="A rule beside the suite's, also your own: pkg.mod:Class; as often as wanted."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value, or field=value,value for an axis of the grid."),
    ] = None,
    jobs: Jobs = 0,
    engine: EngineOption = "local",
    address: AddressOption = "",
    device: Annotated[
        str, typer.Option(help="Where tensors are: cpu, cuda, cuda:1; not cpu: one process.")
    ] = "cpu",
    out: Annotated[
        Path | None,
        folder_option("Where results go [default: hgobench-results/SUITE]."),
    ] = None,
    form: FormOption = Form.TABLE,
    by: ByOption = "attack",
    split: SplitOption = Split.TEST,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only the boards.")] = False,
    update_reference: Annotated[
        bool,
        typer.Option(
            "--update-reference", help="Rewrite the reference values that pytest suites/ checks."
        ),
    ] = False,
    wide: Wide = False,
) -> None:
    """Run a suite and print its leaderboards.

    Cells that the output folder has already are not computed again; Ctrl-C keeps what is done.
    """
    from hgobench.session import RESULTS, Incomplete, Interrupted, run_suite
    from hgobench.settings import parse_names, parse_setting
    from hgobench.suite import Suite

    chosen = Suite.load(suite).changed([parse_setting(text) for text in set_ or ()])
    chosen = chosen.with_rules(parse_names(rule, "rules"))
    if update_reference:
        if chosen.evaluation:
            raise InputError("--update-reference: only for suites whose attacks are an axis")
        if chosen.changes:
            raise InputError(
                "--update-reference: only for a suite as it is, without --set and --rule"
            )
        chosen.labelled(chosen.expand()[0])
    early: Incomplete | Interrupted | None = None
    try:
        outcome = run_suite(
            chosen,
            out=out,
            jobs=jobs,
            engine=engine,
            address=address,
            device=device,
            split=split.value,
            progress=not quiet,
            say=lambda text: say(text, quiet),
        )
    except (Incomplete, Interrupted) as error:
        early, outcome = error, error.outcome
        typer.echo(str(early), err=True)
    if made := outcome.boards(by):
        shown = chosen.ruleset if form in (Form.JSON, Form.CSV) else chosen.title
        typer.echo(rendered_boards(shown, made, form, split, wide))
    say(
        f"{outcome.computed} cells computed, {outcome.reused} reused, in {outcome.seconds:.0f} s; "
        f"kept in {out or RESULTS / chosen.name}",
        quiet,
    )
    for reason, labels in outcome.ended.items():
        typer.echo(f"{len(labels)} cells {reason} (first: {labels[0]})", err=True)
    if early is not None:
        missing = f"{outcome.missing} missing {outcome.unit}"
        typer.echo(f"the same command goes on with the {missing}", err=True)
        raise typer.Exit(outcome.grid.status)
    if outcome.failed:
        for line in outcome.failures():
            typer.echo(line, err=True)
        raise typer.Exit(1)
    if update_reference:
        written = chosen.write_reference(outcome.results()).resolve()
        typer.echo(f"reference rewritten: {written}", err=True)
