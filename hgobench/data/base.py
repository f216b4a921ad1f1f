"""Data sets: examples, split once into training, validation and test examples."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import InputError
from hgobench.parameters import boolean
from hgobench.reading import refusing

MOST_WORDS = 1 << 24  # of a vocabulary: float32 holds all integers up to here

Features = NDArray[np.float32]
Labels = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True)
class Split:
    """N examples of p features.

    Attributes:
        features: (N, p) float32; float64 until they are standardised.
        labels: (N,) int64 in 0 .. classes-1; float32 targets in a regression.
        groups: (N,) who produced each example, for the partition ``natural``; None: unknown.
        image: height and width, if the features are an image's pixels, row by row; channels, height
            and width if they are several such images, one behind the other; else None.

    Raises:
        InputError: shapes, types or lengths are not as above, or a number is not finite; with its
            row and column.

    Example:
        >>> split = Split(np.zeros((3, 4), np.float32), np.array([0, 1, 1]), image=(2, 2))
        >>> len(split), len(split.take(np.array([0, 2])))
        (3, 2)
    """

    features: Features
    labels: Labels
    groups: NDArray[np.int64] | None = None
    image: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Check shapes, types and values."""
        _expect_array("features", self.features, 2, "float32", "float64")
        _expect_array("labels", self.labels, 1, "int64", "float32")
        examples, width = self.features.shape
        if len(self.labels) != examples:
            raise InputError(
                f"data: labels: {len(self.labels)} of them; expected {examples}, one for each row "
                "of the features"
            )
        if not width:
            raise InputError("data: features: no columns; expected at least one")
        if self.groups is not None:
            _expect_array("groups", self.groups, 1, "int64")
            if len(self.groups) != examples:
                raise InputError(f"data: groups: {len(self.groups)} of them; expected {examples}")
        if self.image is not None:
            shape = " x ".join(map(str, self.image))
            if len(self.image) not in (2, 3):
                raise InputError(
                    f"data: image: {shape}; expected height x width, or channels before"
                )
            if math.prod(self.image) != width:
                raise InputError(f"data: image: {shape}; the features have {width} columns")
        _expect_finite("features", self.features)
        _expect_finite("labels", self.labels)

    def take(self, rows: NDArray[np.int64]) -> Split:
        """Return the examples of these rows, in their order."""
        groups = None if self.groups is None else self.groups[rows]
        return Split(self.features[rows], self.labels[rows], groups, self.image)

    def __len__(self) -> int:
        return len(self.labels)


def _expect_array(name: str, array: object, dimensions: int, *types: str) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(
            f"data: {name}: {type(array).__name__}; expected a NumPy array of {' or '.join(types)}"
        )
    if array.ndim != dimensions or str(array.dtype) not in types:
        raise InputError(
            f"data: {name}: {array.dtype} of shape {array.shape}; expected {' or '.join(types)} "
            f"of {dimensions} dimension{'s' * (dimensions > 1)}"
        )


