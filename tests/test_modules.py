"""Torch modules of anybody's as models: gradients, bits, units, refusals, addresses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, models
from hgobench.algorithms import Order, Places
from hgobench.engines.cells import _make
from hgobench.errors import InputError
from hgobench.models import Module
from hgobench.results import address
from hgobench.simulation import simulate
from hgobench.simulation.world import World
from hgobench.testing import check, kind_of, try_named
from tests import nets

ROOT = Path(__file__).parent.parent
FIELDS: dict[str, Any] = {
    "data": "digits", "workers": 12, "sampled": 8, "byzantine": 2, "batch_size": 6, "rounds": 10,
    "attack": "foe", "evaluation_interval": 10, "learning_rate": 0.05, "rule": "trimmed_mean",
}  # fmt: skip
STRANGERS = {
    "NormedMlp": ("mapped", ""),
    "LeNet": ("loop", "Conv2d"),
    "small_resnet": ("loop", "Conv2d"),
    "Depthwise": ("loop", "Conv2d"),
    "Gru[inputs=rows]": ("loop", "torch.func.vmap"),
    "Encoder[inputs=rows]": ("loop", "torch.func.vmap"),
    "Bag": ("loop", "torch.func.vmap"),
    "Tied": ("mapped", ""),
    "Unused": ("mapped", ""),
    "TwoHeads[output=0]": ("products", ""),
}


def named(name: str, **more: Any) -> Scenario:
    if name == "Bag":
        more = {"data": "tests.nets:Tokens", **more}
    return Scenario(**{**FIELDS, "model": f"tests.nets:{name}", **more})


def built(name: str, features: int = 64, classes: int = 10, image: Any = (1, 8, 8)) -> Any:
    return models.registry.build(
        f"tests.nets:{name}", features=features, classes=classes, image=image
    )


def plain_gradients(
    model: Module, row: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Return each worker's gradient by autograd on the module itself, in a loop, (q, d)."""
    net = model._build()
    with torch.no_grad():
        net(model._as(model.inputs or "flat", x[0]))  # lazy layers
        torch.nn.utils.vector_to_parameters(row, list(net.parameters()))
    net.eval()
    rows = []
    for i in range(len(x)):
        net.zero_grad()
        answer = net(model._as(model.inputs or "flat", x[i]))
        answer = answer[0] if isinstance(answer, tuple) else answer
        torch.nn.functional.cross_entropy(answer, y[i]).backward()  # type: ignore[no-untyped-call]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]
        rows.append(torch.cat([g.flatten() for g in grads]))
    return torch.stack(rows)


@pytest.mark.parametrize("name", STRANGERS)
def test_first_gradients_are_those_of_autograd_in_a_loop(name: str) -> None:
    world = World(named(name))
    model, draw = world.model, world.draw(1)
    assert isinstance(model, Module)
    way, reason = STRANGERS[name]
    assert model.way == way
    assert model.reason.startswith(reason)
    x, y = world.minibatches(draw)
    start = world.initial()
    assert len(start) == model.dimension == sum(model.sizes)
    expected = plain_gradients(model, start, x, y)
    for module in model.net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    found = world.gradients(1, start[None], x, y)[0]
    assert float((found - expected).abs().max()) <= 1e-5 * max(float(expected.abs().max()), 1.0)


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers_run_on_hgo_and_sgd(name: str) -> None:
    algorithms = ("hgo", "sgd")
    results = simulate([named(name, algorithm=algorithm) for algorithm in algorithms])
    for result in results:
        assert (result.status, result.reason) == ("done", "")
        assert len(result.rounds["round"]) == 10
        assert result.right is not None


def data_of(model: Module, q: int = 3, s: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(q, s, model.features, generator=rng)
    return x, torch.randint(0, model.classes, (q, s), generator=rng)


@pytest.mark.parametrize(
    "name",
    [
        "NormedMlp",
        "Plain",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in ("small_resnet", "Encoder[inputs=rows]", "Gru[inputs=rows]")
        ),
    ],
)
def test_a_cell_s_numbers_do_not_depend_on_its_neighbours(name: str) -> None:
    """Alone, in stacks of 2 and of 64, with dropout: bit for bit."""
    rates = [0.01 + 0.001 * i for i in range(64)]
    cells = [named(name, rounds=2, learning_rate=rate) for rate in rates]
    many, two, one = simulate(cells), simulate(cells[3:5]), simulate(cells[3:4])
    for result in (two[0], many[3]):
        assert result.rounds["test_loss"][-1] == one[0].rounds["test_loss"][-1]
        assert result.right == one[0].right


