"""What `hgobench reproduce` leaves: a page per figure, and a document of all claims."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

import hgobench
from hgobench.paper import quirks
from hgobench.paper.agreement import WITHIN, Agreement
from hgobench.paper.claims import Verdict
from hgobench.paper.figures import Figure, load, names
from hgobench.paper.runs import Measurements, final_pair

from . import curves, frame, writers
from .writers import EVERYTHING, Layout
from .writers import html as escape

SAID = {True: "yes", False: "no", None: "the seeds disagree"}
COLUMNS = (
    "figure", "variant", "curve", "updates", "time", "mean", "low", "high", "seeds",
)  # fmt: skip


def finals(figure: Figure, measured: Measurements) -> list[list[str]]:
    """Return a row per curve: the published last value, ours in each variant, answers heard."""
    rows = []
    for curve in figure.curves:
        row, heard = [curve.label], []
        paper = math.nan
        ours = []
        for variant in figure.variants:
            series = measured.series(figure, curve, variant)
            paper, each = final_pair(figure, curve, variant, series)
            spread = f"{number(each.min())} to {number(each.max())}"
            ours.append(f"{number(each.mean())} ({spread})" if len(each) > 1 else number(each[0]))
            heard.append(f"{series.heard.mean():.1f}")
        known = [] if not figure.published else ["" if math.isnan(paper) else number(paper)]
        row += [*known, *ours, " / ".join(heard)]
        rows.append(row)
    return rows


def number(value: float) -> str:
    """Write an accuracy with three digits, a loss with two."""
    return f"{value:.3f}" if abs(value) < 2 else f"{value:.2f}"


def header(figure: Figure) -> list[str]:
    """Name the columns of `finals`."""
    ours = [f"as {variant}" for variant in figure.variants]
    paper = ["paper"] if figure.published else []
    return ["curve", *paper, *ours, "answers per round"]


def table_of(
    figure: Figure,
    measured: Measurements,
    form: writers.Form = "table",
    layout: Layout = EVERYTHING,
) -> str:
    """Return the last values as text."""
    return writers.table(header(figure), finals(figure, measured), form, layout=layout)


def as_csv(figure: Figure, measured: Measurements) -> str:
    """Return every point of the drawing, ours and the published ones."""
    rows: list[Sequence[object]] = [COLUMNS]
    for curve in figure.curves:
        for variant in figure.variants:
            series = measured.series(figure, curve, variant)
            low, high = series.band
            points = zip(
                series.updates, series.time.mean(axis=0), series.mean, low, high, strict=True
            )
            for updates, *values in points:
                numbers = [f"{value:.6g}" for value in values]
                name = f"as {variant}"
                rows.append([figure.name, name, curve.label, updates, *numbers, len(series.values)])
        paper = figure.points(curve)
        for x, value in paper if paper is not None else ():
            place = ["", f"{x:g}"] if figure.clock else [f"{x:g}", ""]
            rows.append([figure.name, "paper", curve.label, *place, f"{value:g}", "", "", ""])
    return writers.csv_text(rows)


def page(
    figure: Figure, measured: Measurements, verdicts: Sequence[Verdict], met: Sequence[Agreement]
) -> str:
    """Return a figure's page, with all that it shows inside."""
    points = frame.download(f"{figure.name}.csv", as_csv(figure, measured), "All points as CSV")
    note = f'<p class="note">{escape(figure.note)}</p>' if figure.note else ""
    titles = header(figure)
    numbers = [False, *[True] * (len(titles) - 1)]
    settings = "\n".join(
        f"as {variant}: {curve.label}\n  {figure.cell(curve, variant, 0)!r}"
        for variant in figure.variants
        for curve in figure.curves
    )
    known = "the dashed lines are those of the paper" if figure.published else "no values published"
    body = f"""<p>{escape(figure.caption)}.</p>{note}
{curves.svg(figure, measured)}
<p>Mean and 95 % confidence band of {measured.seeds} seeds; {known}.
<em>As published</em> is the authors' accounting, <em>as specified</em> Algorithm 1 at equal cost
per scalar.
{points}</p>
<h2>Last values</h2>
{frame.table(titles, finals(figure, measured), numbers)}
{_agreements(met)}{_verdicts(verdicts)}
<details><summary>Settings of every curve (seed 0)</summary><pre>{escape(settings)}</pre></details>
<footer>hgobench {hgobench.__version__}, <code>hgobench reproduce {figure.name} --seeds
{measured.seeds}</code></footer>"""
    return frame.html(figure.name, body)


