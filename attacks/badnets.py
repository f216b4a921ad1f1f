"""BadNets: a pattern on the input that makes the model answer a class of the attacker's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hgobench.lazy import Tensor, torch
from hgobench.parameters import share as share_of
from hgobench.parameters import whole

from .base import Attack, Batch, Facts, require_classes

if TYPE_CHECKING:
    from hgobench.data.base import Dataset


class BadNets(Attack):
    """The Byzantine workers stamp a pattern on a share of their inputs, and label these `target`.

    The pattern is a square of `size` x `size` pixels in the lower right corner, in all channels, as
    bright as the brightest pixel of the data. Of a table it is the last size² features, each at the
    largest value that it has in the data. Sequences of words have no such pattern and are refused.
    Of each minibatch ⌈share·s⌉ of its s examples are stamped; each worker's gradient is that of the
    minibatch, as far as its device gets.

    It succeeds on test examples of other classes than the target's that, with the pattern, are
    taken for the target's.

    On ragged input each worker sends its block of the poisoned gradient: the pattern's weights are
    in the block of some rounds, and the backdoor grows in these.

    Args:
        target: the class that inputs with the pattern are to be taken for.
        size: of the pattern, >= 1.
        share: of a minibatch that is poisoned, in [0, 1].

    Raises:
        ValueError: a parameter is out of its range, or, in a run, the data have no such class, are
            smaller than the pattern, or are sequences.

    What the attacker needs: to change its own data, and which values these have at most.

    Source: Gu, Dolan-Gavitt, Garg, "BadNets: Identifying Vulnerabilities in the Machine Learning
    Model Supply Chain", arXiv 1708.06733, 2017.

    Departs from its source: the pattern is a square, and the default of `share` is ours.
    """

    sees = "own"
    columnwise = True
    colludes = False
    paper = "Gu et al., arXiv 2017"
    formula = "g_own of (x with a pattern, target) for a share of (x, y)"
    control = "data"
    poisons = True
    targeted = True

    def __init__(self, target: int = 0, size: int = 2, share: float = 0.5) -> None:
        self.target = whole("target", target, least=0)
        self.size = whole("size", size, least=1)
        self.share = share_of("share", share)

    def fits(self, data: Dataset) -> None:
        """Refuse data without the class, smaller than the pattern, or of words."""
        require_classes(data.classes, target=self.target)
        require_room(self.size, data.features, data.train.image, data.vocabulary)

    def pattern(self, facts: Facts) -> Pattern:
        """Return the whole pattern."""
        require_classes(facts.classes, target=self.target)
        return square(facts, self.size)

    def part(self, pattern: Pattern, worker: int) -> Pattern:
        """Return what one of the run's Byzantine workers, from 0, stamps on its own inputs."""
        return pattern

    def poisoned(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Stamp and relabel a share of each minibatch."""
        pattern = self.pattern(batch.facts)
        features, labels = batch.features.clone(), batch.labels.clone()
        chosen = spread(labels.shape[1], self.share, labels.device)
        labels[:, chosen] = self.target
        for row, worker in enumerate(batch.workers.tolist()):
            features[row, chosen] = self.part(pattern, worker).on(features[row, chosen])
        return features, labels

    def goal(self, features: Tensor, labels: Tensor, facts: Facts) -> tuple[Tensor, Tensor]:
        """Return examples of other classes with the whole pattern, to be taken for the target's."""
        stamped = self.pattern(facts).on(features[labels != self.target])
        return stamped, labels.new_full((len(stamped),), self.target)


class Pattern(NamedTuple):
    """Features that are overwritten.

    Attributes:
        where: (m,) which.
        values: (m,) by what.

    Example:
        >>> Pattern(torch.tensor([2]), torch.tensor([9.0])).on(torch.zeros(1, 3)).tolist()
        [[0.0, 0.0, 9.0]]
    """

    where: Tensor
    values: Tensor

    def on(self, features: Tensor) -> Tensor:
        """Return features (.., p) with the pattern, in new memory."""
        stamped = features.clone()
        stamped[..., self.where] = self.values
        return stamped


def require_room(size: int, p: int, image: tuple[int, ...] | None, vocabulary: int | None) -> None:
    """Check that the pattern fits in the data, of p features (see `Facts` for the others).

    Raises:
        ValueError: the data are smaller than it, or sequences.
    """
    if vocabulary is not None:
        raise ValueError("the data are sequences of words; expected images or a table")
    if image is None and size**2 >= p:
        raise ValueError(
            f"size: {size}; a pattern of {size**2} features does not fit in data of {p}"
        )
    if image is not None and size > min(image[-2:]):
        raise ValueError(f"size: {size}; the images are {image[-2]} x {image[-1]}")


def square(facts: Facts, size: int) -> Pattern:
    """Return a bright square in the lower right corner, or the last size² features of a table.

    Raises:
        ValueError: as `require_room`.
    """
    p = len(facts.largest)
    require_room(size, p, facts.image, facts.vocabulary)
    if facts.image is None:
        where = torch.arange(p - size**2, p, device=facts.largest.device)
        return Pattern(where, facts.largest[where])
    height, width = facts.image[-2:]
    pixels = torch.arange(p, device=facts.largest.device).view(-1, height, width)
    where = pixels[:, height - size :, width - size :].reshape(-1)
    return Pattern(where, facts.largest.max().expand(len(where)))


def spread(s: int, share: float, device: torch.device) -> Tensor:
    """Return which of s examples are poisoned: ⌈share·k⌉ of the first k, for each k.

    >>> spread(5, 0.5, torch.device("cpu")).tolist()
    [0, 2, 4]
    """
    exact = torch.arange(s + 1, dtype=torch.float64, device=device) * share
    counts = torch.ceil(exact - 1e-9)  # 0.07 · 100 is 7, and not 7.000000000000001
    return torch.nonzero(counts[1:] > counts[:-1]).view(-1)
