"""Learning algorithms and the server's solvers."""

from hgobench.registry import Registry

from .base import Algorithm, Waiting, Work
from .hgo import Hgo
from .places import Order, Places
from .sgd import Sgd
from .solvers import GradientDescent

__all__ = [
    "Algorithm",
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
    "algorithm", "algorithms", {"hgo": Hgo, "sgd": Sgd}, kind=Algorithm
)
