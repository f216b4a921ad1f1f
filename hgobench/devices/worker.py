"""A device's side of a round: it learns from its own examples, and sends what there is time for.

NumPy alone, so that a process that is started for each message starts fast. Draws are those of the
simulation: same seed, same minibatch, same order.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench.determinism import stream, without_replacement
from hgobench.errors import InputError, shown

Vector = NDArray[np.float32]
Gradient = Callable[[Vector, int], Vector]  # parameters, which minibatch of the round -> (d,)
REMEMBERED = 5  # orders whose overhead counts
UNKNOWN = 8.0  # seconds that messages are taken for until that is measured
MARGIN = 1.5  # they vary from one message to the next: the slowest of the last ones, and half more
MISSED = 0.1  # of τ: by how much less time a device takes for each order that it missed in a row


class Shard(NamedTuple):
    """What a device learns from.

    Attributes:
        x: (N, p) float32.
        y: (N,) int64 labels, or float32 targets.
    """

    x: NDArray[np.float32]
    y: NDArray[Any]


def shard(path: str | Path) -> Shard:
    """Read a device's examples, arrays ``x`` and ``y`` in a file of NumPy's.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays["y"]
    except Exception as error:  # whatever NumPy makes of a file
        raise InputError(f"data: {path}: {type(error).__name__}: {error}") from error
    if x.ndim != 2 or y.shape != x.shape[:1] or not len(x) or x.dtype != np.float32:
        raise InputError(
            f"data: {path}: x is {x.dtype} {x.shape}, y {y.shape}; expected float32 (N, p) and (N,)"
        )
    if not np.isfinite(x).all() or y.dtype.kind not in "if" or not np.isfinite(y).all():
        raise InputError(f"data: {path}: expected finite numbers")
    return Shard(x, y)


def shard_bytes(x: NDArray[np.float32], y: NDArray[Any]) -> bytes:
    """Return a file that `shard` reads."""
    stream_ = io.BytesIO()
    np.savez_compressed(stream_, x=x, y=y)
    return stream_.getvalue()


@dataclass(frozen=True)
class Ask:
    """What a server says to a device besides the parameters.

    Attributes:
        round: k, from 1; 0: it only asks who is there.
        worker: i, which worker the device is.
        row: its place among those that are asked.
        sampled: q, how many are asked.
        width: how many random numbers there are for each worker's minibatch.
        dimension: d.
        deadline: τ in seconds from when the server sent this; inf: it waits.
        trip: seconds from the server's sending of the last order that the device answered, if only
            to say that it had no time, until its answer was there; 0: it has answered none.
        answered: the round of that order.
        missed: how many orders in a row the device did not answer in time.
        seed: of all draws.
        batch_size: s.
        steps: K, how many gradients an answer takes at most.
        whole: whether only all coordinates are an answer.
        rate: η of steps of its own.
        pull: μ, by which such steps are pulled back.
        ridge: of the loss of softmax regression; below 0: the model is another.
        scenario: as JSON; what attackers need besides.
    """

    round: int
    worker: int
    row: int
    sampled: int
    width: int
    dimension: int
    deadline: float
    trip: float
    answered: int
    missed: int
    seed: int
    batch_size: int
    steps: int
    whole: bool
    rate: float
    pull: float
    ridge: float
    scenario: str

    def told(self) -> dict[str, Any]:
        """Return it as plain values by name."""
        return asdict(self)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Ask:
        """Return it, given plain values by name.

        Raises:
            InputError: names or kinds are others: the server is of another version.
        """
        kinds = {"int": int, "float": float, "bool": bool, "str": str}
        expected = {one.name: kinds[str(one.type)] for one in fields(cls)}
        if set(told) != set(expected):
            odd = sorted(set(told) ^ set(expected))
            raise InputError(f"the server asks in another version's words: {', '.join(odd)}")
        for name, kind in expected.items():
            if type(told[name]) is not kind:
                raise InputError(f"{name}: {shown(told[name])}; expected {kind.__name__}")
        return cls(**told)

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Return the scenario's fields."""
        return dict(json.loads(self.scenario))

    @property
    def order(self) -> NDArray[np.int64]:
        """Return C_k, (d,): the coordinates in the order in which they are to be sent."""
        return stream(self.seed, "order", self.round).permutation(self.dimension)

    def minibatch(self, held: int, number: int = 0) -> NDArray[np.int64]:
        """Return a minibatch of the round, (s_i,): which of the device's examples.

        Args:
            held: |S_i|.
            number: which; 0: the first.
        """
        further = (number,) if number else ()
        rng = stream(self.seed, "batch", self.round, *further)
        uniform = rng.random((self.sampled, self.width))[self.row : self.row + 1]
        size = min(self.batch_size, held, self.width)
        return without_replacement(uniform, np.array([held]), np.array([size]))[:, 0]


