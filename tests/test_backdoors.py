"""Targeted attacks by their definitions, in loops and float64; their success, and what it counts."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hgobench import Scenario, World, attacks, leaderboard
from hgobench.attacks import Attack, Batch, Facts
from hgobench.attacks.badnets import spread
from hgobench.columns import COLUMNS
from hgobench.errors import InputError
from hgobench.grid import Grid
from hgobench.leaderboard import Score, boards
from hgobench.metrics.attack_success import AttackSuccess, half_life
from hgobench.results import Result, open_store
from hgobench.results.result import TARGETED
from hgobench.results.tables import round_lines
from hgobench.session import Session
from hgobench.simulation import simulate
from hgobench.testing import view
from hgobench.testing.metrics import ends
from tests.algorithm_1 import softmax_gradient
from tests.plugins import OwnValues

SMALL: dict[str, Any] = {
    "workers": 12,
    "byzantine": 3,
    "rounds": 8,
    "evaluation_interval": 2,
    "batch_size": 4,
    "learning_rate": 1.0,
    "algorithm": "sgd",
    "rule": "average",
    "deadline": "inf",
}


def facts(image: tuple[int, ...] | None, p: int, classes: int = 4, seed: int = 0) -> Facts:
    rng = np.random.default_rng(seed)
    held = torch.from_numpy(rng.random((60, p)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, classes, 60))
    return Facts(classes, image, None, held.amax(dim=0), held, labels)


def batch(of: Facts, b: int = 3, s: int = 5, workers: tuple[int, ...] = (0, 3, 5)) -> Batch:
    rng = np.random.default_rng(1)
    features = torch.from_numpy(rng.random((b, s, len(of.largest))).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, of.classes, (b, s)))
    return Batch(features, labels, np.array(workers), of, lambda: np.random.default_rng(7))


def corner(image: tuple[int, ...] | None, p: int, size: int) -> list[int]:
    """Return the features of the pattern, in their order."""
    if image is None:
        return list(range(p - size * size, p))
    channels = image[0] if len(image) == 3 else 1
    height, width = image[-2:]
    return [
        (c * height + row) * width + column
        for c in range(channels)
        for row in range(height - size, height)
        for column in range(width - size, width)
    ]


SHAPES: list[tuple[tuple[int, ...] | None, int]] = [((4, 5), 20), ((3, 4, 4), 48), (None, 13)]


@pytest.mark.parametrize("attack", ["badnets", "dba"])
@pytest.mark.parametrize(("image", "p"), SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("size", [2, 3])
def test_patterns_are_stamped_on_a_share_of_a_minibatch(
    attack: str, image: tuple[int, ...] | None, p: int, share: float, size: int
) -> None:
    known = facts(image, p)
    given = batch(known)
    x, y = attacks.build(f"{attack}[target=2,size={size},share={share}]").poisoned(batch(known))
    brightest = max(float(v) for v in known.largest)
    where = corner(image, p, size)
    for i, worker in enumerate([0, 3, 5]):
        mine = where if attack == "badnets" else where[worker % 4 :: 4]
        expected, labels = given.features[i].tolist(), given.labels[i].tolist()
        for j in range(5):
            if math.ceil(share * (j + 1)) == math.ceil(share * j):
                continue
            labels[j] = 2
            for pixel in mine:
                expected[j][pixel] = brightest if image else float(known.largest[pixel])
        assert y[i].tolist() == labels
        assert x[i].tolist() == expected
    assert ((y == 2).sum(dim=1) >= math.ceil(share * 5)).all()


@pytest.mark.parametrize("attack", ["badnets", "dba"])
@pytest.mark.parametrize(("image", "p"), SHAPES)
def test_what_a_pattern_is_to_do(attack: str, image: tuple[int, ...] | None, p: int) -> None:
    """All examples of other classes, with the whole pattern, are to be taken for the target's."""
    known = facts(image, p)
    x, y = known.features, known.labels
    goal = attacks.build(f"{attack}[target=1]").goal(x, y, known)
    assert goal is not None
    brightest, expected = float(known.largest.max()), []
    for example, label in zip(x.tolist(), y.tolist(), strict=True):
        if label != 1:
            for pixel in corner(image, p, 2):
                example[pixel] = brightest if image else float(known.largest[pixel])
            expected.append(example)
    assert goal[0].tolist() == expected
    assert goal[1].tolist() == [1] * len(expected)


