"""What a server decides with the replies of a round, whoever carried them.

It is `hgobench.protocol`'s: a quorum, a block, a rule, a step. A reply is a model; what the rule
aggregates is by how much each differs from the server's, as rules are defined on gradients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hgobench import aggregators
from hgobench.aggregators import RuleError, ServerView
from hgobench.algorithms import GradientDescent, Hgo, Sgd
from hgobench.arguments import check_arguments, instance
from hgobench.boundary import Boundary, PluginError, keyed, plain
from hgobench.determinism import one_thread, stream
from hgobench.errors import InputError, shown
from hgobench.kernels.arrays import all_finite
from hgobench.lazy import Tensor, torch
from hgobench.parameters import positive, whole
from hgobench.protocol import MOST_EXAMPLES, WEIGHTINGS, Server, Weighting, cannot_weigh
from hgobench.scenario import SEEDS, word

from .arrays import Layout, Reply


class CleanData(Protocol):
    """Clean data at the server, for the rules that need them (fltrust, zeno).

    Both methods get the server's arrays by name, and must not change them.
    """

    def train(self, arrays: dict[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Return what a client with these data would send."""

    def loss(self, arrays: dict[str, NDArray[Any]]) -> float:
        """Return the loss of a model on these data."""


@dataclass
class Round:
    """What became of a round.

    Attributes:
        number: k, from 1.
        asked: the nodes that were asked.
        heard: those whose replies were aggregated.
        dropped: a line per reply that was dropped, by node.
        failed: what a node said instead of an answer, by node.
        stalled: why the model stayed as it was; empty: it was updated.
        updated: how many of the d coordinates were updated.
    """

    number: int
    asked: list[int]
    heard: list[int] = field(default_factory=list)
    dropped: dict[int, list[str]] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    stalled: str = ""
    updated: int = 0


class Step(NamedTuple):
    """What a server makes of a round's replies.

    Attributes:
        values: (d,) the new parameters; the old ones if it stalls.
        counters: the new arrays of integers and of bools.
        heard: (m,) int64, which replies were aggregated.
        updated: how many coordinates were.
        stalled: why none was; empty: some were.
    """

    values: NDArray[Any]
    counters: dict[str, NDArray[Any]]
    heard: NDArray[np.int64]
    updated: int
    stalled: str


