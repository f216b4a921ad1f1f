"""What workers with few examples get: accuracy for them, and how far the rule follows them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .accuracies import met_accuracy
from .base import End, Metric, averages, thirds
from .weights import followed

SIZES = ("small", "middle", "large")


class Sizes(Metric):
    """Accuracy and values used by thirds of the honest workers, by how many examples they hold.

    ``size_accuracy`` is the mean over a third's workers of their accuracy on test examples with the
    mix of labels that each holds (see `Accuracies`), ``used_by_size`` that of m·w_i, how far the
    rule's last answer follows what they sent (see `Weights`; 1: as far as the average does). Of
    workers with equally many examples the first counts as smaller.

    Example:
        >>> from hgobench import Scenario, run
        >>> skewed = Scenario(workers=20, rounds=3, metrics="sizes", rule="average",
        ...                   partition="quantity_skew", weights="examples", algorithm="sgd",
        ...                   deadline="inf")
        >>> used = {size: run(skewed).measures[f"used_by_size/{size}"] for size in SIZES}
        >>> used["small"] < used["middle"] < used["large"]
        True
    """

    paper = "hgobench"
    formula = "means of A_i and of m·w_i by size"
    validity = "3 honest workers or more"
    measures: Mapping[str, str] = {
        "size_accuracy": "accuracy on test examples with the mix of labels that honest workers "
        "hold, by thirds by how many examples they hold",
        "used_by_size": "how far the rule follows what they sent, by the same thirds; 1: as far as "
        "the average does",
    }

    def __call__(self, end: End) -> Mapping[str, float]:
        """Return ``size_accuracy/SIZE`` and ``used_by_size/SIZE``."""
        honest = np.flatnonzero(~end.byzantine)
        if len(honest) < len(SIZES):
            return {}
        order = honest[np.argsort(end.held.sum(axis=1)[honest], kind="stable")]
        size, told = thirds(len(order)), dict[str, float]()
        if (own := met_accuracy(end)) is not None:
            there = np.isfinite(own[order])
            told |= averages("size_accuracy", SIZES, size[there], own[order][there])
        if (known := followed(end)) is not None:
            heard = known.answered[order]
            used, sent = known.used[order][heard], known.sent[order][heard]
            told |= averages("used_by_size", SIZES, size[heard], used, sent)
        return told
