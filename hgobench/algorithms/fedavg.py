"""FedAvg: workers take several steps of their own between two of the server's; and its kin."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor
from hgobench.parameters import REPEATED, finite, positive, whole

from .base import Budgets, Lengths, Work
from .local_steps import local_moves, most_updates
from .places import Order
from .sgd import Sgd


class FedAvg(Sgd):
    """Local SGD: a worker updates parameters of its own, and sends how far it came.

    From w_i = w worker i takes k_i updates w_i <- w_i - η·g_i(w_i), each on a minibatch of its own,
    and sends (w - w_i)/η, the sum of its gradients. k_i is the most of 1 .. K with
    k_i·s_i·d <= λ_i·τ; a worker without time for one does not answer, and what it had computed is
    lost. The unit is an update, not an epoch. Where sending counts against τ, its time comes off
    first.

    With η = γ, the solver gradient_descent and the average the server's parameters become the mean
    of the workers'. Otherwise γ/η is the server's learning rate, and the solver its optimizer:
    ``solver=momentum`` is FedAvgM, ``adam`` and ``adagrad`` are FedOpt's (Reddi et al., ICLR 2021).

    On ragged answers: there are none, an answer is whole. Workers that take more updates send more;
    `FedNova` divides it out.

    Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-Efficient Learning of
    Deep Networks from Decentralized Data", AISTATS 2017.

    Departs from its source: by default all answers count the same. In it they count by their
    workers' examples, as with the scenario's ``weights="claimed"`` and the average.

    Args:
        steps: K >= 1; with 1 it is SGD.
        rate: η > 0, the local learning rate; None: γ, the server's.

    Example:
        >>> import numpy as np
        >>> from hgobench.algorithms import Places
        >>> from hgobench.models import Quadratic
        >>> places = Places(Quadratic(features=4, classes=0), "scalar", "scalar")
        >>> order = Order(places, np.arange(4))
        >>> FedAvg(steps=3).updates(np.array([3.0, 9.0, 99.0]), order)  # by their budgets
        array([1, 2, 3])
    """

    paper: ClassVar[str] = "McMahan et al., AISTATS 2017"
    validity: ClassVar[str] = "steps >= 1; heard workers >= what the rule needs"

    def __init__(self, steps: int = 5, rate: float | None = None) -> None:
        super().__init__()
        self.gradients = whole("steps", steps, least=1, most=REPEATED)
        self.rate = None if rate is None else positive("rate", rate)
        self.remembers = self.gradients > 1

    def updates(self, budget: Budgets, order: Order, upload: Budgets | None = None) -> Lengths:
        """Return k_i, (q,); 1 also for a worker that has no time for it."""
        return most_updates(self, budget, order, upload, sent=len(order))

    def moves(self, work: Work) -> Tensor:
        """Return (w - w_i)/η, (q, d)."""
        return local_moves(work, self.rate or work.learning_rate)


class FedProx(FedAvg):
    """FedAvg whose workers are pulled back: w_i <- w_i - η·(g_i(w_i) + μ·(w_i - w)).

    That is SGD on worker i's loss plus μ/2·‖w_i - w‖². As in its source slow workers take fewer
    updates instead of none.

    On ragged answers: as `FedAvg`.

    Source: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous
    Networks", MLSys 2020.

    Args:
        mu: μ >= 0; with 0 it is FedAvg.
        steps, rate: as for `FedAvg`.

    Example:
        >>> FedProx(mu=0.1).gradients
        5
    """

    paper: ClassVar[str] = "Li et al., MLSys 2020"
    validity: ClassVar[str] = "mu >= 0, steps >= 1; heard workers >= what the rule needs"

    def __init__(self, mu: float = 0.01, steps: int = 5, rate: float | None = None) -> None:
        super().__init__(steps, rate)
        self.mu = finite("mu", mu, least=0.0)

    def moves(self, work: Work) -> Tensor:
        """Return (w - w_i)/η, (q, d)."""
        return local_moves(work, self.rate or work.learning_rate, pull=self.mu)


class FedNova(FedAvg):
    """FedAvg by normalised moves: the server divides what a worker sends by its updates.

    Worker i sends G_i = (w - w_i)/η, the sum of its k_i gradients, and k_i, a number more. The
    server aggregates k̄·G_i/k_i, with k̄ the mean of the k_i that it heard, the effective number of
    updates: so no worker pulls harder for being faster.

    k_i is what a worker claims. The server bounds it by 1 and K, so that a liar, whose move counts
    k̄/k_i times, gains a factor of K at most (``claim_steps`` before an attack; the rule sees the
    answers multiplied).

    On ragged answers: as `FedAvg`.

    Source: Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in
    Heterogeneous Federated Optimization", NeurIPS 2020, with plain SGD as the local solver, where
    ‖a_i‖₁ = k_i and τ_eff = Σ p_i·k_i.

    Departs from its source: p_i = 1/m for m heard workers unless the scenario's `weights` says
    otherwise, and 1/m in τ_eff even so.

    Args:
        steps, rate: as for `FedAvg`.

    Example:
        >>> import numpy as np
        >>> FedNova().scales(np.array([1, 2, 3]))
        array([2.        , 1.        , 0.66666667])
    """

    paper: ClassVar[str] = "Wang et al., NeurIPS 2020"

    def numbers(self, lengths: Lengths, order: Order) -> Lengths:
        """Count the coordinates of each answer, and its number of updates, (q,)."""
        return order.coordinates(lengths) + (lengths > 0)

    def scales(self, updates: Lengths) -> NDArray[np.float64]:
        """Return k̄/k_i, (m,)."""
        return np.asarray(updates.mean() / updates)
