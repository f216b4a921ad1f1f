"""Pages as data: every producer returns a `Page`, and each format has one renderer.

A `Page` is a title and blocks in their order: text, findings, tables, charts. It holds no markup:
the renderers (`terminal`, `markdown`, `latex`, `html`, `data`) write the same page for a terminal,
as Markdown, LaTeX, HTML, CSV and JSON, and escape what has a meaning in each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Style = Literal["line", "dashed", "dotted", "points", "faint", "bars", "stack", "spans", "whiskers"]


@dataclass(frozen=True)
class Line:
    """A line of a chart, its points, or its bars.

    Attributes:
        label: its name in the legend.
        x, y: its points; those whose y is not finite are not drawn. For bars: the left edge of
            every group, and the heights. For a stack: the lengths and positions of horizontal bars.
            For spans: the numbers of the rows, in both.
        low, high: the band around it, or the ends of whiskers; None: there is none. For spans: the
            whole numbers that each row covers, the first and the last.
        style: ``"faint"``: thin and grey, a single point as a dot, in the legend only as a group;
            ``"bars"``: side by side with the other lines of that style; ``"stack"``: end to end
            with them; ``"spans"``: a horizontal bar per row; ``"whiskers"`` and ``"points"``: with
            whiskers, and set apart sideways by a few dots, with a line and without.
        like: the label of an earlier line, whose colour and marker it has.
        group: one name in the legend for all lines of the group; empty: the label.

    Example:
        >>> line = Line("median", x=[0, 10], y=[0.1, 0.6], low=[0.1, 0.5], high=[0.1, 0.7])
        >>> Chart("accuracy", "Accuracy", "round", "accuracy", [line]).lines[0].label
        'median'
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    style: Style = "line"
    like: str = ""
    group: str = ""


