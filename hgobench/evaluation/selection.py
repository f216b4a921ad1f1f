"""Which attacks are the worst for a row: a search over whole runs, on selection seeds.

A search never sees a test example: it asks for cells, and is answered with their accuracies on
validation examples. The searches of many rows go side by side, so that what they ask for at a time
fills stacks and engines; each depends on its own answers alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby, product
from typing import Any, TypeVar

from hgobench import attacks
from hgobench.errors import InputError, unknown
from hgobench.scenario import Scenario

from .members import ENSEMBLES, Member

T = TypeVar("T")
Accuracies = Mapping[Scenario, float]  # on validation examples
Asking = Generator[Sequence[Scenario], Accuracies, T]
Fields = dict[str, Any]

CHOICES = 8  # of a row's parameters; as many for every row
PROBES = 3  # members that parameters are chosen against
REPORTED = 3  # members that run on fresh seeds
VALUE_STAGES = ("fixed", "optimised")
SHARES = (0.25, 0.5, 0.75)  # of a run, when attacks may start; of what is left, when to stop
BURSTS = (0.025, 0.1, 0.25)  # of a run, how long they act, and pause, in turns


@dataclass(frozen=True)
class Plan:
    """How rows are evaluated.

    Attributes:
        ensemble: the name of the table of attacks (`members.ENSEMBLES`).
        selection_seeds: the seeds on which parameters and attacks are chosen.
        fresh_seeds: the seeds that are reported; none of the former.
        learning_rates: those that rows choose from, ascending; none: each keeps its own.
        alternatives: of a rule with thresholds, the specifications that it chooses from.
        everything: whether all members run on the fresh seeds, which tells what selecting misses.

    Raises:
        InputError: a seed is in both lists, or there are none; no such ensemble; all at once.
    """

    ensemble: str = "auto-1"
    selection_seeds: tuple[int, ...] = (0, 1, 2)
    fresh_seeds: tuple[int, ...] = tuple(range(100, 120))
    learning_rates: tuple[float, ...] = ()
    alternatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    everything: bool = False

    def __post_init__(self) -> None:
        problems = []
        if both := sorted({*self.selection_seeds} & {*self.fresh_seeds}):
            problems.append(
                f"evaluation: fresh_seeds: {both} are selection_seeds too; expected others, or "
                "what was chosen on a seed would be reported on it"
            )
        for name in ("selection_seeds", "fresh_seeds"):
            seeds = getattr(self, name)
            if not seeds or len({*seeds}) < len(seeds):
                problems.append(f"evaluation: {name}: {list(seeds)}; expected different seeds")
        if self.ensemble not in ENSEMBLES:
            problems.append(unknown("evaluation: ensemble", self.ensemble, ENSEMBLES))
        if problems:
            raise InputError(problems)

    @property
    def members(self) -> tuple[Member, ...]:
        """The attacks, in the order in which they run."""
        return ENSEMBLES[self.ensemble]

    def choices(self, row: Scenario) -> list[Scenario]:
        """Return a row with each of its choices of parameters: 8, unless there are fewer rates.

        A rule with A alternatives meets ⌊8 / A⌋ learning rates with each, spread over the list.
        """
        if not self.learning_rates and row.rule not in self.alternatives:
            return [row]
        rules = self.alternatives.get(row.rule, (row.rule,))
        rates = self.learning_rates or (row.learning_rate,)
        count = max(CHOICES // len(rules), 1)
        last, steps = len(rates) - 1, max(count - 1, 1)
        spread = dict.fromkeys(rates[round(i * last / steps)] for i in range(count))
        pairs = product(rules, spread)
        every = (row.replace(rule=rule, learning_rate=rate) for rule, rate in pairs)
        return list(dict.fromkeys(every))[:CHOICES]


@dataclass(frozen=True)
class Worst:
    """What a member does to a row at its worst.

    Attributes:
        fields: of the scenario: the attack, and in which rounds it acts.
        accuracy: the mean over selection seeds, on validation examples.
        tried: of how many variants it is the worst.
    """

    fields: Fields
    accuracy: float
    tried: int = 1

    @classmethod
    def of(cls, so_far: Worst | None, fields: Fields, accuracy: float) -> Worst:
        """Return the worse of the worst so far and another variant; of equals the former."""
        if so_far is None:
            return cls(fields, accuracy)
        if accuracy < so_far.accuracy:
            return cls(fields, accuracy, so_far.tried + 1)
        return cls(so_far.fields, so_far.accuracy, so_far.tried + 1)


@dataclass(frozen=True)
class Selection:
    """What was chosen for a row.

    Attributes:
        given: the row as the suite has it, without attack.
        row: the same with the parameters that were chosen.
        choices: each choice's accuracy: the lowest of its means under the members that were the
            worst for the row as it was given; NaN: there was nothing to choose.
        clean: without attack, the mean over selection seeds.
        members: what each member does at its worst.
        reported: the members that run on fresh seeds, the worst first.
        cells: how many runs the search asked for.
    """

    given: Scenario
    row: Scenario
    choices: Mapping[Scenario, float]
    clean: float
    members: Mapping[str, Worst]
    reported: tuple[str, ...]
    cells: int

    def under(self, member: str, seeds: Iterable[int]) -> list[Scenario]:
        """Return the row's cells under a member, one per seed; ``"none"``: without attack."""
        fields = {} if member == "none" else self.members[member].fields
        return [self.row.replace(**fields, seed=seed) for seed in seeds]


