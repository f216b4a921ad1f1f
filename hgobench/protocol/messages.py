"""What workers send: the first places of a round's order, and what arrives at the server."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench.lazy import Tensor, torch

from .weights import MOST_EXAMPLES

NUMBER_BYTES = 4  # a coordinate travels as a float32
SEED_BYTES = 8  # the server announces a round's order by the seed of its permutation


class Message(NamedTuple):
    """What the Byzantine workers of a round send.

    Attributes:
        values: (b, d) float tensor, a row per Byzantine worker.
        lengths: (b,) int64, how many places of the round's coordinate order each claims to have
            finished; 0: it does not answer.
        delay: (b,) >= 0, time units by which the answers come after the deadline (they are not
            heard then) or, if there is none, after the slowest honest answer; None: in time. Where
            answers come whenever they do, it says only which never come: when, `Attack.pace` says.
        updates: (b,) int64, how many updates each claims to have taken, where answers say so; None:
            as many as its device takes.
        examples: (b,) int64, how many examples each claims to have, where the server weighs answers
            by them; None: as many as it has.
    """

    values: Tensor
    lengths: np.ndarray
    delay: np.ndarray | None = None
    updates: np.ndarray | None = None
    examples: np.ndarray | None = None


class Updates(NamedTuple):
    """The updates of the Byzantine workers of a round, where answers say how many they are.

    Attributes:
        own: (b,) int64, how many each takes.
        limits: (b,) the most that each may claim.
    """

    own: NDArray[np.int64]
    limits: NDArray[np.int64]


@dataclass(frozen=True)
class Delivery:
    """A message as it arrives.

    Attributes:
        values: (b, d); None: nothing that could be read.
        lengths: (b,) int64 in [0, P], within what may be claimed, 0 for what does not arrive.
        delay: by how much the latest answer that arrives is late, in time units.
        malformed: how many answers no worker could have sent; they are clipped or dropped.
        updates: (b,) int64 in 1 .. K, as claimed; None: answers do not say.
        examples: (b,) int64 in 1 .. 2³² - 1, as claimed; None: answers do not say.
    """

    values: Tensor | None
    lengths: NDArray[np.int64]
    delay: float
    malformed: int
    updates: NDArray[np.int64] | None = None
    examples: NDArray[np.int64] | None = None


def deliver(
    message: Message,
    workers: int,
    dimension: int,
    longest: int | NDArray[np.int64],
    deadline: float,
    updates: Updates | None = None,
    examples: NDArray[np.int64] | None = None,
) -> Delivery:
    """Return a message as it arrives: clip impossible claims, drop unreadable or late answers.

    A claimed length is clipped to what there is and, where workers can't lie about their speed, to
    what each could have finished; a claimed number of updates likewise, and to 1 at least; one of
    examples to what fits into 4 bytes, and to 1 at least. An answer whose delay is negative or not
    a number never arrives; one that is late arrives only where the server waits for the last.

    Args:
        message: of all Byzantine workers of the round.
        workers: b, how many they are.
        dimension: d.
        longest: the longest length that may be claimed: P, that of a whole gradient, or (b,) of
            each.
        deadline: τ in time units; inf: the server waits for the last answer.
        updates: what they may claim to have taken; None: answers do not say.
        examples: (b,) how many they have; None: answers do not say.

    Raises:
        TypeError: the claimed lengths, updates or examples are no integers.

    >>> message = Message(torch.ones(2, 3), np.array([2, 7]))
    >>> deliver(message, workers=2, dimension=3, longest=3, deadline=1.0).lengths
    array([2, 3])
    """
    values, claimed = torch.as_tensor(message.values), np.asarray(message.lengths)
    if not np.issubdtype(claimed.dtype, np.integer):
        raise TypeError(f"claimed lengths: {claimed.dtype}; expected integers")
    in_time = message.delay is None
    delay = np.zeros(workers) if in_time else np.asarray(message.delay, dtype=float)
    own = None if updates is None else updates.own
    taken, held = (
        _said("updates", own, message.updates),
        _said("examples", examples, message.examples),
    )
    readable = values.shape == (workers, dimension) and not values.is_complex()
    shapes = {part.shape for part in (claimed, delay, taken, held) if part is not None}
    if not readable or shapes != {(workers,)}:
        return Delivery(None, np.zeros(workers, dtype=np.int64), 0.0, workers, own, examples)
    bounded = np.clip(claimed, 0, longest)
    impossible = bounded != claimed
    if taken is not None and updates is not None:
        claimed, taken = taken, np.clip(taken, 1, updates.limits)
        impossible |= taken != claimed
    if held is not None:
        claimed, held = held, np.clip(held, 1, MOST_EXAMPLES)
        impossible |= held != claimed
    if in_time:
        return Delivery(values, bounded, 0.0, int(impossible.sum()), taken, held)
    never = ~(np.isfinite(delay) & (delay >= 0))
    malformed = int((impossible | never).sum())
    late = never | (delay > 0) if math.isfinite(deadline) else never
    bounded = np.where(late, 0, bounded)  # a late answer is not heard
    last = float(delay[bounded > 0].max(initial=0.0))
    return Delivery(values, bounded, last, malformed, taken, held)


def _said(
    what: str, own: NDArray[np.int64] | None, claimed: np.ndarray | None
) -> NDArray[np.int64] | None:
    """Return what is claimed, or else true, where answers say it."""
    if own is None:
        return None
    said = own if claimed is None else np.asarray(claimed)
    if not np.issubdtype(said.dtype, np.integer):
        raise TypeError(f"claimed {what}: {said.dtype}; expected integers")
    return said
