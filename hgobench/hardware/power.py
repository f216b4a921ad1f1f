"""What devices draw from their batteries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hgobench.parameters import finite

from .fleet import Condition, Fleet, Population


class Power(Condition):
    """Every device draws the same: while it computes, and for each byte on its radio.

    Runs then say how many joules devices spent (metric ``energy``): W·t_i for computing and
    ε·B_i for what is sent and received, a time unit taken for a second. The defaults are the order
    of magnitude of a phone on LTE, whose radio takes 438 mW per Mbit/s up and 52 down above 1,288:
    5.6e-6 J per byte up at 5 Mbit/s, and 1.3e-6 down at 12. Devices that differ are a file's
    (``devices``).

    Args:
        watts: W, joules per time unit of computing, >= 0.
        joules_per_byte: ε, of sending and of receiving, >= 0.

    Raises:
        ValueError: a number that is negative or not finite.

    Example:
        >>> population = Population(2, 10, seed=0, labels=np.ones((2, 2), np.int64))
        >>> fleet = Power(watts=2.0)(Fleet.of(np.ones(2)), population)
        >>> fleet.watts, fleet.joules_per_byte
        (array([2., 2.]), array([5.e-06, 5.e-06]))
    """

    paper = "Huang et al., MobiSys 2012 (radio)"
    formula = "E_i = W·t_i + ε·B_i"
    validity = "W, ε >= 0"

    def __init__(self, watts: float = 3.0, joules_per_byte: float = 5e-6) -> None:
        self.watts = finite("watts", watts, least=0.0)
        self.joules_per_byte = finite("joules_per_byte", joules_per_byte, least=0.0)

    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        """Give every device this battery."""
        devices = len(fleet.rates)
        return replace(
            fleet,
            watts=np.full(devices, self.watts),
            joules_per_byte=np.full(devices, self.joules_per_byte),
        )
