"""The laws of metrics: numbers of a run's end.

A law is a function of a `Measuring`: a metric, with ends of runs to measure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hgobench.boundary import foreign
from hgobench.lazy import torch
from hgobench.metrics import RESERVED, End, Influence, Metric
from hgobench.results.measures import checked

from .laws import Law, Trial, Verdict, equal, global_state_is_left_alone, table, try_trial

EXAMPLES, FEATURES, WORKERS, CLASSES = 40, 6, 9, 3
_ARRAYS = ("params", "features", "labels", "right", "held", "byzantine", "devices", "joules")


def ends() -> dict[str, End]:
    """Return ends of runs: one of which all is known, and one of which as little as can be."""
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((EXAMPLES, FEATURES)).astype(np.float32))
    answered = np.arange(1, WORKERS)
    everything = End(
        params=torch.from_numpy(rng.standard_normal(CLASSES * (FEATURES + 1)).astype(np.float32)),
        classes=CLASSES,
        features=features,
        labels=torch.arange(EXAMPLES) % CLASSES,
        right=rng.random(EXAMPLES) < 0.7,
        held=rng.integers(1, 9, (WORKERS, CLASSES)),
        byzantine=np.arange(WORKERS) < 2,
        devices=np.arange(WORKERS) % 2,
        device_names=("slow", "fast"),
        joules=rng.random(WORKERS),
        accuracy=lambda x, y: float((x[:, 0] > 0).float().mean()),
        followed=lambda: Influence(
            np.arange(WORKERS), answered, rng.random(WORKERS - 1), np.ones(WORKERS - 1), True
        ),
        success=((10, 0.1), (20, 0.9), (30, 0.7), (40, 0.2)),
        attacked=(10, 20),
        rounds=40,
    )
    little = replace(
        everything,
        classes=0,
        labels=features[:, 1].clone(),
        right=None,
        held=np.zeros((WORKERS, 0), dtype=np.int64),
        byzantine=np.zeros(WORKERS, dtype=bool),
        devices=np.zeros(WORKERS, dtype=np.int64),
        device_names=("all",),
        joules=None,
        accuracy=lambda x, y: 0.5,
        followed=lambda: None,
        success=(),
    )
    return {"a classification": everything, "a regression of which little is known": little}


@dataclass(kw_only=True)
class Measuring(Trial[Metric]):
    """A metric under trial."""

    def measure(self, metric: Metric, end: End) -> dict[str, float]:
        """Return what it measures, checked as in a run."""
        with self.calling(metric, "call"):
            told: object = metric(end)
        return checked(told, RESERVED if foreign(metric) else ())


def measures_are_finite_numbers(trial: Measuring) -> None:
    """It returns finite numbers, in a regression too, by names that hgobench's metrics do not have.

    What it can't measure is left out.
    """
    for name, end in ends().items():
        try:
            trial.measure(trial.make(), end)
        except ValueError as error:
            raise AssertionError(f"{name}: {error}") from error


def measures_are_those_it_names(trial: Measuring) -> None:
    """What it returns is in its `measures`, with what it is, but for the group after a slash."""
    metric = trial.make()
    for name, end in ends().items():
        strange = {key.partition("/")[0] for key in trial.measure(metric, end)} - {*metric.measures}
        if strange:
            raise AssertionError(
                f"{name}: returns {', '.join(sorted(strange))}; its measures are "
                f"{', '.join(sorted(metric.measures)) or 'none'}"
            )


def same_end_same_measures(trial: Measuring) -> None:
    """The same end gives the same numbers, whatever was measured before."""
    first = trial.make()
    for name in ends():
        told = trial.measure(first, ends()[name])
        for who, again in (("the same", first), ("another", trial.make())):
            if trial.measure(again, ends()[name]) != told:
                raise AssertionError(f"{name}: {who} instance measures something else")


def end_is_left_alone(trial: Measuring) -> None:
    """Measuring changes nothing of the end, which other metrics measure too."""
    for name, end in ends().items():
        trial.measure(trial.make(), end)
        for field in _ARRAYS:
            if not equal(getattr(end, field), getattr(ends()[name], field)):
                raise AssertionError(f"{name}: it changed the {field}")


METRIC_LAWS: dict[str, Law] = table(
    measures_are_finite_numbers,
    measures_are_those_it_names,
    same_end_same_measures,
    end_is_left_alone,
    global_state_is_left_alone,
)


def try_metric(specification: str) -> Iterator[Verdict]:
    """Check all laws of a metric.

    Raises:
        InputError: there is none of this name.
    """
    return try_trial(Measuring(kind="metric", name=specification), METRIC_LAWS)


def try_metrics(specification: str) -> Iterator[Verdict]:
    """Check all laws of several metrics together: ``"mine:Noisy+standard"``.

    Raises:
        InputError: there are none of this name.
    """
    return try_trial(Measuring(kind="metrics", name=specification), METRIC_LAWS)
