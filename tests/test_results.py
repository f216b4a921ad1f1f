from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import threading
from _thread import interrupt_main
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hgobench import Scenario, run
from hgobench.engines.cells import execute
from hgobench.errors import InputError
from hgobench.leaderboard import Score, boards
from hgobench.report.boards import render
from hgobench.results import Result, StoreError, address, export, sqlite
from hgobench.results.address import result_key
from hgobench.results.result import COLUMNS
from hgobench.results.sqlite import SqliteStore
from tests.stores import alter, forge

SMALL = Scenario(workers=8, rounds=3, evaluation_interval=2, sampled=5)


@pytest.fixture(scope="module")
def result() -> Result:
    return run(SMALL)


def test_what_is_kept_comes_back(tmp_path: Path, result: Result) -> None:
    with SqliteStore(tmp_path) as kept:
        kept.add(result, "r-1")
        assert len(kept) == 1
    with SqliteStore(tmp_path, create=False) as kept:
        ((ruleset, again),) = kept.results()
    assert ruleset == "r-1"
    assert again.scenario == result.scenario
    assert again.summary == result.summary
    assert again.provenance["code"] == address.code_digest()[:12]
    for name, column in result.rounds.items():
        for a, b in zip(column, again.rounds[name], strict=True):
            assert a == b or (math.isnan(a) and math.isnan(b))


def test_export_is_plain_json(tmp_path: Path, result: Result) -> None:
    with SqliteStore(tmp_path) as kept:
        kept.add(result, "r-1")
        (cell,) = json.loads(json.dumps(export(kept), allow_nan=False))
    assert cell["rounds"]["test_accuracy"][0] is None
    assert cell["summary"]["rounds"] == 3
    assert Scenario.restore(cell["scenario"]) == SMALL


