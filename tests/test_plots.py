"""Pictures of results: what is drawn is what the data say, and nothing is merged in silence."""

from __future__ import annotations

import csv
import io
import math
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

import hgobench
from hgobench import Scenario, open_store, run_suite
from hgobench.errors import InputError
from hgobench.leaderboard import Score, boards
from hgobench.plots import KINDS, Picture, plot
from hgobench.plots.axes import axis
from hgobench.plots.cells import Cells, divide
from hgobench.report import charts, html, kept
from hgobench.report.page import Chart, Heat
from hgobench.results import Result
from hgobench.session import SuiteOutcome
from tests.conftest import ROOT
from tests.stores import stored
from tests.test_charts import contrast
from tests.test_cli import hgobench as command

SMALL = """
ruleset = "small-1"
description = "small"
[scenario]
workers = 12
rounds = 4
evaluation_interval = 2
[grid]
rule = ["average", "median"]
attack = ["none", "foe", "sign_flip"]
byzantine = [1, 3]
partition = ["dirichlet[alpha=0.1]", "dirichlet[alpha=10.0]"]
seed = [0, 1]
"""
ALPHA = {"partition": "dirichlet[alpha=0.1]"}
ASKED: Mapping[str, Mapping[str, Any]] = {
    "curves": {"x": "bytes", "where": ALPHA},
    "sweep": {"x": "f", "where": ALPHA},
    "heat": {"where": ALPHA},
    "cost": {"where": {"f": 3}},
    "ranks": {"where": ALPHA},
    "blocks": {"x": "time", "where": ALPHA},
    "devices": {"y": "weight", "where": ALPHA},
}
FORMS = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> SuiteOutcome:
    """A small grid, computed."""
    folder = tmp_path_factory.mktemp("plots")
    (folder / "small.toml").write_text(SMALL)
    return run_suite(folder / "small.toml", out=folder / "out", jobs=1)


@pytest.fixture(scope="module")
def pictures(outcome: SuiteOutcome) -> dict[str, Picture]:
    """A picture of each kind."""
    return {kind: outcome.plot(kind, **asked) for kind, asked in ASKED.items()}


def scored(**fields: Sequence[Any]) -> list[Score]:
    """Scores of a grid, with accuracies that are all different."""
    cells: list[dict[str, Any]] = [{}]
    for name, values in fields.items():
        cells = [{**cell, name: value} for cell in cells for value in values]
    return [
        Score(
            Scenario(**{"workers": 12, "f": 1, **cell}), "done", (7 * i % len(cells)) / len(cells)
        )
        for i, cell in enumerate(cells)
    ]


def rows(picture: Picture) -> list[dict[str, Any]]:
    return [dict(zip(picture.data.header, row, strict=True)) for row in picture.data.rows]


def test_every_kind_has_a_picture_here() -> None:
    assert ASKED.keys() == KINDS.keys()


def each_once() -> list[Any]:
    """Kinds and formats, of which most are long: each has its turn, but not all with all."""
    pairs = [(i, j) for i in range(len(KINDS)) for j in range(len(FORMS))]
    marks = {(i, j): [] if i % len(FORMS) == j else [pytest.mark.long] for i, j in pairs}
    return [pytest.param([*KINDS][i], [*FORMS][j], marks=marks[i, j]) for i, j in pairs]


@pytest.mark.parametrize(("kind", "form"), each_once())
def test_every_kind_is_written_in_every_format_with_its_data(
    kind: str, form: str, pictures: Mapping[str, Picture], tmp_path: Path
) -> None:
    picture, path = pictures[kind], tmp_path / f"p.{form}"
    sizes = picture.save(path)
    assert [*sizes] == [path, tmp_path / "p.csv"]
    assert sizes == {path: path.stat().st_size for path in tmp_path.iterdir()}
    content = path.read_bytes()
    assert content.startswith(FORMS[form])
    if form == "svg":
        drawing = ElementTree.fromstring(content)
        assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
        assert float(drawing.attrib["width"].removesuffix("pt")) == pytest.approx(3.4 * 72)
    if form == "pdf":
        assert b"/Type3" not in content, "journals refuse these fonts"
        assert b"/FontFile2" in content
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert header == list(picture.data.header)
    expected = [["" if v is None else str(v) for v in row] for row in picture.data.rows]
    assert lines == expected, "all digits"


