"""How far one server goes: fits of made measurements, and a small real one. Only that needs Flower."""

from __future__ import annotations

import math
import re
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hgobench.cli import app as command
from hgobench.errors import InputError
from hgobench.flower.load import Load, Point, Unmeasured, length, measured
from hgobench.flower.relay import Relay
from hgobench.flower.scale import (
    BEAT,
    POLL,
    QUANTITIES,
    REQUESTS,
    Kept,
    Scale,
    amounts_of,
    collected,
    design,
    dimensions,
    fitted,
    links,
    most_asked,
    most_idle,
    page,
    round_of,
    rule_seconds,
    rules_timed,
    server_of,
)
from hgobench.report.page import Table
from hgobench.report.render import csv

NODES, SHARES = (2, 4, 8, 16, 32), (1.0, 0.25)
D = {"small": 650, "middle": 80_000, "large": 430_000}
FIT, HELD_OUT = design(NODES, list(D), SHARES)


def made(point: Point, error: float = 1.0) -> list[Load]:
    """Return what a server of known costs does: idle for 10 s, then two rounds."""
    n, d, b = point.nodes, D[point.model], length(point.share, D[point.model])

    def load(seconds: float, orders: int, polls: int, d: int, b: int) -> Load:
        requests, some = polls + n * seconds / BEAT, orders > 0
        return Load(
            n, d, b, seconds, orders, polls, 0,
            link_seconds=error * (0.01 * seconds + 0.004 * requests + 0.1 * orders
                                  + 3e-8 * 4 * orders * d + 5e-8 * 4 * orders * b),
            app_seconds=error * some * (0.05 + 0.02 * orders + 4e-9 * 4 * d + 1e-8 * 4 * orders * d
                                        + 2e-8 * 4 * orders * b),
            up=round(700 * requests + 15_000 * orders + 4 * orders * b),
            down=round(100 * requests + 5_000 * orders + 4 * orders * d),
            link_memory=140 + 5e-6 * 4 * orders * b + 2e-6 * 4 * d,
            app_memory=500 + 4e-6 * 4 * d + 1e-5 * 4 * orders * d + 3e-6 * 4 * orders * b,
        )  # fmt: skip

    return [load(10.0, 0, 3 * n, 0, 0), load(4.0, n, n + 3, d, b), load(6.0, n, 2 * n, d, b)]


LOADS = {point: made(point) for point in FIT}
SERVER = server_of([load for loads in LOADS.values() for load in loads])


def test_known_costs_are_found_again() -> None:
    expected = {
        "link": {"second": 0.01, "request": 0.004, "order": 0.1, "byte down": 3e-8,
                 "byte up": 5e-8},
        "app": {"round": 0.05, "order": 0.02, "model": 4e-9, "byte down": 1e-8, "byte up": 2e-8},
        "up": {"request": 700, "order": 15_000, "byte up": 1},
        "down": {"request": 100, "order": 5_000, "byte down": 1},
        "link_memory": {"round": 140, "byte up": 5e-6, "model": 2e-6},
        "app_memory": {"round": 500, "model": 4e-6, "byte down": 1e-5, "byte up": 3e-6},
    }  # fmt: skip
    for name, costs in expected.items():
        fit = getattr(SERVER, name)
        assert {unit: term.value for unit, term in fit.terms.items()} == pytest.approx(
            costs, rel=1e-3
        )
        assert np.abs(fit.errors).max() < 1e-3
    for point in HELD_OUT:
        assert point not in LOADS
        for load in made(point)[1:]:
            for name, value in (("link", load.link_seconds), ("up", load.up)):
                fit = getattr(SERVER, name)
                assert fit.predicted(amounts_of(load)) == pytest.approx(value, rel=1e-3)


def test_intervals_hold_the_costs_as_often_as_they_say() -> None:
    """Of 400 fits with relative errors of a tenth the intervals hold each cost in 95 % of them."""
    rng, units = np.random.default_rng(0), ["round", "order"]
    rows = [{"round": 1.0, "order": float(n)} for n in (1, 2, 4, 8, 16) for _ in range(2)]
    true = np.array([1.0 + 0.2 * row["order"] for row in rows])
    held = np.zeros(2)
    for _ in range(400):
        noise = rng.normal(0.0, 0.1, len(rows))
        terms = fitted(rows, true * (1.0 + noise), units).terms
        held += [terms["round"].low <= 1.0 <= terms["round"].high,
                 terms["order"].low <= 0.2 <= terms["order"].high]  # fmt: skip
    assert held / 400 == pytest.approx([0.95, 0.95], abs=0.04)


