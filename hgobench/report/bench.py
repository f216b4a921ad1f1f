"""Measurements as a page."""

from __future__ import annotations

from collections.abc import Sequence

from .page import Cell, Page, Shown, Table


def page(rows: Sequence[Sequence[Cell]], headers: Sequence[str]) -> Page:
    """Return rows of names and numbers (None: not measured) as a page.

    Its table leaves out columns without a number; CSV and JSON have all.
    """
    columns = [i for i in range(len(headers)) if any(row[i] is not None for row in rows)]
    cells = [[_short(row[i]) for i in columns] for row in rows]
    numeric = [j for j, i in enumerate(columns) if not isinstance(rows[0][i], str)]
    return Page(
        "bench",
        "Measurements",
        [Table("", "", [headers[i] for i in columns], cells, numeric)],
        long=Table("bench", "", headers, rows),
        content=[dict(zip(headers, row, strict=True)) for row in rows],
    )


def _short(value: Cell) -> Cell:
    if not isinstance(value, float):
        return value
    text = f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    return Shown(text, value)
