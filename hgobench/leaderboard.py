"""Boards: algorithms and rules ranked under one threat model and budget.

Each seed's worst case is taken over the attacks, within that seed; the mean over seeds comes with
Student's 95 % interval, and rows are ranked by its lower end. A cell that diverged or failed has an
accuracy of 0: a rule must not gain by giving no answer. The oracle, which is told who is honest,
has no rank: the gap to it is what not knowing costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

from scipy.special import stdtrit

from hgobench import catalogue
from hgobench.errors import InputError, unknown
from hgobench.results import Result
from hgobench.results.result import data_notes
from hgobench.scenario import Role, Scenario

Split = Literal["test", "validation"]

# The roles of the fields that make a board, but for the attack; a row is one defence.
BOARD: tuple[Role, ...] = ("world", "threat", "measurement")


class Place(NamedTuple):
    """The place of a cell in a row: no two cells of a row have the same place.

    Attributes:
        column: the value of the field that the columns are.
        attack: what it was attacked with.
        repetition: which of the runs that differ in nothing else.
    """

    column: Any
    attack: str
    repetition: tuple[Any, ...]


def columns() -> tuple[str, ...]:
    """Return the fields that can be a board's columns: all that make a board, and the attack."""
    return Scenario.of_role(*BOARD)


_TOLD = ("data", "processor")  # of provenance, what boards say


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval, within [0, 1]; one seed has no interval."""

    mean: float
    low: float
    high: float
    seeds: int


def estimate(values: Sequence[float]) -> Estimate:
    """Return mean and Student's 95 % interval: mean ± t_{0.975, k-1} · s / √k, cut to [0, 1]."""
    k = len(values)
    mean = math.fsum(values) / k
    if k == 1:
        return Estimate(mean, mean, mean, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (k - 1)
    half = float(stdtrit(k - 1, 0.975)) * math.sqrt(variance / k)
    return Estimate(mean, max(mean - half, 0.0), min(mean + half, 1.0), k)


@dataclass(frozen=True)
class Score:
    """What a board needs of a cell.

    Attributes:
        scenario: the cell.
        status: how it ended.
        accuracy: 0 if it did not end well.
        idle: whether every round stalled, so that the model is the initial one.
        needs: what the rule was told besides the workers' values.
        late: whether it ran out of time.
        data: what the result says of its data and the processor; None: the score is of no
            result.
    """

    scenario: Scenario
    status: str
    accuracy: float
    idle: bool = False
    needs: tuple[str, ...] = ()
    late: bool = False
    data: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, result: Result, split: Split = "test") -> Score:
        """Read the score off a result; choices are made on the split ``"validation"``.

        Raises:
            InputError: there were no examples of that split.
        """
        accuracy = result.summary[f"{split}_accuracy"]
        if math.isnan(accuracy):
            raise InputError(f"split: {split!r}; {result.scenario.data!r} has no such examples")
        idle = 0 < result.summary["rounds"] == result.summary["stalled"]
        needs = tuple(result.provenance.get("needs", ()))
        data = {name: v for name, v in result.provenance.items() if name.startswith(_TOLD)}
        late = result.late
        return cls(result.scenario, result.status, accuracy, idle, needs, late, data)


@dataclass(frozen=True)
class Row:
    """One algorithm and rule on a board.

    Attributes:
        rank: from 1; rows that lack cells, and then the oracle, come last and have none.
        label: algorithm and rule, with what else differs between rows.
        origin: who brought the rule: ``"hgobench"``, a distribution, or ``module:Class``.
        needs: what the rule is told besides the workers' values: ``"root"``: clean data at the
            server; ``"honest"``: who is honest.
        clean: without attack; None if that was not run.
        worst: the mean over seeds of the worst attack's accuracy.
        worst_attack: the attack with the lowest mean; None: it was not attacked, and its worst case
            is the clean one.
        gap: by how much the mean of `worst` is below that of the oracle in the same setting; None:
            the board has no such oracle, or one of the two lacks cells.
        cells: column (an attack, or another field's value) to its estimate.
        ended: how many of its cells diverged or failed.
        late: how many of these ran out of time.
        idle: how many of its cells never updated the model.
        missing: how many cells others have and it has not.
    """

    rank: int | None
    algorithm: str
    rule: str
    label: str
    origin: str
    needs: Sequence[str]
    clean: Estimate | None
    worst: Estimate
    worst_attack: str | None
    gap: float | None
    cells: Mapping[str, Estimate]
    ended: int
    late: int
    idle: int
    missing: int


