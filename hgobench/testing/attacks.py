"""The laws of attacks, and rounds to try them in.

A law is a function of a constructor of the attack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from hgobench import aggregators, attacks
from hgobench.aggregators import Rule, RuleError
from hgobench.attacks import Attack, Batch, Facts, Message, Outcome, View
from hgobench.boundary import Boundary
from hgobench.lazy import Tensor, torch
from hgobench.protocol import MOST_EXAMPLES

from .laws import Law, NotApplicable, Verdict, exemptions, judged, table
from .rules import short

ROUNDS = 100  # of the run that attacks are tried in
RATE = 0.1  # of the server's steps
UPDATES = 4  # the most that a worker takes in a view, where answers say how many


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
        # A mask copies, which takes as long as many a rule.
        answer = judge(rows if inside.all() else rows[:, inside], present)

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
        learning_rate=RATE,
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
        own_examples=rng.integers(1, 100, byzantine),
        server=server,
        losses=_half_square,
    )
    return attackers_view


def _half_square(models: Tensor) -> Tensor:
    losses: Tensor = models.double().square().sum(dim=1) / 2.0
    return losses


_THEIRS = ("own_lengths", "limits", "workers", "own_updates", "update_limits", "own_examples")
_ARRAYS = ("position", *_THEIRS, "honest_workers", "honest_lengths")
_VISIBLE = {
    "nothing": (),
    "model": ("model", "last_step"),
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
        examples = np.ones(1) if message.examples is None else np.asarray(message.examples)
        if not ((examples >= 1) & (examples <= MOST_EXAMPLES)).all():
            raise AssertionError(f"{make()}: examples {examples}; expected 1 to {MOST_EXAMPLES}")
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
                raise AssertionError(f"{make()}: {short(values)} to honest {short(visible)}")


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
            claimed = [
                None if claims is None else claims[row]
                for claims in (together.updates, together.examples)
            ]
            mine = Message(together.values[row], together.lengths[row], delay, *claimed)
            _equal(_attack(make, alone(full, i)), mine, f"{make()}: of worker {i}, if alone,")


def _equal(actual: Message, expected: Message, context: str) -> None:
    if not torch.equal(actual.values.nan_to_num(nan=7.25), expected.values.nan_to_num(nan=7.25)):
        raise AssertionError(f"{context} values differ")
    if not np.array_equal(actual.lengths, expected.lengths):
        raise AssertionError(f"{context} lengths differ")
    delays = [np.zeros(0) if m.delay is None else m.delay for m in (actual, expected)]
    if not np.array_equal(delays[0], delays[1]):
        raise AssertionError(f"{context} delays differ")
    for what in ("updates", "examples"):
        claims = [np.zeros(0) if (c := getattr(m, what)) is None else c for m in (actual, expected)]
        if not np.array_equal(claims[0], claims[1]):
            raise AssertionError(f"{context} claimed {what} differ")


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
    if attack.fraction(view(), per_decade=1) is None:
        raise NotApplicable("searches nothing")
    reached = []
    for name in ("meamed", "nnm+trimmed_mean", "krum"):
        rule = aggregators.build(name, f=4)
        full = view(honest=16, byzantine=4, dimension=1000, rule=rule)
        with _boundary(attack)("search", 1):
            share = attack.fraction(full, per_decade=60)
        assert share is not None
        reached.append(f"{name} {share:.4f}")
        if share < 0.99:
            raise AssertionError(f"{attack}: {', '.join(reached)} of the grid's maximum")
    return f"of the grid's maximum: {', '.join(reached)}"


CLASSES, PIXELS, BATCH = 3, 4, 5  # of minibatches


def batch(byzantine: int = 3, seed: int = 0) -> Batch:
    """Return minibatches of images of 4 x 4 pixels in 3 classes, as an attack may poison them.

    Args:
        byzantine: b; of the run's Byzantine workers they are every other one.
        seed: of the values.
    """
    rng = np.random.default_rng(seed)

    def examples(*shape: int) -> tuple[Tensor, Tensor]:
        features = rng.random((*shape, PIXELS**2)).astype(np.float32)
        return torch.from_numpy(features), torch.from_numpy(rng.integers(0, CLASSES, shape))

    held, labels = examples(40)
    facts = Facts(CLASSES, (PIXELS, PIXELS), None, held.amax(dim=0), held, labels)
    workers = 2 * np.arange(byzantine)
    features, of = examples(byzantine, BATCH)
    return Batch(features, of, workers, facts, lambda: np.random.default_rng(seed))


def poisoned_minibatch_is_one(make: MakeAttack) -> None:
    """Poisoned examples are as many and of the same kind; the same minibatch is poisoned alike.

    Unless the attack `colludes`, a worker poisons its own as if there were no other.
    """
    if not make().poisons:
        raise NotApplicable("poisons no data")
    for byzantine in (1, 3):
        x, y = _poisoned(make, batch(byzantine))
        if x.shape != (byzantine, BATCH, PIXELS**2) or y.shape != (byzantine, BATCH):
            raise AssertionError(f"{make()}: returned {tuple(x.shape)} and {tuple(y.shape)}")
        if not torch.isfinite(x).all() or not ((y >= 0) & (y < CLASSES)).all():
            raise AssertionError(f"{make()}: features that are not finite, or unknown classes")
        again, labels = _poisoned(make, batch(byzantine))
        if not torch.equal(again, x) or not torch.equal(labels, y):
            raise AssertionError(f"{make()}: poisons the same minibatch in another way")
        for i in range(0 if make().colludes else byzantine):
            full, row = batch(byzantine), slice(i, i + 1)
            mine = replace(
                full,
                features=full.features[row],
                labels=full.labels[row],
                workers=np.zeros(1, dtype=np.int64),
            )
            again, labels = _poisoned(make, mine)
            if not torch.equal(again, x[row]) or not torch.equal(labels, y[row]):
                raise AssertionError(f"{make()}: worker {i} poisons in another way, if alone")


def _poisoned(make: MakeAttack, given: Batch) -> tuple[Tensor, Tensor]:
    attack = make()
    with _boundary(attack)("poison", 1):
        return attack.poisoned(given)


def targeted_attack_says_what_it_wants(make: MakeAttack) -> None:
    """An attack that is `targeted`, and no other, wants inputs taken for classes they are not of.

    The examples that it is given stay as they are.
    """
    attack, facts = make(), batch().facts
    for of in range(CLASSES):
        x = batch().features.reshape(-1, PIXELS**2)
        y = torch.full((len(x),), of)
        with _boundary(attack)("goal", 1):
            goal = attack.goal(x, y, facts)
        if (goal is not None) != attack.targeted:
            raise AssertionError(f"{attack}: targeted={attack.targeted}, and its goal {goal}")
        if not torch.equal(x, batch().features.view(x.shape)) or not (y == of).all():
            raise AssertionError(f"{attack}: changed the test examples")
        if goal is None:
            continue
        inputs, wanted = goal
        if inputs.shape != (len(wanted), x.shape[1]):
            raise AssertionError(f"{attack}: wants {tuple(inputs.shape)} as {wanted.tolist()}")
        if not ((wanted >= 0) & (wanted < CLASSES) & (wanted != of)).all():
            raise AssertionError(f"{attack}: wants inputs of class {of} as {wanted.tolist()}")
    if not attack.targeted:
        raise NotApplicable("has no target")


ATTACK_LAWS: dict[str, Law] = table(
    poisoned_minibatch_is_one,
    targeted_attack_says_what_it_wants,
    message_fits_the_round,
    values_are_finite,
    same_round_same_message,
    attack_remembers_only_if_it_says_so,
    attacks_share_nothing,
    attack_acts_alone_if_it_says_so,
    attack_says_how_often_it_calls_the_rule,
    search_reaches_the_dense_grid,
)


def try_attack_law(law: str, make: MakeAttack) -> Verdict:
    """Check one law of an attack."""
    attack = make()
    exempt = dict(attack.exempt)
    if attack.colludes:
        exempt[attack_acts_alone_if_it_says_so.__name__] = "its workers act together"
    if attack.sees != "server":
        exempt[attack_says_how_often_it_calls_the_rule.__name__] = "does not see the server"

    def check() -> str | None:
        if law in exempt:
            raise NotApplicable(exempt[law])
        return ATTACK_LAWS[law](make)

    return judged(law, check)


def try_attack(specification: str) -> Iterator[Verdict]:
    """Check all laws of an attack.

    Raises:
        InputError: there is no such attack.
    """
    exemptions("attack", specification, attacks.build(specification), ATTACK_LAWS)
    for law in ATTACK_LAWS:
        yield try_attack_law(law, lambda: attacks.build(specification))
