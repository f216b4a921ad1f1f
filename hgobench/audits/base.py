"""What every audit is given: what to look at, and where to compute and keep it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from hgobench.errors import InputError
from hgobench.execution import execute
from hgobench.execution.measured import Task, measure
from hgobench.registry import format_value
from hgobench.results import Result, Store
from hgobench.scenario import Scenario

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
RULESET = "audits"


@dataclass(frozen=True)
class Options:
    """What a user asks for.

    Attributes:
        seeds: how many; None: as many as the audit has by default.
        settings: fields of a scenario of one's own; none: the audit's problems.
        rules, attacks: names of one's own choice; none: the audit's.
    """

    seeds: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()

    def command(self, words: str) -> str:
        """Return the command that asks for the same."""
        parts = ["hgobench", *words.split()]
        if self.seeds is not None:
            parts += ["--seeds", str(self.seeds)]
        for name, value in self.settings.items():
            parts += ["--set", f"{name}={format_value(value)}"]
        for option, names in (("--rule", self.rules), ("--attack", self.attacks)):
            for name in names:
                parts += [option, name]
        return shlex.join(parts)


@dataclass(frozen=True)
class Work:
    """Where an audit computes: what the store has is not computed again.

    Attributes:
        store: what is kept.
        jobs: local processes.
        progress: opened with the number of steps, it is told how many are finished.
        warn: told of what a reader should know.
    """

    store: Store
    jobs: int
    progress: Progress
    warn: Callable[[str], None] = lambda text: None

    def measure(self, tasks: Sequence[Task], jobs: int | None = None) -> list[Any]:
        """Return what some tasks measured, in their order.

        Args:
            tasks: what to measure.
            jobs: 1 where other processes would disturb it; None: as many as there are.
        """
        with self.progress(len(tasks)) as advance:
            return measure(tasks, self.store, jobs or self.jobs, advance)

    def execute(self, scenarios: Sequence[Scenario], width: int = 8) -> dict[Scenario, Result]:
        """Return the results of some scenarios.

        Raises:
            KeyboardInterrupt: it was interrupted; what was finished is kept.
            RuntimeError: it ended early for another reason.
        """
        wanted = list(dict.fromkeys(scenarios))
        with self.progress(len(wanted)) as advance:
            outcome = execute(
                wanted,
                self.store,
                f"{RULESET}-{width}",
                width=width,
                time_limit=600.0,
                jobs=self.jobs,
                on_progress=advance,
            )
        if outcome.interrupted == "interrupted":
            raise KeyboardInterrupt
        if outcome.interrupted:
            raise RuntimeError(outcome.interrupted)
        for result in outcome.failed:
            self.warn(f"failed: {result.scenario}: {result.reason}")
        return {result.scenario: result for _, result in self.store.results(outcome.keys)}


def fixed(options: Options, *fields: str) -> None:
    """Refuse settings of fields that an audit varies by itself.

    Raises:
        InputError: naming them.
    """
    taken = [name for name in fields if name in options.settings]
    if taken:
        raise InputError(f"--set: {name}: the audit chooses it" for name in taken)
