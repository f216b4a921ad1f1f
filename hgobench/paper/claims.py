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
from .runs import Series

Measured = Callable[[str, str], Series]  # a figure's name, a curve's label
Evidence = tuple[bool, str]
NEAR = 0.02  # accuracies that differ by less are alike


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
        held = [variant for variant, (holds, _) in self.evidence.items() if holds]
        if not held:
            return "does not hold"
        if len(held) == len(self.evidence):
            return "holds"
        return f"holds only as {held[0]}"


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


def _hears_all(m: Measured) -> Evidence:
    hgo = [m("fig4b", f"HgO, {c}").heard.mean() for c in ("Cweak", "C1", "C2")]
    sgd = [m("fig4b", f"SGD, {c}").heard.mean() for c in ("Cweak", "C1", "C2")]
    text = f"answers per round of 80: HGO {_join(hgo)}, SGD {_join(sgd)} (Cweak, C1, C2)"
    return min(hgo) >= 0.95 * 80 and max(sgd) < 0.5 * 80, text


def _join(values: Sequence[float], digits: int = 1) -> str:
    return " / ".join(f"{value:.{digits}f}" for value in values)


def _beats_sgd(m: Measured) -> Evidence:
    gaps, faster = [], []
    for figure in ("short3a", "short3b"):
        hgo, sgd = m(figure, "HgO, standard"), m(figure, "SGD, standard")
        gaps.append(_end(hgo) - _end(sgd))
        faster.append(hgo.average() - sgd.average())
    text = (
        f"HGO minus SGD, homogeneous / heterogeneous: final accuracy {_join(gaps, 4)}, "
        f"accuracy over the run {_join(faster, 4)}"
    )
    return min(*gaps, *faster) > 0 and gaps[1] > gaps[0], text


def _top_when_weak(m: Measured) -> Evidence:
    weak, best = m("short4a", "HgO, Cweak"), m("short4a", "HgO, Cpowerful")
    return _end(weak) >= _end(best) - NEAR, _listed(m, "short4a", ["HgO, Cweak", "HgO, Cpowerful"])


PROFILES = ("Cweak", "C1", "C2", "Cpowerful")


def _independent(m: Measured, figure: str) -> Evidence:
    curves = [m(figure, f"HgO, {c}") for c in PROFILES]
    finals, averages = [_end(c) for c in curves], [c.average() for c in curves]
    profiles = ", ".join(PROFILES)
    text = f"final accuracy {_join(finals, 3)}, over the run {_join(averages, 3)} ({profiles})"
    return np.ptp(finals) <= NEAR and np.ptp(averages) <= 2 * NEAR, text


def _sgd_depends(m: Measured) -> Evidence:
    finals = [_end(m("short4a", f"SGD, {c}")) for c in PROFILES]
    rising = all(a < b + 0.005 for a, b in itertools.pairwise(finals))
    return rising and finals[-1] - finals[0] > 0.1, f"SGD's final accuracy {_join(finals, 3)}"


def _gap_grows(m: Measured) -> Evidence:
    gaps = [
        sum(_end(m(f, f"HgO, {c}")) - _end(m(f, f"SGD, {c}")) for c in PROFILES[:3]) / 3
        for f in ("short4a", "short4b")
    ]
    text = f"HGO minus SGD, mean of Cweak, C1, C2: softmax regression / network {_join(gaps, 3)}"
    return bool(gaps[1] > gaps[0]), text


def _never_worse(m: Measured) -> Evidence:
    worst, where = np.inf, ""
    for figure in ("short4a", "short4b"):
        for c in PROFILES:
            gap = _end(m(figure, f"HgO, {c}")) - _end(m(figure, f"SGD, {c}"))
            if gap < worst:
                worst, where = gap, f"{figure}, {c}"
    return worst > -0.005, f"least HGO minus SGD: {worst:.3f} ({where})"


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


def _faster_than_waiting(m: Measured) -> Evidence:
    level = 0.8
    hgo = m("fig3", "HgO, C1, tau=32").first(level, clock=True)
    sgd = m("fig3", "SGD, C1, tau=inf").first(level, clock=True)
    return hgo < sgd, f"time to {level}: HGO {hgo:.1f}, SGD without a deadline {sgd:.1f}"


def _limit_costs_accuracy(m: Measured) -> Evidence:
    labels = ["SGD, C1, tau=32", "SGD, C1, tau=inf"]
    cut, waits = (m("fig3", label) for label in labels)
    return _end(cut) < _end(waits) - NEAR, _listed(m, "fig3", labels)


def _fast_and_accurate(m: Measured) -> Evidence:
    labels = ["HgO, C1, tau=32", "SGD, C1, tau=32", "SGD, C1, tau=inf"]
    hgo, cut, waits = (m("fig3", label) for label in labels)
    ahead = _end(hgo) > _end(cut) + NEAR and _end(hgo) >= _end(waits) - NEAR
    return ahead, _listed(m, "fig3", labels)


