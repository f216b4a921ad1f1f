"""The paper's room: figures, quirks by their definitions, claims that can fail, pages."""

from __future__ import annotations

import base64
import csv
import html
import html.parser
import io
import json
import math
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, World, statistics
from hgobench.aggregators import ServerView
from hgobench.algorithms import Order, Places
from hgobench.errors import InputError
from hgobench.hardware import Population
from hgobench.paper import (
    agreement,
    claims,
    comparisons,
    document,
    figures,
    pages,
    quirks,
    runs,
)
from hgobench.paper.comparisons import Comparison, Evidence
from hgobench.paper.runs import Series
from hgobench.report import files, writers
from hgobench.report.page import Chart, Line, Page, Table
from tests.conftest import ROOT
from tests.test_cli import hgobench

SHARED = ROOT.parent / "shared" / "reference" / "figures.json"


EIGHTY = Scenario(workers=80, rounds=150)


def series(values: Any, heard: float = 80.0, clock: float = 1.0, sent: float = 1.0) -> Series:
    values = np.atleast_2d(np.asarray(values, dtype=float))
    updates = np.arange(1, values.shape[1] + 1)
    every = np.full(values.shape, heard)
    time = np.tile(updates * clock, (len(values), 1)).astype(float)
    names = ("coordinates", "bytes_up", "bytes_down", "stalled")
    totals = {name: np.full(len(values), sent) for name in names}
    return Series([EIGHTY], updates, time, values, every.mean(axis=1), every, totals)


# Figures


@pytest.mark.parametrize("name", figures.names())
def test_every_curve_of_every_figure_is_a_scenario(name: str) -> None:
    figure = figures.load(name)
    cells = figure.cells([0, 1])
    assert len(cells) == 2 * sum(len(figure.of(variant)) for variant in figure.variants)
    assert len({curve.label for curve in figure.curves}) == len(figure.curves)
    assert len(set(cells)) == len(cells), "two curves are one"
    if figure.published:
        known = figures.published()[figure.published]
        assert {curve.label for curve in figure.curves if not curve.control_of} == set(known)
    for variant in figure.variants:
        for curve in figure.of(variant):
            cell = figure.cell(curve, variant, 0)
            own = "quirks" in repr(cell)
            if not curve.control_of:
                assert own == (variant == "published"), "quirks are of the published variant alone"


def test_all_figures_of_the_paper_are_there() -> None:
    """The list of the extended paper; of the shorter one 3 (both partitions), 4a, 4b, 5 and 6."""
    extended = "3 4a 4b 5 6a 6b 6c 8a 8b 11a 11b 11c 11d 11e 12a 12b 12c 12d 12e 13a 13b 13c 13d"
    extended += " 14a 14b 14c 14d 14e 14f 14g 15a 15b"
    expected = {f"fig{number}" for number in extended.split()}
    expected |= {f"short{number}" for number in ["3a", "3b", "4a", "4b", "5", "6"]}
    assert set(figures.names()) == expected | {
        "tradeoff1", "tradeoff2", "tradeoff3", "remark2", "rate",
    }  # fmt: skip
    assert sum(map(len, figures.published().values())) == 158
    assert figures.names()[:3] == ["fig3", "fig4a", "fig4b"]


def test_published_points_are_those_of_the_reference() -> None:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not here")
    for entry in json.loads(SHARED.read_text()):
        ours = figures.published()[entry["figure"]][entry["curve"]]
        np.testing.assert_allclose(ours, entry["points"], atol=0.005)


def test_published_points_stand_where_they_were_measured() -> None:
    def first(name: str, label: str) -> list[float]:
        figure = figures.load(name)
        curve = next(curve for curve in figure.curves if curve.label == label)
        points = figure.points(curve)
        assert points is not None
        return [*points[:3, 0].tolist(), float(points[-1, 0])]

    assert first("fig4a", "HgO, C1") == [0, 1, 6, 146]  # drawn at 0, 5, 10, .., 150
    assert first("fig6a", "HgO, No Attack") == [1, 6, 11, 146]  # at 0, 5, 10, .., 145
    assert first("fig8a", "HgO, C1") == [1, 51, 101, 2001]
    assert first("fig11d", "HgO, C1") == [0, 1, 2, 150]
    assert first("fig3", "HgO, C1, tau=32") == [0, 1, 2.01, 150.53]  # seconds
    figure = figures.load("short5")
    assert figure.points(figure.curves[0]) is None


def test_the_same_runs_serve_several_figures() -> None:
    assert set(figures.load("fig14e").cells([0])) == set(figures.load("fig4b").cells([0]))
    assert set(figures.load("fig13b").cells([0])) == set(figures.load("fig3").cells([0]))
    both = [figures.load("fig4b"), figures.load("fig14e")]
    assert len(runs.cells(both, 3)) == len(runs.cells(both[:1], 3)) == 36


def test_the_published_server_knows_who_is_byzantine_and_the_specified_does_not() -> None:
    figure = figures.load("fig6a")
    attacked = next(c for c in figure.curves if c.label == "HgO, ar = median")
    ours, theirs = (figure.cell(attacked, v, 0) for v in ("specified", "published"))
    assert (ours.rule, ours.quorum, ours.tolerated) == ("median", 21, 10)
    assert (theirs.rule, theirs.quorum) == ("hgobench.paper.quirks:Median", 1)
    assert (theirs.granularity, theirs.cost) == ("feature", "unit")
    honest = figure.cell(figure.curves[0], "published", 0)
    assert honest.rule == "average"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"caption": "x", "problem": "softmax", "colour": 1}, "figure x: key: unknown 'colour'"),
        ({"caption": "x", "problem": "soft"}, "figure x: problem: unknown 'soft'; did you mean"),
        ({"caption": "x", "problem": "softmax"}, r"figure x: no curves; expected \[axes\] or"),
        (
            {"caption": "x", "problem": "softmax", "curve": [{"label": "HgO"}],
             "control": [{"label": "c", "of": "Hg0"}]},
            "figure x: control 'c': of: unknown 'Hg0'; did you mean 'HgO'",
        ),
    ],
)  # fmt: skip
def test_a_wrong_figure_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        figures.read("x", content)


