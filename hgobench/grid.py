"""A grid of scenarios: its values are checked one by one, its cells made one after the other.

Of all fields, few limit each other (those declared `related`). Only their combinations are tried,
and what is left out is known before the first cell; a seed more makes a cell more, but no work.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice, product
from typing import Any, ClassVar, Self

from hgobench import catalogue
from hgobench.errors import InputError
from hgobench.machine import duration, kept, written
from hgobench.registry import Registry
from hgobench.resolution import Resolved, Resolver
from hgobench.scenario import ALIASES, SHARED, Scenario, check_field

MOST = 10**7  # cells
RESULT = 3_000  # bytes that a cell's result takes in a store


@dataclass(frozen=True)
class Where:
    """Cells whose fields have some values."""

    where: Mapping[str, Any]
    table: ClassVar[str]

    def canonical(self) -> Self:
        """Return it with fields and values as scenarios spell them.

        Raises:
            InputError: some field or value does not exist; all problems at once.
        """
        where, problems = {}, []
        for name, value in self.where.items():
            try:
                where[ALIASES.get(name, name)] = check_field(name, value)
            except InputError as error:
                problems += [f"suite: {self.table}: {problem}" for problem in error.problems]
        if problems:
            raise InputError(problems)
        return replace(self, where=where)

    def matches(self, scenario: Scenario) -> bool:
        """Say whether every named field has the named value."""
        return all(getattr(scenario, name) == value for name, value in self.where.items())


@dataclass(frozen=True)
class LeaveOut(Where):
    """Cells that match are no part of the suite, and why."""

    reason: str
    table = "leave_out"


@dataclass(frozen=True)
class Left:
    """Combinations that are left out of a grid.

    Attributes:
        values: what they have in common, by the axes' names.
        reason: why they are left out.
        count: how many there are.
    """

    values: Mapping[str, Any]
    reason: str
    count: int = 1


@dataclass(frozen=True)
class Axis(Sequence[Any]):
    """A field with its values, each checked once; as a sequence, the values as they are written.

    Attributes:
        name: what the suite calls it.
        field: its own name.
        given: the values as they are written, those that are another spelling of an earlier one
            left out.
        values: the same as scenarios spell them.
        problems: what is wrong with those that are none, by their place.
        repeated: those that were left out, as scenarios spell them.
    """

    name: str
    field: str
    given: tuple[Any, ...]
    values: tuple[Any, ...]
    problems: Mapping[int, list[str]]
    repeated: tuple[Any, ...] = ()

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> Axis:
        """Check values; those of an axis have been checked.

        >>> axis = Axis.of("f", [2, 3, 2])
        >>> axis.field, axis.values, axis.repeated
        ('byzantine', (2, 3), (2,))
        """
        if isinstance(values, Axis):
            return values
        field, given, spelled = ALIASES.get(name, name), list[Any](), list[Any]()
        problems: dict[int, list[str]] = {}
        known = field in Scenario.declarations()  # else the name is said to be unknown, once
        seen: set[Any] = set()
        repeated: list[Any] = []
        for value in values:
            place, canonical = len(given), value
            try:
                canonical = check_field(field, value) if known else value
            except InputError as error:
                problems[place] = error.problems
            else:
                if known and canonical in seen:
                    repeated.append(canonical)
                    continue
                seen |= {canonical} if known else set()
            given.append(value)
            spelled.append(canonical)
        return cls(name, field, tuple(given), tuple(spelled), problems, tuple(repeated))

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, place: Any) -> Any:
        return self.given[place]


def reasons(left: Iterable[Left]) -> dict[str, int]:
    """Return why combinations are left out, and how many of them for each reason."""
    counts: Counter[str] = Counter()
    for entry in left:
        counts[entry.reason] += entry.count
    return dict(counts)


class Grid(Collection[Scenario]):
    """The cells of a grid, each made when it is asked for; worlds come one after the other.

    Args:
        fixed: fields that all cells share.
        axes: field to its values; every combination is a cell, unless it can't be.
        leave_out: what is left out, and why.

    Attributes:
        left: the combinations that are left out, with the reason.

    Raises:
        InputError: a value is wrong by itself, or one of an axis is left out in every combination,
            all problems at once; there are more than `MOST` combinations.

    Example:
        >>> grid = Grid({"workers": 20, "f": 3}, {"rule": ["median", "krum"], "seed": [0, 1, 2]})
        >>> len(grid), [[cell.rule for cell in cohort] for cohort in grid.cohorts(8)]
        (6, [['median', 'krum'], ['median', 'krum'], ['median', 'krum']])
    """

    def __init__(
        self,
        fixed: Mapping[str, Any],
        axes: Mapping[str, Sequence[Any]],
        leave_out: Sequence[LeaveOut] = (),
    ) -> None:
        check_size(axes, fixed.get("rounds"))
        known = Scenario.declarations()
        _, self._strange = Scenario._unalias({**fixed, **dict.fromkeys(axes)})
        constant = [Axis.of(name, [value]) for name, value in fixed.items()]
        self._wrong = {one.field: one.problems[0] for one in constant if one.problems}
        given = {one.field: one.values[0] for one in constant if one.field in known}
        self._base = {**Scenario.defaults(), **given}
        self._axes = [Axis.of(name, values) for name, values in axes.items()]
        self._unwanted = [entry.canonical() for entry in leave_out]
        named = {name for entry in self._unwanted for name in entry.where}
        asked = {name for name, about in known.items() if about.related or name in named}
        self._tried = [one for one in self._axes if one.field in asked or one.problems]
        free = math.prod(len(one) for one in self._axes if one not in self._tried)
        self.left: list[Left] = []
        self._outcomes = self._try({name: self._base[name] for name in asked}, free)
        self._count = free * sum(outcome is not None for outcome in self._outcomes)

    def _try(self, values: dict[str, Any], free: int) -> list[Resolved | None]:
        """Return what is worked out in each combination of the axes that must be tried.

        None: it is left out, or another combination is the same scenario.

        Args:
            values: the fields that it depends on.
            free: how many cells each combination is.
        """
        axes, resolver, order = self._tried, Resolver(), list(Scenario.declarations())
        outcomes: list[Resolved | None] = []
        places_left: list[tuple[int, ...]] = []
        used: set[tuple[int, int]] = set()
        seen: set[tuple[Any, ...]] = set()
        open_ = {number for number, one in enumerate(axes) if one.field in Resolved._fields}
        # What is worked out of a value that is left open may be what another value states.
        twice = any(None in axes[number].values and len(axes[number]) > 1 for number in open_)
        known: dict[Resolved, Resolved] = {}  # many combinations share a few
        for places in product(*(range(len(one)) for one in axes)):
            wrong = self._wrong
            for one, place in zip(axes, places, strict=True):
                values[one.field] = one.values[place]
                if place in one.problems:
                    wrong = {**wrong, one.field: one.problems[place]}
            problems = [p for name in sorted(wrong, key=order.index) for p in wrong[name]]
            outcome, more = resolver.resolve(values, wrong)
            if problems := [*self._strange, *problems, *more]:
                outcome = None
            if outcome is not None:
                used.update(enumerate(places))
                reason = self._unwanted and self._unwanted_because({**values, **outcome._asdict()})
                if reason:
                    problems, outcome = [reason], None
            if problems:
                told = {one.name: one.given[i] for one, i in zip(axes, places, strict=True)}
                self.left += [Left(told, problem, free) for problem in problems]
                places_left += [places] * len(problems)
            if outcome is not None:
                outcome = known.setdefault(outcome, outcome)
            if outcome is not None and twice:
                same = (*outcome, *(i for number, i in enumerate(places) if number not in open_))
                outcome = None if same in seen else outcome
                seen.add(same)
            outcomes.append(outcome)
        every = {(number, place) for number, one in enumerate(axes) for place in range(len(one))}
        if (useless := every - used) or not any(outcomes):
            raise InputError(
                dict.fromkeys(
                    entry.reason
                    for entry, places in zip(self.left, places_left, strict=True)
                    if not useless or not useless.isdisjoint(enumerate(places))
                )
            )
        return outcomes

    def _unwanted_because(self, stated: Mapping[str, Any]) -> str:
        for entry in self._unwanted:
            if all(stated[name] == value for name, value in entry.where.items()):
                return entry.reason
        return ""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Scenario]:
        known, choices, step = Scenario.declarations(), dict[str, list[tuple[int, Any]]](), 1
        for one in reversed(self._tried):  # a combination's outcome is at the sum of its steps
            choices[one.field] = [(step * place, value) for place, value in enumerate(one.values)]
            step *= len(one)
        fields = [one.field for one in self._axes]
        for one in self._axes:
            choices.setdefault(one.field, [(0, value) for value in one.values])
        # What cells may share though it is a world's varies last among what makes a world.
        outer = [name for name in fields if known[name].role in SHARED]
        outer.sort(key=lambda name: known[name].shared is not None)
        inner = [name for name in fields if name not in outer]
        derived: dict[frozenset[str], frozenset[str]] = {}
        for first in product(*(choices[name] for name in outer)):
            values, start = dict(self._base), sum(at for at, _ in first)
            values |= {name: value for name, (_, value) in zip(outer, first, strict=True)}
            for second in product(*(choices[name] for name in inner)):
                outcome = self._outcomes[start + sum(at for at, _ in second)]
                if outcome is None:
                    continue
                for name, (_, value) in zip(inner, second, strict=True):
                    values[name] = value
                open_ = frozenset(name for name in Resolved._fields if values[name] is None)
                open_ = derived.setdefault(open_, open_)  # all cells share a few
                yield Scenario.stated({**values, **outcome._asdict()}, open_)

    def __contains__(self, scenario: object) -> bool:
        return any(cell == scenario for cell in self)

    def cohorts(self, width: int | None = None) -> Iterator[list[Scenario]]:
        """Yield cells that share a world, at most `width` at a time; None: `stack_size`."""
        for _, cells in groupby(self, key=lambda cell: cell.world_key):
            waiting = iter(cells)
            while first := next(waiting, None):
                most = width or stack_size(first)
                yield [first, *islice(waiting, most - 1)]

    def kinds(self, *fields: str) -> Iterator[Scenario]:
        """Yield one cell for each combination of values that cells have of some fields.

        What depends on these alone can be asked of these cells in place of all.

        Args:
            fields: their names; none: all that limit each other.
        """
        wanted = set(fields or (one.field for one in self._tried))
        # A value that is left open may be worked out to be what another states.
        stated_only = wanted - set(Resolved._fields)
        numbers = [number for number, one in enumerate(self._tried) if one.field in stated_only]
        resolved = [place for place, name in enumerate(Resolved._fields) if name in wanted]
        free = [one for one in self._axes if one not in self._tried and one.field in wanted]
        first = {one.field: one.values[0] for one in self._axes}
        seen: set[tuple[Any, ...]] = set()
        every = product(*(range(len(one)) for one in self._tried))
        for places, outcome in zip(every, self._outcomes, strict=True):
            if outcome is None:
                continue
            key = *(places[number] for number in numbers), *(outcome[place] for place in resolved)
            if key in seen:
                continue
            if fields:  # all that limit each other make a combination of their own
                seen.add(key)
            values = {one.field: one.values[i] for one, i in zip(self._tried, places, strict=True)}
            stated = {**self._base, **first, **values, **outcome._asdict()}
            for chosen in product(*(one.values for one in free)):
                stated |= {one.field: value for one, value in zip(free, chosen, strict=True)}
                yield Scenario.stated(stated, None)

    def worlds(self) -> Iterator[Scenario]:
        """Yield one cell for each world, but for repetitions, which differ in their draws alone.

        Then one for each of hgobench's attacks, rules and algorithms that does not go with all
        data, on each of the data.
        """
        yield from self.kinds(*Scenario.of_role("world"))
        for field in ("attack", "rule", "algorithm"):
            if chosen := {value for value in self.values(field) if _is_choosy(field, value)}:
                for cell in self.kinds("data", field):
                    if getattr(cell, field) in chosen:
                        yield cell

    def values(self, field: str) -> tuple[Any, ...]:
        """Return the values that cells have of a field, each once.

        >>> grid = Grid({"workers": 20, "f": 3}, {"rule": ["median", "krum"], "seed": [0, 1]})
        >>> grid.values("quorum"), grid.values("seed")
        ((7, 9), (0, 1))
        """
        return tuple(dict.fromkeys(getattr(cell, field) for cell in self._each(field)))

    def _each(self, field: str) -> Iterator[Scenario]:
        tried = field in Resolved._fields or any(one.field == field for one in self._tried)
        axis = any(one.field == field for one in self._axes)
        return self.kinds(field) if tried or axis else islice(self, 1)

    def _combinations(self) -> Iterator[tuple[dict[str, Any], Resolved]]:
        """Yield the values of the axes that were tried, and what was worked out of them."""
        every = product(*(one.values for one in self._tried))
        for places, outcome in zip(every, self._outcomes, strict=True):
            if outcome is not None:
                yield {one.field: v for one, v in zip(self._tried, places, strict=True)}, outcome

    def has(self, entry: Where) -> bool:
        """Say whether any cell matches."""
        where = dict(entry.where)
        for one in self._axes:
            free = one not in self._tried and one.field in where
            if free and where.pop(one.field) not in one.values:
                return False
        return any(
            all({**self._base, **values, **outcome._asdict()}[n] == v for n, v in where.items())
            for values, outcome in self._combinations()
        )


def _is_choosy(field: str, specification: str) -> bool:
    """Say whether a component of hgobench's, or one before it, asks what the data are (`fits`)."""
    return any(
        "fits" in vars(cls)
        for registry, name in catalogue.registry(field).named(specification)
        if name in registry.builtins
        for cls in getattr(registry.builtins[name].factory, "__mro__", ())
        if cls.__name__ not in ("Attack", "Part", "Algorithm")
    )


