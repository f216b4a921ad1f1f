"""Differences of gradients, clipped by the server's last step, against loops in float64."""

from __future__ import annotations

import math
import re
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hgobench import Scenario, World, aggregators, run
from hgobench.algorithms import Hgo, Marina
from hgobench.attacks import Attack, Message, View
from hgobench.errors import InputError
from hgobench.protocol import Server
from hgobench.scenario import risks
from hgobench.simulation import clock, simulate
from hgobench.simulation.cell import Cell
from hgobench.simulation.footprint import footprint
from hgobench.simulation.rounds import Stack
from tests.oracles import vector_rule
from tests.test_local_steps import gradient, table
from tests.test_memory import WATCHED

BASE: dict[str, Any] = {
    "data": "breast_cancer",
    "workers": 9,
    "sampled": 5,
    "byzantine": 2,
    "rule": "trimmed_mean",
    "attack": "foe[epsilon=2.0]",
    "batch_size": 3,
    "rounds": 5,
    "hardware": "lognormal[sigma=1.0]",
    "deadline": math.inf,
    "learning_rate": 0.4,
    "evaluation_interval": 5,
    "algorithm": "marina[probability=0.3,multiplier=0.5]",
}
LINK = "network[uplink=90,downlink=120,latency=0.05,counts=true]+lognormal[sigma=1.0]"
NONE: dict[str, Any] = {"attack": "none", "byzantine": 0}
STALLING: dict[str, Any] = {
    "deadline": 60.0,
    "batch_size": 20,
    "tolerated": 1,
    "attack": "none",
    "rounds": 8,
}
BATTERY = "power[watts=2.0,joules_per_byte=1e-6]+lognormal[sigma=1.0]"
AFTER = LINK.replace(",counts=true", "")


NOTHING: Any = ()  # in the place of the last (w, g)


def parameter(algorithm: str, name: str, default: float) -> float:
    """Return a parameter of ``marina[probability=0.3]``."""
    found = re.search(rf"{name}=([0-9.]+)", algorithm)
    return float(found[1]) if found else default


def shortened(vector: Any, longest: float) -> Any:
    """Return a vector of at most that length."""
    length = math.sqrt(sum(float(x) ** 2 for x in vector))
    return vector if length <= longest else vector * (longest / length)


def played(scenario: Scenario) -> tuple[list[Any], dict[str, Any], dict[str, float]]:
    """Return parameters and aggregate of every step of a run, its rounds, and its measures."""
    seen: list[Any] = []
    (result,) = simulate(
        [scenario], observe=lambda step: seen.append((step.params.clone(), step.aggregate.clone()))
    )
    assert result.status == "done", result.reason
    return seen, dict(result.rounds), dict(result.measures)


