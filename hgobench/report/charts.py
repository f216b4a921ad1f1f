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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import writers
from .page import Chart, Line

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#4d4d4d")
MARKERS = "os^DvPX*<>"
DASHES: tuple[Any, ...] = ("-", (0, (9, 2)), (0, (9, 2, 2, 2)), (0, (9, 2, 2, 2, 2, 2)))
HATCHES = ("", "////", "....", "xxxx")
DISTINCT = len(COLOURS) * len(HATCHES)  # segments of a bar; with more there is no legend
INK, GRID, FAINT = "#1b1b1b", "#b0b0b1", "#b0b0b2"
MARKED = 10  # markers on a line of more points
SHORT = 30  # characters of a label that fits beside a drawing
LETTER, HANDLE = (
    0.062,
    0.75,
)  # inches of a letter in a legend, and of everything else in its columns

_VARIABLES = {
    INK: "currentColor", GRID: f"var(--grid, {GRID})", FAINT: f"var(--grid, {FAINT})",
    **{colour: f"var(--c{i}, {colour})" for i, colour in enumerate(COLOURS)},
}  # fmt: skip
_IN_PAGES = re.compile("|".join(_VARIABLES))


def draw(chart: Chart) -> Any:
    """Draw a chart, or its panels side by side; return matplotlib's figure."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = chart.panels or (chart,)
    beneath = any(panel.below for panel in panels)
    shared = bool(chart.panels)
    with rc_context({"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK,
                     "xtick.color": INK, "ytick.color": INK, "grid.color": GRID,
                     "hatch.linewidth": 0.5}):  # fmt: skip
        canvas = Figure(layout="constrained")
        rows = 1 + beneath
        ratios = [3, 1][:rows]
        grid = canvas.subplots(rows, len(panels), squeeze=False, sharex="col", height_ratios=ratios)
        looks = _Looks(panels)
        for column, panel in enumerate(panels):
            _panel(grid[0, column], panel, looks)
            if beneath:
                grid[0, column].set_xlabel("")
                _below(grid[1, column], panel, looks)
            if column:
                for axes in grid[:, column]:
                    axes.set_ylabel("")
        looks.sorted(panels)
        if shared:
            _same_scale(grid[0], panels)
        many = len(looks.handles)
        size = [max(5.6 * len(panels), 7.2), 4.2 + 1.4 * beneath] if shared else [7.2, 4.4]
        bars = max((len(line.y) for line in chart.lines if line.style == "stack"), default=0)
        if bars:
            size = [8.0, min(max(0.22 * bars, 2.4), 16)]
        if many:
            names = list(map(writers.plotted, looks.handles))
            style: dict[str, Any] = {"frameon": False, "fontsize": 8, "handlelength": 3.2}
            longest = max(map(len, names))
            if shared or longest > SHORT:
                columns = max(min(int(size[0] / (LETTER * longest + HANDLE)), many), 1)
                size[1] += 0.18 * math.ceil(many / columns)
                style |= {"loc": "outside lower center", "ncols": columns}
            else:
                size = [max(size[0], 8.8), max(size[1], 0.19 * many + 0.4)]
                style |= {"loc": "outside right upper"}
            canvas.legend(looks.handles.values(), names, **style)
        canvas.set_size_inches(size[0], size[1])
    return canvas


class _Looks:
    """The colour, marker and dash of each line, and the legend."""

    def __init__(self, panels: Sequence[Chart]) -> None:
        self.handles: dict[str, Any] = {}
        self.numbers: dict[str, int] = {}
        for panel in panels:
            for line in panel.lines:
                if line.style != "faint" and not line.like:
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
    _axes(axes, chart)


def _line(axes: Any, line: Line, looks: _Looks) -> None:
    """Draw a line or points, with a band if there is one."""
    if line.style == "faint":
        handle = _plot(axes, line, color=FAINT, linewidth=0.7, zorder=1)
        if line.group:
            looks.add_handle(line, handle)
        return
    number = looks.number(line)
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    few = len(line.x) <= 2 * MARKED + 4
    every = 1 if few else (number % MARKED * len(line.x) // MARKED**2, len(line.x) // MARKED)
    marked = {"marker": marker, "markersize": 4, "markevery": every}
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    styles: dict[str, dict[str, Any]] = {
        "line": {"linewidth": 1.5, "linestyle": dash, **marked},
        "dashed": {
            "linewidth": 1.2, "linestyle": (0, (4, 2)), "markerfacecolor": "none", **marked,
        },
        "dotted": {"linewidth": 1.3, "linestyle": ":"},
        "points": {"linewidth": 0, "marker": marker, "markersize": 5, "alpha": 0.8},
    }  # fmt: skip
    looks.add_handle(line, _plot(axes, line, color=colour, **styles[line.style]))
    if line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.15, linewidth=0)


def _axes(axes: Any, chart: Chart) -> None:
    """Scale and name the axes of a panel."""
    from matplotlib.ticker import MaxNLocator

    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        if name in chart.log:
            _logarithmic(axes, axis, name)
    if chart.ticks:
        names = list(map(writers.plotted, chart.ticks))
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    elif "x" not in chart.log and all(
        float(x).is_integer() for line in chart.lines for x in line.x
    ):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if chart.ends is not None:
        axes.set_xlim(0, min(chart.ends, axes.get_xlim()[1]))
    axes.set_title(writers.plotted(chart.title), fontsize=11)
    axes.set_xlabel(writers.plotted(chart.x))
    axes.set_ylabel(writers.plotted(chart.y))
    axes.grid(alpha=0.35)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


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
    """Draw the bars under a panel, side by side in groups."""
    chart = panel.below
    assert chart is not None
    many = len(chart.lines)
    for place, line in enumerate(chart.lines):
        wide = line.x[1] - line.x[0] if len(line.x) > 1 else 1.0
        number = looks.number(line)
        left = [x + 0.1 * wide + 0.8 * wide * place / many for x in line.x]
        axes.bar(
            left, line.y, 0.72 * wide / many, align="edge", color=COLOURS[number % len(COLOURS)]
        )
    axes.set_xlabel(writers.plotted(panel.x))
    axes.set_ylabel(writers.plotted(chart.y))
    axes.spines[["top", "right"]].set_visible(False)


def _same_scale(row: Any, panels: Sequence[Chart]) -> None:
    """Give all panels one y axis that shows every line; bands may exceed it."""
    values = [y for panel in panels for line in panel.lines for y in line.y if math.isfinite(y)]
    if not values:
        return
    low, high = min(values), max(values)
    margin = 0.03 * (high - low) or 0.5
    for axes in row:
        axes.set_ylim(low - margin, high + margin)


def _logarithmic(axes: Any, axis: Any, name: str) -> None:
    """Make an axis logarithmic, with plain numbers: 0.01 instead of a power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if name == "x" else axes.get_ylim()
    decades = math.log10(high / low) if low > 0 else math.inf
    if decades < 3:
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
    text = stream.getvalue()
    drawing = text[text.index("<svg") :]
    drawing = drawing.replace("<svg ", f'<svg role="img" aria-label="{_label(chart)}" ', 1)
    # In tags alone: a label that reads like a colour stays a label.
    return re.sub(r"<[^>]*>", lambda tag: _IN_PAGES.sub(_variable, tag[0]), drawing)


def _label(chart: Chart) -> str:
    return writers.html(chart.title or chart.y)


def _variable(match: re.Match[str]) -> str:
    return _VARIABLES[match[0]]


def save(chart: Chart, path: Path, dpi: int = 80) -> None:
    """Write a drawing as a picture of the kind that the path's ending names.

    A chart is written alike, byte for byte, each time it is saved under a name: no date is in it.
    """
    from matplotlib import rc_context

    unsaid: dict[str, dict[str, Any]] = {
        ".png": {"Software": None},
        ".svg": {"Date": None, "Creator": None},
        ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    with rc_context({"svg.hashsalt": path.name}):
        draw(chart).savefig(path, dpi=dpi, metadata=unsaid.get(path.suffix, {}))
