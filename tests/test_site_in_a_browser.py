"""A site in a browser: from the disk, offline, with and without JavaScript, for everybody.

Needs Chromium (``apt-get install chromium``), which Playwright starts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hgobench.report import files
from hgobench.report.html import Frame
from hgobench.report.page import Cell, Link, Page, Table
from hgobench.site import Site
from tests.test_site import ATTACKS, EVIL, SEEDS, after, folder, site, studied

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: [dev]")
axe = pytest.importorskip("axe_playwright_python.base", reason="axe is not installed: [dev]")

pytestmark = pytest.mark.long
__all__ = ["after", "folder", "site", "studied"]

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
KINDS = (
    "index", "rows", "rules", "attacks", "board-", "row-", "cells-", "comparisons", "compare-",
    "audits.", "audits-", "paper.", "paper-",
)  # fmt: skip
EVALUATED = "by stage"  # is said on pages of rows whose attacks were chosen for them


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, site: Site) -> Iterator[Open]:
    """Open a page of the site; it may ask for nothing but files, and report no error."""
    contexts, asked, errors = [], [], []

    def open_page(name: str, *, where: Path | None = None, hash_: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        page.goto(f"{((where or site.index.parent) / name).as_uri()}{hash_}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors
    assert all(url.startswith("file:") for url in asked), asked


def kinds(site: Site) -> list[str]:
    """Return a page of every kind; of boards and rows one with attacks of their own, too."""
    texts = {path.name: path.read_text() for path in sorted(site.index.parent.glob("*.html"))}
    found = {
        (kind, EVALUATED in text): name
        for name, text in texts.items()
        for kind in KINDS
        if name.startswith(kind)
    }
    assert len(found) == len(KINDS) + 2
    return list(found.values())


def visible_rows(page: Any) -> list[str]:
    shown: list[str] = page.eval_on_selector_all(
        ".wide:first-of-type tbody tr, main > .wide tbody tr",
        "rows => rows.filter(r => r.offsetParent && !r.hidden).map(r => r.cells[0].textContent)",
    )
    return shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_no_page_violates_wcag_2_aa(opened: Open, site: Site, scheme: str, width: int) -> None:
    for name in kinds(site):
        page = opened(name, color_scheme=scheme, viewport={"width": width, "height": 800})
        if name.startswith("cells"):
            page.click(".curves button")
            page.wait_for_selector(".curves svg")
        for summary in page.query_selector_all("main > details:not([open]) > summary"):
            summary.click()
        page.evaluate(axe.AXE_SCRIPT)
        found = page.evaluate(
            "tags => axe.run(document, {preload: false, runOnly: {type: 'tag', values: tags}})",
            WCAG,
        )
        assert len(found["passes"]) > 10
        assert not found["violations"], (name, json.dumps(found["violations"], indent=1)[:3000])
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} wide"
        page.context.close()


def test_pages_can_be_read_without_javascript(opened: Open, site: Site) -> None:
    for name in kinds(site):
        pages = [opened(name, java_script_enabled=enabled) for enabled in (True, False)]
        with_, without = (page.inner_text("main") for page in pages)
        words = {
            word
            for word in without.split()
            if word not in ("Drawing", "takes", "JavaScript.", "them")
        }
        assert words <= {*with_.split()}, name
        assert not pages[1].query_selector_all("button, select, input")
        assert pages[1].query_selector_all("tbody tr")
        assert bool(pages[1].query_selector("noscript")) == name.startswith("cells")
        for page in pages:
            page.context.close()


def test_colours_follow_the_system(opened: Open, site: Site) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    assert opened("index.html", color_scheme="light").evaluate(back) == "rgb(255, 255, 255)"
    assert opened("index.html", color_scheme="dark").evaluate(back) == "rgb(22, 24, 27)"


def board(site: Site) -> str:
    (name,) = [
        path.name for path in site.index.parent.glob("board-*.html") if "evil:" in path.read_text()
    ]
    return name


def column(page: Any, number: int) -> list[str]:
    cells: list[str] = page.eval_on_selector_all(
        "main .wide:first-of-type tbody tr:not([hidden])",
        f"rows => rows.map(r => r.cells[{number}].textContent)",
    )
    return cells


def test_rows_are_sorted_and_chosen_and_the_address_keeps_the_view(
    opened: Open, site: Site
) -> None:
    page = opened(board(site))
    whole = column(page, 1)
    assert len(whole) == 6
    worst = page.get_by_role("button", name="worst", exact=False).first
    worst.click()
    assert column(page, 2) == sorted(column(page, 2), reverse=True)
    assert page.get_by_role("columnheader", name="worst").get_attribute("aria-sort") == "descending"
    worst.click()
    assert column(page, 2) == sorted(column(page, 2))
    page.select_option("label:has-text('algorithm') select", label="hgo")
    hgo = column(page, 1)
    assert len(hgo) == 3
    assert all(label.startswith("hgo ") for label in hgo)
    assert page.inner_text(".chooser output") == "3 of 6 rows"
    page.select_option("label:has-text('rule') select", label=EVIL)
    assert [EVIL in label for label in column(page, 1)] == [True]
    page.select_option("label:has-text('rule') select", label="all")
    address = page.url
    again = opened(board(site), hash_=address[address.index("#") :])
    assert column(again, 1) == hgo
    assert again.get_by_role("columnheader", name="worst").get_attribute("aria-sort") == "ascending"
    again.get_by_role("button", name="Show all").click()
    assert column(again, 1) == whole
    assert "#" not in again.url
    again.fill("input[type=search]", "krum sgd")
    assert len(column(again, 1)) == 1
    assert again.url.endswith("#words=krum+sgd")
    worst = again.get_by_role("button", name="worst", exact=False).first
    for _ in range(3):
        worst.click()
    again.fill("input[type=search]", "")
    assert column(again, 1) == whole, "the third time rows are as they were"


def test_everything_is_reached_by_keyboard(opened: Open, site: Site) -> None:
    page = opened(board(site))
    focused = "document.activeElement.textContent"
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") > 0
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#content"
    seen: list[str] = []
    while "worst" not in seen:
        page.keyboard.press("Tab")
        seen.append(page.evaluate(focused))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline not in ("none", ""), seen
        assert len(seen) < 40
    page.keyboard.press("Enter")
    assert page.get_by_role("columnheader", name="worst").get_attribute("aria-sort") == "descending"
    while not seen[-1].startswith(("hgo ", "sgd ")):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(focused))
        assert len(seen) < 60
    page.keyboard.press("Enter")
    page.wait_for_url("**/row-*.html")
    assert page.inner_text("h1") in seen[-1]


def test_a_number_leads_where_its_row_does(opened: Open, site: Site) -> None:
    page = opened(board(site))
    page.click("main .wide:first-of-type tbody tr:first-child td:nth-child(3)")
    page.wait_for_url("**/row-*.html")
    number = page.inner_text("table >> nth=-2 >> tbody tr:first-child a")
    page.click("table >> nth=-2 >> tbody tr:first-child a")
    page.wait_for_url("**/cells-*.html#c*")
    assert page.inner_text("tr:target td:nth-child(3)")[:4] == number[:4]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_curves_are_drawn_when_they_are_asked_for(opened: Open, site: Site, scheme: str) -> None:
    page = opened(board(site), color_scheme=scheme)
    page.click("tbody a >> nth=0")
    page.click("table >> nth=0 >> tbody a[href*='cells-']")
    assert not page.query_selector("svg")
    assert not any(url.endswith("-curves.js") for url in page.evaluate(LOADED))
    page.click("text=Draw the curves")
    page.wait_for_selector(".curves svg")
    assert len(page.query_selector_all(".curves svg path")) == len(ATTACKS) * (len(SEEDS) + 1)
    strokes = page.eval_on_selector_all(
        ".curves svg path", "paths => [...new Set(paths.map(p => getComputedStyle(p).stroke))]"
    )
    first = {"light": "rgb(0, 114, 178)", "dark": "rgb(90, 169, 230)"}[scheme]
    assert (len(strokes), strokes[0]) == (len(ATTACKS), first)
    label = page.get_attribute(".curves svg", "aria-label")
    assert label is not None
    assert label.startswith("test accuracy over round: none, ")
    page.uncheck(".curves input >> nth=1")
    assert len(page.query_selector_all(".curves svg path")) == 2 * (len(SEEDS) + 1)
    page.select_option(".curves select >> nth=0", "test loss")
    page.select_option(".curves select >> nth=1", "time units")
    label = page.get_attribute(".curves svg", "aria-label")
    assert label is not None
    assert label.startswith("test loss over time units: ")


LOADED = "performance.getEntriesByType('resource').map(e => e.name)"


def test_5000_rows_are_sorted_in_under_2_seconds(opened: Open, tmp_path: Path) -> None:
    rows: list[list[Cell]] = [
        [i, f"hgo[momentum=0.9] bucketing+geometric_median masked v={i}", *[f"{i * k % 997 / 997:.3f}" for k in range(3, 20)]]
        for i in range(5000)
    ]  # fmt: skip
    factors = {"quorum": [(str(i % 7),) for i in range(5000)]}
    header = ["#", "algorithm and rule", *map(str, range(3, 20))]
    table = Table("", "", header, rows, range(2, 19), factors=factors)
    files.shared(tmp_path)
    frame = Frame([Link("Boards", "many.html")], "Boards")
    files.write(tmp_path, Page("many", "Many", [table]), frame)
    page = opened("many.html", where=tmp_path)
    for click in ("th:nth-child(7) button", "th:nth-child(2) button"):
        took = page.evaluate(
            """click => Math.min(...[1, 2, 3, 4].map(() => {  // the last time as at first, sorted
              const button = document.querySelector(click), started = performance.now();
              button.click();
              document.body.getBoundingClientRect();
              return performance.now() - started;
            }))""",
            click,
        )
        assert took < 2000
        assert len(column(page, 0)) == 500
    assert page.inner_text(".more") == "Show 500 more of 4500"
    page.click(".more")
    assert len(column(page, 0)) == 1000
    labels = page.eval_on_selector_all("tbody tr", "rows => rows.map(r => r.cells[0].textContent)")
    assert labels == [str(i) for i in range(5000)], "numbers in names by their size"
    page.select_option("select", label="3")
    assert page.inner_text(".chooser output") == f"{len(range(3, 5000, 7))} of 5000 rows"
