"""Intervals, tests and ranks of rows, held against definitions and laws."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hgobench import statistics
from hgobench.errors import InputError
from hgobench.statistics import (
    FEWEST,
    Outcomes,
    Paired,
    Rank,
    certain,
    compare,
    coverage,
    draw,
    estimates,
    step_down,
)
from hgobench.statistics.draws import FINE, GROUPS

RNG = np.random.default_rng


def outcomes(accuracy: Any) -> Outcomes:
    return Outcomes(np.atleast_2d(np.asarray(accuracy, dtype=np.float64)))


def of_marks(marks: Any) -> Outcomes:
    """What a row did, from (A, S, N) bool."""
    return Outcomes(marks.mean(axis=2), np.packbits(marks, axis=2), marks.shape[2])


def marks(seed: int, attacks: int, seeds: int, examples: int, share: float = 0.8) -> Any:
    """Examples of differing difficulty: (A, S, N)."""
    rng = RNG(seed)
    hard = rng.beta(4 * share, 4 * (1 - share), examples)
    return rng.random((attacks, seeds, examples)) < hard


@pytest.mark.parametrize("seeds", [1, 3, 8, 20, 40])
def test_of_seeds_that_are_right_or_wrong_the_interval_is_clopper_and_pearson_s(seeds: int) -> None:
    for right in {0, 1, seeds // 2, seeds}:
        found = statistics.estimate((np.arange(seeds) < right).astype(np.float64))
        exact = stats.binomtest(right, seeds).proportion_ci(method="exact")
        assert found.low == pytest.approx(exact.low, abs=0.025)
        assert found.high == pytest.approx(exact.high, abs=0.025)
        assert found.mean == right / seeds
        assert found.seeds == seeds


ACCURACIES = st.integers(1, 5).flatmap(
    lambda seeds: st.lists(
        st.lists(st.floats(0, 1), min_size=seeds, max_size=seeds), min_size=1, max_size=4
    )
)


@settings(max_examples=60, deadline=None)
@given(ACCURACIES)
def test_laws_of_the_worst_case(rows: list[list[float]]) -> None:
    row = outcomes(rows)
    each, worst = estimates(row)
    known = estimates(row.known_seed())[1]
    assert worst.mean == min(one.mean for one in each) == row.value
    assert 0 <= worst.low <= worst.mean <= worst.high <= 1
    assert all(0 <= one.low <= one.mean <= one.high <= 1 for one in each)
    assert worst.low == min(one.low for one in each)
    assert worst.high >= min(one.high for one in each)  # it counts looks
    assert known.mean <= worst.mean + 1e-12  # who knows the seed attacks no worse
    assert estimates(outcomes(rows[::-1]))[1] == worst  # attacks have no order
    twice = estimates(outcomes([*rows, *rows]))[1]  # the same attack again is no further look
    assert (twice.low, twice.high, twice.mean) == (worst.low, worst.high, worst.mean)


def test_a_further_attack_is_a_further_look_at_the_upper_end_alone() -> None:
    rng = RNG(0)
    row = rng.normal(0.8, 0.05, (12, 12)).clip(0, 1)
    row += 0.8 - row.mean(axis=1, keepdims=True)  # attacks that are tied
    each, worst = estimates(outcomes(row.clip(0, 1)))
    assert worst.high > max(one.high for one in each)
    assert worst.low == min(one.low for one in each)


def test_a_replicate_is_what_it_is_defined_as() -> None:
    """A weight per seed and per example, and one more of each kind, at 0 or at 1."""
    bits = marks(1, attacks=2, seeds=4, examples=30)
    row, draws = of_marks(bits), draw(4, 30, replicates=200)
    each, _ = estimates(row, draws)
    for attack, found in enumerate(each):
        ends = []
        for unseen in (0, 1):
            values = []
            for b in range(200):
                seeds = draws.seeds[:, b] / draws.seeds[:, b].sum()
                examples = draws.examples[:, b] / draws.examples[:, b].sum()
                of_seeds = [*bits[attack].mean(axis=1), unseen]
                of_examples = [*bits[attack].mean(axis=0), unseen]
                values.append(seeds @ of_seeds + examples @ of_examples - bits[attack].mean())
            ends.append(sorted(values))
        assert found.low == pytest.approx(max(ends[0][5], 0.0))  # 2.5 % of 200
        assert found.high == pytest.approx(min(ends[1][194], 1.0))


@pytest.mark.parametrize("examples", [1, 20, 100])
def test_where_few_examples_are_all_right_the_interval_expects_others(examples: int) -> None:
    """With many seeds its lower end is Clopper and Pearson's of the examples."""
    row = of_marks(np.ones((1, 600, examples), dtype=bool))
    found = estimates(row, draw(600, examples))[1]
    exact = stats.binomtest(examples, examples).proportion_ci(method="exact")
    assert found.low == pytest.approx(exact.low, abs=0.02)
    assert found.high == 1


