"""Attacks from outside a suite: their cards, and rows that they lower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hgobench.attacks.threat_models import THREAT_MODELS
from hgobench.errors import InputError
from hgobench.leaderboard import Row, Score
from hgobench.scenario import ATTACK, Scenario

if TYPE_CHECKING:
    from .card import Card


def lowered(attack: Card, row: Card) -> dict[str, Any]:
    """Return what the card of an attack says of the row that it lowers.

    Raises:
        InputError: it does not lower it, or was not run in its setting, on its seeds.
    """
    if problems := not_lowering(attack, row):
        raise InputError(f"card: --lowers: {problem}" for problem in problems)
    return {
        "hash": row.hash,
        "ruleset": row.ruleset,
        "label": row.content["row"]["label"],
        "worst": row.row.worst.mean,
    }


def not_lowering(attack: Card, row: Card) -> list[str]:
    """Say why an attack does not lower a row; empty: it does."""
    if row.lowers is not None:
        return [f"{row.where}: is the card of an attack; expected that of a row"]
    worst = attack.row
    if worst.worst_attack is None:
        return [f"row {attack.hash}: has no attack"]
    problems = []
    cells, others = [one.scenario for one in worst.under_worst], row.row.scores[0].scenario
    differ = {
        name: (getattr(cells[0], name), getattr(others, name))
        for name in _setting(others)
        if any(getattr(cell, name) != getattr(others, name) for cell in cells)
    }
    told = ", ".join(f"{name} is {a} here and {b} there" for name, (a, b) in differ.items())
    if differ:
        problems.append(f"not in the setting of row {row.hash}: {told}")
    seeds, wanted = sorted(cell.seed for cell in cells), row.content["seeds"]
    if seeds != wanted:
        problems.append(f"on the seeds {seeds}; row {row.hash} has {wanted}")
    for name, mine, theirs in (
        ("data", attack.content["data"], row.content["data"]),
        ("sources of hgobench", attack.content["sources"]["code"], row.content["sources"]["code"]),
    ):
        if mine != theirs:
            problems.append(f"other {name} than row {row.hash}")
    if row.selection is not None:
        name = row.selection.plan.threat_model
        try:
            permitted = THREAT_MODELS[name].permitted([cells[0].attack])
        except InputError as error:
            problems += error.problems
        else:
            if not permitted:
                problems.append(f"{cells[0].attack} needs more than the threat model {name} allows")
    if not problems and worst.worst.mean >= row.row.worst.mean:
        problems.append(
            f"{cells[0].attack} comes to {worst.worst.mean:.4f}; the worst case of row {row.hash} "
            f"is {row.row.worst.mean:.4f}, which is as low"
        )
    return problems


def _setting(scenario: Scenario) -> list[str]:
    """Return the fields that an attack and the row that it lowers have in common."""
    apart = {*ATTACK, *scenario.of_role("repetition")}
    return [name for name in scenario.declarations() if name not in apart]


def brought(rows: Sequence[Row], attacks: Sequence[Card]) -> tuple[list[Score], list[str]]:
    """Return the cells by which attacks from outside lower rows, and what is left out and why.

    Of several attacks on a row that come to the same name, the lowest counts.

    Args:
        rows: as their suite ranks them.
        attacks: cards of attacks.
    """
    by_hash = {row.hash: row for row in rows}
    found: dict[tuple[str, str], tuple[float, list[Score]]] = {}
    left_out = []
    for card in attacks:
        assert card.lowers is not None, "a card of an attack"
        row, worst = by_hash.get(card.lowers["hash"]), card.row
        if row is None:
            left_out.append(f"{card.where}: the row {card.lowers['hash']} is not here")
        elif worst.worst.mean >= row.worst.mean:
            left_out.append(f"{card.where}: does not lower {row.label}")
        else:
            name = f"{worst.worst_attack} from outside"
            first = row.scores[0]
            cells = [
                replace(
                    score, given=first.row, member=name, free=first.free, outside=card.hash, path=()
                )
                for score in worst.under_worst
            ]
            key = (row.hash, name)
            if key not in found or worst.worst.mean < found[key][0]:
                found[key] = (worst.worst.mean, cells)
    return [score for _, cells in found.values() for score in cells], left_out


def told(rows: Sequence[Row], before: Mapping[str, Row]) -> list[str]:
    """Return a note on each row that an attack from outside lowers.

    Args:
        rows: with these attacks.
        before: each row without them, by its label.
    """
    notes = []
    for row in rows:
        if row.outside and row.worst_attack in row.outside:
            was = before[row.label]
            notes.append(
                f"+ {row.label}: {row.worst.mean:.3f} under {row.worst_attack} (card "
                f"{row.outside[row.worst_attack]}), {was.worst.mean:.3f} under the suite's own "
                f"attacks ({was.worst_attack or 'none'})"
            )
    return notes
