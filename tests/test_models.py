from __future__ import annotations

import numpy as np
import pytest
import torch

from hgobench import models
from hgobench.errors import InputError
from hgobench.models import Model

MODELS = [("softmax", 4), ("logistic", 2), ("feed_forward[hidden=5]", 3)]


def build(name: str, classes: int, features: int = 6) -> Model:
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
    ],
)
def test_bad_models_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(name, 3)