def _agreements(met: Sequence[Agreement]) -> str:
    if not met:
        return ""
    rows = "".join(
        f"<tr><td>{escape(a.curve)}</td><td>{a.source}</td>"
        f'<td class="number">{a.expected:.3f}</td><td class="number">{a.mean:.3f}</td>'
        f'<td class="{"yes" if a.met else "no"}">{escape(a.text)}</td></tr>'
        for a in met
    )
    return (
        "<h2>Does the published variant land on what was published?</h2><table><thead><tr>"
        "<th>curve</th><th>value of</th><th class=number>expected</th><th class=number>ours</th>"
        f"<th>met</th></tr></thead><tbody>{rows}</tbody></table>"
    )


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    parts = []
    for verdict in verdicts:
        claim = verdict.claim
        seen = "".join(
            f'<li><span class="{"yes" if holds else "no"}">as {variant}: '
            f"{SAID[holds]}</span>; {escape(text)}</li>"
            for variant, (holds, text) in verdict.evidence.items()
        )
        parts.append(
            f"<h3>{escape(claim.sentence)}</h3><p><strong>{verdict.text}</strong> "
            f"({escape(claim.where)}). Demanded: {escape(claim.criterion)}.</p><ul>{seen}</ul>"
        )
    return "<h2>Claims</h2>" + "".join(parts) if parts else ""


def index(figures: Sequence[Figure], verdicts: Sequence[Verdict]) -> str:
    """Return the page that leads to all others."""
    rows = "".join(
        f'<tr><td><a href="{f.name}.html">{f.name}</a></td><td>{escape(f.caption)}</td></tr>'
        for f in figures
    )
    claims = "".join(
        f"<tr><td>{escape(v.claim.sentence)}</td><td>{v.text}</td></tr>" for v in verdicts
    )
    body = f"""<h2>Figures</h2><table><tbody>{rows}</tbody></table>
<h2>Claims</h2><table><tbody>{claims}</tbody></table>"""
    return frame.html("The paper, reproduced", body)


def write(
    folder: Path,
    figures: Sequence[Figure],
    measured: Measurements,
    verdicts: Sequence[Verdict],
    met: Sequence[Agreement],
) -> Path:
    """Write a page and a CSV file per figure, and an index; return the index's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        mine = [v for v in verdicts if figure.name in v.claim.figures]
        near = [a for a in met if a.figure == figure.name]
        (folder / f"{figure.name}.csv").write_text(as_csv(figure, measured), encoding="utf-8")
        text = page(figure, measured, mine, near)
        (folder / f"{figure.name}.html").write_text(text, encoding="utf-8")
    there = [load(name) for name in names() if (folder / f"{name}.html").exists()]
    (folder / "index.html").write_text(index(there, verdicts), encoding="utf-8")
    return folder / "index.html"


def document(
    path: Path,
    command: str,
    figures: Sequence[Figure],
    measured: Measurements,
    verdicts: Sequence[Verdict],
    met: Sequence[Agreement],
) -> None:
    """Write the Markdown document of all claims and figures, with its pictures beside it."""
    pictures = path.parent / path.stem
    pictures.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        curves.png(figure, measured, pictures / f"{figure.name}.png")
    verdict_rows = [[f"`{v.claim.id}`", v.claim.sentence, v.claim.where, v.text] for v in verdicts]
    evidence = "\n\n".join(_evidence(verdict) for verdict in verdicts)
    near = [
        [a.figure, a.curve, a.source, f"{a.expected:.3f}", f"{a.mean:.3f}",
         f"{a.low:.3f} to {a.high:.3f}", a.text]
        for a in met
    ]  # fmt: skip
    shown = "\n\n".join(_section(figure, measured, path.stem) for figure in figures)
    path.write_text(
        f"""# The paper, reproduced

