"""The Markdown document of all claims and figures, `docs/paper.md`: prose around the pages' tables.

Its prose is Markdown; tables and titles, which may hold any names, are escaped by `report.writers`.
"""

from __future__ import annotations

import inspect
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from hgobench.report import charts, writers
from hgobench.scenario import Scenario
from hgobench.statistics import LEVEL

from . import agreement, comparisons, pages, quirks
from .agreement import Agreement
from .claims import CLAIMS, Verdict
from .figures import Curve, Figure, Variant, load
from .pages import number
from .runs import Measurements


def write(
    path: Path,
    command: str,
    figures: Sequence[Figure],
    measured: Measurements,
    verdicts: Sequence[Verdict],
    met: Sequence[Agreement],
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write the Markdown document of all claims and figures, with its pictures beside it.

    Args:
        path: of the document.
        command: the command that writes it.
        figures: the figures that were run.
        measured: their curves.
        verdicts: of the claims about them.
        met: the agreement with published values.
        left_out: the reason for each figure that was not run, by its name.
    """
    pictures = path.parent / path.stem
    pictures.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        charts.save(pages.chart(figure, measured), pictures / f"{figure.name}.png", dpi=90)
    verdict_rows = [[v.claim.id, v.claim.sentence, v.claim.source, v.text] for v in verdicts]
    evidence = "\n\n".join(_evidence(verdict) for verdict in verdicts)
    family = sum(len(verdict.evidence) for verdict in verdicts)
    sections = "\n\n".join(_section(figure, measured, path.stem) for figure in figures)
    path.write_text(
        f"""# The paper, reproduced

Written by `{command} --document docs/{path.name}`; do not edit it.
`hgobench reproduce list` names the figures; `hgobench reproduce fig4b` runs one and writes
a page with the data behind its plot.

The paper: K. Boubouh, A. Boussetta, N. Gupta, A. Maurer, R. Pinot, "Democratizing Machine Learning:
Resilient Distributed Learning with Heterogeneous Participants", 41st International Symposium on
Reliable Distributed Systems (SRDS), 2022, pp. 94-120; "shorter paper" and "extended paper" are its
two versions.

Every figure is run twice. *As published*: with the accounting and the quirks of the authors' code,
each a named part in `hgobench/paper/quirks.py` (listed at the end). *As specified*: Algorithm 1, in
which HGO and SGD pay the same for a scalar, and no server knows who is Byzantine.

What to know before reading the authors' figures of softmax regression and the network: their HGO
workers pay for a *row* of ten weights (or a unit of the network) what their SGD workers pay for one
weight. A worker that SGD cuts off for being ten times too slow then returns its whole gradient
under HGO. Most claims about these two models that hold only as published hold because of that. On
the small tables (Boston housing, breast cancer, phishing) a row is one weight, and the variants
differ for other reasons: [below](#the-small-data-sets).

{_critique()}

## Claims

{_markdown(["claim", "what the paper says", "where", "verdict"], verdict_rows)}
{_untested(verdicts)}
### How a verdict is reached

{_method(measured.seeds, family)}

## Evidence

{evidence}

## Does the published variant land on what was published?

{_landing(met, left_out)}

{_small(figures, measured)}## Figures

Solid lines and bands are ours (mean and 95 % confidence interval of {measured.seeds} seeds), dashed
lines the paper's, drawn after as many updates as they were measured; dotted lines are controls of
ours. In the tables: the mean, the range over seeds and, of an accuracy, the binomial standard error
of the test examples.

{sections}

## The quirks of the authors' code

{_quirks()}
""",
        encoding="utf-8",
    )


def _method(seeds: int, family: int) -> str:
    """Return the section on how verdicts are reached."""
    return _prose(
        f"""A claim is taken apart into comparisons of means over {seeds} seeds, paired by seed:
        two curves of a seed share its partition, its devices and its initial model. Each has a
        bound that is stated beforehand. "Better" demands a difference larger than
        {comparisons.SMALLEST} (of times and bytes a ratio larger than {comparisons.FASTER}), so
        that no difference never counts as support; "alike" demands that the difference is smaller
        than a bound on both sides (two one-sided tests). A control is the same run but for one
        thing; a premise is what must hold for the claim to be put to the test at all.

        Each comparison is a one-sided Student t test of the seeds' values (a sign test where a seed
        never reaches a level, which is then reached at any time after the end of its run). A claim
        holds if all its comparisons do (its p-value is the largest of theirs); it does not hold if
        the opposite of one is shown (as many times the smallest as there are) and every premise is.
        Twice the smaller of the two is the verdict's p-value, and the {family} verdicts (a claim in
        a variant) are one family, to which Holm's procedure is applied with a chance of
        {_percent(LEVEL)} that any of them is wrong. What is not decided then is
        *undecided*. The tables also count the seeds in which a comparison is met; where nothing
        differs, all {seeds} are on the demanded side by chance once in {2**seeds:,} times.

        All seeds share the test examples, so that no interval over seeds says anything of other
        examples. What these leave is the binomial standard error, stated with every accuracy below.
        Where all seeds classify equally many correctly, as of the 114 of breast cancer, the range
        over seeds has no width, and this error is all that is known."""
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _critique() -> str:
    """Return the paragraph on sampled attackers, with computed numbers."""
    risky = Scenario(workers=100, byzantine=10, sampled=10, rounds=150)
    return _prose(
        f"""A point that was raised against such analyses: they take for granted that a round
        samples more clients than there are attackers (G. Malinovsky, P. Richtárik, S. Horváth,
        E. Gorbunov, "Byzantine Robustness and Partial Participation Can Be Achieved at Once",
        arXiv 2311.14127). In the paper's own settings that is so: at most 30 of 80 sampled workers
        are Byzantine, and a quorum of 2f + 1 never holds a Byzantine majority. Where fewer are
        sampled it may: `Scenario.sampling_risk` is the chance for one round, `run_risk` for a run,
        and `hgobench run` warns of more than 1 %. With f = 10 of n = 100 and q = 10 sampled
        (v = {risky.quorum}) they are {risky.sampling_risk:.2g} and, over 150 rounds,
        {risky.run_risk:.2g}."""
    )


def _untested(verdicts: Sequence[Verdict]) -> str:
    """Return a paragraph on claims that were not tested, or an empty text."""
    tested = {verdict.claim.id for verdict in verdicts}
    absent = [f"`{claim.id}`" for claim in CLAIMS if claim.id not in tested]
    text = f"Not tested, as figures behind them were not run: {', '.join(absent)}."
    return f"\n{_prose(text)}\n" if absent else ""


def _landing(met: Sequence[Agreement], left_out: Mapping[str, str]) -> str:
    """Return the comparison of every published curve with ours, folded by figure."""
    absent = ""
    for why in dict.fromkeys(left_out.values()):
        names = [name for name, reason in left_out.items() if reason == why]
        count = sum(agreement.curves(load(name)) for name in names)
        absent += f" Not among them: {count} curves of {', '.join(names)}, whose {why}."
    alike = sum(a.alike and not a.met for a in met)
    met_, far = sum(a.met for a in met), sum(not a.met and not a.alike for a in met)
    text = f"""**{met_} of {len(met)} published curves are met**, {alike} more lie within the spread
        of our seeds, {far} do not.{absent}

        A curve is met if its last value is shown to be within {agreement.ACCURACY} of the mean of
        our seeds after as many updates (accuracy, explained variance), or within
        {_percent(agreement.LOSS)} of the published value (loss): two one-sided t tests at
        {_percent(LEVEL)}, for each curve by itself. *Within the seeds' spread*: one of
        our seeds might have given it (95 % prediction interval); a published curve is of one
        partition and one initial model, as a seed of ours is. For {len(agreement.CODE)} curves the
        authors' code, run with the stated settings, is known to give another value than the paper:
        it stands beside it, and "as the code" says that ours meets that one.

        What keeps curves from being met: SGD in C1 hears a few workers and depends on whose data
        they hold (for one setting the paper itself has 0.620 in Fig. 3, 0.659 in 4b, 0.802 in 12d
        and 0.808 in 11d); of 12 workers one is average, and where it does not finish a gradient
        either, SGD learns nothing. SGD in Cweak hears nobody, and its accuracy is that of the
        initial model. Fig. 6b's FOE curve contradicts Fig. 6a's for the same setting, and Fig. 6c
        is not what its stated configuration gives. Fig. 11b differs from 12b in the paper for the
        same setting; of 12b and 14b the learning rate is not the stated one
        ([below](#the-small-data-sets))."""
    sections = [_prose(text)]
    header = ["curve", "paper", "authors' code", "ours", "our seeds", "tolerance", "met"]
    for name in dict.fromkeys(a.figure for a in met):
        agreements = [a for a in met if a.figure == name]
        rows = [
            [a.curve, number(a.paper), "" if math.isnan(a.code) else number(a.code),
             number(a.mean), f"{number(a.ours.min())} to {number(a.ours.max())}",
             f"± {number(a.tolerance)}", a.text]
            for a in agreements
        ]  # fmt: skip
        title = f"{name}: {sum(a.met for a in agreements)} of {len(agreements)} met"
        sections.append(_folded(title, _markdown(header, rows)))
    return "\n\n".join(sections)


def _small(figures: Sequence[Figure], measured: Measurements) -> str:
    """Return the section on small data sets, whose variants do not differ by accounting."""
    rows = []
    for figure in figures:
        by_label = {curve.label: curve for curve in figure.curves}
        for curve in figure.curves:
            if curve.variants == tuple(figure.variants) or not curve.control_of:
                continue
            original, (variant,) = by_label[curve.control_of], curve.variants
            pairs: list[tuple[Curve, Variant]] = [
                (original, "published"), (original, "specified"), (curve, variant),
            ]  # fmt: skip
            *values, control = (number(float(measured.series(figure, *pair).final.mean()))
                               for pair in pairs)  # fmt: skip
            rows.append([figure.name, curve.label, *values, f"{control} (as {variant})"])
    if not rows:
        return ""
    header = ["figure", "control", "curve as published", "curve as specified", "control"]
    text = """In Figs. 11a-c, 12a-c and 14a-c a coordinate is one weight in both accountings.
        Yet the variants differ, even where all workers are powerful and send whole gradients: what
        differs is what is tested, not what is computed. On Boston housing and breast cancer the
        authors test on the examples that they train on (all 506 and all 569); as specified a fifth
        of them (102 and 114) is held out and tested, and the loss of examples that were never seen
        is larger. On phishing their accuracy counts an example only if its score, rounded, is its
        label; as specified the sign decides. Algorithm 1 on their examples, or with their accuracy,
        ends where the published variant does.

        The stated learning rate of logistic regression (0.01) does not give the values of Figs. 12b
        and 14b at any time of the run; ten times as much does: the control with γ = 0.1. We run
        what is stated."""
    return f"## The small data sets\n\n{_prose(text)}\n\n{_markdown(header, rows)}\n\n"


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{writers.html(title)}</summary>\n\n{content}\n\n</details>"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return writers.table(header, rows, "markdown")


def _prose(text: str) -> str:
    """Return paragraphs with lines of at most 100 characters."""
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return "\n\n".join(
        textwrap.fill(paragraph, 100, break_long_words=False, break_on_hyphens=False)
        for paragraph in paragraphs
    )


def _evidence(verdict: Verdict) -> str:
    heading = f"**`{verdict.claim.id}`: {verdict.text}.** Demanded: {verdict.claim.criterion}."
    lines = [
        f"- as {variant}: {outcome} (p = {verdict.adjusted[variant]:.2g}); "
        f"{verdict.evidence[variant].text}"
        for variant, outcome in verdict.outcomes.items()
    ]
    rows = [[variant, *row] for variant in verdict.evidence for row in _rows(verdict, variant)]
    table = _markdown(["as", *comparisons.COLUMNS], rows)
    return "\n".join([heading, "", *lines, "", _folded("comparisons", table)])


def _section(figure: Figure, measured: Measurements, folder: str) -> str:
    note = f"\n\n{figure.note}" if figure.note else ""
    last = pages.last_values(figure, measured)
    table = _markdown(last.header, last.rows)
    picture = f"![{figure.name}]({folder}/{figure.name}.png)"
    return f"### {figure.name}\n\n{figure.caption}.{note}\n\n{picture}\n\n{table}"


def _quirks() -> str:
    """Return a line per quirk of the published variant, from its docstring."""
    classes = [
        (name, quirk)
        for name, quirk in vars(quirks).items()
        if inspect.isclass(quirk) and quirk.__module__ == quirks.__name__
    ]
    lines = [f"- `{name}`: {_first(quirk.__doc__ or '')}" for name, quirk in classes]
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


def _rows(verdict: Verdict, variant: Variant) -> list[list[str]]:
    return [comparison.row for comparison in verdict.evidence[variant].comparisons]
