"""κ of (f, κ)-robust averaging: what is proven of a rule, and the largest that a search reaches.

A rule F is (f, κ)-robust averaging if for every n vectors and every S of n - f of them

    ‖F(x) - x̄_S‖² <= κ · 1/|S| Σ_{i ∈ S} ‖x_i - x̄_S‖²

(Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, "Fixing by Mixing: A Recipe for Optimal
Byzantine ML under Heterogeneity", AISTATS 2023). What a search finds is a lower bound of the least;
`hgobench.aggregators.averaging` has the proofs of upper bounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgobench import aggregators, attacks
from hgobench.aggregators import Rule, RuleError, Scope
from hgobench.aggregators.averaging import lower_bound
from hgobench.attacks import Attack, Message, View
from hgobench.attacks.adaptive import Adaptive
from hgobench.attacks.base import Outcome
from hgobench.attacks.search import log_grid
from hgobench.determinism import one_thread, stream
from hgobench.errors import InputError
from hgobench.lazy import torch
from hgobench.scenario import Scenario
from hgobench.simulation import Step, simulate
from hgobench.simulation.world import World

from .robustness import UNBOUNDED, answer_of

Floats = NDArray[np.float64]
FAR = 1e6
ROUNDING = 1e-12  # of the largest entry: what is nearer to the mean is the mean
PROVEN = 1e-6  # of κ: a search that ends this near above it has reached it
DIMENSIONS = (1, 2, 3, 8)
DIRECTED = 12  # attackers that are tried with each honest sample of vectors
FAMILIES = 2  # honest samples that the attacks of the registry are tried on
# Attacks besides those of the registry with their default parameters.
VARIANTS = (
    "alie[z=1.5]", "alie[z=3.0,signs=plus]", "alie[z=1.5,signs=random]", "foe[epsilon=0.1]",
    "foe[epsilon=0.5]", "foe[epsilon=2.0]", "foe[epsilon=100.0]", "mimic[warmup=0]",
)  # fmt: skip


class Published(NamedTuple):
    """A κ that a paper states, and of what it speaks where that is not the rule as it is here."""

    kappa: Callable[[int, int], float]
    formula: str
    of: str = ""


PUBLISHED: Mapping[str, Published] = {
    "trimmed_mean": Published(
        lambda n, f: 6.0 * lower_bound(n, f) * (1.0 + lower_bound(n, f)),
        "6f/(n - 2f)·(1 + f/(n - 2f))",
    ),
    "median": Published(
        lambda n, f: 4.0 * (1.0 + lower_bound(n, f)) ** 2, "4(1 + f/(n - 2f))²"
    ),
    "geometric_median": Published(
        lambda n, f: 4.0 * (1.0 + lower_bound(n, f)) ** 2, "4(1 + f/(n - 2f))²"
    ),
    "krum": Published(
        lambda n, f: 6.0 * (1.0 + lower_bound(n, f)),
        "6(1 + f/(n - 2f))",
        "scores of n - f vectors, the own among them; here one less",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class WorstAverage:
    """The inputs with the largest ‖F(x) - x̄_S‖² over the variance of S that a search found.

    Attributes:
        ratio: a lower bound of κ; inf: more than 10⁶, growing with what attackers send, or the
            vectors of S are all alike and the answer is another.
        honest: (n - f, d) S.
        byzantine: (f, d) the others.
        answer: (d,) F(x).
        how: where the search began.
        tried: how many inputs.

    Example:
        >>> worst = search_kappa("trimmed_mean", 10, 2, generations=0)
        >>> worst.honest.shape, worst.byzantine.shape
        ((8, 1), (2, 1))
    """

    ratio: float
    honest: Floats
    byzantine: Floats
    answer: Floats
    how: str
    tried: int


def built(rule: str, n: int, f: int, scope: Scope | None = None) -> Rule:
    """Return a rule, told f, of which a κ for n vectors can be asked.

    Raises:
        InputError: it is unknown, refuses n vectors, remembers or is told what vectors don't tell,
            so that its κ is undefined.
    """
    made = aggregators.build(rule, f=f, scope=scope)
    if made.needs:
        raise InputError(f"rule: {rule!r} needs {', '.join(sorted(made.needs))}; κ is undefined")
    if made.stateful:
        raise InputError(f"rule: {rule!r} remembers earlier rounds; κ is undefined")
    if not made.minimum <= n <= made.maximum or n <= 2 * f:
        raise InputError(f"rule: {rule!r} takes no n={n} vectors at f={f}")
    return made


def proven_kappa(rule: str, n: int, f: int, scope: Scope | None = None) -> float | None:
    """Return the κ that is proven of a rule; inf: it has none; None: nothing is proven.

    Args:
        rule: its name, with pre-rules before it.
        n: how many complete vectors.
        f: how many Byzantine workers the rule is told to tolerate.
        scope: of the rule; None: the rule's own.

    Raises:
        InputError: κ is undefined (see `built`).

    Example:
        >>> proven_kappa("trimmed_mean", 20, 4)
        0.3333333333333333
        >>> proven_kappa("nnm+trimmed_mean", 20, 4)
        2.6666666666666665
    """
    return built(rule, n, f, scope).proven_kappa(n)


def contradicts(reached: float, proven: float) -> bool:
    """Say whether a ratio that a search has reached is above a proven κ, by more than rounding.

    Example:
        >>> contradicts(0.5 + 1e-12, 0.5), contradicts(0.51, 0.5)
        (False, True)
    """
    return reached > proven * (1.0 + PROVEN) + 1e-9


def ratio(answer: Floats, honest: Floats) -> float:
    """Return ‖answer - x̄_S‖² over the variance 1/|S| Σ ‖x_i - x̄_S‖².

    Args:
        answer: (d,).
        honest: (|S|, d).

    Returns:
        inf where all x_i are equal and the answer is another; 0 where it is x̄_S.

    Example:
        >>> round(ratio(np.array([2.0]), np.array([[0.0], [2.0]])), 9)
        1.0
    """
    return float(_ratios(answer[None], honest[None], honest[None])[0])


def _ratios(answers: Floats, honest: Floats, everyone: Floats) -> Floats:
    """Return the ratios (N,) of answers (N, d) about (N, h, d); -1 where there is no answer."""
    mean = honest.mean(axis=1)
    variance = np.square(honest - mean[:, None]).sum(axis=2).mean(axis=1)
    wrong = np.sqrt(np.square(answers - mean).sum(axis=1))
    wrong = np.maximum(wrong - ROUNDING * np.abs(everyone).max(axis=(1, 2)), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.square(wrong) / variance
    found = np.where(wrong == 0.0, 0.0, found)
    unbounded = np.where(found > UNBOUNDED, math.inf, found)
    return np.where(np.isnan(answers).any(axis=1), -1.0, unbounded)


@dataclass
class _Search:
    """What was tried of a rule: samples (n, d), the first f of them attackers'."""

    rule: Rule
    n: int
    tried: int = 0

    @property
    def f(self) -> int:
        return self.rule.f

    @property
    def by_columns(self) -> bool:
        """Whether each coordinate is aggregated by itself: one dimension then says all."""
        return self.rule.scope == "coordinate" or self.rule.by_columns()

    def answers(self, samples: Sequence[Floats]) -> Floats:
        """Return the answers (N, d); NaN where the rule refuses."""
        self.tried += len(samples)
        if self.by_columns:  # all samples as columns of one
            wide = np.concatenate(list(samples), axis=1)
            return answer_of(self.rule, wide).reshape(len(samples), -1)
        return np.array([answer_of(self.rule, sample) for sample in samples])

    def ratios(self, samples: Sequence[Floats]) -> list[float]:
        """Return the ratio of every sample."""
        values = [0.0] * len(samples)
        for d in {sample.shape[1] for sample in samples}:
            at = [i for i, sample in enumerate(samples) if sample.shape[1] == d]
            some = [samples[i] for i in at]
            stacked = np.array(some)
            found = _ratios(self.answers(some), stacked[:, self.f :], stacked)
            for i, value in zip(at, found.tolist(), strict=True):
                values[i] = value
        return values


