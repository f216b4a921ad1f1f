"""``hgobench devices``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from hgobench.cli.options import folder_option
from hgobench.errors import InputError

Number = TypeVar("Number", int, float)

devices = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Run a scenario on real devices, with Flower.",
)


@devices.command("new")
def devices_new(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="For the app; empty, or made if missing.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value sets a field of the scenario; repeatable."),
    ] = None,
    ruleset: Annotated[
        str, typer.Option(help="The name under which the result is kept.")
    ] = "real-1",
    out: Annotated[Path, folder_option("Where results go.")] = Path("hgobench-results/devices"),
) -> None:
    """Write an app for Flower that runs a scenario.

    A time unit is a second: a deadline of 30 is half a minute. The folder gets pyproject.toml and
    each device's examples (data/worker-0.npz and so on); a device needs only its own. Prints the
    commands that run it on one machine.
    """
    from hgobench.devices.folder import commands, new
    from hgobench.scenario import Scenario
    from hgobench.settings import one_value_each, parse_setting

    fields = one_value_each([parse_setting(text, "--set") for text in set_ or ()], "--set")
    scenario = Scenario(**{"hardware": "real", "workers": 4, "rounds": 10, **fields})
    if not ruleset or not ruleset.isprintable():
        raise InputError(f"--ruleset: {ruleset!r}; expected a name")
    group = out.resolve() / "attackers"
    for line in commands(folder, new(folder, scenario, ruleset, out, group)):
        typer.echo(line)


def numbers(option: str, text: str, kind: Callable[[str], Number]) -> list[Number]:
    """Return the numbers of an option, separated by commas."""
    try:
        return [kind(word) for word in text.split(",")]
    except ValueError:
        what = "whole numbers" if kind is int else "numbers"
        raise InputError(f"{option}: {text!r}; expected {what} separated by commas") from None
