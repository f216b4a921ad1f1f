"""Which cells a picture is of, and how they are divided: into panels, rows and points."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace as Namespace
from typing import Any

from hgobench import catalogue
from hgobench.errors import InputError
from hgobench.evaluation.evaluate import Reported, chooses, selected, verdicts
from hgobench.leaderboard import Score, Split, known_examples, order, outcomes
from hgobench.report.cells import varying_fields
from hgobench.results import Result, Store, open_store
from hgobench.results.choice import RULESET, choice, none_met
from hgobench.results.result import data_notes
from hgobench.scenario import ATTACK, Scenario
from hgobench.settings import Setting
from hgobench.statistics import FEWEST, Estimate, Outcomes, estimates

from .axes import Axis, ordered

PANELS = 6  # more are not read on one page
NAMED = 5  # values of a field that a message lists
Reader = Callable[[Sequence[Score]], Iterator[Result]]


@dataclass(frozen=True)
class Cells:
    """The cells that a picture is of, all of one ruleset.

    Attributes:
        scores: theirs, as boards take them.
        where: where they are from, for messages.
        split: the examples that accuracies are on.
        ruleset: theirs; empty: it is not known.
        results: reads the results of some of the scores; None: there are scores alone.
        notes: what else a reader must know.
    """

    scores: Sequence[Score]
    where: str = "results"
    split: Split = "test"
    ruleset: str = ""
    results: Reader | None = None
    notes: Sequence[str] = ()

    @classmethod
    def of_results(cls, results: Collection[Result], split: Split = "test") -> Cells:
        """Return the cells of some results."""
        of = {result.scenario: result for result in results}
        scores = [Score.of(result, split) for result in results]
        return cls(
            scores, split=split, results=lambda some: iter([of[one.scenario] for one in some])
        )

    @classmethod
    def of_store(
        cls, results: str | Path | Store, split: Split = "test", where: Sequence[Setting] = ()
    ) -> Cells:
        """Return the cells of a store that boards rank, or of the ruleset that `where` names.

        Raises:
            InputError: there are none, or of several rulesets.
        """
        if isinstance(results, Store):
            return _of_store(results, lambda: nullcontext(results), split, where)
        with open_store(results, create=False) as store:
            return _of_store(store, lambda: open_store(results, create=False), split, where)

    def chosen(self, where: Sequence[Setting]) -> Cells:
        """Return the cells that have, of each setting, one of its values.

        Raises:
            InputError: there are none.
        """
        settings = [setting for setting in where if setting.field != RULESET]
        own = {*ATTACK, *Scenario.of_role("repetition")}  # of a row whose attacks were chosen
        rows = [("", score.row) for score in self.scores]
        cells = [("", score.scenario) for score in self.scores]
        of_rows = choice([one for one in settings if one.field not in own], rows, "plot")
        of_cells = choice([one for one in settings if one.field in own], cells, "plot")
        scores = [
            score
            for score in self.scores
            if of_rows("", score.row) and of_cells("", score.scenario)
        ]
        if not scores:
            known = (
                {
                    one.field: getattr(score.scenario if one.field in own else score.row, one.field)
                    for one in settings
                }
                for score in self.scores
            )
            raise none_met("plot", self.where, settings, (("", Namespace(**f)) for f in known))
        return replace(self, scores=scores)

    @property
    def told(self) -> list[str]:
        """What a reader must know of their data and of what computed them."""
        known = [(one.scenario.data, one.data) for one in self.scores if one.data is not None]
        return [*self.notes, *data_notes(known)]


def _of_store(
    store: Store,
    again: Callable[[], AbstractContextManager[Store]],
    split: Split,
    where: Sequence[Setting],
) -> Cells:
    """Return cells of a store; `again` opens it when results are read."""
    asked = {str(v) for setting in where if setting.field == RULESET for v in setting.values}
    kept: dict[str, dict[Scenario, Score]] = {}
    codes: dict[str, set[object]] = {}
    for key, ruleset, result in store.entries():
        if ruleset in asked or not (asked or chooses(ruleset)):
            score = Score.of(result, split, key)
            kept.setdefault(ruleset, {})[result.scenario] = score
            codes.setdefault(ruleset, set()).add(result.provenance.get("code"))
    if not kept:
        of = f" of the ruleset {' or '.join(map(repr, sorted(asked)))}" if asked else ""
        raise InputError(f"plot: {store.where!r}: holds no results{of} that a board would rank")
    if len(kept) > 1:
        listed = ", ".join(f"'ruleset={name}'" for name in sorted(kept))
        raise InputError(
            f"plot: {store.where!r}: holds several rulesets, whose numbers don't compare; choose "
            f"one by `where`: {listed}"
        )
    ((ruleset, every),) = kept.items()
    selections = selected(store, ruleset)
    if selections and split != "test":
        raise InputError("split: validation examples have chosen the attacks; expected test")
    chosen = Reported(every, selections, verdicts(selections, every))
    notes = []
    if (versions := len(codes[ruleset])) > 1:
        notes.append(f"these results come from {versions} versions of the code")
    if lacking := len(selections) - len(chosen.verdicts):
        notes.append(f"{lacking} of {len(selections)} rows lack cells, and are left out")
    if not chosen.scores:
        raise InputError(
            f"plot: {store.where!r}: none of the {len(selections)} rows of {ruleset!r} has all its "
            "cells yet; run it again"
        )
    found = Cells(chosen.scores, store.where, split, ruleset, reader(again), notes)
    return found.chosen(where)


def reader(opened: Callable[[], AbstractContextManager[Store]]) -> Reader:
    """Return what reads the results of scores from the store that they are of."""

    def read(scores: Sequence[Score]) -> Iterator[Result]:
        with opened() as store:
            yield from (result for _, result in store.results([one.address for one in scores]))

    return read


Place = tuple[str, Any]  # attack, and which of the repetitions


@dataclass(frozen=True)
class Point:
    """The cells that one value of a picture comes from.

    Attributes:
        cells: attack and repetition to the score.
        examples: how many test examples there are; 0: it is not known which were right.
    """

    cells: Mapping[Place, Score]
    examples: int

    @cached_property
    def attacks(self) -> list[str]:
        """What they were attacked with; that is nothing, if they were not."""
        names = {attack for attack, _ in self.cells}
        return sorted(names - {"none"} or names)

    @cached_property
    def outcomes(self) -> Outcomes:
        """Their accuracies, a line per attack, as boards have them."""
        seeds = sorted({seed for _, seed in self.cells})
        lines = [[self.cells.get((attack, seed)) for seed in seeds] for attack in self.attacks]
        return outcomes(lines, self.examples)

    @property
    def worst_attack(self) -> str:
        """The attack with the lowest mean."""
        return self.attacks[self.outcomes.worst]

    @cached_property
    def worst(self) -> Estimate:
        """The worst case over attacks, with the interval that boards show."""
        return estimates(self.outcomes)[1]

    @property
    def under_worst(self) -> list[Score]:
        """The cells under the worst attack, in the order of their seeds."""
        return [
            score
            for (attack, _), score in sorted(self.cells.items(), key=lambda item: item[0][1])
            if attack == self.worst_attack
        ]


Key = tuple[Any, ...]
Values = tuple[Any, ...]  # of a picture's axes


@dataclass(frozen=True)
class Division:
    """The points of a picture.

    Attributes:
        cells: all of them.
        axes: what each point has a value of.
        panels: key to title, in order.
        rows: key to label: the defences that differ; one without a key, if rows are not told apart.
        points: the points by panel, row and values.
        common: the fields, as they are written, that all cells agree in.
        left_out: what is not in the points, in words.
    """

    cells: Cells
    axes: Sequence[Axis]
    panels: Mapping[Key, str]
    rows: Mapping[Key, str]
    points: Mapping[tuple[Key, Key, Values], Point]
    common: Sequence[str]
    left_out: Sequence[str]

    def values(self, place: int) -> list[Any]:
        """Return the values of an axis, in order."""
        return ordered(values[place] for _, _, values in self.points)


def divide(cells: Cells, axes: Sequence[Axis], *, by_rows: bool = True) -> Division:
    """Divide cells into panels, rows and points; within a point they differ in attack and seed.

    What varies besides the axes makes rows, if it is a defence, and panels. Nothing is averaged but
    repetitions.

    Args:
        cells: the cells.
        axes: the picture's axes besides rows.
        by_rows: whether defences make rows; else they make panels too, and the values of the last
            axis are lines or rows.

    Raises:
        InputError: there are too many panels, two cells would be one, or no cell has a value on
            every axis.
    """
    scores, left_out = _with_values(cells, axes)
    own = any(score.member for score in scores)
    stated = [_stated(score, axes, own) for score in scores]
    varying = [name for name in varying_fields(stated) if name in Scenario.declarations()]
    defence = Scenario.of_role("defence") if by_rows else ()
    of_rows = [name for name in varying if name in defence]
    of_panels = [name for name in varying if name not in defence]
    examples = {
        data: known_examples(score for score in scores if score.scenario.data == data)
        for data in {score.scenario.data for score in scores}
    }
    points: dict[tuple[Key, Key, Values], dict[Place, Score]] = {}
    for score, fields in zip(scores, stated, strict=True):
        panel, row = (tuple(fields[name] for name in names) for names in (of_panels, of_rows))
        values = tuple(one.of(score) for one in axes)
        place = (_attack(score, axes), _repetition(score))
        other = points.setdefault((panel, row, values), {}).setdefault(place, score)
        if other is not score:
            raise InputError(_twice(other, score))
    _check_panels(of_panels, stated, {panel for panel, _, _ in points})
    lines = axes[-1] if axes and not by_rows else None
    kept, lacking = _complete(points, lines, own)
    panels = sorted({panel for panel, _, _ in points}, key=lambda key: list(map(order, key)))
    rows = sorted({row for _, row, _ in points}, key=lambda key: list(map(order, key)))
    return Division(
        cells,
        axes,
        {key: ", ".join(map(written, of_panels, key)) for key in panels},
        {key: _label(of_rows, key, stated[0]) for key in rows},
        {
            place: Point(some, examples[next(iter(some.values())).scenario.data])
            for place, some in kept.items()
        },
        _common(stated[0], {*varying, *_varied(stated)}),
        [*left_out, *lacking],
    )


def _with_values(cells: Cells, axes: Sequence[Axis]) -> tuple[list[Score], list[str]]:
    """Return the cells that have a value on every axis, and how many have not."""
    scores, left_out = list(cells.scores), []
    for one in axes:
        having = [score for score in scores if one.of(score) is not None]
        if not having:
            raise InputError(f"plot: {one.name}: no cell of {cells.where!r} has a value of it")
        if without := len(scores) - len(having):
            left_out.append(f"{without} cells without {one.name}")
        scores = having
    return scores, left_out


def _stated(score: Score, axes: Sequence[Axis], own: bool) -> dict[str, Any]:
    """Return what tells a cell from others: its fields, less what axes take, and values on axes."""
    without = {*(ATTACK if own else ("attack",)), *Scenario.of_role("repetition")}
    fields = {name: value for name, value in vars(score.row).items() if name not in without}
    for number, one in enumerate(axes):
        fields |= {name: left for name, left in one.rest(score).items() if name not in without}
        fields[f"axis {number}"] = one.of(score)
    return fields


def _attack(score: Score, axes: Sequence[Axis]) -> str:
    """Return a cell's attack, less a parameter that an axis takes."""
    left = [rest for one in axes if (rest := one.rest(score).get("attack"))]
    return left[0] if left else score.attack


