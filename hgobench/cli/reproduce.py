"""``hgobench reproduce``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import AddressOption, EngineOption, Jobs, Quiet, Wide, folder_option
from hgobench.cli.output import say, shown
from hgobench.cli.watching import ProgressOption, Watching, counts, shows, watched
from hgobench.errors import InputError


def reproduce(
    names: Annotated[list[str], typer.Argument(help="Figures (fig4b, short5, ..); all; or list.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of every curve.")] = 10,
    jobs: Jobs = 0,
    engine: EngineOption = "local",
    address: AddressOption = "",
    out: Annotated[Path, folder_option("Where results and pages go.")] = Path(
        "hgobench-results/paper"
    ),
    document: Annotated[
        Path | None, typer.Option(help="A Markdown file for all claims and figures.")
    ] = None,
    quiet: Quiet = False,
    progress: ProgressOption = Watching.TEXT,
    update_reference: Annotated[
        bool,
        typer.Option("--update-reference", help="Rewrite the verdicts that pytest suites/ checks."),
    ] = False,
    wide: Wide = False,
) -> None:
    """Reproduce the HGO paper's figures, and test its claims.

    Each figure is run as published (with its authors' accounting) and as specified (Algorithm 1).
    Writes a page per figure with the data behind its plot. Cells that are already in the folder
    are not computed again; Ctrl-C keeps what is done.
    """
    with watched(progress) as told:
        from hgobench.paper import figures as paper

        if names == ["list"]:
            from hgobench.report.listing import figures

            typer.echo(shown(figures(), wide=wide))
            return
        chosen = [paper.load(name) for name in (paper.names() if names == ["all"] else names)]
        if update_reference and (seeds < 10 or names != ["all"]):
            raise InputError(
                f"--update-reference: {' '.join(names)} with {seeds} seeds; expected all with 10 "
                "or more: the verdicts are one family"
            )
        from hgobench.engines import opened
        from hgobench.paper import agreement, claims, pages, runs
        from hgobench.paper import document as paper_document
        from hgobench.results import open_store
        from hgobench.session import Session, default_jobs

        shown_as = shows(progress, quiet)
        jobs = jobs or default_jobs()
        with opened(engine, address) as engine_:
            lacking = runs.lacking(chosen, jobs, engine_)
        if lacking and names != ["all"]:
            raise InputError(f"{', '.join(which)}: {reason}" for reason, which in lacking.items())
        for reason, which in lacking.items():
            say(f"left out {', '.join(which)}: {reason}", quiet)
        without_data = {name for which in lacking.values() for name in which}
        chosen = [figure for figure in chosen if figure.name not in without_data]
        started = time.monotonic()
        with open_store(out) as store, opened(engine, address) as engine_:
            session = Session(store, jobs=jobs, engine=engine_, progress=shown_as)
            outcome = runs.compute(chosen, seeds, session)
            results = (result for _, result in store.results(outcome.keys))
            measured = runs.Measurements(results, seeds)
        complete = [figure for figure in chosen if measured.has(figure)]
        names_done = {figure.name for figure in complete}
        tested = [claim for claim in claims.CLAIMS if names_done.issuperset(claim.figures)]
        verdicts = claims.judge(tested, measured.of)
        met = agreement.agreements(measured.of("published"), complete)
        for figure in complete:
            typer.echo(shown(pages.summary(figure, measured), wide=wide, title=True) + "\n")
        if verdicts:
            typer.echo(shown(pages.judged(verdicts), wide=wide, title=True) + "\n")
        if met:
            typer.echo(f"{sum(a.met for a in met)} of {len(met)} published values are met")
        if complete:
            say(f"pages: {pages.write(out / 'pages', complete, measured, verdicts, met)}", quiet)
        if document is not None:
            command = f"hgobench reproduce {' '.join(names)} --seeds {seeds}"
            left_out = dict.fromkeys(sorted(without_data), "data are not here")
            left_out |= {
                f.name: "runs are not finished" for f in chosen if f.name not in names_done
            }
            paper_document.write(document, command, complete, measured, verdicts, met, left_out)
            say(f"document: {document}", quiet)
        untested = [claim.id for claim in claims.CLAIMS if claim not in tested]
        if update_reference and untested:
            typer.echo(f"verdicts not rewritten: no cells for {', '.join(untested)}", err=True)
        elif update_reference:
            written = claims.write_reference(verdicts, met).resolve()
            typer.echo(f"verdicts rewritten: {written}", err=True)
        seconds = time.monotonic() - started
        missing = len(runs.cells(chosen, seeds)) - outcome.computed - outcome.reused
        told |= counts(out, outcome, missing, seconds)
        say(
            f"{outcome.computed} cells computed, {outcome.reused} reused, in {seconds:.0f} s; "
            f"kept in {out}",
            quiet,
        )
        for result in outcome.failed:
            typer.echo(f"failed: {result.scenario}: {result.reason}", err=True)
        if outcome.interrupted:
            typer.echo(f"{outcome.interrupted}; the same command goes on", err=True)
            raise typer.Exit(outcome.status)
        if outcome.failed:
            raise typer.Exit(1)
