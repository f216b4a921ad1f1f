"""The audits: that they find what is there, that they can fail, that they go on, their pages."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, audits, models, theory, timing
from hgobench.audits import bounds, breakdown, constants, cost, document, robustness
from hgobench.audits.base import Options, Work
from hgobench.engines.measured import Task, measure
from hgobench.engines.progress import Advance
from hgobench.errors import InputError
from hgobench.report import files
from hgobench.report.html import html
from hgobench.report.page import Block, Chart, Finding, Findings, Line, Table, Text, study
from hgobench.report.render import chart_csv, terminal
from hgobench.results import Result, open_store
from hgobench.results.result import COLUMNS
from hgobench.session import Session
from hgobench.simulation import Step
from tests.test_cli import hgobench


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    with open_store(tmp_path / "work") as store:
        yield Work(Session(store, jobs=1))


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


# Measurements that are kept

CALLS: list[int] = []


def double(number: int) -> dict[str, Any]:
    CALLS.append(number)
    if number == 13:
        raise KeyboardInterrupt
    return {"twice": 2 * number, "nothing": math.inf}


def test_a_measurement_is_made_once(tmp_path: Path) -> None:
    CALLS.clear()
    tasks = [Task(double, {"number": number}) for number in (3, 1, 3)]
    finished: list[Advance] = []
    with open_store(tmp_path) as store:
        found = measure(tasks, store, on_progress=finished.append)
        assert [each["twice"] for each in found] == [6, 2, 6]
        assert math.isinf(found[0]["nothing"])
        assert measure(tasks[:1], store) == found[:1]
    assert CALLS == [3, 1]
    with open_store(tmp_path) as store:
        assert measure(tasks, store) == found
        with pytest.raises(KeyboardInterrupt):
            measure([Task(double, {"number": n}) for n in (5, 13, 7)], store)
        keys = [Task(double, {"number": n}).key() for n in (3, 1, 5, 13, 7)]
        assert set(store.measurements(keys)) == set(keys[:3]), "what was finished is kept"
        assert not list(store.results())
    assert CALLS == [3, 1, 5, 13]


def test_a_measurement_of_newer_code_replaces_the_older(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.keep("old", "double 3", 1.0)
        store.keep("other", "double 4", 2.0)
        store.keep("new", "double 3", 3.0)
        assert store.measurements(["old", "new", "other", "none"]) == {"new": 3.0, "other": 2.0}
    with open_store(tmp_path, create=False) as store:
        assert store.measurements(["new"]) == {"new": 3.0}
        assert list(store.results()) == []


def test_what_a_measurement_names_is_in_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_rule.py").write_text("class Mine:\n    def __call__(self, v): return v[0]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    named = [{"rule": "mine_rule:Mine", "q": 3}]
    key = Task(double, {"number": 1}, named).key()
    assert key == Task(double, {"number": 1}, named).key()
    assert key != Task(double, {"number": 1}).key()
    assert key != Task(double, {"number": 2}, named).key()
    (tmp_path / "mine_rule.py").write_text("class Mine:\n    def __call__(self, v): return v[1]\n")
    assert key != Task(double, {"number": 1}, named).key()


# Bounds


def traced(tasks: list[Task]) -> list[list[bounds.Sides]]:
    """Return what tasks of the bounds measure, as it comes out of a store."""
    found = [json.loads(json.dumps(task.measure(**task.arguments))) for task in tasks]
    return [[bounds.Sides(**sides) for sides in run] for run in found]


FEW: dict[str, Any] = {**bounds.BASE, "rounds": 30, "evaluation_interval": 30}
ATTACKS = ("none", "foe", "alie", "tail+foe")


@pytest.mark.parametrize("step", list(bounds.STEPS))
@pytest.mark.parametrize("problem", list(bounds.PROBLEMS))
def test_the_bounds_hold(problem: str, step: str, work: Work) -> None:
    """At every k, of Theorem 1, Theorem 2 and Lemma 1; twenty seeds and all attacks:
    ``hgobench audit bounds``."""
    fields = {**FEW, **bounds.PROBLEMS[problem], "rule": "trimmed_mean"}
    tasks = bounds.tasks(fields, ATTACKS, step, range(4), work)
    runs = traced(tasks)
    for number, attack in enumerate(ATTACKS):
        for name, bound in bounds.compared(runs, number).items():
            assert not len(bound.violated), f"{name} under {attack}"
            assert bound.promises
            if name.startswith("Theorem"):
                assert 0 < bound.closest < 1
    assert tasks[0].arguments["deltas"] == {
        "published": pytest.approx(2 * 12 * 15 / 81),
        "corrected": 12 / 9,
    }


@pytest.mark.long
def test_theorem_1_as_published_fails_where_only_outsiders_are_fast(work: Work) -> None:
    """A_w averages over all correct workers, those that never answer among them."""
    fields = {**bounds.BASE, **bounds.OUTSIDERS, "rounds": 340, "evaluation_interval": 340}
    tasks = bounds.tasks(fields, ("none",), "block", range(6), work)
    runs = traced(tasks)
    assert runs[0][0].allowed
    found = bounds.compared(runs, 0)
    assert found["Theorem 1, published"].closest > 1.2
    assert len(found["Theorem 1, published"].violated) > 20
    assert len(found["Lemma 1, published"].violated) > 50
    assert not len(found["Theorem 1, corrected"].violated)
    assert not len(found["Lemma 1, corrected"].violated)
    assert 0.5 < found["Theorem 1, corrected"].closest < 1, "and is nearly reached"


def test_theorem_1_as_published_fails_on_two_of_twenty_numbers(work: Work) -> None:
    """Nine times, as the closed form says at every k; corrected it is reached exactly."""
    fields = {**bounds.BASE, **bounds.POINTS}
    tasks = bounds.tasks(fields, ("none",), "block", range(3), work)
    assert tasks[0].arguments["deltas"] == {"published": 1.0, "corrected": 1.0}
    runs = traced(tasks)
    found = bounds.compared(runs, 0)
    assert found["Theorem 1, published"].closest == pytest.approx(9, rel=1e-4)
    assert found["Theorem 1, published"].violated[0] == 2
    assert found["Theorem 1, corrected"].closest == pytest.approx(1, rel=1e-4)
    assert not len(found["Theorem 1, corrected"].violated)
    example, k = theory.FastFew(), np.arange(20)
    cell = Scenario(**{**fields, "learning_rate": 0.3})
    start = float(theory.Objective(cell).initial()[0])
    (run,) = bounds.trace([cell.to_dict()], "given", tasks[0].arguments["deltas"])
    assert run.excess == pytest.approx(example.run(k, start, 0.3), abs=1e-6)
    for variant in bounds.VARIANTS:
        expected = example.bound(k, start, 0.3, corrected=variant == "corrected")
        assert run.theorem_1[variant] == pytest.approx(expected, abs=1e-6)


def test_what_a_rule_is_on_vectors_decides_its_verdict() -> None:
    kinds = {"median": "coordinate", "krum": "both", "bulyan": "vector", "nnm+median": "both"}
    assert {rule: robustness.defined_on(rule) for rule in kinds} == kinds
    krum = robustness.largest("krum", 20, 2, 0, 8)
    kept = json.loads(json.dumps(robustness.as_json(rule="krum", q=20, f=2, seed=0, dimension=8)))
    assert robustness.Largest(**kept) == krum
    assert robustness.verdict("both", 2.25, [krum]).text == "none"
    assert "honest vectors right, attackers wrong by 1" in (
        robustness.verdict("both", 2.25, [krum]).witness
    )
    assert robustness.verdict("coordinate", 2.0, []).text == "bounded"
    assert robustness.verdict("coordinate", math.inf, []).text == "none"
    calm = robustness.Largest(2.5)
    assert robustness.verdict("vector", 2.0, [calm]).text == "not refuted (2.5)"
    assert robustness.verdict("vector", math.inf, [calm]).text == "none"
    assert robustness.verdict("both", None, [calm]).text == "-"


def test_the_coefficient_of_a_bound_is_that_of_what_the_rule_is_applied_to(work: Work) -> None:
    """Krum has one coordinate by coordinate, and none on vectors, whoever sent what."""
    fields: dict[str, Any] = {
        "workers": 12,
        "byzantine": 2,
        "quorum": 12,
        "rounds": 1,
        "rule": "krum",
    }
    single = bounds.coefficients(Scenario(**fields, scope="coordinate"), work)
    assert 1 < single["corrected"] < 10
    for scope in ("block", "staircase", "masked"):
        found = bounds.coefficients(Scenario(**fields, scope=scope), work)
        assert found["corrected"] == math.inf


class Hand:
    """A problem with numbers to work out by hand: d = 4, two workers, Hessian 2·I, w* = 0."""

    dimension = 4
    factor = np.array([2.0, 4.0])
    curvature = theory.curvature(
        models.registry.build("quadratic[condition=1.0]", features=4, classes=2),
        np.zeros((2, 4)), np.zeros(2),
    )  # fmt: skip

    def excess(self, params: torch.Tensor) -> float:
        return float(params[0])

    def moments(self, params: torch.Tensor) -> theory.Moments:
        noise = float(params[1])
        gradient = np.full(4, 2.0)
        mean = np.stack((gradient + float(params[2]), gradient))
        return theory.Moments(mean, np.array([[noise] * 4, [0.0] * 4]), gradient)


def test_sides_worked_out_by_hand() -> None:
    """Three rounds, of which the second has the most noise and the smallest block."""
    cell = Scenario(workers=10, quorum=5, tolerated=2, byzantine=2, rounds=4, learning_rate=0.1)
    deltas = {"published": 3.0, "corrected": 2.0}
    seen = bounds.Trace(cell, Hand(), deltas)  # type: ignore[arg-type]
    for k, (excess, noise, bias, block) in enumerate(
        [(9.0, 1.0, 1.0, 4), (8.0, 3.0, 2.0, 1), (7.0, 2.0, 0.0, 2)], start=1
    ):
        at = torch.tensor([excess, noise, bias, 0.0])
        held = None if block == 4 else torch.arange(block)
        seen.add(Step(cell, k, at, held, torch.full((block,), 0.5)))
    sides = seen.sides()
    assert sides.excess == [9.0, 8.0, 7.0, math.inf], "it diverged in round 4"
    assert sides.gradient == [16.0, 16.0, 16.0, math.inf]
    assert sides.allowed
    # Q_w = 0 gives 4·M_w·mean(1/2, 1/4) + mean(4·δ², 0), or of the worst three of two workers both;
    # with Q_w > 0 the noise is less by Q_w·4, which pays off.
    for name, delta in deltas.items():
        unit = 2.0 * 0.375
        best = min(
            bounds.SHARES,
            key=lambda share: (
                (4 * max(1 - 4 * share / (delta * unit), 0) * 0.375 + 2) / (1 - share)
            ),
        )
        growth = best / (delta * unit)
        errors = [
            4 * max(m - 4 * growth, 0) * 0.375 + 2 * b**2 for m, b in ((1, 1), (3, 2), (2, 0))
        ]
        known: dict[str, Any] = {
            "dimension": 4,
            "learning_rate": 0.1,
            "delta": delta,
            "growth": growth * unit,
        }
        for k, (block, error) in enumerate([(4, errors[0]), (1, errors[1]), (1, errors[1])]):
            first = theory.theorem_1(
                k, 9.0, block=block, error=error, strong_convexity=1.0, **known
            )
            second = theory.theorem_2(k + 1, 9.0, block=block, error=error, **known)
            assert sides.theorem_1[name][k] == pytest.approx(float(first), rel=1e-6)
            assert sides.theorem_2[name][k] == pytest.approx(float(second), rel=1e-6)
        # ⟨AG, ∇L⟩ = 1 per coordinate of the block, ‖∇L‖²_B = 4 per coordinate.
        for k, block in enumerate((4, 1, 2)):
            promised = max(
                ((1 - share) * 4 * block
                 - delta * (4 * max((1, 3, 2)[k] - 4 * share / (delta * unit), 0) * 0.375
                            + 2 * (1, 2, 0)[k] ** 2)) / 2
                for share in bounds.SHARES
            )  # fmt: skip
            assert sides.lemma[name][k] == pytest.approx(block - promised, rel=1e-6)


def test_a_run_that_ends_at_once_promises_nothing() -> None:
    cell = Scenario(workers=10, quorum=5, tolerated=2, byzantine=2, rounds=4, learning_rate=0.1)
    sides = bounds.Trace(cell, Hand(), {"published": math.inf, "corrected": math.inf}).sides()  # type: ignore[arg-type]
    found = bounds.compared([[sides], [sides]], 0)
    assert not any(one.promises for one in found.values())
    assert not any(len(one.violated) for one in found.values())


def test_a_violation_is_one_beyond_chance() -> None:
    rng = np.random.default_rng(0)
    right = np.ones((20, 6))
    noise = 0.1 * rng.standard_normal((20, 6))
    assert not len(bounds.Comparison(right + noise - noise.mean(axis=0), right).violated)
    above = noise - noise.mean(axis=0)
    above[:, 4] += 0.2
    assert bounds.Comparison(right + above, right).violated.tolist() == [5]
    alone = bounds.Comparison(right[:1] + 0.3, right[:1])
    assert not alone.decided
    assert not len(alone.violated)
    endless = np.full((20, 6), np.inf)
    nothing = bounds.Comparison(right, endless)
    assert not len(nothing.violated)
    assert not nothing.promises


def test_two_percent_of_the_bounds_that_hold_are_not_violated() -> None:
    """Where both sides are equal on average, chance alone decides."""
    rng = np.random.default_rng(1)
    violated = sum(
        len(bounds.Comparison(rng.standard_normal((20, 50)), np.zeros((20, 50))).violated) > 0
        for _ in range(300)
    )
    assert violated <= 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("byzantine=6", "quorum=7"), "byzantine: 6; the bounds are for at most tolerated=3"),
        (("algorithm=sgd",), "--set: algorithm: the audit chooses it"),
    ],
)
def test_what_the_bounds_are_not_for_is_refused(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    settings = [word for one in arguments for word in ("--set", one)]
    found = hgobench("audit", "bounds", *settings, "--seeds", "2", "--out", str(tmp_path))
    assert found.returncode == 2
    assert message in found.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--set", "learning_rate=0.6"], "the learning rate is larger than the theorems allow"),
        (["--rule", "average"], "that tells nothing"),
        (["--seeds", "1"], "one seed can't tell"),
    ],
)
def test_what_shows_nothing_is_undecided(extra: list[str], said: str, tmp_path: Path) -> None:
    seeds = [] if "--seeds" in extra else ["--seeds", "3"]
    found = hgobench(
        "audit", "bounds", "--set", "model=quadratic[condition=4.0]", "--set", "rounds=30",
        *seeds, *extra, "--attack", "foe", "--jobs", "1", "--out", str(tmp_path), "--quiet",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert said in " ".join(found.stdout.split())
    assert " undecided " in found.stdout
    assert not re.search(r"at every k +no ", found.stdout)


def test_constants_of_a_problem_of_ones_own(tmp_path: Path) -> None:
    found = hgobench(
        "audit", "constants", "--set", "model=quadratic[condition=4.0]", "--set", "byzantine=0",
        "--set", "rounds=5", "--seeds", "2", "--jobs", "1", "--out", str(tmp_path), "--quiet",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    (curved,) = table(tmp_path / "pages" / "constants-curvature.csv")
    assert float(curved["μ"]) == pytest.approx(1.0)
    assert float(curved["L"]) == pytest.approx(4.0)
    (noise,) = table(tmp_path / "pages" / "constants-noise.csv")
    calm = {**constants.BASE, "byzantine": 0, "attack": "none", "model": "quadratic[condition=4.0]"}
    both = [theory.Objective(Scenario(**calm, seed=seed)) for seed in (0, 1)]
    at = [one.moments(one.initial()) for one in both]  # the same at every w
    for column, value in (
        ("M_w", [m.variance_bound() for m in at]),
        ("A_w", [m.statistical_error(p.factor) for m, p in zip(at, both, strict=True)]),
        ("largest δ_ij", [float(m.bias.max()) for m in at]),
    ):
        assert float(noise[column]) == pytest.approx(np.mean(value), rel=1e-3)


@pytest.mark.long
def test_coefficients_of_rules_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the median does not fall with q; a rule that can't be asked is refused."""
    monkeypatch.setenv("COLUMNS", "300")
    found = hgobench("audit", "robustness", "--rule", "median,trimmed_mean", "--jobs", "1",
                     "--out", str(tmp_path), "--quiet")  # fmt: skip
    assert found.returncode == 0, found.stderr
    # Columns wrap their words, so the beginnings are looked for.
    told = " ".join(found.stdout.split())
    assert "1 of 2 rules with a bounded ratio; not median" in told
    assert "ratios above 1e+06: 0 of 2 rules defined on" in told
    assert "no Δ: 0 of 2 rules; bounded: 2 (median, trimmed_mean);" in told
    assert "the worst case reaches from 0.050 to 0.500 of it" in told
    rows = table(tmp_path / "pages" / "robustness-found.csv")
    assert [float(row["Δ(7, 2)"]) for row in rows] == pytest.approx([5 / 2, 5 / 3], rel=1e-3)
    refused = hgobench("audit", "robustness", "--rule", "fltrust", "--out", str(tmp_path))
    assert refused.returncode == 2
    assert "rule: 'fltrust' needs root; Definition 1 knows values alone" in refused.stderr


