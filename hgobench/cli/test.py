"""``hgobench test``."""

from __future__ import annotations

from collections import Counter
from textwrap import indent
from typing import Annotated

import typer


def test(
    name: Annotated[
        str,
        typer.Argument(help="A rule, pre-rule, attack or data set, or pkg.mod:Class."),
    ],
) -> None:
    """Check that a rule, an attack or a data set obeys the laws.

    For each law: pass; fail, with the smallest counterexample; or why it does not apply.

    Exit status: 0 no law is broken; 1 one is; 2 the name is unknown.
    """
    from hgobench import catalogue
    from hgobench.testing import ATTACK_LAWS, DATA_LAWS, RULE_LAWS, try_named

    known = (RULE_LAWS, ATTACK_LAWS, DATA_LAWS)
    laws = {law: (f.__doc__ or "").strip() for table in known for law, f in table.items()}
    kind, verdicts = try_named(name)
    files = catalogue.registry(kind.replace("-", "_")).sources(name)
    typer.echo(f"{kind} {name}" + (f" ({', '.join(files)})" if files else ""))
    counts: Counter[str] = Counter()
    scope = ""
    for verdict in verdicts:
        if verdict.scope != scope:
            scope = verdict.scope
            typer.echo(f"scope {scope}:")
        counts[verdict.outcome] += 1
        typer.echo(f"  {verdict.outcome:<14}  {verdict.law}")
        if verdict.detail:
            detail = (
                verdict.detail
                if verdict.outcome != "fail"
                else f"{laws[verdict.law]}\n{verdict.detail}"
            )
            typer.echo(indent(detail, " " * 18))
    typer.echo(
        ", ".join(f"{n} {o}" for o in ("pass", "fail", "not applicable") if (n := counts[o]))
    )
    if counts["fail"]:
        raise typer.Exit(1)
