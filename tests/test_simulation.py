from __future__ import annotations

import dataclasses
import gc
import importlib
import math
import platform
import re
import signal
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from hgobench import Scenario, World, aggregators, attacks, run, testing
from hgobench.attacks import Message, View
from hgobench.attacks.greedy import Greedy
from hgobench.determinism import one_thread, stream
from hgobench.errors import InputError, SamplingRisk
from hgobench.results import COLUMNS, Result
from hgobench.simulation import Step, simulate
from hgobench.simulation.cell import Cell
from hgobench.simulation.rounds import Stack
from tests import plugins
from tests.algorithm_1 import train
from tests.plugins import Recording, without_lines

BASE: dict[str, Any] = {
    "workers": 12,
    "byzantine": 2,
    "sampled": 10,
    "batch_size": 4,
    "deadline": 4.0,
    "rounds": 4,
    "learning_rate": 0.5,
}


@pytest.mark.parametrize(
    "fields",
    [
        {"rule": "average", "byzantine": 0},
        {"rule": "trimmed_mean", "attack": "foe"},
        {"rule": "median", "attack": "alie[z=1.5]", "partition": "by_class[k=2]"},
        {"rule": "krum", "attack": "sign_flip", "hardware": "c2", "scope": "coordinate"},
        {"rule": "meamed", "attack": "crash", "hardware": "weak"},
        {"rule": "phocas", "attack": "crash[send=zeros]", "quorum": 7},
        {"rule": "aksel", "attack": "foe", "granularity": "feature", "cost": "unit"},
        {"rule": "median", "attack": "label_flip", "hardware": "c2"},
        {"rule": "median", "attack": "label_flip", "algorithm": "hgo[momentum=0.5]"},
        {"rule": "average", "attack": "starve+foe", "quorum": 7},
        {"rule": "median", "attack": "foe", "workload": "coordinates_first"},
        {"rule": "median", "attack": "foe", "workload": "coordinates_first", "algorithm": "sgd"},
        {"rule": "median", "attack": "foe", "workload": "data_first", "hardware": "c2"},
        {"rule": "median", "workload": "hybrid", "deadline": 40.0},
        {
            "rule": "median",
            "workload": "coordinates_first",
            "deadline": 60.0,
            "hardware": "network[uplink=100,counts=true]+powerful",
        },
        {
            "rule": "average",
            "workload": "coordinates_first",
            "deadline": math.inf,
            "algorithm": "sgd",
            "hardware": "network[uplink=1e5,counts=true]+powerful",
        },
        {"rule": "median", "workload": "hybrid[rho=0.9]", "deadline": math.inf},
        {"rule": "average", "attack": "foe", "hardware": "bernoulli[p=0.6]+c2"},
        {"rule": "average", "hardware": "markov[leave=0.5,join=0.5]+standard", "algorithm": "sgd"},
        {"rule": "median", "hardware": "network[uplink=900,downlink=3000,latency=0.3]+c2"},
        {
            "rule": "median",
            "hardware": "network[uplink=900,downlink=3000,latency=0.3,counts=true]+c2",
        },
        {
            "rule": "median",
            "hardware": "network[uplink=5000,latency=0.1,counts=true]+standard",
            "algorithm": "sgd",
        },
        {
            "rule": "median",
            "hardware": "network[uplink=900,counts=true]+c2",
            "granularity": "feature",
            "cost": "unit",
        },
        {
            "rule": "median",
            "hardware": "network[uplink=500,latency=1]+bernoulli[p=0.7]+pareto",
            "deadline": math.inf,
        },
        {"rule": "median", "attack": "foe", "granularity": "feature", "hardware": "c2"},
        {"rule": "trimmed_mean", "attack": "foe", "schedule": "inverse_sqrt_block"},
        {"rule": "trimmed_mean", "attack": "foe", "attack_start": 2, "seed": 5},
        {
            "rule": "median",
            "attack": "foe",
            "attack_start": 1,
            "attack_stop": 6,
            "attack_period": 2,
            "rounds": 8,
        },
        {"rule": "median", "attack": "foe", "hardware": "c2", "lies_about_speed": "no"},
        {
            "rule": "trimmed_mean",
            "attack": "crash",
            "workers": 200,
            "byzantine": 20,
            "tolerated": 2,
        },
        {"rule": "average", "algorithm": "sgd", "attack": "foe"},
        {"rule": "median", "algorithm": "sgd", "attack": "sign_flip"},
        {"rule": "median", "deadline": math.inf, "attack": "foe"},
        {"rule": "median", "algorithm": "hgo[momentum=0.9]", "attack": "sign_flip"},
        {"rule": "median", "algorithm": "sgd[momentum=0.5]", "attack": "foe", "deadline": 40.0},
        {"rule": "centered_clipping", "attack": "foe", "scope": "coordinate"},
        {"rule": "centered_clipping", "attack": "foe", "scope": "block", "rounds": 6},
        {"rule": "foolsgold", "attack": "foe", "workers": 30, "rounds": 6, "scope": "block"},
        {"rule": "clipped_clustering", "attack": "sign_flip", "rounds": 6, "scope": "block"},
        {"rule": "fltrust", "attack": "foe", "scope": "block"},
        {"rule": "zeno", "attack": "sign_flip", "algorithm": "sgd"},
        {"rule": "zeno", "attack": "foe", "algorithm": "sgd", "learning_rate": 3.0},
        {"rule": "oracle", "attack": "foe"},
        {"rule": "oracle", "attack": "foe", "scope": "block"},
        {"rule": "multi_krum", "attack": "foe", "scope": "coordinate"},
        {"rule": "geometric_median", "attack": "foe", "scope": "coordinate"},
        {"rule": "cge", "attack": "alie[z=1.5]", "scope": "coordinate"},
        {"rule": "smea", "attack": "foe", "algorithm": "sgd"},
        {"rule": "mda", "attack": "foe", "algorithm": "sgd"},
        {"rule": "caf", "attack": "foe", "scope": "coordinate"},
        {"rule": "bulyan", "attack": "foe", "byzantine": 1, "scope": "block"},
        *(
            {"rule": rule, "attack": "foe", "scope": "staircase", **fields}
            for rule, fields in (
                ("krum", {"granularity": "feature"}),
                ("mda", {"attack": "alie[z=1.5]"}),
                ("caf", {"schedule": "inverse_sqrt_block"}),
                ("bulyan", {"byzantine": 1}),
                ("centered_clipping", {"rounds": 6}),
                ("foolsgold", {"workers": 30, "rounds": 6}),
                ("clipped_clustering", {"attack": "sign_flip", "rounds": 6}),
                ("fltrust", {}),
                ("zeno", {}),
            )
        ),
    ],
)
def test_agrees_with_algorithm_1_round_by_round(fields: dict[str, Any]) -> None:
    assert sum(compare(Scenario(**{**BASE, **fields}))["block_size"]) > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"rule": "fltrust", "scope": "block"},
        {"rule": "zeno", "attack": "sign_flip", "scope": "block"},
        {"rule": "zeno", "attack": "foe", "schedule": "inverse_sqrt_block", "scope": "block"},
        {"rule": "foolsgold", "workers": 30, "scope": "block"},
        {"rule": "centered_clipping", "scope": "coordinate"},
        {"rule": "centered_clipping", "scope": "block"},
        {"rule": "clipped_clustering", "scope": "block"},
        {"rule": "oracle"},
        {"rule": "oracle", "scope": "block"},
        {"rule": "median", "algorithm": "hgo[momentum=0.8]"},
    ],
)
def test_what_a_server_keeps_and_knows_is_of_the_block(fields: dict[str, Any]) -> None:
    """On weak devices every round has another block of some coordinates."""
    hard = {**BASE, "attack": "foe", "hardware": "weak", "rounds": 6, **fields}
    sizes = compare(Scenario(**hard))["block_size"]
    assert 0 < min(sizes) <= max(sizes) < 300


