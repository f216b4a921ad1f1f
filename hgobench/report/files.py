"""Pages as files: a folder of HTML, CSV and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from .html import html
from .page import Page
from .render import chart_csv, file_name, table_csv


def write(folder: Path, page: Page) -> Path:
    """Write a page as HTML, its tables and curves as CSV, and its data as JSON, if it has any.

    Returns:
        The HTML file's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for chart in page.charts:
        (folder / file_name(page, chart)).write_text(chart_csv(chart), encoding="utf-8")
    for table in page.tables:
        if table.name:
            (folder / file_name(page, table)).write_text(table_csv(table), encoding="utf-8")
    if page.content is not None:
        content = json.dumps(page.content, indent=1)
        (folder / f"{page.name}.json").write_text(content + "\n", encoding="utf-8")
    path = folder / f"{page.name}.html"
    path.write_text(html(page), encoding="utf-8")
    return path
