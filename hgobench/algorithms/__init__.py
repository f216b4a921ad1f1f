"""Learning algorithms and the server's solvers."""

from hgobench.registry import Registry

from .hgo import Hgo
from .places import Order, Places
from .sgd import Sgd
from .solvers import GradientDescent

__all__ = [
    "GradientDescent",
    "Hgo",
    "Order",
    "Places",
    "Sgd",
    "registry",
]

registry: Registry[Hgo] = Registry("algorithm", "algorithms", {"hgo": Hgo, "sgd": Sgd}, kind=Hgo)