@dataclass(frozen=True)
class Board:
    """Rows ranked under one threat model and budget; `setting` is what defines it.

    `notes` say what a reader must know of the data that its cells are of.
    """

    setting: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Row]
    title: str
    notes: Sequence[str] = ()


def boards(scores: Iterable[Score], *, by: str = "attack") -> list[Board]:
    """Rank cells.

    A board is one combination of all fields of the roles world, threat and measurement, less the
    attack; a row is one defence; within a row, cells differ by attack and repetition. Titles and
    labels name every field that tells boards, and rows of one algorithm and rule, apart.

    Args:
        scores: of cells of one ruleset.
        by: the columns: each attack, or each value of another field that makes a board (`columns`;
            then every column is the worst case over attacks).

    Raises:
        InputError: there are no such columns, or two of the scores are of one cell.
    """
    if by not in columns():
        raise InputError(unknown("by", by, columns()))
    every = list(scores)
    kind = type(every[0].scenario) if every else Scenario
    makes = [name for name in kind.of_role(*BOARD) if name not in ("attack", by)]
    groups: dict[tuple[Any, ...], list[Score]] = {}
    for score in every:
        groups.setdefault(_values(score.scenario, makes), []).append(score)
    titled = _telling(kind, makes, groups)
    return [
        _board(groups[key], by, makes, titled)
        for key in sorted(groups, key=lambda key: [order(value) for value in key])
    ]


