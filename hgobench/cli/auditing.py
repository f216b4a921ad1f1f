"""What audit and plan share: reading their options, and running an audit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hgobench.cli.output import say, shown

if TYPE_CHECKING:
    from hgobench.audits import Options, Page, Work
    from hgobench.settings import Setting


def audit_options(
    seeds: int | None,
    settings: Sequence[Setting],
    rules: list[str] | None,
    attacks: list[str] | None,
) -> Options:
    """Read what an audit is asked beyond its name."""
    from hgobench.audits import Options
    from hgobench.scenario import check_field
    from hgobench.settings import one_value_each, parse_names

    fields = one_value_each(settings, "settings")
    given = {field: check_field(field, value) for field, value in fields.items()}
    named = {
        field: tuple(
            dict.fromkeys(check_field(field, one) for one in parse_names(texts, f"{field}s"))
        )
        for field, texts in (("rule", rules), ("attack", attacks))
    }
    return Options(seeds, given, named["rule"], named["attack"])


def studied(
    study: Callable[[Work], Page],
    out: Path,
    jobs: int,
    quiet: bool,
    wide: bool,
    told: Callable[[Page], str] | None = None,
    engine: str = "local",
    address: str = "",
) -> Page:
    """Run an audit, print what it found (as `told` words it), and write its page."""
    from hgobench.audits import Work
    from hgobench.engines import opened
    from hgobench.report import files
    from hgobench.results import open_store
    from hgobench.session import Session

    started = time.monotonic()
    try:
        with open_store(out) as store, opened(engine, address) as where:
            work = Work(
                Session(store, jobs=jobs, engine=where, progress=not quiet),
                lambda text: typer.echo(text, err=True),
                lambda text: say(text, quiet),
            )
            found = study(work)
    except KeyboardInterrupt as error:
        typer.echo(f"{str(error) or 'interrupted'}; the same command goes on", err=True)
        raise typer.Exit(130) from None
    except RuntimeError as error:
        typer.echo(f"{error}; the same command keeps what is done, and tries again", err=True)
        raise typer.Exit(1) from error
    typer.echo(told(found) if told else f"{shown(found, wide=wide, title=True)}\n")
    path = files.write(out / "pages", found)
    say(f"{time.monotonic() - started:.0f} s; page: {path}", quiet)
    if work.failed:
        typer.echo(f"{len(work.failed)} cells failed, and count as an accuracy of 0", err=True)
        raise typer.Exit(1)
    return found
