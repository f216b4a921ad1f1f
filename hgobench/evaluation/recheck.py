"""What was chosen for a row, chosen again from what is known: by its own numbers, or by cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields

from hgobench.errors import InputError
from hgobench.scenario import Scenario

from .selection import REPORTED, At, Played, Selection, select

AGAIN = tuple(
    entry.name for entry in fields(Selection) if entry.name not in ("plan", "given", "kappa")
)


def contradictions(selection: Selection) -> list[str]:
    """Say where a selection contradicts its own numbers: nothing else is known of its cells."""
    told = []
    plan = selection.plan
    names = {member.name for member in plan.members}
    if strange := sorted(selection.members.keys() - names):
        told.append(f"members: {', '.join(strange)}: not in {plan.ensemble}")
        return told
    if lacking := sorted(names - selection.members.keys()):
        told.append(f"members: lacks {', '.join(lacking)}")
    told += _not_worst(selection)
    for name, other in selection.same.items():
        both = [selection.members.get(one) for one in (name, other)]
        if None in both or len({one.accuracies for one in both if one}) > 1:
            told.append(f"same: {name} does not come to the same as {other}")
    choices = selection.choices
    known = {choice: low for choice, low in choices.items() if not math.isnan(low)}
    best = max(known, key=known.__getitem__) if known else next(iter(choices), selection.row)
    if selection.row not in choices or (known and known.get(selection.row, -1.0) < known[best]):
        told.append(
            f"row: {selection.row!r} is not the best of the choices, by accuracy on validation "
            f"examples: {best!r}"
        )
    return told


def _not_worst(selection: Selection) -> list[str]:
    """Say which members should have been reported in the place of others.

    Of members that come to the same runs one is reported: those with the same accuracies may.
    """
    members = {n: w for n, w in selection.members.items() if n in selection.plan.reportable}
    if strange := [name for name in selection.reported if name not in members]:
        return [f"reported: {', '.join(strange)}: no member that may be reported"]
    different: dict[tuple[float, ...], str] = {}
    for name, worst in members.items():
        if name in selection.reported or name not in selection.same:
            taken = different.setdefault(worst.accuracies, name)
            if taken not in selection.reported:
                different[worst.accuracies] = name
    last = max((members[name].accuracy for name in selection.reported), default=-math.inf)
    few = len(selection.reported) < min(REPORTED, len(different))
    worse = [
        name
        for name in different.values()
        if name not in selection.reported and (few or members[name].accuracy < last)
    ]
    if not worse:
        return []
    return [
        f"reported: {', '.join(selection.reported)}; worse by accuracy on validation examples: "
        f"{', '.join(worse)}"
    ]


def chosen_otherwise(
    selections: Sequence[Selection], played: Mapping[Scenario, Played]
) -> list[str]:
    """Say which rows would have other parameters and attacks chosen, by the cells that are there.

    Args:
        selections: what was chosen, all by one plan.
        played: how the cells went that only choose.
    """
    told = []
    for selection in selections:
        row = f"{selection.given.algorithm} {selection.given.rule}"

        def answer(cells: list[Scenario], at: At, row: str = row) -> dict[Scenario, Played]:
            lacking = [cell for cell in cells if cell not in played]
            if lacking:
                raise InputError(
                    f"{row}: what was chosen can't be chosen again: {len(lacking)} cells that it "
                    f"needs are not here, such as {lacking[0]!r}"
                )
            return {cell: played[cell] for cell in cells}

        try:
            (again,) = select([selection.given], selection.plan, answer)
        except InputError as error:
            told += error.problems
            continue
        differ = [
            name
            for name in AGAIN
            if getattr(again, name) != getattr(selection, name) and not _nan(again, selection, name)
        ]
        if differ:
            told.append(
                f"{row}: the cells that choose come to another choice than the one that is kept: "
                f"{', '.join(differ)}"
            )
    return told


def _nan(again: Selection, kept: Selection, name: str) -> bool:
    """Say whether there was nothing to choose, on both sides, or nothing was counted."""
    if name == "choices":
        sides = [list(one.choices.values()) for one in (again, kept)]
        alone = all(len(side) == 1 and math.isnan(side[0]) for side in sides)
        return alone and again.choices.keys() == kept.choices.keys()
    return name == "runs" and not kept.runs  # of an older hgobench
