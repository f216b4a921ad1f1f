"""The data sets that can be named.

Test examples serve the board alone; whatever is chosen (a learning rate, say) is chosen on
validation examples. The split does not depend on a scenario's seed.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import fetch_openml, load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split

from hgobench import catalogue, csv_file, reading
from hgobench.boundary import Boundary, PluginError, keyed
from hgobench.errors import InputError
from hgobench.registry import Registry

from . import files
from .base import Dataset, Labels, Published, Source, Split, digest, splitting, standardised
from .cifar import Cifar10
from .tables import Boston, Phishing

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MOST_BYTES = 1 << 28  # of an IDX file, unpacked
LEAST_LINES = 20  # of a table, for a column to count them by no accident


class Digits(Source):
    """scikit-learn's digits: 1,797 grey images of 8 x 8 in 10 classes.

    A stratified 20 % are the test set. Features are divided by 16.
    """

    paper = "Alpaydin and Kaynak, UCI 1998"
    validity = "embedded"

    def load(self) -> Dataset:
        """Return it."""
        x, y = load_digits(return_X_y=True)
        train, test = _embedded_split((x / 16.0).astype(np.float32), y.astype(np.int64), (8, 8))
        read = digest({"features": x, "labels": y})
        return Dataset(*self.hold_out(train), test, classes=10, digest=read)


class BreastCancer(Source):
    """scikit-learn's breast cancer data: 569 examples, 30 features, 2 classes.

    A stratified 20 % are the test set. Features are standardised with the training examples'
    mean and deviation.
    """

    paper = "Street et al., 1993"
    validity = "embedded"

    def load(self) -> Dataset:
        """Return it."""
        x, y = load_breast_cancer(return_X_y=True)
        train, test = _embedded_split(x, y.astype(np.int64))
        train, held = self.hold_out(train)
        train, held, test = standardised(train, train, held, test)
        read = digest({"features": x, "labels": y})
        return Dataset(train, held, test, classes=2, digest=read)


def _embedded_split(
    x: NDArray[np.floating], y: Labels, image: tuple[int, int] | None = None
) -> tuple[Split, Split]:
    a, b, c, d = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    return Split(a, c, image=image), Split(b, d, image=image)


class Images(Published):
    """Four IDX files of grey images: in $HGOBENCH_DATA, in the user's cache, or downloaded.

    Args:
        validation: as for a `Source`.
        pair: two of the classes, ``"1v2"``: the examples of these alone, which become the classes
            0 and 1; None: all ten.
        verify: as for a `Published` one.
    """

    validity = "in $HGOBENCH_DATA or cached, else downloaded"
    name: ClassVar[str]
    openml: ClassVar[str]
    md5: ClassVar[tuple[str, str, str, str]]  # of the decompressed IDX_FILES

    def __init__(
        self, validation: float = 0.15, pair: str | None = None, verify: bool = True
    ) -> None:
        super().__init__(validation, verify)
        self.pair: tuple[int, int] | None = None
        if pair is not None:
            match = re.fullmatch(r"([0-9])v([0-9])", str(pair))
            if match is None or match[1] == match[2]:
                raise ValueError(f"pair: {pair!r}; expected two different classes, as in '1v2'")
            self.pair = int(match[1]), int(match[2])

    def files(self) -> list[Path]:
        """Return where its four files may be."""
        return [folder / file for folder in files.folders(self.name) for file in IDX_FILES]

    def load(self) -> Dataset:
        """Return it; pixels are divided by 255."""
        folder = locate(self.name, self.openml, self.md5)
        arrays = {file: read_idx(folder / file) for file in IDX_FILES}
        differs = self.judge(
            [
                f"{str(files.at_hand(folder / file))!r}: unpacked it has MD5 {found}; expected "
                f"{known}, that of {self.name} as published"
                for (file, array), known in zip(arrays.items(), self.md5, strict=True)
                if (found := _md5(_as_idx(array))) != known
            ]
        )
        parts = []
        for images, labels in (IDX_FILES[:2], IDX_FILES[2:]):
            _expect_pair(folder / images, arrays[images], folder / labels, arrays[labels])
            parts.append(
                Split(
                    arrays[images].reshape(len(arrays[images]), -1).astype(np.float32)
                    / np.float32(255),
                    arrays[labels].astype(np.int64),
                    image=arrays[images].shape[1:],
                )
            )
        train, test = parts if self.pair is None else map(self._of_pair, parts)
        return Dataset(
            *self.hold_out(train),
            test,
            classes=10 if self.pair is None else 2,
            digest=digest(arrays),
            differs=differs,
        )

    def _of_pair(self, split: Split) -> Split:
        assert self.pair is not None
        zero, one = self.pair
        chosen = split.take(np.flatnonzero((split.labels == zero) | (split.labels == one)))
        return replace(chosen, labels=np.where(chosen.labels == one, 1, 0))


class Mnist(Images):
    """MNIST: 60,000 + 10,000 grey images of 28 x 28 in 10 classes; validation=0 trains on all."""

    paper = "LeCun et al., 1998"
    name = "mnist"
    openml = "mnist_784"
    md5 = (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    )


class FashionMnist(Images):
    """Fashion-MNIST: the format of MNIST, pictures of clothes."""

    paper = "Xiao et al., 2017"
    name = "fashion_mnist"
    openml = "Fashion-MNIST"
    md5 = (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    )


class Csv(Source):
    """A table of one's own: a line per example, a column per feature.

    A stratified share is the test set. Features are standardised with the training examples' mean
    and deviation. Labels are words, of which a class has one: 1 beside 1.0 is refused, and so are
    nan, and a column that counts the lines where these are sorted by class.

    Args:
        path: the file, with a header line.
        label: the column with the class.
        group: the column that says who made an example (for the partition ``natural``); None: no
            such column.
        test: the share of the examples that is the test set, in (0, 1).
        validation: as for a `Source`.
    """

    paper = "your own"
    validity = "a CSV file with a header; all other columns are numbers"

    def __init__(
        self,
        path: str,
        label: str = "label",
        group: str | None = None,
        test: float = 0.2,
        validation: float = 0.15,
    ) -> None:
        super().__init__(validation)
        self.path, self.label, self.group = str(path), str(label), group
        if isinstance(test, bool) or not isinstance(test, int | float) or not 0 < test < 1:
            raise ValueError(f"test: {test!r}; expected a share in (0, 1)")
        self.test = test

    def load(self) -> Dataset:
        """Return it."""
        named = {self.label: csv_file.text}
        named |= {self.group: csv_file.text} if self.group is not None else {}
        table = csv_file.read("data", self.path, named, others=csv_file.number(finite=True))
        rows = [row for _, row in table]
        features = [name for name in rows[0] if name not in named]
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        x = np.array([[row[name] for name in features] for row in rows], dtype=np.float64)
        names, y = np.unique(columns[self.label], return_inverse=True)
        groups = None
        if self.group is not None:
            groups = np.unique(columns[self.group], return_inverse=True)[1].astype(np.int64)
        if not features or len(names) < 2:
            raise InputError(
                f"data: {self.path}: {len(features)} features, {len(names)} classes; expected at "
                "least one feature and two classes"
            )
        _expect_labels(self.path, self.label, names.tolist())
        _expect_no_index(self.path, features, x, y)
        # In float64 until it is standardised.
        whole = Split(x, y.astype(np.int64), groups)  # type: ignore[arg-type]
        with splitting(f"{self.path}: "):
            parts = train_test_split(
                np.arange(len(x)), test_size=self.test, random_state=0, stratify=y
            )
        train, held = self.hold_out(whole.take(np.sort(parts[0])))
        test = whole.take(np.sort(parts[1]))
        train, held, test = standardised(train, train, held, test, of=f"{self.path}: ")
        return Dataset(train, held, test, classes=len(names), digest=digest(columns))


_MISSING = frozenset({"nan", "na", "n/a", "<na>", "null", "none", "missing", "?", "-", "."})


def _expect_labels(path: str, column: str, names: Sequence[str]) -> None:
    """Refuse labels that are one in other spellings, and those that say that there is none."""
    where = f"data: {path}: {column}: "
    spellings: dict[float | str, str] = {}
    numbers, missing = 0, ""
    for name in names:
        try:
            key: float | str = float(name)
        except ValueError:
            key = " ".join(name.split()).casefold()
        numbers += isinstance(key, float) and not math.isnan(key)
        missing = name if key != key or key in _MISSING else missing
        if (other := spellings.setdefault(key, name)) != name:
            raise InputError(
                f"{where}{other!r} and {name!r} differ in their spelling alone; expected one "
                "spelling for a class"
            )
    if missing and (missing.lower() == "nan" or numbers == len(names) - 1):
        raise InputError(
            f"{where}{missing!r} looks as if the label were missing; expected a class in every line"
        )


def _expect_no_index(
    path: str, columns: Sequence[str], x: NDArray[np.float64], y: NDArray[np.int64]
) -> None:
    """Refuse a column that counts the lines where these are sorted by class: it names the class."""
    runs = 1 + np.count_nonzero(np.diff(y))
    if runs > y.max() + 1 or len(x) < LEAST_LINES:
        return
    counting = (np.diff(x, axis=0) == 1).all(axis=0)
    problems = [
        f"data: {path}: column {columns[j]!r} counts the lines, which are sorted by class: it "
        "gives the class away; remove it, or shuffle the lines before they are counted"
        for j in np.flatnonzero(counting).tolist()
    ]
    if problems:
        raise InputError(problems)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or with ``.gz`` behind its name.

    Raises:
        InputError: it is no such file, larger than `MOST_BYTES`, or shorter or longer than its
            header says.
    """
    there = files.at_hand(path)
    where = f"data: {str(there)!r}"
    with reading.refusing(where, "an IDX file"), reading.opened(there) as file:
        start = file.read(4)
        if len(start) < 4 or start[:3] != b"\0\0\x08":
            raise InputError(
                f"{where}: not an IDX file of unsigned bytes: it begins with {start!r}; expected "
                "the bytes 0, 0, 8 and the number of dimensions"
            )
        sizes = file.read(4 * start[3])
        if len(sizes) < 4 * start[3]:
            raise InputError(f"{where}: it ends in its header, which has {start[3]} dimensions")
        shape = tuple(np.frombuffer(sizes, dtype=">u4").tolist())
        said = math.prod(shape)
        if not 0 < len(shape) <= 3 or said > MOST_BYTES:
            raise InputError(
                f"{where}: its header says {' x '.join(map(str, shape)) or 'nothing'}; expected 1 "
                f"to 3 dimensions, {MOST_BYTES:,} bytes at most"
            )
        content = file.read(said + 1)
    if len(content) != said:
        more = "more than " * (len(content) > said)
        raise InputError(f"{where}: {more}{min(len(content), said)} bytes; its header says {said}")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _as_idx(array: NDArray[np.uint8]) -> bytes:
    """Return the IDX file of an array."""
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes()
    return header + array.tobytes()


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _expect_pair(
    images: Path, pixels: NDArray[np.uint8], labels: Path, classes: NDArray[np.uint8]
) -> None:
    """Refuse images and labels that don't belong together."""
    problems = []
    if pixels.ndim != 3 or not pixels.size:
        problems.append(
            f"{str(images)!r}: of shape {pixels.shape}; expected (images, rows, columns)"
        )
    if classes.ndim != 1 or len(classes) != len(pixels):
        problems.append(
            f"{str(labels)!r}: of shape {classes.shape}; expected a label for each of the "
            f"{len(pixels)} images of {images.name}"
        )
    elif (bad := np.flatnonzero(classes > 9)).size:
        start = 8  # of its header
        problems.append(
            f"{str(labels)!r}: byte {start + bad[0]}: label {classes[bad[0]]}; expected 0 .. 9"
        )
    if problems:
        raise InputError(f"data: {problem}" for problem in problems)


