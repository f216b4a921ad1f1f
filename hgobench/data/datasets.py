"""The data sets that can be named.

Test examples are for the board alone; choices, as of a learning rate, are made on validation
examples. The split does not depend on a scenario's seed.

>>> data = load("digits")
>>> data.train.features.shape, len(data.validation), len(data.test)
((1221, 64), 216, 360)
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import re
import zipfile
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench import catalogue, reading
from hgobench.boundary import Boundary, PluginError, keyed
from hgobench.errors import InputError, Unavailable
from hgobench.parameters import boolean, one_of
from hgobench.registry import Registry

from . import files, shared
from .base import Dataset, Labels, Published, Source, Split, digest, standardised
from .cifar import Cifar10, Cifar100
from .functions import adapted
from .huggingface import HuggingFace
from .leaf import Femnist, Leaf
from .own import Csv, Libsvm, Npz, Parquet, Pictures
from .sentences import Sentences
from .tables import Boston, Phishing

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MOST_BYTES = 1 << 28  # of an IDX file, unpacked
MOST_UNPACKED = 1 << 30  # of a file in EMNIST's archives


class Digits(Source):
    """scikit-learn's digits: 1,797 grey images of 8 x 8 in 10 classes.

    A stratified 20 % are the test set. Features are divided by 16.

    Args:
        validation: as for a `Source`.

    Example:
        >>> data = Digits(validation=0).load()
        >>> data.train.features.shape, data.classes, data.train.image
        ((1437, 64), 10, (8, 8))
    """

    paper = "Alpaydin and Kaynak, UCI 1998"
    validity = "embedded"

    def load(self) -> Dataset:
        """Load, scale and split the images."""
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        train, test = _embedded_split((x / 16.0).astype(np.float32), y.astype(np.int64), (8, 8))
        checksum = digest({"features": x, "labels": y})
        return Dataset(*self.hold_out(train), test, classes=10, digest=checksum)


class BreastCancer(Source):
    """scikit-learn's breast cancer data: 569 examples, 30 features, 2 classes.

    A stratified 20 % are the test set. Features are standardised with the training examples'
    mean and deviation.

    Args:
        validation: as for a `Source`.

    Example:
        >>> data = BreastCancer(validation=0).load()
        >>> data.train.features.shape, data.classes, bool(abs(data.train.features.mean()) < 1e-6)
        ((455, 30), 2, True)
    """

    paper = "Street et al., 1993"
    validity = "embedded"

    def load(self) -> Dataset:
        """Load, split and standardise the table."""
        from sklearn.datasets import load_breast_cancer

        x, y = load_breast_cancer(return_X_y=True)
        train, test = _embedded_split(x, y.astype(np.int64))
        train, validation = self.hold_out(train)
        train, validation, test = standardised(train, train, validation, test)
        checksum = digest({"features": x, "labels": y})
        return Dataset(train, validation, test, classes=2, digest=checksum)


def _embedded_split(
    x: NDArray[np.floating], y: Labels, image: tuple[int, int] | None = None
) -> tuple[Split, Split]:
    from sklearn.model_selection import train_test_split

    a, b, c, d = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    return Split(a, c, image=image), Split(b, d, image=image)


class Images(Published):
    """Four IDX files of grey images: in $HGOBENCH_DATA, in the user's cache, or downloaded.

    Args:
        validation: as for a `Source`.
        pair: two classes, as ``"1v2"``: only their examples, relabelled 0 and 1; None: all ten.
        verify: as for `Published`.
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
        """Return the paths at which its four files are looked for."""
        return [folder / file for folder in files.folders(self.name) for file in IDX_FILES]

    def load(self) -> Dataset:
        """Read the four files; pixels are divided by 255."""
        folder = locate(self.name, self.openml, self.md5)
        arrays = {file: read_idx(folder / file) for file in IDX_FILES}
        differs = self.judge(
            [
                f"{str(files.at_hand(folder / file))!r}: unpacked it has MD5 {md5}; expected "
                f"{published}, that of {self.name} as published"
                for (file, array), published in zip(arrays.items(), self.md5, strict=True)
                if (md5 := _md5(_as_idx(array))) != published
            ]
        )
        splits = []
        for images, labels in (IDX_FILES[:2], IDX_FILES[2:]):
            _expect_pair(folder / images, arrays[images], folder / labels, arrays[labels])
            splits.append(
                Split(
                    arrays[images].reshape(len(arrays[images]), -1).astype(np.float32)
                    / np.float32(255),
                    arrays[labels].astype(np.int64),
                    image=arrays[images].shape[1:],
                )
            )
        train, test = splits if self.pair is None else map(self._of_pair, splits)
        return Dataset(
            *self.hold_out(train),
            test,
            classes=10 if self.pair is None else 2,
            digest=digest(arrays),
            differs=differs,
        )

    def _of_pair(self, split: Split) -> Split:
        assert self.pair is not None
        first, second = self.pair
        chosen = split.take(np.flatnonzero((split.labels == first) | (split.labels == second)))
        return replace(chosen, labels=np.where(chosen.labels == second, 1, 0))