@pytest.mark.long
def test_bounds_of_a_problem_of_ones_own(tmp_path: Path) -> None:
    """A loss without a known minimum has no Theorem 1; a rule of one's own has a found Δ."""
    found = hgobench(
        "audit", "bounds", "--set", "model=softmax[ridge=0.1]", "--set", "rounds=4",
        "--set", "learning_rate=0.001", "--set", "quorum=19", "--rule", "tests.plugins:MyMedian",
        "--attack", "foe", "--seeds", "2", "--jobs", "1", "--out", str(tmp_path), "--quiet",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "Theorem 1" not in found.stdout
    assert "Theorem 2, as published, holds at every k" in " ".join(found.stdout.split())
    page = (tmp_path / "pages" / "bounds.html").read_text(encoding="utf-8")
    delta = float(re.search(r"and ([\d.]+) at least", page)[1])  # type: ignore[index]
    # Of 19 or 20 answers at f = 3.
    most = max(theory.median_coefficient(m - 3, 3) for m in (19, 20))
    assert 0.9 * most < delta <= most * (1 + 1e-3)


# Cost


def test_the_fit_finds_what_made_the_times() -> None:
    q, b = (part.ravel() for part in np.meshgrid([10.0, 40.0, 160.0], [1e3, 1e5]))
    seconds = 3e-5 + b * (2e-9 + 5e-10 * q * np.log2(q))
    fit = cost.fitted(q, b, seconds)
    assert (fit.call, fit.constant, fit.slope) == pytest.approx((3e-5, 2e-9, 5e-10))
    assert fit.worst < 1e-9
    assert [fit.seconds(*pair) for pair in zip(q, b, strict=True)] == pytest.approx(seconds)
    assert cost.fitted(q, b, b * q**2 * 1e-9).worst > 0.5
    assert cost.exponent([1, 10, 100], [2, 20, 200]).value == pytest.approx(1.0)


def test_workers_and_servers_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "LONG_ENOUGH", 1e-4)
    assert 0 < cost.worker(200, 0.1) < 0.1
    for order in cost.ORDERS:
        assert 0 < cost.server("trimmed_mean", 10, 50, order) < 0.1
    early, late = (cost.by_deadline("median", t, 20, 100) for t in (0.5, 64.0))
    assert 0 < early.block < late.block == late.expected == 100
    kept = json.loads(json.dumps(cost.timed("by_deadline", "here", {
        "rule": "median", "deadline": 0.5, "q": 20, "dimension": 100})))  # fmt: skip
    assert cost.Round(**kept).block == early.block


