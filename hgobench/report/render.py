"""A page in every format: one renderer each.

`render` chooses among them by name. Terminal and LaTeX show findings, tables and notes; Markdown
and HTML everything; CSV the numbers, and JSON the data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Literal

from . import writers
from .page import (
    Block,
    Cell,
    Chart,
    Curves,
    Facts,
    Finding,
    Findings,
    Heading,
    Items,
    Link,
    Measured,
    Page,
    Shown,
    Table,
    Text,
)  # fmt: skip
from .writers import UNLIMITED, Layout

Format = Literal["table", "markdown", "latex", "csv", "json", "html"]

LONG = 48  # rows; a longer table is only in its CSV file, and folded in HTML
NARROW = 6  # columns; a wider table spans both columns of a page in LaTeX
FILLED = 100  # characters of a line of items
VERDICTS = {True: "yes", False: "no", None: "undecided"}
STATEMENTS = ("statement", "holds", "evidence")


def render(
    page: Page, form: Format = "table", layout: Layout = UNLIMITED, *, title: bool = True
) -> str:
    """Write a page in a format; the text ends without a newline.

    Args:
        page: the page.
        form: the format; ``"table"``: for a terminal.
        layout: of tables in a terminal.
        title: whether terminal and Markdown show the page's title.

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
    """Write a cell of a table: numbers with at most four digits, None as an empty text."""
    if isinstance(value, Shown | Measured | Link):
        return value.text
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return statements as a table."""
    rows = [[f.statement, VERDICTS[f.holds], f.evidence] for f in findings]
    return Table("", "", STATEMENTS, rows, most={0: 44, 2: 60})


def file_name(page: Page, block: Table | Chart | Curves) -> str:
    """Return the name of the CSV file of a table, a chart or curves."""
    return f"{page.name}-{block.name}.csv" if block.name else f"{page.name}.csv"


def _reference_to_file(page: Page, table: Table) -> str:
    """Return the reference to its file in place of a table that is too long; else empty."""
    if len(table.rows) <= LONG or not table.name:
        return ""
    return f"{table.title}: {len(table.rows)} rows, {file_name(page, table)}"


def _table_text(table: Table, form: writers.Form, layout: Layout = UNLIMITED) -> str:
    """Write a table in a text format."""
    if form == "latex" and table.spreads:
        table = _without(table, table.spreads)
    cells = [[_in(value, form) for value in row] for row in table.rows]
    fitted = Layout(layout.width, table.keep, layout.hint, table.wrap)
    return writers.table(
        table.header, cells, form, right=table.right, layout=fitted, most=table.most
    )


def _in(value: Cell, form: writers.Form) -> str:
    """Write a cell in a text format: a number that is compared says whether it is the best."""
    if not isinstance(value, Measured) or form == "table":
        return cell(value)
    if form == "markdown":
        text = writers.markdown(value.text)
        return writers.Written(f"**{text}**" if value.best else text + " †" * value.tied)
    text = rf"\mathbf{{{value.text}}}" if value.best else value.text
    spread = rf" \pm {value.spread}" if value.spread else ""
    mark = r"^{\dagger}" * value.tied
    return writers.Written(f"${text}{spread}{mark}$")


def _without(table: Table, columns: Collection[int]) -> Table:
    """Return a table without some columns."""
    kept = [i for i in range(len(table.header)) if i not in columns]
    return replace(
        table,
        header=[table.header[i] for i in kept],
        rows=[[row[i] for i in kept] for row in table.rows],
        right=[place for place, i in enumerate(kept) if i in table.right],
    )


def terminal(page: Page, layout: Layout = UNLIMITED, *, title: bool = True) -> str:
    """Write a page for a terminal: findings, facts, tables, notes."""
    head = [layout.text(page.title)] if title else []
    return _joined(head, page, lambda block: _in_terminal(page, block, layout))


def _joined(head: list[str], page: Page, render_block: Callable[[Block], list[str]]) -> str:
    """Return the head and the texts of a page's blocks, separated by blank lines but for notes."""
    paragraphs, after_note = list(head), False
    for block in page.blocks:
        note = isinstance(block, Text) and block.kind == "note"
        texts = render_block(block)
        if note and after_note:
            paragraphs[-1] += f"\n{texts[0]}"
        else:
            paragraphs += texts
        after_note = note
    return "\n\n".join(paragraphs)


def _in_terminal(page: Page, block: Block, layout: Layout) -> list[str]:
    """Return the texts of a block in a terminal."""
    match block:
        case Heading(text):
            return [layout.text(text)]
        case Text(text, kind):
            return [] if kind == "about" else [layout.text(text)]
        case Findings(findings):
            return [_table_text(findings_table(findings), "table", layout)]
        case Facts(facts, title, folded):
            start = "  " * bool(title)
            lines = [layout.text(f"{start}{name}: {cell(value)}") for name, value in facts]
            named = [layout.text(title)] if title else []
            return [] if folded else ["\n".join([*named, *lines])]
        case Items(title, items):
            return [_filled(title, items, layout)]
        case Table() as table:
            if elsewhere := _reference_to_file(page, table):
                return [layout.text(elsewhere)]
            above = [layout.text(table.title)] if table.title else []
            return [*above, _table_text(_narrowed(table, layout), "table", layout)]
        case Chart() | Curves():
            return []


def _filled(title: str, items: Sequence[str], layout: Layout) -> str:
    """Return items on lines, broken between items only, as these are to be copied."""
    width = min(layout.width or FILLED, FILLED)
    lines = [title]
    for item in map(writers.visible, items):
        if len(lines[-1]) + 2 + len(item) > width:
            lines.append("")
        lines[-1] += f"  {item}"
    return "\n".join(map(layout.text, lines))