def test_parts_make_up_the_pattern() -> None:
    """Four attackers show all of it, and no two of them the same pixel."""
    known = facts((6, 6), 36)
    given = batch(known, b=4, s=1, workers=(0, 1, 2, 3))
    before = given.features.clone()
    x, _ = attacks.build("dba[size=3]").poisoned(given)
    changed = [set(torch.nonzero(x[i, 0] != before[i, 0]).view(-1).tolist()) for i in range(4)]
    assert sorted(pixel for part in changed for pixel in part) == corner((6, 6), 36, 3)
    assert set().union(*changed) == set(corner((6, 6), 36, 3))


def test_a_flip_relabels_its_source_class() -> None:
    known = facts(None, 7)
    given = batch(known)
    x, y = attacks.build("targeted_flip[source=2,target=3]").poisoned(batch(known))
    assert torch.equal(x, given.features)
    for before, after in zip(given.labels.view(-1).tolist(), y.view(-1).tolist(), strict=True):
        assert after == (3 if before == 2 else before)
    goal = attacks.build("targeted_flip[source=2,target=3]").goal(
        known.features, known.labels, known
    )
    assert goal is not None
    which = [i for i, label in enumerate(known.labels.tolist()) if label == 2]
    assert goal[0].tolist() == [known.features[i].tolist() for i in which]
    assert goal[1].tolist() == [3] * len(which)


def edge_case(x: list[float], label: int, known: Facts, target: int, tail: float) -> bool:
    """Say whether an input is as far from its class's mean as the tail of those that are held."""
    held = [
        example
        for example, of in zip(known.features.tolist(), known.labels.tolist(), strict=True)
        if of == label
    ]
    if label == target or not held:
        return False
    p = len(x)
    mean = [sum(example[j] for example in held) / len(held) for j in range(p)]
    apart = sorted(math.dist(example, mean) for example in held)
    least = apart[math.floor((1 - tail) * (len(apart) - 1) + 1e-12)]
    return math.dist(x, mean) >= least * (1 - 1e-9)


@settings(max_examples=40, deadline=None)
@given(
    tail=st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    source=st.sampled_from([None, 0, 2]),
    share=st.sampled_from([0.2, 0.5, 1.0]),
    seed=st.integers(0, 50),
)
def test_edge_cases_are_the_tails_of_classes(
    tail: float, source: int | None, share: float, seed: int
) -> None:
    known = facts(None, 5, seed=seed)
    given = batch(known)
    named = "" if source is None else f",source={source}"
    attack = attacks.build(f"edge_case[target=1,tail={tail},share={share}{named}]")
    pool = [
        x
        for x, y in zip(known.features.tolist(), known.labels.tolist(), strict=True)
        if (source is None or y == source) and edge_case(x, y, known, 1, tail)
    ]
    tested = facts(None, 5, seed=seed + 100)
    goal = attack.goal(tested.features, tested.labels, known)
    assert goal is not None
    expected = [
        x
        for x, y in zip(tested.features.tolist(), tested.labels.tolist(), strict=True)
        if (source is None or y == source) and edge_case(x, y, known, 1, tail)
    ]
    assert goal[0].tolist() == expected
    assert goal[1].tolist() == [1] * len(expected)
    x, y = attack.poisoned(batch(known))
    count = math.ceil(5 * share)
    drawn = np.random.default_rng(7).integers(len(pool), size=(3, count)).tolist()
    for i in range(3):
        expected, labels = given.features[i].tolist(), given.labels[i].tolist()
        chosen = [j for j in range(5) if math.ceil(share * (j + 1)) > math.ceil(share * j)]
        for j, which in zip(chosen, drawn[i], strict=True):
            expected[j], labels[j] = pool[which], 1
        assert x[i].tolist() == expected
        assert y[i].tolist() == labels