def check(scenario: Scenario) -> dict[str, int]:
    """Compare a run with loops; count its rounds by what happened in them."""
    seen, rounds, measures = played(scenario)
    world, tau, n, q = World(scenario), scenario.deadline, scenario.workers, scenario.sampled
    fleet, d, evil = world.fleet, world.model.dimension, world.byzantine(scenario.byzantine)
    p = parameter(scenario.algorithm, "probability", 0.1)
    alpha = parameter(scenario.algorithm, "multiplier", 1.0)
    many = int(parameter(scenario.algorithm, "clients", n))
    counts = {"whole": 0, "stalled": 0, "clipped": 0, "silent": 0}
    w, last, ended, spent = world.initial().double().numpy(), NOTHING, 0.0, 0.0
    for k, (params, aggregate) in enumerate(seen, 1):
        np.testing.assert_allclose(params, w, rtol=1e-4, atol=1e-6, err_msg=f"round {k}")
        whole = last is NOTHING or world.coin(k) < p
        counts["whole"] += whole
        asked, draw = many if whole else q, world.draw(k)
        workers = World(scenario.replace(sampled=asked, algorithm="sgd")).draw(k).workers.tolist()
        assert workers[:q] == draw.workers.tolist()
        tolerated, quorum = scenario.tolerated, scenario.quorum
        if not whole:
            tolerated = min(tolerated, (q - (3 if scenario.rule == "krum" else 1)) // 2)
            least = aggregators.build(scenario.rule, f=tolerated).minimum
            quorum = max(math.ceil(quorum * q / many), least)
        models, gradients = (1, 1) if whole else (2, 2)
        sent: dict[int, Any] = {}
        computed, lasted = 0.0, [0.0]
        for row, i in enumerate(workers):
            s = min(scenario.batch_size, len(world.shards[i]))
            rows = world.shards[i].tolist() if whole else draw.batch[row][:s].tolist()
            flip = scenario.attack == "label_flip" and bool(evil[i])
            down = 2 * float(fleet.latency[i]) + 4 * models * d / float(fleet.downlink[i])
            up = 4 * d / float(fleet.uplink[i])
            computing = gradients * len(rows) * d / float(world.rates[i])
            counted = fleet.transfer_counts_towards_deadline
            lies = evil[i] and scenario.attack.startswith("foe")
            in_time = (down + up) * counted + computing <= tau
            room = max(tau - down * counted, 0.0) * float(world.rates[i]) / len(rows) / gradients
            computed += gradients * int(min(room, d)) * (len(rows) / s)
            spent += 2.0 * gradients * len(rows) * int(min(room, d)) / float(world.rates[i])
            spent += 1e-6 * (4 * models * d + 8 + 4 * d * in_time)
            if in_time or lies:
                lasted.append(computing + down + up)
            counts["silent"] += not in_time
            if not in_time:
                continue
            here = gradient(world, w, rows, flip)
            sent[i] = here if whole else here - gradient(world, last[0], rows, flip)
        if scenario.attack.startswith("foe"):
            honest = [sent[i] for i in sent if not evil[i]]
            forged = -2.0 * np.mean(honest, axis=0) if honest else np.zeros(d)
            sent |= {i: forged for i in workers if evil[i]} if honest else {}
        assert rounds["heard"][k - 1] == len(sent)
        assert rounds["bytes_up"][k - 1] == 4 * d * len(sent)
        assert rounds["bytes_down"][k - 1] == len(workers) * (4 * models * d + 8)
        assert rounds["coordinates"][k - 1] == pytest.approx(computed, abs=1)
        lasts = max(lasted) if math.isinf(tau) else tau
        assert rounds["time"][k - 1] - ended == pytest.approx(lasts)
        ended = rounds["time"][k - 1]
        stalled = len(sent) < quorum
        assert rounds["stalled"][k - 1] == stalled
        if stalled:
            counts["stalled"] += 1
            assert len(aggregate) == 0
            continue
        values = list(sent.values())
        if not whole:
            longest = alpha * math.sqrt(sum(float(x) ** 2 for x in w - last[0]))
            if "none" in scenario.algorithm:
                longest = math.inf
            cut = [shortened(x, longest) for x in values]
            counts["clipped"] += sum(a is not b for a, b in zip(cut, values, strict=True))
            values = cut
        g = vector_rule(scenario.rule, values, tolerated) + (0.0 if whole else last[1])
        np.testing.assert_allclose(aggregate, g, rtol=2e-4, atol=1e-5, err_msg=f"round {k}")
        last = (w, g)
        w = w - scenario.learning_rate * g
    if "energy" in measures:
        assert measures["energy"] == pytest.approx(spent)
    return counts


@pytest.mark.parametrize(
    ("algorithm", "fields", "seen"),
    [
        ("marina[probability=0.3,multiplier=0.5]", {}, {"clipped"}),
        ("marina[probability=0.3,multiplier=none,clients=8]", {"rule": "krum", "sampled": 7}, set()),
        ("marina[probability=0.3]", {"hardware": LINK, "deadline": 90.0}, {"clipped", "silent"}),
        ("marina[probability=0.2]", STALLING, {"clipped", "silent", "stalled"}),
        ("marina[probability=0.3,multiplier=0.02]", {"attack": "label_flip"}, {"clipped"}),
        ("marina[probability=0.3,multiplier=0.1]", {"hardware": AFTER, "rounds": 9}, {"clipped"}),
        ("marina[probability=0.3]", {**NONE, "hardware": BATTERY, "metrics": "energy"}, set()),
        ("marina[probability=0.3]", {"attack": "none", "deadline": 60.0}, {"silent", "stalled"}),
        ("marina[probability=1.0]", {"rule": "average", "tolerated": 0}, set()),
    ],
)  # fmt: skip
def test_marina_agrees_with_loops(algorithm: str, fields: dict[str, Any], seen: set[str]) -> None:
    counts = check(Scenario(**{**BASE, **fields, "algorithm": algorithm}))
    assert all(counts[what] > 0 for what in seen), counts
    assert counts["whole"] > (counts["stalled"] > 0)


def test_byzantine_workers_alone_move_the_aggregate_by_no_more_than_is_clipped() -> None:
    """By λ at most; without clipping by whatever they like."""
    more: dict[str, Any] = {"sampled": 2, "byzantine": 4, "tolerated": 0, "rule": "average"}
    moved = {}
    for multiplier in ("0.5", "none"):
        name = f"marina[probability=0.001,multiplier={multiplier}]"
        fields = {"algorithm": name, "attack": "tests.test_marina:Far", "attack_start": 1}
        scenario = Scenario(**{**BASE, **more, **fields, "rounds": 20})
        seen, rounds, _ = played(scenario)
        world = World(scenario)
        assert set(rounds["heard"][1:]) == {2}, "no other round is whole"
        evil = [bool(world.byzantine(4)[world.draw(k).workers].all()) for k in range(2, 21)]
        assert any(evil)
        moved[multiplier] = [
            float((g2 - g).norm() / (w2 - w).norm()) for (w, g), (w2, g2) in pairwise(seen)
        ]
    assert max(moved["0.5"]) == pytest.approx(0.5)
    assert max(moved["none"]) > 100


class Far(Attack):
    """The same, whatever others send."""

    sees = "nothing"

    def __call__(self, view: View) -> Message:
        here = torch.full((view.byzantine, view.dimension), 100.0)
        return Message(here, np.full(view.byzantine, view.places))


@pytest.mark.parametrize("longest", [0.0, 1e-3, 2.0, math.inf])
def test_what_is_clipped_is_no_longer_and_no_other_way(longest: float) -> None:
    rows = torch.randn(20, 7, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(-10, 10)[:, None]  # fmt: skip
    rows = torch.cat([rows, torch.full((1, 7), torch.nan), torch.full((1, 7), 3e38)])
    cut = Server.clipped(rows, longest)
    for row, kept in zip(rows.double().tolist(), cut.double().tolist(), strict=True):
        if not all(map(math.isfinite, row)):
            assert all(map(math.isnan, kept))
        else:
            np.testing.assert_allclose(kept, shortened(np.array(row), longest), rtol=1e-6)


@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "meamed", "phocas", "average", "krum"])
def test_an_answer_is_hardly_longer_than_the_longest_difference(rule: str) -> None:
    """√2 times at most by coordinates, as docs/memory.md says; other rules' means never longer."""
    ones = np.zeros((5, 10))  # in each coordinate three workers are alike, and the others 0
    for j, three in enumerate(combinations(range(5), 3)):
        ones[list(three), j] = 1.0 / math.sqrt(6)
    assert np.linalg.norm(ones, axis=1) == pytest.approx(1.0)
    answer = float(aggregators.build(rule, f=1 if rule == "krum" else 2)(torch.tensor(ones)).norm())
    if rule in ("average", "krum"):
        assert answer <= 1.0 + 1e-9
    else:
        assert 1.0 + 1e-9 < answer <= math.sqrt(2)