def times(tasks: list[Task]) -> list[Any]:
    """Times by a law: the server's with q log q, but with q² on organ pipes; a worker's linear."""
    found: list[Any] = []
    for task in tasks:
        who, given = task.arguments["role"], task.arguments["arguments"]
        if who == "by_deadline":
            block = min(100.0 * given["deadline"], 7850.0)
            found.append({"block": block, "expected": block, "seconds": 1e-6 * block})
        elif who == "worker":
            found.append(1e-9 * given["dimension"] * given["share"])
        else:
            q, b = given["q"], given["b"]
            slow = given["order"] == "organ pipe"
            found.append(1e-9 * b * (q * q if slow else q * math.log2(q)))
    return found


def test_the_costs_are_told_from_what_was_measured(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Work, "measure", lambda self, tasks, jobs=None: times(tasks))
    costs = cost.measured("median", work)
    assert costs.server(320, 3_000, "organ pipe") == pytest.approx(1e-9 * 3_000 * 320**2)
    assert costs.shares == pytest.approx([3e-5 * share for share in cost.SHARES])
    found = cost.laws(costs)
    slopes = found.in_b, found.on_organ_pipes, found.in_deadline, found.in_dimension, found.in_share
    assert [slope.value for slope in slopes] == pytest.approx([1, 2, 1, 1, 1])
    assert (found.fit.call, found.fit.constant) == pytest.approx((0, 0), abs=1e-12)
    page = cost.run(Options(rules=("median",)), work)
    assert [finding.holds for finding in page.findings] == [True] * 4
    assert "exponent 2.00 in q on organ-pipe columns" in page.findings[1].evidence


