"""Settings: ``field=value,value`` as people write them, and lists of names.

Every text that sets a field of a scenario is read here, once: ``--set``, ``show scenario``,
``show FOLDER``, ``plan``. What the values mean is for `hgobench.scenario` to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from hgobench import catalogue
from hgobench.errors import InputError, shown
from hgobench.notation import Value, format_value, parse_value, pieces, quoted, split_list
from hgobench.scenario import ALIASES


class Setting(NamedTuple):
    """A field with the values that it is to have.

    Attributes:
        field: its name, the paper's letter written out; of an unknown one what was written.
        values: at least one, not yet checked.
    """

    field: str
    values: list[Any]


def parse_setting(text: str, where: str = "settings") -> Setting:
    """Read ``field=value`` or ``field=value,value``; `where` begins each message.

    >>> parse_setting('attack=foe,alie[z=1.5],nan')
    Setting(field='attack', values=['foe', 'alie[z=1.5]', 'nan'])
    >>> parse_setting('f=3')
    Setting(field='byzantine', values=[3])

    Raises:
        InputError: there is no ``=`` or no value, or a quote or a bracket has no partner.
    """
    name, equals, values = (part.strip() for part in text.partition("="))
    about, field = f"{where}: {name}: ", ALIASES.get(name, name)
    items: list[Any]
    if field in catalogue.FIELDS:  # there "nan" and "none" are names
        items = split_list(values, about)
    else:
        items = [parse_value(piece, about) for piece in pieces(values, ",", about) if piece]
    if not (name and equals and items):
        raise InputError(f"{where}: {shown(text)}; expected field=value or field=value,value")
    return Setting(field, items)


def one_value_each(settings: Sequence[Setting], where: str) -> dict[str, Any]:
    """Return settings that give a field once, with one value, as values by field.

    >>> one_value_each([parse_setting("rule=krum"), parse_setting("f=3")], "settings")
    {'rule': 'krum', 'byzantine': 3}

    Raises:
        InputError: one has several values, or a field is given twice; `where` begins each message.
    """
    if several := [setting.field for setting in settings if len(setting.values) != 1]:
        raise InputError(f"{where}: {field}: expected one value" for field in several)
    check_once([setting.field for setting in settings], where)
    return {setting.field: setting.values[0] for setting in settings}


def check_once(fields: Sequence[str], where: str) -> None:
    """Refuse fields that are given twice.

    Raises:
        InputError: naming them all.
    """
    if twice := {field for field in fields if fields.count(field) > 1}:
        raise InputError(f"{where}: {field}: given twice" for field in sorted(twice))


def parse_names(texts: Iterable[str] | None, where: str) -> list[str]:
    """Read an option that lists names and may be repeated: ``--rule a,b --rule c``.

    >>> parse_names(["median,krum", "nnm+bulyan"], "rules")
    ['median', 'krum', 'nnm+bulyan']

    Raises:
        InputError: a quote or a bracket has no partner.
    """
    return [name for text in texts or () for name in split_list(text, f"{where}: ")]


def write_setting(field: str, *values: Value) -> str:
    """Write ``field=value,value`` so that `parse_setting` reads it back.

    >>> write_setting("attack", "foe", "alie[z=1.5]", "nan")
    'attack=foe,alie[z=1.5],nan'
    """

    def item(value: Value) -> str:
        if not isinstance(value, str) or ALIASES.get(field, field) not in catalogue.FIELDS:
            return format_value(value)
        try:
            return value if split_list(value) == [value] else quoted(value)
        except InputError:
            return quoted(value)

    return f"{field}={','.join(map(item, values))}"