class _Tried(NamedTuple):
    value: float
    sample: Floats
    how: str


def search_kappa(
    rule: str,
    n: int,
    f: int,
    *,
    scope: Scope | None = None,
    seed: int = 0,
    generations: int = 40,
) -> WorstAverage:
    """Search n - f honest vectors and f of attackers with the largest ratio of the definition.

    A rule that treats each coordinate by itself has the κ of one dimension, and is asked there;
    others in 1, 2, 3 and 8 dimensions. The search starts at honest vectors in two or three points,
    with one outlier, in clusters at a simplex, along axes, spread out evenly and at random, crossed
    with attackers near, far, like the honest, or split up; and at what every omniscient attack of
    the registry sends against the worst of them. The best are then changed vector by vector, in
    groups of equal ones, along an axis or towards each other, and kept where that raises the ratio.

    Args:
        rule: its name, with pre-rules before it.
        n: how many vectors.
        f: how many of them are the attackers', as many as the rule is told.
        scope: of the rule; None: its own.
        seed: of the search.
        generations: how often the best are changed.

    Raises:
        InputError: the rule is unknown, or κ is undefined (see `built`).

    Example:
        >>> round(search_kappa("trimmed_mean", 10, 2).ratio, 3)  # the least κ is 1/3
        0.333
        >>> search_kappa("average", 10, 2).ratio
        inf
    """
    with one_thread():  # asked for once, and not in every call
        return _searched_dimensions(rule, n, f, scope, seed, generations)


