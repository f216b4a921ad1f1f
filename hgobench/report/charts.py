"""Charts, drawn by matplotlib in colours that colour-blind readers can tell apart.

Every line has a colour, a marker and, beyond seven, a dash of its own, so that it can be recognised
in grey, too. Colours are those of Okabe and Ito ("Color Universal Design", 2008) without yellow,
which is too faint on white, and black, which is the colour of text. Legends are outside the axes.
In a page a drawing has no background, and its colours are CSS variables that dark mode sets.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from . import writers
from .page import Chart, Heat, Line

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d")
MARKERS = "os^DvPX*<>"
DASHES: tuple[Any, ...] = ("-", (0, (9, 2)), (0, (9, 2, 2, 2)), (0, (9, 2, 2, 2, 2, 2)))
HATCHES = ("", "////", "....", "xxxx")
DISTINCT = len(COLOURS) * len(HATCHES)  # segments of a bar; with more there is no legend
INK, GRID, FAINT = "#1b1b1b", "#b0b0b1", "#b0b0b2"
MARKED = 10  # markers on a line of more points
SHORTEST = 4  # letters of names of columns that are not turned
SHORT = 30  # characters of a label that fits beside a drawing
# Inches of a letter in a legend, and of everything else in its columns, at 8 points.
LETTER, HANDLE = 0.062, 0.75
CAPTION = 0.52  # of a letter's size: its width, on average
ASIDE = 2.4  # points between lines that are set apart sideways
NUMBER = 0.21  # inches that a number takes in a cell of a heat map, at 7 points
LONGEST = 32  # letters of a name of a column that is not cut

_VARIABLES = {
    INK: "currentColor", GRID: f"var(--grid, {GRID})", FAINT: f"var(--grid, {FAINT})",
    **{colour: f"var(--c{i}, {colour})" for i, colour in enumerate(COLOURS)},
}  # fmt: skip
# Matplotlib derives these from the last bits of numbers, which the layout's solver moves.
_DERIVED = re.compile(r"(?<=[\"#])([a-z])[0-9a-f]{10}(?=[\")])")
_IDENTIFIED = re.compile(r' id="|href="#|url\(#')  # matplotlib names groups alike in each drawing
_IN_PAGES = re.compile("|".join(_VARIABLES))


@dataclass(frozen=True)
class Size:
    """How large a drawing is, and its letters.

    Attributes:
        inches: its width; 0: as wide as what is in it needs, for a screen.
        letters: in points.
        across: how many panels are side by side; 0: all.
        line, marker: width of a line and size of a marker, in points.
    """

    inches: float = 0.0
    letters: float = 10.0
    across: int = 0
    line: float = 1.5
    marker: float = 4.0


# A column and a page of the two-column formats of ACM and IEEE.
SIZES = {
    "screen": Size(),
    "column": Size(3.4, 7.0, 1, 1.1, 3.2),
    "page": Size(7.0, 8.0, 2, 1.2, 3.6),
}
Width = Literal["screen", "column", "page"]


def draw(chart: Chart, width: Width = "screen", *, caption: bool = False) -> Any:
    """Draw a chart, or its panels; return matplotlib's figure.

    Args:
        chart: the chart.
        width: ``"column"`` or ``"page"`` of a paper, where panels are in rows; on a ``"screen"``
            they are side by side.
        caption: whether its caption is written below it.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    size = SIZES[width]
    panels = chart.panels or (chart,)
    beneath = any(panel.below for panel in panels)
    across = min(size.across or len(panels), len(panels))
    size = replace(size, across=across)
    down = math.ceil(len(panels) / across)
    with rc_context({"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
                     "xtick.color": INK, "ytick.color": INK, "grid.color": GRID,
                     "hatch.linewidth": 0.5, "font.size": size.letters}):  # fmt: skip
        canvas = Figure(layout="constrained")
        heights = [
            _height(panels[row], size, *panels[row + across : row + across + 1])
            for row in range(0, len(panels), across)
        ]
        rows = [_rows(panels[row], size) or 3 for row in range(0, len(panels), across)]
        ratios = [part for many in rows for part in ([many, many / 3] if beneath else [many])]
        grid = canvas.subplots(len(ratios), across, squeeze=False, height_ratios=ratios)
        looks = _Looks(panels, size)
        upper = grid[:: 1 + beneath]
        for number, panel in enumerate(panels):
            row, column = divmod(number, across)
            axes = upper[row, column]
            _panel(axes, panel, looks)
            shown = [axes]
            if beneath:
                lower = grid[2 * row + 1, column]
                axes.set_xlabel("")
                axes.tick_params(labelbottom=False)
                lower.sharex(axes)
                _below(lower, panel, looks)
                shown.append(lower)
            if number + across < len(panels):
                shown[-1].set_xlabel("")
                if _alike(panel, panels[number + across]):
                    axes.tick_params(labelbottom=False)
            if column:
                for one in shown:
                    one.set_ylabel("")
        for empty in grid[-1 - beneath :, len(panels) - across * (down - 1) :].flat:
            empty.remove()
        looks.sorted(panels)
        if chart.panels and not (panels[0].heat or panels[0].names):
            _same_scale(upper.flat[: len(panels)], panels, bands=bool(size.inches))
        inches = _inches(chart, size, heights, beneath)
        legend = _legend(canvas, looks, inches, size, below=bool(chart.panels))
        text = _caption(canvas, chart.caption, inches, size) if caption and chart.caption else 0.0
        if legend or text:
            _keep_below(canvas, text / inches[1], (text + legend) / inches[1])
        canvas.set_size_inches(inches[0], inches[1])
    return canvas


