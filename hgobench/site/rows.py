"""The pages of a row: what it comes to under each attack, and its cells."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from hgobench import catalogue
from hgobench.evaluation.selection import Selection
from hgobench.leaderboard import Board, Row, Score
from hgobench.notation import format_value
from hgobench.report.page import (
    Block,
    Cell,
    Curve,
    Curves,
    Facts,
    Heading,
    Items,
    Link,
    Page,
    Shown,
    Table,
    Text,
)
from hgobench.scenario import ATTACK, Scenario
from hgobench.settings import write_setting
from hgobench.statistics import FEWEST, Estimate

from .again import commands, suite_of
from .held import Held, X, Y

UNATTACKED = "none"
FACTS = "computed-with"  # the anchor of the table of what cells were computed with
ENDINGS = {"diverged": " diverged", "failed": " failed"}


def cells_name(held: Held, row: Row) -> str:
    """Return the name of the files of a row's cells."""
    return held.row_name(row).replace("row", "cells")


def anchor(scenario: Scenario) -> str:
    """Return the anchor of a cell on the page of a row's cells."""
    return f"c{scenario.digest[:10]}"


def row_page(held: Held, board: Board, row: Row) -> Page:
    """Return the page of a row: under each attack, by seed, and how all of it came about."""
    page = cells_name(held, row)
    blocks: list[Block] = [_facts(row)]
    if row.flags:
        title = "Flags: what to know before trusting it"
        blocks += [Heading(title), Facts(list(row.flags.items()))]
    if held.selection(row) is None:
        blocks.append(_attacks(row, page))
    else:
        blocks += _chosen(held, row, page)
    blocks.append(_seeds(row, page))
    blocks.append(Text("Every number leads to its cells: how each ended, and its curves."))
    blocks += origin(held, [score.scenario for score in row.scores])
    return Page(held.row_name(row), row.label, blocks, _shows(held, row))


def _shows(held: Held, row: Row) -> str:
    """Return the command that shows a row's cells."""
    first = row.scores[0].scenario
    without = {*ATTACK, *first.of_role("repetition")}
    fields = [
        write_setting(name, getattr(first, name)) for name in held.varying if name not in without
    ]
    return shlex.join(["hgobench", "show", held.folder, f"ruleset={held.ruleset}", *fields])


def _facts(row: Row) -> Facts:
    worst = row.worst_attack
    facts: list[tuple[str, str | Link]] = [
        ("rank", "not ranked" if row.rank is None else str(row.rank)),
        ("worst case" if worst else "accuracy", _told(row.worst)),
    ]
    if worst:
        attack = row.attacks.get(worst, worst)
        facts.append(("under", attack if attack == worst else f"{attack} ({worst})"))
    if worst and row.clean is not None:
        facts.append(("without attack", _told(row.clean)))
    if worst:
        facts.append(("if attackers knew the seed", _told(row.known_seed)))
    share = row.collapsed
    facts += [
        ("collapsed", f"{share.count} of {share.of} seeds ({share.low:.2f}-{share.high:.2f})"),
        ("live", f"{row.live:.0%} of rounds, {row.live_attacked:.0%} under attack"),
    ]
    if row.gap is not None:
        facts.append(("below the oracle", f"{row.gap:.3f}"))
    if row.reach is not None:
        reach = row.reach
        when = f"{reach.time:,.0f} time units" if reach.reached * 2 > reach.of else "never"
        facts.append((f"time to {reach.goal:.3f}", f"{when}; {reach.reached} of {reach.of} seeds"))
    counts = {"diverged or failed": row.ended, "out of time": row.late, "never updated": row.idle}
    facts += [(name, _cells(count)) for name, count in counts.items() if count]
    if row.missing:
        facts.append(("missing", f"{_cells(row.missing)} that other rows have"))
    facts += [(name, format_value(value)) for name, value in row.chosen.items() if name != "rule"]
    facts.append(("rule", rule_link(row.scores[0].scenario.rule)))
    if row.origin != "hgobench":
        facts.append(("brought by", row.origin))
    return Facts(facts)


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


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


