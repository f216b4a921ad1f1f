"""Algorithm 1 of the HGO paper, as literally as possible: sets, dictionaries, loops, float64.

It takes a world's draws (who is sampled, which examples, which order) and nothing else from the
code under test.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

from hgobench import Scenario, World
from hgobench.simulation.world import Draw
from tests.oracles import STATEFUL, coordinate_rule, fltrust, mean, vector_rule, zeno

Partial = dict[int, float]  # V_i: coordinate -> partial derivative


def softmax_gradient(w: np.ndarray, x: np.ndarray, label: int, classes: int) -> np.ndarray:
    """Return ∇ℓ(w, (x, label)) of softmax regression; w holds a row (weights, bias) per class."""
    extended = np.append(x.astype(np.float64), 1.0)
    scores = [sum(w[c * len(extended) + j] * extended[j] for j in range(len(extended)))
              for c in range(classes)]  # fmt: skip
    top = max(scores)
    total = sum(math.exp(score - top) for score in scores)
    chance = [math.exp(score - top) / total for score in scores]
    return np.concatenate([(chance[c] - (c == label)) * extended for c in range(classes)])


def places_of(scenario: Scenario, d: int, classes: int) -> list[list[int]]:
    """Return the coordinates of each place: one each, or all weights that leave a feature."""
    if scenario.granularity == "scalar":
        return [[j] for j in range(d)]
    inputs = d // classes
    return [[c * inputs + j for c in range(classes)] for j in range(inputs)]


def split(policy: str, work: float, d: int, held: int, s: int) -> tuple[float, int]:
    """Return how many coordinates of how many examples a worker of λτ = work does."""
    if policy == "coordinates_first":
        if work >= d:
            return d, (held if math.isinf(work) else min(int(work / d), held))
        return int(work), 1
    if policy == "data_first":
        if work >= held:
            return (d if math.isinf(work) else min(int(work / held), d)), held
        return 1, int(work)
    if policy.startswith("hybrid"):
        rho = float(policy.rstrip("]").partition("rho=")[2] or 0.5)
        least = min(1 / (1 + work / held**2), work / (d * held))
        if rho < least:
            rho = math.ceil(1000 * least) / 1000
        if rho >= 0.999:
            rho = 0.998
        b = int(min(math.sqrt(rho * work / (1 - rho)), d * rho))
        return b, (int(min(work / b, held)) if b else 0)
    return math.inf, min(held, s)


def budget_of(scenario: Scenario, world: World, i: int, size: int) -> float:
    """Return the most coordinates that worker i's workload lets it compute; check the size."""
    d, held = world.model.dimension, len(world.shards[i])
    work = float(world.rates[i]) * scenario.deadline
    b, s = split(scenario.workload, work, d, held, scenario.batch_size)
    if b < 1 or s < 1:
        return 0.0
    assert s == size
    return b


def attacked(scenario: Scenario, k: int) -> bool:
    """Go through the bursts one by one."""
    first: float = scenario.attack_start + 1
    while first <= k:
        last = first + scenario.attack_period - 1
        if k <= last:
            return k <= scenario.attack_stop
        first = last + 1 + scenario.attack_period
    return False


def honest_length(
    scenario: Scenario, world: World, i: int, s: int, order: list[list[int]], k: int
) -> int:
    """Return how many places worker i finishes, and has sent if that counts, by τ."""
    fleet, d = world.fleet, world.model.dimension
    most = budget_of(scenario, world, i, s)
    present = fleet.available(k)
    if present is not None and not present[i]:
        return 0
    clock, upload = 0.0, 0.0
    if fleet.transfer_counts_towards_deadline:
        clock = 2 * float(fleet.latency[i]) + 4 * d / float(fleet.downlink[i])
        upload = 4 / float(fleet.uplink[i])
    each = s / float(world.rates[i])  # time for a coordinate of the minibatch gradient
    if scenario.algorithm.startswith("sgd"):
        whole = clock + d * (each + upload)
        return len(order) if whole <= scenario.deadline and most >= d else 0
    done, units = 0, 0
    for place in order:
        cost = len(place) if scenario.cost == "scalar" else 1
        clock += cost * each + len(place) * upload
        units += cost
        if clock > scenario.deadline * (1 + 1e-12) or units > most:
            break
        done += 1
    return done


def cut_off(scenario: Scenario, world: World, i: int, s: int, k: int) -> int:
    """Return how many coordinates worker i has computed at τ, sent or not."""
    fleet, d = world.fleet, world.model.dimension
    present = fleet.available(k)
    if present is not None and not present[i]:
        return 0
    time = scenario.deadline
    if fleet.transfer_counts_towards_deadline:
        time -= 2 * float(fleet.latency[i]) + 4 * d / float(fleet.downlink[i])
    return int(min(time * float(world.rates[i]) / s, d, budget_of(scenario, world, i, s)))


