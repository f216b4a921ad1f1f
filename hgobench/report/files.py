"""Pages as files: a folder of HTML, CSV and JSON, and a site."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from . import kept
from .html import SCRIPT, STYLE, Frame, data_name, data_script, html, script, style
from .page import Curves, Link, Page
from .render import chart_csv, csv, curves_csv, file_name, latex, table_csv


def write(folder: Path, page: Page, frame: Frame | None = None) -> Path:
    """Write a page as HTML, its tables and curves as CSV, and its data as JSON, if it has any.

    Args:
        folder: where the files go.
        page: the page.
        frame: of the site that it is a page of; a page with data is then written as LaTeX, too.
            None: the page stands for itself, and is written so that a site can show it (`kept`).

    Returns:
        The HTML file's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for chart in page.charts:
        _text(folder / file_name(page, chart), chart_csv(chart))
    for table in page.tables:
        if table.name:
            _text(folder / file_name(page, table), table_csv(table))
    if frame is not None:
        for curves in (block for block in page.blocks if isinstance(block, Curves)):
            _text(folder / file_name(page, curves), curves_csv(curves))
            _text(folder / data_name(page, curves), data_script(page, curves))
    if frame is not None and page.long is not None:
        files.append(Link("CSV", f"{page.name}.csv"))
        _text(folder / f"{page.name}.csv", csv(page) + "\n")
    if page.content is not None:
        files.append(Link("JSON", f"{page.name}.json"))
        _text(folder / f"{page.name}.json", json.dumps(page.content, indent=1) + "\n")
    if frame is None:
        _text(folder / f"{page.name}{kept.ENDING}", kept.to_json(page) + "\n")
    else:
        if page.content is not None:
            files.append(Link("LaTeX", f"{page.name}.tex"))
            _text(folder / f"{page.name}.tex", latex(page) + "\n")
        frame = replace(frame, files=files)
    return _text(folder / f"{page.name}.html", html(page, frame))


def shared(folder: Path) -> None:
    """Write what the pages of a site share: the style and the script."""
    _text(folder / STYLE, style())
    _text(folder / SCRIPT, script())


def _text(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
