"""The pages of a site that are of no single row: boards, all rows, rules and attacks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from hgobench import catalogue
from hgobench.errors import InputError
from hgobench.leaderboard import BOARD, Board, Row
from hgobench.plots import picture
from hgobench.plots.asked import Asked
from hgobench.plots.cells import Cells
from hgobench.report import boards as told
from hgobench.report import listing
from hgobench.report.cells import varying_fields
from hgobench.report.page import Block, Cell, Facts, Heading, Items, Link, Page, Shown, Table, Text
from hgobench.scenario import ATTACK, Scenario
from hgobench.settings import parse_setting
from hgobench.suite import Suite

from .chosen import title_of
from .held import Held

INDEX, ROWS, RULES, ATTACKS = "index", "rows", "rules", "attacks"
PICTURED = 40  # rows of a board that is drawn, and boards of a ruleset whose boards are
EXPECTED = 20_000  # cells of a suite that are held against those that are there


def board_page(held: Held, board: Board) -> Page:
    """Return the page of a board; its rows lead to their own pages."""

    def to(row: Row) -> str:
        return f"{held.row_name(row)}.html"

    page = told.page(held.ruleset, [board], to=to)
    heading, table, *rest = page.blocks
    assert isinstance(heading, Heading)
    blocks: list[Block] = [table, *_pictures(held, board)]
    if held.selections:
        blocks.append(_by_stage(held, board, to))
    command = shlex.join(["hgobench", "leaderboard", held.folder, "--ruleset", held.ruleset])
    setting = [(name, str(value)) for name, value in board.setting.items()]
    blocks += [*rest, *_again(held), Facts(setting, "All fields of its setting", True)]
    return replace(page, name=held.board_name(board), title=board_title(board), blocks=blocks,
                   command=command)  # fmt: skip


def board_title(board: Board) -> str:
    """Return what a board is called."""
    return board.title or "all results"


def _pictures(held: Held, board: Board) -> list[Block]:
    """Return a board as pictures, if it is small: its ranks, and a heat map of shared attacks."""
    if len(board.rows) > PICTURED or len(held.boards) > PICTURED:
        return []
    kinds = ["ranks"] if held.selections else ["ranks", "heat"]
    scores = [score for row in board.rows for score in row.scores]
    cells = Cells(scores, held.folder, ruleset=held.ruleset)
    drawn: list[Block] = []
    for kind in kinds:
        with suppress(InputError):  # no row has a rank, or there is one attack alone
            drawn.append(picture(cells, kind, Asked(), "page").chart)
    return drawn


def _again(held: Held) -> list[Block]:
    return [Items("Run it again:", [held.suite[1]])] if held.suite else []


def _by_stage(held: Held, board: Board, to: told.Address) -> Table:
    """Return the lowest accuracy of each row under the attacks of each stage."""
    stages: dict[str, None] = {}
    rows = [(row, chosen) for row in board.rows if (chosen := held.selection(row)) is not None]
    for _, chosen in rows:
        stages |= dict.fromkeys(chosen.plan.stages.values())
    lines: list[Sequence[Cell]] = []
    for row, chosen in rows:
        lowest = {str(stage): value for stage, value in chosen.lowest.items()}
        line: list[Cell] = [Link(row.label, to(row)), Shown(f"{chosen.clean:.3f}", chosen.clean)]
        for stage in stages:
            value = lowest.get(stage)
            line.append(Shown("-" if value is None else f"{value:.3f}", value))
        lines.append(line)
    header = ["algorithm and rule", "no attack", *(stage.replace("_", " ") for stage in stages)]
    title = "The lowest accuracy by stage of attack, when attacks were chosen"
    return Table("", title, header, lines, range(1, len(header)))


def index_page(every: Sequence[Held], problems: Sequence[str] = ()) -> Page:
    """Return the first page: all boards, what is here, and what is missing."""
    blocks: list[Block] = [
        Text(
            "Which algorithm and which aggregation rule survive which attack, on which devices, on "
            "which data? A board ranks them by their worst case: the attacker chooses the attack, "
            "and does not know the seed. A row leads to each attack that it met, and from there to "
            "every cell, its scenario, its seeds, what it was computed with, and the command that "
            "runs it again."
        )
    ]
    if any(held.boards for held in every):
        blocks.append(_boards(every))
    blocks += [_here(every)] if every else []
    blocks += [_waiting(every)] if any(held.lacking for held in every) else []
    blocks += [Text(note, "note") for note in (*_notes(every), *problems)]
    return Page(INDEX, "Boards", blocks)


def _boards(every: Sequence[Held]) -> Table:
    several = len({held.name for held in every if held.boards}) > 1
    pairs = [(held, board) for held in every for board in held.boards]
    header = ["board", *(["ruleset"] if several else []), "first", "rank", "worst", "by", "rows"]
    header += ["told apart", "seeds"]
    lines: list[Sequence[Cell]] = []
    for held, board in pairs:
        first = next((row for row in board.rows if row.rank is not None), board.rows[0])
        ranked = sum(row.rank is not None for row in board.rows)
        lines.append(
            [
                Link(board_title(board), f"{held.board_name(board)}.html"),
                *([held.title] if several else []),
                Link(first.label, f"{held.row_name(first)}.html"),
                "-" if first.rank is None else str(first.rank),
                Shown(f"{first.worst.mean:.3f}", first.worst.mean),
                first.worst_attack or "-",
                len(board.rows),
                f"{board.told} of {ranked * (ranked - 1) // 2} pairs",
                board.seeds,
            ]
        )
    stated = [dict(board.rows[0].scores[0].row.to_dict()) for _, board in pairs]
    wanted = set(Scenario.of_role(*BOARD)) - {"attack"}
    factors = {
        name: [(str(fields[name]),) for fields in stated]
        for name in varying_fields(stated)
        if name in wanted
    }
    if several:
        factors = {"ruleset": [(held.title,) for held, _ in pairs], **factors}
    textual = ("board", "ruleset", "first", "by")
    right = [i for i, name in enumerate(header) if name not in textual]
    return Table("", "", header, lines, right, factors=factors)


def _here(every: Sequence[Held]) -> Table:
    """Return what each ruleset's folder holds, and what it lacks."""
    lines: list[Sequence[Cell]] = []
    for held in every:
        ended = sum(run.summary["status"] != "done" for run in held.runs.values())
        rows = sum(len(board.rows) for board in held.boards)
        codes = {facts.get("code", "not stated") for facts in held.facts}
        lines.append(
            [held.ruleset, held.folder, len(held.runs), rows, ended, held.choosing,
             "; ".join(missing(held)) or "nothing that is known of", ", ".join(sorted(codes))]
        )  # fmt: skip
    header = ["ruleset", "folder", "cells", "rows", "diverged or failed", "cells that only choose"]
    header += ["missing", "sources"]
    return Table("", "What is here, and what is missing", header, lines, [2, 3, 4, 5])


