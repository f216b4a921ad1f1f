"""What is asked of a picture, and what all kinds of pictures say in the same words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hgobench.leaderboard import order
from hgobench.report.page import Cell, Chart, Line, Table
from hgobench.statistics import FEWEST

from .axes import axis
from .cells import Cells, Division, Key, Point, divide

MOST = 7  # lines that are told apart by colour
FAINT = "other rows"


@dataclass(frozen=True)
class Asked:
    """What is asked of a picture besides its kind.

    Attributes:
        x, y: what is on its axes; empty: the kind's own.
        lines: the field whose values are the lines; empty: the rows.
        most: how many rows are told apart; None: as many as the kind shows.
    """

    x: str = ""
    y: str = ""
    lines: str = ""
    most: int | None = None


@dataclass(frozen=True)
class Series:
    """One line of a picture.

    Attributes:
        label: its name.
        points: panel and the value on the x axis (None without) to the point.
        named: whether it is told apart from others; else it is faint.
    """

    label: str
    points: Mapping[tuple[Key, Any], Point]
    named: bool


def divided(cells: Cells, asked: Asked, x: str = "") -> Division:
    """Return the points of a picture with lines.

    Args:
        cells: its cells.
        asked: says what its lines are.
        x: the field on the x axis; empty: none.
    """
    axes = [axis(x, cells.scores, "x")] if x else []
    axes += [axis(asked.lines, cells.scores, "lines")] if asked.lines else []
    return divide(cells, axes, by_rows=not asked.lines)


def series(division: Division, asked: Asked) -> list[Series]:
    """Return the lines of a picture: the best first, as far as lines have no order of their own.

    The best are those whose lowest value in the picture is the highest; lines that are missing in
    some places come after others, and rules that are told who is honest after all.
    """
    lines: dict[Any, dict[tuple[Key, Any], Point]] = {}
    for (panel, row, values), point in division.points.items():
        line, x = (values[-1], values[:-1]) if asked.lines else (row, values)
        lines.setdefault(line, {})[panel, x[0] if x else None] = point
    ends = {
        line: (
            any("honest" in score.needs for p in points.values() for score in p.cells.values()),
            -len(points),
            -min(point.outcomes.value for point in points.values()),
        )
        for line, points in lines.items()
    }
    last = division.axes[-1] if asked.lines else None
    if last is not None and last.numbers(division.cells.scores):
        names = sorted(lines, key=order)
    else:
        names = sorted(lines, key=lambda line: (*ends[line], str(line)))
    most = MOST if asked.most is None else asked.most
    return [
        Series(last.write(line) if last else division.rows[line], lines[line], place < most)
        for place, line in enumerate(names)
    ]


def left(lines: Sequence[Series]) -> list[str]:
    """Say how many lines are faint."""
    faint = sum(not line.named for line in lines)
    if not faint:
        return []
    told = f"{len(lines) - faint} of {len(lines)}"
    return [f"In colour: the {told} whose lowest accuracy at the end is the highest."]


def threat(division: Division, *, courses: bool = False) -> str:
    """Say which attacks the points are under.

    Args:
        division: the points.
        courses: whether runs are shown, each row under one attack, and not the worst case.
    """
    points = list(division.points.values())
    if any(one.name == "attack" for one in division.axes):
        return "under each attack"
    sets = {tuple(point.attacks) for point in points}
    names = sorted({attack for one in sets for attack in one} - {"none"})
    own = any(score.member for point in points[:1] for score in point.cells.values())
    if not names:
        return "without attack"
    if len(sets) == 1 and len(names) == 1:
        return f"under {names[0]}"
    which = f"{len(names)} attacks"
    if own:
        which = "the attacks that were chosen for it"
    elif len(sets) > 1:
        which = f"those of {len(names)} attacks that were run, which are not the same everywhere"
    if courses:
        return f"each row under the worst, at the end, of {which}"
    return f"the worst case over {which}: the lowest of their means"


def intervals(points: Sequence[Point]) -> list[str]:
    """Say what the intervals are, or why there are none."""
    some = [point.outcomes.seeds >= FEWEST for point in points]
    told = ["Whiskers: 95 % intervals, as on boards, set apart sideways."] if any(some) else []
    if not all(some):
        told.append(f"With fewer than {FEWEST} seeds there is no interval.")
    return told


def bounds(line: Line) -> tuple[Sequence[float | None], Sequence[float | None]]:
    """Return the ends of a line's band or whiskers as they are drawn; None: there are none."""
    nothing = [None] * len(line.x)
    return line.low or nothing, line.high or nothing


def counts(points: Iterable[Point]) -> str:
    """Say how many seeds means are over."""
    seeds = sorted({point.outcomes.seeds for point in points})
    if seeds == [1]:
        return "one seed"
    return f"mean over {seeds[0]}{f' to {seeds[-1]}' * (len(seeds) > 1)} seeds"


def accuracy(division: Division) -> str:
    """Return what the accuracy is called."""
    return f"{division.cells.split.capitalize()} accuracy"


def chart(
    name: str,
    panels: Sequence[Chart],
    division: Division,
    header: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    told: Iterable[str],
) -> Chart:
    """Return a picture of panels, with its data and its caption.

    Args:
        name: of its files.
        panels: one or more, in order.
        division: what it was made of.
        header, rows: its data.
        told: sentences of its caption.
    """
    points = list(division.points.values())
    scores = [score for point in points for score in point.cells.values()]
    sentences = list(told)
    if ended := sum(score.status != "done" for score in scores):
        sentences.append(f"{ended} of {len(scores)} runs diverged or failed; each counts as 0.")
    if any("honest" in score.needs for score in scores):
        sentences.append("The oracle is told who is honest.")
    if division.left_out:
        sentences.append(f"Left out: {'; '.join(division.left_out)}.")
    ruleset = [f"ruleset {division.cells.ruleset}"] * bool(division.cells.ruleset)
    sentences.append(f"All cells: {', '.join([*division.common, *ruleset])}.")
    data = Table(name, "", header, rows)
    first = panels[0]
    if len(panels) == 1:
        return replace(first, name=name, title="", data=data, caption=" ".join(sentences))
    return Chart(name, "", first.x, first.y, panels=panels, data=data, caption=" ".join(sentences))