Written by `{command} --document docs/{path.name}`; do not edit it.
`hgobench reproduce list` names the figures; `hgobench reproduce fig4b` runs one and writes
a page with the data behind its plot.

Every figure is run twice. *As published*: with the accounting and the quirks of the authors' code,
each a named part in `hgobench/paper/quirks.py` (listed at the end). *As specified*: Algorithm 1, in
which HGO and SGD pay the same for a scalar, and no server knows who is Byzantine.

What to know before reading the authors' figures of softmax regression and the network: their HGO
workers pay for a *row* of ten weights (or a unit of the network) what their SGD workers pay for one
weight. A worker that SGD cuts off for being ten times too slow then returns its whole gradient
under HGO. Most claims that hold only as published hold because of that.

## Claims

{tabulate(verdict_rows, ["claim", "what the paper says", "where", "verdict"], tablefmt="github")}

## Evidence

{evidence}

## Does the published variant land on what was published?

Within {WITHIN["paper"]} of the paper's last value, or within {WITHIN["code"]} of what the authors'
code gives with the stated settings where that differs from the paper; for SGD in C1, which hears
few workers and depends on their data, within two standard deviations of our seeds. The paper's FOE
curve of Fig. 6b contradicts its Fig. 6a, and its Fig. 6c is not what its configuration gives; what
the code gives there is from two runs on one partition, and differs from partition to partition by
more than {WITHIN["code"]}.

{
            tabulate(
                near,
                ["figure", "curve", "value of", "expected", "ours", "our seeds", "met"],
                tablefmt="github",
                disable_numparse=True,
            )
        }

## Figures

Solid lines and bands are ours (mean and 95 % confidence interval of {measured.seeds} seeds), dashed
lines the paper's, drawn after as many updates as they were measured.

{shown}

## The quirks of the authors' code

{_quirks()}
""",
        encoding="utf-8",
    )


def _evidence(verdict: Verdict) -> str:
    lines = [
        f"- as {variant}: {SAID[holds]}; {text}"
        for variant, (holds, text) in verdict.evidence.items()
    ]
    heading = f"**`{verdict.claim.id}`: {verdict.text}.** Demanded: {verdict.claim.criterion}."
    return "\n".join([heading, "", *lines])


def _section(figure: Figure, measured: Measurements, folder: str) -> str:
    note = f"\n\n{figure.note}" if figure.note else ""
    table = table_of(figure, measured, "markdown")
    picture = f"![{figure.name}]({folder}/{figure.name}.png)"
    return f"### {figure.name}\n\n{figure.caption}.{note}\n\n{picture}\n\n{table}"


def _quirks() -> str:
    """Return a line per part of the published variant, from its docstring."""
    parts = [
        (name, part)
        for name, part in vars(quirks).items()
        if inspect.isclass(part) and part.__module__ == quirks.__name__
    ]
    lines = [f"- `{name}`: {_first(part.__doc__ or '')}" for name, part in parts]
    core = (
        "- granularity `feature` with cost `unit`: a row of ten weights costs a worker what one "
        "weight costs it under SGD",
        "- granularity `subnetwork` with cost `unit`: so does a unit of the network",
        "- the clock counts b_i/λ_i of the slowest answer, not the size of minibatches; of the "
        "network only evaluated rounds",
    )
    return "\n".join([*lines, *core])


def _first(docstring: str) -> str:
    """Return the first paragraph of a docstring, in one line."""
    return " ".join(inspect.cleandoc(docstring).split("\n\n")[0].split())


def judged(verdicts: Sequence[Verdict], layout: Layout = EVERYTHING) -> str:
    """Return the claims and their verdicts as text."""
    rows = [[v.claim.id, v.text] for v in verdicts]
    return writers.table(["claim", "verdict"], rows, layout=layout)
