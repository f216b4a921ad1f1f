"""Every fast path gives what the plain one gives."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hgobench import Scenario, aggregators, determinism, run
from hgobench.aggregators import Columns, NonFiniteError, Rule, RuleError, ServerView, Vectors
from hgobench.aggregators.columns import Sent
from hgobench.kernels import (
    compiled,
    inner_products,
    moments,
    selection,
    sorting,
    sorting_network,
    tiles,
    windows,
)
from hgobench.kernels.arrays import nan_where_true, zero_where_false

pytest.importorskip("llvmlite", reason="there is no llvmlite for this platform")

SPECIAL = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -1e-42, 3e38, -3e38, 1.0, 1.0]


@pytest.mark.parametrize("rows", range(1, 13))
def test_a_network_sorts_every_zero_one_input(rows: int) -> None:
    """By the zero-one principle it then sorts everything (Knuth, volume 3, 5.3.4)."""
    inputs = np.array(list(itertools.product((0, 1), repeat=rows))).T
    for i, j in sorting_network.comparators(rows):
        assert i < j
        inputs[[i, j]] = np.minimum(inputs[i], inputs[j]), np.maximum(inputs[i], inputs[j])
    assert (np.diff(inputs, axis=0) >= 0).all()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [2, 3, 8, 17])
def test_the_network_is_numpys_sort(rows: int, dtype: type, masked: bool) -> None:
    rng = np.random.default_rng(rows)
    for columns in (16, 17, 31, 32, 77):
        wide: np.ndarray = rng.standard_normal((rows, columns + 9)).astype(dtype)
        wide[rng.random(wide.shape) < 0.4] = dtype(rng.choice(SPECIAL))
        values = wide[:, 4 : 4 + columns]
        sent = rng.random((rows, columns + 3))[:, :columns] < 0.6 if masked else None
        before = values.copy()
        out: np.ndarray = np.full((rows, columns), 7.0, dtype)
        assert sorting_network.fits(values)
        sorting_network.sort(values, sent, out)
        expected = values if sent is None else np.where(sent, values, np.nan)
        np.testing.assert_array_equal(out, np.sort(expected, axis=0))
        np.testing.assert_array_equal(values, before)


def test_what_has_no_network_is_left_to_numpy() -> None:
    fine = np.zeros((4, 64), np.float32)
    assert sorting_network.fits(fine)
    for other in (
        fine.astype(np.float16),
        fine.T,
        fine[:1],
        fine[:, :3],
        np.zeros((129, 64), np.float32),
    ):
        assert not sorting_network.fits(other)


def test_compiling_waits_until_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting_network, "_kernels", {})
    monkeypatch.setattr(sorting_network, "_seen", Counter())
    monkeypatch.setattr(sorting_network, "WORTH", 100)
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((5, 90)).astype(np.float32))
    present = values > -1.0
    plain = (
        np.sort(values.numpy(), axis=0),
        np.sort(nan_where_true(values, ~present).numpy(), axis=0),
    )
    for _ in range(4):
        np.testing.assert_array_equal(sorting.sort_columns(values), plain[0])
        np.testing.assert_array_equal(sorting.sort_columns(values, present), plain[1])
    assert set(sorting_network._kernels) == {(5, 4, False), (5, 4, True)}
    assert sorting_network._seen[5, 4, False] == 900  # nine comparators of 100 each


def test_without_llvmlite_numpy_sorts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "llvm", None)
    values = torch.tensor([[3.0] * 64, [1.0] * 64])
    assert not sorting_network.fits(values.numpy())
    assert sorting.sort_columns(values)[:, 0].tolist() == [1.0, 3.0]


@pytest.mark.parametrize(("rows", "columns"), [(3, 16), (5, 40), (7, 4096), (23, 9999), (80, 785)])
def test_compiled_inner_products_are_those_of_float64(rows: int, columns: int) -> None:
    rng = np.random.default_rng(rows)
    wide = torch.from_numpy(rng.standard_normal((rows, columns + 5), dtype=np.float32))
    for values in (wide[:, 2:-3], wide[:, 2:-3].contiguous()):
        if rows >= inner_products._side():
            assert inner_products.fits(values.numpy())
        found = inner_products.summed(values)
        expected = values.double() @ values.double().T
        scale = (expected.diagonal()[:, None] * expected.diagonal()).sqrt()
        assert float(((found - expected) / scale).abs().max()) < 1e-6
        assert torch.equal(found, found.T)
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(0))
        if inner_products.fits(values.numpy()):  # a product depends on its two rows alone
            assert torch.equal(inner_products.summed(values[order]), found[order][:, order])


@pytest.mark.parametrize("columns", [1, 999, 1000, 4321])
def test_inner_products_on_a_device_are_those_of_float64(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small products at once, and few at a time, are asked for there."""
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((7, columns), np.float32))
    wide = rows.double() @ rows.double().T
    for most in (inner_products.PRODUCTS, 100):
        monkeypatch.setattr(inner_products, "PRODUCTS", most)
        found = inner_products._on_device(rows)
        torch.testing.assert_close(found, wide, rtol=1e-5, atol=1e-5 * columns**0.5)
        assert torch.equal(found, found.T)


