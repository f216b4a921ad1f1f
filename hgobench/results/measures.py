"""Measures of a run's end: names with numbers, wherever they come from."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

_NAME = re.compile(r"[a-z][a-z0-9_]*(/.+)?", re.DOTALL)
LONGEST = 1000  # characters of a name
MOST = 10_000  # of a run


def checked(measures: object) -> dict[str, float]:
    """Return what a metric returned as plain numbers.

    >>> checked({"device_accuracy/weak": 1})
    {'device_accuracy/weak': 1.0}
    >>> checked({"Loss": 1.0})
    Traceback (most recent call last):
    ValueError: measure 'Loss'; expected a name in lower case, with or without a /group

    Raises:
        ValueError: it is no mapping of names to finite numbers.
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
    return told
