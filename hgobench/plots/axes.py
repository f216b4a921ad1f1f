"""What an axis of a picture can be: a field, a parameter in a name, or one field over another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hgobench import catalogue
from hgobench.errors import InputError, unknown
from hgobench.leaderboard import Score, order
from hgobench.notation import parse_value, pieces, specification
from hgobench.scenario import ALIASES, Scenario

Value = Callable[[Score], Any]


@dataclass(frozen=True)
class Axis:
    """An axis: a value of each cell, and what is left of the fields that it takes it from.

    Attributes:
        name: of its column in a table.
        label: beside the axis.
        short: before a value.
        of: a cell's value; None: it has none.
        rest: a cell's fields that the axis takes, with what else they say.
    """

    name: str
    label: str
    short: str
    of: Value
    rest: Callable[[Score], Mapping[str, str]]

    def write(self, value: Any) -> str:
        """Write a value: a name by itself, a number with what it is of."""
        if isinstance(value, str) and self.name in catalogue.FIELDS:
            return value
        return f"{self.short}={value:g}" if isinstance(value, float) else f"{self.short}={value}"

    def numbers(self, scores: Iterable[Score]) -> bool:
        """Say whether all values are numbers."""
        values = (self.of(score) for score in scores)
        return all(isinstance(value, int | float) for value in values if value is not None)


def field_of(score: Score, name: str) -> Any:
    """Return a field of a cell: attacks as boards call them, the row's fields as they were given.

    >>> field_of(Score(Scenario(rule="krum"), "done", 0.5), "rule")
    'krum'
    """
    return score.attack if name == "attack" else getattr(score.row, name)


def axis(text: str, scores: Sequence[Score], argument: str) -> Axis:
    """Return the axis that a text names.

    Args:
        text: a field or its letter; a parameter (``alpha``, ``partition.alpha``); two fields
            (``f/n``).
        scores: the cells.
        argument: what messages call it.

    Raises:
        InputError: there is no such axis, or these cells have several.

    Example:
        >>> score = Score(Scenario(n=20, f=2, partition="dirichlet[alpha=0.3]"), "done", 0.5)
        >>> [axis(text, [score], "x").of(score) for text in ("f", "f/n", "alpha")]
        [2, 0.1, 0.3]
    """
    name = ALIASES.get(text, text)
    if name in Scenario.of_role("repetition"):
        raise InputError(
            f"plot: `{argument}`: {text}: pictures show means over it; choose some by `where`"
        )
    if name in Scenario.declarations():
        short = Scenario.declarations()[name].letter or name
        return Axis(
            name, labelled(name), short, lambda score: field_of(score, name), lambda _: {name: ""}
        )
    if "/" in text:
        return _ratio(text, argument)
    return _parameter(text, scores, argument)


def labelled(name: str) -> str:
    """Return what an axis is called that is a field.

    >>> labelled("byzantine"), labelled("data")
    ('byzantine (f)', 'data')
    """
    letter = Scenario.declarations()[name].letter
    return name.replace("_", " ") + f" ({letter})" * bool(letter)


def _ratio(text: str, argument: str) -> Axis:
    """Return the axis of one field over another."""
    given = [part.strip() for part in text.split("/")]
    names = [ALIASES.get(part, part) for part in given]
    known = Scenario.declarations()
    if len(names) != 2 or any(name not in known or name in catalogue.FIELDS for name in names):
        raise InputError(f"plot: `{argument}`: {text!r}; expected two fields with numbers, as f/n")
    above, below = names

    def of(score: Score) -> float | None:
        over, under = field_of(score, above), field_of(score, below)
        if isinstance(over, str) or isinstance(under, str) or not under:
            return None
        return float(over / under)

    text = "/".join(given)
    return Axis(text, text, text, of, lambda _: dict.fromkeys(names, ""))


def _parameter(text: str, scores: Sequence[Score], argument: str) -> Axis:
    """Return the axis of a parameter in a name."""
    field, _, parameter = text.rpartition(".")
    field = ALIASES.get(field, field)
    named = tuple(name for name in Scenario.declarations() if name in catalogue.FIELDS)
    values = {name: {field_of(score, name) for score in scores} for name in named}
    known = {
        name: dict.fromkeys(key for value in values[name] for key in _parameters(value))
        for name in named
    }
    having = [name for name in ([field] if field else named) if parameter in known.get(name, ())]
    if not having:
        every = [
            *Scenario.declarations(),
            *ALIASES,
            *(key for keys in known.values() for key in keys),
        ]
        raise InputError(unknown(f"plot: `{argument}`", text, every))
    if len(having) > 1:
        listed = " or ".join(f"{name}.{parameter}" for name in having)
        raise InputError(f"plot: `{argument}`: {text}: a parameter of several fields; say {listed}")
    (name,) = having
    return Axis(
        f"{name}.{parameter}",
        f"{parameter} of {name}",
        parameter,
        lambda score: _parameters(field_of(score, name)).get(parameter),
        lambda score: {name: _without(field_of(score, name), parameter)},
    )


def _parameters(value: str) -> dict[str, Any]:
    """Return the parameters that a name states, those of the first part of a chain first."""
    found: dict[str, Any] = {}
    with suppress(InputError):  # a store may hold any text
        for part in pieces(value, "+"):
            for written in specification(part)[1]:
                key, equals, text = written.partition("=")
                if equals:
                    found.setdefault(key.strip(), parse_value(text))
    return found


def _without(value: str, parameter: str) -> str:
    """Return a name with a star in the place of a parameter's value.

    >>> _without("bucketing[s=3]+krum", "s")
    'bucketing[s=*]+krum'
    """
    parts, masked = [], False
    for part in pieces(value, "+"):
        name, written = specification(part)
        keys = [one.partition("=")[0].strip() for one in written]
        if parameter in keys and not masked:
            written[keys.index(parameter)], masked = f"{parameter}=*", True
        parts.append(f"{name}[{','.join(written)}]" if written else name)
    return "+".join(parts)


def drawable(value: Any) -> bool:
    """Say whether a value has a place on an axis of numbers."""
    return isinstance(value, int | float) and math.isfinite(value)


def ordered(values: Iterable[Any]) -> list[Any]:
    """Return different values, in order."""
    return sorted(set(values), key=order)
