"""What servers remember of workers, against dictionaries, loops and float64."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hgobench import Scenario, World, attacks, run
from hgobench.algorithms import Algorithm, Arrived, Held, Hgo, Rosdhb, Sgd
from hgobench.attacks import Foe, Message, View
from hgobench.errors import InputError
from hgobench.simulation import simulate
from hgobench.simulation.cell import Cell
from hgobench.simulation.footprint import footprint
from hgobench.simulation.rounds import Stack
from hgobench.testing import view
from tests.oracles import coordinate_rule
from tests.test_local_steps import gradient, table

BASE: dict[str, Any] = {
    "data": "breast_cancer",
    "workers": 6,
    "byzantine": 0,
    "rule": "average",
    "batch_size": 3,
    "rounds": 6,
    "hardware": "lognormal[sigma=1.0]",
    "deadline": 1.5,
    "learning_rate": 0.4,
    "evaluation_interval": 6,
    "algorithm": "hgo[memory=last]",
}
FOE = {"attack": "foe[epsilon=2.0]", "byzantine": 2, "rule": "trimmed_mean", "workers": 7}
Sent = dict[int, float]  # coordinate -> value


def parameter(algorithm: str, name: str, default: float) -> float:
    """Return a parameter of ``hgo[momentum=0.5,block=7]``."""
    found = re.search(rf"{name}=([0-9.]+)", algorithm)
    return float(found[1]) if found else default


def answers(
    scenario: Scenario, world: World, k: int, w: Any, momentum: dict[tuple[int, int], float]
) -> dict[int, Sent]:
    """Return what each worker that was asked in round k sent, in loops."""
    draw, d = world.draw(k), world.model.dimension
    order, evil = world.order(k, d).tolist(), world.byzantine(scenario.byzantine)
    name = scenario.algorithm
    beta = 0.0 if name.startswith("rosdhb") else parameter(name, "momentum", 0.0)
    top = parameter(name, "block", d)
    sent: dict[int, Sent] = {}
    for row, i in enumerate(draw.workers.tolist()):
        s = int(draw.size[row])
        room = scenario.deadline * float(world.rates[i]) / s
        length = int(min(room, top))
        if scenario.algorithm.startswith("sgd"):
            length = d if room >= d else 0
        g = gradient(world, w, draw.batch[row][:s].tolist(), flip=False)
        for j in order[:length]:
            if beta and (i, j) in momentum:
                g[j] = beta * momentum[i, j] + (1 - beta) * g[j]
            momentum[i, j] = float(g[j])
        sent[i] = {j: float(g[j]) for j in order[:length]}
    if scenario.attack != "none":
        honest = [sent[i] for i in sent if not evil[i]]
        longest = max(map(len, honest))
        for i in sent:
            if evil[i]:
                of = {j: [other[j] for other in honest if j in other] for j in order[:longest]}
                sent[i] = {j: -2.0 * sum(x) / len(x) for j, x in of.items()}
    return sent


def observed(scenario: Scenario) -> tuple[list[tuple[Any, Any, Any]], dict[str, Any]]:
    """Return the steps of a run, and its rounds."""
    seen: list[tuple[Any, Any, Any]] = []
    (result,) = simulate(
        [scenario],
        observe=lambda step: seen.append((step.params.clone(), step.block, step.aggregate.clone())),
    )
    assert result.status == "done", result.reason
    return seen, dict(result.rounds)


def compare(k: int, step: tuple[Any, Any, Any], w: Any, block: Sequence[int], answer: Any) -> None:
    """Compare a step with the block and the answer that it should have."""
    params, on, aggregate = step
    np.testing.assert_allclose(params, w, rtol=1e-4, atol=1e-6, err_msg=f"round {k}")
    if not len(block):
        assert len(aggregate) == 0
        return
    np.testing.assert_array_equal(np.arange(len(w)) if on is None else on, block)
    np.testing.assert_allclose(aggregate, answer, rtol=2e-4, atol=1e-6, err_msg=f"round {k}")


@pytest.mark.parametrize(
    ("age", "algorithm", "fields"),
    [
        (None, "hgo[memory=last]", {}),
        (0, "hgo[memory=last,age=0]", {}),
        (1, "hgo[memory=last,age=1]", {"sampled": 3}),
        (None, "hgo[memory=last]", {"sampled": 3, **FOE, "rounds": 12}),
        (2, "hgo[memory=last,age=2]", FOE),
        (None, "hgo[memory=last]", {**FOE, "rule": "median", "quorum": 7}),
        (None, "hgo[memory=last,momentum=0.6]", {"sampled": 4, "rule": "median"}),
        (None, "hgo[block=7,memory=last]", {}),
        (1, "hgo[memory=last,age=1]",
         {"sampled": 4, "weights": "claimed", "partition": "dirichlet[alpha=0.5]"}),
        (None, "sgd[memory=last,momentum=0.6]", {"sampled": 3, **FOE, "deadline": math.inf}),
        (None, "sgd[memory=last]", {"sampled": 4, "deadline": 4.0}),
    ],
)  # fmt: skip
def test_memory_agrees_with_dictionaries(
    age: int | None, algorithm: str, fields: dict[str, Any]
) -> None:
    scenario = Scenario(**{**BASE, **fields, "algorithm": algorithm})
    seen, rounds = observed(scenario)
    world, w = World(scenario), World(scenario).initial().double().numpy()
    d, v, f = len(w), scenario.quorum, scenario.tolerated
    last: dict[tuple[int, int], tuple[float, int]] = {}  # (worker, coordinate) -> value, round
    momentum: dict[tuple[int, int], float] = {}
    old = 0
    for k, step in enumerate(seen, 1):
        sent = answers(scenario, world, k, w, momentum)
        last |= {(i, j): (x, k) for i, of in sent.items() for j, x in of.items()}
        young = {at: x for at, (x, came) in last.items() if age is None or k - came <= age}
        who = [[i for i in range(scenario.workers) if (i, j) in young] for j in range(d)]
        of_j = [[young[i, j] for i in who[j]] for j in range(d)]
        block = [j for j in range(d) if len(of_j[j]) >= v]
        old += sum(came < k for at, (_, came) in last.items() if at in young and at[1] in block)
        answer = [coordinate_rule(scenario.rule, of_j[j], f) for j in block]
        if scenario.weights == "claimed":
            size = [len(shard) for shard in world.shards]
            answer = [np.average(of_j[j], weights=[size[i] for i in who[j]]) for j in block]
        compare(k, step, w, block, answer)
        w[block] -= scenario.learning_rate * np.array(answer)
        assert rounds["block_size"][k - 1] == len(block)
        assert rounds["stalled"][k - 1] == (not block)
        assert rounds["heard"][k - 1] == sum(bool(of) for of in sent.values())
        said = scenario.weights != "none"  # a number more
        assert rounds["bytes_up"][k - 1] == 4 * sum(
            len(of) + (said and bool(of)) for of in sent.values()
        )
    assert (old > 0) == (age != 0)


@pytest.mark.parametrize(
    ("algorithm", "fields"),
    [
        ("rosdhb", {}),
        ("rosdhb[momentum=0.5,block=5]", {}),
        ("rosdhb[momentum=0.5]", {**FOE}),
        ("rosdhb", {"sampled": 4, **FOE, "rule": "median"}),
        ("rosdhb[momentum=0.0]", {"quorum": 5, "deadline": 0.7}),
    ],
)
def test_rosdhb_agrees_with_dictionaries(algorithm: str, fields: dict[str, Any]) -> None:
    scenario = Scenario(**{**BASE, **fields, "algorithm": algorithm})
    seen, rounds = observed(scenario)
    world, w = World(scenario), World(scenario).initial().double().numpy()
    d, n, q = len(w), scenario.workers, scenario.sampled
    beta = parameter(algorithm, "momentum", 0.9)
    m: dict[int, Any] = {}
    lengths = set()
    for k, step in enumerate(seen, 1):
        sent = answers(scenario, world, k, w, {})
        ranked = sorted(map(len, sent.values()), reverse=True)
        common = ranked[math.ceil(scenario.quorum * q / n) - 1]
        order = world.order(k, d).tolist()
        for i, of in sent.items():
            length = min(len(of), common)
            lengths.add(length)
            if not length:
                continue
            m[i] = beta * m.get(i, np.zeros(d))
            for j in order[:length]:
                m[i][j] += (1 - beta) * d / length * of[j]
        block = range(d) if len(m) >= scenario.quorum else []
        of_j = [[m[i][j] for i in m] for j in block]
        answer = [coordinate_rule(scenario.rule, x, scenario.tolerated) for x in of_j]
        compare(k, step, w, block, answer)
        if block:
            w = w - scenario.learning_rate * np.array(answer)
        assert rounds["block_size"][k - 1] == len(block)
    assert len(lengths) > 1


# With nothing remembered it is HGO; and no cell depends on its neighbours

ATTACKED: dict[str, Any] = {**BASE, **FOE, "rounds": 5, "sampled": 6}


@pytest.mark.parametrize("algorithm", ["hgo", "hgo[momentum=0.5]", "hgo[block=9]", "sgd"])
@pytest.mark.parametrize(
    "fields",
    [
        {"rule": "trimmed_mean"},
        {"rule": "geometric_median", "scope": "staircase", "attack": "alie[z=1.5]"},
        {"rule": "krum", "scope": "block", "deadline": 6.0, "workers": 9, "sampled": 9},
        {"rule": "centered_clipping", "attack": "min_max"},
        {"rule": "median", "quorum": 6, "attack": "starve+foe"},
    ],
)
def test_a_memory_of_age_0_is_none(algorithm: str, fields: dict[str, Any]) -> None:
    if algorithm == "sgd" and "scope" in fields:
        fields = {**fields, "scope": "block", "deadline": 6.0}
    forgetful = algorithm.rstrip("]") + ("," if "[" in algorithm else "[") + "memory=last,age=0]"
    plain, other = (
        Scenario(**{**ATTACKED, **fields, "algorithm": name}) for name in (algorithm, forgetful)
    )
    assert table(run(plain)) == table(run(other))


@pytest.mark.long
def test_cells_with_a_memory_do_not_depend_on_the_stack() -> None:
    cells = [
        Scenario(**{**ATTACKED, "algorithm": algorithm, "attack": attack, "rule": rule})
        for algorithm in ("hgo[memory=last]", "hgo[memory=last,age=1]", "rosdhb", "hgo")
        for attack in ("foe", "alie[z=1.5]", "min_max", "none")
        for rule in ("trimmed_mean", "geometric_median", "centered_clipping", "nnm+median")
    ]
    assert len(cells) == 64
    together = [table(result) for result in simulate(cells)]
    for i in range(0, len(cells), 5):
        assert table(run(cells[i])) == together[i]
        pair = simulate([cells[-1 - i], cells[i]])
        assert [table(result) for result in pair] == [together[-1 - i], together[i]]


def test_an_attack_that_tries_the_server_tries_its_memory() -> None:
    """The answer that `optimal_foe` is told of a message is what the server makes of it."""
    seen: list[tuple[Tensor, Tensor]] = []
    scenario = Scenario(**{**ATTACKED, "attack": "tests.test_memory:Watching"})
    WATCHED.clear()
    (result,) = simulate(
        [scenario], observe=lambda step: seen.append((step.params.clone(), step.aggregate.clone()))
    )
    assert result.status == "done", result.reason
    stepped = [params for params, _ in seen[1:]]
    assert len(WATCHED) == len(seen) == 5
    for model, after in zip(WATCHED, stepped, strict=False):
        assert torch.equal(model, after)


WATCHED: list[Tensor] = []


class Watching(Foe):
    """What foe sends, tried twice before."""

    sees = "server"  # type: ignore[assignment]
    columnwise = False

    def __call__(self, view: View) -> Message:
        message = super().__call__(view)
        view.stepped(Message(message.values * 3.0, message.lengths))
        WATCHED.append(view.stepped(message))
        return message


# What v and the bound on Byzantine workers are of


def test_whom_a_server_remembers_is_whom_the_rule_is_told_of() -> None:
    """Of 20 workers with 6 Byzantine, 6 asked: the last answers of all 20 hold 6 Byzantine ones."""
    fields = {**BASE, "workers": 20, "byzantine": 6, "sampled": 6, "rule": "median"}
    plain, last, young = (
        Scenario(**{**fields, "algorithm": name})
        for name in ("hgo", "hgo[memory=last]", "hgo[memory=last,age=1]")
    )
    assert [cell.pool for cell in (plain, last, young)] == [6, 20, 12]
    assert [cell.tolerated for cell in (plain, last, young)] == [2, 6, 5]
    assert [cell.quorum for cell in (plain, last, young)] == [5, 13, 11]
    assert plain.sampling_risk > 0.2
    assert last.sampling_risk == 0.0
    all_six = math.comb(14, 6) / math.comb(20, 12)  # of 12 that were asked in two rounds
    assert young.sampling_risk == pytest.approx(all_six)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"algorithm": "hgo[age=2]"}, "age: 2; expected memory=last, which holds values to be old"),
        ({"algorithm": "hgo[memory=all]"}, "memory: 'all'; expected 'none' or 'last'"),
        ({"algorithm": "hgo[memory=last,age=-1]"}, "age: -1; expected an integer >= 0"),
        ({"algorithm": "rosdhb[momentum=1.0]"}, r"momentum: 1.0; expected a number in \[0, 1\)"),
        ({"sampled": 3, "quorum": 7},
         "quorum: 7; expected at most 6 workers that are remembered"),
        ({"sampled": 3, "tolerated": 3, "byzantine": 2},
         "tolerated: 3; expected at most 2, less than half of 6 workers that are remembered"),
        ({"sampled": 3, "algorithm": "tests.test_memory:Everybody"},
         "algorithm: 'tests.test_memory:Everybody': its pool: 7; expected a whole number from "
         "sampled=3 to workers=6"),
    ],
)  # fmt: skip
def test_what_can_t_be_remembered_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Scenario(**{**BASE, **fields})


class Everybody(Hgo):
    keeps = True

    def __init__(self) -> None:
        super().__init__(memory="last")

    def pool(self, sampled: int, workers: int) -> int:
        return workers + 1


class Odd(Hgo):
    """Holds something that can't be aggregated."""

    def __init__(self, what: str = "twice") -> None:
        super().__init__(memory="last")
        self.what = what

    def held(self, arrived: Arrived, before: Held | None) -> Any:
        held = super().held(arrived, before)
        if self.what == "nothing":
            return None
        if self.what == "twice":
            return replace(held, workers=held.workers * 0)
        if self.what == "short":
            return replace(held, values=held.values[:, 1:])
        return held


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("nothing", "it holds NoneType; expected hgobench.algorithms.Held"),
        ("twice", "it holds a worker twice: [0, 0, 0, 0, 0, 0]"),
        ("short", "it holds float32 (6, 61); expected a float tensor (6, 62)"),
    ],
)
def test_what_can_t_be_aggregated_fails_its_cell(what: str, said: str) -> None:
    cells = [
        Scenario(**{**BASE, "algorithm": f"tests.test_memory:Odd[what={what}]"}),
        Scenario(**BASE),
    ]
    failed, fine = simulate(cells)
    assert (failed.status, fine.status) == ("failed", "done")
    assert failed.reason == f"round 1: algorithm '{cells[0].algorithm}': {said}"


