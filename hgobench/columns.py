"""Columns that boards show on demand: what results hold of a row besides its accuracies.

Each is a row of `COLUMNS`. Numbers of a run are those under the attack that is a row's worst case,
the mean over its seeds. What no result holds is refused by name, with what would be needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from statistics import fmean

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
            tuple(getattr(score.scenario, name) for name in RISKS): score.scenario
            for score in row.scores
        }
        known = [one for one in settings.values() if not _foreign(one)]
        return max((risks(one)[which] for one in known), default=None)

    return value


def _foreign(scenario: Scenario) -> bool:
    return bool(catalogue.foreign({"algorithm": scenario.algorithm}))


def groups(name: str, scores: Sequence[Score]) -> dict[str, float]:
    """Return a measure's means over cells by group: ``{"weak": 0.71, "average": 0.8}``.

    Groups that some cells lack, as their fleet has no such device, are left out.
    """
    told = by_group(name, scores)
    return {group: fmean(known) for group, known in told.items() if len(known) == len(scores)}


def by_group(name: str, scores: Sequence[Score]) -> dict[str, list[float]]:
    """Return what a measure is in each of some cells, by group (`measured`)."""
    found: dict[str, list[float]] = {}
    names = {key: None for score in scores for key in score.measures if key.startswith(f"{name}/")}
    for score in scores:
        for key in names:
            if (value := measured(key, score)) is not None:
                found.setdefault(key.partition("/")[2], []).append(value)
    return found


def measured(key: str, score: Score) -> float | None:
    """Return what a measure is in a cell, such as ``worst_worker`` or ``energy/weak``.

    Of a cell that did not end well accuracies are 0, and others not known (None).
    """
    accuracy = "accuracy" in key or key == "worst_worker"
    return score.measures.get(key, 0.0 if accuracy and score.status != "done" else None)


def _grouped(name: str) -> Callable[[Row], Value]:
    """Return the means over the seeds under a row's worst attack, by group; - what some lack."""

    def value(row: Row) -> str | None:
        told = groups(name, row.under_worst)
        every = by_group(name, row.under_worst)
        shown = (f"{group} {_short(told[group]) if group in told else '-'}" for group in every)
        return ", ".join(shown) if told else None

    return value


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 999.5 else f"{number:.3g}"


def _measured(name: str) -> Callable[[Row], Value]:
    return _mean(lambda score: measured(name, score))


def _most_successful(row: Row) -> list[Score]:
    """Return the cells under the targeted attack that has most of what it wants; none: no such."""
    by_attack: dict[str, list[Score]] = {}
    for score in row.scores:
        if score.success is not None:
            by_attack.setdefault(score.attack, []).append(score)

    def mean(attack: str) -> float:
        return fmean(score.success or 0.0 for score in by_attack[attack])

    return by_attack[max(by_attack, key=mean)] if by_attack else []


def _of_targeted(name: str) -> Callable[[Row], Value]:
    """Return a measure's mean over seeds under the targeted attack that succeeds most."""

    def value(row: Row) -> float | None:
        told = [one.measures[name] for one in _most_successful(row) if name in one.measures]
        return fmean(told) if told else None

    return value


