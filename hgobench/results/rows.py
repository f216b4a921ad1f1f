"""A result as a row of a store, and back; every field is checked when it is read.

A store may come from any source and any disk. A row is data: nothing that it names is imported, and
a row that can't be a result is reported, never raised.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast, get_args, get_type_hints

from hgobench import catalogue
from hgobench.errors import InputError, unknown
from hgobench.results.measures import checked as measures_of
from hgobench.results.result import COLUMNS, EVERY, TARGETED, Result, Status
from hgobench.scenario import Scenario, check_field

_WORD = re.compile(r"[\w.:]+")
FIELDS = (
    "key",
    "ruleset",
    "digest",  # of the scenario: one row per ruleset and cell
    "scenario",
    "status",
    "reason",
    "rounds",
    "right",
    "measures",
    "provenance",
    "seconds",
    "server_seconds",
    "finished",  # when the row was written to this store, in seconds since the start of 1970
    "checksum",  # of all others
)

# What rows of a store have not whose schema is older: their checksums are of the others.
LATER: Mapping[int, frozenset[str]] = {
    1: frozenset({"digest", "right", "measures", "server_seconds", "checksum"}),
    2: frozenset({"measures", "server_seconds"}),
    3: frozenset(),
}

# Columns that have no number in some rounds, and those that a result may lack.
_GAPS = frozenset({"time", "test_accuracy", "test_loss", "validation_accuracy", TARGETED})
_LATER = frozenset({"malformed", TARGETED})
_COUNTS = frozenset({"round", "block_size", "heard", "byzantine_heard", "stalled"})


@dataclass(frozen=True)
class Damage:
    """A row that can't be a result.

    Attributes:
        key: its address, with unreadable bytes escaped.
        ruleset: its ruleset; empty if that can't be read.
        problem: the fields that are wrong, and how.
    """

    key: str
    ruleset: str
    problem: str


def to_row(result: Result, ruleset: str, key: str, code: str, finished: float) -> tuple[Any, ...]:
    """Return a result as the values of `FIELDS`; numbers that are not finite become null.

    Args:
        result: the cell's.
        ruleset, key: its ruleset and address.
        code: the digest of the sources, unless the result says it: a store kept it before.
        finished: seconds since the start of 1970.
    """
    rounds = {
        name: [plain(value) for value in result.rounds[name]]
        for name in EVERY
        if name in result.rounds or name not in _LATER
    }
    values = (
        key,
        ruleset,
        result.scenario.digest,
        json.dumps(result.scenario.to_dict()),
        result.status,
        result.reason,
        json.dumps(rounds),
        result.right,
        json.dumps(dict(result.measures)),
        json.dumps({**result.provenance, "code": result.provenance.get("code", code)}),
        float(result.seconds),
        float(result.server_seconds),
        finished,
    )
    return *values, checksum(values)


def checksum(values: Iterable[Any]) -> str:
    """Return a hash of a row's values, 32 hexadecimal digits; text and its bytes are the same.

    It shows accidental changes and edits by hand; as nothing in it is secret, it can be forged.
    """
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        content = value.encode() if isinstance(value, str) else value
        if not isinstance(content, bytes):
            content = struct.pack(">d", value) if isinstance(value, float) else repr(value).encode()
            content = type(value).__name__.encode() + content
        digest.update(struct.pack(">q", len(content)) + content)
    return digest.hexdigest()


def identity(ruleset: Any, scenario: Any) -> str:
    """Return the digest of the scenario in a row; if the text is none, a hash of the text."""
    try:
        return _scenario(scenario).digest
    except (ValueError, RecursionError):
        return f"damaged {checksum([ruleset, scenario])}"


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: None for a float that is not finite.

    >>> plain(float("nan")), plain(0.5)
    (None, 0.5)
    """
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_row(row: Sequence[Any]) -> tuple[str, str, Result] | Damage:
    """Return (key, ruleset, result), or the damage of the row.

    Args:
        row: the values of `FIELDS` as SQLite stores them, text as bytes; None for those that a
            store of an older schema has not (`LATER`).
    """
    stored = dict(zip(FIELDS, row, strict=True))
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, check in _CHECKS.items():
        try:
            values[name] = check(stored[name])
        except ValueError as error:
            problems.append(f"{name}: {error}")
        except RecursionError:
            problems.append(f"{name}: nested too deep")
    if not problems:
        length, rounds = len(values["rounds"]["round"]), values["scenario"].rounds
        complete = values["status"] == "done" and not values["scenario"].budgeted
        if length > rounds or (complete and length < rounds):
            problems.append(f"rounds: {length}; expected {rounds}, those of the scenario")
        if stored["digest"] not in (None, values["scenario"].digest.encode()):
            problems.append("digest: expected that of the scenario")
    if not problems and stored["checksum"] not in (None, checked(stored).encode()):
        problems.append("checksum: the row has been changed since it was written")
    if problems:
        return Damage(_readable(stored["key"]), values.get("ruleset", ""), "; ".join(problems))
    result = Result(
        scenario=values["scenario"],
        rounds=values["rounds"],
        status=values["status"],
        reason=values["reason"],
        provenance=values["provenance"],
        seconds=values["seconds"],
        right=values["right"],
        measures=values["measures"],
        server_seconds=values["server_seconds"],
    )
    return values["key"], values["ruleset"], result


