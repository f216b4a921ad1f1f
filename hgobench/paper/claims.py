"""Measurable claims of the paper, and whether they hold.

A claim is tested on each variant separately; the verdict says in which accounting it holds. All
verdicts of a run are one family (`statistics.holm`). The sentences paraphrase the paper's; `source`
says where they are.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hgobench.statistics import Floats, holm
from hgobench.suite import home

from .agreement import Agreement
from .comparisons import (
    FASTER,
    NEAR,
    SMALLEST,
    Comparison,
    Evidence,
    above,
    alike,
    more,
    no_less,
    sooner,
    spread,
    times,
)
from .figures import Variant, load
from .runs import Series

Measured = Callable[[str, str], Series]  # a figure's name, a curve's label


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        id: its name.
        sentence: the claim.
        source: its place in the paper.
        criterion: the condition on the measurements, in words.
        figures: the figures whose curves decide it.
        test: returns the evidence, given measured curves.
    """

    id: str
    sentence: str
    source: str
    criterion: str
    figures: Sequence[str]
    test: Callable[[Measured], Evidence]

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants that all its figures have."""
        first, *rest = (load(name).variants for name in self.figures)
        return tuple(v for v in first if all(v in others for others in rest))


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim, by variant.

    Attributes:
        claim: the claim.
        evidence: by variant.
        adjusted: its p-value by variant, adjusted for all verdicts of the run.
    """

    claim: Claim
    evidence: Mapping[Variant, Evidence]
    adjusted: Mapping[Variant, float]

    @property
    def outcomes(self) -> dict[Variant, str]:
        """The verdict on each variant, in words."""
        return {v: evidence.verdict(self.adjusted[v]) for v, evidence in self.evidence.items()}

    @property
    def text(self) -> str:
        """The verdict in words."""
        outcomes = self.outcomes
        if len(set(outcomes.values())) == 1:
            return next(iter(outcomes.values()))
        if set(outcomes.values()) == {"holds", "does not hold"}:
            return (
                f"holds only as {next(v for v, outcome in outcomes.items() if outcome == 'holds')}"
            )
        pieces = (outcome.partition(":") for outcome in outcomes.values())
        return ", ".join(
            f"{outcome} as {variant}{colon}{reason}"
            for variant, (outcome, colon, reason) in zip(outcomes, pieces, strict=True)
        )


def judge(claims: Sequence[Claim], measured: Callable[[Variant], Measured]) -> list[Verdict]:
    """Test claims on every variant that each has, as one family of verdicts."""
    evidences = [{v: claim.test(measured(v)) for v in claim.variants} for claim in claims]
    adjusted = iter(
        holm([evidence.p for by_variant in evidences for evidence in by_variant.values()])
    )
    return [
        Verdict(claim, by_variant, {variant: next(adjusted) for variant in by_variant})
        for claim, by_variant in zip(claims, evidences, strict=True)
    ]


def reference_path() -> Path:
    """Return the path of the verdicts that later runs are compared with."""
    return home() / "reference" / "paper.json"


def write_reference(verdicts: Sequence[Verdict], met: Sequence[Agreement]) -> Path:
    """Write the verdicts, their comparisons and the curves' last values; return the path."""
    claims_ = {
        verdict.claim.id: {
            "verdict": verdict.text,
            **{v: _summary(evidence.means) for v, evidence in verdict.evidence.items()},
        }
        for verdict in verdicts
    }
    landed = {
        name: _summary({a.curve: a.ours for a in met if a.figure == name})
        for name in dict.fromkeys(a.figure for a in met)
    }
    seeds = max(len(a.ours) for a in met)
    content = {"seeds": seeds, "claims": claims_, "curves": landed}
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    innermost = re.compile(r"\[[^\[\]{}]*\]")  # lists of numbers: each on one line
    path = reference_path()
    path.write_text(innermost.sub(lambda m: " ".join(m[0].split()), text) + "\n", encoding="utf-8")
    return path


def _summary(values_by_name: Mapping[str, Floats]) -> dict[str, list[float]]:
    """Return mean, standard deviation and number of those seeds that are finite, by name."""
    finite = {name: values[np.isfinite(values)] for name, values in values_by_name.items()}
    return {
        name: [round(float(x.mean()), 6), round(float(x.std(ddof=1)), 6), len(x)]
        if len(x) > 1
        else [0.0, 0.0, 0]
        for name, x in finite.items()
    }


