"""Bandwidth and latency."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hgobench.parameters import finite

from .fleet import Condition, Fleet, Population


class Network(Condition):
    """Every device has a link: 4 bytes per coordinate, up and down, and a latency each way.

    A worker has the model after latency + 4d/downlink, and its answer of b coordinates takes
    latency + 4b/uplink. If that counts against the deadline τ, worker i sends the most coordinates
    with

        2·latency + 4d/downlink + b·s_i/λ_i + 4b/uplink <= τ;

    if not, the round lasts τ and the transfer of the slowest answer. Without a deadline the round
    lasts until the last answer has arrived.

    Args:
        uplink, downlink: bytes per time unit, > 0; inf: nothing to wait for.
        latency: time units, >= 0.
        counts: whether transfer counts against the deadline.
    """

    paper = "common model of links"
    formula = "latency + bytes/bandwidth, each way"
    validity = "bandwidths > 0"

    def __init__(
        self,
        uplink: float = np.inf,
        downlink: float = np.inf,
        latency: float = 0.0,
        counts: bool = False,
    ) -> None:
        for name, value in (("uplink", uplink), ("downlink", downlink)):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not value > 0:
                raise ValueError(f"{name}: {value!r}; expected a number > 0 or inf")
        if not isinstance(counts, bool):
            raise ValueError(f"counts: {counts!r}; expected true or false")
        self.uplink, self.downlink = float(uplink), float(downlink)
        self.latency, self.counts = finite("latency", latency, least=0.0), counts

    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        """Give every device this link."""
        n = len(fleet.rates)
        return replace(
            fleet,
            uplink=np.full(n, self.uplink),
            downlink=np.full(n, self.downlink),
            latency=np.full(n, self.latency),
            counts=self.counts,
        )
