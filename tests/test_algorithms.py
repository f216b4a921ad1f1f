"""Algorithms: local steps against loops in float64, and answers that come at different times."""

from __future__ import annotations

import heapq
import math
import re
import time
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hgobench import Scenario, World, algorithms, run
from hgobench.algorithms import Algorithm, Hgo, Sgd, Waiting, Work
from hgobench.boundary import Clock, OutOfTime
from hgobench.errors import InputError
from hgobench.models import Softmax
from hgobench.parameters import finite, whole
from hgobench.simulation import simulate
from tests.algorithm_1 import softmax_gradient
from tests.events import Driver
from tests.plugins import without_lines

HERE = "tests.test_algorithms"
BASE: dict[str, Any] = {
    "data": "breast_cancer",
    "workers": 6,
    "byzantine": 0,
    "rule": "average",
    "batch_size": 3,
    "rounds": 3,
    "deadline": math.inf,
    "learning_rate": 0.5,
    "evaluation_interval": 3,
}


class FedAvg(Sgd):
    """Local steps of SGD, with `pull` as FedProx's μ; a worker sends how far it came."""

    def __init__(self, steps: int = 4, rate: float = 0.2, pull: float = 0.0) -> None:
        super().__init__()
        self.gradients = whole("steps", steps, least=1)
        self.rate, self.pull = finite("rate", rate), finite("pull", pull)

    def messages(self, work: Work) -> Tensor:
        away = work.gradients  # (w - w_i) / rate
        for step in range(1, self.gradients):
            local = work.params - self.rate * away
            gradient = work.gradients_at(local, minibatch=step)
            away = away + gradient + self.pull * (local - work.params)
        return away


class FedBuff(FedAvg):
    """The server steps on three answers; one that is s steps old counts 1/sqrt(1 + s)."""

    continuous = True

    def weights(self, waiting: Waiting) -> Any:
        enough = len(waiting.workers) >= 3
        return 1.0 / np.sqrt(1.0 + waiting.staleness) if enough else None


class Fresh(FedBuff):
    """The same, but those are dropped that are older than a step."""

    def weights(self, waiting: Waiting) -> Any:
        fresh = waiting.staleness <= 1
        return fresh.astype(float) if fresh.sum() >= 3 else None


class FirstThree(Sgd):
    """By rounds, but for that the slowest are not waited for."""

    def weights(self, waiting: Waiting) -> Any:
        return np.ones(3) if len(waiting.workers) == 3 else None


# Local steps


def mean_gradient(world: World, w: Any, rows: Any, flip: bool = False) -> Any:
    """Return the mean gradient of some training examples, in loops."""
    classes, train = world.data.classes, world.data.train
    total = np.zeros(len(w))
    for row in rows:
        label = int(train.labels[row])
        label = classes - 1 - label if flip else label
        total += softmax_gradient(w, train.features[row], label, classes)
    return total / len(rows)


def local_steps(
    world: World, k: int, i: int, w: Any, steps: int, pull: float, flip: bool = False
) -> Any:
    """Return what the i-th worker of round k sends after steps of 0.2 from w."""
    draw, local = world.draw(k), w.copy()
    shard = world.shards[draw.workers[i]]
    seen = []
    for step in range(steps):
        batch = world.further(k, draw, step) if step else draw.batch
        rows = batch[i][: draw.size[i]].tolist()
        seen.append(rows)
        assert len(set(rows)) == len(rows) == min(len(shard), world.batch_size)
        assert set(rows) <= set(shard.tolist())
        gradient = mean_gradient(world, local, rows, flip) + pull * (local - w)
        local = local - 0.2 * gradient
    assert len(set(map(tuple, seen))) == (steps if len(shard) > world.batch_size else 1)
    return (w - local) / 0.2


