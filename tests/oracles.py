"""Definitions, written as plainly as possible: float64, loops, no vectorising.

Each rule takes the list of vectors that arrived, and f. A vector with an entry that is not finite
is infinitely far from everything and infinitely long.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Vectors = Sequence[Vector]


def mean(vectors: Vectors) -> Vector:
    total = np.zeros_like(vectors[0])
    for vector in vectors:
        total = total + vector
    return total / len(vectors)


def finite(vector: Vector) -> bool:
    return bool(np.isfinite(vector).all())


def squared_distance(a: Vector, b: Vector) -> float:
    if a is b:
        return 0.0
    return float(((a - b) ** 2).sum()) if finite(a) and finite(b) else math.inf


def length(vector: Vector) -> float:
    return math.sqrt(float((vector**2).sum())) if finite(vector) else math.inf


# -- coordinate by coordinate ----------------------------------------------------------------------


def median(x: Sequence[float]) -> float:
    s = sorted(x, key=lambda v: (math.isnan(v), v))  # NaN last
    m = len(s)
    return s[m // 2] if m % 2 else (s[m // 2 - 1] + s[m // 2]) / 2


def trimmed(x: Sequence[float], f: int) -> float:
    kept = sorted(x, key=lambda v: (math.isnan(v), v))[f : len(x) - f]
    return sum(kept) / len(kept)


def mean_of_nearest(x: Sequence[float], centre: float, keep: int) -> float:
    """Average the `keep` values nearest to the centre; of two equally far, the smaller."""
    known = [v for v in x if math.isfinite(v)]
    nearest = sorted(known, key=lambda value: (abs(value - centre), value))[:keep]
    return sum(nearest) / keep


def majority(x: Sequence[float]) -> float:
    votes = sum((v > 0) - (v < 0) for v in x if math.isfinite(v))
    return float((votes > 0) - (votes < 0))


COLUMNWISE: dict[str, Callable[[list[float], int], float]] = {
    "average": lambda x, f: sum(x) / len(x),
    "median": lambda x, f: median(x),
    "trimmed_mean": trimmed,
    "meamed": lambda x, f: mean_of_nearest(x, median(x), len(x) - f),
    "phocas": lambda x, f: mean_of_nearest(x, trimmed(x, f), len(x) - f),
    "sign_sgd_majority": lambda x, f: majority(x),
}


# -- vectors ---------------------------------------------------------------------------------------


def krum_scores(vectors: Vectors, f: int, neighbours: int | None = None) -> list[float]:
    count = len(vectors) - f - 2 if neighbours is None else neighbours
    scores = []
    for i, a in enumerate(vectors):
        others = [squared_distance(a, b) for j, b in enumerate(vectors) if j != i]
        scores.append(sum(sorted(others)[:count]))
    return scores


def krum(vectors: Vectors, f: int) -> Vector:
    scores = krum_scores(vectors, f)
    return vectors[scores.index(min(scores))]


def multi_krum(vectors: Vectors, f: int, m: int | None = None) -> Vector:
    scores = krum_scores(vectors, f)
    order = sorted(range(len(vectors)), key=lambda i: scores[i])
    return mean([vectors[i] for i in order[: m or len(vectors) - f - 2]])


def bulyan(vectors: Vectors, f: int) -> Vector:
    left, chosen = list(vectors), list[Vector]()
    while len(chosen) < len(vectors) - 2 * f:
        count = max(len(left) - f - 2, 1)
        scores = krum_scores(left, f, count)
        next_ones = krum_scores(left, f, count + 1)
        # Both of a nearest pair have the same score; rounding must not part them.
        tied = [i for i in range(len(left)) if scores[i] <= min(scores) * (1 + 1e-12)]
        best = min(tied, key=lambda i: next_ones[i])
        chosen.append(left.pop(best))
    columns = [[float(v[j]) for v in chosen] for j in range(len(vectors[0]))]
    return np.array([mean_of_nearest(x, median(x), len(chosen) - 2 * f) for x in columns])


def aksel(vectors: Vectors, f: int) -> Vector:
    centre = np.array([median([float(v[j]) for v in vectors]) for j in range(len(vectors[0]))])
    distances = [squared_distance(v, centre) for v in vectors]
    # Ties are ties despite rounding.
    radius = sorted(distances)[math.ceil(len(vectors) / 2) - 1] * (1 + 1e-9)
    return mean([v for v, distance in zip(vectors, distances, strict=True) if distance <= radius])


def diameter(vectors: Vectors) -> float:
    return max((squared_distance(a, b) for a in vectors for b in vectors), default=0.0)


def scatter(vectors: Vectors) -> float:
    centre = mean(vectors)
    return sum(float(((v - centre) ** 2).sum()) for v in vectors)


def mda(vectors: Vectors, f: int) -> Vector:
    known = [v for v in vectors if finite(v)]
    subsets = list(itertools.combinations(known, len(vectors) - f))
    least = min(diameter(s) for s in subsets)
    return mean(min((s for s in subsets if diameter(s) <= least * (1 + 1e-12)), key=scatter))


def largest_eigenvalue(vectors: Vectors, weights: Sequence[float]) -> tuple[float, Vector, Vector]:
    """Return λ_max and its eigenvector of the weighted covariance, and the weighted mean."""
    total = sum(weights)
    centre = sum((c * v for c, v in zip(weights, vectors, strict=True)), np.zeros_like(vectors[0]))
    centre = centre / total
    covariance = np.zeros((len(centre), len(centre)))
    for c, v in zip(weights, vectors, strict=True):
        covariance += c * np.outer(v - centre, v - centre) / total
    values, eigenvectors = np.linalg.eigh(covariance)
    return float(values[-1]), eigenvectors[:, -1], centre


def smea(vectors: Vectors, f: int) -> Vector:
    known = [v for v in vectors if finite(v)]
    subsets = itertools.combinations(known, len(vectors) - f)
    return mean(min(subsets, key=lambda s: largest_eigenvalue(s, [1.0] * len(s))[0]))


def caf(vectors: Vectors, f: int) -> Vector:
    known = [v for v in vectors if finite(v)]
    weights = [1.0] * len(known)
    best, answer = math.inf, mean(known)
    while True:
        value, direction, centre = largest_eigenvalue(known, weights)
        if value < best:
            best, answer = value, centre
        along = [float((v - centre) @ direction) ** 2 for v in known]
        top = max(a for a, c in zip(along, weights, strict=True) if c > 0)
        if value <= 0 or top == 0:
            return answer
        weights = [
            0.0 if 1 - a / top < 1e-12 else c * (1 - a / top)
            for a, c in zip(along, weights, strict=True)
        ]
        if sum(weights) <= len(vectors) - 2 * f:
            return answer


def filter_l2(vectors: Vectors, f: int, sigma: float = 1.0, expansion: float = 20.0) -> Vector:
    known = [v for v in vectors if finite(v)]
    weights = [1.0] * len(known)
    met: list[tuple[float, Vector]] = []
    while sum(weights) > len(vectors) - 2 * f or not met:
        value, direction, centre = largest_eigenvalue(known, weights)
        if value <= expansion * sigma**2:
            return centre
        met.append((value, centre))
        along = [float((v - centre) @ direction) ** 2 for v in known]
        top = max(a for a, c in zip(along, weights, strict=True) if c > 0)
        if value <= 0 or top == 0:
            break
        weights = [
            0.0 if 1 - a / top < 1e-12 else c * (1 - a / top)
            for a, c in zip(along, weights, strict=True)
        ]
    return min(met, key=lambda pair: pair[0])[1]


def faba(vectors: Vectors, f: int) -> Vector:
    left = [v for v in vectors if finite(v)]
    while len(left) > len(vectors) - f:
        centre = mean(left)
        away = [squared_distance(v, centre) for v in left]
        farthest = max(range(len(left)), key=lambda i: (away[i], i))
        left = [v for i, v in enumerate(left) if i != farthest]
    return mean(left)


def flame(vectors: Vectors, f: int, noise: float = 0.001) -> Vector:
    """Grow one reach until more than half of all hang together."""
    typical = median([length(v) for v in vectors])
    known = [i for i, v in enumerate(vectors) if finite(v)]
    apart = {(i, j): 1 - cosine(vectors[i], vectors[j]) for i in known for j in known}
    for reach in sorted({max(apart[i, j], apart[j, i]) for i in known for j in known if i != j}
                        or {0.0}):  # fmt: skip
        groups: list[set[int]] = [{i} for i in known]
        for i, j in itertools.combinations(known, 2):
            if max(apart[i, j], apart[j, i]) <= reach:
                met = [group for group in groups if i in group or j in group]
                groups = [g for g in groups if g not in met] + [set().union(*met)]
        largest = max(groups, key=len)
        if len(largest) > len(vectors) / 2:
            break
    kept = clipping([vectors[i] for i in sorted(largest)], f, typical)
    drawn = np.random.default_rng([1, 0]).standard_normal(len(vectors[0]))
    return mean(kept) + noise * typical * drawn


def weak_dp(
    vectors: Vectors, f: int, c: float = 2.0, sigma: float = 0.025, place: tuple[int, int] = (0, 0)
) -> Vector:
    """Of a single coordinate: `place` says which it is, and of how many."""
    at, of = place
    drawn = np.random.default_rng([1, 0]).standard_normal(of or len(vectors[0]))
    total = np.zeros_like(vectors[0])
    for v in vectors:
        if finite(v):
            total = total + v * min(1.0, c / length(v) if length(v) else 1.0)
    return total / len(vectors) + sigma * (drawn[at : at + 1] if of else drawn)


def monna(vectors: Vectors, f: int, pivot: int = 0) -> Vector:
    order = sorted(vectors, key=lambda v: squared_distance(v, vectors[pivot]))
    return mean(order[: len(vectors) - f])


def cge(vectors: Vectors, f: int) -> Vector:
    return mean(sorted(vectors, key=length)[: len(vectors) - f])


def dnc(
    vectors: Vectors,
    f: int,
    coordinates: int = 10_000,
    iterations: int = 5,
    c: float = 1.0,
    share: float = 1.0,
) -> Vector:
    rng = np.random.default_rng([1, 0])
    good = {i for i, v in enumerate(vectors) if finite(v)}
    d = len(vectors[0])
    for _ in range(iterations):
        looked = min(math.ceil(share * d), coordinates)
        chosen = rng.permutation(d)[:looked] if looked < d else np.arange(d)
        known = [i for i, v in enumerate(vectors) if finite(v)]
        part = np.array([vectors[i][chosen] for i in known])
        centred = part - part.mean(axis=0)
        direction = np.linalg.svd(centred)[2][0]
        scores = dict(zip(known, (centred @ direction) ** 2, strict=True))
        order = sorted(range(len(vectors)), key=lambda i: scores.get(i, math.inf))
        good &= set(order[: len(vectors) - math.floor(c * f)])
    return mean([vectors[i] for i in sorted(good)])


def fltrust(vectors: Vectors, f: int, *, root: Vector) -> Vector:
    total, trusts = np.zeros_like(root), 0.0
    for v in vectors:
        if finite(v) and length(v) > 0 and length(root) > 0:
            trust = max(float(v @ root) / (length(v) * length(root)), 0.0)
            total, trusts = total + trust * v * length(root) / length(v), trusts + trust
    return total / trusts if trusts else total


def zeno(
    vectors: Vectors,
    f: int,
    *,
    descent: Callable[[Vector], float],
    rate: float,
    rho_ratio: float = 200.0,
) -> Vector:
    def score(v: Vector) -> float:
        return descent(v) - rate / rho_ratio * length(v) ** 2 if finite(v) else -math.inf

    return mean(sorted(vectors, key=score, reverse=True)[: len(vectors) - f])


def mean_shift(points: list[Vector]) -> list[int]:
    """Return clusters as scikit-learn does at its own bandwidth; what rounding parts is equal."""
    half = max(len(points) // 2, 1)
    reach = [sorted(length(p - q) for q in points)[half - 1] for p in points]
    radius = sum(reach) / len(points) * (1 + 1e-9)
    if radius <= 1e-9:
        return [0] * len(points)
    tops = []
    for top in points:
        for _ in range(300):
            near = [p for p in points if length(p - top) <= radius]
            top, before = mean(near), top
            if length(top - before) <= 1e-3 * radius:
                break
        tops.append((len(near), tuple(top)))
    centres: list[Vector] = []
    for _, place in sorted(tops, reverse=True):
        if all(length(np.array(place) - other) > radius for other in centres):
            centres.append(np.array(place))
    found = []
    for p in points:
        far = [length(p - c) for c in centres]
        found.append(next(i for i, d in enumerate(far) if d <= min(far) * (1 + 1e-9)))
    return found


def sign_guard(
    vectors: Vectors, f: int, lower: float = 0.1, upper: float = 3.0, share: float = 0.1
) -> Vector:
    typical = median([length(v) for v in vectors])
    d = len(vectors[0])
    chosen = np.random.default_rng([1, 0]).permutation(d)[: max(math.ceil(share * d), 1)]
    features = {}
    for i, v in enumerate(vectors):
        if finite(v):
            signs = [float(np.sign(v[j])) for j in chosen]
            features[i] = [signs.count(s) / len(signs) for s in (1.0, -1.0, 0.0)]
    points = np.array(list(features.values()))
    labels = mean_shift(list(points))
    sizes = [list(labels).count(label) for label in labels]
    crowd = labels[sizes.index(max(sizes))]
    kept = [
        vectors[i] * min(1.0, typical / length(vectors[i]) if length(vectors[i]) else 1.0)
        for i, label in zip(features, labels, strict=True)
        if label == crowd and lower * typical <= length(vectors[i]) <= upper * typical
    ]
    return mean(kept) if kept else np.zeros(d)


def cosine(a: Vector, b: Vector) -> float:
    """Return the cosine to 12 decimals; 0 for a zero vector."""
    return round(float(a @ b) / (length(a) * length(b)), 12) if length(a) and length(b) else 0.0


class ClippedClustering:
    def __init__(self, f: int, largest: float = 1e5) -> None:
        self.lengths: list[float] = []
        self.largest = largest

    def __call__(self, vectors: Vectors) -> Vector:
        known = [v for v in vectors if finite(v)]
        root = math.sqrt(len(known[0]))  # blocks of another size are as long per coordinate
        self.lengths += [length(v) / root for v in known]
        radius = min(median(self.lengths) * root, self.largest)
        clusters = [[i] for i in range(len(known))]
        distance = [[1 - cosine(v, w) for w in known] for v in known]

        def apart(a: list[int], b: list[int]) -> float:
            pairs = [distance[i][j] for i in a for j in b if i != j]
            return sum(pairs) / max(len(a) * len(b), 1)

        while len(clusters) > (2 if len(known) > 2 else 1):
            a, b = min(itertools.combinations(clusters, 2), key=lambda pair: apart(*pair))
            clusters = [c for c in clusters if c is not a and c is not b] + [a + b]
        larger = min(clusters, key=lambda c: (-len(c), apart(c, c), min(c)))
        return mean([known[i] * min(1.0, radius / (length(known[i]) or 1.0)) for i in larger])


class CenteredClipping:
    """Remembers a value for each coordinate, by its name."""

    def __init__(self, f: int, tau: float = 1.0, iterations: int = 1) -> None:
        self.tau, self.iterations = tau, iterations
        self.previous: dict[int, float] = {}

    def __call__(
        self,
        vectors: Vectors,
        coordinates: Sequence[int] | None = None,
        kept: Sequence[int] | None = None,
    ) -> Vector:
        names = range(len(vectors[0])) if coordinates is None else coordinates
        v = np.array([self.previous.get(int(name), 0.0) for name in names])
        for _ in range(self.iterations):
            steps = [
                (x - v) * min(1.0, self.tau / (length(x - v) or self.tau))
                if finite(x)
                else np.zeros_like(v)
                for x in vectors
            ]
            v = v + mean(steps)
        now = {int(name): float(x) for name, x in zip(names, v, strict=True)}
        self.previous.update(now if kept is None else {int(name): now[int(name)] for name in kept})
        return v


class FoolsGold:
    """Remembers a value for each worker and coordinate, by their names."""

    def __init__(self, f: int, confidence: float = 1.0) -> None:
        self.history: dict[tuple[int, int], float] = {}
        self.confidence = confidence

    def __call__(
        self,
        vectors: Vectors,
        workers: Sequence[int] | None = None,
        coordinates: Sequence[int] | None = None,
        kept: Sequence[int] | None = None,
    ) -> Vector:
        who = range(len(vectors)) if workers is None else workers
        names = range(len(vectors[0])) if coordinates is None else coordinates
        before, sums, known = dict(self.history), [], []
        for worker, vector in zip(who, vectors, strict=True):
            if not finite(vector):
                continue
            for name, x in zip(names, vector, strict=True):
                key = (int(worker), int(name))
                self.history[key] = self.history.get(key, 0.0) + float(x)
            sums.append(np.array([self.history[int(worker), int(name)] for name in names]))
            known.append(vector)
        if kept is not None:
            now = self.history
            self.history = before
            self.history |= {key: now[key] for key in now if key[1] in kept}
        n = len(known)
        cs = [[0.0 if i == j else cosine(sums[i], sums[j]) for j in range(n)] for i in range(n)]
        most = [max(row) for row in cs]
        for i, j in itertools.product(range(n), range(n)):
            if most[j] > most[i]:
                cs[i][j] *= most[i] / most[j]
        alpha = [min(max(1 - max(row), 0.0), 1.0) for row in cs]
        top = max(alpha)
        if top > 0:
            alpha = [0.99 if a == top else a / top for a in alpha]
            alpha = [
                0.0
                if a <= 0
                else min(max(self.confidence * (math.log(a / (1 - a)) + 0.5), 0.0), 1.0)
                for a in alpha
            ]
        if not sum(alpha):
            return np.zeros_like(known[0])
        weighted = [a * v for a, v in zip(alpha, known, strict=True)]
        return sum(weighted, np.zeros_like(known[0])) / sum(alpha)


GEOMETRIC: dict[str, Callable[..., Vector]] = {
    "krum": krum,
    "multi_krum": multi_krum,
    "bulyan": bulyan,
    "aksel": aksel,
    "mda": mda,
    "smea": smea,
    "caf": caf,
    "monna": monna,
    "cge": cge,
    "dnc": dnc,
    "sign_guard": sign_guard,
    "filter_l2": filter_l2,
    "faba": faba,
    "flame": flame,
    "weak_dp": weak_dp,
}
STATEFUL: dict[str, Any] = {
    "centered_clipping": CenteredClipping,
    "foolsgold": FoolsGold,
    "clipped_clustering": ClippedClustering,
}


def vector_rule(name: str, vectors: Vectors, f: int, **more: Any) -> Vector:
    """Apply a rule in scope "block": geometric ones to the vectors, others by coordinate."""
    if name in GEOMETRIC:
        return GEOMETRIC[name](vectors, f, **more)
    if name in STATEFUL:
        answer: Vector = STATEFUL[name](f, **more)(vectors)
        return answer
    columns = [[float(v[j]) for v in vectors] for j in range(len(vectors[0]))]
    return np.array([COLUMNWISE[name](x, f) for x in columns])


def coordinate_rule(name: str, x: Sequence[float], f: int, **more: Any) -> float:
    """Apply a rule in scope "coordinate": to the values of one coordinate by themselves."""
    if name == "geometric_median":
        return median(x)
    if name == "krum":  # of tied values the smallest, for which there are many among whole numbers
        vectors = [np.array([value]) for value in sorted(x)]
        scores = krum_scores(vectors, f)
        return float(vectors[scores.index(min(scores))][0])
    return float(vector_rule(name, [np.array([value]) for value in x], f, **more)[0])


def pull(z: Vector, vectors: Vectors) -> float:
    """Return the norm of the least subgradient of Σ ‖z - x_i‖ over m: 0 at the geometric median."""
    vectors = [v for v in vectors if finite(v)]
    total, here = np.zeros_like(z), 0
    same = 1e-9 * median([length(v - z) for v in vectors]) + 1e-12 * length(z)
    for v in vectors:
        if length(v - z) <= same:
            here += 1
        else:
            total = total + (z - v) / length(v - z)
    return max(length(total) - here, 0.0) / len(vectors)


# -- pre-rules -------------------------------------------------------------------------------------


def nnm(vectors: Vectors, f: int) -> list[Vector]:
    mixed = []
    for a in vectors:
        others = [v for v in vectors if v is not a]
        nearest = sorted(others, key=lambda v: squared_distance(v, a))
        mixed.append(mean([a, *nearest[: len(vectors) - f - 1]]))
    return mixed


def bucketing(vectors: Vectors, f: int, s: int = 2, seed: int = 0) -> list[Vector]:
    order = np.random.default_rng([1, seed]).permutation(len(vectors))
    return [
        mean([vectors[i] for i in order[start : start + s]]) for start in range(0, len(order), s)
    ]


def clipping(vectors: Vectors, f: int, c: float = 2.0) -> list[Vector]:
    """Shorten the vectors; one with an entry that is not finite has none that is.

    A single value (scope "coordinate") stays what it is: -inf is the smallest.
    """
    clipped = []
    for v in vectors:
        if not finite(v):
            clipped.append(v if len(v) == 1 else np.full_like(v, np.nan))
        else:
            clipped.append(v * min(1.0, c / length(v)) if length(v) > 0 else v)
    return clipped


def arc(vectors: Vectors, f: int) -> list[Vector]:
    cut = math.floor(2 * f * (len(vectors) - f) / len(vectors) + 1e-9)
    limit = sorted((length(v) for v in vectors), reverse=True)[cut]
    return clipping(vectors, f, limit) if limit > 0 else [v * 0.0 for v in vectors]


def foundation_fl(vectors: Vectors, f: int, copies: int | None = None) -> list[Vector]:
    known = [v for v in vectors if finite(v)]
    columns = range(len(known[0]))
    if len(columns) == 1:
        known.sort(key=lambda v: float(v[0]))
    high = np.array([max(float(v[j]) for v in known) for j in columns])
    low = np.array([min(float(v[j]) for v in known) for j in columns])
    scores = [min(squared_distance(v, high), squared_distance(v, low)) for v in known]
    farthest = known[scores.index(max(scores))]
    whole = [v if finite(v) or len(v) == 1 else np.full_like(v, np.nan) for v in vectors]
    return [*whole, *(farthest.copy() for _ in range(f if copies is None else copies))]


PRE_RULES: dict[str, Callable[..., list[Vector]]] = {
    "foundation_fl": foundation_fl,
    "nnm": nnm,
    "bucketing": bucketing,
    "clipping": clipping,
    "arc": arc,
}


# -- pre-rules that see what follows them: `after` is a function of vectors -------------------------

After = Callable[[list[Vector]], Vector]


def ctma(vectors: Vectors, f: int, after: After) -> Vector:
    return nearest_to(vectors, f, [squared_distance(v, after(list(vectors))) for v in vectors])


def nearest_to(vectors: Vectors, f: int, away: Sequence[float]) -> Vector:
    """Average the m - f with the least; of equal ones the first, of single values the smaller."""
    order = sorted(
        range(len(vectors)),
        key=lambda i: (away[i], float(vectors[i][0]) if len(vectors[i]) == 1 else i),
    )
    return mean([vectors[i] for i in order[: len(vectors) - f]])


def gas(vectors: Vectors, f: int, after: After, parts: int = 10, seed: int = 0) -> Vector:
    d = len(vectors[0])
    drawn = np.random.default_rng([1, seed]).permutation(d)
    scores = [0.0 if finite(v) else math.inf for v in vectors]
    for chosen in np.array_split(drawn, min(parts, d)):
        part = [v[chosen] if finite(v) else np.full(len(chosen), np.nan) for v in vectors]
        answer = after(part)
        for i, v in enumerate(part):
            scores[i] += math.sqrt(squared_distance(v, answer))
    return nearest_to(vectors, f, scores)


def rlr(vectors: Vectors, f: int, after: After, threshold: int | None = None) -> Vector:
    answer = after(list(vectors)).copy()
    for j in range(len(answer)):
        votes = sum(np.sign(v[j]) for v in vectors if finite(v))
        if abs(votes) < (f + 1 if threshold is None else threshold):
            answer[j] = -answer[j]
    return answer


def first_step(vectors: Vectors, f: int, after: After, strength: float = 1.0) -> Vector:
    """Return the answer of step_clipping's first round, in which nothing is cut."""
    return after(list(vectors))


