"""Checks of parameters that a user gives; each returns the value in its declared type."""

from __future__ import annotations

import math
from numbers import Integral

from hgobench.errors import shown

REPEATED = 10**5  # the most that one round repeats: local steps, iterations, calls, answers
LARGEST = 10**9  # the most of any whole number: rounds, coordinates, examples are fewer


def whole(name: str, value: int, least: float = -math.inf, most: int = LARGEST) -> int:
    """Check an integer parameter, least <= value <= most.

    >>> whole("f", 3, least=0)
    3
    >>> whole("f", -1, least=0)
    Traceback (most recent call last):
    ValueError: f: -1; expected an integer >= 0
    >>> whole("steps", 10**12, least=1, most=REPEATED)
    Traceback (most recent call last):
    ValueError: steps: 1000000000000; expected at most 100000

    Raises:
        ValueError: naming the parameter, its value and the expectation.
    """
    number: object = value  # a user may pass anything
    if isinstance(number, bool) or not isinstance(number, Integral) or value < least:
        bound = f" >= {least}" if least > -math.inf else ""
        raise ValueError(f"{name}: {shown(value)}; expected an integer{bound}")
    if value > most:
        raise ValueError(f"{name}: {shown(value)}; expected at most {most}")
    return int(value)


def positive(name: str, value: float) -> float:
    """Check a real parameter, > 0 and finite.

    >>> positive("tau", 2)
    2.0

    Raises:
        ValueError: naming the parameter, its value and the expectation.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < math.inf:
        raise ValueError(f"{name}: {value!r}; expected a finite number > 0")
    return float(value)


def finite(name: str, value: float, least: float = -math.inf) -> float:
    """Check a real parameter, least <= value < inf.

    >>> finite("latency", 0, least=0.0)
    0.0

    Raises:
        ValueError: naming the parameter, its value and the expectation.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not least <= value < math.inf
    ):
        bound = f" >= {least:g}" if least > -math.inf else ""
        raise ValueError(f"{name}: {value!r}; expected a finite number{bound}")
    return float(value)


def one_of(name: str, value: str, *known: str) -> str:
    """Check a parameter that is one of a few words.

    >>> one_of("send", "none", "nothing", "zeros")
    Traceback (most recent call last):
    ValueError: send: 'none'; expected 'nothing' or 'zeros'

    Raises:
        ValueError: naming the parameter, its value and the words.
    """
    if value not in known:
        raise ValueError(f"{name}: {value!r}; expected {' or '.join(map(repr, known))}")
    return value


def boolean(name: str, value: bool) -> bool:
    """Check a parameter that is true or false.

    >>> boolean("counts", True)
    True

    Raises:
        ValueError: naming the parameter and its value.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {value!r}; expected true or false")
    return value


def share(name: str, value: float) -> float:
    """Check a real parameter in [0, 1].

    >>> share("p", 1)
    1.0

    Raises:
        ValueError: naming the parameter and its value.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ValueError(f"{name}: {value!r}; expected a number in [0, 1]")
    return float(value)
