from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hgobench import models
from hgobench.algorithms import Order, Places
from hgobench.determinism import one_thread
from hgobench.errors import InputError
from hgobench.models import Network, Softmax

MODELS = [("softmax", 4), ("logistic", 2), ("feed_forward[hidden=5]", 3)]
NETWORKS = [
    f"feed_forward[hidden=5,activation={activation},loss={loss}]"
    for activation in ("relu", "sigmoid")
    for loss in ("cross_entropy", "quadratic")
]


def build(name: str, classes: int, features: int = 6) -> Any:
    return models.registry.build(name, features=features, classes=classes)


def batch(classes: int, q: int = 4, s: int = 5, p: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((q, s, p)).astype(np.float32))
    return x, torch.from_numpy(rng.integers(0, classes, (q, s)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "classes"), MODELS)
def test_gradients_are_those_of_the_loss(name: str, classes: int, weighted: bool) -> None:
    """Against autograd on the loss that `evaluate` reports, worker by worker, cell by cell."""
    model = build(name, classes)
    x, y = batch(classes)
    params = torch.stack([model.initial(np.random.default_rng(r)) * 3 for r in range(3)])
    weights = None
    if weighted:
        weights = torch.rand(y.shape)
        weights /= weights.sum(dim=1, keepdim=True)
    found = model.gradients(params, x, y, weights)
    assert found.shape == (3, 4, model.dimension)
    for r in range(3):
        for i in range(4):
            w = params[r].clone().requires_grad_()
            scores = model.logits(w[None], x[i])[0].T
            losses = torch.nn.functional.cross_entropy(scores, y[i], reduction="none")
            loss = losses.mean() if weights is None else (weights[i] * losses).sum()
            (expected,) = torch.autograd.grad(loss, w)
            torch.testing.assert_close(found[r, i], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "classes"), MODELS)
def test_an_earlier_answer_s_memory_may_be_overwritten(name: str, classes: int) -> None:
    model = build(name, classes)
    x, y = batch(classes)
    first, second = (
        torch.stack([model.initial(np.random.default_rng(seed + r)) for r in range(3)])
        for seed in (0, 10)
    )
    expected, fewer = model.gradients(second, x, y), model.gradients(second[:2], x, y)
    earlier = model.gradients(first, x, y)
    assert torch.equal(model.gradients(second[:2], x, y, out=earlier), fewer)  # another shape
    found = model.gradients(second, x, y, out=earlier)
    assert torch.equal(found, expected)
    assert found.data_ptr() == earlier.data_ptr()


def test_a_cell_is_evaluated_by_itself() -> None:
    """Ties go to the first class, and another cell's NaN hides none."""
    model = build("softmax", 2)
    params = torch.zeros(3, model.dimension)
    params[0] = torch.nan
    params[2] = model.initial(np.random.default_rng(0))
    x, y = torch.randn(100, 6), torch.ones(100, dtype=torch.int64)
    together = model.evaluate(params, x, y)[1]
    assert together[1] == 0.0
    for r in (1, 2):
        assert together[r] == model.evaluate(params[r : r + 1], x, y)[1][0]


ONE_SCORE = [(name, 2) for name in ("logistic[ridge=0.1]", "linear", "linear[ridge=0.1]", "svm")]


@pytest.mark.parametrize(
    ("name", "classes"),
    [*MODELS, ("softmax[ridge=0.1]", 10), *((n, 3) for n in NETWORKS), *ONE_SCORE],
)
@pytest.mark.parametrize("features", [6, 64])
def test_a_cell_s_bits_do_not_depend_on_its_place(name: str, classes: int, features: int) -> None:
    model = build(name, classes, features)
    rng = np.random.default_rng(0)
    params = torch.from_numpy(rng.standard_normal((7, model.dimension)).astype(np.float32))
    check_places(model, params, *batch(classes, q=9, s=31, p=features))


def test_an_image_cell_s_bits_do_not_depend_on_its_place() -> None:
    model = build("convolutional", 3, features=256)
    params = torch.stack([model.initial(np.random.default_rng(r)) for r in range(3)])
    check_places(model, params, *batch(3, q=10, p=256))