def test_a_view_draws_from_the_stream_of_its_round() -> None:
    plugins.DrawingView.drawn.clear()
    fields = {**BASE, "seed": 3, "scope": "block", "metrics": "none"}
    run(Scenario(**{**fields, "rule": "tests.plugins:DrawingView"}))
    run(Scenario(**{**fields, "rule": "nnm+tests.plugins:DrawingView"}))
    expected = [stream(3, "rule", k, step).random() for step in (0, 1) for k in range(1, 5)]
    assert plugins.DrawingView.drawn == expected


@pytest.mark.parametrize("rule", ["nnm+tests.plugins:Gambling", "tests.plugins:Guessing+krum"])
def test_every_part_of_a_chain_has_its_randomness_keyed(rule: str) -> None:
    scenario = Scenario(**{**BASE, "rule": rule, "attack": "foe"})
    torch.manual_seed(1)
    first = run(scenario)
    torch.manual_seed(2)
    same(first, run(scenario))
    assert first.rounds["test_loss"] != run(scenario.replace(seed=1)).rounds["test_loss"]


def compare(scenario: Scenario) -> dict[str, list[Any]]:
    found, expected = run(scenario).rounds, train(scenario)
    for name in ("block_size", "heard", "byzantine_heard", "stalled", "bytes_up", "coordinates"):
        assert list(found[name]) == expected[name], (scenario, name)
    for name in ("test_loss", "time"):
        np.testing.assert_allclose(found[name], expected[name], rtol=5e-5, err_msg=repr(scenario))
    return expected


@pytest.mark.parametrize(
    "rule",
    [
        "centered_clipping",
        "foolsgold",
        "clipped_clustering",
        "nnm+foolsgold",
        "bucketing+median",
        "dnc[coordinates=50]",
        "sign_guard",
    ],
)
@pytest.mark.parametrize("algorithm", ["hgo", "sgd[momentum=0.9]"])
def test_every_run_starts_fresh(rule: str, algorithm: str) -> None:
    """Rules that remember or draw, and momentum, share nothing between runs and cells."""
    fields = {**BASE, "attack": "foe", "rule": rule, "algorithm": algorithm, "rounds": 6}
    scenario = Scenario(**{**fields, "hardware": "powerful"})
    other = scenario.replace(attack="sign_flip")
    alone = simulate([scenario])[0]
    again = simulate([scenario])[0]
    beside = simulate([other, scenario, scenario])
    for found in (again, *beside[1:]):
        same(alone, found)
    assert beside[0].rounds["test_loss"] != alone.rounds["test_loss"]


def test_momentum_is_another_algorithm_and_0_is_none() -> None:
    fields = {**BASE, "rule": "median", "attack": "foe"}
    plain, zero = Scenario(**fields), Scenario(**{**fields, "algorithm": "hgo[momentum=0]"})
    assert plain == zero
    with_momentum = Scenario(**{**fields, "algorithm": "hgo[momentum=0.9]"})
    assert run(plain).rounds["test_loss"][1:] != run(with_momentum).rounds["test_loss"][1:]


def test_only_rules_that_say_so_are_told_who_is_honest() -> None:
    fields = {**BASE, "attack": "foe"}
    for rule, seen in (("Curious", [False, False]), ("CuriousAndOpen", [True, True])):
        result = run(Scenario(**{**fields, "rule": f"tests.plugins:{rule}"}))
        assert result.summary["status"] == "done", result.summary["reason"]
        assert getattr(plugins, rule).seen == seen
    assert result.provenance["needs"] == ["honest", "root"]


def test_more_root_data_than_there_is_fails_the_cell_and_says_so() -> None:
    result = run(Scenario(**{**BASE, "rule": "fltrust[examples=9999]"}))
    assert result.summary["status"] == "failed"
    assert re.fullmatch(
        r"round 1: rule: 'fltrust\[examples=9999\]': examples: 9999; expected at most \d+",
        result.summary["reason"],
    )
    assert result.at_fault == "rule"