def surprises(
    measured: Mapping[str, Floats], known: Mapping[str, Sequence[float]], seeds: int
) -> list[str]:
    """Return messages on measurements of a few seeds that the reference makes unlikely.

    A few seeds give no verdict, but their mean has to be in its 99.9 % prediction interval
    (`comparisons.spread`). Infinite values (levels that are never reached) must occur in the
    reference, too.

    Args:
        measured: (seeds,) values by name.
        known: mean, standard deviation and number of the reference's finite seeds by name.
        seeds: number of seeds of the reference.
    """
    messages = []
    for name, values in measured.items():
        mean, deviation, finite = known[name]
        if not np.isfinite(values).all():
            if finite == seeds:
                messages.append(f"{name}: {values}; expected finite numbers")
            continue
        low, high = (-np.inf, np.inf) if finite < 2 else spread(mean, deviation, int(finite),
                                                               len(values))  # fmt: skip
        loose = SLACK * max(1.0, abs(mean))
        if not low - loose <= values.mean() <= high + loose:
            messages.append(f"{name}: {values.mean():.4f}; expected {low:.4f} to {high:.4f}")
    return messages


SLACK = 0.003  # change of a mean by other machines' last bits; relative if the mean is above 1


def _end(series: Series) -> float:
    return float(series.final.mean())


def _listed(m: Measured, figure: str, labels: Sequence[str]) -> str:
    return ", ".join(f"{label} {_end(m(figure, label)):.3f}" for label in labels)


def _join(values: Sequence[float], digits: int = 1) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values)


def _over(series: Series) -> Floats:
    """Return each seed's mean value over its run, (seeds,): higher is faster."""
    average: Floats = series.values.mean(axis=1)
    return average


def _sampled(series: Series) -> int:
    return series.scenarios[0].sampled


def _steps(names: Sequence[str], values: Sequence[Floats], quantity: str) -> list[Comparison]:
    """Demand that the values rise from curve to curve."""
    pairs = zip(itertools.pairwise(names), itertools.pairwise(values), strict=True)
    return [more(f"{b} minus {a}, {quantity}", high, low) for (a, b), (low, high) in pairs]


END, RUN = "final accuracy", "over the run"
LEARNED = 0.8  # of ten classes; chance is 0.1


def _hears_all(m: Measured) -> Evidence:
    shown = [("fig4b", c) for c in ("Cweak", "C1", "C2")] + [("short3b", "standard")]
    pairs = [(c, m(f, f"HgO, {c}"), m(f, f"SGD, {c}")) for f, c in shown]
    demanded = []
    for c, hgo, sgd in pairs:
        demanded.append(above(f"{c}: share that HGO hears", hgo.heard / _sampled(hgo), 0.95))
        missed = 1.0 - sgd.heard / _sampled(sgd)
        demanded.append(above(f"{c}: share that SGD does not hear", missed, 0.2))
    hears = [[float(series.heard.mean()) for series in kind] for kind in zip(*pairs, strict=True)
             if not isinstance(kind[0], str)]  # fmt: skip
    text = (
        "answers per round of 80 in Cweak / C1 / C2 / standard: "
        f"HGO {_join(hears[0])}, SGD {_join(hears[1])}"
    )
    return Evidence(demanded, text)


def _beats_sgd(m: Measured) -> Evidence:
    demanded, leads = [], []
    for figure, data in (("short3a", "homogeneous"), ("short3b", "heterogeneous")):
        hgo, sgd = m(figure, "HgO, standard"), m(figure, "SGD, standard")
        demanded.append(more(f"{data}: HGO minus SGD, {END}", hgo.final, sgd.final))
        demanded.append(more(f"{data}: HGO minus SGD, {RUN}", _over(hgo), _over(sgd)))
        leads.append(_over(hgo) - _over(sgd))
    demanded.append(
        more(f"lead on heterogeneous minus on homogeneous data, {RUN}", leads[1], leads[0])
    )
    text = "HGO minus SGD at the end and over the run, homogeneous / heterogeneous: "
    return Evidence(demanded, text + _join([c.mean for c in demanded[:4]], 4))


PROFILES = ("Cweak", "C1", "C2", "Cpowerful")


def _learns(name: str, final: Floats) -> Comparison:
    """Demand that the curve of comparison has learned, as curves at chance level are all equal."""
    return above(f"{name}, {END}", final, LEARNED, f"{name} does not learn", premise=True)


def _top_when_weak(m: Measured, figure: str) -> Evidence:
    labels = ["HgO, Cweak", "HgO, Cpowerful"]
    weak, best = (m(figure, label).final for label in labels)
    demanded = [_learns("Cpowerful", best), no_less(f"Cweak minus Cpowerful, {END}", weak, best)]
    return Evidence(demanded, _listed(m, figure, labels))


def _independent(m: Measured, figure: str) -> Evidence:
    shown = {c: m(figure, f"HgO, {c}") for c in PROFILES}
    demanded = [_learns("Cpowerful", shown["Cpowerful"].final)]
    for a, b in itertools.combinations(PROFILES, 2):
        demanded.append(alike(f"{b} minus {a}, {END}", shown[b].final, shown[a].final))
        over = _over(shown[b]), _over(shown[a])
        demanded.append(alike(f"{b} minus {a}, {RUN}", over[0], over[1], 2 * NEAR))
    finals, averages = ([f(c) for c in shown.values()] for f in (_end, Series.average))
    profiles = ", ".join(PROFILES)
    text = f"final accuracy {_join(finals, 3)}, over the run {_join(averages, 3)} ({profiles})"
    return Evidence(demanded, text)


