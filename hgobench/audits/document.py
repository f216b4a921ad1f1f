"""The Markdown document of audits, `docs/theory.md`: a section for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hgobench.paper import CITATION
from hgobench.report import charts, writers
from hgobench.report.page import Chart, Page
from hgobench.report.render import markdown


def write(path: Path, pages: Sequence[Page], title: str, command: str) -> None:
    """Write a Markdown document of pages, with its pictures in a folder beside it.

    Where the file is such a document and has a section of each of them, and others, only these
    sections and their pictures are replaced.
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
