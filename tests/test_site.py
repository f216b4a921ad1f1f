"""A site of boards: every link resolves, every number leads to where it comes from."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hgobench import Scenario
from hgobench.cards.collection import collected
from hgobench.errors import InputError
from hgobench.evaluation import evaluate
from hgobench.evaluation.plan import Plan
from hgobench.evaluation.selection import Selection, Worst, unattacked
from hgobench.leaderboard import boards
from hgobench.report import boards as told
from hgobench.report import files, kept
from hgobench.report.html import Frame, html
from hgobench.report.page import (
    Chart,
    Facts,
    Finding,
    Findings,
    Heading,
    Items,
    Line,
    Link,
    Page,
    Shown,
    Table,
    Text,
)
from hgobench.report.render import render
from hgobench.results import open_store
from hgobench.settings import parse_setting
from hgobench.site import Site, pages, write_site
from hgobench.site.again import commands, suite_of
from hgobench.site.held import read
from hgobench.suite import Suite
from tests.conftest import ROOT
from tests.stores import alter, stored
from tests.test_cli import hgobench

EVIL = "evil:<script>alert(1)</script>"
ATTACKS = ("none", "foe", "tail+alie[z=1.5]")
SEEDS = range(6)
FIELDS: dict[str, Any] = {"workers": 20, "f": 4, "rounds": 4, "evaluation_interval": 2}


def grid() -> Iterator[Scenario]:
    for algorithm in ("hgo", "sgd"):
        for rule in ("median", "krum", EVIL):
            for attack in ATTACKS:
                for seed in SEEDS:
                    known = "median" if rule == EVIL else rule
                    cell = Scenario(
                        rule=known, algorithm=algorithm, attack=attack, seed=seed, **FIELDS
                    )
                    yield Scenario.restore({**cell.to_dict(), "rule": rule})


def accuracy(cell: Scenario) -> float:
    """A number of its own for each cell."""
    return 0.3 + int(cell.digest[:6], 16) / 16**6 / 2


def evaluated(rule: str, plan: Plan) -> Selection:
    given = unattacked(Scenario(rule=rule, **FIELDS), plan)
    members = {
        "foe 1": Worst({"attack": "foe[epsilon=1.0]"}, (0.4, 0.41)),
        "nan": Worst({"attack": "nan"}, (0.7, 0.71)),
        "schedule": Worst({"attack": "alie", "attack_start": 2}, (0.5, 0.51), 3),
        "tail": Worst({"attack": "tail+alie"}, (0.4, 0.41)),
    }
    rates = {given.replace(learning_rate=rate): 0.3 + rate / 10 for rate in (0.1, 0.2)}
    row = given.replace(learning_rate=0.2)
    reported = ("foe 1", "schedule", "nan")
    return Selection(plan, given, row, rates, 0.9, members, reported, 24, {"tail": "foe 1"})


PLAN = Plan(selection_seeds=(0, 1), fresh_seeds=tuple(range(100, 106)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with a plain ruleset and an evaluated one."""
    path = tmp_path_factory.mktemp("results")
    with open_store(path) as store:
        results = [
            (stored(cell, accuracy(cell), provenance={"data": "d", "torch": "2.5", "code": "c0de"}),
             "mine-1", cell.digest)
            for cell in grid()
        ]  # fmt: skip
        store.add_all(results)
        chosen = [evaluated(rule, PLAN) for rule in ("krum", "median")]
        evaluate.keep(store, "worst-1", chosen)
        for one in chosen:
            cells = [cell for some in one.fresh.values() for cell in some]
            store.add_all((stored(c, accuracy(c)), "worst-1", c.digest + "w") for c in cells)
            store.add(stored(one.row, 0.5), "worst-1, choosing", one.row.digest + "c")
    return path


