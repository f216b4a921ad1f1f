"""What a cell takes, said before it runs, is what it takes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hgobench import Scenario, costs, machine, models, open_store, run
from hgobench.engines import cells as engine
from hgobench.errors import InputError
from hgobench.machine import Rates
from hgobench.provenance import processor
from hgobench.simulation import footprint as of_memory
from hgobench.simulation import rounds, simulate
from hgobench.simulation.cell import Cell
from hgobench.simulation.footprint import check_fits, footprint
from hgobench.simulation.world import World
from tests.conftest import ROOT
from tests.test_cli import hgobench

TINY: dict[str, Any] = {"workers": 12, "sampled": 10, "f": 2, "rounds": 4, "batch_size": 5}


class Silent(models.Softmax):
    """A model that does not say what it takes."""

    def flops(self, examples: int) -> None:  # type: ignore[override]
        return None

    def working_bytes(self, workers: int, examples: int) -> None:  # type: ignore[override]
        return None


def here(scenario: Scenario, measure: bool = False) -> costs.Costs:
    """Return what a cell takes, found out in this process even if it names plug-ins."""
    found = costs._costs(measure, scenario)
    assert isinstance(found, costs.Costs), found
    return found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is known of this machine."""
    monkeypatch.setattr(machine, "file", lambda: tmp_path / "cache" / "calibration.json")
    return tmp_path / "cache" / "calibration.json"


def rates(**changed: Any) -> Rates:
    known: dict[str, Any] = {
        "when": (datetime.now(UTC) - timedelta(days=3)).isoformat(),
        "processor": processor(), "torch": str(torch.__version__), "numpy": np.__version__,
        "round": 1e-3, "evaluation": 5e-4, "closed": 1e9, "value": 1e-8, "ending": (2e-3, 1e-7),
        "rules": {"median": (1e-4, 2e-9), "nnm": (3e-4, 1e-9)},
        "ragged": {"median": (2e-4, 4e-9)},
        "attacks": {"foe": (1e-5, 1e-9), "label_flip": (0.0, 0.0), "none": (0.0, 0.0)},
    }  # fmt: skip
    return Rates(**{**known, **changed})


# Operations


@pytest.mark.parametrize(
    ("name", "net"),
    [("softmax", nn.Linear(64, 10)),
     ("feed_forward[hidden=7]", nn.Sequential(nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, 10)))],
)  # fmt: skip
def test_operations_are_those_that_torch_counts(name: str, net: nn.Module) -> None:
    model = models.registry.build(name, features=64, classes=10)
    with FlopCounterMode(display=False) as counter:
        net(torch.randn(3, 64)).sum().backward()
    biases = 4 * 3 * sum(p.numel() for n, p in net.named_parameters() if n.endswith("bias"))
    said = model.flops(3)
    assert said is not None
    assert counter.get_total_flops() <= said <= counter.get_total_flops() + biases


def test_a_module_of_the_same_layers_takes_the_same() -> None:
    closed = models.registry.build("feed_forward", features=64, classes=10)
    wrapped = models.registry.build(
        "tests.nets:Relu30", features=64, classes=10, image=(1, 8, 8), vocabulary=None
    )
    assert wrapped.flops(8) == closed.flops(8) == 8 * (4 * (64 * 30 + 30 * 10) + 2 * 30 * 10)


def test_every_gradient_of_a_worker_counts() -> None:
    one = costs.costs(Scenario(**TINY, algorithm="sgd", deadline="inf")).flops
    five = costs.costs(Scenario(**TINY, algorithm="fedavg[steps=5]", deadline="inf")).flops
    assert one is not None
    assert five == 5 * one


def test_a_model_that_says_nothing_is_unknown() -> None:
    found = here(Scenario(**TINY, model="tests.test_costs:Silent"))
    assert (found.flops, found.footprint.model) == (None, None)


@pytest.mark.parametrize(
    ("rule", "cost", "operations"),
    [("average", "m·d", 10 * 650), ("krum", "m²·d", 100 * 650),
     ("median", "m·d·log m", 10 * 650 * np.log2(10)),
     ("nnm+median", "m²·d; m·d·log m", 100 * 650 + 10 * 650 * np.log2(10)),
     ("dnc", "iterations times m²·r", None)],
)  # fmt: skip
def test_a_rule_s_operations_follow_from_its_cost(
    rule: str, cost: str, operations: float | None
) -> None:
    found = costs.costs(Scenario(**TINY, rule=rule, algorithm="sgd"))
    assert found.rule == cost
    assert found.operations == (operations and pytest.approx(operations))


