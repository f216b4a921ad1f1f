"""Data sets of Hugging Face's library, from a disk."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hgobench import World
from hgobench.data.base import Dataset
from hgobench.data.datasets import load
from hgobench.errors import InputError
from tests.saved import save_to_disk as save

pa = pytest.importorskip("pyarrow")

N = 40
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(N, 2))
LISTS = RNG.normal(size=(N, 3)).astype(np.float32)
PIXELS = RNG.integers(0, 256, (N, 4, 5, 3)).astype(np.uint8)
Y = np.arange(N) * 7 % 3
WHO = [f"w{i % 4}" for i in range(N)]
NAMES = ["zebra", "ant", "cow"]  # not in the order of the alphabet
LABEL = {"_type": "ClassLabel", "names": NAMES}


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def images(paths: list[str | None] | None = None) -> Any:
    held = [png(p) if paths is None or paths[i] is None else None for i, p in enumerate(PIXELS)]
    rows = [{"bytes": b, "path": None if paths is None else paths[i]} for i, b in enumerate(held)]
    return pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def rows_of(data: Dataset) -> dict[bytes, tuple[Any, Any]]:
    """Every example's label and group by its features."""
    found = {}
    for split in (data.train, data.validation, data.test):
        for i, row in enumerate(split.features):
            found[row.tobytes()] = (
                split.labels[i],
                None if split.groups is None else split.groups[i],
            )
    return found


def expect(data: Dataset, features: np.ndarray, groups: bool = True) -> None:
    """All examples are there, each with its own label and group."""
    found = rows_of(data)
    assert len(found) == N
    for i, row in enumerate(features.astype(np.float32).reshape(N, -1)):
        label, group = found[row.tobytes()]
        assert label == Y[i]
        assert (group == i % 4) if groups else group is None


def test_images_with_a_class_label_and_groups(tmp_path: Path) -> None:
    columns = {"image": images(), "label": pa.array(Y), "who": pa.array(WHO)}
    save(tmp_path / "a", columns, {"image": {"_type": "Image"}, "label": LABEL})
    data = load(f"huggingface[path={tmp_path}/a,group=who]")
    assert data.shape == {"features": 60, "classes": 3, "image": (3, 4, 5), "vocabulary": None}
    expect(data, np.moveaxis(PIXELS, 3, 1).astype(np.float32) / np.float32(255))
    small = load(f"huggingface[path={tmp_path}/a,features=image,size=3,grey=true]")
    assert small.train.image == (3, 3)
    assert small.train.groups is None
    world = World(data=f"huggingface[path={tmp_path}/a,group=who]", partition="natural", workers=4)
    assert len(world.shards) == 4


def test_images_in_files(tmp_path: Path) -> None:
    paths: list[str | None] = [f"i{i}.png" if i % 2 else None for i in range(N)]
    columns = {"image": images(paths), "label": pa.array(Y)}
    folder = save(tmp_path / "a", columns, {"image": {"_type": "Image"}})
    name = f"huggingface[path={folder}]"
    with pytest.raises(InputError, match="column 'image', row 1: No such file or directory"):
        load(name)
    for i, path in enumerate(paths):
        if path is not None:
            (folder / path).write_bytes(png(PIXELS[i]))
    data = load(name)
    expect(data, np.moveaxis(PIXELS, 3, 1).astype(np.float32) / np.float32(255), groups=False)
    (folder / "i1.png").write_bytes(png(255 - PIXELS[1]))  # a process that runs reads it again
    assert load(name).digest != data.digest
    (folder / "i1.png").write_bytes(png(PIXELS[1, :3]))
    with pytest.raises(InputError, match="row 1: 3 x 5 pixels; row 0 has 4 x 5; expected one size"):
        load(name)


@pytest.mark.parametrize(
    "kind",
    [
        lambda: pa.array(LISTS.tolist(), pa.list_(pa.float32())),
        lambda: pa.array(LISTS.tolist(), pa.list_(pa.float32(), 3)),
        lambda: pa.array(LISTS.tolist(), pa.large_list(pa.float32())),
    ],
)
def test_lists_of_numbers_stay_as_they_are(tmp_path: Path, kind: Callable[[], Any]) -> None:
    columns = {"v": kind(), "label": pa.array(Y), "who": pa.array(WHO).dictionary_encode()}
    save(tmp_path / "a", columns, {"label": LABEL})
    expect(load(f"huggingface[path={tmp_path}/a,group=who,features=v]"), LISTS)


def test_arrays_are_images_and_lists_of_integers_are_sequences(tmp_path: Path) -> None:
    grids = PIXELS[..., 0]
    columns = {
        "grid": pa.array(grids.tolist(), pa.list_(pa.list_(pa.uint8()))),
        "label": pa.array(Y),
    }
    save(tmp_path / "a", columns)
    data = load(f"huggingface[path={tmp_path}/a]")
    assert data.train.image == (4, 5)
    expect(data, grids.astype(np.float32) / np.float32(255), groups=False)
    words = np.arange(N * 2).reshape(N, 2)
    save(
        tmp_path / "b", {"ids": pa.array(words.tolist()), "label": pa.array([NAMES[y] for y in Y])}
    )
    assert load(f"huggingface[path={tmp_path}/b]").vocabulary == N * 2


