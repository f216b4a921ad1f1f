"""Files of one's own: tables (CSV, Parquet, LIBSVM), arrays (``.npz``) and images in folders."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hgobench import csv_file, reading
from hgobench.errors import InputError, unknown
from hgobench.parameters import boolean, whole

from . import arrays
from .arrays import TEST, expect_labels
from .base import Dataset, Labels, Source, Split, digest, divided, standardised

MOST_NUMBERS = 1 << 29  # of a data set's features
SIDE = 10_000  # the largest image, in pixels
MOST_BYTES = 1 << 32  # of an array
ALIGNED = 64  # bytes
MOST_PIXELS = 1 << 25  # of an image, before it is made smaller
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
EXPECTED = f"an image: {', '.join(FORMATS)}"
LEAST_LINES = 20  # a column of fewer may count the lines by accident


class Own(Source):
    """Examples in a file or folder of one's own.

    Args:
        path: the file or folder.
        test: the share of the examples that is the test set, in (0, 1).
        validation: as for a `Source`.
    """

    paper = "your own"

    def __init__(self, path: str, test: float = TEST, validation: float = 0.15) -> None:
        super().__init__(validation)
        self.path = str(path)
        if isinstance(test, bool) or not isinstance(test, int | float) or not 0 < test < 1:
            raise ValueError(f"test: {test!r}; expected a share in (0, 1)")
        self.test = test


class Table(Own):
    """A table: a row per example, with a class or a target, and perhaps a group.

    Args:
        path: the file.
        label: the column with the class.
        group: the column that says who produced an example (for the partition ``natural``); None:
            there is none.
        test: as for `Own`.
        validation: as for a `Source`.
        target: the column with the number that a regression is to tell, in place of a label; None:
            there are classes.
    """

    def __init__(
        self,
        path: str,
        label: str = "label",
        group: str | None = None,
        test: float = TEST,
        validation: float = 0.15,
        target: str | None = None,
    ) -> None:
        super().__init__(path, test, validation)
        self.label, self.group, self.target = str(label), group, target
        if target is not None and label != "label":
            raise ValueError(
                f"label and target: {label!r} and {target!r}; expected a label (classes) or a "
                "target (a regression)"
            )

    @property
    def text(self) -> list[str]:
        """The columns that are read as text."""
        named = [] if self.target is not None else [self.label]
        return named if self.group is None else [*named, self.group]

    def dataset(self, columns: Mapping[str, NDArray[Any]]) -> Dataset:
        """Return the data set of a table's columns: text those of `text`, all others float64.

        Raises:
            InputError: it is no table of examples.
        """
        asked = [*self.text, *([self.target] if self.target is not None else [])]
        features = [name for name in columns if name not in asked]
        y: Labels
        names: list[str] = []
        groups = None
        if self.group is not None:
            groups = np.unique(columns[self.group], return_inverse=True)[1].astype(np.int64)
        if self.target is not None:
            y = columns[self.target].astype(np.float32)
        else:
            unique, numbers = np.unique(columns[self.label], return_inverse=True)
            names, y = unique.tolist(), numbers.astype(np.int64)
        if self.target is not None and not features:
            raise InputError(f"data: {self.path}: 0 features; expected at least one")
        if self.target is None and (not features or len(names) < 2):
            raise InputError(
                f"data: {self.path}: {len(features)} features, {len(names)} classes; expected at "
                "least one feature and two classes"
            )
        x = np.stack([columns[name] for name in features], axis=1)
        if self.target is None:
            expect_labels(f"{self.path}: {self.label}", names)
            expect_no_index(self.path, features, x, y)
        classes = len(names) if self.target is None else 0
        return self.split(Split(x, y, groups), classes, digest(columns))

    def split(self, table: Split, classes: int, checksum: str) -> Dataset:
        """Divide a table into training, validation and test examples, and standardise them."""
        prefix = f"{self.path}: "
        train, test = divided(table, self.test, prefix)
        train, validation = self.hold_out(train)
        train, validation, test = standardised(train, train, validation, test, prefix=prefix)
        return Dataset(train, validation, test, classes=classes, digest=checksum)


class Csv(Table):
    """A table of your own: a line per example, a column per feature.

    A stratified share is the test set. Features are standardised with the training examples' mean
    and deviation. Labels are compared as text, and a class has one spelling: both 1 and 1.0 are
    refused. So are missing labels (nan), and a column that numbers lines sorted by class, as it
    gives the class away.

    Args:
        path: the file, with a header line.
        label: the column with the class.
        group: the column that says who produced an example (for the partition ``natural``); None:
            there is none.
        test: the share of the examples that is the test set, in (0, 1).
        validation: as for a `Source`.
        target: the column with the number that a regression is to tell, in place of a label; None:
            there are classes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "flowers.csv"
        ...     lines = [f"{width},{'ab'[width > 9]}" for width in range(20)]
        ...     _ = path.write_text("\\n".join(["width,label", *lines[::2], *lines[1::2]]))
        ...     data = Csv(str(path), validation=0).load()
        >>> len(data.train), len(data.test), data.classes
        (16, 4, 2)
    """

    validity = "a CSV file with a header; other columns are numbers"

    def load(self) -> Dataset:
        """Read, split and standardise the table."""
        number = csv_file.number(finite=True)
        named: dict[str, csv_file.Parser] = dict.fromkeys(self.text, csv_file.text)
        if self.target is not None:
            named[self.target] = number
        rows = [row for _, row in csv_file.read("data", self.path, named, others=number)]
        return self.dataset({name: np.array([row[name] for row in rows]) for name in rows[0]})


class Parquet(Table):
    """A Parquet file of one's own, as a `Csv`: a column per feature, of numbers or truth values.

    It needs pyarrow: ``pip install 'hgobench[parquet]'``.

    Args:
        path: the file.
        label: as for `Csv`.
        group: as for `Csv`.
        test: as for `Csv`.
        validation: as for a `Source`.
        target: as for `Csv`.

    Example:
        >>> Parquet("trips.parquet", target="minutes").text
        []
    """

    validity = "a Parquet file; other columns are numbers; needs hgobench[parquet]"

    def load(self) -> Dataset:
        """Read, split and standardise the table."""
        location = f"data: {self.path!r}"
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise InputError(
                f"{location}: pyarrow is not installed: pip install 'hgobench[parquet]'"
            ) from None
        with reading.refusing(location, "a Parquet file"), reading.opened(home(self.path)) as file:
            found = parquet.ParquetFile(file)
            rows, columns = found.metadata.num_rows, found.metadata.num_columns
            if not 0 < rows * columns <= MOST_NUMBERS:
                raise InputError(
                    f"{location}: {rows:,} rows of {columns:,} columns; expected 1 to "
                    f"{MOST_NUMBERS:,} values"
                )
            table = found.read()
        names = table.column_names
        numbers = [self.target] if self.target is not None else []
        there = ", ".join(map(repr, names[: csv_file.MOST]))
        problems = [
            f"data: {self.path}: column {name!r} is missing; there are {there}"
            for name in (*self.text, *numbers)
            if name not in names
        ]
        for name, column in zip(names, table.columns, strict=True):
            kind = column.type
            numeric = any(
                test(kind)
                for test in (
                    pyarrow.types.is_integer,
                    pyarrow.types.is_floating,
                    pyarrow.types.is_boolean,
                )
            )
            if column.null_count:
                problems.append(
                    f"data: {self.path}: column {name!r} lacks {column.null_count:,} of its "
                    "values; expected one in every row"
                )
            elif name not in self.text and not numeric:
                problems.append(
                    f"data: {self.path}: column {name!r} holds {kind}; expected numbers"
                )
        if len(set(names)) < len(names):
            problems.append(f"data: {self.path}: columns of the same name; expected one of each")
        if problems:
            raise InputError(problems)
        return self.dataset(
            {
                name: np.array([str(value) for value in column.to_pylist()])
                if name in self.text
                else column.to_numpy().astype(np.float64)
                for name, column in zip(names, table.columns, strict=True)
            }
        )


class Libsvm(Table):
    """A file of one's own in LIBSVM's format: ``LABEL [qid:GROUP] INDEX:VALUE ..``, indices from 1.

    Features that a line leaves out are 0. They are standardised as those of a `Csv`.

    Args:
        path: the file, plain or packed (``.gz``).
        regression: whether the labels are targets, and not classes.
        test: as for `Csv`.
        validation: as for a `Source`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.libsvm"
        ...     lines = [f"{1 if i > 9 else -1} qid:{i % 3} 1:{i} 3:1" for i in range(20)]
        ...     _ = path.write_text("\\n".join(lines[::2] + lines[1::2]))
        ...     data = Libsvm(str(path), validation=0).load()
        >>> data.features, data.classes, len(data.train)
        (3, 2, 16)
    """

    validity = "a file in LIBSVM's format; qid is the group"

    def __init__(
        self, path: str, regression: bool = False, test: float = TEST, validation: float = 0.15
    ) -> None:
        target = "target" if boolean("regression", regression) else None
        super().__init__(path, test=test, validation=validation, target=target)

    def load(self) -> Dataset:
        """Read, split and standardise the table."""
        location = f"data: {self.path!r}"
        expected = "lines LABEL [qid:GROUP] INDEX:VALUE .., indices from 1 in order"
        text = reading.content("data", self.path, csv_file.BYTES)
        with reading.refusing(location, expected):
            from sklearn.datasets import load_svmlight_file

            # Indices count from 1, or features would move if no line has the first.
            matrix, y, group = load_svmlight_file(io.BytesIO(text), zero_based=False, query_id=True)
        rows, width = matrix.shape
        if not 0 < rows * width <= MOST_NUMBERS:
            raise InputError(
                f"{location}: {rows:,} examples of {width:,} features; expected 1 to "
                f"{MOST_NUMBERS:,} numbers"
            )
        x = np.asarray(matrix.toarray(), dtype=np.float64)
        for name, values in (("label", y), ("feature", x)):
            if not np.isfinite(values).all():
                raise InputError(f"{location}: a {name} that is not finite; expected {expected}")
        columns: dict[str, NDArray[Any]] = {str(j + 1): x[:, j] for j in range(width)}
        if self.target is not None:
            columns[self.target] = y
        else:
            columns[self.label] = np.array([f"{label:g}" for label in y])
        if b"qid:" in text:
            self.group = "qid"
            columns[self.group] = np.array(list(map(str, group)))
        return self.dataset(columns)


class Npz(Own):
    """Arrays of one's own in an ``.npz`` file, as `numpy.savez` writes it.

    Its arrays are called ``x`` and ``y``, and perhaps ``groups``; or ``x_train``, ``y_train``,
    ``x_test``, ``y_test``, and perhaps ``groups_train``, ``x_validation`` and so on.
    What they may hold is what a function may return: images (N, channels, height, width), text as
    labels, integers as sequences. Features stay as they are.

    A folder with these arrays as ``.npy`` files is read too, and mapped: processes of a machine
    share the memory of features that need not be divided, ``x_train`` and ``x_test`` of float32,
    with `validation` 0 or ``x_validation``. Don't change the files while a run computes.

    Args:
        path: the file, or the folder.
        test: as for `Csv`, unless the file has test examples.
        validation: as for a `Source`, unless the file has validation examples.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "a.npz"
        ...     np.savez(path, x=np.zeros((20, 3, 4, 4), np.uint8), y=np.arange(20) % 2)
        ...     data = Npz(str(path), validation=0).load()
        >>> data.features, data.train.image, len(data.train)
        (48, (3, 4, 4), 16)
    """

    validity = "arrays x, y and groups; or x_train, y_train, x_test, y_test"

    def files(self) -> list[Path]:
        """Return the arrays' files, if they are in a folder."""
        return sorted(home(self.path).glob("*.npy"))

    def load(self) -> Dataset:
        """Read the arrays."""
        location, root = f"data: {self.path!r}", home(self.path)
        found: dict[str, NDArray[Any]] = {}
        with reading.refusing(location, "an .npz file of arrays, or a folder of .npy files"):
            if root.is_dir():
                for path in self.files():
                    name = _known(path.name, location)
                    found[name] = _mapped(path, f"{location}: array {path.name!r}")
            else:
                with reading.opened(root) as file, zipfile.ZipFile(file) as archive:
                    for entry in archive.infolist():
                        name = _known(entry.filename, location)
                        found[name] = _member(archive, entry, location)
        suffixes = ("_train", "_validation", "_test") if "x" not in found else ("",)
        parts = {
            suffix.removeprefix("_"): arrays.Part(
                found[f"x{suffix}"], found[f"y{suffix}"], found.get(f"groups{suffix}")
            )
            for suffix in suffixes
            if f"x{suffix}" in found and f"y{suffix}" in found
        }
        used = {f"{a}{s}" for s in suffixes for a in ("x", "y", "groups") if s[1:] in parts}
        lacking = "" not in parts and not {"train", "test"} <= parts.keys()
        if lacking or found.keys() - used:
            raise InputError(
                f"{location}: arrays {', '.join(map(repr, found))}; expected x and y, or x_train, "
                "y_train, x_test and y_test; perhaps groups of each"
            )
        with reading.refusing(location):
            return arrays.assembled(parts, self, self.test)