def test_the_address_depends_on_scenario_ruleset_and_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = result_key(SMALL, "r-1")
    assert result_key(SMALL, "r-1") == first
    assert result_key(SMALL.replace(seed=1), "r-1") != first
    assert result_key(SMALL, "r-2") != first
    monkeypatch.setattr(address, "code_digest", lambda: "other code")
    assert result_key(SMALL, "r-1") != first


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("class R:\n    def __call__(self, values):\n        return values[0]\n", "{}:R"),
        (
            "from hgobench.aggregators import PreRule\n"
            "class P(PreRule):\n    def of_vectors(self, vectors):\n        return vectors\n",
            "nnm+{}:P+median",
        ),
    ],
    ids=["edited_rule", "edited_pre_rule"],
)
def test_the_address_depends_on_a_plugin_s_source(
    source: str,
    rule: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = request.node.callspec.id
    (tmp_path / f"{module}.py").write_text(source)
    scenario = SMALL.replace(rule=rule.format(module))
    first = result_key(scenario, "r-1")
    (tmp_path / f"{module}.py").write_text(source + "# edited\n")
    assert result_key(scenario, "r-1") != first


def test_a_plugin_s_source_is_found_where_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`package:R` may be imported there from elsewhere."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "front.py").write_text("from back import R\n")
    source = tmp_path / "back.py"
    source.write_text("class R:\n    def __call__(self, values):\n        return values[0]\n")
    scenario = SMALL.replace(rule="front:R")
    first = result_key(scenario, "r-1")
    source.write_text(source.read_text().replace("[0]", "[1]"))
    assert result_key(scenario, "r-1") != first


def test_opening_somebody_s_results_runs_nothing_that_they_name(
    tmp_path: Path, result: Result
) -> None:
    with SqliteStore(tmp_path) as kept:
        kept.add(result, "r-1")
    stated = {**result.scenario.to_dict(), "attack": f"os:system[command=touch {tmp_path}/ran]"}
    forge(tmp_path, scenario=lambda text: json.dumps(stated))
    with SqliteStore(tmp_path) as kept:
        ((_, read),) = kept.results()
    assert read.scenario.attack == stated["attack"]
    render("r-1", boards([Score.of(read)]))
    assert not (tmp_path / "ran").exists()


def test_newer_code_replaces_an_older_result(
    tmp_path: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteStore(tmp_path) as kept:
        kept.add(result, "r-1")
        monkeypatch.setattr(sqlite, "code_stated", lambda: "newer code")
        kept.add(result, "r-1")
        kept.add(result, "r-2")
        assert [ruleset for ruleset, _ in kept.results()].count("r-1") == 1
        assert len(kept) == 2


def test_every_source_that_numbers_depend_on_counts() -> None:
    package = Path(address.__file__).parent.parent
    indifferent = {
        "__init__.py",
        "arguments.py",
        "__main__.py",
        "__pycache__",
        "audits",
        "catalogue.py",
        "citation.py",
        "cli",
        "columns.py",
        "commits",
        "cards",
        "comparison.py",
        "costs.py",
        "devices",
        "errors.py",
        "engines",
        "evaluation",
        "flower",
        "folders.py",
        "grid.py",
        "lazy.py",
        "leaderboard.py",
        "machine.py",
        "merging.py",
        "notation.py",
        "paper",
        "plots",
        "plugin.py",
        "provenance.py",
        "py.typed",
        "registry.py",
        "report",
        "resolution.py",
        "results",
        "scenario.py",
        "session.py",
        "settings.py",
        "site",
        "statistics",
        "suite.py",
        "verification.py",
        "testing",
        "theory",
        "timing.py",
        "writing.py",
    }
    assert {path.name for path in package.iterdir()} - indifferent == set(address.SOURCES)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE results (a int)")


def test_a_store_that_can_t_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"store: '.*file.*': (File exists|Not a directory)"):
            SqliteStore(folder)


def test_reading_changes_nothing(tmp_path: Path, result: Result) -> None:
    with SqliteStore(tmp_path) as kept:
        kept.add(result, "r-1")
    before = (tmp_path / "results.sqlite").read_bytes()
    with SqliteStore(tmp_path, create=False) as kept:
        assert len(list(kept.results())) == 1
        with pytest.raises(StoreError, match="readonly"):
            kept.add(result, "r-1")
    assert (tmp_path / "results.sqlite").read_bytes() == before


def test_a_plugin_s_helpers_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    helper = tmp_path / "a_helper.py"
    helper.write_text("def agg(values):\n    return values[0]\n")
    (tmp_path / "with_helper.py").write_text(
        "from a_helper import agg\nclass R:\n    def __call__(self, values):\n        return agg(values)\n"
    )
    scenario = SMALL.replace(rule="with_helper:R")
    first = result_key(scenario, "r-1")
    assert result_key(scenario, "r-1") == first
    helper.write_text(helper.read_text().replace("[0]", "[1]"))
    assert result_key(scenario, "r-1") != first


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "no results.sqlite there"),
        (lambda path: path.mkdir(), "results.sqlite': no file"),
        (lambda path: os.mkfifo(path), "results.sqlite': no file"),
        (lambda path: path.write_bytes(b""), "results.sqlite': empty"),
        (lambda path: foreign(path), "another program's database"),
        (lambda path: path.write_text("nonsense" * 200), "no store of hgobench: file is not a"),
        (
            lambda path: (
                sqlite3.connect(path).execute("PRAGMA user_version = 99").connection.close()
            ),
            "schema 99; expected 3",
        ),
    ],
)
def test_unreadable_stores_are_refused(tmp_path: Path, prepare: object, message: str) -> None:
    prepare(tmp_path / "results.sqlite")  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        SqliteStore(tmp_path, create=False)


def test_a_folder_without_results_is_told_where_some_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suite's name is no folder: its results are in the folder that runs write to."""
    monkeypatch.chdir(tmp_path)
    for name in ("other", "quick"):
        SqliteStore(Path("hgobench-results", name)).close()
    there = r"did you mean 'hgobench-results/quick' or 'hgobench-results/other'\?$"
    for folder in ("quick", "hgobench-results/../quick"):
        with pytest.raises(
            InputError, match=f"store: '{folder}': no results.sqlite there; {there}"
        ):
            SqliteStore(folder, create=False)
    with pytest.raises(InputError, match="did you mean 'hgobench-results/other' or 'hgobench-re"):
        SqliteStore("hgobench-results", create=False)