# Memory


@pytest.mark.parametrize("fields", [
    {}, {"model": "feed_forward[hidden=5]", "algorithm": "sgd"}, {"data": "breast_cancer",
     "model": "logistic"}, {"model": "tests.nets:Relu30"},
])  # fmt: skip
def test_what_is_held_is_what_was_said(fields: dict[str, Any]) -> None:
    scenario = Scenario(**{**TINY, **fields})
    world = World.of(scenario)
    said, stack = footprint(scenario, world), rounds.Stack([Cell(scenario, world)], world)
    stack.play(1)
    assert stack._gradients is not None
    assert stack._x is not None
    assert said.gradients == stack._gradients.nbytes
    assert said.minibatches == stack._x.nbytes * (1 + world.models.foreign)
    assert said.parameters == 3 * stack.params.nbytes
    splits = (world.data.train, world.data.validation, world.data.test)
    held = sum(split.features.nbytes + split.labels.nbytes for split in splits)
    again = splits[2].features.nbytes + splits[2].labels.nbytes if world.models.foreign else 0
    assert said.data == held + again


def test_as_many_cells_stand_side_by_side_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [Scenario(**TINY, learning_rate=0.1 * i) for i in range(1, 8)]
    monkeypatch.setattr(of_memory, "STACK_BYTES", 3 * 4 * 10 * 650 + 100)
    assert footprint(some[0], World.of(some[0])).cells == 3
    widths: list[int] = []
    played = rounds.Stack.__init__

    def noted(self: Any, cells: Any, *more: Any) -> None:
        widths.append(len(cells))
        played(self, cells, *more)

    monkeypatch.setattr(rounds.Stack, "__init__", noted)
    simulate(some)
    assert widths == [3, 3, 1]


def test_what_does_not_fit_is_refused_with_its_sizes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scenario = Scenario(**TINY)
    refusal = (
        r"^memory: a cell of q=10 workers and d=650 parameters takes \d+ KiB and more: 25.4 KiB "
        r"for gradients \(q x d\), 7.62 KiB for parameters, 12.5 KiB for minibatches, 4\d\d KiB "
        "for data; this machine has 500 KiB: take a smaller model, fewer workers"
    )
    monkeypatch.setattr(of_memory, "memory", lambda: 500 << 10)
    with pytest.raises(InputError, match=refusal):
        run(scenario)
    with open_store(tmp_path) as store:
        with pytest.raises(InputError, match=refusal):
            engine.execute([scenario], store, "mine-1")
        assert not list(store.results())
    monkeypatch.setattr(machine, "memory", lambda: 500 << 10)
    found = costs.costs(scenario, measure=True)
    assert (found.time, found.footprint.gradients) == (None, 4 * 10 * 650)
    assert found.why == "it does not fit into this machine's memory, and is refused"
    monkeypatch.setattr(of_memory, "memory", lambda: 1 << 30)
    assert run(scenario).status == "done"


CHILD = """
import json, re, sys
from hgobench import Scenario, costs
from hgobench.simulation import simulate
scenario = Scenario(**json.loads(sys.argv[1]))
said = costs.costs(scenario).peak
simulate([scenario])
# Not getrusage: its peak may be that of the process which this one was forked from.
(peak,) = re.findall(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(said / (1024 * int(peak)))
"""


