"""What ``hgobench audit`` and ``plan`` leave: a page with its data inside, text, and CSV files."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hgobench
from hgobench.audits.study import Chart, Finding, Study, Table
from hgobench.paper import CITATION

from . import frame, writers
from .writers import EVERYTHING, Layout
from .writers import html as escape

LONG = 48  # rows; a longer table is in its CSV file, and folded on the page
SAID = {True: "yes", False: "no", None: "undecided"}


def cell(value: str | float | int) -> str:
    """Write a cell of a table: numbers with at most four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def chart_csv(chart: Chart) -> str:
    """Return every point of a chart."""
    rows: list[Sequence[object]] = [["line", chart.x, chart.y, "low", "high"]]
    for line in chart.lines:
        nothing = [""] * len(line.x)
        columns = (line.x, line.y, line.low or nothing, line.high or nothing)
        for point in zip(*columns, strict=True):
            numbers = [f"{n:.7g}" if isinstance(n, float) else str(n) for n in point]
            rows.append([line.label, *numbers])
    return writers.csv_text(rows)


def table_csv(table: Table) -> str:
    """Return a table's cells, numbers with all their digits."""
    return writers.csv_text([table.header, *table.rows])


def draw(chart: Chart) -> Any:
    """Draw a chart."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(7.2, 4.4), layout="constrained")
    panel = canvas.subplots()
    drawn = [line for line in chart.lines if line.style != "faint"]
    many = len(drawn) > 10
    colours = colormaps["tab20" if many else "tab10"]
    number = 0
    used: dict[str, Any] = {}
    for line in chart.lines:
        points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
        x, y = [x for x, _ in points], [y for _, y in points]
        if line.style == "faint":
            panel.plot(x, y, color="0.75", linewidth=0.7, zorder=1)
            continue
        if line.like:
            colour = used[line.like]
        else:
            colour, number = colours(number % (20 if many else 10)), number + 1
        used[line.label] = colour
        marker = "os^v"[(number - 1) // 10 % 4]
        styles: dict[str, dict[str, Any]] = {
            "line": {"linewidth": 1.5, "marker": marker if len(x) <= 24 else "", "markersize": 3},
            "dashed": {"linewidth": 1.2, "linestyle": (0, (4, 2))},
            "points": {"linewidth": 0, "marker": "o", "markersize": 4, "alpha": 0.7},
        }
        panel.plot(x, y, color=colour, label=writers.drawn(line.label), **styles[line.style])
        if line.low is not None and line.high is not None:
            panel.fill_between(line.x, line.low, line.high, color=colour, alpha=0.12, linewidth=0)
    if "x" in chart.log:
        panel.set_xscale("log")
    if "y" in chart.log:
        panel.set_yscale("log")
    if chart.ticks:
        ticks = list(map(writers.drawn, chart.ticks))
        panel.set_xticks(range(len(chart.ticks)), ticks, rotation=40, ha="right", fontsize=8)
    panel.set_title(writers.drawn(chart.title), fontsize=11)
    panel.set_xlabel(writers.drawn(chart.x))
    panel.set_ylabel(writers.drawn(chart.y))
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    if len(drawn) > 6:
        canvas.legend(loc="outside right upper", frameon=False, fontsize=8)
    elif drawn:
        panel.legend(frameon=False, fontsize=9)
    return canvas


def page(study: Study) -> str:
    """Return a study's page."""
    parts = [f'<p class="note">{escape(study.answer)}</p>'] if study.answer else []
    parts += [f"<p>{escape(text)}</p>" for text in study.about]
    if study.findings:
        parts += ["<h2>Findings</h2>", _findings(study.findings)]
    for table in study.tables:
        numbers = [
            all(isinstance(row[i], int | float) for row in table.rows)
            for i in range(len(table.header))
        ]
        rows = [[cell(value) for value in row] for row in table.rows]
        link = frame.download(f"{study.name}-{table.name}.csv", table_csv(table), "as CSV")
        inside = frame.table(table.header, rows, numbers)
        inside = f'<div class="wide">{inside}</div>'
        if len(rows) > LONG:
            inside = f"<details><summary>{len(rows)} rows</summary>{inside}</details>"
        parts.append(f"<h2>{escape(table.title)}</h2>{inside}<p>{link}</p>")
    for chart in study.charts:
        link = frame.download(f"{study.name}-{chart.name}.csv", chart_csv(chart), "data as CSV")
        parts.append(f"{frame.svg(partial(draw, chart), chart.name)}<p>{link}</p>")
    parts.append(
        f"<footer>hgobench {hgobench.__version__}, <code>{escape(study.command)}</code></footer>"
    )
    return frame.html(study.title, "\n".join(parts))


