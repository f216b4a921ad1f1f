"""Rounds of training: per model, alone and in a cohort; and how they scale with the fleet."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from hgobench import Scenario
from hgobench.data import datasets
from hgobench.data.base import Dataset, Source, Split
from hgobench.registry import Entry
from hgobench.simulation import simulate

from . import inputs


class Noise(Source):
    """Noise in the shape of MNIST (6,000 and 1,000 images), so that benchmarks need no data."""

    paper = "none"
    validity = "benchmarks"

    def load(self) -> Dataset:
        """Make it."""
        rng = np.random.default_rng(0)

        def split(n: int) -> Split:
            return Split(rng.random((n, 784), dtype=np.float32), rng.integers(0, 10, n))

        return Dataset(split(6000), split(0), split(1000), classes=10)


datasets.registry.builtins.setdefault("random_numbers", Entry("random_numbers", Noise, "hgobench"))


def scenarios(count: int, **fields: Any) -> list[Scenario]:
    """Return so many cells of one world that differ in their learning rate."""
    settings: dict[str, Any] = {
        "data": "random_numbers",
        "workers": 100,
        "sampled": 80,
        "f": 10,
        "batch_size": 32,
        "scope": "coordinate",
        "attack": "alie",
        "rounds": 5,
        "evaluation_interval": 5,
        **fields,
    }
    return [Scenario(**settings, learning_rate=0.05 + 0.01 * i) for i in range(count)]


def run(cells: list[Scenario]) -> float:
    """Train them as one cohort; return the CPU seconds that a cell and round took."""
    started = time.process_time()
    results = simulate(cells)
    seconds = time.process_time() - started
    for result in results:
        if result.status != "done":
            raise RuntimeError(result.reason)
    return seconds / (len(cells) * cells[0].rounds)


class Rounds:
    """Five rounds of softmax regression and one evaluation; q = 80 of 100, s = 32, ALIE."""

    params = (["average", "median", "trimmed_mean", "krum"], ["powerful", "standard"], [1, 8])
    param_names = ("rule", "hardware", "cells")

    def setup(self, rule: str, hardware: str, cells: int) -> None:
        """Make the cells and warm their world up."""
        inputs.one_thread(80)
        self.cells = scenarios(cells, rule=rule, hardware=hardware)
        run(self.cells)

    def time_five_rounds(self, rule: str, hardware: str, cells: int) -> None:
        """Train."""
        run(self.cells)


class Models:
    """Rounds of each model, with trimmed means of whole gradients."""

    params = (["softmax", "feed_forward", "convolutional"],)
    param_names = ("model",)
    timeout = 300

    def setup(self, model: str) -> None:
        """Make the cell and warm its world up."""
        inputs.one_thread(80)
        rounds = 1 if model == "convolutional" else 5
        self.cells = scenarios(
            1, model=model, rule="trimmed_mean", hardware="powerful", rounds=rounds
        )
        run(self.cells)

    def time_rounds(self, model: str) -> None:
        """Train."""
        run(self.cells)


class Fleet:
    """A round asks q = 80, however many workers are registered."""

    params = ([100, 6000],)
    param_names = ("workers",)

    def setup(self, workers: int) -> None:
        """Make the cell and its world."""
        inputs.one_thread(80)
        self.cells = scenarios(
            1,
            workers=workers,
            batch_size=1,
            rule="trimmed_mean",
            hardware="powerful",
            rounds=20,
            evaluation_interval=20,
            f=10,
            tolerated=10,
        )
        run(self.cells)

    def time_rounds(self, workers: int) -> None:
        """Train."""
        run(self.cells)

    def peakmem_rounds(self, workers: int) -> None:
        """Train."""
        run(self.cells)
