"""The options of audits, and the session in which they compute."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hgobench.data import datasets
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.results import Result
from hgobench.scenario import Scenario
from hgobench.session import Session, check
from hgobench.settings import write_setting

RULESET = "audits"


@dataclass(frozen=True)
class Options:
    """A user's options.

    Attributes:
        seeds: number of seeds; None: the audit's default.
        settings: fields of a scenario; empty: the audit's own problems.
        rules, attacks: their names; empty: the audit's own.
        against: a folder of results with which to compare; None: none.

    Example:
        >>> Options(seeds=3, rules=("krum",)).command("audit bounds")
        'hgobench audit bounds --seeds 3 --rule krum'
    """

    seeds: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    against: Path | None = None

    def command(self, words: str, *stated: str) -> str:
        """Return the command with these options.

        Args:
            words: the verb and its arguments.
            stated: fields of the settings that these state already.
        """
        arguments = ["hgobench", *shlex.split(words)]
        if self.seeds is not None:
            arguments += ["--seeds", str(self.seeds)]
        for name, value in self.settings.items():
            if name in stated:
                continue
            arguments += ["--set", write_setting(name, value)]
        for option, names in (("--rule", self.rules), ("--attack", self.attacks)):
            for name in names:
                arguments += [option, name]
        if self.against is not None:
            arguments += ["--against", str(self.against)]
        return shlex.join(arguments)


@dataclass(frozen=True)
class Work:
    """Where an audit computes; nothing that the session's store has is computed again.

    Attributes:
        session: computes cells and measurements, and keeps them.
        warn: called with a line that a reader should know.
        say: called with a line on the next step.
        failed: the cells that have failed so far.

    Example:
        >>> import tempfile
        >>> from hgobench import Session, open_store
        >>> with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
        ...     work = Work(Session(store, jobs=1))
        ...     results = work.execute([Scenario(workers=20, rounds=1)])
        >>> [result.status for result in results.values()], work.failed
        (['done'], [])
    """

    session: Session
    warn: Callable[[str], None] = lambda text: None
    say: Callable[[str], None] = lambda text: None
    failed: list[Result] = field(default_factory=list)

    def measure(self, tasks: Sequence[Task], jobs: int = 0) -> list[Any]:
        """Return the values of some tasks, in their order (`Session.measure`)."""
        return self.session.measure(tasks, jobs=jobs)

    def execute(self, scenarios: Sequence[Scenario]) -> dict[Scenario, Result]:
        """Return the results of some scenarios.

        Raises:
            KeyboardInterrupt: Ctrl-C; finished cells are kept.
            RuntimeError: it ended early for another reason.
        """
        cells = list(dict.fromkeys(scenarios))
        outcome = self.session.run(cells, RULESET, time_limit=600.0)
        check(outcome)
        self.failed.extend(outcome.failed)
        for result in outcome.failed:
            self.warn(f"failed: {result.scenario}: {result.reason}")
        store = self.session.store
        return {result.scenario: result for _, result in store.results(outcome.keys)}


def reject_unused_options(
    options: Options,
    *chosen: str,
    rules: float = 0,
    attacks: float = 0,
    seeds: bool = True,
    against: bool = False,
) -> None:
    """Raise InputError for options that an audit would ignore.

    Args:
        options: the user's.
        chosen: fields that the audit sets itself.
        rules, attacks: how many of them it takes at most.
        seeds: whether it repeats anything.
        against: whether it compares with results.

    Raises:
        InputError: with all problems.
    """
    problems = [f"settings: {name}: the audit chooses it" for name in chosen
                if name in options.settings]  # fmt: skip
    for option, names, limit in (
        ("rule", options.rules, rules),
        ("attack", options.attacks, attacks),
    ):
        if option in options.settings and limit:
            problems.append(f"settings: {option}: use `{option}s`")
        elif len(names) > limit:
            allowed = "none" if not limit else f"{limit:g}"
            problems.append(f"{option}s: {', '.join(names)}; this audit takes {allowed}")
    if options.attacks and options.settings.get("byzantine") == 0:
        problems.append("attacks: no worker attacks with byzantine=0")
    if options.seeds is not None and not seeds:
        problems.append(f"seeds: {options.seeds}; this audit has none")
    if options.against is not None and not against:
        problems.append(f"against: {str(options.against)!r}; this audit compares with no results")
    if problems:
        raise InputError(problems)


def merge_settings(base: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return an audit's fields, replaced by a user's where there are any.

    With another number of workers, the audit's sample size and quorum are dropped.
    """
    fields = dict(base)
    if "workers" in settings:
        for name in ("sampled", "quorum"):
            fields.pop(name, None)
    return {**fields, **settings}


def require_classes(settings: Mapping[str, Any]) -> None:
    """Raise InputError for data without classes: a regression has no accuracy to compare."""
    data = settings.get("data", "digits")
    if not datasets.load(data).classes:
        raise InputError(f"data: {data!r} has no classes, so no accuracy to compare")
