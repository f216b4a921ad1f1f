"""Models: every worker's gradient, and the loss and accuracy of what was trained.

>>> registry.build("softmax", features=64, classes=10).dimension
650
"""

from hgobench.registry import Registry

from .base import Classifier, Model
from .linear import Linear, Logistic, Softmax, Svm
from .network import Convolutional, FeedForward, Network
from .quadratic import Quadratic

__all__ = [
    "Classifier",
    "Convolutional",
    "FeedForward",
    "Linear",
    "Logistic",
    "Model",
    "Network",
    "Quadratic",
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
        "quadratic": Quadratic,
    },
    context=frozenset({"features", "classes"}),
    kind=Model,
)
