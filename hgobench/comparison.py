"""Two sets of results compared: which cells changed and by how much, and which rows differ.

Cells are paired: they agree in everything but what is compared, the seed included. Differences are
B's accuracy less A's.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hgobench.arguments import check_arguments, fields, folder, instance, optional
from hgobench.errors import InputError
from hgobench.evaluation.evaluate import Reported, chooses, selected, verdicts
from hgobench.leaderboard import Score, Split, known_examples, order, outcomes
from hgobench.notation import format_value
from hgobench.resolution import Resolved
from hgobench.results import Result, Store, open_store
from hgobench.results.choice import RULESET, as_choices, choice, none_met
from hgobench.results.result import EVERY
from hgobench.scenario import ATTACK, Scenario, word
from hgobench.settings import Setting, write_setting
from hgobench.statistics import FEWEST, LEVEL, Difference, Outcomes, holm
from hgobench.statistics import compare as tested

SAME = 1e-12  # accuracies that are closer differ by rounding


@dataclass(frozen=True)
class Cell:
    """A cell of one side, with prints of its columns in place of its table of rounds.

    Attributes:
        ruleset: its ruleset.
        score: what boards take it for.
        ending: how it ended, and why.
        prints: column to a hash of its numbers, to the last bit; of a card one for all columns.
        right: a hash of the test examples that were right; None: it is not known.
        provenance: what its numbers were computed with.
    """

    ruleset: str
    score: Score
    ending: tuple[str, str]
    prints: Mapping[str, bytes]
    right: bytes | None
    provenance: Mapping[str, Any]

    @classmethod
    def of(cls, ruleset: str, result: Result, split: Split) -> Cell:
        """Return the cell of a result, scored on a split."""
        prints = {
            name: cls.print_of(np.asarray(result.rounds[name], dtype=np.float64).tobytes())
            for name in EVERY
            if name in result.rounds
        }
        return cls(
            ruleset,
            replace(Score.of(result, split), path=()),
            (result.status, result.reason),
            prints,
            None if result.right is None else cls.print_of(result.right),
            result.provenance,
        )

    @staticmethod
    def print_of(content: bytes) -> bytes:
        """Return a hash of some bytes, by which two cells are held against each other."""
        return hashlib.blake2b(content, digest_size=8).digest()

    @property
    def row(self) -> Scenario:
        """The scenario by which it belongs to a row."""
        return self.score.row

    @property
    def accuracy(self) -> float:
        """Its accuracy as boards count it: an R² below 0 is 0."""
        return min(max(self.score.accuracy, 0.0), 1.0)


@dataclass(frozen=True)
class Pair:
    """A cell of A and the cell of B that it is compared with.

    Attributes:
        a, b: the two.
        changed: what differs: columns of the table of rounds, ``ending``, ``right``, ``measures``
            (if both sides have some), and fields that were chosen otherwise; empty: nothing, to the
            last bit.
    """

    a: Cell
    b: Cell
    changed: tuple[str, ...]

    @property
    def difference(self) -> float:
        """B's final accuracy less A's."""
        return self.b.accuracy - self.a.accuracy


@dataclass(frozen=True)
class Line:
    """A difference of means over the seeds that both sides have.

    Attributes:
        rulesets: A's and B's.
        row, other: A's and B's row.
        attack: the attack; empty: the worst case over attacks, or the attacks are compared.
        by: of a worst case, the worst attack of A and of B.
        a, b: the two accuracies.
        estimate: b - a with its 95 % interval, and p.
        p: adjusted for all lines of its table that are tested (Holm, 1979).
        cells: how many pairs of cells there are.
        changed: how many of them are not the same to the last bit.
        same: whether none is, and both sides have the same attacks.
    """

    rulesets: tuple[str, str]
    row: Scenario
    other: Scenario
    attack: str
    by: tuple[str, str]
    a: float
    b: float
    estimate: Difference
    p: float
    cells: int
    changed: int
    same: bool

    @property
    def difference(self) -> float:
        """B's accuracy less A's."""
        return self.estimate.difference

    @property
    def verdict(self) -> str:
        """``"A"`` or ``"B"`` is better, or why that can't be said."""
        if self.same:
            return "identical"
        if self.estimate.seeds < FEWEST:
            return "too few seeds"
        better = {"first": "B", "second": "A"}  # the test's first is B
        return better[self.estimate.verdict] if self.p <= LEVEL else "not told apart"