def of_lines(axes: Any) -> set[tuple[float, float]]:
    return {point for line in axes.lines for point in map(tuple, line.get_xydata())}


def of_bands(axes: Any) -> set[tuple[float, float]]:
    """The corners of bands, or the ends of whiskers."""
    ends = set()
    for collection in axes.collections:
        for path in collection.get_paths():
            ends |= {tuple(vertex) for vertex in path.vertices}
    return ends


@pytest.mark.parametrize("kind", ["curves", "sweep", "cost", "blocks"])
def test_what_is_drawn_is_what_the_data_say(kind: str, pictures: Mapping[str, Picture]) -> None:
    picture = pictures[kind]
    columns = list(picture.data.header)
    x = columns[columns.index("line") + 1 + (kind in ("curves", "blocks"))]
    drawn = {"blocks": ["block_size", "heard"]}.get(kind, ["accuracy"])
    lows, highs = (
        [f"{name}_{end}" if kind == "blocks" else end for name in drawn] for end in ("low", "high")
    )
    titles = list(dict.fromkeys(row["panel"] for row in rows(picture)))
    axes = picture.figure.axes
    assert len(axes) == len(titles) * len(drawn)
    for number, panel in enumerate(axes):
        title, y = titles[number // len(drawn)], number % len(drawn)
        here = [row for row in rows(picture) if row["panel"] == title]
        assert of_lines(panel) == {(row[x], row[drawn[y]]) for row in here}
        ends = {(row[x], row[end[y]]) for row in here for end in (lows, highs)}
        ends -= {end for end in ends if end[1] is None}
        assert ends <= of_bands(panel)
        assert {corner[1] for corner in of_bands(panel)} == {end[1] for end in ends}


def test_a_heat_map_holds_the_numbers_of_its_data(pictures: Mapping[str, Picture]) -> None:
    picture = pictures["heat"]
    titles = list(dict.fromkeys(row["panel"] for row in rows(picture)))
    assert len(titles) == len(picture.figure.axes) == 2
    for title, axes in zip(titles, picture.figure.axes, strict=True):
        here = [row for row in rows(picture) if row["panel"] == title]
        (mesh,) = axes.collections
        assert np.ravel(np.asarray(mesh.get_array())).tolist() == [row["accuracy"] for row in here]
        assert [text.get_text() for text in axes.texts] == [f"{r['accuracy']:.2f}" for r in here]
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == list(dict.fromkeys(row["row"] for row in here))
    columns = [label.get_text() for label in picture.figure.axes[-1].get_xticklabels()]
    assert columns == ["none", "foe", "sign_flip"], "below the last panel"


def test_ranks_are_those_of_the_boards(outcome: SuiteOutcome) -> None:
    picture = outcome.plot("ranks")
    ranked = [row for board in outcome.boards() for row in board.rows if row.rank]
    stated = [(r["row"], r["first"], r["last"], r["worst"]) for r in rows(picture)]
    assert stated == [(r.label, *(r.rank or ()), r.worst.mean) for r in ranked]
    patches: list[Any] = [bar for axes in picture.figure.axes for bar in axes.patches]
    bars = [
        (round(bar.get_x() + 0.35), round(bar.get_x() + bar.get_width() - 0.35)) for bar in patches
    ]
    assert bars == [(r["first"], r["last"]) for r in rows(picture)]
    for axes in picture.figure.axes:
        low, high = axes.get_ylim()
        assert low > high, "the best row is above"
        ticks = [round(tick) for tick in axes.get_xticks()]
        assert ticks[0] == 1, "the first place has a number"
        assert len(ticks) <= 9
        assert ticks[-1] <= max(last for _, last in bars)


def test_worst_cases_and_intervals_are_those_of_the_boards() -> None:
    every = scored(
        rule=["krum", "median"], attack=["none", "foe", "alie"], f=[1, 2], seed=list(range(6))
    )
    made = boards(every)
    told = {
        (board.setting["byzantine"], row.rule): (row.worst.mean, row.worst.low, row.worst.high)
        for board in made
        for row in board.rows
    }
    drawn = made.plot("sweep", x="f")
    assert {
        (r["byzantine"], r["line"]): (r["accuracy"], r["low"], r["high"]) for r in rows(drawn)
    } == told
    by_attack = {
        (f"f={board.setting['byzantine']}", row.rule, name): value.mean
        for board in made
        for row in board.rows
        for name, value in row.cells.items()
    }
    heat = {(r["panel"], r["row"], r["attack"]): r["accuracy"] for r in rows(made.plot("heat"))}
    assert heat == pytest.approx(by_attack)


def test_curves_are_means_and_ranges_over_seeds(outcome: SuiteOutcome) -> None:
    lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for r in rows(outcome.plot("curves")):
        lines.setdefault((r["panel"], r["line"]), []).append(r)
    results = list(outcome.results())
    for (panel, rule), points in lines.items():
        of = {"f=1": 1, "f=3": 3}[panel.split(", ")[1]]
        same = [
            r.rounds["test_accuracy"]
            for r in results
            if (r.scenario.partition, r.scenario.byzantine) == (panel.split(", ")[0], of)
            and (r.scenario.rule, r.scenario.attack) == (rule, points[0]["attack"])
        ]
        assert [p["round"] for p in points] == [2, 4]
        for p in points:
            values = [accuracy[int(p["round"]) - 1] for accuracy in same]
            assert (p["accuracy"], p["low"], p["high"]) == (fmean(values), min(values), max(values))
    ends = {
        (board.setting["partition"], board.setting["byzantine"], row.rule): row
        for board in outcome.boards()
        for row in board.rows
    }
    for (panel, rule), points in lines.items():
        partition, f = panel.split(", ")
        row = ends[partition, int(f[2:]), rule]
        assert points[-1]["accuracy"] == pytest.approx(row.worst.mean)
        assert points[-1]["attack"] == row.worst_attack


def test_what_runs_took_is_summed_over_their_rounds(outcome: SuiteOutcome) -> None:
    (result, *_) = outcome.results()
    for x, total in (
        ("time", result.rounds["time"][-1]),
        ("coordinates", sum(result.rounds["coordinates"])),
        ("bytes", sum(result.rounds["bytes_up"]) + sum(result.rounds["bytes_down"])),
    ):
        assert rows(result.plot("curves", x=x))[-1][x] == total
        one = outcome.plot("cost", x=x, where={**ALPHA, "f": 1, "rule": "median"})
        (point,) = rows(one)
        same = [s for s in outcome.scores.values() if s.scenario.rule == "median"]
        same = [s for s in same if s.scenario.partition == ALPHA["partition"]]
        same = [s for s in same if s.scenario.byzantine == 1 and s.attack == point["attack"]]
        spent = [s.spent for s in same if s.spent]
        sums = [s.bytes_up + s.bytes_down if x == "bytes" else getattr(s, x) for s in spent]
        assert point[x] == fmean(sums)


def failing(seed: int, rounds: int, status: str = "done") -> Result:
    """A run that ends early, and well or not."""
    made = stored(Scenario(workers=8, rounds=4, evaluation_interval=1, seed=seed), 0.8)
    columns = {name: list(column[:rounds]) for name, column in made.rounds.items()}
    good = [0.5 + 0.1 * k for k in range(rounds)]
    loss = [1.0] * rounds
    if status != "done":
        good[-1], loss[-1] = 0.0, math.nan
    columns |= {"test_accuracy": good, "test_loss": loss, "heard": [5] * rounds}
    return replace(made, rounds=columns, status=status)  # type: ignore[arg-type]


def test_a_run_that_fails_has_an_accuracy_of_0_from_then_on_and_no_loss() -> None:
    runs = [failing(0, 4), failing(1, 2, "diverged")]
    picture = plot(runs, "curves")
    assert [r["accuracy"] for r in rows(picture)] == [0.5, 0.3, 0.35, 0.4]
    assert [r["low"] for r in rows(picture)] == [0.5, 0.0, 0.0, 0.0]
    assert "1 of 2 runs diverged or failed; each counts as 0." in picture.caption
    for y in ("loss", "heard"):
        assert [r["round"] for r in rows(plot(runs, "curves", y=y))] == [1.0]
    with pytest.raises(InputError, match=r"^plot: loss: no number is finite; the runs diverged"):
        plot([failing(0, 1, "diverged")], "curves", y="loss")


def test_lines_end_with_the_first_budget_that_is_spent() -> None:
    picture = plot([failing(0, 4), failing(1, 3)], "curves")
    assert [r["round"] for r in rows(picture)] == [1, 2, 3]
    assert "Lines end with the first run whose budget is spent." in picture.caption


FIELDS: Mapping[str, Sequence[Any]] = {
    "rule": ["krum", "median", "oracle"],
    "attack": ["none", "foe", "alie"],
    "f": [1, 2],
    "deadline": [16.0, 32.0, math.inf],
    "batch_size": [8, 16],
    "partition": ["iid", "dirichlet[alpha=0.1]", "dirichlet[alpha=1.0]"],
    "learning_rate": [0.1, 0.2],
}


@given(
    fields=st.sets(st.sampled_from(sorted(FIELDS)), max_size=4),
    over=st.sampled_from(["", "f", "tau", "alpha", "f/n", "attack", "rule"]),
    by_rows=st.booleans(),
    lacking=st.sets(st.integers(0, 300), max_size=3),
)
def test_no_cells_are_merged_but_seeds_and_attacks(
    fields: set[str], over: str, by_rows: bool, lacking: set[int]
) -> None:
    every = scored(**{name: FIELDS[name] for name in fields}, seed=[0, 1])
    every = [score for i, score in enumerate(every) if i not in lacking] or every
    try:
        axes = [axis(over, every, "x")] if over else []
        division = divide(Cells(every), axes, by_rows=by_rows)
    except InputError as error:
        (problem,) = error.problems
        assert re.match(r"plot: (would have \d+ panels|`x`: unknown 'alpha'|`x`: alpha: )", problem)
        return
    placed = [score for point in division.points.values() for score in point.cells.values()]
    assert len(placed) == len(set(map(id, placed)))
    assert (len(placed) == len(every)) is (not division.left_out)
    for (panel, row, values), point in division.points.items():
        cells = [score.scenario for score in point.cells.values()]
        assert {one.replace(seed=0, attack="none") for one in cells} == {
            cells[0].replace(seed=0, attack="none")
        }
        assert all(one.of(score) == v for score in point.cells.values()
                   for one, v in zip(axes, values, strict=True))  # fmt: skip
        assert panel in division.panels
        assert row in division.rows


@pytest.mark.parametrize(
    ("kind", "asked", "message"),
    [
        ("curve", {}, "plot: kind: unknown 'curve'; did you mean 'curves'?"),
        ("devices", {"y": "energy"}, "plot: devices: --y: energy: no run measured it; it needs "
         "results with metrics=standard of this version, of a fleet that says watts"),
        ("devices", {"y": "joules"}, "plot: devices: --y: unknown 'joules'; expected one of class_"),
        ("sweep", {}, "plot: --x: expected the field that accuracy is drawn over, as f, f/n, tau or "
         "alpha"),
        ("sweep", {"x": "rule"}, "plot: --x: rule: its values are names; draw a heat map, kind heat, "
         "with this --x"),
        ("sweep", {"x": "tau"}, "plot: --x: tau: expected two finite values or more; these cells "
         "have 32"),
        ("sweep", {"x": "seed"}, "plot: --x: seed: pictures show means over it; choose some by "
         "--where"),
        ("sweep", {"x": "f/rule"}, "plot: --x: 'f/rule'; expected two fields with numbers, as f/n"),
        ("heat", {"x": "alpha", "y": "beta"}, "plot: --y: unknown 'beta'; expected one of "),
        ("curves", {"x": "tim"}, "plot: curves: --x: unknown 'tim'; did you mean 'time'?"),
        ("curves", {"y": "loos"}, "plot: curves: --y: unknown 'loos'; did you mean 'loss'?"),
        ("ranks", {"x": "f"}, "plot: ranks: --x: 'f'; expected none, as there is no choice"),
        ("ranks", {"lines": "f"}, "plot: ranks: --lines: 'f'; expected none; use --where"),
        ("cost", {"x": "seconds"}, "plot: cost: --x: seconds: cells that are computed together share "
         "their time evenly; hgobench audit rule NAME measures what a rule's call takes"),
        ("curves", {"lines": "attack"}, "plot: would have 8 panels, at most 6 are drawn: cells "
         "differ in partition (dirichlet[alpha=0.1], dirichlet[alpha=10.0]), rule (average, median), "
         "byzantine (1, 3); choose some by --where, or give one of these to an axis"),
        ("heat", {"where": "f=2"}, "is byzantine=2; its byzantine is 1 or 3"),
        ("heat", {"where": "f=x"}, "byzantine: 'x'; expected an integer >= 0"),
        ("heat", {"where": "ruleset=small"}, "holds no results of the ruleset 'small' that a board "
         "would rank"),
        ("curves", {"out": "p.jpg"}, "--out: 'p.jpg'; expected a file .png, .svg, .pdf"),
    ],
)  # fmt: skip
def test_what_can_t_be_drawn_is_refused_with_the_way_out(
    kind: str, asked: Mapping[str, str], message: str, outcome: SuiteOutcome, tmp_path: Path
) -> None:
    options = [text for name, value in asked.items() for text in (f"--{name}", value)]
    done = command("plot", str(outcome.folder), kind, *options, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.replace(f"plot: '{outcome.folder}/results.sqlite': ", "")
    assert not list(tmp_path.iterdir())
    assert not (outcome.folder / "plots").exists() or "ranks" in message


def test_rulesets_are_not_mixed(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.add(stored(Scenario(workers=8, rounds=2)), "a-1", "1")
        store.add(stored(Scenario(workers=8, rounds=2)), "b-1", "2")
    done = command("plot", str(tmp_path), "curves")
    assert done.stderr.splitlines()[-1] == (
        f"  plot: '{tmp_path}/results.sqlite': holds several rulesets, whose numbers don't "
        "compare; choose one by --where: 'ruleset=a-1', 'ruleset=b-1'"
    )
    one = plot(tmp_path, "curves", where={"ruleset": "b-1"})
    assert "ruleset b-1" in one.caption
    with pytest.raises(InputError, match="two cells for one point: they differ in nothing"):
        plot([stored(Scenario(workers=8, rounds=2))] * 2, "curves")


def test_a_number_that_two_settings_have_is_not_their_mean() -> None:
    same: dict[str, Any] = {"seed": [0], "q": [8], "tolerated": [2], "v": [7]}
    every = scored(f=[1, 2], **same) + scored(workers=[24], f=[2, 4], **same)
    with pytest.raises(InputError, match=r"differ in workers \(12, 24\).*choose one by `where`$"):
        plot(boards(every), "sweep", x="f/n")


def test_what_is_left_out_is_said() -> None:
    every = scored(partition=FIELDS["partition"], f=[1, 2], rule=["krum", "median"], seed=[0, 1])
    every = [s for s in every if (s.scenario.seed, s.scenario.rule, s.scenario.f) != (1, "krum", 2)]
    caption = boards(every).plot("sweep", x="alpha", lines="rule").caption
    told = "Left out: 7 cells without partition.alpha; 2 of 8 points, which lack cells that others"
    assert told in caption
    assert "With fewer than 6 seeds there is no interval." in caption
    assert "dirichlet[alpha=*]" in caption
    infinite = scored(deadline=FIELDS["deadline"], seed=[0])
    assert "Not drawn: tau=inf." in boards(infinite).plot("sweep", x="tau").caption


@pytest.mark.parametrize("deaf", ["krum", "median"])
def test_classes_of_devices_are_drawn_from_slow_to_fast(deaf: str) -> None:
    """Of one rule, the first or the second, weak devices were never heard."""
    heard = {"used/weak": 0.5, "used/average": 1.0, "used/powerful": 1.5}
    fast = {"used/average": 1.0, "used/powerful": 2.0}
    scores = [
        replace(score, measures=fast if score.scenario.rule == deaf else heard)
        for score in scored(rule=["krum", "median"], attack=["none", "foe", "alie"], seed=[0, 1])
    ]
    picture = boards(scores).plot("devices")
    (axes,) = picture.figure.axes
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["weak", "average", "powerful"]
    drawn = [np.asarray(line.get_xdata(), float) for line in axes.lines]
    assert sorted(len(x) for x in drawn) == [2, 3]
    assert all((np.diff(x) > 0).all() for x in drawn)
    assert (
        "mean over 2 seeds, each row under the worst, at the end, of 2 attacks" in picture.caption
    )


def test_rows_beyond_the_most_are_grey_and_counted() -> None:
    rules = ["krum", "median", "average", "phocas", "cge"]
    every = scored(rule=[*rules, "oracle"], attack=["none", "foe"], seed=[0, 1])
    every = [replace(s, needs=("honest",)) if s.scenario.rule == "oracle" else s for s in every]
    made = boards(every)
    picture = made.plot("heat", most=2)
    assert "Of 6 rows, the 2 whose lowest accuracy here is the highest." in picture.caption
    assert len({r["row"] for r in rows(picture)} - {"oracle"}) == 2
    with_f = boards(scored(rule=rules, f=[1, 2], seed=[0]))
    picture = with_f.plot("sweep", x="f", most=2)
    (axes,) = picture.figure.axes
    assert len({r["line"] for r in rows(picture)}) == len(axes.lines) == 5
    grey = [line for line in axes.lines if to_hex(line.get_color()) == charts.FAINT]
    assert len(grey) == 3
    assert "In colour: the 2 of 5" in picture.caption


@pytest.mark.long
def test_every_way_to_a_picture_is_the_same(outcome: SuiteOutcome, tmp_path: Path) -> None:
    out = tmp_path / "p.svg"
    done = command("plot", str(outcome.folder), "heat", "--where", "f=1,3", "--out", str(out))
    assert done.returncode == 0, done.stderr
    first, second, caption = done.stdout.splitlines()
    assert (first, second) == (str(out), str(out.with_suffix(".csv")))
    mine = outcome.plot("heat", where={"f": [1, 3]})
    assert caption == mine.caption
    others = [
        hgobench.plot(outcome.folder, "heat"),
        outcome.boards().plot("heat"),
        plot(list(outcome.results()), "heat"),
    ]
    data = out.with_suffix(".csv").read_text()
    for picture in (mine, *others):
        picture.save(tmp_path / "again.svg")
        assert (tmp_path / "again.csv").read_text() == data
    again = tmp_path / "b" / "p.svg"
    outcome.plot("heat", where={"f": [1, 3]}).save(again)
    assert again.read_bytes() == out.read_bytes(), "byte for byte"


def test_a_figure_is_changed_further_and_saved_so(outcome: SuiteOutcome, tmp_path: Path) -> None:
    picture = outcome.plot("sweep", x="alpha", where={"f": 1}, width="page", caption=False)
    assert picture.figure.get_size_inches()[0] == 7
    assert not picture.figure.texts
    picture.figure.axes[0].set_ylabel("how good it is")
    picture.save(tmp_path / "p.svg")
    assert "<!-- how good it is -->" in (tmp_path / "p.svg").read_text()
    assert picture._repr_png_().startswith(b"\x89PNG")
    frame = picture.to_frame()
    assert list(frame["partition.alpha"]) == [0.1, 10.0, 0.1, 10.0]
    assert frame["low"].isna().all()


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_outside_the_picture_or_over_something_else(
    kind: str, width: str, pictures: Mapping[str, Picture]
) -> None:
    picture = replace(pictures[kind], width=width)  # type: ignore[arg-type]
    canvas: Any = picture.figure
    canvas.draw_without_rendering()
    whole = canvas.bbox
    boxes = [one.get_window_extent() for one in (*canvas.legends, *canvas.texts)]
    boxes += [axes.get_tightbbox() for axes in canvas.axes]
    for box in boxes:
        assert whole.x0 - 1 <= box.x0 < box.x1 <= whole.x1 + 1
        assert whole.y0 - 1 <= box.y0 < box.y1 <= whole.y1 + 1
    for legend in canvas.legends:
        for axes in canvas.axes:
            assert not legend.get_window_extent().overlaps(axes.get_tightbbox())
    (caption,) = canvas.texts
    assert " ".join(caption.get_text().split()) == picture.caption
    for other in (*canvas.legends, *canvas.axes):
        box = other.get_window_extent()
        assert not caption.get_window_extent().overlaps(box)
    sizes = {text.get_fontsize() for axes in canvas.axes for text in axes.get_xticklabels()}
    assert min(sizes) >= 7


def test_lines_and_cells_are_read_in_grey(pictures: Mapping[str, Picture]) -> None:
    for kind in ("curves", "sweep", "cost", "blocks"):
        for axes in pictures[kind].figure.axes:
            named = [line for line in axes.lines if to_hex(line.get_color()) != charts.FAINT]
            looks = {(line.get_marker(), line.get_linestyle()) for line in named}
            assert len(looks) == len({line.get_color() for line in named}), "by marker alone"
    values = np.linspace(0, 1, 41).tolist()
    chart = Chart(
        "h", "", "", "", heat=Heat(["a"], list(map(str, range(41))), [[v] for v in values])
    )
    (axes,) = charts.draw(chart, "column").axes
    (mesh,) = axes.collections
    mesh.update_scalarmappable()
    cells = [to_hex(colour) for colour in mesh.get_facecolors()]
    grey = [contrast(colour, "#000000") for colour in cells]
    assert grey == sorted(grey), "lighter with the number"
    for text, colour in zip(axes.texts, cells, strict=True):
        assert contrast(to_hex(text.get_color()), colour) > 4.5


@pytest.mark.parametrize(("panels", "numbers"), [(1, True), (2, False)])
def test_numbers_are_in_cells_where_there_is_room(panels: int, numbers: bool) -> None:
    heat = Heat([f"attack {i}" for i in range(13)], ["a"], [[0.5] * 13], label="accuracy")
    one = Chart("", "p", "", "", heat=heat)
    chart = one if panels == 1 else Chart("h", "", "", "", panels=[one] * panels)
    canvas = charts.draw(chart, "page")
    texts = [text.get_text() for axes in canvas.axes for text in axes.texts]
    assert texts == (["0.50"] * 13 if numbers else [])
    assert len(canvas.axes) == panels * (1 if numbers else 2), "else there is a scale of colours"


def test_heat_maps_and_captions_are_in_pages_too(pictures: Mapping[str, Picture]) -> None:
    page = pictures["heat"].page
    written = html.html(page)
    assert pictures["heat"].caption in written
    assert ">sign_flip<" in written
    again = kept.from_json(kept.to_json(page))
    assert html.html(again) == written
    with pytest.raises(ValueError, match="2 rows of 1 numbers are expected"):
        Heat(["a"], ["b", "c"], [[0.5]])


def test_a_chart_of_panels_says_in_its_csv_in_which(pictures: Mapping[str, Picture]) -> None:
    from hgobench.report.render import chart_csv

    without = replace(pictures["heat"].chart, data=None)
    lines = list(csv.reader(io.StringIO(chart_csv(without))))
    assert lines[0] == ["panel", "line", "attack", "", "low", "high"]
    stated = [(row["panel"], row["row"], row["attack"]) for row in rows(pictures["heat"])]
    assert [tuple(line[:3]) for line in lines[1:]] == stated


def test_parameters_and_fields_are_found_on_axes() -> None:
    score = Score(
        Scenario(n=40, f=4, rule="bucketing[s=3]+krum", attack="alie[z=1.5]", tau=16), "done", 0.5
    )
    for text, value, left in (
        ("s", 32, {"batch_size": ""}),
        ("rule.s", 3, {"rule": "bucketing[s=*]+krum"}),
        ("tau", 16.0, {"deadline": ""}),
        ("attack.z", 1.5, {"attack": "alie[z=*]"}),
        ("f/n", 0.1, {"byzantine": "", "workers": ""}),
    ):
        one = axis(text, [score], "x")
        assert (one.of(score), one.rest(score)) == (value, left), text
    both = Score(Scenario(n=40, f=4, rule="centered_clipping[tau=0.3]"), "done", 0.5)
    assert axis("rule.tau", [both], "x").of(both) == 0.3


def test_boards_say_where_their_rounds_are(outcome: SuiteOutcome) -> None:
    message = r"^plot: a board does not hold what happened in rounds; draw from its results: outc"
    with pytest.raises(InputError, match=message):
        outcome.boards().plot("curves")


@pytest.mark.parametrize(
    "work",
    [
        "pass",
        pytest.param(
            "main(['run', 'smoke', '--set', 'rounds=1', '--out', out, '--jobs', '1', '--quiet'])",
            marks=pytest.mark.long,
        ),
    ],
)
def test_matplotlib_is_imported_when_something_is_drawn(work: str, tmp_path: Path) -> None:
    code = (
        "import sys\nimport hgobench.plots, hgobench.session\nfrom hgobench.cli import main\n"
        f"out = {str(tmp_path)!r}\ntry: {work}\nexcept SystemExit: pass\n"
        "assert 'matplotlib' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
