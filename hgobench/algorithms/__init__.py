"""Learning algorithms and the server's solvers."""

from hgobench.registry import FLAG, SHARE, Registry, count, having

from .async_sgd import AsyncSgd
from .base import Algorithm, Arrived, Held, Judged, Waiting, Work
from .basgd import Basgd
from .fedavg import FedAvg, FedNova, FedProx
from .fedbuff import FedBuff
from .hgo import Hgo
from .kardam import Kardam
from .marina import Marina
from .places import Order, Places
from .rosdhb import Rosdhb
from .sgd import Sgd
from .solvers import GradientDescent
from .topk import TopK
from .zeno_plus_plus import ZenoPlusPlus

__all__ = [
    "Algorithm",
    "Arrived",
    "AsyncSgd",
    "Basgd",
    "FedAvg",
    "FedBuff",
    "FedNova",
    "FedProx",
    "GradientDescent",
    "Held",
    "Hgo",
    "Judged",
    "Kardam",
    "Marina",
    "Order",
    "Places",
    "Rosdhb",
    "Sgd",
    "TopK",
    "Waiting",
    "Work",
    "ZenoPlusPlus",
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
        "marina": Marina,
        "async_sgd": AsyncSgd,
        "fedbuff": FedBuff,
        "basgd": Basgd,
        "kardam": Kardam,
        "zeno++": ZenoPlusPlus,
    },
    kind=Algorithm,
    check=having(
        "algorithm",
        partial=FLAG,
        continuous=FLAG,
        by_rounds=FLAG,
        keeps=FLAG,
        differences=FLAG,
        probability=SHARE,
        step=count(0),
        gradients=count(1),
    ),
)