def test_columns_of_numbers_are_the_parquet_file_of_them(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    names = [NAMES[y] for y in Y]
    columns = {"a": TABLE[:, 0], "b": TABLE[:, 1], "label": names, "who": WHO}
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    save(tmp_path / "t", columns)
    a = load(f"parquet[path={tmp_path}/t.parquet,group=who]")
    b = load(f"huggingface[path={tmp_path}/t,group=who]")
    for one, other in ((a.train, b.train), (a.validation, b.validation), (a.test, b.test)):
        for kind in ("features", "labels", "groups"):
            np.testing.assert_array_equal(getattr(one, kind), getattr(other, kind))
    save(tmp_path / "r", {"a": TABLE[:, 0], "cost": TABLE[:, 1]})
    data = load(f"huggingface[path={tmp_path}/r,target=cost]")
    assert data.classes == 0
    targets = np.concatenate([data.train.labels, data.validation.labels, data.test.labels])
    assert sorted(targets) == sorted(TABLE[:, 1].astype(np.float32))


def dictionary(folder: Path, splits: dict[str, slice]) -> None:
    for name, rows in splits.items():
        columns = {"a": TABLE[rows, 0] * 1e9 + 1e12, "b": TABLE[rows, 1], "label": Y[rows]}
        save(folder / name, columns, {"label": LABEL})
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))


def test_a_dictionary_has_its_own_splits(tmp_path: Path) -> None:
    cuts = {"test": slice(0, 9), "train": slice(9, 32), "validation": slice(32, None)}
    dictionary(tmp_path, cuts)
    data = load(f"huggingface[path={tmp_path}]")
    assert [len(data.train), len(data.validation), len(data.test)] == [23, 8, 9]
    assert data.test.labels.tolist() == Y[:9].tolist()
    scaled = (TABLE - TABLE[9:32].mean(axis=0)) / TABLE[9:32].std(axis=0)
    np.testing.assert_allclose(data.test.features, scaled[:9], atol=2e-5)
    assert len(load(f"huggingface[path={tmp_path}/train]").train) == 15
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    assert len(load(f"huggingface[path={tmp_path}]").train) == 15