@pytest.mark.parametrize(
    ("method", "fields", "who"),
    [
        ("attacks.foe:Foe.values", {"attack": "foe"}, "attack 'foe'"),
        ("attacks.foe:Foe.values", {"attack": "tail+foe"}, "attack 'tail+foe'"),
        ("attacks.badnets:BadNets.poisoned", {"attack": "badnets"}, "attack 'badnets'"),
        ("attacks.badnets:BadNets.goal", {"attack": "badnets"}, "attack 'badnets'"),
        ("aggregators.krum:Krum.of_vectors", {"rule": "krum"}, "rule 'krum'"),
        ("aggregators.nnm:Nnm.of_vectors", {"rule": "nnm+krum"}, "rule 'nnm+krum'"),
        ("algorithms.sgd:Sgd.updates", {}, "algorithm 'sgd'"),
        ("algorithms.solvers:GradientDescent.step", {}, "solver 'gradient_descent'"),
    ],
)
def test_what_a_part_of_hgobench_raises_is_that_part_s_mistake(
    method: str, fields: dict[str, Any], who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board must not say of a rule what an attack did wrong; the innermost part counts."""
    module, _, name = method.partition(":")
    code = compile("def wrong(*given, **more):\n    raise KeyError('x')", module, "exec")
    home = importlib.import_module(f"hgobench.{module}")
    names: dict[str, Any] = {"__name__": home.__name__}
    exec(code, names)
    monkeypatch.setattr(
        getattr(home, name.partition(".")[0]), name.partition(".")[2], names["wrong"]
    )
    result = run(
        Scenario(**{**BASE, "deadline": "inf", "algorithm": "sgd", "attack": "none", **fields})
    )
    assert (result.status, result.at_fault) == ("failed", who.partition(" ")[0])
    assert re.fullmatch(rf"round \d+: {re.escape(who)}: KeyError: 'x'", result.reason)


def test_random_instances_agree_with_algorithm_1() -> None:
    rng = np.random.default_rng(0)

    def pick(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    blocks = 0
    seen: set[Scenario] = set()
    while len(seen) < 40:
        fields = {
            "workers": int(rng.integers(5, 60)),
            "byzantine": int(rng.integers(0, 4)),
            "sampled": int(rng.integers(4, 9)),
            "tolerated": pick(None, 0, 1),
            "quorum": pick(None, None, int(rng.integers(1, 9))),
            "batch_size": int(rng.integers(1, 40)),
            "deadline": pick(2.0, 20.0, 20.0, 50.0, math.inf),
            "rounds": 3,
            "learning_rate": 0.3,
            "rule": pick("average", "median", "trimmed_mean", "meamed", "phocas", "krum", "aksel"),
            "attack": pick("none", "foe", "alie[z=1.5]", "sign_flip", "crash"),
            "partition": pick("iid", "dirichlet[alpha=0.3]"),
            "hardware": pick("standard", "c2", "weak"),
            "algorithm": pick("hgo", "hgo", "sgd"),
            "scope": pick(None, "block"),
            "granularity": pick("scalar", "feature"),
            "cost": pick("scalar", "unit"),
            "data": pick("digits", "breast_cancer[validation=0]"),
            "seed": int(rng.integers(100)),
        }
        if fields["rule"] == "aksel" and fields["data"] != "digits":
            continue  # gradients of two classes are each other's negatives: distances tie
        try:
            scenario = Scenario(**fields)
            World(scenario)
        except InputError:
            continue
        seen.add(scenario)
        blocks += sum(size > 0 for size in compare(scenario)["block_size"])
    assert blocks > 60


def same(a: Result, b: Result, but: tuple[str, ...] = ()) -> None:
    for name in COLUMNS:
        if name not in but:
            np.testing.assert_array_equal(a.rounds[name], b.rounds[name], err_msg=name)
    assert a.measures == b.measures


@pytest.mark.parametrize("rule", ["average", "krum", "phocas"])
def test_with_all_workers_powerful_hgo_is_sgd(rule: str) -> None:
    fields = {**BASE, "hardware": "powerful", "rule": rule, "scope": "coordinate", "attack": "foe"}
    hgo, sgd = (run(Scenario(algorithm=name, **fields)) for name in ("hgo", "sgd"))
    assert set(hgo.rounds["block_size"]) == {650}
    same(hgo, sgd)


def test_without_a_deadline_hgo_is_sgd_and_waits_for_the_slowest() -> None:
    fields = {**BASE, "deadline": math.inf, "rule": "median", "scope": "coordinate"}
    hgo, sgd = (run(Scenario(algorithm=name, **fields)) for name in ("hgo", "sgd"))
    same(hgo, sgd)
    world = World(Scenario(**fields))
    slowest = [max(4 * 650 / world.rates[world.draw(k).workers]) for k in range(1, 5)]
    np.testing.assert_allclose(np.diff([0.0, *hgo.rounds["time"]]), slowest)


def test_sgd_hears_only_who_finishes_and_hgo_hears_everybody() -> None:
    fields = {**BASE, "hardware": "c2", "byzantine": 0, "rule": "average"}
    hgo, sgd = (run(Scenario(algorithm=name, **fields)) for name in ("hgo", "sgd"))
    world = World(Scenario(**fields))
    finish = [int((world.rates[world.draw(k).workers] >= 650).sum()) for k in range(1, 5)]
    assert list(sgd.rounds["heard"]) == finish
    assert list(hgo.rounds["heard"]) == [10] * 4
    assert list(sgd.rounds["time"]) == [4.0, 8.0, 12.0, 16.0]
    # Both computed the same: what SGD throws away was computed too.
    assert sgd.rounds["coordinates"] == hgo.rounds["coordinates"]
    assert sum(sgd.rounds["bytes_up"]) < sum(hgo.rounds["bytes_up"])


def test_fewer_answers_than_the_quorum_stall_the_round_and_change_nothing() -> None:
    result = run(Scenario(**{**BASE, "sampled": 12, "quorum": 11}, attack="crash"))
    assert list(result.rounds["stalled"]) == [True] * 4
    assert list(result.rounds["heard"]) == [10] * 4
    assert result.summary["stalled"] == 4
    assert len(set(result.rounds["test_loss"])) == 1


def test_a_worker_that_reconnects_is_just_heard_again() -> None:
    fields = {**BASE, "sampled": 12, "rounds": 8, "hardware": "powerful"}
    away = run(Scenario(**fields, attack="tests.plugins:Away"))
    always = run(Scenario(**fields, attack="none"))
    assert list(away.rounds["heard"]) == [12, 12, 10, 10, 10, 12, 12, 12]
    assert away.rounds["test_loss"][:2] == always.rounds["test_loss"][:2]
    assert list(away.rounds["stalled"]) == [False] * 8


def test_an_attack_starts_when_it_is_told() -> None:
    late = run(Scenario(**BASE, attack="foe", attack_start=2)).rounds["test_loss"]
    never = run(Scenario(**BASE, attack="none")).rounds["test_loss"]
    at_once = run(Scenario(**BASE, attack="foe")).rounds["test_loss"]
    assert late[:2] == never[:2]
    assert late[2:] != never[2:]
    assert at_once[:2] != never[:2]


def test_attackers_behave_between_bursts_and_after_they_stopped() -> None:
    """A run is that without attack until one starts, and every round is attacked or is not."""
    fields = {**BASE, "rule": "average", "rounds": 9, "attack_start": 1, "attack_period": 2}
    burst = run(Scenario(**fields, attack="nan", attack_stop=6))
    assert burst.status == "diverged"
    assert len(burst.rounds["round"]) == 2
    silent = run(Scenario(**fields, attack="crash", attack_stop=6))
    never = run(Scenario(**fields, attack="none"))
    expected = list(never.rounds["byzantine_heard"])
    assert min(expected) > 0
    for k in (2, 3, 6):  # rounds 7 and 8 would be attacked, but for the stop
        expected[k - 1] = 0
    assert list(silent.rounds["byzantine_heard"]) == expected
    assert silent.rounds["test_loss"][:1] == never.rounds["test_loss"][:1]


@pytest.mark.parametrize("attack", ["foe", "tests.plugins:Claiming"])
def test_attackers_that_can_t_lie_are_as_fast_as_their_devices(attack: str) -> None:
    """Their claims end there; one that is longer is clipped and counted."""
    fields = {**BASE, "rule": "median", "hardware": "c2", "attack": attack, "rounds": 4}
    free, bound = (run(Scenario(**fields, lies_about_speed=lies)) for lies in ("yes", "no"))
    own = run(Scenario(**{**fields, "attack": "own_lengths+foe"}))
    assert sum(free.rounds["malformed"]) == 0
    if attack == "foe":  # an attack that knows what it may claim claims no more
        assert sum(bound.rounds["malformed"]) == 0
        bytes_up = [run_.rounds["bytes_up"] for run_ in (own, bound, free)]
        assert all(a <= b <= c for a, b, c in zip(*bytes_up, strict=True))
        assert sum(bytes_up[1]) < sum(bytes_up[2])
        assert own.rounds["byzantine_heard"] == bound.rounds["byzantine_heard"]
    else:
        assert sum(bound.rounds["malformed"]) > 0
        assert bound.rounds["bytes_up"] == own.rounds["bytes_up"]


def test_what_is_tried_on_the_server_is_no_longer_than_it_may_be() -> None:
    fields = {**BASE, "rule": "median", "hardware": "c2", "rounds": 2, "lies_about_speed": "no"}
    plugins.Trying.seen.clear()
    result = run(Scenario(**fields, attack="tests.plugins:Trying"))
    assert result.status == "done"
    assert plugins.Trying.seen
    for view, *_ in plugins.Trying.seen:
        assert (view.limits == view.own_lengths).all()


@pytest.mark.parametrize(
    ("model", "data"),
    [("softmax", "digits"), ("logistic", "breast_cancer"), ("feed_forward[hidden=8]", "digits")],
)
def test_a_cell_does_not_depend_on_its_neighbours_or_its_place(model: str, data: str) -> None:
    fields = {**BASE, "model": model, "data": data, "rounds": 6}
    cells = [Scenario(**fields, rule=rule, attack=attack, algorithm=algorithm)
             for rule in ("median", "krum") for attack in ("none", "foe")
             for algorithm in ("hgo", "sgd")]  # fmt: skip
    together = simulate(cells)
    backwards = simulate(cells[::-1])[::-1]
    for i, cell in enumerate(cells):
        (alone,) = simulate([cell])
        same(alone, together[i])
        same(alone, backwards[i])


def test_a_cell_is_the_same_alone_and_in_stacks_of_2_and_64() -> None:
    """Every form of attack and rule, whether cells are treated at once or one by one."""
    fields = {**BASE, "rounds": 3, "evaluation_interval": 3}
    attacks_ = ("none", "crash", "alie[z=1.5]", "label_flip", "random_noise", "min_max",
                "tail+alie[z=1.5]", "nan")  # fmt: skip
    cells = [Scenario(**fields, rule=rule, attack=attack, algorithm=algorithm)
             for rule in ("trimmed_mean", "krum", "nnm+median", "centered_clipping")
             for attack in attacks_ for algorithm in ("hgo", "sgd[momentum=0.5]")]  # fmt: skip
    assert len(cells) == 64
    together = simulate(cells)
    order = np.random.default_rng(0).permutation(64)
    shuffled = simulate([cells[i] for i in order])
    for place, i in enumerate(order):
        same(together[i], shuffled[place])
    for i in range(0, 64, 2):
        pair = simulate([cells[i], cells[63 - i]])
        same(pair[0], together[i])
        same(pair[1], together[63 - i])
    for i in range(0, 64, 5):
        same(run(cells[i]), together[i])


BESIDE = {**BASE, "rounds": 3, "evaluation_interval": 3, "hardware": "c2"}
STEPS = [f"{step}+foe" for step in attacks.heterogeneity_attacks.builtins]
STEPS += ["alie[z=1.5,signs=random]"]


@pytest.mark.parametrize("attack", [*attacks.registry.builtins, *STEPS])
def test_every_attack_sends_each_of_many_cells_what_it_sends_one(attack: str) -> None:
    fields = {**BESIDE, "attack": attack}
    cells = [Scenario(**{**fields, "rule": rule}) for rule in ("median", "average", "phocas")]
    for cell, found in zip(cells, simulate(cells), strict=True):
        same(run(cell), found)


def test_attackers_see_the_learning_rate_of_their_own_server() -> None:
    fields = {**BESIDE, "attack": "mpaf", "rule": "average", "byzantine": 2, "tolerated": 0}
    cells = [Scenario(**{**fields, "learning_rate": rate}) for rate in (0.05, 0.5)]
    for cell, found in zip(cells, simulate(cells), strict=True):
        same(run(cell), found)


@pytest.mark.parametrize(
    ("rule", "scope"),
    [
        (rule, scope)
        for rule in (
            *aggregators.registry.builtins,
            "nnm+median",
            "clipping+phocas",
            "arc+krum",
            "gas[parts=2]+krum",
        )
        for scope in aggregators.build(rule).scopes()
    ],
)
def test_every_rule_answers_each_of_many_cells_as_one(rule: str, scope: str) -> None:
    fields = {**BESIDE, "attack": "alie[z=1.5]", "rule": rule, "byzantine": 2, "scope": scope}
    fields["tolerated"] = 1 if rule == "bulyan" else 2
    cells = [Scenario(**{**fields, "learning_rate": rate}) for rate in (0.1, 0.5, 2.0)]
    for cell, found in zip(cells, simulate(cells), strict=True):
        same(run(cell), found)


@pytest.mark.parametrize("scope", ["coordinate", "block"])
@pytest.mark.parametrize("weights", ["none", "examples"])
def test_rules_that_look_at_the_same_sorted_columns_answer_each_cell_as_one(
    scope: aggregators.Scope, weights: str
) -> None:
    fields = {**BESIDE, "scope": scope, "weights": weights}
    fields["algorithm"] = "hgo" if scope == "coordinate" else "sgd"
    rules = [rule for rule in ("average", "median", "trimmed_mean", "meamed", "phocas", "krum",
                               "aksel", "cge", "clipping+median")
             if weights == "none" or aggregators.build(rule, scope=scope).weighted]  # fmt: skip
    cells = [Scenario(**fields, rule=rule, attack=attack)
             for rule in rules for attack in ("none", "foe", "crash", "inf")]  # fmt: skip
    assert len(cells) >= 16
    for cell, found in zip(cells, simulate(cells), strict=True):
        same(run(cell), found)
        assert run(cell).reason == found.reason


def test_what_is_answered_for_many_cells_is_answered_for_each_where_one_fails() -> None:
    """An attack that one cell's rule can't stand ends that cell alone."""
    fields = {**BASE, "rule": "average", "rounds": 3, "hardware": "powerful"}
    cells = [Scenario(**fields, attack=attack) for attack in ("nan", "sign_flip", "foe", "inf")]
    nan, flipped, foe, inf = simulate(cells)
    assert [nan.status, flipped.status, foe.status, inf.status] == [
        "diverged", "done", "done", "diverged"
    ]  # fmt: skip
    for cell, found in zip(cells, (nan, flipped, foe, inf), strict=True):
        same(run(cell), found)
        assert run(cell).reason == found.reason


@pytest.mark.parametrize("algorithm", ["hgo", "fedbuff[buffer=5]", "basgd[buffers=5]"])
def test_what_attackers_looked_at_is_not_kept_until_garbage_is_collected(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    views, best = list[weakref.ref[View]](), Greedy.best

    def noting(self: Greedy, view: View) -> Message:
        views.append(weakref.ref(view))
        return best(self, view)

    monkeypatch.setattr(Greedy, "best", noting)
    gc.disable()
    try:
        run(Scenario(**{**BASE, "rounds": 3}, attack="greedy", algorithm=algorithm))
        assert len(views) >= 3
        assert not any(view() for view in views)
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
@pytest.mark.parametrize(("attack", "method"), [("foe", "__call__"), ("label_flip", "poison")])
def test_a_joint_call_of_an_attack_that_takes_too_long_ends_no_cell(
    attack: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {**BASE, "attack": attack, "rounds": 2}
    cells = [Scenario(**{**fields, "rule": rule}) for rule in ("median", "meamed", "phocas")]
    alone = [run(cell) for cell in cells]
    kind = type(attacks.build(attack))
    original, calls = getattr(kind, method), list[int]()

    def slow_at_first(self: object, *given: object) -> object:
        calls.append(1)
        until = time.process_time() + (1.0 if len(calls) == 1 else 0.0)
        while time.process_time() < until:
            pass
        return original(self, *given)

    monkeypatch.setattr(kind, method, slow_at_first)
    for cell, found in zip(alone, simulate(cells, time_limit=0.5), strict=True):
        same(cell, found)
        assert (found.status, found.reason) == ("done", "")
    assert len(calls) == 1 + 3 + 1  # at once, then each alone; at once in the second round


def test_a_cell_without_time_fails_before_it_begins() -> None:
    (found,) = simulate([Scenario(**BASE, rule="median")], time_limit=1e-9)
    assert (found.status, found.reason) == (
        "failed",
        "round 1: out of time: rule 'median' and what else the cell names took longer than "
        "time_limit = 1e-09 s",
    )


def test_what_an_attacker_tries_changes_no_memory_of_a_rule() -> None:
    """Also not that of a rule of one's own that does not say that it has one."""
    cells = [
        Scenario(**BASE, rule=f"tests.plugins:{name}", attack="optimal_foe", algorithm="sgd")
        for name in ("SaysSo", "Smoothing", "Uncopied")
    ]
    declared, silent, uncopied = simulate(cells)
    assert declared.status == silent.status == uncopied.status == "done"
    same(silent, declared)
    assert silent.rounds["test_loss"] != uncopied.rounds["test_loss"]


def test_a_neighbour_that_fails_changes_nothing() -> None:
    good = Scenario(**BASE, rule="median", attack="foe")
    bad = [
        Scenario(**BASE, rule="tests.plugins:Raising"),
        Scenario(**BASE, rule="average", attack="tests.plugins:NotANumber"),
    ]
    failed, diverged, beside = simulate([*bad, good])
    (alone,) = simulate([good])
    same(alone, beside)
    assert (failed.status, without_lines(failed.reason)) == (
        "failed",
        "round 1: rule 'tests.plugins:Raising': RuntimeError: out of ideas",
    )
    assert diverged.status == "diverged"
    assert diverged.summary["test_accuracy"] == 0.0


def test_cells_of_two_worlds_are_no_cohort() -> None:
    with pytest.raises(ValueError, match="expected scenarios of one world"):
        simulate([Scenario(**BASE), Scenario(**BASE, seed=1)])


@pytest.mark.parametrize("rule", ["tests.plugins:Hanging", "tests.plugins:Swallowing"])
def test_a_rule_that_hangs_ends_with_the_time_limit(rule: str) -> None:
    result = run(Scenario(**BASE, rule=rule), time_limit=0.2)
    assert result.status == "failed"
    assert result.reason == (
        f"round 1: out of time: rule {rule!r} waited longer than time_limit = 0.2 s"
    )


def test_a_rule_s_own_randomness_is_keyed_and_leaves_the_caller_s_alone() -> None:
    scenario = Scenario(**BASE, rule="tests.plugins:Gambling")
    torch.manual_seed(1)
    first, state = run(scenario), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    same(run(scenario), first)
    other = run(scenario.replace(seed=1))
    assert other.rounds["test_loss"] != first.rounds["test_loss"]


def test_attackers_see_what_is_sent_and_draw_from_the_world_s_stream() -> None:
    Recording.seen.clear()
    run(Scenario(**BASE, attack="tests.plugins:Recording", hardware="weak", seed=3))
    assert [k for k, _, _ in Recording.seen] == [1, 2, 3, 4]
    for k, drawn, view in Recording.seen:
        assert drawn == stream(3, "attack", k).random()
        assert view.own is not None
        assert view.honest is not None
        assert view.sent is not None
        assert not view.honest[~view.sent].any()
        assert int(view.sent.sum(dim=1).max()) == view.longest


def test_sgd_takes_whole_answers_only() -> None:
    short = run(Scenario(**BASE, algorithm="sgd", attack="tests.plugins:Short", rule="average"))
    assert set(short.rounds["block_size"]) == {650}
    assert short.rounds["byzantine_heard"] == [0] * 4


def test_validation_accuracy_is_on_validation_examples() -> None:
    scenario = Scenario(**{**BASE, "rounds": 30})
    world, result = World(scenario), run(scenario)
    whole = run(scenario.replace(data="digits[validation=0]"))
    assert all(map(math.isnan, whole.rounds["validation_accuracy"]))
    counts = [value * len(world.data.validation) for value in result.rounds["validation_accuracy"]]
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-6)
    assert result.rounds["validation_accuracy"] != result.rounds["test_accuracy"]


