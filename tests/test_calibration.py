"""Calibration: coordinates per second by a clock that is known, and what it ties to seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hgobench import World, aggregators, attacks, machine, models, timing
from hgobench.audits import calibration, rates
from hgobench.audits.base import Work
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.results import open_store
from hgobench.session import Session
from tests.test_cli import hgobench


class Clock:
    """Seconds that pass only when a gradient is computed, in turn so many."""

    def __init__(self, *seconds: float) -> None:
        self.now, self.seconds, self.calls = 0.0, seconds, 0

    def __call__(self) -> float:
        return self.now

    def wrapped(self, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **named: object) -> object:
            self.now += self.seconds[self.calls % len(self.seconds)]
            self.calls += 1
            return call(*args, **named)

        return counted


def test_times_are_those_of_a_call() -> None:
    clock = Clock(0.02)
    assert timing.cpu_times(clock.wrapped(lambda: None), 3, clock) == pytest.approx([0.02] * 3)
    assert clock.calls == 1 + 1 + 2 + 3 * 2, "to warm up, one run too short, and two calls a run"


def test_the_rate_is_coordinates_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(0.04)
    whole = models.Softmax.gradients
    monkeypatch.setattr(models.Softmax, "gradients", clock.wrapped(whole))
    monkeypatch.setattr(
        calibration, "block", lambda *_: clock.wrapped(lambda: setattr(clock, "now", clock.now - 0.01))
    )  # fmt: skip
    found = calibration.calibrate("softmax", "digits", 8, 4, clock)
    assert (found.dimension, found.batch_size, len(found.seconds)) == (650, 8, 4)
    assert found.rate == pytest.approx(8 * 650 / 0.04)
    assert found.spread == pytest.approx(0.0, abs=1e-3)
    assert found.block == pytest.approx(0.75)
    assert found.unit("average") == pytest.approx(10_000 * 650 / 7850 / 130_000)


def made(*seconds: float, partial: bool = True) -> calibration.Calibration:
    return calibration.Calibration(
        "softmax", "digits", 650, 2, seconds, 0.5 if partial else 1.0, partial, "a processor"
    )


def test_the_median_of_runs_and_their_spread() -> None:
    found = made(0.1, 0.2, 0.4)
    assert found.rates.tolist() == [13000.0, 6500.0, 3250.0]
    assert found.rate == 6500.0
    assert found.spread == pytest.approx(np.std([13000, 6500, 3250], ddof=1))
    data = found.as_data(0.5)
    assert data["coordinates_per_second"]["low"] == 3250.0
    assert data["time_unit_seconds"]["weak"] == pytest.approx(500 * 650 / 7850 / 6500)
    text = found.text(0.5)
    assert text.startswith("λ = 6500 coordinates of one example's gradient per CPU second")
    assert "A block of 10% of the coordinates takes 50% of that" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    assert "computes the whole gradient" in made(0.1, 0.2, partial=False).text(1.0)


def test_its_line_is_a_device(tmp_path: Path) -> None:
    """A round of τ time units is as long as the machine needs: s·d/λ seconds for a gradient."""
    found, unit = made(0.1, 0.1), 0.25
    path = tmp_path / "devices.csv"
    path.write_text(found.csv(unit))
    world = World(hardware=f"devices[path={path}]", workers=3)
    assert world.rates == pytest.approx(found.rate * unit)
    assert 2 * 650 / world.rates[0] * unit == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("model", "data"),
    [("softmax[ridge=0.1]", "digits"), ("logistic[ridge=0.1]", "breast_cancer"),
     ("svm", "breast_cancer"), ("linear", "digits")],
)  # fmt: skip
def test_a_block_is_that_part_of_the_gradient(model: str, data: str) -> None:
    world = World(model=model, data=data, workers=2)
    x, y = world.features[:16], world.labels[:16]
    params = 0.1 * world.initial()[None] + 0.05
    places = stream(0, "places").permutation(world.model.dimension)[:20]
    some = calibration.block(world.model, params, x, y, places)
    assert some is not None
    expected = world.model.gradients(params, x[None], y[None])[0, 0, places]
    torch.testing.assert_close(some(), expected, rtol=1e-4, atol=1e-5)


def test_of_a_network_a_block_is_no_less_than_the_whole() -> None:
    world = World(model="feed_forward[hidden=4]", workers=2)
    x, y = world.features[:4], world.labels[:4]
    places = np.arange(3)
    assert calibration.block(world.model, world.initial()[None], x, y, places) is None


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [("60", None, 60.0), (" 1e3 ", 2.0, 1000.0), ("60s", 0.5, 120.0), ("2 min", 60.0, 2.0),
     ("1.5h", 3600.0, 1.5), ("5ms", 0.001, 5.0)],
)  # fmt: skip
def test_times_are_read(text: str, unit: float | None, expected: float) -> None:
    assert calibration.time_units("--budget", text, unit) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "s", "x", "-1", "0", "nan", "inf", "1 day", "60 s s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"--budget: .*; expected a finite number of time units"):
        calibration.time_units("--budget", text, 1.0)


def test_a_time_unit_is_named_or_measured_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, str, int]] = []

    def measured(model: str, data: str, batch_size: int) -> calibration.Calibration:
        asked.append((model, data, batch_size))
        return made(0.1, 0.1)

    monkeypatch.setattr(calibration, "calibrate", measured)
    said: list[str] = []
    settings = {"data": "breast_cancer", "batch_size": 4}
    with open_store(tmp_path) as store:
        work = Work(Session(store, jobs=1), say=said.append)
        assert calibration.time_unit(None, {}, work) is None
        assert calibration.time_unit("0.25", {}, work) == 0.25
        for _ in range(2):
            unit = calibration.time_unit("calibrate", settings, work)
            assert unit == made(0.1, 0.1).unit("average")
        assert calibration.time_unit("calibrate[weak]", {}, work) == made(0.1, 0.1).unit("weak")
        assert asked == [("softmax", "breast_cancer", 4), ("softmax", "digits", 32)]
        assert (
            said[0] == said[1] == "a time unit lasts 0.06369 s: this machine is an average device"
        )
        for wrong in ("calibrate[fast]", "soon", "-1", "inf"):
            with pytest.raises(
                InputError, match=r"--time-unit: .*expected a number of seconds > 0"
            ):
                calibration.time_unit(wrong, {}, work)


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(timing, "LONG_ENOUGH", 1e-3)
    monkeypatch.setattr(machine, "file", lambda: tmp_path / "cache" / "calibration.json")
    known = machine.Rates(
        "2030-01-01T00:00:00+00:00", "p", "2", "2", 2e-3, 1e-3, 5e10, 1e-9, (0.0, 0.0)
    )
    monkeypatch.setattr(rates, "measure", lambda: known)
    found = hgobench("calibrate", "--runs", "2", "--format", "json", "--batch-size", "4")
    assert found.returncode == 0, found.stderr
    data = json.loads(found.stdout)
    assert data["coordinates_per_second"]["median"] > 1e4
    assert (data["dimension"], data["batch_size"], data["threads"]) == (650, 4, 1)
    assert data["devices_csv"]["lines"].startswith("class,count,rate_mean,rate_std\n")
    assert data["block"]["relative_time"] > 0
    assert machine.kept() == known
    assert "calibration.json; hgobench show scenario tells by it" in found.stderr


@pytest.mark.long
def test_the_rates_of_this_machine() -> None:
    """Every rule and attack has one that needs nothing but what a machine has."""
    found = rates.measure()
    assert found.age() == "just now"
    lacking = {"smea", "oracle", "fltrust", "zeno"}
    assert set(aggregators.registry.builtins) - set(found.rules) == lacking
    assert set(found.ragged) == set(found.rules) >= set(aggregators.pre_rules.builtins)
    trying = {n for n in attacks.registry.builtins if attacks.build(n).sees == "server"}
    assert set(attacks.registry.builtins) - set(found.attacks) == trying
    every = {**found.rules, **found.attacks}
    assert all(fixed >= 0 and slope >= 0 for fixed, slope in every.values())
    assert 1e-4 < found.round < 1.0
    assert 1e8 < found.closed < 1e13


def test_a_line_goes_through_two_times() -> None:
    clock = Clock(1.0, 0.25)
    assert rates._seconds(clock.wrapped(lambda: None), clock, 2) == pytest.approx(0.625)
    assert rates._line([30, 10], [4.0, 2.0]) == pytest.approx((1.0, 0.1))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "softmaks"), "model: unknown 'softmaks'; did you mean 'softmax'"),
        (("--batch-size", "5000"), "--batch-size: 5000; 'digits' has 1221 training examples"),
        (("--model", "logistic"), "logistic regression has 2 classes; the data has 10"),
        (("--time-unit", "-1"), "--time-unit: -1.0; expected a number of seconds > 0"),
        (("--format", "csv"), "'csv' is not one of 'table', 'json'"),
    ],
)
def test_what_is_wrong_is_said(words: tuple[str, ...], message: str) -> None:
    found = hgobench("calibrate", *words)
    assert found.returncode == 2
    assert message in found.stderr
