"""A page as HTML: one file with its style, drawings and data inside, by a Jinja2 template.

Whatever the page holds is escaped by the template; nothing is asked of the network. Dark mode and
the note over a table that is wider than the window are CSS alone.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import hgobench

from . import charts, writers
from .page import Chart, Page, Table
from .render import LONG, VERDICTS, cell, chart_csv, file_name, table_csv

if TYPE_CHECKING:
    from jinja2 import Environment

WIDTHS = tuple(range(20, 75, 5))  # of windows, in rem, that a table is compared with
LETTER, PADDING = 0.58, 1.2  # of a cell, in rem
LONGEST = 40  # characters of a cell that is not folded


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("hgobench.report"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["shown"] = writers.visible
    return environment


def html(page: Page) -> str:
    """Write a page as HTML.

    >>> from hgobench.report.page import Page, Text
    >>> "<p>1 &lt; 2</p>" in html(Page("a", "A", [Text("1 < 2")]))
    True
    """
    from markupsafe import Markup

    environment = _environment()

    def csv_of(block: Table | Chart) -> str:
        return table_csv(block) if isinstance(block, Table) else chart_csv(block)

    def link(block: Table | Chart) -> str:
        return f"data:text/csv;base64,{base64.b64encode(csv_of(block).encode()).decode()}"

    def drawing(chart: Chart) -> str:
        return Markup(charts.svg(chart, chart.name or page.name))

    style = environment.get_template("style.css").render(widths=WIDTHS)
    return environment.get_template("page.html").render(
        page=page,
        version=hgobench.__version__,
        style=Markup(style),
        text=cell,
        said=VERDICTS,
        classes={True: "yes", False: "no", None: ""},
        kind_of=lambda block: type(block).__name__,
        file=lambda block: file_name(page, block),
        link=link,
        drawing=drawing,
        summary_of=_summary,
        wider=lambda table: list(_wider(table)),
    )


def _summary(table: Table) -> str:
    """Return the words under which a table is folded; empty: it is not folded."""
    return table.summary or (f"{len(table.rows)} rows" if len(table.rows) > LONG else "")


def _wider(table: Table) -> Iterator[int]:
    """Yield the widths of windows, in rem, that are too narrow for a table, by its letters."""
    columns = zip(table.header, *([cell(value) for value in row] for row in table.rows))  # noqa: B905
    letters = [min(max(map(len, column)), LONGEST) for column in columns]
    table_width = sum(LETTER * count + PADDING for count in letters) + 2
    yield from (width for width in WIDTHS if width < table_width)
