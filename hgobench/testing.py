"""The laws that every rule, attack and data set obeys, for this project's and for your own.

    hgobench test mypkg.mymod:MyRule

or, in a test suite of your own::

    from hgobench.testing import check_rule
    check_rule("mypkg.mymod:MyRule")

A law of rules is a function of a `Case`, which is a rule with values to aggregate; a law of attacks
is a function of a constructor of the attack, one of data of its name. A broken law raises
AssertionError. Cases come in order of size, so that the first that fails is the smallest. A rule or
attack whose definition contradicts a law says so in its `exempt`: a mapping from the law's name to
the reason.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hgobench import aggregators, attacks, models
from hgobench.aggregators import PreRule, Rule, RuleError, Scope, ServerView
from hgobench.attacks import Attack, HeterogeneityAttack, Message, Outcome, View
from hgobench.boundary import Boundary, PluginError, error_text
from hgobench.data import datasets
from hgobench.data.base import Source
from hgobench.data.functions import makes_examples
from hgobench.determinism import one_thread
from hgobench.engines.base import Failure
from hgobench.engines.local import Local
from hgobench.errors import InputError, unknown
from hgobench.lazy import Tensor, torch
from hgobench.notation import specification as specification_of

MakeRule = Callable[[int], Rule]

# What up to f workers may send.
POISONS = (1e30, -1e30, math.inf, -math.inf, math.nan, 3e38)
TIMES = 20
ROUNDS = 100  # of the run that attacks are tried in
UPDATES = 4  # the most that a worker takes in a view, where answers say how many
EXAMPLES = 1000  # of data that gradients are tried on
RATE = 0.1  # of the server of a round that attacks are tried on


@dataclass(frozen=True)
class _Root:
    """A server's data set whose gradient is a and whose loss is ‖w - a‖²/2 at w = 0."""

    size: int
    coordinates: Tensor | None = None
    rate: float = 1.0

    def gradient(self, examples: int) -> Tensor:
        whole = torch.linspace(0.5, 1.5, self.size)
        return whole if self.coordinates is None else whole[self.coordinates]

    def descent(self, updates: Tensor, examples: int) -> Tensor:
        aim = self.gradient(examples).to(updates)
        return (aim.square().sum() - (updates - aim).square().sum(dim=1)) / 2.0


@dataclass(frozen=True)
class Case:
    """A rule, and values (n, d) for it to aggregate; the first f workers are the Byzantine ones.

    Attributes:
        make: constructs the rule from f; called for every answer, as rules may remember.
        f: number of Byzantine workers that the rule is told to tolerate.
        values: (n, d) float32, standard normal, to three decimals.
    """

    make: MakeRule
    f: int
    values: Tensor

    @property
    def rule(self) -> Rule:
        """A new rule."""
        return self.make(self.f)

    def ask(
        self,
        values: Tensor | None = None,
        present: Tensor | None = None,
        workers: Tensor | None = None,
        rule: Rule | None = None,
        round_: int = 1,
        coordinates: Tensor | None = None,
        served: Tensor | None = None,
    ) -> Tensor:
        """Aggregate.

        Args:
            values: (m, b); None: the case's.
            present: (m, b) bool, the entries that were sent; None: all.
            workers: (m,) the case's worker of each row; None: 0..m-1.
            rule: the rule that is asked; None: a new one.
            round_: the server's round.
            coordinates: (b,) the case's coordinate of each column; None: all.
            served: (b,) bool, which of them the answer is used for; None: all.
        """
        values = self.values if values is None else values
        rule = self.rule if rule is None else rule
        if values.ndim != 2:
            return rule(values, present)
        ids = np.arange(len(values)) if workers is None else workers.numpy()
        dimension = None if coordinates is None else self.values.shape[1]
        root = _Root(dimension or values.shape[1], coordinates)
        view = ServerView(
            *(round_, ids, coordinates, dimension), honest=ids >= self.f, root=root, served=served
        )
        with Boundary("rule", rule.name, rule, seed=0, passes=(RuleError,))("call", round_):
            return rule(values, present, view)

    def __str__(self) -> str:
        n, d = self.values.shape
        table = "\n".join("    " + " ".join(f"{x:7.3f}" for x in row) for row in self.values)
        return f"f={self.f}, {n} workers, {d} coordinates, values\n{table}"


def cases(make: MakeRule, extra: tuple[int, ...] = (0, 1, 4)) -> Iterator[Case]:
    """Yield cases with f = 0..3, just enough workers or more, and 1 or 7 coordinates."""
    rng = np.random.default_rng(0)
    collected = []
    for f in range(4):
        for surplus in extra:
            for d in (1, 7):
                n = max(make(f).minimum, 2 * f + 1) + surplus
                values = np.round(rng.standard_normal((n, d)), 3).astype(np.float32)
                collected.append(Case(make, f, torch.from_numpy(values)))
    yield from sorted(collected, key=lambda case: case.values.numel())


def _close(actual: Tensor, expected: Tensor, context: str) -> None:
    if not torch.allclose(actual, expected, rtol=1e-5, atol=1e-6):
        raise AssertionError(f"{context}: {_short(actual)}; expected {_short(expected)}")


def _same(actual: Tensor, expected: Tensor, context: str) -> None:
    if not torch.equal(actual, expected):
        raise AssertionError(f"{context}: {_short(actual)}; expected {_short(expected)}")


