"""What the paper says that can be measured, and whether it holds.

A claim is tested on each variant by itself; the verdict says in which accounting it holds. The
sentences are ours, after the paper's; `where` says where it says so.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hgobench.suite import home

from .figures import Variant, load
from .runs import Floats, Series

Measured = Callable[[str, str], Series]  # a figure's name, a curve's label
Evidence = tuple[bool | None, str]  # None: the seeds disagree
NEAR = 0.02  # accuracies that differ by less are alike
OUTCOMES = {True: "holds", False: "does not hold", None: "undecided"}


@dataclass(frozen=True)
class Claim:
    """Something that the paper claims.

    Attributes:
        id: its name.
        sentence: what is claimed.
        where: where the paper says so.
        criterion: what is demanded of the measurements.
        figures: whose curves decide it.
        test: whether they do, and the figures in words.
    """

    id: str
    sentence: str
    where: str
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
    """How a claim fared: what each variant says of it."""

    claim: Claim
    evidence: dict[Variant, Evidence]

    @property
    def text(self) -> str:
        """The verdict in words."""
        outcomes = {variant: holds for variant, (holds, _) in self.evidence.items()}
        if len(set(outcomes.values())) == 1:
            return OUTCOMES[next(iter(outcomes.values()))]
        if None not in outcomes.values():
            return f"holds only as {next(v for v, holds in outcomes.items() if holds)}"
        return ", ".join(f"{OUTCOMES[holds]} as {v}" for v, holds in outcomes.items())


def judge(claim: Claim, measured: Callable[[Variant], Measured]) -> Verdict:
    """Test a claim on every variant that it has."""
    return Verdict(claim, {v: claim.test(measured(v)) for v in claim.variants})


def write_reference(verdicts: Sequence[Verdict]) -> Path:
    """Write down the verdicts that later runs are compared with; return where."""
    path = home() / "reference" / "paper.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known.update({verdict.claim.id: verdict.text for verdict in verdicts})
    listed = {claim.id: known[claim.id] for claim in CLAIMS if claim.id in known}
    path.write_text(json.dumps(listed, indent=0) + "\n", encoding="utf-8")
    return path


def _end(series: Series) -> float:
    return float(series.final.mean())


def _listed(m: Measured, figure: str, labels: Sequence[str]) -> str:
    return ", ".join(f"{label} {_end(m(figure, label)):.3f}" for label in labels)


def _join(values: Sequence[float], digits: int = 1) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values)


def _above(*differences: Floats) -> bool | None:
    """Say whether differences, (seeds,) each, are positive: in all seeds, in none, or in some."""
    shares = [float((difference > 0).mean()) for difference in differences]
    if min(shares) == 1:
        return True
    return None if any(0 < share < 1 for share in shares) else False


def _over(series: Series) -> Floats:
    """Return each seed's value on average over its run: higher is faster, (seeds,)."""
    average: Floats = series.values.mean(axis=1)
    return average


def _hears_all(m: Measured) -> Evidence:
    shown = [("fig4b", c) for c in ("Cweak", "C1", "C2")] + [("short3b", "standard")]
    hgo = [float(m(f, f"HgO, {c}").heard.mean()) for f, c in shown]
    sgd = [float(m(f, f"SGD, {c}").heard.mean()) for f, c in shown]
    text = (
        f"answers per round of 80 in Cweak / C1 / C2 / standard: HGO {_join(hgo)}, SGD {_join(sgd)}"
    )
    return min(hgo) >= 0.95 * 80 and max(sgd) < 0.8 * 80, text


def _beats_sgd(m: Measured) -> Evidence:
    final, faster = [], []
    for figure in ("short3a", "short3b"):
        hgo, sgd = m(figure, "HgO, standard"), m(figure, "SGD, standard")
        final.append(hgo.final - sgd.final)
        faster.append(_over(hgo) - _over(sgd))
    text = (
        "HGO minus SGD, homogeneous / heterogeneous: final accuracy "
        f"{_join([float(d.mean()) for d in final], 4)}, "
        f"over the run {_join([float(d.mean()) for d in faster], 4)}"
    )
    return _above(*final, *faster, faster[1] - faster[0]), text


PROFILES = ("Cweak", "C1", "C2", "Cpowerful")


def _top_when_weak(m: Measured, figure: str) -> Evidence:
    labels = ["HgO, Cweak", "HgO, Cpowerful"]
    weak, best = (_end(m(figure, label)) for label in labels)
    return weak >= best - NEAR, _listed(m, figure, labels)


