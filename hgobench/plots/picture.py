"""Pictures: what is drawn, its data and its caption, in files and as matplotlib's figures."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hgobench.arguments import check_arguments, fields, instance, optional
from hgobench.errors import InputError, unknown
from hgobench.leaderboard import Board, Boards, Split
from hgobench.report import charts
from hgobench.report.page import Chart, Page, Table
from hgobench.report.render import table_csv
from hgobench.results import Result, Store
from hgobench.results.choice import as_choices
from hgobench.results.tables import Kind as ColumnKind
from hgobench.results.tables import frame
from hgobench.scenario import integer, word
from hgobench.writing import whole

from .asked import Asked
from .cells import Cells
from .curves import COLUMNS, OVER, blocks, curves
from .final import COSTS, cost, heat, sweep
from .groups import MEASURES, devices
from .ranks import ranks

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from hgobench.report.charts import Width

FORMATS = ("png", "svg", "pdf")
WIDTHS = ("column", "page")
DPI = 300


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    Attributes:
        draws: makes the chart.
        x, y: what can be on its axes; None: any field; empty: there is no choice.
        lines: whether its lines can be the values of a field.
    """

    draws: Callable[[Cells, Asked], Chart]
    x: Collection[str] | None = ()
    y: Collection[str] | None = ()
    lines: bool = False


KINDS: Mapping[str, Kind] = {
    "curves": Kind(curves, tuple(OVER), tuple(COLUMNS), lines=True),
    "sweep": Kind(sweep, None, lines=True),
    "heat": Kind(heat, None, None),
    "cost": Kind(cost, tuple(COSTS), lines=True),
    "ranks": Kind(ranks),
    "blocks": Kind(blocks, tuple(OVER), lines=True),
    "devices": Kind(devices, (), tuple(MEASURES), lines=True),
}


@dataclass(frozen=True, repr=False)
class Picture:
    """A picture of results: what is drawn, with its data and its caption.

    A notebook shows it. `figure` is matplotlib's, made once: what is changed in it is in the files
    that `save` writes.

    Attributes:
        chart: what is drawn.
        width: of a paper, ``"column"`` or ``"page"``.
        captioned: whether the caption is in the picture.
        notes: what a reader must know of the data and the processors.

    Example:
        >>> from hgobench import Scenario, run
        >>> drawn = run(Scenario(workers=20, rounds=5)).plot("curves", y="heard")
        >>> drawn.data.header[3:5], len(drawn.data.rows), drawn.figure.axes[0].get_xlabel()
        (['round', 'heard'], 5, 'round')
    """

    chart: Chart
    width: Width = "column"
    captioned: bool = True
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The name of its files."""
        return self.chart.name

    @property
    def caption(self) -> str:
        """What it shows, of which cells, and what is averaged or left out."""
        return self.chart.caption

    @property
    def data(self) -> Table:
        """The numbers that are drawn."""
        assert self.chart.data is not None
        return self.chart.data

    @cached_property
    def figure(self) -> Figure:
        """The figure, to be changed further."""
        made: Figure = charts.draw(self.chart, self.width, caption=self.captioned)
        return made

    @property
    def page(self) -> Page:
        """The picture as a page, for every format."""
        return Page(self.name, self.name, [self.chart])

    def to_frame(self) -> pandas.DataFrame:
        """Return the numbers that are drawn as a pandas data frame.

        Raises:
            InputError: pandas is not installed.
        """
        columns = zip(self.data.header, zip(*self.data.rows, strict=True), strict=True)
        kinds: dict[str, ColumnKind] = {
            name: "text" if any(isinstance(v, str) for v in values) else "number"
            for name, values in columns
        }
        return frame(kinds, [list(row) for row in self.data.rows])

    def save(self, *paths: str | Path) -> dict[Path, int]:
        """Write the picture, and its data as CSV beside it under the same name.

        Args:
            paths: files that end in .png, .svg or .pdf; existing ones are replaced.

        Returns:
            The files, and how many bytes each has.

        Raises:
            InputError: a file ends otherwise.
        """
        files = [Path(path) for path in paths]
        for path in files:
            check_picture(path)
        written: dict[Path, int] = {}
        for folder in dict.fromkeys(path.parent for path in files):
            here = [path for path in files if path.parent == folder]
            with whole(folder) as unfinished:
                for path in here:
                    charts.save_figure(self.figure, unfinished / path.name, DPI)
                    data = table_csv(self.data)
                    (unfinished / path.name).with_suffix(".csv").write_text(data, encoding="utf-8")
            for path in here:
                written[path] = path.stat().st_size
            for path in dict.fromkeys(path.with_suffix(".csv") for path in here):
                written[path] = path.stat().st_size
        return written

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.figure.savefig(stream, format="png", dpi=DPI / 2)
        return stream.getvalue()

    def __repr__(self) -> str:
        return f"<{self.name}, {len(self.data.rows)} points: {self.caption}>"


def check_picture(path: Path) -> None:
    """Raise InputError unless the file's ending is one of `FORMATS`."""
    if path.suffix[1:].lower() not in FORMATS:
        raise InputError(f"out: {str(path)!r}; expected a file .{', .'.join(FORMATS)}")


