"""How a verb that computes is watched: by people, or by programs (``--progress json``)."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hgobench.boundary import PluginError
from hgobench.cli.output import SPELLING
from hgobench.errors import InputError, respelled

if TYPE_CHECKING:
    from hgobench.engines.cells import Outcome


class Watching(StrEnum):
    """How progress is shown."""

    TEXT = "text"
    JSON = "json"


ProgressOption = Annotated[
    Watching,
    typer.Option(
        "--progress",
        help="How to show progress; json: one JSON object per line on standard error, for other "
        "programs (docs/results.md).",
    ),
]


def shows(watching: Watching, quiet: bool) -> bool | Literal["json"]:
    """Return what a session is told of its progress.

    Raises:
        InputError: it is both wanted and not.
    """
    if watching is Watching.TEXT:
        return not quiet
    if quiet:
        raise InputError("--progress: json, and --quiet; expected one of them")
    return "json"


def counts(
    folder: Path, outcome: Outcome, missing: int, seconds: float, unit: str = "cells"
) -> dict[str, Any]:
    """Return what the last line says of cells that were run.

    Args:
        folder: where their results are.
        outcome: how they went.
        missing: how many have no result, as the run ended early.
        seconds: that it took.
        unit: what `missing` counts: cells or rows.
    """
    return {
        "folder": str(folder),
        "computed": outcome.computed,
        "reused": outcome.reused,
        "failed": len(outcome.failed),
        "missing": missing,
        "unit": unit,
        "seconds": round(seconds, 3),
    }


@contextmanager
def watched(watching: Watching) -> Iterator[dict[str, Any]]:
    """Let a verb run in the body; of one that programs watch, the last line says how it ended.

    Yields:
        What the last line says besides: the verb fills it.

    Raises:
        typer.Exit: it did not end well, which is said.
    """
    told: dict[str, Any] = {}
    if watching is Watching.TEXT:
        yield told
        return
    from hgobench.report.objects import objects

    code, status, problems = 0, "done", list[str]()
    with objects() as out:
        try:
            yield told
        except typer.Exit as exit_:
            code = exit_.exit_code
            status = "interrupted" if code > 128 else "failed" if code else "done"
        except InputError as error:
            code, status = 2, "refused"
            problems = [respelled(problem, SPELLING) for problem in error.problems]
        except KeyboardInterrupt as error:
            code, status = 128 + getattr(error, "number", signal.SIGINT), "interrupted"
            problems = [str(error)] if str(error) else []
        except SystemExit as exit_:  # standard output can't be written
            code, status = int(exit_.code or 0), "failed"
        except (PluginError, OSError) as error:
            code, status, problems = 1, "failed", [str(error)]
        except Exception as error:
            traceback.print_exc()  # an object per line of it
            code, status, problems = 1, "failed", [f"{type(error).__name__}: {error}"]
        out.end()
        ended = {"event": "end", "status": status, "exit": code, "problems": problems, **told}
        out.emit(ended)
    if code:
        raise typer.Exit(code)
