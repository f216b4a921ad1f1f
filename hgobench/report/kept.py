"""Pages as JSON, and back: what an audit has shown once, a site shows again.

Whatever is read may be anybody's: it is held against the page model, and holds no markup.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hgobench import reading
from hgobench.errors import InputError, shown

from . import page as model
from .page import Page

ENDING = ".page.json"
LARGEST = 2**26  # bytes
IS = "is"  # the key that names a class
CLASSES: Mapping[str, Any] = {
    name: made
    for name, made in vars(model).items()
    if is_dataclass(made) and made.__module__ == model.__name__
}


def to_json(page: Page) -> str:
    """Return a page as JSON, but for its `content`.

    >>> from hgobench.report.page import Text
    >>> from_json(to_json(Page("a", "A", [Text("One run.")]))).blocks
    (Text(text='One run.', kind='about'),)
    """
    return json.dumps(_plain(page), allow_nan=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        told = {
            entry.name: _plain(getattr(value, entry.name))
            for entry in fields(value)
            if not (isinstance(value, Page) and entry.name == "content")
            and getattr(value, entry.name) != entry.default
        }
        return {IS: type(value).__name__, **told}
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return number if math.isfinite(number) else {IS: str(number)}
    if isinstance(value, Mapping):
        return [[_plain(key), _plain(one)] for key, one in value.items()]
    listed = sorted(value) if isinstance(value, set | frozenset) else value
    return [_plain(one) for one in listed]


def from_json(text: str | bytes) -> Page:
    """Return the page that `to_json` has written.

    Raises:
        ValueError: it is none.
    """
    page: Page = _read(json.loads(text), Page)
    return page


def _read(value: Any, hint: Any) -> Any:
    """Return a value as a hint says.

    Raises:
        ValueError: it is another.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        hint = next((one for one in arguments if _is(value, one)), hint)
        origin, arguments = get_origin(hint), get_args(hint)
    if not _is(value, hint):
        raise ValueError(f"{shown(value)}; expected {getattr(hint, '__name__', hint)}")
    if is_dataclass(hint):
        return _made(value, hint)
    if isinstance(value, dict) and hint is float:
        return float(value[IS])
    if origin in (None, Literal):
        return value
    if origin is tuple:
        return tuple(_read(one, kind) for one, kind in zip(value, arguments, strict=True))
    if issubclass(origin, Mapping):
        return {_read(key, arguments[0]): _read(one, arguments[1]) for key, one in value}
    return tuple(_read(one, arguments[0]) for one in value)


def _is(value: Any, hint: Any) -> bool:
    """Say whether a value can be what a hint says, by its outermost part."""
    origin = get_origin(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in get_args(hint) and isinstance(value, str)
    if hint in (None, types.NoneType):
        return value is None
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number or (isinstance(value, dict) and value.get(IS) in ("nan", "inf", "-inf"))
    if hint in (str, int, bool):
        return isinstance(value, hint)
    if is_dataclass(hint):
        return isinstance(value, dict) and CLASSES.get(str(value.get(IS))) is hint
    return isinstance(value, list) and origin not in (None, Union, types.UnionType)


def _made(value: Mapping[str, Any], made: Any) -> Any:
    hints = _hints(made)
    given = {name: one for name, one in value.items() if name != IS}
    for name in given:
        if name not in hints:
            raise ValueError(f"{value[IS]}: {shown(name)}; there is no such field")
    for entry in fields(made):
        needed = entry.default is MISSING and entry.default_factory is MISSING
        if needed and entry.name not in given:
            raise ValueError(f"{value[IS]}: {entry.name}: missing")
    return made(**{name: _read(one, hints[name]) for name, one in given.items()})


@cache
def _hints(made: Any) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(made).items() if name != "content"}


def check(page: Page) -> None:
    """Raise ValueError for a page whose parts do not fit each other."""
    for block in page.blocks:
        if isinstance(block, model.Table):
            _check_table(block)
        if isinstance(block, model.Chart):
            _check_chart(block)
        if isinstance(block, model.Curves):
            raise ValueError("curves; expected none, as only a site's own pages have them")
    if page.long is not None:
        _check_table(page.long)


def _check_chart(chart: model.Chart) -> None:
    for line in chart.lines:
        others = [line.y, *(band for band in (line.low, line.high) if band is not None)]
        for values in others:
            if len(values) != len(line.x):
                raise ValueError(f"a line has {len(line.x)} and {len(values)} coordinates")
    for part in (*chart.panels, *([chart.below] if chart.below else [])):
        _check_chart(part)


def _check_table(table: model.Table) -> None:
    wide, lines = len(table.header), len(table.rows)
    if any(len(row) != wide for row in table.rows):
        raise ValueError(f"a table of {wide} columns has a row of another length")
    columns: Sequence[Sequence[Any]] = list(table.factors.values())
    if table.anchors:
        columns = [*columns, table.anchors]
    if any(len(column) != lines for column in columns):
        raise ValueError(f"a table of {lines} rows has anchors or factors of another number")


def _content(path: Path) -> Any:
    """Return the data of a page, which lies beside it; None: it has none."""
    if not path.exists():
        return None
    where = f"page: {str(path)!r}"
    with reading.refusing(where, "JSON"):
        return json.loads(reading.content("page", path, LARGEST))


def read(folder: Path) -> tuple[list[Page], list[str]]:
    """Return the pages in a folder, and what is wrong with others.

    Args:
        folder: as `hgobench.report.files.write` writes to it.
    """
    pages, problems = [], []
    for path in sorted(folder.glob(f"*{ENDING}")):
        where = f"page: {str(path)!r}"
        try:
            content = reading.content("page", path, LARGEST)
            with reading.refusing(where, "a page as hgobench writes it"):
                page = from_json(content)
                if f"{page.name}{ENDING}" != path.name:
                    raise ValueError(f"it is named {shown(page.name)}")
                check(page)
            pages.append(replace(page, content=_content(folder / f"{page.name}.json")))
        except InputError as error:
            problems += error.problems
    known = {page.name for page in pages}
    problems += [
        f"page: {str(path)!r}: of an older hgobench; the command that wrote it writes it anew"
        for path in sorted(folder.glob("*.html"))
        if path.stem not in known and not path.with_name(f"{path.stem}{ENDING}").exists()
    ]
    return pages, problems
