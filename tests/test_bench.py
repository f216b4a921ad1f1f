"""The benchmarks themselves: they run, count exactly, and refuse in plain words."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from hgobench.report.bench import page
from hgobench.report.page import Cell
from hgobench.report.render import render
from hgobench.suite import benchmarks
from tests.test_cli import hgobench


@pytest.mark.long
def test_peers_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = benchmarks("peers")
    monkeypatch.setattr(peers, "SECONDS", 0.0)
    arguments = ["bench", "peers", "--rule", "median,optimal_alie", "--shape", "12x40"]
    done = hgobench(*arguments, "--format", "json")
    assert done.returncode == 0
    told = done.stderr.splitlines()
    assert told[:2] == ["median at 12 x 40: done", "optimal_alie at 12 x 40: done"]
    assert [line.split()[2].rstrip(",") for line in told[2:]] == list(peers.missing())
    rows = json.loads(done.stdout)
    assert [row["rule or attack"] for row in rows] == ["median", "optimal_alie"]
    assert all(row["hgobench"] > 0 for row in rows)
    for row in rows:
        if row["byzfl"] is not None:
            fastest = min(row[who] for who in ("byzfl", "byzpy") if row[who] is not None)
            assert row["ratio"] == pytest.approx(fastest / row["hgobench"])


def test_a_peer_that_is_missing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = benchmarks("peers")
    monkeypatch.setattr(peers, "peer", lambda package, module: None)
    monkeypatch.setattr(peers, "SECONDS", 0.0)
    done = hgobench("bench", "peers", "--rule", "average", "--shape", "12x40")
    assert done.stderr.splitlines()[1:] == [
        "left out byzfl, which can't be imported here: pip install 'hgobench[peers]'",
        "left out byzpy, which can't be imported here: pip install --no-deps byzpy",
    ]
    for name in peers.NAMES:
        assert set(peers.contenders(name, 12, 30)) <= {"hgobench", "torch.mean"}
    row = peers.measure("krum", (12, 30), threads=1, seconds=0.0)
    assert math.isnan(row.ratio)
    assert peers.cells(row)[-1] is None


def test_what_was_measured_is_kept_on_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = benchmarks("peers")
    measured = peers.measure

    def measure(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "krum":
            raise KeyboardInterrupt
        return measured(name, *arguments, seconds=0.0, **keywords)

    monkeypatch.setattr(peers, "measure", measure)
    done = hgobench("bench", "peers", "--rule", "median,krum,phocas", "--shape", "12x40")
    assert done.returncode == 130
    assert "median" in done.stdout
    assert "phocas" not in done.stdout
    assert done.stderr.endswith("interrupted\n")


def test_threads_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    benchmarks("peers").measure("average", (12, 30), threads=2, seconds=0.0)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "krumm"], "--rule: 'krumm'; expected one of average, median,"),
        (["--shape", "80"], "--shape: '80'; expected vectors x coordinates, as 80x7850, n >= 10"),
        (["--shape", "5x100"], "--shape: '5x100'; expected vectors x coordinates"),
        (["--format", "latex"], "'latex' is not one of 'table', 'markdown', 'csv', 'json'"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], message: str) -> None:
    done = hgobench("bench", "peers", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_tables() -> None:
    headers = ["what", "a", "b"]
    rows: list[list[Cell]] = [["x", 0.123, None], ["y", 1234.5, None]]
    found = page(rows, headers)
    assert render(found, "table", title=False).split() == [
        "what", "a", "----", "-----", "x", "0.12", "y", "1,234",
    ]  # fmt: skip
    assert render(found, "markdown", title=False).splitlines()[2] == "| x      |  0.12 |"
    assert render(found, "csv").splitlines() == ["what,a,b", "x,0.123,", "y,1234.5,"]
    assert json.loads(render(found, "json"))[0] == {"what": "x", "a": 0.123, "b": None}


@pytest.mark.parametrize(
    ("rule", "form"), [("krum", "dense"), ("krum", "ragged"), ("median", "ragged")]
)
def test_counts_are_exact(rule: str, form: str) -> None:
    rules = benchmarks("rules")

    def count() -> tuple[float, float]:
        kept = {(rule, form): rules.counted(rule, form)}
        made = rules.Counts()
        return made.track_aten_calls(kept, rule, form), made.track_aten_bytes(kept, rule, form)

    threads = torch.get_num_threads()
    try:
        first = count()
        assert first == count()
        assert min(first) > 0
    finally:
        torch.set_num_threads(threads)


def test_a_counter_sees_more_work() -> None:
    counter = benchmarks("counting").Counter
    x = torch.ones(100)
    with counter() as once:
        x.exp()
    with counter() as twice:
        x.exp().exp()
    assert (once.calls, once.bytes) == (1, 400)
    assert (twice.calls, twice.bytes) == (2, 800)


def test_growth_and_rounds_run() -> None:
    rules, rounds = benchmarks("rules"), benchmarks("rounds")
    assert rules.least_time(torch.sum, torch.ones(3), calls=2) >= 0.0
    made = rounds.Fleet()
    threads = torch.get_num_threads()
    try:
        made.setup(100)
        made.time_rounds(100)
    finally:
        torch.set_num_threads(threads)


RULE_PAIR = ["--shape", "12x40", "--shape", "11x30", "--format", "json"]


@pytest.fixture
def quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    own = benchmarks("own_rule")
    for name, value in {"SECONDS": 0.0, "LEAST": 2, "SHORTEST": 0.0}.items():
        monkeypatch.setattr(own, name, value)


@pytest.mark.long
@pytest.mark.usefixtures("quick_timing")
def test_a_rule_of_one_s_own_is_timed_beside_a_yardstick(tmp_path: Path) -> None:
    """A ratio is saved, and compared with: it may not grow beyond what is allowed."""
    rule, kept = "tests.plugins:MyMedian", tmp_path / "main.json"
    first = hgobench("bench", "rule", rule, "--save", str(kept), *RULE_PAIR)
    assert first.returncode == 0, first.stderr
    rows = json.loads(first.stdout)
    assert [row["n x d"] for row in rows] == ["12 x 40", "11 x 30"]
    for row in rows:
        assert row["ratio"] == pytest.approx(row["ms"] / row["yardstick's ms"])
        assert row["growth"] is None
    saved = json.loads(kept.read_text())
    assert saved["ratios"] == {
        shape: round(row["ratio"], 4) for shape, row in zip(("12x40", "11x30"), rows, strict=True)
    }

    saved["ratios"]["11x30"] = saved["ratios"]["11x30"] / 1e6  # as if it had been so much faster
    kept.write_text(json.dumps(saved))
    asked = ("bench", "rule", rule, "--against", str(kept), *RULE_PAIR)
    slower = hgobench(*asked, "--allow", "1000")
    assert slower.returncode == 1
    grown = json.loads(slower.stdout)[1]
    assert grown["growth"] == pytest.approx(grown["ratio"] / grown["saved ratio"])
    (line,) = slower.stderr.splitlines()
    assert line.startswith(f"slower: {rule} at 11x30: ")
    assert line.endswith("; allowed: 1000")
    assert hgobench(*asked, "--allow", "1e9").returncode == 0


def test_what_seems_slower_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    own = benchmarks("own_rule")
    shape = (12, 40)
    times = iter([3.0, 1.0, 0.5, 3.0, 2.0])

    def measure(rule: str, yardstick: str, shape: tuple[int, int], saved: float | None) -> Any:
        return own.Row(shape, next(times), 1.0, saved)

    monkeypatch.setattr(own, "measure", measure)
    assert own.compared("a", "b", shape, 1.0, 1.5).ratio == 1.0  # 3.0 first
    assert own.compared("a", "b", shape, 1.0, 1.5).ratio == 0.5  # at once
    assert own.compared("a", "b", shape, 1.0, 1.5).ratio == 2.0  # twice too slow: the better one


SAVED = {"hgobench": "0", "rule": "phocas", "yardstick": "median", "ratios": {"12x40": 1.0}}


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, [], "No such file or directory; write it with --save "),
        ("{", [], "not JSON: "),
        ("[]", [], "expected what --save writes: hgobench, rule, yardstick, ratios"),
        (json.dumps({**SAVED, "rule": "krum"}), [], "measured of 'krum'; expected 'phocas'"),
        (json.dumps(SAVED), ["--yardstick", "krum"], "expected 'krum': use --yardstick median"),
        (json.dumps(SAVED), ["--shape", "12x41"], "shape: unknown '12x41'; did you mean '12x40'?"),
        (json.dumps({**SAVED, "ratios": {"12x40": 0}}), [], "expected finite numbers > 0"),
        (json.dumps(SAVED), ["--allow", "nan"], "--allow: nan; expected a finite number >= 1"),
        (json.dumps(SAVED), ["--allow", "0.9"], "--allow: 0.9; expected a finite number >= 1"),
        (json.dumps(SAVED), ["--format", "latex"], "'latex' is not one of 'table', 'markdown',"),
    ],
)
def test_what_a_rule_can_t_be_compared_with_is_said(
    tmp_path: Path, content: str | None, arguments: list[str], message: str
) -> None:
    path = tmp_path / "main.json"
    if content is not None:
        path.write_text(content)
    shape = [] if "--shape" in arguments else ["--shape", "12x40"]
    done = hgobench("bench", "rule", "phocas", "--against", str(path), *shape, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.usefixtures("quick_timing")
@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("phocass", "rule: unknown 'phocass'; did you mean 'phocas'?"),
        ("tests.plugins:Raising", "rule: 'tests.plugins:Raising': on 12 x 40 values: "),
        ("fltrust", "rule: 'fltrust': on 12 x 40 values: "),
    ],
)
def test_a_rule_that_can_t_be_timed_is_refused(rule: str, message: str) -> None:
    done = hgobench("bench", "rule", rule, "--shape", "12x40")
    assert done.returncode == 2
    assert message in done.stderr