def _worst_case_time(m: Measured) -> Evidence:
    hgo = m("fig8b", "HgO, C1, tau=32")
    others = [m("fig8b", f"SGD, C1, tau={tau}") for tau in ("32", "inf")]
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
    low, krum, high = (_end(m("fig6a", label)) for label in labels)
    return low < krum < high, _listed(m, "fig6a", labels)


def _foe_worse(m: Measured) -> Evidence:
    labels = ["HgO, No Attack", "HgO, f = 10, LIE", "HgO, f = 10, FOE"]
    _, lie, foe = (m("fig6b", label) for label in labels)
    return _end(foe) < _end(lie) and foe.average() < lie.average(), _listed(m, "fig6b", labels)


def _falls_with_f(m: Measured) -> Evidence:
    labels = [f"HgO, f = {f}, C1" for f in (0, 5, 10, 20, 30)]
    finals = [_end(m("fig6c", label)) for label in labels]
    falling = all(a > b for a, b in itertools.pairwise(finals[:3]))
    return falling and max(finals[3:]) < finals[1], _listed(m, "fig6c", labels)


def _less_communication(m: Measured) -> Evidence:
    ours, theirs = (
        m("fig3", label).totals["bytes_up"].mean() / 150 / 80
        for label in ("HgO, C1, tau=32", "SGD, C1, tau=inf")
    )
    return bool(
        ours < theirs
    ), f"bytes per asked worker and round: HGO {ours:,.0f}, SGD {theirs:,.0f}"


def _more_workers(m: Measured) -> Evidence:
    curves = {q: m("tradeoff1", f"q = {q}") for q in (10, 20, 40, 80)}
    text = ", ".join(
        f"q = {q}: {_end(s):.3f}, {s.totals['coordinates'].mean():.2g} coordinates"
        for q, s in curves.items()
    )
    finals = [_end(s) for s in curves.values()]
    cost = [float(s.totals["coordinates"].mean()) for s in curves.values()]
    return finals[-1] > finals[0] + 0.005 and bool(np.all(np.diff(cost) > 0)), text


def _larger_minibatches(m: Measured) -> Evidence:
    labels = [f"s = {s}, equal blocks" for s in (8, 32, 128)]
    finals = [_end(m("tradeoff2", label)) for label in labels]
    return finals[0] < finals[1] < finals[2], _listed(m, "tradeoff2", labels)


def _larger_blocks(m: Measured) -> Evidence:
    labels = ["s = 8, equal blocks", "s = 8, larger blocks"]
    small, large = (m("tradeoff2", label) for label in labels)
    return large.average() > small.average(), _listed(m, "tradeoff2", labels)


def _excluding_the_weak(m: Measured) -> Evidence:
    labels = ["s = 32, equal blocks", "full gradients only"]
    hgo, strong = (m("tradeoff2", label) for label in labels)
    return _end(strong) < _end(hgo), _listed(m, "tradeoff2", labels)


def _weak_cannot_stand(m: Measured) -> Evidence:
    def lost(hardware: str, f: int) -> float:
        return _end(m("tradeoff3", f"{hardware}, f = 0")) - _end(
            m("tradeoff3", f"{hardware}, f = {f}")
        )

    weak, strong = ([lost(kind, f) for f in (10, 30)] for kind in ("weak", "powerful"))
    text = f"accuracy lost to f = 10 / 30: weak {_join(weak, 3)}, powerful {_join(strong, 3)}"
    return weak[1] > strong[1], text


def _dynamic_rate(m: Measured) -> Evidence:
    labels = ["Cweak, constant", "Cweak, dynamic"]
    constant, dynamic = (m("rate", label) for label in labels)
    same = (
        abs(_end(m("rate", "Cpowerful, constant")) - _end(m("rate", "Cpowerful, dynamic"))) < 1e-9
    )
    text = _listed(m, "rate", [*labels, "Cweak, f = 10, constant", "Cweak, f = 10, dynamic"])
    faster = dynamic.average() > constant.average()
    return (
        faster and same,
        f"{text}; over the run {_join([constant.average(), dynamic.average()], 3)}",
    )


