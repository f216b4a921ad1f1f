"""Progress of a long computation: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import ProgressColumn as Column
from rich.text import Text

SECONDS_BETWEEN_LINES = 5.0


class _Rate(Column):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0.0:.1f} cells/s")


@contextmanager
def progress(total: int, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Show how many of `total` cells are done, the rate, and the time left, on standard error.

    Yields:
        A function to call with the number of cells just finished.
    """
    if quiet or total == 0:
        yield lambda finished: None
    elif sys.stderr.isatty():
        bar = Progress(
            TextColumn("cells"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=Console(file=getattr(sys.stderr, "raw", sys.stderr)),
            speed_estimate_period=20.0,
        )
        with bar:
            task = bar.add_task("", total=total)
            yield lambda finished: bar.advance(task, finished)
    else:
        yield _lines(total)


def _lines(total: int) -> Callable[[int], None]:
    started = time.monotonic()
    state = {"done": 0, "said": started}

    def advance(finished: int) -> None:
        state["done"] += finished
        now = time.monotonic()
        if now - state["said"] < SECONDS_BETWEEN_LINES and state["done"] < total:
            return
        state["said"] = now
        rate = state["done"] / max(now - started, 1e-9)
        left = (total - state["done"]) / rate
        done = int(state["done"])
        print(f"cells {done}/{total}, {rate:.1f} cells/s, {left:.0f} s left", file=sys.stderr)

    return advance