def _better_hardware_helps(m: Measured) -> Evidence:
    shown = [m("short4a", f"HgO, {c}") for c in PROFILES]
    text = f"HGO over the run {_join([c.average() for c in shown], 3)} ({', '.join(PROFILES)})"
    return Evidence(_steps(PROFILES, [_over(c) for c in shown], RUN), text)


def _sgd_depends(m: Measured, figure: str) -> Evidence:
    shown = [m(figure, f"SGD, {c}") for c in PROFILES]
    demanded = _steps(PROFILES, [_over(c) for c in shown], RUN)
    ends = shown[-1].final, shown[0].final
    demanded.append(more(f"Cpowerful minus Cweak, {END}", *ends, 0.1))
    return Evidence(demanded, f"SGD's final accuracy {_join([_end(c) for c in shown], 3)}")


def _gap_grows(m: Measured) -> Evidence:
    gaps = [
        np.mean([m(f, f"HgO, {c}").final - m(f, f"SGD, {c}").final for c in PROFILES[:3]], axis=0)
        for f in ("short4a", "short4b")
    ]
    means = [float(np.mean(gap)) for gap in gaps]
    text = f"HGO minus SGD, mean of Cweak, C1, C2: softmax regression / network {_join(means, 3)}"
    return Evidence(
        [more("gap of the network minus that of softmax regression", gaps[1], gaps[0])], text
    )


def _better_in_every_profile(m: Measured) -> Evidence:
    demanded, phrases = [], []
    for figure, model in (("short4a", "softmax regression"), ("short4b", "network")):
        for c in PROFILES[:3]:
            hgo, sgd = m(figure, f"HgO, {c}"), m(figure, f"SGD, {c}")
            final = more(f"{model}, {c}: HGO minus SGD, {END}", hgo.final, sgd.final)
            faster = more(f"{model}, {c}: HGO minus SGD, {RUN}", _over(hgo), _over(sgd))
            demanded += [final, faster]
            phrases.append(f"{model} {c} {final.mean:+.3f} and {faster.mean:+.3f}")
    return Evidence(demanded, "HGO minus SGD at the end and over the run: " + ", ".join(phrases))


def _ten_percent_powerful(m: Measured) -> Evidence:
    labels = ["HgO, Cweak", "HgO, Cmin", "HgO, Cpowerful"]
    weak, least, whole = (m("short5", label) for label in labels)
    bare, ten, best = (_over(curve) for curve in (weak, least, whole))
    short = f"Cpowerful minus Cweak, {RUN}"
    demanded = [
        more(short, best, bare, NEAR, "the weak network alone does as well", premise=True),
        alike(f"Cmin minus Cpowerful, {END}", least.final, whole.final, SMALLEST),
        alike(f"Cmin minus Cpowerful, {RUN}", ten, best),
        more(f"Cmin minus halfway from Cweak to Cpowerful, {RUN}", ten, (bare + best) / 2, 0.0),
    ]
    text = _listed(m, "short5", labels) + "; over the run "
    return Evidence(demanded, text + _join([weak.average(), least.average(), whole.average()], 3))


def _ten_percent_average(m: Measured) -> Evidence:
    labels = ["HgO, Cweak", "HgO, C1", "HgO, Cpowerful"]
    weak, c1, powerful = (m("fig12d", label) for label in labels)
    short = f"Cpowerful minus Cweak, {RUN}"
    alone = "the weak network alone does as well"
    demanded = [
        more(short, _over(powerful), _over(weak), NEAR, alone, premise=True),
        alike(f"C1 minus Cpowerful, {END}", c1.final, powerful.final),
        alike(f"C1 minus Cpowerful, {RUN}", _over(c1), _over(powerful), 2 * NEAR),
    ]
    text = _listed(m, "fig12d", labels) + "; over the run "
    return Evidence(demanded, text + _join([weak.average(), c1.average(), powerful.average()], 3))


CLOCKED = ("HgO, C1, tau=32", "SGD, C1, tau=32", "SGD, C1, tau=inf")


def _rounds(series: Series) -> Floats:
    """Return the mean duration of a round, (seeds,)."""
    duration: Floats = series.time[:, -1] / series.updates[-1]
    return duration


def _sooner(name: str, first: Series, second: Series, level: float | Floats) -> Comparison:
    """Demand that one curve reaches a level sooner on the clock than another.

    A level that a run did not reach is reached after its end.
    """
    reached = first.reached(level), second.reached(level)
    return sooner(name, *reached, first.time[:, -1], second.time[:, -1])


def _middle(series: Series, level: float) -> str:
    median = float(np.median(series.reached(level)))
    return "never" if np.isinf(median) else f"{median:.1f}"


