"""Tables of measurements."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from tabulate import tabulate


def rendered(rows: Sequence[Sequence[object]], headers: Sequence[str], form: str) -> str:
    """Write rows of names and numbers (None: not measured) as table, markdown, csv or json.

    Columns without a number are left out of the first two.
    """
    if form == "json":
        return json.dumps([dict(zip(headers, row, strict=True)) for row in rows], indent=1)
    if form == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([headers, *rows])
        return text.getvalue().rstrip()
    kept = [i for i in range(len(headers)) if any(row[i] is not None for row in rows)]
    shown = [[_short(row[i]) for i in kept] for row in rows]
    style = "github" if form == "markdown" else "simple"
    align = ["left" if isinstance(rows[0][i], str) else "right" for i in kept]
    names = [headers[i] for i in kept]
    return str(tabulate(shown, names, tablefmt=style, colalign=align, disable_numparse=True))


def _short(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
