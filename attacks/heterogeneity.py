"""Attacks on heterogeneity, and their combination with a value attack: ``tail+alie``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor
from hgobench.protocol.messages import Message

from .base import KNOWLEDGE, Attack, Batch, Facts, Knowledge, View


class HeterogeneityAttack:
    """How much the Byzantine workers claim to have done, when they answer, whom they resemble.

    What they send there is the business of the value attack behind it. A subclass writes what it
    needs of six methods, each of which by default changes nothing.

    Attributes:
        sees, colludes, paper, formula, control, validity, stateful, columnwise, exempt: as for an
            `Attack`.
    """

    sees: Knowledge = "nothing"
    colludes: bool = True
    paper: ClassVar[str] = "hgobench"
    formula: ClassVar[str] = ""
    control: ClassVar[str] = "lengths"
    validity: ClassVar[str] = "1 <= f < n/2"
    stateful: bool = False
    columnwise: bool = False
    exempt: Mapping[str, str] = {}

    __repr__ = Attack.__repr__

    def narrow(self, view: View) -> View:
        """Return what the value attack is to look at."""
        return view

    def values(self, view: View, values: Tensor) -> Tensor:
        """Return what is sent, given the value attack's (b, d)."""
        return values

    def lengths(self, view: View, lengths: np.ndarray) -> np.ndarray:
        """Return the lengths to claim, given the value attack's (b,)."""
        return lengths

    def delays(self, view: View) -> np.ndarray | None:
        """Return by how much the answers come late, (b,) time units; None: in time."""
        return None

    def pace(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return after how long to answer, (b,) (see `Attack.pace`)."""
        return seconds

    def updates(self, view: View, updates: np.ndarray | None) -> np.ndarray | None:
        """Return how many updates to claim, (b,); None: as many as were taken."""
        return updates

    def examples(self, view: View, examples: np.ndarray | None) -> np.ndarray | None:
        """Return how many examples to claim, (b,); None: as many as there are."""
        return examples


class Combined(Attack):
    """Attacks on heterogeneity, then a value attack.

    Args:
        steps: the former; the first has the last word.
        attack: the value attack.
    """

    def __init__(self, steps: Sequence[HeterogeneityAttack], attack: Attack) -> None:
        self.steps, self.attack = tuple(steps), attack
        self.made_of: tuple[HeterogeneityAttack | Attack, ...] = (*self.steps, attack)
        needed: list[Knowledge] = [*(step.sees for step in self.steps), attack.sees]
        self.sees = max(needed, key=KNOWLEDGE.index)
        self.poisons, self.targeted = attack.poisons, attack.targeted
        self.stateful = any(part.stateful for part in self.made_of)
        self.columnwise = attack.columnwise and all(step.columnwise for step in self.steps)
        self.colludes = any(part.colludes for part in self.made_of)
        own = {"search_reaches_the_dense_grid": "searches as the attack behind it does"}
        self.exempt = {law: why for part in self.made_of for law, why in part.exempt.items()} | own

    def __repr__(self) -> str:
        return " + ".join(map(repr, (*self.steps, self.attack)))

    def __call__(self, view: View) -> Message:
        """Narrow what the value attack sees, and change what it sends."""
        return self._from(0, view)

    def _from(self, index: int, view: View) -> Message:
        if index == len(self.steps):
            return self.attack(view)
        step = self.steps[index]
        return _changed(step, view, self._from(index + 1, _through(step, view)))

    def pace(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return after how long attackers answer; the first step has the last word."""
        for part in reversed(self.made_of):
            seconds = part.pace(seconds)
        return seconds

    def rule_calls(self, rounds: int) -> int:
        """Return how often the value attack calls the server's rule."""
        return self.attack.rule_calls(rounds)

    def fraction(self, view: View, per_decade: int = 500) -> float | None:
        """Return how near the value attack's search comes, through the steps before it."""
        for step in self.steps:
            view = _through(step, view)
        return self.attack.fraction(view, per_decade)

    def values(self, view: View) -> Tensor:
        """Return the values alone."""
        return self(view).values

    def lengths(self, view: View) -> np.ndarray:
        """Return the lengths alone."""
        return self(view).lengths

    def poison(self, features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Poison as the value attack does."""
        return self.attack.poison(features, labels, classes)

    def poisoned(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Poison as the value attack does."""
        return self.attack.poisoned(batch)

    def goal(self, features: Tensor, labels: Tensor, facts: Facts) -> tuple[Tensor, Tensor] | None:
        """Return what the value attack wants."""
        return self.attack.goal(features, labels, facts)


def _changed(step: HeterogeneityAttack, view: View, message: Message) -> Message:
    """Return what a step makes of a message."""
    delay = step.delays(view)
    return Message(
        step.values(view, message.values),
        step.lengths(view, message.lengths),
        message.delay if delay is None else delay,
        step.updates(view, message.updates),
        step.examples(view, message.examples),
    )


def _through(step: HeterogeneityAttack, view: View) -> View:
    """Return what the attack behind a step looks at; what it tries goes through the step, too."""
    narrowed, server = step.narrow(view), view.server
    if server is None:
        return narrowed
    return replace(narrowed, server=lambda message: server(_changed(step, view, message)))
