"""The stages of an evaluation: which there are, which it is at, and how many cells are left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from hgobench.scenario import Scenario

from .members import Member
from .plan import Plan
from .selection import (
    BURSTS,
    NO_ATTACK,
    PARAMETERS,
    PROBES,
    REPORTED,
    SHARES,
    At,
    probes,
    scheduling,
    stage_name,
)

PROOFS = "how large κ may be, of rules with a proof"
REPORT = "report on fresh seeds"


@dataclass
class Agenda:
    """The stages of an evaluation, and how far it has come.

    Rows go side by side, and one without a choice of parameters is ahead of others; the stage is
    that of the row that has come least far. How many cells there are is known only when attacks are
    chosen: until then it is what is planned, which is too high where one cell serves several.

    Attributes:
        stages: their names, in order.
        planned: of each row, stage to the number of cells that it may ask for.
        asked: how many cells were asked for.
        stage: the present one.

    Example:
        >>> row = Scenario(workers=20, f=4)
        >>> agenda = Agenda.of([row], Plan(selection_seeds=(0, 1), fresh_seeds=(5, 6)))
        >>> agenda.begin({0: ("fixed attacks", 40)}, 40)
        >>> agenda.number, len(agenda.stages), agenda.stages[0], agenda.stages[-1]
        (2, 10, 'fault attacks', 'report on fresh seeds')
    """

    stages: Sequence[str]
    planned: Sequence[Mapping[str, int]]
    asked: int = 0
    stage: str = ""
    _asked_in: list[Counter[str]] = field(default_factory=list)
    _left: int = 0

    @classmethod
    def of(cls, rows: Collection[Scenario], plan: Plan) -> Agenda:
        """Return the stages of some rows' evaluation, none of which has begun."""
        planned = [_planned(row, plan) for row in rows]
        longest: dict[str, None] = {}
        for one in sorted(planned, key=len, reverse=True):
            longest |= dict.fromkeys(one)
        stages = [*longest, PROOFS, REPORT]
        fresh = len(plan.fresh_seeds)
        reported = len(plan.reportable) if plan.everything else REPORTED
        for one in planned:
            one[REPORT] = (1 + min(reported, len(plan.reportable))) * fresh
        asked_in = [Counter[str]() for _ in planned]
        return cls(stages, planned, _asked_in=asked_in, _left=sum(map(_sum, planned)))

    @property
    def number(self) -> int:
        """The number of the present stage, from 1."""
        return self.stages.index(self.stage) + 1

    @property
    def total(self) -> int:
        """How many cells there are in all, as far as is known."""
        return self.asked + self._left

    def begin(self, at: At, cells: int) -> None:
        """Begin a step.

        Args:
            at: who asks for cells.
            cells: how many different cells that is.
        """
        self.stage = min((stage for stage, _ in at.values()), key=self.stages.index)
        self.asked += cells
        self._left = 0
        for number, planned in enumerate(self.planned):
            stage, count = at.get(number, (REPORT, 0))
            asked = self._asked_in[number]
            asked[stage] += count
            later = self.stages[self.stages.index(stage) + 1 :]
            self._left += max(planned[stage] - asked[stage], 0)
            self._left += sum(planned.get(name, 0) for name in later)

    def prove(self) -> None:
        """Begin to search for what is proven; it asks for no cells."""
        self.stage = PROOFS

    def report(self, cells: int) -> None:
        """Begin to compute what is reported."""
        self.stage, self._left = REPORT, 0
        self.asked += cells


def _sum(planned: Mapping[str, int]) -> int:
    return sum(planned.values())


def _planned(row: Scenario, plan: Plan) -> dict[str, int]:
    """Return the stages of a row's search, each with the number of cells that it may ask for."""
    seeds = len(plan.selection_seeds)
    counts: dict[str, int] = {}
    choices = len(plan.choices(row))
    if choices > 1:
        for stage, group in groupby(filter(probes, plan.members), lambda member: member.stage):
            counts[stage_name(stage, probing=True)] = _cells(group, seeds)
        counts[PARAMETERS] = choices * PROBES * seeds
    for stage, group in groupby(plan.members, lambda member: member.stage):
        members = list(group)
        counts[stage_name(stage)] = _cells(members, seeds)
        scheduled = sum(_variants(member) for member in members if member.scheduled)
        if scheduled:
            counts[scheduling(stage)] = scheduled * (2 * len(SHARES) + len(BURSTS)) * seeds
    counts[NO_ATTACK] = seeds
    return counts


def _cells(members: Iterable[Member], seeds: int) -> int:
    return sum(_variants(member) * min(seeds, member.seeds or seeds) for member in members)


def _variants(member: Member) -> int:
    return len(member.attacks) * (member.strongest if member.follows else 1)