@pytest.mark.parametrize(
    ("rule", "attack", "reason"),
    [
        (
            "tests.plugins:WrongShape",
            "none",
            r"WrongShape: returned torch.float32 \(1,\); expected a real tensor of shape \(650,\)",
        ),
        ("tests.plugins:Lazy", "none", "Lazy: returned generator; expected a real tensor"),
        (
            "median",
            "tests.plugins:NotLengths",
            "TypeError: claimed lengths: float64; expected integers",
        ),
        ("tests.plugins:Leaving", "none", "SystemExit: 3"),
    ],
)
def test_what_plugins_get_wrong_is_recorded(rule: str, attack: str, reason: str) -> None:
    result = run(Scenario(**BASE, rule=rule, attack=attack))
    assert result.status == "failed"
    assert result.summary["test_accuracy"] == 0.0
    assert result.summary["stalled"] == 0
    assert re.search(reason, result.reason)


@pytest.mark.parametrize(
    ("attack", "heard"),
    [
        ("TooLong", 2),
        ("Negative", 0),
        ("BadShape", 0),
        ("BadLengths", 0),
        ("Narrow", 0),
        ("Never", 0),
        ("BadDelay", 0),
        ("Imaginary", 0),
    ],
)
def test_messages_that_no_worker_could_send_are_bounded_or_dropped_and_counted(
    attack: str, heard: int
) -> None:
    """The server goes on; a length out of bounds is bounded, what can't be read is no answer."""
    fields = {**BASE, "sampled": 12}
    result = run(Scenario(**fields, attack=f"tests.plugins:{attack}"))
    assert result.status == "done"
    assert list(result.rounds["malformed"]) == [2] * 4
    assert result.summary["malformed"] == 8
    assert list(result.rounds["byzantine_heard"]) == [heard] * 4
    if not heard:
        same(result, run(Scenario(**fields, attack="crash")), but=("malformed",))


