"""Measures of a run's end: names with numbers, wherever they come from."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping

_NAME = re.compile(r"[a-z][a-z0-9_]*(/.+)?", re.DOTALL)
LONGEST = 1000  # characters of a name
MOST = 10_000  # of a run


def measures_of(names: Iterable[str]) -> set[str]:
    """Return names without their groups.

    >>> sorted(measures_of(["used/weak", "used/powerful", "energy"]))
    ['energy', 'used']
    """
    return {name.partition("/")[0] for name in names}


def checked(measures: object, taken: Collection[str] = ()) -> dict[str, float]:
    """Return what a metric returned as plain numbers.

    >>> checked({"device_accuracy/weak": 1})
    {'device_accuracy/weak': 1.0}
    >>> checked({"Loss": 1.0})
    Traceback (most recent call last):
    ValueError: measure 'Loss'; expected a name in lower case, with or without a /group

    Args:
        measures: what it returned.
        taken: names, without a group, that other metrics have.

    Raises:
        ValueError: it is no mapping of names to finite numbers, or a name is taken.
    """
    if not isinstance(measures, Mapping):
        raise ValueError(f"returned {type(measures).__name__}; expected names with their numbers")
    if len(measures) > MOST:
        raise ValueError(f"returned {len(measures)} measures; expected at most {MOST}")
    told: dict[str, float] = {}
    for name, value in measures.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > LONGEST:
            raise ValueError(
                f"measure {name!r:.100}; expected a name in lower case, with or without a /group"
            )
        try:
            if isinstance(value, str | bytes | bool):
                raise TypeError
            told[name] = float(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"measure {name}: {value!r:.100}; expected a number") from None
        if not math.isfinite(told[name]):
            raise ValueError(f"measure {name}: {told[name]}; expected a finite number")
    if twice := sorted(measures_of(told) & {*taken}):
        raise ValueError(f"measure {twice[0]}: another metric's; expected a name of its own")
    return told