def _repetition(score: Score) -> tuple[Any, ...]:
    return tuple(getattr(score.scenario, name) for name in Scenario.of_role("repetition"))


def _twice(one: Score, other: Score) -> str:
    """Say that two cells would be one, and what to do."""
    differ = [
        f"{name} ({getattr(one.row, name)}, {getattr(other.row, name)})"
        for name in Scenario.declarations()
        if getattr(one.row, name) != getattr(other.row, name)
    ]
    where = ", ".join(differ) or "nothing"
    return f"plot: two cells for one point: they differ in {where}; choose one by `where`"


def _check_panels(
    names: Sequence[str], stated: Sequence[Mapping[str, Any]], panels: Collection[Key]
) -> None:
    """Refuse more panels than are read."""
    if len(panels) <= PANELS:
        return
    told = [f"{name} ({_listed({fields[name] for fields in stated})})" for name in names]
    raise InputError(
        f"plot: would have {len(panels)} panels, at most {PANELS} are drawn: cells differ in "
        f"{', '.join(told)}; choose some by `where`, or give one of these to an axis"
    )


def _listed(values: Collection[Any]) -> str:
    """Return the first of some values, and how many more there are."""
    texts = [str(value) for value in ordered(values)]
    return ", ".join(texts[:NAMED]) + f" and {len(texts) - NAMED} more" * (len(texts) > NAMED)