# Metrics and memory


def test_weights_are_of_all_that_are_remembered() -> None:
    """The average gives each of six remembered workers a sixth, though three were asked."""
    fields = {**BASE, "metrics": "weights", "sampled": 3, "deadline": math.inf, "rounds": 12}
    measures = run(Scenario(**fields)).measures
    used = [value for name, value in measures.items() if name.startswith("used/")]
    weight = [value for name, value in measures.items() if name.startswith("weight/")]
    assert used == pytest.approx([1.0] * len(used), abs=0.02)
    assert weight == pytest.approx([1.0] * len(weight), abs=0.02)


@pytest.mark.parametrize("algorithm", ["hgo[memory=last]", "rosdhb"])
def test_what_is_held_takes_what_was_said(algorithm: str) -> None:
    scenario = Scenario(**{**BASE, "sampled": 4, "algorithm": algorithm})
    world = World(scenario)
    cell = Cell(scenario, world)
    stack = Stack([cell], world)
    for k in range(1, 9):
        stack.play(k)
    held = cell.held
    assert held is not None
    taken = held.values.nbytes + (0 if held.rounds is None else held.rounds.nbytes)
    said, plain = footprint(scenario, world), footprint(scenario.replace(algorithm="hgo"), world)
    assert taken <= said.held == 2 * 4 * 6 * 62
    assert taken == said.held or algorithm == "rosdhb"
    assert plain.held == 0
    assert said.round == plain.round * 6 // 4 + said.held  # that before a round and after it
    more = replace(said, loading=0, ending=0).stack(3) - replace(plain, loading=0, ending=0).stack(
        3
    )
    assert more == 3 * said.held + said.round - plain.round