def missing(held: Held) -> list[str]:
    """Say what a ruleset's results lack, as far as that is known."""
    said = []
    if held.damaged:
        rows = f"{held.damaged} row{'s' * (held.damaged > 1)} of {held.folder}"
        said.append(f"{rows} can't be read: hgobench show {held.folder} --damaged")
    if held.choosing and not held.selections:
        said.append("attacks are still being chosen: no row is reported yet")
    if held.lacking:
        lack = sum(of - here for _, here, of in held.lacking)
        said.append(f"{len(held.lacking)} of {len(held.selections)} rows lack {lack} cells")
    incomplete = sum(row.missing > 0 for board in held.boards for row in board.rows)
    if incomplete:
        said.append(f"{incomplete} rows lack cells that other rows have")
    if held.suite is not None and not held.selections:
        said += _of_suite(held.suite[0], held)
    return said


def _of_suite(suite: Suite, held: Held) -> list[str]:
    """Say how many cells of a suite are not there."""
    named = [parse_setting(text) for text in suite.altered]
    foreign = any(catalogue.foreign({field: v}) for field, values in named for v in values)
    if foreign or suite.evaluation is not None:  # reading results imports nothing that they name
        return []
    grid = suite.expand()[0]
    if len(grid) > EXPECTED:
        return []
    lacking = sum(cell not in held.runs for cell in grid)
    return [f"{lacking} of the {len(grid)} cells of the suite {suite.name}"] if lacking else []


