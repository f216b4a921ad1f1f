"""Measurements that are no cell's result, kept like results: once each, under their address."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hgobench.boundary import OutOfTime, PluginError, told
from hgobench.results import Store, StoreError
from hgobench.results.address import measurement_key

from .base import Engine, Failure, tried_twice
from .cells import COMPUTING, digests, reason
from .local import local
from .progress import Advance, OnProgress, nobody


@dataclass(frozen=True)
class Task:
    """Something to measure.

    Attributes:
        measure: a function of a module; what it returns is data as JSON knows it.
        arguments: its keyword arguments, as JSON knows them.
        named: fields of scenarios that name plug-ins or files behind it.
    """

    measure: Callable[..., Any]
    arguments: Mapping[str, Any]
    named: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def what(self) -> str:
        """Say what is measured, in one line."""
        name = f"{self.measure.__module__}.{self.measure.__qualname__}"
        return f"{name} {json.dumps(self.arguments, sort_keys=True)}"

    @property
    def data(self) -> list[str]:
        """Return the data sets behind it."""
        return [fields["data"] for fields in self.named if "data" in fields]

    def key(self, data: Mapping[str, str] | None = None) -> str:
        """Return its address in a store.

        Args:
            data: the digest of each data set behind it; None: they are loaded in this process.
        """
        source = Path(inspect.getfile(self.measure))
        return measurement_key(self.what, source, self.named, data)


def measure(
    tasks: Sequence[Task],
    store: Store,
    jobs: int = 1,
    on_progress: OnProgress = nobody,
    engine: Engine | None = None,
) -> list[Any]:
    """Measure what the store does not have yet; keep each as soon as it is there.

    Args:
        tasks: what to measure.
        store: where it is looked up and kept.
        jobs: local processes; 1: this one, but for code of others.
        on_progress: told of what was found, and of each that is finished.
        engine: where they are made, if not in local processes.

    Returns:
        What was measured, in the order of the tasks.

    Raises:
        InputError: the data behind them can't be had.
        KeyboardInterrupt: it was interrupted; what was finished is kept.
        RuntimeError: a measurement raised, or ended with its process; the others are kept.
        EngineError: the engine is lost; what was finished is kept.
    """
    jobs = max(min(jobs, len(tasks)), 1)
    where = engine or local(jobs, (fields for task in tasks for fields in task.named))
    data = digests((name for task in tasks for name in task.data), where)
    # An address is worked out once: running a plug-in may import more of it.
    keys = [task.key(data) for task in tasks]
    wanted = dict(zip(keys, tasks, strict=True))
    known = store.measurements(wanted)
    on_progress(Advance(found=len(known), lacking=len(wanted) - len(known)))
    missing = [(key, task) for key, task in wanted.items() if key not in known]
    on_progress(Advance(jobs=where.jobs))
    problems: list[str] = []
    answers = tried_twice(where, _measured, missing, lambda one: [one], COMPUTING)
    try:
        for (key, task), answer in answers:
            on_progress(Advance(computed=1))
            value, problem = (None, reason(answer)) if isinstance(answer, Failure) else answer
            if problem:
                problems.append(f"{task.measure.__module__.rpartition('.')[2]}: {problem}")
                continue
            store.keep(key, task.what, value)
            known[key] = value
    except StoreError as error:
        raise RuntimeError(f"the store can't be written: {error}") from error
    finally:
        answers.close()
    if problems:
        raise RuntimeError(f"{len(problems)} of {len(wanted)} measurements failed: {problems[0]}")
    return [known[key] for key in keys]


def _measured(keyed: tuple[str, Task]) -> tuple[Any, str]:
    """Return what was measured, and what went wrong: plug-ins may raise anything."""
    task = keyed[1]
    try:
        return task.measure(**task.arguments), ""
    except (PluginError, OutOfTime) as error:
        return None, str(error)
    except Exception as error:
        return None, told(error)