@pytest.mark.parametrize(
    ("steps", "pull", "fields"),
    [
        (4, 0.0, {}),
        (3, 0.7, {"partition": "dirichlet[alpha=0.3]", "batch_size": 20, "rounds": 2}),
        (2, 0.0, {"deadline": 4.0, "sampled": 5}),
        (3, 0.0, {"attack": "label_flip", "byzantine": 2, "quorum": 5}),
    ],
)
def test_local_steps_agree_with_loops(steps: int, pull: float, fields: dict[str, Any]) -> None:
    algorithm = f"{HERE}:FedAvg[steps={steps},rate=0.2,pull={pull}]"
    scenario = Scenario(**{**BASE, **fields, "algorithm": algorithm})
    seen: list[tuple[Tensor, Tensor]] = []
    (result,) = simulate(
        [scenario], observe=lambda step: seen.append((step.params.clone(), step.aggregate))
    )
    assert result.status == "done", result.reason
    world, tau, rounds = World(scenario), scenario.deadline, result.rounds
    evil, d = world.byzantine(scenario.byzantine), world.model.dimension
    w = world.initial().double().numpy()
    before = 0.0
    for k, (params, aggregate) in enumerate(seen, 1):
        np.testing.assert_allclose(params, w, rtol=1e-4, atol=1e-6)
        draw = world.draw(k)
        work = draw.size * steps * d / world.rates[draw.workers]
        heard = np.flatnonzero(work <= tau)
        assert rounds["heard"][k - 1] == len(heard) > 0
        sent = [
            local_steps(world, k, i, w, steps, pull, bool(evil[draw.workers[i]]))
            for i in heard.tolist()
        ]
        mean = np.mean(sent, axis=0)
        np.testing.assert_allclose(aggregate, mean, rtol=2e-4, atol=1e-5)
        w = w - scenario.learning_rate * mean
        lasted = work.max() if math.isinf(tau) else tau
        assert rounds["time"][k - 1] - before == pytest.approx(lasted)
        before = rounds["time"][k - 1]
        if math.isinf(tau):
            assert rounds["coordinates"][k - 1] == steps * d * len(heard)
    assert fields.get("deadline") is None or min(rounds["heard"]) < scenario.sampled


def columns(result: Any) -> dict[str, Any]:
    assert result.status == "done", result.reason
    return {name: list(column) for name, column in result.rounds.items()}


def test_one_local_step_is_sgd() -> None:
    fields = {**BASE, "rule": "median", "byzantine": 2, "attack": "foe", "workers": 8}
    one = run(Scenario(**fields, algorithm=f"{HERE}:FedAvg[steps=1]"))
    assert repr(columns(one)) == repr(columns(run(Scenario(**fields, algorithm="sgd"))))


def test_local_steps_do_not_depend_on_the_stack() -> None:
    """Every cell of a world draws the same further minibatches, whoever is beside it."""
    fields = {**BASE, "workers": 8, "byzantine": 2, "rounds": 2}
    three = f"{HERE}:FedAvg[steps=3]"
    cells = [
        Scenario(**fields, algorithm=algorithm, attack=attack)
        for attack in ("label_flip", "foe", "none")
        for algorithm in (three, "sgd", f"{HERE}:FedAvg[steps=2]")
    ]
    together = [repr(columns(result)) for result in simulate(cells)]
    assert together == [repr(columns(simulate([cell])[0])) for cell in cells]
    assert len(set(together)) == len(cells)


class OwnSoftmax(Softmax):
    """The same model, as somebody's own."""


@pytest.mark.parametrize("attack", ["none", "label_flip"])
def test_a_model_of_one_s_own_takes_local_steps_too(attack: str) -> None:
    fields = {**BASE, "workers": 5, "byzantine": 2, "rounds": 2, "attack": attack}
    fields |= {"algorithm": f"{HERE}:FedAvg[steps=2]"}
    expected = run(Scenario(**fields))
    own = run(Scenario(**fields, model=f"{HERE}:OwnSoftmax"))
    assert repr(columns(own)) == repr(columns(expected))


