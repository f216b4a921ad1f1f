"""Attacks that raise the loss of the model that the server steps to, round by round."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive
from hgobench.protocol.messages import Message

from .base import Attack, View
from .search import log_grid

SMALLEST, LARGEST = 0.01, 100.0  # strengths of the grid that `fraction` compares with


class Adaptive(Attack):
    """The Byzantine workers try messages on the server and send one after which the loss is large.

    The objective of round k is

        L(w_k + share·(w_{k+1} - w_k)),

    w_{k+1} the model that the server would step to, with its own rule, memory, coins and solver, L
    the loss on training examples that the Byzantine workers hold (see `View.stepped`, `View.loss`).
    With share = 1 it is the loss of the stepped model. But where learning rates are large a step
    overshoots, and the loss after it says little about where it leads: it may be large after a
    step without any attack. What a tenth of the step does tells more, and does more harm in
    the end. A subclass says which messages are tried.

    Args:
        share: of the step, > 0.
    """

    sees = "server"
    control = "values, lengths"

    def __init__(self, share: float = 0.1) -> None:
        self.share = positive("share", share)

    @abstractmethod
    def best(self, view: View) -> Message:
        """Return the best message that was found."""

    def __call__(self, view: View) -> Message:
        """Send the best."""
        return self.best(view)

    def values(self, view: View) -> Tensor:
        """Return the values alone."""
        return self(view).values

    def losses(self, view: View, messages: Iterable[Message]) -> Tensor:
        """Return the objective of messages, (m,) float64: each calls the server's rule once."""
        model = view.require_model()
        stepped = torch.stack([view.stepped(message) for message in messages])
        return view.loss(model + self.share * (stepped - model))

    def fraction(self, view: View, per_decade: int = 500) -> float:
        """Return what share of the rise in loss that a dense grid reaches the attack reaches.

        The grid: ε·μ and μ + z·s·σ, signs s all +1 or random, with strengths of both signs over
        four decades. A rise is one above the loss after a round in which attackers behave. 1 or
        more: all.
        """
        mean, std = view.mean(), view.std()
        lengths = Attack.lengths(self, view)
        ways = ((0.0 * mean, mean), (mean, std), (mean, view.random_signs().to(std) * std))
        tried = [
            Message((start + x * p).expand(view.byzantine, -1), lengths)
            for start, p in ways
            for x in log_grid(SMALLEST, LARGEST, per_decade).tolist()
        ]
        honest = Message(view.require_own(), view.own_lengths)
        usual, reached, *grid = self.losses(view, [honest, self.best(view), *tried]).tolist()
        most = max(grid) - usual
        return (reached - usual) / most if most > 0 else 1.0
