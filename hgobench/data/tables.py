"""Two tables of the HGO paper's experiments that scikit-learn does not ship."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench import csv_file, reading
from hgobench.errors import InputError

from .base import Dataset, Features, Published, Split, digest, splitting, standardised
from .files import at_hand, content, find, folders

PHISHING = "phishing.libsvm"
PHISHING_PROPERTIES, PHISHING_FEATURES = 30, 68
PHISHING_COUNTS = (4898, 6157)  # of the two classes, as UCI has them
PHISHING_MD5 = "2b5abef8be6dd72c964a133ec82eee23"  # of the copy with 8,405 rows
MOST_BYTES, MOST_LINES = 1 << 25, 1 << 16  # of a LIBSVM file, unpacked
BOSTON_SHA256 = (
    "767cbbf94e51801e384582e8371c2dd86c898392070fcfddb6514d0725eb574a"  # of its numbers, in float32
)
BOSTON = "boston_house_prices.csv"
BOSTON_COLUMNS = [
    "CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT",
    "MEDV",
]  # fmt: skip


class Phishing(Published):
    """Phishing websites: 30 properties of two or three values, as 68 features of 0 or 1/√30.

    A stratified 20 % are the test set. File: ``phishing/phishing.libsvm`` (or ``.gz``): all 11,055
    examples (4,898 and 6,157 of the two classes), or the copy of 8,405, the last of which is cut
    after 20 of its 30 properties.

    Args:
        validation: as for a `Source`.
        verify: as for `Published`.

    Example:
        >>> Phishing().files()[0].name
        'phishing.libsvm'
    """

    paper = "Mohammad, Thabtah, McCluskey, UCI 2015"
    validity = "in $HGOBENCH_DATA or cached, else downloaded"
    exempt = {"no_training_examples_are_tested": "many of its websites have the same 30 properties"}

    def files(self) -> list[Path]:
        """Return the paths at which its file is looked for."""
        return [folder / PHISHING for folder in folders("phishing")]

    def load(self) -> Dataset:
        """Read and split the table."""
        path = find("phishing", [PHISHING], download_phishing) / PHISHING
        x, labels, md5 = phishing(path)
        differs = self.judge(_unlike_phishing(path, x, labels, md5))
        with splitting():
            from sklearn.model_selection import train_test_split

            a, b, c, d = train_test_split(x, labels, test_size=0.2, random_state=0, stratify=labels)
        checksum = digest({"features": x, "labels": labels})
        return Dataset(
            *self.hold_out(Split(a, c)), Split(b, d), classes=2, digest=checksum, differs=differs
        )


def phishing(path: Path) -> tuple[Features, NDArray[np.int64], str]:
    """Read the table, in LIBSVM's format: features (N, 68), labels (N,), and the file's MD5.

    Raises:
        InputError: something is no number, labels are not 0 and 1 (or -1 and 1), or features are
            out of order, given twice, or more than 68; with the number of the line.
    """
    text = content(path, MOST_BYTES)
    location = f"data: {str(at_hand(path))!r}"
    if text.count(b"\n") > MOST_LINES:
        raise InputError(f"{location}: more than {MOST_LINES:,} lines; expected at most as many")
    lines = [
        (number, line)
        for number, line in enumerate(text.split(b"\n"), 1)
        if line.partition(b"#")[0].strip()
    ]
    expected = f"a label 0 or 1 and features 1:value .. {PHISHING_FEATURES}:value in order"
    if not lines:
        raise InputError(f"{location}: no lines; expected in each {expected}")
    with reading.refusing(location, expected):
        try:
            matrix, y = _svmlight(text)
        except Exception:
            number = _first_bad(lines)
            with reading.refusing(f"{location}, line {number}", expected):
                raise
        with np.errstate(over="ignore"):
            x = np.asarray(matrix.toarray(), dtype=np.float32)
    finite = np.asarray(np.isfinite(x).all(axis=1))
    for row in np.flatnonzero(~finite | ~np.isin(y, (-1, 0, 1)))[:1]:
        problem = f"label {y[row]:g}" if finite[row] else "a number that is not finite"
        raise InputError(f"{location}, line {lines[row][0]}: {problem}; expected {expected}")
    labels = np.unique(y)
    if len(labels) != 2:
        named = ", ".join(f"{label:g}" for label in labels)
        raise InputError(f"{location}: labels {named}; expected two, 0 and 1 or -1 and 1")
    return x, (y > 0).astype(np.int64), hashlib.md5(text, usedforsecurity=False).hexdigest()


def _svmlight(text: bytes) -> Any:
    from sklearn.datasets import load_svmlight_file

    return load_svmlight_file(io.BytesIO(text), n_features=PHISHING_FEATURES)


def _first_bad(lines: Sequence[tuple[int, bytes]]) -> int:
    """Return the number of the first line that can't be read, by bisection."""
    good, bad = 0, len(lines)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            _svmlight(b"\n".join(line for _, line in lines[:middle]))
            good = middle
        except Exception:
            bad = middle
    return lines[bad - 1][0]