# Breakdown


@pytest.mark.parametrize("workers", [20, 60])
def test_every_number_of_attackers_is_tried(
    workers: int, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A world in which a rule loses 10 points against known f's: phocas tolerates f = 6 and 8."""
    broken: dict[str, Callable[[int], bool]] = {
        "median": lambda f: f > 6,
        "trimmed_mean": lambda f: True,
        "krum": lambda f: False,
        "phocas": lambda f: f in (5, 7),
    }
    ran: list[Scenario] = []

    def execute(self: Work, scenarios: list[Scenario]) -> dict[Scenario, Result]:
        ran.extend(cell for cell in scenarios if cell.f)
        return {
            cell: Result(
                cell,
                {**{name: [0] for name in COLUMNS}, "test_accuracy": [
                    0.9 - (0.1 if broken[cell.rule](cell.f) else 0.04 * (cell.seed == 0))
                    if cell.f else 0.9
                ]},
            )
            for cell in scenarios
        }  # fmt: skip

    monkeypatch.setattr(Work, "execute", execute)
    place = {**breakdown.BASE, "workers": workers, "partition": "iid", "hardware": "standard"}
    most = (workers - 1) // 2
    found = {rule: breakdown.Series(rule, "foe", place) for rule in broken}
    breakdown.sweep(list(found.values()), most, 2, work)
    assert len(set(ran)) == len(ran)
    assert (found["median"].tolerated, found["median"].broken, found["median"].recovered) == (
        6,
        7,
        [],
    )
    assert (found["trimmed_mean"].tolerated, found["trimmed_mean"].broken) == (0, 1)
    assert found["krum"].broken is None
    assert found["krum"].tolerated == (8 if workers == 20 else 28), "it needs 2f + 3"
    assert most in found["krum"].refused
    assert found["krum"].stop_reason == "refused"
    assert found["median"].stop_reason == "broken"
    if workers == 20:
        assert found["median"].tried == list(range(1, 10))
        assert (found["phocas"].tolerated, found["phocas"].broken) == (4, 5)
        assert found["phocas"].recovered == [6, 8, 9]
        assert "breaks at 5 and not at 6, 8, 9" in breakdown._recovery(found["phocas"])
    else:  # every third, then all before the first that breaks: 9
        assert found["median"].tried == [3, 6, 7, 8, *range(9, 30, 3)]
        assert found["phocas"].tolerated == 29, "what lies between those tried is not seen"
        assert {4, 5} & set(found["phocas"].tried) == set()


@pytest.mark.parametrize(
    ("costs", "holds"),
    [
        ({1: [0.08, 0.07, 0.09], 2: [0.10, 0.11, 0.09]}, True),
        ({1: [0.08, 0.01, 0.09], 2: [0.03, 0.06, 0.05]}, None),  # three seeds, as they fall
        ({1: [0.30, 0.31, 0.29], 2: [0.02, 0.01, 0.03]}, False),
        ({1: [0.01, 0.02, 0.01], 2: [0.02, 0.01, 0.03]}, None),  # nothing breaks
    ],
)  # fmt: skip
def test_a_turn_within_chance_is_undecided(
    costs: dict[int, list[float]], holds: bool | None
) -> None:
    place = {**breakdown.BASE, "workers": 6, "partition": "iid", "hardware": "powerful"}
    one = breakdown.Series("median", "foe", place, clean=0.9)
    one.costs = {f: np.array(values) for f, values in costs.items()}
    page = breakdown.page(breakdown.Swept([one], [place], [1.0], 3, 2), Options())
    (finding,) = [f for f in page.findings if f.statement.startswith("what breaks at some f")]
    assert finding.holds is holds, finding.evidence


def test_attacks_are_spelled_out() -> None:
    assert breakdown._spelled("foe") == "foe[epsilon=10.0]"
    assert breakdown._spelled("foe[epsilon=1]") == "foe[epsilon=1]"
    assert breakdown._spelled("label_flip") == "label_flip"
    assert breakdown._spelled("tail+foe").endswith("+foe[epsilon=10.0]")


def test_a_breakdown_of_ones_own(tmp_path: Path) -> None:
    arguments = (
        "audit", "breakdown", "--set", "workers=8", "--set", "rounds=15", "--set", "hardware=powerful",
        "--set", "partition=iid", "--set", "evaluation_interval=15", "--rule", "average,median",
        "--attack", "foe", "--seeds", "2", "--jobs", "1", "--out", str(tmp_path),
    )  # fmt: skip
    found = hgobench(*arguments)
    assert found.returncode == 0, found.stderr
    rows = table(tmp_path / "pages" / "breakdown-every.csv")
    stood = {row["rule"]: float(row["f/n"]) for row in rows}
    assert stood["average"] < stood["median"]
    assert {row["tried"] for row in rows} == {"1 2 3"}
    assert {row["scope"] for row in rows} == {"coordinate"}
    assert "foe[epsilon=10.0]" in (tmp_path / "pages" / "breakdown.html").read_text(
        encoding="utf-8"
    )
    assert "page: " in found.stderr
    before = (tmp_path / "pages" / "breakdown.html").read_bytes()
    again = hgobench(*arguments)
    assert again.stdout == found.stdout
    assert (tmp_path / "pages" / "breakdown.html").read_bytes() == before


# Questions


@pytest.mark.long
def test_channels_and_bandwidth_run_on_a_problem_of_ones_own(tmp_path: Path) -> None:
    """The network is small; the sub-network is that of its hidden units and inputs."""
    common = ["--seeds", "2", "--jobs", "1", "--out", str(tmp_path), "--quiet",
              "--set", "workers=8", "--set", "rounds=20", "--set", "evaluation_interval=10"]  # fmt: skip
    found = hgobench(
        "audit", "channels", *common, "--set", "model=feed_forward[hidden=8]",
        "--set", "data=digits", "--set", "hardware=weak",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "digits, weak: hgo subnetwork" in found.stdout
    found = hgobench("audit", "bandwidth", *common, "--set", "sampled=8")
    assert found.returncode == 0, found.stderr
    rows = table(tmp_path / "pages" / "bandwidth-speeds.csv")
    blocks = [float(r["block"]) for r in rows if (r["algorithm"], r["link"]) == ("hgo", "uplink")]
    assert blocks == sorted(blocks)
    assert blocks[0] < blocks[-1] == 650


# The command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("audit", "bandwidth", "--attack", "foe"), "--attack: foe; this audit takes none"),
        (("audit", "theory", "--attack", "foe"), "audit cost: --attack: foe; this audit takes none"),
        (("audit", "cost", "--seeds", "3"), "--seeds: 3; this audit has none"),
        (("audit", "cost", "--rule", "krum,median"), "--rule: krum, median; this audit takes 1"),
        (("audit", "constants", "--set", "rule=median"), "--set: rule: use --rule"),
        (
            ("audit", "breakdown", "--set", "data=tests.plugins:Prices"),
            "data: 'tests.plugins:Prices' has no classes, so no accuracy to compare",
        ),
        (("audit", "breakdown", "--attack", "none"), "--attack: 'none' is no attack"),
        (("audit", "constants", "--document", "/proc/x/y.md"), "--document: '/proc/x/y.md': No such"),
        (("audit", "bonds"), "audit: unknown 'bonds'; did you mean 'bounds'"),
        (("audit", "theory", "--set", "rounds=3"), "--set: one audit at a time; theory is 6"),
        (("audit", "bounds", "--set", "seed=3"), "--set: seed: the audit chooses it"),
        (("audit", "bounds", "--set", "rounds=3,4"), "--set: rounds: expected one value"),
        (("audit", "bounds", "--set", "rounds=3", "--set", "rounds=4"), "--set: rounds: given twice"),
        (("audit", "robustness", "--set", "rounds=3"), "--set: rounds: the audit chooses it"),
        (("audit", "breakdown", "--rule", "medain"), "rule: unknown 'medain'; did you mean 'median'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    found = hgobench(*arguments, "--out", str(tmp_path / "out"))
    assert found.returncode == 2
    assert message in found.stderr


@pytest.mark.long
def test_what_breaks_down_by_itself_is_told(tmp_path: Path) -> None:
    """A rule that raises is no rule that breaks down, and the exit status says so."""
    common = ("--jobs", "1", "--quiet", "--out", str(tmp_path))
    found = hgobench(
        "audit", "breakdown", "--rule", "tests.plugins:Raising", "--set", "workers=8", "--set",
        "rounds=3", "--set", "partition=iid", "--set", "hardware=powerful", "--seeds", "1",
        "--attack", "foe,foe", *common,
    )  # fmt: skip
    assert found.returncode == 1
    assert "cells failed, and count as an accuracy of 0" in found.stderr
    (row,) = table(tmp_path / "pages" / "breakdown-every.csv")
    assert row["beyond"] == "failed"
    found = hgobench("audit", "robustness", "--rule", "tests.plugins:Raising", *common)
    assert found.returncode == 1
    assert "measurements failed: robustness: rule 'Raising'" in found.stderr


def test_audits_are_listed() -> None:
    assert [line.split()[0] for line in hgobench("audit", "list").stdout.splitlines()[2:]] == list(
        audits.AUDITS
    )
    assert audits.chosen(["questions", "bounds", "channels"]) == ["channels", "bandwidth", "bounds"]
    with pytest.raises(InputError):
        audits.chosen(["list"])


def test_an_interrupted_audit_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hgobench.engines.measured.measure", interrupted)
    found = hgobench("audit", "robustness", "--rule", "median", "--out", str(tmp_path), "--quiet")
    assert found.returncode == 130
    assert "interrupted; the same command goes on" in found.stderr


# Pages

STUDY = study(
    "mine",
    "A <study>",
    ["About & so on."],
    "hgobench audit mine",
    [Finding("it holds", True, "1 < 2"), Finding("it doesn't", False, ""), Finding("?", None, "")],
    [
        Chart("curve", "A curve", "k", "loss", [
            Line("one", [1, 2, 3], [0.5, math.inf, 0.25], [0.4, 0.4, 0.2], [0.6, 0.6, 0.3]),
            Line("bound", [1, 2, 3], [1.0, 1.0, 1.0], style="dashed"),
            *(Line(f"grey {i}", [1, 2], [0.1, 0.2], style="faint") for i in range(3)),
        ], "y"),
        Chart("ticks", "Ticks", "", "y", [Line("p", [0, 1], [1.0, 2.0], style="points")],
              ticks=["left", "right"]),
    ],
    [
        Table("short", "Short", ["name", "value"], [["a", 0.123456], ["b", math.inf]]),
        Table("long", "Long", ["n"], [[i] for i in range(50)]),
    ],
)  # fmt: skip


def test_a_page_holds_all_that_it_shows(tmp_path: Path) -> None:
    path = files.write(tmp_path, STUDY)
    page = path.read_text(encoding="utf-8")
    assert "A &lt;study&gt;" in page
    assert "About &amp; so on." in page
    assert page.count("<svg") == 2
    assert "<details><summary>50 rows</summary>" in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith(("data:", "#")) for source in sources), "nothing from elsewhere"
    links = re.findall(r'download="([^"]+)" href="data:text/csv;base64,([^"]+)"', page)
    assert [name for name, _ in links] == [
        "mine-short.csv", "mine-long.csv", "mine-curve.csv", "mine-ticks.csv",
    ]  # fmt: skip
    for name, data in links:
        text = base64.b64decode(data).decode()
        assert text == (tmp_path / name).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(chart_csv(STUDY.charts[0]))))
    assert [(r["line"], r["k"], r["loss"]) for r in rows[:2]] == [
        ("one", "1", "0.5"), ("one", "2", "inf"),
    ]  # fmt: skip
    assert len(rows) == 3 + 3 + 3 * 2
    assert html(STUDY) == page, "the same every time"


