"""The ledger of a run: a row per round."""

from __future__ import annotations

import math
from typing import Any

from hgobench.results.result import COLUMNS

_EVALUATED = {name: COLUMNS.index(name) for name in COLUMNS}


class Ledger:
    """The table of a run's rounds, `COLUMNS` of `hgobench.results.result`.

    >>> ledger = Ledger()
    >>> ledger.add(**{**dict.fromkeys(COLUMNS, 0), "round": 1})
    >>> ledger.record(test_accuracy=0.5)
    >>> ledger.table()["test_accuracy"]
    [0.5]
    """

    def __init__(self) -> None:
        self._rows: list[list[Any]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, **row: Any) -> None:
        """Add a round: a value for every column."""
        self._rows.append([row[name] for name in COLUMNS])

    def record(self, **values: Any) -> None:
        """Fill columns of the last row."""
        for name, value in values.items():
            self._rows[-1][_EVALUATED[name]] = value

    def fail(self, k: int, time: float) -> None:
        """End in round k, whether or not it has a row: an accuracy of 0."""
        if len(self._rows) < k:
            self.add(**{**dict.fromkeys(COLUMNS, 0), "round": k, "time": time})
        self.record(test_accuracy=0.0, test_loss=math.nan, validation_accuracy=0.0, stalled=False)

    def table(self) -> dict[str, list[Any]]:
        """Return the columns by name."""
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(COLUMNS)
        return {name: list(column) for name, column in zip(COLUMNS, columns, strict=True)}
