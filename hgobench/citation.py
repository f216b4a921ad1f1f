"""Rows of boards as they are cited: by a short hash, with all that a reader needs to find them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hgobench import __version__
from hgobench.boundary import PluginError
from hgobench.comparison import stated
from hgobench.errors import InputError
from hgobench.evaluation.selection import Selection
from hgobench.folders import Holdings, each
from hgobench.leaderboard import DIGITS, Board, Row, row_data
from hgobench.results import Result
from hgobench.site.again import commands, suite_of

LEAST = 4  # digits that a hash may be cut to
LISTED = 5  # candidates
YEAR = 2026
AUTHORS = "The hgobench authors"
TITLE = (
    "hgobench: a benchmark and adversarial-robustness suite for Byzantine-robust distributed "
    "learning"
)
PAPER = """\
@inproceedings{boubouh2022democratizing,
  author    = {Boubouh, K. and Boussetta, A. and Gupta, N. and Maurer, A. and Pinot, R.},
  title     = {Democratizing Machine Learning: Resilient Distributed Learning with Heterogeneous
               Participants},
  booktitle = {41st International Symposium on Reliable Distributed Systems (SRDS)},
  pages     = {94--120},
  year      = {2022}
}"""


def tool() -> str:
    """Return the BibTeX entry of hgobench.

    >>> print(tool().splitlines()[0])
    @misc{hgobench,
    """
    return (
        "@misc{hgobench,\n"
        f"  author       = {{{{{AUTHORS}}}}},\n"
        f"  title        = {{{TITLE}}},\n"
        f"  howpublished = {{version {__version__}}},\n"
        f"  year         = {{{YEAR}}}\n"
        "}"
    )


@dataclass(frozen=True)
class Citation:
    """A row, and what it is of.

    Attributes:
        folder: where it was found.
        holdings: what the folder holds under its ruleset.
        board: the board that it is on.
        row: the row.
        results: of its cells, in the order of their addresses.
    """

    folder: Path
    holdings: Holdings
    board: Board
    row: Row
    results: Sequence[Result]

    @property
    def seeds(self) -> list[int]:
        """The seeds of its cells, in order."""
        return sorted({result.scenario.seed for result in self.results})

    @property
    def selection(self) -> Selection | None:
        """What was chosen for the row; None: its attacks are an axis of the grid."""
        given = self.row.scores[0].given
        known = (one for held in self.holdings.of_folder for one in held.selections)
        return next((one for one in known if one.given == given), None)

    @property
    def scenario(self) -> dict[str, Any]:
        """The fields that all its cells share."""
        every = [result.scenario.to_dict() for result in self.results]
        return {
            name: value
            for name, value in every[0].items()
            if all(fields[name] == value for fields in every)
        }

    @property
    def computed_with(self) -> dict[str, list[str]]:
        """What its cells were computed with: versions, processor, data and the like."""
        facts: dict[str, dict[str, None]] = {}
        for result in self.results:
            for name, value in result.provenance.items():
                facts.setdefault(name, {})[stated(value)] = None
        return {name: sorted(values) for name, values in sorted(facts.items())}

    @property
    def commands(self) -> list[str]:
        """The commands that run its cells again; first that of the whole ruleset, if known."""
        known = suite_of(self.holdings.ruleset)
        return [*([known[1]] if known else []), *commands(r.scenario for r in self.results)]

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data, for JSON."""
        return {
            "hash": self.row.hash,
            "folder": str(self.folder),
            "ruleset": self.holdings.ruleset,
            "board": dict(self.board.setting),
            "row": row_data(self.row),
            "scenario": self.scenario,
            "attacks": {
                name: self.row.attacks.get(name, name) for name in self.row.cells if name != "none"
            },
            "seeds": self.seeds,
            "cells": sorted({score.address for score in self.row.scores}),
            "computed_with": self.computed_with,
            "commands": self.commands,
        }


def cite(hash_: str, folders: Sequence[Path]) -> Citation:
    """Return the row that a hash is of.

    Args:
        hash_: as boards show it; its first digits are enough, if no other row's hash begins so.
        folders: where rows are looked for.

    Raises:
        InputError: no row, or several, have this hash; with those that come near.
    """
    wanted = hash_.strip().lower()
    if not re.fullmatch(f"[0-9a-f]{{{LEAST},{DIGITS}}}", wanted):
        raise InputError(
            f"cite: {hash_!r}; expected {LEAST} to {DIGITS} of the digits that "
            "hgobench leaderboard FOLDER --columns hash shows"
        )
    rows = list(rows_of(folders))
    meant = [one for one in rows if one.row.hash.startswith(wanted)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise InputError(
            [
                f"cite: {hash_!r}: {len(meant)} rows; expected one: give more digits, or a folder",
                *map(_candidate, meant[:LISTED]),
                *([f"and {len(meant) - LISTED} more"] if len(meant) > LISTED else []),
            ]
        )
    near = difflib.get_close_matches(wanted, [one.row.hash for one in rows], LISTED, cutoff=0.5)
    close = [one for one in rows if one.row.hash in near]
    where = " and ".join(repr(str(folder)) for folder in folders)
    raise InputError(
        [
            f"cite: {hash_!r}: none of the {len(rows)} rows in {where}"
            + ("; the nearest:" if close else ""),
            *map(_candidate, close[:LISTED]),
        ]
    )


def _candidate(one: Citation) -> str:
    title = f", {one.board.title}" if one.board.title else ""
    return f"{one.row.hash}: {one.row.label}; ruleset {one.holdings.ruleset}{title}; {one.folder}"


def rows_of(folders: Sequence[Path]) -> Iterator[Citation]:
    """Yield every row of some folders."""
    for folder in folders:
        for found in each(folder):
            try:
                boards = found.boards()
            except (InputError, PluginError):  # a plug-in is not here: its rows can't be told
                continue
            by_address = dict(found.results)
            for board in boards:
                for row in board.rows:
                    addresses = sorted({score.address for score in row.scores})
                    results = [by_address[address] for address in addresses]
                    yield Citation(folder, found, board, row, results)
