"""Where other libraries compute what the papers define, where they do not, and what they do then.

    pip install -c constraints.txt '.[peers]' && pytest suites/test_conformance.py

Each row of `TABLE` is a test. Where a peer implements the definition, its answers and ours are
equal to 1e-5. Where it differs, the test states what it computes instead, and asserts that. Run as
a script, this file prints the table: that is ``docs/conformance.md``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hgobench import aggregators, attacks
from hgobench.suite import benchmarks
from hgobench.testing import view

Array = NDArray[np.float64]
N, F, D, TRIALS = 11, 2, 20, 25
WITHOUT = "needs the library to compare with: pip install 'hgobench[peers]'"


def byzfl(module: str) -> ModuleType:
    """Import ``byzfl.<module>`` alone; skip where it is missing, or does not import."""
    try:
        found: ModuleType | None = benchmarks("peers").alone("byzfl", module)
    except Exception as error:
        pytest.skip(f"{WITHOUT} ({type(error).__name__}: {error})")
    return pytest.skip(WITHOUT) if found is None else found


def samples(n: int = N) -> list[Array]:
    """Return random values (n, D), the same ones always."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal((n, D)) for _ in range(TRIALS)]


def theirs(name: str, *arguments: Any, **keywords: Any) -> Callable[[Array], Array]:
    """Return a rule or pre-rule of ByzFL."""
    made = getattr(byzfl("aggregators"), name)(*arguments, **keywords)
    return lambda x: np.asarray(made(x.copy()))


def ours(specification: str, f: int = F) -> Callable[[Array], Array]:
    """Return our rule."""
    made = aggregators.build(specification, f=f)
    return lambda x: made(torch.from_numpy(x)).numpy()


def assert_equal(a: Callable[[Array], Array], b: Callable[[Array], Array], n: int = N) -> None:
    """Both agree on every sample to 1e-5."""
    for x in samples(n):
        np.testing.assert_allclose(a(x), b(x), rtol=1e-5, atol=1e-5)


def assert_differ(a: Callable[[Array], Array], b: Callable[[Array], Array], n: int = N) -> None:
    """The two disagree on some sample."""
    assert any(np.abs(a(x) - b(x)).max() > 1e-3 for x in samples(n))


# -- what differs ----------------------------------------------------------------------------------


def squared_distances(x: Array) -> Array:
    """Return all squared distances, (n, n)."""
    found: Array = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    return found


def krum_order(x: Array, neighbours: int) -> NDArray[np.int64]:
    """Rank vectors by the sum of their smallest squared distances to others."""
    scores = np.sort(squared_distances(x), axis=1)[:, 1 : neighbours + 1].sum(axis=1)
    return np.argsort(scores, kind="stable")


def krum() -> None:
    """Krum with n - f - 1 neighbours is theirs, with n - f - 2 ours; sometimes they differ."""
    assert_equal(theirs("Krum", F), lambda x: x[krum_order(x, N - F - 1)[0]])
    assert_equal(ours("krum"), lambda x: x[krum_order(x, N - F - 2)[0]])
    assert_differ(theirs("Krum", F), ours("krum"))


def multi_krum() -> None:
    """Theirs averages the n - f best by n - f - 1 neighbours, ours n - f - 2 by n - f - 2."""
    assert_equal(
        theirs("MultiKrum", F), lambda x: x[krum_order(x, N - F - 1)[: N - F]].mean(axis=0)
    )
    assert_equal(
        ours("multi_krum"), lambda x: x[krum_order(x, N - F - 2)[: N - F - 2]].mean(axis=0)
    )
    assert_differ(theirs("MultiKrum", F), ours("multi_krum"))


def weiszfeld(x: Array, smoothing: float, steps: int) -> Array:
    """Run Weiszfeld's iteration from 0, distances bounded from below."""
    z = np.zeros(x.shape[1])
    for _ in range(steps):
        weights = 1.0 / np.maximum(np.linalg.norm(x - z, axis=1), smoothing)
        z = weights @ x / weights.sum()
    return z


def geometric_median() -> None:
    """Three smoothed steps by default; with 1,000 and no smoothing it is ours."""
    assert_equal(theirs("GeometricMedian"), lambda x: weiszfeld(x, 0.1, 3))
    assert_differ(theirs("GeometricMedian"), ours("geometric_median"))
    assert_equal(theirs("GeometricMedian", nu=1e-12, T=1000), ours("geometric_median"))


def centered_clipping() -> None:
    """Both start from 0 and then from their last answer."""
    for steps in (1, 3):
        peer = theirs("CenteredClipping", L=steps, tau=1.0)
        assert_equal(peer, ours(f"centered_clipping[tau=1,iterations={steps}]"))


def narrowest(x: Array, f: int) -> list[tuple[int, ...]]:
    """Return all subsets of n - f with the least diameter, in lexicographic order."""
    distances = squared_distances(x)
    subsets = list(itertools.combinations(range(len(x)), len(x) - f))
    widths = [distances[np.ix_(subset, subset)].max() for subset in subsets]
    return [s for s, width in zip(subsets, widths, strict=True) if width <= min(widths)]