def _told(value: Estimate) -> str:
    seeds = f"{value.seeds} seed{'s' * (value.seeds != 1)}"
    interval = f"95 %: {value.low:.3f}-{value.high:.3f}, " if value.seeds >= FEWEST else ""
    return f"{value.mean:.3f} ({interval}{seeds})"


def _interval(value: Estimate) -> str:
    return f"{value.low:.3f}-{value.high:.3f}" if value.seeds >= FEWEST else "too few seeds"


def _of_attack(row: Row) -> dict[str, list[Score]]:
    """Return a row's scores by attack: without one first, then the worst first."""
    found: dict[str, list[Score]] = {}
    for score in row.scores:
        found.setdefault(score.attack, []).append(score)

    def place(name: str) -> tuple[bool, float, str]:
        return name != UNATTACKED, row.cells[name].mean if name in row.cells else 0.0, name

    return {name: found[name] for name in sorted(found, key=place)}


def _attacks(row: Row, page: str) -> Table:
    lines: list[Sequence[Cell]] = []
    for name, scores in _of_attack(row).items():
        value = row.cells[name]
        mean = Shown(f"{value.mean:.3f}", value.mean, f"{page}.html#{anchor(scores[0].scenario)}")
        live = sum(score.live for score in scores) / len(scores)
        lines.append([attack_link(name), mean, _interval(value), value.seeds, f"{live:.0%}"])
    header = ["attack", "accuracy", "95 %", "seeds", "live"]
    return Table("", "Without attack, then the worst first", header, lines, [1, 2, 3, 4])


def _chosen(held: Held, row: Row, page: str) -> list[Block]:
    """Return what each member of the ensemble does to a row, by stage, and how it was chosen."""
    selection = held.selection(row)
    assert selection is not None
    stages, plan = selection.plan.stages, selection.plan
    by_attack = _of_attack(row)
    lines: list[Sequence[Cell]] = []
    places = {stage: i for i, stage in enumerate(dict.fromkeys(stages.values()))}
    members = sorted(
        selection.members.items(),
        key=lambda item: (places.get(stages.get(item[0], "fault"), 0), item[1].accuracy),
    )
    for name, worst in members:
        fresh = row.cells.get(name)
        reported: list[Cell] = ["-", "-"]
        how = f"same runs as {selection.same[name]}" if name in selection.same else "not reported"
        if fresh is not None and name in by_attack:
            first = by_attack[name][0].scenario
            reported = [
                Shown(f"{fresh.mean:.3f}", fresh.mean, f"{page}.html#{anchor(first)}"),
                _interval(fresh),
            ]
            how = "the worst case" if name == row.worst_attack else "reported"
        acts = [f"{n}={format_value(v)}" for n, v in worst.fields.items() if n != "attack"]
        lines.append(
            [
                stages.get(name, "-").replace("_", " "),
                name,
                attack_link(str(worst.fields.get("attack", name))),
                " ".join(acts) or "always",
                worst.tried,
                Shown(f"{worst.accuracy:.3f}", worst.accuracy),
                *reported,
                how,
            ]
        )
    seeds = ", ".join(map(str, plan.selection_seeds))
    header = ["stage", "member", "attack at its worst", "acts", "tried", "when chosen"]
    header += ["reported", "95 %", "what became of it"]
    factors = {
        "stage": [(str(line[0]),) for line in lines],
        "what became of it": [(str(line[-1]),) for line in lines],
    }
    title = "Each member of the ensemble, by stage"
    table = Table("", title, header, lines, [4, 5, 6, 7], factors=factors)
    how_many = f"{selection.cells} runs"
    facts: list[tuple[str, str | Link]] = [
        ("ensemble", f"{plan.ensemble}, threat model {plan.threat_model}"),
        ("chosen on", f"seeds {seeds}, by accuracy on validation examples, in {how_many}"),
        ("without attack, when chosen", f"{selection.clean:.3f}"),
        ("reported on", f"fresh seeds {', '.join(map(str, plan.fresh_seeds))}, on test examples"),
    ]
    return [table, Facts(facts), *_chosen_again(selection), *_parameters(selection)]


