"""For whom the model works: accuracy by class, by class of device, and of the worst worker."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import End, Floats, Metric


class Accuracies(Metric):
    """Accuracy on the test examples of each class, and on those that workers would meet.

    Class c's accuracy a_c is the share of its test examples that are answered rightly. Worker i,
    which holds h_ic training examples of class c, meets test examples of the same mix: its accuracy
    is Σ_c h_ic·a_c / Σ_c h_ic, over the classes that have test examples. A class of devices has the
    mean over its honest workers. What differs between workers besides their labels (the features of
    natural groups, or those that a partition shifts) is not in it.

    Example:
        >>> from hgobench import Scenario, run
        >>> measures = run(Scenario(workers=20, rounds=5, partition="by_class")).measures
        >>> measures["worst_worker"] <= measures["device_accuracy/weak"]
        True
    """

    paper = "hgobench"
    formula = "A_i = Σ_c h_ic·a_c / Σ_c h_ic"
    validity = "classification"
    measures: Mapping[str, str] = {
        "class_accuracy": "accuracy on the test examples of each class",
        "device_accuracy": "accuracy on test examples with the mix of labels that honest workers "
        "hold, by class of device",
        "worst_worker": "the lowest of these among honest workers",
    }

    def __call__(self, end: End) -> Mapping[str, float]:
        """Return ``class_accuracy/C``, ``device_accuracy/DEVICE`` and ``worst_worker``."""
        if (by_class := class_accuracy(end)) is None:
            return {}
        own = _met(end.held, by_class)
        told = {f"class_accuracy/{c}": a for c, a in enumerate(by_class.tolist()) if not isnan(a)}
        counted = ~end.byzantine & np.isfinite(own)
        told |= end.by_device("device_accuracy", own, counted)
        if counted.any():
            told["worst_worker"] = float(own[counted].min())
        return told


def class_accuracy(end: End) -> Floats | None:
    """Return a_c, (classes,), NaN of a class without test examples; None: nothing is classed."""
    if end.right is None or not end.classes:
        return None
    labels = end.labels.numpy()
    tested = np.bincount(labels, minlength=end.classes)
    right = np.bincount(labels, end.right, minlength=end.classes)
    return _ratio(right, tested)


def met_accuracy(end: End) -> Floats | None:
    """Return A_i, (n,), NaN of who holds no class that is tested; None: nothing is classed."""
    by_class = class_accuracy(end)
    return None if by_class is None else _met(end.held, by_class)


def _met(held: NDArray[np.int64], by_class: Floats) -> Floats:
    tested = np.isfinite(by_class)
    return _ratio(held @ np.where(tested, by_class, 0.0), held @ tested.astype(np.float64))


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """Divide; NaN where the whole is 0."""
    ratio: Floats = np.full(len(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
