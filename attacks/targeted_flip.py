"""Targeted flip: honest gradients of data in which one class is called another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hgobench.lazy import Tensor
from hgobench.parameters import whole

from .base import Attack, Facts, require_classes

if TYPE_CHECKING:
    from hgobench.data.base import Dataset


class TargetedFlip(Attack):
    """The Byzantine workers follow the protocol on poisoned data: class `source` becomes `target`.

    All examples of the source class that they hold are labelled as the target's; others stay. Each
    worker's gradient is that of its own minibatch, as far as its device gets: a worker without
    examples of the source class is honest.

    It succeeds on test examples of the source class that the model takes for the target's.

    On ragged input each worker sends its block of the poisoned gradient: the coordinates that a
    worker does not send in one round it sends in another.

    Args:
        source, target: different classes.

    Raises:
        ValueError: they are not, or, in a run, the data have no such classes.

    What the attacker needs: to change the labels of its own data; nothing else.

    Source: Tolpegin, Truex, Gursoy, Liu, "Data Poisoning Attacks Against Federated Learning
    Systems", ESORICS 2020.
    """

    sees = "own"
    columnwise = True
    colludes = False
    paper = "Tolpegin et al., ESORICS 2020"
    formula = "g_own of (x, target) for (x, source)"
    control = "data"
    poisons = True
    targeted = True

    def __init__(self, source: int = 0, target: int = 1) -> None:
        self.source = whole("source", source, least=0)
        self.target = whole("target", target, least=0)
        if self.source == self.target:
            raise ValueError(f"target: {target}; expected another class than source")

    def fits(self, data: Dataset) -> None:
        """Refuse data that lack one of the classes."""
        self._check(data.classes)

    def poison(self, features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Relabel the source class."""
        self._check(classes)
        return features, labels.masked_fill(labels == self.source, self.target)

    def goal(self, features: Tensor, labels: Tensor, facts: Facts) -> tuple[Tensor, Tensor]:
        """Return the examples of the source class, to be taken for the target's."""
        self._check(facts.classes)
        wanted = features[labels == self.source]
        return wanted, labels.new_full((len(wanted),), self.target)

    def _check(self, classes: int) -> None:
        require_classes(classes, source=self.source, target=self.target)