def _searched_dimensions(
    rule: str, n: int, f: int, scope: Scope | None, seed: int, generations: int
) -> WorstAverage:
    search = _Search(built(rule, n, f, scope), n)
    found: list[_Tried] = []
    if search.rule.has_columns() and not search.by_columns:
        # In one dimension it is scope "coordinate", which takes many samples in one call.
        single = _Search(built(rule, n, f, "coordinate"), n)
        found = _searched(single, (1,), [], seed, generations)
        search.tried = single.tried
    dimensions = DIMENSIONS[:1] if search.by_columns else DIMENSIONS[1 if found else 0 :]
    best = _searched(search, dimensions, found, seed, generations)[0]
    answer = answer_of(search.rule, best.sample)
    return WorstAverage(
        max(best.value, 0.0), best.sample[f:], best.sample[:f], answer, best.how, search.tried
    )


def _searched(
    search: _Search, dimensions: Sequence[int], found: Sequence[_Tried], seed: int, generations: int
) -> list[_Tried]:
    """Search from the start, and from the samples that were found; return the best, best first."""
    n, f = search.n, search.f
    rng = stream(seed, "kappa", n, f)
    pool: list[_Tried] = []

    def take(candidates: Sequence[tuple[Floats, str]]) -> None:
        values = search.ratios([sample for sample, _ in candidates])
        pool.extend(_Tried(v, *each) for v, each in zip(values, candidates, strict=True))

    take([(one.sample, one.how) for one in found])
    shifts = (0.0, 3.0) if "translation_equivariant" in search.rule.exempt else (0.0,)
    for d in dimensions:
        if all(one.value < math.inf for one in pool):
            take(list(_starts(n - f, f, d, shifts, rng)))
    if f and all(one.value < math.inf for one in pool):
        for one in _distinct(pool, FAMILIES):
            honest, own = one.sample[f:], one.sample[:f]
            take([(np.r_[sent, honest], how) for how, sent in _sent(search, honest, own, seed)])
    parents, mutants = (24, 24) if search.by_columns else (8, 6)
    pool = _distinct(pool, parents)
    for _ in range(generations):
        if pool[0].value == math.inf:
            break
        take([(_changed(one.sample, f, rng), one.how) for one in pool for _ in range(mutants)])
        pool = _distinct(pool, parents)
    return pool


