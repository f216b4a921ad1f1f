"""The laws that every rule and attack obeys, for those of this project and for your own.

    from hgobench.testing import check_rule
    check_rule("mypkg.mymod:MyRule")

Each law is a function that raises AssertionError with what it saw. `RULE_LAWS` and `ATTACK_LAWS`
are tables of them, to be parametrised over in a test suite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from hgobench import aggregators, attacks
from hgobench.aggregators import Rule, RuleError, Scope
from hgobench.attacks import Attack, View
from hgobench.errors import InputError

MakeRule = Callable[[int], Rule]

# What up to f workers may send.
POISONS = (1e30, -1e30, torch.inf, -torch.inf, torch.nan, 3e38)


def _samples(rule: MakeRule, extra: tuple[int, ...] = (0, 1, 4)) -> Iterator[tuple[Rule, Tensor]]:
    """Yield rules with f = 0..3 and standard normal values of just enough workers and of more."""
    rng = np.random.default_rng(0)
    for f in range(4):
        made = rule(f)
        for more in extra:
            n = max(made.minimum, 2 * f + 1) + more
            yield made, torch.from_numpy(rng.standard_normal((n, 7)).astype(np.float32))


def _close(found: Tensor, expected: Tensor, about: str) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=lambda m: f"{about}\n{m}")


def finite_within_honest_range(rule: MakeRule) -> None:
    """With f rows of 1e30, NaN or ±Inf the answer is finite and within the honest range."""
    for made, values in _samples(rule):
        mixed = [POISONS[i % len(POISONS)] for i in range(made.f * values.shape[1])]
        mixture = torch.tensor(mixed).reshape(made.f, values.shape[1])
        for poison in (*POISONS, mixture):
            poisoned = values.clone()
            poisoned[: made.f] = poison
            honest = poisoned[made.f :]
            slack = 1e-5 * honest.abs().amax(dim=0)
            low, high = honest.amin(dim=0) - slack, honest.amax(dim=0) + slack
            for found in (made(poisoned), made(poisoned.double()).float()):
                inside = (found >= low) & (found <= high)
                assert inside.all(), f"{made}: {found} leaves the honest range under {poison}"


def order_of_workers_is_irrelevant(rule: MakeRule) -> None:
    """Permuting the workers changes nothing."""
    for made, values in _samples(rule):
        order = torch.from_numpy(np.random.default_rng(1).permutation(len(values)))
        _close(made(values[order]), made(values), f"{made}: permuted workers")


def translation_equivariant(rule: MakeRule) -> None:
    """A shift of all values shifts the answer: AR(x + a) = AR(x) + a."""
    for made, values in _samples(rule):
        shift = torch.arange(values.shape[1]) / 4.0
        _close(made(values + shift), made(values) + shift, f"{made}: shifted")


def scaling_equivariant(rule: MakeRule) -> None:
    """A positive factor comes out as it went in: AR(c·x) = c·AR(x)."""
    for made, values in _samples(rule):
        _close(made(values * 8.0), made(values) * 8.0, f"{made}: scaled")


def dense_equals_ragged(rule: MakeRule) -> None:
    """A `present` that is all true is the same as none."""
    for made, values in _samples(rule):
        everything = torch.ones_like(values, dtype=torch.bool)
        assert torch.equal(made(values, everything), made(values)), f"{made}: dense and ragged"


def ragged_is_the_rule_on_who_sent(rule: MakeRule) -> None:
    """Coordinate j is the rule on Q_j alone; in scope "block", on those that sent the block."""
    rng = np.random.default_rng(2)
    for made, values in _samples(rule, extra=(3,)):
        n, d = values.shape
        present = torch.zeros(n, d, dtype=torch.bool)
        for j in range(d):
            count = rng.integers(made.minimum, n + 1)
            present[torch.from_numpy(rng.permutation(n)[:count]), j] = True
        if made.scope == "coordinate" or getattr(made, "ragged", False):
            found = made(values, present)
            for j in range(d):
                alone = made(values[present[:, j], j : j + 1])
                _close(found[j : j + 1], alone, f"{made}: coordinate {j} on its own workers")
        else:
            present[: made.minimum] = True
            complete = values[present.all(dim=1)]
            _close(made(values, present), made(complete), f"{made}: complete rows")


def absent_entries_do_not_matter(rule: MakeRule) -> None:
    """Whatever stands where nothing was sent changes nothing; unsent coordinates are 0."""
    for made, values in _samples(rule, extra=(3,)):
        present = torch.ones_like(values, dtype=torch.bool)
        present[-2:, 3:] = False
        present[:, -1] = False
        expected = made(values, present)
        assert expected[-1] == 0, f"{made}: {expected[-1]} where nobody sent"
        for poison in POISONS:
            found = made(values.masked_fill(~present, poison), present)
            assert torch.equal(found, expected), f"{made}: absent entries of {poison} count"


def input_is_left_alone(rule: MakeRule) -> None:
    """The input is not changed, dtype and layout do not matter, and a repetition is the same."""
    for made, values in _samples(rule):
        before = values.clone()
        present = torch.ones_like(values, dtype=torch.bool)
        present[-1, -1] = len(values) == made.minimum
        first = made(values, present)
        assert torch.equal(values, before), f"{made}: changed its input"
        assert torch.equal(made(values, present), first), f"{made}: two calls, two answers"
        strided = torch.stack((values, values), dim=2)[:, :, 0]
        assert torch.equal(made(strided), made(values)), f"{made}: layout"
        double = made(values.double())
        assert double.dtype == torch.float64, f"{made}: float64 became {double.dtype}"
        assert made(values).dtype == torch.float32, f"{made}: float32 became another"


def too_few_are_refused(rule: MakeRule) -> None:
    """One worker fewer than `minimum` is refused with RuleError, as are bad shapes and types."""
    for made, values in _samples(rule, extra=(0,)):
        cases = [values.long(), values[0], values[:0], values[None]]
        if made.minimum > 1:
            cases.append(values[: made.minimum - 1])
        for case in cases:
            try:
                answer = made(case)
            except RuleError:
                continue
            raise AssertionError(f"{made}: accepted {case.dtype} {tuple(case.shape)}: {answer}")


def never_silently_non_finite(rule: MakeRule) -> None:
    """With only NaN or infinite values there is a RuleError, not a NaN."""
    for made, values in _samples(rule):
        for poison in (torch.nan, torch.inf):
            try:
                answer = made(torch.full_like(values, poison))
            except RuleError:
                continue
            raise AssertionError(f"{made}: answers {answer} to nothing but {poison}")


RULE_LAWS: dict[str, Callable[[MakeRule], None]] = {
    law.__name__: law
    for law in (
        finite_within_honest_range,
        order_of_workers_is_irrelevant,
        translation_equivariant,
        scaling_equivariant,
        dense_equals_ragged,
        ragged_is_the_rule_on_who_sent,
        absent_entries_do_not_matter,
        input_is_left_alone,
        too_few_are_refused,
        never_silently_non_finite,
    )
}


def rule_maker(specification: str, scope: Scope | None = None) -> MakeRule:
    """Return a function from f to the named rule."""
    return lambda f: aggregators.build(specification, f=f, scope=scope)


def check_rule(specification: str, *, scope: Scope | None = None, robust: bool = True) -> None:
    """Hold a rule to all laws.

    Args:
        specification: a name, or ``module:Class``.
        scope: ``"block"``, ``"coordinate"``, or None for both that the rule has.
        robust: False for a rule that promises nothing under attack, as the average.

    Raises:
        AssertionError: a law is broken; the message begins with the law's name.
        InputError: there is no such rule.
    """
    scopes: list[Scope] = ["block"] if scope is None else [scope]
    if scope is None and aggregators.build(specification).has_columns():
        scopes.append("coordinate")
    for each in scopes:
        for name, law in RULE_LAWS.items():
            if not robust and law is finite_within_honest_range:
                continue
            try:
                law(rule_maker(specification, each))
            except InputError:
                raise
            except AssertionError as error:
                raise AssertionError(f"{name}: {error}") from error
            except Exception as error:
                raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error


def view(
    *, honest: int = 7, byzantine: int = 3, dimension: int = 6, ragged: bool = False, seed: int = 0
) -> View:
    """Make a round's view as an attack with full knowledge gets it."""
    rng = np.random.default_rng(seed)

    def normal(rows: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal((rows, dimension)).astype(np.float32))

    lengths = rng.integers(1, dimension, honest) if ragged else np.full(honest, dimension)
    return View(
        round=1,
        sampled=honest + byzantine,
        byzantine=byzantine,
        dimension=dimension,
        longest=int(lengths.max()),
        own_lengths=rng.integers(0, dimension + 1, byzantine),
        stream=lambda: np.random.default_rng(seed),
        own=normal(byzantine),
        honest=normal(honest),
        sent=torch.from_numpy(np.arange(dimension) < lengths[:, None]) if ragged else None,
    )