class StepClipping:
    """Rounds of step_clipping, of vectors that have some coordinates each time."""

    def __init__(self, strength: float, d: int) -> None:
        self.strength, self.d = strength, d
        self.answers: list[dict[int, float]] = []  # of each round, by coordinate

    def clipped(self, vectors: Vectors, block: Sequence[int]) -> list[Vector]:
        """Return the vectors, on the coordinates of a block, as what follows gets them."""
        last, path = dict[int, float](), dict[int, float]()
        for answer in self.answers:
            length = math.sqrt(sum(x * x for x in answer.values()))
            path = {j: moved + length for j, moved in path.items()} | dict.fromkeys(answer, length)
            last |= answer
        radius = self.strength * math.sqrt(sum(path.get(j, 0.0) ** 2 for j in block) / self.d)
        made = []
        for v in vectors:
            apart = [x - last[j] if j in last else 0.0 for j, x in zip(block, v, strict=True)]
            length = math.sqrt(sum(x * x for x in apart))
            share = min(1.0, radius / length) if length else 1.0
            moved = [
                last[j] + share * away if j in last else float(x)
                for j, x, away in zip(block, v, apart, strict=True)
            ]
            made.append(np.array(moved))
        return made


AROUND: dict[str, Callable[..., Vector]] = {
    "ctma": ctma,
    "gas": gas,
    "rlr": rlr,
    "step_clipping": first_step,
}


