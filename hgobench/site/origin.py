"""Where numbers come from: the scenario, what it was computed with, and the commands."""

from __future__ import annotations

from collections.abc import Sequence

from hgobench import catalogue
from hgobench.report.page import Block, Cell, Facts, Heading, Items, Link, Table
from hgobench.scenario import Scenario

from .again import commands
from .held import Held

FACTS = "computed-with"  # the anchor of the table of what cells were computed with


def rule_link(rule: str) -> str | Link:
    """Return a rule with a link to its line in the table of rules, if it has one."""
    name = rule.rpartition("+")[2].partition("[")[0]
    known = catalogue.registry("rule").builtins
    return Link(rule, f"rules.html#rules-{name}") if name in known else rule


def attack_link(attack: str) -> str | Link:
    """Return an attack with a link to its line in the table of attacks, if it has one."""
    first, _, last = attack.partition("[")[0].rpartition("+")
    name, kind = last, "attacks"
    if last not in catalogue.registry("attack").builtins:
        name, kind = first or last, "heterogeneity_attacks"
        if name not in catalogue.registry("heterogeneity_attack").builtins:
            return attack
    return Link(attack, f"attacks.html#{kind}-{name}")


def origin(held: Held, cells: Sequence[Scenario]) -> list[Block]:
    """Return how cells came about: what they state, what they were computed with, the commands."""
    blocks: list[Block] = [Heading("Run it again")]
    if held.suite is not None:
        blocks.append(Items("The whole ruleset:", [held.suite[1]]))
    for command, group in commands(cells).items():
        attacks = dict.fromkeys(cell.attack for cell in group)
        seeds = sorted({cell.seed for cell in group})
        span = f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
        blocks.append(Items(f"{', '.join(attacks)}, {span}:", [command]))
    stated = [cell.to_dict() for cell in cells]
    same = [
        (name, str(value))
        for name, value in stated[0].items()
        if all(fields[name] == value for fields in stated)
    ]
    blocks += [Heading("Scenario"), Facts(same, "All fields that its cells share", True)]
    blocks.append(Heading("Computed with"))
    counts: dict[int, int] = {}
    for cell in cells:
        number = held.runs[cell].facts
        counts[number] = counts.get(number, 0) + 1
    numbers = sorted(counts)
    names = sorted({name for number in numbers for name in held.facts[number]})
    lines: list[Sequence[Cell]] = [["cells", *(counts[number] for number in numbers)]]
    lines += [[name, *(held.facts[number].get(name, "-") for number in numbers)] for name in names]
    anchors = [FACTS, *(f"{FACTS}-{i}" for i in range(1, len(lines)))]
    header = ["", *(f"#{number + 1}" for number in numbers)]
    return [*blocks, Table("", "", header, lines, anchors=anchors)]
