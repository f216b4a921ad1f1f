"""Departures of the HGO authors' code from Algorithm 1, each as a named component.

The components are plug-ins: a figure's suite names them as ``hgobench.paper.quirks:Krum``, and the
core does not know them. Granularity ``feature`` with cost ``unit``, the partition ``shards`` and
the attack's first ten rounds are the core's own parameters.

Source: the authors' public implementation, read and run; nothing of it is copied.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hgobench import aggregators, algorithms, attacks, models
from hgobench.aggregators import Rule, ServerView
from hgobench.aggregators.columns import Columns
from hgobench.algorithms import Order
from hgobench.attacks import View
from hgobench.data import tables
from hgobench.data.base import Dataset, Source, Split, standardised
from hgobench.data.cifar import Cifar10
from hgobench.determinism import stream
from hgobench.hardware import Mix, Population
from hgobench.hardware.fleet import Floats
from hgobench.lazy import Tensor, torch
from hgobench.models.base import ALWAYS, near_zero
from hgobench.parameters import boolean, finite, one_of, positive, whole

SILENT = 1e-9  # the rate of a device that computes nothing; a rate of 0 is refused


class Devices(Mix):
    """Rates as whole numbers: ⌊max(0, N(mean, std²))⌋, the first workers weak, the last powerful.

    They are in the authors' coordinates (rows of ten scalars, weights or scalars) and are not
    scaled with the model.

    Args:
        weak, average, powerful: shares of the workers, summing to 1.
        weak_mean, weak_std, ...: the category's rate and spread.
    """

    def rates(self, population: Population) -> Floats:
        """Draw λ, (n,), in the order of the workers' numbers."""
        mean, std = self.categories(np.arange(population.workers))
        normal = stream(population.seed, "devices").standard_normal(population.workers)
        return np.maximum(np.floor(mean + std * normal), SILENT)


class StaleBias:
    """Workers never receive the bias: they keep that of the initial model.

    The server's bias moves on gradients that are taken at the initial one. Every worker sends all
    of its bias: it is in every block.
    """

    place_of: NDArray[np.int64]
    units: NDArray[np.int64]
    biases: NDArray[np.int64]

    def keep_aside(self, biases: NDArray[np.int64], stale: bool) -> None:
        """Put biases into every block, outside the order of places; note which they are."""
        self.biases, self.stale = biases, boolean("stale_bias", stale)
        self.place_of, self.units = self.place_of.copy(), self.units.copy()
        self.place_of[biases] = ALWAYS
        self.units[:, biases] = ALWAYS
        self._initial = torch.zeros(len(biases))

    def remember(self, params: Tensor) -> Tensor:
        """Note the biases of the initial model, and return the parameters."""
        self._initial = params[self.biases].clone()
        return params

    def as_seen(self, params: Tensor) -> Tensor:
        """Return the parameters, (R, d), that the workers have."""
        if not self.stale:
            return params
        received = params.clone()
        received[:, self.biases] = self._initial
        return received