def message(attack: str, own: np.ndarray, honest: list[Partial], j: int) -> float:
    """Return what a Byzantine worker sends for coordinate j."""
    values = [sent[j] for sent in honest if j in sent]
    mean = sum(values) / len(values) if values else 0.0
    if attack in ("foe", "starve+foe"):
        return -10 * mean
    if attack == "alie[z=1.5]":
        spread = sum((v - mean) ** 2 for v in values) / len(values) if values else 0.0
        return mean - 1.5 * math.sqrt(spread)
    if attack == "sign_flip":
        return -float(own[j])
    return 0.0  # crash[send=zeros]


def train(scenario: Scenario) -> dict[str, list[Any]]:
    """Run it and return the per-round columns that the simulation must show too."""
    world = World(scenario)
    x, y, classes = world.data.train.features, world.data.train.labels, world.data.classes
    w = world.initial().numpy().astype(np.float64)
    d = len(w)
    byzantine = set(np.flatnonzero(world.byzantine(scenario.byzantine)))
    table: dict[str, list[Any]] = {
        name: [] for name in ("block_size", "heard", "byzantine_heard", "stalled", "test_loss")
    }
    table |= {"bytes_up": [], "coordinates": [], "time": []}
    remembering: Any = None
    if scenario.rule in STATEFUL:
        bound = {"tau": d**-0.5} if scenario.rule == "centered_clipping" else {}
        scalar = scenario.scope == "coordinate"
        remembering = STATEFUL[scenario.rule](scenario.tolerated or 0, **(bound if scalar else {}))
    beta = float(scenario.algorithm.rstrip("]").partition("momentum=")[2] or 0)
    momentum: dict[tuple[int, int], float] = {}  # (worker, coordinate) -> m
    chosen = np.random.default_rng([scenario.seed, crc32(b"root")]).permutation(len(y))[:100]
    root = x[chosen], y[chosen]
    for k in range(1, scenario.rounds + 1):
        draw = world.draw(k)
        places = places_of(scenario, d, classes)
        order = [places[p] for p in world.order(k, len(places))]  # C_k
        sampled = [int(i) for i in draw.workers]
        sizes = [int(s) for s in draw.size]
        lengths = [
            honest_length(scenario, world, i, s, order, k)
            for i, s in zip(sampled, sizes, strict=True)
        ]
        computed = [
            cut_off(scenario, world, i, s, k)
            if scenario.algorithm.startswith("sgd") and scenario.deadline < math.inf
            else sum(len(place) for place in order[:length])
            for i, s, length in zip(sampled, sizes, lengths, strict=True)
        ]
        gradients = []  # G_i(w_k), whole
        for who, row, s in zip(sampled, draw.batch, sizes, strict=True):
            flips = who in byzantine and scenario.attack == "label_flip"
            label = {e: classes - 1 - int(y[e]) if flips else int(y[e]) for e in row[:s]}
            parts = [softmax_gradient(w, x[e], label[e], classes) for e in row[:s]]
            gradients.append(sum(parts, start=np.zeros(d)) / s)
        for who, g, length in zip(sampled, gradients, lengths, strict=True):
            before = dict(momentum)
            for j in range(d):
                if beta and (who, j) in before:
                    g[j] = beta * before[who, j] + (1 - beta) * g[j]
            momentum |= {(who, j): float(g[j]) for place in order[:length] for j in place}
        sent: list[Partial] = [
            {j: float(gradients[i][j]) for place in order[: lengths[i]] for j in place}
            for i in range(len(sampled))
        ]
        if attacked(scenario, k) and scenario.attack not in ("none", "label_flip"):
            honest = [sent[i] for i, who in enumerate(sampled) if who not in byzantine]
            longest = max([lengths[i] for i, w_ in enumerate(sampled) if w_ not in byzantine])
            for i, who in enumerate(sampled):
                if who in byzantine:
                    finished = lengths[i]
                    lengths[i] = {"crash": 0, "starve+foe": 1}.get(scenario.attack, longest)
                    if scenario.lies_about_speed == "no":
                        lengths[i] = min(lengths[i], finished)
                    sent[i] = {
                        j: message(scenario.attack, gradients[i], honest, j)
                        for place in order[: lengths[i]]
                        for j in place
                    }
        ranked = sorted(lengths, reverse=True)  # R
        b_v = ranked[(scenario.quorum or 0) - 1]
        block = [j for place in order[:b_v] for j in place]  # B_k
        aggregate = np.zeros(d)
        f_hat = scenario.tolerated or 0

        told = partial(
            answered, scenario, remembering, byzantine, sampled, sent, w, block, root, classes
        )
        if scenario.scope == "block" and block:
            whole = [i for i, sent_i in enumerate(sent) if all(j in sent_i for j in block)]
            aggregate[block] = told(whole, block, block)
        elif scenario.scope == "staircase":
            ends = sorted({min(length, b_v) for length in lengths if length}, reverse=True)
            for end, start in zip(ends, [*ends[1:], 0], strict=True):
                first = [j for place in order[:end] for j in place]
                step = [j for place in order[start:end] for j in place]
                far = [i for i, length in enumerate(lengths) if length >= end]
                found = dict(zip(first, told(far, first, step), strict=True))
                aggregate[step] = [found[j] for j in step]
        else:
            for j in block:
                arrived = [sent_i[j] for sent_i in sent if j in sent_i]  # Q_j
                if scenario.rule == "centered_clipping":
                    aggregate[j] = remembering([np.array([x]) for x in arrived], [j])[0]
                elif scenario.rule == "oracle":
                    known = [
                        sent_i[j]
                        for who, sent_i in zip(sampled, sent, strict=True)
                        if who not in byzantine and j in sent_i
                    ]
                    aggregate[j] = sum(known) / len(known) if known else 0.0
                else:
                    aggregate[j] = coordinate_rule(scenario.rule, arrived, f_hat)
        if block:
            w = w - gamma(scenario, len(block), d) * aggregate
        heard = [i for i in range(len(sampled)) if lengths[i] > 0]
        table["block_size"].append(len(block))
        table["heard"].append(len(heard))
        table["byzantine_heard"].append(sum(sampled[i] in byzantine for i in heard))
        table["stalled"].append(not block)
        table["bytes_up"].append(4 * sum(map(len, sent)))
        table["coordinates"].append(sum(computed))
        sizes_sent = [len(sent_i) for sent_i in sent]
        took = duration(scenario, world, draw, heard, d, sizes_sent)
        table["time"].append(sum(table["time"][-1:]) + took)
        table["test_loss"].append(loss(w, world, classes))
    return table


