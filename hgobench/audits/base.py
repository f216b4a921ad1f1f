"""What every audit is given: what to look at, and where to compute and keep it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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

    def command(self, words: str, *said: str) -> str:
        """Return the command that asks for the same; `said`: settings that the words state."""
        parts = ["hgobench", *shlex.split(words)]
        if self.seeds is not None:
            parts += ["--seeds", str(self.seeds)]
        for name, value in self.settings.items():
            if name in said:
                continue
            parts += ["--set", write_setting(name, value)]
        for option, names in (("--rule", self.rules), ("--attack", self.attacks)):
            for name in names:
                parts += [option, name]
        return shlex.join(parts)


@dataclass(frozen=True)
class Work:
    """Where an audit computes: what the session's store has is not computed again.

    Attributes:
        session: where cells and measurements are made and kept.
        warn: told of what a reader should know.
        say: told of what comes next.
        failed: the cells that failed so far.
    """

    session: Session
    warn: Callable[[str], None] = lambda text: None
    say: Callable[[str], None] = lambda text: None
    failed: list[Result] = field(default_factory=list)

    def measure(self, tasks: Sequence[Task], jobs: int = 0) -> list[Any]:
        """Return what some tasks measured, in their order (`Session.measure`)."""
        return self.session.measure(tasks, jobs=jobs)

    def execute(self, scenarios: Sequence[Scenario]) -> dict[Scenario, Result]:
        """Return the results of some scenarios.

        Raises:
            KeyboardInterrupt: it was interrupted; what was finished is kept.
            RuntimeError: it ended early for another reason.
        """
        wanted = list(dict.fromkeys(scenarios))
        outcome = self.session.run(wanted, RULESET, time_limit=600.0)
        check(outcome)
        self.failed.extend(outcome.failed)
        for result in outcome.failed:
            self.warn(f"failed: {result.scenario}: {result.reason}")
        store = self.session.store
        return {result.scenario: result for _, result in store.results(outcome.keys)}


def uses(
    options: Options, *chosen: str, rules: float = 0, attacks: float = 0, seeds: bool = True
) -> None:
    """Refuse what an audit would not heed.

    Args:
        options: what was asked for.
        chosen: fields that the audit chooses by itself.
        rules, attacks: how many of them it takes.
        seeds: whether there is anything to repeat.

    Raises:
        InputError: naming all of it.
    """
    problems = [f"settings: {name}: the audit chooses it" for name in chosen
                if name in options.settings]  # fmt: skip
    for option, names, most in (
        ("rule", options.rules, rules),
        ("attack", options.attacks, attacks),
    ):
        if option in options.settings and most:
            problems.append(f"settings: {option}: use `{option}s`")
        elif len(names) > most:
            taken = "none" if not most else f"{most:g}"
            problems.append(f"{option}s: {', '.join(names)}; this audit takes {taken}")
    if options.attacks and options.settings.get("byzantine") == 0:
        problems.append("attacks: nobody attacks with byzantine=0")
    if options.seeds is not None and not seeds:
        problems.append(f"seeds: {options.seeds}; this audit has none")
    if problems:
        raise InputError(problems)


def settled(base: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return an audit's fields with a user's in their place.

    With other workers, how many are sampled and make a quorum is not the audit's any more.
    """
    kept = dict(base)
    if "workers" in settings:
        for name in ("sampled", "quorum"):
            kept.pop(name, None)
    return {**kept, **settings}


def classified(settings: Mapping[str, Any]) -> None:
    """Refuse data without classes: of a regression there is no accuracy to compare."""
    data = settings.get("data", "digits")
    if not datasets.load(data).classes:
        raise InputError(f"data: {data!r} has no classes, so no accuracy to compare")
