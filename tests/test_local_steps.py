"""Local steps against loops in float64: how many updates, of what, sent in time, at what cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hgobench import Scenario, World, run
from hgobench.attacks import Attack, Message, View
from hgobench.protocol import Updates, deliver
from hgobench.simulation import clock, simulate
from tests import oracles
from tests.algorithm_1 import softmax_gradient

BASE: dict[str, Any] = {
    "data": "breast_cancer",
    "workers": 6,
    "byzantine": 0,
    "rule": "average",
    "batch_size": 3,
    "rounds": 3,
    "deadline": 4.0,
    "hardware": "lognormal[sigma=1.0]",
    "learning_rate": 0.4,
    "evaluation_interval": 3,
}


@dataclass
class Asked:
    """What a worker of the oracle is asked to do.

    Attributes:
        steps: K.
        rate: η.
        inside: whether updates stay inside the block.
        whole: whether answers are whole: FedAvg and its kin.
        pull: μ of FedProx.
        block: the most coordinates of a block.
        nova: whether the server divides answers by the updates that workers claim.
        lie: what Byzantine workers claim; 0: what they took.
        more: how many times their examples Byzantine workers claim, where answers count by them.
    """

    steps: int
    rate: float
    inside: bool = False
    whole: bool = True
    pull: float = 0.0
    block: float = math.inf
    nova: bool = False
    lie: int = 0
    more: float = 1.0


def gradient(world: World, w: Any, rows: Sequence[int], flip: bool) -> Any:
    """Return the mean gradient of some training examples, in loops."""
    classes, train, total = world.data.classes, world.data.train, np.zeros(len(w))
    for row in rows:
        label = int(train.labels[row])
        total += softmax_gradient(
            w, train.features[row], classes - 1 - label if flip else label, classes
        )
    return total / len(rows)


def in_time(scenario: Scenario, world: World, i: int, s: int, asked: Asked) -> tuple[int, int]:
    """Return how many updates worker i takes and how many coordinates it sends, by the clock."""
    fleet, d, tau = world.fleet, world.model.dimension, scenario.deadline
    each, top = s / float(world.rates[i]), int(min(d, asked.block))
    start, upload = 0.0, 0.0
    if fleet.transfer_counts_towards_deadline:
        start = 2 * float(fleet.latency[i]) + 4 * d / float(fleet.downlink[i])
        upload = 4 / float(fleet.uplink[i])

    def ends(updates: int, computed: int, sent: int) -> float:
        return start + updates * computed * each + sent * upload

    if asked.inside:
        fitting = [b for b in range(top + 1) if ends(asked.steps, b, b) <= tau]
        return asked.steps, max(fitting, default=0)
    fitting = [k for k in range(1, asked.steps + 1) if ends(k, d, top) <= tau]
    if fitting:
        return max(fitting), top
    if asked.whole:
        return 1, 0
    return 1, max((b for b in range(1, top + 1) if ends(1, d, b) <= tau), default=0)


def walked(world: World, k: int, row: int, w: Any, updates: int, where: Any, asked: Asked, flip: bool) -> Any:  # fmt: skip
    """Return (w - w_i)/η of a worker of round k, in loops."""
    draw, local = world.draw(k), w.copy()
    for update in range(updates):
        batch = world.further(k, draw, update) if update else draw.batch
        rows = batch[row][: draw.size[row]].tolist()
        move = gradient(world, local, rows, flip) + asked.pull * (local - w)
        for j in where:
            local[j] -= asked.rate * move[j]
    return (w - local) / asked.rate


def check(scenario: Scenario, asked: Asked) -> dict[str, Any]:
    """Compare a run with the average, whatever is sent, with loops; return its rounds."""
    seen: list[Any] = []
    (result,) = simulate(
        [scenario], observe=lambda step: seen.append((step.params.clone(), step.aggregate))
    )
    assert result.status == "done", result.reason
    world, tau, rounds = World(scenario), scenario.deadline, result.rounds
    evil, d, fleet = world.byzantine(scenario.byzantine), world.model.dimension, world.fleet
    w, before, kinds = world.initial().double().numpy(), 0.0, set[tuple[int, int]]()
    step = np.zeros(d)
    for k, (params, aggregate) in enumerate(seen, 1):
        np.testing.assert_allclose(params, w, rtol=1e-4, atol=1e-6)
        draw, order = world.draw(k), world.order(k, d)
        sent: list[dict[int, float]] = []
        claims: list[int] = []
        spent, computed, numbers, waited = 0.0, 0, 0, [0.0]
        for row, i in enumerate(draw.workers.tolist()):
            s = int(draw.size[row])
            updates, length = in_time(scenario, world, i, s, asked)
            kinds.add((updates, length))
            block = order[:length].tolist()
            flip = scenario.attack == "label_flip" and bool(evil[i])
            where = block if asked.inside else range(d)
            move = walked(world, k, row, w, updates, where, asked, flip)
            sent.append({j: float(move[j]) for j in block})
            download = 2 * float(fleet.latency[i]) + 4 * d / float(fleet.downlink[i])
            left = tau - download * fleet.transfer_counts_towards_deadline
            room = left * float(world.rates[i]) / s  # who is cut off has computed, too
            if asked.inside:
                computed += updates * length
            else:
                computed += updates * d if length or room >= d else int(room)
            weighted = scenario.weights != "none"
            numbers += length + (asked.nova + weighted) * (length > 0)
            claims.append(asked.lie if asked.lie and evil[i] else updates)
            cost = length if asked.inside else d
            waited.append(s * updates * cost / float(world.rates[i]) if length else 0.0)
            spent = max(waited)
        if asked.nova:
            said = [c for c, answer in zip(claims, sent, strict=True) if answer]
            effective = sum(said) / len(said)
            for claim, answer in zip(claims, sent, strict=True):
                answer.update({j: effective / claim * x for j, x in answer.items()})
        lengths = sorted((len(answer) for answer in sent), reverse=True)
        of_block = order[: lengths[scenario.quorum - 1]].tolist()
        found, examples = np.zeros(d), [len(world.shards[i]) for i in draw.workers.tolist()]
        told = [
            max(round(n * asked.more), 1) if evil[i] else float(n)
            for n, i in zip(examples, draw.workers.tolist(), strict=True)
        ]
        sets = [[row for row, answer in enumerate(sent) if j in answer] for j in of_block]
        if scenario.weights == "examples":
            heard = [row for row, answer in enumerate(sent) if answer]
            told = oracles.bounded_claims(told, scenario.tolerated, [*sets, heard])
        for j, who in zip(of_block, sets, strict=True):
            weights = [told[row] if scenario.weights != "none" else 1.0 for row in who]
            values = [np.array([sent[row][j]]) for row in who]
            found[j] = oracles.weighted_mean(values, weights)[0]
        np.testing.assert_allclose(
            aggregate,
            found if len(of_block) == d else found[sorted(of_block)],
            rtol=2e-4,
            atol=2e-5,
        )
        step = found + (0.5 * step if scenario.solver == "momentum[beta=0.5]" else 0.0)
        w = w - scenario.learning_rate * step
        assert rounds["heard"][k - 1] == sum(map(bool, sent))
        assert rounds["bytes_up"][k - 1] == 4 * numbers
        assert rounds["coordinates"][k - 1] == computed
        lasted = spent if math.isinf(tau) else tau
        assert rounds["time"][k - 1] - before == pytest.approx(lasted)
        before = rounds["time"][k - 1]
    assert math.isinf(tau) or len(kinds) > 1, "the workers come equally far"
    return dict(rounds)


UNEQUAL = "quantity_skew[distribution=power_law,alpha=2]"
LYING = {
    "attack": "claim_examples[factor=50]",
    "workers": 8,
    "byzantine": 2,
    "quorum": 5,
    "deadline": 9.0,
}
LINK = "network[uplink=90,latency=0.05,counts=true]+lognormal[sigma=1.0]"


@pytest.mark.parametrize(
    ("algorithm", "asked", "fields"),
    [
        ("fedavg[steps=4]", Asked(4, 0.4), {}),
        ("fedavg[steps=3,rate=0.1]", Asked(3, 0.1), {"deadline": math.inf}),
        ("fedavg[steps=3]", Asked(3, 0.4), {"hardware": LINK, "deadline": 9.0}),
        ("fedavg[steps=3]", Asked(3, 0.4), {"attack": "label_flip", "byzantine": 2, "quorum": 5}),
        ("fedavg[steps=3,rate=0.2]", Asked(3, 0.2), {"solver": "momentum[beta=0.5]", "deadline": 9.0}),  # FedAvgM
        ("fedavg[steps=3]", Asked(3, 0.4), {"workload": "coordinates_first", "deadline": 60.0}),
        ("hgo[steps=2]", Asked(2, 0.4, inside=True), {"workload": "data_first", "deadline": 60.0, "rounds": 2}),
        ("fedprox[steps=4,mu=0.7]", Asked(4, 0.4, pull=0.7), {"batch_size": 20, "deadline": 30.0}),
        ("hgo[steps=3]", Asked(3, 0.4, inside=True), {}),
        ("hgo[steps=3,rate=0.1]", Asked(3, 0.1, inside=True), {"hardware": LINK}),
        ("hgo[steps=2,block=20]", Asked(2, 0.4, inside=True, block=20), {"deadline": math.inf}),
        ("hgo[steps=4,whole=true]", Asked(4, 0.4, whole=False), {"hardware": LINK}),
        ("hgo[steps=4,whole=true,block=9]", Asked(4, 0.4, whole=False, block=9), {}),
        ("fednova[steps=4]", Asked(4, 0.4, nova=True), {}),
        ("fednova[steps=3]", Asked(3, 0.4, nova=True), {"attack": "label_flip", "byzantine": 2, "quorum": 5, "tolerated": 0}),
        ("fednova[steps=4]", Asked(4, 0.4, nova=True, lie=1), {"attack": "claim_steps", "byzantine": 2, "quorum": 5, "deadline": 9.0}),
        ("fedavg[steps=4]", Asked(4, 0.4), {"attack": "claim_steps", "byzantine": 2, "quorum": 5, "deadline": 9.0}),
        ("fedavg[steps=3]", Asked(3, 0.4), {"weights": "claimed", "partition": UNEQUAL}),
        ("fedavg[steps=3]", Asked(3, 0.4, more=50.0), {"weights": "claimed", "partition": UNEQUAL, **LYING}),
        ("fedavg[steps=3]", Asked(3, 0.4, more=50.0), {"weights": "examples", "partition": UNEQUAL, **LYING}),
        ("fednova[steps=4]", Asked(4, 0.4, nova=True, more=50.0), {"weights": "examples", "partition": UNEQUAL, **LYING}),
        ("hgo[steps=2]", Asked(2, 0.4, inside=True, more=50.0), {"weights": "examples", "partition": UNEQUAL, **LYING, "deadline": 5.0}),
        ("hgo", Asked(1, 0.4, inside=True, more=0.1), {"weights": "examples", "partition": UNEQUAL, **LYING, "attack": "claim_examples[factor=0.1]"}),
        ("hgo", Asked(1, 0.4, inside=True), {"weights": "examples", "partition": UNEQUAL, "hardware": LINK}),
    ],
)  # fmt: skip
def test_local_steps_agree_with_loops(algorithm: str, asked: Asked, fields: dict[str, Any]) -> None:
    scenario = Scenario(**{**BASE, "quorum": 2, **fields, "algorithm": algorithm})
    check(scenario, asked)


def table(result: Any) -> str:
    assert result.status == "done", result.reason
    return repr({name: list(column) for name, column in result.rounds.items()})


EQUAL = {**BASE, "rule": "median", "byzantine": 2, "attack": "foe", "workers": 8}


@pytest.mark.parametrize(
    ("algorithm", "like"),
    [
        ("fedavg[steps=1]", "sgd"),
        ("fedavg[steps=1,rate=9.0]", "sgd"),  # the first step starts where the server is
        ("fedprox[steps=1,mu=0.5]", "sgd"),
        ("fedprox[steps=3,mu=0.0]", "fedavg[steps=3]"),
        ("hgo[steps=1]", "hgo"),
        ("fedavg[steps=3,rate=0.4]", "fedavg[steps=3]"),  # the server's rate is 0.4
    ],
)
def test_local_steps_that_are_another_algorithm(algorithm: str, like: str) -> None:
    one, other = (run(Scenario(**EQUAL, algorithm=name)) for name in (algorithm, like))
    assert table(one) == table(other)


@pytest.mark.parametrize("algorithm", ["hgo[steps=3]", "hgo[steps=3,whole=true]"])
def test_hgo_of_workers_that_all_finish_is_fedavg(algorithm: str) -> None:
    fields = {**EQUAL, "deadline": math.inf, "scope": "block"}
    hgo, fedavg = (run(Scenario(**fields, algorithm=n)) for n in (algorithm, "fedavg[steps=3]"))
    assert table(hgo) == table(fedavg)


def test_fedavg_is_the_mean_of_the_workers_parameters() -> None:
    """With the server's learning rate and the average."""
    scenario = Scenario(**{**BASE, "deadline": math.inf, "algorithm": "fedavg[steps=3]"})
    seen: list[torch.Tensor] = []
    simulate([scenario], observe=lambda step: seen.append(step.params.clone()))
    world, d = World(scenario), World(scenario).model.dimension
    w = world.initial().double().numpy()
    asked = Asked(3, 0.4)
    ends = [w - 0.4 * walked(world, 1, row, w, 3, range(d), asked, False) for row in range(6)]
    np.testing.assert_allclose(seen[1], np.mean(ends, axis=0), rtol=1e-4, atol=1e-6)