# -- ragged answers --------------------------------------------------------------------------------

TAG = 1e-6


def steps(present: NDArray[np.bool_]) -> list[tuple[list[int], list[int], list[int]]]:
    """Return senders, all that they all sent, and what just they sent, the fewest senders first.

    What more workers sent comes first, what just they sent last.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for j in range(present.shape[1]):
        senders = tuple(i for i in range(len(present)) if present[i, j])
        groups.setdefault(senders, []).append(j)
    found = []
    for senders, own in sorted(groups.items(), key=lambda item: (len(item[0]), item[1])):
        others = [
            j
            for j in range(present.shape[1])
            if j not in own and all(present[i, j] for i in senders)
        ]
        others.sort(key=lambda j: -sum(present[:, j]))
        found.append((list(senders), [*others, *own], own))
    return found


def configuration(
    values: NDArray[np.float64], present: NDArray[np.bool_], *known: Vector, origin: bool = True
) -> tuple[Vector, NDArray[np.float64]]:
    """Return the median c, and the inner products about it of c, other known points and workers.

    Those of c are left out where the origin does not matter.

    Those of two are taken on what both have and scaled to all; then projected, see
    `hgobench.aggregators.MaskedVectors`.
    """
    n, d = values.shape
    centre = np.array([median([float(values[i, j]) for i in range(n) if present[i, j]])
                       for j in range(d)])  # fmt: skip
    everything = set(range(d))
    points = [(centre, everything)] if origin else []
    points += [(point - centre, everything) for point in known]
    points += [(values[i] - centre, set(np.flatnonzero(present[i]))) for i in range(n)]
    gram = np.zeros((len(points), len(points)))
    for a, (x, on) in enumerate(points):
        for b, (y, also) in enumerate(points):
            both = on & also
            if both:
                gram[a, b] = d / len(both) * sum(float(x[j]) * float(y[j]) for j in both)
    lengths = np.sqrt(gram.diagonal())
    scale = np.array([1 / x if x else 0.0 for x in lengths])
    cosines = gram * np.outer(scale, scale)
    spectrum, vectors = np.linalg.eigh(cosines)
    if spectrum[0] < -1e-10 * max(spectrum[-1], 1.0):
        cosines = sum(
            (max(x, 0.0) * np.outer(v, v) for x, v in zip(spectrum, vectors.T, strict=True)),
            np.zeros_like(gram),
        )
        size = np.array([1 / math.sqrt(x) if x > 0 else 0.0 for x in cosines.diagonal()])
        cosines = cosines * np.outer(size, size)
        gram = cosines * np.outer(lengths, lengths)
    return centre, gram


def placed(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points that have these inner products, as rows."""
    spectrum, vectors = np.linalg.eigh(gram)
    return np.asarray(vectors * np.sqrt(np.maximum(spectrum, 0.0)))


