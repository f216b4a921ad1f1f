"""CSV files of a user's own, checked line by line."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
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
    """Return a parser of integers >= least."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise ValueError(f"expected an integer >= {least}")
        return value

    return parse


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
    lines = csv.reader(content.splitlines(), skipinitialspace=True)
    header = [name.strip() for name in next(lines, [])]
    problems = [
        unknown(f"{field}: {path}, line 1: column", name, list(columns))
        for name in header
        if name not in columns and others is None
    ]
    problems += [
        f"{field}: {path}, line 1: column {name!r} is missing"
        for name in columns
        if name not in header and name not in optional
    ]
    problems += [
        f"{field}: {path}, line 1: column {name!r} stands there twice"
        for name in dict.fromkeys(header)
        if header.count(name) > 1
    ]
    if problems:
        raise InputError(problems)
    rows = []
    for values in lines:
        where = f"{field}: {path}, line {lines.line_num}"
        if not any(value.strip() for value in values):
            continue
        if len(values) != len(header):
            problems.append(f"{where}: {len(values)} values; the header names {len(header)}")
            continue
        row = dict(optional)
        for name, text in zip(header, (value.strip() for value in values), strict=True):
            if not text and name in optional:
                continue
            try:
                row[name] = columns.get(name, others or str)(text)
            except ValueError as error:
                problems.append(f"{where}: {name}: {text!r}; {error}")
        rows.append((lines.line_num, row))
    if not rows and not problems:
        problems.append(f"{field}: {path}: no lines behind the header")
    if problems:
        more = [f"{field}: {path}: {len(problems) - MOST} more"] if len(problems) > MOST else []
        raise InputError([*problems[:MOST], *more])
    return rows
