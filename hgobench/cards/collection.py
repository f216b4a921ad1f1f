"""Folders of cards: their rows on boards, lowered by attacks from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hgobench.errors import InputError
from hgobench.leaderboard import Board, Boards, Score, Split, boards

from .card import Card
from .check import checked
from .outside import brought, told


@dataclass(frozen=True)
class Collection:
    """Cards of one ruleset.

    Attributes:
        ruleset: its name.
        rows: the cards of its rows.
        attacks: the cards of attacks from outside that lower some of them.
    """

    ruleset: str
    rows: Sequence[Card]
    attacks: Sequence[Card]

    def notes(self) -> list[str]:
        """Return what a reader must know before trusting the boards."""
        codes = {card.content["sources"]["code"] for card in self.rows}
        several = len(codes) > 1
        notes = [f"note: these cards come from {len(codes)} versions of the code"] * several
        own = [row for board in self._own() for row in board.rows]
        return notes + [f"left out: {reason}" for reason in brought(own, self.attacks)[1]]

    def boards(self, by: str = "attack") -> Boards:
        """Return the rows ranked, as `hgobench.leaderboard.boards` does.

        A row that an attack from outside lowers has that attack among its own.

        Raises:
            InputError: there are no such columns, or two cards are of one row.
        """
        own = [row for board in self._own() for row in board.rows]
        scores, _ = brought(own, self.attacks)

        def noted(board: Board, before: Board) -> Board:
            known = {row.label: row for row in before.rows}
            return replace(board, notes=[*told(board.rows, known), *board.notes])

        both = zip(self._ranked(scores, by), self._ranked([], by), strict=True)
        return Boards(noted(*pair) for pair in both)

    def _own(self) -> Boards:
        return self._ranked([])

    def _ranked(self, more: Sequence[Score], by: str = "attack") -> Boards:
        flags = {("", card.scores[0].row): card.content["flags"] for card in self.rows}
        for card in self.rows:
            flags |= {("", score.row): card.content["flags"] for score in card.scores}
        return boards([*(s for card in self.rows for s in card.scores), *more], by=by, flags=flags)


def holds_cards(folder: Path) -> bool:
    """Say whether a folder holds cards, and no results."""
    return not (folder / "results.sqlite").exists() and any(folder.glob("*.json"))


def collected(folder: Path, ruleset: str | None = None, split: Split = "test") -> Collection:
    """Read the cards of a folder, and those of attacks in its folder ``attacks``.

    Args:
        folder: the folder.
        ruleset: which is expected; None: any.
        split: the examples that are asked for: cards have accuracies on test examples alone.

    Raises:
        InputError: a card contradicts itself, they are of several rulesets or another one, two are
            of one row, or accuracies on validation examples are asked for.
    """
    if split != "test":
        raise InputError("--split: cards have accuracies on test examples alone; expected test")
    problems: list[str] = []
    rows: list[Card] = []
    attacks: list[Card] = []
    for path in sorted([*folder.glob("*.json"), *folder.glob("attacks/*.json")]):
        read = checked(path)
        problems += [f"{path}: {problem}" for problem in read.problems]
        if not read.problems and read.card is not None:
            (rows if read.card.lowers is None else attacks).append(read.card)
    if problems:
        raise InputError(problems)
    if not rows:
        raise InputError(f"cards: {str(folder)!r}: holds no card of a row")
    if len(names := sorted({card.ruleset for card in rows})) > 1:
        raise InputError(
            f"cards: {str(folder)!r}: of the rulesets {', '.join(names)}; expected one: rows of "
            "different rulesets do not compare"
        )
    if ruleset not in (None, names[0]):
        raise InputError(f"--ruleset: unknown {ruleset!r}; the cards are of {names[0]!r}")
    by_row: dict[object, Card] = {}
    for card in rows:
        for score in card.scores:
            other = by_row.setdefault((score.scenario, score.attack), card)
            if other is not card:
                raise InputError(f"cards: {other.where} and {card.where} are of one row; keep one")
    return Collection(names[0], rows, attacks)