def masked_weights(
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    rule: Callable[[list[Vector]], Vector],
    origin: bool,
) -> Vector:
    """Return the weights that a rule gives workers, as points of the `configuration`.

    Each point is marked in a dimension of its own, in which it is so near to 0 that no rule notices.
    """
    points = placed(configuration(values, present, origin=origin)[1])
    if origin:
        points = points[1:] + points[0]
    marked = np.concatenate((points, TAG * np.eye(len(values))), axis=1)
    return rule(list(marked))[-len(values) :] / TAG


def weighted(
    weights: Vector, values: NDArray[np.float64], present: NDArray[np.bool_]
) -> tuple[Vector, NDArray[np.bool_]]:
    """Return, coordinate by coordinate, the mean by weight of what was sent times all weight.

    And where nobody who sent has weight: there it is 0.
    """
    answer, stalled = [], []
    for j in range(values.shape[1]):
        senders = [i for i in range(len(values)) if present[i, j]]
        heard = sum(float(weights[i]) for i in senders)
        stalled.append(heard <= 0)
        total = sum(float(weights[i]) * float(values[i, j]) for i in senders)
        answer.append(total / heard * float(sum(weights)) if heard > 0 else 0.0)
    return np.array(answer), np.array(stalled)


# -- rows that count differently -------------------------------------------------------------------


