"""The pages of a row: what it comes to under each attack, and its cells."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from hgobench.leaderboard import Board, Row, Score
from hgobench.notation import format_value
from hgobench.report.boards import interval, stated
from hgobench.report.page import (
    Block,
    Cell,
    Curve,
    Curves,
    Facts,
    Heading,
    Link,
    Page,
    Shown,
    Table,
    Text,
)
from hgobench.report.paying import who_pays
from hgobench.scenario import ATTACK, Scenario
from hgobench.settings import write_setting

from . import chosen
from .chosen import Reported
from .held import Held, X, Y
from .origin import FACTS, attack_link, origin, rule_link

UNATTACKED = "none"
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
    blocks: list[Block] = [_facts(held, row)]
    if row.flags:
        title = "Flags: what to know before trusting it"
        blocks += [Heading(title), Facts(list(row.flags.items()))]
    if (selection := held.selection(row)) is None:
        blocks.append(_attacks(row, page))
    else:
        blocks += chosen.blocks(selection, _reported(row, page))
    blocks.append(_seeds(row, page))
    blocks += _pays(row)
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


def _facts(held: Held, row: Row) -> Facts:
    worst = row.worst_attack
    facts: list[tuple[str, str | Link]] = [
        ("rank", "not ranked" if row.rank is None else str(row.rank)),
        ("worst case" if worst else "accuracy", stated(row.worst)),
    ]
    if worst:
        attack = row.attacks.get(worst, worst)
        facts.append(("under", attack if attack == worst else f"{attack} ({worst})"))
    if worst and row.clean is not None:
        facts.append(("without attack", stated(row.clean)))
    if worst:
        facts.append(("if attackers knew the seed", stated(row.known_seed)))
    share = row.collapsed
    facts += [
        ("collapsed", f"{share.count} of {share.of} seeds ({share.low:.2f}-{share.high:.2f})"),
        ("live", f"{row.live:.0%} of rounds, {row.live_attacked:.0%} under attack"),
    ]
    if row.gap is not None:
        facts.append(("below the oracle", f"{row.gap:.3f}"))
    if row.reach is not None:
        reach = row.reach
        when = f"{reach.time:,.0f} time units in the median; " if reach.time < math.inf else ""
        seeds = f"{reach.reached} of {reach.of} seeds reach it"
        facts.append((f"time to {reach.goal:.3f}", f"{when}{seeds}"))
    counts = {"diverged or failed": row.ended, "out of time": row.late, "never updated": row.idle}
    facts += [(name, _cells(count)) for name, count in counts.items() if count]
    if row.missing:
        facts.append(("missing", f"{_cells(row.missing)} that other rows have"))
    facts += [(name, format_value(value)) for name, value in row.chosen.items() if name != "rule"]
    facts.append(("rule", rule_link(row.scores[0].scenario.rule)))
    if row.hash:
        cite = shlex.join(["hgobench", "cite", row.hash, held.folder])
        card = shlex.join(["hgobench", "card", held.folder, "--row", row.hash])
        facts += [("hash", row.hash), ("to cite it", cite), ("to write its card", card)]
    if row.origin != "hgobench":
        facts.append(("brought by", row.origin))
    return Facts(facts)


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


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
        lines.append([attack_link(name), mean, interval(value), value.seeds, f"{live:.0%}"])
    header = ["attack", "accuracy", "95 %", "seeds", "live"]
    return Table("", "Without attack, then the worst first", header, lines, [1, 2, 3, 4])


def _reported(row: Row, page: str) -> dict[str, Reported]:
    """Return what became of the members that ran on fresh seeds."""
    found = {}
    for name, scores in _of_attack(row).items():
        value = row.cells[name]
        to = f"{page}.html#{anchor(scores[0].scenario)}"
        how = "the worst case" if name == row.worst_attack else "reported"
        found[name] = Reported(Shown(f"{value.mean:.3f}", value.mean, to), interval(value), how)
    return found


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


def _pays(row: Row) -> list[Block]:
    """Return the table of who pays, if these cells measured it."""
    under, worst = {}, row.worst_attack
    if clean := [score for score in row.scores if score.attack == UNATTACKED]:
        under["without attack"] = clean
    if worst:
        under[f"under {worst}"] = list(row.under_worst)
    table = who_pays(under, "Who pays: means over seeds, at the end of a run")
    return [] if table is None else [table]


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
    members = any(score.member for score in ordered)
    header += ["specification"] * members
    header += ["reason"] * reasons
    lines: list[Sequence[Cell]] = []
    for score, summary in zip(ordered, summaries, strict=True):
        run, loss = held.runs[score.scenario], summary["test_loss"]
        line: list[Cell] = [
            score.attack if members else attack_link(score.attack),
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
            *([attack_link(score.scenario.attack)] if members else []),
            *([" ".join(summary["reason"].split())] if reasons else []),
        ]
        lines.append(line)
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
    return [
        name for name in Y if any(v is not None for c in curves for v in c.columns.get(name, ()))
    ]
