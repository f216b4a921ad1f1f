"""Pages of a site that are no results: audits, figures, boards of cards; and comparisons."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from hgobench.comparison import Comparison, compared
from hgobench.errors import InputError
from hgobench.report import boards, comparison, kept
from hgobench.report.page import Block, Cell, Chart, Facts, Link, Page, Shown, Table, Text

Part = Literal["Cards", "Audits", "Paper", "Speed"]
FOLDER = "pages"  # of a folder of results
ASV = Path("html", "index.html")  # of a folder of asv's: its own pages
COMMANDS: Mapping[str, Part] = {"hgobench reproduce ": "Paper", "hgobench bench ": "Speed"}
COMPARISONS = "comparisons"
NAMES: Mapping[Part, str] = {
    "Cards": "cards", "Audits": "audits", "Paper": "paper", "Speed": "speed"
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A page of an audit, a plan, a figure of the paper, what commits cost, or a folder of cards.

    Attributes:
        part: of the site.
        folder: where it was.
        page: the page, named and linked as in the site.
    """

    part: Part
    folder: str
    page: Page


def holds_pages(folder: str | Path) -> bool:
    """Return whether a folder holds pages or cards, with results or without."""
    from hgobench.cards.collection import holds_cards  # cards are cited, as a site's rows are

    there = Path(folder, FOLDER).is_dir() or Path(folder, ASV).is_file()
    return there or holds_cards(Path(folder))


def read(folders: Iterable[str | Path], out: Path) -> tuple[list[Study], list[str]]:
    """Return the pages that folders hold besides results, and what is wrong with others.

    Args:
        folders: the folders.
        out: where the site goes, from which asv's own pages are linked.

    Raises:
        InputError: cards of a folder contradict themselves or each other.
    """
    studies: list[Study] = []
    problems: list[str] = []
    taken: set[str] = set()
    for folder in folders:
        pages, wrong = kept.read(Path(folder, FOLDER))
        problems += wrong
        commands = [page.command for page in pages]
        parts = [COMMANDS[word] for word in COMMANDS for said in commands if said.startswith(word)]
        part = parts[0] if parts else "Audits"
        names = {page.name: _name(part, page.name, taken) for page in pages}
        studies += [Study(part, str(folder), _renamed(page, names)) for page in pages]
        if Path(folder, ASV).is_file():
            page = _asv_page(Path(folder), out, _name("Speed", "asv", taken))
            studies.append(Study("Speed", str(folder), page))
        if (cards := _cards_page(Path(folder))) is not None:
            names = {cards.name: _name("Cards", cards.name, taken)}
            studies.append(Study("Cards", str(folder), _renamed(cards, names)))
    return studies, problems


def _cards_page(folder: Path) -> Page | None:
    """Return the boards of a folder of cards, with attacks from outside; None: it has none."""
    from hgobench.cards.collection import collected, holds_cards

    if not holds_cards(folder):
        return None
    found = collected(folder)
    page = boards.page(found.ruleset, found.boards())
    notes = [Text(note, "note") for note in found.notes()]
    return replace(
        page,
        name=found.ruleset,
        title=f"Cards of {found.ruleset}",
        blocks=[*page.blocks, *notes],
        command=f"hgobench leaderboard {shlex.quote(str(folder))}",
    )


def _asv_page(folder: Path, out: Path, name: str) -> Page:
    """Return the page that leads to asv's own, which stay where they are."""
    try:
        to = quote(Path(os.path.relpath(folder / ASV, out)).as_posix())
    except ValueError:  # on another drive
        to = (folder / ASV).resolve().as_uri()
    about = (
        "They draw each benchmark over the commits that were measured. Browsers refuse them what "
        "they read from a disk: see them on a web server, which `hgobench bench asv preview` is, "
        "too."
    )
    blocks: list[Block] = [Text(about), Facts([("asv's own pages", Link(to, to))])]
    return Page(name, "asv's own pages", blocks, "hgobench bench asv publish")


def _name(part: Part, name: str, taken: set[str]) -> str:
    """Return what a page is called in the site."""
    return _unique(f"{NAMES[part]}-{name}", taken)