@pytest.mark.long
@pytest.mark.parametrize("fields", [
    {"workers": 30, "f": 3, "rule": "geometric_median", "attack": "fang", "rounds": 3},
    {"workers": 100, "f": 20, "rule": "krum", "attack": "alie", "rounds": 2, "algorithm": "sgd",
     "model": "feed_forward[hidden=1333]", "hardware": "powerful"},
    {"workers": 60, "f": 5, "rule": "trimmed_mean", "attack": "alie", "rounds": 2,
     "model": "feed_forward[hidden=10000]"},
    {"workers": 20, "f": 3, "rule": "median", "rounds": 2, "model": "tests.nets:ResNet8"},
])  # fmt: skip
def test_the_peak_of_a_process_is_what_was_said(fields: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(fields)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert 1 / 1.5 < float(done.stdout) < 1.5


# Time


def test_without_a_calibration_no_time_is_guessed() -> None:
    found = costs.costs(Scenario(**TINY))
    assert (found.time, found.why) == (None, "this machine is not calibrated")


def test_a_calibrated_machine_s_time_by_hand() -> None:
    machine.keep(rates())
    scenario = Scenario(
        **{**TINY, "rounds": 7}, evaluation_interval=3, rule="nnm+median", attack="foe",
        algorithm="sgd", hardware="powerful", deadline="inf",
    )  # fmt: skip
    time = costs.costs(scenario).time
    assert time is not None
    values = 10 * 650
    assert time.parts == pytest.approx({
        "gradients": 10 * 4 * 5 * 650 / 1e9,
        "rule": 1e-4 + 2e-9 * values + 3e-4 + 1e-9 * values,
        "attack": 1e-5 + 1e-9 * values,
        "the rest": 1e-3 + 1e-8 * values,
    })  # fmt: skip
    assert time.round == pytest.approx(sum(time.parts.values()))
    assert time.evaluation == pytest.approx(5e-4 + 4 * (216 + 360) * 650 / 2 / 1e9)
    assert time.total == pytest.approx(7 * time.round + 3 * time.evaluation + time.ending)
    assert time.ending == pytest.approx(2e-3 + 1e-7 * values)
    assert time.source == f"this machine's calibration, 3 days ago on {processor()}"


def test_lengths_that_differ_take_the_time_of_parts() -> None:
    machine.keep(rates())
    fields = {**TINY, "rule": "median", "attack": "none"}
    whole = costs.costs(Scenario(**fields, algorithm="sgd", deadline="inf")).time
    parts = costs.costs(Scenario(**fields, algorithm="hgo")).time
    assert whole is not None
    assert parts is not None
    assert whole.parts["rule"] == pytest.approx(1e-4 + 2e-9 * 6500)
    assert whole.parts["rule"] < parts.parts["rule"] <= 2e-4 + 4e-9 * 6500


def test_poisoned_data_take_gradients_again() -> None:
    machine.keep(rates())
    time = costs.costs(Scenario(**TINY, rule="median", attack="label_flip", algorithm="sgd")).time
    assert time is not None
    assert time.parts["attack"] == pytest.approx(time.parts["gradients"] * 2 / 12)


def test_a_module_is_timed_now() -> None:
    machine.keep(rates())
    scenario = Scenario(**TINY, model="tests.nets:Relu30", rule="median", attack="foe")
    time = here(scenario).time
    assert time is not None
    assert time.source.endswith("; the model's gradients are timed now")
    assert time.parts["gradients"] > 0


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"rule": "krum"}, "the calibration does not have the rule krum"),
     ({"rule": "nnm+median"}, "the calibration does not have the rule nnm on parts of gradients"),
     ({"rule": "median", "attack": "alie"}, "the calibration does not have the attack alie"),
     ({"rule": "median", "algorithm": "fedavg[steps=3]"}, "whose workers take several gradients"),
     ({"rule": "median", "attack": "optimal_foe"}, "optimal_foe, which tries the rule")],
)  # fmt: skip
def test_what_a_calibration_lacks_is_said(fields: dict[str, Any], why: str) -> None:
    machine.keep(rates())
    found = costs.costs(Scenario(**{**TINY, **fields}))
    assert found.time is None
    assert why in found.why