def _expect_finite(name: str, array: NDArray[Any]) -> None:
    """Refuse NaN and infinite numbers; a sum that is finite has none, and costs one pass."""
    with np.errstate(over="ignore", invalid="ignore"):
        if array.dtype.kind != "f" or np.isfinite(array.sum()):
            return
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, *column = bad[0].tolist()
        location = f"row {row}" + "".join(f", column {c}" for c in column)
        raise InputError(
            f"data: {name}: {location}: {array[tuple(bad[0])]}, the first of {len(bad):,}; "
            "expected finite numbers"
        )


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test examples.

    Attributes:
        train, validation, test: the examples; of validation there may be none.
        classes: how many; 0: a regression.
        digest: hash of the arrays as they were read, before they were split (`digest`); if a source
            leaves it empty, `hgobench.data.datasets.load` fills in that of the arrays above.
        differs: how its files differ from the published ones; empty: they don't, or there are none.
        vocabulary: V, if an example is a sequence of integers in 0 .. V-1, as of words or letters;
            None: its features are no such sequence. float32 holds them exactly: V <= 2**24.

    Raises:
        InputError: training, validation and test examples don't fit together, a label is none of
            the classes, or a feature is outside the vocabulary.

    Example:
        >>> split = Split(np.eye(2, dtype=np.float32), np.array([0, 1]))
        >>> data = Dataset(split, split.take(np.arange(0)), split, classes=2)
        >>> data.features, len(data.validation)
        (2, 0)
    """

    train: Split
    validation: Split
    test: Split
    classes: int
    digest: str = ""
    differs: str = ""
    vocabulary: int | None = None

    def __post_init__(self) -> None:
        """Check shapes, types and values."""
        integer = isinstance(self.classes, int | np.integer) and not isinstance(self.classes, bool)
        if not integer or self.classes < 0 or self.classes == 1:
            raise InputError(
                f"data: classes: {self.classes!r}; expected an integer >= 2, or 0: a regression"
            )
        for name in ("train", "validation", "test"):
            split = getattr(self, name)
            if not isinstance(split, Split):
                raise InputError(f"data: {name}: {type(split).__name__}; expected a Split")
            if split.features.dtype != np.float32:
                raise InputError(
                    f"data: {name}: features of {split.features.dtype}; expected float32"
                )
            width = split.features.shape[1]
            if width != self.features:
                raise InputError(f"data: {name}: {width} features; train has {self.features}")
            if split.image != self.train.image:
                raise InputError(f"data: {name}: image {split.image}; train has {self.train.image}")
            self._expect_labels(name, split.labels)
            self._expect_sequences(name, split.features)
        for name in ("train", "test"):
            if not len(getattr(self, name)):
                raise InputError(f"data: {name}: no examples; expected at least one")
        if self.classes:
            present = np.unique(self.train.labels)  # not one count for each: they may be 10^12
            if len(present) < self.classes:
                gaps = np.flatnonzero(present != np.arange(len(present)))
                first = gaps[0] if len(gaps) else len(present)
                raise InputError(
                    f"data: train: {self.classes - len(present)} of {self.classes} classes have no "
                    f"example, the first is {first}; expected at least one of each"
                )
            labels = self.test.labels
            if (labels == labels[0]).all():
                raise InputError(
                    f"data: test: all {len(labels)} examples are of class {labels[0]}, which a "
                    "constant answer names; expected at least two classes"
                )

    def _expect_labels(self, name: str, labels: Labels) -> None:
        expected = "int64" if self.classes else "float32"
        if labels.dtype != expected:
            kind = (
                f"a classification with {self.classes} classes" if self.classes else "a regression"
            )
            raise InputError(
                f"data: {name}: labels of {labels.dtype}; expected {expected} in {kind}"
            )
        if not self.classes or not len(labels):
            return
        if labels.min() < 0 or labels.max() >= self.classes:
            row = int(np.flatnonzero((labels < 0) | (labels >= self.classes))[0])
            raise InputError(
                f"data: {name}: labels: row {row}: {labels[row]}; expected 0 .. {self.classes - 1}"
            )

    def _expect_sequences(self, name: str, features: Features) -> None:
        if self.vocabulary is None:
            return
        size: object = self.vocabulary
        integer = isinstance(size, int | np.integer) and not isinstance(size, bool)
        if not integer or not 0 < self.vocabulary <= MOST_WORDS:
            raise InputError(
                f"data: vocabulary: {size!r}; expected an integer in 1 .. {MOST_WORDS:,}, or None"
            )
        inside = (features >= 0) & (features < self.vocabulary) & (features == np.floor(features))
        for row, column in np.argwhere(~inside)[:1].tolist():
            raise InputError(
                f"data: {name}: features: row {row}, column {column}: {features[row, column]:g}; "
                f"expected an integer in 0 .. {self.vocabulary - 1}, as the vocabulary says"
            )

    @property
    def features(self) -> int:
        """Number of features of an example, p."""
        return int(self.train.features.shape[1])

    @property
    def shape(self) -> dict[str, Any]:
        """What a model may ask for when it is made: features, classes, image and vocabulary."""
        return {
            "features": self.features,
            "classes": self.classes,
            "image": self.train.image,
            "vocabulary": self.vocabulary,
        }

    @property
    def provenance(self) -> dict[str, str]:
        """What results say of the data: its digest, and how its files differ, if they do."""
        return {"data": self.digest} | ({"data_differs": self.differs} if self.differs else {})


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return a hash of arrays: SHA-256 over each one's name, type, shape and bytes, in order.

    >>> digest({"x": np.arange(3)}) == digest({"x": np.arange(3).astype(">i8")})
    True
    """
    hasher = hashlib.sha256()
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        hasher.update(f"{name}\0{little.dtype.str}\0{little.shape}\0".encode())
        hasher.update(little.reshape(-1).view(np.uint8).data)
    return hasher.hexdigest()


