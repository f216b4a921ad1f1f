"""Who pays: measures of the end of runs, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from hgobench.columns import measured
from hgobench.leaderboard import Score

from .page import Cell, Shown, Table

MEASURES = {
    "device_accuracy": "accuracy for devices",
    "worst_worker": "accuracy for the worst worker",
    "used": "how far values are followed",
    "used_by_labels": "how far values are followed, by labels",
    "size_accuracy": "accuracy by examples held",
    "used_by_size": "how far values are followed, by examples held",
    "weight": "part in updates",
    "caught": "attackers left out",
    "dropped": "honest workers left out",
    "energy": "joules",
}


def who_pays(runs: Mapping[str, Sequence[Score]], title: str) -> Table | None:
    """Return the means over seeds of what metrics say, a line per measure and group.

    Args:
        runs: cells that differ in their seed, by the header of their column.
        title: of the table.

    Returns:
        None: nothing was measured, as an older hgobench computed these cells.
    """
    every = [score for scores in runs.values() for score in scores]
    names = dict.fromkeys(name for score in every for name in score.measures)
    lines: list[Sequence[Cell]] = []
    for name in names:
        measure, _, group = name.partition("/")
        if measure in MEASURES:
            values = [_mean(name, scores) for scores in runs.values()]
            lines.append([MEASURES[measure], group, *values])
    if not lines:
        return None
    numbers = range(2, 2 + len(runs))
    return Table("pays", title, ["measure", "of", *runs], lines, numbers)


def _mean(name: str, scores: Sequence[Score]) -> Shown:
    known = [value for score in scores if (value := measured(name, score)) is not None]
    value = fmean(known) if known and len(known) == len(scores) else None
    return Shown("-" if value is None else f"{value:.3g}", value)
