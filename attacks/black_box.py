"""A search that knows nothing of attacks: are those that do any good?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch
from hgobench.parameters import REPEATED, whole
from hgobench.protocol.messages import Message

from .adaptive import Adaptive
from .base import View

SIGNS = 3  # vectors of random signs
STEP = 1.0  # the standard deviation of a search's first coefficients
LARGEST_LOSS = 1e30  # what is larger counts as this
LARGEST_COEFFICIENT = 1e32  # which cmaes refuses: a search that has come so far has ended


class BlackBox(Adaptive):
    """All Byzantine workers send Σ_j c_j·B_j with coefficients c that an evolution strategy finds.

    B are μ, σ, three times s·σ with random signs s (drawn once per run), sign(μ) at σ's length and
    the server's last step at μ's. CMA-ES, which asks for nothing but values, looks for the c with
    the largest loss L(w_k + share·(w_{k+1} - w_k)) on training examples that the Byzantine workers
    hold (see `Adaptive`). Of the rounds in which it attacks it searches in the first and in every
    `every`-th after that, and starts from the best c so far, at first from μ itself; in between it
    sends what the last search found. The searches that are to come share what is left of `calls`
    evenly.

    It is a check of other attacks, and no strong one: whatever it beats is too weak.

    Args:
        calls: how often it tries a message on the server in a run, >= 1.
        every: how many rounds pass from search to search, >= 1.
        share: of the server's step, > 0; 1: the loss of the model that it steps to.

    Raises:
        ValueError: a parameter is out of its range.

    What the attacker needs: all honest messages, the server's rule, its state, its coins and its
    step, training examples of its own, and how many rounds there are.

    Source: CMA-ES: Hansen, Ostermeier, "Completely Derandomized Self-Adaptation in Evolution
    Strategies", Evolutionary Computation 2001; the implementation is the package cmaes.
    """

    paper = "Hansen, Ostermeier, Evolutionary Computation 2001"
    formula = "Σ_j c_j·B_j, B of μ, σ, ±σ, sign(μ), w_k - w_{k-1}; c by CMA-ES"
    validity = "1 <= f < n/2"
    control = "values"
    stateful = True
    exempt = {"search_reaches_the_dense_grid": "promises nothing: a check of other attacks"}

    def __init__(self, calls: int = 500, every: int = 10, share: float = 0.1) -> None:
        super().__init__(share)
        self.calls = whole("calls", calls, least=1, most=REPEATED)
        self.every = whole("every", every, least=1)
        self._left = self.calls
        self._attacked = 0  # rounds so far
        self._coefficients = np.zeros(4 + SIGNS)
        self._coefficients[0] = 1.0

    def rule_calls(self, rounds: int) -> int:
        """Return how often it calls the server's rule in so many rounds, at most."""
        return self.calls

    def best(self, view: View) -> Message:
        """Search, if it is time; send what was found last."""
        basis = self.basis(view)
        if self._attacked % self.every == 0:
            to_come = math.ceil(max(view.rounds - view.round + 1, 1) / self.every)
            budget = math.ceil(self._left / to_come)
            self._left -= budget
            self._coefficients = self._search(view, basis, budget)
        self._attacked += 1
        return self._message(view, basis, self._coefficients)

    @staticmethod
    def basis(view: View) -> Tensor:
        """Return B, (m, d) float64."""
        mean, std = view.centre(), view.std().double()
        signed = [std * view.random_signs(i).to(std) for i in range(SIGNS)]
        rows = [mean, std, *signed]
        for vector, like in ((mean.sign(), std), (view.require_last_step().double(), mean)):
            length = float(vector.norm())
            rows.append(vector * (float(like.norm()) / length) if length > 0 else vector)
        return torch.stack(rows)

    def _message(self, view: View, basis: Tensor, c: NDArray[np.float64]) -> Message:
        values = (torch.from_numpy(c).to(basis) @ basis).to(view.require_honest())
        return Message(values.expand(view.byzantine, -1), self.lengths(view))

    def _search(self, view: View, basis: Tensor, budget: int) -> NDArray[np.float64]:
        """Return the best coefficients of a search with so many calls of the rule."""
        from cmaes import CMA

        def ask(candidates: list[NDArray[np.float64]]) -> NDArray[np.float64]:
            messages = [self._message(view, basis, c) for c in candidates]
            losses: NDArray[np.float64] = self.losses(view, messages).cpu().numpy()
            return np.minimum(losses, LARGEST_LOSS)

        best = self._coefficients
        if budget < 1:
            return best
        (most,) = ask([best])
        budget -= 1
        seed = int(view.rng.integers(2**31))
        most_of_any = np.nextafter(LARGEST_COEFFICIENT, 0.0)
        strategy = CMA(mean=best.clip(-most_of_any, most_of_any), sigma=STEP, seed=seed)
        while budget > 0:
            some = [strategy.ask() for _ in range(strategy.population_size)]
            losses = ask(some[:budget])
            budget -= len(losses)
            if losses.max() > most:
                best, most = some[int(losses.argmax())], losses.max()
            if not (np.abs(some) < LARGEST_COEFFICIENT).all():
                break
            if len(losses) == strategy.population_size:
                strategy.tell([(c, -float(x)) for c, x in zip(some, losses, strict=True)])
        return best
