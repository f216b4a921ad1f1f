"""``hgobench power``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgobench.cli.options import DataForm, DataFormOption, Split, SplitOption
from hgobench.cli.output import as_json, shown
from hgobench.errors import InputError

if TYPE_CHECKING:
    from hgobench.leaderboard import Board


def power(
    suite: Annotated[
        str, typer.Argument(help="A suite's name (hgobench list suites) or TOML file.")
    ],
    difference: Annotated[
        float,
        typer.Option(help="The difference between two rows' worst cases to detect, such as 0.03."),
    ],
    wanted: Annotated[
        float, typer.Option("--power", help="The probability of detecting it.")
    ] = 0.8,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="The settings that the suite was run with: field=value."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where its results are [default: hgobench-results/SUITE].")
    ] = None,
    split: SplitOption = Split.TEST,
    form: DataFormOption = DataForm.TABLE,
) -> None:
    """Say how many seeds tell two rows of a suite apart.

    It uses the paired differences of the seeds that have been run, and the test that ranks boards.
    Nothing is computed: if there are no results yet, it says what to run as a pilot.
    """
    from hgobench.evaluation.evaluate import reported
    from hgobench.leaderboard import paired
    from hgobench.report import power as report
    from hgobench.results import open_store
    from hgobench.session import RESULTS
    from hgobench.settings import parse_setting
    from hgobench.statistics import FEWEST
    from hgobench.statistics.power import PILOT, needs
    from hgobench.suite import Suite

    settings = [parse_setting(text) for text in set_ or ()]
    chosen = Suite.load(suite).changed(settings)
    folder = out or RESULTS / chosen.name
    cells, _ = chosen.expand()
    made: list[Board] = []
    others = 0
    if folder.exists():
        with open_store(folder, create=False) as store:
            results = (result for name, result in store.results() if name == chosen.ruleset)
            every = reported(store, chosen.ruleset, results, split.value)
            pilot = every.of(cells, chosen.evaluation)
            made, others = pilot.boards(), len(every.scores) - len(pilot.scores)
    plans = []
    for board in made:
        rows = paired([row for row in board.rows if row.rank])
        if rows is not None and len(rows.value) > 1 and rows.seeds.shape[1] >= PILOT:
            plans.append((board, rows, needs(rows, difference, wanted=wanted)))
    if not plans:
        options = [*(set_ or ())]
        if chosen.evaluation is None and len(cells.values("seed")) < PILOT:
            options = [text for text in options if not text.startswith("seed=")]
            options.append(f"seed={','.join(map(str, range(FEWEST)))}")
        told = "".join(f" --set {shlex.quote(text)}" for text in options)
        raise InputError(
            f"pilot: {str(folder)!r} has no board of {chosen.title!r} with 2 or more ranked rows "
            f"on {PILOT} or more seeds; run one with hgobench run {suite}{told}, then ask with the "
            "same --set"
        )
    page = report.page(chosen.title, plans, difference, wanted, others)
    typer.echo(as_json(page.content) if form is DataForm.JSON else shown(page, wide=False))