@dataclass(frozen=True)
class Table:
    """A table of text and numbers.

    Attributes:
        name: of its CSV file, unique in its page; empty: there is no file.
        title: above it; empty: no title.
        header: the columns' names.
        rows: their cells.
        right: positions of the columns that text formats align to the right: numbers.
        keep: number of columns, from the left, that a narrow terminal never leaves out; None: all.
        wrap: number of columns, from the left, whose text a narrow terminal wraps before it leaves
            one of them out; None: `keep`.
        most: column to its maximum width in a terminal, in characters.
        narrower: shorter versions of the table, which a terminal tries in turn.
        summary: the words under which an HTML page folds it; empty: it is not folded.
        anchors: a name for each row, unique in its page, by which links reach it; empty: none.
        factors: what the rows of a site's page can be chosen by: a factor's name to its values in
            each row.
        caption: what a reader of the table alone must know, for Markdown and LaTeX; empty: none.
        label: by which LaTeX refers to it; empty: it floats nowhere, and has no caption.
        spread: what the spread of its `Measured` cells is, for LaTeX, which writes it.
        spreads: positions of the columns that LaTeX leaves out, as the spread says the same.

    Example:
        >>> table = Table("times", "Times", ["rule", "ms"], [["median", 1.5], ["krum", 2.5]])
        >>> table.numbers(0), table.numbers(1)
        (False, True)
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: Collection[int] = ()
    keep: int | None = None
    wrap: int | None = None
    most: Mapping[int, int] = field(default_factory=dict)
    narrower: Sequence[Table] = ()
    summary: str = ""
    anchors: Sequence[str] = ()
    factors: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    caption: str = ""
    label: str = ""
    spread: str = ""
    spreads: Collection[int] = ()

    def numbers(self, column: int) -> bool:
        """Return whether a column holds only numbers, or is aligned as if it did."""
        if column in self.right:
            return True
        alone = all(isinstance(row[column], int | float | Shown | Measured) for row in self.rows)
        return alone and bool(self.rows)


@dataclass(frozen=True)
class Shown:
    """A number as a table shows it; a CSV file has all its digits.

    Attributes:
        text: what is shown.
        value: the number.
        to: the address of what shows how it came about; empty: there is no link.

    Example:
        >>> from hgobench.report.render import csv
        >>> print(csv(Page("a", "A", [Table("t", "T", ["share"], [[Shown("33 %", 1 / 3)]])])))
        share
        0.3333333333333333
    """

    text: str
    value: float | int | str | None
    to: str = ""


@dataclass(frozen=True)
class Measured:
    """A number with its uncertainty, one of several that are compared.

    Attributes:
        text: as a terminal shows it.
        value: the number.
        spread: its uncertainty, as a text; empty: it is not known. Only LaTeX writes it.
        best: whether it is the best; Markdown and LaTeX print it bold.
        tied: whether it is not told apart from the best; they mark it with a dagger.

    Example:
        >>> from hgobench.report.render import latex
        >>> table = Table("t", "", ["worst"], [[Measured("0.512", 0.512, "0.031", best=True)]])
        >>> print(latex(Page("a", "A", [table])).splitlines()[-3])
        $\\mathbf{0.512} \\pm 0.031$ \\\\
    """

    text: str
    value: float | None
    spread: str = ""
    best: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Link:
    """A text with a link to another page.

    Example:
        >>> Table("figures", "Figures", ["figure"], [[Link("fig4b", to="fig4b.html")]]).numbers(0)
        False
    """

    text: str
    to: str


Cell = str | float | int | None | Shown | Measured | Link


@dataclass(frozen=True)
class Heat:
    """The cells of a heat map, the first row above.

    Attributes:
        columns, rows: their names.
        values: rows of numbers; one that is not finite is no cell, and is left blank.
        scale: the numbers that the ends of the scale of colours stand for.
        label: what the numbers are.

    Raises:
        ValueError: the numbers are not as many as the names.

    Example:
        >>> heat = Heat(["foe", "alie"], ["krum"], [[0.6, 0.3]])
        >>> len(Chart("h", "Accuracy", "attack", "rule", heat=heat).heat.columns)
        2
    """

    columns: Sequence[str]
    rows: Sequence[str]
    values: Sequence[Sequence[float]]
    scale: tuple[float, float] = (0.0, 1.0)
    label: str = ""

    def __post_init__(self) -> None:
        if [len(row) for row in self.values] != [len(self.columns)] * len(self.rows):
            raise ValueError(f"{len(self.rows)} rows of {len(self.columns)} numbers are expected")


@dataclass(frozen=True)
class Chart:
    """A drawing; its data is a CSV file of the same name.

    Attributes:
        name: of the file, unique in its page; empty: the page's own.
        title, x, y: its title, and the names of its axes.
        lines: its lines.
        log: the axes that are logarithmic: ``""``, ``"x"``, ``"y"``, ``"xy"``.
        ticks: names of x = 0, 1, ..; empty: x is a number.
        names: names of y = 0, 1, .., from above; empty: y is a number.
        heat: the cells of a heat map, instead of lines; None: it is none.
        panels: charts side by side with one legend and one scale of y, instead of lines.
        below: a smaller chart under it, with the same x axis: bars or lines.
        ends: the largest end of the x axis; None: that of the data.
        data: the content of the CSV file; None: the points.
        caption: what a reader must know, in sentences.

    Example:
        >>> from hgobench.report.render import chart_csv
        >>> line = Line("median", x=[0, 1], y=[0.1, 0.6])
        >>> chart = Chart("a", "Accuracy", "round", "accuracy", [line])
        >>> print(chart_csv(chart), end="")
        line,round,accuracy,low,high
        median,0,0.1,,
        median,1,0.6,,
    """

    name: str
    title: str
    x: str
    y: str
    lines: Sequence[Line] = ()
    log: Literal["", "x", "y", "xy"] = ""
    ticks: Sequence[str] = ()
    names: Sequence[str] = ()
    heat: Heat | None = None
    panels: Sequence[Chart] = ()
    below: Chart | None = None
    ends: float | None = None
    data: Table | None = None
    caption: str = ""


@dataclass(frozen=True)
class Curve:
    """One of the curves of `Curves`.

    Attributes:
        group: what it is one of several of, such as an attack.
        label: what tells it from others of its group, such as a seed.
        columns: name to its values, all as long; None where there is none.

    Example:
        >>> Curve("foe", "seed 0", {"round": [20, 40], "accuracy": [0.5, 0.8]}).label
        'seed 0'
    """

    group: str
    label: str
    columns: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Curves:
    """Curves whose axes a reader chooses; only a site's page has them, drawn once it is asked to.

    Attributes:
        name: of the file of data, unique in its page.
        title: above them.
        x, y: the columns that each axis may have, the first first.
        curves: the curves; each group has a colour and, in bold, its mean.
        elsewhere: the command that shows the same numbers.

    Example:
        >>> curve = Curve("foe", "seed 0", {"round": [20, 40], "accuracy": [0.5, 0.8]})
        >>> Curves("curves", "Curves", ["round"], ["accuracy"], [curve]).x
        ['round']
    """

    name: str
    title: str
    x: Sequence[str]
    y: Sequence[str]
    curves: Sequence[Curve]
    elsewhere: str = ""


@dataclass(frozen=True)
class Finding:
    """A statement, whether it holds (None: undecided), and what shows it.

    Example:
        >>> Finding("the median tolerates FOE", True, "accuracy 0.83").holds
        True
    """

    statement: str
    holds: bool | None
    evidence: str


@dataclass(frozen=True)
class Heading:
    """The title of the blocks that follow.

    Example:
        >>> from hgobench.report.render import markdown
        >>> print(markdown(Page("a", "A", [Heading("Times")]), title=False))
        ### Times
    """

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: one paragraph, without markup.
        kind: ``"about"``: the method, left out in a terminal; ``"note"``: what a reader of the
            numbers must know; ``"answer"``: to a user's question, left out in Markdown.

    Example:
        >>> from hgobench.report.render import terminal
        >>> blocks = [Text("Medians of 7 runs."), Text("Three seeds only.", "note")]
        >>> print(terminal(Page("a", "A", blocks), title=False))
        Three seeds only.
    """

    text: str
    kind: Literal["about", "note", "answer"] = "about"


