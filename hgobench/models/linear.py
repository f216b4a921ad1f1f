"""Linear models: gradients in closed form, by matrix products."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from hgobench.kernels.arrays import ignore_float_warnings, product
from hgobench.lazy import Tensor, torch
from hgobench.parameters import finite, positive

from .base import (
    Classifier,
    Model,
    at_least_two,
    cells,
    linear_units,
    memory,
    near_zero,
    residual,
    sigmoid,
)

SMALL = 500_000  # multiplications; a BLAS does not copy the factors of a product of so few
ALIGNED = 16  # float32 numbers that fill the longest register
TURNED = 1 << 17  # numbers that fit in a core's cache, so that turning rows to columns is quick


class Softmax(Classifier):
    """Multinomial logistic regression: d = classes · (p + 1), coordinates class by class.

    Loss: mean cross-entropy + (ridge/2)·‖w‖². Gradient in closed form:
    mean (softmax(Wx) - onehot(y)) xᵀ + ridge·w.

    Args:
        ridge: >= 0; if > 0, the loss is strongly convex.

    Example:
        >>> model = Softmax(features=2, classes=2)
        >>> x, y = torch.tensor([[[4.0, 0.0]]]), torch.tensor([[0]])  # one worker, one example
        >>> model.gradients(torch.zeros(1, model.dimension), x, y)
        tensor([[[-2.0000,  0.0000, -0.5000,  2.0000,  0.0000,  0.5000]]])
    """

    paper = "HGO, section V"
    validity = "any classification data"
    light = True

    def __init__(self, features: int, classes: int, ridge: float = 0.0) -> None:
        at_least_two(classes, "softmax regression")
        self.ridge = finite("ridge", ridge, least=0.0)
        self.classes = classes
        self.inputs = features + 1
        self.dimension = classes * self.inputs
        self.place_of = np.tile(np.arange(self.inputs), classes)
        self.units = linear_units(self.inputs, classes)

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw from N(0, 0.01²)."""
        return near_zero(rng, self.dimension)

    def gradients(
        self,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (R, q, d) by two matrix products a cell."""
        (q, s), r = y.shape, len(params)
        error = residual(self.probabilities(self.logits(params, x.reshape(q * s, -1)), q), y)
        error *= 1.0 / s if weights is None else weights.reshape(-1)
        errors = error.reshape(r, self.classes, q, s).transpose(1, 2)
        gradients = memory(out, x, r, q, self.dimension)
        blocks = gradients.view(r, q, self.classes, self.inputs)
        product(errors, x, blocks[..., :-1])
        torch.sum(errors, dim=3, out=blocks[..., -1])
        return gradients.add_(params[:, None], alpha=self.ridge) if self.ridge else gradients

    def own_gradients(
        self, params: Tensor, x: Tensor, y: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return (q, d): what `gradients` returns of each worker alone, for all at once."""
        (q, s), cpu = y.shape, params.device.type == "cpu"
        if type(self) is not Softmax or not cpu:  # another's gradients may be others
            return super().own_gradients(params, x, y, weights)
        split = params.view(q, self.classes, self.inputs)
        aligned = split.new_empty(q, self.classes, -(-self.inputs // ALIGNED) * ALIGNED)
        aligned = aligned[..., : self.inputs].copy_(split)
        error = x.new_empty(q, self.classes, s)
        product(aligned[..., :-1], x.transpose(1, 2), error)
        error = error.add_(aligned[..., -1:]).softmax(dim=1)
        index = y[:, None].expand(-1, 1, -1)
        error.scatter_add_(1, index, error.new_full((1,), -1.0).expand_as(index))
        error *= 1.0 / s if weights is None else weights[:, None]
        gradients = x.new_empty(q, self.dimension)
        blocks = gradients.view(q, self.classes, self.inputs)
        product(error, x, blocks[..., :-1])
        torch.sum(error, dim=2, out=blocks[..., -1])
        return gradients.add_(params, alpha=self.ridge) if self.ridge else gradients

    def flops(self, examples: int) -> float:
        """Return 4·s·d: scores, and their slopes times the features."""
        return 4.0 * examples * self.dimension

    def working_bytes(self, workers: int, examples: int) -> int:
        """Return the bytes of scores, probabilities and errors."""
        return 3 * 4 * self.classes * workers * examples

    def probabilities(self, scores: Tensor, batches: int) -> Tensor:
        """Return the classes' probabilities, (R, classes, N), given their scores.

        Args:
            scores: (R, classes, N).
            batches: number of minibatches, q, of which the N examples are.
        """
        # Classes before examples: softmax along a long inner axis is 20 times faster.
        return scores.softmax(dim=1)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Return (R, classes, N)."""
        return _scores(params.view(len(params), self.classes, self.inputs), x)

    def loss(self, params: Tensor, scores: Tensor, picked: Tensor, y: Tensor) -> Tensor:
        """Return the mean cross-entropy + (ridge/2)·‖w‖², (R,) float64."""
        return super().loss(params, scores, picked, y) + ridge_loss(self.ridge, params)


def _scores(weights: Tensor, x: Tensor) -> Tensor:
    """Score examples, (R, classes, p + 1) weights and (N, p) -> (R, classes, N).

    Chunk by chunk: a BLAS copies both factors of a large product before it multiplies, which for so
    few classes takes longer than multiplying. Each cell has products of its own, and its weights
    are aligned as every other's are, so that bits do not depend on its neighbours.
    """
    if weights.requires_grad or weights.device.type != "cpu":
        return torch.stack([torch.addmm(w[:, -1:], w[:, :-1], x.T) for w in cells(weights)])
    r, classes, inputs = weights.shape
    aligned = weights.new_empty(r, classes, -(-inputs // ALIGNED) * ALIGNED)[..., :inputs]
    aligned.copy_(weights)
    scores = x.new_empty(r, classes, len(x))
    chunk = max(SMALL // (classes * inputs), 1)
    columns = x.numpy().T
    if columns.size <= TURNED:  # a BLAS is up to four times faster where examples are neighbours
        columns = np.ascontiguousarray(columns)
    left, out = aligned[..., :-1].numpy(), scores.numpy()
    with ignore_float_warnings():
        for start in range(0, len(x), chunk):
            end = start + chunk
            np.matmul(left, columns[:, start:end], out=out[..., start:end])
    return scores.add_(aligned[..., -1:])


def ridge_loss(ridge: float, params: Tensor) -> Tensor | float:
    """Return (ridge/2)·‖w‖² of each cell, (R,) float64."""
    return 0.5 * ridge * params.double().square().sum(dim=1) if ridge else 0.0


class OneScore(Model):
    """A model with one score w·(x, 1): d = p + 1, the last coordinate the bias.

    A subclass defines `slope`, the derivative of its loss by the score; (ridge/2)·‖w‖² is added to
    the loss, where w includes the bias.

    Args:
        ridge: >= 0.
    """

    light = True

    def __init__(self, features: int, classes: int, ridge: float = 0.0) -> None:
        self.ridge = finite("ridge", ridge, least=0.0)
        self.dimension = features + 1
        self.place_of = np.arange(self.dimension)
        self.units = linear_units(self.dimension, 1)

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Start at 0."""
        return torch.zeros(self.dimension)

    @abstractmethod
    def slope(self, score: Tensor, y: Tensor) -> Tensor:
        """Return the derivative of an example's loss by its score, both (R, N); y (N,).

        The scores may be overwritten.
        """

    def flops(self, examples: int) -> float:
        """Return 4·s·d: the score, and its slope times the features."""
        return 4.0 * examples * self.dimension

    def working_bytes(self, workers: int, examples: int) -> int:
        """Return the bytes of scores, slopes and errors."""
        return 3 * 4 * workers * examples

    def scores(self, params: Tensor, x: Tensor) -> Tensor:
        """Return the scores (R, N) of examples x (N, p)."""
        return torch.stack([torch.addmv(row[-1:], x, row[:-1]) for row in cells(params)])

    def gradients(
        self,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (R, q, d) by two matrix products a cell."""
        (q, s), r = y.shape, len(params)
        error = self.slope(self.scores(params, x.reshape(q * s, -1)), y.reshape(-1))
        error = error * (1.0 / s if weights is None else weights.reshape(-1))
        errors = error.reshape(r, q, 1, s)
        gradients = memory(out, x, r, q, self.dimension)
        product(errors, x, gradients[:, :, None, :-1])  # cell by cell, as in softmax regression
        torch.sum(errors, dim=3, out=gradients[:, :, -1:])
        return gradients.add_(params[:, None], alpha=self.ridge) if self.ridge else gradients


class TwoClasses(OneScore, Classifier):
    """A classifier of two classes by one score, of class 1 against class 0."""

    def __init__(self, features: int, classes: int, ridge: float = 0.0) -> None:
        super().__init__(features, classes, ridge)
        if classes != 2:
            raise ValueError(f"{self.title} has 2 classes; the data has {classes}")

    title = ""

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """Return (R, 2, N): 0 for class 0, and the score for class 1."""
        score = self.scores(params, x)
        return torch.stack((torch.zeros_like(score), score), dim=1)

    def loss(self, params: Tensor, scores: Tensor, picked: Tensor, y: Tensor) -> Tensor:
        """Return the mean cross-entropy + (ridge/2)·‖w‖², (R,) float64."""
        return super().loss(params, scores, picked, y) + ridge_loss(self.ridge, params)


class Logistic(TwoClasses):
    """Binary logistic regression: d = p + 1, the last coordinate the bias; labels 0 and 1.

    Loss: mean binary cross-entropy + (ridge/2)·‖w‖². Gradient in closed form:
    mean (σ(wᵀx) - y) x + ridge·w.

    Args:
        ridge: >= 0; if > 0, the loss is strongly convex.

    Example:
        >>> model = Logistic(features=1, classes=2)
        >>> x, y = torch.tensor([[[4.0]]]), torch.tensor([[1]])  # one worker, one example
        >>> model.gradients(torch.zeros(1, 2), x, y)
        tensor([[[-2.0000, -0.5000]]])
    """

    paper = "HGO, section V"
    validity = "two classes"
    title = "logistic regression"

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw from N(0, 0.01²)."""
        return near_zero(rng, self.dimension)

    def slope(self, score: Tensor, y: Tensor) -> Tensor:
        """Return σ(wᵀx) - y."""
        return sigmoid(score) - y


class Svm(TwoClasses):
    """A linear support vector machine: d = p + 1, the last coordinate the bias; starts at 0.

    Loss: ½‖w‖² + C · mean max(0, 1 - t·wᵀx), t = ±1, the bias in w. Its subgradient is
    w - C · mean t·x over the examples with t·wᵀx < 1.

    Args:
        penalty: C > 0; 1000 is the HGO paper's.

    Example:
        >>> model = Svm(features=1, classes=2, penalty=10.0)
        >>> x, y = torch.tensor([[[4.0]]]), torch.tensor([[1]])  # one worker, one example
        >>> model.gradients(torch.zeros(1, 2), x, y)
        tensor([[[-40., -10.]]])
    """

    paper = "HGO, extended version"
    validity = "two classes; C > 0"
    title = "a support vector machine"

    def __init__(self, features: int, classes: int, penalty: float = 1000.0) -> None:
        super().__init__(features, classes, ridge=1.0)
        self.penalty = positive("penalty", penalty)

    def slope(self, score: Tensor, y: Tensor) -> Tensor:
        """Return -C·t where t·wᵀx < 1."""
        t = 2.0 * y - 1.0
        return torch.where(t * score < 1.0, -self.penalty * t, 0.0)

    def loss(self, params: Tensor, scores: Tensor, picked: Tensor, y: Tensor) -> Tensor:
        """Return the objective."""
        margin = (2.0 * y - 1.0) * scores[:, 1]
        hinge = (1.0 - margin).clamp(min=0.0).double().mean(dim=1)
        return self.penalty * hinge + ridge_loss(self.ridge, params)


class Linear(OneScore):
    """Linear regression: d = p + 1, the last coordinate the bias; starts at 0.

    Loss: ½ mean (wᵀx - y)² + (ridge/2)·‖w‖². Its accuracy, in tables and results, is the
    coefficient of determination R², 0 where it is negative. On data with classes the targets are
    their numbers.

    Args:
        ridge: >= 0; if > 0, it is ridge regression.

    Example:
        >>> model = Linear(features=1, classes=0)
        >>> x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([3.0, 5.0])
        >>> model.evaluate(torch.tensor([[2.0, 1.0]]), x, y)  # y = 2x + 1: loss and R²
        (tensor([0.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """

    paper = "HGO, extended version"
    validity = "any data; accuracy means R²"

    def slope(self, score: Tensor, y: Tensor) -> Tensor:
        """Return wᵀx - y."""
        return score - y

    def evaluate(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return half the mean squared error and R², (R,) each."""
        y = y.double()
        error = (self.scores(params, x).double() - y).square().mean(dim=1)
        spread = (y - y.mean()).square().mean()
        return 0.5 * error + ridge_loss(self.ridge, params), (1.0 - error / spread).clamp(min=0.0)