class Softmax(StaleBias, models.Softmax):
    """Softmax regression with the gradient of the weights summed over a minibatch.

    Args:
        stale_bias: whether workers keep the initial bias.
        examples: how many examples a minibatch has on average, by which the mean gradient of the
            weights, not that of the biases, is multiplied: of 18 slices of 600 examples by 32 the
            last has 56. 1: a mean gradient.
        shared_maximum: whether a minibatch's scores are shifted by the largest of all of them
            before the exponential, and 1e-7 is added to its sum: examples whose scores lie far
            below then seem to belong to no class.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        stale_bias: bool = True,
        examples: float = 100.0 / 3.0,
        shared_maximum: bool = True,
    ) -> None:
        super().__init__(features, classes)
        self.keep_aside(np.flatnonzero(self.place_of == features), stale_bias)
        self.examples = positive("examples", examples)
        self.shared_maximum = boolean("shared_maximum", shared_maximum)

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw weights and biases from N(0, 0.01²)."""
        return self.remember(super().initial(rng))

    def gradients(
        self,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (R, q, d)."""
        gradients_ = super().gradients(self.as_seen(params), x, y, weights, out)
        bias = gradients_[..., self.biases].clone()
        gradients_ *= self.examples
        gradients_[..., self.biases] = bias
        return gradients_

    def probabilities(self, scores: Tensor, batches: int) -> Tensor:
        """Return the classes' probabilities, (R, classes, N), of `batches` minibatches."""
        if not self.shared_maximum:
            return super().probabilities(scores, batches)
        by_batch = scores.reshape(*scores.shape[:2], batches, -1)
        raised = (by_batch - by_batch.amax(dim=(1, 3), keepdim=True)).exp_()
        raised /= raised.sum(dim=1, keepdim=True) + 1e-7
        return raised.reshape(scores.shape)


class FeedForward(StaleBias, models.FeedForward):
    """784-30-10 with sigmoid units and the quadratic loss; everything starts at N(0, 0.01²).

    Args:
        stale_bias: whether workers keep the initial biases.
        hidden: units of the hidden layer.
    """

    def __init__(
        self, features: int, classes: int, stale_bias: bool = True, hidden: int = 30
    ) -> None:
        super().__init__(features, classes, hidden, "sigmoid", "quadratic")
        sizes = np.cumsum([0, hidden * features, hidden, classes * hidden, classes])
        biases = np.r_[sizes[1] : sizes[2], sizes[3] : sizes[4]]
        self.keep_aside(biases, stale_bias)

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw weights and biases from N(0, 0.01²)."""
        return self.remember(near_zero(rng, self.dimension))

    def gradients(
        self,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (R, q, d)."""
        return super().gradients(self.as_seen(params), x, y, weights, out)


class NoBias(models.Model):
    """The bias stays where it starts: its gradient is 0."""

    def gradients(
        self,
        params: Tensor,
        x: Tensor,
        y: Tensor,
        weights: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return (R, q, d), 0 for the bias."""
        gradients_ = super().gradients(params, x, y, weights, out)  # type: ignore[safe-super]
        gradients_[..., -1] = 0.0
        return gradients_


class Logistic(NoBias, models.Logistic):
    """Logistic regression without a bias."""

    def initial(self, rng: np.random.Generator) -> Tensor:
        """Draw the weights from N(0, 0.01²)."""
        params = super().initial(rng)
        params[-1] = 0.0
        return params


class Svm(NoBias, models.Svm):
    """A support vector machine without a bias, and the authors' accuracy.

    Args:
        penalty: C.
        rounded: whether an example counts as right only if its score, rounded to a whole number, is
            its label ±1, so that it lies in (0.5, 1.5) on the right side; else by the sign.
    """

    def __init__(
        self, features: int, classes: int, penalty: float = 1000.0, rounded: bool = True
    ) -> None:
        super().__init__(features, classes, penalty)
        self.rounded = boolean("rounded", rounded)

    def marked(self, params: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, (R,), and which examples count as right, (R, N)."""
        loss, right = super().marked(params, x, y)
        if self.rounded:
            right = self.logits(params, x)[:, 1].round() == 2.0 * y - 1.0
        return loss, right


class Seen(Source):
    """A table whose training examples are its test examples, standardised.

    Args:
        table: ``"boston"`` or ``"breast_cancer"``.
    """

    paper = "the HGO authors' code"
    validity = "no accuracy on it says anything of other examples"

    def __init__(self, table: str = "boston") -> None:
        super().__init__(validation=0)
        self.table = one_of("table", table, "boston", "breast_cancer")

    def load(self) -> Dataset:
        """Load the table, standardised."""
        if self.table == "boston":
            x, y, _ = tables.Boston().table()
            table_ = Split(x, y)
        else:
            from sklearn.datasets import load_breast_cancer

            x, y = load_breast_cancer(return_X_y=True)
            table_ = Split(x.astype(np.float32), y.astype(np.int64))
        (standard,) = standardised(table_, table_)
        classes = 0 if self.table == "boston" else 2
        return Dataset(standard, standard.take(np.arange(0)), standard, classes)


class CenteredCifar(Cifar10):
    """CIFAR-10 with pixels of 0 .. 255 minus the training images' mean, pixel by pixel."""

    def load(self) -> Dataset:
        """Load the images, and subtract their mean."""
        data = super().load()
        mean = data.train.features.mean(axis=0)
        train, validation, test = (
            replace(split, features=np.float32(255) * (split.features - mean))
            for split in (data.train, data.validation, data.test)
        )
        return replace(data, train=train, validation=validation, test=test)


class Sgd(algorithms.Sgd):
    """SGD whose workers are heard if they finish the weights; biases cost nothing.

    Args:
        biases: number of coordinates that cost nothing.
    """

    def __init__(self, biases: int = 10) -> None:
        super().__init__()
        self.biases = whole("biases", biases, least=0)

    def lengths(
        self, budget: NDArray[np.float64], order: Order, upload: NDArray[np.float64] | None = None
    ) -> NDArray[np.int64]:
        """Return all places for the workers that finish, 0 for the others."""
        return np.where(budget >= order.dimension - self.biases, len(order), 0)


class Lie(attacks.Attack):
    """Away from the honest mean by a fixed number of deviations, upwards: μ + z·σ.

    Args:
        z: 10 in the authors' code, where the formula of the paper can't be reached.
    """

    sees = "honest"
    paper = "the HGO authors' code"
    formula = "μ + z·σ"

    def __init__(self, z: float = 10.0) -> None:
        self.z = finite("z", z)

    def values(self, view: View) -> Tensor:
        """Return μ + z·σ for every attacker, (b, d)."""
        return view.mean() + self.z * view.std()


class OracleQuorum(Rule):
    """A rule behind a server that knows how many Byzantine workers it has just sampled.

    The quorum is v = 2b + 1, b their true number in this round, and 1 in the first rounds, in which
    they follow the protocol. Give the scenario ``tolerated=0``: its own quorum is then 1.

    Args:
        start: the first rounds.
    """

    needs = frozenset({"honest"})
    paper = "the HGO authors' code"
    inner = ""

    def __init__(self, *, f: int = 0, scope: aggregators.Scope = "block", start: int = 10) -> None:
        super().__init__(f=f, scope=scope)
        self.start = whole("start", start, least=0)
        self._rule = aggregators.build(self.inner, scope="coordinate") if self.inner else None

    def __call__(
        self, values: Tensor, present: Tensor | None = None, view: ServerView | None = None
    ) -> Tensor:
        """Aggregate the coordinates that a quorum sent; 0 elsewhere."""
        view = view or ServerView()
        honest = view.require_honest(self.name)
        if view.round <= self.start:
            honest = torch.ones_like(honest)
        if present is None:
            present = torch.ones_like(values, dtype=torch.bool)
        quorum = 2 * int((~honest).sum()) + 1
        heard = present.sum(dim=0) >= quorum
        out = torch.zeros_like(values[0])
        if heard.any():
            out[heard] = self.aggregate(values[:, heard], present[:, heard], honest)
        return out

    def aggregate(self, values: Tensor, present: Tensor, honest: Tensor) -> Tensor:
        """Aggregate columns that were all sent by a quorum, (m, b) -> (b,)."""
        assert self._rule is not None
        return self._rule(values, present)

    def of_columns(self, columns: Columns) -> Tensor:
        """Aggregate sorted columns, without a quorum."""
        assert self._rule is not None
        return self._rule.of_columns(columns)


class Average(OracleQuorum):
    """The mean of what was sent."""

    inner = "average"


class Median(OracleQuorum):
    """The median of what was sent."""

    inner = "median"


class Aksel(OracleQuorum):
    """The mean of the values that are as near to the median as the median one."""

    inner = "aksel"


class Krum(OracleQuorum):
    """Krum told f = 0 on all values but the last, and with one neighbour too many.

    Of each coordinate the value with the least sum of squared distances to all others but the
    farthest; the last answer, a Byzantine one if there is any, is neither a candidate nor a
    neighbour; of equals the first. It is in effect the value nearest to the mean.
    """

    def aggregate(self, values: Tensor, present: Tensor, honest: Tensor) -> Tensor:
        """Return the chosen value of each column, (b,)."""
        hostile = (~honest).nonzero()[:, 0]
        last = int(hostile[-1]) if len(hostile) else len(values) - 1
        others = torch.arange(len(values)) != last
        x = values[others].double().masked_fill(~present[others], torch.nan)
        count = (~x.isnan()).sum(dim=0)
        total, square = x.nansum(dim=0), x.square().nansum(dim=0)
        low = x.nan_to_num(torch.inf).amin(dim=0)
        high = x.nan_to_num(-torch.inf).amax(dim=0)
        farthest = torch.maximum((x - low).square(), (x - high).square())
        score = count * x.square() - 2.0 * x * total + square - farthest
        score = score.nan_to_num(torch.inf)
        # Of two or three values two always tie, and the first is chosen, despite rounding.
        tied = score <= score.amin(dim=0) + 1e-12 * (
            square + count * (low.square() + high.square())
        )
        index = tied.to(torch.uint8).argmax(dim=0)
        answer = x.gather(0, index[None])[0]
        # If only the last worker sent a coordinate, there is no other value.
        return torch.where(count > 0, answer, values[last].double()).to(values)
