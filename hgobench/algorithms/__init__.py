"""Learning algorithms and the server's solvers."""

from hgobench.registry import FLAG, Registry, count, having

from .async_sgd import AsyncSgd
from .base import Algorithm, Arrived, Held, Judged, Waiting, Work
from .fedavg import FedAvg, FedNova, FedProx
from .fedbuff import FedBuff
from .hgo import Hgo
from .places import Order, Places
from .rosdhb import Rosdhb
from .sgd import Sgd
from .solvers import GradientDescent
from .topk import TopK

__all__ = [
    "Algorithm",
    "Arrived",
    "AsyncSgd",
    "FedAvg",
    "FedBuff",
    "FedNova",
    "FedProx",
    "GradientDescent",
    "Held",
    "Hgo",
    "Judged",
    "Order",
    "Places",
    "Rosdhb",
    "Sgd",
    "TopK",
    "Waiting",
    "Work",
    "registry",
]

registry: Registry[Algorithm] = Registry(
    "algorithm",
    "algorithms",
    {
        "hgo": Hgo,
        "sgd": Sgd,
        "fedavg": FedAvg,
        "fedprox": FedProx,
        "fednova": FedNova,
        "topk": TopK,
        "rosdhb": Rosdhb,
        "async_sgd": AsyncSgd,
        "fedbuff": FedBuff,
    },
    kind=Algorithm,
    check=having(
        "algorithm",
        partial=FLAG,
        continuous=FLAG,
        by_rounds=FLAG,
        keeps=FLAG,
        step=count(0),
        gradients=count(1),
    ),
)