def test_what_the_compiled_inner_products_do_not_take() -> None:
    fine = np.zeros((8, 64), np.float32)
    assert inner_products.fits(fine)
    for other in (fine.astype(np.float64), fine.T, fine[:2]):
        assert not inner_products.fits(other)
        assert not inner_products.summed(torch.from_numpy(other)).any()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("rows", "columns"), [(1, 16), (2, 33), (9, 100), (70, 1001)])
def test_compiled_moments_are_the_plain_ones(
    rows: int, columns: int, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(rows)
    wide = rng.standard_normal((rows, columns + 9), dtype=np.float32) * 10.0 + 3.0
    wide[rng.random(wide.shape) < 0.02] = rng.choice(np.array(SPECIAL, np.float32))
    sent = torch.from_numpy(rng.random(wide.shape) < 0.5) if masked else None
    for start, stop in ((0, columns), (7, columns + 7)):
        seen = None if sent is None else sent[:, start:stop]
        values = torch.from_numpy(wide)[:, start:stop]
        values = values if seen is None else zero_where_false(values, seen)
        assert moments.fits(values, seen)
        found = moments.moments(values, seen)
        with monkeypatch.context() as patch:
            patch.setattr(compiled, "llvm", None)
            assert not moments.fits(values, seen)
            expected = moments.moments(values, seen)
        for ours, plain in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12, equal_nan=True)


def odd_columns(rows: int, dtype: type, whole: int | None) -> Iterator[Columns]:
    """Yield sorted columns with ties and special values, of prefixes of which some are whole.

    Args:
        rows: how many workers there are.
        dtype: of the values.
        whole: how many of them send all columns; None: all do, and nothing says who sent what.
    """
    rng = np.random.default_rng(rows)
    for columns, odd in ((64, 0.0), (77, 0.1), (130, 0.5)):
        sent: np.ndarray = rng.standard_normal((rows, columns)).astype(dtype)
        sent[:, ::3] = sent[:, ::3].round()  # ties
        sent[rng.random(sent.shape) < odd] = dtype(rng.choice(SPECIAL))
        ends = rng.integers(0, columns, rows)
        ends[:whole] = columns
        there = torch.from_numpy(np.arange(columns) < ends[:, None])
        yield Columns.sort(torch.from_numpy(sent), None if whole is None else there)