STUDY = Page(
    "bounds", f"Bounds {EVIL}",
    [Text("About."), Findings([Finding(EVIL, True, "shown")]),
     Table("bound", "A table", ["rule", "Δ"], [[EVIL, 1.5], ["krum", math.inf]]),
     Chart("b", "A chart", "x", "y", [Line(EVIL, [0, 1], [1.0, math.nan])]),
     Facts([("a", Link("elsewhere", "javascript:alert(1)"))], "Facts", True)],
    "hgobench audit bounds", content={"rule": EVIL},
)  # fmt: skip
FIGURE = Page(
    "fig4b", "fig4b", [Heading("A figure"), Items("values", ["1"])], "hgobench reproduce fig4b"
)
CONTENTS = Page("index", "The paper", [
    Table("", "Figures", ["figure"], [[Link("fig4b", "fig4b.html")], [Link("gone", "gone.html")]])
])  # fmt: skip


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders with pages of an audit and of figures."""
    audits, paper = tmp_path_factory.mktemp("audits"), tmp_path_factory.mktemp("paper")
    files.write(audits / "pages", STUDY)
    for page in (FIGURE, CONTENTS):
        files.write(paper / "pages", page)
    return [audits, paper]


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results in which some cells of `folder` came out otherwise."""
    path = tmp_path_factory.mktemp("after")
    with open_store(path) as store:
        store.add_all(
            (stored(cell, accuracy(cell) + 0.1 * (cell.rule == "krum")), "mine-1", cell.digest)
            for cell in grid()
            if cell.rule != EVIL
        )
    return path


