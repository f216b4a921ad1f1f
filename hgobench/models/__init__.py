"""Models: every worker's gradient, and the loss and accuracy of what was trained.

>>> registry.build("softmax", features=64, classes=10).dimension
650
"""

from hgobench.registry import Registry

from .base import Classifier, Model
from .factory import TOLD, adapted
from .linear import Linear, Logistic, Softmax, Svm
from .module import Module
from .network import Convolutional, FeedForward, Network
from .quadratic import Quadratic

__all__ = [
    "TOLD",
    "Classifier",
    "Convolutional",
    "FeedForward",
    "Linear",
    "Logistic",
    "Model",
    "Module",
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
    adapt=adapted,
    wanted="torch.nn.Module or hgobench.models.Model",
)