def test_well_formed_messages_are_not_counted() -> None:
    for attack in ("foe", "nan", "starve+foe", "crash", "late+foe"):
        assert run(Scenario(**BASE, attack=attack)).summary["malformed"] == 0


def test_after_the_deadline_nobody_is_heard() -> None:
    fields = {**BASE, "sampled": 12}
    late = run(Scenario(**fields, attack="late[delay=0.1]+foe"))
    same(late, run(Scenario(**fields, attack="crash")))
    in_time = run(Scenario(**fields, attack="late[delay=0]+foe"))
    same(in_time, run(Scenario(**fields, attack="foe")))


def test_without_a_deadline_the_server_waits_for_the_late() -> None:
    fields = {**BASE, "sampled": 12, "deadline": math.inf}
    late, foe = (run(Scenario(**fields, attack=a)) for a in ("late[delay=7.5]+foe", "foe"))
    waited = np.array(late.rounds["time"]) - np.array(foe.rounds["time"])
    np.testing.assert_allclose(waited, 7.5 * np.arange(1, 5))
    same(late, foe, but=("time",))


@pytest.mark.parametrize("rule", ["RecordingMedian", "RecordingMemory"])
def test_what_is_tried_on_the_server_is_what_it_then_answers(rule: str) -> None:
    """And trying leaves a rule's memory as it was."""
    answers = getattr(plugins, rule).answers
    answers.clear()
    fields = {**BASE, "hardware": "c2", "rule": f"tests.plugins:{rule}", "rounds": 6}
    run(Scenario(**fields, attack="tests.plugins:Trying", scope="block", metrics="none"))
    tried, given = answers[::2], answers[1::2]
    assert len(tried) == len(given) == 6
    for a, b in zip(tried, given, strict=True):
        assert torch.equal(a, b)
    assert len({tuple(answer.tolist()) for answer in given}) == 6


