"""Δ(q, f) of Definition 1: in closed form where known, else a lower bound that a search finds."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hgobench import aggregators
from hgobench.aggregators import Rule, RuleError, ServerView
from hgobench.boundary import Boundary
from hgobench.determinism import one_thread, stream
from hgobench.errors import InputError
from hgobench.lazy import torch

Floats = NDArray[np.float64]
UNBOUNDED = 1e6  # a ratio above it counts as infinite
FAR = 1e9
AT_ONCE = 50  # samples of vectors; the search stops after the first batch with an unbounded ratio


def trimmed_mean_coefficient(correct: int, f: int) -> float:
    """Return the paper's Δ of the trimmed mean, 2·c·(f + c)/(c - f)²; inf unless c > f.

    Args:
        correct: c = |C ∩ Q|, the number of correct workers among those that sent the coordinate.
        f: number of values that the rule trims at each end.

    >>> trimmed_mean_coefficient(6, 2)
    6.0
    """
    return 2.0 * correct * (f + correct) / (correct - f) ** 2 if correct > f else math.inf


def sharp_trimmed_mean_coefficient(correct: int, f: int) -> float:
    """Return the least Δ of the trimmed mean, c/(c - f); inf unless c > f.

    Upper bound, for b <= f attackers: sorted, the c + b - 2f values that are kept lie below the
    lowest c + b - 2f of the c - f largest correct deviations e_i. Their mean is at most that of all
    c - f, whose square is at most Σ e_i²/(c - f). The bound is reached if f correct values are
    exact, the others are wrong by 1, and attackers send larger values. It falls with c, so that it
    holds for every larger Q.

    >>> sharp_trimmed_mean_coefficient(6, 2)
    1.5
    """
    return correct / (correct - f) if correct > f else math.inf


def median_coefficient(correct: int, f: int) -> float:
    """Return the least Δ of the median of q = c + f values, c/(⌊q/2⌋ + 1 - f); inf unless c > f.

    At least ⌊q/2⌋ + 1 - f correct values lie as far out as the answer. For even q, ⌊q/2⌋ - f lie as
    far out as the upper of the two middle values, and one more as far as the lower, which costs
    least where both are equal. The bound is reached as for the trimmed mean. It does not fall with
    q: from an even q to the next odd one it rises (2 at q = 6, f = 2; 2.5 at q = 7).

    >>> median_coefficient(4, 2), median_coefficient(5, 2)
    (2.0, 2.5)
    """
    return correct / ((correct + f) // 2 + 1 - f) if correct > f else math.inf


def exact_coefficient(rule: str, correct: int, f: int) -> float | None:
    """Return the least Δ of a rule for c + f values; None: it is not known in closed form.

    >>> exact_coefficient("median", 4, 2)
    2.0
    >>> exact_coefficient("krum", 4, 2) is None
    True
    """
    if rule == "average":
        return math.inf if f else 1.0
    formulas = {"trimmed_mean": sharp_trimmed_mean_coefficient, "median": median_coefficient}
    return formulas[rule](correct, f) if rule in formulas else None


@dataclass(frozen=True)
class Worst:
    """The worst case that a search found: a lower bound of Δ(q, f).

    Attributes:
        ratio: (AR - g)²/(1/c Σ (x_i - g)²), for vectors that of the first coordinate; inf: more
            than 10⁶ and growing with the attackers' values, or all honest values are g and AR is
            not.
        honest: (c,) the correct workers' values x_i, or (c, d) vectors.
        byzantine: (f,) or (f, d), the attackers' values.
        aim: g, the true partial derivative; () or (d,).
        answer: AR, the rule's answer; () or (d,).
        tried: number of inputs that were tried.

    Example:
        >>> worst = search("median", 5, 2)
        >>> round(worst.ratio, 6), median_coefficient(correct=3, f=2)
        (3.0, 3.0)
    """

    ratio: float
    honest: Floats
    byzantine: Floats
    aim: Floats
    answer: Floats
    tried: int

    @property
    def deviation(self) -> float:
        """|AR - g|, for vectors that of the first coordinate."""
        return float(np.abs(self.answer - self.aim).reshape(-1)[0])

    @property
    def exact(self) -> bool:
        """Whether all honest values are g (in the first coordinate), so that Δ can't be finite."""
        first = self.honest.reshape(len(self.honest), -1)[:, 0]
        return bool((first == self.aim.reshape(-1)[0]).all())


