"""Somebody's results, checked: what can be without running anything, then a sample is run again.

Cells are drawn at random. On the same kind of processor, with the same versions and sources, a cell
that is run again is the same to the last bit. Elsewhere last bits differ, and now and then a cell
by several hundredths: there the mean paired difference over the sample is tested.
"""

from __future__ import annotations

import random
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hgobench import catalogue
from hgobench.arguments import check_arguments, fields, instance, optional
from hgobench.cards.card import Card, load, printed
from hgobench.cards.check import examined
from hgobench.cards.plugins import check_sources
from hgobench.cards.rules import Rules
from hgobench.comparison import Cell, Fact, Pair, facts_of, pair
from hgobench.data.datasets import Description
from hgobench.engines.cells import described
from hgobench.errors import InputError
from hgobench.evaluation.evaluate import chooses, choosing, played, selected
from hgobench.evaluation.recheck import chosen_otherwise
from hgobench.evaluation.selection import Selection
from hgobench.leaderboard import Spent
from hgobench.reading import refusing
from hgobench.results import Result, open_store
from hgobench.results.address import Addresses, code_stated
from hgobench.results.choice import as_choices, choice, none_met
from hgobench.scenario import Scenario, integer
from hgobench.session import Session, check
from hgobench.settings import Setting
from hgobench.statistics import LEVEL, Difference, Outcomes
from hgobench.statistics import compare as tested
from hgobench.statistics.power import CAUTION, cautious, detectable, found_by_chance
from hgobench.suite import Suite

SAMPLE = 20
MOST = 10**7  # cells
POWER = 0.8  # of what is said to be found
MOVED = 0.02  # how far rounding moves a cell that it moves; what is known where no cell moved
BEYOND = 0.1  # no processor's rounding moves the accuracy of a cell farther
LISTED = 5  # cells of one kind of problem
LONGEST = 400  # characters of what is said of one
# Where all of these agree, so do all bits.
SAME_KIND = ("code", "torch", "numpy", "machine", "processor", "system", "blas", "device")


@dataclass(frozen=True)
class Claimed:
    """A cell as somebody's results have it.

    Attributes:
        address: of the result.
        cell: the cell.
    """

    address: str
    cell: Cell

    @property
    def scenario(self) -> Scenario:
        """Its scenario."""
        return self.cell.score.scenario


@dataclass(frozen=True)
class Again:
    """A cell that was run again.

    Attributes:
        claimed: what it was run for.
        pair: the claimed cell, and what it came to here.
        same_kind: whether both were computed with the same, so that they must agree in all bits.
    """

    claimed: Claimed
    pair: Pair
    same_kind: bool

    @property
    def raised(self) -> float:
        """The claimed accuracy less the one here."""
        return -self.pair.difference


