"""What a server remembers of its workers: the last value that each sent of each coordinate."""

from __future__ import annotations

import numpy as np

from hgobench.lazy import torch
from hgobench.parameters import one_of, whole

from .base import Arrived, Held
from .momentum import WithMomentum


class LastValues:
    """The last value of every coordinate that each worker sent, while it is young enough.

    u_ij is what worker i sent of coordinate j when it last sent it, in round t_ij <= k. The server
    aggregates, in round k, {u_ij : k - t_ij <= age} for each coordinate j of which there are v or
    more, whichever workers were asked in this round and whatever they sent of it.

    Args:
        age: the most rounds that a value is used after the one in which it came, >= 0; with 0 the
            server remembers nothing; None: a value is used until the worker sends a newer one.

    Example:
        >>> from hgobench.algorithms.memory import LastValues
        >>> last = LastValues(age=1)
        >>> first = Arrived.whole(1, [4, 7], torch.tensor([[1.0], [2.0]]))
        >>> then = Arrived.whole(2, [7], torch.tensor([[5.0]]))
        >>> held = last(then, last(first, None))
        >>> held.workers, held.values.tolist(), held.present
        (array([7, 4]), [[5.0], [1.0]], None)
        >>> last(Arrived.whole(3, [7], torch.tensor([[6.0]])), held).present.tolist()
        [[True], [False]]
    """

    def __init__(self, age: int | None = None) -> None:
        self.age = age

    def __call__(self, arrived: Arrived, before: Held | None) -> Held:
        """Return what the server holds, of those asked in this round and of all asked before."""
        k, sent = arrived.round, arrived.sent
        mine, others = (before or Held.nothing(arrived.values)).of(arrived.workers)
        assert mine.rounds is not None
        assert others.rounds is not None
        values, rounds = arrived.values, torch.full_like(mine.rounds, k)
        if sent is not None:
            values = torch.where(sent, values, mine.values)
            rounds = torch.where(sent, rounds, mine.rounds)
        rounds = torch.cat([rounds, others.rounds])
        young = rounds > (0 if self.age is None else max(k - 1 - self.age, 0))
        return Held(
            np.concatenate([mine.workers, others.workers]),
            torch.cat([values, others.values]),
            None if bool(young.all()) else young,
            rounds,
        )


class WithMemory(WithMomentum):
    """An algorithm whose server may remember what workers sent in earlier rounds.

    Args:
        momentum: as for `WithMomentum`.
        memory: ``"none"``: the server aggregates what arrived in the round; ``"last"``: the last
            value of each coordinate that each worker sent (see `LastValues`).
        age: of values that are used, in rounds, >= 0; None: any. That needs ``memory=last``.

    Raises:
        ValueError: a parameter is out of its range, or an age without a memory.
    """

    def __init__(self, momentum: float = 0.0, memory: str = "none", age: int | None = None) -> None:
        super().__init__(momentum)
        if one_of("memory", memory, "none", "last") == "last":
            self.keeps = True
        self.age = None if age is None else whole("age", age, least=0)
        if age is not None and not self.keeps:
            raise ValueError(f"age: {age!r}; expected memory=last, which holds values to be old")

    def held(self, arrived: Arrived, before: Held | None) -> Held:
        """Return the last values that workers sent."""
        return LastValues(self.age)(arrived, before)

    def pool(self, sampled: int, workers: int) -> int:
        """Return q without memory; else all that may have been asked within an age, n at most."""
        if not self.keeps or self.age is None:
            return workers if self.keeps else sampled
        return min(workers, sampled * (1 + self.age))