def test_the_server_is_tried_as_it_is() -> None:
    """‖AG - μ‖ of a trial, with pre-rule and raggedness, is that of the answer on the block."""
    plugins.Trying.seen.clear()
    plugins.RecordingMedian.answers.clear()
    rule = "nnm+tests.plugins:RecordingMedian"
    fields = {**BASE, "hardware": "c2", "rule": rule, "scope": "block", "metrics": "none"}
    run(Scenario(**fields, attack="tests.plugins:Trying"))
    answers = plugins.RecordingMedian.answers[1::2]
    for answer, (view, apart, _) in zip(answers, plugins.Trying.seen, strict=True):
        assert view.honest_lengths is not None
        claimed = np.append(view.honest_lengths, [view.longest] * view.byzantine)
        block = view.position < np.sort(claimed)[-view.quorum]
        assert 0 < block.sum() < 650
        expected = answer.double() - view.mean()[torch.from_numpy(block)].double()
        torch.testing.assert_close(apart, expected)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"solver": "momentum"},
        {"solver": "adam", "hardware": "c2"},
        {"schedule": "inverse_sqrt_block", "hardware": "c2"},
        {"rule": "centered_clipping"},
        {"rule": "bucketing+median", "algorithm": "hgo[momentum=0.9]"},
        {"algorithm": "sgd", "hardware": "weak"},  # every round stalls
    ],
)
def test_attackers_see_the_model_and_where_it_steps(fields: dict[str, Any]) -> None:
    """The model is what the server sends, the last step what it made of it; a trial comes true."""
    plugins.Trying.seen.clear()
    steps: list[Step] = []
    scenario = Scenario(**{**BASE, "rule": "median", **fields}, attack="tests.plugins:Trying")

    def observe(step: Step) -> None:
        steps.append(dataclasses.replace(step, params=step.params.clone()))

    simulate([scenario], observe=observe)
    models = [step.params for step in steps]
    stepped = [model for _, _, model in plugins.Trying.seen]
    assert len(models) == len(stepped) == 4
    for expected, found in zip(models[1:], stepped, strict=False):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    before = models[0]
    for model, (view, *_) in zip(models, plugins.Trying.seen, strict=True):
        assert torch.equal(view.require_model(), model)
        assert torch.equal(view.require_last_step(), model - before)
        before = model
    assert fields.get("algorithm") == "sgd" or not torch.equal(models[0], models[1])