def _complete(
    points: Mapping[tuple[Key, Key, Values], Mapping[Place, Score]],
    lines: Axis | None,
    own: bool,
) -> tuple[dict[tuple[Key, Key, Values], Mapping[Place, Score]], list[str]]:
    """Return the points that lack no cell which others beside them have; and how many do.

    Beside a point are those of other rows or lines. These have its seeds; and its attacks, if they
    differ from it in the defence alone, as where nobody is Byzantine there are none.

    Args:
        points: all.
        lines: the last axis, if its values are lines; None: rows are.
        own: whether attacks are each row's own.
    """
    seeds_alone = own or (lines is not None and lines.name not in Scenario.of_role("defence"))
    expected: dict[tuple[Key, Values], set[Place]] = {}
    for (panel, _, values), cells in points.items():
        beside = values if lines is None else values[:-1]
        expected.setdefault((panel, beside), set()).update(cells)
    kept = {}
    for (panel, row, values), cells in points.items():
        wanted = expected[panel, values if lines is None else values[:-1]]
        if seeds_alone:
            attacks = {attack for attack, _ in cells}
            wanted = {(attack, seed) for attack in attacks for _, seed in wanted}
        if wanted <= cells.keys():
            kept[panel, row, values] = cells
    lacking = len(points) - len(kept)
    told = f"{lacking} of {len(points)} points, which lack cells that others have"
    return kept, [told] if lacking else []


