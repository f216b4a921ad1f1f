"""Measurements that are no cell's result, kept like results: once each, under their address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from joblib.externals.loky.process_executor import TerminatedWorkerError

from hgobench.results import Store
from hgobench.results.store import measurement_key

from .local import spread


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
    def key(self) -> str:
        """Return its address in a store."""
        name = f"{self.measure.__module__}.{self.measure.__qualname__}"
        return measurement_key(name, self.arguments, self.named)


def measure(
    tasks: Sequence[Task],
    store: Store,
    jobs: int = 1,
    on_progress: Callable[[int], None] = lambda finished: None,
) -> list[Any]:
    """Measure what the store does not have yet; keep each as soon as it is there.

    Returns:
        What was measured, in the order of the tasks.

    Raises:
        KeyboardInterrupt: it was interrupted; what was finished is kept.
        RuntimeError: a worker process died.
    """
    keys = [task.key for task in tasks]
    known = {key: value for key, value in store.measurements().items() if key in set(keys)}
    if known:
        on_progress(len(known))
    missing = {key: task for key, task in zip(keys, tasks, strict=True) if key not in known}
    calls = [partial(_measured, key, task.measure, dict(task.arguments))
             for key, task in missing.items()]  # fmt: skip
    found = spread(calls, jobs)
    try:
        for key, value in found:
            store.keep(key, value)
            known[key] = value
            on_progress(1)
    except TerminatedWorkerError as error:
        raise RuntimeError(f"a worker process died: {error}") from error
    finally:
        found.close()
    return [known[key] for key in keys]


def _measured(
    key: str, measure: Callable[..., Any], arguments: Mapping[str, Any]
) -> tuple[str, Any]:
    return key, measure(**arguments)