class RuleServer:
    """The server of one run: a rule, a quorum and a step.

    With w the server's parameters and w_i a reply, the rule aggregates w - w_i, and the server
    steps to w - γ·(aggregate): with γ = 1 and the average, to the mean of the replies.

    Args:
        rule: as for `hgobench.aggregators.build`: ``"median"``, ``"nnm+trimmed_mean"``,
            ``"mypkg.mod:MyRule"``.
        f: how many Byzantine nodes among those that are asked the rule is told to tolerate.
        scope: what the rule is where nodes sent different coordinates, as for
            `hgobench.aggregators.Rule`; None: ``"block"``, and with partial answers the rule's own
            default. Of whole models ``"coordinate"`` is the rule on each coordinate by itself; the
            others are ``"block"``.
        quorum: v, how many answers a coordinate needs; None: what the rule needs at f, and with
            partial answers no less than 2f + 1.
        partial: whether a part of a model is an answer.
        learning_rate: γ > 0.
        seed: of what a rule draws at random.
        data: clean data at the server; None: it has none.
        gradients: whether replies are gradients g_i, which the rule aggregates as they are, and not
            models.
        weights: what a reply counts: ``"none"``: all the same; ``"examples"``: as many examples as
            it claims to be of, cut so that no f of them have too much
            (`hgobench.protocol.bounded`); ``"claimed"``: as many as it claims.

    Raises:
        InputError: all that is wrong with the arguments.

    Example:
        >>> server = RuleServer("median", f=1)
        >>> layout = Layout({"w": np.zeros(2, np.float32)})
        >>> replies = [Reply(np.full(2, x, np.float32), None, {}) for x in (1, 2, 99)]
        >>> server.step(1, layout, np.zeros(2, np.float32), {}, replies, [0, 1, 2]).values
        array([2., 2.], dtype=float32)
    """

    def __init__(
        self,
        rule: str,
        *,
        f: int,
        scope: aggregators.Scope | None = None,
        quorum: int | None = None,
        partial: bool = False,
        learning_rate: float = 1.0,
        seed: int = 0,
        data: CleanData | None = None,
        gradients: bool = False,
        weights: Weighting = "none",
    ) -> None:
        check_arguments(
            rule=(instance("a rule's name", str), rule),
            partial=(instance("True or False", bool), partial),
            weights=(word(*WEIGHTINGS), weights),
        )
        try:
            f, seed = whole("f", f, least=0), whole("seed", seed, least=0, most=SEEDS)
            rate = positive("learning_rate", learning_rate)
            quorum = None if quorum is None else whole("quorum", quorum, least=1)
        except ValueError as error:
            raise InputError(str(error)) from error
        algorithm = Hgo() if partial else Sgd()
        with keyed(seed):
            if scope is None:
                scope = "block"
                if partial:
                    scope = aggregators.build(rule, f=f).scope_on_parts
            elif scope in ("staircase", "masked") and not partial:
                raise InputError(
                    f"scope: {scope!r}; expected 'block', or partial=True: of whole models the two "
                    "are the same"
                )
            made = aggregators.build(rule, f=f, scope=scope)
        if problem := cannot_weigh(weights, rule, made.weighted, made.minimum, f):
            raise InputError(problem)
        if "honest" in made.needs:
            raise InputError(f"rule: {shown(rule)} is told who is honest, which no server knows")
        if "root" in made.needs and data is None:
            raise InputError(f"rule: {shown(rule)} needs clean data at the server: data=..")
        least = max(made.minimum, algorithm.quorum(f, 1) if partial else 1)
        if quorum is not None and quorum < least:
            raise InputError(f"quorum: {quorum}; expected at least {least}, as f is {f}")
        self.name, self.f, self.scope, self.seed, self.data = rule, f, scope, seed, data
        self.partial, self.quorum = partial, least if quorum is None else quorum
        self.gradients = gradients
        self.server = Server(algorithm, made, GradientDescent(rate), self.quorum, weights)
        self._calls = Boundary("rule", rule, made, seed=seed, passes=(RuleError,))

    def step(
        self,
        k: int,
        layout: Layout,
        params: NDArray[Any],
        counters: Mapping[str, NDArray[Any]],
        replies: Sequence[Reply],
        workers: Sequence[int],
        unusable: Sequence[int] = (),
    ) -> Step:
        """Return what the replies of round k make of the parameters.

        A node whose reply was dropped has used up one of the f: where usable replies are fewer
        than the quorum, up to f such nodes count as answers that are infinitely far away, which
        rules ignore. So no node can stall a round by a reply, but only by silence.

        An entry of an array of integers or of bools becomes the lower median of those that were
        sent, if a quorum and at least 2f + 1 nodes sent the array, those nodes included.

        Args:
            k: the round, from 1.
            layout: of the arrays.
            params: (d,) the parameters that the nodes were sent.
            counters: all arrays of integers and of bools, by name.
            replies: of m nodes, each with finite values.
            workers: (m,) which worker each node is, for the rules that remember; ascending, so
                that the result does not depend on the order in which replies came.
            unusable: the workers whose replies were dropped.
        """
        kept = dict(counters)
        lacking = max(self.quorum - len(replies), 0)
        stand_ins = sorted(unusable)[: min(lacking, self.f)]

        def stalled(reason: str) -> Step:
            return Step(params, kept, np.zeros(0, np.int64), 0, plain(reason))

        if len(stand_ins) < lacking or not replies:
            bad = f", {len(unusable)} that can't be used, f is {self.f}" if unusable else ""
            return stalled(f"{len(replies)} answers{bad}; the quorum is {self.quorum}")
        with one_thread():
            old = torch.from_numpy(params.copy())
            away = None if self.gradients else params
            changes, sent = _changes(away, replies, len(stand_ins))
            claims = [min(max(reply.examples, 1), MOST_EXAMPLES) for reply in replies]
            examples = np.array([*claims, *(1 for _ in stand_ins)], np.int64)
            reception = self.server.receive_sets(sent, examples)
            if reception is None:
                return stalled(f"no coordinate has {self.quorum} answers, the quorum")
            block = reception.block
            view = ServerView(
                round=k,
                workers=np.array([*workers, *stand_ins], np.int64)[reception.rows],
                coordinates=block,
                dimension=len(old),
                root=None if self.data is None else _Root(self, layout, old, kept, block),
                weights=reception.weights,
                stream=lambda step: stream(self.seed, "rule", k, step),
            )
            try:
                with self._calls("call", k):
                    answer = self.server.aggregate(changes, reception, view)
            except (RuleError, PluginError) as error:
                return stalled(str(error))
            left, aggregate = reception.answered(answer)
            if left is None:
                return stalled(f"{self.name} has an answer for no coordinate")
            new = old.clone()
            self.server.step(new, left, aggregate)
            if not all_finite(new):
                return stalled(f"{self.name}: the model would no longer be finite")
        for name in kept:
            votes = [reply.counters[name] for reply in replies if name in reply.counters]
            if len(votes) + len(stand_ins) >= max(self.quorum, 2 * self.f + 1):
                kept[name] = lower_median(np.stack(votes))
        heard = reception.rows[reception.rows < len(replies)]
        return Step(new.numpy(), kept, heard, left.size, "")


