"""The pages of `hgobench reproduce`: one per figure, an index, and tables of last values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hgobench.data import datasets
from hgobench.report import files
from hgobench.report.page import (
    Block,
    Cell,
    Chart,
    Facts,
    Finding,
    Findings,
    Line,
    Link,
    Page,
    Table,
    Text,
)

from .agreement import Agreement
from .claims import Verdict
from .comparisons import COLUMNS as COMPARED
from .figures import Curve, Figure, Variant, load, names
from .runs import Floats, Measurements, final_pair

COLUMNS = (
    "figure", "variant", "curve", "updates", "time", "mean", "low", "high", "seeds",
)  # fmt: skip
AXES = {
    "test_accuracy": "accuracy on test examples",
    "test_loss": "loss on test examples",
}


def page(
    figure: Figure, measured: Measurements, verdicts: Sequence[Verdict], met: Sequence[Agreement]
) -> Page:
    """Return a figure's page.

    Args:
        figure: the figure.
        measured: its curves.
        verdicts: of the claims about it.
        met: the agreement with its published values.
    """
    legend = (
        "the dashed lines are those of the paper" if figure.published else "no values published"
    )
    if any(curve.control_of for curve in figure.curves):
        legend += ", the dotted ones controls of ours"
    settings = [
        (f"as {variant}: {curve.label}", repr(figure.cell(curve, variant, 0)))
        for variant in figure.variants
        for curve in figure.of(variant)
    ]
    blocks: list[Block] = [Text(figure.note, "note")] if figure.note else []
    blocks += [
        chart(figure, measured),
        Text(
            f"Mean and 95 % confidence band of {measured.seeds} seeds; {legend}. As published is "
            "the authors' accounting, as specified Algorithm 1 at equal cost per scalar."
        ),
        last_values(figure, measured),
    ]
    if met:
        blocks.append(_agreements(met))
    if verdicts:
        blocks += [Findings(_findings(verdicts)), _comparisons(verdicts)]
    blocks.append(Facts(settings, "Settings of every curve (seed 0)", folded=True))
    command = f"hgobench reproduce {figure.name} --seeds {measured.seeds}"
    return Page(figure.name, title(figure), blocks, command)


def title(figure: Figure) -> str:
    """Return a figure's name and caption."""
    return f"{figure.name}: {figure.caption}"


def summary(figure: Figure, measured: Measurements) -> Page:
    """Return the last values, for a terminal."""
    return Page(figure.name, title(figure), [last_values(figure, measured)])


def judged(verdicts: Sequence[Verdict]) -> Page:
    """Return the claims and their verdicts, for a terminal."""
    rows = [[v.claim.id, v.text] for v in verdicts]
    return Page("claims", "The paper's claims", [Table("", "", ["claim", "verdict"], rows)])


def index(figures: Sequence[Figure], verdicts: Sequence[Verdict]) -> Page:
    """Return the page with links to all others."""
    links: list[list[Cell]] = [[Link(f.name, f"{f.name}.html"), f.caption] for f in figures]
    claims = [[v.claim.sentence, v.text] for v in verdicts]
    tables = [
        Table("", "Figures", ["figure", "what it shows"], links),
        *([Table("", "Claims", ["what the paper says", "verdict"], claims)] if claims else []),
    ]
    return Page("index", "The paper, reproduced", tables)


def write(
    folder: Path,
    figures: Sequence[Figure],
    measured: Measurements,
    verdicts: Sequence[Verdict],
    met: Sequence[Agreement],
) -> Path:
    """Write a page and a CSV file per figure, and an index; return the index's path."""
    for figure in figures:
        own = [v for v in verdicts if figure.name in v.claim.figures]
        agreements = [a for a in met if a.figure == figure.name]
        files.write(folder, page(figure, measured, own, agreements))
    written = [load(name) for name in names() if (folder / f"{name}.html").exists()]
    return files.write(folder, index(written, verdicts))


def last_values(figure: Figure, measured: Measurements) -> Table:
    """Return a row per curve: the published last value, ours in each variant, answers per round.

    Ours are the mean, the range over seeds and, for an accuracy, the binomial standard error of the
    test examples: these are the same in every seed, so that the range does not include it.
    """
    rows = []
    for curve in figure.curves:
        name = f"control: {curve.label}" if curve.control_of else curve.label
        ours, answers, paper = [], [], math.nan
        for variant in figure.variants:
            if variant not in curve.variants:
                ours.append("")
                answers.append("-")
                continue
            series = measured.series(figure, curve, variant)
            paper, finals = final_pair(figure, curve, variant, series)
            mean = float(finals.mean())
            range_ = f"{number(finals.min())} to {number(finals.max())}" if len(finals) > 1 else ""
            spread = "; ".join(filter(None, (range_, _of_examples(figure, curve, variant, mean))))
            ours.append(f"{number(mean)} ({spread})" if spread else number(mean))
            answers.append(f"{series.heard.mean():.1f}")
        published = [] if not figure.published else ["" if math.isnan(paper) else number(paper)]
        rows.append([name, *published, *ours, " / ".join(answers)])
    ours = [f"as {variant}" for variant in figure.variants]
    paper_ = ["paper"] if figure.published else []
    return Table("", "Last values", ["curve", *paper_, *ours, "answers per round"], rows)


