"""Learning algorithms and the server's solvers."""

from hgobench.registry import Registry

from .base import Algorithm, Waiting, Work
from .fedavg import FedAvg, FedProx
from .hgo import Hgo
from .places import Order, Places
from .sgd import Sgd
from .solvers import GradientDescent

__all__ = [
    "Algorithm",
    "FedAvg",
    "FedProx",
    "GradientDescent",
    "Hgo",
    "Order",
    "Places",
    "Sgd",
    "Waiting",
    "Work",
    "registry",
]

registry: Registry[Algorithm] = Registry(
    "algorithm",
    "algorithms",
    {"hgo": Hgo, "sgd": Sgd, "fedavg": FedAvg, "fedprox": FedProx},
    kind=Algorithm,
)
