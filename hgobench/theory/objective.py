"""The loss that the correct workers minimise, and how far their own gradients are from its."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hgobench.determinism import one_thread
from hgobench.errors import InputError
from hgobench.lazy import Tensor
from hgobench.scenario import Scenario
from hgobench.simulation.world import World

from .curvature import Curvature, curvature

Floats = NDArray[np.float64]
AT_ONCE = 1 << 23  # numbers of per-example gradients


def minibatch_factor(batch: NDArray[np.int64], size: NDArray[np.int64]) -> Floats:
    """Return s'_i = s_i·(|S_i| - 1)/(|S_i| - s_i), (c,); inf where all examples are drawn.

    The mean of s_i of |S_i| examples, drawn without replacement, has 1/s'_i of their variance.

    Args:
        batch: (c,) s_i.
        size: (c,) |S_i|.

    >>> minibatch_factor(np.array([2, 5]), np.array([5, 5]))
    array([2.66666667,        inf])
    """
    batch = np.minimum(batch, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor: Floats = batch * (size - 1.0) / (size - batch)
    return np.where(batch == size, np.inf, factor)


@dataclass(frozen=True)
class Moments:
    """Mean and variance of the gradient over each of the c correct workers' examples, at one w.

    Attributes:
        mean: (c, d) E_{x~S_i}[∇ℓ(w, x)].
        variance: (c, d) of ∇ℓ(w, x)_j over S_i.
        gradient: (d,) ∇L(w), over all examples of correct workers.

    Example:
        >>> moments = Moments(np.array([[1.0], [3.0]]), np.array([[0.5], [1.0]]), np.array([2.0]))
        >>> moments.variance_bound(), moments.bias.tolist()
        (1.0, [[1.0], [1.0]])
    """

    mean: Floats
    variance: Floats
    gradient: Floats

    @property
    def bias(self) -> Floats:
        """δ_ij = |E_{x~S_i}[∇ℓ(w, x)_j] - ∇L(w)_j| at this w, (c, d) (Assumption 3)."""
        return np.abs(self.mean - self.gradient)

    def variance_bound(self, growth: float = 0.0) -> float:
        """Return the smallest M_w that holds with Q_w = `growth` in Assumption 4.

        Var_ij <= M_w + Q_w·∇L(w)_j² for all i and j.
        """
        excess = self.variance - growth * np.square(self.gradient)
        return max(float(excess.max()), 0.0)

    def statistical_error(
        self, factor: Floats, growth: float = 0.0, among: int | None = None
    ) -> float:
        """Return A_w = 1/c Σ_j Σ_i (M_w/s'_i + δ_ij²), U in the extended paper.

        Args:
            factor: (c,) s'_i.
            growth: Q_w; M_w is then the smallest that holds.
            among: m: in each coordinate the mean is over the m workers with the largest sum, not
                over all c; None: all. Only this bounds the aggregate whenever at least m correct
                workers answer, whichever they are.
        """
        terms = self.variance_bound(growth) / factor[:, None] + np.square(self.bias)
        return float(_mean_of_largest(terms, among).sum())

    def noise_growth(self, factor: Floats, growth: float, among: int | None = None) -> float:
        """Return B_w = 1/c √(Σ_j (Σ_i Q_w/s'_i)²) = √d·Q_w·mean 1/s'_i, V in the extended paper.

        Args:
            factor, growth, among: as for `statistical_error`.
        """
        inverse = _mean_of_largest(1.0 / factor[:, None], among)
        return float(np.sqrt(len(self.gradient)) * growth * inverse[0])

    def in_region(self, delta: float, error: float, growth: float, block: int) -> bool:
        """Return whether w is in the region W: (1 - ΔB_w)·‖∇L(w)‖²_B > Δ·A_w for all blocks B.

        The paper's (5) is about all subsets B, single coordinates among them.

        Args:
            delta, error, growth: Δ, A_w and B_w.
            block: the size of the blocks.
        """
        smallest = np.sort(np.square(self.gradient))[:block].sum()
        return bool((1.0 - delta * growth) * smallest > delta * error)


def _mean_of_largest(terms: Floats, among: int | None) -> Floats:
    """Return the mean of each column, or of its `among` largest values."""
    if among is not None and among < len(terms):
        terms = np.partition(terms, len(terms) - among, axis=0)[len(terms) - among :]
    mean: Floats = terms.mean(axis=0)
    return mean


class Objective:
    """L(w): the mean loss on the examples that the correct workers of a scenario hold.

    Args:
        scenario: determines the world and which of its workers are Byzantine.
        world: the scenario's; None: it is constructed.

    Attributes:
        world: the `World`.
        correct: (c,) the correct workers.
        size: (c,) |S_i|.
        factor: (c,) s'_i.
        curvature: L_j, L and μ; InputError is raised if they are not known for the model.

    Example:
        >>> problem = Objective(Scenario(model="linear[ridge=1.0]", workers=20, byzantine=2))
        >>> len(problem.correct), problem.dimension
        (18, 65)
        >>> problem.excess(problem.initial()) > 0  # L(w_1) - L*
        True
    """

    def __init__(self, scenario: Scenario, world: World | None = None) -> None:
        self.world = World.of(scenario) if world is None else world
        if scenario.workload != "fixed":
            raise InputError(f"workload: {scenario.workload!r}; theory knows s_i only of 'fixed'")
        if scenario.augment != "none":
            raise InputError(
                f"augment: {scenario.augment!r}; theory knows the examples that workers hold, and "
                "not what augmentation makes of them; expected none"
            )
        self.correct = np.flatnonzero(~self.world.byzantine(scenario.byzantine))
        shards = [self.world.shards[i] for i in self.correct]
        self.size = np.array([len(shard) for shard in shards])
        self.factor = minibatch_factor(np.full(len(shards), scenario.batch_size), self.size)
        self._rows = np.concatenate(shards)

    @property
    def dimension(self) -> int:
        """Number of parameters, d."""
        return self.world.model.dimension

    @cached_property
    def _examples(self) -> tuple[Tensor, Tensor]:
        return self.world.examples(self._rows)

    @cached_property
    def curvature(self) -> Curvature:
        """L_j, L and μ."""
        x, y = self._examples
        return curvature(self.world.model, x.numpy(), y.numpy())

    def moments(self, params: Tensor) -> Moments:
        """Return the workers' means and variances of the gradient over their examples.

        Args:
            params: (d,) w.
        """
        x, y = self._examples
        ends = np.cumsum(self.size)
        mean = np.empty((len(self.size), self.dimension))
        variance = np.empty_like(mean)
        first = 0
        with one_thread():
            while first < len(ends):  # as many whole shards as fit
                start = ends[first] - self.size[first]
                limit = start + max(AT_ONCE // self.dimension, 1)
                last = max(int(np.searchsorted(ends, limit, side="right")), first + 1)
                rows = slice(start, ends[last - 1])
                gradients = self.world.gradients(0, params[None], x[rows, None], y[rows, None])
                by_example = gradients[0].double().numpy()
                cuts = ends[first:last] - self.size[first:last] - start
                size = self.size[first:last, None]
                mean[first:last] = np.add.reduceat(by_example, cuts, axis=0) / size
                by_example -= np.repeat(mean[first:last], size[:, 0], axis=0)
                variance[first:last] = np.add.reduceat(np.square(by_example), cuts, axis=0) / size
                first = last
        gradient = self.size @ mean / self.size.sum()
        return Moments(mean, variance, gradient)

    def excess(self, params: Tensor) -> float:
        """Return L(w) - L* of a quadratic loss, in float64.

        Raises:
            InputError: the loss is not quadratic, or its constants are not known.
        """
        constants = self.curvature
        if constants.hessian is None or constants.optimum is None:
            raise InputError("theory: the minimum of this loss has no closed form")
        offset = params.double().numpy() - constants.optimum
        return float(offset @ constants.hessian @ offset / 2.0)

    def loss(self, params: Tensor) -> float:
        """Return L(w)."""
        with one_thread():
            return float(self.world.evaluate(0, params[None], *self._examples)[0][0])

    def initial(self) -> Tensor:
        """Return w_1."""
        return self.world.initial()
