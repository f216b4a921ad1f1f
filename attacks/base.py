"""What every attack is: what it sees, and what it sends."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hgobench.kernels.arrays import all_finite, count_columns, zero_where_false
from hgobench.kernels.moments import moments
from hgobench.lazy import Tensor, torch
from hgobench.protocol.messages import Message

if TYPE_CHECKING:
    from hgobench.data.base import Dataset

Knowledge = Literal["nothing", "model", "own", "honest", "server"]
KNOWLEDGE = get_args(Knowledge)  # each includes those before it
ATTACKERS_EXAMPLES = 512  # the most on which attackers try a model
AT_ONCE = 256  # rows between which all distances are worked out at once


@dataclass(frozen=True)
class Facts:
    """What attackers know of the data.

    Attributes:
        classes: how many there are; 0: a regression.
        image: height and width, or channels, height and width, if features are an image's pixels;
            None: they are none.
        vocabulary: how many words there are, if examples are sequences of words; None: they are
            none.
        largest: (p,) the largest value of each feature among all training examples.
        features, labels: (N, p) and (N,), training examples that the run's Byzantine workers hold:
            all of them or `ATTACKERS_EXAMPLES`, drawn once.
    """

    classes: int
    image: tuple[int, ...] | None
    vocabulary: int | None
    largest: Tensor
    features: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Batch:
    """The minibatches of a round's Byzantine workers, which an attack may poison.

    Attributes:
        features, labels: (b, s, p) and (b, s); they are copies.
        workers: (b,) whose they are: the numbers of these workers among the run's f Byzantine ones.
        facts: what attackers know of the data.
        stream: makes the random generator of these minibatches, the same for every cell of a world.
    """

    features: Tensor
    labels: Tensor
    workers: NDArray[np.int64]
    facts: Facts
    stream: Callable[[], np.random.Generator]


@dataclass(frozen=True)
class Outcome:
    """What a message would bring about, if the Byzantine workers sent it.

    Attributes:
        deviation: AG - μ over the block, (B,) float64: AG what the server would answer, μ the mean
            of all honest workers that send the coordinate; empty if the round stalls.
        stepped: returns the model after the server's step, (d,); w_k if the round stalls.
    """

    deviation: Tensor
    stepped: Callable[[], Tensor]


@dataclass(frozen=True)
class View:
    """What an attacker may look at in one round; b of the q sampled workers are Byzantine.

    What lies beyond an attack's knowledge is None here. Lengths are in places of the round's order.

    Attributes:
        round: k, from 1.
        rounds: K, how many there are, unless a budget ends the run before.
        sampled, byzantine: q and b.
        dimension: d.
        places: P, the length of a whole gradient (d, unless places are features).
        quorum: v, how many must have sent a coordinate for it to be updated.
        learning_rate: γ, the server's, before its schedule.
        position: (d,) the position of each coordinate's place in the round's order, from 0.
        longest: the most places that an honest worker of this round finishes.
        own_lengths: (b,) how many places the Byzantine workers would finish by the deadline.
        limits: (b,) the most places that each may claim: P, or `own_lengths` where attackers can't
            lie about their speed.
        workers: (b,) who the Byzantine workers are.
        stream: makes random generators: of a round k, or, given 0, of the whole run.
        cells: how many runs' coordinates stand side by side, d / `cells` of each.
        own: (b, d) the gradients that the Byzantine workers would honestly compute.
        model: w_k, (d,), as it is sent to all workers.
        last_step: w_k - w_{k-1}, (d,): what the server made of the round before; 0 in the first.
        honest: (h, d) what the h honest workers that answer send; 0 where they send nothing.
        sent: (h, d) bool, which entries of them they send; None: all.
        honest_workers: (h,) who they are.
        honest_lengths: (h,) how many places each of them sends.
        own_updates: (b,) how many updates the Byzantine workers take; None: answers do not say.
        update_limits: (b,) the most that each may claim to have taken; None: answers do not say.
        own_examples: (b,) how many examples the Byzantine workers have; None: answers do not say.
        server: what a message would bring about (see `deviation`, `stepped`).
        losses: the loss of models (m, d) on the attackers' own data, (m,) (see `loss`).
    """

    round: int
    rounds: int
    sampled: int
    byzantine: int
    dimension: int
    places: int
    quorum: int
    position: NDArray[np.int64]
    longest: int
    own_lengths: NDArray[np.int64]
    limits: NDArray[np.int64]
    workers: NDArray[np.int64]
    stream: Callable[[int], np.random.Generator]
    cells: int = 1
    learning_rate: float = 1.0
    own: Tensor | None = None
    model: Tensor | None = None
    last_step: Tensor | None = None
    honest: Tensor | None = None
    sent: Tensor | None = None
    honest_workers: NDArray[np.int64] | None = None
    honest_lengths: NDArray[np.int64] | None = None
    own_updates: NDArray[np.int64] | None = None
    update_limits: NDArray[np.int64] | None = None
    own_examples: NDArray[np.int64] | None = None
    server: Callable[[Message], Outcome] | None = None
    losses: Callable[[Tensor], Tensor] | None = None

    @cached_property
    def rng(self) -> np.random.Generator:
        """Return the draws of this round's attackers, the same for every cell of a world."""
        return self.stream(self.round)

    def random_signs(self, index: int = 0) -> Tensor:
        """Return random signs, (d,) of +1 and -1: the same in every round of a run.

        They are drawn independently with even chances from the world's random numbers, so that all
        cells of a world have the same.

        Args:
            index: which of several such vectors, from 0.
        """
        drawn = self.stream(0).integers(2, size=(index + 1, self.dimension // self.cells))[index]
        return torch.from_numpy(np.tile(2.0 * drawn - 1.0, self.cells).astype(np.float32))

    def claim(self, length: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the claims of a length, (b,), each as near to it as that worker may come."""
        return np.minimum(length, self.limits)

    def require_own(self) -> Tensor:
        """Return `own`.

        Raises:
            PermissionError: the attack's `sees` does not include it.
        """
        return _permitted(self.own, "own gradients; its `sees` does not say so")

    def require_honest(self) -> Tensor:
        """Return `honest`.

        Raises:
            PermissionError: the attack's `sees` does not include it.
        """
        return _permitted(self.honest, "honest gradients; its `sees` forbids it")

    def require_model(self) -> Tensor:
        """Return `model`.

        Raises:
            PermissionError: the attack's `sees` does not include it.
        """
        return _permitted(self.model, "the model; its `sees` does not say so")

    def require_last_step(self) -> Tensor:
        """Return `last_step`.

        Raises:
            PermissionError: the attack's `sees` does not include it.
        """
        return _permitted(self.last_step, "the last step; its `sees` does not say so")

    def mean(self) -> Tensor:
        """Return μ, (d,): the mean of what honest workers send; 0 where none sends."""
        return self._moments[0].to(self.require_honest(), copy=True)

    def centre(self) -> Tensor:
        """Return μ in float64, for differences from it."""
        return self._moments[0].clone()

    def std(self) -> Tensor:
        """Return σ, (d,): the population standard deviation of what honest workers send."""
        return self._moments[1].to(self.require_honest(), copy=True)

    def deviations(self) -> Tensor:
        """Return x_i - μ, (h, d) float64; 0 where worker i sends nothing.

        An entry that was not sent so counts as μ, where it neither adds to a distance nor hides
        one: what attacks that compare whole vectors need on ragged input.
        """
        apart = self.require_honest().double() - self._moments[0]
        return apart if self.sent is None else zero_where_false(apart, self.sent)

    def spread(self) -> tuple[Tensor, float]:
        """Return ‖x_i - μ‖², (h,), and max_ij ‖x_i - x_j‖² of `deviations`; of no worker 0."""
        lengths, widest = self._spread
        return lengths.clone(), widest

    def heard(self) -> Tensor:
        """Count the honest workers that send each coordinate, (d,) int64."""
        honest = self.require_honest()
        if self.sent is None:
            return torch.full((self.dimension,), len(honest), device=honest.device)
        return count_columns(self.sent)

    def deviation(self, message: Message) -> float:
        """Return ‖AG - μ‖₂ over the block, AG what the server would answer; 0 if it stalls.

        The server is the real one: its rule with pre-rules and what they remember, its quorum, and
        who sent which coordinate. μ is the mean of all honest workers that send the coordinate.

        Raises:
            PermissionError: the attack's `sees` is not "server".
        """
        return float(self.outcome(message).deviation.norm())

    def stepped(self, message: Message) -> Tensor:
        """Return the model that the server would have after the round, (d,).

        It is the server's own step: its rule as in `deviation`, its learning rate and its solver
        with all that this remembers.

        Raises:
            PermissionError: the attack's `sees` is not "server".
        """
        return self.outcome(message).stepped()

    def outcome(self, message: Message) -> Outcome:
        """Return what a message would bring about; each time, the server's rule is called once.

        Raises:
            PermissionError: the attack's `sees` is not "server".
        """
        if self.server is None:
            raise PermissionError("the attack tries the server's rule; its `sees` forbids it")
        return self.server(message)

    def loss(self, models: Tensor) -> Tensor:
        """Return the mean loss of models (m, d) on the attackers' own data, (m,) float64.

        The data are training examples that the run's Byzantine workers hold: the same in every
        round, all of them or `ATTACKERS_EXAMPLES`, drawn once. A loss that is not a number, of a
        model that left the floats, counts as infinite.

        Raises:
            PermissionError: the attack's `sees` is not "server".
        """
        if self.losses is None:
            raise PermissionError("the attack asks for losses; its `sees` forbids it")
        return self.losses(models).double().nan_to_num(nan=math.inf, posinf=math.inf)

    @cached_property
    def _spread(self) -> tuple[Tensor, float]:
        apart = self.deviations()
        if len(apart) > AT_ONCE:
            lengths = apart.square().sum(dim=1)
            order = lengths.argsort(descending=True)
            return lengths, _widest(apart[order], lengths[order])
        gram = apart @ apart.T
        lengths = gram.diagonal().clone()
        squares = lengths[:, None] + lengths - 2.0 * gram
        return lengths, float(squares.max()) if len(squares) else 0.0

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of what is sent, (d,) float64 each."""
        return moments(self.require_honest(), self.sent)


def _widest(vectors: Tensor, lengths: Tensor) -> float:
    """Return the largest squared distance between two vectors, the longest first.

    Two are at most as far apart as they are long together, so that the short need no look.

    Args:
        vectors: (h, d) float64.
        lengths: (h,) their squared lengths.
    """
    if not all_finite(lengths):
        return math.nan
    widest, radii = 0.0, lengths.sqrt()
    for start in range(0, len(vectors), AT_ONCE):
        far = (radii[start:] + radii[start]).square() > widest
        if not far[:1].any():
            break
        some = slice(start, start + AT_ONCE)
        others = slice(start, start + int(far.sum()))
        products = vectors[some] @ vectors[others].T
        squares = lengths[some, None] + lengths[others] - 2.0 * products
        widest = max(widest, float(squares.max()))
    return widest


def _permitted(seen: Tensor | None, what: str) -> Tensor:
    if seen is None:
        raise PermissionError(f"the attack looks at {what}")
    return seen


class Attack:
    """What the Byzantine workers do.

    A subclass states `sees` and writes `values`, or poisons data; it may also choose `lengths`. Its
    constructor raises ValueError for a parameter out of range, naming it and what was expected.

    Attributes:
        sees: ``"nothing"``: neither data nor messages (how far others got, `longest`, is for all to
            see); ``"model"``: the model that the server sends and its last step, as a worker sees
            them that has no data; ``"own"``: what the Byzantine workers see as participants: also
            their own data and gradients; ``"honest"``: also all that honest
            workers send in the round, before the server has it (omniscient); ``"server"``: also
            what the server would answer and step to, and the loss there on their own data. Each
            includes those before it. An instance may need less than its class.
        colludes: whether the Byzantine workers act together: what one sends depends on what the
            others know or send, or on how many they are. An attack that does not can be carried
            out by each by itself, without talking to others (what it `sees` is another matter). An
            instance may need less than its class.
        poisons: whether it changes the Byzantine workers' training data (see `poison`).
        targeted: whether it wants some inputs to be answered as it likes (see `goal`).
        stateful: whether it remembers earlier rounds; an instance then belongs to one run.
        columnwise: whether what it sends of a coordinate follows from what is sent of that one,
            and its lengths do not depend on values: coordinates of several runs may then be
            joined in one view.
        paper, formula, control, validity: what tables say of it; control is what of the Byzantine
            workers it needs to hold: their values, lengths, timing or data.
        exempt: laws of `hgobench.testing` that its definition rules out, with the reason.
    """

    sees: Knowledge
    colludes: bool = True
    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    control: ClassVar[str] = "values"
    validity: ClassVar[str] = "1 <= f < n/2"
    poisons: bool = False
    targeted: bool = False
    stateful: bool = False
    columnwise: bool = False
    exempt: Mapping[str, str] = {}

    def __repr__(self) -> str:
        listed = ", ".join(
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if name not in ("sees", "colludes", "exempt") and name[0] != "_"
        )
        return f"{type(self).__name__}({listed})"

    def __call__(self, view: View) -> Message:
        """Return what the b Byzantine workers send, and the lengths that they claim."""
        values = torch.as_tensor(self.values(view))
        if values.ndim == 1:
            values = values.expand(view.byzantine, -1)
        return Message(values, self.lengths(view))

    def fits(self, data: Dataset) -> None:
        """Raise ValueError if it can't attack who learns from these data: no run then begins."""
        return

    def values(self, view: View) -> Tensor:
        """Return the values, (b, d), or (d,) if all send the same.

        An attack that poisons data needs no more: its workers send their own gradients.
        """
        if not self.poisons:
            raise NotImplementedError(f"{type(self).__name__} has no values")
        return view.require_own()

    def lengths(self, view: View) -> np.ndarray:
        """Return the claimed lengths, (b,).

        By default as long as the longest honest answer, or as near to that as they may claim (see
        `View.claim`); of an attack that poisons data, as far as the devices get.
        """
        return view.own_lengths if self.poisons else view.claim(view.longest)

    def pace(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return after how long attackers answer, (b,) > 0, where answers come whenever they do.

        By default they take as long as their devices would. Those that can't lie about their speed
        take so long at least.

        Args:
            seconds: (b,) how many time units their devices would compute.
        """
        return seconds

    def rule_calls(self, rounds: int) -> int:
        """Return how often it calls the server's rule in so many rounds, at most (see `View`)."""
        return 0

    def fraction(self, view: View, per_decade: int = 500) -> float | None:
        """Return how near a search comes to the best there is; None: the attack searches nothing.

        Args:
            view: the round.
            per_decade: how dense the grid of strengths is with which the search is compared.

        Returns:
            The value that is reached over the best of the grid; 1 or more: all.
        """
        return None

    def poison(self, features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """Change a minibatch of Byzantine workers: features (b, s, p), labels (b, s).

        With `poisons` their own gradients are those of what it returns.
        """
        return features, labels

    def poisoned(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Change a minibatch as `poison` does, which it calls, where that must know more.

        Returns:
            Features (b, s, p) and labels (b, s).
        """
        return self.poison(batch.features, batch.labels, batch.facts.classes)

    def goal(self, features: Tensor, labels: Tensor, facts: Facts) -> tuple[Tensor, Tensor] | None:
        """Return which inputs an attack that is `targeted` wants to be answered how.

        Its success rate is the share that the model answers so.

        Args:
            features, labels: (N, p) and (N,), test examples.
            facts: what attackers know of the data.

        Returns:
            Inputs (M, p), and the classes that it wants for them, (M,), none of which is right;
            None: it wants nothing.
        """
        return None


def require_classes(classes: int, **named: int | None) -> None:
    """Check that the data have classes, and those that an attack's parameters name.

    Args:
        classes: how many the data have; 0: a regression.
        named: by parameter; None: it names none.

    Raises:
        ValueError: they have not.

    >>> require_classes(10, target=10)
    Traceback (most recent call last):
    ValueError: target: 10; expected a class of the data, 0 to 9
    """
    if not classes:
        raise ValueError("the data have no classes")
    for parameter, which in named.items():
        if which is not None and which >= classes:
            raise ValueError(
                f"{parameter}: {which}; expected a class of the data, 0 to {classes - 1}"
            )
