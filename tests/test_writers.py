"""Text of others, in every format: it stays text, and is found again."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from hgobench import Scenario, costs
from hgobench.leaderboard import Score, boards
from hgobench.report import bench, cells, charts, listing, worlds, writers
from hgobench.report import boards as told
from hgobench.report.html import html
from hgobench.report.page import (
    Cell,
    Chart,
    Facts,
    Finding,
    Findings,
    Heading,
    Items,
    Line,
    Link,
    Page,
    Table,
    Text,
    study,
)
from hgobench.report.render import chart_csv, data, latex, markdown, table_csv, terminal
from hgobench.report.render import csv as csv_of
from hgobench.report.writers import Layout, visible
from tests.conftest import ROOT

HOSTILE = {
    "latex": "x\n\\input{/etc/passwd}",
    "latex_in_a_cell": r"a & b \\ \write18{rm} % $x^2_1$ {~#}",
    "option": "[1em] x",
    "pipe": "a | b || c |",
    "lines": "a\nb\r\nc\vd\fe\x85f\u2028g\u2029h",
    "backticks": "`a` ``b`` ```",
    "emphasis": "*a* _b_ **c** __d__ ~~e~~",
    "link": "[a](javascript:alert(1)) ![b](//c) [d][e] <https://f>",
    "ansi": "\x1b[31mred\x1b[0m \x9b2J",
    "osc8": "\x1b]8;;http://a.example\x1b\\b\x1b]8;;\x07",
    "nul": "a\x00b",
    "bidi": "a\u202eb\u2066c\u200fd",
    "quotes": "\"a\" 'b' \"\"",
    "formula": "=cmd|' /C calc'!A0",
    "formulas": "@SUM(1+1)*cmd",
    "minus": "-2+3+cmd|' /C calc'!A0",
    "plus": "+1;2",
    "tab": "\t=1+1",
    "return": "\r=1+1",
    "script": "</script><script>alert(1)</script>&lt;&amp;",
    "attribute": "\" onload=\"alert(1)",
    "long": "x" * 5000,
    "wide": "零一二三" * 10,
    "surrogate": "a\udcffb",
    "combining": "e\u0301\u0302",
    "nothing_special": "hgo krum",
    "comma": "a,b;c",
}  # fmt: skip
NAMES = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


def without_apostrophe(text: str) -> str:
    return text[1:] if re.match(r"'\s*[=+\-@]", text) else text


def markdown_rows(text: str) -> list[list[str]]:
    """Read a Markdown table as GitHub does; escapes are taken away."""
    rows = []
    for line in text.splitlines():
        if line.startswith("|") and not re.fullmatch(r"[|:\- ]+", line):
            parts = re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]
            rows.append([re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", part.strip()) for part in parts])
    return rows


def latex_text(text: str) -> str:
    """Undo `writers.latex`."""
    back = {"textbackslash": "\\", "textasciicircum": "^", "textasciitilde": "~", "textless": "<",
            "textgreater": ">", "textbar": "|", "textasciigrave": "`"}  # fmt: skip
    text = text.removeprefix("{}").replace("-{}-", "--").replace(r"\string", "")
    text = re.sub(r"\\([a-z]+)\{\}", lambda match: back[match[1]], text)
    return re.sub(r"\\([{}$&#%_])", r"\1", text)


def latex_rows(text: str) -> list[list[str]]:
    body = text.split("\\toprule\n")[1].split("\\bottomrule")[0].replace("\\midrule\n", "")
    lines = body.removesuffix(" \\\\\n").split(" \\\\\n")
    return [[latex_text(c.strip()) for c in re.split(r"(?<!\\) & ", line)] for line in lines]


def no_special_is_left(text: str) -> None:
    """Every special character of LaTeX outside comments is part of what hgobench writes."""
    allowed = (
        r"\\begin\{tabular\}\{[lr]+\}|\\end\{tabular\}|\\(?:top|mid|bottom)rule| & | \\\\\n"
        r"|\\text[a-z]+\{\}|\\string\"|-\{\}-|\\[{}$&#%_]|^\{\}"
        r"|^\\(?:begin|end)\{table\*?\}$|^\\centering$|^\\small$|^\\label\{tab:[a-z0-9-]*\}$"
        r"|^\\caption\{|\}$|\$\\mathbf\{\d\.\d{3}\}\$|\$\\dagger\$"
    )
    lines = [line for line in text.split("\n") if not line.startswith("% ")]
    rest = re.sub(allowed, "", "\n".join(lines), flags=re.MULTILINE)
    assert not re.search(r"[\\{}$&#%^~_]", rest), rest


class Cells(HTMLParser):
    """Reads the cells of a page's tables, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.inside = False
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        assert not any(key.startswith("on") for key, _ in attrs)
        if tag == "td":
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "td"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += data


TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "div", "table",
        "thead", "tbody", "tr", "th", "td", "a", "details", "summary", "dl", "dt", "dd", "footer",
        "code"}  # fmt: skip


def is_plain(text: str) -> None:
    """Nothing that a terminal acts on is in a text."""
    assert all(line.isprintable() for line in text.split("\n"))


@NAMES
def test_a_table_holds_the_same_cells_in_every_format(name: str) -> None:
    header, rows = ["what", name], [[name, "b"], ["c", name], [name, name]]
    seen = [[visible(cell).strip() for cell in row] for row in [header, *rows]]
    text = writers.table(header, rows)
    is_plain(text)
    wide = cell_len(visible(name))
    first = max(wide, 4)
    lines = text.split("\n")
    assert len(lines) == 5
    assert [visible(row[0]) in line for row, line in zip(rows, lines[2:], strict=True)] == [
        True
    ] * 3
    assert lines[1] == f"{'-' * first}  {'-' * wide}"
    source = writers.table(header, rows, "markdown")
    is_plain(source)
    assert markdown_rows(source) == seen
    source = writers.table(header, rows, "latex")
    is_plain(source)
    no_special_is_left(source)
    assert latex_rows(source) == seen
    read = list(csv.reader(io.StringIO(writers.csv_text([header, *rows]))))
    assert [[without_apostrophe(cell) for cell in row] for row in read] == [
        [visible(cell) for cell in row] for row in [header, *rows]
    ]
    assert not any(re.match(r"\s*[=+\-@\t\r]", cell) for row in read for cell in row)
    page = Cells()
    page.feed(html(Page("p", name, [Table("", name, header, rows)])))
    assert page.cells == [visible(cell) for row in rows for cell in row]
    assert page.tags <= TAGS


@NAMES
def test_a_page_holds_the_same_text_in_every_format(name: str) -> None:
    shown = visible(name)
    finding = Finding(name, True, name)
    page = Page(
        "p", name,
        [Text(name, "answer"), Text(name), Heading(name), Findings([finding]),
         Table("t", name, ["a", name], [[Link(name, name), 1.0], ["b", name]]),
         Text(name, "note"), Facts([(name, name)], name), Items(name, [name])],
        name,
    )  # fmt: skip
    text = terminal(page)
    is_plain(text)
    assert text.startswith(f"{shown}\n\n{shown}\n\n{shown}\n\n")
    assert f"\n\n{shown}\n\n{shown}\n  {shown}: {shown}\n\n{shown}" in text
    assert text.endswith(f"  {shown}")
    source = markdown(page)
    is_plain(source)
    assert markdown_rows(source)[1] == [shown.strip(), "yes", shown.strip()]
    assert markdown_rows(source)[3] == [shown.strip(), "1"]
    assert writers.code(name) in source.split("\n\n")
    source = latex(page)
    is_plain(source)
    no_special_is_left(source)
    assert latex_rows(source)[1] == [shown.strip(), "yes", shown.strip()]
    written = html(page)
    parser = Cells()
    parser.feed(written)
    assert parser.cells == [shown, "yes", shown, shown, "1", "b", shown]
    assert parser.tags <= TAGS
    assert all(line.isprintable() for line in written.split("\n"))