class Answer(NamedTuple):
    """What a device sends.

    Attributes:
        values: (b,) float32, the first b coordinates of the order; of b = 0 none is sent.
        updates: how many gradients it took.
    """

    values: Vector
    updates: int


class Pace:
    """How fast a device is, and how long messages take on their way: what it knows of itself.

    Args:
        rate: λ, coordinates of one example's gradient per second.
        declared: whether that is to be acted: the device then takes as long.
        overheads: the seconds that the last messages took on their way and back.
    """

    def __init__(self, rate: float, declared: bool, overheads: list[float]) -> None:
        self.rate, self.declared = rate, declared
        self.overheads = overheads

    def left(self, ask: Ask) -> float:
        """Return the seconds that the device may compute: τ without what messages may take.

        Until it is measured that is `UNKNOWN`. They may take `MARGIN` times as long as the slowest
        of the last ones, and a tenth of τ more for each order in a row that was not answered. If
        that leaves nothing, the last one alone counts: a single slow message silences no device for
        as long as it is remembered.
        """
        time = ask.deadline * (1.0 - MISSED * ask.missed)
        left = time - MARGIN * max(self.overheads, default=UNKNOWN)
        return left if left > 0 or not self.overheads else time - MARGIN * self.overheads[-1]

    def plan(self, ask: Ask, examples: int) -> tuple[int, int]:
        """Return how many gradients there is time for, and how many coordinates of each.

        b = min(⌊t·λ/(K·s)⌋, d) of each of K gradients, or, where only whole answers count, as many
        gradients as are whole, at most K.

        >>> pace = Pace(rate=100.0, declared=True, overheads=[4.0])
        >>> ask = Ask(1, 0, 0, 1, 4, 10, 10.0, 0.0, 0, 0, 0, 4, 1, False, 0.1, 0.0, 0.0, "{}")
        >>> pace.plan(ask, examples=50)  # four seconds, half a second for a coordinate
        (1, 8)
        """
        budget = max(self.left(ask), 0.0) * self.rate / examples
        if not ask.whole:
            return ask.steps, int(min(budget / ask.steps, ask.dimension))
        updates = int(min(budget / ask.dimension, ask.steps))
        return (updates, ask.dimension) if updates else (1, 0)

    def act(self, began: float, coordinates: float) -> None:
        """Take as long as a device of the declared rate.

        Args:
            began: when it began, by `time.monotonic`.
            coordinates: how many of one example's gradient it computes.
        """
        if self.declared:
            time.sleep(max(began + coordinates / self.rate - time.monotonic(), 0.0))


def calibrate(gradient: Callable[[], object], coordinates: int, seconds: float = 0.2) -> float:
    """Return λ, how many coordinates of one example's gradient are computed in a second.

    The median of repeated gradients.

    Args:
        gradient: computes one.
        coordinates: of it, times its examples.
        seconds: for how long, about.
    """
    taken: list[float] = []
    end = time.monotonic() + seconds
    while len(taken) < 3 or time.monotonic() < end:
        began = time.perf_counter()
        gradient()
        taken.append(time.perf_counter() - began)
    return coordinates / float(np.median(taken))


