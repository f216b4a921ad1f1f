"""Pictures of how runs end: over a field, as a heat map, and against what they cost."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any, Literal

from hgobench.errors import InputError
from hgobench.leaderboard import order
from hgobench.report.page import Cell, Chart, Heat, Line
from hgobench.statistics import FEWEST

from .asked import (
    FAINT,
    Asked,
    Series,
    accuracy,
    bounds,
    chart,
    counts,
    divided,
    intervals,
    left,
    series,
    threat,
)
from .axes import axis, drawable, ordered
from .cells import Cells, Key, Point, divide

ROWS = 30  # of a heat map
WIDE = 20.0  # how many times the smallest value the largest is, on an axis that is logarithmic
COSTS = {
    "bytes": "bytes sent, up and down",
    "coordinates": "coordinates computed",
    "time": "time units",
}


def sweep(cells: Cells, asked: Asked) -> Chart:
    """Draw accuracy over a field of the grid; see `hgobench.plot`."""
    if not asked.x:
        raise InputError(
            "plot: `x`: expected the field that accuracy is drawn over, as f, f/n, tau or alpha"
        )
    over = axis(asked.x, cells.scores, "x")
    if not over.numbers(cells.scores):
        raise InputError(
            f"plot: `x`: {asked.x}: its values are names; draw a heat map, kind heat, with this `x`"
        )
    division = divided(cells, asked, asked.x)
    values = [value for value in division.values(0) if drawable(value)]
    if len(values) < 2:
        listed = ", ".join(f"{value:g}" for value in division.values(0))
        raise InputError(
            f"plot: `x`: {asked.x}: expected two finite values or more; these cells have {listed}"
        )
    lines = series(division, asked)
    header = ["panel", "line", over.name, "accuracy", "low", "high", "seeds", "attack"]
    rows: list[Sequence[Cell]] = []
    panels = []
    log = "x" if min(values) > 0 and max(values) / min(values) >= WIDE else ""
    for key, title in division.panels.items():
        shown = []
        for line in lines:
            points = [(x, line.points[key, x]) for x in values if (key, x) in line.points]
            if not points:
                continue
            drawn = _line(line, points)
            shown.append(drawn)
            columns = zip(drawn.x, drawn.y, *bounds(drawn), points, strict=True)
            rows += [
                [title, line.label, *numbers, point.outcomes.seeds, _attack(point)]
                for *numbers, (_, point) in columns
            ]
        panels.append(Chart("", title, over.label, "accuracy", shown, "x" if log else ""))
    every = list(division.points.values())
    told = [
        f"{accuracy(division)} at the end: {counts(every)}, {threat(division)}.",
        *intervals(every), *left(lines),
    ]  # fmt: skip
    if left_out := [value for value in division.values(0) if not drawable(value)]:
        told.append(f"Not drawn: {over.short}={', '.join(map(str, left_out))}.")
    return chart(f"sweep-{_file(over.name)}", panels, division, header, rows, told)


def _attack(point: Point) -> str:
    """Return the attack that is the worst of a point, as boards call it."""
    return point.under_worst[0].attack


def _line(line: Series, points: Sequence[tuple[float, Point]]) -> Line:
    """Return a line through points, with whiskers if all of them have intervals."""
    x, y = [x for x, _ in points], [point.worst.mean for _, point in points]
    if not line.named:
        return Line(line.label, x, y, style="faint", group=FAINT)
    if any(point.outcomes.seeds < FEWEST for _, point in points):
        return Line(line.label, x, y, style="whiskers")
    low, high = ([getattr(p.worst, end) for _, p in points] for end in ("low", "high"))
    return Line(line.label, x, y, low, high, "whiskers")


def cost(cells: Cells, asked: Asked) -> Chart:
    """Draw the worst case of rows against what their runs took; see `hgobench.plot`."""
    x = asked.x or "bytes"
    division = divided(cells, asked)
    lines = series(division, asked)
    taken = {id(point): _taken(point, x) for point in division.points.values()}
    least, largest = min(taken.values()), max(taken.values())
    log: Literal["", "x"] = "x" if least > 0 and largest / least >= WIDE else ""
    header = ["panel", "line", x, "accuracy", "low", "high", "seeds", "attack"]
    rows: list[Sequence[Cell]] = []
    panels = []
    for key, title in division.panels.items():
        shown: list[Line] = []
        for line in lines:
            point = line.points.get((key, None))
            if point is None:
                continue
            drawn = _line(line, [(taken[id(point)], point)])
            drawn = drawn if drawn.style == "faint" else replace(drawn, style="points")
            shown.append(drawn)
            ((at, mean, low, high),) = zip(drawn.x, drawn.y, *bounds(drawn), strict=True)
            about = point.outcomes.seeds, _attack(point)
            rows.append([title, line.label, at, mean, low, high, *about])
        panels.append(Chart("", title, COSTS[x], "accuracy", shown, log))
    every = list(division.points.values())
    told = [
        f"{accuracy(division)} at the end: {counts(every)}, {threat(division)}.",
        f"{COSTS[x].capitalize()} in a whole run: the mean over the same runs.",
        *intervals(every),
        *left(lines),
    ]
    return chart(f"cost-{x}", panels, division, header, rows, told)


def _taken(point: Point, x: str) -> float:
    """Return what the runs of a point took, under its worst attack: the mean."""
    spent = [score.spent for score in point.under_worst if score.spent is not None]
    if not spent:
        raise InputError(f"plot: cost: `x`: {x}: these scores don't say what their runs took")
    if x == "bytes":
        return fmean(one.bytes_up + one.bytes_down for one in spent)
    return fmean(getattr(one, x) for one in spent)


def heat(cells: Cells, asked: Asked) -> Chart:
    """Draw accuracy as a heat map of rows and attacks, or of two fields; see `hgobench.plot`."""
    x = asked.x or "attack"
    axes = [axis(x, cells.scores, "x")]
    if asked.y:
        axes.append(axis(asked.y, cells.scores, "y"))
    division = divide(cells, axes, by_rows=not asked.y)
    table = {
        (panel, values[1] if asked.y else row, values[0]): point
        for (panel, row, values), point in division.points.items()
    }
    by_attack = axes[0].name == "attack"
    columns = _columns(division.values(0), by_attack)
    means = {place: point.outcomes.value for place, point in table.items()}
    told_all = {
        row
        for (_, row, _), point in division.points.items()
        if any("honest" in score.needs for score in point.cells.values())
    }
    names = ordered(row for _, row, _ in table) if asked.y else _by_worst(means, told_all)
    if len(columns) == 1 and len(names) == 1:
        raise InputError(f"plot: heat: one cell; expected several values of {x} or several rows")
    most = ROWS if asked.most is None else asked.most
    kept = names if asked.y else names[:most]
    columns = [one for one in columns if any(x == one and row in kept for _, row, x in table)]
    told = []
    if len(kept) < len(names):
        told.append(f"Of {len(names)} rows, the {most} whose lowest accuracy here is the highest.")
    header = ["panel", "row", axes[0].name, "accuracy", "seeds", "attack"]
    rows: list[Sequence[Cell]] = []
    panels = []
    for key, title in division.panels.items():
        here = [name for name in kept if any(place[:2] == (key, name) for place in table)]
        labels = [axes[1].write(name) if asked.y else division.rows[name] for name in here]
        values = [[means.get((key, name, column), math.nan) for column in columns] for name in here]
        for label, name in zip(labels, here, strict=True):
            for column in columns:
                if point := table.get((key, name, column)):
                    mean = point.outcomes.value
                    about = point.outcomes.seeds, _attack(point)
                    rows.append([title, label, column, mean, *about])
        scale = Heat([_column(v) for v in columns], labels, values, label="accuracy")
        y = axes[1].label if asked.y else ""
        panels.append(Chart("", title, axes[0].label, y, heat=scale))
    every = list(division.points.values())
    blank = any(
        not math.isfinite(v) for p in panels if p.heat for row in p.heat.values for v in row
    )
    told = [f"{accuracy(division)} at the end: {counts(every)}, {threat(division)}.", *told]
    told += ["Blank: not run, or not reported."] if blank else []
    name = f"heat-{_file(axes[0].name)}" + (f"-{_file(axes[1].name)}" if asked.y else "")
    return chart(name, panels, division, header, rows, told)


def _columns(values: Sequence[Any], by_attack: bool) -> list[Any]:
    """Return the columns of a heat map, in order; without attack is the first."""
    if not by_attack:
        return list(values)
    return sorted(values, key=lambda value: (value != "none", order(value)))


def _column(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _by_worst(means: Mapping[tuple[Key, Key, object], float], last: Collection[Key]) -> list[Key]:
    """Return rows: those without gaps first, of these the one whose lowest value is the highest.

    Args:
        means: the values, by panel, row and column.
        last: rows that come after all others.
    """
    values: dict[Key, list[float]] = {}
    for (_, row, _), mean in means.items():
        values.setdefault(row, []).append(mean)
    return sorted(
        values,
        key=lambda row: (row in last, -len(values[row]), -min(values[row]), list(map(order, row))),
    )


def _file(name: str) -> str:
    """Return an axis' name as part of a file's."""
    return name.replace("/", "-over-").replace(".", "-")
