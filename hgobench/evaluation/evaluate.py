"""Rows are evaluated: parameters and attacks are chosen, then the worst run on fresh seeds."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from hgobench.engines.base import EngineError
from hgobench.engines.cells import Outcome, described
from hgobench.errors import InputError
from hgobench.leaderboard import Boards, Score, Split, accuracy_of, boards
from hgobench.results import Result, Store
from hgobench.scenario import Scenario

from .agenda import Agenda
from .plan import Plan
from .proof import proofs
from .selection import Answers, At, Played, Selection, select, unattacked
from .verdict import Verdict, ranked

if TYPE_CHECKING:
    from hgobench.session import Session

WHAT = "evaluation"


@dataclass
class Evaluation:
    """How the evaluation of some rows went.

    Attributes:
        outcome: how its cells went, all together.
        choosing: how those went that only choose.
        selections: what was chosen for each row; empty: it ended before.
        verdicts: what is reported of each row that has all its cells.
    """

    outcome: Outcome = field(default_factory=lambda: Outcome(set()))
    choosing: Outcome = field(default_factory=lambda: Outcome(set()))
    selections: Sequence[Selection] = ()
    verdicts: Sequence[Verdict] = ()


class _EndedEarly(Exception):
    """A run ended early; the outcome says why."""


def evaluate(
    rows: Collection[Scenario],
    plan: Plan,
    session: Session,
    ruleset: str,
    *,
    width: int | None = None,
    time_limit: float = 60.0,
    on_result: Callable[[str, Result], None] = lambda key, result: None,
    for_boards: bool = True,
) -> Evaluation:
    """Evaluate rows; what the session's store has is not computed again.

    Args:
        rows: each in its setting, without an attack.
        plan: how.
        session: where cells are computed and kept.
        ruleset: the name under which reported cells compare; those that only choose are kept
            under `choosing`, so that no board takes them for scores.
        width, time_limit: as for `Session.run`.
        on_result: given each reported result with its address.
        for_boards: whether the store keeps what is chosen, so that boards of the ruleset can be
            told from it alone.

    Returns:
        How it went. Ctrl-C and a store that can't be written end it early, which it says; the same
        call goes on.

    Raises:
        InputError: some data can't be had or have no validation examples, a row has no attackers,
            or boards would hold rows that were evaluated by another plan.
    """
    _check(rows, session, time_limit)
    done = Evaluation()
    before = selected(session.store, ruleset) if for_boards else []
    if any(selection.plan != plan for selection in before):
        raise InputError(
            f"{session.store.where}: holds rows of {ruleset!r} that were evaluated in another way; "
            "give the suite's ruleset a new version, or use another folder"
        )

    agenda = Agenda.of(rows, plan)

    def run(cells: Sequence[Scenario], name: str, take: _Take) -> Outcome:
        session.stage(agenda.stage, agenda.number, agenda.total)
        now = session.run(cells, name, width=width, time_limit=time_limit, on_result=take)
        done.outcome.add(now)
        return now

    def choose(cells: Sequence[Scenario], at: At) -> Answers:
        agenda.begin(at, len(cells))
        answers: dict[Scenario, Played] = {}

        def take(key: str, result: Result) -> None:
            answers[result.scenario] = played(result)

        now = run(cells, choosing(ruleset), take)
        done.choosing.add(now)
        if now.interrupted:
            raise _EndedEarly
        return answers

    try:
        with session.staged(len(agenda.stages), rounds=_rounds(rows)):
            chosen = select(rows, plan, choose)
            agenda.prove()
            session.stage(agenda.stage, agenda.number, agenda.total)
            known = proofs([selection.row for selection in chosen], session)
            done.selections = [
                replace(selection, kappa=kappa)
                for selection, kappa in zip(chosen, known, strict=True)
            ]
            if for_boards:
                now = {selection.given for selection in done.selections}
                others = [selection for selection in before if selection.given not in now]
                keep(session.store, ruleset, [*others, *done.selections])
            fresh = [selection.fresh for selection in done.selections]
            reported = chain.from_iterable(chain.from_iterable(one.values() for one in fresh))
            scores: dict[Scenario, Score] = {}

            def take(key: str, result: Result) -> None:
                scores[result.scenario] = Score.of(result, address=key)
                on_result(key, result)

            cells = list(dict.fromkeys(reported))
            agenda.report(len(cells))
            run(cells, ruleset, take)
            done.verdicts = verdicts(done.selections, scores)
    except _EndedEarly:
        pass
    except (KeyboardInterrupt, EngineError) as error:  # of the searches without training
        done.outcome.end(error)
    return done


def played(result: Result) -> Played:
    """Return what a search is told of a result.

    Losses are of test examples: they say which runs are the same, and no more.
    """
    pairs = zip(result.rounds["validation_accuracy"], result.rounds["test_loss"], strict=True)
    trace = tuple(loss for accuracy, loss in pairs if not math.isnan(accuracy))
    return Played(accuracy_of(result, "validation"), trace)


_Take = Callable[[str, Result], None]


def _rounds(rows: Iterable[Scenario]) -> int:
    """Return the rounds that all rows have; 0: they differ."""
    every = {row.rounds for row in rows}
    return every.pop() if len(every) == 1 else 0


def _check(rows: Collection[Scenario], session: Session, time_limit: float) -> None:
    """Raise InputError for rows that can't be evaluated."""
    if any(row.byzantine == 0 for row in rows):
        raise InputError(
            "byzantine: 0; expected 1 or more, as an evaluation attacks every row; leave 0 out, or "
            "run it in a suite without [evaluation]"
        )
    names = dict.fromkeys(row.data for row in rows)
    problems = []
    for name, data in described(names, session.jobs, session.engine, time_limit).items():
        if isinstance(data, InputError):
            problems += data.problems
        elif not data.validation:
            problems.append(
                f"data: {name!r} has no validation examples, by which an evaluation chooses "
                "attacks and parameters; hold some out (validation=0.15), or run it in a suite "
                "without [evaluation]"
            )
    if problems:
        raise InputError(problems)