@dataclass(frozen=True)
class Findings:
    """Statements, as a table.

    Example:
        >>> page = Page("a", "A", [Findings([Finding("it holds", None, "3 seeds")])])
        >>> [finding.statement for finding in page.findings]
        ['it holds']
    """

    findings: Sequence[Finding]


@dataclass(frozen=True)
class Facts:
    """Names and their values.

    Attributes:
        facts: pairs of a name and a value, which may be a link.
        title: above them; empty: no title.
        folded: whether they are folded under the title; only HTML shows them then.

    Example:
        >>> from hgobench.report.render import terminal
        >>> print(terminal(Page("a", "A", [Facts([("rule", "median"), ("f", "4")])]), title=False))
        rule: median
        f: 4
    """

    facts: Sequence[tuple[str, str | Link]]
    title: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Items:
    """Short texts in a row, to be copied; lines are broken only between them.

    Example:
        >>> from hgobench.report.render import terminal
        >>> items = Items("in all cells:", ["f=4", "rounds=60"])
        >>> print(terminal(Page("a", "A", [items]), title=False))
        in all cells:  f=4  rounds=60
    """

    title: str
    items: Sequence[str]


Block = Heading | Text | Findings | Facts | Items | Table | Chart | Curves


@dataclass(frozen=True)
class Page:
    """A title and blocks, with the command that produces them.

    Attributes:
        name: of its files.
        title: of the page; terminal and Markdown may leave it out.
        blocks: its content, in order.
        command: the command that produces it; empty: it is not shown.
        long: all numbers in one table, as CSV; None: CSV is the page's tables, one after another.
        content: everything as data for JSON; None: the page has no JSON.

    Example:
        >>> table = Table("t", "", ["ms"], [[1.5]])
        >>> page = Page("times", "Times", [table, Text("One run.", "note")])
        >>> len(page.tables), page.charts
        (1, [])
    """

    name: str
    title: str
    blocks: Sequence[Block]
    command: str = ""
    long: Table | None = None
    content: Any = field(default=None, compare=False)

    @property
    def charts(self) -> list[Chart]:
        """Its charts."""
        return [block for block in self.blocks if isinstance(block, Chart)]

    @property
    def tables(self) -> list[Table]:
        """Its tables."""
        return [block for block in self.blocks if isinstance(block, Table)]

    @property
    def findings(self) -> list[Finding]:
        """Its statements."""
        return [
            finding
            for block in self.blocks
            if isinstance(block, Findings)
            for finding in block.findings
        ]


def study(
    name: str,
    title: str,
    about: Sequence[str],
    command: str,
    findings: Sequence[Finding] = (),
    charts: Sequence[Chart] = (),
    tables: Sequence[Table] = (),
    answer: str = "",
    content: Any = None,
) -> Page:
    """Return the page of an audit, or of an answer to a question, with its blocks in a fixed order.

    Args:
        name: of its files.
        title: of the page.
        about: paragraphs on the method.
        command: the command that produces it.
        findings, charts, tables: the results.
        answer: to a question, in one or two sentences; empty: there was no question.
        content: everything as data for JSON; None: nothing.

    >>> page = study("cost", "What it costs", ["How it was measured."], "hgobench audit cost")
    >>> [type(block).__name__ for block in page.blocks]
    ['Text']
    """
    blocks: list[Block] = [Text(answer, "answer")] if answer else []
    blocks += [Text(paragraph) for paragraph in about]
    blocks += [Findings(tuple(findings))] if findings else []
    return Page(name, title, (*blocks, *tables, *charts), command, content=content)
