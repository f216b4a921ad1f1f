"""``hgobench show FOLDER``: the cells of a store as text, what varies among them first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hgobench.leaderboard import order
from hgobench.scenario import Scenario

from . import writers
from .writers import EVERYTHING, Layout

NUMBERS = {"test_accuracy": ".3f", "stalled": "d", "mean_block_size": ".1f"}
MOST = 100  # characters of a line of fields
LONG = 40  # characters; a column of longer texts has numbers, which are explained above it
Cell = Mapping[str, Any]  # as `Store.export` has it


def overview(cells: Sequence[Cell], layout: Layout = EVERYTHING) -> str:
    """Return a line per cell: the fields that vary, then numbers; above it what is the same in all.

    Args:
        cells: at least one.
        layout: how wide it may be.
    """
    named = [{"ruleset": cell["ruleset"], **cell["scenario"]} for cell in cells]
    fields = ["ruleset", *Scenario.declarations()]
    varying = [name for name in fields if len({one[name] for one in named}) > 1]
    same = [f"{name}={named[0][name]}" for name in fields if name not in varying]
    about = _filled("in all cells:", [writers.visible(text) for text in same], layout)
    notes, written = [], {}
    for name in varying:
        values = sorted({one[name] for one in named}, key=order)
        long = max(len(str(value)) for value in values) > LONG
        written[name] = {
            value: f"[{i}]" if long else str(value) for i, value in enumerate(values, 1)
        }
        notes += [f"{name} {short}: {value}" for value, short in written[name].items() if long]
    summaries = [cell["summary"] for cell in cells]
    ended = [name for name in ("status", "reason") if any(s["status"] != "done" for s in summaries)]
    rows = [
        [
            *(written[name][one[name]] for name in varying),
            *(_number(summary[name], form) for name, form in NUMBERS.items()),
            *(" ".join(summary[name].split()) for name in ended),
        ]
        for one, summary in sorted(
            zip(named, summaries, strict=True),
            key=lambda pair: [order(pair[0][name]) for name in varying],
        )
    ]
    text = [name for name in varying if any(isinstance(one[name], str) for one in named)]
    header = [*varying, *NUMBERS, *ended]
    right = [i for i, name in enumerate(header) if name not in (*text, *ended)]
    table = writers.table(header, rows, right=right, layout=layout)
    return "\n\n".join(filter(None, [about, "\n".join(map(layout.text, notes)), table]))


def rounds(cell: Cell, layout: Layout = EVERYTHING) -> str:
    """Return all that is known of a cell: its fields, how it ended, and a line per round."""
    about = {"ruleset": cell["ruleset"], **cell["scenario"]}
    about |= {name: cell["summary"][name] for name in ("status", "reason")}
    lines = [layout.text(f"{name}: {value}") for name, value in about.items()]
    columns: Mapping[str, Sequence[Any]] = cell["rounds"]
    body = [[_number(value) for value in row] for row in zip(*columns.values(), strict=True)]
    right = range(len(columns))
    layout = replace(layout, keep=3)
    return "\n".join([*lines, writers.table(list(columns), body, right=right, layout=layout)])


def _filled(start: str, items: Sequence[str], layout: Layout) -> str:
    """Return items on lines; one is cut only if it is wider than a line: it is to be pasted."""
    width = min(layout.width or MOST, MOST)
    lines = [start]
    for item in items:
        if len(lines[-1]) + 2 + len(item) > width:
            lines.append("")
        lines[-1] += f"  {item}"
    return "\n".join(map(layout.text, lines))


def _number(value: float | None, form: str = ".6g") -> str:
    if value is None:
        return "-"
    return format(value, form) if isinstance(value, float) else str(value)
