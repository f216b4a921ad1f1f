"""How the rows of a suite are evaluated: with which attacks, on which seeds, with which choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import product
from typing import Any, Self

from hgobench.attacks.threat_models import DEFAULT, THREAT_MODELS
from hgobench.errors import InputError, shown, unknown
from hgobench.scenario import ATTACK, Scenario, check_field

from .members import ENSEMBLES, Member, Stage

CHOICES = 8  # of a row's parameters; as many for every row
CHOSEN = (*ATTACK, "seed", "lies_about_speed")  # not the suite's to set


@dataclass(frozen=True)
class Plan:
    """How rows are evaluated.

    Attributes:
        ensemble: the name of the table of attacks (`members.ENSEMBLES`).
        selection_seeds: the seeds on which parameters and attacks are chosen.
        fresh_seeds: the seeds that are reported; none of the former.
        learning_rates: those that rows choose from, ascending; none: each keeps its own.
        alternatives: of a rule with thresholds, the specifications that it chooses from.
        threat_model: what attackers know and can do (`hgobench.attacks.THREAT_MODELS`); members
            that need more are left out.
        everything: whether all members run on the fresh seeds, to see what selecting misses.

    Raises:
        InputError: a seed is in both lists, or there are none; no such ensemble; all at once.
    """

    ensemble: str = "auto-1"
    selection_seeds: tuple[int, ...] = (0, 1, 2)
    fresh_seeds: tuple[int, ...] = tuple(range(100, 120))
    learning_rates: tuple[float, ...] = ()
    alternatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    threat_model: str = DEFAULT
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
        if self.threat_model not in THREAT_MODELS:
            problems.append(unknown("evaluation: threat_model", self.threat_model, THREAT_MODELS))
        for rule, listed in self.alternatives.items():
            if len(listed) > CHOICES // 2:
                problems.append(
                    f"evaluation: alternatives: {rule}: {len(listed)}; expected at most "
                    f"{CHOICES // 2}, so that each meets two learning rates or more"
                )
        if problems:
            raise InputError(problems)

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """The attacks that the threat model permits, in the order in which they run."""
        permits = THREAT_MODELS[self.threat_model].permitted
        return tuple(
            replace(member, attacks=permitted)
            for member in ENSEMBLES[self.ensemble]
            if (permitted := member.permitted(permits))
        )

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The stage of each member, by its name."""
        return {member.name: member.stage for member in self.members}

    @cached_property
    def reportable(self) -> frozenset[str]:
        """The members that may be reported: none that only some selection seeds see."""
        return frozenset(member.name for member in self.members if member.seeds is None)

    def choices(self, row: Scenario) -> list[Scenario]:
        """Return a row with each of its choices of parameters: 8, unless there are fewer rates.

        A rule with A alternatives meets ⌊8 / A⌋ learning rates with each, spread over the list.
        """
        if not self.learning_rates and row.rule not in self.alternatives:
            return [row]
        rules = self.alternatives.get(row.rule, (row.rule,))
        rates = self.learning_rates or (row.learning_rate,)
        count, last = CHOICES // len(rules), len(rates) - 1
        spread = dict.fromkeys(rates[round(i * last / (count - 1))] for i in range(count))
        pairs = product(rules, spread)
        every = (row.replace(rule=rule, learning_rate=rate) for rule, rate in pairs)
        return list(dict.fromkeys(every))

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Self:
        """Return the plan that a suite's table ``[evaluation]`` describes.

        Raises:
            InputError: unknown keys or values, all problems at once.
        """
        known = {entry.name for entry in fields(cls)}
        problems = [unknown("evaluation: key", key, known) for key in table if key not in known]
        values: dict[str, Any] = {}
        for key in table.keys() & known:
            try:
                values[key] = _READERS[key](key, table[key])
            except InputError as error:
                problems += [f"evaluation: {problem}" for problem in error.problems]
        try:
            plan = cls(**values)
        except InputError as error:
            problems += error.problems
        if problems:
            raise InputError(problems)
        return plan

    def to_dict(self) -> dict[str, Any]:
        """Return the table that `read` reads."""
        table = {
            "ensemble": self.ensemble,
            "selection_seeds": list(self.selection_seeds),
            "fresh_seeds": list(self.fresh_seeds),
            "learning_rates": list(self.learning_rates),
            "alternatives": {name: list(rules) for name, rules in self.alternatives.items()},
            "threat_model": self.threat_model,
            "everything": self.everything,
        }
        return {name: value for name, value in table.items() if value}


def _each(name: str, field_: str, value: Any) -> tuple[Any, ...]:
    """Return a list's values as a scenario's field spells them."""
    if not isinstance(value, list) or not value:
        raise InputError(f"{name}: {shown(value)}; expected a list of values")
    return tuple(check_field(field_, one) for one in value)


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{name}: {shown(value)}; expected a name")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name}: {shown(value)}; expected true or false")
    return value


def _rates(name: str, value: Any) -> tuple[float, ...]:
    return tuple(sorted(_each(name, "learning_rate", value)))


def _rules(name: str, value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise InputError(f"{name}: {shown(value)}; expected a table: rule = [specification, ..]")
    return {
        check_field("rule", rule): _each(name, "rule", listed) for rule, listed in value.items()
    }


_READERS = {
    "ensemble": _word,
    "selection_seeds": lambda name, value: _each(name, "seed", value),
    "fresh_seeds": lambda name, value: _each(name, "seed", value),
    "learning_rates": _rates,
    "alternatives": _rules,
    "threat_model": _word,
    "everything": _flag,
}
