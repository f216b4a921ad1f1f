"""A fleet of your own, from a CSV file."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from hgobench import csv_file
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.parameters import boolean

from .fleet import Fleet, Floats, Hardware, Population

_COLUMNS: dict[str, csv_file.Parser] = {
    "class": str,
    "count": csv_file.integer(0),
    "rate_mean": csv_file.number(0.0, 1e30, above=True),
    "rate_std": csv_file.number(0.0, 1e30),
    "uplink": csv_file.number(0.0, above=True),
    "downlink": csv_file.number(0.0, above=True),
    "latency": csv_file.number(0.0, finite=True),
    "availability": csv_file.number(0.0, 1.0),
    "watts": csv_file.number(0.0, finite=True),
    "joules_per_byte": csv_file.number(0.0, finite=True),
}
_OPTIONAL = {
    "rate_std": 0.0,
    "uplink": math.inf,
    "downlink": math.inf,
    "latency": 0.0,
    "availability": 1.0,
    "watts": None,
    "joules_per_byte": None,
}


class Devices(Hardware):
    """A line per class of devices: class,count,rate_mean,rate_std,uplink,downlink,...

    Rates are normal, truncated to positive values, in coordinates of one example's gradient per
    time unit, as they are (they are not scaled with the model). `uplink` and `downlink` are bytes
    per time unit, `latency` time units, `availability` the chance that a device answers in a round,
    `watts` what it draws while it computes, `joules_per_byte` what its radio takes; these may be
    left out. If the counts do not sum to the number of workers, they are shares of it.
    Which workers have which device is drawn, the first class being the weakest.

    Args:
        path: the file.
        counts: whether transfer uses up time until the deadline.

    Raises:
        InputError: the file can't be read, or a line is wrong; with the number of each such line.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "fleet.csv"
        ...     _ = path.write_text("class,count,rate_mean\\nphone,3,500\\nlaptop,1,9000\\n")
        ...     devices = Devices(str(path))
        >>> population = Population(4, 10, seed=0, labels=np.ones((4, 2), np.int64))
        >>> sorted(devices.fleet(population).rates.tolist())
        [500.0, 500.0, 500.0, 9000.0]
    """

    paper = "your own"
    formula = "classes of devices from a CSV file"
    validity = "columns class, count, rate_mean; others may be left out"

    def __init__(self, path: str, counts: bool = False) -> None:
        self.path, self.counts = str(path), boolean("counts", counts)
        self.classes = [row for _, row in csv_file.read("hardware", path, _COLUMNS, _OPTIONAL)]
        if not sum(row["count"] for row in self.classes):
            raise InputError(f"hardware: {path}: no devices; expected a count >= 1")
        for column in ("watts", "joules_per_byte"):
            told = [row[column] is not None for row in self.classes]
            if any(told) and not all(told):
                raise InputError(
                    f"hardware: {path}: {column} of some classes only; expected that of all, or "
                    "none"
                )

    def fleet(self, population: Population) -> Fleet:
        """Deal the devices out."""
        counts = np.array([row["count"] for row in self.classes], dtype=float)
        edges = np.rint(np.cumsum(counts / counts.sum()) * population.workers).astype(int)
        strength, quantile = population.strength()
        which = np.searchsorted(edges, strength, side="right").clip(max=len(counts) - 1)

        def column_values(column: str) -> Floats:
            values: Floats = np.array([float(row[column]) for row in self.classes])
            return np.take(values, which)

        by_rate = sorted(self.classes, key=lambda row: float(row["rate_mean"]))
        names = list(dict.fromkeys(str(row["class"]) for row in by_rate))
        rates = truncated_normal(column_values("rate_mean"), column_values("rate_std"), quantile)
        chance = column_values("availability")

        def available(round_: int) -> np.ndarray:
            return stream(population.seed, "availability", round_).random(len(chance)) < chance

        return Fleet(
            rates,
            column_values("uplink"),
            column_values("downlink"),
            column_values("latency"),
            transfer_counts_towards_deadline=self.counts,
            presence=(available,) if (chance < 1).any() else (),
            watts=self._told("watts", which),
            joules_per_byte=self._told("joules_per_byte", which),
            classes=np.array([names.index(row["class"]) for row in self.classes])[which],
            class_names=tuple(names),
        )

    def _told(self, column: str, which: NDArray[np.int64]) -> Floats | None:
        """Return a column's value of each worker; None: the file has no such column."""
        values = [row[column] for row in self.classes]
        return None if None in values else np.array(values, dtype=np.float64)[which]


def truncated_normal(mean: Floats, std: Floats, quantile: Floats) -> Floats:
    """Return quantiles of N(mean, std²) truncated to positive values, (n,) each."""
    with np.errstate(divide="ignore"):
        nonpositive = np.where(std > 0, ndtr(-mean / np.where(std > 0, std, 1)), 0.0)
    normal = ndtri(nonpositive + quantile * (1 - nonpositive))
    return np.maximum(np.where(std > 0, mean + std * normal, mean), 1e-9)