def test_text_and_document(tmp_path: Path) -> None:
    text = terminal(STUDY)
    assert "0.1235" in text
    assert "Long: 50 rows, mine-long.csv" in text
    assert "undecided" in text
    document.write(tmp_path / "all.md", [STUDY], "All", "hgobench audit all")
    written = (tmp_path / "all.md").read_text(encoding="utf-8")
    assert "![A curve](all/mine-curve.png)" in written
    assert (tmp_path / "all" / "mine-curve.png").stat().st_size > 1000
    assert "Boubouh" in written
    assert "SRDS" in written


def test_a_document_takes_new_sections_for_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "all.md"
    other = replace(STUDY, name="other", title="Other", command="hgobench audit other")
    document.write(path, [STUDY, other], "All", "hgobench audit all")
    before = path.read_text(encoding="utf-8")
    blocks: list[Block] = [Text("New."), Findings(STUDY.findings), *STUDY.tables, STUDY.charts[0]]
    changed = replace(STUDY, title="A new title", blocks=blocks)
    document.write(path, [changed], "A new title", "hgobench audit mine")
    after = path.read_text(encoding="utf-8")
    assert "## A new title\n\n`hgobench audit mine`\n\nNew." in after
    assert "About & so on." in after.partition("## Other")[2], "the other section is as it was"
    assert after.partition("## ")[0] == before.partition("## ")[0]
    assert after.partition("## Other")[2] == before.partition("## Other")[2]
    assert "A <study>" not in after
    assert not (tmp_path / "all" / "mine-ticks.png").exists(), "a picture of the old section"
    assert (tmp_path / "all" / "other-ticks.png").exists()
    document.write(path, [other, changed], "All", "hgobench audit all")
    anew = path.read_text(encoding="utf-8")
    assert anew.index("## Other") < anew.index("## A new title"), "all of it is written anew"
    path.write_text("# My own\n\n## Notes\n\nMine.\n", encoding="utf-8")
    document.write(path, [changed], "Mine", "hgobench audit mine")
    assert path.read_text(encoding="utf-8").startswith("# Mine\n\nWritten by")