def _of_examples(figure: Figure, curve: Curve, variant: Variant, accuracy: float) -> str:
    """Return the binomial standard error of an accuracy; for other values an empty text."""
    if figure.y != "test_accuracy" or figure.problem == "regression":
        return ""
    examples = len(datasets.load(figure.cell(curve, variant, 0).data).test)
    return f"± {math.sqrt(accuracy * (1.0 - accuracy) / examples):.3f}"


def number(value: float) -> str:
    """Write an accuracy with three digits, a loss with two."""
    return f"{value:.3f}" if abs(value) < 2 else f"{value:.2f}"


def _agreements(met: Sequence[Agreement]) -> Table:
    rows = [[a.curve, number(a.paper), number(a.mean), number(a.tolerance), a.text] for a in met]
    return Table(
        "", "Does the published variant land on what was published?",
        ["curve", "paper", "ours", "tolerance", "met"], rows, right={1, 2, 3},
    )  # fmt: skip


def _findings(verdicts: Sequence[Verdict]) -> list[Finding]:
    """Return a finding per claim and variant."""
    return [
        Finding(
            f"{verdict.claim.sentence} ({verdict.claim.source}), as {variant}",
            True if outcome == "holds" else False if outcome.startswith("does not hold") else None,
            f"{outcome} (p = {verdict.adjusted[variant]:.2g}); "
            f"demanded: {verdict.claim.criterion}; {verdict.evidence[variant].text}",
        )
        for verdict in verdicts
        for variant, outcome in verdict.outcomes.items()
    ]


def _comparisons(verdicts: Sequence[Verdict]) -> Table:
    rows = [
        [verdict.claim.id, variant, *comparison.row]
        for verdict in verdicts
        for variant, evidence in verdict.evidence.items()
        for comparison in evidence.comparisons
    ]
    return Table(
        "", "Comparisons behind the claims", ["claim", "as", *COMPARED], rows,
        summary=f"{len(rows)} comparisons",
    )  # fmt: skip


def points(figure: Figure, measured: Measurements) -> Table:
    """Return all points of a chart, ours and the published ones."""
    rows: list[Sequence[Cell]] = []
    for curve in figure.curves:
        for variant in (v for v in figure.variants if v in curve.variants):
            series = measured.series(figure, curve, variant)
            low, high = series.band
            columns = series.updates, series.time.mean(axis=0), series.mean, low, high
            for updates, *values in zip(*columns, strict=True):
                numbers = [f"{value:.6g}" for value in values]
                name = f"as {variant}"
                key = (figure.name, name, curve.label, int(updates))
                rows.append((*key, *numbers, len(series.values)))
        paper = figure.points(curve)
        for x, value in paper if paper is not None else ():
            place = ["", f"{x:g}"] if figure.clock else [f"{x:g}", ""]
            rows.append([figure.name, "paper", curve.label, *place, f"{value:g}", "", "", ""])
    return Table(figure.name, "", COLUMNS, rows)


def chart(figure: Figure, measured: Measurements) -> Chart:
    """Return a panel per variant: ours as lines with bands, the published ones dashed.

    Controls are dotted, in the colour of their curve. Bars, where the paper has them, are the
    answers that the server received.
    """
    explained = figure.problem == "regression" and figure.y == "test_accuracy"
    y = "explained variance" if explained else AXES[figure.y]
    panels = [_panel(figure, measured, variant, y) for variant in figure.variants]
    return Chart("", "", panels[0].x, y, panels=panels, data=points(figure, measured))


def _panel(figure: Figure, measured: Measurements, variant: Variant, y: str) -> Chart:
    lines, bars = [], []
    for curve in figure.of(variant):
        series = measured.series(figure, curve, variant)
        x = (series.time.mean(axis=0) if figure.clock else series.updates).tolist()
        mean = series.mean.tolist()
        if curve.control_of:
            lines.append(
                Line(f"control: {curve.label}", x, mean, style="dotted", like=curve.control_of,
                     group="control")
            )  # fmt: skip
            continue
        low, high = series.band
        lines.append(Line(curve.label, x, mean, low.tolist(), high.tolist()))
        paper = figure.points(curve)
        if paper is not None and not (figure.clock == "evaluated" and variant == "specified"):
            at, value = paper.T.tolist()
            lines.append(
                Line(f"published: {curve.label}", at, value, style="dashed", like=curve.label,
                     group="published")
            )  # fmt: skip
        if figure.bars:
            bars.append(_bars(curve.label, series.answers, figure.bars))
    rounds = measured.series(figure, figure.curves[0], variant).answers.shape[1]
    x = "time (in 1 a device of rate λ computes λ coordinates)" if figure.clock else "updates"
    return Chart(
        "", f"as {variant}", x, y, lines,
        below=Chart("", "", x, "answers", bars) if figure.bars else None,
        ends=4.0 * rounds if figure.clock else None,
    )  # fmt: skip


def _bars(label: str, answers: Floats, rounds: int) -> Line:
    """Return bars of the mean answers, each over `rounds` rounds."""
    groups = answers.mean(axis=0)[: answers.shape[1] // rounds * rounds]
    height = groups.reshape(-1, rounds).mean(axis=1)
    left = np.arange(len(height)) * rounds
    return Line(label, left.tolist(), height.tolist(), style="bars", like=label)
