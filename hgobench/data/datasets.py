"""The data sets that can be named.

Test examples serve the board alone; whatever is chosen (a learning rate, say) is chosen on
validation examples. The split does not depend on a scenario's seed.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import fetch_openml, load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split

from hgobench import catalogue, csv_file
from hgobench.errors import InputError
from hgobench.registry import Registry

from . import files
from .base import Dataset, Labels, Source, Split, standardised
from .cifar import Cifar10
from .tables import Boston, Phishing

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


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
        return Dataset(*self.hold_out(train), test, classes=10)


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
        return Dataset(train, held, test, classes=2)


def _embedded_split(
    x: NDArray[np.floating], y: Labels, image: tuple[int, int] | None = None
) -> tuple[Split, Split]:
    a, b, c, d = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    return Split(a, c, image=image), Split(b, d, image=image)


class Images(Source):
    """Four IDX files of grey images: in $HGOBENCH_DATA, in the user's cache, or downloaded.

    Args:
        validation: as for a `Source`.
        pair: two of the classes, ``"1v2"``: the examples of these alone, which become the classes
            0 and 1; None: all ten.
    """

    validity = "in $HGOBENCH_DATA or cached, else downloaded"
    name: ClassVar[str]
    openml: ClassVar[str]
    md5: ClassVar[tuple[str, str, str, str]]  # of the decompressed IDX_FILES

    def __init__(self, validation: float = 0.15, pair: str | None = None) -> None:
        super().__init__(validation)
        self.pair: tuple[int, int] | None = None
        if pair is not None:
            found = re.fullmatch(r"([0-9])v([0-9])", str(pair))
            if found is None or found[1] == found[2]:
                raise ValueError(f"pair: {pair!r}; expected two different classes, as in '1v2'")
            self.pair = int(found[1]), int(found[2])

    def load(self) -> Dataset:
        """Return it; pixels are divided by 255."""
        folder = locate(self.name, self.openml, self.md5)
        parts = [read_idx(folder / file) for file in IDX_FILES]
        train, test = (
            Split(
                images.reshape(len(images), -1).astype(np.float32) / np.float32(255),
                labels.astype(np.int64),
                image=images.shape[1:],
            )
            for images, labels in (parts[:2], parts[2:])
        )
        if self.pair is None:
            return Dataset(*self.hold_out(train), test, classes=10)
        return Dataset(*self.hold_out(self._of_pair(train)), self._of_pair(test), classes=2)

    def _of_pair(self, split: Split) -> Split:
        assert self.pair is not None
        zero, one = self.pair
        part = split.take(np.flatnonzero((split.labels == zero) | (split.labels == one)))
        return replace(part, labels=np.where(part.labels == one, 1, 0))


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
    and deviation; labels are words: 1 and 1.0 are two.

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
        table = csv_file.read("data", self.path, named, others=csv_file.number())
        rows = [row for _, row in table]
        features = [name for name in rows[0] if name not in named]
        x = np.array([[row[name] for name in features] for row in rows], dtype=np.float64)
        names, y = np.unique([row[self.label] for row in rows], return_inverse=True)
        groups = None
        if self.group is not None:
            groups = np.unique([row[self.group] for row in rows], return_inverse=True)[1]
        if not features or len(names) < 2 or not np.isfinite(x).all():
            raise InputError(
                f"data: {self.path}: {len(features)} features, {len(names)} classes; expected "
                "finite features, at least one, and two classes"
            )
        # In float64 until it is standardised.
        whole = Split(x, y.astype(np.int64), groups)  # type: ignore[arg-type]
        try:
            parts = train_test_split(
                np.arange(len(x)), test_size=self.test, random_state=0, stratify=y
            )
            train, held = self.hold_out(whole.take(np.sort(parts[0])))
        except ValueError as error:  # too few examples of a class
            raise InputError(f"data: {self.path}: can't be split: {error}") from error
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = train.features.mean(axis=0), train.features.std(axis=0)
            scale = np.where(deviation > 0, deviation, 1.0)
            train, held, test = (
                replace(part, features=((part.features - mean) / scale).astype(np.float32))
                for part in (train, held, whole.take(np.sort(parts[1])))
            )
        made = (deviation, train.features, held.features, test.features)
        if not all(np.isfinite(values).all() for values in made):
            raise InputError(f"data: {self.path}: values too large to be standardised")
        return Dataset(train, held, test, classes=len(names))


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or with ``.gz`` behind its name.

    Raises:
        InputError: it is no such file, or shorter or longer than its header says.
    """
    content = files.content(path)
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise InputError(f"data: {path}: not an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:start], dtype=">u4").astype(int))
    if len(content) - start != int(np.prod(shape)):
        raise InputError(
            f"data: {path}: {len(content) - start} bytes; its header says {int(np.prod(shape))}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def digests(folder: Path) -> tuple[str, ...]:
    """Return the MD5 of the four decompressed IDX files of a folder."""
    return tuple(
        hashlib.md5(files.content(folder / file), usedforsecurity=False).hexdigest()
        for file in IDX_FILES
    )


def locate(name: str, openml: str, md5: tuple[str, ...]) -> Path:
    """Find the folder with a data set's four IDX files; download them if nobody has them.

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
    contents = [
        bytes((0, 0, 8, part.ndim)) + np.array(part.shape, dtype=">u4").tobytes() + part.tobytes()
        for part in parts
    ]
    found = tuple(hashlib.md5(c, usedforsecurity=False).hexdigest() for c in contents)
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
)


def load(specification: str) -> Dataset:
    """Load a data set once per process: ``"digits"``, ``"mnist[validation=0]"``."""
    return _load(specification, catalogue.contents({"data": specification}))


@cache
def _load(specification: str, contents: tuple[str, ...]) -> Dataset:
    return registry.build(specification).load()
