"""Stores as others may leave them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hgobench.results import rows


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
