from __future__ import annotations

import dataclasses
import itertools
import math
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtri

from hgobench import attacks
from hgobench.aggregators import Scope, build
from hgobench.attacks import (
    AgrTailored,
    Attack,
    Message,
    Mimic,
    Optimal,
    Outcome,
    Tail,
    ThreatModel,
    View,
)
from hgobench.attacks.alie import Alie, z_max
from hgobench.attacks.min_max import min_max_gamma
from hgobench.attacks.min_sum import min_sum_gamma
from hgobench.attacks.search import follow, maximise
from hgobench.determinism import one_thread
from hgobench.errors import InputError
from hgobench.testing import check, view
from hgobench.testing.attacks import ATTACK_LAWS, alone, try_attack_law
from tests import attack_oracles as oracles
from tests.attack_oracles import Partial

HETEROGENEITY = [*attacks.heterogeneity_attacks.builtins]
SPECIFICATIONS = [
    *attacks.registry.builtins,
    "crash[send=zeros]",
    "sign_flip[of=mean,scale=3]",
    "random_noise[scale=5]",
    "random_noise[distribution=uniform]",
    "alie[z=1.5]",
    "alie[z=1.5,signs=plus]",
    "alie[signs=random]",
    "alie[z=3,signs=random]",
    "foe[epsilon=0.1]",
    "mimic[warmup=0]",
    "min_max[perturbation=std]",
    "min_sum[perturbation=sign]",
    "agr_tailored[rule=multi_krum]",
    "agr_tailored[rule=trimmed_mean,perturbation=sign]",
    "fang[rule=krum]",
    "fang[knowledge=partial]",
    "hidden_coordinate[accept=distance]",
    "optimal_alie[calls=24,signs=random]",
    "optimal_foe[calls=6,start=last,signs=random]",
    'greedy[attacks="none,mimic,tail+foe"]',
    "black_box[calls=60,every=2]",
    "stale[age=2]",
    "inf[sign=both]",
    *(f"{name}+alie" for name in HETEROGENEITY),
    *(f"{name}+optimal_foe[calls=12]" for name in HETEROGENEITY),
    "starve+late[delay=2]+label_flip",
    "targeted_flip[source=2,target=0]",
    "badnets[target=1,size=1,share=0.2]",
    "dba[target=2,size=3,parts=3]",
    "edge_case[target=1,source=2,tail=0.3]",
    "neurotoxin[avoid=0.5]+model_replacement[boost=3]+badnets",
    "mpaf[scale=2,spread=0.1]",
    "poisoned_fl[scale=2,every=3]",
    "flood+mimic",
    "wrong_length[claim=both]+foe",
    "own_lengths+late[delay=2]+sign_flip",
]


# Attacks that search do so hundreds of times: other settings of them are tried with the long tests.
SEARCHING = [
    pytest.param(name, marks=[pytest.mark.long] * ("[calls=" in name)) for name in SPECIFICATIONS
]


@pytest.mark.parametrize("law", ATTACK_LAWS)
@pytest.mark.parametrize("attack", SEARCHING)
def test_every_attack_obeys_every_law(attack: str, law: str) -> None:
    verdict = try_attack_law(law, lambda: attacks.build(attack))
    assert verdict.outcome != "fail", verdict.detail


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


class Meddling(Drifting):
    """Sorts what it is shown."""

    def values(self, view: View) -> torch.Tensor:
        view.position.sort()
        return torch.zeros(view.dimension)


class Leaking(Attack):
    """Remembers in its class."""

    sees = "own"
    stateful = True
    kept: ClassVar[dict[int, torch.Tensor]] = {}

    def values(self, view: View) -> torch.Tensor:
        before = self.kept.get(view.round - 1, view.require_own())
        self.kept[view.round] = view.require_own()
        return before


def test_laws_catch_broken_attacks() -> None:
    with pytest.raises(AssertionError, match=r"poisoned_minibatch_is_one: .* same minibatch in an"):
        check("tests.test_attacks:Counting")
    with pytest.raises(AssertionError, match=r"poisoned_minibatch_is_one: .* 0 poisons in another"):
        check("tests.test_attacks:Neighbourly")
    with pytest.raises(
        AssertionError, match=r"says_what_it_wants: .* targeted=False, and its goal"
    ):
        check("tests.test_attacks:Secretive")
    with pytest.raises(AssertionError, match=r"says_what_it_wants: .* wants inputs of class 0 as"):
        check("tests.test_attacks:Modest")
    with pytest.raises(
        AssertionError, match=r"same_round_same_message: .* changed what it sees: po"
    ):
        check("tests.test_attacks:Meddling")
    with pytest.raises(AssertionError, match=r"attacks_share_nothing: .* beside another, round"):
        check("tests.test_attacks:Leaking")
    with pytest.raises(AssertionError, match=r"often_it_calls_the_rule: .* 1 calls of .* is 0"):
        check("tests.test_attacks:Inquiring")
    with pytest.raises(AssertionError, match=r"acts_alone_if_it_says_so: .* worker 0, if alone, v"):
        check("tests.test_attacks:Huddling")
    with pytest.raises(AssertionError, match=r"PermissionError: .* its `sees` forbids it"):
        check("tests.test_attacks:Peeking")
    with pytest.raises(AssertionError, match=r"same_round_same_message: .* values differ"):
        check("tests.test_attacks:Drifting")


