"""``hgobench test``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from textwrap import indent
from typing import Annotated

import typer


def test(
    name: Annotated[
        str,
        typer.Argument(help="A rule, pre-rule, attack, data set or model, or pkg.mod:Class."),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="The data that a model is tried on. [default: random examples]"),
    ] = None,  # noqa: PT028
) -> None:
    """Check that a rule, attack, data set or model obeys the laws.

    For each law: pass; fail, with the smallest counterexample; or why it does not apply.

    Exit status: 0 no law is broken; 1 one is; 2 the name is unknown.
    """
    from hgobench import catalogue
    from hgobench.errors import InputError
    from hgobench.testing import ATTACK_LAWS, DATA_LAWS, RULE_LAWS, try_named
    from hgobench.testing_models import MODEL_LAWS, is_model, try_model

    known: tuple[Mapping[str, object], ...] = (RULE_LAWS, ATTACK_LAWS, DATA_LAWS, MODEL_LAWS)
    laws = {law: (f.__doc__ or "").strip() for table in known for law, f in table.items()}
    if is_model(name):
        kind, verdicts = "model", try_model(name, data)
    elif data is not None:
        raise InputError(f"--data: {name} is no model; other things are tried without data")
    else:
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
