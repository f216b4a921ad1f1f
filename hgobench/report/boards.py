"""Boards as a page, for every format."""

from __future__ import annotations

from collections.abc import Sequence

from hgobench.leaderboard import Board, Estimate, Row, Split, as_data

from .page import Block, Cell, Heading, Page, Table, Text
from .render import Format
from .render import render as written
from .writers import WIDE, Layout

KEPT = 4  # columns that are never left out: rank, name, low, and the mean that it belongs to
NAMES = ("algorithm and rule", "by")  # columns of text


def render(
    ruleset: str,
    made: Sequence[Board],
    form: Format = "table",
    *,
    split: Split = "test",
    width: int | None = None,
    hint: str = WIDE,
) -> str:
    """Write boards of one ruleset in a format; the text ends without a newline.

    Args:
        ruleset: the name under which the scores compare.
        made: the boards.
        form: the format.
        split: which examples the accuracies are on.
        width: how many columns a table may take; None: any number. One that is wider shows the
            attacks' means without intervals; if it still is, columns are left out from the right,
            but never rank, name, `low` and the mean that it belongs to.
        hint: how to see all; it follows the names of columns that are left out.
    """
    return written(page(ruleset, made, split), form, Layout(width, hint=hint))


def page(ruleset: str, made: Sequence[Board], split: Split = "test") -> Page:
    """Return boards of one ruleset as a page.

    Args:
        ruleset: the name under which the scores compare.
        made: the boards.
        split: which examples the accuracies are on.
    """
    blocks: list[Block] = []
    for board in made:
        blocks += [Heading(board.title or "all results"), _table(board)]
    blocks += [Text(note, "note") for note in _notes(made, split)]
    return Page(
        "boards",
        f"ruleset {ruleset}",
        blocks,
        long=_long(ruleset, made, split),
        content=as_data(ruleset, made, split),
    )


def attacked(board: Board) -> bool:
    """Say whether any cell of a board was attacked."""
    return any(row.worst_attack for row in board.rows)


def _table(board: Board) -> Table:
    """Return a board as a table; narrower: with fewer intervals, then with none."""
    whole, *narrower = (_cells(board, short) for short in (0, 1, 2))
    header = whole[0]
    right = [i for i, name in enumerate(header) if name not in NAMES]
    return Table(
        "", "", header, whole[1], right, KEPT,
        narrower=[Table("", "", header, rows, right, KEPT) for _, rows in narrower],
    )  # fmt: skip


def _cells(board: Board, short: int) -> tuple[list[str], list[list[Cell]]]:
    """Return a board's header and rows; `short` leaves out intervals: 1: but the worst's; 2: all.

    Without any attack, the worst case is the one there is, and has no column of its own.
    """
    under_attack = attacked(board)
    columns = [name for name in board.columns if under_attack or name != "none"]
    gap = any(row.gap is not None for row in board.rows)
    clean = "none" not in board.columns and any(row.clean for row in board.rows) and under_attack
    header = ["#", "algorithm and rule", "low", "worst" if under_attack else "clean"]
    header += ["by"] * under_attack + ["gap"] * gap + ["clean"] * clean
    header += ["clean" if name == "none" else name for name in columns]
    rows = []
    for row in board.rows:
        line: list[Cell] = [
            "-" if row.rank is None else str(row.rank),
            row.label + _marks(row),
            f"{row.worst.low:.3f}",
            _cell(row.worst, short > 1),
        ]
        if under_attack:
            line.append(row.worst_attack or "-")
        if gap:
            line.append("-" if row.gap is None else f"{row.gap:.3f}")
        if clean:
            line.append(_cell(row.clean, short > 0))
        rows.append([*line, *(_cell(row.cells.get(name), short > 0) for name in columns)])
    return header, rows


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
    ]
    if any(map(attacked, made)):
        notes.append(
            "worst: the mean of each seed's lowest accuracy under an attack; by: the attack with "
            "the lowest mean; low: the lower end of worst's interval, which ranks."
        )
    if not all(map(attacked, made)):
        notes.append(
            f"{'Where there is no worst, no' if any(map(attacked, made)) else 'No'} attack was "
            "run: low is the lower end of clean's interval, which ranks."
        )
    if seeds and seeds[0] < 3:
        notes.append("Fewer than 3 seeds: intervals and ranks mean little.")
    if any(row.origin != "hgobench" for row in rows):
        notes.append("* not part of hgobench")
    if any("root" in row.needs for row in rows):
        notes.append("^ the server has clean training examples of its own")
    if any("honest" in row.needs for row in rows):
        notes.append("= not ranked: is told who is honest; gap: how far worst is below its worst")
    if ended := sum(row.ended for row in rows):
        late = sum(row.late for row in rows)
        out = f", {late} of them out of time" if late else ""
        notes.append(f"! {ended} cells diverged or failed{out}; each counts as 0")
    if idle := sum(row.idle for row in rows):
        notes.append(f"~ in {idle} cells too few workers answered, in every round, to aggregate")
    notes += dict.fromkeys(note for board in made for note in board.notes)
    if any(row.missing for row in rows):
        notes.append("- not ranked: lacks cells that other rows have")
    return notes


def _long(ruleset: str, made: Sequence[Board], split: Split) -> Table:
    """Return a line per row and column: everything that boards round."""
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
        "late",
        "idle",
        "missing",
    )
    header = ("ruleset", "split", *settings, *about, "column", "mean", "low", "high", "seeds")
    lines: list[Sequence[Cell]] = []
    for board in made:
        where = [board.setting[name] for name in settings]
        for row in board.rows:
            named = {"worst": row.worst, **({"clean": row.clean} if row.clean else {}), **row.cells}
            known = {name: getattr(row, name) for name in about} | {"needs": " ".join(row.needs)}
            for name, cell in named.items():
                numbers = (cell.mean, cell.low, cell.high, cell.seeds)
                lines.append((ruleset, split, *where, *known.values(), name, *numbers))
    return Table("boards", "", header, lines)