class Listed:
    """Scenarios that are given one by one, asked as a `Grid` is.

    Args:
        cells: each of them.
    """

    def __init__(self, cells: Iterable[Scenario]) -> None:
        self._worlds: dict[Any, list[Scenario]] = {}
        for cell in dict.fromkeys(cells):
            self._worlds.setdefault(cell.world_key, []).append(cell)

    def __iter__(self) -> Iterator[Scenario]:
        return chain.from_iterable(self._worlds.values())

    def cohorts(self, width: int | None = None) -> Iterator[list[Scenario]]:
        """Yield cells that share a world, at most `width` at a time; None: `stack_size`."""
        for cells in self._worlds.values():
            most = width or stack_size(cells[0])
            for start in range(0, len(cells), most):
                yield cells[start : start + most]

    def worlds(self) -> Iterator[Scenario]:
        """Yield one cell for each world."""
        return (cells[0] for cells in self._worlds.values())

    def values(self, field: str) -> tuple[Any, ...]:
        """Return the values that cells have of a field, each once."""
        return tuple(dict.fromkeys(getattr(cell, field) for cell in self))


def check_size(axes: Mapping[str, Sequence[Any]], rounds: object = None) -> None:
    """Raise InputError if axes have more than `MOST` combinations, with what they would take.

    Args:
        axes: field to its values.
        rounds: of every cell, if they are no axis.
    """
    count = math.prod(map(len, axes.values()))
    if count <= MOST:
        return
    sizes = " x ".join(f"{name} {len(values):,}" for name, values in axes.items())
    takes = f"some {written(RESULT * count)} in a store"
    given = axes.get("rounds", [Scenario.rounds if rounds is None else rounds])
    played = [number for number in given if isinstance(number, int)]
    with suppress(InputError):  # a calibration that is damaged is none
        if played and (rates := kept()) is not None:
            seconds = count * min(played) * rates.round
            takes += f" and, one by one, {duration(seconds)} for rounds of the smallest model"
    raise InputError(f"suite: {count:,} cells ({sizes}): {takes}; expected at most {MOST:,}")


STACK = 96  # cells side by side: more are hardly faster


def stack_size(cell: Scenario) -> int:
    """Return how many cells like one are computed side by side: seconds of work.

    Numbers do not depend on it. Where a round costs milliseconds whatever is done, many are faster
    together; where it costs more, little is gained, and what is under way is lost by Ctrl-C.
    """
    model = catalogue.registry("model").entry(Registry.bare(cell.model)).factory
    light = getattr(model, "light", False)
    return min(max((4000 if light else 300) // cell.rounds, 1), STACK)
