"""A comparison of two sets of results, as a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hgobench.comparison import Comparison, Fact, Line, Pair, Side
from hgobench.scenario import Scenario
from hgobench.statistics import FEWEST

from .cells import varying_fields
from .page import Block, Cell, Facts, Finding, Findings, Page, Shown, Table, Text

MOST = 20  # lines of a table of what differs most; JSON has all
FOLDED = 3  # values of a fact


def page(compared: Comparison, limit: float | None = None) -> Page:
    """Return a comparison as a page.

    Args:
        compared: the comparison.
        limit: the mean difference of a row that none should exceed; None: any will do.
    """
    blocks: list[Block] = [Facts(_about(compared)), Findings(_findings(compared, limit))]
    rows = [line for line in compared.rows if not line.same]
    attacks = [line for line in compared.attacks if not line.same]
    blocks += _cut("rows", "Worst case of each row", rows, compared, _rows)
    if any(line.attack for line in attacks):
        blocks += _cut("attacks", "Each row under each attack", attacks, compared, _rows)
    blocks += _cut("cells", "Cells that are not the same", compared.changed, compared, _cells)
    if compared.provenance:
        blocks.append(provenance(compared.provenance))
    blocks += [Text(note, "note") for note in _notes(compared)]
    return Page(
        "compare", "A and B compared", blocks, long=_long(compared), content=compared.as_data()
    )


def _about(compared: Comparison) -> list[tuple[str, str]]:
    def told(side: Side) -> str:
        parts = [side.where, *side.asked]
        named = ", ".join(side.rulesets)
        alone = f", {side.only} of them only here" if side.only else ""
        return f"{' '.join(parts)} (ruleset {named}; {side.cells} cells{alone})"

    facts = [("A", told(compared.a)), ("B", told(compared.b))]
    facts += [
        ("compared", f"{name}: {a} in A, {b} in B") for name, (a, b) in compared.factor.items()
    ]
    facts += [
        ("follows", f"{name}: {_list(a)} in A, {_list(b)} in B")
        for name, (a, b) in compared.follows.items()
    ]
    return facts


def _list(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


def _findings(compared: Comparison, limit: float | None) -> list[Finding]:
    count, overall = len(compared.pairs), compared.overall
    findings = []
    if not compared.factor:
        findings.append(
            Finding(
                "Every cell is the same to the last bit",
                compared.identical == count,
                f"{compared.identical:,} of {count:,} cells",
            )
        )
    seeds = overall.estimate.seeds
    shown = f"{overall.a:.4f} in A, {overall.b:.4f} in B, {overall.difference:+.4f}"
    if overall.same:
        holds, why = False, shown
    elif seeds < FEWEST:
        holds, why = None, f"{shown}; {seeds} seeds, too few to tell"
    else:
        interval = f"[{overall.estimate.low:+.4f}, {overall.estimate.high:+.4f}]"
        holds = True if overall.p <= 0.05 else None
        why = f"{shown}, 95 % {interval}, p {overall.p:.3g}, {seeds} seeds"
    findings.append(Finding("The mean over all cells differs", holds, why))
    if limit is not None:
        above = compared.above(limit)
        evidence = f"the largest is {compared.largest:.4f}"
        if above:
            lines = len(compared.rows) + len(compared.attacks)
            evidence = f"{len(above)} of {lines} do; {evidence}"
        findings.append(Finding(f"No row's mean difference exceeds {limit:g}", not above, evidence))
    return findings


def _cut(
    name: str,
    title: str,
    lines: Sequence[Any],
    compared: Comparison,
    table: Callable[[str, str, Sequence[Any], Comparison], Table],
) -> list[Block]:
    """Return a table of what differs most, the largest first; nothing if nothing differs."""
    if not lines:
        return []
    shown = lines[:MOST]
    rest = f" ({MOST} of {len(lines):,}; JSON has all)" if len(lines) > MOST else ""
    return [table(name, f"{title}, the largest difference first{rest}", shown, compared)]


def _columns(
    every: Sequence[Scenario], shown: Sequence[Scenario], without: set[str]
) -> tuple[list[str], list[list[str]]]:
    """Return the fields that vary among all scenarios, and their values in those that are shown."""
    varying = varying_fields([scenario.to_dict() for scenario in every])
    names = [name for name in varying if name not in without]
    return names, [[str(scenario.to_dict()[name]) for name in names] for scenario in shown]


def _rows(name: str, title: str, lines: Sequence[Line], compared: Comparison) -> Table:
    every = [line.row for line in (*compared.rows, *compared.attacks)]
    names, told = _columns(
        every, [line.row for line in lines], {*compared.factor, "attack", "seed"}
    )
    rulesets = len({line.rulesets for line in compared.attacks}) > 1
    by_attack = name == "attacks"
    tested = any(line.estimate.seeds >= FEWEST for line in lines)
    first = [*(["ruleset"] if rulesets else []), *names, *(["attack"] if by_attack else [])]
    first = first or ["row"]
    header = [*first, "A", "B", "B - A", *(["95 %", "p"] if tested else [])]
    header += ["better", "seeds", "changed", *([] if by_attack else ["worst in A", "worst in B"])]
    rows = []
    for line, values in zip(lines, told, strict=True):
        where = [line.rulesets[0]] if rulesets else []
        where += [*values, *([line.attack] if by_attack else [])]
        few = line.estimate.seeds < FEWEST
        row: list[Cell] = [
            *(where or ["all"]),
            Shown(f"{line.a:.3f}", line.a),
            Shown(f"{line.b:.3f}", line.b),
            Shown(f"{line.difference:+.4f}", line.difference),
        ]
        if tested:
            row += [
                "-" if few else f"[{line.estimate.low:+.3f}, {line.estimate.high:+.3f}]",
                Shown("-", None) if few else Shown(f"{line.p:.3g}", line.p),
            ]
        row += [line.verdict, line.estimate.seeds, f"{line.changed}/{line.cells}"]
        rows.append([*row, *([] if by_attack else line.by)])
    numbers = ("A", "B", "B - A", "p", "seeds", "changed")
    right = [i for i, name in enumerate(header) if name in numbers and i >= len(first)]
    return Table(name, title, header, rows, right, len(first) + 3)


def _cells(name: str, title: str, pairs: Sequence[Pair], compared: Comparison) -> Table:
    every = [pair.a.score.scenario for pair in compared.pairs]
    shown = [pair.a.score.scenario for pair in pairs]
    names, told = _columns(every, shown, set(compared.factor))
    header = [*names, "A", "B", "B - A", *([] if compared.factor else ["what differs"])]
    rows: list[list[Cell]] = [
        [
            *values,
            Shown(f"{pair.a.accuracy:.3f}", pair.a.accuracy),
            Shown(f"{pair.b.accuracy:.3f}", pair.b.accuracy),
            Shown(f"{pair.difference:+.4f}", pair.difference),
            *([] if compared.factor else [", ".join(pair.changed)]),
        ]
        for pair, values in zip(pairs, told, strict=True)
    ]
    right = [len(names) + i for i in range(3)]
    return Table(name, title, header, rows, right, len(names) + 3)


def provenance(facts: Sequence[Fact], sides: tuple[str, str] = ("A", "B")) -> Table:
    """Return in what cells were computed otherwise, as a table."""

    def told(values: Mapping[str, int]) -> str:
        several = sorted(values, key=lambda value: (-values[value], value))
        more = f" and {len(several) - FOLDED} more" if len(several) > FOLDED else ""
        return " or ".join(several[:FOLDED]) + more

    rows: list[list[Cell]] = [[fact.name, told(fact.a), told(fact.b), fact.pairs] for fact in facts]
    title = "What the cells were computed with, where it differs"
    return Table("provenance", title, ["fact", *sides, "cells"], rows, [3])


def _notes(compared: Comparison) -> list[str]:
    notes = [
        f"{compared.split.capitalize()} accuracy; cells are paired by their seed and all else that "
        "is not compared. A failed or diverged cell counts as 0."
    ]
    lines = [line for line in (*compared.rows, *compared.attacks) if not line.same]
    if any(line.estimate.seeds >= FEWEST for line in lines):
        notes.append(
            "95 %: of the mean difference over seeds and, where it is known which were right, test "
            "examples; each line's own. p: of all lines of its table together (Holm). better: at "
            "5 %, if no collapse is hidden that these seeds do not show."
        )
    if any(line.estimate.seeds < FEWEST for line in lines):
        notes.append(f"With fewer than {FEWEST} seeds no difference can be told from chance.")
    differing = {fact.name for fact in compared.provenance}
    if "data" in differing and "data" not in compared.factor:
        notes.append("A and B are of different data under one name: don't compare.")
    if "code" in differing:
        notes.append("code: the digest of the sources that numbers depend on.")
    return notes


def _long(compared: Comparison) -> Table:
    """Return a line per pair of cells."""
    fields = list(Scenario.declarations())
    header = ["ruleset_a", "ruleset_b", *fields, *(f"{name}_b" for name in compared.factor)]
    header += ["status_a", "status_b", "accuracy_a", "accuracy_b", "difference", "changed"]
    rows: list[list[Cell]] = []
    for pair in compared.pairs:
        of_a, of_b = (side.score.scenario for side in (pair.a, pair.b))
        rows.append(
            [
                pair.a.ruleset,
                pair.b.ruleset,
                *(of_a.to_dict()[name] for name in fields),
                *(of_b.to_dict()[name] for name in compared.factor),
                pair.a.ending[0],
                pair.b.ending[0],
                pair.a.accuracy,
                pair.b.accuracy,
                pair.difference,
                " ".join(pair.changed),
            ]
        )
    return Table("cells", "", header, rows)
