"""The Markdown document of audits, `docs/theory.md`, with a section per audit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hgobench.paper import CITATION
from hgobench.report import charts, writers
from hgobench.report.page import Chart, Page
from hgobench.report.render import markdown


def write(path: Path, pages: Sequence[Page], title: str, command: str) -> None:
    """Write a Markdown document of pages, and its pictures in a folder next to it.

    If the file is such a document already and has other sections besides these, only these sections
    and their pictures are replaced.
    """
    pictures = path.parent / path.stem
    pictures.mkdir(parents=True, exist_ok=True)
    sections = {}
    for page in pages:
        for old in pictures.glob(f"{page.name}-*.png"):
            old.unlink()

        def picture(chart: Chart, page: Page = page) -> str:
            file = pictures / f"{page.name}-{chart.name}.png"
            charts.save(chart, file)
            return f"{path.stem}/{file.name}"

        sections[page.command] = markdown(page, 2, picture)
    head, existing = _sections(path)
    if set(sections) < set(existing):
        sections = existing | sections
    else:
        head = (
            f"# {writers.markdown(title)}\n\nWritten by "
            f"{writers.code(f'{command} --document {path}')}; do not edit it.\n\n"
            f"The paper: {CITATION}."
        )
    body = "\n\n".join((head, *sections.values()))
    path.write_text(f"{body}\n", encoding="utf-8")


def _sections(path: Path) -> tuple[str, dict[str, str]]:
    """Return the head of a document, and its sections by their commands."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    by_command = {}
    for section in sections:
        command = re.match(r"## .*\n\n`(hgobench audit .+)`\n", section)
        if command is None:
            return "", {}
        by_command[command[1]] = section.strip()
    return head.strip(), by_command