def _blanked(full: View, attack: Attack) -> View:
    keep = {"nothing": (), "own": ("own",), "honest": ("own", "honest", "sent")}[attack.sees]
    fields = {name: getattr(full, name) for name in keep}
    base = ("round", "sampled", "byzantine", "dimension", "longest", "own_lengths", "stream")
    return View(**{name: getattr(full, name) for name in base}, **fields)


def message_fits_the_round(attack: Attack) -> None:
    """Values are finite (b, d) and lengths (b,) lie in [0, d], with b = 1 too, ragged or not."""
    for ragged in (False, True):
        for byzantine in (1, 3):
            full = view(byzantine=byzantine, ragged=ragged)
            values, lengths = attack(_blanked(full, attack))
            assert values.shape == (byzantine, full.dimension), f"{attack}: {tuple(values.shape)}"
            assert torch.isfinite(values).all(), f"{attack}: {values}"
            assert lengths.shape == (byzantine,), f"{attack}: lengths {lengths.shape}"
            assert ((lengths >= 0) & (lengths <= full.dimension)).all(), f"{attack}: {lengths}"


def same_round_same_message(attack: Attack) -> None:
    """The same view gives the same message, and the view is left as it was."""
    first, second, untouched = (view(ragged=True) for _ in range(3))
    a, b = attack(_blanked(first, attack)), attack(_blanked(second, attack))
    assert torch.equal(a.values, b.values), f"{attack}: values differ between two calls"
    assert np.array_equal(a.lengths, b.lengths), f"{attack}: lengths differ between two calls"
    for name in ("own", "honest"):
        now, before = getattr(first, name), getattr(untouched, name)
        assert torch.equal(now, before), f"{attack}: changed what it sees"


ATTACK_LAWS: dict[str, Callable[[Attack], None]] = {
    law.__name__: law for law in (message_fits_the_round, same_round_same_message)
}


def check_attack(specification: str) -> None:
    """Hold an attack to all laws.

    Raises:
        AssertionError: a law is broken; the message begins with the law's name.
        InputError: there is no such attack.
    """
    for name, law in ATTACK_LAWS.items():
        attack = attacks.build(specification)
        try:
            law(attack)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