def check_places(model: Any, params: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
    places = torch.from_numpy(np.random.default_rng(1).permutation(len(params)))
    with one_thread():
        found = model.gradients(params, x, y)[places]
        assert torch.equal(model.gradients(params[places], x, y), found)
        examples = x.flatten(0, 1), y.flatten()
        for measured, moved in zip(
            model.evaluate(params, *examples),
            model.evaluate(params[places], *examples),
            strict=True,
        ):
            assert torch.equal(measured[places], moved)


def test_the_convolutional_network() -> None:
    large = build("convolutional", 10, features=784)
    assert large.dimension == 431_080  # ByzFL's cnn_mnist
    assert build("convolutional", 10, features=3072).dimension > large.dimension  # CIFAR
    model = build("convolutional", 3, features=256)
    x, y = batch(3, q=10, p=256)  # more workers than are mapped at once
    params = torch.stack([model.initial(np.random.default_rng(r)) for r in range(2)])
    found = model.gradients(params, x, y)
    for r, i in ((0, 0), (1, 9)):
        w = params[r].clone().requires_grad_()
        scores = model.logits(w[None], x[i])[0].T
        (expected,) = torch.autograd.grad(torch.nn.functional.cross_entropy(scores, y[i]), w)
        torch.testing.assert_close(found[r, i], expected, rtol=1e-4, atol=1e-6)
    # A channel's place holds all weights that leave it, and so on, layer by layer.
    places = np.bincount(model.place_of)
    assert places[0] == 20 * 25
    assert places[1] == 20
    assert (places[2:22] == 50 * 25).all()
    assert len(places) == 1 + 1 + 20 + 1 + 50 + 1 + 500 + 1
    with pytest.raises(InputError, match="the data has 64 features; expected square images"):
        build("convolutional", 3, features=64)
    with pytest.raises(InputError, match="the data has 785 features; expected square images"):
        build("convolutional", 3, features=785)


@pytest.mark.parametrize(("name", "classes"), MODELS)
def test_gradients_are_those_of_finite_differences(name: str, classes: int) -> None:
    model = build(name, classes)
    x, y = batch(classes, q=1)
    w = model.initial(np.random.default_rng(1))[None]
    gradient = model.gradients(w, x, y)[0, 0]
    for j in range(0, model.dimension, 5):
        step = torch.zeros_like(w)
        step[0, j] = 1e-2
        up, down = (float(model.evaluate(w + s * step, x[0], y[0])[0][0]) for s in (1, -1))
        assert float(gradient[j]) == pytest.approx((up - down) / 2e-2, abs=2e-3)


@pytest.mark.parametrize(("name", "classes"), MODELS)
def test_loss_and_accuracy_by_hand(name: str, classes: int) -> None:
    model = build(name, classes)
    x, y = batch(classes, q=1, s=50)
    params = torch.stack([model.initial(np.random.default_rng(r)) for r in range(2)])
    loss, accuracy = model.evaluate(params, x[0], y[0])
    for r in range(2):
        scores = model.logits(params, x[0])[r].double().numpy()
        chance = np.exp(scores) / np.exp(scores).sum(axis=0)
        picked = [chance[int(label), i] for i, label in enumerate(y[0])]
        assert float(loss[r]) == pytest.approx(-np.mean(np.log(picked)), rel=1e-5)
        hits = [int(np.argmax(scores[:, i])) == int(label) for i, label in enumerate(y[0])]
        assert float(accuracy[r]) == np.mean(hits)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [*NETWORKS, "convolutional"])
