"""Learning algorithms and the server's solvers."""

from hgobench.registry import Registry

from .hgo import Hgo
from .places import Cost, Granularity, Places
from .sgd import Sgd
from .solvers import GradientDescent, Schedule

__all__ = [
    "Cost",
    "GradientDescent",
    "Granularity",
    "Hgo",
    "Places",
    "Schedule",
    "Sgd",
    "registry",
    "solvers_registry",
]

registry: Registry[Hgo] = Registry("algorithm", "algorithms", {"hgo": Hgo, "sgd": Sgd})
solvers_registry: Registry[GradientDescent] = Registry(
    "solver",
    "solvers",
    {"gradient_descent": GradientDescent},
    context=frozenset({"learning_rate", "schedule"}),
)