def mda() -> None:
    """Of subsets with the least diameter theirs takes the first, ours the least scattered."""

    def scatter(x: Array) -> float:
        return float(((x - x.mean(axis=0)) ** 2).sum())

    first = lambda x: x[list(narrowest(x, F)[0])].mean(axis=0)  # noqa: E731
    least = lambda x: min((x[list(s)] for s in narrowest(x, F)), key=scatter).mean(axis=0)  # noqa: E731
    assert_equal(theirs("MDA", F), first)
    assert_equal(ours("mda"), least)
    assert_differ(theirs("MDA", F), ours("mda"))


def answers(rule: Callable[[Array], Array], x: Array, times: int = 20) -> int:
    """Count the different answers to the same input."""
    return len({rule(x).tobytes() for _ in range(times)})


def power_iteration(name: str, specification: str) -> Callable[[], None]:
    """Say of a rule that theirs takes one power step from a random vector for an eigenvector."""

    def check() -> None:
        x = samples()[0]
        assert answers(theirs(name, F), x) > 1
        assert answers(ours(specification), x) == 1
        assert_differ(theirs(name, F), ours(specification))

    return check


def bucketing() -> None:
    """The permutation is random: each of their buckets is the mean of two vectors, as ours is."""
    for x in samples(4):
        pairings = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
        expected = [{tuple(x[list(p)].mean(axis=0).round(9)) for p in pair} for pair in pairings]
        found = {tuple(row.round(9)) for row in theirs("Bucketing", 2)(x)}
        assert found in expected
    assert_equal(
        lambda x: theirs("Bucketing", 3)(x).mean(axis=0), ours("bucketing[s=3]+average"), n=12
    )


def keeps_input(name: str, specification: str, *arguments: Any) -> Callable[[], None]:
    """Say of a pre-rule that both agree, and that theirs writes into its input."""

    def check() -> None:
        pre, average = theirs(name, *arguments), theirs("TrMean", F)
        assert_equal(lambda x: average(pre(x)), ours(specification))
        x = samples()[0] * 10.0
        before = x.copy()
        getattr(byzfl("aggregators"), name)(*arguments)(x)
        assert not np.array_equal(x, before)
        x = before.copy()
        ours(specification)(x)
        assert np.array_equal(x, before)

    return check


def nan_poisons(name: str, specification: str, *arguments: Any) -> Callable[[], None]:
    """Say of a rule that one worker's NaN makes their answer NaN, and ours not."""

    def check() -> None:
        x = samples()[0]
        x[0] = np.nan
        assert np.isnan(theirs(name, *arguments)(x)).any()
        assert np.isfinite(ours(specification)(x)).all()

    return check


def alie() -> None:
    """Theirs goes 1.5 sample deviations up, ours z_max population deviations down."""
    seen = view(honest=9, byzantine=4, dimension=D)
    assert seen.honest is not None
    honest = seen.honest.double().numpy()
    up = np.asarray(byzfl("attacks").ALittleIsEnough()(honest))
    mean, spread = honest.mean(axis=0), honest.std(axis=0)
    np.testing.assert_allclose(up, mean + 1.5 * honest.std(axis=0, ddof=1), rtol=1e-5)
    down = attacks.build("alie[z=1.5]")(seen).values[0].numpy()
    np.testing.assert_allclose(down, mean - 1.5 * spread, rtol=1e-4, atol=1e-5)
    largest = attacks.build("alie")(seen).values[0].numpy()
    z = ((mean - largest) / spread).mean()
    # n = 13, m = 4: s = 3 supporters are needed, so Φ(z) = (9 - 3) / 9.
    assert z == pytest.approx(0.4307, abs=1e-3)
    assert 0.5 * (1 + math.erf(z / math.sqrt(2))) == pytest.approx(6 / 9, abs=1e-4)


def ipm() -> None:
    """Equal for equal factors; theirs is 2 by default, ours 10."""
    seen = view(dimension=D)
    assert seen.honest is not None
    for factor in (0.5, 2.0, 10.0):
        peer = byzfl("attacks").InnerProductManipulation(tau=factor)(seen.honest.numpy())
        sent = attacks.build(f"foe[epsilon={factor}]")(seen).values[0]
        np.testing.assert_allclose(sent, peer, rtol=1e-5, atol=1e-6)


def sign_flip() -> None:
    """Theirs flips the honest mean, which takes knowing it; ours the attacker's own gradient."""
    seen = view(dimension=D)
    assert seen.honest is not None
    assert seen.own is not None
    peer = byzfl("attacks").SignFlipping()(seen.honest.numpy())
    np.testing.assert_allclose(peer, -seen.honest.mean(dim=0), rtol=1e-5, atol=1e-6)
    sent = attacks.build("sign_flip")(seen).values
    np.testing.assert_allclose(sent, -seen.own, rtol=1e-5)


