"""Pictures of runs: what happens over their rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from hgobench.errors import InputError
from hgobench.report.page import Cell, Chart, Line
from hgobench.results import Result
from hgobench.statistics import Floats

from .asked import FAINT, Asked, Series, bounds, chart, counts, divided, left, series, threat
from .cells import Cells, Division, Key

OVER = {
    "round": "round",
    "time": "time units",
    "coordinates": "coordinates computed",
    "bytes": "bytes sent, up and down",
}
COLUMNS = {
    "accuracy": "accuracy",
    "loss": "test loss",
    "block_size": "block size",
    "heard": "answers",
    "byzantine_heard": "Byzantine answers",
    "attack_success": "attack success",
}


@dataclass(frozen=True)
class Course:
    """What runs that differ in the seed did, after the same rounds.

    Attributes:
        x: (K,) what they had taken until then, the mean.
        values: (seeds, K).
        short: whether some ended well before others did.
    """

    x: Floats
    values: Floats
    short: bool

    @classmethod
    def of(cls, results: Sequence[Result], x: str, y: str, split: str) -> Course:
        """Return what runs of one row under one attack did.

        A run that diverged or failed has an accuracy of 0 from then on, and no other number. Lines
        end with the first run that ended well.

        >>> from hgobench import Scenario, run
        >>> runs = [run(Scenario(workers=20, rounds=4, seed=seed)) for seed in (0, 1)]
        >>> Course.of(runs, "bytes", "heard", "test").values.tolist()
        [[20.0, 20.0, 20.0, 20.0], [20.0, 20.0, 20.0, 20.0]]
        """
        lengths = [len(result.rounds["round"]) for result in results]
        well = [n for n, result in zip(lengths, results, strict=True) if result.status == "done"]
        last = min(well) if well else max(lengths)
        column = {"accuracy": f"{split}_accuracy", "loss": "test_loss"}.get(y, y)
        values, taken = np.full((2, len(results), last), np.nan)
        for i, (result, length) in enumerate(zip(results, lengths, strict=True)):
            values[i, :length] = result.rounds[column][:last]
            taken[i, :length] = _taken(result, x)[:last]
            if result.status != "done":
                values[i, length - 1 :] = 0.0 if y == "accuracy" else np.nan
        known = np.isfinite(values).all(axis=0)
        reached = [i for i, length in enumerate(lengths) if length >= last]
        return cls(taken[reached][:, known].mean(axis=0), values[:, known], len(set(well)) > 1)

    def line(self, line: Series) -> Line:
        """Return the mean, and a band from the least to the largest."""
        x, mean = self.x.tolist(), self.values.mean(axis=0).tolist()
        if not line.named:
            return Line(line.label, x, mean, style="faint", group=FAINT)
        if len(self.values) == 1:
            return Line(line.label, x, mean)
        low, high = self.values.min(axis=0), self.values.max(axis=0)
        return Line(line.label, x, mean, low.tolist(), high.tolist())


def _taken(result: Result, x: str) -> list[float]:
    """Return what a run had taken by the end of each round."""
    rounds = result.rounds
    if x in ("round", "time"):
        return [float(value) for value in rounds[x]]
    if x == "coordinates":
        return [float(value) for value in accumulate(rounds["coordinates"])]
    sent = zip(rounds["bytes_up"], rounds["bytes_down"], strict=True)
    return [float(value) for value in accumulate(up + down for up, down in sent)]


def curves(cells: Cells, asked: Asked) -> Chart:
    """Draw a column of the table of rounds, over rounds or what they took; see `hgobench.plot`."""
    x, y = asked.x or "round", asked.y or "accuracy"
    division = divided(cells, asked)
    lines = series(division, asked)
    courses = _courses(cells, lines, x, [y])
    if not any(course.values.size for course in courses[y].values()):
        raise InputError(f"plot: {y}: no number is finite; the runs diverged or failed at once")
    header = ["panel", "line", "attack", x, y, "low", "high", "seeds"]
    rows: list[Sequence[Cell]] = []
    panels = []
    for key, title in division.panels.items():
        shown: list[Line] = []
        for line, course, attack in _of_panel(lines, courses[y], key):
            drawn = course.line(line)
            shown.append(drawn)
            rows += [
                [title, line.label, attack, *numbers, len(course.values)]
                for numbers in zip(drawn.x, drawn.y, *bounds(drawn), strict=True)
            ]
        panels.append(Chart("", title, OVER[x], COLUMNS[y], shown))
    what = f"{cells.split.capitalize()} accuracy" if y == "accuracy" else _capital(COLUMNS[y])
    told = [f"{what}: {_how(division, lines, courses[y])}", *left(lines)]
    return chart("curves" + f"-{y}" * (y != "accuracy") + f"-{x}" * (x != "round"), panels,
                 division, header, rows, told)  # fmt: skip


def blocks(cells: Cells, asked: Asked) -> Chart:
    """Draw the block's size and, below it, how many answered; see `hgobench.plot`."""
    x = asked.x or "round"
    division = divided(cells, asked)
    lines = series(division, asked)
    both = _courses(cells, lines, x, ["block_size", "heard"])
    if not any(course.values.size for course in both["block_size"].values()):
        raise InputError("plot: block_size: no number is finite; the runs failed at once")
    header = ["panel", "line", "attack", x, *(f"{name}{end}" for name in ("block_size", "heard")
              for end in ("", "_low", "_high")), "seeds"]  # fmt: skip
    rows: list[Sequence[Cell]] = []
    panels = []
    for key, title in division.panels.items():
        above: list[Line] = []
        below: list[Line] = []
        for line, size, attack in _of_panel(lines, both["block_size"], key):
            upper, lower = size.line(line), both["heard"][line.label, key].line(line)
            above.append(upper)
            below.append(lower)
            columns = [upper.x, upper.y, *bounds(upper), lower.y, *bounds(lower)]
            rows += [
                [title, line.label, attack, *numbers, len(size.values)]
                for numbers in zip(*columns, strict=True)
            ]
        answers = Chart("", "", OVER[x], "answers", below)
        panels.append(Chart("", title, OVER[x], "block size", above, below=answers))
    how = _how(division, lines, both["block_size"])
    told = [f"Coordinates that a round updates, and workers heard: {how}", *left(lines)]
    return chart("blocks" + f"-{x}" * (x != "round"), panels, division, header, rows, told)


