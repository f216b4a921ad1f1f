"""The one drawer: what is drawn can be told apart, by the colour-blind and in grey, and is read."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hgobench.report import charts, html
from hgobench.report.page import Chart, Line, Page

Floats = NDArray[np.float64]

# Linear RGB as those without green, red or blue cones see it (Machado, Oliveira, Fernandes 2009,
# severity 1), and as everybody does.
SIGHT = {
    "all": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def linear(colour: str) -> Floats:
    """Linear RGB of ``#rrggbb``."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: Floats) -> Floats:
    """CIELAB of linear RGB (D65)."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(matrix) @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2)."""
    light, dark = sorted((linear(c) @ [0.2126, 0.7152, 0.0722] for c in (one, other)), reverse=True)
    return float((light + 0.05) / (dark + 0.05))


def dark_mode() -> dict[str, str]:
    """The colours that a page's dark mode has, by their names."""
    style = html.html(Page("p", "A page", []))
    block = re.search(r"prefers-color-scheme: dark\) \{(.*?\})", style, re.DOTALL)
    assert block
    return dict(re.findall(r"--(\w+): (#\w{6});", block[1]))


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_differ_for_everybody(sight: str, mode: str) -> None:
    colours = list(charts.COLOURS)
    if mode == "dark":
        dark = dark_mode()
        colours = [dark[f"c{i}"] for i in range(len(colours))]
    seen = [lab(SIGHT[sight] @ linear(colour)) for colour in colours]
    for (i, one), (j, other) in itertools.combinations(enumerate(seen), 2):
        assert np.linalg.norm(one - other) > 10, (colours[i], colours[j])


def test_text_is_read_in_both_modes() -> None:
    dark = dark_mode()
    for name in ("ink", "faint", "yes", "no", "link"):
        assert contrast(dark[name], dark["paper"]) > 4.5, name
    assert contrast(charts.INK, "#ffffff") > 4.5
    for i, colour in enumerate(charts.COLOURS):
        assert contrast(colour, "#ffffff") > 2
        assert contrast(dark[f"c{i}"], dark["paper"]) > 3


def drawn(labels: list[str], **more: Any) -> Any:
    lines = [Line(label, [1, 2, 3], [1.0 + i, 2.0, 3.0]) for i, label in enumerate(labels)]
    canvas = charts.draw(Chart("c", "A chart", "x", "y", lines, **more))
    canvas.draw_without_rendering()
    return canvas


def test_as_many_lines_as_there_are_rules_have_looks_of_their_own() -> None:
    lines = drawn([f"rule {i}" for i in range(40)]).axes[0].lines
    looks = {(line.get_marker(), line.get_color()) for line in lines}
    assert len(looks) == 40
    in_grey = {(line.get_marker(), str(line._dash_pattern)) for line in lines[:28]}
    assert len(in_grey) >= 25, "by marker and dash, without any colour"


@pytest.mark.parametrize(
    ("labels", "panels"),
    [
        (["one"], 0),
        ([f"rule {i}" for i in range(25)], 0),
        ([f"fashion_mnist, powerful: hgo subnetwork {i}" for i in range(8)], 0),
        ([f"a rather long label of a curve, number {i}" for i in range(9)], 1),
        (["SGD, C1", "HgO, C1", "HgO, Cweak"], 2),
    ],
)
def test_a_legend_is_inside_the_picture_and_over_no_axes(labels: list[str], panels: int) -> None:
    if panels:
        lines = [Line(label, [1, 2], [1.0, 2.0]) for label in labels]
        panel = Chart("", "as published", "x", "y", lines)
        canvas = charts.draw(Chart("", "", "x", "y", panels=[panel] * panels))
        canvas.draw_without_rendering()
    else:
        canvas = drawn(labels)
    (legend,) = canvas.legends
    box, whole = legend.get_window_extent(), canvas.bbox
    assert [text.get_text() for text in legend.get_texts()] == labels
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert whole.y0 <= box.y0 < box.y1 <= whole.y1
    for axes in canvas.axes:
        assert not box.overlaps(axes.get_window_extent())
        assert axes.get_window_extent().width > 0.35 * whole.width / max(panels, 1)


