"""The laws of workloads: how a worker splits its time between coordinates and examples.

A law is a function of a `Splitting`: a workload, with workers that have more or less time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hgobench.algorithms.workloads import Floats, Integers, Workload, wrong_split

from .laws import (
    Law,
    NotApplicable,
    Trial,
    Verdict,
    equal,
    global_state_is_left_alone,
    table,
    try_trial,
)  # fmt: skip

BATCH_SIZE = 8
DIMENSIONS = (10, 650)
HELD = (1, 7, 60)  # examples of a worker
TIMES = (0.5, 1.0, 3.0, 10.0, 60.0, 300.0, 650.0, 5e3, 3e4, 1e9, np.inf)


@dataclass(kw_only=True)
class Splitting(Trial[Workload]):
    """A workload under trial."""

    def split(
        self, workload: Workload, work: Floats, held: Integers, dimension: int
    ) -> tuple[Floats, Floats]:
        """Return b and s, (q,) each, as they are returned."""
        with self.calling(workload, "split"):
            return workload.split(work.copy(), held.copy(), dimension, BATCH_SIZE)

    def evaluations(self, work: Floats, held: Integers, dimension: int) -> NDArray[np.float64]:
        """Return how many coordinates times examples each worker computes, (q,)."""
        b, s = self.split(self.make(), work, held, dimension)
        examples = np.floor(s)
        paid = np.divide(work, examples, out=np.zeros(len(work)), where=examples >= 1)
        return examples * np.floor(np.minimum(np.minimum(b, paid), dimension))


def _workers() -> tuple[Floats, Integers]:
    """Return λτ and |S| of workers with every time and every number of examples."""
    work, held = np.meshgrid(np.array(TIMES), np.array(HELD))
    return work.ravel(), held.ravel()


def _told(work: float, held: int, dimension: int) -> str:
    return f"λτ = {work:g}, {held} examples, d = {dimension}, batch_size = {BATCH_SIZE}"


def split_fits_the_worker(trial: Splitting) -> None:
    """b and s are numbers, one of each per worker, s at most as many as it holds."""
    work, held = _workers()
    for dimension in DIMENSIONS:
        b, s = trial.split(trial.make(), work, held, dimension)
        if problem := wrong_split(b, s, held):
            raise AssertionError(f"d = {dimension}: {problem}")


def time_is_enough(trial: Splitting) -> None:
    """b coordinates on s examples take no more than the worker's time: b·s <= λτ, or b = inf."""
    work, held = _workers()
    for dimension in DIMENSIONS:
        b, s = (np.floor(part) for part in trial.split(trial.make(), work, held, dimension))
        silent = (b < 1) | (s < 1)
        with np.errstate(invalid="ignore"):
            late = ~silent & np.isfinite(b) & (b * s > work)
        if late.any():
            i = int(late.argmax())
            raise AssertionError(
                f"{_told(work[i], held[i], dimension)}: b = {b[i]:g}, s = {s[i]:g}"
            )


def more_time_is_no_less(trial: Splitting) -> None:
    """With four times the time a worker computes no less: coordinates times examples."""
    work, held = _workers()
    for dimension in DIMENSIONS:
        once = trial.evaluations(work, held, dimension)
        more = trial.evaluations(work * 4.0, held, dimension)
        if (more < once).any():
            i = int((more < once).argmax())
            raise AssertionError(
                f"{_told(work[i], held[i], dimension)}: {once[i]:g} evaluations, {more[i]:g} with "
                "four times the time"
            )


def enough_time_is_for_whole_gradients(trial: Splitting) -> None:
    """If it says `whole`, a worker with time for everything computes all d coordinates."""
    workload = trial.make()
    if not workload.whole:
        raise NotApplicable("says that its gradients are never whole, so that SGD can't use it")
    held = np.array(HELD)
    for dimension in DIMENSIONS:
        b, s = trial.split(workload, np.full(len(held), np.inf), held, dimension)
        short = (np.asarray(b) < dimension) | (np.asarray(s) < 1)
        if short.any():
            i = int(short.argmax())
            raise AssertionError(
                f"{_told(np.inf, held[i], dimension)}: b = {b[i]:g}, s = {s[i]:g}; say "
                "whole = False"
            )


def workers_do_not_depend_on_others(trial: Splitting) -> None:
    """A worker's b and s are the same without the others."""
    work, held = _workers()
    for dimension in DIMENSIONS:
        together = trial.split(trial.make(), work, held, dimension)
        for i in range(0, len(work), 5):
            alone = trial.split(trial.make(), work[i : i + 1], held[i : i + 1], dimension)
            if not equal(list(alone), [part[i : i + 1] for part in together]):
                raise AssertionError(
                    f"{_told(work[i], held[i], dimension)}: b = {alone[0][0]:g}, s = "
                    f"{alone[1][0]:g} alone, {together[0][i]:g} and {together[1][i]:g} beside "
                    "others"
                )


def splits_repeat(trial: Splitting) -> None:
    """The same workers get the same split, whatever was asked before; what is asked is left."""
    work, held = _workers()
    workload = trial.make()
    first = trial.split(workload, work, held, DIMENSIONS[0])
    trial.split(workload, work * 3.0, held, DIMENSIONS[1])
    asked = work.copy(), held.copy()
    with trial.calling(workload, "split"):
        again = workload.split(*asked, DIMENSIONS[0], BATCH_SIZE)
    if not equal(list(again), list(first)):
        raise AssertionError("the same workers got another split the second time")
    if not equal(list(asked), [work, held]):
        raise AssertionError("it changed what it was given")


WORKLOAD_LAWS: dict[str, Law] = table(
    split_fits_the_worker,
    time_is_enough,
    more_time_is_no_less,
    enough_time_is_for_whole_gradients,
    workers_do_not_depend_on_others,
    splits_repeat,
    global_state_is_left_alone,
)


def try_workload(specification: str) -> Iterator[Verdict]:
    """Check all laws of a workload.

    Raises:
        InputError: there is none of this name.
    """
    return try_trial(Splitting(kind="workload", name=specification), WORKLOAD_LAWS)