def test_intervals_cover_where_examples_are_few_and_a_kind_of_them_is_rare() -> None:
    """In three of ten such sets the kind is missing, which no number of seeds shows."""
    times, hits, blind, rng, draws = 120, 0, 0, RNG(9), draw(200, 30, 400)
    theta = 0.99 * (1 - 0.04)
    for _ in range(times):
        learnt = rng.random(30) >= 0.04
        row = of_marks((rng.random((1, 200, 30)) < 0.99) & learnt)
        found = estimates(row, draws)[1]
        hits += found.low <= theta <= found.high
        blind += estimates(Outcomes(row.accuracy), draw(200, 0, 400))[1].low <= theta
    assert hits / times >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / times)
    assert blind / times < 0.8


@pytest.mark.parametrize("examples", [60, GROUPS, 3000])
def test_examples_add_their_variance_however_many_there_are(examples: int) -> None:
    bits = marks(2, attacks=3, seeds=5, examples=examples)
    row = of_marks(bits)
    expected = bits.mean(axis=1).std(axis=1) / math.sqrt(examples)
    assert row.deviations(row.draws()).std(axis=1) == pytest.approx(expected, rel=0.12)
    assert abs(row.deviations(row.draws()).mean(axis=1)).max() < 4 * expected.max() / math.sqrt(
        2000
    )
    pair = np.array([1]), np.array([2])
    shares = bits.mean(axis=1)
    by_seed, by_examples = Paired.of([row]).variances(*pair)
    assert by_seed == pytest.approx(np.var(bits[1].mean(axis=1) - bits[2].mean(axis=1), ddof=1))
    assert by_examples == pytest.approx((shares[1] - shares[2]).var() / examples)


def test_a_cell_that_is_missing_counts_for_nothing() -> None:
    bits = marks(3, attacks=2, seeds=5, examples=40)
    accuracy, right = bits.mean(axis=2), np.packbits(bits, axis=2)
    accuracy[1, 2], right[1, 2] = math.nan, 0
    accuracy[:, 4], right[:, 4] = math.nan, 0
    row = Outcomes(accuracy, right, 40)
    each, worst = estimates(row)
    assert [one.seeds for one in each] == [4, 3]
    assert worst.seeds == 4
    assert each[1].mean == pytest.approx(accuracy[1, [0, 1, 3]].mean())
    change = row.deviations(row.draws())[1]
    alone = of_marks(bits[1:, [0, 1, 3]]).deviations(row.draws())[0]
    assert change == pytest.approx(alone)
    with pytest.raises(InputError, match="rows: a cell is missing; expected one of each"):
        Paired.of([row, row])


def test_without_bits_seeds_alone_are_drawn() -> None:
    bits = marks(4, attacks=2, seeds=10, examples=50)
    with_bits, without = of_marks(bits), Outcomes(bits.mean(axis=2))
    assert without.deviations(without.draws()).std() == 0
    wide, narrow = estimates(with_bits)[1], estimates(without)[1]
    assert wide.low < narrow.low
    assert wide.mean == narrow.mean


