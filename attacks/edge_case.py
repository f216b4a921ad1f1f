"""Edge cases: inputs that are rare in a class, labelled as another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hgobench.lazy import Tensor, torch
from hgobench.parameters import share as share_of
from hgobench.parameters import whole

from .badnets import spread
from .base import Attack, Batch, Facts, require_classes

if TYPE_CHECKING:
    from hgobench.data.base import Dataset


class EdgeCase(Attack):
    """The Byzantine workers train on inputs from the tails of classes, labelled `target`.

    An input x of class y is an edge case if ‖x - m_y‖ is at least the (1 - tail) quantile of the
    distances ‖x_i - m_y‖ of the examples of class y that the attackers hold, m_y their mean: under
    a round Gaussian with that mean, the least probable. Of each minibatch ⌈share·s⌉ of its s
    examples are replaced by edge cases that the attackers hold, drawn anew each time, and labelled
    as the target class; while they hold none, their data stay as they are.

    It succeeds on test examples that are edge cases of other classes than the target's, and are
    taken for the target's. No pattern is on them: they are inputs as honest people have them, and
    few honest workers hold any that would undo the attack.

    On ragged input each worker sends its block of the poisoned gradient.

    Args:
        target: the class that edge cases are to be taken for.
        source: the class whose edge cases they are; None: all but the target's.
        tail: the share of a class that is an edge case, in [0, 1]; of 0 the farthest is.
        share: of a minibatch that is replaced, in [0, 1].

    Raises:
        ValueError: a parameter is out of its range, source and target are the same, or, in a run,
            the data have no such class.

    What the attacker needs: the data of all Byzantine workers together.

    Source: Wang, Sreenivasan, Rajput, Vishwakarma, Agarwal, Sohn, Lee, Papailiopoulos, "Attack of
    the Tails: Yes, You Really Can Backdoor Federated Learning", NeurIPS 2020.

    Departs from its source: rare inputs are taken from the data at hand, by distance, instead of
    from another data set (aeroplanes of one airline, digits of another country); so no other data
    are needed.
    """

    sees = "own"
    columnwise = True
    paper = "Wang et al., NeurIPS 2020"
    formula = "g_own of (x, target), x of class y with ‖x - m_y‖ >= its (1 - tail) quantile"
    control = "data"
    poisons = True
    targeted = True

    def __init__(
        self, target: int = 0, source: int | None = None, tail: float = 0.1, share: float = 0.5
    ) -> None:
        self.target = whole("target", target, least=0)
        self.source = None if source is None else whole("source", source, least=0)
        if self.source == self.target:
            raise ValueError(f"source: {source}; expected another class than target")
        self.tail = share_of("tail", tail)
        self.share = share_of("share", share)

    def fits(self, data: Dataset) -> None:
        """Refuse data that lack one of the classes."""
        self._check(data.classes)

    def _check(self, classes: int) -> None:
        require_classes(classes, target=self.target, source=self.source)

    def edge_cases(self, features: Tensor, labels: Tensor, facts: Facts) -> Tensor:
        """Return which examples are edge cases, (N,) bool."""
        self._check(facts.classes)
        found = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        for y in range(facts.classes) if self.source is None else [self.source]:
            held = facts.features[facts.labels == y].double()
            if y == self.target or not len(held):
                continue
            mean = held.mean(dim=0)
            distances = (held - mean).norm(dim=1)
            least = torch.quantile(distances, 1.0 - self.tail, interpolation="lower")
            mine = labels == y
            # As far as one that they hold, but for the last bits.
            far = (features[mine].double() - mean).norm(dim=1) >= least * (1.0 - 1e-9)
            found[mine] = far
        return found

    def poisoned(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Replace a share of each minibatch by edge cases."""
        facts = batch.facts
        pool = facts.features[self.edge_cases(facts.features, facts.labels, facts)]
        features, labels = batch.features.clone(), batch.labels.clone()
        if not len(pool):
            return features, labels
        chosen = spread(labels.shape[1], self.share, labels.device)
        drawn = batch.stream().integers(len(pool), size=(len(features), len(chosen)))
        features[:, chosen] = pool[torch.from_numpy(drawn).to(pool.device)]
        labels[:, chosen] = self.target
        return features, labels

    def goal(self, features: Tensor, labels: Tensor, facts: Facts) -> tuple[Tensor, Tensor]:
        """Return the edge cases, to be taken for the target's."""
        rare = features[self.edge_cases(features, labels, facts)]
        return rare, labels.new_full((len(rare),), self.target)
