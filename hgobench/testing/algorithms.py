"""The laws of algorithms: what workers send, what the server takes of it, and when it steps.

A law is a function of an `Asking`: an algorithm, with workers to ask. Their losses are
a_i‖w - c_i‖²/2, and each minibatch shifts c_i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from hgobench.algorithms import Algorithm, Arrived, Held, Judged, Order, Places, Waiting, Work
from hgobench.algorithms.base import Budgets, Lengths, wrong_held, wrong_longest, wrong_numbers
from hgobench.lazy import Tensor, torch
from hgobench.models import Softmax

from .laws import (
    Law,
    NotApplicable,
    Trial,
    Verdict,
    equal,
    global_state_is_left_alone,
    table,
    try_trial,
)  # fmt: skip

WORKERS = (3, 11, 0, 7, 20, 5)
PLACES = (("scalar", "scalar"), ("feature", "scalar"), ("feature", "unit"))
DIMENSION = 21  # of softmax regression with 6 features and 3 classes
RATE = 0.1  # of the server
BUDGETS = (0.0, 0.5, 1.0, 3.7, 7.0, 20.9, 21.0, 50.0, 1e9, np.inf)


@cache
def orders() -> tuple[Order, ...]:
    """Return an order of every granularity and cost."""
    model = Softmax(features=6, classes=3)
    made = []
    for granularity, cost in PLACES:
        places = Places(model, granularity, cost)
        made.append(Order(places, np.random.default_rng(0).permutation(len(places))))
    return tuple(made)


def _told(order: Order) -> str:
    granularity, cost = PLACES[orders().index(order)]
    return f"granularity {granularity}, cost {cost}"


def drawn(worker: int, minibatch: int) -> Tensor:
    """Return c_i of a minibatch, (d,)."""
    draws = np.random.default_rng([worker, minibatch]).standard_normal(DIMENSION)
    return torch.from_numpy(draws.astype(np.float32))


@dataclass(kw_only=True)
class Asking(Trial[Algorithm]):
    """An algorithm under trial."""

    def lengths(
        self, algorithm: Algorithm, budget: Budgets, order: Order, upload: Budgets | None = None
    ) -> Lengths:
        """Return how many places each worker sends, checked."""
        with self.calling(algorithm, "lengths"):
            lengths = algorithm.lengths(budget.copy(), order, upload)
        if problem := wrong_numbers("lengths", lengths, len(budget), 0, len(order)):
            raise AssertionError(f"{_told(order)}: {problem}")
        return lengths

    def updates(
        self, algorithm: Algorithm, budget: Budgets, order: Order, upload: Budgets | None = None
    ) -> Lengths:
        """Return how many gradients each worker takes, checked."""
        with self.calling(algorithm, "updates"):
            updates = algorithm.updates(budget.copy(), order, upload)
        if problem := wrong_numbers("updates", updates, len(budget), 1, algorithm.gradients):
            raise AssertionError(f"{_told(order)}: {problem}")
        return updates

    def accepted(self, algorithm: Algorithm, lengths: Lengths, order: Order) -> Lengths:
        """Return the lengths as the server takes them, checked."""
        with self.calling(algorithm, "accepted"):
            taken = algorithm.accepted(lengths.copy(), order)
        if problem := wrong_numbers("lengths", taken, len(lengths), 0, len(order)):
            raise AssertionError(f"{_told(order)}: accepted: {problem}")
        return taken

    def messages(
        self, algorithm: Algorithm, order: Order, k: int = 1, workers: Sequence[int] = WORKERS
    ) -> Tensor:
        """Return what workers send in round k, (q, d), checked."""
        ids = np.array(workers)
        params = torch.full((DIMENSION,), 0.5 / k)
        budget = np.array(BUDGETS)[(ids + k) % len(BUDGETS)] * algorithm.gradients
        updates = self.updates(algorithm, budget, order)
        taken = np.full(len(ids), 0 if algorithm.own_start else 1)

        def at(where: Tensor, minibatch: int) -> Tensor:
            centres = torch.stack([drawn(i, 1000 * k + minibatch) for i in workers])
            return (1.0 + torch.from_numpy(ids / 40.0).float())[:, None] * (where - centres)

        def further(where: Tensor, minibatch: int, some: NDArray[np.bool_] | None = None) -> Tensor:
            busy = np.ones(len(ids), dtype=bool) if some is None else some
            if (busy & (taken >= updates)).any():
                raise ValueError("more gradients are taken than `updates` says")
            taken[busy] += 1
            return at(where, minibatch) * torch.from_numpy(busy)[:, None]

        gradients = at(params.expand(len(ids), -1), 0)
        work = Work(
            workers=ids,
            params=params.clone(),
            gradients=gradients.clone(),
            lengths=self.lengths(algorithm, budget / updates, order),
            order=order,
            budget=budget / updates,
            updates=updates,
            learning_rate=RATE,
            further=further,
            before=0.9 * params if algorithm.differences else None,
        )
        with self.calling(algorithm, "messages", k):
            sent: object = algorithm.messages(work)
        if not isinstance(sent, torch.Tensor) or not sent.is_floating_point():
            raise AssertionError(f"messages are {type(sent).__name__}; expected a float tensor")
        if sent.shape != gradients.shape:
            raise AssertionError(f"messages {tuple(sent.shape)}; expected {tuple(gradients.shape)}")
        return sent.clone()


def lengths_lie_within_the_order(trial: Asking) -> None:
    """Lengths are integers in 0 .. P, (q,), for any budget; none takes negative time."""
    algorithm = trial.make()
    for order in orders():
        trial.lengths(algorithm, np.array(BUDGETS), order)


def _by_own_time(
    ask: Callable[[Budgets], Lengths], budget: Budgets, what: str
) -> tuple[Lengths, str]:
    """Return what rising budgets give, and that in words.

    Raises:
        AssertionError: more time gives less, or a worker's answer depends on other workers' time.
    """
    given = ask(budget)
    told = f"{what} {given.tolist()} for budgets {budget.tolist()}"
    if (np.diff(given) < 0).any():
        raise AssertionError(told)
    mixed = np.random.default_rng(0).permutation(len(budget))
    if not equal(ask(budget[mixed]), given[mixed]):
        raise AssertionError(f"{told}, others in another order of the workers")
    return given, told


def more_time_is_no_shorter(trial: Asking) -> None:
    """A worker's length depends on its own time, and with more of it is no less.

    If sending takes time too, it is no longer.
    """
    algorithm = trial.make()
    budget = np.array(BUDGETS)
    for order in orders():
        ask = partial(trial.lengths, algorithm, order=order)
        lengths, told = _by_own_time(ask, budget, f"{_told(order)}: lengths")
        paid = trial.lengths(algorithm, budget, order, np.full(len(budget), 0.5))
        if (paid > lengths).any():
            raise AssertionError(f"{told}, {paid.tolist()} if sending takes time")


def server_takes_no_more_than_was_sent(trial: Asking) -> None:
    """Accepted lengths are integers, at most as large as those that were sent."""
    algorithm = trial.make()
    for order in orders():
        sent = np.arange(len(order) + 1)
        taken = trial.accepted(algorithm, sent, order)
        if (taken > sent).any():
            i = int((taken > sent).argmax())
            raise AssertionError(
                f"{_told(order)}: accepts a length of {taken[i]}; {sent[i]} was sent"
            )


def parts_are_answers_only_if_it_says_so(trial: Asking) -> None:
    """Unless it is `partial`, a part of a gradient is no answer."""
    algorithm = trial.make()
    if algorithm.partial:
        raise NotApplicable("says that a part of a gradient is an answer")
    for order in orders():
        taken = trial.accepted(algorithm, np.arange(len(order)), order)
        if taken.any():
            i = int((taken > 0).argmax())
            raise AssertionError(
                f"{_told(order)}: accepts {taken[i]} of {len(order)} places; say partial = True"
            )


def computed_counts_what_was_sent(trial: Asking) -> None:
    """`computed` is a whole number: at least the coordinates sent, at most d of each worker."""
    algorithm = trial.make()
    budget = np.array(BUDGETS)
    for order in orders():
        lengths = trial.lengths(algorithm, budget, order)
        with trial.calling(algorithm, "computed"):
            count: object = algorithm.computed(budget, lengths, order)
        low, high = int(order.coordinates(lengths).sum()), order.dimension * len(budget)
        if not isinstance(count, int) or not low <= count <= high:
            raise AssertionError(
                f"{_told(order)}: {count!r}; expected a whole number from {low} to {high}"
            )


def full_cost_pays_for_all(trial: Asking) -> None:
    """A worker with the budget `full_cost` sends as much as one with any budget."""
    algorithm = trial.make()
    for order in orders():
        with trial.calling(algorithm, "full_cost"):
            cost = algorithm.full_cost(order)
        lengths = trial.lengths(algorithm, np.array([float(cost), np.inf]), order)
        if lengths[0] != lengths[1] or not lengths[0]:
            raise AssertionError(
                f"{_told(order)}: {lengths[0]} places for {cost}, {lengths[1]} for any budget"
            )


def quorum_is_enough(trial: Asking) -> None:
    """The default quorum is a whole number, at least what the rule needs."""
    algorithm = trial.make()
    for tolerated in (0, 1, 5):
        for minimum in (1, 2 * tolerated + 1, 4 * tolerated + 3):
            with trial.calling(algorithm, "quorum"):
                quorum: object = algorithm.quorum(tolerated, minimum)
            if not isinstance(quorum, int) or quorum < minimum:
                raise AssertionError(
                    f"{quorum!r} for f̂ = {tolerated}; expected a whole number, at least the rule's "
                    f"{minimum}"
                )


def updates_are_at_most_its_gradients(trial: Asking) -> None:
    """A worker takes 1 to `gradients` gradients, by its own time, and with more of it no fewer."""
    algorithm = trial.make()
    count: object = algorithm.gradients
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise AssertionError(f"gradients: {count!r}; expected a whole number >= 1")
    budget = np.array(BUDGETS) * count
    for order in orders():
        _by_own_time(
            partial(trial.updates, algorithm, order=order), budget, f"{_told(order)}: updates"
        )


def answers_are_numbers(trial: Asking) -> None:
    """An answer is at least one of its `numbers`, a longer one no fewer, and none is none."""
    algorithm = trial.make()
    for order in orders():
        lengths = np.arange(len(order) + 1)
        with trial.calling(algorithm, "numbers"):
            numbers: object = algorithm.numbers(lengths.copy(), order)
        fits = isinstance(numbers, np.ndarray) and numbers.shape == lengths.shape
        if not fits or np.asarray(numbers).dtype.kind != "i":
            raise AssertionError(f"{_told(order)}: {numbers}; expected ({len(lengths)},) integers")
        counts = np.asarray(numbers)
        if counts[0] != 0 or (counts[1:] < 1).any() or (np.diff(counts) < 0).any():
            raise AssertionError(f"{_told(order)}: {counts.tolist()} for lengths 0 .. {len(order)}")


def what_fits_stays(trial: Asking) -> None:
    """What `fitted` leaves of values it leaves again, row by row; so it does of messages."""
    order = orders()[0]
    algorithm = trial.make()
    values = torch.stack([drawn(worker, 0) for worker in WORKERS])

    def fitted(values: Tensor) -> Tensor:
        with trial.calling(algorithm, "fitted"):
            return algorithm.fitted(values.clone())

    once = fitted(values)
    if once.shape != values.shape or not torch.equal(fitted(once), once):
        raise AssertionError("values that were fitted change if they are fitted again")
    if not torch.equal(torch.cat([fitted(row[None]) for row in values]), once):
        raise AssertionError("what is left of a worker's values depends on others")
    sent = trial.messages(algorithm, order)
    if not torch.equal(fitted(sent), sent):
        raise AssertionError("workers send more than an answer has room for")


def scales_are_finite(trial: Asking) -> None:
    """What the server multiplies answers by, if it does, are finite numbers > 0, (m,)."""
    algorithm = trial.make()
    for updates in (np.ones(1, dtype=np.int64), 1 + np.arange(7) % algorithm.gradients):
        with trial.calling(algorithm, "scales"):
            scales: object = algorithm.scales(updates.copy())
        if scales is None:
            raise NotApplicable("the server multiplies answers by nothing")
        numbers = np.asarray(scales)
        fits = numbers.shape == updates.shape and numbers.dtype.kind == "f"
        if not fits or not (np.isfinite(numbers) & (numbers > 0)).all():
            raise AssertionError(f"{scales} for updates {updates.tolist()}")


def messages_fit(trial: Asking) -> None:
    """Messages are a float tensor (q, d), finite, from at most `updates` gradients each."""
    for order in orders():
        algorithm = trial.make()
        for k in (1, 2):
            if not torch.isfinite(trial.messages(algorithm, order, k)).all():
                raise AssertionError(f"{_told(order)}: not finite in round {k}")


def messages_do_not_depend_on_others(trial: Asking) -> None:
    """A worker sends the same if others are asked beside it, or in another order."""
    for order in orders():
        together = trial.messages(trial.make(), order)
        for workers in (WORKERS[::-1], WORKERS[:1], WORKERS[1:4]):
            rows = [WORKERS.index(i) for i in workers]
            found = trial.messages(trial.make(), order, workers=workers)
            if not torch.allclose(found, together[rows], rtol=1e-4, atol=1e-5):
                gap = float((found - together[rows]).abs().max())
                raise AssertionError(
                    f"{_told(order)}: if workers {list(workers)} are asked, and not "
                    f"{list(WORKERS)}, messages differ by {gap:.3g}"
                )


def runs_share_nothing(trial: Asking) -> None:
    """The same rounds give the same messages, whatever another instance does meanwhile."""
    order = orders()[0]
    alone, observed, other = trial.make(), trial.make(), trial.make()
    for k in range(1, 5):
        workers = np.roll(WORKERS, k)[:4].tolist()
        expected = trial.messages(alone, order, k, workers)
        trial.messages(other, order, k + 3)
        if not torch.equal(trial.messages(observed, order, k, workers), expected):
            raise AssertionError(f"round {k}: other messages than in an equal run")


class _Root:
    """Clean examples whose loss is ‖w - 1‖²/2, at w = 0."""

    rate = RATE

    def gradient(self, examples: int) -> Tensor:
        return torch.full((DIMENSION,), -1.0)


def _waiting(answers: int, outstanding: int) -> Waiting:
    workers = np.arange(answers)
    values = torch.stack([drawn(worker, 0) for worker in range(answers)])
    judged = Judged(values, values * 0.5, _Root())
    come = workers, workers % 3, np.full(answers, DIMENSION)
    return Waiting(*come, outstanding, tolerated=0, judged=judged)


def weights_weigh_the_answers(trial: Asking) -> None:
    """`weights` is None, or finite numbers >= 0, one of each waiting answer; not always None."""
    stepped = False
    for answers in (1, 2, 10, 100):
        for outstanding in (5, 0):
            algorithm, waiting = trial.make(), _waiting(answers, outstanding)
            with trial.calling(algorithm, "weights"):
                found = algorithm.weights(waiting)
            if found is None:
                continue
            stepped = True
            numbers = np.asarray(found)
            fits = numbers.shape == (answers,) and numbers.dtype.kind in "fi"
            if not fits or not (np.isfinite(numbers) & (numbers >= 0)).all():
                raise AssertionError(
                    f"{answers} waiting answers: {numbers}; expected ({answers},) finite numbers "
                    ">= 0"
                )
    if not stepped:
        raise AssertionError("with 100 answers and none outstanding the server still waits")


def rounds_are_as_it_says(trial: Asking) -> None:
    """If it goes `by_rounds`, the server steps once none is outstanding, and all count the same."""
    algorithm = trial.make()
    if not algorithm.by_rounds:
        raise NotApplicable("takes answers whenever they come")
    for answers in (1, 7):
        for outstanding in (3, 0):
            with trial.calling(algorithm, "weights"):
                found = algorithm.weights(_waiting(answers, outstanding))
            if not equal(found, None if outstanding else np.ones(answers)):
                raise AssertionError(
                    f"{answers} answers, {outstanding} outstanding: weights {found}; the "
                    "simulation asks for none: leave by_rounds as it is"
                )


def what_is_held_is_a_function(trial: Asking) -> None:
    """What the server holds are workers' rows, (m, d), and follow from the round and the last.

    Asking changes neither.
    """
    algorithm = trial.make()
    if not algorithm.keeps:
        raise NotApplicable("the server holds nothing of its workers")
    order, held = orders()[0], None
    for k in range(1, 5):
        workers = np.roll(WORKERS, k)[:4]
        values = torch.stack([drawn(i, k) for i in workers.tolist()])
        lengths = (workers * k) % (len(order) + 1)
        arrived = Arrived(k, workers, values.clone(), lengths, order, quorum=2)
        before = deepcopy(held)
        found = []
        for _ in range(2):
            with trial.calling(algorithm, "held", k):
                found.append(algorithm.held(arrived, held))
            if problem := wrong_held(found[-1], order.dimension):
                raise AssertionError(f"round {k}: {problem}")
        if not torch.equal(arrived.values, values) or not _alike(held, before):
            raise AssertionError(f"round {k}: it changes what it is asked about")
        if not _alike(*found):
            raise AssertionError(f"round {k}: asked twice, it holds something else")
        held = found[0]


def _alike(one: Held | None, other: Held | None) -> bool:
    if one is None or other is None:
        return one is other
    return equal(one.workers, other.workers) and torch.equal(one.values, other.values)


def pool_is_of_its_workers(trial: Asking) -> None:
    """The rule may get values of q to n workers; without memory or whole rounds, of the q asked."""
    algorithm = trial.make()
    for sampled, workers in ((1, 1), (5, 20), (20, 20)):
        with trial.calling(algorithm, "pool"):
            pool: object = algorithm.pool(sampled, workers)
        most = workers if algorithm.pools else sampled
        if not isinstance(pool, int) or not sampled <= pool <= most:
            raise AssertionError(
                f"{pool!r} of q={sampled}, n={workers}; expected a whole number from {sampled} to "
                f"{most}"
            )


def differences_are_clipped_by_the_step(trial: Asking) -> None:
    """Differences are clipped to a number >= 0, no less after a longer step; or never."""
    algorithm = trial.make()
    if not algorithm.differences:
        raise NotApplicable("workers send no differences")
    lengths: list[float] = []
    for step in (0.0, 1e-6, 0.1, 1.0, 50.0):
        with trial.calling(algorithm, "longest"):
            longest = algorithm.longest(step)
        if problem := wrong_longest(longest):
            raise AssertionError(f"a step of {step:g}: {problem}")
        lengths.append(np.inf if longest is None else float(longest))
    if (np.diff(lengths) < 0).any():
        raise AssertionError(f"{lengths} for steps of 0 to 50")


def buffers_are_those_it_says(trial: Asking) -> None:
    """If the rule gets means of buffers, each worker has one of them, in 0 .. `answers` - 1."""
    algorithm = trial.make()
    if not algorithm.merges:
        raise NotApplicable("the rule gets answers as they are")
    workers = np.arange(50)
    with trial.calling(algorithm, "buffers"):
        found: object = algorithm.buffers(workers.copy())
    if problem := wrong_numbers("buffers", found, 50, 0, (algorithm.answers or 0) - 1):
        raise AssertionError(problem)
    if not equal(algorithm.buffers(workers[::-1].copy()), np.asarray(found)[::-1]):
        raise AssertionError("a worker's buffer depends on who else has answered")


ALGORITHM_LAWS: dict[str, Law] = table(
    lengths_lie_within_the_order,
    more_time_is_no_shorter,
    server_takes_no_more_than_was_sent,
    parts_are_answers_only_if_it_says_so,
    computed_counts_what_was_sent,
    full_cost_pays_for_all,
    quorum_is_enough,
    updates_are_at_most_its_gradients,
    answers_are_numbers,
    what_fits_stays,
    scales_are_finite,
    messages_fit,
    messages_do_not_depend_on_others,
    runs_share_nothing,
    what_is_held_is_a_function,
    pool_is_of_its_workers,
    differences_are_clipped_by_the_step,
    weights_weigh_the_answers,
    rounds_are_as_it_says,
    buffers_are_those_it_says,
    global_state_is_left_alone,
)


def try_algorithm(specification: str) -> Iterator[Verdict]:
    """Check all laws of an algorithm.

    Raises:
        InputError: there is none of this name.
    """
    return try_trial(Asking(kind="algorithm", name=specification), ALGORITHM_LAWS)
