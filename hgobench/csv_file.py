"""CSV files of a user's own, checked line by line."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hgobench.errors import InputError, unknown

MOST = 20  # problems that are listed

Parser = Callable[[str], Any]  # raises ValueError with what it expected


def number(least: float = -math.inf, most: float = math.inf, above: bool = False) -> Parser:
    """Return a parser of real numbers in [least, most], or (least, most] if `above`.

    ``inf`` is a number where most is infinite.
    """
    bounds = f" {'>' if above else '>='} {least:g}" if least > -math.inf else ""
    bounds += (" and" if bounds else "") + f" <= {most:g}" if most < math.inf else ""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isnan(value) or not least <= value <= most or (above and value == least):
            raise ValueError(f"expected a number{bounds}")
        return value

    return parse


def integer(least: int) -> Parser:
    """Return a parser of integers >= least, of 18 digits at most."""

    def parse(text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isdecimal() and len(digits) <= 18) or int(text) < least:
            raise ValueError(f"expected an integer >= {least}")
        return int(text)

    return parse


def text(value: str) -> str:
    """Parse any text but none at all."""
    if not value:
        raise ValueError("expected some text")
    return value


def word(*known: str) -> Parser:
    """Return a parser of one of a few words."""

    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(f"expected {' or '.join(map(repr, known))}")
        return text

    return parse


def read(
    field: str,
    path: str,
    columns: Mapping[str, Parser],
    optional: Mapping[str, Any] | None = None,
    others: Parser | None = None,
) -> list[tuple[int, dict[str, Any]]]:
    """Read a CSV file with a header line.

    Args:
        field: what messages call it: ``"hardware"``.
        path: the file.
        columns: name to parser.
        optional: columns that may be left out, or empty in a line, with their values then.
        others: parser of columns with any other name; None: there may be none.

    Returns:
        The number of each line and its values.

    Raises:
        InputError: no such file, wrong columns, or wrong values: all, each with its line number.
    """
    optional = optional or {}
    try:
        content = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{field}: {path!r}: {reason}") from error
    records = _records(field, path, content)
    top, header = next(records, (1, []))
    problems = [
        unknown(f"{field}: {path}, line {top}: column", name, list(columns))
        for name in header
        if name not in columns and others is None
    ]
    problems += [
        f"{field}: {path}, line {top}: column {name!r} is missing"
        for name in columns
        if name not in header and name not in optional
    ]
    problems += [
        f"{field}: {path}, line {top}: column {name!r} stands there twice"
        for name in dict.fromkeys(header)
        if header.count(name) > 1
    ]
    if problems:
        raise InputError(problems)
    rows = []
    for line, values in records:
        where = f"{field}: {path}, line {line}"
        if len(values) != len(header):
            problems.append(f"{where}: {len(values)} values; the header names {len(header)}")
            continue
        row = dict(optional)
        for name, value in zip(header, values, strict=True):
            if not value and name in optional:
                continue
            try:
                row[name] = columns.get(name, others or text)(value)
            except ValueError as error:
                problems.append(f"{where}: {name}: {value!r}; {error}")
        rows.append((line, row))
    if not rows and not problems:
        problems.append(f"{field}: {path}: no lines behind the header")
    if problems:
        more = [f"{field}: {path}: {len(problems) - MOST} more"] if len(problems) > MOST else []
        raise InputError([*problems[:MOST], *more])
    return rows


def _records(field: str, path: str, content: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records that are not empty, each with the number of its first line."""
    lines = csv.reader(io.StringIO(content, newline=""), skipinitialspace=True, strict=True)
    first = 1
    try:
        for values in lines:
            stripped = [value.strip() for value in values]
            if any(stripped):
                yield first, stripped
            first = lines.line_num + 1
    except csv.Error as error:
        raise InputError(f"{field}: {path}, line {first}: {error}") from error
