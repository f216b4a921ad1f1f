"""The loss that correct workers minimise, and how far each one's own gradients are from it."""

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
    """Return s'_i = s_i·(|S_i| - 1)/(|S_i| - s_i): the mean of s_i of |S_i| examples, drawn without
    replacement, has the s'_i-th part of their variance; inf where all are drawn.

    Args:
        batch: (c,) s_i.
        size: (c,) |S_i|.
    """
    batch = np.minimum(batch, size)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor: Floats = batch * (size - 1.0) / (size - batch)
    return np.where(batch == size, np.inf, factor)


@dataclass(frozen=True)
class Moments:
    """What the c correct workers' examples say of the gradient at one w.

    Attributes:
        mean: (c, d) E_{x~S_i}[∇ℓ(w, x)].
        variance: (c, d) of ∇ℓ(w, x)_j over S_i.
        gradient: (d,) ∇L(w), over all examples of correct workers.
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
            growth: Q_w, to which M_w is the smallest that holds.
            among: m: for each coordinate the mean over those m workers where the sum is largest
                takes the place of the mean over all c. Only so it bounds what the server
                aggregates wherever at least m correct workers answer, whoever they are.
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
        """Say whether w is in the region W: (1 - ΔB_w)·‖∇L(w)‖²_B > Δ·A_w for all blocks B.

        Over all subsets B, as the paper's (5) has it, a single coordinate is among them.

        Args:
            delta, error, growth: Δ, A_w and B_w.
            block: the size of the blocks.
        """
        smallest = np.sort(np.square(self.gradient))[:block].sum()
        return bool((1.0 - delta * growth) * smallest > delta * error)


def _mean_of_largest(terms: Floats, among: int | None) -> Floats:
    """Average each column, or its `among` largest values."""
    if among is not None and among < len(terms):
        terms = np.partition(terms, len(terms) - among, axis=0)[len(terms) - among :]
    mean: Floats = terms.mean(axis=0)
    return mean


class Objective:
    """L(w): the mean loss on the examples that the correct workers of a scenario hold.

    Args:
        scenario: its world, and who of its workers is Byzantine, are what counts.
        world: the scenario's, if it is at hand.

    Attributes:
        world: the `World`.
        correct: (c,) the correct workers.
        size: (c,) |S_i|.
        factor: (c,) s'_i.
        curvature: L_j, L and μ; asking for it raises InputError where none are known.
    """

    def __init__(self, scenario: Scenario, world: World | None = None) -> None:
        self.world = World.of(scenario) if world is None else world
        if scenario.workload != "fixed":
            raise InputError(f"workload: {scenario.workload!r}; theory knows s_i only of 'fixed'")
        self.correct = np.flatnonzero(~self.world.byzantine(scenario.byzantine))
        shards = [self.world.shards[i] for i in self.correct]
        self.size = np.array([len(shard) for shard in shards])
        self.factor = minibatch_factor(np.full(len(shards), scenario.batch_size), self.size)
        self._rows = np.concatenate(shards)

    @property
    def dimension(self) -> int:
        """How many parameters there are, d."""
        return self.world.model.dimension

    @cached_property
    def _examples(self) -> tuple[Tensor, Tensor]:
        rows = self.world.to_device(self._rows)
        return self.world.features[rows], self.world.labels[rows]

    @cached_property
    def curvature(self) -> Curvature:
        """Return L_j, L and μ."""
        x, y = self._examples
        return curvature(self.world.model, x.numpy(), y.numpy())

    def moments(self, params: Tensor) -> Moments:
        """Return the workers' means and variances of the gradient, from that of every example.

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
                most = start + max(AT_ONCE // self.dimension, 1)
                last = max(int(np.searchsorted(ends, most, side="right")), first + 1)
                rows = slice(start, ends[last - 1])
                found = self.world.gradients(0, params[None], x[rows, None], y[rows, None])
                each = found[0].double().numpy()
                cuts = ends[first:last] - self.size[first:last] - start
                size = self.size[first:last, None]
                mean[first:last] = np.add.reduceat(each, cuts, axis=0) / size
                each -= np.repeat(mean[first:last], size[:, 0], axis=0)
                variance[first:last] = np.add.reduceat(np.square(each), cuts, axis=0) / size
                first = last
        gradient = self.size @ mean / self.size.sum()
        return Moments(mean, variance, gradient)

    def excess(self, params: Tensor) -> float:
        """Return L(w) - L* of a quadratic loss, in float64.

        Raises:
            InputError: the loss is none, or its constants are not known.
        """
        known = self.curvature
        if known.hessian is None or known.optimum is None:
            raise InputError("theory: the minimum of this loss has no closed form")
        away = params.double().numpy() - known.optimum
        return float(away @ known.hessian @ away / 2.0)

    def loss(self, params: Tensor) -> float:
        """Return L(w)."""
        with one_thread():
            return float(self.world.evaluate(0, params[None], *self._examples)[0][0])

    def initial(self) -> Tensor:
        """Return w_1."""
        return self.world.initial()
