"""A page as HTML, by a Jinja2 template: one file with everything inside, or one of a site's.

Whatever the page holds is escaped by the template; nothing is asked of the network. Dark mode and
the note over a table that is wider than the window are CSS alone. The pages of a site share a style
and a script, which sorts and filters; they can be read without it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import hgobench

from . import charts, writers
from .page import Chart, Curves, Link, Page, Table
from .render import LONG, VERDICTS, cell, chart_csv, file_name, table_csv

if TYPE_CHECKING:
    from jinja2 import Environment

WIDTHS = tuple(range(20, 75, 5))  # of windows, in rem, that a table is compared with
COLUMNS = 40  # whose alignment the style knows; further ones say it cell by cell
LETTER, PADDING = 0.58, 1.2  # of a cell, in rem
LONGEST = 40  # characters of a cell that is not folded
STYLE, SCRIPT = "style.css", "site.js"  # of a site


@dataclass(frozen=True)
class Frame:
    """What surrounds a page of a site.

    Attributes:
        parts: links to the parts of the site, in their order.
        part: the text of the link to the part that the page belongs to.
        path: links to the pages above it, the outermost first.
        files: names of the files in which the page's numbers are, beside it, and what to call them.
    """

    parts: Sequence[Link]
    part: str
    path: Sequence[Link] = ()
    files: Sequence[Link] = ()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hgobench.report"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["shown"] = writers.visible
    return environment


def html(page: Page, frame: Frame | None = None) -> str:
    """Write a page as HTML.

    Args:
        page: the page.
        frame: of the site that it is a page of; its style, script and files lie beside it. None:
            everything is inside.

    >>> from hgobench.report.page import Page, Text
    >>> "<p>1 &lt; 2</p>" in html(Page("a", "A", [Text("1 < 2")]))
    True
    """
    from markupsafe import Markup

    def csv_of(block: Table | Chart) -> str:
        return table_csv(block) if isinstance(block, Table) else chart_csv(block)

    def link(block: Table | Chart) -> str:
        if frame is not None:
            return file_name(page, block)
        return f"data:text/csv;base64,{base64.b64encode(csv_of(block).encode()).decode()}"

    def drawing(chart: Chart) -> str:
        return Markup(charts.svg(chart, chart.name or page.name))

    return _environment().get_template("page.html").render(
        page=page,
        frame=frame,
        version=hgobench.__version__,
        style="" if frame is not None else Markup(style()),
        style_file=STYLE,
        script_file=SCRIPT,
        text=cell,
        said=VERDICTS,
        classes={True: "yes", False: "no", None: ""},
        kind_of=lambda block: type(block).__name__,
        file=lambda block: file_name(page, block),
        data_file=lambda block: data_name(page, block),
        link=link,
        drawing=drawing,
        numeric=_numeric,
        known=COLUMNS,
        summary_of=lambda table: _summary(table, folds=frame is None),
        wider=lambda table: list(_wider(table)),
        factors_of=factors if frame is not None else lambda table: ("", []),
    )  # fmt: skip


def style() -> str:
    """Return the style of every page."""
    template = _environment().get_template(STYLE)
    columns = range(1, COLUMNS + 1)
    return template.render(widths=WIDTHS, columns=columns, colours=charts.COLOURS)


def script() -> str:
    """Return the script of a site."""
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, SCRIPT)[0]


def data_name(page: Page, curves: Curves) -> str:
    """Return the name of the script file that holds the data of curves."""
    return file_name(page, curves).removesuffix(".csv") + ".js"


def data_script(page: Page, curves: Curves) -> str:
    """Return the script file that hands the data of curves to a site's script.

    A browser that shows a page from a disk refuses to read other files, but runs scripts.
    """
    content = {
        "x": list(curves.x),
        "y": list(curves.y),
        "curves": [
            [
                writers.visible(curve.group),
                writers.visible(curve.label),
                {name: list(values) for name, values in curve.columns.items()},
            ]
            for curve in curves.curves
        ],
    }
    return writers.script("hgobench.data", data_name(page, curves), content)


def factors(table: Table) -> tuple[str, list[str]]:
    """Return the factors that rows can be chosen by as data for a site's script.

    Returns:
        JSON, each factor with its values in order; and of each row the numbers of its values,
        with spaces between factors and commas between several values of one.

    >>> chosen_by = {"f": [("3",), ("8",)], "flag": [(), ("!",)]}
    >>> factors(Table("", "", ["f"], [[3], [8]], factors=chosen_by))
    ('[["f",["3","8"]],["flag",["!"]]]', ['0 ', '1 0'])
    """
    if not table.factors:
        return "", []
    known: list[Any] = []
    columns: list[list[str]] = []
    for name, rows in table.factors.items():
        values = sorted({value for row in rows for value in row}, key=_natural)
        numbers = {value: str(i) for i, value in enumerate(values)}
        known.append([writers.visible(name), [writers.visible(value) for value in values]])
        columns.append([",".join(numbers[value] for value in row) for row in rows])
    return writers.json_text(known), [" ".join(row) for row in zip(*columns, strict=True)]


def _natural(value: str) -> tuple[bool, float, str]:
    """Return what sorts values: numbers by their size, before text."""
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value


def _numeric(table: Table) -> tuple[list[bool], str]:
    """Return which columns are aligned to the right, and the classes that tell the style."""
    numeric = [table.numbers(i) for i in range(len(table.header))]
    return numeric, " ".join(f"n{i}" for i, is_one in enumerate(numeric[:COLUMNS], 1) if is_one)


def _summary(table: Table, folds: bool) -> str:
    """Return the words under which a table is folded; empty: it is not folded."""
    return table.summary or (f"{len(table.rows)} rows" if folds and len(table.rows) > LONG else "")


def _wider(table: Table) -> Iterator[int]:
    """Yield the widths of windows, in rem, that are too narrow for a table, by its letters."""
    columns = zip(table.header, *([cell(value) for value in row] for row in table.rows))  # noqa: B905
    letters = [min(max(map(len, column)), LONGEST) for column in columns]
    table_width = sum(LETTER * count + PADDING for count in letters) + 2
    yield from (width for width in WIDTHS if width < table_width)