class Mnist(Images):
    """MNIST: 60,000 + 10,000 grey images of 28 x 28 in 10 classes; validation=0 trains on all.

    Args:
        validation: as for a `Source`.
        pair: as for `Images`.
        verify: as for `Published`.

    Example:
        >>> Mnist(pair="1v2").pair
        (1, 2)
    """

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
    """Fashion-MNIST: pictures of clothes in MNIST's format and sizes.

    Args:
        validation: as for a `Source`.
        pair: as for `Images`.
        verify: as for `Published`.

    Example:
        >>> FashionMnist(pair="0v6").pair
        (0, 6)
    """

    paper = "Xiao et al., 2017"
    name = "fashion_mnist"
    openml = "Fashion-MNIST"
    md5 = (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    )


class Emnist(Published):
    """EMNIST: letters and digits of NIST's forms as grey images of 28 x 28; pixels divided by 255.

    Its archive, ``EMNIST/raw/gzip.zip``, is looked for in $HGOBENCH_DATA and the user's cache;
    ``torchvision.datasets.EMNIST(FOLDER, "balanced", download=True)`` puts it there. It is not
    downloaded. Writers are in the other archive that NIST publishes, ``matlab.zip``, which is
    looked for in the same folders.

    Args:
        split: ``balanced`` (47 classes, 112,800 + 18,800 images), ``byclass`` (62, 697,932 +
            116,323), ``bymerge`` (47, as many), ``letters`` (26), ``digits`` or ``mnist`` (10).
        validation: as for a `Source`.
        verify: as for `Published`: whether the archive's digest must be the published one.
        writers: whether to read ``matlab.zip``, with writers as groups (partition ``natural``).

    Example:
        >>> Emnist("letters").files()[0].name
        'gzip.zip'
    """

    paper = "Cohen et al., 2017"
    validity = "the user's own copy in $HGOBENCH_DATA or the cache"
    classes: ClassVar[dict[str, int]] = {
        "balanced": 47, "byclass": 62, "bymerge": 47, "letters": 26, "digits": 10, "mnist": 10
    }  # fmt: skip
    archives: ClassVar[dict[str, tuple[str, str]]] = {  # with how they are verified, and the digest
        "gzip.zip": ("MD5", "58c8d27c78d21e728a6bc7b3cc06412e"),
        "matlab.zip": (
            "SHA256",
            "e1fa805cdeae699a52da0b77c2db17f6feb77eed125f9b45c022e7990444df95",
        ),
    }

    def __init__(
        self,
        split: str = "balanced",
        validation: float = 0.15,
        verify: bool = True,
        writers: bool = False,
    ) -> None:
        super().__init__(validation, verify)
        self.split = one_of("split", split, *self.classes)
        self.archive = "matlab.zip" if boolean("writers", writers) else "gzip.zip"

    def files(self) -> list[Path]:
        """Return the paths at which its archive is looked for."""
        return [home.parent / "EMNIST" / "raw" / self.archive for home in files.folders("emnist")]

    def load(self) -> Dataset:
        """Read the split of the archive, and turn the images upright."""
        path = next((path for path in self.files() if path.is_file()), None)
        if path is None:
            way = (
                'have torchvision.datasets.EMNIST(FOLDER, "balanced", download=True) fetch it'
                if self.archive == "gzip.zip"
                else "put NIST's matlab.zip there, which has the writers"
            )
            raise Unavailable(
                f"data: 'emnist' is not in {' or '.join(map(str, self.files()))}; {way}; it is "
                "not downloaded"
            )
        location = f"data: {str(path)!r}"
        with reading.refusing(location, "EMNIST's archive"), reading.opened(path) as file:
            kind, published = self.archives[self.archive]
            hasher = hashlib.new(kind, usedforsecurity=False)
            while block := file.read(1 << 20):
                hasher.update(block)
            found = hasher.hexdigest()
            differs = self.judge(
                [f"{str(path)!r}: {kind} {found}; expected {published}, that of EMNIST's archive"]
                if found != published
                else []
            )
            with zipfile.ZipFile(file) as archive:
                read = self._idx if self.archive == "gzip.zip" else self._matlab
                arrays = read(archive, location)
        first = 1 if self.split == "letters" else 0  # its labels begin there
        splits = []
        for part in ("train", "test"):
            images, labels = arrays[f"{part} images"], arrays[f"{part} labels"]
            writers = arrays.get(f"{part} writers")
            if images.ndim != 3 or not labels.shape == images.shape[:1] == (
                labels.shape if writers is None else writers.shape
            ):
                by = "" if writers is None else f", writers {writers.shape}"
                raise InputError(
                    f"{location}: {part}: images {images.shape}, labels {labels.shape}{by}; "
                    "expected (images, rows, columns) and one for each"
                )
            upright = np.ascontiguousarray(images.transpose(0, 2, 1))
            pixels = upright.reshape(len(images), -1).astype(np.float32) / np.float32(255)
            groups = None if writers is None else writers.astype(np.int64)
            numbers = labels.astype(np.int64) - first
            splits.append(Split(pixels, numbers, groups, image=upright.shape[1:]))
        train, test = splits
        return Dataset(
            *self.hold_out(train),
            test,
            classes=self.classes[self.split],
            digest=digest(arrays),
            differs=differs,
        )

    def _idx(self, archive: zipfile.ZipFile, location: str) -> dict[str, NDArray[Any]]:
        """Return images (N, columns, rows) and labels of both parts."""
        arrays: dict[str, NDArray[Any]] = {}
        for part in ("train", "test"):
            for kind in ("images-idx3", "labels-idx1"):
                name = f"emnist-{self.split}-{part}-{kind}-ubyte"
                with archive.open(f"gzip/{name}.gz") as packed, gzip.open(packed) as member:
                    read = _idx(member, f"{location}: {name}", most=MOST_UNPACKED)
                    arrays[f"{part} {kind[:6]}"] = read
        return arrays

    def _matlab(self, archive: zipfile.ZipFile, location: str) -> dict[str, NDArray[Any]]:
        """Return images (N, columns, rows), labels and writers of both parts."""
        from scipy.io import loadmat

        name = f"matlab/emnist-{self.split}.mat"
        with archive.open(name) as member:
            content = member.read(MOST_UNPACKED + 1)
        if len(content) > MOST_UNPACKED:
            raise InputError(f"{location}: {name}: more than {MOST_UNPACKED:,} bytes")
        held = loadmat(io.BytesIO(content), squeeze_me=False, struct_as_record=True)["dataset"]
        arrays: dict[str, NDArray[Any]] = {}
        for part in ("train", "test"):
            of_part = held[0, 0][part][0, 0]
            for kind in ("images", "labels", "writers"):
                values = np.asarray(of_part[kind])
                whole = values.dtype.kind in "iu"
                whole |= values.dtype.kind == "f" and not (values % 1).any()
                if not whole or values.ndim != 2:
                    raise InputError(
                        f"{location}: {name}: {part}.{kind}: {values.dtype} of shape "
                        f"{values.shape}; expected integers (N, ..)"
                    )
                arrays[f"{part} {kind}"] = values if kind == "images" else values[:, 0]
            images = arrays[f"{part} images"]
            side = math.isqrt(images.shape[1])
            if side * side != images.shape[1] or images.dtype != np.uint8:
                raise InputError(
                    f"{location}: {name}: {part}.images: {images.dtype} of shape {images.shape}; "
                    "expected bytes (N, pixels of a square)"
                )
            arrays[f"{part} images"] = np.ascontiguousarray(images).reshape(-1, side, side)
        return arrays


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or with ``.gz`` behind its name.

    Raises:
        InputError: it is no IDX file, is larger than `MOST_BYTES`, or has another size than its
            header says.
    """
    source = files.at_hand(path)
    location = f"data: {str(source)!r}"
    with reading.refusing(location, "an IDX file"), reading.opened(source) as file:
        return _idx(file, location)


def _idx(
    file: IO[bytes] | gzip.GzipFile, location: str, most: int = MOST_BYTES
) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes that is open, of `most` bytes at most."""
    start = file.read(4)
    if len(start) < 4 or start[:3] != b"\0\0\x08":
        raise InputError(
            f"{location}: not an IDX file of unsigned bytes: it begins with {start!r}; "
            "expected the bytes 0, 0, 8 and the number of dimensions"
        )
    sizes = file.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise InputError(f"{location}: it ends in its header, which has {start[3]} dimensions")
    shape = tuple(np.frombuffer(sizes, dtype=">u4").tolist())
    size = math.prod(shape)
    if not 0 < len(shape) <= 3 or size > most:
        raise InputError(
            f"{location}: its header says {' x '.join(map(str, shape)) or 'nothing'}; expected "
            f"1 to 3 dimensions, {most:,} bytes at most"
        )
    content = file.read(size + 1)
    if len(content) != size:
        excess = "more than " * (len(content) > size)
        raise InputError(
            f"{location}: {excess}{min(len(content), size)} bytes; its header says {size}"
        )
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
    """Check that images and labels belong together."""
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
        InputError: they are not on this machine and can't or must not be downloaded, or what was
            downloaded is not the data set.
    """
    return files.find(name, IDX_FILES, lambda folder: download(openml, folder, md5))


def download(openml: str, folder: Path, md5: tuple[str, ...], test: int = 10_000) -> None:
    """Fetch an image data set with scikit-learn's OpenML client and keep it as IDX files.

    Args:
        openml: its name at OpenML.
        folder: where the four files are written.
        md5: the MD5 that they must have, in the order of `IDX_FILES`.
        test: size of the test set, the last examples.

    Raises:
        InputError: a file has another MD5.
        OSError: the network failed.
    """
    from sklearn.datasets import fetch_openml

    bunch = fetch_openml(
        openml, version=1, as_frame=False, parser="liac-arff", data_home=str(folder / "openml")
    )
    images = bunch.data.astype(np.uint8)
    labels = bunch.target.astype(np.uint8)
    side = int(np.sqrt(images.shape[1]))
    cut = len(images) - test
    arrays = (
        images[:cut].reshape(-1, side, side),
        labels[:cut],
        images[cut:].reshape(-1, side, side),
        labels[cut:],
    )
    contents = [_as_idx(array) for array in arrays]
    sums = tuple(map(_md5, contents))
    if sums != md5:
        raise InputError(f"data: OpenML's {openml!r} has MD5 {sums}; expected {md5}")
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
        "emnist": Emnist,
        "femnist": Femnist,
        "cifar10": Cifar10,
        "cifar100": Cifar100,
        "phishing": Phishing,
        "boston": Boston,
        "sentences": Sentences,
        "csv": Csv,
        "parquet": Parquet,
        "libsvm": Libsvm,
        "npz": Npz,
        "images": Pictures,
        "huggingface": HuggingFace,
        "leaf": Leaf,
    },
    kind=Source,
    adapt=adapted,
    wanted="hgobench.data.base.Source, or a function that returns arrays",
)


def load(specification: str) -> Dataset:
    """Load a data set, once per process: ``"digits"``, ``"mnist[validation=0]"``.

    All data sets are loaded here, so that what a plug-in's source returns is checked, too.

    Raises:
        InputError: there is no such source, it can't be read, or it returns no `Dataset`.

    Example:
        >>> load("digits") is load("digits"), len(load("digits[validation=0]").validation)
        (True, 0)
    """
    return _load(specification, state(specification))


@dataclass(frozen=True)
class Description:
    """A data set's digest and sizes, without its arrays.

    Attributes:
        digest: hash of the arrays that were read (`Dataset.digest`).
        classes: number of classes; 0: a regression.
        features: number of features of an example.
        train, validation, test: numbers of examples.

    Example:
        >>> description = describe("breast_cancer")
        >>> description.features, description.train, description.validation, description.test
        (30, 386, 69, 114)
    """

    digest: str
    classes: int
    features: int
    train: int
    validation: int
    test: int


def describe(specification: str) -> Description:
    """Return a data set's digest and sizes; it is loaded for that, in this process.

    Raises:
        InputError: as `load`.

    Example:
        >>> describe("digits").classes, describe("digits").test
        (10, 360)
    """
    data = load(specification)
    sizes = (len(split) for split in (data.train, data.validation, data.test))
    return Description(data.digest, data.classes, data.features, *sizes)


def state(specification: str) -> tuple[Any, ...]:
    """Return a value that changes when a file of the data set does."""
    field = {"data": specification}
    paths = [] if catalogue.foreign(field) else registry.build(specification).files()
    return catalogue.contents(field), *map(files.state, paths)


@cache
def _load(specification: str, state: tuple[Any, ...]) -> Dataset:
    location = f"data: {specification!r}"
    with keyed(0):  # all seeds share it
        source = registry.build(specification)
    boundary = Boundary("data", specification, source, seed=0, passes=(InputError,))
    key = "" if boundary.foreign else shared.key_of(specification, state)
    if key and (held := shared.find(key)) is not None:
        return held
    if boundary.foreign:  # what it sets in the environment is not the plug-in's doing
        import_module("sklearn.model_selection")
    try:
        with boundary("load"):
            data = _foreign(source) if boundary.foreign else source.load()
    except PluginError as error:
        raise InputError(f"{location}: {error.message}") from error
    except InputError as error:
        if not boundary.foreign:
            raise
        problems = (problem.removeprefix(f"{location}: ") for problem in error.problems)
        raise InputError(f"{location}: {p.removeprefix('data: ')}" for p in problems) from error
    data = data if data.digest else replace(data, digest=digest(_arrays(data)))
    return shared.keep(key or data.digest, data, specification)  # a plug-in's: by its numbers


def _foreign(source: Source) -> Dataset:
    """Return copies of what a plug-in's source loads, without a digest: `_load` works it out."""
    data: object = source.load()
    if not isinstance(data, Dataset):
        raise InputError(
            f"load() returned {type(data).__name__}; expected a Dataset of hgobench.data.base"
        )
    splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
    copies = {name: split.take(np.arange(len(split))) for name, split in splits.items()}
    return replace(data, digest="", **copies)  # checked again, as the source may have changed them


def _arrays(data: Dataset) -> dict[str, NDArray[Any]]:
    """Return the arrays of a data set by name."""
    arrays: dict[str, NDArray[Any]] = {"classes": np.array(data.classes)}
    for name in ("train", "validation", "test"):
        split = getattr(data, name)
        arrays |= {f"{name} features": split.features, f"{name} labels": split.labels}
        arrays |= {f"{name} groups": split.groups} if split.groups is not None else {}
    image, vocabulary = data.train.image, data.vocabulary
    arrays |= {"image": np.array(image)} if image is not None else {}
    return arrays | ({"vocabulary": np.array(vocabulary)} if vocabulary is not None else {})