def _unlike_phishing(path: Path, x: Features, labels: NDArray[np.int64], md5: str) -> list[str]:
    """Say how a table differs from the published one: one copy's MD5 and UCI's counts are known."""
    if md5 == PHISHING_MD5:
        return []
    counts = tuple(np.bincount(labels).tolist())
    scale = 1 / np.sqrt(PHISHING_PROPERTIES)
    complete = ((x == 0) | (np.abs(x - scale) < 1e-4)).all() and (
        (x != 0).sum(axis=1) == PHISHING_PROPERTIES
    ).all()
    if complete and counts in (PHISHING_COUNTS, PHISHING_COUNTS[::-1]):
        return []
    return [
        f"{str(at_hand(path))!r}: unpacked it has MD5 {md5} and {len(x):,} examples, {counts[0]:,} "
        f"and {counts[1]:,} of the classes; expected MD5 {PHISHING_MD5}, or "
        f"{PHISHING_COUNTS[0]:,} and {PHISHING_COUNTS[1]:,} examples of {PHISHING_PROPERTIES} "
        f"properties, {scale:.5f} each"
    ]


class Boston(Published):
    """Boston housing: 506 districts, 13 features, the median value of homes as the target.

    A regression. A fifth are the test set; features are standardised with the training examples'
    mean and deviation. It is here to reproduce a paper: one of its features presumes that racial
    segregation raises prices, and its authors' assumptions did not hold up; don't build on it.
    File: ``boston/boston_house_prices.csv``.

    Args:
        validation: as for a `Source`.
        verify: as for `Published`: whether the numbers must be the published ones.

    Example:
        >>> Boston().files()[0].name
        'boston_house_prices.csv'
    """

    paper = "Harrison and Rubinfeld, 1978"
    validity = "in $HGOBENCH_DATA or cached, else downloaded; a regression"

    def files(self) -> list[Path]:
        """Return the paths at which its file is looked for."""
        return [folder / BOSTON for folder in folders("boston")]

    def load(self) -> Dataset:
        """Read, split and standardise the table."""
        x, y, differs = self.table()
        with splitting():
            from sklearn.model_selection import train_test_split

            a, b, c, d = train_test_split(x, y, test_size=0.2, random_state=0)
        train, validation = self.hold_out(Split(a, c))
        train, validation, test = standardised(train, train, validation, Split(b, d))
        checksum = digest({"features": x, "targets": y})
        return Dataset(train, validation, test, classes=0, digest=checksum, differs=differs)

    def table(self) -> tuple[Features, NDArray[np.float32], str]:
        """Return the raw table as `boston` does, and how it differs from the published one."""
        x, y = boston()
        return x, y, self.judge(_unlike_boston(x, y))


def boston() -> tuple[Features, NDArray[np.float32]]:
    """Return the raw table: features (506, 13) and targets in thousands of dollars.

    Raises:
        InputError: the file is no such table; with the number of the line.
    """
    path = find("boston", [BOSTON], download_boston) / BOSTON
    columns = dict.fromkeys(BOSTON_COLUMNS, csv_file.number(-1e30, 1e30))
    table = csv_file.read("data", str(at_hand(path)), columns)
    values = np.array(
        [[row[name] for name in BOSTON_COLUMNS] for _, row in table], dtype=np.float32
    )
    return values[:, :-1], values[:, -1]


def _unlike_boston(x: Features, y: NDArray[np.float32]) -> list[str]:
    """Say how the numbers differ from the published ones, however the file writes them."""
    sha256 = digest({"table": np.column_stack((x, y))})
    if sha256 == BOSTON_SHA256:
        return []
    return [
        f"{BOSTON}: its {len(y)} x {x.shape[1] + 1} numbers have SHA-256 {sha256}; expected "
        f"506 x 14, {BOSTON_SHA256}"
    ]


def download_phishing(folder: Path) -> None:
    """Fetch the table from OpenML and write it in LIBSVM's format, a feature per property value."""
    from sklearn.datasets import dump_svmlight_file, fetch_openml

    bunch = fetch_openml(
        "PhishingWebsites", version=1, as_frame=False, parser="liac-arff", data_home=str(folder)
    )
    values = bunch.data.astype(float)
    columns = [values[:, j] == v for j in range(values.shape[1]) for v in np.unique(values[:, j])]
    if len(columns) != PHISHING_FEATURES:
        raise InputError(
            f"data: OpenML's 'PhishingWebsites' has {len(columns)} values of properties; expected "
            f"{PHISHING_FEATURES}"
        )
    features = np.stack(columns, axis=1) / np.sqrt(values.shape[1])
    partial = folder / "phishing.libsvm.partial"
    dump_svmlight_file(features, (bunch.target.astype(float) > 0).astype(int), str(partial))
    partial.replace(folder / "phishing.libsvm")


def download_boston(folder: Path) -> None:
    """Fetch the table from OpenML and write it as CSV."""
    from sklearn.datasets import fetch_openml

    bunch = fetch_openml(
        "boston", version=1, as_frame=False, parser="liac-arff", data_home=str(folder)
    )
    table = np.column_stack((bunch.data, bunch.target)).astype(float)
    rows = [",".join(BOSTON_COLUMNS), *(",".join(f"{v:g}" for v in row) for row in table)]
    partial = folder / f"{BOSTON}.partial"
    partial.write_text("\n".join(rows) + "\n")
    partial.replace(folder / BOSTON)
