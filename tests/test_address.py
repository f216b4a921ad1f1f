"""A result's address holds what its data is, not only what it is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgobench import Scenario
from hgobench.cli import main
from hgobench.data import datasets, files
from hgobench.engines.cells import execute
from hgobench.engines.measured import Task
from hgobench.errors import InputError
from hgobench.leaderboard import Score, boards
from hgobench.report.boards import render
from hgobench.results.address import measurement_key, result_key
from hgobench.results.sqlite import SqliteStore
from hgobench.simulation import world
from tests.stores import forge
from tests.test_readers import small_images

FIELDS: dict[str, Any] = {
    "data": "mnist[validation=0,verify=false]", "workers": 4, "rounds": 1, "rule": "median",
}  # fmt: skip
CELLS = [Scenario(**FIELDS, seed=seed) for seed in (0, 1)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small MNIST."""
    monkeypatch.setenv("HGOBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(files, "user_cache_path", lambda _: tmp_path / "cache")
    small_images(tmp_path / "mnist")
    return tmp_path


def fill(folder: Path, cells: list[Scenario] = CELLS, **options: Any) -> Any:
    with SqliteStore(folder) as store:
        return execute(cells, store, "r-1", width=1, **options)


def test_other_data_under_the_same_name_are_computed_anew(home: Path) -> None:
    assert fill(home / "out").computed == 2
    again = fill(home / "out")
    assert (again.computed, again.reused) == (0, 2)
    small_images(home / "mnist", labels=np.arange(40)[::-1].copy() % 10, seed=1)
    other = fill(home / "out")
    assert (other.computed, other.reused) == (2, 0)
    with SqliteStore(home / "out") as store:
        kept = [result for _, result in store.results()]
    assert len(kept) == 2
    digest = datasets.load(FIELDS["data"]).digest
    assert {result.provenance["data"] for result in kept} == {digest}


def test_a_row_that_holds_another_cell_is_computed_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [Scenario(workers=4, rounds=1, rule="median", seed=seed) for seed in (0, 1, 2)]
    fill(tmp_path, cells[:2])
    other = json.dumps(cells[2].to_dict())
    forge(tmp_path, scenario=lambda text: other if '"seed": 1' in text else text)
    again = fill(tmp_path, cells[:2])
    assert (again.computed, again.reused) == (1, 1)
    assert "1 damaged row" in capsys.readouterr().err
    with SqliteStore(tmp_path) as store:
        kept = {result.scenario for _, result in store.results()}
    assert kept == set(cells[:2])


def test_the_address_is_of_the_arrays() -> None:
    cell = Scenario(workers=4, rounds=1)
    known = datasets.load("digits").digest
    assert result_key(cell, "r-1") == result_key(cell, "r-1", data=known)
    assert result_key(cell, "r-1", data="another") != result_key(cell, "r-1", data=known)
    named, source = [{"data": "digits"}], Path(__file__)
    first = measurement_key("this", source, named)
    assert first == measurement_key("this", source, named, {"digits": known})
    assert first != measurement_key("this", source, named, {"digits": "another"})
    task = Task(np.sum, {}, [{"data": "digits"}, {"rule": "median"}])
    assert task.data == ["digits"]


@pytest.mark.long
def test_the_process_that_drives_others_holds_no_data(tmp_path: Path) -> None:
    datasets._load.cache_clear()
    world._CACHE.clear()
    cells = [Scenario(workers=4, rounds=1, rule="median", seed=seed) for seed in (0, 1)]
    one = fill(tmp_path / "two", cells, jobs=2)
    assert one.computed == 2
    again = fill(tmp_path / "two", cells, jobs=2)
    assert (again.computed, again.reused) == (0, 2)
    assert datasets._load.cache_info().currsize == 0
    assert not world._CACHE
    impossible = [*cells, Scenario(workers=2000), Scenario(data="csv[path=nowhere.csv]")]
    with pytest.raises(InputError) as error:
        fill(tmp_path / "two", impossible, jobs=2)
    assert error.value.problems == ["data: 'nowhere.csv': No such file or directory"]
    with pytest.raises(InputError) as error:
        fill(tmp_path / "two", [*impossible[:3], Scenario(model="logistic")], jobs=2)
    assert error.value.problems == [
        "partition: 1221 training examples for 2000 workers; expected at least one each",
        "model: 'logistic': logistic regression has 2 classes; the data has 10",
    ]
    assert datasets._load.cache_info().currsize == 0
    assert fill(tmp_path / "one", cells).keys == one.keys


def test_data_that_change_during_a_run_end_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hgobench.engines.cells.digests",
        lambda names, engine, limit: dict.fromkeys(names, "before"),
    )
    outcome = fill(home / "out")
    name = "mnist[validation=0.0,verify=false]"
    assert outcome.interrupted == f"data: {name!r} has changed since the run began"
    with SqliteStore(home / "out") as store:
        assert len(store) == 0


def without_data(folder: Path) -> None:
    """Make of a store's results such as older versions left."""

    def older(provenance: str) -> str:
        made = json.loads(provenance)
        del made["data"]
        return json.dumps(made)

    forge(folder, provenance=older)


def test_results_without_their_data_are_shown_marked_and_never_count(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [Scenario(workers=4, rounds=1, rule="median", seed=seed) for seed in (0, 1)]
    fill(home / "out", cells)
    without_data(home / "out")
    with SqliteStore(home / "out", create=False) as store:
        assert store.keys() == set()
        kept = [result for _, result in store.results()]
    text = render("r-1", boards(map(Score.of, kept)))
    with pytest.raises(SystemExit):
        main(["show", str(home / "out")])
    shown = capsys.readouterr()
    assert "median" in shown.out
    assert "note: 2 of 2 cells do not say which data they were computed on" in shown.err
    assert "2 of 2 cells do not say which data they were computed on" in text
    outcome = fill(home / "out", cells)
    assert (outcome.computed, outcome.reused) == (2, 0)
    with SqliteStore(home / "out", create=False) as store:
        kept = [result for _, result in store.results()]
    assert "do not say" not in render("r-1", boards(map(Score.of, kept)))


def test_boards_say_which_data_are_not_the_published_ones(home: Path) -> None:
    fill(home / "out")
    with SqliteStore(home / "out", create=False) as store:
        first = {result.scenario: Score.of(result) for _, result in store.results()}
    text = render("r-1", boards(first.values()))
    assert "mnist[validation=0.0,verify=false] is not as published: " in text
    small_images(home / "mnist", seed=2)
    fill(home / "other", CELLS[:1])
    with SqliteStore(home / "other", create=False) as store:
        other = [Score.of(result) for _, result in store.results()]
    mixed = render("r-1", boards([*other, first[CELLS[1]]]))
    assert "2 different data sets under the name mnist[validation=0.0,verify=false]" in mixed