def test_draws_are_the_same_bits_every_time_and_paired() -> None:
    one = draw(5, 40)
    draw.cache_clear()
    other = draw(5, 40)
    for name in ("seeds", "signs", "examples", "group"):
        assert (getattr(one, name) == getattr(other, name)).all()
    assert set(np.unique(one.signs)) == {-1.0, 1.0}
    assert one.examples.shape == (41, 2000)
    assert (one.examples * FINE % 1 == 0).all()  # sums of them are exact in any order
    assert one.examples.min() > 0
    with pytest.raises(ValueError, match="read-only"):
        one.signs[0, 0] = 0.0
    with pytest.raises(InputError, match="seeds: 0; expected 1 or more"):
        draw(0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (lambda: outcomes([[0.5, 1.5]]), r"accuracy: 1\.5; expected a number in \[0, 1\]"),
        (lambda: outcomes([[0.5], [math.nan]]), "accuracy: an attack without cells"),
        (lambda: Outcomes(np.zeros(3)), r"accuracy: shape \(3,\); expected \(attacks, seeds\)"),
        (
            lambda: Outcomes(np.zeros((1, 2)), np.zeros((1, 2, 2), np.uint8), 3),
            r"right: shape \(1, 2, 2\); expected \(1, 2, 1\)",
        ),
        (
            lambda: Outcomes(np.full((1, 1), 0.5), np.full((1, 1, 1), 255, np.uint8), 8),
            r"right: 1 of 8 examples, where the accuracy is 0\.5; expected the same",
        ),
        (lambda: Outcomes(np.zeros((1, 2)), None, 3), "examples: 3; expected 0, as right is None"),
        (lambda: Paired.of([]), "rows: 0 with"),
        (lambda: compare(outcomes([[1.0]]), outcomes([[1.0, 0.0]])), "rows: 2 with"),
    ],
)
def test_refusals(row: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        row()


def statistic(first: Any, second: Any) -> float:
    """min over attacks on the first of max over attacks on the second of t."""

    def t(d: Any) -> float:
        return float(d.mean() / (d.std(ddof=1) / math.sqrt(len(d)) + 1e-300))

    return min(max(t(a - b) for b in second) for a in first)


def sign_flipping(first: Any, second: Any) -> float:
    """The exact p-value of two rows over all 2^S ways to flip the signs of their differences."""
    seeds = first.shape[1]
    observed = max(statistic(first, second), statistic(second, first))
    one, other = (row[row.mean(axis=1).argmin()][None] for row in (first, second))
    larger = []
    for signs in itertools.product((-1, 1), repeat=seeds):
        null = max(
            statistic((a - b) * np.array(signs), np.zeros((1, seeds)))
            for better, worse in ((one, second), (other, first))
            for a in better
            for b in worse[:, None]
        )
        larger.append(null >= observed - 1e-9)
    return float(np.mean(larger))


@pytest.mark.parametrize("attacks", [(1, 1), (1, 3), (3, 2)])
@pytest.mark.parametrize("seeds", [6, 9])
@pytest.mark.parametrize("apart", [0.0, 0.04, 0.1])
def test_of_two_rows_the_test_is_the_exact_sign_flipping_test(
    attacks: tuple[int, int], seeds: int, apart: float
) -> None:
    rng = RNG(seeds)
    first = rng.uniform(0.5, 0.6, (attacks[0], seeds))
    second = rng.uniform(0.5, 0.6, (attacks[1], seeds)) - apart
    found = compare(outcomes(first), outcomes(second))
    assert found.p == pytest.approx(sign_flipping(first, second), abs=0.03)
    assert found.difference == pytest.approx(first.mean(axis=1).min() - second.mean(axis=1).min())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(FEWEST, 12), st.sampled_from([0, 40]))
def test_a_comparison_agrees_with_its_interval_and_with_the_test_of_many(
    seed: int, seeds: int, examples: int
) -> None:
    rng, share = RNG(seed), RNG(seed).uniform(0.3, 0.8, 2)
    if examples:
        rows = [of_marks(marks(seed + i, 1, seeds, examples, s)) for i, s in enumerate(share)]
    else:
        rows = [outcomes(rng.normal(s, 0.1, (1, seeds)).clip(0, 1)) for s in share]
    found, back = compare(rows[0], rows[1]), compare(rows[1], rows[0])
    assert found.p == back.p == step_down(Paired.of(rows)).min()
    assert (found.low, found.high) == pytest.approx((-back.high, -back.low))
    assert found.low <= found.difference <= found.high
    assert (found.verdict == "not told apart") == (found.low <= 0 <= found.high)
    swap = {"first": "second", "second": "first"}
    assert back.verdict == swap.get(found.verdict, found.verdict)