def test_no_html_is_written_by_hand() -> None:
    """Pages are made by the templates; a fold in Markdown is HTML, too."""
    tags = re.compile(r"</?(table|thead|tbody|tr|td|th|div|p|a|h[1-6]|body|html|ul|li|span)[ >]")
    for path in (ROOT / "hgobench").glob("**/*.py"):
        if "tests" not in path.parts:
            code = re.sub(r'""".*?"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            assert not tags.search(code), path


def test_a_page_without_numbers_or_blocks_is_a_page() -> None:
    empty = Page("p", "A page", [Table("t", "T", ["a"], [])])
    assert terminal(empty) == "A page\n\nT\n\na\n-"
    assert csv_of(empty) == "a"
    assert "<tbody></tbody>" in html(empty)
    assert "No blocks" in html(Page("p", "No blocks", []))


def test_colours_in_a_label_stay_text() -> None:
    label = 'style="#0072b2" <b> #d55e00'
    drawn = charts.svg(Chart("c", label, "x", "y", [Line(label, [0, 1], [1, 2])]), "c")
    parser = Drawing()
    parser.feed(drawn)
    assert parser.text.count(label) == 2
    assert "b" not in parser.tags
    assert "var(--c0, #0072b2)" in drawn
    assert "currentColor" in drawn


class Drawing(HTMLParser):
    """Reads the text of a drawing, and every tag."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


@given(st.text(max_size=40), st.integers(20, 60))
def test_any_text_stays_a_cell(name: str, width: int) -> None:
    shown = visible(name)
    assert shown.isprintable()
    assert visible(shown) == shown
    assert writers.comment(name).count("\n") == 0
    assert html_text(writers.html(name)) == shown
    rows = [["a", name], [name, "b"]]
    assert len(markdown_rows(writers.table(["x", "y"], rows, "markdown"))) == 3
    no_special_is_left(writers.table(["x", "y"], rows, "latex"))
    narrow = writers.table(["x", "y"], rows, layout=Layout(width))
    assert max(cell_len(line) for line in narrow.split("\n")) <= width


def html_text(text: str) -> str:
    parser = Cells()
    parser.feed(f"<td>{text}</td>")
    return "".join(parser.cells)


def test_numbers_in_csv_are_numbers() -> None:
    row = [-1.5, 3, "-1.5", "+2e3", "-inf", None, "- 1", math.pi, "a-b"]
    (read,) = csv.reader(io.StringIO(writers.csv_text([row])))
    assert read == ["-1.5", "3", "-1.5", "+2e3", "-inf", "", "'- 1", repr(math.pi), "a-b"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("# a", r"\# a"), ("* a", r"\* a"), ("**a**", r"\*\*a\**"), ("a ~ b", "a ~ b"), ("- a", r"\- a"), ("1. a", r"1\. a"), ("= a", r"\= a"), ("> a", r"\> a"),
        ("a - b", "a - b"), ("x_i <- x_j", "x_i <- x_j"), ("a<b>", r"a\<b>"), ("&amp;", r"\&amp;"),
        ("R&D", "R&D"),
    ],
)  # fmt: skip
def test_a_paragraph_begins_no_block(text: str, written: str) -> None:
    assert writers.paragraph(text) == written


def test_code_in_markdown_is_fenced_by_more_than_it_holds() -> None:
    assert writers.code("a") == "`a`"
    assert writers.code("`a``b") == "``` `a``b ```"


@NAMES
def test_boards_hold_the_same_cells_in_every_format(name: str) -> None:
    (board,) = boards([Score(Scenario(), "done", 0.5)])
    row = replace(board.rows[0], label=name, rule=name, worst_attack=name, algorithm=name)
    row = replace(row, cells={name: row.worst}, clean=None)
    made = [replace(board, rows=[row], title=name, columns=[name], setting={"data": name})]
    shown = visible(name)
    text = told.render(name, made)
    is_plain(text)
    assert text.startswith(f"ruleset {shown}\n\n{shown or 'all results'}\n\n")
    source = told.render(name, made, "markdown")
    is_plain(source)
    cells = ["1", "0.500", "too few seeds", "0.500", "0/1 (0.00-0.97)", "1.00", "0.500"]

    def row_of(text: str, worst: str = "0.500") -> list[str]:
        return [cells[0], text, worst, cells[2], text, *cells[3:]]

    assert markdown_rows(source)[1] == row_of(shown.strip(), "**0.500**")
    source = told.render(name, made, "latex")
    is_plain(source)
    no_special_is_left(source)
    assert source.startswith(f"% ruleset {shown}\n\n% {shown}\n\n\\begin")
    assert source.count(r"$\mathbf{0.500}$") == 1
    rows = latex_rows(source.replace(r"$\mathbf{0.500}$", "0.500"))
    assert rows[1] == row_of(shown.strip())
    lines = list(csv.DictReader(io.StringIO(told.render(name, made, "csv"))))
    assert [without_apostrophe(lines[-1][key]) for key in ("ruleset", "data", "rule", "label",
            "algorithm", "worst_attack", "column")] == [shown] * 7  # fmt: skip
    content = json.loads(told.render(name, made, "json"))
    assert (content["ruleset"], content["boards"][0]["rows"][0]["rule"]) == (name, name)
    is_plain(told.render(name, made, "json"))
    parser = Cells()
    parser.feed(told.render(name, made, "html"))
    assert parser.cells == row_of(shown)
    assert parser.tags <= TAGS


@NAMES
def test_measurements_charts_and_shown_cells_hold_the_same_text(name: str) -> None:
    shown = visible(name)
    rows: list[list[Cell]] = [[name, 1.0, None]]
    measured = bench.page(rows, ["rule", "ms", "x"])
    is_plain(terminal(measured))
    assert markdown_rows(markdown(measured))[1][0] == shown.strip()
    (_, line) = csv.reader(io.StringIO(csv_of(measured)))
    assert without_apostrophe(line[0]) == shown
    assert json.loads(data(measured))[0]["rule"] == name

    chart = Chart("c", name, name, name, [Line(name, [0, 1], [1, 2])], ticks=[name, "b"])
    table = Table("t", name, ["a", name], [[name, 1.0], ["b", name]])
    for text in (chart_csv(chart), table_csv(table)):
        (_, first, *_) = csv.reader(io.StringIO(text))
        assert without_apostrophe(first[0]) == shown

    cell = {
        "ruleset": name,
        "scenario": Scenario.restore({"rule": name, "attack": name}).to_dict(),
        "summary": {"status": "failed", "reason": name, "test_accuracy": 0.0, "stalled": 0,
                    "mean_block_size": 1.0},
        "rounds": {"round": [1], "time": [None]},
    }  # fmt: skip
    other = {**cell, "ruleset": "other", "scenario": Scenario().to_dict()}
    named = Scenario.restore({**Scenario().to_dict(), "rule": name})
    for page in (cells.overview([cell, other]), cells.rounds(cell), worlds.describe(named, name)):
        text = terminal(page)
        is_plain(text)
        assert shown.strip()[:40].strip() in text


@pytest.mark.parametrize("name", ["latex_in_a_cell", "script", "emphasis", "ansi", "formula"])
def test_a_study_s_page_shows_names_as_text(name: str) -> None:
    text = HOSTILE[name]
    chart = Chart("c", text, text, text, [Line(text, [0, 1], [1, 2])], ticks=[text, "b"])
    page = html(study("s", text, [text], text, [Finding(text, True, text)], [chart],
                      [Table("t", text, ["a", text], [[text, 1.0]])]))  # fmt: skip
    parser = Cells()
    parser.feed(page)
    assert "script" not in parser.tags
    assert visible(text) in parser.cells
    assert "\x1b" not in page


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    layout = Layout(width)
    made = boards(
        Score(Scenario(workers=20, f=4, rule=rule, attack=attack, seed=seed), "done", 0.1 + seed / 9)
        for rule in ("median", "geometric_median", "tests.plugins:MyMedian")
        for attack in ("none", "foe", "alie", "random_noise", "sign_flip", "crash")
        for seed in (0, 1)
    )  # fmt: skip
    texts = {
        "board": told.render("quick-1 with attack=foe,alie", made, width=width),
        "rules": terminal(listing.page("rules"), layout),
        "attacks": terminal(listing.page("attacks"), layout),
        "suites": terminal(listing.suites(), layout),
        "partition": terminal(worlds.deal("iid", "digits", 12, 0).page, layout),
        "scenario": terminal(worlds.describe(Scenario(), costs.costs(Scenario())), layout),
    }
    for what, text in texts.items():
        widest = max(text.split("\n"), key=cell_len)
        assert cell_len(widest) <= width, (what, widest)
    head = next(line for line in texts["board"].split("\n") if line.lstrip().startswith("#"))
    assert head.split()[0] == "#"
    assert re.match(r" *# +algorithm and rule +worst", head)
    assert (" ".join(head.split()[4:9]) == "worst 95 % by clean") == (width >= 60), head
    left_out = {40: 11, 60: 8, 80: 8, 120: 4}[width]
    said = " ".join(texts["board"].split())
    assert (f"{left_out} columns left out (" in said) == (left_out > 0), said
    assert ("--wide shows all" in said) == (left_out > 0)


def test_columns_are_left_out_then_wrapped_then_stacked() -> None:
    header, rows = (
        ["name", "what it is", "x"],
        [["krum", "one of the vectors sent one of the vectors sent", "1"]],
    )
    whole = writers.table(header, rows, right={2})
    assert whole.split("\n")[0] == f"name  {'what it is':<47}  x"
    fewer = writers.table(header, rows, right={2}, layout=Layout(54, keep=2))
    assert fewer.split("\n")[-1] == "1 column left out (x); --wide shows all"
    wrapped = writers.table(header, rows, right={2}, layout=Layout(40))
    assert wrapped == (
        "name  what it is                       x\n"
        "----  -------------------------------  -\n"
        "krum  one of the vectors sent one of   1\n"
        "      the vectors sent"
    )
    stacked = writers.table(header, rows, right={2}, layout=Layout(24))
    assert stacked == (
        "krum\n  what it is: one of the\n    vectors sent one of\n    the vectors sent\n  x: 1"
    )
    unnamed = writers.table(["L", "name", ""], [["5", "krum", "bounds"]], layout=Layout(8))
    assert unnamed == "5\n  name:\n    krum\n  bounds"


def test_what_is_listed_has_no_markup_of_docstrings() -> None:
    for kind in ("hardware", "conditions", "partitions", "rules", "attacks"):
        said = terminal(listing.page(kind))
        assert "``" not in said, kind


def test_a_board_without_an_attack_names_no_worst_attack() -> None:
    clean = [
        Score(Scenario(workers=20, f=4, rule=rule, seed=seed), "done", 0.8 + seed / 100)
        for rule in ("median", "krum")
        for seed in (0, 1)
    ]
    made = boards(clean)
    text = told.render("r", made)
    assert re.search(r"^ *# +algorithm and rule +clean +95 % +collapsed +live$", text, re.MULTILINE)
    assert "No attack was run: clean ranks." in text
    assert "worst" not in text
    assert {row.worst_attack for row in made[0].rows} == {None}
    (board,) = json.loads(told.render("r", made, "json"))["boards"]
    assert board["rows"][0]["worst_attack"] is None
    lines = list(csv.DictReader(io.StringIO(told.render("r", made, "csv"))))
    assert {line["worst_attack"] for line in lines} == {""}
    partly = boards(
        [*clean, Score(Scenario(workers=20, f=4, rule="krum", attack="foe"), "done", 0.1)]
    )
    text = told.render("r", partly)
    assert "No attack" not in text
    rows = {line.split()[2]: line.split() for line in text.split("\n") if " hgo " in line}
    assert "foe" in rows["krum"]
    assert "none" not in rows["median"]
