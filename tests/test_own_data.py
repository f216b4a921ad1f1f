"""Data of one's own: what functions return, and files."""

from __future__ import annotations

import gzip
import importlib
import json
import mmap
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, World
from hgobench.aggregators import Krum
from hgobench.data import arrays, cifar, datasets, files, partitions, sentences
from hgobench.data.base import Dataset, Split
from hgobench.data.datasets import load
from hgobench.data.functions import Made
from hgobench.errors import InputError
from hgobench.results.address import result_key
from hgobench.testing import kind_of, try_named

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


HELD = (X, Y, WHO)
READY = Items(30)


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


def test_objects_are_named_or_refused() -> None:
    assert Scenario(data=plain) == Scenario(data=f"{HERE}:plain")
    assert Scenario(data=Items).data == f"{HERE}:Items"
    assert Scenario(data=READY).data == f"{HERE}:READY"
    assert len(load(f"{HERE}:READY").train) == 20
    assert kind_of(f"{HERE}:READY").name == kind_of(f"{HERE}:HELD").name == "data"
    same(load(f"{HERE}:HELD"), load(f"{HERE}:grouped"))
    assert Scenario(data=Items, rule=Krum, partition=partitions.Natural).rule == "krum"
    for field, value, why in (
        ("data", lambda: (X, Y), "a lambda has no name"),
        ("data", Items(), f"{HERE} has no name for this instance; bind it to one in a module of"),
        ("data", (X, Y), "builtins has no name for this instance; bind it"),
        ("rule", partial(Krum, f=1), "functools has no name for this instance"),
        ("rule", Krum(f=1), "has no name for this instance"),
        ("partition", type("P", (partitions.Iid,), {"__module__": "__main__"}), "notebook defines can't be"),
        ("data", [[1.0], [2.0]], "expected a name"),
        ("hardware", 3, "expected a name"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"^{field}: .*{why}"):
            Scenario(**{field: value})  # type: ignore[arg-type]


def test_numbers_that_a_module_holds_are_part_of_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name stays; source and numbers change, and with them the address."""
    monkeypatch.syspath_prepend(tmp_path)
    addresses = set()
    for i, more in enumerate(("", "# a comment\n", "x = x + 1\n")):
        monkeypatch.delitem(sys.modules, "held_here", raising=False)
        datasets._load.cache_clear()
        source = f"import numpy as np\nx = np.arange(80.0).reshape(40, 2)\n{more}DATA = x, np.arange(40) % 2\n"
        (tmp_path / "held_here.py").write_text(source)
        os.utime(tmp_path / "held_here.py", (i, i))
        importlib.invalidate_caches()
        data = load("held_here:DATA")
        addresses.add(result_key(Scenario(data="held_here:DATA"), "mine-1", data=data.digest))
    assert len(addresses) == 3


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
        ((X, Y * 10**12), "train: 999999999999 of 1000000000001 classes have no example, the first is 1;"),
        ((X, Y * 2), "train: 1 of 3 classes have no example, the first is 1; expected at least one"),
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
    assert kind.name == "data"
    return {verdict.law: verdict.outcome for verdict in verdicts}


@pytest.mark.long
def test_laws_of_data() -> None:
    assert set(outcomes("grouped").values()) == {"pass"}
    failing = {
        "drawn": "data_are_alike_in_every_process",
        "leaking": "no_training_examples_are_tested",
    }
    for name, law in failing.items():
        assert [key for key, outcome in outcomes(name).items() if outcome == "fail"] == [law]


def test_what_is_asked_for_arguments_is_no_data() -> None:
    for name in (f"{HERE}:plain", f"{HERE}:Items", "csv[path=a.csv]", f"{HERE}:made[value=3]"):
        assert kind_of(name).name == "data", name
    for name in (f"{HERE}:made", "tests.plugins:ragged_function"):
        assert kind_of(name).name == "rule", name


def table_of(rows: int = N) -> dict[str, list[Any]]:
    rng = np.random.default_rng(0)
    return {
        "a": rng.normal(size=rows).tolist(), "b": rng.integers(0, 9, rows).astype(float).tolist(),
        "label": ["no", "yes"] * (rows // 2), "ward": WHO[:rows].tolist(), "cost": rng.normal(size=rows).tolist(),
    }  # fmt: skip


def write_csv(path: Path, table: dict[str, list[Any]]) -> None:
    lines = [
        ",".join(table),
        *(",".join(map(str, row)) for row in zip(*table.values(), strict=True)),
    ]
    path.write_text("\n".join(lines))


def same(a: Dataset, b: Dataset) -> None:
    assert (a.classes, a.digest) == (b.classes, b.digest)
    for one, other in ((a.train, b.train), (a.validation, b.validation), (a.test, b.test)):
        for kind in ("features", "labels", "groups"):
            np.testing.assert_array_equal(getattr(one, kind), getattr(other, kind))


@pytest.mark.parametrize("what", ["label=label", "label=ward", "target=cost"])
def test_a_parquet_file_is_the_csv_file_of_the_same_numbers(tmp_path: Path, what: str) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    table = table_of()
    table["c"] = [i % 3 == 0 for i in range(N)]
    parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    table["c"] = list(map(int, table["c"]))
    drop = {"label=label": ["ward"], "label=ward": ["label"], "target=cost": ["ward", "label"]}[
        what
    ]
    parquet.write_table(
        pyarrow.table({k: v for k, v in table.items() if k not in drop}), tmp_path / "b.parquet"
    )
    write_csv(tmp_path / "b.csv", {k: v for k, v in table.items() if k not in drop})
    same(
        load(f"parquet[path={tmp_path}/b.parquet,{what}]"),
        load(f"csv[path={tmp_path}/b.csv,{what}]"),
    )
    if what == "label=label":
        grouped = load(f"parquet[path={tmp_path}/a.parquet,group=ward]")
        assert grouped.features == 4
        assert grouped.train.groups is not None


def test_a_regression_keeps_its_targets(tmp_path: Path) -> None:
    table = {"a": table_of()["a"], "cost": table_of()["cost"]}
    write_csv(tmp_path / "a.csv", table)
    data = load(f"csv[path={tmp_path}/a.csv,target=cost]")
    assert data.classes == 0
    labels = np.concatenate([data.train.labels, data.validation.labels, data.test.labels])
    assert sorted(labels) == sorted(np.array(table["cost"], np.float32))
    with pytest.raises(InputError, match="label and target: 'a' and 'cost'; expected a label"):
        load(f"csv[path={tmp_path}/a.csv,label=a,target=cost]")


@pytest.mark.parametrize("regression", [False, True])
def test_a_libsvm_file_is_the_csv_file_of_the_same_numbers(
    tmp_path: Path, regression: bool
) -> None:
    table = table_of()
    numbers = {"1": table["a"], "2": [0.0] * N, "3": table["b"]}
    last = {"target": table["cost"]} if regression else {"label": ["-1", "1"] * (N // 2)}
    qid = {"qid": [str(i % 4) for i in range(N)]}
    write_csv(tmp_path / "a.csv", numbers | last | qid)
    lines = [
        f"{y} qid:{who} 1:{a!r} 3:{b!r}"
        for y, who, a, b in zip(*last.values(), qid["qid"], numbers["1"], numbers["3"], strict=True)
    ]
    (tmp_path / "a.libsvm").write_text("\n".join(lines))
    asked = "target=target" if regression else "label=label"
    found = load(f"libsvm[path={tmp_path}/a.libsvm,regression={str(regression).lower()}]")
    same(found, load(f"csv[path={tmp_path}/a.csv,group=qid,{asked}]"))


def test_an_npz_file_is_what_a_function_that_returns_its_arrays_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (N, 3, 4, 4)).astype(np.uint8)
    np.savez_compressed(tmp_path / "a.npz", x=pixels, y=Y, groups=WHO)
    same(load(f"npz[path={tmp_path}/a.npz]"), made((pixels, Y, WHO)))
    np.savez(tmp_path / "b.npz", x_train=pixels[9:], y_train=Y[9:], x_test=pixels[:9], y_test=Y[:9])
    same(load(f"npz[path={tmp_path}/b.npz]"), made(((pixels[9:], Y[9:]), (pixels[:9], Y[:9]))))


def pictures(
    root: Path, names: list[str], size: int = 6, mode: str = "RGB"
) -> dict[str, np.ndarray]:
    from PIL import Image

    written = {}
    for i, name in enumerate(names):
        shape = (size, size, 3) if mode == "RGB" else (size, size)
        pixels = np.random.default_rng(i).integers(0, 256, shape).astype(np.uint8)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
        written[name] = np.moveaxis(pixels, -1, 0) if mode == "RGB" else pixels
    return written


def test_images_in_folders(tmp_path: Path) -> None:
    names = [
        f"{kind}/{who}/{i}.png"
        for kind in ("cat", "dog")
        for who in ("ann", "bob")
        for i in range(8)
    ]
    written = pictures(tmp_path, names[::-1])
    (tmp_path / ".hidden").write_text("no image")
    data = load(f"images[path={tmp_path}]")
    assert data.shape["image"] == (3, 6, 6)
    rows = {
        (p.reshape(-1).astype(np.float32) / np.float32(255)).tobytes(): name
        for name, p in written.items()
    }
    for split in (data.train, data.validation, data.test):
        assert split.groups is not None
        for row, label, group in zip(split.features, split.labels, split.groups, strict=True):
            kind, who, _ = rows[row.tobytes()].split("/")
            assert (kind, who) == (("cat", "dog")[label], ("ann", "bob")[group])
    small = load(f"images[path={tmp_path},size=3,grey=true]")
    assert small.shape["image"] == (3, 3)
    pictures(tmp_path, ["cat/ann/0.png"], 6, "L")  # it is read again when a file has changed
    assert load(f"images[path={tmp_path}]").digest != data.digest


def test_images_that_are_divided_already(tmp_path: Path) -> None:
    pictures(
        tmp_path,
        [f"{part}/{kind}/{i}.png" for part in ("train", "test") for kind in "ab" for i in range(5)],
    )
    data = load(f"images[path={tmp_path},validation=0]")
    assert (len(data.train), len(data.test), data.train.groups) == (10, 10, None)


def deep_pixels(folder: Path) -> None:
    from PIL import Image

    folder.mkdir(parents=True)
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(folder / "1.png")


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (lambda p: np.savez(p / "f", x=X), "npz", "arrays 'x'; expected x and y, or x_train"),
        (lambda p: np.savez(p / "f", x=X, z=Y), "npz", "array: unknown 'z'; expected one of groups, groups_test"),
        (lambda p: np.savez(p / "f", x=X, y=np.array([None] * N)), "npz", "'y.npy': object of shape"),
        (lambda p: np.savez(p / "f", x=X, y=Y, x_test=X), "npz", "arrays 'x', 'y', 'x_test'; expected x and"),
        (lambda p: (p / "f.npz").write_bytes(b"PK"), "npz", "expected an .npz file of arrays, or a folder"),
        (lambda p: (p / "f.parquet").write_bytes(b"PAR1"), "parquet", "expected a Parquet file"),
        (lambda p: (p / "f.libsvm").write_text("1 0:2"), "libsvm", "expected lines LABEL .qid:GROUP. INDEX"),
        (lambda p: (p / "f.libsvm").write_text("1 1:nan\n2 1:1"), "libsvm", "a feature that is not finite"),
        (lambda p: (p / "f.libsvm").write_text("1 999999999:1\n2 1:1"), "libsvm", "1 to 536,870,912 numbers"),
        (lambda p: None, "images", "no files; expected CLASS/IMAGE or CLASS/GROUP/IMAGE"),
        (lambda p: pictures(p / "f.images", ["a/1.png", "a/b/1.png"]), "images", "files 2 and 3 deep; exp"),
        (lambda p: (pictures(p / "f.images", ["a/1.png"]), pictures(p / "f.images", ["b/1.png"], 5)), "images",
         "5 x 5 pixels; 1.png has 6 x 6; expected one size, or size="),
        (lambda p: ((p / "f.images/a").mkdir(parents=True), (p / "f.images/a/1.png").write_text("x")), "images",
         "expected an image: PNG, JPEG"),
        (lambda p: deep_pixels(p / "f.images/a"), "images", r"pixels of more than 8 bits \(mode I;16\); expected 8"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(
    tmp_path: Path, make: Callable[[Path], object], name: str, message: str
) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        load(f"{name}[path={tmp_path}/f.{name}]")
    assert "data: " in str(error.value)


def test_bad_columns_of_a_parquet_file_are_all_named(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    table = {"a": [1.0, None], "b": ["x", "y"], "label": ["p", "q"]}
    parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    with pytest.raises(InputError) as error:
        load(f"parquet[path={tmp_path}/a.parquet,group=who]")
    assert [problem.rpartition("a.parquet: ")[2] for problem in error.value.problems] == [
        "column 'who' is missing; there are 'a', 'b', 'label'",
        "column 'a' lacks 1 of its values; expected one in every row",
        "column 'b' holds string; expected numbers",
    ]


def test_the_next_character_of_sentences_by_authors() -> None:
    """The oracle: windows and labels of an author, read one after the other, are its text."""
    data = load("sentences[authors=3,validation=0]")
    assert (data.classes, data.vocabulary, data.features) == (28, 28, 20)
    for author in range(3):
        written = sentences.text(author, 520)
        for split, start, stop in ((data.train, 0, 400), (data.test, 400, 500)):
            assert split.groups is not None
            mine = split.take(np.flatnonzero(split.groups == author))
            assert np.array_equal(mine.features[:, 0], written[start:stop])
            assert np.array_equal(mine.features[-1], written[stop - 1 : stop + 19])
            assert np.array_equal(mine.labels, written[20 + start : 20 + stop])


def test_sentences_are_the_same_on_every_python_and_numpy() -> None:
    assert load("sentences").digest == (
        "2820d65c517764187553dfd016db079961fa6f3f83eeece37a63d78390a30d46"
    )


def test_bad_sizes_of_sentences_are_refused() -> None:
    with pytest.raises(InputError, match="length: 99; expected an integer >= 100"):
        load("sentences[length=99]")
    with pytest.raises(InputError, match="authors, length, window: 999999 x 999999 x 20; expected"):
        load("sentences[authors=999999,length=999999]")


@pytest.mark.parametrize("version", ["binary", "python"])
def test_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path / "cache")
    with pytest.raises(InputError, match=r"'cifar100' is not in .*torchvision.datasets.CIFAR100"):
        load("cifar100[verify=false]")
    folder = tmp_path / f"cifar-100-{version}"
    folder.mkdir()
    rng = np.random.default_rng(0)
    made = {
        name: (rng.integers(0, 256, (200, 3072), dtype=np.uint8), np.arange(200) % 100)
        for name in cifar.PARTS
    }

    def write(name: str, pixels: np.ndarray, fine: np.ndarray) -> None:
        if version == "binary":
            rows = np.column_stack((fine % 20, fine, pixels)).astype(np.uint8)
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            held = {b"data": pixels, b"fine_labels": fine.tolist(), b"coarse_labels": [0] * 200}
            (folder / name).write_bytes(pickle.dumps(held, 2))

    for name, arrays_ in made.items():
        write(name, *arrays_)
    differs = "200 images; expected 50,000" if version == "binary" else "MD5 .*; expected 16019d7e"
    with pytest.raises(InputError, match=differs):
        load("cifar100")
    data = load("cifar100[validation=0,verify=false]")
    assert data.shape == {
        "features": 3072,
        "classes": 100,
        "image": (3, 32, 32),
        "vocabulary": None,
    }
    np.testing.assert_allclose(data.train.features, made["train"][0] / 255, rtol=1e-6)
    assert data.test.labels.tolist() == made["test"][1].tolist()
    write("test", made["test"][0], made["test"][1] + (np.arange(200) == 3) * 120)
    place = f"byte {1 + 3 * 3074}" if version == "binary" else "label 3"
    with pytest.raises(InputError, match=f"{place}: 123; expected a class, 0 .. 99"):
        load("cifar100[validation=0,verify=false]")


def is_mapped(array: np.ndarray) -> bool:
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return isinstance(base, mmap.mmap)


def test_features_that_are_divided_already_are_mapped_and_not_copied(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(6000, 64)).astype(np.float32)
    y = np.arange(6000) % 3
    named: dict[str, Any] = {"x_train": x, "y_train": y, "x_test": x[::-1], "y_test": y[::-1]}
    (tmp_path / "a").mkdir()
    for name, values in named.items():
        np.save(tmp_path / "a" / name, values)
    np.savez(tmp_path / "b.npz", **named)
    world = World(data=f"npz[path={tmp_path}/a,validation=0]")
    mapped, packed = world.data, load(f"npz[path={tmp_path}/b.npz,validation=0]")
    same(mapped, packed)
    assert np.array_equal(mapped.train.features, x)
    assert is_mapped(mapped.train.features)
    assert not is_mapped(packed.train.features)
    assert world.features.data_ptr() == mapped.train.features.ctypes.data
    mapped.train.features[0, 0] += 1.0  # a mistake of somebody's stays in this process
    assert np.load(tmp_path / "a" / "x_train.npy")[0, 0] == x[0, 0]
    np.save(tmp_path / "a" / "x_train", x + 1)
    assert load(f"npz[path={tmp_path}/a,validation=0]").digest != mapped.digest


def test_emnist_is_read_from_its_archive_and_turned_upright(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path / "cache")
    with pytest.raises(InputError, match=r"'emnist' is not in .*torchvision.datasets.EMNIST"):
        load("emnist[split=letters]")
    (tmp_path / "EMNIST" / "raw").mkdir(parents=True)
    rng = np.random.default_rng(0)
    held = {}
    with zipfile.ZipFile(tmp_path / "EMNIST" / "raw" / "gzip.zip", "w") as archive:
        for part in ("train", "test"):
            images = held[part] = rng.integers(0, 256, (52, 3, 3)).astype(np.uint8)
            for kind, values in (("images-idx3", images), ("labels-idx1", np.arange(52) % 26 + 1)):
                header = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">u4").tobytes()
                packed = gzip.compress(header + values.astype(np.uint8).tobytes())
                archive.writestr(f"gzip/emnist-letters-{part}-{kind}-ubyte.gz", packed)
    with pytest.raises(InputError, match=r"MD5 .*; expected 58c8d27c78d21e728a6bc7b3cc06412e"):
        load("emnist[split=letters]")
    data = load("emnist[split=letters,validation=0,verify=false]")
    assert (data.classes, data.train.image) == (26, (3, 3))
    assert data.test.labels.tolist() == [*range(26)] * 2
    upright = held["test"].transpose(0, 2, 1).reshape(52, 9)
    np.testing.assert_allclose(data.test.features, upright / 255, rtol=1e-6)
    with pytest.raises(InputError, match="There is no item named"):
        load("emnist[verify=false]")


def leaf(folder: Path, users: dict[str, tuple[Any, Any]], **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    held = {
        "users": list(users), "num_samples": [len(y) for _, y in users.values()],
        "user_data": {user: {"x": x, "y": y} for user, (x, y) in users.items()}, **more,
    }  # fmt: skip
    (folder / f"{next(iter(users), 'none')}.json").write_text(json.dumps(held))


def by_writer(pixels: np.ndarray, labels: np.ndarray, writers: list[str]) -> dict[str, Any]:
    """Examples i, i + w, i + 2w .. are the i-th writer's."""
    w = len(writers)
    return {
        who: (pixels[i::w].reshape(-1, pixels[0].size).tolist(), labels[i::w].tolist())
        for i, who in enumerate(writers)
    }


def test_femnist_by_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path / "cache")
    with pytest.raises(InputError, match="'femnist': no folders train and test of JSON"):
        load("femnist")
    rng = np.random.default_rng(0)
    x = np.round(rng.random((124, 28, 28)), 3).astype(np.float32)
    y = np.arange(124) % 62
    home = tmp_path / "femnist" / "data"
    leaf(home / "train", by_writer(x, y, ["f0", "f1"]))
    leaf(home / "train", {"f2": (x[:3].reshape(3, 784).tolist(), [5, 6, 7])})
    leaf(home / "test", by_writer(x[:20], y[:20], ["f2", "f9"]))
    data = load("femnist[validation=0]")
    assert data.shape == {"features": 784, "classes": 62, "image": (28, 28), "vocabulary": None}
    train, test = data.train, data.test
    assert np.array_equal(
        train.features.reshape(-1, 28, 28), np.concatenate((x[::2], x[1::2], x[:3]))
    )
    assert train.labels.tolist() == [*y[::2], *y[1::2], 5, 6, 7]
    assert train.groups is not None
    assert test.groups is not None
    assert train.groups.tolist() == [0] * 62 + [1] * 62 + [2] * 3
    assert test.groups.tolist() == [2] * 10 + [3] * 10  # f2 is f2 in both
    world = World(data="femnist[validation=0]", partition="natural", workers=3)
    assert sorted(len(shard) for shard in world.shards) == [3, 62, 62]
    for bad, message in (
        ({"f3": ([[2.0] * 784], [0])}, "pixels 0 .. 2; expected 0 .. 1"),
        ({"f3": ([[0.5] * 784], [62])}, "label 62; expected 0 .. 61"),
        ({"f3": ([[0.5] * 784], ["a"])}, "y of int, str; expected integers, text or real numbers"),
        ({"f0": ([[0.5] * 784], [1])}, "user 'f0' is there twice; expected each once"),
        ({"f3": ([[0.5] * 783], [1])}, "user 'f3': x of 783 numbers; others have 784"),
    ):
        leaf(home / "train", {"zz": ([[0.5] * 784], [1]), **bad})
        with pytest.raises(InputError, match=message):
            load("femnist[validation=0]")