def _keep_below(canvas: Any, legend: float, drawing: float) -> None:
    """Keep what is below a drawing clear: the shares of the height at which things begin."""
    canvas.get_layout_engine().set(rect=(0, drawing, 1, 1 - drawing))
    for one in canvas.legends:
        one.set_bbox_to_anchor((0, legend, 1, 1 - legend), transform=canvas.transFigure)


def _alike(panel: Chart, below: Chart) -> bool:
    """Say whether the panel below another names the columns of both."""
    return bool(panel.heat and below.heat and panel.heat.columns == below.heat.columns)


def _height(panel: Chart, size: Size, *below: Chart) -> float:
    """Return the height of a panel of a paper, with one `below` it or none, in inches."""
    rows = _rows(panel, size)
    if not rows:
        return 0.32 * size.inches / size.across + 0.9 if size.inches else 3.0
    named = panel.heat is not None and not any(_alike(panel, other) for other in below)
    names = max(map(len, panel.heat.columns)) if panel.heat and named else 0
    turned = 0.045 * size.letters / 7 * min(names, LONGEST)  # names of columns, turned by 40°
    return (0.16 * rows + turned) * size.letters / 7 + 0.35


def _names(panel: Chart, size: Size) -> list[str]:
    """Return the names of a panel's rows; on paper they are broken into lines."""
    names = map(writers.plotted, panel.heat.rows if panel.heat else panel.names)
    if not size.inches:
        return list(names)
    most = int(0.48 * size.inches / size.across / (0.0075 * size.letters))
    return ["\n".join(textwrap.wrap(name, most, break_long_words=False)) for name in names]


def _rows(panel: Chart, size: Size) -> int:
    """Return how many lines a panel's rows have, which are all alike."""
    names = _names(panel, size)
    return len(names) * max((name.count("\n") + 1 for name in names), default=0)


def _inches(chart: Chart, size: Size, heights: Sequence[float], beneath: bool) -> list[float]:
    """Return width and height of a drawing without its legend and caption."""
    if size.inches:
        return [size.inches, sum(heights) * (1 + beneath / 3) + 0.1]
    if chart.panels:
        return [max(5.6 * len(chart.panels), 7.2), 4.2 + 1.4 * beneath]
    bars = max((len(line.y) for line in chart.lines if line.style == "stack"), default=0)
    if bars or chart.names or chart.heat:
        rows = bars or _rows(chart, size)
        return [8.0, min(max(0.22 * rows + 1.6 * (not bars), 2.4), 16)]
    return [7.2, 4.4 + 1.4 * beneath]