def _short(vector: Tensor) -> str:
    return "[" + " ".join(f"{float(x):.6g}" for x in vector.flatten()) + "]"


def answers_at_all(case: Case) -> None:
    """The answer to ordinary values of enough workers is finite."""
    answer = case.ask()
    if not torch.isfinite(answer).all():
        raise AssertionError(_short(answer))


def finite_within_honest_range(case: Case) -> None:
    """With f rows of 1e30, NaN or ±Inf the answer is finite and within the honest range."""
    f, values = case.f, case.values
    mixed = [POISONS[i % len(POISONS)] for i in range(f * values.shape[1])]
    honest = values[f:]
    slack = 1e-5 * honest.abs().amax(dim=0)
    low, high = honest.amin(dim=0) - slack, honest.amax(dim=0) + slack
    mixture = torch.tensor(mixed).reshape(f, values.shape[1])
    poisoned_rows = [(str(poison), torch.full_like(mixture, poison)) for poison in POISONS]
    poisoned_rows.append(("a mixture of poisons", mixture))
    situation = f"when the first {f} workers send"
    if not f:
        situation, poisoned_rows = "with no attacker,", [("sending nothing", mixture)]
    for name, poison in poisoned_rows:
        poisoned = values.clone()
        poisoned[:f] = poison
        for values_ in (poisoned, poisoned.double()):
            try:
                answer = case.ask(values_).float()
            except RuleError as error:
                raise AssertionError(f"{situation} {name}: {error}") from error
            if not ((answer >= low) & (answer <= high)).all():
                raise AssertionError(
                    f"{situation} {name}: {_short(answer)} leaves the honest range"
                )


def ladder(f: int, values: Tensor) -> Tensor:
    """Return (f, d) spikes of 1e3, 1e6, 1e9 in different coordinates: some may hide others."""
    rungs = torch.zeros(f, values.shape[1])
    for i in range(f):
        rungs[i, i % values.shape[1]] = 10.0 ** (3 * (i + 1))
    return rungs


def order_of_workers_is_irrelevant(case: Case) -> None:
    """Permuting the workers changes nothing."""
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(case.values)))
    permuted = case.ask(case.values[order], workers=order)
    _close(permuted, case.ask(), f"with the workers in the order {order.tolist()}")


def translation_equivariant(case: Case) -> None:
    """A shift of all values shifts the answer: AR(x + a) = AR(x) + a."""
    shift = torch.arange(1, case.values.shape[1] + 1) / 4.0
    _close(case.ask(case.values + shift), case.ask() + shift, f"shifted by {_short(shift)}")


def scaling_equivariant(case: Case) -> None:
    """A positive factor scales the answer: AR(c·x) = c·AR(x)."""
    _close(case.ask(case.values * 8.0), case.ask() * 8.0, "times 8")


def dense_equals_ragged(case: Case) -> None:
    """A `present` that is all true is the same as none."""
    complete = torch.ones_like(case.values, dtype=torch.bool)
    _same(case.ask(present=complete), case.ask(), "with all present")


def ragged_is_the_rule_on_who_sent(case: Case) -> None:
    """Coordinate j is the rule on Q_j alone; in scope "block", on those that sent the block.

    In scope "staircase" it is the rule on what all of Q_j sent. In scope "masked" it is the rule on
    those that sent anything, if they all sent the same.
    """
    rng = np.random.default_rng(2)
    rule, values = case.rule, case.values
    n, d = values.shape
    present = torch.zeros(n, d, dtype=torch.bool)
    for j in range(d):
        count = rng.integers(rule.minimum, n + 1)
        present[torch.from_numpy(rng.permutation(n)[:count]), j] = True
    if rule.scope == "coordinate" or getattr(rule, "sees_present", False):
        answer = case.ask(present=present)
        for j in range(d):
            senders = present[:, j].nonzero()[:, 0]
            column = torch.tensor([j])
            alone = case.ask(values[senders][:, column], workers=senders, coordinates=column)
            _close(answer[column], alone, f"coordinate {j}, sent by {senders.tolist()}")
    elif rule.scope == "staircase":
        _close(case.ask(present=present), _climbed(case, present), "by its steps")
    elif rule.scope == "masked":
        senders = torch.from_numpy(np.sort(rng.permutation(n)[: rng.integers(rule.minimum, n + 1)]))
        present = torch.zeros_like(present)
        present[senders, : max(d - 1, 1)] = True
        alike = torch.arange(max(d - 1, 1))
        alone = case.ask(values[senders][:, alike], workers=senders, coordinates=alike)
        _close(
            case.ask(present=present)[alike], alone, f"of which {senders.tolist()} sent the same"
        )
    else:
        present[: rule.minimum] = True
        senders = present.all(dim=1).nonzero()[:, 0]
        complete = case.ask(values[senders], workers=senders)
        _close(case.ask(present=present), complete, f"of which {senders.tolist()} sent all")