def test_a_coin_is_uniform_and_has_nothing_to_do_with_other_seeds() -> None:
    worlds = [World(Scenario(**{**BASE, "seed": seed})) for seed in (0, 1)]
    one, two = (np.array([world.coin(k) for k in range(1, 1001)]) for world in worlds)
    for p in (0.03, 0.1, 0.5, 0.9):
        for coins in (one, two):
            assert abs((coins < p).mean() - p) < 4 * math.sqrt(p * (1 - p) / 1000)
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / math.sqrt(1000)
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 4 / math.sqrt(1000)


# What it shares with other cells, and what attackers see


def test_marina_does_not_depend_on_the_stack() -> None:
    cells = [
        Scenario(**{**BASE, "sampled": 7, "algorithm": algorithm, "attack": attack, "rule": rule})
        for algorithm in ("marina[probability=0.4]", "sgd", "marina[probability=0.1,clients=8]")
        for attack in ("foe", "alie[z=1.5]", "label_flip", "none")
        for rule in ("trimmed_mean", "krum", "centered_clipping")
    ]
    together = [table(result) for result in simulate(cells)]
    for i in range(0, len(cells), 7):
        assert table(run(cells[i])) == together[i]
        pair = simulate([cells[-1 - i], cells[i]])
        assert [table(result) for result in pair] == [together[-1 - i], together[i]]


