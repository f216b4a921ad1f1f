"""The curvature of a loss: the constants of Assumptions 1 and 2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import InputError
from hgobench.models import Linear, Logistic, Model, Quadratic, Softmax

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curvature:
    """L_j, L and μ of a mean loss.

    Attributes:
        smoothness: (d,) L_j with |∇L(w')_j - ∇L(w)_j| <= L_j·‖w' - w‖ for all w, w'.
        lipschitz: L with ‖∇L(w') - ∇L(w)‖ <= L·‖w' - w‖.
        strong_convexity: μ, the largest for all w; 0: the loss is not strongly convex.
        exact: whether the first two are the smallest constants, or only upper bounds of them.
        hessian, optimum: (d, d) and (d,) of a quadratic loss; else None.

    Example:
        >>> constants = of_hessian(np.diag([1.0, 4.0]), optimum=np.zeros(2))
        >>> constants.lipschitz, constants.strong_convexity, constants.block_step
        (4.0, 1.0, 0.2)
    """

    smoothness: Floats
    lipschitz: float
    strong_convexity: float
    exact: bool
    hessian: Floats | None = None
    optimum: Floats | None = None

    @property
    def block_step(self) -> float:
        """The learning rate below which both theorems hold for every block: 1/Σ_j L_j."""
        return 1.0 / float(self.smoothness.sum())

    @property
    def dimension_step(self) -> float:
        """The extended paper's: 1/(√d·L) with L = max_j L_j.

        It can be larger than the shorter paper's 1/Σ_j L_j, but the proofs hold: they need
        ‖[∇L(w') - ∇L(w)]_B‖ <= ‖w' - w‖/γ, and √(Σ_j L_j²) <= √d·max_j L_j.
        """
        return 1.0 / float(np.sqrt(len(self.smoothness)) * self.smoothness.max())


def curvature(model: Model, features: NDArray[Any], labels: NDArray[Any]) -> Curvature:
    """Return L_j, L and μ of a model's mean loss on some examples.

    A quadratic loss (``quadratic``, ``linear``) has a constant Hessian H = ∇²L: L_j = ‖H_j‖ (row
    j), L = λ_max, μ = λ_min, all exact. For ``logistic`` and ``softmax`` the Hessian varies with w:
    with S = 1/N Σ x xᵀ (bias in x) and r = 1/4 or √2/4, the longest row of diag(p) - ppᵀ,

        L_j <= r·min(mean |x_j|·‖x‖, √(mean x_j²·λ_max(S))) + ridge,
        L <= λ_max(S)/4 or /2 + ridge (Böhning 1992),  μ = ridge.

    Args:
        model: one of these.
        features: (N, p).
        labels: (N,).

    Raises:
        InputError: the constants of this model are not known.

    Example:
        >>> x, y = np.array([[1.0], [-1.0]]), np.array([2.0, 0.0])
        >>> constants = curvature(Linear(features=1, classes=0), x, y)
        >>> constants.lipschitz, constants.optimum  # weight and bias
        (1.0, array([1., 1.]))
    """
    find = _METHODS.get(type(model))  # a subclass may have another loss
    if find is None:
        names = ", ".join(kind.__name__.lower() for kind in _METHODS)
        raise InputError(
            f"model: {type(model).__name__}: its curvature is not known; it is for {names}"
        )
    return find(model, features.astype(np.float64), labels.astype(np.float64))


def of_hessian(hessian: Floats, optimum: Floats) -> Curvature:
    """Return the constants of a quadratic loss, all exact."""
    values = np.linalg.eigvalsh(hessian)
    rounding = len(hessian) * np.finfo(np.float64).eps * values[-1]
    return Curvature(
        np.linalg.norm(hessian, axis=1),
        float(values[-1]),
        float(values[0]) if values[0] > rounding else 0.0,
        exact=True,
        hessian=hessian,
        optimum=optimum,
    )


def _quadratic(model: Quadratic, x: Floats, y: Floats) -> Curvature:
    return of_hessian(model.hessian.numpy(), x.mean(axis=0))


def _linear(model: Linear, x: Floats, y: Floats) -> Curvature:
    x = _with_bias(x)
    hessian = x.T @ x / len(x) + model.ridge * np.eye(x.shape[1])
    optimum, *_ = np.linalg.lstsq(hessian, x.T @ y / len(x), rcond=None)
    return of_hessian(hessian, np.asarray(optimum, dtype=np.float64))


def _logistic(model: Logistic, x: Floats, y: Floats) -> Curvature:
    rows, largest = _rows(x)
    return Curvature(rows / 4.0 + model.ridge, largest / 4.0 + model.ridge, model.ridge, False)


def _softmax(model: Softmax, x: Floats, y: Floats) -> Curvature:
    rows, largest = _rows(x)
    smoothness = np.tile(rows * np.sqrt(2.0) / 4.0, model.classes) + model.ridge
    return Curvature(smoothness, largest / 2.0 + model.ridge, model.ridge, False)


def _rows(x: Floats) -> tuple[Floats, float]:
    """Return bounds of ‖mean r_n·x_nj·x_n‖ for all |r_n| <= 1, (p + 1,), and λ_max of mean x xᵀ."""
    x = _with_bias(x)
    largest = float(np.linalg.eigvalsh(x.T @ x / len(x))[-1])
    triangle = (np.abs(x) * np.linalg.norm(x, axis=1)[:, None]).mean(axis=0)
    return np.minimum(triangle, np.sqrt(np.square(x).mean(axis=0) * largest)), largest


def _with_bias(x: Floats) -> Floats:
    return np.pad(x, ((0, 0), (0, 1)), constant_values=1.0)


_METHODS: dict[type[Model], Callable[[Any, Floats, Floats], Curvature]] = {
    Quadratic: _quadratic,
    Linear: _linear,
    Logistic: _logistic,
    Softmax: _softmax,
}