@pytest.mark.parametrize("least", [1e-7, 1e-3, 0.5])
@pytest.mark.parametrize("most", [0.9, 50.0, 2e5])
def test_log_axes_have_plain_numbers(least: float, most: float) -> None:
    line = Line("one", [least, most], [least, most])
    canvas = charts.draw(Chart("c", "A chart", "x", "y", [line], "xy"))
    canvas.draw_without_rendering()
    (axes,) = canvas.axes
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        labels = [
            tick.label1.get_text()
            for tick in axis.get_major_ticks()
            if low <= tick.get_loc() <= high
        ]
        assert len(labels) >= 2
        for tick, label in zip(
            [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high], labels, strict=True
        ):
            assert float(label.replace(",", "")) == pytest.approx(tick.get_loc())
            assert "$" not in label


def test_rounds_are_whole() -> None:
    for at, whole in (([2, 4], True), ([2.0, 4.5], False)):
        canvas = charts.draw(Chart("c", "A chart", "round", "y", [Line("one", at, [0.1, 0.2])]))
        canvas.draw_without_rendering()
        assert all(float(x).is_integer() for x in canvas.axes[0].get_xticks()) is whole


def test_bars_and_stacks_add_up(tmp_path: Path) -> None:
    stack = [Line(f"class {c}", [3.0, 1.0 + c], [0, 1], style="stack") for c in range(30)]
    canvas = charts.draw(Chart("c", "A chart", "examples", "worker", stack))
    ends = [patch.get_x() + patch.get_width() for patch in canvas.axes[0].patches]
    assert max(ends) == sum(1.0 + c for c in range(30))
    assert not canvas.legends, "30 classes are not told apart"
    lines = [Line(name, [0, 1], [math.inf, 1.0]) for name in ("a", "b")]
    bars = [Line(name, [0, 10], [4.0, 5.0], style="bars", like=name) for name in ("a", "b")]
    panel = Chart("", "p", "x", "y", lines, below=Chart("", "", "x", "answers", bars))
    canvas = charts.draw(Chart("", "", "x", "y", panels=[panel]))
    patches = canvas.axes[1].patches
    assert [patch.get_height() for patch in patches] == [4.0, 5.0, 4.0, 5.0]
    spans = sorted((patch.get_x(), patch.get_x() + patch.get_width()) for patch in patches)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    charts.save(panel, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_picture_is_saved_alike_each_time(kind: str, tmp_path: Path) -> None:
    chart = Chart("c", "Accuracy", "round", "accuracy", [Line("median", [0, 1], [0.1, 0.6])])
    pictures = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        charts.save(chart, folder / f"c.{kind}")
        pictures.append((folder / f"c.{kind}").read_bytes())
    assert pictures[0] == pictures[1]
    assert not re.search(rb"Date|<dc:date>", pictures[0])


def test_a_picture_does_not_hang_on_last_bits_of_its_layout(tmp_path: Path) -> None:
    lines = [Line("median", [0, 1], [0.1, 0.6])]
    figure = charts.draw(Chart("c", "Accuracy", "round", "accuracy", lines))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    box = figure.axes[0].get_position()
    path, pictures = tmp_path / "c.svg", []
    for width in (box.width, float(np.nextafter(box.width, 1))):
        figure.axes[0].set_position((box.x0, box.y0, width, box.height))
        charts.save_figure(figure, path, 80)
        pictures.append(path.read_text(encoding="utf-8"))
    # A coordinate may be written one up or down in its last digit.
    short = [re.sub(r"\d+\.\d+", lambda m: f"{float(m[0]):.3f}", text) for text in pictures]
    assert short[0] == short[1]
    names = re.findall(r' id="([^"]+)"', pictures[0])
    assert len(names) == len(set(names))
    used = re.findall(r'(?:url\(|href=")#([^)"]+)', pictures[0])
    assert used
    assert set(used) <= set(names)
