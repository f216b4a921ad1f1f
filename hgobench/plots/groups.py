"""Pictures of who pays: measures of a run's end by class of device, by class, by rarity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hgobench.columns import by_group, groups
from hgobench.errors import InputError
from hgobench.leaderboard import Score
from hgobench.report.page import Cell, Chart, Line
from hgobench.statistics import FEWEST, interval

from .asked import (
    FAINT,
    Asked,
    Series,
    bounds,
    chart,
    counts,
    divided,
    intervals,
    left,
    series,
    threat,
)
from .cells import Cells

MEASURES = {
    "used": "values used (average: 1)",
    "weight": "part in updates (average: 1)",
    "device_accuracy": "accuracy",
    "energy": "joules of a device",
    "used_by_labels": "values used (average: 1)",
    "class_accuracy": "accuracy",
    "size_accuracy": "accuracy",
    "used_by_size": "values used (average: 1)",
}
_GROUPS = {
    "used_by_labels": "labels",
    "class_accuracy": "class",
    "size_accuracy": "size",
    "used_by_size": "size",
}


def devices(cells: Cells, asked: Asked) -> Chart:
    """Draw a measure over the groups that it is measured for; see `hgobench.plot`."""
    y = asked.y or "used"
    over = _GROUPS.get(y, "class of device")
    division = divided(cells, asked)
    lines = series(division, asked)
    ticks = _merged([list(groups(y, point.under_worst)) for point in division.points.values()])
    if not ticks:
        raise InputError(
            f"plot: devices: `y`: {y}: no run measured it; it needs results with metrics="
            + ("sizes" if _GROUPS.get(y) == "size" else "standard")
            + " of this version"
            + (", of a fleet that says watts" if y == "energy" else "")
        )
    header = ["panel", "line", over, y, "low", "high", "seeds", "attack"]
    rows: list[Sequence[Cell]] = []
    panels = []
    for key, title in division.panels.items():
        shown = []
        for line in lines:
            point = line.points.get((key, None))
            told = {} if point is None else groups(y, point.under_worst)
            if point is None or not told:
                continue
            drawn = _line(line, ticks, list(told), y, point.under_worst)
            shown.append(drawn)
            rows += [
                [title, line.label, group, *numbers[1:], point.outcomes.seeds,
                 point.under_worst[0].attack]
                for group, numbers in zip(
                    told, zip(drawn.x, drawn.y, *bounds(drawn), strict=True), strict=True
                )
            ]  # fmt: skip
        panels.append(Chart("", title, over, MEASURES[y], shown, ticks=ticks))
    every = list(division.points.values())
    about = {
        "used": "How far the rule's last answer follows what honest workers sent, by class of "
        "device",
        "weight": "Honest workers' part in the last update, by class of device",
        "device_accuracy": "Accuracy on test examples with the mix of labels that honest workers "
        "hold, by class of device",
        "energy": "Joules that an honest worker spends in a run, by class of device",
        "used_by_labels": "How far the rule's last answer follows what honest workers sent, by how "
        "rare their labels are",
        "class_accuracy": "Accuracy on the test examples of each class",
        "used_by_size": "How far the rule's last answer follows what honest workers sent, by "
        "thirds by how many examples they hold",
        "size_accuracy": "Accuracy on test examples with the mix of labels that honest workers "
        "hold, by thirds by how many examples they hold",
    }[y]
    said = [
        f"{about}: {counts(every)}, {threat(division, courses=True)}.",
        *intervals(every),
        *left(lines),
    ]
    lacking = {
        group: None
        for point in every
        for group, known in by_group(y, point.under_worst).items()
        if len(known) < len(point.under_worst)
    }
    if lacking:
        said.append(f"Not drawn where some seeds did not measure it: {', '.join(lacking)}.")
    return chart(f"devices-{y.replace('_', '-')}", panels, division, header, rows, said)


def _merged(lists: Sequence[Sequence[str]]) -> list[str]:
    """Return all groups in their order, slow devices first; some lines lack some of them."""
    merged: list[str] = []
    for one in sorted(lists, key=len, reverse=True):
        at = 0
        for group in one:
            if group in merged:
                at = merged.index(group) + 1
            else:
                merged.insert(at, group)
                at += 1
    return merged


def _line(
    line: Series, ticks: Sequence[str], measured: Sequence[str], y: str, scores: Sequence[Score]
) -> Line:
    """Return a line through the groups, with whiskers if there are seeds enough."""
    known = by_group(y, scores)
    values = np.array([known[group] for group in measured]).T
    x, means = [float(ticks.index(group)) for group in measured], values.mean(axis=0).tolist()
    if not line.named:
        return Line(line.label, x, means, style="faint", group=FAINT)
    if len(scores) < FEWEST:
        return Line(line.label, x, means, style="whiskers")
    low, high = interval(values)
    return Line(line.label, x, means, low.tolist(), high.tolist(), "whiskers")
