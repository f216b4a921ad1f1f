"""The laws of rules and pre-rules.

A law is a function of a `Case`, which is a rule with values to aggregate. Cases come in order of
size, so that the first that fails is the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hgobench import aggregators
from hgobench.aggregators import Rule, RuleError, Scope, ServerView
from hgobench.boundary import Boundary
from hgobench.lazy import Tensor, torch

from .laws import Law, NotApplicable, Verdict, exemptions, judged, said, table

MakeRule = Callable[[int], Rule]

# What up to f workers may send.
POISONS = (1e30, -1e30, math.inf, -math.inf, math.nan, 3e38)
TIMES = 20


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
        raise AssertionError(f"{context}: {short(actual)}; expected {short(expected)}")


def _same(actual: Tensor, expected: Tensor, context: str) -> None:
    if not torch.equal(actual, expected):
        raise AssertionError(f"{context}: {short(actual)}; expected {short(expected)}")


def short(vector: Tensor) -> str:
    """Write a vector for a message.

    >>> short(torch.tensor([0.5, 2.0]))
    '[0.5 2]'
    """
    return "[" + " ".join(f"{float(x):.6g}" for x in vector.flatten()) + "]"


def answers_at_all(case: Case) -> None:
    """The answer to ordinary values of enough workers is finite."""
    answer = case.ask()
    if not torch.isfinite(answer).all():
        raise AssertionError(short(answer))


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
                raise AssertionError(f"{situation} {name}: {short(answer)} leaves the honest range")


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
    _close(case.ask(case.values + shift), case.ask() + shift, f"shifted by {short(shift)}")


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
        raise AssertionError(f"accepted {invalid.dtype} {tuple(invalid.shape)}: {short(answer)}")


def never_silently_non_finite(case: Case) -> None:
    """With only NaN or infinite values there is a RuleError, not a NaN."""
    for poison in (torch.nan, torch.inf):
        try:
            answer = case.ask(torch.full_like(case.values, poison))
        except RuleError:
            continue
        raise AssertionError(f"answers {short(answer)} to nothing but {poison}")


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
            raise AssertionError(f"{context}: {short(answers[0])}")
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


RULE_LAWS: dict[str, Law] = table(
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


def rule_maker(specification: str, scope: Scope | None = None) -> MakeRule:
    """Return a function from f to the named rule."""
    return lambda f: aggregators.build(specification, f=f, scope=scope)


def try_law(law: str, make: MakeRule) -> Verdict:
    """Check one law of a rule."""
    rule = make(0)

    def check() -> None:
        if law in rule.exempt:
            raise NotApplicable(rule.exempt[law])
        for case in cases(make, _EXTRA.get(law, (0, 1, 4))):
            try:
                RULE_LAWS[law](case)
            except Exception as error:
                raise AssertionError(f"{said(error)}\n  with {case}") from error

    return judged(law, check, rule.scope)


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
    exemptions("rule", specification, rule, RULE_LAWS)
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


def try_pre_rule(specification: str) -> Iterator[Verdict]:
    """Check all laws of a pre-rule: those of rules, of it before the median.

    Raises:
        InputError: there is no such pre-rule.
    """
    return try_rule(f"{specification}+median")