def _lasting(row: Row) -> str | None:
    """Return the median over seeds of how many rounds a backdoor outlives the attack."""
    cells = [one.measures for one in _most_successful(row)]
    known = [(one["half_life"], "") for one in cells if "half_life" in one]
    known += [(one["outlived"], "> ") for one in cells if "outlived" in one]
    # Those that outlived the run are above all others.
    known.sort(key=lambda one: (one[1] != "", one[0]))
    if not known:
        return None
    rounds, over = known[len(known) // 2]
    return f"{over}{rounds:.0f}"


def _none_ended(row: Row) -> bool:
    """Whether all of a row's runs under its worst attack failed or diverged: accuracies are 0."""
    return all(score.status != "done" for score in row.under_worst)


def _slowest(row: Row) -> float | None:
    """Return the accuracy for the slowest class of devices; None: some seed's honest have none.

    Each cell has its classes with the slowest first, but for those that are all Byzantine.
    """
    if _none_ended(row):
        return 0.0
    orders = [
        [key for key in score.measures if key.startswith("device_accuracy/")]
        for score in row.under_worst
    ]
    behind = {key for order in orders for key in order[1:]}
    first = {order[0] for order in orders if order} - behind
    if len(first) != 1:
        return None
    told = groups("device_accuracy", row.under_worst)
    return told.get(first.pop().partition("/")[2])


def _smallest(row: Row) -> float | None:
    """Return the accuracy for workers that hold few examples."""
    return 0.0 if _none_ended(row) else groups("size_accuracy", row.under_worst).get("small")


def _lowest(row: Row) -> float | None:
    """Return the lowest accuracy of a class."""
    if _none_ended(row):
        return 0.0
    return min(groups("class_accuracy", row.under_worst).values(), default=None)


COLUMNS: Mapping[str, Column] = {
    "time": Column("time", "how long a run took, in time units", _spent("time"), 0),
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
        "the probability that any round of a run samples more Byzantine workers than it tolerates",
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
        _lowest,
        3,
    ),
    "slow_devices": Column(
        "slow devices",
        "accuracy on test examples with the mix of labels that the slowest class of devices holds",
        _slowest,
        3,
    ),
    "device_accuracy": Column(
        "by device",
        "accuracy on test examples with the mix of labels that each class of devices holds",
        _grouped("device_accuracy"),
        kind="text",
    ),
    "worst_worker": Column(
        "worst worker",
        "the lowest accuracy, over honest workers, on test examples with the mix of labels that "
        "each holds",
        _measured("worst_worker"),
        3,
    ),
    "small_workers": Column(
        "small workers",
        "accuracy on test examples with the mix of labels that each of the third of the honest "
        "workers with the fewest examples holds",
        _smallest,
        3,
    ),
    "size_accuracy": Column(
        "by size",
        "accuracy on test examples with the mix of labels that honest workers hold, by thirds of "
        "these workers by their numbers of examples",
        _grouped("size_accuracy"),
        kind="text",
    ),
    "used": Column(
        "values used",
        "how far the rule's last answer follows what honest workers sent, by class of device; 1: "
        "as far as the average does",
        _grouped("used"),
        kind="text",
    ),
    "used_by_labels": Column(
        "used by labels",
        "how far the rule's last answer follows what honest workers sent, by thirds of these "
        "workers by how rare their labels are; 1: as far as the average does",
        _grouped("used_by_labels"),
        kind="text",
    ),
    "used_by_size": Column(
        "used by size",
        "how far the rule's last answer follows what honest workers sent, by thirds of these "
        "workers by their numbers of examples; 1: as far as the average does",
        _grouped("used_by_size"),
        kind="text",
    ),
    "weight": Column(
        "part in updates",
        "honest workers' share in the last update, by class of device; 1: as much as if all sent "
        "everything and were averaged",
        _grouped("weight"),
        kind="text",
    ),
    "caught": Column(
        "caught",
        "the share of Byzantine answers of which the rule used nothing, in the last round",
        _measured("caught"),
        2,
    ),
    "dropped": Column(
        "dropped",
        "the share of honest answers of which the rule used nothing, in the last round",
        _measured("dropped"),
        2,
    ),
    "attack_success": Column(
        "attack success",
        "the share of its inputs that the model answers as the targeted attack wants, for the "
        "attack that succeeds most",
        _of_targeted("attack_success"),
        3,
    ),
    "targeted_by": Column(
        "targeted by",
        "the targeted attack that succeeds most",
        lambda row: next((score.attack for score in _most_successful(row)), None),
        kind="text",
    ),
    "main_accuracy": Column(
        "main accuracy",
        "accuracy on all test examples under the targeted attack that succeeds most",
        _of_targeted("main_accuracy"),
        3,
    ),
    "success_before": Column(
        "success before",
        "the targeted attack's success before attackers begin",
        _of_targeted("success_before"),
        3,
    ),
    "success_at_stop": Column(
        "success at stop",
        "the targeted attack's success when attackers stop",
        _of_targeted("success_at_stop"),
        3,
    ),
    "half_life": Column(
        "half-life",
        "rounds after attackers stop until half of what they added to the targeted attack's "
        "success is gone, the median over seeds; >: more than half is left at the end",
        _lasting,
        kind="text",
    ),
    "energy": Column("joules", "what honest workers spent in a run", _measured("energy"), 0),
    "device_energy": Column(
        "joules by device",
        "what an honest worker of each class of device spent in a run",
        _grouped("energy"),
        kind="text",
    ),
    "server_ms": Column(
        "server ms",
        "CPU milliseconds per round that the server took, on what computed it",
        _mean(lambda score: score.server_ms),
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

MEASURE = "measures."  # before the name of a metric's own measure

_MEASURED = (
    "results with metrics=standard of this version; the command that computed them computes them "
    "anew"
)
_NEEDS: Mapping[str, str] = {
    **dict.fromkeys(Spent._fields, "totals of a run, which scores of pytest's report do not have"),
    "hash": "results of a store, and attacks or seeds as the boards' columns",
    "folder": "results of several folders",
    "slow_devices": "honest workers with a device of the slowest class in every seed, and "
    + _MEASURED,
    **dict.fromkeys(
        ("energy", "device_energy"),
        "a fleet that says watts or joules_per_byte, as power+c1 or a file of devices does",
    ),
    **dict.fromkeys(
        ("small_workers", "size_accuracy", "used_by_size"),
        "results with metrics=sizes: hgobench run .. --set metrics=sizes",
    ),
    **dict.fromkeys(
        ("attack_success", "targeted_by", "main_accuracy"), "a targeted attack, as badnets"
    ),
    "success_before": "a targeted attack, and an evaluation before it: attack_start",
    "success_at_stop": "a targeted attack, and evaluations when it stops and after it: "
    "attack_stop, a multiple of evaluation_interval",
    "half_life": "a targeted attack that had success, and evaluations when it stops and after it: "
    "attack_stop, a multiple of evaluation_interval",
    "caught": "attackers that answered, and a rule that gives each worker one weight",
    "dropped": "a rule that gives each worker one weight",
}
_OWN = "results whose scenarios name a metric that measures it, as in metrics=mypkg:MyMetric"


def chosen(names: Iterable[str]) -> dict[str, Column]:
    """Return columns by their names; ``measures.NAME`` is what a metric of one's own measures.

    Raises:
        InputError: there are no such columns; all problems at once.

    Example:
        >>> list(chosen(["hash", "time"]))
        ['hash', 'time']
    """
    asked = list(dict.fromkeys(names))
    problems = [
        unknown("columns", name, COLUMNS, hint=f"or {MEASURE}NAME, of a metric of one's own")
        for name in asked
        if name not in COLUMNS and not name.startswith(MEASURE)
    ]
    if problems:
        raise InputError(problems)
    return {name: COLUMNS[name] if name in COLUMNS else _own(name) for name in asked}


def _own(name: str) -> Column:
    """Return the column of a measure, or of all its groups."""
    measure = name.removeprefix(MEASURE)
    alone, grouped = _measured(measure), _grouped(measure)

    def value(row: Row) -> Value:
        told = alone(row)
        return grouped(row) if told is None else told

    return Column(measure, "", value)


def check(boards: Iterable[Board], asked: Mapping[str, Column]) -> None:
    """Refuse columns that the results of some boards do not hold.

    Raises:
        InputError: with what is needed.
    """
    rows = [row for board in boards for row in board.rows]
    problems = [
        f"columns: {name}: no row holds it; it needs {_needed(name, rows)}"
        for name, column in asked.items()
        if rows and all(column.value(row) in (None, "") for row in rows)
    ]
    if problems:
        raise InputError(problems)


def _needed(name: str, rows: Sequence[Row]) -> str:
    """Say what a column needs; of a measure also which ones there are, the likeliest first."""
    if not name.startswith(MEASURE):
        return _NEEDS.get(name, _MEASURED)
    every = {key.partition("/")[0] for row in rows for one in row.scores for key in one.measures}
    if not every:
        return f"{_OWN}; these measured nothing"
    near = get_close_matches(name.removeprefix(MEASURE), every, n=len(every), cutoff=0.0)
    return f"{_OWN}; measured were {', '.join(near)}"


def values(row: Row, asked: Mapping[str, Column]) -> dict[str, Value]:
    """Return a row's values of some columns, as files have them: None for what it has not."""
    told = {name: column.value(row) for name, column in asked.items()}
    return {name: None if value == "" else value for name, value in told.items()}


def notes(asked: Mapping[str, Column], under_attack: bool) -> Sequence[str]:
    """Return what a reader must know of some columns."""
    ran = [name for name in asked if name not in ("folder", "hash", "sampling_risk", "run_risk")]
    told = [f"{column.header}: {column.about}" for column in asked.values() if column.about]
    if not told:
        return []
    mean = (
        "Numbers of a run are means over seeds" + " under the attack that is worst" * under_attack
    )
    return [f"{'; '.join(told)}." + f" {mean}." * bool(ran)]
