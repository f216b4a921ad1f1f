"""Variants of a scenario, run with the same seeds and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench.report.page import Line
from hgobench.results import Result
from hgobench.results.result import padded
from hgobench.scenario import Scenario

from .base import Work

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Runs:
    """The runs of a variant, one per seed."""

    label: str
    results: Sequence[Result]

    def column(self, name: str) -> Floats:
        """Return a column of every run's table, (seeds, K), padded with its last value."""
        length = max(result.scenario.rounds for result in self.results)
        columns = [padded(result.rounds[name], length) for result in self.results]
        return np.array(columns, dtype=np.float64)

    def line(self, x: str = "") -> Line:
        """Return the mean accuracy over a column, or over rounds; the band is least to largest."""
        accuracy = self.column("test_accuracy")
        evaluated = np.flatnonzero(np.isfinite(accuracy).all(axis=0))
        positions = self.column(x).mean(axis=0)[evaluated] if x else evaluated + 1.0
        accuracies = accuracy[:, evaluated]
        mean, low, high = accuracies.mean(axis=0), accuracies.min(axis=0), accuracies.max(axis=0)
        return Line(self.label, positions.tolist(), mean.tolist(), low.tolist(), high.tolist())

    @property
    def final(self) -> Floats:
        """Every run's last accuracy, (seeds,)."""
        return self.column("test_accuracy")[:, -1]

    def mean(self, name: str) -> float:
        """Return a number of the summary, averaged over the runs."""
        return float(np.mean([result.summary[name] for result in self.results]))

    @property
    def last(self) -> list[float]:
        """The last accuracy: mean, least and largest over seeds."""
        accuracies = self.final
        return [float(accuracies.mean()), float(accuracies.min()), float(accuracies.max())]

    def reach(self, level: float) -> float:
        """Return the simulated time at which the mean accuracy reaches a level; inf: never."""
        line = self.line("time")
        return next((x for x, y in zip(line.x, line.y, strict=True) if y >= level), float("inf"))


def compare(variants: Mapping[str, Mapping[str, Any]], seeds: int, work: Work) -> dict[str, Runs]:
    """Run variants, fields of a scenario by label, with seeds 0 .. seeds - 1."""
    cells = {
        label: [Scenario(**fields, seed=seed) for seed in range(seeds)]
        for label, fields in variants.items()
    }
    results = work.execute([cell for runs in cells.values() for cell in runs])
    return {label: Runs(label, [results[cell] for cell in runs]) for label, runs in cells.items()}


def described(settings: Mapping[str, Any], *varied: str) -> str:
    """Return a sentence with all fields that do not vary."""
    shared = Scenario(**settings).to_dict()
    constant = {name: value for name, value in shared.items() if name not in (*varied, "seed")}
    return "All else: " + ", ".join(f"{name} {value}" for name, value in constant.items()) + "."
