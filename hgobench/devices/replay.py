"""Runs on real devices again, from the replies that their server kept."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from hgobench.errors import InputError
from hgobench.results import open_store
from hgobench.results.result import COLUMNS, Result
from hgobench.results.rows import plain
from hgobench.scenario import Scenario

from .log import Log
from .server import Run


class Replayed(NamedTuple):
    """What the kept replies of a run make.

    Attributes:
        scenario: the run's.
        ruleset: under which its result is kept.
        rounds: how many there are.
        over: whether it has ended.
        differs: the first round whose model is another than it was; 0: none.
        largest: the largest difference of a parameter, in any round.
        stored: whether the result in the store says the same; None: there is none.
    """

    scenario: Scenario
    ruleset: str
    rounds: int
    over: bool
    differs: int
    largest: float
    stored: bool | None

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differs and self.stored is not False


def replayed(results: Path) -> list[Replayed]:
    """Play all runs again whose replies are kept in a folder of results.

    Raises:
        InputError: there are none, or they can't be read.
    """
    logs = Log.all(results)
    if not logs:
        raise InputError(f"{results}: no replies of real devices; expected them in replies/")
    known: dict[tuple[str, str], Result] = {}
    if any(path.is_file() for path in results.iterdir()):
        with open_store(results, create=False) as store:
            for ruleset, result in store.results():
                known[ruleset, result.scenario.digest] = result
    return [_replayed(log, known) for log in logs]


def _replayed(log: Log, known: dict[tuple[str, str], Result]) -> Replayed:
    scenario, ruleset = log.run()
    run = Run(scenario, log)
    differs, largest = 0, 0.0
    for k, heard, params in log.rounds():
        run.play(heard)
        mine = run.params
        if len(params) != len(mine):
            raise InputError(f"{log.folder}: round {k}: {len(params)} parameters, not {len(mine)}")
        if not np.array_equal(mine, params, equal_nan=True):
            differs = differs or k
            with np.errstate(invalid="ignore"):
                largest = max(largest, float(np.abs(mine - params).max()))
    stored = None
    if (kept := known.get((ruleset, scenario.digest))) is not None:
        made = run.result()
        stored = made.status == kept.status and made.right == kept.right
        for name in COLUMNS:
            mine_, theirs = made.rounds[name], kept.rounds.get(name, ())
            stored &= [plain(value) for value in mine_] == [plain(value) for value in theirs]
    return Replayed(scenario, ruleset, run.k, run.over, differs, largest, stored)