def select(
    rows: Collection[Scenario],
    plan: Plan,
    run: Callable[[list[Scenario], str], Accuracies],
) -> list[Selection]:
    """Return what is chosen for each row.

    Args:
        rows: the rows, each in its setting; their attack and their seed are not heeded.
        plan: how they are evaluated.
        run: given cells, each once, and what they are for; returns their accuracies on validation
            examples, 0 of those that diverged or failed.
    """
    searches = [_Search(row, plan) for row in rows]
    playing = {number: search.play() for number, search in enumerate(searches)}
    asked = {number: next(play) for number, play in playing.items()}
    selected: dict[int, Selection] = {}
    while asked:
        cells = list(dict.fromkeys(cell for wanted in asked.values() for cell in wanted))
        answers = run(cells, " and ".join(dict.fromkeys(searches[n].stage for n in asked)))
        following = {}
        for number, wanted in asked.items():
            try:
                following[number] = playing[number].send({cell: answers[cell] for cell in wanted})
            except StopIteration as end:
                selected[number] = end.value
        asked = following
    return [selected[number] for number in range(len(searches))]


class _Search:
    """The search for one row: generators that yield the cells they need, and are sent accuracies.

    Args:
        given: the row.
        plan: how it is evaluated.

    Attributes:
        stage: what it is at, in words.
    """

    def __init__(self, given: Scenario, plan: Plan) -> None:
        first = plan.selection_seeds[0]
        self.given, self.plan = given.replace(attack="none", seed=first), plan
        self.known: dict[Scenario, float] = {}
        self.stage = ""

    def play(self) -> Asking[Selection]:
        """Choose parameters, then let every member attack."""
        choices = yield from self._tune()
        row = max(choices, key=choices.__getitem__)  # of equals the first
        members = yield from self._attack(row, self.plan.members)
        self.stage = "no attack"
        (clean,) = yield from self._means([(row, {}, None)])
        whole = [member.name for member in self.plan.members if member.seeds is None]
        ranked = sorted(filter(members.__contains__, whole), key=lambda n: members[n].accuracy)
        reported = tuple(ranked[:REPORTED])
        return Selection(self.given, row, choices, clean, members, reported, len(self.known))

    def _tune(self) -> Asking[dict[Scenario, float]]:
        """Return each choice of parameters with its accuracy under the members that are worst."""
        choices = self.plan.choices(self.given)
        if len(choices) == 1:
            return {choices[0]: math.nan}
        probes = yield from self._attack(self.given, filter(_probes, self.plan.members))
        worst = sorted(probes.values(), key=lambda one: one.accuracy)[:PROBES]
        self.stage = "parameters"
        tried = [(choice, one.fields, None) for choice in choices for one in worst]
        means = yield from self._means(tried)
        lowest = dict.fromkeys(choices, math.inf)
        for (choice, *_), mean in zip(tried, means, strict=True):
            lowest[choice] = min(lowest[choice], mean)
        return lowest

    def _attack(self, row: Scenario, members: Iterable[Member]) -> Asking[dict[str, Worst]]:
        """Return what each member does to a row at its worst, stage by stage."""
        worst: dict[str, Worst] = {}
        strengths: dict[str, float] = {}  # of the value attacks so far
        for stage, group in groupby(members, key=lambda member: member.stage):
            self.stage = f"{stage} attacks"
            strongest = sorted(strengths, key=strengths.__getitem__)
            variants = [(m, {"attack": a}) for m in group for a in m.variants(strongest)]
            means = yield from self._means([(row, fields, m.seeds) for m, fields in variants])
            for (member, fields), mean in zip(variants, means, strict=True):
                worst[member.name] = Worst.of(worst.get(member.name), fields, mean)
                if stage in VALUE_STAGES:
                    strengths[fields["attack"]] = mean
            scheduled = [
                (member.name, Worst(fields, mean))
                for (member, fields), mean in zip(variants, means, strict=True)
                if member.scheduled
            ]
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
            means = yield from self._means([(row, fields, None) for _, fields in variants])
            for (number, fields), mean in zip(variants, means, strict=True):
                name, so_far = attacks[number]
                attacks[number] = name, Worst.of(so_far, fields, mean)
                worst[name] = Worst.of(worst[name], fields, mean)

    def _means(self, wanted: Sequence[tuple[Scenario, Fields, int | None]]) -> Asking[list[float]]:
        """Return mean accuracies over selection seeds.

        Args:
            wanted: rows, with what attacks them, and on how many seeds; None: on all.
        """
        seeds = self.plan.selection_seeds
        cells = [
            [row.replace(**fields, seed=seed) for seed in seeds[:count]]
            for row, fields, count in wanted
        ]
        missing = [c for c in dict.fromkeys(chain.from_iterable(cells)) if c not in self.known]
        if missing:
            self.known.update((yield missing))
        return [math.fsum(self.known[cell] for cell in some) / len(some) for some in cells]


def _probes(member: Member) -> bool:
    """Say whether parameters are chosen against a member: not against the costly ones."""
    known = [attack for attack in member.attacks if not member.follows]
    cheap = all(attacks.build(attack).sees != "server" for attack in known)
    return bool(known) and cheap and member.stage in VALUE_STAGES


def _starts(fields: Fields, rounds: int) -> list[Fields]:
    """Return later starts of an attack."""
    return [{"attack_start": round(share * rounds)} for share in SHARES]


def _stops(fields: Fields, rounds: int) -> list[Fields]:
    """Return earlier ends of an attack."""
    start = fields.get("attack_start", 0)
    return [{"attack_stop": start + round(share * (rounds - start))} for share in SHARES]


def _bursts(fields: Fields, rounds: int) -> list[Fields]:
    """Return lengths of bursts, and of the pauses between them."""
    return [{"attack_period": max(round(share * rounds), 1)} for share in BURSTS]