def test_claims_are_bounded_and_counted() -> None:
    sent, whole = torch.ones(3, 2), np.full(3, 2)
    may = Updates(own=np.array([2, 2, 3]), limits=np.full(3, 4))
    for said, counted, malformed in (
        (None, [2, 2, 3], 0),
        ([1, 4, 3], [1, 4, 3], 0),
        ([0, 9, 3], [1, 4, 3], 2),
        ([-(2**62), 2, 3], [1, 2, 3], 1),
        ([1], [2, 2, 3], 3),  # unreadable: nothing of it arrives
    ):
        message = Message(sent, whole, updates=None if said is None else np.array(said))
        delivery = deliver(message, 3, 2, 2, math.inf, may)
        assert delivery.updates is not None
        assert (delivery.updates.tolist(), delivery.malformed) == (counted, malformed)
        assert delivery.lengths.tolist() == ([0, 0, 0] if said == [1] else [2, 2, 2])
        assert deliver(message, 3, 2, 2, math.inf).updates is None
    with pytest.raises(TypeError, match="claimed updates: float64; expected integers"):
        deliver(Message(sent, whole, updates=np.ones(3)), 3, 2, 2, math.inf, may)


def test_who_can_t_lie_about_speed_claims_no_more_than_it_took() -> None:
    fields = {**BASE, "workers": 8, "byzantine": 2, "quorum": 5, "deadline": 9.0, "rounds": 2}
    fields |= {"algorithm": "fednova[steps=4]", "tolerated": 0}
    many, own = (
        run(Scenario(**{**fields, "attack": attack, "lies_about_speed": "no"}))
        for attack in ("claim_steps[steps=4]", "none")
    )
    assert table(many) == table(own)
    lying = run(Scenario(**{**fields, "attack": "claim_steps[steps=4]"}))
    assert table(lying) != table(own)