def _legend(canvas: Any, looks: _Looks, inches: list[float], size: Size, *, below: bool) -> float:
    """Add the legend beside or below a drawing, which grows as much.

    Returns:
        What a paper's legend takes below the drawing, in inches.
    """
    if not looks.handles:
        return 0.0
    names = list(map(writers.plotted, looks.handles))
    many, longest = len(names), max(map(len, names))
    letters = size.letters if size.inches else 8.0
    scale, taken = letters / 8, 0.0
    style: dict[str, Any] = {"frameon": False, "fontsize": letters, "handlelength": 3.2}
    if size.inches or below or longest > SHORT:
        one = LETTER * longest + HANDLE
        needed = 0.18
        style |= {"loc": "outside lower center"}
        if size.inches:  # as little as will do
            one, needed = 0.056 * longest + 0.5, 0.15
            style |= {"columnspacing": 1.0, "handletextpad": 0.5, "labelspacing": 0.3,
                      "handlelength": 2.6, "loc": "lower center"}  # fmt: skip
        style["ncols"] = columns = max(min(int(inches[0] / (scale * one)), many), 1)
        needed *= scale * math.ceil(many / columns)
        taken = (needed + 0.1) * bool(size.inches)
        inches[1] += taken or needed
    else:
        inches[:] = [max(inches[0], 8.8), max(inches[1], 0.19 * many + 0.4)]
        style["loc"] = "outside right upper"
    canvas.legend(looks.handles.values(), names, **style)
    return taken


def _caption(canvas: Any, caption: str, inches: list[float], size: Size) -> float:
    """Write a caption below a drawing, which grows as much; return by how many inches."""
    letters = min(size.letters, 8.0)
    wrapper = textwrap.TextWrapper(
        int(72 * (inches[0] - 0.1) / (CAPTION * letters)), break_on_hyphens=False
    )
    # A line may end after a comma, too: lists of settings may be longer than a line.
    wrapper.wordsep_simple_re = re.compile(r"(\s+|(?<=,)(?=\S)|(?<=[^\W\d]-)(?=[^\W\d]))")
    lines = wrapper.wrap(caption)
    needed = (1.25 * letters * len(lines) + 3) / 72
    inches[1] += needed
    canvas.text(
        0.05 / inches[0], 0.03 / inches[1], "\n".join(map(writers.plotted, lines)),
        fontsize=letters, ha="left", va="bottom", linespacing=1.2,
    )  # fmt: skip
    return needed


class _Looks:
    """The colour, marker and dash of each line, and the legend."""

    def __init__(self, panels: Sequence[Chart], size: Size) -> None:
        self.size = size
        self.handles: dict[str, Any] = {}
        self.numbers: dict[str, int] = {}
        for panel in panels:
            for line in panel.lines:
                if line.style not in ("faint", "spans") and not line.like:
                    self.numbers.setdefault(line.label, len(self.numbers))

    def number(self, line: Line) -> int:
        return self.numbers[line.like or line.label]

    def add_handle(self, line: Line, handle: Any) -> None:
        self.handles.setdefault(line.group or line.label, handle)

    def sorted(self, panels: Sequence[Chart]) -> None:
        """Put the entries of groups last."""
        groups = {line.group for panel in panels for line in panel.lines if line.group}
        self.handles = dict(sorted(self.handles.items(), key=lambda item: item[0] in groups))


def _panel(axes: Any, chart: Chart, looks: _Looks) -> None:
    if chart.heat is not None:
        _heat(axes, chart, chart.heat, looks.size)
        return
    lefts: list[float] = []
    many = sum(line.style == "stack" for line in chart.lines)
    for line in chart.lines:
        if line.style != "stack":
            _line(axes, line, looks)
            continue
        lefts = lefts or [0.0] * len(line.x)
        look = _stacked(looks.number(line), many)
        bars = axes.barh(line.y, line.x, left=lefts, height=0.85, **look)
        lefts = [a + b for a, b in zip(lefts, line.x, strict=True)]
        if 1 < many <= DISTINCT:
            looks.add_handle(line, bars)
    if many:
        _places(axes, chart)
    _axes(axes, chart, looks.size)