class Source(ABC):
    """Where a data set comes from. The constructor is cheap; `load` reads or downloads.

    Args:
        validation: the share of the training examples that is held out, stratified by class, to
            choose a learning rate and the like; 0: none.

    Attributes:
        paper, validity: what tables say of it.
        exempt: laws of `hgobench.testing` that its definition rules out, with the reason.

    Raises:
        ValueError: the share is not in [0, 1).

    Example:
        >>> class Line(Source):
        ...     def load(self):
        ...         x = np.linspace(0, 1, 40, dtype=np.float32)[:, None]
        ...         train = Split(x, (x[:, 0] > 0.5).astype(np.int64))
        ...         return Dataset(*self.hold_out(train), test=train, classes=2)
        >>> data = Line(validation=0.25).load()
        >>> len(data.train), len(data.validation)
        (30, 10)
    """

    paper: ClassVar[str]
    validity: ClassVar[str]
    exempt: Mapping[str, str] = {}

    def __init__(self, validation: float = 0.15) -> None:
        number = not isinstance(validation, bool) and isinstance(validation, int | float)
        if not number or not 0 <= validation < 1:
            raise ValueError(f"validation: {validation!r}; expected a share in [0, 1)")
        self.validation = validation

    @abstractmethod
    def load(self) -> Dataset:
        """Return the data set."""

    def files(self) -> list[Path]:
        """Return the files that `load` reads, besides those that a parameter ``path`` names.

        A process that has loaded the data set loads it again when one of them has changed. Called
        for hgobench's own sources only.
        """
        return []

    def hold_out(self, train: Split) -> tuple[Split, Split]:
        """Return the training examples that remain, and the validation examples."""
        if self.validation == 0:
            return train, train.take(np.arange(0))
        return divided(train, self.validation)

    def held_out(self, labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of the examples that `hold_out` returns, given their labels."""
        if self.validation == 0:
            return np.arange(len(labels)), np.arange(0)
        return divided_rows(labels, self.validation)


class Published(Source):
    """A data set with published files: files that differ from them are refused.

    Args:
        validation: as for a `Source`.
        verify: whether the files must be the published ones; false: any file is read, and every
            result says how it differs.
    """

    def __init__(self, validation: float = 0.15, verify: bool = True) -> None:
        super().__init__(validation)
        self.verify = boolean("verify", verify)

    def judge(self, differences: Sequence[str]) -> str:
        """Return how the files differ from the published ones, in one line.

        Raises:
            InputError: they differ, and `verify` is true.
        """
        if differences and self.verify:
            raise InputError(
                f"data: {difference}; put the published file there, or use this one by "
                "verify=false, which every result will state"
                for difference in differences
            )
        return "; ".join(differences)


def splitting(prefix: str = "") -> AbstractContextManager[None]:
    """Turn scikit-learn's refusal to split (too few examples) into an InputError.

    Args:
        prefix: what its message begins with, as ``"a.csv: "``.
    """
    return refusing(f"data: {prefix}can't be split", "several examples of each class on each side")


def divided(examples: Split, share: float, prefix: str = "") -> tuple[Split, Split]:
    """Divide examples at random in two, stratified by class; each half keeps their order.

    Args:
        examples: those to divide.
        share: of the second half, in (0, 1).
        prefix: what a message begins with, as ``"a.csv: "``.

    Raises:
        InputError: there are too few of them.

    >>> split = Split(np.arange(8.0)[:, None], np.array([0, 1] * 4))
    >>> [np.bincount(half.labels).tolist() for half in divided(split, 0.25)]
    [[3, 3], [1, 1]]
    """
    first, second = divided_rows(examples.labels, share, prefix)
    return examples.take(first), examples.take(second)


def divided_rows(
    labels: Labels, share: float, prefix: str = ""
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of both halves that `divided` returns, given the examples' labels.

    >>> [rows.tolist() for rows in divided_rows(np.array([0, 1] * 4), 0.25)]
    [[1, 2, 3, 4, 5, 6], [0, 7]]
    """
    with splitting(prefix):
        from sklearn.model_selection import train_test_split  # it takes long to import

        first, second = train_test_split(
            np.arange(len(labels)),
            test_size=share,
            random_state=0,
            stratify=labels if labels.dtype == np.int64 else None,
        )
    first.sort()
    second.sort()
    return first, second


def standardised(train: Split, *splits: Split, prefix: str = "") -> list[Split]:
    """Return splits with features of mean 0 and deviation 1 on the training examples.

    A feature that is constant there keeps its scale.

    Args:
        train: the training examples.
        splits: the splits to standardise, which may include `train`.
        prefix: what a message begins with, as ``"a.csv: "``.

    Raises:
        InputError: the numbers are too large.

    >>> train = Split(np.array([[1.0], [3.0]]), np.array([0, 1]))
    >>> standardised(train, train)[0].features.tolist()
    [[-1.0], [1.0]]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = train.features.mean(axis=0), train.features.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1.0)
        scaled = [((split.features - mean) / scale).astype(np.float32) for split in splits]
    if not all(np.isfinite(values).all() for values in (deviation, *scaled)):
        raise InputError(f"data: {prefix}values too large to be standardised")
    return [replace(split, features=values) for split, values in zip(splits, scaled, strict=True)]