_ARRAYS = [f"{a}{s}" for s in ("", "_train", "_validation", "_test") for a in ("x", "y", "groups")]


def _known(file: str, location: str) -> str:
    name = file.removesuffix(".npy")
    if name not in _ARRAYS:
        raise InputError(unknown(f"{location}: array", name, _ARRAYS))
    return name


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, location: str) -> NDArray[Any]:
    """Read one array of an archive."""
    with archive.open(entry) as file:
        _check_header(file, entry.file_size, f"{location}: array {entry.filename!r}")
    with archive.open(entry) as file:
        array = np.asarray(np.lib.format.read_array(file, allow_pickle=False))
        if file.read(1):  # only at the end the archive's checksum is compared
            raise InputError(
                f"{location}: array {entry.filename!r}: more bytes than its header says; expected "
                f"{array.dtype} of shape {array.shape}"
            )
    return array


def _mapped(path: Path, location: str) -> NDArray[Any]:
    """Map the array of an ``.npy`` file, so that the processes of a machine share its memory.

    Its numbers begin at a multiple of 64 bytes, on which the last bits of sums may depend.
    """
    with reading.opened(path) as file:
        _check_header(file, path.stat().st_size, location)
    # Private: whoever writes to it, which nobody should, changes neither the file nor others.
    array = np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
    return array if array.ctypes.data % ALIGNED == 0 else array.copy()