def test_a_control_is_its_curve_but_for_one_thing() -> None:
    """Where nobody attacks, the server waits for as many answers as where they do."""
    changed = {
        "fig6a": {"attack", "attack_start"}, "fig6b": {"attack", "attack_start"},
        "fig6c": {"attack", "attack_start"}, "fig12a": {"data"}, "fig12b": {"data", "learning_rate"},
        "fig12c": {"model"}, "tradeoff3": {"attack", "byzantine"},
    }  # fmt: skip
    seen = set()
    for name in figures.names():
        figure = figures.load(name)
        own = {curve.label: curve for curve in figure.curves}
        for variant in figure.variants:
            for curve in figure.of(variant):
                if not curve.control_of:
                    continue
                assert figure.points(curve) is None, "a control is not drawn over published points"
                control = figure.cell(curve, variant, 3)
                of = figure.cell(own[curve.control_of], variant, 3)
                differ = {k for k, v in control.to_dict().items() if v != of.to_dict()[k]}
                assert differ, curve.label
                assert differ <= changed[name], (name, curve.label)
                assert control.quorum == of.quorum
                seen.add(name)
    assert seen == set(changed)


def test_an_unknown_figure_is_refused_with_the_nearest() -> None:
    done = hgobench("reproduce", "fig4d")
    assert done.returncode == 2
    assert "figure: unknown 'fig4d'; did you mean 'fig14d'?" in done.stderr
    assert "hgobench reproduce list" in done.stderr


# Quirks


def softmax_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.random((3, 4, 5)).astype(np.float32))
    params = torch.from_numpy(4 * rng.standard_normal((2, 18)).astype(np.float32))
    return params, x, torch.from_numpy(rng.integers(0, 3, (3, 4)))


