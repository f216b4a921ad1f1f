"""Bandwidth and latency."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hgobench.parameters import boolean, finite

from .fleet import Condition, Fleet, Floats, Population


class Network(Condition):
    """Every device has a link: 4 bytes per coordinate, up and down, and a latency each way.

    A worker has the model after latency + 4d/downlink, and its answer of b coordinates takes
    latency + 4b/uplink. If that counts against the deadline τ, worker i sends the most coordinates
    with

        2·latency + 4d/downlink + b·s_i/λ_i + 4b/uplink <= τ;

    if not, the round lasts τ and the transfer of the slowest answer. Without a deadline the round
    lasts until the last answer has arrived.

    Args:
        uplink, downlink: bytes per time unit, > 0; inf: transfer takes no time.
        latency: time units, >= 0.
        counts: whether transfer counts against the deadline.

    None leaves the devices' own value; by default links are unbounded and transfer is not counted.

    Example:
        >>> population = Population(2, 10, seed=0, labels=np.ones((2, 2), np.int64))
        >>> fleet = Network(uplink=1e5, latency=0.1)(Fleet.of(np.ones(2)), population)
        >>> fleet.uplink, fleet.downlink
        (array([100000., 100000.]), array([inf, inf]))
    """

    paper = "common model of links"
    formula = "latency + bytes/bandwidth, each way"
    validity = "bandwidths > 0"

    def __init__(
        self,
        uplink: float | None = None,
        downlink: float | None = None,
        latency: float | None = None,
        counts: bool | None = None,
    ) -> None:
        for name, value in (("uplink", uplink), ("downlink", downlink)):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and (not number or not value > 0):
                raise ValueError(f"{name}: {value!r}; expected a number > 0 or inf")
        self.uplink, self.downlink = uplink, downlink
        self.latency = None if latency is None else finite("latency", latency, least=0.0)
        self.counts = None if counts is None else boolean("counts", counts)

    def __call__(self, fleet: Fleet, population: Population) -> Fleet:
        """Give every device this link."""

        def link(value: float | None, current: Floats) -> Floats:
            return current if value is None else np.full(len(current), float(value))

        return replace(
            fleet,
            uplink=link(self.uplink, fleet.uplink),
            downlink=link(self.downlink, fleet.downlink),
            latency=link(self.latency, fleet.latency),
            transfer_counts_towards_deadline=(
                fleet.transfer_counts_towards_deadline if self.counts is None else self.counts
            ),
        )