def _line(axes: Any, line: Line, looks: _Looks) -> None:
    """Draw a line or points, with a band if there is one."""
    if line.style == "faint":
        dot = {"marker": ".", "markersize": 0.8 * looks.size.marker} if len(line.x) == 1 else {}
        handle = _plot(axes, line, color=FAINT, linewidth=0.7 * bool(not dot), zorder=1, **dot)
        if line.group:
            looks.add_handle(line, handle)
        return
    if line.style == "spans":
        ends = zip(line.low or (), line.high or (), strict=True)
        lefts, widths = zip(*((low - 0.35, high - low + 0.7) for low, high in ends), strict=True)
        axes.barh(line.y, widths, left=lefts, height=0.6, color=COLOURS[0])
        return
    number = looks.number(line)
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    few = len(line.x) <= 2 * MARKED + 4
    every = 1 if few else (number % MARKED * len(line.x) // MARKED**2, len(line.x) // MARKED)
    size = looks.size
    marked = {"marker": marker, "markersize": size.marker, "markevery": every}
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    styles: dict[str, dict[str, Any]] = {
        "line": {"linewidth": size.line, "linestyle": dash, **marked},
        "dashed": {
            "linewidth": 0.8 * size.line, "linestyle": (0, (4, 2)), "markerfacecolor": "none",
            **marked,
        },
        "dotted": {"linewidth": 0.87 * size.line, "linestyle": ":"},
        "whiskers": {"linewidth": size.line, "linestyle": dash, **marked},
        "points": {"linewidth": 0, "marker": marker, "markersize": 1.25 * size.marker,
                   "alpha": 0.8},
    }  # fmt: skip
    moved = _aside(axes, number, looks) if line.style in ("points", "whiskers") else {}
    looks.add_handle(line, _plot(axes, line, color=colour, **styles[line.style], **moved))
    if moved:  # the axes don't see what is moved
        axes.margins(x=0.1)
        for column in (line.y, line.low or line.y, line.high or line.y):
            points = zip(line.x, column, strict=True)
            axes.update_datalim([(x, y) for x, y in points if math.isfinite(y)])
        axes.autoscale_view()
    if line.low is None or line.high is None:
        return
    if line.style in ("points", "whiskers"):
        axes.vlines(
            line.x, line.low, line.high, color=colour, linewidth=0.6 * size.line, **moved
        )  # fmt: skip
    else:
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.15, linewidth=0)


def _aside(axes: Any, number: int, looks: _Looks) -> dict[str, Any]:
    """Return what moves a line by a few dots, so that whiskers at one place are told apart."""
    from matplotlib.transforms import ScaledTranslation

    if not looks.size.inches:
        return {}
    dots = ASIDE * (number - (len(looks.numbers) - 1) / 2)
    shift = ScaledTranslation(dots / 72, 0, axes.figure.dpi_scale_trans)
    return {"transform": axes.transData + shift}


def _heat(axes: Any, chart: Chart, heat: Heat, size: Size) -> None:
    """Draw the cells of a heat map, with their numbers if there is room.

    Colours get lighter with the number, so that they are read in grey too.
    """
    import numpy as np
    from matplotlib import colormaps

    colours = colormaps["cividis"]
    values = np.ma.masked_invalid(np.array(heat.values, dtype=np.float64))
    low, high = heat.scale
    mesh = axes.pcolormesh(
        np.arange(len(heat.columns) + 1) - 0.5, np.arange(len(heat.rows) + 1) - 0.5, values,
        cmap=colours, vmin=low, vmax=high, edgecolors="white", linewidth=0.6,
    )  # fmt: skip
    _axes(axes, chart, size)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    letters = min(size.letters, 8.0)
    wide = 0.6 * (size.inches / size.across if size.inches else 8.0)
    if wide / len(heat.columns) < NUMBER * letters / 7:
        bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, aspect=30)
        bar.set_label(writers.plotted(heat.label))
        bar.outline.set_visible(False)
        return
    for (row, column), value in np.ndenumerate(np.array(heat.values, dtype=np.float64)):
        if math.isfinite(value):
            light = (value - low) / (high - low) > 0.47
            axes.text(column, row, f"{value:.2f}", ha="center", va="center",
                      fontsize=0.9 * letters, color="#000000" if light else "#ffffff")  # fmt: skip


