"""An open question of the paper: what is the impact of bandwidth?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hgobench.report.page import Cell, Chart, Finding, Line, Page, Table, study

from .base import Options, Work, merge_settings, reject_unused_options, require_classes
from .comparison import Runs, compare, described

BASE: dict[str, Any] = {
    "data": "digits",
    "model": "softmax",
    "partition": "dirichlet[alpha=0.3]",
    "workers": 30,
    "sampled": 24,
    "rule": "average",
    "batch_size": 32,
    "deadline": 32.0,
    "rounds": 100,
    "learning_rate": 1.0,
    "evaluation_interval": 5,
}
# Whole gradients per time unit: at 1 sending one takes 1 of the 32 units until the deadline.
SPEEDS = (1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0, math.inf)
DIRECTIONS, ALGORITHMS = ("uplink", "downlink"), ("hgo", "sgd")
SEEDS = 5
LEVEL = 0.8
NEAR = 0.02  # loss of accuracy that a slow link may cost


def check(options: Options) -> None:
    """Raise InputError for options that this audit does not use."""
    reject_unused_options(options, "algorithm", "seed", rules=1)
    require_classes(options.settings)


@dataclass(frozen=True)
class Compared:
    """The runs over all speeds, with the same seeds.

    Attributes:
        settings: the fields that they share.
        seeds: number of seeds.
        bytes: of a whole gradient.
        runs: by algorithm, direction and speed, in gradients per time unit.
    """

    settings: Mapping[str, Any]
    seeds: int
    bytes: int
    runs: Mapping[tuple[str, str, float], Runs]

    def accuracy(self, algorithm: str, direction: str, speed: float) -> float:
        """Return the mean of the last accuracy."""
        return float(self.runs[algorithm, direction, speed].final.mean())

    def slowest(self, algorithm: str, direction: str) -> float:
        """Return the slowest link at which the accuracy is near that of unbounded links."""
        best = self.accuracy(algorithm, direction, math.inf)
        return min(
            speed for speed in SPEEDS if self.accuracy(algorithm, direction, speed) >= best - NEAR
        )


def compared(options: Options, work: Work) -> Compared:
    """Run both algorithms with the links of all devices at every speed, up and down."""
    from hgobench.data import datasets
    from hgobench.models import registry
    from hgobench.protocol import NUMBER_BYTES

    settings = {"hardware": "standard", **merge_settings(BASE, options.settings)}
    if options.rules:
        settings["rule"] = options.rules[0]
    seeds = options.seeds or SEEDS
    data = datasets.load(settings["data"])
    dimension = registry.build(
        settings["model"], features=data.features, classes=data.classes
    ).dimension
    gradient_bytes = NUMBER_BYTES * dimension
    fields: dict[tuple[str, str, float], dict[str, Any]] = {}
    for direction in DIRECTIONS:
        for speed in SPEEDS:
            link = "inf" if math.isinf(speed) else f"{gradient_bytes * speed:g}"
            condition = f"network[{direction}={link},counts=true]"
            for algorithm in ALGORITHMS:
                fields[algorithm, direction, speed] = {
                    **settings,
                    "algorithm": algorithm,
                    "hardware": f"{condition}+{settings['hardware']}",
                }
    labels = {key: f"{key[0]} {key[1]} {key[2]:g}" for key in fields}
    runs = compare({labels[key]: values for key, values in fields.items()}, seeds, work)
    return Compared(
        settings, seeds, gradient_bytes, {key: runs[label] for key, label in labels.items()}
    )


def run(options: Options, work: Work) -> Page:
    """Vary the links of all devices, up and down, with transfer inside the deadline."""
    check(options)
    comparison = compared(options, work)
    settings = comparison.settings
    return study(
        "bandwidth",
        "The impact of bandwidth",
        [
            f"All devices (profile {settings['hardware']}) have the same link, and its transfer "
            f"counts against the deadline τ = {settings['deadline']:g}: a worker gets the model, "
            "computes and sends the most coordinates that arrive in time. Speeds are in whole "
            f"gradients ({comparison.bytes:,} bytes) per time unit; {comparison.seeds} seeds. "
            + described(settings, "algorithm", "hardware", "scope", "quorum"),
        ],
        options.command("audit bandwidth"),
        [
            *(
                _costs(comparison, name, direction)
                for direction in DIRECTIONS
                for name in ALGORITHMS
            ),
            *(_copes(comparison, direction) for direction in DIRECTIONS),
        ],
        [
            chart
            for direction in DIRECTIONS
            for chart in (_accuracy(comparison, direction), _block(comparison, direction))
        ],
        [_table(comparison)],
    )


def _costs(comparison: Compared, algorithm: str, direction: str) -> Finding:
    slowest = comparison.slowest(algorithm, direction)
    return Finding(
        f"{algorithm}: a slow {direction} costs accuracy",
        slowest > SPEEDS[0],
        f"within 2 points of unbounded links "
        f"({comparison.accuracy(algorithm, direction, math.inf):.3f}) down to "
        f"{_fraction(slowest)} of a gradient per time unit; at "
        f"{_fraction(SPEEDS[0])} it ends at "
        f"{comparison.accuracy(algorithm, direction, SPEEDS[0]):.3f}",
    )


def _copes(comparison: Compared, direction: str) -> Finding:
    hgo, sgd = (comparison.slowest(name, direction) for name in ALGORITHMS)
    return Finding(
        f"HGO copes with a slower {direction} than SGD",
        hgo < sgd,
        f"{_fraction(hgo)} against {_fraction(sgd)} of a gradient per time unit for the last 2 "
        "points",
    )


FINITE = [speed for speed in SPEEDS if math.isfinite(speed)]


def _accuracy(comparison: Compared, direction: str) -> Chart:
    lines = []
    for name in ALGORITHMS:
        finals = [comparison.runs[name, direction, speed].final for speed in FINITE]
        mean, low, high = (
            [float(value(final)) for final in finals] for value in (np.mean, np.min, np.max)
        )
        lines.append(Line(name, FINITE, mean, low, high))
    return _over_speed("accuracy", "Last accuracy", direction, lines)


def _block(comparison: Compared, direction: str) -> Chart:
    lines = [
        Line(
            name,
            FINITE,
            [comparison.runs[name, direction, x].mean("mean_block_size") for x in FINITE],
        )
        for name in ALGORITHMS
    ]
    return _over_speed("block", "Mean block (coordinates)", direction, lines)


def _over_speed(name: str, quantity: str, direction: str, lines: list[Line]) -> Chart:
    title = f"{quantity} over the {direction}'s speed"
    return Chart(f"{name}-{direction}", title, "gradients per time unit", quantity, lines, "x")


def _table(comparison: Compared) -> Table:
    header = [
        "algorithm", "link", "speed", "last accuracy", "least", "largest", "answers", "block",
        "MB up", f"time to {LEVEL:g}",
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [*key, *run.last, run.mean("mean_heard"), run.mean("mean_block_size"),
         run.mean("bytes_up") / 1e6, run.reach(LEVEL)]
        for key, run in comparison.runs.items()
    ]  # fmt: skip
    return Table("speeds", "After the last round", header, rows)


def _fraction(speed: float) -> str:
    if math.isinf(speed):
        return "inf"
    return f"{speed:g}" if speed >= 1 else f"1/{round(1 / speed)}"