def _faster_than_waiting(m: Measured) -> Evidence:
    hgo, _, waits = (m("fig3", label) for label in CLOCKED)
    demanded = [_sooner("time to 0.8: SGD without a deadline over HGO", hgo, waits, 0.8)]
    text = f"time to 0.8 (median): HGO {_middle(hgo, 0.8)}, SGD without a deadline "
    return Evidence(demanded, text + _middle(waits, 0.8))


def _limit_costs_accuracy(m: Measured) -> Evidence:
    _, cut, waits = (m("fig3", label) for label in CLOCKED)
    durations = [_rounds(cut), _rounds(waits)]
    demanded = [
        times("time per round: without over with a deadline", durations[1], durations[0]),
        more(f"without minus with a deadline, {END}", waits.final, cut.final, NEAR),
    ]
    means = [float(duration.mean()) for duration in durations]
    text = f"{_listed(m, 'fig3', CLOCKED[1:])}; time per round {_join(means, 2)}"
    return Evidence(demanded, text)


def _fast_and_accurate(m: Measured) -> Evidence:
    hgo, cut, waits = (m("fig3", label) for label in CLOCKED)
    durations = [_rounds(curve) for curve in (hgo, cut, waits)]
    demanded = [
        times("time per round: SGD with a deadline over HGO", durations[1], durations[0], 1 / 1.05),
        times("time per round: SGD without a deadline over HGO", durations[2], durations[0]),
        no_less(f"HGO minus the better SGD, {END}", hgo.final, np.maximum(cut.final, waits.final)),
    ]
    means = [float(curve.mean()) for curve in durations]
    return Evidence(demanded, f"{_listed(m, 'fig3', CLOCKED)}; time per round {_join(means, 2)}")


def _outperforms_in_both(m: Measured) -> Evidence:
    hgo, cut, waits = (m("fig3", label) for label in CLOCKED)
    as_high = "SGD without a deadline ends as high"
    demanded = []
    for name, other, why in (("with", cut, ""), ("without", waits, as_high)):
        final = hgo.final, other.final
        level = np.minimum(*final) - NEAR
        demanded += [
            more(f"HGO minus SGD {name} a deadline, {END}", *final, otherwise=why),
            _sooner(f"time to where both get: SGD {name} a deadline over HGO", hgo, other, level),
        ]
    ratios = [float(np.exp(c.mean)) for c in demanded if c.ratio]
    text = f"{_listed(m, 'fig3', CLOCKED)}; times longer to where both get: SGD with / without "
    return Evidence(demanded, f"{text}a deadline {_join(ratios)}")


def _worst_case_time(m: Measured) -> Evidence:
    hgo, *others = (m("fig8b", label) for label in CLOCKED)
    which = ("with", "without")
    demanded = [
        _sooner(f"network, time to 0.9: SGD {name} a deadline over HGO", hgo, other, 0.9)
        for name, other in zip(which, others, strict=True)
    ]
    late = " / ".join(_middle(other, 0.9) for other in others)
    text = f"network, time to 0.9 (median): HGO {_middle(hgo, 0.9)}, SGD with / without a deadline "
    return Evidence(demanded, text + late)


QUIET = ", f = 10, no attack"


def _average_fails(m: Measured) -> Evidence:
    labels = ["HgO, No Attack", f"HgO, ar = average{QUIET}", "HgO, ar = average"]
    _, quiet, attacked = (m("fig6a", label).final for label in labels)
    demanded = [
        above(f"the ten follow the protocol, {END}", quiet, 0.8,
              "averaging gets nowhere without an attack either", premise=True),
        above("distance below 0.2 under FOE", 0.2 - attacked, 0.0),
    ]  # fmt: skip
    return Evidence(demanded, _listed(m, "fig6a", labels))


def _rules_tolerate(m: Measured) -> Evidence:
    labels = ["HgO, ar = average", "HgO, ar = median", "HgO, ar = aksel"]
    breaks, *finals = (m("fig6a", label).final for label in labels)
    demanded = [
        above("average: distance below 0.2", 0.2 - breaks, 0.0,
              "FOE does not break averaging either", premise=True),
        *(above(f"{label}, {END}", final, 0.8)
          for label, final in zip(labels[1:], finals, strict=True)),
    ]  # fmt: skip
    return Evidence(demanded, _listed(m, "fig6a", labels))


def _krum_between(m: Measured) -> Evidence:
    labels = ["HgO, ar = average", "HgO, ar = krum", "HgO, ar = median"]
    low, krum, high = (m("fig6a", label).final for label in labels)
    demanded = [
        more(f"krum minus average, {END}", krum, low),
        more(f"median minus krum, {END}", high, krum),
    ]
    return Evidence(demanded, _listed(m, "fig6a", labels))


