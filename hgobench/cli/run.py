"""``hgobench run``."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import ByOption, Form, FormOption, Jobs, Split, SplitOption, Wide
from hgobench.cli.output import rendered_boards, say
from hgobench.errors import InputError


def run(
    suite: Annotated[
        str, typer.Argument(help="A suite's name (hgobench list suites) or TOML file.")
    ],
    rule: Annotated[
        list[str] | None, typer.Option(help="A rule of your own beside the suite's: pkg.mod:Class.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value, or field=value,value for an axis of the grid."),
    ] = None,
    jobs: Jobs = 0,
    device: Annotated[
        str, typer.Option(help="Where tensors are: cpu, cuda, cuda:1; not cpu: one process.")
    ] = "cpu",
    out: Annotated[
        Path | None, typer.Option(help="Where results go [default: hgobench-results/SUITE].")
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
    from hgobench.grid import reasons
    from hgobench.scenario import sampling_warnings
    from hgobench.settings import parse_names, parse_setting
    from hgobench.suite import Suite

    loaded = Suite.load(suite).changed([parse_setting(text) for text in set_ or ()])
    loaded = loaded.with_rules(parse_names(rule, "--rule"))
    if update_reference and loaded.changes:
        raise InputError("--update-reference: only for a suite as it is, without --set and --rule")
    scenarios, left = loaded.expand()
    if update_reference:
        loaded.labelled(scenarios)
    for reason, count in reasons(left).items():
        say(f"left out {count} cells: {reason}", quiet)

    for warning in sampling_warnings(scenarios.kinds()):
        say(f"warning: {warning}", quiet)

    from joblib import cpu_count

    from hgobench.engines.cells import execute
    from hgobench.leaderboard import Score, boards
    from hgobench.report.progress import progress
    from hgobench.results import open_store

    jobs = jobs or (cpu_count() if device == "cpu" else 1)
    if split is Split.VALIDATION:
        from hgobench.engines.cells import described

        for data, about in described(scenarios.values("data"), jobs).items():
            if isinstance(about, InputError):
                raise about
            if not about.validation:
                raise InputError(f"--split: 'validation'; {data!r} has no such examples")
    folder = out or Path("hgobench-results") / loaded.name
    started = time.monotonic()
    with open_store(folder) as store:
        with progress(len(scenarios), quiet=quiet) as advance:
            outcome = execute(
                scenarios,
                store,
                loaded.ruleset,
                width=loaded.width,
                time_limit=loaded.time_limit,
                jobs=jobs,
                device=device,
                on_progress=advance,
            )
        if outcome.interrupted:
            typer.echo(outcome.interrupted, err=True)
        results = [result for _, result in store.results(outcome.keys)]
    if results:
        scores = [Score.of(result, split.value) for result in results]
        shown = loaded.ruleset if form in (Form.JSON, Form.CSV) else loaded.title
        typer.echo(rendered_boards(shown, boards(scores, by=by), form, split, wide))
    say(
        f"{outcome.computed} cells computed, {outcome.reused} reused, in "
        f"{time.monotonic() - started:.0f} s; kept in {folder}",
        quiet,
    )
    ended: dict[str, list[str]] = {}
    for result in results:
        if result.status != "done" or result.reason:
            why = re.sub(r"^round \d+: ", "", result.reason)
            reason = " ".join(f"{result.status}: {why}".split())
            ended.setdefault(reason, []).append(loaded.label(result.scenario))
    for reason, labels in ended.items():
        typer.echo(f"{len(labels)} cells {reason} (first: {labels[0]})", err=True)
    if outcome.interrupted:
        typer.echo(
            f"the same command goes on with the {len(scenarios) - len(results)} missing cells",
            err=True,
        )
        raise typer.Exit(130 if outcome.interrupted == "interrupted" else 1)
    if outcome.failed:
        typer.echo(f"{len(outcome.failed)} of {len(results)} cells failed", err=True)
        raise typer.Exit(1)
    if update_reference:
        written = loaded.write_reference(results).resolve()
        typer.echo(f"reference rewritten: {written}", err=True)
