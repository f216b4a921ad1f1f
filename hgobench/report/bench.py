"""Tables of measurements."""

from __future__ import annotations

import json
from collections.abc import Sequence

from . import writers
from .writers import EVERYTHING, Layout


def rendered(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str],
    form: str,
    layout: Layout = EVERYTHING,
) -> str:
    """Write rows of names and numbers (None: not measured) as table, markdown, csv or json.

    Columns without a number are left out of the first two.
    """
    if form == "json":
        return json.dumps([dict(zip(headers, row, strict=True)) for row in rows], indent=1)
    if form == "csv":
        return writers.csv_text([headers, *rows]).rstrip()
    kept = [i for i in range(len(headers)) if any(row[i] is not None for row in rows)]
    shown = [[_short(row[i]) for i in kept] for row in rows]
    right = [j for j, i in enumerate(kept) if not isinstance(rows[0][i], str)]
    names = [headers[i] for i in kept]
    style: writers.Form = "markdown" if form == "markdown" else "table"
    return writers.table(names, shown, style, right=right, layout=layout)


def _short(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
