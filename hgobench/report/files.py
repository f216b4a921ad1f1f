"""Pages as files: a folder of HTML and CSV."""

from __future__ import annotations

from pathlib import Path

from .html import html
from .page import Page
from .render import chart_csv, file_name, table_csv


def write(folder: Path, page: Page) -> Path:
    """Write a page as HTML and its data as CSV files; return the HTML file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for chart in page.charts:
        (folder / file_name(page, chart)).write_text(chart_csv(chart), encoding="utf-8")
    for table in page.tables:
        if table.name:
            (folder / file_name(page, table)).write_text(table_csv(table), encoding="utf-8")
    path = folder / f"{page.name}.html"
    path.write_text(html(page), encoding="utf-8")
    return path
