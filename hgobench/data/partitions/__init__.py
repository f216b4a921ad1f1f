"""Partitions: which worker holds which training examples, one module each.

>>> registry.build("shards[k=3]").k
3
"""

from hgobench.registry import FLAG, Registry, having

from .base import Partition
from .by_class import ByClass
from .dirichlet import Dirichlet
from .feature_shift import FeatureShift
from .gamma_similarity import GammaSimilarity
from .iid import Iid
from .label_dirichlet import LabelDirichlet
from .natural import Natural
from .quantity_skew import QuantitySkew
from .shards import Shards

__all__ = [
    "ByClass",
    "Dirichlet",
    "FeatureShift",
    "GammaSimilarity",
    "Iid",
    "LabelDirichlet",
    "Natural",
    "Partition",
    "QuantitySkew",
    "Shards",
    "registry",
]

registry: Registry[Partition] = Registry(
    "partition",
    "partitions",
    {
        "iid": Iid,
        "by_class": ByClass,
        "dirichlet": Dirichlet,
        "label_dirichlet": LabelDirichlet,
        "shards": Shards,
        "gamma_similarity": GammaSimilarity,
        "quantity_skew": QuantitySkew,
        "feature_shift": FeatureShift,
        "natural": Natural,
    },
    kind=Partition,
    check=having("partition", exclusive=FLAG),
)