def test_the_network_in_closed_form_is_the_one_of_torch(name: str, weighted: bool) -> None:
    p = 256 if name == "convolutional" else 6
    model = build(name, 3, features=p)
    x, y = batch(3, q=10, p=p)
    weights = torch.rand(y.shape, generator=torch.Generator().manual_seed(0)) if weighted else None
    params = torch.stack([model.initial(np.random.default_rng(r)) * 3 for r in range(2)])
    found = model.gradients(params, x, y, weights)
    expected = torch.empty_like(found)
    mean = torch.full(y.shape, 1.0 / y.shape[1]) if weights is None else weights
    for row, cell in zip(params, expected, strict=True):
        Network._gradients(model, row, x, y, mean, cell)
    large = expected.abs().max()  # sums of many large products; rounding shows in the small ones
    torch.testing.assert_close(found / large, expected / large, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(model.logits(params, x[0]), Network.logits(model, params, x[0]))
    loss, _ = model.evaluate(params, x[0], y[0])
    losses = [model._loss(w, x[0], y[0], torch.full((5,), 0.2)) for w in params]
    torch.testing.assert_close(loss.float(), torch.stack(losses))


def test_linear_regression_and_the_support_vector_machine_by_hand() -> None:
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.standard_normal((2, 5, 6)).astype(np.float32))
    target = torch.from_numpy(rng.standard_normal((2, 5)).astype(np.float32))
    label = torch.from_numpy(rng.integers(0, 2, (2, 5)))
    w = rng.standard_normal(7)
    params = torch.from_numpy(w[None].astype(np.float32))
    linear, svm = build("linear", 0), build("svm[penalty=3]", 2)
    assert not linear.initial(rng).any()
    found = {m: m.gradients(params, x, y)[0].numpy() for m, y in ((linear, target), (svm, label))}
    for i in range(2):
        slope, push = np.zeros(7), np.zeros(7)
        for e in range(5):
            point = np.append(x[i, e].double().numpy(), 1.0)
            slope += (w @ point - float(target[i, e])) * point / 5
            side = 1.0 if int(label[i, e]) else -1.0
            push -= (side * (w @ point) < 1) * 3 * side * point / 5
        np.testing.assert_allclose(found[linear][i], slope, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[svm][i], w + push, rtol=1e-5, atol=1e-6)
    points = np.hstack([x[0].double().numpy(), np.ones((5, 1))])
    loss, fit = linear.evaluate(torch.cat([params, 0 * params]), x[0], target[0])
    goal = target[0].double().numpy()
    assert float(loss[0]) == pytest.approx(0.5 * np.mean((points @ w - goal) ** 2), rel=1e-5)
    explained = 1.0 - float(np.mean((points @ w - goal) ** 2)) / float(np.var(goal))
    assert float(fit[0]) == pytest.approx(max(explained, 0.0), abs=1e-5)
    exact = torch.from_numpy(np.linalg.lstsq(points, goal, rcond=None)[0].astype(np.float32))
    assert float(linear.evaluate(exact[None], x[0], target[0])[1][0]) == pytest.approx(1, abs=1e-4)
    loss, hits = svm.evaluate(params, x[0], label[0])
    t = 2.0 * label[0].double().numpy() - 1.0
    hinge = np.maximum(0, 1 - t * (points @ w)).mean()
    assert float(loss[0]) == pytest.approx(0.5 * w @ w + 3 * hinge, rel=1e-5)
    assert float(hits[0]) == np.mean(t * (points @ w) > 0)


@pytest.mark.parametrize("name", ["softmax", "feed_forward[hidden=5]", "convolutional"])
def test_the_first_places_of_an_order_are_a_subnetwork(name: str) -> None:
    """By its definition: a coordinate is there if both units are that it joins."""
    model = build(name, 3, features=256 if name == "convolutional" else 6)
    rng = np.random.default_rng(1)
    for cost in ("scalar", "unit"):
        places = Places(model, "subnetwork", cost)
        expected = {"softmax": 6, "feed_forward[hidden=5]": 11, "convolutional": 20 + 50 + 500}
        assert len(places) == expected[name]
        permutation = rng.permutation(len(places))
        order = Order(places, permutation)
        for length in (1, 2, len(places) // 2, len(places)):
            units = {-1, *permutation[:length].tolist()}
            inside = [{a, b} <= units for a, b in model.units.T.tolist()]
            assert ((order.position < length) == inside).all()
            assert order.coordinates(np.array([length]))[0] == sum(inside)
            price = sum(inside) if cost == "scalar" else length
            assert order.affordable(np.array([float(price)]))[0] >= length
            assert order.affordable(np.array([price - 0.5]))[0] < length


def test_units_join_neighbouring_layers() -> None:
    network = build("feed_forward[hidden=2]", 3, features=4)
    source, target = network.units
    assert source.tolist() == [0, 1, 2, 3] * 2 + [-1] * 2 + [4, 5] * 3 + [-1] * 3
    assert target.tolist() == [4] * 4 + [5] * 4 + [4, 5] + [-1] * 6 + [-1] * 3
    image = build("convolutional", 3, features=256)
    # ((16 - 4) / 2 - 4) / 2 = 1 pixel of each of the 50 channels feeds the 500 units.
    joined = image.units[:, 20 * 25 + 20 + 50 * 20 * 25 + 50 :][:, : 500 * 50]
    assert joined[0].tolist() == list(range(20, 70)) * 500
    assert joined[1].tolist() == np.arange(70, 570).repeat(50).tolist()
    assert (image.units[0, : 20 * 25] == -1).all()  # all of an image is always there


def test_sizes_are_those_of_the_paper() -> None:
    assert models.registry.build("softmax", features=784, classes=10).dimension == 7850
    assert models.registry.build("feed_forward", features=784, classes=10).dimension == 23_860


def test_places_hold_the_weights_that_leave_one_unit() -> None:
    softmax = build("softmax", 4)
    assert np.bincount(softmax.place_of).tolist() == [4] * 7  # 6 features and the bias
    network = build("feed_forward[hidden=5]", 3)
    assert np.bincount(network.place_of).tolist() == [5] * 6 + [5] + [3] * 5 + [3]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("logistic", "logistic regression has 2 classes; the data has 3"),
        ("feed_forward[hidden=0]", "hidden: 0; expected an integer >= 1"),
        ("feed_forward[loss=l2]", "loss: 'l2'; expected 'cross_entropy' or 'quadratic'"),
        ("svm", "a support vector machine has 2 classes; the data has 3"),
    ],
)
def test_bad_models_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(name, 3)