SHORT, LONG = "shorter paper", "extended paper"
CLAIMS: tuple[Claim, ...] = (
    Claim(
        "hears-everybody",
        "With HGO the server receives gradients, partial or whole, from all workers whatever "
        "their hardware; with SGD only from strong ones.",
        f"{SHORT}, V-B and Fig. 3",
        "HGO hears at least 95 % of the asked in every profile, SGD less than half",
        ("fig4b",),
        _hears_all,
    ),
    Claim(
        "beats-sgd",
        "HGO outperforms SGD in final accuracy and convergence rate, most on heterogeneous data.",
        f"{SHORT}, Fig. 3",
        "higher at the end and on average over the run, on both partitions; the final gap is "
        "larger on heterogeneous data",
        ("short3a", "short3b"),
        _beats_sgd,
    ),
    Claim(
        "weak-network-reaches-the-top",
        "HGO reaches top performance even in a network full of weak devices.",
        f"{SHORT}, V-B and Fig. 4",
        f"Cweak ends within {NEAR} of Cpowerful",
        ("short4a",),
        _top_when_weak,
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
        "sgd-depends-on-hardware",
        "SGD's convergence is strongly correlated with the capabilities of the workers.",
        f"{SHORT}, V-B and Fig. 4",
        "final accuracy rises from profile to profile, by more than 0.1 in all",
        ("short4a",),
        _sgd_depends,
    ),
    Claim(
        "gap-grows-with-the-model",
        "The gap between HGO and SGD widens from softmax regression to the network.",
        f"{SHORT}, V-B and Fig. 4",
        "the mean gap over Cweak, C1, C2 is larger for the network",
        ("short4a", "short4b"),
        _gap_grows,
    ),
    Claim(
        "never-worse-than-sgd",
        "In both models HGO has the better final accuracy, even where all devices are weak.",
        f"{SHORT}, Fig. 4",
        "in every profile HGO ends at most 0.005 below SGD",
        ("short4a", "short4b"),
        _never_worse,
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
        f"SGD with τ = 32 ends more than {NEAR} below SGD without a deadline",
        ("fig3",),
        _limit_costs_accuracy,
    ),
    Claim(
        "fast-and-accurate",
        "HGO has a fast runtime and reaches the top accuracy as well.",
        f"{SHORT}, V-B and Fig. 6",
        f"HGO ends more than {NEAR} above SGD with the deadline, and within {NEAR} of SGD without",
        ("fig3",),
        _fast_and_accurate,
    ),
    Claim(
        "worst-case-time-beats-sgd",
        "Even in the worst case HGO's time is better than SGD's.",
        f"{LONG}, Fig. 8b",
        "the network reaches 0.9 earlier on the clock than with either SGD",
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
        "its final accuracy lies between theirs",
        ("fig6a",),
        _krum_between,
    ),
    Claim(
        "foe-worse-than-lie",
        "FOE is more devastating than LIE.",
        f"{LONG}, Fig. 6b",
        "lower final accuracy and lower accuracy over the run, under the median",
        ("fig6b",),
        _foe_worse,
    ),
    Claim(
        "accuracy-falls-with-f",
        "On heterogeneous data accuracy falls with the number of Byzantine workers.",
        f"{LONG}, Fig. 6c",
        "it falls from f = 0 over 5 to 10, and 20 and 30 end below 5",
        ("fig6c",),
        _falls_with_f,
    ),
    Claim(
        "less-communication",
        "HGO sends blocks instead of whole gradients and so communicates less than gradient "
        "descent.",
        f"{SHORT}, VII",
        "fewer bytes per asked worker and round",
        ("fig3",),
        _less_communication,
    ),
    Claim(
        "trade-off-1",
        "For a fixed estimate of f, more sampled workers improve convergence, and cost time.",
        f"{SHORT}, IV-B 1",
        "q = 80 ends more than 0.005 above q = 10; the cost rises with q",
        ("tradeoff1",),
        _more_workers,
    ),
    Claim(
        "trade-off-2-minibatch",
        "Larger minibatches improve statistical error and convergence.",
        f"{SHORT}, IV-B 2",
        "at equal blocks final accuracy rises from s = 8 over 32 to 128",
        ("tradeoff2",),
        _larger_minibatches,
    ),
    Claim(
        "trade-off-2-block",
        "Larger blocks improve the convergence rate.",
        f"{SHORT}, IV-B 2",
        "at equal minibatches a higher accuracy over the run",
        ("tradeoff2",),
        _larger_blocks,
    ),
    Claim(
        "trade-off-2-exclusion",
        "Asking powerful workers alone excludes data and so gives a worse statistical error.",
        f"{SHORT}, IV-B 2",
        "SGD, which hears only who finishes, ends below HGO on heterogeneous data",
        ("tradeoff2",),
        _excluding_the_weak,
    ),
    Claim(
        "trade-off-3",
        "A network full of weak devices can't handle a strong Byzantine impact.",
        f"{SHORT}, IV-B 3",
        "f = 30 costs the weak network more accuracy than the powerful one",
        ("tradeoff3",),
        _weak_cannot_stand,
    ),
    Claim(
        "dynamic-rate",
        "A learning rate inversely proportional to √|B_k| improves the convergence rate.",
        f"{SHORT}, after Theorem 2",
        "higher accuracy over the run in Cweak; on whole blocks it is the constant one",
        ("rate",),
        _dynamic_rate,
    ),
)
CHEAP = ("hears-everybody", "average-breaks", "robust-rules-stand", "krum-between", "dynamic-rate")
