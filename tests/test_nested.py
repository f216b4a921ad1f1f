"""Nested sub-networks: narrower layers, literally, against slices of a network in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hgobench import Scenario, World, models, run
from hgobench.algorithms import Hgo, Order, Places
from hgobench.algorithms.places import nested
from hgobench.errors import InputError
from hgobench.simulation import simulate

BASE: dict[str, Any] = {
    "data": "breast_cancer",
    "workers": 7,
    "rule": "average",
    "batch_size": 4,
    "rounds": 3,
    "deadline": 3.0,
    "hardware": "lognormal[sigma=0.8]",
    "model": "feed_forward[hidden=6]",
    "granularity": "nested",
    "learning_rate": 0.5,
    "quorum": 1,
    "evaluation_interval": 3,
}


def widths(model: Any, length: int) -> list[tuple[int, int]]:
    """Return how many of how many units of each hidden layer are among the first places."""
    places = Places(model, "nested", "scalar")
    order = Order(places, np.arange(len(places)))
    inside = order.position < length
    found = []
    for layer in hidden_layers(model):
        there = [u for u in layer if inside[model.units[1] == u].any()]
        assert there == layer[: len(there)]  # the first of the layer
        found.append((len(there), len(layer)))
    return found


def hidden_layers(model: Any) -> list[list[int]]:
    """Follow weights from the inputs, layer by layer."""
    pairs = {(a, b) for a, b in model.units.T.tolist() if b >= 0}
    targets = {b for _, b in pairs}
    layers: list[list[int]] = []
    known = {-1} | {a for a, _ in pairs if a not in targets}
    while rest := targets - known:
        layer = sorted(b for b in rest if all(a in known for a, t in pairs if t == b))
        layers.append(layer)
        known |= set(layer)
    return layers


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("feed_forward[hidden=7]", {"features": 5, "classes": 3}),
        ("tests.nets:Plain[width=6]", {"features": 64, "classes": 10, "image": (1, 8, 8)}),
        ("tests.nets:LeNet", {"features": 64, "classes": 10, "image": (1, 8, 8)}),
    ],
)
def test_the_first_places_are_a_network_of_narrower_layers(name: str, told: Any) -> None:
    model = models.registry.build(name, **told)
    places = Places(model, "nested", "scalar")
    layers = hidden_layers(model)
    assert len(places) == sum(map(len, layers))
    before: list[tuple[int, int]] = []
    for length in range(1, len(places) + 1):
        shares = widths(model, length)
        assert sum(kept for kept, _ in shares) == length
        # One share of all widths, rounded up, is what each layer has; but for the next one's turn.
        assert max((kept - 1) / of for kept, of in shares) <= min(kept / of for kept, of in shares)
        assert all(old <= new for (old, _), (new, _) in zip(before, shares, strict=False))
        before = shares
    assert all(kept == of for kept, of in before)


def test_what_has_no_hidden_units_has_no_nested_places() -> None:
    result = run(Scenario(data="digits", granularity="nested", rounds=2))
    assert (result.status, result.reason) == (
        "failed",
        "round 1: granularity: 'nested' orders the hidden units of a network; expected a model that "
        "has some, as feed_forward",
    )
    with pytest.raises(InputError, match="needs layers; the model's units are in a circle"):
        nested(np.array([[0, 1], [1, 0]]))


def slices(width: int, features: int, hidden: int, classes: int) -> Any:
    """Return which coordinates the network with so many hidden units has, layer by layer."""
    first = np.arange(hidden * features).reshape(hidden, features)
    bias = hidden * features + np.arange(hidden)
    outer = hidden * (features + 1) + np.arange(classes * hidden).reshape(classes, hidden)
    last = hidden * (features + 1) + classes * hidden + np.arange(classes)
    return first[:width], bias[:width], outer[:, :width], last


def narrow_gradient(world: World, w: Any, width: int, rows: Any) -> dict[int, float]:
    """Return the gradient of the narrow network's loss, by coordinate of the whole network."""
    train = world.data.train
    parts = slices(width, train.features.shape[1], 6, world.data.classes)
    a, b, c, e = (torch.tensor(w[part], requires_grad=True) for part in parts)
    x = torch.from_numpy(train.features[rows].astype(np.float64))
    scores = torch.relu(x @ a.T + b) @ c.T + e
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(train.labels[rows]))
    slopes = torch.autograd.grad(loss, (a, b, c, e))
    found: dict[int, float] = {}
    for part, slope in zip(parts, slopes, strict=True):
        found |= dict(zip(part.reshape(-1).tolist(), slope.reshape(-1).tolist(), strict=True))
    return found


