"""What every attack is: what it sees, and what it sends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple, get_args

import numpy as np
from torch import Tensor

from hgobench.masks import keep

Knowledge = Literal["nothing", "own", "honest"]
KNOWLEDGE = get_args(Knowledge)


class Message(NamedTuple):
    """What the Byzantine workers of a round send.

    Attributes:
        values: (b, d) float tensor, a row per Byzantine worker.
        lengths: (b,) int64, how many places of the round's coordinate order each claims to have
            finished; 0: it does not answer.
    """

    values: Tensor
    lengths: np.ndarray


@dataclass(frozen=True)
class View:
    """What an attacker may look at in one round; b of the q sampled workers are Byzantine.

    What lies beyond an attack's knowledge is None here.

    Attributes:
        round: k, from 1.
        sampled, byzantine: q and b.
        dimension: d.
        longest: the most places that an honest worker of this round finishes.
        own_lengths: (b,) how many places the Byzantine workers would finish by the deadline.
        stream: makes `rng`.
        own: (b, d) the gradients that the Byzantine workers would honestly compute.
        honest: (h, d) what the h honest workers that answer send; 0 where they send nothing.
        sent: (h, d) bool, which entries of them they send; None: all.
    """

    round: int
    sampled: int
    byzantine: int
    dimension: int
    longest: int
    own_lengths: np.ndarray
    stream: Callable[[], np.random.Generator]
    own: Tensor | None = None
    honest: Tensor | None = None
    sent: Tensor | None = None

    @cached_property
    def rng(self) -> np.random.Generator:
        """Return the draws of this round's attackers, the same for every cell of a world."""
        return self.stream()

    def require_own(self) -> Tensor:
        """Return `own`.

        Raises:
            PermissionError: the attack's `sees` does not include it.
        """
        if self.own is None:
            raise PermissionError("the attack looks at own gradients; its `sees` does not say so")
        return self.own

    def require_honest(self) -> Tensor:
        """Return `honest`.

        Raises:
            PermissionError: the attack's `sees` does not include it.
        """
        if self.honest is None:
            raise PermissionError("the attack looks at honest gradients; its `sees` forbids it")
        return self.honest

    def mean(self) -> Tensor:
        """Return μ, (d,): the mean of what honest workers send; 0 where none sends."""
        return self._average(self.require_honest())

    def std(self) -> Tensor:
        """Return σ, (d,): the population standard deviation of what honest workers send."""
        return self._average((self.require_honest() - self.mean()).square()).sqrt()

    @cached_property
    def _senders(self) -> Tensor:
        assert self.sent is not None
        return self.sent.sum(dim=0).clamp_min(1)

    def _average(self, values: Tensor) -> Tensor:
        if self.sent is None:
            return values.sum(dim=0) / max(len(values), 1)
        return keep(values, self.sent).sum(dim=0) / self._senders


class Attack(ABC):
    """What the Byzantine workers do.

    A subclass states `sees` and writes `values`; it may also choose `lengths`.

    Attributes:
        sees: ``"nothing"``: neither data nor messages; ``"own"``: the Byzantine workers' own data
            and gradients; ``"honest"``: also all that honest workers send in the round, before
            the server has it (omniscient, colluding). An instance may need less than its class.
    """

    sees: Knowledge
    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    validity: ClassVar[str] = "1 <= f < n/2"

    def __repr__(self) -> str:
        parameters = {name: value for name, value in vars(self).items() if name != "sees"}
        listed = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
        return f"{type(self).__name__}({listed})"

    def __call__(self, view: View) -> Message:
        """Return what the b Byzantine workers send, and the lengths that they claim."""
        values = self.values(view)
        if values.ndim == 1:
            values = values.expand(view.byzantine, -1)
        return Message(values, self.lengths(view))

    @abstractmethod
    def values(self, view: View) -> Tensor:
        """Return the values, (b, d), or (d,) if all send the same."""

    def lengths(self, view: View) -> np.ndarray:
        """Return the claimed lengths, (b,): by default as long as the longest honest answer."""
        return np.full(view.byzantine, view.longest, dtype=np.int64)