def choosing(ruleset: str) -> str:
    """Return the ruleset of the cells that choose for another.

    >>> choosing("board-1")
    'board-1, choosing'
    """
    return f"{ruleset}, choosing"


def chooses(ruleset: str) -> bool:
    """Say whether cells under a ruleset only choose for another."""
    return ruleset.endswith(choosing(""))


def verdicts(selections: Sequence[Selection], scores: Mapping[Scenario, Score]) -> list[Verdict]:
    """Return what is reported of each row; rows that lack cells are left out.

    Args:
        selections: what was chosen for each.
        scores: of the cells on fresh seeds.
    """
    complete = []
    for selection in selections:
        by_member = {
            name: [scores[cell] for cell in cells]
            for name, cells in selection.fresh.items()
            if all(cell in scores for cell in cells)
        }
        if by_member.keys() >= {"none", *selection.reported}:
            complete.append(Verdict(selection, by_member))
    return complete


def keep(store: Store, ruleset: str, selections: Sequence[Selection]) -> None:
    """Keep what was chosen, so that boards can be told again from the store alone."""
    store.keep(address(ruleset), f"{WHAT} {ruleset}", [one.to_dict() for one in selections])


def selected(store: Store, ruleset: str) -> list[Selection]:
    """Return what was chosen for a ruleset's rows; empty: it is no evaluation."""
    key = address(ruleset)
    return [Selection.restore(one) for one in store.measurements([key]).get(key, ())]


@dataclass(frozen=True)
class Reported:
    """What the results of a ruleset come to, whether or not its attacks were chosen for each row.

    Attributes:
        every: the score of each result, by its cell.
        selections: what was chosen for rows; empty: attacks are an axis of the grid.
        verdicts: what is reported of those rows that have all their cells.
    """

    every: Mapping[Scenario, Score]
    selections: Sequence[Selection]
    verdicts: Sequence[Verdict]

    @property
    def scores(self) -> list[Score]:
        """The scores that boards rank."""
        if not self.selections:
            return list(self.every.values())
        return [score for verdict in self.verdicts for score in verdict.named()]

    def of(self, cells: Iterable[Scenario], plan: Plan | None) -> Reported:
        """Return what some cells alone come to.

        Args:
            cells: of a suite's grid; if attacks are chosen, its rows.
            plan: how its attacks are chosen; None: they are an axis of the grid.
        """
        if plan is None:
            wanted = {cell for cell in cells if cell in self.every}
            return Reported({cell: self.every[cell] for cell in wanted}, (), ())
        rows = {unattacked(row, plan) for row in cells}
        chosen = [one for one in self.selections if one.given in rows and one.plan == plan]
        return Reported(self.every, chosen, verdicts(chosen, self.every))

    def boards(self, by: str = "attack") -> Boards:
        """Return them ranked, as `hgobench.leaderboard.boards` does.

        Raises:
            InputError: there are no such columns.
        """
        return ranked(self.verdicts, by) if self.selections else boards(self.scores, by=by)


def reported(
    store: Store,
    ruleset: str,
    results: Iterable[Result],
    split: Split = "test",
    addresses: Mapping[Scenario, str] | None = None,
) -> Reported:
    """Return what results come to.

    Args:
        store: it may hold what was chosen for their rows.
        ruleset: theirs.
        results: all of that ruleset.
        split: which examples scores are on.
        addresses: of results in the store, by their cells; None: scores do not say them.

    Raises:
        InputError: there are no examples of the split.
    """
    known = addresses or {}
    scores = {r.scenario: Score.of(r, split, known.get(r.scenario, "")) for r in results}
    selections = selected(store, ruleset)
    return Reported(scores, selections, verdicts(selections, scores))


def address(ruleset: str) -> str:
    """Return the address of what was chosen for a ruleset's rows."""
    return hashlib.sha256(f"{WHAT} {ruleset}".encode()).hexdigest()
