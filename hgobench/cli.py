"""The command ``hgobench``: thin; each verb calls one room of the house.

Exit status: 0 all that was asked is computed and written; 1 some of it failed, and the rest is
written; 2 refused, nothing was computed; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgobench.boundary import PluginError
from hgobench.errors import InputError, unknown
from hgobench.report import screen, writers
from hgobench.report.writers import Layout

if TYPE_CHECKING:
    from hgobench.audits import Options, Page, Work
    from hgobench.leaderboard import Board
    from hgobench.settings import Setting

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # it would take [default: all] for a style
    help="Which algorithm and which rule survive which attack, on which devices, on which data?",
)


class Kind(StrEnum):
    """What ``hgobench list`` lists."""

    ATTACKS = "attacks"
    HETEROGENEITY_ATTACKS = "heterogeneity_attacks"
    RULES = "rules"
    PRE_RULES = "pre_rules"
    ALGORITHMS = "algorithms"
    SOLVERS = "solvers"
    DATASETS = "datasets"
    PARTITIONS = "partitions"
    HARDWARE = "hardware"
    CONDITIONS = "conditions"
    WORKLOADS = "workloads"
    MODELS = "models"
    SUITES = "suites"


class Form(StrEnum):
    """How a board is written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


class ListForm(StrEnum):
    """How a list is written."""

    TABLE = "table"
    MARKDOWN = "markdown"


class DataForm(StrEnum):
    """How what has many kinds of numbers is written."""

    TABLE = "table"
    JSON = "json"


class BenchForm(StrEnum):
    """How measurements are written."""

    TABLE = "table"
    MARKDOWN = "markdown"
    CSV = "csv"
    JSON = "json"


class Split(StrEnum):
    """Which examples an accuracy is on."""

    TEST = "test"
    VALIDATION = "validation"


Jobs = Annotated[int, typer.Option(min=0, help="Local processes; 0: one per core.")]
Wide = Annotated[
    bool, typer.Option("--wide", help="All columns, wider than the terminal if they are.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, only the tables.")]
FormOption = Annotated[Form, typer.Option("--format", help="How to write the boards.")]
DataFormOption = Annotated[DataForm, typer.Option("--format", help="json: everything.")]
BenchFormOption = Annotated[BenchForm, typer.Option("--format", help="How to write the table.")]


def _column(field: str) -> str:
    from hgobench.leaderboard import columns
    from hgobench.scenario import ALIASES

    name = ALIASES.get(field, field)
    if name not in columns():
        raise InputError(unknown("--by", field, columns()))
    return name


ByOption = Annotated[
    str,
    typer.Option(
        callback=_column,
        metavar="FIELD",
        help="The boards' columns: attack, partition, hardware, workload, f, or another field of "
        "a scenario that the server and the honest workers do not choose.",
    ),
]
SplitOption = Annotated[
    Split, typer.Option(help="Examples to score on; choose parameters on validation only.")
]


def _version(wanted: bool) -> None:
    if wanted:
        import hgobench

        typer.echo(f"hgobench {hgobench.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None:
    """Take what stands before the verb."""


@app.command("list")
def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    form: Annotated[
        ListForm, typer.Option("--format", help="markdown: all that is known of each.")
    ] = ListForm.TABLE,
    wide: Wide = False,
) -> None:
    """List what can be named: parameters and defaults, when it is valid, where it comes from."""
    from hgobench.report import listing

    if kind is Kind.SUITES:
        typer.echo(listing.suites(_layout(wide)))
    else:
        typer.echo(listing.listing(kind.value, form.value, _layout(wide)))


@app.command()
def test(
    name: Annotated[
        str, typer.Argument(help="A rule, pre-rule or attack: its name, or pkg.mod:Class.")
    ],
) -> None:
    """Hold a rule or an attack to the laws: pass, fail with the smallest example, or why neither.

    Exit status: 0 no law is broken; 1 one is; 2 there is no such thing.
    """
    from hgobench.testing import ATTACK_LAWS, RULE_LAWS, try_named

    laws = {law: (f.__doc__ or "").strip() for law, f in (*RULE_LAWS.items(), *ATTACK_LAWS.items())}
    kind, verdicts = try_named(name)
    typer.echo(f"{kind} {name}")
    counts: Counter[str] = Counter()
    scope = ""
    for verdict in verdicts:
        if verdict.scope != scope:
            scope = verdict.scope
            typer.echo(f"scope {scope}:")
        counts[verdict.outcome] += 1
        typer.echo(f"  {verdict.outcome:<14}  {verdict.law}")
        if verdict.detail:
            about = (
                verdict.detail
                if verdict.outcome != "fail"
                else f"{laws[verdict.law]}\n{verdict.detail}"
            )
            typer.echo(indent(about, " " * 18))
    typer.echo(
        ", ".join(f"{n} {o}" for o in ("pass", "fail", "not applicable") if (n := counts[o]))
    )
    if counts["fail"]:
        raise typer.Exit(1)


