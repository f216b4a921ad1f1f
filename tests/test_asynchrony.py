"""Servers that step on answers whenever they come: against loops in float64, and all its rules."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable
from itertools import combinations, islice
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hgobench import Scenario, World, run
from hgobench.aggregators import Rule, Vectors
from hgobench.algorithms import AsyncSgd, FedBuff, Judged, Kardam, Order, Places, Sgd, Waiting
from hgobench.attacks import Attack, Message, View
from hgobench.errors import InputError
from hgobench.models import Softmax
from hgobench.simulation import clock, simulate, steps
from hgobench.simulation.cell import Plan
from hgobench.simulation.events import CLAIMS, Asked, Inbox
from hgobench.simulation.world import Draw
from tests.algorithm_1 import softmax_gradient
from tests.events import Driver
from tests.test_algorithms import BASE, FirstThree, Fresh, asynchronous, mean_gradient

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


Take = Callable[[int, Any, Any, Any, int], Any]


def by_answers(world: World, take: Take, most: int) -> list[tuple[float, Any]]:
    """Run a server in loops that is told of every answer, and steps by what it returns.

    Args:
        world: with its workers and devices.
        take: given who answers, its gradient, where that was computed, the parameters of now and
            the staleness; returns the step, or None.
        most: how many steps to take.
    """
    d, version, number = world.model.dimension, 0, 0
    w = world.initial().double().numpy()
    history: list[tuple[float, Any]] = []
    coming: list[tuple[float, int, int, int, int, Any, Any]] = []

    def ask(i: int, turn: int, now: float) -> None:
        nonlocal number
        draw, number = world.draw(turn), number + 1
        row = draw.workers.tolist().index(i)
        rows = draw.batch[row][: draw.size[row]].tolist()
        seconds = int(draw.size[row]) * d / float(world.rates[i])
        gradient = mean_gradient(world, w, rows)
        heapq.heappush(coming, (now + seconds, number, i, turn, version, gradient, w))

    for i in world.draw(1).workers.tolist():
        ask(i, 1, 0.0)
    while len(history) < most:
        now, _, i, turn, started, gradient, where = heapq.heappop(coming)
        step = take(i, gradient, where, w, version - started)
        if step is not None:
            w, version = w - step, version + 1
            history.append((now, w))
        ask(i, turn + 1, now)
    return history


def taking_as_basgd(buffers: int, rate: float) -> Take:
    """BASGD with the median: a running mean per buffer, a step once none is empty."""
    held: dict[int, list[Any]] = {}

    def take(i: int, g: Any, x: Any, w: Any, age: int) -> Any:
        held.setdefault(i % buffers, []).append(g)
        if len(held) < buffers:
            return None
        means = np.array([sum(some) / len(some) for some in held.values()])
        held.clear()
        return rate * np.median(means, axis=0)

    return take


def taking_as_kardam(f: int, rate: float) -> Take:
    """Kardam: the Lipschitz filter, the frequency filter, and exp(-τ/10)."""
    last: dict[int, tuple[Any, Any]] = {}
    k: dict[int, float] = {}
    sizes: dict[int, float] = {}
    taken: list[int] = []

    def quantile(values: dict[int, float], i: int) -> bool:
        """Say whether fewer than f̂ + 1 are at least as large, itself counted, but for ties."""
        larger = sum(value > values[i] for j, value in values.items() if j != i)
        return larger >= f

    def take(i: int, g: Any, x: Any, w: Any, age: int) -> Any:
        smooth = None
        sizes[i] = math.sqrt(sum(g * g))
        if i in last and (x != last[i][1]).any():
            apart = np.linalg.norm(g - last[i][0]), np.linalg.norm(x - last[i][1])
            k[i] = float(apart[0] / apart[1])
            smooth = quantile(k, i)
        else:
            smooth = quantile(sizes, i)
        last[i] = g, x
        before = [*range(-2 * f, 0), *taken]  # as if others had answered before the start
        window = [*before[len(before) - 2 * f :], i]
        often = any(sum(window.count(j) for j in some) > f for some in combinations(set(window), f))
        if not smooth or (f and often):
            return None
        taken.append(i)
        return rate * math.exp(-age / 10) * g

    return take


def taking_as_zeno(world: World, rho: float, epsilon: float, refresh: int, rate: float) -> Take:
    """Zeno++ with 30 root examples."""
    x, y = world.root(30)
    own: list[Any] = []
    steps = [0]

    def take(i: int, g: Any, where: Any, w: Any, age: int) -> Any:
        if not own or (steps[0] % refresh == 0 and steps[0] != own[1]):
            classes = world.data.classes
            each = [
                softmax_gradient(w, a, int(b), classes) for a, b in zip(x.numpy(), y, strict=True)
            ]
            own[:] = [np.mean(each, axis=0), steps[0]]
        v = own[0]
        u = g * np.linalg.norm(v) / np.linalg.norm(g)
        if rate * (v @ u) - rho * (u @ u) < -rate * epsilon:
            return None
        steps[0] += 1
        return rate * u

    return take


@pytest.mark.parametrize(
    ("algorithm", "rule", "take", "dropped"),
    [
        ("basgd[buffers=3]", "median", lambda world: taking_as_basgd(3, 0.5), False),
        ("kardam", "average", lambda world: taking_as_kardam(2, 0.5), True),
        ("zeno++[rho=0.02,epsilon=0.01,refresh=3,examples=30]", "average",
         lambda world: taking_as_zeno(world, 0.02, 0.01, 3, 0.5), True),
    ],
)  # fmt: skip
def test_robust_servers_agree_with_loops(
    algorithm: str, rule: str, take: Any, dropped: bool
) -> None:
    fields = {**UNEVEN, "workers": 7, "byzantine": 2, "rounds": 14, "rule": rule}
    if algorithm == "kardam":
        fields |= {"workers": 16, "tolerated": 2, "rounds": 20}
    scenario = Scenario(**{**fields, "algorithm": algorithm, "partition": "dirichlet[alpha=0.5]"})
    result, seen = trained(scenario)
    assert not any(result.rounds["stalled"])
    expected = by_answers(World(scenario), take(World(scenario)), scenario.rounds)
    assert result.rounds["time"] == pytest.approx([moment for moment, _ in expected])
    for params, (_, w) in zip(seen[1:], expected, strict=False):
        np.testing.assert_allclose(params, w, rtol=1e-3, atol=1e-5)
    d = World(scenario).model.dimension
    came = sum(result.rounds["bytes_up"]) / (4 * d)
    assert (came > sum(result.rounds["heard"])) == dropped


def test_kardam_takes_at_most_f_of_2f_plus_1_from_any_f_workers() -> None:
    """Whoever answers, however often, smoothly: a majority is honest. Nobody waits longer."""
    rng, f = np.random.default_rng(0), 3
    server, taken = Kardam(), list[int]()
    for turn in range(400):
        worker = 0 if rng.random() < 0.8 else int(rng.integers(10))
        judged = Judged(torch.full((1, 2), 1.0), torch.full((1, 2), float(turn)))
        one = np.array([worker]), np.zeros(1, dtype=np.int64), np.array([2])
        weights = server.weights(Waiting(*one, 5, tolerated=f, judged=judged))
        if weights is not None and weights[0]:
            taken.append(worker)
        else:
            assert turn < 100 or worker in taken[-2 * f :]
    assert taken.count(0) > 5
    assert len(taken) > 40
    for start in range(len(taken) - 2 * f):
        often = Counter(taken[start : start + 2 * f + 1]).most_common(f)
        assert sum(count for _, count in often) <= f


@pytest.mark.parametrize(
    ("algorithm", "rule"),
    [("basgd[buffers=7]", "median"), ("kardam", "average"), ("zeno++", "average")],
)
@pytest.mark.parametrize("attack", ["foe", "nan", "crash"])
def test_robust_servers_withstand_what_breaks_an_average(
    algorithm: str, rule: str, attack: str
) -> None:
    fields: dict[str, Any] = {"workers": 16, "byzantine": 2, "rounds": 150, "evaluation_interval": 150, "tau": "inf",
              "data": "digits", "learning_rate": 0.3, "hardware": "lognormal[sigma=0.5]"}  # fmt: skip
    result = run(Scenario(**fields, algorithm=algorithm, rule=rule, attack=attack))
    assert result.summary["test_accuracy"] > 0.8, result.reason


# What a cell's numbers depend on


ALGORITHMS = ["async_sgd", "fedbuff[buffer=4,steps=2]", "basgd[buffers=5]", "sgd"]
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
    judging = [
        cells[i].replace(rule="average", algorithm=name)
        for i in (0, 8)
        for name in ("kardam", "zeno++")
    ]
    assert [table(result) for result in simulate(judging)] == [table(run(cell)) for cell in judging]


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


@pytest.mark.parametrize(
    "algorithm",
    ["async_sgd[damping=inverse]", "fedbuff[buffer=4,steps=2]", "basgd[buffers=5]", "zeno++"],
)
def test_attackers_see_what_waits_and_what_is_under_way(algorithm: str) -> None:
    Watching.seen, after = [], []
    TRIED.clear()
    fields = {**ATTACKED, "algorithm": algorithm, "attack": f"{HERE}:Watching", "rounds": 12}
    scenario = Scenario(**fields)
    result, seen = trained(scenario)
    rounds = [view.round for view in Watching.seen]
    judging = algorithm == "zeno++"  # which may drop an answer, and judge another in the round
    assert 1 < len(rounds) <= (99 if judging else 12)
    assert judging or len(rounds) == len(set(rounds))
    for k, heard in enumerate(result.rounds["byzantine_heard"], 1):
        assert not heard or k in rounds
    for view, stepped in zip(Watching.seen, TRIED, strict=True):
        assert torch.equal(view.require_model(), seen[view.round - 1])
        assert view.honest_workers is not None
        # Each worker has a turn under way, but for who has just answered; others wait.
        everybody = [*view.workers.tolist(), *view.honest_workers.tolist()]
        assert len(set(everybody)) == 9
        assert view.sampled == len(everybody) >= 9
        dropped = torch.equal(stepped, seen[view.round - 1])
        if view.round < 12 and not dropped:
            after.append(torch.allclose(stepped, seen[view.round], atol=1e-6))
    assert all(after)
    assert after


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


@given(
    keep=st.lists(st.booleans(), max_size=40),
    more=st.integers(0, 12),
    claims=st.lists(st.integers(0, 9), min_size=52, max_size=52),
)
@settings(deadline=None, max_examples=40)
def test_an_inbox_holds_what_its_turns_say(keep: list[bool], more: int, claims: list[int]) -> None:
    """However they are added, chosen and joined: a row of each array is of the turn beside it."""
    rng, order = (
        np.random.default_rng(len(keep)),
        Order(Places(Softmax(4, 2), "scalar", "scalar"), np.arange(10)),
    )
    turns = [
        Asked(
            number=i,
            turn=i + 1,
            version=i % 3,
            row=Draw(
                np.array([i % 7]), rng.integers(99, size=(1, 4)), np.array([4]), np.array([np.inf]),
                np.array([True]), round=i,
            ),
            plan=Plan(np.array([1 + i % 2]), np.array([i % 5]), np.array([np.inf])),
            order=order,
            ends=float(i),
            hostile=i % 4 == 0,
            answers=True,
            computed=5,
            numbers=5,
            joules=0.0,
            length=5,
            examples=10 + i,
        )
        for i in range(len(keep) + more)
    ]  # fmt: skip
    first = Inbox(turns[: len(keep)])
    chosen = first.those(np.flatnonzero(keep))
    for turn in turns[len(keep) :]:
        chosen.append(turn)
    both = chosen + first
    assert len(both) == len(both.turns) == len(chosen) + len(first)
    whose = both.column("hostile")
    said = np.array(claims[: len(both)] * 2)[: len(both)]
    both.claim(whose, said, said + 1, said + 2)
    draw = both.draw(9)
    assert draw.round == 9
    for row, turn in enumerate(both):
        assert both.column("workers")[row] == draw.workers[row] == turn.worker
        assert draw.batch[row].tolist() == turn.row.batch[0].tolist()
        assert draw.turns is not None
        assert (draw.turns[row], both.column("versions")[row]) == (turn.turn, turn.version)
        honest = int(turn.plan.lengths[0]), int(turn.plan.updates[0]), turn.examples
        assert tuple(both.column(f"honest_{name}")[row] for name in CLAIMS) == honest
        claimed = int(said[row]), int(said[row]) + 1, int(said[row]) + 2
        expected = claimed if turn.hostile else (turn.length, *honest[1:])
        assert tuple(both.column(name)[row] for name in CLAIMS) == expected
    first_claims = [turn.length for turn in first]
    assert not first or first.column("lengths").tolist() == first_claims  # a copy of its own


class Fickle(Attack):
    """First the answers that wait claim half of themselves, one of them nothing; then all of it."""

    sees = "server"
    stateful = True
    tried: ClassVar[list[tuple[int, bool, Tensor]]] = []

    def __init__(self) -> None:
        self.before = 0

    def __call__(self, view: View) -> Message:
        again, self.before = view.round == self.before, view.round
        whole = Message(view.require_own() * 2.0, view.claim(view.places))
        self.tried.append((view.round, again, view.stepped(whole)))
        return whole if again else whole._replace(lengths=whole.lengths // 2 * (view.workers % 2))

    def values(self, view: View) -> Tensor:
        return self(view).values


def test_what_is_tried_is_what_is_taken_whatever_was_claimed_before() -> None:
    Fickle.tried.clear()
    fields = {**ATTACKED, "algorithm": "fedbuff[buffer=4]", "attack": f"{HERE}:Fickle"}
    _, seen = trained(Scenario(**{**fields, "rounds": 20, "byzantine": 4}))
    last = {k: stepped for k, again, stepped in Fickle.tried if again}
    assert len(last) > 2
    for k, stepped in last.items():
        if k < 20 and not torch.equal(stepped, seen[k - 1]):
            torch.testing.assert_close(stepped, seen[k], atol=1e-6, rtol=0)


class Patient(AsyncSgd):
    """Judges, and waits for four answers."""

    judges = True

    def weights(self, waiting: Waiting) -> Any:
        return np.ones(len(waiting.workers)) if len(waiting.workers) >= 4 else None


class Hoarder(Attack):
    """Tries again what it tried when fewer answers had come."""

    sees = "server"
    stateful = True
    tried: ClassVar[list[tuple[float, float]]] = []

    def __init__(self) -> None:
        self.kept: list[tuple[View, Message, float]] = []

    def __call__(self, view: View) -> Message:
        self.kept = [one for one in self.kept if one[0].round == view.round]
        self.tried.extend((then, old.deviation(message)) for old, message, then in self.kept)
        message = Message(view.require_own() * 2.0, view.claim(view.places))
        self.kept.append((view, message, view.deviation(message)))
        return message

    def values(self, view: View) -> Tensor:
        return self(view).values


def test_a_view_says_of_its_time_whatever_came_since() -> None:
    Hoarder.tried.clear()
    fields = {**ATTACKED, "algorithm": f"{HERE}:Patient", "attack": f"{HERE}:Hoarder"}
    trained(Scenario(**{**fields, "rule": "average"}))
    assert len(Hoarder.tried) > 5
    assert all(then == now for then, now in Hoarder.tried)


@pytest.mark.parametrize("attack", ["crash", "vanish[after=3]+sign_flip"])
def test_no_row_takes_back_what_another_has_counted(attack: str) -> None:
    fields = {**ATTACKED, "workers": 10, "sampled": 5, "rounds": 30, "attack": attack}
    fields["hardware"] = f"bernoulli[p=0.4]+{ATTACKED['hardware']}"
    result, _ = trained(Scenario(**fields, algorithm="basgd[buffers=5]"))
    assert any(result.rounds["stalled"])
    assert min(result.rounds["bytes_up"]) >= 0
    d, spent = World(Scenario(**fields)).model.dimension, sum(result.rounds["bytes_up"])
    assert spent % (4 * d) == 0
    assert spent / (4 * d) >= sum(result.rounds["heard"])


class Tireless(Attack):
    sees = "nothing"

    def values(self, view: View) -> Tensor:
        return torch.ones(view.dimension)

    def lengths(self, view: View) -> Any:
        return view.limits


@pytest.mark.parametrize(("algorithm", "least"), [("async_sgd", 1), ("fedbuff[buffer=4]", 4)])
def test_attackers_that_lie_answer_though_they_are_away(algorithm: str, least: int) -> None:
    fields = {**ATTACKED, "attack": f"{HERE}:Tireless", "rounds": 12, "algorithm": algorithm}
    fields["hardware"] = f"bernoulli[p=0]+{ATTACKED['hardware']}"
    result, _ = trained(Scenario(**fields))
    d, heard = World(Scenario(**fields)).model.dimension, result.rounds["heard"]
    assert heard == result.rounds["byzantine_heard"]
    assert set(heard) <= {0, least}
    assert sum(heard[:3]) > 0
    assert result.rounds["bytes_up"] == [4 * d * m for m in heard]
    honest, _ = trained(Scenario(**{**fields, "lies_about_speed": "no"}))
    assert sum(honest.rounds["heard"]) == 0
    over, _ = trained(Scenario(**{**fields, "attack_stop": 3}))
    assert over.rounds["heard"] == [*heard[:3], *[0] * 9]
    assert len(set(over.rounds["test_loss"][2:])) == 1


def test_without_honest_workers_in_time_the_server_stalls() -> None:
    fields = {**ATTACKED, "byzantine": 4, "attack": "crash", "algorithm": "fedbuff[buffer=6]"}
    result, _ = trained(Scenario(**{**fields, "hardware": "tests.test_asynchrony:Equal"}))
    assert result.rounds["stalled"] == [True, False] * 4  # five honest workers, twice


def test_attackers_that_answer_in_no_time_do_not_hold_up_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "DROPS", 5)
    fields = {**ATTACKED, "algorithm": "kardam", "attack": "hasty[factor=1e300]+foe", "rounds": 3}
    result, _ = trained(Scenario(**{**fields, "rule": "average", "byzantine": 2, "tolerated": 2}))
    assert result.rounds["stalled"] == [True] * 3
    dropped = 5 * ATTACKED["workers"]
    assert np.all(np.diff(result.rounds["bytes_up"]) == 0)
    assert result.rounds["bytes_up"][0] == dropped * 4 * World(result.scenario).model.dimension


class Witness(Rule):
    """The mean, which writes down how stale each answer is."""

    formula = "mean"
    staleness: ClassVar[list[object]] = []

    def of_vectors(self, vectors: Vectors) -> Tensor:
        stale = vectors.view.staleness
        self.staleness.append(None if stale is None else stale.tolist())
        return vectors.mean(torch.arange(len(vectors)))


def test_a_rule_is_told_how_stale_answers_are() -> None:
    def seen(algorithm: str, rounds: int, **more: Any) -> list[object]:
        Witness.staleness.clear()
        more |= {"algorithm": algorithm, "rounds": rounds, "metrics": "none"}
        fields = {**EQUAL, "workers": 6, "rule": f"{HERE}:Witness", **more}
        result, _ = trained(Scenario(**fields))
        assert result.status == "done", result.reason
        return list(Witness.staleness)

    # All six answer at the same time, again and again, and each is asked once it has answered.
    assert seen("async_sgd", 9) == [[0], [1], [2], [3], [4], [5], [5], [5], [5]]
    assert seen("fedbuff[buffer=3]", 4) == [[0] * 3, [1] * 3, [2, 2, 1], [2, 2, 1]]
    assert seen("sgd", 2, deadline=math.inf) == [None, None]
    assert set(map(str, seen("basgd[buffers=2]", 2))) == {"None"}, "a buffer is of several workers"


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
        ({"algorithm": "basgd[buffers=4]", "weights": "examples"},
         "weights: 'examples'; expected 'none', as 'basgd[buffers=4]' averages answers before the rule sees them"),
        ({"algorithm": "basgd[buffers=4]", "rule": "oracle"},
         "rule: 'oracle' needs to know who is honest; 'basgd[buffers=4]' averages answers of several workers before the rule sees them"),
        ({"algorithm": "fedbuff[buffer=4]", "quorum": 5}, "quorum: 5; expected at most 4, as 'fedbuff[buffer=4]' steps on so many answers"),
    ],
)  # fmt: skip
def test_a_buffer_holds_what_the_rule_needs(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        Scenario(**{**BASE, **fields})
    assert caught.value.problems == [problem]


def test_there_is_no_clock_without_training() -> None:
    said = "algorithm: 'async_sgd' steps whenever answers come; when, only a run shows: expected one that goes by rounds"
    with pytest.raises(InputError) as caught:
        clock(Scenario(**{**BASE, "algorithm": "async_sgd"}))
    assert caught.value.problems == [said]


def test_what_is_tolerated_by_default_is_so_of_a_buffer() -> None:
    fields: dict[str, Any] = {"workers": 20, "byzantine": 5, "rule": "median", "tau": "inf"}
    assert Scenario(**fields, algorithm="sgd").tolerated == 5
    assert Scenario(**fields, algorithm="fedbuff[buffer=7]").tolerated == 3
    assert Scenario(**fields, algorithm="async_sgd").tolerated == 0