def _narrowed(table: Table, layout: Layout) -> Table:
    """Return a table if it fits, else the first narrower version whose kept columns do."""

    def fits(candidate: Table, columns: int | None) -> bool:
        rows = [[cell(value) for value in row][:columns] for row in candidate.rows]
        return writers.fits(candidate.header[:columns], rows, layout.width)

    if not table.narrower or fits(table, None):
        return table
    fitting = (candidate for candidate in table.narrower if fits(candidate, candidate.keep))
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
        page: the page.
        level: of its headings.
        picture: draws a chart into a file and returns its address; None: charts are left out.
        title: whether it has a heading with its title.
    """
    hashes = "#" * level
    paragraphs = [f"{hashes} {writers.markdown(page.title)}"] if title else []
    paragraphs += [writers.code(page.command)] if page.command else []
    for block in page.blocks:
        match block:
            case Heading(text):
                paragraphs.append(f"{hashes} {writers.markdown(text)}")
            case Text(text, kind):
                paragraphs += [writers.paragraph(text)] if kind != "answer" else []
            case Findings(findings):
                paragraphs.append(_table_text(findings_table(findings), "markdown"))
            case Facts(facts, about, folded):
                paragraphs += [writers.paragraph(about)] if about and not folded else []
                lines = [f"- {writers.markdown(f'{name}: {cell(value)}')}" for name, value in facts]
                paragraphs += [] if folded else ["\n".join(lines)]
            case Items(about, items):
                paragraphs.append(
                    f"{writers.paragraph(about)} {', '.join(map(writers.code, items))}"
                )
            case Table() as table:
                if elsewhere := _reference_to_file(page, table):
                    paragraphs.append(writers.paragraph(elsewhere))
                else:
                    paragraphs += [writers.paragraph(table.title)] if table.title else []
                    paragraphs.append(_table_text(table, "markdown"))
                    paragraphs += [writers.paragraph(table.caption)] if table.caption else []
            case Chart() as chart:
                title_of = writers.markdown(chart.title)
                paragraphs += [f"![{title_of}]({picture(chart)})"] if picture is not None else []
                if picture is not None and chart.caption:
                    paragraphs.append(writers.paragraph(chart.caption))
            case Curves():
                pass
    return "\n\n".join(paragraphs)


def latex(page: Page) -> str:
    """Write a page as LaTeX: its tables (booktabs), and text as comments."""
    return _joined([writers.comment(page.title)], page, _in_latex)


def _in_latex(block: Block) -> list[str]:
    """Return the texts of a block in LaTeX."""
    match block:
        case Heading(text):
            return [writers.comment(text)]
        case Text(text, kind):
            return [] if kind == "about" else [writers.comment(text)]
        case Findings(findings):
            return [_table_text(findings_table(findings), "latex")]
        case Facts(facts, title, folded):
            lines = [title] * bool(title) + [f"{name}: {cell(value)}" for name, value in facts]
            return [] if folded else ["\n".join(map(writers.comment, lines))]
        case Items(title, items):
            return ["\n".join(map(writers.comment, [title, *items]))]
        case Table() as table:
            above = [writers.comment(table.title)] if table.title else []
            return [*above, _floating(table) if table.label else _table_text(table, "latex")]
        case Chart() | Curves():
            return []


def _floating(table: Table) -> str:
    """Return a table with caption and label, over both columns of a page if it is wide."""
    kept = len(table.header) - len(table.spreads)
    float_ = "table" if kept <= NARROW else "table*"
    caption = writers.latex(" ".join(filter(None, (table.caption, table.spread))))
    for sign, command in (("±", r"$\pm$"), ("†", r"$\dagger$")):
        caption = caption.replace(sign, command)
    return "\n".join(
        [
            rf"\begin{{{float_}}}",
            r"\centering",
            r"\small",
            rf"\caption{{{caption}}}",
            rf"\label{{{table.label}}}",
            _table_text(table, "latex"),
            rf"\end{{{float_}}}",
        ]
    )


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
        if isinstance(value, Shown | Measured):
            return value.value
        return value.text if isinstance(value, Link) else value

    return writers.csv_text([table.header, *([exact(v) for v in row] for row in table.rows)])


def chart_csv(chart: Chart) -> str:
    """Return every point of a chart as CSV: of a heat map its cells; of panels, in which it is."""
    if chart.data is not None:
        return table_csv(chart.data)
    about = ["panel"] * bool(chart.panels)
    rows: list[Sequence[object]] = [[*about, "line", chart.x, chart.y, "low", "high"]]
    for panel in chart.panels or (chart,):
        named = [panel.title] * bool(chart.panels)
        if panel.heat is not None:
            for name, values in zip(panel.heat.rows, panel.heat.values, strict=True):
                cells = zip(panel.heat.columns, values, strict=True)
                rows += [[*named, name, column, _digits(value), "", ""] for column, value in cells]
        for line in panel.lines:
            empty = [""] * len(line.x)
            columns = (line.x, line.y, line.low or empty, line.high or empty)
            points = zip(*columns, strict=True)
            rows += [[*named, line.label, *map(_digits, point)] for point in points]
    return writers.csv_text(rows)


def curves_csv(curves: Curves) -> str:
    """Return every point of curves as CSV."""
    names = [*curves.x, *curves.y]
    rows: list[Sequence[object]] = [["group", "curve", *names]]
    for curve in curves.curves:
        points = zip(*(curve.columns[name] for name in names), strict=True)
        rows += [[curve.group, curve.label, *point] for point in points]
    return writers.csv_text(rows)


def _digits(value: object) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)
