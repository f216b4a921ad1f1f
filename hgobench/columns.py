"""Columns that boards show on demand: what results hold of a row besides its accuracies.

Each is a row of `COLUMNS`. Numbers of a run are those under the attack that is a row's worst case,
the mean over its seeds. What no result holds is refused by name, with what would be needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from hgobench import catalogue
from hgobench.errors import InputError, unknown
from hgobench.leaderboard import Board, Row, Score, Spent
from hgobench.results.tables import Kind
from hgobench.scenario import RISKS, Scenario, risks

Value = str | float | None


@dataclass(frozen=True)
class Column:
    """A column on demand.

    Attributes:
        header: above it.
        about: what it is, in a note; empty: the header says it.
        value: of a row; None: its results do not hold it.
        digits: after the point, of a number; None: up to four digits in all.
        kind: for files.

    Example:
        >>> COLUMNS["time"].header, COLUMNS["hash"].kind
        ('time', 'text')
    """

    header: str
    about: str
    value: Callable[[Row], Value]
    digits: int | None = None
    kind: Kind = "number"

    def shown(self, row: Row) -> str:
        """Return a row's value as a table shows it."""
        value = self.value(row)
        if value is None or value == "":
            return "-"
        if isinstance(value, str):
            return value
        return f"{value:.4g}" if self.digits is None else f"{value:,.{self.digits}f}"


def _mean(read: Callable[[Score], float | None]) -> Callable[[Row], Value]:
    """Return the mean over the seeds under a row's worst attack."""

    def value(row: Row) -> float | None:
        known = [number for score in row.under_worst if (number := read(score)) is not None]
        return fmean(known) if known and len(known) == len(row.under_worst) else None

    return value


def _spent(name: str) -> Callable[[Row], Value]:
    def read(score: Score) -> float | None:
        return None if score.spent is None else float(getattr(score.spent, name))

    return _mean(read)


def _risk(which: int) -> Callable[[Row], Value]:
    """Return the highest sampling risk of a row's cells; of an algorithm that is a plug-in, None.

    Args:
        which: 0: of a round; 1: of a run.
    """

    def value(row: Row) -> float | None:
        settings = {
            tuple(getattr(score.scenario, name) for name in (*RISKS, "tolerated")): score.scenario
            for score in row.scores
        }
        known = [one for one in settings.values() if not _foreign(one)]
        return max((risks(one)[which] for one in known), default=None)

    return value


def _foreign(scenario: Scenario) -> bool:
    return bool(catalogue.foreign({"algorithm": scenario.algorithm}))


def _worst_class(row: Row) -> float | None:
    """Return the lowest, over classes, of the mean accuracy over seeds under the worst attack."""
    shares = [_by_class(score, row.label) for score in row.under_worst]
    return float(np.mean(shares, axis=0).min()) if shares else None