def test_fewer_than_six_seeds_tell_nothing_apart_and_six_can() -> None:
    good, bad = [0.9, 0.91, 0.92, 0.9, 0.91, 0.92], [0.1, 0.11, 0.1, 0.12, 0.1, 0.1]
    found = compare(outcomes(good[:5]), outcomes(bad[:5]))
    assert (found.verdict, found.low, found.high, found.p) == ("too few seeds", -1.0, 1.0, 1.0)
    found = compare(outcomes(good), outcomes(bad))
    assert found.verdict == "first"
    assert found.p == pytest.approx(2 / 2**6, abs=0.02)


def test_rows_that_always_agree_are_never_told_apart() -> None:
    row = outcomes(RNG(0).random((2, 20)))
    found = compare(row, row)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert statistics.ranges(step_down(Paired.of([row] * 3))) == [Rank(1, 3)] * 3


def test_a_constant_difference_is_one() -> None:
    row = RNG(0).uniform(0.2, 0.6, 20)
    found = compare(outcomes(row + 0.25), outcomes(row))
    assert found.verdict == "first"
    assert found.p < 0.002


def rows_of(rng: Any, shifts: list[float], seeds: int, noise: float = 0.03) -> list[Outcomes]:
    world = rng.normal(0, 0.05, seeds)
    return [
        outcomes((0.6 + shift + world + rng.normal(0, noise, seeds)).clip(0, 1)) for shift in shifts
    ]


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.lists(st.sampled_from([0.0, 0.05, 0.2]), min_size=1, max_size=6)
)
def test_laws_of_ranks(seed: int, shifts: list[float]) -> None:
    rows = rows_of(RNG(seed), shifts, 10)
    paired = Paired.of(rows)
    p = step_down(paired)
    found = statistics.ranges(p)
    R = len(rows)
    assert all(1 <= rank.first <= rank.last <= R for rank in found)
    assert min(rank.first for rank in found) == 1
    assert max(rank.last for rank in found) == R
    by_value = sorted(range(R), key=lambda j: -rows[j].value)
    assert found[by_value[0]].first == 1
    assert found[by_value[-1]].last == R
    turned = statistics.ranges(step_down(Paired.of(rows[::-1])))
    assert turned == found[::-1]
    better = p <= 0.05
    assert not (better & better.T).any()
    assert (paired.value[:, None] > paired.value)[better].all()
    assert (better | ~certain(paired, p)).all()


def test_ranks_tell_clear_groups_apart() -> None:
    rows = rows_of(RNG(1), [0.0, 0.0, 0.2, 0.2, 0.2, -0.2], 20)
    assert [str(rank) for rank in statistics.ranges(step_down(Paired.of(rows)))] == [
        "4-5", "4-5", "1-3", "1-3", "1-3", "6",
    ]  # fmt: skip


def test_a_later_step_is_easier_than_the_first() -> None:
    """Once the clear pairs are decided, the others are held against each other alone."""
    rng = RNG(5)
    near = rows_of(rng, [0.0, 0.035], 20)
    noisy = [outcomes(rng.choice([0.1, 0.9], 20)) for _ in range(6)]
    alone = step_down(Paired.of(near))[0, 1]
    among = step_down(Paired.of([*near, *noisy]))
    assert among[0, 1] >= alone
    assert (np.diag(among) == 1).all()
    clear = step_down(Paired.of([*near, outcomes(np.full(20, 0.1) + rng.normal(0, 0.01, 20))]))
    three = step_down(Paired.of([*near, near[0]]))
    assert clear[0, 1] <= three[0, 1]


def test_a_row_with_many_attacks_that_tie_is_not_taken_for_a_worse_one() -> None:
    """The lowest of its means is too low; the other row is steady, which tells most easily."""
    rng, wrong, times = RNG(6), 0, 200
    for _ in range(times):
        many = np.where(rng.random((10, 10)) < 0.5, 0.1, 0.9) + rng.normal(0, 0.04, (10, 10))
        one = 0.5 + rng.normal(0, 0.02, (1, 10))
        rows = Paired.of([outcomes(row.clip(0, 1)) for row in (many, one)], draw(10, 0, 300))
        wrong += bool((step_down(rows) <= 0.05).any())
    assert wrong <= stats.binom.ppf(0.999, times, 0.05)


