"""What a learning algorithm is: what workers send, and when a server steps on what has come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from hgobench.errors import shown
from hgobench.lazy import Tensor, torch

from .places import Order

if TYPE_CHECKING:
    from hgobench.data.base import Dataset

Lengths = NDArray[np.int64]
Budgets = NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """What the workers that a server has asked make their answers from.

    Attributes:
        workers: (q,) who they are.
        params: (d,) w, the parameters that the server sent them.
        gradients: (q, d) each worker's gradient at w on its minibatch.
        lengths: (q,) how many places of the order each computes and sends.
        order: the order of places.
        budget: (q,) τ·λ_i/s_i, divided by its updates: how many coordinates of each of its
            gradients a worker has time for.
        updates: (q,) how many gradients each takes.
        learning_rate: γ, the server's for a step on all coordinates.
        further: takes the gradients for `gradients_at`, given what that is given.
        before: (d,) the parameters at which the server last aggregated, which it sent beside them
            (`Algorithm.differences`); None: it did not.

    >>> here = torch.zeros(2)
    >>> ask = np.arange(3), here, torch.ones(3, 2), np.full(3, 2), None, np.full(3, 9.0)
    >>> at = lambda params, minibatch, workers: params + minibatch
    >>> work = Work(*ask, updates=np.full(3, 2), learning_rate=0.1, further=at)
    >>> work.gradients_at(here - work.gradients, minibatch=4)[0]
    tensor([3., 3.])
    """

    workers: NDArray[np.int64]
    params: Tensor
    gradients: Tensor
    lengths: Lengths
    order: Order
    budget: Budgets
    updates: Lengths
    learning_rate: float
    further: Callable[[Tensor, int, NDArray[np.bool_] | None], Tensor]
    before: Tensor | None = None

    @cached_property
    def inside(self) -> Tensor | None:
        """Return which coordinates are in the places that each worker sends, (q, d); None: all."""
        if not (self.lengths < len(self.order)).any():
            return None
        device = self.gradients.device
        return self.order.position_on(device) < torch.from_numpy(self.lengths[:, None]).to(device)

    def gradients_at(
        self, params: Tensor, minibatch: int = 0, workers: NDArray[np.bool_] | None = None
    ) -> Tensor:
        """Return each worker's gradient at parameters of its own, (q, d) -> (q, d).

        Args:
            params: a row per worker.
            minibatch: on which minibatch of each worker. 0 is that of `gradients`; every other
                number is a further one, of the same size, drawn from the same examples. All cells
                of a world draw the same.
            workers: (q,) bool, who takes it; None: all. The rows of others are 0.

        Raises:
            ValueError: the parameters, the number or the workers are not such, or a worker takes
                more than its updates.
        """
        shape = tuple(self.gradients.shape)
        tensor = isinstance(params, torch.Tensor)
        if not tensor or params.shape != shape or not params.is_floating_point():
            saw = f"{params.dtype} {tuple(params.shape)}" if tensor else type(params).__name__
            raise ValueError(f"params: {saw}; expected a float tensor {shape}, a row per worker")
        if not isinstance(minibatch, int) or isinstance(minibatch, bool) or minibatch < 0:
            raise ValueError(f"minibatch: {shown(minibatch)}; expected a whole number >= 0")
        if workers is not None and (workers.dtype != bool or workers.shape != shape[:1]):
            raise ValueError(
                f"workers: {workers.dtype} {workers.shape}; expected bool ({shape[0]},)"
            )
        return self.further(params, minibatch, workers)


class Root(Protocol):
    """Clean examples of the server's own."""

    @property
    def rate(self) -> float:
        """Return γ, the learning rate of the server's next step."""

    def gradient(self, examples: int) -> Tensor:
        """Return the mean gradient of `examples` root examples at the server's parameters, (d,)."""


