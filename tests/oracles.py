"""Definitions, written as plainly as possible: float64, loops, no vectorising.

Each rule takes the list of values (or vectors) that arrived, and f.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def median(x: list[float]) -> float:
    s = sorted(x)
    m = len(s)
    return s[m // 2] if m % 2 else (s[m // 2 - 1] + s[m // 2]) / 2


def average(x: list[float], f: int) -> float:
    return sum(x) / len(x)


def coordinate_median(x: list[float], f: int) -> float:
    return median(x)


def trimmed_mean(x: list[float], f: int) -> float:
    kept = sorted(x)[f : len(x) - f]
    return sum(kept) / len(kept)


def mean_of_nearest(x: list[float], centre: float, keep: int) -> float:
    """Average the `keep` values nearest to the centre; of two equally far, the smaller."""
    nearest = sorted(x, key=lambda value: (abs(value - centre), value))[:keep]
    return sum(nearest) / keep


def meamed(x: list[float], f: int) -> float:
    return mean_of_nearest(x, median(x), len(x) - f)


def phocas(x: list[float], f: int) -> float:
    return mean_of_nearest(x, trimmed_mean(x, f), len(x) - f)


def aksel(x: list[float], f: int) -> float:
    centre = median(x)
    distances = sorted(abs(value - centre) for value in x)
    radius = distances[math.ceil(len(x) / 2) - 1] * (1 + 1e-9)  # ties are ties despite rounding
    kept = [value for value in x if abs(value - centre) <= radius]
    return sum(kept) / len(kept)


def krum_scores(vectors: list[Vector], f: int) -> list[float]:
    scores = []
    for i, a in enumerate(vectors):
        others = [float(((a - b) ** 2).sum()) for j, b in enumerate(vectors) if j != i]
        scores.append(sum(sorted(others)[: len(vectors) - f - 2]))
    return scores


def krum(x: list[float], f: int) -> float:
    """Return the best value; of tied ones the smallest."""
    scores = krum_scores([np.array([value]) for value in x], f)
    return min(zip(scores, x, strict=True))[1]


COORDINATE = {
    "average": average,
    "median": coordinate_median,
    "trimmed_mean": trimmed_mean,
    "meamed": meamed,
    "phocas": phocas,
    "krum": krum,
    "aksel": aksel,
}


def vector_krum(vectors: list[Vector], f: int) -> Vector:
    scores = krum_scores(vectors, f)
    return vectors[scores.index(min(scores))]


def vector_aksel(vectors: list[Vector], f: int) -> Vector:
    centre = np.array([median([v[j] for v in vectors]) for j in range(len(vectors[0]))])
    distances = [float(((v - centre) ** 2).sum()) for v in vectors]
    radius = sorted(distances)[math.ceil(len(vectors) / 2) - 1]
    kept = [v for v, distance in zip(vectors, distances, strict=True) if distance <= radius]
    return sum(kept, start=np.zeros_like(centre)) / len(kept)


def vector_rule(name: str, vectors: list[Vector], f: int) -> Vector:
    """Apply a rule in scope "block": geometric ones to the vectors, others by coordinate."""
    if name == "krum":
        return vector_krum(vectors, f)
    if name == "aksel":
        return vector_aksel(vectors, f)
    rule = COORDINATE[name]
    return np.array([rule([float(v[j]) for v in vectors], f) for j in range(len(vectors[0]))])