def written(name: str, value: Any) -> str:
    """Write a field's value as titles do: names by themselves, numbers with their field.

    >>> written("byzantine", 3), written("partition", "iid"), written("deadline", float("inf"))
    ('f=3', 'iid', 'tau=inf')
    """
    about = Scenario.declarations()[name]
    if name in catalogue.FIELDS or name == "scope":
        return str(value)
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{about.letter or name}={number}"


def _label(names: Sequence[str], key: Key, fields: Mapping[str, Any]) -> str:
    """Return what a row is called: in what rows differ, or its rule."""
    if not names:
        return f"{fields['algorithm']} {fields['rule']}"
    return " ".join(map(written, names, key))


def _varied(stated: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the fields that vary, or that an axis takes."""
    names = stated[0]
    return {name for name in names if len({fields[name] for fields in stated}) > 1} | {
        name for name in names if stated[0][name] == ""
    }


COMMON = ("data", "partition", "hardware", "workers", "byzantine", "rounds", "algorithm", "rule")


def _common(fields: Mapping[str, Any], without: Collection[str]) -> list[str]:
    """Return what a caption says that all cells agree in."""
    return [written(name, fields[name]) for name in COMMON if name not in without]


def seeds_of(points: Iterable[Point]) -> str:
    """Return how many seeds means are over, in words."""
    counts = sorted({point.outcomes.seeds for point in points})
    return f"{counts[0]} seed{'s' * (counts != [1])}" if len(counts) == 1 else (
        f"{counts[0]} to {counts[-1]} seeds"
    )  # fmt: skip


def few(points: Iterable[Point]) -> bool:
    """Say whether some points have too few seeds for an interval."""
    return any(point.outcomes.seeds < FEWEST for point in points)
