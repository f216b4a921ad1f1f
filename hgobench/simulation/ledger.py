"""The ledger of a run: a row per round."""

from __future__ import annotations

import math
from operator import itemgetter
from typing import Any

from hgobench.results.result import COLUMNS, EVERY, TARGETED

_in_order = itemgetter(*COLUMNS)
_EVALUATED = {name: EVERY.index(name) for name in EVERY}


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
        """Add a round: a value for every one of `COLUMNS`."""
        self._rows.append([*_in_order(row), math.nan])

    def record(self, **values: Any) -> None:
        """Fill columns of the last row."""
        for name, value in values.items():
            self._rows[-1][_EVALUATED[name]] = value

    def fail(self, k: int, time: float) -> None:
        """End in round k, whether or not it has a row: an accuracy of 0."""
        if len(self._rows) < k:
            self.add(**{**dict.fromkeys(COLUMNS, 0), "round": k, "time": time})
        self.record(test_accuracy=0.0, test_loss=math.nan, validation_accuracy=0.0, stalled=False)
        self.record(**{TARGETED: math.nan})

    def table(self) -> dict[str, list[Any]]:
        """Return the columns by name; `TARGETED` only if there is a number in it."""
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(EVERY)
        table = {name: list(column) for name, column in zip(EVERY, columns, strict=True)}
        if all(map(math.isnan, table[TARGETED])):
            del table[TARGETED]
        return table

    @property
    def success(self) -> list[tuple[int, float]]:
        """After which rounds the attack's success was measured, and what it was."""
        rounds, column = _EVALUATED["round"], _EVALUATED[TARGETED]
        known = [row for row in self._rows if not math.isnan(row[column])]
        return [(row[rounds], row[column]) for row in known]