def migrated(stored: Mapping[str, Any]) -> list[Any]:
    """Return a row of an older schema as one of the newest.

    One that had been changed since it was written keeps its checksum, and is damage as before.

    Args:
        stored: by field, None for those that its schema has not.
    """
    values = dict(stored)
    if stored["digest"] is None:
        values["digest"] = identity(stored["ruleset"], stored["scenario"])
    values |= {"measures": "{}", "server_seconds": 0.0}
    intact = stored["checksum"] in (None, checked(stored).encode())
    if intact:
        values["checksum"] = checksum(values[name] for name in FIELDS[:-1])
    return [values[name] for name in FIELDS]


def checked(stored: Mapping[str, Any]) -> str:
    """Return the checksum of a row by field; of schema 2 it is that of the fields that it has."""
    older = LATER[2] if stored["measures"] is None else ()
    return checksum(stored[name] for name in FIELDS[:-1] if name not in older)


def _readable(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        raise ValueError(f"{_kind(value)}; expected text")
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise ValueError("expected text in UTF-8") from None


def _name(value: Any) -> str:
    if not (text := _text(value)):
        raise ValueError("empty")
    return text


def _status(value: Any) -> Status:
    text = _text(value)
    if text not in get_args(Status):
        raise ValueError(f"{text[:40]!r}; expected one of {', '.join(get_args(Status))}")
    return cast(Status, text)


def _seconds(value: Any) -> float:
    if not isinstance(value, float) or not 0 <= value < math.inf:
        raise ValueError(f"{_kind(value)}; expected a number >= 0")
    return value


def _server_seconds(value: Any) -> float:
    return 0.0 if value is None else _seconds(value)


def _measures(value: Any) -> dict[str, float]:
    return {} if value is None else measures_of(_object(value))


def _bits(value: Any) -> bytes | None:
    if value is not None and (not isinstance(value, bytes) or not value):
        raise ValueError(f"{_kind(value)}; expected a bit for each test example")
    return value


def _object(value: Any) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant}; expected a finite number")

    try:
        content = json.loads(_text(value), parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}, at character {error.pos}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{_kind(content)}; expected an object")
    return content


@cache
def _kinds() -> Mapping[str, type]:
    """Return the type of each field of a resolved scenario: ``str``, ``int`` or ``float``."""
    hints = get_type_hints(Scenario)
    types = {name: hints[name] for name in Scenario.restore({}).to_dict()}
    kinds = {name: (get_args(hint) or (hint,))[0] for name, hint in types.items()}
    return {name: kind if isinstance(kind, type) else type(kind) for name, kind in kinds.items()}


