"""A quadratic whose optimum, curvature and noise are known: a problem for theory."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hgobench.lazy import Tensor, torch
from hgobench.parameters import finite

from .base import Model, cells, linear_units


class Quadratic(Model):
    """The loss ½ mean (w - x)ᵀH(w - x), d = p; labels don't matter.

    Its optimum is the mean of the examples. H has the eigenvalues 1 .. condition, evenly spaced in
    logarithm, and is dense: H = R Λ R with the reflection R = I - (2/d)·11ᵀ. The gradients' bias
    and variance on a worker's examples are the same at every w. Training starts at N(0, 1). Its
    accuracy, in tables and results, is the share of the excess loss at 0 that was removed,
    1 - (L(w) - L*)/(L(0) - L*), 0 where that is negative.

    Args:
        condition: the largest eigenvalue of H, >= 1; the smallest is 1.

    Example:
        >>> model = Quadratic(features=2, classes=0, condition=1.0)
        >>> x = torch.tensor([[1.0, 0.0], [3.0, 2.0]])  # the optimum is (2, 1)
        >>> model.evaluate(torch.tensor([[2.0, 1.0]]), x, torch.zeros(2))  # loss and accuracy
        (tensor([1.], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """

    paper = "hgobench"
    validity = "any data; accuracy means the share of the excess loss at 0 that was removed"
    light = True

    def __init__(self, features: int, classes: int, condition: float = 10.0) -> None:
        self.condition = finite("condition", condition, least=1.0)
        self.dimension = features
        self.place_of = np.arange(features)
        self.units = linear_units(features + 1, 1)[:, :features]

    @cached_property
    def hessian(self) -> Tensor:
        """H, (d, d) float64."""
        reflection = torch.eye(self.dimension, dtype=torch.float64) - 2.0 / self.dimension
        values = torch.from_numpy(np.geomspace(1.0, self.condition, self.dimension))
        return (reflection * values) @ reflection

    @cached_property
    def _hessian(self) -> Tensor:
        return self.hessian.float()

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw from N(0, 1)."""
        return torch.from_numpy(rng.standard_normal(self.dimension, dtype=np.float32))

    def gradients(
        self,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (R, q, d): H(w - x̄), x̄ the minibatch's mean."""
        mean = x.mean(dim=1) if weights is None else (weights[:, None] @ x)[:, 0]
        hessian = self._hessian.to(params.device)
        return torch.stack([(row - mean) @ hessian for row in cells(params)])

    def flops(self, examples: int) -> float:
        """Return s·d + 2·d²: the mean, and the product with H."""
        return examples * self.dimension + 2.0 * self.dimension**2

    def working_bytes(self, workers: int, examples: int) -> int:
        """Return the bytes of H, in float64 and float32, and of the workers' means."""
        return 12 * self.dimension**2 + 8 * workers * self.dimension

    def evaluate(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the accuracy (see `Quadratic`), (R,) each."""
        x, hessian = x.double(), self.hessian.to(x.device)
        mean = x.mean(dim=0)
        spread = ((x - mean) @ hessian * (x - mean)).sum(dim=1).mean() / 2.0
        offset = torch.cat((params.double(), torch.zeros_like(mean)[None])) - mean
        curved = torch.stack([row @ hessian for row in cells(offset)])
        excess = (curved * offset).sum(dim=1) / 2.0
        return spread + excess[:-1], (1.0 - excess[:-1] / excess[-1]).clamp(min=0.0)