class Asking(Sgd):
    """Asks for a gradient in a way that is wrong."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.gradients, self.how = 2, how

    def messages(self, work: Work) -> Tensor:
        whole = work.params.expand_as(work.gradients)
        wrong: dict[str, Any] = {
            "one_row": lambda: work.gradients_at(work.params),
            "integers": lambda: work.gradients_at(whole.long()),
            "list": lambda: work.gradients_at(whole.tolist()),  # type: ignore[arg-type]
            "negative": lambda: work.gradients_at(whole, minibatch=-1),
            "half": lambda: work.gradients_at(whole, minibatch=0.5),  # type: ignore[arg-type]
            "often": lambda: [work.gradients_at(whole) for _ in range(2)],
            "sends_list": lambda: work.gradients.tolist(),
            "sends_integers": lambda: work.gradients.long(),
            "sends_one": lambda: work.gradients[0],
        }
        return wrong[self.how]()  # type: ignore[no-any-return]


class Many(Sgd):
    gradients = 0


class Half(Sgd):
    gradients = 1.5  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("algorithm", "reason"),
    [
        ("Asking[how=one_row]", "ValueError: params: torch.float32 (62,); expected a float tensor (6, 62), a row per worker"),
        ("Asking[how=integers]", "ValueError: params: torch.int64 (6, 62); expected a float tensor (6, 62), a row per worker"),
        ("Asking[how=list]", "ValueError: params: list; expected a float tensor (6, 62), a row per worker"),
        ("Asking[how=negative]", "ValueError: minibatch: -1; expected a whole number >= 0"),
        ("Asking[how=half]", "ValueError: minibatch: 0.5; expected a whole number >= 0"),
        ("Asking[how=often]", "ValueError: more gradients are taken than `updates` says; expected 2"),
        ("Asking[how=sends_list]", "its messages are list; expected a float tensor (6, 62)"),
        ("Asking[how=sends_integers]", "its messages are torch.int64 (6, 62); expected a float tensor (6, 62)"),
        ("Asking[how=sends_one]", "its messages are torch.float32 (62,); expected a float tensor (6, 62)"),
    ],
)  # fmt: skip
def test_what_an_algorithm_may_not_do(algorithm: str, reason: str) -> None:
    result = run(Scenario(**{**BASE, "algorithm": f"{HERE}:{algorithm}"}))
    name = f"{HERE}:{algorithm}"
    said = result.status, without_lines(result.reason)
    assert said == ("failed", f"round 1: algorithm '{name}': {reason}")


class Secretive(Sgd):
    @property
    def partial(self) -> bool:  # type: ignore[override]
        raise KeyError("partial")


class Undecided(Hgo):
    def quorum(self, tolerated: int, minimum: int) -> int:
        return minimum - 1


class Refusing(Hgo):
    def quorum(self, tolerated: int, minimum: int) -> int:
        raise KeyError("v")


@pytest.mark.parametrize(
    ("algorithm", "problem"),
    [
        ("Many", "its gradients: 0; expected a whole number >= 1"),
        ("Half", "its gradients: 1.5; expected a whole number >= 1"),
        ("Secretive", "KeyError: 'partial' (tests/test_algorithms.py:LINE)"),
        ("Undecided", "its quorum: 0; expected a whole number, at least the rule's 1"),
        ("Refusing", "KeyError: 'v' (tests/test_algorithms.py:LINE)"),
    ],
)
def test_an_algorithm_that_is_none_is_refused(algorithm: str, problem: str) -> None:
    name = f"{HERE}:{algorithm}"
    with pytest.raises(InputError) as caught:
        Scenario(**{**BASE, "algorithm": name})
    (said,) = caught.value.problems
    said = re.sub(r"(?<=py:)\d+", "LINE", said)
    assert said == f"algorithm: {name!r}: {problem}"


def test_local_steps_that_diverge_end_the_cell_so() -> None:
    algorithm = f"{HERE}:FedAvg[rate=1e30,steps=9]"
    result = run(Scenario(**{**BASE, "algorithm": algorithm, "model": "linear", "data": "digits"}))
    assert (result.status, result.reason) == (
        "diverged",
        "round 1: Average: no finite answer; 6 of 6 workers sent NaN or infinite values, and f=0",
    )


def spin(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_what_is_computed_for_an_algorithm_is_not_charged_to_it() -> None:
    clock = Clock(0.1)
    clock.start("algorithm 'a'")
    with clock.paused():
        spin(0.3)
        with clock.paused():  # it is not running
            spin(0.05)
    clock.stop()
    assert 0.05 < clock.left < 0.1
    clock.start("algorithm 'a'")
    with pytest.raises(OutOfTime, match=re.escape("out of time: algorithm 'a' and what else")):
        spin(1.0)
    with pytest.raises(OutOfTime):
        clock.stop()


# Answers that come at different times


class Parts(Hgo):
    continuous = True


def test_an_algorithm_that_goes_on_with_parts_is_refused() -> None:
    algorithm = f"{HERE}:Parts"
    with pytest.raises(InputError) as caught:
        Scenario(**{**BASE, "algorithm": algorithm})
    assert caught.value.problems == [
        f"algorithm: '{algorithm}' is continuous and partial; expected one of the two, as parts of "
        "different orders can't be aggregated together"
    ]


UNEVEN = {**BASE, "hardware": "lognormal[sigma=1.0]", "rounds": 4, "evaluation_interval": 1}


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (Sgd, "sgd"),
        (lambda: FedAvg(steps=3), f"{HERE}:FedAvg[steps=3]"),
        (lambda: algorithms.FedNova(steps=3), "fednova[steps=3]"),
        (lambda: algorithms.FedProx(steps=3), "fedprox[steps=3]"),
        (lambda: algorithms.TopK(fraction=0.3), "topk[fraction=0.3]"),
    ],
)
def test_an_algorithm_that_goes_by_rounds_is_driven_by_events_too(
    make: Any, algorithm: str
) -> None:
    """The median does not depend on the order of answers: the same to the last bit."""
    scenario = Scenario(**{**UNEVEN, "rule": "median", "sampled": 5, "algorithm": algorithm})
    seen: list[Tensor] = []
    (result,) = simulate([scenario], observe=lambda step: seen.append(step.params.clone()))
    driver = Driver(make(), scenario)
    expected = [World(scenario).initial()]
    times = []
    for moment, params in islice(driver.steps(), 4):
        expected.append(params)
        times.append(moment)
    assert all(map(torch.equal, seen, expected))
    assert times == pytest.approx(list(result.rounds["time"]))
    assert set(driver.staleness) == {0}


def asynchronous(world: World, rate: float, steps: int, weigh: Any, ready: Any, most: int) -> Any:
    """Run an asynchronous algorithm in loops: every worker goes on as soon as it has answered.

    Args:
        world: with its workers and devices.
        rate, steps: the server's learning rate, and how many local steps a worker takes.
        weigh: what an answer counts that is so many steps old.
        ready: whether the server steps, given how old the waiting answers are.
        most: how many steps to take.
    """
    d = world.model.dimension
    w = world.initial().double().numpy()
    version, buffer, ages, numbers = 0, [], [], list[int]()
    history: list[tuple[float, Any]] = []
    coming: list[tuple[float, int, int, int, int, Any]] = []

    def ask(i: int, asked: int, now: float) -> None:
        row = world.draw(asked).workers.tolist().index(i)
        seconds = int(world.draw(asked).size[row]) * steps * d / float(world.rates[i])
        sent = local_steps(world, asked, row, w, steps, 0.0)
        numbers.append(len(numbers))  # at equal times, who was asked first
        heapq.heappush(coming, (now + seconds, numbers[-1], i, asked, version, sent))

    for i in world.draw(1).workers.tolist():
        ask(i, 1, 0.0)
    while len(history) < most:
        now, _, i, asked, started, sent = heapq.heappop(coming)
        buffer.append((started, sent))
        if ready([version - s for s, _ in buffer]):
            counts = [(weigh(version - s), version - s, sent) for s, sent in buffer]
            used = [(c, sent) for c, _, sent in counts if c > 0]
            ages += [age for c, age, _ in counts if c > 0]
            w = w - rate * sum(c * sent for c, sent in used) / len(used)
            version, buffer = version + 1, []
            history.append((now, w))
        ask(i, asked + 1, now)
    return history, ages


@pytest.mark.parametrize(
    ("algorithm", "weigh", "ready"),
    [
        (FedBuff(steps=2), lambda s: 1 / math.sqrt(1 + s), lambda ages: len(ages) == 3),
        (Fresh(steps=1), lambda s: float(s <= 1), lambda ages: sum(s <= 1 for s in ages) == 3),
    ],
)
def test_an_asynchronous_algorithm_agrees_with_loops(
    algorithm: Algorithm, weigh: Any, ready: Any
) -> None:
    scenario = Scenario(**{**UNEVEN, "workers": 7, "quorum": 3, "algorithm": "sgd"})
    driver = Driver(algorithm, scenario)
    found = list(islice(driver.steps(), 6))
    steps = algorithm.gradients
    expected, ages = asynchronous(driver.world, 0.5, steps, weigh, ready, 6)
    for (moment, params), (then, w) in zip(found, expected, strict=True):
        assert moment == pytest.approx(then)
        np.testing.assert_allclose(params, w, rtol=1e-4, atol=1e-6)
    assert sorted(driver.staleness) == sorted(ages)
    assert max(ages) >= 1