@dataclass(frozen=True)
class Side:
    """One of the two sets of results.

    Attributes:
        where: the folder.
        asked: what chose its cells; empty: all.
        rulesets: of its cells.
        cells: how many there are.
        only: how many of them the other side lacks.
    """

    where: str
    asked: tuple[str, ...]
    rulesets: tuple[str, ...]
    cells: int
    only: int


@dataclass(frozen=True)
class Fact:
    """A fact of provenance in which cells that are compared differ.

    Attributes:
        name: of the fact.
        a, b: its values, and how many cells have each.
        pairs: how many pairs differ in it.
    """

    name: str
    a: Mapping[str, int]
    b: Mapping[str, int]
    pairs: int


@dataclass(frozen=True)
class Comparison:
    """Two sets of results, compared.

    Attributes:
        a, b: the two sides.
        split: the examples that accuracies are on.
        factor: the fields that are compared, with their value in A and in B; empty: the same cells
            are compared.
        follows: fields that were worked out from these, with their values in A and in B.
        pairs: the cells that both sides have.
        rows: the rows' worst cases, the largest difference first.
        attacks: each row under each attack, likewise.
        overall: the mean over all pairs, of each seed; its seeds are what is compared.
        provenance: in what the pairs' provenance differs.
    """

    a: Side
    b: Side
    split: Split
    factor: Mapping[str, tuple[Any, Any]]
    follows: Mapping[str, tuple[tuple[Any, ...], tuple[Any, ...]]]
    pairs: Sequence[Pair]
    rows: Sequence[Line]
    attacks: Sequence[Line]
    overall: Line
    provenance: Sequence[Fact]

    @cached_property
    def changed(self) -> list[Pair]:
        """The pairs that are not the same to the last bit, the largest difference first."""
        pairs = [pair for pair in self.pairs if pair.changed]
        return sorted(pairs, key=lambda pair: -_size(pair.difference))

    @property
    def identical(self) -> int:
        """How many pairs are the same to the last bit."""
        return len(self.pairs) - len(self.changed)

    def above(self, limit: float) -> list[Line]:
        """Return the rows, worst cases and under each attack, that differ by more than a limit.

        Args:
            limit: of the mean difference over seeds, whichever side is the better one.
        """
        lines = [*self.rows, *self.attacks]
        return [line for line in _sorted(lines) if abs(line.difference) > limit + SAME]

    @property
    def largest(self) -> float:
        """The largest mean difference over seeds of a row, without its sign."""
        return max(abs(line.difference) for line in (*self.rows, *self.attacks))

    def __str__(self) -> str:
        from hgobench.report.comparison import page
        from hgobench.report.render import terminal

        return terminal(page(self))

    def _repr_markdown_(self) -> str:
        from hgobench.report.comparison import page
        from hgobench.report.render import markdown

        return markdown(page(self))

    def as_data(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        return {
            "a": asdict(self.a),
            "b": asdict(self.b),
            "split": self.split,
            "factor": {name: list(map(_plain, values)) for name, values in self.factor.items()},
            "follows": {
                name: [list(map(_plain, values)) for values in both]
                for name, both in self.follows.items()
            },
            "pairs": len(self.pairs),
            "identical": self.identical,
            "overall": _line(self.overall),
            "rows": [{"scenario": _fields(line.row), **_line(line)} for line in self.rows],
            "attacks": [{"scenario": _fields(line.row), **_line(line)} for line in self.attacks],
            "changed": [
                {
                    "rulesets": [pair.a.ruleset, pair.b.ruleset],
                    "scenario": pair.a.score.scenario.to_dict(),
                    "accuracy": [pair.a.accuracy, pair.b.accuracy],
                    "status": [pair.a.ending[0], pair.b.ending[0]],
                    "changed": list(pair.changed),
                }
                for pair in self.changed
            ],
            "provenance": [asdict(fact) for fact in self.provenance],
        }


def _plain(value: Any) -> Any:
    return "inf" if value == float("inf") else value


def _fields(row: Scenario) -> dict[str, Any]:
    """Return what defines a row: all fields but the attack and the seed."""
    without = {"attack", *row.of_role("repetition")}
    return {name: value for name, value in row.to_dict().items() if name not in without}


def _line(line: Line) -> dict[str, Any]:
    return {
        "attack": line.attack,
        "by": list(line.by),
        "a": line.a,
        "b": line.b,
        "difference": line.difference,
        "interval": [line.estimate.low, line.estimate.high],
        "p": line.estimate.p,
        "adjusted": line.p,
        "verdict": line.verdict,
        "certain": line.estimate.certain,
        "seeds": line.estimate.seeds,
        "cells": line.cells,
        "changed": line.changed,
    }


def compare(
    first: str | Path | Store,
    second: str | Path | Store | None = None,
    *,
    a: Mapping[str, Any] | None = None,
    b: Mapping[str, Any] | None = None,
    where: Mapping[str, Any] | None = None,
    split: Split = "test",
) -> Comparison:
    """Compare results: of two folders, two rulesets, or two rows or settings of a folder.

    Args:
        first: A: a folder of results, or an open store.
        second: B; None: the same as A.
        a, b: which cells of A, and which of B: field to its value, one of each. The fields in which
            they differ are what is compared; the cells agree in all others, but for the scope, the
            quorum and the like where these follow. ``ruleset`` is such a field, too.
        where: which cells of both: field to a value, or to a list of some.
        split: the examples that accuracies are on.

    Raises:
        InputError: there are no results, or none that can be compared; what is compared is not
            told apart by the fields.

    Example:
        >>> import tempfile
        >>> from hgobench import Scenario, run
        >>> cells = [Scenario(workers=20, rounds=1, rule=r) for r in ("median", "average")]
        >>> with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
        ...     for cell in cells:
        ...         store.add(run(cell), "mine-1")
        ...     rows = compare(store, a={"rule": "median"}, b={"rule": "average"})
        >>> len(rows.pairs), rows.rows[0].verdict, rows.factor
        (1, 'too few seeds', {'rule': ('median', 'average')})
    """
    check_arguments(
        first=(_results, first),
        second=(optional(_results), second),
        a=(optional(fields), a),
        b=(optional(fields), b),
        where=(optional(fields), where),
        split=(word("test", "validation"), split),
    )
    return compared(first, second, as_choices(a), as_choices(b), as_choices(where), split)


def _results(name: str, value: Any) -> Any:
    if isinstance(value, Store):
        return value
    return folder(name, instance("a folder, or an open store", str, Path)(name, value))


def compared(
    first: str | Path | Store,
    second: str | Path | Store | None,
    a: Sequence[Setting],
    b: Sequence[Setting],
    where: Sequence[Setting],
    split: Split,
) -> Comparison:
    """Do what `compare` does, with what chooses cells as settings."""
    _check_sides(a, b, alone=second is None)
    asked = {
        str(v) for setting in (*where, *a, *b) if setting.field == RULESET for v in setting.values
    }
    of_a, name_a = _read(first, split, asked)
    of_b, name_b = (of_a, name_a) if second is None else _read(second, split, asked)
    left = _chosen("A", name_a, of_a, [*where, *a])
    right = _chosen("B", name_b, of_b, [*where, *b])
    by_ruleset = _by_ruleset(left, right, {setting.field for setting in a})
    factor = _factor(a, left, right)
    follows = _follows(factor, left, right)
    keys = _Keys(factor, follows, left, right, by_ruleset)
    places_a, places_b = keys.places("A", left), keys.places("B", right)
    common = [place for place in places_a if place in places_b]
    if not common:
        raise InputError(_nothing_in_common(left, right, factor))
    pairs = {place: pair(places_a[place], places_b[place], {*factor, *follows}) for place in common}
    rows, attacks = _lines(keys, places_a, places_b, pairs)
    every = list(pairs.values())
    return Comparison(
        _side(name_a, [*where, *a], left, len(common)),
        _side(name_b, [*where, *b], right, len(common)),
        split,
        factor,
        {name: (_values(left, name), _values(right, name)) for name in follows},
        every,
        _adjusted(rows),
        _adjusted(attacks),
        _overall(pairs),
        facts_of(every),
    )


def _side(where: str, settings: Sequence[Setting], cells: Sequence[Cell], common: int) -> Side:
    rulesets = tuple(sorted({cell.ruleset for cell in cells}))
    return Side(where, tuple(map(_written, settings)), rulesets, len(cells), len(cells) - common)


def _written(setting: Setting) -> str:
    return write_setting(setting.field, *setting.values)


def _check_sides(a: Sequence[Setting], b: Sequence[Setting], alone: bool) -> None:
    """Refuse what does not say what is compared."""
    problems = []
    named = [{setting.field for setting in settings} for settings in (a, b)]
    for name, settings in (("a", a), ("b", b)):
        for field, values in settings:
            if len(values) != 1:
                problems.append(f"`{name}`: {field}: {len(values)} values; expected one")
            if field in Scenario.of_role("repetition"):
                problems.append(f"`{name}`: {field}: cells are paired by it; use `where`")
    for name, other, fields_ in (("a", "b", named[0] - named[1]), ("b", "a", named[1] - named[0])):
        problems += [
            f"`{name}`: {field}: not given of `{other}`; say what is compared with it, or use "
            "`where` for both"
            for field in sorted(fields_)
        ]
    if alone and not (named[0] | named[1]):
        problems.append(
            "compare: one folder, with itself; name another, or say what is compared: `a` and `b`, "
            "for example rule=krum and rule=median"
        )
    if problems:
        raise InputError(problems)


def _read(results: str | Path | Store, split: Split, asked: set[str]) -> tuple[list[Cell], str]:
    """Return the cells of a store that boards rank or whose ruleset is asked, and where it is."""
    if not isinstance(results, Store):
        with open_store(results, create=False) as store:
            return _read(store, split, asked)[0], str(results)
    cells: dict[str, dict[Scenario, Cell]] = {}
    for ruleset, result in results.results():
        if not chooses(ruleset) or ruleset in asked:
            cells.setdefault(ruleset, {})[result.scenario] = Cell.of(ruleset, result, split)
    told = []
    for ruleset, of_ruleset in cells.items():
        selections = selected(results, ruleset)
        if selections and split != "test":
            raise InputError("split: validation examples have chosen the attacks; expected test")
        scores = {scenario: cell.score for scenario, cell in of_ruleset.items()}
        reported = Reported(scores, selections, verdicts(selections, scores))
        told += [replace(of_ruleset[score.scenario], score=score) for score in reported.scores]
    return told, results.where


def _chosen(
    side: str, where: str, cells: Sequence[Cell], settings: Sequence[Setting]
) -> list[Cell]:
    """Return the cells that are meant.

    Raises:
        InputError: there are none.
    """
    if not cells:
        raise InputError(f"{side}: {where!r}: holds no results that a board would rank")
    meant = choice(settings, ((cell.ruleset, cell.row) for cell in cells), side)
    chosen = [cell for cell in cells if meant(cell.ruleset, cell.row)]
    if not chosen:
        raise none_met(side, where, settings, ((cell.ruleset, cell.row) for cell in cells))
    return chosen


def _by_ruleset(left: Sequence[Cell], right: Sequence[Cell], asked: set[str]) -> bool:
    """Return whether cells are paired by their rulesets' names too.

    Raises:
        InputError: there are several, and none on both sides.
    """
    names = [sorted({cell.ruleset for cell in cells}) for cells in (left, right)]
    if {*names[0]} & {*names[1]} and RULESET not in asked:
        return True
    if len(names[0]) == len(names[1]) == 1:
        return False
    raise InputError(
        f"compare: A holds the rulesets {names[0]}, B {names[1]}; choose one of each: `a` and `b` "
        "with ruleset=.."
    )


def _factor(
    a: Sequence[Setting], left: Sequence[Cell], right: Sequence[Cell]
) -> dict[str, tuple[Any, Any]]:
    """Return the fields of which A and B have each one value, and not the same."""
    named = [setting.field for setting in a if setting.field != RULESET]
    both = {name: (_values(left, name)[0], _values(right, name)[0]) for name in named}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _values(cells: Iterable[Cell], name: str) -> tuple[Any, ...]:
    """Return the values that cells' rows have of a field, in order."""
    return tuple(sorted({getattr(cell.row, name) for cell in cells}, key=order))


def _follows(
    factor: Mapping[str, Any], left: Sequence[Cell], right: Sequence[Cell]
) -> tuple[str, ...]:
    """Return the fields that are worked out, and are not the same where the factor differs."""
    if not factor:
        return ()
    names = [name for name in Resolved._fields if name not in factor]
    return tuple(name for name in names if _values(left, name) != _values(right, name))


Place = tuple[tuple[Any, ...], str, tuple[Any, ...]]  # row, attack, repetition


class _Keys:
    """By what cells are paired."""

    def __init__(
        self,
        factor: Mapping[str, Any],
        follows: Sequence[str],
        left: Sequence[Cell],
        right: Sequence[Cell],
        by_ruleset: bool,
    ) -> None:
        self.members = any(cell.score.member for cell in (*left, *right))
        self._repetition = Scenario.of_role("repetition")
        self._by_attack = "attack" not in factor
        self._by_ruleset = by_ruleset
        own = ATTACK if self.members else ("attack",)
        without = {*own, *self._repetition, *factor, *follows}
        self._fields = [name for name in Scenario.declarations() if name not in without]

    def place(self, cell: Cell) -> Place:
        """Return the place of a cell: what it has in common with the one it is compared with."""
        row = tuple(getattr(cell.row, name) for name in self._fields)
        repetition = tuple(getattr(cell.score.scenario, name) for name in self._repetition)
        attack = cell.score.attack if self._by_attack else ""
        return (cell.ruleset if self._by_ruleset else "", *row), attack, repetition

    def places(self, side: str, cells: Sequence[Cell]) -> dict[Place, Cell]:
        """Return the cells of a side by their places.

        Raises:
            InputError: two have the same.
        """
        placed: dict[Place, Cell] = {}
        for cell in cells:
            other = placed.setdefault(self.place(cell), cell)
            if other is not cell:
                differ = {
                    name: (getattr(other.row, name), getattr(cell.row, name))
                    for name in Scenario.declarations()
                    if getattr(other.row, name) != getattr(cell.row, name)
                }
                if other.ruleset != cell.ruleset:
                    differ[RULESET] = (other.ruleset, cell.ruleset)
                told = ", ".join(f"{name} ({a} and {b})" for name, (a, b) in differ.items())
                raise InputError(
                    f"compare: {side} has several cells for one of the other side; they differ in "
                    f"{told}: choose with `where`"
                )
        return placed


def pair(a: Cell, b: Cell, compared: Set[str] = frozenset()) -> Pair:
    """Pair two cells; `compared` are fields that may differ."""
    names = dict.fromkeys([*EVERY, *a.prints, *b.prints])
    changed = [name for name in names if a.prints.get(name, b"") != b.prints.get(name, b"")]
    if a.ending != b.ending:
        changed.append("ending")
    if None not in (a.right, b.right) and a.right != b.right:
        changed.append("right")
    ran, other = a.score.scenario, b.score.scenario
    measures = a.score.measures, b.score.measures
    if all(measures) and measures[0] != measures[1] and ran.metrics == other.metrics:
        changed.append("measures")
    changed += [
        name
        for name in Scenario.declarations()
        if name not in compared and getattr(ran, name) != getattr(other, name)
    ]
    return Pair(a, b, tuple(changed))


def _lines(
    keys: _Keys,
    left: Mapping[Place, Cell],
    right: Mapping[Place, Cell],
    pairs: Mapping[Place, Pair],
) -> tuple[list[Line], list[Line]]:
    """Return the lines of the rows' worst cases, and of the rows under each attack."""
    by_row: dict[tuple[Any, ...], list[Place]] = {}
    for place in pairs:
        by_row.setdefault(place[0], []).append(place)
    rows, attacks = [], []
    for row, places in by_row.items():
        for attack in sorted({place[1] for place in places}):
            of_attack = [place for place in places if place[1] == attack]
            some = {place: pairs[place] for place in of_attack}
            line = _difference(
                {place: pair.a for place, pair in some.items()},
                {place: pair.b for place, pair in some.items()},
                some,
                attack,
            )
            attacks += [line] if line else []
        if keys.members:  # each side has the attacks that were chosen for its row
            of_a, of_b = ({p: c for p, c in side.items() if p[0] == row} for side in (left, right))
        else:
            of_a, of_b = ({p: side[p] for p in places} for side in (left, right))
        of_a, of_b = _attacked(of_a), _attacked(of_b)
        some = {p: pairs[p] for p in places if p in of_a and p in of_b}
        line = _difference(of_a, of_b, some, "")
        rows += [line] if line else []
    return rows, attacks


def _attacked(cells: Mapping[Place, Cell]) -> dict[Place, Cell]:
    """Return the cells under attack; all, if there are none."""
    attacked = {place: cell for place, cell in cells.items() if place[1] != "none"}
    return attacked or dict(cells)


def _difference(
    left: Mapping[Place, Cell],
    right: Mapping[Place, Cell],
    pairs: Mapping[Place, Pair],
    attack: str,
) -> Line | None:
    """Compare two rows on the seeds that none of their attacks lacks; None: there are none."""
    names = [sorted({place[1] for place in side}) for side in (left, right)]
    seeds = sorted(
        set.intersection(
            *(
                {place[2] for place in side if place[1] == name}
                for side, named in ((left, names[0]), (right, names[1]))
                for name in named
            )
        )
    )
    if not seeds:
        return None
    tables = []
    for side, named in ((left, names[0]), (right, names[1])):
        by_place = {place[1:]: cell.score for place, cell in side.items()}
        tables.append([[by_place[name, seed] for seed in seeds] for name in named])
    examples = known_examples(score for table in tables for line in table for score in line)
    a, b = (outcomes(table, examples) for table in tables)
    same = names[0] == names[1] and not any(pair.changed for pair in pairs.values())
    found = (
        Difference(0.0, 0.0, 0.0, 1.0, "not told apart", False, len(seeds))
        if same
        else tested(b, a)
    )
    worst = [side[outcome.worst] for side, outcome in zip(names, (a, b), strict=True)]
    first, second = next(iter(left.values())), next(iter(right.values()))
    return Line(
        (first.ruleset, second.ruleset),
        first.row,
        second.row,
        attack,
        (worst[0], worst[1]),
        a.value,
        b.value,
        found,
        found.p,
        len(pairs),
        sum(bool(pair.changed) for pair in pairs.values()),
        same,
    )


def _adjusted(lines: Sequence[Line]) -> list[Line]:
    """Return lines with Holm's p-values, the largest difference first.

    Lines in which all is the same, and those with too few seeds, are not tested. The test flips the
    signs of the seeds' differences: where all are 0 it has nothing to say, so that leaving these
    out does not depend on what it would have said of others.
    """
    told = [line for line in lines if not line.same and line.estimate.seeds >= FEWEST]
    rest = [line for line in lines if line.same or line.estimate.seeds < FEWEST]
    adjusted = holm([line.estimate.p for line in told])
    known = [replace(line, p=p) for line, p in zip(told, adjusted, strict=True)]
    return _sorted([*known, *rest])


def _size(difference: float) -> float:
    """Return how large a difference is, but for rounding, so that equal ones have an order."""
    return round(abs(difference), 12)


def _sorted(lines: Iterable[Line]) -> list[Line]:
    def place(line: Line) -> tuple[Any, ...]:
        row = line.row.to_dict()
        return (-_size(line.difference), line.rulesets, *map(order, row.values()), line.attack)

    return sorted(lines, key=place)


def _overall(pairs: Mapping[Place, Pair]) -> Line:
    """Compare the means over all pairs, a value per seed."""
    by_seed: dict[Any, list[Pair]] = {}
    for place, pair in pairs.items():
        by_seed.setdefault(place[2], []).append(pair)
    means = [
        Outcomes(
            np.array(
                [[np.mean([getattr(p, side).accuracy for p in some]) for some in by_seed.values()]]
            )
        )
        for side in ("a", "b")
    ]
    every = list(pairs.values())
    changed = sum(bool(pair.changed) for pair in every)
    found = Difference(0.0, 0.0, 0.0, 1.0, "not told apart", False, len(by_seed))
    if changed:
        found = tested(means[1], means[0])
    first = every[0]
    return Line(
        (first.a.ruleset, first.b.ruleset),
        first.a.row,
        first.b.row,
        "",
        ("", ""),
        means[0].value,
        means[1].value,
        found,
        found.p,
        len(every),
        changed,
        not changed,
    )


def facts_of(pairs: Iterable[Pair]) -> list[Fact]:
    """Return the facts in which the provenance of pairs differs."""
    differing: Counter[str] = Counter()
    values: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for pair in pairs:
        known = [pair.a.provenance, pair.b.provenance]
        for name in known[0].keys() | known[1].keys():
            both = [stated(facts.get(name)) for facts in known]
            differing[name] += both[0] != both[1]
            counts = values.setdefault(name, (Counter(), Counter()))
            for count, value in zip(counts, both, strict=True):
                count[value] += 1
    return [
        Fact(name, dict(values[name][0]), dict(values[name][1]), count)
        for name, count in sorted(differing.items())
        if count
    ]


def stated(value: Any) -> str:
    """Write a fact of provenance.

    >>> stated("2.5.1"), stated(["root"]), stated([]), stated(None)
    ('2.5.1', 'root', 'none', 'not stated')
    """
    if value is None:
        return "not stated"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)


def _nothing_in_common(
    left: Sequence[Cell], right: Sequence[Cell], factor: Mapping[str, Any]
) -> list[str]:
    """Say why two sides have no cell in common, and what would compare them."""
    message = f"compare: no cell in common: A has {len(left)}, B {len(right)}"
    apart = {
        name: (_values(left, name), _values(right, name))
        for name in Scenario.declarations()
        if name not in (*factor, *Resolved._fields)
    }
    apart = {name: both for name, both in apart.items() if not {*both[0]} & {*both[1]}}
    seeds = [name for name in apart if name in Scenario.of_role("repetition")]
    told = [
        f"{name} is {' or '.join(map(format_value, both[0][:3]))} in A, "
        f"{' or '.join(map(format_value, both[1][:3]))} in B"
        for name, both in apart.items()
    ]
    problems = [f"{message}; {'; '.join(told)}" if told else message]
    single = {n: both for n, both in apart.items() if len(both[0]) == len(both[1]) == 1}
    if apart and not seeds and len(single) == len(apart):
        options = " ".join(
            f"`{side}` {write_setting(name, both[at][0])}"
            for at, side in enumerate("ab")
            for name, both in single.items()
        )
        problems.append(f"compare: to compare these nevertheless: {options}")
    return problems