def _by_class(score: Score, label: str) -> NDArray[np.float64]:
    """Return a cell's accuracy on the test examples of each class."""
    data = score.scenario.data
    labels = _labels(data, (score.data or {}).get("data"))
    counts = np.bincount(labels)
    right = np.zeros(len(labels))
    if score.status == "done":
        if score.right is None:
            raise InputError(
                f"columns: worst_class: a cell of {label!r} does not say which test examples were "
                "right, as it is of an older hgobench, its score is on other examples, or there "
                "are no classes; the command that computed it computes it anew"
            )
        bits = np.frombuffer(score.right, dtype=np.uint8)
        if len(bits) != -(-len(labels) // 8):
            raise InputError(
                f"columns: worst_class: a cell of {label!r} has {len(bits)} bytes of which test "
                f"examples were right; expected {-(-len(labels) // 8)}, for the {len(labels)} test "
                f"examples of {data!r}"
            )
        right = np.unpackbits(bits, count=len(labels)).astype(float)
    there = np.flatnonzero(counts)
    return np.bincount(labels, right)[there] / counts[there]


def _labels(data: str, digest: str | None) -> NDArray[np.int64]:
    """Return the labels of the test examples that a result is of.

    Raises:
        InputError: they are not here, or not known to be the same.
    """
    if catalogue.foreign({"data": data}):
        raise InputError(
            f"columns: worst_class: needs the labels of {data!r}, which is not hgobench's: no "
            "board imports what a result names"
        )
    from hgobench.data import datasets  # imports scikit-learn

    try:
        here = datasets.load(data)
    except InputError as error:
        raise InputError(
            f"columns: worst_class: needs the labels of {data!r}: {problem}"
            for problem in error.problems
        ) from None
    if not here.classes:
        raise InputError(f"columns: worst_class: {data!r} is a regression and has no classes")
    if here.digest != digest:
        raise InputError(
            f"columns: worst_class: needs the labels of the {data!r} that results are of; the one "
            "that is here is other data"
        )
    return here.test.labels.astype(np.int64)


COLUMNS: Mapping[str, Column] = {
    "time": Column("time", "simulated time of a run, in time units", _spent("time"), 0),
    "bytes_up": Column("bytes up", "what workers sent in a run", _spent("bytes_up"), 0),
    "bytes_down": Column("bytes down", "what the server sent in a run", _spent("bytes_down"), 0),
    "coordinates": Column(
        "coordinates",
        "gradient coordinates that all workers computed in a run",
        _spent("coordinates"),
        0,
    ),
    "stalled": Column(
        "stalled",
        "the share of rounds in which too few answered to update the model",
        _mean(lambda score: 1 - score.live),
        2,
    ),
    "sampling_risk": Column(
        "sampling risk",
        "the probability that a round samples more Byzantine workers than it tolerates",
        _risk(0),
    ),
    "run_risk": Column(
        "run risk",
        "the probability that any round of a run does",
        _risk(1),
    ),
    "exceeded": Column(
        "f̂ exceeded",
        "the share of rounds in which more Byzantine workers answered than f̂",
        _mean(lambda score: score.exceeded),
        4,
    ),
    "outvoted": Column(
        "outvoted",
        "the share of rounds in which most that answered were Byzantine",
        _mean(lambda score: score.outvoted),
        4,
    ),
    "cpu_seconds": Column(
        "CPU s",
        "CPU seconds that a cell took to compute, side by side with others, on what computed it",
        _mean(lambda score: score.seconds),
        1,
    ),
    "worst_class": Column(
        "worst class",
        "the lowest, over classes, of the mean accuracy over seeds on its test examples",
        _worst_class,
        3,
    ),
    "folder": Column(
        "folder",
        "where the row's cells were found",
        lambda row: ", ".join(row.folders),
        kind="text",
    ),
    "hash": Column(
        "hash",
        "of the row's cells, to cite it: hgobench cite HASH",
        lambda row: row.hash,
        kind="text",
    ),
}

_NOT_HELD: Mapping[str, str] = {
    "server_ms": (
        "results hold the CPU seconds of whole cells (cpu_seconds), not those of the server; "
        "hgobench bench measures the time that a rule takes"
    ),
    "slow_devices": (
        "results hold one accuracy for all devices; it would need an accuracy by class of device "
        "at the end of a run, which no result has; hgobench audit rule says whose values a rule "
        "uses, by speed"
    ),
}


def chosen(names: Iterable[str]) -> dict[str, Column]:
    """Return columns by their names.

    Raises:
        InputError: there are no such columns, or no result holds them; all problems at once.

    Example:
        >>> list(chosen(["hash", "time"]))
        ['hash', 'time']
    """
    asked = list(dict.fromkeys(names))
    problems = [
        f"columns: {name}: {_NOT_HELD[name]}"
        if name in _NOT_HELD
        else unknown("columns", name, COLUMNS)
        for name in asked
        if name not in COLUMNS
    ]
    if problems:
        raise InputError(problems)
    return {name: COLUMNS[name] for name in asked}


def check(boards: Iterable[Board], asked: Mapping[str, Column]) -> None:
    """Refuse columns that the results of some boards do not hold.

    Raises:
        InputError: with what is needed.
    """
    rows = [row for board in boards for row in board.rows]
    needs = {
        **dict.fromkeys(
            Spent._fields, "totals of a run, which scores of pytest's report do not have"
        ),
        "hash": "results of a store, and attacks or seeds as the boards' columns",
        "folder": "results of several folders",
    }
    problems = [
        f"columns: {name}: no row holds it; it needs {needs[name]}"
        for name, column in asked.items()
        if name in needs and rows and all(column.value(row) in (None, "") for row in rows)
    ]
    if problems:
        raise InputError(problems)


def values(row: Row, asked: Mapping[str, Column]) -> dict[str, Value]:
    """Return a row's values of some columns, as files have them: None for what it has not."""
    told = {name: column.value(row) for name, column in asked.items()}
    return {name: None if value == "" else value for name, value in told.items()}


def notes(asked: Mapping[str, Column], under_attack: bool) -> Sequence[str]:
    """Return what a reader must know of some columns."""
    ran = [name for name in asked if name in (*Spent._fields, "stalled", "exceeded", "outvoted")]
    told = [f"{column.header}: {column.about}" for column in asked.values()]
    if not told:
        return []
    mean = (
        "Numbers of a run are means over seeds" + " under the attack that is worst" * under_attack
    )
    return [f"{'; '.join(told)}." + f" {mean}." * bool(ran)]
