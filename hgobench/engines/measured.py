"""Measurements that are not results of cells, kept in the store under addresses of their own."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hgobench.boundary import OutOfTime, PluginError, error_text
from hgobench.results import Store, StoreError
from hgobench.results.address import measurement_key

from .base import Engine, Failure, tried_twice
from .cells import COMPUTING, digests, reason
from .local import local
from .progress import Advance, OnProgress, ignore


@dataclass(frozen=True)
class Task:
    """A measurement to make.

    Attributes:
        measure: a function defined in a module; its value can be written as JSON.
        arguments: its keyword arguments, which can be written as JSON.
        named: fields of scenarios that name the plug-ins, files and data it uses.

    Example:
        >>> Task(sorted, {"iterable": [2, 1]}).what
        'builtins.sorted {"iterable": [2, 1]}'
    """

    measure: Callable[..., Any]
    arguments: Mapping[str, Any]
    named: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def what(self) -> str:
        """The function and its arguments, in one line."""
        name = f"{self.measure.__module__}.{self.measure.__qualname__}"
        return f"{name} {json.dumps(self.arguments, sort_keys=True)}"

    @property
    def data(self) -> list[str]:
        """The data sets it uses."""
        return [fields["data"] for fields in self.named if "data" in fields]

    def key(self, data: Mapping[str, str] | None = None) -> str:
        """Return its address in a store.

        Args:
            data: the digest of each data set it uses; None: they are loaded in this process.
        """
        source = Path(inspect.getfile(self.measure))
        return measurement_key(self.what, source, self.named, data)


def measure(
    tasks: Sequence[Task],
    store: Store,
    jobs: int = 1,
    on_progress: OnProgress = ignore,
    engine: Engine | None = None,
) -> list[Any]:
    """Make the measurements that the store lacks; keep each as soon as it is finished.

    Args:
        tasks: the measurements.
        store: where they are looked up and kept.
        jobs: local processes; 1: this process, but for plug-in code.
        on_progress: called when measurements were looked up, and when one is finished.
        engine: where they are made, if not in local processes.

    Returns:
        The values, in the order of the tasks.

    Raises:
        InputError: the data they use can't be loaded.
        KeyboardInterrupt: Ctrl-C; finished measurements are kept.
        RuntimeError: a measurement raised, or its process ended; the others are kept.
        EngineError: the engine is lost; finished measurements are kept.
    """
    jobs = max(min(jobs, len(tasks)), 1)
    engine = engine or local(jobs, (fields for task in tasks for fields in task.named))
    data = digests((name for task in tasks for name in task.data), engine)
    # Addresses are worked out before plug-in code runs, which may import more of it.
    keys = [task.key(data) for task in tasks]
    by_key = dict(zip(keys, tasks, strict=True))
    with store.claim(lambda: len(store.measurements(by_key)) < len(by_key)):
        values = store.measurements(by_key)
        on_progress(Advance(reused=len(values), lacking=len(by_key) - len(values)))
        missing = [(key, task) for key, task in by_key.items() if key not in values]
        on_progress(Advance(jobs=engine.jobs))
        problems: list[str] = []
        answers = tried_twice(engine, _measured, missing, lambda pair: [pair], COMPUTING)
        try:
            for (key, task), answer in answers:
                value, problem = (None, reason(answer)) if isinstance(answer, Failure) else answer
                if problem:
                    problems.append(f"{task.measure.__module__.rpartition('.')[2]}: {problem}")
                else:
                    store.keep(key, task.what, value)
                    values[key] = value
                on_progress(Advance(computed=1))  # may end it: what is finished is kept by now
        except StoreError as error:
            raise RuntimeError(f"the store can't be written: {error}") from error
        finally:
            answers.close()
        if problems:
            raise RuntimeError(
                f"{len(problems)} of {len(by_key)} measurements failed: {problems[0]}"
            )
        return [values[key] for key in keys]


def _measured(keyed: tuple[str, Task]) -> tuple[Any, str]:
    """Return the value, and the error as text: plug-in code may raise anything."""
    task = keyed[1]
    try:
        return task.measure(**task.arguments), ""
    except (PluginError, OutOfTime) as error:
        return None, str(error)
    except Exception as error:
        return None, error_text(error)