@dataclass(frozen=True)
class Judged:
    """What answers say, for an algorithm that judges them (`Algorithm.judges`).

    Attributes:
        values: (m, d) what was sent, as the server takes it.
        started: (m, d) the parameters that each was sent to start from.
        root: the server's clean examples, if the algorithm says that it `needs` them.

    >>> judged = Judged(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2))
    >>> judged.values.norm(dim=1)
    tensor([5.])
    """

    values: Tensor
    started: Tensor
    root: Root | None = None


@dataclass(frozen=True)
class Arrived:
    """What has arrived at the server in a round.

    Attributes:
        round: k, from 1.
        workers: (q,) who was asked.
        values: (q, d) what each sent; a row of which nothing arrived holds anything.
        lengths: (q,) how many places of the order each sent, as the server takes them; 0: nothing.
        order: the order of places; None: there is one place, and all or nothing arrives.
        quorum: v; of fewer workers than the rule may get values of, as large a share as v is of
            those: ⌈v·q/pool⌉ (see `Algorithm.pool`).

    >>> Arrived.whole(1, [4, 7], torch.ones(2, 3)).within(np.array([0, 1])).tolist()
    [[False, False, False], [True, True, True]]
    """

    round: int
    workers: NDArray[np.int64]
    values: Tensor
    lengths: Lengths
    order: Order | None
    quorum: int = 1

    @classmethod
    def whole(cls, round_: int, workers: Sequence[int], values: Tensor) -> Arrived:
        """Return whole answers, (m, d)."""
        return cls(round_, np.array(workers), values, np.ones(len(workers), dtype=np.int64), None)

    @cached_property
    def sent(self) -> Tensor | None:
        """Return which entries arrived, (q, d) bool; None: all."""
        return self.within(self.lengths)

    def within(self, lengths: Lengths) -> Tensor | None:
        """Return which coordinates are in the first places of each worker, (q, d); None: all."""
        places, device = 1 if self.order is None else len(self.order), self.values.device
        if (lengths >= places).all():
            return None
        first = torch.from_numpy(lengths[:, None]).to(device)
        if self.order is None:
            return (first > 0).expand(self.values.shape)
        return self.order.position_on(device) < first


@dataclass(frozen=True)
class Held:
    """What a server holds of its workers, in the place of what a round's answers are elsewhere.

    Attributes:
        workers: (m,) whose rows they are.
        values: (m, d).
        present: (m, d) bool, which of them are aggregated; None: all.
        rounds: (m, d) int32, in which round each came, 0: never; None: the algorithm does not say.

    >>> Held.nothing(torch.ones(2, 3)).values.shape
    torch.Size([0, 3])
    """

    workers: NDArray[np.int64]
    values: Tensor
    present: Tensor | None = None
    rounds: Tensor | None = None

    @classmethod
    def nothing(cls, like: Tensor) -> Held:
        """Return what is held before anything came: no rows, of as many columns."""
        none = like[:0].clone()
        return cls(np.zeros(0, dtype=np.int64), none, None, none.int())

    def of(self, workers: NDArray[np.int64]) -> tuple[Held, Held]:
        """Return what is held of some workers, 0 of those of whom nothing is, and of the others.

        >>> held = Held(np.array([4, 7]), torch.tensor([[1.0], [2.0]]))
        >>> some, others = held.of(np.array([7, 9]))
        >>> some.values.tolist(), others.workers
        ([[2.0], [0.0]], array([4]))
        """
        row = {worker: i for i, worker in enumerate(self.workers.tolist())}
        at = np.array([row.get(worker, -1) for worker in workers.tolist()], dtype=np.int64)
        rest = np.flatnonzero(~np.isin(self.workers, workers))

        def taken(table: Tensor) -> Tensor:
            found = table.new_zeros(len(at), table.shape[1])
            found[at >= 0] = table[at[at >= 0]]
            return found

        def left(table: Tensor) -> Tensor:
            return table[rest]

        some, others = (
            Held(who, of(self.values), None, None if self.rounds is None else of(self.rounds))
            for who, of in ((workers, taken), (self.workers[rest], left))
        )
        return some, others