@app.command()
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
        _say(f"left out {count} cells: {reason}", quiet)

    for warning in sampling_warnings(scenarios.kinds()):
        _say(f"warning: {warning}", quiet)

    from joblib import cpu_count

    from hgobench.engines import execute
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
        typer.echo(_rendered(shown, boards(scores, by=by), form, split, wide))
    _say(
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


@app.command()
def leaderboard(
    folder: Annotated[Path, typer.Argument(help="Where hgobench run kept its results.")],
    form: FormOption = Form.TABLE,
    by: ByOption = "attack",
    split: SplitOption = Split.TEST,
    ruleset: Annotated[
        str | None, typer.Option(help="Which one, if the folder holds several.")
    ] = None,
    wide: Wide = False,
) -> None:
    """Print the leaderboards of a folder's results."""
    from hgobench.leaderboard import Score, boards
    from hgobench.results import open_store

    with open_store(folder, create=False) as store:
        kept = list(store.results())
    rulesets = sorted({name for name, _ in kept})
    if not kept:
        raise InputError(f"store: {str(folder)!r}: holds no results")
    if ruleset is None and len(rulesets) > 1:
        listed = ", ".join(map(repr, rulesets))
        raise InputError(f"store: {str(folder)!r}: holds several rulesets; use --ruleset {listed}")
    chosen = ruleset or rulesets[0]
    results = [result for name, result in kept if name == chosen]
    if not results:
        raise InputError(f"--ruleset: unknown {chosen!r}; the folder holds {rulesets}")
    codes = {result.provenance["code"] for result in results}
    if len(codes) > 1:
        typer.echo(f"note: these results come from {len(codes)} versions of the code", err=True)
    scores = [Score.of(result, split.value) for result in results]
    typer.echo(_rendered(chosen, boards(scores, by=by), form, split, wide))


@app.command()
def show(
    what: Annotated[str, typer.Argument(help="partition, scenario, or a folder of results.")],
    which: Annotated[
        list[str] | None,
        typer.Argument(help="The partition's name; or field=value, as often as wanted."),
    ] = None,
    form: DataFormOption = DataForm.TABLE,
    data: Annotated[
        str | None, typer.Option(help="partition: of which data set [default: digits].")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", "-n", min=1, help="partition: among how many [default: 100]."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="partition: of which draw [default: 0].")
    ] = None,
    out: Annotated[
        list[Path] | None,
        typer.Option(help="partition: pictures to write [default: NAME.png and NAME.svg]."),
    ] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="FOLDER: the rows that can't be read, and why.")
    ] = False,
    wide: Wide = False,
) -> None:
    """Show a partition, a scenario, or the cells of a folder of results.

    partition NAME: how many examples of each class every worker holds, and as pictures.

    scenario field=value ..: all its fields, and how likely too many Byzantine workers are sampled.

    FOLDER field=value ..: one line per cell; with one cell left, its rounds; as JSON, everything.

    FOLDER --damaged: the rows that can't be read; the command that computed them replaces them.
    """
    if damaged and (which or what in ("partition", "scenario")):
        raise InputError("--damaged: lists all damaged rows of a folder: show FOLDER --damaged")
    if what == "partition":
        _show_partition(which or [], data or "digits", workers or 100, seed or 0, form, out, wide)
        return
    options = {"--data": data, "--workers": workers, "--seed": seed, "--out": out}
    if given := [name for name, value in options.items() if value is not None]:
        raise InputError(f"show {what}: {name} is for partitions" for name in given)
    if what == "scenario":
        _show_scenario(which or [], form)
    elif damaged:
        _show_damaged(Path(what), form, wide)
    else:
        _show_results(Path(what), which or [], form, wide)