def _independent(m: Measured, figure: str) -> Evidence:
    shown = [m(figure, f"HgO, {c}") for c in PROFILES]
    finals, averages = [_end(c) for c in shown], [c.average() for c in shown]
    profiles = ", ".join(PROFILES)
    text = f"final accuracy {_join(finals, 3)}, over the run {_join(averages, 3)} ({profiles})"
    return bool(np.ptp(finals) <= NEAR and np.ptp(averages) <= 2 * NEAR), text


def _better_hardware_helps(m: Measured) -> Evidence:
    shown = [m("short4a", f"HgO, {c}") for c in PROFILES]
    steps = [_over(b) - _over(a) for a, b in itertools.pairwise(shown)]
    text = f"HGO over the run {_join([c.average() for c in shown], 3)} ({', '.join(PROFILES)})"
    return _above(*steps), text


def _sgd_depends(m: Measured, figure: str) -> Evidence:
    shown = [m(figure, f"SGD, {c}") for c in PROFILES]
    steps = [_over(b) - _over(a) for a, b in itertools.pairwise(shown)]
    wide = shown[-1].final - shown[0].final - 0.1
    return _above(*steps, wide), f"SGD's final accuracy {_join([_end(c) for c in shown], 3)}"


def _gap_grows(m: Measured) -> Evidence:
    gaps = [
        sum(m(f, f"HgO, {c}").final - m(f, f"SGD, {c}").final for c in PROFILES[:3]) / 3
        for f in ("short4a", "short4b")
    ]
    means = [float(np.mean(gap)) for gap in gaps]
    text = f"HGO minus SGD, mean of Cweak, C1, C2: softmax regression / network {_join(means, 3)}"
    return _above(np.asarray(gaps[1] - gaps[0])), text


def _better_in_every_profile(m: Measured) -> Evidence:
    differences, parts = [], []
    for figure in ("short4a", "short4b"):
        for c in PROFILES[:3]:
            hgo, sgd = m(figure, f"HgO, {c}"), m(figure, f"SGD, {c}")
            final, faster = hgo.final - sgd.final, _over(hgo) - _over(sgd)
            differences += [final, faster]
            parts.append(f"{figure} {c} {final.mean():+.3f} and {faster.mean():+.3f}")
    return _above(*differences), "HGO minus SGD at the end and over the run: " + ", ".join(parts)


def _ten_percent_powerful(m: Measured) -> Evidence:
    labels = ["HgO, Cweak", "HgO, Cmin", "HgO, Cpowerful"]
    weak, least, all_ = (m("short5", label) for label in labels)
    near = _end(all_) - _end(least) <= 0.005 and all_.average() - least.average() <= NEAR
    boosted = least.average() - weak.average() > 0.5 * (all_.average() - weak.average())
    text = _listed(m, "short5", labels) + "; over the run "
    return near and boosted, text + _join([weak.average(), least.average(), all_.average()], 3)


def _ten_percent_average(m: Measured) -> Evidence:
    one, all_ = m("fig12d", "HgO, C1"), m("fig12d", "HgO, Cpowerful")
    text = f"C1 {_end(one):.3f}, Cpowerful {_end(all_):.3f}; over the run "
    near = abs(_end(one) - _end(all_)) <= NEAR and all_.average() - one.average() <= 2 * NEAR
    return near, text + _join([one.average(), all_.average()], 3)


CLOCKED = ("HgO, C1, tau=32", "SGD, C1, tau=32", "SGD, C1, tau=inf")


def _round(series: Series) -> float:
    """Return how long a round lasts on average."""
    return float((series.time[:, -1] / series.updates[-1]).mean())


def _faster_than_waiting(m: Measured) -> Evidence:
    level = 0.8
    hgo, _, waits = (m("fig3", label) for label in CLOCKED)
    ours, theirs = hgo.first(level, clock=True), waits.first(level, clock=True)
    return ours < theirs, f"time to {level}: HGO {ours:.1f}, SGD without a deadline {theirs:.1f}"


def _limit_costs_accuracy(m: Measured) -> Evidence:
    _, cut, waits = (m("fig3", label) for label in CLOCKED)
    times = [_round(cut), _round(waits)]
    text = f"{_listed(m, 'fig3', CLOCKED[1:])}; time per round {_join(times, 2)}"
    return _end(cut) < _end(waits) - NEAR and times[0] < times[1], text