def test_numbers_are_no_classes() -> None:
    for name in ("softmax", "feed_forward", "convolutional"):
        with pytest.raises(InputError, match="tells classes apart; the data has none"):
            build(name, 0, features=784)
    with pytest.raises(InputError, match="has 2 classes; the data has 0"):
        build("logistic", 0)
    with pytest.raises(InputError, match=r"penalty: 0\.0; expected a finite number > 0"):
        build("svm[penalty=0]", 2)


REGULARISED = [
    ("softmax[ridge=0.3]", 4),
    ("logistic[ridge=0.3]", 2),
    ("linear[ridge=0.3]", 2),
    ("quadratic[condition=30]", 2),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("name", "classes"), REGULARISED)
def test_gradients_are_the_slope_of_the_loss(name: str, classes: int, weighted: bool) -> None:
    """By differences of `evaluate`, whose loss is in float64: of all of a worker's examples."""
    model = build(name, classes)
    x, y = batch(classes, q=1)
    weights = None
    if weighted:  # the first three of five examples
        weights = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0]]) / 3.0
    params = torch.from_numpy(np.random.default_rng(1).standard_normal((2, model.dimension)))
    found = model.gradients(params.float(), x, y, weights)
    kept = slice(None) if weights is None else slice(3)
    step = 1e-2
    for r in range(2):
        for j in range(model.dimension):
            moved = params[r].float().repeat(2, 1)
            moved[0, j] += step
            moved[1, j] -= step
            high, low = model.evaluate(moved, x[0, kept], y[0, kept])[0]
            slope = float((high - low) / (2 * step))
            assert float(found[r, 0, j]) == pytest.approx(slope, abs=3e-3)


def test_the_quadratic_has_its_optimum_at_the_mean() -> None:
    model = build("quadratic[condition=30]", 3, features=9)
    values = torch.linalg.eigvalsh(model.hessian)
    assert values.numpy() == pytest.approx(np.geomspace(1.0, 30.0, 9))
    assert (model.hessian.abs() > 1e-3).all(), "it is dense"
    x, y = torch.randn(20, 9), torch.zeros(20, dtype=torch.int64)
    mean = x.mean(dim=0)
    assert model.gradients(mean[None], x[None], y[None]).abs().max() < 1e-5
    at = torch.stack((mean, torch.zeros(9), 3 * mean))
    loss, share = model.evaluate(at, x, y)
    assert share.tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert loss[0] < loss[1] < loss[2]
    with pytest.raises(InputError, match=r"condition: 0\.5; expected a finite number >= 1"):
        build("quadratic[condition=0.5]", 3)


class Doubled(Softmax):
    """Another's softmax regression, whose gradients are others."""

    def gradients(self, *arguments: Any, **more: Any) -> torch.Tensor:
        return 2.0 * super().gradients(*arguments, **more)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "softmax", "softmax[ridge=0.3]", "feed_forward[hidden=5]",
        "feed_forward[hidden=5,activation=sigmoid,loss=quadratic]", "logistic", "tests.test_models:Doubled",
    ],
)  # fmt: skip
def test_gradients_at_parameters_of_one_s_own_are_those_of_each_alone(
    name: str, weighted: bool
) -> None:
    classes = 2 if name == "logistic" else 3
    model = build(name, classes)
    rng = np.random.default_rng(1)
    for q, s in ((1, 1), (7, 5), (4, 33)):
        x, y = batch(classes, q=q, s=s)
        params = torch.from_numpy(rng.standard_normal((q, model.dimension)).astype(np.float32))
        weights = torch.from_numpy(rng.random((q, s), dtype=np.float32)) if weighted else None
        with one_thread():
            found = model.own_gradients(params, x, y, weights)
            for i in range(q):
                one = slice(i, i + 1)
                own = None if weights is None else weights[one]
                alone = model.gradients(params[one], x[one], y[one], own)[0, 0]
                torch.testing.assert_close(found[i], alone, rtol=1e-5, atol=1e-6)
                assert "softmax" not in name or torch.equal(found[i], alone)
