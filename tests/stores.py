"""Stores as others may leave them."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from hgobench import Scenario
from hgobench.results import COLUMNS, Result, rows


def alter(folder: Path, statement: str, *values: object) -> None:
    """Change a store as a program would that knows nothing of checksums."""
    with closing(sqlite3.connect(folder / "results.sqlite")) as connection, connection:
        connection.execute(statement, values)


def forge(folder: Path, **columns: Callable[[str], str]) -> None:
    """Change columns of text in every row as somebody would who makes all of it fit again."""
    with closing(sqlite3.connect(folder / "results.sqlite")) as connection, connection:
        for row in connection.execute(f"SELECT {', '.join(rows.FIELDS)} FROM results").fetchall():
            values = dict(zip(rows.FIELDS, row, strict=True))
            for name, change in columns.items():
                values[name] = change(values[name])
            values["digest"] = rows.identity(b"", values["scenario"].encode())
            whole = [values[name] for name in rows.FIELDS[:-1]]
            marks = ", ".join("?" * len(rows.FIELDS))
            connection.execute("DELETE FROM results WHERE key = ?", row[:1])
            connection.execute(
                f"INSERT INTO results VALUES ({marks})", [*whole, rows.checksum(whole)]
            )


def stored(
    scenario: Scenario, accuracy: float = 0.5, right: bytes | None = None, **more: Any
) -> Result:
    """Return a result as a run makes one, with an accuracy at its end; `more`: fields, columns."""
    rounds: dict[str, list[Any]] = {name: [0] * scenario.rounds for name in COLUMNS}
    rounds["round"] = list(range(1, scenario.rounds + 1))
    for name in ("test_accuracy", "validation_accuracy"):
        rounds[name] = [math.nan] * (scenario.rounds - 1) + [accuracy]
    rounds["test_loss"] = [math.nan] * (scenario.rounds - 1) + [1 - accuracy]
    for name in COLUMNS:
        if name in more:
            rounds[name] = [more.pop(name)] * scenario.rounds
    provenance = {"device": "cpu", "data": f"of {scenario.data}", "needs": []}
    return Result(**{
        "scenario": scenario, "rounds": rounds, "provenance": provenance, "right": right, **more
    })  # fmt: skip