def _chosen_again(selection: Selection) -> list[Block]:
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


def _seeds(row: Row, page: str) -> Table:
    """Return the accuracy of every cell, a row per seed."""
    by_attack = _of_attack(row)
    seeds = sorted({score.scenario.seed for score in row.scores})
    lines: list[Sequence[Cell]] = []
    cells = {
        (name, score.scenario.seed): score for name, some in by_attack.items() for score in some
    }
    for seed in seeds:
        line: list[Cell] = [seed]
        for name in by_attack:
            score = cells.get((name, seed))
            if score is None:
                line.append(Shown("-", None))
                continue
            text = f"{score.accuracy:.3f}{ENDINGS.get(score.status, '')}"
            line.append(Shown(text, score.accuracy, f"{page}.html#{anchor(score.scenario)}"))
        lines.append(line)
    return Table("", "Accuracy by seed", ["seed", *by_attack], lines, range(len(by_attack) + 1))


def cells_page(held: Held, row: Row) -> Page:
    """Return the page of a row's cells, with their curves."""
    by_attack = _of_attack(row)
    ordered = [score for some in by_attack.values() for score in some]
    curves = [
        Curve(score.attack, f"seed {score.scenario.seed}", held.runs[score.scenario].curve)
        for score in ordered
    ]
    name = cells_name(held, row)
    summaries = [held.runs[score.scenario].summary for score in ordered]
    reasons = any(summary["reason"] for summary in summaries)
    header = ["attack", "seed", "accuracy", "loss", "ended", "rounds", "stalled", "time", "MB up"]
    header += ["MB down", "malformed", "CPU s", "computed with", "address"]
    header += ["reason"] * reasons
    lines: list[Sequence[Cell]] = []
    for score, summary in zip(ordered, summaries, strict=True):
        run, loss = held.runs[score.scenario], summary["test_loss"]
        line: list[Cell] = [
            attack_link(score.scenario.attack),
            score.scenario.seed,
            Shown(f"{score.accuracy:.4f}", score.accuracy),
            Shown("-" if loss != loss else f"{loss:.4f}", loss),
            score.status,
            summary["rounds"],
            summary["stalled"],
            Shown(f"{summary['time']:,.0f}", summary["time"]),
            Shown(f"{summary['bytes_up'] / 1e6:.2f}", summary["bytes_up"] / 1e6),
            Shown(f"{summary['bytes_down'] / 1e6:.2f}", summary["bytes_down"] / 1e6),
            summary["malformed"],
            Shown(f"{summary['seconds']:.2f}", summary["seconds"]),
            Link(f"#{run.facts + 1}", f"#{FACTS}"),
            run.address[:12],
        ]
        lines.append([*line, *([" ".join(summary["reason"].split())] if reasons else [])])
    scenarios = [score.scenario for score in ordered]
    every = {
        "attack": [(score.attack,) for score in ordered],
        "seed": [(str(score.scenario.seed),) for score in ordered],
        "ended": [(score.status,) for score in ordered],
    }
    factors = {name: values for name, values in every.items() if len(set(values)) > 1}
    table = Table("", "Cells", header, lines, [1, 2, 3, 5, 6, 7, 8, 9, 10, 11],
                  anchors=list(map(anchor, scenarios)), factors=factors)  # fmt: skip
    blocks: list[Block] = [
        Curves("curves", "Curves", X, _known(curves), curves, _shows(held, row)),
        table,
        *origin(held, scenarios),
    ]
    return Page(name, f"Cells of {row.label}", blocks, _shows(held, row))


def _known(curves: Sequence[Curve]) -> list[str]:
    """Return the columns of which some curve has a number."""
    return [name for name in Y if any(v is not None for c in curves for v in c.columns[name])]


def origin(held: Held, cells: Sequence[Scenario]) -> list[Block]:
    """Return how cells came about: what they state, what they were computed with, the commands."""
    blocks: list[Block] = [Heading("Run it again")]
    known = suite_of(held.ruleset)
    if known is not None:
        blocks.append(Items("The whole ruleset:", [known[1]]))
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
