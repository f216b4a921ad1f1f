"""Data of one's own: what functions return, and files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, World
from hgobench.data import arrays
from hgobench.data.base import Dataset, Split
from hgobench.data.datasets import load
from hgobench.data.functions import Made
from hgobench.errors import InputError
from hgobench.testing import is_data, try_named

HERE = "tests.test_own_data"
N = 40
X = np.linspace(-1, 1, 2 * N, dtype=np.float32).reshape(N, 2)
Y = np.arange(N) % 2
WHO = np.array(["ann", "bob", "cy", "dan"] * (N // 4))


class Items(torch.utils.data.Dataset[Any]):
    def __init__(self, examples: int = N, groups: bool = False) -> None:
        self.examples, self.groups = examples, groups

    def __len__(self) -> int:
        return self.examples

    def __getitem__(self, i: int) -> tuple[Any, ...]:
        item = (torch.from_numpy(X[i]), int(Y[i]))
        return (*item, str(WHO[i])) if self.groups else item


class Endless(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield from ()


def plain(examples: int = N) -> tuple[Any, ...]:
    return X[:examples], Y[:examples]


def grouped() -> tuple[Any, ...]:
    return X.tolist(), Y.tolist(), WHO.tolist()


def tensors() -> object:
    return torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))


def pair() -> object:
    return (X[8:], Y[8:]), Items(8)


def whole() -> Dataset:
    split = Split(X, Y)
    return Dataset(split, split.take(np.arange(0)), split, classes=2)


def drawn() -> object:
    return np.random.default_rng().normal(size=(N, 2)), Y


def leaking() -> object:
    return (X, Y), (X[:9], Y[:9])


@pytest.mark.parametrize("name", ["plain", "grouped", "tensors", "Items", "Items[groups=true]"])
def test_examples_come_to_the_same_from_whatever_holds_them(name: str) -> None:
    """The oracle: rows are those of X, and each comes with its own label."""
    data = load(f"{HERE}:{name}")
    splits = (data.train, data.validation, data.test)
    assert list(map(len, splits)) == [27, 5, 8]
    rows = np.concatenate([split.features for split in splits])
    assert np.array_equal(rows[np.argsort(rows[:, 0])], X)
    for split in splits:
        positions = np.searchsorted(X[:, 0], split.features[:, 0])
        assert np.array_equal(split.labels, Y[positions])
        if "group" in name:
            assert split.groups is not None
            assert np.array_equal(np.unique(WHO)[split.groups], WHO[positions])


def test_a_pair_is_training_and_test_examples_and_a_dataset_is_left_alone() -> None:
    data = load(f"{HERE}:pair")
    assert np.array_equal(data.test.features, X[:8])
    assert (len(data.train), len(data.validation)) == (27, 5)
    assert len(load(f"{HERE}:whole").train) == N


def test_a_function_has_parameters_which_are_checked_before_it_is_called() -> None:
    assert len(load(f"{HERE}:plain[examples=20]").train) == 13
    assert Scenario(data=f"{HERE}:plain[examples={N}]").data == f"{HERE}:plain"
    with pytest.raises(InputError, match="parameter: unknown 'size'; expected one of examples"):
        load(f"{HERE}:plain[size=3]")


def made(value: object) -> Dataset:
    return arrays.dataset(value, Made(lambda: None, {}))


def test_images_keep_their_shape_and_bytes_become_shares() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (N, 3, 4, 5)).astype(np.uint8)
    data = made((pixels, Y))
    assert data.shape == {"features": 60, "classes": 2, "image": (3, 4, 5), "vocabulary": None}
    assert data.train.features.max() <= 1.0
    rows = {row.tobytes() for row in pixels.reshape(N, -1).astype(np.float32) / np.float32(255)}
    assert {row.tobytes() for row in data.test.features} <= rows
    assert made((pixels[:, 0], Y)).train.image == made((pixels[:, :1], Y)).train.image == (4, 5)
    assert made((pixels / 1.0, Y)).train.features.max() > 1.0  # no bytes: left as they are


def test_integers_are_sequences_and_real_labels_are_targets() -> None:
    words = np.arange(3 * N).reshape(N, 3)
    assert made((words, Y)).vocabulary == 3 * N
    assert made((words - 1, Y)).vocabulary is None
    assert made((words / 1.0, Y)).vocabulary is None
    assert made((X, Y / 2.0)).classes == 0
    assert made((X, np.array(["no", "yes"])[Y])).classes == 2
    with pytest.raises(InputError, match="integers up to 16,777,216; expected less than"):
        made((words + (1 << 24) - 3 * N + 1, Y))


def test_a_vocabulary_is_kept_by_every_part() -> None:
    split = Split(np.array([[0.0], [2.0]], np.float32), np.array([0, 1]))
    assert Dataset(split, split, split, 2, vocabulary=3).vocabulary == 3
    for bad in (2, 0, True, 1 << 25):
        with pytest.raises(InputError, match="vocabulary"):
            Dataset(split, split, split, 2, vocabulary=bad)
    half = Split(np.array([[0.5]], np.float32), np.array([0]))
    with pytest.raises(
        InputError, match=r"validation: features: row 0, column 0: 0\.5; expected an"
    ):
        Dataset(split, half, split, 2, vocabulary=3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, r"data: 3; expected \(features, labels\) or"),
        ({"x": X}, "expected .features, labels. or"),
        ((X, Y[:-1]), "40 examples of features, 39 labels; expected one label for each"),
        ((X, Y[:, None]), r"labels: shape \(40, 1\); expected \(N,\)"),
        ((X[:, 0], Y), r"features: shape \(40,\); expected \(N, features\), images"),
        ((np.zeros((N, 5, 5, 3)), Y), r"\(40, 5, 5, 3\); channels come first, as in torch"),
        ((X.astype(str), Y), "features: <U.*; expected numbers"),
        ((X * np.float32(np.nan), Y), "features: row 0, column 0: nan, the first of 80"),
        ((X.astype(np.float64) * 1e300, Y), "the first of .*; expected finite numbers"),
        (((X, Y), (X[:, :1], Y)), r"test: features: float32 of shape \(40, 1\); the training"),
        (((X, Y), (X, Y / 2.0)), "labels: of kinds integer and real; expected one kind"),
        ((X, Y - 1), "labels: row .*: -1; expected 0 .. 0|classes: 1"),
        ((X, np.array(["a", "A"])[Y]), "differ in their spelling alone"),
        ((X, Y, WHO[:, None]), r"groups: shape \(40, 1\); expected \(N,\)"),
        ([], "no examples; expected at least one"),
        ([(X[0], 1), (X[1],)], r"example 1: tuple; expected \(features, label\) or"),
        ([(X[0], 1), (X[1], 1, 2)], "example 1: 3 values; example 0 has 2"),
        ([(X[0], 1), (X[1, :1], 1)], r"example 1: features of shape \(1,\); example 0 has \(2,\)"),
        (Endless(), "Endless has no length; expected a data set of map style"),
    ],
)  # fmt: skip
def test_what_is_no_data_is_refused(value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(value)


def test_a_world_of_groups_deals_them_whole() -> None:
    world = World(data=f"{HERE}:grouped", partition="natural", workers=4, sampled=2, byzantine=0)
    groups = world.data.train.groups
    assert groups is not None
    assert [len(set(groups[shard])) for shard in world.shards] == [1] * 4


def test_the_shape_of_images_is_part_of_the_digest() -> None:
    flat = np.zeros((N, 12)) + np.arange(N)[:, None]
    shapes: list[Callable[[], object]] = [
        lambda: (flat, Y), lambda: (flat.reshape(N, 3, 4), Y), lambda: (flat.reshape(N, 4, 3), Y),
    ]  # fmt: skip
    assert len({Made(make, {}).load().digest for make in shapes}) == 3


def outcomes(name: str) -> dict[str, str]:
    kind, verdicts = try_named(f"{HERE}:{name}")
    assert kind == "data"
    return {verdict.law: verdict.outcome for verdict in verdicts}


@pytest.mark.long
def test_laws_of_data() -> None:
    assert set(outcomes("grouped").values()) == {"pass"}
    failing = {"drawn": "data_are_alike_in_every_process", "leaking": "test_examples_are_new"}
    for name, law in failing.items():
        assert [key for key, outcome in outcomes(name).items() if outcome == "fail"] == [law]


def test_what_is_asked_for_arguments_is_no_data() -> None:
    assert is_data(f"{HERE}:plain")
    assert is_data(f"{HERE}:Items")
    assert is_data("csv[path=a.csv]")
    assert not is_data(f"{HERE}:made")
    assert not is_data("tests.plugins:ragged_function")
    assert is_data(f"{HERE}:made[value=3]")