def digests(folder: Path) -> tuple[str, ...]:
    """Return the MD5 of the four decompressed IDX files of a folder."""
    return tuple(_md5(_as_idx(read_idx(folder / file))) for file in IDX_FILES)


def locate(name: str, openml: str, md5: tuple[str, ...]) -> Path:
    """Find the folder with a data set's four IDX files; download them if they are missing.

    Raises:
        InputError: they are nowhere and can't or must not be downloaded, or what was downloaded
            is not the data set.
    """
    return files.find(name, IDX_FILES, lambda folder: download(openml, folder, md5))


def download(openml: str, folder: Path, md5: tuple[str, ...], test: int = 10_000) -> None:
    """Fetch an image data set with scikit-learn's OpenML client and keep it as IDX files.

    Args:
        openml: its name there.
        folder: where the four files go.
        md5: what their MD5 must be.
        test: how many of the last examples are the test set.

    Raises:
        InputError: the files are not those that the MD5 name.
        OSError: the network failed.
    """
    bunch = fetch_openml(
        openml, version=1, as_frame=False, parser="liac-arff", data_home=str(folder / "openml")
    )
    images = bunch.data.astype(np.uint8)
    labels = bunch.target.astype(np.uint8)
    side = int(np.sqrt(images.shape[1]))
    cut = len(images) - test
    parts = (
        images[:cut].reshape(-1, side, side),
        labels[:cut],
        images[cut:].reshape(-1, side, side),
        labels[cut:],
    )
    contents = [_as_idx(part) for part in parts]
    found = tuple(map(_md5, contents))
    if found != md5:
        raise InputError(f"data: OpenML's {openml!r} has MD5 {found}; expected {md5}")
    for file, content in zip(IDX_FILES, contents, strict=True):
        partial = folder / f"{file}.partial"
        partial.write_bytes(content)
        partial.replace(folder / file)