class Trying(Attack):
    """Notes what the server would do with its message, then sends it."""

    sees = "server"

    def __call__(self, view: View) -> Message:
        claims = np.array([1, 3])
        message = Message(view.require_own() * 2.0, view.claim(view.places), None, claims)
        outcome = view.outcome(message)
        TRIED.append((view.require_honest(), outcome.deviation, outcome.stepped()))
        return message

    def values(self, view: View) -> Tensor:
        return self(view).values


TRIED: list[tuple[Tensor, Tensor, Tensor]] = []


def test_what_attackers_try_is_scaled_as_what_they_send() -> None:
    TRIED.clear()
    fields = {**BASE, "workers": 8, "byzantine": 2, "quorum": 5, "deadline": 9.0, "tolerated": 0}
    attack = "tests.test_local_steps:Trying"
    scenario = Scenario(**{**fields, "algorithm": "fednova[steps=4]", "attack": attack})
    seen: list[tuple[Tensor, Tensor]] = []
    (result,) = simulate(
        [scenario], observe=lambda step: seen.append((step.params.clone(), step.aggregate.clone()))
    )
    assert result.status == "done", result.reason
    for (_, _, stepped), (after, _) in zip(TRIED[:-1], seen[1:], strict=True):
        torch.testing.assert_close(stepped, after)
    world, d = World(scenario), World(scenario).model.dimension
    draw, evil = world.draw(1), world.byzantine(2)
    asked = Asked(4, 0.4)
    plans = [
        in_time(scenario, world, int(i), int(s), asked)
        for i, s in zip(draw.workers, draw.size, strict=True)
    ]
    honest = [row for row, i in enumerate(draw.workers) if not evil[i] and plans[row][1] == d]
    k = [plans[row][0] for row in honest]
    effective = (sum(k) + 1 + 3) / (len(k) + 2)
    honest_sent, deviation, _ = TRIED[0]
    scaled = honest_sent.double() * torch.tensor([effective / x for x in k])[:, None]
    expected = seen[0][1].double() - scaled.mean(dim=0)
    torch.testing.assert_close(deviation, expected, rtol=1e-4, atol=1e-5)