def test_leaf_s_texts_are_sequences_of_characters(tmp_path: Path) -> None:
    play = (
        "To be, or not to be, that is the question: whether tis nobler in the mind to suffer. " * 3
    )
    users = {}
    for i, who in enumerate(("HAMLET", "OPHELIA")):
        starts = range(i, len(play) - 6, 2)
        users[who] = [play[s : s + 5] for s in starts], [play[s + 5] for s in starts]
    leaf(tmp_path, users)
    data = load(f"leaf[path={tmp_path},validation=0]")
    alphabet = sorted(set(play))
    assert data.vocabulary == len(alphabet)
    assert data.train.groups is not None
    classes = sorted({y for _, answers in users.values() for y in answers})  # T, as of "To", too
    assert data.classes == len(classes)
    for split in (data.train, data.test):
        assert split.groups is not None
        for row, label, who in zip(split.features, split.labels, split.groups, strict=True):
            written = "".join(alphabet[int(c)] for c in row)
            x, y = users[("HAMLET", "OPHELIA")[who]]
            assert (written, classes[label]) in set(zip(x, y, strict=True))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("[]", r"\[\]; expected .\"users\": \[..\], \"num_samples\""),
        ("{}", "users, num_samples or user_data do not fit; expected"),
        ('{"users": ["a"], "num_samples": [1], "user_data": {}}', "users are not those of user_data"),
        ('{"users": ["a"], "num_samples": [2], "user_data": {"a": {"x": [[1]], "y": [0]}}}', "num_samples = 2"),
        ('{"users": ["a"], "num_samples": [2], "user_data": {"a": {"x": [[1], [1, 2]], "y": [0, 1]}}}', "x: .*; expected lists of numbers"),
        ('{"users": ["a"], "num_samples": [1], "user_data": {"a": {"x": [1], "y": [0]}}}', r"x: int64 of shape \(1,\); expected lists"),
        ('{"users": ["a"], "num_samples": [2], "user_data": {"a": {"x": ["ab", "c"], "y": [0, 1]}}}', "texts of several lengths"),
        ('{"users": [], "num_samples": [], "user_data": {}}', "no examples; expected at least one"),
        ('{"users": ["a"]', "expected .\"users\""),
    ],
)  # fmt: skip
def test_files_that_are_not_leaf_s_are_refused(tmp_path: Path, written: str, message: str) -> None:
    (tmp_path / "a.json").write_text(written)
    with pytest.raises(InputError, match=message):
        load(f"leaf[path={tmp_path}]")
    with pytest.raises(InputError, match="no JSON files; expected some of"):
        load(f"leaf[path={tmp_path}/empty]")