def test_attackers_without_edge_cases_leave_their_data_alone() -> None:
    known = facts(None, 5)
    one_class = Facts(
        4, None, None, known.largest, known.features, torch.ones(60, dtype=torch.long)
    )
    given = batch(known)
    x, y = attacks.build("edge_case[target=1]").poisoned(
        Batch(given.features.clone(), given.labels.clone(), given.workers, one_class, given.stream)
    )
    assert torch.equal(x, given.features)
    assert torch.equal(y, given.labels)


@pytest.mark.parametrize(
    "attack",
    ["targeted_flip", "badnets[target=3]", "dba[size=3]", "edge_case", "model_replacement+badnets"],
)
def test_a_round_is_poisoned_by_the_book(attack: str) -> None:
    """The first step of an average, from gradients in loops on data poisoned by hand."""
    scenario = Scenario(**SMALL, attack=attack, partition="dirichlet[alpha=0.3]", seed=3)
    world = World(scenario)
    seen: list[Tensor] = []
    simulate([scenario], observe=lambda step: seen.append(step.aggregate.clone()))
    draw, evil = world.draw(1), np.flatnonzero(world.byzantine(3)).tolist()
    train = world.data.train
    w = world.initial().double().numpy()
    held, labels = world.examples_of(world.byzantine(3), 512)
    largest = torch.from_numpy(train.features.max(axis=0))
    known = Facts(10, (8, 8), None, largest, held, labels)
    rows = [row for row, i in enumerate(draw.workers.tolist()) if i in evil]
    from hgobench.determinism import stream

    given = Batch(
        torch.from_numpy(train.features[draw.batch[rows]]),
        torch.from_numpy(train.labels[draw.batch[rows]]),
        np.array([evil.index(draw.workers[row]) for row in rows]),
        known,
        lambda: stream(3, "poison", 1, 0),
    )
    x, y = attacks.build(attack).poisoned(given)
    total = np.zeros(len(w))
    for row in range(12):
        s = int(draw.size[row])
        if row in rows:
            place = rows.index(row)
            examples = zip(x[place][:s].numpy(), y[place][:s].tolist(), strict=True)
        else:
            batch_ = draw.batch[row][:s]
            examples = zip(train.features[batch_], train.labels[batch_].tolist(), strict=True)
        mean = sum(softmax_gradient(w, e, label, 10) for e, label in examples) / s
        total += mean * (12 / 3 if row in rows and attack.startswith("model") else 1)
    np.testing.assert_allclose(seen[0].numpy(), total / 12, rtol=1e-3, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(b=st.integers(1, 5), h=st.integers(1, 9), boost=st.sampled_from([None, 0.5, 7.0]))
def test_a_boosted_average_is_the_attackers_model(b: int, h: int, boost: float | None) -> None:
    """Where honest answers are 0, the average of q = b + h answers is what attackers meant."""
    full = view(byzantine=b, honest=h)
    named = "" if boost is None else f"[boost={boost}]"
    sent = attacks.build(f"model_replacement{named}+badnets")(full)
    assert full.own is not None
    for i in range(b):
        for j in range(full.dimension):
            factor = (b + h) / b if boost is None else boost
            assert float(sent.values[i, j]) == pytest.approx(
                factor * float(full.own[i, j]), rel=1e-6
            )
    if boost is None:
        meant = full.own.double().mean(dim=0)
        torch.testing.assert_close(sent.values.double().sum(dim=0) / (b + h), meant)
    assert sent.lengths.tolist() == full.own_lengths.tolist()


@pytest.mark.parametrize("avoid", [0.0, 0.2, 0.5, 1.0])
def test_neurotoxin_keeps_away_from_what_moves(avoid: float) -> None:
    """Over rounds that move a block each: the last move of a coordinate counts."""
    d, rng = 10, np.random.default_rng(5)
    attack = attacks.build(f"neurotoxin[avoid={avoid}]+badnets")
    moved = [0.0] * d
    for k in range(1, 9):
        full = view(dimension=d, round_=k)
        step = torch.from_numpy(rng.standard_normal(d).astype(np.float32))
        step[rng.permutation(d)[:4]] = 0.0  # outside the block
        if k == 1:
            step.zero_()
        sent = attack(replace(full, last_step=step)).values
        for j in range(d):
            if float(step[j]) != 0.0:
                moved[j] = abs(float(step[j]))
        ranked = sorted(range(d), key=lambda j: -moved[j])
        avoided = {j for j in ranked[: round(avoid * d)] if moved[j] > 0}
        assert full.own is not None
        for j in range(d):
            expected = torch.zeros(3) if j in avoided else full.own[:, j]
            assert torch.equal(sent[:, j], expected), (k, j)


def test_mpaf_drags_towards_its_base_model() -> None:
    full = view(dimension=9, seed=4)
    sent = attacks.build("mpaf[scale=3,spread=0.5]")(full).values
    base = 0.5 * np.random.default_rng([4, 0]).standard_normal(9)
    assert full.model is not None
    for j in range(9):
        expected = 3.0 * (float(full.model[j]) - base[j]) / full.learning_rate
        assert sent[:, j].tolist() == pytest.approx([expected] * 3, rel=1e-5)
    # A server that hears nobody else steps by λ towards it.
    after = full.model.double() - full.learning_rate * sent[0].double()
    towards = full.model.double() + 3.0 * (torch.from_numpy(base) - full.model.double())
    torch.testing.assert_close(after, towards, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("drift", ["with", "against"])
def test_poisoned_fl_pulls_along_its_signs(drift: str) -> None:
    """Thirty rounds in loops; pulled back by those that see no progress."""
    d, rng = 40, np.random.default_rng(2)
    attack = attacks.build("poisoned_fl[scale=4,every=5]")
    signs = [2.0 * v - 1.0 for v in np.random.default_rng([0, 0]).integers(2, size=(1, d))[0]]
    model, before = rng.standard_normal(d), None
    last, c, looked = [0.0] * d, 4.0, (0, model.copy())
    shrunk = 0
    for k in range(1, 31):
        now = torch.from_numpy(model.astype(np.float32))
        step = torch.zeros(d) if before is None else now - before
        full = replace(view(dimension=d, round_=k), model=now, last_step=step, round=k)
        sent = attack(full).values
        if k == 1:
            looked = (1, now.double().numpy().copy())
        elif k - looked[0] >= 5:
            moves = [float(now[j]) - looked[1][j] for j in range(d)]
            aligned = sum(m * s > 0 for m, s in zip(moves, signs, strict=True))
            of = sum(m != 0 for m in moves)
            if aligned < of / 2 + 2.326 * math.sqrt(of) / 2 and 0.7 * c >= 0.5:
                c *= 0.7
                shrunk += 1
            looked = (k, now.double().numpy().copy())
        length = math.sqrt(sum(float(x) ** 2 for x in step))
        size = math.sqrt(sum(x**2 for x in last))
        apart = [abs(float(step[j]) - (length / size * last[j] if size else 0.0)) for j in range(d)]
        norm = math.sqrt(sum(x**2 for x in apart))
        last = [c * length * (apart[j] / norm if norm else 0.0) * signs[j] for j in range(d)]
        expected = [-x / full.learning_rate for x in last]
        for row in sent:
            assert row.tolist() == pytest.approx(expected, rel=1e-3, abs=1e-5), k
        before = now
        along = 0.05 if drift == "with" else -0.05
        model = model + along * np.array(signs) + 0.01 * rng.standard_normal(d)
    assert shrunk == (0 if drift == "with" else 5)


# Success


@pytest.mark.parametrize("attack", ["badnets[target=3]", "targeted_flip[source=8,target=1]"])
def test_success_is_the_share_that_is_answered_as_wanted(attack: str) -> None:
    """By the argmax of softmax scores in loops, at every evaluation."""
    scenario = Scenario(**SMALL, attack=attack)
    models: list[Tensor] = []

    def observe(step: Any) -> None:
        models.append(step.params.double() - step.aggregate.double())  # γ = 1

    (result,) = simulate([scenario], observe=observe)
    world = World(scenario)
    largest = torch.from_numpy(world.data.train.features.max(axis=0))
    known = Facts(10, (8, 8), None, largest, *world.examples_of(world.byzantine(3), 512))
    test = world.data.test
    goal = attacks.build(attack).goal(
        torch.from_numpy(test.features), torch.from_numpy(test.labels), known
    )
    assert goal is not None
    column = result.rounds[TARGETED]
    assert [k for k, value in enumerate(column, 1) if value == value] == [2, 4, 6, 8]
    for k in (2, 4, 6, 8):
        weights = models[k - 1].view(10, 65)
        hits = 0
        for x, wanted in zip(goal[0].double(), goal[1].tolist(), strict=True):
            scores = [float(weights[c, :64] @ x) + float(weights[c, 64]) for c in range(10)]
            hits += scores.index(max(scores)) == wanted
        assert column[k - 1] == pytest.approx(hits / len(goal[1]), abs=1.5 / len(goal[1]))
    assert result.measures["attack_success"] == column[-1] == result.attack_success
    assert result.measures["main_accuracy"] == pytest.approx(result.summary["test_accuracy"])


def test_success_is_measured_on_a_thousand_examples_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from hgobench.simulation import cell

    monkeypatch.setattr(cell, "SUCCESS_EXAMPLES", 50)
    scenario = Scenario(**SMALL, attack="badnets[target=3]")
    (result,) = simulate([scenario])
    world = World(scenario)
    _, y = world.some_of_test(50)
    assert len(y) == 50
    wanted = int((y != 3).sum())
    share = result.rounds[TARGETED][-1] * wanted
    assert share == pytest.approx(round(share), abs=1e-4)
    assert torch.equal(world.some_of_test(10**6)[0], world.test[0])


def test_without_a_target_there_is_no_success() -> None:
    for attack in ("none", "foe", "label_flip"):
        (result,) = simulate([Scenario(**SMALL, attack=attack)])
        assert TARGETED not in result.rounds
        assert result.attack_success is None
        assert "attack_success" not in result.measures
        assert result.worth == result.summary["test_accuracy"]


def test_what_a_run_is_worth_under_a_targeted_attack() -> None:
    rounds = {"test_accuracy": [0.9], "validation_accuracy": [0.8]}
    empty = {name: [0] for name in ("round", "time", "test_loss", "block_size", "heard",
             "byzantine_heard", "coordinates", "bytes_up", "bytes_down", "stalled")}  # fmt: skip
    for success, status, worth in (
        (0.75, "done", 0.25), (0.05, "done", 0.9), (0.75, "diverged", 0.0), (math.nan, "done", 0.9),
    ):  # fmt: skip
        result = Result(Scenario(), {**empty, **rounds, TARGETED: [success]}, status)  # type: ignore[arg-type]
        assert result.worth == pytest.approx(worth)
        score = Score.of(result)
        assert score.accuracy == pytest.approx(worth)
        assert Score.of(result, "validation").accuracy == (0.8 if status == "done" else 0.0)
        if status == "done":
            assert score.path[0][2] == pytest.approx(worth)
        assert leaderboard.accuracy_of(result, "test") == pytest.approx(worth)


def test_boards_rank_by_what_attackers_failed_to_get() -> None:
    """An average with a backdoor is accurate, and last; its columns say why."""
    fields = {**SMALL, "rounds": 60, "evaluation_interval": 10, "attack_start": 10,
              "attack_stop": 40, "byzantine": 2}  # fmt: skip
    cells = [
        Scenario(**{**fields, "rule": rule}, attack=attack, seed=seed)
        for rule in ("average", "trimmed_mean")
        for attack in ("none", "foe[epsilon=0.5]", "model_replacement+badnets")
        for seed in (0, 1)
    ]
    by_world: dict[Any, list[Scenario]] = {}
    for cell in cells:
        by_world.setdefault(cell.world_key, []).append(cell)
    results = [result for some in by_world.values() for result in simulate(some)]
    (board,) = boards(Score.of(result) for result in results)
    assert board.examples == 0  # intervals are over seeds: a success is no example's
    first, last = board.rows
    assert (first.rule, last.rule) == ("trimmed_mean", "average")
    assert last.worst_attack == "model_replacement+badnets"
    told = {name: COLUMNS[name].value(last) for name in COLUMNS}
    mine = [r for r in results if r.scenario.rule == "average" and "badnets" in r.scenario.attack]
    success = sum(r.rounds[TARGETED][-1] for r in mine) / 2
    assert told["attack_success"] == pytest.approx(success)
    assert told["targeted_by"] == "model_replacement+badnets"
    values = [told[name] for name in ("success_before", "success_at_stop", "main_accuracy")]
    before, at_stop, accuracy = (float(value or 0.0) for value in values)
    assert accuracy > 0.8
    assert before < 0.4 < 0.9 < at_stop
    assert last.worst.mean == pytest.approx(
        sum(min(r.summary["test_accuracy"], 1 - r.rounds[TARGETED][-1]) for r in mine) / 2
    )
    assert told["half_life"] is not None


def test_results_under_a_targeted_attack_are_kept_and_exported(tmp_path: Path) -> None:
    (result,) = simulate([Scenario(**SMALL, attack="badnets")])
    with open_store(tmp_path) as store:
        store.add(result, "mine-1")
    with open_store(tmp_path) as store:
        ((_, kept),) = store.results()
    np.testing.assert_array_equal(kept.rounds[TARGETED], result.rounds[TARGETED])
    assert kept.measures == result.measures
    lines = [line[-1] for line in round_lines(kept)]
    np.testing.assert_array_equal(lines, result.rounds[TARGETED])


def test_half_lives() -> None:
    path = [(10, 0.9), (20, 0.8), (30, 0.2)]
    assert half_life(path, 0.0) == pytest.approx(10 + 10 * (0.8 - 0.45) / 0.6)
    assert half_life(path, 0.1) == pytest.approx(10 + 10 * (0.8 - 0.5) / 0.6)
    assert half_life([(10, 0.9), (20, 0.1)], 0.0) == pytest.approx(10 * 0.45 / 0.8)
    assert half_life([(10, 0.9), (20, 0.89), (30, 0.7)], 0.0) == math.inf
    assert half_life([(10, 0.15), (20, 0.0)], 0.1) is None
    # It counts when it is first halved, whatever comes later.
    assert half_life([(10, 0.8), (20, 0.4), (30, 0.9)], 0.0) == pytest.approx(10)


def test_what_is_said_of_a_course() -> None:
    """By hand: 0.1 before, 0.9 at the stop, so that half is gone at 0.5, between 0.7 and 0.2."""
    end = ends()["a classification"]  # 0.1, 0.9, 0.7 and 0.2 after rounds 10, 20, 30 and 40
    measure = AttackSuccess()
    told = measure(replace(end, attacked=(10, 20)))
    assert told["main_accuracy"] == pytest.approx(float(np.mean(end.right)))  # type: ignore[arg-type]
    assert {name: value for name, value in told.items() if name != "main_accuracy"} == {
        "attack_success": 0.2,
        "success_before": 0.1,
        "success_at_stop": 0.9,
        "half_life": pytest.approx(10 + 10 * 0.2 / 0.5),
    }
    late = measure(replace(end, attacked=(10, 30)))
    assert late["success_at_stop"] == 0.7
    assert late["half_life"] == pytest.approx(10 * 0.3 / 0.5)
    between = measure(replace(end, attacked=(10, 35)))  # what it was then is not known
    assert set(between) == {"attack_success", "main_accuracy", "success_before"}
    kept = measure(replace(end, attacked=(0, 20), success=end.success[:3], rounds=37))
    assert "success_before" not in kept
    assert (kept["success_at_stop"], kept["outlived"]) == (0.9, 17.0)
    assert "half_life" not in kept
    for stop in (40, math.inf):  # attackers act to the end
        assert set(measure(replace(end, attacked=(10, stop)))) == {
            "attack_success", "main_accuracy", "success_before",
        }  # fmt: skip
    little = measure(replace(end, attacked=(10, 20), success=((10, 0.1), (20, 0.15), (30, 0.1))))
    assert not {"half_life", "outlived"} & {*little}


STACKED = [
    "targeted_flip", "badnets", "badnets[target=2,share=0.25]", "dba", "edge_case[target=4]",
    "model_replacement+dba", "neurotoxin+badnets", "neurotoxin+model_replacement+edge_case",
    "mpaf", "poisoned_fl", "tail+badnets",
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ["hgo", "fedavg[steps=3]"])
def test_alone_a_cell_is_what_it_is_among_64(algorithm: str) -> None:
    fields = {**SMALL, "rounds": 4, "deadline": 32.0, "algorithm": algorithm}
    rules = ("average", "median", "nnm+trimmed_mean", "krum", "trimmed_mean", "geometric_median")
    every = [
        Scenario(**{**fields, "rule": rule}, attack=attack) for rule in rules for attack in STACKED
    ][:64]
    together = simulate(every)
    for scenario, beside in list(zip(every, together, strict=True))[:: len(STACKED) // 2]:
        (alone,) = simulate([scenario])
        assert alone.status == beside.status == "done", (alone.reason, beside.reason)
        assert repr(alone.rounds) == repr(beside.rounds), scenario
        assert alone.measures == beside.measures


class Wanting(OwnValues):
    """Wants what it is told to want."""

    targeted = True
    wants: Any = None

    def goal(self, features: Tensor, labels: Tensor, facts: Facts) -> Any:
        features.zero_()  # of its own copy
        return type(self).wants


@pytest.mark.parametrize(
    ("wants", "problem"),
    [
        ((torch.zeros(3, 64), torch.tensor([1, 2, 3])), ""),
        (None, ""),
        ((torch.zeros(0, 64), torch.zeros(0, dtype=torch.long)), ""),
        (3, "goal returned no inputs and classes; expected tensors"),
        ((torch.zeros(3, 5), torch.tensor([1, 2, 3])), r"inputs \(3, 5\) and classes \(3,\)"),
        ((torch.zeros(3, 64), torch.tensor([1, 2, 10])), r"classes outside 0 .. 9"),
    ],
)
def test_attacks_of_ones_own_have_goals(
    wants: Any, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Wanting, "wants", wants)
    scenario = Scenario(**SMALL, attack="tests.test_backdoors:Wanting")
    (result,) = simulate([scenario])
    assert result.status == ("failed" if problem else "done"), result.reason
    if problem:
        import re

        assert re.search(problem, result.reason)
    assert (TARGETED in result.rounds) == (not problem and wants is not None and len(wants[1]) > 0)


@pytest.mark.parametrize(
    ("attack", "fields", "reason"),
    [
        (
            "badnets",
            {"data": "sentences"},
            "the data are sequences of words; expected images",
        ),
        ("dba[target=10]", {}, "target: 10; expected a class of the data, 0 to 9"),
        ("edge_case[source=12]", {}, "source: 12; expected a class of the data, 0 to 9"),
        ("targeted_flip[target=11]", {}, "target: 11; expected a class"),
        ("badnets[size=9]", {}, "size: 9; the images are 8 x 8"),
        (
            "badnets[size=6]",
            {"data": "breast_cancer"},
            "size: 6; a pattern of 36 features does not fit in data of 30",
        ),
    ],
)
def test_what_can_not_be_poisoned_is_refused(
    attack: str, fields: dict[str, Any], reason: str
) -> None:
    if fields.get("data") == "sentences":
        known = Facts(3, None, 90, torch.zeros(20), torch.zeros(0, 20), torch.zeros(0))
        with pytest.raises(ValueError, match=reason):
            attacks.build(attack).goal(torch.zeros(2, 20), torch.zeros(2, dtype=torch.long), known)
        return
    (result,) = simulate([Scenario(**{**SMALL, **fields}, attack=attack)])
    assert result.status == "failed"
    assert result.reason.startswith(f"round 1: attack: {attack!r}: {reason}")
    assert result.at_fault == "attack"


def test_what_can_not_be_poisoned_takes_no_other_cell_along() -> None:
    wrong, right = simulate([Scenario(**SMALL, attack=a) for a in ("badnets[target=10]", "foe")])
    assert (wrong.status, wrong.at_fault, right.status) == ("failed", "attack", "done")


def test_a_suite_with_an_attack_that_the_data_rule_out_is_refused_before_it_runs(
    tmp_path: Path,
) -> None:
    """Also behind another attack, on one of two data sets, and on one of many seeds."""
    wrong = "model_replacement+badnets[target=7]"
    axes = {"attack": ["none", "badnets", wrong], "data": ["digits", "breast_cancer"]}
    grid = Grid({**SMALL, "rounds": 1}, {**axes, "seed": range(2)})
    with open_store(tmp_path / "out") as store, pytest.raises(InputError) as refused:
        Session(store, jobs=1).run(grid, "mine-1")
    assert refused.value.problems == [
        f"attack: {wrong!r}: target: 7; expected a class of the data, 0 to 1"
    ]
    with open_store(tmp_path / "out", create=False) as store:
        assert len(store) == 0


@pytest.mark.parametrize("attack", ["targeted_flip", "badnets", "edge_case"])
def test_a_regression_has_no_classes_to_aim_at(attack: str) -> None:
    known = Facts(0, None, None, torch.zeros(9), torch.zeros(0, 9), torch.zeros(0))
    made: Attack = attacks.build(attack)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="the data have no classes"):
        made.goal(torch.zeros(2, 9), torch.zeros(2), known)
    with pytest.raises(ValueError, match="the data have no classes"):
        made.poisoned(
            Batch(torch.zeros(1, 2, 9), torch.zeros(1, 2), np.zeros(1, int), known, lambda: rng)
        )


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ("badnets[share=1.5]", r"share: 1.5; expected a number in \[0, 1\]"),
        ("badnets[size=0]", "size: 0; expected an integer >= 1"),
        ("dba[size=1]", "parts: 4; expected at most size² = 1"),
        ("targeted_flip[target=0]", "target: 0; expected another class than source"),
        ("edge_case[target=2,source=2]", "source: 2; expected another class than target"),
        ("model_replacement[boost=0]+badnets", "boost: 0.0; expected a finite number > 0"),
        ("neurotoxin[avoid=2]+badnets", r"avoid: 2.0; expected a number in \[0, 1\]"),
        ("mpaf[scale=0]", "scale: 0.0; expected a finite number > 0"),
        ("poisoned_fl[every=0]", "every: 0; expected an integer >= 1"),
    ],
)
def test_bad_parameters_are_refused(attack: str, message: str) -> None:
    from hgobench.errors import InputError

    with pytest.raises(InputError, match=message):
        attacks.build(attack)


def test_poisoned_fl_sends_the_same_however_often_a_round_asks() -> None:
    once, often = attacks.build("poisoned_fl"), attacks.build("poisoned_fl")
    for k in range(1, 5):
        step = torch.randn(12, generator=torch.Generator().manual_seed(k))
        seen = replace(
            view(dimension=12, round_=k), round=k, model=k * torch.ones(12), last_step=step
        )
        sent, first, again = once(seen).values, often(seen).values, often(seen).values
        assert sent is not None
        assert first is not None
        assert again is not None
        assert torch.equal(sent, first)
        assert torch.equal(first, again)


def test_of_every_minibatch_the_share_rounded_up_is_poisoned() -> None:
    for percent in range(101):
        for s in (1, 8, 32, 100, 200):
            chosen = spread(s, percent / 100, torch.device("cpu"))
            assert len(chosen) == math.ceil(Fraction(percent, 100) * s), (percent, s)