def test_an_attack_that_tries_the_server_is_told_where_it_steps() -> None:
    seen: list[Tensor] = []
    scenario = Scenario(**{**BASE, "attack": "tests.test_memory:Watching"})
    WATCHED.clear()
    (result,) = simulate([scenario], observe=lambda step: seen.append(step.params.clone()))
    assert result.status == "done", result.reason
    assert len(WATCHED) == len(seen) == 5
    for model, after in zip(WATCHED, seen[1:], strict=False):
        assert torch.equal(model, after)


def test_rules_that_remember_have_a_memory_for_either_kind_of_round() -> None:
    COUNTED.clear()
    scenario = Scenario(**{**BASE, **NONE, "rule": "tests.test_marina:Counting", "rounds": 8})
    (result,) = simulate([scenario])
    assert result.status == "done", result.reason
    heard = result.rounds["heard"]
    assert {9, 5} == set(heard)
    assert sorted(COUNTED[:8]) == sorted([heard[:k].count(now) + 1 for k, now in enumerate(heard)])


COUNTED: list[int] = []


class Counting(aggregators.Rule):
    """The mean, and how often it was asked."""

    stateful = True

    def __init__(self, *, f: int = 0, scope: Any = "block") -> None:
        super().__init__(f=f, scope=scope)
        self.asked = 0

    @property
    def minimum(self) -> int:
        return 1

    def of_vectors(self, vectors: Any) -> Tensor:
        self.asked += 1
        COUNTED.append(self.asked)
        return vectors.sent.mean(dim=0)  # type: ignore[no-any-return]


# A user's own


class Mine(Marina):
    """It under another name."""


class Parted(Hgo):
    """Differences of parts."""

    differences = True


class Odd(Marina):
    """Clips to something that is no length."""

    def longest(self, step: float) -> Any:
        return "short" if step else 0.0


def test_a_user_s_algorithm_may_take_differences() -> None:
    mine, own = (
        run(Scenario(**{**BASE, "algorithm": f"{name}[probability=0.3]"}))
        for name in ("tests.test_marina:Mine", "marina")
    )
    assert table(mine) == table(own)
    wrong = run(Scenario(**{**BASE, "algorithm": "tests.test_marina:Odd"}))
    assert wrong.status == "failed"
    assert wrong.reason == (
        "round 2: algorithm 'tests.test_marina:Odd': its longest: 'short'; expected a number >= 0, "
        "or None"
    )


