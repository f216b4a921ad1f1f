"""What was chosen for a row of an evaluation: attacks, by stage, and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from hgobench.evaluation.selection import Selection
from hgobench.notation import format_value
from hgobench.report.page import Block, Cell, Facts, Link, Page, Shown, Table, Text
from hgobench.scenario import Scenario

from .again import commands
from .held import Held
from .origin import attack_link, origin


class Reported(NamedTuple):
    """What became of a member on fresh seeds.

    Attributes:
        mean, interval: of its accuracy.
        how: whether it is the worst case.
    """

    mean: Cell
    interval: Cell
    how: str


def blocks(selection: Selection, reported: Mapping[str, Reported]) -> list[Block]:
    """Return what each member of the ensemble does to a row, by stage, and how it was chosen.

    Args:
        selection: what was chosen.
        reported: the members that ran on fresh seeds.
    """
    stages, plan = selection.plan.stages, selection.plan
    places = {stage: i for i, stage in enumerate(dict.fromkeys(stages.values()))}
    members = sorted(
        selection.members.items(),
        key=lambda item: (places.get(stages.get(item[0], "fault"), 0), item[1].accuracy),
    )
    lines: list[Sequence[Cell]] = []
    for name, worst in members:
        how = f"same runs as {selection.same[name]}" if name in selection.same else "not reported"
        acts = [f"{n}={format_value(v)}" for n, v in worst.fields.items() if n != "attack"]
        lines.append(
            [
                stages.get(name, "-").replace("_", " "),
                name,
                attack_link(str(worst.fields.get("attack", name))),
                " ".join(acts) or "always",
                worst.tried,
                Shown(f"{worst.accuracy:.3f}", worst.accuracy),
                *reported.get(name, Reported("-", "-", how)),
            ]
        )
    header = ["stage", "member", "attack at its worst", "acts", "tried", "when chosen"]
    header += ["reported", "95 %", "what became of it"]
    factors = {
        "stage": [(str(line[0]),) for line in lines],
        "what became of it": [(str(line[-1]),) for line in lines],
    }
    title = "Each member of the ensemble, by stage"
    table = Table("", title, header, lines, [4, 5, 6, 7], factors=factors)
    seeds = ", ".join(map(str, plan.selection_seeds))
    how_many = f"{selection.cells} runs"
    facts: list[tuple[str, str | Link]] = [
        ("ensemble", f"{plan.ensemble}, threat model {plan.threat_model}"),
        ("chosen on", f"seeds {seeds}, by accuracy on validation examples, in {how_many}"),
        ("without attack, when chosen", f"{selection.clean:.3f}"),
        ("reported on", f"fresh seeds {', '.join(map(str, plan.fresh_seeds))}, on test examples"),
    ]
    return [table, Facts(facts), *_again(selection), *_parameters(selection)]


def _again(selection: Selection) -> list[Block]:
    """Return the commands that run again what attacks were chosen by."""
    members = [dict(worst.fields) for worst in selection.members.values()]
    seeds = selection.plan.selection_seeds
    row = selection.row.to_dict()
    cells = [
        Scenario.restore({**row, **fields, "seed": seed})
        for fields in ({}, *members)
        for seed in seeds
    ]
    numbered = [(f"{i}", f"{c} --split validation") for i, c in enumerate(commands(cells), 1)]
    return [Facts(numbered, "Run again what attacks were chosen by", True)]


def _parameters(selection: Selection) -> list[Block]:
    """Return the parameters that a row chose from."""
    if len(selection.choices) < 2:
        return []
    free = selection.free
    lines: list[Sequence[Cell]] = [
        [
            *(format_value(getattr(choice, name)) for name in free),
            Shown(f"{low:.3f}", low),
            "yes" if choice == selection.row else "-",
        ]
        for choice, low in selection.choices.items()
    ]
    header = [*free, "lowest accuracy", "chosen"]
    return [Table("", "The parameters that it chose from", header, lines, [len(free)])]


def waiting_page(held: Held, selection: Selection) -> Page:
    """Return the page of a row whose attacks are chosen, and not all reported."""
    lines: list[Sequence[Cell]] = []
    there: list[Scenario] = []
    for name, cells in selection.fresh.items():
        here = [cell for cell in cells if cell in held.scores]
        there += here
        mean = fmean(held.scores[cell].accuracy for cell in here) if here else None
        shown = Shown("-" if mean is None else f"{mean:.3f}", mean)
        lines.append([name, len(here), len(cells), shown])
    table = Table(
        "", "What is reported so far", ["attack", "seeds", "of", "accuracy so far"], lines
    )
    note = "This row is on no board yet: a mean over some of its seeds says little."
    reported = {name: Reported("-", "-", "to be reported") for name in selection.reported}
    content: list[Block] = [Text(note, "note"), table, *blocks(selection, reported)]
    content += origin(held, there) if there else []
    return Page(held.waiting_name(selection), title_of(selection), content)


def title_of(selection: Selection) -> str:
    """Return what a row is called that is on no board yet.

    >>> from hgobench.evaluation.plan import Plan
    >>> row = Scenario(rule="krum")
    >>> title_of(Selection(Plan(), row, row, {row: 0.5}, 0.9, {}, (), 0))
    'hgo krum staircase'
    """
    row = selection.given
    return f"{row.algorithm} {row.rule} {row.stated_scope or row.scope}"