registry: Registry[Source] = Registry(
    "data",
    "datasets",
    {
        "digits": Digits,
        "breast_cancer": BreastCancer,
        "mnist": Mnist,
        "fashion_mnist": FashionMnist,
        "cifar10": Cifar10,
        "phishing": Phishing,
        "boston": Boston,
        "csv": Csv,
    },
    kind=Source,
)


def load(specification: str) -> Dataset:
    """Load a data set once per process: ``"digits"``, ``"mnist[validation=0]"``.

    This is the one door: whatever a source returns, also one of somebody else's, is checked here.

    Raises:
        InputError: there is no such source, it can't be read, or what it returns is no data set.
    """
    return _load(specification, state(specification))


@dataclass(frozen=True)
class About:
    """What a data set is, without its arrays.

    Attributes:
        digest: of the arrays that were read (`Dataset.digest`).
        classes: how many; 0: a regression.
        features: how many an example has.
        train, validation, test: how many examples there are.
    """

    digest: str
    classes: int
    features: int
    train: int
    validation: int
    test: int


def about(specification: str) -> About:
    """Say what a data set is; it is loaded for that, in this process.

    Raises:
        InputError: as `load`.
    """
    data = load(specification)
    sizes = (len(part) for part in (data.train, data.validation, data.test))
    return About(data.digest, data.classes, data.features, *sizes)