def _show_partition(
    names: list[str],
    data: str,
    workers: int,
    seed: int,
    form: DataForm,
    out: list[Path] | None,
    wide: bool,
) -> None:
    from hgobench.report import worlds
    from hgobench.scenario import check_field

    if len(names) != 1:
        raise InputError(
            f"show partition: {' '.join(names)!r}; expected one name (hgobench list partitions)"
        )
    for path in out or ():
        worlds.check_picture(path)
    check_field("workers", workers)
    check_field("seed", seed)
    dealt = worlds.deal(names[0], data, workers, seed)
    table = form is DataForm.TABLE
    typer.echo(dealt.table(_layout(wide)) if table else json.dumps(dealt.as_data()))
    if out is None and form is DataForm.TABLE:
        out = [Path(f"{dealt.slug}.{kind}") for kind in ("png", "svg")]
    for path in out or ():
        dealt.draw(path)
        _say(f"drawn: {path}", quiet=False)


def _show_scenario(settings: list[str], form: DataForm) -> None:
    from hgobench.report import worlds
    from hgobench.scenario import Scenario
    from hgobench.settings import one_value_each, parse_setting

    fields = [parse_setting(text, "show") for text in settings]
    scenario = Scenario(**one_value_each(fields, "show scenario"))
    if form is DataForm.JSON:
        risks = {"sampling_risk": scenario.sampling_risk, "run_risk": scenario.run_risk}
        typer.echo(json.dumps({**scenario.to_dict(), **risks}, indent=1))
        return
    typer.echo(worlds.describe(scenario, _layout()))
    if scenario.sampling_warning:
        typer.echo(f"warning: {scenario.sampling_warning}", err=True)


def _show_results(folder: Path, where: list[str], form: DataForm, wide: bool) -> None:
    from hgobench.report import cells as report
    from hgobench.results import export, open_store
    from hgobench.results.result import data_notes

    with open_store(folder, create=False) as store:
        cells = export(store)
    for text in where:
        cells = _matching(cells, text)
    if not cells:
        raise InputError(f"show: no cell of {str(folder)!r} is {' '.join(where)}")
    if form is DataForm.JSON:
        typer.echo(json.dumps(cells, indent=1, allow_nan=False))
    else:
        layout = _layout(wide)
        several = len(cells) > 1
        text = report.overview(cells, layout) if several else report.rounds(cells[0], layout)
        typer.echo(text)
    for note in data_notes((cell["scenario"]["data"], cell["provenance"]) for cell in cells):
        typer.echo(f"note: {note}", err=True)


