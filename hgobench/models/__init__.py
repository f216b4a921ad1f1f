"""Models: what is trained."""

from hgobench.registry import Registry

from .base import Classifier, Model
from .linear import Linear, Logistic, Softmax, Svm
from .network import Convolutional, FeedForward, Network

__all__ = [
    "Classifier",
    "Convolutional",
    "FeedForward",
    "Linear",
    "Logistic",
    "Model",
    "Network",
    "Softmax",
    "Svm",
    "registry",
]

registry: Registry[Model] = Registry(
    "model",
    "models",
    {
        "softmax": Softmax,
        "logistic": Logistic,
        "linear": Linear,
        "svm": Svm,
        "feed_forward": FeedForward,
        "convolutional": Convolutional,
    },
    context=frozenset({"features", "classes"}),
)