def answered(
    scenario: Scenario,
    remembering: Any,
    byzantine: set[Any],
    sampled: list[int],
    sent: list[Partial],
    w: np.ndarray,
    block: list[int],
    root: tuple[np.ndarray, np.ndarray],
    classes: int,
    senders: list[int],
    on: list[int],
    kept: list[int],
) -> np.ndarray:
    """Return what the vectors of some senders on some coordinates come to."""
    vectors = [np.array([sent[i][j] for j in on]) for i in senders]
    workers = [sampled[i] for i in senders]
    f_hat = scenario.tolerated or 0
    if scenario.rule == "fltrust":
        return fltrust(vectors, f_hat, root=root_gradient(w, root, classes)[on])
    if scenario.rule == "zeno":
        losses = partial(decrease, scenario, w, on, root, classes)
        return zeno(vectors, f_hat, descent=losses, rate=gamma(scenario, len(block), len(w)))
    if scenario.rule == "oracle":
        own = [v for v, who in zip(vectors, workers, strict=True) if who not in byzantine]
        return mean(own) if own else np.zeros(len(on))
    if scenario.rule == "foolsgold":
        return np.asarray(remembering(vectors, workers, on, kept))
    if scenario.rule == "centered_clipping":
        return np.asarray(remembering(vectors, on, kept))
    if scenario.rule == "clipped_clustering":
        return np.asarray(remembering(vectors))
    return vector_rule(scenario.rule, vectors, f_hat)


def duration(
    scenario: Scenario, world: World, draw: Draw, heard: list[int], d: int, sent: list[int]
) -> float:
    """Return the round's time: τ, or s_i·d/λ_i of the slowest that answers; and transfer."""
    fleet = world.fleet
    transfer = {
        i: 2 * float(fleet.latency[who])
        + 4 * d / float(fleet.downlink[who])
        + 4 * sent[i] / float(fleet.uplink[who])
        for i, who in enumerate(draw.workers)
    }
    if scenario.deadline < math.inf:
        late = (
            0.0
            if fleet.transfer_counts_towards_deadline
            else max((transfer[i] for i in heard), default=0.0)
        )
        return scenario.deadline + late
    cost = (
        d
        if scenario.cost == "scalar" or scenario.granularity == "scalar"
        else d // world.data.classes
    )
    if scenario.algorithm.startswith("sgd"):
        cost = d
    return max(
        (
            int(draw.size[i])
            * min(cost, budget_of(scenario, world, draw.workers[i], int(draw.size[i])))
            / float(world.rates[draw.workers[i]])
            + transfer[i]
            for i in heard
        ),
        default=0.0,
    )


def loss(w: np.ndarray, world: World, classes: int) -> float:
    return loss_on(w, world.data.test.features, world.data.test.labels, classes)


def gamma(scenario: Scenario, block: int, d: int) -> float:
    scale = math.sqrt(d / block) if scenario.schedule == "inverse_sqrt_block" else 1.0
    return scenario.learning_rate * scale


def decrease(
    scenario: Scenario,
    w: np.ndarray,
    block: list[int],
    root: tuple[Any, Any],
    classes: int,
    update: np.ndarray,
) -> float:
    stepped = w.copy()
    stepped[block] -= gamma(scenario, len(block), len(w)) * update
    return loss_on(w, *root, classes) - loss_on(stepped, *root, classes)


def root_gradient(w: np.ndarray, root: tuple[Any, Any], classes: int) -> np.ndarray:
    x, y = root
    parts = [softmax_gradient(w, x[e], int(y[e]), classes) for e in range(len(y))]
    return sum(parts, start=np.zeros(len(w))) / len(y)


def loss_on(w: np.ndarray, features: Any, labels: Any, classes: int) -> float:
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels)
    scores = np.hstack([x, np.ones((len(x), 1))]) @ w.reshape(classes, -1).T
    scores -= scores.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(y)), y]))
