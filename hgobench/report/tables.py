"""Boards as text: terminal, Markdown, LaTeX, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Literal

from tabulate import tabulate

from hgobench.leaderboard import Board, Estimate, Row, as_data

Format = Literal["table", "markdown", "latex", "csv", "json"]

_TABULATE = {"table": "simple", "markdown": "github", "latex": "latex_booktabs"}


def render(ruleset: str, made: Sequence[Board], form: Format = "table") -> str:
    """Write boards of one ruleset in a format; the text ends without a newline."""
    if form == "json":
        return json.dumps(as_data(ruleset, made), indent=2, allow_nan=False)
    if form == "csv":
        return _csv(ruleset, made)
    parts = [_heading(f"ruleset {ruleset}", form)]
    for board in made:
        parts.append(_heading(board.title or "all results", form))
        parts.append(_board(board, form))
    notes = _notes(made)
    return "\n\n".join(parts + ([notes] if notes else []))


def _heading(text: str, form: Format) -> str:
    if form == "markdown":
        return f"### {text}"
    return f"% {text}" if form == "latex" else text


def _board(board: Board, form: Format) -> str:
    headers = ["#", "algorithm and rule", "low", "worst", "by", *board.columns]
    clean = board.columns[:1] != ["none"] and any(row.clean for row in board.rows)
    if clean:
        headers.insert(5, "clean")
    headers = ["clean" if name == "none" else name for name in headers]
    body = []
    for row in board.rows:
        line = [
            "-" if row.rank is None else str(row.rank),
            row.label
            + ("" if row.origin == "hgobench" else " *")
            + ("" if not row.ended else " !"),
            f"{row.worst.low:.3f}",
            _cell(row.worst),
            row.worst_attack,
        ]
        if clean:
            line.append(_cell(row.clean))
        body.append([*line, *(_cell(row.cells.get(name)) for name in board.columns)])
    text: str = tabulate(
        body, headers, tablefmt=_TABULATE[form], disable_numparse=True, colalign=_align(headers)
    )
    return text


def _align(headers: Sequence[str]) -> list[str]:
    return ["left" if name in ("algorithm and rule", "by") else "right" for name in headers]


def _cell(value: Estimate | None) -> str:
    if value is None:
        return "-"
    if value.seeds == 1:
        return f"{value.mean:.3f}"
    return f"{value.mean:.3f} ±{max(value.mean - value.low, value.high - value.mean):.3f}"


def _notes(made: Sequence[Board]) -> str:
    rows: list[Row] = [row for board in made for row in board.rows]
    seeds = sorted({cell.seeds for row in rows for cell in row.cells.values()})
    counted = "-".join(map(str, (seeds[0], seeds[-1]) if len(seeds) > 1 else seeds))
    notes = [
        f"Test accuracy, mean over {counted} seed{'s' if seeds != [1] else ''}"
        + (" with its 95 % interval" if seeds != [1] else "")
        + "; ranked by low, the lower end of the worst case over attacks."
    ]
    if any(row.origin != "hgobench" for row in rows):
        notes.append("* not part of hgobench")
    if ended := sum(row.ended for row in rows):
        notes.append(f"! {ended} cells diverged or failed; each counts as 0")
    if any(row.missing for row in rows):
        notes.append("- not ranked: lacks cells that other rows have")
    return "\n".join(notes)


def _csv(ruleset: str, made: Sequence[Board]) -> str:
    """One line per row and column: everything that the other formats round."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        (
            "ruleset",
            "partition",
            "hardware",
            "rank",
            "algorithm",
            "rule",
            "label",
            "column",
            "mean",
            "low",
            "high",
            "seeds",
        )
    )
    for board in made:
        where = [board.setting.get(name, "") for name in ("partition", "hardware")]
        for row in board.rows:
            named = [("worst", row.worst), *row.cells.items()]
            for name, cell in named:
                rank = "" if row.rank is None else row.rank
                about = (ruleset, *where, rank, row.algorithm, row.rule, row.label, name)
                writer.writerow((*about, cell.mean, cell.low, cell.high, cell.seeds))
    return out.getvalue().rstrip("\n")