def _check_header(file: Any, size: int, location: str) -> None:
    """Refuse an array that is not as large as its header says, too large, or of objects."""
    version = np.lib.format.read_magic(file)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, kind = header(file)
    claimed = math.prod(shape) * kind.itemsize
    if kind.hasobject or claimed > size or claimed > MOST_BYTES:
        raise InputError(
            f"{location}: {kind} of shape {shape} in {size:,} bytes; expected numbers or text, "
            f"{MOST_BYTES:,} bytes at most"
        )


class Pictures(Own):
    """Images of one's own in a folder per class: ``photos/cat/1.png``.

    ``photos/cat/ann/1.png`` says besides that ann took it: the folder is the example's group. With
    two folders ``train`` and ``test`` at the top, these hold the classes. Pixels are divided by
    255. PNG, JPEG, GIF (the first image), BMP, TIFF, WebP and PPM; hidden files are left out.

    Args:
        path: the folder.
        size: the side in pixels that all images are brought to, which changes their proportions;
            None: they are of one size already.
        grey: whether colours are turned to grey: one channel, and not three.
        test: as for `Csv`, unless there are folders ``train`` and ``test``.
        validation: as for a `Source`.

    Example:
        >>> Pictures("photos", size=32).size
        32
    """

    validity = "a folder per class, perhaps of folders per group; or train and test of these"

    def __init__(
        self,
        path: str,
        size: int | None = None,
        grey: bool = False,
        test: float = TEST,
        validation: float = 0.15,
    ) -> None:
        super().__init__(path, test, validation)
        self.size = None if size is None else whole("size", size, least=1, most=SIDE)
        self.grey = boolean("grey", grey)

    def files(self) -> list[Path]:
        """Return all files in the folder, in an order that does not depend on the system."""
        root = home(self.path)
        found = root.rglob("*") if root.is_dir() else iter(())
        inside = (path.relative_to(root) for path in found if path.is_file())
        names = [path for path in inside if not any(p.startswith(".") for p in path.parts)]
        return [root / name for name in sorted(names, key=lambda name: name.parts)]

    def load(self) -> Dataset:
        """Read the images."""
        location, root = f"data: {self.path!r}", home(self.path)
        files = [(path, path.relative_to(root).parts) for path in self.files()]
        divided = bool(files) and {parts[0] for _, parts in files} == {"train", "test"}
        depths = {len(parts) - divided for _, parts in files}
        if depths not in ({2}, {3}):
            shown = "no files" if not files else f"files {' and '.join(map(str, depths))} deep"
            raise InputError(
                f"{location}: {shown}; expected CLASS/IMAGE or CLASS/GROUP/IMAGE, in all alike"
            )
        mode = "L" if self.grey else "RGB"

        def images() -> Iterator[Picture]:
            for path, _ in files:
                where = f"data: {str(path)!r}"
                with reading.refusing(where, EXPECTED), reading.opened(path) as file:
                    yield Picture(where, path.name, pixels(file, where, self.size, mode))

        every = stacked(images(), len(files), location)
        parts = {}
        for name in ("train", "test") if divided else ("",):
            rows = [i for i, (_, parts_) in enumerate(files) if not divided or parts_[0] == name]
            group = [files[i][1][1 + divided] for i in rows] if depths == {3} else None
            parts[name] = arrays.Part(
                every[rows],
                np.array([files[i][1][divided] for i in rows]),
                None if group is None else np.array(group),
            )
        return arrays.assembled(parts, self, self.test)