def test_what_costs_nothing_is_nothing_and_too_few_values_are_refused() -> None:
    rows = [{"round": 1.0, "order": n} for n in (1.0, 2.0, 4.0)]
    terms = fitted(rows, [5.0, 4.9, 4.6], ["round", "order"]).terms
    assert terms["order"].value == 0.0
    assert math.isnan(terms["order"].low)
    assert terms["round"].low < terms["round"].value < terms["round"].high
    exact = fitted(rows[:2], [1.5, 2.0], ["round", "order"])
    assert exact.terms["order"].value == pytest.approx(0.5)
    assert math.isnan(exact.terms["order"].high)  # no value is left to say how far it is off
    with pytest.raises(InputError, match="1 measured values; expected at least 2, one a cost"):
        fitted(rows[:1], [1.0], ["round", "order"])
    # A value below `least` does not weigh more than one that is as much.
    tiny = fitted([{"a": 1.0}, {"a": 1.0}], [0.01, 0.05], ["a"], least=0.05)
    assert tiny.terms["a"].value == pytest.approx(0.03)


def test_where_a_server_ends_is_arithmetic() -> None:
    """By hand: a core of which 1 % is taken, 4 ms a request, 0.1 s an order, and bytes."""
    assert pytest.approx(1 / POLL + 1 / BEAT) == REQUESTS
    assert most_idle(SERVER) == pytest.approx(0.99 / (0.004 * REQUESTS), rel=1e-3)
    d, b, q, tau = 430_000, 107_500, 1000, 60.0
    one = 0.1 + 3e-8 * 4 * d + 5e-8 * 4 * b
    assert most_asked(SERVER, tau, d, b) == pytest.approx(
        0.99 * tau / (one + 0.004 * REQUESTS * tau), abs=1.5
    )
    found = round_of(SERVER, q, d, b)
    assert (found.numbers_down, found.numbers_up) == (4 * q * d, 4 * q * b)
    assert found.link == pytest.approx(q * one, rel=1e-3)
    assert found.app == pytest.approx(0.05 + 16e-9 * d + q * (0.02 + 4e-8 * d + 8e-8 * b), rel=1e-3)
    assert found.up == pytest.approx(q * (15_000 + 4 * b), rel=1e-3)
    assert found.app_memory == pytest.approx(500 + 16e-6 * d + q * (4e-5 * d + 12e-6 * b), rel=1e-3)
    assert links(SERVER, 10**6, found, tau) == pytest.approx(
        (10**6 * 0.004 * REQUESTS + q * one / tau) / 0.99, rel=1e-3
    )


