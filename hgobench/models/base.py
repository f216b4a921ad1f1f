"""What every model is: all sampled workers' gradients, for all cells of a cohort at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

ALWAYS = -1  # the unit that is in every block
EXAMPLES = 2000  # scored at once: they and their scores stay near a core


class Model(ABC):
    """A model with d parameters.

    A cohort's R cells see the same minibatches x (q, s, p) under R parameter vectors (R, d).

    Attributes:
        dimension: d.
        place_of: (d,) which unit's outgoing weights each coordinate belongs to: the places of
            granularity ``"feature"``. A bias is the outgoing weight of a constant unit.
        units: (2, d) the two units that each coordinate joins, for granularity ``"subnetwork"``;
            -1: a unit that is in every sub-network (constant units and outputs are).
    """

    paper: ClassVar[str] = ""
    validity: ClassVar[str] = ""
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
            weights: (q, s) of each example in its worker's mean; None: 1/s each.
            out: an earlier answer, whose memory may be overwritten: fresh memory costs more.

        Returns:
            (R, q, d); rows are contiguous, cells may be views into one buffer.
        """

    @abstractmethod
    def evaluate(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean loss and accuracy on N examples, (R,) each, in float64."""


class Classifier(Model):
    """A model that scores classes; its loss is the cross-entropy unless it says otherwise."""

    @abstractmethod
    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Score examples x (N, p) in every cell: (R, classes, N)."""

    def evaluate(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean loss and accuracy on N examples, (R,) each, in float64."""
        loss, right = self.marked(params, x, y)
        return loss, right.sum(dim=1).double() / len(x)

    def marked(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss, (R,) float64, and which examples are classed rightly, (R, N) bool.

        Of tied classes the first counts.
        """
        losses, hits = [], []
        for some, labels in zip(torch.split(x, EXAMPLES), torch.split(y, EXAMPLES), strict=True):
            scores = self.logits(params, some)
            picked = scores.gather(1, labels.expand(len(params), 1, -1))[:, 0]
            best = scores.amax(dim=1, keepdim=True)
            hit = picked == best[:, 0]
            single = (scores == best).flatten(1).sum(dim=1) == len(some)
            if not bool(single.all()) or bool(best.isnan().any()):
                hit = scores.argmax(dim=1) == labels  # much slower
            losses.append(len(some) * self.loss(params, scores, picked, labels))
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


def memory(out: Tensor | None, like: Tensor, *shape: int) -> Tensor:
    """Return contiguous memory of a shape: that of `out` if it fits, else new, as `like` has it."""
    fits = out is not None and out.shape == shape and out.is_contiguous()
    return out if out is not None and fits else like.new_empty(shape)


def at_least_two(classes: int, model: str) -> None:
    """Raise ValueError unless the data has classes."""
    if classes < 2:
        raise ValueError(f"{model} tells classes apart; the data has none: its labels are numbers")


def residual(chances: Tensor, y: Tensor) -> Tensor:
    """Subtract onehot(y), labels (N,), from the classes' chances (R, classes, N), in place."""
    index = y.reshape(1, 1, -1).expand(len(chances), 1, -1)
    return chances.scatter_add_(1, index, chances.new_full((1,), -1.0).expand_as(index))


def cells(params: Tensor) -> list[Tensor]:
    """Return the rows of (R, d), each in memory of its own.

    What is computed from one does not depend on its place in the cohort then: libraries round
    otherwise where memory is not aligned.
    """
    return [row.clone() for row in params]


def sigmoid(scores: Tensor) -> Tensor:
    """Write σ of scores (R, ...) to their memory.

    Cell by cell: torch rounds an array's last few otherwise, and bits must not depend on a cell's
    place in its cohort.
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