def equal(name: str, specification: str, *arguments: Any, n: int = N) -> Callable[[], None]:
    """Say of a rule that both agree."""
    return lambda: assert_equal(theirs(name, *arguments), ours(specification), n)


def before_trimmed_mean(name: str, specification: str, *arguments: Any) -> Callable[[], None]:
    """Say of a pre-rule that both agree before a trimmed mean."""

    def check() -> None:
        pre, rule = theirs(name, *arguments), theirs("TrMean", F)
        assert_equal(lambda x: rule(pre(x)), ours(f"{specification}+trimmed_mean"))

    return check


# -- the table -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One comparison: `check` passes if what the row says holds."""

    peer: str
    ours: str
    verdict: str
    why: str
    check: Callable[[], None]


EQUAL = "equal"
DIFFERS = "differs"
ONE_STEP = (
    "theirs takes one power step from an unseeded random vector for the top eigenvector: "
    "20 identical calls give several answers; ours is exact"
)

TABLE = [
    Row("Average", "average", EQUAL, "", equal("Average", "average")),
    Row("Median", "median", EQUAL, "midpoint if n is even", equal("Median", "median", n=12)),
    Row("TrMean", "trimmed_mean", EQUAL, "", equal("TrMean", "trimmed_mean", F)),
    Row("Meamed", "meamed", EQUAL, "", equal("Meamed", "meamed", F)),
    Row("MoNNA", "monna", EQUAL, "", equal("MoNNA", "monna", F)),
    Row(
        "CenteredClipping",
        "centered_clipping",
        EQUAL,
        "for equal τ, over rounds; theirs has τ = 100 by default, ours 1",
        centered_clipping,
    ),
    Row("NNM", "nnm", EQUAL, "", before_trimmed_mean("NNM", "nnm", F)),
    Row(
        "Bucketing",
        "bucketing",
        EQUAL,
        "up to the random permutation; theirs has s = 1 by default, ours 2",
        bucketing,
    ),
    Row(
        "Clipping",
        "clipping",
        EQUAL,
        "theirs overwrites its input",
        keeps_input("Clipping", "clipping+trimmed_mean", 2.0),
    ),
    Row(
        "ARC",
        "arc",
        EQUAL,
        "theirs overwrites its input",
        keeps_input("ARC", "arc+trimmed_mean", F),
    ),
    Row(
        "Krum",
        "krum",
        DIFFERS,
        "theirs counts n - f - 1 neighbours, the paper and ours n - f - 2",
        krum,
    ),
    Row(
        "MultiKrum",
        "multi_krum",
        DIFFERS,
        "theirs averages the n - f best by n - f - 1 neighbours, ours at most n - f - 2 by "
        "n - f - 2, as is usually asked for",
        multi_krum,
    ),
    Row(
        "GeometricMedian",
        "geometric_median",
        DIFFERS,
        "theirs stops after 3 smoothed steps (ν = 0.1); with ν = 1e-12 and 1,000 steps it is ours",
        geometric_median,
    ),
    Row(
        "MDA",
        "mda",
        DIFFERS,
        "several subsets have the least diameter: theirs takes the first, ours the least scattered",
        mda,
    ),
    Row("CAF", "caf", DIFFERS, ONE_STEP, power_iteration("CAF", "caf")),
    Row("SMEA", "smea", DIFFERS, ONE_STEP, power_iteration("SMEA", "smea")),
    Row(
        "Median, a worker sends NaN",
        "median",
        DIFFERS,
        "theirs is NaN, ours ignores up to f",
        nan_poisons("Median", "median"),
    ),
    Row(
        "Krum, a worker sends NaN",
        "krum",
        DIFFERS,
        "theirs is NaN, ours ignores up to f",
        nan_poisons("Krum", "krum", F),
    ),
    Row(
        "ALittleIsEnough",
        "alie",
        DIFFERS,
        "theirs sends μ + 1.5·σ with the sample deviation, ours μ - z·σ with the population's and "
        "z = z_max of the paper",
        alie,
    ),
    Row(
        "InnerProductManipulation",
        "foe",
        EQUAL,
        "for equal ε; theirs has 2 by default, ours 10",
        ipm,
    ),
    Row(
        "SignFlipping",
        "sign_flip",
        DIFFERS,
        "theirs flips the honest mean, ours the attacker's own gradient",
        sign_flip,
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.peer.replace(" ", "_"))
def test_conformance(row: Row) -> None:
    row.check()


def markdown() -> str:
    """Return the page of the documentation."""
    lines = [
        "# Conformance with other libraries",
        "",
        "Why numbers differ from those of ByzFL 0.0.11. Each row is a test of",
        "`suites/test_conformance.py`, which makes this page: *equal* means to",
        f"1e-5 on {TRIALS} random inputs of {N} or 12 workers with f = {F}; where something",
        "*differs*, the test asserts what the other library computes instead.",
        "",
        "| ByzFL | hgobench | verdict | what to know |",
        "|---|---|---|---|",
    ]
    lines += [f"| {row.peer} | `{row.ours}` | {row.verdict} | {row.why} |" for row in TABLE]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