@pytest.mark.parametrize("steps", [1, 2])
def test_narrow_workers_train_the_narrow_network(steps: int) -> None:
    """HeteroFL: each coordinate is averaged over those whose network has it."""
    algorithm = f"hgo[narrow=true,steps={steps}]"
    scenario = Scenario(**{**BASE, "algorithm": algorithm, "deadline": 3.0 * steps})
    seen: list[Tensor] = []
    (result,) = simulate([scenario], observe=lambda step: seen.append(step.params.clone()))
    assert result.status == "done", result.reason
    world = World(scenario)
    w, kinds = world.initial().double().numpy(), set[int]()
    features, classes = world.data.train.features.shape[1], world.data.classes
    for k, params in enumerate(seen, 1):
        np.testing.assert_allclose(params, w, rtol=1e-4, atol=1e-5)
        draw = world.draw(k)
        sent: list[dict[int, float]] = []
        for row, i in enumerate(draw.workers.tolist()):
            s = int(draw.size[row])
            sizes = [
                sum(part.size for part in slices(b, features, 6, classes)) for b in range(1, 7)
            ]
            room = scenario.deadline * float(world.rates[i]) / (s * steps)
            width = sum(size <= room for size in sizes)
            kinds.add(width)
            if not width:
                continue
            local, total = w.copy(), dict[int, float]()
            for step in range(steps):
                batch = world.further(k, draw, step) if step else draw.batch
                move = narrow_gradient(world, local, width, batch[row][:s])
                for j, x in move.items():
                    local[j] -= scenario.learning_rate * x
                    total[j] = total.get(j, 0.0) + x
            sent.append(total)
        for j in range(len(w)):
            values = [answer[j] for answer in sent if j in answer]
            if values:
                w[j] -= scenario.learning_rate * sum(values) / len(values)
    assert len(kinds) > 2


def test_the_order_is_the_same_in_every_round() -> None:
    """With a quorum above the number of fast workers wide units are never trained."""
    scenario = Scenario(**{**BASE, "quorum": 4, "rounds": 6})
    seen: list[Any] = []
    simulate([scenario], observe=lambda step: seen.append(step))
    blocks = [step.block.tolist() for step in seen if step.block is not None]
    longest = max(blocks, key=len)
    assert len(longest) < len(seen[0].params)
    assert all(set(block) <= set(longest) for block in blocks)


def test_a_worker_that_has_all_is_not_narrow() -> None:
    fields = {**BASE, "deadline": float("inf")}
    narrow, wide = (
        run(Scenario(**{**fields, "algorithm": a})) for a in ("hgo[narrow=true]", "hgo")
    )
    assert repr(narrow.rounds) == repr(wide.rounds)
    drawn = run(Scenario(**{**fields, "granularity": "subnetwork"}))
    assert repr(drawn.rounds) == repr(wide.rounds)


def test_whole_updates_are_not_narrow() -> None:
    with pytest.raises(ValueError, match="narrow: True; expected False with whole=true"):
        Hgo(whole=True, narrow=True)


def test_nested_cells_do_not_depend_on_the_stack() -> None:
    fields = {**BASE, "byzantine": 2, "rounds": 2, "quorum": 5}
    cells = [
        Scenario(**{**fields, "algorithm": algorithm, "attack": attack, "granularity": places})
        for algorithm in ("hgo[narrow=true]", "hgo", "hgo[narrow=true,steps=2]")
        for attack in ("label_flip", "foe", "none")
        for places in ("nested", "subnetwork")
    ]
    together = [repr(result.rounds) for result in simulate(cells)]
    assert len(set(together)) == len(cells)
    for i in range(0, len(cells), 3):
        assert repr(run(cells[i]).rounds) == together[i]