@pytest.fixture(scope="module")
def site(
    folder: Path, after: Path, studied: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Site:
    return write_site(folder, after, *studied, out=tmp_path_factory.mktemp("site"))


class Read(HTMLParser):
    """Reads a page: links, anchors, scripts, and the tables' cells with their links."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[str | None] = []
        self.rows: list[tuple[str, list[list[str]]]] = []  # anchor; text and link of each cell
        self.text = ""
        self.inside = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert not any(name.startswith("on") for name in given)
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag in ("a", "link"):
            self.links.append(given["href"] or "")
        if tag == "script":
            self.scripts.append(given.get("src"))
        if tag == "tr":
            self.rows.append((given.get("id") or "", []))
        if tag == "td":
            self.rows[-1][1].append(["", ""])
            self.inside = True
        if tag == "a" and self.inside:
            self.rows[-1][1][-1][1] = given["href"] or ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "td"

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.inside:
            self.rows[-1][1][-1][0] += data


@pytest.fixture(scope="module")
def read_pages(site: Site) -> dict[str, Read]:
    found = {path.name: Read(path) for path in site.index.parent.glob("*.html")}
    assert len(found) == site.pages
    return found


@pytest.mark.long
def test_all_links_resolve_within_the_site(site: Site, read_pages: dict[str, Read]) -> None:
    here = {path.name for path in site.index.parent.iterdir()}
    for name, page in read_pages.items():
        assert len(page.ids) == len(set(page.ids)), name
        assert page.scripts == ["site.js"], name
        for link in page.links:
            target, _, anchor = link.partition("#")
            assert not target or target in here, (name, link)
            assert not anchor or anchor in read_pages[target or name].ids, (name, link)
        assert "://" not in re.sub(r"<[^>]*>[^<]*", "", page.path.read_text())
    linked = {link.partition("#")[0] for page in read_pages.values() for link in page.links}
    beside = {
        "site.json",
        *(name for name in here if name.startswith("cells") and name.endswith(".js")),
    }
    assert here - linked == beside | {"site.js"}


def test_every_number_of_a_row_leads_to_its_cells(read_pages: dict[str, Read]) -> None:
    of_boards = [page for name, page in read_pages.items() if name.startswith("board-")]
    assert len(of_boards) == 3
    rows = {link for page in of_boards for _, cells in page.rows for _, link in cells if link}
    rows = {link for link in rows if link.startswith("row-")}
    assert len(rows) == 6 + 2 + 4
    seen = 0
    for name in rows:
        row = read_pages[name]
        for _, cells in row.rows:
            for text, link in cells:
                target, _, anchor = link.partition("#")
                if not target.startswith("cells-"):
                    continue
                (found,) = [c for at, c in read_pages[target].rows if at == anchor]
                if re.fullmatch(r"\d+", cells[0][0]):  # a seed's
                    assert float(found[2][0]) == pytest.approx(float(text), abs=6e-4)
                    assert found[1][0] == cells[0][0]
                    seen += 1
        for page in (row, read_pages[name.replace("row", "cells")]):
            assert "evaluation_interval" in page.text
            assert "Computed with" in page.text
            assert "hgobench run smoke --set " in page.text
    assert seen == (6 + 4) * len(ATTACKS) * len(SEEDS) + 2 * 4 * 6


def test_commands_run_the_same_cells_again(site: Site, read_pages: dict[str, Read]) -> None:
    for one in read_held(site):
        for row in (row for board in one.boards for row in board.rows):
            if row.rule == EVIL:
                continue
            text = read_pages[f"{one.row_name(row)}.html"].text
            scenarios = [score.scenario for score in row.scores]
            again: set[Scenario] = set()
            for command, group in commands(scenarios).items():
                assert command in text
                cells = expanded(command)
                assert cells == set(group)
                again |= cells
            assert again == set(scenarios)


def read_held(site: Site) -> list[Any]:
    """Read what the site shows anew, from the folders that it names."""
    lines = [cells for _, cells in Read(site.index).rows if len(cells) == 8]
    return read(list(dict.fromkeys(cells[1][0] for cells in lines)))


def expanded(command: str) -> set[Scenario]:
    words = shlex.split(command)
    assert words[:3] == ["hgobench", "run", "smoke"]
    settings = [parse_setting(word) for word in words[4::2]]
    return set(Suite.load("smoke").changed(settings).expand()[0])


def test_a_ruleset_s_command_is_that_of_its_suite() -> None:
    for name in ("quick", "standard"):
        found = suite_of(Suite.load(name).ruleset)
        assert found is not None
        assert (found[0].name, found[1]) == (name, f"hgobench run {name}")
    changed = Suite.load("quick").changed([parse_setting("f=4"), parse_setting("rounds=7")])
    known = suite_of(changed.ruleset)
    assert known is not None
    assert known[0].ruleset == changed.ruleset
    assert set(known[0].expand()[0]) == set(changed.expand()[0])
    for ruleset in ("quick-2", "quick-3 with nonsense=4", "quick-3 with rounds=1 rounds=2", "x"):
        assert suite_of(ruleset) is None


def test_downloads_are_what_the_writers_write(site: Site) -> None:
    held = read_held(site)[0]
    (board,) = held.boards
    page = pages.board_page(held, board)
    written = site.index.parent / page.name
    assert written.with_suffix(".csv").read_text() == render(page, "csv") + "\n"
    assert json.loads(written.with_suffix(".json").read_text()) == page.content
    assert written.with_suffix(".tex").read_text() == render(page, "latex") + "\n"
    plain = told.page(held.ruleset, [board])
    assert render(plain, "csv") == render(page, "csv")
    assert plain.content == page.content


def test_a_hostile_name_stays_text(site: Site, read_pages: dict[str, Read]) -> None:
    for path in site.index.parent.iterdir():
        text = path.read_text()
        if path.suffix in (".html", ".js") and path.name != "site.js":
            assert "<script>alert" not in text, path
        if path.suffix == ".js" and path.name != "site.js":
            assert not set("<>&") & set(text), path
    board = next(
        page for name, page in read_pages.items() if EVIL in page.text and "board-" in name
    )
    assert any(EVIL in cells[1][0] for _, cells in board.rows if cells)


def test_curves_are_data_in_a_script(site: Site) -> None:
    held = read_held(site)[0]
    row = held.boards[0].rows[0]
    name = held.row_name(row).replace("row", "cells")
    text = (site.index.parent / f"{name}-curves.js").read_text()
    match = re.fullmatch(r'hgobench\.data\("(.*?)",(.*)\);\n', text)
    assert match
    assert match[1] == f"{name}-curves.js"
    data = json.loads(match[2])
    assert {group for group, _, _ in data["curves"]} == set(ATTACKS)
    assert len(data["curves"]) == len(ATTACKS) * len(SEEDS)
    for group, label, columns in data["curves"]:
        (score,) = [
            one for one in row.scores
            if one.attack == group and label == f"seed {one.scenario.seed}"
        ]  # fmt: skip
        assert columns["test accuracy"][-1] == pytest.approx(score.accuracy, abs=1e-4)
        assert columns["round"] == [4]


def test_members_of_an_ensemble_are_shown_by_stage(read_pages: dict[str, Read]) -> None:
    rows = [page for name, page in read_pages.items() if "by stage" in page.text and "row-" in name]
    assert len(rows) == 2
    for page in rows:
        lines = {
            cells[1][0]: [cells[0][0], cells[3][0], cells[8][0]]
            for _, cells in page.rows
            if len(cells) == 9
        }
        assert list(lines) == ["nan", "foe 1", "tail", "schedule"]
        assert lines["tail"] == ["heterogeneity", "always", "same runs as foe 1"]
        assert lines["schedule"][:2] == ["adaptive", "attack_start=2"]
        assert sorted(line[2] for line in lines.values()) == [
            "reported", "reported", "same runs as foe 1", "the worst case"
        ]  # fmt: skip


def test_a_growing_store_shows_what_is_there_and_says_what_is_missing(tmp_path: Path) -> None:
    suite = Suite.load("smoke")
    every = list(suite.expand()[0])
    chosen = [evaluated(rule, PLAN) for rule in ("krum", "median")]
    with open_store(tmp_path / "r") as store:
        few = [cell for cell in every if cell.rule != "krum" or cell.seed == 0]
        store.add_all((stored(cell, 0.5), suite.ruleset, cell.digest) for cell in few)
        evaluate.keep(store, "worst-1", chosen)
        first, second = ([c for some in one.fresh.values() for c in some] for one in chosen)
        cells = [*first, *second[:5]]
        store.add_all((stored(cell, 0.5), "worst-1", cell.digest + "w") for cell in cells)
        store.add(stored(every[0], 0.5), "late-1, choosing", "c" * 64)
    done = hgobench("site", str(tmp_path / "r"), "--out", str(tmp_path / "s"))
    assert done.returncode == 0, done.stderr
    lines = [
        "late-1: attacks are still being chosen: no row is reported yet",
        "smoke-2: 2 rows lack cells that other rows have",
        "smoke-2: 6 of the 36 cells of the suite smoke",
        "worst-1: 1 of 2 rows lack 19 cells",
    ]
    assert [line for line in done.stderr.split("\n") if line] == [f"missing: {t}" for t in lines]
    page = Read(tmp_path / "s" / "index.html")
    for line in lines:
        ruleset, _, said = line.partition(": ")
        (row,) = [cells for _, cells in page.rows if len(cells) == 8 and cells[0][0] == ruleset]
        assert said in row[6][0].split("; ")
    (waiting,) = [cells for _, cells in page.rows if len(cells) == 4]
    assert [text for text, _ in waiting] == ["hgo median coordinate", "worst-1", "5", "24"]
    own = Read(tmp_path / "s" / waiting[0][1])
    so_far = [[text for text, _ in cells] for _, cells in own.rows if len(cells) == 4]
    assert so_far[:2] == [["none", "5", "6", "0.500"], ["foe 1", "0", "6", "-"]]
    assert "to be reported" in own.text


def test_what_a_suite_of_one_s_own_lacks_is_said(tmp_path: Path) -> None:
    (tmp_path / "ci.toml").write_text(
        'ruleset = "ci-1"\n[scenario]\nworkers = 20\nrounds = 2\n[grid]\nrule = ["median", "krum"]\n'
        "seed = [0, 1, 2]\n"
    )
    with open_store(tmp_path / "r") as store:
        for cell in list(Suite.load(tmp_path / "ci.toml").expand()[0])[:4]:
            store.add(stored(cell, 0.5), "ci-1", cell.digest)
    without = write_site(tmp_path / "r", out=tmp_path / "s")
    assert without.missing == []
    done = hgobench("site", "r", "--suite", "ci.toml", "--out", "s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "missing: ci-1: 2 of the 6 cells of the suite ci\n" in done.stderr
    (board,) = (tmp_path / "s").glob("board-*.html")
    assert "hgobench run ci.toml" in Read(board).text
    for suite, problem in (
        ("nope.toml", "suite: "),
        ("smoke", "--suite: smoke: no folder holds results of ruleset 'smoke-2'; they hold 'ci-1'"),
    ):
        refused = hgobench("site", "r", "--suite", suite, "--out", "s", cwd=tmp_path)
        assert refused.returncode == 2
        assert f"\n  {problem}" in refused.stderr, refused.stderr


def test_a_row_says_how_to_cite_it(site: Site, read_pages: dict[str, Read]) -> None:
    listed = [[text for text, _ in cells] for _, cells in read_pages["rows.html"].rows]
    for held in read_held(site):
        for board in held.boards:
            for row in board.rows:
                assert re.fullmatch(r"[0-9a-f]{12}", row.hash)
                text = read_pages[f"{held.row_name(row)}.html"].text
                assert f"hgobench cite {row.hash} {held.folder}" in text
                assert f"hgobench card {held.folder} --row {row.hash}" in text
                assert any(row.hash in cells for cells in listed)


def test_a_site_that_is_written_again_has_no_pages_of_before(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "site"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / "site.json").write_text(json.dumps(["row-gone.html", "../mine.txt", "kept"]))
    (out / "row-gone.html").write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    first = write_site(folder, out=out)
    assert not (out / "row-gone.html").exists()
    assert (out / "mine.txt").exists()
    assert (tmp_path / "mine.txt").exists()
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert write_site(folder, out=out) == first
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_can_t_be_a_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folders: none; expected a folder of results"):
        write_site(out=tmp_path / "s")
    done = hgobench("site", str(tmp_path / "nowhere"), "--out", str(tmp_path / "s"))
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert not (tmp_path / "s").exists()


def test_a_board_of_500_rows_is_under_400_kilobytes() -> None:
    scores = [one for board in _suite_boards() for row in board.rows for one in row.scores]
    (board,) = boards(scores)
    row = max(board.rows, key=lambda row: len(row.label))
    rows = [
        replace(row, label=f"hgo[momentum=0.9] bucketing+geometric_median masked v={i}",
                flags={"learning rate at an end": "", "randomised": ""})
        for i in range(500)
    ]  # fmt: skip
    held = read_none()
    page = pages.board_page(held, replace(board, rows=rows))
    frame = Frame([Link("Boards", "index.html")], "Boards")
    written = html(page, frame)
    assert written.count("<tr") > 500
    assert len(written.encode()) < 400_000


def _suite_boards() -> Any:
    attacks = (
        "none",
        "foe",
        "alie",
        "fang",
        "mimic",
        "min_max",
        "min_sum",
        "sign_flip",
        "nan",
        "inf",
    )
    from hgobench.leaderboard import Score

    return boards(
        Score(Scenario(rule=rule, attack=attack, seed=seed, **FIELDS), "done", 0.5)
        for rule in ("median", "geometric_median")
        for attack in attacks
        for seed in SEEDS
    )


def read_none() -> Any:
    from hgobench.site.held import Held

    return Held("results", "mine-1", "mine-1")


def test_pages_by_themselves_are_as_they_were(tmp_path: Path) -> None:
    """A page that is of no site has its style inside, and neither a script nor anything beside."""
    board = _suite_boards()
    page = told.page("mine-1", board)
    assert "<script" not in html(page)
    assert "site.js" not in html(page)
    assert "data-f" not in html(page)
    assert files.write(tmp_path, page).read_text() == html(page)


def test_pages_of_audits_and_figures_are_part_of_the_site(read_pages: dict[str, Read]) -> None:
    audit = read_pages["audits-bounds.html"]
    assert audit.rows[1][1][0][0] == EVIL
    assert {"audits.html", "audits-bounds-bound.csv", "audits-bounds.json"} <= {*audit.links}
    assert not any("javascript" in link for page in read_pages.values() for link in page.links)
    contents = read_pages["paper-index.html"]
    assert [cells[0] for _, cells in contents.rows if cells] == [
        ["fig4b", "paper-fig4b.html"], ["gone", ""]
    ]  # fmt: skip
    listed = read_pages["paper.html"].rows
    assert [cells[0][1] for _, cells in listed if cells] == ["paper-fig4b.html", "paper-index.html"]
    for name in ("audits.html", "paper.html", "comparisons.html"):
        assert all(name in page.links for page in read_pages.values()), name


def test_folders_are_compared(read_pages: dict[str, Read], folder: Path, after: Path) -> None:
    page = read_pages["compare-1.html"]
    cells = 2 * 2 * len(ATTACKS) * len(SEEDS)
    assert f"{cells // 2} of {cells} cells" in page.text
    assert f"hgobench compare {folder} {after}" in page.text
    (line,) = [cells for _, cells in read_pages["comparisons.html"].rows if cells]
    assert [text for text, _ in line[2:4]] == [str(cells), str(cells // 2)]
    assert line[0][1] == "compare-1.html"
    titles = {cells[1][0] for _, cells in read_pages["index.html"].rows if len(cells) == 9}
    assert titles == {f"mine-1 in {folder}", f"mine-1 in {after}", "worst-1"}


def test_folders_that_can_t_be_compared_say_so(folder: Path, tmp_path: Path) -> None:
    with open_store(tmp_path / "r") as store:
        store.add(stored(next(grid()), 0.5), "other-1", "a" * 64)
        store.add(stored(next(grid()), 0.5), "other-2", "b" * 64)
    site = write_site(folder, tmp_path / "r", out=tmp_path / "s")
    assert not (tmp_path / "s" / "comparisons.html").exists()
    assert (
        f"{folder} and {tmp_path / 'r'} are not compared: they have no ruleset in common"
        in Read(site.index).text
    )


EVERYTHING = Page(
    "all", "All", [
        *STUDY.blocks, *FIGURE.blocks, *CONTENTS.blocks,
        Chart("c", "T", "x", "y", log="xy", panels=[Chart("", "p", "x", "y", below=Chart("", "q", "x", "y"))],
              data=Table("d", "", ["a"], [[Shown("3", 3, "a.html")]], right={0}, most={0: 3}, factors={"f": [("1",)]})),
    ], "command", Table("long", "", ["a"], [[None]]),
)  # fmt: skip


def test_a_page_is_kept_and_read_again() -> None:
    again = kept.from_json(kept.to_json(EVERYTHING))
    for form in ("markdown", "latex", "html", "csv"):
        assert render(again, form) == render(EVERYTHING, form)
    assert kept.to_json(again) == kept.to_json(EVERYTHING)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda page: page.update(title=3), "3; expected str"),
        (lambda page: page.update(nonsense=3), "Page: 'nonsense'; there is no such field"),
        (lambda page: page.pop("title"), "Page: title: missing"),
        (lambda page: page.update(name="other"), "it is named 'other'"),
        (lambda page: page["blocks"].append({"is": "Path"}), "{'is': 'Path'}; expected"),
        (lambda page: page["blocks"].append({"is": "Line", "label": "", "x": [], "y": []}), "expected"),
        (lambda page: page["blocks"][2]["rows"].append(["one"]), "a table of 2 columns has a row of another length"),
        (lambda page: page["blocks"][2].update(anchors=["a"]), "a table of 2 rows has anchors or factors of another"),
        (lambda page: page["blocks"][3].update(log="z"), "'z'; expected"),
        (lambda page: page["blocks"][3]["lines"][0].update(y=[1.0, "many"]), "'many'; expected"),
        (lambda page: page["blocks"][3]["lines"][0].update(y=[1.0]), "a line has 2 and 1 coordinates"),
        (lambda page: page["blocks"][4].update(facts=[["a"]]), "zip"),
    ],
)  # fmt: skip
def test_a_kept_page_that_is_none_is_refused(
    change: Callable[[Any], None], problem: str, tmp_path: Path
) -> None:
    content = json.loads(kept.to_json(STUDY))
    change(content)
    (tmp_path / "bounds.page.json").write_text(json.dumps(content))
    (tmp_path / "bounds.html").write_text("old")
    (tmp_path / "old.html").write_text("old")
    pages, problems = kept.read(tmp_path)
    assert not pages
    assert len(problems) == 2
    assert problem in problems[0]
    assert problems[1] == (
        f"page: '{tmp_path / 'old.html'}': of an older hgobench; the command that wrote it writes it anew"
    )


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"\xff", b"[" * 100_000, b"3", b'{"is": "Text", "text": "a"}'):
        (tmp_path / "a.page.json").write_bytes(content)
        pages, problems = kept.read(tmp_path)
        assert not pages
        assert len(problems) == 1


@pytest.mark.long
def test_a_command_of_a_page_computes_the_same_numbers(tmp_path: Path) -> None:
    few = ["--set", "rounds=2", "--set", "rule=krum", "--set", "attack=none,foe", "--jobs", "1"]
    done = hgobench("run", "smoke", *few, "--out", str(tmp_path / "r"), "--quiet")
    assert done.returncode == 0, done.stderr
    written = write_site(tmp_path / "r", out=tmp_path / "s")
    (held,) = read([tmp_path / "r"])
    for row in held.boards[0].rows:
        page = Read(written.index.parent / f"{held.row_name(row)}.html")
        (command,) = re.findall(r"hgobench run smoke --set .*?--set seed=0,1", page.text)
        out = tmp_path / f"again {row.algorithm}"
        words = shlex.split(command)[1:]
        again = hgobench(*words, "--out", str(out), "--jobs", "1", "--format", "json", "--quiet")
        assert again.returncode == 0, again.stderr
        (board,) = json.loads(again.stdout)["boards"]
        (same,) = board["rows"]
        assert same["worst"] == row.worst.mean
        assert same["cells"] == {name: asdict(value) for name, value in row.cells.items()}


def test_names_of_a_kept_page_are_no_paths(tmp_path: Path) -> None:
    tables = [Table(name, "", ["a"], [[1]]) for name in ("../../up", "../../up", "/etc/x", "a b")]
    folder = tmp_path / "a" / "b"
    files_of = folder / "pages"
    files_of.mkdir(parents=True)
    page = Page("bounds", "Bounds", tables)
    (files_of / "bounds.page.json").write_text(kept.to_json(page))
    out = tmp_path / "a" / "site"
    write_site(folder, out=out)
    written = {path.name for path in out.glob("audits-bounds*")}
    assert written == {
        "audits-bounds.html", "audits-bounds-up.csv", "audits-bounds-up-2.csv",
        "audits-bounds-etc-x.csv", "audits-bounds-a-b.csv",
    }  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"b", "site"}


def test_a_page_that_can_t_be_drawn_is_left_out(studied: list[Path], tmp_path: Path) -> None:
    files_of = tmp_path / "r" / "pages"
    files_of.mkdir(parents=True)
    stack = [
        Line("a", [1.0], [0.0], style="stack"),
        Line("b", [1.0, 2.0], [0.0, 1.0], style="stack"),
    ]
    page = Page("cost", "Cost", [Chart("c", "C", "x", "y", stack)], "hgobench audit cost")
    (files_of / "cost.page.json").write_text(kept.to_json(page))
    done = hgobench("site", str(tmp_path / "r"), str(studied[0]), "--out", str(tmp_path / "s"))
    assert done.returncode == 0, done.stderr
    assert f"not shown: page: 'Cost' in '{tmp_path / 'r'}': " in done.stderr
    assert not list((tmp_path / "s").glob("audits-cost*"))
    assert (tmp_path / "s" / "audits-bounds.html").exists()


def test_a_folder_without_results_is_no_site(tmp_path: Path) -> None:
    open_store(tmp_path / "r").close()
    with pytest.raises(InputError, match=f"store: '{tmp_path / 'r'}': holds no results"):
        write_site(tmp_path / "r", out=tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_damaged_rows_are_said(tmp_path: Path) -> None:
    with open_store(tmp_path / "r") as store:
        store.add_all((stored(cell, 0.5), "mine-1", cell.digest) for cell in grid())
    alter(tmp_path / "r", "UPDATE results SET status = 'lost' WHERE key < '1'")
    site = write_site(tmp_path / "r", out=tmp_path / "s")
    (said,) = [line for line in site.missing if "can't be read" in line]
    assert re.fullmatch(
        rf"mine-1: \d+ rows? of {tmp_path}/r can't be read: hgobench show .* --damaged", said
    )


def test_a_folder_of_cards_has_its_boards(tmp_path: Path) -> None:
    cards = ROOT / "boards" / "quick-3"
    made = write_site(cards, out=tmp_path / "site")
    page = (tmp_path / "site" / "cards-quick-3.html").read_text(encoding="utf-8")
    index = made.index.read_text(encoding="utf-8")
    assert "cards.html" in index
    rows = [row.label for board in collected(cards).boards() for row in board.rows]
    assert len(rows) > 2
    for label in rows:
        assert escape(label) in page
    assert f"hgobench leaderboard {cards}" in (tmp_path / "site" / "cards.html").read_text("utf-8")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.json").write_text("{}")
    with pytest.raises(InputError, match=r"a\.json: "):
        write_site(broken, out=tmp_path / "site")