def _foe_worse(m: Measured) -> Evidence:
    labels = [f"HgO{QUIET}", "HgO, f = 10, LIE", "HgO, f = 10, FOE"]
    quiet, lie, foe = (m("fig6b", label) for label in labels)
    demanded = [
        more(f"no attack minus LIE at the same quorum, {END}", quiet.final, lie.final,
             otherwise="LIE costs nothing at the same quorum", premise=True),
        more(f"LIE minus FOE, {END}", lie.final, foe.final),
        more(f"LIE minus FOE, {RUN}", _over(lie), _over(foe)),
    ]  # fmt: skip
    return Evidence(demanded, _listed(m, "fig6b", ["HgO, No Attack", *labels]))


def _falls_with_f(m: Measured) -> Evidence:
    several = (0, 5, 10, 20, 30)
    labels = [f"HgO, f = {f}, C1" for f in several]
    quiet = [f"{label}, no attack" for label in labels[1:]]
    demanded = [
        more(f"f = {a} minus f = {b}, {END}", m("fig6c", few).final, m("fig6c", many).final)
        for (a, b), (few, many) in zip(
            itertools.pairwise(several), itertools.pairwise(labels), strict=True
        )
    ]
    demanded += [
        more(f"f = {f}: no attack minus FOE at the same quorum, {END}", m("fig6c", calm).final,
             m("fig6c", label).final, otherwise="the attack costs nothing at the same quorum")
        for f, label, calm in zip(several[1:], labels[1:], quiet, strict=True)
    ]  # fmt: skip
    return Evidence(demanded, _listed(m, "fig6c", [*labels, *quiet]))


def _bytes_per_worker(series: Series) -> Floats:
    """Return the bytes per sampled worker and round, (seeds,)."""
    return series.totals["bytes_up"] / series.scenarios[0].rounds / _sampled(series)


def _less_communication(m: Measured, other: str) -> Evidence:
    hgo, sgd = _bytes_per_worker(m("fig3", CLOCKED[0])), _bytes_per_worker(m("fig3", other))
    text = f"bytes per asked worker and round: HGO {hgo.mean():,.0f}, {other} {sgd.mean():,.0f}"
    return Evidence([times("bytes: SGD over HGO", sgd, hgo)], text)


def _more_workers(m: Measured) -> Evidence:
    curves = {f"q = {q}": m("tradeoff1", f"q = {q}") for q in (10, 20, 40, 80)}
    text = ", ".join(
        f"{name}: {_end(s):.3f} for {s.totals['coordinates'].mean():.2g} coordinates"
        for name, s in curves.items()
    )
    return Evidence(_steps(list(curves), [s.final for s in curves.values()], END), text)


def _larger_minibatches(m: Measured) -> Evidence:
    names = [f"s = {s}" for s in (8, 32, 128)]
    labels = [f"{name}, equal blocks" for name in names]
    finals = [m("tradeoff2", label).final for label in labels]
    return Evidence(_steps(names, finals, END), _listed(m, "tradeoff2", labels))


def _larger_blocks(m: Measured) -> Evidence:
    labels = ["s = 8, equal blocks", "s = 8, larger blocks"]
    small, large = (m("tradeoff2", label) for label in labels)
    demanded = [
        more(f"larger minus equal blocks, {END}", large.final, small.final),
        more(f"larger minus equal blocks, {RUN}", _over(large), _over(small)),
    ]
    text = f"{_listed(m, 'tradeoff2', labels)}; over the run "
    return Evidence(demanded, text + _join([small.average(), large.average()], 3))


def _minibatch_before_block(m: Measured) -> Evidence:
    labels = ["s = 128, smaller blocks", "s = 32, equal blocks", "s = 8, larger blocks"]
    large, _, small = (m("tradeoff2", label) for label in labels)
    demanded = [more(f"s = 128 minus s = 8, {END}", large.final, small.final)]
    return Evidence(demanded, _listed(m, "tradeoff2", labels))


def _excluding_the_weak(m: Measured) -> Evidence:
    labels = ["s = 32, equal blocks", "full gradients only"]
    hgo, strong = (m("tradeoff2", label) for label in labels)
    demanded = [more(f"HGO minus full gradients only, {END}", hgo.final, strong.final)]
    return Evidence(demanded, _listed(m, "tradeoff2", labels))


def _weak_break(m: Measured) -> Evidence:
    def lost(hardware: str, f: int) -> Floats:
        clean, attacked = (
            m("tradeoff3", f"{hardware}, {group}") for group in (f"nobody of {f}", f"f = {f}")
        )
        cost: Floats = clean.final - attacked.final
        return cost

    weak, strong = ([lost(kind, f) for f in (10, 30)] for kind in ("weak", "powerful"))
    means = [[float(cost.mean()) for cost in costs] for costs in (weak, strong)]
    text = f"accuracy lost to f = 10 / 30: weak {_join(means[0], 3)}, powerful {_join(means[1], 3)}"
    return Evidence(
        [more("accuracy lost to f = 30: weak minus powerful", weak[1], strong[1])], text
    )


