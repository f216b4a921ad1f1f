"""Stale updates: an old gradient sent again."""

from __future__ import annotations

from hgobench.lazy import Tensor, torch
from hgobench.parameters import whole

from .base import Attack, View


class Stale(Attack):
    """Each Byzantine worker replays its own gradient of at least `age` rounds ago.

    It sends the youngest that is old enough, or the oldest that it has; asked for the first time,
    its fresh one. Such a worker saves its work, and drags the model back to where it was.

    Args:
        age: in rounds, >= 1; None: the first gradient that it computed, for ever.

    Raises:
        ValueError: a parameter is out of its range, or no such word.

    What the attacker needs: its own gradients.

    Source: the lazy worker of FedML; stale gradients as in Damaskinos et al., "Asynchronous
    Byzantine Machine Learning (the case of SGD)", ICML 2018.
    """

    sees = "own"
    colludes = False
    paper = "Damaskinos et al., ICML 2018"
    formula = "g_own of round k - age or before"
    stateful = True

    def __init__(self, age: int | None = None) -> None:
        self.age = None if age is None else whole("age", age, least=1)
        self._kept: dict[int, dict[int, Tensor]] = {}  # worker -> round -> gradient

    def values(self, view: View) -> Tensor:
        """Replay, and keep what may be replayed later."""
        sent = []
        for worker, gradient in zip(view.workers.tolist(), view.require_own(), strict=True):
            history = self._kept.setdefault(worker, {})
            if self.age is None:
                history = self._kept[worker] = history or {view.round: gradient.clone()}
            else:
                history[view.round] = gradient.clone()
                old = [k for k in history if k <= view.round - self.age]
                for k in old[:-1]:
                    del history[k]
            sent.append(next(iter(history.values())))
        return torch.stack(sent)