@pytest.mark.parametrize(
    ("nodes", "models", "shares", "problem"),
    [
        ([2, 4], "ab", [1, 0.5], "nodes: 2, 4; expected three or more numbers from 2, ascending"),
        ([1, 4, 8], "ab", [1, 0.5], "nodes: 1, 4, 8; expected three or more numbers from 2"),
        ([2, 8, 4], "ab", [1, 0.5], "nodes: 2, 8, 4; expected three or more numbers from 2"),
        ([2, 4, 8], "a", [1, 0.5], "models: a; expected two or more different ones"),
        ([2, 4, 8], "ab", [1], "shares: 1; expected two or more, above 0 and at most 1"),
        ([2, 4, 8], "ab", [1, 0], "shares: 1, 0; expected two or more, above 0 and at most 1"),
    ],
)
def test_too_little_to_tell_costs_apart_is_refused(
    nodes: list[int], models: str, shares: list[float], problem: str
) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        design(nodes, list(models), shares)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["--nodes", "2,four,8"],
            "--nodes: '2,four,8'; expected whole numbers separated by commas",
        ),
        (["--shares", "1,half"], "--shares: '1,half'; expected numbers separated by commas"),
        (["--deadline", "0"], "--deadline: 0; expected seconds > 0"),
        (["-q", "20", "-n", "10"], "--sampled: 20; expected at most 10, --workers"),
        (["--rules", "kru"], "did you mean 'krum'"),
    ],
)
def test_the_command_refuses_what_it_can_t_measure(words: list[str], problem: str) -> None:
    found = CliRunner().invoke(command, ["devices", "scale", *words])
    assert isinstance(found.exception, InputError)
    assert problem in str(found.exception)


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points that are kept are not measured again, but for those of other versions."""
    asked, path, busy = list[Point](), tmp_path / "out" / "loads.jsonl", [FIT[3]]

    def measure(folder: Path, point: Point, rounds: int) -> list[Load]:
        assert (folder, rounds) == (tmp_path / "work", 4)
        asked.append(point)
        if point in busy:
            raise Unmeasured("16 nodes: round 1 has not ended in 228 s")
        return made(point)

    monkeypatch.setattr("hgobench.flower.load.measured", measure)
    said = list[str]()

    def go(points: list[Point], version: str) -> dict[Point, list[Load]]:
        return collected(tmp_path / "work", Kept(path, {"flower": version}), points, 4, said.append)

    assert go(FIT[:2], "1") == {point: made(point) for point in FIT[:2]}
    assert list(go(FIT[:3], "1")) == FIT[:3]
    assert asked == FIT[:3]
    assert said[-1] == "3 of 3: 8 nodes, small, share 1"
    assert list(go(FIT[2:4], "1")) == [FIT[2]]
    assert said[-1] == "left out: 16 nodes: round 1 has not ended in 228 s"
    busy.clear()
    assert list(go(FIT[2:4], "1")) == FIT[2:4]
    go(FIT[:1], "2")
    assert asked == [*FIT[:4], FIT[3], FIT[0]]
    with path.open("a") as file:
        file.write("{}\n")
    with pytest.raises(InputError, match=r"loads\.jsonl: line 6: 'point'"):
        Kept(path, {}).loads()


def test_a_page_says_what_was_measured_and_what_follows() -> None:
    scale = Scale(
        LOADS, {point: made(point, error=1.1) for point in HELD_OUT}, SERVER, 10**6, 1000, 60.0,
        {("average", 650): 0.01, ("median", 650): 0.02},
    )  # fmt: skip
    told = page(scale, "hgobench devices scale")
    tables = {block.name: block for block in told.blocks if isinstance(block, Table)}
    assert list(tables) == ["measured", "costs", "tried", "ends", "population", "rules"]
    assert len(tables["measured"].rows) == len(FIT) + len(HELD_OUT)
    tried = csv(told).split("fitted,ratio\n")[1].splitlines()[: len(HELD_OUT) * len(QUANTITIES)]
    ratios = [float(line.split(",")[-1]) for line in tried if "SuperLink, CPU" in line]
    assert ratios == pytest.approx([1 / 1.1] * 2, rel=1e-2)
    assert [row[0] for row in tables["ends"].rows] == dimensions(LOADS) == sorted(D.values())
    assert tables["ends"].rows[0][2] == most_asked(SERVER, 60.0, 650, 650)
    assert tables["population"].rows[0][:2] == [650, 650]
    assert "383,333 requests a second" in " ".join(str(block) for block in told.blocks)
    assert [len(line.x) for line in told.charts[0].lines] == [10, 2, 4, 2, 4, 2]


def test_rules_are_timed_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    monkeypatch.setattr("hgobench.machine.memory", lambda: 4 * 4 * 20 * 50 * 2)
    found = rules_timed(["average", "nnm+trimmed_mean"], 20, [50, 51], said.append)
    assert list(found) == [("average", 50), ("nnm+trimmed_mean", 50)]
    assert said[-1] == "rules: 20 vectors of 51 are left out, for want of memory"
    assert rule_seconds("median", 20, 50) >= 0


def test_a_relay_passes_on_and_counts() -> None:
    """Two connections at once, both ways, large and small; what it counts is what was sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            for _ in range(2):
                one, _ = server.accept()
                threading.Thread(target=answer, args=(one,), daemon=True).start()

        def answer(one: socket.socket) -> None:
            with one:
                while data := one.recv(2**16):
                    one.sendall(data + data)

        threading.Thread(target=echo, daemon=True).start()
        with Relay(server.getsockname()[1]) as relay:
            for size in (1, 300_000):
                with socket.create_connection(("127.0.0.1", relay.port)) as client:
                    sender = threading.Thread(target=client.sendall, args=(b"x" * size,))
                    sender.start()
                    left = 2 * size
                    while left:
                        left -= len(client.recv(2**16))
                    sender.join()
            assert (relay.up, relay.down) == (300_001, 600_002)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", relay.port))


@pytest.mark.long
def test_long_a_server_with_light_nodes_is_measured(tmp_path: Path) -> None:
    """Two nodes, then four that send half: bytes are the parameters', the answers' and framing."""
    pytest.importorskip("flwr", reason="needs hgobench[flower]: CONTRIBUTING.md says how")
    for n, share in ((2, 1.0), (4, 0.5)):
        idle, one = measured(tmp_path / "work", Point(n, "softmax", share), rounds=3)
        assert (idle.nodes, idle.dimension, idle.orders) == (n, 0, 0)
        assert idle.polls >= n
        assert (one.dimension, one.length, one.orders) == (650, length(share, 650), n)
        assert 0 <= one.up - 4 * n * one.length < 100_000 * n
        assert 0 <= one.down - 4 * n * 650 < 50_000 * n
        assert one.link_seconds > 0
        assert one.app_seconds > 0
        assert one.app_memory > one.link_memory > 20
        assert idle.failed == one.failed == 0
        assert not list(tmp_path.iterdir())
