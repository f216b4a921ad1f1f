"""What a device spends on an answer, in joules, as far as it knows: a wattage or a counter."""

from __future__ import annotations

import math
from pathlib import Path

from hgobench.errors import InputError

COUNTER, MOST = "energy_uj", "max_energy_range_uj"  # Linux powercap (RAPL), in microjoules
POWER, CURRENT, VOLTAGE = "power_now", "current_now", "voltage_now"  # batteries, in micro-units


class Meter:
    """What says how much a device spends.

    Args:
        watts: what it draws while it computes; None: it does not say.
        energy: a folder of Linux: of powercap, as ``/sys/class/powercap/intel-rapl:0``, whose
            counter is read before and after; or of a battery, as ``/sys/class/power_supply/BAT0``,
            whose power is. Both are of the whole device, whatever else runs on it. None: there is
            none.

    Raises:
        InputError: a negative number, both at once, or a folder that says nothing of the kind.

    Example:
        >>> meter = Meter(watts=3.0)
        >>> meter.joules(meter.read(), seconds=2.0)
        6.0
        >>> meter = Meter()
        >>> meter.joules(meter.read(), seconds=2.0)
        nan
    """

    def __init__(self, watts: float | None = None, energy: str | None = None) -> None:
        if watts is not None and not 0 <= watts < math.inf:
            raise InputError(f"watts: {watts}; expected a number >= 0")
        if watts is not None and energy is not None:
            raise InputError("watts and energy: expected one of them")
        self._watts, self._folder = watts, None if energy is None else Path(energy)
        self._counts = self._folder is not None and (self._folder / COUNTER).exists()
        self.read()

    def read(self) -> float:
        """Return what the device's counter or its power is now: joules, or watts; NaN: neither."""
        if self._folder is None:
            return math.nan if self._watts is None else self._watts
        if self._counts:
            return self._number(COUNTER)
        if (self._folder / POWER).exists():
            return abs(self._number(POWER))
        return abs(self._number(CURRENT) * self._number(VOLTAGE))

    def joules(self, before: float, seconds: float) -> float:
        """Return what was spent since `before` was read, some seconds ago; NaN: it is not known."""
        after = self.read()
        if not self._counts:
            return (before + after) / 2.0 * seconds
        wrapped = after < before  # the counter began again
        return after - before + (self._number(MOST) if wrapped else 0.0)

    def _number(self, name: str) -> float:
        assert self._folder is not None
        try:
            return float((self._folder / name).read_text(encoding="ascii")) / 1e6
        except (OSError, ValueError) as error:
            raise InputError(f"energy: {self._folder}: {error}") from error
