"""What every store is held to, and what the one in a file is besides."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgobench import Scenario
from hgobench.engines.cells import execute
from hgobench.errors import InputError
from hgobench.results import Result, Store, StoreError, address, export, open_store, rows, sqlite
from hgobench.results.result import COLUMNS
from hgobench.results.sqlite import SqliteStore
from hgobench.scenario import declare, word
from tests.memory_store import MemoryStore
from tests.stores import alter, forge

SMALL = Scenario(workers=8, rounds=3, sampled=5)
RIGHT = np.packbits(np.arange(11) % 3 == 0).tobytes()


def result(scenario: Scenario = SMALL, accuracy: float = 0.5, **more: Any) -> Result:
    """A result as `hgobench.run` makes one."""
    rounds = {name: [0.0] * scenario.rounds for name in COLUMNS}
    rounds |= {"round": [1, 2, 3], "test_accuracy": [math.nan, math.nan, accuracy]}
    made = {"width": 8, "device": "cpu", "data": "of digits", "needs": ["root"]}
    return Result(**{"scenario": scenario, "rounds": rounds, "provenance": made, **more})


Opened = Callable[[], Store]


@pytest.fixture(params=["sqlite", "memory"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """Open the same store again and again."""
    kept = MemoryStore()
    return lambda: open_store(tmp_path) if request.param == "sqlite" else MemoryStore(kept)


def quiet(text: str) -> None:
    """Say nothing."""


def accuracies(store: Store) -> list[float]:
    return [found.rounds["test_accuracy"][-1] for _, found in store.results()]


class TestEveryStore:
    """The contract: what `Store` says, for each implementation."""

    def test_a_result_comes_back_whole(self, opened: Opened) -> None:
        sent = result(seconds=1.5, right=RIGHT, status="diverged", reason="round 2: ü\n\0")
        with opened() as store:
            store.add(sent, "r-1", key="k")
        with opened() as store:
            ((ruleset, again),) = store.results()
        assert ruleset == "r-1"
        assert again.provenance == {**sent.provenance, "code": address.code_digest()[:12]}
        same = replace(again, rounds=sent.rounds, provenance=sent.provenance)
        assert same == sent
        for name in COLUMNS:
            assert np.array_equal(again.rounds[name], sent.rounds[name], equal_nan=True)

    def test_entries_are_results_with_their_addresses(self, opened: Opened) -> None:
        cells = [SMALL.replace(seed=seed) for seed in (0, 1, 2)]
        with opened() as store:
            store.add_all((result(cell), f"r-{cell.seed % 2}", f"k{cell.seed}") for cell in cells)
            entries = list(store.entries())
            assert [(key, name) for key, name, _ in entries] == [
                ("k0", "r-0"), ("k1", "r-1"), ("k2", "r-0"),
            ]  # fmt: skip
            assert [one.scenario for *_, one in entries] == cells
            assert [key for key, *_ in store.entries(["k2", "k0", "other"])] == ["k0", "k2"]

    def test_what_another_store_kept_says_of_its_sources_is_kept(self, opened: Opened) -> None:
        with opened() as store:
            store.add(result(provenance={"device": "cpu", "code": "of a store before"}), "r-1", "k")
            ((_, _, again),) = store.entries()
        assert again.provenance["code"] == "of a store before"

    def test_all_measurements_are_listed_by_address(self, opened: Opened) -> None:
        with opened() as store:
            assert list(store.measured()) == []
            for key, value in (("b", 1.5), ("a", {"x": [None, "ü"]})):
                store.keep(key, f"what {key}", value)
            assert list(store.measured()) == [
                ("a", "what a", {"x": [None, "ü"]}), ("b", "what b", 1.5),
            ]  # fmt: skip

    def test_several_are_kept_together_or_not_at_all(self, opened: Opened) -> None:
        cells = [SMALL.replace(seed=seed) for seed in (0, 1, 2)]
        with opened() as store:
            store.add_all((result(cell), "r-1", f"{cell.seed}") for cell in cells)
            assert [found.scenario for _, found in store.results()] == cells
            store.add_all([])

            def ends() -> Iterator[tuple[Result, str, str]]:
                yield result(cells[0], accuracy=0.9), "r-1", "again"
                raise StoreError

            with pytest.raises(StoreError):
                store.add_all(ends())
        with opened() as store:
            assert store.keys() == {"0", "1", "2"}
            assert accuracies(store) == [0.5] * 3

    def test_without_an_address_it_is_worked_out(self, opened: Opened) -> None:
        with opened() as store:
            store.add(result(), "r-1")
            assert store.keys() == {address.result_key(SMALL, "r-1", data="of digits")}

    def test_what_is_given_later_does_not_change_what_is_kept(self, opened: Opened) -> None:
        sent = result()
        with opened() as store:
            store.add(sent, "r-1", key="k")
            sent.rounds["test_accuracy"][-1] = 0.9  # type: ignore[index]
            assert accuracies(store) == [0.5]

    def test_order_is_that_of_addresses(self, opened: Opened) -> None:
        cells = [SMALL.replace(seed=seed) for seed in range(5)]
        with opened() as store:
            for key, cell in zip("cadbe", cells, strict=True):
                store.add(result(cell), "r-1", key=key)
            assert len(store) == 5
            assert [found.scenario.seed for _, found in store.results()] == [1, 3, 0, 2, 4]
            assert [key for key, _ in store.reusable()] == list("abcde")
            assert [found.scenario.seed for _, found in store.results(["c", "b", "z"])] == [3, 0]
            assert list(store.results([])) == []

    def test_one_cell_of_a_ruleset_is_there_once(self, opened: Opened) -> None:
        with opened() as store:
            store.add(result(accuracy=0.1), "r-1", key="old")
            store.add(result(accuracy=0.2), "r-2", key="other ruleset")
            store.add(result(accuracy=0.3), "r-1", key="new")
            assert sorted(accuracies(store)) == [0.2, 0.3]
            assert store.keys() == {"new", "other ruleset"}
            store.add(result(SMALL.replace(seed=1), accuracy=0.4), "r-1", key="new")
            assert sorted(accuracies(store)) == [0.2, 0.4]

    def test_what_stands(self, opened: Opened) -> None:
        made = result().provenance
        unknown = {name: value for name, value in made.items() if name != "data"}
        kinds: dict[str, dict[str, Any]] = {
            "done": {}, "diverged": {"status": "diverged"}, "failed": {"status": "failed"},
            "of unknown data": {"provenance": unknown},
        }  # fmt: skip
        cells = {key: SMALL.replace(seed=seed) for seed, key in enumerate(kinds)}
        with opened() as store:
            for key, cell in cells.items():
                store.add(result(cell, **kinds[key]), "r-1", key=key)
            assert store.keys() == {"done", "diverged"}
            assert store.keys(["done", "failed", "nowhere"]) == {"done"}
            assert store.keys(cells) == {"done", "diverged"}
            assert store.keys({**cells, "done": cells["failed"]}) == {"diverged"}
            found = dict(store.reusable(cells))
            assert {key: one.scenario for key, one in found.items()} == {
                key: cells[key] for key in ("diverged", "done")
            }
            assert len(list(store.results())) == len(store) == 4
            assert store.damaged() == []

    def test_reading_goes_on_while_it_is_written(self, opened: Opened) -> None:
        cells = [SMALL.replace(seed=seed) for seed in range(sqlite.PAGE + 3)]
        with opened() as store:
            store.add_all([(result(cell), "r-1", f"{cell.seed:09}") for cell in cells])
            seen: list[int] = []
            for _, found in store.results():
                if not seen:
                    store.add(result(accuracy=0.9), "r-2", key="zz")
                seen.append(found.scenario.seed)
            assert seen[: len(cells)] == [cell.seed for cell in cells]

    def test_measurements(self, opened: Opened) -> None:
        with opened() as store:
            assert store.measurements(["a"]) == {}
            store.keep("a", "first", {"numbers": [1, 2.5, None, "ü"]})
            store.keep("b", "second", 2)
        with opened() as store:
            assert store.measurements(["a", "b", "c"]) == {
                "a": {"numbers": [1, 2.5, None, "ü"]},
                "b": 2,
            }
            store.keep("c", "second", 3)  # by newer code, elsewhere
            assert store.measurements(["a", "b", "c"]).keys() == {"a", "c"}
            assert len(store) == 0

    def test_it_says_where_it_is(self, opened: Opened) -> None:
        with opened() as store:
            assert isinstance(store.where, str)
            assert store.where

    def test_a_grid_goes_on_where_it_stopped(self, opened: Opened) -> None:
        cells = [Scenario(workers=4, rounds=1, rule="median", seed=seed) for seed in (0, 1)]
        with opened() as store:
            assert execute(cells[:1], store, "r-1").computed == 1
        with opened() as store:
            outcome = execute(cells, store, "r-1")
            assert (outcome.computed, outcome.reused) == (1, 1)
            assert outcome.keys == store.keys()


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("rounds", lambda text: text.replace("0.5]", "0.6]")),
        ("provenance", lambda text: text.replace('"width": 8', '"width": 9')),
        ("reason", lambda text: "round 1"),
        ("ruleset", lambda text: "r-2"),
        ("scenario", lambda text: text.replace('"seed": 0', '"seed": 1')),
        ("seconds", lambda number: number + 1e-9),
        ("finished", lambda number: number + 1.0),
        ("right", lambda bits: bits[:-1] + b"\xff"),
        ("checksum", lambda text: text[::-1]),
    ],
)
def test_a_number_that_is_changed_in_a_row_no_longer_counts(
    tmp_path: Path, column: str, change: Callable[[Any], Any]
) -> None:
    with open_store(tmp_path) as store:
        store.add(result(right=RIGHT), "r-1", key="k")
    with closing(sqlite3.connect(tmp_path / "results.sqlite")) as connection:
        ((old,),) = connection.execute(f"SELECT {column} FROM results").fetchall()
    assert change(old) != old
    alter(tmp_path, f"UPDATE results SET {column} = ?", change(old))
    said: list[str] = []
    with open_store(tmp_path, create=False, say=said.append) as store:
        assert store.keys() == set()
        (damage,) = store.damaged()
        assert list(store.results()) == []
    assert "changed since it was written" in damage.problem or column == "scenario"
    assert said[0].startswith("1 damaged row in ")


def test_a_measurement_that_is_changed_no_longer_counts(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.keep("a", "first", 1)
    alter(tmp_path, "UPDATE measurements SET value = '2'")
    said: list[str] = []
    with open_store(tmp_path, say=said.append) as store:
        assert store.measurements(["a"]) == {}
    assert said == [f"1 damaged row in {tmp_path}/results.sqlite to be measured anew"]


def test_a_row_under_another_cell_s_digest_is_damaged(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.add(result(), "r-1", key="k")
    with closing(sqlite3.connect(tmp_path / "results.sqlite")) as connection, connection:
        names = ", ".join(rows.FIELDS[:-1])
        ((*row,),) = connection.execute(f"SELECT {names} FROM results").fetchall()
        row[rows.FIELDS.index("digest")] = SMALL.replace(seed=1).digest
        connection.execute(
            "UPDATE results SET digest = ?, checksum = ?",
            (row[rows.FIELDS.index("digest")], rows.checksum(row)),
        )
    with open_store(tmp_path, create=False) as store:
        (damage,) = store.damaged()
    assert damage.problem == "digest: expected that of the scenario"


@pytest.mark.parametrize("value", ["text", "", 3, 0.5, b""])
def test_bits_that_are_none_are_damage(tmp_path: Path, value: Any) -> None:
    with open_store(tmp_path) as store:
        store.add(result(right=RIGHT), "r-1", key="k")
    alter(tmp_path, "UPDATE results SET right = ?", value)
    with open_store(tmp_path, create=False) as store:
        (damage,) = store.damaged()
    assert damage.problem.startswith(("right: ", "checksum: "))


def test_export_holds_the_bits(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.add(result(right=RIGHT), "r-1", key="k")
        (cell,) = json.loads(json.dumps(export(store)))
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(cell["right"]), "u1"), count=11)
    assert bits.astype(bool).tolist() == (np.arange(11) % 3 == 0).tolist()


def test_a_huge_store_is_read_by_the_page_and_each_row_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [SMALL.replace(seed=seed) for seed in range(30)]
    with open_store(tmp_path) as store:
        for cell in cells:
            store.add(result(cell), "r-1", key=f"{cell.seed:02}")
    monkeypatch.setattr(sqlite, "PAGE", 7)
    read, asked = rows.from_row, list[bytes]()

    def counted(row: Any) -> Any:
        asked.append(row[0])
        return read(row)

    monkeypatch.setattr(rows, "from_row", counted)
    wanted = {f"{cell.seed:02}": cell for cell in cells[5:25]}
    with open_store(tmp_path, create=False) as store:
        found = dict(store.reusable(wanted))
        assert len(asked) == len(set(asked)) == len(found) == 20
        asked.clear()
        assert len(list(store.results())) == 30
        assert len(asked) == len(set(asked)) == 30


# --- a field that is new


@dataclass(frozen=True, kw_only=True, init=False, repr=False)
class Later(Scenario):
    """A scenario of a version with one field more."""

    climate: str = declare("harsh", word("mild", "harsh"), "world", before="mild")


CLIMATES: list[dict[str, Any]] = [{"climate": "mild"}, {"climate": "harsh"}]


def test_a_new_field_leaves_no_old_row_beside_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What older results lack is what was done before, whatever the default is now."""
    with open_store(tmp_path) as store:
        store.add(result(accuracy=0.1), "r-1", key="old")
    monkeypatch.setattr(rows, "Scenario", Later)
    rows._kinds.cache_clear()
    try:
        old, new = (Later(workers=8, rounds=3, sampled=5, **climate) for climate in CLIMATES)
        assert old.digest == SMALL.digest != new.digest
        with open_store(tmp_path) as store:
            assert [found.scenario for _, found in store.results()] == [old]
            store.add(result(new, accuracy=0.2), "r-1", key="new")
            assert accuracies(store) == [0.2, 0.1]  # another cell
            store.add(result(old, accuracy=0.3), "r-1", key="old, computed anew")
            assert accuracies(store) == [0.2, 0.3]
            assert [found.scenario for _, found in store.results()] == [new, old]
    finally:
        monkeypatch.undo()
        rows._kinds.cache_clear()