def _minibatches_against_byzantine(m: Measured) -> Evidence:
    attacked = {s: f"powerful, f = 30, s = {s}" for s in (8, 128)}
    quiet = {s: f"powerful, nobody of 30, s = {s}" for s in (8, 128)}
    costs = {
        s: m("tradeoff3", quiet[s]).final - m("tradeoff3", attacked[s]).final for s in attacked
    }
    demanded = [more("accuracy lost to f = 30: s = 8 minus s = 128", costs[8], costs[128])]
    return Evidence(demanded, _listed(m, "tradeoff3", [*attacked.values(), *quiet.values()]))


def _come_and_go(m: Measured) -> Evidence:
    labels = [line.label for line in load("remark2").curves]
    always, *others = (m("remark2", label) for label in labels)
    demanded = [_learns(labels[0], always.final)]
    for label, other in zip(labels[1:], others, strict=True):
        share = (always.heard - other.heard) / _sampled(always)
        absence = above(f"{label}: share of answers missed", share, 0.05, "nobody is away", True)
        demanded += [absence, no_less(f"{label}, {END}", other.final, always.final)]
    answers = [float(curve.heard.mean()) for curve in (always, *others)]
    return Evidence(demanded, f"{_listed(m, 'remark2', labels)}; answers heard {_join(answers)}")


def _dynamic_rate(m: Measured) -> Evidence:
    labels = ["Cweak, constant", "Cweak, dynamic", "Cweak, constant, as large on average"]
    constant, dynamic, large = (m("rate", label) for label in labels)
    demanded = [
        more(f"dynamic minus constant γ, {RUN}", _over(dynamic), _over(constant)),
        more(f"dynamic minus a constant rate as large on average, {RUN}", _over(dynamic),
             _over(large), otherwise="the gain is the larger mean rate"),
    ]  # fmt: skip
    averages = [curve.average() for curve in (constant, dynamic, large)]
    attacked = ["Cweak, f = 10, constant", "Cweak, f = 10, dynamic"]
    text = _listed(m, "rate", [*labels, *attacked]) + "; over the run (the first three) "
    return Evidence(demanded, text + _join(averages, 3))


