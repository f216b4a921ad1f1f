"""``hgobench test``."""

from __future__ import annotations

from collections import Counter
from textwrap import indent
from typing import Annotated

import typer


def test(
    name: Annotated[
        str,
        typer.Argument(help="Anything that a scenario can name: krum, foe, iid, pkg.mod:Class."),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            help="What it is meant to be: rule, partition, model, .. [default: its class]"
        ),
    ] = None,  # noqa: PT028
    data: Annotated[
        str | None,
        typer.Option(help="The data that a model or partition is tried on. [default: made for it]"),
    ] = None,  # noqa: PT028
) -> None:
    """Check that a rule, attack or other component obeys its laws.

    It says what kind of thing it saw and, for each law of that kind: pass; fail, with the smallest
    counterexample; or why it does not apply.

    Exit status: 0 no law is broken; 1 one is; 2 the name is unknown, or of no kind.
    """
    from hgobench.testing import try_named

    what, verdicts = try_named(name, kind, data)
    files = what.registry.sources(name)
    typer.echo(f"{what.title} {name}" + (f" ({', '.join(files)})" if files else ""))
    counts: Counter[str] = Counter()
    scope = ""
    for verdict in verdicts:
        if verdict.scope != scope:
            scope = verdict.scope
            typer.echo(f"scope {scope}:")
        counts[verdict.outcome] += 1
        typer.echo(f"  {verdict.outcome:<14}  {verdict.law}")
        if verdict.detail:
            law = (what.laws[verdict.law].__doc__ or "").strip()
            failed = f"{law}\n{verdict.detail}"
            typer.echo(indent(failed if verdict.outcome == "fail" else verdict.detail, " " * 18))
    typer.echo(
        ", ".join(f"{n} {o}" for o in ("pass", "fail", "not applicable") if (n := counts[o]))
    )
    if counts["fail"]:
        raise typer.Exit(1)
