"""Augmentations: what they make of examples, and that all cells of a world see the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from hgobench import Scenario, World
from hgobench.aggregators import Rule
from hgobench.algorithms import Sgd, Work
from hgobench.data import augmentations
from hgobench.determinism import stream
from hgobench.errors import InputError
from hgobench.simulation import simulate
from hgobench.theory.objective import Objective

HERE = "tests.test_augmentations"
build = augmentations.registry.build
IMAGES = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).view(2, 3, 4, 5) + 1


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_border_wider_than_the_images_is_refused() -> None:
    """It would fill the memory, and few windows would show anything of an image."""
    World(Scenario(augment="crop[pad=8]"))
    message = "augment: crop: pad: 9; expected at most 8, as the images are 8 x 8"
    with pytest.raises(InputError, match=message):
        World(Scenario(augment="noise+crop[pad=9]"))


def brighter(x: Tensor, rng: np.random.Generator, by: float = 0.5) -> Tensor:
    return x + by * float(rng.random())


def scribbled(x: Tensor) -> Tensor:
    return x.add_(torch.randn(x.shape))


def wrong(x: Tensor, how: str) -> Any:
    return {
        "shape": x[:1], "type": x.double(), "none": None, "nan": x * torch.nan, "half": x + 0.5,
    }[how]  # fmt: skip


def stuck(rng: np.random.Generator) -> None:
    """Takes no examples."""


class Negative(augmentations.Augmentation):
    def __call__(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        return -x


class TwoSteps(Sgd):
    """Each worker takes a second gradient, on another minibatch, where its first led."""

    gradients = 2

    def messages(self, work: Work) -> Tensor:
        there = work.params - 0.1 * work.gradients
        return 0.5 * (work.gradients + work.gradients_at(there, 1))


def test_flip_mirrors_the_share_of_the_images_that_it_says() -> None:
    assert torch.equal(build("flip[p=1]")(IMAGES, rng()), IMAGES.flip(3))
    assert torch.equal(build("flip[p=0]")(IMAGES, rng()), IMAGES)
    many = IMAGES[:1].expand(4000, -1, -1, -1)
    flipped = (build("flip[p=0.3]")(many, rng()) != many).flatten(1).any(dim=1)
    assert abs(float(flipped.float().mean()) - 0.3) < 0.03


def test_crop_shifts_each_image_and_fills_with_zeros() -> None:
    """The oracle: every result is the image rolled by some (a, b), what came over the edge 0."""
    many = IMAGES[:1].expand(500, -1, -1, -1)
    found = build("crop[pad=2]")(many, rng())
    shifts = {}
    for a in range(-2, 3):
        for b in range(-2, 3):
            expected = torch.zeros(3, 4, 5)
            for i in range(4):
                for j in range(5):
                    if 0 <= i + a < 4 and 0 <= j + b < 5:
                        expected[:, i, j] = IMAGES[0, :, i + a, j + b]
            shifts[a, b] = int((found == expected).flatten(1).all(dim=1).sum())
    assert sum(shifts.values()) == 500
    assert stats.chisquare(list(shifts.values())).pvalue > 0.001


def test_noise_is_normal_and_a_chain_goes_in_order() -> None:
    zeros = torch.zeros(100, 50)
    noise = build("noise[sigma=0.3]")(zeros, rng())
    assert stats.kstest(noise.numpy().ravel() / 0.3, stats.norm.cdf).pvalue > 0.001
    chain = build(f"flip[p=1] + {HERE}:brighter[by=0]")
    assert torch.equal(chain(IMAGES, rng()), IMAGES.flip(3))
    assert Scenario(augment="flip + crop[pad=4]").augment == "flip+crop"


BASE: dict[str, Any] = {
    "data": "digits", "partition": "quantity_skew", "workers": 12, "sampled": 8, "byzantine": 2,
    "batch_size": 40, "rounds": 3, "deadline": "inf", "augment": "crop[pad=1]+noise",
}  # fmt: skip


@pytest.mark.parametrize("augment", ["flip+crop[pad=1]", "noise", f"{HERE}:brighter", f"{HERE}:scribbled"])  # fmt: skip
def test_a_minibatch_is_augmented_alike_for_all_who_ask(augment: str) -> None:
    """Rounds, minibatches and workers draw alone; who else is sampled does not matter."""
    fields = {**BASE, "augment": augment}
    world, larger = World(**fields), World(**{**fields, "sampled": 12})
    before = world.features.clone()
    draw = world.draw(2)
    assert draw.weights is not None  # some workers hold fewer than s examples
    x, y = world.minibatches(draw)
    raw, labels = world.examples(draw.batch)
    assert torch.equal(y, labels)
    mask = np.arange(8) % 3 == 0
    assert torch.equal(world.minibatches(draw, of=mask)[0], x[torch.from_numpy(mask)])
    assert torch.equal(world.minibatches(draw, out=torch.empty_like(x))[0], x)
    more, _ = larger.minibatches(larger.draw(2))
    for i, size in enumerate(draw.size):
        assert torch.equal(more[i, :size], x[i, :size])
        assert not torch.equal(x[i, :size], raw[i, :size])
    one = World(**{**fields, "workers": 1, "sampled": 1, "byzantine": 0, "batch_size": 2000})
    rows = [
        one.minibatches(one.draw(k))[0][0] - one.examples(one.draw(k).batch)[0][0] for k in (1, 2)
    ]
    assert not torch.equal(*rows)
    assert torch.equal(world.features, before)


def test_the_random_numbers_are_keyed_by_seed_round_minibatch_and_worker() -> None:
    world = World(**{**BASE, "augment": "noise[sigma=1]", "seed": 5})
    draw = world.draw(3)
    x, raw = world.minibatches(draw)[0], world.examples(draw.batch)[0]
    for i, (worker, size) in enumerate(zip(draw.workers, draw.size, strict=True)):
        noise = stream(5, "augment", 3, 0, int(worker)).standard_normal((size, 1, 8, 8), np.float32)
        expected = raw[i, :size] + torch.from_numpy(noise.reshape(size, 64))
        assert torch.equal(x[i, :size], expected)


def test_nothing_but_minibatches_is_augmented() -> None:
    world, plain = World(**BASE), World(**{**BASE, "augment": "none"})
    some = np.arange(12) < 3
    for a, b in (
        (world.test, plain.test), (world.validation, plain.validation), (world.root(20), plain.root(20)),
        (world.examples_of(some, 30), plain.examples_of(some, 30)),
    ):  # fmt: skip
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    draw = plain.draw(1)
    assert torch.equal(plain.minibatches(draw)[0], plain.features[torch.from_numpy(draw.batch)])


@pytest.mark.parametrize("algorithm", ["sgd", f"{HERE}:TwoSteps"])
@pytest.mark.parametrize("augment", ["crop[pad=1]+noise", f"{HERE}:brighter", "none"])
def test_a_cell_is_the_same_by_itself_and_beside_others(augment: str, algorithm: str) -> None:
    fields = {**BASE, "augment": augment, "rule": "median", "algorithm": algorithm}
    cells = [Scenario(**fields, attack=attack) for attack in ("none", "label_flip", "foe")]
    together = simulate(cells)
    for cell, beside in zip(cells, together, strict=True):
        (alone,) = simulate([cell])
        assert alone.status == beside.status == "done"
        for column in alone.rounds:
            np.testing.assert_array_equal(alone.rounds[column], beside.rounds[column])
    assert len({tuple(result.rounds["test_loss"]) for result in together}) == 3


class Seen(Rule):
    """Keeps what was sent."""

    last: Tensor

    def of_rows(self, rows: Tensor) -> Tensor:
        Seen.last = rows.clone()
        return rows.mean(dim=0)


def test_attackers_poison_what_they_would_have_learned_from() -> None:
    """A cell whose labels are flipped sends the gradients of the augmented minibatch, flipped."""
    fields = {**BASE, "algorithm": "sgd", "rounds": 1, "batch_size": 8, "deadline": "inf"}
    scenario = Scenario(**fields, rule=f"{HERE}:Seen", attack="label_flip")
    (result,) = simulate([scenario])
    assert result.status == "done"
    world = World(scenario)
    draw = world.draw(1)
    x, y = world.minibatches(draw)
    hostile = torch.from_numpy(world.byzantine(2)[draw.workers])
    y[hostile] = 9 - y[hostile]
    weights = None if draw.weights is None else torch.from_numpy(draw.weights)
    expected = world.gradients(1, world.initial()[None], x, y, weights)[0]
    assert bool(hostile.any())
    torch.testing.assert_close(Seen.last.to(expected), expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": "breast_cancer", "augment": "flip"}, "augment: flip: the data are no images .they have 30 feat"),
        ({"data": "breast_cancer", "augment": "noise+crop"}, "augment: crop: the data are no images"),
        ({"data": "sentences", "augment": "noise"}, "augment: noise: the data are sequences of integers below 28"),
    ],
)  # fmt: skip
def test_data_that_can_not_be_augmented_are_refused(fields: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        World(**{**BASE, "model": "softmax", **fields})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("shape", r"returned torch.float32 \(1, 1, 8, 8\); expected torch.float32 \(\d+, 1, 8, 8\)"),
        ("type", r"returned torch.float64 \(\d+, 1, 8, 8\); expected torch.float32"),
        ("none", "returned NoneType; expected torch.float32"),
        ("nan", "returned features that are not finite"),
    ],
)  # fmt: skip
def test_what_a_function_returns_is_checked(how: str, message: str) -> None:
    (result,) = simulate([Scenario(**{**BASE, "augment": f"{HERE}:wrong[how={how}]"})])
    assert result.status == "failed"
    assert f"augment '{HERE}:wrong[how={how}]': " in result.reason
    assert re.search(message, result.reason)


def test_what_is_no_augmentation_is_refused() -> None:
    with pytest.raises(InputError, match="takes no examples; expected a function of x"):
        build(f"{HERE}:stuck")
    with pytest.raises(InputError, match="parameter: unknown 'to'; expected one of by"):
        build(f"{HERE}:brighter[to=1]")
    with pytest.raises(InputError, match="missing a required argument: 'how'"):
        build(f"{HERE}:wrong")
    with pytest.raises(InputError, match="expected a subclass of hgobench"):
        build(f"{HERE}:TwoSteps")
    assert torch.equal(build(f"{HERE}:Negative")(IMAGES, rng()), -IMAGES)
    fields = {**BASE, "data": "sentences", "augment": f"{HERE}:wrong[how=half]", "rounds": 1}
    (result,) = simulate([Scenario(**fields)])
    assert "returned features outside the vocabulary; expected integers in 0 .. 27" in result.reason


def test_theory_refuses_it() -> None:
    with pytest.raises(InputError, match="augment: 'noise'; theory knows the examples"):
        Objective(Scenario(model="linear[ridge=1.0]", workers=20, augment="noise"))


def test_the_function_in_the_documentation_turns_images() -> None:
    page = (Path(__file__).parent.parent / "docs" / "add-an-augmentation.md").read_text(
        encoding="utf-8"
    )
    (source,) = re.findall(r"```python\n(# mine.py\nimport math.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(source, names)
    turned = names["rotated"](torch.ones(50, 3, 9, 9), rng(), degrees=20.0)
    assert turned.shape == (50, 3, 9, 9)
    torch.testing.assert_close(turned[:, :, 2:-2, 2:-2], torch.ones(50, 3, 5, 5))
    assert (turned[:, :, 0, 0] < 1).float().mean() > 0.5
    assert torch.equal(turned[:, 0], turned[:, 2])
