"""Base classes of models: all sampled workers' gradients, for all cells of a cohort at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

ALWAYS = -1  # a unit that is in every block
EXAMPLES = 2000  # scored at once: they and their scores fit into a core's cache


class Model(ABC):
    """A model with d parameters.

    A cohort's R cells see the same minibatches x (q, s, p) under R parameter vectors (R, d).

    Attributes:
        light: whether a round takes about a millisecond, whatever its size: then many cells side by
            side are faster.
        dimension: d.
        place_of: (d,) which unit's outgoing weights each coordinate belongs to: the places of
            granularity ``"feature"``. A bias is the outgoing weight of a constant unit.
        units: (2, d) the two units that each coordinate joins, for granularities ``"subnetwork"``
            and ``"nested"``: what it goes out from, and what it enters;
            -1: a unit that is in every sub-network (constant units and outputs are).
        paper, validity: what tables say of it.
        exempt: laws of `hgobench.testing` that its definition rules out, with the reason.

    Example:
        >>> class Mean(Model):
        ...     dimension, place_of = 1, np.arange(1)
        ...     def initial(self, rng):
        ...         return torch.zeros(1)
        ...     def gradients(self, params, x, y, weights=None, out=None):
        ...         return params[:, None] - y.float().mean(dim=1)[None, :, None]
        ...     def evaluate(self, params, x, y):
        ...         loss = (params - y).square().mean(dim=1).double() / 2
        ...         return loss, torch.zeros_like(loss)
        >>> x, y = torch.zeros(2, 3, 1), torch.tensor([[1, 2, 3], [4, 5, 6]])
        >>> Mean().gradients(torch.zeros(1, 1), x, y)  # one cell, two workers
        tensor([[[-2.],
                 [-5.]]])
    """

    paper: ClassVar[str] = ""
    validity: ClassVar[str] = ""
    light: ClassVar[bool] = False
    exempt: Mapping[str, str] = {}
    dimension: int
    place_of: NDArray[np.int64]
    units: NDArray[np.int64]

    @abstractmethod
    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw initial parameters, (d,) float32."""

    @abstractmethod
    def gradients(
        self,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Compute every worker's minibatch gradient in every cell.

        Args:
            params: (R, d), a row per cell.
            x: (q, s, p) float32, the workers' minibatches.
            y: (q, s) int64 labels; float32 targets in a regression.
            weights: (q, s) the weight of each example in its worker's mean; None: 1/s each.
            out: an array returned earlier, whose memory may be overwritten: fresh memory is slower.

        Returns:
            (R, q, d); rows are contiguous, cells may be views into one buffer.
        """

    def own_gradients(
        self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Compute each worker's minibatch gradient at parameters of its own, (q, d).

        Args:
            params: (q, d), a row per worker.
            x, y, weights: as for `gradients`.
        """
        rows = []
        for i in range(len(params)):
            one = slice(i, i + 1)
            own = None if weights is None else weights[one]
            rows.append(self.gradients(params[one], x[one], y[one], own)[0, 0])
        return torch.stack(rows) if rows else torch.zeros_like(params)

    @abstractmethod
    def evaluate(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean loss and accuracy on N examples, (R,) each, in float64."""

    def flops(self, examples: int) -> float | None:
        """Return the floating-point operations of a gradient on so many examples.

        Those of products and convolutions: a multiplication and an addition are two. None: unknown.
        """
        return None

    def working_bytes(self, workers: int, examples: int) -> int | None:
        """Return the bytes that a cell's `gradients` take besides what they are given and return.

        Args:
            workers: q.
            examples: s, of each.

        Returns:
            The bytes; None: unknown.
        """
        return None


class Parameters(Model):
    """A model whose coordinates are the entries of arrays, one array after the other.

    Attributes:
        shapes: of the arrays, by their names, in their order.
    """

    shapes: Mapping[str, tuple[int, ...]]

    @cached_property
    def sizes(self) -> list[int]:
        """Number of coordinates of each array."""
        return [math.prod(shape) for shape in self.shapes.values()]

    @cached_property
    def dimension(self) -> int:  # type: ignore[override]
        """Number of coordinates, d."""
        return sum(self.sizes)

    def _split(self, values: Tensor) -> list[Tensor]:
        """Return views of the arrays, (..., d) -> (..., *shape) each."""
        pieces = zip(torch.split(values, self.sizes, dim=-1), self.shapes.values(), strict=True)
        return [piece.view(*values.shape[:-1], *shape) for piece, shape in pieces]


class Classifier(Model):
    """A model that scores classes; its loss is the cross-entropy unless it overrides `loss`.

    Example:
        >>> from hgobench.models import Softmax
        >>> model = Softmax(features=1, classes=2)  # w: class 0's weight and bias, then class 1's
        >>> params = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
        >>> x, y = torch.tensor([[2.0], [-2.0]]), torch.tensor([1, 1])
        >>> loss, right = model.marked(params, x, y)
        >>> right
        tensor([[ True, False]])
    """

    @abstractmethod
    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Score examples x (N, p) in every cell: (R, classes, N)."""

    def evaluate(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean loss and accuracy on N examples, (R,) each, in float64."""
        loss, right = self.marked(params, x, y)
        return loss, accuracy(right)

    def marked(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss, (R,) float64, and which examples are classified correctly, (R, N).

        Of tied classes the first is the answer.
        """
        losses, hits = [], []
        for chunk, labels in zip(torch.split(x, EXAMPLES), torch.split(y, EXAMPLES), strict=True):
            scores = self.logits(params, chunk)
            own = scores.gather(1, labels.expand(len(params), 1, -1))[:, 0]
            best = scores.amax(dim=1, keepdim=True)
            hit = own == best[:, 0]
            single = (scores == best).flatten(1).sum(dim=1) == len(chunk)
            if not bool(single.all()) or bool(best.isnan().any()):
                hit = scores.argmax(dim=1) == labels  # much slower
            losses.append(len(chunk) * self.loss(params, scores, own, labels))
            hits.append(hit)
        return torch.stack(losses).sum(dim=0) / len(x), torch.cat(hits, dim=1)

    def loss(self, params: Tensor, scores: Tensor, picked: Tensor, y: Tensor) -> Tensor:
        """Return the mean loss, (R,) float64; the scores may be overwritten.

        Args:
            params: (R, d).
            scores: (R, classes, N).
            picked: (R, N) the scores of the examples' own classes.
            y: (N,) labels.
        """
        return (scores.logsumexp(dim=1) - picked).double().mean(dim=1)


def accuracy(right: Tensor) -> Tensor:
    """Return the share of N examples that are answered rightly, (R, N) bool -> (R,) float64.

    >>> accuracy(torch.tensor([[True, False, False, True]]))
    tensor([0.5000], dtype=torch.float64)
    """
    return right.sum(dim=1).double() / right.shape[1]


def memory(out: Tensor | None, like: Tensor, *shape: int) -> Tensor:
    """Return contiguous memory of a shape: `out` if it fits, else new, of the type of `like`."""
    fits = out is not None and out.shape == shape and out.is_contiguous()
    return out if out is not None and fits else like.new_empty(shape)


def kept_bytes(forward: Callable[[], Tensor], net: torch.nn.Module) -> int:
    """Return the bytes that a network keeps of a forward pass for the way back, and its slopes.

    Going backward takes at most as much again as what is kept for it.
    """
    seen: dict[int, int] = {}
    held: list[Tensor] = []  # so that no address is used twice

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage._cdata not in own:
            held.append(value)
            seen[storage._cdata] = storage.nbytes()
        return value

    own = {p.untyped_storage()._cdata for p in net.parameters()}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        forward()
    return 2 * sum(seen.values())


def counted(forward: Callable[[], Tensor], net: torch.nn.Module) -> tuple[float, int]:
    """Return a network's operations forwards and backwards, as torch counts them, and `kept_bytes`.

    Args:
        forward: computes the scores.
        net: the network.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        forward().sum().backward()  # type: ignore[no-untyped-call]
    for parameter in net.parameters():
        parameter.grad = None
    return float(counter.get_total_flops()), kept_bytes(forward, net)


def at_least_two(classes: int, model: str) -> None:
    """Raise ValueError unless the data has at least two classes."""
    if classes < 2:
        raise ValueError(f"{model} tells classes apart; the data has none: its labels are numbers")


def residual(probabilities: Tensor, y: Tensor) -> Tensor:
    """Subtract onehot(y), labels (N,), from probabilities (R, classes, N), in place."""
    index = y.reshape(1, 1, -1).expand(len(probabilities), 1, -1)
    return probabilities.scatter_add_(1, index, probabilities.new_full((1,), -1.0).expand_as(index))


def cells(params: Tensor) -> list[Tensor]:
    """Return the rows of (R, d), each in memory of its own.

    What is computed from a row then does not depend on its place in the cohort: libraries round
    differently where memory is not aligned.
    """
    return [row.clone() for row in params]


def sigmoid(scores: Tensor) -> Tensor:
    """Replace scores (R, ...) by σ of them, in place.

    Cell by cell: torch rounds the last few numbers of an array differently, and bits must not
    depend on a cell's place in its cohort.
    """
    for cell in scores:
        cell.sigmoid_()
    return scores


def linear_units(inputs: int, outputs: int) -> NDArray[np.int64]:
    """Return the `units` of a linear model, output by output; the last input is constant."""
    source = np.arange(inputs)
    source[-1] = ALWAYS
    return np.stack((np.tile(source, outputs), np.full(inputs * outputs, ALWAYS)))


def near_zero(rng: np.random.Generator, dimension: int) -> Tensor:
    """Draw parameters from N(0, 0.01²), (d,) float32."""
    return torch.from_numpy(0.01 * rng.standard_normal(dimension, dtype=np.float32))
