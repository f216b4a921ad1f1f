"""A row that is cited: its BibTeX, and a page of what it means."""

from __future__ import annotations

from hgobench.citation import AUTHORS, PAPER, YEAR, Citation, tool
from hgobench.leaderboard import Row

from . import writers
from .boards import interval, stated
from .page import Block, Cell, Facts, Items, Page, Table


def bibtex(cited: Citation) -> str:
    """Return the BibTeX entries of the row, of hgobench and of the paper."""
    row = cited.row
    under = f" under {row.worst_attack}" if row.worst_attack else ""
    what = "worst case" if row.worst_attack else "accuracy"
    title = f"{row.label} on {cited.holdings.ruleset}"
    note = f"{what} {stated(row.worst)}{under}"
    entry = (
        f"@misc{{hgobench-{row.hash},\n"
        f"  author       = {{{{{AUTHORS}}}}},\n"
        f"  title        = {{{{{_inert(title)}}}}},\n"
        f"  howpublished = {{hgobench row {row.hash}}},\n"
        f"  year         = {{{YEAR}}},\n"
        f"  note         = {{{_inert(note)}}}\n"
        "}"
    )
    return "\n\n".join([entry, tool(), PAPER])


def _inert(text: str) -> str:
    """Return a text for a field: neither LaTeX nor BibTeX gives it a meaning."""
    return writers.latex(text).replace("@", r"\char64{}")


def page(cited: Citation) -> Page:
    """Return what a row means: its values, its scenario, what it was computed with."""
    row, board = cited.row, cited.board
    rank = "not ranked" if row.rank is None else str(row.rank)
    told: list[tuple[str, str]] = [
        ("row", row.label),
        ("hash", row.hash),
        ("ruleset", cited.holdings.ruleset),
        ("board", board.title or "all results"),
        ("folder", str(cited.folder)),
        ("rank", f"{rank} of {len(board.rows)} rows"),
        ("worst case" if row.worst_attack else "accuracy", _worst(row)),
    ]
    told += [("without attack", stated(row.clean))] if row.clean and row.worst_attack else []
    told.append(("seeds", ", ".join(map(str, cited.seeds))))
    told += [(f"flag: {name}", why) for name, why in row.flags.items()]
    lines: list[list[Cell]] = [
        [name, row.attacks.get(name, ""), f"{value.mean:.4f}", interval(value), value.seeds]
        for name, value in sorted(row.cells.items(), key=lambda item: item[1].mean)
    ]
    if not row.attacks:
        lines = [[name, *rest] for name, _, *rest in lines]
    header = ["attack", *(["what it is"] if row.attacks else []), "accuracy", "95 %", "seeds"]
    computed = [(name, ", ".join(values)) for name, values in cited.computed_with.items()]
    blocks: list[Block] = [
        Facts(told),
        Table("", "Under each attack", header, lines, range(len(header) - 3, len(header))),
        Facts(
            [(name, str(value)) for name, value in cited.scenario.items()],
            "Fields that all its cells share",
        ),
        Facts(computed, "Computed with"),
        Items("Run it again:", cited.commands),
    ]
    content = {"bibtex": bibtex(cited), **cited.as_data()}
    return Page("citation", f"Row {row.hash}", blocks, content=content)


def _worst(row: Row) -> str:
    if not row.worst_attack:
        return stated(row.worst)
    attack = row.attacks.get(row.worst_attack, row.worst_attack)
    named = "" if attack == row.worst_attack else f" ({row.worst_attack})"
    return f"{stated(row.worst)} under {attack}{named}"
