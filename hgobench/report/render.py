"""A page in every format: one renderer each.

`render` chooses among them by name. A terminal and LaTeX get what can be read there: findings,
tables and notes; Markdown and HTML all of it; CSV the numbers, JSON the plain data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Literal

from . import writers
from .page import (
    Block,
    Cell,
    Chart,
    Facts,
    Finding,
    Findings,
    Heading,
    Items,
    Link,
    Page,
    Shown,
    Table,
    Text,
)  # fmt: skip
from .writers import EVERYTHING, Layout

Format = Literal["table", "markdown", "latex", "csv", "json", "html"]

LONG = 48  # rows; a longer table is in its CSV file, and folded on the page
FILLED = 100  # characters of a line of items
SAID = {True: "yes", False: "no", None: "undecided"}
STATEMENTS = ("statement", "holds", "evidence")


def render(
    page: Page, form: Format = "table", layout: Layout = EVERYTHING, *, title: bool = True
) -> str:
    """Write a page in a format; the text ends without a newline.

    Args:
        page: what is written.
        form: ``"table"``: for a terminal.
        layout: how wide a terminal is.
        title: whether a terminal and Markdown show the page's title.

    >>> page = Page("a", "A", [Table("t", "T", ["x"], [[0.5]])])
    >>> print(render(page, "csv"))
    x
    0.5
    """
    if form == "html":
        from .html import html

        return html(page).rstrip("\n")
    if form == "table":
        return terminal(page, layout, title=title)
    if form == "markdown":
        return markdown(page, title=title)
    return {"latex": latex, "csv": csv, "json": data}[form](page)


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
    """Write a page for a terminal: findings, facts, tables, notes."""
    head = [layout.text(page.title)] if title else []
    return _joined(head, page, lambda block: _in_terminal(page, block, layout))


def _joined(head: list[str], page: Page, written: Callable[[Block], list[str]]) -> str:
    """Return the parts of a page's blocks behind its head, apart; notes follow each other."""
    parts, after_note = list(head), False
    for block in page.blocks:
        note = isinstance(block, Text) and block.kind == "note"
        shown = written(block)
        if note and after_note:
            parts[-1] += f"\n{shown[0]}"
        else:
            parts += shown
        after_note = note
    return "\n\n".join(parts)


def _in_terminal(page: Page, block: Block, layout: Layout) -> list[str]:
    """Return the parts that a block is in a terminal."""
    match block:
        case Heading(text):
            return [layout.text(text)]
        case Text(text, kind):
            return [] if kind == "about" else [layout.text(text)]
        case Findings(findings):
            return [_written(findings_table(findings), "table", layout)]
        case Facts(facts, title, folded):
            start = "  " * bool(title)
            lines = [layout.text(f"{start}{name}: {value}") for name, value in facts]
            named = [layout.text(title)] if title else []
            return [] if folded else ["\n".join([*named, *lines])]
        case Items(title, items):
            return [_filled(title, items, layout)]
        case Table() as table:
            if elsewhere := _left_to_its_file(page, table):
                return [layout.text(elsewhere)]
            above = [layout.text(table.title)] if table.title else []
            return [*above, _written(_narrowed(table, layout), "table", layout)]
        case Chart():
            return []


def _filled(title: str, items: Sequence[str], layout: Layout) -> str:
    """Return items on lines; one is cut only if it is wider than a line: it is to be pasted."""
    width = min(layout.width or FILLED, FILLED)
    lines = [title]
    for item in map(writers.visible, items):
        if len(lines[-1]) + 2 + len(item) > width:
            lines.append("")
        lines[-1] += f"  {item}"
    return "\n".join(map(layout.text, lines))


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
    *,
    title: bool = True,
) -> str:
    """Write a page as Markdown.

    Args:
        page: what is written.
        level: of its heading.
        picture: draws a chart into a file and returns its address; None: charts are left out.
        title: whether it has a heading.
    """
    hashes = "#" * level
    parts = [f"{hashes} {writers.markdown(page.title)}"] if title else []
    parts += [writers.code(page.command)] if page.command else []
    for block in page.blocks:
        match block:
            case Heading(text):
                parts.append(f"{hashes} {writers.markdown(text)}")
            case Text(text, kind):
                parts += [writers.paragraph(text)] if kind != "answer" else []
            case Findings(findings):
                parts.append(_written(findings_table(findings), "markdown"))
            case Facts(facts, about, folded):
                parts += [writers.paragraph(about)] if about and not folded else []
                lines = [f"- {writers.markdown(f'{name}: {value}')}" for name, value in facts]
                parts += [] if folded else ["\n".join(lines)]
            case Items(about, items):
                parts.append(f"{writers.paragraph(about)} {', '.join(map(writers.code, items))}")
            case Table() as table:
                if elsewhere := _left_to_its_file(page, table):
                    parts.append(writers.paragraph(elsewhere))
                else:
                    parts += [writers.paragraph(table.title)] if table.title else []
                    parts.append(_written(table, "markdown"))
            case Chart() as chart:
                named = writers.markdown(chart.title)
                parts += [f"![{named}]({picture(chart)})"] if picture is not None else []
    return "\n\n".join(parts)


def latex(page: Page) -> str:
    """Write a page as LaTeX: its tables (booktabs), and all text as comments."""
    return _joined([writers.comment(page.title)], page, _in_latex)


def _in_latex(block: Block) -> list[str]:
    """Return the parts that a block is in LaTeX."""
    match block:
        case Heading(text):
            return [writers.comment(text)]
        case Text(text, kind):
            return [] if kind == "about" else [writers.comment(text)]
        case Findings(findings):
            return [_written(findings_table(findings), "latex")]
        case Facts(facts, title, folded):
            lines = [title] * bool(title) + [f"{name}: {value}" for name, value in facts]
            return [] if folded else ["\n".join(map(writers.comment, lines))]
        case Items(title, items):
            return ["\n".join(map(writers.comment, [title, *items]))]
        case Table() as table:
            above = [writers.comment(table.title)] if table.title else []
            return [*above, _written(table, "latex")]
        case Chart():
            return []


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