COLUMNWISE = ("median", "trimmed_mean", "meamed", "phocas", "krum", "aksel", "mda", "nnm+median")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("rows", "f"), [(3, 0), (9, 3), (24, 3), (41, 7)])
def test_compiled_rules_on_columns_are_the_plain_ones(
    rows: int, f: int, ragged: bool, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit: terms are added in one order, and ties go one way."""
    for sorted_ in odd_columns(rows, dtype, 2 * f + 3 if ragged else None):
        for name in COLUMNWISE:
            rule = aggregators.build(name, f=f, scope="coordinate")
            assert windows.fits(sorted_.values, sorted_.fewest)
            found = rule.of_columns(replace(sorted_))  # without the sums that it keeps
            with monkeypatch.context() as patch:
                patch.setattr(compiled, "llvm", None)
                assert not windows.fits(sorted_.values, sorted_.fewest)
                expected = rule.of_columns(replace(sorted_))
            np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 9, 42])
def test_compiled_means_around_a_centre_are_the_plain_ones(
    rows: int, ragged: bool, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether windows of so many values share a row or not."""
    for sorted_ in odd_columns(rows, dtype, rows // 2 + 1 if ragged else None):
        median = sorted_.median()
        centres = median, torch.zeros_like(median), median + 0.3
        for left_out, centre in itertools.product(range(sorted_.fewest), centres):
            found = replace(sorted_).mean_around(centre, left_out)  # without the sums it keeps
            with monkeypatch.context() as patch:
                patch.setattr(compiled, "llvm", None)
                expected = replace(sorted_).mean_around(centre, left_out)
            np.testing.assert_array_equal(found, expected, err_msg=f"without {left_out}")


def test_what_the_compiled_rules_on_columns_do_not_take() -> None:
    fine = torch.zeros(4, 64)
    assert windows.fits(fine, 1)
    for other in (fine.half(), fine.T, fine[:, :3]):
        assert not windows.fits(other, 1)
    assert not windows.fits(fine, 0)  # a column without values has no median


@given(
    points=st.lists(st.integers(0, 9), min_size=1, max_size=20),
    infinite=st.booleans(),
    f=st.integers(0, 4),
)
def test_the_compiled_selection_is_the_plain_one(points: list[int], infinite: bool, f: int) -> None:
    at = np.array(points, dtype=np.float64) ** 3
    distances = (at[:, None] - at) ** 2
    if infinite:
        distances[0, :], distances[:, 0], distances[0, 0] = np.inf, np.inf, 0.0
    chosen = selection.select_repeatedly(distances, f, len(at))
    assert sorted(chosen) == list(range(len(at)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "llvm", None)
        assert np.array_equal(selection.select_repeatedly(distances, f, len(at)), chosen)


def test_a_column_that_nobody_sends_has_no_moments() -> None:
    values, sent = torch.zeros(4, 64), torch.zeros(4, 64, dtype=torch.bool)
    sent[:2, 1:] = True
    values[:2, 1:] = torch.tensor([[1.0], [4.0]])
    for few in (64, 8):  # compiled, and not
        mean, std = moments.moments(values[:, :few], sent[:, :few])
        assert mean.tolist() == [0.0] + [2.5] * (few - 1)
        assert std.tolist() == [0.0] + [1.5] * (few - 1)


@pytest.fixture
def narrow_tiles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tiles, "TILE_BYTES", 1)
    monkeypatch.setattr(tiles, "FEW", 1)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_tiles_cover_the_columns() -> None:
    for shape in ((80, 7850), (2, 10), (100, 100_000), (7, 1_000_003)):
        cut = tiles.tiles(torch.empty(shape, device="meta").expand(shape))
        assert cut == [slice(0, shape[1])]  # only the CPU has tiles
        cut = tiles.tiles(torch.zeros(1).expand(shape))
        assert cut[0].start == 0
        assert cut[-1].stop == shape[1]
        assert all(a.stop == b.start for a, b in itertools.pairwise(cut))


COORDINATE_WISE = [
    name
    for name in (*aggregators.registry.names(), "nnm+median", "arc+krum", "clipping+phocas")
    if aggregators.build(name).has_columns() and not aggregators.build(name).needs
]


@pytest.mark.usefixtures("narrow_tiles")
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("rule", COORDINATE_WISE)
def test_tiles_and_threads_change_nothing(
    rule: str, ragged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.standard_normal((11, 4500)).astype(np.float32))
    present = torch.from_numpy(rng.permutation(4500) < rng.integers(2000, 4500, 11)[:, None])
    present[:9] = True

    def answer() -> torch.Tensor:
        made = aggregators.build(rule, f=1, scope="coordinate")
        return made(values, present if ragged else None)

    torch.set_num_threads(1)
    in_tiles = answer()
    torch.set_num_threads(2)
    in_threads = answer()
    monkeypatch.setattr(tiles, "TILE_BYTES", 1 << 30)
    torch.set_num_threads(1)
    at_once = answer()
    assert torch.equal(in_tiles, in_threads)
    torch.testing.assert_close(in_tiles, at_once, rtol=1e-6, atol=1e-6)


SHARED = [
    (name, scope, given)
    for name in COORDINATE_WISE
    for scope in aggregators.build(name, f=1).scopes()
    if (made := aggregators.build(name, f=1, scope=scope)).columnwise and made.sorts
    for given in ("all", *["ragged"] * (scope == "coordinate"), *["weights"] * made.weighted)
]


def test_most_rules_of_coordinates_share_sorted_columns() -> None:
    names = {name for name, scope, given in SHARED if (scope, given) == ("coordinate", "ragged")}
    assert {"average", "median", "trimmed_mean", "meamed", "phocas", "krum", "aksel"} <= names


@pytest.mark.parametrize(("name", "scope", "given"), SHARED)
def test_sorted_columns_that_rules_share_are_those_of_each(
    name: str, scope: aggregators.Scope, given: str
) -> None:
    """Columns sorted with others' have the same answer, to the last bit, and stay as they are."""
    rule = aggregators.build(name, f=1, scope=scope)
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.standard_normal((11, 200)).astype(np.float32))
    values[3, ::7], values[0, ::5], values[:, 20] = torch.nan, torch.inf, -0.0
    one = torch.from_numpy(rng.random((11, 50)) < 0.7)  # of each cell the same is sent
    one[:7] = True
    present = one.repeat(1, 4)
    weights = rng.uniform(1.0, 2.0, 11) if given == "weights" else None
    view = ServerView(round=1, dimension=50, weights=weights)
    ragged = given == "ragged"
    columns = Columns.sort(values, present if ragged else None, view)
    before = columns.values.clone()

    def answer(part: slice, shared: bool) -> torch.Tensor | str:
        some = values[:, part]
        sent = Sent.of(present[:, part]) if ragged else None
        try:
            if shared:
                return rule.beside(some, None, view, columns.part(part))
            return rule.beside(some.contiguous(), sent, view)
        except NonFiniteError as error:
            return str(error)

    for part in (slice(0, 50), slice(50, 150), slice(150, 200)):
        alone, shared = answer(part, shared=False), answer(part, shared=True)
        if isinstance(alone, torch.Tensor):
            assert torch.equal(alone, shared)  # type: ignore[arg-type]
        else:
            assert alone == shared
    assert torch.equal(columns.values.nan_to_num(nan=7.0), before.nan_to_num(nan=7.0))


class AsksTwice(Rule):
    """Asks another rule for each column, and looks at its own columns again."""

    def of_columns(self, columns: Columns) -> torch.Tensor:
        before = columns.values.clone()
        other = aggregators.build("median", scope="coordinate")(torch.rand(columns.values.shape))
        assert other.shape == before[0].shape
        assert torch.equal(columns.values, before)
        return columns.median()


def test_a_rule_may_call_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting_network, "WORTH", 0)  # only a network writes to lent memory
    values = torch.rand(5, 64)
    for _ in range(2):
        assert torch.equal(AsksTwice()(values), values.median(dim=0).values)


