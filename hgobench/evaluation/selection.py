"""Which attacks are the worst for a row: a search over whole runs, on selection seeds.

A search chooses by accuracies on validation examples: it asks for cells, and is answered with
these. What it is told besides says which runs are one and the same, not which is worse. The
searches of many rows go side by side, so that what they ask for at a time fills stacks and engines;
each depends on its own answers alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from hgobench import attacks
from hgobench.attacks.threat_models import THREAT_MODELS
from hgobench.errors import InputError
from hgobench.results.rows import plain
from hgobench.scenario import Scenario

from .members import Member, Stage
from .plan import Plan
from .proof import Proof

T = TypeVar("T")


class Played(NamedTuple):
    """What a search is told of a cell.

    Attributes:
        accuracy: on validation examples; 0 if the cell diverged or failed.
        trace: a series that two runs have in common only if they are the same, such as the loss at
            each evaluation; empty: nothing is known that would tell.
    """

    accuracy: float
    trace: tuple[float, ...] = ()


Answers = Mapping[Scenario, Played]
# Of each row that is searched, by its number: its stage, and for how many cells it asks.
At = Mapping[int, tuple[str, int]]
Asking = Generator[Sequence[Scenario], Answers, T]
Fields = dict[str, Any]

TUNING = "parameters"
PROBES = 3  # members that parameters are chosen against
REPORTED = 3  # members that run on fresh seeds
VALUE_STAGES = ("fixed", "optimised")
PARAMETERS = "parameters of rules"  # stages, in words
NO_ATTACK = "no attack"
SHARES = (0.25, 0.5, 0.75)  # of a run, when attacks may start; of what is left, when to stop
BURSTS = (0.025, 0.1, 0.25)  # of a run, how long they act, and pause, in turns


@dataclass(frozen=True)
class Worst:
    """What a member does to a row at its worst.

    Attributes:
        fields: of the scenario: the attack, and in which rounds it acts.
        accuracies: of the selection seeds that it ran on, on validation examples.
        tried: of how many variants it is the worst.
    """

    fields: Fields
    accuracies: tuple[float, ...]
    tried: int = 1

    @property
    def accuracy(self) -> float:
        """The mean over seeds."""
        return _mean(self.accuracies)

    @classmethod
    def of(cls, so_far: Worst | None, fields: Fields, accuracies: tuple[float, ...]) -> Worst:
        """Return the worse of the worst so far and another variant; of equals the former."""
        if so_far is None:
            return cls(fields, accuracies)
        worse = _mean(accuracies) < so_far.accuracy
        kept = (fields, accuracies) if worse else (so_far.fields, so_far.accuracies)
        return cls(*kept, so_far.tried + 1)


@dataclass(frozen=True)
class Selection:
    """What was chosen for a row.

    Attributes:
        plan: how.
        given: the row as the suite has it, without attack.
        row: the same with the parameters that were chosen.
        choices: each choice's accuracy: the lowest of its means under the members that were the
            worst for the row as it was given; NaN: there was nothing to choose.
        clean: without attack, the mean over selection seeds.
        members: what each member does at its worst.
        reported: the members that run on fresh seeds, the worst first.
        cells: how many runs the search asked for.
        same: members that came to the same runs as one of the reported, and were therefore not
            reported, with that one.
        runs: how many runs were first asked for by each member, by ``"parameters"`` and by
            ``"none"``; empty: an older hgobench did not count them.
        kappa: what is proven of the row's rule, beside what a search reaches (see `Proof`); None:
            nothing is proven, or it was not searched.
    """

    plan: Plan
    given: Scenario
    row: Scenario
    choices: Mapping[Scenario, float]
    clean: float
    members: Mapping[str, Worst]
    reported: tuple[str, ...]
    cells: int
    same: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[str, int] = field(default_factory=dict)
    kappa: Proof | None = None

    def under(self, member: str, seeds: Iterable[int]) -> list[Scenario]:
        """Return the row's cells under a member, one per seed; ``"none"``: without attack."""
        fields = {} if member == "none" else self.members[member].fields
        return [self.row.replace(**fields, seed=seed) for seed in seeds]

    @cached_property
    def fresh(self) -> dict[str, list[Scenario]]:
        """The cells that are reported, one per fresh seed, by member; ``"none"``: no attack."""
        every = [name for name in self.members if name in self.plan.reportable]
        chosen = every if self.plan.everything else self.reported
        return {name: self.under(name, self.plan.fresh_seeds) for name in ("none", *chosen)}

    @property
    def free(self) -> tuple[str, ...]:
        """The fields in which its choices differ."""
        first, *others = self.choices
        return tuple(
            name
            for name in first.of_role("defence")
            if any(getattr(other, name) != getattr(first, name) for other in others)
        )

    @property
    def lowest(self) -> dict[Stage, float]:
        """The lowest accuracy under the members of each stage."""
        lowest: dict[Stage, float] = {}
        for name, worst in self.members.items():
            stage = self.plan.stages[name]
            lowest[stage] = min(lowest.get(stage, 1.0), worst.accuracy)
        return lowest

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it; `restore` reads it back."""
        return {
            "plan": self.plan.to_dict(),
            "given": self.given.to_dict(),
            "row": self.row.to_dict(),
            "choices": [[choice.to_dict(), plain(low)] for choice, low in self.choices.items()],
            "clean": self.clean,
            "members": {name: asdict(worst) for name, worst in self.members.items()},
            "reported": list(self.reported),
            "cells": self.cells,
            "same": dict(self.same),
            "runs": dict(self.runs),
            "kappa": None if self.kappa is None else asdict(self.kappa),
        }

    @classmethod
    def restore(cls, kept: Mapping[str, Any]) -> Selection:
        """Return what `to_dict` wrote."""
        worst = {
            name: Worst(dict(one["fields"]), tuple(one["accuracies"]), one["tried"])
            for name, one in kept["members"].items()
        }
        return cls(
            Plan.read(kept["plan"]),
            Scenario.restore(kept["given"]),
            Scenario.restore(kept["row"]),
            {
                Scenario.restore(choice): math.nan if low is None else low
                for choice, low in kept["choices"]
            },
            kept["clean"],
            worst,
            tuple(kept["reported"]),
            kept["cells"],
            kept.get("same", {}),  # these three: of an older hgobench
            kept.get("runs", {}),
            None if kept.get("kappa") is None else Proof(**kept["kappa"]),
        )


def select(
    rows: Collection[Scenario],
    plan: Plan,
    run: Callable[[list[Scenario], At], Answers],
) -> list[Selection]:
    """Return what is chosen for each row.

    Args:
        rows: the rows, each in its setting; their attack and their seed are not heeded.
        plan: how they are evaluated.
        run: given cells, each once, and who asks for them; returns how they went.
    """
    searches = [_Search(row, plan) for row in rows]
    playing = {number: search.play() for number, search in enumerate(searches)}
    asked = {number: next(play) for number, play in playing.items()}
    selected: dict[int, Selection] = {}
    while asked:
        cells = list(dict.fromkeys(cell for wanted in asked.values() for cell in wanted))
        at = {number: (searches[number].stage, len(wanted)) for number, wanted in asked.items()}
        answers = run(cells, at)
        following = {}
        for number, wanted in asked.items():
            try:
                following[number] = playing[number].send({cell: answers[cell] for cell in wanted})
            except StopIteration as end:
                selected[number] = end.value
        asked = following
    return [selected[number] for number in range(len(searches))]


class _Search:
    """The search for one row: generators that yield the cells they need, and are sent answers.

    Args:
        given: the row.
        plan: how it is evaluated.

    Attributes:
        stage: what it is at, in words.
    """

    def __init__(self, given: Scenario, plan: Plan) -> None:
        self.given, self.plan = unattacked(given, plan), plan
        self.known: dict[Scenario, Played] = {}
        self.runs: Counter[str] = Counter()
        self.stage = ""

    def play(self) -> Asking[Selection]:
        """Choose parameters, then let every member attack."""
        choices = yield from self._tune()
        row = max(choices, key=choices.__getitem__)  # of equals the first
        members = yield from self._attack(row, self.plan.members)
        self.stage = NO_ATTACK
        (clean,) = yield from self._play([(row, {}, None)], ["none"])
        reportable = filter(self.plan.reportable.__contains__, members)
        ranked = sorted(reportable, key=lambda name: members[name].accuracy)
        # Of members that come to the same run for run, such as flood before what is as long
        # anyway, one is enough.
        first: dict[object, str] = {}
        same = {
            name: other
            for name in ranked
            if (other := first.setdefault(self._trace(row, name, members[name]), name)) != name
        }
        reported = tuple([name for name in ranked if name not in same][:REPORTED])
        same = {name: other for name, other in same.items() if other in reported}
        cells, runs = len(self.known), dict(self.runs)
        return Selection(
            self.plan, self.given, row, choices, _mean(clean), members, reported, cells, same, runs
        )

    def _trace(self, row: Scenario, name: str, worst: Worst) -> object:
        """Return what a member's runs have in common with no others; its name, if it isn't known.

        Equal accuracies are no such thing: any two attacks that break a model leave it at chance.
        """
        played = [
            self.known[row.replace(**worst.fields, seed=seed)] for seed in self.plan.selection_seeds
        ]
        known = all(one.trace and all(map(math.isfinite, one.trace)) for one in played)
        return tuple(played) if known else name

    def _tune(self) -> Asking[dict[Scenario, float]]:
        """Return each choice of parameters with its accuracy under the members that are worst."""
        choices = self.plan.choices(self.given)
        if len(choices) == 1:
            return {choices[0]: math.nan}
        probed = yield from self._attack(self.given, filter(probes, self.plan.members), TUNING)
        worst = sorted(probed.values(), key=lambda one: one.accuracy)[:PROBES]
        self.stage = PARAMETERS
        tried = [(choice, one.fields, None) for choice in choices for one in worst]
        played = yield from self._play(tried, [TUNING] * len(tried))
        lowest = dict.fromkeys(choices, math.inf)
        for (choice, *_), accuracies in zip(tried, played, strict=True):
            lowest[choice] = min(lowest[choice], _mean(accuracies))
        return lowest

    def _attack(
        self, row: Scenario, members: Iterable[Member], purpose: str = ""
    ) -> Asking[dict[str, Worst]]:
        """Return what each member does to a row at its worst, stage by stage.

        Args:
            row: with its parameters.
            members: the attacks.
            purpose: on whose account the runs are; empty: the members'.
        """
        worst: dict[str, Worst] = {}
        strengths: dict[str, float] = {}  # of the value attacks so far
        for stage, group in groupby(members, key=lambda member: member.stage):
            self.stage = stage_name(stage, probing=purpose == TUNING)
            strongest = sorted(strengths, key=strengths.__getitem__)
            variants = [(m, {"attack": a}) for m in group for a in m.variants(strongest)]
            played = yield from self._play(
                [(row, fields, m.seeds) for m, fields in variants],
                [purpose or m.name for m, _ in variants],
            )
            scheduled = []
            for (member, fields), accuracies in zip(variants, played, strict=True):
                worst[member.name] = Worst.of(worst.get(member.name), fields, accuracies)
                if stage in VALUE_STAGES:
                    strengths[fields["attack"]] = _mean(accuracies)
                if member.scheduled:
                    scheduled.append((member.name, Worst(fields, accuracies)))
            self.stage = scheduling(stage)
            yield from self._schedule(row, scheduled, worst)
        return worst

    def _schedule(
        self, row: Scenario, attacks: list[tuple[str, Worst]], worst: dict[str, Worst]
    ) -> Asking[None]:
        """Look for the rounds in which attacks do most: when to start, to stop, and to pause.

        One after the other, each with the best of those before: 9 runs of each attack.
        """
        for steps in (_starts, _stops, _bursts):
            variants = [
                (number, {**so_far.fields, **changes})
                for number, (_, so_far) in enumerate(attacks)
                for changes in steps(so_far.fields, row.rounds)
            ]
            played = yield from self._play(
                [(row, fields, None) for _, fields in variants],
                [attacks[number][0] for number, _ in variants],
            )
            for (number, fields), accuracies in zip(variants, played, strict=True):
                name, so_far = attacks[number]
                attacks[number] = name, Worst.of(so_far, fields, accuracies)
                worst[name] = Worst.of(worst[name], fields, accuracies)

    def _play(
        self, wanted: Sequence[tuple[Scenario, Fields, int | None]], names: Sequence[str]
    ) -> Asking[list[tuple[float, ...]]]:
        """Return accuracies by selection seed.

        Args:
            wanted: rows, with what attacks them, and on how many seeds; None: on all.
            names: on whose account each of these is.
        """
        seeds = self.plan.selection_seeds
        cells = [
            [_cell(row, fields, seed) for seed in seeds[:count]] for row, fields, count in wanted
        ]
        first: dict[Scenario, str] = {}
        for name, some in zip(names, cells, strict=True):
            for cell in some:
                if cell not in self.known:
                    first.setdefault(cell, name)
        if missing := list(first):
            self.runs.update(first.values())
            self.known.update((yield missing))
        return [tuple(self.known[cell].accuracy for cell in some) for some in cells]


def unattacked(row: Scenario, plan: Plan) -> Scenario:
    """Return a row as selections have it: without attack, on the first selection seed."""
    fields: Fields = {**THREAT_MODELS[plan.threat_model].fields}
    return row.replace(attack="none", seed=plan.selection_seeds[0], **fields)


def _cell(row: Scenario, fields: Fields, seed: int) -> Scenario:
    """Return a row under attack.

    Raises:
        InputError: it can't be attacked so, which says whose attack it is, as no user wrote it.
    """
    try:
        return row.replace(**fields, seed=seed)
    except InputError as error:
        stated = ", ".join(f"{name}={value}" for name, value in fields.items()) or "no attack"
        raise InputError(
            f"evaluation: {row.algorithm} {row.rule} can't be tried with {stated}: {problem}"
            for problem in error.problems
        ) from error


def _mean(accuracies: Sequence[float]) -> float:
    return math.fsum(accuracies) / len(accuracies)


def stage_name(stage: Stage, probing: bool = False) -> str:
    """Return what is computed in a stage, in words.

    >>> stage_name("black_box"), stage_name("fixed", probing=True)
    ('black box attacks', 'fixed attacks, by which parameters are chosen')
    """
    return f"{stage.replace('_', ' ')} attacks" + ", by which parameters are chosen" * probing


def scheduling(stage: Stage) -> str:
    """Return what is computed when attacks of a stage look for the rounds in which to act.

    >>> scheduling("adaptive")
    'adaptive attacks, in which rounds'
    """
    return f"{stage_name(stage)}, in which rounds"


def probes(member: Member) -> bool:
    """Say whether parameters are chosen against a member: not against the costly ones."""
    known = [attack for attack in member.attacks if not member.follows]
    cheap = all(attacks.build(attack).sees != "server" for attack in known)
    return bool(known) and cheap and member.stage in VALUE_STAGES


def _starts(fields: Fields, rounds: int) -> list[Fields]:
    """Return later starts of an attack."""
    starts = [round(share * rounds) for share in SHARES]
    return [{"attack_start": start} for start in starts if start < rounds]


def _stops(fields: Fields, rounds: int) -> list[Fields]:
    """Return earlier ends of an attack."""
    start = fields.get("attack_start", 0)
    stops = [start + round(share * (rounds - start)) for share in SHARES]
    return [{"attack_stop": stop} for stop in stops if stop > start]


def _bursts(fields: Fields, rounds: int) -> list[Fields]:
    """Return lengths of bursts, and of the pauses between them."""
    return [{"attack_period": max(round(share * rounds), 1)} for share in BURSTS]