def test_contenders_are_the_attacks_that_may_be_the_worst() -> None:
    rng = RNG(3)
    tied, clear = rng.normal(0.5, 0.05, (6, 20)), rng.normal(0.9, 0.02, (5, 20))
    rows = [outcomes(np.concatenate([clear, tied]).clip(0, 1)), outcomes(tied[:2])]
    paired = Paired.of(rows)
    assert paired.contenders.tolist() == [False] * 5 + [True] * 8
    assert paired.left_out == 0.005
    assert Paired.of(rows[1:]).left_out == 0
    alone = step_down(Paired.of([outcomes(tied), rows[1]]))
    assert step_down(paired) == pytest.approx(alone + 0.005 * (1 - np.eye(2)), abs=1e-9)


def test_what_is_certain_is_gaffke_s_p_value() -> None:
    """For differences above 0 it is Π 1/(1 + x_s): E_0 is larger than their weighted sum."""
    rng = RNG(4)
    better, worse = rng.uniform(0.6, 0.7, (1, 8)), rng.uniform(0.3, 0.4, (1, 8))
    paired = Paired.of([outcomes(better), outcomes(worse)])
    exact = np.prod(1 / (1 + better - worse))
    assert paired.unproven(0, 1) == pytest.approx(exact, rel=0.05)
    assert paired.unproven(1, 0) == pytest.approx(1)
    assert not compare(outcomes(better), outcomes(worse)).certain  # 8 seeds show too little of it
    many = compare(outcomes(np.tile(better, 4)), outcomes(np.tile(worse, 4)))
    assert many.certain
    hidden = np.concatenate([np.tile(better, 4), np.tile(better, 4) - 0.25])  # a second attack
    assert not compare(outcomes(hidden), outcomes(np.tile(worse, 4))).certain


@pytest.mark.parametrize("seeds", [10, 20])
def test_ranks_err_where_seeds_hide_collapses_and_what_is_certain_does_not(seeds: int) -> None:
    """Of rows that are alike on average some collapse in one run of 20, the others never."""
    design = coverage.Design(seeds, 0.05, (1,) * 4, steady=True)
    ranks, surely = coverage.told(design, 40, 200)
    assert ranks.wrong > 0.3
    assert surely.wrong == 0
    clear = coverage.Design(30, 0.0, (1, 2), gap=0.5, examples=60)
    ranks, surely = coverage.told(clear, 10, 200)
    assert (ranks.right, surely.right) == (1, 1)


@pytest.mark.parametrize("collapse", [0.0, 0.15])
def test_family_wise_error(collapse: float) -> None:
    """Of rows that are all alike none is told apart, in 95 of 100 boards or more."""
    rng, wrong = RNG(7), 0
    for _ in range(150):
        world = rng.normal(0, 0.05, 10)
        accuracy = (0.8 + world + rng.normal(0, 0.04, (5, 10))).clip(0, 1)
        accuracy[rng.random((5, 10)) < collapse] = 0.1
        rows = Paired.of([outcomes(row) for row in accuracy], draw(10, 0, 400))
        wrong += bool((step_down(rows) <= 0.05).any())
    assert wrong <= stats.binom.ppf(0.999, 150, 0.05)


@pytest.mark.parametrize("of", [1, 5, 20])
def test_the_share_of_collapsed_seeds_is_scipy_s_exact_interval(of: int) -> None:
    for count in range(of + 1):
        exact = stats.binomtest(count, of).proportion_ci(method="exact")
        found = statistics.share(count, of)
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
        assert (found.count, found.of) == (count, of)


def test_the_share_of_collapsed_seeds_has_an_exact_interval() -> None:
    assert statistics.share(0, 20).high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert statistics.share(20, 20).low == pytest.approx(0.025 ** (1 / 20))