def lower_median(votes: NDArray[Any]) -> NDArray[Any]:
    """Return the lower median down the first axis: of m values the ⌈m/2⌉-th, in their own type.

    >>> lower_median(np.array([[7], [1], [3], [3]]))
    array([3])
    """
    middle = (len(votes) - 1) // 2
    return np.asarray(np.partition(votes, middle, axis=0)[middle])


def _changes(
    params: NDArray[Any] | None, replies: Sequence[Reply], stand_ins: int
) -> tuple[Tensor, Tensor]:
    """Return what a rule aggregates of each reply, and what each sent, (m, d) both.

    That is by how much the server's parameters exceed it, or without any itself. Rows of NaN
    follow, for `stand_ins` further nodes. A difference that is too large for its type stays
    infinite: rules ignore up to f such vectors.
    """
    like = replies[0].values if params is None else params
    changes = np.full((len(replies) + stand_ins, len(like)), np.nan, like.dtype)
    sent = np.ones(changes.shape, np.bool_)
    with np.errstate(over="ignore"):
        for row, reply in enumerate(replies):
            if params is None:
                changes[row] = reply.values
            else:
                np.subtract(params, reply.values, out=changes[row])
            if reply.sent is not None:
                sent[row] = reply.sent
    return torch.from_numpy(changes), torch.from_numpy(sent)


class _Root:
    """Clean data at a server, as rules ask for them (`hgobench.aggregators.Root`).

    How many examples they are is up to who gave them.
    """

    def __init__(
        self,
        server: RuleServer,
        layout: Layout,
        params: Tensor,
        counters: dict[str, NDArray[Any]],
        block: Tensor | None,
    ) -> None:
        assert server.data is not None
        self._data, self._layout, self._counters = server.data, layout, counters
        self._params, self._block = params, slice(None) if block is None else block
        size = len(params) if block is None else len(block)
        self.rate = server.server.solver.rate(size, len(params))

    def _arrays(self, params: Tensor) -> dict[str, NDArray[Any]]:
        return self._layout.arrays(params.numpy().copy(), self._counters)

    def gradient(self, examples: int) -> Tensor:
        """Return by how much the server's parameters exceed what its own data make of them."""
        trained = self._data.train(self._arrays(self._params))
        change = self._params - torch.from_numpy(self._layout.vector(trained))
        return change[self._block]

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        """Return L(w) - L(w - γ·u) for each update u of the block, (m, b) -> (m,)."""
        before = float(self._data.loss(self._arrays(self._params)))
        after = []
        for update in updates:
            stepped = self._params.clone()
            stepped[self._block] -= self.rate * update.to(stepped)
            try:
                after.append(float(self._data.loss(self._arrays(stepped))))
            except OverflowError:
                after.append(math.inf)
        return before - torch.tensor(after, dtype=torch.float64)
