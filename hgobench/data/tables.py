"""Two tables of the HGO paper's experiments that scikit-learn does not ship."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import dump_svmlight_file, fetch_openml, load_svmlight_file
from sklearn.model_selection import train_test_split

from hgobench.errors import InputError

from .base import Dataset, Features, Source, Split, standardised
from .files import content, find

PHISHING_FEATURES = 68
BOSTON = "boston_house_prices.csv"
BOSTON_COLUMNS = [
    "CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT",
    "MEDV",
]  # fmt: skip


class Phishing(Source):
    """Phishing websites: 30 properties of two or three values, as 68 features of 0 or 1/√30.

    A stratified 20 % are the test set. Files: ``phishing/phishing.libsvm`` (or ``.gz``).
    """

    paper = "Mohammad, Thabtah, McCluskey, UCI 2015"
    validity = "in $HGOBENCH_DATA or cached, else downloaded"

    def load(self) -> Dataset:
        """Return it."""
        path = find("phishing", ["phishing.libsvm"], download_phishing) / "phishing.libsvm"
        matrix, y = load_svmlight_file(io.BytesIO(content(path)), n_features=PHISHING_FEATURES)
        x = np.asarray(matrix.toarray(), dtype=np.float32)
        labels = (y > 0).astype(np.int64)
        a, b, c, d = train_test_split(x, labels, test_size=0.2, random_state=0, stratify=labels)
        return Dataset(*self.hold_out(Split(a, c)), Split(b, d), classes=2)


class Boston(Source):
    """Boston housing: 506 districts, 13 features, the median value of homes as the target.

    A regression. A fifth are the test set; features are standardised with the training examples'
    mean and deviation. It is here to reproduce a paper: one of its features presumes that racial
    segregation raises prices, and its authors' assumptions did not hold up; don't build on it.
    File: ``boston/boston_house_prices.csv``.
    """

    paper = "Harrison and Rubinfeld, 1978"
    validity = "in $HGOBENCH_DATA or cached, else downloaded; a regression"

    def load(self) -> Dataset:
        """Return it."""
        x, y = boston()
        a, b, c, d = train_test_split(x, y, test_size=0.2, random_state=0)
        train, held = self.hold_out(Split(a, c))
        train, held, test = standardised(train, train, held, Split(b, d))
        return Dataset(train, held, test, classes=0)


def boston() -> tuple[Features, NDArray[np.float32]]:
    """Return the raw table: features (506, 13) and targets in thousands of dollars."""
    path = find("boston", [BOSTON], download_boston) / BOSTON
    lines = content(path).decode().splitlines()
    header = [name.strip('" ') for name in lines[0].split(",")]
    if header != BOSTON_COLUMNS:
        raise InputError(f"data: {path}: columns {header}; expected {BOSTON_COLUMNS}")
    table = np.loadtxt(lines[1:], delimiter=",", dtype=np.float32, ndmin=2)
    return table[:, :-1], table[:, -1]


def download_phishing(folder: Path) -> None:
    """Fetch the table from OpenML, a feature for each value of a property."""
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
    """Fetch the table from OpenML."""
    bunch = fetch_openml(
        "boston", version=1, as_frame=False, parser="liac-arff", data_home=str(folder)
    )
    table = np.column_stack((bunch.data, bunch.target)).astype(float)
    rows = [",".join(BOSTON_COLUMNS), *(",".join(f"{v:g}" for v in row) for row in table)]
    partial = folder / f"{BOSTON}.partial"
    partial.write_text("\n".join(rows) + "\n")
    partial.replace(folder / BOSTON)
