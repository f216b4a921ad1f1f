"""Devices that exist: what they do is measured, not simulated."""

from __future__ import annotations

import numpy as np

from .fleet import Fleet, Hardware, Population


class Real(Hardware):
    """Devices that exist, and run by Flower: results of theirs are on boards of their own.

    Nothing of them is known beforehand, so that no simulation takes them: their rates here are all
    1. A time unit is a second.

    Args:
        fleet: what they are called, so that two fleets are told apart.

    Example:
        >>> Real("five-phones")
        Real(fleet='five-phones')
    """

    paper = "your own"
    formula = "as measured"
    validity = "on Flower alone (docs/real-devices.md)"
    real = True

    def __init__(self, fleet: str = "") -> None:
        if not isinstance(fleet, str):
            raise ValueError(f"fleet: {fleet!r}; expected a name")
        self.name = fleet

    def __repr__(self) -> str:
        return f"Real(fleet={self.name!r})"

    def fleet(self, population: Population) -> Fleet:
        """Return devices of which nothing is known."""
        return Fleet.of(np.ones(population.workers))
