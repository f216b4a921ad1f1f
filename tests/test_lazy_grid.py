"""A grid is what its definition says, however few of its combinations are tried."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hgobench import Scenario
from hgobench.engines.cells import execute
from hgobench.engines.progress import Advance
from hgobench.errors import InputError
from hgobench.grid import MOST, Grid, LeaveOut, Where, reasons
from hgobench.leaderboard import Score, boards
from hgobench.machine import Rates
from hgobench.results import Result, open_store, rows
from hgobench.results.address import Addresses, result_key
from hgobench.scenario import ALIASES, RISKS, sampling_warnings
from hgobench.session import run_suite
from hgobench.suite import Suite, cohorts

# For each field some values, good and bad, in several spellings.
POOL: dict[str, list[Any]] = {
    "workers": [9, 12, 30, 0],
    "f": [0, 2, 4, 40],
    "sampled": [None, 9, 12, 99],
    "tolerated": [None, 1, 2, "x"],
    "quorum": [None, 5, 9, 11],
    "scope": [None, "block", "coordinate"],
    "rule": ["median", "krum", "smea", "multi_krum[m=none]", "multi_krum", "krumm"],
    "algorithm": ["hgo", "sgd", "hgo[momentum=0.0]"],
    "workload": ["fixed", "hybrid", "data_first"],
    "attack": ["none", "foe", "ipm", "alie[z=1.50]", "alie[z=1.5]"],
    "attack_start": [0, 1, 3],
    "rounds": [2, 3, 0],
    "deadline": [4, 4.0, "inf", -1],
    "seed": [0, 1, 2, -1],
    "partition": ["iid", "by_class(2)", "by_class"],
    "learning_rate": [0.5, 1, "big"],
    "evaluation_interval": [1, 2],
    "sed": [1, 2],
}


def expected(
    fixed: dict[str, Any], axes: dict[str, list[Any]], leave_out: list[LeaveOut]
) -> tuple[list[Scenario], Counter[str], list[str]]:
    """The definition: every combination is a scenario or has reasons why it is none.

    Returns:
        The scenarios, the reasons of what is left out by how often they are told, and what is
        wrong with values that are in no scenario.
    """
    cells: dict[Scenario, None] = {}
    left: list[tuple[tuple[int, ...], str]] = []
    used: set[tuple[int, int]] = set()
    for places in itertools.product(*(range(len(values)) for values in axes.values())):
        chosen = {name: values[i] for (name, values), i in zip(axes.items(), places, strict=True)}
        try:
            cell = Scenario(**{**fixed, **chosen})
        except InputError as error:
            left += [(places, problem) for problem in error.problems]
            continue
        used.update(enumerate(places))
        told = [entry.reason for entry in leave_out if entry.canonical().matches(cell)]
        if told:
            left.append((places, told[0]))
        else:
            cells[cell] = None
    useless = {
        (number, i) for number, values in enumerate(axes.values()) for i in range(len(values))
    } - used
    refused = [
        reason
        for places, reason in left
        if not useless or not useless.isdisjoint(enumerate(places))
    ]
    wrong = list(dict.fromkeys(refused)) if useless or not cells else []
    return list(cells), Counter(reason for _, reason in left), wrong


names = st.lists(st.sampled_from(list(POOL)), max_size=4, unique=True)


def some(pool: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(pool), min_size=1, max_size=3, unique_by=str)


grids = names.flatmap(lambda n: st.fixed_dictionaries({name: some(POOL[name]) for name in n}))
SETTLED = {"workers": 12, "byzantine": 2, "rounds": 3}
ENTRIES = [
    LeaveOut({"rule": "krum"}, "slow"),
    LeaveOut({"seed": 1, "attack": "foe"}, "known"),
    LeaveOut({"quorum": 5}, "small"),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(axes=grids, leave_out=st.lists(st.sampled_from(ENTRIES), max_size=2, unique_by=str))
def test_a_grid_is_the_product_of_its_axes_without_what_can_t_be(
    axes: dict[str, list[Any]], leave_out: list[LeaveOut]
) -> None:
    fields = {ALIASES.get(name, name) for name in axes}
    fixed = {name: value for name, value in SETTLED.items() if name not in fields}
    cells, left, wrong = expected(fixed, axes, leave_out)
    if wrong:
        with pytest.raises(InputError) as error:
            Grid(fixed, axes, leave_out)
        assert sorted(error.value.problems) == sorted(wrong)
        return
    grid = Grid(fixed, axes, leave_out)
    made = list(grid)
    assert len(made) == len(set(made)) == len(grid)
    assert set(made) == set(cells)
    for kinds in (grid.kinds(), grid.kinds(*RISKS)):
        assert set(sampling_warnings(kinds)) == set(sampling_warnings(cells))
    for names in (("rule", "seed"), ("quorum", "workers"), ("deadline",)):
        found = [tuple(getattr(cell, name) for name in names) for cell in grid.kinds(*names)]
        assert len(found) == len(set(found))
        assert set(found) == {tuple(getattr(cell, name) for name in names) for cell in cells}
    for name in Scenario.declarations():
        values = grid.values(name)
        assert len(values) == len(set(values))
        assert set(values) == {getattr(cell, name) for cell in cells}
    assert [Scenario(**cell.given) for cell in made] == made
    for entry in (*ENTRIES, Where({"deadline": 4.0}), Where({"seed": 0, "rule": "median"})):
        assert grid.has(entry.canonical()) == any(map(entry.canonical().matches, cells))
    # Another spelling of a value is no combination of its own, which is not left out twice.
    assert set(reasons(grid.left)) == set(left)
    if all(len({str(Scenario.declarations()[f].check(f, v)) for v in vs}) == len(vs)
           for name, vs in axes.items() for f in [ALIASES.get(name, name)]):  # fmt: skip
        assert reasons(grid.left) == left


@settings(max_examples=100, deadline=None)
@given(axes=grids, width=st.integers(1, 5))
def test_cohorts_are_those_of_all_cells_at_once(axes: dict[str, list[Any]], width: int) -> None:
    fields = {ALIASES.get(name, name) for name in axes}
    try:
        grid = Grid({n: v for n, v in SETTLED.items() if n not in fields}, axes)
    except InputError:
        return
    streamed = list(grid.cohorts(width))
    assert [cell for cohort in streamed for cell in cohort] == list(grid)
    assert sorted(map(len, streamed)) == sorted(map(len, cohorts(grid, width)))
    assert all(len({cell.world_key for cell in cohort}) == 1 for cohort in streamed)


def test_what_was_given_to_a_grid_stays() -> None:
    (first, second) = Grid({"workers": 20, "f": 4}, {"quorum": [None, 15]})
    assert (first.quorum, first.replace(f=2).quorum) == (9, 5)
    assert (second.quorum, second.replace(f=2).quorum) == (15, 15)
    assert [*Grid({"workers": 20, "f": 4}, {"quorum": [None, 9]})] == [first]  # the same cell


@pytest.mark.parametrize("name", ["quick", "standard", "rules"])
def test_order_is_that_of_the_suite(name: str) -> None:
    """Worlds one after the other, in the order in which the axes say them."""
    suite = Suite.load(name).changed([("seed", [0])])
    grid, _ = suite.expand()
    places: dict[str, dict[Any, int]] = {field: {} for field in suite.grid}
    for field, values in places.items():
        for value in suite.grid[field]:
            values[Scenario.declarations()[field].check(field, value)] = len(values)
    keys = [[values[getattr(cell, f)] for f, values in places.items()] for cell in grid]
    assert keys == sorted(keys)


def test_sizes_beyond_reason_are_refused_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hgobench.grid.kept", lambda: None)
    axes = {"seed": range(10**6), "learning_rate": [0.1] * 5, "rounds": [1] * 3}
    with pytest.raises(InputError) as error:
        Grid({}, axes)
    assert error.value.problems == [
        "suite: 15,000,000 cells (seed 1,000,000 x learning_rate 5 x rounds 3): some 41.9 GiB in a "
        "store; expected at most 10,000,000"
    ]
    known = Rates("2030-01-01T00:00:00+00:00", "p", "2", "2", 2e-3, 1e-3, 5e10, 1e-9, (0.0, 0.0))
    monkeypatch.setattr("hgobench.grid.kept", lambda: known)
    with pytest.raises(InputError, match="one by one, 58 days for rounds of the smallest model"):
        Grid({"rounds": 100}, {"seed": range(25 * 10**6)})
    assert MOST == 10_000_000


def test_a_million_cells_start_as_fast_as_a_few() -> None:
    """Work is by value and by combination of what limits each other, not by cell."""
    axes: dict[str, Any] = {
        "rule": ["median", "krum", "average"], "attack": ["none", "foe"],
        "learning_rate": [0.1 * i for i in range(1, 101)], "seed": range(2000),
    }  # fmt: skip
    started = time.process_time()
    grid = Grid({"workers": 20, "f": 4}, axes)
    cohort = next(grid.cohorts(8))
    assert time.process_time() - started < 1.0
    assert len(grid) == 1_200_000
    assert len({cell.world_key for cell in cohort}) == 1


def test_worlds_are_those_of_all_cells_but_for_seeds() -> None:
    axes: dict[str, Any] = {
        "partition": ["iid", "by_class"], "workers": [12, 20], "deadline": [4.0, 8.0],
        "rule": ["median", "krum"], "seed": [0, 1, 2],
    }  # fmt: skip
    grid = Grid({"f": 2}, axes)
    fields = Scenario.of_role("world")
    found = [tuple(getattr(cell, name) for name in fields) for cell in grid.worlds()]
    assert len(found) == len(set(found)) == 8
    assert set(found) == {tuple(getattr(cell, name) for name in fields) for cell in grid}


def test_a_grid_is_computed_as_it_comes(tmp_path: Path) -> None:
    """The first cell is there before the last is made, and what is there is not made again."""
    fixed = {"workers": 6, "rounds": 1, "f": 1}
    axes: dict[str, Any] = {"rule": ["median", "krum"], "seed": range(200)}
    made: list[int] = []

    class Counted(Grid):
        def __iter__(self) -> Iterator[Scenario]:
            for number, cell in enumerate(super().__iter__()):
                made.append(number)
                yield cell

    seen: list[int] = []

    def progress(step: Advance) -> None:
        seen.extend([len(made)] * bool(step.computed))
        if len(seen) == 3:
            raise KeyboardInterrupt

    grid = Counted(fixed, axes)
    with open_store(tmp_path) as store:
        outcome = execute(grid, store, "r-1", width=2, on_progress=progress)
        assert outcome.interrupted == "interrupted"
        assert seen[0] < len(grid) / 2
        few = Grid(fixed, {**axes, "seed": range(4)})
        again = execute(few, store, "r-1", width=2)
        assert (again.computed, again.reused) == (len(few) - 6, 6)
        assert {result.scenario for _, result in store.results(again.keys)} == set(few)


def test_ctrl_c_is_heeded_while_a_grid_is_looked_up(tmp_path: Path) -> None:
    grid = Grid({"workers": 6, "rounds": 1}, {"rule": ["median", "krum"], "seed": [0, 1]})

    def ends(key: str, result: Result) -> None:
        raise KeyboardInterrupt

    with open_store(tmp_path) as store:
        assert execute(grid, store, "r-1").computed == 4
        for cells in (grid, list(grid)):
            outcome = execute(cells, store, "r-1", on_result=ends)
            assert (outcome.interrupted, outcome.computed) == ("interrupted", 0)
        assert execute(grid, store, "r-1").reused == 4


def test_who_takes_results_as_they_come_reads_each_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a grid that was computed before: its boards need no second reading."""
    settings = {"rule": ["median", "krum"], "seed": [0, 1], "rounds": 2, "algorithm": "hgo"}
    first = run_suite("smoke", out=tmp_path, settings=settings, jobs=1, progress=False)
    read, asked = rows.from_row, list[bytes]()

    def counted(row: Any) -> Any:
        asked.append(row[0])
        return read(row)

    monkeypatch.setattr(rows, "from_row", counted)
    again = run_suite("smoke", out=tmp_path, settings=settings, jobs=1, progress=False)
    assert (again.computed, again.reused) == (0, first.computed)
    assert again.boards() == first.boards() != []
    assert len(asked) == len(set(asked)) == first.computed
    with open_store(tmp_path) as store:
        entries = list(store.entries())
    assert len(entries) == first.computed
    assert again.boards() == boards(Score.of(one, address=key) for key, _, one in entries)


def test_a_world_that_can_t_be_made_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    grid = Grid({"rounds": 1}, {"workers": [4, 2000], "seed": range(3)})
    with open_store(tmp_path) as store:
        with pytest.raises(InputError, match="1221 training examples for 2000 workers"):
            execute(grid, store, "r-1")
        assert len(store) == 0


def test_addresses_of_a_grid_are_those_of_its_cells() -> None:
    names = ["tests.plugins:MyMedian", "median", "nnm+tests.plugins:MyMedian"]
    grid = Grid({"workers": 20, "f": 2}, {"rule": names, "attack": ["none", "foe"]})
    addresses = Addresses("r-1", data={"digits": "of digits"})
    found = [addresses.of(cell) for cell in grid]
    assert found == [result_key(cell, "r-1", data="of digits") for cell in grid]
    assert len(set(found)) == len(grid)


def test_a_value_that_is_worked_out_is_the_one_that_is_stated() -> None:
    grid = Grid({"workers": 12, "rule": "median"}, {"f": [0, 2], "quorum": [None, 5]})
    quorums = [cell.quorum for cell in grid.kinds("quorum", "workers")]
    assert sorted(quorums) == [1, 5]