def of_any(weights: Sequence[float], f: int) -> float:
    """Return the most that f workers can weigh."""
    return sum(sorted(weights, reverse=True)[:f])


def bounded_claims(
    claims: Sequence[float], f: int, senders: Sequence[Sequence[int]]
) -> list[float]:
    """Cut claims at the largest U with which any f of every set of senders have their share.

    That is a quarter of the way from f of its number to half; found by halving an interval 200
    times. Where f are half of a set or more, all of it count the same.
    """
    low, high = min(claims), max(claims)

    def fits(limit: float) -> bool:
        for who in senders:
            cut = [min(claims[i], limit) for i in who]
            if f > 0 and 2 * f >= len(who) and len({*cut}) > 1:
                return False
            if 0 < 2 * f < len(who) and 4 * of_any(cut, f) > (3 * f / len(who) + 1 / 2) * sum(cut):
                return False
        return True

    if not fits(high):
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        high = low
    return [min(claim, high) for claim in claims]


def weighted_mean(vectors: Vectors, weights: Sequence[float]) -> Vector:
    total = sum((s * v for s, v in zip(weights, vectors, strict=True)), np.zeros_like(vectors[0]))
    return np.asarray(total / sum(weights))


def weighted_median(x: Sequence[float], weights: Sequence[float]) -> float:
    """Return the middle of all points at which neither side is heavier than half."""
    total, fits = sum(weights), list[float]()
    for value in x:
        below = sum(s for v, s in zip(x, weights, strict=True) if v < value)
        above = sum(s for v, s in zip(x, weights, strict=True) if v > value)
        if max(below, above) <= total / 2 + 1e-12 * total:
            fits.append(value)
    return (min(fits) + max(fits)) / 2


def weighted_trimmed_mean(x: Sequence[float], weights: Sequence[float], f: int) -> float:
    """Integrate between the quantiles that leave as much at each end as f can weigh."""
    cut, total = of_any(weights, f), sum(weights)
    start, area = 0.0, 0.0
    for value, s in sorted(zip(x, weights, strict=True)):
        overlap = min(start + s, total - cut) - max(start, cut)
        area += max(overlap, 0.0) * value
        start += s
    return area / (total - 2 * cut)


def weighted_nearest(vectors: Vectors, weights: Sequence[float], f: int, point: Vector) -> Vector:
    """Average what is nearest to a point by weight, until all but what f can weigh is used."""
    room = sum(weights) - of_any(weights, f)
    total, left = np.zeros_like(vectors[0]), room
    for i in sorted(range(len(vectors)), key=lambda i: squared_distance(vectors[i], point)):
        used = min(weights[i], left)
        if used > 0:
            total, left = total + used * vectors[i], left - used
    return total / room
