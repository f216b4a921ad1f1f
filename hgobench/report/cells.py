"""``hgobench show FOLDER``: the cells of a store, what varies among them first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hgobench.leaderboard import order
from hgobench.resolution import Resolved
from hgobench.scenario import Scenario

from .page import Block, Facts, Items, Page, Table

NUMBERS = {"test_accuracy": ".3f", "stalled": "d", "mean_block_size": ".1f"}
LONG = 40  # characters; a column of longer texts has numbers, which are explained above it
Cell = Mapping[str, Any]  # as `Store.export` has it


def overview(cells: Sequence[Cell]) -> Page:
    """Return a row per cell: the fields that vary, then numbers; above it what is the same in all.

    What others say already comes last, and is left out first where the table is too wide: fields
    that were worked out of those that vary, and all numbers but the accuracy.

    Args:
        cells: at least one.
    """
    named = [{"ruleset": cell["ruleset"], **cell["scenario"]} for cell in cells]
    fields = ["ruleset", *Scenario.declarations()]
    varying = [name for name in fields if len({one[name] for one in named}) > 1]
    same = [f"{name}={named[0][name]}" for name in fields if name not in varying]
    implied = _implied(named, varying)
    varying = [name for name in varying if name not in implied]
    notes, written = [], {}
    for name in (*varying, *implied):
        values = sorted({one[name] for one in named}, key=order)
        long = max(len(str(value)) for value in values) > LONG
        written[name] = {
            value: f"[{i}]" if long else str(value) for i, value in enumerate(values, 1)
        }
        notes += [(f"{name} {short}", str(value)) for value, short in written[name].items() if long]
    summaries = [cell["summary"] for cell in cells]
    ended = [name for name in ("status", "reason") if any(s["status"] != "done" for s in summaries)]
    accuracy, *others = NUMBERS
    rows = [
        [
            *(written[name][one[name]] for name in varying),
            _number(summary[accuracy], NUMBERS[accuracy]),
            *(" ".join(summary[name].split()) for name in ended),
            *(written[name][one[name]] for name in implied),
            *(_number(summary[name], NUMBERS[name]) for name in others),
        ]
        for one, summary in sorted(
            zip(named, summaries, strict=True),
            key=lambda pair: [order(pair[0][name]) for name in varying],
        )
    ]
    text = [n for n in (*varying, *implied) if any(isinstance(one[n], str) for one in named)]
    kept = [*varying, accuracy, *ended]
    header = [*kept, *implied, *others]
    right = [i for i, name in enumerate(header) if name not in (*text, *ended)]
    blocks: list[Block] = [Items("in all cells:", same)]
    blocks += [Facts(notes)] if notes else []
    return Page("cells", "Cells", [*blocks, Table("", "", header, rows, right, len(kept))])


def _implied(named: Sequence[Mapping[str, Any]], varying: Sequence[str]) -> list[str]:
    """Return the fields that can be worked out of others, and that vary with these alone."""
    given = [name for name in varying if name not in Resolved._fields]
    implied = []
    for name in varying:
        if name not in given:
            values: dict[tuple[Any, ...], set[Any]] = {}
            for one in named:
                values.setdefault(tuple(one[other] for other in given), set()).add(one[name])
            if all(len(several) == 1 for several in values.values()):
                implied.append(name)
    return implied


def rounds(cell: Cell) -> Page:
    """Return all that is known of a cell: its fields, how it ended, and a line per round."""
    about = {"ruleset": cell["ruleset"], **cell["scenario"]}
    about |= {name: cell["summary"][name] for name in ("status", "reason")}
    columns: Mapping[str, Sequence[Any]] = cell["rounds"]
    body = [[_number(value) for value in row] for row in zip(*columns.values(), strict=True)]
    facts = Facts([(name, str(value)) for name, value in about.items()])
    table = Table("", "", list(columns), body, right=range(len(columns)), keep=3)
    return Page("cell", "A cell", [facts, table])


def damaged(rows: Sequence[tuple[str, str, str]]) -> Page:
    """Return the rows of a store that can't be read: key, ruleset, problem."""
    return Page("damaged", "Damaged rows", [Table("", "", ["key", "ruleset", "problem"], rows)])


def _number(value: float | None, form: str = ".6g") -> str:
    if value is None:
        return "-"
    return format(value, form) if isinstance(value, float) else str(value)