@dataclass(frozen=True)
class Waiting:
    """The answers that have come since the server's last step, in the order in which they came.

    Attributes:
        workers: (m,) who sent them; one that is fast may be there more than once.
        staleness: (m,) how many steps the server has taken since it sent each the parameters that
            it started from; 0: none.
        lengths: (m,) how many places each sent, as the server takes them.
        outstanding: how many more may come before the server steps: of workers that were asked and
            have neither answered nor passed the deadline.
        tolerated: f̂, how many Byzantine workers the server is to tolerate.
        judged: what they say; None: the algorithm does not judge it.

    >>> waiting = Waiting(np.array([4, 7]), np.array([0, 2]), np.array([10, 10]), outstanding=1)
    >>> 1.0 / (1.0 + waiting.staleness)  # weights by which late answers count less
    array([1.        , 0.33333333])
    """

    workers: NDArray[np.int64]
    staleness: NDArray[np.int64]
    lengths: Lengths
    outstanding: int
    tolerated: int = 0
    judged: Judged | None = None


class Algorithm(ABC):
    """A distributed learning algorithm, of which each run has an instance of its own.

    It speaks of answers as prefixes of an order of places, and knows neither a clock nor a world:
    who drives it works out what each worker has time for (the budget), takes the workers' gradients
    where the algorithm wants them, and carries messages. So the same algorithm runs in the
    simulation and over a network, round by round or whenever an answer arrives:

    1. Workers are asked: they get parameters and an order. `updates` says how many gradients each
       takes, `lengths` how far it comes, and `messages` what it sends; that may come from
       parameters of its own (`Work.gradients_at`).
    2. Whenever an answer arrives, or its deadline passes, `weights` says whether the server steps
       now, and what each waiting answer counts.
    3. The rule aggregates the waiting answers times their weights, the solver steps, and none waits
       any more. Then workers are asked anew, or, if the algorithm is `continuous`, each is as soon
       as it has answered.

    An algorithm that goes by rounds leaves `weights` as it is: the server steps once all have
    answered or the deadline has passed, and all count the same (`by_rounds`).

    Attributes:
        paper, validity: what tables say of it.
        exempt: laws of `hgobench.testing` that its definition rules out, with the reason.
        partial: whether a part of a gradient is an answer; rules then have the scope
            `scope_on_parts` by default. Answers that are parts of different orders can't be
            aggregated together, so a `continuous` algorithm's are whole.
        continuous: whether a worker that has answered is asked anew at once, with the parameters of
            that moment. Nobody waits for it then: a deadline bounds how many gradients it takes,
            and it always has time for one.
        answers: how many vectors the rule gets in a step; None: one of each worker that was asked
            and has answered.
        judges: whether `weights` looks at what answers say (`Waiting.judged`). It is then asked
            once about each state of what waits; else it may be asked again, and says the same.
        needs: what `weights` needs besides answers: ``"root"``, clean examples at the server.
        step: how far the order of places moves from round to round; 0: it is drawn every round.
        remembers: whether workers send something else than the gradients that they are given
            (`messages`): momentum, or what they reach by steps of their own.
        gradients: how many minibatch gradients a worker takes for an answer at most, the first at
            the parameters that it was sent; its time is divided between them (see `updates`).
        own_start: whether workers may take even the first at parameters of their own; that at the
            server's then counts as none of theirs.
        keeps: whether the server holds something of its workers from round to round (`held`).
        differences: whether answers are differences of gradients, at w_k and at the parameters of
            the server's last aggregate, which it sends beside w_k (`Work.before`). The server clips
            them (`longest`), and adds what the rule makes of them to that aggregate. Until there is
            one, and now and then after that (`probability`), a round is whole: as of `Sgd`, but of
            as many workers as the `pool`, and of all their examples. Its answers are whole, it goes
            by rounds, and it keeps nothing.
        probability: p, with which a round is whole, by a coin that all cells of a world share.

    >>> from hgobench.algorithms import registry
    >>> [registry.build(name).partial for name in ("hgo", "sgd")]
    [True, False]
    """

    paper: ClassVar[str] = ""
    validity: ClassVar[str] = ""
    exempt: Mapping[str, str] = {}
    partial: ClassVar[bool] = True
    continuous: ClassVar[bool] = False
    answers: int | None = None
    judges: ClassVar[bool] = False
    needs: frozenset[str] = frozenset()
    step: int = 0
    remembers: bool = False
    gradients: int = 1
    own_start: bool = False
    keeps: bool = False
    differences: bool = False
    probability: float = 0.0

    def updates(self, budget: Budgets, order: Order, upload: Budgets | None = None) -> Lengths:
        """Return how many gradients each worker takes by the deadline, (q,) in 1 .. `gradients`.

        By default each takes them all. One that has time for none has length 0.

        Args:
            budget: (q,) τ·λ_i/s_i: coordinates of one gradient after the other.
            order: the round's order of places.
            upload: (q,) what it costs of the budget to send a number; None: nothing.
        """
        return np.full(len(budget), self.gradients)

    def fits(self, data: Dataset) -> None:
        """Raise ValueError if it can't learn from these data: no run then begins."""
        return

    @abstractmethod
    def lengths(self, budget: Budgets, order: Order, upload: Budgets | None = None) -> Lengths:
        """Return how many places of the order each worker sends by the deadline, (q,).

        Args:
            budget: (q,) as in `Work`: coordinates of each of its gradients.
            order: the round's order of places.
            upload: (q,) what it costs of the budget to send a number; None: nothing.
        """

    @abstractmethod
    def accepted(self, lengths: Lengths, order: Order) -> Lengths:
        """Return the lengths as the server takes them, (q,); 0: no answer."""

    @abstractmethod
    def computed(self, budget: Budgets, lengths: Lengths, order: Order) -> int:
        """Count the coordinates of each gradient that the workers computed, sent or not."""

    @abstractmethod
    def full_cost(self, order: Order) -> int:
        """Return the budget that all takes that a worker may send."""

    def numbers(self, lengths: Lengths, order: Order) -> Lengths:
        """Count the numbers of 4 bytes that each answer is, (q,): by default its coordinates."""
        return order.coordinates(lengths)

    @abstractmethod
    def quorum(self, tolerated: int, minimum: int) -> int:
        """Return the default v.

        Args:
            tolerated: f̂.
            minimum: how many answers the rule needs to tolerate f̂ Byzantine workers.
        """

    def messages(self, work: Work) -> Tensor:
        """Return what each worker sends, (q, d), of which the first places arrive.

        The server steps by -γ times what it aggregates of them. A worker that takes local steps
        sends what they sum up to, divided by its own learning rate.

        Args:
            work: who is asked, with the gradients that have been taken, and a way to take further
                ones: of each worker at most its updates - 1.
        """
        return work.gradients

    def fitted(self, values: Tensor) -> Tensor:
        """Return what of values an answer has room for, (m, d) -> (m, d): by default all.

        What attackers send passes through this.
        """
        return values

    def scales(self, updates: Lengths) -> NDArray[np.float64] | None:
        """Return what the server multiplies each answer by, (m,); None: nothing.

        An algorithm that says so has workers send how many updates they took, a number more
        (`numbers`). What comes here is what they claim.

        Args:
            updates: (m,) of those that are heard, in 1 .. `gradients`: the server bounds claims.
        """
        return None

    def held(self, arrived: Arrived, before: Held | None) -> Held:
        """Return what the server aggregates in the place of what arrived, if it `keeps` something.

        It changes nothing, `before` included: whoever drives the algorithm keeps what it returns,
        and hands it back as `before` in the next round. What is updated are the coordinates that v
        workers or more have in it.

        Args:
            arrived: the round's answers.
            before: what was held after the last round; None: nothing yet.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps nothing")

    def pool(self, sampled: int, workers: int) -> int:
        """Return of how many workers the server may hold values at once: of the q asked.

        So many answers may the rule get, and of that many workers it is told f̂. If answers are
        `differences`, so many are asked in whole rounds.
        """
        return sampled

    def longest(self, step: float) -> float | None:
        """Return the length to which the server clips `differences`; None: it clips none.

        Args:
            step: ‖w_k - w‖, how far it has moved from the parameters w of its last aggregate.
        """
        return None

    def weights(self, waiting: Waiting) -> NDArray[np.float64] | None:
        """Return what each waiting answer counts, (m,) >= 0, if the server steps now.

        None: it waits for more. An answer that counts 0 is dropped; if all do, the server takes no
        step.

        Args:
            waiting: what has come, of whom, and how stale it is.
        """
        return None if waiting.outstanding else np.ones(len(waiting.workers))

    def buffers(self, workers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return in which of its `answers` buffers the server keeps what workers send, (m,).

        Those in one buffer are averaged before the rule sees them. It is asked only of an algorithm
        that says so: by default each answer stands for itself.
        """
        return np.arange(len(workers))

    @property
    def pools(self) -> bool:
        """Whether the rule may get values of others than the q workers asked (`pool`)."""
        return self.keeps or self.differences

    @property
    def by_updates(self) -> bool:
        """Whether answers come with the number of updates, and the server scales them by it."""
        return type(self).scales is not Algorithm.scales

    @property
    def merges(self) -> bool:
        """Whether the rule gets averages of answers (`buffers`) instead of answers."""
        return type(self).buffers is not Algorithm.buffers

    @property
    def by_rounds(self) -> bool:
        """Whether the server steps when all that were asked have answered, or the time is over."""
        return not self.continuous and type(self).weights is Algorithm.weights


