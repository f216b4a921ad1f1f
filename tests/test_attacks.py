from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hgobench import attacks
from hgobench.attacks import Attack, View
from hgobench.attacks.alie import z_max
from hgobench.errors import InputError
from hgobench.testing import ATTACK_LAWS, check_attack, view

SPECIFICATIONS = [
    *attacks.registry.builtins,
    "crash[send=zeros]",
    "sign_flip[of=mean,scale=3]",
    "random_noise[scale=5]",
    "alie[z=1.5]",
    "foe[epsilon=0.1]",
]


@pytest.mark.parametrize("law", ATTACK_LAWS)
@pytest.mark.parametrize("attack", SPECIFICATIONS)
def test_every_attack_obeys_every_law(attack: str, law: str) -> None:
    ATTACK_LAWS[law](attacks.build(attack))


class Peeking(Attack):
    """Looks at honest gradients without saying so."""

    sees = "own"

    def values(self, view: View) -> torch.Tensor:
        return view.mean()


class Drifting(Attack):
    """Sends something else every time."""

    sees = "nothing"
    calls = 0

    def values(self, view: View) -> torch.Tensor:
        Drifting.calls += 1
        return torch.full((view.dimension,), float(Drifting.calls))


def test_laws_catch_broken_attacks() -> None:
    with pytest.raises(AssertionError, match=r"PermissionError: .* its `sees` forbids it"):
        check_attack("tests.test_attacks:Peeking")
    with pytest.raises(AssertionError, match=r"same_round_same_message: .* values differ"):
        check_attack("tests.test_attacks:Drifting")


def honest_statistics(full: View) -> tuple[list[float], list[float]]:
    """Return μ and σ of what was sent, coordinate by coordinate, by loops in float64."""
    assert full.honest is not None
    mean, std = [], []
    for j in range(full.dimension):
        column = [
            float(full.honest[i, j])
            for i in range(len(full.honest))
            if full.sent is None or bool(full.sent[i, j])
        ]
        mean.append(statistics.fmean(column) if column else 0.0)
        std.append(statistics.pstdev(column) if column else 0.0)
    return mean, std


@settings(max_examples=60, deadline=None)
@given(
    ragged=st.booleans(), honest=st.integers(1, 12), byzantine=st.integers(1, 6), seed=st.integers()
)
def test_omniscient_attacks_agree_with_their_formulas(
    ragged: bool, honest: int, byzantine: int, seed: int
) -> None:
    full = view(ragged=ragged, honest=honest, byzantine=byzantine, seed=abs(seed))
    mean, std = map(np.array, honest_statistics(full))
    z = z_max(honest + byzantine, byzantine)
    expected = {
        "alie": mean - z * std,
        "alie[z=1.5]": mean - 1.5 * std,
        "foe": -10 * mean,
        "foe[epsilon=0.5]": -0.5 * mean,
        "sign_flip[of=mean,scale=2]": -2 * mean,
    }
    for name, vector in expected.items():
        message = attacks.build(name)(full)
        np.testing.assert_allclose(
            message.values, np.tile(vector, (byzantine, 1)), rtol=1e-4, atol=1e-5
        )
        assert (message.lengths == full.longest).all()


def test_z_max_of_the_paper() -> None:
    """The quantile is checked against an independent inverse: bisection on erf."""
    known = {
        (50, 24): 1.4261,
        (50, 10): 0.2533,
        (25, 11): 1.0676,
        (11, 4): 0.5659,
        (100, 30): 0.5244,
    }
    for (n, m), expected in known.items():
        share = (n - m - (n // 2 + 1 - m)) / (n - m)
        low, high = -10.0, 10.0
        for _ in range(200):
            middle = (low + high) / 2
            below = 0.5 * (1 + math.erf(middle / math.sqrt(2))) < share
            low, high = (middle, high) if below else (low, middle)
        assert z_max(n, m) == pytest.approx(low, abs=1e-9)
        assert z_max(n, m) == pytest.approx(expected, abs=5e-5)


def test_z_max_stays_finite_when_the_attackers_are_a_majority() -> None:
    assert all(0 <= z_max(n, m) < 10 for n in range(2, 30) for m in range(1, n))


def test_own_gradient_attacks() -> None:
    full = view()
    assert full.own is not None
    assert torch.equal(attacks.build("sign_flip[scale=2]")(full).values, -2 * full.own)
    honest = attacks.build("none")(full)
    assert torch.equal(honest.values, full.own)
    assert np.array_equal(honest.lengths, full.own_lengths)


def test_crash_is_silent_or_sends_zeros() -> None:
    silent, zeros = attacks.build("crash")(view()), attacks.build("crash[send=zeros]")(view())
    assert (silent.lengths == 0).all()
    assert (zeros.lengths == view().longest).all()
    assert (zeros.values == 0).all()


def test_random_noise_has_its_scale_and_differs_between_workers() -> None:
    full = view(byzantine=2, dimension=20_000)
    values = attacks.build("random_noise[scale=3]")(full).values
    assert values.std(dim=1).tolist() == pytest.approx([3, 3], rel=0.03)
    assert values.mean(dim=1).abs().max() < 0.1
    assert not torch.equal(values[0], values[1])


@pytest.mark.parametrize("attack", SPECIFICATIONS)
def test_nobody_honest_answers(attack: str) -> None:
    """With no honest message to look at an attack still gives finite values."""
    empty = dataclasses.replace(view(), honest=torch.zeros(0, 6), sent=None, longest=0)
    assert torch.isfinite(attacks.build(attack)(empty).values).all()


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("sing_flip", r"attack: unknown 'sing_flip'; did you mean 'sign_flip'\? \(hgobench list"),
        ("alie[z=-1]", r"attack: 'alie\[z=-1\]': z: -1.0; expected a finite number >= 0"),
        ("foe[epsilon=inf]", "epsilon: inf; expected a finite number >= 0"),
        ("crash[send=noise]", "send: 'noise'; expected 'nothing' or 'zeros'"),
        ("foe[eps=1]", r"parameter: unknown 'eps'; did you mean 'epsilon'\?"),
        ("none[z=1]", "none takes no parameters"),
        ("collections:Counter", "expected a subclass of hgobench.attacks.Attack"),
    ],
)
def test_bad_attacks_are_refused(specification: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attacks.build(specification)