LOCAL = [
    "fedavg[steps=3]", "fedprox[steps=3,mu=0.3]", "hgo[steps=3]", "hgo[steps=2,momentum=0.5]",
    "hgo[steps=3,whole=true,block=9]", "hgo", "sgd", "fednova[steps=3]",
]  # fmt: skip


def test_local_steps_do_not_depend_on_the_stack() -> None:
    """Alone, in stacks of 2 and of 64, to the last bit."""
    fields = {**BASE, "byzantine": 2, "workers": 8, "rounds": 2, "deadline": 9.0}
    cells = [
        Scenario(**{**fields, "algorithm": algorithm, "attack": attack, "rule": rule})
        for attack in ("label_flip", "claim_steps+foe", "mimic", "none")
        for algorithm in LOCAL
        for rule in ("median", "nnm+krum")
    ]
    assert len(cells) == 64
    together = [table(result) for result in simulate(cells)]
    assert len(set(together)) > 40
    for i in range(0, 64, 7):
        assert table(run(cells[i])) == together[i]
        pair = simulate([cells[63 - i], cells[i]])
        assert [table(result) for result in pair] == [together[63 - i], together[i]]


@pytest.mark.parametrize("deadline", [9.0, math.inf])
@pytest.mark.parametrize("hardware", [LINK, LINK.replace("counts=true", "counts=false")])
def test_the_clock_without_training_is_that_of_the_run(hardware: str, deadline: float) -> None:
    for algorithm in (*LOCAL, "topk[fraction=0.2]"):
        fields = {**BASE, "hardware": hardware, "deadline": deadline, "rounds": 2}
        scenario = Scenario(**{**fields, "algorithm": algorithm})
        times = [time for time, _ in zip(clock(scenario), range(2), strict=False)]
        assert times == run(scenario).rounds["time"], algorithm


def test_a_number_more_takes_its_time_on_the_link() -> None:
    """FedNova's number of updates: who sends the rest just in time is late with it."""
    fields = {**BASE, "deadline": math.inf, "rounds": 1, "hardware": LINK}

    def heard(name: str, deadline: float) -> Any:
        algorithm = f"{name}[steps=1]"
        result = run(Scenario(**{**fields, "deadline": deadline, "algorithm": algorithm}))
        return [result.rounds[column][0] for column in ("heard", "bytes_up", "time")]

    workers, up, slowest = heard("fedavg", math.inf)
    assert heard("fednova", math.inf)[:2] == [workers, up + 4 * workers]
    just = slowest * (1 + 1e-9)
    assert heard("fedavg", just)[0] == workers
    assert heard("fednova", just)[0] == workers - 1
