"""``hgobench show FOLDER``: the cells of a store, with the fields that vary first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hgobench.leaderboard import order
from hgobench.resolution import Resolved
from hgobench.scenario import Scenario

from .page import Block, Facts, Items, Page, Table

NUMBERS = {"test_accuracy": ".3f", "stalled": "d", "mean_block_size": ".1f"}
LONG = 40  # characters; longer texts are replaced by numbers, which are explained above the table
Cell = Mapping[str, Any]  # as `Store.export` has it


def overview(cells: Sequence[Cell]) -> Page:
    """Return a row per cell: the fields that vary, then numbers; above it the common fields.

    Fields that follow from others, and all numbers but the accuracy, come last, so that they are
    the first to be left out of a table that is too wide.

    Args:
        cells: at least one.
    """
    scenarios = [{"ruleset": cell["ruleset"], **cell["scenario"]} for cell in cells]
    fields = ["ruleset", *Scenario.declarations()]
    varying = [name for name in fields if len({scenario[name] for scenario in scenarios}) > 1]
    same = [f"{name}={scenarios[0][name]}" for name in fields if name not in varying]
    implied = _implied(scenarios, varying)
    varying = [name for name in varying if name not in implied]
    notes, texts = [], {}
    for name in (*varying, *implied):
        values = sorted({scenario[name] for scenario in scenarios}, key=order)
        long = max(len(str(value)) for value in values) > LONG
        texts[name] = {value: f"[{i}]" if long else str(value) for i, value in enumerate(values, 1)}
        notes += [(f"{name} {short}", str(value)) for value, short in texts[name].items() if long]
    summaries = [cell["summary"] for cell in cells]
    endings = [
        name for name in ("status", "reason") if any(s["status"] != "done" for s in summaries)
    ]
    accuracy, *further = NUMBERS
    rows = [
        [
            *(texts[name][scenario[name]] for name in varying),
            _number(summary[accuracy], NUMBERS[accuracy]),
            *(" ".join(summary[name].split()) for name in endings),
            *(texts[name][scenario[name]] for name in implied),
            *(_number(summary[name], NUMBERS[name]) for name in further),
        ]
        for scenario, summary in sorted(
            zip(scenarios, summaries, strict=True),
            key=lambda pair: [order(pair[0][name]) for name in varying],
        )
    ]
    textual = [
        n
        for n in (*varying, *implied)
        if any(isinstance(scenario[n], str) for scenario in scenarios)
    ]
    first_columns = [*varying, accuracy, *endings]
    header = [*first_columns, *implied, *further]
    right = [i for i, name in enumerate(header) if name not in (*textual, *endings)]
    blocks: list[Block] = [Items("in all cells:", same)]
    blocks += [Facts(notes)] if notes else []
    return Page("cells", "Cells", [*blocks, Table("", "", header, rows, right, len(first_columns))])


def varying_fields(stated: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields that vary among scenarios, but for those that follow from others."""
    varying = [name for name in stated[0] if len({fields[name] for fields in stated}) > 1]
    implied = _implied(stated, varying)
    return [name for name in varying if name not in implied]


def _implied(scenarios: Sequence[Mapping[str, Any]], varying: Sequence[str]) -> list[str]:
    """Return the fields that follow from others, and that vary only with these."""
    independent = [name for name in varying if name not in Resolved._fields]
    implied = []
    for name in varying:
        if name not in independent:
            values: dict[tuple[Any, ...], set[Any]] = {}
            for scenario in scenarios:
                values.setdefault(tuple(scenario[field] for field in independent), set()).add(
                    scenario[name]
                )
            if all(len(values_of) == 1 for values_of in values.values()):
                implied.append(name)
    return implied


def rounds(cell: Cell) -> Page:
    """Return a cell: its fields, how it ended, and a line per round."""
    fields = {"ruleset": cell["ruleset"], **cell["scenario"]}
    fields |= {name: cell["summary"][name] for name in ("status", "reason")}
    columns: Mapping[str, Sequence[Any]] = cell["rounds"]
    body = [[_number(value) for value in row] for row in zip(*columns.values(), strict=True)]
    facts = Facts([(name, str(value)) for name, value in fields.items()])
    table = Table("", "", list(columns), body, right=range(len(columns)), keep=3)
    return Page("cell", "A cell", [facts, table])


def damaged(rows: Sequence[tuple[str, str, str]]) -> Page:
    """Return the rows of a store that can't be read: key, ruleset, problem."""
    return Page("damaged", "Damaged rows", [Table("", "", ["key", "ruleset", "problem"], rows)])


def _number(value: float | None, form: str = ".6g") -> str:
    if value is None:
        return "-"
    return format(value, form) if isinstance(value, float) else str(value)