@dataclass(frozen=True)
class Picture:
    """An image that was read.

    Attributes:
        where: it is, as messages begin.
        name: what others are compared with in messages.
        pixels: (channels, height, width) of bytes.
    """

    where: str
    name: str
    pixels: NDArray[np.uint8]


def stacked(pictures: Iterable[Picture], count: int, location: str) -> NDArray[np.uint8]:
    """Return `count` images of one size, (N, channels, height, width).

    Raises:
        InputError: they differ in size, or are too large together.
    """
    every: NDArray[np.uint8] | None = None
    first = ""
    for i, picture in enumerate(pictures):
        shape = picture.pixels.shape
        if every is None:
            first = picture.name
            if picture.pixels.size * count > MOST_NUMBERS:
                raise InputError(
                    f"{location}: {count:,} images of {picture.pixels.size:,} numbers; expected "
                    f"{MOST_NUMBERS:,} numbers at most; make them smaller by size=.."
                )
            every = np.empty((count, *shape), np.uint8)
        if shape != every.shape[1:]:
            raise InputError(
                f"{picture.where}: {shape[1]} x {shape[2]} pixels; {first} has {every.shape[2]} x "
                f"{every.shape[3]}; expected one size, or size=.."
            )
        every[i] = picture.pixels
    assert every is not None
    return every


