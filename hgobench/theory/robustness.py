"""Δ(q, f) of Definition 1: in closed form where it is known, else the worst that a search finds."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hgobench import aggregators
from hgobench.aggregators import Rule, RuleError, ServerView
from hgobench.errors import InputError
from hgobench.simulation import one_thread, seeded
from hgobench.streams import stream

Floats = NDArray[np.float64]
UNBOUNDED = 1e6  # a ratio above it counts as infinite
FAR = 1e9


def trimmed_mean_coefficient(correct: int, f: int) -> float:
    """Return the paper's Δ of the trimmed mean, 2·c·(f + c)/(c - f)²; inf unless c > f.

    Args:
        correct: c = |C ∩ Q|, how many of those that sent the coordinate are correct.
        f: how many values the rule trims at each end.
    """
    return 2.0 * correct * (f + correct) / (correct - f) ** 2 if correct > f else math.inf


def sharp_trimmed_mean_coefficient(correct: int, f: int) -> float:
    """Return the least Δ of the trimmed mean, c/(c - f); inf unless c > f.

    Upper bound, for b <= f attackers: rank by rank the kept c + b - 2f values lie below the lowest
    as many of the c - f largest correct deviations e_i, whose mean is at most that of all c - f,
    and its square at most Σ e_i²/(c - f). It is reached: f correct values are exact, the others
    are wrong by 1, and attackers send more. It falls with c, so that it stands for every larger Q.
    """
    return correct / (correct - f) if correct > f else math.inf


def median_coefficient(correct: int, f: int) -> float:
    """Return the least Δ of the median of q = c + f values, c/(⌊q/2⌋ + 1 - f); inf unless c > f.

    Of correct values ⌊q/2⌋ + 1 - f lie as far out as the answer; of an even number of values
    ⌊q/2⌋ - f as far as the upper of the two middle ones and one more as far as the lower, which
    costs least where both are equal. It is reached as for the trimmed mean. It does not fall with
    q: from an even q to the next odd one it rises (2 at q = 6, f = 2; 2.5 at q = 7).
    """
    return correct / ((correct + f) // 2 + 1 - f) if correct > f else math.inf


def exact_coefficient(rule: str, correct: int, f: int) -> float | None:
    """Return the least Δ of a rule for c + f values, where it is known, else None."""
    if rule == "average":
        return math.inf if f else 1.0
    known = {"trimmed_mean": sharp_trimmed_mean_coefficient, "median": median_coefficient}
    return known[rule](correct, f) if rule in known else None


@dataclass(frozen=True)
class Worst:
    """The worst case that a search found: a lower bound of Δ(q, f).

    Attributes:
        ratio: (AR - g)²/(1/c Σ (x_i - g)²); inf: more than 10⁶, growing with what attackers send.
        honest: (c,) the correct workers' values x_i.
        byzantine: (f,) the attackers' values.
        aim: g, the true partial derivative.
        tried: how many inputs.
    """

    ratio: float
    honest: Floats
    byzantine: Floats
    aim: float
    tried: int


def search(rule: str, q: int, f: int, *, seed: int = 0, generations: int = 60) -> Worst:
    """Search the honest samples and the attack with the largest ratio of Definition 1.

    The ratio of a random sample is at most the largest of a fixed one, so that fixed ones are
    enough. The search starts at two- and three-point, evenly spaced and random samples, crossed
    with attackers that all send the same, extreme or honest-looking, or that split up; then the
    best are changed value by value and kept where that raises the ratio.

    Args:
        rule: its name; applied to the q values of one coordinate.
        q: |Q|, all values, f of them the attackers'.
        f: attackers, as many as the rule is told.
        seed: of the search.
        generations: how often the best are changed.

    Raises:
        InputError: the rule is unknown, refuses q values at f, or needs what a coordinate's values
            don't tell.
    """
    made = aggregators.build(rule, f=f)
    if made.needs:
        needed = ", ".join(sorted(made.needs))
        raise InputError(f"rule: {rule!r} needs {needed}; Definition 1 knows values alone")
    if not made.minimum <= q <= made.maximum or q <= 2 * f:
        raise InputError(f"rule: {rule!r} takes no q={q} values at f={f}")
    by_columns = made.has_columns()
    if by_columns:
        made = aggregators.build(rule, f=f, scope="coordinate")
    rng = stream(seed, "robustness", q, f)
    ask = _asked(made, by_columns)
    parents, mutants = (32, 32) if by_columns else (6, 8)
    at = _starts(q, f, rng)
    value = ask(at)
    tried = len(at)
    for _ in range(generations):
        best = np.argsort(-value, kind="stable")[:parents]
        at, value = at[best], value[best]
        if value[0] > UNBOUNDED:
            break
        new = _changed(np.repeat(at, mutants, axis=0), rng)
        at, value = np.concatenate((at, new)), np.concatenate((value, ask(new)))
        tried += len(new)
    top = int(np.argmax(value))
    ratio = math.inf if value[top] > UNBOUNDED else float(value[top])
    return Worst(ratio, at[top, f:-1], at[top, :f], float(at[top, -1]), tried)


def _asked(made: Rule, by_columns: bool) -> Callable[[Floats], Floats]:
    """Return what computes the ratios (N,) of samples (N, q + 1): attackers, honest ones, aim."""
    f = made.f

    def answer(values: Floats) -> Floats:
        # A rule may remember: every sample has its own.
        rule = deepcopy(made) if made.stateful else made
        return rule(torch.from_numpy(values), None, ServerView()).double().numpy()

    def alone(values: Floats) -> float:
        try:
            return float(answer(values[:, None])[0])
        except RuleError:
            return math.nan

    def ask(samples: Floats) -> Floats:
        values, aim = samples[:, :-1], samples[:, -1]
        with one_thread(), seeded(made, 0, 1):
            if by_columns:
                found = answer(np.ascontiguousarray(values.T))
            else:
                found = np.array([alone(row) for row in values])
        error = np.square(values[:, f:] - aim[:, None]).mean(axis=1)
        # Where all are right any other answer is wrong without bound; rounding is none.
        wrong = np.square(found - aim)
        ratio = wrong / np.maximum(error, 1e-12 * (1.0 + np.square(aim)))
        return np.asarray(np.nan_to_num(ratio, nan=-1.0, posinf=math.inf))

    return ask


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


def _changed(samples: Floats, rng: np.random.Generator) -> Floats:
    """Change every sample a little: one value or several, its aim, or some values to another's."""
    found = samples.copy()
    n, width = found.shape
    rows = np.arange(n)
    kind = rng.integers(5, size=n)
    one, other = rng.integers(width, size=n), rng.integers(width, size=n)
    scale = 10.0 ** rng.uniform(-4, 0, size=n) * (1.0 + np.abs(found[rows, one]))
    step = rng.standard_normal(n) * scale
    found[rows, one] += np.where(kind == 0, step, 0.0)
    found[rows, one] = np.where(kind == 1, found[rows, other], found[rows, one])
    several = (rng.random((n, width)) < 0.3) & (kind == 2)[:, None]
    found += several * step[:, None]
    # A whole group of equal values moves together.
    equal = (found == found[rows, one][:, None]) & (kind == 3)[:, None]
    found += equal * step[:, None]
    found[:, -1] += np.where(kind == 4, step, 0.0)
    return found
