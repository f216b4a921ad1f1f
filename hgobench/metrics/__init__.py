"""Metrics: numbers of a run's end besides the accuracy on all test examples, one module each.

A scenario's field `metrics` says which: ``standard`` is accuracies, weights and energy; ``sizes``
and ``mypkg:MyMetric`` are these and that one; ``weights+none`` and ``mypkg:MyMetric+none`` are that
metric alone.

>>> registry.canonical("energy"), sorted(registry.build("weights + none").measures)[:2]
('energy+standard', ['caught', 'dropped'])
"""

from hgobench.registry import Registry

from .accuracies import Accuracies
from .attack_success import AttackSuccess
from .base import End, Influence, Metric, Several
from .energy import Energy
from .influence import VALUES, influences
from .sizes import Sizes
from .weights import Weights

__all__ = [
    "RESERVED",
    "VALUES",
    "Accuracies",
    "AttackSuccess",
    "End",
    "Energy",
    "Influence",
    "Metric",
    "Several",
    "Sizes",
    "Weights",
    "influences",
    "metrics",
    "registry",
]


def _assembled(before: list[Metric], last: Metric) -> Metric:
    return Several([*before, last])


def _with_standard(metric: object, name: str) -> Metric:
    """Return what is written last: a metric of one's own is beside the standard ones."""
    assert isinstance(metric, Metric)
    return metric if isinstance(metric, Several) else Several([metric, Standard()])


class Standard(Several):
    """What every run measures, unless it is told otherwise."""

    formula = "accuracies, weights, energy and attack_success"

    def __init__(self) -> None:
        super().__init__([Accuracies(), Weights(), Energy(), AttackSuccess()])


# Names that a metric of one's own may not have.
RESERVED = frozenset({**Standard().measures, **Sizes.measures})


class Nothing(Several):
    """No metric: the accuracy on all test examples alone."""

    formula = "-"

    def __init__(self) -> None:
        super().__init__()


metrics: Registry[Metric] = Registry(
    "metric",
    "metrics",
    {
        "accuracies": Accuracies,
        "weights": Weights,
        "energy": Energy,
        "sizes": Sizes,
        "attack_success": AttackSuccess,
    },
    kind=Metric,
)

registry: Registry[Metric] = Registry(
    "metrics",
    "metrics",
    {"standard": Standard, "none": Nothing},
    prefixes=metrics,
    assemble=_assembled,
    alone="standard",
    kind=Metric,
    check=_with_standard,
    noun="a set of metrics",
)