def test_emnist_by_writer_is_read_from_the_other_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scipy.io import savemat

    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path / "cache")
    name = "emnist[split=byclass,validation=0,verify=false,writers=true]"
    with pytest.raises(InputError, match=r"'emnist' is not in .*put NIST's matlab.zip there"):
        load(name)
    rng = np.random.default_rng(0)
    held: dict[str, Any] = {}
    for part, count in (("train", 124), ("test", 70)):
        held[part] = {
            "images": rng.integers(0, 256, (count, 9)).astype(np.uint8),
            "labels": (np.arange(count) % 62)[:, None].astype(np.uint8),
            "writers": (100 + np.arange(count) % 7)[:, None].astype(np.uint16),
        }
    (tmp_path / "EMNIST" / "raw").mkdir(parents=True)

    def write(**changed: Any) -> None:
        savemat(tmp_path / "a.mat", {"dataset": held | changed}, do_compression=True)
        with zipfile.ZipFile(tmp_path / "EMNIST" / "raw" / "matlab.zip", "w") as archive:
            archive.write(tmp_path / "a.mat", "matlab/emnist-byclass.mat")

    write()
    with pytest.raises(
        InputError, match=r"SHA256 .*; expected e1fa805cdeae699a52da0b77c2db17f6feb77e"
    ):
        load("emnist[split=byclass,writers=true]")
    data = load(name)
    assert (data.classes, data.train.image) == (62, (3, 3))
    upright = held["train"]["images"].reshape(-1, 3, 3).transpose(0, 2, 1).reshape(-1, 9)
    np.testing.assert_allclose(data.train.features, upright / 255, rtol=1e-6)
    assert data.test.groups is not None
    assert data.test.groups.tolist() == held["test"]["writers"][:, 0].tolist()
    world = World(data=name, partition="natural", workers=7)
    assert data.train.groups is not None
    assert all(len(set(data.train.groups[shard])) == 1 for shard in world.shards)
    write(test=held["test"] | {"writers": held["test"]["writers"][1:]})
    with pytest.raises(
        InputError, match=r"test: images \(70, 3, 3\), labels \(70,\), writers \(69,\)"
    ):
        load(name)
    write(test=held["test"] | {"labels": held["test"]["labels"] + 0.5})
    with pytest.raises(
        InputError, match=r"test\.labels: float64 of shape \(70, 1\); expected integers"
    ):
        load(name)
