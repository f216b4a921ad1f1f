"""Whether cells are those of the suite that their ruleset names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hgobench.catalogue import foreign
from hgobench.errors import InputError
from hgobench.evaluation.plan import CHOSEN, Plan
from hgobench.leaderboard import order
from hgobench.resolution import Resolved
from hgobench.scenario import ATTACK, Scenario
from hgobench.settings import parse_setting
from hgobench.site.again import suite_of
from hgobench.suite import Suite

# A rule of one's own beside a suite's leaves the ruleset what it is, and these follow from it.
OWN = ("rule", *Resolved._fields)


@dataclass(frozen=True)
class Rules:
    """The cells of a suite, by which those of a ruleset are judged.

    Attributes:
        suite: the suite, with the changes that the ruleset's name says.
    """

    suite: Suite

    @classmethod
    def of(cls, ruleset: str, suite: Suite | None = None) -> Rules | None:
        """Return those of a ruleset; None: it is no suite's that is known.

        Args:
            ruleset: the name.
            suite: a suite of one's own, besides those that come with hgobench.

        >>> Rules.of("mine-1") is None, Rules.of("smoke-2").suite.ruleset
        (True, 'smoke-2')
        """
        known = suite_of(_without_own_rules(ruleset), {} if suite is None else {"own": suite})
        return None if known is None else cls(known[0])

    @property
    def plan(self) -> Plan | None:
        """How its attacks are chosen; None: they are an axis of its grid."""
        return self.suite.evaluation

    @cached_property
    def _names(self) -> list[str]:
        """The fields in which its cells are held against others."""
        free = {*CHOSEN, *ATTACK} if self.plan is not None else set[str]()
        return [name for name in Scenario.declarations() if name not in free]

    @cached_property
    def _cells(self) -> dict[tuple[Any, ...], Scenario]:
        cells, _ = self.suite.expand()
        return {self._values(cell): cell for cell in cells}

    @cached_property
    def _whatever_rule(self) -> dict[tuple[Any, ...], Scenario]:
        return {self._values(cell, OWN): cell for cell in self._cells.values()}

    @cached_property
    def _rules(self) -> set[str]:
        return {cell.rule for cell in self._cells.values()}

    def _values(self, cell: Scenario, without: Iterable[str] = ()) -> tuple[Any, ...]:
        return tuple(getattr(cell, name) for name in self._names if name not in without)

    def strange(self, cell: Scenario) -> str:
        """Say what a cell, or a row, has that the suite's have not; empty: nothing.

        >>> cell = next(iter(Suite.load("smoke").expand()[0]))
        >>> rules = Rules.of("smoke-2")
        >>> rules.strange(cell), rules.strange(cell.replace(rounds=5))
        ('', 'rounds is 5, smoke-2 has 20')
        """
        if cell.rule in self._rules:
            if self._values(cell) in self._cells:
                return ""
        elif self._values(cell, OWN) in self._whatever_rule:
            return ""
        told = []
        for name in self._names:
            if cell.rule not in self._rules and name in OWN:
                continue
            known = {getattr(one, name) for one in self._cells.values()}
            if getattr(cell, name) not in known:
                some = " or ".join(map(str, sorted(known, key=order)[:3]))
                told.append(f"{name} is {getattr(cell, name)}, {self.suite.ruleset} has {some}")
        return ", ".join(told) or f"{self.suite.ruleset} has no such combination: {cell!r}"

    def lacking(self, cells: Sequence[Scenario]) -> list[Scenario]:
        """Return the suite's cells of a row that some cells of the row lack.

        Attacks that are chosen for each row are no cells of the suite: nothing is lacking then.
        """
        if self.plan is not None:
            return []
        by_rule: dict[str, list[Scenario]] = {}
        for cell in cells:
            by_rule.setdefault("" if cell.rule in self._rules else cell.rule, []).append(cell)
        return [
            Scenario.restore({**cell.to_dict(), "rule": rule or cell.rule})
            for rule, some in by_rule.items()
            for cell in self._lacking(some, rule)
        ]

    def _lacking(self, cells: Sequence[Scenario], rule: str) -> list[Scenario]:
        """Return those that cells of one rule lack; an empty name: those of the suite's rules."""
        apart = ("attack", *Scenario.of_role("repetition"))
        foreign = bool(rule)
        without = (*apart, *OWN) if foreign else apart
        row = {self._values(cell, without) for cell in cells}
        there = {self._values(cell, OWN if foreign else ()) for cell in cells}
        known: Mapping[tuple[Any, ...], Scenario]
        known = self._whatever_rule if foreign else self._cells
        return [
            cell
            for key, cell in known.items()
            if self._values(cell, without) in row and key not in there
        ]


def _without_own_rules(ruleset: str) -> str:
    """Return a ruleset's name without rules that are not hgobench's: they leave it what it is.

    >>> _without_own_rules("quick-3 with rounds=50 rule=mine:Rule")
    'quick-3 with rounds=50'
    >>> _without_own_rules("quick-3 with rule=krum")
    'quick-3 with rule=krum'
    """
    base, _, changes = ruleset.partition(" with ")
    kept = []
    for setting in changes.split():
        try:
            field, values = parse_setting(setting)
            if field == "rule" and any(foreign({"rule": str(value)}) for value in values):
                continue
        except InputError:
            pass  # whoever reads the name refuses it
        kept.append(setting)
    return f"{base} with {' '.join(kept)}" if kept else base


def read_suite(name: str | None) -> Suite | None:
    """Return the suite that a user names, to judge results by; None: none is named.

    Raises:
        InputError: there is no such suite.
    """
    if name is None:
        return None
    try:
        return Suite.load(name)
    except InputError as error:
        raise InputError(f"--suite: {problem}" for problem in error.problems) from None
