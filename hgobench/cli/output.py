"""Output of the verbs: tables as wide as the terminal, and lines on standard error."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import typer

from hgobench.cli.options import Form, Split
from hgobench.report import screen
from hgobench.report.writers import Layout

if TYPE_CHECKING:
    from hgobench.leaderboard import Board
    from hgobench.report.page import Page
    from hgobench.report.render import Format


# What verbs call the arguments of the functions that they call.
SPELLING = {
    "settings": "--set",
    "rules": "--rule",
    "attacks": "--attack",
    "form": "--format",
    "suites": "--suite",
    **{name: f"--{name}" for name in ("address", "budget", "out", "seeds", "split", "target")},
}


def as_json(data: Any) -> str:
    """Return data as JSON text; NaN is refused."""
    return json.dumps(data, indent=1, allow_nan=False)


def rendered_boards(
    ruleset: str,
    boards: Sequence[Board],
    form: Form,
    split: Split,
    wide: bool = False,
    columns: Sequence[str] = (),
) -> str:
    """Return boards in a format, with columns on demand."""
    from hgobench.report.boards import render

    return render(
        ruleset,
        boards,
        form.value,
        split=split.value,
        width=screen.width(wide),
        columns=columns,
    )


def shown(page: Page, form: str = "table", wide: bool = False, *, title: bool = False) -> str:
    """Return a page in a format, by default for a terminal and without its title."""
    from hgobench.report.render import render

    return render(page, cast("Format", form), layout_for(wide), title=title)


def layout_for(wide: bool = False, keep: int | None = None) -> Layout:
    """Return the layout of tables: as wide as the terminal; with `wide`, as wide as needed."""
    return Layout(screen.width(wide), keep)


def say(text: str, quiet: bool) -> None:
    """Write a line to standard error, unless `quiet`."""
    if not quiet:
        typer.echo(text, err=True)
