from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from hgobench import Scenario, World, run
from hgobench.errors import InputError
from hgobench.results import COLUMNS, Result
from hgobench.simulation import simulate
from tests.algorithm_1 import train

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
        {"rule": "krum", "attack": "sign_flip", "hardware": "c2"},
        {"rule": "meamed", "attack": "crash", "hardware": "weak"},
        {"rule": "phocas", "attack": "crash[send=zeros]", "quorum": 7},
        {"rule": "aksel", "attack": "foe", "granularity": "feature", "cost": "unit"},
        {"rule": "median", "attack": "foe", "granularity": "feature", "hardware": "c2"},
        {"rule": "trimmed_mean", "attack": "foe", "schedule": "inverse_sqrt_block"},
        {"rule": "trimmed_mean", "attack": "foe", "attack_start": 2, "seed": 5},
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
    ],
)
def test_agrees_with_algorithm_1_round_by_round(fields: dict[str, Any]) -> None:
    scenario = Scenario(**{**BASE, **fields})
    found, expected = run(scenario).rounds, train(scenario)
    for name in ("block_size", "heard", "byzantine_heard", "stalled", "bytes_up"):
        assert list(found[name]) == expected[name], name
    np.testing.assert_allclose(found["test_loss"], expected["test_loss"], rtol=2e-5)
    assert sum(expected["block_size"]) > 0


def same(a: Result, b: Result, but: tuple[str, ...] = ()) -> None:
    for name in COLUMNS:
        if name not in but:
            np.testing.assert_array_equal(a.rounds[name], b.rounds[name], err_msg=name)


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


@pytest.mark.parametrize(
    ("model", "data"),
    [("softmax", "digits"), ("logistic", "breast_cancer"), ("feed_forward[hidden=8]", "digits")],
)
def test_a_cell_does_not_depend_on_its_neighbours_or_its_place(model: str, data: str) -> None:
    fields = {**BASE, "model": model, "data": data, "rounds": 6}
    cells = [Scenario(**fields, rule=rule, attack=attack, algorithm=algorithm)
             for rule in ("median", "krum") for attack in ("none", "foe")
             for algorithm in ("hgo", "sgd")]  # fmt: skip
    together = simulate(cells, width=8)
    backwards = simulate(cells[::-1], width=8)[::-1]
    for i, cell in enumerate(cells):
        (alone,) = simulate([cell], width=8)
        same(alone, together[i])
        same(alone, backwards[i])


def test_a_neighbour_that_fails_changes_nothing() -> None:
    good = Scenario(**BASE, rule="median", attack="foe")
    bad = [
        Scenario(**BASE, rule="tests.plugins:Raising"),
        Scenario(**BASE, rule="average", attack="tests.plugins:NotANumber"),
    ]
    failed, diverged, beside = simulate([*bad, good], width=4)
    (alone,) = simulate([good], width=4)
    same(alone, beside)
    assert (failed.status, failed.reason) == ("failed", "round 1: RuntimeError: out of ideas")
    assert diverged.status == "diverged"
    assert diverged.summary["test_accuracy"] == 0.0


def test_cells_of_two_worlds_are_no_cohort() -> None:
    with pytest.raises(ValueError, match="expected 1 to 8 scenarios of one world"):
        simulate([Scenario(**BASE), Scenario(**BASE, seed=1)], width=8)


def test_a_rule_that_hangs_ends_with_the_time_limit() -> None:
    result = run(Scenario(**BASE, rule="tests.plugins:Hanging"), time_limit=0.2)
    assert result.status == "failed"
    assert result.reason == "round 1: TimeoutError: the cell's time limit is over"


@pytest.mark.parametrize(
    ("rule", "attack", "reason"),
    [
        (
            "tests.plugins:WrongShape",
            "none",
            r"RuleError: WrongShape: returned \(1,\); expected \(6",
        ),
        ("median", "tests.plugins:BadShape", "RuntimeError|ValueError"),
    ],
)
def test_what_plugins_get_wrong_is_recorded(rule: str, attack: str, reason: str) -> None:
    result = run(Scenario(**BASE, rule=rule, attack=attack))
    assert result.status == "failed"
    torch.testing.assert_close(result.summary["test_accuracy"], 0.0)
    import re

    assert re.search(reason, result.reason)


def test_claimed_lengths_are_bounded() -> None:
    long = run(Scenario(**BASE, attack="tests.plugins:TooLong", hardware="weak"))
    assert long.status == "done"
    negative = run(Scenario(**BASE, attack="tests.plugins:Negative"))
    assert negative.rounds["byzantine_heard"] == [0] * 4


def test_robust_rules_ignore_nan_from_f_workers() -> None:
    result = run(Scenario(**BASE, rule="trimmed_mean", attack="tests.plugins:NotANumber"))
    assert result.status == "done"
    assert all(map(math.isfinite, result.rounds["test_loss"]))


def test_rules_of_one_s_own() -> None:
    for rule in ("tests.plugins:MyMedian", "tests.plugins:SubclassedMean"):
        scenario = Scenario(**BASE, rule=rule)
        assert scenario.scope == "block"
        assert run(scenario).status == "done"


def test_result_is_a_table_and_a_summary() -> None:
    result = run(Scenario(**BASE, evaluation_interval=2))
    assert tuple(result.rounds) == COLUMNS
    assert {len(column) for column in result.rounds.values()} == {4}
    assert list(result.rounds["round"]) == [1, 2, 3, 4]
    evaluated = [math.isfinite(value) for value in result.rounds["test_accuracy"]]
    assert evaluated == [False, True, False, True]
    assert result.summary["test_accuracy"] == result.rounds["test_accuracy"][-1]
    assert result.summary["bytes_down"] == 4 * 10 * (4 * 650 + 8)
    assert result.provenance["width"] == 1


def test_more_workers_than_examples_are_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match="partition: 1221 training examples for 2000 workers"):
        run(Scenario(workers=2000))


def test_threads_of_the_caller_are_left_alone() -> None:
    before = torch.get_num_threads()
    run(Scenario(**BASE))
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("images")
def test_mnist_in_one_call() -> None:
    result = run(Scenario(data="mnist", rule="trimmed_mean", attack="alie", f=10, rounds=10))
    assert result.summary["test_accuracy"] > 0.75