def _fast_and_accurate(m: Measured) -> Evidence:
    hgo, cut, waits = (m("fig3", label) for label in CLOCKED)
    times = [_round(each) for each in (hgo, cut, waits)]
    text = f"{_listed(m, 'fig3', CLOCKED)}; time per round {_join(times, 2)}"
    fast = times[0] <= 1.05 * min(times[1:])
    return fast and _end(hgo) >= max(_end(cut), _end(waits)) - NEAR, text


def _outperforms_in_both(m: Measured) -> Evidence:
    hgo, cut, waits = (m("fig3", label) for label in CLOCKED)
    reached = {}
    for label, level in ((CLOCKED[1], _end(cut)), (CLOCKED[2], min(_end(waits), _end(hgo)))):
        other = m("fig3", label)
        reached[label] = hgo.first(level - NEAR, True), other.first(level - NEAR, True)
    sooner = all(ours <= theirs for ours, theirs in reached.values())
    text = ", ".join(
        f"as far as {label} after {ours:.1f} (it after {theirs:.1f})"
        for label, (ours, theirs) in reached.items()
    )
    better = _end(hgo) >= max(_end(cut), _end(waits)) - 0.005
    return better and sooner, f"{_listed(m, 'fig3', CLOCKED)}; HGO is {text}"


def _worst_case_time(m: Measured) -> Evidence:
    hgo, *others = (m("fig8b", label) for label in CLOCKED)
    reached = hgo.first(0.9, clock=True)
    best = min(other.first(0.9, clock=True) for other in others)
    return reached < best, f"network, time to 0.9: HGO {reached:.1f}, the better SGD {best:.1f}"


def _average_fails(m: Measured) -> Evidence:
    labels = ["HgO, No Attack", "HgO, ar = average"]
    return _end(m("fig6a", labels[1])) < 0.2, _listed(m, "fig6a", labels)


def _rules_stand(m: Measured) -> Evidence:
    labels = ["HgO, ar = median", "HgO, ar = aksel"]
    return all(_end(m("fig6a", label)) > 0.8 for label in labels), _listed(m, "fig6a", labels)


def _krum_between(m: Measured) -> Evidence:
    labels = ["HgO, ar = average", "HgO, ar = krum", "HgO, ar = median"]
    low, krum, high = (m("fig6a", label).final for label in labels)
    return _above(krum - low, high - krum), _listed(m, "fig6a", labels)


def _foe_worse(m: Measured) -> Evidence:
    labels = ["HgO, No Attack", "HgO, f = 10, LIE", "HgO, f = 10, FOE"]
    _, lie, foe = (m("fig6b", label) for label in labels)
    return _above(lie.final - foe.final, _over(lie) - _over(foe)), _listed(m, "fig6b", labels)


def _falls_with_f(m: Measured) -> Evidence:
    labels = [f"HgO, f = {f}, C1" for f in (0, 5, 10, 20, 30)]
    finals = [m("fig6c", label).final for label in labels]
    return _above(*(a - b for a, b in itertools.pairwise(finals))), _listed(m, "fig6c", labels)


def _sent(series: Series) -> float:
    """Return bytes per asked worker and round."""
    scenario = series.scenarios[0]
    return float(series.totals["bytes_up"].mean()) / scenario.rounds / int(scenario.sampled or 1)


def _less_communication(m: Measured, other: str) -> Evidence:
    ours, theirs = _sent(m("fig3", CLOCKED[0])), _sent(m("fig3", other))
    text = f"bytes per asked worker and round: HGO {ours:,.0f}, {other} {theirs:,.0f}"
    return ours < theirs, text


def _more_workers(m: Measured) -> Evidence:
    curves = {q: m("tradeoff1", f"q = {q}") for q in (10, 20, 40, 80)}
    text = ", ".join(
        f"q = {q}: {_end(s):.3f} for {s.totals['coordinates'].mean():.2g} coordinates"
        for q, s in curves.items()
    )
    finals = [s.final for s in curves.values()]
    return _above(*(b - a for a, b in itertools.pairwise(finals))), text


def _larger_minibatches(m: Measured) -> Evidence:
    labels = [f"s = {s}, equal blocks" for s in (8, 32, 128)]
    finals = [m("tradeoff2", label).final for label in labels]
    rising = _above(*(b - a for a, b in itertools.pairwise(finals)))
    return rising, _listed(m, "tradeoff2", labels)