@pytest.mark.usefixtures("narrow_tiles")
@pytest.mark.parametrize("rule", ["krum", "geometric_median", "nnm+trimmed_mean", "cge"])
def test_threads_do_not_change_geometric_rules(rule: str) -> None:
    values = torch.from_numpy(np.random.default_rng(0).standard_normal((9, 4500)))
    answers = []
    for threads, dtype in itertools.product((1, 2), (torch.float32, torch.float64)):
        torch.set_num_threads(threads)
        answers.append(aggregators.build(rule, f=1)(values.to(dtype)))
    assert torch.equal(answers[0], answers[2])
    assert torch.equal(answers[1], answers[3])


def exact(rows: torch.Tensor) -> np.ndarray:
    x = rows.double().numpy()
    return np.array([[((a - b) ** 2).sum() for b in x] for a in x])


@given(
    seed=st.integers(0, 1000),
    apart=st.sampled_from([1e-6, 1e-3, 0.05, 0.3, 1.0]),
    scale=st.sampled_from([1e-18, 1e-12, 1e-3, 1.0, 1e6, 1e14]),
    outlier=st.sampled_from([0.0, 1.0, 1e5]),
)
def test_distances_are_those_of_the_definition(
    seed: int, apart: float, scale: float, outlier: float
) -> None:
    """Whether rows have much in common or nothing, are equal, vanish, or tower over others."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal(300) + apart * rng.standard_normal((8, 300))
    rows[5] = rows[6] = rows[1]
    rows[7] *= outlier
    sent = torch.from_numpy((scale * rows).astype(np.float32))
    found = Vectors(sent).squared_distances.numpy()
    expected = exact(sent)
    np.testing.assert_allclose(found, expected, rtol=3e-5, atol=0)
    assert (found[[5, 6]] == found[[1]])[:, [0, 2, 3, 4, 7]].all()


def test_float32_products_are_used_where_they_do() -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.standard_normal((6, 400)).astype(np.float32))
    rows[3] = rows[4]
    rows[5] = 0.0
    assert Vectors(rows)._float32_gram is not None
    assert Vectors(rows.double())._float32_gram is None
    assert Vectors(rows + 100.0)._float32_gram is None  # much in common
    rows[5, 0] = 1e-20  # its square is 0
    assert Vectors(rows)._float32_gram is None
    rows[5, 0] = torch.inf
    assert Vectors(rows)._float32_gram is None
    rows[5, 0] = 1e25
    assert Vectors(rows)._float32_gram is None


def test_what_cancels_in_a_combination_is_told_exactly() -> None:
    """Two attackers whose vectors cancel in a bucket: its mean is far from all, and not chosen."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((20, 50)).astype(np.float32)
        rows[0] = 1e6 * rng.standard_normal(50)
        rows[1] = -rows[0] + 300.0 * rng.standard_normal(50)
        view = ServerView(round=seed)
        found = aggregators.build("bucketing+krum", f=2)(torch.from_numpy(rows), view=view)
        assert float(found.norm()) < 20.0, seed