@pytest.mark.parametrize("name", ["Plain", "NormedMlp", "small_resnet", "Unused"])
@pytest.mark.parametrize("together", [1, 2])
def test_chunks_change_no_gradient(
    name: str, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one worker or two, or of a part of a minibatch; with weights."""
    model = built(name)
    for module in model.net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    x, y = data_of(model)
    weights = torch.rand(y.shape, generator=torch.Generator().manual_seed(4))
    params = model.initial(np.random.default_rng(0))[None]
    expected = model.gradients(params, x, y, weights)
    monkeypatch.setattr("hgobench.models.module.MEMORY", together * 4 * model._bytes)
    found = model.gradients(params, x, y, weights)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr("hgobench.models.module.MEMORY", model._bytes)
    if model.way == "loop":
        found = model.gradients(params, x, y, weights)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_dropout_is_drawn_by_seed_and_round() -> None:
    worlds = [World(named("Plain", seed=seed)) for seed in (0, 0, 1)]
    x, y = worlds[0].minibatches(worlds[0].draw(1))
    params = worlds[0].initial()[None]
    first, again, other = (world.gradients(1, params, x, y).clone() for world in worlds)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, worlds[0].gradients(2, params, x, y))
    same = params[0].repeat(2, 1), x[:1].repeat(2, 1, 1), y[:1].repeat(2, 1)
    own = worlds[0].own_gradients(1, *same, minibatch=1)
    assert not torch.equal(own[0], own[1])  # workers drop different units
    assert not torch.equal(own, worlds[0].own_gradients(1, *same, minibatch=2))
    loss = [world.evaluate(1, params, *world.test)[0] for world in worlds]
    assert loss[0] == loss[1]


def test_initial_parameters_are_the_module_s_own_draw() -> None:
    model = built("Plain")
    one, again, other = (model.initial(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert float(one.abs().max()) <= 12**-0.5  # nn.Linear's bound


@pytest.mark.parametrize("name", ["Plain", "ready", "same"])
def test_what_is_computed_leaves_initial_parameters_alone(name: str) -> None:
    """Also of an instance, which starts at its own, and which nothing changes."""
    model = built(name)
    before = model.initial(np.random.default_rng(0))
    own = torch.nn.utils.parameters_to_vector(nets.ready.parameters()).detach()
    assert torch.equal(before, own) == (name != "Plain")
    x, y = data_of(model)
    params = torch.ones(2, model.dimension)
    model.gradients(params, x, y)
    model.evaluate(params, x[0], y[0])
    assert torch.equal(model.initial(np.random.default_rng(0)), before)
    after = torch.nn.utils.parameters_to_vector(nets.ready.parameters()).detach()
    assert torch.equal(after, own)


def test_a_constructor_is_told_what_it_names() -> None:
    assert built("LeNet").shapes["conv1.weight"][1] == 1
    assert built("LeNet", 3072, 7, (3, 32, 32)).shapes["conv1.weight"][1] == 3
    assert built("Plain[width=5]", 6, 3, None).shapes["layers.0.weight"] == (5, 6)
    assert models.registry.canonical("tests.nets:Plain[width=12]") == "tests.nets:Plain"
    linear = models.registry.build("torch.nn:Linear", features=4, classes=3, image=None)
    assert linear.dimension == 15
    numbers = models.registry.build("torch.nn:Linear", features=3, classes=0, image=None)
    x, y = torch.eye(3), torch.tensor([1.0, 2.0, 3.0])
    exact = torch.tensor([[1.0, 2.0, 3.0, 0.0]])
    assert [float(v) for v in numbers.evaluate(exact, x, y)] == [0.0, 1.0]


def test_a_loss_of_one_s_own() -> None:
    model = built("Plain[loss=tests.nets:smoothed]")
    x, y = data_of(model)
    model.net.layers[2].p = 0.0
    params = model.initial(np.random.default_rng(0))
    found = model.gradients(params[None], x, y)[0, 1]
    w = params.clone().requires_grad_()
    shapes = model._split(w)
    values = dict(zip(model.shapes, shapes, strict=True))
    scores = torch.func.functional_call(model.net, values, (x[1],))
    smoothed = nets.smoothed(scores, y[1])
    (expected,) = torch.autograd.grad(smoothed, w)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    loss, _ = model.evaluate(params[None], x[1], y[1])
    assert float(loss) == pytest.approx(float(smoothed.detach()), rel=1e-5)


def test_frozen_batch_normalisation_is_an_affine_map() -> None:
    model = built("Batched[freeze=true]")
    assert "norm.weight" in model.shapes
    x, y = data_of(model)
    params = model.initial(np.random.default_rng(0))[None]
    model.gradients(params, x, y)
    assert int(model.net.norm.num_batches_tracked) == 0
    found = model.evaluate(params, x[0], y[0])[1]
    assert torch.equal(found, model.evaluate(params, x[0].flip(0), y[0].flip(0))[1])


def test_an_instance_s_numbers_reach_addresses() -> None:
    before = address.result_key(named("ready"), "mine-1", data="")
    bias = dict(nets.ready.named_parameters())["layers.0.bias"]
    bias.data += 1.0
    try:
        assert address.result_key(named("ready"), "mine-1", data="") != before
    finally:
        bias.data -= 1.0


def test_a_loss_s_source_reaches_addresses() -> None:
    modules = address._plugin_modules({"model": "tests.nets:Plain[loss=tests.plugins:smoothed]"})
    assert {"tests.nets", "tests.plugins"} <= modules.keys()
    assert not any(name.startswith("torch") for name in modules)


def test_objects_are_named_or_refused() -> None:
    assert Scenario(model=nets.Plain) == Scenario(model="tests.nets:Plain")
    assert Scenario(model=nets.ready).model == "tests.nets:ready"
    assert Scenario(model=nets.small_resnet).model == "tests.nets:small_resnet"
    refused: list[tuple[Any, str]] = [
        (lambda features: None, "a lambda has no name"),
        (nets.closure(), "it is defined inside a function"),
        (nets.Plain(3, 2), "tests.nets has no name for this instance; bind it to one in a module"),
    ]
    for value, why in refused:
        with pytest.raises(InputError, match=why):
            Scenario(model=value)
    here = type("Here", (torch.nn.Module,), {"__module__": "__main__"})
    with pytest.raises(InputError, match="notebook defines can't be imported"):
        Scenario(model=here)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Batched", "norm is BatchNorm1d, which mixes a minibatch's examples and collects "
         "statistics that no worker sends: use torch.nn.GroupNorm, or freeze=true"),
        ("Batched[track=false,freeze=true]", "no worker sends: use torch.nn.GroupNorm"),
        ("Counting", r"it changes its buffers \(calls\) as it computes"),
        ("SequenceFirst[inputs=flat]", "depends on the others in the minibatch"),
        ("TwoHeads", "returns 2 values; expected a tensor; say which is scored, as output=0"),
        ("TwoHeads[output=1]", r"answers \(5, 4\); expected scores \(5, 10\)"),
        ("TwoHeads[output=2]", "output=2: it returns 2 values"),
        ("Plain[loss=mse]", "loss: mse is of numbers; the data has classes"),
        ("Plain[loss=tests.nets:spread]", "is not the mean of its values of each"),
        ("Plain[loss=tests.nets:nowhere]", "tests.nets has no function nowhere"),
        ("Plain[loss=no.such:loss]", "loss: no.such:loss does not import"),
        ("Plain[loss=focal]", "loss: 'focal'; expected cross_entropy, mse or module:function"),
        ("Plain[inputs=square]", "inputs: 'square'; expected one of flat, image, tokens, rows"),
        ("Plain[depth=2]", "parameter: unknown 'depth'; did you mean 'width'"),
        ("nothing", "made builtins.int; expected a torch.nn.Module"),
    ],
)  # fmt: skip
def test_what_no_worker_can_train_is_refused(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        built(name)
    (problem,) = error.value.problems
    assert "\n" not in problem


def test_tokens_are_whole_numbers() -> None:
    (result,) = simulate([named("Bag", data="digits")])
    assert result.status == "failed"
    assert "the data's features are no whole numbers" in result.reason


@pytest.mark.parametrize("name", ["Plain", "LeNet", "torch", "Declared"])
def test_units_of_chains_and_declared_ones(name: str) -> None:
    """A place that comes first makes a sub-network: what is not in it has no part in the rest."""
    text = "torch.nn:Linear" if name == "torch" else f"tests.nets:{name}"
    model: Any = models.registry.build(text, features=64, classes=10, image=(1, 8, 8))
    assert np.array_equal(np.unique(model.place_of), np.arange(model.place_of.max() + 1))
    for granularity in ("feature", "subnetwork"):
        places = Places(model, granularity, "scalar")
        order = Order(places, np.random.default_rng(0).permutation(len(places)))
        assert order.full_cost == model.dimension


def test_a_chain_s_units_are_those_of_the_network_in_closed_form() -> None:
    chain = built("Plain[width=5]", 6, 3, None)
    closed = models.registry.build("feed_forward[hidden=5]", features=6, classes=3)
    assert np.array_equal(chain.place_of, closed.place_of)
    assert np.array_equal(chain.units, closed.units)


@pytest.mark.parametrize(
    ("name", "granularity", "said"),
    [
        ("small_resnet", "feature", "joins several; declare place_of"),
        ("Gru[inputs=rows]", "subnetwork", "declare units"),
        ("Unused", "subnetwork", "not each once and in order; declare units"),
        ("NormedMlp", "subnetwork", "does a normalisation mix units"),
        ("Declared[right=false]", "subnetwork", "those that enter it still matter"),
    ],
)
def test_units_that_can_t_be_told_are_refused(name: str, granularity: Any, said: str) -> None:
    (result,) = simulate([named(name, granularity=granularity, algorithm="hgo")])
    assert result.status == "failed"
    assert said in result.reason


def test_normalised_chains_have_places() -> None:
    model = built("NormedMlp[width=6]")
    counts = np.bincount(model.place_of)
    assert counts.tolist() == [6] * 64 + [6] + [1] * 6 + [6] + [10] * 6 + [10]


@pytest.mark.parametrize("name", ["NormedMlp", "Depthwise", "Tied", "Unused", "TwoHeads[output=0]"])
def test_strangers_obey_the_laws(name: str) -> None:
    check(f"tests.nets:{name}")


@pytest.mark.parametrize("name", ["softmax", "linear", "logistic", "svm", "feed_forward"])
def test_models_of_this_project_obey_the_laws(name: str) -> None:
    data = "breast_cancer" if name in ("logistic", "svm") else "digits"
    check(name, data="tests.plugins:Prices" if name == "linear" else data)


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("Doubled", "gradients_are_slopes_of_the_loss"),
        ("Unweighted", "weights_weigh_examples"),
        ("Mixing", "workers_do_not_depend_on_others"),
        ("Neighbourly", "cells_do_not_depend_on_others"),
        ("Forgetful", "calls_repeat_bit_for_bit"),
        ("Wandering", "initial_parameters_are_drawn"),
    ],
)
def test_a_broken_model_breaks_its_law(name: str, law: str) -> None:
    kind, verdicts = try_named(f"tests.nets:{name}")
    assert kind.name == "model"
    broken = {v.law for v in verdicts if v.outcome == "fail"}
    assert law in broken
    with pytest.raises(AssertionError, match=f"^({'|'.join(broken)}): "):
        check(f"tests.nets:{name}")


def test_which_names_are_models() -> None:
    for name in ("softmax", "tests.nets:Plain", "tests.nets:ready", "tests.nets:small_resnet"):
        assert kind_of(name).name == "model", name
    for name in ("krum", "foe", "tests.nets:closure", "tests.plugins:Signs", "tests.nets:smoothed"):
        assert kind_of(name).name != "model", name


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "examples"), [("ResNet8", 512), ("NormedMlp[width=2000]", 512), ("Relu30", 4096)]
)
def test_activations_keep_within_their_bound(name: str, examples: int) -> None:
    """A process grows by less than `MEMORY` and half of it, though all activations take more."""
    program = f"""
import resource, torch
from hgobench import models
from hgobench.determinism import stream
from hgobench.models.module import MEMORY
torch.set_num_threads(1)
model = models.registry.build("tests.nets:{name}", features=3072, classes=10, image=(3, 32, 32))
params = model.initial(stream(0, "initial"))[None]
x, y = torch.randn(8, {examples}, 3072), torch.randint(0, 10, (8, {examples}))
out = torch.zeros(1, 8, model.dimension)
model.gradients(params, x[:, :2], y[:, :2], None, out)
usage = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = usage()
model.gradients(params, x, y, None, out)
model.evaluate(params, x[0], y[0])
print((usage() - before) / MEMORY, model._bytes * 8 * {examples} / MEMORY)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    grew, all_at_once = map(float, done.stdout.split())
    assert grew < 1.5 < all_at_once


def test_units_that_can_t_be_told_are_refused_before_anything_runs() -> None:
    problem = "declare place_of"
    with pytest.raises(InputError, match=problem):
        _make(named("Gru[inputs=rows]", granularity="feature", algorithm="hgo"), "cpu")
    _make(named("Gru[inputs=rows]", algorithm="hgo"), "cpu")
