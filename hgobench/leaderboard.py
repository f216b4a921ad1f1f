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
from typing import Any, Literal

from scipy.special import stdtrit

from hgobench import catalogue
from hgobench.errors import InputError
from hgobench.results import Result
from hgobench.scenario import Scenario

By = Literal["attack", "partition", "hardware"]
Split = Literal["test", "validation"]

# A board is one threat model and budget; a row is one way to stand it.
BOARD = (
    "data",
    "partition",
    "model",
    "hardware",
    "workers",
    "byzantine",
    "sampled",
    "deadline",
    "batch_size",
    "rounds",
    "attack_start",
)
ROW = (
    "algorithm",
    "rule",
    "granularity",
    "cost",
    "learning_rate",
    "schedule",
    "solver",
    "scope",
    "tolerated",
    "quorum",
)


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
        needs: what the rule was told beside the workers' values.
    """

    scenario: Scenario
    status: str
    accuracy: float
    idle: bool = False
    needs: tuple[str, ...] = ()

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
        return cls(result.scenario, result.status, accuracy, idle, needs)


@dataclass(frozen=True)
class Row:
    """One algorithm and rule on a board.

    Attributes:
        rank: from 1; rows that lack cells, and then the oracle, come last and have none.
        label: algorithm and rule, with what else differs between rows.
        origin: who brought the rule: ``"hgobench"``, a distribution, or ``module:Class``.
        needs: what the rule is told beside the workers' values: ``"root"``: clean data at the
            server; ``"honest"``: who is honest.
        clean: without attack; None if that was not run.
        worst: the mean over seeds of the worst attack's accuracy.
        worst_attack: the attack with the lowest mean.
        gap: by how much the mean of `worst` is below that of the oracle in the same setting; None:
            the board has no such oracle, or one of the two lacks cells.
        cells: column (an attack, or a partition or profile) to its estimate.
        ended: how many of its cells diverged or failed.
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
    worst_attack: str
    gap: float | None
    cells: Mapping[str, Estimate]
    ended: int
    idle: int
    missing: int


@dataclass(frozen=True)
class Board:
    """Rows ranked under one threat model and budget; `setting` is what defines it."""

    setting: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Row]
    title: str


def boards(scores: Iterable[Score], *, by: By = "attack") -> list[Board]:
    """Rank cells.

    Args:
        scores: of cells of one ruleset.
        by: the columns: each attack, or each partition or hardware profile (then every column is
            the worst case over attacks).
    """
    groups: dict[tuple[Any, ...], list[Score]] = {}
    for score in scores:
        key = tuple(getattr(score.scenario, name) for name in BOARD if name != by)
        groups.setdefault(key, []).append(score)
    varying = [
        name
        for i, name in enumerate(n for n in BOARD if n != by)
        if name in ("partition", "hardware") or len({key[i] for key in groups}) > 1
    ]
    return [_board(group, by, varying) for _, group in sorted(groups.items(), key=_text)]


def _text(item: tuple[Any, Any]) -> tuple[str, ...]:
    return tuple(str(part) for part in item[0])


def _board(group: list[Score], by: By, varying: Sequence[str]) -> Board:
    first = group[0].scenario
    stated = first.to_dict()
    setting = {name: stated[name] for name in BOARD if name != by}
    named = [f"{name} {setting[name]}" for name in varying]
    rows: dict[tuple[Any, ...], list[Score]] = {}
    for score in group:
        rows.setdefault(_row_key(score.scenario), []).append(score)
    columns = sorted(
        {getattr(score.scenario, by) for score in group}, key=lambda c: (c != "none", c)
    )
    expected = {_cell_key(score.scenario) for score in group}
    by_key = {
        key: _row(cells, by, columns, _differing(key, rows), expected)
        for key, cells in rows.items()
    }
    made = [replace(row, gap=_gap(key, row, by_key)) for key, row in by_key.items()]
    made.sort(
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
        for position, row in enumerate(made, 1)
    ]
    return Board(setting, columns, ranked, title=", ".join(named))


def _differing(key: tuple[Any, ...], rows: Iterable[tuple[Any, ...]]) -> list[str]:
    """Name the fields that tell a row from others of the same algorithm and rule."""
    alike = [other for other in rows if other[:2] == key[:2]]
    return [name for i, name in enumerate(ROW) if len({other[i] for other in alike}) > 1]


def _row_key(scenario: Scenario) -> tuple[Any, ...]:
    return tuple(getattr(scenario, name) for name in ROW)


def _cell_key(scenario: Scenario) -> tuple[Any, ...]:
    return (scenario.attack, scenario.partition, scenario.hardware, scenario.seed)


def _row(
    cells: Sequence[Score],
    by: By,
    columns: Sequence[str],
    differing: Sequence[str],
    expected: set[tuple[Any, ...]],
) -> Row:
    first = cells[0].scenario
    extra = [f"{name}={getattr(first, name)}" for name in differing]
    scores = {_cell_key(cell.scenario): cell.accuracy for cell in cells}
    attacked = {key: value for key, value in scores.items() if key[0] != "none"} or scores
    where = {"attack": 0, "partition": 1, "hardware": 2}[by]
    means = {
        attack: math.fsum(v) / len(v)
        for attack in dict.fromkeys(key[0] for key in attacked)
        if (v := [value for key, value in attacked.items() if key[0] == attack])
    }
    estimates = {}
    for column in columns:
        chosen = {key: value for key, value in scores.items() if key[where] == column}
        if by != "attack":
            chosen = {key: value for key, value in chosen.items() if key in attacked}
        if chosen:
            estimates[column] = estimate(_worst_per_seed(chosen))
    clean = _worst_per_seed({key: value for key, value in scores.items() if key[0] == "none"})
    return Row(
        rank=None,
        algorithm=first.algorithm,
        rule=first.rule,
        label=" ".join((first.algorithm, first.rule, *extra)),
        origin=catalogue.registry("rule").origin(first.rule),
        needs=sorted({need for cell in cells for need in cell.needs}),
        clean=estimate(clean) if clean else None,
        worst=estimate(_worst_per_seed(attacked)),
        worst_attack=min(means, key=lambda attack: (means[attack], attack)),
        gap=None,
        cells=estimates,
        ended=sum(cell.status != "done" for cell in cells),
        idle=sum(cell.idle for cell in cells),
        missing=len(expected - scores.keys()),
    )


def _gap(key: tuple[Any, ...], row: Row, others: Mapping[tuple[Any, ...], Row]) -> float | None:
    """Return how far a row is below the oracle that differs in nothing but the rule's own."""
    own = {"rule", "scope", "quorum"}

    def setting(key: tuple[Any, ...]) -> list[Any]:
        return [value for name, value in zip(ROW, key, strict=True) if name not in own]

    oracles = [
        other
        for other_key, other in others.items()
        if "honest" in other.needs and not other.missing and setting(other_key) == setting(key)
    ]
    if not oracles or row.missing:
        return None
    return max(other.worst.mean for other in oracles) - row.worst.mean


def _worst_per_seed(scores: Mapping[tuple[Any, ...], float]) -> list[float]:
    worst: dict[int, float] = {}
    for (*_, seed), value in scores.items():
        worst[seed] = min(value, worst.get(seed, math.inf))
    return list(worst.values())


def as_data(ruleset: str, made: Sequence[Board], split: Split = "test") -> dict[str, Any]:
    """Return boards as plain data for JSON; ``clean`` and ``worst`` are means in [0, 1]."""
    return {
        "ruleset": ruleset,
        "split": split,
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