def test_a_store_that_is_refused_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remembered(*arguments: Any, **keywords: Any) -> sqlite3.Connection:
        opened.append(connect(*arguments, **keywords))
        return opened[-1]

    foreign(tmp_path / "results.sqlite")
    monkeypatch.setattr(sqlite3, "connect", remembered)
    with pytest.raises(InputError, match="another program's database"):
        SqliteStore(tmp_path)
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        opened[0].execute("SELECT 1")


def test_a_changed_file_makes_another_result(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("worker,round,state\n0,1,off\n")
    scenario = Scenario(hardware=f"bernoulli+trace[path={path}]+c1")
    before = result_key(scenario, "mine-1")
    assert before == result_key(scenario, "mine-1")
    path.write_text("worker,round,state\n1,1,off\n")
    assert before != result_key(scenario, "mine-1")


@pytest.fixture
def store_of_one(tmp_path: Path, result: Result) -> Path:
    with SqliteStore(tmp_path / "one") as kept:
        kept.add(result, "r-1", key="the key")
    return tmp_path / "one"


ROUNDS = {name: [1, 2, 3] for name in COLUMNS}
STATED = SMALL.to_dict()


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("scenario", "{", "scenario: not JSON: Expecting property name enclosed in double quotes, "
         "at character 1"),
        ("scenario", "[]", "scenario: a list; expected an object"),
        ("scenario", "[" * 100_000, "scenario: nested too deep"),
        ("scenario", b"\xff", "scenario: expected text in UTF-8"),
        ("scenario", json.dumps({**STATED, "rule": 3}), "scenario: rule: 3; expected str"),
        ("scenario", json.dumps({**STATED, "rule": None}), "scenario: rule: null; expected str"),
        ("scenario", json.dumps({**STATED, "seed": True}), "scenario: seed: true; expected int"),
        ("scenario", json.dumps({**STATED, "workers": 8.0}), "scenario: workers: 8.0; expected int"),
        ("scenario", json.dumps({**STATED, "quorum": "5"}), "scenario: quorum: text '5'; expected int"),
        ("scenario", json.dumps({**STATED, "deadline": [1]}), "scenario: deadline: a list; expected "
         "float"),
        ("scenario", '{"learning_rate": 1e999}', "scenario: learning_rate: inf; expected float"),
        ("scenario", '{"learning_rate": NaN}', "scenario: NaN; expected a finite number"),
        ("scenario", json.dumps({**STATED, "sed": 1}), "scenario: field: unknown 'sed'; did you mean "
         "'seed'? (of a newer version?)"),
        ("scenario", json.dumps({**STATED, "rule": "a++b"}), "scenario: rule: 'a++b'; expected a name "
         "at both sides of each +"),
        ("rounds", "{}", "rounds: lacks 'round', 'time', 'test_accuracy', 'test_loss', "
         "'validation_accuracy', 'block_size', 'heard', 'byzantine_heard', 'coordinates', "
         "'bytes_up', 'bytes_down', 'stalled'"),
        ("rounds", json.dumps({**ROUNDS, "time": [1]}), "rounds: time: 1 values; expected 3, as in "
         "'round'"),
        ("rounds", json.dumps({**ROUNDS, "time": 1}), "rounds: time: 1; expected a list"),
        ("rounds", json.dumps({**ROUNDS, "heard": [1, None, 2]}), "rounds: heard: null; expected "
         "numbers"),
        ("rounds", json.dumps({**ROUNDS, "heard": [1, -1, 2]}), "rounds: heard: -1; expected numbers "
         ">= 0"),
        ("rounds", json.dumps({**ROUNDS, "time": ["1", 2, 3]}), "rounds: time: text '1'; expected "
         "numbers"),
        ("rounds", json.dumps({**ROUNDS, "time": [10**400, 2, 3]}), "rounds: time: expected finite "
         "numbers"),
        ("rounds", json.dumps({**ROUNDS, "tim": [1, 2, 3]}), "rounds: column: unknown 'tim'; did you "
         "mean 'time'? (of a newer version?)"),
        ("rounds", json.dumps({name: [1] for name in COLUMNS}), "rounds: 1; expected 3, those of the "
         "scenario"),
        ("provenance", "{}", "provenance: code: expected the code's hash, as text"),
        ("provenance", '{"code": "c", "needs": 3}', "provenance: needs: 3; expected a list of text"),
        ("status", "dnoe", "status: 'dnoe'; expected one of done, diverged, failed"),
        ("reason", b"\xc3(", "reason: expected text in UTF-8"),
        ("seconds", "soon", "seconds: text 'soon'; expected a number >= 0"),
        ("seconds", -1.0, "seconds: -1.0; expected a number >= 0"),
        ("ruleset", "", "ruleset: empty"),
    ],
)  # fmt: skip
def test_a_damaged_row_is_left_out_named_and_computed_anew(
    store_of_one: Path, result: Result, column: str, value: Any, problem: str
) -> None:
    if isinstance(value, bytes):  # as text
        alter(store_of_one, f"UPDATE results SET {column} = CAST(? AS TEXT)", value)
    else:
        alter(store_of_one, f"UPDATE results SET {column} = ?", value)
    said: list[str] = []
    with SqliteStore(store_of_one, create=False, say=said.append) as kept:
        assert list(kept.results()) == []
        assert said == [
            f"1 damaged row in {store_of_one}/results.sqlite left out; to list: "
            f"hgobench show {store_of_one} --damaged"
        ]
        (damage,) = kept.damaged()
        assert (damage.key, damage.problem) == ("the key", problem)
        assert kept.keys() == set()
    with SqliteStore(store_of_one) as kept:
        kept.add(result, "r-1", key="the key")
        assert kept.damaged() == []
        assert kept.keys() == {"the key"}


