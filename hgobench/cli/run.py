"""``hgobench run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgobench.cli.options import (
    AddressOption,
    ByOption,
    EngineOption,
    Form,
    FormOption,
    Jobs,
    Quiet,
    Split,
    SplitOption,
    Wide,
    folder_option,
)
from hgobench.cli.output import rendered_boards, say
from hgobench.cli.watching import ProgressOption, Watching, counts, shows, watched
from hgobench.errors import InputError

if TYPE_CHECKING:
    from hgobench.session import Incomplete, Interrupted, SuiteOutcome
    from hgobench.suite import Suite


def run(
    suite: Annotated[
        str, typer.Argument(help="A suite's name (hgobench list suites) or TOML file.")
    ],
    rule: Annotated[
        list[str] | None,
        typer.Option(help="A rule to add to the suite's; your own: pkg.mod:Class. Repeatable."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="field=value, or field=value,value for several values. Repeatable."
        ),
    ] = None,
    jobs: Jobs = 0,
    engine: EngineOption = "local",
    address: AddressOption = "",
    device: Annotated[
        str, typer.Option(help="Where tensors are: cpu, cuda, cuda:1. A GPU serves one process.")
    ] = "cpu",
    out: Annotated[
        Path | None,
        folder_option("Where results go [default: hgobench-results/SUITE]."),
    ] = None,
    form: FormOption = Form.TABLE,
    by: ByOption = "attack",
    split: SplitOption = Split.TEST,
    quiet: Quiet = False,
    progress: ProgressOption = Watching.TEXT,
    update_reference: Annotated[
        bool,
        typer.Option(
            "--update-reference", help="Rewrite the reference values that pytest suites/ checks."
        ),
    ] = False,
    wide: Wide = False,
) -> None:
    """Run a suite and print its leaderboards.

    Cells that are already in the output folder are not computed again; Ctrl-C keeps what is done.
    """
    with watched(progress) as told:
        chosen = _suite(suite, set_, rule, update_reference)
        outcome, early = _computed(
            chosen, quiet, out=out, jobs=jobs, engine=engine, address=address, device=device,
            split=split.value, progress=shows(progress, quiet),
        )  # fmt: skip
        told |= counts(outcome.folder, outcome.grid, outcome.missing, outcome.seconds, outcome.unit)
        if made := outcome.boards(by):
            title = chosen.ruleset if form in (Form.JSON, Form.CSV) else chosen.title
            typer.echo(rendered_boards(title, made, form, split, wide))
        _ending(outcome, early, out, quiet)
        if update_reference:
            written = chosen.write_reference(outcome.results()).resolve()
            typer.echo(f"reference rewritten: {written}", err=True)


def _suite(
    name: str, settings: list[str] | None, rules: list[str] | None, update_reference: bool
) -> Suite:
    """Return the suite with what is set; one whose reference can't be rewritten is refused."""
    from hgobench.settings import parse_names, parse_setting
    from hgobench.suite import Suite

    chosen = Suite.load(name).changed([parse_setting(text) for text in settings or ()])
    chosen = chosen.with_rules(parse_names(rules, "rules"))
    if update_reference:
        if chosen.evaluation:
            raise InputError("--update-reference: only for suites whose attacks are an axis")
        if chosen.changes:
            raise InputError(
                "--update-reference: only for a suite as it is, without --set and --rule"
            )
        chosen.labelled(chosen.expand()[0])
    return chosen


def _computed(
    chosen: Suite, quiet: bool, **how: Any
) -> tuple[SuiteOutcome, Incomplete | Interrupted | None]:
    """Run a suite; an outcome that is not whole comes with the reason, which is said."""
    from hgobench.session import Incomplete, Interrupted, run_suite

    try:
        return run_suite(chosen, say=lambda text: say(text, quiet), **how), None
    except (Incomplete, Interrupted) as error:
        typer.echo(str(error), err=True)
        return error.outcome, error


def _ending(
    outcome: SuiteOutcome, early: Incomplete | Interrupted | None, out: Path | None, quiet: bool
) -> None:
    """Say how a suite ended; what is not whole ends the verb."""
    from hgobench.session import RESULTS

    say(
        f"{outcome.computed} cells computed, {outcome.reused} reused, in {outcome.seconds:.0f} s; "
        f"kept in {out or RESULTS / outcome.suite.name}",
        quiet,
    )
    for reason, labels in outcome.ended.items():
        typer.echo(
            f"{len(labels)} cell{'s' * (len(labels) > 1)} {reason} (first: {labels[0]})", err=True
        )
    if early is not None:
        missing = f"{outcome.missing} missing {outcome.unit}"
        typer.echo(f"the same command goes on with the {missing}", err=True)
        raise typer.Exit(outcome.grid.status)
    if outcome.failed:
        for line in outcome.failures():
            typer.echo(line, err=True)
        raise typer.Exit(1)