@pytest.mark.parametrize("changed", [{"processor": "another"}, {"torch": "1"}, {"numpy": "1"}])
def test_another_machine_s_calibration_is_not_used(changed: dict[str, str]) -> None:
    machine.keep(rates(**changed))
    found = costs.costs(Scenario(**TINY, rule="median", attack="foe"))
    assert found.time is None
    assert found.why.startswith("this machine's calibration is of ")
    assert found.why.endswith(", which are not these")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"when": 1}', json.dumps({**vars(rates()), "round": -1.0}),
                json.dumps({**vars(rates()), "rules": {"median": [1.0]}})],
)  # fmt: skip
def test_a_damaged_calibration_is_refused(content: str, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text(content)
    with pytest.raises(InputError, match="is damaged: hgobench calibrate writes it anew"):
        machine.kept()


def test_a_calibration_is_kept() -> None:
    assert machine.kept() is None
    machine.keep(rates(round=2e-3))
    kept = machine.kept()
    assert kept is not None
    assert kept.round == 2e-3
    assert kept.rules["median"] == (1e-4, 2e-9)
    again = rates()
    path = machine.keep(again)
    assert [file.name for file in path.parent.iterdir()] == ["calibration.json"]


def test_rounds_are_played_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    played = rounds.Stack.play

    def noted(self: Any, k: int) -> bool:
        numbers.append(k)
        return played(self, k)

    monkeypatch.setattr(rounds.Stack, "play", noted)
    scenario = Scenario(**{**TINY, "rounds": 100}, evaluation_interval=30, attack_start=20)
    found = costs.costs(scenario, measure=True).time
    assert found is not None
    assert numbers == [20, 21, 22, 23, 24, 25], "one to warm up, in which the attack is on"
    assert found.total == pytest.approx(100 * found.round + 4 * found.evaluation + found.ending)
    assert found.source == f"measured now, 5 rounds on {processor()}"


def test_a_cell_that_fails_has_no_time() -> None:
    found = here(Scenario(**TINY, rule="tests.plugins:Raising"), measure=True)
    assert found.time is None
    assert "tests.plugins:Raising" in found.why


@pytest.mark.long
def test_plug_ins_are_called_in_a_process_of_their_own() -> None:
    found = costs.costs(Scenario(**TINY, rule="tests.plugins:Raising"), measure=True)
    assert "tests.plugins:Raising" in found.why
    with pytest.raises(InputError, match=r"tests\.plugins:Killing"):
        costs.costs(Scenario(**TINY, rule="tests.plugins:Killing"), measure=True)


# What people see


def test_the_page() -> None:
    machine.keep(rates())
    words = ("n=12", "q=10", "f=2", "s=5", "rounds=4", "rule=median", "attack=foe", "algorithm=sgd")
    shown = hgobench("show", "scenario", *words)
    assert shown.returncode == 0, shown.stderr
    for line in (
        "parameters: d = 650",
        "a cell's gradients: 25.4 KiB (q x d = 10 x 650)",
        "gradients per round: 130 kFLOP",
        "median per round: some 21.6 kOP: m·d·log m, m = 10 x d = 650",
        f"by: this machine's calibration, 3 days ago on {processor()}",
    ):
        assert f"  {line}" in shown.stdout
    measured = hgobench("show", "scenario", *words, "--measure")
    assert f"by: measured now, 5 rounds on {processor()}" in measured.stdout


def test_its_json_has_units() -> None:
    words = ("show", "scenario", "n=12", "q=10", "f=2", "s=5", "rule=median", "--format", "json")
    takes = json.loads(hgobench(*words).stdout)["takes"]
    assert takes["parameters"] == 650
    assert takes["gradient_flops_per_round"] == 4 * 10 * 5 * 650
    assert takes["memory"]["gradients_bytes"] == 4 * 10 * 650
    assert takes["time"] == {"unknown": "this machine is not calibrated"}
    takes = json.loads(hgobench(*words, "--measure").stdout)["takes"]
    assert takes["time"]["total_cpu_seconds"] > takes["time"]["round_cpu_seconds"] > 0


def test_data_that_are_not_at_hand_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path))
    monkeypatch.setattr("hgobench.data.files.user_cache_path", lambda _: tmp_path)
    shown = hgobench("show", "scenario", "data=cifar10")
    assert shown.returncode == 0, shown.stderr
    assert "data: cifar10\n" in shown.stdout
    assert "What it takes is not known: data: 'cifar10'" in " ".join(shown.stdout.split())


def test_measure_is_for_scenarios() -> None:
    refused = hgobench("show", "partition", "iid", "--measure")
    assert refused.returncode == 2
    assert "show partition: --measure is for scenarios" in refused.stderr


def test_a_run_that_would_not_end_is_refused_with_its_length(tmp_path: Path) -> None:
    """As much as no thread does in a month; a budget ends it, and so do fewer rounds."""
    fields: dict[str, Any] = {"model": "feed_forward[hidden=100000]", "workers": 3}
    scenario = Scenario(**fields, batch_size=600, rounds=10**7)
    world = World.of(scenario)
    one = world.model.flops(len(world.shards[0]))
    assert one is not None
    days = 3 * one * 10**7 / 1e11 / 86_400
    refusal = re.escape(
        f"rounds: 10,000,000 rounds of q=3 workers' gradients, {one:.3g} floating-point operations "
        f"each, take {days:,.0f} days at 10^11 operations a second, a fast thread's; expected at "
        "most 30: take fewer rounds, a smaller model, fewer workers (q) or smaller minibatches (s)"
    )
    assert days > 30
    with pytest.raises(InputError, match=refusal):
        run(scenario)
    with open_store(tmp_path) as store, pytest.raises(InputError, match=refusal):
        engine.execute([scenario], store, "mine-1")
    check_fits(scenario.replace(time_budget=100.0), world)  # which ends it
    check_fits(scenario.replace(rounds=10**5), world)