def search(
    rule: str, q: int, f: int, *, dimension: int = 1, seed: int = 0, generations: int = 60
) -> Worst:
    """Search the honest samples and the attack with the largest ratio of Definition 1.

    Only fixed samples are searched, as the ratio of a random sample is at most the largest ratio of
    a fixed one.

    Definition 1 is about single coordinates. In one dimension the rule is applied to q numbers, in
    scope "coordinate" if it has that, and the ratio bounds its Δ as HGO applies it. The search
    starts at two-point, three-point, evenly spaced and random samples, with attackers that all send
    the same value, extreme or honest-looking, or two values.

    In more dimensions the rule is applied to whole vectors, in scope "block", and the ratio is that
    of the first coordinate. The other coordinates may then decide which vectors the rule selects:
    the search starts at honest vectors that are all right in the first coordinate and differ in the
    others, where attackers send what rules favour, as the honest mean or an honest worker's values.
    If the answer is wrong in the first coordinate, no Δ holds for the rule on vectors.

    Then the best samples are mutated, and mutants with a larger ratio are kept.

    >>> search("krum", 20, 4, dimension=8).ratio
    inf

    Args:
        rule: its name.
        q: |Q|, the number of values or vectors, f of them the attackers'.
        f: number of attackers, which the rule is told.
        dimension: d, >= 1.
        seed: of the search.
        generations: how often the best are mutated.

    Raises:
        InputError: the rule is unknown, refuses q values at f, or needs more than values.
    """
    built = aggregators.build(rule, f=f)
    if built.needs:
        needs = ", ".join(sorted(built.needs))
        raise InputError(f"rule: {rule!r} needs {needs}; Definition 1 knows values alone")
    if not built.minimum <= q <= built.maximum or q <= 2 * f:
        raise InputError(f"rule: {rule!r} takes no q={q} values at f={f}")
    by_columns = built.has_columns() and dimension == 1
    if by_columns:
        built = aggregators.build(rule, f=f, scope="coordinate")
    rng = stream(seed, "robustness", q, f)
    ask = _ratios_of(built, by_columns)
    parents, mutants = (32, 32) if by_columns else (6, 8)
    starts = _starts(q, f, rng)[..., None] if dimension == 1 else _vectors(q, f, dimension, rng)
    samples, value = starts[:0], np.empty(0)
    tried = 0
    for new in np.array_split(starts, 1 if dimension == 1 else len(starts) // AT_ONCE):
        samples, value = np.concatenate((samples, new)), np.concatenate((value, ask(new)))
        tried += len(new)
        if value.max() > UNBOUNDED:
            break
    for _ in range(generations):
        best = np.argsort(-value, kind="stable")[:parents]
        samples, value = samples[best], value[best]
        if value[0] > UNBOUNDED:
            break
        new = _mutated(np.repeat(samples, mutants, axis=0), rng)
        samples, value = np.concatenate((samples, new)), np.concatenate((value, ask(new)))
        tried += len(new)
    top = samples[int(np.argmax(value))]
    ratio = math.inf if value.max() > UNBOUNDED else float(value.max())
    answer = answer_of(built, top[:-1])
    if dimension == 1:
        top, answer = top[:, 0], answer[0]
    return Worst(ratio, top[f:-1], top[:f], top[-1], np.asarray(answer), tried)


def answer_of(original: Rule, values: Floats) -> Floats:
    """Return a rule's answer to q vectors, (q, d) -> (d,); NaN: it refuses them."""
    # A stateful rule remembers earlier samples: each gets a copy.
    rule = deepcopy(original) if original.stateful else original
    try:
        with one_thread(), Boundary("rule", original.name, original, seed=0, passes=(RuleError,))():
            answer = rule(torch.from_numpy(np.ascontiguousarray(values)), None, ServerView())
    except RuleError:
        return np.full(values.shape[1], np.nan)
    return answer.double().numpy()


def _ratios_of(rule: Rule, by_columns: bool) -> Callable[[Floats], Floats]:
    """Return a function from samples (N, q + 1, d), rows attackers, honest, aim, to ratios (N,)."""
    f = rule.f

    def ask(samples: Floats) -> Floats:
        values, aim = samples[:, :-1], samples[:, -1, 0]
        if by_columns:  # all samples at once, as columns
            answers = answer_of(rule, values[:, :, 0].T)
        else:
            answers = np.array([answer_of(rule, sample)[0] for sample in values])
        error = np.square(values[:, f:, 0] - aim[:, None]).mean(axis=1)
        # If all honest values are right, a wrong answer has an unbounded ratio; rounding has not.
        squared = np.square(answers - aim)
        ratio = squared / np.maximum(error, 1e-12 * (1.0 + np.square(aim)))
        return np.asarray(np.nan_to_num(ratio, nan=-1.0, posinf=math.inf))

    return ask


def _vectors(q: int, f: int, d: int, rng: np.random.Generator) -> Floats:
    """Return the first samples of vectors, (N, q + 1, d).

    In the first coordinate all honest vectors are right, or one is wrong, or all are a little; the
    other coordinates are noise of several kinds.
    """
    c = q - f
    noises = [
        rng.standard_normal((c, d - 1)),
        rng.standard_normal((c, d - 1)) * 10.0 ** rng.uniform(-2, 2, size=d - 1),
        rng.choice([-1.0, 1.0], size=(c, 1)) + 0.1 * rng.standard_normal((c, d - 1)),
        rng.standard_cauchy((c, d - 1)),
        rng.standard_normal((c, d - 1)) * (rng.random((c, d - 1)) < 0.3),
    ]
    firsts = [np.zeros(c), np.r_[np.zeros(c - 1), 1.0], 0.1 * rng.standard_normal(c)]
    aims = [np.zeros(d), np.full(d, 3.0)]
    samples = []
    for first in firsts:
        for shift in (1.0, -1.0, 0.1, 10.0, FAR):
            for noise in noises:
                medoid = np.square(noise[:, None] - noise).sum(axis=(1, 2)).argmin()
                honest = np.c_[first, noise]
                for favoured in (
                    noise.mean(axis=0),
                    np.median(noise, axis=0),
                    noise[medoid],
                    noise[rng.integers(c)],
                    noise[rng.permutation(c)[:f]],
                ):
                    hostile = np.c_[np.full(f, shift), np.broadcast_to(favoured, (f, d - 1))]
                    samples += [np.r_[hostile + aim, honest + aim, [aim]] for aim in aims]
    return np.array(samples)


def _starts(q: int, f: int, rng: np.random.Generator) -> Floats:
    """Return the first samples, (N, q + 1)."""
    c = q - f
    honest = [np.r_[np.zeros(c - t), np.ones(t)] for t in range(1, c + 1)]
    for t in range(1, c):
        honest.append(np.r_[np.full(t, -1.0), np.ones(c - t)])
        honest.append(np.r_[np.zeros(c - t), np.linspace(1.0, 2.0, t)])
    honest.append(np.linspace(-1.0, 1.0, c))
    honest += [rng.standard_normal(c) for _ in range(4)]
    honest += [rng.exponential(size=c) for _ in range(4)]
    samples = []
    for values in honest:
        for aim in (0.0, 1.0, -3.0):
            levels = [FAR, -FAR, 0.0, 1.0, 2.0, float(np.median(values)), float(values.max())]
            samples += [
                np.r_[np.full(f, level) + aim, values + aim, aim]
                for level in (levels if f else [0.0])
            ]
            if f > 1:
                split = np.resize([1.0, FAR], f)
                samples.append(np.r_[split + aim, values + aim, aim])
    return np.array(samples)


def _mutated(samples: Floats, rng: np.random.Generator) -> Floats:
    """Mutate every sample: one value or several, its aim, or a value to another's.

    Of vectors one coordinate is mutated.
    """
    shape, d = samples.shape, samples.shape[-1]
    coordinate = rng.integers(d, size=len(samples)) if d > 1 else np.zeros(len(samples), int)
    mutants = samples.copy()
    column = mutants[np.arange(len(mutants)), :, coordinate]
    n, width = column.shape
    rows = np.arange(n)
    kind = rng.integers(5, size=n)
    chosen, donor = rng.integers(width, size=n), rng.integers(width, size=n)
    scale = 10.0 ** rng.uniform(-4, 0, size=n) * (1.0 + np.abs(column[rows, chosen]))
    step = rng.standard_normal(n) * scale
    column[rows, chosen] += np.where(kind == 0, step, 0.0)
    column[rows, chosen] = np.where(kind == 1, column[rows, donor], column[rows, chosen])
    several = (rng.random((n, width)) < 0.3) & (kind == 2)[:, None]
    column += several * step[:, None]
    # A whole group of equal values moves together.
    equal = (column == column[rows, chosen][:, None]) & (kind == 3)[:, None]
    column += equal * step[:, None]
    column[:, -1] += np.where(kind == 4, step, 0.0)
    mutants[rows, :, coordinate] = column
    return mutants.reshape(shape)
