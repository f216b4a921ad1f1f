"""Models: every sampled worker's gradient, for all cells of a cohort at once.

A cohort's R cells see the same minibatches x (q, s, p) under R parameter vectors (R, d). Linear
models stack them into one wide matrix product; the network goes through torch.func.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, grad, vmap

from hgobench.parameters import whole
from hgobench.registry import Registry

EXAMPLES = 2000  # evaluated at once


class Model(ABC):
    """A classifier with d parameters.

    Attributes:
        dimension: d.
        place_of: (d,) which unit's outgoing weights each coordinate belongs to: the places of
            granularity ``"feature"``. A bias is the outgoing weight of a constant unit.
    """

    paper: ClassVar[str] = ""
    validity: ClassVar[str] = ""
    dimension: int
    place_of: NDArray[np.int64]

    @abstractmethod
    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw initial parameters, (d,) float32."""

    @abstractmethod
    def gradients(
        self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Compute every worker's minibatch gradient in every cell.

        Args:
            params: (R, d), a row per cell.
            x: (q, s, p) float32, the workers' minibatches.
            y: (q, s) int64 labels.
            weights: (q, s) of each example in its worker's mean; None: 1/s each.

        Returns:
            (R, q, d); rows are contiguous, cells may be views into one buffer.
        """

    @abstractmethod
    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Score examples x (N, p) in every cell: (R, classes, N)."""

    def evaluate(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean cross-entropy (in nats) and accuracy on N examples, (R,) each, in float64."""
        scores = self.logits(params, x)
        picked = scores.gather(1, y.expand(len(params), 1, -1))[:, 0]
        loss = (scores.logsumexp(dim=1) - picked).double().mean(dim=1)
        best = scores.amax(dim=1, keepdim=True)
        hit = picked == best[:, 0]
        single = (scores == best).flatten(1).sum(dim=1) == len(x)
        if not bool(single.all()) or bool(best.isnan().any()):
            hit = scores.argmax(dim=1) == y  # of tied classes the first counts; much slower
        return loss, hit.double().mean(dim=1)


class Softmax(Model):
    """Multinomial logistic regression: d = classes · (p + 1), coordinates class by class.

    Loss: cross-entropy. Gradient in closed form: (softmax(Wx) - onehot(y)) xᵀ, averaged.
    """

    paper = "HGO, section V"
    validity = "any classification data"

    def __init__(self, features: int, classes: int) -> None:
        self.classes = classes
        self.inputs = features + 1
        self.dimension = classes * self.inputs
        self.place_of = np.tile(np.arange(self.inputs), classes)

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw from N(0, 0.01²)."""
        return torch.from_numpy(0.01 * rng.standard_normal(self.dimension, dtype=np.float32))

    def _with_bias(self, x: Tensor) -> Tensor:
        return torch.nn.functional.pad(x, (0, 1), value=1.0)

    def gradients(
        self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return (R, q, d) by two wide matrix products."""
        (q, s), r = y.shape, len(params)
        x = self._with_bias(x)
        wide = params.reshape(r * self.classes, self.inputs)
        # Classes before examples: softmax along a long inner axis is 20 times faster.
        residual = (wide @ x.reshape(q * s, -1).T).reshape(r, self.classes, q * s).softmax(dim=1)
        index = y.reshape(1, 1, -1).expand(r, 1, -1)
        residual.scatter_add_(1, index, residual.new_full((1,), -1.0).expand_as(index))
        residual *= 1.0 / s if weights is None else weights.reshape(-1)
        stacked = residual.reshape(r * self.classes, q, s).transpose(0, 1) @ x
        return stacked.reshape(q, r, self.dimension).transpose(0, 1)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Return (R, classes, N) by one matrix product."""
        wide = params.reshape(-1, self.inputs)
        scores = torch.addmm(wide[:, -1:], wide[:, :-1], x.T)
        return scores.reshape(len(params), self.classes, len(x))


class Logistic(Model):
    """Binary logistic regression: d = p + 1, the last coordinate the bias; labels 0 and 1.

    Loss: binary cross-entropy. Gradient in closed form: (σ(wᵀx) - y) x, averaged.
    """

    paper = "HGO, section V"
    validity = "two classes"

    def __init__(self, features: int, classes: int) -> None:
        if classes != 2:
            raise ValueError(f"logistic regression has 2 classes; the data has {classes}")
        self.dimension = features + 1
        self.place_of = np.arange(self.dimension)

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw from N(0, 0.01²)."""
        return torch.from_numpy(0.01 * rng.standard_normal(self.dimension, dtype=np.float32))

    def gradients(
        self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return (R, q, d) by two wide matrix products."""
        x = torch.nn.functional.pad(x, (0, 1), value=1.0)
        residual = (x @ params.T).sigmoid() - y[:, :, None]
        residual = residual / y.shape[1] if weights is None else residual * weights[:, :, None]
        return (residual.transpose(1, 2) @ x).transpose(0, 1)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Return (R, 2, N): the score of class 1 against 0."""
        score = params @ torch.nn.functional.pad(x, (0, 1), value=1.0).T
        return torch.stack((torch.zeros_like(score), score), dim=1)


class Network(Model):
    """A network of torch's, with cross-entropy; gradients by torch.func, mapped over workers.

    Coordinates: layer by layer its weights (outputs, inputs, ...), then its biases.

    Args:
        net: built on the meta device; its parameters say how large it is.
        inputs: the shape of one example for it.
        at_once: how many workers are mapped together; more take more memory, not less time.
    """

    def __init__(
        self, net: torch.nn.Module, inputs: tuple[int, ...] = (-1,), at_once: int | None = None
    ) -> None:
        self.net, self.inputs, self.at_once = net, inputs, at_once
        self.shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
        self.dimension = sum(math.prod(shape) for shape in self.shapes.values())
        unit, places = 0, []
        for shape in self.shapes.values():
            columns = shape[1] if len(shape) > 1 else 1
            row = np.arange(unit, unit + columns).repeat(math.prod(shape[2:]))
            places.append(np.tile(row, shape[0]))
            unit += columns
        self.place_of = np.concatenate(places)

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw each layer uniformly from ±1/√(inputs), torch's default."""
        parts = []
        for name, shape in self.shapes.items():
            fan_in = math.prod(self.shapes[name.replace("bias", "weight")][1:])
            parts.append(rng.uniform(-1, 1, math.prod(shape)) / math.sqrt(fan_in))
        return torch.from_numpy(np.concatenate(parts).astype(np.float32))

    def _apply(self, params: Tensor, x: Tensor) -> Tensor:
        parts = torch.split(params, [math.prod(shape) for shape in self.shapes.values()])
        named = {
            name: part.reshape(shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }
        return functional_call(self.net, named, (x.reshape(len(x), *self.inputs),))  # type: ignore[no-any-return]

    def _loss(self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        losses = torch.nn.functional.cross_entropy(self._apply(params, x), y, reduction="none")
        return (weights * losses).sum()

    def gradients(
        self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return (R, q, d) by mapping one worker's gradient over workers, cell by cell."""
        if weights is None:
            weights = x.new_full(y.shape, 1.0 / y.shape[1])
        workers = vmap(grad(self._loss), in_dims=(None, 0, 0, 0), chunk_size=self.at_once)
        out = x.new_empty(len(params), len(x), self.dimension)
        for cell, row in zip(out, params, strict=True):
            cell.copy_(workers(row, x, y, weights))
        return out

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Return (R, classes, N)."""
        parts = torch.split(x, EXAMPLES)
        scores = [torch.cat([self._apply(row, part) for part in parts]).T for row in params]
        return torch.stack(scores)


class FeedForward(Network):
    """A network with one hidden layer of ReLU units and cross-entropy: p - hidden - classes.

    Coordinates: the hidden weights (hidden, p), hidden biases, output weights (classes, hidden),
    output biases.

    Args:
        hidden: units of the hidden layer, >= 1; 30 is the HGO paper's.
    """

    paper = "HGO, section V (784-30-10)"
    validity = "any classification data"

    def __init__(self, features: int, classes: int, hidden: int = 30) -> None:
        hidden = whole("hidden", hidden, least=1)
        with torch.device("meta"):
            net = torch.nn.Sequential(
                torch.nn.Linear(features, hidden),
                torch.nn.ReLU(),
                torch.nn.Linear(hidden, classes),
            )
        super().__init__(net)


class Convolutional(Network):
    """Two convolutions of 5 x 5 (20, 50 channels), each pooled by 2, then 500 ReLU units.

    On 28 x 28 pixels and 10 classes it has the 431,080 parameters of ByzFL's cnn_mnist.

    Raises:
        ValueError: the examples are not square images, of one or three channels, of 16 x 16 pixels
            or more.
    """

    paper = "LeCun et al., Proc. IEEE 1998 (LeNet-5); ByzFL's cnn_mnist"
    validity = "square images of one or three channels, 16 x 16 or larger"

    def __init__(self, features: int, classes: int) -> None:
        channels = 3 if features % 3 == 0 and math.isqrt(features // 3) ** 2 * 3 == features else 1
        side = math.isqrt(features // channels)
        if side * side * channels != features or side < 16:
            raise ValueError(
                f"the data has {features} features; expected square images of one or three "
                "channels, 16 x 16 or larger"
            )
        left = ((side - 4) // 2 - 4) // 2  # pixels per side behind both convolutions
        with torch.device("meta"):
            net = torch.nn.Sequential(
                torch.nn.Conv2d(channels, 20, 5),
                torch.nn.ReLU(),
                torch.nn.MaxPool2d(2),
                torch.nn.Conv2d(20, 50, 5),
                torch.nn.ReLU(),
                torch.nn.MaxPool2d(2),
                torch.nn.Flatten(),
                torch.nn.Linear(50 * left * left, 500),
                torch.nn.ReLU(),
                torch.nn.Linear(500, classes),
            )
        super().__init__(net, (channels, side, side), at_once=8)


registry: Registry[Model] = Registry(
    "model",
    "models",
    {
        "softmax": Softmax,
        "logistic": Logistic,
        "feed_forward": FeedForward,
        "convolutional": Convolutional,
    },
    context=frozenset({"features", "classes"}),
)
