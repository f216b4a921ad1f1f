"""The page of runs on real devices that were played again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hgobench.results.rows import plain

from .page import Page, Table

if TYPE_CHECKING:
    from hgobench.devices.replay import Replayed

STORED = {True: "the same", False: "another", None: "not there"}


def page(runs: Sequence[Replayed]) -> Page:
    """Return what became of each run."""
    rows: list[list[Any]] = []
    for run in runs:
        scenario = run.scenario
        model = "the same, bit by bit"
        if run.differs:
            model = f"another from round {run.differs} on, by {run.largest:.2g} at most"
        rounds = f"{run.rounds}" if run.over else f"{run.rounds} of {scenario.rounds}, unfinished"
        rows.append(
            [run.ruleset, scenario.algorithm, scenario.rule, scenario.attack, scenario.seed,
             rounds, model, STORED[run.stored]]
        )  # fmt: skip
    header = ["ruleset", "algorithm", "rule", "attack", "seed", "rounds", "model", "in the store"]
    content = [
        {
            "ruleset": run.ruleset,
            "scenario": run.scenario.to_dict(),
            "rounds": run.rounds,
            "over": run.over,
            "differs": run.differs or None,
            "largest": plain(run.largest),
            "stored": run.stored,
        }
        for run in runs
    ]
    table = Table("replay", "", header, rows, keep=6)
    return Page("replay", "Replayed", [table], content=content)