SHORT, LONG = "shorter paper", "extended paper"
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "hears-everybody",
        "With HGO the server receives gradients, partial or whole, from all workers whatever "
        "their hardware; with SGD only from strong ones.",
        f"{SHORT}, V-B and Fig. 3",
        "in Cweak, C1, C2 and among standard devices HGO hears more than 95 % of the asked, SGD "
        "less than 80 %",
        ("fig4b", "short3b"),
        _hears_all,
    ),
    Claim(
        "beats-sgd",
        "HGO outperforms SGD in final accuracy and convergence rate, most on heterogeneous data.",
        f"{SHORT}, Fig. 3",
        f"more than {SMALLEST} higher at the end and on average over the run, on both partitions, "
        f"and ahead by more than {SMALLEST} more over the run on heterogeneous data",
        ("short3a", "short3b"),
        _beats_sgd,
    ),
    Claim(
        "weak-network-reaches-the-top",
        "HGO reaches top performance even in a network full of weak devices (softmax regression).",
        f"{SHORT}, V-B and Fig. 4a",
        f"Cweak ends less than {NEAR} below Cpowerful; premise: that one above {LEARNED}",
        ("short4a",),
        lambda m: _top_when_weak(m, "short4a"),
    ),
    Claim(
        "weak-network-reaches-the-top-network",
        "The same for the feed-forward network.",
        f"{SHORT}, V-B and Fig. 4b",
        f"Cweak ends less than {NEAR} below Cpowerful; premise: that one above {LEARNED}",
        ("short4b",),
        lambda m: _top_when_weak(m, "short4b"),
    ),
    Claim(
        "independent-of-hardware",
        "HGO has nearly the same convergence properties whatever the hardware profile "
        "(softmax regression).",
        f"{SHORT}, V-B and Fig. 4a",
        f"any two profiles are equivalent: final accuracies within ±{NEAR}, averages over the run "
        f"within ±{2 * NEAR}",
        ("short4a",),
        lambda m: _independent(m, "short4a"),
    ),
    Claim(
        "independent-of-hardware-network",
        "The same for the feed-forward network.",
        f"{SHORT}, V-B and Fig. 4b",
        f"any two profiles are equivalent: final accuracies within ±{NEAR}, averages over the run "
        f"within ±{2 * NEAR}",
        ("short4b",),
        lambda m: _independent(m, "short4b"),
    ),
    Claim(
        "better-hardware-helps",
        "Improving the workers' hardware also improves HGO's convergence.",
        f"{SHORT}, IV-B 2",
        f"more than {SMALLEST} higher over the run from profile to profile",
        ("short4a",),
        _better_hardware_helps,
    ),
    Claim(
        "sgd-depends-on-hardware",
        "SGD's convergence is strongly correlated with the capabilities of the workers (softmax "
        "regression).",
        f"{SHORT}, V-B and Fig. 4a",
        f"more than {SMALLEST} higher over the run from profile to profile, and more than 0.1 "
        "between the first and the last at the end",
        ("short4a",),
        lambda m: _sgd_depends(m, "short4a"),
    ),
    Claim(
        "sgd-depends-on-hardware-network",
        "The same for the feed-forward network.",
        f"{SHORT}, V-B and Fig. 4b",
        "as for softmax regression",
        ("short4b",),
        lambda m: _sgd_depends(m, "short4b"),
    ),
    Claim(
        "gap-grows-with-the-model",
        "The gap between HGO and SGD widens from softmax regression to the network.",
        f"{SHORT}, V-B and Fig. 4",
        f"the mean gap over Cweak, C1, C2 is more than {SMALLEST} larger for the network",
        ("short4a", "short4b"),
        _gap_grows,
    ),
    Claim(
        "better-in-every-profile",
        "In both models HGO converges faster and ends better than SGD, even where all devices are "
        "weak.",
        f"{SHORT}, Fig. 4",
        f"in Cweak, C1 and C2 more than {SMALLEST} higher at the end and over the run",
        ("short4a", "short4b"),
        _better_in_every_profile,
    ),
    Claim(
        "ten-percent-powerful-suffice",
        "Replacing 10 % of the weak devices by powerful ones gives convergence similar to a "
        "network of powerful devices.",
        f"{SHORT}, V-B and Fig. 5",
        f"Cmin is equivalent to Cpowerful (within ±{SMALLEST} at the end, ±{NEAR} over the run) "
        "and covers more than half of the way from Cweak to it; premise: Cweak is more than "
        f"{NEAR} below Cpowerful over the run",
        ("short5",),
        _ten_percent_powerful,
    ),
    Claim(
        "ten-percent-average-suffice",
        "10 % average devices match an all-powerful network.",
        f"{LONG}, Figs. 5 and 12d",
        f"C1 is equivalent to Cpowerful (within ±{NEAR} at the end, ±{2 * NEAR} over the run); "
        f"premise: Cweak is more than {NEAR} below Cpowerful over the run",
        ("fig12d",),
        _ten_percent_average,
    ),
    Claim(
        "faster-than-waiting",
        "Without a deadline SGD is slow, as it waits for the weakest device; HGO is fast.",
        f"{SHORT}, V-B and Fig. 6",
        f"SGD without a deadline takes more than {FASTER} times as long to 0.8 on the clock",
        ("fig3",),
        _faster_than_waiting,
    ),
    Claim(
        "deadline-costs-sgd-accuracy",
        "With a deadline SGD is faster but loses final accuracy, as it never sees the data of weak "
        "devices.",
        f"{SHORT}, V-B and Fig. 6",
        f"without a deadline SGD's rounds last more than {FASTER} times as long, and it ends more "
        f"than {NEAR} higher, than with τ = 32",
        ("fig3",),
        _limit_costs_accuracy,
    ),
    Claim(
        "fast-and-accurate",
        "HGO has a fast runtime and reaches the top accuracy as well.",
        f"{SHORT}, V-B and Fig. 6",
        "its rounds last less than 1.05 times as long as those of SGD with a deadline, those of "
        f"SGD without one more than {FASTER} times as long as its own, and it ends less than "
        f"{NEAR} below the better SGD",
        ("fig3",),
        _fast_and_accurate,
    ),
    Claim(
        "outperforms-in-accuracy-and-runtime",
        "HGO outperforms SGD in both final accuracy and runtime.",
        f"{SHORT}, Fig. 6",
        f"it ends more than {SMALLEST} above either SGD, and each takes more than {FASTER} times "
        f"as long to where both get (the lower final accuracy less {NEAR})",
        ("fig3",),
        _outperforms_in_both,
    ),
    Claim(
        "worst-case-time-beats-sgd",
        "Even in the worst case HGO's time is better than SGD's.",
        f"{LONG}, Fig. 8b",
        f"in C1 the network takes more than {FASTER} times as long to 0.9 with either SGD; one "
        "that does not get there counts with its whole run",
        ("fig8b",),
        _worst_case_time,
    ),
    Claim(
        "average-breaks",
        "Averaging does not survive FOE.",
        f"{LONG}, Fig. 6a",
        "final accuracy below 0.2; premise: above 0.8 where the ten follow the protocol, at the "
        "same quorum",
        ("fig6a",),
        _average_fails,
    ),
    Claim(
        "robust-rules-survive",
        "Median and Aksel survive FOE by 10 workers on homogeneous data.",
        f"{LONG}, Fig. 6a",
        "final accuracy above 0.8; premise: averaging breaks under the same attack (below 0.2)",
        ("fig6a",),
        _rules_tolerate,
    ),
    Claim(
        "krum-between",
        "Krum does better than averaging and worse than median under FOE.",
        f"{LONG}, Fig. 6a",
        f"its final accuracy lies between theirs, more than {SMALLEST} from either",
        ("fig6a",),
        _krum_between,
    ),
    Claim(
        "foe-worse-than-lie",
        "FOE is more devastating than LIE.",
        f"{LONG}, Fig. 6b",
        f"under the median more than {SMALLEST} lower at the end and over the run; premise: LIE is "
        f"an attack, it costs more than {SMALLEST} against ten who follow the protocol at the same "
        "quorum",
        ("fig6b",),
        _foe_worse,
    ),
    Claim(
        "accuracy-falls-with-f",
        "On heterogeneous data accuracy falls with the number of Byzantine workers.",
        f"{LONG}, Fig. 6c",
        f"it falls by more than {SMALLEST} from f = 0 over 5, 10 and 20 to 30, and by more than "
        f"that, for every f, against f who follow the protocol at the same quorum",
        ("fig6c",),
        _falls_with_f,
    ),
    Claim(
        "less-communication",
        "HGO sends blocks instead of whole gradients and so communicates less than gradient "
        "descent.",
        f"{SHORT}, VII",
        f"SGD without a deadline sends more than {FASTER} times as many bytes per asked worker and "
        "round",
        ("fig3",),
        lambda m: _less_communication(m, CLOCKED[2]),
    ),
    Claim(
        "less-communication-than-variants",
        "It also communicates less than gradient descent's variants.",
        f"{SHORT}, VII",
        f"SGD with the same deadline sends more than {FASTER} times as many bytes per asked worker "
        "and round",
        ("fig3",),
        lambda m: _less_communication(m, CLOCKED[1]),
    ),
    Claim(
        "trade-off-1",
        "For a fixed f, more sampled workers improve convergence (and cost time).",
        f"{SHORT}, IV-B 1",
        f"the final accuracy rises by more than {SMALLEST} from q = 10 over 20 and 40 to 80; the "
        "cost is q·d by construction",
        ("tradeoff1",),
        _more_workers,
    ),
    Claim(
        "trade-off-2-minibatch",
        "Larger minibatches improve statistical error and convergence.",
        f"{SHORT}, IV-B 2",
        f"at equal blocks final accuracy rises by more than {SMALLEST} from s = 8 over 32 to 128",
        ("tradeoff2",),
        _larger_minibatches,
    ),
    Claim(
        "trade-off-2-block",
        "Larger blocks improve the convergence rate and the statistical error.",
        f"{SHORT}, IV-B 2",
        f"at equal minibatches more than {SMALLEST} higher over the run and at the end",
        ("tradeoff2",),
        _larger_blocks,
    ),
    Claim(
        "trade-off-2-minibatch-before-block",
        "What a worker has time for is better spent on minibatches than on blocks.",
        f"{SHORT}, IV-B 2",
        f"at equal budgets s = 128 ends more than {SMALLEST} above s = 8",
        ("tradeoff2",),
        _minibatch_before_block,
    ),
    Claim(
        "trade-off-2-exclusion",
        "Asking powerful workers alone excludes data and so gives a worse statistical error.",
        f"{SHORT}, IV-B 2",
        f"in C2 SGD, which hears only who finishes, ends more than {SMALLEST} below HGO",
        ("tradeoff2",),
        _excluding_the_weak,
    ),
    Claim(
        "trade-off-3",
        "A network full of weak devices can't handle a strong Byzantine impact.",
        f"{SHORT}, IV-B 3",
        f"f = 30 costs the weak network more than {SMALLEST} more accuracy than the powerful one, "
        "each against a server that waits for as many and is not attacked",
        ("tradeoff3",),
        _weak_break,
    ),
    Claim(
        "trade-off-3-minibatch",
        "Larger minibatches let a bigger Byzantine impact be tolerated.",
        f"{SHORT}, IV-B 3",
        f"FOE by f = 30 costs more than {SMALLEST} more at s = 8 than at s = 128, at equal blocks, "
        "each against nobody at the same quorum",
        ("tradeoff3",),
        _minibatches_against_byzantine,
    ),
    Claim(
        "workers-come-and-go",
        "Workers may disconnect and join again; the algorithm works as long as a quorum is active.",
        f"{SHORT}, Remark 2",
        f"final accuracy less than {NEAR} below that with workers that are always there; premise: "
        f"more than 5 % of the answers are missed, and those end above {LEARNED}",
        ("remark2",),
        _come_and_go,
    ),
    Claim(
        "dynamic-rate",
        "A learning rate inversely proportional to √|B_k| improves the convergence rate.",
        f"{SHORT}, after Theorem 2",
        f"in Cweak more than {SMALLEST} higher over the run than with the constant γ, and than "
        "with a constant rate as large on average",
        ("rate",),
        _dynamic_rate,
    ),
)
CHEAP = (
    "hears-everybody",
    "average-breaks",
    "robust-rules-survive",
    "krum-between",
    "dynamic-rate",
)