def _axes(axes: Any, chart: Chart, size: Size) -> None:
    """Scale and name the axes of a panel."""
    from matplotlib.ticker import MaxNLocator

    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        if name in chart.log:
            _logarithmic(axes, axis, name, few=bool(size.inches))
    letters = size.letters
    small = min(letters, 8.0)
    ticks = chart.heat.columns if chart.heat else chart.ticks
    if ticks:
        names = list(map(writers.plotted, ticks))
        room = 72 * 0.5 * (size.inches / size.across if size.inches else 7.0) / len(names)
        how = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        if max(map(len, names)) <= SHORTEST and room > 2.5 * small:
            how = {}
        elif room < 1.6 * small:
            how = {"rotation": 90}
        axes.set_xticks(range(len(names)), names, fontsize=min(small, max(room, 4.0)), **how)
    elif any(line.style == "spans" for line in chart.lines):  # places, counted from the first
        last = max(int(high) for line in chart.lines for high in line.high or () if high)
        axes.set_xticks(range(1, last + 1, max(1, -(-(last - 1) // 8))))
    elif "x" not in chart.log and whole(x for line in chart.lines for x in line.x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if "y" not in chart.log and whole(y for line in chart.lines for y in line.y):
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if rows := _names(chart, size):
        axes.set_yticks(range(len(rows)), rows, fontsize=small)
        axes.set_ylim(len(rows) - 0.5, -0.5)
    if chart.ends is not None:
        axes.set_xlim(0, min(chart.ends, axes.get_xlim()[1]))
    title = writers.plotted(chart.title)
    if size.inches:  # above the names of rows there is room, too
        title = "\n".join(textwrap.wrap(title, int(size.inches / size.across / 0.06)))
    where = "right" if size.inches and rows else "center"
    axes.set_title(title, fontsize=1.1 * letters, loc=where)
    axes.set_xlabel(writers.plotted(chart.x))
    axes.set_ylabel(writers.plotted(chart.y))
    axes.grid(alpha=0.35)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def whole(values: Iterable[float]) -> bool:
    """Say whether all numbers are whole.

    >>> whole([1, 2.0]), whole([0.5]), whole([math.inf])
    (True, False, False)
    """
    return all(float(value).is_integer() for value in values)


def _plot(axes: Any, line: Line, **style: Any) -> Any:
    points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    (handle,) = axes.plot([x for x, _ in points], [y for _, y in points], **style)
    return handle


def _stacked(number: int, many: int) -> dict[str, Any]:
    """Return the look of a segment of a stacked bar."""
    from matplotlib import colormaps

    if many > DISTINCT:  # a colour by their order
        return {"color": colormaps["cividis"](number / (many - 1))}
    hatch = HATCHES[number // len(COLOURS)]
    return {"color": COLOURS[number % len(COLOURS)], "hatch": hatch, "edgecolor": "white",
            "linewidth": 0.3}  # fmt: skip


def _places(axes: Any, chart: Chart) -> None:
    """Number the positions of horizontal bars from above, in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(max(len(line.y) for line in chart.lines) - 0.5, -0.5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _below(axes: Any, panel: Chart, looks: _Looks) -> None:
    """Draw what is under a panel: lines, or bars side by side in groups."""
    chart = panel.below
    assert chart is not None
    bars = [line for line in chart.lines if line.style == "bars"]
    for place, line in enumerate(bars):
        wide = line.x[1] - line.x[0] if len(line.x) > 1 else 1.0
        number = looks.number(line)
        left = [x + 0.1 * wide + 0.8 * wide * place / len(bars) for x in line.x]
        axes.bar(
            left, line.y, 0.72 * wide / len(bars), align="edge",
            color=COLOURS[number % len(COLOURS)],
        )  # fmt: skip
    for line in chart.lines:
        if line.style != "bars":
            _line(axes, line, looks)
    if not bars:
        axes.margins(y=0.15)
        axes.grid(alpha=0.35)
    axes.set_xlabel(writers.plotted(panel.x))
    axes.set_ylabel(writers.plotted(chart.y))
    axes.spines[["top", "right"]].set_visible(False)


def _same_scale(row: Any, panels: Sequence[Chart], *, bands: bool) -> None:
    """Give all panels one y axis that shows every line; without `bands` these may exceed it."""
    columns = [
        column
        for panel in panels
        for line in panel.lines
        for column in (line.y, *((line.low or (), line.high or ()) if bands else ()))
    ]
    values = [y for column in columns for y in column if math.isfinite(y)]
    if not values:
        return
    low, high = min(values), max(values)
    margin = 0.03 * (high - low) or 0.5
    for axes in row:
        axes.set_ylim(low - margin, high + margin)


def _logarithmic(axes: Any, axis: Any, name: str, *, few: bool) -> None:
    """Make an axis logarithmic, with plain numbers: 0.01 instead of a power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if name == "x" else axes.get_ylim()
    decades = math.log10(high / low) if low > 0 else math.inf
    if few and decades < 3:
        axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 1.5 else (1.0, 2.0, 5.0)))
    elif decades < 3:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades > 1 else range(1, 10)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_formatter(NullFormatter())


def plain(value: float) -> str:
    """Write a number without an exponent, if that is readable.

    >>> plain(0.001), plain(20000), plain(1e-9)
    ('0.001', '20,000', '1e-09')
    """
    if 1e-5 <= abs(value) < 1e7:
        return f"{value:,.10f}".rstrip("0").rstrip(".")
    return f"{value:g}"


def svg(chart: Chart, name: str) -> str:
    """Return a drawing as SVG for a page: without XML header and background, always the same.

    Its colours are CSS variables (``--c0`` ..), with the printed ones where a page sets none, and
    text and axes have the colour of the text around it.

    Args:
        chart: the chart.
        name: unique in the page; the drawing's inner references are derived from it.
    """
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        draw(chart).savefig(stream, format="svg", metadata={"Date": None}, transparent=True)
    text = _numbered(stream.getvalue())
    drawing = text[text.index("<svg") :]
    drawing = drawing.replace("<svg ", f'<svg role="img" aria-label="{_label(chart)}" ', 1)
    # In tags alone: a label that reads like a colour, or an identifier, stays a label.
    own = rf"\g<0>{re.sub(r'[^A-Za-z0-9]+', '-', name)}-"
    return re.sub(
        r"<[^>]*>", lambda tag: _IDENTIFIED.sub(own, _IN_PAGES.sub(_variable, tag[0])), drawing
    )


def _numbered(drawing: str) -> str:
    """Return an SVG whose derived identifiers are numbers, in their order in it."""
    numbers: dict[str, int] = {}
    return _DERIVED.sub(lambda i: f"{i[1]}{numbers.setdefault(i[0], len(numbers))}", drawing)


def _label(chart: Chart) -> str:
    return writers.html(chart.title or chart.caption or chart.y)


def _variable(match: re.Match[str]) -> str:
    return _VARIABLES[match[0]]


def save(chart: Chart, path: Path, dpi: int = 80) -> None:
    """Write a drawing as a picture of the kind that the path's ending names.

    A chart is written alike, byte for byte, each time it is saved under a name: no date is in it.
    """
    save_figure(draw(chart), path, dpi)


def save_figure(figure: Any, path: Path, dpi: int) -> None:
    """Write a figure of matplotlib's as `save` does; a PDF holds its letters as TrueType."""
    from matplotlib import rc_context

    unsaid: dict[str, dict[str, Any]] = {
        ".png": {"Software": None},
        ".svg": {"Date": None, "Creator": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    with rc_context({"svg.hashsalt": path.name, "pdf.fonttype": 42}):
        figure.savefig(path, dpi=dpi, metadata=unsaid.get(path.suffix.lower(), {}))
    if path.suffix.lower() == ".svg":
        path.write_text(_numbered(path.read_text(encoding="utf-8")), encoding="utf-8")
