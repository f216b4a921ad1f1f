"""Shared by audit and plan: reading their options, and running an audit."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hgobench.cli.output import say, shown
from hgobench.cli.watching import Watching, shows

if TYPE_CHECKING:
    from hgobench.audits import Options, Page, Work
    from hgobench.settings import Setting


def audit_options(
    seeds: int | None,
    settings: Sequence[Setting],
    rules: list[str] | None,
    attacks: list[str] | None,
    against: Path | None = None,
) -> Options:
    """Return the options of an audit."""
    from hgobench.audits import Options
    from hgobench.scenario import check_field
    from hgobench.settings import one_value_each, parse_names

    fields = one_value_each(settings, "settings")
    values = {field: check_field(field, value) for field, value in fields.items()}
    names = {
        field: tuple(
            dict.fromkeys(check_field(field, name) for name in parse_names(texts, f"{field}s"))
        )
        for field, texts in (("rule", rules), ("attack", attacks))
    }
    return Options(seeds, values, names["rule"], names["attack"], against)


def studied(
    study: Callable[[Work], Page],
    *,
    out: Path,
    jobs: int,
    quiet: bool,
    wide: bool,
    render: Callable[[Page], str] | None = None,
    engine: str = "local",
    address: str = "",
    progress: Watching = Watching.TEXT,
    told: dict[str, Any],
) -> Page:
    """Run an audit, print its page (as `render` has it), and write it to a file.

    `told` is given the folder, the pages so far, and how many cells have failed (`watched`).
    """
    from hgobench.audits import Work
    from hgobench.engines import opened
    from hgobench.report import files
    from hgobench.results import open_store
    from hgobench.session import Session

    started = time.monotonic()
    shown_as = shows(progress, quiet)
    told |= {"folder": str(out), "pages": told.get("pages", []), "failed": told.get("failed", 0)}
    try:
        with open_store(out) as store, opened(engine, address) as engine_:
            work = Work(
                Session(store, jobs=jobs, engine=engine_, progress=shown_as),
                lambda text: typer.echo(text, err=True),
                lambda text: say(text, quiet),
            )
            page = study(work)
    except KeyboardInterrupt as error:
        typer.echo(f"{str(error) or 'interrupted'}; the same command goes on", err=True)
        raise typer.Exit(128 + getattr(error, "number", signal.SIGINT)) from None
    except RuntimeError as error:
        typer.echo(f"{error}; the same command keeps what is done, and tries again", err=True)
        raise typer.Exit(1) from error
    typer.echo(render(page) if render else f"{shown(page, wide=wide, title=True)}\n")
    path = files.write(out / "pages", page)
    told["pages"].append(str(path))
    told["failed"] += len(work.failed)
    say(f"{time.monotonic() - started:.0f} s; page: {path}", quiet)
    if work.failed:
        typer.echo(f"{len(work.failed)} cells failed, and count as an accuracy of 0", err=True)
        raise typer.Exit(1)
    return page
