"""Top-k with error feedback against loops in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hgobench import Scenario, World, run
from hgobench.algorithms import TopK
from hgobench.simulation import simulate
from tests.test_local_steps import gradient, table

BASE: dict[str, Any] = {
    "data": "breast_cancer",
    "workers": 6,
    "byzantine": 0,
    "rule": "average",
    "batch_size": 3,
    "rounds": 4,
    "hardware": "lognormal[sigma=1.0]",
    "deadline": 2.0,
    "learning_rate": 0.4,
    "evaluation_interval": 4,
    "algorithm": "topk[fraction=0.1]",
}


def largest(values: Any, k: int) -> list[int]:
    """Return the places of the k largest in size, of equal ones the first; NaN is infinite."""
    sizes = [math.inf if math.isnan(x) else abs(x) for x in values]
    return sorted(range(len(values)), key=lambda j: (-sizes[j], j))[:k]


LINK = "network[uplink=30,counts=true]+lognormal[sigma=1.0]"
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, math.inf, -math.inf, math.nan, 1e-40])


@settings(max_examples=50)
@given(st.lists(NUMBERS, min_size=1, max_size=9), st.floats(0.01, 1.0))
def test_an_answer_holds_the_k_largest(values: list[float], fraction: float) -> None:
    algorithm = TopK(fraction=fraction)
    k = algorithm.entries(len(values))
    assert k == max(math.floor(fraction * len(values) + 1e-9), 1)
    row = torch.tensor([values, values])
    found = algorithm.fitted(row)
    kept = largest(values, k)
    expected = torch.tensor([x if j in kept else 0.0 for j, x in enumerate(values)])
    for answer in found:
        assert torch.equal(answer.nan_to_num(nan=7.25), expected.nan_to_num(nan=7.25))
    assert torch.equal(algorithm.fitted(found).nan_to_num(7.25), found.nan_to_num(7.25))


@pytest.mark.parametrize(
    ("algorithm", "fields"),
    [
        ("topk[fraction=0.1]", {}),
        ("topk[fraction=0.1]", {"sampled": 4, "deadline": math.inf}),
        ("topk[fraction=0.3,memory=false]", {}),
        ("topk[fraction=0.1]", {"hardware": LINK, "deadline": 6.0}),
        ("topk[fraction=0.1]", {"attack": "foe[epsilon=2.0]", "byzantine": 2, "tolerated": 0, "deadline": 4.0}),
        ("topk[fraction=0.1]", {"attack": "label_flip", "byzantine": 2, "tolerated": 0}),
    ],
)  # fmt: skip
def test_topk_agrees_with_loops(algorithm: str, fields: dict[str, Any]) -> None:
    scenario = Scenario(**{**BASE, **fields, "algorithm": algorithm})
    seen: list[tuple[Tensor, Tensor]] = []
    (result,) = simulate(
        [scenario], observe=lambda step: seen.append((step.params.clone(), step.aggregate.clone()))
    )
    assert result.status == "done", result.reason
    world, tau, rounds = World(scenario), scenario.deadline, result.rounds
    evil, fleet, d = world.byzantine(scenario.byzantine), world.fleet, world.model.dimension
    fraction = 0.3 if "0.3" in algorithm else 0.1
    k, w = int(fraction * d), world.initial().double().numpy()
    memory: dict[int, Any] = {}
    silent = 0
    for round_, (params, aggregate) in enumerate(seen, 1):
        np.testing.assert_allclose(params, w, rtol=1e-4, atol=1e-6)
        draw, sent = world.draw(round_), dict[int, Any]()
        for row, i in enumerate(draw.workers.tolist()):
            s = int(draw.size[row])
            time = s * d / float(world.rates[i])
            if fleet.transfer_counts_towards_deadline:
                time += 2 * float(fleet.latency[i]) + 4 * d / float(fleet.downlink[i])
                time += 4 * 2 * k / float(fleet.uplink[i])
            lies = evil[i] and scenario.attack.startswith("foe")
            if time > tau and not lies:
                silent += 1
                continue
            flip = evil[i] and scenario.attack == "label_flip"
            total = gradient(world, w, draw.batch[row][:s].tolist(), bool(flip))
            total = total + (memory.get(i, 0.0) if "false" not in algorithm else 0.0)
            kept = largest(total, k)
            sent[i] = np.array([x if j in kept else 0.0 for j, x in enumerate(total)])
            memory[i] = total - sent[i]
        if scenario.attack.startswith("foe"):
            honest = np.mean([sent[i] for i in sent if not evil[i]], axis=0)
            kept = largest(-2.0 * honest, k)
            forged = np.array([-2.0 * x if j in kept else 0.0 for j, x in enumerate(honest)])
            sent |= {i: forged for i in draw.workers.tolist() if evil[i]}
        assert sent
        mean = np.mean(list(sent.values()), axis=0)
        np.testing.assert_allclose(aggregate, mean, rtol=2e-4, atol=1e-6)
        w = w - scenario.learning_rate * mean
        assert rounds["heard"][round_ - 1] == len(sent)
        assert rounds["bytes_up"][round_ - 1] == 4 * 2 * k * len(sent)
    assert math.isinf(tau) or silent


def test_topk_of_everything_is_sgd() -> None:
    fields = {**BASE, "rule": "median", "byzantine": 2, "attack": "foe"}
    every, sgd = (
        run(Scenario(**{**fields, "algorithm": name})) for name in ("topk[fraction=1.0]", "sgd")
    )
    assert table(every) == table(sgd)


def test_what_is_kept_is_sent_in_the_end() -> None:
    """What a worker sent and what it keeps add up to its gradients."""
    scenario = Scenario(**{**BASE, "workers": 1, "deadline": math.inf, "learning_rate": 1e-9})
    seen: list[Tensor] = []
    simulate([scenario], observe=lambda step: seen.append(step.aggregate.double()))
    world = World(scenario)
    w = world.initial().double().numpy()
    total = sum(gradient(world, w, world.draw(k).batch[0].tolist(), False) for k in (1, 2, 3, 4))
    sent = torch.stack(seen).sum(dim=0).numpy()
    moved = sent != 0
    assert 0 < moved.sum() < len(w)
    others = np.abs(total[~moved]).max()
    assert others <= max(np.abs(row.numpy()).max() for row in seen)


def test_a_coordinate_wise_rule_answers_0_where_most_send_nothing() -> None:
    scenario = Scenario(**{**BASE, "rule": "median", "deadline": math.inf, "rounds": 1})
    seen: list[Tensor] = []
    simulate([scenario], observe=lambda step: seen.append(step.aggregate))
    assert int((seen[0] != 0).sum()) <= 6 * 6 // 3  # at least half of six must send it


@pytest.mark.parametrize("fraction", [0, 1.5, "half"])
def test_what_is_no_fraction_is_refused(fraction: Any) -> None:
    with pytest.raises(ValueError, match=r"fraction: .*; expected a number in [(\\[]0, 1"):
        TopK(fraction=fraction)


def test_topk_cells_do_not_depend_on_the_stack() -> None:
    fields = {**BASE, "byzantine": 2, "rounds": 2}
    cells = [
        Scenario(**{**fields, "algorithm": algorithm, "attack": attack, "rule": rule})
        for algorithm in ("topk[fraction=0.1]", "topk[fraction=0.3]", "sgd")
        for attack in ("label_flip", "foe", "alie[z=1.5]", "none")
        for rule in ("trimmed_mean", "geometric_median")
    ]
    together = [table(result) for result in simulate(cells)]
    for i in range(0, len(cells), 3):
        assert table(run(cells[i])) == together[i]
        pair = simulate([cells[-1 - i], cells[i]])
        assert [table(result) for result in pair] == [together[-1 - i], together[i]]
