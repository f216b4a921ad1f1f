"""What an audit finds: data for a page, drawn elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Style = Literal["line", "dashed", "points", "faint"]


@dataclass(frozen=True)
class Line:
    """A line of a chart, or its points.

    Attributes:
        label: what it is.
        x, y: its points; a y that is not finite is left out of the drawing.
        low, high: a band around it, or none.
        style: ``"faint"``: thin and grey, without a place in the legend.
        like: the label of an earlier line whose colour it has.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    style: Style = "line"
    like: str = ""


@dataclass(frozen=True)
class Chart:
    """A drawing; its data is a CSV file of the same name.

    Attributes:
        name: of the file, unique in its study.
        title, x, y: what stands above it and at its axes.
        lines: what is drawn.
        log: the axes that are logarithmic: ``""``, ``"x"``, ``"y"``, ``"xy"``.
        ticks: names of x = 0, 1, ..; none: x is a number.
    """

    name: str
    title: str
    x: str
    y: str
    lines: Sequence[Line]
    log: Literal["", "x", "y", "xy"] = ""
    ticks: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """A table of text and numbers."""

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | float | int]]


@dataclass(frozen=True)
class Finding:
    """A statement, whether it holds, and what shows it; None: neither."""

    statement: str
    holds: bool | None
    evidence: str


@dataclass(frozen=True)
class Study:
    """An audit, or an answer to a question.

    Attributes:
        name: of its files.
        title: of its page.
        about: paragraphs on what was done.
        findings, charts, tables: what came out.
        command: what makes it again.
        answer: to a question, in one or two sentences; none: it is no question.
    """

    name: str
    title: str
    about: Sequence[str]
    command: str
    findings: Sequence[Finding] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = field(default=())
    answer: str = ""