def wrong_held(held: object, dimension: int) -> str:
    """Say what is wrong with what an algorithm holds of workers; empty: nothing.

    >>> wrong_held(Held(np.arange(2), torch.zeros(2, 3)), dimension=4)
    'it holds float32 (2, 3); expected a float tensor (2, 4)'
    """
    if not isinstance(held, Held):
        return f"it holds {type(held).__name__}; expected hgobench.algorithms.Held"
    who, values, present = held.workers, held.values, held.present
    if not isinstance(who, np.ndarray) or who.ndim != 1 or who.dtype.kind != "i":
        return "the workers of whom it holds something are no array of integers"
    if len(np.unique(who)) < len(who):
        return f"it holds a worker twice: {who.tolist()}"
    shape = (len(who), dimension)
    if not isinstance(values, torch.Tensor) or not values.is_floating_point():
        return f"it holds {type(values).__name__}; expected a float tensor {shape}"
    if values.shape != shape:
        kind = str(values.dtype).removeprefix("torch.")
        return f"it holds {kind} {tuple(values.shape)}; expected a float tensor {shape}"
    fits = isinstance(present, torch.Tensor) and present.dtype == torch.bool
    if present is not None and (not fits or present.shape != shape):
        return f"what is present of what it holds is no bool tensor {shape}"
    return ""


