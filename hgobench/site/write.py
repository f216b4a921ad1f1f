"""A site's files, all in one folder, which links name by their names alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hgobench.arguments import check_arguments, folder
from hgobench.errors import InputError
from hgobench.report import files
from hgobench.report.html import Frame
from hgobench.report.page import Link, Page
from hgobench.writing import whole

from . import pages, rows
from .held import Held, read

MANIFEST = "site.json"


@dataclass(frozen=True)
class Site:
    """A site that was written.

    Attributes:
        index: its first page.
        pages: how many pages it has.
        missing: what the results lack, by ruleset.
    """

    index: Path
    pages: int
    missing: dict[str, list[str]]


def write_site(*folders: str | Path, out: str | Path) -> Site:
    """Write a site of what folders hold.

    Files that an earlier site left in `out`, and that this one has not, are removed; others stay.

    Args:
        folders: one or more, as ``hgobench run`` makes them.
        out: where the site goes; made if it does not exist.

    Raises:
        InputError: a folder holds no store, or one that can't be read.
    """
    check_arguments(out=(folder, out))
    if not folders:
        raise InputError("folders: none; expected a folder of results")
    held = read(folders)
    target = Path(out)
    with whole(target) as unfinished:
        files.shared(unfinished)
        count = 0
        for page, frame in framed(held):
            files.write(unfinished, page, frame)
            count += 1
        names = sorted(path.name for path in unfinished.iterdir())
        (unfinished / MANIFEST).write_text(json.dumps(names, indent=0) + "\n", encoding="utf-8")
        before = _before(target)
    for name in before - {*names, MANIFEST}:
        with suppress(OSError):
            (target / name).unlink()
    missing = {one.ruleset: said for one in held if (said := pages.missing(one))}
    return Site(target / f"{pages.INDEX}.html", count, missing)


def _before(folder: Path) -> set[str]:
    """Return the names of the files that an earlier site left."""
    try:
        names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    known = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return {name for name in names if Path(name).name == name} if known else set()


def framed(held: Sequence[Held]) -> Iterator[tuple[Page, Frame]]:
    """Yield the pages of a site, each with what surrounds it."""
    boards = any(one.boards for one in held)
    parts = [
        Link("Boards", f"{pages.INDEX}.html"),
        *([Link("Rows", f"{pages.ROWS}.html")] if boards else []),
        Link("Rules", f"{pages.RULES}.html"),
        Link("Attacks", f"{pages.ATTACKS}.html"),
    ]
    home = parts[0]
    yield pages.index_page(held), Frame(parts, "Boards")
    if boards:
        yield pages.rows_page(held), Frame(parts, "Rows")
    yield pages.rules_page(), Frame(parts, "Rules")
    yield pages.attacks_page(), Frame(parts, "Attacks")
    for one in held:
        for board in one.boards:
            page = pages.board_page(one, board)
            yield page, Frame(parts, "Boards", [home])
            above = [home, Link(page.title, f"{page.name}.html")]
            for row in board.rows:
                yield rows.row_page(one, board, row), Frame(parts, "Boards", above)
                name = f"{one.row_name(row)}.html"
                frame = Frame(parts, "Boards", [*above, Link(row.label, name)])
                yield rows.cells_page(one, row), frame