def test_what_is_damaged_is_computed_anew_by_the_same_command(tmp_path: Path) -> None:
    cells = [SMALL.replace(seed=seed) for seed in (0, 1)]
    with SqliteStore(tmp_path) as kept:
        execute(cells, kept, "r-1")
    alter(tmp_path, "UPDATE results SET rounds = '{}' WHERE scenario LIKE '%\"seed\": 1%'")
    said: list[str] = []
    with SqliteStore(tmp_path, say=said.append) as kept:
        outcome = execute(cells, kept, "r-1")
        assert (outcome.computed, outcome.reused) == (1, 1)
        assert len(list(kept.results())) == 2
    assert said == [f"1 damaged row in {tmp_path}/results.sqlite to be computed anew"]


def test_a_damaged_measurement_is_measured_anew(tmp_path: Path) -> None:
    with SqliteStore(tmp_path) as kept:
        kept.keep("a", "first", 1)
        kept.keep("b", "second", 2)
    alter(tmp_path, "UPDATE measurements SET value = '{' WHERE key = 'a'")
    said: list[str] = []
    with SqliteStore(tmp_path, say=said.append) as kept:
        assert kept.measurements(["a", "b"]) == {"b": 2}
        assert said == [f"1 damaged row in {tmp_path}/results.sqlite to be measured anew"]
        kept.keep("a", "first", 3)
        assert kept.measurements(["a", "b"]) == {"a": 3, "b": 2}


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (["CREATE TRIGGER t AFTER INSERT ON results BEGIN DELETE FROM results; END"],
         "trigger 't' is foreign"),
        (["CREATE VIEW v AS SELECT 1"], "view 'v' is foreign"),
        (["DROP TABLE results", f"CREATE VIEW results AS {ENDLESS}"], "view 'results' is foreign"),
        (["DROP TABLE measurements", f"CREATE VIEW measurements AS {ENDLESS}"], "view 'measurements' is foreign"),
        (["CREATE INDEX i ON results (status)"], "index 'i' is foreign"),
        (["CREATE TABLE other (a)"], "table 'other' is foreign"),
        (["ALTER TABLE results ADD COLUMN more"], "table 'results' has other columns"),
        (["ALTER TABLE results DROP COLUMN reason"], "table 'results' has other columns"),
        (["DROP TABLE results"], "table 'results' is missing"),
        (["DROP TABLE measurements"], "table 'measurements' is missing"),
        (["DROP TABLE results", "CREATE TABLE results (key TEXT, ruleset AS (key || 'x'))"],
         "table 'results' has other columns"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("create", [True, False], ids=["to_write", "to_read"])
def test_a_foreign_schema_is_refused_and_nothing_in_it_runs(
    store_of_one: Path, statements: list[str], problem: str, create: bool
) -> None:
    for statement in statements:
        alter(store_of_one, statement)
    before = (store_of_one / "results.sqlite").read_bytes()
    with pytest.raises(InputError) as refused:
        SqliteStore(store_of_one, create=create)
    assert f"no store of hgobench: {problem}" in str(refused.value)
    assert (store_of_one / "results.sqlite").read_bytes() == before


def cut_off(folder: Path, to: Path) -> None:
    """Copy a store with the journal of a write that is under way, as a kill would leave them."""
    path = folder / "results.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("UPDATE results SET reason = ?", ("x" * 100_000,))
        connection.execute("UPDATE results SET status = 'failed'")
        to.mkdir()
        for name in ("results.sqlite", "results.sqlite-journal"):
            shutil.copy(folder / name, to / name)
        connection.rollback()


@pytest.mark.parametrize("create", [True, False], ids=["to_write", "to_read"])
def test_a_write_that_was_cut_off_is_undone(
    store_of_one: Path, result: Result, create: bool
) -> None:
    cut = store_of_one.parent / "cut"
    cut_off(store_of_one, cut)
    assert (cut / "results.sqlite").read_bytes() != (store_of_one / "results.sqlite").read_bytes()
    with SqliteStore(cut, create=create) as kept:
        ((_, read),) = kept.results()
    assert read.summary == result.summary
    assert not (cut / "results.sqlite-journal").exists()


def test_a_write_that_was_cut_off_where_nothing_can_be_written_is_named_with_its_cure(
    store_of_one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = store_of_one.parent / "cut"
    cut_off(store_of_one, cut)
    opened = SqliteStore._open
    monkeypatch.setattr(SqliteStore, "_open", lambda store, mode: opened(store, "ro"))
    with pytest.raises(InputError, match="a write was cut off, and can't be undone here") as why:
        SqliteStore(cut, create=False)
    assert "make the folder writable, or copy it with results.sqlite-journal" in str(why.value)


def test_a_file_that_can_t_be_written_is_refused_before_anything_is_computed(
    store_of_one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def read_only(where: str, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(where.replace("rwc", "ro"), **options)
        return connection

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(InputError, match="attempt to write a readonly database"):
        SqliteStore(store_of_one)


def test_a_full_disk_ends_a_run_in_a_line(tmp_path: Path) -> None:
    with SqliteStore(tmp_path) as kept:
        kept._connection.execute("PRAGMA max_page_count = 3")
        outcome = execute([SMALL], kept, "r-1")
        assert outcome.interrupted == "the store can't be written: database or disk is full"
        assert kept.keys() == set()


def test_another_process_s_writing_is_waited_for_and_said(
    store_of_one: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "QUIET_WAIT", 0.0)
    said = threading.Event()
    lines: list[str] = []

    def say(text: str) -> None:
        lines.append(text)
        said.set()

    def other() -> None:
        with closing(sqlite3.connect(store_of_one / "results.sqlite")) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            held.set()
            said.wait(10)
            connection.rollback()

    for action in (
        lambda kept: kept.add(result, "r-2", key="another"),
        lambda kept: list(kept.results()),
        lambda kept: kept.keep("a", "first", 1),
    ):
        held = threading.Event()
        said.clear()
        with SqliteStore(store_of_one, say=say) as kept:
            thread = threading.Thread(target=other)
            thread.start()
            held.wait(10)
            action(kept)
            thread.join()
    assert lines == 3 * [
        f"waiting for {store_of_one}/results.sqlite: another process writes to it (Ctrl-C ends "
        "waiting, which lasts 600 s at most)"
    ]


def test_waiting_has_an_end_and_heeds_ctrl_c(
    store_of_one: Path, result: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        SqliteStore(store_of_one) as kept,
        closing(sqlite3.connect(store_of_one / "results.sqlite")) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite, "LONGEST_WAIT", 0.1)
        with pytest.raises(StoreError, match=r"another process has held it for 0 s"):
            kept.add(result, "r-1")
        with pytest.raises(InputError, match=r"another process has held it for 0 s; end that one"):
            SqliteStore(store_of_one, create=False)
        monkeypatch.setattr(sqlite, "LONGEST_WAIT", 60.0)
        timer = threading.Timer(0.1, interrupt_main)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            kept.add(result, "r-1")