def softmax_gradient(
    params: Vector, x: NDArray[np.float32], y: NDArray[Any], ridge: float = 0.0
) -> Vector:
    """Return the gradient of `hgobench.models.Softmax` on a minibatch, (d,).

    Mean (softmax(Wx) - onehot(y)) xᵀ + ridge·w, coordinates class by class, the bias last.

    >>> softmax_gradient(np.zeros(6, np.float32), np.array([[4, 0]], np.float32), np.array([0]))
    array([-2. ,  0. , -0.5,  2. ,  0. ,  0.5], dtype=float32)
    """
    s, p = x.shape
    w = params.reshape(-1, p + 1)
    with np.errstate(all="ignore"):  # of a model that an attack blew up
        scores = w[:, :-1] @ x.T + w[:, -1:]
        odds = np.exp(scores - scores.max(axis=0))
        error = odds / odds.sum(axis=0)
        error[y.astype(np.int64), np.arange(s)] -= 1.0
        error /= np.float32(s)
        gradient = np.concatenate((error @ x, error.sum(axis=1, keepdims=True)), axis=1)
        flat: Vector = gradient.astype(np.float32).reshape(-1)
        return flat + np.float32(ridge) * params if ridge else flat


Poison = Callable[[NDArray[Any], NDArray[Any], int], tuple[Any, Any]]


def gradient_of(ask: Ask, data: Shard, poison: Poison | None = None) -> Gradient:
    """Return what takes a device's gradients: of softmax regression by NumPy, else by torch.

    Args:
        ask: what the server says.
        data: the device's examples.
        poison: changes a minibatch, given its number in the round; None: nothing does.
    """

    def batch(number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        rows = ask.minibatch(len(data.x), number)
        x, y = data.x[rows], data.y[rows]
        return (x, y) if poison is None else poison(x, y, number)

    if ask.ridge >= 0:
        return lambda params, number: softmax_gradient(params, *batch(number), ask.ridge)

    import torch  # a second more

    from hgobench import models
    from hgobench.data import datasets

    told = datasets.load(ask.fields["data"]).shape
    model = models.registry.build(ask.fields["model"], **told)

    def by_torch(params: Vector, number: int) -> Vector:
        x, y = (torch.from_numpy(np.ascontiguousarray(part)) for part in batch(number))
        found = model.gradients(torch.from_numpy(params.copy())[None], x[None], y[None])
        return np.asarray(found[0, 0].detach().numpy(), np.float32)

    return by_torch


def moves(ask: Ask, params: Vector, gradient: Gradient, updates: int, length: int) -> Vector:
    """Return what a device answers, (d,), of which the first `length` coordinates count.

    Its gradient; after several updates w_i <- w_i - η·(g_i(w_i) + μ·(w_i - w)), each on a minibatch
    of its own, (w - w_i)/η. They stay inside the coordinates that it sends.
    """
    away = gradient(params, 0)
    inside = np.zeros(len(params), np.bool_)
    inside[ask.order[:length]] = True
    for update in range(1, updates):
        moved = np.where(inside, away, np.float32(0))
        local: Vector = (params - np.float32(ask.rate) * moved).astype(np.float32)
        further = gradient(local, update)
        if ask.pull:
            further = (further + np.float32(ask.pull) * (local - params)).astype(np.float32)
        away = (away + np.where(inside, further, np.float32(0))).astype(np.float32)
    return away


def answer(ask: Ask, params: Vector, data: Shard, pace: Pace) -> Answer:
    """Return what an honest device sends; it takes the time that its pace says."""
    began = time.monotonic()
    examples = min(ask.batch_size, len(data.x), ask.width)
    updates, length = pace.plan(ask, examples)
    if not length:
        return Answer(np.zeros(0, np.float32), updates)
    found = moves(ask, params, gradient_of(ask, data), updates, length)
    pace.act(began, float(examples) * updates * length)
    return Answer(found[ask.order[:length]], updates)