@dataclass(frozen=True)
class Verification:
    """What came of checking somebody's results.

    Attributes:
        where: the folder or the card.
        claimed: how many cells there are.
        usable: of how many of them the data are here, so that they could be drawn.
        draw: the seed by which cells were drawn.
        problems: what is wrong, each in a sentence.
        suspicions: what is seldom right.
        notes: what could not be checked.
        again: the cells that were run again.
        overall: the mean of the claimed accuracies less those here, over the cells that need not
            agree in all bits; None: there are none.
        least: the smallest forgery of all cells alike that such a sample finds with a probability
            of 80 %; None: it is too small.
        few: the least number of cells that, if they were changed, such a sample finds with a
            probability of 80 %; None: nothing was run.
        provenance: in what the sample was computed otherwise.
    """

    where: str
    claimed: int
    usable: int
    draw: int
    problems: Sequence[str]
    suspicions: Sequence[str]
    notes: Sequence[str]
    again: Sequence[Again]
    overall: Difference | None
    least: float | None
    few: int | None
    provenance: Sequence[Fact]

    @property
    def confirmed(self) -> bool:
        """Whether nothing is wrong, and some cells were run."""
        return not self.problems and bool(self.again)

    @property
    def identical(self) -> int:
        """How many cells of the sample are the same to the last bit."""
        return sum(not one.pair.changed for one in self.again)

    def __str__(self) -> str:
        from hgobench.report.render import terminal
        from hgobench.report.verification import page

        return terminal(page(self))

    def as_data(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        return {
            "where": self.where,
            "claimed": self.claimed,
            "usable": self.usable,
            "draw": self.draw,
            "confirmed": self.confirmed,
            "problems": list(self.problems),
            "suspicions": list(self.suspicions),
            "notes": list(self.notes),
            "sample": len(self.again),
            "identical": self.identical,
            "overall": None if self.overall is None else asdict(self.overall),
            "least": self.least,
            "few": self.few,
            "provenance": [asdict(fact) for fact in self.provenance],
            "cells": [
                {
                    "address": one.claimed.address,
                    "ruleset": one.claimed.cell.ruleset,
                    "scenario": one.claimed.scenario.to_dict(),
                    "claimed": one.pair.a.accuracy,
                    "here": one.pair.b.accuracy,
                    "changed": list(one.pair.changed),
                    "same_kind": one.same_kind,
                }
                for one in self.again
            ],
        }


@dataclass
class _Read:
    """What a folder or a card claims, and what is wrong before anything is run."""

    where: str
    cells: list[Claimed]
    selections: Mapping[str, Sequence[Selection]]
    problems: list[str]
    suspicions: list[str]
    notes: list[str]
    card: Card | None = None


def verify(
    results: str | Path,
    *,
    sample: int = SAMPLE,
    draw: int | None = None,
    where: Mapping[str, Any] | None = None,
    suite: str | Suite | None = None,
    jobs: int = 0,
) -> Verification:
    """Check somebody's results, and run some of their cells again.

    Before anything is run: damaged rows, addresses, data, plug-ins' sources and rulesets; of a card
    all that its cells determine; of rows whose attacks were chosen, whether the cells that choose
    come to the same choice.

    Args:
        results: a folder of results, or a card.
        sample: how many cells are run again; at most as many as there are.
        draw: a seed, by which cells are drawn; None: another one each time, so that nobody knows
            beforehand which.
        where: which cells, as for `hgobench.compare`.
        suite: the suite of its ruleset, if it does not come with hgobench.
        jobs: local processes; 0: one per core.

    Raises:
        InputError: there are no results, or a plug-in's source is not here, or differs.
        Interrupted: Ctrl-C ended it.

    Example:
        >>> from hgobench import run
        >>> with tempfile.TemporaryDirectory() as folder, open_store(folder) as store:
        ...     for seed in (0, 1):
        ...         store.add(run(Scenario(workers=20, rounds=1, seed=seed)), "mine-1")
        ...     found = verify(folder, sample=1, jobs=1)
        >>> found.confirmed, len(found.again), found.identical
        (True, 1, 1)
    """
    check_arguments(
        results=(instance("a folder of results, or a card", str, Path), results),
        sample=(integer(1, MOST), sample),
        draw=(integer(0, 2**64 - 1, optional=True), draw),
        where=(optional(fields), where),
        suite=(optional(instance("a suite", str, Suite)), suite),
    )
    read_suite = Suite.load(suite) if isinstance(suite, str) else suite
    return verified(Path(results), sample, draw, as_choices(where), read_suite, jobs=jobs)


def verified(
    results: Path,
    sample: int,
    draw: int | None,
    where: Sequence[Setting] = (),
    suite: Suite | None = None,
    *,
    jobs: int = 0,
    progress: bool | Literal["json"] = False,
) -> Verification:
    """Do what `verify` does, with a suite that is read."""
    read = _card(results, suite) if results.is_file() else _folder(results, suite)
    if where:
        every = [(c.cell.ruleset, c.scenario) for c in read.cells]
        meant = choice(where, every, "verify")
        read.cells = [c for c in read.cells if meant(c.cell.ruleset, c.scenario)]
        if not read.cells:
            raise none_met("verify", read.where, where, every)
    modules = None if read.card is None else read.card.content["sources"]["modules"]
    check_sources([c.scenario for c in read.cells], modules)
    usable = _with_our_data(read)
    _check_addresses(read, usable)
    seed = secrets.randbelow(2**32) if draw is None else draw
    by_address = sorted(usable, key=lambda one: (one.address, one.cell.ruleset))
    count = min(sample, len(by_address))
    chosen = random.Random(seed).sample(by_address, count) if count else []
    again, impossible = _run(chosen, read.card is not None, jobs, progress)
    problems, overall, least = _judged(again)
    few = found_by_chance(len(usable), len(again), wanted=POWER) if again else None
    return Verification(
        read.where,
        len(read.cells),
        len(usable),
        seed,
        [*read.problems, *impossible, *problems],
        read.suspicions,
        read.notes,
        again,
        overall,
        least,
        few,
        facts_of(one.pair for one in again),
    )


def _card(path: Path, suite: Suite | None) -> _Read:
    """Read a card.

    Raises:
        InputError: it is no card that could be run again.
    """
    found = examined(Card(str(path), load(path)), suite)
    if found.card is None:
        raise InputError(f"card: {str(path)!r}: {problem}" for problem in found.problems)
    card = found.card
    cells = [
        Claimed(cell["address"], one)
        for cell, one in zip(card.content["cells"], card.cells, strict=True)
    ]
    selections = {} if card.selection is None else {card.ruleset: [card.selection]}
    notes = list(found.notes)
    if selections:
        notes.append(
            "which attacks and parameters were chosen is checked by the accuracies that the card "
            "states of selection seeds; these runs are no cells of the card: verify the folder"
        )
    problems, suspicions = map(str, found.problems), map(str, found.suspicions)
    return _Read(str(path), cells, selections, [*problems], [*suspicions], notes, card)


def _folder(folder: Path, suite: Suite | None) -> _Read:
    """Read a folder of results."""
    with open_store(folder, create=False, say=lambda text: None) as store:
        damaged = store.damaged()
        by_ruleset: dict[str, list[tuple[str, Result]]] = {}
        for key, ruleset, result in store.entries():
            by_ruleset.setdefault(ruleset, []).append((key, result))
        with refusing(f"verify: {str(folder)!r}: what was chosen for rows", "a whole record"):
            selections = {name: selected(store, name) for name in by_ruleset}
    if not by_ruleset and not damaged:
        raise InputError(f"verify: {str(folder)!r}: holds no results")
    problems = _some(
        [f"{row.key[:12]} of {row.ruleset or 'unknown'}: {row.problem}" for row in damaged],
        "damaged rows",
    )
    read = _Read(str(folder), [], {n: s for n, s in selections.items() if s}, problems, [], [])
    for ruleset, entries in by_ruleset.items():
        cells = [Claimed(key, Cell.of(ruleset, result, "test")) for key, result in entries]
        read.cells += cells
        if not chooses(ruleset):
            _check_ruleset(read, ruleset, [c.scenario for c in cells], suite)
    for ruleset, chosen in read.selections.items():
        results = [result for _, result in by_ruleset.get(choosing(ruleset), [])]
        told = {result.scenario: played(result) for result in results}
        with refusing(f"verify: {ruleset}: what was chosen for rows", "a whole record"):
            otherwise = [f"{ruleset}: {text}" for text in chosen_otherwise(chosen, told)]
        if all(result.provenance.get("code") == code_stated() for result in results):
            read.problems += otherwise
        elif otherwise:
            read.notes.append(
                f"{ruleset}: what was chosen for {len(otherwise)} rows can't be chosen again here: "
                "it was chosen by other sources of hgobench, which may have had other attacks"
            )
    return read


def _check_ruleset(
    read: _Read, ruleset: str, cells: Sequence[Scenario], suite: Suite | None
) -> None:
    """Note cells that are none of the suite's."""
    rules = Rules.of(ruleset, suite)
    if rules is None and suite is not None:
        read.problems.append(f"ruleset: {ruleset!r}; the suite is {suite.ruleset!r}")
    elif rules is None:
        read.notes.append(
            f"ruleset {ruleset!r} is no suite of hgobench's: whether the cells are those of its "
            "suite is not checked (--suite FILE)"
        )
    else:
        chosen = read.selections.get(ruleset, ())
        if (rules.plan is None) == bool(chosen) or any(s.plan != rules.plan for s in chosen):
            read.problems.append(f"{ruleset}: its rows are evaluated in another way")
            return
        given = [one.given for one in chosen] if chosen else list(cells)
        strange = [text for cell in given if (text := rules.strange(cell))]
        what = "rows" if chosen else "cells"
        read.problems += [
            f"{ruleset}: {text}" for text in _some(strange, f"{what} that are none of its suite's")
        ]
        if strange:
            return
        lacking = _reported(chosen) - {*cells} if chosen else rules.lacking(cells)
        read.problems += [
            f"{ruleset}: {text}"
            for text in _some(
                [_named(cell) for cell in lacking],
                "cells of its rows are missing, and a worst case over fewer attacks or seeds is "
                "not the suite's; hgobench run adds them",
            )
        ]


def _reported(selections: Sequence[Selection]) -> set[Scenario]:
    """Return the cells on fresh seeds that rows report."""
    return {
        cell
        for one in selections
        for name in ("none", *one.reported)
        for cell in one.under(name, one.plan.fresh_seeds)
    }


def _some(texts: Sequence[str], what: str) -> list[str]:
    """Return a sentence on some texts, of which a few are named; none: nothing."""
    if not texts:
        return []
    named = list(dict.fromkeys(t if len(t) <= LONGEST else f"{t[:LONGEST]} .." for t in texts))
    more = f"; and {len(named) - LISTED} more" if len(named) > LISTED else ""
    return [f"{len(texts)} {what}: {'; '.join(named[:LISTED])}{more}"]


def _with_our_data(read: _Read) -> list[Claimed]:
    """Return the cells whose data are those that are here; note the others."""
    names = sorted({one.scenario.data for one in read.cells})
    known = described(names)
    wrong: dict[str, str] = {}
    for name in names:
        data = known[name]
        if not isinstance(data, Description):
            assert isinstance(data, InputError)
            wrong[name] = "; ".join(data.problems)
            continue
        for one in read.cells:
            stated = one.cell.provenance.get("data")
            if one.scenario.data == name and stated != data.digest:
                told = f"{str(stated)[:12]} there" if stated else "not stated there"
                wrong[name] = f"data: {name!r} is not the same: {told}, {data.digest[:12]} here"
    for name, text in wrong.items():
        count = sum(one.scenario.data == name for one in read.cells)
        read.problems.append(f"{text}; {count} cells can't be run again")
    return [one for one in read.cells if one.scenario.data not in wrong]


def _check_addresses(read: _Read, cells: Sequence[Claimed]) -> None:
    """Note addresses that are not those of what they are of.

    Raises:
        InputError: what computed a plug-in's cell is not what is here under that name.
    """
    ours = [one for one in cells if one.cell.provenance.get("code") == code_stated()]
    if len(ours) < len(cells):
        read.notes.append(
            f"{len(cells) - len(ours)} cells were computed by other sources of hgobench: their "
            "addresses can't be checked, and bits need not be the same"
        )
    made: dict[tuple[str, str], Addresses] = {}
    wrong, foreign = [], set[str]()
    for one in ours:
        facts = one.cell.provenance
        key = one.cell.ruleset, str(facts.get("device", "cpu"))
        if key not in made:
            digests = {c.scenario.data: str(c.cell.provenance["data"]) for c in ours}
            made[key] = Addresses(*key, digests)
        if made[key].of(one.scenario) == one.address:
            continue
        named = catalogue.foreign(one.scenario.to_dict())
        foreign.update(named)
        if not named:
            wrong.append(f"{one.address[:12]} ({one.scenario!r})")
    if foreign:
        raise InputError(
            f"verify: {', '.join(sorted(foreign))}: what is here under that name is not what "
            "computed the results, or their ruleset or scenario was changed; put the source that "
            "computed them beside"
        )
    read.problems += _some(
        wrong,
        "addresses that are not those of their ruleset, scenario, data and sources: one of them "
        "was changed",
    )


def _run(
    chosen: Sequence[Claimed], of_card: bool, jobs: int, progress: bool | Literal["json"]
) -> tuple[list[Again], list[str]]:
    """Run cells again, away from the results that they are of; say which can't be run at all."""
    found: dict[tuple[str, Scenario], Cell] = {}
    by_ruleset: dict[str, list[tuple[Claimed, Scenario]]] = {}
    impossible = []
    for one in chosen:
        try:
            runnable = _runnable(one.scenario)
        except InputError as error:
            impossible.append(f"{_named(one.scenario)}: {'; '.join(error.problems)}")
        else:
            by_ruleset.setdefault(one.cell.ruleset, []).append((one, runnable))
    with tempfile.TemporaryDirectory(prefix="hgobench-verify-") as name, open_store(name) as store:
        session = Session(store, jobs=jobs, progress=progress)
        for ruleset, several in by_ruleset.items():

            def take(key: str, result: Result, ruleset: str = ruleset) -> None:
                provenance = {"code": code_stated(), **result.provenance}
                cell = Cell.of(ruleset, replace(result, provenance=provenance), "test")
                if of_card:
                    cell = replace(cell, prints={"rounds": printed(cell)})
                found[ruleset, result.scenario] = cell

            cells = list(dict.fromkeys(scenario for _, scenario in several))
            check(session.run(cells, ruleset, on_result=take))
    told = []
    for one, _ in chain.from_iterable(by_ruleset.values()):
        here = found[one.cell.ruleset, one.scenario]
        facts = one.cell.provenance, here.provenance
        same = all(
            facts[0].get(name) is not None and facts[0].get(name) == facts[1].get(name)
            for name in SAME_KIND
        )
        told.append(Again(one, _paired(one.cell, here), same))
    return told, _some(impossible, "cells that no run can have had")


def _paired(there: Cell, here: Cell) -> Pair:
    """Pair two cells; a card's prints are of the rounds, and say nothing of what is beside them."""
    made = pair(there, here)
    beside = ("accuracy", "live", "exceeded", "outvoted", "late", "spent")
    differ = [n for n in beside if getattr(there.score, n) != getattr(here.score, n)]
    return replace(made, changed=(*made.changed, *(n for n in differ if not made.changed)))


def _runnable(scenario: Scenario) -> Scenario:
    """Return a scenario that is checked.

    Raises:
        InputError: it can't be run.
    """
    return Scenario(**{name: getattr(scenario, name) for name in scenario.declarations()})


def _judged(again: Sequence[Again]) -> tuple[list[str], Difference | None, float | None]:
    """Return what is wrong with a sample, its mean difference, and the least forgery it finds."""
    strict = [one for one in again if one.same_kind]
    loose = [one for one in again if not one.same_kind]
    problems = _some(
        [
            f"{_named(one.claimed.scenario)}: {one.pair.a.accuracy:.4f} there, "
            f"{one.pair.b.accuracy:.4f} here"
            + f" ({', '.join(one.pair.changed)} differ)"
            * (one.raised == 0)
            for one in sorted(strict, key=lambda one: -abs(one.raised))
            if one.pair.changed
        ],
        f"of {len(strict)} cells that were run again on the same kind of processor are not the "
        "same to the last bit",
    )
    problems += _some(
        [
            f"{_named(one.claimed.scenario)}: {one.pair.a.accuracy:.4f} there, "
            f"{one.pair.b.accuracy:.4f} here"
            for one in sorted(loose, key=lambda one: -abs(one.raised))
            if abs(one.raised) > BEYOND
        ],
        f"of {len(loose)} cells differ by more than {BEYOND:g}, which rounding does not explain",
    )
    problems += _some(
        [f"{_named(one.claimed.scenario)}: {text}" for one in loose if (text := _far(one.pair))],
        f"of {len(loose)} cells differ in what else is told of them, by more than rounding "
        "explains",
    )
    if not loose:
        return problems, None, None
    overall, least = mean_difference(
        np.array([one.pair.a.accuracy for one in loose]),
        np.array([one.pair.b.accuracy for one in loose]),
    )
    if overall.verdict != "too few seeds" and overall.p <= LEVEL:
        problems.append(
            f"the accuracies there are {overall.difference:+.4f} off those here, in the mean over "
            f"{len(loose)} cells (95 %: {overall.low:+.4f} to {overall.high:+.4f}, "
            f"p = {overall.p:.2g})"
        )
    return problems, overall, least


def _far(found: Pair) -> str:
    """Say in what, besides accuracy, two cells differ by more than a tenth; empty: in nothing."""
    there, here = found.a.score, found.b.score
    told = []
    if (there.spent is None) != (here.spent is None):
        told.append("what the run took is told on one side alone")
    if there.spent is not None and here.spent is not None:
        for name, a, b in zip(Spent._fields, there.spent, here.spent, strict=True):
            if abs(a - b) > BEYOND * max(abs(a), abs(b)):
                told.append(f"{name} is {a:g} there, {b:g} here")
    for name in ("live", "exceeded", "outvoted"):
        a, b = getattr(there, name), getattr(here, name)
        if abs(a - b) > BEYOND:
            told.append(f"{name} is {a:.4f} there, {b:.4f} here")
    if there.late != here.late:
        told.append(f"late is {there.late} there, {here.late} here")
    return ", ".join(told)


def mean_difference(
    there: np.ndarray[Any, np.dtype[np.float64]], here: np.ndarray[Any, np.dtype[np.float64]]
) -> tuple[Difference, float | None]:
    """Return the mean difference of a sample of cells, and the least forgery that it finds.

    The test and the interval are those of two rows on the same seeds, with cells in their place:
    cells are drawn at random, and rounding moves each up as often as down. The least forgery is the
    one, of all cells alike, that this test finds with a probability of 80 % if the spread of the
    differences is at the upper 80 % limit of what the sample shows, be it that no cell moved.

    Args:
        there: (n,) accuracies that were claimed.
        here: (n,) of the same cells.

    >>> there = np.array([0.9, 0.8, 0.7, 0.9, 0.8, 0.7, 0.6, 0.9])
    >>> moved = there + np.array([0.01, -0.01, 0.0, 0.0, 0.01, 0.0, -0.01, 0.0])
    >>> found, least = mean_difference(there, moved)
    >>> found.verdict, round(least, 3)
    ('not told apart', 0.012)
    """
    found = tested(Outcomes(there[None]), Outcomes(here[None]))
    return found, detectable(len(there), _spread(there - here), wanted=POWER)


def _spread(differences: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Return the upper limit of the variance that some differences show, most of which may be 0.

    That none of a few cells moved does not say that none does. With m of n moved it is the larger
    of the limit for a normal distribution and p (Σd² + MOVED²) / (m + 1), with p the upper 80 %
    limit of the share of cells that move (Clopper and Pearson), and one cell besides.
    """
    from scipy.stats import beta

    n, moved = len(differences), int(np.count_nonzero(differences))
    share = 1.0 if moved == n else float(beta.ppf(CAUTION, moved + 1, n - moved))
    sparse = share * (float(np.sum(differences**2)) + MOVED**2) / (moved + 1)
    normal = cautious(float(np.var(differences, ddof=1)), n) if n > 1 else 0.0
    return max(sparse, normal)


def _named(scenario: Scenario) -> str:
    return f"{scenario.algorithm} {scenario.rule} {scenario.attack} seed {scenario.seed}"
