"""How things, lists and values are written: ``name[parameter=value,...]``, ``a+b``, ``x,y``.

The grammar, the same on the command line, in TOML files and in what is printed::

    list           item, item, ...
    chain          specification + specification + ...
    specification  name, or name[parameter, ...], or name(parameter, ...)
    parameter      value, or key=value
    value          a word or number, or text in quotes: "d,e.csv"

Text in quotes may hold anything; in it ``\\"`` is a quote and ``\\\\`` a backslash. A value that
does not begin with a quote ends where its list does, and the brackets in it come in pairs. This
module knows neither names nor parameters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache

from hgobench.errors import InputError, shown

Value = bool | int | float | str | None

_WORDS: dict[str, Value] = {"true": True, "false": False, "none": None}
_PAIRS = {"[": "]", "(": ")"}
_QUOTED = re.compile(r'"(?:[^"\\]|\\["\\])*"', re.DOTALL)
_HINT = 'text with commas, brackets or quotes goes in quotes: path="d,e.csv"'


def _marks(text: str, about: str) -> Iterator[tuple[int, str, int]]:
    """Yield place, character and depth in brackets of all that is not in quotes.

    Raises:
        InputError: a quote or a bracket has no partner; the message shows where.
    """

    def refuse(problem: str, at: int) -> InputError:
        where = f"after {shown(text[:at])}" if at else "at the beginning"
        return InputError(f"{about}{shown(text)}: {problem}, {where}; {_HINT}")

    inside: list[tuple[str, int]] = []
    begins = True  # a value may begin here
    at = 0
    while at < len(text):
        character = text[at]
        if character == '"' and begins:
            quoted = _QUOTED.match(text, at)
            if quoted is None:
                raise refuse('the " is never closed', at)
            at, begins = quoted.end(), False
            continue
        if character in _PAIRS.values():
            if not inside:
                raise refuse(f"the {character} closes nothing", at)
            opened, _ = inside.pop()
            if _PAIRS[opened] != character:
                raise refuse(f"{character} found where {_PAIRS[opened]} is expected", at)
        yield at, character, len(inside)
        if character in _PAIRS:
            inside.append((character, at))
        begins = character in "[(,=" or (begins and character.isspace())
        at += 1
    if inside:
        opened, at = inside[-1]
        raise refuse(f"the {opened} is never closed", at)


def pieces(text: str, separator: str, about: str = "") -> list[str]:
    """Split at a separator outside brackets and quotes; what is in quotes keeps them.

    Args:
        text: what to split.
        separator: one character.
        about: what a message begins with: ``"--set: "``.

    Raises:
        InputError: a quote or a bracket has no partner.

    >>> pieces('nnm + bucketing[s=3] + mine[path="a+b"]', "+")
    ['nnm', 'bucketing[s=3]', 'mine[path="a+b"]']
    """
    return list(_pieces(text, separator, about))


@lru_cache(maxsize=4096)  # a grid asks for the same few names in every cell
def _pieces(text: str, separator: str, about: str) -> tuple[str, ...]:
    ends = [at for at, c, depth in _marks(text, about) if c == separator and depth == 0]
    starts = [0, *(at + 1 for at in ends)]
    return tuple(text[a:b].strip() for a, b in zip(starts, [*ends, len(text)], strict=True))


def split_list(text: str, about: str = "") -> list[str]:
    """Return the items of a list; empty ones are left out, and quotes around one are taken off.

    Raises:
        InputError: a quote or a bracket has no partner.

    >>> split_list('foe,alie[z=1.5,tail=2], "none"')
    ['foe', 'alie[z=1.5,tail=2]', 'none']
    """
    return [unquoted(piece, about) for piece in pieces(text, ",", about) if piece]


def specification(text: str, about: str = "") -> tuple[str, list[str]]:
    """Return the name and the parameters as they are written.

    Raises:
        InputError: it is no specification.

    >>> specification("alie[z=1.5, tail=2]")
    ('alie', ['z=1.5', 'tail=2'])
    """
    name, parameters = _specification(text, about)
    return name, list(parameters)


@lru_cache(maxsize=4096)
def _specification(text: str, about: str) -> tuple[str, tuple[str, ...]]:
    brackets = [at for at, c, depth in _marks(text, about) if c in "[]()" and depth == 0]
    name, inside, rest = text, "", ""
    if brackets:
        first, last = brackets[:2]
        name, inside, rest = text[:first], text[first + 1 : last], text[last + 1 :]
    name = name.strip()
    if not name or set(name) & set('=,"') or rest.strip():
        raise InputError(f"{about}{shown(text)}; expected name or name[parameter=value,...]")
    return name, tuple(piece for piece in _pieces(inside, ",", about) if piece)


def parse_value(text: str, about: str = "") -> Value:
    """Read a value: a number, ``true``, ``false``, ``none``, else text; in quotes, always text.

    Raises:
        InputError: a number beyond all floats or too near to 0, or something after the closing
            quote.

    >>> [parse_value(t) for t in ("3", "0.5", "inf", "true", "none", "mean", '"3"')]
    [3, 0.5, inf, True, None, 'mean', '3']
    """
    text = text.strip()
    if text.startswith('"'):
        return unquoted(text, about)
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text
    if math.isinf(number) and "inf" not in text.lower():
        raise InputError(f"{about}{shown(text)}; expected a number below 1.8e308, or inf")
    digits = text.lower().partition("e")[0]
    if number == 0 and any(c.isdecimal() and int(c) for c in digits):
        raise InputError(f"{about}{shown(text)}; expected 0, or a number of 4.9e-324 or more")
    return number or 0.0  # -0.0 is no other number


def unquoted(text: str, about: str = "") -> str:
    """Return what is in quotes, or the text itself if it does not begin with one.

    Raises:
        InputError: the quote is not closed, or something follows.

    >>> print(unquoted(r'"say \\"no\\""'), unquoted("no"))
    say "no" no
    """
    text = text.strip()
    if not text.startswith('"'):
        return text
    if not _QUOTED.fullmatch(text):
        raise InputError(f"{about}{shown(text)}; expected nothing after the closing quote")
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def quoted(text: str) -> str:
    """Write text in quotes.

    >>> print(quoted('say "no"'))
    "say \\"no\\""
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def needs_no_quotes(text: str) -> bool:
    """Say whether a value can be written in a list of parameters without quotes."""
    try:
        return not text.startswith('"') and pieces(f"={text}", ",") == [f"={text}"]
    except InputError:
        return False


def format_value(value: Value) -> str:
    """Write a value so that `parse_value` reads it back; quotes only where it needs them.

    >>> print(format_value(0.5), format_value(None), format_value("mean"), format_value("none"))
    0.5 none mean "none"
    """
    if not isinstance(value, str):
        return str(value).lower() if value is None or isinstance(value, bool) else str(value)
    try:
        same = needs_no_quotes(value) and parse_value(value) == value
    except InputError:
        same = False
    return value if same else quoted(value)
