"""What folders hold: results by their rulesets, ranked, and how far each has come."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from hgobench.audits.base import RULESET as AUDITS
from hgobench.boundary import PluginError
from hgobench.comparison import stated
from hgobench.errors import InputError
from hgobench.evaluation.evaluate import Reported, chooses, choosing, selected, verdicts
from hgobench.evaluation.selection import Selection
from hgobench.leaderboard import BOARD, Board, Boards, Row, Score
from hgobench.paper.figures import RULESET as PAPER
from hgobench.results import Result, Store, open_store
from hgobench.results.result import TARGETED
from hgobench.results.sqlite import FILE
from hgobench.scenario import ATTACK, Scenario
from hgobench.suite import Suite

from .again import suite_of
from .studies import holds_pages

X = ("round", "time units", "megabytes sent")
Y = (
    "test accuracy", "test loss", "validation accuracy", "coordinates updated", "answers",
    "attack success",
)  # fmt: skip
DIGITS = 5  # of the numbers of curves


@dataclass(frozen=True)
class Run:
    """What pages tell of a cell besides its score.

    Attributes:
        address: in the store.
        summary: the run in a few numbers (`Result.summary`).
        facts: the number of what it was computed with, in `Held.facts`.
        curve: column to its value at each evaluation; of what happens in every round, the mean
            since the evaluation before.
    """

    address: str
    summary: Mapping[str, Any]
    facts: int
    curve: Mapping[str, Sequence[float | None]]


@dataclass
class Held:
    """The results of a ruleset in a folder.

    Attributes:
        folder: as it was named.
        ruleset: the ruleset.
        name: of its files, unique in a site.
        title: what pages call it: the ruleset, and the folder if several hold it.
        runs: its cells.
        scores: their scores.
        facts: the different things that its cells were computed with.
        selections: what was chosen for its rows; empty: attacks are an axis of the grid.
        choosing: how many cells there are that only choose.
        damaged: how many rows of its folder can't be read.
        trouble: why there are no boards; empty: there are.
        suites: those beside hgobench's whose cells may be missing, by their files.
    """

    folder: str
    ruleset: str
    name: str
    title: str = ""
    runs: dict[Scenario, Run] = field(default_factory=dict)
    scores: dict[Scenario, Score] = field(default_factory=dict)
    facts: list[dict[str, str]] = field(default_factory=list)
    selections: Sequence[Selection] = ()
    choosing: int = 0
    damaged: int = 0
    trouble: str = ""
    suites: Mapping[str, Suite] = field(default_factory=dict)

    @cached_property
    def suite(self) -> tuple[Suite, str] | None:
        """The suite that it is of, and the command that runs it; None: it is not known."""
        return suite_of(self.ruleset, self.suites)

    @cached_property
    def reported(self) -> Reported:
        """What its results come to."""
        return Reported(self.scores, self.selections, verdicts(self.selections, self.scores))

    @cached_property
    def boards(self) -> Boards:
        """Its boards; none if there is trouble, which is noted."""
        try:
            return self.reported.boards()
        except (InputError, PluginError) as error:
            self.trouble = " ".join(str(error).split())
            return Boards()

    @cached_property
    def varying(self) -> list[str]:
        """The fields in which its cells differ."""
        stated = [cell.to_dict() for cell in self.runs]
        names = stated[0] if stated else ()
        return [name for name in names if len({fields[name] for fields in stated}) > 1]

    @cached_property
    def lacking(self) -> list[tuple[Selection, int, int]]:
        """Rows that lack cells: what was chosen, how many cells are here, and of how many."""
        counted = []
        for one in self.selections:
            with suppress(InputError):  # a plug-in is not here, as the boards say
                cells = [cell for some in one.fresh.values() for cell in some]
                counted.append((one, sum(cell in self.scores for cell in cells), len(cells)))
        return [(one, here, of) for one, here, of in counted if here < of]

    def selection(self, row: Row) -> Selection | None:
        """Return what was chosen for a row; None: nothing."""
        return self._selected.get(row.scores[0].row)

    @cached_property
    def _selected(self) -> dict[Scenario, Selection]:
        return {one.given: one for one in self.selections}

    def row_name(self, row: Row) -> str:
        """Return the name of a row's files, the same as long as the row is the same."""
        return f"row-{self._digest(row.scores[0].row, of_rows=True)}"

    def waiting_name(self, selection: Selection) -> str:
        """Return the name of the files of a row that is on no board yet."""
        return f"row-{self._digest(selection.given, of_rows=True)}"

    def board_name(self, board: Board) -> str:
        """Return the name of a board's files."""
        return f"board-{self._digest(board.rows[0].scores[0].row, of_rows=False)}"

    def _digest(self, row: Scenario, of_rows: bool) -> str:
        own = ATTACK if self.selections else ("attack",)
        names = row.of_role(*BOARD, "defence") if of_rows else row.of_role(*BOARD)
        told = {name: value for name, value in row.to_dict().items() if name in names}
        content = json.dumps([self.name, {n: v for n, v in told.items() if n not in own}])
        return hashlib.sha256(content.encode()).hexdigest()[:10]

    def add(self, address: str, result: Result) -> None:
        """Take a cell in."""
        facts = {name: stated(value) for name, value in sorted(result.provenance.items())}
        if facts not in self.facts:
            self.facts.append(facts)
        try:
            self.scores[result.scenario] = Score.of(result, address=address)
        except InputError as error:
            self.trouble = "; ".join(error.problems)
        run = Run(address, result.summary, self.facts.index(facts), curve(result))
        self.runs[result.scenario] = run