# What it asks for, and what that costs


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"algorithm": "marina[probability=0]"}, "probability: 0.0; expected a number in (0, 1]"),
        ({"algorithm": "marina[probability=1.5]"}, "probability: 1.5; expected a number in [0, 1]"),
        ({"algorithm": "marina[multiplier=0]"}, "multiplier: 0.0; expected a finite number > 0"),
        ({"algorithm": "marina[clients=0]"}, "clients: 0; expected an integer >= 1"),
        ({"algorithm": "marina[clients=4]"},
         "algorithm: 'marina[clients=4]': whole rounds ask 4 workers; expected a whole number from "
         "sampled=5 to workers=9"),
        ({"algorithm": "tests.test_marina:Parted"},
         "algorithm: 'tests.test_marina:Parted' takes differences; expected it to take whole "
         "answers, to go by rounds, and to keep no values"),
        ({"tolerated": 5},
         "tolerated: 5; expected at most 4, less than half of 9 workers that are asked in whole "
         "rounds"),
        ({"quorum": 10},
         "quorum: 10; expected at most 9 workers that are asked in whole rounds"),
        ({"workers": 20, "byzantine": 4, "rule": "bulyan", "quorum": 19},
         "rule: 'bulyan' needs 7 answers to tolerate 1, as many of them as tolerated=4 are of 20; "
         "sampled is 5, of which 'marina[probability=0.3,multiplier=0.5]' takes differences"),
        ({"workload": "data_first", "deadline": 50.0},
         "workload: 'data_first' gives workers time for one gradient on their examples; expected "
         "'fixed', as 'marina[probability=0.3,multiplier=0.5]' takes two on the same"),
    ],
)  # fmt: skip
def test_what_can_t_be_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        Scenario(**{**BASE, **fields})


def test_whom_a_whole_round_asks_is_whom_the_rule_is_told_of() -> None:
    fields = {**BASE, "workers": 20, "byzantine": 4, "sampled": 8}
    all_, some = (
        Scenario(**{**fields, "algorithm": name}) for name in ("marina", "marina[clients=10]")
    )
    assert [(cell.pool, cell.tolerated, cell.quorum) for cell in (all_, some)] == [
        (20, 4, 9), (10, 4, 9),
    ]  # fmt: skip
    # More than three of 8 where four of 20 are: what clipping is for.
    assert risks(all_)[0] == pytest.approx(math.comb(16, 4) / math.comb(20, 8))


@pytest.mark.parametrize(
    "fields",
    [
        {"attack": "none"},
        {"attack": "none", "hardware": AFTER},
        {"attack": "none", "hardware": AFTER, **STALLING},
        {"attack": "late+foe", "lies_about_speed": "no"},
        {"attack": "crash", "hardware": AFTER, **STALLING, "tolerated": 0},
        {"attack": "crash", "tolerated": 4, "byzantine": 4},
    ],
)
def test_the_clock_without_training_knows_both_kinds_of_rounds(fields: dict[str, Any]) -> None:
    scenario = Scenario(**{**BASE, "rounds": 9, **fields})
    rounds = run(scenario).rounds
    ends = [time for time, _ in zip(clock(scenario), rounds["time"], strict=False)]
    if scenario.attack == "none":
        assert ends == rounds["time"]
    assert all(at <= end for at, end in zip(ends, rounds["time"], strict=True))


def test_the_memory_that_whole_rounds_take_is_said() -> None:
    scenario = Scenario(**BASE)
    world = World(scenario)
    said, plain = footprint(scenario, world), footprint(scenario.replace(algorithm="sgd"), world)
    stack = Stack([Cell(scenario, world)], world)
    stack.play(1)
    (whole, _), d = stack._played[0], world.model.dimension
    cell = stack.cells[0]
    assert cell.last is not None
    kept = sum(part.nbytes for part in cell.last)
    assert said.held == whole.answers.values.nbytes + kept == 4 * (9 * d + 2 * d)
    examples = max(map(len, world.shards))
    assert said.minibatches - plain.minibatches == 4 * 9 * examples * world.data.features