# --- stores of older versions


@pytest.fixture(params=[1, 2], ids=["schema 1", "schema 2"])
def old(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A store that a version with an older schema made: four cells, two measurements."""
    shutil.copytree(Path(__file__).parent / f"schema_{request.param}", tmp_path / "old")
    return tmp_path / "old"


def schema(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "results.sqlite")) as connection:
        ((number,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(number)


def content(folder: Path, names: str = "key, ruleset, scenario, status, reason, rounds") -> Any:
    with closing(sqlite3.connect(folder / "results.sqlite")) as connection:
        query = f"SELECT {names}, provenance, seconds, finished FROM results ORDER BY key"
        return connection.execute(query).fetchall()


def test_an_old_store_is_read_without_a_change(old: Path) -> None:
    before = (old / "results.sqlite").read_bytes()
    said: list[str] = []
    with open_store(old, create=False, say=said.append) as store:
        found = list(store.results())
        assert sorted(one.status for _, one in found) == ["diverged", "done", "done", "done"]
        assert len(store.keys()) == len(store) == 4
        rights = [one.right is not None for _, one in found]
        assert rights == [schema(old) == 2 and one.status == "done" for _, one in found]
        assert [(one.measures, one.server_seconds) for _, one in found] == [({}, 0.0)] * 4
        assert len(export(store)) == 4
        assert store.damaged() == []
        assert store.measurements(["a" * 64]) == {"a" * 64: {"value": 1.5, "list": [1, None, "ü"]}}
        with pytest.raises(StoreError):
            store.add(result(), "r-1", key="k")
    assert (old / "results.sqlite").read_bytes() == before
    assert said == []


def test_an_old_store_that_is_written_to_is_brought_up_to_date(old: Path) -> None:
    before, number = content(old), schema(old)
    said: list[str] = []
    with open_store(old, say=said.append) as store:
        assert said == [
            f"{old}/results.sqlite: 4 rows brought from schema {number} to 3; older versions of "
            "hgobench do not read it any more"
        ]
        keys = store.keys()
        assert keys == {key for key, *_ in before}
        assert store.measurements(["a" * 64, "b" * 64]).keys() == {"a" * 64, "b" * 64}
        assert store.damaged() == []
    assert content(old) == before
    with open_store(old, say=said.append) as store:
        assert store.keys() == keys
        (_, one), *_ = store.results()
        store.add(replace(one, provenance={**one.provenance, "width": 8}), "old-1", key="anew")
        assert len(store) == 4  # it replaces the one of its cell
    assert len(said) == 1
    alter(old, "UPDATE results SET seconds = 5 WHERE key = 'anew'")
    with open_store(old, create=False, say=said.append) as store:
        assert len(store.damaged()) == 1


@pytest.mark.parametrize("create", [True, False])
def test_an_old_store_without_measurements(old: Path, create: bool) -> None:
    if schema(old) > 1:
        pytest.skip("from schema 2 on every store has the table")
    alter(old, "DROP TABLE measurements")
    with open_store(old, create=create, say=quiet) as store:
        assert store.measurements(["a" * 64]) == {}
        assert len(store.keys()) == 4


def test_a_migration_that_fails_leaves_the_old_store(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, original = (old / "results.sqlite").read_bytes(), content(old)
    insert, left = SqliteStore._insert, [True] * 3

    def ends(self: SqliteStore, table: str, row: Any) -> None:
        if not left:
            raise sqlite3.OperationalError("disk I/O error")
        left.pop()
        insert(self, table, row)

    monkeypatch.setattr(SqliteStore, "_insert", ends)
    with pytest.raises(InputError, match="disk I/O error"):
        open_store(old)
    monkeypatch.undo()
    with open_store(old, create=False) as store:
        assert len(store.keys()) == 4
    assert content(old) == original
    assert len((old / "results.sqlite").read_bytes()) == len(before)


def test_what_was_damaged_before_is_damaged_after(old: Path) -> None:
    alter(old, "UPDATE results SET scenario = CAST(x'ff' AS TEXT) WHERE status = 'diverged'")
    alter(old, "UPDATE results SET seconds = 'soon' WHERE key = (SELECT min(key) FROM results)")
    with open_store(old, create=False) as store:
        first = store.damaged()
    assert len(first) == 2
    with open_store(old, say=quiet) as store:
        assert store.damaged() == first
        assert len(store.keys()) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON results BEGIN DELETE FROM results; END",
        "CREATE TABLE results_1 (a)",
        "CREATE TABLE results_2 (a)",
        "DROP TABLE results",
    ],
)
def test_a_foreign_thing_in_an_old_store_is_refused(old: Path, statement: str) -> None:
    alter(old, statement)
    before = (old / "results.sqlite").read_bytes()
    for create in (True, False):
        with pytest.raises(InputError, match="no store of hgobench"):
            open_store(old, create=create)
    assert (old / "results.sqlite").read_bytes() == before


def test_forged_rows_fit(tmp_path: Path) -> None:
    """The helper of other tests does what it says."""
    with open_store(tmp_path) as store:
        store.add(result(), "r-1", key="k")
    forge(tmp_path, scenario=lambda text: text.replace('"seed": 0', '"seed": 7'))
    with open_store(tmp_path, create=False) as store:
        ((_, found),) = store.results()
    assert found.scenario.seed == 7
