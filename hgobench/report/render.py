"""A page in every format: one renderer each.

`render` chooses among them by name. A terminal and LaTeX get what can be read there: findings,
tables and notes; Markdown and HTML all of it; CSV the numbers, JSON the plain data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal

from . import writers
from .page import Cell, Chart, Finding, Findings, Heading, Link, Page, Shown, Table, Text
from .writers import EVERYTHING, Layout

Format = Literal["table", "markdown", "latex", "csv", "json", "html"]

LONG = 48  # rows; a longer table is in its CSV file, and folded on the page
SAID = {True: "yes", False: "no", None: "undecided"}
STATEMENTS = ("statement", "holds", "evidence")


def render(page: Page, form: Format = "table", layout: Layout = EVERYTHING) -> str:
    """Write a page in a format; the text ends without a newline.

    Args:
        page: what is written.
        form: ``"table"``: for a terminal.
        layout: how wide a terminal is.

    >>> page = Page("a", "A", [Table("t", "T", ["x"], [[0.5]])])
    >>> print(render(page, "csv"))
    x
    0.5
    """
    if form == "html":
        from .html import html

        return html(page).rstrip("\n")
    if form == "table":
        return terminal(page, layout)
    return {"markdown": markdown, "latex": latex, "csv": csv, "json": data}[form](page)


def cell(value: Cell) -> str:
    """Write a cell of a table: numbers with at most four digits, None as nothing."""
    if isinstance(value, Shown | Link):
        return value.text
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return statements as a table."""
    rows = [[f.statement, SAID[f.holds], f.evidence] for f in findings]
    return Table("", "", STATEMENTS, rows, most={0: 44, 2: 60})


def where(page: Page, block: Table | Chart) -> str:
    """Return the name of the CSV file of a table or a chart."""
    return f"{page.name}-{block.name}.csv" if block.name else f"{page.name}.csv"


def _left_to_its_file(page: Page, table: Table) -> str:
    """Return what stands in a text for a table that is too long for it; else nothing."""
    if len(table.rows) <= LONG or not table.name:
        return ""
    return f"{table.title}: {len(table.rows)} rows, {where(page, table)}"


def _written(table: Table, form: writers.Form, layout: Layout = EVERYTHING) -> str:
    """Write a table in a text format."""
    cells = [[cell(value) for value in row] for row in table.rows]
    fitted = Layout(layout.width, table.keep, layout.hint)
    return writers.table(
        table.header, cells, form, right=table.right, layout=fitted, most=table.most
    )


def terminal(page: Page, layout: Layout = EVERYTHING, *, title: bool = True) -> str:
    """Write a page for a terminal: findings, tables, notes."""
    parts = [layout.text(page.title)] if title else []
    after_note = False
    for block in page.blocks:
        note = isinstance(block, Text) and block.kind == "note"
        if isinstance(block, Text) and note:
            text = layout.text(block.text)
            if after_note:  # notes stand together
                parts[-1] += f"\n{text}"
            else:
                parts.append(text)
        elif isinstance(block, Heading):
            parts.append(layout.text(block.text))
        elif isinstance(block, Findings):
            parts.append(_written(findings_table(block.findings), "table", layout))
        elif isinstance(block, Table):
            if elsewhere := _left_to_its_file(page, block):
                parts.append(layout.text(elsewhere))
            else:
                parts += [layout.text(block.title)] if block.title else []
                parts.append(_written(_narrowed(block, layout), "table", layout))
        after_note = note
    return "\n\n".join(parts)


def _narrowed(table: Table, layout: Layout) -> Table:
    """Return a table as it fits: whole, or the first narrower one whose kept columns do."""

    def fits(one: Table, columns: int | None) -> bool:
        rows = [[cell(value) for value in row][:columns] for row in one.rows]
        return writers.fits(one.header[:columns], rows, layout.width)

    if not table.narrower or fits(table, None):
        return table
    fitting = (one for one in table.narrower if fits(one, one.keep))
    return next(fitting, table.narrower[-1])


def markdown(
    page: Page,
    level: int = 3,
    picture: Callable[[Chart], str] | None = None,
) -> str:
    """Write a page as Markdown.

    Args:
        page: what is written.
        level: of its heading.
        picture: draws a chart into a file and returns its address; None: charts are left out.
    """
    hashes = "#" * level
    parts = [f"{hashes} {writers.markdown(page.title)}"]
    parts += [writers.code(page.command)] if page.command else []
    for block in page.blocks:
        if isinstance(block, Heading):
            parts.append(f"{hashes} {writers.markdown(block.text)}")
        elif isinstance(block, Text) and block.kind != "answer":
            parts.append(writers.paragraph(block.text))
        elif isinstance(block, Findings):
            parts.append(_written(findings_table(block.findings), "markdown"))
        elif isinstance(block, Table):
            if elsewhere := _left_to_its_file(page, block):
                parts.append(writers.paragraph(elsewhere))
            else:
                parts += [writers.paragraph(block.title)] if block.title else []
                parts.append(_written(block, "markdown"))
        elif isinstance(block, Chart) and picture is not None:
            parts.append(f"![{writers.markdown(block.title)}]({picture(block)})")
    return "\n\n".join(parts)


def latex(page: Page) -> str:
    """Write a page as LaTeX: its tables (booktabs), and all text as comments."""
    parts = [writers.comment(page.title)]
    after_note = False
    for block in page.blocks:
        note = isinstance(block, Text) and block.kind == "note"
        if isinstance(block, Heading) or (isinstance(block, Text) and note):
            if note and after_note:
                parts[-1] += f"\n{writers.comment(block.text)}"
            else:
                parts.append(writers.comment(block.text))
        elif isinstance(block, Findings):
            parts.append(_written(findings_table(block.findings), "latex"))
        elif isinstance(block, Table):
            parts += [writers.comment(block.title)] if block.title else []
            parts.append(_written(block, "latex"))
        after_note = note
    return "\n\n".join(parts)


def csv(page: Page) -> str:
    """Write the numbers of a page as CSV, with all their digits."""
    tables = page.tables if page.long is None else [page.long]
    return "\n".join(map(table_csv, tables)).rstrip("\n")


def data(page: Page) -> str:
    """Write a page's content as JSON."""
    return json.dumps(page.content, indent=2, allow_nan=False)


def table_csv(table: Table) -> str:
    """Return a table as CSV, numbers with all their digits."""

    def exact(value: Cell) -> str | float | int | None:
        if isinstance(value, Shown):
            return value.value
        return value.text if isinstance(value, Link) else value

    return writers.csv_text([table.header, *([exact(v) for v in row] for row in table.rows)])


def chart_csv(chart: Chart) -> str:
    """Return every point of a chart as CSV."""
    if chart.data is not None:
        return table_csv(chart.data)
    rows: list[Sequence[object]] = [["line", chart.x, chart.y, "low", "high"]]
    panels = chart.panels or (chart,)
    for line in (line for panel in panels for line in panel.lines):
        nothing = [""] * len(line.x)
        columns = (line.x, line.y, line.low or nothing, line.high or nothing)
        for point in zip(*columns, strict=True):
            numbers = [f"{n:.7g}" if isinstance(n, float) else str(n) for n in point]
            rows.append([line.label, *numbers])
    return writers.csv_text(rows)