def _larger_blocks(m: Measured) -> Evidence:
    labels = ["s = 8, equal blocks", "s = 8, larger blocks"]
    small, large = (m("tradeoff2", label) for label in labels)
    text = f"{_listed(m, 'tradeoff2', labels)}; over the run "
    text += _join([small.average(), large.average()], 3)
    return _above(_over(large) - _over(small), large.final - small.final), text


def _minibatch_before_block(m: Measured) -> Evidence:
    labels = ["s = 128, smaller blocks", "s = 32, equal blocks", "s = 8, larger blocks"]
    large, _, small = (m("tradeoff2", label) for label in labels)
    return _above(large.final - small.final), _listed(m, "tradeoff2", labels)


def _excluding_the_weak(m: Measured) -> Evidence:
    labels = ["s = 32, equal blocks", "full gradients only"]
    hgo, strong = (m("tradeoff2", label) for label in labels)
    return _above(hgo.final - strong.final), _listed(m, "tradeoff2", labels)


def _weak_cannot_stand(m: Measured) -> Evidence:
    def lost(hardware: str, f: int) -> Floats:
        clean, attacked = (
            m("tradeoff3", f"{hardware}, {who}") for who in (f"nobody of {f}", f"f = {f}")
        )
        cost: Floats = clean.final - attacked.final
        return cost

    weak, strong = ([lost(kind, f) for f in (10, 30)] for kind in ("weak", "powerful"))
    means = [[float(cost.mean()) for cost in costs] for costs in (weak, strong)]
    text = f"accuracy lost to f = 10 / 30: weak {_join(means[0], 3)}, powerful {_join(means[1], 3)}"
    return _above(weak[1] - strong[1]), text


def _minibatches_against_byzantine(m: Measured) -> Evidence:
    labels = ["powerful, f = 30, s = 8", "powerful, f = 30", "powerful, f = 30, s = 128"]
    small, _, large = (m("tradeoff3", label) for label in labels)
    return _above(large.final - small.final), _listed(m, "tradeoff3", labels)


def _come_and_go(m: Measured) -> Evidence:
    labels = [curve.label for curve in load("remark2").curves]
    finals = [_end(m("remark2", label)) for label in labels]
    return min(finals) >= finals[0] - NEAR, _listed(m, "remark2", labels)


def _dynamic_rate(m: Measured) -> Evidence:
    labels = ["Cweak, constant", "Cweak, dynamic", "Cweak, constant, as large on average"]
    constant, dynamic, large = (m("rate", label) for label in labels)
    averages = [each.average() for each in (constant, dynamic, large)]
    attacked = ["Cweak, f = 10, constant", "Cweak, f = 10, dynamic"]
    text = _listed(m, "rate", [*labels, *attacked]) + "; over the run (the first three) "
    worse = averages[1] < averages[2] - NEAR
    return (False if worse else _above(_over(dynamic) - _over(constant))), text + _join(averages, 3)