def state(specification: str) -> tuple[Any, ...]:
    """Return what changes when a file of a data set does."""
    named = {"data": specification}
    read = [] if catalogue.foreign(named) else registry.build(specification).files()
    return catalogue.contents(named), *map(files.state, read)


@cache
def _load(specification: str, state: tuple[Any, ...]) -> Dataset:
    about = f"data: {specification!r}"
    with keyed(0):  # all seeds share it
        source = registry.build(specification)
    boundary = Boundary("data", specification, source, seed=0, passes=(InputError,))
    try:
        with boundary("load"):
            data = _foreign(source) if boundary.foreign else source.load()
    except PluginError as error:
        raise InputError(f"{about}: {error.message}") from error
    except InputError as error:
        if not boundary.foreign:
            raise
        problems = (problem.removeprefix(f"{about}: ") for problem in error.problems)
        raise InputError(f"{about}: {p.removeprefix('data: ')}" for p in problems) from error
    return data if data.digest else replace(data, digest=digest(_arrays(data)))


def _foreign(source: Source) -> Dataset:
    """Return the data set of somebody's source: copies, under a digest of what they hold."""
    data: object = source.load()
    if not isinstance(data, Dataset):
        raise InputError(
            f"load() returned {type(data).__name__}; expected a Dataset of hgobench.data.base"
        )
    parts = {name: getattr(data, name) for name in ("train", "validation", "test")}
    copies = {name: part.take(np.arange(len(part))) for name, part in parts.items()}
    return replace(data, digest="", **copies)  # checked again, as the source may have changed them


def _arrays(data: Dataset) -> dict[str, NDArray[Any]]:
    """Return the arrays of a data set by name."""
    arrays: dict[str, NDArray[Any]] = {"classes": np.array(data.classes)}
    for name in ("train", "validation", "test"):
        part = getattr(data, name)
        arrays |= {f"{name} features": part.features, f"{name} labels": part.labels}
        arrays |= {f"{name} groups": part.groups} if part.groups is not None else {}
    return arrays