def test_nothing_that_was_held_changes() -> None:
    algorithm: Algorithm
    for algorithm in (Hgo(memory="last"), Sgd(memory="last", age=1), Rosdhb()):
        values = torch.arange(6.0).reshape(3, 2)
        first = algorithm.held(Arrived.whole(1, [2, 5, 3], values), None)
        copy = first.values.clone()
        second = algorithm.held(Arrived.whole(2, [5, 8, 3], -values), first)
        again = algorithm.held(Arrived.whole(2, [5, 8, 3], -values), first)
        assert torch.equal(first.values, copy)
        assert torch.equal(values, torch.arange(6.0).reshape(3, 2))
        assert torch.equal(second.values, again.values)
        assert sorted(second.workers.tolist()) == [2, 3, 5, 8]


# Attacks on what is remembered


def test_who_vanishes_is_remembered_or_forgotten() -> None:
    """In round 1 attackers send -2μ; that is what a server with a memory has of them for ever."""
    fields: dict[str, Any] = {
        **BASE,
        **FOE,
        "attack": "vanish+foe[epsilon=2]",
        "rule": "average",
        "tolerated": 0,
    }
    fields |= {"deadline": math.inf, "rounds": 4, "learning_rate": 1e-6}
    found: dict[str, list[Tensor]] = {}
    for algorithm in ("hgo", "hgo[memory=last]", "hgo[memory=last,age=1]"):
        seen = found[algorithm] = list[Tensor]()
        (result,) = simulate(
            [Scenario(**{**fields, "algorithm": algorithm})],
            observe=lambda step, seen=seen: seen.append(step.aggregate.double()),  # type: ignore[misc]
        )
        assert result.rounds["byzantine_heard"] == [2, 0, 0, 0]
    first, *later = found["hgo"]  # (5 - 4)/7 of the first mean, then means of honest workers alone
    for k, mean in enumerate(later):
        sent = 2.0 * first * 7.0  # μ_1 = 7·first, of which they sent -2
        expected = (5.0 * mean - 2.0 * sent) / 7.0
        torch.testing.assert_close(found["hgo[memory=last]"][1 + k], expected, rtol=1e-3, atol=1e-5)
        young = found["hgo[memory=last,age=1]"][1 + k]
        torch.testing.assert_close(young, mean if k else expected, rtol=1e-3, atol=1e-5)


