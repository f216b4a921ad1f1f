"""Servers that step on answers whenever they come: against loops in float64, and all its rules."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hgobench import Scenario, World, run
from hgobench.algorithms import AsyncSgd, FedBuff, Sgd, Waiting
from hgobench.attacks import Attack, Message, View
from hgobench.errors import InputError
from hgobench.simulation import simulate
from tests.events import Driver
from tests.test_algorithms import BASE, FirstThree, Fresh, asynchronous

HERE = "tests.test_asynchrony"
THERE = "tests.test_algorithms"
UNEVEN = {**BASE, "hardware": "lognormal[sigma=1.0]", "evaluation_interval": 1, "tolerated": 0}
EQUAL = {**UNEVEN, "hardware": "tests.test_asynchrony:Equal"}
ATTACKED = {**UNEVEN, "workers": 9, "byzantine": 3, "rounds": 8}


def _equal() -> Any:
    from hgobench.hardware import Hardware

    class Equal(Hardware):
        """Devices that are all alike."""

        def rates(self, population: Any) -> Any:
            return np.full(population.workers, 100.0)

    return Equal


Equal = _equal()


def trained(scenario: Scenario) -> tuple[Any, list[Tensor]]:
    """Return a result, and the parameters before every step and after the last."""
    seen: list[Tensor] = []
    (result,) = simulate([scenario], observe=lambda step: seen.append(step.params.clone()))
    assert result.status == "done", result.reason
    return result, seen


def table(result: Any) -> str:
    assert result.status == "done", result.reason
    return repr({name: list(column) for name, column in result.rounds.items()})


# The definition


@pytest.mark.parametrize("fields", [UNEVEN, EQUAL], ids=["uneven", "equal"])
@pytest.mark.parametrize(
    ("algorithm", "steps", "weigh", "ready"),
    [
        ("async_sgd", 1, lambda s: 1.0, lambda ages: True),
        ("async_sgd[damping=inverse]", 1, lambda s: 1 / (1 + s), lambda ages: True),
        ("fedbuff[buffer=3,steps=2,rate=0.2]", 2, lambda s: 1 / math.sqrt(1 + s),
         lambda ages: len(ages) == 3),
        ("fedbuff[buffer=3,rate=0.2,damping=exponential,max_staleness=1]", 1,
         lambda s: math.exp(-s / 10) * (s <= 1), lambda ages: sum(s <= 1 for s in ages) == 3),
    ],
)  # fmt: skip
def test_the_simulation_agrees_with_loops(
    fields: Any, algorithm: str, steps: int, weigh: Any, ready: Any
) -> None:
    rounds = 8
    scenario = Scenario(**{**fields, "workers": 7, "algorithm": algorithm, "rounds": rounds})
    result, seen = trained(scenario)
    expected, _ = asynchronous(World(scenario), 0.5, steps, weigh, ready, rounds)
    assert result.rounds["time"] == pytest.approx([moment for moment, _ in expected])
    for params, (_, w) in zip(seen[1:], expected, strict=False):
        np.testing.assert_allclose(params, w, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: FedBuff(buffer=3, steps=2), "fedbuff[buffer=3,steps=2]"),
        (AsyncSgd, "async_sgd"),
        (Fresh, f"{THERE}:Fresh"),
        (FirstThree, f"{THERE}:FirstThree"),
    ],
)
@pytest.mark.parametrize("rule", ["average", "median"])
def test_the_simulation_is_the_small_driver(make: Any, algorithm: str, rule: str) -> None:
    fields = {**UNEVEN, "workers": 8, "rounds": 9, "rule": rule, "quorum": 1}
    scenario = Scenario(**{**fields, "algorithm": algorithm})
    result, seen = trained(scenario)
    found = list(islice(Driver(make(), scenario).steps(), 9))
    assert result.rounds["time"] == pytest.approx([moment for moment, _ in found])
    for params, (_, expected) in zip(seen[1:], found, strict=False):
        torch.testing.assert_close(params, expected, rtol=1e-4, atol=1e-6)


# What a cell's numbers depend on


ALGORITHMS = ["async_sgd", "fedbuff[buffer=4,steps=2]", "fedbuff[buffer=5,damping=none]", "sgd"]
ATTACKS = ["none", "foe", "alie[z=1.5]", "label_flip", "hasty+foe", "stale", "crash", "mimic"]


def test_a_cell_does_not_depend_on_the_stack() -> None:
    """Alone, in stacks of 2 and of 64, to the last bit, beside cells that go by rounds."""
    fields = {**ATTACKED, "rounds": 6, "quorum": 1, "evaluation_interval": 6}
    cells = [
        Scenario(**{**fields, "algorithm": algorithm, "attack": attack, "rule": rule})
        for attack in ATTACKS
        for algorithm in ALGORITHMS
        for rule in ("median", "centered_clipping")
    ]
    assert len(cells) == 64
    together = [table(result) for result in simulate(cells)]
    assert len(set(together)) > 30
    for i in range(0, 64, 9):
        assert table(run(cells[i])) == together[i]
        pair = simulate([cells[63 - i], cells[i]])
        assert [table(result) for result in pair] == [together[63 - i], together[i]]


class Noting(Sgd):
    """Notes on which examples it was asked, by their gradients at the start."""

    continuous = True
    answers = 1
    seen: dict[int, list[Tensor]] = {}

    def messages(self, work: Any) -> Tensor:
        for worker, gradient in zip(work.workers.tolist(), work.gradients, strict=True):
            self.seen.setdefault(worker, []).append(gradient.clone())
        return torch.zeros_like(work.gradients)  # the parameters stay where they are

    def weights(self, waiting: Waiting) -> Any:
        return np.ones(len(waiting.workers))


@pytest.mark.parametrize("sampled", [8, 3])
def test_a_worker_s_n_th_turn_is_on_its_minibatch_of_round_n(sampled: int) -> None:
    Noting.seen = {}
    scenario = Scenario(
        **{**UNEVEN, "workers": 8, "sampled": sampled, "rounds": 30, "algorithm": f"{HERE}:Noting"}
    )
    run(scenario)
    world = World(scenario)
    params = world.initial()
    most = max(map(len, Noting.seen.values()))
    assert most >= 5
    for turn in range(1, most + 1):
        draw = World(scenario.replace(sampled=None)).draw(turn)
        x, y = world.minibatches(draw)
        gradients = world.gradients(turn, params[None], x, y)[0]
        for row, worker in enumerate(draw.workers.tolist()):
            if len(Noting.seen.get(worker, [])) >= turn:
                torch.testing.assert_close(Noting.seen[worker][turn - 1], gradients[row])


def test_so_many_workers_are_busy_as_are_sampled() -> None:
    """With one at a time nothing is stale, and turns follow each other."""
    scenario = Scenario(**{**UNEVEN, "sampled": 1, "rounds": 12, "algorithm": "async_sgd"})
    result, seen = trained(scenario)
    stale = trained(scenario.replace(algorithm="async_sgd[max_staleness=0]"))
    assert all(map(torch.equal, seen, stale[1]))
    rates, d = World(scenario).rates, World(scenario).model.dimension
    lasted = np.diff([0.0, *result.rounds["time"]])
    possible = 3 * d / rates
    assert all(np.isclose(possible, one).any() for one in lasted)
    assert len(set(lasted.round(6))) > 2, "others take their turns, too"


# The ledger


def test_what_is_counted_when() -> None:
    """Coordinates and bytes up when an answer is there, bytes down when parameters are sent."""
    scenario = Scenario(
        **{**UNEVEN, "workers": 6, "rounds": 5, "algorithm": "fedbuff[buffer=3,steps=2]"}
    )
    result, _ = trained(scenario)
    d = World(scenario).model.dimension
    assert result.rounds["heard"] == [3] * 5
    assert result.rounds["coordinates"] == [3 * 2 * d] * 5
    assert result.rounds["bytes_up"] == [3 * 4 * d] * 5
    # Six at the start, and two of three begin anew before the step; the third does after it.
    assert result.rounds["bytes_down"] == [8 * (4 * d + 8)] + [3 * (4 * d + 8)] * 4
    assert result.rounds["block_size"] == [d] * 5
    assert not any(result.rounds["stalled"])


def test_links_take_their_time() -> None:
    fields = {**UNEVEN, "sampled": 1, "rounds": 4, "algorithm": "async_sgd"}
    free, linked = (
        run(Scenario(**{**fields, "hardware": condition + UNEVEN["hardware"]}))
        for condition in ("", "network[uplink=50,downlink=100,latency=0.25]+")
    )
    d = World(Scenario(**fields)).model.dimension
    more = 2 * 0.25 + 4 * d / 50 + 4 * d / 100
    expected = np.array(free.rounds["time"]) + more * np.arange(1, 5)
    np.testing.assert_allclose(linked.rounds["time"], expected)


def test_a_worker_that_is_away_lets_its_turn_pass() -> None:
    away = {**UNEVEN, "rounds": 20, "algorithm": "async_sgd", "workers": 6}
    away["hardware"] = f"bernoulli[p=0.5]+{UNEVEN['hardware']}"
    result, _ = trained(Scenario(**away))
    always, _ = trained(Scenario(**{**away, "hardware": UNEVEN["hardware"]}))
    assert result.rounds["time"][-1] > 1.2 * always.rounds["time"][-1]
    nobody, _ = trained(Scenario(**{**away, "hardware": away["hardware"].replace("0.5", "0")}))
    assert nobody.rounds["stalled"] == [True] * 20
    assert nobody.rounds["time"] == sorted(set(nobody.rounds["time"])), "time goes on"
    assert sum(nobody.rounds["coordinates"]) == sum(nobody.rounds["bytes_up"]) == 0


def test_a_deadline_bounds_local_steps_and_nothing_else() -> None:
    fields = {**UNEVEN, "workers": 6, "rounds": 6, "algorithm": "fedbuff[buffer=2,steps=4]"}
    d = World(Scenario(**fields)).model.dimension
    long, short = (trained(Scenario(**{**fields, "deadline": tau}))[0] for tau in (math.inf, 1e-3))
    assert sum(long.rounds["coordinates"]) == 6 * 2 * 4 * d
    assert sum(short.rounds["coordinates"]) == 6 * 2 * d
    one = trained(Scenario(**{**fields, "algorithm": "fedbuff[buffer=2,steps=1]"}))[0]
    assert short.rounds["time"] == one.rounds["time"]


@pytest.mark.parametrize(
    ("budget", "column"), [("time_budget", "time"), ("coordinate_budget", "coordinates")]
)
def test_a_budget_ends_the_run(budget: str, column: str) -> None:
    fields = {**UNEVEN, "algorithm": "async_sgd", "rounds": 40}
    whole, _ = trained(Scenario(**fields))
    spent = whole.rounds[column] if column == "time" else np.cumsum(whole.rounds[column])
    cut, _ = trained(Scenario(**{**fields, budget: float(spent[9])}))
    assert len(cut.rounds["round"]) == 10
    assert cut.rounds["test_loss"][-1] == whole.rounds["test_loss"][9]


def test_energy_is_that_of_turns_that_have_ended(tmp_path: Any) -> None:
    path = tmp_path / "devices.csv"
    path.write_text("class,count,rate_mean,rate_std,watts\nphone,6,100,0,2\n")
    fields = {**UNEVEN, "hardware": f"devices[path={path}]", "algorithm": "async_sgd", "rounds": 10}
    result, _ = trained(Scenario(**fields))
    d = World(Scenario(**fields)).model.dimension
    seconds = 10 * 3 * d / World(Scenario(**fields)).rates.mean()
    assert result.measures["energy"] == pytest.approx(2 * seconds, rel=1e-6)


# Attackers


class Watching(Attack):
    """Notes what it sees, and doubles its own."""

    sees = "server"
    seen: list[View] = []

    def __call__(self, view: View) -> Message:
        message = Message(view.require_own() * 2.0, view.claim(view.places))
        self.seen.append(view)
        TRIED.append(view.stepped(message))
        return message

    def values(self, view: View) -> Tensor:
        return self(view).values


TRIED: list[Tensor] = []


@pytest.mark.parametrize("algorithm", ["async_sgd[damping=inverse]", "fedbuff[buffer=4,steps=2]"])
def test_attackers_see_what_waits_and_what_is_under_way(algorithm: str) -> None:
    Watching.seen, after = [], []
    TRIED.clear()
    fields = {**ATTACKED, "algorithm": algorithm, "attack": f"{HERE}:Watching", "rounds": 12}
    scenario = Scenario(**fields)
    result, seen = trained(scenario)
    rounds = [view.round for view in Watching.seen]
    assert 1 < len(rounds) == len(set(rounds)) <= 12
    assert result.rounds["byzantine_heard"] == pytest.approx(
        [n if k in rounds else 0 for k, n in enumerate(result.rounds["byzantine_heard"], 1)]
    )
    for view, stepped in zip(Watching.seen, TRIED, strict=True):
        assert torch.equal(view.require_model(), seen[view.round - 1])
        assert view.honest_workers is not None
        # Each worker has a turn under way, but for who has just answered; others wait.
        everybody = [*view.workers.tolist(), *view.honest_workers.tolist()]
        assert len(set(everybody)) == 9
        assert view.sampled == len(everybody) >= 9
        if view.round < 12:
            after.append(torch.allclose(stepped, seen[view.round], atol=1e-6))
    assert all(after)


class Quiet(Attack):
    """Says nothing in some rounds, in others what it honestly would."""

    sees = "own"

    def values(self, view: View) -> Tensor:
        return view.require_own()

    def lengths(self, view: View) -> Any:
        return view.own_lengths * (view.round > 3)


def test_who_keeps_silent_fills_no_buffer() -> None:
    fields = {**ATTACKED, "algorithm": "fedbuff[buffer=4]"}
    quiet, _ = trained(Scenario(**{**fields, "attack": f"{HERE}:Quiet"}))
    assert quiet.rounds["heard"] == [4] * 8
    assert sum(quiet.rounds["byzantine_heard"][:3]) == 0 < sum(quiet.rounds["byzantine_heard"])
    honest, _ = trained(Scenario(**{**fields, "attack": "none"}))
    assert quiet.rounds["time"][2] > honest.rounds["time"][2]
    d = World(Scenario(**fields)).model.dimension
    assert sum(quiet.rounds["bytes_up"][:3]) == 3 * 4 * 4 * d


def test_without_honest_workers_in_time_the_server_stalls() -> None:
    fields = {**ATTACKED, "byzantine": 4, "attack": "crash", "algorithm": "fedbuff[buffer=6]"}
    result, _ = trained(Scenario(**{**fields, "hardware": "tests.test_asynchrony:Equal"}))
    assert result.rounds["stalled"] == [True, False] * 4  # five honest workers, twice


def test_haste_pays_where_attackers_can_lie() -> None:
    fields = {**ATTACKED, "algorithm": "async_sgd", "rounds": 60, "attack": "sign_flip"}
    own, _ = trained(Scenario(**fields))
    hasty, _ = trained(Scenario(**{**fields, "attack": "hasty[factor=5]+sign_flip"}))
    heard = sum(own.rounds["byzantine_heard"])
    assert sum(hasty.rounds["byzantine_heard"]) > 1.7 * heard > 0
    honest, _ = trained(
        Scenario(**{**fields, "attack": "hasty+sign_flip", "lies_about_speed": "no"})
    )
    assert table(honest) == table(trained(Scenario(**{**fields, "lies_about_speed": "no"}))[0])
    late, _ = trained(Scenario(**{**fields, "attack": "late[delay=1]+sign_flip"}))
    assert sum(late.rounds["byzantine_heard"]) < heard


def test_attacks_that_are_not_on_change_nothing() -> None:
    fields = {**ATTACKED, "algorithm": "fedbuff[buffer=3]", "attack": "hasty+foe"}
    later, _ = trained(Scenario(**{**fields, "attack_start": 5}))
    none, _ = trained(Scenario(**{**fields, "attack": "none"}))
    assert later.rounds["test_loss"][:5] == none.rounds["test_loss"][:5]
    assert later.rounds["test_loss"] != none.rounds["test_loss"]


class Rushing(Attack):
    sees = "nothing"

    def __init__(self, pace: float = 0.0) -> None:
        self.chosen = pace

    def values(self, view: View) -> Tensor:
        return torch.zeros(view.dimension)

    def pace(self, seconds: Any) -> Any:
        return seconds * self.chosen


def test_who_answers_in_no_time_fails_its_cell() -> None:
    attack = f"{HERE}:Rushing"
    result = run(Scenario(**{**ATTACKED, "algorithm": "async_sgd", "attack": attack}))
    said = f"round 1: attack '{attack}': its pace: [0.]; expected numbers > 0, (1,)"
    assert (result.status, result.reason) == ("failed", said)
    assert result.rounds["test_accuracy"] == [0.0]


# What is refused


class Wrong(Sgd):
    continuous = True

    def weights(self, waiting: Waiting) -> Any:
        return np.full(len(waiting.workers) + 1, -1.0)


def test_weights_that_are_none_fail_the_cell() -> None:
    algorithm = f"{HERE}:Wrong"
    result = run(Scenario(**{**UNEVEN, "algorithm": algorithm, "quorum": 1}))
    said = f"round 1: algorithm '{algorithm}': its weights: [-1. -1.]; expected finite numbers >= 0, (1,)"
    assert (result.status, result.reason) == ("failed", said)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"algorithm": "fedbuff[buffer=9]"}, "algorithm: 'fedbuff[buffer=9]' steps on 9 answers at once; sampled is 6"),
        ({"algorithm": "fedbuff[buffer=4]", "rule": "krum", "byzantine": 1, "tolerated": 1, "attack": "foe"},
         "rule: 'krum' needs 5 answers for tolerated=1; 'fedbuff[buffer=4]' steps on 4"),
        ({"algorithm": "fedbuff[buffer=4]", "quorum": 5}, "quorum: 5; expected at most 4, as 'fedbuff[buffer=4]' steps on so many answers"),
    ],
)  # fmt: skip
def test_a_buffer_holds_what_the_rule_needs(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        Scenario(**{**BASE, **fields})
    assert caught.value.problems == [problem]


def test_what_is_tolerated_by_default_is_so_of_a_buffer() -> None:
    fields: dict[str, Any] = {"workers": 20, "byzantine": 5, "rule": "median", "tau": "inf"}
    assert Scenario(**fields, algorithm="sgd").tolerated == 5
    assert Scenario(**fields, algorithm="fedbuff[buffer=7]").tolerated == 3
    assert Scenario(**fields, algorithm="async_sgd").tolerated == 0
