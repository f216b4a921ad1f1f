"""What this machine is: its memory, and how fast it was when it was calibrated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from hgobench import reading
from hgobench.errors import InputError
from hgobench.writing import whole

LARGEST = 1 << 20  # bytes of a calibration's file
Line = tuple[float, float]  # seconds of a call, and seconds for each value more


@dataclass(frozen=True)
class Rates:
    """The speed of one thread of a machine, in CPU time.

    Attributes:
        when: the time of the measurement, in UTC as ISO 8601 writes it.
        processor, torch, numpy: what was measured.
        round: seconds of a round of one cell, whatever its size, besides its rule and attack.
        evaluation: seconds of an evaluation, whatever its size.
        closed: floating-point operations per second of gradients in closed form.
        value: seconds for each of the q·d numbers of a round, besides gradients, rule and attack.
        ending: the `Line` of a run's end over the values that metrics look at.
        rules: a rule's or pre-rule's name to its `Line` over m·d values.
        ragged: the same where every worker sends another length, of the rule's scope then.
        attacks: an attack's name to its `Line` over q·d values.

    Example:
        >>> rates = Rates("2030-01-01T00:00:00+00:00", "a processor", "2.9", "2.4",
        ...               round=1e-3, evaluation=1e-3, closed=5e10, value=1e-9,
        ...               ending=(1e-3, 1e-7))
        >>> rates.age(datetime(2030, 1, 3, tzinfo=UTC))
        '2 days ago'
    """

    when: str
    processor: str
    torch: str
    numpy: str
    round: float
    evaluation: float
    closed: float
    value: float
    ending: Line
    rules: Mapping[str, Line] = field(default_factory=dict)
    ragged: Mapping[str, Line] = field(default_factory=dict)
    attacks: Mapping[str, Line] = field(default_factory=dict)

    def age(self, now: datetime | None = None) -> str:
        """Return how long ago it was measured, in words."""
        seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(self.when)).total_seconds()
        for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
            if (count := int(seconds // length)) > 0:
                return f"{count} {unit}{'s' * (count > 1)} ago"
        return "just now"


def file() -> Path:
    """Return where this machine's calibration is kept."""
    return user_cache_path("hgobench") / "calibration.json"


def keep(rates: Rates) -> Path:
    """Keep a calibration, in place of an earlier one; return its file.

    Raises:
        InputError: it can't be written.
    """
    path = file()
    try:
        with whole(path.parent) as folder:
            (folder / path.name).write_text(json.dumps(asdict(rates), indent=1))
    except OSError as error:
        raise InputError(f"calibration: {str(path)!r}: {error.strerror}") from error
    return path


def kept() -> Rates | None:
    """Return this machine's calibration; None: there is none.

    Raises:
        InputError: its file is damaged.
    """
    path = file()
    if not path.exists():
        return None
    content: dict[str, Any] = {}
    with suppress(ValueError):
        content = json.loads(reading.content("calibration", path, LARGEST))
    try:
        for name in ("rules", "ragged", "attacks"):
            content[name] = {key: tuple(line) for key, line in content[name].items()}
        content["ending"] = tuple(content["ending"])
        rates = Rates(**content)
        datetime.fromisoformat(rates.when)
        numbers = [value for value in vars(rates).values() if isinstance(value, float)]
        lines = [
            rates.ending,
            *rates.rules.values(),
            *rates.ragged.values(),
            *rates.attacks.values(),
        ]
        good = all(number >= 0 for number in [*numbers, *(x for line in lines for x in line)])
        if not good or not all(len(line) == 2 for line in lines):
            raise ValueError
    except (TypeError, ValueError, KeyError, AttributeError):
        raise InputError(
            f"calibration: {str(path)!r} is damaged: hgobench calibrate writes it anew"
        ) from None
    return rates


def memory() -> int:
    """Return the memory of this machine, or of its container, in bytes."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            total = min(total, int((Path("/sys/fs/cgroup") / name).read_text()))
    return total


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def written(size: int) -> str:
    """Write a number of bytes with its unit.

    >>> written(700), written(64 << 20), written(5 << 40)
    ('700 B', '64 MiB', '5,120 GiB')
    """
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            number = size / (1 << power)
            return f"{number:,.0f} {unit}" if number >= 100 else f"{number:.3g} {unit}"
    return f"{size} B"


def duration(seconds: float) -> str:
    """Write seconds in a unit that suits them.

    >>> duration(0.0123), duration(75), duration(1e4), duration(1e6), duration(1e10)
    ('12 ms', '1.2 min', '2.8 h', '12 days', '317 years')
    """
    units = (
        (63_072_000, 31_536_000, "years"),
        (172_800, 86_400, "days"),
        (5_400, 3_600, "h"),
        (60, 60, "min"),
        (1, 1, "s"),
        (1e-3, 1e-3, "ms"),
    )
    for least, size, unit in units:
        if seconds >= least:
            number = seconds / size
            return f"{number:,.0f} {unit}" if number >= 100 else f"{number:.2g} {unit}"
    return f"{seconds * 1e6:.2g} µs"