def _waiting(every: Sequence[Held]) -> Table:
    """Return the rows whose attacks are chosen, and not all reported."""
    lines: list[Sequence[Cell]] = [
        [Link(title_of(chosen), f"{held.waiting_name(chosen)}.html"), held.title, here, of]
        for held in every
        for chosen, here, of in held.lacking
    ]
    header = ["algorithm and rule", "ruleset", "cells", "of"]
    return Table("", "Rows that are on no board yet", header, lines)


def _notes(every: Sequence[Held]) -> list[str]:
    return [f"{held.title}: no boards: {held.trouble}" for held in every if held.trouble]


def rows_page(every: Sequence[Held]) -> Page:
    """Return the page of all rows of all boards."""
    triples = [(held, board, row) for held in every for board in held.boards for row in board.rows]
    several = len({held.name for held, _, _ in triples}) > 1
    stated = [row.scores[0].row.to_dict() for _, _, row in triples]
    wanted = [
        name for name in varying_fields(stated) if name in Scenario.of_role(*BOARD, "defence")
    ] if stated else []  # fmt: skip
    wanted = [name for name in wanted if name not in ATTACK]
    shown = [name for name in wanted if name in Scenario.of_role(*BOARD)]
    header = ["algorithm and rule", "#", "worst", "95 %", "by", "clean", "collapsed", "live"]
    header += ["flags", "hash", *(["ruleset"] if several else []), *shown]
    lines: list[Sequence[Cell]] = []
    for (held, _, row), fields in zip(triples, stated, strict=True):
        lines.append(
            [
                Link(row.label, f"{held.row_name(row)}.html"),
                "-" if row.rank is None else str(row.rank),
                Shown(f"{row.worst.mean:.3f}", row.worst.mean),
                f"{row.worst.low:.3f}-{row.worst.high:.3f}",
                row.worst_attack or "-",
                "-" if row.clean is None else f"{row.clean.mean:.3f}",
                f"{row.collapsed.count}/{row.collapsed.of}",
                f"{row.live:.2f}",
                ", ".join(row.flags) or "-",
                row.hash or "-",
                *([held.title] if several else []),
                *(str(fields[name]) for name in shown),
            ]
        )
    factors: dict[str, list[tuple[str, ...]]] = {}
    if several:
        factors["ruleset"] = [(held.title,) for held, _, _ in triples]
    factors |= told.factors([row for _, _, row in triples], *wanted)
    right = [i for i, name in enumerate(header) if name in ("#", "worst", "95 %", "clean", "live")]
    table = Table("", "", header, lines, right, factors=factors)
    note = (
        "Accuracies compare within a board: one setting of one ruleset. #: the place on its board. "
        "hash: by which hgobench cite finds the row, and prints BibTeX for it."
    )
    return Page(ROWS, "All rows", [Text(note), table])


def rules_page() -> Page:
    """Return the tables of rules and pre-rules."""
    return _listed(RULES, "Rules", {"rules": "Rules by themselves", "pre_rules": "Pre-rules"})


def attacks_page() -> Page:
    """Return the tables of attacks, threat models and ensembles."""
    values, heterogeneity = "Attacks on values and data", "Attacks on heterogeneity"
    kinds = {"attacks": values, "heterogeneity_attacks": heterogeneity}
    page = _listed(ATTACKS, "Attacks", kinds)
    further = [
        Heading("Threat models"), *listing.threat_models().blocks,
        Heading("Ensembles"), *listing.ensembles().blocks,
    ]  # fmt: skip
    return replace(page, blocks=[*page.blocks, *further])


def _listed(name: str, title: str, kinds: dict[str, str]) -> Page:
    blocks: list[Block] = []
    for kind, heading in kinds.items():
        blocks.append(Heading(heading))
        for block in listing.page(kind, full=True).blocks:
            if isinstance(block, Table):
                anchors = [f"{kind}-{str(row[0]).partition(' ')[0]}" for row in block.rows]
                block = replace(block, name="", anchors=anchors)
            blocks.append(block)
    return Page(name, title, blocks)