def read(folders: Iterable[str | Path], suites: Iterable[str | Path] = ()) -> list[Held]:
    """Read folders of results; what audits and figures have computed makes no boards.

    Args:
        folders: the folders.
        suites: files of suites of one's own, whose missing cells are counted.

    Raises:
        InputError: there is no store, or it can't be read; there is no such suite, or no folder
            holds results of it.
    """
    own = {str(name): Suite.load(name) for name in suites}
    every: list[Held] = []
    for folder in folders:
        if holds_pages(folder) and not Path(folder, FILE).exists():
            continue  # pages alone
        with open_store(folder, create=False) as store:
            every += _read(str(folder), store)
    taken: set[str] = set()
    counts = Counter(held.ruleset for held in every)
    for held in every:
        held.title = held.ruleset
        if counts[held.ruleset] > 1:
            held.title += f" in {held.folder}"
        slug = re.sub(r"[^a-z0-9]+", "-", held.ruleset.lower()).strip("-")[:40] or "ruleset"
        names = (slug if i == 1 else f"{slug}-{i}" for i in range(1, len(every) + 1))
        held.name = next(name for name in names if name not in taken)
        taken.add(held.name)
        held.suites = own
    known = {held.ruleset.partition(" with ")[0] for held in every}
    if unused := [name for name, suite in own.items() if suite.ruleset not in known]:
        listed = ", ".join(map(repr, sorted(known))) or "none"
        raise InputError(
            f"suites: {name}: no folder holds results of ruleset {own[name].ruleset!r}; they hold "
            f"{listed}"
            for name in unused
        )
    return every


def _read(folder: str, store: Store) -> list[Held]:
    by_ruleset: dict[str, Held] = {}
    only_choose: dict[str, int] = {}
    whole = 0
    for address, ruleset, result in store.entries():
        whole += 1
        if ruleset in (AUDITS, PAPER):
            continue
        if chooses(ruleset):
            only_choose[ruleset] = only_choose.get(ruleset, 0) + 1
            continue
        held = by_ruleset.setdefault(ruleset, Held(folder, ruleset, ""))
        held.add(address, result)
    for ruleset in only_choose:
        own = ruleset.removesuffix(choosing(""))
        if own != AUDITS:
            by_ruleset.setdefault(own, Held(folder, own, "")).choosing = only_choose[ruleset]
    for ruleset, held in by_ruleset.items():
        held.selections = selected(store, ruleset)
        held.damaged = max(len(store) - whole, 0)
    return [by_ruleset[ruleset] for ruleset in sorted(by_ruleset)]


def curve(result: Result) -> dict[str, list[float | None]]:
    """Return what a cell's curves show (`Run.curve`).

    >>> from hgobench import Scenario, run
    >>> shown = curve(run(Scenario(workers=20, rounds=4, evaluation_interval=2)))
    >>> shown["round"], shown["answers"], len(shown["test accuracy"])
    ([2.0, 4.0], [20.0, 20.0], 2)
    """
    rounds = result.rounds
    at = [i for i, accuracy in enumerate(rounds["test_accuracy"]) if not math.isnan(accuracy)]
    spans = list(pairwise([0, *(i + 1 for i in at)]))
    sent = [up + down for up, down in zip(rounds["bytes_up"], rounds["bytes_down"], strict=True)]
    totals = [math.fsum(sent[:end]) / 1e6 for _, end in spans]
    columns = {
        "round": [rounds["round"][i] for i in at],
        "time units": [rounds["time"][i] for i in at],
        "megabytes sent": totals,
        "test accuracy": [rounds["test_accuracy"][i] for i in at],
        "test loss": [rounds["test_loss"][i] for i in at],
        "validation accuracy": [rounds["validation_accuracy"][i] for i in at],
        "coordinates updated": [fmean(rounds["block_size"][a:b]) for a, b in spans],
        "answers": [fmean(rounds["heard"][a:b]) for a, b in spans],
    }
    if TARGETED in rounds:
        columns["attack success"] = [rounds[TARGETED][i] for i in at]
    return {name: list(map(_short, values)) for name, values in columns.items()}


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
