"""Tables of one's own: CSV, Parquet and LIBSVM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import csv_file
from hgobench.errors import InputError

from .arrays import TEST, expect_labels
from .base import Dataset, Labels, Source, Split, digest, divided, standardised

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
