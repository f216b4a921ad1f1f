"""Solvers: how the server updates the parameters with the aggregate (Algorithm 1, step 13).

A solver's state is kept by coordinate: a round changes neither the coordinates outside its block
nor their state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from hgobench.lazy import Tensor, torch
from hgobench.parameters import finite, positive
from hgobench.registry import Registry


class GradientDescent:
    """w <- w - γ_k · AG on the block's coordinates.

    With the schedule ``"constant"`` γ_k = γ; with ``"inverse_sqrt_block"`` γ_k = γ · √(d/|B_k|),
    which is γ on a full block and grows as the block shrinks.

    Args:
        learning_rate: γ > 0.
        schedule: ``"constant"`` or ``"inverse_sqrt_block"``.

    Attributes:
        paper, validity: what tables say of it.
        exempt: laws of `hgobench.testing` that its definition rules out, with the reason.

    Example:
        >>> params = torch.zeros(3)
        >>> solver = GradientDescent(learning_rate=0.5)
        >>> solver.step(params, torch.tensor([0, 2]), torch.tensor([1.0, -1.0]))
        >>> params
        tensor([-0.5000,  0.0000,  0.5000])
    """

    paper: ClassVar[str] = "HGO, Algorithm 1, step 13"
    validity: ClassVar[str] = "γ > 0"
    exempt: Mapping[str, str] = {}

    def __init__(self, learning_rate: float = 0.1, schedule: str = "constant") -> None:
        self.learning_rate = learning_rate
        self.schedule = schedule

    def rate(self, block: int, dimension: int) -> float:
        """Return γ_k for a block of `block` of the `dimension` coordinates."""
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * math.sqrt(dimension / block)

    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        """Update (d,) `params` in place.

        Args:
            params: the cell's parameters.
            block: (b,) int64, the block's coordinates; None: all of them.
            aggregate: (b,) the rule's answer on them.
        """
        scaled = aggregate * -self.rate(len(aggregate), len(params))
        if block is None:
            params += scaled
        else:
            params.index_add_(0, block, scaled)


class Optimizer(GradientDescent):
    """A torch optimizer that is applied to the block, with the state of the block's coordinates.

    For optimizers whose state of a coordinate is one number that starts at 0.

    Attributes:
        optimizer: the name of the class in `torch.optim`.
        state: the key under which it keeps that number.
        options: its arguments besides the learning rate.
    """

    optimizer: ClassVar[str]
    state: ClassVar[str]

    def __init__(self, learning_rate: float, schedule: str, **options: Any) -> None:
        super().__init__(learning_rate, schedule)
        self.options = options
        self._table: Tensor | None = None

    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        """Update (d,) `params` in place, and the state of the block."""
        if self._table is None:
            self._table = torch.zeros_like(params)
        rows: Any = slice(None) if block is None else block
        weights = params[rows].clone()
        weights.grad = aggregate.to(weights)
        rate = self.rate(len(aggregate), len(params))
        kind = getattr(torch.optim, self.optimizer)
        optimizer = kind([weights], lr=rate, **self.options)
        state = {self.state: self._table[rows].clone(), "step": torch.zeros(())}
        optimizer.state[weights] = state
        optimizer.step()
        params[rows] = weights
        self._table[rows] = state[self.state]


class Momentum(Optimizer):
    """m <- β·m + AG, w <- w - γ_k·m on the block's coordinates (Polyak's heavy ball).

    Args:
        beta: β, 0 <= β < 1.

    Example:
        >>> params = torch.zeros(3)
        >>> solver = Momentum(beta=0.5, learning_rate=1.0)
        >>> solver.step(params, torch.tensor([0, 2]), torch.tensor([1.0, -1.0]))
        >>> params
        tensor([-1.,  0.,  1.])

    Source: Polyak, USSR Comp. Math. 1964; `torch.optim.SGD`.
    """

    paper = "Polyak, 1964"
    validity = "0 <= β < 1"
    optimizer, state = "SGD", "momentum_buffer"
    nesterov = False

    def __init__(
        self, beta: float = 0.9, *, learning_rate: float = 0.1, schedule: str = "constant"
    ) -> None:
        beta = _decay("beta", beta)
        nesterov = (
            self.nesterov and beta > 0
        )  # without momentum it is the same, and torch refuses it
        super().__init__(learning_rate, schedule, momentum=beta, nesterov=nesterov)


class Nesterov(Momentum):
    """m <- β·m + AG, w <- w - γ_k·(AG + β·m) on the block's coordinates.

    Args:
        beta: β, 0 <= β < 1.

    Example:
        >>> params = torch.zeros(3)
        >>> solver = Nesterov(beta=0.5, learning_rate=1.0)
        >>> solver.step(params, torch.tensor([0, 2]), torch.tensor([1.0, -1.0]))
        >>> params
        tensor([-1.5000,  0.0000,  1.5000])

    Source: Sutskever, Martens, Dahl, Hinton, ICML 2013; `torch.optim.SGD` with ``nesterov``.
    """

    paper = "Nesterov, 1983; Sutskever et al., ICML 2013"
    nesterov = True


class RmsProp(Optimizer):
    """u <- ρ·u + (1-ρ)·AG², w <- w - γ_k·AG/(√u + ε) on the block's coordinates.

    Args:
        decay: ρ, 0 <= ρ < 1.
        epsilon: ε > 0.

    Example:
        >>> params = torch.zeros(3)
        >>> solver = RmsProp(decay=0.75, learning_rate=1.0)
        >>> solver.step(params, torch.tensor([0, 2]), torch.tensor([1.0, -1.0]))
        >>> params
        tensor([-2.,  0.,  2.])

    Source: Tieleman and Hinton, 2012; `torch.optim.RMSprop`.
    """

    paper = "Tieleman and Hinton, 2012"
    validity = "0 <= ρ < 1, ε > 0"
    optimizer, state = "RMSprop", "square_avg"

    def __init__(
        self,
        decay: float = 0.99,
        epsilon: float = 1e-8,
        *,
        learning_rate: float = 0.1,
        schedule: str = "constant",
    ) -> None:
        decay, epsilon = _decay("decay", decay), positive("epsilon", epsilon)
        super().__init__(learning_rate, schedule, alpha=decay, eps=epsilon)


class AdaGrad(Optimizer):
    """u <- u + AG², w <- w - γ_k·AG/(√u + ε) on the block's coordinates.

    Args:
        epsilon: ε > 0.

    Example:
        >>> params = torch.zeros(3)
        >>> solver = AdaGrad(learning_rate=0.5)
        >>> solver.step(params, torch.tensor([0, 2]), torch.tensor([1.0, -1.0]))
        >>> params
        tensor([-0.5000,  0.0000,  0.5000])

    Source: Duchi, Hazan, Singer, JMLR 2011; `torch.optim.Adagrad`.
    """

    paper = "Duchi et al., JMLR 2011"
    validity = "ε > 0"
    optimizer, state = "Adagrad", "sum"

    def __init__(
        self,
        epsilon: float = 1e-10,
        *,
        learning_rate: float = 0.1,
        schedule: str = "constant",
    ) -> None:
        super().__init__(learning_rate, schedule, eps=positive("epsilon", epsilon))


class Adam(GradientDescent):
    """Adam on the block: w <- w - γ_k·m̂/(√û + ε), where each coordinate counts its own updates.

    m <- β₁·m + (1-β₁)·AG, u <- β₂·u + (1-β₂)·AG²; m̂ = m/(1-β₁ᵗ), û = u/(1-β₂ᵗ), t the number of
    updates of the coordinate. (torch's Adam has one t for all coordinates, which would correct one
    that is seldom in a block as if it had been in every block.)

    Args:
        beta1, beta2: β₁ and β₂, 0 <= β < 1.
        epsilon: ε > 0.

    Example:
        >>> params = torch.zeros(3)
        >>> solver = Adam(learning_rate=0.5)
        >>> solver.step(params, torch.tensor([0, 2]), torch.tensor([1.0, -1.0]))
        >>> params
        tensor([-0.5000,  0.0000,  0.5000])

    Source: Kingma and Ba, ICLR 2015.
    """

    paper = "Kingma and Ba, ICLR 2015"
    validity = "0 <= β₁, β₂ < 1, ε > 0"

    def __init__(
        self,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        *,
        learning_rate: float = 0.1,
        schedule: str = "constant",
    ) -> None:
        super().__init__(learning_rate, schedule)
        self.betas = _decay("beta1", beta1), _decay("beta2", beta2)
        self.epsilon = positive("epsilon", epsilon)
        self._state: Tensor | None = None  # (3, d): m, u, t

    def step(self, params: Tensor, block: Tensor | None, aggregate: Tensor) -> None:
        """Update (d,) `params` in place, and the state of the block."""
        if self._state is None:
            self._state = params.new_zeros(3, len(params))
        rows: Any = slice(None) if block is None else block
        first, second = self.betas
        mean, square, count = self._state[:, rows]
        mean = mean.lerp(aggregate, 1.0 - first)
        square = square * second + (1.0 - second) * aggregate.square()
        count = count + 1.0
        self._state[:, rows] = torch.stack((mean, square, count))
        updates = count.double()
        size = (square.double() / (1.0 - second**updates)).sqrt() + self.epsilon
        direction = mean.double() / (1.0 - first**updates) / size
        params[rows] -= (self.rate(len(aggregate), len(params)) * direction).to(params)


def _decay(name: str, value: float) -> float:
    if not 0 <= finite(name, value) < 1:
        raise ValueError(f"{name}: {value!r}; expected a number in [0, 1)")
    return float(value)


registry: Registry[GradientDescent] = Registry(
    "solver",
    "solvers",
    {
        "gradient_descent": GradientDescent,
        "momentum": Momentum,
        "nesterov": Nesterov,
        "rmsprop": RmsProp,
        "adagrad": AdaGrad,
        "adam": Adam,
    },
    context=frozenset({"learning_rate", "schedule"}),
    kind=GradientDescent,
)