def _findings(findings: Sequence[Finding]) -> str:
    kinds = {True: "yes", False: "no", None: ""}
    rows = "".join(
        f'<tr><td>{escape(f.statement)}</td><td class="{kinds[f.holds]}">{SAID[f.holds]}</td>'
        f"<td>{escape(f.evidence)}</td></tr>"
        for f in findings
    )
    return (
        "<table><thead><tr><th>statement</th><th>holds</th><th>evidence</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def text(study: Study, form: writers.Form = "table", layout: Layout = EVERYTHING) -> str:
    """Return findings and tables as text or Markdown."""
    parts = []
    title = writers.paragraph if form == "markdown" else layout.text
    if study.findings:
        rows = [[f.statement, SAID[f.holds], f.evidence] for f in study.findings]
        header = ["statement", "holds", "evidence"]
        parts.append(writers.table(header, rows, form, layout=layout, most={0: 44, 2: 60}))
    for table in study.tables:
        if len(table.rows) > LONG:
            where = f"{table.title}: {len(table.rows)} rows, {study.name}-{table.name}.csv"
            parts.append(title(where))
            continue
        cells = [[cell(value) for value in row] for row in table.rows]
        parts.append(title(table.title))
        parts.append(writers.table(table.header, cells, form, layout=layout))
    return "\n\n".join(parts)


def write(folder: Path, study: Study) -> Path:
    """Write a study's page, and its data as CSV files beside it; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for chart in study.charts:
        (folder / f"{study.name}-{chart.name}.csv").write_text(chart_csv(chart), encoding="utf-8")
    for table in study.tables:
        (folder / f"{study.name}-{table.name}.csv").write_text(table_csv(table), encoding="utf-8")
    path = folder / f"{study.name}.html"
    path.write_text(page(study), encoding="utf-8")
    return path


def document(path: Path, studies: Sequence[Study], title: str, command: str) -> None:
    """Write a Markdown document of studies, with its pictures in a folder beside it.

    Where the file is such a document and has a section of each of them, and others, only these
    sections and their pictures are replaced.
    """
    pictures = path.parent / path.stem
    pictures.mkdir(parents=True, exist_ok=True)
    sections = {}
    for study in studies:
        shown = []
        for old in pictures.glob(f"{study.name}-*.png"):
            old.unlink()
        for chart in study.charts:
            file = f"{study.name}-{chart.name}.png"
            draw(chart).savefig(pictures / file, dpi=80, metadata={"Software": None})
            shown.append(f"![{writers.markdown(chart.title)}]({path.stem}/{file})")
        about = map(writers.paragraph, study.about)
        heading = f"## {writers.markdown(study.title)}"
        parts = [heading, writers.code(study.command), *about, text(study, "markdown"), *shown]
        sections[study.command] = "\n\n".join(parts)
    head, before = _sections(path)
    if set(sections) < set(before):
        sections = before | sections
    else:
        head = (
            f"# {writers.markdown(title)}\n\nWritten by "
            f"{writers.code(f'{command} --document {path}')}; do not edit it.\n\n"
            f"The paper: {CITATION}."
        )
    body = "\n\n".join((head, *sections.values()))
    path.write_text(f"{body}\n", encoding="utf-8")


def _sections(path: Path) -> tuple[str, dict[str, str]]:
    """Return what stands before the sections of a document, and these by their commands."""
    written = path.read_text(encoding="utf-8") if path.exists() else ""
    head, *sections = re.split(r"^(?=## )", written, flags=re.MULTILINE)
    found = {}
    for section in sections:
        named = re.match(r"## .*\n\n`(hgobench audit .+)`\n", section)
        if named is None:
            return "", {}
        found[named[1]] = section.strip()
    return head.strip(), found
