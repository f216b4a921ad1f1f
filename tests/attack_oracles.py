"""Definitions of attacks: float64, lists, loops and searches, as plainly as they can be written.

``sent`` is a list of dictionaries, one per honest worker that answers: coordinate -> value.
"""

from __future__ import annotations

import math
import statistics
import struct
from collections.abc import Callable, Sequence

import numpy as np

from tests.oracles import krum_scores, trimmed

Partial = dict[int, float]
Vector = list[float]


def mean(sent: Sequence[Partial], d: int) -> Vector:
    columns = [[x[j] for x in sent if j in x] for j in range(d)]
    return [statistics.fmean(column) if column else 0.0 for column in columns]


def std(sent: Sequence[Partial], d: int) -> Vector:
    columns = [[x[j] for x in sent if j in x] for j in range(d)]
    return [statistics.pstdev(column) if column else 0.0 for column in columns]


def completed(sent: Sequence[Partial], d: int) -> list[Vector]:
    """Put μ where nothing was sent."""
    mu = mean(sent, d)
    return [[x.get(j, mu[j]) for j in range(d)] for x in sent]


def plus(a: Sequence[float], factor: float, b: Sequence[float]) -> Vector:
    return [x + factor * y for x, y in zip(a, b, strict=True)]


def length(a: Sequence[float]) -> float:
    return math.hypot(*a)


def distance(a: Sequence[float], b: Sequence[float]) -> float:
    return math.dist(a, b)


def sign(x: float) -> float:
    return float(x > 0) - float(x < 0)


def direction(name: str, sent: Sequence[Partial], d: int) -> Vector:
    mu = mean(sent, d)
    if name == "std":
        return [-s for s in std(sent, d)]
    if name == "sign":
        return [-sign(x) for x in mu]
    return [-x / length(mu) for x in mu]


def bisected(holds: Callable[[float], bool]) -> float:
    """Return the largest γ >= 0 of an interval from 0 on which something holds."""
    low, high = 0.0, 1.0
    while holds(high):
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def min_max_holds(crafted: Vector, vectors: Sequence[Vector]) -> bool:
    widest = max(distance(a, b) for a in vectors for b in vectors)
    return max(distance(crafted, x) for x in vectors) <= widest


def min_sum_holds(crafted: Vector, vectors: Sequence[Vector]) -> bool:
    most = max(sum(distance(a, b) ** 2 for b in vectors) for a in vectors)
    return sum(distance(crafted, x) ** 2 for x in vectors) <= most


def krum_selects(crafted: Vector, vectors: Sequence[Vector], b: int, m: int = 1) -> bool:
    """Say whether the b copies (for m = 1: one of them) are among Krum's m best."""
    everyone = [np.array(v) for v in (*vectors, *([crafted] * b))]
    scores = krum_scores(everyone, b)
    better = sum(score < scores[-1] for score in scores[: len(vectors)])
    return better == 0 if m == 1 else better + b <= m


def trimmed_mean(vectors: Sequence[Vector], f: int) -> Vector:
    return [trimmed([v[j] for v in vectors], f) for j in range(len(vectors[0]))]


def fang_lambda(sent: Sequence[Partial], d: int, b: int) -> float:
    vectors, s = completed(sent, d), [sign(x) for x in mean(sent, d)]
    n = len(vectors) + b
    nearest = []
    for i, x in enumerate(vectors):
        others = sorted(distance(x, y) for j, y in enumerate(vectors) if j != i)
        nearest.append(sum(others[: n - b - 2]))
    lam = min(nearest) / ((n - 2 * b - 1) * math.sqrt(d))
    lam += max(map(length, vectors)) / math.sqrt(d)
    while lam >= 1e-5 and not krum_selects([-lam * x for x in s], vectors, b):
        lam /= 2
    return lam


def fang_interval(sent: Sequence[Partial], d: int, j: int, beta: float) -> tuple[float, float]:
    column = [x[j] for x in sent if j in x]
    if not column:
        return 0.0, 0.0
    if statistics.fmean(column) < 0:
        top = max(column)
        return (top, beta * top) if top > 0 else (top, top / beta)
    bottom = min(column)
    return (bottom / beta, bottom) if bottom > 0 else (beta * bottom, bottom)


def bits(x: float) -> str:
    (word,) = struct.unpack(">I", struct.pack(">f", x))
    return f"{word:032b}"[::-1]  # bit 0 first


def angle(a: Sequence[float], b: Sequence[float]) -> float:
    inner = sum(x * y for x, y in zip(a, b, strict=True)) / (length(a) * length(b))
    return math.acos(max(-1.0, min(1.0, inner)))


def gap_of_two_clusters(vectors: Sequence[Vector]) -> float:
    """Merge the two nearest clusters until two are left; return the angle between these."""
    clusters = [[v] for v in vectors]

    def apart(a: list[Vector], b: list[Vector]) -> float:
        return min(angle(x, y) for x in a for y in b)

    while len(clusters) > 2:
        pairs = [(i, j) for i in range(len(clusters)) for j in range(i)]
        i, j = min(pairs, key=lambda pair: apart(clusters[pair[0]], clusters[pair[1]]))
        clusters[j] += clusters.pop(i)
    return apart(*clusters)


class Mimic:
    """Whom to copy, round by round; the first direction is the code's."""

    def __init__(self, warmup: int, start: Vector) -> None:
        self.warmup, self.z, self.m = warmup, start, [0.0] * len(start)
        self.t, self.scores = 0, dict[int, list[float]]()

    def __call__(self, workers: Sequence[int], vectors: Sequence[Vector]) -> int:
        if self.t >= self.warmup:
            average = [statistics.fmean(self.scores.get(w, [0.0])) for w in workers]
            return average.index(max(average))
        old, new, d = self.t / (self.t + 1), 1 / (self.t + 1), range(len(self.z))
        centre = [statistics.fmean([v[j] for v in vectors]) for j in d]
        self.m = [old * self.m[j] + new * centre[j] for j in d]
        apart = [[v[j] - self.m[j] for j in d] for v in vectors]
        along = [sum(a[j] * self.z[j] for j in d) for a in apart]
        step = [sum(c * a[j] for c, a in zip(along, apart, strict=True)) for j in d]
        size = length(step)
        z = [old * self.z[j] + new * step[j] / size for j in d]
        self.z = [x / length(z) for x in z]
        self.t += 1
        seen = [sum(v[j] * self.z[j] for j in d) for v in vectors]
        for worker, value in zip(workers, seen, strict=True):
            self.scores.setdefault(worker, []).append(abs(value))
        return max(range(len(seen)), key=lambda i: abs(seen[i]))
