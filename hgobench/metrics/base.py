"""What a metric is: numbers of a run's end besides the accuracy on all test examples."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor

Floats = NDArray[np.float64]


def averages(
    name: str,
    groups: Sequence[str],
    group: NDArray[np.int64],
    values: Floats,
    weights: Floats | None = None,
) -> dict[str, float]:
    """Return the mean of each group's values: ``{"name/group": ..}``; an empty group has none.

    Args:
        name: of the measure.
        groups: their names.
        group: (n,) an index into them, of each value.
        values: (n,)
        weights: (n,) > 0 of the mean; None: equal ones.

    Example:
        >>> averages("size", ("cat", "dog", "cow"), np.array([0, 1, 1]), np.array([2.0, 5.0, 9.0]))
        {'size/cat': 2.0, 'size/dog': 7.0}
    """
    whole = np.bincount(group, weights, len(groups))
    total = np.bincount(group, values if weights is None else values * weights, len(groups))
    pairs = zip(groups, total.tolist(), whole.tolist(), strict=True)
    return {f"{name}/{one}": part / of for one, part, of in pairs if of}


def thirds(count: int) -> NDArray[np.int64]:
    """Return in which third each of some workers in an order is; the first may be larger.

    Example:
        >>> thirds(5).tolist()
        [0, 0, 1, 1, 2]
    """
    return np.sort(np.arange(count) % 3)


@dataclass(frozen=True)
class Influence:
    """Whose values the rule's last answer followed.

    Attributes:
        asked: (q,) who was asked, and of whom the server held something.
        workers: (m,) whose values the rule got: who answered, or of whom the server held something.
        used: (m,) how far the answer follows each one's values (`influences`); NaN: not known, as
            all that it sent equals what others sent.
        sent: (m,) the share of the block that each sent.
        linear: whether the answer follows each worker to the same extent in every coordinate, as
            that of a rule which selects or weighs vectors does.
    """

    asked: NDArray[np.int64]
    workers: NDArray[np.int64]
    used: Floats
    sent: Floats
    linear: bool


@dataclass(frozen=True)
class End:
    """The end of a run, as metrics see it.

    Attributes:
        params: (d,) the trained parameters, where they were computed; all else is on the CPU.
        classes: how many there are; 0: a regression.
        features, labels: the N test examples, (N, p) and (N,).
        right: (N,) bool, which of them the model answers rightly; None: it classes nothing.
        held: (n, classes) how many training examples of each class each worker holds.
        byzantine: (n,) who is Byzantine.
        devices: (n,) each worker's class of device, an index into `device_names`.
        device_names: the classes of devices, the slowest first.
        joules: (n,) what each worker has spent by following the protocol; None: its fleet does not
            say how much its devices draw.
        accuracy: of the trained model on examples, (N', p) and (N',).
        success: after which rounds the success of a targeted attack was measured, and what it was;
            empty: the attack has no target.
        attacked: after how many rounds attackers began, and the last round in which they acted.
        rounds: how many were played.
        followed: works out `influence`; None: there was no answer in the last round, there were
            more than 2²⁴ values, or the rule failed when it was asked again.
    """

    params: Tensor
    classes: int
    features: Tensor
    labels: Tensor
    right: NDArray[np.bool_] | None
    held: NDArray[np.int64]
    byzantine: NDArray[np.bool_]
    devices: NDArray[np.int64]
    device_names: tuple[str, ...]
    joules: Floats | None
    accuracy: Callable[[Tensor, Tensor], float]
    followed: Callable[[], Influence | None]
    success: tuple[tuple[int, float], ...] = ()
    attacked: tuple[int, float] = (0, math.inf)
    rounds: int = 0

    @cached_property
    def influence(self) -> Influence | None:
        """Whose values the last answer followed, worked out when it is first asked for."""
        return self.followed()

    def by_device(
        self, name: str, values: Floats, among: NDArray[np.bool_], weights: Floats | None = None
    ) -> dict[str, float]:
        """Return the mean of values, (n,), in each class of devices: ``{"name/weak": ..}``.

        Args:
            name: of the measure.
            values: a number per worker.
            among: (n,) which workers count; classes without any are left out.
            weights: (n,) of the mean; None: equal ones.
        """
        weights = None if weights is None else weights[among]
        return averages(name, self.device_names, self.devices[among], values[among], weights)


class Metric(ABC):
    """A metric: takes the end of a run, and returns numbers by name.

    A subclass defines `measures` and `__call__`. A name may have a group after a slash, as in
    ``device_accuracy/weak``: boards show the groups of a name in one column.

    Attributes:
        measures: what it may return, with what each is, in tables and notes.

    Example:
        >>> class LargestParameter(Metric):
        ...     measures = {"largest": "the largest parameter"}
        ...     def __call__(self, end):
        ...         return {"largest": float(end.params.abs().max())}
        >>> LargestParameter().measures
        {'largest': 'the largest parameter'}
    """

    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    validity: ClassVar[str] = ""
    measures: Mapping[str, str] = {}

    @abstractmethod
    def __call__(self, end: End) -> Mapping[str, float]:
        """Return finite numbers by name; what can't be measured is left out."""


class Several(Metric):
    """Several metrics at once."""

    def __init__(self, metrics: Iterable[Metric] = ()) -> None:
        self.made_of = tuple(metrics)
        self.measures = {
            name: about for one in self.made_of for name, about in one.measures.items()
        }

    def __call__(self, end: End) -> Mapping[str, float]:
        """Return the measures of all."""
        return {name: value for one in self.made_of for name, value in one(end).items()}
