"""A picture of ranks: the places that rows may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hgobench.errors import InputError
from hgobench.leaderboard import boards
from hgobench.report.page import Cell, Chart, Line
from hgobench.statistics import FEWEST

from .asked import Asked, chart, threat
from .cells import PANELS, Cells, divide, written

ROWS = 40


def ranks(cells: Cells, asked: Asked) -> Chart:
    """Draw the places that each row of the boards may have; see `hgobench.plot`."""
    made = [board for board in boards(cells.scores) if any(row.rank for row in board.rows)]
    if not made:
        raise InputError("plot: ranks: no row has a rank; hgobench leaderboard says why")
    if len(made) > PANELS:
        raise InputError(
            f"plot: ranks: {len(made)} boards, at most {PANELS} are drawn; choose some by `where`"
        )
    differing = [
        name
        for name in made[0].setting
        if len({str(board.setting.get(name)) for board in made}) > 1
    ]
    most = ROWS if asked.most is None else asked.most
    header = ["panel", "row", "first", "last", "worst", "seeds"]
    lines: list[Sequence[Cell]] = []
    panels, left_out, longer = [], 0, False
    for board in made:
        title = ", ".join(written(name, board.setting[name]) for name in differing)
        ranked = [row for row in board.rows if row.rank is not None]
        left_out += len(board.rows) - len(ranked)
        longer |= len(ranked) > most
        shown = ranked[:most]
        places = list(range(len(shown)))
        spans = [row.rank for row in shown if row.rank is not None]
        lines += [
            [title, row.label, span.first, span.last, row.worst.mean, row.worst.seeds]
            for row, span in zip(shown, spans, strict=True)
        ]
        line = Line(
            "ranks", places, places, [span.first for span in spans],
            [span.last for span in spans], "spans",
        )  # fmt: skip
        names = [f"{row.label}  {row.worst.mean:.2f}" for row in shown]
        panels.append(Chart("", title, "place", "", [line], names=names))
    division = replace(divide(cells, []), left_out=())  # of rows, which are counted here
    told = [
        f"The places that rows may have, by a test of all pairs on the same seeds, and their "
        f"{cells.split} accuracy: {threat(division)}."
    ]
    if min(board.seeds for board in made) < FEWEST:
        told.append(f"With fewer than {FEWEST} seeds no row can be told from another.")
    if longer:
        told.append(f"Of each board the {most} best rows.")
    if left_out:
        told.append(f"{left_out} rows without a rank are not drawn (hgobench leaderboard).")
    return chart("ranks", panels, division, header, lines, told)