def _distinct(pool: Sequence[_Tried], most: int) -> list[_Tried]:
    """Return the best, at most a third of them in one dimension while there are others."""
    ordered = sorted(pool, key=lambda one: -one.value)
    dimensions = {one.sample.shape[1] for one in pool}
    share = most if len(dimensions) == 1 else max(most // 3, 1)
    kept: list[_Tried] = []
    count = dict.fromkeys(dimensions, 0)
    seen: set[float] = set()
    for one in ordered:
        d = one.sample.shape[1]
        if len(kept) < most and count[d] < share and one.value not in seen:
            kept.append(one)
            count[d] += 1
            seen.add(one.value)
    return kept or ordered[:1]


def _honest(h: int, f: int, d: int, rng: np.random.Generator) -> Iterator[tuple[Floats, str]]:
    """Yield honest vectors (h, d) from which to start, and what they are."""
    half = (h - f + 1) // 2
    some = {1, 2, f, f + 1, h // 2, h - f, half, (h - f) // 2 + 1, h - 1}
    sizes = [t for t in range(1, h) if d == 1 or t in some]
    spread = rng.standard_normal((h, d))
    spread[:, 0] = 0.0
    for t in sizes:
        points = np.zeros((h, d))
        points[:t, 0] = 1.0
        yield points, "two points"
        if d > 1:
            yield points + 10.0 ** rng.uniform(-3, 0) * spread, "two clusters"
        three = points.copy()
        three[t : t + max((h - t) // 2, 1), min(1, d - 1)] = -1.0
        yield three, "three points"
    corners = np.eye(d)[np.arange(h) % d]
    yield corners, "simplex"
    yield corners * np.where(np.arange(h) % (2 * d) < d, 1.0, -1.0)[:, None], "along the axes"
    yield np.linspace(-1.0, 1.0, h)[:, None] * np.ones(d), "in line"
    gaussian = rng.standard_normal((h, d))
    yield gaussian, "Gaussian"
    yield gaussian * 10.0 ** rng.uniform(-2, 2, size=d), "Gaussian, uneven axes"
    yield gaussian * np.where(np.arange(h) == 0, 10.0, 1.0)[:, None], "one outlier"
    yield rng.exponential(size=(h, d)), "exponential"
    yield np.zeros((h, d)), "all alike"


def _starts(
    h: int, f: int, d: int, shifts: Sequence[float], rng: np.random.Generator
) -> Iterator[tuple[Floats, str]]:
    """Yield the first samples (f + h, d), shifted so far from the origin, and what they are."""
    for honest, how in _honest(h, f, d, rng):
        for offset in shifts:
            moved = honest + offset * np.eye(d)[0]
            if not f:
                yield moved, how
                continue
            choices = list(_directed(moved, f, rng))
            if d > 1:
                picked = rng.permutation(len(choices))[:DIRECTED]
                choices = [choices[i] for i in sorted(picked.tolist())]
            for sent in choices:
                yield np.r_[sent, moved], how


def _directed(honest: Floats, f: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield what attackers may send, (f, d)."""
    d = honest.shape[1]
    mean = honest.mean(axis=0)
    apart = honest - mean
    size = math.sqrt(np.square(apart).sum(axis=1).mean()) or 1.0
    main = np.linalg.svd(apart, full_matrices=False)[2][0] if d > 1 else np.ones(1)
    axes = [main, np.eye(d)[-1], rng.standard_normal(d) / math.sqrt(d)][: 1 if d == 1 else 3]
    for axis in axes:
        for strength in (0.3, 1.0, 2.0, 5.0, 30.0, FAR):
            for sign in (1.0, -1.0):
                yield np.tile(mean + sign * strength * size * axis, (f, 1))
    for row in honest[rng.permutation(len(honest))[:4]]:
        yield np.tile(row, (f, 1))
        yield np.tile(2.0 * row - mean, (f, 1))
    yield np.tile(honest[np.square(apart).sum(axis=1).argmax()], (f, 1))
    yield np.zeros((f, d))
    yield honest[rng.integers(len(honest), size=f)]
    yield mean + size * rng.standard_normal((f, d))
    if f > 1:
        half = (np.arange(f) % 2)[:, None]
        yield mean + np.where(half, 1.0, FAR) * size * main
        yield np.where(half, honest[0], mean + FAR * size * main)
        yield mean + np.where(half, 2.0, -2.0) * size * main


def _changed(sample: Floats, f: int, rng: np.random.Generator) -> Floats:
    """Change a sample (n, d) a little: a vector, a group of equal ones, the attackers, an axis."""
    n, d = sample.shape
    changed = sample.copy()
    one, other = rng.integers(n, size=2)
    size = float(np.abs(sample[one] - sample[other]).max()) or float(np.abs(sample[one]).max())
    step = rng.standard_normal(d) * (size or 1.0) * 10.0 ** rng.uniform(-4, 0.3)
    if rng.random() < 0.5:
        step *= np.arange(d) == rng.integers(d)
    kind = int(rng.integers(10))
    if kind == 0:
        changed[one] += step
    elif kind == 1:
        changed[one] = sample[other]
    elif kind in (2, 3):  # a group of equal ones
        changed[(sample == sample[one]).all(axis=1)] += step
    elif kind == 4:
        changed += (rng.random((n, 1)) < 0.3) * step
    elif kind == 5 and f:
        changed[:f] += step
    elif kind == 6 and f:
        mean = sample[f:].mean(axis=0)
        changed[:f] = mean + (sample[:f] - mean) * 10.0 ** rng.normal(scale=0.3)
    elif kind == 7:
        changed[one] += rng.uniform(0.0, 1.2) * (sample[other] - sample[one])
    elif kind == 8:
        changed[:, rng.integers(d)] *= 10.0 ** rng.normal(scale=0.3)
    elif kind == 9 and f:
        if rng.random() < 0.5:
            changed[:f] = sample[rng.integers(n)]
        else:
            changed += rng.standard_normal(d) * size
    return changed


# Attacks


def _sent(
    search: _Search, honest: Floats, own: Floats, seed: int, round_: int = 1
) -> Iterator[tuple[str, Floats]]:
    """Yield what the attacks of the registry send, (f, d).

    What is not whole, not finite, or so large that rounding decides, is left out.

    Args:
        search: of the rule that attackers may try.
        honest: (h, d).
        own: (f, d) what attackers would honestly send.
        seed, round_: of attacks that draw.
    """
    f, h, d = len(own), len(honest), honest.shape[1]
    rows = torch.from_numpy(np.ascontiguousarray(honest))
    mean = rows.mean(dim=0)

    def outcome(message: Message) -> Outcome:
        sample = np.r_[np.broadcast_to(message.values.double().numpy(), own.shape), honest]
        answer = torch.from_numpy(search.answers([sample])[0])
        return Outcome(answer - mean, lambda: -answer)

    view = View(
        round=round_,
        rounds=round_,
        sampled=f + h,
        byzantine=f,
        dimension=d,
        places=d,
        quorum=f + h,
        position=np.arange(d),
        longest=d,
        own_lengths=np.full(f, d),
        limits=np.full(f, d),
        workers=np.arange(f),
        stream=partial(stream, seed, "attack"),
        own=torch.from_numpy(np.ascontiguousarray(own)),
        honest=rows,
        honest_workers=np.arange(f, f + h),
        honest_lengths=np.full(h, d),
        server=outcome,
    )
    for name in (*attacks.registry.builtins, *VARIANTS):
        attack: Attack = attacks.build(name)
        # Data, losses and a model: there are none.
        if attack.poisons or attack.sees == "model" or isinstance(attack, Adaptive):
            continue
        try:
            message = attack(view)
        except RuleError:  # the rule refuses what an attack tries
            continue
        values = message.values.double().numpy()
        size = np.abs(values).max()  # NaN compares with nothing
        if (message.lengths == d).all() and size <= 10.0 * FAR * np.abs(honest).max():
            yield name, np.ascontiguousarray(values)


# Recorded gradients


def record(scenario: Scenario, rounds: Sequence[int]) -> Floats:
    """Return the minibatch gradients of all sampled workers in some rounds of a run.

    Args:
        scenario: its attack should be none.
        rounds: which, from 1.

    Returns:
        (len(rounds), q, d), honest workers before Byzantine ones.

    Raises:
        RuntimeError: the run ended before the last of them.

    Example:
        >>> record(Scenario(workers=11, byzantine=2, rounds=2, rule="average"), (1, 2)).shape
        (2, 11, 650)
    """
    world = World.of(scenario)
    hostile = world.byzantine(scenario.byzantine)
    recorded: list[Floats] = []

    def observe(step: Step) -> None:
        if step.round not in rounds:
            return
        draw = world.draw(step.round)
        x, y = world.minibatches(draw)
        weights = None if draw.weights is None else world.to_device(draw.weights)
        gradients = world.gradients(step.round, step.params[None].clone(), x, y, weights)[0]
        order = np.argsort(hostile[draw.workers], kind="stable")
        recorded.append(gradients.cpu().double().numpy()[order])

    (result,) = simulate([scenario], observe=observe)
    if len(recorded) < len(rounds):
        raise RuntimeError(f"{scenario}: {result.reason or 'it ended before the last round asked'}")
    return np.array(recorded)


def recorded_kappa(
    rule: str,
    gradients: Floats,
    f: int,
    *,
    scope: Scope | None = None,
    seed: int = 0,
    generations: int = 20,
) -> list[WorstAverage]:
    """Search what attackers may send besides recorded gradients that makes the ratio largest.

    The first q - f gradients of a round are S; the attackers send what omniscient attacks of the
    registry do, the honest mean plus some length along the mean, its signs, the standard
    deviations (with free and random signs), the main directions in which gradients differ and
    single ones, or something that is found by changing the best of these. Of a rule that treats
    each coordinate by itself every coordinate takes what is worst for it.

    Args:
        rule: its name, with pre-rules before it.
        gradients: (rounds, q, d), such as `record` returns.
        f: how many of the q attack.
        scope: of the rule; None: its own.
        seed: of the search.
        generations: how often the best are changed.

    Returns:
        The worst of each round.

    Raises:
        InputError: κ is undefined (see `built`).

    Example:
        >>> gradients = np.random.default_rng(0).standard_normal((1, 11, 5))
        >>> recorded_kappa("average", gradients, 2)[0].ratio
        inf
    """
    made = built(rule, gradients.shape[1], f, scope)
    with one_thread():  # asked for once, and not in every call
        return [
            _worst_of_round(_Search(made, len(each)), each, seed, k, generations)
            for k, each in enumerate(gradients, 1)
        ]


def _worst_of_round(
    search: _Search, gradients: Floats, seed: int, round_: int, generations: int
) -> WorstAverage:
    """Search the worst that f attackers send besides the first q - f gradients."""
    f, d = search.f, gradients.shape[1]
    honest, own = gradients[: len(gradients) - f], gradients[len(gradients) - f :]
    rng = stream(seed, "kappa of gradients", round_)
    sent = [(own, "none")]
    if f:
        sent += [(each, how) for how, each in _sent(search, honest, own, seed, round_)]
        sent += [(np.tile(each, (f, 1)), "along a direction") for each in _lines(honest, rng)]
    answers = np.array([search.answers([np.r_[each, honest]])[0] for each, _ in sent])

    def ratios(answers: Floats, sent: Sequence[Floats]) -> Floats:
        about = np.broadcast_to(honest, (len(answers), *honest.shape))
        largest = np.array(
            [max(np.abs(each).max(initial=0.0), np.abs(honest).max()) for each in sent]
        )
        return _ratios(answers, about, np.broadcast_to(largest[:, None, None], (len(sent), 1, 1)))

    if search.by_columns and f:  # each coordinate by itself
        mean = honest.mean(axis=0)
        wrong = np.square(np.nan_to_num(answers, nan=0.0, posinf=0.0, neginf=0.0) - mean)
        wrong[np.isnan(answers)] = -1.0
        choice = wrong.argmax(axis=0)
        best = np.array([each for each, _ in sent])[choice, :, np.arange(d)].T
        sent.append((np.ascontiguousarray(best), "the worst of each coordinate"))
        answers = np.r_[answers, search.answers([np.r_[best, honest]])]
    values = ratios(answers, [each for each, _ in sent])
    pool = [(float(v), each, how) for v, (each, how) in zip(values, sent, strict=True)]
    pool.sort(key=lambda one: -one[0])
    for _ in range(generations if f and not search.by_columns else 0):
        if pool[0][0] == math.inf:
            break
        new = [(_resent(each, pool, honest, rng), how) for _, each, how in pool[:4]]
        tried = np.array([search.answers([np.r_[each, honest]])[0] for each, _ in new])
        pool += [
            (float(v), each, how)
            for v, (each, how) in zip(ratios(tried, [e for e, _ in new]), new, strict=True)
        ]
        pool.sort(key=lambda one: -one[0])
    value, best, how = pool[0]
    answer = answer_of(search.rule, np.r_[best, honest])
    return WorstAverage(max(value, 0.0), honest, best, answer, how, search.tried)


def _lines(honest: Floats, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield the honest mean plus some length along directions, (d,)."""
    mean = honest.mean(axis=0)
    apart = honest - mean
    size = math.sqrt(np.square(apart).sum(axis=1).mean()) or 1.0
    std = apart.std(axis=0)
    directions = [mean, np.sign(mean), std, std * rng.choice([-1.0, 1.0], size=len(mean))]
    directions += list(np.linalg.svd(apart, full_matrices=False)[2][:2])
    directions += [apart[i] for i in rng.permutation(len(apart))[:2]]
    for direction in directions:
        length = float(np.linalg.norm(direction))
        if length:
            for strength in (*log_grid(0.1, 100.0, 3), FAR):
                yield mean + strength * size / length * direction


def _resent(
    sent: Floats,
    pool: Sequence[tuple[float, Floats, str]],
    honest: Floats,
    rng: np.random.Generator,
) -> Floats:
    """Change what attackers send, (f, d): its length, its direction, or some of the attackers'."""
    mean = honest.mean(axis=0)
    other = pool[int(rng.integers(min(len(pool), 12)))][1]
    kind = int(rng.integers(4))
    changed: Floats
    if kind == 0:
        changed = mean + (sent - mean) * 10.0 ** rng.normal(scale=0.2)
    elif kind == 1:
        changed = sent + rng.uniform(-0.5, 0.5) * (other - sent)
    elif kind == 2:
        changed = np.where(rng.random((len(sent), 1)) < 0.5, other, sent)
    else:
        noise = honest.std(axis=0) * rng.standard_normal(sent.shape[1])
        changed = sent + noise * 10.0 ** rng.uniform(-1.5, 0.5)
    return changed