def test_mixed_neighbours_keep_the_fast_path() -> None:
    """Also where vectors, and so their mixtures, are equal."""
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((30, 500)).astype(np.float32))
    rows[24:] = rows[:24].mean(dim=0) + 1.5 * rows[:24].std(dim=0)
    mixed = aggregators.pre_rules.build("nnm", f=6).of_vectors(Vectors(rows))
    assert mixed._gram_from_float32 is not None
    exactly = aggregators.pre_rules.build("nnm", f=6).of_vectors(Vectors(rows.double()))
    np.testing.assert_allclose(
        mixed.squared_distances, exactly.squared_distances, rtol=1e-4, atol=1e-9
    )


def test_sums_of_many_terms_of_one_sign_are_told_exactly() -> None:
    rows = 0.1 * 1.5 ** torch.arange(3.0)[:, None] * torch.ones(3, 300_000)
    vectors = Vectors(rows)
    assert vectors._float32_gram is not None
    np.testing.assert_allclose(vectors.squared_distances, exact(rows), rtol=1e-4)


def test_the_caller_keeps_its_values() -> None:
    class First(Rule):
        def of_rows(self, rows: torch.Tensor) -> torch.Tensor:
            return rows[0]

    values = torch.ones(3, 4)
    First()(values).zero_()
    assert values.min() == 1.0


