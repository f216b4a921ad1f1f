"""Which cells of a store are meant: ``field=value,value`` and ``ruleset=name``, all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hgobench.errors import InputError, unknown
from hgobench.scenario import ALIASES, Scenario, check_field
from hgobench.settings import Setting, parse_names, parse_setting, write_setting

RULESET = "ruleset"
Choice = Callable[[str, Scenario], bool]


def parse_choice(text: str, where: str) -> Setting:
    """Read ``field=value,value`` or ``ruleset=name``; `where` begins each message.

    A ruleset's name is taken as it is, as it may hold commas; `choice` tells it from a list.

    >>> parse_choice("f=4,8", "show"), parse_choice("ruleset=mine-1 with f=4,8", "show").values
    (Setting(field='byzantine', values=[4, 8]), ['mine-1 with f=4,8'])

    Raises:
        InputError: it is neither.
    """
    name, equals, value = text.partition("=")
    if name.strip() == RULESET and equals and value.strip():
        return Setting(RULESET, [value.strip()])
    return parse_setting(text, where)


def as_choices(given: Mapping[str, Any] | None) -> list[Setting]:
    """Return fields with a value, or a list of values, as settings.

    >>> as_choices({"f": 4, "rule": ["krum", "median"]})
    [Setting(field='byzantine', values=[4]), Setting(field='rule', values=['krum', 'median'])]
    """
    several = {
        name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        for name, value in (given or {}).items()
    }
    return [Setting(ALIASES.get(name, name), values) for name, values in several.items()]


def choice(
    settings: Iterable[Setting], cells: Iterable[tuple[str, Scenario]], where: str
) -> Choice:
    """Return the function that says of a ruleset and a scenario whether the cell is meant.

    A value that some cell has is taken as it is, so that nothing it names is imported.

    Args:
        settings: a cell must have one of the values of each.
        cells: all that there are.
        where: begins each message.

    Raises:
        InputError: there is no such field, a field can't have the value, or no cell is of the
            ruleset.

    Example:
        >>> cells = [("mine-1", Scenario(rule=rule)) for rule in ("krum", "median")]
        >>> meant = choice([Setting("rule", ["krum"])], cells, "show")
        >>> [meant(*cell) for cell in cells]
        [True, False]
    """
    known = list(cells)
    rulesets = {ruleset for ruleset, _ in known}
    accepted: dict[str, list[Any]] = {}
    for field, values in settings:
        if field == RULESET:
            names = [name for name in values if name in rulesets]
            names = names or parse_names(map(str, values), f"{where}: {RULESET}")
            if strange := sorted(set(names) - rulesets):
                raise InputError(
                    unknown(f"{where}: {RULESET}", stranger, rulesets) for stranger in strange
                )
        else:
            stored = list({getattr(scenario, field, None) for _, scenario in known})
            names = [value if value in stored else check_field(field, value) for value in values]
        kept = accepted.get(field)
        accepted[field] = names if kept is None else [name for name in kept if name in names]

    def meant(ruleset: str, scenario: Scenario) -> bool:
        return all(
            (ruleset if field == RULESET else getattr(scenario, field)) in values
            for field, values in accepted.items()
        )

    return meant


MOST = 8  # values that a refusal names


def none_met(
    begins: str, where: str, settings: Sequence[Setting], cells: Iterable[tuple[str, Any]]
) -> InputError:
    """Return the refusal of a choice that no cell meets, which says what could have been chosen.

    Args:
        begins: how the message begins.
        where: the cells are from.
        settings: the choice.
        cells: all that there are: their rulesets, and scenarios or whatever has their fields.

    >>> str(none_met("show", "out", [], []))
    "show: 'out': holds no results"
    >>> cells = [("m-1", Scenario(rule="krum", seed=0)), ("m-1", Scenario(rule="cge", seed=1))]
    >>> str(none_met("show", "out", [Setting("rule", ["median"])], cells))
    "show: no cell of 'out' is rule=median; its rule is 'cge' or 'krum'"
    >>> str(none_met("show", "out", [Setting("rule", ["krum"]), Setting("seed", [1])], cells))
    "show: no cell of 'out' is rule=krum seed=1; no cell has all of these at once"
    """
    known, said = list(cells), []
    if not known:
        return InputError(f"{begins}: {where!r}: holds no results")
    for field, values in settings:
        if field == RULESET:
            continue
        stored = {getattr(scenario, field) for _, scenario in known}
        if stored.isdisjoint(v if v in stored else check_field(field, v) for v in values):
            some = sorted(stored, key=lambda value: (str(type(value)), value))
            more = f" or one of {len(some) - MOST} others" if len(some) > MOST else ""
            said.append(f"its {field} is {' or '.join(map(repr, some[:MOST]))}{more}")
    asked = " ".join(write_setting(field, *values) for field, values in settings)
    there_are = "; ".join(said) or "no cell has all of these at once"
    return InputError(f"{begins}: no cell of {where!r} is {asked}; {there_are}")
