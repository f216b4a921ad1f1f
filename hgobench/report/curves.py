"""A reproduced figure, drawn: the published curves beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hgobench.paper.figures import Figure
from hgobench.paper.runs import Measurements

from . import frame

AXES = {
    "test_accuracy": "accuracy on test examples",
    "test_loss": "loss on test examples",
}


def draw(figure: Figure, measured: Measurements) -> Any:
    """Draw one panel per variant: ours as lines with bands, the published ones dashed.

    Controls are dotted, in the colour of the curve that they belong to. Bars, where the paper has
    them, are the answers that the server received.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure as Canvas

    rows = 2 if figure.bars else 1
    size = (5.6 * len(figure.variants), 4.2 + 1.4 * (rows - 1))
    canvas = Canvas(figsize=size, layout="constrained")
    panels = canvas.subplots(
        rows, len(figure.variants), squeeze=False, sharex="col",
        height_ratios=[3, 1][:rows],
    )  # fmt: skip
    colours = colormaps["tab10"]
    handles: dict[str, Any] = {}
    low, high = np.inf, -np.inf
    for column, variant in enumerate(figure.variants):
        panel = panels[0, column]
        own = [curve.label for curve in figure.curves if not curve.control_of]
        for curve in figure.of(variant):
            series = measured.series(figure, curve, variant)
            number = own.index(curve.control_of or curve.label)
            colour = colours(number % 10)
            x = series.time.mean(axis=0) if figure.clock else series.updates
            if curve.control_of:
                dotted = {"linestyle": ":", "linewidth": 1.2}
                (line,) = panel.plot(x, series.mean, color=colour, **dotted)
                handles.setdefault("control", line)
                low, high = min(low, series.mean.min()), max(high, series.mean.max())
                continue
            below, above = series.band
            panel.fill_between(x, below, above, color=colour, alpha=0.18, linewidth=0)
            (handles[curve.label],) = panel.plot(x, series.mean, color=colour, linewidth=1.5)
            points = figure.points(curve)
            if points is not None and not (figure.clock == "evaluated" and variant == "specified"):
                dashed = {"linestyle": (0, (3, 2)), "linewidth": 1.0}
                (line,) = panel.plot(points[:, 0], points[:, 1], color=colour, **dashed)
                handles.setdefault("published", line)
                low, high = min(low, points[:, 1].min()), max(high, points[:, 1].max())
            low, high = min(low, series.mean.min()), max(high, series.mean.max())
            if figure.bars:
                _bars(panels[1, column], number, len(own), series.every, figure, colour)
        panel.set_title(f"as {variant}", fontsize=11)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        rounds = measured.series(figure, figure.curves[0], variant).every.shape[1]
        if figure.clock:
            panel.set_xlim(0, min(4 * rounds, panel.get_xlim()[1]))
        panels[-1, column].set_xlabel(
            "time (in 1 a device of rate λ computes λ coordinates)" if figure.clock else "updates"
        )
    margin = 0.03 * (high - low)
    for panel in panels[0]:
        panel.set_ylim(low - margin, high + margin)
    explained = figure.problem == "regression" and figure.y == "test_accuracy"
    panels[0, 0].set_ylabel("explained variance" if explained else AXES[figure.y])
    if figure.bars:
        panels[1, 0].set_ylabel("answers")
    last = ["published", "control"]
    order = sorted(handles, key=lambda name: last.index(name) if name in last else -1)
    labels = {name: handles[name] for name in order}
    canvas.legend(
        labels.values(),
        labels.keys(),
        loc="outside lower center",
        ncols=min(4, len(labels)),
        frameon=False,
        fontsize=9,
    )
    return canvas


def _bars(panel: Any, number: int, many: int, every: Any, figure: Figure, colour: Any) -> None:
    """Draw the mean answers of every so many rounds."""
    groups = every.mean(axis=0)[: every.shape[1] // figure.bars * figure.bars]
    height = groups.reshape(-1, figure.bars).mean(axis=1)
    width = 0.8 * figure.bars / many
    left = np.arange(len(height)) * figure.bars + 0.1 * figure.bars + number * width
    panel.bar(left, height, width, align="edge", color=colour)
    panel.spines[["top", "right"]].set_visible(False)


def svg(figure: Figure, measured: Measurements) -> str:
    """Return the drawing as SVG, without its XML header."""
    return frame.svg(lambda: draw(figure, measured), figure.name)


def png(figure: Figure, measured: Measurements, path: Path) -> None:
    """Write the drawing as a picture."""
    draw(figure, measured).savefig(path, dpi=90, metadata={"Software": None})