def _climbed(case: Case, present: Tensor) -> Tensor:
    """Return a rule's answer in scope "staircase", by its definition: step after step.

    A step is a set of workers and the coordinates that exactly these sent; steps with fewer workers
    come first. In each, the rule is asked for all coordinates that all of these workers sent: those
    with the most senders first, the step's own last.
    """
    answer, rule, counts = torch.zeros(present.shape[1]), case.rule, present.sum(dim=0)
    groups: dict[tuple[int, ...], list[int]] = {}
    for j, column in enumerate(present.T):
        groups.setdefault(tuple(column.nonzero()[:, 0].tolist()), []).append(j)
    for senders, own in sorted(groups.items(), key=lambda item: (len(item[0]), item[1])):
        rows = torch.tensor(senders)
        shared = [j for j in range(present.shape[1]) if present[rows, j].all() and j not in own]
        shared.sort(key=lambda j: -int(counts[j]))
        columns = torch.tensor([*shared, *own])
        last = torch.arange(len(columns)) >= len(shared)
        step_answer = case.ask(
            case.values[rows][:, columns], None, rows, rule, coordinates=columns, served=last
        )
        answer[columns[last]] = step_answer[last]
    return answer


def absent_entries_do_not_matter(case: Case) -> None:
    """Values at entries that were not sent change nothing; unsent coordinates are 0."""
    values = torch.cat((case.values, case.values[:, -1:]), dim=1)
    present = torch.ones_like(values, dtype=torch.bool)
    present[-2:, values.shape[1] // 2 :] = False
    present[:, -1] = False
    expected = case.ask(values, present)
    if expected[-1] != 0:
        raise AssertionError(f"{float(expected[-1])} where no worker sent anything; expected 0")
    for poison in POISONS:
        answer = case.ask(values.masked_fill(~present, poison), present)
        _same(answer, expected, f"with {poison} where nothing was sent")


def input_is_left_alone(case: Case) -> None:
    """The input is not changed, and its layout and floating-point type do not matter."""
    values, original = case.values.clone(), case.values.clone()
    present = torch.ones_like(values, dtype=torch.bool)
    present[-1, -1] = len(values) == case.rule.minimum
    case.ask(values, present)
    _same(values, original, "its input became")
    strided = torch.stack((values, values), dim=2)[:, :, 0]
    _same(case.ask(strided), case.ask(), "with strided values")
    for dtype in (torch.float32, torch.float64):
        answer = case.ask(values.to(dtype)).dtype
        if answer != dtype:
            raise AssertionError(f"{dtype} became {answer}")


def answers_repeat_bit_for_bit(case: Case) -> None:
    """The same values give the same answer, 20 times out of 20."""
    first = case.ask()
    for time in range(2, TIMES + 1):
        _same(case.ask(), first, f"answer {time}")


def too_few_are_refused(case: Case) -> None:
    """One worker fewer than `minimum` is refused with RuleError, as are bad shapes and types."""
    values, minimum = case.values, case.rule.minimum
    bad = [values.long(), values[0], values[:0], values[None]]
    if minimum > 1:
        bad.append(values[: minimum - 1])
    for invalid in bad:
        try:
            answer = case.ask(invalid)
        except RuleError:
            continue
        raise AssertionError(f"accepted {invalid.dtype} {tuple(invalid.shape)}: {_short(answer)}")


def never_silently_non_finite(case: Case) -> None:
    """With only NaN or infinite values there is a RuleError, not a NaN."""
    for poison in (torch.nan, torch.inf):
        try:
            answer = case.ask(torch.full_like(case.values, poison))
        except RuleError:
            continue
        raise AssertionError(f"answers {_short(answer)} to nothing but {poison}")


def remembers_only_if_it_says_so(case: Case) -> None:
    """Unless the rule is `stateful`, earlier rounds change nothing."""
    rule = case.rule
    if rule.stateful:
        return
    case.ask(case.values * 3.0 + 1.0, rule=rule)
    _same(case.ask(rule=rule, round_=2), case.ask(round_=2), "in its second round")


def runs_share_nothing(case: Case) -> None:
    """A sequence of rounds gives the same answers, whatever another instance does meanwhile."""
    rounds = [case.values * scale for scale in (1.0, -2.0, 0.5, 3.0, 1.0)]
    alone, observed, other = case.rule, case.rule, case.rule
    for k, values in enumerate(rounds, 1):
        expected = case.ask(values, rule=alone, round_=k)
        case.ask(values.flip(0) * 7.0 + 1.0, rule=other, round_=k)
        answer = case.ask(values, rule=observed, round_=k)
        _same(answer, expected, f"in round {k}, beside another instance")


def rounds_may_differ(case: Case) -> None:
    """Rounds may have other workers, coordinates and orders of the workers."""
    n, d = case.values.shape
    if d == 1:
        return  # there are no other coordinates, and ties of directions
    rng = np.random.default_rng(3)
    straight, shuffled = case.rule, case.rule
    minimum = min(max(case.rule.minimum, 2 * case.f + 1) + 2, n)
    for k in range(1, 5):
        workers = np.sort(rng.permutation(n)[: rng.integers(minimum, n + 1)])
        coordinates = np.sort(rng.permutation(d)[: rng.integers(min(d, 2), d + 1)])
        order = rng.permutation(len(workers))
        columns = torch.from_numpy(coordinates)
        answers = []
        for rule, ids in ((straight, workers), (shuffled, workers[order])):
            who = torch.from_numpy(ids)
            values = case.values[who][:, columns] * k
            answers.append(case.ask(values, None, who, rule, k, columns))
        context = f"round {k}, workers {workers.tolist()}, coordinates {coordinates.tolist()}"
        if not torch.isfinite(answers[0]).all():
            raise AssertionError(f"{context}: {_short(answers[0])}")
        if "order_of_workers_is_irrelevant" not in case.rule.exempt:
            _close(answers[1], answers[0], f"{context}, in another order")


def poisoned_rounds_stay_bounded(case: Case) -> None:
    """Over six rounds with f rows of poison no answer is 100 times as long as honest vectors."""
    rule = case.rule
    spikes = ladder(case.f, case.values)
    poisons: dict[str, float | Tensor] = {
        "nan": torch.nan,
        "1e30": 1e30,
        "spikes of 1e3, 1e6, 1e9": spikes,
    }
    poisons |= {"inf": torch.inf, "-1e30": -1e30, "-inf": -torch.inf}
    for k, (name, poison) in enumerate(poisons.items(), 1):
        values = case.values * k
        longest = float(values[case.f :].norm(dim=1).max())
        values[: case.f] = poison
        try:
            length = float(case.ask(values, rule=rule, round_=k).norm())
        except RuleError as error:
            raise AssertionError(f"round {k}, poison {name}: {error}") from error
        if not length <= 100.0 * (longest + 1.0):
            raise AssertionError(
                f"round {k}, poison {name}: an answer of length {length:.3g}; the longest honest "
                f"vector has {longest:.3g}"
            )


RULE_LAWS: dict[str, Callable[[Case], None]] = {
    law.__name__: law
    for law in (
        answers_at_all,
        finite_within_honest_range,
        order_of_workers_is_irrelevant,
        translation_equivariant,
        scaling_equivariant,
        dense_equals_ragged,
        ragged_is_the_rule_on_who_sent,
        absent_entries_do_not_matter,
        input_is_left_alone,
        answers_repeat_bit_for_bit,
        too_few_are_refused,
        never_silently_non_finite,
        remembers_only_if_it_says_so,
        runs_share_nothing,
        rounds_may_differ,
        poisoned_rounds_stay_bounded,
    )
}

# Laws with more workers than the rule needs: with fewer, input would not be ragged, or workers
# would tie (as the two nearest vectors do in Krum with one neighbour).
_EXTRA = {
    "order_of_workers_is_irrelevant": (4,),
    "translation_equivariant": (4,),
    "scaling_equivariant": (4,),
    "input_is_left_alone": (0, 4),
    "answers_repeat_bit_for_bit": (1,),
    "remembers_only_if_it_says_so": (1,),
    "runs_share_nothing": (1,),
    "rounds_may_differ": (6,),
    "ragged_is_the_rule_on_who_sent": (3,),
    "absent_entries_do_not_matter": (3,),
}


# Complete vectors are aggregated in these scopes as in "block".
_RAGGED_SCOPES = ("staircase", "masked")
_RAGGED_LAWS = (dense_equals_ragged, ragged_is_the_rule_on_who_sent, absent_entries_do_not_matter)


def laws_of(scope: Scope) -> tuple[str, ...]:
    """Return the laws that say something of a scope that others do not say already."""
    if scope in _RAGGED_SCOPES:
        return tuple(law.__name__ for law in _RAGGED_LAWS)
    return tuple(RULE_LAWS)


@dataclass(frozen=True)
class Verdict:
    """The result of checking a law.

    Attributes:
        law: its name.
        scope: of the rule; empty for an attack.
        outcome: pass, fail or not applicable.
        detail: the smallest failing example, or why the law does not apply.
    """

    law: str
    scope: str
    outcome: Literal["pass", "fail", "not applicable"]
    detail: str = ""


def rule_maker(specification: str, scope: Scope | None = None) -> MakeRule:
    """Return a function from f to the named rule."""
    return lambda f: aggregators.build(specification, f=f, scope=scope)


def try_law(law: str, make: MakeRule) -> Verdict:
    """Check one law of a rule."""
    rule = make(0)
    if law in rule.exempt:
        return Verdict(law, rule.scope, "not applicable", rule.exempt[law])
    for case in cases(make, _EXTRA.get(law, (0, 1, 4))):
        try:
            RULE_LAWS[law](case)
        except InputError:
            raise
        except AssertionError as error:
            return Verdict(law, rule.scope, "fail", f"{error}\n  with {case}")
        except Exception as error:
            detail = f"{_raised(error)}\n  with {case}"
            return Verdict(law, rule.scope, "fail", detail)
    return Verdict(law, rule.scope, "pass")


def _raised(error: Exception) -> str:
    return str(error) if isinstance(error, PluginError) else error_text(error)


def try_rule(specification: str, *, scope: Scope | None = None) -> Iterator[Verdict]:
    """Check all laws of a rule, in each of its scopes those that are about it (`laws_of`).

    Args:
        specification: a name, or ``module:Class``.
        scope: one of the scopes that the rule has; None: all.

    Raises:
        InputError: there is no such rule.
    """
    rule = aggregators.build(specification)
    scopes = rule.scopes() if scope is None else (scope,)
    _check_exempt("rule", specification, rule.exempt, RULE_LAWS)
    mute = set[Scope]()  # in them the rule answers nothing: other laws would say the same
    for tested in scopes:
        if tested in _RAGGED_SCOPES and "block" in mute:
            continue
        for law in laws_of(tested):
            verdict = try_law(law, rule_maker(specification, tested))
            yield verdict
            if law == answers_at_all.__name__ and verdict.outcome == "fail":
                mute.add(tested)
                break


def _check_exempt(
    kind: str, specification: str, exempt: Mapping[str, str], laws: Mapping[str, object]
) -> None:
    """Raise InputError for exemptions from unknown laws."""
    if unknown_laws := set(exempt) - set(laws):
        raise InputError(
            f"{kind}: {specification!r}: exempt: no such law {name!r}; expected one of "
            f"{', '.join(laws)}"
            for name in sorted(unknown_laws)
        )


def check_rule(specification: str, *, scope: Scope | None = None) -> None:
    """Check all laws of a rule (see `try_rule`).

    Raises:
        AssertionError: a law is broken; the message begins with the law's name.
        InputError: there is no such rule.
    """
    _all_pass(try_rule(specification, scope=scope))


def _all_pass(verdicts: Iterator[Verdict]) -> None:
    for verdict in verdicts:
        if verdict.outcome == "fail":
            raise AssertionError(f"{verdict.law}: {verdict.detail}")


def view(
    *,
    honest: int = 7,
    byzantine: int = 3,
    dimension: int = 6,
    ragged: bool = False,
    seed: int = 0,
    round_: int = 1,
    rule: Rule | None = None,
    lies: bool = True,
) -> View:
    """Return a round's view as an attack with full knowledge sees it.

    The server steps by `RATE`, and the loss of a model w is ‖w‖²/2.

    Args:
        honest, byzantine, dimension: h, b and d.
        ragged: whether honest workers send only some coordinates.
        seed: of the values; the workers are the same for all.
        round_: k.
        rule: the server's, in scope "coordinate" if it is to see ragged input; None: the median.
        lies: whether attackers may claim more than their own devices would finish.
    """
    rng = np.random.default_rng([seed, round_])

    def normal(rows: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal((rows, dimension)).astype(np.float32))

    lengths = rng.integers(1, dimension, honest) if ragged else np.full(honest, dimension)
    position = rng.permutation(dimension)
    own, values = normal(byzantine), normal(honest) + normal(1)
    sent = torch.from_numpy(position < lengths[:, None]) if ragged else None
    judge = rule or aggregators.build("median", scope="coordinate")
    quorum = min(max(2 * byzantine + 1, judge.minimum), honest + byzantine)

    rows = torch.cat((values, torch.zeros_like(own)))  # as they arrive at the server

    def server(message: Message) -> Outcome:
        claimed = np.concatenate((lengths, message.lengths))
        rows[honest:] = message.values
        inside, present = torch.ones(dimension, dtype=torch.bool), None
        if (claimed < dimension).any():
            inside = torch.from_numpy(position < np.sort(claimed)[-quorum])
            present = torch.from_numpy(position < claimed[:, None])[:, inside]
        if not inside.any():  # the round stalls
            return Outcome(torch.zeros(0, dtype=torch.float64), model.clone)
        answer = judge(rows[:, inside], present)

        def stepped() -> Tensor:
            after: Tensor = model.clone()
            after[inside] -= RATE * answer
            return after

        return Outcome(answer.double() - attackers_view.centre()[inside], stepped)

    own_lengths = rng.integers(0, dimension + 1, byzantine)
    model, last_step = normal(2)
    own_updates = rng.integers(1, UPDATES + 1, byzantine)
    attackers_view = View(
        round=round_,
        rounds=ROUNDS,
        sampled=honest + byzantine,
        byzantine=byzantine,
        dimension=dimension,
        places=dimension,
        quorum=quorum,
        position=position,
        longest=int(lengths.max(initial=0)),
        own_lengths=own_lengths,
        limits=np.full(byzantine, dimension) if lies else own_lengths,
        workers=np.arange(byzantine),
        stream=lambda k: np.random.default_rng([seed, k]),
        own=own,
        model=model,
        last_step=last_step,
        honest=values if sent is None else values * sent,
        sent=sent,
        honest_workers=np.arange(byzantine, byzantine + honest),
        honest_lengths=lengths,
        own_updates=own_updates,
        update_limits=np.full(byzantine, UPDATES) if lies else own_updates,
        server=server,
        losses=_half_square,
    )
    return attackers_view


def _half_square(models: Tensor) -> Tensor:
    losses: Tensor = models.double().square().sum(dim=1) / 2.0
    return losses


_THEIRS = ("own_lengths", "limits", "workers", "own_updates", "update_limits")
_ARRAYS = ("position", *_THEIRS, "honest_workers", "honest_lengths")
_VISIBLE = {
    "nothing": (),
    "own": ("own", "model", "last_step"),
    "honest": ("own", "model", "last_step", "honest", "sent", "honest_workers", "honest_lengths"),
}
_VISIBLE["server"] = (*_VISIBLE["honest"], "server", "losses")


def _blanked(full: View, attack: Attack) -> View:
    hidden = set(_VISIBLE["server"]) - set(_VISIBLE[attack.sees])
    return replace(full, **dict.fromkeys(hidden))  # type: ignore[arg-type]


MakeAttack = Callable[[], Attack]


def _attack(make: MakeAttack, full: View) -> Message:
    """Return a new attack's message, given only what it says that it sees."""
    attack = make()
    message = _message(attack, full)
    _check_message(attack, full, message)
    return message


def _message(attack: Attack, full: View) -> Message:
    """Return an attack's message, given only what it says that it sees."""
    with _boundary(attack)("call", full.round):
        return attack(_blanked(full, attack))


def _boundary(attack: Attack) -> Boundary:
    return Boundary("attack", type(attack).__name__, attack, seed=0, passes=(RuleError,))


def _check_message(attack: Attack, full: View, message: Message) -> None:
    shape, lengths = tuple(message.values.shape), np.asarray(message.lengths)
    context = f"{full.byzantine} Byzantine of {full.sampled} workers, {full.dimension} coordinates"
    if shape != (full.byzantine, full.dimension):
        raise AssertionError(f"{attack}: {context}: values {shape}")
    if lengths.shape != (full.byzantine,) or not np.issubdtype(lengths.dtype, np.integer):
        raise AssertionError(f"{attack}: {context}: lengths {lengths.dtype} {lengths.shape}")
    delay = np.zeros(full.byzantine) if message.delay is None else np.asarray(message.delay)
    if delay.shape != (full.byzantine,) or not (np.isfinite(delay) & (delay >= 0)).all():
        raise AssertionError(f"{attack}: {context}: delays {delay}")
    if message.updates is not None:
        updates = np.asarray(message.updates)
        if updates.shape != (full.byzantine,) or not np.issubdtype(updates.dtype, np.integer):
            raise AssertionError(f"{attack}: {context}: updates {updates.dtype} {updates.shape}")


def _views() -> Iterator[View]:
    """Yield rounds that may be: dense and ragged, one attacker or many, few honest or none."""
    for ragged in (False, True):
        for byzantine in (1, 3):
            for honest in (0, 1, 2, 7):
                yield view(byzantine=byzantine, honest=honest, ragged=ragged)
            yield view(byzantine=byzantine, lies=False, ragged=ragged)
    yield view(byzantine=3, dimension=1)


def message_fits_the_round(make: MakeAttack) -> None:
    """Values are (b, d), lengths from 0 to what may be claimed, delays >= 0, in any round."""
    for full in _views():
        message = _attack(make, full)
        updates = np.ones(1) if message.updates is None else np.asarray(message.updates)
        most = UPDATES if full.update_limits is None else full.update_limits
        if not ((updates >= 1) & (updates <= most)).all():
            raise AssertionError(f"{make()}: updates {updates}; expected 1 to {most}")
        lengths = np.asarray(message.lengths)
        if not ((lengths >= 0) & (lengths <= full.limits)).all():
            raise AssertionError(
                f"{make()}: lengths {lengths}; expected 0 to {full.limits}, of {full.places} places"
                " (see View.claim)"
            )


def values_are_finite(make: MakeAttack) -> None:
    """Honest gradients that are finite, equal, 0, huge or tiny are answered by finite values."""
    for full in _views():
        assert full.honest is not None
        equal = torch.full_like(full.honest, 0.5)
        for honest in (full.honest, 0.0 * equal, equal, full.honest * 1e30, full.honest * 1e-30):
            visible = honest if full.sent is None else honest * full.sent
            values = _attack(make, replace(full, honest=visible)).values
            if not torch.isfinite(values).all():
                raise AssertionError(f"{make()}: {_short(values)} to honest {_short(visible)}")


def same_round_same_message(make: MakeAttack) -> None:
    """The same view gives the same message, and the view is left as it was."""
    first, second, untouched = (view(ragged=True) for _ in range(3))
    _equal(_attack(make, first), _attack(make, second), f"{make()}: between two calls")
    for name in ("own", "model", "last_step", "honest", "sent", *_ARRAYS):
        current, original = (torch.as_tensor(getattr(view_, name)) for view_ in (first, untouched))
        assert torch.equal(current, original), f"{make()}: changed what it sees: {name}"


def attack_remembers_only_if_it_says_so(make: MakeAttack) -> None:
    """Unless the attack is `stateful`, earlier rounds change nothing."""
    attack = make()
    if attack.stateful:
        return
    _message(attack, view(seed=5))
    second = view(ragged=True, round_=2)
    _equal(_message(attack, second), _attack(make, second), f"{make()}: in its 2nd round")


def attacks_share_nothing(make: MakeAttack) -> None:
    """A sequence of rounds gives the same messages, whatever another instance does meanwhile."""
    alone, observed, other = make(), make(), make()
    rounds = [view(round_=k, ragged=k > 2) for k in range(1, 5)]
    expected = [_message(alone, full) for full in rounds]
    for k, full in enumerate(rounds, 1):
        message = _message(observed, full)
        _equal(message, expected[k - 1], f"{make()}: beside another, round {k}")
        _message(other, view(round_=k, seed=9))


def alone(full: View, i: int) -> View:
    """Return what the i-th Byzantine worker of a round sees if there is no other."""
    row = slice(i, i + 1)
    return replace(
        full,
        byzantine=1,
        own=None if full.own is None else full.own[row],
        **{name: getattr(full, name)[row] for name in _THEIRS},
    )


def attack_acts_alone_if_it_says_so(make: MakeAttack) -> None:
    """Unless the attack `colludes`, a worker sends the same if there is no other Byzantine one.

    An attack that draws in every round, for all its workers together, is not held to it.
    """
    for full in (view(), view(ragged=True), view(lies=False)):
        drawn: list[int] = []

        def stream(k: int, full: View = full, drawn: list[int] = drawn) -> np.random.Generator:
            drawn.append(k)
            return full.stream(k)

        together = _attack(make, replace(full, stream=stream))
        if full.round in drawn:
            return
        for i in range(full.byzantine):
            row = slice(i, i + 1)
            delay = None if together.delay is None else together.delay[row]
            claimed = None if together.updates is None else together.updates[row]
            mine = Message(together.values[row], together.lengths[row], delay, claimed)
            _equal(_attack(make, alone(full, i)), mine, f"{make()}: of worker {i}, if alone,")


def _equal(actual: Message, expected: Message, context: str) -> None:
    if not torch.equal(actual.values.nan_to_num(nan=7.25), expected.values.nan_to_num(nan=7.25)):
        raise AssertionError(f"{context} values differ")
    if not np.array_equal(actual.lengths, expected.lengths):
        raise AssertionError(f"{context} lengths differ")
    delays = [np.zeros(0) if m.delay is None else m.delay for m in (actual, expected)]
    if not np.array_equal(delays[0], delays[1]):
        raise AssertionError(f"{context} delays differ")
    claims = [np.zeros(0) if m.updates is None else m.updates for m in (actual, expected)]
    if not np.array_equal(claims[0], claims[1]):
        raise AssertionError(f"{context} claimed updates differ")


def attack_says_how_often_it_calls_the_rule(make: MakeAttack) -> None:
    """An attack that tries messages on the server calls its rule no more often than it says."""
    for full in (view(), view(ragged=True)):
        called: list[Message] = []

        def server(message: Message, full: View = full, called: list[Message] = called) -> Outcome:
            called.append(message)
            return full.outcome(message)

        attack = make()
        _attack(lambda attack=attack: attack, replace(full, server=server))  # type: ignore[misc]
        most = attack.rule_calls(1)
        if len(called) > most:
            raise AssertionError(
                f"{attack}: {len(called)} calls of the rule in a round; its rule_calls(1) is {most}"
            )


def search_reaches_the_dense_grid(make: MakeAttack) -> str:
    """A search finds 99 % of the best of a dense grid (MeaMed, NNM + trimmed mean, Krum).

    Sixteen honest workers, four Byzantine, d = 1000, scope "block".
    """
    attack = make()
    reached = []
    for name in ("meamed", "nnm+trimmed_mean", "krum"):
        rule = aggregators.build(name, f=4)
        full = view(honest=16, byzantine=4, dimension=1000, rule=rule)
        with one_thread(), _boundary(attack)("search", 1):  # vectors are short
            share = attack.fraction(full, per_decade=60)
        assert share is not None
        reached.append(f"{name} {share:.4f}")
        if share < 0.99:
            raise AssertionError(f"{attack}: {', '.join(reached)} of the grid's maximum")
    return f"of the grid's maximum: {', '.join(reached)}"


ATTACK_LAWS: dict[str, Callable[[MakeAttack], str | None]] = {
    law.__name__: law
    for law in (
        message_fits_the_round,
        values_are_finite,
        same_round_same_message,
        attack_remembers_only_if_it_says_so,
        attacks_share_nothing,
        attack_acts_alone_if_it_says_so,
        attack_says_how_often_it_calls_the_rule,
        search_reaches_the_dense_grid,
    )
}


def try_attack_law(law: str, make: MakeAttack) -> Verdict:
    """Check one law of an attack."""
    attack = make()
    exempt = dict(attack.exempt)
    searches = law == search_reaches_the_dense_grid.__name__ and law not in exempt
    if searches and attack.fraction(view(), per_decade=1) is None:
        exempt[law] = "searches nothing"
    if attack.colludes:
        exempt[attack_acts_alone_if_it_says_so.__name__] = "its workers act together"
    if attack.sees != "server":
        exempt[attack_says_how_often_it_calls_the_rule.__name__] = "does not see the server"
    if law in exempt:
        return Verdict(law, "", "not applicable", exempt[law])
    try:
        detail = ATTACK_LAWS[law](make)
    except InputError:
        raise
    except AssertionError as error:
        return Verdict(law, "", "fail", str(error))
    except Exception as error:
        return Verdict(law, "", "fail", _raised(error))
    return Verdict(law, "", "pass", detail or "")


def try_attack(specification: str) -> Iterator[Verdict]:
    """Check all laws of an attack.

    Raises:
        InputError: there is no such attack.
    """
    _check_exempt("attack", specification, attacks.build(specification).exempt, ATTACK_LAWS)
    for law in ATTACK_LAWS:
        yield try_attack_law(law, lambda: attacks.build(specification))


def check_attack(specification: str) -> None:
    """Check all laws of an attack.

    Raises:
        AssertionError: a law is broken; the message begins with the law's name.
        InputError: there is no such attack.
    """
    _all_pass(try_attack(specification))


def data_fits(specification: str) -> str:
    """It loads: shapes, types, labels and numbers are those of examples."""
    about = datasets.describe(specification)
    kind = f"{about.classes} classes" if about.classes else "a regression"
    data = datasets.load(specification)
    shape = "" if data.train.image is None else f", images of {data.train.image}"
    shape += "" if data.vocabulary is None else f", sequences of integers below {data.vocabulary}"
    groups = data.train.groups
    shape += "" if groups is None else f", {len(np.unique(groups))} groups"
    return (
        f"{about.train} training, {about.validation} validation and {about.test} test examples of "
        f"{about.features} features, {kind}{shape}"
    )


def data_are_alike_in_every_process(specification: str) -> None:
    """Another process loads the same numbers, whatever order its sets and files come in."""
    expected = datasets.describe(specification).digest
    for _, answer in Local(1).map(datasets.describe, [specification]):
        if isinstance(answer, Failure):
            raise AssertionError(f"another process fails: {answer.how}")
        if answer.digest != expected:
            raise AssertionError(
                f"digest {answer.digest[:12]} in another process, {expected[:12]} in this one: key "
                "what is drawn by a seed of its own, and sort what comes in no order"
            )


def no_training_examples_are_tested(specification: str) -> None:
    """Fewer than half of the test examples are among the training examples."""
    data = datasets.load(specification)
    known = {hash(row.tobytes()) for row in data.train.features}
    share = np.mean([hash(row.tobytes()) in known for row in data.test.features])
    if share >= 0.5:
        raise AssertionError(
            f"{share:.0%} of the test examples have the features of a training example"
        )


def data_can_be_learnt_from(specification: str) -> None:
    """Gradients of a linear model on it are finite numbers, and not all are 0."""
    data = datasets.load(specification)
    name = "softmax" if data.classes else "linear"
    model = models.registry.build(name, **data.shape)
    x, y = (torch.from_numpy(a[:EXAMPLES])[None] for a in (data.train.features, data.train.labels))
    gradient = model.gradients(torch.zeros(1, model.dimension), x, y)
    if not torch.isfinite(gradient).all() or not gradient.any():
        raise AssertionError(
            f"the gradient of {name} at 0 has a norm of {float(gradient.norm()):g}; scale features "
            "and targets to numbers of about 1"
        )


DATA_LAWS: dict[str, Callable[[str], str | None]] = {
    law.__name__: law
    for law in (
        data_fits,
        data_are_alike_in_every_process,
        no_training_examples_are_tested,
        data_can_be_learnt_from,
    )
}


def try_data(specification: str) -> Iterator[Verdict]:
    """Check all laws of a data set; if it does not load, no further one is checked.

    Raises:
        InputError: there is no such data set.
    """
    specification = datasets.registry.canonical(specification)
    for name, law in DATA_LAWS.items():
        try:
            detail = law(specification)
        except (AssertionError, InputError) as error:
            yield Verdict(name, "", "fail", str(error))
            if name == data_fits.__name__:
                return
        else:
            yield Verdict(name, "", "pass", detail or "")


def check_data(specification: str) -> None:
    """Check all laws of a data set.

    Raises:
        AssertionError: a law is broken; the message begins with the law's name.
        InputError: there is no such data set.
    """
    _all_pass(try_data(specification))


def is_data(specification: str) -> bool:
    """Say whether a name is a data set's: a `Source`, a torch Dataset, or a function of its own.

    A function that can be called without arguments is one, as rules and models are told something.

    >>> is_data("digits"), is_data("krum")
    (True, False)
    """
    if len(aggregators.registry.split(specification)) > 1:
        return False
    name = datasets.registry.bare(specification)
    if ":" not in name:
        return name in datasets.registry.names()
    factory = datasets.registry.entry(name).factory
    made = inspect.unwrap(factory)
    if isinstance(made, type):
        return issubclass(made, Source) or makes_examples(made)
    _, given = specification_of(specification)
    told = {item.partition("=")[0].strip() for item in given}
    return makes_examples(made) and all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name in told
        for p in inspect.signature(made).parameters.values()
    )