def _values(scenario: Scenario, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(getattr(scenario, name) for name in names)


def order(value: Any) -> tuple[bool, float, str]:
    """Return what sorts a field's values: numbers by their size, before text."""
    number = isinstance(value, int | float)
    return (not number, value if number else 0.0, str(value))


def _telling(
    kind: type[Scenario], names: Sequence[str], keys: Iterable[tuple[Any, ...]]
) -> list[str]:
    """Return the fields that are always named, and those that tell some of the keys apart."""
    declared, known = kind.declarations(), list(keys)
    return [
        name
        for i, name in enumerate(names)
        if declared[name].headline or len({key[i] for key in known}) > 1
    ]


def _board(group: list[Score], by: str, makes: Sequence[str], titled: Sequence[str]) -> Board:
    first = group[0].scenario
    stated, kind = first.to_dict(), type(first)
    defence = kind.of_role("defence")
    rows: dict[tuple[Any, ...], list[Score]] = {}
    for score in group:
        rows.setdefault(_values(score.scenario, defence), []).append(score)
    columns = sorted(
        {getattr(score.scenario, by) for score in group}, key=lambda c: (c != "none", order(c))
    )
    expected = {_place(score.scenario, by) for score in group}
    headlines = [i for i, name in enumerate(defence) if kind.declarations()[name].headline]
    alike: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for key in rows:
        alike.setdefault(tuple(key[i] for i in headlines), []).append(key)
    by_key = {
        key: _row(rows[key], by, columns, _telling(kind, defence, keys), expected)
        for keys in alike.values()
        for key in keys
    }
    rows_with_gaps = [replace(row, gap=_gap(kind, key, row, by_key)) for key, row in by_key.items()]
    rows_with_gaps.sort(
        key=lambda row: (
            "honest" in row.needs,
            row.missing > 0,
            -row.worst.low,
            -row.worst.mean,
            -(row.clean.mean if row.clean else 0.0),
            row.label,
        )
    )
    ranked = [
        replace(row, rank=None if row.missing or "honest" in row.needs else position)
        for position, row in enumerate(rows_with_gaps, 1)
    ]
    return Board(
        {name: stated[name] for name in makes},
        [str(column) for column in columns],
        ranked,
        title=", ".join(f"{name} {stated[name]}" for name in titled),
        notes=data_notes((one.scenario.data, one.data) for one in group if one.data is not None),
    )


def _place(scenario: Scenario, by: str) -> Place:
    repetition = _values(scenario, scenario.of_role("repetition"))
    return Place(getattr(scenario, by), scenario.attack, repetition)


def _placed(cells: Sequence[Score], by: str) -> dict[Place, Score]:
    """Return a row's cells by their places.

    Raises:
        InputError: two of them have the same.
    """
    placed: dict[Place, Score] = {}
    for cell in cells:
        other = placed.setdefault(_place(cell.scenario, by), cell)
        if other is not cell:
            raise InputError(
                "boards: two scores for one cell: "
                + " and ".join(
                    f"{score.scenario!r} ({score.status}, accuracy {score.accuracy:g})"
                    for score in (other, cell)
                )
                + "; expected one: rank the results of one ruleset, each once"
            )
    return placed


def _row(
    cells: Sequence[Score],
    by: str,
    columns: Sequence[Any],
    telling: Sequence[str],
    expected: set[Place],
) -> Row:
    first = cells[0].scenario
    stated, declared = first.to_dict(), first.declarations()
    label = [
        str(stated[name]) if declared[name].headline else f"{name}={stated[name]}"
        for name in sorted(telling, key=lambda name: not declared[name].headline)
    ]
    scores = {place: cell.accuracy for place, cell in _placed(cells, by).items()}
    attacked = {place: v for place, v in scores.items() if place.attack != "none"} or scores
    means = {
        attack: math.fsum(v) / len(v)
        for attack in dict.fromkeys(place.attack for place in attacked)
        if (v := [value for place, value in attacked.items() if place.attack == attack])
    }
    worst = min(means, key=lambda attack: (means[attack], attack))
    estimates = {}
    for column in columns:
        among = scores if by == "attack" else attacked
        chosen = {place: value for place, value in among.items() if place.column == column}
        if chosen:
            estimates[str(column)] = estimate(_worst_per_seed(chosen))
    clean = _worst_per_seed({place: v for place, v in scores.items() if place.attack == "none"})
    return Row(
        rank=None,
        algorithm=first.algorithm,
        rule=first.rule,
        label=" ".join(label),
        origin=catalogue.registry("rule").origin(first.rule),
        needs=sorted({need for cell in cells for need in cell.needs}),
        clean=estimate(clean) if clean else None,
        worst=estimate(_worst_per_seed(attacked)),
        worst_attack=None if worst == "none" else worst,
        gap=None,
        cells=estimates,
        ended=sum(cell.status != "done" for cell in cells),
        late=sum(cell.late for cell in cells),
        idle=sum(cell.idle for cell in cells),
        missing=len(expected - scores.keys()),
    )


def _gap(
    kind: type[Scenario],
    key: tuple[Any, ...],
    row: Row,
    others: Mapping[tuple[Any, ...], Row],
) -> float | None:
    """Return how far a row is below the oracle that differs in nothing but the rule's own."""
    defence = kind.of_role("defence")
    declared = kind.declarations()

    def setting(key: tuple[Any, ...]) -> list[Any]:
        return [
            value
            for name, value in zip(defence, key, strict=True)
            if name != "rule" and declared[name].follows != "rule"
        ]

    oracles = [
        other
        for other_key, other in others.items()
        if "honest" in other.needs and not other.missing and setting(other_key) == setting(key)
    ]
    if not oracles or row.missing:
        return None
    return max(other.worst.mean for other in oracles) - row.worst.mean


def _worst_per_seed(scores: Mapping[Place, float]) -> list[float]:
    worst: dict[tuple[Any, ...], float] = {}
    for place, value in scores.items():
        worst[place.repetition] = min(value, worst.get(place.repetition, math.inf))
    return list(worst.values())


def as_data(ruleset: str, made: Sequence[Board], split: Split = "test") -> dict[str, Any]:
    """Return boards as plain data for JSON; ``clean`` and ``worst`` are means in [0, 1]."""
    return {
        "ruleset": ruleset,
        "split": split,
        "notes": list(dict.fromkeys(note for board in made for note in board.notes)),
        "boards": [
            {
                **board.setting,
                "rows": [
                    {
                        "rank": row.rank,
                        "algorithm": row.algorithm,
                        "rule": row.rule,
                        "label": row.label,
                        "origin": row.origin,
                        "needs": list(row.needs),
                        "clean": row.clean.mean if row.clean else None,
                        "clean_interval": _interval(row.clean),
                        "worst": row.worst.mean,
                        "worst_interval": _interval(row.worst),
                        "worst_attack": row.worst_attack,
                        "gap": row.gap,
                        "ended": row.ended,
                        "late": row.late,
                        "idle": row.idle,
                        "missing": row.missing,
                        "cells": {name: asdict(cell) for name, cell in row.cells.items()},
                    }
                    for row in board.rows
                ],
            }
            for board in made
        ],
    }


def _interval(value: Estimate | None) -> list[float] | None:
    return [value.low, value.high] if value else None
