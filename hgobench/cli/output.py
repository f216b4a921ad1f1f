"""How verbs speak: tables as wide as the terminal, and lines on standard error."""

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
    **{name: f"--{name}" for name in ("address", "budget", "out", "seeds", "split", "target")},
}


def as_json(data: Any) -> str:
    """Return data as JSON text; NaN is refused."""
    return json.dumps(data, indent=1, allow_nan=False)


def rendered_boards(
    ruleset: str, made: Sequence[Board], form: Form, split: Split, wide: bool = False
) -> str:
    """Return boards in the form that was asked for."""
    from hgobench.report.boards import render

    return render(ruleset, made, form.value, split=split.value, width=screen.width(wide))


def shown(page: Page, form: str = "table", wide: bool = False, *, title: bool = False) -> str:
    """Return a page in the form that was asked for: by default for a terminal, without title."""
    from hgobench.report.render import render

    return render(page, cast("Format", form), layout_for(wide), title=title)


def layout_for(wide: bool = False, keep: int | None = None) -> Layout:
    """Return how tables are laid out: as wide as the terminal, or as wide as they are."""
    return Layout(screen.width(wide), keep)


def say(text: str, quiet: bool) -> None:
    """Write a line to standard error, unless `quiet`."""
    if not quiet:
        typer.echo(text, err=True)