def _scenario(value: Any) -> Scenario:
    return scenario_of(_object(value))


def scenario_of(fields: Mapping[str, Any]) -> Scenario:
    """Return the scenario that fields state, which may come from anybody; nothing is imported.

    >>> scenario_of({"workers": 20, "rule": "krum"}).rule
    'krum'
    >>> scenario_of({"workers": "many"})
    Traceback (most recent call last):
    ValueError: workers: text 'many'; expected int

    Raises:
        ValueError: a field is unknown, or can't have the value.
    """
    kinds = _kinds()
    for name, content in fields.items():
        if name not in kinds:
            raise ValueError(unknown("field", name, kinds, hint="of a newer version?"))
        if content == "inf" and kinds[name] is not str and _may_be_infinite(name):
            continue
        types = (int, float) if kinds[name] is float else (kinds[name],)
        if type(content) not in types or (type(content) is float and math.isinf(content)):
            raise ValueError(f"{name}: {_kind(content)}; expected {kinds[name].__name__}")
        if name in catalogue.FIELDS and not _WORD.fullmatch(content):
            catalogue.registry(name).named(
                content
            )  # parsed only: nothing that it names is imported
    return Scenario.restore(fields)


def _may_be_infinite(field: str) -> bool:
    try:
        return bool(check_field(field, math.inf) == math.inf)
    except InputError:
        return False


def _rounds(value: Any) -> dict[str, list[Any]]:
    table = _object(value)
    lacking = [name for name in COLUMNS if name not in table and name not in _LATER]
    if lacking:
        raise ValueError(f"lacks {', '.join(map(repr, lacking))}")
    if stranger := next((name for name in table if name not in EVERY), None):
        raise ValueError(unknown("column", stranger, EVERY, hint="of a newer version?"))
    for name, column in table.items():
        if not isinstance(column, list):
            raise ValueError(f"{name}: {_kind(column)}; expected a list")
        if len(column) != len(table["round"]):
            raise ValueError(
                f"{name}: {len(column)} values; expected {len(table['round'])}, as in 'round'"
            )
        kinds = {int, float, bool} | ({type(None)} if name in _GAPS else set())
        if not set(map(type, column)) <= kinds:
            odd = next(entry for entry in column if type(entry) not in kinds)
            raise ValueError(f"{name}: {_kind(odd)}; expected numbers")
        numbers = [entry for entry in column if entry is not None]
        if not _finite(numbers):
            raise ValueError(f"{name}: expected finite numbers")
        if name in _COUNTS and min(numbers, default=0) < 0:
            raise ValueError(f"{name}: {min(numbers)}; expected numbers >= 0")
        table[name] = [math.nan if entry is None else entry for entry in column]
    return table


def _finite(numbers: Sequence[float]) -> bool:
    try:
        return math.isfinite(math.fsum(numbers))
    except (OverflowError, ValueError):  # an integer beyond floats, or inf - inf
        return False


def _provenance(value: Any) -> dict[str, Any]:
    facts = _object(value)
    if not isinstance(facts.get("code"), str):
        raise ValueError("code: expected the code's hash, as text")
    needs = facts.get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        raise ValueError(f"needs: {_kind(needs)}; expected a list of text")
    return facts


def _kind(value: object) -> str:
    """Return a value's kind in JSON's words; of a number or text, its beginning."""
    if isinstance(value, bytes | str):
        return f"text {_readable(value)[:40]!r}"
    if value is None:
        return "null"
    return {list: "a list", dict: "an object", bool: str(value).lower()}.get(
        type(value), str(value)[:40]
    )


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "key": _name,
    "ruleset": _name,
    "scenario": _scenario,
    "status": _status,
    "reason": _text,
    "rounds": _rounds,
    "right": _bits,
    "measures": _measures,
    "provenance": _provenance,
    "seconds": _seconds,
    "server_seconds": _server_seconds,
}