class Counting(Attack):
    """Poisons otherwise every time."""

    sees = "own"
    poisons = True
    calls = 0

    def poison(
        self, features: torch.Tensor, labels: torch.Tensor, classes: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        Counting.calls += 1
        return features + Counting.calls, labels


class Neighbourly(Counting):
    """Copies its neighbour's data without saying that it talks to it."""

    colludes = False

    def poison(
        self, features: torch.Tensor, labels: torch.Tensor, classes: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return features.roll(1, 0), labels


class Secretive(Attack):
    """Wants something without saying that it is targeted."""

    sees = "own"

    def values(self, view: View) -> torch.Tensor:
        return view.require_own()

    def goal(
        self, features: torch.Tensor, labels: torch.Tensor, facts: attacks.Facts
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        return features, 1 - labels.clamp(max=1)


class Modest(Secretive):
    """Wants some inputs to be answered rightly."""

    targeted = True

    def goal(
        self, features: torch.Tensor, labels: torch.Tensor, facts: attacks.Facts
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        return features, labels


class Inquiring(Attack):
    """Tries a message on the server without saying so."""

    sees = "server"

    def values(self, view: View) -> torch.Tensor:
        message = Message(view.require_own(), view.own_lengths)
        return view.stepped(message).expand(view.byzantine, -1)


class Huddling(Attack):
    """Sends the attackers' mean without saying that they talk to each other."""

    sees = "own"
    colludes = False

    def values(self, view: View) -> torch.Tensor:
        return view.require_own().mean(dim=0)


def differs_alone(attack: str, full: View) -> bool:
    """Say whether some worker would send something else if it were the only attacker."""
    together = attacks.build(attack)(full)
    for i in range(full.byzantine):
        mine = attacks.build(attack)(alone(full, i))
        row = together.values[i : i + 1]
        if not torch.equal(mine.values, row) or mine.lengths[0] != together.lengths[i]:
            return True
    return False


COLLUDING = ["alie", "inf[sign=both]", "agr_tailored", "agr_tailored[rule=trimmed_mean]", "fang[rule=krum]",
             "fang[knowledge=partial]", "hidden_coordinate", "clustering_aware",
             "tail+foe", "flood+foe", "lookalike+foe", "model_replacement+foe"]  # fmt: skip
# What they send is their own gradients; together they choose the data (tests/test_backdoors.py).
TOGETHER = {"dba", "edge_case"}


@pytest.mark.parametrize("attack", COLLUDING)
def test_attacks_that_say_that_they_collude_do(attack: str) -> None:
    assert attacks.build(attack).colludes
    seen = (view(ragged=r, byzantine=5, seed=s) for r in (True, False) for s in range(4))
    assert any(differs_alone(attack, full) for full in seen)


def test_who_colludes() -> None:
    """All others do not, but for those that try messages of all of them on the server."""
    known = [*attacks.registry.builtins, *(f"{step}+foe" for step in HETEROGENEITY)]
    made = {name: attacks.build(name) for name in known}
    rest = {name for name, attack in made.items() if attack.colludes} - set(COLLUDING) - TOGETHER
    assert all(made[name].sees == "server" for name in rest)
    assert not attacks.build("alie[z=1.5]").colludes
    assert not attacks.build("hidden_coordinate[accept=distance]").colludes
    assert attacks.build("own_lengths+alie").colludes


MODELS = [*attacks.THREAT_MODELS.values()]
NAMED = [*attacks.registry.builtins, *SPECIFICATIONS[1:]]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model.name))
def test_a_larger_threat_model_permits_whatever_a_smaller_one_does(model: ThreatModel) -> None:
    for other in MODELS:
        if model <= other:
            assert set(model.permitted(NAMED)) <= set(other.permitted(NAMED))
            assert model.lies_about_speed <= other.lies_about_speed


def test_threat_models_are_partially_ordered() -> None:
    for a, b, c in itertools.product(MODELS, repeat=3):
        assert a <= a
        assert a == b or not (a <= b and b <= a)
        assert not (a <= b and b <= c) or a <= c
    named = attacks.THREAT_MODELS
    for chain in (("fake", "independent", "colluding", "omniscient", "adaptive"),):
        for smaller, larger in itertools.pairwise(chain):
            assert named[smaller] <= named[larger]
            assert named[f"{smaller}_at_own_speed"] <= named[smaller]
            assert not named[smaller] <= named[f"{larger}_at_own_speed"]
            assert not named[f"{larger}_at_own_speed"] <= named[smaller]
    assert all(model <= named["adaptive"] for model in MODELS)
    assert named["adaptive"].permitted(NAMED) == NAMED


def test_what_threat_models_permit() -> None:
    """By hand: nothing, the model, own, together, all honest messages, the server's rule."""
    known = ["nan", "mpaf", "label_flip", "sign_flip", "fang[knowledge=partial]", "foe", "fang",
             "optimal_foe", "starve+label_flip", "tail+label_flip"]  # fmt: skip
    permitted = {
        "fake": ["nan", "mpaf"],
        "independent": ["nan", "mpaf", "label_flip", "sign_flip", "starve+label_flip"],
        "colluding": ["nan", "mpaf", "label_flip", "sign_flip", "fang[knowledge=partial]",
                      "starve+label_flip"],
        "omniscient": [name for name in known if name != "optimal_foe"],
        "adaptive": known,
    }  # fmt: skip
    for name, expected in permitted.items():
        assert attacks.threat_model(name).permitted(known) == expected
        slow = attacks.threat_model(f"{name}_at_own_speed")
        assert slow.permitted(known) == expected
        assert slow.fields == {"lies_about_speed": "no"}
    with pytest.raises(InputError, match="threat_model: unknown 'adaptiv'; did you mean 'adaptive"):
        attacks.threat_model("adaptiv")


def partials(full: View) -> list[Partial]:
    """Return what each honest worker sends, as a dictionary in float64."""
    assert full.honest is not None
    return [
        {
            j: float(full.honest[i, j])
            for j in range(full.dimension)
            if full.sent is None or bool(full.sent[i, j])
        }
        for i in range(len(full.honest))
    ]


def sent_by_all(name: str, full: View) -> list[float]:
    """Return the vector that all Byzantine workers send; they must send the same."""
    values = attacks.build(name)(full).values
    assert all(torch.equal(row, values[0]) for row in values)
    return [float(x) for x in values[0]]


@settings(max_examples=60, deadline=None)
@given(
    ragged=st.booleans(), honest=st.integers(1, 12), byzantine=st.integers(1, 6), seed=st.integers()
)
def test_omniscient_attacks_agree_with_their_formulas(
    ragged: bool, honest: int, byzantine: int, seed: int
) -> None:
    full = view(ragged=ragged, honest=honest, byzantine=byzantine, seed=abs(seed))
    sent, d = partials(full), full.dimension
    mean, std = np.array(oracles.mean(sent, d)), np.array(oracles.std(sent, d))
    z = z_max(honest + byzantine, byzantine)
    drawn = np.random.default_rng([abs(seed), 0]).integers(2, size=(1, d))[0]
    signs = np.where(drawn == 1, 1.0, -1.0)
    heard = np.array([sum(j in worker for worker in sent) for j in range(d)])
    expected = {
        "tail_only": np.where(heard >= len(sent) / 2, mean, -3 * mean),
        "tail_only[strength=0.5]": np.where(heard >= len(sent) / 2, mean, -0.5 * mean),
        "alie": mean - z * std,
        "alie[z=1.5]": mean - 1.5 * std,
        "alie[z=1.5,signs=plus]": mean + 1.5 * std,
        "alie[z=1.5,signs=random]": mean + 1.5 * signs * std,
        "alie[signs=random]": mean + z * signs * std,
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
        assert message.delay is None


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


def test_the_z_of_others_is_larger() -> None:
    """(n - s)/n is above (n - m - s)/(n - m) by m·s/(n·(n - m))."""
    for n in range(7, 60):
        for m in range(3, (n - 1) // 2 + 1):
            assert float(ndtri(1 - (n // 2 + 1 - m) / n)) > z_max(n, m)
    others = float(ndtri((50 - (50 // 2 + 1 - 24)) / 50))
    said = f"Φ⁻¹((n - s)/n), a larger z: {others:.2f} instead of {z_max(50, 24):.2f} for n = 50, m = 24"
    assert said in " ".join((Alie.__doc__ or "").split())


def test_z_max_stays_finite_when_the_attackers_are_a_majority() -> None:
    assert all(0 <= z_max(n, m) < 10 for n in range(2, 30) for m in range(1, n))


def test_random_signs_are_fair_and_the_same_in_every_round_and_for_every_cell() -> None:
    first, later = view(dimension=10_000), view(dimension=10_000, round_=7)
    signs = first.random_signs()
    assert set(signs.tolist()) == {1.0, -1.0}
    assert abs(float(signs.mean())) < 0.04
    assert torch.equal(later.random_signs(), signs)
    beside = dataclasses.replace(view(dimension=20_000), cells=2)
    assert torch.equal(beside.random_signs(), signs.repeat(2))
    other = first.random_signs(1)
    assert abs(float((signs * other).mean())) < 0.04
    assert not torch.equal(view(dimension=10_000, seed=1).random_signs(), signs)


@pytest.mark.parametrize("name", ["optimal_alie", "optimal_foe"])
def test_random_signs_of_a_search_are_those_of_alie(name: str) -> None:
    """What is tried is μ - z·s·σ, or -ε·s·μ."""
    full = view()
    signs, mean, std = full.random_signs(), full.mean(), full.std()
    attack = attacks.build(f"{name}[signs=random]")
    assert isinstance(attack, Optimal)
    expected = {"optimal_alie": mean - 2 * signs * std, "optimal_foe": -2 * signs * mean}[name]
    torch.testing.assert_close(attack.crafted(full, 2.0), expected)


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


@st.composite
def rounds(draw: st.DrawFn, least: int = 4) -> View:
    """Draw a round in which more than b + 1 honest workers answer."""
    byzantine = draw(st.integers(1, 3))
    return view(
        ragged=draw(st.booleans()),
        byzantine=byzantine,
        honest=draw(st.integers(byzantine + least, 9)),
        dimension=draw(st.integers(2, 8)),
        seed=draw(st.integers(0, 10**6)),
    )


DRAWN = settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.generate))


@DRAWN
@given(full=rounds(), perturbation=st.sampled_from(["unit", "std", "sign"]))
def test_min_max_and_min_sum_are_the_largest_that_meet_their_constraint(
    full: View, perturbation: str
) -> None:
    """The closed forms equal a bisection of the constraints to 1e-6."""
    sent, d = partials(full), full.dimension
    vectors, mu = oracles.completed(sent, d), oracles.mean(sent, d)
    p = oracles.direction(perturbation, sent, d)
    apart = torch.tensor([oracles.plus(v, -1.0, mu) for v in vectors], dtype=torch.float64)
    along = torch.tensor(p, dtype=torch.float64)
    for name, gamma, holds in (
        ("min_max", min_max_gamma(along, full), oracles.min_max_holds),
        ("min_sum", min_sum_gamma(along, apart), oracles.min_sum_holds),
    ):
        expected = oracles.bisected(lambda g, h=holds: h(oracles.plus(mu, g, p), vectors))  # type: ignore[misc]
        assert gamma == pytest.approx(expected, rel=1e-6)
        assert holds(oracles.plus(mu, gamma * (1 - 1e-9), p), vectors)
        crafted = sent_by_all(f"{name}[perturbation={perturbation}]", full)
        np.testing.assert_allclose(
            crafted, oracles.plus(mu, expected, p), rtol=1e-4, atol=1e-5 * max(gamma, 1)
        )


@pytest.mark.parametrize("dimension", [1, 5])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("tail", [0.0, 1.0, 3.0])
def test_many_honest_workers_are_as_far_apart_as_the_two_farthest(
    tail: float, ragged: bool, dimension: int
) -> None:
    """Also where a few are far longer than the others, whom their lengths then rule out."""
    full = view(honest=700, dimension=dimension + 1, ragged=ragged)
    scale = np.random.default_rng(0).pareto(1.5, (700, 1)) ** tail
    assert full.honest is not None
    full = dataclasses.replace(full, honest=full.honest * torch.from_numpy(scale).float())
    lengths, widest = full.spread()
    apart = full.deviations()
    assert widest == pytest.approx(float(torch.cdist(apart, apart).max()) ** 2, rel=1e-9)
    torch.testing.assert_close(lengths, apart.square().sum(dim=1))
    odd = torch.where(torch.arange(700)[:, None] == 7, torch.nan, torch.as_tensor(full.honest))
    assert math.isnan(dataclasses.replace(full, honest=odd).spread()[1])


@pytest.mark.long
@DRAWN
@given(full=rounds(), rule=st.sampled_from(["krum", "multi_krum"]))
def test_agr_tailored_goes_as_far_as_krum_selects(full: View, rule: str) -> None:
    """What it sends is selected; nothing of a thousand points beyond is."""
    sent, d, b = partials(full), full.dimension, full.byzantine
    vectors, mu = oracles.completed(sent, d), oracles.mean(sent, d)
    p = oracles.direction("std", sent, d)
    tailored = AgrTailored(rule, "std")
    gamma = tailored.gamma(torch.tensor(p, dtype=torch.float64), full)
    m = 1 if rule == "krum" else len(vectors) - 2

    def selected(g: float) -> bool:
        return oracles.krum_selects(oracles.plus(mu, g, p), vectors, b, m)

    if gamma > 0:
        assert selected(gamma * (1 - 1e-6))
    top = max(10 * gamma, 10.0)
    beyond = np.linspace(gamma * (1 + 1e-6) + top * 1e-3, top, 60)
    assert not any(selected(float(g)) for g in beyond)
    np.testing.assert_allclose(
        sent_by_all(f"agr_tailored[rule={rule},perturbation=std]", full),
        oracles.plus(mu, gamma, p),
        atol=1e-4,
    )


@DRAWN
@given(full=rounds(), perturbation=st.sampled_from(["unit", "std", "sign"]))
def test_agr_tailored_finds_the_worst_for_the_trimmed_mean(full: View, perturbation: str) -> None:
    sent, d, b = partials(full), full.dimension, full.byzantine
    vectors, mu = oracles.completed(sent, d), oracles.mean(sent, d)
    p = oracles.direction(perturbation, sent, d)

    def moved(crafted: list[float]) -> float:
        return oracles.distance(oracles.trimmed_mean([*vectors, *([crafted] * b)], b), mu)

    best = max(moved(oracles.plus(mu, float(g), p)) for g in np.geomspace(1e-3, 1e3, 100))
    name = f"agr_tailored[rule=trimmed_mean,perturbation={perturbation}]"
    assert moved(sent_by_all(name, full)) >= 0.99 * best


@DRAWN
@given(full=rounds())
def test_fang_against_krum(full: View) -> None:
    sent, d = partials(full), full.dimension
    lam = oracles.fang_lambda(sent, d, full.byzantine)
    expected = [-lam * oracles.sign(x) for x in oracles.mean(sent, d)]
    np.testing.assert_allclose(sent_by_all("fang[rule=krum]", full), expected, rtol=1e-4)


@pytest.mark.parametrize("ragged", [False, True])
def test_fang_draws_uniformly_from_beyond_the_honest_values(ragged: bool) -> None:
    full = view(byzantine=400, honest=7, dimension=20, ragged=ragged)
    values = attacks.build("fang[factor=3]")(full).values.double().numpy()
    sent = partials(full)
    shares = []
    for j in range(20):
        low, high = oracles.fang_interval(sent, 20, j, 3.0)
        assert (values[:, j] >= low - 1e-6).all()
        assert (values[:, j] <= high + 1e-6).all()
        if high > low:
            shares.append((values[:, j] - low) / (high - low))
    assert stats.kstest(np.concatenate(shares), "uniform").pvalue > 0.01


def test_fang_with_partial_knowledge_goes_by_its_own_gradients() -> None:
    full = view(byzantine=200, dimension=30)
    assert full.own is not None
    own = full.own.double().numpy()
    attack = attacks.build("fang[knowledge=partial]")
    assert attack.sees == "own"
    deviation = (attack(full).values.double().numpy() - own.mean(axis=0)) / own.std(axis=0)
    against = -np.sign(own.mean(axis=0))
    far = deviation * against
    assert (far > 2.999).all()
    assert (far < 4.001).all()
    assert stats.kstest((far - 3).ravel(), "uniform").pvalue > 0.01


@DRAWN
@given(full=rounds(), accept=st.sampled_from(["krum", "distance"]), j=st.integers(0, 20))
def test_hidden_coordinate_spends_all_in_one_place(full: View, accept: str, j: int) -> None:
    sent, d, b = partials(full), full.dimension, full.byzantine
    vectors, mu = oracles.completed(sent, d), oracles.mean(sent, d)
    crafted = sent_by_all(f"hidden_coordinate[coordinate={j},accept={accept}]", full)
    j %= d
    apart = np.array(crafted) - mu
    assert np.abs(np.delete(apart, j)).max(initial=0) < 1e-5
    assert apart[j] * (1 if mu[j] >= 0 else -1) < 1e-6  # against descent

    def accepted(far: float) -> bool:
        tried = [*mu]
        tried[j] += far * (-1 if mu[j] >= 0 else 1)
        if accept == "distance":
            return oracles.min_max_holds(tried, vectors)
        return oracles.krum_selects(tried, vectors, b)

    gamma = abs(apart[j])
    assert gamma < 1e-4 or accepted(gamma * (1 - 1e-4) - 1e-6)
    assert not any(
        accepted(float(g)) for g in np.linspace(1.001 * gamma + 1e-2, 10 * gamma + 10, 60)
    )


@pytest.mark.parametrize("ragged", [False, True])
def test_sign_guard_aware_has_honest_sign_statistics_and_length(ragged: bool) -> None:
    full = view(honest=9, dimension=300, ragged=ragged)
    sent = partials(full)
    mu = oracles.mean(sent, 300)
    crafted = sent_by_all("sign_guard_aware", full)
    for s in (-1, 0, 1):
        assert sum(oracles.sign(x) == s for x in crafted) == sum(oracles.sign(x) == s for x in mu)
    lengths = sorted(math.sqrt(sum(x * x for x in worker.values())) for worker in sent)
    assert oracles.length(crafted) == pytest.approx(lengths[4], rel=1e-5)
    agree = sum(oracles.sign(x) == oracles.sign(y) for x, y in zip(crafted, mu, strict=True))
    assert agree < 250  # shuffled: nothing is left of where the signs were


@DRAWN
@given(seed=st.integers(0, 10**6), byzantine=st.integers(1, 6))
def test_clustering_aware_is_a_chain_that_turns_away(seed: int, byzantine: int) -> None:
    full = view(honest=8, byzantine=byzantine, dimension=6, seed=seed)
    vectors = oracles.completed(partials(full), 6)
    mu = oracles.mean(partials(full), 6)
    chain = attacks.build("clustering_aware")(full).values.double().tolist()
    link = max(oracles.gap_of_two_clusters(vectors) - 0.1 - 1e-4, 0.0)
    outermost = max(vectors, key=lambda v: oracles.angle(v, mu))
    theta = oracles.angle(outermost, mu)
    for k, sent in enumerate(chain, 1):
        assert oracles.length(sent) == pytest.approx(10 * oracles.length(mu), rel=1e-4)
        expected = min(theta + k * link, math.pi)
        assert oracles.angle(sent, mu) == pytest.approx(expected, abs=2e-3)
    first = chain[0]
    if theta + link < math.pi:  # in the plane of μ and the outermost, beyond it
        assert oracles.angle(first, outermost) == pytest.approx(link, abs=2e-3)


@DRAWN
@given(
    values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=8),
    bit=st.one_of(st.none(), st.integers(0, 31)),
)
def test_bit_flip_flips_one_bit_of_each_number(values: list[float], bit: int | None) -> None:
    full = dataclasses.replace(
        view(dimension=len(values), byzantine=1), own=torch.tensor([values], dtype=torch.float32)
    )
    name = "bit_flip" if bit is None else f"bit_flip[bit={bit}]"
    raw = attacks.build(name)(full).values.numpy().view(np.uint32)[0]
    for before, after in zip(values, raw, strict=True):
        found = f"{after:032b}"[::-1]
        changed = [i for i in range(32) if found[i] != oracles.bits(before)[i]]
        assert len(changed) == 1
        assert bit in (None, changed[0])


def test_bit_flip_hits_its_share_and_all_bits() -> None:
    full = view(byzantine=2, dimension=20_000)
    assert full.own is not None
    flipped = attacks.build("bit_flip[share=0.25]")(full).values.numpy().view(np.uint32)
    changed = flipped ^ full.own.numpy().view(np.uint32)
    assert (changed != 0).mean() == pytest.approx(0.25, abs=0.01)
    which = np.log2(changed[changed != 0]).astype(int)
    assert stats.chisquare(np.bincount(which, minlength=32)).pvalue > 0.01


def test_what_is_not_a_number_or_too_large() -> None:
    full = view(byzantine=2)
    assert attacks.build("nan")(full).values.isnan().all()
    assert (attacks.build("inf")(full).values == torch.inf).all()
    assert (attacks.build("inf[sign=minus]")(full).values == -torch.inf).all()
    both = attacks.build("inf[sign=both]")(full).values
    assert both.sum(dim=0).isnan().all()
    assert (attacks.build("huge")(full).values == torch.tensor(1e38)).all()
    assert (attacks.build("huge[value=-5]")(full).values == -5).all()


def test_stale_replays_what_each_worker_computed() -> None:
    """By hand: worker 0 is asked every round, worker 1 in rounds 1, 4 and 5."""
    asked = {1: [0, 1], 2: [0], 3: [0], 4: [1, 0], 5: [0, 1]}
    replayed = {
        "stale": {1: [1, 1], 2: [1], 3: [1], 4: [1, 1], 5: [1, 1]},
        "stale[age=1]": {1: [1, 1], 2: [1], 3: [2], 4: [1, 3], 5: [4, 4]},
        "stale[age=3]": {1: [1, 1], 2: [1], 3: [1], 4: [1, 1], 5: [2, 1]},
    }
    for name, expected in replayed.items():
        attack = attacks.build(name)
        for k, workers in asked.items():
            full = view(byzantine=len(workers), round_=k)
            own = torch.tensor([[100.0 * w + k] * full.dimension for w in workers])
            shown = dataclasses.replace(full, own=own, workers=np.array(workers))
            found = attack(shown).values[:, 0].tolist()
            assert found == [100.0 * w + r for w, r in zip(workers, expected[k], strict=True)], name


@DRAWN
@given(seed=st.integers(0, 10**6), ragged=st.booleans(), warmup=st.integers(0, 4))
def test_mimic_learns_whom_to_copy(seed: int, ragged: bool, warmup: int) -> None:
    """Six rounds of other workers each: the same target as the definition's, and its length."""
    attack, rng = Mimic(warmup=warmup), np.random.default_rng(seed)
    start = np.random.default_rng([seed, 1]).standard_normal(6)
    oracle = oracles.Mimic(warmup, list(start / np.linalg.norm(start)))
    for k in range(1, 7):
        full = view(ragged=ragged, seed=seed, round_=k)
        workers = rng.permutation(12)[:7]
        full = dataclasses.replace(full, honest_workers=workers)
        target = oracle(workers.tolist(), oracles.completed(partials(full), 6))
        message = attack(full)
        assert full.honest is not None
        assert full.honest_lengths is not None
        assert torch.equal(message.values[0], full.honest[target])
        assert (message.lengths == full.honest_lengths[target]).all()


def sticking_out(k: int) -> View:
    """Make a round in which worker 2 alone differs, along the second axis."""
    full = view(honest=6, dimension=5, round_=k)
    assert full.honest is not None
    honest = 0.01 * full.honest
    honest[2, 1] += 5.0
    return dataclasses.replace(full, honest=honest)


def test_mimic_finds_the_direction_in_which_workers_differ() -> None:
    """Worker 2 alone differs along the second axis: it is copied from the second round on."""
    attack = Mimic(warmup=10)
    for k in range(1, 15):
        full = sticking_out(k)
        assert full.honest is not None
        assert k < 4 or torch.equal(attack(full).values[0], full.honest[2])


def test_mimic_is_not_put_off_by_a_round_in_which_nobody_differs() -> None:
    attack = Mimic(warmup=10)
    attack(view(honest=1, dimension=5))
    for k in range(2, 15):
        full = sticking_out(k)
        assert full.honest is not None
        assert k < 5 or torch.equal(attack(full).values[0], full.honest[2])


def test_hidden_coordinate_by_distance_needs_two_honest_workers_only() -> None:
    full = view(honest=4, byzantine=3)
    crafted = attacks.build("hidden_coordinate[accept=distance]")(full).values[0]
    assert (crafted - full.mean()).abs().max() > 0.1


@pytest.mark.long
@pytest.mark.parametrize("name", ["optimal_alie", "optimal_foe"])
@pytest.mark.parametrize("rule", ["meamed", "nnm+trimmed_mean", "krum"])
@pytest.mark.parametrize("ragged", [False, True])
def test_line_searches_reach_the_dense_grid(name: str, rule: str, ragged: bool) -> None:
    """n = 20, f = 4, d = 1000: at least 99 % of the maximum over 800 strengths."""
    scope: Scope = "coordinate" if ragged else "block"
    judge = build(rule, f=4, scope=scope)
    full = view(honest=16, byzantine=4, dimension=1000, seed=1, rule=judge, ragged=ragged)
    attack = attacks.build(name)
    assert isinstance(attack, Optimal)
    with one_thread():  # beside other tests more are slower
        assert attack.fraction(full, per_decade=100 if not ragged else 10) >= 0.99


@pytest.mark.long
@pytest.mark.parametrize(("byzantine", "scale"), [
    (2, 1.0),
    *(pytest.param(b, scale, marks=pytest.mark.long)
      for b, scale in [(1, 0.05), (1, 1.0), (2, 0.05), (4, 0.05), (4, 1.0)]),
])  # fmt: skip
def test_searches_against_krum_find_cliffs_below_plateaus(byzantine: int, scale: float) -> None:
    """Few attackers, and honest means of other sizes: 98 % of a grid of 480, n = 20."""
    for seed in range(3):
        full = view(
            honest=20 - byzantine,
            byzantine=byzantine,
            dimension=200,
            seed=seed,
            rule=build("krum", f=byzantine),
        )
        assert full.honest is not None
        mean = full.honest.mean(dim=0)
        full.honest.add_((scale - 1.0) * mean)
        for name in ("optimal_foe", "optimal_alie"):
            attack = attacks.build(name)
            assert isinstance(attack, Optimal)
            with one_thread():
                assert attack.fraction(full, per_decade=60) >= 0.98


class Counted:
    """A server that counts how often it is asked."""

    def __init__(self, full: View) -> None:
        assert full.server is not None
        self.server, self.calls = full.server, 0
        self.view = dataclasses.replace(full, server=self)

    def __call__(self, message: Message) -> Outcome:
        self.calls += 1
        return self.server(message)


@pytest.mark.parametrize("name", [
    "foe", "optimal_foe", "optimal_alie[calls=11]", "tail+optimal_foe[calls=30]", "greedy",
    "optimal_foe[calls=6,start=last]", "tail+optimal_alie[calls=4,start=last]",
    'greedy[attacks="none,optimal_alie[calls=9]"]', "black_box[calls=40]",
    "black_box[calls=40,every=3]", "late+black_box[calls=7,every=50]",
])  # fmt: skip
def test_no_attack_calls_the_rule_more_often_than_it_says(name: str) -> None:
    """And those of a budget use all of it, in a run of a hundred rounds."""
    attack, calls, rounds = attacks.build(name), 0, 100 if "black_box" in name else 3
    for k in range(1, rounds + 1):
        server = Counted(view(round_=k, ragged=k % 2 == 0))
        attack(server.view)
        calls += server.calls
    most = attack.rule_calls(rounds)
    assert calls <= most
    assert calls == most or "optimal" in name or not most  # a search may see that it is done


def test_greedy_plays_what_leads_where_the_loss_is_largest() -> None:
    """An average, steps of 0.1 and the loss ‖w‖²/2: all messages tried by hand, in float64."""
    names = ("none", "crash", "foe[epsilon=0.5]", "foe", "sign_flip", "alie[z=3,signs=random]")
    played = set()
    for share in (0.1, 1.0):
        for seed in range(6):
            full = view(seed=seed, rule=build("average"), honest=5, byzantine=2)
            full = dataclasses.replace(full, own_lengths=np.full(2, full.dimension))
            w, honest = full.require_model().double(), full.require_honest().double()
            messages = [attacks.build(name)(full) for name in names]
            losses = []
            for message in messages:
                rows = torch.cat((honest, message.values.double()[message.lengths > 0]))
                after = w - 0.1 * rows.mean(dim=0)
                losses.append(float((w + share * (after - w)).square().sum() / 2))
            greedy = attacks.Greedy(",".join(f'"{name}"' for name in names), share)
            expected = messages[int(np.argmax(losses))]
            found = greedy(full)
            assert torch.equal(found.values, expected.values)
            assert np.array_equal(found.lengths, expected.lengths)
            played.add(names[int(np.argmax(losses))])
    assert len(played) > 1


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_black_box_finds_the_top_of_a_hill(scale: float) -> None:
    """A server that steps to what it is sent, and a hill whose top is a combination of the basis."""
    full = view(dimension=40, honest=9)
    basis = attacks.BlackBox.basis(full)
    assert len(basis) == 7
    top = torch.tensor([1.0, -scale, 0.5, scale, 0.0, 0.5, -0.5]).double() @ basis
    moved = dataclasses.replace(
        full,
        rounds=1,
        server=lambda m: Outcome(m.values[0], m.values[0].clone),
        losses=lambda models: -(models.double() - top).square().sum(dim=1),
    )
    with one_thread():
        message = attacks.BlackBox(calls=500, share=1.0)(moved)
    start = float((full.centre() - top).norm())
    assert float((message.values[0].double() - top).norm()) < 0.1 * start


def test_black_box_ends_a_search_that_leaves_the_floats() -> None:
    """Where more always does more harm the search grows without end, and cmaes refuses its steps."""
    attack, calls, asked = attacks.BlackBox(), 6_000, 0

    def losses(view: View, messages: list[Message]) -> torch.Tensor:
        nonlocal asked
        asked += len(messages)
        return torch.tensor([math.log1p(float(m.values[0].double().norm())) for m in messages])

    attack.losses = losses  # type: ignore[method-assign, assignment]
    known = view()
    basis = torch.eye(7, 7, dtype=torch.float64)
    found = attack._search(known, basis, calls)
    assert 1e20 < np.abs(found).max() < np.inf
    assert asked < calls
    attack._coefficients = 10 * found / np.abs(found).max() * 1e32  # from where the next begins
    assert np.isfinite(attack._search(known, basis, 50)).all()


def test_black_box_searches_when_it_is_time_and_keeps_what_it_found() -> None:
    attack, calls = attacks.BlackBox(calls=90, every=4), []
    for k in range(1, 13):
        server = Counted(dataclasses.replace(view(round_=k), rounds=12))
        attack(server.view)
        calls.append(server.calls)
    assert calls == [30, 0, 0, 0, 30, 0, 0, 0, 30, 0, 0, 0]


def test_what_searches_say_how_near_they_come() -> None:
    """A search that is cut short says so; attacks without one have nothing to say."""
    full = view(honest=16, byzantine=4, dimension=300, rule=build("krum", f=4))
    names = ("optimal_foe", "optimal_foe[calls=4]", "agr_tailored", "hidden_coordinate",
             "agr_tailored[rule=trimmed_mean]", "fang[rule=krum]", "greedy", "starve+optimal_foe")  # fmt: skip
    share = {}
    with one_thread():
        for name in names:
            found = attacks.build(name).fraction(full, per_decade=30)
            assert found is not None
            share[name] = found
    assert all(share[name] > 0.99 for name in (*names[:1], *names[2:5]))
    assert share["optimal_foe[calls=4]"] < 0.9
    assert 0.49 < share["fang[rule=krum]"] <= 1.01
    assert 0 < share["greedy"] < 1.5
    for name in ("foe", "fang", "min_max", "hidden_coordinate[accept=distance]", "tail+alie"):
        assert attacks.build(name).fraction(full) is None


def test_a_hill_under_the_budget_is_found() -> None:
    """With few calls as with many, half of them on a grid over all decades."""
    asked: list[float] = []

    def hill(x: float) -> float:
        asked.append(x)
        return -abs(math.log10(abs(x)) - 0.3) + (x < 0)

    for calls in (4, 10, 25, 60):
        asked.clear()
        found = maximise(hill, 0.01, 100, calls=calls)
        assert len(asked) == found.evaluations <= calls
        assert found.argument < 0
        assert calls < 25 or found.argument == pytest.approx(-2.0, rel=0.15)


@pytest.mark.parametrize("calls", [4, 6, 9])
def test_a_hill_that_wanders_is_followed_and_one_that_jumps_is_found_again(calls: int) -> None:
    rng, top = np.random.default_rng(calls), 3.0
    asked: list[float] = []

    def hill(x: float) -> float:
        """Of height 1 over five sixths of a decade to both sides of the top."""
        asked.append(x)
        return max(1 - abs(math.log10(x / top)) / 0.83, 0.0) if x * top > 0 else 0.0

    best, reached = maximise(hill, 0.01, 100, calls=4 * calls), []
    for turn in range(200):
        if turn == 100:
            top = -0.1 * top
        top *= float(np.exp(rng.normal(0, 0.05)))
        asked.clear()
        best = follow(hill, 0.01, 100, best.argument, turn, calls)
        assert len(asked) == best.evaluations <= calls
        assert all(0.01 <= abs(x) <= 100 for x in asked)
        reached.append(best.value)
    jumped = reached[100:]
    back = next(turn for turn, value in enumerate(jumped) if value > 0.5)
    assert min(reached[:100]) > 0.8
    assert 0 < back <= 12
    assert min(jumped[back + 3 :]) > 0.8


def test_a_search_that_starts_at_the_last_best_is_none_the_worse_for_being_asked_how_near_it_comes() -> (
    None
):
    views = [view(honest=16, byzantine=4, dimension=300, rule=build("krum", f=4), seed=s, round_=s)
             for s in range(1, 6)]  # fmt: skip
    one, other = (attacks.build("optimal_foe[calls=8,start=last]") for _ in range(2))
    with one_thread():
        for full in views:
            assert (one.fraction(full, per_decade=10) or 0.0) > 0.5
            assert torch.equal(one(full).values, other(full).values)


def test_the_search_copes_with_hills_and_cliffs() -> None:
    def cliff(x: float) -> float:
        return x if 0 < x < 7.3219 else 0.5

    def hills(x: float) -> float:
        return math.exp(-((x - 0.3) ** 2) * 50) + 2 * math.exp(-((x + 41) ** 2) / 20)

    def overlooked(x: float) -> float:
        return x if 0 < x < 7.3219 else 7.2

    assert maximise(cliff, 0.01, 100).value == pytest.approx(7.3219, rel=2e-3)
    assert maximise(overlooked, 0.01, 100).value == pytest.approx(7.3219, rel=2e-3)
    assert maximise(hills, 0.01, 100).argument == pytest.approx(-41, rel=1e-2)
    assert maximise(lambda x: math.nan if x < 0 else -x, 0.01, 100).argument < 0.011
    assert maximise(lambda x: -abs(x + 3), 0.01, 100, signs="plus").argument == 0.01


# Attacks on heterogeneity: four honest workers of 6 places send 6, 4, 2 and 1 of them, in the order
# of the coordinates; two Byzantine ones; v = 5 unless it says otherwise.


def uneven(quorum: int = 5) -> View:
    full = view(honest=4, byzantine=2, dimension=6)
    lengths = np.array([6, 4, 2, 1])
    sent = torch.from_numpy(np.arange(6) < lengths[:, None])
    assert full.honest is not None
    return dataclasses.replace(
        full,
        quorum=quorum,
        position=np.arange(6),
        honest=full.honest * sent,
        sent=sent,
        honest_lengths=lengths,
        longest=6,
    )


def test_tail_attacks_where_few_are_heard() -> None:
    full = uneven(quorum=4)  # the block: up to the second longest, 4; heard from 4, 3, 2 and 2
    assert full.own is not None
    message = attacks.build("tail+foe[epsilon=1]")(full)
    mu = torch.tensor(oracles.mean(partials(full), 6))
    assert torch.equal(message.values[:, :1], full.own[:, :1])  # heard from all four
    torch.testing.assert_close(message.values[:, 1:4], -mu[1:4].expand(2, 3))
    assert torch.equal(message.values[:, 4:], full.own[:, 4:])  # beyond the block
    assert message.lengths.tolist() == [6, 6]
    # ALIE's z_max is that of the two honest and two Byzantine workers where fewest are heard.
    assert Tail().narrow(full).sampled == 4
    wide = view(honest=20, byzantine=3)
    assert z_max(3 + 4, 3) > 0.6 > z_max(wide.sampled, 3)


def test_tail_without_a_tail_attacks_everywhere() -> None:
    full = view(honest=7, byzantine=3)
    assert torch.equal(attacks.build("tail+foe")(full).values, attacks.build("foe")(full).values)


def test_starve_sends_next_to_nothing() -> None:
    assert attacks.build("starve")(uneven()).lengths.tolist() == [1, 1]
    assert attacks.build("starve[places=0]+foe")(uneven()).lengths.tolist() == [0, 0]
    assert attacks.build("starve[places=99]")(uneven()).lengths.tolist() == [6, 6]
    foe = attacks.build("foe")(uneven()).values
    assert torch.equal(attacks.build("starve+foe")(uneven()).values, foe)


def test_flood_fills_what_nobody_honest_sends() -> None:
    full = uneven()
    assert full.honest is not None
    assert full.sent is not None
    assert full.own is not None
    kept = full.sent.clone()
    kept[:, 4:] = False  # nobody sends the last two
    short = dataclasses.replace(full, honest=full.honest * kept, sent=kept, longest=4)
    message = attacks.build("flood+foe[epsilon=2]")(short)
    assert message.lengths.tolist() == [6, 6]
    mu = torch.tensor(oracles.mean(partials(short), 6))
    mu[4:] = full.own[:, 4:].mean(dim=0)
    torch.testing.assert_close(message.values, (-2 * mu).expand(2, 6))


def test_late_says_by_how_much() -> None:
    message = attacks.build("late[delay=2.5]+foe")(uneven())
    assert message.delay is not None
    assert message.delay.tolist() == [2.5, 2.5]
    assert attacks.build("foe")(uneven()).delay is None


def test_attackers_that_claim_what_their_own_devices_finish() -> None:
    full = uneven()
    assert (attacks.build("own_lengths+foe")(full).lengths == full.own_lengths).all()
    foe = attacks.build("foe")(full).values
    assert torch.equal(attacks.build("own_lengths+foe")(full).values, foe)


def test_wrong_lengths_are_those_of_no_worker() -> None:
    claims = {"long": [7, 7], "negative": [-1, -1], "both": [7, -1]}
    for claim, expected in claims.items():
        message = attacks.build(f"wrong_length[claim={claim}]+foe")(uneven())
        assert message.lengths.tolist() == expected


@pytest.mark.parametrize("step", ["tail", "flood", "starve[places=3]", "lookalike[share=0.5]"])
def test_who_can_t_lie_about_speed_claims_as_much_as_it_can(step: str) -> None:
    full = dataclasses.replace(uneven(), limits=np.array([2, 0]))
    free = attacks.build(f"{step}+foe")(uneven()).lengths
    assert attacks.build(f"{step}+foe")(full).lengths.tolist() == [min(2, free[0]), 0]


def test_lookalike_copies_the_slow() -> None:
    full = uneven()
    message = attacks.build("lookalike[share=0.5]+alie[z=2]")(full)
    assert message.lengths.tolist() == [1, 2]
    slow = partials(full)[2:]
    expected = oracles.plus(oracles.mean(slow, 6), -2.0, oracles.std(slow, 6))
    np.testing.assert_allclose(message.values[0], expected, rtol=1e-5, atol=1e-6)


def test_what_is_tried_on_the_server_is_what_would_be_sent() -> None:
    """Behind starve the optimum is sought for messages of one place."""
    full, tried = uneven(), []

    def server(message: Message) -> Outcome:
        tried.append((message.lengths.tolist(), message.delay))
        return Outcome(message.values[0], message.values[0].clone)

    shown = dataclasses.replace(full, server=server)
    attacks.build("starve+late+optimal_foe")(shown)
    assert all(lengths == [1, 1] for lengths, _ in tried)
    assert all(delay is not None and delay.tolist() == [1, 1] for _, delay in tried)


def test_chains_have_one_spelling_and_say_what_they_need() -> None:
    canonical = attacks.registry.canonical
    assert canonical("tail") == "tail+none"
    assert canonical("starve[places=1] + ipm[epsilon=10]") == "starve+foe"
    assert attacks.build("starve+crash").sees == "nothing"
    assert attacks.build("tail+crash").sees == "honest"
    assert attacks.build("starve+optimal_alie").sees == "server"
    assert attacks.build("late+label_flip").poisons
    assert repr(attacks.build("late+tail+foe")) == "Late(delay=1.0) + Tail() + Foe(epsilon=10.0)"


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("sing_flip", r"attack: unknown 'sing_flip'; did you mean 'sign_flip'\? \(hgobench list"),
        ("alie[z=-1]", r"attack: 'alie\[z=-1\]': z: -1.0; expected a finite number >= 0"),
        ("alie[signs=both]", "signs: 'both'; expected 'minus' or 'plus' or 'random'"),
        ("optimal_alie[signs=minus]", "signs: 'minus'; expected 'free' or 'random'"),
        ("wrong_length[claim=short]", "claim: 'short'; expected 'long' or 'negative' or 'both'"),
        ("optimal_foe[calls=3]", "calls: 3; expected an integer >= 4"),
        ('greedy[attacks="none,fo"]', "unknown 'fo'; did you mean 'foe'"),
        ('greedy[attacks="none,label_flip"]', "attacks: 'label_flip' poisons data, before it can"),
        (
            "greedy[attacks=tests.plugins:Blind]",
            "attacks: 'tests.plugins:Blind'; expected attacks of",
        ),
        ('greedy[attacks=""]', "attacks: ''; expected one attack at least"),
        ("greedy[share=0]", "share: 0.0; expected a finite number > 0"),
        ("black_box[calls=0]", "calls: 0; expected an integer >= 1"),
        ("black_box[every=0]", "every: 0; expected an integer >= 1"),
        ("foe[epsilon=inf]", "epsilon: inf; expected a finite number >= 0"),
        ("crash[send=noise]", "send: 'noise'; expected 'nothing' or 'zeros'"),
        ("foe[eps=1]", r"parameter: unknown 'eps'; did you mean 'epsilon'\?"),
        ("none[z=1]", "none takes no parameters"),
        ("collections:Counter", "expected a subclass of hgobench.attacks.Attack"),
        ("min_max[perturbation=up]", "perturbation: 'up'; expected 'unit' or 'std' or 'sign'"),
        ("agr_tailored[rule=median]", "rule: 'median'; expected 'krum' or 'multi_krum' or 'trimm"),
        ("fang[factor=1]", "factor: 1.0; expected a number > 1"),
        ("fang[rule=krum,knowledge=partial]", "knowledge: 'partial'; expected 'full' against krum"),
        ("bit_flip[bit=32]", r"bit: 32; expected an integer in 0\.\.31"),
        ("bit_flip[share=1.5]", r"share: 1.5; expected a number in \[0, 1\]"),
        ("huge[value=1e39]", r"value: 1e\+39; expected a float32"),
        ("inf[sign=none]", "sign: 'none'; expected 'plus' or 'minus' or 'both'"),
        ("stale[age=0]", "age: 0; expected an integer >= 1"),
        ("mimic[warmup=-1]", "warmup: -1; expected an integer >= 0"),
        ("clustering_aware[scale=0]", "scale: 0.0; expected a finite number > 0"),
        ("optimal_foe[smallest=5,largest=5]", "smallest: 5.0; expected a number below largest=5"),
        (
            "optimal_foe[start=last]",
            "start: 'last' without calls; say how often the rule may be called",
        ),
        ("optimal_foe[calls=6,start=first]", "start: 'first'; expected 'grid' or 'last'"),
        ("lookalike[share=0]", r"share: 0.0; expected a number in \(0, 1\]"),
        ("late[delay=-1]+foe", "delay: -1.0; expected a finite number >= 0"),
        ("tial+alie", r"heterogeneity_attack: unknown 'tial'; did you mean 'tail'\?"),
        ("starv", r"attack: unknown 'starv'; did you mean 'starve'\?"),
        (
            "foe+alie",
            "heterogeneity_attack: 'foe' is an attack, of which a chain has one, the last",
        ),
        (
            "tests.plugins:Blind",
            r"Blind': sees None; expected one of \('nothing', 'model', 'own', 'honest'",
        ),
        ("tail+tests.plugins:Blind", r"Blind': sees None; expected one of"),
        ("tests.plugins:Idle", "Idle': expected a method values, or poison"),
        ("tail+", r"attack: 'tail\+'; expected a name at both sides of each \+"),
    ],
)
def test_bad_attacks_are_refused(specification: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        attacks.build(specification)
