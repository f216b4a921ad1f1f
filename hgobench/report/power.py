"""How many seeds are needed, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from hgobench.leaderboard import Board
from hgobench.statistics import Paired
from hgobench.statistics.power import Need

from .page import Block, Cell, Heading, Page, Table, Text

NEVER = "no number"


def page(
    suite: str,
    plans: Sequence[tuple[Board, Paired, Sequence[Need]]],
    difference: float,
    wanted: float,
    others: int = 0,
) -> Page:
    """Return how many seeds tell two rows apart that differ, a table per board.

    Args:
        suite: the pilot's ruleset, with what it was narrowed to.
        plans: boards with their ranked rows and what they need.
        difference, wanted: what was asked.
        others: how many results the folder has of the ruleset besides the pilot's.
    """
    header = ["pair", "sd", "alone", "on the board", "cautious", "least"]
    blocks: list[Block] = []
    for number, (board, paired, found) in enumerate(plans):
        rows: list[list[Cell]] = [
            [
                "median" if need.share == 0.5 else f"{need.share:.0%}",
                f"{need.deviation:.4f}",
                *(_number(n) for n in (need.alone, need.among, need.cautious)),
                f"{need.least:.3f}",
            ]
            for need in found
        ]
        pilot = f"{len(paired.value)} rows, a pilot of {paired.seeds.shape[1]} seeds"
        name = "power" if len(plans) == 1 else f"power-{number + 1}"
        blocks += [
            Heading(f"{board.title or 'all results'}: {pilot}"),
            Table(name, "", header, rows, range(1, len(header))),
        ]
    notes = [
        f"The pilot: results of {suite}. Seeds with which two rows whose worst cases differ by "
        f"{difference:g} are told apart with a probability of {wanted:g}, at 5 %.",
        "pair: median, the pair of rows whose difference varies over seeds as the median pair's; "
        "90%, more than that of nine tenths of the pairs; sd: the standard deviation of "
        "that difference.",
        "alone: for one comparison that was chosen beforehand; on the board: among all its pairs; "
        "cautious: the same if sd is at its upper 80 % limit, as so few seeds know it poorly.",
        "least: the least difference that any number of seeds tells apart among all pairs, as the "
        "test examples are as many as they are.",
    ]
    if others:
        notes.append(
            f"The folder's other {others} results of that ruleset are left out: they are of rows, "
            "settings or seeds that the suite does not have, as it is and was set."
        )
    content = {
        "ruleset": suite,
        "difference": difference,
        "power": wanted,
        "left_out": others,
        "boards": [
            {
                **board.setting,
                "rows": len(paired.value),
                "pilot_seeds": int(paired.seeds.shape[1]),
                "needs": [asdict(need) for need in found],
            }
            for board, paired, found in plans
        ],
    }
    return Page(
        "power",
        f"seeds that {suite} needs",
        [*blocks, *(Text(note, "note") for note in notes)],
        content=content,
    )


def _number(seeds: int | None) -> str:
    return NEVER if seeds is None else f"{seeds:,}"
