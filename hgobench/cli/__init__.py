"""The command ``hgobench``: a file per verb, each calls one room of the house.

Exit status: 0 all that was asked is computed and written; 1 some of it failed, and the rest is
written; 2 refused, nothing was computed; 130 interrupted; 143 and 129: by SIGTERM and SIGHUP.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from hgobench.boundary import PluginError
from hgobench.cli import (
    audit,
    bench,
    bench_commits,
    calibrate,
    card,
    check,
    cite,
    compare,
    devices,
    devices_scale,
    devices_study,
    export,
    keys,
    leaderboard,
    merge,
    plan,
    plot,
    power,
    replay,
    reproduce,
    run,
    show,
    site,
    test,
    verify,
)
from hgobench.cli import list as list_
from hgobench.cli.output import SPELLING
from hgobench.engines.signals import gentle
from hgobench.engines.trial import children_first
from hgobench.errors import InputError, respelled
from hgobench.registry import working_folder_first
from hgobench.report import screen

app = typer.Typer(
    # --install-completion, --show-completion
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # it would take [default: all] for a style
    help="Which algorithm and which aggregation rule survive which attack, on which devices, on "
    "which data? Begin with: hgobench run quick",
)


def _version(wanted: bool) -> None:
    if wanted:
        import hgobench

        typer.echo(f"hgobench {hgobench.__version__}")
        raise typer.Exit


@app.callback()
def command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None:
    """Take the options before the verb."""


app.command("list")(list_.list_)
app.command()(test.test)
app.command()(run.run)
app.command()(leaderboard.leaderboard)
app.command()(power.power)
app.command()(show.show)
app.command()(site.site)
app.command()(compare.compare)
app.command()(plot.plot)
app.command()(export.export)
app.command()(merge.merge)
app.command()(cite.cite)
app.command()(card.card)
app.command()(check.check)
app.command()(verify.verify)
app.command()(reproduce.reproduce)
app.command()(audit.audit)
app.command()(plan.plan)
app.command()(calibrate.calibrate)
app.add_typer(bench.bench, name="bench")
bench.bench.command("gate")(bench_commits.bench_gate)
bench.bench.command(
    "asv", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)(bench_commits.bench_asv)
app.add_typer(devices.devices, name="devices")
devices.devices.command("study")(devices_study.devices_study)
devices.devices.command("scale")(devices_scale.devices_scale)
app.command()(replay.replay)
app.command()(keys.keys)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command; refused input is reported in plain lines, exit status 2.

    A file that can't be written, standard output too, is reported in a line, exit status 1; a
    closed pipe ends the command in silence, exit status 141. SIGTERM and SIGHUP end it as Ctrl-C
    does, exit status 143 and 129.
    """
    with screen.screens(), gentle() as asked, children_first():
        try:
            with working_folder_first():
                return app(arguments)
        except InputError as error:
            print("hgobench: refused, nothing was computed:", file=sys.stderr)
            for problem in error.problems:
                print(f"  {respelled(problem, SPELLING)}", file=sys.stderr)
            sys.exit(2)
        except PluginError as error:
            print(f"hgobench: {error}", file=sys.stderr)
            sys.exit(1)
        except SystemExit as ended:
            # What a verb doesn't catch, as it has nothing to keep yet, typer ends without a word.
            cause = ended.__context__ and ended.__context__.__cause__
            if isinstance(cause, KeyboardInterrupt):
                print(str(cause) or "interrupted", file=sys.stderr)
            if asked:
                sys.exit(128 + asked[0])
            raise
        except OSError as error:
            where = "" if error.filename is None else f"{str(error.filename)!r}: "
            print(f"hgobench: {where}{error.strerror or error}", file=sys.stderr)
            sys.exit(1)
