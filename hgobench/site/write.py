"""A site's files, all in one folder, which links name by their names alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hgobench import reading
from hgobench.arguments import check_arguments, folder
from hgobench.errors import InputError
from hgobench.report import charts, files
from hgobench.report.html import Frame
from hgobench.report.page import Link, Page
from hgobench.writing import whole

from . import chosen, pages, rows, studies
from .held import Held, read
from .studies import Study, Versus

MANIFEST = "site.json"


@dataclass(frozen=True)
class Site:
    """A site that was written.

    Attributes:
        index: its first page.
        pages: how many pages it has.
        missing: what the results lack.
        problems: pages of audits and figures that can't be shown, and why.
    """

    index: Path
    pages: int
    missing: Sequence[str]
    problems: Sequence[str]


def write_site(*folders: str | Path, out: str | Path, suites: Sequence[str | Path] = ()) -> Site:
    """Write a site of what folders hold.

    Files that an earlier site left in `out`, and that this one has not, are removed; others stay.

    Args:
        folders: one or more, as ``hgobench run`` makes them, or of cards.
        out: where the site goes; made if it does not exist.
        suites: files of suites of one's own that the folders hold results of: the site says what
            they lack, and the command that runs them. Those of hgobench's are known.

    Raises:
        InputError: a folder holds no store, or one that can't be read; there is nothing to show; a
            suite can't be read, or there are no results of it.

    Example:
        >>> import tempfile
        >>> from hgobench import Scenario, open_store, run
        >>> with tempfile.TemporaryDirectory() as name, open_store(Path(name, "results")) as store:
        ...     store.add(run(Scenario(workers=20, rounds=1)), "mine-1")
        ...     site = write_site(Path(name, "results"), out=Path(name, "site"))
        ...     site.index.name, site.pages, site.missing
        ('index.html', 7, [])
    """
    check_arguments(out=(folder, out))
    if not folders:
        raise InputError("folders: none; expected a folder of results")
    held = read(folders, suites)
    studied, problems = studies.read(folders, Path(out))
    rulesets: dict[str, list[str]] = {}
    for one in held:
        if one.boards:
            rulesets.setdefault(one.folder, []).append(one.ruleset)
    versus = studies.compare(rulesets)
    if not held and not studied:
        empty = [f"store: {str(name)!r}: holds no results" for name in folders]
        raise InputError([*empty, *problems])
    target = Path(out)
    with whole(target) as unfinished:
        files.shared(unfinished)
        studied, undrawn = _drawn(studied)
        problems += undrawn
        count = 0
        for page, frame in framed(held, studied, versus, problems):
            files.write(unfinished, page, frame)
            count += 1
        names = sorted(path.name for path in unfinished.iterdir())
        (unfinished / MANIFEST).write_text(json.dumps(names, indent=0) + "\n", encoding="utf-8")
        before = _before(target)
    for name in before - {*names, MANIFEST}:
        with suppress(OSError):
            (target / name).unlink()
    missing = [f"{one.title}: {said}" for one in held for said in pages.missing(one)]
    return Site(target / f"{pages.INDEX}.html", count, missing, problems)


def _drawn(studied: Sequence[Study]) -> tuple[list[Study], list[str]]:
    """Return the studies that can be drawn, and why others can't: their data may be anybody's."""
    drawn, problems = [], []
    for study in studied:
        try:
            with reading.refusing(f"page: {study.page.title!r} in {study.folder!r}"):
                for chart in study.page.charts:
                    charts.svg(chart, chart.name)
            drawn.append(study)
        except InputError as error:
            problems += error.problems
    return drawn, problems


def _before(folder: Path) -> set[str]:
    """Return the names of the files that an earlier site left."""
    try:
        names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    known = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return {name for name in names if Path(name).name == name} if known else set()


def framed(
    held: Sequence[Held],
    studied: Sequence[Study] = (),
    versus: Sequence[Versus] = (),
    problems: Sequence[str] = (),
) -> Iterator[tuple[Page, Frame]]:
    """Yield the pages of a site, each with what surrounds it.

    Args:
        held: the results.
        studied: pages of audits and figures.
        versus: comparisons.
        problems: what can't be shown.
    """
    compared = studies.comparison_pages(versus)
    named = [
        ("Boards", pages.INDEX, True),
        ("Rows", pages.ROWS, any(one.boards for one in held)),
        ("Comparisons", studies.COMPARISONS, bool(compared)),
        *(
            (part, name, any(s.part == part for s in studied))
            for part, name in studies.NAMES.items()
        ),
        ("Rules", pages.RULES, True),
        ("Attacks", pages.ATTACKS, True),
    ]
    links = {part: Link(part, f"{name}.html") for part, name, there in named if there}
    parts = list(links.values())
    home = links["Boards"]
    notes = [versus_problem(one) for one in versus if one.comparison is None]
    yield pages.index_page(held, [*notes, *problems]), Frame(parts, "Boards")
    if "Rows" in links:
        yield pages.rows_page(held), Frame(parts, "Rows")
    yield pages.rules_page(), Frame(parts, "Rules")
    yield pages.attacks_page(), Frame(parts, "Attacks")
    for page in compared:
        above = [] if page.name == studies.COMPARISONS else [links["Comparisons"]]
        yield page, Frame(parts, "Comparisons", above)
    for part in studies.NAMES:
        some = [study for study in studied if study.part == part]
        if some:
            yield studies.list_page(part, some), Frame(parts, part)
        for study in some:
            yield study.page, Frame(parts, part, [links[part]])
    for one in held:
        yield from _of_ruleset(one, parts, home)


def versus_problem(one: Versus) -> str:
    """Say why two folders are not compared."""
    return f"{one.folders[0]} and {one.folders[1]} are not compared: {one.problem}"


def _of_ruleset(held: Held, parts: Sequence[Link], home: Link) -> Iterator[tuple[Page, Frame]]:
    """Yield the pages of a ruleset's boards, rows and cells."""
    for selection, _, _ in held.lacking:
        yield chosen.waiting_page(held, selection), Frame(parts, "Boards", [home])
    for board in held.boards:
        page = pages.board_page(held, board)
        yield page, Frame(parts, "Boards", [home])
        above = [home, Link(page.title, f"{page.name}.html")]
        for row in board.rows:
            yield rows.row_page(held, board, row), Frame(parts, "Boards", above)
            own = Link(row.label, f"{held.row_name(row)}.html")
            yield rows.cells_page(held, row), Frame(parts, "Boards", [*above, own])