def wrong_longest(length: object) -> str:
    """Say what is wrong with an algorithm's longest difference; empty: nothing.

    >>> wrong_longest(-1.0)
    'its longest: -1.0; expected a number >= 0, or None'
    """
    number = isinstance(length, int | float) and not isinstance(length, bool)
    if length is None or (number and length >= 0):  # type: ignore[operator]
        return ""
    return f"its longest: {shown(length)}; expected a number >= 0, or None"


def wrong_numbers(what: str, numbers: object, workers: int, least: int, most: int) -> str:
    """Say what is wrong with numbers of workers that an algorithm returned; empty: nothing.

    Args:
        what: ``"lengths"`` or ``"updates"``.
        numbers: what it returned.
        workers: q.
        least, most: between which they lie.

    >>> wrong_numbers("lengths", np.array([0, 9]), workers=2, least=0, most=8)
    'its lengths leave [0, 8]'
    """
    whole = isinstance(numbers, np.ndarray) and numbers.dtype.kind == "i"
    if not whole or numbers.shape != (workers,):  # type: ignore[attr-defined]
        return f"its {what} are no array of integers ({workers},)"
    if not ((np.asarray(numbers) >= least) & (np.asarray(numbers) <= most)).all():
        return f"its {what} leave [{least}, {most}]"
    return ""