STACKABLE = [
    name for name in aggregators.registry.names() if aggregators.build(name, f=1).stackable
]


def test_selecting_rules_are_stackable() -> None:
    assert {"krum", "multi_krum", "aksel"} <= set(STACKABLE)


@pytest.mark.parametrize("name", STACKABLE)
@pytest.mark.parametrize(("m", "b"), [(5, 1), (7, 33), (9, 130), (24, 650), (31, 4099)])
def test_several_runs_at_once_have_the_bits_of_each_alone(name: str, m: int, b: int) -> None:
    rng = np.random.default_rng(m)
    rule = aggregators.build(name, f=1)
    runs = rng.standard_normal((12, m, b)).astype(np.float32)
    runs[:, 0] *= 30.0
    runs[4, 2] = runs[4, 1]  # twins
    runs[5, 3] = runs[5, 1] * np.float32(1.0 + 1e-6)
    runs[6, 1] = 0.0
    runs[7, 2, 0] = np.nan
    runs[8, 2, -1] = np.inf
    runs[9] *= np.float32(1e-30)
    runs[10, 1] = 3e38
    runs[11, :, 0] = -0.0
    stack = torch.from_numpy(runs)
    before = stack.clone()
    for some in ([0], [1, 2, 3], list(range(12)), [11, 7, 0, 8]):
        answers = rule.stacked(stack[some])
        for number, answer in zip(some, answers, strict=True):
            if answer is not None:
                assert torch.equal(answer, rule(stack[number])), (name, number)
            assert answer is not None or number not in (0, 1, 2, 3) or b == 1
    assert torch.equal(stack.nan_to_num(), before.nan_to_num())


@pytest.mark.parametrize("name", STACKABLE)
def test_several_runs_at_once_are_as_many_as_the_rule_needs(name: str) -> None:
    rule = aggregators.build(name, f=2)
    with pytest.raises(RuleError, match=f"{rule.minimum - 1} answers; f=2 needs at least"):
        rule.stacked(torch.zeros(3, rule.minimum - 1, 4))


def test_threads_and_blas_are_left_as_they_were() -> None:
    before = determinism._controller().info()
    with determinism.one_blas_thread():
        with determinism.one_blas_thread():
            pass
        assert all(part["num_threads"] == 1 for part in _blas())
    assert determinism._controller().info() == before
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        aggregators.build("median")(torch.rand(20, 1_000_000))
        seen: list[int] = []
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert seen == [2]
    finally:
        torch.set_num_threads(threads)


def _blas() -> list[dict[str, Any]]:
    return [part for part in determinism._controller().info() if part["user_api"] == "blas"]


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    tiles._pool.cache_clear()
    yield
    torch.set_num_threads(threads)


PARTS = [slice(k, k + 1) for k in range(2 * tiles.FEW)]


def test_tiles_have_torchs_threads_and_each_runs_on_one(two_threads: None) -> None:
    both = threading.Barrier(2, timeout=60.0)
    names = list[str]()

    def threads(part: slice) -> int:
        both.wait()  # neither thread gets on without the other
        names.append(threading.current_thread().name)
        return torch.get_num_threads()

    tiles.map_tiles(lambda part: part, PARTS)  # its thread begins, and asks torch nothing
    with tiles.threads_for_tiles():
        assert torch.get_num_threads() == 1
        with tiles.threads_for_tiles():
            assert tiles.map_tiles(threads, PARTS) == [1] * len(PARTS)
        assert tiles.map_tiles(threads, PARTS) == [1] * len(PARTS)
    assert tiles.map_tiles(threads, PARTS) == [1] * len(PARTS)
    assert Counter(names) == {threading.current_thread().name: 12, "hgobench_0": 12}
    assert torch.get_num_threads() == 2