@pytest.mark.parametrize("collapse", [0.0, 0.5])
def test_simulated_rows_have_the_truth_that_is_claimed(collapse: float) -> None:
    design = coverage.Design(400, collapse, (2,))
    (row,) = design.rows(RNG(0))
    error = math.sqrt(collapse * (1 - collapse) * 0.83**2 / 400 + 0.3**2 / coverage.EXAMPLES)
    assert row.means == pytest.approx(np.full(2, design.theta[0]), abs=3.5 * error)


@pytest.mark.long
@pytest.mark.parametrize("attacks", [1, 4])
@pytest.mark.parametrize("seeds", coverage.SEEDS)
def test_intervals_cover_at_every_share_of_collapses(seeds: int, attacks: int) -> None:
    """0.93 or more, less three standard errors of what is simulated."""
    times = 200
    for collapse in coverage.SHARES:
        design = coverage.Design(seeds, collapse, (attacks,))
        covered, width = coverage.covered(design, times, ("boards",))["boards"]
        assert covered >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / times), (collapse, covered)
        assert width < 1


@pytest.mark.long
def test_intervals_that_expect_no_collapse_do_not_cover() -> None:
    """What the choice is for: the simulation can fail an interval."""
    design = coverage.Design(10, 0.05, (1,))
    found = coverage.covered(design, 200)
    assert found["Student"][0] < 0.7
    assert found["percentile bootstrap"][0] < 0.7
    valid = ("boards", "Anderson", "empirical Bernstein", "betting")
    assert all(found[kind][0] >= 0.93 for kind in valid)
    assert min(valid, key=lambda kind: found[kind][1]) == "boards"  # the narrowest that holds


@pytest.mark.long
@pytest.mark.parametrize("attacks", [(1,) * 6, (1, 1, 1, 6, 6, 6)])
@pytest.mark.parametrize("seeds", [6, 10, 20])
def test_ranks_seldom_err_at_any_share_of_collapses(seeds: int, attacks: tuple[int, ...]) -> None:
    """5 % and three standard errors of what is simulated."""
    times = 150
    for collapse in coverage.SHARES:
        ranks, surely = coverage.told(coverage.Design(seeds, collapse, attacks), times)
        assert ranks.wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / times), collapse
        assert surely.wrong <= 0.05


@pytest.mark.long
@pytest.mark.parametrize(("attacks", "examples"), [((1,) * 20, 360), ((1, 1, 6), 30)])
def test_what_is_certain_holds_whatever_seeds_hide(attacks: tuple[int, ...], examples: int) -> None:
    for seeds in (10, 40):
        for collapse in coverage.SHARES[1:]:
            design = coverage.Design(seeds, collapse, attacks, steady=True, examples=examples)
            assert coverage.told(design, 40)[1].wrong <= 0.05, (seeds, collapse)


@pytest.mark.long
@pytest.mark.parametrize("examples", [10, 30, 100])
def test_intervals_cover_however_few_the_examples_are(examples: int) -> None:
    times = 200
    for seeds, unlearnt in itertools.product((20, 200), (0.0, 0.03, 0.1)):
        design = coverage.Design(seeds, 0.0, examples=examples, unlearnt=unlearnt)
        covered, _ = coverage.covered(design, times, ("boards",))["boards"]
        assert covered >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / times), (seeds, unlearnt)


@pytest.mark.parametrize("kind", list(coverage.KINDS))
def test_the_intervals_that_are_compared_are_intervals(kind: str) -> None:
    row = outcomes([[0.8, 0.9, 0.85, 0.4, 0.9, 0.7]])
    low, high = coverage.KINDS[kind](row)
    assert low < 0.758 < high
    assert coverage.KINDS[kind](outcomes(1 - row.accuracy)) == pytest.approx(
        (1 - high, 1 - low), abs=0.02
    )


@pytest.mark.long
def test_a_board_of_100_rows_under_30_attacks_takes_seconds() -> None:
    """CPU time: 100 rows x 30 attacks x 20 seeds x 360 examples take some 7 s."""
    bits = RNG(0).random((30, 20, 360)) < 0.8
    rows = [of_marks(np.roll(bits, shift, axis=2)) for shift in range(100)]
    started = time.process_time()
    for row in rows:
        estimates(row)
    paired = Paired.of(rows)
    certain(paired, step_down(paired))
    assert time.process_time() - started < 20