def test_attackers_try_models_on_their_own_data() -> None:
    """The loss is the model's on examples that Byzantine workers hold, all or as many as fit."""
    for data, most in (("digits", 512), ("digits", 5)):
        fields = {**BASE, "data": data, "rule": "median", "rounds": 1, "byzantine": 3}
        scenario = Scenario(**fields, attack="tests.plugins:Trying")
        world = World(scenario)
        hostile = world.byzantine(3)
        held = np.concatenate([world.shards[i] for i in np.flatnonzero(hostile)])
        x, y = world.examples_of(hostile, most)
        assert len(x) == len(y) == min(most, len(held))
        rows = {tuple(row.tolist()) for row in world.features[torch.from_numpy(held)]}
        assert {tuple(row.tolist()) for row in x} <= rows
    plugins.Trying.seen.clear()
    run(scenario)
    ((view, _, stepped),) = plugins.Trying.seen
    examples = world.examples_of(hostile, 512)
    expected = world.model.evaluate(stepped[None], *examples)[0]
    assert torch.equal(view.loss(torch.stack((stepped, stepped)))[:1], expected)
    infinite = torch.stack((stepped * torch.inf, stepped * torch.nan))
    assert view.loss(infinite).tolist() == [math.inf, math.inf]


def test_attacks_are_shown_the_model_if_they_say_that_they_see_it() -> None:
    plugins.OwnModel.seen.clear()
    cells = [
        Scenario(**BASE, rule=rule, attack="tests.plugins:OwnModel") for rule in ("median", "krum")
    ]
    simulate(cells)
    assert len(plugins.OwnModel.seen) == 2 * 4
    for model, step in plugins.OwnModel.seen[:2]:
        assert model.shape == step.shape == (650,)
        assert not step.any()
    assert all(step.any() for _, step in plugins.OwnModel.seen[2:])
    blind = testing.view()
    hidden = dataclasses.replace(blind, model=None, last_step=None, server=None, losses=None)
    for ask in (hidden.require_model, hidden.require_last_step, lambda: hidden.loss(blind.mean())):
        with pytest.raises(PermissionError, match="the attack"):
            ask()


def test_robust_rules_ignore_nan_from_f_workers() -> None:
    result = run(Scenario(**BASE, rule="trimmed_mean", attack="tests.plugins:NotANumber"))
    assert result.status == "done"
    assert all(map(math.isfinite, result.rounds["test_loss"]))


def test_rules_of_one_s_own() -> None:
    for rule in ("MyMedian", "SubclassedMean", "Ragged", "ragged_function", "plain"):
        scenario = Scenario(**BASE, rule=f"tests.plugins:{rule}")
        assert scenario.scope == ("block" if "agged" in rule else "staircase")
        assert run(scenario).status == "done"
        assert run(scenario.replace(algorithm="sgd")).status == "done"


def test_result_is_a_table_and_a_summary() -> None:
    result = run(Scenario(**BASE, evaluation_interval=2))
    assert tuple(result.rounds) == COLUMNS
    assert {len(column) for column in result.rounds.values()} == {4}
    assert list(result.rounds["round"]) == [1, 2, 3, 4]
    evaluated = [math.isfinite(value) for value in result.rounds["test_accuracy"]]
    assert evaluated == [False, True, False, True]
    assert result.summary["test_accuracy"] == result.rounds["test_accuracy"][-1]
    assert result.summary["bytes_down"] == 4 * 10 * (4 * 650 + 8)


def test_more_workers_than_examples_are_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match="partition: 1221 training examples for 2000 workers"):
        run(Scenario(workers=2000))


def test_what_is_no_scenario_is_refused() -> None:
    with pytest.raises(InputError, match=r"scenario: 'digits'; expected a hgobench\.Scenario"):
        run("digits")  # type: ignore[arg-type]


def test_threads_of_the_caller_are_left_alone() -> None:
    before = torch.get_num_threads()
    run(Scenario(**BASE))
    assert torch.get_num_threads() == before


@pytest.mark.long
@pytest.mark.usefixtures("images")
def test_mnist_in_one_call() -> None:
    result = run(Scenario(data="mnist", rule="trimmed_mean", attack="alie", f=10, rounds=10))
    assert result.summary["test_accuracy"] > 0.75


def test_a_risky_scenario_warns_with_the_numbers() -> None:
    risky = Scenario(**{**BASE, "byzantine": 5, "tolerated": 1, "workers": 40})
    text = (
        r"of n=40 workers f=5 are Byzantine; more than 1 of q=10 sampled ones, all that a quorum of "
        r"v=3 tolerates, are so with probability 0.367 per round, 0.839 over 4 rounds"
    )
    with pytest.warns(SamplingRisk, match=text):
        run(risky)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(Scenario(**BASE))
        run(risky.replace(algorithm="sgd", rule="average", tolerated=0))


def test_which_examples_were_answered_rightly_in_the_end() -> None:
    scenario = Scenario(**BASE, rule="median")
    found = run(scenario)
    assert found.right is not None
    examples = len(World(scenario).data.test)
    right = np.unpackbits(np.frombuffer(found.right, np.uint8))[:examples]
    assert right.sum() / examples == found.summary["test_accuracy"]
    assert len(found.right) == math.ceil(examples / 8)
    seed = run(scenario.replace(seed=1))
    assert seed.right != found.right
    assert run(Scenario(**BASE, model="linear", data="breast_cancer")).right is None
    assert run(Scenario(**{**BASE, "rule": "average"}, attack="nan")).right is None  # it diverged


