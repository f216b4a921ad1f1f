"""Rules, attacks, models and runs on another device: a fake one always, a real one if there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, aggregators, attacks
from hgobench.aggregators import ServerView
from hgobench.attacks import Message, Outcome
from hgobench.errors import InputError
from hgobench.metrics.influence import COPIES
from hgobench.provenance import usable
from hgobench.simulation import run, simulate
from hgobench.testing import view
from tests.fake_device import FakeDevice, here, there

RULES = [
    *aggregators.registry.names(),
    "nnm+krum",
    "arc+median",
    "clipping+average",
    "bucketing+median",
]
CASES = [(rule, scope) for rule in RULES for scope in aggregators.build(rule).scopes()]
M, B = 11, 60


class Root:
    rate = 0.1

    def __init__(self, move: bool) -> None:
        self.move = move

    def gradient(self, examples: int) -> torch.Tensor:
        made = torch.linspace(-1, 1, B)
        return made.to("cuda") if self.move else made

    def descent(self, updates: torch.Tensor, examples: int) -> torch.Tensor:
        return -updates.square().sum(dim=1)


@pytest.mark.parametrize("rule", ["krum", "nnm+median", "geometric_median"])
def test_the_host_waits_as_often_for_long_vectors_as_for_short_ones(rule: str) -> None:
    """Each copy to the host waits for all that the device was asked for before."""
    copies = []
    for b in (1200, 4800):
        values = torch.from_numpy(np.random.default_rng(0).standard_normal((M, b), np.float32))
        made = aggregators.build(rule, f=1)
        with FakeDevice() as device:
            made(there(values))
        copies.append(device.copies)
    assert copies[0] == copies[1]


def test_a_rules_memory_moves_to_where_the_values_are() -> None:
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((M, B), np.float32))
    alone, moved = (aggregators.build("centered_clipping", f=1) for _ in range(2))
    alone(values), moved(values)
    with FakeDevice():
        found = moved(there(values + 1.0))
    torch.testing.assert_close(here(found), alone(values + 1.0))


@pytest.mark.parametrize(
    ("ragged", "fault"), [(False, "none"), (False, "nan"), (False, "far"), (True, "none")]
)
@pytest.mark.parametrize(("rule", "scope"), CASES)
def test_rules_elsewhere(rule: str, scope: str, ragged: bool, fault: str) -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.standard_normal((M, B)).astype(np.float32))
    if fault == "nan":
        values[3] = torch.nan
    if fault == "far":
        values += 100.0
    present = torch.from_numpy(rng.permutation(B) < rng.integers(20, B, M)[:, None])
    present[:7] = True
    seen = ServerView(honest=np.arange(M) != 3, root=Root(move=False))
    sent = present if ragged else None

    def answer(move: bool) -> torch.Tensor:
        made = aggregators.build(rule, f=1, scope=scope)  # type: ignore[arg-type]
        if not move:
            return made(values, sent, seen)
        there_sent = None if sent is None else there(sent)
        return made(there(values), there_sent, replace(seen, root=Root(move=True)))

    try:
        expected = answer(move=False)
    except aggregators.NonFiniteError:
        with FakeDevice(), pytest.raises(aggregators.NonFiniteError):
            answer(move=True)
        return
    with FakeDevice() as device:
        found = answer(move=True)
        assert found.device.type == "cuda"
    torch.testing.assert_close(here(found), expected, rtol=2e-5, atol=2e-5)
    if rule != "sign_guard":  # which looks at the signs of a tenth of the coordinates
        assert device.largest <= (M + 2) ** 2  # inner products; never what was sent


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("attack", [name for name in attacks.registry.names() if name != "none"])
def test_attacks_elsewhere(attack: str, ragged: bool) -> None:
    seen = view(ragged=ragged, dimension=30)
    expected = attacks.build(attack)(seen).values
    moved = replace(
        view(ragged=ragged, dimension=30),
        own=there(seen.require_own()),
        honest=there(seen.require_honest()),
        model=there(seen.require_model()),
        last_step=there(seen.require_last_step()),
        sent=None if seen.sent is None else there(seen.sent),
    )
    with FakeDevice():
        if seen.server is not None and attacks.build(attack).sees == "server":
            judge = aggregators.build("median")

            def server(message: Message) -> Outcome:
                answer = judge(message.values.to(moved.require_model()))
                return Outcome(
                    answer.double() - moved.centre(), lambda: moved.require_model() - answer
                )

            plain = replace(moved, server=server)
            message = attacks.build(attack)(plain)
            assert message.values.shape == (3, 30)
            return
        found = attacks.build(attack)(moved).values
    torch.testing.assert_close(here(found), expected, rtol=1e-5, atol=1e-5, equal_nan=True)


CELLS: dict[str, dict[str, Any]] = {
    "hgo": {"hardware": "weak"},
    "sgd": {"algorithm": "sgd"},
    "momentum": {"algorithm": "hgo[momentum=0.9]", "hardware": "weak"},
    "workload": {"workload": "hybrid[rho=0.5]", "hardware": "weak", "deadline": 50.0},
    "poisoned": {"attack": "label_flip"},
    "optimal": {"attack": "optimal_foe", "hardware": "weak", "scope": "coordinate"},
    "tail": {"attack": "tail+alie", "hardware": "weak", "scope": "coordinate"},
    "features": {"granularity": "feature", "hardware": "weak"},
    "root": {"rule": "fltrust"},
    "validated": {"rule": "zeno"},
    "told": {"rule": "oracle"},
    "krum": {"rule": "nnm+krum"},
    "updates": {"algorithm": "fednova[steps=2]", "attack": "claim_steps+foe"},
    "pulled": {"algorithm": "fedprox[steps=2,mu=0.5]", "attack": "label_flip", "deadline": 99.0},
    "updates in blocks": {"algorithm": "hgo[steps=2]", "hardware": "weak"},
    "narrow": {
        "algorithm": "hgo[narrow=true,steps=2]",
        "hardware": "weak",
        "granularity": "nested",
        "model": "feed_forward[hidden=8]",
    },
    "top-k": {"algorithm": "topk[fraction=0.2]"},
    "logistic": {"data": "breast_cancer", "model": "logistic"},
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] * (name == "optimal")) for name in CELLS],
)
def test_runs_elsewhere(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fields: dict[str, Any] = {"workers": 12, "f": 2, "attack": "foe", "rounds": 4, **CELLS[name]}
    cells = [Scenario(learning_rate=rate, **fields) for rate in (0.1, 0.2)]
    expected = simulate(cells)
    assert all(result.status == "done" for result in expected), expected[0].reason
    monkeypatch.setattr("hgobench.provenance.device_name", lambda device: "fake")
    with FakeDevice() as device:
        simulate([cell.replace(metrics="none", rounds=2) for cell in cells], device="cuda")
        assert device.largest < 200  # never a gradient
        found = simulate(cells, device="cuda")
    # In the end who sent what, and a slope of each coordinate, or copy of it; never an answer.
    columns = COPIES * max(found[0].rounds["block_size"])
    assert device.largest <= max(cells[0].workers * columns, 200)
    assert device.largest_real <= max(columns, 200)
    for mine, plain in zip(found, expected, strict=True):
        assert mine.status == "done", mine.reason
        assert mine.provenance["device"] == "fake"
        for column, numbers in plain.rounds.items():
            # Rounding differs: after four rounds, an example that two classes claim may go to either.
            close = 0.02 if column.endswith("accuracy") else 1e-3
            np.testing.assert_allclose(mine.rounds[column], numbers, rtol=1e-3, atol=close)


def test_a_device_that_is_not_there() -> None:
    for name in ("nonsense", "meta", "hpu", "privateuseone", "vulkan", "cpu:-1", ""):
        with pytest.raises(InputError, match=f"device: '{name}'; torch can't compute there: "):
            usable(name)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device: 'cuda'; torch can't compute there: "):
            run(Scenario(), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("model", ["softmax", "feed_forward"])
@pytest.mark.parametrize("rule", RULES)
def test_runs_on_cuda(rule: str, model: str) -> None:
    scenario = Scenario(
        rule=rule, model=model, workers=20, f=2, attack="alie", rounds=5, hardware="powerful"
    )
    plain, found = run(scenario), run(scenario, device="cuda")
    assert found.status == plain.status
    assert found.provenance["device"] == torch.cuda.get_device_name()
    if plain.status == "done":
        accuracy = plain.summary["test_accuracy"]
        assert found.summary["test_accuracy"] == pytest.approx(accuracy, abs=0.02)