def pixels(file: IO[bytes], location: str, size: int | None, mode: str) -> NDArray[np.uint8]:
    """Read an image: (channels, height, width).

    Args:
        file: which holds it.
        location: for messages.
        size: the side that it is brought to; None: it keeps its own.
        mode: Pillow's: ``"L"`` or ``"RGB"``.

    Raises:
        InputError: it is too large.
    """
    from PIL import Image

    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > MOST_PIXELS:
        raise InputError(
            f"{location}: {image.height:,} x {image.width:,} pixels; expected {MOST_PIXELS:,} "
            "at most"
        )
    if image.mode[0] in "IF":  # they would be clipped
        raise InputError(
            f"{location}: pixels of more than 8 bits (mode {image.mode}); expected 8 bits a channel"
        )
    converted = image.convert(mode)
    if size is not None:
        converted = converted.resize((size, size), Image.Resampling.BILINEAR)
    read = np.asarray(converted, dtype=np.uint8)
    return read[None] if read.ndim == 2 else np.ascontiguousarray(np.moveaxis(read, -1, 0))


def home(path: str) -> Path:
    """Return a path with ``~`` replaced by the user's folder."""
    return Path(path).expanduser()


def expect_no_index(path: str, names: Sequence[str], x: NDArray[np.float64], y: Labels) -> None:
    """Refuse a column that numbers lines sorted by class: it gives the class away."""
    runs = 1 + np.count_nonzero(np.diff(y))
    if runs > y.max() + 1 or len(x) < LEAST_LINES:
        return
    counting = (np.diff(x, axis=0) == 1).all(axis=0)
    problems = [
        f"data: {path}: column {names[j]!r} counts the lines, which are sorted by class: it "
        "gives the class away; remove it, or shuffle the lines before they are counted"
        for j in np.flatnonzero(counting).tolist()
    ]
    if problems:
        raise InputError(problems)