def spoil(name: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(json.dumps(value) if not isinstance(value, str) else value)

    return change


BROKEN: list[tuple[dict[str, Any], dict[str, Any], str, Callable[[Path], object] | None, str]] = [
    ({"a": TABLE[:, 0]}, {}, "", None, "column 'label' is missing; there are 'a'"),
    ({"a": TABLE[:, 0], "label": Y}, {}, ",group=who,features=z", None, "column 'z' is missing"),
    ({"label": Y}, {}, "", None, "no columns besides 'label'"),
    ({"label": Y, "a": Y}, {}, ",group=label", None, "'label', 'label': a column is named twice"),
    ({"label": Y, "a": WHO}, {}, "", None, "column 'a' holds string; expected numbers, lists of numbers or im"),
    ({"label": Y, "a": TABLE[:, 0], "v": LISTS.tolist()}, {}, "", None, r"features 'a' \(number\), 'v' \(list\); expected columns"),
    ({"label": Y, "v": [[1.0] * (1 + i % 2) for i in range(N)]}, {}, "", None, "lists of 1 to 2 values; expected one length"),
    ({"label": Y, "v": [[1.0]] * (N // 2) + [[1.0, 2.0]] * (N // 2)}, {}, "", None, "lists of several lengths; expected one"),
    ({"label": Y, "v": [[1.0, None]] * N}, {}, "", None, "40 numbers are missing in its lists|numbers are missing"),
    ({"label": Y, "a": [None, *TABLE[1:, 0]]}, {}, "", None, "column 'a' lacks 1 of its values; expected one in every"),
    ({"label": [None, *Y[1:].tolist()], "a": TABLE[:, 0]}, {}, "", None, "column 'label' lacks 1 of its values"),
    ({"label": TABLE[:, 1], "a": TABLE[:, 0]}, {}, "", None, "column 'label' holds double; expected integers or text .of a regr"),
    ({"label": Y, "a": TABLE[:, 0]}, {"label": {"_type": "ClassLabel", "names": NAMES[:2]}}, "", None, "row 2: 2; expected a class, 0 .. 1"),
    ({"label": Y, "a": TABLE[:, 0]}, {"label": {"_type": "ClassLabel", "names": [*NAMES, "dog"]}}, "", None, "no example of class 'dog'; expected some of each of the 4"),
    ({"label": Y, "a": TABLE[:, 0]}, {"label": {"_type": "ClassLabel"}}, "", None, "a ClassLabel without names or numbers"),
    ({"label": Y, "a": TABLE[:, 0]}, {"a": {"_type": "Image"}}, "", None, "column 'a': double; expected images as bytes or paths"),
    ({"label": Y, "a": TABLE[:, 0]}, {}, ",target=a,label=label", lambda f: (f / "state.json").unlink(), "no state.json in .*; expected a folder that save_to_disk"),
    ({"label": Y, "a": TABLE[:, 0]}, {}, "", spoil("state.json", "[]"), r"state.json: \[\]; expected an object"),
    ({"label": Y, "a": TABLE[:, 0]}, {}, "", spoil("state.json", {"_data_files": []}), "state.json names no files"),
    ({"label": Y, "a": TABLE[:, 0]}, {}, "", spoil("state.json", {"_data_files": [{"filename": "../x"}]}), "expected names of files in the folder"),
    ({"label": Y, "a": TABLE[:, 0]}, {}, "", spoil("state.json", {"_data_files": [{"filename": "x"}], "_indices_data_files": [{}]}), "save it with a newer"),
    ({"label": Y, "a": TABLE[:, 0]}, {}, "", spoil("data-00001-of-00002.arrow", "junk"), "data-00001-of-00002.arrow: .*; expected an Arrow file"),
    ({"label": Y, "a": TABLE[:, 0]}, {}, "", spoil("dataset_dict.json", {"splits": ["train", "extra"]}), "splits train, extra; expected train and test, and perhaps validation; one alone is path="),
    ({"label": Y, "a": TABLE[:, 0]}, {}, "", spoil("dataset_dict.json", {"splits": [".."]}), "expected a list of names"),
    ({"label": Y, "a": np.arange(N) * 1.0}, {}, "", spoil("dataset_info.json", {"features": [1]}), "dataset_info.json: features are no object"),
    ({"label": np.sort(Y), "a": np.arange(N) * 1.0}, {}, "", None, "column 'a' counts the lines, which are sorted by class"),
    ({"label": Y, "i": [{"bytes": None, "path": None}] * N}, {"i": {"_type": "Image"}}, "", None, "bytes or paths|without bytes and path"),
    ({"label": Y, "i": [{"bytes": b"junk", "path": "a"}] * N}, {"i": {"_type": "Image"}}, "", None, "column 'i', row 0: .*; expected an image: PNG"),
]  # fmt: skip


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case[-1][:40])
def test_what_can_not_be_read_is_refused(tmp_path: Path, case: Any) -> None:
    columns, features, options, change, message = case
    folder = save(tmp_path / "a", columns, features)
    if change is not None:
        change(folder)
    if "target" in options:
        options = ""
    with pytest.raises(InputError, match=message) as error:
        load(f"huggingface[path={folder}{options}]")
    assert str(error.value).startswith("data: ")


def test_parameters_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="label and target: 'a' and 'b'; expected a label"):
        load("huggingface[path=x,label=a,target=b]")
    with pytest.raises(InputError, match=r"no state\.json in 'x'; expected a folder"):
        load("huggingface[path=x]")


def test_what_the_library_itself_writes(tmp_path: Path) -> None:
    """Where it is installed: every kind of feature that makes sense, by its own `save_to_disk`."""
    library = pytest.importorskip("datasets")
    kinds = library.Features({
        "a": library.Value("float32"), "v": library.Sequence(library.Value("float32"), length=3),
        "w": library.Sequence(library.Value("int64")), "m": library.Array2D((4, 5), "uint8"),
        "label": library.ClassLabel(names=NAMES), "who": library.Value("string"), "img": library.Image(),
    })  # fmt: skip
    rows = [
        {"a": TABLE[i, 0], "v": LISTS[i], "w": [i, i + 1], "m": PIXELS[i, ..., 0], "label": int(Y[i]),
         "who": WHO[i], "img": Image.fromarray(PIXELS[i])} for i in range(N)
    ]  # fmt: skip
    written = library.Dataset.from_list(rows, features=kinds)
    written.save_to_disk(tmp_path / "a", num_shards=3)
    written.select(range(N)[::-1]).save_to_disk(tmp_path / "b")
    pixels = np.moveaxis(PIXELS, 3, 1).astype(np.float32) / np.float32(255)
    grey = PIXELS[..., 0].astype(np.float32) / np.float32(255)
    for folder in ("a", "b"):
        for column, features in (("v", LISTS), ("img", pixels), ("m", grey)):
            data = load(f"huggingface[path={tmp_path}/{folder},group=who,features={column}]")
            expect(data, features)
        assert load(f"huggingface[path={tmp_path}/{folder},features=w]").vocabulary == N + 1
    halves = library.DatasetDict(train=written.select(range(30)), test=written.select(range(30, N)))
    halves.save_to_disk(tmp_path / "c")
    data = load(f"huggingface[path={tmp_path}/c,features=img,validation=0]")
    assert data.test.labels.tolist() == Y[30:].tolist()
    np.testing.assert_array_equal(data.test.features, pixels[30:].reshape(10, -1))
