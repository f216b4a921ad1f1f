"""What a data set is: examples, and a fixed split into training, validation and test ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

Features = NDArray[np.float32]
Labels = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True)
class Split:
    """Some examples: features (N, p) float32, labels (N,), and who made them.

    Labels are int64 in 0 .. classes-1; in a regression float32.

    Groups (N,) are for the partition ``natural``; None: the data names none. An image is the height
    and width of which the features are the pixels, row by row; None: they are no image.
    """

    features: Features
    labels: Labels
    groups: NDArray[np.int64] | None = None
    image: tuple[int, int] | None = None

    def take(self, rows: NDArray[np.int64]) -> Split:
        """Return some of the examples."""
        groups = None if self.groups is None else self.groups[rows]
        return Split(self.features[rows], self.labels[rows], groups, self.image)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test examples; no classes: a regression."""

    train: Split
    validation: Split
    test: Split
    classes: int

    @property
    def features(self) -> int:
        """How many features an example has."""
        return int(self.train.features.shape[1])


class Source(ABC):
    """Where a data set comes from. Making one is cheap; `load` reads or downloads.

    Args:
        validation: the share of the training examples that is held out for choices, stratified;
            0: none.

    Raises:
        ValueError: the share is not in [0, 1).
    """

    paper: ClassVar[str]
    validity: ClassVar[str]

    def __init__(self, validation: float = 0.15) -> None:
        number = not isinstance(validation, bool) and isinstance(validation, int | float)
        if not number or not 0 <= validation < 1:
            raise ValueError(f"validation: {validation!r}; expected a share in [0, 1)")
        self.validation = validation

    @abstractmethod
    def load(self) -> Dataset:
        """Return the data set."""

    def hold_out(self, train: Split) -> tuple[Split, Split]:
        """Return the training examples that are left, and those held out."""
        if self.validation == 0:
            return train, train.take(np.arange(0))
        kept, held = train_test_split(
            np.arange(len(train)),
            test_size=self.validation,
            random_state=0,
            stratify=train.labels if train.labels.dtype == np.int64 else None,
        )
        kept.sort()
        held.sort()
        return train.take(kept), train.take(held)


def standardised(train: Split, *parts: Split) -> list[Split]:
    """Return splits with features of mean 0 and deviation 1 on the training examples."""
    mean, deviation = train.features.mean(axis=0), train.features.std(axis=0)
    return [
        Split(((part.features - mean) / deviation).astype(np.float32), part.labels)
        for part in parts
    ]