def plot(
    results: str | Path | Store | Result | Collection[Result] | Collection[Board] | Cells,
    kind: str,
    *,
    x: str = "",
    y: str = "",
    lines: str = "",
    where: Mapping[str, Any] | None = None,
    most: int | None = None,
    split: Split = "test",
    width: Width = "column",
    caption: bool = True,
) -> Picture:
    """Draw results.

    =========== ===============================================================================
    kind        what is drawn
    =========== ===============================================================================
    ``curves``  `y` (accuracy, loss, block_size, heard, byzantine_heard, attack_success) over `x`
                (round, time, coordinates, bytes): the mean over seeds, each row under its worst
                attack; the band goes from the least to the largest seed
    ``sweep``   the worst case over `x`, any field or parameter with numbers, or one field over
                another: ``f``, ``tau``, ``alpha``, ``partition.alpha``, ``f/n``
    ``heat``    the mean accuracy of each row under each attack; with `x` and `y` the worst case by
                any two fields
    ``cost``    the worst case against what a run takes: `x` is bytes, coordinates or time
    ``ranks``   the places that the rows of each board may have
    ``blocks``  coordinates updated and workers heard over `x`, as in ``curves``
    ``devices`` what the last round and the model are for each class of device: `y` is used,
                weight, device_accuracy or energy; or by labels, used_by_labels and
                class_accuracy; or by size, used_by_size and size_accuracy
    =========== ===============================================================================

    Nothing is averaged but seeds: cells that differ in the setting are in different panels, cells
    that differ in the defence in different rows. Intervals, worst cases and ranks are those of
    boards.

    Args:
        results: a folder of results, an open store, boards, or one result or several; suites'
            outcomes have a `plot` of their own.
        kind: what is drawn.
        x, y: what is on the axes; empty: round and accuracy, attacks and rows, bytes.
        lines: the field whose values are the lines: ``"attack"``; empty: the rows.
        where: which cells: field to a value, or to a list of some; ``ruleset`` too.
        most: how many rows are told apart; the others are grey, or left out of heat maps and
            ranks. None: 7; 30 in heat maps, 40 in ranks.
        split: the examples that accuracies are on.
        width: a ``"column"`` or a ``"page"`` of a paper.
        caption: whether the caption is in the picture.

    Raises:
        InputError: an argument is wrong, or these results can't be drawn so; with the way out.

    Example:
        >>> from hgobench import Scenario, run
        >>> cells = [Scenario(n=20, f=f, rounds=1, rule="median") for f in (0, 2, 4)]
        >>> drawn = plot([run(cell) for cell in cells], "sweep", x="f/n")
        >>> [row[2] for row in drawn.data.rows]
        [0.0, 0.1, 0.2]
    """
    check_arguments(
        results=(_results, results),
        where=(optional(fields), where),
        split=(word("test", "validation"), split),
    )
    asked = Asked(x, y, lines, most)
    check(kind, asked, width, caption)
    settings = as_choices(where)
    if isinstance(results, Cells):
        cells = results.chosen(settings)
    elif isinstance(results, str | Path | Store):
        cells = Cells.of_store(results, split, settings)
    elif isinstance(results, Result):
        cells = Cells.of_results([results], split).chosen(settings)
    elif isinstance(results, Boards) or all(isinstance(one, Board) for one in results):
        scores = [score for board in results for score in board.scores]  # type: ignore[union-attr]
        cells = Cells(scores, "boards", split).chosen(settings)
    else:
        cells = Cells.of_results(list(results), split).chosen(settings)  # type: ignore[arg-type]
    return picture(cells, kind, asked, width, caption)


def _results(name: str, value: Any) -> Any:
    if isinstance(value, str | Path | Store | Result | Cells):
        return value
    several = isinstance(value, Collection) and len({type(one) for one in value}) == 1
    if several and isinstance(next(iter(value)), Result | Board):
        return value
    return instance("a folder, an open store, results, or boards")(name, value)


def picture(cells: Cells, kind: str, asked: Asked, width: Width, caption: bool = True) -> Picture:
    """Draw cells; what is asked has been checked (`check`).

    Raises:
        InputError: these cells can't be drawn so.
    """
    return Picture(KINDS[kind].draws(cells, asked), width, caption, cells.told)


def check(kind: str, asked: Asked, width: str, caption: bool) -> None:
    """Refuse what is asked for if no cells can be drawn so.

    Raises:
        InputError: with all problems.
    """
    if kind not in KINDS:
        raise InputError(unknown("plot: kind", str(kind), KINDS))
    text = instance("a text", str)
    check_arguments(
        x=(text, asked.x),
        y=(text, asked.y),
        lines=(text, asked.lines),
        most=(integer(1, 10**6, optional=True), asked.most),
        width=(word(*WIDTHS), width),
        caption=(instance("True or False", bool), caption),
    )
    about = KINDS[kind]
    problems = []
    if kind == "cost" and asked.x == "seconds":
        raise InputError(
            "plot: cost: `x`: seconds: cells that are computed together share their time evenly; "
            "hgobench audit rule NAME measures what a rule's call takes"
        )
    for name, value, known in (("x", asked.x, about.x), ("y", asked.y, about.y)):
        if value and known is not None and value not in known:
            problems.append(
                unknown(f"plot: {kind}: `{name}`", value, known)
                if known
                else f"plot: {kind}: `{name}`: {value!r}; expected none, as there is no choice"
            )
    if asked.lines and not about.lines:
        problems.append(f"plot: {kind}: `lines`: {asked.lines!r}; expected none; use `where`")
    if problems:
        raise InputError(problems)