def _matching(cells: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Return the cells that ``field=value,value`` or ``ruleset=name`` chooses."""
    from hgobench.scenario import check_field
    from hgobench.settings import parse_names, parse_setting

    name, equals, value = text.partition("=")
    if name.strip() == "ruleset" and equals:
        known = {cell["ruleset"] for cell in cells}
        chosen = {value.strip()} & known or set(parse_names([value], "show: ruleset"))
        if strange := sorted(chosen - known):
            raise InputError(unknown("show: ruleset", one, known) for one in strange)
        return [cell for cell in cells if cell["ruleset"] in chosen]
    field, values = parse_setting(text, "show")
    stored = {cell["scenario"][field] for cell in cells if field in cell["scenario"]}
    wanted = [value if value in stored else check_field(field, value) for value in values]
    return [cell for cell in cells if cell["scenario"][field] in wanted]


def _show_damaged(folder: Path, form: DataForm, wide: bool) -> None:
    from hgobench.results import open_store

    with open_store(folder, create=False) as store:
        found, every = store.damaged(), len(store)
    if form is DataForm.JSON:
        typer.echo(json.dumps([asdict(damage) for damage in found], indent=1))
        return
    if found:
        rows = [[damage.key, damage.ruleset, damage.problem] for damage in found]
        typer.echo(writers.table(["key", "ruleset", "problem"], rows, layout=_layout(wide)))
    typer.echo(f"{len(found)} of {every} rows are damaged", err=True)


bench = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Time rules: against other libraries, or against earlier times.",
)
app.add_typer(bench, name="bench")


@bench.command("peers")
def bench_peers(
    rule: Annotated[
        list[str] | None, typer.Option(help="Rules or attacks, separated by commas [default: all].")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(help="Vectors x coordinates, as 80x7850, repeatable [default: two small]."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="1: CPU time; more: wall time.")] = 1,
    form: BenchFormOption = BenchForm.TABLE,
    wide: Wide = False,
) -> None:
    """Compare the speed of rules with other libraries', on identical tensors, call by call.

    Milliseconds, medians; the ratio is the fastest peer's time over ours. A peer that is not
    installed (pip install 'hgobench[peers]') is left out.
    """
    from hgobench.report.bench import rendered
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
            _say(f"{row.name} at {row.shape[0]} x {row.shape[1]:,}: done", False)
    except KeyboardInterrupt:
        interrupted = True
    if rows:
        cells = [peers.cells(row) for row in rows]
        typer.echo(rendered(cells, peers.HEADERS, form.value, _layout(wide)))
    if interrupted:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130)


@bench.command("rule")
def bench_rule(
    name: Annotated[str, typer.Argument(help="A rule of your own: pkg.mod:Class; or any other.")],
    shape: Annotated[
        list[str] | None,
        typer.Option(help="Vectors x coordinates, as 80x7850, repeatable [default: two small]."),
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
    """Measure how long a rule takes, as a ratio to a yardstick timed beside it.

    Milliseconds of CPU time on one thread, medians; a fifth of the vectors are Byzantine. A ratio
    that seems to have grown is measured again. Exit status: 0 no ratio has grown beyond what is
    allowed; 1 one has; 2 refused.
    """
    from hgobench.report.bench import rendered
    from hgobench.suite import benchmarks

    if not 1 <= allow < float("inf"):
        raise InputError(f"--allow: {allow:g}; expected a finite number >= 1")
    peers, own = benchmarks("peers"), benchmarks("own_rule")
    shapes = [peers.parsed(text) for text in shape or own.SHAPES]
    before = {} if against is None else own.saved(against, name, yardstick, shapes)
    rows = []
    for one in dict.fromkeys(shapes):
        ratio = before.get("{}x{}".format(*one))
        rows.append(own.compared(name, yardstick, one, ratio, allow))
    cells = [own.cells(name, yardstick, row) for row in rows]
    typer.echo(rendered(cells, own.HEADERS, form.value, _layout(wide)))
    if save is not None:
        own.save(save, name, yardstick, rows)
        _say(f"saved: {save}", False)
    slower = [row for row in rows if row.growth is not None and row.growth > allow]
    for row in slower:
        typer.echo(
            f"slower: {name} at {row.label}: {row.ratio:.2f} times {yardstick}, was "
            f"{row.saved:.2f}: grown by a factor of {row.growth:.2f}; allowed: {allow:g}",
            err=True,
        )
    if slower:
        raise typer.Exit(1)


@app.command()
def reproduce(
    names: Annotated[list[str], typer.Argument(help="Figures (fig4b, short5, ..); all; or list.")],
    seeds: Annotated[int, typer.Option(min=1, help="Runs of every curve.")] = 10,
    jobs: Jobs = 0,
    out: Annotated[Path, typer.Option(help="Where results and pages go.")] = Path(
        "hgobench-results/paper"
    ),
    document: Annotated[
        Path | None, typer.Option(help="A Markdown file for all claims and figures.")
    ] = None,
    quiet: Quiet = False,
    update_reference: Annotated[
        bool,
        typer.Option("--update-reference", help="Rewrite the verdicts that pytest suites/ checks."),
    ] = False,
    wide: Wide = False,
) -> None:
    """Run the HGO paper's figures as published and as specified, and test its claims.

    Leaves a page per figure with the data behind its plot. Cells that the folder has already are
    not computed again; Ctrl-C keeps what is done.
    """
    from hgobench.paper import figures as paper

    if names == ["list"]:
        from hgobench.report.listing import figures

        typer.echo(figures(_layout(wide)))
        return
    chosen = [paper.load(name) for name in (paper.names() if names == ["all"] else names)]
    if update_reference and (seeds < 10 or names != ["all"]):
        raise InputError(
            f"--update-reference: {' '.join(names)} with {seeds} seeds; expected all with 10 or "
            "more: the verdicts are one family"
        )
    from joblib import cpu_count

    from hgobench.paper import agreement, claims, pages, runs
    from hgobench.paper import document as paper_document
    from hgobench.report.progress import progress
    from hgobench.report.render import terminal
    from hgobench.results import open_store

    lacking = runs.lacking(chosen, jobs or cpu_count())
    if lacking and names != ["all"]:
        raise InputError(f"{', '.join(which)}: {reason}" for reason, which in lacking.items())
    for reason, which in lacking.items():
        _say(f"left out {', '.join(which)}: {reason}", quiet)
    gone = {name for which in lacking.values() for name in which}
    chosen = [figure for figure in chosen if figure.name not in gone]
    started = time.monotonic()
    with open_store(out) as store:
        with progress(len(runs.cells(chosen, seeds)), quiet=quiet) as advance:
            outcome = runs.compute(chosen, seeds, store, jobs or cpu_count(), advance)
        found = (result for _, result in store.results(outcome.keys))
        measured = runs.Measurements(found, seeds)
    done = [figure for figure in chosen if measured.has(figure)]
    known = {figure.name for figure in done}
    tested = [claim for claim in claims.CLAIMS if known.issuperset(claim.figures)]
    verdicts = claims.judge(tested, measured.of)
    met = agreement.agreements(measured.of("published"), done)
    for figure in done:
        typer.echo(terminal(pages.summary(figure, measured), _layout(wide)) + "\n")
    if verdicts:
        typer.echo(terminal(pages.judged(verdicts), _layout(wide)) + "\n")
    if met:
        typer.echo(f"{sum(a.met for a in met)} of {len(met)} published values are met")
    if done:
        _say(f"pages: {pages.write(out / 'pages', done, measured, verdicts, met)}", quiet)
    if document is not None:
        command = f"hgobench reproduce {' '.join(names)} --seeds {seeds}"
        left_out = dict.fromkeys(sorted(gone), "data are not here")
        left_out |= {f.name: "runs are not finished" for f in chosen if f.name not in known}
        paper_document.write(document, command, done, measured, verdicts, met, left_out)
        _say(f"document: {document}", quiet)
    untested = [claim.id for claim in claims.CLAIMS if claim not in tested]
    if update_reference and untested:
        typer.echo(f"verdicts not rewritten: no cells for {', '.join(untested)}", err=True)
    elif update_reference:
        written = claims.write_reference(verdicts, met).resolve()
        typer.echo(f"verdicts rewritten: {written}", err=True)
    took = f"{time.monotonic() - started:.0f} s"
    _say(
        f"{outcome.computed} cells computed, {outcome.reused} reused, in {took}; kept in {out}",
        quiet,
    )
    for result in outcome.failed:
        typer.echo(f"failed: {result.scenario}: {result.reason}", err=True)
    if outcome.interrupted:
        typer.echo(f"{outcome.interrupted}; the same command goes on", err=True)
        raise typer.Exit(130 if outcome.interrupted == "interrupted" else 1)
    if outcome.failed:
        raise typer.Exit(1)


AuditSeeds = Annotated[
    int | None, typer.Option(min=1, help="Seeds [default: as many as each audit needs].")
]
AuditSettings = Annotated[
    list[str] | None,
    typer.Option("--set", help="field=value: a problem of your own instead of the built-in ones."),
]
AuditRules = Annotated[
    list[str] | None, typer.Option(help="A rule, also your own: pkg.mod:Class; as often as wanted.")
]
AuditAttacks = Annotated[list[str] | None, typer.Option(help="An attack; as often as wanted.")]


@app.command()
def audit(
    names: Annotated[
        list[str], typer.Argument(help="Audits, theory, questions, all; or list.", metavar="NAME..")
    ],
    seeds: AuditSeeds = None,
    set_: AuditSettings = None,
    rule: AuditRules = None,
    attack: AuditAttacks = None,
    jobs: Jobs = 0,
    out: Annotated[Path, typer.Option(help="Where measurements and pages go.")] = Path(
        "hgobench-results/audits"
    ),
    document: Annotated[
        Path | None,
        typer.Option(
            help="A Markdown file for all that was found; of one that holds other audits too, only "
            "these sections are replaced."
        ),
    ] = None,
    quiet: Quiet = False,
    wide: Wide = False,
) -> None:
    """Audit the HGO paper's theory, or answer a question that it leaves open.

    theory: constants, robustness, bounds, cost, breakdown. questions: channels, bandwidth.

    Leaves a page per audit with the data behind its plots. What the folder has already is not
    computed again; Ctrl-C keeps what is done.
    """
    from hgobench import audits
    from hgobench.settings import parse_setting

    if "list" in names:
        header = ["audit", "what it looks at"]
        typer.echo(writers.table(header, audits.AUDITS.items(), layout=_layout(wide)))
        return
    wanted = audits.chosen(names)
    settings = [parse_setting(text) for text in set_ or ()]
    options = _audit_options(seeds, settings, rule, attack)
    if options.settings and len(wanted) > 1:
        raise InputError(f"--set: one audit at a time; {' '.join(names)} is {len(wanted)}")
    audits.check(wanted, options)
    if document is not None:
        try:
            document.parent.mkdir(parents=True, exist_ok=True)
            document.touch()
        except OSError as error:
            raise InputError(f"--document: {str(document)!r}: {error.strerror}") from error
    words = f"audit {' '.join(names)}"
    studies = [
        _studied(partial(audits.run, name, options), out, jobs, quiet, wide) for name in wanted
    ]
    if document is not None:
        from hgobench.audits import document as audit_document

        title = "The theory, audited" if len(studies) > 1 else studies[0].title
        audit_document.write(document, studies, title, options.command(words))
        _say(f"document: {document}", quiet)


@app.command()
def plan(
    target: Annotated[float, typer.Option(help="Accuracy to reach, on validation examples.")],
    budget: Annotated[
        str,
        typer.Option(help="Simulated time: 60 in time units (as a deadline τ); 60s, 5min, 2h."),
    ],
    data: Annotated[str, typer.Option(help="Data set.")] = "digits",
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Seeds to choose with, and as many to check [default: 3, 5]."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="field=value of the scenario: not searched; q, v, tau, s and gamma (learning "
            "rate) also field=value,value: searched among these.",
        ),
    ] = None,
    rule: Annotated[
        list[str] | None, typer.Option(help="Rules to search among [default: trimmed_mean].")
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(help="Attacks, of which the worst counts [default with f > 0: a strong set]."),
    ] = None,
    time_unit: Annotated[
        str | None,
        typer.Option(
            help="Seconds that a time unit lasts; or calibrate: this machine is an average device."
        ),
    ] = None,
    jobs: Jobs = 0,
    out: Annotated[Path, typer.Option(help="Where results and the page go.")] = Path(
        "hgobench-results/plan"
    ),
    form: DataFormOption = DataForm.TABLE,
    quiet: Quiet = False,
    wide: Wide = False,
) -> None:
    """Do devices reach an accuracy within a time budget, and with which settings?

    Searches q, v, τ, s and rules; without --set hardware=.. also the share of powerful devices.
    What seems best is run again with fresh seeds, and the answer says whether they reach the
    target.
    """
    from hgobench.audits import answer, calibration
    from hgobench.audits import plan as planning
    from hgobench.settings import Setting, parse_setting, write_setting

    settings = [parse_setting(text) for text in set_ or ()]
    if any(setting.field == "data" for setting in settings):
        raise InputError("--set: data: use --data")
    single, among = planning.several(settings)
    options = _audit_options(seeds, [Setting("data", [data]), *single], rule, attack)
    plans: list[planning.Plan] = []

    def searched(work: Work) -> Page:
        unit = calibration.time_unit(time_unit, options.settings, work)
        said = ["--target", repr(target), "--budget", budget, "--data", data]
        for field, values in among.items():
            said += ["--set", write_setting(field, *values)]
        said += [] if unit is None else ["--time-unit", repr(unit)]
        units = calibration.time_units("--budget", budget, unit)
        question = planning.Question(target, units, unit, among, shlex.join(said))
        plans.append(planning.search(options, question, work))
        return answer.page(plans[-1])

    def told(_: Page) -> str:
        if form is DataForm.JSON:
            return _json(answer.data(plans[-1]))
        layout = _layout(wide)
        write = partial(writers.table, layout=layout)
        return answer.text(plans[-1], layout.width or answer.WIDTH, write)

    _studied(searched, out, jobs, quiet, wide, told)


@app.command()
def calibrate(
    model: Annotated[str, typer.Option(help="Of which model.")] = "softmax",
    data: Annotated[str, typer.Option(help="On which data set.")] = "digits",
    batch_size: Annotated[int, typer.Option(min=1, help="Examples of a minibatch, s.")] = 32,
    runs: Annotated[int, typer.Option(min=2, help="Measurements, of which the median.")] = 15,
    time_unit: Annotated[
        float, typer.Option(help="Seconds that a time unit lasts, for the line of a devices CSV.")
    ] = 1.0,
    form: DataFormOption = DataForm.TABLE,
) -> None:
    """Measure this machine's rate λ: coordinates of one example's gradient per second.

    How fast one thread of it computes a minibatch's gradient of a model, in CPU time. Ties the
    time units of plan to seconds.
    """
    from hgobench.audits import calibration

    unit = calibration.number(str(time_unit))
    if unit is None:
        raise InputError(f"--time-unit: {time_unit!r}; expected a number of seconds > 0")
    found = calibration.calibrate(model, data, batch_size, runs)
    if form is DataForm.JSON:
        typer.echo(_json(found.as_data(unit)))
        return
    typer.echo("\n".join(map(_layout().text, found.text(unit).split("\n"))))


def _json(data: Any) -> str:
    return json.dumps(data, indent=1, allow_nan=False)


def _audit_options(
    seeds: int | None,
    settings: Sequence[Setting],
    rules: list[str] | None,
    attacks: list[str] | None,
) -> Options:
    from hgobench.audits import Options
    from hgobench.scenario import check_field
    from hgobench.settings import one_value_each, parse_names

    fields = one_value_each(settings, "--set")
    given = {field: check_field(field, value) for field, value in fields.items()}
    named = {
        field: tuple(
            dict.fromkeys(check_field(field, one) for one in parse_names(texts, f"--{field}"))
        )
        for field, texts in (("rule", rules), ("attack", attacks))
    }
    return Options(seeds, given, named["rule"], named["attack"])


def _studied(
    study: Callable[[Work], Page],
    out: Path,
    jobs: int,
    quiet: bool,
    wide: bool,
    told: Callable[[Page], str] | None = None,
) -> Page:
    """Run an audit, print what it found (as `told` words it), and write its page."""
    from joblib import cpu_count

    from hgobench.audits import Work
    from hgobench.report import files
    from hgobench.report.progress import progress
    from hgobench.report.render import terminal
    from hgobench.results import open_store

    started = time.monotonic()
    try:
        with open_store(out) as store:
            work = Work(
                store,
                jobs or cpu_count(),
                lambda total: progress(total, quiet=quiet),
                lambda text: typer.echo(text, err=True),
                lambda text: _say(text, quiet),
            )
            found = study(work)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on", err=True)
        raise typer.Exit(130) from None
    except RuntimeError as error:
        typer.echo(f"{error}; the same command keeps what is done, and tries again", err=True)
        raise typer.Exit(1) from error
    typer.echo(told(found) if told else f"{terminal(found, _layout(wide))}\n")
    path = files.write(out / "pages", found)
    _say(f"{time.monotonic() - started:.0f} s; page: {path}", quiet)
    if work.failed:
        typer.echo(f"{len(work.failed)} cells failed, and count as an accuracy of 0", err=True)
        raise typer.Exit(1)
    return found


def _rendered(
    ruleset: str, made: Sequence[Board], form: Form, split: Split, wide: bool = False
) -> str:
    from hgobench.report.tables import render

    return render(ruleset, made, form.value, split=split.value, width=screen.width(wide))


def _layout(wide: bool = False, keep: int | None = None) -> Layout:
    return Layout(screen.width(wide), keep)


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        typer.echo(text, err=True)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command; what is refused is said in plain lines, exit status 2.

    A file that can't be written, standard output among them, is said in a line, exit status 1;
    output that nobody reads any more ends it in silence, exit status 141.
    """
    with screen.screens():
        try:
            if "" not in sys.path and os.getcwd() not in sys.path:
                sys.path.append(os.getcwd())  # for module:Class of the folder that one stands in
            return app(arguments)
        except InputError as error:
            print("hgobench: refused, nothing was computed:", file=sys.stderr)
            for problem in error.problems:
                print(f"  {problem}", file=sys.stderr)
            sys.exit(2)
        except PluginError as error:
            print(f"hgobench: {error}", file=sys.stderr)
            sys.exit(1)
        except SystemExit as ended:
            # What a verb doesn't catch, as it has nothing to keep yet, typer ends without a word.
            if ended.__context__ and isinstance(ended.__context__.__cause__, KeyboardInterrupt):
                print("interrupted", file=sys.stderr)
            raise
        except OSError as error:
            where = "" if error.filename is None else f"{str(error.filename)!r}: "
            print(f"hgobench: {where}{error.strerror or error}", file=sys.stderr)
            sys.exit(1)
