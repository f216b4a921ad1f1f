"""Neural networks, and the sub-networks that slow workers compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from hgobench.kernels.arrays import product
from hgobench.lazy import Tensor, torch
from hgobench.parameters import one_of, whole

from .base import (
    ALWAYS,
    Classifier,
    Parameters,
    at_least_two,
    cells,
    counted,
    memory,
    residual,
    sigmoid,
)


class Network(Parameters, Classifier):
    """A torch module with cross-entropy; gradients by torch.func, mapped over workers.

    Coordinates: layer by layer its weights (outputs, inputs, ...), then its biases.

    Args:
        net: the module, built on the meta device; only the shapes of its parameters are used. A
            `functools.partial` that builds it is called when it is first needed, so that naming a
            model does not import torch.
        inputs: the shape of an example, as the module takes it.
        at_once: how many workers are mapped together; more take more memory, not less time.

    Example:
        >>> model = Network(partial(torch.nn.Linear, 4, 3))
        >>> model.dimension, model.shapes
        (15, {'weight': (3, 4), 'bias': (3,)})
    """

    def __init__(
        self,
        net: torch.nn.Module | partial[torch.nn.Module],
        inputs: tuple[int, ...] = (-1,),
        at_once: int | None = None,
    ) -> None:
        self._net, self.inputs, self.at_once = net, inputs, at_once

    @cached_property
    def net(self) -> torch.nn.Module:
        """The network."""
        return self._net() if isinstance(self._net, partial) else self._net

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:  # type: ignore[override]
        """The shape of each parameter, by its name."""
        return {name: tuple(p.shape) for name, p in self.net.named_parameters()}

    @cached_property
    def place_of(self) -> NDArray[np.int64]:  # type: ignore[override]
        """Return which unit's outgoing weights each coordinate belongs to, (d,)."""
        place, places = 0, []
        for shape in self.shapes.values():
            columns = shape[1] if len(shape) > 1 else 1
            row = np.arange(place, place + columns).repeat(math.prod(shape[2:]))
            places.append(np.tile(row, shape[0]))
            place += columns
        return np.concatenate(places)

    @cached_property
    def units(self) -> NDArray[np.int64]:  # type: ignore[override]
        """Return the units of neighbouring layers that each coordinate joins, (2, d).

        Units are input features (of images: none, all channels are always used), hidden units and
        channels; after flattening, a channel is all of its pixels.

        Raises:
            ValueError: the network is no chain of layers, and which units they join is unknown.
        """
        _check_chain(self.net, list(self.shapes))
        shapes = list(self.shapes.values())
        weights = [shape for shape in shapes if len(shape) > 1]
        images = len(weights[0]) > 2
        sources = np.full(weights[0][1], ALWAYS) if images else np.arange(weights[0][1])
        total = 0 if images else len(sources)
        units, joined, remaining = sources, [], len(weights)
        for shape in shapes:
            if len(shape) > 1:
                remaining -= 1
                source = sources.repeat(shape[1] // len(sources))
                units = (
                    np.arange(total, total + shape[0]) if remaining else np.full(shape[0], ALWAYS)
                )
                total += shape[0]
                pair = np.broadcast_arrays(source, units[:, None])
                joined.append(np.stack(pair).reshape(2, -1).repeat(math.prod(shape[2:]), axis=1))
                sources = units
            else:
                joined.append(np.stack((np.full(shape[0], ALWAYS), units)))
        return np.concatenate(joined, axis=1)

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw each layer uniformly from ±1/√(inputs), torch's default."""
        draws = []
        for name, shape in self.shapes.items():
            fan_in = math.prod(self.shapes[name.replace("bias", "weight")][1:])
            draws.append(rng.uniform(-1, 1, math.prod(shape)) / math.sqrt(fan_in))
        return torch.from_numpy(np.concatenate(draws).astype(np.float32))

    def _apply(self, params: Tensor, x: Tensor) -> Tensor:
        parameters = dict(zip(self.shapes, self._split(params), strict=True))
        return torch.func.functional_call(self.net, parameters, (x.reshape(len(x), *self.inputs),))  # type: ignore[no-any-return]

    def _losses(self, scores: Tensor, y: Tensor) -> Tensor:
        """Return each example's loss: scores (N, classes), labels (N,) -> (N,)."""
        return torch.nn.functional.cross_entropy(scores, y, reduction="none")

    def _loss(self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        return (weights * self._losses(self._apply(params, x), y)).sum()

    def gradients(
        self,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (R, q, d), cell by cell, `at_once` workers together."""
        if weights is None:
            weights = x.new_full(y.shape, 1.0 / y.shape[1])
        out = memory(out, x, len(params), len(x), self.dimension)
        size = self.at_once or len(x)
        for row, cell in zip(cells(params), out, strict=True):
            for group in zip(*(torch.split(a, size) for a in (x, y, weights, cell)), strict=True):
                self._gradients(row, *group)
        return out

    def _gradients(
        self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor, out: Tensor
    ) -> None:
        """Write some workers' gradients (q, d) at parameters (d,)."""
        gradient = torch.func.vmap(torch.func.grad(self._loss), in_dims=(None, 0, 0, 0))
        out.copy_(gradient(params, x, y, weights))

    @cached_property
    def _of_an_example(self) -> tuple[float, int]:
        """Return the operations of an example's gradient, and the bytes that it keeps meanwhile."""
        shape = self.inputs if -1 not in self.inputs else (next(iter(self.shapes.values()))[1],)
        return counted(lambda: self.net(torch.empty(1, *shape, device="meta")), self.net)

    def flops(self, examples: int) -> float:
        """Return the operations of the network forwards and backwards, counted by torch."""
        return examples * self._of_an_example[0]

    def working_bytes(self, workers: int, examples: int) -> int:
        """Return the bytes of activations and slopes of the workers that are mapped together."""
        return min(self.at_once or workers, workers) * examples * self._of_an_example[1]

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Return (R, classes, N)."""
        return torch.stack([self._apply(row, x).T for row in cells(params)])


class FeedForward(Network):
    """A network with one hidden layer: p - hidden - classes.

    Coordinates: the hidden weights (hidden, p), hidden biases, output weights (classes, hidden),
    output biases. Gradients in closed form, by matrix products for all workers.

    Args:
        hidden: units of the hidden layer, >= 1; 30 is the HGO paper's.
        activation: of the hidden layer, ``"relu"`` or ``"sigmoid"``.
        loss: ``"cross_entropy"``, or ``"quadratic"``: ½‖σ(scores) - onehot(y)‖², with sigmoid
            outputs (the HGO authors' code, with activation ``"sigmoid"``).

    Example:
        >>> model = FeedForward(features=784, classes=10)
        >>> model.dimension, model.sizes
        (23860, [23520, 30, 300, 10])
    """

    paper = "HGO, section V (784-30-10)"
    validity = "any classification data"

    def __init__(
        self,
        features: int,
        classes: int,
        hidden: int = 30,
        activation: str = "relu",
        loss: str = "cross_entropy",
    ) -> None:
        at_least_two(classes, "a feed-forward network")
        self.hidden, self.classes = whole("hidden", hidden, least=1), classes
        self.activation = one_of("activation", activation, "relu", "sigmoid")
        self.criterion = one_of("loss", loss, "cross_entropy", "quadratic")
        super().__init__(partial(_two_layers, features, self.hidden, classes, self.activation))

    def _losses(self, scores: Tensor, y: Tensor) -> Tensor:
        if self.criterion == "cross_entropy":
            return super()._losses(scores, y)
        target = torch.eye(self.classes, device=y.device)[y]
        return 0.5 * (scores.sigmoid() - target).square().sum(dim=1)

    def _forward(self, params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden activations (hidden, N) and scores (classes, N) of x (N, p)."""
        first, bias, second, last = self._split(params)
        linear = torch.addmm(bias[:, None], first, x.T)
        hidden = linear.relu_() if self.activation == "relu" else linear.sigmoid_()
        return hidden, torch.addmm(last[:, None], second, hidden)

    def _gradients(
        self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor, out: Tensor
    ) -> None:
        """Write gradients (q, d): forward and backward, by matrix products for all workers."""
        q, s = y.shape
        hidden, scores = self._forward(params, x.reshape(q * s, -1))
        if self.criterion == "cross_entropy":
            error = residual(scores.softmax(dim=0)[None], y)[0]
        else:
            answer = scores.sigmoid_()
            error = answer * (1.0 - answer)
            target = torch.nn.functional.one_hot(y.reshape(-1), self.classes).T
            error *= answer - target
        error *= weights.reshape(-1)
        back = self._split(params)[2].T @ error  # (hidden, q·s)
        back *= (hidden > 0) if self.activation == "relu" else hidden * (1.0 - hidden)
        first, bias, outer, last = self._split(out)
        slopes = back.reshape(self.hidden, q, s).transpose(0, 1)
        errors = error.reshape(self.classes, q, s).transpose(0, 1)
        product(slopes, x, first)
        torch.sum(slopes, dim=2, out=bias)
        product(errors, hidden.reshape(self.hidden, q, s).permute(1, 2, 0), outer)
        torch.sum(errors, dim=2, out=last)

    def own_gradients(
        self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return (q, d): each worker's gradient at parameters of its own, for all at once."""
        if type(self) is not FeedForward:  # another's gradients may be others
            return super().own_gradients(params, x, y, weights)
        first, bias, second, last = self._split(params)
        linear = torch.baddbmm(bias[..., None], first, x.transpose(1, 2))  # (q, hidden, s)
        hidden = linear.relu_() if self.activation == "relu" else linear.sigmoid_()
        scores = torch.baddbmm(last[..., None], second, hidden)  # (q, classes, s)
        target = torch.nn.functional.one_hot(y, self.classes).transpose(1, 2)
        if self.criterion == "cross_entropy":
            error = scores.softmax(dim=1) - target
        else:
            answer = scores.sigmoid_()
            error = answer * (1.0 - answer) * (answer - target)
        error *= 1.0 / y.shape[1] if weights is None else weights[:, None]
        back = torch.bmm(second.transpose(1, 2), error)
        back *= (hidden > 0) if self.activation == "relu" else hidden * (1.0 - hidden)
        parts = torch.bmm(back, x), back.sum(dim=2), torch.bmm(error, hidden.transpose(1, 2))
        return torch.cat([part.flatten(1) for part in (*parts, error.sum(dim=2))], dim=1)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Return (R, classes, N)."""
        return torch.stack([self._forward(row, x)[1] for row in cells(params)])

    def loss(self, params: Tensor, scores: Tensor, picked: Tensor, y: Tensor) -> Tensor:
        """Return the mean loss."""
        if self.criterion == "cross_entropy":
            return super().loss(params, scores, picked, y)
        # Σ (a_c - t_c)² = Σ a_c² + 1 - 2·a_y
        answer = sigmoid(scores).square().sum(dim=1)
        return 0.5 * (answer + 1.0 - 2.0 * sigmoid(picked)).double().mean(dim=1)


class Convolutional(Network):
    """Two convolutions of 5 x 5 (20, 50 channels), each pooled by 2, then 500 ReLU units.

    On 28 x 28 pixels and 10 classes it has the 431,080 parameters of ByzFL's cnn_mnist.

    Raises:
        ValueError: the examples are not square images of one or three channels, 16 x 16 pixels or
            larger.

    Example:
        >>> Convolutional(features=784, classes=10).dimension
        431080
    """

    paper = "LeCun et al., Proc. IEEE 1998 (LeNet-5); ByzFL's cnn_mnist"
    validity = "square images of one or three channels, 16 x 16 or larger"

    def __init__(self, features: int, classes: int) -> None:
        at_least_two(classes, "a convolutional network")
        channels = 3 if features % 3 == 0 and math.isqrt(features // 3) ** 2 * 3 == features else 1
        side = math.isqrt(features // channels)
        if side * side * channels != features or side < 16:
            raise ValueError(
                f"the data has {features} features; expected square images of one or three "
                "channels, 16 x 16 or larger"
            )
        side_after = ((side - 4) // 2 - 4) // 2  # pixels per side after both convolutions
        net = partial(_two_convolutions, channels, 50 * side_after * side_after, classes)
        super().__init__(net, (channels, side, side), at_once=8)

    def _layers(self, params: Tensor, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return each layer's inputs and outputs for x (N, p)."""
        tensors, layers = self._split(params), []
        value = x.reshape(len(x), *self.inputs)
        for weight, bias in zip(tensors[::2], tensors[1::2], strict=True):
            if image := weight.dim() > 2:
                out = _channels_last(
                    torch.nn.functional.conv2d(value, _channels_last(weight), bias)
                )
            else:
                value = value.flatten(1)
                out = torch.addmm(bias, value, weight.T)
            out.requires_grad_(torch.is_grad_enabled())
            layers.append((value.detach(), out))
            value = (torch.nn.functional.max_pool2d(out, 2) if image else out).relu()
        return layers

    def _gradients(
        self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor, out: Tensor
    ) -> None:
        """Write gradients (q, d): derivatives by the layers' outputs, then products with inputs."""
        from torch.nn.grad import conv2d_weight

        q, s = y.shape
        with torch.enable_grad():
            layers = self._layers(params, x.flatten(0, 1))
            outputs = [output for _, output in layers]
            losses = self._losses(outputs[-1], y.flatten())
            by_output = torch.autograd.grad((weights.flatten() * losses).sum(), outputs)
        arrays = iter(self._split(out))
        for (value, _), slope in zip(layers, by_output, strict=True):
            weight, bias = next(arrays), next(arrays)
            slopes, inputs = slope.view(q, s, *slope.shape[1:]), value.view(q, s, *value.shape[1:])
            if weight.dim() > 3:
                for i in range(q):
                    weight[i] = conv2d_weight(inputs[i], weight[i].shape, slopes[i])  # type: ignore[no-untyped-call]
                torch.sum(slopes, dim=(1, 3, 4), out=bias)
            else:
                product(slopes.transpose(1, 2), inputs, weight)
                torch.sum(slopes, dim=1, out=bias)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Return (R, classes, N)."""
        chunks = torch.split(x, 256)  # so that the images between layers fit into a core's cache
        scores = [
            torch.cat([self._layers(row, chunk)[-1][1] for chunk in chunks])
            for row in cells(params)
        ]
        return torch.stack(scores).transpose(1, 2)


def _two_layers(features: int, hidden: int, classes: int, activation: str) -> torch.nn.Module:
    activate = torch.nn.ReLU() if activation == "relu" else torch.nn.Sigmoid()
    with torch.device("meta"):
        return torch.nn.Sequential(
            torch.nn.Linear(features, hidden), activate, torch.nn.Linear(hidden, classes)
        )


def _two_convolutions(channels: int, pixels: int, classes: int) -> torch.nn.Module:
    with torch.device("meta"):
        return torch.nn.Sequential(
            torch.nn.Conv2d(channels, 20, 5),
            torch.nn.MaxPool2d(2),
            torch.nn.ReLU(),
            torch.nn.Conv2d(20, 50, 5),
            torch.nn.MaxPool2d(2),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(pixels, 500),
            torch.nn.ReLU(),
            torch.nn.Linear(500, classes),
        )


def _check_chain(net: torch.nn.Module, parameters: Sequence[str]) -> None:
    """Raise ValueError unless each layer's input is the output of the layer before."""
    try:
        nodes = torch.fx.symbolic_trace(net).graph.nodes
    except Exception as error:
        raise ValueError(
            "its layers can't be traced, and granularity 'subnetwork' needs a chain of them"
        ) from error
    numbers: set[torch.fx.Node] = set()  # such as the size of a batch
    layers, names = [], list(dict.fromkeys(name.rpartition(".")[0] for name in parameters))
    for node in nodes:
        sources = [source for source in node.all_input_nodes if source not in numbers]
        is_number = node.target in ("size", "dim", getattr) or (
            node.op == "call_function" and not sources
        )
        if is_number:
            numbers.add(node)
        elif len(sources) > 1:
            raise ValueError(
                f"no chain of layers: {node.name} joins several; granularity 'subnetwork' needs one"
            )
        elif node.op == "call_module" and str(node.target) in names:
            layers.append(str(node.target))
    if layers != names:
        raise ValueError(
            f"no chain of layers: {', '.join(layers)} are used of {', '.join(names)}; granularity "
            "'subnetwork' needs each once and in order"
        )


def _channels_last(values: Tensor) -> Tensor:
    """Return images with a pixel's channels side by side: torch pools them ten times faster."""
    return values.contiguous(memory_format=torch.channels_last)