Courses = Mapping[tuple[str, Key], Course]  # by the line's label, and the panel


def _courses(
    cells: Cells, lines: Sequence[Series], x: str, columns: Sequence[str]
) -> dict[str, Courses]:
    """Return what the runs of each line in each panel did, under its worst attack, by column."""
    if cells.results is None:
        raise InputError(
            "plot: a board does not hold what happened in rounds; draw from its results: "
            "outcome.plot(..), or hgobench.plot(FOLDER, ..)"
        )
    wanted = {
        (line.label, panel): point.under_worst
        for line in lines
        for (panel, _), point in line.points.items()
    }
    every = {one.scenario: one for scores in wanted.values() for one in scores}
    results = {result.scenario: result for result in cells.results(list(every.values()))}
    return {
        y: {
            place: Course.of([results[one.scenario] for one in scores], x, y, cells.split)
            for place, scores in wanted.items()
        }
        for y in columns
    }


def _of_panel(
    lines: Sequence[Series], courses: Courses, panel: Key
) -> Iterator[tuple[Series, Course, str]]:
    """Yield the lines of a panel that have numbers, with these and the attack."""
    for line in lines:
        point = line.points.get((panel, None))
        if point is not None and courses[line.label, panel].values.size:
            attack = next(score.attack for score in point.under_worst)
            yield line, courses[line.label, panel], attack


def _how(division: Division, lines: Sequence[Series], courses: Courses) -> str:
    """Say what lines and bands are."""
    points = list(division.points.values())
    told = [f"{counts(points)}, {threat(division, courses=True)}."]
    if any(len(course.values) > 1 for course in courses.values()):
        told.append("Bands: from the least to the largest seed.")
    if any(course.short for course in courses.values()):
        told.append("Lines end with the first run whose budget is spent.")
    return " ".join(told)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