def test_the_first_tile_that_fails_says_why(two_threads: None) -> None:
    """Whichever thread is first; the others are not begun."""
    both, begun = threading.Barrier(2, timeout=60.0), list[int]()

    def fail(part: slice) -> None:
        begun.append(part.start)
        both.wait()
        raise IndexError(f"tile {part.start}")

    for _ in range(5):
        with pytest.raises(IndexError, match="tile 0"):
            tiles.map_tiles(fail, PARTS)
    assert sorted(begun) == [0] * 5 + [1] * 5
    assert torch.get_num_threads() == 2


def test_whoever_interrupts_tiles_waits_for_those_under_way(two_threads: None) -> None:
    both, ended, caller = threading.Barrier(2, timeout=60.0), list[int](), threading.get_ident()

    def interrupt(part: slice) -> None:
        both.wait()
        if threading.get_ident() == caller:
            raise KeyboardInterrupt
        time.sleep(0.05)
        ended.append(part.start)

    with pytest.raises(KeyboardInterrupt):
        tiles.map_tiles(interrupt, PARTS)
    assert len(ended) == 1
    assert torch.get_num_threads() == 2


def test_tiles_do_not_wait_for_a_thread_that_is_busy(two_threads: None) -> None:
    go, busy = threading.Event(), threading.Event()

    def block() -> None:
        busy.set()
        assert go.wait(60.0)

    blocked = tiles._pool(1).submit(block)
    assert busy.wait(60.0)
    try:
        assert tiles.map_tiles(lambda part: part.start, PARTS) == [part.start for part in PARTS]
    finally:
        go.set()
        blocked.result()


def test_lent_memory_is_on_the_tiles_device() -> None:
    with tiles.scratch(torch.empty(3, 50, device="meta")):
        pass
    with tiles.scratch(torch.empty(3, 40)) as memory:
        assert memory.device.type == "cpu"
        with tiles.scratch(torch.empty(3, 40)) as other:
            assert other.data_ptr() != memory.data_ptr()


def test_runs_in_threads_share_a_world() -> None:
    cells = [
        Scenario(workers=12, f=2, attack="sign_flip", rounds=15, rule=rule)
        for rule in ("median", "trimmed_mean", "meamed", "krum")
    ]
    alone = [run(cell).rounds["test_loss"] for cell in cells]
    with ThreadPoolExecutor(4) as pool:
        together = [result.rounds["test_loss"] for result in pool.map(run, cells)]
    assert together == alone


def test_torchs_default_dtype_does_not_matter() -> None:
    before = run(Scenario(rounds=3)).rounds["test_loss"]
    torch.set_default_dtype(torch.float64)
    try:
        assert run(Scenario(rounds=3)).rounds["test_loss"] == before
    finally:
        torch.set_default_dtype(torch.float32)


def test_compiled_loops_take_arguments_that_lie_anywhere() -> None:
    """Every copy of a strided argument lives until the loop has read it."""
    values = torch.rand(9, 4096, generator=torch.Generator().manual_seed(0)).sort(dim=0).values
    columns = Columns.sort(values)
    whole = columns.count, columns.median(), columns._inside(2)
    strided = [torch.stack([one, torch.zeros_like(one)], dim=1)[:, 0] for one in whole]
    assert not any(one.is_contiguous() for one in strided)
    expected, found = (
        windows.means_around(columns.values, count, centre, inside, 2)
        for count, centre, inside in (whole, strided)
    )
    assert torch.equal(found, expected)
