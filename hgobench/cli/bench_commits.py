"""``hgobench bench gate`` and ``hgobench bench asv``: earlier commits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hgobench.cli.options import folder_option
from hgobench.cli.output import say
from hgobench.errors import InputError

ASV = Path("hgobench-results/asv")
OutOption = Annotated[Path, folder_option("Where environments, results and pages of asv's go.")]
RulesOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A rule to measure: pkg.mod:Class, or a name. Repeatable [default: those that the "
        "project registers as entry points]."
    ),
]


def bench_gate(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A commit, branch or tag.")],
    rule: RulesOption = None,
    factor: Annotated[float, typer.Option(help="By which factor times and memory may grow.")] = 1.5,
    out: OutOption = ASV,
) -> None:
    """Is HEAD slower, larger or less robust than BASE?

    In a project of yours, or in hgobench's: run in a folder of its git repository, on what is
    committed. Calls of ATen, their bytes and the robust error may not grow at all. Needs
    hgobench[asv]. Exit status: 0 no; 1 yes; 2 it could not be measured.
    """
    from hgobench.commits import gate, project

    if not 1 <= factor < float("inf"):
        raise InputError(f"--factor: {factor:g}; expected a finite number >= 1")
    found = project(_rules(rule))
    commit = found.commit(base)
    if changed := found.changed():
        say(f"not measured, as it is not committed: {', '.join(changed)}", False)
    if commit == found.commit("HEAD"):
        typer.echo(f"BASE is HEAD, {found.title(commit)}: there is nothing to compare")
        return
    verdict = gate(found, commit, factor, out)
    for line in [*verdict.problems, *verdict.notes]:
        say(line, False)
    if verdict.path is not None:
        typer.echo(f"{verdict.path}: all values; hgobench site {out} shows them")
    if verdict.worse or verdict.problems:
        raise typer.Exit(1 if verdict.worse and not verdict.problems else 2)


def bench_asv(
    arguments: Annotated[list[str], typer.Argument(metavar="ARGS..", help="asv's own.")],
    rule: RulesOption = None,
    out: OutOption = ASV,
) -> None:
    """Call asv with hgobench's benchmarks, set up for this project.

    As run HEAD~3..HEAD, compare, publish, preview. Needs hgobench[asv]. The exit status is asv's.
    """
    from hgobench.commits import call, project

    raise typer.Exit(call(project(_rules(rule)), out, arguments))


def _rules(texts: list[str] | None) -> list[str]:
    from hgobench.settings import parse_names

    return parse_names(texts or (), "rules")