SHORT, LONG = "shorter paper", "extended paper"
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "hears-everybody",
        "With HGO the server receives gradients, partial or whole, from all workers whatever "
        "their hardware; with SGD only from strong ones.",
        f"{SHORT}, V-B and Fig. 3",
        "in Cweak, C1, C2 and among standard devices HGO hears at least 95 % of the asked, SGD "
        "less than 80 %",
        ("fig4b", "short3b"),
        _hears_all,
    ),
    Claim(
        "beats-sgd",
        "HGO outperforms SGD in final accuracy and convergence rate, most on heterogeneous data.",
        f"{SHORT}, Fig. 3",
        "in every seed higher at the end and on average over the run, on both partitions, and "
        "ahead by more over the run on heterogeneous data",
        ("short3a", "short3b"),
        _beats_sgd,
    ),
    Claim(
        "weak-network-reaches-the-top",
        "HGO reaches top performance even in a network full of weak devices (softmax regression).",
        f"{SHORT}, V-B and Fig. 4a",
        f"Cweak ends within {NEAR} of Cpowerful",
        ("short4a",),
        lambda m: _top_when_weak(m, "short4a"),
    ),
    Claim(
        "weak-network-reaches-the-top-network",
        "The same for the feed-forward network.",
        f"{SHORT}, V-B and Fig. 4b",
        f"Cweak ends within {NEAR} of Cpowerful",
        ("short4b",),
        lambda m: _top_when_weak(m, "short4b"),
    ),
    Claim(
        "independent-of-hardware",
        "HGO has nearly the same convergence properties whatever the hardware profile "
        "(softmax regression).",
        f"{SHORT}, V-B and Fig. 4a",
        f"final accuracies within {NEAR}, averages over the run within {2 * NEAR}",
        ("short4a",),
        lambda m: _independent(m, "short4a"),
    ),
    Claim(
        "independent-of-hardware-network",
        "The same for the feed-forward network.",
        f"{SHORT}, V-B and Fig. 4b",
        f"final accuracies within {NEAR}, averages over the run within {2 * NEAR}",
        ("short4b",),
        lambda m: _independent(m, "short4b"),
    ),
    Claim(
        "better-hardware-helps",
        "Improving the workers' hardware also improves HGO's convergence.",
        f"{SHORT}, IV-B 2",
        "in every seed a higher accuracy over the run from profile to profile",
        ("short4a",),
        _better_hardware_helps,
    ),
    Claim(
        "sgd-depends-on-hardware",
        "SGD's convergence is strongly correlated with the capabilities of the workers (softmax "
        "regression).",
        f"{SHORT}, V-B and Fig. 4a",
        "in every seed a higher accuracy over the run from profile to profile, and more than 0.1 "
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
        "in every seed the mean gap over Cweak, C1, C2 is larger for the network",
        ("short4a", "short4b"),
        _gap_grows,
    ),
    Claim(
        "better-in-every-profile",
        "In both models HGO converges faster and ends better than SGD, even where all devices are "
        "weak.",
        f"{SHORT}, Fig. 4",
        "in Cweak, C1 and C2, in every seed, higher at the end and over the run",
        ("short4a", "short4b"),
        _better_in_every_profile,
    ),
    Claim(
        "ten-percent-powerful-suffice",
        "Replacing 10 % of the weak devices by powerful ones gives convergence similar to a "
        "network of powerful devices.",
        f"{SHORT}, V-B and Fig. 5",
        f"Cmin ends within 0.005 of Cpowerful, is within {NEAR} of it over the run, and more than "
        "half of the way from Cweak to it",
        ("short5",),
        _ten_percent_powerful,
    ),
    Claim(
        "ten-percent-average-suffice",
        "10 % average devices match an all-powerful network.",
        f"{LONG}, Figs. 5 and 12d",
        f"C1 ends within {NEAR} of Cpowerful, and is within {2 * NEAR} over the run",
        ("fig12d",),
        _ten_percent_average,
    ),
    Claim(
        "faster-than-waiting",
        "Without a deadline SGD is slow, as it waits for the weakest device; HGO is fast.",
        f"{SHORT}, V-B and Fig. 6",
        "HGO reaches 0.8 earlier on the clock",
        ("fig3",),
        _faster_than_waiting,
    ),
    Claim(
        "deadline-costs-sgd-accuracy",
        "With a deadline SGD is faster but loses final accuracy, as it never sees the data of weak "
        "devices.",
        f"{SHORT}, V-B and Fig. 6",
        "SGD with τ = 32 has shorter rounds than SGD without a deadline, and ends more than "
        f"{NEAR} below it",
        ("fig3",),
        _limit_costs_accuracy,
    ),
    Claim(
        "fast-and-accurate",
        "HGO has a fast runtime and reaches the top accuracy as well.",
        f"{SHORT}, V-B and Fig. 6",
        f"its rounds last at most 5 % longer than either SGD's, and it ends within {NEAR} of the "
        "better",
        ("fig3",),
        _fast_and_accurate,
    ),
    Claim(
        "outperforms-in-accuracy-and-runtime",
        "HGO outperforms SGD in both final accuracy and runtime.",
        f"{SHORT}, Fig. 6",
        f"it ends at most 0.005 below either SGD, and is as far as each of them ends (less {NEAR}) "
        "no later than that one",
        ("fig3",),
        _outperforms_in_both,
    ),
    Claim(
        "worst-case-time-beats-sgd",
        "Even in the worst case HGO's time is better than SGD's.",
        f"{LONG}, Fig. 8b",
        "in C1 the network reaches 0.9 earlier on the clock than with either SGD",
        ("fig8b",),
        _worst_case_time,
    ),
    Claim(
        "average-breaks",
        "Averaging does not survive FOE.",
        f"{LONG}, Fig. 6a",
        "final accuracy below 0.2",
        ("fig6a",),
        _average_fails,
    ),
    Claim(
        "robust-rules-stand",
        "Median and Aksel survive FOE by 10 workers on homogeneous data.",
        f"{LONG}, Fig. 6a",
        "final accuracy above 0.8",
        ("fig6a",),
        _rules_stand,
    ),
    Claim(
        "krum-between",
        "Krum does better than averaging and worse than median under FOE.",
        f"{LONG}, Fig. 6a",
        "its final accuracy lies between theirs in every seed",
        ("fig6a",),
        _krum_between,
    ),
    Claim(
        "foe-worse-than-lie",
        "FOE is more devastating than LIE.",
        f"{LONG}, Fig. 6b",
        "in every seed a lower accuracy at the end and over the run, under the median",
        ("fig6b",),
        _foe_worse,
    ),
    Claim(
        "accuracy-falls-with-f",
        "On heterogeneous data accuracy falls with the number of Byzantine workers.",
        f"{LONG}, Fig. 6c",
        "in every seed it falls from f = 0 over 5, 10 and 20 to 30",
        ("fig6c",),
        _falls_with_f,
    ),
    Claim(
        "less-communication",
        "HGO sends blocks instead of whole gradients and so communicates less than gradient "
        "descent.",
        f"{SHORT}, VII",
        "fewer bytes per asked worker and round than SGD without a deadline",
        ("fig3",),
        lambda m: _less_communication(m, CLOCKED[2]),
    ),
    Claim(
        "less-communication-than-variants",
        "It also communicates less than gradient descent's variants.",
        f"{SHORT}, VII",
        "fewer bytes per asked worker and round than SGD with the same deadline",
        ("fig3",),
        lambda m: _less_communication(m, CLOCKED[1]),
    ),
    Claim(
        "trade-off-1",
        "For a fixed f, more sampled workers improve convergence (and cost time).",
        f"{SHORT}, IV-B 1",
        "in every seed the final accuracy rises from q = 10 over 20 and 40 to 80; the cost is q·d "
        "by construction",
        ("tradeoff1",),
        _more_workers,
    ),
    Claim(
        "trade-off-2-minibatch",
        "Larger minibatches improve statistical error and convergence.",
        f"{SHORT}, IV-B 2",
        "at equal blocks, in every seed, final accuracy rises from s = 8 over 32 to 128",
        ("tradeoff2",),
        _larger_minibatches,
    ),
    Claim(
        "trade-off-2-block",
        "Larger blocks improve the convergence rate and the statistical error.",
        f"{SHORT}, IV-B 2",
        "at equal minibatches, in every seed, higher over the run and at the end",
        ("tradeoff2",),
        _larger_blocks,
    ),
    Claim(
        "trade-off-2-minibatch-before-block",
        "What a worker has time for is better spent on minibatches than on blocks.",
        f"{SHORT}, IV-B 2",
        "at equal budgets, in every seed, s = 128 ends above s = 8",
        ("tradeoff2",),
        _minibatch_before_block,
    ),
    Claim(
        "trade-off-2-exclusion",
        "Asking powerful workers alone excludes data and so gives a worse statistical error.",
        f"{SHORT}, IV-B 2",
        "in C2, in every seed, SGD, which hears only who finishes, ends below HGO",
        ("tradeoff2",),
        _excluding_the_weak,
    ),
    Claim(
        "trade-off-3",
        "A network full of weak devices can't handle a strong Byzantine impact.",
        f"{SHORT}, IV-B 3",
        "f = 30 costs the weak network more accuracy than the powerful one in every seed, against "
        "a server that waits for as many and is not attacked",
        ("tradeoff3",),
        _weak_cannot_stand,
    ),
    Claim(
        "trade-off-3-minibatch",
        "Larger minibatches let a bigger Byzantine impact be tolerated.",
        f"{SHORT}, IV-B 3",
        "under FOE by f = 30, at equal blocks, s = 128 ends above s = 8 in every seed",
        ("tradeoff3",),
        _minibatches_against_byzantine,
    ),
    Claim(
        "workers-come-and-go",
        "Workers may disconnect and join again; the algorithm works as long as a quorum is active.",
        f"{SHORT}, Remark 2",
        f"final accuracy within {NEAR} of that with workers that are always there",
        ("remark2",),
        _come_and_go,
    ),
    Claim(
        "dynamic-rate",
        "A learning rate inversely proportional to √|B_k| improves the convergence rate.",
        f"{SHORT}, after Theorem 2",
        f"in Cweak, in every seed, a higher accuracy over the run than with γ, and at most {NEAR} "
        "below a constant rate as large on average",
        ("rate",),
        _dynamic_rate,
    ),
)
CHEAP = ("hears-everybody", "average-breaks", "robust-rules-stand", "krum-between", "dynamic-rate")