@pytest.mark.parametrize("shared", [True, False])
def test_softmax_sums_shares_its_maximum_and_keeps_the_bias(shared: bool) -> None:
    params, x, y = softmax_batch()
    model = quirks.Softmax(5, 3, examples=4.0, shared_maximum=shared)
    start = model.initial(np.random.default_rng(1))
    found = model.gradients(params, x, y).numpy()
    for r in range(2):
        w = params[r].double().numpy().reshape(3, 6)
        for i in range(3):
            points = x[i].double().numpy()
            scores = points @ w[:, :5].T + start.double().numpy().reshape(3, 6)[:, 5]
            if shared:
                raised = np.exp(scores - scores.max())
                chance = raised / (raised.sum(axis=1, keepdims=True) + 1e-7)
            else:
                raised = np.exp(scores - scores.max(axis=1, keepdims=True))
                chance = raised / raised.sum(axis=1, keepdims=True)
            error = chance - np.eye(3)[y[i].numpy()]
            mine = found[r, i].reshape(3, 6)
            np.testing.assert_allclose(mine[:, :5], error.T @ points, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(mine[:, 5], error.mean(axis=0), rtol=1e-4, atol=1e-5)
    places = Places(model, "feature", "unit")
    assert len(places) == 5  # the bias is no place of its own, but in the first
    order = Order(places, np.array([3, 0, 1, 2, 4]))
    assert order.position.reshape(3, 6)[:, [3, 5]].tolist() == [[0, 0]] * 3
    plain = quirks.Softmax(5, 3, stale_bias=False, examples=1.0, shared_maximum=False)
    plain.initial(np.random.default_rng(1))
    theirs = super(quirks.Softmax, plain).gradients(params, x, y)
    torch.testing.assert_close(plain.gradients(params, x, y), theirs)


def test_the_network_s_biases_are_those_of_the_start() -> None:
    rng = np.random.default_rng(2)
    model = quirks.FeedForward(5, 3, hidden=4)
    start = model.initial(rng)
    assert float(start.std()) == pytest.approx(0.01, rel=0.5)
    params = torch.from_numpy(rng.standard_normal((1, model.dimension)).astype(np.float32))
    _, x, y = softmax_batch()
    biases = [*range(20, 24), *range(36, 39)]
    assert model.biases.tolist() == biases
    seen = params.clone()
    seen[:, biases] = start[biases]
    fresh = quirks.FeedForward(5, 3, stale_bias=False, hidden=4)
    torch.testing.assert_close(model.gradients(params, x, y), fresh.gradients(seen, x, y))
    assert not torch.allclose(model.gradients(params, x, y), fresh.gradients(params, x, y))


def test_svm_counts_scores_that_round_to_the_label() -> None:
    x = torch.tensor([[0.4], [0.6], [1.4], [1.6], [-0.6]])
    y = torch.tensor([1, 1, 1, 1, 0])
    params = torch.tensor([[1.0, 0.0]])
    rounded, plain = quirks.Svm(1, 2), quirks.Svm(1, 2, rounded=False)
    assert float(rounded.evaluate(params, x, y)[1]) == 3 / 5
    assert float(plain.evaluate(params, x, y)[1]) == 1.0
    assert not rounded.gradients(params, x[None], y[None])[..., -1].any()


def test_devices_are_whole_numbers_in_the_order_of_their_strength() -> None:
    people = Population(1000, 7850, 3, np.ones((1000, 10), dtype=np.int64))
    rates = quirks.Devices(weak=0.9, average=0.1, powerful=0.0).rates(people)
    assert np.array_equal(rates[rates >= 1], np.floor(rates[rates >= 1]))
    weak = rates[:900]
    assert weak.mean() == pytest.approx(500, rel=0.05)
    assert 0.01 < (weak < 1).mean() < 0.04  # of N(500, 250) 2.3 % are below 0
    assert rates[900:].min() > 2000
    again = quirks.Devices(weak=0.9, average=0.1, powerful=0.0).rates(people)
    assert np.array_equal(rates, again)


def test_a_row_costs_hgo_what_a_weight_costs_sgd() -> None:
    """At a rate of 784 HGO returns everything, SGD nothing."""
    fields: dict[str, Any] = {"features": 784, "classes": 10}
    model = quirks.Softmax(**fields)
    order = Order(Places(model, "feature", "unit"), np.arange(784))
    budget = np.array([0.5, 783.9, 784.0, 7839.0, 7840.0])
    from hgobench.algorithms import Hgo

    assert Hgo().lengths(budget, order).tolist() == [0, 783, 784, 784, 784]
    assert quirks.Sgd().lengths(budget, order).tolist() == [0, 0, 0, 0, 784]


def ragged(rng: np.random.Generator, m: int = 9, d: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.from_numpy(rng.standard_normal((m, d)).astype(np.float32))
    lengths = rng.integers(1, d + 1, m)
    lengths[rng.integers(m)] = d
    position = torch.from_numpy(rng.permutation(d))
    return values, position < torch.from_numpy(lengths)[:, None]


def one_column(rule: str, x: np.ndarray, hostile_last: bool) -> float:
    """Aggregate what was sent of one coordinate, the Byzantine answers last, by definition."""
    if rule == "Average":
        return float(np.mean(x))
    if rule == "Median":
        return float(np.median(x))
    if rule == "Aksel":
        away = (x - np.median(x)) ** 2
        return float(np.mean(x[away <= np.median(away) * (1 + 1e-6)]))
    kept = x[:-1] if hostile_last and len(x) > 1 else x
    scores = [np.sort((c - kept) ** 2)[:-1].sum() for c in kept]
    return float(kept[int(np.argmin(scores))])


@pytest.mark.parametrize("rule", ["Average", "Median", "Aksel", "Krum"])
@pytest.mark.parametrize("round_", [10, 11])
def test_a_server_that_knows_its_byzantine_workers(rule: str, round_: int) -> None:
    """Coordinates that 2b + 1 sent are aggregated, b known; in the first ten rounds v = 1."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        values, present = ragged(rng)
        m = len(values)
        b = int(rng.integers(0, 4))
        honest = np.ones(m, dtype=bool)
        honest[rng.permutation(m)[:b]] = False
        longest = present.sum(dim=1).argmax()
        present[~torch.from_numpy(honest)] = present[longest].clone()
        values[~torch.from_numpy(honest)] = -3.0
        made = getattr(quirks, rule)()
        found = made(values, present, ServerView(round=round_, honest=honest))
        known = honest if round_ > 10 else np.ones(m, dtype=bool)
        quorum = 2 * int((~known).sum()) + 1
        order = np.argsort(~known, kind="stable")
        for j in range(values.shape[1]):
            sent = [i for i in order if present[i, j]]
            x = values[sent, j].double().numpy()
            dropped = bool(order[-1] in sent)
            expected = 0.0 if len(sent) < quorum else one_column(rule, x, dropped)
            assert float(found[j]) == pytest.approx(expected, abs=1e-5), (j, x)


def test_tables_are_trained_and_tested_on_the_same_examples() -> None:
    data = quirks.Seen("breast_cancer").load()
    assert data.train is data.test
    assert len(data.train) == 569
    assert (data.classes, len(data.validation)) == (2, 0)


def test_lie_goes_upwards_by_ten_deviations() -> None:
    from hgobench.testing import try_named

    kind, verdicts = try_named("hgobench.paper.quirks:Lie")  # the laws of attacks hold for it, too
    assert kind.name == "attack"
    assert {v.outcome for v in verdicts} == {"pass", "not applicable"}


# Runs


def test_the_authors_clock_is_the_slowest_answer() -> None:
    fields: dict[str, Any] = {
        "workers": 12, "sampled": 8, "rounds": 7, "batch_size": 4, "deadline": 8.0,
        "evaluation_interval": 3, "rule": "average", "granularity": "feature", "cost": "unit",
        "hardware": "hgobench.paper.quirks:Devices[weak_mean=20,weak_std=5,average_mean=300]",
    }  # fmt: skip
    for algorithm in ("hgo", "hgobench.paper.quirks:Sgd"):
        scenario = Scenario(**fields, algorithm=algorithm)
        world = World(scenario)
        expected, whole = [], world.model.dimension
        for k in range(1, 8):
            slowest = 0.0
            for worker in world.draw(k).workers:
                rate = float(world.rates[worker])
                done = min(int(rate * 8.0 / 4), whole)
                heard = done >= 1 if algorithm == "hgo" else rate * 2 >= whole - 10
                slowest = max(slowest, done / rate if heard else 0.0)
            expected.append(slowest)
        np.testing.assert_allclose(runs.seconds(scenario, False), np.cumsum(expected))
        counted = [t if k == 1 or k % 3 == 0 else 0.0 for k, t in enumerate(expected, start=1)]
        np.testing.assert_allclose(runs.seconds(scenario, True), np.cumsum(counted))


def test_what_a_series_says() -> None:
    made = series([[0.1, 0.5, 0.9], [0.3, 0.7, 0.9]], clock=10.0)
    assert made.mean == pytest.approx([0.2, 0.6, 0.9])
    assert made.final.tolist() == [0.9, 0.9]
    assert made.reached(0.6).tolist() == [30.0, 20.0]
    assert np.isinf(made.reached(0.95)).all()
    assert made.reached(np.array([0.1, 0.9])).tolist() == [10.0, 30.0]
    assert made.average() == pytest.approx(np.mean([0.2, 0.6, 0.9]))
    low, high = made.band
    assert low[0] == pytest.approx(0.2 - 12.706 * 0.1, rel=1e-3)  # t with one degree of freedom
    assert high[2] == pytest.approx(0.9)
    one = series([[0.1, 0.5]])
    assert np.array_equal(one.band[0], one.mean)


# Comparisons


def drawn(mean: float, deviation: float, n: int = 10, seed: int = 0) -> Any:
    """Return numbers with exactly this mean and standard deviation."""
    if n == 1:
        return np.array([mean])
    z = np.random.default_rng(seed).standard_normal(n)
    return mean + deviation * (z - z.mean()) / z.std(ddof=1)


def verdict_of(*demanded: Comparison) -> str:
    evidence = Evidence(demanded, "")
    return evidence.verdict(evidence.p)


@pytest.mark.parametrize(
    ("mean", "deviation", "kind", "expected"),
    [
        (0.03, 0.01, "above", "holds"),  # an effect
        (0.0, 0.001, "above", "does not hold"),  # none: it is no support
        (-0.03, 0.01, "above", "does not hold"),  # the opposite
        (0.03, 0.2, "above", "undecided"),  # too noisy
        (0.006, 0.004, "above", "undecided"),  # more than the bound, but not surely
        (0.0, 0.001, "within", "holds"),  # equivalent
        (0.0, 0.02, "within", "undecided"),  # no difference shown is no equivalence
        (0.03, 0.01, "within", "does not hold"),
        (-0.03, 0.01, "within", "does not hold"),
    ],
)
def test_a_comparison_comes_out_every_way(
    mean: float, deviation: float, kind: Any, expected: str
) -> None:
    assert verdict_of(Comparison("x", drawn(mean, deviation), 0.005, kind)) == expected


def test_p_values_are_student_s() -> None:
    from scipy.stats import ttest_1samp

    values = drawn(0.01, 0.02, 7)
    above = Comparison("x", values, 0.005)
    assert above.holds == pytest.approx(ttest_1samp(values, 0.005, alternative="greater").pvalue)
    assert above.fails == pytest.approx(ttest_1samp(values, 0.005, alternative="less").pvalue)
    within = Comparison("x", values, 0.03, "within")
    low = ttest_1samp(values, -0.03, alternative="greater").pvalue
    high = ttest_1samp(values, 0.03, alternative="less").pvalue
    assert within.holds == pytest.approx(max(low, high))
    assert within.fails == pytest.approx(min(1, 2 * min(1 - low, 1 - high)))


def test_seeds_that_are_one_or_equal_or_never_get_there() -> None:
    assert statistics.exceeds(np.array([0.3]), 0.0) == 1.0  # one seed shows nothing
    assert verdict_of(Comparison("x", np.array([0.3]), 0.0)) == "undecided"
    assert statistics.exceeds(np.full(4, 0.3), 0.2) == 0.0
    assert statistics.exceeds(np.full(4, 0.3), 0.3) == 1.0
    never = np.array([1.0] * 9 + [-np.inf])
    assert statistics.exceeds(never, 0.0) == pytest.approx(11 / 1024)  # the sign test's


def test_holm_by_hand() -> None:
    """m·p₍₁₎, (m-1)·p₍₂₎, ..: none smaller than one before it, none above 1."""
    p = [0.01, 0.30, 0.005, 0.04, 0.012]
    assert statistics.holm(p) == pytest.approx([0.04, 0.30, 0.025, 0.08, 0.04])
    assert statistics.holm([0.6, 0.7]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_many_claims_are_judged_as_one_family() -> None:
    """What one test would decide at 5 %, twenty do not."""
    values = drawn(0.01, 0.005)  # p = 0.006 by itself, both directions counted

    def claim(identity: str) -> claims.Claim:
        def test(m: claims.Measured) -> Evidence:
            return Evidence([Comparison("x", values, 0.005)], "")

        return claims.Claim(identity, "", "", "", ("rate",), test)

    (alone,) = claims.judge([claim("a")], lambda variant: None)  # type: ignore[arg-type,return-value]
    assert alone.text == "holds"
    many = claims.judge([claim(str(i)) for i in range(20)], lambda variant: None)  # type: ignore[arg-type,return-value]
    assert {verdict.text for verdict in many} == {"undecided"}
    assert many[0].adjusted["specified"] == pytest.approx(20 * alone.adjusted["specified"])


def test_a_claim_needs_all_its_comparisons_and_fails_by_one() -> None:
    yes = Comparison("yes", drawn(0.03, 0.005), 0.005)
    no = Comparison("no", drawn(0.0, 0.001), 0.005, otherwise="there is nothing")
    open_ = Comparison("open", drawn(0.01, 0.1), 0.005)
    premise = Comparison("p", drawn(0.0, 0.001), 0.005, otherwise="no attack", premise=True)
    assert verdict_of(yes, yes) == "holds"
    assert verdict_of(yes, open_) == "undecided"
    assert verdict_of(yes, no) == verdict_of(open_, no) == "does not hold: there is nothing"
    assert verdict_of(yes, premise) == verdict_of(no, premise) == "not put to the test: no attack"
    plain = Comparison("plain", drawn(0.0, 0.001), 0.005)
    assert verdict_of(no, plain) == "does not hold"  # the reason is not the only one
    evidence = Evidence([yes, no], "")
    assert evidence.fails == pytest.approx(2 * no.fails)
    assert evidence.holds == no.holds


def test_a_premise_that_is_not_shown_decides_nothing() -> None:
    open_ = Comparison("open", drawn(0.01, 0.1), 0.005, premise=True)
    no = Comparison("no", drawn(0.0, 0.001), 0.005)
    assert verdict_of(open_, no) == "undecided"
    sure = Comparison("sure", np.full(10, -1.0), 0.005)  # p = 0
    failed = Comparison("p", drawn(-0.3, 0.001), 0.005, otherwise="no attack", premise=True)
    assert verdict_of(sure, failed) == "not put to the test: no attack"


def test_what_is_never_reached_is_reached_after_the_end() -> None:
    """Neither a late end nor two that never arrive show that something is slower."""
    soon, end = drawn(20.0, 1.0), np.full(10, 100.0)
    never, long = np.full(10, np.inf), np.full(10, 1000.0)
    late, later = drawn(95.0, 1.0), drawn(900.0, 9.0)
    for first, second, ends, said in (
        (soon, never, (end, end), "holds"),  # at least five times as long
        (never, soon, (end, end), "does not hold"),
        (late, never, (end, end), "undecided"),  # at 96, or at a million
        (never, never, (end, end), "undecided"),
        (never, later, (end, long), "undecided"),  # the first may arrive at 101
        (soon, later, (end, long), "holds"),
        (later, soon, (long, end), "does not hold"),
    ):
        assert verdict_of(comparisons.sooner("x", first, second, *ends)) == said


# Claims

LACKING = "fig15b"  # its data, CIFAR-10, are not at hand


def test_claims_are_about_figures_and_have_names_of_their_own() -> None:
    assert len({claim.id for claim in claims.CLAIMS}) == len(claims.CLAIMS)
    assert set(claims.CHEAP) <= {claim.id for claim in claims.CLAIMS}
    for claim in claims.CLAIMS:
        assert claim.variants, claim.id
        for name in claim.figures:
            figures.load(name)
    reference = json.loads(claims.reference_path().read_text(encoding="utf-8"))
    assert reference["seeds"] >= 10
    written = reference["claims"]
    assert list(written) == [claim.id for claim in claims.CLAIMS]
    words = ("holds", "does not hold", "undecided", "not put to the test")
    for claim in claims.CLAIMS:
        known = written[claim.id]
        assert known["verdict"].startswith(words)
        assert set(known) == {"verdict", *claim.variants}
    here = [figures.load(n) for n in figures.names() if n != LACKING]
    assert sum(map(len, reference["curves"].values())) == sum(map(agreement.curves, here)) == 150


HGO, CUT, WAITS = "HgO, C1, tau=32", "SGD, C1, tau=32", "SGD, C1, tau=inf"
PROFILES = ("Cweak", "C1", "C2", "Cpowerful")
OURS = {f"HgO, {c}": 0.8 for c in (*PROFILES, "standard")}
THEIRS = {f"SGD, {c}": 0.7 for c in (*PROFILES, "standard")}


def rising(labels: list[str]) -> dict[str, float]:
    return dict(zip(labels, np.linspace(0.1, 0.9, len(labels)).tolist(), strict=True))


# What supports each claim: levels, clocks, bytes and answers by label; else 0.95, 1, 1 and 80.
SUPPORT: dict[str, dict[str, dict[str, float]]] = {
    "hears-everybody": {"heard": dict.fromkeys(THEIRS, 30.0)},
    "beats-sgd": {"level": {**OURS, **THEIRS, "short3b: HgO, standard": 0.9}},
    "weak-network-reaches-the-top": {},
    "weak-network-reaches-the-top-network": {},
    "independent-of-hardware": {},
    "independent-of-hardware-network": {},
    "better-hardware-helps": {"level": rising([f"HgO, {c}" for c in PROFILES])},
    "sgd-depends-on-hardware": {"level": rising([f"SGD, {c}" for c in PROFILES])},
    "sgd-depends-on-hardware-network": {"level": rising([f"SGD, {c}" for c in PROFILES])},
    "gap-grows-with-the-model": {
        "level": {**OURS, **THEIRS, **{f"short4b: SGD, {c}": 0.3 for c in PROFILES}}
    },
    "better-in-every-profile": {"level": OURS | THEIRS},
    "ten-percent-powerful-suffice": {
        "level": {"HgO, Cweak": 0.5, "HgO, Cmin": 0.8, "HgO, Cpowerful": 0.8}
    },
    "ten-percent-average-suffice": {
        "level": {"HgO, Cweak": 0.5, "HgO, C1": 0.8, "HgO, Cpowerful": 0.8}
    },
    "faster-than-waiting": {"level": {HGO: 0.9, WAITS: 0.9}, "clock": {WAITS: 90.0}},
    "deadline-costs-sgd-accuracy": {"level": {CUT: 0.6, WAITS: 0.9}, "clock": {WAITS: 90.0}},
    "fast-and-accurate": {"level": {HGO: 0.9, CUT: 0.6, WAITS: 0.9}, "clock": {WAITS: 90.0}},
    "outperforms-in-accuracy-and-runtime": {
        "level": {HGO: 0.9, CUT: 0.6, WAITS: 0.8}, "clock": {CUT: 2.0, WAITS: 90.0},
    },
    "worst-case-time-beats-sgd": {
        "level": {HGO: 0.95, CUT: 0.95, WAITS: 0.95}, "clock": {CUT: 2.0, WAITS: 90.0},
    },
    "average-breaks": {
        "level": {"HgO, ar = average": 0.1, "HgO, ar = average, f = 10, no attack": 0.9}
    },
    "robust-rules-survive": {
        "level": {"HgO, ar = average": 0.1, "HgO, ar = median": 0.9, "HgO, ar = aksel": 0.9}
    },
    "krum-between": {"level": rising([f"HgO, ar = {r}" for r in ("average", "krum", "median")])},
    "foe-worse-than-lie": {
        "level": {"HgO, f = 10, no attack": 0.9, "HgO, f = 10, LIE": 0.8, "HgO, f = 10, FOE": 0.5}
    },
    "accuracy-falls-with-f": {
        "level": {
            **rising([f"HgO, f = {f}, C1" for f in (30, 20, 10, 5, 0)]),
            **{f"HgO, f = {f}, C1, no attack": 0.9 for f in (5, 10, 20, 30)},
        }
    },
    "less-communication": {"sent": {WAITS: 2.0}},
    "less-communication-than-variants": {"sent": {CUT: 2.0}},
    "trade-off-1": {"level": rising([f"q = {q}" for q in (10, 20, 40, 80)])},
    "trade-off-2-minibatch": {"level": rising([f"s = {s}, equal blocks" for s in (8, 32, 128)])},
    "trade-off-2-block": {"level": rising(["s = 8, equal blocks", "s = 8, larger blocks"])},
    "trade-off-2-minibatch-before-block": {
        "level": rising(["s = 8, larger blocks", "s = 128, smaller blocks"])
    },
    "trade-off-2-exclusion": {"level": rising(["full gradients only", "s = 32, equal blocks"])},
    "trade-off-3": {"level": {"weak, nobody of 30": 0.9, "weak, f = 30": 0.3,
                              "powerful, nobody of 30": 0.9, "powerful, f = 30": 0.6}},
    "trade-off-3-minibatch": {
        "level": {"powerful, nobody of 30, s = 8": 0.9, "powerful, f = 30, s = 8": 0.3,
                  "powerful, nobody of 30, s = 128": 0.9, "powerful, f = 30, s = 128": 0.8}
    },
    "workers-come-and-go": {
        "heard": {"there in 4 of 5 rounds": 60.0, "there in 1 of 2 rounds": 40.0,
                  "away for 20 rounds at a time": 40.0}
    },
    "dynamic-rate": {"level": {"Cweak, constant": 0.7, "Cweak, dynamic": 0.8,
                               "Cweak, constant, as large on average": 0.7}},
}  # fmt: skip
ALIKE = [identity for identity, of in SUPPORT.items() if not of]  # claims that nothing differs
TIMED = ["faster-than-waiting", "worst-case-time-beats-sgd"]  # when levels are reached: all are


def judged(
    identity: str, of: dict[str, dict[str, float]], noise: float = 0.001, seeds: int = 10
) -> str:
    """Judge a claim by itself on flat curves with noise from seed to seed."""
    claim = next(claim for claim in claims.CLAIMS if claim.id == identity)

    def value(kind: str, name: str, label: str, otherwise: float) -> float:
        known = of.get(kind, {})
        return known.get(f"{name}: {label}", known.get(label, otherwise))

    def measured(name: str, label: str) -> Series:
        rng = np.random.default_rng(zlib.crc32(f"{name}: {label}".encode()))
        random = noise * rng.standard_normal((seeds, 3))
        level = value("level", name, label, 0.95) + random[:, 0]
        one = series(np.tile(level[:, None], 20), value("heard", name, label, 80.0))
        heard = one.heard + 80.0 * random[:, 1]
        factor = np.exp(20.0 * random)
        time = one.time * factor[:, 1:2] * value("clock", name, label, 1.0)
        sent = {
            k: v * factor[:, 2] * value("sent", name, label, 1.0) for k, v in one.totals.items()
        }
        return Series(one.scenarios, one.updates, time, one.values, heard, one.answers, sent)

    (verdict,) = claims.judge([claim], lambda variant: measured)
    assert all(evidence.text for evidence in verdict.evidence.values())
    return verdict.text


def test_support_is_known_of_every_claim() -> None:
    assert list(SUPPORT) == [claim.id for claim in claims.CLAIMS]
    assert len(ALIKE) == 4


@pytest.mark.parametrize("identity", SUPPORT)
def test_a_claim_holds_where_the_effect_is_there(identity: str) -> None:
    assert judged(identity, SUPPORT[identity]) == "holds"


@pytest.mark.parametrize("identity", [name for name in SUPPORT if name not in ALIKE])
def test_no_effect_is_no_support(identity: str) -> None:
    """All curves alike, in all that is measured: nothing to claim a difference from."""
    assert judged(identity, {}).startswith(("does not hold", "not put to the test"))


@pytest.mark.parametrize("identity", SUPPORT)
def test_the_opposite_is_no_support(identity: str) -> None:
    if identity in ALIKE:
        far: dict[str, dict[str, float]] = {"level": {"HgO, Cweak": 0.3}}
    else:
        turned = {"level": lambda x: 1 - x, "heard": lambda x: 110 - x}
        far = {
            kind: {label: turned.get(kind, lambda x: 1 / x)(x) for label, x in values.items()}
            for kind, values in SUPPORT[identity].items()
        }
        if identity in TIMED:
            far["level"] = SUPPORT[identity]["level"]
        if "heard" in far:
            far["heard"] |= dict.fromkeys(["always there", *OURS], 30.0)
    assert judged(identity, far).startswith(("does not hold", "not put to the test"))


@pytest.mark.parametrize("identity", ALIKE)
def test_networks_that_learn_nothing_are_not_alike(identity: str) -> None:
    chance = {"level": {f"HgO, {profile}": 0.1 for profile in PROFILES}}
    assert judged(identity, chance) == "not put to the test: Cpowerful does not learn"


@pytest.mark.parametrize("identity", SUPPORT)
def test_seeds_that_scatter_decide_nothing(identity: str) -> None:
    assert judged(identity, SUPPORT[identity], noise=1.5) == "undecided"
    assert judged(identity, SUPPORT[identity], seeds=1) == "undecided"


def test_what_only_seems_to_support_a_claim_is_named() -> None:
    """A rate that does what a larger one does; an attack that is none; a network that is strong."""
    rate = {"Cweak, constant": 0.727, "Cweak, dynamic": 0.798,
            "Cweak, constant, as large on average": 0.798}  # fmt: skip
    assert judged("dynamic-rate", {"level": rate}) == (
        "does not hold: the gain is the larger mean rate"
    )
    attack = {"HgO, No Attack": 0.881, "HgO, f = 10, no attack": 0.848, "HgO, f = 10, LIE": 0.848,
              "HgO, f = 10, FOE": 0.815}  # fmt: skip
    assert judged("foe-worse-than-lie", {"level": attack}) == (
        "not put to the test: LIE costs nothing at the same quorum"
    )
    strong = {"HgO, Cweak": 0.9, "HgO, C1": 0.9, "HgO, Cpowerful": 0.9}
    assert judged("ten-percent-average-suffice", {"level": strong}) == (
        "not put to the test: the weak network alone does as well"
    )
    slow = {"level": {HGO: 0.9, CUT: 0.6, WAITS: 0.9}, "clock": {WAITS: 90.0, CUT: 2.0}}
    assert judged("outperforms-in-accuracy-and-runtime", slow) == (
        "does not hold: SGD without a deadline ends as high"
    )


def test_a_few_seeds_are_held_against_those_of_the_reference() -> None:
    known = {"gain": [0.03, 0.01, 10]}
    low, high = comparisons.spread(0.03, 0.01, 10, 1)
    assert high - 0.03 == pytest.approx(4.781 * 0.01 * math.sqrt(1.1), rel=1e-3)  # t, 9 degrees
    assert claims.surprises({"gain": np.array([high])}, known, 10) == []
    for far in (low - 0.004, high + 0.004):
        assert len(claims.surprises({"gain": np.array([far])}, known, 10)) == 1
    three = drawn(high, 0.0, 3)
    assert len(claims.surprises({"gain": three}, known, 10)) == 1  # the mean of three is nearer
    assert claims.surprises({"loss": np.array([100.2])}, {"loss": [100.0, 0.0, 10]}, 10) == []
    never = {"gain": np.array([-np.inf])}
    assert len(claims.surprises(never, known, 10)) == 1  # all ten got there
    assert claims.surprises(never, known, 11) == []  # one did not


def test_a_reference_is_of_ten_seeds_or_more() -> None:
    refused = hgobench("reproduce", "all", "--seeds", "9", "--update-reference")
    assert refused.returncode == 2
    assert "all with 9 seeds; expected all with 10 or more" in " ".join(refused.stderr.split())


def test_last_values_are_compared_at_the_same_time() -> None:
    """On a clock that counts evaluated rounds alone only the published variant has that time."""
    figure = figures.load("fig8b")
    curve = figure.curves[2]
    points = figure.points(curve)
    assert points is not None
    updates = np.arange(50, 2051, 50)
    values: Any = np.array([np.linspace(0.0, 1.0, 41)])
    for variant, clock in (("published", 44.35 / 40), ("specified", 50.0)):
        cells = [figure.cell(curve, variant, 0)]  # type: ignore[arg-type]
        time: Any = np.arange(41)[None] * clock
        made = Series(cells, updates, time, values, np.ones(1), np.ones((1, 41)), {})
        paper, each = runs.final_pair(figure, curve, variant, made)  # type: ignore[arg-type]
        assert paper == points[-1, 1]
        assert each == pytest.approx([1.0], abs=0.01)


def test_a_verdict_says_in_which_accounting_a_claim_holds() -> None:
    made = {
        "holds": Comparison("x", drawn(0.03, 0.005), 0.005),
        "does not hold": Comparison("x", drawn(-0.03, 0.005), 0.005),
        "undecided": Comparison("x", drawn(0.006, 0.1), 0.005),
        "does not hold: why": Comparison("x", drawn(-0.03, 0.005), 0.005, otherwise="why"),
    }
    for published, specified, text in (
        ("holds", "holds", "holds"),
        ("holds", "does not hold", "holds only as published"),
        ("does not hold", "holds", "holds only as specified"),
        ("does not hold", "does not hold", "does not hold"),
        ("undecided", "undecided", "undecided"),
        ("holds", "undecided", "holds as published, undecided as specified"),
        ("does not hold: why", "holds", "does not hold as published: why, holds as specified"),
        ("does not hold: why", "does not hold: why", "does not hold: why"),
    ):
        evidence = {"published": Evidence([made[published]], ""),
                    "specified": Evidence([made[specified]], "")}  # fmt: skip
        adjusted = {variant: each.p for variant, each in evidence.items()}
        assert claims.Verdict(claims.CLAIMS[0], evidence, adjusted).text == text  # type: ignore[arg-type]


def test_agreement_is_of_every_published_curve() -> None:
    """Curves that are as published meet it; nothing with a published value is left out."""

    def measured(name: str, label: str) -> Series:
        figure = figures.load(name)
        curve = next(curve for curve in figure.curves if curve.label == label)
        points = figure.points(curve)
        assert points is not None
        values = points[-1, 1] * (1 + np.array([[0.001], [0.0], [-0.001]]) * np.ones(2001))
        return series(values)

    every = [figures.load(name) for name in figures.names()]
    found = agreement.agreements(measured, every)
    known = figures.published()
    assert len(found) == sum(map(len, known.values())) == 158
    assert {(a.figure, a.curve) for a in found} == {
        (f.name, label) for f in every for label in known.get(f.published, ())
    }
    assert all(a.met for a in found)
    assert sum(agreement.curves(figure) for figure in every) == 158
    tolerances = {a.figure: a.tolerance for a in found}
    assert tolerances["fig4a"] == tolerances["fig14a"] == 0.02
    loss = next(a for a in found if (a.figure, a.curve) == ("fig12a", "SGD, Cpowerful"))
    assert loss.tolerance == pytest.approx(0.05 * loss.paper)  # of a loss it is relative
    assert {(a.figure, a.curve) for a in found if not math.isnan(a.code)} == set(agreement.CODE)


@pytest.mark.parametrize(
    ("mean", "deviation", "code", "text"),
    [
        (0.505, 0.01, math.nan, "yes"),
        (0.515, 0.03, math.nan, "within the seeds' spread"),  # near, but not surely
        (0.56, 0.05, math.nan, "within the seeds' spread"),
        (0.56, 0.01, math.nan, "no"),
        (0.56, 0.01, 0.555, "no; as the code"),
        (0.56, 0.01, 0.6, "no"),
    ],
)
def test_a_published_value_is_met_or_within_the_spread_or_not(
    mean: float, deviation: float, code: float, text: str
) -> None:
    made = agreement.Agreement("f", "c", 0.5, drawn(mean, deviation), 0.02, code)
    assert made.text == text
    one = agreement.Agreement("f", "c", 0.5, np.array([0.5]), 0.02)
    assert one.text == "no"  # one seed shows nothing


# Pages


class Reader(html.parser.HTMLParser):
    """Takes a page apart: which addresses it needs, and whether its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.needs: list[str] = []
        self.data = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "path", "use", "rect"):
            self.open.append(tag)
        for name, value in attrs:
            value = value or ""
            if name in ("src", "href", "xlink:href") and not value.startswith("#"):
                if value.startswith("data:text/csv;base64,"):
                    self.data = base64.b64decode(value.partition(",")[2]).decode()
                else:
                    self.needs.append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "path", "use", "rect"):
            assert self.open.pop() == tag