def seen_by(round_: int, honest: Any, sent: Any, workers: Sequence[int]) -> View:
    """Return what attackers look at in a round."""
    full = view()
    mask = None if sent is None else torch.tensor(sent)
    return replace(
        full,
        round=round_,
        dimension=2,
        honest=torch.tensor(honest),
        sent=mask,
        honest_workers=np.array(workers),
        honest_lengths=np.full(len(workers), 2),
    )


def test_recall_shows_the_last_values_of_all_honest_workers() -> None:
    recall = attacks.Recall()
    first = seen_by(1, [[1.0, 2.0], [3.0, 0.0]], [[True, True], [True, False]], [4, 7])
    shown = recall.narrow(first)
    assert shown.mean().tolist() == [2.0, 2.0]
    second = seen_by(2, [[9.0, 0.0], [0.0, 0.0]], [[True, False], [False, False]], [7, 2])
    shown = recall.narrow(second)
    assert recall.narrow(second).mean().tolist() == shown.mean().tolist() == [5.0, 2.0]
    assert shown.heard().tolist() == [2, 1]
    assert attacks.build("recall+foe").stateful
    assert not attacks.build("vanish+foe").stateful


@pytest.mark.parametrize("after", [0, 1.5])
def test_who_never_answered_can_t_vanish(after: Any) -> None:
    with pytest.raises(ValueError, match=f"after: {after}; expected an integer >= 1"):
        attacks.Vanish(after=after)