def _unique(name: str, taken: set[str]) -> str:
    """Return a name as it can be part of a file's, whatever it is; it is then taken."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80] or "unnamed"
    found, number = slug, 1
    while found in taken:
        number += 1
        found = f"{slug}-{number}"
    taken.add(found)
    return found


def _renamed(page: Page, names: Mapping[str, str]) -> Page:
    """Return a page under its name in the site; links lead to other pages of its folder alone."""

    def cell(value: Cell) -> Cell:
        if not isinstance(value, Link | Shown) or not value.to:
            return value
        name, ending, anchor = value.to.partition(".html")
        to = f"{names[name]}{ending}{anchor}" if ending and name in names else ""
        if isinstance(value, Shown):
            return replace(value, to=to)
        return replace(value, to=to) if to else value.text

    taken: set[str] = set()

    def block(one: Block) -> Block:
        if isinstance(one, Table):
            rows = [[cell(value) for value in row] for row in one.rows]
            return replace(one, rows=rows, name=one.name and _unique(one.name, taken))
        if isinstance(one, Chart):
            return replace(one, name=one.name and _unique(one.name, taken))
        if isinstance(one, Facts):
            facts = [(name, v.text if isinstance(v, Link) else v) for name, v in one.facts]
            return replace(one, facts=facts)
        return one

    return replace(page, name=names[page.name], blocks=[block(one) for one in page.blocks])


def list_page(part: Part, studies: Sequence[Study]) -> Page:
    """Return the list of the pages of a part."""
    rows: list[Sequence[Cell]] = [
        [Link(study.page.title, f"{study.page.name}.html"), study.page.command or "-", study.folder]
        for study in studies
    ]
    titles: Mapping[Part, str] = {
        "Cards": "Boards of cards",
        "Audits": "Audits",
        "Paper": "The paper's figures",
        "Speed": "What commits cost",
    }
    table = Table("", "", ["what", "the command that writes it", "folder"], rows)
    return Page(NAMES[part], titles[part], [table])


@dataclass(frozen=True)
class Versus:
    """Two folders, compared.

    Attributes:
        folders: A and B.
        comparison: the comparison; None: there is none.
        problem: why.
    """

    folders: tuple[str, str]
    comparison: Comparison | None
    problem: str = ""


def compare(folders: Mapping[str, Collection[str]]) -> list[Versus]:
    """Compare the first folder with each of the others.

    Args:
        folders: each with its rulesets.
    """
    found = []
    first, *others = folders or [""]
    for other in others:
        both, names = (first, other), (set(folders[first]), set(folders[other]))
        if not names[0] & names[1]:
            found.append(Versus(both, None, "they have no ruleset in common"))
            continue
        try:
            found.append(Versus(both, compared(first, other, (), (), (), "test")))
        except InputError as error:
            found.append(Versus(both, None, "; ".join(error.problems)))
    return found


def comparison_pages(several: Sequence[Versus]) -> list[Page]:
    """Return the page of each comparison, and before them the list of all; empty: there is none."""
    pages: list[Page] = []
    rows: list[Sequence[Cell]] = []
    for number, one in enumerate(several, 1):
        if one.comparison is None:
            rows.append([*one.folders, "-", "-", "-", one.problem])
            continue
        page = comparison.page(one.comparison)
        command = shlex.join(["hgobench", "compare", *one.folders])
        title = f"{one.folders[0]} and {one.folders[1]} compared"
        page = replace(page, name=f"compare-{number}", title=title, command=command)
        pages.append(page)
        compared = one.comparison
        rows.append(
            [
                Link(one.folders[0], f"{page.name}.html"),
                Link(one.folders[1], f"{page.name}.html"),
                len(compared.pairs),
                compared.identical,
                Shown(f"{compared.overall.difference:+.4f}", compared.overall.difference),
                compared.overall.verdict,
            ]
        )
    if not pages:
        return []
    header = ["A", "B", "cells that both have", "the same to the last bit", "B - A", "better"]
    about = "Cells are paired by their seed and all else; differences are B's accuracy less A's."
    table = Table("", "", header, rows, [2, 3, 4])
    return [Page(COMPARISONS, "Comparisons", [Text(about), table]), *pages]