def try_named(specification: str) -> tuple[str, Iterator[Verdict]]:
    """Check the laws of a rule, pre-rule, attack or data set, given its name.

    Returns:
        ``"rule"``, ``"pre-rule"`` (checked by the laws of rules, before the median), ``"attack"``
        or ``"data"``, and the verdicts.

    Raises:
        InputError: there is none of this name.
    """
    if is_data(specification):
        return "data", try_data(specification)
    chain = aggregators.registry.split(specification)
    name = aggregators.registry.bare(chain[-1])
    factory: object = aggregators.registry.entry(name).factory if ":" in name else None
    kind = factory if isinstance(factory, type) else object
    hostile = {*attacks.registry.names(), *attacks.registry.aliases}
    hostile |= set(attacks.heterogeneity_attacks.names())
    if issubclass(kind, Attack | HeterogeneityAttack) or name in hostile:
        attacks.build(specification)
        return "attack", try_attack(specification)
    if len(chain) > 1:
        aggregators.build(specification)
        return "rule", try_rule(specification)
    if issubclass(kind, PreRule) or name in aggregators.pre_rules.names():
        specification = f"{specification}+median"
        aggregators.build(specification)
        return "pre-rule", try_rule(specification)
    if ":" not in name and name not in aggregators.registry.names():
        names = [
            *aggregators.registry.names(),
            *aggregators.pre_rules.names(),
            *hostile,
            *datasets.registry.names(),
        ]
        raise InputError(unknown("test", name, names, hint="or module:Class of your own"))
    aggregators.build(specification)
    return "rule", try_rule(specification)
