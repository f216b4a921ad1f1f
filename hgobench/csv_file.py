"""A user's CSV files, checked line by line."""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hgobench import reading
from hgobench.errors import InputError, unknown

MOST = 20  # problems that are listed
BYTES = 1 << 28  # of a file
SHOWN = 200  # characters of a line

Parser = Callable[[str], Any]  # raises ValueError with what it expected


def number(
    least: float = -math.inf, most: float = math.inf, above: bool = False, finite: bool = False
) -> Parser:
    """Return a parser of real numbers in [least, most], or (least, most] if `above`.

    ``inf`` is a number where most is infinite, unless all are to be finite.

    >>> number(least=0)("2.5")
    2.5
    """
    bounds = f" {'>' if above else '>='} {least:g}" if least > -math.inf else ""
    bounds += (" and" if bounds else "") + f" <= {most:g}" if most < math.inf else ""
    kind = "a finite number" if finite else "a number"

    def parse(text: str) -> float:
        try:
            value = math.nan if "_" in text else float(text)
        except ValueError:
            value = math.nan
        outside = math.isnan(value) or not least <= value <= most or (above and value == least)
        if outside or (finite and math.isinf(value)):
            raise ValueError(f"expected {kind}{bounds}")
        return value

    return parse


def integer(least: int) -> Parser:
    """Return a parser of integers >= least, of 18 digits at most.

    >>> integer(0)("7")
    7
    """

    def parse(text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isdecimal() and len(digits) <= 18) or int(text) < least:
            raise ValueError(f"expected an integer >= {least}")
        return int(text)

    return parse


def text(value: str) -> str:
    """Return the text; raise ValueError if it is empty."""
    if not value:
        raise ValueError("expected some text")
    return value


def word(*known: str) -> Parser:
    """Return a parser that accepts only these words.

    >>> word("yes", "no")("maybe")
    Traceback (most recent call last):
    ValueError: expected 'yes' or 'no'
    """

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
    read = reading.content(field, path, BYTES)
    with reading.refusing(f"{field}: {path!r}", "a CSV file in UTF-8"):
        content = read.decode("utf-8-sig")
    if "\0" in content:
        line = content[: content.index("\0")].count("\n") + 1
        raise InputError(f"{field}: {path}, line {line}: a zero byte; expected a CSV file in UTF-8")
    written = content.lstrip()
    top = content[: len(content) - len(written)].count("\n") + 1
    where = f"{field}: {path}, line {top}"
    names = written.partition("\n")[0].strip()
    missing = [name for name in columns if name not in optional and name != names]
    if missing and (odd := _no_header(names)):
        raise InputError(f"{where}: column {missing[0]!r} is missing; {odd}")
    records = _records(field, path, content)
    _, header = next(records, (1, []))
    missing = [name for name in missing if name not in header]
    problems = [
        f"{where}, column {position}: {_NAMELESS}"
        if not name
        else f"{where}, column {position}: {name!r} is what pandas calls a column without a name; "
        "leave it out, or give it a name"
        for position, name in enumerate(header, 1)
        if not name or (others and name not in columns and _PANDAS.fullmatch(name))
    ]
    problems += [
        unknown(f"{where}: column", name, list(columns))
        for name in header
        if name and name not in columns and others is None
    ]
    problems += [
        f"{where}: column {name!r} is missing; {_instead(name, header)}" for name in missing
    ]
    problems += [
        f"{where}: column {name!r} appears twice"
        for name in dict.fromkeys(header)
        if name and header.count(name) > 1
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


_PANDAS = re.compile(r"Unnamed: \d+(_level_\d+)?")
_NAMELESS = (
    "no name; an index that pandas wrote? Write the file with index=False; else give it a name, or "
    "remove the comma that is too much"
)


def _no_header(line: str) -> str:
    """Say why a line can't be the names of columns, separated by commas; empty: it can."""
    if not line:
        return "the file is empty; expected the names of columns, separated by commas"
    for delimiter, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if "," not in line and delimiter in line:
            shown = line if len(line) <= SHOWN else f"{line[:SHOWN]}.."
            return f"{shown!r} is separated by {called}; expected commas, in all lines"
    return ""


def _instead(name: str, header: Sequence[str]) -> str:
    """Say which columns there are in place of one, and what was probably meant."""
    plain = {other.casefold(): other for other in reversed(header)}
    near = difflib.get_close_matches(name.casefold(), plain, n=1, cutoff=0.6)
    meant = f"; did you mean {plain[near[0]]!r}?" if near else ""
    shown = ", ".join(map(repr, header[:MOST]))
    more = f" and {len(header) - MOST} more" if len(header) > MOST else ""
    return f"there are {shown}{more}{meant}"


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
