"""Devices: how fast each worker computes, how it is connected, when it is available.

The rate λ_i of a worker is the number of coordinates of one example's gradient that it computes in
one time unit. The HGO paper states its rates for softmax regression on MNIST, d = 7,850; for
another model they are scaled by d / 7,850, so that "weak" keeps its meaning: the share of a
gradient that a device finishes by the deadline.

>>> registry.canonical("network[uplink=1e5] + bernoulli[0.9] + c1")
'network[uplink=100000.0]+bernoulli+c1'
"""

from functools import partial

from hgobench.errors import InputError
from hgobench.registry import Registry

from .availability import Bernoulli, Markov, Trace
from .devices import Devices
from .fleet import Condition, Conditioned, Fleet, Hardware, Population
from .mix import Mix
from .network import Network
from .power import Power
from .rare_labels import RareLabels
from .rates import Lognormal, Pareto
from .real import Real

__all__ = [
    "Bernoulli",
    "Condition",
    "Devices",
    "Fleet",
    "Hardware",
    "Lognormal",
    "Markov",
    "Mix",
    "Network",
    "Pareto",
    "Population",
    "Power",
    "RareLabels",
    "Real",
    "Trace",
    "conditions",
    "registry",
]


def _conditioned(steps: list[Condition], hardware: Hardware) -> Hardware:
    kinds = [type(step) for step in steps]
    if twice := {kind.__name__ for kind in kinds if kinds.count(kind) > 1}:
        raise InputError(f"hardware: {name} is written twice" for name in sorted(twice))
    return Conditioned(steps, hardware)


conditions: Registry[Condition] = Registry(
    "condition",
    "conditions",
    {
        "network": Network,
        "bernoulli": Bernoulli,
        "markov": Markov,
        "trace": Trace,
        "rare_labels": RareLabels,
        "power": Power,
    },
    kind=Condition,
)

registry: Registry[Hardware] = Registry(
    "hardware",
    "hardware",
    {
        "standard": Mix,
        "weak": partial(Mix, weak=1.0, average=0.0, powerful=0.0),
        "min": partial(Mix, weak=0.9, average=0.0, powerful=0.1),
        "c1": partial(Mix, weak=0.9, average=0.1, powerful=0.0),
        "c2": partial(Mix, weak=0.7, average=0.3, powerful=0.0),
        "c3": partial(Mix, weak=0.5, average=0.5, powerful=0.0),
        "powerful": partial(Mix, weak=0.0, average=0.0, powerful=1.0),
        "mix": Mix,
        "lognormal": Lognormal,
        "pareto": Pareto,
        "devices": Devices,
        "real": Real,
    },
    prefixes=conditions,
    assemble=_conditioned,
    alone="standard",
    kind=Hardware,
)