@pytest.mark.long
def test_reproduce_leaves_pages_and_goes_on(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out"
    done = hgobench("reproduce", "fig11a", "fig14b", "--seeds", "2", "--jobs", "1",
                    "--out", str(out), "--document", str(tmp_path / "paper.md"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"HgO, C1 +11\.32 +\d+\.\d\d \(", done.stdout)
    assert "32 cells computed, 0 reused" in done.stderr
    page = (out / "pages" / "fig14b.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.needs == []  # self-contained
    assert reader.data == (out / "pages" / "fig14b.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(reader.data)))
    paper = [row for row in rows if row["variant"] == "paper" and row["curve"] == "HgO, C1"]
    assert (float(paper[-1]["updates"]), float(paper[-1]["mean"])) == (151, 0.9742)
    ours = [row for row in rows if row["variant"] == "as published" and row["curve"] == "HgO, C1"]
    assert len(ours) == 150
    assert float(ours[-1]["low"]) <= float(ours[-1]["mean"]) <= float(ours[-1]["high"])
    assert 'href="fig14b.html"' in (out / "pages" / "index.html").read_text(encoding="utf-8")
    written = (tmp_path / "paper.md").read_text(encoding="utf-8")
    assert "![fig11a](paper/fig11a.png)" in written
    assert (tmp_path / "paper" / "fig11a.png").stat().st_size > 10_000
    for part in ("`Softmax`", "`Krum`", "`Devices`", "`OracleQuorum`"):
        assert f"- {part}: " in written
    again = hgobench("reproduce", "fig11a", "--seeds", "2", "--jobs", "1", "--out", str(out))
    assert "0 cells computed, 8 reused" in again.stderr
    assert again.stdout.splitlines()[:6] == done.stdout.splitlines()[:6]


def test_the_list_says_what_each_figure_needs() -> None:
    done = hgobench("reproduce", "list")
    lines = done.stdout.splitlines()
    for name in figures.names():
        assert any(line.startswith(f"{name} ") for line in lines)
    (line,) = [line for line in lines if line.startswith("fig15b ")]
    assert "cifar10" in line


def test_figures_without_their_data_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hgobench.data import datasets, files

    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path)
    datasets._load.cache_clear()
    found = runs.lacking([figures.load(name) for name in ("fig15b", "fig11a", "fig12b")])
    datasets._load.cache_clear()
    assert sorted(name for listed in found.values() for name in listed) == ["fig11a", "fig15b"]
    refused = hgobench("reproduce", "fig15b", "--out", str(tmp_path / "out"))
    assert refused.returncode == 2
    assert "it is not downloaded" in refused.stderr


def test_the_document_is_of_today_s_claims_and_figures() -> None:
    text = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    for claim in claims.CLAIMS:
        assert f"`{claim.id}`" in text
        assert writers.markdown(claim.sentence) in text
    missing = [n for n in figures.names() if n != LACKING and f"### {n}\n" not in text]
    assert not missing
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (ROOT / "docs" / picture).exists(), picture
    written = json.loads(claims.reference_path().read_text(encoding="utf-8"))
    for identity, known in written["claims"].items():
        assert f"**`{identity}`: {known['verdict']}.**" in text
    landing = text[text.index("## Does the published variant") : text.index("## The small data")]
    rows = re.findall(r"^\| (?:SGD|HgO),", landing, flags=re.MULTILINE)
    here = [figures.load(n) for n in figures.names() if n != LACKING]
    assert len(rows) == sum(map(agreement.curves, here)) == 150
    assert re.search(r"\*\*\d+ of 150 published curves are met\*\*", landing)
    assert "8 curves of fig15b, whose data are not here" in " ".join(landing.split())
    for words in ("Democratizing Machine Learning", "2311.14127", "sampling_risk", "Holm"):
        assert words in text
    assert document._quirks() in text


MEASURE = """<script>
fetch(document.querySelector("a[download]").href).then(r => r.text()).then(text => {
  const drawn = document.querySelector("svg").getBoundingClientRect();
  document.title = JSON.stringify({
    lines: text.trim().split("\\n").length, header: text.split("\\n")[0],
    file: document.querySelector("a[download]").download,
    size: [drawn.width, drawn.height], rows: document.querySelectorAll("tbody tr").length,
    overflows: document.documentElement.scrollWidth > window.innerWidth,
  });
});
</script>"""
HINTS = """<script>
setInterval(() => {  // until the browser has drawn it
  document.title = JSON.stringify({
    tables: [...document.querySelectorAll(".wide")].map(wide => {
      const scroll = wide.querySelector(".scroll");
      const said = wide.querySelector(".hint").getBoundingClientRect().height > 0;
      return [scroll.scrollWidth > scroll.clientWidth, said];
    }),
    back: getComputedStyle(document.body).backgroundColor,
    strokes: [...document.querySelectorAll("svg path")].map(p => getComputedStyle(p).stroke),
    overflows: document.documentElement.scrollWidth > window.innerWidth,
  });
}, 200);
</script>"""


def seen_by_a_browser(page: Path, script: str, *options: str) -> dict[str, Any]:
    """Return what a script finds in a page, which it writes into the title."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here")
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{script}</body>"))
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=800,900",
                 "--run-all-compositor-stages-before-draw", *options]  # fmt: skip
    dumped = subprocess.run(
        [browser, *arguments, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    found = re.search(r"<title>(\{.*?\})</title>", dumped)
    assert found, dumped[:500]
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    return seen


@pytest.mark.long
@pytest.mark.parametrize(
    ("mode", "back", "line"),
    [(1, "rgb(255, 255, 255)", "rgb(0, 114, 178)"), (0, "rgb(22, 24, 27)", "rgb(90, 169, 230)")],
)
def test_a_browser_is_told_which_tables_scroll_in_both_modes(
    tmp_path: Path, mode: int, back: str, line: str
) -> None:
    wide = Table("", "Wide", [f"column {i}" for i in range(20)], [["some text"] * 20])
    narrow = Table("", "Narrow", ["a"], [["b"]])
    chart = Chart("c", "A chart", "x", "y", [Line("one", [0, 1], [0, 1])])
    page = files.write(tmp_path, Page("p", "A page", [wide, narrow, chart]))
    for _ in range(3):  # a busy machine may be asked before it has drawn the hint
        seen = seen_by_a_browser(page, HINTS, f"--blink-settings=preferredColorScheme={mode}")
        if seen["tables"][0][1]:
            break
    assert seen["tables"] == [[True, True], [False, False]]
    assert not seen["overflows"], "the table scrolls, and not the page"
    assert seen["back"] == back
    assert line in seen["strokes"]


@pytest.mark.long
def test_a_page_in_a_browser(tmp_path: Path, images: Path) -> None:
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no chromium here")
    out = tmp_path / "out"
    hgobench("reproduce", "fig11a", "--seeds", "1", "--jobs", "1", "--out", str(out))
    seen = seen_by_a_browser(out / "pages" / "fig11a.html", MEASURE)
    assert seen["file"] == "fig11a.csv"
    assert seen["header"] == ",".join(pages.COLUMNS)
    assert seen["lines"] == 1 + 2 * 2 * 150 + 2 * 31
    assert seen["size"][0] > 600
    assert seen["size"][1] > 200
    assert seen["rows"] == 2 + 2, "last values, and agreement with the published ones"
    assert not seen["overflows"]
