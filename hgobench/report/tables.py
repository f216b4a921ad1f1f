"""Boards as text: terminal, Markdown, LaTeX, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Literal

from tabulate import tabulate

from hgobench.leaderboard import Board, Estimate, Row, Split, as_data

Format = Literal["table", "markdown", "latex", "csv", "json"]

_TABULATE = {"table": "simple", "markdown": "github", "latex": "latex_booktabs"}


def render(
    ruleset: str,
    made: Sequence[Board],
    form: Format = "table",
    *,
    split: Split = "test",
    width: int | None = None,
) -> str:
    """Write boards of one ruleset in a format; the text ends without a newline.

    Args:
        ruleset: the name under which the scores compare.
        made: the boards.
        form: the format.
        split: which examples the accuracies are on.
        width: columns of the terminal; a table that is wider shows the attacks' means only.
    """
    if form == "json":
        return json.dumps(as_data(ruleset, made, split), indent=2, allow_nan=False)
    if form == "csv":
        return _csv(ruleset, made, split)
    parts = [_heading(f"ruleset {ruleset}", form)]
    for board in made:
        parts.append(_heading(board.title or "all results", form))
        table = _board(board, form)
        if form == "table" and width and max(map(len, table.splitlines())) > width:
            table = _board(board, form, short=True)
        parts.append(table)
    notes = _notes(made, split)
    parts.append("\n".join(_heading(note, form) for note in notes) if form == "latex" else
                 "\n".join(notes))  # fmt: skip
    return "\n\n".join(parts)


def _heading(text: str, form: Format) -> str:
    if form == "markdown":
        return f"### {text}"
    return f"% {text}" if form == "latex" else text


def _board(board: Board, form: Format, short: bool = False) -> str:
    headers = ["#", "algorithm and rule", "low", "worst", "by", *board.columns]
    clean = board.columns[:1] != ["none"] and any(row.clean for row in board.rows)
    if clean:
        headers.insert(5, "clean")
    gap = any(row.gap is not None for row in board.rows)
    if gap:
        headers.insert(5, "gap")
    headers = ["clean" if name == "none" else name for name in headers]
    body = []
    for row in board.rows:
        line = [
            "-" if row.rank is None else str(row.rank),
            row.label + _marks(row),
            f"{row.worst.low:.3f}",
            _cell(row.worst),
            row.worst_attack,
        ]
        if gap:
            line.append("-" if row.gap is None else f"{row.gap:.3f}")
        if clean:
            line.append(_cell(row.clean, short))
        body.append([*line, *(_cell(row.cells.get(name), short) for name in board.columns)])
    text: str = tabulate(
        body, headers, tablefmt=_TABULATE[form], disable_numparse=True, colalign=_align(headers)
    )
    return text


def _align(headers: Sequence[str]) -> list[str]:
    return ["left" if name in ("algorithm and rule", "by") else "right" for name in headers]


def _marks(row: Row) -> str:
    marks = (
        ("*", row.origin != "hgobench"),
        ("^", "root" in row.needs),
        ("=", "honest" in row.needs),
        ("!", row.ended),
        ("~", row.idle),
    )
    return "".join(f" {mark}" for mark, holds in marks if holds)


def _cell(value: Estimate | None, short: bool = False) -> str:
    if value is None:
        return "-"
    if value.seeds == 1 or short:
        return f"{value.mean:.3f}"
    return f"{value.mean:.3f} ±{max(value.mean - value.low, value.high - value.mean):.3f}"


def _notes(made: Sequence[Board], split: Split) -> list[str]:
    rows: list[Row] = [row for board in made for row in board.rows]
    seeds = sorted({cell.seeds for row in rows for cell in row.cells.values()})
    counted = "-".join(map(str, (seeds[0], seeds[-1]) if len(seeds) > 1 else seeds))
    interval = " with its 95 % interval" if seeds != [1] else ""
    notes = [
        f"{split.capitalize()} accuracy, mean over {counted} seed{'s' * (seeds != [1])}{interval}.",
        "worst: the mean of each seed's lowest accuracy under an attack; by: the attack with the "
        "lowest mean; low: the lower end of worst's interval, which ranks.",
    ]
    if seeds and seeds[0] < 3:
        notes.append("Fewer than 3 seeds: intervals and ranks mean little.")
    if any(row.origin != "hgobench" for row in rows):
        notes.append("* not part of hgobench")
    if any("root" in row.needs for row in rows):
        notes.append("^ the server has clean training examples of its own")
    if any("honest" in row.needs for row in rows):
        notes.append("= not ranked: is told who is honest; gap: how far worst is below its worst")
    if ended := sum(row.ended for row in rows):
        notes.append(f"! {ended} cells diverged or failed; each counts as 0")
    if idle := sum(row.idle for row in rows):
        notes.append(f"~ in {idle} cells too few workers answered, in every round, to aggregate")
    if any(row.missing for row in rows):
        notes.append("- not ranked: lacks cells that other rows have")
    return notes


def _csv(ruleset: str, made: Sequence[Board], split: Split) -> str:
    """One line per row and column: everything that the other formats round."""
    out = io.StringIO()
    settings = list(as_data(ruleset, made, split)["boards"][0])[:-1] if made else []
    about = (
        "rank",
        "algorithm",
        "rule",
        "label",
        "needs",
        "worst_attack",
        "gap",
        "ended",
        "idle",
        "missing",
    )
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ("ruleset", "split", *settings, *about, "column", "mean", "low", "high", "seeds")
    )
    for board in made:
        where = [board.setting[name] for name in settings]
        for row in board.rows:
            named = {"worst": row.worst, **({"clean": row.clean} if row.clean else {}), **row.cells}
            known = {name: getattr(row, name) for name in about} | {"needs": " ".join(row.needs)}
            stated = ["" if value is None else value for value in known.values()]
            for name, cell in named.items():
                numbers = (cell.mean, cell.low, cell.high, cell.seeds)
                writer.writerow((ruleset, split, *where, *stated, name, *numbers))
    return out.getvalue().rstrip("\n")