def test_an_algorithm_of_ones_own_is_a_class_with_five_methods() -> None:
    fields = {**BASE, "algorithm": "tests.plugins:Signs", "rule": "median", "hardware": "powerful"}
    steps: list[Step] = []
    (found,) = simulate([Scenario(**fields)], observe=steps.append)
    assert found.status == "done", found.reason
    assert list(found.rounds["block_size"]) == [100] * 4
    assert all(set(step.aggregate.tolist()) <= {-1.0, -0.5, 0.0, 0.5, 1.0} for step in steps)
    blocks = [step.block.tolist() for step in steps if step.block is not None]
    assert blocks == [list(range(100 * k, 100 * k + 100)) for k in range(4)]


def test_a_model_of_ones_own_that_draws_does_so_for_each_cell_alone() -> None:
    fields = {**BASE, "model": "tests.plugins:Blurred", "rule": "median"}
    cells = [Scenario(**{**fields, "learning_rate": rate}) for rate in (0.1, 0.5)]
    for cell, found in zip(cells, simulate(cells), strict=True):
        same(run(cell), found)


def test_a_rule_s_joint_call_takes_time_from_every_cell() -> None:
    fields = {**BASE, "rule": "median", "hardware": "powerful"}
    scenarios = [Scenario(**{**fields, "learning_rate": rate}) for rate in (0.1, 0.5)]
    world = World.of(scenarios[0])
    cells = [Cell(scenario, world, time_limit=60.0) for scenario in scenarios]
    before = [cell.clock.left for cell in cells]
    with one_thread():
        assert Stack(cells, world).play(1)
    shares = [was - cell.clock.left for was, cell in zip(before, cells, strict=True)]
    assert shares[0] > 0
    assert shares[1] == pytest.approx(shares[0])


def test_an_algorithm_without_end_ends_its_own_cell_alone() -> None:
    endless = Scenario(**BASE, rule="median", algorithm="tests.plugins:Unending")
    good = Scenario(**BASE, rule="median")
    failed, beside = simulate([endless, good], time_limit=0.2)
    assert failed.status == "failed"
    assert "out of time: algorithm 'tests.plugins:Unending'" in failed.reason
    same(run(good), beside)


@pytest.mark.parametrize("attack", ["huge", "inf", "nan", "hidden_coordinate"])
def test_values_that_overflow_warn_nobody(attack: str) -> None:
    """A run's terminal shows no warning of NumPy's, whatever attackers send and rules make of it."""
    fields = {**BASE, "attack": attack, "rounds": 4, "learning_rate": 5.0}
    cells = [
        Scenario(**{**fields, "rule": rule, "algorithm": algorithm})
        for rule in ("average", "krum", "median", "geometric_median")
        for algorithm in ("hgo", "sgd")
    ]
    for model in ("svm", "logistic", "feed_forward[hidden=5]"):
        more = {"model": model, "data": "breast_cancer", "rule": "average"}
        cells.append(Scenario(**{**fields, **more}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [run(cell) for cell in cells]
    assert not [result.reason for result in results if result.status == "failed"]


@pytest.mark.parametrize(
    ("budget", "spent"),
    [
        ({"time_budget": 10.0}, lambda rounds: rounds["time"]),
        ({"coordinate_budget": 2.0e4}, lambda rounds: np.cumsum(rounds["coordinates"])),
        (
            {"byte_budget": 1.0e5},
            lambda rounds: np.cumsum(np.add(rounds["bytes_up"], rounds["bytes_down"])),
        ),
    ],
)
def test_a_run_ends_with_the_round_in_which_its_budget_is_spent(
    budget: dict[str, Any], spent: Callable[[Mapping[str, Any]], Any]
) -> None:
    (limit,) = budget.values()
    free = Scenario(**{**BASE, "rounds": 12, "evaluation_interval": 5})
    whole, ended = run(free), run(free.replace(**budget))
    length = len(ended.rounds["round"])
    assert 1 < length < 12
    for name in ("time", "coordinates", "bytes_up", "block_size"):
        assert ended.rounds[name] == whole.rounds[name][:length]
    costs = spent(whole.rounds)
    assert costs[length - 2] < limit <= costs[length - 1]
    assert ended.status == "done"
    at_its_end = run(free.replace(rounds=length))
    assert ended.right == at_its_end.right is not None
    assert ended.summary["test_accuracy"] == at_its_end.summary["test_accuracy"]


def test_a_budget_that_is_not_spent_changes_nothing() -> None:
    free = Scenario(**BASE)
    assert run(free.replace(time_budget=1e9)).rounds == run(free).rounds
    assert free.digest != free.replace(time_budget=1e9).digest
    assert free.replace(time_budget=1e9).replace(time_budget=math.inf).digest == free.digest


def test_cells_whose_budgets_end_at_different_rounds_are_what_they_are_alone() -> None:
    cells = [
        Scenario(**{**BASE, "rounds": 20, "evaluation_interval": 3, "byte_budget": 4e5, **more})
        for more in (
            {"rule": "median", "attack": "starve"},
            {"rule": "average", "attack": "foe"},
            {"rule": "krum", "attack": "crash"},
            {"rule": "median", "attack": "none"},
        )
    ]
    together = simulate(cells)
    assert len({len(result.rounds["round"]) for result in together}) > 1
    for cell, result in zip(cells, together, strict=True):
        alone = run(cell)
        assert (result.rounds, result.right) == (alone.rounds, alone.right)


def test_a_result_names_what_moves_last_bits() -> None:
    """The processor with its vector instructions, the system's C library, the kernels of BLAS."""
    made = run(Scenario(workers=10, rounds=1)).provenance
    assert made["processor"].rpartition(", ")[2] == torch.backends.cpu.get_cpu_capability()
    assert made["system"].startswith(f"{platform.system()}, ")
    known = [one for one in threadpool_info() if one["user_api"] == "blas"]
    named = [one["internal_api"] in made["blas"] for one in known]
    assert any(named) if known else made["blas"] == "unknown"
    kernels = [one["architecture"] for one in known if one.get("architecture")]
    assert not kernels or any(kernel in made["blas"] for kernel in kernels)
