"""Attacks do what their papers say: each on one small training run, beside the same run without.

Thirty workers, 24 of them sampled, 40 rounds on digits, two seeds; six Byzantine workers and whole
gradients unless it says otherwise.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from hgobench import Scenario, World, attacks
from hgobench.attacks import View
from hgobench.results import Result
from hgobench.simulation import simulate
from tests import attack_oracles as oracles
from tests.plugins import Recording
from tests.test_attacks import partials

BASE: dict[str, Any] = {
    "workers": 30,
    "byzantine": 6,
    "sampled": 24,
    "rounds": 40,
    "learning_rate": 2.0,
    "evaluation_interval": 40,
    "algorithm": "sgd",
    "hardware": "powerful",
    "partition": "dirichlet[alpha=0.3]",
}


@cache
def result(attack: str, seed: int, fields: tuple[tuple[str, Any], ...]) -> Result:
    scenario = Scenario(**{**BASE, **dict(fields)}, attack=attack, seed=seed)
    return simulate([scenario])[0]


def results(attack: str, seeds: int = 2, **fields: Any) -> list[Result]:
    key = tuple(sorted(fields.items()))
    return [result(attack, seed, key) for seed in range(seeds)]


def accuracy(attack: str, seeds: int = 2, **fields: Any) -> float:
    """Return the mean final accuracy over seeds; a run that diverged counts as 0."""
    found = results(attack, seeds, **fields)
    return float(np.mean([each.summary["test_accuracy"] for each in found]))


NETWORK = {"model": "feed_forward", "learning_rate": 1.0}

# What each attack does to a rule: the accuracy falls by at least so much. Where a paper says that
# the attack passes a defence which stops a cruder one, that one is the last entry.
BREAKS: list[tuple[str, dict[str, Any], float, str]] = [
    # An average stands nobody: ascent, noise, numbers that are none.
    ("sign_flip", {"rule": "average"}, 0.08, ""),
    ("sign_flip[of=mean,scale=5]", {"rule": "average"}, 0.6, ""),
    ("random_noise[scale=5]", {"rule": "average"}, 0.4, ""),
    ("random_noise[scale=5,distribution=uniform]", {"rule": "average"}, 0.25, ""),
    ("foe", {"rule": "average"}, 0.6, ""),
    ("nan", {"rule": "average"}, 0.9, ""),
    ("inf", {"rule": "average"}, 0.9, ""),
    ("huge", {"rule": "average"}, 0.9, ""),
    ("bit_flip", {"rule": "average"}, 0.9, ""),
    ("label_flip", {"rule": "average"}, 0.05, ""),
    ("stale", {"rule": "average", "byzantine": 12, "sampled": 30}, 0.02, ""),
    ("clustering_aware", {"rule": "average"}, 0.5, ""),
    # Fake workers need no data.
    ("mpaf", {"rule": "average"}, 0.1, ""),
    ("poisoned_fl", {"rule": "average"}, 0.1, ""),
    # Krum believes whoever is near to many: copies of anything are near to each other.
    ("crash[send=zeros]", {"rule": "krum"}, 0.5, "foe"),
    ("agr_tailored", {"rule": "krum"}, 0.15, "foe"),
    ("fang[rule=krum]", {"rule": "krum"}, 0.12, "foe"),
    ("optimal_foe", {"rule": "krum", "rounds": 15}, 0.2, "foe"),
    # Values near to honest ones move what values far away can't.
    ("alie[z=1.5]", {"rule": "trimmed_mean", **NETWORK}, 0.2, "random_noise"),
    ("alie[z=1.5]", {"rule": "median", **NETWORK}, 0.25, "random_noise"),
    ("optimal_alie", {"rule": "average", "rounds": 15}, 0.4, ""),
    ("min_max", {"rule": "median"}, 0.25, "random_noise[scale=5]"),
    ("min_sum", {"rule": "median"}, 0.25, "random_noise[scale=5]"),
    ("agr_tailored[rule=trimmed_mean]", {"rule": "trimmed_mean"}, 0.2, "random_noise[scale=5]"),
    ("fang", {"rule": "trimmed_mean"}, 0.2, "random_noise[scale=5]"),
    # Trying on the server does more harm than any single one of what is tried.
    ("greedy", {"rule": "nnm+trimmed_mean", "rounds": 25}, 0.04, "fang"),
    ("black_box", {"rule": "average"}, 0.3, ""),
    # Where few honest workers send, few values are enough.
    ("tail_only", {"rule": "average", "algorithm": "hgo", "hardware": "c2"}, 0.3, ""),
    # Copying one honest worker is enough where workers differ.
    ("mimic", {"rule": "median", "partition": "by_class[k=2]"}, 0.2, ""),
    # Few that claim to have most of the data need not be many.
    ("claim_examples+foe[epsilon=2]", {"rule": "average", "weights": "claimed", "byzantine": 2}, 0.5, "foe[epsilon=2]"),
    # Fewer answers than the quorum stall every round.
    ("crash", {"rule": "median", "quorum": 24, "sampled": 24}, 0.3, ""),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("attack", "fields", "harm", "cruder"), BREAKS)
def test_an_attack_breaks_what_it_is_made_to_break(
    attack: str, fields: dict[str, Any], harm: float, cruder: str
) -> None:
    clean = accuracy("none", **fields)
    assert accuracy(attack, **fields) < clean - harm
    if cruder:
        assert accuracy(cruder, **fields) > clean - harm / 2


# What targeted attacks want, of an average: their success at the end is at least so much, and that
# of the cruder one is less. (attack, fields, success, cruder)
TARGETED: list[tuple[str, dict[str, Any], float, str]] = [
    ("targeted_flip[source=8]", {}, 0.12, ""),
    ("badnets", {}, 0.8, ""),
    ("dba", {}, 0.4, ""),
    ("edge_case[source=8,target=1]", {}, 0.3, ""),
    ("model_replacement+badnets", {"byzantine": 2}, 0.9, "badnets"),
    ("neurotoxin+badnets", {}, 0.6, ""),
]


@pytest.mark.long
@pytest.mark.parametrize(("attack", "fields", "success", "cruder"), TARGETED)
def test_a_targeted_attack_gets_what_it_wants_and_leaves_the_accuracy_alone(
    attack: str, fields: dict[str, Any], success: float, cruder: str
) -> None:
    fields = {"rule": "average", **fields}
    found = results(attack, **fields)
    assert np.mean([result.attack_success or 0.0 for result in found]) > success
    assert accuracy(attack, **fields) > accuracy("none", **fields) - 0.08
    if cruder:
        less = [result.attack_success or 0.0 for result in results(cruder, **fields)]
        assert np.mean(less) < success


def test_every_attack_is_shown_to_have_an_effect() -> None:
    shown = {attacks.registry.bare(attack) for attack, *_ in BREAKS}
    shown |= {attacks.registry.bare(attack) for attack, *_ in TARGETED}
    shown |= {attacks.registry.bare(name) for name, _ in SLIPS}
    assert set(attacks.registry.builtins) - {"none"} <= shown


def test_mimic_does_nothing_where_workers_are_alike() -> None:
    fields: dict[str, Any] = {"rule": "median", "partition": "iid"}
    assert accuracy("mimic", **fields) > accuracy("none", **fields) - 0.02


def test_the_last_bit_of_a_mantissa_does_no_harm() -> None:
    assert accuracy("bit_flip[bit=0]", rule="average") > accuracy("none", rule="average") - 0.01


def test_robust_rules_ignore_what_are_no_numbers() -> None:
    for attack in ("nan", "inf", "huge", "bit_flip[bit=30]"):
        fields: dict[str, Any] = {"rule": "trimmed_mean", "partition": "iid"}
        assert accuracy(attack, **fields) > accuracy("none", **fields) - 0.03


def recorded(**fields: Any) -> list[View]:
    """Return what attackers see in the rounds of a real run."""
    Recording.seen.clear()
    scenario = Scenario(
        **{**BASE, "rounds": 8, "rule": "median", **fields}, attack="tests.plugins:Recording"
    )
    simulate([scenario])
    return [view for _, _, view in Recording.seen]


def hidden_coordinate_is_far_and_selected() -> None:
    """Krum chooses it, though it is three times as far off as any honest worker."""
    for view in recorded(partition="iid"):
        crafted = attacks.build("hidden_coordinate")(view).values[0]
        assert view.honest is not None
        j, mean = view.dimension - 1, view.mean()
        widest = (view.honest[:, j] - mean[j]).abs().max()
        assert (crafted[j] - mean[j]).abs() > 2 * widest
        vectors = oracles.completed(partials(view), view.dimension)
        inside = crafted.double().numpy() * (1 - 1e-6) + mean.double().numpy() * 1e-6
        assert oracles.krum_selects(inside.tolist(), vectors, view.byzantine)


def clustering_aware_belongs_to_the_honest_cluster() -> None:
    """Single linkage puts half of it with the honest majority, and nothing of a plain FOE."""
    inside: dict[str, list[float]] = {"clustering_aware": [], "foe": []}
    for view in recorded(partition="iid"):
        for name, share in inside.items():
            assert view.honest is not None
            rows = torch.cat((view.honest, attacks.build(name)(view).values)).double()
            units = rows / rows.norm(dim=1, keepdim=True)
            distance = (1 - units @ units.T).clamp(0, 2).fill_diagonal_(0).numpy()
            tree = linkage(squareform((distance + distance.T) / 2, checks=False), "single")
            cluster = fcluster(tree, 2, "maxclust")
            share.append(
                float((cluster[-view.byzantine :] == np.bincount(cluster).argmax()).mean())
            )
    assert np.mean(inside["clustering_aware"]) > 0.4
    assert np.mean(inside["foe"]) < 0.1


def sign_guard_aware_passes_its_filters() -> None:
    """A SignGuard that hears attackers only is led nowhere; random noise it mostly drops."""
    fields: dict[str, Any] = {
        "rounds": 12,
        "byzantine": 12,
        "sampled": 30,
        "rule": "sign_guard",
        "seeds": 1,
    }
    clean = accuracy("none", **fields)
    assert accuracy("sign_guard_aware", **fields) < clean - 0.02
    assert accuracy("random_noise", **fields) > accuracy("sign_guard_aware", **fields)


SLIPS = [
    ("hidden_coordinate", hidden_coordinate_is_far_and_selected),
    ("clustering_aware", clustering_aware_belongs_to_the_honest_cluster),
    ("sign_guard_aware", sign_guard_aware_passes_its_filters),
]


@pytest.mark.parametrize(("name", "check"), SLIPS)
def test_an_attack_slips_past_what_it_is_made_to_slip_past(name: str, check: Any) -> None:
    check()


# Attacks on heterogeneity: what they do to HGO that the value attack behind them alone does not.
# (with, alone, fields, harm against the run without attack)
HGO: dict[str, Any] = {"algorithm": "hgo", "rule": "median"}
REMEMBERED: dict[str, Any] = {
    "algorithm": "hgo[memory=last]", "rule": "trimmed_mean", "sampled": 30, "hardware": "c1",
    "learning_rate": 0.3, "rounds": 60, "evaluation_interval": 60,
}  # fmt: skip
HETEROGENEITY: list[tuple[str, str, dict[str, Any], float]] = [
    (
        "tail+alie",
        "alie",
        {**HGO, **NETWORK, "byzantine": 9, "sampled": 30, "hardware": "mix[weak=0.6,average=0.4,powerful=0]"},
        0.08,
    ),
    (
        "starve+alie",
        "alie",
        {**HGO, "byzantine": 3, "hardware": "rare_labels+c2", "partition": "by_class[k=2]"},
        0.08,
    ),
    (
        "flood+foe[epsilon=0.1]",
        "foe[epsilon=0.1]",
        {**HGO, "byzantine": 3, "tolerated": 1, "hardware": "weak", "partition": "iid"},
        0.3,
    ),
    (
        "late+alie",
        "alie",
        {**HGO, "byzantine": 3, "hardware": "rare_labels+c2", "partition": "by_class[k=2]"},
        0.08,
    ),
    ("recall+foe", "stale", REMEMBERED, 0.3),
    ("vanish+foe", "stale", REMEMBERED, 0.2),
    (
        "lookalike+alie",
        "alie",
        {**HGO, "byzantine": 3, "hardware": "rare_labels+c2", "partition": "by_class[k=2]"},
        0.08,
    ),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(("combined", "alone", "fields", "harm"), HETEROGENEITY)
def test_heterogeneity_attacks_hurt_where_their_value_attack_does_not(
    combined: str, alone: str, fields: dict[str, Any], harm: float
) -> None:
    clean = accuracy("none", 3, **fields)
    assert accuracy(alone, 3, **fields) > clean - 0.05
    assert accuracy(combined, 3, **fields) < clean - harm


def test_late_attackers_cost_time_where_there_is_no_deadline() -> None:
    """The same model, and eleven times the wait for it; no other attack costs any."""
    fields = {**HGO, "deadline": np.inf, "rounds": 5}
    foe, late = (results(attack, **fields) for attack in ("foe", "late[delay=3000]+foe"))
    for a, b in zip(foe, late, strict=True):
        assert a.summary["test_accuracy"] == b.summary["test_accuracy"]
        assert b.summary["time"] == pytest.approx(a.summary["time"] + 5 * 3000)


def test_starving_attackers_shrink_the_block_and_flooding_ones_enlarge_it() -> None:
    fields = {**HGO, "byzantine": 3, "hardware": "weak", "partition": "iid", "tolerated": 1}
    sizes = {
        attack: np.mean([r.summary["mean_block_size"] for r in results(attack, **fields)])
        for attack in ("none", "alie", "starve+alie", "flood+alie")
    }
    assert sizes["starve+alie"] < sizes["none"] < sizes["alie"] < 0.5 * sizes["flood+alie"]
    world = World(Scenario(**{**BASE, **fields}))
    assert world.rates.max() * 32 / 32 < 650  # nobody honest sends everything
